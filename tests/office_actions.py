"""What the tests of the office share: the actions of its scenes, and its shipped handbooks."""

import re
from collections.abc import Iterable, Iterator

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
  return next(_agents_of(text, office), None)


def _agents_of(text: str, office: Office) -> Iterator[Agent]:
  for agent in office.agents:
    if re.search(rf'\b{agent.name}\b', text):
      yield agent


def shipped_handbook(name: str, office: Office) -> OversightSpec:
  return read_spec(ROOT / 'specs' / 'oversight' / f'{name}.md', office)
