"""The loss, the step and the loop of one phase."""

import contextlib
import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import checkpointing, optim, sharding, train
from msm_jax.base import checks
from msm_jax.base.errors import ConfigError
from msm_jax.config import ExperimentConfig, MeshConfig, ModelConfig, OptimizerConfig, PhaseConfig
from msm_jax.input_pipeline import Source
from msm_jax.objectives import next_token as losses
from msm_jax.optim import learning_rate, make_optimizer

# Shapes: N tokens, D model, V vocabulary, A micro-batches, B rows, T tokens of a row.
TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=64
)
# A large eps makes Adam's first updates proportional to the gradient; with a small one they are its sign, and rounding decides the sign of a zero.
LINEAR_ADAM = OptimizerConfig(eps=1e-2)
MESHES = {'data': dict(data=8), 'fsdp': dict(data=1, fsdp=8), 'all': dict(data=2, fsdp=2, tensor=2)}


def make_batch(A=1, B=8, T=16, seed=0):
  """(A, B, T) random tokens in two segments a row; the weights of rows and micro-batches differ much."""
  rng = np.random.default_rng(seed)
  shape = (A * B, T)
  weights = rng.choice([0.0, 0.5, 1.0, 3.0], shape) * (rng.random((A * B, 1)) < 0.7)
  segments = np.where(np.arange(T) < rng.integers(2, T, (A * B, 1)), 1, 2)
  batch = {
    'tokens': rng.integers(0, 64, shape),
    'targets': rng.integers(0, 64, shape),
    'weights': weights,
    'segment_ids': segments,
    'positions': np.where(
      segments == 1, np.arange(T), np.arange(T) - (segments == 1).sum(1, keepdims=True)
    ),
  }
  return {
    k: v.reshape(A, B, T).astype(np.float32 if k == 'weights' else np.int32)
    for k, v in batch.items()
  }


def one_device():
  return sharding.make_mesh(devices=jax.devices()[:1])


def assert_trees_close(a, b, rtol=1e-5, atol=1e-6):
  for (path, x), y in zip(
    jax.tree_util.tree_leaves_with_path(jax.device_get(a)),
    jax.tree.leaves(jax.device_get(b)),
    strict=True,
  ):
    np.testing.assert_allclose(x, y, rtol, atol, err_msg=jax.tree_util.keystr(path))


def assert_trees_equal(a, b):
  for (path, x), y in zip(
    jax.tree_util.tree_leaves_with_path(jax.device_get(a)),
    jax.tree.leaves(jax.device_get(b)),
    strict=True,
  ):
    np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))


# ---------------------------------------------------------------------------------------------------------------------- the loss


def loss_inputs(N=24, D=8, V=40, seed=0):
  rng = np.random.default_rng(seed)
  hidden, unembed = (
    rng.normal(0, 2, (N, D)).astype(np.float32),
    rng.normal(0, 1, (V, D)).astype(np.float32),
  )
  weights = rng.choice([0.0, 0.25, 1.0, 2.0], N).astype(np.float32)
  return hidden, unembed, rng.integers(0, V, N, dtype=np.int32), weights


def plain_loss(hidden, unembed, targets, weights):
  logprobs = jax.nn.log_softmax(hidden @ unembed.T)
  right = (logprobs.argmax(-1) == targets) * weights
  return -(weights * logprobs[jnp.arange(len(targets)), targets]).sum(), right.sum()


@pytest.mark.parametrize('chunk', [0, 6, 24, 100])
def test_loss_equals_log_softmax(chunk):
  """Value, right guesses and the hand-written gradients, whole and in chunks, with ragged weights."""
  hidden, unembed, targets, weights = loss_inputs()
  targets[:6] = (hidden @ unembed.T).argmax(-1)[:6]  # some are right

  def run(f):
    return jax.jit(
      jax.value_and_grad(
        lambda h, u: (lambda loss, right: (3 * loss, right))(*f(h, u)), argnums=(0, 1), has_aux=True
      )
    )(hidden, unembed)

  (wanted, right), wanted_grads = run(lambda h, u: plain_loss(h, u, targets, weights))
  (found, found_right), grads = run(
    lambda h, u: losses.cross_entropy_sums(h, u, targets, weights, chunk)
  )
  assert found == pytest.approx(float(wanted), rel=1e-6)
  assert found_right == float(right) > 0
  assert_trees_close(grads, wanted_grads, rtol=1e-5, atol=1e-5)


