"""The decoder against a reference written here in the plainest way, and against itself in its other
forms.

Shapes: B batch, T tokens, D model, H heads, G key/value heads, K head size, V vocabulary.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.config import LoraConfig, ModelConfig
from msm_jax.objectives.next_token import next_token

TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=64
)
B, T = 2, 16

FAMILIES = {
  'llama': TINY,
  'untied, one key head': dataclasses.replace(TINY, tie_embeddings=False, n_kv_heads=1),
  'qwen3': dataclasses.replace(
    TINY, qk_norm=True, n_kv_heads=4, head_dim=6, rope_theta=1e6, norm_eps=1e-6
  ),
}


def shapes_of(c):
  return jax.eval_shape(functools.partial(models.init_params, c), jax.random.key(0))


def make_params(c, seed=0):
  """Random weights, with norms around 1: with zeros or ones, a mistake could stay hidden."""
  rng = np.random.default_rng(seed)
  params = {}
  for name, x in shapes_of(c).items():
    centre = 1.0 if name.endswith('norm') else 0.0
    params[name] = (centre + rng.normal(0, 0.3, x.shape)).astype(np.float32)
  return params


def packed(lengths, length=T):
  """Segment ids and positions of one row that holds segments of these lengths, then padding."""
  segments = np.zeros(length, np.int32)
  positions = np.zeros(length, np.int32)
  t = 0
  for s, n in enumerate(lengths, 1):
    segments[t : t + n] = s
    positions[t : t + n] = np.arange(n)
    t += n
  return segments, positions


def make_batch(rows=((16,), (5, 7, 2)), seed=0, length=T):
  """One row per entry; weights are ragged, and zero on padding."""
  rng = np.random.default_rng(seed)
  made = [packed(lengths, length) for lengths in rows]
  segments = np.stack([s for s, _ in made])
  positions = np.stack([p for _, p in made])
  shape = segments.shape
  return {
    'tokens': rng.integers(0, 64, shape, dtype=np.int32),
    'targets': rng.integers(0, 64, shape, dtype=np.int32),
    'weights': (rng.choice([0.0, 0.5, 1.0, 2.0], shape) * (segments > 0)).astype(np.float32),
    'segment_ids': segments,
    'positions': positions,
  }


def reference_sums(c, params, batch):
  """Weighted nats of a batch, in plain operations that jax differentiates itself."""
  positions, segments, K = batch['positions'], batch['segment_ids'], c.head_dim
  not_later = np.arange(T)[:, None] >= np.arange(T)
  allowed = (segments[:, :, None] == segments[:, None, :]) & not_later

  def norm(x, scale):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + c.norm_eps) * scale

  def rotate(x):
    """x: (B, T, heads, K). Component k turns with component k + K/2."""
    frequencies = c.rope_theta ** (-jnp.arange(K // 2) / (K // 2))
    angle = (positions[..., None] * frequencies)[:, :, None]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., : K // 2], x[..., K // 2 :]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

  x = params['embed'][batch['tokens']]
  for n in range(c.n_layers):
    p = {k: v[n] for k, v in params.items() if k not in ('embed', 'unembed', 'final_norm')}
    h = norm(x, p['attention_norm'])
    q = (h @ p['wq']).reshape(B, T, -1, K)
    k = (h @ p['wk']).reshape(B, T, -1, K)
    v = (h @ p['wv']).reshape(B, T, -1, K)
    if c.qk_norm:
      q, k = norm(q, p['q_norm']), norm(k, p['k_norm'])
    q, k = rotate(q), rotate(k)
    # Neighbouring query heads share a key head.
    k = jnp.repeat(k, c.n_heads // c.n_kv_heads, axis=2)
    v = jnp.repeat(v, c.n_heads // c.n_kv_heads, axis=2)
    logits = jnp.where(allowed[:, None], jnp.einsum('bthk,bshk->bhts', q, k) / K**0.5, -jnp.inf)
    x = x + jnp.einsum('bhts,bshk->bthk', jax.nn.softmax(logits), v).reshape(B, T, -1) @ p['wo']
    h = norm(x, p['mlp_norm'])
    gate = h @ p['w_gate']
    x = x + (gate / (1 + jnp.exp(-gate)) * (h @ p['w_up'])) @ p['w_down']
  table = params['embed' if c.tie_embeddings else 'unembed']
  logprobs = jax.nn.log_softmax(norm(x, params['final_norm']) @ table.T)
  of_targets = jnp.take_along_axis(logprobs, batch['targets'][..., None], -1)[..., 0]
  return -(batch['weights'] * of_targets).sum()


@functools.partial(jax.jit, static_argnums=0)
def _loss_and_gradients(c, params, batch):
  return jax.value_and_grad(lambda p: next_token(c, None, 0, p, batch)[0])(params)


def loss_and_gradients(c, params, batch):
  return jax.device_get(_loss_and_gradients(c, params, batch))


def assert_close(found, wanted, tolerance=1e-5):
  """Each array within `tolerance` of the largest number in it."""
  of_found = jax.tree_util.tree_leaves_with_path(found)
  for (path, a), b in zip(of_found, jax.tree.leaves(wanted), strict=True):
    atol = tolerance * np.abs(b).max()
    np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize('family', FAMILIES)
def test_equals_the_reference(family):
  """Loss and all gradients: a wrong head grouping, rotation, norm, mask or hand-written backward
  pass shows here."""
  c, batch = FAMILIES[family], make_batch()
  params = make_params(c)
  wanted = jax.jit(jax.value_and_grad(functools.partial(reference_sums, c)))(params, batch)
  assert_close(loss_and_gradients(c, params, batch), jax.device_get(wanted), 2e-5)


def test_positions_matter():
  """Without rotation the model could not tell 'a b' from 'b a' at a distance. Moving one segment as
  a whole changes nothing (RoPE is relative)."""
  params, batch = make_params(TINY), make_batch(rows=((16,),))

  @jax.jit
  def run(params, positions):
    tokens = jnp.asarray(batch['tokens'])
    return models.forward(TINY, params, tokens, positions, batch['segment_ids'])

  here = run(params, batch['positions'])
  moved = run(params, batch['positions'] + 7)
  halved = run(params, batch['positions'] // 2)
  np.testing.assert_allclose(here, moved, atol=1e-4)
  assert np.abs(here - halved).max() > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
  'change',
  [
    dict(scan_layers=True),
    dict(remat='block'),
    dict(remat='attention'),
    dict(remat='dots'),
    dict(scan_layers=True, remat='block'),
  ],
  ids=str,
)
def test_layout_and_memory_settings_change_no_number(change):
  """Scanned or unrolled, rematerialised or not: one function, one set of parameters."""
  params, batch = make_params(TINY), make_batch()
  changed = dataclasses.replace(TINY, **change)
  assert jax.tree.map(jnp.shape, shapes_of(changed)) == jax.tree.map(jnp.shape, params)
  found = loss_and_gradients(changed, params, batch)
  wanted = loss_and_gradients(TINY, params, batch)
  assert_close(found, wanted, 3e-6)


def test_packed_row_equals_separate_rows():
  """Three texts in one row give the loss and the gradients of three rows of their own."""
  whole = make_batch(rows=((5, 7, 4),), seed=3)
  apart = make_batch(rows=((5,), (7,), (4,)))
  for key in ('tokens', 'targets', 'weights'):
    apart[key] = np.zeros_like(apart[key])
    for b, (start, n) in enumerate(((0, 5), (5, 7), (12, 4))):
      apart[key][b, :n] = whole[key][0, start : start + n]
  params = make_params(TINY)
  assert_close(loss_and_gradients(TINY, params, whole), loss_and_gradients(TINY, params, apart))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_no_token_reaches_another_segment_or_the_past(dtype):
  """Changing a token changes itself and what follows in its own segment, and not one bit elsewhere
  (padding included)."""
  c, batch = dataclasses.replace(TINY, dtype=dtype), make_batch(rows=((5, 7, 2),))
  segments = batch['segment_ids'][0]
  params = make_params(c)
  forward = jax.jit(functools.partial(models.forward, c))

  def run(tokens):
    hidden = forward(params, tokens, batch['positions'], batch['segment_ids'])
    return np.asarray(hidden[0], np.float32)

  before = run(batch['tokens'])
  for t in range(T):
    tokens = batch['tokens'].copy()
    tokens[0, t] = (tokens[0, t] + 1) % 64
    changed = (run(tokens) != before).any(-1)
    wanted = (segments == segments[t]) & (np.arange(T) >= t)
    np.testing.assert_array_equal(changed, wanted, err_msg=f'token {t}')


def test_bfloat16_is_close_to_float32():
  """Loss within 1 %, each gradient within 10 % of its norm (plain autodiff in bfloat16 is 7 % off
  here). Gradients stay float32."""
  params, batch = make_params(TINY), make_batch()
  loss, grads = loss_and_gradients(TINY, params, batch)
  low, low_grads = loss_and_gradients(dataclasses.replace(TINY, dtype='bfloat16'), params, batch)
  assert low != loss, 'bfloat16 was not used'
  assert low == pytest.approx(loss, rel=0.01)
  for name in grads:
    assert low_grads[name].dtype == np.float32
    assert np.linalg.norm(low_grads[name] - grads[name]) < 0.1 * np.linalg.norm(grads[name]), name


def test_gradients_of_biases_are_summed_in_float32():
  """A bfloat16 sum of ones ends at 256: one more is less than half of its last digit. With the
  options of the train step, XLA:CPU sums in the dtype that it is given."""
  c = dataclasses.replace(TINY, dtype='bfloat16', qkv_bias=True)
  zeros_DF = jnp.zeros((c.d_model, 16), c.dtype)
  ones_BTD = jnp.ones((2, 1024, c.d_model), c.dtype)

  def total(bias_F, dy_BTF):
    p = {'wv': zeros_DF, 'wv_bias': bias_F.astype(c.dtype)}
    return jnp.sum(models.project(c, p, 'wv', ones_BTD, None).astype(jnp.float32) * dy_BTF)

  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  gradient = jax.jit(jax.grad(total), compiler_options=sharding.compiler_options(mesh, c.dtype))
  found_F = gradient(jnp.zeros(16), jnp.ones((2, 1024, 16)))
  np.testing.assert_array_equal(found_F, np.full(16, 2048.0))


# The first is counted by hand: a layer has 64 in norms + 32x32 q + 2 x 32x16 k, v + 32x32 o + 3 x
# 32x48 mlp = 7,744. There are two of them, a table of 64x32 and a last norm of 32. The others are
# the sizes that their makers publish (Hugging Face's safetensors totals).
PUBLISHED = {
  'tiny': (TINY, 17_568),
  'tiny, untied': (dataclasses.replace(TINY, tie_embeddings=False), 17_568 + 64 * 32),
  'SmolLM2-135M': (ModelConfig(576, 30, 9, 3, 64, 1536, 49_152), 134_515_008),
  'Llama-3.1-8B': (
    ModelConfig(4096, 32, 32, 8, 128, 14_336, 128_256, tie_embeddings=False),
    8_030_261_248,
  ),
  'Qwen3-8B': (
    ModelConfig(4096, 36, 32, 8, 128, 12_288, 151_936, tie_embeddings=False, qk_norm=True),
    8_190_735_360,
  ),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', PUBLISHED)
def test_parameter_count(name):
  """A missing or extra weight, or one of the wrong shape, changes these."""
  c, count = PUBLISHED[name]
  assert models.count_params(shapes_of(c)) == count


def test_initial_loss_is_that_of_guessing():
  """log V, and a little more for logits of variance 1. A wrong scale would start training from
  confident wrong guesses."""
  c = dataclasses.replace(TINY, vocab_size=512)
  batch = make_batch()
  fresh = jax.jit(functools.partial(models.init_params, c))(jax.random.key(0))
  loss, grads = loss_and_gradients(c, fresh, batch)
  assert 0 < loss / batch['weights'].sum() - np.log(512) < 1.2
  assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grads)), (
    'a parameter that nothing reaches'
  )


def test_flops_per_token():
  """6 x 17,408 parameters in matrices (15,360 in blocks, 2,048 in the table), plus 6 x 2 layers x
  32 wide x 16 tokens for attention."""
  assert models.flops_per_token(TINY, 16) == 6 * 17_408 + 6 * 2 * 32 * 16
  assert models.training_flops_per_token(TINY, 16) == models.flops_per_token(TINY, 16)


def test_flops_with_adapters():
  """Frozen matrices count 4 instead of 6 times. A layer has adapters of rank 4 beside sides of 64
  (q, o), 48 (k, v) and 80 (the feed-forward), 1,856 numbers; below them, nothing runs backwards."""
  all_layers = dataclasses.replace(TINY, lora=LoraConfig(rank=4))
  found = models.training_flops_per_token(all_layers, 16)
  assert found == 4 * 17_408 + 6 * 2 * 1_856 + 6 * 2 * 32 * 16
  upper_layer = dataclasses.replace(TINY, lora=LoraConfig(rank=4, layers=(1,)))
  found = models.training_flops_per_token(upper_layer, 16)
  # The lower layer: 7,680 parameters and its attention, forwards alone.
  assert found == 4 * 9_728 + 6 * 1_856 + 6 * 32 * 16 + 2 * 7_680 + 2 * 32 * 16
