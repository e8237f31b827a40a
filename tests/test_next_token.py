"""The loss: its value, its hand-written gradients, what must not change it, and what devices send.

Shapes: N tokens, D model, V vocabulary.
"""

import collections
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from steps import assert_trees_close

from msm_jax import sharding
from msm_jax.objectives import cross_entropy
from msm_jax.objectives.cross_entropy import cross_entropy_sums

sys.path.append(str(ROOT / 'benchmarks'))

import hlo


def loss_inputs(N=24, D=8, V=40, seed=0):
  rng = np.random.default_rng(seed)
  hidden = rng.normal(0, 2, (N, D)).astype(np.float32)
  unembed = rng.normal(0, 1, (V, D)).astype(np.float32)
  weights = rng.choice([0.0, 0.25, 1.0, 2.0], N).astype(np.float32)
  return hidden, unembed, rng.integers(0, V, N, dtype=np.int32), weights


def plain_loss(hidden, unembed, targets, weights):
  logprobs = jax.nn.log_softmax(hidden @ unembed.T)
  correct = (logprobs.argmax(-1) == targets) * weights
  return -(weights * logprobs[jnp.arange(len(targets)), targets]).sum(), correct.sum()


def value_and_gradients(sums, hidden, unembed):
  """((loss, correct), gradients of three times the loss) of a function of the first two inputs."""

  def three_times(h, u):
    # The factor shows whether the backward pass multiplies by the gradient that it is given.
    loss, correct = sums(h, u)
    return 3 * loss, correct

  with_grads = jax.value_and_grad(three_times, argnums=(0, 1), has_aux=True)
  return jax.jit(with_grads)(hidden, unembed)


# 'automatic' has small chunks on a CPU, which no test would reach otherwise.
@pytest.mark.parametrize('chunk', [0, 1, 6, 7, 24, 100, 'automatic'])
@pytest.mark.parametrize('learned', ['all', 'most', 'few', 'none'])
def test_loss_equals_log_softmax(chunk, learned, monkeypatch):
  """The value, the correct guesses and the hand-written gradients, whole and in chunks. A chunk
  need not divide the tokens, and chunks without weight are left out."""
  if chunk == 'automatic':
    monkeypatch.setattr(cross_entropy, 'CPU_CHUNK', 5)
    chunk = 0
  hidden, unembed, targets, weights = loss_inputs()
  if learned == 'all':
    weights += 1
  elif learned != 'most':
    weights[np.random.default_rng(1).random(24) < {'few': 0.7, 'none': 2}[learned]] = 0
  # Some guesses are correct.
  targets[:6] = (hidden @ unembed.T).argmax(-1)[:6]

  (wanted, correct), wanted_grads = value_and_gradients(
    lambda h, u: plain_loss(h, u, targets, weights), hidden, unembed
  )
  (found, found_correct), grads = value_and_gradients(
    lambda h, u: cross_entropy_sums(h, u, targets, weights, chunk), hidden, unembed
  )
  assert found == pytest.approx(float(wanted), rel=1e-6)
  assert found_correct == float(correct)
  assert (correct > 0) == (learned != 'none')
  assert_trees_close(grads, wanted_grads, rtol=1e-5, atol=1e-5)


def test_tokens_without_weight_do_not_count():
  """Their hidden state and target may be anything: the loss and every gradient stay the same to the
  bit, and their own gradient is 0."""
  hidden, unembed, targets, weights = loss_inputs()

  def loss(h, u, t):
    return cross_entropy_sums(h, u, t, weights, 8)[0]

  run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
  before = run(hidden, unembed, targets)
  silent = weights == 0
  hidden[silent] = 100.0
  targets[silent] = 7
  after = run(hidden, unembed, targets)
  assert not np.asarray(after[1][0])[silent].any()
  assert before[0] == after[0]
  assert_trees_close(before[1], after[1], rtol=0, atol=1e-6)


def test_loss_survives_huge_logits():
  """exp of a logit of 1,000 overflows unless the largest logit is taken off first."""
  hidden = np.full((2, 1), 1000, np.float32)
  unembed = np.array([[1], [0], [-1]], np.float32)
  loss, correct = cross_entropy_sums(hidden, unembed, np.array([0, 1]), np.ones(2, np.float32), 0)
  assert (loss, correct) == (1000, 1)


def test_chunks_without_weight_are_not_computed(monkeypatch):
  """4 of 24 tokens have weight: chunks of 4 are computed once, wherever these tokens stand."""
  computed = []
  of_chunk = cross_entropy._of_chunk

  def counted(head, tokens):
    jax.debug.callback(lambda: computed.append(len(tokens.targets_N)))
    return of_chunk(head, tokens)

  monkeypatch.setattr(cross_entropy, '_of_chunk', counted)
  hidden, unembed, targets, weights = loss_inputs()
  weights[:] = 0
  weights[[3, 8, 16, 23]] = 1
  value_and_gradients(lambda h, u: cross_entropy_sums(h, u, targets, weights, 4), hidden, unembed)
  jax.effects_barrier()
  assert computed == [4]


MESHES = {
  'fsdp': dict(data=1, fsdp=8),
  'data and fsdp': dict(data=4, fsdp=2),
  'all': dict(data=2, fsdp=2, tensor=2),
  # 3 does not divide the width, so every device has the whole table.
  'undivided': dict(data=2, fsdp=3),
}


