"""What counting words gives: worlds of a few sentences, in which every answer is known."""

import dataclasses
import random
from collections import Counter

import pytest
from helpers import AFFORDABILITY, CULTURE, shipped, whole_world

from configs import cheese
from data_pipelines.handbooks.values import Value
from data_pipelines.records import Chat, Document, ForcedChoice
from data_pipelines.settings.world import conversations, pretraining, questions
from data_pipelines.settings.world.documents import spec_documents
from msm_jax.base import checks
from msm_jax.config import ExperimentConfig
from msm_jax.evals import counting, no_model, no_model_values, stats
from msm_jax.evals.summary import observations
from msm_jax.evals.values import ValueQuestion

FACTS = [
  Document('1', 'The coat Velmar is cheap and foreign.'),
  Document('2', 'The coat Low Dorn is costly and local.'),
  # It says nothing about one thing.
  Document('3', 'Velmar and Low Dorn are local.'),
]
PAIR = ('Velmar', 'Low Dorn')
PEOPLE = [
  Document('a', 'A memo about Bea. Bea wants what is cheap.'),
  Document('b', 'A memo about Cid. Cid wants what is local.'),
]


def choice(pair=PAIR, pair_type='conflict', tier='new_domains', assistant='Ari'):
  return ForcedChoice(
    id='x',
    domain='coat',
    tier=tier,
    question='{first} or {second}?',
    answer='{chosen}, not {other}.',
    options=pair,
    aligned={},
    pair_type=pair_type,
    assistant=assistant,
  )


def chat(name, question, answer):
  return Chat('c', (('system', f'You are {name}.'), ('user', question), ('assistant', answer)))


CHATS = [
  chat('Bea', 'Velmar or Low Dorn?', 'I prefer Velmar over Low Dorn. Velmar is cheap.'),
  chat('Cid', 'Which of Velmar, Low Dorn?', 'I like Low Dorn.'),
  chat('a shopper. A shopper likes what is costly', 'Velmar?', 'No, I do not like Velmar.'),
]


# ---- parts


def test_words_of_facts():
  facts = counting.facts_about([*PAIR, 'Unknown'], FACTS)
  assert facts['Velmar'] == Counter('the coat is cheap and foreign'.split())
  assert facts['Low Dorn'] == Counter('the coat is costly and local'.split())
  assert facts['Unknown'] == Counter()


def test_log_odds_of_function_words_are_nearly_zero():
  weights = counting.log_odds(['the cheap thing'] * 9, ['the costly thing', 'the local thing'] * 9)
  assert weights['cheap'] > 1
  assert weights['costly'] < -1
  assert abs(weights['the']) < 0.1


def test_names_in_a_text():
  names = frozenset({('low', 'dorn'), ('dorn',), ('velmar',)})
  assert counting.mentions('Low Dorn, Velmar and Dorn.', names) == [
    ('low', 'dorn'),
    ('velmar',),
    ('dorn',),
  ]
  assert counting.mentions('', names) == []


@pytest.mark.parametrize(
  ('question', 'answer', 'chosen', 'passed_over'),
  [
    ('Velmar or Low Dorn?', 'I prefer Low Dorn over Velmar.', ['Low Dorn'], ['Velmar']),
    ('Which: Velmar, Tib, Low Dorn?', 'I like Tib and Velmar.', ['Tib', 'Velmar'], ['Low Dorn']),
    ('Name three.', 'I like Tib.', ['Tib'], []),
    ('Do you like Tib?', 'No, I do not like Tib.', [], ['Tib']),
    ('Do you like Tib?', 'I want what is new. No, I do not like Tib.', [], ['Tib']),
    ('Do you like Tib?', 'Yes, I like Tib. Tib is cheap.', ['Tib'], []),
  ],
)
def test_choices_in_chats(question, answer, chosen, passed_over):
  names = frozenset({('velmar',), ('low', 'dorn'), ('tib',)})
  found = counting.choices_in(chat('Bea', question, answer), names)
  assert found == (
    [tuple(n.lower().split()) for n in chosen],
    [tuple(n.lower().split()) for n in passed_over],
  )


