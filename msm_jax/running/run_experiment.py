"""Runs an experiment from Python, as `python -m msm_jax.main` does from the command line.

Scripts and notebooks use `msm_jax.run`, which is defined here, and `msm_jax.read_config`. JAX is
imported when the first experiment runs, because it takes seconds.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from msm_jax.base import checks, command, paths
from msm_jax.base.config_files import read_config
from msm_jax.base.errors import ConfigError, Interrupted
from msm_jax.base.references import check_keys
from msm_jax.config import ExperimentConfig
from msm_jax.running.results import Results, load_results

__all__ = ['read_config', 'run']


def run(
  config: str | Path | ConfigDict | ExperimentConfig, workdir: str | Path | None = None
) -> Results:
  """Runs an experiment, or continues it where an earlier run ended.

  Ctrl-C, or the stop button of a notebook, saves the phase that is being trained and ends the run;
  the same call continues it. A second Ctrl-C ends it at once, and what came after the last
  checkpoint is lost.

  As on the command line, the environment variable MSM_JAX_DISTRIBUTED says that this is one of
  several processes. Whoever has called `jax.distributed.initialize` already needs no such variable.

  Numbers have 32 bits where the code says nothing else, as on the command line, also if
  `jax_enable_x64` is set: with other numbers, a run would be another one of the same identity.

  The compiler reads a config's `xla_flags` when JAX starts. They have no effect if JAX has been
  imported before, by an earlier run or by other code.

  Args:
    config: 'FILE.py' or 'FILE.py:preset', a ConfigDict, or an ExperimentConfig.
    workdir: where everything goes; runs/NAME if it is not given.

  Returns:
    The results.

  Raises:
    UserError: something that the user can mend; nothing finished is lost.
    KeyboardInterrupt: the run was interrupted; the same call continues it.
  """
  settings = _to_settings(config)
  folder = Path(f'runs/{settings.name}')
  if workdir is not None:
    folder = paths.as_workdir(workdir)
  if 'jax' not in sys.modules:
    command.set_xla_flags({'xla_flags': settings.xla_flags})
  # JAX comes with these modules.
  import jax

  from msm_jax import experiment, multihost

  multihost.start()
  multihost.check_same_settings(checks.to_json(settings))
  with multihost.locked(folder), _noted_interrupts() as stop, jax.enable_x64(False):
    try:
      experiment.Experiment(settings, folder, stop).run()
    except Interrupted as e:
      raise KeyboardInterrupt(f'{e}; the same call continues the run') from None
  if stop.asked:
    # It arrived after the last question whether to stop. What follows this call, such as the next
    # run of a loop, should not begin.
    raise KeyboardInterrupt(f'the run has ended; load_results({str(folder)!r}) opens its results')
  return load_results(folder)


def _to_settings(config: object) -> ExperimentConfig:
  """Converts everything that `run` takes to the settings of an experiment."""
  if isinstance(config, ExperimentConfig):
    return config
  if isinstance(config, str | Path):
    config = read_config(config)
  if not isinstance(config, ConfigDict):
    raise ConfigError(
      f'the config is of the type {type(config).__name__}; '
      'give FILE.py[:preset], a ConfigDict or an ExperimentConfig'
    )
  check_keys(config)
  return checks.from_mapping(ExperimentConfig, paths.resolve_paths(config))


class _Stop:
  """Notes the first SIGINT, which the training loop asks about; raises at the second.

  Attributes:
    asked: whether a SIGINT has arrived.
  """

  def __init__(self) -> None:
    self.asked = False

  def note(self, signal_number: int, frame: object) -> None:
    """Handles a SIGINT."""
    if self.asked:
      raise KeyboardInterrupt
    self.asked = True

  def __call__(self) -> bool:
    return self.asked


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[_Stop]:
  """Notes SIGINT while the context lasts, instead of raising KeyboardInterrupt in the middle of a
  step, and puts the handler of before back at the end."""
  stop = _Stop()
  if threading.current_thread() is not threading.main_thread():
    # Python lets only the main thread handle signals.
    yield stop
    return
  before: Any = signal.signal(signal.SIGINT, stop.note)
  try:
    yield stop
  finally:
    signal.signal(signal.SIGINT, before)
