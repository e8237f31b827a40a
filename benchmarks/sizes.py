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
    What `training_flops_per_token` counts. What is computed again to save memory does not count.
  """
  # Here, because JAX must not be imported before a benchmark has set what it reads then.
  from msm_jax.model import training_flops_per_token

  return training_flops_per_token(c, length)


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
