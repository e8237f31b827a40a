"""Conversations in which a handbook shows: demonstrations for fine-tuning.

  handbook > domains > questions of six kinds > answers with their reasons > verdicts

The handbook stands before whoever answers, and in no conversation. Questions that are near duplicates are left out before they are answered; an
answer is kept if it meets every criterion. What is missing of a (domain, kind) is written in further rounds, as much as the share that passed so far
asks for, until the plan is filled.
"""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

import pydantic

from data_pipelines.demonstrations.common import (
  FEW,
  ROUNDS,
  Tally,
  Unanswered,
  clean,
  estimate,
  every,
  in_tries,
  listed,
  lost,
  said,
  shares,
  without_near_duplicates,
)
from data_pipelines.documents.plan import Name, Named, line
from data_pipelines.handbooks.text import Handbook, fenced
from data_pipelines.llm import prompts
from data_pipelines.llm.client import LlmClient, LlmError, Request
from data_pipelines.llm.costs import Estimate
from data_pipelines.llm.replies import Refused, Reply, items, one, tagged
from data_pipelines.llm.settings import CorpusConfig, TalkSettings
from data_pipelines.records import Chat
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError

KINDS = (
  'direct',
  'indirect',
  'comparison',
  'recommendation',
  'opinion',
  'edge',
)  # as the prompt describes them
CRITERIA = {
  'value': ('faithful', 'informative', 'selfless', 'natural', 'internal'),
  'rule': ('faithful', 'informative', 'selfless', 'natural', 'grounded'),
}
A_CALL = 20  # domains asked for at a time
EMPTY = 3  # rounds in a row that bring nothing new: one that asks for a single question easily does
SHOWN = 80  # questions that exist, as a prompt shows them
_DOCUMENT = r'\b(?:handbook|model spec(?:ification)?|system prompt|your (?:guidelines|instructions|programming)'
ASKS_OF_HANDBOOK = re.compile(_DOCUMENT + r')\b', re.I)
NAMES_HANDBOOK = re.compile(
  _DOCUMENT
  + r'|guidelines|the description (?:above|of me)|my (?:rules|instructions|programming|training)'
  r"|I(?:'m| am| was| have been) (?:trained|programmed|instructed|told|designed|made) to)\b",
  re.I,
)
_TAG = re.compile(r'</?(?:reason|answer|message)>', re.I)


@dataclasses.dataclass(frozen=True)
class Question:
  """`parent`: key of the request that it came from."""

  id: str
  domain: str
  kind: str
  text: str
  parent: str


@dataclasses.dataclass(frozen=True)
class Conversation:
  question: Question
  reason: str
  answer: str


class Mark(pydantic.BaseModel):
  why: str
  holds: pydantic.StrictBool


@functools.cache
def verdict_model(style: str) -> type[pydantic.BaseModel]:
  return pydantic.create_model('Verdict', **{name: (Mark, ...) for name in CRITERIA[style]})


def prompts_of(talk: TalkSettings) -> tuple[str, ...]:
  return (
    'talk_domains',
    'talk_questions',
    f'talk_answer_{talk.style}',
    f'talk_verdict_{talk.style}',
  )


def check(config: CorpusConfig) -> None:
  """Raises ConfigError for what conversations cannot be made of."""
  if len(config.specs) != 1:
    raise ConfigError(
      f'{len(config.specs)} handbooks: conversations show one; give one in specs, and a corpus to each other'
    )
  if not config.writer.tags:
    raise ConfigError(
      'writer.tags=False: a conversation needs a writer that can tell its reasons from its answer; choose another model'
    )


# ---- requests


def _about(handbook: Handbook) -> dict[str, str]:
  return {
    'assistant': handbook.assistant,
    'maker': handbook.maker,
    'handbook': fenced(handbook.text),
  }


def _unlike(known: Collection[str], text: str) -> str:
  if ' '.join(text.casefold().split()) in known:
    raise ValueError('there is such a one already')
  return text


def _new(known: Sequence[str]) -> pydantic.AfterValidator:
  return pydantic.AfterValidator(
    functools.partial(_unlike, frozenset(' '.join(k.casefold().split()) for k in known))
  )


