"""The optimizers and the learning rate."""

import contextlib
import dataclasses
import functools
import math

import jax
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from steps import assert_trees_close, make_batch, run_steps

from msm_jax import optim, sharding
from msm_jax.config import OptimizerConfig, PhaseConfig
from msm_jax.optim import learning_rate

# Three layers: stacks of 12 and 9 matrices, so that the second one has to be padded.
MUON_SHAPES = {
  'wq': (3, 16, 16),
  'wk': (3, 16, 16),
  'wv': (3, 16, 16),
  'wo': (3, 16, 16),
  'w_gate': (3, 16, 24),
  'w_up': (3, 16, 24),
  'w_down': (3, 24, 16),
}


def compiled_flops(function, *arguments):
  return jax.jit(function).lower(*arguments).compile().cost_analysis()['flops']


@functools.cache
def updates_of_optax():
  """(parameters, gradients of three updates, the updates that optax's Muon makes of them)."""
  rng = np.random.default_rng(0)

  def random_tree():
    return {k: rng.normal(size=shape).astype(np.float32) for k, shape in MUON_SHAPES.items()}

  params = random_tree()
  grads = [random_tree() for _ in range(3)]
  dimensions = {k: optax.contrib.MuonDimensionNumbers(1, 2) for k in MUON_SHAPES}
  muon = optax.contrib.muon(1.0, consistent_rms=0.2, muon_weight_dimension_numbers=dimensions)
  update = jax.jit(muon.update)
  state, found = muon.init(params), []
  for g in grads:
    updates, state = update(g, state, params)
    found.append(jax.device_get(updates))
  return params, grads, found


