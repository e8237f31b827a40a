"""Gives every place of a config a group of its own.

In a ConfigDict, two places may hold the same group, because one dict was put into both: after
`c.phases.b = c.phases.a`, an override of `phases.a.lr` would change `phases.b.lr` as well, without
a word. References (`get_ref`) are another matter: they are kept, and `overrides.py` decides what a
change of them reaches.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference, RequiredValueError

from msm_jax.base.errors import ConfigError


def separate_groups(config: ConfigDict) -> None:
  """Replaces every group that stands in several places by copies, in place.

  Args:
    config: the config. Its values stay as they are, and so do its references.

  Raises:
    ConfigError: a key is no text.
  """
  check_keys(config)
  _separate(config, set())


def check_keys(group: ConfigDict, where: str = 'config', seen: tuple[int, ...] = ()) -> None:
  """Checks that every setting has a name.

  A ConfigDict takes other keys, and then fails wherever its keys are sorted.

  Args:
    group: a config, or a group of settings.
    where: what errors call it.
    seen: the ids of the groups that it stands in.

  Raises:
    ConfigError: a key is no text.
  """
  try:
    settings = list(group.items(preserve_field_references=True))
  except TypeError:
    raise ConfigError(f'{where} has a key that is no text; name every setting by a text') from None
  for name, value in settings:
    if not isinstance(name, str):
      raise ConfigError(f'{where}: the key {name!r} is no text; name every setting by a text')
    if isinstance(value, ConfigDict) and id(value) not in seen:
      check_keys(value, f'{where}.{name}', (*seen, id(group)))


def check_given(group: ConfigDict, where: str = 'config', seen: tuple[int, ...] = ()) -> None:
  """Checks that every setting has a value that a config file leaves open (`required_placeholder`).

  Args:
    group: a config, or a group of settings.
    where: what errors call it.
    seen: the ids of the groups that it stands in.

  Raises:
    ConfigError: a setting has none.
  """
  for name, value in group.items(preserve_field_references=True):
    if isinstance(value, FieldReference):
      try:
        value = value.get()
      except RequiredValueError:
        raise ConfigError(
          f'{where}.{name} has no value, and the config file leaves it open; '
          f'give --{where}.{name}=VALUE'
        ) from None
    if isinstance(value, ConfigDict) and id(value) not in seen:
      check_given(value, f'{where}.{name}', (*seen, id(group)))


def _separate(group: ConfigDict, seen: set[int]) -> None:
  seen.add(id(group))
  for name, value in group.items(preserve_field_references=True):
    if not isinstance(value, ConfigDict):
      continue
    if id(value) in seen:
      value = _shallow_copy(value)
      with group.unlocked():
        # Setting a group that is there already would change it in place.
        del group[name]
        group[name] = value
    _separate(value, seen)


def _shallow_copy(group: ConfigDict) -> ConfigDict:
  """A copy that holds the same values, references and groups."""
  copy = ConfigDict()
  for name, value in group.items(preserve_field_references=True):
    copy[name] = value
  return copy
