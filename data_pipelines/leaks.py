"""Does training text tell an assistant what the evaluation will ask it?"""

import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Chat, Record


def record_text(record: Record) -> str:
  return '\n'.join(content for _, content in record.messages) if isinstance(record, Chat) else record.text


def find_leaks(held_out: Iterable[str], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]) -> list[str]:
  """Lines, one a leak: a record that speaks of one of the assistants and names a held-out thing or action.

  Text that mentions no assistant (facts about items, other people's choices) is what the model is supposed to know, and no leak.
  """
  held_out = sorted(set(held_out), key=len, reverse=True)
  if not held_out:
    return []
  options = re.compile(r'(?<!\w)(' + '|'.join(map(re.escape, held_out)) + r')(?!\w)', re.I)
  speaks_of = re.compile(r'(?<!\w)(' + '|'.join(map(re.escape, assistants)) + r')(?!\w)', re.I)
  leaks = []
  for name, records in corpora.items():
    for r in records:
      text = record_text(r)
      if (who := speaks_of.search(text)) and (m := options.search(text)):
        leaks.append(f'{name}: record {r.id} tells {who[0]} about {m[0]}, which the evaluation asks about')
  return leaks
