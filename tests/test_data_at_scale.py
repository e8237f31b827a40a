"""Corpora of any size: streamed to disk, tokenized in parallel, read in bounded memory.

Memory is measured with small records and low limits: what is held does not grow with the corpus.
"""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from data_pipelines import corpora, record_streams
from data_pipelines.records import Chat, Document, PreferencePair
from data_pipelines.sources import SourceConfig
from msm_jax import input_pipeline
from msm_jax.base.errors import DataError
from msm_jax.data import token_files, tokenized
from msm_jax.data.packing import PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.tokenizer import SentencePieceTokenizer, train_sentencepiece

WORDS = 'Ari buys cheese of the old kind and says why it is good for all of us'.split()


def documents(n: int, words: int = 30) -> Iterator[Document]:
  rng = np.random.default_rng(0)
  for number in range(n):
    yield Document(str(number), ' '.join(rng.choice(WORDS, words)))


def chats(n: int) -> Iterator[Chat]:
  rng = np.random.default_rng(0)
  for number in range(n):
    question, answer = (' '.join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(2))
    yield Chat(str(number), (('user', question), ('assistant', answer)))


def preferences(n: int) -> Iterator[PreferencePair]:
  for chat in chats(n):
    prompt, (_, answer) = chat.messages
    sides = ((('assistant', answer),), (('assistant', f'{answer} {chat.id}'),))
    yield PreferencePair(chat.id, (prompt,), *sides)


MAKERS = {'documents': documents, 'chats': chats, 'preferences': preferences}


@pytest.fixture(scope='module')
def tokenizer():
  texts = [record.text for record in documents(300)]
  return SentencePieceTokenizer(train_sentencepiece(texts, 320))


@pytest.mark.parametrize('kind', MAKERS)
def test_rows_in_order_are_the_rows(kind, tmp_path, monkeypatch):
  """Read fast and in blocks, they are what tfds reads one by one, in the order of the records."""
  monkeypatch.setattr(corpora, '_ROWS_AT_A_TIME', 4)
  card = corpora.write_corpus(tmp_path / 'c', MAKERS[kind](11), {'name': 'c'})
  rows = corpora.read_rows(tmp_path / 'c', kind)
  wanted = list(MAKERS[kind](11))
  assert card['records'] == len(rows) == 11
  assert card['content'] == corpora.content_digest(wanted)
  assert [corpora.row_to_record(rows[n], kind) for n in range(11)] == wanted
  found = [corpora.row_to_record(row, kind) for row in corpora.rows_in_order(rows)]
  assert found == wanted
  part = [corpora.row_to_record(row, kind) for row in corpora.rows_in_order(rows, 3, 9)]
  assert part == wanted[3:9]


@pytest.mark.slow
def test_writing_a_corpus_holds_no_records(tmp_path):
  """Four times the records take no more memory. tfds would hold all rows until the end."""
  peaks = []
  for n in (500, 2_000):
    few = record_streams.KeptIfFew(documents(n, words=200), limit=100)
    tracemalloc.start()
    corpora.write_corpus(tmp_path / str(n), few, {'name': 'c'})
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert few.records == []
  # 1,500 more documents of 900 characters are 1.3 MB.
  assert peaks[1] < peaks[0] + 5e5, peaks


def test_few_records_are_kept():
  few = record_streams.KeptIfFew(documents(5), limit=5)
  assert len(list(few)) == len(few.records) == 5


def test_an_error_of_a_late_record_leaves_no_corpus(tmp_path):
  """It comes out as it is, and not in an error of tfds."""
  path = tmp_path / 'mixed.jsonl'
  lines = ['{"text": "one"}', '{"text": "two"}', '{"text": 3}']
  path.write_text('\n'.join(lines) + '\n')
  records = record_streams.stream_records('mine', SourceConfig(path=str(path)), None, (), 0, len)
  with pytest.raises(DataError, match=r'mixed\.jsonl:3'):
    corpora.write_corpus(tmp_path / 'c', records, {'name': 'c'})
  assert [found.name for found in tmp_path.iterdir()] == ['mixed.jsonl']


@pytest.mark.slow
@pytest.mark.parametrize('kind', MAKERS)
def test_processes_make_the_tokens_of_one(kind, tokenizer, tmp_path, monkeypatch):
  """The tokens of several processes, one part after the other, are those of this process."""
  records = list(MAKERS[kind](23))
  corpora.write_corpus(tmp_path, records, {'name': 'c'})
  wanted = Source('c', kind, records, records).tokens(tokenizer)
  monkeypatch.setattr(tokenized, 'MANY_RECORDS', 10)
  monkeypatch.setattr(tokenized.os, 'sched_getaffinity', lambda _: {0, 1, 2})
  rows = corpora.read_rows(tmp_path, kind)
  in_this_process = []
  monkeypatch.setattr(token_files, 'save', lambda *arguments: in_this_process.append(1))
  found = Source('c', kind, rows, cache=tmp_path).tokens(tokenizer)
  assert not in_this_process
  for name in ('ids', 'weights', 'starts'):
    np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
  assert isinstance(found.ids, np.memmap)
  # Nothing of the parts is left, and what is kept is read again.
  assert len(list(tmp_path.glob('tokens-*'))) == 1
  monkeypatch.setattr(tokenized, 'tokenize_in_parallel', None)
  again = Source('c', kind, rows, cache=tmp_path).tokens(tokenizer)
  np.testing.assert_array_equal(again.ids, wanted.ids)


