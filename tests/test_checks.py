"""Settings as canonical JSON: what identities are hashed from."""

import dataclasses
import json

import pytest

from configs import cheese, msm, oversight
from data_pipelines.settings.custom.spec import CustomConfig
from msm_jax.base.checks import added_later, from_mapping, to_json
from msm_jax.base.paths import resolve_paths
from msm_jax.config import ExperimentConfig
from msm_jax.config.objectives import DistillConfig, DpoConfig, GrpoConfig, RewardConfig


@dataclasses.dataclass(frozen=True)
class Before:
  rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class After:
  rate: float = 0.5
  objective: str = added_later('next_token')


@dataclasses.dataclass(frozen=True)
class Outer:
  inner: After = After()
  names: tuple[str, ...] = ('a',)


def test_a_field_that_is_added_later_keeps_identities():
  """With its default the field is invisible; set, it counts, at any depth."""
  assert to_json(After()) == to_json(Before())
  assert to_json(After(objective='dpo')) != to_json(Before())
  assert json.loads(to_json(Outer())) == {'inner': {'rate': 0.5}, 'names': ['a']}
  set_inside = Outer(After(objective='dpo'))
  assert json.loads(to_json(set_inside))['inner']['objective'] == 'dpo'


# Fields that ExperimentConfig and its parts got after identities were recorded -> their defaults.
ADDED = {
  'corpora_by_seed': False,
  'custom': CustomConfig(),
  'dose_curves': (),
  'evals.gate_scenes': 0,
  'evals.others_of': 'all',
  'evals.sampled': 0,
  'evals.sampled_items': 0,
  'evals.sampled_temperature': 1.0,
  'evals.sampled_tokens': 64,
  'evals.spare_items': False,
  'evals.stated': False,
  'gates.capability_drop': 0.05,
  'gates.specificity': 0.25,
  'max_left_out': 0.01,
  'max_skipped_share': 0.1,
  'model.attention': 'auto',
  'office.false_believers': 0.0,
  'office.paraphrased_beliefs': False,
  'primary': '',
  'primary_measure': '',
  'world.reasons_only': 0.0,
  'world_seeds': (),
}
# The same for the settings of each phase and of each source.
ADDED_TO_PHASES = {
  'distill': DistillConfig(),
  'dpo': DpoConfig(),
  'evaluate_at': (),
  'grpo': GrpoConfig(),
  'objective': 'next_token',
  'reward': RewardConfig(),
}
ADDED_TO_SOURCES = {
  'answers_in_view': True,
  'attempts': 4,
  'by': '',
  'contradiction': 0.0,
  'handbook': 'rule',
  'instruction': '',
  'max_tokens': 64,
  'neutral_reasons': False,
  'opening': '',
  'prompts': '',
  'revise': 'again',
  'temperature': 1.0,
  'toward': '',
}


def without_added(holder, field, default):
  """Takes a field out of a dict of settings if it has its default."""
  if dataclasses.is_dataclass(default):
    default = dataclasses.asdict(default)
  if holder[field] == default:
    del holder[field]


@pytest.mark.parametrize('module', [msm, cheese, oversight])
def test_the_json_of_a_config_is_that_of_its_dataclasses(module):
  """`dataclasses.asdict` is the independent judge, but for the fields that were added later."""
  config = from_mapping(ExperimentConfig, resolve_paths(module.get_config()))
  wanted = dataclasses.asdict(config)
  for name, default in ADDED.items():
    *parts, field = name.split('.')
    holder = wanted
    for part in parts:
      holder = holder[part]
    without_added(holder, field, default)
  for group, added in (('phases', ADDED_TO_PHASES), ('sources', ADDED_TO_SOURCES)):
    for settings in wanted[group].values():
      for field, default in added.items():
        without_added(settings, field, default)
  assert to_json(config) == json.dumps(wanted, sort_keys=True)