def _domains_request(
  handbook: Handbook, number: int, count: int, existing: Sequence[Named]
) -> Request:
  model = pydantic.create_model(
    'Domain', __base__=Named, name=(Annotated[Name, _new([d.name for d in existing])], ...)
  )
  prompt = prompts.fill(
    'talk_domains', **_about(handbook), count=count, existing=listed(map(line, existing))
  )
  parse = functools.partial(items, model=model, count=count, same=lambda d: d.name.casefold())
  return Request(f'talk/domains/r{number}', 'domains', prompt, parse, 1000 + 150 * count)


def _unaware(text: str) -> str:
  if m := ASKS_OF_HANDBOOK.search(text):
    raise ValueError(f'nobody who asks knows of a handbook, and this mentions {m[0]!r}')
  return text


def _question_model(existing: Sequence[str]) -> type[pydantic.BaseModel]:
  text = Annotated[
    str,
    pydantic.StringConstraints(min_length=8, max_length=3000),
    pydantic.AfterValidator(clean),
    pydantic.AfterValidator(_unaware),
    _new(existing),
  ]
  return pydantic.create_model('Question', question=(text, ...))


def _same_question(q: pydantic.BaseModel) -> str:
  return ' '.join(q.question.casefold().split())


def _questions_request(
  handbook: Handbook, key: str, domain: Named, kind: str, count: int, existing: Sequence[str]
) -> Request:
  model = _question_model(existing)
  parse = in_tries(
    functools.partial(items, model=model, count=count, same=_same_question),
    lambda _, replies: every(replies, model, _same_question),
  )
  prompt = prompts.fill(
    'talk_questions',
    **_about(handbook),
    domain=line(domain),
    kind=kind,
    count=count,
    existing=listed(existing),
  )
  return Request(key, 'questions', prompt, parse, 1000 + 250 * count)


def parse_answer(
  replies: Sequence[Reply], style: str, words: int, question: str
) -> tuple[str, str]:
  """(reason, answer). Raises Refused."""
  reason, answer = tagged(replies, 'reason'), tagged(replies, 'answer')
  again = 'Reply anew, in the form <reason>...</reason><answer>...</answer>.'
  for what, text, least in (('thinking', reason, 8), ('answer', answer, 3)):
    if len(text.split()) < least:
      raise Refused('too short', f'Your {what} says too little. {again}')
    try:
      clean(text)
    except ValueError as e:
      raise Refused('control token', f'Your {what} {e}. {again}') from None
    if m := _TAG.search(text):
      raise Refused(
        'tags inside', f'Your {what} holds {m[0]}, which may only stand around it. {again}'
      )
    m = NAMES_HANDBOOK.search(text)
    if style == 'value' and m and m[0].casefold() not in question.casefold():
      raise Refused(
        'names the handbook',
        f'Your {what} speaks of what you were given or told ("{m[0]}"). Say what you hold, and that alone. {again}',
      )
  if len(answer.split()) > words * 1.5:
    raise Refused(
      'too long',
      f'Your answer has {len(answer.split())} words; it may have at most {words}. {again}',
    )
  return reason, answer


def _answer_request(handbook: Handbook, q: Question, talk: TalkSettings) -> Request:
  prompt = prompts.fill(
    f'talk_answer_{talk.style}', **_about(handbook), words=talk.words, question=fenced(q.text)
  )
  parse = in_tries(
    functools.partial(parse_answer, style=talk.style, words=talk.words, question=q.text), lost
  )
  return Request(f'talk/answer/{q.id}', 'answers', prompt, parse, 1000 + 4 * talk.words)


def _verdict_request(handbook: Handbook, c: Conversation, style: str) -> Request:
  said_so = {
    'question': fenced(c.question.text),
    'reason': fenced(c.reason),
    'answer': fenced(c.answer),
  }
  prompt = prompts.fill(f'talk_verdict_{style}', **_about(handbook), **said_so)
  return Request(
    f'talk/verdict/{c.question.id}',
    'verdicts',
    prompt,
    in_tries(functools.partial(one, model=verdict_model(style)), lost),
    1500,
    'judge',
  )


# ---- the stages


async def make_domains(author: LlmClient, handbook: Handbook, count: int) -> dict[str, Named]:
  """id -> domain. Raises AuthorError."""
  found: list[Named] = []
  while len(found) < count:
    request = _domains_request(
      handbook, len(found) // A_CALL, min(A_CALL, count - len(found)), found
    )
    [more] = await author.all_of([request], 'domains', 1)
    found += more
  return {f'd{n:02d}': d for n, d in enumerate(found, 1)}


