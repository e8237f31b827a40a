"""python -m msm_jax.main --config=configs/msm.py[:preset] [--config.a.b=v] [--workdir=DIR]

The same command again goes on where the last one ended.
"""

import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from msm_jax import resources

resources.tune_process()


def main(argv: list[str]) -> None:
  began = time.monotonic()
  stop = Stop()

  os.environ['XLA_FLAGS'] = f'{flags.FLAGS.config.get("xla_flags", "")} {os.environ.get("XLA_FLAGS", "")}'.strip()
  from msm_jax import config, experiment, processes, report  # and jax, after its flags are set
  from msm_jax.metrics import duration, say

  processes.start()
  c = config.from_mapping(config.ExperimentConfig, resources.resolve_paths(flags.FLAGS.config))
  workdir = Path(flags.FLAGS.workdir or f'runs/{c.name}')
  with processes.locked(workdir):
    say(f'{c.name}: {len(c.arms)} arm(s) x {len(c.seeds)} seed(s) in {workdir}; stop at will, the same command goes on')
    summary = experiment.Experiment(c, workdir, stop).run()
  if processes.is_first():
    print(report.table(summary))
    print(f'\n{duration(time.monotonic() - began)}; rows in {workdir}/results.jsonl, report: {(workdir / "report.html").absolute()}')


class Stop:
  """True once SIGTERM or SIGINT came; a second SIGINT ends at once."""

  def __init__(self):
    self.asked = False
    signal.signal(signal.SIGTERM, self._ask)
    signal.signal(signal.SIGINT, self._ask)

  def _ask(self, signum: int, frame: object) -> None:
    if self.asked and signum == signal.SIGINT:
      raise KeyboardInterrupt
    self.asked = True

  def __call__(self) -> bool:
    return self.asked


def parse(argv: list[str], default: str) -> list[str]:
  """Defines and reads the flags. What is wrong with them becomes one line: absl and ml_collections would print a traceback."""
  from msm_jax.config import ConfigError

  try:
    settings = config_flags.DEFINE_config_file('config', resources.find(default), 'What to run; file.py or file.py:preset.', lock_config=True)
    flags.DEFINE_string('workdir', None, 'Where everything goes (default: runs/<name of the config>).')
    rest = flags.FLAGS(argv)
    settings.value.to_dict()  # a config file that is missing shows only here
  except (AttributeError, KeyError) as e:
    key = str(e).replace('\\n', ', ').translate({ord(c): None for c in '\'"\\'})  # ml_collections quotes its message twice
    raise ConfigError(f'the config has no setting {key}; its file lists them') from None
  except Exception as e:
    said = [line.strip() for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
    raise ConfigError(' '.join(dict.fromkeys((said[0], said[-1]))) + '; --config=FILE.py[:preset], --config.a.b=value') from None
  if len(rest) > 1:
    raise ConfigError(f'unexpected argument {rest[1]!r}; settings are given as --config.name=value')
  return rest


def run(job: Callable[[list[str]], None] = main, default: str = 'configs/msm.py') -> None:
  """Runs `job` on the config that --config names; an error that a user can mend becomes one line on stderr and a non-zero exit."""
  for name in ('absl', 'jax', 'matplotlib', 'httpx', 'httpx2'):  # their notes on backends, checkpoints, fonts and requests are not ours to show
    logging.getLogger(name).setLevel(logging.ERROR)
  sys.argv[1:] = [resources.resolve_config_flag(a) for a in sys.argv[1:]]
  try:
    app.run(job, flags_parser=functools.partial(parse, default=default))
  except Exception as e:
    explained = resources.explain(e)
    if explained is None:
      raise
    print(f'\n{explained[0]}', file=sys.stderr)
    sys.exit(explained[1])


if __name__ == '__main__':
  run()