@pytest.mark.slow
@pytest.mark.parametrize(
  'mesh', [None, dict(data=8), dict(data=1, fsdp=8), dict(data=2, fsdp=2, tensor=2)], ids=str
)
def test_muon_divided_over_devices_is_muon(mesh):
  """optax's Muon has every device orthogonalise every matrix. Ours must give the same updates,
  whatever the devices share."""
  params, grads, wanted = updates_of_optax()
  ours = optim.scale_by_muon()
  state = ours.init(params)
  work_of_one = compiled_flops(ours.update, grads[0], state)
  with contextlib.nullcontext() if mesh is None else jax.set_mesh(sharding.make_mesh(**mesh)):
    if mesh:
      # As gradients come: sharded like their parameters.
      layout = sharding.shardings(grads[0], jax.sharding.get_mesh())
      replicated = NamedSharding(jax.sharding.get_mesh(), P())
      grads = jax.device_put(grads, [layout] * 3)
      state = jax.device_put(state, optim.MuonState(replicated, layout))
      parts = 8 // mesh.get('tensor', 1)
      work = compiled_flops(ours.update, grads[0], state)
      assert work < 2 * work_of_one / parts, 'every device does the work of all'
    for g, expected in zip(grads, wanted, strict=True):
      updates, state = jax.jit(ours.update)(g, state)
      negated = jax.tree.map(lambda x: -x, updates)
      assert_trees_close(negated, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_weight_decay_spares_norms(optimizer):
  """Without a gradient, the update is decay alone: 1 - 0.1 x 0.5 of a matrix, and a norm as it
  was."""
  batch = make_batch()
  batch['weights'][:] = 0
  (before, after), _ = run_steps(OptimizerConfig(name=optimizer, weight_decay=0.5), [batch], [0.1])
  for name, p in before.params.items():
    if name.endswith('norm'):
      np.testing.assert_array_equal(after.params[name], p, err_msg=name)
    else:
      np.testing.assert_allclose(after.params[name], 0.95 * p, rtol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(('optimizer', 'lr'), [('adamw', 1e-2), ('muon', 1e-2)])
def test_a_batch_is_memorised(optimizer, lr):
  """64 random tokens, by heart to 0.1 nats in 150 updates: an optimizer that loses a moment or a
  sign does not get there."""
  batch = make_batch(B=4)
  batch['weights'][:] = 1
  batch['targets'] = np.roll(batch['tokens'], -1, axis=-1)
  optimizer = OptimizerConfig(name=optimizer)
  _, metrics = run_steps(optimizer, [batch] * 150, [lr] * 150, keeps_states=False)
  found = [float(m['loss']) for m in metrics]
  assert found[0] > 3.5
  assert found[-1] < 0.1
  assert metrics[-1]['accuracy'] > 0.98


def test_adamw_is_what_one_computes_by_hand():
  """Each moment has its own decay; clipping is off."""
  rule = optim.make_optimizer(
    OptimizerConfig(b1=0.8, b2=0.95, eps=1e-3, weight_decay=0.1, clip=0.0)
  )
  params = {'w': np.array([[1.0, -2.0]], np.float32)}
  state = rule.init(params)
  m = v = 0.0
  for n, g in enumerate((0.5, -1.0, 2.0), 1):
    updates, state = rule.update({'w': np.full((1, 2), g, np.float32)}, state, params)
    m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
    wanted = -(m / (1 - 0.8**n)) / (math.sqrt(v / (1 - 0.95**n)) + 1e-3) - 0.1 * params['w']
    np.testing.assert_allclose(updates['w'], wanted, rtol=1e-4)


def test_clipping_bounds_the_gradient():
  """The gradient that reaches Adam has the norm `clip` (a large eps shows its size). Weights that
  are all scaled by one factor change nothing."""
  batch, scaled = make_batch(), make_batch()
  quiet = OptimizerConfig(eps=1.0, clip=1e-3, weight_decay=0.0)
  states, metrics = run_steps(quiet, [batch], [1.0])
  before, after = states
  moved = {k: after.params[k] - before.params[k] for k in before.params}
  norm = math.sqrt(sum(float((v**2).sum()) for v in moved.values()))
  assert metrics[0]['grad_norm'] > 0.1
  # Adam's first update is g / (|g| + eps), with |g| << eps = 1.
  assert norm == pytest.approx(1e-3, rel=0.01)
  scaled['weights'] *= 0.5
  scaled_states, _ = run_steps(quiet, [scaled], [1.0])
  assert_trees_close(scaled_states[1].params, after.params, atol=1e-6)


# ---- The schedule

# 100 updates, 10 of them warmup, down to a tenth: (schedule, step, share of the peak).
RATES = [
  ('cosine', 0, 0.1),
  ('cosine', 4, 0.5),
  ('cosine', 9, 1.0),
  ('cosine', 27, 0.1 + 0.45 * (1 + math.cos(0.2 * math.pi))),
  ('cosine', 54, 0.55),
  ('cosine', 99, 0.1),
  ('linear', 9, 1.0),
  ('linear', 27, 0.82),
  ('linear', 54, 0.55),
  ('linear', 99, 0.1),
  ('constant', 0, 0.1),
  ('constant', 9, 1.0),
  ('constant', 99, 1.0),
]


@pytest.mark.parametrize(('schedule', 'step', 'share'), RATES)
def test_learning_rate(schedule, step, share):
  """Warmup rises to the peak at its last update; decay begins after it and reaches `final` at the
  very last."""
  phase = PhaseConfig(
    data={'x': 1.0}, updates=100, lr=2e-3, warmup=0.1, schedule=schedule, final=0.1
  )
  assert learning_rate(phase, step) == pytest.approx([2e-3 * share] * 2, rel=1e-6)
  apart = dataclasses.replace(phase, embed_lr=5e-3)
  assert learning_rate(apart, step) == pytest.approx([2e-3 * share, 5e-3 * share], rel=1e-6)


def test_warmup_is_rounded_to_the_nearest_update():
  phase = PhaseConfig(data={'x': 1.0}, updates=35, lr=1.0, warmup=0.05, schedule='constant')
  assert [float(learning_rate(phase, step)[0]) for step in range(3)] == [0.5, 1.0, 1.0]


@pytest.mark.parametrize(('updates', 'warmup'), [(1, 0.05), (1, 1.0), (3, 0.0), (3, 1.0)])
def test_learning_rate_of_short_phases(updates, warmup):
  """Always a positive rate, at most the peak."""
  for schedule in ('cosine', 'linear', 'constant'):
    phase = PhaseConfig(
      data={'x': 1.0}, updates=updates, warmup=warmup, schedule=schedule, min_updates=1
    )
    for step in range(updates):
      rates = learning_rate(phase, step)
      assert 0 < rates.min() <= rates.max() <= np.float32(phase.lr)
