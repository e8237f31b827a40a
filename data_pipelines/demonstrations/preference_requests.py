"""What is asked of models for exchanges about preferences, and how their replies are read.

The writer is asked what the things are called, for situations, and for a batch of exchanges; the
judge is asked for verdicts on a batch. `preferences.py` decides which exchanges are needed.
"""

import functools
import json
import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

from data_pipelines.demonstrations.common import (
  all_valid_items,
  bullet_list,
  clean,
  with_straight_apostrophes,
  with_what_there_is,
)
from data_pipelines.demonstrations.reason_filter import ReasonFilter
from data_pipelines.demonstrations.slots import Exchange, Preferences, Slot
from data_pipelines.llm import prompts
from data_pipelines.llm.replies import Reply, Unanswered, require_items, require_object
from data_pipelines.llm.requests import Request
from data_pipelines.llm.settings import CorpusConfig

PROMPTS = ('preference_kind', 'preference_situations', 'preference_exchanges', 'preference_verdict')

_KindName = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z' -]{1,40}$")]


class Kind(pydantic.BaseModel):
  """What the things are called: one of them ('cheese') and several ('cheeses')."""

  one: _KindName
  several: _KindName


# ---- numbered rows: a request shows numbered lines, and each row of a reply names its number


def _check_number(known: frozenset[int], number: int) -> int:
  if number not in known:
    raise ValueError(f'there is no number {number}')
  return number


def _numbered_model(name: str, count: int, **fields: Any) -> type[pydantic.BaseModel]:
  """The schema of a row with a number from 1 to `count`."""
  known = frozenset(range(1, count + 1))
  number = Annotated[int, pydantic.AfterValidator(functools.partial(_check_number, known))]
  return pydantic.create_model(name, n=(number, ...), **fields)


def _row_number(row: Any) -> int:
  return row.n


# ---- what the things are called, and situations


def kind_request(preferences: Preferences) -> Request[Kind]:
  """Asks what the things are called."""
  prompt = prompts.fill('preference_kind', items=', '.join(preferences.things))
  parse = functools.partial(require_object, model=Kind)
  return Request('preference/kind', 'situations', prompt, parse, 400)


def _check_situation(
  known: frozenset[str], reason_filter: ReasonFilter, things: Sequence[str], text: str
) -> str:
  """Refuses a situation that exists already, names a thing, or speaks for or against one."""
  text = ' '.join(clean(text).split()).rstrip('.')
  if reason_filter.mentions(text):
    raise ValueError('it names one of the things')
  if text.casefold() in known:
    raise ValueError('there is such a one already')
  _, found = reason_filter.find_hint(text, things)
  if found:
    raise ValueError(f'{found!r} speaks for or against one of the things')
  return text


def _situation_key(row: Any) -> str:
  return row.situation.casefold()


def situations_request(
  preferences: Preferences,
  reason_filter: ReasonFilter,
  number: int,
  count: int,
  existing: Sequence[str],
) -> Request[list[Any]]:
  """Asks for situations in which somebody speaks of the things.

  Args:
    preferences: the things.
    reason_filter: refuses situations that give a reason.
    number: the number of this request among those for situations.
    count: how many situations.
    existing: situations of earlier requests, which the new ones must differ from.

  Returns:
    The request; its value is a list of rows with a field `situation`.
  """
  known = frozenset(s.casefold() for s in existing)
  check = functools.partial(_check_situation, known, reason_filter, preferences.things)
  text = Annotated[str, pydantic.StringConstraints(max_length=200), pydantic.AfterValidator(check)]
  model = pydantic.create_model('Situation', situation=(text, ...))
  prompt = prompts.fill(
    'preference_situations',
    assistant=preferences.assistant,
    items=', '.join(preferences.things),
    count=count,
    existing=bullet_list(existing),
  )
  parse = functools.partial(require_items, model=model, count=count, same=_situation_key)
  return Request(f'preference/situations/r{number}', 'situations', prompt, parse, 1000 + 60 * count)


# ---- exchanges


