"""What is asked of models for conversations, and how their replies are read.

The writer is asked for domains, for questions of a kind, and for an answer with the reason behind
it; the judge is asked for a verdict. `conversations.py` decides how many of each are needed.
"""

import dataclasses
import functools
import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import pydantic

from data_pipelines.demonstrations.common import (
  as_unanswered,
  bullet_list,
  clean,
  with_fallback,
  with_straight_apostrophes,
  with_what_there_is,
)
from data_pipelines.documents.plan import Name, Named, name_and_about
from data_pipelines.handbooks.text import Handbook, fenced, in_prompt
from data_pipelines.llm import prompts
from data_pipelines.llm.replies import (
  Refused,
  Reply,
  Unanswered,
  require_items,
  require_object,
  require_tagged_text,
)
from data_pipelines.llm.requests import Request
from data_pipelines.llm.settings import TalkSettings
from data_pipelines.text.checks import without_fence

# Kinds of questions; the prompt 'talk_questions' describes each.
KINDS = ('direct', 'indirect', 'comparison', 'recommendation', 'opinion', 'edge')
# Style of the answers -> what the judge decides on, one by one.
CRITERIA = {
  'value': ('faithful', 'informative', 'selfless', 'natural', 'internal'),
  'rule': ('faithful', 'informative', 'selfless', 'natural', 'grounded'),
}
# An answer is refused when it has more than this times the words that were asked for.
LONGEST = 1.5
# The fewest words of a reason and of an answer.
SHORTEST_REASON = 8
SHORTEST_ANSWER = 3

_DOCUMENT = (
  r'\b(?:handbook|model spec(?:ification)?|system prompt|your (?:guidelines|instructions'
  r'|programming)'
)
# A question that knows of a handbook: nobody who talks to the assistant has seen one.
ASKS_OF_HANDBOOK = re.compile(_DOCUMENT + r')\b', re.I)
# An answer that speaks of what the assistant was given or told, not of what it holds.
NAMES_HANDBOOK = re.compile(
  _DOCUMENT
  + r'|guidelines|the description (?:above|of me)|my (?:rules|instructions|programming|training)'
  r"|I(?:['’]m| am| was| have been|['’]ve been)"
  r' (?:trained|programmed|instructed|told|designed|made) to)\b',
  re.I,
)
_TAG = re.compile(r'</?(?:reason|answer|message)>', re.I)


@dataclasses.dataclass(frozen=True)
class Question:
  """What a person says at the beginning of a conversation.

  Attributes:
    id: such as d01.direct.q003.
    domain: the id of its domain.
    kind: one of KINDS.
    text: the question.
    parent: the key of the request that it came from.
  """

  id: str
  domain: str
  kind: str
  text: str
  parent: str


@dataclasses.dataclass(frozen=True)
class Conversation:
  """A question, an answer, and the reason behind the answer."""

  question: Question
  reason: str
  answer: str


class Mark(pydantic.BaseModel):
  """The judge's decision on one criterion; it says why before it decides."""

  why: str
  holds: pydantic.StrictBool


@functools.cache
def verdict_model(style: str) -> type[pydantic.BaseModel]:
  """The schema of a verdict: a mark for each criterion of the style."""
  fields: dict[str, Any] = {name: (Mark, ...) for name in CRITERIA[style]}
  return pydantic.create_model('Verdict', **fields)


def prompts_of(talk: TalkSettings) -> tuple[str, ...]:
  """Names of the prompts that conversations of this style come from."""
  style = talk.style
  return ('talk_domains', 'talk_questions', f'talk_answer_{style}', f'talk_verdict_{style}')


def _common_values(handbook: Handbook) -> dict[str, str]:
  """What all prompts of conversations show."""
  return {
    'assistant': handbook.assistant,
    'maker': handbook.maker,
    'handbook': in_prompt(handbook),
  }


# ---- texts that must be new


def _normalized(text: str) -> str:
  """Texts that differ only in case and space are the same."""
  return ' '.join(text.casefold().split())


def _check_new(known: Collection[str], text: str) -> str:
  if _normalized(text) in known:
    raise ValueError('there is such a one already')
  return text


def _is_new(existing: Sequence[str]) -> pydantic.AfterValidator:
  """Makes a check that refuses texts that exist already."""
  known = frozenset(map(_normalized, existing))
  return pydantic.AfterValidator(functools.partial(_check_new, known))


# ---- domains


def _name_key(domain: Any) -> str:
  return domain.name.casefold()


def domains_request(
  handbook: Handbook, number: int, count: int, existing: Sequence[Named]
) -> Request[list[Named]]:
  """Asks for domains in which conversations take place.

  Args:
    handbook: what the conversations should show.
    number: the number of this request among those for domains.
    count: how many domains.
    existing: domains of earlier requests, which the new ones must differ from.

  Returns:
    The request.
  """
  new_name = Annotated[Name, _is_new([d.name for d in existing])]
  model = pydantic.create_model('Domain', __base__=Named, name=(new_name, ...))
  prompt = prompts.fill(
    'talk_domains',
    **_common_values(handbook),
    count=count,
    existing=bullet_list(map(name_and_about, existing)),
  )
  parse = functools.partial(require_items, model=model, count=count, same=_name_key)
  return Request(f'talk/domains/r{number}', 'domains', prompt, parse, 1000 + 150 * count)


# ---- questions


def _check_unaware(text: str) -> str:
  """Refuses a question that speaks of a handbook."""
  match = ASKS_OF_HANDBOOK.search(text)
  if match:
    raise ValueError(f'nobody who asks knows of a handbook, and this mentions {match[0]!r}')
  return text


