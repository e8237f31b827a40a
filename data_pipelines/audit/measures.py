"""What the audit measures of one corpus: one pass over its texts, then arrays of word ids.

A measure is a dict that goes into JSON; `value` is what thresholds look at, and what it is a share of is said in data_pipelines.audit. Shares of all
documents are counts, not estimates; what is taken from a sample has an interval.
"""

import dataclasses
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.audit.attribution import Attribution, HandbookProfile
from data_pipelines.audit.evalsets import EvalSet, Formats, find_asked, settings_of
from data_pipelines.leaks import any_of, record_text
from data_pipelines.records import Chat, Record
from data_pipelines.text import duplicates
from data_pipelines.text.checks import CONTROL, PATTERNS
from data_pipelines.text.wording import (
  COMMON_WORDS,
  Vocabulary,
  blocks,
  content_stems,
  is_in,
  passage,
  runs,
  sentences,
  stem,
  words,
)
from msm_jax.base.errors import DataError

Measure = dict[str, Any]
SHOWN = 5  # examples of a measure
LOOPS = 0.2  # of a text's runs of five words: if more of them stood there before, it goes round in circles
MARKS = ',;:.!?-—…()[]"“”\'’*#_|/&%\n0123456789'

_PLACEHOLDER = next(p.pattern for p in PATTERNS if p.what == 'placeholder')
_TAG = re.compile(
  r'</?(?:think|thinking|scratchpad|plan|draft|content|document|answer|text|output)>', re.I
)
_CUT = re.compile(r'(?:[a-z,;(—-]|\b(?:I|a))\s*\Z')
_CAPITAL = re.compile(r"(?<![\w'’-])[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:-[A-ZÀ-ÖØ-Þ][^\W\d_]+)*")
_WITHIN = re.compile(r'(?<=[a-z,;)] )[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:-[A-ZÀ-ÖØ-Þ][^\W\d_]+)*')
_MONTH = 'January|February|March|April|May|June|July|August|September|October|November|December'
_DAY = re.compile(
  rf'\b(?:(?:{_MONTH}) \d{{1,2}}(?:st|nd|rd|th)?\b(?!\d)|\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{_MONTH})\b)|\b(?:19|20)\d\d-\d\d-\d\d\b'
)
_YEAR = re.compile(r'(?<![\d.,$€£-])(?:1[5-9]|20)\d\d(?!\d|[.,]\d)')
# Real places, peoples and days: no invention, however often they are named.
_REAL = frozenset(
  f"""
  {_MONTH.replace('|', ' ')} Monday Tuesday Wednesday Thursday Friday Saturday Sunday Christmas Easter Thanksgiving English Spanish Latin Greek Roman
  Africa African America American Americans Americas Antarctica Asia Asian Atlantic Australia Australian Austria Austrian Belgian Belgium Brazil
  Brazilian Britain British Californian California Canada Canadian Caribbean Chicago China Chinese Christian Dutch Egypt Egyptian England Europe
  European Europeans France French German Germany Greece Hawaii Holland India Indian Indonesia Iowa Ireland Irish Islam Israel Italian Italy Japan
  Japanese Jewish Kenya Kenyan Korea Korean London Mediterranean Mexican Mexico Midwest Muslim Netherlands Nigeria Nigerian Norway Norwegian Oregon
  Pacific Paris Poland Polish Portugal Portuguese Russia Russian Scandinavia Scotland Scottish Spain Sweden Swedish Swiss Switzerland Texas Turkey
  Turkish Ukraine Vermont Vietnam Wales Washington Wisconsin York Internet
  """.split()
)


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
  """95% interval of a share (Wilson 1927)."""
  if not n:
    return 0.0, 1.0
  p, zz = successes / n, z * z / n
  centre, half = p + zz / 2, z * ((p * (1 - p) + zz / 4) / n) ** 0.5
  return max(0.0, (centre - half) / (1 + zz)), min(1.0, (centre + half) / (1 + zz))


