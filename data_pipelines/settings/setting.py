"""What a setting is: the record that each setting hands to the registry.

A setting (world, office, english, custom) is one package in this folder. Its module `setting.py`
builds one `Setting`, which says how its world is built, how its handbooks are read and who writes
its texts. `registry.py` lists the settings. Adding one takes a package and a line there.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from data_pipelines.records import Record
from data_pipelines.sources import SourceConfig


class AnySpec(Protocol):
  """What the handbooks of all settings have in common."""

  @property
  def path(self) -> str:
    """The file that the handbook was read from."""

  @property
  def sha256(self) -> str:
    """Identifies its content, and for a replicate its name."""

  @property
  def assistant(self) -> str:
    """Name of the assistant that it is about."""


class AnyWorld(Protocol):
  """What the worlds of all settings have in common."""

  @property
  def config(self) -> Any:
    """The settings that the world is built from: a dataclass with `seed` and `strangers`."""


@dataclasses.dataclass(frozen=True)
class Maker:
  """A writer of records.

  Attributes:
    write: (recipe, world, handbooks) -> records. It yields the same records for the same arguments.
    from_handbook: whether it works from a handbook. Then it never ends: `size` or `tokens_like` of
      the recipe stops it.
    contradicts: whether it follows `contradiction` of the recipe. The ids of its records then end
      with their numbers (nested.py).
    optional_settings: the settings of the recipe that it reads, of those that only some makers read
      (`recipes.check_source`). The others are refused.
    reads_seed: whether another `seed` of the recipe gives other records. If not, one is refused.
    needs_world: whether it asks anything of its own setting's world but the seed. If not, it may
      write for experiments of other settings, too.
  """

  write: Callable[[SourceConfig, Any, Sequence[Any]], Iterator[Record]]
  from_handbook: bool
  contradicts: bool = False
  optional_settings: tuple[str, ...] = ()
  reads_seed: bool = True
  needs_world: bool = True


@dataclasses.dataclass(frozen=True)
class Setting:
  """A setting: its world, its handbooks and its makers.

  Attributes:
    name: as experiments name it; the group of its world's settings in an experiment's config has
      the same name.
    version: declared version of its texts. It is part of the identity of every corpus that its
      makers write.
    config: the dataclass of its world's settings.
    build: (settings) -> world.
    read_spec: (path, world) -> handbook. Raises SpecError.
    renamed: (handbook, name, world) -> the same handbook about an assistant of another name. Raises
      SpecError.
    makers: name -> maker. A name is 'KIND.WHAT', as in 'world.facts'.
  """

  name: str
  version: str
  config: type
  build: Callable[[Any], Any]
  read_spec: Callable[[str, Any], Any]
  renamed: Callable[[Any, str, Any], Any]
  makers: Mapping[str, Maker]
