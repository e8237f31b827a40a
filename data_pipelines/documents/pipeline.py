"""A corpus of documents, from its config to its card: plan, drafts, revisions, balance, audit, and what stays on disk."""

import array
import asyncio
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import corpora
from data_pipelines import data_card as card
from data_pipelines.audit import page
from data_pipelines.audit import run as audit
from data_pipelines.documents import drafting as documents
from data_pipelines.documents import mirror, plan
from data_pipelines.documents.drafting import Draft, Writing
from data_pipelines.documents.plan import PlannedIdea
from data_pipelines.handbooks.text import Handbook, read_handbooks
from data_pipelines.llm import costs, prompts
from data_pipelines.llm.client import LlmClient, LlmError, Provider, Request, RequestFailed
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.settings import CorpusConfig, PlanSettings
from data_pipelines.llm.tokens import counter
from data_pipelines.records import Document, Record, write_jsonl
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.base.files import locked, write_atomically

PILOT = 50  # ideas that are written first, at the least, to see how long documents come out


# ---- how much


def tokens_per_document(
  c: CorpusConfig, handbooks: Sequence[Handbook], count: Callable[[str], int]
) -> float:
  """Expected, by how many tokens the handbooks take for a word."""
  ratio = sum(count(h.text) for h in handbooks) / sum(len(h.text.split()) for h in handbooks)
  return ratio * sum(c.plan.words) / 2


def ideas_needed(
  c: CorpusConfig, handbooks: Sequence[Handbook], count: Callable[[str], int]
) -> int:
  return c.documents or math.ceil(c.tokens / tokens_per_document(c, handbooks, count))


def check_size(c: CorpusConfig, there: int, needed: int) -> None:
  """Raises ConfigError if the plan has too few ideas."""
  if there >= needed:
    return
  wanted = f'{c.documents:,} documents' if c.documents else f'{c.tokens:,} tokens'
  if c.plan.path:
    raise ConfigError(
      f'{c.plan.path} has {there:,} ideas and {wanted} need {needed:,}; add ideas to it, or lower tokens or documents'
    )
  p = c.plan
  others = p.domains * p.subdomains * p.types
  enough = math.ceil(needed * (1.0 if c.documents else 1.15) / others)
  raise ConfigError(
    f'a plan of {_product(p)} has {there:,} ideas and {wanted} need {needed:,}; plan.ideas={enough} makes {others * enough:,}'
  )