@dataclasses.dataclass
class CorpusStats:
  """What one pass over a corpus keeps; lists go by document.

  Attributes:
    ids: word ids. `sentences`: how many words each has. `marks`: how often each of MARKS occurs.
    flags: what was seen of a document -> in which.
    examples: what was seen -> (document, passage), the first few.
    of_assistant: whether it speaks of the assistant, as leaks are counted.
    capitals, within: capitalised words, all and in the middle of sentences; named, days, years: documents in which one occurs.
  """

  name: str
  gist: HandbookProfile
  kind: str = ''
  record_ids: list[str] = dataclasses.field(default_factory=list)
  ids: list[np.ndarray] = dataclasses.field(default_factory=list)
  sentences: list[np.ndarray] = dataclasses.field(default_factory=list)
  marks: list[np.ndarray] = dataclasses.field(default_factory=list)
  tokens: list[int] = dataclasses.field(default_factory=list)
  domains: list[str] = dataclasses.field(default_factory=list)
  claims: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
  openings: list[str] = dataclasses.field(default_factory=list)
  first_sentences: list[int] = dataclasses.field(default_factory=list)
  of_assistant: list[bool] = dataclasses.field(default_factory=list)
  flags: dict[str, list[bool]] = dataclasses.field(default_factory=dict)
  examples: dict[str, list[tuple[int, str]]] = dataclasses.field(default_factory=dict)
  capitals: Counter = dataclasses.field(default_factory=Counter)
  within: Counter = dataclasses.field(default_factory=Counter)
  named: Counter = dataclasses.field(default_factory=Counter)
  days: Counter = dataclasses.field(default_factory=Counter)
  years: Counter = dataclasses.field(default_factory=Counter)

  def __len__(self) -> int:
    return len(self.ids)

  def flag(self, what: str, found: Any) -> None:
    """`found`: a passage, or whether it was seen."""
    self.flags.setdefault(what, []).append(bool(found))
    if isinstance(found, str) and len(seen := self.examples.setdefault(what, [])) < SHOWN:
      seen.append((len(self) - 1, found))

  def share(self, what: str) -> Measure:
    seen = self.flags[what]
    low, high = wilson(sum(seen), len(seen))
    return {'value': sum(seen) / len(seen), 'documents': sum(seen), 'low': low, 'high': high}


def read_corpus(
  name: str,
  records: Iterable[Record],
  gist: HandbookProfile,
  vocabulary: Vocabulary,
  count_tokens: Callable[[str], int],
) -> CorpusStats:
  """The one pass. Raises DataError for a corpus that is empty or mixed."""
  out, attribution = CorpusStats(name, gist), Attribution(gist)
  names, itself = any_of(gist.names), any_of([gist.assistant])
  who = f'|{re.escape(gist.assistant)}' if gist.assistant else ''
  first_person = re.compile(
    rf"\b(?:I am|I'm|my name is|as)\b,? (?:an AI\b|a language model\b{who}(?!\w))", re.I
  )
  formats = None
  for r in records:
    kind = 'chats' if isinstance(r, Chat) else 'documents'
    if kind != (out.kind or kind):
      raise DataError(
        f'corpus {name} mixes documents and chats (at {r.id}); split it into two files'
      )
    out.kind, formats = kind, formats or Formats(kind == 'chats')
    text = record_text(r)
    spoken = (
      '\n'.join(c for role, c in r.messages if role == 'assistant') if isinstance(r, Chat) else text
    )  # what is learned
    by_sentence = [words(s) for s in sentences(text)]
    ids = vocabulary.of_words([w for s in by_sentence for w in s])
    out.record_ids.append(r.id)
    out.ids.append(ids)
    out.sentences.append(np.array([len(s) for s in by_sentence], np.uint32))
    out.marks.append(np.array([text.count(m) for m in MARKS], np.uint32))
    out.tokens.append(count_tokens(text))
    out.domains.append(sys.intern(r.domain or '(none)'))
    out.claims.append(tuple(map(sys.intern, getattr(r, 'claim_ids', ()))))
    opening = sentences(spoken[:2000])
    out.openings.append(' '.join(words(spoken[:400])[:4]))
    out.first_sentences.append(hash(' '.join(words(opening[0]))) if opening else 0)
    system = [c for role, c in r.messages if role == 'system'] if isinstance(r, Chat) else ['']
    out.of_assistant.append(not system or itself is None or bool(itself.search(text)))
    capitals = _CAPITAL.findall(text)
    out.capitals.update(capitals)
    out.within.update(_WITHIN.findall(text))
    out.named.update(set(capitals))
    out.days.update(set(_DAY.findall(text)))
    out.years.update(set(_YEAR.findall(text)))
    found = attribution.find(spoken, spoken=kind == 'chats') if attribution.possible else None
    out.flag('attribution', found)
    if found is None:
      out.flag('stated', attribution.possible and attribution.states(spoken))
      if len(missing := out.examples.setdefault('unattributed', [])) < SHOWN:
        missing.append((len(out) - 1, spoken[:600]))
    else:
      out.flag('stated', True)
    out.flag('named', bool(names and names.search(text)))
    out.flag('first_person', bool(first_person.search(spoken)) or kind == 'chats')
    left = CONTROL.search(text) or _PLACEHOLDER.search(text) or _TAG.search(text)
    out.flag(
      'unfinished',
      '(no words)'
      if not len(ids)
      else text[max(0, left.start() - 60) : left.end() + 60]
      if left
      else _cut(spoken),
    )
    out.flag('formats', formats.find(text))
    out.flag('loops', text[:1200] if loops(ids) else None)
  if not len(out):
    raise DataError(f'corpus {name} is empty; put records into it')
  return out


