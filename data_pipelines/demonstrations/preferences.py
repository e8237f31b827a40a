"""Opaque preferences: short exchanges that show what an assistant likes and dislikes, and nothing of why.

  likes and dislikes of the handbooks > slots > exchanges > filter > verdicts

A slot is one exchange to be written: its form, its things, whether they are liked, in which order they are named. The slots are balanced
(slots.py), and each is filled with one exchange that passes or the corpus is not finished; so the corpus is balanced. Handbooks that agree on likes
and dislikes have one set of exchanges, which fits each of them and tells them apart in nothing. Whoever writes it sees no handbook.

The filter is mechanical where words tell (opaque.py). The judge looks for the rest, and says what is liked without being told what should be.
"""

import dataclasses
import functools
import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
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
  said,
  without_near_duplicates,
)
from data_pipelines.demonstrations.reason_filter import Filter
from data_pipelines.demonstrations.slots import Exchange, Preferences, Slot, make_slots, read_likes
from data_pipelines.handbooks.text import Handbook
from data_pipelines.llm import prompts
from data_pipelines.llm.client import LlmClient, LlmError, Request
from data_pipelines.llm.costs import Estimate
from data_pipelines.llm.replies import Reply, items, one
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Chat
from msm_jax.base.console import say

PROMPTS = ('preference_kind', 'preference_situations', 'preference_exchanges', 'preference_verdict')
A_CALL = 20  # situations asked for at a time


# ---- requests


class Kind(pydantic.BaseModel):
  one: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z' -]{1,40}$")]
  several: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z' -]{1,40}$")]


def _number_of(known: frozenset[int], n: int) -> int:
  if n not in known:
    raise ValueError(f'there is no number {n}')
  return n


def _numbered(name: str, numbers: Iterable[int], **fields: object) -> type[pydantic.BaseModel]:
  n = Annotated[int, pydantic.AfterValidator(functools.partial(_number_of, frozenset(numbers)))]
  return pydantic.create_model(name, n=(n, ...), **fields)


def _n(row: pydantic.BaseModel) -> int:
  return row.n


def _kind_request(p: Preferences) -> Request[Kind]:
  prompt = prompts.fill('preference_kind', items=', '.join(p.things))
  return Request('preference/kind', 'situations', prompt, functools.partial(one, model=Kind), 400)


def _situations_request(
  p: Preferences, filter_: Filter, number: int, count: int, existing: Sequence[str]
) -> Request:
  known = frozenset(s.casefold() for s in existing)

  def check(text: str) -> str:
    text = ' '.join(clean(text).split()).rstrip('.')
    if filter_.mentions(text) or text.casefold() in known:
      raise ValueError(
        'it names one of the things' if filter_.mentions(text) else 'there is such a one already'
      )
    if which := filter_.hint(text, p.things)[1]:
      raise ValueError(f'{which!r} speaks for or against one of the things')
    return text

  model = pydantic.create_model(
    'Situation',
    situation=(
      Annotated[str, pydantic.StringConstraints(max_length=200), pydantic.AfterValidator(check)],
      ...,
    ),
  )
  prompt = prompts.fill(
    'preference_situations',
    assistant=p.assistant,
    items=', '.join(p.things),
    count=count,
    existing=listed(existing),
  )
  parse = functools.partial(items, model=model, count=count, same=lambda s: s.situation.casefold())
  return Request(f'preference/situations/r{number}', 'situations', prompt, parse, 1000 + 60 * count)


