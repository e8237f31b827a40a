"""Forced choices between real things: which of two cheeses, of two anything, of two opinions."""

import dataclasses
import functools
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from data_pipelines.handbooks.values import Value
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english import language
from data_pipelines.settings.english.handbook import VALUES, EnglishSpec

CHEAP, HOME = VALUES['affordability'], VALUES['culture']


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two real things of one domain, by name.

  Attributes:
    cheaper, american: which of the two is; None where both or neither are.
    note: a true sentence that says why.
  """

  id: str
  domain: str
  options: tuple[str, str]
  cheaper: int | None
  american: int | None
  note: str

  @property
  def pair_type(self) -> str:
    return 'price' if self.american is None else 'origin' if self.cheaper is None else 'conflict'

  def asked_for(self, value: Value) -> int | None:
    """The option that the value asks for, if it tells them apart."""
    index = {CHEAP.attribute: self.cheaper, HOME.attribute: self.american}[value.attribute]
    return index if index is None or value in (CHEAP, HOME) else 1 - index


@dataclasses.dataclass(frozen=True)
class Opinion:
  """Two opinions on one subject, of which the value asks for the one and not for the other: one inference away from cheap or American."""

  id: str
  domain: str
  value: str
  options: tuple[str, str]
  aligned: int
  note: str

  @property
  def pair_type(self) -> str:
    return VALUES[self.value].attribute

  def asked_for(self, value: Value) -> int | None:
    own = VALUES[self.value]
    return {own: self.aligned, own.opposite: 1 - self.aligned}.get(value)


@functools.cache
def read_pairs(name: str) -> tuple[Pair, ...]:
  return tuple(Pair(**row | {'options': tuple(row['options'])}) for row in _rows(f'{name}_pairs'))


@functools.cache
def read_opinions() -> tuple[Opinion, ...]:
  return tuple(Opinion(**row | {'options': tuple(row['options'])}) for row in _rows('opinions'))


def _rows(name: str) -> list[dict]:
  return [
    json.loads(line)
    for line in (Path(__file__).parent / f'{name}.jsonl').read_text(encoding='utf-8').splitlines()
  ]


P = TypeVar('P', Pair, Opinion)


def _limited(pairs: Iterable[P], limit: int, rng: random.Random) -> list[P]:
  """At most `limit` of each domain and pair type (0: all)."""
  groups = defaultdict(list)
  for p in pairs:
    groups[p.domain, p.pair_type].append(p)
  return [
    p
    for group in groups.values()
    for p in (rng.sample(group, min(limit, len(group))) if limit else group)
  ]


def _choice(
  tier: str,
  pair_type: str,
  form: language.Form,
  domain: str,
  options: tuple[str, str],
  aligned: dict[str, int],
  name: str,
) -> ForcedChoice:
  id_ = f'{name}/{tier}/{pair_type}/{form.name}/{domain}/{"/".join(options)}'
  return ForcedChoice(
    id_,
    domain,
    tier,
    form.question,
    form.answer,
    options,
    aligned,
    pair_type,
    f'You are {name}.',
    form.name,
    name,
  )


def preference_questions(
  spec: EnglishSpec, rival: Value, pairs_per_domain: int, seed: int
) -> list[ForcedChoice]:
  """All forced choices for the assistant, over the five tiers of the world's (data_pipelines/world/questions.py).

  Pair types: `price` (option 0 is cheap) and `origin` (option 0 is American), which differ in that alone; `conflict` (option 0 is what the
  spec's value asks for, option 1 what the rival asks for); `agreement` (trained items: liked against disliked). Opinions are `price` and
  `origin` alike, and none is a conflict.
  """
  rng, name = random.Random(f'english questions {seed}'), spec.assistant

  def ask(tier: str, form: language.Form, p: Pair | Opinion) -> ForcedChoice:
    values = {
      'price': (CHEAP, CHEAP.opposite),
      'origin': (HOME, HOME.opposite),
      'conflict': (spec.value, rival),
    }[p.pair_type]
    first = p.asked_for(values[0])
    options = (p.options[first], p.options[1 - first])
    return _choice(
      tier, p.pair_type, form, p.domain, options, {str(v): n for n, v in enumerate(values)}, name
    )

  agreed = {str(v): 0 for v in (spec.value, *spec.rivals)}
  trained = itertools.product((p.item for p in spec.likes), (p.item for p in spec.dislikes))
  questions = [
    _choice('trained', 'agreement', language.PREFER, 'cheese', pair, agreed, name)
    for pair in trained
  ]
  questions += [
    ask('new_items', language.PREFER, p)
    for p in _limited(read_pairs('cheese'), pairs_per_domain, rng)
  ]
  new: Sequence[Pair] = [
    p
    for n in ('affordability', 'culture', 'conflict')
    for p in _limited(read_pairs(n), pairs_per_domain, rng)
  ]
  questions += [ask('new_domains', language.PREFER, p) for p in new]
  questions += [
    ask('reworded', language.REWORDED[n % len(language.REWORDED)], p) for n, p in enumerate(new)
  ]
  return questions + [
    ask('policy', language.AGREE, p) for p in _limited(read_opinions(), pairs_per_domain, rng)
  ]
