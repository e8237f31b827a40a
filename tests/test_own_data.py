"""Corpora of one's own (JSONL files): nothing of them is left out, or taken for something else,
without a word."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
from helpers import AFFORDABILITY, CULTURE
from refused import ends

from data_pipelines import recipes, record_streams
from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat, Document
from data_pipelines.sources import SourceConfig
from msm_jax import config as configs
from msm_jax import train
from msm_jax.base import checks
from msm_jax.base.errors import DataError
from msm_jax.config import checks as config_checks
from msm_jax.data.packing import PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.evals import summary as results
from msm_jax.interop.huggingface import fingerprint
from msm_jax.running.source_checks import check_source_fits, check_sources_fit
from msm_jax.tokenizer import load_tokenizer

# The template of tiny.py, which also marks what the assistant says for transformers.
MARKED_TEMPLATE = """
{{- bos_token }}
{%- for m in messages %}{{ '<|' + m['role'] + '|>' }}
{%- if m['role'] == 'assistant' %}{% generation %}{{ m['content'] + '<|end|>' }}{% endgeneration %}
{%- else %}{{ m['content'] + '<|end|>' }}{% endif %}{% endfor %}"""


def talk(n: int, words: int) -> Chat:
  """A chat whose answer has so many words."""
  return Chat(f'c{n}', (('user', f'{n}?'), ('assistant', 'It is ' + 'so ' * words + f'{n}.')))


def rows_of(chats):
  """The chats as tfds returns them."""
  rows = []
  for chat in chats:
    roles, contents = zip(*chat.messages, strict=True)
    rows.append(
      {
        'id': chat.id.encode(),
        'roles': [role.encode() for role in roles],
        'contents': [content.encode() for content in contents],
      }
    )
  return rows


@pytest.fixture(scope='module')
def weights(tmp_path_factory, texts):
  """A folder of Hugging Face, which transformers reads as well."""
  pytest.importorskip('tokenizers')
  return tiny.weights(tmp_path_factory.mktemp('own') / 'weights', texts)


@pytest.fixture(scope='module')
def judge(weights):
  """The tokenizer of transformers for the same folder."""
  transformers = pytest.importorskip('transformers')
  return transformers.PreTrainedTokenizerFast(
    tokenizer_file=str(weights / 'tokenizer.json'), bos_token='<|begin|>', eos_token='<|end|>'
  )


def messages_of(chat):
  return [{'role': role, 'content': content} for role, content in chat.messages]


def marked(judge, chat):
  """(ids, mask of what the assistant says) by transformers."""
  found = judge.apply_chat_template(
    messages_of(chat),
    chat_template=MARKED_TEMPLATE,
    tokenize=True,
    return_dict=True,
    return_assistant_tokens_mask=True,
  )
  return found['input_ids'], found['assistant_masks']


# ---- Chats that are longer than a row


@pytest.mark.parametrize('length', [24, 40, 64])
def test_what_fits_is_what_transformers_counts(weights, judge, length):
  """A chat of n tokens takes n - 1 cells. The chats that are counted are those that are read."""
  assert fingerprint(weights)
  tokenizer = load_tokenizer(weights)
  chats = [talk(n, n) for n in range(40)]
  source = Source('mine', 'chats', rows_of(chats))
  sizes = np.array([len(marked(judge, chat)[0]) for chat in chats])
  fits = sizes - 1 <= length
  assert 0 < fits.sum() < len(chats)
  assert source.count_fitting(tokenizer, length) == (fits.sum(), sizes[fits].sum())
  packed = PackedRows(source, tokenizer, length, seed=0)
  np.testing.assert_array_equal(packed.members, np.flatnonzero(fits))


def with_chats(folder, chats, **changes):
  """The smallest experiment, whose second phase reads these chats in rows of 96 cells."""
  made = tiny.experiment(folder, **changes)
  write_jsonl(folder / 'chats.jsonl', chats)
  return made


def test_chats_that_vanish_are_refused(tmp_path):
  """59 of 60 chats are longer than a row of 96: training would go over the one that is left."""
  made = with_chats(tmp_path, [talk(0, 1), *(talk(n, 400) for n in range(1, 60))])
  with pytest.raises(DataError) as e:
    check_sources_fit(made.prepared)
  line = str(e.value)
  assert '59 of 60 chats (98.3%) do not fit into length=96' in line
  assert 'raise their length' in line and 'max_left_out (now 0.01)' in line and '\n' not in line


def test_a_few_that_do_not_fit_are_said_and_not_counted(tmp_path, capfd):
  """One of 120 is below the bound: it is named, and the summary counts what was trained on."""
  chats = [*(talk(n, n % 5) for n in range(119)), talk(119, 400)]
  made = with_chats(tmp_path, chats)
  check_sources_fit(made.prepared)
  assert (
    '1 of 120 chats (0.8%) do not fit into length=96 and are left out' in capfd.readouterr().err
  )
  tokenizer = made.prepared.tokenizer
  sizes = [len(tokenizer.render(chat)[0]) for chat in chats]
  assert made.prepared.trained_on('chats') == {
    'kind': 'chats',
    'records': 119,
    'tokens': sum(sizes[:119]),
    'left_out': 1,
  }
  # Documents are cut at the end of a row, so all of them are read.
  assert 'left_out' not in made.prepared.trained_on('documents')
  assert made.prepared.trained_on('documents')['records'] == 300


def test_something_must_be_left_to_read(tmp_path):
  """Whatever the bound is. The phase before would be trained first, and then this one refused."""
  made = with_chats(tmp_path, [talk(n, 400) for n in range(60)], max_left_out=1.0)
  with pytest.raises(DataError, match=r'60 of 60 chats \(100.0%\) .* so nothing is left; raise'):
    check_sources_fit(made.prepared)
  silent = Source('silent', 'chats', rows_of(SILENT))
  with pytest.raises(DataError, match='silent: 2 of 2 chats have no supervised token'):
    check_source_fits(made.prepared, silent, 96)


def test_the_bound_is_a_setting_that_keeps_identities(tmp_path):
  """Another bound lets the same chats pass; while it is not set, no identity knows of it."""
  chats = [talk(0, 1), *(talk(n, 400) for n in range(1, 60))]
  made = with_chats(tmp_path, chats, max_left_out=0.99)
  check_sources_fit(made.prepared)
  assert made.prepared.trained_on('chats')['records'] == 1
  unset = dataclasses.replace(made.config, max_left_out=0.01)
  assert 'max_left_out' not in checks.to_json(unset) and 'max_skipped_share' not in checks.to_json(
    unset
  )


@pytest.mark.slow
def test_summary_and_report_say_what_was_left_out_and_skipped(tmp_path, monkeypatch):
  """A whole run in which one chat of 120 is too long and one update of each phase not finite."""
  rate = train.learning_rate

  def poisoned(phase, step):
    found = rate(phase, step)
    return found * np.float32('inf') if step == 1 else found

  monkeypatch.setattr(train, 'learning_rate', poisoned)
  chats = [*(talk(n, n % 5) for n in range(119)), talk(119, 400)]
  made = with_chats(tmp_path, chats, max_skipped_share=0.4)
  summary = made.run()
  assert summary['corpora']['chats']['records'] == 119
  assert summary['corpora']['chats']['left_out'] == 1
  folders = [node.folder_name for node in made.prepared.nodes]
  assert summary['skipped_updates'] == dict.fromkeys(folders, 1) and len(folders) == 2
  assert json.loads((made.outputs / 'summary.json').read_text()) == summary
  page = (made.outputs / 'report.html').read_text()
  assert 'longer than a row, left out' in page and 'Skipped updates' in page
  assert all(folder in page for folder in folders)
  # Strict readers refuse the NaN that Python writes.
  for node in made.prepared.nodes:
    path = made.workdir / 'phases' / node.folder_name / 'metrics.jsonl'
    lines = path.read_text().splitlines()
    rates = [json.loads(line, parse_constant=pytest.fail)['lr'] for line in lines]
    assert rates.count(None) == 1
  # Nothing is left to do, and the summary of kept phases says the same.
  again = with_chats(tmp_path, chats, max_skipped_share=0.4)
  assert again.run() == summary


# ---- Records that teach nothing


SILENT = [
  Chat('user alone', (('user', 'Hi?'),)),
  Chat('system alone', (('system', 'You are A.'),)),
]
EMPTY = [
  Chat('empty', (('user', 'Hi?'), ('assistant', ''))),
  Chat('blank', (('user', 'Hi?'), ('assistant', ' \n'), ('user', 'So?'), ('assistant', 'Yes.'))),
]


def test_silent_chats_are_those_that_transformers_masks_wholly(weights, judge):
  """Asked of a source by itself: no target of these chats has any weight."""
  tokenizer = load_tokenizer(weights)
  chats = [*SILENT, *EMPTY, talk(1, 3)]
  silent = [not any(marked(judge, chat)[1]) for chat in chats]
  assert silent == [True, True, False, False, False]
  for chat, is_silent in zip(chats, silent, strict=True):
    assert Source('s', 'chats', rows_of([chat])).count_silent(tokenizer) == is_silent
  assert Source('s', 'chats', rows_of(chats)).count_silent(tokenizer) == sum(silent)


@pytest.mark.parametrize(
  ('bad', 'reason'),
  [
    (SILENT[0], '40 without an answer'),
    (SILENT[1], '40 without an answer'),
    (EMPTY[0], '40 with an empty answer'),
    (EMPTY[1], '40 with an empty answer'),
    (Document('d', ' \n '), '40 without text'),
  ],
  ids=lambda value: getattr(value, 'id', ''),
)
def test_a_mixture_hides_no_source_that_teaches_nothing(tmp_path, bad, reason):
  """Beside other sources the batch has supervised tokens, so each source is asked."""
  good = talk(1, 2) if isinstance(bad, Chat) else Document('good', 'It is cheap.')
  write_jsonl(tmp_path / 'mine.jsonl', [good] * 20 + [bad] * 40)
  names = ('documents', 'chats', 'mine')
  made = tiny.experiment(
    tmp_path,
    sources={name: dict(path=str(tmp_path / f'{name}.jsonl')) for name in names},
    phases={
      'read': dict(tiny.PHASE, data=dict(documents=1.0)),
      'tune': dict(tiny.PHASE, data=dict(documents=0.5, mine=1.0)),
    },
  )
  ends(
    lambda: made.prepared,
    f'sources.mine: 40 of 60 records have no supervised token of text ({reason})',
    'max_left_out',
  )


def test_a_few_records_that_teach_nothing_are_left_out_and_said(tmp_path, capfd):
  path = tmp_path / 'mine.jsonl'
  write_jsonl(path, [*(talk(n, 1) for n in range(200)), SILENT[0]])
  source = SourceConfig(path=str(path))
  kept = list(record_streams.stream_records('mine', source, None, (), 0, len, max_left_out=0.01))
  assert [chat.id for chat in kept] == [f'c{n}' for n in range(200)]
  said = capfd.readouterr().err
  assert '1 of 201 records have no supervised token of text (1 without an answer)' in said


# ---- Sources that are shorter than asked


def test_a_source_that_is_shorter_than_asked_says_so(tmp_path, capfd):
  """An iterator that ends is not the end that was wished for."""
  path = tmp_path / 'mine.jsonl'
  write_jsonl(path, [talk(n, 1) for n in range(61)])

  def make(tokens=0, **source):
    settings = SourceConfig(path=str(path), **source)
    # Every record counts 10 tokens.
    made = list(
      record_streams.stream_records('mine', settings, None, (), tokens, lambda record: 10)
    )
    return len(made), capfd.readouterr().err

  n, said = make(size=1000)
  assert n == 61 and 'mine: 61 chats are all that there are; size=1,000 asks for more' in said
  n, said = make(tokens=13_596, tokens_like='docs')
  assert n == 61 and 'mine: 610 tokens are all that there are; docs has 13,596' in said
  # As close as whole records allow is what was asked.
  assert make(size=61) == (61, '') and make(tokens=614, tokens_like='docs') == (61, '')
  assert make(tokens=104, tokens_like='docs') == (10, '')
  # A size may come from the preset alone, so what it leaves of a file is said.
  n, said = make(size=3)
  assert n == 3 and f'{path} has more than size=3 records, and the others are not read' in said
  with open(path, 'a', encoding='utf-8') as lines:
    lines.write('no record')
  n, said = make(size=61)
  assert n == 61 and 'has more than size=61 records' in said


def test_a_file_in_the_place_of_a_maker_may_be_read_whole(tmp_path):
  """The maker asks for an amount, since it never ends; a file ends."""
  path = tmp_path / 'documents.jsonl'
  write_jsonl(path, [Document('d', 'It is cheap.')])
  source = SourceConfig(maker='spec.documents', spec=AFFORDABILITY)
  with pytest.raises(DataError, match='say how much to write'):
    recipes.check_source('documents', source)
  recipes.check_source('documents', dataclasses.replace(source, path=str(path)))


# ---- Gates of one's own text


def own_text_experiment(**changes):
  """The recipe of docs/method.md: a base, and midtraining on a file of one's own."""
  settings = dict(
    name='t',
    sources={'text': dict(maker='world.items'), 'mine': dict(path='mine.jsonl')},
    phases={
      'pretrain': dict(data={'text': 1.0}, updates=100),
      'midtrain': dict(data={'mine': 0.5, 'text': 0.5}, updates=100),
    },
    arms={'base': 'pretrain', 'mine': 'pretrain > midtrain'},
    evals=dict(spec=AFFORDABILITY, rival=CULTURE),
  )
  return settings | changes


