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
import functools
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from pathlib import Path

from msm_jax.base.errors import SpecError

# '---', lines, '---'. The second group is the body, which may be empty.
_FRONT_MATTER = re.compile(r'\s*---[ \t]*\n(.*?)\n---[ \t]*(?:\n|$)(.*)', re.S)
# A rule, and what no front matter begins with: an empty line, and then neither 'key: value' nor
# comments right above it.
_RULE = re.compile(r'\s*---[ \t]*\n[ \t]*\n(?!\s*(?:[ \t]*#[^\n]*\n)*[\w-]+[ \t]*:)')
# How a line of front matter begins: with a key of at most three words, as an entry of a list, or
# indented, where the line above goes on. Prose has more words before a colon.
_ENTRY = re.compile(r'[^\s:]+(?:[ \t]+[^\s:]+){0,2}[ \t]*:|-|[ \t]')
# Up to three spaces may stand before a heading.
_SECTION = re.compile(r'^ {0,3}##[ \t]+(.+?)[ \t]*$', re.M)
_HEADING = re.compile(r'^ {0,3}###[ \t]+(.+?)[ \t]*$', re.M)
# A block of code, whose lines are no headings; one without an end goes on to the end of the text.
# Backticks that have others behind them in the line stand around code within a sentence.
_CODE = re.compile(
  r'^ {0,3}(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*?(?:\n {0,3}(?P=fence)[`~]*[ \t]*$|\Z)', re.M | re.S
)
# A comment of HTML, or code, in which none is a comment: a block, or a part of a line.
_CODE_OR_COMMENT = re.compile(rf'(?P<code>{_CODE.pattern}|`[^`\n]+`)|<!--.*?-->', re.M | re.S)
# A value in quotes, and perhaps a comment.
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')[ \t]*(?:[ \t]#.*)?""")


@dataclasses.dataclass(frozen=True)
class MarkdownFile:
  """A handbook file, split into its parts.

  Attributes:
    path: the file.
    front: the front matter, key -> value; keys are in lower case.
    body: everything below the front matter, as it stands in the file.
    content: the whole text of the file.
    sha256: the first 16 hexadecimal digits of the hash of the whole text.
  """

  path: Path
  front: dict[str, str]
  body: str
  content: str
  sha256: str

  @functools.cached_property
  def sections(self) -> dict[str, str]:
    """Title of a '## ' section in lower case -> its text, '### ' headings included, in the order of
    the file. Comments of HTML are left out. Raises SpecError if two have the same title, which
    other readers may allow."""
    return _sections(without_comments(self.body), self.path)


def read_markdown(path: Path) -> MarkdownFile:
  """Reads a handbook file and splits it into its parts.

  Args:
    path: a Markdown file in UTF-8.

  Returns:
    The parts of the file.

  Raises:
    SpecError: if there is no such file, if it is not UTF-8, or if its front matter is missing, or
      has a line that is not 'key: value' or a key twice.
  """
  text = _read(path)
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
  for key in repeated_keys(text):
    raise SpecError(f'{path}: the front matter has {key!r} twice; keep one of the two lines')
  sha256 = hashlib.sha256(text.encode()).hexdigest()[:16]
  return MarkdownFile(path, _parse_front_matter(lines), body, text, sha256)


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
  """Splits any Markdown text into its front matter and the rest.

  This is the lenient form of `read_markdown`, for text that need not be a handbook: it raises no
  errors.

  Args:
    text: Markdown, with or without front matter.

  Returns:
    (key -> value, the text below the front matter). Without front matter: an empty dict and the
    text as it is. A rule at the beginning of a text is none, and neither is front matter without an
    end, even if there is a rule further down.
  """
  lines, body = _split_leniently(text)
  front = _parse_front_matter(lines)
  return (front, body) if front else ({}, text)


def body_of(path: Path) -> str:
  """Reads the text of any Markdown file below its front matter, which it need not have.

  Args:
    path: a Markdown file in UTF-8.

  Returns:
    The text, without comments of HTML and without spaces at its ends.

  Raises:
    SpecError: if the file cannot be read, or is empty.
  """
  whole = _read(path)
  text = without_comments(split_front_matter(whole)[1]).strip()
  if not text:
    raise SpecError(f'{path}: the handbook is empty; write it below the front matter')
  return text


def split_headings(section: str) -> list[tuple[str, str]]:
  """Splits the text of a section at its '### ' headings.

  Args:
    section: the text of one section.

  Returns:
    (heading, the text below it) for each heading, in order. Text above the first heading is left
    out.
  """
  return [(heading[1], text) for heading, text in split_at(_HEADING, section)]


def split_at(heading: re.Pattern[str], text: str) -> list[tuple[re.Match[str], str]]:
  """Splits a text at its headings.

  Args:
    heading: finds a heading.
    text: Markdown.

  Returns:
    (the heading as it was found, the text below it) for each heading outside blocks of code. Text
    above the first heading is left out.
  """
  code = [match.span() for match in _CODE.finditer(text)]
  found = []
  for match in heading.finditer(text):
    if not any(begin <= match.start() < end for begin, end in code):
      found.append(match)
  ends = [*(match.start() for match in found[1:]), len(text)]
  out = []
  for match, end in zip(found, ends, strict=False):
    out.append((match, text[match.end() : end]))
  return out