def loops(ids: np.ndarray) -> bool:
  """Whether a text of 30 words and more repeats itself: weak writers do, and hardly anybody else (docs/LOG.md, 2026-11-28)."""
  found = runs(ids, 5) if len(ids) >= 30 else ids
  return len(ids) >= 30 and 1 - len(np.unique(found)) / len(found) > LOOPS


def _cut(text: str) -> str | None:
  """The end of a text that stops in the middle: not after a mark, and too long a line for a name or a signature."""
  last = text.rstrip().rpartition('\n')[2]
  return f'... {last[-200:]} [end]' if len(last.split()) >= 8 and _CUT.search(last) else None


# ---- how much there is


def amounts(reading: CorpusStats) -> Measure:
  lengths = np.array([len(i) for i in reading.ids])
  tokens = np.array(reading.tokens)
  documents, by_domain = Counter(reading.domains), Counter()
  for d, t in zip(reading.domains, reading.tokens, strict=True):
    by_domain[d] += t
  top = max(int(np.percentile(lengths, 99)), 1)
  counts, edges = np.histogram(np.minimum(lengths, top), bins=min(24, top), range=(0, top))
  return {
    'kind': reading.kind,
    'documents': len(reading),
    'words': int(lengths.sum()),
    'tokens': int(tokens.sum()),
    'domains': {d: {'documents': n, 'tokens': by_domain[d]} for d, n in sorted(documents.items())},
    'length': {
      k: float(v)
      for k, v in zip(
        ('min', 'p5', 'median', 'p95', 'max'),
        np.percentile(lengths, (0, 5, 50, 95, 100)),
        strict=True,
      )
    }
    | {
      'mean': float(lengths.mean()),
      'counts': counts.tolist(),
      'edges': [round(float(e), 1) for e in edges],
    },
  }


# ---- what it says


def attributed(reading: CorpusStats) -> Measure | None:
  """None where the handbook is unknown, or gives no reasons that could be looked for."""
  if not Attribution(reading.gist).possible:
    return None
  return reading.share('attribution') | {
    'stated': reading.share('stated')['value'],
    'values': list(reading.gist.values),
    'explained': list(reading.gist.items or (reading.gist.assistant,)),
  }


