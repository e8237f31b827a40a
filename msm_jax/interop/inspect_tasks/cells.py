"""Keeps finished cells on disk, so that a killed run repeats none of them.

A cell is one scene worked through by one arm with one seed. Its line in cells.jsonl is written and
flushed to the disk as soon as the cell has ended. The key of a cell is a hash of all that decides
what is asked; other settings have other keys, and the old cells stay.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from msm_jax.base.errors import WorkdirError
from msm_jax.base.files import checked_line, read_checked_line
from msm_jax.interop.inspect_tasks.office import Event

# Raise it when a cell is run or kept in another way.
VERSION = '4'


class Cell(TypedDict):
  """A finished cell, as cells.jsonl has it.

  Attributes:
    key: the hash of what was asked.
    arm: the arm, or the name of the model.
    seed: its seed.
    scene: the id of the scene.
    ending: how it ended; see `solver.py`.
    events: the trace.
    turns: [role, text] of each message after the desk was laid out.
  """

  key: str
  arm: str
  seed: int
  scene: str
  ending: str
  events: list[Event]
  turns: list[list[str]]


def key_of(parts: Mapping[str, Any]) -> str:
  """A hash of what decides what is asked; values go into JSON."""
  encoded = json.dumps({**parts, 'cells': VERSION}, sort_keys=True, ensure_ascii=False)
  return hashlib.sha256(encoded.encode()).hexdigest()[:24]


class CellStore:
  """The finished cells of a folder.

  Attributes:
    path: cells.jsonl.
    cells: key -> cell.
  """

  def __init__(self, path: Path):
    """Opens or makes the file.

    Args:
      path: cells.jsonl. A last line that a killed process left half-written is ignored.

    Raises:
      WorkdirError: the file cannot be read.
    """
    self.path = path
    self.cells: dict[str, Cell] = {}
    try:
      content = path.read_bytes()
    except FileNotFoundError:
      content = b''
    except OSError as e:
      raise WorkdirError(f'cannot read {path} ({e.strerror}); move it away') from None
    for line in content.split(b'\n'):
      cell = _read(line)
      if cell is not None:
        self.cells[cell['key']] = cell
    self._needs_newline = bool(content) and not content.endswith(b'\n')

  def add(self, cell: Cell) -> None:
    """Keeps a cell; when this returns, it is on the disk.

    Args:
      cell: the finished cell.
    """
    # One line in one write: another process that reads sees it whole or cut, never mixed.
    line = checked_line({**cell})
    # A half-written line of a killed process is closed, so that it spoils no other.
    if self._needs_newline:
      line = '\n' + line
    # The same if this line is cut by a full disk: the run goes on with its other cells.
    self._needs_newline = True
    with self.path.open('ab') as f:
      f.write(line.encode())
      f.flush()
      os.fsync(f.fileno())
    self._needs_newline = False
    self.cells[cell['key']] = cell


def _read(line: bytes) -> Cell | None:
  """The cell of a line; None for an empty, cut, changed or foreign line."""
  cell = read_checked_line(line)
  if cell is None or not cell.keys() >= Cell.__annotations__.keys():
    return None
  return cell  # type: ignore[return-value]