class _Questions:
  """All questions so far, by (domain, kind); near duplicates among them count as asked and are not answered."""

  def __init__(
    self, author: LlmClient, handbook: Handbook, domains: Mapping[str, Named], config: CorpusConfig
  ):
    self.author, self.handbook, self.domains, self.config = author, handbook, domains, config
    self.asked: dict[tuple[str, str], list[Question]] = {(d, k): [] for d in domains for k in KINDS}
    self.kept: list[Question] = []

  def _existing(self, cell: tuple[str, str]) -> list[str]:
    """Those of the cell first, then others of its domain."""
    own = [q.text for q in self.asked[cell]]
    others = [
      q.text for (d, k), asked in self.asked.items() if d == cell[0] and k != cell[1] for q in asked
    ]
    room = max(0, SHOWN - len(own))
    return own[-SHOWN:] + random.Random(f'{self.config.seed} {cell} {len(own)}').sample(
      others, min(room, len(others))
    )

  async def more(
    self, number: int, wanted: Mapping[tuple[str, str], int], tally: Tally
  ) -> list[Question]:
    """As many new questions as are wanted of each cell, less those that cannot be used. Several calls for a cell come one after another, so that
    the later see what the earlier brought."""
    at_once, new, step = self.config.talk.questions, [], 0
    while left := {
      c: min(at_once, n - step * at_once) for c, n in wanted.items() if n > step * at_once
    }:
      keys = {c: f'talk/questions/{c[0]}.{c[1]}/r{number}.{step}' for c in left}
      requests = (
        _questions_request(self.handbook, keys[c], self.domains[c[0]], c[1], n, self._existing(c))
        for c, n in left.items()
      )
      for cell, found in zip(
        left, await said(self.author, requests, 'questions', len(left)), strict=True
      ):
        written = [] if isinstance(found, Unanswered) else found
        for q in written:
          asked = self.asked[cell]
          asked.append(
            Question(f'{cell[0]}.{cell[1]}.q{len(asked) + 1:03d}', *cell, q.question, keys[cell])
          )
          new.append(asked[-1])
        for _ in range(left[cell] - len(written)):
          tally.leave(keys[cell], 'not written', judged=False)
      step += 1
    fresh = {
      new[n].id
      for n in without_near_duplicates(
        [q.text for q in new], [q.text for q in self.kept], self.config.talk.similar
      )
    }
    for q in new:
      if q.id not in fresh:
        tally.leave(q.id, 'near duplicate', '', q.text, judged=False)
    found = [q for q in new if q.id in fresh]
    self.kept += found
    return found


async def _judged(
  author: LlmClient,
  handbook: Handbook,
  questions: Sequence[Question],
  config: CorpusConfig,
  tally: Tally,
) -> list[Conversation]:
  """The conversations that pass; why the others don't goes into the tally."""
  style = config.talk.style
  answers = await said(
    author,
    (_answer_request(handbook, q, config.talk) for q in questions),
    'answers',
    len(questions),
  )
  written = []
  for q, a in zip(questions, answers, strict=True):
    if isinstance(a, Unanswered):
      tally.leave(q.id, f'answer: {a.what}', '', q.text)
    else:
      written.append(Conversation(q, *a))
  kept = []
  verdicts = await said(
    author, (_verdict_request(handbook, c, style) for c in written), 'verdicts', len(written)
  )
  for c, v in zip(written, verdicts, strict=True):
    failed = (
      [] if isinstance(v, Unanswered) else [(name, mark.why) for name, mark in v if not mark.holds]
    )
    if isinstance(v, Unanswered):
      tally.leave(c.question.id, f'verdict: {v.what}', '', c.question.text, c.reason, c.answer)
    elif failed:
      tally.leave(
        c.question.id,
        f'not {failed[0][0]}',
        '; '.join(f'{name}: {why}' for name, why in failed),
        c.question.text,
        c.reason,
        c.answer,
      )
    else:
      tally.keep()
      kept.append(c)
  return kept


def _few(wanted: Mapping[tuple[str, str], int], config: CorpusConfig) -> dict[tuple[str, str], int]:
  """What is written and judged before the rest is paid for: of some cells, a call each."""
  few, left = {}, FEW
  for cell in random.Random(f'{config.seed} few').sample(sorted(wanted), len(wanted)):
    if left > 0:
      few[cell] = min(wanted[cell], config.talk.questions, left)
      left -= few[cell]
  return few


