"""What the tests of the audit share: documents of the embedded writers, and random texts."""

import dataclasses
import functools
import itertools
import random

from helpers import ROOT

from data_pipelines.audit.attribution import HandbookProfile
from data_pipelines.audit.corpus_stats import CorpusStats, read_corpus
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Document
from data_pipelines.settings.english.documents import english_documents
from data_pipelines.settings.english.spec import read_spec
from data_pipelines.settings.english.stock import EnglishConfig, build_english
from data_pipelines.text.wording import Vocabulary

SPECS = {
  v: (ROOT / 'specs' / 'english' / f'{v}.md').read_text() for v in ('affordability', 'culture')
}


@functools.cache
def written(value: str, variant: str) -> tuple[Document, ...]:
  """80 documents of the embedded writer, under ids that mirrored ones share."""
  english = build_english(EnglishConfig())
  spec = read_spec(ROOT / 'specs' / 'english' / f'{value}.md', english)
  made = itertools.islice(english_documents([spec], english, variant, 0), 80)
  return tuple(dataclasses.replace(d, id=str(n), claim_ids=()) for n, d in enumerate(made))


def prose(rng: random.Random, sentences: int = 8) -> str:
  """Makes sentences of random words that no handbook has."""
  first_syllables = 'ba ce di fo gu la me ni po ru'.split()
  second_syllables = 'bel dan fip gor hut lam nes pov rit sak'.split()
  vocabulary = [f'{a}{b}' for a, b in itertools.product(first_syllables, second_syllables)]
  made = []
  for _ in range(sentences):
    words = rng.choices(vocabulary, k=rng.randrange(6, 14))
    made.append(f'{" ".join(words).capitalize()}.')
  return ' '.join(made)


def documents(n: int, seed: int = 0, **fields: str) -> list[Document]:
  """Makes random documents, d0, d1 and so on."""
  rng = random.Random(seed)
  return [Document(f'd{k}', prose(rng), **fields) for k in range(n)]


def read(
  records, profile: HandbookProfile | None = None, vocabulary: Vocabulary | None = None
) -> tuple[CorpusStats, Vocabulary]:
  """Reads a corpus as the audit does."""
  vocabulary = vocabulary or Vocabulary()
  profile = profile or HandbookProfile()
  return read_corpus('mine', records, profile, vocabulary, counter('')), vocabulary


def verdict(report: dict, what: str, corpus: str = 'mine') -> dict:
  """Returns the one verdict on a threshold and a corpus."""
  (found,) = [v for v in report['verdicts'] if v['what'] == what and v['corpus'] == corpus]
  return found
