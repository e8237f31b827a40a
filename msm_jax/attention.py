"""Causal attention within segments, and which kernel computes it.

A `Mask` says which token may look at which: `packed_mask` makes that of packed rows (for training
and scoring), `cache_mask` that of tokens that continue a key/value cache (for sampling).
`attention` takes queries, keys, values and a mask. There are three implementations:

- `xla`: plain operations that XLA compiles, with logits of all pairs in memory. It runs anywhere
  and is the reference for the others.
- `splash`: the Pallas kernel of TPUs. Logits exist for a block of pairs at a time, and blocks in
  which no pair may look at each other are skipped.
- `cudnn`: the fused kernel of NVIDIA GPUs, for bf16. The mask of all pairs is in memory, logits are
  not.

`choose_implementation` picks one for a device and a shape.

Shapes: B batch, T query position, S key position, H query heads, G key/value heads, R = H / G query
heads that share a key/value head, X = R T, K head size. A trailing 1 is an axis of size one.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from msm_jax.base.errors import ConfigError
from msm_jax.products import product, transposed_product
from msm_jax.sharding import BATCH, batch_parts, device_kind, platform

# What is added to the logits of pairs that may not see each other. A finite number: with -inf, a
# row in which everything is masked would become NaN.
MASKED = -1e30
# Splash attention cuts rows into blocks whose lengths are multiples of this.
SPLASH_MULTIPLE = 128
# It is compiled for these lengths of a block. The longest that divides the row is taken; longer
# blocks mean fewer passes over the keys, until logits do not fit into the memory of a core.
SPLASH_BLOCKS = (1024, 512, 256, 128)
# Device -> how many blocks of keys the backward kernel takes one after the other: as many as its
# fast memory holds (16 MiB for a kernel, 32 on v6e). It writes that many times less.
KEY_BLOCKS = {'TPU v6 lite': 8, 'TPU v6e': 8}
# The same for other TPUs.
FEWEST_KEY_BLOCKS = 2
# The backward kernel that makes all three gradients at once keeps a gradient of the queries for
# every block of keys. Up to so many blocks it is worth its memory.
MOST_FUSED_BLOCKS = 8
# The name under which the kernel's output and normaliser may be kept for the backward pass; see
# `ModelConfig.remat`.
KEPT_NAME = 'attention'
# Rows that are shorter than this gain nothing from a kernel.
SHORTEST_ROW = 128
# On a CPU, `xla` cuts the queries of long rows into so many blocks, and no block computes logits of
# keys behind its end: 5/8 of all pairs are left. docs/LOG.md has what this saves.
CPU_QUERY_BLOCKS = 4
# Shorter rows are not cut.
SHORTEST_CUT_ROW = 256


# --------------------------------------------------------------------------------------------------
# Who may look at whom
# --------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mask:
  """Which token may look at which, in the form that an implementation takes.

  A mask is made once for each step and shared by all layers of a kind.

  Attributes:
    implementation: 'xla', 'splash' or 'cudnn'.
    bias_BTS: for `xla`, what is added to the logits; see `segment_bias`.
    is_of_rows: for `xla`, whether queries and keys are those of the same rows. Then no query looks
      at a key behind its own place; in a cache it may.
    allowed_BTS: for `cudnn`, whether token t may look at token s.
    segment_ids_BT: for `splash`, the segments. The kernel makes the rest of the mask itself.
    windows: for `splash`, how many tokens back a token may look, 0 for no limit. Two windows are
      those of a global layer and of a local one.
    is_local: for `splash` with two windows, whether the second one counts (a scalar).
  """

  implementation: str = dataclasses.field(metadata={'static': True})
  bias_BTS: jax.Array | None = None
  is_of_rows: bool = dataclasses.field(default=False, metadata={'static': True})
  allowed_BTS: jax.Array | None = None
  segment_ids_BT: jax.Array | None = None
  windows: tuple[int, ...] = dataclasses.field(default=(), metadata={'static': True})
  is_local: jax.Array | None = None


def packed_mask(
  segment_ids_BT: jax.Array,
  window: int = 0,
  implementation: str = 'xla',
  branches_BT: jax.Array | None = None,
) -> Mask:
  """Makes the mask of packed rows.

  Args:
    segment_ids_BT: int ids of the segments. Padding has the id 0 and sees padding alone: what comes
      out there means nothing and must carry no weight in a loss.
    window: how many tokens back a token may look, itself included; 0 means no limit.
    implementation: 'xla', 'splash' or 'cudnn'; see `choose_implementation`.
    branches_BT: int32, for segments in which several texts go on from one beginning: 0 for tokens
      of the beginning, which all see, and the number of its text for any other token. None if
      every segment is one text.

  Returns:
    The mask: a token sees those of its segment that are not later and within the window, and none
    of another branch.

  Raises:
    ValueError: there are branches, and the kernel knows none, or a window would count their tokens.
  """
  if branches_BT is not None and (window or implementation == 'splash'):
    raise ValueError('branches are for global layers, and not for splash attention')
  if implementation == 'splash':
    return Mask('splash', segment_ids_BT=segment_ids_BT, windows=(window,))
  if implementation == 'cudnn':
    return Mask('cudnn', allowed_BTS=_allowed_pairs(segment_ids_BT, window, branches_BT))
  bias_BTS = segment_bias(segment_ids_BT, window, branches_BT)
  return Mask('xla', bias_BTS=bias_BTS, is_of_rows=True)


def cache_mask(positions_BT: jax.Array, S: int, window: int = 0) -> Mask:
  """Makes the mask for keys that are kept in a cache; see `cache_bias`. It is always for `xla`."""
  return Mask('xla', bias_BTS=cache_bias(positions_BT, S, window))


def select_mask(is_local: jax.Array, of_global: Mask, of_local: Mask) -> Mask:
  """Selects the mask of a layer whose kind becomes known on the device only.

  Args:
    is_local: bool scalar, whether the layer is local.
    of_global: the mask of global layers.
    of_local: the mask of local layers, of the same implementation.

  Returns:
    The mask of the layer.
  """
  if of_global.implementation == 'splash':
    # Windows are compiled into the kernel, so there will be two kernels, of which one runs.
    windows = of_global.windows + of_local.windows
    return dataclasses.replace(of_global, windows=windows, is_local=is_local)
  return jax.tree.map(lambda x, y: jnp.where(is_local, y, x), of_global, of_local)


def _allowed_pairs(
  segment_ids_BT: jax.Array, window: int, branches_BT: jax.Array | None
) -> jax.Array:
  """(B, T, S) bool: whether s is in the segment of t, not later, within the window, and in no
  other branch."""
  T = segment_ids_BT.shape[1]
  allowed_TS = jnp.tril(jnp.ones((T, T), bool))
  if 0 < window < T:
    allowed_TS &= ~jnp.tril(allowed_TS, -window)
  allowed_BTS = (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :]) & allowed_TS
  if branches_BT is not None:
    is_of_beginning_B1S = branches_BT[:, None, :] == 0
    allowed_BTS &= is_of_beginning_B1S | (branches_BT[:, :, None] == branches_BT[:, None, :])
  return allowed_BTS


def segment_bias(
  segment_ids_BT: jax.Array, window: int = 0, branches_BT: jax.Array | None = None
) -> jax.Array:
  """Makes the attention bias of packed rows.

  Args:
    segment_ids_BT: int ids of the segments; see `packed_mask`.
    window: how many tokens back a token may look, itself included; 0 means no limit.
    branches_BT: see `packed_mask`.

  Returns:
    (B, T, S) fp32 array: 0 where token t may look at token s (s is in the same segment, not later
    than t, within the window, and in no other branch), and -1e30 elsewhere.
  """
  return jnp.where(_allowed_pairs(segment_ids_BT, window, branches_BT), 0.0, MASKED)


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


# --------------------------------------------------------------------------------------------------
# The choice of an implementation
# --------------------------------------------------------------------------------------------------


def choose_implementation(wanted: str, dtype: Any, B: int, T: int, G: int, K: int) -> str:
  """Chooses how the attention of whole rows is computed on the devices in force.

  Args:
    wanted: 'auto', 'xla', 'splash' or 'cudnn' (`ModelConfig.attention`). 'auto' takes the kernel
      of the device where it can compute these shapes, and `xla` elsewhere.
    dtype: the dtype of queries, keys and values.
    B: the rows of all devices together.
    T: tokens of a row.
    G: key/value heads. Query heads are a multiple of these, so they are divided wherever these are.
    K: the head size.

  Returns:
    'xla', 'splash' or 'cudnn'.

  Raises:
    ConfigError: the implementation that is wanted cannot compute this.
  """
  if wanted == 'xla':
    return 'xla'
  problem_of = {'splash': _problem_of_splash, 'cudnn': _problem_of_cudnn}
  if wanted == 'auto':
    suited = {'tpu': 'splash', 'gpu': 'cudnn'}.get(platform(), 'xla')
    if suited == 'xla' or T < SHORTEST_ROW:
      return 'xla'
    if problem_of[suited](dtype, T, K) or _problem_of_mesh(B, G):
      return 'xla'
    return suited
  problem = problem_of[wanted](dtype, T, K) or _problem_of_mesh(B, G)
  if problem:
    raise ConfigError(f"model.attention={wanted!r} {problem}; set it to 'auto' or 'xla'")
  return wanted


def _problem_of_splash(dtype: Any, T: int, K: int) -> str:
  """Why splash attention cannot compute this; empty if it can."""
  del dtype, T  # It computes in any dtype, and rows are padded to its blocks.
  if platform() != 'tpu':
    return f'runs on TPUs, and this is a {platform()}'
  if K % 64:
    return f'needs a head_dim that is a multiple of 64, and this one is {K}'
  return ''


def _problem_of_cudnn(dtype: Any, T: int, K: int) -> str:
  """Why cuDNN cannot compute this; empty if it can."""
  if platform() != 'gpu':
    return f'runs on NVIDIA GPUs, and this is a {platform()}'
  if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16):
    return f"needs model.dtype='bfloat16', and this is {jnp.dtype(dtype).name}"
  largest = _largest_head_of_cudnn()
  if K % 8 or largest < K:
    return f'needs a head_dim of at most {largest} here that is a multiple of 8, and this is {K}'
  if T % 2:
    return f'needs rows of an even number of tokens, and these have {T}'
  return ''


def _largest_head_of_cudnn() -> int:
  """The largest head size of cuDNN's kernel on this GPU; 0 if it has no such kernel."""
  capability = str(getattr(jax.devices()[0], 'compute_capability', '0'))
  # The GPUs of other vendors have names in place of numbers, such as gfx90a.
  major = capability.partition('.')[0]
  if not major.isdigit() or int(major) < 8:
    return 0
  return 256 if int(major) >= 9 else 128