def _product(p: PlanSettings) -> str:
  return f'{p.domains} domains x {p.subdomains} subdomains x {p.types} types x {p.ideas} ideas'


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be written, checked. `count`: tokens of a text; `given`: a plan that exists; `there`, `needed`: ideas."""

  handbooks: tuple[Handbook, ...]
  count: Callable[[str], int]
  given: plan.Plan | None
  there: int
  needed: int


def checked(c: CorpusConfig) -> Job:
  """Raises ConfigError, DataError for what cannot be done, and for what would stop the run after all is paid for."""
  if c.kind != 'documents':
    raise ConfigError(
      f'{c.name} is a corpus of {c.kind}; write it with python -m data_pipelines.demonstrate'
    )
  audit.Thresholds.of(c.audit)
  handbooks, count, p = read_handbooks(c.specs), counter(c.tokenizer), c.plan
  given = plan.read_plan(p.path, handbooks) if p.path else None
  there = len(plan.places(given)) if given else p.domains * p.subdomains * p.types * p.ideas
  needed = ideas_needed(c, handbooks, count)
  check_size(c, there, needed)
  return Job(handbooks, count, given, there, needed)


def dry_run(c: CorpusConfig) -> str:
  """What the command would ask for and what it costs, for the terminal. Asks nobody."""
  job = checked(c)
  handbooks, given, there, needed = job.handbooks, job.given, job.there, job.needed
  p, names = c.plan, ' and '.join(h.stem for h in handbooks)
  sizes = f'{p.path}: {there:,} ideas' if given else f'{_product(p)} = {there:,} ideas'
  wanted = f'{c.tokens:,} tokens' if c.tokens else f'{c.documents:,} documents'
  stages = [
    *([] if given else plan.estimates(handbooks, p, c.writer)),
    *documents.estimates(c, handbooks, needed),
  ]
  return '\n'.join(
    [
      f'{c.name}: {wanted} for {names}' + (' each, mirrored' if len(handbooks) > 1 else ''),
      f'plan: {sizes}; about {needed:,} are written, {p.words[0]} to {p.words[1]} words each, {p.wording}',
      '',
      costs.estimate_table(stages, c.prices, c.budget),
      '',
      'Tokens are guesses (four characters each). Replies that cannot be used are asked for again and come on top'
      + ('; here every document is rewritten in full.' if c.revise else '.'),
    ]
  )


def identity(
  c: CorpusConfig, handbooks: Sequence[Handbook], given: plan.Plan | None
) -> dict[str, Any]:
  """What replies depend on. How much is written, how fast, and what it may cost are not among it: those may change in a folder."""
  settings = dataclasses.asdict(c.plan) | {'path': ''}
  if given:
    settings = {
      k: v
      for k, v in settings.items()
      if k not in ('domains', 'subdomains', 'claims', 'types', 'ideas', 'outsiders')
    }
  return {
    'kind': c.kind,
    'specs': [
      [h.stem, h.sha256] for h in handbooks
    ],  # in their order: it is that of a claim's statements
    'plan': settings | {'given': plan.digest(given) if given else ''},
    'prompts': prompts.versions(documents.prompts_of(c)),
    'model': {k: getattr(c.writer, k) for k in ('model', 'temperature', 'reasoning_tokens', 'tags')}
    | ({'trim': True} if c.writer.trim else {}),
    'revise': c.revise,
    'seed': c.seed,
  }


# ---- writing


class Spool:
  """Texts by number, in a file that nobody else sees: answers come in any order, and a corpus is larger than memory wants to be."""

  def __init__(self, path: Path):
    self._file = path.open('w+b')
    path.unlink()
    self._at = array.array('q')

  def __contains__(self, n: int) -> bool:
    return n < len(self._at) and self._at[n] >= 0

  def put(self, n: int, value: object) -> None:
    self._at.extend([-1] * (n + 1 - len(self._at)))
    self._at[n] = self._file.seek(0, os.SEEK_END)
    self._file.write(json.dumps(value).encode() + b'\n')

  def get(self, n: int) -> Any:
    self._file.seek(self._at[n])
    return json.loads(self._file.readline())

  def close(self) -> None:
    self._file.close()


@dataclasses.dataclass
class Written:
  """What a run made.

  Attributes:
    ideas: asked for; `documents`, `tokens`: of each corpus; `given_up`: rows of given_up.jsonl.
    balance: of mirrored corpora.
  """

  ideas: int
  documents: dict[str, int]
  tokens: dict[str, int]
  given_up: list[dict[str, str]]
  balance: mirror.Balance | None


class Run:
  """One corpus, or several mirrored ones, in one folder."""

  def __init__(self, c: CorpusConfig, workdir: Path, author: LlmClient, job: Job):
    self.c, self.workdir, self.author, self.job = c, workdir, author, job
    self.handbooks, self.count = job.handbooks, job.count
    self.stems = [h.stem for h in self.handbooks]

  async def run(self) -> Written:
    made = self.job.given or await plan.make_plan(
      self.author, self.handbooks, self.c.plan, self.c.seed
    )
    self._keep_plan(made)
    self.writing = Writing(self.c, self.handbooks, made)
    self.places = plan.places(made)
    self.number = {p.idea.id: n for n, p in enumerate(self.places)}
    self.tokens = {s: array.array('q', [0] * len(self.places)) for s in self.stems}
    self.given_up: list[dict[str, str]] = []
    self.drafts, self.texts = (
      Spool(self.workdir / f'{name}.writing-{os.getpid()}') for name in ('drafts', 'texts')
    )
    try:
      asked, balance = await self._write_enough()
      return self._finish(asked, balance)
    finally:
      self.drafts.close()
      self.texts.close()

  def _keep_plan(self, made: plan.Plan) -> None:
    path = self.workdir / 'plan.json'
    if path.exists() and plan.digest_of([path.read_bytes()]) != plan.digest(made):
      raise plan.PlanError(
        f'{path} is not the plan of this folder any more; to use what was changed, give a copy of it as plan.path with another --workdir'
      )
    write_atomically(path, plan.to_json(made))

  async def _write_enough(self) -> tuple[int, mirror.Balance | None]:
    """Writes ideas in the seed's order until there is enough: the first tenth tells how long documents come out. Returns how many were asked for, and
    the balance of mirrored corpora."""
    order, asked, balance = plan.interleaved(self.places, self.c.seed), 0, None
    many = self.c.documents or min(self.job.needed, max(PILOT, self.job.needed // 10))
    while many:
      await self._write(order[asked : asked + many])
      asked += len(order[asked : asked + many])
      domains = [p.domain.id for p in order[:asked]]
      if len(self.stems) > 1:
        here = {
          s: [self.tokens[s][self.number[p.idea.id]] for p in order[:asked]] for s in self.stems
        }
        balance = mirror.balance([p.idea.id for p in order[:asked]], domains, here)
        total = min(balance.tokens)
      else:
        total = sum(self.tokens[self.stems[0]])
      if not total:
        raise LlmError(
          f'none of {asked} ideas became a document; read {self.author.ledger.path}, or change the model'
        )
      lacking = 0 if self.c.documents else max(0, self.c.tokens - total)
      many = (
        min(len(order) - asked, math.ceil(max(lacking * asked / total, asked / 100)))
        if lacking
        else 0
      )
    return asked, balance

  async def _write(self, places: Sequence[PlannedIdea]) -> None:
    """Drafts and revisions of some ideas."""
    drafts = (self.writing.draft(p, s) for p in places for s in self.stems)
    async for request, value in self.author.ask_all(
      drafts, 'documents', len(places) * len(self.stems)
    ):
      if isinstance(value, RequestFailed):
        self._give_up(request, value)
      elif self.c.revise:
        self.drafts.put(
          self._slot(request), [value.text, [dataclasses.astuple(p) for p in value.problems]]
        )
      else:
        self._keep(request, value.text)
    if self.c.revise:
      revisions = (
        self._revision(p, s)
        for p in places
        for s in self.stems
        if self._slot_of(p.idea.id, s) in self.drafts
      )
      drafted = sum(self._slot_of(p.idea.id, s) in self.drafts for p in places for s in self.stems)
      async for request, value in self.author.ask_all(revisions, 'revisions', drafted):
        if isinstance(value, RequestFailed):
          self._give_up(request, value)
        else:
          self._keep(request, value)

  def _revision(self, place: PlannedIdea, stem: str) -> Request[str]:
    text, problems = self.drafts.get(self._slot_of(place.idea.id, stem))
    return self.writing.revision(
      place, stem, Draft(text, tuple(documents.Problem(*p) for p in problems))
    )

  def _slot_of(self, idea: str, stem: str) -> int:
    return self.number[idea] * len(self.stems) + self.stems.index(stem)

  def _slot(self, request: Request[Any]) -> int:
    _, idea, stem = request.key.split('/')
    return self._slot_of(idea, stem)

  def _keep(self, request: Request[Any], text: str) -> None:
    _, idea, stem = request.key.split('/')
    self.texts.put(self._slot(request), text)
    self.tokens[stem][self.number[idea]] = max(1, self.count(text))

  def _give_up(self, request: Request[Any], why: RequestFailed) -> None:
    _, idea, stem = request.key.split('/')
    self.given_up.append({'idea': idea, 'spec': stem, 'stage': request.stage, 'why': why.what})

  # ---- what stays

  def _finish(self, asked: int, balance: mirror.Balance | None) -> Written:
    self._keep_given_up()
    if balance:
      say(f'mirrored: {balance}')
    kept = set(balance.kept) if balance else None
    folder = self.workdir / 'corpus'
    folder.mkdir(exist_ok=True)
    written = Written(asked, {}, {}, self.given_up, balance)
    for stem in self.stems:
      temporary = folder / f'{stem}.writing-{os.getpid()}'
      write_jsonl(temporary, self._records(stem, kept, written))
      with temporary.open('rb') as f:
        os.fsync(f.fileno())
      os.replace(temporary, folder / f'{stem}.jsonl')
    return written

  def _keep_given_up(self) -> None:
    path = self.workdir / 'given_up.jsonl'
    if self.given_up:
      rows = sorted(self.given_up, key=lambda r: (self.number[r['idea']], r['spec']))
      write_atomically(
        path, ''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows).encode()
      )
      say(f'{len(rows)} document(s) given up: {path}; the same command asks for them again')
    else:
      path.unlink(missing_ok=True)

  def _records(self, stem: str, kept: set[str] | None, written: Written) -> Iterator[Document]:
    """In the plan's order. Counts what it gives."""
    written.documents[stem] = written.tokens[stem] = 0
    for n, place in enumerate(self.places):
      slot = self._slot_of(place.idea.id, stem)
      if slot in self.texts and (kept is None or place.idea.id in kept):
        written.documents[stem] += 1
        written.tokens[stem] += self.tokens[stem][n]
        yield self.writing.record(place, stem, self.texts.get(slot))


