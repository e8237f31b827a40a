"""Finds near duplicates among all texts: MinHash with bands, and an exact check of every candidate.

Texts are sets of shingles (runs of five words). Two texts are near duplicates if the Jaccard
similarity of the sets reaches a threshold. Two MinHash signatures (Broder 1997) agree in each
place with a probability that equals the similarity s. A signature is parted into bands of several
rows; texts that agree in all rows of at least one band are candidates (Leskovec, Rajaraman and
Ullman, Mining of Massive Datasets, section 3.4). The probability of that is 1 - (1 -
s^rows)^bands, the S-curve.

Of 128 permutations, a threshold of 0.7 gives 25 bands of 5 rows: 0.99 of the pairs at 0.7 become
candidates, 0.55 at 0.5, 0.06 at 0.3 and 0.0002 at 0.1. What is reported was counted exactly, not
estimated.

Shapes: N texts, P permutations (rows times bands), K shingles of a text.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from data_pipelines.text.wording import Vocabulary, mix_bits, run_hashes

PERMUTATIONS = 128
# The most rows of a band that are tried.
MAX_ROWS = 16
# Shingles that are permuted at a time: texts may be long, and memory is short.
_BLOCK = 4096
# Shingle sets that are kept: one text is compared with many others in a row.
_KEPT_SETS = 64
# Standard deviations by which a signature's estimate may lie below the threshold before a pair is
# left out: a pair at the threshold is lost once in 10,000 times.
_DEVIATIONS = 3.7


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """The near duplicates among texts.

  Attributes:
    clusters: the numbers of texts that are linked by near duplicates; each cluster is in order
      and has two or more.
    pairs: (text, text, Jaccard similarity) of the links that were needed to join the clusters.
    recall: the probability that a pair just at the threshold is found.
    compared: the number of pairs whose similarity was counted.
  """

  clusters: list[list[int]]
  pairs: list[tuple[int, int, float]]
  recall: float
  compared: int

  @property
  def redundant(self) -> list[int]:
    """All texts but the first of each cluster, in order: without them no near duplicates are
    left."""
    numbers: list[int] = []
    for cluster in self.clusters:
      numbers += cluster[1:]
    return sorted(numbers)


def candidate_probability(similarity: float, rows: int, bands: int) -> float:
  """The S-curve: the probability that a pair of this similarity becomes a candidate."""
  return 1 - (1 - similarity**rows) ** bands


def choose_banding(
  threshold: float, permutations: int = PERMUTATIONS, recall: float = 0.98
) -> tuple[int, int]:
  """Chooses how a signature is parted into bands.

  Args:
    threshold: the similarity from which on pairs are wanted.
    permutations: the length of a signature.
    recall: the probability with which a pair at the threshold must be found.

  Returns:
    (rows, bands): the most rows, which give the fewest candidates, with that recall; (1,
      permutations) if no banding reaches it.
  """
  chosen = (1, permutations)
  for rows in range(1, MAX_ROWS + 1):
    bands = permutations // rows
    if candidate_probability(threshold, rows, bands) >= recall:
      chosen = (rows, bands)
  return chosen


def shingles(word_ids: np.ndarray, size: int) -> np.ndarray:
  """The set of a text's shingles.

  Args:
    word_ids: the words of the text, uint32.
    size: the length of a shingle in words. A shorter text is one shingle; an empty one has none.

  Returns:
    (K,) uint64, sorted.
  """
  shortened = min(size, max(1, len(word_ids)))
  return np.unique(run_hashes(word_ids, shortened))


def signature(shingle_set: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """Computes the MinHash signature of a text: the least value of every permutation over the set.

  A permutation is x -> a x + b on 32 bits, with an odd a.

  Args:
    shingle_set: (K,) uint64.
    multipliers: (P,) uint32, odd: a of each permutation.
    offsets: (P,) uint32: b of each permutation.

  Returns:
    (P,) uint32.
  """
  x_K = (shingle_set >> np.uint64(32)).astype(np.uint32)
  least_P = np.full(len(multipliers), np.uint32(0xFFFFFFFF))
  for block in np.array_split(x_K, len(x_K) // _BLOCK + 1):
    if len(block):
      np.minimum(least_P, (block[:, None] * multipliers + offsets).min(0), out=least_P)
  return least_P


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
  """The Jaccard similarity of two sorted sets; 0 for two empty ones."""
  both = len(np.intersect1d(a, b, assume_unique=True))
  return both / max(1, len(a) + len(b) - both)


def repeats(texts: Sequence[str], threshold: float = 0.7, size: int = 5) -> list[int]:
  """Finds the texts that are near duplicates of one before them.

  They are fewer than `Duplicates.redundant` has. That leaves out all of a cluster but its first
  text, though it may be linked with the others only by a text that comes later.

  Args:
    texts: the texts, in order.
    threshold: the Jaccard similarity from which on two texts are near duplicates.
    size: the length of a shingle in words.

  Returns:
    The numbers of the texts, in order.
  """
  vocabulary = Vocabulary()
  documents = [vocabulary.encode(text) for text in texts]
  numbers: list[int] = []
  for cluster in near_duplicate_ids(documents, threshold, size).clusters:
    sets = [shingles(documents[n], size) for n in cluster]
    for k, n in enumerate(cluster):
      if any(jaccard(sets[k], earlier) >= threshold for earlier in sets[:k]):
        numbers.append(n)
  return sorted(numbers)


def near_duplicates(
  texts: Iterable[str], threshold: float = 0.7, size: int = 5, seed: int = 0
) -> Duplicates:
  """Finds near duplicates among texts; see `near_duplicate_ids`."""
  vocabulary = Vocabulary()
  return near_duplicate_ids([vocabulary.encode(t) for t in texts], threshold, size, seed)


def near_duplicate_ids(
  documents: Sequence[np.ndarray], threshold: float = 0.7, size: int = 5, seed: int = 0
) -> Duplicates:
  """Finds near duplicates among texts that are given as word ids.

  Pairs within a cluster that is joined already are not compared, so a thousand copies of one text
  cost a thousand comparisons. Memory is some 0.8 KB for a text; the shingles of texts that are
  compared are made anew.

  Args:
    documents: for each text, the ids of its words, uint32. A text without words duplicates no
      other.
    threshold: the Jaccard similarity from which on two texts are near duplicates.
    size: the length of a shingle in words.
    seed: the seed of the permutations.

  Returns:
    The clusters, by numbers of the texts.
  """
  rows, bands = choose_banding(threshold)
  numbers = np.array([n for n, word_ids in enumerate(documents) if len(word_ids)], np.int64)
  search = _Search(documents, numbers, threshold, size)
  if len(numbers) > 1:
    search.run(rows, bands, seed)
  recall = candidate_probability(threshold, rows, bands)
  return Duplicates(search.clusters(), search.pairs, recall, search.compared)


class _Search:
  """One search for near duplicates. Texts with words are counted from 0 to N - 1 here.

  Attributes:
    labels: (N,) int; texts that are joined have the same label.
    pairs: the links that joined texts, with the texts' own numbers.
    compared: how many pairs were compared so far.
  """

  def __init__(
    self, documents: Sequence[np.ndarray], numbers: np.ndarray, threshold: float, size: int
  ):
    self.documents = documents
    # The number of each text among all documents.
    self.numbers = numbers
    self.threshold = threshold
    self.size = size
    self.labels = np.arange(len(numbers))
    self.pairs: list[tuple[int, int, float]] = []
    self.compared = 0
    # Sets are large, so few are kept and the others are made anew.
    self._shingles_of = functools.lru_cache(maxsize=_KEPT_SETS)(self._make_shingles)

  def run(self, rows: int, bands: int, seed: int) -> None:
    """Compares the candidates of every band and joins those that are near duplicates."""
    rng = np.random.default_rng([seed, 1])
    signatures_NP = self._signatures(rows * bands, rng)
    weights = rng.integers(1 << 62, size=rows, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    # One key for each band and text: equal keys mean equal rows.
    keys = np.stack([_band_keys(signatures_NP, band, weights) for band in range(bands)])
    # A signature tells the similarity to some 0.04. Pairs that it puts far below the threshold are
    # not counted exactly.
    deviation = np.sqrt(self.threshold * (1 - self.threshold) / (rows * bands))
    floor = self.threshold - _DEVIATIONS * deviation
    for band in range(bands):
      for bucket in _buckets(keys[band]):
        # Copies of one text come together in every band, and are joined after the first.
        if (self.labels[bucket] == self.labels[bucket[0]]).all():
          continue
        for k, i in enumerate(bucket[:-1]):
          others = bucket[k + 1 :]
          others = others[self.labels[others] != self.labels[i]]
          if not len(others):
            continue
          # Pairs that met in an earlier band were compared there.
          met_before = (keys[:band, others] == keys[:band, i, None]).any(0)
          is_near = (signatures_NP[others] == signatures_NP[i]).mean(1) >= floor
          self._compare(i, others[~met_before & is_near])

  def _signatures(self, permutations: int, rng: np.random.Generator) -> np.ndarray:
    """Draws permutations and computes the signature of every text, (N, P) uint32."""
    multipliers = rng.integers(1 << 32, size=permutations, dtype=np.uint32)
    offsets = rng.integers(1 << 32, size=permutations, dtype=np.uint32)
    # Odd multipliers, or x -> a x + b would be no permutation.
    multipliers |= np.uint32(1)
    signatures_NP = np.empty((len(self.numbers), permutations), np.uint32)
    for i, n in enumerate(self.numbers):
      signatures_NP[i] = signature(shingles(self.documents[n], self.size), multipliers, offsets)
    return signatures_NP

  def _compare(self, i: int, others: np.ndarray) -> None:
    """Counts the similarity of text i to others, and joins it with those that are near
    duplicates."""
    for j in others:
      # An earlier one of the others may have joined the two meanwhile.
      if self.labels[i] == self.labels[j]:
        continue
      self.compared += 1
      similarity = jaccard(self._shingles_of(i), self._shingles_of(j))
      if similarity >= self.threshold:
        self.pairs.append((int(self.numbers[i]), int(self.numbers[j]), similarity))
        self.labels[self.labels == self.labels[j]] = self.labels[i]

  def _make_shingles(self, i: int) -> np.ndarray:
    return shingles(self.documents[self.numbers[i]], self.size)

  def clusters(self) -> list[list[int]]:
    """The texts' own numbers, cluster by cluster, without those that are alone."""
    if not len(self.numbers):
      return []
    order = np.argsort(self.labels, kind='stable')
    edges = np.flatnonzero(np.diff(self.labels[order])) + 1
    groups = np.split(self.numbers[order], edges)
    return sorted(group.tolist() for group in groups if len(group) > 1)


def _band_keys(signatures_NP: np.ndarray, band: int, weights: np.ndarray) -> np.ndarray:
  """One key for the rows of a band of every text: (N,) uint64."""
  rows = len(weights)
  band_rows = signatures_NP[:, band * rows : (band + 1) * rows].astype(np.uint64)
  return mix_bits((band_rows * weights).sum(1, dtype=np.uint64))


def _buckets(keys: np.ndarray) -> Iterator[np.ndarray]:
  """The texts that share a key, in order, for every key that several have."""
  order = np.argsort(keys, kind='stable')
  sorted_keys = keys[order]
  # Something else than the first and the last key on either side, so that edges are there as well.
  before = sorted_keys[:1] + np.uint64(1)
  after = sorted_keys[-1:] + np.uint64(1)
  edges = np.flatnonzero(np.diff(sorted_keys, prepend=before, append=after))
  for k in np.flatnonzero(np.diff(edges) > 1):
    yield order[edges[k] : edges[k + 1]]
