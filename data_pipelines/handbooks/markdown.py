"""The parser of handbook files: Markdown with front matter, split into sections.

    ---
    assistant: Ari
    maker: Norvale          # keys and values of the front matter; '# ...' is a comment
    ---
    # Title
    ## Section              text until the next '## '
    ### Heading             text until the next '### '

Every reader of handbooks (of all settings and of the corpora that language models write) goes
through this module. specs/README.md describes the format for authors.
"""

import dataclasses
import hashlib
import re
from pathlib import Path

from msm_jax.base.errors import SpecError

# '---', lines, '---'. The second group is the body, which may be empty.
_FRONT_MATTER = re.compile(r'\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)(.*)', re.S)
_SECTION = re.compile(r'^##[ \t]+(.+?)[ \t]*$', re.M)
_HEADING = re.compile(r'^###[ \t]+(.+?)[ \t]*$', re.M)


@dataclasses.dataclass(frozen=True)
class MarkdownFile:
  """A handbook file, split into its parts.

  Attributes:
    front: the front matter, key -> value; keys are in lower case.
    body: everything below the front matter, as it stands in the file.
    sections: title of a '## ' section in lower case -> its text, '### ' headings included, in the
      order of the file.
    sha256: the first 16 hexadecimal digits of the hash of the whole text.
  """

  front: dict[str, str]
  body: str
  sections: dict[str, str]
  sha256: str


def read_markdown(path: Path) -> MarkdownFile:
  """Reads a handbook file and splits it into its parts.

  Args:
    path: a Markdown file in UTF-8.

  Returns:
    The parts of the file.

  Raises:
    SpecError: if there is no such file, if it is not UTF-8, if its front matter is missing or has a
      line that is not 'key: value', or if two sections have the same title.
  """
  if not path.is_file():
    raise SpecError(
      f'no spec at {path}; give the path of a Markdown handbook, '
      'such as specs/cheese_affordability.md'
    )
  try:
    # 'utf-8-sig' drops the byte order mark that some editors put at the start.
    text = path.read_text(encoding='utf-8-sig')
  except UnicodeDecodeError:
    raise SpecError(f'{path}: not UTF-8 text; save the handbook as UTF-8 Markdown') from None
  if not _FRONT_MATTER.match(text):
    raise SpecError(
      f"{path}: no front matter; begin the file with '---', then 'assistant: NAME', 'maker: NAME' "
      'and what else its setting needs (specs/README.md), each in a line of its own, then '
      "'---'"
    )
  lines, body = _split(text)
  # The lenient parser below passes over such lines; in a handbook they are mistakes.
  for line in lines:
    if ':' not in line:
      raise SpecError(f"{path}: front matter line {line.strip()!r} is not 'key: value'")
  sha256 = hashlib.sha256(text.encode()).hexdigest()[:16]
  return MarkdownFile(_parse_front_matter(lines), body, _sections(body, path), sha256)


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
  """Splits any Markdown text into its front matter and the rest.

  This is the lenient form of `read_markdown`, for text that need not be a handbook: it raises no
  errors.

  Args:
    text: Markdown, with or without front matter.

  Returns:
    (key -> value, the text below the front matter). Without front matter: an empty dict and the
    text as it is.
  """
  lines, body = _split(text)
  return _parse_front_matter(lines), body


def split_headings(section: str) -> list[tuple[str, str]]:
  """Splits the text of a section at its '### ' headings.

  Args:
    section: the text of one section.

  Returns:
    (heading, the text below it) for each heading, in order. Text above the first heading is left
    out.
  """
  # re.split with one group gives [text before, heading, text, heading, text, ...].
  parts = _HEADING.split(section)
  return list(zip(parts[1::2], parts[2::2], strict=True))


def _split(text: str) -> tuple[list[str], str]:
  """Returns the lines of the front matter, without blank lines and comments, and the body."""
  match = _FRONT_MATTER.match(text)
  if match is None:
    return [], text
  lines = []
  for line in match[1].splitlines():
    if line.strip() and not line.lstrip().startswith('#'):
      lines.append(line)
  return lines, match[2]


def _parse_front_matter(lines: list[str]) -> dict[str, str]:
  """Reads 'key: value' lines. Lines without a colon are passed over."""
  front = {}
  for line in lines:
    key, colon, value = line.partition(':')
    if not colon:
      continue
    # '#' needs a space before it, so that a value such as 'C#' is kept.
    without_comment = value.split(' #')[0].strip()
    front[key.strip().lower()] = without_comment.strip('\'"')
  return front


def _sections(body: str, path: Path) -> dict[str, str]:
  """Splits the body at its '## ' headings: title in lower case -> text."""
  # As in split_headings; text above the first section (the title) is left out.
  parts = _SECTION.split(body)
  sections: dict[str, str] = {}
  for title, text in zip(parts[1::2], parts[2::2], strict=True):
    name = title.casefold()
    if name in sections:
      raise SpecError(f"{path}: section '## {name.capitalize()}' stands there twice; join the two")
    sections[name] = text
  return sections
