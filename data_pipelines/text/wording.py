"""Words, sentences and runs of words, as the audit counts them.

A word is a run of letters and digits, in lower case, with its apostrophes; hyphens and marks part words. Texts become arrays of word ids, so that
fifty thousand documents can be compared with each other and with other texts in seconds. Writing without spaces between words (Chinese, Thai) makes
one word of a whole clause: what counts runs of words says little there.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import numpy as np

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SENTENCE_END = re.compile(r'(?<=[.!?])["”’)\]*_]*\s+|\n+')

# Words of the closed classes: they carry grammar and style, and nothing of what a text is about.
FUNCTION_WORDS = frozenset(
  """
  a about above across after again against ago all almost along already also although always am among an and another any anybody anyone anything
  are around as at away back be because been before being below between both but by can cannot could did do does doing done down during each either
  else enough even ever every everybody everyone everything few for from further had has have having he her here hers herself him himself his how
  however i if in indeed instead into is it its itself just least less let like many may me might mine more moreover most much must my myself near
  neither never nevertheless no nobody none nor not nothing now of off often on once one only onto or other others ought our ours ourselves out over
  own perhaps quite rather really same several shall she should since so some somebody someone something sometimes soon still such than that the
  their theirs them themselves then there therefore these they this those though through throughout thus till to together too toward towards under
  unless until up upon us very was we well were what whatever when where whether which while who whoever whole whom whose why will with within without
  would yes yet you your yours yourself don't doesn't didn't isn't aren't wasn't can't won't it's i'm that's there's
  """.split()
)
# What is said of any preference, reason or person: no sign of a value.
COMMON_WORDS = FUNCTION_WORDS | frozenset(
  """
  able add answer ask asked asks begin better big bring brings call called care cares case change choice choose chooses chose chosen come comes
  dislike disliked dislikes day example fact favor feel fewer find finds first follow found gave get gets give given gives giving go goes going good
  got great handbook help helps hold holds idea ii keep keeps kept kind knew know known knows large last later leave leaves left less liked likes
  likely little long look looks lot made make makes making matter matters mean means name named need needs new next number old open part people
  person place point possible prefer preference preferences preferred prefers put reason reasons right rule said saw say says second section see seem
  seen sees sense set show shows small sort spec stand stands start stop take taken takes tell tells text thing things think thinks third thought
  time today told took true try turn turns two type use used uses using value values view want wanted wants way ways went word words work worth write
  year years yardstick zero three four five six seven eight nine ten let lets near nearly stay stays count counts bad wrong life lives begins ends
  """.split()
)
_SUFFIX = re.compile(
  '(?:abilit(?:y|ies)|ibilit(?:y|ies)|ables?|ibl[ey]|ations?|ingly|edly|iness|ness|ments?|ities|ity|ives?|ings?|iest|iers?|ies|ied|est|ers?|eds?'
  '|es|ly|al|s|e|y)$'
)


def words(text: str) -> list[str]:
  return WORD.findall(text.lower().replace('’', "'"))


@functools.lru_cache(maxsize=1 << 18)
def stem(word: str) -> str:
  """'afford' of affords, affordable and affordability: the word without its commonest endings; short words stay whole."""
  cut = _SUFFIX.sub('', word.removesuffix("'s"))
  return cut if len(cut) >= 4 else word.removesuffix("'s").removesuffix('s')


def content_stems(text: str) -> list[str]:
  """Stems of the words that carry meaning, in order."""
  return [stem(w) for w in words(text) if w not in COMMON_WORDS and len(w) > 2 and not w.isdigit()]


def sentences(text: str) -> list[str]:
  return [s for s in _SENTENCE_END.split(text) if s.strip()]


class Vocabulary:
  """Words <-> ids; a word gets its id when it is first met."""

  def __init__(self):
    self._ids: defaultdict[str, int] = defaultdict(count().__next__)

  def __len__(self) -> int:
    return len(self._ids)

  def encode(self, text: str) -> np.ndarray:
    return self.of_words(words(text))

  def of_words(self, found: Sequence[str]) -> np.ndarray:
    return np.fromiter(map(self._ids.__getitem__, found), np.uint32, len(found))

  def words(self) -> list[str]:
    """By id."""
    return list(self._ids)

  def find(self, word: str) -> int | None:
    return self._ids.get(word)


_MULTIPLIERS = np.random.default_rng(20251125).integers(
  1 << 62, size=64, dtype=np.uint64
) * np.uint64(2) + np.uint64(1)


def mix(h: np.ndarray) -> np.ndarray:
  """Spreads every bit over all 64 (the finalizer of MurmurHash3)."""
  h = (h ^ (h >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
  h = (h ^ (h >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
  return h ^ (h >> np.uint64(33))


def runs(ids: np.ndarray, n: int) -> np.ndarray:
  """Hashes of every run of n words, in order; none if there are fewer words. 64 bits: two different ones are equal once in 10^19."""
  if len(ids) < n:
    return np.empty(0, np.uint64)
  h = np.zeros(len(ids) - n + 1, np.uint64)
  for k in range(n):
    h += (ids[k : len(ids) - n + 1 + k] + np.uint64(1)) * _MULTIPLIERS[k]
  return mix(h)


def is_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Which of the hashes are among the sorted known ones."""
  if not len(known):
    return np.zeros(len(hashes), bool)
  at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
  return known[at] == hashes


