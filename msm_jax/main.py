"""python -m msm_jax.main --config=configs/msm.py[:preset] [--config.a.b=v] [--workdir=DIR]

The same command again goes on where the last one ended.
"""

import os
import time
from pathlib import Path

from absl import flags

from msm_jax.base import checks, command, paths
from msm_jax.base.console import duration, say

command.tune_process()


def main(argv: list[str]) -> None:
  began = time.monotonic()
  stop = command.Stop()

  os.environ['XLA_FLAGS'] = (
    f'{flags.FLAGS.config.get("xla_flags", "")} {os.environ.get("XLA_FLAGS", "")}'.strip()
  )
  from msm_jax import config, experiment, multihost, report  # and jax, after its flags are set

  multihost.start()
  c = checks.from_mapping(config.ExperimentConfig, paths.resolve_paths(flags.FLAGS.config))
  workdir = Path(flags.FLAGS.workdir or f'runs/{c.name}')
  with multihost.locked(workdir):
    say(
      f'{c.name}: {len(c.arms)} arm(s) x {len(c.seeds)} seed(s) in {workdir}; stop at will, the same command goes on'
    )
    summary = experiment.Experiment(c, workdir, stop).run()
  if multihost.is_first():
    print(report.table(summary))
    print(
      f'\n{duration(time.monotonic() - began)}; rows in {workdir}/results.jsonl, report: {(workdir / "report.html").absolute()}'
    )


def run() -> None:
  """The entry point `msm-jax`."""
  command.run_on_config(main, default='configs/msm.py')


if __name__ == '__main__':
  run()
