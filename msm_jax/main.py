"""Runs an experiment.

  python -m msm_jax.main --config=configs/msm.py[:preset] [--config.a.b=v] [--workdir=DIR]

The same command again continues where the last run ended.
"""

import time
from pathlib import Path

from absl import flags

from msm_jax.base import checks, command, paths
from msm_jax.base.console import duration, say
from msm_jax.config import ExperimentConfig

# Before anything allocates memory.
command.tune_process()


def main(argv: list[str]) -> None:
  """Runs the experiment that --config names and prints its table.

  Args:
    argv: what is left of the command line; not used.
  """
  began = time.monotonic()
  stop = command.StopSignal()
  command.set_xla_flags(flags.FLAGS.config)
  # JAX comes with these modules, and it reads its flags when it is imported.
  from msm_jax import experiment, multihost, report
  from msm_jax.suites.registry import layout_of

  multihost.start()
  settings = paths.resolve_paths(flags.FLAGS.config)
  c = checks.from_mapping(ExperimentConfig, settings)
  multihost.check_same_settings(checks.to_json(c))
  workdir = Path(flags.FLAGS.workdir or f'runs/{c.name}')
  with multihost.locked(workdir):
    say(
      f'{c.name}: {len(c.arms)} arm(s) x {len(c.seeds)} seed(s) in {workdir}; '
      f'stop at will, the same command goes on'
    )
    summary = experiment.Experiment(c, workdir, stop).run()
  if multihost.is_first():
    print(report.table(summary, layout_of(summary)))
    page = (workdir / 'report.html').absolute()
    took = duration(time.monotonic() - began)
    print(f'\n{took}; rows in {workdir}/results.jsonl, report: {page}')


def run() -> None:
  """The entry point `msm-jax`."""
  command.run_on_config(main, default='configs/msm.py', schema=ExperimentConfig)


if __name__ == '__main__':
  run()
