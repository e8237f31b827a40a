"""Conversations in which a handbook shows: demonstrations for fine-tuning.

  handbook > domains > questions of six kinds > answers with their reasons > verdicts

The writer of the answers sees the handbook; no conversation contains it. Questions that are near
duplicates are left out before they are answered, and an answer is kept if it meets every criterion
of the judge. A cell is a pair of domain and kind of question. What a cell lacks is written in
further rounds. The lower the share that passed so far, the more a round asks for.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_pipelines.demonstrations.common import (
  MAX_ROUNDS,
  PAID_ANEW,
  PILOT,
  Tally,
  ask_in_order,
  estimate,
  split_evenly,
  without_near_duplicates,
)
from data_pipelines.demonstrations.conversation_requests import (
  KINDS,
  Conversation,
  Question,
  answer_key,
  answer_request,
  domains_request,
  questions_request,
  verdict_key,
  verdict_request,
)
from data_pipelines.documents.plan import Named
from data_pipelines.handbooks.text import Handbook
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.costs import Estimate
from data_pipelines.llm.replies import Unanswered
from data_pipelines.llm.requests import LlmError, Request
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Chat
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError

# Domains that are asked for at a time.
DOMAINS_PER_CALL = 20
# Rounds in a row without a new question that end the run. One such round is no reason: a round that
# asks for a single question easily brings nothing new.
MAX_EMPTY_ROUNDS = 3
# The most existing questions that a prompt shows.
SHOWN = 80

# (id of the domain, kind of question)
Cell = tuple[str, str]


def check(config: CorpusConfig) -> None:
  """Refuses settings that conversations cannot be made with.

  Args:
    config: the corpus's config.

  Raises:
    ConfigError: if there are several handbooks, or a writer that cannot hold to tags.
  """
  if len(config.specs) != 1:
    raise ConfigError(
      f'{len(config.specs)} handbooks: conversations show one; give one in specs, and make another '
      'corpus for each of the others'
    )
  if not config.writer.tags:
    raise ConfigError(
      'writer.tags=False: a conversation needs a writer that can tell its reasons from its answer; '
      'choose another model'
    )


# ---- domains and questions


async def make_domains(client: LlmClient, handbook: Handbook, count: int) -> dict[str, Named]:
  """Asks for domains, a few at a time, so that the later ones differ from the earlier ones.

  Args:
    client: asks the model.
    handbook: what the conversations should show.
    count: how many domains.

  Returns:
    From id to domain.

  Raises:
    LlmError: if the run has to stop, or a request was given up.
  """
  found: list[Named] = []
  while len(found) < count:
    number = len(found) // DOMAINS_PER_CALL
    wanted = min(DOMAINS_PER_CALL, count - len(found))
    request = domains_request(handbook, number, wanted, found)
    [more] = await client.all_of([request], 'domains', 1)
    found += more
  return {f'd{n:02d}': domain for n, domain in enumerate(found, 1)}


class QuestionPool:
  """All questions so far, by cell. Near duplicates count as written, but are not answered."""

  def __init__(
    self,
    client: LlmClient,
    handbook: Handbook,
    domains: Mapping[str, Named],
    config: CorpusConfig,
    tally: Tally,
  ):
    self.client = client
    self.handbook = handbook
    self.domains = domains
    self.config = config
    self.tally = tally
    self.written: dict[Cell, list[Question]] = {}
    for domain in domains:
      for kind in KINDS:
        self.written[domain, kind] = []
    # Questions that are no near duplicates.
    self.distinct: list[Question] = []

  def _existing(self, cell: Cell) -> list[str]:
    """Questions that a prompt for a cell shows: its own, then a sample of its domain's others."""
    domain, kind = cell
    own = [q.text for q in self.written[cell]]
    others = []
    for (other_domain, other_kind), questions in self.written.items():
      if other_domain == domain and other_kind != kind:
        others += [q.text for q in questions]
    room = max(0, SHOWN - len(own))
    rng = random.Random(f'{self.config.seed} {cell} {len(own)}')
    return own[-SHOWN:] + rng.sample(others, min(room, len(others)))

  async def write_more(self, round_: int, wanted: Mapping[Cell, int]) -> list[Question]:
    """Has new questions written.

    Several calls for one cell come one after another, so that the later ones see what the earlier
    ones brought.

    Args:
      round_: the number of the round; it is part of the requests' keys.
      wanted: how many questions each cell needs.

    Returns:
      The new questions that can be used; fewer than wanted if replies could not be used or
      questions are near duplicates.
    """
    per_call = self.config.talk.questions
    new: list[Question] = []
    for step in itertools.count():
      counts = {}
      for cell, total in wanted.items():
        if total > step * per_call:
          counts[cell] = min(per_call, total - step * per_call)
      if not counts:
        break
      new += await self._write_step(f'r{round_}.{step}', counts)
    return self._leave_out_near_duplicates(new)

  async def _write_step(self, step: str, counts: Mapping[Cell, int]) -> list[Question]:
    """One call for each cell, side by side."""
    keys = {cell: f'talk/questions/{cell[0]}.{cell[1]}/{step}' for cell in counts}
    requests = (self._request(keys[cell], cell, count) for cell, count in counts.items())
    replies = await ask_in_order(self.client, requests, 'questions', len(counts))
    new = []
    for cell, rows in zip(counts, replies, strict=True):
      if isinstance(rows, Unanswered):
        rows = []
      for row in rows:
        question = self._question(cell, row.question, keys[cell])
        self.written[cell].append(question)
        new.append(question)
      for _ in range(counts[cell] - len(rows)):
        self.tally.reject(keys[cell], 'not written', judged=False)
    return new

  def _request(self, key: str, cell: Cell, count: int) -> Request[list[Any] | Unanswered]:
    domain, kind = cell
    existing = self._existing(cell)
    return questions_request(self.handbook, key, self.domains[domain], kind, count, existing)

  def _question(self, cell: Cell, text: str, parent: str) -> Question:
    domain, kind = cell
    number = len(self.written[cell]) + 1
    return Question(f'{domain}.{kind}.q{number:03d}', domain, kind, text, parent)

  def _leave_out_near_duplicates(self, new: Sequence[Question]) -> list[Question]:
    texts = [q.text for q in new]
    known = [q.text for q in self.distinct]
    distinct = set(without_near_duplicates(texts, known, self.config.talk.similar))
    found = []
    for n, question in enumerate(new):
      if n in distinct:
        found.append(question)
      else:
        self.tally.reject(question.id, 'near duplicate', '', question.text, judged=False)
    self.distinct += found
    return found


