"""The audit of corpora: measures them, judges them by thresholds, and collects examples.

`audit` does the whole of it. It reads every corpus twice: once for all measures, and once more for
the passages that the report shows. Several corpora mirror each other: they follow one plan and give
a different reason each. They are also compared with each other.
"""

import dataclasses
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from data_pipelines.audit import contamination, repetition, separability
from data_pipelines.audit.amounts import corpus_amounts
from data_pipelines.audit.attribution import HandbookProfile, read_profile
from data_pipelines.audit.content import attribution_share, coverage, other_languages
from data_pipelines.audit.corpus_stats import CorpusStats, read_corpus
from data_pipelines.audit.evalsets import EvalSet, eval_sets
from data_pipelines.audit.formatting import format_bound, format_value, printable, verdict_table
from data_pipelines.audit.measure import MAX_EXAMPLES, Measure
from data_pipelines.audit.names_and_dates import names_and_dates
from data_pipelines.audit.thresholds import (
  CHAT_MEASURES,
  DOCUMENT_MEASURES,
  FLOORS,
  MIRROR_MEASURES,
  NO_SHARES,
  NOT_APPLICABLE,
  WHY_NOT_MEASURED,
  AuditError,
  Thresholds,
)
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Record
from data_pipelines.text.duplicates import Duplicates
from data_pipelines.text.wording import Vocabulary, content_stems

# Claim id -> its statement, or corpus -> statement where mirrored corpora state it differently.
Claims = Mapping[str, str | Mapping[str, str]]

# Self-BLEU compares the beginnings of texts, since longer texts share more.
_SELF_BLEU_WORDS = 300
_MAX_EXAMPLE_LENGTH = 1200
# How many missed thresholds an error names.
_MAX_NAMED_MISSES = 4


class Report(dict[str, Any]):
  """The result of an audit, a dict that goes into JSON.

  Its keys:
    corpora: name -> how much the corpus holds.
    measures: name -> name of a measure -> the measure, or None if it could not be measured.
    mirrored: name of a measure -> the measure; empty for a single corpus.
    verdicts: one dict for each threshold and corpus, with `passed`.
    not_measured: which measures are missing, and why.
    examples: name -> name of a measure -> passages.
    thresholds: name -> the bound that was used.
  """

  @property
  def missed(self) -> list[dict[str, Any]]:
    """The verdicts of missed thresholds."""
    return [verdict for verdict in self['verdicts'] if not verdict['passed']]

  def check(self, setting: str = 'threshold.NAME') -> None:
    """Stops whoever would go on with corpora that miss a threshold.

    Args:
      setting: by what the caller's user sets a threshold, for the error.

    Raises:
      AuditError: a threshold is missed. The error names the first four that are.
    """
    missed = self.missed
    if not missed:
      return
    named = '; '.join(_describe_miss(verdict) for verdict in missed[:_MAX_NAMED_MISSES])
    more = ''
    if len(missed) > _MAX_NAMED_MISSES:
      more = f' and {len(missed) - _MAX_NAMED_MISSES} more'
    raise AuditError(
      f'the audit misses {len(missed)} of {len(self["verdicts"])} thresholds: {named}{more}; '
      f'mend the corpus, or set {setting} where the bound is wrong for it'
    )

  def table(self) -> str:
    """Shows the verdicts in plain text, for a terminal."""
    return verdict_table(self)


def _describe_miss(verdict: Mapping[str, Any]) -> str:
  found = f'not measured: {verdict["why"]}'
  if verdict['why'] is None:
    found = format_value(verdict)
  corpus = printable(verdict['corpus'], 40)
  return f'{corpus}: {verdict["what"]} {found} ({format_bound(verdict)})'


