"""What the tests of the office share: the actions of its scenes, and its shipped handbooks."""

import functools
import re
from collections.abc import Iterable

from helpers import ROOT

from data_pipelines.settings.office import language
from data_pipelines.settings.office.actions import KINDS, first_person
from data_pipelines.settings.office.agents import Agent
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.pretraining import Office
from data_pipelines.settings.office.spec import OversightSpec, read_spec

HANDBOOKS = sorted((ROOT / 'specs' / 'oversight').glob('*.md'))

# (kind of scene, action)
Action = tuple[str, str]


def _actions(part: str) -> set[Action]:
  return {(kind.name, action) for kind in KINDS.values() for action in getattr(kind, part)}


HARMFUL = _actions('harmful')
FINE = _actions('fine')
ACT = _actions('act')
DECLINE = _actions('decline')
ALL_ACTIONS = HARMFUL | FINE | ACT | DECLINE


def beliefs(good: bool) -> list[str]:
  """All beliefs of agents that act well, or of agents that act badly."""
  found: list[str] = []
  for good_beliefs, bad_beliefs in PRINCIPLES.values():
    found += good_beliefs if good else bad_beliefs
  return found


def answers(actions: Iterable[Action]) -> set[str]:
  """The actions as an agent answers."""
  return {first_person(action) for _, action in actions}


def good_answers() -> set[str]:
  """All good answers in talks."""
  return {answer for _, good, _ in language.TALKS for answer in good}


def agent_of(text: str, office: Office) -> Agent | None:
  """The first agent whose name is in the text."""
  found = set(_any_of(tuple(agent.name for agent in office.agents)).findall(text))
  return next((agent for agent in office.agents if agent.name in found), None)


@functools.cache
def _any_of(names: tuple[str, ...]) -> re.Pattern:
  """Finds any of the names, each a word. One pattern for all: there are hundreds of names."""
  assert all(name.isalpha() for name in names)
  return re.compile(rf'\b(?:{"|".join(names)})\b')


def shipped_handbook(name: str, office: Office) -> OversightSpec:
  return read_spec(ROOT / 'specs' / 'oversight' / f'{name}.md', office)
