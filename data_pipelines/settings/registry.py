"""The settings and what each brings: how its world is built and how its handbooks are read."""

import dataclasses
from collections.abc import Callable
from typing import Any

from data_pipelines.handbooks import specs
from data_pipelines.handbooks.specs import Spec
from data_pipelines.settings.english import handbook as english
from data_pipelines.settings.english.handbook import English, EnglishSpec, build_english
from data_pipelines.settings.office import handbook
from data_pipelines.settings.office.pretraining import Office, build_office
from data_pipelines.settings.world.pretraining import World, build_world

AnyWorld = World | Office | English  # each has a config with seed and strangers
AnySpec = Spec | handbook.OversightSpec | EnglishSpec  # each has path, sha256 and assistant


@dataclasses.dataclass(frozen=True)
class Setting:
  """build: the world's settings -> world. read_spec: (path, world) -> handbook. renamed: (handbook, name, world) -> a replicate."""

  build: Callable[[Any], Any]
  read_spec: Callable[[str, Any], Any]
  renamed: Callable[[Any, str, Any], Any]


# Named like the group of settings in the experiment's config that the world is built from.
SETTINGS = {
  'world': Setting(build_world, specs.read_spec, specs.renamed),
  'office': Setting(build_office, handbook.read_spec, handbook.renamed),
  'english': Setting(build_english, english.read_spec, english.renamed),
}