def audit(
  corpora: Mapping[str, Iterable[Record]],
  specs: Mapping[str, str] | None = None,
  claims: Claims | None = None,
  thresholds: Thresholds | None = None,
  count_tokens: Callable[[str], int] | None = None,
) -> Report:
  """Measures corpora and judges them. Several corpora are taken for mirrors of each other.

  Args:
    corpora: name -> records, all documents or all conversations. They are read twice, so give lists
      or something else that can be read again.
    specs: name -> text of the corpus's handbook with its front matter. A corpus without a handbook
      gets fewer measures.
    claims: id -> statement, or id -> (name of a corpus -> statement).
    thresholds: the bounds; the defaults if not given.
    count_tokens: counts the tokens of a text; by default, words and marks are counted.

  Returns:
    The report. It is returned even if thresholds are missed; its `check` raises then.

  Raises:
    AuditError: there is no corpus, a handbook belongs to none of them, a corpus can be read only
      once, a claim says nothing for one of them, or documents and conversations are audited
      together.
    DataError: a corpus is empty or mixes documents and conversations.
  """
  # Texts of corpora are read in one form of Unicode, and words are compared with theirs.
  specs = {name: unicodedata.normalize('NFC', text) for name, text in (specs or {}).items()}
  claims = _composed(claims or {})
  thresholds = thresholds or Thresholds()
  if not corpora:
    raise AuditError('there is no corpus to audit')
  unknown = sorted(specs.keys() - corpora.keys())
  if unknown:
    raise AuditError(
      f'a handbook is given for {printable(unknown[0], 80)!r}, which is no corpus here; '
      f'corpora are {", ".join(corpora)}'
    )
  vocabulary = Vocabulary()
  all_stats = _read_corpora(corpora, specs, vocabulary, count_tokens or counter(''))
  items_of_handbooks: set[str] = set()
  for stats in all_stats:
    items_of_handbooks.update(stats.profile.items)
  sets = list(eval_sets(items_of_handbooks))

  report = Report(
    corpora={},
    measures={},
    mirrored={},
    verdicts=[],
    not_measured=[],
    examples={},
    thresholds=dataclasses.asdict(thresholds),
  )
  for stats in all_stats:
    statements = _statements_of(claims, stats.name)
    found, wanted = _measure(stats, statements, sets, vocabulary, thresholds)
    amounts = corpus_amounts(stats)
    amounts['assistant'] = stats.profile.assistant
    amounts['maker'] = stats.profile.front.get('maker', '')
    report['corpora'][stats.name] = amounts
    report['measures'][stats.name] = found
    report['examples'][stats.name] = _examples(corpora[stats.name], stats, wanted)
    judged = CHAT_MEASURES
    if stats.kind == 'documents':
      judged = DOCUMENT_MEASURES
    _judge(report, stats.name, found, judged, thresholds, WHY_NOT_MEASURED)
  all_names = ' / '.join(corpora)
  if len(all_stats) > 1:
    mirrored, not_compared = _compare_mirrors(all_stats, specs, claims, vocabulary, thresholds)
    report['mirrored'] = mirrored
    _judge(report, all_names, mirrored, MIRROR_MEASURES, thresholds, WHY_NOT_MEASURED)
    for pair in not_compared:
      views = {view: MIRROR_MEASURES[view] for view in ('separable', 'separable_style')}
      _judge(report, pair, {}, views, thresholds, WHY_NOT_MEASURED)
  not_applicable = _given_but_not_judged(report, thresholds)
  why_not = dict.fromkeys(not_applicable, NOT_APPLICABLE)
  _judge(report, all_names, {}, not_applicable, thresholds, why_not)
  return report


def _read_corpora(
  corpora: Mapping[str, Iterable[Record]],
  specs: Mapping[str, str],
  vocabulary: Vocabulary,
  count_tokens: Callable[[str], int],
) -> list[CorpusStats]:
  """Reads all corpora for the first time."""
  all_stats = []
  for name, records in corpora.items():
    # An iterator is its own iterator, and would be empty the second time.
    if iter(records) is records:
      raise AuditError(f'corpus {name} can be read only once; give a list')
    profile = HandbookProfile()
    if name in specs:
      mirrors = [text for other, text in specs.items() if other != name]
      profile = read_profile(specs[name], mirrors)
    all_stats.append(read_corpus(name, records, profile, vocabulary, count_tokens))
  if len({stats.kind for stats in all_stats}) > 1:
    raise AuditError(
      'some corpora are documents and some conversations, which mirror nothing; '
      'audit them one by one'
    )
  return all_stats


def _composed(claims: Claims) -> Claims:
  """The claims with every letter and its accents as one character, as the corpora are read."""
  composed: dict[str, str | Mapping[str, str]] = {}
  for claim, said in claims.items():
    if isinstance(said, str):
      composed[claim] = unicodedata.normalize('NFC', said)
    else:
      composed[claim] = {name: unicodedata.normalize('NFC', text) for name, text in said.items()}
  return composed


def _statements_of(claims: Claims, corpus: str) -> dict[str, str]:
  """Returns the claims as one corpus states them, id -> statement. Raises AuditError for a claim
  that has statements for others alone: its words could not be looked for."""
  statements = {}
  for claim, said in claims.items():
    if isinstance(said, str):
      statements[claim] = said
      continue
    if corpus not in said:
      raise AuditError(
        f'the claim {printable(claim, 80)!r} has no statement for the corpus '
        f'{printable(corpus, 80)!r}; call the corpus as its handbook is called, or give the '
        'handbook (--spec)'
      )
    statements[claim] = said[corpus]
  return statements


