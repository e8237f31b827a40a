"""Changes single settings of a config: `--config.a.b=value` and the points of a sweep.

A config file names some settings, and the dataclass that the config becomes (its *schema*) has
more. Whatever the schema has can be set. The schema also gives the type: `data.facts=4.5` is right
for a share although the config file says 4.

Config files let several places refer to one setting (`c.get_ref('spec')`). A change of that setting
reaches all of them; a change of one of the places reaches this place alone. Which place is that
setting, `get_ref` does not say: it is the outermost one. If two are equally far out, a change of
either is refused, since it would reach too many places or too few.
"""

import ast
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import RequiredValueError

from msm_jax.base.checks import FOR_REFERENCES, hint_for, shown
from msm_jax.base.errors import ConfigError
from msm_jax.base.references import separate_groups

# How true and false are written on the command line.
_BOOLEANS = {'true': True, 't': True, '1': True, 'false': False, 'f': False, '0': False}


def override(config: ConfigDict, key: str, value: Any, schema: Any = None) -> None:
  """Changes one setting of a config in place.

  Args:
    config: the config.
    key: the path of the setting, such as 'phases.aft.updates'.
    value: its new value. It is not checked: that is done when the whole config is.
    schema: the dataclass that the config becomes; without one, a setting that the config does not
      name cannot be set.

  Raises:
    ConfigError: there is no such setting, or it is there for references that the config lacks, or
      nobody can say which other settings refer to it.
  """
  # One dict may have been put into two places; only the named one changes.
  separate_groups(config)
  *parents, last = _parts(key)
  group, group_type = config, schema
  for n, part in enumerate(parents):
    where = '.'.join(parents[:n])
    wanted = _type_of(group, group_type, part, where, is_group=True)
    child = group.get(part)
    if child is None:
      # The config file leaves the whole group out, so its dataclass has defaults for it.
      with group.unlocked(), group.ignore_type():
        group[part] = ConfigDict(_default_entries(group_type, part))
      child = group[part]
    if not isinstance(child, ConfigDict):
      raise _not_a_group(key, '.'.join(parents[: n + 1]))
    group, group_type = child, wanted
  wanted = _type_of(group, group_type, last, '.'.join(parents), is_group=False)
  if _is_group(wanted) and value is not None and not isinstance(value, Mapping | ConfigDict):
    raise ConfigError(
      f'{key}={shown(value)} must be a group of settings; give its settings one by one, '
      f'such as {key}.NAME=VALUE'
    )
  _check_referred_to(config, group, group_type, key, value)
  _assign(config, group, key, last, value)