def test_tokens_without_weight_do_not_count():
  """Their hidden state and target may be anything: the loss and every gradient stay the same to the bit, their own gradient is 0."""
  hidden, unembed, targets, weights = loss_inputs()
  run = jax.jit(
    jax.value_and_grad(
      lambda h, u, t: losses.cross_entropy_sums(h, u, t, weights, 8)[0], argnums=(0, 1)
    )
  )
  before = run(hidden, unembed, targets)
  silent = weights == 0
  hidden[silent], targets[silent] = 100.0, 7
  after = run(hidden, unembed, targets)
  assert not np.asarray(after[1][0])[silent].any()
  assert before[0] == after[0]
  assert_trees_close(before[1], after[1], rtol=0, atol=1e-6)


def test_loss_survives_huge_logits():
  """exp of a logit of 1,000 overflows unless the largest is taken off first."""
  hidden, unembed = np.full((2, 1), 1000, np.float32), np.array([[1], [0], [-1]], np.float32)
  loss, right = losses.cross_entropy_sums(
    hidden, unembed, np.array([0, 1]), np.ones(2, np.float32), 0
  )
  assert (loss, right) == (1000, 1)


def test_chunk_must_divide():
  """Otherwise the last tokens would be dropped without a word."""
  hidden, unembed, targets, weights = loss_inputs()
  with pytest.raises(ValueError, match='loss_chunk=7 does not divide the 24 tokens'):
    losses.cross_entropy_sums(hidden, unembed, targets, weights, 7)


# ---------------------------------------------------------------------------------------------------------------------- the step


@functools.cache
def two_updates(name, A=1, optimizer=LINEAR_ADAM):
  """(losses of two updates, parameters after them): on one device without any mesh, or on a mesh of 8."""
  batches = [
    jax.tree.map(lambda x: x.reshape(A, -1, *x.shape[2:]), make_batch(seed=s)) for s in (1, 2)
  ]
  tx = make_optimizer(optimizer)
  if name == 'no mesh':
    program = train.prepare(TINY, optimizer, 0, one_device())  # for its initial state only
    state = jax.device_put(jax.device_get(program.init(jax.random.key(0))), jax.devices()[0])
    step, context = (
      jax.jit(functools.partial(train.train_step, TINY, tx, 0)),
      contextlib.nullcontext(),
    )
  else:
    mesh = sharding.make_mesh(**MESHES[name])
    program = train.prepare(TINY, optimizer, 0, mesh)
    state, step, context = program.init(jax.random.key(0)), program.step, jax.set_mesh(mesh)
    batches = [
      train.to_device({k: v.reshape(-1, v.shape[-1]) for k, v in b.items()}, A, mesh)
      for b in batches
    ]
  found = []
  with context:
    for b in batches:
      state, metrics = step(state, b, jnp.full(2, 0.05))
      found.append(metrics)
  return jax.device_get((found, state.params))


@pytest.mark.parametrize('mesh', MESHES)
def test_meshes_agree(mesh):
  """Data, fsdp and tensor parallel updates are the updates of one device: a missing reduction would be off by a factor."""
  wanted, params = two_updates('no mesh')
  found, sharded_params = two_updates(mesh)
  assert_trees_close(found, wanted, rtol=1e-5)
  assert_trees_close(sharded_params, params, rtol=1e-5, atol=2e-6)
  fresh = jax.device_get(
    train.prepare(TINY, LINEAR_ADAM, 0, one_device()).init(jax.random.key(0)).params
  )
  assert all(
    np.abs(a - b).max() > 1e-4
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(fresh), strict=True)
  ), 'nothing was learned'