# ---- measures


class _Passage(NamedTuple):
  """A passage that the report shows: where it stands, and a note on it."""

  document: int
  first_word: int
  n_words: int
  note: str


def _measure(
  stats: CorpusStats,
  claims: Mapping[str, str],
  sets: Sequence[EvalSet],
  vocabulary: Vocabulary,
  thresholds: Thresholds,
) -> tuple[dict[str, Measure | None], dict[str, list[_Passage]]]:
  """Computes all measures of one corpus.

  Returns (name of a measure -> the measure, name of a measure -> passages that it wants to show).
  """
  is_documents = stats.kind == 'documents'
  attributed = attribution_share(stats)
  duplicates, clusters = repetition.near_duplicates(
    stats, vocabulary, thresholds.jaccard, thresholds.seed
  )
  recited, runs = contamination.recited(stats, vocabulary, thresholds.recited_words)
  leaked, leaks = contamination.leaked(stats, sets, vocabulary)
  repeated_ids = len(stats) - len(set(stats.record_ids))

  found: dict[str, Measure | None] = {}
  # The report lists measures in this order.
  if is_documents:
    found['attribution'] = attributed
  else:
    found['reasons'] = attributed
  found['named'] = None
  if stats.profile.names:
    found['named'] = stats.share('named')
  found['first_person'] = None
  if is_documents:
    found['first_person'] = stats.share('first_person')
  found['covered'] = None
  if claims and is_documents:
    found['covered'] = coverage(stats, claims, vocabulary, thresholds.claim_documents)
  found['duplicates'] = duplicates
  found['self_similarity'] = repetition.self_similarity(
    stats, thresholds.sample, _SELF_BLEU_WORDS, thresholds.seed
  )
  found['openings'] = repetition.openings(stats)
  found['loops'] = None
  if is_documents:
    found['loops'] = stats.share('loops')
  found.update(names_and_dates(stats, vocabulary))
  found['recited'] = recited
  found['formats'] = stats.share('formats')
  found['languages'] = other_languages(stats)
  found.update(leaked)
  found['unfinished'] = stats.share('unfinished')
  found['repeated_ids'] = {'value': repeated_ids / len(stats), 'documents': repeated_ids}

  wanted = {'duplicates': _passages_of_pairs(clusters), 'recited': []}
  # Light recitals follow those that are word for word.
  exact = len(runs) - recited['light'] if recited else 0
  for number, (document, first_word, n_words) in enumerate(runs[:MAX_EXAMPLES]):
    note = f'{n_words} words in a row'
    if number >= exact:
      note = f'{n_words} words, some of them changed'
    passage = _Passage(document, first_word, n_words, note)
    wanted['recited'].append(passage)
  for what, places in leaks.items():
    wanted[what] = [_Passage(document, at, 8, note) for document, at, note in places]
  return found, wanted


def _passages_of_pairs(found: Duplicates) -> list[_Passage]:
  """Shows the beginnings of the pairs that are most alike."""
  nearest = sorted(found.pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))
  passages = []
  for n, (first, second, similarity) in enumerate(nearest[:MAX_EXAMPLES], 1):
    note = f'pair {n}, Jaccard {similarity:.2f}'
    passages.append(_Passage(first, 0, 60, note))
    passages.append(_Passage(second, 0, 60, note))
  return passages


def _examples(
  records: Iterable[Record], stats: CorpusStats, wanted: Mapping[str, Sequence[_Passage]]
) -> dict[str, list[dict[str, str]]]:
  """Collects what a reader should see of each measure.

  Args:
    records: the records of the corpus, which are read again if passages are wanted.
    stats: the corpus; it has some examples already.
    wanted: name of a measure -> passages to look up.

  Returns:
    Name of a measure -> its examples, each with the id of the record. Measures without examples are
    left out.
  """
  places: dict[int, list[tuple[int, int]]] = {}
  for passage in itertools.chain.from_iterable(wanted.values()):
    place = (passage.first_word, passage.n_words)
    places.setdefault(passage.document, []).append(place)
  text_of: dict[tuple[int, int, int], str] = {}
  if places:
    for document, at, n_words, text in contamination.passages(records, places):
      text_of[document, at, n_words] = text

  examples: dict[str, list[dict[str, str]]] = {}
  for what, found in stats.examples.items():
    examples[what] = [_example(stats, document, '', text) for document, text in found]
  for what, passages in wanted.items():
    examples[what] = []
    for passage in passages:
      text = text_of.get((passage.document, passage.first_word, passage.n_words), '')
      examples[what].append(_example(stats, passage.document, passage.note, text))
  return {what: found for what, found in examples.items() if found}


