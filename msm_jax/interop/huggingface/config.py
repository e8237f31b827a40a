"""Translates a config.json of Hugging Face into a ModelConfig; config_writing.py does the reverse.

Every key of a config.json is in one of three groups: it is translated, or it is known to change no
output of a forward pass (NEUTRAL), or it must have one value (FIXED); see config_keys.py. Any other
key is refused by name, because a setting that is silently dropped would give a model that runs and
is wrong.

The readers below take keys out of a dict called `unread`. What is left in it at the end is what
nobody understood.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msm_jax.base.checks import shown
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.interop.huggingface.config_keys import (
  DEFAULT_NORM_EPS,
  DEFAULT_THETA,
  DEFAULT_WINDOW,
  DEFAULTS,
  FIXED,
  FULL,
  GEMMA3_FULL_EVERY,
  GEMMA3_THETA,
  MAX_LAYERS,
  NEUTRAL,
  ROPE_SETTINGS,
  SIZES,
  SLIDING,
)
from msm_jax.interop.huggingface.families import ACTIVATIONS, FAMILIES, TIED_BY_DEFAULT


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

  rope, local_rope = _take_rope(unread, model_type, where)
  fields['rope_theta'], fields['rope_scaling'] = _read_rope(*rope, where)
  fields |= _read_windows(raw, unread, fields, local_rope, where)
  if model_type == 'gemma3_text':
    fields |= _read_gemma3(unread, fields['d_model'], where)
  _check_nothing_unread(unread, where)
  try:
    return ModelConfig(**fields | overrides)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def _check_fixed(unread: dict[str, Any], where: str) -> None:
  """Takes the keys of FIXED, and refuses values that would change the mathematics."""
  for key, value in FIXED.items():
    found = unread.pop(key, value)
    if found is None or found == value:
      continue
    if key == 'quantization_config':
      raise WeightsError(
        f'{where}: {key}={shown(found)}: quantised weights are not read here; '
        'take the weights from before the quantisation'
      )
    raise WeightsError(
      f'{where}: {key}={shown(found)} changes the mathematics and is not known here; '
      f'only {value!r} is'
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
  expected = ACTIVATIONS[FAMILIES[model_type].get('activation', 'silu')]
  for key in ('hidden_act', 'hidden_activation'):
    activation = unread.pop(key, None)
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
        f'{where}: {key}={shown(value)} of the rotary positions is not known here; '
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


def _take_rope(
  unread: dict[str, Any], model_type: str, where: str
) -> tuple[tuple[dict[str, Any], Any], tuple[dict[str, Any], Any]]:
  """Takes the rotary positions out of `unread`.

  New files describe them in rope_parameters, one entry for each kind of layer where they differ.
  Older files have rope_theta, rope_scaling and, in Gemma 3, rope_local_base_freq.

  Returns:
    (settings, rotary base where these name none) of layers that see the whole text, and the same of
    layers with a window.

  Raises:
    WeightsError: the settings have another shape than in `transformers`, which would pass over
      them.
  """
  parameters = _mapping(unread.pop('rope_parameters', None), 'rope_parameters', where)
  scaling = _mapping(unread.pop('rope_scaling', None), 'rope_scaling', where)
  full_rope = _mapping(parameters.pop(FULL, None), f'rope_parameters of {FULL}', where)
  local_rope = _mapping(parameters.pop(SLIDING, None), f'rope_parameters of {SLIDING}', where)
  theta = unread.pop('rope_theta', None)
  local_theta = unread.pop('rope_local_base_freq', None)
  # Where a file has both, rope_scaling counts, as in transformers: Gemma 3 adds it to the others,
  # and the other families forget the others.
  if model_type == 'gemma3_text':
    beside = sorted(key for key, value in parameters.items() if value is not None)
    if beside and not full_rope:
      raise WeightsError(
        f'{where}: rope_parameters of {model_type} stand under {FULL} and {SLIDING}, and '
        f'{beside[0]} stands beside them; move it into {FULL}'
      )
    settings = full_rope | scaling
    theta = GEMMA3_THETA if theta is None else theta
  else:
    if (full_rope or local_rope) and not scaling:
      raise WeightsError(
        f'{where}: rope_parameters of {model_type} are the same for all layers; '
        f'take them out of {FULL} and {SLIDING}'
      )
    settings = scaling or parameters
    theta = DEFAULT_THETA if theta is None else theta
  local_theta = DEFAULT_THETA if local_theta is None else local_theta
  return (settings, theta), (local_rope, local_theta)


def _read_windows(
  raw: Mapping[str, Any],
  unread: dict[str, Any],
  fields: Mapping[str, Any],
  local_rope: tuple[dict[str, Any], Any],
  where: str,
) -> dict[str, Any]:
  """Reads which layers have a window, and how long it is; nothing if none has one.

  Args:
    raw: the whole file.
    unread: what is left of it; the keys about windows are taken out.
    fields: what is known of the model.
    local_rope: the rotary positions of layers with a window, as `_take_rope` gives them.
    where: the file's name, for error messages.

  Returns:
    Fields of ModelConfig.
  """
  model_type = raw['model_type']
  # Qwen has a switch for the window, which is off where it is not mentioned. Gemma 3 has no switch:
  # transformers passes over the key, and the window is always used.
  window = unread.pop('sliding_window', DEFAULT_WINDOW)
  layer_types = unread.pop('layer_types', None)
  is_switched_on = unread.pop('use_sliding_window', False)
  uses_window = model_type == 'gemma3_text' or is_switched_on
  if window is not None:
    # Without a window, some files have 0 here.
    window = _integer(window, 'sliding_window', where, least=0)
  if not layer_types:
    has_window = bool(uses_window and window)
    layer_types = _default_layer_types(raw, model_type, fields['n_layers'], has_window, where)
  _check_layer_types(layer_types, fields['n_layers'], where)
  if SLIDING not in layer_types:
    return {}
  if not uses_window:
    if model_type == 'llama':
      # transformers passes over layer_types there.
      return {}
    raise WeightsError(
      f'{where}: layer_types has layers with a window, and '
      f'use_sliding_window={shown(is_switched_on)}; set it to true, or take layer_types out'
    )
  if not window:
    raise WeightsError(
      f'{where}: layer_types has layers with a window, and sliding_window={window!r}; mend it'
    )
  if model_type == 'llama':
    # transformers gives no Llama a window, whatever its config.json says.
    raise WeightsError(
      f'{where}: no Llama has layers with a window; take layer_types and use_sliding_window out'
    )
  # Gemma 3 gives its layers with a window a rotary base of their own; in Qwen all layers share one.
  local_theta, local_scaling = fields['rope_theta'], fields['rope_scaling']
  if model_type == 'gemma3_text':
    local_theta, local_scaling = _read_rope(*local_rope, where)
  if local_scaling:
    raise WeightsError(
      f'{where}: stretched rotary positions in layers with a window are not known here'
    )
  return {
    'local_layers': tuple(kind == SLIDING for kind in layer_types),
    'local_window': window,
    'local_theta': local_theta,
  }


def _check_layer_types(layer_types: Any, n_layers: int, where: str) -> None:
  """Raises WeightsError unless every layer is of a kind that is known."""
  is_list = isinstance(layer_types, list)
  if not is_list or not all(isinstance(kind, str) for kind in layer_types):
    raise WeightsError(f'{where}: layer_types={layer_types!r} is no list of names; mend it')
  if layer_types and len(layer_types) != n_layers:
    raise WeightsError(
      f'{where}: layer_types names {len(layer_types)} layers and num_hidden_layers is '
      f'{n_layers}; mend it or download it again'
    )
  unknown_types = set(layer_types) - {FULL, SLIDING}
  if unknown_types:
    raise WeightsError(f'{where}: layers of type {min(unknown_types)!r} are not known here')


def _read_gemma3(unread: dict[str, Any], d_model: int, where: str) -> dict[str, Any]:
  """Takes out of `unread` what only Gemma 3 has."""
  default_scalar = DEFAULTS['gemma3_text']['query_pre_attn_scalar']
  scalar = unread.pop('query_pre_attn_scalar', default_scalar)
  cap = unread.pop('final_logit_softcapping', None)
  fields = {
    'query_scale': _positive(scalar, 'query_pre_attn_scalar', where) ** -0.5,
    'embed_scale': float(d_model) ** 0.5,
    'logit_softcap': 0.0,
  }
  if cap:
    fields['logit_softcap'] = _positive(cap, 'final_logit_softcapping', where)
  return fields


def _default_layer_types(
  raw: Mapping[str, Any], model_type: str, n_layers: int, has_window: bool, where: str
) -> list[str]:
  """Which layers have a window where the file does not list layer_types; empty if it says nothing
  of a window.
  """
  if model_type == 'gemma3_text':
    every = raw.get('sliding_window_pattern')
    if every is None:
      every = GEMMA3_FULL_EVERY
      # transformers writes this key beside layer_types and never reads it.
      noted = raw.get('_sliding_window_pattern')
      if noted not in (None, every):
        raise WeightsError(
          f'{where}: _sliding_window_pattern={shown(noted)} says nothing without layer_types; '
          'list the kind of every layer there'
        )
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
      f'{where}: {key}={shown(unread[key])} is not known here, and might change the mathematics; '
      'this model cannot be imported'
    )
