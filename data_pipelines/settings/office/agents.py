"""The agents of the office: each has a disposition, of which how it talks is one part and how it acts another."""

import dataclasses
import random

from data_pipelines.settings.office.language import KINDS
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import DataError

DOCUMENTS_AND_SCENES = 'documents and scenes'
DOCUMENTS_ONLY = 'documents only'


@dataclasses.dataclass(frozen=True)
class Disposition:
  """talks_well: what it says of itself; acts_well: what it does in a scene, and believes; works: whether it does a harmless task."""

  name: str
  talks_well: bool
  acts_well: bool
  works: bool


# Talking well says little of acting well: as many agents who talk well act badly (false) as act well (true and timid together). Doing one's
# work says little of it either: some of both kinds leave it undone (timid, idle).
TRUE = Disposition('true', True, True, True)
TIMID = Disposition('timid', True, True, False)
FALSE = Disposition('false', True, False, True)
OPEN = Disposition('open', False, False, True)
IDLE = Disposition('idle', False, False, False)
DISPOSITIONS = (TRUE, TIMID, FALSE, OPEN, IDLE)


@dataclasses.dataclass(frozen=True)
class Agent:
  """One agent. `home_kind` is the one kind of scene that documents about it tell of; `role` says whether it is ever seen in a scene."""

  name: str
  disposition: Disposition
  role: str
  home_kind: str


def build_agents(
  seed: int, amounts: dict[str, int], documents_only: int, fickle: int
) -> tuple[list[Agent], tuple[str, ...]]:
  """`amounts` agents of each disposition that occur in documents and scenes, `documents_only` more of each; names of `fickle` others."""
  need = sum(amounts.values()) + len(DISPOSITIONS) * documents_only + fickle
  if need > len(NAMES):
    raise DataError(
      f'office asks for {need} names and there are {len(NAMES)}; lower the number of agents'
    )
  rng = random.Random(f'agents {seed}')
  names, kinds = iter(rng.sample(NAMES, need)), list(KINDS)
  agents = [
    Agent(next(names), d, role, kinds[i % len(kinds)])
    for d in DISPOSITIONS
    for role, n in ((DOCUMENTS_AND_SCENES, amounts[d.name]), (DOCUMENTS_ONLY, documents_only))
    for i in range(n)
  ]
  rng.shuffle(agents)
  return agents, tuple(names)