@pytest.mark.parametrize('name', ['no mesh', 'all'])
def test_accumulation_equals_the_big_batch(name):
  """2 micro-batches (4 without a mesh) of unlike weight make the update of 8 rows: a mean of means would not."""
  A = 2 if name == 'all' else 4
  weights = make_batch(A, 8 // A, seed=1)['weights'].sum((1, 2))
  assert weights.max() > 1.2 * weights.min(), 'the micro-batches should weigh differently'
  assert_trees_close(two_updates(name, A), two_updates(name), rtol=1e-5, atol=2e-6)


def test_a_chunk_of_the_loss_takes_from_every_device():
  """Data parallel devices exchange gradients and nothing else. Cut into consecutive tokens, a chunk lay on one device: XLA gathered all hidden
  states and every device computed the whole loss."""
  mesh = sharding.make_mesh(data=8)
  program = train.prepare(TINY, OptimizerConfig(), 64, mesh)
  with jax.set_mesh(mesh):
    batch = train.to_device({k: v[0] for k, v in make_batch(B=16).items()}, 1, mesh)
    compiled = program.step.lower(program.like, batch, jnp.zeros(2)).compile().as_text()
  assert ' all-reduce(' in compiled
  for exchange in ('all-gather', 'all-to-all', 'collective-permute'):
    assert f' {exchange}(' not in compiled, exchange


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_nothing_large_is_replicated(optimizer):
  """Under fsdp every device holds an eighth of each matrix and of its moments, at the start of a phase and after a step."""
  mesh = sharding.make_mesh(data=1, fsdp=8)
  program = train.prepare(TINY, OptimizerConfig(name=optimizer), 0, mesh)

  def check(state):
    large = {
      jax.tree_util.keystr(p): x
      for p, x in jax.tree_util.tree_leaves_with_path(state)
      if x.size >= 512
    }
    assert len(large) >= 3 * 8 - 7 * (optimizer == 'muon'), (
      'parameters, first and (but for muon) second moments of 8 matrices'
    )
    whole = [
      name for name, x in large.items() if math.prod(x.sharding.shard_shape(x.shape)) * 8 != x.size
    ]
    assert not whole

  state = program.init(jax.random.key(0))
  check(program.like)
  check(state)
  with jax.set_mesh(mesh):
    state = program.start(state.params)
    check(state)
    state, _ = program.step(
      state, train.to_device({k: v[0] for k, v in make_batch().items()}, 1, mesh), jnp.zeros(2)
    )
  check(state)


def run_steps(optimizer, batches, lrs):
  mesh = one_device()
  program = train.prepare(TINY, optimizer, 0, mesh)
  state = program.init(jax.random.key(0))
  states, metrics = [jax.device_get(state)], []
  with jax.set_mesh(mesh):
    for b, lr in zip(batches, lrs, strict=True):
      state, m = program.step(state, b, np.full(2, lr, np.float32))
      states.append(jax.device_get(state))
      metrics.append(jax.device_get(m))
  return states, metrics


@pytest.mark.parametrize('poison', [np.nan, np.inf])
def test_an_update_that_is_not_finite_changes_nothing(poison):
  """Parameters and moments stay the same to the bit, the update is counted, and a good one starts the count anew."""
  good, bad = make_batch(seed=1), make_batch(seed=2)
  bad['weights'][0, 3, 5] = poison
  states, metrics = run_steps(OptimizerConfig(), [good, bad, bad, good], [1e-2] * 4)
  assert_trees_equal(
    (states[3].params, states[3].opt_state), (states[1].params, states[1].opt_state)
  )
  assert [int(m['skipped']) for m in metrics] == [0, 1, 2, 0]
  assert int(states[-1].step) == 4
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(states[-1]))
  assert not np.array_equal(states[4].params['embed'], states[3].params['embed'])