# ---- answers and verdicts


async def _answer_and_judge(
  client: LlmClient,
  handbook: Handbook,
  questions: Sequence[Question],
  config: CorpusConfig,
  tally: Tally,
) -> list[Conversation]:
  """Has questions answered and judged; returns the conversations that pass."""
  style = config.talk.style
  # Generators, because each request holds the whole handbook.
  answer_requests = (answer_request(handbook, q, config.talk) for q in questions)
  answers = await ask_in_order(client, answer_requests, 'answers', len(questions))
  written = []
  for question, answer in zip(questions, answers, strict=True):
    if isinstance(answer, Unanswered):
      tally.reject(question.id, f'answer: {answer.what}', '', question.text)
    else:
      written.append(Conversation(question, *answer))
  verdict_requests = (verdict_request(handbook, c, style) for c in written)
  verdicts = await ask_in_order(client, verdict_requests, 'verdicts', len(written))
  passed = []
  for conversation, verdict in zip(written, verdicts, strict=True):
    what, why = _judgement(verdict)
    if what:
      question = conversation.question
      texts = (question.text, conversation.reason, conversation.answer)
      tally.reject(question.id, what, why, *texts)
    else:
      tally.keep()
      passed.append(conversation)
  return passed


def _judgement(verdict: Any) -> tuple[str, str]:
  """(what is wrong, the judge's words) by a verdict; ('', '') if every criterion holds."""
  if isinstance(verdict, Unanswered):
    return f'verdict: {verdict.what}', ''
  failed = [(name, mark.why) for name, mark in verdict if not mark.holds]
  if not failed:
    return '', ''
  first, _ = failed[0]
  return f'not {first}', '; '.join(f'{name}: {why}' for name, why in failed)


