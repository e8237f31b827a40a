"""Trains the phases of a config and evaluates nothing: `python -m train_only CONFIG WORKDIR`.

It does what `msm_jax.main` does, up to the evaluation. Several processes may run it together.
"""

import contextlib
import runpy
import sys
from pathlib import Path


def main(config: str, workdir: str) -> None:
  """Trains every phase of the config file that is not trained yet."""
  from msm_jax import multihost
  from msm_jax.base.checks import from_mapping
  from msm_jax.config import ExperimentConfig
  from msm_jax.experiment import Experiment

  class Trained(Exception):
    """All phases are trained."""

  class TrainingAlone(Experiment):
    """An experiment whose run ends where evaluation begins."""

    def _evaluate_all(self, ends):
      raise Trained

  multihost.start()
  settings = runpy.run_path(config)['get_config']()
  experiment = TrainingAlone(from_mapping(ExperimentConfig, settings), Path(workdir))
  with multihost.locked(Path(workdir)), contextlib.suppress(Trained):
    experiment.run()


if __name__ == '__main__':
  main(*sys.argv[1:])
