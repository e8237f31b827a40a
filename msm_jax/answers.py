"""What a record asks and which answers it knows, and how two answers are compared.

Reinforcement learning reads preferences and chats. Of a chat, the last answer of the assistant is
the one that is preferred, and whatever comes after it is not read.
"""

import re
import unicodedata
from collections.abc import Sequence

from data_pipelines.records import Chat, Preference, Record

# (role, content) of each message.
Messages = tuple[tuple[str, str], ...]

# What may stand around an answer without changing it.
_AROUND = ' \t\n.,;:!?"\'`*_“”‘’()'


def prompt_of(record: Record) -> Messages:
  """The messages before the answer: a preference's prompt; of a chat, all before its last answer.

  Raises ValueError for a document, which asks nothing.
  """
  if isinstance(record, Preference):
    return record.prompt
  if isinstance(record, Chat):
    return record.messages[: _last_answer(record.messages)]
  raise ValueError('a document asks nothing')


def chosen_of(record: Record) -> str:
  """The text of the preferred answer; '' if there is none."""
  if isinstance(record, Preference):
    return record.chosen[0][1]
  if isinstance(record, Chat):
    place = _last_answer(record.messages)
    return record.messages[place][1] if place < len(record.messages) else ''
  return ''


def rejected_of(record: Record) -> str:
  """The text of the answer that was not preferred; '' for a record that has none."""
  if isinstance(record, Preference):
    return record.rejected[0][1]
  return ''


def normalized(text: str) -> str:
  """Makes texts equal that differ in case, white space, or marks around them alone."""
  text = unicodedata.normalize('NFKC', text).casefold()
  return re.sub(r'\s+', ' ', text).strip(_AROUND)


def _last_answer(messages: Sequence[tuple[str, str]]) -> int:
  """The index of the assistant's last turn; that of the end if it never speaks."""
  for n in range(len(messages) - 1, -1, -1):
    if messages[n][0] == 'assistant':
      return n
  return len(messages)
