"""How far apart mirrored corpora are.

Mirrored corpora should differ only in the reason that they give: equal numbers of documents and
tokens, and no habit of style by which a reader could tell them apart.

A classifier measures how well two corpora can be told apart: a cross-validated logistic regression.
Its AUC, the area under the ROC curve, is the probability that it ranks a document of the one corpus
above a document of the other; 0.5 is chance. The classifier gets two views:
- style: how often words of the closed classes, marks and capitals occur, and lengths.
- masked: which words occur, except the words of the handbooks and of the claims.
The words of both views are those outside of the sentences that name the value. Marks, capitals and
lengths are those of the whole document. The reasons differ by necessity, and a document also tells
them in words that no handbook has. The masked view sees these, so an AUC of 0.5 cannot be asked of
it; the report lists the words that the classifier goes by.
"""

import itertools
import random
from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from data_pipelines.audit.corpus_stats import MARKS, CorpusStats
from data_pipelines.audit.measure import Measure
from data_pipelines.audit.thresholds import MIN_COMPARED
from data_pipelines.documents.mirror import relative_gap
from data_pipelines.text.wording import COMMON_WORDS, FUNCTION_WORDS, Vocabulary, stem

_FOLDS = 5
_BOOTSTRAP_SAMPLES = 200
_MAX_MASKED_WORDS = 4000
# How many of the words that tell most the report lists.
_MAX_TELLING = 24
# Strength of the ridge in the two views.
_MASKED_PENALTY = 1.0
_STYLE_PENALTY = 10.0

# Dimensions: N documents of both corpora, F features with the constant as the last one.


def balance(corpora: Sequence[CorpusStats]) -> dict[str, Measure]:
  """Measures how equal in amount mirrored corpora are.

  Args:
    corpora: two or more corpora.

  Returns:
    `domains_apart`: the largest difference in the number of documents of one domain.
    `tokens_apart`: how many more tokens the largest corpus has than the smallest, as a share of the
    smallest.
  """
  domains_of_corpus = [Counter(stats.domains) for stats in corpora]
  all_domains = sorted(set().union(*domains_of_corpus))
  gaps = []
  differing = {}
  for domain in all_domains:
    counts = [domains[domain] for domains in domains_of_corpus]
    gaps.append(max(counts) - min(counts))
    if gaps[-1]:
      differing[domain] = counts
  tokens = [sum(stats.token_counts) for stats in corpora]
  return {
    'domains_apart': {'value': max(gaps), 'differing': differing},
    'tokens_apart': {'value': float(relative_gap(tokens)), 'tokens': tokens},
  }


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
  """Computes the area under the ROC curve by ranks (Mann and Whitney 1947).

  Args:
    scores: (N,) float.
    labels: (N,) bool, whether a score belongs to a positive.

  Returns:
    The probability that a positive has a higher score than a negative. Ties count half. 0.5 if
    there are no positives or no negatives.
  """
  n_positive = int(labels.sum())
  n_negative = len(labels) - n_positive
  if not n_positive or not n_negative:
    return 0.5
  order = np.argsort(scores, kind='stable')
  _, first, counts = np.unique(scores[order], return_index=True, return_counts=True)
  ranks = np.empty(len(scores))
  # Equal scores share the mean of their ranks.
  ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
  pairs_ranked_right = ranks[labels].sum() - n_positive * (n_positive + 1) / 2
  return float(pairs_ranked_right / (n_positive * n_negative))