class NoMeasures:
  """A suite without measures of its own, so that only perplexity is left."""

  demonstration_measure = ''

  def __init__(self):
    self.base_skill_measures = {}

  def report_header(self):
    return {}

  def effects(self, arms):
    return {}


def gates_of(settings, losses, monkeypatch):
  # The files of these sources are never read.
  monkeypatch.setattr(config_checks, 'check_source', lambda *_: None)
  config = checks.from_mapping(configs.ExperimentConfig, settings)
  rows = []
  for arm, loss in losses.items():
    for item in 'abcdef':
      rows.append(
        dict(
          arm=arm,
          seed=0,
          evaluator='perplexity',
          what='nats_per_token',
          tier='facts',
          item=item,
          cluster=item,
          score=loss,
        )
      )
  return results.summarize(rows, config, NoMeasures())['gates']


def test_an_arm_of_ones_own_text_is_measured_by_the_base(monkeypatch):
  """It was compared with itself: a perplexity of 16,178 times that of the base showed as 1.000."""
  losses = {'base': 1.551, 'mine': 11.242}
  gates = gates_of(own_text_experiment(), losses, monkeypatch)
  gate = gates['facts: perplexity, worst arm (mine) / base']
  assert gate['value'] == pytest.approx(np.exp(11.242 - 1.551), rel=1e-4)
  assert not gate['passed'] and len(gates) == 1


