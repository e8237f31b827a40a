"""Weighted cross-entropy as sums: the expensive step from hidden states to the loss.

Plain autodiff would keep the logits of all tokens, N x V numbers, until the backward pass. Here
logits exist for one chunk of tokens at a time, and the gradients of a chunk are computed together
with its loss: exp runs once, and nothing of size N x V is ever kept. Tokens with weight come first,
and chunks without any weight are never computed: in chats, a third of the tokens are learned.

Each device works on its own tokens. The unembedding is gathered once, and the gradient by it is
added up once; `sharding.over_own_tokens` does both.

Shapes: N tokens, C tokens of a chunk, D model, V vocabulary. A trailing 1 stands for an axis of
size one.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from msm_jax.layers import soft_cap
from msm_jax.products import product
from msm_jax.sharding import over_own_tokens, platform

# On a CPU, tokens of a chunk where no number is asked for. Smaller chunks take longer for each
# token, larger ones hold more tokens without weight.
CPU_CHUNK = 128
# On a CPU, chunks pay if at most this share of the tokens has weight. Every chunk adds its part to
# a gradient of V x D numbers, so all tokens at once are faster if nearly all of them count.
CPU_CHUNKED_SHARE = 0.75


class Tokens(NamedTuple):
  """Tokens whose loss is computed together.

  Attributes:
    hidden_ND: final hidden states, fp32 or bf16.
    targets_N: int32 ids of the tokens to predict.
    weights_N: fp32 weight of each token in the sums.
  """

  hidden_ND: jax.Array
  targets_N: jax.Array
  weights_N: jax.Array


class Gradients(NamedTuple):
  """What the backward pass needs, computed with the loss.

  Attributes:
    dhidden_ND: the gradient of the loss sum by the hidden states.
    dtable_VD: its gradient by the unembedding, in the dtype of the latter; None if it is frozen.
  """

  dhidden_ND: jax.Array
  dtable_VD: jax.Array | None


# --------------------------------------------------------------------------------------------------
# The function and its backward pass
# --------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def cross_entropy_sums(
  hidden_ND: jax.Array,
  unembed_VD: jax.Array,
  targets_N: jax.Array,
  weights_N: jax.Array,
  chunk: int,
  softcap: float = 0.0,
  frozen: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Computes the weighted cross-entropy of tokens and how many are predicted correctly.

  Args:
    hidden_ND: final hidden states, fp32 or bf16.
    unembed_VD: the matrix that turns hidden states into logits.
    targets_N: int32 ids of the tokens to predict.
    weights_N: fp32 weight of each token in both sums.
    chunk: for how many tokens of a device logits exist at a time; 0 means for all at once. On a
      CPU, 0 means whatever is faster.
    softcap: logits become softcap x tanh(logit / softcap); 0 leaves them as they are.
    frozen: whether the unembedding is not trained. It then gets no gradient.

  Returns:
    (sum of weight x negative log-likelihood in nats, sum of weight x [argmax is the target]), both
    fp32 scalars.
  """
  tokens = Tokens(hidden_ND, targets_N, weights_N)
  sums, _ = _forward(tokens, unembed_VD, chunk, softcap, frozen, gradients=False)
  return sums


def loss_and_gradients(
  tokens: Tokens, unembed_VD: jax.Array, chunk: int, softcap: float, frozen: bool
) -> tuple[tuple[jax.Array, jax.Array], Gradients]:
  """Computes the two sums and the gradients of the first one.

  Args:
    tokens: the tokens. A weight may be negative: the gradients are those of the weighted sum.
    unembed_VD: the matrix that turns hidden states into logits.
    chunk: see `cross_entropy_sums`, also for what follows.
    softcap: what logits are capped to.
    frozen: whether the unembedding is not trained.

  Returns:
    What `cross_entropy_sums` returns, and the gradients.
  """
  sums, gradients = _forward(tokens, unembed_VD, chunk, softcap, frozen, gradients=True)
  assert gradients is not None
  return sums, gradients


