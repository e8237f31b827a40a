"""What the documents of a corpus say: the handbook's value as a reason, and the claims of the plan.

Both measures are heuristics that read words. The page of the audit shows what they counted, so that
a reader can judge them.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from data_pipelines.audit.attribution import Attribution
from data_pipelines.audit.corpus_stats import CorpusStats
from data_pipelines.audit.measure import MAX_EXAMPLES, Measure
from data_pipelines.text.languages import language_of
from data_pipelines.text.wording import COMMON_WORDS, Vocabulary, content_stems, stem, words
from msm_jax.base.intervals import wilson

# A document holds a claim in words if it holds this much of the claim's weight.
HELD_IN_WORDS = 0.6
# A document that carries a claim's id must hold more of the claim than this quantile of the others.
QUANTILE_OF_OTHERS = 0.9


def attribution_share(stats: CorpusStats) -> Measure | None:
  """Measures the share of documents that give the value as a reason.

  Args:
    stats: the corpus.

  Returns:
    The share; the share that names the value at all (`stated`); and the words that were looked for.
    None where the handbook is unknown or gives no reasons that could be looked for.
  """
  profile = stats.profile
  if not Attribution(profile).possible:
    return None
  measure = stats.share('attribution')
  measure['stated'] = stats.share('stated')['value']
  measure['values'] = list(profile.values)
  measure['explained'] = list(profile.items or (profile.assistant,))
  return measure


def other_languages(stats: CorpusStats) -> Measure | None:
  """Measures the share of documents in another language than the corpus's.

  The language of a corpus is its handbook's or, without a handbook, that of most documents. Texts
  whose language is not known count as the corpus's.

  Args:
    stats: the corpus.

  Returns:
    The share, and how many documents each language has; None if no language is known.
  """
  counts = Counter(language for language in stats.languages if language)
  own = language_of(stats.profile.body)
  if counts and not own:
    own = counts.most_common(1)[0][0]
  if not own:
    return None
  others = sum(n for language, n in counts.items() if language != own)
  low, high = wilson(others / len(stats), len(stats))
  return {
    'value': others / len(stats),
    'documents': others,
    'low': low,
    'high': high,
    'own': own,
    'by_language': dict(counts.most_common()),
  }


# ---- claims
#
# Dimensions: D documents, S different stems of all claims.


@dataclasses.dataclass(frozen=True)
class _ClaimReading:
  """What was read of one claim, document by document.

  Attributes:
    carried_D: bool, whether the document carries the claim's id.
    in_words_D: bool, whether it holds the claim's words.
    told_D: bool, whether it counts as telling the claim.
  """

  carried_D: np.ndarray
  in_words_D: np.ndarray
  told_D: np.ndarray


def coverage(
  stats: CorpusStats, claims: Mapping[str, str], vocabulary: Vocabulary, min_documents: int
) -> Measure:
  """Measures how many of the claims have enough documents.

  Each claim is counted in three ways: by the ids that documents carry (`documents`), by its words
  (`in_words`), and by both (`told`).

  1. A claim is the set of stems of its content words. A stem weighs the logarithm of the number of
     documents over the number of documents that hold it, so that rare words weigh more.
  2. A document that holds 0.6 of a claim's weight holds the claim in words.
  3. A document that tells a claim in words of its own holds less. So a document tells a claim if it
     carries the claim's id, and holds 0.6 of it or more of it than nine in ten of the documents
     without the id. Where ids say nothing, about one carrier in ten counts by chance.

  This is a crude reader. Its worth shows in how often it finds a claim in documents that carry the
  claim's id, and how often in those that don't (`found_where_carried`, `found_elsewhere`).

  Args:
    stats: the corpus.
    claims: id -> statement; at least one.
    vocabulary: the vocabulary that the corpus was read with.
    min_documents: how many documents a claim needs.

  Returns:
    The share of claims with enough documents: told, or in words if no document carries ids.
    Beside it the shares by ids and by words, and the counts of each claim, the least told first.
  """
  documents_of_claim: Counter[str] = Counter()
  for claim_ids in stats.claim_ids:
    documents_of_claim.update(set(claim_ids))
  columns_of_claim, column_of_stem = _claim_columns(stats, claims)
  held_DS = _documents_by_stems(stats, column_of_stem, vocabulary)
  documents_S = np.asarray(held_DS.sum(0)).ravel()
  weight_S = np.log((1 + len(stats)) / (1 + documents_S))

  rows = []
  found_in_carriers = n_carriers = 0
  found_in_others = n_others = 0
  for claim, statement in claims.items():
    reading = _read_claim(stats, claim, columns_of_claim[claim], held_DS, weight_S)
    carried_D = reading.carried_D
    found_in_carriers += int(reading.in_words_D[carried_D].sum())
    n_carriers += int(carried_D.sum())
    found_in_others += int(reading.in_words_D[~carried_D].sum())
    n_others += int((~carried_D).sum())
    row = {
      'id': claim,
      'statement': statement,
      'documents': documents_of_claim[claim],
      'told': int(reading.told_D.sum()),
      'in_words': int(reading.in_words_D.sum()),
    }
    rows.append(row)

  told = _share_with_enough(rows, 'told', min_documents)
  in_words = _share_with_enough(rows, 'in_words', min_documents)
  # Published corpora carry no ids, and then the words must do.
  value, by_ids = in_words, None
  if documents_of_claim:
    value = told
    by_ids = _share_with_enough(rows, 'documents', min_documents)
  return {
    'value': value,
    'by_ids': by_ids,
    'in_words': in_words,
    'least': min_documents,
    'found_where_carried': _ratio(found_in_carriers, n_carriers),
    'found_elsewhere': _ratio(found_in_others, n_others),
    'claims': sorted(rows, key=lambda r: (r['told'], r['documents'], r['in_words'], r['id'])),
    'unknown_ids': sorted(documents_of_claim.keys() - claims.keys())[:MAX_EXAMPLES],
  }


def _claim_columns(
  stats: CorpusStats, claims: Mapping[str, str]
) -> tuple[dict[str, list[int]], dict[str, int]]:
  """Returns (claim id -> sorted columns of its stems, stem -> its column)."""
  # The assistant and its maker are in every claim, so their names tell nothing.
  subject: set[str] = set()
  for name in stats.profile.names:
    subject.update(stem(word) for word in words(name))
  column_of_stem: dict[str, int] = {}
  columns_of_claim = {}
  for claim, statement in claims.items():
    columns = set()
    for stem_of_claim in content_stems(statement):
      if stem_of_claim not in subject:
        columns.add(column_of_stem.setdefault(stem_of_claim, len(column_of_stem)))
    columns_of_claim[claim] = sorted(columns)
  return columns_of_claim, column_of_stem


def _documents_by_stems(
  stats: CorpusStats, column_of_stem: Mapping[str, int], vocabulary: Vocabulary
) -> scipy.sparse.csr_matrix:
  """Returns a sparse (D, S) float32 table: 1 where a document holds a stem."""
  # The column of every word of the vocabulary; -1 for words that no claim holds.
  column_of_word = np.full(len(vocabulary), -1, np.int64)
  for n, word in enumerate(vocabulary.words()):
    if word not in COMMON_WORDS:
      column_of_word[n] = column_of_stem.get(stem(word), -1)
  columns_of_document = []
  for word_ids in stats.word_ids:
    columns = np.unique(column_of_word[word_ids])
    columns_of_document.append(columns[columns >= 0])
  row_sizes = [len(columns) for columns in columns_of_document]
  indices = np.concatenate([*columns_of_document, np.empty(0, np.int64)]).astype(np.int64)
  return scipy.sparse.csr_matrix(
    (np.ones(sum(row_sizes), np.float32), indices, np.cumsum([0, *row_sizes])),
    shape=(len(stats), max(1, len(column_of_stem))),
  )


def _read_claim(
  stats: CorpusStats,
  claim: str,
  columns: Sequence[int],
  held_DS: scipy.sparse.csr_matrix,
  weight_S: np.ndarray,
) -> _ClaimReading:
  """Looks for one claim in every document."""
  carried_D = np.array([claim in claim_ids for claim_ids in stats.claim_ids])
  if not columns:
    # The claim has no word of its own, so nothing can be read, and the ids must do.
    return _ClaimReading(carried_D, np.zeros(len(stats), bool), carried_D)
  claim_weight_S = np.zeros(len(weight_S))
  # A stem that is in every document weighs nothing; the small term keeps the sum above zero.
  claim_weight_S[columns] = weight_S[columns] + 1e-6
  held_share_D = np.asarray(held_DS @ claim_weight_S) / claim_weight_S.sum()
  in_words_D = held_share_D >= HELD_IN_WORDS
  usual = 0.0
  if not carried_D.all():
    usual = np.quantile(held_share_D[~carried_D], QUANTILE_OF_OTHERS)
  # The margin keeps rounding errors from counting as more.
  told_D = carried_D & (in_words_D | (held_share_D > usual + 1e-9))
  return _ClaimReading(carried_D, in_words_D, told_D)


def _share_with_enough(rows: Sequence[Mapping], count: str, min_documents: int) -> float:
  enough = sum(row[count] >= min_documents for row in rows)
  return enough / len(rows)


def _ratio(part: int, whole: int) -> float | None:
  if not whole:
    return None
  return part / whole
