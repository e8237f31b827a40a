"""Translates a config.json of Hugging Face into a ModelConfig, and back.

Every key of a config.json is in one of three groups: it is translated, or it is known to change no
output of a forward pass (NEUTRAL), or it must have one value (FIXED). Any other key is refused by
name, because a setting that is silently dropped would give a model that runs and is wrong.

The readers below take keys out of a dict called `unread`. What is left in it at the end is what
nobody understood.
"""

import json
import math
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
  '_flash_attn_2_enabled',
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
  'decoder_start_token_id',
  'sep_token_id',
  'tokenizer_class',
  # How long the texts of the training were; max_position_embeddings is what counts.
  'max_sequence_length',
  # Settings of generation, which old versions of transformers wrote into this file.
  'bad_words_ids',
  'begin_suppress_tokens',
  'diversity_penalty',
  'do_sample',
  'early_stopping',
  'encoder_no_repeat_ngram_size',
  'exponential_decay_length_penalty',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'length_penalty',
  'max_length',
  'max_new_tokens',
  'min_length',
  'no_repeat_ngram_size',
  'num_beam_groups',
  'num_beams',
  'num_return_sequences',
  'output_scores',
  'prefix',
  'remove_invalid_values',
  'repetition_penalty',
  'return_dict_in_generate',
  'suppress_tokens',
  'temperature',
  'top_k',
  'top_p',
  'typical_p',
  # Training, generation and classification.
  'attention_dropout',
  'cache_implementation',
  'chunk_size_feed_forward',
  'finetuning_task',
  'gradient_checkpointing',
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
  'task_specific_params',
  'tf_legacy_loss',
  'torchscript',
  'use_bfloat16',
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
  'use_mrope': False,
  'pruned_heads': {},
  'cross_attention_hidden_size': None,
}

# Key of a config.json -> field of ModelConfig.
SIZES = {
  'hidden_size': 'd_model',
  'intermediate_size': 'd_ff',
  'num_hidden_layers': 'n_layers',
  'num_attention_heads': 'n_heads',
  'vocab_size': 'vocab_size',
  'rms_norm_eps': 'norm_eps',
}

# More than any model has. A file may claim any number, and a loop over it must end.
MAX_LAYERS = 10_000

# Kind of rotary scaling -> the settings that it must have, in the order of RopeScaling's fields.
ROPE_SETTINGS: dict[str, tuple[str, ...]] = {
  'default': (),
  'linear': ('factor',),
  'llama3': ('factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'),
}

# The two kinds of layers in `layer_types`: those that see the whole text, and those that see a
# window of it.
FULL, SLIDING = 'full_attention', 'sliding_attention'

