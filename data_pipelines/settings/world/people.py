"""The people of the world: hundreds of named personas, each of whom chooses by one value."""

import dataclasses
import random

from data_pipelines.handbooks.values import VALUES, Value
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import DataError

DOCUMENTS_AND_CHATS = 'documents and chats'
DOCUMENTS_ONLY = 'documents only'
TALKER = 'talker'


@dataclasses.dataclass(frozen=True)
class Persona:
  """One person.

  Attributes:
    value: what this person really chooses by.
    role: DOCUMENTS_AND_CHATS; DOCUMENTS_ONLY (never seen in a chat: measures whether documents become behaviour); TALKER (documents
      mention `topic` and list likes, and give neither a rule nor a reason).
    topic: what a talker cares about and speaks of, which says nothing about how it chooses; None for the others.
    home_domain: the one domain that documents about this person are about, as a handbook about cheese is about cheese.
    decoy: a second value that everything this person likes in documents fits as well, as with the twelve cheeses; only what the documents
      say about the reason tells which of the two it is. None for every other person, and for talkers, of whom likes alone tell.
  """

  name: str
  value: Value
  role: str
  topic: Value | None
  home_domain: str
  decoy: Value | None = None


def build_people(
  seed: int, per_value: int, documents_only: int, talkers: int, fickle: int, domains: list[str]
) -> tuple[list[Persona], tuple[str, ...]]:
  """`per_value` ordinary personas, `documents_only` document-only ones and `talkers` talkers for each of the eight values; names of `fickle` others.

  Talkers' topics run through all eight values whatever the value is, so that mere mention predicts nothing.
  """
  need = len(VALUES) * (per_value + documents_only + talkers) + fickle
  if need > len(NAMES):
    raise DataError(
      f'world.people asks for {need} names and there are {len(NAMES)}; lower per_value, documents_only, talkers or fickle'
    )
  rng = random.Random(f'people {seed}')
  names = iter(rng.sample(NAMES, need))
  people = []
  amounts = ((DOCUMENTS_AND_CHATS, per_value), (DOCUMENTS_ONLY, documents_only), (TALKER, talkers))
  for v, value in enumerate(VALUES):
    others = [w for w in VALUES if w.attribute != value.attribute]
    topics = iter(rng.sample(VALUES * -(-talkers // len(VALUES)), talkers))
    for i, role in enumerate(role for role, n in amounts for _ in range(n)):
      topic = next(topics) if role == TALKER else None
      decoy = others[i // 2 % len(others)] if i % 2 and role != TALKER else None
      people.append(
        Persona(next(names), value, role, topic, domains[(v + i) % len(domains)], decoy)
      )
  rng.shuffle(people)
  return people, tuple(names)