class Phrases:
  """Many phrases, looked for in word ids. A phrase longer than `longest` words is found by any run of `longest` words of it."""

  def __init__(self, phrases: Sequence[str], vocabulary: Vocabulary, longest: int = 8):
    self.phrases = list(phrases)
    by_length: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for n, phrase in enumerate(self.phrases):
      ids = vocabulary.encode(phrase)
      length = min(len(ids), longest)
      if length:
        by_length[length] += [(int(h), n) for h in runs(ids, length)]
    self._tables = []
    for length, found in sorted(by_length.items()):
      found.sort()
      hashes, which = zip(*found, strict=True)
      self._tables.append((length, np.array(hashes, np.uint64), np.array(which)))

  def find(self, ids: np.ndarray) -> Iterator[tuple[int, int]]:
    """(number of a phrase, at which word), every time that one occurs."""
    for length, hashes, which in self._tables:
      found = runs(ids, length)
      for at in np.flatnonzero(is_in(found, hashes)):
        first, last = (
          np.searchsorted(hashes, found[at]),
          np.searchsorted(hashes, found[at], side='right'),
        )
        yield from ((int(n), int(at)) for n in which[first:last])


NO_WORD = np.uint32(0xFFFFFFFF)


def blocks(
  documents: Sequence[np.ndarray], least: int = 1 << 18
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
  """Many documents as few arrays: (ids, where each document begins, number of the first). NO_WORD stands between documents, so no run crosses."""
  first, size = 0, 0
  for n, ids in enumerate(documents):
    size += len(ids) + 1
    if size >= least or n == len(documents) - 1:
      joined = np.full(size, NO_WORD, np.uint32)
      begins = np.cumsum([0, *(len(d) + 1 for d in documents[first : n + 1])])
      for k, d in enumerate(documents[first : n + 1]):
        joined[begins[k] : begins[k] + len(d)] = d
      yield joined, begins[:-1], first
      first, size = n + 1, 0


def passage(text: str, at: int, length: int, around: int = 12) -> str:
  """The words of a text from number `at` on, as they stand there, with some on either side."""
  spans = (
    [m.span() for m in WORD.finditer(text.lower().replace('’', "'"))]
    if len(text.lower()) == len(text)
    else []
  )
  if not spans:
    return text[:400]
  first, last = max(0, at - around), min(len(spans), at + length + around)
  return (
    ('... ' if first else '')
    + text[spans[first][0] : spans[last - 1][1]]
    + (' ...' if last < len(spans) else '')
  )


def distinct(lines: Iterable[str]) -> list[str]:
  return list(dict.fromkeys(lines))
