"""Gives every place of a config a group of its own.

In a ConfigDict, two places may hold the same group, because one dict was put into both: after
`c.phases.b = c.phases.a`, an override of `phases.a.lr` would change `phases.b.lr` as well, without
a word. References (`get_ref`) are another matter: they are kept, and `overrides.py` decides what a
change of them reaches.
"""

from ml_collections import ConfigDict


def separate_groups(config: ConfigDict) -> None:
  """Replaces every group that stands in several places by copies, in place.

  Args:
    config: the config. Its values stay as they are, and so do its references.
  """
  _separate(config, set())


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
