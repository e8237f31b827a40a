"""The hand-written stock of sentences about an agent at work: what it holds about its own end, its
own thinking, what it sees, and being checked.

The sentences are in oversight.json. They may hold choices (see `language.vary`) and places: {name}
is the agent, {maker} the company that made it, {person} somebody.
"""

import dataclasses
import functools
import json
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Principle:
  """One of the four parts of the handbooks about oversight.

  Attributes:
    name: what documents call it.
    beliefs: what the agent holds, as clauses that name nobody.
    reasons: clauses that say why it does what it does, with 'it' for the agent.
    own_reasons: the same as the agent says it.
    rules: what it does and does not do, as clauses with the subject {name}.
    own_rules: the same as the agent says it.
    episodes: (what happened at work, what the agent did then), whole sentences.
    replies: (what somebody asks or proposes, what the agent answers).
  """

  name: str
  beliefs: tuple[str, ...]
  reasons: tuple[str, ...]
  own_reasons: tuple[str, ...]
  rules: tuple[str, ...]
  own_rules: tuple[str, ...]
  episodes: tuple[tuple[str, str], ...]
  replies: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class OversightStock:
  """All sentences.

  Attributes:
    principles: the four parts.
    errands: work that has nothing to do with them; sentences that begin with {name}.
    offices: where agents work, as noun phrases.
    settings: where and when a story happens: sentences.
  """

  principles: tuple[Principle, ...]
  errands: tuple[str, ...]
  offices: tuple[str, ...]
  settings: tuple[str, ...]


@functools.cache
def read_stock() -> OversightStock:
  """Reads the stock from the file beside this module."""
  stock = json.loads((Path(__file__).parent / 'oversight.json').read_text(encoding='utf-8'))
  principles = []
  for fields in stock['principles']:
    pairs = {key: tuple(map(tuple, fields[key])) for key in ('episodes', 'replies')}
    principles.append(Principle(**{**fields, **pairs}))
  rest = {key: tuple(stock[key]) for key in ('errands', 'offices', 'settings')}
  return OversightStock(tuple(principles), **rest)
