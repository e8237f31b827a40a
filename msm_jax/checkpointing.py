"""Checkpoints of a phase: latest, save, restore, restore_params. Orbax does the work.

The folder of a step holds the items `params`, `opt_state` (optimizer and counters), `data` (the
iterator's state) and `meta` (JSON). A later phase or an evaluator therefore reads the parameters
alone, on any mesh. Orbax renames the folder into place when it is complete, so a killed run leaves
the checkpoint before.
"""

import contextlib
import glob
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from msm_jax.base.errors import UserError
from msm_jax.base.files import write_atomically

# Orbax logs every save and restore through absl, several lines each. What fails it logs with a
# traceback for every thread, and raises as well: a CheckpointError says it in one line.
logging.getLogger('absl').setLevel(logging.CRITICAL)

ITEMS = ('params', 'opt_state', 'data', 'meta')
# The key of `meta` that holds the checksum of `data` and of the rest of `meta`.
CHECKSUM = 'sha256'
# Checkpoints of more bytes than this get no checksum of their files: reading them again would take
# minutes on a slow disk.
MAX_HASHED = 2 * 2**30

# How Orbax calls the folder of a step until everything is in it.
HALF_WRITTEN = '*.orbax-checkpoint-tmp*'


def _ignore_late_writes() -> None:
  """Keeps a failed save from printing a traceback for every array that was still to be written.

  When one array cannot be written, Orbax ends its event loop. The threads of tensorstore that write
  the others find it closed, and nobody is there to catch that. What went wrong is raised by Orbax,
  in `save` or `wait`.
  """
  before = sys.unraisablehook

  def show(unraisable: Any) -> None:
    is_late = unraisable.exc_type is RuntimeError and unraisable.object is None
    if is_late and str(unraisable.exc_value) == 'Event loop is closed':
      return
    before(unraisable)

  sys.unraisablehook = show
  logging.getLogger('asyncio').addFilter(_is_no_late_write)


def _is_no_late_write(record: logging.LogRecord) -> bool:
  """Whether a message of asyncio is about anything but the other arrays of a failed save."""
  message = record.getMessage()
  is_of_a_save = 'OCDBT' in message or 'coro=<async_serialize' in message
  return not ('was never retrieved' in message and is_of_a_save)


_ignore_late_writes()

# Where devices hold copies of an array, each of them writes a part of it, of at least this size. By
# default Orbax cuts up the smallest arrays too, and compiles a program for each part: of a small
# model on eight devices, the first save took three times as long, and all others twice.
MIN_PART_BYTES = 2**20
ocp.type_handlers.register_type_handler(
  jax.Array,
  ocp.type_handlers.ArrayHandler(
    min_slice_bytes_for_replica_parallel=MIN_PART_BYTES,
    # Without this store, Orbax no longer compares what several processes have written.
    array_metadata_store=getattr(
      ocp.type_handlers.get_type_handler(jax.Array), '_array_metadata_store', None
    ),
  ),
  override=True,
)


class CheckpointError(UserError, RuntimeError):
  """A checkpoint that cannot be read or written. The message names the folder and the remedy."""


def _checksum(data: dict[str, Any], meta: dict[str, Any]) -> str:
  """The checksum of the items of a checkpoint that are JSON."""
  return hashlib.sha256(json.dumps([data, meta], sort_keys=True).encode()).hexdigest()


def _checksum_of_files(folder: Path) -> str:
  """The checksum of all files of a checkpoint and their names; '' if it is gone or too large."""
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  if not files or sum(path.stat().st_size for path in files) > MAX_HASHED:
    return ''
  digest = hashlib.sha256()
  for path in files:
    with path.open('rb') as f:
      content = hashlib.file_digest(f, 'sha256').hexdigest()
    digest.update(f'{path.relative_to(folder)} {content}\n'.encode())
  return digest.hexdigest()


def delete_half_written(folder: Path) -> None:
  """Deletes the half checkpoints that killed runs have left.

  Orbax deletes one when the same step is saved again. That is the rule at steps of
  `checkpoint_every`. A step at which somebody asked the run to stop is seldom saved again, and with
  large models each kill would leave many gigabytes.

  Args:
    folder: the folder of all phases. Nobody may be saving in it.
  """
  for path in list(folder.glob(f'**/{HALF_WRITTEN}')):
    shutil.rmtree(path, ignore_errors=True)


