"""The experiment that combines midtraining with other methods of alignment."""

import pytest

from configs import hybrids
from msm_jax.base import paths
from msm_jax.base.checks import from_mapping
from msm_jax.config import ExperimentConfig, path_of
from msm_jax.experiment import Experiment


def experiment_of(c):
  return from_mapping(ExperimentConfig, paths.resolve_paths(c))


def test_both_models_go_the_same_ways():
  """Paths with and without midtraining differ in nothing but the phase of midtraining and in which
  model writes its own texts."""
  config = experiment_of(hybrids.get_config())
  for arm, path in config.arms.items():
    if not arm.startswith('aft'):
      continue
    other = path_of(config.arms[f'msm_{arm}'])
    expected = []
    for phase in path_of(path):
      expected.append(phase.replace('_aft', '_msm_aft'))
    expected.insert(2, 'msm')
    assert list(other) == expected
    for mine, theirs in zip(path_of(path)[2:], other[3:], strict=True):
      first, second = config.phases[mine], config.phases[theirs]
      assert (first.updates, first.lr, first.objective) == (
        second.updates,
        second.lr,
        second.objective,
      )


def test_replay_after_fine_tuning_is_that_of_the_arm_that_it_is_compared_with():
  phases = hybrids.get_config().phases
  replaying = {name for name, phase in phases.items() if phase.get('stream') == 'more'}
  ways = {f'deliberate_{start}' for start in hybrids.STARTS}
  assert replaying == ways | {'more'}
  assert 'more' not in (phases['tune'].stream, phases['msm'].stream)


def test_no_reinforcement_learning_ends_the_run():
  """A model that says the same every time has equal rewards; the other ways are still to come."""
  phases = hybrids.get_config().phases
  learning = [phase.grpo for phase in phases.values() if phase.get('objective') == 'grpo']
  assert len(learning) == 2
  assert all(grpo.patience == 0 for grpo in learning)


def test_every_way_is_compared_with_and_without_midtraining():
  effects = hybrids.get_config().effects
  for way in ('dpo', 'rl', 'rlhf', 'cai', 'deliberate'):
    assert tuple(effects[f'handbook, {way}']) == (f'msm_aft_{way}', f'aft_{way}')
    assert tuple(effects[f'{way} after aft']) == (f'aft_{way}', 'aft_more')
    four = (f'msm_aft_{way}', f'aft_{way}', 'msm_aft_more', 'aft_more')
    assert tuple(effects[f'change by {way}']) == four


def test_an_unknown_preset_is_refused():
  with pytest.raises(ValueError, match='presets one, three, smoke'):
    hybrids.get_config('two')


@pytest.mark.slow
def test_the_smoke_preset_runs(tmp_path):
  """A model of so few updates gives few usable answers; ways that need them are left to models that
  can write."""
  c = hybrids.get_config('smoke')
  kept = ('base', 'aft', 'msm_aft', 'msm_aft_dpo', 'aft_rlhf')
  c.arms = {arm: c.arms[arm] for arm in kept}
  c.effects = {name: pair for name, pair in c.effects.items() if set(pair) <= set(kept)}
  c.primary = 'handbook'
  c.model = dict(d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=48)
  for phase in c.phases.values():
    phase.batch_size = 8
  c.evals.rows = 64
  summary = Experiment(experiment_of(c), tmp_path).run()
  assert set(summary['arms']) == set(kept)