def from_text(config: ConfigDict, key: str, text: str, schema: Any = None) -> Any:
  """Reads the value of a setting from the command line, by the type of the setting.

  Args:
    config: the config.
    key: the path of the setting.
    text: what stands after the equals sign.
    schema: see `override`.

  Returns:
    The value.

  Raises:
    ConfigError: there is no such setting, or the text is no value of its type.
  """
  *parents, last = _parts(key)
  group: Any = config
  group_type = schema
  for n, part in enumerate(parents):
    group_type = _type_of(group, group_type, part, '.'.join(parents[:n]), is_group=True)
    group = group.get(part)
    if group is None:
      # The config file leaves the whole group out.
      group = ConfigDict()
    if not isinstance(group, ConfigDict):
      raise _not_a_group(key, '.'.join(parents[: n + 1]))
  wanted = _type_of(group, group_type, last, '.'.join(parents), is_group=False)
  try:
    return _parse(wanted, text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    raise ConfigError(f'{key}={shown(text)} must be {_name_of(wanted)}') from None


def _check_referred_to(
  config: ConfigDict, group: ConfigDict, group_type: Any, key: str, value: Any
) -> None:
  """Raises ConfigError for a change of a setting to which other settings may refer, and none does:
  nothing else reads it."""
  group_type, _ = _without_none(group_type)
  last = key.rpartition('.')[2]
  field = getattr(group_type, '__dataclass_fields__', {}).get(last)
  if field is None or not field.metadata.get(FOR_REFERENCES):
    return
  is_referred_to = isinstance(group._fields.get(last), FieldReference)
  if is_referred_to or value == group.get(last, field.default):
    return
  places = [place for place, _ in _fields_of(config) if place.endswith(f'.{last}') and place != key]
  remedy = 'name it where it is meant'
  if places:
    remedy = f'set {" or ".join(places[:3])}'
  raise ConfigError(
    f'{key}={shown(value)} would change nothing, since no setting of this config refers to it; '
    f'{remedy} (docs/guides/extend.md tells how to refer)'
  )


def _parts(key: str) -> list[str]:
  """Splits the path of a setting. Raises ConfigError for an empty part."""
  parts = key.split('.')
  if not all(parts):
    raise ConfigError(f'{key!r} names no setting; give names with dots between them')
  return parts


def _type_of(group: Any, group_type: Any, part: str, where: str, is_group: bool) -> Any:
  """The type of one setting in a group; None if only the config file can know it.

  Raises ConfigError if the group has no such setting.
  """
  group_type, _ = _without_none(group_type)
  arguments = typing.get_args(group_type)
  if dataclasses.is_dataclass(group_type):
    hints = typing.get_type_hints(group_type)
    if part not in hints:
      raise ConfigError(_unknown(part, where, hints))
    return hints[part]
  if arguments and typing.get_origin(group_type) is not tuple:
    # A mapping with free keys. A new key is taken if its value says everything about it; a whole
    # phase or source cannot come from one setting, so a new key there is a slip.
    if part not in group and (is_group or _is_group(arguments[1])):
      raise ConfigError(_unknown(part, where, group))
    return arguments[1]
  if part not in group:
    raise ConfigError(_unknown(part, where, group))
  try:
    value = group[part]
  except RequiredValueError:
    # The config file leaves the value open, and says its type.
    return group._fields[part].get_type()
  return type(value) if value is not None else None


def _unknown(part: str, where: str, known: Any) -> str:
  place = f'config.{where}' if where else 'the config'
  return f'{place} has no setting {part!r}{hint_for(part, known)}'


def _not_a_group(key: str, where: str) -> ConfigError:
  return ConfigError(
    f'the config has no {key!r}: {where} is a value and no group of settings; '
    f'give --config.{where}=VALUE'
  )


def _without_none(wanted: Any) -> tuple[Any, bool]:
  """Splits `X | None` into X and True; any other type into itself and False."""
  if typing.get_origin(wanted) in (types.UnionType, typing.Union):
    return typing.get_args(wanted)[0], True
  return wanted, False


def _default_entries(group_type: Any, part: str) -> dict[str, Any]:
  """What a mapping with free keys holds where a config file leaves it out; {} for other groups.

  The settings of a dataclass have defaults one by one. A mapping has one default as a whole, which
  a new entry would replace: `grpo.rewards.X=1` would take the reward `chosen` away.
  """
  group_type, _ = _without_none(group_type)
  field = getattr(group_type, '__dataclass_fields__', {}).get(part)
  if field is None or field.default_factory is dataclasses.MISSING:
    return {}
  return dict(field.default_factory())


def _is_group(wanted: Any) -> bool:
  """Whether a setting of this type holds other settings."""
  wanted, _ = _without_none(wanted)
  is_mapping = typing.get_origin(wanted) not in (None, tuple)
  return dataclasses.is_dataclass(wanted) or is_mapping or wanted is ConfigDict


def _parse(wanted: Any, text: str) -> Any:
  """Reads a value of a type. Raises ValueError or another error of Python's parser."""
  wanted, is_optional = _without_none(wanted)
  if is_optional and text == 'None':
    return None
  if wanted is bool:
    return _parse_bool(text)
  if wanted in (int, float):
    return _parse_number(wanted, text)
  if wanted is str:
    return text
  if wanted is tuple or typing.get_origin(wanted) is tuple:
    return _parse_tuple(wanted, text)
  if _is_group(wanted):
    # `override` refuses it in its own words.
    return text
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    # The config file says None, so a text is as good as a number.
    return text


def _parse_bool(text: str) -> bool:
  if text.casefold() not in _BOOLEANS:
    raise ValueError
  return _BOOLEANS[text.casefold()]


def _parse_number(wanted: type, text: str) -> int | float:
  try:
    return int(text)
  except ValueError:
    # 2e3 for an int: whether it has a fraction is checked with the whole config.
    number = float(text)
  if wanted is int and not number.is_integer():
    raise ValueError
  return number


def _parse_tuple(wanted: Any, text: str) -> tuple[Any, ...]:
  """Reads '(1, 2)', "('a', 'b')", and texts or numbers with commas between them."""
  stripped = text.strip()
  if stripped.startswith(('(', '[')):
    value = ast.literal_eval(stripped)
    # "('a')" is no tuple for Python; here nothing else can be meant.
    return tuple(value) if isinstance(value, tuple | list) else (value,)
  types_of_items = typing.get_args(wanted)
  if not types_of_items:
    # Only the config file knows this setting, and a tuple does not say what it holds.
    return tuple(ast.literal_eval(f'({stripped},)')) if stripped else ()
  items = [item.strip() for item in stripped.split(',') if item.strip()]
  return tuple(_parse(types_of_items[0], item.strip('\'"')) for item in items)


def _name_of(wanted: Any) -> str:
  wanted, is_optional = _without_none(wanted)
  name = getattr(wanted, '__name__', str(wanted))
  if wanted is bool:
    name = 'true or false'
  elif typing.get_origin(wanted) is tuple:
    name = "a tuple, such as '(1, 2)'"
  return f'{name} or None' if is_optional else name


def _assign(config: ConfigDict, group: ConfigDict, key: str, last: str, value: Any) -> None:
  """Sets a value. It goes through a reference only where the reference is at home."""
  with group.unlocked(), group.ignore_type():
    # A ConfigDict shows the values of references; the references themselves are in its fields.
    held = group._fields.get(last)
    if isinstance(held, FieldReference) and _home_of(config, held, key) != key:
      # Setting it would change every place that refers to it.
      del group[last]
    if isinstance(value, bool) and isinstance(held, int | float) and not isinstance(held, bool):
      # ConfigDict would make the number 1 of it, which the check of the whole config cannot refuse.
      del group[last]
    try:
      group[last] = value
    except OverflowError:
      # ConfigDict makes a float of an integer where a float was. The check of the whole config
      # refuses such integers by name.
      del group[last]
      group[last] = value


def _home_of(config: ConfigDict, reference: FieldReference, key: str) -> str:
  """The setting that a reference refers to: the outermost of the places that hold it.

  `key` is the place that is changed. Raises ConfigError if it is one of several that are equally
  far out: ml_collections does not tell which of them refers to the other.
  """
  places = [place for place, held in _fields_of(config) if held is reference]
  outermost = min(place.count('.') for place in places)
  homes = [place for place in places if place.count('.') == outermost]
  if len(homes) > 1 and key in homes:
    raise ConfigError(
      f'{" and ".join(homes)} are one reference (get_ref), and nobody can say which of them refers '
      f'to the other; write get_oneway_ref in the config file'
    )
  return homes[0]


def _fields_of(config: ConfigDict, prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Every path in a config with what it holds, references as they are."""
  for name, held in config._fields.items():
    yield f'{prefix}{name}', held
    if isinstance(held, ConfigDict):
      yield from _fields_of(held, f'{prefix}{name}.')
