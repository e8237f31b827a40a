"""Every number of the README and of the pages of results says where it comes from.

A number is a word with a digit in it, in running text or in a table, outside code. There are two
kinds of pages:

- a page with blocks of stored results: a number must stand in one of its blocks, as it is or
  rounded. Means with an interval or a range must occur in a stored file (`test_docs_tables.py`);
- a page without such blocks: a number must stand in a section with the command that measured it.
  The section is that of the nearest heading, or of one above it.

What is left is listed in `EXCEPTIONS`, page by page, with the reason. Old results between the marks
`not stored` are no part of a page; `test_docs_tables.py` says which pages may have them.
"""

import itertools
import re

import pytest
import tables
from helpers import ROOT

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs' / 'results').glob('*.md'))]
LEVEL = {'95%': 'the level of intervals'}
# Page -> number that no block and no command stands behind -> why it may stand there.
EXCEPTIONS: dict[str, dict[str, str]] = {
  'README.md': LEVEL
  | {
    '3.11': 'the version of Python',
    '0.5M': 'the size of the model, a setting',
    '8B': 'sizes of published models',
    '32B': 'sizes of published models',
  },
  'cheese.md': LEVEL
  | {
    '7%': 'the bar of the preregistration',
    '18%': 'simulated in tests/test_placebo.py, which the sentence names',
  },
  'oversight.md': LEVEL
  | {
    '86%': 'simulated in tests/test_robustness.py, which the sentence names',
    '0.0625': 'two in two to the fifth: all five signs alike, on either side',
  },
  'hybrids.md': {
    '0.55': 'printed by the command that stands above the table',
    '20': 'the rows of the table that follows, without the primary effect',
  },
  'smollm2.md': {
    '135': 'millions of parameters of the model',
    '8': 'billions of parameters of published models',
    '1': 'billions of parameters of published models',
  },
}
# Images that are drawn from nothing stored, all within old results.
OLD_IMAGES = {
  'oversight_tiers.svg',
  'oversight_arms.svg',
  'oversight_aft.svg',
  'oversight_dose.svg',
  'oversight_specs.svg',
  'oversight_contradiction.svg',
}

CODE_BLOCK = re.compile(r'^```.*?^```$|^ {4}\S.*?$', re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r'`[^`]*`')
COMMENT = re.compile(r'<!--.*?-->', re.DOTALL)
TARGET = re.compile(r'\]\([^)]*\)')
HEADING = re.compile(r'^(#+) .*$', re.MULTILINE)
# What measures something: not `make tables`, which writes the page, and no installation.
COMMAND = re.compile(r'(?:python (?:-m )?[\w./]+|pytest [\w./]+|make run\b)')
# A number with its unit, if that is written without a space. Words that begin with a letter are
# names ('AVX-512'), and so are hashes.
NUMBER = re.compile(r'(?<![\w.-])[+-]?\d(?:[\d,.]*\d)?(?:%|[A-Za-z]+)?(?!\w)')


def sections_of(text: str) -> list[tuple[str, bool]]:
  """The sections of a page, each with whether a command stands in it or in one above it."""
  starts = [0, *(match.start() for match in HEADING.finditer(text)), len(text)]
  out = []
  # Depth of a heading -> whether its section has a command.
  with_command: dict[int, bool] = {}
  for start, end in itertools.pairwise(starts):
    section = text[start:end]
    heading = HEADING.match(section)
    depth = len(heading[1]) if heading else 0
    # The title of the page has no sections below it: a command beside it measured not all of them.
    with_command = {d: has for d, has in with_command.items() if 1 < d < depth}
    with_command[depth] = has_command(section)
    out.append((section, any(with_command.values())))
  return out


def has_command(section: str) -> bool:
  """Whether a section has a command in its code. `test_docs_commands.py` tests that it can run."""
  code = [*CODE_BLOCK.findall(section), *INLINE_CODE.findall(section)]
  return any(COMMAND.search(line) for line in code)


