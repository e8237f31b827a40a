"""GGUF files (the format of llama.cpp), in: each becomes a folder of Hugging Face with float32
weights.

  header.py     checks the lengths in a file's header
  reader.py     opens a file: its metadata and its tensors
  config.py     metadata -> ModelConfig
  tensors.py    tensors -> float32, under the names and in the layout of Hugging Face
  tokenizer.py  metadata -> tokenizer.json
  converter.py  all of it, into a new folder

What the metadata says is translated, or known to change no output, or refused by name. Sources: the
description of the format (docs/gguf.md of ggml), llama.cpp's converter (which architectures permute
queries and keys, and which add 1 to norms), and the defaults of llama.cpp's loader.
"""

from msm_jax.interop.gguf.config import ARCHITECTURES, read_config
from msm_jax.interop.gguf.converter import TYPES, convert
from msm_jax.interop.gguf.tokenizer import SPLITS, merges_by_rank

__all__ = ['ARCHITECTURES', 'SPLITS', 'TYPES', 'convert', 'merges_by_rank', 'read_config']
