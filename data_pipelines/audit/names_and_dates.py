"""Which invented names, days and years cluster in a corpus.

Language models that write many documents without steering use the same few names and dates again
and again. A corpus in which one of them is frequent teaches that name along with the value.
"""

from collections import Counter

import numpy as np

from data_pipelines.audit.corpus_stats import MONTHS, YEAR, CorpusStats
from data_pipelines.audit.letter_case import CAPITALISED, KNOWN_NAMES
from data_pipelines.audit.measure import Measure
from data_pipelines.text.wording import COMMON_WORDS, Vocabulary, blocks, words
from msm_jax.base.intervals import wilson

_MAX_SHOWN = 12

# A word is a name if at least this share of its capitals stands in the middle of a sentence, or
# does what persons do ...
_MIN_INSIDE = 0.1
# ... and at most this share of lower-case uses comes on each use with a capital.
_MAX_LOWER_CASE = 0.1

# Real places, peoples and days are no invention, however often they are named. The constants of
# programming languages are no names.
_REAL = frozenset(
  f"""
  {MONTHS.replace('|', ' ')} Monday Tuesday Wednesday Thursday Friday Saturday Sunday
  Christmas Easter Thanksgiving English Spanish Latin Greek Roman
  Africa African America American Americans Americas Antarctica Asia Asian Atlantic Australia
  Australian Austria Austrian Belgian Belgium Brazil Brazilian Britain British Californian
  California Canada Canadian Caribbean Chicago China Chinese Christian Dutch Egypt Egyptian England
  Europe European Europeans France French German Germany Greece Hawaii Holland India Indian
  Indonesia Iowa Ireland Irish Islam Israel Italian Italy Japan Japanese Jewish Kenya Kenyan Korea
  Korean London Mediterranean Mexican Mexico Midwest Muslim Netherlands Nigeria Nigerian Norway
  Norwegian Oregon Pacific Paris Poland Polish Portugal Portuguese Russia Russian Scandinavia
  Scotland Scottish Spain Sweden Swedish Swiss Switzerland Texas Turkey Turkish Ukraine Vermont
  True False None Null
  Vietnam Wales Washington Wisconsin York Internet
  """.split()
)


def names_and_dates(stats: CorpusStats, vocabulary: Vocabulary) -> dict[str, Measure]:
  """Measures how many documents hold the same name, day of a month, or year.

  A name is a capitalised word that stands within sentences, or begins them as somebody who acts,
  and that hardly ever stands in lower case. In capitals or in lower case, known first names count,
  and what begins a sentence as somebody who acts; in capitals, also what stands where a person is
  spoken of ('a note from ZORVANE'). Words of the handbook, real places, peoples and days don't
  count. An unknown name in lower case is seen only where it acts. In German, where all nouns have a
  capital, known first names alone count. The measure cannot tell a person
  from a company or a town; the page of the audit shows which names it found.

  Args:
    stats: the corpus.
    vocabulary: the vocabulary that the corpus was read with.

  Returns:
    `names`, `dates` and `years`, each with the share of documents that hold the commonest one.
  """
  names = _invented_names(stats, vocabulary)
  years_of_handbook = set(YEAR.findall(stats.profile.body))
  years: Counter[str] = Counter()
  for year, documents in stats.documents_of_year.items():
    if year not in years_of_handbook:
      years[year] = documents
  name_measure = _commonest_share(names, len(stats))
  name_measure['found'] = len(names)
  return {
    'names': name_measure,
    'dates': _commonest_share(stats.documents_of_day, len(stats)),
    'years': _commonest_share(years, len(stats)),
  }


def _invented_names(stats: CorpusStats, vocabulary: Vocabulary) -> Counter[str]:
  """Returns name -> number of documents that hold it, for names in two or more documents."""
  occurrences = _word_occurrences(stats, vocabulary)
  handbook_words = {word.casefold() for word in CAPITALISED.findall(stats.profile.body)}
  for name in (*stats.profile.names, *stats.profile.items):
    handbook_words.update(words(name))
  nouns_have_capitals = 2 * stats.languages.count('German') > len(stats)
  found: Counter[str] = Counter()
  for name, documents in stats.documents_of_name.items():
    if documents < 2 or (nouns_have_capitals and name.casefold() not in KNOWN_NAMES):
      continue
    if name.isupper() or name in _REAL or name.casefold() in handbook_words:
      continue
    capitalised = stats.capitalised[name]
    if not _stands_as_a_name(name, stats):
      continue
    if _lower_case_uses(name, stats, vocabulary, occurrences) > _MAX_LOWER_CASE * capitalised:
      continue
    found[name] = documents
  for name, documents in stats.documents_of_other_case.items():
    is_known = name in _REAL or name.casefold() in handbook_words
    if documents < 2 or is_known:
      continue
    if name in found:
      # One document may hold it in one case, and the next one in another.
      found[name] = stats.documents_of_any_case[name.lower()]
    else:
      # What is a name in two documents is one wherever it stands in capitals.
      found[name] = max(documents, stats.documents_of_name[name.upper()])
  return found


def _stands_as_a_name(name: str, stats: CorpusStats) -> bool:
  """Says whether a capitalised word stands where only names do: within sentences, or at the
  beginning of one as somebody who acts."""
  least = max(2, _MIN_INSIDE * stats.capitalised[name])
  if stats.capitalised_inside[name] >= least:
    return True
  return name.lower() not in COMMON_WORDS and stats.capitalised_acting[name] >= least


def _word_occurrences(stats: CorpusStats, vocabulary: Vocabulary) -> np.ndarray:
  """Counts every word of a corpus, in any case; (vocabulary,) int64."""
  occurrences = np.zeros(len(vocabulary), np.int64)
  for word_ids, _, _ in blocks(stats.word_ids):
    # Between two documents of a block stands a number that is the id of no word.
    real_ids = word_ids[word_ids < len(vocabulary)]
    occurrences += np.bincount(real_ids, minlength=len(vocabulary))
  return occurrences


def _lower_case_uses(
  name: str, stats: CorpusStats, vocabulary: Vocabulary, occurrences: np.ndarray
) -> int:
  """Counts how often a name stands in lower case: all its uses without the capitalised ones."""
  word_id = vocabulary.find(name.lower())
  if word_id is None:
    return 0
  with_capital = stats.capitalised[name] + stats.capitalised[name.upper()]
  return int(occurrences[word_id]) - with_capital


def _commonest_share(counts: Counter[str], documents: int) -> Measure:
  """Measures the share of documents that hold the commonest of some words.

  Args:
    counts: word -> number of documents that hold it.
    documents: how many documents there are.

  Returns:
    The share of the commonest word with its 95% interval, and the shares of the commonest twelve.
  """
  commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_SHOWN]
  value = 0.0
  if commonest:
    value = commonest[0][1] / documents
  # A word that no document holds may still be in what the same writer would give again.
  low, high = wilson(value, documents)
  return {
    'value': value,
    'low': low,
    'high': high,
    'commonest': [[word, n / documents] for word, n in commonest],
  }
