"""Finds JSON objects in what a model says, and mends the mistakes that models make in them."""

import json
import re

# A text with more brackets that begin no JSON is a flood of brackets and not a reply.
MAX_BRACKETS = 1000
# How often one text is mended, at the most: mending reads all that follows a bracket.
MAX_MENDED = 8
# Line breaks within strings are no mistake here.
_DECODER = json.JSONDecoder(strict=False)
_CURLY_OPENING = '“„‟'
# A JSON string, a string in curly quotation marks, or a comma that nothing follows. Strings are
# matched so that a comma inside one is left alone.
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|[“„‟](?:[^”“\\]|\\.)*[”“]|,(?=\s*[}\]])', re.S)


def json_values(text: str) -> list[tuple[object, int, int]]:
  """All whole JSON objects in a text that lie in no other one, and where each begins and ends.

  Of an outer object that was cut, the whole inner ones are found. An object with small mistakes is
  mended.

  Args:
    text: what a model said.

  Returns:
    (value, begin, end) of each object, in their order; `begin` and `end` count characters.
  """
  found: list[tuple[object, int, int]] = []
  failures = 0
  times_mended = 0
  mended = text
  start = text.find('{')
  while start >= 0 and failures < MAX_BRACKETS:
    # What was mended from an earlier bracket on is often right here, too.
    decoded = _decoded(text, start) or _decoded(mended, start)
    if decoded is None and times_mended < MAX_MENDED:
      # Strings are told from what lies between them only from the bracket on: talk before it may
      # have a single quotation mark.
      times_mended += 1
      mended = text[:start] + _mend_json(text[start:])
      decoded = _decoded(mended, start)
    if decoded is None:
      # This bracket begins no JSON; an object may begin at the next one.
      failures += 1
      start = text.find('{', start + 1)
      continue
    value, end = decoded
    found.append((value, start, end))
    start = text.find('{', end)
  return found


def _decoded(text: str, start: int) -> tuple[object, int] | None:
  """The JSON value that begins at a place, and where it ends; None if none begins there."""
  try:
    return _DECODER.raw_decode(text, start)
  except (ValueError, RecursionError):
    return None


def _mend_json(text: str) -> str:
  """Mends what models get wrong in JSON: commas before a closing bracket, and curly quotation marks
  around strings.

  Every character keeps its place, so that places in the mended text are places in the text.
  """

  def mend(match: re.Match[str]) -> str:
    found = match[0]
    if found == ',':
      return ' '
    if found[0] in _CURLY_OPENING:
      # A straight quotation mark inside would end the string.
      return '"' + found[1:-1].replace('"', "'") + '"'
    return found

  return _STRING_OR_COMMA.sub(mend, text)
