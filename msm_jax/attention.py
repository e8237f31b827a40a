"""Causal attention within segments. Shapes: B batch, T tokens, H query heads, G key/value heads, K head size."""

import jax
import jax.numpy as jnp


def segment_mask(segment_ids_BT: jax.Array) -> jax.Array:
  """(B, T, T) bool: may token t look at token s? Only backwards, within its own segment, and never at padding (segment 0)."""
  T = segment_ids_BT.shape[1]
  same_BTT = segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :]
  return same_BTT & jnp.tril(jnp.ones((T, T), bool)) & (segment_ids_BT[:, None, :] != 0)


def attention(q_BTHK: jax.Array, k_BTGK: jax.Array, v_BTGK: jax.Array, mask_BTT: jax.Array) -> jax.Array:
  """Grouped-query attention with an fp32 softmax; a row that may look at nothing (padding) gives zeros. Returns (B, T, H, K)."""
  B, T, H, K = q_BTHK.shape
  G = k_BTGK.shape[2]
  q_BTGRK = q_BTHK.reshape(B, T, G, H // G, K) * K**-0.5
  logits_BGRTS = jnp.einsum('btgrk,bsgk->bgrts', q_BTGRK, k_BTGK, preferred_element_type=jnp.float32)
  logits_BGRTS = jnp.where(mask_BTT[:, None, None], logits_BGRTS, -1e30)
  probs_BGRTS = jax.nn.softmax(logits_BGRTS, axis=-1)
  probs_BGRTS = jnp.where(mask_BTT[:, None, None], probs_BGRTS, 0.0).astype(v_BTGK.dtype)
  out_BTGRK = jnp.einsum('bgrts,bsgk->btgrk', probs_BGRTS, v_BTGK)
  return out_BTGRK.reshape(B, T, H, K)
