"""The cache of keys and values: its layout on the devices, its sizes, and how rows enter it.

A cache has a pair (keys, values) of arrays (R, G, S, K) for each layer: R rows (one request each),
G key/value heads, S slots (one token each), K head size.

Rows and slots come in powers of two. So there are few sizes, and a program is compiled once for
each.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import sharding
from msm_jax.config import ModelConfig
from msm_jax.model import Cache, empty_cache

SLOT_AXIS = 2


def bucket_size(n: int, minimum: int = 1) -> int:
  """Returns the smallest power of two that is at least n, or `minimum` if that is larger."""
  # (n - 1).bit_length() is the exponent of the next power of two; n may be 0.
  return max(minimum, 1 << max(0, n - 1).bit_length())


def stable_size(wanted: int, held: int) -> int:
  """Chooses the next size of a dimension of the cache.

  A cache must grow when it is too small. It shrinks only when that saves three quarters: every
  change of size copies the cache, and sizes that go up and down would copy it again and again.

  Args:
    wanted: the size that the requests need.
    held: the size that the cache has.

  Returns:
    `wanted` or `held`.
  """
  if wanted > held or wanted * 4 <= held:
    return wanted
  return held


def cache_sharding(config: ModelConfig, mesh: Mesh) -> NamedSharding:
  """Returns the sharding of a cache: rows over the batch axes, heads over `tensor`."""
  # Heads that the axis does not divide stay whole on every device.
  heads = 'tensor' if config.n_kv_heads % mesh.shape['tensor'] == 0 else None
  return NamedSharding(mesh, P(sharding.BATCH, heads))


def constrain_cache(cache: Cache, layout: NamedSharding | None) -> Cache:
  """Keeps a cache in its layout inside a compiled program; without a layout it does nothing."""
  if layout is None:
    return cache
  return jax.lax.with_sharding_constraint(cache, layout)


@functools.partial(jax.jit, static_argnames=('c', 'rows', 'slots', 'layout'))
def new_cache(*, c: ModelConfig, rows: int, slots: int, layout: NamedSharding | None) -> Cache:
  """Returns an empty cache."""
  return constrain_cache(empty_cache(c, rows, slots), layout)


@functools.partial(jax.jit, static_argnames='layout', donate_argnames='cache')
def insert_rows(
  cache: Cache, part: Cache, rows: jax.Array, *, layout: NamedSharding | None
) -> Cache:
  """Copies the rows of a smaller cache into a larger one.

  Args:
    cache: the larger cache. Its memory is used again.
    part: the smaller cache, with at most as many slots.
    rows: (rows of `part`,) int32; the row of `cache` for each row of `part`. JAX drops updates that
      are out of bounds, so a number beyond the last row leaves that row of `part` out.
    layout: the sharding of the cache, if it is sharded.

  Returns:
    The larger cache with the rows in it.
  """

  def insert(whole: jax.Array, new: jax.Array) -> jax.Array:
    # The slots behind the part keep old content. `decode` writes over it before it is seen.
    return whole.at[rows, :, : new.shape[SLOT_AXIS]].set(new)

  return constrain_cache(jax.tree.map(insert, cache, part), layout)


@functools.partial(jax.jit, static_argnames=('slots', 'layout'))
def resize_cache(
  cache: Cache, rows: jax.Array, *, slots: int, layout: NamedSharding | None
) -> Cache:
  """Makes a cache of another size from some rows of this one.

  Args:
    cache: the cache.
    rows: (new rows,) int32; the old row for each new one.
    slots: the new number of slots. Slots are cut off or added at the end.
    layout: the sharding of the cache, if it is sharded.

  Returns:
    The new cache.
  """

  def resize(x: jax.Array) -> jax.Array:
    x = x[rows, :, :slots]
    padding = [(0, 0)] * x.ndim
    padding[SLOT_AXIS] = (0, slots - x.shape[SLOT_AXIS])
    return jnp.pad(x, padding)

  return constrain_cache(jax.tree.map(resize, cache), layout)