def _forward(
  tokens: Tokens, unembed_VD: jax.Array, chunk: int, softcap: float, frozen: bool, gradients: bool
) -> tuple[tuple[jax.Array, jax.Array], Gradients | None]:
  """Computes the two sums and, if `gradients`, the gradients of the first one."""

  def of_own_tokens(table_VD: jax.Array, own: Tokens):
    head = _Head(table_VD, softcap, trains_table=not frozen, gradients=gradients)
    loss, correct, dhidden_ND, dtable_VD = _of_device(head, own, chunk)
    return (loss, correct), dhidden_ND, dtable_VD

  tokens = jax.tree.map(jnp.asarray, tokens)
  # The matrix is sent in the dtype that it is multiplied in: bf16 is half as long.
  table_VD = jnp.asarray(unembed_VD, tokens.hidden_ND.dtype)
  sums, dhidden_ND, dtable_VD = over_own_tokens(of_own_tokens, table_VD, tokens)
  if not gradients:
    return sums, None
  if dtable_VD is not None:
    dtable_VD = dtable_VD.astype(unembed_VD.dtype)
  return sums, Gradients(dhidden_ND, dtable_VD)


def _vjp_forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen):
  """The forward pass under differentiation: its residuals are the finished gradients."""
  tokens = Tokens(hidden_ND, targets_N, weights_N)
  return loss_and_gradients(tokens, unembed_VD, chunk, softcap, frozen)


def _vjp_backward(chunk, softcap, frozen, residuals, d):
  """Scales the finished gradients by the gradient of the loss sum; the second sum has none."""
  del chunk, softcap, frozen  # The residuals know all of this.
  dhidden_ND = (d[0] * residuals.dhidden_ND).astype(residuals.dhidden_ND.dtype)
  if residuals.dtable_VD is None:
    return dhidden_ND, None, None, None
  return dhidden_ND, d[0] * residuals.dtable_VD, None, None


cross_entropy_sums.defvjp(_vjp_forward, _vjp_backward)


# --------------------------------------------------------------------------------------------------
# The tokens of one device
# --------------------------------------------------------------------------------------------------


class _Head(NamedTuple):
  """What all chunks share: the matrix in the dtype of the hidden states, and what is asked for."""

  table_VD: jax.Array
  softcap: float
  trains_table: bool
  gradients: bool


# (loss sum, correct sum, gradient by the hidden states, gradient by the table). A gradient that is
# not asked for is None.
_Sums = tuple[jax.Array, jax.Array, jax.Array | None, jax.Array | None]


def _of_device(head: _Head, tokens: Tokens, chunk: int) -> _Sums:
  """The sums and gradients of the tokens of one device, by the chunks that suit it."""
  N = len(tokens.targets_N)
  if 0 < chunk < N:
    return _in_chunks(head, tokens, chunk)
  if chunk or platform() != 'cpu' or N <= CPU_CHUNK:
    return _at_once(head, tokens)
  few_count = jnp.mean(tokens.weights_N != 0) <= CPU_CHUNKED_SHARE
  return jax.lax.cond(
    few_count,
    lambda: _in_chunks(head, tokens, CPU_CHUNK),
    lambda: _at_once(head, tokens),
  )


def _at_once(head: _Head, tokens: Tokens) -> _Sums:
  """The sums and gradients of tokens whose logits exist at the same time."""
  loss, correct, dx_ND, dtable_VD, down_N1 = _of_chunk(head, tokens)
  if dtable_VD is not None:
    dtable_VD = _without_targets(dtable_VD, tokens, down_N1)
  return loss, correct, dx_ND, dtable_VD


