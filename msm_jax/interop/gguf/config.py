"""Translates the metadata of a GGUF file into a ModelConfig.

The settings of a model stand under its architecture's name, such as `llama.block_count`. They are
taken out of a dict one by one, and what is left at the end is refused by name: a setting that is
silently dropped would give a model that runs and is wrong.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.interop.huggingface.families import FAMILIES
from msm_jax.layers import rope_frequencies

# general.architecture -> model_type of Hugging Face.
ARCHITECTURES = {'llama': 'llama', 'qwen2': 'qwen2', 'qwen3': 'qwen3', 'gemma3': 'gemma3_text'}

# Keys that must hold this value, or be absent. With another value the model computes something that
# no field of ModelConfig describes.
FIXED: dict[str, Any] = {
  'expert_count': 0,
  'expert_used_count': 0,
  'attention.causal': True,
  'attn_logit_softcapping': 0.0,
  'pooling_type': 0,
  'rope.scaling.attn_factor': 1.0,
}

# Keys that change no output. The size of the vocabulary is that of the embedding.
NEUTRAL = ('vocab_size', 'rope.scaling.finetuned', 'rope.scaling.original_context_length')

# Key -> field of ModelConfig, for those that every file must have.
SIZES = {
  'block_count': 'n_layers',
  'embedding_length': 'd_model',
  'feed_forward_length': 'd_ff',
  'context_length': 'max_length',
  'attention.head_count': 'n_heads',
}

# More than any model has. A header may claim any number, and a loop over it must end.
MAX_LAYERS = 10_000

# Gemma 3 of 27B scales its attention by d_model / n_heads, the smaller ones by head_dim. No file
# says so; llama.cpp recognises the model by its number of layers.
GEMMA3_27B_LAYERS = 62


class _Settings:
  """The settings under the architecture's name; each is taken out as it is read."""

  def __init__(self, metadata: Mapping[str, Any], arch: str, where: str):
    self.arch = arch
    self.where = where
    self.unread: dict[str, Any] = {}
    for key, value in metadata.items():
      if key.startswith(f'{arch}.'):
        self.unread[key.removeprefix(f'{arch}.')] = value

  def error(self, text: str) -> WeightsError:
    """An error whose text begins with a key: 'FILE: llama.<text>'."""
    return WeightsError(f'{self.where}: {self.arch}.{text}')

  def __contains__(self, key: str) -> bool:
    return key in self.unread

  def take(self, key: str, default: Any) -> Any:
    return self.unread.pop(key, default)

  def take_size(self, key: str) -> int:
    """Takes a number that must be there, and be at least 1."""
    if key not in self.unread:
      raise self.error(f'{key} is missing; download it again')
    value = self.unread[key]
    if isinstance(value, list):
      raise self.error(
        f'{key} differs by layer, which is not known here; this model cannot be imported'
      )
    if type(value) is not int or value < 1:
      raise self.error(
        f'{key}={repr(value)[:60]} must be at least 1, a whole number; download it again'
      )
    return self.unread.pop(key)

  def take_real(self, key: str, default: float) -> float:
    """Takes a real number as it was meant: 1e-05, not the 9.99999974e-06 that it is in 32 bits."""
    value = self.unread.pop(key, default)
    is_number = type(value) in (int, float)
    if not is_number or not 0 <= value < math.inf:
      raise self.error(f'{key}={repr(value)[:60]} is no number that fits; download it again')
    return float(str(np.float32(value)))

  def check_fixed(self) -> None:
    """Takes the keys of FIXED and NEUTRAL, and refuses values that would change the mathematics."""
    for key, value in FIXED.items():
      found = self.unread.pop(key, value)
      if found != value:
        raise self.error(
          f'{key}={found!r} changes the mathematics and is not known here; only {value!r} is'
        )
    for key in NEUTRAL:
      self.unread.pop(key, None)

  def check_nothing_unread(self) -> None:
    if self.unread:
      key = min(self.unread)
      value = str(self.unread[key])[:60]
      raise self.error(
        f'{key}={value} is not known here, and might change the mathematics; '
        'this model cannot be imported'
      )


def _architecture(metadata: Mapping[str, Any], where: str) -> str:
  """The architecture of a file that holds one whole model."""
  arch = metadata.get('general.architecture')
  if not isinstance(arch, str) or arch not in ARCHITECTURES:
    raise WeightsError(
      f'{where}: architecture {arch!r} is not known here; known are {", ".join(ARCHITECTURES)}'
    )
  kind = metadata.get('general.type', 'model')
  if kind != 'model':
    raise WeightsError(
      f'{where} holds no model but {kind!r} (general.type); give the file of the model itself'
    )
  parts = metadata.get('split.count', 0)
  if type(parts) is not int:
    raise WeightsError(
      f'{where}: split.count={repr(parts)[:60]} is no whole number; download it again'
    )
  if parts > 1:
    raise WeightsError(
      f'{where} is one of {parts} parts of a model; join them first (llama-gguf-split --merge)'
    )
  return arch


