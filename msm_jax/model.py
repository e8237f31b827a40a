"""The decoder: RMSNorm, rotary positions, grouped-query attention and a gated feed-forward.

There is one model definition. Families (Llama, Qwen, Gemma) differ by the fields of `ModelConfig`,
never by another class. `layers.py` has the parts of a layer that know no settings, `attention.py`
attention itself, and `layer_kinds.py` what differs between the layers of a model.

Linen declares the parameters and does nothing else. Outside this file a model is a plain nested
dict of arrays and two pure functions: `forward` for whole rows, `extend` for tokens that follow a
cache. The parameters of the blocks are stacked over the layers, (L, ...), whether the layers are
scanned or unrolled, so a checkpoint does not depend on that setting.

Shapes: B batch, T tokens, S slots of a cache (or keys), D model, H query heads, G key/value heads,
K head size, F feed-forward, V vocabulary, L layers.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msm_jax.attention import KEPT_NAME, attention
from msm_jax.config import PROJECTIONS, ModelConfig
from msm_jax.layer_kinds import AttentionInputs, layer_kinds, layer_runs
from msm_jax.layers import add_bias, linear, rms_norm, rope, soft_cap
from msm_jax.sharding import constrain

Params = dict[str, Any]
# Keys and values of one layer, (B, G, S, K) each. Position s of a text is kept at slot s.
LayerCache = tuple[jax.Array, jax.Array]
# Those of all layers. Every layer has arrays of its own: XLA would copy its slice of larger ones.
Cache = tuple[LayerCache, ...]
# The parameters that belong to no layer. All others are stacked over the layers.
OUTSIDE_LAYERS = ('embed', 'unembed', 'final_norm')

# The functions that `ModelConfig.activation` names. `nn.gelu` is the tanh form.
ACTIVATIONS = {'silu': nn.silu, 'gelu': nn.gelu}
_OUTPUT_OF_KERNEL = jax.checkpoint_policies.save_only_these_names(KEPT_NAME)
# What `ModelConfig.remat` keeps of a layer for the backward pass beside its input.
REMAT_POLICIES = {
  'block': None,
  'attention': _OUTPUT_OF_KERNEL,
  'dots': jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, _OUTPUT_OF_KERNEL
  ),
}


# --------------------------------------------------------------------------------------------------
# One layer
# --------------------------------------------------------------------------------------------------


def project(c: ModelConfig, p: Params, name: str, x: jax.Array, key: jax.Array | None) -> jax.Array:
  """Applies one projection: x @ w, plus the bias and the low-rank adapter where there are any.

  Args:
    c: the model's settings.
    p: the parameters of this layer.
    name: which projection, one of `PROJECTIONS`.
    x: (..., D) array.
    key: a random key for the adapter's dropout; None means no dropout.

  Returns:
    (..., F) array. The adapter adds x @ a @ b * alpha / rank (Hu et al. 2021, section 4.1).
  """
  y = linear(x, p[name])
  if f'{name}_bias' in p:
    y = add_bias(y, p[f'{name}_bias'])
  if f'{name}_a' in p:
    assert c.lora is not None, 'there are adapters, and model.lora does not describe them'
    if key is not None and c.lora.dropout:
      # Every projection gets a key of its own, or all would drop the same inputs.
      own_key = jax.random.fold_in(key, PROJECTIONS.index(name))
      keep = jax.random.bernoulli(own_key, 1 - c.lora.dropout, x.shape)
      x = jnp.where(keep, x / (1 - c.lora.dropout), 0).astype(x.dtype)
    y += linear(linear(x, p[f'{name}_a']), p[f'{name}_b']) * (c.lora.alpha / c.lora.rank)
  return y


def _write(cache_BGSK: jax.Array, new_BTGK: jax.Array, positions_BT: jax.Array) -> jax.Array:
  """Writes keys or values into a cache, those of each token at the slot of its position."""

  def write(cache_SK: jax.Array, new_TK: jax.Array, positions_T: jax.Array) -> jax.Array:
    # XLA:CPU would copy the cache if it had to keep what is there for positions out of bounds.
    return cache_SK.at[positions_T].set(
      new_TK, mode='promise_in_bounds', wrap_negative_indices=False
    )

  # Each head writes for itself. XLA:CPU would copy the cache of a single row with a single write.
  new_BGTK = new_BTGK.swapaxes(1, 2)
  positions_BGT = jnp.broadcast_to(positions_BT[:, None], new_BGTK.shape[:3])
  return jax.vmap(jax.vmap(write))(cache_BGSK, new_BGTK, positions_BGT)


def block(
  c: ModelConfig,
  p: Params,
  x_BTD: jax.Array,
  attention_inputs: AttentionInputs,
  cache: LayerCache | None,
  positions_BT: jax.Array,
  key: jax.Array | None,
) -> tuple[jax.Array, LayerCache | None]:
  """Runs one layer.

  Args:
    c: the model's settings.
    p: the parameters of this layer, sliced from the stacked ones.
    x_BTD: the residual stream.
    attention_inputs: rotary tables and mask of this layer.
    cache: keys and values of this layer for the tokens before; None in training.
    positions_BT: the position of each token in its text; used with a cache only.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    The residual stream after the layer, (B, T, D), and the cache with the new keys and values.
  """
  B, T, _ = x_BTD.shape

  def norm(x, name):
    scale = p[name] + c.norm_offset if c.norm_offset else p[name]
    return rms_norm(x, scale, c.norm_eps)

  # Attention.
  h_BTD = norm(x_BTD, 'attention_norm')
  q_BTHK = project(c, p, 'wq', h_BTD, key).reshape(B, T, c.n_heads, c.head_dim)
  k_BTGK = project(c, p, 'wk', h_BTD, key).reshape(B, T, c.n_kv_heads, c.head_dim)
  v_BTGK = project(c, p, 'wv', h_BTD, key).reshape(B, T, c.n_kv_heads, c.head_dim)
  if c.qk_norm:
    q_BTHK = norm(q_BTHK, 'q_norm')
    k_BTGK = norm(k_BTGK, 'k_norm')
  q_BTHK = rope(q_BTHK, attention_inputs.tables)
  k_BTGK = rope(k_BTGK, attention_inputs.tables)
  if cache is None:
    k_BSGK, v_BSGK = k_BTGK, v_BTGK
  else:
    cache = _write(cache[0], k_BTGK, positions_BT), _write(cache[1], v_BTGK, positions_BT)
    k_BSGK, v_BSGK = cache[0].swapaxes(1, 2), cache[1].swapaxes(1, 2)
  a_BTHK = attention(q_BTHK, k_BSGK, v_BSGK, attention_inputs.mask, c.query_scale)
  a_BTD = project(c, p, 'wo', a_BTHK.reshape(B, T, -1), key)
  if c.post_norms:
    a_BTD = norm(a_BTD, 'post_attention_norm')
  x_BTD = constrain(x_BTD + a_BTD, 'batch', None, None)

  # The gated feed-forward (Shazeer 2020).
  h_BTD = norm(x_BTD, 'mlp_norm')
  activation = ACTIVATIONS[c.activation]
  gate_BTF = activation(project(c, p, 'w_gate', h_BTD, key))
  m_BTF = gate_BTF * project(c, p, 'w_up', h_BTD, key)
  # Without the barrier, XLA for TPUs computes this anew within the product that follows, and its
  # gradients within the one before.
  m_BTF = jax.lax.optimization_barrier(m_BTF)
  m_BTD = project(c, p, 'w_down', m_BTF, key)
  if c.post_norms:
    m_BTD = norm(m_BTD, 'post_mlp_norm')
  return constrain(x_BTD + m_BTD, 'batch', None, None), cache


# --------------------------------------------------------------------------------------------------
# The decoder
# --------------------------------------------------------------------------------------------------


class Decoder(nn.Module):
  """Declares the parameters and runs the layers; see `forward` and `extend`.

  Attributes:
    config: the model's settings.
  """

  config: ModelConfig

  def block_params(self) -> Params:
    """Declares the parameters of all blocks.

    Returns:
      Name -> fp32 array, stacked over the layers; those of adapters over the layers with adapters.
    """
    c = self.config
    D, L, F = c.d_model, c.n_layers, c.d_ff
    Q, KV = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    zeros = nn.initializers.zeros
    # A norm begins as the identity. Where an offset is added to its scale, the scale leaves it out.
    unit = nn.initializers.constant(1 - c.norm_offset)
    into = nn.initializers.normal(c.init_scale * D**-0.5)
    # Residual branches start small (GPT-2, section 2.3).
    out = nn.initializers.normal(c.init_scale * (2 * L * D) ** -0.5)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
      'attention_norm': (unit, (L, D)),
      'wq': (into, (L, D, Q)),
      'wk': (into, (L, D, KV)),
      'wv': (into, (L, D, KV)),
      'wo': (out, (L, Q, D)),
      'mlp_norm': (unit, (L, D)),
      'w_gate': (into, (L, D, F)),
      'w_up': (into, (L, D, F)),
      'w_down': (out, (L, F, D)),
    }
    if c.qkv_bias:
      shapes['wq_bias'] = (zeros, (L, Q))
      shapes['wk_bias'] = (zeros, (L, KV))
      shapes['wv_bias'] = (zeros, (L, KV))
    if c.qk_norm:
      shapes['q_norm'] = (unit, (L, c.head_dim))
      shapes['k_norm'] = (unit, (L, c.head_dim))
    if c.post_norms:
      shapes['post_attention_norm'] = (unit, (L, D))
      shapes['post_mlp_norm'] = (unit, (L, D))
    if c.lora:
      # As PEFT starts them: a is uniform within fan_in ** -0.5, and b is zero, so that an adapter
      # changes nothing at first.
      uniform = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform', batch_axis=0)
      A = len(c.adapted_layers)
      for name in c.lora.targets:
        _, (_, fan_in, fan_out) = shapes[name]
        shapes[f'{name}_a'] = (uniform, (A, fan_in, c.lora.rank))
        shapes[f'{name}_b'] = (zeros, (A, c.lora.rank, fan_out))
    params = {}
    for name, (initializer, shape) in shapes.items():
      params[name] = self.param(name, initializer, shape, jnp.float32)
    return params

  @nn.compact
  def __call__(
    self,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    segment_ids_BT: jax.Array,
    cache: Cache | None = None,
    key: jax.Array | None = None,
    branches_BT: jax.Array | None = None,
    lower_BTD: jax.Array | None = None,
    only_lower: bool = False,
  ) -> tuple[jax.Array, tuple[LayerCache | None, ...]]:
    """Runs the decoder.

    Args:
      tokens_BT: int32 token ids.
      positions_BT: int32 positions of the tokens in their texts.
      segment_ids_BT: int32 segments of packed rows; not used with a cache.
      cache: keys and values of the tokens before, for unrolled layers; None for whole rows.
      key: a random key for the dropout of adapters; None means no dropout.
      branches_BT: see `attention.packed_mask`.
      lower_BTD: what the layers below all adapters give, if that is known; they are left out.
      only_lower: whether these layers are all that is wanted.

    Returns:
      Final hidden states (B, T, D) in the dtype of the settings, and the cache of each layer. With
      `only_lower`, the hidden states below the lowest layer with adapters.
    """
    c = self.config
    dtype = jnp.dtype(c.dtype)

    # Parameters. The model works in `dtype`; norms work in fp32.
    table = nn.initializers.normal(c.init_scale * c.d_model**-0.5)
    embed_VD = self.param('embed', table, (c.vocab_size, c.d_model), jnp.float32)
    if not c.tie_embeddings:
      # Declared here, used by `unembedding`.
      self.param('unembed', table, (c.vocab_size, c.d_model), jnp.float32)
    unit = nn.initializers.constant(1 - c.norm_offset)
    final_norm_D = self.param('final_norm', unit, (c.d_model,), jnp.float32)
    blocks = {}
    for name, w in self.block_params().items():
      blocks[name] = w if name.endswith('norm') else w.astype(dtype)
    if self.is_initializing():
      # Parameters are all that `init_params` wants: the layers would be traced for nothing.
      return embed_VD[tokens_BT], ()

    slots = None
    if cache is not None:
      slots = cache[0][0].shape[2]
    kinds = layer_kinds(c, positions_BT, segment_ids_BT, slots, branches_BT)
    runs, weights = layer_runs(c, blocks)

    def run_layer(x_BTD, p, given, layer_cache, n, layer_key):
      # `given` is what the attention of the layer needs. A scan over layers of both kinds gives
      # whether the layer is local instead. What it needs is then selected here, inside the
      # rematerialised function, so that it is not kept for every layer.
      inputs = given
      if not isinstance(given, AttentionInputs):
        inputs = kinds.select(given)
      # `weights` are stacked over all layers, `p` is that of this layer alone.
      own = {name: jax.lax.dynamic_index_in_dim(w, n, 0, False) for name, w in weights.items()}
      return block(c, own | p, x_BTD, inputs, layer_cache, positions_BT, layer_key)

    if c.remat != 'none':
      # In a scan, the loop itself keeps XLA from merging the recomputation with the first pass.
      run_layer = jax.checkpoint(
        run_layer, policy=REMAT_POLICIES[c.remat], prevent_cse=not c.scan_layers
      )

    # The layers.
    if lower_BTD is None:
      x_BTD = embed_VD[tokens_BT].astype(dtype) * jnp.asarray(c.embed_scale, dtype)
    else:
      x_BTD = lower_BTD
      runs = [run for run in runs if run.start >= c.n_lower_layers]
    x_BTD = constrain(x_BTD, 'batch', None, None)
    keys = None
    if key is not None:
      keys = jax.random.split(key, c.n_layers)

    def scanned(x_BTD, xs):
      p, layer_is_local, n, layer_key = xs
      given = layer_is_local if kinds.has_both else kinds.of_layer(0)
      return run_layer(x_BTD, p, given, None, n, layer_key)

    def at_place(stacked: Any, place: int) -> Any:
      return jax.tree.map(lambda x: x[place], stacked)

    layer_caches: list[LayerCache | None] = [None] * c.n_layers
    if cache is not None:
      layer_caches = list(cache)
    for run in runs:
      if only_lower and run.start >= c.n_lower_layers:
        return x_BTD, ()
      if run.ends_backward_pass:
        # Nothing below is trained.
        x_BTD = jax.lax.stop_gradient(x_BTD)
      run_keys = None
      if keys is not None:
        run_keys = keys[run.start : run.stop]
      if c.scan_layers:
        run_is_local = jnp.array(kinds.is_local[run.start : run.stop])
        by_layer = (run.stacked, run_is_local, jnp.arange(run.start, run.stop), run_keys)
        x_BTD, _ = jax.lax.scan(scanned, x_BTD, by_layer)
        continue
      for n in range(run.start, run.stop):
        p = at_place(run.stacked, n - run.start)
        layer_key = at_place(run_keys, n - run.start)
        inputs = kinds.of_layer(n)
        x_BTD, layer_caches[n] = run_layer(x_BTD, p, inputs, layer_caches[n], n, layer_key)

    scale_D = final_norm_D + c.norm_offset if c.norm_offset else final_norm_D
    return rms_norm(x_BTD, scale_D, c.norm_eps), tuple(layer_caches)


# --------------------------------------------------------------------------------------------------
# Pure functions of parameters: what the rest of the project uses
# --------------------------------------------------------------------------------------------------


def init_params(c: ModelConfig, key: jax.Array) -> Params:
  """Makes the parameters of a new model, adapters included.

  Args:
    c: the model's settings.
    key: a random key.

  Returns:
    Name -> fp32 array; parameters of the blocks are stacked, (L, ...), and those of adapters over
    the layers with adapters.
  """
  one_token = jnp.ones((1, 1), jnp.int32)
  # No kernel takes a row of one token.
  c = dataclasses.replace(c, attention='xla')
  return Decoder(c).init(key, one_token, one_token, one_token)['params']


def forward(
  c: ModelConfig,
  params: Params,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segment_ids_BT: jax.Array,
  key: jax.Array | None = None,
  branches_BT: jax.Array | None = None,
  lower_BTD: jax.Array | None = None,
) -> jax.Array:
  """Computes the final hidden states of packed rows.

  Args:
    c: the model's settings.
    params: all parameters, frozen ones too.
    tokens_BT: int32 token ids.
    positions_BT: int32 positions of the tokens within their segments.
    segment_ids_BT: int32 segments, 0 for padding. Tokens of different segments never see each
      other, and neither do texts and padding.
    key: a random key for the dropout of adapters; None means no dropout.
    branches_BT: int32, where several texts go on from one beginning; see `attention.packed_mask`.
    lower_BTD: what `forward_lower` gave for the same rows. Its layers are left out, and they need
      to be frozen: nothing below gets a gradient.

  Returns:
    (B, T, D) array in the dtype of the settings.
  """
  variables = {'params': params}
  x_BTD, _ = Decoder(c).apply(
    variables, tokens_BT, positions_BT, segment_ids_BT, None, key, branches_BT, lower_BTD
  )
  return x_BTD


def forward_lower(
  c: ModelConfig,
  params: Params,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segment_ids_BT: jax.Array,
  branches_BT: jax.Array | None = None,
) -> jax.Array:
  """Computes the hidden states below the lowest layer with adapters (`c.n_lower_layers` > 0).

  All adapters on the same weights share them. The arguments are as those of `forward`.

  Returns:
    (B, T, D) array in the dtype of the settings.
  """
  assert c.n_lower_layers, 'there are no adapters, or layer 0 has some'
  variables = {'params': params}
  x_BTD, _ = Decoder(c).apply(
    variables, tokens_BT, positions_BT, segment_ids_BT, None, None, branches_BT, only_lower=True
  )
  return x_BTD


def empty_cache(c: ModelConfig, rows: int, slots: int) -> Cache:
  """Makes a cache of zeros for so many rows, each of so many tokens at most."""
  shape = (rows, c.n_kv_heads, slots, c.head_dim)
  cache = []
  for _ in range(c.n_layers):
    cache.append((jnp.zeros(shape, c.dtype), jnp.zeros(shape, c.dtype)))
  return tuple(cache)


@jax.jit
def split_layers(params: Params) -> Params:
  """Takes the stacked parameters apart, once before many calls of `extend`.

  From a stack, XLA copies the matrices of every layer each time that it reads them.

  Args:
    params: all parameters.

  Returns:
    Name -> array, or a tuple with the array of each layer where they were stacked.
  """
  split = {}
  for name, w in params.items():
    split[name] = w if name in OUTSIDE_LAYERS else tuple(w)
  return split


def extend(
  c: ModelConfig, params: Params, tokens_BT: jax.Array, positions_BT: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
  """Computes the final hidden states of tokens that follow what the cache holds.

  Each row has one text. A token sees the slots up to its own position, so rows may be filled to
  different lengths. What padding leaves behind the end of a row is overwritten before it is seen.
  The layers are unrolled whatever the settings say: a scan copies cache and matrices of each layer.

  Args:
    c: the model's settings.
    params: all parameters; those of layers may be split (`split_layers`).
    tokens_BT: int32 token ids.
    positions_BT: int32 positions of the tokens in their texts, less than the slots of the cache.
    cache: keys and values of the tokens before.

  Returns:
    Hidden states (B, T, D), and the cache with the new tokens.
  """
  unrolled = dataclasses.replace(c, scan_layers=False)
  # The decoder takes stacks. Each layer takes one array out again, so XLA removes the stacking.
  stacked = {}
  for name, w in params.items():
    stacked[name] = jnp.stack(w) if isinstance(w, tuple) else w
  # Segments are not used with a cache: the positions stand in for them.
  output: Any = Decoder(unrolled).apply(
    {'params': stacked}, tokens_BT, positions_BT, positions_BT, cache
  )
  return output


def unembedding(params: Params) -> jax.Array:
  """The matrix (V, D) that turns hidden states into logits: the embedding itself when tied."""
  if 'unembed' in params:
    return params['unembed']
  return params['embed']


def logits(c: ModelConfig, params: Params, x: jax.Array) -> jax.Array:
  """Computes the logits, (..., V) fp32, of final hidden states (..., D)."""
  table_VD = unembedding(params).astype(x.dtype)
  out = jnp.einsum('...d,vd->...v', x, table_VD, preferred_element_type=jnp.float32)
  return soft_cap(out, c.logit_softcap)


def adapted(c: ModelConfig, params: Params, name: str, layer: int) -> np.ndarray:
  """Fetches one layer of a stacked parameter to the host, with its adapter added if it has one.

  Args:
    c: the model's settings.
    params: all parameters.
    name: the name of the parameter.
    layer: the number of the layer, 0-based.

  Returns:
    The parameter without its layer axis: as it is stored, or in fp32 if an adapter was added.
  """

  def on_host(stacked_name: str, place: int) -> np.ndarray:
    return np.asarray(jax.device_get(params[stacked_name][place]))

  w = on_host(name, layer)
  if f'{name}_a' not in params:
    return w
  assert c.lora is not None, 'there are adapters, and model.lora does not describe them'
  if layer not in c.adapted_layers:
    return w
  place = c.adapted_layers.index(layer)
  a = on_host(f'{name}_a', place).astype(np.float32)
  b = on_host(f'{name}_b', place).astype(np.float32)
  return w.astype(np.float32) + a @ b * (c.lora.alpha / c.lora.rank)


def count_params(params: Params) -> int:
  """Counts the numbers in a tree of arrays, or of their shapes."""
  return sum(x.size for x in jax.tree.leaves(params))


def _weights_of_layer(c: ModelConfig) -> int:
  """Counts the numbers in the matrices of one layer, without adapters."""
  D, Q, KV = c.d_model, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  return 2 * D * Q + 2 * D * KV + 3 * D * c.d_ff


def flops_per_token(c: ModelConfig, length: int) -> float:
  """Counts the FLOPs of training all parameters per token, as MaxText counts them.

  Adapters are left out; see `training_flops_per_token`.

  Args:
    c: the model's settings.
    length: the tokens of a row.

  Returns:
    6 x (parameters in matrices) + 6 L Q T for attention, where Q = H K. Causal attention is counted
    half.
  """
  matrices = c.n_layers * _weights_of_layer(c) + c.vocab_size * c.d_model
  return 6.0 * matrices + 6.0 * c.n_layers * c.n_heads * c.head_dim * length


def training_flops_per_token(c: ModelConfig, length: int) -> float:
  """Counts the FLOPs per token of training what the settings train: all parameters, or adapters.

  Args:
    c: the model's settings.
    length: the tokens of a row.

  Returns:
    Without adapters, what `flops_per_token` counts. With them, a frozen matrix gets no gradient and
    counts 4 instead of 6 times, and adapters count 6 times. The backward pass ends at the lowest
    layer with adapters.
  """
  flops = flops_per_token(c, length)
  if c.lora is None:
    return flops
  shapes = jax.eval_shape(functools.partial(init_params, c), jax.random.key(0))
  adapters = count_params({name: x for name, x in shapes.items() if name.endswith(('_a', '_b'))})
  in_layer = _weights_of_layer(c)
  flops += 6.0 * adapters - 2.0 * (c.n_layers * in_layer + c.vocab_size * c.d_model)
  return flops - c.n_lower_layers * (2.0 * in_layer + 4.0 * c.n_heads * c.head_dim * length)
