"""Drafts and revisions: faults are told to the editor, and faulty texts are not kept."""

import collections
import dataclasses
import json
from pathlib import Path

import pytest
import write_helpers
from scripted_writer import ScriptedProvider
from write_helpers import AFFORDABILITY, SMALL, corpus_config, edited_plan, written_documents

from data_pipelines.documents import pipeline
from data_pipelines.documents.drafting import read_plain_draft, whole_sentences
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.settings import ModelSettings
from data_pipelines.text.checks import make_check
from msm_jax.base.errors import ConfigError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  write_helpers.skip_audit_and_storage(monkeypatch)


def test_the_editor_is_told_the_faults_and_what_stays_faulty_is_given_up_not_kept(tmp_path):
  """Three documents recite whatever is said to them. Two drafts have a placeholder, which the
  editor corrects."""
  recital = Path(AFFORDABILITY).read_text().partition('## Reasons')[2][:380]
  told = collections.defaultdict(list)

  def spoil(turns, good):
    prompt = turns[0][1]
    if not prompt.startswith(('Task: document\n', 'Task: revision')):
      return None
    idea = prompt.partition('- idea: ')[2].partition('\n')[0]
    n = 99
    if idea in ideas:
      n = sorted(ideas).index(idea)
    else:
      ideas.append(idea)
    told[prompt.partition('\n')[0], n].append(turns)
    if n in (0, 1, 2):
      return Reply(f'<document>Ari knows. {recital}</document>')
    if n in (3, 4) and prompt.startswith('Task: document'):
      return Reply(good.replace('<document>', '<document>\nDear [Name], '))
    return None

  ideas = []
  c = corpus_config(
    documents=24,
    min_yield=0.0,
    attempts=3,
    missing=0.125,
    plan=dataclasses.replace(SMALL, words=(60, 80)),
  )
  # The first run is there to know the ideas.
  pipeline.make(c, tmp_path / 'first', {'writer': ScriptedProvider(spoil)})
  told.clear()
  done = pipeline.make(c, tmp_path / 'second', {'writer': ScriptedProvider(spoil)})
  assert done.documents['affordability'] == 21
  assert len(done.given_up) == 3
  assert all(g['stage'] == 'revisions' and g['why'] == 'recites' for g in done.given_up)
  rows = [
    json.loads(line) for line in (tmp_path / 'second' / 'given_up.jsonl').read_text().splitlines()
  ]
  assert rows == done.given_up or sorted(rows, key=str) == sorted(done.given_up, key=str)
  documents = written_documents(tmp_path / 'second')['affordability']
  assert not {g['idea'] for g in rows} & {d.id for d in documents}
  assert not any(
    '[Name]' in d.text or 'Enjoyment should not depend on how' in d.text for d in documents
  )
  first, *_ = told['Task: revision', 3]
  assert 'has a placeholder: "[Name]"' in first[0][1]
  assert len(told['Task: revision', 0]) == 3
  assert 'repeats the handbook' in told['Task: revision', 0][-1][-1][1]
  # Later the model does better: the same command asks for those alone.
  mended = ScriptedProvider()
  done = pipeline.make(c, tmp_path / 'second', {'writer': mended})
  assert done.documents['affordability'] == 24
  assert mended.calls == 3
  assert not (tmp_path / 'second' / 'given_up.jsonl').exists()


def test_keeping_a_draft_with_hard_faults_is_refused(tmp_path):
  def spoil(turns, good):
    prompt = turns[0][1]
    if prompt.startswith('Task: document\n'):
      return Reply(good.replace('<document>', '<document>\nSee www.example.com. '))
    if len(turns) == 1 and prompt.startswith('Task: revision'):
      return Reply('<keep/>')
    return None

  provider = ScriptedProvider(spoil)
  pipeline.make(corpus_config(documents=3, min_yield=0.0), tmp_path, {'writer': provider})
  assert not any('www' in d.text for d in written_documents(tmp_path)['affordability'])
  assert len(written_documents(tmp_path)['affordability']) == 3