def numbers_in(section: str) -> list[str]:
  """The words with a digit in a section, without code, comments and targets of links."""
  for pattern in (CODE_BLOCK, COMMENT, INLINE_CODE, TARGET):
    section = pattern.sub(' ', section)
  # The numbers of headings and of lists count nothing.
  section = re.sub(r'^\d+\. ', ' ', HEADING.sub(' ', section), flags=re.MULTILINE)
  return NUMBER.findall(section)


def shown_numbers(blocks: str) -> list[str]:
  """The numbers that the blocks of a page show."""
  return re.findall(r'[+-]?\d+(?:\.\d+)?', blocks)


def is_shown(word: str, shown: list[str]) -> bool:
  """Whether a number stands in a block, as it is or rounded; a sign must be the same if given."""
  if not re.fullmatch(r'[+-]?\d+(?:\.\d+)?', word):
    return False
  digits = len(word.partition('.')[2])
  for other in shown:
    if len(other.partition('.')[2]) < digits:
      continue
    value = float(other) if word[0] in '+-' else abs(float(other))
    if round(value, digits) == float(word):
      return True
  return False


def unsupported(text: str) -> list[str]:
  """The numbers of a page that neither a block nor a command stands behind.

  Args:
    text: the page.

  Returns:
    The numbers, in their order.
  """
  text = tables.NOT_STORED.sub(' ', text)
  shown = shown_numbers(' '.join(match[3] for match in tables.BLOCK.finditer(text)))
  has_blocks = bool(tables.names_in(text))
  text = tables.BLOCK.sub(' ', text)
  # Means with an interval or a range are checked against stored files. Lines break inside them.
  figure = re.compile(tables.FIGURE.pattern.replace(' ', r'\s+'))
  out = []
  for section, commanded in sections_of(text):
    for word in numbers_in(figure.sub(' ', section)):
      is_supported = is_shown(word, shown) if has_blocks else commanded
      if not is_supported:
        out.append(word)
  return out


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_number_of_a_page_says_where_it_comes_from(page):
  """Put a new number into a block, or its command beside it; or list it above, with the reason."""
  allowed = EXCEPTIONS.get(page.name, {})
  found = unsupported(page.read_text())
  assert not [number for number in found if number not in allowed], page.name
  # An exception that nothing needs any more would hide the next number that looks like it.
  assert not set(allowed) - set(found), page.name


def test_every_image_is_drawn_from_stored_results():
  """Or it is an old one, within the marks of results that were not stored."""
  for page in PAGES:
    text = page.read_text()
    left = tables.NOT_STORED.sub(' ', text)
    images = set(re.findall(r'!\[[^]]*\]\((?:.*/)?([^)/]+)\)', left))
    assert images <= set(tables.FIGURES), page.name
    old = set(re.findall(r'!\[[^]]*\]\((?:.*/)?([^)/]+)\)', text)) - images
    assert old <= OLD_IMAGES, page.name


STORED_PAGE = """# Page

    make run CONFIG=configs/cheese.py

<!-- table: none arms -->

| aft | +0.742 {0.10..0.98} | 256 |

<!-- end -->

A share of 0.74 or +0.7 of 256 rows, of `0.111`.
1. Others: 0.75, -0.74, 12 and 0.7421.
"""
OTHER_PAGE = """# Page

It is 3 here.

## Measured

    python benchmarks/decoding.py

It is 4.5 MiB.

### More

It is 5% there.

## Installed

    pip install 'jax[tpu]'
    make tables

It is 6,000 in version v7 at 8e.
"""


def test_numbers_without_a_block_or_a_command_are_found():
  """Of a page with blocks a command excuses nothing, since it is what made the blocks."""
  assert unsupported(STORED_PAGE) == ['0.75', '-0.74', '12', '0.7421']
  assert unsupported(OTHER_PAGE) == ['3', '6,000', '8e']
  marked = f'<!-- not stored: old -->\n{OTHER_PAGE}\n<!-- end not stored -->'
  assert unsupported(marked) == []
