"""What the tests of the audit share: documents that were written, and documents that say nothing."""

import dataclasses
import functools
import itertools
import random

from helpers import ROOT

from data_pipelines.audit import measures
from data_pipelines.audit.attribution import HandbookProfile
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Document
from data_pipelines.settings.english import handbook
from data_pipelines.text.wording import Vocabulary

SPECS = {
  v: (ROOT / 'specs' / 'english' / f'{v}.md').read_text() for v in ('affordability', 'culture')
}


@functools.cache
def written(value: str, variant: str) -> tuple[Document, ...]:
  """80 documents of the embedded writer, under ids that mirrored ones share."""
  english = handbook.build_english(handbook.EnglishConfig())
  spec = handbook.read_spec(ROOT / 'specs' / 'english' / f'{value}.md', english)
  made = itertools.islice(handbook.english_documents([spec], english, variant, 0), 80)
  return tuple(dataclasses.replace(d, id=str(n), claim_ids=()) for n, d in enumerate(made))


def prose(rng: random.Random, sentences: int = 8) -> str:
  """Sentences without rhyme or reason."""
  vocabulary = [
    f'{a}{b}'
    for a in 'ba ce di fo gu la me ni po ru'.split()
    for b in 'bel dan fip gor hut lam nes pov rit sak'.split()
  ]
  return ' '.join(
    ' '.join(rng.choices(vocabulary, k=rng.randrange(6, 14))).capitalize() + '.'
    for _ in range(sentences)
  )


def documents(n: int, seed: int = 0, **fields: str) -> list[Document]:
  rng = random.Random(seed)
  return [Document(f'd{k}', prose(rng), **fields) for k in range(n)]


def read(
  records, gist: HandbookProfile | None = None, vocabulary: Vocabulary | None = None
) -> tuple[measures.CorpusStats, Vocabulary]:
  vocabulary = vocabulary or Vocabulary()
  return measures.read_corpus(
    'mine', records, gist or HandbookProfile(), vocabulary, counter('')
  ), vocabulary


def verdict(report: dict, what: str, corpus: str = 'mine') -> dict:
  (found,) = [v for v in report['verdicts'] if v['what'] == what and v['corpus'] == corpus]
  return found
