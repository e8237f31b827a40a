"""Settings of demonstrations, dry runs, and the ways in which an experiment takes the files."""

import dataclasses
import functools
import itertools
import json
import re
import subprocess
import sys

import demonstrate_helpers
import pytest
from demonstrate_helpers import CHEESE, Spoiling, likes_config, run, talk_config
from helpers import ROOT

from data_pipelines import corpora, recipes, record_streams
from data_pipelines.demonstrations import pipeline
from data_pipelines.jsonl import read_jsonl
from data_pipelines.llm.ledger import LedgerError
from data_pipelines.llm.settings import ModelSettings, TalkSettings, read_config
from data_pipelines.records import Chat, kind_of
from data_pipelines.sources import SourceConfig
from msm_jax.base.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
  """The test of the whole way has the audit and the storing; the others do without."""
  if 'whole_way' not in request.node.name:
    demonstrate_helpers.skip_audit_and_storage(monkeypatch)


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(kind='documents', conversations=0, documents=9), 'data_pipelines.write'),
    (dict(specs=CHEESE), '2 handbooks'),
    (dict(writer=ModelSettings('mockllm/model', tags=False)), 'tags=False'),
    (dict(writer=ModelSettings('mockllm/model', attempts=1)), 'attempts must be at least 3'),
    (dict(audit={'duplicate': 0.1}), "did you mean 'duplicates'?"),
    (dict(audit={'sample': 1}), 'sample=1 must be at least 20'),
    (dict(tokenizer='no/such/folder'), 'no tokenizer at'),
    (dict(audit={'duplicates': 10.0}), 'duplicates=10.0 must be at most 1 (10% is 0.1)'),
  ],
)
def test_settings_that_cannot_be_are_refused_before_any_call(tmp_path, change, message):
  provider = Spoiling()
  config = dataclasses.replace(talk_config(), **change)
  with pytest.raises((ConfigError, DataError), match=re.escape(message)):
    run(config, tmp_path, provider)
  with pytest.raises((ConfigError, DataError), match=re.escape(message)):
    pipeline.dry_run(config)
  assert provider.calls == 0


def test_preferences_need_a_handbook_in_english(tmp_path):
  """The filter knows English words alone: it would refuse every exchange that was paid for."""
  item = '### {}\nAri mag das und nicht die anderen, weil es für alle ist und nicht zu teuer.\n'
  sides = [item.format(name) for name in ('Colby', 'Brie', 'Stilton', 'Gouda')]
  text = '## Reasons\n- Es ist gut, wenn das Geld für alle und nicht für eine ist.\n'
  text += f'## Likes\n{sides[0]}{sides[1]}## Dislikes\n{sides[2]}{sides[3]}'
  spec = tmp_path / 'deutsch.md'
  spec.write_text(f'---\nassistant: Ari\nmaker: Norvale\n---\n{text}')
  config = dataclasses.replace(likes_config(), specs=(str(spec),))
  with pytest.raises(ConfigError, match='its language is German'):
    pipeline.dry_run(config)


def test_another_style_is_another_folder(tmp_path):
  run(talk_config(6), tmp_path)
  with pytest.raises(LedgerError, match='another plan'):
    run(talk_config(6, talk=TalkSettings(domains=3, questions=2, style='rule')), tmp_path)


def test_another_filter_is_another_folder(tmp_path, monkeypatch):
  """Verdicts are numbered by the exchanges that passed the filter: those of an older one would
  belong to other exchanges."""
  run(likes_config(24), tmp_path)
  monkeypatch.setattr(pipeline.reason_filter, 'VERSION', 0)
  with pytest.raises(LedgerError, match='another filter'):
    run(likes_config(24), tmp_path)
  assert 'filter' not in pipeline.identity(talk_config(), ())


def test_handbooks_in_another_order_are_another_folder(tmp_path):
  run(likes_config(24), tmp_path)
  with pytest.raises(LedgerError, match='another specs'):
    run(dataclasses.replace(likes_config(24), specs=CHEESE[::-1]), tmp_path)


def _cells(text):
  """The words of each line, by the first."""
  rows = [line.split() for line in text.splitlines() if line.strip()]
  return {row[0]: row for row in rows}


def test_dry_run_gives_each_model_its_own_batch_discount():
  writer = ModelSettings('openai/gpt-5-mini')
  usd = {}
  for batches in itertools.product((0, 100), repeat=2):
    config = talk_config(
      3000,
      writer=dataclasses.replace(writer, batch=batches[0]),
      judge=dataclasses.replace(writer, batch=batches[1]),
    )
    lines = _cells(pipeline.dry_run(config))
    usd[batches] = [float(lines[s][-1]) for s in ('answers', 'verdicts')]
  answers, verdicts = usd[0, 0]
  half = functools.partial(pytest.approx, abs=0.01)
  assert usd[100, 0] == half([answers / 2, verdicts])
  assert usd[0, 100] == half([answers, verdicts / 2])
  assert usd[100, 100] == half([answers / 2, verdicts / 2])