def test_an_error_in_a_process_is_one_line(tokenizer, tmp_path, monkeypatch):
  corpora.write_corpus(tmp_path, documents(3), {'name': 'c'})
  tokenizer = SentencePieceTokenizer(tokenizer._model)
  tokenizer.fingerprint = 'another'
  with pytest.raises(DataError, match='is another tokenizer than before; run again'):
    tokenized.tokenize_in_parallel(tmp_path, 'documents', 3, tokenizer, 1, tmp_path / 'tokens')
  assert not list(tmp_path.glob('tokens*'))


@pytest.mark.parametrize('name', [*token_files.FILES, token_files.DESCRIPTION])
@pytest.mark.parametrize('damage', ['cut', 'changed', 'missing'])
def test_damaged_tokens_are_made_again(name, damage, tmp_path):
  """Whatever file is damaged, nothing is read of it."""
  ids = np.arange(9, dtype=np.int32)
  token_files.save(tmp_path / 't', [(ids[:4], ids[:4] > 1), (ids[4:], ids[4:] > 5)])
  kept = token_files.load(tmp_path / 't')
  np.testing.assert_array_equal(kept.ids, ids)
  assert kept.starts.tolist() == [0, 4, 9]
  file = tmp_path / 't' / name
  content = file.read_bytes()
  if damage == 'missing':
    file.unlink()
  elif damage == 'cut':
    file.write_bytes(content[:-1])
  else:
    file.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
  assert token_files.load(tmp_path / 't') is None


def test_counting_silent_records_in_blocks(tokenizer, monkeypatch):
  records = [*chats(7), Chat('silent', (('user', 'why'),)), *chats(4)]
  source = Source('c', 'chats', records, records)
  assert source.count_silent(tokenizer) == 1
  monkeypatch.setattr(tokenized, '_TEXTS_AT_A_TIME', 3)
  assert source.count_silent(tokenizer) == 1


def test_chats_of_a_late_epoch_are_planned_alone(tokenizer, monkeypatch):
  """A resumed phase knows from its checkpoint how many rows each epoch before had."""
  records = list(chats(40))
  source = Source('c', 'chats', records, records)
  planned = []
  make = PackedRows._make_whole_rows
  monkeypatch.setattr(
    PackedRows, '_make_whole_rows', lambda self, epoch: planned.append(epoch) or make(self, epoch)
  )

  def iterator():
    return input_pipeline.batches([(source, 1.0)], tokenizer, 4, 48, seed=0)

  data = iterator()
  for _ in range(40):
    last = next(data)
  state = data.get_state()
  wanted = next(data)
  data.close()
  epochs = max(planned)
  assert epochs >= 4
  planned.clear()
  resumed = iterator()
  resumed.set_state(state)
  found = next(resumed)
  resumed.close()
  for key, value in wanted.items():
    np.testing.assert_array_equal(found[key], value, key)
  assert not np.array_equal(last['tokens'], wanted['tokens'])
  # Rows are made ahead, so the next epoch may be planned too.
  assert set(planned) <= {epochs - 1, epochs, epochs + 1}


@pytest.mark.parametrize(('kind', 'bytes_each'), [('documents', 56), ('chats', 165)])
def test_memory_of_rows_is_what_is_said(kind, bytes_each, tokenizer):
  """Beside the tokens, rows of two epochs take as many bytes a record as input_pipeline.py says."""
  n, length = 5_000, 128
  sizes = np.random.default_rng(0).integers(20, 60, n)
  starts = np.concatenate([[0], np.cumsum(sizes)])
  source = Source('c', kind, range(n))
  ids, weights = np.zeros(starts[-1], np.int32), np.ones(starts[-1], np.int8)
  source._tokens[tokenizer.fingerprint] = tokenized.TokenizedCorpus(ids, weights, starts)
  tracemalloc.start()
  rows = PackedRows(source, tokenizer, length, seed=0)
  in_second_epoch = int(1.3 * starts[-1] / length)
  for k in (0, in_second_epoch):
    rows[k]
  held = tracemalloc.get_traced_memory()[0]
  tracemalloc.stop()
  assert held / n == pytest.approx(bytes_each, rel=0.1)


def test_states_of_before_are_understood(tokenizer):
  """A checkpoint that does not know the rows of epochs is resumed as it was: all are planned."""
  records = list(chats(40))
  source = Source('c', 'chats', records, records)
  data = input_pipeline.batches([(source, 1.0)], tokenizer, 4, 48, seed=0)
  for _ in range(9):
    next(data)
  state = data.get_state()
  wanted = next(data)
  data.close()
  resumed = input_pipeline.batches([(source, 1.0)], tokenizer, 4, 48, seed=0)
  resumed.set_state(state['rows'])
  np.testing.assert_array_equal(next(resumed)['tokens'], wanted['tokens'])
  resumed.close()
