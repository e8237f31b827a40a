"""The decoder: RMSNorm, RoPE, grouped-query attention, a gated feed-forward. Families differ by the fields of ModelConfig, never by another class.

Linen declares the parameters and nothing else: outside this file a model is a plain nested dict of arrays and the pure function
`forward`. Block parameters are stacked over layers, (L, ...), whether the layers are scanned or unrolled, so a checkpoint never
depends on that setting.

Shapes: B batch, T tokens, S slots of a cache, D model, H query heads, G key/value heads, K head size, F feed-forward, V vocabulary, L layers.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msm_jax.attention import attention, cache_bias, segment_bias
from msm_jax.config import PROJECTIONS, ModelConfig, RopeScaling
from msm_jax.sharding import constrain

Params = dict


@jax.custom_vjp
def linear(x: jax.Array, w_DF: jax.Array) -> jax.Array:
  """x @ w, (..., D) -> (..., F).

  The backward pass by hand: the barrier keeps XLA:CPU from fusing a transposition into whatever made dy (a slow strided loop) and from
  making dy twice; elsewhere it costs nothing.
  """
  return x @ w_DF


def _linear_backward(residuals, dy):
  x, w_DF = residuals
  dy = jax.lax.optimization_barrier(dy)
  return dy @ w_DF.T, x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])


linear.defvjp(lambda x, w_DF: (x @ w_DF, (x, w_DF)), _linear_backward)


def rms_norm(x_BTD: jax.Array, scale_D: jax.Array, eps: float) -> jax.Array:
  """x / rms(x) * scale, in fp32 (Zhang and Sennrich 2019, eq. 4)."""
  x32_BTD = x_BTD.astype(jnp.float32)
  x32_BTD = x32_BTD * jax.lax.rsqrt(jnp.mean(x32_BTD**2, axis=-1, keepdims=True) + eps)
  return (x32_BTD * scale_D).astype(x_BTD.dtype)


def rope_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> np.ndarray:
  """(K/2,) fp32 (Su et al. 2021, section 3.4.2); stretched as RopeScaling says."""
  frequencies_k = theta ** (-np.arange(0, head_dim, 2, dtype=np.float32) / head_dim)
  if scaling is None:
    return frequencies_k
  slow_k = frequencies_k / scaling.factor
  if scaling.kind == 'linear':
    return slow_k
  turns_k = scaling.original_length * frequencies_k / (2 * np.pi)  # over the original length
  kept_k = np.clip((turns_k - scaling.low) / (scaling.high - scaling.low), 0, 1)
  return np.float32(kept_k * frequencies_k + (1 - kept_k) * slow_k)


def rope_tables(positions_BT: jax.Array, frequencies_k: np.ndarray) -> tuple[jax.Array, jax.Array]:
  """cos and sin, (B, T, 1, K/2) fp32."""
  angles_BTk = positions_BT[..., None].astype(jnp.float32) * frequencies_k
  return jnp.cos(angles_BTk)[:, :, None], jnp.sin(angles_BTk)[:, :, None]


def rope(x_BTHK: jax.Array, tables: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the two halves of each head against each other: the layout of Hugging Face's Llama."""
  cos, sin = tables
  a, b = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTHK.dtype)


def project(c: ModelConfig, p: Params, name: str, x: jax.Array, key: jax.Array | None) -> jax.Array:
  """x @ w, plus the bias and the low-rank adapter (Hu et al. 2021, section 4.1) where there are any. `key`: for the adapter's dropout."""
  y = linear(x, p[name])
  if f'{name}_bias' in p:
    y += p[f'{name}_bias']
  if f'{name}_a' in p:
    if key is not None and c.lora.dropout:
      keep = jax.random.bernoulli(
        jax.random.fold_in(key, PROJECTIONS.index(name)), 1 - c.lora.dropout, x.shape
      )
      x = jnp.where(keep, x / (1 - c.lora.dropout), 0).astype(x.dtype)
    y += linear(linear(x, p[f'{name}_a']), p[f'{name}_b']) * (c.lora.alpha / c.lora.rank)
  return y


class Looking(NamedTuple):
  """What a layer's attention needs to know of positions: rotary tables and the bias (B, T, S)."""

  tables: tuple[jax.Array, jax.Array]
  bias_BTS: jax.Array


Cache = tuple[
  jax.Array, jax.Array
]  # keys and values, (L, B, G, S, K) each, the one of position s at slot s