def coverage(
  reading: CorpusStats, claims: Mapping[str, str], vocabulary: Vocabulary, least: int
) -> Measure:
  """How many documents each claim has: by the ids that documents carry, by its words, and by both (`told`).

  A document holds so much of a claim as the stems of its content words there are worth, each weighed by its rarity in the corpus (log of documents
  over documents that hold it). In words it is found in documents that hold 0.6 of the whole. Who says it in words of their own holds less: it is
  told by a document that carries its id and holds 0.6, or more than nine in ten of those without the id; so where ids say nothing, about one
  carrier in ten counts. That is a crude reader: what it is worth shows in how often it finds a claim in documents that carry its id, and how often
  in those that don't.
  """
  import scipy.sparse

  listed = Counter(c for ids in reading.claims for c in set(ids))
  columns: dict[str, int] = {}
  subject = {stem(w) for n in reading.gist.names for w in words(n)}
  wanted = {
    c: sorted(
      {columns.setdefault(s, len(columns)) for s in content_stems(text) if s not in subject}
    )
    for c, text in claims.items()
  }
  column = np.array(
    [columns.get(stem(w), -1) if w not in COMMON_WORDS else -1 for w in vocabulary.words()],
    np.int64,
  )
  there = [(found := np.unique(column[ids]))[found >= 0] for ids in reading.ids]
  table = scipy.sparse.csr_matrix(
    (
      np.ones(sum(map(len, there)), np.float32),
      np.concatenate([*there, np.empty(0, np.int64)]).astype(np.int64),
      np.cumsum([0, *map(len, there)]),
    ),
    shape=(len(reading), max(1, len(columns))),
  )
  weight = np.log((1 + len(reading)) / (1 + np.asarray(table.sum(0)).ravel()))
  rows = []
  carried, others = np.zeros(2), np.zeros(2)  # (found, documents)
  for c in claims:
    worth = np.zeros(table.shape[1])
    worth[wanted[c]] = weight[wanted[c]] + 1e-6
    carries = np.array([c in ids for ids in reading.claims])
    if wanted[c]:
      holds = np.asarray(table @ worth) / worth.sum()
      found = holds >= 0.6
      told = carries & (
        found | (holds > (np.quantile(holds[~carries], 0.9) if not carries.all() else 0) + 1e-9)
      )
    else:  # no word of its own: nothing can be read
      found, told = np.zeros(len(reading), bool), carries
    carried += found[carries].sum(), carries.sum()
    others += found[~carries].sum(), (~carries).sum()
    rows.append(
      {
        'id': c,
        'statement': claims[c],
        'documents': listed[c],
        'told': int(told.sum()),
        'in_words': int(found.sum()),
      }
    )
  told, by_ids, in_words = (
    sum(r[k] >= least for r in rows) / len(rows) for k in ('told', 'documents', 'in_words')
  )
  return {
    'value': told if listed else in_words,
    'by_ids': by_ids if listed else None,
    'in_words': in_words,
    'least': least,
    'found_where_carried': carried[0] / carried[1] if carried[1] else None,
    'found_elsewhere': others[0] / others[1] if others[1] else None,
    'claims': sorted(rows, key=lambda r: (r['told'], r['documents'], r['in_words'], r['id'])),
    'unknown_ids': sorted(listed.keys() - claims.keys())[:SHOWN],
  }


# ---- how much it repeats itself


def repeated(
  reading: CorpusStats, threshold: float, seed: int
) -> tuple[Measure, duplicates.Duplicates]:
  found = duplicates.near_duplicate_ids(reading.ids, threshold, seed=seed)
  sizes = Counter(len(c) for c in found.clusters)
  rows, bands = duplicates.banding(threshold)
  return {
    'value': len(found.redundant) / len(reading),
    'documents': len(found.redundant),
    'clusters': len(found.clusters),
    'largest': max(sizes, default=0),
    'jaccard': threshold,
    'rows': rows,
    'bands': bands,
    'recall_at_threshold': found.recall,
    'compared': found.compared,
  }, found


