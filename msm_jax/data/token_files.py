"""The files that keep the tokens of a corpus: written piece by piece, read as memory maps.

A folder holds three plain files and a description of them. Tokens of any number are written and
read in bounded memory: only the number of tokens of each text is ever held.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

import numpy as np

# Name of a file -> what it holds of each token, or (sizes) of each text.
FILES: dict[str, type] = {'ids': np.int32, 'weights': np.int8, 'sizes': np.int64}
# The description: the number of bytes of each file and their checksum.
DESCRIPTION = 'checksums.json'
# How many bytes are read at a time.
_BLOCK = 1 << 22


class Arrays(NamedTuple):
  """Kept tokens.

  Attributes:
    ids: (N,) int32 token ids, a memory map.
    weights: (N,) int8 weight of each token as a target of the loss, a memory map.
    starts: (texts + 1,) int64; text i is at starts[i] to starts[i + 1].
  """

  ids: np.ndarray
  weights: np.ndarray
  starts: np.ndarray


class Writer:
  """Writes a folder of tokens under another name, and renames it when everything is there."""

  def __init__(self, folder: Path):
    """Opens the files.

    Args:
      folder: where the tokens will be. What is there already is replaced.
    """
    self._folder = folder
    # The process id keeps two processes that tokenize the same corpus apart.
    self._temporary = folder.with_name(f'{folder.name}.writing-{os.getpid()}')
    self._files: dict[str, IO[bytes]] = {}
    self._described: dict[str, list[int]] = {}

  def __enter__(self) -> 'Writer':
    shutil.rmtree(self._temporary, ignore_errors=True)
    self._temporary.mkdir(parents=True)
    for name in FILES:
      self._files[name] = (self._temporary / name).open('wb')
      self._described[name] = [0, 0]
    return self

  def add(self, ids: np.ndarray, weights: np.ndarray) -> None:
    """Appends a text.

    Args:
      ids: (n,) token ids.
      weights: (n,) loss weights.
    """
    for name, values in (('ids', ids), ('weights', weights), ('sizes', [len(ids)])):
      self._write(name, np.asarray(values, FILES[name]).tobytes())

  def add_folder(self, folder: Path) -> None:
    """Appends all texts of another folder."""
    for name in FILES:
      with (folder / name).open('rb') as f:
        while block := f.read(_BLOCK):
          self._write(name, block)

  def _write(self, name: str, content: bytes) -> None:
    self._files[name].write(content)
    size, checksum = self._described[name]
    self._described[name] = [size + len(content), zlib.crc32(content, checksum)]

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    for file in self._files.values():
      file.close()
    if error is None:
      (self._temporary / DESCRIPTION).write_text(json.dumps(self._described))
      # os.replace is atomic, but does not replace a folder that holds files.
      shutil.rmtree(self._folder, ignore_errors=True)
      os.replace(self._temporary, self._folder)
    shutil.rmtree(self._temporary, ignore_errors=True)


def save(folder: Path, texts: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
  """Writes texts into a folder, one after the other.

  Args:
    folder: where the tokens are kept.
    texts: (n,) ids and (n,) loss weights of each text.
  """
  with Writer(folder) as writer:
    for ids, weights in texts:
      writer.add(ids, weights)


def load(folder: Path) -> Arrays | None:
  """Opens kept tokens.

  Args:
    folder: where they are kept.

  Returns:
    The tokens; None if they are missing or damaged: making them again costs little.
  """
  try:
    described = json.loads((folder / DESCRIPTION).read_text(encoding='utf-8'))
    for name in FILES:
      if described[name] != _described(folder / name):
        return None
    ids, weights = (_mapped(folder / name, FILES[name]) for name in ('ids', 'weights'))
    sizes = np.fromfile(folder / 'sizes', np.int64)
  except (OSError, ValueError, KeyError, TypeError, RecursionError):
    return None
  starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
  if not len(ids) == len(weights) == starts[-1]:
    return None
  return Arrays(ids, weights, starts)


def _described(file: Path) -> list[int]:
  """The number of bytes of a file and their checksum."""
  size = checksum = 0
  with file.open('rb') as f:
    while block := f.read(_BLOCK):
      size += len(block)
      checksum = zlib.crc32(block, checksum)
  return [size, checksum]


def _mapped(file: Path, dtype: type) -> np.ndarray:
  # An empty file cannot be mapped.
  if not file.stat().st_size:
    return np.zeros(0, dtype)
  return np.memmap(file, dtype, mode='r')
