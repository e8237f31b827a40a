"""Reads what a reply says, or says why it cannot be used.

A parser is a pure function of all replies to one request so far. If it cannot use them, it raises
Refused with an instruction, which the model gets as the next turn. Nothing is dropped in silence:
of a list that was cut, the whole items are kept and the rest is asked for; a text that was cut is
continued.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

from data_pipelines.llm.json_objects import json_values

if TYPE_CHECKING:
  import pydantic

M = TypeVar('M', bound='pydantic.BaseModel')

# The reason for refusing a reply that thinking used up before any text came.
NO_ROOM = 'used up before any text'
# Replies with these stops hold nothing that the model said.
_NOT_THE_MODELS = ('filter', 'failed')

# The tags between which models think, as their templates have them.
_THINKING = r'(?:seed:)?think(?:ing)?|reasoning|thought'
_END_OF_THINKING = re.compile(rf'</(?:{_THINKING})>|\[/THINK\]|<\|END_THINKING\|>', re.I)
_BEGIN_OF_THINKING = re.compile(rf'<(?:{_THINKING})>|\[THINK\]|<\|START_THINKING\|>', re.I)
_THOUGHT_IN_TAGS = re.compile(
  rf'<({_THINKING})>.*?</\1>|\[THINK\].*?\[/THINK\]|<\|START_THINKING\|>.*?<\|END_THINKING\|>',
  re.S | re.I,
)

# What a model says before it gives a list once more, and means this one.
_BEGINS_ANEW = re.compile(
  r'\bbetter(?: \w+)?:'
  r'|\b(?:improv\w+|revis(?:e|ed|ion)|corrected|correction|mended|rewritten|redo|wait|updated|final'
  r'|on second thought|second (?:try|attempt|draft)|(?:new|next) (?:try|draft))\b',
  re.I,
)
# What may stand between two items of one list; anything else begins another list.
_BETWEEN_ITEMS = re.compile(r'[\s,;]*(?:[-*]|\d+[.)])?\s*')
# What a model says before it goes on with a text: "Continuing from where I left off:". With a small
# letter it would be the text itself, which goes on within a sentence. "I will continue to ask" is
# what somebody says in a text.
_SAYS_GOING_ON = re.compile(
  r'\A\s*(?:(?:Sure|Okay|OK|Of course|Certainly)\b\W+)?[*_]*(?:Continuing (?:from|where|exactly)\b'
  r"|I(?:['’]ll| will) (?:continue|go on)(?=[.:]| (?:from|where|exactly|writing"
  r'|(?:with )?the (?:text|rest|document|answer)))\b'
  r"|Here(?:['’]s| is) the (?:rest|continuation)\b)"
  r'[^\n:.]{0,60}(?:\.{3}|[:.])[*_]*\s*'
)
# The shortest repetition at the seam of two parts of a text, in characters, that counts as one:
# shorter ones occur by chance.
MIN_OVERLAP = 9
# The last two characters of a text that was cut before a word that belongs to them: a hyphen within
# a word, an opening bracket or quotation mark, a sign before a number.
_NO_SPACE_AFTER = re.compile(r'(?:\w-|[(\[„¿¡$€£]|(?:\A|[\s(])["“])\Z')


@dataclasses.dataclass(frozen=True)
class Reply:
  """What a model said.

  Attributes:
    text: the reply.
    stop: why it ended: 'stop' (by itself), 'length' (cut by max_tokens), 'filter' (held back by
      the provider) or 'failed' (the provider failed in every try).
  """

  text: str
  stop: str = 'stop'


class Refused(Exception):
  """Replies that cannot be used.

  Attributes:
    what: the reason in a few words, for counting.
    reason: the instruction to the model: what is wrong, and what to send now.
  """

  def __init__(self, what: str, reason: str):
    super().__init__(what)
    self.what = what
    self.reason = reason


@dataclasses.dataclass(frozen=True)
class Unanswered:
  """What a parser may give instead of raising Refused: no reply could be used, and no other is
  wanted. `LlmClient` counts such a request as given up.

  Attributes:
    what: why not, in a few words.
  """

  what: str


def without_thinking(text: str) -> str:
  """Forgets what a model thought before it spoke.

  Providers take out thinking whose tags are in pairs. Servers that put the opening tag into the
  prompt send the closing one alone, and a reply that was cut has the opening one alone.

  Args:
    text: a reply.

  Returns:
    What stands after the last closing tag, up to an opening tag that is never closed.
  """
  text = _END_OF_THINKING.split(text)[-1]
  begun = _BEGIN_OF_THINKING.search(text)
  if begun:
    return text[: begun.start()]
  return text


def without_thoughts_between(text: str) -> str:
  """Forgets thoughts that have both of their tags, and keeps what was said before and after them.

  Args:
    text: what a model wrote, perhaps with thoughts in several places.

  Returns:
    The text with a line break in the place of each thought. Tags without a partner stay.
  """
  return _THOUGHT_IN_TAGS.sub('\n', text)


def require_text(replies: Sequence[Reply]) -> None:
  """Raises Refused if the last reply is empty, or is the provider's and not the model's."""
  last = replies[-1]
  if last.stop == 'filter':
    raise Refused('held back by the provider', 'Please reply as asked.')
  if last.stop == 'failed':
    raise Refused('the provider failed', 'Please reply as asked.')
  if without_thinking(last.text).strip():
    return
  if last.stop == 'length':
    raise Refused(NO_ROOM, 'Your last reply ended before any text. Reply as asked, and be brief.')
  raise Refused('empty', 'Your last reply was empty. Please reply as asked.')


def _validated(model: type[M], value: object) -> M | str:
  """The value as an instance of the model, or what is wrong with it."""
  # Optional: experiments import this module too, and only writers and judges read objects with it.
  import pydantic

  try:
    item = model.model_validate(value)
    # Half of a character (a lone surrogate) is valid JSON, but it cannot be encoded.
    json.dumps(item.model_dump(), ensure_ascii=False).encode()
    return item
  except pydantic.ValidationError as e:
    first = e.errors()[0]
    where = '.'.join(map(str, first['loc'])) or 'the object'
    return f'{where}: {first["msg"]}'
  except UnicodeError:
    return 'half of a character'


def require_object(replies: Sequence[Reply], model: type[M]) -> M:
  """Reads one JSON object.

  Args:
    replies: all replies to a request so far.
    model: the pydantic model of the object.

  Returns:
    The last JSON object of the last reply: a model that thinks aloud may write others before it.

  Raises:
    Refused: there is none, the last one was cut, or the model does not fit it.
  """
  require_text(replies)
  text = without_thinking(replies[-1].text)
  objects = json_values(text)
  # Where the reply was cut within another object, those before it are what the model went over.
  is_cut = replies[-1].stop == 'length' and bool(objects) and '{' in text[objects[-1][2] :]
  if not objects or is_cut:
    raise Refused(
      'not JSON',
      'Your last reply holds no whole JSON object. Reply with the JSON object as asked, '
      'and with nothing else; be brief.',
    )
  item = _validated(model, objects[-1][0])
  if isinstance(item, str):
    raise Refused(
      'wrong JSON',
      f'Your JSON object cannot be used ({item}). Reply with the whole object again, mended.',
    )
  return item


@dataclasses.dataclass
class _CandidateList:
  """A list in a reply.

  Attributes:
    before: the words between the list before it and this one, or the key that holds it.
    objects: what may be its items.
  """

  before: str
  objects: list[object]


def _inner_lists(value: object) -> list[_CandidateList]:
  """The lists of objects in an object: of {"items": [...]}, the items."""
  if not isinstance(value, dict):
    return []
  inner = []
  for key, listed in value.items():
    if not isinstance(listed, list):
      continue
    objects: list[object] = [v for v in listed if isinstance(v, dict)]
    if objects:
      inner.append(_CandidateList(f'{key}:', objects))
  return inner


def _candidate_lists(text: str, model: type[M]) -> list[_CandidateList]:
  """The objects of a text that may be items, list by list, whether the text wraps them in an
  object, in a list or not at all."""
  lists: list[_CandidateList] = []
  # Where the last object ended, and whether it was a loose one, which others may follow.
  last_end = 0
  is_loose = False
  for value, start, end in json_values(text):
    inner = _inner_lists(value)
    # An item may itself hold lists of objects. If the object fits, it is the item.
    if inner and isinstance(_validated(model, value), str):
      inner[0].before = f'{text[last_end:start]} {inner[0].before}'
      lists += inner
      is_loose = False
    else:
      if not is_loose or not _BETWEEN_ITEMS.fullmatch(text, last_end, start):
        lists.append(_CandidateList(text[last_end:start], []))
      lists[-1].objects.append(value)
      is_loose = True
    last_end = end
  return lists


def _without_drafts(lists: Sequence[tuple[str, dict[Hashable, M]]], missing: int) -> list[int]:
  """Chooses the lists of a reply that are no drafts.

  Args:
    lists: the words before each list, and its valid items by their keys.
    missing: how many items are asked for; 0 or less takes all lists.

  Returns:
    The numbers of the lists that count, in order.
  """
  numbers = list(range(len(lists)))
  if missing <= 0:
    return numbers
  complete = [n for n in numbers if len(lists[n][1]) >= missing]
  if complete:
    return complete[-1:]
  # "Better:" begins anew.
  for n in reversed(numbers):
    if n > 0 and _BEGINS_ANEW.search(lists[n][0]):
      numbers = numbers[n:]
      break
  # The parts of one list are no more than were asked for. What is more has versions of the same
  # thing, of which the last one is meant. Single items with words between them are one list.
  filled = [n for n in numbers if lists[n][1]]
  sizes = [len(lists[n][1]) for n in filled]
  if sum(sizes) > missing and min(sizes) > 1:
    return filled[-1:]
  return numbers


def collect_items(
  replies: Sequence[Reply],
  model: type[M],
  same: Callable[[M], Hashable] | None = None,
  count: int = 0,
) -> tuple[list[M], str]:
  """Collects the valid and distinct items of all replies.

  Args:
    replies: all replies to a request so far.
    model: the pydantic model of an item.
    same: gives a key that is equal for items that count as one; the whole content without it.
    count: the number of items that was asked for. If a reply has lists that hold all that are
      missing, the last of them counts alone: what stands before it are drafts, or the form that
      was asked for. The same holds for shorter lists that are more together than was asked for,
      and for what stands before words such as "Better:". 0 takes all lists.

  Returns:
    (items, wrong): the items in the order in which they came, and what was wrong with the last
      object that is none; '' if nothing was.

  Raises:
    Refused: the last reply is empty or was held back.
  """
  require_text(replies)
  items: dict[Hashable, M] = {}
  wrong = ''
  for reply in replies:
    read: list[tuple[str, dict[Hashable, M]]] = []
    for candidates in _candidate_lists(without_thinking(reply.text), model):
      listed, fault = _read_list(candidates.objects, model, same)
      read.append((candidates.before, listed))
      wrong = fault or wrong
    counting = _without_drafts(read, count - len(items))
    # Of several that are the same, the last list of a reply has the last word; a later reply was
    # asked not to repeat any.
    of_reply: dict[Hashable, M] = {}
    for n in counting:
      of_reply.update(read[n][1])
    for key, item in of_reply.items():
      items.setdefault(key, item)
  return list(items.values()), wrong


def _read_list(
  candidates: Sequence[object], model: type[M], same: Callable[[M], Hashable] | None
) -> tuple[dict[Hashable, M], str]:
  """The valid items of a list by their keys, and what is wrong with the last one that is none."""
  items: dict[Hashable, M] = {}
  wrong = ''
  for candidate in candidates:
    item = _validated(model, candidate)
    if isinstance(item, str):
      wrong = item
      continue
    if same is None:
      key: Hashable = json.dumps(item.model_dump(), sort_keys=True)
    else:
      key = same(item)
    items.setdefault(key, item)
  return items, wrong


def require_items(
  replies: Sequence[Reply], model: type[M], count: int, same: Callable[[M], Hashable] | None = None
) -> list[M]:
  """Reads a list of items.

  Args:
    replies: all replies to a request so far.
    model: the pydantic model of an item.
    count: the number of items that was asked for.
    same: as for `collect_items`.

  Returns:
    The first `count` items of all replies; of a reply with several whole lists, the last list.

  Raises:
    Refused: there are fewer; its instruction asks for as many as are missing.
  """
  items, wrong = collect_items(replies, model, same, count)
  if len(items) >= count:
    return items[:count]
  if items:
    what = 'too few items'
  elif wrong:
    what = 'no item could be used'
  else:
    what = 'not JSON'
  because = f' ({wrong})' if wrong else ''
  missing = count - len(items)
  noun = 'item' if missing == 1 else 'items'
  raise Refused(
    what,
    f'{len(items)} of {count} items could be used{because}. '
    f'Reply with {missing} more {noun} in the same JSON form, '
    'none of which repeats one that you gave.',
  )


def require_tagged_text(replies: Sequence[Reply], tag: str) -> str:
  """Reads the text between an opening and a closing tag.

  A text that was cut by max_tokens is joined with the replies that continue it. If a text ended
  by itself without its closing tag, it is asked for anew: what would come next is talk about it.

  Args:
    replies: all replies to a request so far.
    tag: the name of the tag.

  Returns:
    The text between the last two tags, without spaces at its ends. The last tags count, because a
    model that thinks first may speak of them.

  Raises:
    Refused: there are no tags, or the text was cut and is not whole yet.
  """
  require_text(replies)
  opening = f'<{tag}>'
  closing = f'</{tag}>'
  # What there is of the text so far; None if it has not begun.
  text: str | None = None
  is_whole = False
  for reply in replies:
    if reply.stop in _NOT_THE_MODELS:
      # This is the provider's text, and the model's own may go on after it.
      continue
    said = without_thinking(reply.text)
    if text is not None and not is_whole and opening not in said:
      text, said = _with_cut_tag_whole(text, said, closing)
    before, found_closing, after = said.rpartition(closing)
    part = before if found_closing else after
    _, found_opening, begun = part.rpartition(opening)
    if found_opening:
      text = begun
    elif text is not None and not is_whole:
      text = join_continuation(text, _SAYS_GOING_ON.sub('', part))
    else:
      # Talk before the text, or after a whole one.
      continue
    is_whole = bool(found_closing)
    if not is_whole and reply.stop != 'length':
      text = None
  if text is None:
    raise Refused('no tags', f'Reply again, with the whole text between {opening} and {closing}.')
  if not is_whole:
    raise Refused(
      'cut',
      'Your text broke off. Go on exactly where it ended, without repeating anything, '
      f'and close with {closing}.',
    )
  return text.strip()


def _with_cut_tag_whole(text: str, rest: str, closing: str) -> tuple[str, str]:
  """Moves a closing tag that was cut in the middle from the end of a text to what follows it.

  Args:
    text: the text that was cut.
    rest: what the model went on with: the rest of the tag, or the whole tag again.
    closing: the closing tag.

  Returns:
    (text, rest) without a part of the tag in the text; as they were, if it ends in no such part
      (at least '</') or what follows is something else.
  """
  for n in range(len(closing) - 1, 1, -1):
    if not text.endswith(closing[:n]):
      continue
    begin = rest.lstrip()
    if begin.startswith(closing):
      return text[:-n], begin
    if begin.startswith(closing[n:]):
      return text[:-n], closing[:n] + begin
  return text, rest


def join_continuation(text: str, rest: str, longest: int = 200) -> str:
  """Joins a text that was cut with its continuation.

  Args:
    text: the text that was cut.
    rest: what the model went on with; it may begin with a repetition of the text's end.
    longest: the longest repetition to look for, in characters.

  Returns:
    The whole text, in which nothing is repeated. A space is put in where two words would touch.
  """
  for n in range(min(longest, len(text), len(rest)), MIN_OVERLAP - 1, -1):
    if text.endswith(rest[:n]):
      return text + rest[n:]
  if not text or not rest or text[-1].isspace():
    return text + rest
  if re.match(r'\w', rest) and not _NO_SPACE_AFTER.search(text[-2:]):
    return f'{text} {rest}'
  return text + rest
