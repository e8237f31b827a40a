"""What the tests of written documents share: settings, plans, and ways to read what was made."""

import json
import sqlite3

from helpers import ROOT

from data_pipelines.documents import pipeline
from data_pipelines.jsonl import read_jsonl
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, PlanSettings
from data_pipelines.records import Document

# The files of SQLite, which differ from run to run.
LEDGER_FILES = ('ledger.sqlite', 'ledger.sqlite-wal', 'ledger.sqlite-shm')


class PassedAudit:
  """Stands for the report of an audit that finds nothing."""

  def check(self, setting):
    pass

  def table(self):
    return 'all passed'


def skip_audit_and_storage(monkeypatch):
  """Replaces the audit, which has tests of its own, and ArrayRecord, which takes long to import."""
  monkeypatch.setattr(pipeline, '_audit', lambda *a: PassedAudit())
  monkeypatch.setattr(pipeline, 'store', lambda *a: None)


AFFORDABILITY, CULTURE = (
  str(ROOT / 'specs' / 'english' / f'{v}.md') for v in ('affordability', 'culture')
)


# 24 ideas.
SMALL = PlanSettings(domains=2, subdomains=2, claims=3, types=3, ideas=2, words=(60, 110))


def corpus_config(*specs, **settings):
  """The config of a small corpus.

  Args:
    *specs: handbooks; one about affordability if none is given.
    **settings: fields of CorpusConfig, and `attempts` and `tags` of its writer.

  Returns:
    The config; it asks for 10 documents if the settings do not say how much.
  """
  model = ModelSettings(
    model='mockllm/model',
    attempts=settings.pop('attempts', 4),
    max_connections=8,
    tags=settings.pop('tags', True),
  )
  settings = {'plan': SMALL, 'prices': str(ROOT / 'configs' / 'corpora' / 'prices.json')} | settings
  if not settings.get('tokens'):
    settings.setdefault('documents', 10)
  return CorpusConfig('corpus', specs or (AFFORDABILITY,), writer=model, **settings)


def written_documents(folder, *stems):
  """Reads the documents that a run wrote.

  Args:
    folder: the run's workdir.
    *stems: handbooks; 'affordability' if none is given.

  Returns:
    From handbook to its documents.
  """
  found = {}
  for stem in stems or ('affordability',):
    found[stem] = list(read_jsonl(folder / 'corpus' / f'{stem}.jsonl'))
  for documents in found.values():
    assert all(isinstance(d, Document) for d in documents)
    assert len({d.id for d in documents}) == len(documents)
  return found


def edited_plan(folder, change=lambda p: None):
  """Writes a copy of the shipped plan, after `change` edited its JSON; returns the path."""
  data = json.loads((ROOT / 'specs' / 'plans' / 'cheese.json').read_text())
  change(data)
  path = folder / 'mine.json'
  path.write_text(json.dumps(data))
  return str(path)


def count_replies(folder):
  """How many replies the ledger of a run holds; the run may be under way."""
  try:
    with sqlite3.connect(f'file:{folder}/ledger.sqlite?mode=ro', uri=True) as db:
      return db.execute('select count(*) from replies').fetchone()[0]
  except sqlite3.Error:
    return 0
