"""Checks the lengths in the header of a GGUF file before the file is read.

A header says how many entries and characters follow. The `gguf` package believes what it says: a
file of 51 bytes that claims an array of 2**62 entries would keep it busy for ever. So the header is
walked through here first, and whatever would lie behind the end of the file is an error.

Layout: magic, version, numbers of tensors and of keys; then the keys, each with its type and value;
then the tensors, each with its name, dimensions, type and offset. Source: docs/gguf.md of ggml.
"""

import mmap
import struct
from pathlib import Path

MAGIC = b'GGUF'

# Number of a scalar type -> its bytes. The others are texts and arrays.
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9

# The longest array that is read. The largest vocabularies have 300,000 tokens, and merges as many.
MAX_ENTRIES = 1 << 22
# ggml knows no more dimensions.
MAX_DIMENSIONS = 4


class _Cursor:
  """A place in a file, which moves on as numbers and texts are read."""

  def __init__(self, data: mmap.mmap):
    self._data = data
    self._position = 0

  def skip(self, n_bytes: int) -> bytes:
    """Moves on, and gives what lies on the way if it is short."""
    start = self._position
    if n_bytes > len(self._data) - start:
      raise ValueError('it says that more follows than the file holds')
    self._position += n_bytes
    if n_bytes > 8:
      return b''
    return self._data[start : start + n_bytes]

  def number(self, code: str) -> int:
    """Reads a number; `code` is that of the module `struct`."""
    layout = f'<{code}'
    (value,) = struct.unpack(layout, self.skip(struct.calcsize(layout)))
    return value

  def skip_text(self) -> None:
    self.skip(self.number('Q'))


def check_header(path: Path) -> None:
  """Checks that everything of which a file's header speaks can be in the file.

  Args:
    path: the file.

  Raises:
    ValueError: it is no GGUF file, or a part of one, or one that is nested or too long.
  """
  # An empty file cannot be mapped, which raises ValueError, too.
  with (
    path.open('rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
  ):
    _walk(_Cursor(data))


def is_swapped(path: Path) -> bool:
  """Whether a file is of the other byte order: its version, a small number, is then a large one."""
  with path.open('rb') as file:
    start = file.read(8)
  return start[:4] == MAGIC and len(start) == 8 and start[4:6] == b'\0\0'


def _walk(cursor: _Cursor) -> None:
  if cursor.skip(4) != MAGIC:
    raise ValueError('it does not begin with GGUF')
  cursor.number('I')
  n_tensors = cursor.number('Q')
  n_keys = cursor.number('Q')
  # Each of them takes some bytes, so these loops end where the file does.
  for _ in range(n_keys):
    cursor.skip_text()
    _skip_value(cursor, cursor.number('I'))
  for _ in range(n_tensors):
    cursor.skip_text()
    n_dimensions = cursor.number('I')
    if n_dimensions > MAX_DIMENSIONS:
      raise ValueError(f'a tensor has {n_dimensions} dimensions')
    cursor.skip(8 * n_dimensions)
    # Its type and its offset.
    cursor.skip(4 + 8)


def _skip_value(cursor: _Cursor, kind: int) -> None:
  if kind in SCALAR_BYTES:
    cursor.skip(SCALAR_BYTES[kind])
  elif kind == STRING:
    cursor.skip_text()
  elif kind == ARRAY:
    _skip_array(cursor)
  else:
    raise ValueError(f'a value is of the unknown type {kind}')


def _skip_array(cursor: _Cursor) -> None:
  kind = cursor.number('I')
  n_entries = cursor.number('Q')
  if n_entries > MAX_ENTRIES:
    raise ValueError(f'an array is said to have {n_entries} entries')
  if kind in SCALAR_BYTES:
    cursor.skip(SCALAR_BYTES[kind] * n_entries)
  elif kind == STRING:
    for _ in range(n_entries):
      cursor.skip_text()
  else:
    # No model has arrays of arrays, and they could be nested without an end.
    raise ValueError(f'an array holds values of type {kind}')