def _problem_of_mesh(B: int, G: int) -> str:
  """Why rows and heads cannot be divided over the devices; empty if they can."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.are_all_axes_manual:
    return ''
  if B % batch_parts():
    return f'needs rows that {batch_parts()} devices can share, and there are {B}'
  tensor = mesh.shape.get('tensor', 1)
  if G % tensor:
    return f'needs n_kv_heads={G} to be a multiple of mesh.tensor={tensor}'
  return ''


# --------------------------------------------------------------------------------------------------
# Attention
# --------------------------------------------------------------------------------------------------


def attention(
  q_BTHK: jax.Array, k_BSGK: jax.Array, v_BSGK: jax.Array, mask: Mask, scale: float = 0.0
) -> jax.Array:
  """Computes grouped-query attention, with the softmax in fp32 (Vaswani et al. 2017, eq. 1).

  Args:
    q_BTHK: queries.
    k_BSGK: keys; H / G neighbouring query heads share a key head (Ainslie et al. 2023).
    v_BSGK: values.
    mask: which token may look at which, and which implementation computes it. Kernels of TPUs are
      interpreted on other devices, which is slow and meant for tests.
    scale: the factor of the logits; 0 means K ** -0.5.

  Returns:
    (B, T, H, K) array in the dtype of the queries.
  """
  scale = scale or q_BTHK.shape[-1] ** -0.5
  if mask.implementation == 'splash':
    interpret = platform() != 'tpu'

    def of_own_rows(q_BTHK, k_BSGK, v_BSGK, segment_ids_BT, is_local):
      own_mask = dataclasses.replace(mask, segment_ids_BT=segment_ids_BT, is_local=is_local)
      return _splash(q_BTHK, k_BSGK, v_BSGK, own_mask, scale, interpret)

    arguments = (mask.segment_ids_BT, mask.is_local)
    return _on_each_device(of_own_rows, q_BTHK, k_BSGK, v_BSGK, *arguments)
  if mask.implementation == 'cudnn':

    def of_own_pairs(q_BTHK, k_BSGK, v_BSGK, allowed_BTS, _):
      return _dot_product(q_BTHK, k_BSGK, v_BSGK, allowed_BTS, scale, 'cudnn')

    return _on_each_device(of_own_pairs, q_BTHK, k_BSGK, v_BSGK, mask.allowed_BTS, None)
  return _xla(q_BTHK, k_BSGK, v_BSGK, mask, scale)


def _on_each_device(
  f: Callable[..., jax.Array],
  q_BTHK: jax.Array,
  k_BSGK: jax.Array,
  v_BSGK: jax.Array,
  of_rows: jax.Array | None,
  scalar: jax.Array | None,
) -> jax.Array:
  """Calls a kernel on every device, with the rows and heads that lie there.

  XLA cannot divide a kernel by itself: it would gather all rows on all devices.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.are_all_axes_manual:
    return f(q_BTHK, k_BSGK, v_BSGK, of_rows, scalar)
  heads = P(BATCH, None, 'tensor', None)
  # Kernels do not tell JAX how their results vary over the devices, hence no `check_vma`.
  divided = jax.shard_map(
    f, in_specs=(heads, heads, heads, P(BATCH), P()), out_specs=heads, check_vma=False
  )
  return divided(q_BTHK, k_BSGK, v_BSGK, of_rows, scalar)