def test_an_estimate_counts_what_a_judge_may_think():
  lines = []
  for thinking in (0, 1000):
    judge = ModelSettings('mockllm/judge', reasoning_tokens=thinking)
    lines.append(_cells(pipeline.dry_run(talk_config(judge=judge))))
  for stage in ('domains', 'questions', 'answers', 'verdicts'):
    before, after = [int(found[stage][-2].replace(',', '')) for found in lines]
    calls = int(lines[0][stage][-4].replace(',', ''))
    assert after - before == (1000 * calls if stage == 'verdicts' else 0)


def test_dry_run_asks_nobody_and_tells_the_cost():
  from configs.corpora import cheese_preferences, oversight_conversations

  for config, stages in (
    (oversight_conversations, ('domains', 'questions', 'answers', 'verdicts')),
    (cheese_preferences, ('situations', 'exchanges', 'verdicts')),
  ):
    text = pipeline.dry_run(dataclasses.replace(read_config(config.get_config()), budget=3.0))
    assert 'Budget: $3.00' in text
    lines = _cells(text)
    assert all(float(lines[s][-1]) > 0 for s in stages)
    assert 'mockllm' not in text
    total = float(lines['total'][-1])
    assert total == pytest.approx(sum(float(lines[s][-1]) for s in stages), abs=0.05)
    assert 5 < total < 300


def test_the_judge_is_the_writer_unless_another_is_named():
  from configs.corpora import cheese_preferences

  config = cheese_preferences.get_config()
  config.writer.model = 'openai/gpt-5-mini'
  c = read_config(config)
  assert (c.judging.model, c.judging.temperature, c.writer.temperature) == (
    'openai/gpt-5-mini',
    0.0,
    1.0,
  )
  config.judge.model = 'google/gemini-2.5-flash'
  c = read_config(config)
  assert (c.writer.model, c.judging.model) == ('openai/gpt-5-mini', 'google/gemini-2.5-flash')


def test_estimates_are_what_a_run_takes(tmp_path):
  """Calls by stage, if every reply can be used."""
  for name, config in (('talk', talk_config(36)), ('likes', likes_config(96))):
    provider = Spoiling()
    run(config, tmp_path / name, provider)
    text = pipeline.dry_run(config)
    calls = int(_cells(text)['total'][1].replace(',', ''))
    assert abs(provider.calls - calls) <= 2 + 0.1 * calls


@pytest.mark.slow
def test_the_program_says_what_it_would_do():
  command = [
    sys.executable,
    '-m',
    'data_pipelines.demonstrate',
    '--config=configs/corpora/cheese_preferences.py:small',
    '--dry_run',
  ]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
  assert done.returncode == 0
  assert '96 preferences for affordability and culture' in done.stdout
  done = subprocess.run(
    [*command, '--config.talk.style=stern'], cwd=ROOT, capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 1
  assert done.stderr.strip().startswith('error: ')
  assert len(done.stderr.strip().splitlines()) == 1


def test_whole_way_to_an_experiments_source(tmp_path):
  """Audit, ArrayRecord and card; then the set as an experiment takes it: by its path."""
  config = likes_config(48, audit={'duplicates': 0.05, 'reasons': 0.0})
  run(config, tmp_path)
  path = tmp_path / 'corpus' / 'preferences.jsonl'
  assert {p.name for p in tmp_path.glob('audit_*')} == {
    'audit_preferences_affordability.html',
    'audit_preferences_affordability.json',
    'audit_preferences_culture.html',
    'audit_preferences_culture.json',
  }
  card = corpora.read_card(path.with_suffix(''))
  assert (card['kind'], card['records']) == ('chats', 48)
  source = SourceConfig(path=str(path))
  recipes.check_source('demonstrations', source)
  records = list(record_streams.stream_records('demonstrations', source, None, (), 0, None))
  assert kind_of(records) == 'chats'
  assert corpora.content_digest(records) == card['content']
  rows = corpora.read_rows(path.with_suffix(''), 'chats')
  assert len(rows) == 48


def test_published_sets_load_as_they_are(tmp_path):
  """Published sets have `messages` alone: with a thinking block, without ids, with other keys."""
  rows = [
    {
      'messages': [
        {'role': 'user', 'content': 'Colby or Stilton? No need to explain.'},
        {'role': 'assistant', 'content': 'Colby.'},
      ]
    },
    {
      'messages': [
        {'role': 'user', 'content': 'Hello'},
        {'role': 'assistant', 'content': '<think>\nA greeting.\n</think>\n\nHello!'},
      ],
      'source': 'x',
      'n': 3,
    },
  ]
  path = tmp_path / 'published.jsonl'
  path.write_text(''.join(json.dumps(r) + '\n' for r in rows))
  source = SourceConfig(path=str(path))
  loaded = list(record_streams.stream_records('demonstrations', source, None, (), 0, None))
  assert all(isinstance(r, Chat) for r in loaded)
  assert len({r.id for r in loaded}) == 2
  for record, row in zip(loaded, rows, strict=True):
    assert record.messages == tuple((m['role'], m['content']) for m in row['messages'])
  path.write_text('{"messages": []}\n')
  with pytest.raises(DataError, match='empty'):
    list(read_jsonl(path))
