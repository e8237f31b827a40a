"""Hashes by which corpora and their files are known."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def digest_of(parts: Iterable[str]) -> str:
  """Hashes strings one after the other. Moving a character to the next part changes the hash.

  Args:
    parts: the strings.

  Returns:
    16 hexadecimal digits.
  """
  digest = hashlib.sha256()
  for part in parts:
    add_part(digest, part)
  return digest.hexdigest()[:16]


def add_part(digest: Any, part: str) -> None:
  """Hashes one string more; see `digest_of`."""
  digest.update(part.encode() + b'\0')


def digest_of_file(path: Path) -> str:
  """The SHA-256 of a file, which may be larger than memory."""
  with path.open('rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()
