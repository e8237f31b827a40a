"""Where documents are kept: texts while a run is under way, and whole corpora for training.

`TextStore` holds texts that arrive in any order until the corpus is written. `store` writes a
finished corpus as ArrayRecord, the format that training reads; demonstrations use it too.
"""

import array
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines import corpora
from data_pipelines.records import Record


class TextStore:
  """Values by number, in a temporary file.

  Replies come in any order, and a large corpus should not have to fit in memory: only the position
  of each value in the file is kept there (8 bytes). The file has no name, so that it disappears
  with the process.
  """

  def __init__(self, path: Path):
    self._file = path.open('w+b')
    path.unlink()
    # Position of each value in the file; -1 where there is none.
    self._positions = array.array('q')

  def __contains__(self, number: int) -> bool:
    return number < len(self._positions) and self._positions[number] >= 0

  def put(self, number: int, value: object) -> None:
    """Keeps a value that JSON can hold; it takes the place of an earlier one."""
    missing = number + 1 - len(self._positions)
    self._positions.extend([-1] * missing)
    self._positions[number] = self._file.seek(0, os.SEEK_END)
    self._file.write(json.dumps(value).encode() + b'\n')

  def get(self, number: int) -> Any:
    self._file.seek(self._positions[number])
    return json.loads(self._file.readline())

  def close(self) -> None:
    self._file.close()


def _holds(folder: Path, records: Sequence[Record]) -> bool:
  """Whether a folder holds exactly these records."""
  if not folder.exists():
    return False
  card = corpora.read_card(folder) or {}
  return card.get('content') == corpora.content_digest(records)


def remove_other(folder: Path, records: Sequence[Record]) -> None:
  """Removes what is stored for training if it is another corpus than these records.

  This happens when a folder's corpus was smaller before, and more was written since.
  """
  if folder.exists() and not _holds(folder, records):
    shutil.rmtree(folder)


def store(folder: Path, records: Sequence[Record], card: dict[str, Any]) -> None:
  """Stores a corpus as ArrayRecord, unless the folder holds it already."""
  if not _holds(folder, records):
    corpora.write_corpus(folder, records, card)
