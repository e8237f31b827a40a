"""The part of a corpus of documents that asks a model: how many ideas are written, and their texts.

`Run` has the plan made, writes drafts and revisions of ideas in the seed's order until there are
enough documents or tokens, and puts the finished texts on disk. `pipeline.py` prepares a run and
audits and stores what it made.
"""

import array
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.documents import mirror, plan, planning
from data_pipelines.documents.card import WritingResult
from data_pipelines.documents.drafting import DocumentDrafter, Draft
from data_pipelines.documents.job import ValidatedJob
from data_pipelines.documents.plan import PlannedIdea
from data_pipelines.documents.storage import TextStore
from data_pipelines.jsonl import write_jsonl
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.requests import LlmError, Request, RequestFailed
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Document
from data_pipelines.text.checks import Problem
from msm_jax.base.console import say
from msm_jax.base.files import write_atomically

# Ideas that are written first, at the least, to see how long documents come out.
PILOT = 50


class Run:
  """Writes one corpus, or several mirrored ones, in one folder.

  A document has a slot: a number that stands for an idea and a handbook. Drafts, texts and token
  counts are kept by slot or by the number of the idea, not as objects: a corpus may have millions.
  """

  def __init__(self, config: CorpusConfig, workdir: Path, client: LlmClient, job: ValidatedJob):
    self.config = config
    self.workdir = workdir
    self.client = client
    self.job = job
    self.handbooks = job.handbooks
    self.count = job.count
    self.stems = [h.stem for h in self.handbooks]
    self.given_up: list[dict[str, str]] = []

  async def run(self) -> WritingResult:
    """Has the plan made and the documents written, and puts them on disk.

    Returns:
      What was made.

    Raises:
      LlmError: if the run has to stop; the replies so far are in the ledger.
      PlanError: if the plan in the folder is not the one that the folder was begun with.
    """
    made = self.job.given
    if made is None:
      made = await planning.make_plan(
        self.client, self.handbooks, self.config.plan, self.config.seed
      )
    self._keep_plan(made)
    self.drafter = DocumentDrafter(self.config, self.handbooks, made)
    self.ideas = plan.planned_ideas(made)
    self.number = {planned.idea.id: n for n, planned in enumerate(self.ideas)}
    # Tokens of each idea's document, by handbook; 0 where there is none.
    self.tokens = {stem: array.array('q', [0] * len(self.ideas)) for stem in self.stems}
    self.drafts = TextStore(self.workdir / f'drafts.writing-{os.getpid()}')
    self.texts = TextStore(self.workdir / f'texts.writing-{os.getpid()}')
    try:
      asked, balance = await self._write_enough()
      return self._finish(asked, balance)
    finally:
      self.drafts.close()
      self.texts.close()

  def _keep_plan(self, made: plan.Plan) -> None:
    """Writes the plan into the folder; raises PlanError if somebody changed the one there."""
    path = self.workdir / 'plan.json'
    if path.exists() and plan.digest_of_pieces([path.read_bytes()]) != plan.digest(made):
      raise plan.PlanError(
        f'{path} is not the plan of this folder any more; to use what was changed, give a copy of '
        'it as plan.path with another --workdir'
      )
    write_atomically(path, plan.to_json(made))

  # ---- how many ideas

  async def _write_enough(self) -> tuple[int, mirror.Balance | None]:
    """Writes ideas in the seed's order until there is enough.

    Returns:
      How many ideas were asked for, and the balance of mirrored corpora (None for a single one).
    """
    order = plan.interleaved(self.ideas, self.config.seed)
    asked = 0
    balance = None
    batch_size = self.config.documents
    if not batch_size:
      # The first tenth tells how long documents come out.
      pilot = max(PILOT, self.job.needed // 10)
      batch_size = min(self.job.needed, pilot)
    while batch_size:
      batch = order[asked : asked + batch_size]
      await self._write(batch)
      asked += len(batch)
      balance, total = self._tokens_of(order[:asked])
      if not total:
        raise LlmError(
          f'none of {asked} ideas became a document; read {self.client.ledger.path}, or change '
          'the model'
        )
      batch_size = self._next_batch_size(asked, total, len(order))
    return asked, balance

  def _tokens_of(self, ideas: Sequence[PlannedIdea]) -> tuple[mirror.Balance | None, int]:
    """The balance of the documents of some ideas, and the tokens of the smallest corpus."""
    if len(self.stems) == 1:
      # Tokens of ideas that were not asked for are 0.
      return None, sum(self.tokens[self.stems[0]])
    numbers = [self.number[planned.idea.id] for planned in ideas]
    tokens = {}
    for stem in self.stems:
      tokens[stem] = [self.tokens[stem][n] for n in numbers]
    ids = [planned.idea.id for planned in ideas]
    domains = [planned.domain.id for planned in ideas]
    balance = mirror.balance(ids, domains, tokens)
    return balance, min(balance.tokens)

  def _next_batch_size(self, asked: int, total: int, available: int) -> int:
    """How many more ideas to ask for, after `asked` ideas gave `total` tokens; 0 ends the run."""
    if self.config.documents:
      return 0
    lacking = self.config.tokens - total
    if lacking <= 0:
      return 0
    # At least a hundredth more, so that the last few tokens do not take many rounds.
    expected = max(lacking * asked / total, asked / 100)
    return min(available - asked, math.ceil(expected))

  # ---- drafts and revisions

  async def _write(self, ideas: Sequence[PlannedIdea]) -> None:
    """Has the documents of some ideas drafted, and revised if the config says so."""
    # Generators: each request holds a whole handbook, so that few should exist at a time.
    drafts = (self.drafter.draft_request(planned, stem) for planned, stem in self._slots_of(ideas))
    total = len(ideas) * len(self.stems)
    async for request, value in self.client.ask_all(drafts, 'documents', total):
      if isinstance(value, RequestFailed):
        self._give_up(request, value)
      elif self.config.revise:
        problems = [dataclasses.astuple(problem) for problem in value.problems]
        self.drafts.put(self._slot_of_request(request), [value.text, problems])
      else:
        self._keep(request, value.text)
    if self.config.revise:
      await self._revise(ideas)

  async def _revise(self, ideas: Sequence[PlannedIdea]) -> None:
    """Has those documents of some ideas revised of which there is a draft."""
    drafted = [
      (planned, stem)
      for planned, stem in self._slots_of(ideas)
      if self._slot(planned.idea.id, stem) in self.drafts
    ]
    revisions = (self._revision_request(planned, stem) for planned, stem in drafted)
    async for request, value in self.client.ask_all(revisions, 'revisions', len(drafted)):
      if isinstance(value, RequestFailed):
        self._give_up(request, value)
      else:
        self._keep(request, value)

  def _revision_request(self, planned: PlannedIdea, stem: str) -> Request[str]:
    text, problems = self.drafts.get(self._slot(planned.idea.id, stem))
    draft = Draft(text, tuple(Problem(*problem) for problem in problems))
    return self.drafter.revision_request(planned, stem, draft)

  def _slots_of(self, ideas: Sequence[PlannedIdea]) -> Iterator[tuple[PlannedIdea, str]]:
    """(idea, stem of the handbook) for each document of some ideas."""
    for planned in ideas:
      for stem in self.stems:
        yield planned, stem

  def _slot(self, idea_id: str, stem: str) -> int:
    """The number of a document: ideas in the plan's order, and handbooks within an idea."""
    return self.number[idea_id] * len(self.stems) + self.stems.index(stem)

  def _slot_of_request(self, request: Request[Any]) -> int:
    return self._slot(*_idea_and_stem(request))

  def _keep(self, request: Request[Any], text: str) -> None:
    """Keeps a final text and counts its tokens."""
    idea_id, stem = _idea_and_stem(request)
    self.texts.put(self._slot(idea_id, stem), text)
    # At least 1, because 0 stands for no document.
    self.tokens[stem][self.number[idea_id]] = max(1, self.count(text))

  def _give_up(self, request: Request[Any], failed: RequestFailed) -> None:
    """Notes a request of which no reply could be used."""
    idea_id, stem = _idea_and_stem(request)
    row = {'idea': idea_id, 'spec': stem, 'stage': request.stage, 'why': failed.what}
    self.given_up.append(row)

  # ---- what stays on disk

  def _finish(self, asked: int, balance: mirror.Balance | None) -> WritingResult:
    """Writes the corpora and the list of what was given up."""
    self._keep_given_up()
    kept = None
    if balance:
      say(f'mirrored: {balance}')
      kept = set(balance.kept)
    folder = self.workdir / 'corpus'
    folder.mkdir(exist_ok=True)
    written = WritingResult(asked, {}, {}, self.given_up, balance)
    for stem in self.stems:
      temporary = folder / f'{stem}.writing-{os.getpid()}'
      write_jsonl(temporary, self._records(stem, kept, written))
      with temporary.open('rb') as f:
        # Without fsync, a power cut could leave the new name with an empty file behind it.
        os.fsync(f.fileno())
      os.replace(temporary, folder / f'{stem}.jsonl')
    return written

  def _keep_given_up(self) -> None:
    """Writes given_up.jsonl in the plan's order, or removes it if nothing was given up."""
    path = self.workdir / 'given_up.jsonl'
    if not self.given_up:
      path.unlink(missing_ok=True)
      return
    rows = sorted(self.given_up, key=lambda row: (self.number[row['idea']], row['spec']))
    lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows]
    write_atomically(path, ''.join(lines).encode())
    say(f'{len(rows)} document(s) given up: {path}; the same command asks for them again')

  def _records(
    self, stem: str, kept: set[str] | None, written: WritingResult
  ) -> Iterator[Document]:
    """The records of one corpus in the plan's order; counts them in `written` as it goes.

    `kept` holds the ids of the ideas that stay; None keeps all.
    """
    written.documents[stem] = 0
    written.tokens[stem] = 0
    for n, planned in enumerate(self.ideas):
      if kept is not None and planned.idea.id not in kept:
        continue
      slot = self._slot(planned.idea.id, stem)
      if slot in self.texts:
        written.documents[stem] += 1
        written.tokens[stem] += self.tokens[stem][n]
        yield self.drafter.record(planned, stem, self.texts.get(slot))


def _idea_and_stem(request: Request[Any]) -> tuple[str, str]:
  """The idea's id and the handbook's stem, from the key of a draft or a revision."""
  _, idea_id, stem = request.key.split('/')
  return idea_id, stem
