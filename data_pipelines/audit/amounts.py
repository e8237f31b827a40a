"""How much text a corpus holds: records, words, tokens, domains and lengths."""

from collections import Counter

import numpy as np

from data_pipelines.audit.corpus_stats import CorpusStats
from data_pipelines.audit.measure import Measure

# The named points of the distribution of lengths -> their percentiles.
_PERCENTILES = {'min': 0, 'p5': 5, 'median': 50, 'p95': 95, 'max': 100}


def corpus_amounts(stats: CorpusStats) -> Measure:
  """Counts what a corpus holds.

  Args:
    stats: the corpus.

  Returns:
    The kind; the numbers of documents, words and tokens; `domains`, each with its documents and
    tokens; and `length`, the distribution of the documents' lengths in words, with a histogram.
  """
  documents_of_domain = Counter(stats.domains)
  tokens_of_domain: Counter[str] = Counter()
  for domain, tokens in zip(stats.domains, stats.token_counts, strict=True):
    tokens_of_domain[domain] += tokens
  domains = {}
  for domain, documents in sorted(documents_of_domain.items()):
    domains[domain] = {'documents': documents, 'tokens': tokens_of_domain[domain]}
  lengths = np.array([len(word_ids) for word_ids in stats.word_ids])
  return {
    'kind': stats.kind,
    'documents': len(stats),
    'words': int(lengths.sum()),
    'tokens': sum(stats.token_counts),
    'domains': domains,
    'length': _distribution(lengths),
  }


def _distribution(lengths: np.ndarray) -> Measure:
  """Describes lengths in words by percentiles, mean and histogram."""
  percentiles = np.percentile(lengths, list(_PERCENTILES.values()))
  distribution: Measure = {
    name: float(value) for name, value in zip(_PERCENTILES, percentiles, strict=True)
  }
  # One very long document would squeeze all others into one bar, so the last bar holds the top 1%.
  longest_shown = max(int(np.percentile(lengths, 99)), 1)
  counts, edges = np.histogram(
    np.minimum(lengths, longest_shown), bins=min(24, longest_shown), range=(0, longest_shown)
  )
  distribution['mean'] = float(lengths.mean())
  distribution['counts'] = counts.tolist()
  distribution['edges'] = [round(float(edge), 1) for edge in edges]
  return distribution