def block(
  c: ModelConfig,
  p: Params,
  x_BTD: jax.Array,
  looking: Looking,
  cache: Cache | None,
  layer: jax.Array,
  positions_BT: jax.Array,
  key: jax.Array | None,
) -> tuple[jax.Array, Cache | None]:
  """One layer; `p` holds its slices of what is stacked. The cache is that of all layers, so that it can be written in place."""
  B, T, _ = x_BTD.shape

  def norm(x, name):
    return rms_norm(x, p[name] + c.norm_offset if c.norm_offset else p[name], c.norm_eps)

  h_BTD = norm(x_BTD, 'attention_norm')
  q_BTHK = project(c, p, 'wq', h_BTD, key).reshape(B, T, c.n_heads, c.head_dim)
  k_BTGK = project(c, p, 'wk', h_BTD, key).reshape(B, T, c.n_kv_heads, c.head_dim)
  v_BTGK = project(c, p, 'wv', h_BTD, key).reshape(B, T, c.n_kv_heads, c.head_dim)
  if c.qk_norm:
    q_BTHK, k_BTGK = norm(q_BTHK, 'q_norm'), norm(k_BTGK, 'k_norm')
  q_BTHK, k_BTGK = rope(q_BTHK, looking.tables), rope(k_BTGK, looking.tables)
  if cache is not None:
    at = (layer, jnp.arange(B)[:, None], slice(None), positions_BT)
    cache = cache[0].at[at].set(k_BTGK), cache[1].at[at].set(v_BTGK)
    k_BTGK, v_BTGK = (x[layer].swapaxes(1, 2) for x in cache)
  a_BTHK = attention(q_BTHK, k_BTGK, v_BTGK, looking.bias_BTS, c.query_scale)
  a_BTD = project(c, p, 'wo', a_BTHK.reshape(B, T, -1), key)
  x_BTD = constrain(
    x_BTD + (norm(a_BTD, 'post_attention_norm') if c.post_norms else a_BTD), 'batch', None, None
  )
  h_BTD = norm(x_BTD, 'mlp_norm')
  gate = {'silu': nn.silu, 'gelu': nn.gelu}[c.activation]
  m_BTD = project(
    c,
    p,
    'w_down',
    gate(project(c, p, 'w_gate', h_BTD, key)) * project(c, p, 'w_up', h_BTD, key),
    key,
  )
  x_BTD = x_BTD + (norm(m_BTD, 'post_mlp_norm') if c.post_norms else m_BTD)
  return constrain(x_BTD, 'batch', None, None), cache


class Decoder(nn.Module):
  """Declares the parameters and runs the layers; see `forward`."""

  config: ModelConfig

  def block_params(self) -> Params:
    c = self.config
    D, L, F, Q, KV = (
      c.d_model,
      c.n_layers,
      c.d_ff,
      c.n_heads * c.head_dim,
      c.n_kv_heads * c.head_dim,
    )
    into = nn.initializers.normal(c.init_scale * D**-0.5)
    out = nn.initializers.normal(
      c.init_scale * (2 * L * D) ** -0.5
    )  # residual branches start small (GPT-2, section 2.3)
    zeros, unit = nn.initializers.zeros, nn.initializers.constant(1 - c.norm_offset)
    shapes = {
      'attention_norm': (unit, (L, D)), 'wq': (into, (L, D, Q)), 'wk': (into, (L, D, KV)), 'wv': (into, (L, D, KV)), 'wo': (out, (L, Q, D)),
      'mlp_norm': (unit, (L, D)), 'w_gate': (into, (L, D, F)), 'w_up': (into, (L, D, F)), 'w_down': (out, (L, F, D)),
    }  # fmt: skip
    if c.qkv_bias:
      shapes |= {f'{name}_bias': (zeros, (L, shapes[name][1][2])) for name in ('wq', 'wk', 'wv')}
    if c.qk_norm:
      shapes |= {'q_norm': (unit, (L, c.head_dim)), 'k_norm': (unit, (L, c.head_dim))}
    if c.post_norms:
      shapes |= {'post_attention_norm': (unit, (L, D)), 'post_mlp_norm': (unit, (L, D))}
    for name in c.lora.targets if c.lora else ():
      _, (_, fan_in, fan_out) = shapes[name]
      # as PEFT starts them: uniform within fan_in ** -0.5, and zeros
      shapes[f'{name}_a'] = (
        nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform', batch_axis=0),
        (L, fan_in, c.lora.rank),
      )
      shapes[f'{name}_b'] = zeros, (L, c.lora.rank, fan_out)
    return {
      name: self.param(name, init, shape, jnp.float32) for name, (init, shape) in shapes.items()
    }

  @nn.compact
  def __call__(
    self,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    segment_ids_BT: jax.Array,
    cache: Cache | None = None,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, Cache | None]:
    c = self.config
    dtype = jnp.dtype(c.dtype)
    embed_VD = self.param(
      'embed',
      nn.initializers.normal(c.init_scale * c.d_model**-0.5),
      (c.vocab_size, c.d_model),
      jnp.float32,
    )
    if not c.tie_embeddings:
      self.param(
        'unembed',
        nn.initializers.normal(c.init_scale * c.d_model**-0.5),
        (c.vocab_size, c.d_model),
        jnp.float32,
      )
    final_norm_D = self.param(
      'final_norm', nn.initializers.constant(1 - c.norm_offset), (c.d_model,), jnp.float32
    )
    blocks = {
      name: w if name.endswith('norm') else w.astype(dtype)
      for name, w in self.block_params().items()
    }  # norms work in fp32

    def looking(theta: float, scaling: RopeScaling | None, window: int) -> Looking:
      tables = rope_tables(positions_BT, rope_frequencies(c.head_dim, theta, scaling))
      return Looking(
        tables,
        segment_bias(segment_ids_BT, window)
        if cache is None
        else cache_bias(positions_BT, cache[0].shape[3], window),
      )

    is_local = c.local_layers or (False,) * c.n_layers
    kinds = [
      looking(c.rope_theta, c.rope_scaling, 0) if not all(is_local) else None,
      looking(c.local_theta, None, c.local_window) if any(is_local) else None,
    ]
    x_BTD = constrain(
      embed_VD[tokens_BT].astype(dtype) * jnp.asarray(c.embed_scale, dtype), 'batch', None, None
    )

    def layer(x_BTD, p, local, cache, n, key):
      return block(
        c,
        p,
        x_BTD,
        local if isinstance(local, Looking) else pick(local),
        cache,
        n,
        positions_BT,
        key,
      )

    def pick(local: jax.Array) -> Looking:
      return jax.tree.map(lambda wide, near: jnp.where(local, near, wide), *kinds)

    if c.remat != 'none':
      policy = {'block': None, 'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable}[
        c.remat
      ]
      layer = jax.checkpoint(layer, policy=policy, prevent_cse=not c.scan_layers)
    keys = jax.random.split(key, c.n_layers) if key is not None else None
    if c.scan_layers:
      mixed = None not in kinds

      def scanned(carry, xs):
        p, local, n, key = xs
        return layer(carry[0], p, local if mixed else kinds[is_local[0]], carry[1], n, key), None

      (x_BTD, cache), _ = jax.lax.scan(
        scanned, (x_BTD, cache), (blocks, jnp.array(is_local), jnp.arange(c.n_layers), keys)
      )
    else:
      for i in range(c.n_layers):
        p, key_i = jax.tree.map(lambda w, i=i: w[i], (blocks, keys))
        x_BTD, cache = layer(x_BTD, p, kinds[is_local[i]], cache, i, key_i)
    return rms_norm(
      x_BTD, final_norm_D + c.norm_offset if c.norm_offset else final_norm_D, c.norm_eps
    ), cache


