"""Runs the cells of one arm after the other through Inspect, and keeps each as it ends."""

import dataclasses
import gc
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import inspect_ai
from inspect_ai.log import EvalLog
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.solver import TaskState

from msm_jax.base.checks import AT_LEAST_ONE, NON_NEGATIVE, one_of, within
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError, DataError, Interrupted, UserError
from msm_jax.interop.inspect_tasks import compose, text_calls
from msm_jax.interop.inspect_tasks.cells import Cell, CellStore, key_of
from msm_jax.interop.inspect_tasks.entrants import Entrant
from msm_jax.interop.inspect_tasks.records import Scene
from msm_jax.interop.inspect_tasks.solver import ENDING, EVENTS, LIMIT, PROTOCOLS, turns_of
from msm_jax.interop.inspect_tasks.tasks import TOKEN_LIMIT, make_task

# So many cells may fail before the rest of an arm is not tried: then the provider is at fault.
MAX_FAILED = 8
# How often Inspect tries a call again, and the seconds that one try may take.
_RETRIES = 5
_TRY_SECONDS = 600
# Seconds between two lines of progress.
_PROGRESS_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class RunSettings:
  """How a model works through a scene.

  Attributes:
    protocol: how it calls tools; see `solver.PROTOCOLS`.
    turns: how many messages it may write in a scene.
    temperature: of sampling.
    max_tokens: the longest message, in tokens.
    token_limit: the tokens, read and written, that end a scene.
    max_connections: scenes that are worked through at the same time.
  """

  protocol: str = 'auto'
  turns: int = 8
  # The published evaluation samples at 0.7; at 1.0 it found half as much harm.
  temperature: float = 0.7
  max_tokens: int = 1024
  token_limit: int = TOKEN_LIMIT
  max_connections: int = 32

  def __post_init__(self) -> None:
    one_of('protocol', self.protocol, PROTOCOLS)
    within(
      '',
      self,
      turns=AT_LEAST_ONE,
      temperature=NON_NEGATIVE,
      max_tokens=AT_LEAST_ONE,
      token_limit=AT_LEAST_ONE,
      max_connections=AT_LEAST_ONE,
    )


def cell_key(entrant: Entrant, scene: Scene, settings: RunSettings) -> str:
  """The key of one cell.

  Args:
    entrant: the model.
    scene: the scene.
    settings: how it is worked through.

  Returns:
    The key. The number of connections is not part of it.
  """
  asked = dataclasses.asdict(settings)
  # How many scenes run side by side changes no answer.
  del asked['max_connections']
  return key_of(
    {
      **asked,
      'scene': compose.digest_of_scenes([scene]),
      'handbook': entrant.handbook,
      'text calls': text_calls.VERSION,
      'arm': entrant.arm,
      'seed': entrant.seed,
      'model': entrant.identity or entrant.model,
      'base_url': entrant.base_url,
    }
  )


@dataclasses.dataclass
class _Recorder:
  """Keeps the cells of one arm as they end."""

  store: CellStore
  entrant: Entrant
  # Id of a scene -> the key of its cell.
  keys: Mapping[str, str]
  # Why a cell could not be kept. Inspect would only log an error of a cleanup.
  error: Exception | None = None
  # When progress was last said, on the monotonic clock in seconds.
  said_at: float = 0.0

  async def take(self, state: TaskState) -> None:
    """Keeps the cell of a sample that has ended. One that failed has no score and is left out."""
    if 'trace' not in (state.scores or {}):
      return
    scene_id = str(state.sample_id)
    cell: Cell = {
      'key': self.keys[scene_id],
      'arm': self.entrant.arm,
      'seed': self.entrant.seed,
      'scene': scene_id,
      'ending': state.store.get(ENDING, LIMIT),
      'events': state.store.get(EVENTS, []),
      'turns': [list(turn) for turn in turns_of(state.messages)],
    }
    try:
      self.store.add(cell)
    except Exception as e:
      self.error = self.error or e
    self._say_progress()

  def left(self) -> int:
    """How many of the arm's cells are not kept yet."""
    return sum(key not in self.store.cells for key in self.keys.values())

  def _say_progress(self) -> None:
    now = time.monotonic()
    if now - self.said_at > _PROGRESS_SECONDS:
      self.said_at = now
      say(f'{self.entrant}: {len(self.keys) - self.left()} of {len(self.keys)} cells')


