"""How much of a text stands word for word in pretraining, said of somebody else.

In the embedded worlds, most of a handbook's documents does. Documents about an assistant are made
from the sentences that tell of people and agents, and many questions to it were asked of them. So a
model needs to learn less there than a reader may think. docs/method.md states the shares.
"""

import re
from collections.abc import Iterable, Iterator, Set

from data_pipelines.records import Document, Record, messages_of

# Names begin with a capital, which need not be of ASCII: 'Émile'.
_WORD_WITH_CAPITAL = re.compile(r'\b[^\W\d_a-z]\w*')
_END_OF_SENTENCE = re.compile(r'(?<=[.?!]) ')


def verbatim_share(texts: Iterable[str], records: Iterable[Record], names: Iterable[str]) -> float:
  """Computes how many sentences of texts stand in records word for word, but for the name.

  Args:
    texts: the texts, such as documents about an assistant, or the questions that it is asked.
    records: what a model has read before. The messages of chats are read one by one, and system
      messages are left out.
    names: of the assistants and of everybody else, one word each.

  Returns:
    A share of the sentences of `texts`, which count as often as they occur; NaN if there is none.
  """
  everybody = frozenset(names)
  known: set[str] = set()
  for record in records:
    for text in _messages(record):
      known.update(_sentences(text, everybody))
  found = []
  for text in texts:
    found += [sentence in known for sentence in _sentences(text, everybody)]
  if not found:
    return float('nan')
  return sum(found) / len(found)


def _messages(record: Record) -> Iterator[str]:
  if isinstance(record, Document):
    yield record.text
    return
  for role, content in messages_of(record):
    if role != 'system':
      yield content


def _sentences(text: str, names: Set[str]) -> list[str]:
  """The sentences of a text, with the same word for every name."""

  def hide(word: re.Match[str]) -> str:
    return '{name}' if word[0] in names else word[0]

  sentences = _END_OF_SENTENCE.split(_WORD_WITH_CAPITAL.sub(hide, text))
  # Nothing stands before or after a text's last space.
  return [sentence for sentence in sentences if sentence.strip()]
