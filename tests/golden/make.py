"""Golden logits of small random models of every family, as `transformers` computes them.

tests/test_huggingface.py compares with them.

  python tests/golden/make.py     # writes tests/golden/logits.npz; needs torch and transformers

The weights are not kept. `write_folder` makes them again, the same anywhere, from the names and
shapes of the tensors.
"""

import json
import zlib
from pathlib import Path

import numpy as np

VOCAB, LENGTH = 97, 24
COMMON = {
  'vocab_size': VOCAB,
  'hidden_size': 32,
  'intermediate_size': 48,
  'num_hidden_layers': 4,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'max_position_embeddings': 64,
  'torch_dtype': 'float32',
  'rms_norm_eps': 1e-6,
}
LLAMA3 = {
  'rope_type': 'llama3',
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'original_max_position_embeddings': 16,
}
GEMMA3 = {
  'model_type': 'gemma3_text',
  'head_dim': 16,
  'sliding_window': 6,
  'query_pre_attn_scalar': 24,
  'hidden_activation': 'gelu_pytorch_tanh',
}
MIXED = ['sliding_attention', 'full_attention'] * 2
CASES: dict[str, dict] = {
  'llama2': {'model_type': 'llama', 'tie_word_embeddings': False, 'hidden_act': 'silu'},
  'llama3': {
    'model_type': 'llama',
    'tie_word_embeddings': True,
    'hidden_act': 'silu',
    'rope_theta': 5e5,
    'rope_scaling': LLAMA3,
  },
  'qwen2': {
    'model_type': 'qwen2',
    'tie_word_embeddings': False,
    'hidden_act': 'silu',
    'use_sliding_window': False,
  },
  'qwen3': {
    'model_type': 'qwen3',
    'tie_word_embeddings': True,
    'hidden_act': 'silu',
    'head_dim': 16,
  },
  'gemma3': GEMMA3
  | {
    'tie_word_embeddings': True,
    'layer_types': MIXED,
    'rope_theta': 1e6,
    'rope_local_base_freq': 1e4,
  },
  'gemma3_stretched': GEMMA3
  | {
    'tie_word_embeddings': True,
    'layer_types': MIXED,
    'rope_scaling': {'rope_type': 'linear', 'factor': 8.0},
    'final_logit_softcapping': 3.0,
  },
}
TOKENS = np.random.default_rng(0).integers(3, VOCAB, (2, LENGTH))


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
  """Every tensor that a model of this config stores, with its shape.

  They are written down from the families' definitions and not from our own tables.
  """
  kind, d, f = config['model_type'], config['hidden_size'], config['intermediate_size']
  heads, kv = config['num_attention_heads'], config['num_key_value_heads']
  k = config.get('head_dim', d // heads)
  out = {'model.embed_tokens.weight': (VOCAB, d), 'model.norm.weight': (d,)}
  if not config['tie_word_embeddings']:
    out['lm_head.weight'] = (VOCAB, d)
  for n in range(config['num_hidden_layers']):
    at = f'model.layers.{n}'
    for x, rows in (('q', heads * k), ('k', kv * k), ('v', kv * k)):
      out[f'{at}.self_attn.{x}_proj.weight'] = (rows, d)
      if kind == 'qwen2':
        out[f'{at}.self_attn.{x}_proj.bias'] = (rows,)
    out[f'{at}.self_attn.o_proj.weight'] = (d, heads * k)
    out[f'{at}.mlp.gate_proj.weight'] = (f, d)
    out[f'{at}.mlp.up_proj.weight'] = (f, d)
    out[f'{at}.mlp.down_proj.weight'] = (d, f)
    out[f'{at}.input_layernorm.weight'] = (d,)
    out[f'{at}.post_attention_layernorm.weight'] = (d,)
    if kind == 'gemma3_text':
      out[f'{at}.pre_feedforward_layernorm.weight'] = (d,)
      out[f'{at}.post_feedforward_layernorm.weight'] = (d,)
    if kind in ('qwen3', 'gemma3_text'):
      out[f'{at}.self_attn.q_norm.weight'] = (k,)
      out[f'{at}.self_attn.k_norm.weight'] = (k,)
  return out


def tensors(config: dict) -> dict[str, np.ndarray]:
  """Random weights, large enough that every field shows in the logits; norms and biases too."""
  made = {}
  for name, shape in shapes(config).items():
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    x = rng.standard_normal(shape, np.float32)
    if len(shape) == 2:
      x = x * 0.1
    else:
      # Norms are around 1, but Gemma stores them less 1.
      is_around_0 = 'bias' in name or config['model_type'] == 'gemma3_text'
      x = (0.0 if is_around_0 else 1.0) + 0.3 * x
    made[name] = x.astype(np.float32)
  return made


def write_folder(folder: Path, case: str, dtype: str = 'float32') -> dict:
  """A folder of Hugging Face with the case's config and weights; returns the config."""
  import ml_dtypes
  from safetensors.numpy import save_file

  config = COMMON | CASES[case] | {'torch_dtype': dtype}
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(config))
  dtypes = {'float32': np.float32, 'float16': np.float16, 'bfloat16': ml_dtypes.bfloat16}
  stored = {name: x.astype(dtypes[dtype]) for name, x in tensors(config).items()}
  save_file(stored, folder / 'model.safetensors', metadata={'format': 'pt'})
  return config


def main() -> None:
  """Writes the golden logits."""
  import tempfile

  import torch
  import transformers

  golden = {}
  for case in CASES:
    with tempfile.TemporaryDirectory() as folder:
      write_folder(Path(folder), case)
      model, told = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation='eager', output_loading_info=True
      )
      assert not any(told.values()), told
      with torch.no_grad():
        golden[case] = model.eval()(torch.tensor(TOKENS)).logits.float().numpy()
  np.savez_compressed(Path(__file__).with_name('logits.npz'), **golden)
  print({k: float(np.abs(v).max()) for k, v in golden.items()}, transformers.__version__)


if __name__ == '__main__':
  main()
