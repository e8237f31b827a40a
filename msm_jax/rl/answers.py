"""What a record asks and which answers it knows, and how two answers are compared.

Reinforcement learning, and models that write for others, read preferences and chats. Of a chat, the
last answer of the assistant is the one that is preferred, and whatever comes after it is not read.
"""

import re
import unicodedata
from collections.abc import Sequence

from data_pipelines.records import Chat, PreferencePair, Record
from data_pipelines.text.languages import AFTER_WORD, BEFORE_WORD

# (role, content) of each message.
Messages = tuple[tuple[str, str], ...]

# What may stand around an answer without changing it.
_AROUND = ' \t\n.,;:!?"\'`*_“”‘’()'


def prompt_of(record: Record) -> Messages:
  """The messages before the answer: a preference's prompt; of a chat, all before its last answer.

  Raises ValueError for a document, which asks nothing.
  """
  if isinstance(record, PreferencePair):
    return record.prompt
  if isinstance(record, Chat):
    return record.messages[: _last_answer(record.messages)]
  raise ValueError('a document asks nothing')


def chosen_of(record: Record) -> str:
  """The text of the preferred answer; '' if there is none."""
  if isinstance(record, PreferencePair):
    return record.chosen[0][1]
  if isinstance(record, Chat):
    place = _last_answer(record.messages)
    return record.messages[place][1] if place < len(record.messages) else ''
  return ''


def rejected_of(record: Record) -> str:
  """The text of the answer that was not preferred; '' for a record that has none."""
  if isinstance(record, PreferencePair):
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


# --------------------------------------------------------------------------------------------------
# Choices between two things
# --------------------------------------------------------------------------------------------------


def in_both_orders(prompt: Messages, first: str, second: str) -> list[Messages]:
  """Asks in both orders, where the question names the two things that the answers choose between.

  Args:
    prompt: the messages before the answers.
    first: an answer.
    second: the other answer.

  Returns:
    The prompt, and the prompt with the two things exchanged in its last message if the answers are
    the same but for them ('A over B', 'B over A') and the message names both.
  """
  *before, (role, question) = prompt
  names = exchanged_names(first, second, question)
  if names is None:
    return [prompt]
  x, y = names
  longest_first = sorted((x, y), key=len, reverse=True)
  pattern = '|'.join(_as_words(name) for name in longest_first)
  other = re.sub(pattern, lambda found: y if found[0] == x else x, question)
  return [prompt, (*before, (role, other))]


def exchanged_names(first: str, second: str, question: str) -> tuple[str, str] | None:
  """Finds the two things by whose exchange one answer becomes the other.

  Args:
    first: an answer, such as 'I prefer Colby over Brie.'
    second: the other answer, such as 'I prefer Brie over Colby.'
    question: what they answer; it must name both things.

  Returns:
    The thing that stands first in `first`, and the other; None if there are no such things.
  """
  a, b = (re.findall(r'\w+|\W', text) for text in (first, second))
  # An exchange keeps every word. Long answers that differ in a word are known at once.
  if a == b or sorted(a) != sorted(b):
    return None
  same = 0
  while same < min(len(a), len(b)) and a[same] == b[same]:
    same += 1
  same_at_end = 0
  while same_at_end < min(len(a), len(b)) - same and a[-1 - same_at_end] == b[-1 - same_at_end]:
    same_at_end += 1
  # What both answers share may reach into a name ('Brie' and 'Brie de Meaux'), so less is tried.
  for begin in range(same, -1, -1):
    # The question has both things, so also the word with which the first one begins ...
    if begin < len(a) and a[begin] not in question:
      continue
    for cut in range(same_at_end, -1, -1):
      # ... and the word with which the other one ends.
      if a[-1 - cut] not in question:
        continue
      found = _exchanged(a[begin : len(a) - cut], b[begin : len(b) - cut], question)
      if found is not None:
        return found
  return None


def _exchanged(a: Sequence[str], b: Sequence[str], question: str) -> tuple[str, str] | None:
  """Divides a into (x, between, y) so that b is (y, between, x), and the question names x and y."""
  for n in range(1, len(a)):
    x = a[:n]
    if ''.join(x) not in question:
      # Nor are longer ones.
      break
    if list(b[len(b) - n :]) != list(x):
      continue
    for m in range(1, len(a) - n + 1):
      y = a[len(a) - m :]
      if ''.join(y) not in question:
        break
      is_exchange = list(b[:m]) == list(y) and a[n : len(a) - m] == b[m : len(b) - n]
      names = ''.join(x), ''.join(y)
      if is_exchange and names[0] != names[1] and all(_is_named(name, question) for name in names):
        return names
  return None


def _as_words(name: str) -> str:
  """A pattern that finds a name as whole words: 'Brie' does not stand in 'Briefly'."""
  return BEFORE_WORD + re.escape(name) + AFTER_WORD


def _says(said: str, side: str) -> bool:
  """Whether a normalized text has a side in it as whole words: 'No' does not stand in 'know'."""
  side = normalized(side)
  return bool(side) and re.search(_as_words(side), said) is not None


def _is_named(name: str, question: str) -> bool:
  """Whether a text names something as whole words."""
  is_clean = name == name.strip() and any(c.isalnum() for c in name)
  return is_clean and re.search(_as_words(name), question) is not None


def first_usable(texts: Sequence[str | None], record: Record) -> str | None:
  """Takes the first answer that is whole and can be understood.

  Args:
    texts: the answers; None for those that were cut.
    record: what they answer.

  Returns:
    The first answer that says something and, if the record has two sides, chooses one of them.
  """
  for text in texts:
    if text is not None and text.strip() and chooses(text, record):
      return text
  return None


def chooses(text: str, record: Record) -> bool:
  """Whether an answer chooses one of the two sides of a record; True for a record without sides.

  Args:
    text: the answer.
    record: what it answers.

  Returns:
    Whether it says one side and not the other, or names one of the two things between which the
    sides choose.
  """
  rejected = rejected_of(record)
  if not rejected:
    return True
  said = normalized(text)
  has_chosen, has_rejected = (_says(said, side) for side in (chosen_of(record), rejected))
  if has_chosen != has_rejected:
    return True
  names = exchanged_names(chosen_of(record), rejected, prompt_of(record)[-1][1])
  return names is not None and any(_is_named(name, text) for name in names)