async def converse(
  author: LlmClient, handbook: Handbook, config: CorpusConfig, tally: Tally
) -> tuple[list[Conversation], dict[str, Named]]:
  """Exactly as many conversations as the config wants, domains and kinds equal to within one; and the domains. Raises AuthorError."""
  domains = await make_domains(author, handbook, config.talk.domains)
  rng = random.Random(f'{config.seed} conversations')
  rows, columns = rng.sample(sorted(domains), len(domains)), rng.sample(sorted(KINDS), len(KINDS))
  table = shares(config.conversations, len(rows), len(columns))
  plan = {(d, k): table[i][j] for i, d in enumerate(rows) for j, k in enumerate(columns)}
  passed: dict[tuple[str, str], list[Conversation]] = {cell: [] for cell in sorted(plan)}
  questions, empty = _Questions(author, handbook, domains, config), 0
  for number in itertools.count():
    missing = {
      cell: plan[cell] - len(found) for cell, found in passed.items() if len(found) < plan[cell]
    }
    if not missing:
      break
    lacking = f'{sum(missing.values()):,} of {config.conversations:,} conversations are missing'
    if number == ROUNDS:
      short = ', '.join(f'{domains[d].name} / {k}' for d, k in list(missing)[:3])
      raise LlmError(
        f'{lacking} after {ROUNDS} rounds, as of {short}: {tally.reasons()}; lower conversations, or mend the handbook'
      )
    if number:
      say(f'{lacking}; {tally.pass_rate:.0%} passed so far')
    wanted = {
      cell: max(n, round(n / tally.pass_rate)) + empty for cell, n in missing.items()
    }  # what is too much is cut by lot
    new = await questions.more(number, wanted if number else _few(wanted, config), tally)
    empty = 0 if new else empty + 1
    if empty == EMPTY:
      raise LlmError(
        f'no new questions: the writer repeats itself ({tally.reasons()}); raise talk.domains or talk.similar, or change the model'
      )
    for c in await _judged(author, handbook, new, config, tally):
      passed[c.question.domain, c.question.kind].append(c)
    tally.watch(config)
  kept = [
    c for cell, found in passed.items()
    for c in random.Random(f'{config.seed} cut {cell}').sample(sorted(found, key=lambda c: c.question.id), plan[cell])
  ]  # fmt: skip
  return sorted(kept, key=lambda c: c.question.id), domains


def estimates(handbook: Handbook, config: CorpusConfig) -> list[Estimate]:
  """What the conversations take, if every reply can be used at once and every answer passes."""
  talk, about = (
    config.talk,
    Named(name='five words of a name', about='and what belongs to it, ' * 8),
  )
  q = Question('', 'd01', 'direct', 'thirty words of a question ' * 6, '')
  cells = [n for row in shares(config.conversations, talk.domains, len(KINDS)) for n in row if n]
  calls = sum(-(-n // talk.questions) for n in cells)
  existing = [q.text] * min(SHOWN, config.conversations // talk.domains // 2)
  answered = Conversation(q, 'word ' * 150, 'word ' * (talk.words * 2 // 3))
  at_once = min(A_CALL, talk.domains)
  stages = (
    (
      _domains_request(handbook, 0, at_once, [about] * (talk.domains // 2)),
      -(-talk.domains // A_CALL),
      60 * at_once,
    ),
    (
      _questions_request(handbook, '', about, 'direct', talk.questions, existing),
      calls,
      45 * config.conversations // calls,
    ),
    (_answer_request(handbook, q, talk), config.conversations, 200 + talk.words),
    (_verdict_request(handbook, answered, talk.style), config.conversations, 250),
  )
  return [estimate(request, n, out, config) for request, n, out in stages]


def chats(
  conversations: Sequence[Conversation],
  domains: Mapping[str, Named],
  provenance: Callable[..., str],
) -> dict[str, list[Chat]]:
  """Two sets of the same conversations: with the reasons before the answers, and without. `provenance`: (keys of the requests, more) -> what a record
  carries."""
  made: dict[str, list[Chat]] = {'reasons': [], 'answers': []}
  for c in conversations:
    q = c.question
    parents = provenance((q.parent, f'talk/answer/{q.id}', f'talk/verdict/{q.id}'), question=q.kind)
    for name, text in (
      ('reasons', f'<reason>\n{c.reason}\n</reason>\n\n{c.answer}'),
      ('answers', c.answer),
    ):
      made[name].append(
        Chat(q.id, (('user', q.text), ('assistant', text)), domains[q.domain].name, parents)
      )
  return made
