"""Near duplicates among all texts: MinHash, banded, and every candidate checked exactly.

Texts are sets of shingles (runs of five words); two are near duplicates if the sets' Jaccard similarity reaches a threshold. MinHash signatures
(Broder 1997) agree in each place with that probability, so texts that agree in all rows of at least one band (Leskovec, Rajaraman and Ullman, Mining
of Massive Datasets, section 3.4) are candidates: at similarity s with probability 1 - (1 - s^rows)^bands, the S-curve. Of 128 permutations, 0.7 gives
25 bands of 5 rows: 0.99 of the pairs at 0.7 become candidates, 0.55 at 0.5, 0.06 at 0.3, 0.0002 at 0.1. What is reported was counted, not estimated.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from data_pipelines.text.wording import Vocabulary, mix, runs

PERMUTATIONS = 128


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Attributes:
  clusters: texts that are linked by near duplicates, by number; each in order, of two or more.
  pairs: (text, text, Jaccard similarity) of the links that were needed to join them.
  recall: the probability that a pair just at the threshold is found.
  compared: pairs whose similarity was counted.
  """

  clusters: list[list[int]]
  pairs: list[tuple[int, int, float]]
  recall: float
  compared: int

  @property
  def redundant(self) -> list[int]:
    """All but the first of each cluster, in order: without them no near duplicates are left."""
    return sorted(n for c in self.clusters for n in c[1:])


def chance(similarity: float, rows: int, bands: int) -> float:
  """The S-curve: the probability that a pair of this similarity becomes a candidate."""
  return 1 - (1 - similarity**rows) ** bands


def banding(
  threshold: float, permutations: int = PERMUTATIONS, recall: float = 0.98
) -> tuple[int, int]:
  """(rows, bands): the most rows (fewest candidates) with which pairs at the threshold are found often enough."""
  fits = [
    (r, permutations // r)
    for r in range(1, 17)
    if chance(threshold, r, permutations // r) >= recall
  ]
  return fits[-1] if fits else (1, permutations)


def shingles(ids: np.ndarray, size: int) -> np.ndarray:
  """The set of a text's shingles, sorted; a shorter text is one shingle, an empty one has none."""
  return np.unique(runs(ids, min(size, max(1, len(ids)))))


def signature(shingle_set: np.ndarray, multipliers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
  """The least value of every permutation (x -> a x + b on 32 bits, a odd) over the set; in blocks, since a text may be long."""
  x = (shingle_set >> np.uint64(32)).astype(np.uint32)
  least = np.full(len(multipliers), np.uint32(0xFFFFFFFF))
  for block in np.array_split(x, len(x) // 4096 + 1):
    if len(block):
      np.minimum(least, (block[:, None] * multipliers + offsets).min(0), out=least)
  return least


def _buckets(keys: np.ndarray) -> Iterator[np.ndarray]:
  """Numbers of the texts that share a key, in order, for every key that several have."""
  order = np.argsort(keys, kind='stable')
  edges = np.flatnonzero(
    np.diff(
      keys[order], prepend=keys[order[:1]] + np.uint64(1), append=keys[order[-1:]] + np.uint64(1)
    )
  )
  for k in np.flatnonzero(np.diff(edges) > 1):
    yield order[edges[k] : edges[k + 1]]


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
  """Of two sorted sets."""
  both = len(np.intersect1d(a, b, assume_unique=True))
  return both / max(1, len(a) + len(b) - both)


def near_duplicates(
  texts: Iterable[str], threshold: float = 0.7, size: int = 5, seed: int = 0
) -> Duplicates:
  """Finds near duplicates among texts; see `near_duplicate_ids`."""
  vocabulary = Vocabulary()
  return near_duplicate_ids([vocabulary.encode(t) for t in texts], threshold, size, seed)


def near_duplicate_ids(
  documents: Sequence[np.ndarray], threshold: float = 0.7, size: int = 5, seed: int = 0
) -> Duplicates:
  """Near duplicates among texts given as word ids. Texts without words are nobody's duplicates.

  Pairs within a cluster that is joined already are not compared, so a thousand copies of one text cost a thousand comparisons. Memory: some 0.8 KB
  a text; shingles are made anew for those that are compared.
  """
  rows, bands = banding(threshold)
  rng = np.random.default_rng([seed, 1])
  multipliers, offsets = (
    rng.integers(1 << 32, size=rows * bands, dtype=np.uint32) for _ in range(2)
  )
  multipliers |= np.uint32(1)
  numbers = np.array([n for n, ids in enumerate(documents) if len(ids)], np.int64)
  compared, pairs = 0, []
  labels = np.arange(len(numbers))

  @functools.lru_cache(maxsize=64)
  def shingles_of(i: int) -> np.ndarray:
    return shingles(documents[numbers[i]], size)

  if len(numbers) > 1:
    signatures = np.empty((len(numbers), rows * bands), np.uint32)
    for i, n in enumerate(numbers):
      signatures[i] = signature(shingles(documents[n], size), multipliers, offsets)
    weights = rng.integers(1 << 62, size=rows, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.stack(
      [
        mix(
          (signatures[:, b * rows : (b + 1) * rows].astype(np.uint64) * weights).sum(
            1, dtype=np.uint64
          )
        )
        for b in range(bands)
      ]
    )
    # A signature tells the similarity to some 0.04; what it puts far below the threshold is not counted.
    floor = threshold - 3.7 * np.sqrt(threshold * (1 - threshold) / (rows * bands))
    for band in range(bands):
      for bucket in _buckets(keys[band]):
        if (
          labels[bucket] == labels[bucket[0]]
        ).all():  # joined already: copies of one text come together in every band
          continue
        for k, i in enumerate(bucket[:-1]):
          others = bucket[k + 1 :]
          others = others[labels[others] != labels[i]]
          if not len(others):
            continue
          met = (keys[:band, others] == keys[:band, i, None]).any(0)  # in an earlier band
          others = others[~met & ((signatures[others] == signatures[i]).mean(1) >= floor)]
          for j in others:
            if labels[i] == labels[j]:
              continue
            compared += 1
            if (similarity := jaccard(shingles_of(i), shingles_of(j))) >= threshold:
              pairs.append((int(numbers[i]), int(numbers[j]), similarity))
              labels[labels == labels[j]] = labels[i]
  order = np.argsort(labels, kind='stable')
  groups = (
    np.split(numbers[order], np.flatnonzero(np.diff(labels[order])) + 1) if len(numbers) else []
  )
  clusters = sorted(g.tolist() for g in groups if len(g) > 1)
  return Duplicates(clusters, pairs, chance(threshold, rows, bands), compared)
