"""Mirrored corpora should differ in the reason alone: equal counts and tokens, and no style by which a reader could tell them apart.

How far apart two are is told by a classifier: logistic regression, cross-validated, and the area under its ROC curve: the probability that it ranks a
document of the one above a document of the other; 0.5 is chance. Two views: `style` sees how often words of the closed classes and marks occur, and
lengths; `masked` sees which words occur, but for those of the handbooks and of the claims. What differs by necessity (the reasons,
told in words that no handbook has) is left in the masked view, so 0.5 cannot be asked of it; the words that it goes by are listed.
"""

import random
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from data_pipelines.audit.measures import MARKS, CorpusStats, Measure
from data_pipelines.documents.mirror import apart
from data_pipelines.text.wording import COMMON_WORDS, FUNCTION_WORDS, Vocabulary, stem

FOLDS, LEAST = 5, 40  # documents of each: with fewer, nothing can be said


def balance(readings: Sequence[CorpusStats]) -> dict[str, Measure]:
  """How equal mirrored corpora are: the largest difference in the number of documents of a domain, and how much more tokens the largest corpus has
  than the smallest, as a share of the smallest."""
  each = [Counter(r.domains) for r in readings]
  counts = {d: [c[d] for c in each] for d in sorted(set().union(*each))}
  differing = {d: c for d, c in counts.items() if len(set(c)) > 1}
  tokens = [sum(r.tokens) for r in readings]
  return {
    'domains_apart': {
      'value': max(max(c) - min(c) for c in counts.values()),
      'differing': differing,
    },
    'tokens_apart': {'value': float(apart(tokens)), 'tokens': tokens},
  }


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
  """The probability that a positive is ranked above a negative; ties count half."""
  order = np.argsort(scores, kind='stable')
  _, first, counts = np.unique(scores[order], return_index=True, return_counts=True)
  ranks = np.empty(len(scores))
  ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
  positives = int(labels.sum())
  negatives = len(labels) - positives
  return (
    float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    if positives and negatives
    else 0.5
  )


def fit(x: Any, y: np.ndarray, penalty: float) -> np.ndarray:
  """Logistic regression with a ridge; x may be sparse, its last column is the constant's. Returns the weights."""
  from scipy.optimize import minimize

  sign = np.where(y, 1.0, -1.0)

  def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
    margin = sign * (x @ w)
    slope = -sign / (1 + np.exp(np.clip(margin, -30, 30)))
    ridge = penalty * w
    ridge[-1] = 0
    return float(np.logaddexp(0, -margin).sum() + 0.5 * (ridge * w).sum()), x.T @ slope + ridge

  return minimize(
    loss, np.zeros(x.shape[1]), jac=True, method='L-BFGS-B', options={'maxiter': 100}
  ).x


def separable(
  first: CorpusStats,
  second: CorpusStats,
  spec_words: Collection[str],
  vocabulary: Vocabulary,
  most: int,
  seed: int,
) -> dict[str, Measure | None]:
  """Both views of a pair of corpora; None with too few documents. `spec_words`: stems that the masked view doesn't see."""
  values = {*first.gist.values, *second.gist.values}
  of_value = np.array([w not in COMMON_WORDS and stem(w) in values for w in vocabulary.words()])
  pairs = _pairs(first, second, most, seed)
  if min(len(pairs[0]), len(pairs[1])) < LEAST:
    return {'separable': None, 'separable_style': None}
  chosen = [
    (r, n, _rest(r, n, of_value))
    for r, side in zip((first, second), pairs, strict=True)
    for n in side
  ]
  labels = np.repeat([False, True], [len(side) for side in pairs])
  group = np.concatenate(
    [np.arange(len(side)) for side in pairs]
  )  # what mirrors each other stays on one side of every cut
  fold = np.random.default_rng([seed, 3]).permutation(int(group.max()) + 1)[group] % FOLDS
  masked, names = _masked(chosen, spec_words, vocabulary)
  views = {
    'separable': (masked, names, 1.0),
    'separable_style': (*_style(chosen, vocabulary), 10.0),
  }
  return {view: _cross_validated(*x, labels, group, fold, seed) for view, x in views.items()}


def _pairs(
  first: CorpusStats, second: CorpusStats, most: int, seed: int
) -> tuple[list[int], list[int]]:
  """Numbers of the documents to compare; those of one id, if the corpora share ids, stand at one place."""
  at = {i: n for n, i in enumerate(second.record_ids)}
  shared = [(n, at[i]) for n, i in enumerate(first.record_ids) if i in at]
  rng = random.Random(f'{seed} separability')
  if len(shared) >= 0.5 * len(first):
    kept = sorted(rng.sample(shared, min(most, len(shared))))
    return [a for a, _ in kept], [b for _, b in kept]
  size = min(len(first), len(second))
  kept = sorted(rng.sample(range(size), min(most, size)))
  return kept, kept