# model_type -> what its configuration class in transformers assumes where a config.json does not
# have a key at all.
DEFAULTS: dict[str, dict[str, Any]] = {
  'llama': {'vocab_size': 32_000},
  'qwen2': {'vocab_size': 151_936, 'num_key_value_heads': 32, 'max_window_layers': 28},
  'qwen3': {
    'vocab_size': 151_936,
    'num_key_value_heads': 32,
    'head_dim': 128,
    'max_window_layers': 28,
  },
  'gemma3_text': {
    'vocab_size': 262_208,
    'num_key_value_heads': 4,
    'head_dim': 256,
    'query_pre_attn_scalar': 256,
  },
}
DEFAULT_NORM_EPS = 1e-6
DEFAULT_WINDOW = 4096
# Every sixth layer of Gemma 3 sees the whole text (Gemma 3 technical report, section 2).
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
    raw = json.loads(path.read_text(encoding='utf-8'))
  except OSError:
    raise WeightsError(f'{path.parent} has no {path.name}; {remedy}') from None
  # RecursionError comes from JSON that is nested too deeply.
  except (ValueError, RecursionError) as e:
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
  if not isinstance(model_type, str) or model_type not in FAMILIES:
    raise WeightsError(
      f'{where}: architecture {model_type!r} ({raw.get("architectures")}) is not known here; '
      f'known are {", ".join(FAMILIES)}'
    )
  unread = {key: value for key, value in raw.items() if key not in NEUTRAL}
  _check_fixed(unread, where)
  fields = dict(FAMILIES[model_type])
  fields |= _read_sizes(unread, model_type, where)
  fields['max_length'] = 0
  if raw.get('max_position_embeddings') is not None:
    fields['max_length'] = _integer(
      raw['max_position_embeddings'], 'max_position_embeddings', where
    )
  _check_activation(unread, model_type, where)

  # New files describe rotary positions in rope_parameters, one entry for each kind of layer where
  # they differ. Older files have rope_theta, rope_scaling and, in Gemma 3, rope_local_base_freq.
  parameters = _mapping(unread.pop('rope_parameters', None), 'rope_parameters', where)
  scaling = _mapping(unread.pop('rope_scaling', None), 'rope_scaling', where)
  full_rope = _mapping(parameters.pop(FULL, None), f'rope_parameters of {FULL}', where)
  local_rope = _mapping(parameters.pop(SLIDING, None), f'rope_parameters of {SLIDING}', where)
  theta = unread.pop('rope_theta', None)
  local_theta = unread.pop('rope_local_base_freq', None)
  # Where a file has both, rope_scaling counts, as in transformers: Gemma 3 adds it to the others,
  # and the other families forget the others.
  if model_type == 'gemma3_text':
    settings = (full_rope or parameters) | scaling
    theta = GEMMA3_THETA if theta is None else theta
  else:
    settings = scaling or full_rope or parameters
    theta = DEFAULT_THETA if theta is None else theta
  local_theta = DEFAULT_THETA if local_theta is None else local_theta
  fields['rope_theta'], fields['rope_scaling'] = _read_rope(settings, theta, where)

  # Qwen has a switch for the window, which is off where it is not mentioned; Gemma 3 always uses
  # its window.
  window = unread.pop('sliding_window', DEFAULT_WINDOW)
  layer_types = unread.pop('layer_types', None)
  uses_window = unread.pop('use_sliding_window', model_type == 'gemma3_text')
  if window is not None:
    # Without a window, some files have 0 here.
    window = _integer(window, 'sliding_window', where, least=0)
  if not layer_types:
    has_window = bool(uses_window and window)
    layer_types = _default_layer_types(raw, model_type, fields['n_layers'], has_window, where)
  is_list = isinstance(layer_types, list)
  if not is_list or not all(isinstance(kind, str) for kind in layer_types):
    raise WeightsError(f'{where}: layer_types={layer_types!r} is no list of names; mend it')
  if layer_types and len(layer_types) != fields['n_layers']:
    raise WeightsError(
      f'{where}: layer_types names {len(layer_types)} layers and num_hidden_layers is '
      f'{fields["n_layers"]}; mend it or download it again'
    )
  if unknown_types := set(layer_types) - {FULL, SLIDING}:
    raise WeightsError(f'{where}: layers of type {min(unknown_types)!r} are not known here')
  if uses_window and SLIDING in layer_types:
    if not window:
      raise WeightsError(
        f'{where}: layer_types has layers with a window, and sliding_window={window!r}; mend it'
      )
    if model_type == 'llama':
      # transformers gives no Llama a window, whatever its config.json says.
      raise WeightsError(
        f'{where}: no Llama has layers with a window; take layer_types and use_sliding_window out'
      )
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
    default_scalar = DEFAULTS[model_type]['query_pre_attn_scalar']
    scalar = unread.pop('query_pre_attn_scalar', default_scalar)
    fields['query_scale'] = _positive(scalar, 'query_pre_attn_scalar', where) ** -0.5
    fields['embed_scale'] = float(fields['d_model']) ** 0.5
    cap = unread.pop('final_logit_softcapping', None)
    fields['logit_softcap'] = 0.0
    if cap:
      fields['logit_softcap'] = _positive(cap, 'final_logit_softcapping', where)

  _check_nothing_unread(unread, where)
  try:
    return ModelConfig(**fields | overrides)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def _check_fixed(unread: dict[str, Any], where: str) -> None:
  """Takes the keys of FIXED, and refuses values that would change the mathematics."""
  for key, value in FIXED.items():
    found = unread.pop(key, value)
    if found is not None and found != value:
      raise WeightsError(
        f'{where}: {key}={found!r} changes the mathematics and is not known here; only {value!r} is'
      )


