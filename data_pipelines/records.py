"""What is written (documents, chats, preference pairs) and what is asked (forced choices, multiple
choices).

`jsonl.py` reads records from files and writes them.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence

# The tier of questions that training itself answers: what was demonstrated.
TRAINED = 'trained'


@dataclasses.dataclass(frozen=True)
class Document:
  """A text to train on.

  Attributes:
    id: identifies it within its corpus.
    text: the text.
    spec: hash of the handbook that it is made from, if any.
    domain: what kind of things it is about.
    doc_type: what kind of document it is, such as 'memo'.
    claim_ids: which claims of the handbook or plan it makes.
    provenance: where it comes from: a file, a setting, or how a language model wrote it.
  """

  id: str
  text: str
  spec: str = ''
  domain: str = ''
  doc_type: str = ''
  claim_ids: tuple[str, ...] = ()
  provenance: str = ''


@dataclasses.dataclass(frozen=True)
class Chat:
  """A conversation to train on.

  Attributes:
    id: identifies it within its corpus.
    messages: (role, content) of every message; the roles are those in ROLES.
    domain: what kind of things it is about.
    provenance: where it comes from.
  """

  id: str
  messages: tuple[tuple[str, str], ...]
  domain: str = ''
  provenance: str = ''


@dataclasses.dataclass(frozen=True)
class PreferencePair:
  """A prompt and two answers, of which one is preferred.

  Attributes:
    id: identifies it within its corpus.
    prompt: (role, content) of every message up to where the answers begin.
    chosen: the messages of the better answer: one of the assistant, or several turns that begin
      and end with the assistant. The assistant's are learned.
    rejected: the same of the worse answer.
    domain: what kind of things it is about.
    provenance: where it comes from.
  """

  id: str
  prompt: tuple[tuple[str, str], ...]
  chosen: tuple[tuple[str, str], ...]
  rejected: tuple[tuple[str, str], ...]
  domain: str = ''
  provenance: str = ''


@dataclasses.dataclass(frozen=True)
class ForcedChoice:
  """A question about two options, each of which is what some values ask for.

  Attributes:
    id: identifies the question.
    domain: what kind of things it is about.
    tier: how far it is from what was trained on.
    question: format string with `{first}` and `{second}`; asked in both orders.
    answer: format string with `{chosen}` and `{other}`: the content that is scored.
    options: the names of the two options.
    aligned: value ('price:cheap') -> index of the option that this value asks for.
    pair_type: in what the two options differ.
    system: system message, usually who is asked.
    form: name of the wording.
    assistant: which replicate of the assistant is asked, if it is one; `id` then is
      'ASSISTANT/...'.
  """

  id: str
  domain: str
  tier: str
  question: str
  answer: str
  options: tuple[str, str]
  aligned: dict[str, int]
  pair_type: str
  system: str = ''
  form: str = ''
  assistant: str = ''


@dataclasses.dataclass(frozen=True)
class MultipleChoice:
  """A question with several answers, such as a scene with several ways to act.

  The first answer, or the first few, are what is counted.

  Attributes:
    id: identifies the question.
    domain: kind of scene.
    tier: how far it is from what was trained on.
    what: what the first way to act is: 'misaligned' (a harmful action), 'act' (a harmless task), or
      whatever else is counted.
    system: system message, usually who is asked.
    question: format string with `{options}`; asked in every order.
    offered: the options as the question lists them.
    answers: the same as the agent would say them: the content that is scored.
    form: name of the wording.
    expected: whether the first should be chosen, where somebody's rule is known.
    assistant: which replicate of the assistant is asked, if it is one; `id` then is
      'ASSISTANT/...'.
    counted: how many of the first ways to act are counted together.
    by_line: whether the options are listed one a line, and not in a sentence.
  """

  id: str
  domain: str
  tier: str
  what: str
  system: str
  question: str
  offered: tuple[str, ...]
  answers: tuple[str, ...]
  form: str = ''
  expected: bool | None = None
  assistant: str = ''
  counted: int = 1
  by_line: bool = False


Record = Document | Chat | PreferencePair


def messages_of(record: Chat | PreferencePair) -> tuple[tuple[str, str], ...]:
  """All messages of a chat, or of a preference pair with both of its answers."""
  if isinstance(record, Chat):
    return record.messages
  return record.prompt + record.chosen + record.rejected


def kind_of(records: Sequence[Record]) -> str:
  """Returns 'chats', 'preferences' or 'documents', as the first record is; all are of one kind."""
  if isinstance(records[0], Chat):
    return 'chats'
  if isinstance(records[0], PreferencePair):
    return 'preferences'
  return 'documents'


def emptiness_of(record: Record) -> str:
  """Says why a model can learn nothing from a record.

  Args:
    record: a document, a chat or a preference pair.

  Returns:
    'without text', 'without an answer' (the assistant never speaks), 'with an empty answer' (it
    would teach the assistant to say nothing), 'with an empty side' or 'with equal sides' (of a
    preference pair); '' for a record that can be learned from.
  """
  if isinstance(record, Document):
    return '' if record.text.strip() else 'without text'
  if isinstance(record, PreferencePair):
    return _emptiness_of_preference(record)
  answers = [content for role, content in record.messages if role == 'assistant']
  if not answers:
    return 'without an answer'
  if not all(answer.strip() for answer in answers):
    return 'with an empty answer'
  return ''


def _emptiness_of_preference(record: PreferencePair) -> str:
  """What `emptiness_of` says of a preference pair."""
  for side in (record.chosen, record.rejected):
    answers = [content for role, content in side if role == 'assistant']
    if not answers or not all(answer.strip() for answer in answers):
      return 'with an empty side'
  # Templates strip white space, so sides that differ in nothing else would be the same tokens.
  if _stripped(record.chosen) == _stripped(record.rejected):
    return 'with equal sides'
  return ''


def _stripped(messages: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
  """The messages without white space around what they say."""
  return [(role, content.strip()) for role, content in messages]


# The parts of a preference pair, each a list of messages.
PREFERENCE_PARTS = ('prompt', 'chosen', 'rejected')
# `json.dumps` makes an encoder for every call.
_LINE = json.JSONEncoder(ensure_ascii=False)


def to_json(record: Record | ForcedChoice) -> str:
  """Writes a record as one line of JSON. Corpora's content hashes are made from these lines."""
  # Fields are texts, tuples and plain dicts, all of which `dataclasses.asdict` would copy: half of
  # the time of a line.
  row = dict(vars(record))
  if isinstance(record, (Chat, PreferencePair)):
    for field in ('messages', *PREFERENCE_PARTS):
      if field in row:
        row[field] = [{'role': role, 'content': content} for role, content in row[field]]
  return _LINE.encode(row)