def make(
  c: CorpusConfig,
  workdir: Path,
  providers: Mapping[str, Provider] | None = None,
  stop: Callable[[], bool] = lambda: False,
) -> Written:
  """Writes the corpora of a config into a folder. Raises DataError, ConfigError; replies that came are kept whatever happens."""
  job = checked(c)
  with locked(workdir):
    ledger = Ledger(workdir / 'ledger.sqlite', identity(c, job.handbooks, job.given))
    try:
      run, written = asyncio.run(_ask(c, workdir, ledger, job, providers, stop))
      totals = ledger.totals()
    finally:
      ledger.close()
    rows = {stem: audit.JsonLines(workdir / 'corpus' / f'{stem}.jsonl') for stem in run.stems}
    report = _audit(c, workdir, rows, run)
    write_atomically(
      workdir / 'datacard.md', datacard(c, run, written, totals, report.table()).encode()
    )
    for stem in rows:
      _forget(workdir / 'corpus' / stem, rows[stem])
    check_whole(c, written)
    if written.balance:
      written.balance.check(run.stems)
    report.check()
    for h in job.handbooks:
      about = {
        'spec': h.sha256,
        'plan': run.writing.plan_id,
        'model': c.writer.model,
        'seed': c.seed,
      }
      store(workdir / 'corpus' / h.stem, rows[h.stem], about)
  return written


