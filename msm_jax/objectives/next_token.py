"""Losses as weighted sums, so that micro-batches, shards and packed rows add up to exactly the big batch.

Shapes: N tokens, C tokens of a chunk, D model, V vocabulary.
"""

import functools

import jax
import jax.numpy as jnp


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
  """(sum of weight x negative log-likelihood in nats, sum of weight x [argmax is right]), both fp32 scalars.

  Logits exist for `chunk` tokens at a time (0: all at once), as many from every device that holds a part of the batch. When
  differentiated, each chunk's gradients are computed with its loss, so that exp runs once and nothing of size N x V is kept. `softcap`: logits
  become softcap x tanh(logit / softcap), unless it is 0. `frozen`: the unembedding gets no gradient.

  Raises ValueError if `chunk` does not divide N.
  """
  return _forward(
    hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients=False
  )[0]


def _forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients):
  N = hidden_ND.shape[0]
  C = chunk if 0 < chunk < N else N
  if N % C:
    raise ValueError(
      f'loss_chunk={chunk} does not divide the {N} tokens of a micro-batch; choose a divisor or 0'
    )
  table_VD = unembed_VD.astype(hidden_ND.dtype)

  def one(totals, part):
    loss, right, dunembed_VD = totals
    x_CD, targets_C, weights_C = part
    logits_CV = jnp.einsum('cd,vd->cv', x_CD, table_VD, preferred_element_type=jnp.float32)
    if softcap:
      logits_CV = softcap * jnp.tanh(logits_CV / softcap)
    target_C = jnp.take_along_axis(logits_CV, targets_C[:, None], axis=-1)[:, 0]
    top_C1 = logits_CV.max(-1, keepdims=True)
    e_CV = jnp.exp(logits_CV - top_C1)
    z_C1 = e_CV.sum(-1, keepdims=True)
    loss += jnp.sum(weights_C * ((top_C1 + jnp.log(z_C1))[:, 0] - target_C))
    right += jnp.sum(weights_C * (target_C >= top_C1[:, 0]))
    if not gradients:
      return (loss, right, dunembed_VD), None
    # gradient of the loss by the logits: weight x (softmax - one-hot); the softmax's normaliser goes to the small side of each product
    scale_C1, down_C1 = weights_C[:, None] / z_C1, weights_C[:, None]
    if x_CD.dtype != jnp.float32:
      # rounded to bf16, a softmax near one would not cancel with the one-hot: what the target lacks is taken from the others, in fp32
      e_CV = jnp.where(targets_C[:, None] == jnp.arange(e_CV.shape[1]), 0.0, e_CV)
      down_C1 *= e_CV.sum(-1, keepdims=True) / z_C1
    if softcap:  # the slope of tanh
      e_CV *= 1 - (logits_CV / softcap) ** 2
      down_C1 *= 1 - (target_C[:, None] / softcap) ** 2
    e_CV = e_CV.astype(x_CD.dtype)
    dx_CD = scale_C1 * (e_CV @ table_VD) - down_C1 * table_VD[targets_C]
    if not frozen:
      dunembed_VD += jnp.einsum(
        'cv,cd->vd', e_CV, (scale_C1 * x_CD).astype(x_CD.dtype), preferred_element_type=jnp.float32
      )
    return (loss, right, dunembed_VD), (dx_CD.astype(x_CD.dtype), down_C1)

  zero = jnp.float32(0)
  totals = (
    zero,
    zero,
    jnp.zeros(unembed_VD.shape, jnp.float32) if gradients and not frozen else None,
  )
  # every (N / C)-th token makes a chunk: consecutive ones lie on one device, which would then work while the others wait
  parts = tuple(
    jnp.swapaxes(x.reshape(C, N // C, *x.shape[1:]), 0, 1)
    for x in (hidden_ND, targets_N, weights_N)
  )
  (loss, right, dunembed_VD), by_chunk = jax.lax.scan(one, totals, parts)
  if gradients:
    dx_ND, down_N1 = (jnp.swapaxes(x, 0, 1).reshape(N, -1) for x in by_chunk)
    if not frozen:
      dunembed_VD = dunembed_VD.at[targets_N].add(-down_N1 * hidden_ND).astype(unembed_VD.dtype)
    return (loss, right), (dx_ND, dunembed_VD)
  return (loss, right), None


def _vjp_forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen):
  return _forward(
    hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen, gradients=True
  )


def _vjp_backward(chunk, softcap, frozen, residuals, d):
  dx_ND, dunembed_VD = residuals
  return (d[0] * dx_ND).astype(dx_ND.dtype), None if frozen else d[0] * dunembed_VD, None, None


cross_entropy_sums.defvjp(_vjp_forward, _vjp_backward)