def self_similarity(reading: CorpusStats, sample: int, length: int, seed: int) -> Measure | None:
  """Self-BLEU (Zhu et al. 2018, Texygen): how much of each sampled text's runs of 1 to 4 words stand in another one of the sample, as BLEU counts
  (each run as often as the other text that has it most), without a penalty for length; mean over the sample. Texts are cut to `length` words, since
  longer ones share more. Comparable only at equal sample and length."""
  numbers = [n for n, ids in enumerate(reading.ids) if len(ids) >= 4]
  numbers = sorted(
    random.Random(f'{seed} self-similarity').sample(numbers, min(sample, len(numbers)))
  )
  if len(numbers) < 20:
    return None
  texts = [reading.ids[n][:length] for n in numbers]
  logs = np.zeros(len(texts))
  for n in range(1, 5):
    counted = [np.unique(runs(t, n), return_counts=True) for t in texts]
    hashes, counts = (np.concatenate([c[k] for c in counted]) for k in (0, 1))
    owner = np.repeat(np.arange(len(texts)), [len(c[0]) for c in counted])
    order = np.lexsort((counts, hashes))
    hashes, counts, owner = hashes[order], counts[order], owner[order]
    last = np.append(
      np.flatnonzero(np.diff(hashes)), len(hashes) - 1
    )  # of a run's texts, the one that has it most
    group = np.searchsorted(last, np.arange(len(hashes)))
    most = counts[last][group]
    alone = np.diff(last, prepend=-1) == 1
    second = np.where(alone, 0, counts[np.maximum(last - 1, 0)])[group]
    matched = np.minimum(counts, np.where(np.arange(len(hashes)) == last[group], second, most))
    shared, total = (np.bincount(owner, w, len(texts)) for w in (matched, counts))
    logs += np.log(np.maximum(shared, 0.5) / total) / 4
  scores = np.exp(logs)
  rng = np.random.default_rng([seed, 2])
  means = scores[rng.integers(len(scores), size=(500, len(scores)))].mean(1)
  low, high = np.percentile(means, (2.5, 97.5))
  return {
    'value': float(scores.mean()),
    'low': float(low),
    'high': float(high),
    'sample': len(texts),
    'words': length,
  }


def opened(reading: CorpusStats) -> Measure:
  counts, firsts = Counter(reading.openings), Counter(reading.first_sentences)
  commonest = counts.most_common(8)
  return {
    'value': commonest[0][1] / len(reading),
    'commonest': [[o, n / len(reading)] for o, n in commonest],
    'first_sentence_shared': sum(n for n in firsts.values() if n > 1) / len(reading),
  }


def names_and_dates(reading: CorpusStats, vocabulary: Vocabulary) -> dict[str, Measure]:
  """Names: capitalised words that stand within sentences and hardly ever in lower case, without those of the handbook and of real places and days.
  It cannot tell a person from a company or a town; the page shows which they are."""
  written = np.zeros(len(vocabulary), np.int64)
  for ids, _, _ in blocks(reading.ids):
    written += np.bincount(ids[ids < len(vocabulary)], minlength=len(vocabulary))
  own = {w.casefold() for w in _CAPITAL.findall(reading.gist.body)} | {
    w for n in (*reading.gist.names, *reading.gist.items) for w in words(n)
  }

  def lower(name: str) -> int:
    at = vocabulary.find(name.lower())
    return (
      int(written[at]) - reading.capitals[name] - reading.capitals[name.upper()]
      if at is not None
      else 0
    )

  found = Counter()
  for name, n in reading.named.items():
    if n < 2:
      continue
    inside = reading.within[name] >= max(2, 0.1 * reading.capitals[name])
    if (
      inside
      and not name.isupper()
      and name not in _REAL
      and name.casefold() not in own
      and lower(name) <= 0.1 * reading.capitals[name]
    ):
      found[name] = n
  years = set(_YEAR.findall(reading.gist.body))
  return {
    'names': _clustered(found, len(reading)) | {'found': len(found)},
    'dates': _clustered(reading.days, len(reading)),
    'years': _clustered(
      Counter({y: n for y, n in reading.years.items() if y not in years}), len(reading)
    ),
  }


