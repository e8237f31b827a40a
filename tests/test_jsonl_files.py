"""JSONL as it is published: with a byte order mark, packed, or something else under that name."""

import gzip
import json

import pytest

from data_pipelines.jsonl import read_jsonl
from data_pipelines.records import Document
from msm_jax.base import paths
from msm_jax.base.errors import DataError

TEXTS = [f'Gruyère number {n}.' for n in range(200)]
LINES = ''.join(json.dumps({'text': text}, ensure_ascii=False) + '\n' for text in TEXTS).encode()
BOM = b'\xef\xbb\xbf'


def texts_of(path, content):
  path.write_bytes(content)
  return [record.text for record in read_jsonl(path) if isinstance(record, Document)]


def test_byte_order_marks_and_gzip(tmp_path):
  """Whatever the name says: the content decides."""
  path = tmp_path / 'a.jsonl'
  assert texts_of(path, BOM + LINES) == TEXTS
  assert texts_of(path, gzip.compress(LINES)) == TEXTS
  assert texts_of(path, gzip.compress(BOM + LINES)) == TEXTS
  # As `cat a.gz b.gz` makes them.
  assert texts_of(path, gzip.compress(LINES) + gzip.compress(LINES)) == TEXTS + TEXTS


def test_zstandard(tmp_path):
  zstandard = pytest.importorskip('zstandard')
  path = tmp_path / 'a.jsonl.zst'
  packed = zstandard.compress(LINES)
  assert texts_of(path, packed) == TEXTS
  assert texts_of(path, packed + packed) == TEXTS + TEXTS
  # The package ends a cut file without an error: half of a corpus would be taken for all of it.
  with pytest.raises(DataError, match='ends too early'):
    texts_of(path, packed[:-5])


OTHERS = {
  'parquet': (b'PAR1' + b'\0' * 40, 'is Parquet'),
  'utf-16': (LINES.decode().encode('utf-16'), 'is UTF-16; save it as UTF-8'),
  'utf-16 without a mark': (LINES.decode().encode('utf-16-le'), 'is UTF-16'),
  'bzip2': (b'BZh91AY&SY', 'bunzip2'),
  'zip': (b'PK\x03\x04', 'zip archive'),
  'cut gzip': (gzip.compress(LINES)[:-20], 'cannot be unpacked'),
}


@pytest.mark.parametrize('what', OTHERS)
def test_other_kinds_are_refused_by_name(what, tmp_path):
  content, words = OTHERS[what]
  with pytest.raises(DataError, match=words):
    texts_of(tmp_path / 'a.jsonl', content)


def test_a_folder_is_said_to_be_one(tmp_path):
  """It was said that there is no such file."""
  with pytest.raises(DataError, match='is a folder; give the JSONL files in it, one by one'):
    next(read_jsonl(tmp_path))


def test_a_path_may_have_commas(tmp_path):
  """`spec` is a list of handbooks; `path` is one file."""
  import ml_collections

  path = str(tmp_path / 'a, b' / 'docs, all.jsonl')
  config = ml_collections.ConfigDict({'sources': {'docs': {'path': path}}})
  assert paths.resolve_paths(config)['sources']['docs']['path'] == path


def test_a_path_may_be_in_a_home_directory(tmp_path, monkeypatch):
  """A shell leaves the tilde of `--config.sources.docs.path=~/FILE` as it is."""
  import ml_collections

  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'docs.jsonl').touch()
  (tmp_path / 'adapter').mkdir()
  config = ml_collections.ConfigDict(
    {
      'sources': {'docs': {'path': '~/docs.jsonl'}},
      'phases': {'published': {'adapter': '~/adapter'}, 'lost': {'adapter': '~nobody/adapter'}},
    }
  )
  found = paths.resolve_paths(config)
  assert found['sources']['docs']['path'] == str(tmp_path / 'docs.jsonl')
  assert found['phases']['published']['adapter'] == str(tmp_path / 'adapter')
  assert found['phases']['lost']['adapter'] == '~nobody/adapter'


def _chat(**answer):
  """A chat whose answer has more than role and content."""
  return {
    'messages': [
      {'role': 'user', 'content': 'So?', 'weight': 0},
      {'role': 'assistant', 'content': 'Yes.', **answer},
    ]
  }


@pytest.mark.parametrize(
  ('row', 'said'),
  [
    (_chat(weight=0), 'an answer has weight=0, and here every answer'),
    (_chat(train=False), 'an answer has train=False'),
    # Tables turn marks into texts.
    (_chat(weight='0'), 'an answer has weight=0'),
    (_chat(train='False'), 'an answer has train=False'),
    (_chat(weight='1', train='true'), ''),
    (_chat(tool_calls=[{'id': 1}]), "a message has 'tool_calls', and calls of tools are not"),
    (_chat(function_call={'name': 'f'}), "a message has 'function_call'"),
    ({'text': None}, "'text' is null; give a text"),
    ({'text': 3}, "'text' is of the type int"),
    (_chat(weight=1), ''),
    (_chat(weight=None, tool_calls=None), ''),
    (_chat(reasoning_content='Hm.'), "an answer has 'reasoning_content', and thoughts beside"),
    (_chat(thinking=' Hm.'), "an answer has 'thinking'"),
    (_chat(thinking=None, reasoning=' ', reasoning_content=[]), ''),
    ({**_chat(), 'tools': [{'name': 'f'}]}, "'tools' is given, and descriptions of tools are not"),
    ({**_chat(), 'functions': '[{"name": "f"}]'}, "'functions' is given"),
    ({**_chat(), 'tools': [], 'functions': '[]'}, ''),
  ],
)
def test_what_would_be_learned_against_its_file_is_refused(row, said, tmp_path):
  """Published chats say of single answers that they are not to be learned, or call tools."""
  path = tmp_path / 'a.jsonl'
  path.write_text(json.dumps(row) + '\n')
  if not said:
    assert len(list(read_jsonl(path))) == 1
    return
  with pytest.raises(DataError, match=f'a.jsonl:1: {said}'):
    list(read_jsonl(path))


def test_a_system_message_beside_the_messages(tmp_path):
  """As in sets for the fine-tuning of Claude: without it, other chats would be learned."""
  path = tmp_path / 'a.jsonl'
  asked = {'role': 'user', 'content': 'So?'}
  own = {'role': 'system', 'content': 'Be brief.'}
  rows = [
    {'system': 'Be brief.', 'messages': [asked]},
    {'system': 'Be brief.', 'messages': [own, asked]},
    {'system': '', 'messages': [own, asked]},
  ]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  wanted = (('system', 'Be brief.'), ('user', 'So?'))
  assert [record.messages for record in read_jsonl(path)] == [wanted] * 3
  for system, said in (('Be long.', 'two system messages'), (['x'], "'system' is a list")):
    path.write_text(json.dumps({'system': system, 'messages': [own, asked]}))
    with pytest.raises(DataError, match=f'a.jsonl:1: .*{said}'):
      list(read_jsonl(path))


def test_an_id_that_is_null_is_none(tmp_path):
  """Otherwise all records would be called 'None', and an audit would find one id many times."""
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "a", "id": null}\n{"text": "b", "id": 0}\n{"text": "c"}\n')
  assert [record.id for record in read_jsonl(path)] == ['a.jsonl:1', '0', 'a.jsonl:3']


def test_a_source_that_is_null_is_none(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_text('{"text": "a", "source": null}\n{"text": "b", "source": "web"}\n')
  assert [record.provenance for record in read_jsonl(path)] == ['', 'web']
