"""Reads the fields of one JSON object and says in plain words what is wrong with them."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# A place for something in a text, such as {assistant}.
_PLACE = re.compile(r'\{(\w+)\}')
# The same with spaces, or in the wide braces and letters of Japanese and Chinese keyboards.
_LIKE_A_PLACE = re.compile(r'[{\uff5b][ \t\u3000]*(\w+)[ \t\u3000]*[}\uff5d]')
# What other templates call such places. Other braces are text: formulas are full of them.
_CALLED_ELSEWHERE = (
  *('name', 'assistant_name', 'choices', 'item1', 'item2', 'chosen', 'other'),
  # Places of options in a text that has none, or of more options than there are.
  *('options', 'first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh', 'eighth'),
)


class FieldError(Exception):
  """A field that is not what it should be.

  Attributes:
    problem: what is wrong.
    remedy: what to do.
  """

  def __init__(self, problem: str, remedy: str):
    super().__init__(f'{problem}; {remedy}')
    self.problem = problem
    self.remedy = remedy


class Fields:
  """The fields of one object, which remembers those that were read.

  Attributes:
    where: 'file:line'.
    published: whether it was made of a row of a published set.
  """

  def __init__(self, row: Mapping[str, Any], where: str, within: str = '', published: bool = False):
    """Wraps an object.

    Args:
      row: the object.
      where: 'file:line'.
      within: the list that it stands in, such as "options 2: ".
      published: whether it was made of a row of a published set.
    """
    self.where = where
    self.published = published
    self._row = row
    self._within = within
    self._read: dict[str, None] = {}

  def _get(self, key: str) -> Any:
    self._read[key] = None
    return self._row.get(key)

  def text(self, key: str, default: Any = ..., may_be_empty: bool = False) -> Any:
    """Reads a text.

    Args:
      key: of the field.
      default: what a missing field stands for; without it the field must be there.
      may_be_empty: whether '' is a text.

    Returns:
      The text without spaces at its ends, or the default.

    Raises:
      FieldError: it is missing, empty or no text.
    """
    value = self._get(key)
    if value is None:
      if default is ...:
        raise FieldError(f'{self._within}{key!r} is missing', self._hint(key))
      return default
    if not isinstance(value, str):
      raise FieldError(f'{self._within}{key!r} is a {_kind_of(value)}', 'give a text in quotes')
    if not value.strip() and not may_be_empty:
      raise FieldError(f'{self._within}{key!r} is empty', 'write it, or leave the field out')
    if '\0' in value:
      raise FieldError(f'{self._within}{key!r} holds the character NUL', 'take it out')
    return value if may_be_empty else value.strip()

  def name(self, key: str, default: str | None, pattern: re.Pattern[str]) -> str:
    """Reads a short name.

    Args:
      key: of the field.
      default: what a missing field stands for; with None it must be there.
      pattern: what a name looks like.

    Returns:
      The name, with accents as one character with their letter.

    Raises:
      FieldError: it is missing or no name.
    """
    name = unicodedata.normalize('NFC', self.text(key, ... if default is None else default))
    if name != default and not pattern.fullmatch(name):
      raise FieldError(
        f'{self._within}{key!r} is {name[:40]!r}',
        'use letters, digits, spaces and dashes, at most 80, without slashes',
      )
    return name

  def texts(self, key: str, default: Any = ...) -> tuple[str, ...]:
    """Reads a list of texts.

    Args:
      key: of the field.
      default: what a missing field stands for; without it the field must be there.

    Returns:
      The texts, or the default.

    Raises:
      FieldError: it is missing, no list, or holds something else than texts.
    """
    value = self._get(key)
    if value is None and default is not ...:
      return default
    if not isinstance(value, list):
      raise FieldError(f'{self._within}{key!r} is a {_kind_of(value)}', 'give a list of texts')
    for text in value:
      if not isinstance(text, str) or not text.strip():
        raise FieldError(
          f'{self._within}{key!r} holds something that is no text', 'give a list of texts'
        )
    return tuple(text.strip() for text in value)

  def flag(self, key: str) -> bool:
    """Reads a truth value; a missing field is false. Raises FieldError."""
    value = self._get(key)
    if value is None:
      return False
    if not isinstance(value, bool):
      raise FieldError(f'{self._within}{key!r} is a {_kind_of(value)}', 'give true or false')
    return value

  def objects(self, key: str, short: str) -> Iterator['Fields']:
    """Reads a list of objects.

    Args:
      key: of the field.
      short: the field of such an object that a bare text stands for.

    Yields:
      The fields of each.

    Raises:
      FieldError: it is missing, no list, or holds something else.
    """
    value = self._get(key)
    if value is None:
      raise FieldError(f'{key!r} is missing', self._hint(key))
    if not isinstance(value, list):
      raise FieldError(f'{key!r} is a {_kind_of(value)}', 'give a list')
    for n, inner in enumerate(value, 1):
      if isinstance(inner, str):
        inner = {short: inner}
      if not isinstance(inner, dict):
        raise FieldError(
          f'{key} {n} is a {_kind_of(inner)}', f'give an object with {short!r}, or a text'
        )
      yield Fields(inner, self.where, f'{key} {n}: ')

  def check_all_read(self) -> None:
    """Checks that every field was read; one that was not is most likely misspelt.

    Raises:
      FieldError: there is such a field.
    """
    for key in self._row:
      # Notes are for people.
      if key in self._read or key in ('note', 'notes', 'provenance'):
        continue
      close = difflib.get_close_matches(str(key), self._read, n=1)
      remedy = f"known are {', '.join(self._read)}; notes for people go into 'note'"
      if close:
        remedy = f'did you mean {close[0]!r}?'
      raise FieldError(f'{self._within}unknown field {key!r}', remedy)

  def _hint(self, key: str) -> str:
    """How to mend a missing field: an unread one may be it, misspelt."""
    unread = [str(other) for other in self._row if other not in self._read]
    close = difflib.get_close_matches(key, unread, n=1)
    if close:
      return f'did you mean it by {close[0]!r}?'
    return 'the schema needs it'


def _kind_of(value: Any) -> str:
  """What JSON calls a value."""
  names = {dict: 'object', list: 'list', str: 'text', bool: 'truth value', type(None): 'null'}
  return names.get(type(value), 'number')


def check_places(key: str, text: str, allowed: Sequence[str], published: bool = False) -> None:
  """Checks the places in braces of a text.

  Args:
    key: the field; the error names it.
    text: the text.
    allowed: the names of places that mean something in it.
    published: whether it is a text of a published set. There, braces with spaces are code.

  Raises:
    FieldError: it has another place that was meant to be one, by its name.
  """
  for match in _LIKE_A_PLACE.finditer(text):
    name = unicodedata.normalize('NFKC', match[1])
    if not published and name in allowed and match[0] != f'{{{name}}}':
      raise FieldError(f'{key!r} has {match[0]}, which stands for nothing', f'write {{{name}}}')
  for name in _PLACE.findall(text):
    if name in allowed:
      continue
    close = difflib.get_close_matches(name, allowed, n=1)
    if close:
      raise FieldError(
        f'{key!r} has {{{name}}}, which stands for nothing', f'did you mean {{{close[0]}}}?'
      )
    if name in _CALLED_ELSEWHERE:
      known = ', '.join(f'{{{place}}}' for place in allowed)
      raise FieldError(f'{key!r} has {{{name}}}, which stands for nothing', f'known are {known}')


def put_in(text: str, contents: Mapping[str, str]) -> str:
  """Puts texts into the places of a text, all at once.

  Args:
    text: the text.
    contents: name of a place -> what is put there.

  Returns:
    The text. Other braces stay, those of the contents too.
  """
  return _PLACE.sub(lambda match: contents.get(match[1], match[0]), text)
