"""Model Spec Midtraining in JAX.

  results = msm_jax.run('configs/msm.py', workdir='runs/msm')   # train, evaluate, report
  results = msm_jax.load_results('runs/msm')                    # summary and rows of a finished run
  arm = msm_jax.open_arm('runs/msm', 'msm_aft')                 # arm.chat(...), arm.logprobs(...)

These names are imported when they are first used: JAX takes seconds to import.
"""

from typing import TYPE_CHECKING, Any

from msm_jax.base.version import VERSION as __version__

if TYPE_CHECKING:
  from msm_jax.inference.arm import Arm, open_arm
  from msm_jax.running.results import Results, load_results
  from msm_jax.running.run_experiment import read_config, run

__all__ = ['Arm', 'Results', '__version__', 'load_results', 'open_arm', 'read_config', 'run']

# name -> the module that defines it
_LAZY = {
  'Arm': 'msm_jax.inference.arm',
  'open_arm': 'msm_jax.inference.arm',
  'Results': 'msm_jax.running.results',
  'load_results': 'msm_jax.running.results',
  'read_config': 'msm_jax.running.run_experiment',
  'run': 'msm_jax.running.run_experiment',
}


def __getattr__(name: str) -> Any:
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  import importlib

  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return __all__
