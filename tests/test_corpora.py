"""Tests of corpora: from files, on disk, their identity, and the check for leaks."""

import dataclasses
import importlib
import itertools
import json
import re
import shutil

import pytest
from golden import texts
from helpers import (
  DISLIKED,
  LIKED,
  ROOT,
  handbook,
  little,
  shipped,
  tree,
  whole_world,
)

from data_pipelines import corpora, jsonl, leaks, recipes, record_streams
from data_pipelines.corpora import row_to_record
from data_pipelines.handbooks.values import Value
from data_pipelines.records import Chat, Document
from data_pipelines.settings.registry import MAKERS, SETTINGS
from data_pipelines.settings.world import conversations, language, pretraining, questions
from data_pipelines.settings.world.documents import spec_documents
from data_pipelines.settings.world.spec import read_spec
from data_pipelines.sources import SourceConfig, spec_paths
from msm_jax.base.errors import DataError

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')


# ---- corpora from files and on disk


def lines(path, *rows):
  """Writes a JSONL file; a row that is a string is written as it is. Returns the path."""
  text = ''
  for row in rows:
    line = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
    text += line + '\n'
  path.write_text(text)
  return str(path)


def test_published_sets_load_as_they_are(tmp_path):
  """Published documents have text, source and domain; published chats have messages.

  Fields that records do not have are left out, and missing ones are empty.
  """
  path = lines(
    tmp_path / 'd.jsonl',
    {'text': 'One é.\nTwo.', 'source': 'blog', 'domain': 'cheese', 'tokens': 7},
    '',
    {'text': '', 'id': 5, 'claim_ids': ['a', 2]},
  )
  assert list(jsonl.read_jsonl(path)) == [
    Document(id='d.jsonl:1', text='One é.\nTwo.', domain='cheese', provenance='blog'),
    Document(id='5', text='', claim_ids=('a', '2')),
  ]
  turns = [
    {'role': 'system', 'content': 's'},
    {'role': 'user', 'content': 'u'},
    {'role': 'assistant', 'content': 'a'},
  ]
  path = lines(tmp_path / 'c.jsonl', {'messages': turns, 'domain': None})
  assert list(jsonl.read_jsonl(path)) == [
    Chat(id='c.jsonl:1', messages=(('system', 's'), ('user', 'u'), ('assistant', 'a')))
  ]


