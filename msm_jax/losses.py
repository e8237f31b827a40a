"""Losses as weighted sums, so that micro-batches, shards and packed rows add up to exactly the big batch."""

import jax
import jax.numpy as jnp


def cross_entropy_sums(
  hidden_BTD: jax.Array, unembed_VD: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array, chunk: int
) -> tuple[jax.Array, jax.Array]:
  """(sum of weight x negative log-likelihood in nats, sum of weight x [argmax is right]), both fp32 scalars.

  Logits exist for `chunk` tokens at a time (0: all at once) and are computed again in the backward pass, so memory is
  chunk x V instead of B x T x V.
  """
  D = hidden_BTD.shape[-1]
  x_ND, targets_N, weights_N = hidden_BTD.reshape(-1, D), targets_BT.reshape(-1), weights_BT.reshape(-1)
  unembed_VD = unembed_VD.astype(x_ND.dtype)

  def sums(x_CD, targets_C, weights_C):
    logits_CV = jnp.einsum('cd,vd->cv', x_CD, unembed_VD, preferred_element_type=jnp.float32)
    top_C = jnp.max(logits_CV, axis=-1)
    normalizer_C = jnp.log(jnp.sum(jnp.exp(logits_CV - jax.lax.stop_gradient(top_C)[:, None]), axis=-1)) + jax.lax.stop_gradient(top_C)
    target_C = jnp.take_along_axis(logits_CV, targets_C[:, None], axis=-1)[:, 0]
    return jnp.sum(weights_C * (normalizer_C - target_C)), jnp.sum(weights_C * (target_C >= top_C))

  N = x_ND.shape[0]
  if chunk <= 0 or chunk >= N:
    return sums(x_ND, targets_N, weights_N)
  if N % chunk:
    raise ValueError(f'loss_chunk={chunk} does not divide the {N} tokens of a micro-batch; choose a divisor or 0')

  def step(totals, part):
    loss, right = jax.checkpoint(sums)(*part)
    return (totals[0] + loss, totals[1] + right), None

  parts = (x_ND.reshape(-1, chunk, D), targets_N.reshape(-1, chunk), weights_N.reshape(-1, chunk))
  totals, _ = jax.lax.scan(step, (jnp.float32(0), jnp.float32(0)), parts)
  return totals
