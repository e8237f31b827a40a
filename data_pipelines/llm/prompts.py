"""Reads prompts from files and fills in their places.

A prompt is a file `prompts/NAME.md`: the system message, a line of three dashes, the user
message. Places such as {{handbooks}} are filled in. The version of a prompt is the hash of its
file, so a corpus knows when a prompt changed.
"""

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
  """A prompt whose places are filled in.

  Attributes:
    name: the name of the file, without its ending.
    version: the hash of the file.
    system: the system message.
    user: the user message.
  """

  name: str
  version: str
  system: str
  user: str


# Cached, so that one run works with one text even if somebody edits the file meanwhile.
@functools.cache
def _read(folder: Path, name: str) -> tuple[str, str]:
  """(text, version) of a prompt file."""
  content = (folder / f'{name}.md').read_bytes()
  return content.decode(), hashlib.sha256(content).hexdigest()[:12]


def version(name: str) -> str:
  """The hash of a prompt's file."""
  return _read(FOLDER, name)[1]


def versions(names: Iterable[str]) -> dict[str, str]:
  """The hashes of several prompts' files, by name in alphabetical order."""
  return {name: version(name) for name in sorted(names)}


def fill(name: str, **values: object) -> Prompt:
  """Fills in the places of a prompt, all at once: a value with braces in it stays as it is.

  Args:
    name: the name of the prompt.
    **values: what to put in each place.

  Returns:
    The prompt, without spaces at the ends of its two parts.

  Raises:
    ValueError: a place has no value, a value has no place, or the file has no line of three dashes.
  """
  text, file_version = _read(FOLDER, name)
  places = set(PLACE.findall(text))
  unmatched = places ^ set(values)
  if unmatched:
    names = ', '.join(sorted(unmatched))
    raise ValueError(f'prompt {name}: {names} must stand in the file and be given')
  # The file is parted before values are put in: a value may have a line of dashes, too.
  system, dashes, user = text.partition('\n---\n')
  if not dashes:
    raise ValueError(
      f'prompt {name}: no line of three dashes between the system part and the user part'
    )

  def value_of(place: re.Match[str]) -> str:
    return str(values[place[1]])

  system = PLACE.sub(value_of, system).strip()
  user = PLACE.sub(value_of, user).strip()
  return Prompt(name, file_version, system, user)