def abstract(tree: Any, shardings: Any) -> Any:
  """Describes a tree onto which a checkpoint can be restored.

  Args:
    tree: arrays, or anything else that has a shape and a dtype.
    shardings: a tree of the same structure with the layout of each array.

  Returns:
    A tree of jax.ShapeDtypeStruct with shapes, dtypes and shardings.
  """
  return jax.tree.map(
    lambda x, layout: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), tree, shardings
  )


class Checkpoints:
  """The checkpoints of one phase. They are saved in the background; `close` waits for them.

  Attributes:
    folder: the folder that holds one folder for each step.
  """

  def __init__(self, folder: Path, keep: int | None = 2):
    """Names the folder; nothing is opened or created before it is needed.

    Args:
      folder: where the checkpoints are.
      keep: how many are kept. None keeps all. The older ones are deleted after a save, so while it
        lasts there is one more.
    """
    self.folder = Path(folder)
    self._options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, enable_async_checkpointing=True, create=False
    )
    self._manager: ocp.CheckpointManager | None = None
    # The steps that this object has saved and whose files have no checksum yet.
    self._without_checksum: set[int] = set()

  @property
  def manager(self) -> ocp.CheckpointManager:
    """Orbax's manager, which creates the folder when it is first used."""
    if self._manager is None:
      self.folder.mkdir(parents=True, exist_ok=True)
      self._manager = ocp.CheckpointManager(
        self.folder.absolute(), options=self._options, item_names=ITEMS
      )
    return self._manager

  def latest(self) -> int | None:
    """The newest complete step, or None. Orbax is not opened, which would take longer."""
    # Orbax writes into a folder with another name, so a folder named by a number is complete.
    steps = []
    for path in self.folder.glob('*'):
      # isdigit alone takes '²' too, which is no number.
      if path.name.isascii() and path.name.isdigit() and path.is_dir():
        steps.append(int(path.name))
    return max(steps, default=None)

  def has(self, step: int) -> bool:
    """Whether a step is there, complete; see `latest`."""
    return (self.folder / str(step)).is_dir()

  def save(
    self, step: int, params: Any, opt_state: Any, data: dict[str, Any], meta: dict[str, Any]
  ) -> None:
    """Starts saving a step; waits for the save before it.

    Args:
      step: the number of updates done.
      params: the trained parameters.
      opt_state: whatever else is needed to go on.
      data: the state of the iterator over batches, as JSON takes it.
      meta: what the checkpoint was made from, as JSON takes it.

    Raises:
      CheckpointError: it cannot be written.
    """
    # Orbax checks the arrays that it reads, and no JSON.
    meta = {**meta, CHECKSUM: _checksum(data, meta)}
    items = ocp.args.Composite(
      params=ocp.args.StandardSave(params),
      opt_state=ocp.args.StandardSave(opt_state),
      data=ocp.args.JsonSave(data),
      meta=ocp.args.JsonSave(meta),
    )
    self._start_saving(step, items)

  def save_params(self, step: int, params: Any, meta: dict[str, Any]) -> None:
    """Starts saving the parameters of a step alone: they can be read, but nobody can go on from
    them.

    Args:
      step: the number of updates done.
      params: the trained parameters.
      meta: what they were made from, as JSON takes it.

    Raises:
      CheckpointError: they cannot be written.
    """
    items = ocp.args.Composite(params=ocp.args.StandardSave(params), meta=ocp.args.JsonSave(meta))
    self._start_saving(step, items)

  def _start_saving(self, step: int, items: Any) -> None:
    # A step that was deleted and is trained anew has other files.
    self._checksum_path(step).unlink(missing_ok=True)
    self._without_checksum.add(step)
    with self._write_errors(f'checkpoint {self.folder / str(step)}'):
      # Without `force`, Orbax skips a step that its own schedule does not expect.
      self.manager.save(step, args=items, force=True)

  def wait(self) -> None:
    """Waits until everything is on disk; raises CheckpointError if it cannot be written."""
    if self._manager is None:
      return
    with self._write_errors(f'checkpoint in {self.folder}'):
      self._manager.wait_until_finished()
      self._write_checksums()

  def _checksum_path(self, step: int) -> Path:
    return self.folder.with_name(f'{self.folder.name}-{step}.sha256')

  def _write_checksums(self) -> None:
    """Writes the checksum of each saved step that is still there. Process 0 writes for all."""
    if jax.process_index() == 0:
      for step in self._without_checksum:
        checksum = _checksum_of_files(self.folder / str(step))
        if checksum:
          write_atomically(self._checksum_path(step), f'{checksum}\n'.encode())
      for path in self.folder.parent.glob(f'{glob.escape(self.folder.name)}-*.sha256'):
        step_name = path.stem.removeprefix(f'{self.folder.name}-')
        if not (self.folder / step_name).is_dir():
          path.unlink(missing_ok=True)
    self._without_checksum.clear()

  def _check_files(self, step: int) -> None:
    """Raises ValueError if the files of a step are not those that were saved.

    The arrays have no checksums that tensorstore would check: a flipped bit would be other weights.
    A run that was killed leaves a step without a checksum, which is read as it is.
    """
    path = self._checksum_path(step)
    if not path.is_file():
      return
    checksum = _checksum_of_files(self.folder / str(step))
    if checksum and path.read_bytes().strip() != checksum.encode():
      raise ValueError(f'its files are not those that {path.name} says were saved')

  def restore(
    self, step: int, params: Any, opt_state: Any
  ) -> tuple[Any, Any, dict[str, Any], dict[str, Any]]:
    """Reads everything that a step holds.

    Args:
      step: the step.
      params: the abstract tree of the parameters; see `abstract`. The layout may be another one
        than that of the run that saved.
      opt_state: the same for the item `opt_state`.

    Returns:
      (params, opt_state, data, meta).

    Raises:
      CheckpointError: it cannot be read.
    """
    with self._read_errors(step):
      self._check_files(step)
      items = self.manager.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(params),
          opt_state=ocp.args.StandardRestore(opt_state),
          data=ocp.args.JsonRestore(),
          meta=ocp.args.JsonRestore(),
        ),
      )
      data, meta = items['data'], dict(items['meta'])
      if meta.pop(CHECKSUM, None) != _checksum(data, meta):
        raise ValueError('the place in the data or the description was changed after it was saved')
      return items['params'], items['opt_state'], data, meta

  def restore_params(self, step: int, params: Any) -> Any:
    """Reads the parameters of a step, and nothing else.

    Args:
      step: the step.
      params: their abstract tree; see `abstract`.

    Returns:
      The parameters, laid out as the abstract tree says.

    Raises:
      CheckpointError: they cannot be read.
    """
    with self._read_errors(step):
      self._check_files(step)
      args = ocp.args.Composite(params=ocp.args.StandardRestore(params))
      return self.manager.restore(step, args=args)['params']

  def close(self) -> None:
    """Waits until everything is on disk, then closes Orbax; may raise CheckpointError.

    Orbax is closed whether or not everything could be written.
    """
    if self._manager is None:
      return
    try:
      self.wait()
    finally:
      manager, self._manager = self._manager, None
      # It waits once more, but what went wrong it has raised already.
      with self._write_errors(f'checkpoint in {self.folder}'):
        manager.close()

  @contextlib.contextmanager
  def _read_errors(self, step: int) -> Iterator[None]:
    what = f'checkpoint {self.folder / str(step)} cannot be read'
    remedy = 'delete that folder and run again: the phase goes on from the one before'
    with _errors(what, remedy):
      yield

  @contextlib.contextmanager
  def _write_errors(self, what: str) -> Iterator[None]:
    remedy = 'free some space or choose another --workdir, then run again'
    with _errors(f'cannot write {what}', remedy):
      yield


@contextlib.contextmanager
def _errors(what: str, remedy: str) -> Iterator[None]:
  """Turns any error into a CheckpointError of one line."""
  try:
    yield
  # Orbax raises bare Exceptions too.
  except Exception as e:
    reason = ' '.join(str(e).split())[:200]
    raise CheckpointError(f'{what} ({type(e).__name__}: {reason}); {remedy}') from e