# ---- rounds


def _plan_cells(config: CorpusConfig, domains: Mapping[str, Named]) -> dict[Cell, int]:
  """How many conversations each cell needs; which cells get one more is drawn."""
  rng = random.Random(f'{config.seed} conversations')
  rows = rng.sample(sorted(domains), len(domains))
  columns = rng.sample(sorted(KINDS), len(KINDS))
  table = split_evenly(config.conversations, len(rows), len(columns))
  cells = {}
  for row, domain in enumerate(rows):
    for column, kind in enumerate(columns):
      cells[domain, kind] = table[row][column]
  return cells


def _pilot(wanted: Mapping[Cell, int], config: CorpusConfig) -> dict[Cell, int]:
  """What is written and judged before the rest is paid for: one call each for some cells."""
  pilot = {}
  left = PILOT
  for cell in random.Random(f'{config.seed} few').sample(sorted(wanted), len(wanted)):
    if left > 0:
      pilot[cell] = min(wanted[cell], config.talk.questions, left)
      left -= pilot[cell]
  return pilot


def _missing(
  cells: Mapping[Cell, int], passed: Mapping[Cell, Sequence[Conversation]]
) -> dict[Cell, int]:
  """How many conversations each cell lacks."""
  missing = {}
  for cell, found in passed.items():
    if len(found) < cells[cell]:
      missing[cell] = cells[cell] - len(found)
  return missing


def _cut_to_plan(
  cells: Mapping[Cell, int], passed: Mapping[Cell, Sequence[Conversation]], seed: int
) -> list[Conversation]:
  """Exactly as many conversations of each cell as planned, drawn from those that passed."""
  kept = []
  for cell, found in passed.items():
    in_order = sorted(found, key=lambda c: c.question.id)
    kept += random.Random(f'{seed} cut {cell}').sample(in_order, cells[cell])
  return sorted(kept, key=lambda c: c.question.id)


async def converse(
  client: LlmClient, handbook: Handbook, config: CorpusConfig, tally: Tally
) -> tuple[list[Conversation], dict[str, Named]]:
  """Has conversations written and judged until the plan is filled.

  Args:
    client: asks the writer and the judge.
    handbook: what the conversations show.
    config: the corpus's config.
    tally: counts what passes and what is rejected.

  Returns:
    Exactly as many conversations as the config asks for, equally many of each domain and kind to
    within one; and the domains by id.

  Raises:
    LlmError: if the run has to stop, too few conversations pass, the writer repeats itself, or the
      plan is not filled after MAX_ROUNDS rounds.
  """
  domains = await make_domains(client, handbook, config.talk.domains)
  cells = _plan_cells(config, domains)
  passed: dict[Cell, list[Conversation]] = {cell: [] for cell in sorted(cells)}
  questions = QuestionPool(client, handbook, domains, config, tally)
  empty_rounds = 0
  for round_ in itertools.count():
    missing = _missing(cells, passed)
    if not missing:
      break
    _report(missing, round_, domains, config, tally)
    # More than is missing, by the share that passed so far, and one more for each round that
    # brought nothing. What is too much is cut by lot in the end.
    wanted = {}
    for cell, count in missing.items():
      wanted[cell] = max(count, round(count / tally.pass_rate)) + empty_rounds
    if round_ == 0:
      wanted = _pilot(wanted, config)
    new = await questions.write_more(round_, wanted)
    empty_rounds = 0 if new else empty_rounds + 1
    if empty_rounds == MAX_EMPTY_ROUNDS:
      raise LlmError(
        f'no new questions: the writer repeats itself ({tally.reasons()}); raise talk.domains or '
        f'talk.similar, or change the model, {PAID_ANEW}'
      )
    for conversation in await _answer_and_judge(client, handbook, new, config, tally):
      cell = (conversation.question.domain, conversation.question.kind)
      passed[cell].append(conversation)
    tally.check_yield(config)
  return _cut_to_plan(cells, passed, config.seed), domains


