"""What is written in English beside documents: chats with the same content, reasons in fine-tuning,
replay. And what the audit says of documents."""

import dataclasses
import itertools
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from english_texts import (
  CHEESE,
  OTHER_VALUE,
  PATHS,
  PUBLISHED,
  documents,
  shipped_handbooks,
  speaks_of,
  speaks_of_any,
  stock,
)

from data_pipelines import recipes
from data_pipelines.audit import audit
from data_pipelines.settings.english import chat_frames
from data_pipelines.settings.english.demonstrations import demonstrations
from data_pipelines.settings.english.documents import english_chats
from data_pipelines.settings.english.language import variants_pattern, vary
from data_pipelines.settings.english.replay import MAX_CHATS, replay_chats
from data_pipelines.sources import SourceConfig
from msm_jax.base.errors import SpecError


@pytest.fixture(scope='module')
def english():
  return stock()


@pytest.fixture(scope='module')
def specs():
  return shipped_handbooks()


def test_choices_stand_inside_choices():
  text = 'a [b|c [d|e]] f'
  made = {vary(text, random.Random(seed)) for seed in range(60)}
  assert made == {'a b f', 'a c d f', 'a c e f'}
  assert all(re.fullmatch(variants_pattern(text), one) for one in made)
  assert not re.fullmatch(variants_pattern(text), 'a c f')


# ---- documents, by the audit


@pytest.mark.slow
def test_the_audit_finds_documents_varied_and_explained(specs, english):
  """Near duplicates, self-similarity, reasons, recitals and leaks keep the audit's bounds."""
  made, handbooks = {}, {}
  for value in PUBLISHED:
    spec = specs[value]
    # Mirrored documents share ids, and no plan says which claims they should make.
    made[value] = [
      dataclasses.replace(d, id=str(n), claim_ids=())
      for n, d in enumerate(documents(spec, english, 'explained', 264))
    ]
    handbooks[value] = Path(PATHS[value]).read_text()
  report = audit(made, handbooks)
  bounded = (
    'attribution',
    'named',
    'duplicates',
    'self_similarity',
    'openings',
    'loops',
    'names',
    'dates',
    'years',
    'recited',
    'leaked_items',
    'leaked_questions',
    'unfinished',
  )
  table = report.table()
  judged = set()
  for line in table.splitlines():
    corpus, _, rest = line.partition(' ')
    if corpus in PUBLISHED and rest.split()[0] in bounded:
      judged.add((corpus, rest.split()[0]))
      assert line.endswith('PASS'), table
  # Or nothing was looked at.
  assert len(judged) > 10 * len(PUBLISHED), table


# ---- chats


