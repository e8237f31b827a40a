"""In what the layers of a model differ: how far they look, and whether they have adapters.

Rotary tables and masks are made once for each kind of layer. Layers are run in groups, so that
those below all adapters keep nothing for gradients.

Shapes: B batch, T tokens.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from msm_jax.attention import Mask, cache_mask, choose_implementation, packed_mask, select_mask
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.layers import rope_frequencies, rope_tables


class AttentionInputs(NamedTuple):
  """What the attention of a layer needs besides queries, keys and values.

  Attributes:
    tables: the tables of `rope`.
    mask: which token may look at which.
  """

  tables: tuple[jax.Array, jax.Array]
  mask: Mask


class LayerKinds(NamedTuple):
  """What the attention of each kind of layer needs, made once and shared by the layers of the kind.

  There are at most two kinds: global layers, which see the whole text, and local ones, which see a
  window.

  Attributes:
    is_local: for each layer, whether it is local.
    of_global: what global layers need; None if there are none.
    of_local: what local layers need; None if there are none.
  """

  is_local: tuple[bool, ...]
  of_global: AttentionInputs | None
  of_local: AttentionInputs | None

  @property
  def has_both(self) -> bool:
    """Whether the model has layers of both kinds."""
    return self.of_global is not None and self.of_local is not None

  def of_layer(self, n: int) -> AttentionInputs:
    """What layer n needs."""
    inputs = self.of_local if self.is_local[n] else self.of_global
    assert inputs is not None
    return inputs

  def select(self, is_local: jax.Array) -> AttentionInputs:
    """What a layer needs whose kind becomes known on the device only, as in a scan over layers.

    Args:
      is_local: bool scalar, whether the layer is local.

    Returns:
      What it needs. Both kinds exist, and each layer selects.
    """
    assert self.of_global is not None and self.of_local is not None

    def choose(x_global: jax.Array, x_local: jax.Array) -> jax.Array:
      return jnp.where(is_local, x_local, x_global)

    return AttentionInputs(
      jax.tree.map(choose, self.of_global.tables, self.of_local.tables),
      select_mask(is_local, self.of_global.mask, self.of_local.mask),
    )


def layer_kinds(
  c: ModelConfig,
  positions_BT: jax.Array,
  segment_ids_BT: jax.Array,
  slots: int | None,
  branches_BT: jax.Array | None = None,
) -> LayerKinds:
  """Makes rotary tables and masks for the kinds of layers that a model has.

  Args:
    c: the model's settings.
    positions_BT: int32 positions of the tokens in their texts.
    segment_ids_BT: int32 segments of packed rows; not used with a cache.
    slots: the tokens that a row of the cache has room for; None for whole rows, without a cache.
    branches_BT: see `attention.packed_mask`.

  Returns:
    What the attention of each kind needs.
  """
  B, T = positions_BT.shape
  # Tokens that continue a cache are few: their attention is that of XLA.
  implementation = 'xla'
  if slots is None:
    implementation = choose_implementation(
      c.attention, jnp.dtype(c.dtype), B, T, c.n_kv_heads, c.head_dim
    )

  def inputs_of(theta: float, scaling: RopeScaling | None, window: int) -> AttentionInputs:
    tables = rope_tables(positions_BT, rope_frequencies(c.head_dim, theta, scaling))
    if slots is None:
      mask = packed_mask(segment_ids_BT, window, implementation, branches_BT)
      return AttentionInputs(tables, mask)
    return AttentionInputs(tables, cache_mask(positions_BT, slots, window))

  is_local = c.local_layers or (False,) * c.n_layers
  of_global = of_local = None
  if not all(is_local):
    of_global = inputs_of(c.rope_theta, c.rope_scaling, 0)
  if any(is_local):
    of_local = inputs_of(c.local_theta, None, c.local_window)
  return LayerKinds(is_local, of_global, of_local)


class LayerRun(NamedTuple):
  """Neighbouring layers that all have adapters, or that all have none.

  Attributes:
    start: the number of the first layer.
    stop: the number of the last layer, plus one.
    stacked: the parameters that are stacked over these layers.
    ends_backward_pass: whether nothing below these layers is trained.
  """

  start: int
  stop: int
  stacked: dict[str, jax.Array]
  ends_backward_pass: bool


def layer_runs(
  c: ModelConfig, blocks: dict[str, jax.Array]
) -> tuple[list[LayerRun], dict[str, jax.Array]]:
  """Divides the layers into runs, so that layers below all adapters keep nothing for gradients.

  Args:
    c: the model's settings.
    blocks: the parameters of all blocks, stacked.

  Returns:
    The runs from the lowest layer to the highest, and the parameters that each layer takes by its
    own number from the stack of all layers. These are frozen: cutting their stacks into runs would
    copy them.
  """
  adapted = c.adapted_layers
  if c.lora is None or len(adapted) == c.n_layers:
    return [LayerRun(0, c.n_layers, blocks, False)], {}
  adapters, weights = {}, {}
  for name, w in blocks.items():
    if name.endswith(('_a', '_b')):
      adapters[name] = w
    else:
      weights[name] = w
  runs: list[LayerRun] = []
  # The layers of `adapters` that earlier runs have taken.
  taken = 0
  for has_adapters, numbers in itertools.groupby(range(c.n_layers), adapted.__contains__):
    first, *others = numbers
    stop = first + len(others) + 1
    stacked = {}
    is_lowest = has_adapters and taken == 0
    if has_adapters:
      until = taken + stop - first
      stacked = {name: x[taken:until] for name, x in adapters.items()}
      taken = until
    runs.append(LayerRun(first, stop, stacked, is_lowest))
  return runs, weights
