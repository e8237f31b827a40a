"""Causal attention within segments.

Shapes: B batch, T query position, S key position, H query heads, G key/value heads, R = H / G, X = R T, K head size.
"""

import jax
import jax.numpy as jnp

MASKED = -1e30


def segment_bias(segment_ids_BT: jax.Array, window: int = 0) -> jax.Array:
  """(B, T, S) fp32, 0 where token t may look at s (not later, same segment, less than `window` back if that is not 0), else -1e30: made once a
  step, shared by all layers.

  Padding (segment 0) looks at padding alone; what comes out there means nothing and carries no weight.
  """
  T = segment_ids_BT.shape[1]
  allowed_TS = jnp.tril(jnp.ones((T, T), bool))
  if 0 < window < T:
    allowed_TS &= ~jnp.tril(allowed_TS, -window)
  allowed_BTS = (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :]) & allowed_TS
  return jnp.where(allowed_BTS, 0.0, MASKED)


def cache_bias(positions_BT: jax.Array, S: int, window: int = 0) -> jax.Array:
  """(B, T, S) fp32 for keys kept at the slot of their position: 0 where slot s is not later than token t (and less than `window` back)."""
  back_BTS = positions_BT[:, :, None] - jnp.arange(S)
  return jnp.where((back_BTS >= 0) & ((back_BTS < window) if window else True), 0.0, MASKED)


def attention(
  q_BTHK: jax.Array, k_BSGK: jax.Array, v_BSGK: jax.Array, bias_BTS: jax.Array, scale: float = 0.0
) -> jax.Array:
  """Grouped-query attention, (B, T, H, K), with the softmax in fp32 (Vaswani et al. 2017, eq. 1). `scale` 0 means K ** -0.5."""
  B, T, H, K = q_BTHK.shape
  G = k_BSGK.shape[2]
  q_BGXK = (q_BTHK * (scale or K**-0.5)).transpose(0, 2, 1, 3).reshape(B, G, H // G * T, K)
  out_BGXK = _attend(q_BGXK, k_BSGK.transpose(0, 2, 1, 3), v_BSGK.transpose(0, 2, 1, 3), bias_BTS)
  return out_BGXK.reshape(B, H, T, K).transpose(0, 2, 1, 3)


# The backward pass by hand: it keeps exp(logits) without the normaliser, which goes to the small side of each product, so nothing of
# size T x S is computed twice. What it saves on XLA:CPU: docs/LOG.md.


@jax.custom_vjp
def _attend(q_BGXK, k_BGSK, v_BGSK, bias_BTS):
  return _attend_forward(q_BGXK, k_BGSK, v_BGSK, bias_BTS)[0]


def _attend_forward(q_BGXK, k_BGSK, v_BGSK, bias_BTS):
  B, G, X, _ = q_BGXK.shape
  T, S = bias_BTS.shape[1:]
  logits_BGXS = jnp.einsum('bgxk,bgsk->bgxs', q_BGXK, k_BGSK, preferred_element_type=jnp.float32)
  logits_BGRTS = logits_BGXS.reshape(B, G, X // T, T, S) + bias_BTS[:, None, None]
  e_BGXS = jnp.exp(logits_BGRTS - logits_BGRTS.max(-1, keepdims=True)).reshape(B, G, X, S)
  z_BGX1 = e_BGXS.sum(-1, keepdims=True)
  e_BGXS = e_BGXS.astype(v_BGSK.dtype)
  out_BGXK = (
    jnp.einsum('bgxs,bgsk->bgxk', e_BGXS, v_BGSK, preferred_element_type=jnp.float32) / z_BGX1
  )
  return out_BGXK.astype(q_BGXK.dtype), (
    q_BGXK,
    k_BGSK,
    v_BGSK,
    e_BGXS,
    z_BGX1,
    out_BGXK.astype(q_BGXK.dtype),
  )


def _attend_backward(residuals, dout_BGXK):
  q_BGXK, k_BGSK, v_BGSK, e_BGXS, z_BGX1, out_BGXK = residuals
  dout_BGXK = (dout_BGXK / z_BGX1).astype(v_BGSK.dtype)
  dv_BGSK = jnp.einsum('bgxs,bgxk->bgsk', e_BGXS, dout_BGXK)
  dp_BGXS = jnp.einsum('bgxk,bgsk->bgxs', dout_BGXK, v_BGSK, preferred_element_type=jnp.float32)
  mean_BGX1 = (dout_BGXK.astype(jnp.float32) * out_BGXK).sum(-1, keepdims=True)
  dlogits_BGXS = (e_BGXS * (dp_BGXS - mean_BGX1)).astype(q_BGXK.dtype)
  dq_BGXK = jnp.einsum('bgxs,bgsk->bgxk', dlogits_BGXS, k_BGSK)
  dk_BGSK = jnp.einsum('bgxs,bgxk->bgsk', dlogits_BGXS, q_BGXK)
  return dq_BGXK, dk_BGSK, dv_BGSK, None


_attend.defvjp(_attend_forward, _attend_backward)