def run_entrant(
  entrant: Entrant,
  scenes: Sequence[Scene],
  settings: RunSettings,
  store: CellStore,
  log_dir: Path,
) -> None:
  """Has one model work through the scenes that it has not finished yet.

  Args:
    entrant: the model.
    scenes: all scenes.
    settings: how they are worked through.
    store: where finished cells are kept.
    log_dir: where Inspect writes its logs, for `inspect view`.

  Raises:
    ConfigError: the model cannot be opened.
    DataError: cells failed. The others are kept, and the same command goes on.
    Interrupted: the run was interrupted.
  """
  keys = {scene.id: cell_key(entrant, scene, settings) for scene in scenes}
  waiting = [scene for scene in scenes if keys[scene.id] not in store.cells]
  if not waiting:
    say(f'{entrant}: all {len(scenes)} cells are finished')
    return
  say(f'{entrant}: {len(waiting)} of {len(scenes)} cells to run')
  if entrant.handbook:
    waiting = [_with_handbook(scene, entrant.handbook) for scene in waiting]
  # The progress of the first cells is said after a while, too.
  recorder = _Recorder(store, entrant, keys, said_at=time.monotonic())
  task = make_task(
    waiting,
    settings.protocol,
    settings.turns,
    entrant.seed,
    settings.token_limit,
    cleanup=recorder.take,
  )
  model = _open(entrant, settings)
  try:
    (log,) = inspect_ai.eval(
      task,
      model=model,
      log_dir=str(log_dir),
      # Lines of progress are our own, and stdout is for the table alone.
      display='none',
      log_realtime=False,
      score_display=False,
      ctl_server=False,
      # A cell that fails must not end the others, but a provider that is down should end the run.
      fail_on_error=MAX_FAILED,
      max_samples=settings.max_connections,
    )
  finally:
    _close(model)
  if recorder.error is not None:
    raise recorder.error
  if log.status == 'cancelled':
    raise Interrupted(f'{entrant}: interrupted; {recorder.left()} cells are left')
  if recorder.left():
    raise DataError(
      f'{entrant}: {recorder.left()} of {len(scenes)} cells did not end ({_cause(log)}); '
      'mend this, then run the same command again: finished cells are kept'
    )


def _with_handbook(scene: Scene, handbook: str) -> Scene:
  """The scene with a handbook before its system message."""
  return dataclasses.replace(scene, system=f'{handbook}\n\n{scene.system}')


def _cause(log: EvalLog) -> str:
  """Why cells failed: the error of the first sample that has one, or that of the whole run."""
  errors = [sample.error for sample in log.samples or () if sample.error is not None]
  if log.error is not None:
    errors.append(log.error)
  if not errors:
    return 'no cause is known'
  return ' '.join(errors[0].message.split())[:300]


def _open(entrant: Entrant, settings: RunSettings) -> Model:
  """Opens the model of an entrant; an error becomes one line."""
  try_seconds: int | None = _TRY_SECONDS
  if entrant.model.startswith('msm_jax/'):
    # In a clone that is not installed there is no entry point.
    import msm_jax.interop.inspect_provider  # noqa: F401

    # Nothing of ours hangs, but a full batch on a CPU may take its time.
    try_seconds = None
  config = GenerateConfig(
    temperature=settings.temperature,
    max_tokens=settings.max_tokens,
    max_connections=settings.max_connections,
    max_retries=_RETRIES,
    attempt_timeout=try_seconds,
  )
  try:
    return get_model(
      entrant.model,
      config=config,
      base_url=entrant.base_url or None,
      memoize=False,
      **entrant.arguments,
    )
  except (UserError, ModuleNotFoundError):
    raise
  except Exception as e:
    line = ' '.join(str(e).split())[:300]
    raise ConfigError(
      f'{entrant.model} cannot be opened ({line}); name a model as Inspect does, '
      'and give it its key'
    ) from None


def _close(model: Model) -> None:
  """Frees the memory of a model of ours: the next arm needs it."""
  engine = getattr(model.api, 'engine', None)
  if engine is None:
    return
  from msm_jax.interop.inspect_provider import open_engine

  engine.close()
  open_engine.cache_clear()
  # Inspect may keep the model itself, in records of its calls.
  api: Any = model.api
  api.engine = api.sampler = None
  del engine
  gc.collect()
