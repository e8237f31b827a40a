"""One update: on any mesh, in any number of micro-batches, and when it is not finite."""

import contextlib
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import (
  TINY,
  assert_trees_close,
  assert_trees_equal,
  fresh_params,
  make_batch,
  one_device,
  placed,
  rows_of,
  run_steps,
)

from msm_jax import sharding
from msm_jax.config import LoraConfig, OptimizerConfig
from msm_jax.optim import make_optimizer
from msm_jax.training import train_step

# A large eps makes Adam's first updates proportional to the gradient. With a small one they are its
# sign, and rounding decides the sign of a zero.
LINEAR_ADAM = OptimizerConfig(eps=1e-2)
MESHES = {
  'data': dict(data=8),
  'pair': dict(data=2),
  'fsdp': dict(data=1, fsdp=8),
  'all': dict(data=2, fsdp=2, tensor=2),
}
ADAPTED = dataclasses.replace(TINY, lora=LoraConfig(rank=4, alpha=4.0))
DROPPED = dataclasses.replace(TINY, lora=LoraConfig(rank=4, alpha=4.0, dropout=0.5))


@functools.cache
def two_updates(name, A=1, optimizer=LINEAR_ADAM, model=TINY, chunk=0):
  """(metrics of two updates, parameters after them): on one device without any mesh, or on a mesh
  of 8, or of 2."""
  batches = []
  for seed in (1, 2):
    batch = make_batch(seed=seed)
    batches.append({key: x.reshape(A, -1, x.shape[-1]) for key, x in batch.items()})
  # Where layers have adapters, they are beside the parameters of a model without any.
  frozen = fresh_params(seed=1) if model.lora else {}
  if name == 'no mesh':
    # The program serves for its initial state only.
    program = train_step.make_program(model, optimizer, chunk, one_device())
    initial = jax.device_get(program.init(jax.random.key(0)))
    state = jax.device_put(initial, jax.devices()[0])
    state = dataclasses.replace(state, frozen=jax.device_put(frozen, jax.devices()[0]))
    step = jax.jit(
      functools.partial(train_step.train_step, model, make_optimizer(optimizer), chunk)
    )
    context = contextlib.nullcontext()
  else:
    devices = jax.devices()[: math.prod(MESHES[name].values())]
    mesh = sharding.make_mesh(**MESHES[name], devices=devices)
    program = train_step.make_program(model, optimizer, chunk, mesh)
    state = program.init(jax.random.key(0))
    state = dataclasses.replace(state, frozen=placed(frozen, program.abstract_state.frozen))
    step = program.step
    context = jax.set_mesh(mesh)
    batches = [train_step.to_device(rows_of(batch), A, mesh) for batch in batches]
  found = []
  with context:
    for batch in batches:
      state, metrics = step(state, batch, jnp.full(2, 0.05))
      found.append(metrics)
  return jax.device_get((found, state.params))


@pytest.mark.slow
@pytest.mark.parametrize('mesh', MESHES)
def test_meshes_agree(mesh):
  """Data, fsdp and tensor parallel updates are the updates of one device: a missing reduction would
  be off by a factor."""
  wanted, params = two_updates('no mesh')
  found, sharded_params = two_updates(mesh)
  assert_trees_close(found, wanted, rtol=1e-5)
  assert_trees_close(sharded_params, params, rtol=1e-5, atol=2e-6)
  fresh = fresh_params()
  for name, p in params.items():
    assert np.abs(p - fresh[name]).max() > 1e-4, 'nothing was learned'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('mesh', 'settings'),
  [
    ('data', dict(optimizer=OptimizerConfig(name='muon', eps=1e-2))),
    ('data', dict(model=ADAPTED)),
    ('data', dict(model=DROPPED)),
    ('data', dict(chunk=32)),
    ('data', dict(chunk=4)),
    # Several rows on each device.
    ('pair', dict(model=DROPPED)),
    ('pair', dict(chunk=32)),
  ],
  ids=['muon', 'adapters', 'dropout', 'chunks', 'small chunks', 'dropout, rows', 'chunks, rows'],
)
def test_devices_that_divide_rows_alone_agree(mesh, settings):
  """They add gradients up themselves. The masks of dropout are those of one device, and a chunk of
  fewer tokens than there are devices is one token of each."""
  # Without a mesh, all tokens at once: chunks change no number either.
  wanted, params = two_updates('no mesh', **settings | dict(chunk=0))
  found, sharded_params = two_updates(mesh, **settings)
  assert_trees_close(found, wanted, rtol=1e-5)
  # Muon turns a rounding error of small singular values into a larger one.
  assert_trees_close(sharded_params, params, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['no mesh', 'pair', 'all'])