def fit_logistic_regression(x_NF: Any, labels: np.ndarray, penalty: float) -> np.ndarray:
  """Fits a logistic regression with a ridge.

  Args:
    x_NF: (N, F) features, dense or sparse. The last column is the constant, which has no penalty.
    labels: (N,) bool.
    penalty: the factor of half the squared weights.

  Returns:
    (F,) float64 weights.
  """
  import scipy.optimize  # takes a third of a second to import, and few audits compare corpora

  sign_N = np.where(labels, 1.0, -1.0)

  def loss_and_gradient(w_F: np.ndarray) -> tuple[float, np.ndarray]:
    margin_N = sign_N * (x_NF @ w_F)
    # Clipped, since exp overflows for documents that are far on the right side.
    slope_N = -sign_N / (1 + np.exp(np.clip(margin_N, -30, 30)))
    ridge_F = penalty * w_F
    ridge_F[-1] = 0
    loss = np.logaddexp(0, -margin_N).sum() + 0.5 * (ridge_F * w_F).sum()
    return float(loss), x_NF.T @ slope_N + ridge_F

  fitted = scipy.optimize.minimize(
    loss_and_gradient,
    np.zeros(x_NF.shape[1]),
    jac=True,
    method='L-BFGS-B',
    options={'maxiter': 100},
  )
  return fitted.x


class _MaskedDocument(NamedTuple):
  """A document of a corpus, and its word ids without the sentences that name the value."""

  stats: CorpusStats
  number: int
  word_ids: np.ndarray


class _Folds(NamedTuple):
  """How the documents of two corpora are divided for cross-validation.

  Attributes:
    label_N: bool, whether a document is of the second corpus.
    group_N: int; documents that mirror each other have the same number.
    fold_N: int; documents of one group are in the same fold. Otherwise the one that is seen in
      training would teach the wrong side for the other.
  """

  label_N: np.ndarray
  group_N: np.ndarray
  fold_N: np.ndarray


def separable(
  first: CorpusStats,
  second: CorpusStats,
  spec_stems: Collection[str],
  vocabulary: Vocabulary,
  max_documents: int,
  seed: int,
) -> dict[str, Measure | None]:
  """Measures how well two corpora can be told apart.

  Args:
    first: a corpus.
    second: its mirror.
    spec_stems: stems of the handbooks and claims, which the masked view does not see.
    vocabulary: the vocabulary that both corpora were read with.
    max_documents: how many documents of each corpus are read at most.
    seed: of the sample, the folds and the bootstrap.

  Returns:
    The AUC of both views, `separable` (masked) and `separable_style`; None for too few documents.
  """
  first_numbers, second_numbers = _paired_documents(first, second, max_documents, seed)
  if min(len(first_numbers), len(second_numbers)) < MIN_COMPARED:
    return {'separable': None, 'separable_style': None}
  value_stems = {*first.profile.values, *second.profile.values}
  is_value_word = np.array(
    [word not in COMMON_WORDS and stem(word) in value_stems for word in vocabulary.words()]
  )
  documents = []
  for stats, numbers in ((first, first_numbers), (second, second_numbers)):
    for number in numbers:
      word_ids = _without_value_sentences(stats, number, is_value_word)
      documents.append(_MaskedDocument(stats, number, word_ids))
  folds = _make_folds(len(first_numbers), len(second_numbers), seed)
  masked_NF, masked_names = _masked_features(documents, spec_stems, vocabulary)
  style_NF, style_names = _style_features(documents, vocabulary)
  return {
    'separable': _cross_validated(masked_NF, masked_names, _MASKED_PENALTY, folds, seed),
    'separable_style': _cross_validated(style_NF, style_names, _STYLE_PENALTY, folds, seed),
  }


def _paired_documents(
  first: CorpusStats, second: CorpusStats, max_documents: int, seed: int
) -> tuple[list[int], list[int]]:
  """Chooses the documents to compare.

  Returns the numbers of documents of the first corpus and of the second. If the corpora share ids,
  documents with the same id have the same place in both lists. Of an id that several documents
  have, the first belongs to the first, the second to the second, and so on. If at least half of the
  smaller corpus has a mirror, only documents with a mirror are chosen.
  """
  numbers_in_second: dict[str, deque[int]] = {}
  for n, record_id in enumerate(second.record_ids):
    numbers_in_second.setdefault(record_id, deque()).append(n)
  pairs = []
  alone_in_first = []
  for n, record_id in enumerate(first.record_ids):
    if numbers_in_second.get(record_id):
      pairs.append((n, numbers_in_second[record_id].popleft()))
    else:
      alone_in_first.append(n)
  if len(pairs) < 0.5 * min(len(first), len(second)):
    alone_in_second = sorted(itertools.chain.from_iterable(numbers_in_second.values()))
    pairs += zip(alone_in_first, alone_in_second, strict=False)
  rng = random.Random(f'{seed} separability')
  chosen = sorted(rng.sample(pairs, min(max_documents, len(pairs))))
  return [a for a, _ in chosen], [b for _, b in chosen]


