"""Orbax behind four verbs: latest, save, restore, restore_params.

A step's folder holds the items `params`, `opt_state` (optimizer and counters), `data` (iterator) and `meta` (JSON), so that a later phase
or an evaluator reads the parameters alone, on any mesh. Orbax renames a step into place when it is complete: a kill leaves the one before.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from msm_jax.base.errors import UserError

logging.getLogger('absl').setLevel(logging.ERROR)


class CheckpointError(UserError, RuntimeError):
  """A checkpoint that cannot be read or written; the message names the folder and the mend."""


def abstract(tree: Any, shardings: Any) -> Any:
  """Shapes, dtypes and shardings to restore onto."""
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree, shardings
  )


class Checkpoints:
  """The checkpoints of one phase. Saves are asynchronous; `close` waits for them."""

  def __init__(self, folder: Path, keep: int = 2):
    self.folder = Path(folder)
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, enable_async_checkpointing=True, create=False
    )
    self._manager_args = (self.folder, options)
    self._manager: ocp.CheckpointManager | None = None

  @property
  def manager(self) -> ocp.CheckpointManager:
    if self._manager is None:
      folder, options = self._manager_args
      folder.mkdir(parents=True, exist_ok=True)
      self._manager = ocp.CheckpointManager(
        folder.absolute(), options=options, item_names=('params', 'opt_state', 'data', 'meta')
      )
    return self._manager

  def latest(self) -> int | None:
    """The newest complete step, without opening Orbax."""
    steps = [int(p.name) for p in self.folder.glob('*') if p.name.isdigit() and p.is_dir()]
    return max(steps, default=None)

  def save(self, step: int, params: Any, opt_state: Any, data: dict, meta: dict) -> None:
    with self._errors(
      f'cannot write checkpoint {self.folder / str(step)}',
      'free some space or choose another --workdir, then run again',
    ):
      self.manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          opt_state=ocp.args.StandardSave(opt_state),
          data=ocp.args.JsonSave(data),
          meta=ocp.args.JsonSave(meta),
        ),
        force=True,
      )

  def wait(self) -> None:
    with self._errors(
      f'cannot write checkpoint in {self.folder}',
      'free some space or choose another --workdir, then run again',
    ):
      self.manager.wait_until_finished()

  def restore(self, step: int, params: Any, opt_state: Any) -> tuple[Any, Any, dict, dict]:
    """(params, opt_state, data, meta) of `step`; `params` and `opt_state` are abstract trees with shardings."""
    with self._unreadable(step):
      items = self.manager.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(params),
          opt_state=ocp.args.StandardRestore(opt_state),
          data=ocp.args.JsonRestore(),
          meta=ocp.args.JsonRestore(),
        ),
      )
      return items['params'], items['opt_state'], items['data'], items['meta']

  def restore_params(self, step: int, params: Any) -> Any:
    with self._unreadable(step):
      return self.manager.restore(
        step, args=ocp.args.Composite(params=ocp.args.StandardRestore(params))
      )['params']

  def meta(self, step: int) -> dict:
    with self._unreadable(step):
      return self.manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))[
        'meta'
      ]

  def close(self) -> None:
    if self._manager is not None:
      self.wait()
      self._manager.close()
      self._manager = None

  @contextlib.contextmanager
  def _unreadable(self, step: int) -> Iterator[None]:
    with self._errors(
      f'checkpoint {self.folder / str(step)} cannot be read',
      'delete that folder and run again: the phase goes on from the one before',
    ):
      yield

  @contextlib.contextmanager
  def _errors(self, what: str, mend: str) -> Iterator[None]:
    try:
      yield
    except Exception as e:  # Orbax raises bare Exceptions too
      reason = ' '.join(str(e).split())[:200]
      raise CheckpointError(f'{what} ({type(e).__name__}: {reason}); {mend}') from e
