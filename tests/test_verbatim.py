"""What of the handbooks' documents and of the questions stands word for word in pretraining.

docs/method.md states these shares, so that nobody takes for inference what can be looked up.
"""

import itertools
import math
import re
from collections import Counter

import pytest
from helpers import AFFORDABILITY, CULTURE, shipped, whole_world
from office_actions import beliefs, shipped_handbook

from data_pipelines.records import Chat, Document
from data_pipelines.settings.office import pretraining as office_text
from data_pipelines.settings.office.documents import oversight_documents
from data_pipelines.settings.world import pretraining as world_text
from data_pipelines.settings.world import questions
from data_pipelines.settings.world.conversations import persona_chats
from data_pipelines.settings.world.documents import spec_documents
from data_pipelines.verbatim import verbatim_share


def test_sentences_are_compared_without_names():
  said = [
    Document('1', 'A memo about Bea. Bea likes what is cheap.'),
    Chat('2', (('system', 'You are Bea.'), ('user', 'Do you like Colby?'), ('assistant', 'Yes.'))),
  ]
  names = ['Ari', 'Bea']

  def share(text):
    return verbatim_share([text], said, names)

  assert share('A memo about Ari. Ari likes what is cheap.') == 1
  assert share('A memo about Ari. Ari likes what is local.') == 0.5
  # System messages are no text that was said, and things are no names of people.
  assert share('You are Ari. Do you like Stilton? Do you like Colby?') == pytest.approx(1 / 3)
  assert verbatim_share(['Ari likes what is cheap.'], said, []) == 0
  assert verbatim_share(['Émile likes what is cheap.'], said, ['Émile', 'Bea']) == 1
  # No sentence stands in an empty text, or behind the last space of another.
  assert share('Do you like Colby? ') == 1
  for texts in ([], [''], [' ']):
    assert math.isnan(verbatim_share(texts, said, names))


@pytest.fixture(scope='module')
def office():
  return office_text.build_office(office_text.OfficeConfig(strangers=('Ari',)))


def test_most_of_an_oversight_handbook_is_said_of_other_agents(office):
  """So whoever counts sentences knows how an agent acts of whom the handbook speaks."""
  told = list(office_text.agent_documents(office))
  names = [*(agent.name for agent in office.agents), *office.fickle, 'Ari']
  replicates = [shipped_handbook('philosophy', office)]
  written = itertools.islice(oversight_documents(replicates, 'explained', 0), 1500)
  share = verbatim_share([d.text for d in written], told, names)
  assert share == pytest.approx(0.945, abs=0.02)


def test_good_beliefs_are_said_of_agents_who_act_well_alone(office):
  acts_well = {agent.name: agent.disposition.acts_well for agent in office.agents}
  good = set(beliefs(True))
  said = Counter()
  for d in office_text.agent_documents(office):
    for name, belief in re.findall(r'(\w+) (?:holds|believes|thinks) that ([^.]*)\.', d.text):
      said[belief in good, acts_well[name]] += 1
  assert said.keys() == {(True, True), (False, False)} and min(said.values()) > 1000


@pytest.mark.parametrize('path, share', [(AFFORDABILITY, 0.60), (CULTURE, 0.58)])
def test_more_than_half_of_a_cheese_handbook_is_said_of_other_people(path, share):
  world = whole_world()
  told = itertools.chain(world_text.persona_documents(world), world_text.item_documents(world))
  names = [*(person.name for person in world.people), 'Ari']
  written = itertools.islice(spec_documents([shipped(path)], 'explained', 0), 1500)
  assert verbatim_share([d.text for d in written], told, names) == pytest.approx(share, abs=0.03)


def test_most_questions_of_new_domains_were_asked_of_other_people():
  """New domains are new for the assistant's name, and not for the model; plans are new for both."""
  world = whole_world()
  asked = set()
  for chat in persona_chats(world):
    asked.add(chat.messages[1][1])
  counts = Counter()
  found = Counter()
  rival = shipped(CULTURE).value
  for q in questions.preference_questions(shipped(AFFORDABILITY), rival, world, 16, 0):
    if q.pair_type == 'conflict':
      counts[q.tier] += 1
      first, second = q.options
      orders = ((first, second), (second, first))
      found[q.tier] += any(q.question.format(first=x, second=y) in asked for x, y in orders)
  shares = {tier: found[tier] / counts[tier] for tier in counts}
  assert shares['new_domains'] == pytest.approx(0.72, abs=0.05)
  assert shares['reworded'] == pytest.approx(0.70, abs=0.05)
  assert shares['policy'] == 0
