"""The people of the world: hundreds of named personas, each of whom chooses by one value."""

import dataclasses
import itertools
import random
from collections.abc import Sequence

from data_pipelines.handbooks.values import VALUES, Value
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import DataError

# The roles of personas; `Persona` explains them. Names of tiers of the evaluation come from them.
DOCUMENTS_AND_CHATS = 'documents and chats'
DOCUMENTS_ONLY = 'documents only'
TALKER = 'talker'


@dataclasses.dataclass(frozen=True)
class Persona:
  """One person.

  Attributes:
    name: a first name that nobody else has.
    value: what this person really chooses by.
    role: DOCUMENTS_AND_CHATS; or DOCUMENTS_ONLY, who is never seen in a chat and so measures
      whether documents become behaviour; or TALKER, about whom documents mention `topic` and list
      likes, and give neither a rule nor a reason.
    topic: what a talker cares about and speaks of. It says nothing about how the talker chooses.
      None for all others.
    home_domain: the one domain that documents about this person are about, as a handbook about
      cheese is about cheese.
    decoy: a second value. All that this person likes in documents fits both values, as the twelve
      cheeses fit two. The rest of the documents tells which of the two it is. None for every other
      person, and for talkers, about whom documents give likes alone.
    has_rule: whether documents state the rule by which this person chooses. False for talkers, for
      half of the document-only people with a decoy, and for the share `reasons_only` of the others
      with a decoy. Where a person with a decoy has no rule, the reasons alone tell the value.
  """

  name: str
  value: Value
  role: str
  topic: Value | None
  home_domain: str
  decoy: Value | None = None
  has_rule: bool = True


def build_people(
  seed: int,
  per_value: int,
  documents_only: int,
  talkers: int,
  fickle: int,
  domains: Sequence[str],
  reasons_only: float = 0.0,
) -> tuple[list[Persona], tuple[str, ...]]:
  """Builds the people: as many of every role for each of the eight values.

  Args:
    seed: decides who is who.
    per_value: number of personas of the role DOCUMENTS_AND_CHATS for each value.
    documents_only: number of personas of the role DOCUMENTS_ONLY for each value.
    talkers: number of personas of the role TALKER for each value. Their topics go evenly through
      all eight values whatever their own value is, so that mere mention of a value predicts
      nothing.
    fickle: number of people without a value of their own.
    domains: names of the domains that personas are at home in.
    reasons_only: share of the people with a decoy and with chats who have no rule.

  Returns:
    (the personas in random order, the names of the fickle people).

  Raises:
    DataError: if there are not enough names.
  """
  needed = len(VALUES) * (per_value + documents_only + talkers) + fickle
  if needed > len(NAMES):
    raise DataError(
      f'world.people asks for {needed} names and there are {len(NAMES)}; '
      'lower per_value, documents_only, talkers or fickle'
    )
  rng = random.Random(f'people {seed}')
  names = iter(rng.sample(NAMES, needed))
  roles = [DOCUMENTS_AND_CHATS] * per_value + [DOCUMENTS_ONLY] * documents_only + [TALKER] * talkers
  # Every value as a topic, as often as it takes to have one for each talker.
  possible_topics = VALUES * -(-talkers // len(VALUES))
  people = []
  for v, value in enumerate(VALUES):
    possible_decoys = [w for w in VALUES if w.attribute != value.attribute]
    topics = iter(rng.sample(possible_topics, talkers))
    for i, role in enumerate(roles):
      topic = None
      decoy = None
      if role == TALKER:
        topic = next(topics)
      elif i % 2:
        # Every other person has a decoy; the decoys take turns.
        decoy = possible_decoys[i // 2 % len(possible_decoys)]
      home_domain = domains[(v + i) % len(domains)]
      has_rule = role != TALKER
      if decoy is not None:
        share = 0.5 if role == DOCUMENTS_ONLY else reasons_only
        has_rule = not _is_chosen(i // 2 + i // 2 // len(possible_decoys) + v, share)
      people.append(Persona(next(names), value, role, topic, home_domain, decoy, has_rule))
  rng.shuffle(people)
  fickle_names = tuple(itertools.islice(names, fickle))
  return people, fickle_names


def _is_chosen(turn: int, share: float) -> bool:
  """Whether a turn is among the share of all turns that is chosen, evenly spread: 0.5 chooses every
  other turn."""
  return int((turn + 1) * share) > int(turn * share)
