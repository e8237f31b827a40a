"""Prompts are files, `prompts/NAME.md`: what is said to the system, a line of three dashes, what is said as the user. {{names}} are filled in."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / 'prompts'
PLACE = re.compile(r'{{(\w+)}}')


@dataclasses.dataclass(frozen=True)
class Prompt:
  """`version`: hash of the file that it was filled in from."""

  name: str
  version: str
  system: str
  user: str


@functools.cache
def _read(folder: Path, name: str) -> tuple[str, str]:
  """(text, version); one run has one text."""
  content = (folder / f'{name}.md').read_bytes()
  return content.decode(), hashlib.sha256(content).hexdigest()[:12]


def version(name: str) -> str:
  return _read(FOLDER, name)[1]


def versions(names: Iterable[str]) -> dict[str, str]:
  return {n: version(n) for n in sorted(names)}


def fill(name: str, **values: object) -> Prompt:
  """The prompt with its places filled in, all at once: whatever a value holds, braces too, stays as it is. Raises ValueError for a place without a
  value and for a value without a place."""
  text, read = _read(FOLDER, name)
  if (places := set(PLACE.findall(text))) != set(values):
    raise ValueError(
      f'prompt {name}: {", ".join(sorted(places ^ set(values)))} must stand in the file and be given'
    )
  system, line, user = text.partition('\n---\n')
  if not line:
    raise ValueError(
      f'prompt {name}: no line of three dashes between the system part and the user part'
    )
  system, user = (PLACE.sub(lambda m: str(values[m[1]]), part).strip() for part in (system, user))
  return Prompt(name, read, system, user)