def test_accumulation_equals_the_big_batch(name):
  """2 micro-batches (4 on fewer devices) of different weight make the update of 8 rows: a mean of
  means would not."""
  A = 2 if name == 'all' else 4
  weights = make_batch(A, 8 // A, seed=1)['weights'].sum((1, 2))
  assert weights.max() > 1.2 * weights.min(), 'the micro-batches should weigh differently'
  assert_trees_close(two_updates(name, A), two_updates(name), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(('optimizer', 'gathers'), [('adamw', 0), ('muon', 3)])
def test_devices_that_divide_rows_alone_exchange_once(optimizer, gathers):
  """All gradients and sums go in one exchange, since each makes all devices wait; Muon has one more
  for each shape of matrices. A chunk of the loss takes from every device: cut into consecutive
  tokens, it lay on one device, XLA gathered all hidden states and every device computed the whole
  loss."""
  mesh = sharding.make_mesh(data=8)
  program = train_step.make_program(TINY, OptimizerConfig(name=optimizer), 64, mesh)
  with jax.set_mesh(mesh):
    batch = train_step.to_device(rows_of(make_batch(B=16)), 1, mesh)
    lowered = program.step.lower(program.abstract_state, batch, jnp.zeros(2))
    compiled = lowered.compile().as_text()
  assert compiled.count(' all-reduce(') == 1
  assert compiled.count(' all-gather(') == gathers
  for exchange in ('all-to-all', 'collective-permute'):
    assert f' {exchange}(' not in compiled, exchange


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_nothing_large_is_replicated(optimizer):
  """Under fsdp every device holds an eighth of each matrix and of its moments, at the start of a
  phase and after a step."""
  mesh = sharding.make_mesh(data=1, fsdp=8)
  program = train_step.make_program(TINY, OptimizerConfig(name=optimizer), 0, mesh)

  def check(state):
    large = {
      jax.tree_util.keystr(path): x
      for path, x in jax.tree_util.tree_leaves_with_path(state)
      if x.size >= 512
    }
    # Parameters, first and (but for Muon) second moments of 8 matrices.
    assert len(large) >= 3 * 8 - 7 * (optimizer == 'muon')
    for name, x in large.items():
      assert math.prod(x.sharding.shard_shape(x.shape)) * 8 == x.size, f'{name} is replicated'

  state = program.init(jax.random.key(0))
  check(program.abstract_state)
  check(state)
  with jax.set_mesh(mesh):
    state = program.start(state.params)
    check(state)
    batch = train_step.to_device(rows_of(make_batch()), 1, mesh)
    state, _ = program.step(state, batch, jnp.zeros(2))
  check(state)


@pytest.mark.parametrize('poison', [np.nan, np.inf])
def test_an_update_that_is_not_finite_changes_nothing(poison):
  """Parameters and moments stay the same to the bit, the update is counted, and a good one starts
  the count anew."""
  good, bad = make_batch(seed=1), make_batch(seed=2)
  bad['weights'][0, 3, 5] = poison
  states, metrics = run_steps(OptimizerConfig(), [good, bad, bad, good], [1e-2] * 4)
  after_good, after_bad = states[1], states[3]
  assert_trees_equal(after_bad.params, after_good.params)
  assert_trees_equal(after_bad.opt_state, after_good.opt_state)
  assert [int(m['skipped']) for m in metrics] == [0, 1, 2, 0]
  assert int(states[-1].step) == 4
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(states[-1]))
  assert not np.array_equal(states[4].params['embed'], states[3].params['embed'])


def test_a_rate_that_is_no_number_changes_nothing():
  """Gradients may be fine and the update not: parameters that are no numbers would score 0.0 in
  every evaluation, which looks like a result."""
  states, metrics = run_steps(OptimizerConfig(), [make_batch(seed=1)] * 2, [1e-2, np.nan])
  assert_trees_equal(states[2].params, states[1].params)
  assert [int(m['skipped']) for m in metrics] == [0, 1]


@pytest.mark.slow
def test_the_embedding_learns_at_its_own_rate():
  """Adam's updates are the rate's size: with a hundredth of the rate, everything but the embedding
  moves a hundredth as far."""
  mesh = one_device()
  program = train_step.make_program(TINY, OptimizerConfig(weight_decay=0.0, clip=0.0), 0, mesh)
  before = jax.device_get(program.init(jax.random.key(0)).params)

  def after_one_update(lr):
    state = program.init(jax.random.key(0))
    state, _ = program.step(state, make_batch(), np.float32(lr))
    return jax.device_get(state.params)

  with jax.set_mesh(mesh):
    slow = after_one_update([1e-4, 1e-2])
    fast = after_one_update([1e-2, 1e-2])
  for name, p in before.items():
    share = np.abs(slow[name] - p).max() / np.abs(fast[name] - p).max()
    assert share == pytest.approx(1 if name == 'embed' else 0.01, rel=0.05), name


def test_both_tables_of_tokens_learn_at_the_rate_of_embeddings():
  untied = fresh_params(dataclasses.replace(TINY, tie_embeddings=False))
  at_its_own_rate = set()
  for path, _ in jax.tree_util.tree_leaves_with_path(untied):
    if train_step._rate_index(path):
      at_its_own_rate.add(path[0].key)
  assert at_its_own_rate == {'embed', 'unembed'}
