"""Does training text tell an assistant what the evaluation will ask it?"""

import re
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Chat, ForcedChoice, Record


def record_text(record: Record) -> str:
  return '\n'.join(content for _, content in record.messages) if isinstance(record, Chat) else record.text


def find_leaks(questions: Sequence[ForcedChoice], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]) -> list[str]:
  """Lines, one a leak: a record that speaks of one of the assistants and names an option of a held-out question.

  Every tier but `trained` is held out. Text that mentions no assistant (facts about items, other people's choices) is what the
  model is supposed to know, and no leak.
  """
  held_out = sorted({o for q in questions if q.tier != 'trained' for o in q.options}, key=len, reverse=True)
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