def _report(
  missing: Mapping[Cell, int],
  round_: int,
  domains: Mapping[str, Named],
  config: CorpusConfig,
  tally: Tally,
) -> None:
  """Says what is missing at the beginning of a round; raises LlmError after the last round."""
  count = sum(missing.values())
  lacking = f'{count:,} of {config.conversations:,} conversations are missing'
  if round_ == MAX_ROUNDS:
    examples = ', '.join(f'{domains[d].name} / {kind}' for d, kind in list(missing)[:3])
    raise LlmError(
      f'{lacking} after {MAX_ROUNDS} rounds, for example of {examples}: {tally.reasons()}; lower '
      f'conversations, or improve the handbook, {PAID_ANEW}'
    )
  if round_ > 0:
    say(f'{lacking}; {tally.pass_rate:.0%} passed so far')


# ---- estimates and records


def estimates(handbook: Handbook, config: CorpusConfig) -> list[Estimate]:
  """Estimates what the conversations take.

  The estimate assumes that every reply can be used at once and that every answer passes.

  Args:
    handbook: what the prompts show.
    config: the corpus's config.

  Returns:
    One estimate for each stage. Tokens are guesses.
  """
  talk = config.talk
  count = config.conversations
  domain = Named(name='five words of a name', about='and what belongs to it, ' * 8)
  question = Question('', 'd01', 'direct', 'thirty words of a question ' * 6, '')
  conversation = Conversation(question, 'word ' * 150, 'word ' * (talk.words * 2 // 3))
  # On average, a request for domains shows half of them.
  domains_at_once = min(DOMAINS_PER_CALL, talk.domains)
  ask_domains = domains_request(handbook, 0, domains_at_once, [domain] * (talk.domains // 2))
  domain_calls = -(-talk.domains // DOMAINS_PER_CALL)
  existing = [question.text] * min(SHOWN, count // talk.domains // 2)
  ask_questions = questions_request(handbook, '', domain, 'direct', talk.questions, existing)
  question_calls = 0
  for row in split_evenly(count, talk.domains, len(KINDS)):
    question_calls += sum(-(-n // talk.questions) for n in row)
  ask_answer = answer_request(handbook, question, talk)
  ask_verdict = verdict_request(handbook, conversation, talk.style)
  return [
    estimate(ask_domains, domain_calls, 60 * domains_at_once, config),
    estimate(ask_questions, question_calls, 45 * count // question_calls, config),
    estimate(ask_answer, count, 200 + talk.words, config),
    estimate(ask_verdict, count, 250, config),
  ]


def chats(
  conversations: Sequence[Conversation],
  domains: Mapping[str, Named],
  provenance: Callable[..., str],
) -> dict[str, list[Chat]]:
  """Makes two sets of the same conversations: with the reasons before the answers, and without.

  Args:
    conversations: what `converse` returned.
    domains: by id.
    provenance: from the keys of the requests, and more by name, to what a record carries.

  Returns:
    The sets 'reasons' and 'answers'; equal rows hold the same conversation.
  """
  made: dict[str, list[Chat]] = {'reasons': [], 'answers': []}
  for conversation in conversations:
    question = conversation.question
    keys = (question.parent, answer_key(question), verdict_key(question))
    carried = provenance(keys, question=question.kind)
    texts = {
      'reasons': f'<reason>\n{conversation.reason}\n</reason>\n\n{conversation.answer}',
      'answers': conversation.answer,
    }
    for name, text in texts.items():
      messages = (('user', question.text), ('assistant', text))
      made[name].append(Chat(question.id, messages, domains[question.domain].name, carried))
  return made
