"""Trains the phases of a config and evaluates nothing: `python -m train_only CONFIG WORKDIR`.

Several processes may run it together, as they run `msm_jax.main`.
"""

import runpy
import sys
from pathlib import Path


def main(config: str, workdir: str) -> None:
  """Trains every phase of the config file that is not trained yet."""
  from msm_jax import multihost
  from msm_jax.base.checks import from_mapping
  from msm_jax.config import ExperimentConfig
  from msm_jax.experiment import Experiment

  multihost.start()
  settings = runpy.run_path(config)['get_config']()
  e = Experiment(from_mapping(ExperimentConfig, settings), Path(workdir))
  with multihost.first_process_first():
    Path(workdir).mkdir(exist_ok=True)
    nodes = e.prepared.nodes
  for node in nodes:
    if not multihost.broadcast_from_first(e.is_trained(node)):
      e.train(node, 'test')


if __name__ == '__main__':
  main(*sys.argv[1:])
