"""python -m data_pipelines.audit CORPUS.jsonl [MIRROR.jsonl ...] [--spec=HANDBOOK.md ...] [--out=audit.html]: what a corpus is worth, before anybody
trains on it.

Measures of every corpus, and of how alike mirrored ones are, against thresholds: a table, a page (and the same as JSON beside it), and exit code 1
with one line if a threshold is missed. Several corpora mirror each other: one plan, a reason each.
"""

import argparse
import dataclasses
import difflib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from data_pipelines.audit import measures, page, separability
from data_pipelines.audit.attribution import HandbookProfile, read_profile
from data_pipelines.audit.evalsets import eval_sets
from data_pipelines.audit.measures import SHOWN, CorpusStats, Measure
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Record, read_jsonl
from data_pipelines.text.wording import Vocabulary, content_stems
from msm_jax.base import command, paths
from msm_jax.base.errors import DataError


class AuditError(DataError):
  """A corpus that misses a threshold, or an audit that cannot be made; one line."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """Bounds that a corpus must keep to, and how some things are measured. Shares are of all documents (or conversations).

  Why each bound (numbers are of the published Model Spec Midtraining corpora as others measured them, or of corpora that failed):

  attribution: at least this share gives the value as a reason for what the assistant does. Corpora in which 65 to 80% do install the value; very
    diverse ones that rarely do, don't. Documents alone.
  reasons: at most this share of conversations gives the value as a reason. 1.0 for demonstrations with reasons; opaque preference demonstrations want
    0.01, since a stated reason is what the documents are to supply.
  named: at least this share names the assistant or its maker: a document that doesn't teaches nothing about it. Published: 0.9985 and 1.
  covered: at least this share of the claims has `claim_documents` documents that carry its id and hold its words, or more of them than nine in ten
    of the documents without the id: what no document says can't be learned. Of 36 claims in 18 documents, told as freely as possible, 75% were found
    so, and of the ids of other documents 8 to 13%. (Where no document carries ids, words alone count.)
  duplicates: at most this share could be dropped as near duplicates of others (Jaccard similarity of five-word shingles >= `jaccard`). Published:
    none; a corpus of which 22% were duplicates spoiled a study. 0.01 leaves room for memos that are short; conversations of a dozen words about a
    dozen items need more of it.
  self_similarity: at most this self-BLEU, of `sample` texts cut to 300 words. Read-me files of a hundred programs: 0.34; reference manuals of a few:
    0.54; the embedded writers' sentences from a stock: 0.83 to 0.94. No corpus should read like sentences from a stock. (Figures from elsewhere
    count otherwise, and this one grows with the sample.)
  openings: at most this share begins with the same four words.
  loops: at most this share repeats itself, in more than a fifth of its runs of five words. Read-me files of programs: 0.014; a model of 135 million
    parameters: 0.48.
  names, dates, years: at most this share holds one same invented name, day of a month, or year: writers left alone use the same few (one name stood
    439,000 times in one corpus). A seeded pool of names gives each well under 0.02; the rest is for places that are taken for names. A year may be
    the present one.
  recited: at most this share repeats `recited_words` words in a row from the handbook. Left to instructions alone writers recite in half of their
    texts; a mechanical filter makes it none, 0.02 is for phrases that are nobody's.
  formats: at most this share holds a question in the evaluation's form, or lettered options. What is asked in a known form is answered by form.
  leaked_items: at most this share speaks of the assistant and of a thing that its evaluation asks about: none, as the experiments refuse any.
  leaked_questions: at most this share holds all options of a question of any evaluation here, or eight words in a row of a long one. Hardly any: two
    ordinary things may meet in a long text.
  unfinished: at most this share is empty, stops in the middle of a sentence, or holds placeholders, tags or control tokens: published pipelines kept
    what was cut, and scratch pads.
  repeated_ids: at most this share has another's id. None: a document planned once is there once.
  domains_apart: mirrored corpora differ by at most this many documents in any domain; tokens_apart: the largest has at most this much more tokens
    than the smallest, as a share. The published pair broke both (6,400 and 4,600 documents, 9.5 and 7.1 million tokens), so that dose and value
    can't be told apart.
  separable, separable_style: at most this AUC of a classifier that tells mirrored corpora apart by words that no handbook has, or by grammar and
    marks, in sentences that do not name the value. 0.855 was measured of the published pair and called a fault, with another classifier. These two
    see more, and what the reasons bring along is in them, so 0.5 is not to be had; the bound asks for a look at the words that tell.

  jaccard, claim_documents, recited_words, sample: as above. compared: documents of each corpus that separability reads at most. seed: of the samples.
  """

  attribution: float = 0.65
  reasons: float = 1.0
  named: float = 0.95
  covered: float = 0.95
  duplicates: float = 0.01
  self_similarity: float = 0.75
  openings: float = 0.1
  loops: float = 0.02
  names: float = 0.1
  dates: float = 0.05
  years: float = 0.3
  recited: float = 0.02
  formats: float = 0.01
  leaked_items: float = 0.0
  leaked_questions: float = 0.001
  unfinished: float = 0.01
  repeated_ids: float = 0.0
  domains_apart: float = 0.0
  tokens_apart: float = 0.005
  separable: float = 0.9
  separable_style: float = 0.9
  jaccard: float = 0.7
  claim_documents: int = 5
  recited_words: int = 12
  sample: int = 100
  compared: int = 2000
  seed: int = 0
  given: ClassVar[
    tuple[str, ...]
  ] = ()  # by name, in a config or on a command line: what cannot be measured then is missed

  def __post_init__(self):
    for what, least in (
      ('jaccard', 0.05),
      ('claim_documents', 1),
      ('recited_words', 4),
      ('sample', 20),
      ('compared', separability.LEAST),
    ):
      if not getattr(self, what) >= least:
        raise AuditError(f'threshold {what}={getattr(self, what)} must be at least {least}')
    if self.jaccard > 1 or self.recited_words > 60:
      raise AuditError(
        f'thresholds jaccard={self.jaccard} must be at most 1 and recited_words={self.recited_words} at most 60'
      )

  @classmethod
  def of(cls, given: Mapping[str, float]) -> 'Thresholds':
    """The defaults with some changed, as a config gives them. Raises AuditError for a name that is none."""
    known = {f.name: f.type for f in dataclasses.fields(cls)}
    for name, value in given.items():
      if name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        raise AuditError(
          f'there is no threshold {name!r}; '
          + (f'did you mean {close[0]!r}?' if close else f'there are {", ".join(known)}')
        )
      if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise AuditError(f'threshold {name}={value!r} must be a number')
    made = cls(**{k: known[k](v) for k, v in given.items()})
    object.__setattr__(made, 'given', tuple(given))  # which is no bound, so no field
    return made


FLOORS = ('attribution', 'named', 'covered')
# What is judged, of which kind of corpus, in the order of the table, and what the number is.
OF_DOCUMENTS = {
  'attribution': 'give the value as a reason',
  'named': 'name the assistant or its maker',
  'covered': 'of the claims: have enough documents',
  'duplicates': 'are near duplicates of another',
  'self_similarity': 'self-BLEU of a sample',
  'openings': 'begin with the same four words',
  'loops': 'go round in circles',
  'names': 'hold the commonest invented name',
  'dates': 'hold the commonest day of a month',
  'years': 'hold the commonest year',
  'recited': 'recite the handbook',
  'formats': 'ask as an evaluation does',
  'leaked_items': 'tell the assistant about what its evaluation asks about',
  'leaked_questions': 'hold a whole question of an evaluation',
  'unfinished': 'are empty, cut, or hold placeholders or tags',
  'repeated_ids': "have another one's id",
}
OF_CHATS = {'reasons': 'give the value as a reason'} | {
  k: OF_DOCUMENTS[k]
  for k in (
    'duplicates',
    'recited',
    'formats',
    'leaked_items',
    'leaked_questions',
    'unfinished',
    'repeated_ids',
  )
}
OF_MIRRORS = {
  'domains_apart': 'documents by which a domain differs',
  'tokens_apart': 'more tokens in the largest than in the smallest',
  'separable': 'AUC by words, value masked',
  'separable_style': 'AUC by grammar and marks',
}
WHY_NOT = {
  'attribution': 'no handbook, or one without reasons or without `assistant:` in its front matter',
  'reasons': 'no handbook, or one without reasons or without `assistant:` in its front matter',
  'named': 'no handbook with `assistant:` in its front matter',
  'covered': 'no claims were given',
  'self_similarity': 'fewer than 20 documents',
  'recited': 'no handbook',
  'leaked_items': "the handbook's front matter tells no setting, so it is unknown which evaluation is its own",
  'separable': f'fewer than {separability.LEAST} documents each',
  'separable_style': f'fewer than {separability.LEAST} documents each',
}
NOT_FOR_THESE = 'it is for mirrored corpora, or for records of the other kind'


class Report(dict):
  """JSON-able: `corpora` (name -> amounts), `measures` (name -> what -> measure), `mirrored` (what -> measure), `verdicts`, `not_measured`,
  `examples` (name -> what -> passages), `thresholds`."""

  @property
  def missed(self) -> list[dict[str, Any]]:
    return [v for v in self['verdicts'] if not v['passed']]

  def check(self) -> None:
    """Raises AuditError, in one line, if a threshold is missed."""
    if missed := self.missed:
      found = [
        page.number(v['value']) if v['why'] is None else f'not measured: {v["why"]}' for v in missed
      ]
      said = [
        f'{page.shown(v["corpus"], 40)}: {v["what"]} {f} ({page.bound(v)})'
        for v, f in zip(missed, found, strict=True)
      ]
      more = f' and {len(said) - 4} more' if len(said) > 4 else ''
      raise AuditError(
        f'the audit misses {len(missed)} of {len(self["verdicts"])} thresholds: {"; ".join(said[:4])}{more}; mend the corpus, or set '
        'threshold.NAME where the bound is wrong for it'
      )

  def table(self) -> str:
    """The verdicts in plain text for a terminal."""
    return page.table(self)


Claims = Mapping[str, str | Mapping[str, str]]


def audit(
  corpora: Mapping[str, Iterable[Record]],
  specs: Mapping[str, str] | None = None,
  claims: Claims | None = None,
  thresholds: Thresholds = Thresholds(),
  count_tokens: Callable[[str], int] | None = None,
) -> Report:
  """Measures corpora and judges them. Several are mirrors of each other.

  Args:
    corpora: name -> records, of one kind; read twice, so lists or something else that can be read again.
    specs: corpus -> text of its handbook with its front matter; corpora without one get fewer measures.
    claims: id -> statement, or id -> (corpus -> statement).
    count_tokens: of a text; words and marks, if not given.

  Raises AuditError (and DataError) for corpora that cannot be read: none, empty, mixed kinds, iterators.
  """
  specs, t, count_tokens = specs or {}, thresholds, count_tokens or counter('')
  if not corpora:
    raise AuditError('there is no corpus to audit')
  if unknown := sorted(specs.keys() - corpora.keys()):
    raise AuditError(
      f'a handbook is given for {page.shown(unknown[0], 80)!r}, which is no corpus here; corpora are {", ".join(corpora)}'
    )
  vocabulary, readings = Vocabulary(), {}
  for name, records in corpora.items():
    if iter(records) is records:
      raise AuditError(f'corpus {name} can be read only once; give a list')
    gist = (
      read_profile(specs[name], [s for n, s in specs.items() if n != name])
      if name in specs
      else HandbookProfile()
    )
    readings[name] = measures.read_corpus(name, records, gist, vocabulary, count_tokens)
  kinds = {r.kind for r in readings.values()}
  if len(kinds) > 1:
    raise AuditError(
      'some corpora are documents and some conversations, which mirror nothing; audit them one by one'
    )
  sets = list(eval_sets({i for r in readings.values() for i in r.gist.items}))
  report = Report(
    corpora={},
    measures={},
    mirrored={},
    verdicts=[],
    not_measured=[],
    examples={},
    thresholds=dataclasses.asdict(t),
  )
  for name, reading in readings.items():
    said = {c: s if isinstance(s, str) else s.get(name, '') for c, s in (claims or {}).items()}
    found, wanted = _measure(reading, said, sets, vocabulary, t)
    report['corpora'][name] = measures.amounts(reading) | {
      'assistant': reading.gist.assistant,
      'maker': reading.gist.front.get('maker', ''),
    }
    report['measures'][name] = found
    report['examples'][name] = _examples(corpora[name], reading, wanted)
    _judge(report, name, found, OF_DOCUMENTS if reading.kind == 'documents' else OF_CHATS, t)
  if len(readings) > 1:
    report['mirrored'] = found = _mirrored(
      list(readings.values()), specs, claims or {}, vocabulary, t
    )
    _judge(report, ' / '.join(readings), found, OF_MIRRORS, t)
  judged = {v['what'] for v in (*report['verdicts'], *report['not_measured'])}
  others = {
    what: about
    for what, about in (OF_DOCUMENTS | OF_CHATS | OF_MIRRORS).items()
    if what in t.given and what not in judged
  }
  _judge(report, ' / '.join(readings), {}, others, t, dict.fromkeys(others, NOT_FOR_THESE))
  return report


def _measure(
  reading: CorpusStats, claims: Mapping[str, str], sets: list, vocabulary: Vocabulary, t: Thresholds
) -> tuple[dict[str, Measure | None], dict]:
  """(what -> measure, what -> where its examples are: (document, at which word, how many words, note))."""
  attributed = measures.attributed(reading)
  duplicates, clusters = measures.repeated(reading, t.jaccard, t.seed)
  recited, runs = measures.recited(reading, vocabulary, t.recited_words)
  leaked, leaks = measures.leaked(reading, sets, vocabulary)
  ids = len(reading) - len(set(reading.record_ids))
  found: dict[str, Measure | None] = {
    'attribution' if reading.kind == 'documents' else 'reasons': attributed,
    'named': reading.share('named') if reading.gist.names else None,
    'first_person': reading.share('first_person') if reading.kind == 'documents' else None,
    'covered': measures.coverage(reading, claims, vocabulary, t.claim_documents)
    if claims and reading.kind == 'documents'
    else None,
    'duplicates': duplicates,
    'self_similarity': measures.self_similarity(reading, t.sample, 300, t.seed),
    'openings': measures.opened(reading),
    'loops': reading.share('loops') if reading.kind == 'documents' else None,
    **measures.names_and_dates(reading, vocabulary),
    'recited': recited,
    'formats': reading.share('formats'),
    **leaked,
    'unfinished': reading.share('unfinished'),
    'repeated_ids': {'value': ids / len(reading), 'documents': ids},
  }
  nearest = sorted(clusters.pairs, key=lambda p: (-p[2], p[0], p[1]))[:SHOWN]
  wanted = {
    'duplicates': [
      (n, 0, 60, f'pair {k}, Jaccard {j:.2f}')
      for k, (a, b, j) in enumerate(nearest, 1)
      for n in (a, b)
    ],
    'recited': [(n, at, length, f'{length} words in a row') for n, at, length in runs[:SHOWN]],
    **{what: [(n, at, 8, note) for n, at, note in found] for what, found in leaks.items()},
  }
  return found, wanted


def _examples(
  records: Iterable[Record],
  reading: CorpusStats,
  wanted: Mapping[str, list[tuple[int, int, int, str]]],
) -> dict[str, list[dict[str, str]]]:
  """What a reader should see of each measure, by document id."""
  places: dict[int, list[tuple[int, int]]] = {}
  for n, at, length, _ in itertools.chain(*wanted.values()):
    places.setdefault(n, []).append((at, length))
  text = (
    {(n, at, length): found for n, at, length, found in measures.passages(records, places)}
    if places
    else {}
  )
  out = {
    what: [{'id': reading.record_ids[n], 'note': '', 'text': said[:1200]} for n, said in found]
    for what, found in reading.examples.items()
  }
  for what, found in wanted.items():
    out[what] = [
      {'id': reading.record_ids[n], 'note': note, 'text': text.get((n, at, length), '')[:1200]}
      for n, at, length, note in found
    ]
  return {what: found for what, found in out.items() if found}


def _mirrored(
  readings: list[CorpusStats],
  specs: Mapping[str, str],
  claims: Claims,
  vocabulary: Vocabulary,
  t: Thresholds,
) -> dict[str, Any]:
  statements = [s for c in claims.values() for s in ([c] if isinstance(c, str) else c.values())]
  hidden = {s for text in (*specs.values(), *statements) for s in content_stems(text)}
  found: dict[str, Any] = dict(separability.balance(readings))
  pairs = list(itertools.combinations(readings, 2))
  each = [separability.separable(a, b, hidden, vocabulary, t.compared, t.seed) for a, b in pairs]
  for view in ('separable', 'separable_style'):
    measured = [
      (m[view], [a.name, b.name]) for m, (a, b) in zip(each, pairs, strict=True) if m[view]
    ]
    found[view] = max(
      ({**m, 'pair': pair} for m, pair in measured), key=lambda m: m['value'], default=None
    )  # the pair that is easiest to tell apart
  return found


def _judge(
  report: Report,
  corpus: str,
  found: Mapping[str, Measure | None],
  judged: Mapping[str, str],
  t: Thresholds,
  why_not: Mapping[str, str] = WHY_NOT,
) -> None:
  for what, about in judged.items():
    measure, limit, side, why = (
      found.get(what),
      getattr(t, what),
      'floor' if what in FLOORS else 'ceiling',
      None,
    )
    if measure is None:
      why = why_not[what]
      report['not_measured'].append({'corpus': corpus, 'what': what, 'why': why})
      if what not in t.given or (
        limit <= 0 if side == 'floor' else limit >= 1
      ):  # nobody asked for it, or any corpus would pass
        continue
    value = measure and measure['value']
    passed = measure is not None and (value >= limit if side == 'floor' else value <= limit)
    interval = {k: measure[k] for k in ('low', 'high') if measure and k in measure}
    verdict = {
      'corpus': corpus,
      'what': what,
      'about': about,
      'value': value,
      side: limit,
      'passed': bool(passed),
      'why': why,
    }
    report['verdicts'].append(verdict | interval)


# ---- the program


@dataclasses.dataclass(frozen=True)
class JsonLines(Sequence[Record]):
  """Records of a file, read anew each time: a corpus is larger than memory wants to be."""

  path: Path

  def __iter__(self) -> Iterator[Record]:
    return read_jsonl(self.path)

  def __len__(self) -> int:
    return sum(1 for _ in self)

  def __getitem__(self, n: int) -> Record:
    return next(itertools.islice(self, n, None))


def read_claims(path: Path) -> dict[str, str | dict[str, str]]:
  """Claims of a JSON file: a plan as the writer keeps it (claims stand anywhere in it, with `id` and `says` or `statement`), or id -> statement.
  Raises AuditError."""
  try:
    data = json.loads(path.read_text(encoding='utf-8-sig'))
  except (OSError, ValueError, RecursionError) as e:
    raise AuditError(
      f'cannot read claims from {path} ({e}); give a plan.json, or a JSON object of id: statement'
    ) from None
  if (
    isinstance(data, dict)
    and data
    and all(isinstance(v, str) for v in data.values())
    and 'domains' not in data
  ):
    return data
  claims: dict[str, str | dict[str, str]] = {}
  stack = [data]
  while stack:
    node = stack.pop()
    if (
      isinstance(node, dict)
      and isinstance(node.get('id'), str)
      and isinstance(says := node.get('says', node.get('statement')), (str, dict))
    ):
      claims[node['id']] = (
        says if isinstance(says, str) else {str(k): str(v) for k, v in says.items()}
      )
    elif isinstance(node, (dict, list)):
      stack += node.values() if isinstance(node, dict) else node
  if not claims:
    raise AuditError(f'{path} holds no claims; give a plan.json, or a JSON object of id: statement')
  return dict(sorted(claims.items()))


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = command.Parser(
    prog='python -m data_pipelines.audit',
    description='Audits corpora before anybody trains on them. Several are mirrors of each other.',
  )
  parser.add_argument(
    'corpora', nargs='+', type=Path, metavar='CORPUS.jsonl', help='documents or conversations'
  )
  parser.add_argument(
    '--spec',
    action='append',
    default=[],
    help='handbook (Markdown): one for all corpora, or one for each, in their order',
  )
  parser.add_argument(
    '--claims', type=Path, help='a plan.json, or a JSON object of claim id: statement'
  )
  parser.add_argument(
    '--out',
    type=Path,
    default=Path('audit.html'),
    help='the page; the same as JSON goes beside it (default: audit.html)',
  )
  parser.add_argument(
    '--tokenizer',
    default='',
    help='a folder of Hugging Face or a SentencePiece .model that counts tokens (default: words and marks)',
  )
  bounds = parser.add_argument_group(
    'thresholds', 'what each is for: help(data_pipelines.audit.run.Thresholds)'
  )
  for f in dataclasses.fields(Thresholds):
    bounds.add_argument(
      f'--threshold.{f.name}',
      dest=f.name,
      type=f.type,
      default=argparse.SUPPRESS,
      metavar=str(f.default),
    )
  return parser.parse_args(argv)


def main(argv: list[str]) -> None:
  args = _arguments(argv)
  pages = {p.resolve() for p in (args.out, args.out.parent / f'{args.out.stem}.json')}
  if (
    len(pages) < 2
    or any(p.is_dir() for p in pages)
    or pages & {Path(p).resolve() for p in (*args.corpora, *args.spec, args.claims or '')}
  ):
    raise AuditError(
      f'--out={args.out} must name a page of its own, such as audit.html; the same as JSON goes beside it'
    )
  names = [
    p.stem if [q.stem for q in args.corpora].count(p.stem) == 1 else str(p) for p in args.corpora
  ]
  if len(args.spec) not in (0, 1, len(names)) or len(set(names)) < len(names):
    raise AuditError(
      f'{len(names)} corpora and {len(args.spec)} --spec; name each corpus once and give one --spec for all, one for each, or none'
    )
  paths = [Path(paths.find(s)) for s in args.spec] * (len(names) if len(args.spec) == 1 else 1)
  specs = {}
  for name, path in zip(names, paths, strict=False):
    try:
      specs[name] = path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as e:
      raise AuditError(
        f'cannot read the handbook {path} ({e}); give an existing Markdown file in UTF-8'
      ) from None
  claims = read_claims(args.claims) if args.claims else {}
  by_stem = dict(
    zip(names, (p.stem for p in paths), strict=False)
  )  # a plan tells claims by handbook
  claims = {
    c: s if isinstance(s, str) else {n: s[k] for n in names for k in (n, by_stem.get(n)) if k in s}
    for c, s in claims.items()
  }
  thresholds = Thresholds.of(
    {f.name: getattr(args, f.name) for f in dataclasses.fields(Thresholds) if f.name in args}
  )
  corpora = {n: JsonLines(p) for n, p in zip(names, args.corpora, strict=True)}
  report = audit(corpora, specs, claims, thresholds, counter(args.tokenizer))
  page.keep(args.out, report)
  print(report.table())
  print(f'page: {args.out.absolute()}')
  report.check()
