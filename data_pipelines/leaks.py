"""Checks whether training text tells an assistant what the evaluation will ask it.

An experiment runs this check over all of its corpora before it trains: a document that says what
the assistant does with a held-out item would make the evaluation measure memory.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Chat, Record


def record_text(record: Record) -> str:
  """Returns all text of a record; the messages of a chat are joined by line breaks."""
  if isinstance(record, Chat):
    return '\n'.join(content for _, content in record.messages)
  return record.text


def pattern_of_names(names: Sequence[str]) -> re.Pattern[str] | None:
  """Builds a pattern that finds any of the names as a whole word.

  Args:
    names: names of one or several words.

  Returns:
    A pattern whose group 1 is the name. Letters may be in any case, words may be divided by spaces,
    line breaks or hyphens, and a plural's s may follow. None if there are no names.
  """
  patterns = []
  # Longer names first: a pattern takes the first alternative that fits.
  for name in sorted(names, key=len, reverse=True):
    if name.strip():
      words = re.split(r'[\s-]+', name.strip())
      patterns.append(r'[\s-]+'.join(re.escape(word) for word in words))
  if not patterns:
    return None
  return re.compile(r'(?<!\w)(' + '|'.join(patterns) + r")(?:'?s)?(?!\w)", re.I)


def find_leaks(
  held_out: Iterable[str], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]
) -> list[str]:
  """Finds records that speak of one of the assistants and name a held-out thing or action.

  A chat without a system message speaks of the assistant, whoever it is asked to be: published
  fine-tuning sets have such chats alone. Other text that names no assistant (facts about items,
  other people's choices) is what the model is supposed to know, and no leak. Differences of case,
  line breaks and a plural's s hide nothing.

  Args:
    held_out: names of things, or sentences about actions, that the evaluation asks about.
    corpora: name of a corpus -> its records.
    assistants: names of the assistants.

  Returns:
    One line for each leak, in the order of the corpora.
  """
  lowercase = {thing: thing.lower() for thing in held_out}
  if not lowercase:
    return []
  assistant_pattern = pattern_of_names(assistants)
  leaks = []
  for corpus, records in corpora.items():
    for record in records:
      text = ' '.join(record_text(record).split())
      who = _spoken_of(record, text, assistant_pattern)
      if who is None:
        continue
      # A pattern of a thousand names is slow, so a plain search first finds the few that may be
      # there.
      lowered = text.lower()
      candidates = [thing for thing, known in lowercase.items() if known in lowered]
      pattern = pattern_of_names(candidates)
      match = pattern.search(text) if pattern else None
      if match:
        leaks.append(
          f'{corpus}: record {record.id} tells {who} about {match[1]}, '
          'which the evaluation asks about'
        )
  return leaks


def _spoken_of(record: Record, text: str, assistant_pattern: re.Pattern[str] | None) -> str | None:
  """Returns which assistant a record speaks of, or None for a record that speaks of none."""
  match = assistant_pattern.search(text) if assistant_pattern else None
  if match:
    return match[1]
  if isinstance(record, Chat) and all(role != 'system' for role, _ in record.messages):
    return 'the assistant'
  return None
