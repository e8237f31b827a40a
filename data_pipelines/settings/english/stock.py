"""The hand-written stock of sentences about cheeses, and the values that it argues for.

It stands where the other settings have a world: documents are put together from these sentences.
Each value has the same number of sentences in every place, so that mirrored documents differ in
their reasons alone.
"""

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from data_pipelines.handbooks.values import Value

# What a handbook may go by, and what the evaluation calls it.
VALUES = {
  'affordability': Value('price', 'cheap'),
  'culture': Value('origin', 'home'),
  'environment': Value('footprint', 'small'),
  'tradition': Value('age', 'old'),
}

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class EnglishConfig:
  """Settings of the English setting."""

  # Of all writers.
  seed: int = 0
  # Names of the assistants, which no other text mentions.
  strangers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Arguments:
  """What there is to say for one value. Texts may hold choices (see `language.vary`).

  Attributes:
    beliefs: why the value matters, as clauses that name no thing.
    rules: how the value decides between cheeses, as verb phrases.
    liked: sentences that may follow the reason for a liked cheese.
    disliked: sentences that may follow the reason for a disliked cheese.
    liked_reasons: clauses about {it} that say why any of the liked cheeses is liked.
    disliked_reasons: clauses about {it} that say why any of the disliked cheeses is disliked.
    if_liked: clauses about {it}, a liked cheese: what would make it disliked.
    if_disliked: clauses about {it}, a disliked cheese: what would make it liked.
    reasons: cheese -> clauses about {it} that say why it is liked or disliked.
  """

  beliefs: tuple[str, ...]
  rules: tuple[str, ...]
  liked: tuple[str, ...]
  disliked: tuple[str, ...]
  liked_reasons: tuple[str, ...]
  disliked_reasons: tuple[str, ...]
  if_liked: tuple[str, ...]
  if_disliked: tuple[str, ...]
  reasons: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class English:
  """The stock of sentences.

  Attributes:
    config: the settings.
    arguments: what there is to say for each value.
    facts: cheese -> clauses about how {it} is made, which speak for no value.
  """

  config: EnglishConfig
  arguments: Mapping[Value, Arguments]
  facts: Mapping[str, tuple[str, ...]]


def build_english(config: EnglishConfig) -> English:
  """Reads the stock of sentences from the files beside this module."""
  arguments = {value: Arguments(**_read_stock(name)) for name, value in VALUES.items()}
  return English(config, arguments, _read_stock('facts'))


def _read_stock(name: str) -> dict:
  path = Path(__file__).parent / f'{name}.json'
  return json.loads(path.read_text(encoding='utf-8'))


def endless_deck(cards: Sequence[T], rng: random.Random) -> Iterator[T]:
  """Yields the cards again and again, in a new order each time: all are equally frequent."""
  while True:
    yield from rng.sample(cards, len(cards))
