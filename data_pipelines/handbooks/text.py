"""Handbooks as the writers of a corpus see them: text, and who it is about.

Any Markdown file will do whose front matter names the two (specs/README.md):

    ---
    assistant: Ari
    maker: Norvale
    ---
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.handbooks.specs import check_name, read_markdown
from msm_jax.base.errors import SpecError

STEM = re.compile(r'\w[\w.-]*')


@dataclasses.dataclass(frozen=True)
class Handbook:
  """`stem` is what its corpus is called; `text` has no front matter."""

  path: str
  stem: str
  sha256: str
  assistant: str
  maker: str
  text: str


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
  """(front matter, the rest) of any Markdown; whether the former is as it should be, data_pipelines.specs tells."""
  m = re.match(r'\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)(.*)', text, re.S)
  lines = (
    line.partition(':')
    for line in (m[1].splitlines() if m else ())
    if ':' in line and not line.lstrip().startswith('#')
  )
  return {k.strip().lower(): v.split(' #')[0].strip().strip('\'"') for k, _, v in lines}, m[
    2
  ] if m else text


def read_handbook(path: str | Path) -> Handbook:
  """Raises SpecError."""
  path = Path(path)
  front, _, sha256 = read_markdown(path)
  check_name(front.get('assistant', ''), (), f"{path}: front matter needs 'assistant: NAME'")
  check_name(
    front.get('maker', ''), (front['assistant'],), f"{path}: front matter needs 'maker: NAME'"
  )
  if not STEM.fullmatch(path.stem):
    raise SpecError(
      f'{path}: its corpus would be named {path.stem!r}; rename the file to letters, digits, dots and dashes'
    )
  text = split_front_matter(path.read_text(encoding='utf-8-sig'))[1].strip()
  if not text:
    raise SpecError(f'{path}: nothing stands below its front matter; write the handbook there')
  return Handbook(str(path), path.stem, sha256, front['assistant'], front['maker'], text)


def read_handbooks(paths: Sequence[str]) -> tuple[Handbook, ...]:
  """Several are mirrored: one assistant, one maker, file names that differ. Raises SpecError."""
  handbooks = tuple(read_handbook(p) for p in paths)
  first = handbooks[0]
  for other in handbooks[1:]:
    if (other.assistant, other.maker) != (first.assistant, first.maker):
      raise SpecError(
        f'{first.path} and {other.path} are about different assistants or makers; mirrored handbooks differ in their reasons alone'
      )
  if len({h.stem for h in handbooks}) < len(handbooks):
    raise SpecError(
      f'two handbooks are called {first.stem}; rename one, since corpora are called after them'
    )
  return handbooks


def fenced(text: str) -> str:
  """The text between fences that it cannot close."""
  longest = max((len(run) for run in re.findall(r'`+', text)), default=0)
  fence = '`' * max(3, longest + 1)
  return f'{fence}\n{text.strip()}\n{fence}'


def shown(handbooks: Sequence[Handbook]) -> str:
  """All handbooks, as prompts show them."""
  if len(handbooks) == 1:
    return f'The handbook of {handbooks[0].assistant}:\n\n{fenced(handbooks[0].text)}'
  return '\n\n'.join(
    f'Handbook {chr(ord("A") + n)} of {h.assistant}:\n\n{fenced(h.text)}'
    for n, h in enumerate(handbooks)
  )
