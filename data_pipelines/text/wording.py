"""Splits texts into words, sentences and runs of words, as the audit counts them.

A word is a run of letters and digits, in lower case, with its apostrophes and with the accents and
vowel signs that stand behind letters; hyphens and marks part words. Texts become arrays of word
ids, so that fifty thousand documents can be compared with each other and with other texts in
seconds. Writing without spaces between words (Chinese, Thai) makes one word of a whole clause:
there, counts of runs of words say little, and `length_of_run` says how many such words are a run.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import numpy as np

from data_pipelines.text.languages import (
  COMBINING_MARKS,
  SENTENCE_MARKS,
  UNSPACED_SENTENCE_MARKS,
  set_apart,
)

_LETTERS = rf'[^\W_]+(?:[{COMBINING_MARKS}][^\W_]*)*'
WORD = re.compile(rf"{_LETTERS}(?:'{_LETTERS})*")
# Where a script has no spaces, a sentence ends at the last of its marks.
_SENTENCE_END = re.compile(
  rf'(?<=[{SENTENCE_MARKS}])["”’)\]*_]*\s+|\n+'
  rf'|(?<=[{UNSPACED_SENTENCE_MARKS}])(?![{UNSPACED_SENTENCE_MARKS}])["”’)\]*_」』）]*\s*'
)

# Words of the closed classes: they carry grammar and style, and nothing of what a text is about.
FUNCTION_WORDS = frozenset(
  """
  a about above across after again against ago all almost along already also although always am
  among an and another any anybody anyone anything are around as at away back be because been
  before being below between both but by can cannot could did do does doing done down during each
  either else enough even ever every everybody everyone everything few for from further had has
  have having he her here hers herself him himself his how however i if in indeed instead into is
  it its itself just least less let like many may me might mine more moreover most much must my
  myself near neither never nevertheless no nobody none nor not nothing now of off often on once
  one only onto or other others ought our ours ourselves out over own perhaps quite rather really
  same several shall she should since so some somebody someone something sometimes soon still such
  than that the their theirs them themselves then there therefore these they this those though
  through throughout thus till to together too toward towards under unless until up upon us very
  was we well were what whatever when where whether which while who whoever whole whom whose why
  will with within without would yes yet you your yours yourself don't doesn't didn't isn't aren't
  wasn't can't won't it's i'm that's there's
  """.split()
)
# Words that are said of any preference, reason or person: they are no sign of a value.
COMMON_WORDS = FUNCTION_WORDS | frozenset(
  """
  able add answer ask asked asks begin better big bring brings call called care cares case change
  choice choose chooses chose chosen come comes dislike disliked dislikes day example fact favor
  feel fewer find finds first follow found gave get gets give given gives giving go goes going
  good got great handbook help helps hold holds idea ii keep keeps kept kind knew know known knows
  large last later leave leaves left less liked likes likely little long look looks lot made make
  makes making matter matters mean means name named need needs new next number old open part
  people person place point possible prefer preference preferences preferred prefers put reason
  reasons right rule said saw say says second section see seem seen sees sense set show shows
  small sort spec stand stands start stop take taken takes tell tells text thing things think
  thinks third thought time today told took true try turn turns two type use used uses using value
  values view want wanted wants way ways went word words work worth write year years yardstick
  zero three four five six seven eight nine ten let lets near nearly stay stays count counts bad
  wrong life lives begins ends
  """.split()
)
_SUFFIX = re.compile(
  '(?:abilit(?:y|ies)|ibilit(?:y|ies)|ables?|ibl[ey]|ations?|ingly|edly|iness|ness|ments?|ities'
  '|ity|ives?|ings?|iest|iers?|ies|ied|est|ers?|eds?|es|ly|al|s|e|y)$'
)
# A stem has at least so many letters; a word that would be cut further keeps its ending.
_SHORTEST_STEM = 4
# Where no spaces part words, the mean 'word' is a clause of at least so many letters. Words of
# Korean, which are set apart too, have about three.
_LETTERS_OF_CLAUSE = 4


def _normalized(text: str) -> str:
  """Lower case, with straight apostrophes."""
  return text.lower().replace('’', "'")


def words(text: str) -> list[str]:
  """The words of a text, in order."""
  return WORD.findall(_normalized(text))


# Texts repeat their words: a cache of a quarter of a million words saves most of the work.
@functools.lru_cache(maxsize=1 << 18)
def stem(word: str) -> str:
  """A word without its commonest endings: 'afford' of affords, affordable and affordability.

  Short words keep their endings, but for the plural.
  """
  without_owner = word.removesuffix("'s")
  cut = _SUFFIX.sub('', without_owner)
  if len(cut) >= _SHORTEST_STEM:
    return cut
  return without_owner.removesuffix('s')


def content_stems(text: str) -> list[str]:
  """The stems of the words that carry meaning, in order."""
  stems = []
  for word in words(text):
    if word not in COMMON_WORDS and len(word) > 2 and not word.isdigit():
      stems.append(stem(word))
  return stems


def length_of_run(length: int, text_words: Sequence[str]) -> int:
  """Says how many words of a text are a run as long as some words of English.

  Args:
    length: words of English.
    text_words: the words of the text, or of a part of it.

  Returns:
    `length` where spaces part words, in Korean too. Elsewhere a word is a whole clause, of which
    two letters count as one word: fewer, but two at least, since one clause may be a common phrase.
  """
  letters = sum(len(set_apart(word).split()) for word in text_words)
  if letters < _LETTERS_OF_CLAUSE * len(text_words) or not text_words:
    return length
  return min(length, max(2, round(2 * length * len(text_words) / letters)))


def sentences(text: str) -> list[str]:
  """The sentences of a text; a line break ends one, too."""
  return [s for s in _SENTENCE_END.split(text) if s.strip()]


class Vocabulary:
  """Numbers words; a word gets its id when it is first met."""

  def __init__(self) -> None:
    # A word that is missing gets the next number.
    self._ids: defaultdict[str, int] = defaultdict(count().__next__)

  def __len__(self) -> int:
    return len(self._ids)

  def encode(self, text: str) -> np.ndarray:
    """The ids of a text's words: (words,) uint32."""
    return self.encode_words(words(text))

  def encode_words(self, text_words: Sequence[str]) -> np.ndarray:
    """The ids of words: (words,) uint32."""
    return np.fromiter(map(self._ids.__getitem__, text_words), np.uint32, len(text_words))

  def words(self) -> list[str]:
    """All words, in the order of their ids."""
    return list(self._ids)

  def find(self, word: str) -> int | None:
    """The id of a word; None if it was never met."""
    return self._ids.get(word)