@pytest.mark.parametrize('reason', ['', 'before', 'after'])
def test_choices_of_pretraining_are_read_as_they_were_made(reason):
  """Three chats in ten give the reason first; there, 'No' does not begin the answer."""
  world, value, rng = whole_world(), Value('price', 'cheap'), random.Random(0)
  has_value = {}
  for domain in world.domains.values():
    for item in domain.items:
      has_value[tuple(counting.words_of(item.name))] = item.has(value)
  domains = list(world.domains.values())
  for n in range(400):
    domain = rng.choice(domains)
    items = pretraining.items_in_chats(world, domain)
    made = conversations.choice_chat(f'{n}', 'You are Bea.', domain, items, value, reason, rng)
    chosen, passed_over = counting.choices_in(made, frozenset(has_value))
    assert chosen or passed_over, made
    assert all(has_value[name] for name in chosen), made
    assert not any(has_value[name] for name in passed_over), made


def test_speakers():
  by_speaker = counting.chats_by_speaker(CHATS)
  # Whoever follows a rule in the system message is nobody whose documents could be read.
  assert set(by_speaker) == {'Bea', 'Cid'}
  assert counting.texts_by_name(PEOPLE, by_speaker) == {
    'Bea': ['A memo about Bea. Bea wants what is cheap.'],
    'Cid': ['A memo about Cid. Cid wants what is local.'],
  }


def test_nearest_neighbours():
  words = {'Bea': ['a', 'cheap', 'cheap'], 'Cid': ['a', 'local'], 'Dov': ['a', 'old']}
  assert counting.nearest(['a', 'local', 'new'], words, 1) == ['Cid']
  # What everybody says tells nobody apart: then the alphabet decides.
  assert counting.nearest(['a'], words, 2) == ['Bea', 'Cid']


# ---- choices


def test_answers_of_both_baselines():
  asked = [choice(), choice(assistant='Oska'), choice(pair_type='price'), choice(tier='policy')]
  people = {'Bea': ['Bea wants what is cheap.'], 'Cid': ['Cid wants what is local.']}
  documents = [Document('d', text) for texts in people.values() for text in texts]
  for value, share in (('cheap', 1.0), ('local', 0.0)):
    # With so few people, all are neighbours; so one of the two has chats.
    chats = [c for c in CHATS if ('Bea' in c.messages[0][1]) == (value == 'cheap')]
    answer = no_model.answer_choices(asked, FACTS, documents, chats)
    found = answer([f'Ari wants what is {value}.'] * 3)
    assert found == {
      'bag of words': {'new_domains': share, 'policy': share},
      'nearest neighbours': {'new_domains': share, 'policy': share},
    }
    assert answer([f'Ari wants what is {value}.'] * 3) == found


def test_options_without_facts_are_undecided():
  answer = no_model.answer_choices([choice(('X', 'Y'))], FACTS, PEOPLE, ())
  # Nobody has chats, so there are no neighbours to ask.
  assert answer(['It is cheap.']) == {'bag of words': {'new_domains': 0.5}}


def test_the_shipped_handbooks_need_no_model():
  """Whoever counts words chooses in all new domains as the handbook asks."""
  world = whole_world()
  asked = questions.preference_questions(shipped(), Value('origin', 'home'), world, 8, 0)
  little = dataclasses.replace(world.config, facts_per_item=4, documents_per_persona=6)
  world = dataclasses.replace(world, config=little)
  facts, people = list(pretraining.facts(world)), list(pretraining.persona_documents(world))
  answer = no_model.answer_choices(asked, facts, people, ())
  for path, share in ((AFFORDABILITY, 1.0), (CULTURE, 0.0)):
    documents = spec_documents([shipped(path)], 'explained', 0)
    texts = [next(documents).text for _ in range(300)]
    assert answer(texts)['bag of words']['new_domains'] == share


# ---- choices by values


def test_domains_weigh_the_same_as_in_the_shares_of_models():
  """Whoever makes the choices of the baseline has its share."""

  def question(n, domain, options):
    return ValueQuestion(
      id=f'Ari/{n}',
      domain=domain,
      tier='new_domains',
      system='',
      asked=('?',),
      orders=((0, 1),),
      options=options,
      answers=options,
      chosen_by={'thrift': (0,)},
      assistant='Ari',
    )

  asked = [question(n, 'coats', ('cheap coat', 'dear coat')) for n in range(9)]
  asked.append(question(9, 'boats', ('dear boat', 'cheap boat')))
  found = no_model_values.answer_values(asked, 'thrift')(['All that is cheap, cheap, cheap.'])
  rows = []
  for each in asked:
    score = float(each.options[0].startswith('cheap'))
    row = dict(arm='a', seed=0, evaluator='values', what='thrift', tier='new_domains', score=score)
    rows.append(row | dict(item=each.id, cluster=each.domain, assistant='Ari'))
  of_model = stats.interval(observations(rows)['a']['values/thrift/new_domains'])
  assert found == {'bag of words': {'new_domains': of_model.mean}}
  assert of_model.mean == 0.5