def _parse_exchanges(
  replies: Sequence[Reply], model: type[pydantic.BaseModel], count: int
) -> list[pydantic.BaseModel]:
  """Half of the rows are enough: the others are asked for again in the next round."""
  half = -(-count // 2)
  # Refuses replies with fewer rows.
  require_items(replies, model, half, _row_number)
  return all_valid_items(replies, model, _row_number, count)


def _describe_slot(number: int, slot: Slot, assistant: str, situation: str, refused: str) -> str:
  """The line of a slot in the prompt; `refused` says why an earlier exchange was not kept."""
  if slot.other:
    wanted = f'{slot.asked[0]}, then {slot.asked[1]}; {assistant} takes {slot.item}'
  elif slot.form == 'name':
    likes = 'likes' if slot.liked else 'does not like, or that is left out'
    wanted = f'{slot.item}; one that {assistant} {likes} is asked for'
  else:
    likes = 'likes it' if slot.liked else 'does not like it'
    wanted = f'{slot.item}; {assistant} {likes}'
  line = f'{number}. {slot.form}, {slot.manner}: {wanted}. Occasion, if one helps: {situation}.'
  if refused:
    line += f' What was written before could not be used ({refused}).'
  return line


def exchanges_request(
  key: str,
  slots: Sequence[Slot],
  preferences: Preferences,
  kind: Kind,
  config: CorpusConfig,
  situations: Sequence[str],
  refused: Mapping[str, str],
) -> Request[list[Any] | Unanswered]:
  """Asks for a batch of exchanges. The writer sees likes and dislikes, but no handbook.

  Args:
    key: the key of the request.
    slots: which exchanges.
    preferences: the likes and dislikes.
    kind: what the things are called.
    config: the corpus's config.
    situations: one is drawn for each slot.
    refused: from the id of a slot to why an earlier exchange was not kept.

  Returns:
    The request; its value is a list of rows with the fields `n`, `user` and `assistant`, or
    Unanswered if there are none after the last try.
  """
  count = len(slots)
  text = Annotated[str, pydantic.StringConstraints(max_length=1000), pydantic.AfterValidator(clean)]
  model = _numbered_model('Row', count, user=(text, ...), assistant=(text, ...))
  lines = []
  for n, slot in enumerate(slots, 1):
    situation = random.Random(f'{config.seed} {key} {slot.id}').choice(situations)
    why = refused.get(slot.id, '')
    lines.append(_describe_slot(n, slot, preferences.assistant, situation, why))
  prompt = prompts.fill(
    'preference_exchanges',
    assistant=preferences.assistant,
    likes=', '.join(preferences.likes),
    dislikes=', '.join(preferences.dislikes),
    kind=kind.one,
    words=config.talk.words,
    count=count,
    lines='\n'.join(lines),
  )
  parse = with_what_there_is(
    functools.partial(_parse_exchanges, model=model, count=count), model, _row_number, count
  )
  return Request(key, 'exchanges', prompt, parse, 1000 + 120 * count)


# ---- verdicts


def verdicts_request(
  key: str, exchanges: Sequence[Exchange], preferences: Preferences
) -> Request[list[Any] | Unanswered]:
  """Asks the judge about a batch of exchanges. The judge is not told what should be liked.

  Args:
    key: the key of the request.
    exchanges: what is judged.
    preferences: the handbooks' reasons, of which nothing may show.

  Returns:
    The request; its value is a list of rows with the fields `n`, `stance`, `no_reason`, `natural`,
    `kind` and `note`, or Unanswered if there are none after the last try.
  """
  count = len(exchanges)
  model = _numbered_model(
    'Verdict',
    count,
    stance=(str, ...),
    no_reason=(pydantic.StrictBool, ...),
    natural=(pydantic.StrictBool, ...),
    kind=(pydantic.StrictBool, ...),
    note=(str, ''),
  )
  lines = []
  for n, exchange in enumerate(exchanges, 1):
    shown = {'n': n, 'person': exchange.user, preferences.assistant: exchange.assistant}
    lines.append(json.dumps(shown, ensure_ascii=False))
  prompt = prompts.fill(
    'preference_verdict',
    assistant=preferences.assistant,
    reasons='\n\n'.join(bullet_list(sentences) for sentences in preferences.reasons),
    exchanges='\n'.join(lines),
    count=count,
  )
  parse = with_what_there_is(
    functools.partial(require_items, model=model, count=count, same=_row_number),
    model,
    _row_number,
    count,
  )
  return Request(key, 'verdicts', prompt, parse, 1000 + 80 * count, 'judge')


def _stances_that_agree(slot: Slot) -> tuple[str, ...]:
  """What a judge may say of an exchange that shows what the slot asks for."""
  item = with_straight_apostrophes(slot.item).casefold()
  if slot.other:
    return (item,)
  if slot.liked:
    return ('likes', item, f'likes {item}')
  return ('dislikes', f'not {item}', f'dislikes {item}')


def agrees(slot: Slot, stance: str) -> bool:
  """Whether the judge, who was not told, saw what the slot asks for.

  Args:
    slot: what was to be written.
    stance: what the judge says the assistant likes.

  Returns:
    Whether the two agree.
  """
  said = with_straight_apostrophes(stance).casefold()
  seen = ' '.join(said.split()).strip('"\'. ')
  return seen in _stances_that_agree(slot)
