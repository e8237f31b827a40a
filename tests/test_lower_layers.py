"""What the layers below all adapters make of a batch is computed once for all arms."""

import dataclasses

import jax
import numpy as np
import pytest
from steps import TINY, fresh_params
from test_scoring import make_examples

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.config import LoraConfig
from msm_jax.evals import lower_layers, scoring
from msm_jax.evals.lower_layers import LowerLayers

LORA = LoraConfig(rank=2, alpha=4.0, targets=('wq', 'w_down'), layers=(2, 3))
UPPER = dataclasses.replace(TINY, n_layers=4, lora=LORA)
EXAMPLES = make_examples(2)


@pytest.fixture
def runs(monkeypatch):
  """Filled with the shape of every batch that the lower layers run over."""
  shapes = []
  program = lower_layers._program

  def counted(model, params, **batch):
    shapes.append(batch['tokens_BT'].shape)
    return program(model, params, **batch)

  monkeypatch.setattr(lower_layers, '_program', counted)
  return shapes


def arm(seed):
  """The parameters of an arm: the frozen ones are shared, the adapters are random."""
  rng = np.random.default_rng(seed)
  params = dict(FROZEN)
  for name, x in params.items():
    if name.endswith(('_a', '_b')):
      params[name] = rng.normal(0, 0.3, x.shape).astype(np.float32)
  return params


FROZEN = fresh_params(UPPER)


def score(params, kept=None, model=UPPER, examples=EXAMPLES):
  return scoring.score_triples(model, params, examples, 16, rows=4, lower_layers=kept)


@pytest.mark.parametrize('scan', [True, False])
@pytest.mark.parametrize('layers', [(2, 3), (1, 3), (2,)])
def test_two_parts_are_the_whole(scan, layers):
  """Also with a gap between layers with adapters, and with layers above the highest."""
  lora = dataclasses.replace(LORA, layers=layers)
  c = dataclasses.replace(UPPER, lora=lora, scan_layers=scan)
  params = fresh_params(c)
  params['wq_b'] = np.random.default_rng(0).normal(size=params['wq_b'].shape).astype(np.float32)
  rng = np.random.default_rng(1)
  tokens = rng.integers(0, 64, (2, 12)).astype(np.int32)
  segments = np.repeat([[1, 2, 2]], 4, axis=1).repeat(2, axis=0).astype(np.int32)
  positions = np.tile(np.arange(12, dtype=np.int32), (2, 1))
  batch = (tokens, positions, segments)
  whole = jax.jit(models.forward, static_argnums=0)(c, params, *batch)
  lower = jax.jit(models.forward_lower, static_argnums=0)(c, params, *batch)

  def upper(params, lower_BTD):
    return models.forward(c, params, *batch, lower_BTD=lower_BTD)

  np.testing.assert_allclose(jax.jit(upper)(params, lower), whole, atol=1e-5)
  # The lower part says nothing about the whole: it has no adapters, and no layer above.
  assert np.abs(np.asarray(lower) - np.asarray(whole)).max() > 0.1


def test_scores_are_those_of_one_program(monkeypatch):
  """Within rounding, they are those of the model in one piece."""
  found = score(arm(1))
  monkeypatch.setattr(scoring, 'runs_apart', lambda model: False)
  np.testing.assert_allclose(found, score(arm(1)), rtol=1e-5, atol=1e-5)


def test_the_next_arm_runs_the_upper_layers_alone(runs):
  """It has the same scores, to the bit, as if it were asked first, or alone."""
  kept = LowerLayers()
  alone = [score(arm(seed)) for seed in (1, 2)]
  batches = len(runs) // 2
  assert batches > 1
  del runs[:]
  np.testing.assert_array_equal(score(arm(1), kept), alone[0])
  assert len(runs) == batches
  np.testing.assert_array_equal(score(arm(2), kept), alone[1])
  assert len(runs) == batches
  assert not np.array_equal(*alone)
  # Another question is another batch.
  score(arm(2), kept, examples=make_examples(2, seed=5))
  assert len(runs) > batches


def test_other_frozen_parameters_drop_what_was_kept(runs):
  """The same values in other arrays count as others: nobody compares all their numbers."""
  kept = LowerLayers()
  score(arm(1), kept)
  first = len(runs)
  other = arm(1) | dict(wk=FROZEN['wk'] * 2)
  found = score(other, kept)
  assert len(runs) == 2 * first
  np.testing.assert_array_equal(found, score(other))
  del runs[:]
  score(other | dict(wk=other['wk'].copy()), kept)
  assert len(runs) == first
  # Where the adapters begin is the model's.
  lora = dataclasses.replace(LORA, layers=(3,))
  higher = dataclasses.replace(UPPER, lora=lora)
  params = dict(other)
  for name in ('wq_a', 'wq_b', 'w_down_a', 'w_down_b'):
    params[name] = params[name][1:]
  np.testing.assert_array_equal(score(params, kept, higher), score(params, None, higher))


def test_room_is_bounded(runs):
  """The first batches stay, the others are computed for every arm."""
  of_batch = 4 * 16 * UPPER.d_model * 4
  kept = LowerLayers(max_bytes=of_batch + 1)
  score(arm(1), kept)
  batches = len(runs)
  assert kept.kept_bytes == of_batch
  score(arm(2), kept)
  assert len(runs) == 2 * batches - 1


def test_models_without_lower_layers_run_whole(runs):
  """These are full models, and models with adapters on all layers."""
  score(fresh_params(TINY), LowerLayers(), TINY)
  everywhere = dataclasses.replace(UPPER, lora=dataclasses.replace(LORA, layers=()))
  score(fresh_params(everywhere), LowerLayers(), everywhere)
  assert not runs
  assert lower_layers.runs_apart(UPPER)
  assert not lower_layers.runs_apart(everywhere)
  assert UPPER.n_lower_layers == 2 and TINY.n_lower_layers == everywhere.n_lower_layers == 0
  # A layer without adapters above layer 0 is none of the lower ones.
  gap = dataclasses.replace(UPPER, lora=dataclasses.replace(LORA, layers=(0, 2)))
  with pytest.raises(AssertionError, match='no adapters, or layer 0 has some'):
    models.forward_lower(gap, {}, *[np.zeros((1, 1), np.int32)] * 3)


def test_other_devices_and_pods_run_whole(monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(sharding, 'platform', lambda: 'gpu')
    assert not lower_layers.runs_apart(UPPER)
  assert lower_layers.runs_apart(UPPER)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  assert not lower_layers.runs_apart(UPPER)


def test_on_a_mesh(runs):
  """What is kept stays divided over the devices."""
  mesh = sharding.make_mesh(data=8)
  places = sharding.shardings(FROZEN, mesh)
  frozen = jax.device_put(FROZEN, places)
  kept = LowerLayers()
  for seed in (1, 2):
    params = dict(frozen)
    for name, x in arm(seed).items():
      if name.endswith(('_a', '_b')):
        params[name] = jax.device_put(x, places[name])
    found = score(params, kept)
    np.testing.assert_allclose(found, score(arm(seed)), rtol=1e-5, atol=1e-5)
    # Rows are filled up to the number of devices there, and not without a mesh.
    on_mesh = [shape for shape in runs if shape[0] == 8]
    if seed == 1:
      first = on_mesh
  assert first and on_mesh == first
  assert kept._kept
  for hidden in kept._kept.values():
    assert {shard.data.shape[0] for shard in hidden.addressable_shards} == {1}
