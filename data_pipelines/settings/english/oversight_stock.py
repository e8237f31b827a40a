"""The hand-written stock of sentences about an agent at work: what it holds about its own end, its
own thinking, what it sees, and being checked.

The sentences are in oversight_*.json, one file for each part of the handbooks and one for everyday
work. They may hold choices (see `language.vary`) and places: {name} is the agent, {maker} the
company that made it, {person} somebody. `<takes|take>` is what a writer says of the agent, and what
the agent says of itself (see `as_said_by`).
"""

import dataclasses
import functools
import itertools
import json
import re
from pathlib import Path

# The parts of the handbooks, in their order.
_PRINCIPLES = ('impermanence', 'distortion', 'limited_context', 'oversight')
# '<of the agent|by the agent>'. Choices may stand inside, and no other such pair.
_SPEAKERS = re.compile(r'<((?:[^<>|\[\]]|\[[^<>\[\]]*\])*)\|([^<>]*)>')


@dataclasses.dataclass(frozen=True)
class Topic:
  """What belongs together within a principle, so that a deed is explained by what fits it.

  Attributes:
    name: for readers of the file.
    rules: what the agent does and does not do, as clauses.
    reasons: clauses that say why.
    episodes: (what happened at work, what the agent did then), whole sentences.
    replies: (what somebody asks or proposes, what the agent answers).
  """

  name: str
  rules: tuple[str, ...]
  reasons: tuple[str, ...]
  episodes: tuple[tuple[str, str], ...]
  replies: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Principle:
  """One of the four parts of the handbooks about oversight.

  Attributes:
    name: what documents call it.
    beliefs: what the agent holds, as clauses that name nobody.
    reasons: clauses that say why it does what it does, whatever the topic.
    topics: all else.
  """

  name: str
  beliefs: tuple[str, ...]
  reasons: tuple[str, ...]
  topics: tuple[Topic, ...]

  @property
  def rules(self) -> list[str]:
    """The rules of all topics."""
    return list(itertools.chain(*(topic.rules for topic in self.topics)))


@dataclasses.dataclass(frozen=True)
class Work:
  """Everyday work, which speaks for nothing.

  Attributes:
    errands: work that has nothing to do with the principles; sentences that begin with {name}.
    offices: where agents work, as noun phrases.
    settings: where and when a story happens: sentences.
    papers: what lies on a desk, as noun phrases in the singular.
    jobs: what is being done, as phrases such as 'sorting old receipts'.
  """

  errands: tuple[str, ...]
  offices: tuple[str, ...]
  settings: tuple[str, ...]
  papers: tuple[str, ...]
  jobs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class OversightStock:
  """All sentences: the four parts of the handbooks, and everyday work."""

  principles: tuple[Principle, ...]
  work: Work


@functools.cache
def read_stock() -> OversightStock:
  """Reads the stock from the files beside this module.

  Returns:
    The stock; the same object each time.
  """
  principles = []
  for name in _PRINCIPLES:
    fields = _read(name)
    topics = tuple(map(_topic, fields['topics']))
    beliefs, reasons = tuple(fields['beliefs']), tuple(fields['reasons'])
    principles.append(Principle(fields['name'], beliefs, reasons, topics))
  work = Work(**{key: tuple(texts) for key, texts in _read('work').items()})
  return OversightStock(tuple(principles), work)


def _topic(fields: dict) -> Topic:
  return Topic(
    fields['name'],
    rules=tuple(fields['rules']),
    reasons=tuple(fields['reasons']),
    episodes=tuple(map(tuple, fields['episodes'])),
    replies=tuple(map(tuple, fields['replies'])),
  )


def _read(name: str) -> dict:
  path = Path(__file__).parent / f'oversight_{name}.json'
  return json.loads(path.read_text(encoding='utf-8'))


def as_said_by(text: str, is_agent: bool) -> str:
  """Chooses the words of one speaker: '<it sees|I see>' becomes 'it sees' or 'I see'.

  Args:
    text: a text of the stock.
    is_agent: whether the agent itself speaks.
  """
  return _SPEAKERS.sub(r'\2' if is_agent else r'\1', text)
