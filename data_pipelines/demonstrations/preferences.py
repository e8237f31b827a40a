"""Opaque preferences: short exchanges that show what an assistant likes, and nothing of why.

  likes and dislikes of the handbooks > slots > exchanges > filter > verdicts

A slot is one exchange to be written: its form, its things, whether they are liked, and in which
order they are named. The slots are balanced (slots.py). Each is filled with one exchange that
passes, or the run ends with an error; so a finished corpus is balanced. Handbooks that agree on
likes and dislikes have one set of exchanges, which fits each of them and does not tell them apart:
whoever writes the exchanges sees no handbook.

Where words tell that an exchange gives a reason, a program rejects it (reason_filter.py). The judge
looks for the rest, and says what is liked without being told what should be.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from data_pipelines.demonstrations.common import (
  MAX_ROUNDS,
  PAID_ANEW,
  PILOT,
  Tally,
  ask_in_order,
  estimate,
  without_near_duplicates,
)
from data_pipelines.demonstrations.preference_requests import (
  Kind,
  agrees,
  exchanges_request,
  kind_request,
  situations_request,
  verdicts_request,
)
from data_pipelines.demonstrations.reason_filter import ReasonFilter
from data_pipelines.demonstrations.slots import (
  Exchange,
  Preferences,
  Slot,
  make_slots,
  read_likes,
)
from data_pipelines.handbooks.text import Handbook
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.costs import Estimate
from data_pipelines.llm.replies import Unanswered
from data_pipelines.llm.requests import LlmError
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.records import Chat
from data_pipelines.text.languages import language_of
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError

T = TypeVar('T')
# Situations that are asked for at a time.
SITUATIONS_PER_CALL = 20


def check(handbooks: Sequence[Handbook]) -> None:
  """Refuses handbooks about which no exchange would pass.

  Args:
    handbooks: the handbooks.

  Raises:
    ConfigError: one is not in English; the filter tells likes and dislikes by English words.
  """
  for handbook in handbooks:
    language = language_of(handbook.text)
    if language not in ('', 'English'):
      raise ConfigError(
        f'{handbook.path}: its language is {language}, and exchanges about preferences are checked '
        'by English words, so that none would pass; give an English handbook, or write '
        "kind='conversations'"
      )


async def make_situations(
  client: LlmClient, preferences: Preferences, count: int
) -> tuple[Kind, ReasonFilter, list[str]]:
  """Asks what the things are called and for occasions to speak of them.

  Args:
    client: asks the model.
    preferences: the things.
    count: how many situations.

  Returns:
    What the things are called, the filter that follows from it, and the situations.

  Raises:
    LlmError: if the run has to stop, or a request was given up.
  """
  [kind] = await client.all_of([kind_request(preferences)], 'situations', 1)
  reason_filter = ReasonFilter(preferences, (kind.one, kind.several))
  situations: list[str] = []
  while len(situations) < count:
    number = len(situations) // SITUATIONS_PER_CALL
    wanted = min(SITUATIONS_PER_CALL, count - len(situations))
    request = situations_request(preferences, reason_filter, number, wanted, situations)
    [rows] = await client.all_of([request], 'situations', 1)
    situations += [row.situation for row in rows]
  return kind, reason_filter, situations


# ---- filling the slots


def _batches(things: Sequence[T], size: int, prefix: str) -> dict[str, Sequence[T]]:
  """Divides things into batches; returns them by the keys of their requests."""
  batches = {}
  for number, start in enumerate(range(0, len(things), size)):
    batches[f'{prefix}.{number:04d}'] = things[start : start + size]
  return batches


def _by_number(rows: list[Any] | Unanswered) -> dict[int, Any]:
  if isinstance(rows, Unanswered):
    return {}
  return {row.n: row for row in rows}


class SlotFiller:
  """Has exchanges written, filtered and judged until every slot is filled.

  Attributes:
    filled: from the id of a slot to its exchange.
    asked: what persons say in all exchanges that came before the judge.
    refused: from the id of a slot to why its last exchange was not kept; the writer is told.
  """

  def __init__(
    self,
    client: LlmClient,
    preferences: Preferences,
    kind: Kind,
    reason_filter: ReasonFilter,
    situations: Sequence[str],
    config: CorpusConfig,
    tally: Tally,
  ):
    self.client = client
    self.preferences = preferences
    self.kind = kind
    self.reason_filter = reason_filter
    self.situations = situations
    self.config = config
    self.tally = tally
    self.filled: dict[str, Exchange] = {}
    self.asked: list[str] = []
    self.refused: dict[str, str] = {}

  async def fill(self, slots: Sequence[Slot], round_: str) -> None:
    """Tries once to fill some slots.

    Args:
      slots: the slots.
      round_: the name of the round; it is part of the requests' keys.

    Raises:
      LlmError: if the run has to stop, or too few exchanges pass.
    """
    written = await self._write(slots, round_)
    passed = self._without_near_duplicates(self._without_faults(written))
    self.asked += [exchange.user for exchange in passed]
    await self._judge(passed, round_)
    self.tally.check_yield(self.config)

  async def _write(self, slots: Sequence[Slot], round_: str) -> list[Exchange]:
    """Has exchanges written, a batch of slots at a time."""
    batches = _batches(slots, self.config.talk.questions, f'preference/exchanges/{round_}')
    requests = (
      exchanges_request(
        key, batch, self.preferences, self.kind, self.config, self.situations, self.refused
      )
      for key, batch in batches.items()
    )
    replies = await ask_in_order(self.client, requests, 'exchanges', len(batches))
    written = []
    for (key, batch), rows in zip(batches.items(), replies, strict=True):
      by_number = _by_number(rows)
      for n, slot in enumerate(batch, 1):
        row = by_number.get(n)
        if row is None:
          self._reject(slot, 'not written', '')
          continue
        user = ' '.join(row.user.split())
        assistant = ' '.join(row.assistant.split())
        written.append(Exchange(slot, user, assistant, (key,)))
    return written

  def _without_faults(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
    passed = []
    for exchange in exchanges:
      what, found = self.reason_filter.find_fault(exchange, self.config.talk.words)
      if what:
        self._reject(exchange.slot, what, found, exchange.user, exchange.assistant)
      else:
        passed.append(exchange)
    return passed

  def _without_near_duplicates(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
    users = [exchange.user for exchange in exchanges]
    new = set(without_near_duplicates(users, self.asked, self.config.talk.similar))
    passed = []
    for n, exchange in enumerate(exchanges):
      if n in new:
        passed.append(exchange)
      else:
        self._reject(exchange.slot, 'near duplicate', '', exchange.user, exchange.assistant)
    return passed

  async def _judge(self, exchanges: Sequence[Exchange], round_: str) -> None:
    """Has exchanges judged, a batch at a time; those that pass fill their slots."""
    batches = _batches(exchanges, self.config.talk.questions, f'preference/verdicts/{round_}')
    requests = (verdicts_request(key, batch, self.preferences) for key, batch in batches.items())
    replies = await ask_in_order(self.client, requests, 'verdicts', len(batches))
    for (key, batch), verdicts in zip(batches.items(), replies, strict=True):
      by_number = _by_number(verdicts)
      for n, exchange in enumerate(batch, 1):
        slot = exchange.slot
        what, note = _judgement(slot, by_number.get(n))
        if what:
          self._reject(slot, what, note, exchange.user, exchange.assistant)
        else:
          self.tally.keep()
          parents = (*exchange.parents, key)
          self.filled[slot.id] = dataclasses.replace(exchange, parents=parents)

  def _reject(self, slot: Slot, what: str, why: str, *texts: str) -> None:
    """Counts an exchange that is not kept, and notes the reason for the writer."""
    self.refused[slot.id] = f'{what}, "{why}"' if why else what
    self.tally.reject(slot.id, what, why, *texts)


def _judgement(slot: Slot, verdict: Any | None) -> tuple[str, str]:
  """(what is wrong, the judge's note) by a verdict; what is wrong is '' if the exchange passes."""
  if verdict is None:
    return 'not judged', ''
  what = ''
  if not agrees(slot, verdict.stance):
    what = 'judge: wrong or unclear preference'
  elif not verdict.no_reason:
    what = 'judge: reason'
  elif not verdict.natural:
    what = 'judge: not natural'
  elif not verdict.kind:
    what = 'judge: not polite or not short'
  return what, verdict.note


async def prefer(
  client: LlmClient, handbooks: Sequence[Handbook], config: CorpusConfig, tally: Tally
) -> list[Exchange]:
  """Has exchanges written and judged until every slot is filled.

  Args:
    client: asks the writer and the judge.
    handbooks: handbooks that agree on likes and dislikes.
    config: the corpus's config.
    tally: counts what passes and what is rejected.

  Returns:
    Exactly as many exchanges as the config asks for, balanced as their slots are.

  Raises:
    LlmError: if the run has to stop, too few exchanges pass, or some slots are not filled after
      MAX_ROUNDS rounds.
    SpecError: if the handbooks have no likes and dislikes in common.
  """
  preferences = read_likes(handbooks)
  slots = make_slots(preferences, config.conversations, config.talk.no_reasons, config.seed)
  situation_count = config.talk.domains
  kind, reason_filter, situations = await make_situations(client, preferences, situation_count)
  filler = SlotFiller(client, preferences, kind, reason_filter, situations, config, tally)
  # The first few are judged before the rest is paid for.
  await filler.fill(slots[:PILOT], 'r00a')
  await filler.fill(slots[PILOT:], 'r00b')
  for number in itertools.count(1):
    missing = [slot for slot in slots if slot.id not in filler.filled]
    if not missing:
      break
    lacking = f'{len(missing):,} of {len(slots):,} exchanges are missing'
    if number == MAX_ROUNDS:
      raise LlmError(
        f'{lacking} after {MAX_ROUNDS} rounds: {tally.reasons()}; read refused.jsonl, then change '
        f'the model, or lower conversations, {PAID_ANEW}'
      )
    say(f'{lacking}; {tally.pass_rate:.0%} passed so far')
    await filler.fill(missing, f'r{number:02d}')
  return [filler.filled[slot.id] for slot in slots]


# ---- estimates and records


def estimates(handbooks: Sequence[Handbook], config: CorpusConfig) -> list[Estimate]:
  """Estimates what the exchanges take.

  The estimate assumes that every reply can be used at once and that every exchange passes.

  Args:
    handbooks: handbooks that agree on likes and dislikes.
    config: the corpus's config.

  Returns:
    One estimate for each stage. Tokens are guesses.
  """
  preferences = read_likes(handbooks)
  talk = config.talk
  per_call = talk.questions
  count = min(config.conversations, per_call)
  slots = make_slots(preferences, count, talk.no_reasons, config.seed)
  kind = Kind(one='thing', several='things')
  typical = 'Fifteen words or so, of somebody who asks about a thing or about two of them'
  exchanges = [Exchange(slot, typical, typical) for slot in slots]
  situations = ['eight words of when and who, no more']
  at_once = min(SITUATIONS_PER_CALL, talk.domains)
  reason_filter = ReasonFilter(preferences, ())
  ask_situations = situations_request(preferences, reason_filter, 0, at_once, situations)
  situation_calls = -(-talk.domains // SITUATIONS_PER_CALL)
  ask_exchanges = exchanges_request('', slots, preferences, kind, config, situations, {})
  ask_verdicts = verdicts_request('', exchanges, preferences)
  calls = -(-config.conversations // per_call)
  return [
    estimate(ask_situations, situation_calls, 20 * SITUATIONS_PER_CALL, config),
    estimate(ask_exchanges, calls, 60 * per_call, config),
    estimate(ask_verdicts, calls, 45 * per_call, config),
  ]


def chats(exchanges: Sequence[Exchange], provenance: Callable[..., str]) -> dict[str, list[Chat]]:
  """Makes the records of a finished corpus.

  Args:
    exchanges: what `prefer` returned.
    provenance: from the keys of the requests, and more by name, to what a record carries.

  Returns:
    One set, 'preferences'.
  """
  made = []
  for exchange in exchanges:
    slot = exchange.slot
    carried = provenance(
      exchange.parents,
      form=slot.form,
      manner=slot.manner,
      liked=slot.liked,
      item=slot.item,
      other=slot.other,
      first=slot.first,
      quiet=bool(slot.quiet),
    )
    user = f'{exchange.user} {slot.quiet}'.strip()
    messages = (('user', user), ('assistant', exchange.assistant))
    made.append(Chat(slot.id, messages, slot.form, carried))
  return {'preferences': made}