def read_config(
  metadata: Mapping[str, Any],
  rope_factors: np.ndarray | None,
  shapes: Mapping[str, tuple[int, ...]],
  where: str,
) -> ModelConfig:
  """Reads the model that a file's metadata and tensors describe.

  Args:
    metadata: key -> value.
    rope_factors: (head_dim / 2,) what the file's rotary frequencies are divided by; None if it has
      no such tensor.
    shapes: the shape of each tensor, by its name in the file.
    where: the file's name, for error messages.

  Returns:
    The model.

  Raises:
    WeightsError: something is missing or not understood; the message names it.
  """
  arch = _architecture(metadata, where)
  settings = _Settings(metadata, arch, where)
  settings.check_fixed()
  fields = dict(FAMILIES[ARCHITECTURES[arch]])
  fields |= _read_sizes(settings)
  if 'attention.layer_norm_rms_epsilon' not in settings:
    raise settings.error('attention.layer_norm_rms_epsilon is missing; download it again')
  fields['norm_eps'] = settings.take_real('attention.layer_norm_rms_epsilon', 0.0)
  fields['tie_embeddings'] = 'output.weight' not in shapes
  if 'token_embd.weight' not in shapes:
    raise WeightsError(f'{where}: tensor token_embd.weight is missing; download it again')
  fields['vocab_size'] = shapes['token_embd.weight'][0]
  fields |= _read_rope(settings, fields['head_dim'], rope_factors)
  if arch == 'gemma3':
    fields |= _read_gemma3(settings, fields)
  settings.check_nothing_unread()
  try:
    return ModelConfig(**fields)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def _read_sizes(settings: _Settings) -> dict[str, Any]:
  """The sizes of the model. All heads must have one size, and be rotated whole."""
  fields: dict[str, Any] = {}
  for key, field in SIZES.items():
    fields[field] = settings.take_size(key)
  if fields['n_layers'] > MAX_LAYERS:
    raise settings.error(
      f'block_count={fields["n_layers"]} is more than any model has; download it again'
    )
  fields['n_kv_heads'] = fields['n_heads']
  if 'attention.head_count_kv' in settings:
    fields['n_kv_heads'] = settings.take_size('attention.head_count_kv')
  head_dim = fields['d_model'] // fields['n_heads']
  if 'attention.key_length' in settings:
    head_dim = settings.take_size('attention.key_length')
  for key in ('attention.value_length', 'rope.dimension_count'):
    found = settings.take(key, head_dim)
    if found != head_dim:
      raise settings.error(
        f'{key}={repr(found)[:60]} and heads of {head_dim} are not known here together; '
        'this model cannot be imported'
      )
  fields['head_dim'] = head_dim
  return fields


def _read_rope(
  settings: _Settings, head_dim: int, rope_factors: np.ndarray | None
) -> dict[str, Any]:
  """The rotary positions: their base, and how they are stretched."""
  theta = settings.take_real('rope.freq_base', 10_000.0)
  fields: dict[str, Any] = {'rope_theta': theta}
  kind = settings.take('rope.scaling.type', 'linear')
  factor = settings.take_real('rope.scaling.factor', 0.0)
  # Older files name the factor rope.scale_linear.
  older_factor = settings.take_real('rope.scale_linear', 0.0)
  factor = factor or older_factor or 1.0
  if kind not in ('none', 'linear'):
    raise settings.error(f'rope.scaling.type={kind!r} is not known here; known are none and linear')
  if kind == 'linear' and factor != 1.0:
    fields['rope_scaling'] = RopeScaling('linear', factor)
  if rope_factors is not None and (rope_factors != 1).any():
    scaling = _llama3_scaling(rope_factors, head_dim, theta)
    if scaling is None or 'rope_scaling' in fields:
      raise WeightsError(
        f'{settings.where}: tensor rope_freqs.weight stretches rotary positions otherwise than '
        'Llama 3; this model cannot be imported'
      )
    fields['rope_scaling'] = scaling
  return fields


def _llama3_scaling(factors: np.ndarray, head_dim: int, theta: float) -> RopeScaling | None:
  """Finds Llama 3's settings from their effect, which is all that a file keeps.

  The lowest frequency is divided by the factor itself. The other settings have the same values in
  every Llama 3.

  Args:
    factors: (head_dim / 2,) what the frequencies are divided by.
    head_dim: the size of a head.
    theta: the rotary base.

  Returns:
    The settings; None if no settings of Llama 3 have this effect.
  """
  plain = rope_frequencies(head_dim, theta)
  if factors.shape != plain.shape or not (factors > 0).all() or not np.isfinite(factors).all():
    return None
  scaling = RopeScaling('llama3', float(factors.max()))
  stretched = rope_frequencies(head_dim, theta, scaling)
  if not np.allclose(plain / factors, stretched, rtol=1e-5, atol=0):
    return None
  return scaling


def _read_gemma3(settings: _Settings, fields: Mapping[str, Any]) -> dict[str, Any]:
  """What only Gemma 3 has: layers with a window, scaled embeddings, capped logits."""
  n_layers, d_model = fields['n_layers'], fields['d_model']
  window = settings.take('attention.sliding_window', 0)
  if type(window) is not int or window < 0:
    raise settings.error(
      f'attention.sliding_window={repr(window)[:60]} is no whole number; download it again'
    )
  # Either a list with an entry per layer, or n: every n-th layer sees the whole text.
  pattern = settings.take('attention.sliding_window_pattern', 6)
  is_list = isinstance(pattern, list) and len(pattern) == n_layers
  if not is_list and (type(pattern) is not int or pattern < 1):
    raise settings.error(
      f'attention.sliding_window_pattern={repr(pattern)[:60]} is neither a number of at least 1 '
      f'nor a list of {n_layers} entries; download it again'
    )
  if isinstance(pattern, list):
    local_layers = tuple(bool(is_local) for is_local in pattern)
  else:
    local_layers = tuple(layer % pattern < pattern - 1 for layer in range(n_layers))
  if not window:
    local_layers = ()
  query_scalar = fields['head_dim']
  if n_layers == GEMMA3_27B_LAYERS:
    query_scalar = d_model / fields['n_heads']
  return {
    'local_layers': local_layers,
    'local_window': window,
    'local_theta': settings.take_real('rope.freq_base_swa', 10_000.0),
    'query_scale': query_scalar**-0.5,
    'embed_scale': float(d_model) ** 0.5,
    'logit_softcap': settings.take_real('final_logit_softcapping', 0.0),
  }
