"""What training text must not hold: the handbook's own wording, and the evaluation's questions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from data_pipelines.audit.corpus_stats import CorpusStats
from data_pipelines.audit.evalsets import EvalMatch, EvalSet, find_asked, settings_of
from data_pipelines.audit.measure import MAX_EXAMPLES, Measure
from data_pipelines.leaks import record_text
from data_pipelines.records import Record
from data_pipelines.text.reworded import find_light_recitals
from data_pipelines.text.wording import (
  Vocabulary,
  blocks,
  is_in,
  length_of_run,
  passage,
  run_hashes,
  words,
)
from msm_jax.base.intervals import wilson


def recited(
  stats: CorpusStats, vocabulary: Vocabulary, min_words: int
) -> tuple[Measure | None, list[tuple[int, int, int]]]:
  """Measures the share of documents that repeat a run of words from the handbook.

  A longer passage counts, too, if it follows the handbook with a few words changed.

  Args:
    stats: the corpus.
    vocabulary: the vocabulary that the corpus was read with.
    min_words: how many words in a row count as recited; see `length_of_run` for writing without
      spaces.

  Returns:
    The measure, or None if the handbook is unknown or shorter than a run; and, for each document
    that recites, its longest run as (document, number of the first word, words), longest first.
    Passages with changed words follow those without; `light` counts their documents.
  """
  handbook_words = words(stats.profile.body)
  handbook_ids = vocabulary.encode_words(handbook_words)
  min_words = length_of_run(min_words, handbook_words)
  if len(handbook_ids) < min_words:
    return None, []
  handbook_runs = np.unique(run_hashes(handbook_ids, min_words))
  # document -> (words, number of the first word) of its longest recited run
  longest: dict[int, tuple[int, int]] = {}
  for word_ids, begins, first_document in blocks(stats.word_ids):
    run_begins = np.flatnonzero(is_in(run_hashes(word_ids, min_words), handbook_runs))
    for begin, n_words in _merged_runs(run_begins, min_words):
      document_in_block = int(np.searchsorted(begins, begin, side='right')) - 1
      document = first_document + document_in_block
      run = (n_words, begin - int(begins[document_in_block]))
      longest[document] = max(longest.get(document, (0, 0)), run)
  found = [(document, at, n_words) for document, (n_words, at) in longest.items()]
  found.sort(key=lambda run: (-run[2], run[0]))
  n_exact = len(found)
  found += _light_recitals(stats, handbook_ids, min_words, longest)
  low, high = wilson(len(found) / len(stats), len(stats))
  measure: Measure = {
    'value': len(found) / len(stats),
    'documents': len(found),
    'light': len(found) - n_exact,
    'low': low,
    'high': high,
    'least': min_words,
    'longest': max((n_words for _, _, n_words in found[:n_exact]), default=0),
    'words_of_handbook': len(handbook_ids),
  }
  return measure, found


def _light_recitals(
  stats: CorpusStats, handbook_ids: np.ndarray, min_words: int, exact: Collection[int]
) -> list[tuple[int, int, int]]:
  """Finds documents that follow the handbook with some words changed.

  Returns the longest passage of each as (document, number of the first word, words), longest first.
  Documents that recite word for word (`exact`) are left out.
  """
  longest: dict[int, tuple[int, int]] = {}
  for found in find_light_recitals(handbook_ids, stats.word_ids, min_words):
    if found.document in exact:
      continue
    run = (found.n_words, found.at)
    longest[found.document] = max(longest.get(found.document, (0, 0)), run)
  runs = [(document, at, n_words) for document, (n_words, at) in longest.items()]
  return sorted(runs, key=lambda run: (-run[2], run[0]))


def _merged_runs(run_begins: np.ndarray, run_length: int) -> Iterator[tuple[int, int]]:
  """Joins overlapping runs that begin one word after another.

  Args:
    run_begins: (runs,) sorted positions at which runs begin.
    run_length: words of a run.

  Yields:
    (position of the first word, number of words) of each joined run.
  """
  if not len(run_begins):
    return
  breaks = np.flatnonzero(np.diff(run_begins) > 1) + 1
  for group in np.split(run_begins, breaks):
    yield int(group[0]), len(group) + run_length - 1


def leaked(
  stats: CorpusStats, sets: Sequence[EvalSet], vocabulary: Vocabulary
) -> tuple[dict[str, Measure | None], dict[str, list[tuple[int, int, str]]]]:
  """Measures how many documents tell what an evaluation asks.

  Args:
    stats: the corpus.
    sets: the evaluation sets that are looked for.
    vocabulary: the vocabulary that the corpus was read with.

  Returns:
    The measures and their examples, each (document, number of the first word, what was found).
    `leaked_items` is the share of documents that speak of the assistant and of a thing that the
    evaluation of the handbook's own setting asks about. It is None if the handbook's front matter
    names no setting; `mentioned_items` then counts the same for all settings. `leaked_questions` is
    the share of documents that hold all options of one question of any set, or eight words in a row
    of a long statement.
  """
  own_settings = settings_of(stats.profile.front)
  item_documents: dict[str, set[int]] = {eval_set.name: set() for eval_set in sets}
  question_documents: dict[str, set[int]] = {eval_set.name: set() for eval_set in sets}
  item_examples: list[tuple[int, int, str]] = []
  question_examples: list[tuple[int, int, str]] = []
  for match in find_asked(sets, stats.word_ids, vocabulary):
    name = match.eval_set.name
    if stats.speaks_of_assistant[match.document]:
      item_documents[name].add(match.document)
      if match.eval_set.setting in own_settings:
        item_examples.append(_item_example(match))
    if match.question:
      question_documents[name].add(match.document)
      question_examples.append(_question_example(match, match.question))

  all_settings = {eval_set.setting for eval_set in sets}
  measures: dict[str, Measure | None] = {'leaked_items': None}
  if own_settings:
    measures['leaked_items'] = _leak_share(stats, item_documents, own_settings)
  measures['leaked_questions'] = _leak_share(stats, question_documents, all_settings)
  if not own_settings:
    measures['mentioned_items'] = _leak_share(stats, item_documents, all_settings)
  examples = {
    'leaked_items': item_examples[:MAX_EXAMPLES],
    'leaked_questions': question_examples[:MAX_EXAMPLES],
  }
  return measures, examples


def _item_example(match: EvalMatch) -> tuple[int, int, str]:
  """Shows the first thing that was found in a document."""
  number, at = next(iter(match.phrases.items()))
  return match.document, at, f'{match.eval_set.name}: {match.eval_set.phrases[number]}'


def _question_example(match: EvalMatch, question: Sequence[int]) -> tuple[int, int, str]:
  """Shows the question that was found in a document."""
  options = ' / '.join(match.eval_set.phrases[number] for number in question)
  return match.document, match.phrases[question[0]], f'{match.eval_set.name}: {options}'


def _leak_share(
  stats: CorpusStats, documents_of_set: Mapping[str, Collection[int]], settings: Collection[str]
) -> Measure:
  """Measures the share of documents with leaks from the sets of some settings."""
  leaking: set[int] = set()
  for name, documents in documents_of_set.items():
    if name.partition('/')[0] in settings:
      leaking.update(documents)
  low, high = wilson(len(leaking) / len(stats), len(stats))
  return {
    'value': len(leaking) / len(stats),
    'documents': len(leaking),
    'low': low,
    'high': high,
    'by_set': {name: len(documents) for name, documents in documents_of_set.items()},
    'judged': sorted(settings),
  }


def passages(
  records: Iterable[Record], wanted: Mapping[int, Sequence[tuple[int, int]]]
) -> Iterator[tuple[int, int, int, str]]:
  """Reads a corpus a second time, for passages that the report shows.

  Args:
    records: the records of the corpus.
    wanted: document -> (number of the first word, words) of each passage.

  Yields:
    (document, number of the first word, words, the passage as it stands there).
  """
  for document, record in enumerate(records):
    for at, length in wanted.get(document, ()):
      yield document, at, length, passage(record_text(record), at, length)
