"""Translates a config.json of Hugging Face into a ModelConfig, and back.

Every key of a config.json is in one of three groups: it is translated, or it is known to change no
output of a forward pass (NEUTRAL), or it must have one value (FIXED). Any other key is refused by
name, because a setting that is silently dropped would give a model that runs and is wrong.

The readers below take keys out of a dict called `unread`. What is left in it at the end is what
nobody understood.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.interop.huggingface.families import (
  ACTIVATIONS,
  ARCHITECTURES,
  FAMILIES,
  TIED_BY_DEFAULT,
  family_of,
)

# Keys of a config.json that change no output of a forward pass, whatever they hold.
NEUTRAL = frozenset({
  # What the file says of itself and of the software that wrote it.
  '_attn_implementation_autoset',
  '_name_or_path',
  'architectures',
  'dtype',
  'model_type',
  'msm_jax_version',
  'torch_dtype',
  'transformers.js_config',
  'transformers_version',
  'unsloth_fixed',
  'unsloth_version',
  # Token ids: the tokenizer's own files say which ones count.
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  # Training, generation and classification.
  'attention_dropout',
  'cache_implementation',
  'chunk_size_feed_forward',
  'id2label',
  'initializer_cutoff_factor',
  'initializer_range',
  'is_encoder_decoder',
  'is_llama_config',
  'label2id',
  'output_attentions',
  'output_hidden_states',
  'problem_type',
  'return_dict',
  'use_cache',
  # These four are read directly where they matter.
  '_sliding_window_pattern',
  'max_position_embeddings',
  'max_window_layers',
  'sliding_window_pattern',
})  # fmt: skip

# Keys that must hold this value, or nothing. With another value the model computes something that
# no field of ModelConfig describes.
FIXED: dict[str, Any] = {
  'pretraining_tp': 1,
  'attention_bias': False,
  'mlp_bias': False,
  'use_bidirectional_attention': False,
  'quantization_config': None,
  'partial_rotary_factor': 1.0,
  'is_decoder': False,
  'add_cross_attention': False,
  'tie_encoder_decoder': False,
  'attn_logit_softcapping': None,
  'rope_interleaved': False,
}

# Key of a config.json -> field of ModelConfig, for those that every file must have.
SIZES = {
  'hidden_size': 'd_model',
  'intermediate_size': 'd_ff',
  'num_hidden_layers': 'n_layers',
  'num_attention_heads': 'n_heads',
  'vocab_size': 'vocab_size',
  'rms_norm_eps': 'norm_eps',
}

# Kind of rotary scaling -> the settings that it must have, in the order of RopeScaling's fields.
ROPE_SETTINGS: dict[str, tuple[str, ...]] = {
  'default': (),
  'linear': ('factor',),
  'llama3': ('factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'),
}

# The two kinds of layers in `layer_types`: those that see the whole text, and those that see a
# window of it.
FULL, SLIDING = 'full_attention', 'sliding_attention'

# What Gemma 3's own configuration class assumes where a config.json says nothing.
GEMMA3_HEAD_DIM = 256
GEMMA3_QUERY_SCALAR = 256
GEMMA3_FULL_EVERY = 6
GEMMA3_THETA = 1e6
# The rotary base of the other families, and of Gemma 3's layers with a window.
DEFAULT_THETA = 1e4


def read_json(path: Path, remedy: str) -> dict[str, Any]:
  """Reads a file that holds one JSON object.

  Args:
    path: the file.
    remedy: what the user should do if the file is missing; it ends the error's line.

  Returns:
    The object.

  Raises:
    WeightsError: the file is missing or holds no JSON object.
  """
  try:
    raw = json.loads(path.read_text())
  except OSError:
    raise WeightsError(f'{path.parent} has no {path.name}; {remedy}') from None
  except ValueError as e:
    raise WeightsError(f'{path} is not JSON ({e}); download it again') from None
  if not isinstance(raw, dict):
    raise WeightsError(f'{path} holds no JSON object; download it again')
  return raw


def read_config(folder: str | Path, **overrides: Any) -> ModelConfig:
  """Reads the model that a folder's config.json describes.

  Args:
    folder: a folder of Hugging Face.
    **overrides: fields of ModelConfig that config.json does not decide, such as dtype, remat and
      lora.

  Returns:
    The model.

  Raises:
    WeightsError: the file is missing or says something that is not understood; the message names
      it.
  """
  path = Path(folder) / 'config.json'
  remedy = 'give a folder of Hugging Face, or the name of a model (python -m msm_jax.zoo list)'
  return config_from_json(read_json(path, remedy), str(path), **overrides)


def config_from_json(raw: Mapping[str, Any], where: str, **overrides: Any) -> ModelConfig:
  """Translates the content of a config.json.

  Args:
    raw: the content.
    where: the file's name, for error messages.
    **overrides: fields of ModelConfig that config.json does not decide.

  Returns:
    The model.

  Raises:
    WeightsError: something is missing or not understood; the message names it.
  """
  model_type = raw.get('model_type')
  if model_type not in FAMILIES:
    architectures = ', '.join(raw.get('architectures') or ())
    raise WeightsError(
      f'{where}: architecture {model_type!r} ({architectures}) is not known here; '
      f'known are {", ".join(FAMILIES)}'
    )
  unread = {key: value for key, value in raw.items() if key not in NEUTRAL}
  _check_fixed(unread, where)
  fields = dict(FAMILIES[model_type])
  fields |= _read_sizes(unread, model_type, where)
  fields['max_length'] = raw.get('max_position_embeddings') or 0
  _check_activation(unread, model_type, where)

  # New files describe rotary positions in rope_parameters, one entry for each kind of layer where
  # they differ. Older files have rope_theta, rope_scaling and, in Gemma 3, rope_local_base_freq.
  parameters = dict(unread.pop('rope_parameters', None) or {})
  full_rope = parameters.pop(FULL, None)
  local_rope = parameters.pop(SLIDING, {})
  default_theta = GEMMA3_THETA if model_type == 'gemma3_text' else DEFAULT_THETA
  theta = unread.pop('rope_theta', None) or default_theta
  scaling = unread.pop('rope_scaling', None) or {}
  local_theta = unread.pop('rope_local_base_freq', None) or DEFAULT_THETA
  settings = full_rope or parameters or scaling
  fields['rope_theta'], fields['rope_scaling'] = _read_rope(settings, theta, where)

  # Qwen has a switch for the window, which is off where it is not mentioned; Gemma 3 always uses
  # its window.
  window = unread.pop('sliding_window', None)
  layer_types = unread.pop('layer_types', None)
  uses_window = unread.pop('use_sliding_window', model_type == 'gemma3_text')
  if not layer_types:
    has_window = bool(uses_window and window)
    layer_types = _default_layer_types(raw, model_type, fields['n_layers'], has_window)
  if unknown_types := set(layer_types) - {FULL, SLIDING}:
    raise WeightsError(f'{where}: layers of type {min(unknown_types)!r} are not known here')
  if uses_window and SLIDING in layer_types:
    fields['local_layers'] = tuple(kind == SLIDING for kind in layer_types)
    fields['local_window'] = window
    # Gemma 3 gives its layers with a window a rotary base of their own; in Qwen all layers share
    # one.
    if model_type == 'gemma3_text':
      fields['local_theta'], local_scaling = _read_rope(local_rope, local_theta, where)
    else:
      fields['local_theta'], local_scaling = fields['rope_theta'], fields['rope_scaling']
    if local_scaling:
      raise WeightsError(
        f'{where}: stretched rotary positions in layers with a window are not known here'
      )

  if model_type == 'gemma3_text':
    scalar = float(unread.pop('query_pre_attn_scalar', GEMMA3_QUERY_SCALAR))
    fields['query_scale'] = scalar**-0.5
    fields['embed_scale'] = float(fields['d_model']) ** 0.5
    fields['logit_softcap'] = unread.pop('final_logit_softcapping', None) or 0.0

  _check_nothing_unread(unread, where)
  try:
    return ModelConfig(**fields | overrides)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def _check_fixed(unread: dict[str, Any], where: str) -> None:
  """Takes the keys of FIXED, and refuses values that would change the mathematics."""
  for key, value in FIXED.items():
    found = unread.pop(key, value)
    if found not in (value, None):
      raise WeightsError(
        f'{where}: {key}={found!r} changes the mathematics and is not known here; only {value!r} is'
      )


def _read_sizes(unread: dict[str, Any], model_type: str, where: str) -> dict[str, Any]:
  """Takes the sizes out of `unread`, with what each family assumes where the file says nothing."""
  fields: dict[str, Any] = {}
  for key, field in SIZES.items():
    if key not in unread:
      raise WeightsError(f'{where}: {key} is missing; download it again')
    fields[field] = unread.pop(key)
  fields['n_kv_heads'] = unread.pop('num_key_value_heads', None) or fields['n_heads']
  if model_type == 'gemma3_text':
    default_head_dim = GEMMA3_HEAD_DIM
  else:
    default_head_dim = fields['d_model'] // fields['n_heads']
  fields['head_dim'] = unread.pop('head_dim', None) or default_head_dim
  tied = unread.pop('tie_word_embeddings', model_type in TIED_BY_DEFAULT)
  fields['tie_embeddings'] = tied
  return fields


def _check_activation(unread: dict[str, Any], model_type: str, where: str) -> None:
  """Refuses an activation that is not the family's. Llama and Qwen call the key hidden_act, Gemma
  hidden_activation.
  """
  hidden_act = unread.pop('hidden_act', None)
  hidden_activation = unread.pop('hidden_activation', None)
  activation = hidden_act or hidden_activation
  expected = ACTIVATIONS[FAMILIES[model_type].get('activation', 'silu')]
  if activation and activation != expected:
    raise WeightsError(
      f'{where}: activation {activation!r} is not that of {model_type} ({expected}) '
      'and not known here'
    )


def _read_rope(
  settings: Mapping[str, Any], theta: float, where: str
) -> tuple[float, RopeScaling | None]:
  """Reads the rotary positions of one kind of layer.

  Args:
    settings: rope_parameters, or the older rope_scaling, of these layers; empty for plain
      positions.
    theta: the rotary base where `settings` names none.
    where: the file's name, for error messages.

  Returns:
    The rotary base, and how the frequencies are stretched (None: not at all).
  """
  unread = dict(settings)
  theta = float(unread.pop('rope_theta', theta))
  # Files of before 2024 call the key `type`, and some have both.
  older_kind = unread.pop('type', 'default')
  kind = unread.pop('rope_type', older_kind)
  if kind not in ROPE_SETTINGS:
    raise WeightsError(
      f'{where}: rotary positions of type {kind!r} are not known here; '
      f'known are {", ".join(ROPE_SETTINGS)}'
    )
  if unread.pop('partial_rotary_factor', 1.0) != 1.0:
    raise WeightsError(
      f'{where}: partial_rotary_factor is not known here; this model cannot be imported'
    )
  needed = ROPE_SETTINGS[kind]
  for key, value in unread.items():
    if key not in needed and value is not None:
      raise WeightsError(
        f'{where}: {key}={value!r} of the rotary positions is not known here; '
        'this model cannot be imported'
      )
  if kind == 'default':
    return theta, None
  for key in needed:
    if key not in unread:
      raise WeightsError(f'{where}: rotary positions of type {kind} lack {key}; mend config.json')
  factor = float(unread['factor'])
  if kind == 'linear':
    return theta, RopeScaling('linear', factor)
  low, high = float(unread['low_freq_factor']), float(unread['high_freq_factor'])
  original_length = int(unread['original_max_position_embeddings'])
  return theta, RopeScaling('llama3', factor, low, high, original_length)


def _default_layer_types(
  raw: Mapping[str, Any], model_type: str, n_layers: int, has_window: bool
) -> list[str]:
  """Which layers have a window where the file does not list layer_types; empty if it says nothing
  of a window.
  """
  if model_type == 'gemma3_text':
    # Every sixth layer sees the whole text (Gemma 3 technical report, section 2).
    older = raw.get('_sliding_window_pattern')
    every = raw.get('sliding_window_pattern') or older or GEMMA3_FULL_EVERY
    is_full = [(layer + 1) % every == 0 for layer in range(n_layers)]
  elif has_window:
    # In Qwen the first max_window_layers layers see the whole text, despite the name.
    n_full = raw.get('max_window_layers', 0)
    is_full = [layer < n_full for layer in range(n_layers)]
  else:
    return []
  return [FULL if full else SLIDING for full in is_full]


def _check_nothing_unread(unread: Mapping[str, Any], where: str) -> None:
  """Refuses what no reader took, unless it is null."""
  unknown = sorted(key for key, value in unread.items() if value is not None)
  if unknown:
    key = unknown[0]
    raise WeightsError(
      f'{where}: {key}={unread[key]!r} is not known here, and might change the mathematics; '
      'this model cannot be imported'
    )


def config_to_json(c: ModelConfig, dtype: str, tokens: Mapping[str, Any]) -> dict[str, Any]:
  """Makes the content of a config.json from which `transformers` builds the same model.

  Args:
    c: the model.
    dtype: the type in which the weights are stored, as `torch_dtype` names it.
    tokens: bos_token_id, eos_token_id and pad_token_id, those that there are.

  Returns:
    The content.

  Raises:
    WeightsError: no family of Hugging Face has such a model.
  """
  model_type = family_of(c)
  if model_type == 'llama' and c.local_layers:
    raise WeightsError('no Llama has layers with a window; such a model stays an Orbax checkpoint')
  out: dict[str, Any] = {
    'architectures': [ARCHITECTURES[model_type]],
    'model_type': model_type,
    'torch_dtype': dtype,
  }
  out |= tokens
  for key, field in SIZES.items():
    out[key] = getattr(c, field)
  out |= {
    'num_key_value_heads': c.n_kv_heads,
    'head_dim': c.head_dim,
    'tie_word_embeddings': c.tie_embeddings,
    'attention_bias': False,
    'max_position_embeddings': c.max_length or 2048,
    'rope_theta': c.rope_theta,
    'attention_dropout': 0.0,
    'use_cache': True,
  }
  if c.rope_scaling:
    out['rope_scaling'] = _rope_to_json(c.rope_scaling)
  if c.local_layers:
    out['layer_types'] = [SLIDING if is_local else FULL for is_local in c.local_layers]
    out['sliding_window'] = c.local_window
  activation = ACTIVATIONS[c.activation]
  if model_type == 'gemma3_text':
    out['hidden_activation'] = activation
    out['query_pre_attn_scalar'] = round(c.query_scale**-2)
    out['rope_local_base_freq'] = c.local_theta
    out['final_logit_softcapping'] = c.logit_softcap or None
  elif model_type == 'llama':
    out['hidden_act'] = activation
    out['mlp_bias'] = False
  else:
    out['hidden_act'] = activation
    out['use_sliding_window'] = any(c.local_layers)
  return out


def _rope_to_json(scaling: RopeScaling) -> dict[str, Any]:
  """The rope_scaling of a config.json."""
  out: dict[str, Any] = {'rope_type': scaling.kind, 'factor': scaling.factor}
  if scaling.kind == 'llama3':
    out['low_freq_factor'] = scaling.low
    out['high_freq_factor'] = scaling.high
    out['original_max_position_embeddings'] = scaling.original_length
  return out