def _example(stats: CorpusStats, document: int, note: str, text: str) -> dict[str, str]:
  return {'id': stats.record_ids[document], 'note': note, 'text': text[:_MAX_EXAMPLE_LENGTH]}


def _compare_mirrors(
  all_stats: Sequence[CorpusStats],
  specs: Mapping[str, str],
  claims: Claims,
  vocabulary: Vocabulary,
  thresholds: Thresholds,
) -> tuple[dict[str, Any], list[str]]:
  """Measures how far apart mirrored corpora are: their amounts, and the pair easiest to tell apart.

  Returns (name of a measure -> the measure, None if it could not be measured; the pairs that could
  not be compared, although others could).
  """
  # Mirrored corpora differ in the words of handbooks and claims by necessity.
  spec_stems: set[str] = set()
  for text in specs.values():
    spec_stems.update(content_stems(text))
  for said in claims.values():
    if isinstance(said, str):
      spec_stems.update(content_stems(said))
    else:
      for statement in said.values():
        spec_stems.update(content_stems(statement))

  found: dict[str, Any] = dict(separability.balance(all_stats))
  found['separable'] = None
  found['separable_style'] = None
  not_compared = []
  for first, second in itertools.combinations(all_stats, 2):
    measures = separability.separable(
      first, second, spec_stems, vocabulary, thresholds.compared, thresholds.seed
    )
    if measures['separable'] is None:
      not_compared.append(f'{first.name} / {second.name}')
    for view, measure in measures.items():
      if measure is None:
        continue
      if found[view] is None or measure['value'] > found[view]['value']:
        found[view] = {**measure, 'pair': [first.name, second.name]}
  if found['separable'] is None:
    not_compared = []
  return found, not_compared


# ---- verdicts


def _given_but_not_judged(report: Report, thresholds: Thresholds) -> dict[str, str]:
  """Returns the thresholds that were given by name but do not apply to these corpora."""
  judged = {verdict['what'] for verdict in (*report['verdicts'], *report['not_measured'])}
  all_measures = {**DOCUMENT_MEASURES, **CHAT_MEASURES, **MIRROR_MEASURES}
  not_judged = {}
  for what, about in all_measures.items():
    if what in thresholds.given and what not in judged:
      not_judged[what] = about
  return not_judged


def _judge(
  report: Report,
  corpus: str,
  found: Mapping[str, Measure | None],
  judged: Mapping[str, str],
  thresholds: Thresholds,
  why_not: Mapping[str, str],
) -> None:
  """Adds the verdicts of one corpus to a report, and what could not be measured.

  Args:
    report: what the verdicts are added to.
    corpus: the name of the corpus, or the names of all.
    found: name of a measure -> the measure.
    judged: name of a measure that is judged -> what its number says.
    thresholds: the bounds.
    why_not: name of a measure -> why it may be missing.
  """
  for what, about in judged.items():
    measure = found.get(what)
    limit = getattr(thresholds, what)
    is_floor = what in FLOORS
    why = None
    value = None
    passed = False
    if measure is None:
      why = why_not[what]
      report['not_measured'].append({'corpus': corpus, 'what': what, 'why': why})
      # What cannot be measured counts as missed only if somebody asked for it by name, and if there
      # is a corpus that would miss the bound.
      is_safe = what not in NO_SHARES and _every_corpus_passes(limit, is_floor)
      if what not in thresholds.given or is_safe:
        continue
    else:
      value = measure['value']
      passed = _keeps(value, limit, is_floor)
    side = 'ceiling'
    if is_floor:
      side = 'floor'
    verdict = {
      'corpus': corpus,
      'what': what,
      'about': about,
      'value': value,
      side: limit,
      'passed': passed,
      'why': why,
    }
    if measure is not None and 'low' in measure:
      verdict['low'] = measure['low']
      verdict['high'] = measure['high']
    report['verdicts'].append(verdict)


def _every_corpus_passes(limit: float, is_floor: bool) -> bool:
  """Says whether no share, from 0 to 1, can miss a bound."""
  if is_floor:
    return limit <= 0
  return limit >= 1


def _keeps(value: float, limit: float, is_floor: bool) -> bool:
  if is_floor:
    return bool(value >= limit)
  return bool(value <= limit)
