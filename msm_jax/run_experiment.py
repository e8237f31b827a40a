"""Runs an experiment from Python, as `python -m msm_jax.main` does from the command line."""

import importlib.util
from pathlib import Path
from typing import Any

from msm_jax import experiment, multihost
from msm_jax.base import checks, paths
from msm_jax.base.errors import ConfigError
from msm_jax.config import ExperimentConfig
from msm_jax.results import Results, load_results


def read_config(config: str) -> Any:
  """Reads a config file.

  Args:
    config: 'FILE.py' or 'FILE.py:preset', found as the command line finds it.

  Returns:
    The ConfigDict; change it as you like before you run it.

  Raises:
    ConfigError: the file is missing or has no `get_config`.
  """
  flag = '--config='
  found = paths.resolve_config_flag(flag + config).removeprefix(flag)
  file, _, preset = found.partition(':')
  spec = importlib.util.spec_from_file_location('msm_jax_user_config', file)
  if not Path(file).is_file() or spec is None or spec.loader is None:
    raise ConfigError(f'no config file {file}; give FILE.py or FILE.py:preset')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ConfigError(f'{file} has no function get_config(); configs/msm.py shows one')
  return module.get_config(preset) if preset else module.get_config()


def run(config: Any, workdir: str | Path | None = None) -> Results:
  """Runs an experiment, or continues it where an earlier run ended.

  The compiler reads `xla_flags` of a config when JAX starts, so they have no effect here; set the
  environment variable XLA_FLAGS before JAX is imported if you need them.

  Args:
    config: 'FILE.py[:preset]', a ConfigDict, or an ExperimentConfig.
    workdir: where everything goes; runs/NAME if it is not given.

  Returns:
    The results.

  Raises:
    UserError: something that the user can mend; nothing finished is lost.
  """
  if isinstance(config, str):
    config = read_config(config)
  if not isinstance(config, ExperimentConfig):
    config = checks.from_mapping(ExperimentConfig, paths.resolve_paths(config))
  folder = Path(workdir or f'runs/{config.name}')
  with multihost.locked(folder):
    experiment.Experiment(config, folder).run()
  return load_results(folder)
