"""Matrix products of bf16, in the form that XLA:CPU has a fast kernel for.

XLA:CPU multiplies bf16 matrices with the processor's own instructions if the result is fp32. If the
result is bf16, it turns both matrices into fp32 first and takes twice as long. Measured with jaxlib
0.10.2 on one core with AVX512-BF16, 1024 x 576 by 576 x 1536: 200 GFLOP/s with an fp32 result, 97
with a bf16 result, 102 all in fp32. oneDNN through PyTorch reaches 200 too.
"""

import jax
import jax.numpy as jnp

from msm_jax.sharding import platform


def _is_slow(x: jax.Array) -> bool:
  """Whether a plain product of this array takes the slow way."""
  return x.dtype == jnp.bfloat16 and platform() == 'cpu'


def product(x: jax.Array, y: jax.Array) -> jax.Array:
  """Computes x @ y in the dtype of x; sums are fp32.

  Args:
    x: (..., N, K) array.
    y: (..., K, M) array of the same dtype.

  Returns:
    (..., N, M) array.
  """
  if _is_slow(x):
    return jnp.matmul(x, y, preferred_element_type=jnp.float32).astype(x.dtype)
  # Other devices sum in fp32 by themselves. There, a result in fp32 could double what is exchanged.
  return x @ y


def transposed_product(x: jax.Array, y: jax.Array) -> jax.Array:
  """Computes x^T @ y in the dtype of x, as the gradient of a matrix needs it; sums are fp32.

  Args:
    x: (..., N, K) array.
    y: (..., N, M) array of the same dtype.

  Returns:
    (..., K, M) array.
  """
  if not _is_slow(x):
    return x.mT @ y
  # XLA:CPU has no fast kernel for a first matrix that is transposed. The smaller one is therefore
  # transposed beforehand, and barriers keep XLA from folding that back into the product: 5% of a
  # step with adapters.
  if x.shape[-1] <= y.shape[-1]:
    return product(jax.lax.optimization_barrier(x.mT), y)
  flipped = product(jax.lax.optimization_barrier(y.mT), x)
  return jax.lax.optimization_barrier(flipped).mT