def _rest(reading: CorpusStats, n: int, of_value: np.ndarray) -> np.ndarray:
  """Word ids of a document without the sentences that name the value: there the two must differ."""
  ids, lengths = reading.ids[n], reading.sentences[n].astype(np.int64)
  inside = np.repeat(np.arange(len(lengths)), lengths)
  named = np.bincount(inside, of_value[ids], len(lengths)) > 0
  return ids[~named[inside]]


def _masked(
  chosen: Sequence[tuple[CorpusStats, int, np.ndarray]],
  spec_words: Collection[str],
  vocabulary: Vocabulary,
  columns: int = 4000,
) -> tuple[Any, list[str]]:
  """Which words occur, of those in most documents; rows of length 1 (so that long documents weigh no more) and a constant."""
  import scipy.sparse

  known = vocabulary.words()
  there = [np.unique(rest) for _, _, rest in chosen]
  documents = np.bincount(np.concatenate(there), minlength=len(known))
  kept = [
    i
    for i in np.argsort(-documents, kind='stable')[: 4 * columns]
    if documents[i] >= 3
    and not any(c.isdigit() for c in known[i])
    and not (known[i] not in COMMON_WORDS and stem(known[i]) in spec_words)
  ][:columns]
  column = np.full(len(known), -1)
  column[kept] = np.arange(len(kept))
  rows = [column[t][column[t] >= 0] for t in there]
  sizes = [len(r) for r in rows]
  values = np.repeat([1 / max(1, s) ** 0.5 for s in sizes], sizes)
  table = scipy.sparse.csr_matrix(
    (values * 8, np.concatenate(rows), np.cumsum([0, *sizes])), shape=(len(rows), len(kept))
  )
  return scipy.sparse.hstack([table, np.ones((len(rows), 1))], format='csr'), [
    known[i] for i in kept
  ]


def _style(
  chosen: Sequence[tuple[CorpusStats, int, np.ndarray]], vocabulary: Vocabulary
) -> tuple[np.ndarray, list[str]]:
  """Rates of closed-class words and of marks by word, lengths; standardised, with a constant."""
  function = [(w, i) for w in sorted(FUNCTION_WORDS) if (i := vocabulary.find(w)) is not None]
  column = np.full(len(vocabulary), len(function))
  column[[i for _, i in function]] = np.arange(len(function))
  rows = []
  for r, n, rest in chosen:
    length, counts = (
      max(1, len(r.ids[n])),
      np.bincount(column[rest], minlength=len(function) + 1)[:-1],
    )
    shape = [
      np.log(length),
      len(np.unique(r.ids[n])) / length,
      length / max(1, len(r.sentences[n])),
    ]
    rows.append(
      np.concatenate([np.sqrt(counts / max(1, len(rest))), np.sqrt(r.marks[n] / length), shape])
    )
  x = np.array(rows)
  x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
  names = [
    *(w for w, _ in function),
    *(repr(m)[1:-1] for m in MARKS),
    '(length)',
    '(different words)',
    '(length of sentences)',
  ]
  return np.hstack([np.clip(x, -5, 5), np.ones((len(x), 1))]), names


def _cross_validated(
  x: Any,
  names: Sequence[str],
  penalty: float,
  labels: np.ndarray,
  group: np.ndarray,
  fold: np.ndarray,
  seed: int,
) -> Measure:
  """AUC on documents that their fold's classifier has not seen, ranked within their fold; the interval resamples documents (mirrors together), not
  the classifiers' training."""
  ranks, weights = np.zeros(len(labels)), np.zeros(x.shape[1])
  for k in range(FOLDS):
    seen, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
    w = fit(x[seen], labels[seen], penalty)
    weights += w / FOLDS
    _, rank = np.unique(np.asarray(x[held] @ w), return_inverse=True)
    ranks[held] = rank / max(1, rank.max())
  rng = np.random.default_rng([seed, 4])
  members = [np.flatnonzero(group == g) for g in np.unique(group)]
  drawn = (
    np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
    for _ in range(200)
  )
  low, high = np.percentile([auc(ranks[at], labels[at]) for at in drawn], (2.5, 97.5))
  order = np.argsort(-np.abs(weights[:-1]), kind='stable')[:24]
  return {
    'value': auc(ranks, labels),
    'low': float(low),
    'high': float(high),
    'documents': len(labels),
    'features': len(names),
    'telling': [[names[i], int(weights[i] > 0)] for i in order],
  }
