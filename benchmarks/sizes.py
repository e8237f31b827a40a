"""The shapes of published models that benchmarks compile and time, and what a token costs them."""

from msm_jax.config import ModelConfig

MODELS = {
  'smollm2-135m': ModelConfig(
    d_model=576,
    n_layers=30,
    n_heads=9,
    n_kv_heads=3,
    head_dim=64,
    d_ff=1536,
    vocab_size=49_152,
    rope_theta=1e5,
  ),
  'llama-3.2-1b': ModelConfig(
    d_model=2048,
    n_layers=16,
    n_heads=32,
    n_kv_heads=8,
    head_dim=64,
    d_ff=8192,
    vocab_size=128_256,
    rope_theta=5e5,
  ),
  'llama-3.1-8b': ModelConfig(
    d_model=4096,
    n_layers=32,
    n_heads=32,
    n_kv_heads=8,
    head_dim=128,
    d_ff=14_336,
    vocab_size=128_256,
    rope_theta=5e5,
    tie_embeddings=False,
  ),
  'qwen3-32b': ModelConfig(
    d_model=5120,
    n_layers=64,
    n_heads=64,
    n_kv_heads=8,
    head_dim=128,
    d_ff=25_600,
    vocab_size=151_936,
    rope_theta=1e6,
    tie_embeddings=False,
    qk_norm=True,
  ),
  'qwen2.5-32b': ModelConfig(
    d_model=5120,
    n_layers=64,
    n_heads=40,
    n_kv_heads=8,
    head_dim=128,
    d_ff=27_648,
    vocab_size=152_064,
    rope_theta=1e6,
    tie_embeddings=False,
    qkv_bias=True,
  ),
}


def training_flops(c: ModelConfig, length: int) -> float:
  """Counts the FLOPs of training per token that a model needs, for the MFU.

  Args:
    c: the model's settings.
    length: the tokens of a row.

  Returns:
    What `flops_per_token` counts. With adapters, frozen matrices get no gradient of their own, so
    they count 4 instead of 6 times, and adapters count 6 times. What is computed again to save
    memory does not count.
  """
  # Here, because JAX must not be imported before a benchmark has set what it reads then.
  from msm_jax.model import flops_per_token

  flops = flops_per_token(c, length)
  if c.lora is None:
    return flops
  D, F = c.d_model, c.d_ff
  Q, KV = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  sides = {
    'wq': (D, Q),
    'wk': (D, KV),
    'wv': (D, KV),
    'wo': (Q, D),
    'w_gate': (D, F),
    'w_up': (D, F),
    'w_down': (F, D),
  }
  in_block = sum(fan_in * fan_out for fan_in, fan_out in sides.values())
  layers = c.lora.layers or tuple(range(c.n_layers))
  adapters = 0
  for target in c.lora.targets:
    adapters += len(layers) * c.lora.rank * sum(sides[target])
  flops += 6.0 * adapters - 2.0 * (c.n_layers * in_block + c.vocab_size * D)
  # The backward pass ends at the lowest layer with adapters.
  return flops - min(layers) * (2.0 * in_block + 4.0 * Q * length)


def scoring_flops(c: ModelConfig, length: int) -> float:
  """Counts the FLOPs of scoring per token: two for each parameter of a matrix, and attention.

  Args:
    c: the model's settings.
    length: the tokens of a row.

  Returns:
    A third of the FLOPs of training all parameters. Adapters are left out.
  """
  from msm_jax.model import flops_per_token

  return flops_per_token(c, length) / 3