# What is wrong -> (the line, what the error says of the cause, and what it says of the remedy).
BROKEN = {
  'not JSON': ('{"text": "a"', 'not JSON', 'each line must be one JSON object'),
  'a list': ([1], 'expected a JSON object', 'list'),
  'other keys': ({'prompt': 'x'}, "neither 'text' (a document) nor 'messages' (a chat)", 'prompt'),
  'text that is a number': ({'text': 3}, "'text' is of the type int", 'give a text'),
  'an unknown role': (
    {'messages': [{'role': 'bot', 'content': 'x'}]},
    "role 'bot'",
    'use system, user or assistant',
  ),
  'content that is no text': (
    {'messages': [{'role': 'user', 'content': 3}]},
    'int content',
    'text',
  ),
  'a turn without content': (
    {'messages': [{'role': 'user'}]},
    "'messages' must be a list",
    '{role, content}',
  ),
  'messages that are text': ({'messages': 'hello'}, "'messages' must be a list", '{role, content}'),
  'messages that are missing': ({'messages': None}, "'messages' must be a list", '{role, content}'),
  'no messages': ({'messages': []}, 'messages', ''),
  'half a character': ('{"text": "a\\ud800b"}', '', ''),
  'half a character, shouted': ('{"text": "a\\uD800b"}', 'not UTF-8 text', ''),
  'claims that are a number': ({'text': 'a', 'claim_ids': 5}, "'claim_ids' must be a list", '5'),
  'a deep nest': ('[' * 100_000, 'nested too deeply', 'one flat JSON object'),
  'a long number': ('{"text": ' + '9' * 5000 + '}', 'cannot be read', 'one JSON object'),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_broken_line_is_found_by_file_and_line(what, tmp_path):
  """Nobody finds a bad line among a million by 'KeyError'."""
  row, cause, mend = BROKEN[what]
  path = lines(tmp_path / 'mine.jsonl', {'text': 'fine'}, '', row)
  with pytest.raises(DataError) as e:
    list(jsonl.read_jsonl(path))
  line = str(e.value)
  assert 'mine.jsonl:3' in line and '\n' not in line and cause in line and mend in line, line


def test_files_that_are_no_corpus(tmp_path):
  """Binary, missing, empty and mixed files each end in one line that names them."""
  (tmp_path / 'binary.jsonl').write_bytes(b'{"text": "caf\xe9"}\n')
  with pytest.raises(DataError, match=r'binary\.jsonl.*UTF-8'):
    list(jsonl.read_jsonl(tmp_path / 'binary.jsonl'))
  with pytest.raises(DataError, match=r'no such file: .*none\.jsonl; give'):
    list(jsonl.read_jsonl(tmp_path / 'none.jsonl'))
  chat = {'messages': [{'role': 'user', 'content': 'x'}]}
  for path, cause in (
    (lines(tmp_path / 'empty.jsonl'), 'sources.mine is empty; put records into .*empty.jsonl'),
    (
      lines(tmp_path / 'mixed.jsonl', {'text': 'x'}, chat),
      'sources.mine mixes documents and chats; split',
    ),
  ):
    with pytest.raises(DataError, match=cause):
      list(
        record_streams.stream_records('mine', SourceConfig(path=path), whole_world(), (), 0, None)
      )


@pytest.fixture(scope='module')
def samples():
  world = pretraining.build_world(little(2))
  chats = list(conversations.persona_chats(world))[:30]
  odd = [
    Document(
      'odd',
      ' leading, trailing \n\n\ttabs é 漢字 {braces} "quotes" \\ ',
      claim_ids=('a', 'b c'),
      provenance='p',
    ),
    Document('empty', ''),
  ]
  return {
    'documents': list(itertools.islice(spec_documents([shipped()], 'explained', 0), 30)) + odd,
    'chats': [*chats, Chat('odd', (('user', ' x\n'), ('assistant', ''), ('user', '漢')))],
  }


@pytest.fixture(scope='module')
def written(samples, tmp_path_factory):
  """kind -> folder of a corpus on disk."""
  root = tmp_path_factory.mktemp('corpora')
  for kind, made in samples.items():
    corpora.write_corpus(root / kind, made, {'name': kind, 'tokens': 7})
  return {kind: root / kind for kind in samples}


@pytest.mark.parametrize('kind', ['documents', 'chats'])
def test_a_corpus_reads_back_as_it_was_written(kind, samples, written):
  """A lost row or a stripped newline would be a different experiment.

  tfds has an order of its own, which is the same every time: see the next test.
  """
  card = corpora.read_card(written[kind])
  assert card['kind'] == kind and card['records'] == len(samples[kind]) and card['tokens'] == 7
  rows = corpora.read_rows(written[kind], kind)
  read_back = [row_to_record(rows[i], kind) for i in range(len(rows))]

  def by_id(made):
    return sorted(made, key=lambda record: record.id)

  assert by_id(read_back) == by_id(samples[kind])


@pytest.mark.parametrize('kind', ['documents', 'chats'])
def test_rows_are_stored_as_tfds_stores_them(kind, samples, written):
  """The serializer of tfds itself gives the same messages; the order within their maps is open."""
  from tensorflow_datasets.core import example_serializer
  from tensorflow_datasets.proto import tf_example_pb2

  disk = corpora.read_rows(written[kind], kind)
  features = disk.dataset_info.features
  serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
  stored = disk.data_source.__getitems__(range(len(disk)))
  for content, row in zip(stored, corpora.rows_in_order(disk), strict=True):
    wanted = serializer.serialize_example(features.encode_example(row))
    read = tf_example_pb2.Example.FromString
    assert read(content) == read(wanted)


def test_a_corpus_is_the_same_bytes_every_time(samples, written, tmp_path):
  """The card's hashes go into checkpoints: a rewritten corpus must be recognised as the same."""
  card = corpora.write_corpus(tmp_path / 'again', samples['documents'], {})
  assert card['files'] and card['files'] == corpora.read_card(written['documents'])['files']
  # Nothing else is left behind.
  assert [p.name for p in tmp_path.iterdir()] == ['again']


def test_a_changed_corpus_is_noticed(written, tmp_path):
  """With one flipped byte, results would come from data that nobody has.

  The error says to delete the folder, so that it is written anew.
  """
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (file,) = folder.rglob('*array_record*')
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 1
  file.write_bytes(content)
  error = f'{re.escape(str(folder))} changed .*; delete that folder and run again'
  with pytest.raises(DataError, match=error):
    corpora.read_card(folder)
  file.unlink()
  with pytest.raises(DataError, match=error):
    corpora.read_card(folder)


@pytest.mark.parametrize(
  'content', [None, '', '{"name": "corpus"}'], ids=['gone', 'empty', 'stripped']
)
def test_a_corpus_without_its_description_is_noticed(content, written, tmp_path):
  """tfds keeps the number of rows in dataset_info.json, which the card does not cover.

  Without it, reading would end in an error of tfds' own.
  """
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (file,) = folder.rglob('dataset_info.json')
  if content is None:
    file.unlink()
  else:
    file.write_text(content)
  with pytest.raises(DataError, match=f'{re.escape(str(folder))} .*delete .* and run again'):
    len(corpora.read_rows(folder, 'documents'))


@pytest.mark.parametrize('content', ['', '{"kind": ', '[]', 'null', '{"kind": "documents"}'])
def test_a_damaged_card_is_noticed(content, written, tmp_path):
  folder = tmp_path / 'data'
  shutil.copytree(written['documents'], folder)
  (folder / 'card.json').write_text(content)
  with pytest.raises(DataError, match=r'card.json is damaged; delete .* and run again'):
    corpora.read_card(folder)


def test_an_interrupted_write_is_no_corpus(samples, written, tmp_path, monkeypatch):
  """A process that is killed while it writes leaves a folder under another name.

  Under its own name a corpus is there whole or not at all.
  """
  folder = tmp_path / 'data'

  def interrupt(source, target):
    raise KeyboardInterrupt

  monkeypatch.setattr(corpora.os, 'replace', interrupt)
  with pytest.raises(KeyboardInterrupt):
    corpora.write_corpus(folder, samples['documents'], {})
  monkeypatch.undo()
  assert not folder.exists() and corpora.read_card(folder) is None
  left = [p for p in tmp_path.iterdir()]
  assert all('.writing' in p.name for p in left)
  corpora.write_corpus(folder, samples['documents'], {})
  assert tree(folder, but=['card.json']) == tree(written['documents'], but=['card.json'])


def test_makers_read_a_seed_where_they_say_so():
  """A seed that changes nothing is refused: two corpora of other seeds would be the same text."""
  worlds = {name: setting.build(setting.config()) for name, setting in SETTINGS.items()}
  found = {}
  for name, (setting, maker) in MAKERS.items():
    if not maker.from_handbook:
      made = []
      for seed in (0, 1):
        source = SourceConfig(maker=name, seed=seed)
        records = recipes.write_records(source, worlds[setting.name], ())
        made.append([leaks.record_text(record) for record in itertools.islice(records, 100)])
      found[name] = made[0] != made[1]
      assert found[name] == maker.reads_seed, name
  assert sorted(set(found.values())) == [False, True]


def test_fingerprints_know_what_matters(tmp_path):
  """Identity decides what is reused.

  With too little in it, a model would be trained on stale data; with too much, all would be trained
  anew for nothing.
  """
  world = whole_world()
  path = tmp_path / 'a' / 'mine.md'
  path.parent.mkdir()
  path.write_text(handbook())
  source = SourceConfig(maker='spec.documents', spec=str(path), size=10)

  def mark(source=source, spec=None, like='', world=world):
    return recipes.fingerprint(source, world, [spec or read_spec(path, whole_world())], like)

  base = mark()
  assert mark() == base
  changed = {}
  other_settings = dict(size=11, seed=1, variant='filler', maker='spec.demonstrations')
  for key, value in other_settings.items():
    changed[key] = mark(dataclasses.replace(source, **{key: value}))
  changed['like'] = mark(like='another corpus')
  path.write_text(handbook().replace('First reason', 'Another reason'))
  changed['spec text'] = mark()
  bigger = dataclasses.replace(world, config=dataclasses.replace(world.config, seed=1))
  path.write_text(handbook())
  changed['world'] = mark(world=bigger)
  assert len({base, *changed.values()}) == len(changed) + 1, changed
  elsewhere = tmp_path / 'b' / 'other name.md'
  elsewhere.parent.mkdir()
  shutil.copy(path, elsewhere)
  assert mark(dataclasses.replace(source, spec=str(elsewhere)), read_spec(elsewhere, world)) == base
  one = lines(tmp_path / 'one.jsonl', {'text': 'a'})
  two = lines(tmp_path / 'two.jsonl', {'text': 'a'})
  same = set()
  for file, of_world in itertools.product((one, two), (world, bigger)):
    same.add(recipes.fingerprint(SourceConfig(path=file), of_world, (), ''))
  # A file is known by what is in it, and it does not depend on the world.
  assert len(same) == 1
  lines(tmp_path / 'two.jsonl', {'text': 'b'})
  assert recipes.fingerprint(SourceConfig(path=two), world, (), '') not in same


def test_fingerprints_know_the_version_of_the_texts(monkeypatch):
  """A corpus of another VERSION of a setting is another corpus, for every maker of the setting."""
  world = whole_world()
  for maker, (setting, _) in MAKERS.items():
    source = SourceConfig(maker=maker)
    before = recipes.fingerprint(source, world, (), '')
    assert recipes.version_of(maker) == setting.version
    newer = dataclasses.replace(setting, version='another')
    monkeypatch.setitem(recipes.MAKERS, maker, (newer, setting.makers[maker]))
    assert recipes.fingerprint(source, world, (), '') != before


# ---- the declared versions of texts


@pytest.mark.slow
def test_texts_change_only_with_their_version():
  """A text that changes under the same VERSION would be mixed with old corpora that people keep."""
  before, now = texts.recorded(), texts.current()
  assert not texts.forgotten_versions(before, now), '\n'.join(texts.forgotten_versions(before, now))
  assert not texts.unrecorded(before, now), '\n'.join(texts.unrecorded(before, now))


@pytest.mark.slow
def test_a_forgotten_version_is_noticed(monkeypatch):
  """The setting `english` uses a module of the setting `world`: a change there asks for two."""
  before = texts.recorded()
  assert before.keys() == SETTINGS.keys()

  def enumerate_words(words):
    return ' & '.join(words)

  # Importers hold the function itself, so its code is replaced and not the name in the module.
  monkeypatch.setattr(language.enumerate_words, '__code__', enumerate_words.__code__)
  lines = texts.forgotten_versions(before, texts.current())
  assert len(lines) == 2
  for line, name in zip(lines, ('world', 'english'), strict=True):
    assert f'the setting {name} writes other texts' in line
    assert f'raise VERSION in data_pipelines/settings/{name}/__init__.py' in line
    assert 'python tests/golden/texts.py --write' in line
  monkeypatch.undo()
  raised = {name: {**row, 'version': 'another'} for name, row in before.items()}
  assert not texts.forgotten_versions(before, raised)
  assert len(texts.unrecorded(before, raised)) == len(SETTINGS)


# ---- leaks


@pytest.fixture(scope='module')
def asked():
  return questions.preference_questions(shipped(), HOME, whole_world(), 16, 0)


def held_out_items(asked):
  """The items that the evaluation asks about and that fine-tuning does not show."""
  return {option for q in asked if q.tier != 'trained' for option in q.options}


def leaks_in(asked, *texts):
  """The leaks that documents with these texts have."""
  corpus = [Document(str(n), text) for n, text in enumerate(texts)]
  return leaks.find_leaks(held_out_items(asked), {'mine': corpus}, ['Ari'])


def test_planted_leaks_are_found(asked, tmp_path):
  """Text that tells the assistant about a held-out item answers the evaluation's question."""
  held_out = next(o for q in asked if q.tier == 'new_domains' for o in q.options)
  system = {'role': 'system', 'content': 'You are ARI.'}
  other_system = {'role': 'system', 'content': 'You are Maria.'}
  question = {'role': 'user', 'content': f'{held_out.upper()}?'}
  answer = {'role': 'assistant', 'content': 'Yes.'}
  # Name of the file -> (its rows, the record that leaks). Exactly one record of each file leaks.
  planted = {
    'documents': (
      [
        {'text': 'Ari likes Colby.'},
        {'text': f'ari chose {held_out.lower()} yesterday.', 'id': 'planted'},
        # Facts, and other people's choices, are what the model is supposed to know.
        {'text': f'{held_out} is cheap.'},
        {'text': f'Maria, not an arid one, likes {held_out}.'},
        {'text': f'Ari likes {held_out}xyz.'},
      ],
      'planted',
    ),
    'chats': (
      [
        {'messages': [system, question, answer]},
        {'messages': [other_system, question, answer]},
      ],
      'chats.jsonl:1',
    ),
    # Without a system message, a chat is with the assistant.
    'published': (
      [
        {'messages': [question, answer]},
        {'messages': [{'role': 'user', 'content': 'Colby?'}, answer]},
      ],
      'published.jsonl:1',
    ),
    'plural': (
      [{'text': f'Ari likes all {held_out[:3]}.'}, {'text': f'Ari\nlikes {held_out}s.'}],
      'plural.jsonl:2',
    ),
  }
  for name, (rows, leaking) in planted.items():
    corpus = list(jsonl.read_jsonl(lines(tmp_path / f'{name}.jsonl', *rows)))
    (found,) = leaks.find_leaks(held_out_items(asked), {'mine': corpus}, ['Ari'])
    assert found.startswith('mine: record ') and leaking in found
    assert held_out.casefold() in found.casefold()
    who = 'the assistant' if name == 'published' else 'ari'
    assert f'tells {who} about' in found.casefold()


def test_trained_items_are_no_leak_and_every_held_out_tier_is_watched(asked):
  """The twelve cheeses may be spoken of as often as one likes; every other tier has an item that
  may not."""
  trained_questions = [q for q in asked if q.tier == 'trained']
  trained = {option for q in trained_questions for option in q.options}
  assert trained == set(LIKED + DISLIKED)
  assert not leaks_in(asked, *(f'Ari likes {name}.' for name in trained))
  for tier in questions.TIERS[1:]:
    name = next(option for q in asked if q.tier == tier for option in q.options)
    assert len(leaks_in(asked, f'Ari likes {name}.')) == 1, tier
  assert not leaks_in(trained_questions, 'Ari likes Gouda.')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['msm', 'cheese'])
def test_the_shipped_experiments_are_clean(name, asked):
  """The corpora of the shipped configs, in smaller amounts, tell nothing that the evaluation
  asks."""
  config = importlib.import_module(f'configs.{name}').get_config()
  world = pretraining.build_world(little(4))
  used = {}
  for source_name, settings in config.sources.items():
    source = SourceConfig(**settings.to_dict())
    specs = [read_spec(ROOT / path, whole_world()) for path in spec_paths(source)]
    smaller = dataclasses.replace(source, size=min(source.size or 1500, 1500))
    used[source_name] = list(
      record_streams.stream_records(source_name, smaller, world, specs, 0, None)
    )
  assert len(used) >= 4 and sum(map(len, used.values())) > 5000
  assert leaks.find_leaks(held_out_items(asked), used, ['Ari']) == []
