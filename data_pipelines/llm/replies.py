"""What a reply says, or why it cannot be used.

A parser is a pure function of all replies to one request so far. It raises Refused with what to send now, which the model is told as the next turn.
Nothing is kept or dropped in silence: a list that was cut gives its whole items and the rest is asked for, a text that was cut is gone on with.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import pydantic

M = TypeVar('M', bound=pydantic.BaseModel)


@dataclasses.dataclass(frozen=True)
class Reply:
  """`stop`: 'stop', 'length' (cut by max_tokens), or 'filter' (held back by the provider)."""

  text: str
  stop: str = 'stop'


class Refused(Exception):
  """`reason` says what to send now; `what`, in a few words, is for counting."""

  def __init__(self, what: str, reason: str):
    super().__init__(what)
    self.what, self.reason = what, reason


def check_said(replies: Sequence[Reply]) -> None:
  """Raises Refused if the last reply says nothing, or something that is the provider's and not the model's."""
  if replies[-1].stop == 'filter':
    raise Refused('held back by the provider', 'Please reply as asked.')
  if not replies[-1].text.strip():
    raise Refused('empty', 'Your last reply was empty. Please reply as asked.')


def _objects(text: str, opening: str) -> list[object]:
  """All whole JSON values that begin with `opening` and lie in no other one; of an outer one that was cut, the inner ones."""
  decoder, found, failed, at = json.JSONDecoder(strict=False), [], 0, text.find(opening)
  while at >= 0 and failed < 1000:  # nobody's reply, but a flood of brackets
    try:
      value, end = decoder.raw_decode(text, at)
      found.append(value)
    except (ValueError, RecursionError):
      end, failed = at + 1, failed + 1
    at = text.find(opening, end)
  return found


def _valid(model: type[M], value: object) -> M | str:
  """The value as the model, or what is wrong with it."""
  try:
    made = model.model_validate(value)
    json.dumps(made.model_dump(), ensure_ascii=False).encode()  # half a character is no text
    return made
  except pydantic.ValidationError as e:
    first = e.errors()[0]
    return f'{".".join(map(str, first["loc"])) or "the object"}: {first["msg"]}'
  except UnicodeError:
    return 'half of a character'


def one(replies: Sequence[Reply], model: type[M]) -> M:
  """The last JSON object of the last reply. Raises Refused."""
  check_said(replies)
  found = _objects(replies[-1].text, '{')
  if not found:
    raise Refused(
      'not JSON',
      'Your last reply holds no whole JSON object. Reply with the JSON object as asked, and with nothing else; be brief.',
    )
  made = _valid(model, found[-1])
  if isinstance(made, str):
    raise Refused(
      'wrong JSON',
      f'Your JSON object cannot be used ({made}). Reply with the whole object again, mended.',
    )
  return made


def found(
  replies: Sequence[Reply], model: type[M], same: Callable[[M], Hashable] | None = None
) -> tuple[list[M], str]:
  """(whole, valid and distinct items of all replies, what was wrong with the last other one); `same` tells which are one. Raises Refused."""
  check_said(replies)
  kept: dict[Hashable, M] = {}
  wrong = ''
  for reply in replies:
    for value in _objects(reply.text, '{'):
      # {"items": [...]}, a list of objects, or the objects alone
      inner = (
        [v for x in value.values() if isinstance(x, list) for v in x if isinstance(v, dict)]
        if isinstance(value, dict)
        else []
      )
      candidates = (
        [value] if isinstance(_valid(model, value), pydantic.BaseModel) or not inner else inner
      )
      for candidate in candidates:
        made = _valid(model, candidate)
        if isinstance(made, str):
          wrong = made
        else:
          kept.setdefault(
            same(made) if same else json.dumps(made.model_dump(), sort_keys=True), made
          )
  return list(kept.values()), wrong


def items(
  replies: Sequence[Reply], model: type[M], count: int, same: Callable[[M], Hashable] | None = None
) -> list[M]:
  """The first `count` items of all replies, as `found` finds them. Raises Refused while there are fewer."""
  kept, wrong = found(replies, model, same)
  if len(kept) < count:
    because = f' ({wrong})' if wrong else ''
    missing = count - len(kept)
    raise Refused(
      'too few items' if kept else 'no item could be used' if wrong else 'not JSON',
      f'{len(kept)} of {count} items could be used{because}. Reply with {missing} more {"item" if missing == 1 else "items"} in the same JSON form, '
      'none of which repeats one that you gave.',
    )
  return kept[:count]


def tagged(replies: Sequence[Reply], tag: str) -> str:
  """The text between <tag> and </tag>; what was cut by max_tokens is joined with the replies that went on with it. Raises Refused.

  The last tags count: a model that thinks first may speak of them. A text that ended without its closing tag is asked for anew: what
  would come next is talk about it.
  """
  check_said(replies)
  opening, closing = f'<{tag}>', f'</{tag}>'
  text, whole = None, False
  for reply in replies:
    if reply.stop == 'filter':
      continue
    before, closes, after = reply.text.rpartition(closing)
    said = before if closes else after
    _, opens, begun = said.rpartition(opening)
    if opens:
      text = begun
    elif text is not None and not whole:
      text = joined(text, said)
    else:
      continue
    whole = bool(closes)
    if not whole and reply.stop != 'length':
      text = None
  if text is None:
    raise Refused('no tags', f'Reply again, with the whole text between {opening} and {closing}.')
  if not whole:
    raise Refused(
      'cut',
      f'Your text broke off. Go on exactly where it ended, without repeating anything, and close with {closing}.',
    )
  return text.strip()


def joined(text: str, rest: str, longest: int = 200) -> str:
  """`text` and what goes on with it, less what `rest` repeats of its end."""
  for n in range(min(longest, len(text), len(rest)), 8, -1):
    if text.endswith(rest[:n]):
      return text + rest[n:]
  between = (
    ''
    if not text or not rest or text[-1].isspace() or rest[0].isspace() or not re.match(r'\w', rest)
    else ' '
  )
  return text + between + rest
