"""The decoder: RMSNorm, RoPE, grouped-query attention, SwiGLU. Families differ by the fields of ModelConfig, never by another class.

Linen declares the parameters and nothing else: outside this file a model is a plain nested dict of arrays and the pure function
`forward`. Block parameters are stacked over layers, (L, ...), whether the layers are scanned or unrolled, so a checkpoint never
depends on that setting.

Shapes: B batch, T tokens, D model, H query heads, G key/value heads, K head size, F feed-forward, V vocabulary, L layers.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from msm_jax.attention import attention, segment_bias
from msm_jax.config import ModelConfig
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


def rope_tables(positions_BT: jax.Array, head_dim: int, theta: float) -> tuple[jax.Array, jax.Array]:
  """cos and sin, (B, T, 1, K/2) fp32 (Su et al. 2021, section 3.4.2)."""
  frequencies_k = theta ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)
  angles_BTk = positions_BT[..., None].astype(jnp.float32) * frequencies_k
  return jnp.cos(angles_BTk)[:, :, None], jnp.sin(angles_BTk)[:, :, None]


def rope(x_BTHK: jax.Array, tables: tuple[jax.Array, jax.Array]) -> jax.Array:
  """Rotates the two halves of each head against each other: the layout of Hugging Face's Llama."""
  cos, sin = tables
  a, b = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTHK.dtype)


def block(c: ModelConfig, p: Params, x_BTD: jax.Array, tables: tuple, bias_BTS: jax.Array) -> jax.Array:
  """One pre-norm layer; `p` holds this layer's slice of the stacked parameters."""
  B, T, _ = x_BTD.shape
  h_BTD = rms_norm(x_BTD, p['attention_norm'], c.norm_eps)
  q_BTHK = linear(h_BTD, p['wq']).reshape(B, T, c.n_heads, c.head_dim)
  k_BTGK = linear(h_BTD, p['wk']).reshape(B, T, c.n_kv_heads, c.head_dim)
  v_BTGK = linear(h_BTD, p['wv']).reshape(B, T, c.n_kv_heads, c.head_dim)
  if c.qk_norm:
    q_BTHK = rms_norm(q_BTHK, p['q_norm'], c.norm_eps)
    k_BTGK = rms_norm(k_BTGK, p['k_norm'], c.norm_eps)
  q_BTHK, k_BTGK = rope(q_BTHK, tables), rope(k_BTGK, tables)
  a_BTHK = attention(q_BTHK, k_BTGK, v_BTGK, bias_BTS)
  x_BTD = constrain(x_BTD + linear(a_BTHK.reshape(B, T, -1), p['wo']), 'batch', None, None)
  h_BTD = rms_norm(x_BTD, p['mlp_norm'], c.norm_eps)
  x_BTD = x_BTD + linear(nn.silu(linear(h_BTD, p['w_gate'])) * linear(h_BTD, p['w_up']), p['w_down'])
  return constrain(x_BTD, 'batch', None, None)


class Decoder(nn.Module):
  """Declares the parameters and runs the layers; see `forward`."""

  config: ModelConfig

  def block_params(self) -> Params:
    c = self.config
    D, L, F, Q, KV = c.d_model, c.n_layers, c.d_ff, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
    into = nn.initializers.normal(c.init_scale * D**-0.5)
    out = nn.initializers.normal(c.init_scale * (2 * L * D) ** -0.5)  # residual branches start small (GPT-2, section 2.3)
    ones = nn.initializers.ones
    shapes = {
      'attention_norm': (ones, (L, D)), 'wq': (into, (L, D, Q)), 'wk': (into, (L, D, KV)), 'wv': (into, (L, D, KV)), 'wo': (out, (L, Q, D)),
      'mlp_norm': (ones, (L, D)), 'w_gate': (into, (L, D, F)), 'w_up': (into, (L, D, F)), 'w_down': (out, (L, F, D)),
    }  # fmt: skip
    if c.qk_norm:
      shapes |= {'q_norm': (ones, (L, c.head_dim)), 'k_norm': (ones, (L, c.head_dim))}
    return {name: self.param(name, init, shape, jnp.float32) for name, (init, shape) in shapes.items()}

  @nn.compact
  def __call__(self, tokens_BT: jax.Array, positions_BT: jax.Array, segment_ids_BT: jax.Array) -> jax.Array:
    c = self.config
    dtype = jnp.dtype(c.dtype)
    embed_VD = self.param('embed', nn.initializers.normal(c.init_scale * c.d_model**-0.5), (c.vocab_size, c.d_model), jnp.float32)
    if not c.tie_embeddings:
      self.param('unembed', nn.initializers.normal(c.init_scale * c.d_model**-0.5), (c.vocab_size, c.d_model), jnp.float32)
    final_norm_D = self.param('final_norm', nn.initializers.ones, (c.d_model,), jnp.float32)
    blocks = {name: w if name.endswith('norm') else w.astype(dtype) for name, w in self.block_params().items()}  # norms work in fp32

    tables = rope_tables(positions_BT, c.head_dim, c.rope_theta)
    bias_BTS = segment_bias(segment_ids_BT)
    x_BTD = constrain(embed_VD[tokens_BT].astype(dtype), 'batch', None, None)

    def layer(x_BTD, p):
      return block(c, p, x_BTD, tables, bias_BTS), None

    if c.remat != 'none':
      policy = {'block': None, 'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable}[c.remat]
      layer = jax.checkpoint(layer, policy=policy, prevent_cse=not c.scan_layers)
    if c.scan_layers:
      x_BTD, _ = jax.lax.scan(layer, x_BTD, blocks)
    else:
      for i in range(c.n_layers):
        x_BTD, _ = layer(x_BTD, jax.tree.map(lambda w, i=i: w[i], blocks))
    return rms_norm(x_BTD, final_norm_D, c.norm_eps)


def init_params(c: ModelConfig, key: jax.Array) -> Params:
  one = jnp.ones((1, 1), jnp.int32)
  return Decoder(c).init(key, one, one, one)['params']


def forward(c: ModelConfig, params: Params, tokens_BT: jax.Array, positions_BT: jax.Array, segment_ids_BT: jax.Array) -> jax.Array:
  """Final hidden states (B, T, D) in c.dtype. Tokens of different segments, and padding (segment 0), never see each other."""
  return Decoder(c).apply({'params': params}, tokens_BT, positions_BT, segment_ids_BT)


def unembedding(params: Params) -> jax.Array:
  """The matrix (V, D) that turns hidden states into logits: the embedding itself when tied."""
  return params.get('unembed', params['embed'])


def count_params(params: Params) -> int:
  return sum(x.size for x in jax.tree.leaves(params))


def flops_per_token(c: ModelConfig, length: int) -> float:
  """Training FLOPs per token: 6 x (matrix parameters) + 6 L D T (causal attention counted half), as MaxText counts it."""
  D, Q, KV = c.d_model, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  matrices = c.n_layers * (2 * D * Q + 2 * D * KV + 3 * D * c.d_ff) + c.vocab_size * D
  return 6.0 * matrices + 6.0 * c.n_layers * Q * length
