"""The settings of an experiment: frozen dataclasses that check themselves.

`ExperimentConfig` (experiment.py) holds everything that a run depends on. Each group of settings
has a module: phases in phases.py, the settings of objectives in objectives.py, models in model.py,
tokenizer, mesh and optimizer in training.py, what is measured in evals.py. Those of sources, worlds
and handbooks are in data_pipelines. checks.py checks the groups against one another.

All classes can be imported from here.
"""

from data_pipelines.settings.custom.spec import CustomConfig
from data_pipelines.settings.english.stock import EnglishConfig
from data_pipelines.settings.office.pretraining import OfficeConfig
from data_pipelines.settings.world.pretraining import WorldConfig
from data_pipelines.sources import SourceConfig
from msm_jax.config.evals import DoseCurve, EvalConfig, GatesConfig
from msm_jax.config.experiment import ExperimentConfig
from msm_jax.config.model import PROJECTIONS, LoraConfig, ModelConfig, RopeScaling
from msm_jax.config.phases import PhaseConfig, path_of
from msm_jax.config.training import MeshConfig, OptimizerConfig, TokenizerConfig

__all__ = [
  'PROJECTIONS',
  'CustomConfig',
  'DoseCurve',
  'EnglishConfig',
  'EvalConfig',
  'ExperimentConfig',
  'GatesConfig',
  'LoraConfig',
  'MeshConfig',
  'ModelConfig',
  'OfficeConfig',
  'OptimizerConfig',
  'PhaseConfig',
  'RopeScaling',
  'SourceConfig',
  'TokenizerConfig',
  'WorldConfig',
  'path_of',
]