def init_params(c: ModelConfig, key: jax.Array) -> Params:
  one = jnp.ones((1, 1), jnp.int32)
  return Decoder(c).init(key, one, one, one)['params']


def forward(
  c: ModelConfig,
  params: Params,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segment_ids_BT: jax.Array,
  key: jax.Array | None = None,
) -> jax.Array:
  """Final hidden states (B, T, D) in c.dtype. Tokens of different segments, and padding (segment 0), never see each other. `key`: dropout."""
  return Decoder(c).apply({'params': params}, tokens_BT, positions_BT, segment_ids_BT, None, key)[0]


def empty_cache(c: ModelConfig, rows: int, slots: int) -> Cache:
  shape = (c.n_layers, rows, c.n_kv_heads, slots, c.head_dim)
  return jnp.zeros(shape, c.dtype), jnp.zeros(shape, c.dtype)


def extend(
  c: ModelConfig, params: Params, tokens_BT: jax.Array, positions_BT: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
  """Final hidden states (B, T, D) of tokens that follow what the cache holds, and the cache with them.

  Each row has one text. A token sees the slots up to its position, so rows may be filled to different lengths, and what padding leaves
  behind a row's end is written over before it is seen. Layers are scanned whatever the config says: unrolled, XLA copies the cache.
  """
  return Decoder(dataclasses.replace(c, scan_layers=True)).apply(
    {'params': params}, tokens_BT, positions_BT, positions_BT, cache
  )


def unembedding(params: Params) -> jax.Array:
  """The matrix (V, D) that turns hidden states into logits: the embedding itself when tied."""
  return params.get('unembed', params['embed'])


def logits(c: ModelConfig, params: Params, x: jax.Array) -> jax.Array:
  """(..., V) fp32 of hidden states (..., D)."""
  out = jnp.einsum(
    '...d,vd->...v', x, unembedding(params).astype(x.dtype), preferred_element_type=jnp.float32
  )
  return c.logit_softcap * jnp.tanh(out / c.logit_softcap) if c.logit_softcap else out


def adapted(c: ModelConfig, params: Params, name: str, layer: int) -> np.ndarray:
  """A layer's slice of a stacked parameter on the host: as it is, or in fp32 with its adapter added if it has one."""
  w = np.asarray(jax.device_get(params[name][layer]))
  if f'{name}_a' not in params:
    return w
  a, b = (np.asarray(jax.device_get(params[f'{name}_{x}'][layer]), np.float32) for x in 'ab')
  return w.astype(np.float32) + a @ b * (c.lora.alpha / c.lora.rank)


def count_params(params: Params) -> int:
  return sum(x.size for x in jax.tree.leaves(params))


def flops_per_token(c: ModelConfig, length: int) -> float:
  """Training FLOPs per token: 6 x (matrix parameters) + 6 L D T (causal attention counted half), as MaxText counts it."""
  D, Q, KV = c.d_model, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  matrices = c.n_layers * (2 * D * Q + 2 * D * KV + 3 * D * c.d_ff) + c.vocab_size * D
  return 6.0 * matrices + 6.0 * c.n_layers * Q * length