def _in_chunks(head: _Head, tokens: Tokens, C: int) -> _Sums:
  """The sums and gradients of tokens, C at a time, as far as there are tokens with weight."""
  N = len(tokens.targets_N)
  n_chunks = -(-N // C)
  # Tokens with weight come first, and a last chunk that is not full is filled up with no weight.
  counts_N = tokens.weights_N != 0
  order_N = jnp.argsort(~counts_N, stable=True)
  padding = n_chunks * C - N

  def ordered(x_N: jax.Array) -> jax.Array:
    others = [(0, 0)] * (x_N.ndim - 1)
    return jnp.pad(x_N[order_N], [(0, padding), *others])

  ordered_tokens = Tokens(*map(ordered, tokens))
  n_counting = jnp.sum(counts_N)
  n_needed = (n_counting + C - 1) // C

  def goes_on(state):
    n = state[0]
    # The first condition never ends the loop. It says how long the loop is at most to whoever reads
    # the compiled program (benchmarks/hlo.py).
    return (n < n_chunks) & (n < n_needed)

  def next_chunk(state):
    n, loss, correct, dtable_VD, by_token = state
    part = Tokens(*(jax.lax.dynamic_slice_in_dim(x, n * C, C) for x in ordered_tokens))
    own_loss, own_correct, dx_CD, own_dtable_VD, down_C1 = _of_chunk(head, part)
    if head.gradients:
      by_token = tuple(
        jax.lax.dynamic_update_slice_in_dim(whole, own, n * C, axis=0)
        for whole, own in zip(by_token, (dx_CD, down_C1), strict=True)
      )
    if dtable_VD is not None:
      dtable_VD += own_dtable_VD
    return n + 1, loss + own_loss, correct + own_correct, dtable_VD, by_token

  zero = jnp.float32(0)
  zeros_VD = None
  zeros_by_token: tuple[jax.Array, ...] = ()
  if head.gradients:
    hidden_ND = ordered_tokens.hidden_ND
    zeros_by_token = (jnp.zeros_like(hidden_ND), jnp.zeros((len(hidden_ND), 1), jnp.float32))
    if head.trains_table:
      zeros_VD = jnp.zeros(head.table_VD.shape, jnp.float32)
  start = (jnp.int32(0), zero, zero, zeros_VD, zeros_by_token)
  _, loss, correct, dtable_VD, by_token = jax.lax.while_loop(goes_on, next_chunk, start)
  if not head.gradients:
    return loss, correct, None, None
  ordered_dx_ND, down_N1 = by_token
  if dtable_VD is not None:
    dtable_VD = _without_targets(dtable_VD, ordered_tokens, down_N1)
  # Where each token went: behind those of its kind that stand before it.
  place_N = jnp.where(counts_N, jnp.cumsum(counts_N), n_counting + jnp.cumsum(~counts_N)) - 1
  return loss, correct, ordered_dx_ND[place_N], dtable_VD


def _of_chunk(head: _Head, tokens: Tokens):
  """The sums and gradients of tokens whose logits exist at the same time.

  Returns:
    (loss sum, correct sum, gradient by the hidden states, gradient by the table without the part
    of the targets, (C, 1) what that part is to be multiplied by). Without `head.gradients`, the
    last three are None; the fourth is None too if the table is frozen.
  """
  x_CD, targets_C, weights_C = tokens
  table_VD = head.table_VD
  softcap = head.softcap
  logits_CV = jnp.einsum('cd,vd->cv', x_CD, table_VD, preferred_element_type=jnp.float32)
  logits_CV = soft_cap(logits_CV, softcap)
  target_C = jnp.take_along_axis(logits_CV, targets_C[:, None], axis=-1)[:, 0]
  # The largest logit is taken off before exp, which would overflow otherwise.
  top_C1 = logits_CV.max(-1, keepdims=True)
  e_CV = jnp.exp(logits_CV - top_C1)
  z_C1 = e_CV.sum(-1, keepdims=True)
  loss = jnp.sum(weights_C * ((top_C1 + jnp.log(z_C1))[:, 0] - target_C))
  correct = jnp.sum(weights_C * (target_C >= top_C1[:, 0]))
  if not head.gradients:
    return loss, correct, None, None, None

  # The gradient of the loss by the logits is weight x (softmax - one-hot of the target). The
  # softmax's normaliser z goes to the small side of each product, (C, D) instead of (C, V).
  scale_C1 = weights_C[:, None] / z_C1
  # How much probability the target lacks, times the weight: the one-hot's part of the gradient.
  down_C1 = weights_C[:, None]
  if x_CD.dtype != jnp.float32:
    # A softmax near one, rounded to bf16, would not cancel with the one-hot. What the target
    # lacks is therefore the sum of what the other tokens have, in fp32.
    e_CV = jnp.where(targets_C[:, None] == jnp.arange(e_CV.shape[1]), 0.0, e_CV)
    down_C1 *= e_CV.sum(-1, keepdims=True) / z_C1
  if softcap:
    # The chain rule: the slope of the soft cap is 1 - tanh^2.
    e_CV *= 1 - (logits_CV / softcap) ** 2
    down_C1 *= 1 - (target_C[:, None] / softcap) ** 2
  e_CV = e_CV.astype(x_CD.dtype)
  dx_CD = scale_C1 * product(e_CV, table_VD) - down_C1 * table_VD[targets_C]
  dtable_VD = None
  if head.trains_table:
    scaled_CD = (scale_C1 * x_CD).astype(x_CD.dtype)
    dtable_VD = jnp.einsum('cv,cd->vd', e_CV, scaled_CD, preferred_element_type=jnp.float32)
  return loss, correct, dx_CD.astype(x_CD.dtype), dtable_VD, down_C1


def _without_targets(dtable_VD: jax.Array, tokens: Tokens, down_N1: jax.Array) -> jax.Array:
  """Adds the one-hot's part: each target's row of the table moves towards its hidden state."""
  return dtable_VD.at[tokens.targets_N].add(-down_N1 * tokens.hidden_ND)