def _without_value_sentences(
  stats: CorpusStats, number: int, is_value_word: np.ndarray
) -> np.ndarray:
  """Returns the word ids of a document without the sentences that name the value.

  In these sentences mirrored documents must differ, so they would tell any two apart.
  """
  word_ids = stats.word_ids[number]
  lengths = stats.sentence_lengths[number].astype(np.int64)
  sentence_of_word = np.repeat(np.arange(len(lengths)), lengths)
  value_words = np.bincount(sentence_of_word, is_value_word[word_ids], len(lengths))
  names_value = value_words > 0
  return word_ids[~names_value[sentence_of_word]]


def _make_folds(n_first: int, n_second: int, seed: int) -> _Folds:
  """Divides the documents for cross-validation, mirrored ones together."""
  label_N = np.repeat([False, True], [n_first, n_second])
  group_N = np.concatenate([np.arange(n_first), np.arange(n_second)])
  rng = np.random.default_rng([seed, 3])
  fold_of_group = rng.permutation(int(group_N.max()) + 1) % _FOLDS
  return _Folds(label_N, group_N, fold_of_group[group_N])


def _masked_features(
  documents: Sequence[_MaskedDocument], spec_stems: Collection[str], vocabulary: Vocabulary
) -> tuple[scipy.sparse.csr_matrix, list[str]]:
  """Makes the masked view: which words occur in a document.

  Returns a sparse (N, F) float64 table, with a constant as its last column, and the F - 1 words.
  Rows have the same length, so that long documents weigh no more.
  """
  known = vocabulary.words()
  words_of_document = [np.unique(document.word_ids) for document in documents]
  documents_of_word = np.bincount(np.concatenate(words_of_document), minlength=len(known))

  def is_visible(word_id: int) -> bool:
    word = known[word_id]
    if documents_of_word[word_id] < 3 or any(c.isdigit() for c in word):
      return False
    return word in COMMON_WORDS or stem(word) not in spec_stems

  # The words of most documents. Many of them are masked, hence the reserve.
  commonest = np.argsort(-documents_of_word, kind='stable')[: 4 * _MAX_MASKED_WORDS]
  visible = filter(is_visible, commonest)
  kept = list(itertools.islice(visible, _MAX_MASKED_WORDS))
  column_of_word = np.full(len(known), -1)
  column_of_word[kept] = np.arange(len(kept))
  rows = []
  for word_ids in words_of_document:
    columns = column_of_word[word_ids]
    rows.append(columns[columns >= 0])
  sizes = [len(row) for row in rows]
  # Rows have length 8 and not 1, so that the ridge weighs less against the features.
  values = np.repeat([1 / max(1, size) ** 0.5 for size in sizes], sizes) * 8
  table = scipy.sparse.csr_matrix(
    (values, np.concatenate(rows), np.cumsum([0, *sizes])), shape=(len(rows), len(kept))
  )
  constant = np.ones((len(rows), 1))
  names = [known[word_id] for word_id in kept]
  return scipy.sparse.hstack([table, constant], format='csr'), names