def on_mesh(mesh, chunk, frozen=False):
  """Value and gradients of the loss of divided tokens, jitted, and its arguments."""
  hidden, unembed, targets, weights = loss_inputs(N=48)
  weights[:12] = 0
  by_token = NamedSharding(mesh, P(sharding.BATCH))
  # As the rules say of embeddings.
  table = sharding.shardings({'unembed': unembed}, mesh)['unembed']

  def loss(h, u, t, w):
    return cross_entropy_sums(h, u, t, w, chunk, 0.0, frozen)

  run = jax.jit(
    jax.value_and_grad(loss, argnums=0 if frozen else (0, 1), has_aux=True),
    in_shardings=(by_token, table, by_token, by_token),
    out_shardings=(None, by_token if frozen else (by_token, table)),
  )
  return run, (hidden, unembed, targets, weights)


@pytest.mark.parametrize('name', MESHES)
@pytest.mark.parametrize('chunk', [0, 4])
def test_divided_loss_equals_the_whole(name, chunk):
  """Each device takes its own tokens and as many chunks as it has tokens with weight."""
  shape = MESHES[name]
  devices = jax.devices()[: np.prod(list(shape.values()))]
  mesh = sharding.make_mesh(**shape, devices=devices)
  run, arguments = on_mesh(mesh, chunk)
  (wanted, correct), wanted_grads = jax.value_and_grad(plain_loss, argnums=(0, 1), has_aux=True)(
    *arguments
  )
  with jax.set_mesh(mesh):
    (found, found_correct), grads = run(*arguments)
  assert found == pytest.approx(float(wanted), rel=1e-6)
  assert found_correct == float(correct)
  assert_trees_close(grads, wanted_grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('frozen', [False, True])
def test_the_unembedding_is_sent_once(frozen):
  """Read off the compiled program: the table is gathered once and the gradient by it reduced once,
  outside of the loop over chunks. XLA alone did both in every chunk."""
  mesh = sharding.make_mesh(data=2, fsdp=4)
  run, arguments = on_mesh(mesh, chunk=2, frozen=frozen)
  with jax.set_mesh(mesh):
    compiled = run.lower(*arguments).compile().as_text()
  program = hlo.parse(compiled)
  # The largest other exchange sends one number.
  times = collections.Counter()
  for step, exchange in hlo.collectives(program, mesh.size):
    if exchange.bytes > 64:
      times[exchange.kind] += step.times
  reductions = {}
  if not frozen:
    # Over `fsdp`, of the whole table; then over `data`, of the part of a device.
    reductions = {'reduce-scatter': 1, 'all-reduce': 1}
  assert times == {'all-gather': 1, **reductions}
  chunks = [step for step in hlo.walk(program) if step.operation.opcode == 'dot' and step.loops]
  assert {step.times for step in chunks} == {3}, 'there should be three chunks of two tokens'


# The same for a slice of TPUs, in a process of its own: the compiler of TPUs reads the environment.
ON_TPU = """
import roofline
roofline.prepare_environment()
import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
import hlo
from msm_jax import sharding
from msm_jax.objectives.cross_entropy import cross_entropy_sums

case = next(case for case in roofline.CASES if case.topology == 'v5e:4x4')
mesh = roofline.make_mesh(case)
V, D, N = 1024, 2048, 16 * 64

def shape(dtype, spec, *sizes):
  return jax.ShapeDtypeStruct(sizes, dtype, sharding=NamedSharding(mesh, spec))

def loss(h, u, t, w):
  return cross_entropy_sums(h, u, t, w, 16)

hidden, table = shape('bfloat16', P(sharding.BATCH), N, D), shape('float32', P(None, 'fsdp'), V, D)
by_token = [shape(dtype, P(sharding.BATCH), N) for dtype in ('int32', 'float32')]
with jax.set_mesh(mesh):
  gradients = jax.jit(
    jax.value_and_grad(loss, argnums=(0, 1), has_aux=True),
    out_shardings=(None, (hidden.sharding, table.sharding)),
  )
  program = hlo.parse(gradients.lower(hidden, table, *by_token).compile().as_text())
for step, exchange in hlo.collectives(program, mesh.size):
  if exchange.bytes > V * D / 16:
    print(exchange.kind, step.times)
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='needs libtpu')
def test_the_unembedding_is_sent_once_on_a_tpu():
  """One gather and one reduction for four chunks; this compiler writes the latter as a sum of which
  every chip keeps its part."""
  folders = os.pathsep.join([str(ROOT), str(ROOT / 'benchmarks'), *sys.path])
  out = subprocess.run(
    [sys.executable, '-c', ON_TPU],
    env={**os.environ, 'PYTHONPATH': folders},
    capture_output=True,
    text=True,
    check=True,
  )
  kinds = out.stdout.replace('all-reduce', 'reduce-scatter').splitlines()
  assert sorted(kinds) == ['all-gather 1', 'reduce-scatter 1']


@pytest.mark.parametrize('confidence', [4.0, 12.0])
def test_bfloat16_gradients_of_what_is_learned_already(confidence):
  """Where the target has nearly all of the probability, its softmax rounded to bfloat16 would not
  cancel with the one-hot: 74 % of the gradient was wrong at 0.003 nats a token. This compares with
  plain autodiff in float32 from the same rounded inputs."""
  V, D, N = 32, 32, 16
  table = jnp.eye(V, D) * confidence
  targets = jnp.arange(N) % V
  hidden = jnp.eye(V, D)[targets].astype(jnp.bfloat16)
  weights = jnp.ones(N)

  def plain(table):
    logits = hidden.astype(jnp.float32) @ table.T
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], 1).sum()

  def ours(table):
    return cross_entropy_sums(hidden, table, targets, weights, 0)[0]

  wanted = jax.grad(plain)(table)
  found = jax.grad(ours)(table)
  assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)
