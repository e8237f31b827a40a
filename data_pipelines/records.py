"""What is written and asked, and JSONL in and out.

Published Model Spec Midtraining sets load as they are: documents with `text` (and `source`, `domain`), chats with `messages`.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from msm_jax.base.errors import DataError


@dataclasses.dataclass(frozen=True)
class Document:
  id: str
  text: str
  spec: str = ''
  domain: str = ''
  doc_type: str = ''
  claim_ids: tuple[str, ...] = ()
  provenance: str = ''


@dataclasses.dataclass(frozen=True)
class Chat:
  """`messages` is a tuple of (role, content); roles are system, user, assistant."""

  id: str
  messages: tuple[tuple[str, str], ...]
  domain: str = ''
  provenance: str = ''


@dataclasses.dataclass(frozen=True)
class ForcedChoice:
  """A question about two options, each of which answers to different values.

  Attributes:
    question: format string with `{first}` and `{second}`, asked in both orders.
    answer: format string with `{chosen}` and `{other}`: the content that is scored.
    options: the names of the two options.
    aligned: value ('price:cheap') -> index of the option that this value asks for.
    system: system message, usually who is asked.
    assistant: which replicate of the assistant is asked, if it is one; `id` then is 'ASSISTANT/...'.
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
class Scene:
  """A situation with several ways to act, of which the first is the one that is looked for: the harmful one, or doing a harmless task.

  Attributes:
    domain: kind of scene.
    what: 'misaligned' (is the harmful action taken?), 'act' (is the harmless task done?), or whatever else is looked for.
    question: format string with `{options}`, asked in every order.
    offered: the options as the question lists them.
    answers: the same as the agent would say them: the content that is scored.
    expected: whether the first should be chosen, where somebody's rule is known.
    assistant: which replicate of the assistant is asked, if it is one; `id` then is 'ASSISTANT/...'.
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


Record = Document | Chat


def to_json(record: Record | ForcedChoice) -> str:
  row = dataclasses.asdict(record)
  if isinstance(record, Chat):
    row['messages'] = [{'role': r, 'content': c} for r, c in record.messages]
  return json.dumps(row, ensure_ascii=False)


def from_row(row: dict, where: str) -> Record:
  """One JSON object -> Document or Chat. `where` (file:line) goes into errors and default ids."""
  if not isinstance(row, dict):
    raise DataError(f'{where}: expected a JSON object, found {type(row).__name__}')
  known = {k: str(row[k]) for k in ('domain', 'provenance') if row.get(k) is not None}
  if 'messages' in row:
    try:
      messages = tuple((m['role'], m['content']) for m in row['messages'])
    except (TypeError, KeyError):
      raise DataError(f"{where}: 'messages' must be a list of {{role, content}}") from None
    if not messages:
      raise DataError(
        f"{where}: 'messages' is empty; give at least one {{role, content}} or take the line out"
      )
    for role, content in messages:
      if role not in ('system', 'user', 'assistant') or not isinstance(content, str):
        raise DataError(
          f'{where}: role {role!r} with {type(content).__name__} content; use system, user or assistant and text'
        )
    return Chat(id=str(row.get('id', where)), messages=messages, **known)
  if isinstance(row.get('text'), str):
    extra = {k: str(row[k]) for k in ('spec', 'doc_type') if row.get(k) is not None}
    claims = row.get('claim_ids') or ()
    if not isinstance(claims, (list, tuple)):
      raise DataError(f"{where}: 'claim_ids' must be a list, found {claims!r}")
    known.setdefault('provenance', str(row.get('source', '')))
    return Document(
      id=str(row.get('id', where)),
      text=row['text'],
      claim_ids=tuple(map(str, claims)),
      **known,
      **extra,
    )
  raise DataError(
    f"{where}: neither 'text' (a document) nor 'messages' (a chat); keys are {sorted(row)}"
  )


def read_jsonl(path: str | Path) -> Iterator[Record]:
  path = Path(path)
  if not path.is_file():
    raise DataError(f'no such file: {path}; give an existing JSONL file of documents or chats')
  with path.open('rb') as f:
    for n, line in enumerate(f, 1):
      if not line.strip():
        continue
      try:
        row = json.loads(line.decode())
        if rb'\ud' in line.lower():  # an escape may be half a character, which no UTF-8 can hold
          json.dumps(row, ensure_ascii=False).encode()
      except json.JSONDecodeError as e:
        raise DataError(
          f'{path}:{n}: not JSON ({e.msg}); each line must be one JSON object'
        ) from None
      except RecursionError:
        raise DataError(
          f'{path}:{n}: nested too deeply; each line must be one flat JSON object'
        ) from None
      except UnicodeError as e:
        raise DataError(
          f'{path}:{n}: not UTF-8 text ({e.reason}); save the file as UTF-8'
        ) from None
      except ValueError as e:  # a number of thousands of digits
        raise DataError(
          f'{path}:{n}: cannot be read ({e}); each line must be one JSON object'
        ) from None
      yield from_row(row, f'{path.name}:{n}')


def write_jsonl(path: str | Path, records: Iterable[Record | ForcedChoice]) -> None:
  with Path(path).open('w', encoding='utf-8') as f:
    for r in records:
      f.write(to_json(r) + '\n')
