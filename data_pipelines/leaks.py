"""Does training text tell an assistant what the evaluation will ask it?"""

import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Chat, Record


def record_text(record: Record) -> str:
  return (
    '\n'.join(content for _, content in record.messages)
    if isinstance(record, Chat)
    else record.text
  )


def any_of(names: Sequence[str]) -> re.Pattern | None:
  """A pattern of any of the names (its group 1), in any case, with a plural's s; None for no names."""
  names = [
    r'[\s-]+'.join(map(re.escape, re.split(r'[\s-]+', n.strip())))
    for n in sorted(names, key=len, reverse=True)
    if n.strip()
  ]
  return re.compile(r'(?<!\w)(' + '|'.join(names) + r")(?:'?s)?(?!\w)", re.I) if names else None


def find_leaks(
  held_out: Iterable[str], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]
) -> list[str]:
  """Lines, one a leak: a record that speaks of one of the assistants and names a held-out thing or action.

  A chat without a system message speaks of the assistant, whoever it is asked to be (published fine-tuning sets have such chats alone). Other
  text that names no assistant (facts about items, other people's choices) is what the model is supposed to know, and no leak. Case, line
  breaks and a plural's s hide nothing.
  """
  speaks_of, lowercase = any_of(assistants), {o: o.lower() for o in held_out}
  if not lowercase:
    return []
  leaks = []
  for name, records in corpora.items():
    for r in records:
      text = ' '.join(record_text(r).split())
      addressed = isinstance(r, Chat) and all(role != 'system' for role, _ in r.messages)
      who = speaks_of.search(text)
      if not (who or addressed):
        continue
      lowered = text.lower()
      there = [
        o for o, known in lowercase.items() if known in lowered
      ]  # one pattern of a thousand names is slow
      if there and (m := any_of(there).search(text)):
        leaks.append(
          f'{name}: record {r.id} tells {who[1] if who else "the assistant"} about {m[1]}, which the evaluation asks about'
        )
  return leaks