# --------------------------------------------------------------------------------------------------
# The kernels
# --------------------------------------------------------------------------------------------------


def _splash(q_BTHK, k_BTGK, v_BTGK, mask: Mask, scale: float, interpret: bool) -> jax.Array:
  """Splash attention of the rows and heads of one device."""
  # Pallas takes a second to import, and most machines never need it.
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels

  _, T, H, K = q_BTHK.shape
  assert mask.segment_ids_BT is not None

  # Padding comes last, so no other token looks at it, whatever its segment.
  padding = -T % SPLASH_MULTIPLE

  def prepared(x_BTHK: jax.Array) -> jax.Array:
    return jnp.pad(x_BTHK, ((0, 0), (0, padding), (0, 0), (0, 0))).swapaxes(1, 2)

  segment_ids_BT = jnp.pad(mask.segment_ids_BT, ((0, 0), (0, padding)))

  def kernel_of(window: int) -> Callable[..., jax.Array]:
    kernel = _splash_kernel(H, T + padding, K, window, q_BTHK.dtype, interpret)
    return jax.vmap(kernel)

  arguments = (
    prepared(q_BTHK * scale),
    prepared(k_BTGK),
    prepared(v_BTGK),
    kernels.SegmentIds(segment_ids_BT, segment_ids_BT),
  )
  if len(mask.windows) == 1:
    out_BHTK = kernel_of(mask.windows[0])(*arguments)
  else:
    of_global, of_local = (kernel_of(window) for window in mask.windows)
    out_BHTK = jax.lax.cond(mask.is_local, of_local, of_global, *arguments)
  return out_BHTK.swapaxes(1, 2)[:, :T]


