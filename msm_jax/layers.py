"""Parts of a layer, as functions of arrays: products, norms, rotary positions, the cap of logits.

Shapes: B batch, T tokens, D and F columns, H heads, K head size, k = K / 2.
"""

import jax
import jax.numpy as jnp
import numpy as np

from msm_jax.config import RopeScaling
from msm_jax.products import product, transposed_product


@jax.custom_vjp
def linear(x: jax.Array, w_DF: jax.Array) -> jax.Array:
  """Computes x @ w, (..., D) -> (..., F).

  The backward pass is written by hand. Its barrier keeps XLA:CPU from fusing a transposition into
  whatever computed dy (which becomes a slow strided loop) and from computing dy twice. On other
  devices it costs nothing.
  """
  return product(x, w_DF)


def _linear_forward(x, w_DF):
  return product(x, w_DF), (x, w_DF)


def _linear_backward(residuals, dy):
  x, w_DF = residuals
  dy = jax.lax.optimization_barrier(dy)
  dx = product(dy, w_DF.T)
  dw_DF = transposed_product(x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1]))
  return dx, dw_DF


linear.defvjp(_linear_forward, _linear_backward)


def add_bias(y: jax.Array, bias_F: jax.Array) -> jax.Array:
  """Computes y + bias, (..., F), in the dtype of y.

  It adds in fp32 for the sake of the gradient of the bias, which is a sum over all tokens. In bf16,
  such a sum stops growing as soon as a term is less than half of its last digit.
  """
  return (y.astype(jnp.float32) + bias_F.astype(jnp.float32)).astype(y.dtype)


def rms_norm(x_BTD: jax.Array, scale_D: jax.Array, eps: float) -> jax.Array:
  """Computes x / rms(x) * scale in fp32 (Zhang and Sennrich 2019, eq. 4); keeps the dtype of x.

  Heads (B, T, H, K) are normalised too, each by itself: what counts is the last axis.
  """
  x32_BTD = x_BTD.astype(jnp.float32)
  x32_BTD = x32_BTD * jax.lax.rsqrt(jnp.mean(x32_BTD**2, axis=-1, keepdims=True) + eps)
  return (x32_BTD * scale_D).astype(x_BTD.dtype)


def rope_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
  """Computes the frequencies of rotary positions (Su et al. 2021, section 3.4.2).

  Args:
    head_dim: the head size K.
    theta: the base of the frequencies.
    scaling: how they are stretched for texts that are longer than those of pretraining, if at all.

  Returns:
    (K/2,) fp32 array, in radians per token.
  """
  frequencies_k = theta ** (-np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
  if scaling is None:
    return frequencies_k
  slow_k = frequencies_k / scaling.factor
  if scaling.kind == 'linear':
    return slow_k
  # Llama 3.1: how many turns each component makes over the original length decides how much of its
  # original frequency it keeps.
  turns_k = scaling.original_length * frequencies_k / (2 * np.pi)
  kept_k = np.clip((turns_k - scaling.low) / (scaling.high - scaling.low), 0, 1)
  return (kept_k * frequencies_k + (1 - kept_k) * slow_k).astype(np.float32)


def rope_tables(positions_BT: jax.Array, frequencies_k: np.ndarray) -> tuple[jax.Array, jax.Array]:
  """Computes the cosines and sines that `rope` needs, (B, T, 1, K/2) fp32 each."""
  angles_BTk = positions_BT[..., None].astype(jnp.float32) * frequencies_k
  return jnp.cos(angles_BTk)[:, :, None], jnp.sin(angles_BTk)[:, :, None]


def rope(x_BTHK: jax.Array, tables: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the two halves of each head against each other, as Hugging Face's Llama lays it out.

  Args:
    x_BTHK: queries or keys.
    tables: see `rope_tables`.

  Returns:
    (B, T, H, K) array in the dtype of the input; the rotation is done in fp32.
  """
  cos, sin = tables
  a, b = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTHK.dtype)


def soft_cap(logits: jax.Array, cap: float) -> jax.Array:
  """Bends logits so that none is beyond the cap: cap x tanh(logit / cap); 0 leaves them as they
  are."""
  if not cap:
    return logits
  return cap * jnp.tanh(logits / cap)