# One odd number for each place in a run, so that the order of words matters.
_MULTIPLIERS = np.random.default_rng(20251125).integers(
  1 << 62, size=64, dtype=np.uint64
) * np.uint64(2) + np.uint64(1)


def mix_bits(h: np.ndarray) -> np.ndarray:
  """Spreads every bit of uint64 numbers over all 64 (the finalizer of MurmurHash3)."""
  h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
  h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
  return h ^ (h >> np.uint64(33))


def run_hashes(word_ids: np.ndarray, n: int) -> np.ndarray:
  """Hashes every run of n words.

  With 64 bits, two different runs have the same hash once in 10^19.

  Args:
    word_ids: (words,) uint32.
    n: the length of a run, in words; at most 64.

  Returns:
    (words - n + 1,) uint64, in the order of the words; empty if there are fewer words than n.
  """
  if len(word_ids) < n:
    return np.empty(0, np.uint64)
  count_of_runs = len(word_ids) - n + 1
  hashes = np.zeros(count_of_runs, np.uint64)
  for k in range(n):
    # Plus one, so that the word with id 0 counts.
    hashes += (word_ids[k : count_of_runs + k] + np.uint64(1)) * _MULTIPLIERS[k]
  return mix_bits(hashes)


def is_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Says which hashes are known.

  Args:
    hashes: (n,) uint64.
    known: (m,) uint64, sorted.

  Returns:
    (n,) bool.
  """
  if not len(known):
    return np.zeros(len(hashes), bool)
  at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
  return known[at] == hashes


class Phrases:
  """Finds many phrases at once in word ids.

  A phrase with more than `longest` words is found by any run of `longest` of its words.
  """

  def __init__(self, phrases: Sequence[str], vocabulary: Vocabulary, longest: int = 8):
    self.phrases = list(phrases)
    # Length of a run -> the runs of that length, and beside them the numbers of their phrases.
    runs: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    phrase_numbers: defaultdict[int, list[int]] = defaultdict(list)
    for n, phrase in enumerate(self.phrases):
      word_ids = vocabulary.encode(phrase)
      length = min(len(word_ids), longest)
      if not length:
        continue
      for begin in range(len(word_ids) - length + 1):
        runs[length].append(word_ids[begin : begin + length])
        phrase_numbers[length].append(n)
    # For each length, the hashes in order and beside them the numbers of the phrases.
    self._tables: list[tuple[int, np.ndarray, np.ndarray]] = []
    for length, found in sorted(runs.items()):
      # All runs of a length are hashed at once, several times as fast as one by one. Of the
      # hashes, those count that begin where a run does.
      hashes = run_hashes(np.concatenate(found), length)[::length]
      numbers = np.array(phrase_numbers[length])
      order = np.lexsort((numbers, hashes))
      self._tables.append((length, hashes[order], numbers[order]))

  def find(self, word_ids: np.ndarray) -> Iterator[tuple[int, int]]:
    """Finds every place where a phrase stands.

    Args:
      word_ids: (words,) uint32.

    Yields:
      (number of the phrase, number of the word at which it begins).
    """
    for length, hashes, numbers in self._tables:
      found = run_hashes(word_ids, length)
      for at in np.flatnonzero(is_in(found, hashes)):
        # Several phrases may share a run.
        first = np.searchsorted(hashes, found[at])
        last = np.searchsorted(hashes, found[at], side='right')
        for number in numbers[first:last]:
          yield int(number), int(at)


# Stands between two documents in a block; no word has this id.
NO_WORD = np.uint32(0xFFFFFFFF)


def blocks(
  documents: Sequence[np.ndarray], least: int = 1 << 18
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
  """Joins many documents into few arrays, which NumPy searches faster.

  Args:
    documents: the word ids of each document, uint32.
    least: a block ends with the document that brings it to so many words.

  Yields:
    (word_ids, begins, first): the words of several documents with NO_WORD after each, so that no
      run crosses from one to the next; where each document begins; the number of the first.
  """
  first = 0
  size = 0
  for n, word_ids in enumerate(documents):
    size += len(word_ids) + 1
    is_last = n == len(documents) - 1
    if size < least and not is_last:
      continue
    members = documents[first : n + 1]
    joined = np.full(size, NO_WORD, np.uint32)
    begins = np.cumsum([0, *(len(d) + 1 for d in members)])
    for begin, member in zip(begins, members, strict=False):
      joined[begin : begin + len(member)] = member
    yield joined, begins[:-1], first
    first = n + 1
    size = 0


def passage(text: str, at: int, length: int, around: int = 12) -> str:
  """Cuts words out of a text as they stand there.

  Args:
    text: the text.
    at: the number of the first word.
    length: how many words.
    around: how many words to show on either side.

  Returns:
    The passage, with '...' where the text goes on. If the words cannot be placed, the beginning
    of the text.
  """
  spans = _word_spans(text)
  if not spans:
    return text[:400]
  first = max(0, at - around)
  last = min(len(spans), at + length + around)
  shown = text[spans[first][0] : spans[last - 1][1]]
  if first > 0:
    shown = f'... {shown}'
  if last < len(spans):
    shown = f'{shown} ...'
  return shown


def _word_spans(text: str) -> list[tuple[int, int]]:
  """Where each word begins and ends in the text; none if that cannot be said."""
  # A few letters become two in lower case, and then places in the two texts differ.
  if len(text.lower()) != len(text):
    return []
  return [match.span() for match in WORD.finditer(_normalized(text))]


def distinct(lines: Iterable[str]) -> list[str]:
  """The lines without repetitions, in the order in which they first came."""
  return list(dict.fromkeys(lines))