def _key_blocks(blocks: int, K: int) -> int:
  """How many of the blocks of a row the backward kernel takes one after the other."""
  # The counts were compiled for heads of 128.
  most = FEWEST_KEY_BLOCKS
  if K <= 128:
    most = KEY_BLOCKS.get(device_kind(), most)
  return max(n for n in range(1, most + 1) if blocks % n == 0)


def _splash_kernel(
  H: int, T: int, K: int, window: int, dtype: Any, interpret: bool
) -> Callable[..., jax.Array]:
  """The kernel for one row: queries (H, T, K), keys and values (G, T, K), segments (T,)."""
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
  from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

  own: masks.Mask = masks.CausalMask((T, T))
  if 0 < window < T:
    # It counts the tokens before the token itself.
    own = masks.LocalMask((T, T), (window - 1, 0), offset=0)
  # Logits of a block are fp32 in any case; with blocks of fp32 beside them they need more memory.
  most = 1024 if jnp.dtype(dtype).itemsize == 2 else 512
  block = next(size for size in SPLASH_BLOCKS if size <= most and T % size == 0)
  keys = block * _key_blocks(T // block, K)
  is_fused = T // keys <= MOST_FUSED_BLOCKS
  sizes = kernels.BlockSizes(
    block_q=block,
    block_kv=block,
    block_kv_compute=block,
    block_q_dkv=block,
    block_kv_dkv=keys,
    block_kv_dkv_compute=block,
    block_q_dq=None if is_fused else block,
    block_kv_dq=None if is_fused else block,
    use_fused_bwd_kernel=is_fused,
  )
  return kernels.make_splash_mha_single_device(
    masks.MultiHeadMask([own] * H),
    block_sizes=sizes,
    residual_checkpoint_name=KEPT_NAME,
    interpret=interpret,
  )


def _dot_product(
  q_BTHK,
  k_BTGK,
  v_BTGK,
  allowed_BTS: jax.Array,
  scale: float,
  implementation: Literal['xla', 'cudnn'],
) -> jax.Array:
  """JAX's own attention, with the arguments that cuDNN's kernel honours.

  `is_causal` lets the kernel skip what is later than a token. Segments and the window are in the
  mask: cuDNN has arguments for packed segments, which JAX does not offer, and a window that not all
  of its versions take together with a mask.
  """
  return jax.nn.dot_product_attention(
    q_BTHK,
    k_BTGK,
    v_BTGK,
    mask=allowed_BTS[:, None],
    is_causal=True,
    scale=scale,
    implementation=implementation,
  )


def _xla(q_BTHK, k_BSGK, v_BSGK, mask: Mask, scale: float) -> jax.Array:
  """Attention through plain operations."""
  bias_BTS = mask.bias_BTS
  assert bias_BTS is not None
  T = q_BTHK.shape[1]
  is_cut = mask.is_of_rows and platform() == 'cpu' and T >= SHORTEST_CUT_ROW
  if not is_cut:
    return _xla_block(q_BTHK, k_BSGK, v_BSGK, bias_BTS, scale)
  size = -(-T // CPU_QUERY_BLOCKS)
  blocks = []
  for start in range(0, T, size):
    stop = min(start + size, T)
    keys = (k_BSGK[:, :stop], v_BSGK[:, :stop])
    bias_of_block = bias_BTS[:, start:stop, :stop]
    blocks.append(_xla_block(q_BTHK[:, start:stop], *keys, bias_of_block, scale))
  return jnp.concatenate(blocks, axis=1)


def _xla_block(q_BTHK, k_BSGK, v_BSGK, bias_BTS: jax.Array, scale: float) -> jax.Array:
  """Attention of some queries to all keys that are given."""
  B, T, H, K = q_BTHK.shape
  G = k_BSGK.shape[2]
  q_BHTK = (q_BTHK * scale).transpose(0, 2, 1, 3)
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
  dv_BGSK = transposed_product(e_BGXS, dout_BGXK)
  dp_BGXS = jnp.einsum('bgxk,bgsk->bgxs', dout_BGXK, v_BGSK, preferred_element_type=jnp.float32)
  # The derivative of a softmax is p x (dp - sum of p x dp), and that sum is dout . out, which is
  # cheap (Dao et al. 2022, App. B.2).
  mean_BGX1 = (dout_BGXK.astype(jnp.float32) * out_BGXK).sum(-1, keepdims=True)
  dlogits_BGXS = (e_BGXS * (dp_BGXS - mean_BGX1)).astype(q_BGXK.dtype)
  dq_BGXK = product(dlogits_BGXS, k_BGSK)
  dk_BGSK = transposed_product(dlogits_BGXS, q_BGXK)
  # The bias comes from positions and segments and needs no gradient.
  return dq_BGXK, dk_BGSK, dv_BGSK, None


_attend.defvjp(_attend_forward, _attend_backward)