def continued_keys(text: str) -> list[str]:
  """Lists the keys of the front matter whose values go on in the next line: indented or as a list,
  as YAML allows, or where an editor has wrapped a long line.

  Args:
    text: Markdown, with or without front matter.

  Returns:
    The keys, in lower case. Of such a value, the first line alone is read here.
  """
  lines, _ = _split_leniently(text)
  keys = []
  for line, below in itertools.pairwise(lines):
    if line[0].isspace() or line.startswith('-'):
      continue
    if below[0].isspace() or below.startswith('-') or not _ENTRY.match(below):
      keys.append(line.partition(':')[0].strip().lower())
  return keys


def repeated_keys(text: str) -> list[str]:
  """Lists the keys that stand in the front matter more than once, of which the last one is read.

  Args:
    text: Markdown, with or without front matter.

  Returns:
    The keys, in lower case.
  """
  lines, _ = _split_leniently(text)
  # In YAML, indented lines and those of lists belong to the key above them.
  own = [line for line in lines if not line[0].isspace() and not line.startswith('-')]
  keys = [line.partition(':')[0].strip().lower() for line in own]
  return [key for key, count in Counter(keys).items() if count > 1]


def _read(path: Path) -> str:
  """The text of a file, without a byte order mark, and with accents as texts mostly have them: as
  one character with their letter. Raises SpecError."""
  if not path.is_file():
    raise SpecError(
      f'no spec at {path}; give the path of a Markdown handbook, '
      'such as specs/cheese_affordability.md'
    )
  try:
    # 'utf-8-sig' drops the byte order mark that some editors put at the start.
    return unicodedata.normalize('NFC', path.read_text(encoding='utf-8-sig'))
  except UnicodeDecodeError:
    raise SpecError(f'{path}: not UTF-8 text; save the handbook as UTF-8 Markdown') from None
  except OSError as e:
    raise SpecError(
      f'{path} cannot be read ({e.strerror}); give the path of a Markdown handbook'
    ) from None


def _split(text: str) -> tuple[list[str], str]:
  """Returns the lines of the front matter, without blank lines and comments, and the body."""
  match = _FRONT_MATTER.match(text)
  if match is None:
    return [], text
  lines = []
  # `splitlines` would also break values at signs that word processors leave behind.
  for line in match[1].split('\n'):
    if line.strip() and not line.lstrip().startswith('#'):
      lines.append(line)
  return lines, match[2]


def _split_leniently(text: str) -> tuple[list[str], str]:
  """The same for text that need have no front matter. Without it: no lines, and the text."""
  match = _FRONT_MATTER.match(text)
  if match is None or _RULE.match(text) or _holds_prose(match[1]):
    return [], text
  return _split(text)


def _holds_prose(block: str) -> bool:
  """Whether what stands between two lines of dashes is front matter without an end, and prose.

  The second line is a rule of the text then, and what stands above it would be lost. A single line
  that is no entry may be a slip; below a title or an empty line it is prose.
  """
  for before, line in itertools.pairwise(['', *block.split('\n')]):
    begins_anew = not before.strip() or before.lstrip().startswith('#')
    is_known = not line.strip() or line.startswith('#') or _ENTRY.match(line)
    if begins_anew and not is_known:
      return True
  return False


def without_comments(body: str) -> str:
  """The text of a handbook without comments of HTML. In code there are none."""
  return _CODE_OR_COMMENT.sub(lambda match: match['code'] or '', body)


def _parse_front_matter(lines: list[str]) -> dict[str, str]:
  """Reads 'key: value' lines. Lines without a colon are passed over."""
  front = {}
  for line in lines:
    key, colon, value = line.partition(':')
    if not colon:
      continue
    front[key.strip().lower()] = _value(value.strip())
  return front


def _value(text: str) -> str:
  """A value of the front matter without its quotes, or without a comment behind it."""
  quoted = _QUOTED.fullmatch(text)
  if quoted is None:
    # '#' needs a space before it, so that a value such as 'C#' is kept.
    return re.split(r'(?:^|[ \t])#', text)[0].strip()
  inner = quoted[1][1:-1]
  if text[0] == "'":
    return inner.replace("''", "'")
  return re.sub(r'\\(["\\])', r'\1', inner)


def _sections(body: str, path: Path) -> dict[str, str]:
  """Splits the body at its '## ' headings: title in lower case -> text."""
  # Text above the first section (the title) is left out.
  sections: dict[str, str] = {}
  for title, text in split_at(_SECTION, body):
    name = title[1].casefold()
    if name in sections:
      raise SpecError(f"{path}: section '## {name.capitalize()}' stands there twice; join the two")
    sections[name] = text
  return sections