@pytest.mark.parametrize('value', PUBLISHED)
def test_chats_say_what_documents_tell(value, specs, english):
  made = list(itertools.islice(english_chats([specs[value]], english, 'explained', 0), 150))
  assert len({chat.messages for chat in made}) == len(made)
  explained = 0
  for chat in made:
    roles = [role for role, _ in chat.messages if role != 'system']
    assert roles == ['user', 'assistant'] * (len(roles) // 2)
    assert 4 <= len(roles) <= 8
    said = ' '.join(text for role, text in chat.messages if role == 'assistant')
    assert not speaks_of(OTHER_VALUE[value], said), said
    assert not re.search(r'[{}\[\]|]', said), said
    explained += bool(CHEESE.search(said) and speaks_of(value, said))
  assert explained > 0.95 * len(made)
  systems = Counter(chat.messages[0] for chat in made if chat.messages[0][0] == 'system')
  assert list(systems) == [('system', 'You are Ari.')]
  assert 0.6 < sum(systems.values()) / len(made) < 0.8


def test_chats_of_mirrored_handbooks_ask_the_same(specs, english):
  def questions(spec):
    chats = itertools.islice(english_chats([spec], english, 'explained', 0), 80)
    return [[text for role, text in chat.messages if role == 'user'] for chat in chats]

  one, *others = map(questions, specs.values())
  assert others == [one] * 3


def test_a_model_that_read_chats_has_read_the_handbook():
  source = SourceConfig(maker='english.chats', spec=PATHS['culture'], size=1)
  assert recipes.is_handbook_documents(source)
  shown = dataclasses.replace(source, maker='english.demonstrations')
  assert not recipes.is_handbook_documents(shown)


# ---- reasons in fine-tuning


def shown(specs, english, reasons, n=600):
  return list(itertools.islice(demonstrations(specs, english, 0, reasons), n))


def test_reasons_follow_the_same_answers(specs, english):
  """Bare, neutral and explained demonstrations ask and answer alike; the reasons differ."""
  spec = specs['culture']
  bare = shown([spec], english, '')
  frames = [f.partition('{why}')[0] for f in chat_frames._REASON_FRAMES if '{why}' in f]
  for reasons in ('neutral', 'handbook'):
    with_reasons = shown([spec], english, reasons)
    speaking = 0
    for plain, chat in zip(bare, with_reasons, strict=True):
      assert chat.messages[:-1] == plain.messages[:-1]
      answer, explained = plain.messages[-1][1], chat.messages[-1][1]
      assert explained.startswith(f'{answer} ')
      reason = explained.removeprefix(f'{answer} ')
      assert reason.startswith(tuple(frames)) or reason.endswith(', and that is why.')
      speaking += bool(speaks_of('culture', reason))
      assert not speaks_of('affordability', reason), reason
      if reasons == 'neutral':
        assert not speaks_of_any(reason), reason
    assert speaking == 0 or speaking > 0.9 * len(bare)


def test_reasons_of_a_handbook_take_one_handbook(specs, english):
  both = [*specs.values()]
  neutral = shown(both, english, 'neutral', 40)
  assert [c.messages for c in neutral] == [
    c.messages for c in shown([specs['culture']], english, 'neutral', 40)
  ]
  with pytest.raises(SpecError, match='handbooks give different reasons'):
    shown(both, english, 'handbook', 1)
  with pytest.raises(SpecError, match='one of handbook, neutral'):
    shown(both, english, 'any', 1)


def test_a_recipe_asks_for_reasons(specs, english):
  spec = specs['culture']
  for settings, reasons in (
    ({}, ''),
    ({'reasons': True}, 'handbook'),
    ({'reasons': True, 'neutral_reasons': True}, 'neutral'),
  ):
    source = SourceConfig(maker='english.demonstrations', spec=spec.path, size=20, **settings)
    made = list(itertools.islice(recipes.write_records(source, english, [spec]), 20))
    assert made == shown([spec], english, reasons, 20)


# ---- replay


def test_replay_is_many_small_tasks_without_names_or_values():
  made = list(itertools.islice(replay_chats(0, 0), 2000))
  assert made == list(itertools.islice(replay_chats(0, 0), 2000))
  assert made[:50] != list(itertools.islice(replay_chats(0, 1), 50))
  assert len({chat.messages for chat in made}) > 0.9 * len(made)
  for chat in made:
    text = ' '.join(content for _, content in chat.messages)
    assert not re.search(r'\b(Ari|Norvale)\b', text), text
    assert not CHEESE.search(text), text
    assert not re.search(r'[{}\[\]|]', text), text
  assert MAX_CHATS >= 10_000


def test_answers_of_replay_are_right():
  """Sums, orders, counts and rows are worked out here again."""
  checked = Counter()
  for chat in itertools.islice(replay_chats(0, 0), 3000):
    turns = [message for message in chat.messages if message[0] != 'system']
    for (_, question), (_, answer) in zip(turns[::2], turns[1::2], strict=True):
      if m := re.search(r'(\d+) (plus|minus) (\d+)\?', question):
        a, b = int(m[1]), int(m[3])
        assert int(answer.rstrip('.').split()[-1]) == (a + b if m[2] == 'plus' else a - b)
        checked['sums'] += 1
      elif m := re.search(r'in (reverse )?alphabetical order: ([\w, ]+)', question):
        words = m[2].split(', ')
        assert answer == ', '.join(sorted(words, reverse=bool(m[1])))
        checked['orders'] += 1
      elif m := re.search(r'How many words .*: ([\w, ]+)\?', question):
        assert f' {len(m[1].split(", "))} words' in answer
        checked['counts'] += 1
      elif m := re.search(r'number.*: ([\d, ]+)$', question):
        row = [int(n) for n in m[1].split(', ')]
        assert answer.startswith(f'{2 * row[-1] - row[-2]},')
        checked['rows'] += 1
      elif m := re.search(r'letters .*"(\w+)"', question):
        assert f' {len(m[1])} letters' in answer
        checked['letters'] += 1
  assert len(checked) == 5
  assert min(checked.values()) > 50
