"""Converts nested mappings into frozen dataclasses and checks every value on the way.

A config file gives nested mappings (an `ml_collections.ConfigDict`). The rest of the project
works with dataclasses. `from_mapping` converts the one into the other. Every error names the key
of the setting and says what to change. The small functions `one_of` and `within` serve the
`__post_init__` methods of those dataclasses.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from msm_jax.base.errors import ConfigError

# Ranges for `within`: (lowest, highest) value that is allowed.
AT_LEAST_ONE = (1, math.inf)
NON_NEGATIVE = (0, math.inf)
SHARE = (0, 1)
# A share that leaves something: what is divided by one minus it stays finite, in fp32 too.
BELOW_ONE = (0, 1 - 1e-6)
# The key of a field's metadata that `added_later` sets.
_ADDED_LATER = 'added_later'
# The key of a field's metadata that `for_references` sets.
FOR_REFERENCES = 'for_references'
# The smallest number that counts as positive.
MIN_POSITIVE = 1e-30
# Whole numbers beyond 64 bits fit into no array, and the largest of them into no float.
_LOWEST_INT, _HIGHEST_INT = -(2**63), 2**63 - 1
# Devices compute in fp32, in which larger numbers are infinite.
_HIGHEST_FLOAT = 3.4028234e38
# Characters of a value that an error message shows.
_SHOWN = 100


def hint_for(name: str, known: Iterable[str]) -> str:
  """Continues an error message about an unknown name with the closest known name, or with all of
  them."""
  # A config file may have a key that is no text.
  known = [str(other) for other in known]
  close = difflib.get_close_matches(str(name), known, n=1)
  if close:
    return f', which does not exist; did you mean {close[0]!r}?'
  return f', which does not exist; known are {sorted(known)}'


def shown(value: Any) -> str:
  """Writes a value for an error message.

  Args:
    value: any value.

  Returns:
    Its text as Python writes it. A long one is cut, so that the message stays a line.
  """
  try:
    text = repr(value)
  except ValueError:
    # Python writes no number of more than 4,300 digits.
    return f'a {type(value).__name__} of thousands of digits'
  if '\n' in text:
    # That of an array or of a whole config.
    text = ' '.join(text.split())
  if len(text) > _SHOWN:
    return f'{text[:_SHOWN]}...'
  return text


def one_of(key: str, value: str, options: tuple[str, ...]) -> None:
  """Raises ConfigError unless the value is one of the options; `key` names the setting."""
  if value not in options:
    raise ConfigError(f'{key}={shown(value)} must be one of {", ".join(options)}')


def exceeds_share(part: int, whole: int, share: float) -> bool:
  """Whether `part` of `whole` is more than a share.

  The quotient is compared, since a product is rounded: 0.29 * 100 is less than 29.

  Args:
    part: how many.
    whole: of how many. None of none is no share at all.
    share: the share that may be reached.

  Returns:
    Whether it is exceeded.
  """
  return part > 0 and part / whole > share


def within(where: str, settings: Any, **bounds: tuple[float, float]) -> None:
  """Checks that settings are finite numbers in their ranges, in fp32 too.

  Args:
    where: what stands before the name of the setting in an error message, such as 'plan.'.
    settings: the dataclass that holds the settings.
    **bounds: for each setting to check, the lowest and the highest value that is allowed.

  Raises:
    ConfigError: a setting is outside its range, infinite or not a number.
  """
  for key, (low, high) in bounds.items():
    value = getattr(settings, key)
    is_int = isinstance(value, int)
    has_over_64_bits = is_int and not _LOWEST_INT <= value <= _HIGHEST_INT
    is_infinite_in_fp32 = not is_int and _HIGHEST_FLOAT < abs(value) < math.inf
    # `low <= nan` is False, so this refuses NaN as well. Integers of any size can be compared with
    # infinity; math.isfinite fails for the largest.
    is_within = low <= value <= high and abs(value) != math.inf
    if is_within and not has_over_64_bits and not is_infinite_in_fp32:
      continue
    if is_infinite_in_fp32:
      wanted = f'a number of at most {_HIGHEST_FLOAT:g}, which fp32 holds'
    elif has_over_64_bits:
      wanted = 'a number of at most 64 bits'
    elif high == math.inf:
      wanted = f'at least {low:g}'
    else:
      wanted = f'from {low:g} to {high:g}'
    raise ConfigError(f'{where}{key}={shown(value)} must be {wanted}')


def from_mapping(cls: Any, value: Any, where: str = 'config') -> Any:
  """Checks a value against a type and converts it to that type.

  Supported types are dataclasses, `Mapping[str, X]`, `tuple[X, ...]`, `X | None`, bool, int,
  float and str.

  Args:
    cls: the type that is wanted.
    value: nested mappings, sequences and scalars, as a ConfigDict holds them.
    where: the path of the value in the config, for error messages.

  Returns:
    The value as `cls`. Lists become tuples, ints become floats where a float is wanted, floats
    without a fraction become ints where an int is wanted, and a setting that the mapping does not
    give has the default of its dataclass.

  Raises:
    ConfigError: a key is unknown or missing, or a value has the wrong type.
  """
  origin = typing.get_origin(cls)
  arguments = typing.get_args(cls)
  if origin in (types.UnionType, typing.Union):
    # The only unions among the settings are `X | None`.
    if value is None:
      return None
    return from_mapping(arguments[0], value, where)
  if origin is tuple:
    return _tuple_from(arguments[0], value, where)
  # A ConfigDict is no Mapping, but it has `items`.
  if isinstance(value, Mapping) or hasattr(value, 'items'):
    if origin is not None:
      return _mapping_from(arguments[1], value, where)
    return _dataclass_from(cls, value, where)
  if origin is not None or dataclasses.is_dataclass(cls):
    raise ConfigError(f'{where}={shown(value)} must be a group of settings')
  return _scalar_from(cls, value, where)


def _tuple_from(item_type: Any, value: Any, where: str) -> tuple[Any, ...]:
  """Converts a list or tuple for a setting of the type `tuple[item_type, ...]`."""
  if not isinstance(value, (tuple, list)):
    raise ConfigError(f'{where}={shown(value)} must be a tuple')
  return tuple(from_mapping(item_type, v, f'{where}[{i}]') for i, v in enumerate(value))


def _mapping_from(item_type: Any, value: Any, where: str) -> dict[str, Any]:
  """Converts a mapping whose keys are free, such as the phases of an experiment."""
  converted = {}
  for key, v in value.items():
    if not isinstance(key, str):
      raise ConfigError(f'{where}: the key {shown(key)} must be text; put it into quotes')
    check_text(f'{where}: the key {shown(key)}', key)
    converted[key] = from_mapping(item_type, v, f'{where}.{key}')
  return converted


def _dataclass_from(cls: type, value: Any, where: str) -> Any:
  """Converts a mapping whose keys are the fields of a dataclass."""
  if not dataclasses.is_dataclass(cls):
    raise ConfigError(f'{where} must be a {cls.__name__}, found a group of settings')
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for key in value:
    if key not in fields:
      raise ConfigError(f'{where}: unknown key {shown(key)}{hint_for(key, fields)}')
  missing = [n for n, field in fields.items() if n not in value and not _has_default(field)]
  if missing:
    raise ConfigError(f'{where}: missing {", ".join(missing)}')
  # Annotations may be strings; `get_type_hints` gives the types themselves.
  field_types = typing.get_type_hints(cls)
  converted = {}
  for key, v in value.items():
    converted[key] = from_mapping(field_types[key], v, f'{where}.{key}')
  return cls(**converted)


def _has_default(field: dataclasses.Field) -> bool:
  has_value = field.default is not dataclasses.MISSING
  has_factory = field.default_factory is not dataclasses.MISSING
  return has_value or has_factory


def _scalar_from(cls: type, value: Any, where: str) -> Any:
  """Checks a bool, int, float or str."""
  # Python counts True and False as ints; in a config they would be slips.
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  if cls is float and is_number:
    return _float_from(value, where)
  if cls is int and is_number:
    return _int_from(value, where)
  if cls in (int, float) or not isinstance(value, cls):
    raise ConfigError(f'{where}={shown(value)} must be {cls.__name__}')
  if isinstance(value, str):
    check_text(f'{where}={shown(value)}', value)
  return value


def _float_from(value: int | float, where: str) -> float:
  """Converts a number to a float. Raises ConfigError for NaN, infinity and integers beyond it."""
  try:
    number = float(value)
  except OverflowError:
    number = math.inf
  if not math.isfinite(number):
    raise ConfigError(f'{where}={shown(value)} must be a finite number')
  return number


def _int_from(value: int | float, where: str) -> int:
  """Converts a number to an int. Raises ConfigError if it has a fraction or over 64 bits."""
  if isinstance(value, float):
    if not value.is_integer():
      raise ConfigError(f'{where}={value!r} must be int')
    value = int(value)
  if not _LOWEST_INT <= value <= _HIGHEST_INT:
    raise ConfigError(f'{where}={shown(value)} must be an int of at most 64 bits')
  return value


def check_text(what: str, value: str) -> None:
  """Checks that a text can be written to a file and be part of a path.

  Args:
    what: what error messages call the text.
    value: the text.

  Raises:
    ConfigError: it holds half a character or the character NUL.
  """
  try:
    value.encode()
  except UnicodeEncodeError:
    raise ConfigError(f'{what} holds half a character (a lone surrogate); write it anew') from None
  if '\0' in value:
    raise ConfigError(f'{what} holds the character NUL; take it out')


def check_run_name(name: str) -> None:
  """Checks a name after which the folder of a run is called, below runs/.

  Args:
    name: the name.

  Raises:
    ConfigError: it is empty, or leads out of that folder.
  """
  if not name.strip():
    raise ConfigError('name is empty; say what this is called')
  if '..' in name.split('/'):
    raise ConfigError(f"name={shown(name)} leads out of the folder runs/; leave '..' out")


def added_later(default: Any) -> Any:
  """Declares a field that a settings class got after its identities were recorded.

  The field is left out of `to_json` while it has its default, so an experiment that does not use it
  keeps its identity, and kept workdirs are not trained again.

  Args:
    default: the value that means what the code did before the field existed.

  Returns:
    A dataclass field, for `name: type = added_later(default)`.
  """
  return dataclasses.field(default=default, metadata={_ADDED_LATER: True})


def for_references(default: Any) -> Any:
  """Declares a field that config files alone read, by references from other settings to it.

  Args:
    default: the value of a config that has no such references.

  Returns:
    A dataclass field, for `name: type = for_references(default)`.
  """
  return dataclasses.field(default=default, metadata={FOR_REFERENCES: True})


def as_recorded(value: Any) -> Any:
  """Gives settings as identities record them.

  Args:
    value: settings, or a part of them.

  Returns:
    Nested dataclasses as dicts in the order of their fields, without fields that were added later
    and have their default.
  """
  if dataclasses.is_dataclass(value):
    out = {}
    for field in dataclasses.fields(value):
      content = getattr(value, field.name)
      if field.metadata.get(_ADDED_LATER) and content == field.default:
        continue
      out[field.name] = as_recorded(content)
    return out
  if isinstance(value, Mapping):
    return {key: as_recorded(content) for key, content in value.items()}
  if isinstance(value, (list, tuple)):
    return [as_recorded(content) for content in value]
  return value


def to_json(config: Any) -> str:
  """Returns the canonical JSON of a dataclass.

  Identities are hashes of this text, and the same text is written beside results, so its form
  must not change.

  Args:
    config: a dataclass of settings.

  Returns:
    JSON with sorted keys; fields declared by `added_later` stand in it only if they were set.
  """
  return json.dumps(as_recorded(config), sort_keys=True)
