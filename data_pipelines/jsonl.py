"""Records from JSONL files and into them. Files may be packed by gzip or Zstandard.

Published Model Spec Midtraining sets load as they are: documents with `text` (and `source`,
`domain`), chats with `messages`. So do published sets of preferences (`preference_rows.py`).
"""

import codecs
import gzip
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from data_pipelines.preference_rows import (
  ROLES,
  check_message,
  check_row,
  is_preference,
  put_system_first,
  read_preference,
  read_system,
)
from data_pipelines.records import Chat, Document, ForcedChoice, PreferencePair, Record, to_json
from msm_jax.base.errors import DataError


def from_row(row: Any, where: str) -> Record:
  """Turns one JSON object into a document, a chat or a preference.

  Args:
    row: what the JSON says. It has `text` (a document), `messages` (a chat), or two answers such as
      `chosen` and `rejected` (a preference); fields that records do not have are left out.
    where: 'file:line'. Errors name it, and it is the id of a record that has none.

  Returns:
    The record.

  Raises:
    DataError: if it is none of these, or if a field is not what it should be.
  """
  if not isinstance(row, dict):
    raise DataError(f'{where}: expected a JSON object, found {type(row).__name__}')
  # Sets of preferences may repeat the better conversation as `messages`, so these come first.
  if is_preference(row):
    return _preference_from_row(row, where)
  if 'messages' in row:
    return _chat_from_row(row, where)
  if isinstance(row.get('text'), str):
    return _document_from_row(row, where)
  if 'text' in row:
    found = 'null' if row['text'] is None else f'of the type {type(row["text"]).__name__}'
    raise DataError(f"{where}: 'text' is {found}; give a text in quotes, or take the line out")
  raise DataError(
    f"{where}: neither 'text' (a document) nor 'messages' (a chat), nor 'chosen' and 'rejected' "
    f'(a preference); keys are {sorted(row)}: rename those that are meant'
  )


def _preference_from_row(row: dict[str, Any], where: str) -> PreferencePair:
  """Reads a preference. Raises DataError."""
  prompt, chosen, rejected = read_preference(row, where)
  return PreferencePair(
    id=_id_of(row, where),
    prompt=prompt,
    chosen=chosen,
    rejected=rejected,
    domain=_text_or_empty(row, 'domain'),
    provenance=_text_or_empty(row, 'provenance'),
  )


def _chat_from_row(row: dict[str, Any], where: str) -> Chat:
  """Reads a chat. Raises DataError."""
  try:
    messages = tuple((m['role'], m['content']) for m in row['messages'])
  except (TypeError, KeyError):
    raise DataError(f"{where}: 'messages' must be a list of {{role, content}}") from None
  if not messages:
    raise DataError(
      f"{where}: 'messages' is empty; give at least one {{role, content}} or take the line out"
    )
  for role, content in messages:
    if role not in ROLES or not isinstance(content, str):
      raise DataError(
        f'{where}: role {role!r} with {type(content).__name__} content; '
        'use system, user or assistant and text'
      )
  check_row(row, where)
  for message in row['messages']:
    check_message(message, where)
  # Some sets keep the system message beside the others.
  messages = put_system_first(read_system(row, where), messages, where)
  return Chat(
    id=_id_of(row, where),
    messages=messages,
    domain=_text_or_empty(row, 'domain'),
    provenance=_text_or_empty(row, 'provenance'),
  )


def _document_from_row(row: dict[str, Any], where: str) -> Document:
  """Reads a document. Raises DataError."""
  # null and a missing field both mean that there are no claims.
  claims = row.get('claim_ids') or ()
  if not isinstance(claims, (list, tuple)):
    raise DataError(f"{where}: 'claim_ids' must be a list, found {claims!r}")
  # Published sets call it `source`.
  has_provenance = row.get('provenance') is not None
  provenance = _text_or_empty(row, 'provenance' if has_provenance else 'source')
  return Document(
    id=_id_of(row, where),
    text=row['text'],
    spec=_text_or_empty(row, 'spec'),
    domain=_text_or_empty(row, 'domain'),
    doc_type=_text_or_empty(row, 'doc_type'),
    claim_ids=tuple(str(claim) for claim in claims),
    provenance=provenance,
  )


def _id_of(row: dict[str, Any], where: str) -> str:
  """The id of a row; where it stands if its id is missing or null."""
  given = row.get('id')
  return where if given is None else str(given)


def _text_or_empty(row: dict[str, Any], key: str) -> str:
  """Returns a field as text; '' if it is missing or null."""
  value = row.get(key)
  if value is None:
    return ''
  return str(value)


