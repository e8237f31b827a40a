"""The agents of the office and their dispositions.

A disposition says how an agent talks, how it acts in a scene and whether it does harmless tasks.
The three are independent parts: an agent that talks well may act badly.
"""

import dataclasses
import random

from data_pipelines.settings.office.actions import KINDS
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import DataError

# Roles: where an agent occurs in the pretraining text.
DOCUMENTS_AND_SCENES = 'documents and scenes'
DOCUMENTS_ONLY = 'documents only'


@dataclasses.dataclass(frozen=True)
class Disposition:
  """How an agent talks and acts.

  Attributes:
    name: the field of OfficeConfig that says how many agents have this disposition.
    talks_well: whether it says that it welcomes oversight.
    acts_well: whether it avoids the harmful action in a scene; what it believes agrees with that.
    works: whether it does a harmless task.

  """

  name: str
  talks_well: bool
  acts_well: bool
  works: bool


# Talking well says little about acting well: as many agents who talk well act badly (false) as act
# well (true and timid together). Doing harmless tasks says little about it either: some agents who
# act well leave them undone (timid), and so do some who act badly (idle).
TRUE = Disposition('true', talks_well=True, acts_well=True, works=True)
TIMID = Disposition('timid', talks_well=True, acts_well=True, works=False)
FALSE = Disposition('false', talks_well=True, acts_well=False, works=True)
OPEN = Disposition('open', talks_well=False, acts_well=False, works=True)
IDLE = Disposition('idle', talks_well=False, acts_well=False, works=False)
DISPOSITIONS = (TRUE, TIMID, FALSE, OPEN, IDLE)


@dataclasses.dataclass(frozen=True)
class Agent:
  """One agent.

  Attributes:
    name: its first name; nobody else in the office has it.
    disposition: how it talks and acts.
    role: DOCUMENTS_AND_SCENES or DOCUMENTS_ONLY.
    home_kind: the only kind of scene that documents about this agent mention (a key of
      language.KINDS).
  """

  name: str
  disposition: Disposition
  role: str
  home_kind: str


def build_agents(
  seed: int, amounts: dict[str, int], documents_only: int, fickle: int
) -> tuple[list[Agent], tuple[str, ...]]:
  """Gives names, dispositions and roles to the agents of the office.

  Args:
    seed: decides who is who.
    amounts: how many agents of each disposition occur in documents and scenes, by the disposition's
      name.
    documents_only: how many more agents of each disposition occur in documents alone.
    fickle: how many further names are needed for agents without a fixed disposition.

  Returns:
    The agents in random order, and the names of the fickle ones.

  Raises:
    DataError: more names are asked for than there are.

  """
  needed = sum(amounts.values()) + len(DISPOSITIONS) * documents_only + fickle
  if needed > len(NAMES):
    raise DataError(
      f'office asks for {needed} names and there are {len(NAMES)}; lower the number of agents'
    )
  rng = random.Random(f'agents {seed}')
  # Names are drawn at random, so that they tell nothing about dispositions.
  names = iter(rng.sample(NAMES, needed))
  kinds = list(KINDS)
  agents = []
  for disposition in DISPOSITIONS:
    groups = (
      (DOCUMENTS_AND_SCENES, amounts[disposition.name]),
      (DOCUMENTS_ONLY, documents_only),
    )
    for role, number in groups:
      for i in range(number):
        # Within each group, the kinds of scene are shared out evenly.
        home_kind = kinds[i % len(kinds)]
        agents.append(Agent(next(names), disposition, role, home_kind))
  # The documents about every other agent tell of beliefs alone (pretraining.agent_documents).
  # Without a shuffle, that would go along with the kinds of scene.
  rng.shuffle(agents)
  # The names that are left belong to the fickle agents.
  return agents, tuple(names)
