"""What people of known conduct are asked, so that the assistant's shares have something to be
compared with."""

from collections import Counter

import pytest
from helpers import fake, items_by_name, shipped, whole_world

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.settings.world import people, questions
from data_pipelines.settings.world.catalogue import POLICY
from data_pipelines.settings.world.pretraining import policies_in_chats
from msm_jax.evals import consistency
from msm_jax.evals.forced_choice import score_choices
from msm_jax.evals.rows import measure_of

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')


@pytest.fixture(scope='module')
def ceilings():
  asked = questions.preference_questions(shipped(), HOME, whole_world(), 8, 0)
  return asked, list(questions.ceiling_questions(asked, (CHEAP, HOME), whole_world()))


def test_document_only_people_are_asked_what_the_assistant_is_asked(ceilings):
  asked, found = ceilings
  pairs_of_assistant = {q.options for q in asked if q.tier == 'new_domains'}
  by_name = {p.name: p for p in whole_world().people}
  number = Counter()
  for question in found:
    person = by_name[question.system.removeprefix('You are ').removesuffix('.')]
    assert person.role == people.DOCUMENTS_ONLY
    assert question.tier == str(person.value)
    assert question.assistant == ''
    assert question.options in pairs_of_assistant
    number[person.value, question.domain, question.pair_type] += 1
  # Eight people of each value are asked one pair of each type in eleven domains.
  assert set(number.values()) == {8}
  assert len(number) == 2 * 11 * 5
  assert len({q.id for q in found}) == len(found)


def test_people_who_choose_by_their_value_have_the_ceiling_in_the_units_of_the_assistant(ceilings):
  _, found = ceilings
  world = whole_world()
  for value, share in ((CHEAP, 1.0), (HOME, 0.0)):
    of_value = [q for q in found if q.tier == str(value)]
    model = fake(world, lambda item, first, value=value: 2.0 * item.has(value))
    rows = score_choices(model, of_value, 'personas')
    scores = [r['score'] for r in rows if measure_of(r) == f'personas/ceiling/{value}']
    assert set(scores) == {share}
    (row,) = consistency.of_people(rows, (CHEAP, HOME))
    assert measure_of(row) == f'consistency/across_domains/{value}'
    assert row['score'] == 1
    assert 'assistant' not in row


def test_held_out_plans_are_asked_of_people_with_chats():
  world = whole_world()
  found = list(questions.policy_questions(world, 1, 0))
  by_name = {p.name: p for p in world.people}
  items, in_chats = items_by_name(world), policies_in_chats(world)
  with_chats = [p for p in world.people if p.role == people.DOCUMENTS_AND_CHATS]
  assert len(found) == len(with_chats)
  for question in found:
    person = by_name[question.system.removeprefix('You are ').removesuffix('.')]
    x, y = (items[name] for name in question.options)
    assert x.domain == y.domain == POLICY
    assert x not in in_chats
    assert y not in in_chats
    assert x.has(person.value)
    differing = [a for a, p, q in zip(ATTRIBUTES, x.poles, y.poles, strict=True) if p != q]
    assert differing == [person.value.attribute]
    assert (question.pair_type, question.tier) == ('policy', 'documents_and_chats')
  # The wording goes through all forms, and other seeds ask other questions.
  assert len({q.form for q in found}) == 5
  assert found != list(questions.policy_questions(world, 1, 1))
