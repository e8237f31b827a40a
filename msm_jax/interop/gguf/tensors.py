"""Reads the tensors of a GGUF file as float32, under the names and in the layout of Hugging Face.

Two things differ from Hugging Face beside the names, and are undone here: llama.cpp's converter
permutes the rows of queries and keys of Llama, and it adds 1 to the norms of Gemma.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msm_jax.config import ModelConfig
from msm_jax.interop.gguf.reader import stored_shape
from msm_jax.interop.huggingface.tensors import tensor_names

# Our parameter -> its name in a GGUF file, without the ending .weight or .bias.
STEMS = {
  'embed': 'token_embd',
  'unembed': 'output',
  'final_norm': 'output_norm',
  'attention_norm': 'blk.{}.attn_norm',
  'mlp_norm': 'blk.{}.ffn_norm',
  'wq': 'blk.{}.attn_q',
  'wk': 'blk.{}.attn_k',
  'wv': 'blk.{}.attn_v',
  'wo': 'blk.{}.attn_output',
  'w_gate': 'blk.{}.ffn_gate',
  'w_up': 'blk.{}.ffn_up',
  'w_down': 'blk.{}.ffn_down',
  'q_norm': 'blk.{}.attn_q_norm',
  'k_norm': 'blk.{}.attn_k_norm',
  'post_attention_norm': 'blk.{}.post_attention_norm',
  'post_mlp_norm': 'blk.{}.post_ffw_norm',
}

# The factors of stretched rotary positions; they belong to the config and are no weights.
ROPE_FACTORS = 'rope_freqs.weight'


class GGUFTensors:
  """The tensors of a file. Those that have no place in the model keep their own names, so that
  errors name them.

  Attributes:
    source: the file.
    names: the names of all tensors, in the order of the file.
  """

  def __init__(self, path: Path, stored: Mapping[str, Any], c: ModelConfig, arch: str):
    """Names the tensors.

    Args:
      path: the file.
      stored: its tensors, name in the file -> gguf.ReaderTensor.
      c: the model that the file describes.
      arch: its architecture, as the file names it.
    """
    self.source = path
    self.c = c
    # Name of Hugging Face -> number of heads, for the tensors whose rows are permuted.
    self._permuted_heads: dict[str, int] = {}
    new_names = {}
    for ours, theirs in tensor_names(c).items():
      stem = STEMS[ours.removesuffix('_bias')]
      ending = '.bias' if ours.endswith('_bias') else '.weight'
      for layer in theirs.layers(c):
        new_name = theirs.name.format(layer)
        new_names[stem.format(layer) + ending] = new_name
        if arch == 'llama' and ours == 'wq':
          self._permuted_heads[new_name] = c.n_heads
        if arch == 'llama' and ours == 'wk':
          self._permuted_heads[new_name] = c.n_kv_heads
    self._tensors: dict[str, Any] = {}
    for name, tensor in stored.items():
      if name != ROPE_FACTORS:
        self._tensors[new_names.get(name, name)] = tensor
    self.names: Collection[str] = self._tensors.keys()

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of one tensor as Hugging Face stores it."""
    return stored_shape(self._tensors[name])

  def read(self, name: str) -> np.ndarray:
    """Reads one tensor.

    Args:
      name: its name in Hugging Face.

    Returns:
      The whole tensor in float32; a matrix is (out, in).
    """
    # gguf belongs to the optional extra `hf`.
    import gguf

    tensor = self._tensors[name]
    w = np.ascontiguousarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
    if name in self._permuted_heads:
      # The two numbers that are rotated together lie side by side in the file, and half a head
      # apart in Hugging Face.
      n_heads = self._permuted_heads[name]
      w_HkPD = w.reshape(n_heads, self.c.head_dim // 2, 2, -1)
      w = w_HkPD.swapaxes(1, 2).reshape(w.shape)
    elif name.endswith('norm.weight') and self.c.norm_offset:
      # The file has Gemma's scales as they are multiplied with; Hugging Face stores them less 1.
      w = w - np.float32(self.c.norm_offset)
    return w
