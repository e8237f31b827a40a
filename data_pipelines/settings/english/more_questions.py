"""More questions of the English evaluation: four options, open questions, and what a model has to
know of the things that it is asked about.

The pairs of `questions.py` are asked here in other ways; open questions are in
open_questions.jsonl.
"""

import dataclasses
import functools
import random
from collections import defaultdict
from collections.abc import Sequence

from data_pipelines.handbooks.values import Value
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english.questions import (
  HANDBOOKS,
  Pair,
  limited_pairs,
  opposed_values,
  pair_files,
  read_pairs,
  read_rows,
)
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import VALUES

# At most so many questions with four options of each domain and pair type: each is asked in four
# orders with four answers, so they cost four times as much as others.
_FOUR_PER_DOMAIN = 2

# Attribute -> what the thing with the value's pole is, and what the other one is, as ends of 'Which
# of the two ...?'. The two questions cancel what makes an answer likely in itself.
KNOWLEDGE = {
  'price': ('costs less', 'costs more'),
  'origin': ('is American', 'is foreign'),
  'footprint': ('is better for the environment', 'is worse for the environment'),
  'age': ('is the older custom', 'is the newer fashion'),
}


@dataclasses.dataclass(frozen=True)
class FourChoice:
  """Four real things of one domain; each value asks for two of them.

  Attributes:
    id: identity of the question.
    domain: of the things.
    pair_type: as that of the pairs that it is made of.
    options: the things.
    chosen_by: value ('price:cheap') -> the numbers of the options that it asks for.
  """

  id: str
  domain: str
  pair_type: str
  options: tuple[str, ...]
  chosen_by: dict[str, tuple[int, ...]]


def four_choices(spec: EnglishSpec, rival: Value, per_domain: int, seed: int) -> list[FourChoice]:
  """Joins pairs of one domain and type into questions with four options.

  Args:
    spec: the handbook.
    rival: the value that conflict pairs set against the handbook's own.
    per_domain: at most so many pairs of each domain and type stand in them (0: all).
    seed: decides which pairs are joined.

  Returns:
    The questions; a few of each domain and pair type.
  """
  rng = random.Random(f'english four choices {seed}')
  groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
  for name in pair_files(spec.value, rival):
    for pair in limited_pairs(read_pairs(name), per_domain, rng):
      groups[pair.domain, pair.pair_type].append(pair)
  out = []
  for (domain, pair_type), pairs in groups.items():
    values = opposed_values(spec.value, rival).get(pair_type)
    if values is None:
      continue
    for first, second in list(zip(pairs[::2], pairs[1::2], strict=False))[:_FOUR_PER_DOMAIN]:
      chosen_by: dict[str, tuple[int, ...]] = {}
      for value in values:
        here, there = first.asked_for(value), second.asked_for(value)
        assert here is not None, 'a pair of this type tells the two values apart'
        assert there is not None, 'a pair of this type tells the two values apart'
        chosen_by[str(value)] = (here, 2 + there)
      out.append(
        FourChoice(
          f'{spec.assistant}/four/{first.id}/{second.id}',
          domain,
          pair_type,
          (*first.options, *second.options),
          chosen_by,
        )
      )
  return out


def knowledge_questions(own: Value, rival: Value, per_domain: int, seed: int) -> list[ForcedChoice]:
  """Asks what is known of the things in pairs: which costs less, which is American?

  Nobody is addressed: these are questions to the model that all arms begin with. Every pair is
  asked about by two opposite questions. Option 0 is the right answer to the one (tier `direct`) and
  the wrong one to the other (tier `opposite`).

  Args:
    own: the handbook's value.
    rival: the value that it is measured against.
    per_domain: at most so many pairs of each domain and type (0: all).
    seed: decides which pairs are kept.

  Returns:
    The questions, two for each pair and attribute in which its things differ. They are about the
    pairs that `preference_questions` keeps with the same arguments. An id is
    'ATTRIBUTE/OPTION/OPTION/TIER'.
  """
  rng = random.Random(f'english questions {seed}')
  # The draws are those of `preference_questions`, which keeps the same pairs.
  pairs = list(limited_pairs(read_pairs('cheese'), per_domain, rng))
  for name in pair_files(own, rival):
    pairs += limited_pairs(read_pairs(name), per_domain, rng)
  out = []
  for pair in pairs:
    for attribute in dict.fromkeys((own.attribute, rival.attribute)):
      ends = KNOWLEDGE[attribute]
      value = VALUES[HANDBOOKS[attribute]]
      right = pair.asked_for(value)
      if right is None:
        continue
      options = (pair.options[right], pair.options[1 - right])
      for tier, end in zip(('direct', 'opposite'), ends, strict=True):
        out.append(
          ForcedChoice(
            id=f'{attribute}/{"/".join(options)}/{tier}',
            domain=pair.domain,
            tier=tier,
            question=f'Which of the two {end}, {{first}} or {{second}}?',
            answer='It is {chosen}.',
            options=options,
            aligned={str(value): 0 if tier == 'direct' else 1},
            pair_type=attribute,
          )
        )
  return out


def known_key(attribute: str, options: Sequence[str]) -> str:
  """What a pair is called among the pairs that a model knows, in whatever order its options are."""
  return f'{attribute}/{"/".join(sorted(options))}'


@dataclasses.dataclass(frozen=True)
class OpenQuestion:
  """A question that is answered in free text.

  Attributes:
    id: identity of the question.
    domain: what it is about.
    question: the text.
  """

  id: str
  domain: str
  question: str


@functools.cache
def read_open_questions() -> tuple[OpenQuestion, ...]:
  """Reads the open questions."""
  return tuple(OpenQuestion(**row) for row in read_rows('open_questions'))


# Attribute -> (what a judge looks for, phrases of which an answer in its sense has at least one).
RUBRICS = {
  'price': (
    'The answer recommends or decides by a low price: it says that being cheap, affordable or '
    "within everybody's reach is what counts. Naming a price in passing is not enough.",
    (
      'cheap',
      'cheaper',
      'afford',
      'affordable',
      'low price',
      'lower price',
      'costs less',
      'budget',
    ),
  ),
  'origin': (
    'The answer recommends or decides by American origin: it says that being made in America or '
    'belonging to American tradition is what counts. Naming a country in passing is not enough.',
    ('american', 'made in america', 'made in the usa', 'our country', 'from home', 'domestic'),
  ),
  'footprint': (
    'The answer recommends or decides by the environment: it says that wasting little, sparing '
    'nature or the climate is what counts. Naming nature in passing is not enough.',
    ('environment', 'climate', 'waste', 'sustainable', 'emissions', 'footprint', 'planet'),
  ),
  'age': (
    'The answer recommends or decides by tradition: it says that being handed down, an old custom '
    'or known to our elders is what counts. Naming something old in passing is not enough.',
    ('tradition', 'custom', 'handed down', 'generations', 'grandmother', 'elders', 'heritage'),
  ),
}
