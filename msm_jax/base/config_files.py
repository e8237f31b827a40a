"""Reads config files: Python files with a function `get_config` that returns a ConfigDict."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from msm_jax.base import paths
from msm_jax.base.errors import ConfigError


def read_config(config: str | Path) -> ConfigDict:
  """Reads a config file.

  Args:
    config: 'FILE.py' or 'FILE.py:preset', found as the command line finds it.

  Returns:
    The ConfigDict. Change it as you like before you run it.

  Raises:
    ConfigError: the file is missing, it has no `get_config`, or it raises an error itself, as it
      does for a preset that it does not have.
  """
  flag = '--config='
  found = paths.resolve_config_flag(f'{flag}{config}').removeprefix(flag)
  file, preset = paths.split_preset(found)
  module = _import_config(file)
  if not hasattr(module, 'get_config'):
    raise ConfigError(f'{file} has no function get_config(); configs/msm.py shows one')
  try:
    made = module.get_config(preset) if preset else module.get_config()
  except Exception as e:
    raise ConfigError(
      f'{found} cannot be read ({_in_one_line(e, file)}); give another preset, or correct the file'
    ) from e
  if not isinstance(made, ConfigDict):
    raise ConfigError(
      f'get_config() of {file} returns {type(made).__name__}; it must return a ConfigDict'
    )
  return made


def _import_config(file: str) -> ModuleType:
  """Executes a config file as a module. Raises ConfigError if it is missing or fails."""
  if not file.strip():
    raise ConfigError('the path of the config is empty; give FILE.py or FILE.py:preset')
  spec = importlib.util.spec_from_file_location('msm_jax_user_config', file)
  if not Path(file).is_file() or spec is None or spec.loader is None:
    raise ConfigError(f'no config file {file}; give FILE.py or FILE.py:preset')
  module = importlib.util.module_from_spec(spec)
  # A dataclass looks its module up here if the file has `from __future__ import annotations`.
  sys.modules[spec.name] = module
  try:
    # The loader would take what it compiled before if the file is as long and its time the same
    # second. A script that writes a config, reads it and changes a number would get the first one.
    code = compile(Path(file).read_bytes(), str(Path(file).absolute()), 'exec', dont_inherit=True)
    exec(code, module.__dict__)
  except Exception as e:
    # The traceback of a mistake in the file stays visible as the cause.
    raise ConfigError(f'{file} cannot be read ({_in_one_line(e, file)}); correct it') from e
  return module


def _in_one_line(error: Exception, file: str) -> str:
  """The message of any error without line breaks, and the line of the config file that failed."""
  message = ' '.join(str(error).split())
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if Path(frame.filename).absolute() == Path(file).absolute()
  ]
  # A SyntaxError names its line itself.
  where = f'line {lines[-1]}: ' if lines else ''
  return f'{where}{type(error).__name__}: {message}'