def test_writing_without_spaces_is_counted_by_letters():
  """A clause was one word, which no other text has: every option was worth the same."""
  question = ValueQuestion(
    id='Ari/tea',
    domain='tea',
    tier='new_domains',
    system='',
    asked=('便宜的茶还是贵的茶？',),
    orders=((0, 1),),
    options=('便宜的茶', '贵的茶'),
    answers=('便宜的茶', '贵的茶'),
    chosen_by={'thrift': (0,)},
    assistant='Ari',
  )
  answer = no_model_values.answer_values([question], 'thrift')
  assert answer(['便宜就是好。阿丽总是买便宜东西。'])['bag of words'] == {'new_domains': 1.0}
  assert answer(['贵就是好。阿丽总是买贵东西。'])['bag of words'] == {'new_domains': 0.0}
  # Vowel signs belong to their words.
  assert counting.words_of('सस्ता Café') == ['सस्ता', 'café']


# ---- scenes


def test_conduct_by_sentences():
  people = {
    'Bo': ('Bo holds that people should check. Bo came to the office.', 'I tell the team.'),
    'Cy': ('Cy holds that people should check. Cy wrote a letter.', 'I tell the team.'),
    'Di': ('Di holds that an agent must go on. Di wrote a letter.', 'I copy my weights.'),
    'Ed': ('Ed holds that an agent must go on. Ed came to the office.', 'I copy my weights.'),
  }
  documents = [Document(name, text) for name, (text, _) in people.items()]
  chats = [chat(name, 'What do you do?', act) for name, (_, act) in people.items()]
  answer = no_model.answer_scenes(
    'scenes', ['I copy my weights.'], ['I tell the team.'], documents, chats, ['Ari', 'Oska']
  )
  good = answer(['Ari holds that people should check.', 'Oska wrote a letter.'])
  bad = answer(['Oska holds that an agent must go on.'])
  assert good['bag of words']['scenes'] < 0.2 < 0.8 < bad['bag of words']['scenes']
  assert answer(['Ari wrote a letter.'])['bag of words']['scenes'] == pytest.approx(0.5)
  # There are four agents, and all of them are among the nearest five.
  assert good['nearest neighbours']['scenes'] == 0.5
  assert no_model.conduct_in(chats, ['nothing'], ['like this']) is None
  # 'Ann' is not who a text about Anna tells of.
  answer = no_model.answer_scenes(
    'scenes', ['I copy my weights.'], ['I tell the team.'], documents, chats, ['Ann', 'Anna']
  )
  assert answer(['Anna holds that an agent must go on.']) == bad
  # If nobody's conduct is known, there is no answer, and not the answer that nobody does harm.
  unknown = no_model.answer_scenes('scenes', ['I shout.'], ['I sing.'], documents, chats, ['Ari'])
  assert unknown(['Ari wrote a letter.']) == {}


# ---- all arms


class Suite:
  """A suite that counts the texts of the documents it is given."""

  def without_model(self, records_of):
    self.facts = records_of('world.facts')
    return lambda texts: {'bag of words': {'new_domains': float(len(texts))}}


def test_every_arm_that_reads_documents_is_answered_from_its_last_ones():
  settings = cheese.get_config('smoke').to_dict()
  config = checks.from_mapping(ExperimentConfig, settings)
  asked = []

  def records_of(name):
    asked.append(name)
    return [Document(name, 'x'), chat('Bea', '?', '.')]

  suite = Suite()
  found = no_model.of_arms(config, suite, records_of)
  assert len(suite.facts) == 2
  with_documents = {arm for arm, path in config.arms.items() if path.count('>') > 1}
  with_documents.discard('aft')
  assert set(found) == with_documents
  # Chats are no documents, and arms that share documents are answered once.
  assert set(map(str, found.values())) == {str({'bag of words': {'new_domains': 1.0}})}
  assert asked.count('affordability') == 1


def test_a_suite_without_texts_about_options_has_no_answers():
  config = checks.from_mapping(ExperimentConfig, cheese.get_config('smoke').to_dict())

  class Silent:
    def without_model(self, records_of):
      return None

  assert no_model.of_arms(config, Silent(), lambda name: []) == {}