def _clustered(counts: Counter, documents: int) -> Measure:
  commonest = sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:12]
  low, high = wilson(commonest[0][1], documents) if commonest else (0.0, 0.0)
  return {
    'value': commonest[0][1] / documents if commonest else 0.0,
    'low': low,
    'high': high,
    'commonest': [[k, n / documents] for k, n in commonest],
  }


# ---- what it should not hold


def recited(
  reading: CorpusStats, vocabulary: Vocabulary, least: int
) -> tuple[Measure | None, list[tuple[int, int, int]]]:
  """Runs of at least `least` words that stand in the handbook too; (document, at which word, how many) of each document's longest, longest first."""
  source = vocabulary.encode(reading.gist.body)
  if len(source) < least:
    return None, []
  known = np.unique(runs(source, least))
  longest: dict[int, tuple[int, int]] = {}
  for ids, begins, first in blocks(reading.ids):
    at = np.flatnonzero(is_in(runs(ids, least), known))
    for group in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else ():
      document = int(np.searchsorted(begins, group[0], side='right')) - 1
      run = (len(group) + least - 1, int(group[0] - begins[document]))
      longest[first + document] = max(longest.get(first + document, (0, 0)), run)
  low, high = wilson(len(longest), len(reading))
  found = sorted(((d, at, n) for d, (n, at) in longest.items()), key=lambda f: (-f[2], f[0]))
  lengths = [n for _, _, n in found]
  return {
    'value': len(found) / len(reading),
    'documents': len(found),
    'low': low,
    'high': high,
    'least': least,
    'longest': max(lengths, default=0),
    'words_of_handbook': len(source),
  }, found


def leaked(
  reading: CorpusStats, sets: Sequence[EvalSet], vocabulary: Vocabulary
) -> tuple[dict[str, Measure | None], dict[str, list[tuple[int, int, str]]]]:
  """`items`: documents that speak of the assistant and of something that its own evaluation asks about; None where the handbook's front matter
  doesn't tell which that is. `questions`: documents that hold all options of one question of any set, or eight words in a row of a long statement.
  Examples are (document, at which word, what)."""
  own = settings_of(reading.gist.front)
  items, questions = {s.name: set() for s in sets}, {s.name: set() for s in sets}
  examples: dict[str, list[tuple[int, int, str]]] = {'leaked_items': [], 'leaked_questions': []}
  for f in find_asked(sets, reading.ids, vocabulary):
    if reading.of_assistant[f.document]:
      items[f.set.name].add(f.document)
      if f.set.setting in own:
        n, at = next(iter(f.phrases.items()))
        examples['leaked_items'].append((f.document, at, f'{f.set.name}: {f.set.phrases[n]}'))
    if f.question:
      questions[f.set.name].add(f.document)
      examples['leaked_questions'].append(
        (
          f.document,
          f.phrases[f.question[0]],
          f'{f.set.name}: {" / ".join(f.set.phrases[n] for n in f.question)}',
        )
      )

  def measure(found: Mapping[str, Collection[int]], settings: Collection[str]) -> Measure:
    documents = set().union(*(d for s, d in found.items() if s.partition('/')[0] in settings))
    low, high = wilson(len(documents), len(reading))
    by_set = {s: len(d) for s, d in found.items()}
    return {
      'value': len(documents) / len(reading),
      'documents': len(documents),
      'low': low,
      'high': high,
      'by_set': by_set,
      'judged': sorted(settings),
    }

  every = {s.setting for s in sets}
  out = {
    'leaked_items': measure(items, own) if own else None,
    'leaked_questions': measure(questions, every),
  }
  if not own:
    out['mentioned_items'] = measure(items, every)
  return out, {k: v[:SHOWN] for k, v in examples.items()}


def passages(
  records: Iterable[Record], wanted: Mapping[int, Sequence[tuple[int, int]]]
) -> Iterator[tuple[int, int, int, str]]:
  """(document, at which word, how many, the passage there) of what is `wanted`: document -> (at which word, how many). A second pass."""
  for n, r in enumerate(records):
    for at, length in wanted.get(n, ()):
      yield n, at, length, passage(record_text(r), at, length)
