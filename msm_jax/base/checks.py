"""Nested mappings -> frozen, checked dataclasses. Every error names the key and says what to change."""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from msm_jax.base.errors import ConfigError

# Ranges for `within`: (lowest, highest) value that is allowed.
AT_LEAST_ONE = (1, math.inf)
NON_NEGATIVE = (0, math.inf)
SHARE = (0, 1)
# The smallest number that counts as positive.
MIN_POSITIVE = 1e-30


def hint_for(name: str, known: Mapping[str, Any]) -> str:
  close = difflib.get_close_matches(name, list(known), n=1)
  return (
    f', which does not exist; did you mean {close[0]!r}?'
    if close
    else f', which does not exist; known are {sorted(known)}'
  )


def one_of(key: str, value: str, options: tuple[str, ...]) -> None:
  if value not in options:
    raise ConfigError(f'{key}={value!r} must be one of {", ".join(options)}')


def within(where: str, settings: Any, **bounds: tuple[float, float]) -> None:
  """Raises ConfigError unless each named setting is a finite number with low <= setting <= high."""
  for key, (low, high) in bounds.items():
    value = getattr(settings, key)
    if not (low <= value <= high and math.isfinite(value)):
      span = f'at least {low:g}' if high == math.inf else f'from {low:g} to {high:g}'
      raise ConfigError(f'{where}{key}={value} must be {span}')


def from_mapping(cls: Any, value: Any, where: str = 'config') -> Any:
  """Checks `value` (nested mappings, as a ConfigDict is) against the type `cls` and converts it; raises ConfigError."""
  origin, args = typing.get_origin(cls), typing.get_args(cls)
  if origin in (types.UnionType, typing.Union):
    return None if value is None else from_mapping(args[0], value, where)
  if origin is tuple:
    if not isinstance(value, (tuple, list)):
      raise ConfigError(f'{where}={value!r} must be a tuple')
    return tuple(from_mapping(args[0], v, f'{where}[{i}]') for i, v in enumerate(value))
  if isinstance(value, Mapping) or hasattr(value, 'items'):
    if origin is not None:  # Mapping[str, X]
      return {k: from_mapping(args[1], v, f'{where}.{k}') for k, v in value.items()}
    if not dataclasses.is_dataclass(cls):
      raise ConfigError(f'{where} must be a {cls.__name__}, found a group of settings')
    fields, hints = {f.name: f for f in dataclasses.fields(cls)}, typing.get_type_hints(cls)
    for key in value:
      if key not in fields:
        raise ConfigError(f'{where}: unknown key {key!r}{hint_for(key, fields)}')
    missing = [
      n
      for n, f in fields.items()
      if n not in value
      and f.default is dataclasses.MISSING
      and f.default_factory is dataclasses.MISSING
    ]
    if missing:
      raise ConfigError(f'{where}: missing {", ".join(missing)}')
    return cls(**{k: from_mapping(hints[k], v, f'{where}.{k}') for k, v in value.items()})
  if origin is not None or dataclasses.is_dataclass(cls):
    raise ConfigError(f'{where}={value!r} must be a group of settings')
  if cls is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if not isinstance(value, cls) or (cls is int and isinstance(value, bool)):
    raise ConfigError(f'{where}={value!r} must be {cls.__name__}')
  return value


def to_json(config: Any) -> str:
  """Canonical JSON of a dataclass: what identities are hashed from and what is written beside results."""
  return json.dumps(dataclasses.asdict(config), sort_keys=True)