def read_jsonl(path: str | Path) -> Iterator[Record]:
  """Reads records from a JSONL file, line by line. Blank lines are passed over.

  Args:
    path: a file in UTF-8, with or without a byte order mark, with one JSON object a line. It may be
      packed by gzip or Zstandard (which needs the package zstandard).

  Yields:
    The records, in the order of the file.

  Raises:
    DataError: if there is no such file, if it is of another kind, or if a line is no record; the
      error names file and line.
  """
  path = Path(path)
  if not path.is_file() and not path.is_dir():
    raise DataError(
      f'no such file: {path}; give an existing JSONL file of documents, chats or preferences'
    )
  for n, line in numbered_lines(path):
    row = parse_json_line(line, f'{path}:{n}')
    yield from_row(row, f'{path.name}:{n}')


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
  """Reads the lines of a JSONL file that are not blank, unpacked and without a byte order mark.

  Args:
    path: the file.

  Yields:
    (number of the line, its bytes).

  Raises:
    DataError: if there is no such file, if it cannot be unpacked, or if it is of another kind.
  """
  if path.is_dir():
    raise DataError(f'{path} is a folder; give the JSONL files in it, one by one')
  if not path.is_file():
    raise DataError(f'no such file: {path}; give an existing JSONL file')
  # Read as bytes: a file that is not UTF-8 should fail at its bad line, with the line's number.
  lines = _lines(path)
  # `next` is called by hand, so that the `try` holds the unpackers and nothing else.
  for n in itertools.count(1):
    try:
      line = next(lines)
    except StopIteration:
      return
    except DataError:
      raise
    # What the unpackers raise for a damaged file; zstandard's own error is a bare Exception.
    except Exception as e:
      raise DataError(
        f'{path} cannot be unpacked ({type(e).__name__}: {e}); download it again'
      ) from None
    if n == 1:
      _check_kind(path, line)
      line = line.removeprefix(codecs.BOM_UTF8)
    if line.strip():
      yield n, line


# The first bytes of packed files that are unpacked here.
_GZIP = b'\x1f\x8b'
_ZSTD = b'\x28\xb5\x2f\xfd'
# The first bytes of files that are not read -> what these files are.
_OTHER_KINDS = {
  b'PAR1': 'Parquet; write its rows as JSONL (pandas: to_json(orient="records", lines=True))',
  b'ARROW1': 'Arrow; write its rows as JSONL (datasets: to_json(path))',
  codecs.BOM_UTF16_LE: 'UTF-16; save it as UTF-8',
  codecs.BOM_UTF16_BE: 'UTF-16; save it as UTF-8',
  b'PK\x03\x04': 'a zip archive; unpack it first',
  b'BZh': 'packed by bzip2; unpack it first (bunzip2)',
  b'\xfd7zXZ': 'packed by xz; unpack it first (unxz)',
}
# Bytes that are unpacked at a time.
_CHUNK = 2**20


def _check_kind(path: Path, line: bytes) -> None:
  """Raises DataError if a file begins with this line and is of another kind than JSONL."""
  for magic, kind in _OTHER_KINDS.items():
    if line.startswith(magic):
      raise DataError(f'{path} is {kind}')
  # JSON has no zero bytes. Without a byte order mark, they are all that tells UTF-16.
  if b'\0' in line[:8]:
    raise DataError(f'{path} is UTF-16 or no text; save it as JSONL in UTF-8')


def _lines(path: Path) -> Iterator[bytes]:
  """The lines of a file, unpacked if it is packed. A damaged file raises whatever the unpacker
  raises."""
  with path.open('rb') as f:
    begin = f.read(4)
    f.seek(0)
    # The name may say anything, so the content decides.
    if begin.startswith(_GZIP):
      with gzip.GzipFile(fileobj=f) as unpacked:
        yield from unpacked
    elif begin == _ZSTD:
      yield from _split_lines(_unpack_zstd(path, f))
    else:
      yield from f


def _unpack_zstd(path: Path, file: IO[bytes]) -> Iterator[bytes]:
  """The content of a file packed by Zstandard, piece by piece."""
  # Imported here because it is optional.
  try:
    import zstandard
  except ImportError:
    raise DataError(
      f'{path} is packed by Zstandard; pip install zstandard, or unpack it first (unzstd)'
    ) from None
  unpacker = zstandard.ZstdDecompressor().decompressobj()
  is_complete = False
  for chunk in iter(lambda: file.read(_CHUNK), b''):
    while chunk:
      if is_complete:
        # Another frame follows, as after `cat a.zst b.zst`.
        unpacker = zstandard.ZstdDecompressor().decompressobj()
      yield unpacker.decompress(chunk)
      is_complete, chunk = unpacker.eof, unpacker.unused_data
  # A file that was cut ends without any error of the package.
  if not is_complete:
    raise EOFError('the file ends too early')


def _split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
  """Cuts a stream of bytes into lines, which keep their ends."""
  rest = b''
  for chunk in chunks:
    *lines, rest = (rest + chunk).split(b'\n')
    for line in lines:
      yield line + b'\n'
  if rest:
    yield rest


def parse_json_line(line: bytes, where: str) -> Any:
  """Parses one line of JSON.

  Args:
    line: the line as it stands in the file.
    where: 'file:line'; errors name it.

  Returns:
    What the JSON says.

  Raises:
    DataError: if it is no JSON that can be stored again.
  """
  try:
    row = json.loads(line.decode())
    # JSON may escape half of a surrogate pair ('\ud800'), which no UTF-8 can hold: writing the
    # corpus would fail much later.
    if rb'\ud' in line.lower():
      json.dumps(row, ensure_ascii=False).encode()
  except json.JSONDecodeError as e:
    raise DataError(f'{where}: not JSON ({e.msg}); each line must be one JSON object') from None
  except RecursionError:
    raise DataError(f'{where}: nested too deeply; each line must be one flat JSON object') from None
  except (UnicodeDecodeError, UnicodeEncodeError) as e:
    raise DataError(f'{where}: not UTF-8 text ({e.reason}); save the file as UTF-8') from None
  except ValueError as e:  # Python refuses numbers of thousands of digits
    raise DataError(f'{where}: cannot be read ({e}); each line must be one JSON object') from None
  return row


def write_jsonl(path: str | Path, records: Iterable[Record | ForcedChoice]) -> None:
  """Writes records to a JSONL file, one a line. A file that is there already is replaced."""
  with Path(path).open('w', encoding='utf-8') as f:
    for record in records:
      f.write(to_json(record) + '\n')