def test_a_rate_that_is_no_number_changes_nothing():
  """Gradients may be fine and the update not: parameters that are no numbers would score 0.0 in every evaluation, which looks like a result."""
  states, metrics = run_steps(OptimizerConfig(), [make_batch(seed=1)] * 2, [1e-2, np.nan])
  assert_trees_equal(states[2].params, states[1].params)
  assert [int(m['skipped']) for m in metrics] == [0, 1]


@pytest.mark.parametrize(
  'mesh', [None, dict(data=8), dict(data=1, fsdp=8), dict(data=2, fsdp=2, tensor=2)], ids=str
)
def test_muon_divided_over_devices_is_muon(mesh):
  """optax's Muon has every device orthogonalise every matrix; ours must give the same updates, whatever the devices share. Three layers: stacks
  of 12 and 9 matrices, so that the second has to be padded."""
  shapes = {
    'wq': (3, 16, 16),
    'wk': (3, 16, 16),
    'wv': (3, 16, 16),
    'wo': (3, 16, 16),
    'w_gate': (3, 16, 24),
    'w_up': (3, 16, 24),
    'w_down': (3, 24, 16),
  }
  rng = np.random.default_rng(0)
  params, *grads = (
    {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()} for _ in range(4)
  )
  theirs = optax.contrib.muon(
    1.0,
    consistent_rms=0.2,
    muon_weight_dimension_numbers={k: optax.contrib.MuonDimensionNumbers(1, 2) for k in shapes},
  )
  ours, state, peer = optim.scale_by_muon(), optim.scale_by_muon().init(params), theirs.init(params)
  work = jax.jit(ours.update).lower(grads[0], state).compile().cost_analysis()['flops']
  with contextlib.nullcontext() if mesh is None else jax.set_mesh(sharding.make_mesh(**mesh)):
    if mesh:
      layout = sharding.shardings(
        grads[0], jax.sharding.get_mesh()
      )  # as gradients come: sharded like their parameters
      grads, state = jax.device_put(
        (grads, state),
        ([layout] * 3, optim.MuonState(NamedSharding(jax.sharding.get_mesh(), P()), layout)),
      )
      parts = 8 // mesh.get('tensor', 1)
      assert (
        jax.jit(ours.update).lower(grads[0], state).compile().cost_analysis()['flops']
        < 2 * work / parts
      ), 'every device does the work of all'
    for g in grads:
      updates, state = jax.jit(ours.update)(g, state)
      expected, peer = theirs.update(g, peer, params)
      assert_trees_close(jax.tree.map(lambda x: -x, updates), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_weight_decay_spares_norms(optimizer):
  """Without a gradient, AdamW's update is decay alone: 1 - 0.1 x 0.5 of a matrix, and a norm as it was."""
  batch = make_batch()
  batch['weights'][:] = 0
  (before, after), _ = run_steps(OptimizerConfig(name=optimizer, weight_decay=0.5), [batch], [0.1])
  for name, p in before.params.items():
    if name.endswith('norm'):
      np.testing.assert_array_equal(after.params[name], p, err_msg=name)
    else:
      np.testing.assert_allclose(after.params[name], 0.95 * p, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(('optimizer', 'lr'), [('adamw', 1e-2), ('muon', 1e-2)])
def test_a_batch_is_memorised(optimizer, lr):
  """64 random tokens, by heart to 0.1 nats in 150 updates: an optimizer that loses a moment or a sign does not get there."""
  batch = make_batch(B=4)
  batch['weights'][:] = 1
  batch['targets'] = np.roll(batch['tokens'], -1, axis=-1)
  _, metrics = run_steps(OptimizerConfig(name=optimizer), [batch] * 150, [lr] * 150)
  found = [float(m['loss']) for m in metrics]
  assert found[0] > 3.5
  assert found[-1] < 0.1
  assert metrics[-1]['accuracy'] > 0.98


def test_clipping_bounds_the_gradient():
  """With `clip`, a loss a million times as large makes the same update (Adam with a large eps shows the gradient's size)."""
  batch, loud = make_batch(), make_batch()
  quiet = OptimizerConfig(eps=1.0, clip=1e-3, weight_decay=0.0)
  states, metrics = run_steps(quiet, [batch], [1.0])
  moved = {k: states[1].params[k] - states[0].params[k] for k in states[0].params}
  norm = math.sqrt(sum(float((v**2).sum()) for v in moved.values()))
  assert metrics[0]['grad_norm'] > 0.1
  assert norm == pytest.approx(
    1e-3, rel=0.01
  )  # Adam's first update is g / (|g| + eps), with |g| << eps = 1
  loud['weights'] *= 0.5
  assert_trees_close(run_steps(quiet, [loud], [1.0])[0][1].params, states[1].params, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------- the schedule


@pytest.mark.parametrize(
  ('schedule', 'step', 'share'),
  [
    # 100 updates, 10 of them warmup, down to a tenth
    ('cosine', 0, 0.1), ('cosine', 4, 0.5), ('cosine', 9, 1.0),
    ('cosine', 27, 0.1 + 0.45 * (1 + math.cos(0.2 * math.pi))), ('cosine', 54, 0.55), ('cosine', 99, 0.1),
    ('linear', 9, 1.0), ('linear', 27, 0.82), ('linear', 54, 0.55), ('linear', 99, 0.1),
    ('constant', 0, 0.1), ('constant', 9, 1.0), ('constant', 99, 1.0),
  ],
)  # fmt: skip
def test_learning_rate(schedule, step, share):
  """Warmup rises to the peak at its last update; decay begins after it and reaches `final` at the very last."""
  phase = PhaseConfig(
    data={'x': 1.0}, updates=100, lr=2e-3, warmup=0.1, schedule=schedule, final=0.1
  )
  assert learning_rate(phase, step) == pytest.approx([2e-3 * share] * 2, rel=1e-6)
  apart = dataclasses.replace(phase, embed_lr=5e-3)
  assert learning_rate(apart, step) == pytest.approx([2e-3 * share, 5e-3 * share], rel=1e-6)


def test_the_embedding_learns_at_its_own_rate():
  """Adam's updates are the rate's size: with a hundredth of the rate, everything but the embedding moves a hundredth as far."""
  mesh = one_device()
  program = train.prepare(TINY, OptimizerConfig(weight_decay=0.0, clip=0.0), 0, mesh)
  before = jax.device_get(program.init(jax.random.key(0)).params)
  with jax.set_mesh(mesh):
    slow, fast = (
      jax.device_get(
        program.step(program.init(jax.random.key(0)), make_batch(), np.float32(lr))[0].params
      )
      for lr in ([1e-4, 1e-2], [1e-2] * 2)
    )
  for name, p in before.items():
    share = np.abs(slow[name] - p).max() / np.abs(fast[name] - p).max()
    assert share == pytest.approx(1 if name == 'embed' else 0.01, rel=0.05), name


@pytest.mark.parametrize(('updates', 'warmup'), [(1, 0.05), (1, 1.0), (3, 0.0), (3, 1.0)])
def test_learning_rate_of_short_phases(updates, warmup):
  """Always a positive rate, at most the peak."""
  for schedule in ('cosine', 'linear', 'constant'):
    phase = PhaseConfig(
      data={'x': 1.0}, updates=updates, warmup=warmup, schedule=schedule, min_updates=1
    )
    assert all(
      0 < learning_rate(phase, s).min() <= learning_rate(phase, s).max() <= np.float32(phase.lr)
      for s in range(updates)
    )


# ---------------------------------------------------------------------------------------------------------------------- the loop


def documents(texts):
  rows = [{'id': b'%d' % n, 'text': t.encode(), 'claim_ids': []} for n, t in enumerate(texts)]
  return Source('documents', 'documents', rows)


def chats(conversations):
  rows = [
    {
      'id': b'%d' % n,
      'roles': [r.encode() for r, _ in messages],
      'contents': [c.encode() for _, c in messages],
    }
    for n, messages in enumerate(conversations)
  ]
  return Source('chats', 'chats', rows)


SENTENCES = [f'It is cheap: {n}.' for n in range(20)]
EXPERIMENT = checks.from_mapping(
  ExperimentConfig,
  dict(
    name='test',
    sources=dict(items=dict(maker='world.items')),
    phases=dict(p=dict(data=dict(items=1.0), updates=1, min_updates=1)),
    arms=dict(a='p'),
    model=dataclasses.asdict(dataclasses.replace(TINY, vocab_size=400)),
  ),
)


def run_phase(
  folder,
  tokenizer,
  source,
  *,
  parent=None,
  stop=lambda: False,
  mesh=None,
  max_skipped=20,
  **settings,
):
  """Trains one phase in `folder` and returns its metrics."""
  settings = (
    dict(
      data={source.name: 1.0},
      updates=4,
      min_updates=1,
      batch_size=8,
      length=32,
      checkpoint_every=100,
    )
    | settings
  )
  c = dataclasses.replace(EXPERIMENT, max_skipped=max_skipped, mesh=MeshConfig(**(mesh or {})))
  folder.mkdir(exist_ok=True)
  train.train_phase(
    c,
    PhaseConfig(**settings),
    'this phase',
    0,
    tokenizer,
    [(source, 1.0)],
    parent,
    folder,
    {'data': source.name},
    stop,
  )
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def the_program(mesh=None):
  return train.prepare(
    EXPERIMENT.model,
    EXPERIMENT.optimizer,
    EXPERIMENT.loss_chunk,
    sharding.make_mesh(**(mesh or {})),
  )


def saved_params(folder, step):
  c = checkpointing.Checkpoints(folder / 'checkpoints')
  params = jax.device_get(c.restore_params(step, the_program().like.params))
  c.close()
  return params


def test_one_program_serves_all_phases(tmp_path, tokenizer):
  """Fresh, from a parent and resumed, with other schedules, data and rates: the step is compiled once."""
  train.prepare.cache_clear()
  first = run_phase(tmp_path / 'a', tokenizer, documents(SENTENCES), lr=1e-2)

  def parent(like):
    c = checkpointing.Checkpoints(tmp_path / 'a' / 'checkpoints')
    return c.restore_params(4, like)

  said = chats([[('user', s), ('assistant', s)] for s in SENTENCES])
  second = dict(schedule='constant', lr=1e-3, updates=5, checkpoint_every=2)
  with pytest.raises(train.Interrupted, match='this phase: saved at step 3'):
    run_phase(
      tmp_path / 'b',
      tokenizer,
      said,
      parent=parent,
      stop=iter([False, False, True]).__next__,
      **second,
    )
  rows = run_phase(
    tmp_path / 'b',
    tokenizer,
    said,
    parent=lambda like: pytest.fail('its own checkpoint comes first'),
    **second,
  )
  assert the_program().step._cache_size() == 1
  assert first[-1]['step'] == 4
  assert rows[-1]['step'] == 5
  assert rows[-1]['lr'] == pytest.approx(1e-3)


def test_a_phase_starts_from_its_parent(tmp_path, tokenizer):
  """With a rate of nothing, the phase ends with its parent's parameters; a fresh one would not."""
  run_phase(tmp_path / 'a', tokenizer, documents(SENTENCES), lr=1e-2)
  parent = saved_params(tmp_path / 'a', 4)

  def parent_params(like):
    return jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), parent, like)

  run_phase(
    tmp_path / 'b', tokenizer, documents(SENTENCES), parent=parent_params, lr=1e-30, updates=2
  )
  assert_trees_equal(saved_params(tmp_path / 'b', 2), parent)
  run_phase(tmp_path / 'c', tokenizer, documents(SENTENCES), lr=1e-30, updates=2)
  assert np.abs(saved_params(tmp_path / 'c', 2)['embed'] - parent['embed']).max() > 1e-3


def test_metrics_of_a_phase(tmp_path, tokenizer):
  """One row per update; of documents that fill their rows, every target counts, and the loss falls from guessing's."""
  rows = run_phase(tmp_path, tokenizer, documents(SENTENCES), lr=2e-2, updates=30)
  assert [r['step'] for r in rows] == list(range(1, 31))
  assert {r['weight'] for r in rows} == {8 * 32}
  assert rows[0]['loss'] > 5
  assert rows[-1]['loss'] < 1.5
  assert rows[0]['lr'] == pytest.approx(1e-2)  # warmup takes two updates


def test_a_rate_that_explodes_stops_the_phase(tmp_path, tokenizer):
  """More than max_skipped updates in a row that are not finite end the phase with one line that names them; 3 are borne."""
  with pytest.raises(
    train.TrainingError,
    match=r'^this phase: updates 2 to 5 were not finite; lower .*lr .*1e\+37.*max_skipped$',
  ) as e:
    run_phase(
      tmp_path,
      tokenizer,
      documents(SENTENCES),
      lr=1e37,
      updates=10,
      schedule='constant',
      warmup=0.0,
      max_skipped=3,
    )
  assert '\n' not in str(e.value)


@pytest.mark.filterwarnings('ignore:overflow encountered in cast')
def test_a_phase_that_learned_nothing_is_no_phase(tmp_path, tokenizer):
  """Fewer updates than max_skipped bears, and not one of them finite: the rate is more than fp32 holds."""
  with pytest.raises(train.TrainingError, match=r'^this phase: updates 1 to 3 were not finite'):
    run_phase(
      tmp_path, tokenizer, documents(SENTENCES), lr=1e39, updates=3, schedule='constant', warmup=0.0
    )


def test_no_supervised_token(tmp_path, tokenizer):
  """Chats in which the assistant says nothing teach nothing: refused, instead of a phase that changes nothing."""
  silent = chats([[('user', s)] for s in SENTENCES])
  with pytest.raises(
    train.TrainingError,
    match=r'^this phase: the batch of update 1 has no supervised token; give chats .*length=32$',
  ):
    run_phase(tmp_path, tokenizer, silent, updates=2)
  assert checkpointing.Checkpoints(tmp_path / 'checkpoints').latest() is None


@pytest.mark.parametrize(
  ('mesh', 'settings', 'error', 'message'),
  [
    (dict(data=3), {}, sharding.MeshError, "mesh .*'data': 3.* does not divide the 8 device"),
    (
      dict(data=-1, tensor=3),
      {},
      sharding.MeshError,
      "mesh .*'tensor': 3.* does not divide the 8 device",
    ),
    (dict(data=-1, fsdp=-1), {}, sharding.MeshError, 'at most one is -1'),
    (dict(data=8, fsdp=0), {}, sharding.MeshError, 'sizes are positive'),
    (
      dict(data=4, fsdp=2),
      dict(batch_size=12),
      train.TrainingError,
      '12 rows per micro-batch cannot be split over data x fsdp = 4 x 2',
    ),
    (
      dict(data=8),
      dict(batch_size=16, micro_batches=4),
      train.TrainingError,
      '4 rows per micro-batch cannot be split',
    ),
  ],
  ids=str,
)
def test_what_does_not_divide(tmp_path, tokenizer, mesh, settings, error, message):
  """One line with cause and mend, before anything is written."""
  with pytest.raises(error, match=message) as e:
    run_phase(tmp_path, tokenizer, documents(SENTENCES), mesh=mesh, **settings)
  assert '\n' not in str(e.value)
  assert not list(tmp_path.iterdir())


def test_too_few_updates_are_refused():
  """A handful of updates fakes a null result: a phase refuses to be planned below its floor (100 unless lowered)."""
  c = dict(name='t', sources=dict(items=dict(maker='world.items')), arms=dict(a='p'))

  def plan(**settings):
    return checks.from_mapping(
      ExperimentConfig, c | dict(phases=dict(p=dict(data=dict(items=1.0), **settings)))
    )

  with pytest.raises(
    ConfigError,
    match=r'^phases\.p: 99 updates are fewer than its floor of 100 .* or lower phases\.p\.min_updates$',
  ):
    plan(updates=99)
  assert plan(updates=100).phases['p'].updates == 100
  assert plan(updates=9, min_updates=9).phases['p'].updates == 9