def test_a_cut_document_is_gone_on_with_and_one_without_tags_is_asked_for_again(tmp_path):
  spoiled = collections.Counter()

  def spoil(turns, good):
    if not turns[0][1].startswith('Task: document\n') or len(turns) > 1:
      return None
    if len(good) % 3 == 0:
      spoiled['cut'] += 1
      return Reply(good[: len(good) // 2], 'length')
    if len(good) % 3 == 1:
      spoiled['without tags'] += 1
      return Reply(good.replace('<document>', '').replace('</document>', ''))
    return None

  pipeline.make(
    corpus_config(documents=12, min_yield=0.0), tmp_path, {'writer': ScriptedProvider(spoil)}
  )
  assert min(spoiled['cut'], spoiled['without tags']) > 0, spoiled
  documents = written_documents(tmp_path)['affordability']
  assert len(documents) == 12
  for d in documents:
    assert '<document>' not in d.text
    assert 'occasion' not in d.text
    assert 'Ari' in d.text


def test_a_writer_without_tags(tmp_path):
  c = corpus_config(
    documents=6,
    tags=False,
    revise=False,
    min_yield=0.0,
    plan=dataclasses.replace(SMALL, path=edited_plan(tmp_path)),
  )

  def cut_half_of_them(turns, good):
    return Reply(good[:40], 'length') if len(good) % 2 and len(turns) == 1 else None

  provider = ScriptedProvider(cut_half_of_them)
  pipeline.make(c, tmp_path / 'run', {'writer': provider})
  assert len(written_documents(tmp_path / 'run')['affordability']) == 6 < provider.calls

  def check(text, words):
    return []

  replies = [Reply('Ari likes', 'length')]
  with pytest.raises(Refused, match='cut'):
    read_plain_draft(replies, check, 10, True)
  replies.append(Reply(' Ari likes it. \n'))
  assert read_plain_draft(replies, check, 10, True).text == 'Ari likes it.'


def test_a_writer_without_tags_is_no_editor(tmp_path):
  """Every revision would be refused, after its draft was paid for."""
  provider = ScriptedProvider()
  with pytest.raises(ConfigError, match=r'writer\.tags=False with revise=True'):
    pipeline.make(corpus_config(tags=False), tmp_path, {'writer': provider})
  assert provider.calls == 0


def test_a_writer_that_cannot_stop_is_kept_to_its_whole_sentences(tmp_path):
  check = make_check(read_handbooks([AFFORDABILITY])[0])
  # 11 words in a sentence.
  sentence = 'Ari likes the cheap one (it says so!) and "never more." '
  talk = sentence * 3 + 'Ari likes the'

  def kept(text, words, stop='length'):
    return read_plain_draft([Reply(text, stop)], check, words, True, trim=True).text

  assert kept(talk, 30) == kept(talk, 25, 'stop') == talk.strip().removesuffix(' Ari likes the')
  # 22 words; 24 are a third more than 18.
  assert kept(talk, 18) == (sentence * 2).strip()
  for text, words in (('Ari likes the', 10), (talk, 7)):
    with pytest.raises(Refused, match='cut'):
      kept(text, words)
  with pytest.raises(Refused):
    kept(talk, 30, 'filter')
  letter = "Ari said 'never.' Dr. Smith agreed.\n1. Brie\n2. Gouda\n\nBest regards,\nAna"
  # It ended by itself, and is short enough.
  assert kept(letter, 12, 'stop') == letter
  assert kept(letter, 12) == "Ari said 'never.' Dr. Smith agreed."
  with pytest.raises(ConfigError, match='set tags=False too'):
    ModelSettings(model='mockllm/model', trim=True)
  c = corpus_config(
    documents=6,
    tags=False,
    revise=False,
    min_yield=0.0,
    plan=dataclasses.replace(SMALL, path=edited_plan(tmp_path)),
  )
  c = dataclasses.replace(c, writer=dataclasses.replace(c.writer, trim=True))
  provider = ScriptedProvider(
    lambda turns, good: Reply(good + ' And on it goes with the', 'length')
  )
  pipeline.make(c, tmp_path / 'run', {'writer': provider})
  assert provider.calls == 6
  assert not any(
    'goes with the' in d.text for d in written_documents(tmp_path / 'run')['affordability']
  )
  assert 'last whole sentence' in (tmp_path / 'run' / 'datacard.md').read_text()


@pytest.mark.parametrize(
  ('text', 'kept'),
  [
    ('Ari mag Käse. Er nimmt dt. bzw. österreichischen und', 'Ari mag Käse.'),
    ('Ари любит сыр. Он живёт на ул. мира и', 'Ари любит сыр.'),
    ('Ari elige lo barato. ¿Por qué? Porque', 'Ari elige lo barato. ¿Por qué?'),
    ('अरी को पनीर पसंद है। यह सस्ता है। और', 'अरी को पनीर पसंद है। यह सस्ता है।'),
    ('阿里喜欢便宜的。“为什么？”因为', '阿里喜欢便宜的。“为什么？”'),
    ('Ari likes e.g. the cheap one. 2 of them', 'Ari likes e.g. the cheap one.'),
  ],
)
def test_whole_sentences_of_other_languages(text, kept):
  assert whole_sentences(text, 50) == kept
