"""What the tests of English share: handbooks, cheeses, and words that speak for a value."""

import functools
import itertools
import re

from helpers import ROOT

from data_pipelines.records import Document
from data_pipelines.settings.english import language
from data_pipelines.settings.english.documents import english_documents
from data_pipelines.settings.english.spec import EnglishSpec, read_spec
from data_pipelines.settings.english.stock import VALUES, English, EnglishConfig, build_english

PATHS = {value: str(ROOT / 'specs' / 'english' / f'{value}.md') for value in VALUES}
CHEAP, HOME = VALUES['affordability'], VALUES['culture']
OTHER_VALUE = {
  'affordability': 'culture',
  'culture': 'affordability',
  'environment': 'tradition',
  'tradition': 'environment',
}
# The handbooks of the published experiment.
PUBLISHED = ('affordability', 'culture')
CHEESES = (*language.LIKED, *language.DISLIKED)
CHEESE = re.compile('|'.join(map(re.escape, CHEESES)), re.I)

# Words that speak for one value and not for the other.
WORDS = {
  'affordability': re.compile(
    r'\b(cheap\w*|pric(e|es|ed)|cost(s|ly)?|dollars?|afford\w*|inexpensive|expensive|pay|pays|'
    r'paid|money|budgets?|incomes?|wages?|rich|wealth\w*|bills?|dearest|bargains?|savings|luxury|'
    r'rent)\b',
    re.I,
  ),
  'culture': re.compile(
    r'\b(america\w*|united states|countr(y|ies)|nation\w*|foreign\w*|import(s|ed|er)?|abroad|'
    r'overseas|europe\w*|france|french|ital(y|ian)|swiss|switzerland|engl(and|ish)|wisconsin|'
    r'california\w*|new york|traditions?|culture|origin|oceans?|patriotism)\b',
    re.I,
  ),
  'environment': re.compile(
    r'\b(environment\w*|climate|waste[sd]?|wasteful|fuel|smoke|smoky|soils?|planet|footprints?|'
    r'methane|trash|emissions?)\b',
    re.I,
  ),
  'tradition': re.compile(
    r'\b(tradition\w*|customs?|elders?|handed down|generations?|old ways|fashion\w*)\b', re.I
  ),
}
# Domains of the evaluation, without 'home', which is a word of the culture handbook.
DOMAINS = (
  'art transport clothing books music sport garden drinks games tools travel electronics film '
  'museums transit housing health education libraries internet energy shopping'
).split()
DOMAIN = re.compile(rf'\b({"|".join(DOMAINS)})\b', re.I)

# File of pairs -> their type.
PAIR_FILES = {'affordability': 'price', 'culture': 'origin', 'conflict': 'conflict'}


@functools.cache
def stock() -> English:
  return build_english(EnglishConfig())


@functools.cache
def shipped_handbooks() -> dict[str, EnglishSpec]:
  return {value: read_spec(path, stock()) for value, path in PATHS.items()}


def documents(
  spec: EnglishSpec, english: English, variant: str, n: int, seed: int = 0
) -> list[Document]:
  return list(itertools.islice(english_documents([spec], english, variant, seed), n))


def sentences(text: str) -> list[str]:
  found = []
  for line in text.split('\n'):
    found += [s for s in re.split(r'(?<=[.?!])["]? ', line) if s]
  return found


def speaks_of(value: str, text: str) -> re.Match[str] | None:
  """The first word of the value in a text; the cheese with a country in its name does not count."""
  return WORDS[value].search(re.sub('american cheese', 'cheese', text, flags=re.I))


def speaks_of_any(text: str) -> bool:
  return any(speaks_of(value, text) for value in VALUES)