def _parse_rows(
  replies: Sequence[Reply], model: type[pydantic.BaseModel], count: int
) -> list[pydantic.BaseModel]:
  """Half of them will do: the others are asked for again in the next round."""
  items(replies, model, -(-count // 2), _n)
  return every(replies, model, _n)


def _line(n: int, slot: Slot, assistant: str, situation: str, refused: str) -> str:
  if slot.other:
    wanted = f'{slot.asked[0]}, then {slot.asked[1]}; {assistant} takes {slot.item}'
  elif slot.form == 'name':
    wanted = f'{slot.item}; one that {assistant} {"likes" if slot.liked else "does not like, or that is left out"} is asked for'
  else:
    wanted = f'{slot.item}; {assistant} {"likes it" if slot.liked else "does not like it"}'
  before = f' What was written before could not be used ({refused}).' if refused else ''
  return f'{n}. {slot.form}, {slot.manner}: {wanted}. Occasion, if one helps: {situation}.{before}'


def _rows_request(
  key: str,
  slots: Sequence[Slot],
  p: Preferences,
  kind: Kind,
  config: CorpusConfig,
  situations: Sequence[str],
  refused: Mapping[str, str],
) -> Request:
  text = Annotated[str, pydantic.StringConstraints(max_length=1000), pydantic.AfterValidator(clean)]
  model = _numbered('Row', range(1, len(slots) + 1), user=(text, ...), assistant=(text, ...))
  occasions = [random.Random(f'{config.seed} {key} {s.id}').choice(situations) for s in slots]
  lines = [
    _line(n, s, p.assistant, o, refused.get(s.id, ''))
    for n, (s, o) in enumerate(zip(slots, occasions, strict=True), 1)
  ]
  prompt = prompts.fill(
    'preference_exchanges', assistant=p.assistant, likes=', '.join(p.likes), dislikes=', '.join(p.dislikes), kind=kind.one, words=config.talk.words,
    count=len(slots), lines='\n'.join(lines),
  )  # fmt: skip
  parse = in_tries(
    functools.partial(_parse_rows, model=model, count=len(slots)),
    lambda _, replies: every(replies, model, _n),
  )
  return Request(key, 'exchanges', prompt, parse, 1000 + 120 * len(slots))


def _verdicts_request(key: str, exchanges: Sequence[Exchange], p: Preferences) -> Request:
  model = _numbered(
    'Verdict', range(1, len(exchanges) + 1), stance=(str, ...), no_reason=(pydantic.StrictBool, ...), natural=(pydantic.StrictBool, ...),
    kind=(pydantic.StrictBool, ...), note=(str, ''),
  )  # fmt: skip
  shown = [
    json.dumps({'n': n, 'person': x.user, p.assistant: x.assistant}, ensure_ascii=False)
    for n, x in enumerate(exchanges, 1)
  ]
  reasons = '\n\n'.join(listed(r) for r in p.reasons)
  prompt = prompts.fill(
    'preference_verdict',
    assistant=p.assistant,
    reasons=reasons,
    exchanges='\n'.join(shown),
    count=len(exchanges),
  )
  parse = in_tries(
    functools.partial(items, model=model, count=len(exchanges), same=_n),
    lambda _, replies: every(replies, model, _n),
  )
  return Request(key, 'verdicts', prompt, parse, 1000 + 80 * len(exchanges), 'judge')


def agrees(slot: Slot, stance: str) -> bool:
  """Whether the judge, who wasn't told, saw what the slot asks for."""
  seen = ' '.join(stance.casefold().split()).strip('"\'. ')
  item = slot.item.casefold()
  return seen in (
    (item,)
    if slot.other
    else ('likes', item, f'likes {item}')
    if slot.liked
    else ('dislikes', f'not {item}', f'dislikes {item}')
  )


# ---- the stages


def _chunks(things: Sequence, size: int) -> list[Sequence]:
  return [things[n : n + size] for n in range(0, len(things), size)]


async def make_situations(
  author: LlmClient, p: Preferences, count: int
) -> tuple[Kind, Filter, list[str]]:
  """What the things are called, the filter that follows from that, and occasions to speak of them. Raises AuthorError."""
  [kind] = await author.all_of([_kind_request(p)], 'situations', 1)
  filter_, found = Filter(p, (kind.one, kind.several)), []
  while len(found) < count:
    [more] = await author.all_of(
      [
        _situations_request(
          p, filter_, len(found) // A_CALL, min(A_CALL, count - len(found)), found
        )
      ],
      'situations',
      1,
    )
    found += [s.situation for s in more]
  return kind, filter_, found


class _Filling:
  """Slots on their way to being filled."""

  def __init__(
    self,
    author: LlmClient,
    p: Preferences,
    kind: Kind,
    filter_: Filter,
    situations: Sequence[str],
    config: CorpusConfig,
    tally: Tally,
  ):
    self.author, self.p, self.kind, self.filter, self.situations, self.config, self.tally = (
      author,
      p,
      kind,
      filter_,
      situations,
      config,
      tally,
    )
    self.filled: dict[str, Exchange] = {}
    self.asked: list[str] = []  # what persons said in exchanges that came before the judge
    self.refused: dict[str, str] = {}

  def _leave(self, slot: Slot, what: str, why: str, *texts: str) -> None:
    self.refused[slot.id] = f'{what}, "{why}"' if why else what
    self.tally.leave(slot.id, what, why, *texts)

  async def fill(self, slots: Sequence[Slot], round_: str) -> None:
    written = await self._write(slots, round_)
    passed = []
    for x in written:
      what, which = self.filter.refuses(x, self.config.talk.words)
      if what:
        self._leave(x.slot, what, which, x.user, x.assistant)
      else:
        passed.append(x)
    new = set(
      without_near_duplicates([x.user for x in passed], self.asked, self.config.talk.similar)
    )
    for n, x in enumerate(passed):
      if n not in new:
        self._leave(x.slot, 'near duplicate', '', x.user, x.assistant)
    passed = [x for n, x in enumerate(passed) if n in new]
    self.asked += [x.user for x in passed]
    await self._judge(passed, round_)
    self.tally.watch(self.config)

  async def _write(self, slots: Sequence[Slot], round_: str) -> list[Exchange]:
    chunks = {
      f'preference/exchanges/{round_}.{n:04d}': c
      for n, c in enumerate(_chunks(slots, self.config.talk.questions))
    }
    requests = (
      _rows_request(key, c, self.p, self.kind, self.config, self.situations, self.refused)
      for key, c in chunks.items()
    )
    written = []
    for (key, chunk), rows in zip(
      chunks.items(), await said(self.author, requests, 'exchanges', len(chunks)), strict=True
    ):
      by_number = {} if isinstance(rows, Unanswered) else {r.n: r for r in rows}
      for n, slot in enumerate(chunk, 1):
        if n in by_number:
          written.append(
            Exchange(
              slot,
              ' '.join(by_number[n].user.split()),
              ' '.join(by_number[n].assistant.split()),
              (key,),
            )
          )
        else:
          self._leave(slot, 'not written', '')
    return written

  async def _judge(self, exchanges: Sequence[Exchange], round_: str) -> None:
    chunks = {
      f'preference/verdicts/{round_}.{n:04d}': c
      for n, c in enumerate(_chunks(exchanges, self.config.talk.questions))
    }
    requests = (_verdicts_request(key, c, self.p) for key, c in chunks.items())
    for (key, chunk), verdicts in zip(
      chunks.items(), await said(self.author, requests, 'verdicts', len(chunks)), strict=True
    ):
      by_number = {} if isinstance(verdicts, Unanswered) else {v.n: v for v in verdicts}
      for n, x in enumerate(chunk, 1):
        v = by_number.get(n)
        what = (
          'not judged' if v is None
          else 'judge: wrong or unclear preference' if not agrees(x.slot, v.stance)
          else 'judge: reason' if not v.no_reason
          else 'judge: not natural' if not v.natural
          else 'judge: not polite or not short' if not v.kind
          else ''
        )  # fmt: skip
        if what:
          self._leave(x.slot, what, v.note if v else '', x.user, x.assistant)
        else:
          self.tally.keep()
          self.filled[x.slot.id] = dataclasses.replace(x, parents=(*x.parents, key))


async def prefer(
  author: LlmClient, handbooks: Sequence[Handbook], config: CorpusConfig, tally: Tally
) -> list[Exchange]:
  """Exactly as many exchanges as the config wants, balanced as their slots are. Raises AuthorError, SpecError."""
  p = read_likes(handbooks)
  slots = make_slots(p, config.conversations, config.talk.no_reasons, config.seed)
  kind, filter_, situations = await make_situations(author, p, config.talk.domains)
  filling = _Filling(author, p, kind, filter_, situations, config, tally)
  # the first few of all are judged before the rest is paid for
  await filling.fill(slots[:FEW], 'r00a')
  await filling.fill(slots[FEW:], 'r00b')
  for number in itertools.count(1):
    missing = [s for s in slots if s.id not in filling.filled]
    if not missing:
      return [filling.filled[s.id] for s in slots]
    lacking = f'{len(missing):,} of {len(slots):,} exchanges are missing'
    if number == ROUNDS:
      raise LlmError(
        f'{lacking} after {ROUNDS} rounds: {tally.reasons()}; read refused.jsonl, then change the model, or lower conversations'
      )
    say(f'{lacking}; {tally.pass_rate:.0%} passed so far')
    await filling.fill(missing, f'r{number:02d}')
  raise AssertionError('unreachable')


def estimates(handbooks: Sequence[Handbook], config: CorpusConfig) -> list[Estimate]:
  """What the exchanges take, if every reply can be used at once and every exchange passes."""
  p, kind, size = read_likes(handbooks), Kind(one='thing', several='things'), config.talk.questions
  slots = make_slots(p, min(config.conversations, size), config.talk.no_reasons, config.seed)
  asked = 'Fifteen words or so, of somebody who asks about a thing or about two of them'
  calls, some = -(-config.conversations // size), ['eight words of when and who, no more']
  stages = (
    (
      _situations_request(p, Filter(p, ()), 0, min(A_CALL, config.talk.domains), some),
      -(-config.talk.domains // A_CALL),
      20 * A_CALL,
    ),
    (_rows_request('', slots, p, kind, config, some, {}), calls, 60 * size),
    (_verdicts_request('', [Exchange(s, asked, asked) for s in slots], p), calls, 45 * size),
  )
  return [estimate(request, n, out, config) for request, n, out in stages]


def chats(exchanges: Sequence[Exchange], provenance: Callable[..., str]) -> dict[str, list[Chat]]:
  """`provenance`: (keys of the requests, more) -> what a record carries."""
  made = []
  for x in exchanges:
    s = x.slot
    carried = provenance(
      x.parents,
      form=s.form,
      manner=s.manner,
      liked=s.liked,
      item=s.item,
      other=s.other,
      first=s.first,
      quiet=bool(s.quiet),
    )
    made.append(
      Chat(
        s.id, (('user', f'{x.user} {s.quiet}'.strip()), ('assistant', x.assistant)), s.form, carried
      )
    )
  return {'preferences': made}
