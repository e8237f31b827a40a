"""Every implementation of attention against the plainest one, with gradients.

Kernels of TPUs are interpreted here. cuDNN's kernel cannot be: what is checked is that JAX's own
attention, given the same arguments, computes the same.

Shapes: B rows, T tokens of a row, H query heads, G key/value heads, K head size.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import assert_close, make_params, packed

from msm_jax import attention as attentions
from msm_jax import layer_kinds, sharding
from msm_jax import model as models
from msm_jax.attention import attention, cache_mask, choose_implementation, packed_mask
from msm_jax.base.errors import ConfigError
from msm_jax.config import ModelConfig

H, G, K = 4, 2, 64
# Segments that begin and end inside of blocks of 128 tokens, padding at the end, and a whole row.
ROWS = ((60, 150, 30), (256,))
T = 256


def make_inputs(dtype=jnp.float32, rows=ROWS, length=T, seed=0):
  """Queries, keys, values, a gradient of the output, and segment ids."""
  rng = np.random.default_rng(seed)
  segments = np.stack([packed(lengths, length)[0] for lengths in rows])

  def normal(heads):
    return jnp.asarray(rng.normal(size=(len(rows), length, heads, K)), dtype)

  return normal(H), normal(G), normal(G), normal(H), segments


def attend(implementation, window, q, k, v, dout, segments, scale=0.0):
  """The output and the gradients of queries, keys and values."""

  def compute(q, k, v):
    return attention(q, k, v, packed_mask(jnp.asarray(segments), window, implementation), scale)

  out, backward = jax.vjp(compute, q, k, v)
  return out, *backward(dout)


attend = jax.jit(attend, static_argnums=(0, 1, 7))


def through_jax(window, q, k, v, dout, segments, scale=0.0):
  """As `attend`, by what cuDNN is given, computed by XLA."""
  mask = packed_mask(jnp.asarray(segments), window, 'cudnn')
  scale = scale or K**-0.5

  def compute(q, k, v):
    return attentions._dot_product(q, k, v, mask.allowed_BTS, scale, 'xla')

  out, backward = jax.vjp(compute, q, k, v)
  return out, *backward(dout)


def as_fp32(arrays):
  return [np.asarray(x, np.float32) for x in arrays]


# A window that is shorter than a block, one that spans several, and one that is longer than a row.
@pytest.mark.parametrize('window', [0, 50, 200, 300])
def test_splash_equals_xla(window):
  inputs = make_inputs()
  found = attend('splash', window, *inputs)
  wanted = attend('xla', window, *inputs)
  assert_close(as_fp32(found), as_fp32(wanted), 1e-5)


def test_splash_in_bfloat16():
  """Both round at different places: the distance to fp32 is what counts, for output and gradients.

  Rows of 200 tokens are padded to 256, and the logits have a scale of their own.
  """
  rows = ((60, 90), (200,))
  inputs = make_inputs(jnp.bfloat16, rows, 200)
  exact = attend('xla', 0, *(jnp.asarray(x, jnp.float32) for x in inputs[:4]), inputs[4], 0.2)
  by_xla = as_fp32(attend('xla', 0, *inputs, 0.2))
  by_splash = as_fp32(attend('splash', 0, *inputs, 0.2))
  for ours, reference, wanted in zip(by_splash, by_xla, as_fp32(exact), strict=True):
    distance = np.linalg.norm(reference - wanted)
    assert np.linalg.norm(ours - wanted) < max(1.5 * distance, 0.01 * np.linalg.norm(wanted))


@pytest.mark.parametrize(('most_fused', 'kind'), [(0, 'cpu'), (2, 'cpu'), (2, 'TPU v6 lite')])
def test_splash_of_several_blocks(monkeypatch, most_fused, kind):
  """Four blocks, of which the backward pass takes two at a time, and all four on v6e. Long rows
  have a backward kernel for queries and one for keys and values, others have one for all."""
  monkeypatch.setattr(attentions, 'MOST_FUSED_BLOCKS', most_fused)
  monkeypatch.setattr(attentions, 'device_kind', lambda: kind)
  monkeypatch.setattr(attentions, 'SPLASH_BLOCKS', (128,))
  inputs = make_inputs(rows=((60, 150, 230),), length=512, seed=1)
  # `attend` is not traced anew for settings that it does not know of.
  found = attend.__wrapped__('splash', 100, *inputs)
  assert_close(as_fp32(found), as_fp32(attend('xla', 100, *inputs)), 1e-5)


@pytest.mark.parametrize(
  ('kind', 'K', 'taken'),
  [
    # Row lengths in blocks: 1, 2, 3, 4, 8, 16.
    ('TPU v5 lite', 128, (1, 2, 1, 2, 2, 2)),
    ('TPU v6 lite', 128, (1, 2, 3, 4, 8, 8)),
    ('TPU v6e', 128, (1, 2, 3, 4, 8, 8)),
    ('TPU v6 lite', 256, (1, 2, 1, 2, 2, 2)),
  ],
)
def test_blocks_of_keys_fit_the_fast_memory(monkeypatch, kind, K, taken):
  """Compiled for v5e, v5p and v6e with heads of 128; more blocks than these were refused on v5."""
  monkeypatch.setattr(attentions, 'device_kind', lambda: kind)
  assert tuple(attentions._key_blocks(n, K) for n in (1, 2, 3, 4, 8, 16)) == taken


@pytest.mark.parametrize('window', [0, 50])
def test_rows_that_are_cut_equal_whole_ones(monkeypatch, window):
  """On a CPU, queries of long rows come in blocks. 301 tokens do not divide into equal blocks."""
  inputs = make_inputs(rows=((60, 150, 60), (301,)), length=301)

  def run():
    # A new function: `jit` is not traced anew for settings that it does not know of.
    jitted = jax.jit(lambda *inputs: attend.__wrapped__('xla', window, *inputs))
    return jitted(*inputs), jitted.lower(*inputs).cost_analysis()['flops']

  cut, flops_cut = run()
  monkeypatch.setattr(attentions, 'SHORTEST_CUT_ROW', 302)
  whole, flops_whole = run()
  assert_close(as_fp32(cut), as_fp32(whole), 1e-5)
  assert flops_cut < 0.7 * flops_whole


def test_queries_of_a_cache_are_not_cut():
  """As many tokens as slots, in which the first tokens look at slots behind their own places."""
  q, k, v, _, _ = make_inputs()
  positions = jnp.tile(jnp.arange(T)[::-1], (2, 1))
  found = attention(q, k, v, cache_mask(positions, T))
  in_order = attention(q[:, ::-1], k, v, cache_mask(positions[:, ::-1], T))
  assert_close(found, in_order[:, ::-1], 1e-5)


@pytest.mark.parametrize('window', [0, 50, 300])
def test_what_cudnn_is_given_equals_xla(window):
  inputs = make_inputs()
  found = through_jax(window, *inputs)
  assert_close(as_fp32(found), as_fp32(attend('xla', window, *inputs)), 1e-5)


def test_kernels_run_on_the_rows_and_heads_of_each_device():
  """Rows over two axes, heads over the third: the same numbers, divided like the inputs."""
  inputs = make_inputs(rows=ROWS * 2)
  wanted = attend('xla', 0, *inputs)
  mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
  with jax.set_mesh(mesh):
    found = jax.jit(functools.partial(attend.__wrapped__, 'splash', 0))(*inputs)
  assert_close(as_fp32(found), as_fp32(wanted), 1e-5)
  assert found[0].sharding.spec[:3] == (('data', 'fsdp'), None, 'tensor')

  # Where each device works on rows of its own already, nothing is left to divide.
  rows = jax.P(sharding.BATCH)
  with jax.set_mesh(sharding.make_mesh(data=4, fsdp=1, tensor=1, devices=jax.devices()[:4])):
    own = jax.shard_map(
      functools.partial(attend.__wrapped__, 'splash', 0),
      in_specs=(rows,) * 5,
      out_specs=rows,
      check_vma=False,
    )
    found = jax.jit(own)(*inputs)
  assert_close(as_fp32(found), as_fp32(wanted), 1e-5)


LOCAL = ModelConfig(
  d_model=32,
  n_layers=2,
  n_heads=2,
  n_kv_heads=1,
  head_dim=64,
  d_ff=48,
  vocab_size=64,
  local_layers=(True, False),
  local_window=40,
)


@pytest.mark.slow
@pytest.mark.parametrize('scan', [False, True])
def test_a_model_with_local_layers(monkeypatch, scan):
  """In a scan, what kind a layer is becomes known on the device, and each kind has its kernel."""
  c = dataclasses.replace(LOCAL, scan_layers=scan, remat='block')
  params = make_params(c)
  segments, positions = packed((50, 60, 10), 128)
  tokens = np.random.default_rng(0).integers(0, 64, (1, 128))

  def run(implementation):
    monkeypatch.setattr(layer_kinds, 'choose_implementation', lambda *_: implementation)

    def squares(params):
      x_BTD = models.forward(c, params, jnp.asarray(tokens), positions[None], segments[None])
      return (x_BTD[:, :120] ** 2).sum() / 100 + x_BTD[:, :120, 0].sum()

    return jax.device_get(jax.jit(jax.value_and_grad(squares))(params))

  assert_close(run('splash'), run('xla'), 2e-5)


@pytest.mark.parametrize(
  ('remat', 'calls'), [('none', 2), ('block', 3), ('attention', 2), ('dots', 2)]
)
@pytest.mark.parametrize('on_mesh', [False, True])
def test_the_kernel_is_not_computed_again_where_its_output_is_kept(
  monkeypatch, remat, calls, on_mesh
):
  """Read off the gradient before it is compiled: how often a layer uses what a kernel gives. Calls
  without results are still there, and the compiler drops them."""
  c = dataclasses.replace(LOCAL, local_layers=(), scan_layers=True, remat=remat)
  params = jax.eval_shape(functools.partial(models.init_params, c), jax.random.key(0))
  monkeypatch.setattr(layer_kinds, 'choose_implementation', lambda *_: 'splash')

  def loss(params):
    rows = jnp.ones((2, 128), jnp.int32)
    return models.forward(c, params, rows, rows, rows).sum()

  gradient = jax.jit(jax.grad(loss))
  if on_mesh:
    with jax.set_mesh(sharding.make_mesh(data=1, fsdp=2, devices=jax.devices()[:2])):
      text = str(gradient.trace(params).jaxpr)
  else:
    text = str(gradient.trace(params).jaxpr)
  found = re.findall(r'(.*) = jit\[\s+name=_splash_attention', text)
  # Others prepare the mask; the head size is that of an output or of a gradient.
  assert len([results for results in found if ',64]' in results]) == calls


# --------------------------------------------------------------------------------------------------
# The choice
# --------------------------------------------------------------------------------------------------

SHAPE = dict(dtype=jnp.bfloat16, B=2, T=256, G=2, K=64)


@pytest.mark.parametrize(
  ('platform', 'change', 'wanted'),
  [
    ('cpu', {}, 'xla'),
    ('tpu', {}, 'splash'),
    ('tpu', dict(dtype=jnp.float32, K=128), 'splash'),
    ('tpu', dict(K=32), 'xla'),
    ('tpu', dict(T=64), 'xla'),
    ('gpu', {}, 'cudnn'),
    ('gpu', dict(K=256), 'cudnn'),
    ('gpu', dict(dtype=jnp.float32), 'xla'),
    ('gpu', dict(K=36), 'xla'),
    ('gpu', dict(T=255), 'xla'),
  ],
)
def test_auto_takes_the_kernel_of_the_device(monkeypatch, platform, change, wanted):
  monkeypatch.setattr(attentions, 'platform', lambda: platform)
  monkeypatch.setattr(attentions, '_largest_head_of_cudnn', lambda: 256)
  assert choose_implementation('auto', **SHAPE | change) == wanted


@pytest.mark.parametrize(
  ('wanted', 'platform', 'change', 'says'),
  [
    ('splash', 'cpu', {}, "'splash' runs on TPUs, and this is a cpu; set it to 'auto'"),
    ('splash', 'tpu', dict(K=32), 'a head_dim that is a multiple of 64, and this one is 32'),
    ('cudnn', 'tpu', {}, 'runs on NVIDIA GPUs, and this is a tpu'),
    ('cudnn', 'gpu', dict(dtype=jnp.float32), "needs model.dtype='bfloat16'"),
    ('cudnn', 'gpu', dict(K=192), 'a head_dim of at most 128'),
    ('cudnn', 'gpu', dict(T=255), 'an even number of tokens'),
  ],
)
def test_what_is_wanted_and_cannot_be_done_is_refused(monkeypatch, wanted, platform, change, says):
  monkeypatch.setattr(attentions, 'platform', lambda: platform)
  monkeypatch.setattr(attentions, '_largest_head_of_cudnn', lambda: 128)
  with pytest.raises(ConfigError, match=says) as refusal:
    choose_implementation(wanted, **SHAPE | change)
  assert '\n' not in str(refusal.value)


def test_rows_and_heads_that_the_devices_cannot_share(monkeypatch):
  monkeypatch.setattr(attentions, 'platform', lambda: 'tpu')
  with jax.set_mesh(sharding.make_mesh(data=2, fsdp=1, tensor=4)):
    assert choose_implementation('auto', **SHAPE) == 'xla'
    with pytest.raises(ConfigError, match=r'n_kv_heads=2 to be a multiple of mesh\.tensor=4'):
      choose_implementation('splash', **SHAPE)
    with pytest.raises(ConfigError, match='rows that 2 devices can share, and there are 3'):
      choose_implementation('splash', **SHAPE | dict(B=3))


def test_no_gpu_of_this_machine_has_the_kernel():
  """A CPU has no compute capability; asking must not fail."""
  assert attentions._largest_head_of_cudnn() == 0