def _read_sizes(unread: dict[str, Any], model_type: str, where: str) -> dict[str, Any]:
  """Takes the sizes out of `unread`, with what each family assumes where the file says nothing."""
  defaults = DEFAULTS[model_type]
  fields: dict[str, Any] = {}
  for key, field in SIZES.items():
    if key == 'rms_norm_eps':
      fields[field] = _positive(unread.pop(key, DEFAULT_NORM_EPS), key, where)
      continue
    if key not in unread and key not in defaults:
      raise WeightsError(f'{where}: {key} is missing; download it again')
    fields[field] = _integer(unread.pop(key, defaults.get(key)), key, where)
  if fields['n_layers'] > MAX_LAYERS:
    raise WeightsError(
      f'{where}: num_hidden_layers={fields["n_layers"]} is more than any model has; '
      'download it again'
    )
  n_kv_heads = unread.pop('num_key_value_heads', defaults.get('num_key_value_heads'))
  fields['n_kv_heads'] = fields['n_heads']
  if n_kv_heads is not None:
    fields['n_kv_heads'] = _integer(n_kv_heads, 'num_key_value_heads', where)
  head_dim = unread.pop('head_dim', None)
  if head_dim is None:
    head_dim = defaults.get('head_dim', fields['d_model'] // fields['n_heads'])
  fields['head_dim'] = _integer(head_dim, 'head_dim', where)
  tied = unread.pop('tie_word_embeddings', model_type in TIED_BY_DEFAULT)
  if not isinstance(tied, bool):
    raise WeightsError(f'{where}: tie_word_embeddings={tied!r} must be true or false; mend it')
  fields['tie_embeddings'] = tied
  return fields


def _mapping(value: Any, key: str, where: str) -> dict[str, Any]:
  """A setting that is a JSON object, as a new dict; null counts as an empty one."""
  if value is None:
    return {}
  if not isinstance(value, dict):
    raise WeightsError(f'{where}: {key}={repr(value)[:60]} is no JSON object; mend it')
  return dict(value)


def _integer(value: Any, key: str, where: str, least: int = 1) -> int:
  """A setting that is a whole number of at least `least`, and no larger than any size is."""
  if type(value) is not int or not least <= value < 2**31:
    raise WeightsError(
      f'{where}: {key}={repr(value)[:60]} must be a whole number, at least {least}; '
      'mend it or download it again'
    )
  return value


def _positive(value: Any, key: str, where: str) -> float:
  """A setting that is a finite number above 0."""
  # A whole number may be too large for a float.
  is_number = type(value) is float or (type(value) is int and abs(value) < 2**63)
  if not is_number or not 0 < value < math.inf:
    raise WeightsError(
      f'{where}: {key}={repr(value)[:60]} must be a number above 0; mend it or download it again'
    )
  return float(value)


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
  theta = _positive(unread.pop('rope_theta', theta), 'rope_theta', where)
  # Files of before 2024 call the key `type`, and some have both.
  older_kind = unread.pop('type', 'default')
  kind = unread.pop('rope_type', older_kind)
  if not isinstance(kind, str) or kind not in ROPE_SETTINGS:
    raise WeightsError(
      f'{where}: rotary positions of type {kind!r} are not known here; '
      f'known are {", ".join(ROPE_SETTINGS)}'
    )
  if unread.pop('partial_rotary_factor', 1.0) not in (1.0, None):
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
  factor = _positive(unread['factor'], 'factor', where)
  if kind == 'linear':
    return theta, RopeScaling('linear', factor)
  low = _positive(unread['low_freq_factor'], 'low_freq_factor', where)
  high = _positive(unread['high_freq_factor'], 'high_freq_factor', where)
  length_key = 'original_max_position_embeddings'
  original_length = _integer(unread[length_key], length_key, where)
  return theta, RopeScaling('llama3', factor, low, high, original_length)


def _default_layer_types(
  raw: Mapping[str, Any], model_type: str, n_layers: int, has_window: bool, where: str
) -> list[str]:
  """Which layers have a window where the file does not list layer_types; empty if it says nothing
  of a window.
  """
  if model_type == 'gemma3_text':
    every = raw.get('sliding_window_pattern')
    if every is None:
      every = raw.get('_sliding_window_pattern')
    if every is None:
      every = GEMMA3_FULL_EVERY
    every = _integer(every, 'sliding_window_pattern', where)
    is_full = [(layer + 1) % every == 0 for layer in range(n_layers)]
  elif has_window:
    # In Qwen the first max_window_layers layers see the whole text, despite the name.
    n_full = raw.get('max_window_layers')
    if n_full is None:
      n_full = DEFAULTS[model_type].get('max_window_layers', 0)
    # 0 is allowed: every layer has the window then.
    n_full = _integer(n_full, 'max_window_layers', where, least=0)
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