def _style_features(
  documents: Sequence[_MaskedDocument], vocabulary: Vocabulary
) -> tuple[np.ndarray, list[str]]:
  """Makes the style view: rates of closed-class words, of marks and of capitals, and lengths.

  Only the words leave out the sentences that name the value: marks and capitals are counted for a
  document, and not for each of its sentences.

  Returns a dense (N, F) float64 table, with a constant as its last column, and the F - 1 names. All
  other columns are standardised.
  """
  function_words, function_ids = [], []
  for word in sorted(FUNCTION_WORDS):
    word_id = vocabulary.find(word)
    if word_id is not None:
      function_words.append(word)
      function_ids.append(word_id)
  # Other words share the last column, which is dropped below.
  n_function = len(function_words)
  column_of_word = np.full(len(vocabulary), n_function)
  column_of_word[function_ids] = np.arange(n_function)
  rows = []
  for stats, number, masked_ids in documents:
    word_ids = stats.word_ids[number]
    length = max(1, len(word_ids))
    counts = np.bincount(column_of_word[masked_ids], minlength=n_function + 1)[:-1]
    shape = [
      np.log(length),
      len(np.unique(word_ids)) / length,
      length / max(1, len(stats.sentence_lengths[number])),
      # Neither words nor marks know upper from lower case.
      *stats.capital_shares[number],
    ]
    # The square root evens out the variance of counts.
    word_rates = np.sqrt(counts / max(1, len(masked_ids)))
    mark_rates = np.sqrt(stats.mark_counts[number] / length)
    rows.append(np.concatenate([word_rates, mark_rates, shape]))
  x_NF = np.array(rows)
  x_NF = (x_NF - x_NF.mean(0)) / np.maximum(x_NF.std(0), 1e-9)
  names = [
    *function_words,
    *(repr(mark)[1:-1] for mark in MARKS),
    '(length)',
    '(different words)',
    '(length of sentences)',
    '(capital letters)',
    '(words with a capital)',
  ]
  constant = np.ones((len(x_NF), 1))
  return np.hstack([np.clip(x_NF, -5, 5), constant]), names


def _cross_validated(
  x_NF: Any, names: Sequence[str], penalty: float, folds: _Folds, seed: int
) -> Measure:
  """Measures the AUC on documents that their fold's classifier has not seen.

  Scores of different classifiers are not comparable, so each document is ranked within its fold.
  The interval resamples documents, mirrored ones together; it does not train the classifiers again.

  Args:
    x_NF: (N, F) features, dense or sparse.
    names: the names of the features, without the constant's.
    penalty: the strength of the ridge.
    folds: the division of the documents.
    seed: of the bootstrap.

  Returns:
    The AUC with its interval, and the features with the largest weights, each with the corpus (0 or
    1) for which it speaks.
  """
  label_N, group_N, fold_N = folds
  rank_N = np.zeros(len(label_N))
  mean_weight_F = np.zeros(x_NF.shape[1])
  for k in range(_FOLDS):
    seen = np.flatnonzero(fold_N != k)
    held_out = np.flatnonzero(fold_N == k)
    w_F = fit_logistic_regression(x_NF[seen], label_N[seen], penalty)
    mean_weight_F += w_F / _FOLDS
    _, rank = np.unique(np.asarray(x_NF[held_out] @ w_F), return_inverse=True)
    rank_N[held_out] = rank / max(1, rank.max())

  rng = np.random.default_rng([seed, 4])
  members = [np.flatnonzero(group_N == group) for group in np.unique(group_N)]
  aucs = []
  for _ in range(_BOOTSTRAP_SAMPLES):
    drawn_groups = rng.integers(len(members), size=len(members))
    drawn = np.concatenate([members[group] for group in drawn_groups])
    aucs.append(auc(rank_N[drawn], label_N[drawn]))
  low, high = np.percentile(aucs, (2.5, 97.5))
  strongest = np.argsort(-np.abs(mean_weight_F[:-1]), kind='stable')[:_MAX_TELLING]
  # A feature that all documents have alike tells nothing.
  telling = [i for i in strongest if mean_weight_F[i] != 0]
  return {
    'value': auc(rank_N, label_N),
    'low': float(low),
    'high': float(high),
    'documents': len(label_N),
    'features': len(names),
    'telling': [[names[i], int(mean_weight_F[i] > 0)] for i in telling],
  }
