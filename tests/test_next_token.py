"""The loss: its value, its hand-written gradients, and what must not change it.

Shapes: N tokens, D model, V vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import assert_trees_close

from msm_jax.objectives.next_token import cross_entropy_sums


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


@pytest.mark.parametrize('chunk', [0, 6, 24, 100])
def test_loss_equals_log_softmax(chunk):
  """The value, the correct guesses and the hand-written gradients, whole and in chunks, with ragged
  weights."""
  hidden, unembed, targets, weights = loss_inputs()
  # Some guesses are correct.
  targets[:6] = (hidden @ unembed.T).argmax(-1)[:6]

  def run(sums):
    def three_times(h, u):
      # The factor shows whether the backward pass multiplies by the gradient that it is given.
      loss, correct = sums(h, u)
      return 3 * loss, correct

    with_grads = jax.value_and_grad(three_times, argnums=(0, 1), has_aux=True)
    return jax.jit(with_grads)(hidden, unembed)

  (wanted, correct), wanted_grads = run(lambda h, u: plain_loss(h, u, targets, weights))
  (found, found_correct), grads = run(
    lambda h, u: cross_entropy_sums(h, u, targets, weights, chunk)
  )
  assert found == pytest.approx(float(wanted), rel=1e-6)
  assert found_correct == float(correct) > 0
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


def test_chunk_must_divide():
  """Otherwise the last tokens would be dropped without a word."""
  hidden, unembed, targets, weights = loss_inputs()
  with pytest.raises(ValueError, match='loss_chunk=7 does not divide the 24 tokens'):
    cross_entropy_sums(hidden, unembed, targets, weights, 7)


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
