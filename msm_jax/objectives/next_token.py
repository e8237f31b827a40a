"""The objective of next-token training: weighted cross-entropy, as sums.

An *objective* is a pure function from parameters and a batch to sums. The train step adds the sums
of all micro-batches and divides once, so micro-batches, devices and packed rows together give
exactly the loss of the whole batch. A mean of means would weigh short micro-batches too much.

`next_token` is the objective. `cross_entropy_sums` is its expensive part, the step from hidden
states to the loss, with a backward pass written by hand.

Shapes: B rows, T tokens of a row, N = B T tokens, C tokens of a chunk, D model, V vocabulary.
A trailing 1 stands for an axis of size one.
"""

import functools

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.model import Params, forward, unembedding


def next_token(
  model: ModelConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Computes the sums of next-token training for one micro-batch.

  Args:
    model: the settings of the model.
    loss_chunk: for how many tokens at a time logits exist; 0 means for all at once.
    params: the trained parameters; gradients are taken by these.
    batch: (B, T) arrays `tokens`, `targets`, `segment_ids` and `positions` (int32) and `weights`
      (fp32, the weight of each target in the loss).
    frozen: the parameters that are not trained. With adapters, this is everything else.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    (sum of weight x negative log-likelihood in nats, (sum of weights, sum of weight x [the most
    probable token is the target])), all fp32 scalars.
  """
  frozen = frozen or {}
  all_params = frozen | params
  x_BTD = forward(model, all_params, batch['tokens'], batch['positions'], batch['segment_ids'], key)
  x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
  loss, correct = cross_entropy_sums(
    x_ND,
    unembedding(all_params),
    batch['targets'].reshape(-1),
    batch['weights'].reshape(-1),
    loss_chunk,
    model.logit_softcap,
    # Adapters are never put on the unembedding. If anything is frozen, the unembedding is.
    bool(frozen),
  )
  return loss, (jnp.sum(batch['weights']), correct)


# --------------------------------------------------------------------------------------------------
# Cross-entropy in chunks
#
# Plain autodiff would keep the logits of all tokens, N x V numbers, until the backward pass. Here
# logits exist for one chunk at a time, and the gradients of a chunk are computed together with its
# loss: exp runs once, and nothing of size N x V is ever kept.
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
    chunk: for how many tokens at a time logits exist; 0 means for all at once.
    softcap: logits become softcap x tanh(logit / softcap); 0 leaves them as they are.
    frozen: whether the unembedding is not trained. It then gets no gradient.

  Returns:
    (sum of weight x negative log-likelihood in nats, sum of weight x [argmax is the target]), both
    fp32 scalars.

  Raises:
    ValueError: `chunk` does not divide N.
  """
  sums, _ = _forward(
    hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients=False
  )
  return sums


def _forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients):
  """Computes the two sums and, if `gradients`, the gradients of the first one.

  Returns:
    ((loss sum, correct sum), (gradient by hidden_ND, gradient by unembed_VD or None)). The second
    part is None without `gradients`.
  """
  N = hidden_ND.shape[0]
  C = N
  if 0 < chunk < N:
    C = chunk
  if N % C:
    raise ValueError(
      f'loss_chunk={chunk} does not divide the {N} tokens of a micro-batch; choose a divisor or 0'
    )
  table_VD = unembed_VD.astype(hidden_ND.dtype)

  def one_chunk(totals, part):
    loss, correct, dunembed_VD = totals
    x_CD, targets_C, weights_C = part
    logits_CV = jnp.einsum('cd,vd->cv', x_CD, table_VD, preferred_element_type=jnp.float32)
    if softcap:
      logits_CV = softcap * jnp.tanh(logits_CV / softcap)
    target_C = jnp.take_along_axis(logits_CV, targets_C[:, None], axis=-1)[:, 0]
    # The largest logit is taken off before exp, which would overflow otherwise.
    top_C1 = logits_CV.max(-1, keepdims=True)
    e_CV = jnp.exp(logits_CV - top_C1)
    z_C1 = e_CV.sum(-1, keepdims=True)
    loss += jnp.sum(weights_C * ((top_C1 + jnp.log(z_C1))[:, 0] - target_C))
    correct += jnp.sum(weights_C * (target_C >= top_C1[:, 0]))
    if not gradients:
      return (loss, correct, dunembed_VD), None

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
    dx_CD = scale_C1 * (e_CV @ table_VD) - down_C1 * table_VD[targets_C]
    if not frozen:
      scaled_CD = (scale_C1 * x_CD).astype(x_CD.dtype)
      dunembed_VD += jnp.einsum('cv,cd->vd', e_CV, scaled_CD, preferred_element_type=jnp.float32)
    return (loss, correct, dunembed_VD), (dx_CD.astype(x_CD.dtype), down_C1)

  def into_chunks(x_N):
    # Every (N / C)-th token makes a chunk. Consecutive tokens lie on one device, so a chunk of
    # these would leave all other devices waiting.
    return jnp.swapaxes(x_N.reshape(C, N // C, *x_N.shape[1:]), 0, 1)

  def out_of_chunks(x):
    return jnp.swapaxes(x, 0, 1).reshape(N, -1)

  zero = jnp.float32(0)
  zeros_VD = None
  if gradients and not frozen:
    zeros_VD = jnp.zeros(unembed_VD.shape, jnp.float32)
  chunks = (into_chunks(hidden_ND), into_chunks(targets_N), into_chunks(weights_N))
  totals, by_chunk = jax.lax.scan(one_chunk, (zero, zero, zeros_VD), chunks)
  loss, correct, dunembed_VD = totals
  if not gradients:
    return (loss, correct), None
  dx_ND = out_of_chunks(by_chunk[0])
  down_N1 = out_of_chunks(by_chunk[1])
  if dunembed_VD is not None:
    # The one-hot's part: each target's row of the table moves towards its hidden state.
    dunembed_VD = dunembed_VD.at[targets_N].add(-down_N1 * hidden_ND).astype(unembed_VD.dtype)
  return (loss, correct), (dx_ND, dunembed_VD)


def _vjp_forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen):
  """The forward pass under differentiation: its residuals are the finished gradients."""
  return _forward(
    hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients=True
  )


def _vjp_backward(chunk, softcap, frozen, residuals, d):
  """Scales the finished gradients by the gradient of the loss sum; the second sum has none."""
  dx_ND, dunembed_VD = residuals
  dhidden_ND = (d[0] * dx_ND).astype(dx_ND.dtype)
  if frozen:
    return dhidden_ND, None, None, None
  return dhidden_ND, d[0] * dunembed_VD, None, None


cross_entropy_sums.defvjp(_vjp_forward, _vjp_backward)
