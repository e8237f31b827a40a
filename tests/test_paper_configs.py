"""The configs of real models: what they hold, what they cost, and that all of it runs."""

import pytest

from configs import smollm2
from msm_jax import config as configs
from msm_jax.base import checks, paths


def settings(c):
  return checks.from_mapping(configs.ExperimentConfig, paths.resolve_paths(c))


# ---- SmolLM2


@pytest.mark.parametrize('preset', smollm2.SIZES)
def test_presets_of_smollm2_are_experiments(preset):
  c = settings(smollm2.get_config(preset))
  assert c.name == f'smollm2_{preset}'
  assert c.corpora_by_seed
  for name, phase in c.phases.items():
    is_midtraining = not phase.is_import and 'aft' not in name
    if is_midtraining and preset != 'smoke':
      # A published null had 31 updates; a million tokens are at least 244.
      assert phase.batch_size * phase.length <= 1_000_000 / 244


def test_smollm2_has_all_controls():
  c = settings(smollm2.get_config('cpu'))
  for value in smollm2.SPECS:
    wanted = (
      f'msm_{value}',
      f'msm_{value}_aft',
      f'unlinked_{value}_aft',
      f'chats_{value}_aft',
      f'msm_{value}_aft_neutral',
      f'context_{value}',
    )
    assert set(wanted) <= set(c.arms)
    assert c.sources[f'chats_{value}'].maker == 'english.chats'
    assert c.sources[f'unlinked_{value}'].variant == 'unlinked'
  assert c.sources['neutral_reasons'].neutral_reasons
  doses = [p.updates for n, p in settings(smollm2.get_config('dose')).phases.items() if '_' in n]
  assert sorted(set(doses)) == [62, 124, 248, 496]


def test_the_docstring_states_the_cost_that_is_reckoned():
  stated = ' '.join(smollm2.__doc__.split())
  for preset, speed in (
    ('cpu', smollm2.SPEED_UPPER),
    ('cpu_all', smollm2.SPEED_ALL),
    ('dose', smollm2.SPEED_UPPER),
    ('replay', smollm2.SPEED_UPPER),
  ):
    hours = smollm2.training_hours(smollm2.get_config(preset), speed)
    assert f'{hours:.1f} for `{preset}`' in stated.replace('hours for', 'for')
    assert hours < 12


def test_a_node_of_the_tree_is_counted_once():
  c = smollm2.get_config('smoke')
  c.arms = {'one': 'pretrained > affordability', 'two': 'pretrained > affordability > aft'}
  # Two phases of four updates of 512 tokens.
  assert smollm2.training_hours(c, 1.0) == pytest.approx(2 * 4 * 512 / 3600)