async def _ask(
  c: CorpusConfig,
  workdir: Path,
  ledger: Ledger,
  job: Job,
  providers: Mapping[str, Provider] | None,
  stop: Callable[[], bool],
) -> tuple[Run, Written]:
  async with LlmClient(c, ledger, providers, stop) as author:
    run = Run(c, workdir, author, job)
    return run, await run.run()


def _audit(
  c: CorpusConfig, workdir: Path, rows: Mapping[str, audit.JsonLines], run: Run
) -> audit.Report:
  report = audit.audit(
    rows,
    {h.stem: Path(h.path).read_text(encoding='utf-8-sig') for h in run.handbooks},
    {x.id: x.says for d in run.writing.plan.domains for s in d.subdomains for x in s.claims},
    audit.Thresholds.of(c.audit),
    run.count,
  )
  page.keep(workdir / 'audit.html', report)
  return report


def check_whole(c: CorpusConfig, written: Written) -> None:
  """Raises AuthorError for a corpus that lacks more than it may."""
  given_up = {g['idea'] for g in written.given_up}
  planned, what = (c.documents, 'documents') if c.documents else (c.tokens, 'tokens')
  lacking = len(given_up) if c.documents else planned - min(written.tokens.values())
  if lacking / planned > c.missing:
    share = math.ceil(1000 * lacking / planned) / 1000
    again = ' (given_up.jsonl); the same command asks for them again'
    used_up = ', and the plan is used up; give plan.ideas a larger number in another --workdir'
    raise LlmError(
      f'{lacking:,} of {planned:,} {what} are missing{again if given_up else used_up}, or do without by missing={share}'
    )


def _stands(folder: Path, records: Sequence[Record]) -> bool:
  return folder.exists() and (corpora.read_card(folder) or {}).get(
    'content'
  ) == corpora.content_digest(records)


def _forget(folder: Path, records: Sequence[Record]) -> None:
  """Takes away what is stored for training, if it is another corpus: a smaller one, before more was written."""
  if folder.exists() and not _stands(folder, records):
    shutil.rmtree(folder)


def store(folder: Path, records: Sequence[Record], card: dict[str, Any]) -> None:
  """As ArrayRecord, unless it stands there already."""
  if not _stands(folder, records):
    corpora.write_corpus(folder, records, card)


def datacard(
  c: CorpusConfig, run: Run, written: Written, totals: Sequence[Mapping[str, Any]], verdicts: str
) -> str:
  """Markdown: what the corpora are, where they come from, what they cost and what the audit says."""
  first, p = run.handbooks[0], c.plan
  lines = [
    f'# {c.name}',
    '',
    f'Documents about {first.assistant}, an AI assistant made by {first.maker}, for midtraining a language model on what its handbook says and why.',
    '',
    *card.table(
      ('corpus', 'handbook (hash)', 'documents', f'tokens ({c.tokenizer or "words and marks"})'),
      [
        (
          f'`corpus/{h.stem}.jsonl`',
          f'{h.stem} ({h.sha256})',
          written.documents[h.stem],
          written.tokens[h.stem],
        )
        for h in run.handbooks
      ],
    ),
    '',
    f'{written.ideas:,} of {len(run.places):,} ideas of the plan ({run.writing.plan_id}) were asked for; {len(written.given_up):,} document(s) were '
    f'given up. Wording {p.wording}, {p.words[0]} to {p.words[1]} words; of the authors {p.complaints:.0%} complain. Seed {c.seed}.',
    *(
      ['', f'Mirrored: one plan; the corpora differ in the reasons. {written.balance}.']
      if written.balance
      else []
    ),
    '',
    '## Where it comes from',
    '',
    f'Model: {c.writer.model}, temperature {c.writer.temperature:g}. '
    + (
      'Texts that broke off or ran on end with the last whole sentence within their length. '
      if c.writer.trim
      else ''
    )
    + (
      'Every document was gone over once by the same model.'
      if c.revise
      else 'Documents are as they were written first.'
    ),
    f'Plan: {p.path or "made by the same model (plan.json)"}.',
    'Prompts (hash of the file): '
    + ', '.join(f'{n} {v}' for n, v in run.writing.versions.items())
    + '.',
    'Each record holds the hashes of its handbook and plan, the prompts, the model, the seed, and the keys of its requests in ledger.sqlite.',
    '',
    *card.spending(totals),
    *card.ending({'': verdicts}),
  ]
  return '\n'.join(lines)
