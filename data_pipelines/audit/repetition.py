"""How much the texts of a corpus repeat each other: near duplicates, self-BLEU, openings."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from data_pipelines.audit.corpus_stats import CorpusStats
from data_pipelines.audit.measure import Measure
from data_pipelines.audit.thresholds import MIN_SAMPLE
from data_pipelines.text import duplicates
from data_pipelines.text.wording import Vocabulary, length_of_run, run_hashes

# BLEU compares runs of 1 to 4 words.
_MAX_RUN = 4
_BOOTSTRAP_SAMPLES = 500
# Near duplicates share runs of five words. Where no spaces part words, fewer are a run as long: the
# first documents say how many.
_SHINGLE, _MEASURED = 5, 100


def near_duplicates(
  stats: CorpusStats, vocabulary: Vocabulary, threshold: float, seed: int
) -> tuple[Measure, duplicates.Duplicates]:
  """Measures the share of documents that could be dropped as near duplicates of others.

  Args:
    stats: the corpus.
    vocabulary: the vocabulary that the corpus was read with.
    threshold: the Jaccard similarity from which two texts are near duplicates.
    seed: of the MinHash permutations.

  Returns:
    The measure, with the settings of the search, and the near duplicates themselves.
  """
  known = vocabulary.words()
  some = np.concatenate(stats.word_ids[:_MEASURED])
  size = length_of_run(_SHINGLE, [known[n] for n in some])
  found = duplicates.near_duplicate_ids(stats.word_ids, threshold, size, seed)
  rows, bands = duplicates.choose_banding(threshold)
  measure: Measure = {
    'value': len(found.redundant) / len(stats),
    'documents': len(found.redundant),
    'clusters': len(found.clusters),
    'largest': max((len(cluster) for cluster in found.clusters), default=0),
    'jaccard': threshold,
    'rows': rows,
    'bands': bands,
    'recall_at_threshold': found.recall,
    'compared': found.compared,
  }
  return measure, found


def self_similarity(stats: CorpusStats, sample: int, max_words: int, seed: int) -> Measure | None:
  """Measures self-BLEU (Zhu et al. 2018, Texygen): how alike the texts of a corpus are.

  Each text of a sample is scored as BLEU scores a translation, with all other texts of the sample
  as references: the geometric mean, over runs of 1 to 4 words, of the share of its runs that stand
  in another text. A run counts at most as often as in the other text that has it most. There is no
  penalty for length. The measure is the mean over the sample.

  Two values are comparable only at the same sample size and length: a larger sample and longer
  texts share more.

  Args:
    stats: the corpus.
    sample: how many texts are drawn at most.
    max_words: to how many words each text is cut.
    seed: of the sample and of the bootstrap.

  Returns:
    The mean with its 95% interval by bootstrap over the texts; None for fewer than 20 texts.
  """
  long_enough = [n for n, word_ids in enumerate(stats.word_ids) if len(word_ids) >= _MAX_RUN]
  rng = random.Random(f'{seed} self-similarity')
  chosen = sorted(rng.sample(long_enough, min(sample, len(long_enough))))
  if len(chosen) < MIN_SAMPLE:
    return None
  texts = [stats.word_ids[n][:max_words] for n in chosen]
  mean_log = np.zeros(len(texts))
  for length in range(1, _MAX_RUN + 1):
    mean_log += np.log(_clipped_precision(texts, length)) / _MAX_RUN
  scores = np.exp(mean_log)
  low, high = _bootstrap_interval(scores, seed)
  return {
    'value': float(scores.mean()),
    'low': low,
    'high': high,
    'sample': len(texts),
    'words': max_words,
  }


def _clipped_precision(texts: Sequence[np.ndarray], length: int) -> np.ndarray:
  """Computes BLEU's clipped precision of each text against all others, for runs of one length.

  A table of all (text, different run) pairs is sorted by run, and by count within a run. The last
  row of a run's group then belongs to the text that has the run most, and the row before it to the
  runner-up. Every other text may match as many of its runs as the first has, and the first as many
  as the runner-up has. This takes one sort instead of a comparison of every text with every other.

  Args:
    texts: (words,) uint32 word ids of each text.
    length: words of a run.

  Returns:
    (texts,) float64. A text without any match gets half a match, so that its logarithm exists.
  """
  hashes_of_text, counts_of_text = [], []
  for word_ids in texts:
    text_hashes, text_counts = np.unique(run_hashes(word_ids, length), return_counts=True)
    hashes_of_text.append(text_hashes)
    counts_of_text.append(text_counts)
  # R rows: one for each different run of each text. G groups: one for each different run.
  hashes_R = np.concatenate(hashes_of_text)
  counts_R = np.concatenate(counts_of_text)
  text_R = np.repeat(np.arange(len(texts)), [len(hashes) for hashes in hashes_of_text])
  order_R = np.lexsort((counts_R, hashes_R))
  hashes_R, counts_R, text_R = hashes_R[order_R], counts_R[order_R], text_R[order_R]

  rows_R = np.arange(len(hashes_R))
  last_row_G = np.append(np.flatnonzero(np.diff(hashes_R)), len(hashes_R) - 1)
  group_R = np.searchsorted(last_row_G, rows_R)
  most_G = counts_R[last_row_G]
  # If only one text has a run, there is no runner-up, and nothing matches.
  is_single_G = np.diff(last_row_G, prepend=-1) == 1
  runner_up_G = np.where(is_single_G, 0, counts_R[np.maximum(last_row_G - 1, 0)])
  is_last_R = rows_R == last_row_G[group_R]
  limit_R = np.where(is_last_R, runner_up_G[group_R], most_G[group_R])
  matched_R = np.minimum(counts_R, limit_R)

  matched = np.bincount(text_R, matched_R, len(texts))
  total = np.bincount(text_R, counts_R, len(texts))
  return np.maximum(matched, 0.5) / total


def _bootstrap_interval(scores: np.ndarray, seed: int) -> tuple[float, float]:
  """Returns the 95% interval of a mean, by drawing the scores again with replacement."""
  rng = np.random.default_rng([seed, 2])
  drawn = rng.integers(len(scores), size=(_BOOTSTRAP_SAMPLES, len(scores)))
  low, high = np.percentile(scores[drawn].mean(1), (2.5, 97.5))
  return float(low), float(high)


def openings(stats: CorpusStats) -> Measure:
  """Measures how many documents begin alike.

  Args:
    stats: the corpus.

  Returns:
    The share of documents that begin with the commonest four words; the commonest openings; and the
    share of documents whose whole first sentence begins another document too.
  """
  commonest = Counter(stats.openings).most_common(8)
  shared_first_sentences = 0
  for sentence_hash, documents in Counter(stats.first_sentence_hashes).items():
    # Texts without a sentence share none.
    if documents > 1 and sentence_hash != 0:
      shared_first_sentences += documents
  return {
    'value': commonest[0][1] / len(stats),
    'commonest': [[opening, n / len(stats)] for opening, n in commonest],
    'first_sentence_shared': shared_first_sentences / len(stats),
  }