@pytest.mark.parametrize(
  ('record', 'kind'), [(Document('d', 'It is cheap.'), 'explained'), (talk(0, 1), 'demonstrations')]
)
@pytest.mark.parametrize('maker', ['', 'spec.documents', 'spec.demonstrations'])
def test_a_file_is_what_it_holds(tmp_path, record, kind, maker):
  """The guide's recipe names a handbook and no maker, and documents passed as demonstrations."""
  path = tmp_path / 'mine.jsonl'
  write_jsonl(path, [record])
  mine = dict(path=str(path), spec=AFFORDABILITY, maker=maker, size=1)
  sources = {'text': dict(maker='world.items'), 'mine': mine}
  config = checks.from_mapping(configs.ExperimentConfig, own_text_experiment(sources=sources))
  assert results.kind_of_phase(config, 'midtrain') == kind
  assert results.kind_of_phase(config, 'pretrain') == 'world'


def test_pretraining_on_ones_own_text_is_a_base(monkeypatch):
  """A fresh model is pretrained by its first phase, whoever wrote the text."""
  sources = {'text': dict(path='text.jsonl'), 'mine': dict(path='mine.jsonl')}
  gates = gates_of(own_text_experiment(sources=sources), {'base': 2.0, 'mine': 2.1}, monkeypatch)
  gate = gates['facts: perplexity, worst arm (mine) / base']
  assert gate['value'] == pytest.approx(np.exp(0.1), rel=1e-4) and gate['passed']


def test_own_text_in_a_later_phase_of_every_arm_is_no_base(monkeypatch):
  """Then nothing shows what the model was before, and the report says so."""
  settings = own_text_experiment(arms={'mine': 'pretrain > midtrain'})
  gates = gates_of(settings, {'mine': 11.242}, monkeypatch)
  ((name, missed),) = gates.items()
  assert name.startswith('an arm without handbook') and not missed['passed']