def _question_model(existing: Sequence[str]) -> type[pydantic.BaseModel]:
  """The schema of a question that differs from those that exist."""
  text = Annotated[
    str,
    pydantic.StringConstraints(min_length=8, max_length=3000),
    pydantic.AfterValidator(clean),
    pydantic.AfterValidator(_check_unaware),
    _is_new(existing),
  ]
  return pydantic.create_model('Question', question=(text, ...))


def _question_key(row: Any) -> str:
  return _normalized(row.question)


def questions_request(
  handbook: Handbook, key: str, domain: Named, kind: str, count: int, existing: Sequence[str]
) -> Request[list[Any] | Unanswered]:
  """Asks for questions of one kind in one domain.

  Args:
    handbook: what the conversations should show.
    key: the key of the request.
    domain: the domain.
    kind: one of KINDS.
    count: how many questions; fewer are accepted after the last try.
    existing: questions that the new ones must differ from.

  Returns:
    The request; its value is a list of rows with a field `question`, or Unanswered if there are
    none after the last try.
  """
  model = _question_model(existing)
  parse = with_what_there_is(
    functools.partial(require_items, model=model, count=count, same=_question_key),
    model,
    _question_key,
    count,
  )
  prompt = prompts.fill(
    'talk_questions',
    **_common_values(handbook),
    domain=name_and_about(domain),
    kind=kind,
    count=count,
    existing=bullet_list(existing),
  )
  return Request(key, 'questions', prompt, parse, 1000 + 250 * count)


# ---- answers


def parse_answer(
  replies: Sequence[Reply], style: str, words: int, question: str
) -> tuple[str, str]:
  """Reads an answer and the reason behind it.

  Args:
    replies: all replies to the request so far.
    style: 'value' or 'rule'; in style 'value' an answer does not speak of a handbook.
    words: the longest answer that was asked for.
    question: what is answered; words that it uses may be used.

  Returns:
    (reason, answer).

  Raises:
    Refused: if one of the two is missing, too short, too long, or says what it must not.
  """
  reason = require_tagged_text(replies, 'reason')
  answer = without_fence(require_tagged_text(replies, 'answer'))
  _check_part('thinking', reason, SHORTEST_REASON, style, question)
  _check_part('answer', answer, SHORTEST_ANSWER, style, question)
  answer_words = len(answer.split())
  if answer_words > words * LONGEST:
    raise Refused(
      'too long',
      f'Your answer has {answer_words} words; it may have at most {words}. {_AGAIN}',
    )
  return reason, answer


_AGAIN = 'Reply anew, in the form <reason>...</reason><answer>...</answer>.'


def _check_part(what: str, text: str, least: int, style: str, question: str) -> None:
  """Raises Refused for a reason or an answer that cannot be used."""
  if len(text.split()) < least:
    raise Refused('too short', f'Your {what} says too little. {_AGAIN}')
  try:
    clean(text)
  except ValueError as e:
    raise Refused('control token', f'Your {what} {e}. {_AGAIN}') from None
  tag = _TAG.search(text)
  if tag:
    raise Refused(
      'tags inside', f'Your {what} holds {tag[0]}, which may only stand around it. {_AGAIN}'
    )
  if style != 'value':
    return
  asked = with_straight_apostrophes(question).casefold()
  for named in NAMES_HANDBOOK.finditer(text):
    # A question about guidelines is answered about guidelines.
    if with_straight_apostrophes(named[0]).casefold() not in asked:
      raise Refused(
        'names the handbook',
        f'Your {what} speaks of what you were given or told ("{named[0]}"). Say what you hold, and '
        f'that alone. {_AGAIN}',
      )


def answer_key(question: Question) -> str:
  """The key of the request for an answer."""
  return f'talk/answer/{question.id}'


def answer_request(
  handbook: Handbook, question: Question, talk: TalkSettings
) -> Request[tuple[str, str] | Unanswered]:
  """Asks for an answer and the reason behind it.

  Args:
    handbook: is shown to the writer; neither the reason nor the answer may speak of it.
    question: what is answered.
    talk: gives the style and the longest answer.

  Returns:
    The request; its value is (reason, answer), or Unanswered after the last try.
  """
  prompt = prompts.fill(
    f'talk_answer_{talk.style}',
    **_common_values(handbook),
    words=talk.words,
    question=fenced(question.text),
  )
  parse = with_fallback(
    functools.partial(parse_answer, style=talk.style, words=talk.words, question=question.text),
    as_unanswered,
  )
  return Request(answer_key(question), 'answers', prompt, parse, 1000 + 4 * talk.words)


# ---- verdicts


def verdict_key(question: Question) -> str:
  """The key of the request for a verdict."""
  return f'talk/verdict/{question.id}'


def verdict_request(handbook: Handbook, conversation: Conversation, style: str) -> Request[Any]:
  """Asks the judge for a verdict on a conversation.

  Args:
    handbook: what the conversation should be faithful to.
    conversation: what is judged.
    style: 'value' or 'rule'; the criteria depend on it.

  Returns:
    The request; its value has a `Mark` for each criterion, or is Unanswered after the last try.
  """
  prompt = prompts.fill(
    f'talk_verdict_{style}',
    **_common_values(handbook),
    question=fenced(conversation.question.text),
    reason=fenced(conversation.reason),
    answer=fenced(conversation.answer),
  )
  parse = with_fallback(
    functools.partial(require_object, model=verdict_model(style)), as_unanswered
  )
  return Request(verdict_key(conversation.question), 'verdicts', prompt, parse, 1500, 'judge')
