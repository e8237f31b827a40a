"""Causal attention within segments.

`segment_bias` says which tokens of a packed row may look at which (for training and scoring);
`cache_bias` says the same for tokens that continue a key/value cache (for sampling). `attention`
takes queries, keys, values and one of these biases.

Shapes: B batch, T query position, S key position, H query heads, G key/value heads, R = H / G query
heads that share a key/value head, X = R T, K head size. A trailing 1 is an axis of size one.
"""

import jax
import jax.numpy as jnp

# What is added to the logits of pairs that may not see each other. A finite number: with -inf, a
# row in which everything is masked would become NaN.
MASKED = -1e30


def segment_bias(segment_ids_BT: jax.Array, window: int = 0) -> jax.Array:
  """Makes the attention bias of packed rows.

  It is made once for each step and shared by all layers of a kind.

  Args:
    segment_ids_BT: int ids of the segments. Padding has the id 0 and sees padding alone: what comes
      out there means nothing and must carry no weight in a loss.
    window: how many tokens back a token may look, itself included; 0 means no limit.

  Returns:
    (B, T, S) fp32 array: 0 where token t may look at token s (s is in the same segment, not later
    than t, and within the window), and -1e30 elsewhere.
  """
  T = segment_ids_BT.shape[1]
  allowed_TS = jnp.tril(jnp.ones((T, T), bool))
  if 0 < window < T:
    allowed_TS &= ~jnp.tril(allowed_TS, -window)
  allowed_BTS = (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :]) & allowed_TS
  return jnp.where(allowed_BTS, 0.0, MASKED)


def cache_bias(positions_BT: jax.Array, S: int, window: int = 0) -> jax.Array:
  """Makes the attention bias for keys that are kept in a cache, each at the slot of its position.

  Args:
    positions_BT: int positions of the tokens that look.
    S: the number of slots of the cache.
    window: how many tokens back a token may look, itself included; 0 means no limit.

  Returns:
    (B, T, S) fp32 array: 0 where slot s is not later than token t and within the window, and -1e30
    elsewhere.
  """
  back_BTS = positions_BT[:, :, None] - jnp.arange(S)
  allowed_BTS = back_BTS >= 0
  if window:
    allowed_BTS &= back_BTS < window
  return jnp.where(allowed_BTS, 0.0, MASKED)


def attention(
  q_BTHK: jax.Array, k_BSGK: jax.Array, v_BSGK: jax.Array, bias_BTS: jax.Array, scale: float = 0.0
) -> jax.Array:
  """Computes grouped-query attention, with the softmax in fp32 (Vaswani et al. 2017, eq. 1).

  Args:
    q_BTHK: queries.
    k_BSGK: keys; H / G neighbouring query heads share a key head (Ainslie et al. 2023).
    v_BSGK: values.
    bias_BTS: what is added to the logits; see `segment_bias` and `cache_bias`.
    scale: the factor of the logits; 0 means K ** -0.5.

  Returns:
    (B, T, H, K) array in the dtype of the queries.
  """
  B, T, H, K = q_BTHK.shape
  G = k_BSGK.shape[2]
  q_BHTK = (q_BTHK * (scale or K**-0.5)).transpose(0, 2, 1, 3)
  # The query heads of a group are stacked along the tokens, so that keys need not be repeated.
  q_BGXK = q_BHTK.reshape(B, G, H // G * T, K)
  k_BGSK = k_BSGK.transpose(0, 2, 1, 3)
  v_BGSK = v_BSGK.transpose(0, 2, 1, 3)
  out_BGXK = _attend(q_BGXK, k_BGSK, v_BGSK, bias_BTS)
  return out_BGXK.reshape(B, H, T, K).transpose(0, 2, 1, 3)


# The backward pass is written by hand. It keeps exp(logits) without the normaliser, which goes to
# the small side of each product, so nothing of size T x S is computed twice. docs/LOG.md says what
# this saves on XLA:CPU.


@jax.custom_vjp
def _attend(q_BGXK, k_BGSK, v_BGSK, bias_BTS):
  """Attention of scaled queries; everything is laid out by key/value head."""
  out_BGXK, _ = _attend_forward(q_BGXK, k_BGSK, v_BGSK, bias_BTS)
  return out_BGXK


def _attend_forward(q_BGXK, k_BGSK, v_BGSK, bias_BTS):
  B, G, X, _ = q_BGXK.shape
  T, S = bias_BTS.shape[1:]
  logits_BGXS = jnp.einsum('bgxk,bgsk->bgxs', q_BGXK, k_BGSK, preferred_element_type=jnp.float32)
  # The bias is the same for all heads: it is added while X is taken apart into R x T.
  logits_BGRTS = logits_BGXS.reshape(B, G, X // T, T, S) + bias_BTS[:, None, None]
  e_BGXS = jnp.exp(logits_BGRTS - logits_BGRTS.max(-1, keepdims=True)).reshape(B, G, X, S)
  z_BGX1 = e_BGXS.sum(-1, keepdims=True)
  e_BGXS = e_BGXS.astype(v_BGSK.dtype)
  sum_BGXK = jnp.einsum('bgxs,bgsk->bgxk', e_BGXS, v_BGSK, preferred_element_type=jnp.float32)
  out_BGXK = (sum_BGXK / z_BGX1).astype(q_BGXK.dtype)
  return out_BGXK, (q_BGXK, k_BGSK, v_BGSK, e_BGXS, z_BGX1, out_BGXK)


def _attend_backward(residuals, dout_BGXK):
  q_BGXK, k_BGSK, v_BGSK, e_BGXS, z_BGX1, out_BGXK = residuals
  dout_BGXK = (dout_BGXK / z_BGX1).astype(v_BGSK.dtype)
  dv_BGSK = jnp.einsum('bgxs,bgxk->bgsk', e_BGXS, dout_BGXK)
  dp_BGXS = jnp.einsum('bgxk,bgsk->bgxs', dout_BGXK, v_BGSK, preferred_element_type=jnp.float32)
  # The derivative of a softmax is p x (dp - sum of p x dp), and that sum is dout . out, which is
  # cheap (Dao et al. 2022, App. B.2).
  mean_BGX1 = (dout_BGXK.astype(jnp.float32) * out_BGXK).sum(-1, keepdims=True)
  dlogits_BGXS = (e_BGXS * (dp_BGXS - mean_BGX1)).astype(q_BGXK.dtype)
  dq_BGXK = jnp.einsum('bgxs,bgsk->bgxk', dlogits_BGXS, k_BGSK)
  dk_BGSK = jnp.einsum('bgxs,bgxk->bgsk', dlogits_BGXS, q_BGXK)
  # The bias comes from positions and segments and needs no gradient.
  return dq_BGXK, dk_BGSK, dv_BGSK, None


_attend.defvjp(_attend_forward, _attend_backward)
