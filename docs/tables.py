"""Stores the results of finished runs, and fills in the tables of the documentation from them.

    python docs/tables.py store WORKDIR NAME --command 'make run CONFIG=...'
    python docs/tables.py store WORKDIR NAME --command '...' --sweep=SWEEP
    python docs/tables.py              # fills in every table of every page (make tables)
    python docs/tables.py --check      # changes nothing; says what differs, exit code 1

Figures are drawn from stored files, too, but not checked: another version of matplotlib draws other
bytes.

`store` copies the summary of a finished run to docs/results/data/NAME.json, with its settings, the
commit, the command and the date. Rows of single items stay in the workdir. With `--sweep`, the
summaries of the points of that sweep are merged into one (`msm_jax/evals/merged.py`), with the
measures that reports show. Changes are compared with its first point, or with `--reference=LABEL`.

A page has blocks that this script fills in. A block begins with a comment and ends with another:

    <!-- table: cheese_confirm arms columns=preferences/conflict/* -->
    <!-- end -->

The first word is the stored file, the second the kind of block (`docs/published/blocks.py` lists
them), and options follow. The option `without=5,7` leaves seeds out of a block; blocks that know
all seeds together alone refuse it. While a file is not stored, its blocks say that it was not run
yet.

Numbers in running text are checked as well: a mean with an interval, '+0.89 [0.59, 1.00]', or with
a range, '0.93 {0.83..0.99}', must occur in a stored file that the page names. A page names files by
its blocks and by comments such as `<!-- results: cheese_confirm placebo -->`. Old numbers that no
stored file holds stand between `<!-- not stored: why -->` and `<!-- end not stored -->`.
"""

import re
from pathlib import Path
from typing import Any

from published.blocks import KINDS, Block, parsed
from published.numbers import figures_of, only_seeds
from published.stored import DATA, Stored, TableError, load, store, store_sweep

from msm_jax.base.command import Parser, run_command
from msm_jax.base.files import write_atomically
from msm_jax.report import curves, figures, survival

ROOT = Path(__file__).resolve().parent.parent
NOT_RUN_YET = '*Not run yet.*'

BLOCK = re.compile(r'(<!-- table: (.*?) -->\n)(.*?)(<!-- end -->)', re.DOTALL)
NAMED = re.compile(r'<!-- results: (.*?) -->')
NOT_STORED = re.compile(r'<!-- not stored: .*?<!-- end not stored -->', re.DOTALL)
# A mean with an interval or with a range.
_NUMBER = r'[+-]?\d+(?:\.\d+)?'
FIGURE = re.compile(rf'{_NUMBER} (?:\[{_NUMBER}, {_NUMBER}\]|\{{{_NUMBER}\.\.{_NUMBER}\}})')

# Figure in docs/results -> the stored file that it is drawn from, and the function that draws it.
FIGURES = {
  'cheese_tiers.svg': ('cheese_confirm', figures.tiers),
  'cheese_margins.svg': ('cheese_confirm', figures.margins),
  'survive_cheese.svg': ('survive_cheese', survival.draw),
  'survive_cheese_curves.svg': ('survive_cheese', curves.draw),
  'survive_cheese_documents.svg': ('survive_cheese_documents', survival.draw),
  'survive_oversight_documents.svg': ('survive_oversight_documents', survival.draw),
  'survive_oversight.svg': ('survive_oversight', survival.draw),
  'survive_oversight_curves.svg': ('survive_oversight', curves.draw),
}


def pages(root: Path = ROOT) -> list[Path]:
  """Every page whose numbers must come from stored files. The log keeps the history as it was."""
  found = [root / 'README.md', *sorted((root / 'docs').rglob('*.md'))]
  return [page for page in found if page != root / 'docs' / 'LOG.md']


def filled(text: str) -> str:
  """Fills in the blocks of a page.

  Args:
    text: the page.

  Returns:
    The page with every block as the stored files have it.

  Raises:
    TableError: a block asks for something that there is not.
  """

  def fill(match: re.Match) -> str:
    block = parsed(match[2])
    stored = load(block.name)
    content = NOT_RUN_YET
    if stored is not None:
      content = KINDS[block.kind](block, _seeds_of(block, stored))
    return f'{match[1]}\n{content}\n\n{match[4]}'

  return BLOCK.sub(fill, text)


def _seeds_of(block: Block, stored: Stored) -> Stored:
  """The stored result, without the seeds that the option `without` names.

  Raises TableError unless they were run and others are left: under the name of some seeds, the
  numbers would be those of all.
  """
  without = block.options.get('without')
  if not without:
    return stored
  seeds = stored['summary']['seeds']
  by_name = {str(seed): seed for seed in seeds}
  dropped = [name.strip() for name in without.split(',')]
  left = [seed for name, seed in by_name.items() if name not in dropped]
  if not left or not set(dropped) <= set(by_name):
    raise TableError(
      f'table: {block.name} {block.kind}: without={without} must name some of the seeds '
      f'{", ".join(by_name)}, and not all of them'
    )
  return only_seeds(stored, left)


def names_in(text: str) -> list[str]:
  """The stored files that a page names, in its blocks and in comments."""
  named = [match[2].split()[0] for match in BLOCK.finditer(text)]
  for match in NAMED.finditer(text):
    named += match[1].split()
  return list(dict.fromkeys(named))


def unsupported(text: str) -> list[str]:
  """The figures of a page that no stored file has.

  Args:
    text: the page.

  Returns:
    Figures such as '+0.89 [0.59, 1.00]' that occur in no stored file that the page names, without
    those in sections that are marked as not stored.
  """
  allowed: set[str] = set()
  for name in names_in(text):
    stored = load(name)
    if stored is not None:
      allowed |= figures_of(name, stored)
  # A block without some seeds has figures of its own.
  for match in BLOCK.finditer(text):
    block = parsed(match[2])
    stored = load(block.name)
    if stored is not None and block.options.get('without'):
      allowed |= figures_of(block.name, _seeds_of(block, stored))
  # Lines are wrapped inside figures, and a mean may be bold.
  plain = re.sub(r'\s+', ' ', NOT_STORED.sub('', text).replace('*', ''))
  return [figure for figure in FIGURE.findall(plain) if figure not in allowed]


def update(check: bool) -> int:
  """Fills in all pages, or says what differs.

  Args:
    check: change nothing.

  Returns:
    The exit code: 1 if a page differs, or has a figure that no stored file has.
  """
  failed = False
  for page in pages():
    text = page.read_text()
    made = filled(text)
    where = page.relative_to(ROOT)
    if made != text:
      failed = failed or check
      print(f'{where}: {"tables differ from the stored results" if check else "tables written"}')
      if not check:
        write_atomically(page, made.encode())
    for figure in unsupported(made):
      failed = True
      print(f'{where}: {figure} occurs in no stored result that the page names')
  return int(failed)


def draw_figures() -> None:
  """Draws the figures of the pages from the stored files; those that are not stored are left."""
  # Imported late, as in published/stored.py.
  from msm_jax.suites.registry import layout_of

  for file, (name, draw) in FIGURES.items():
    stored = load(name)
    if stored is None:
      continue
    summary = stored['summary']
    layout = layout_of(summary)

    def draw_into(
      fig: Any,
      draw: Any = draw,
      layout: Any = layout,
      summary: Any = summary,
    ) -> None:
      draw(fig, layout, summary, {})

    html = figures.svg_figure(draw_into, salt=file, caption='')
    svg = html[html.index('<svg') : html.index('</svg>') + len('</svg>')]
    write_atomically(DATA.parent / file, f'{svg}\n'.encode())


def main(arguments: list[str]) -> int:
  """Runs the command line; returns the exit code."""
  parser = Parser(prog='python docs/tables.py', description=__doc__.splitlines()[0])
  parser.add_argument('--check', action='store_true', help='change nothing, say what differs')
  commands = parser.add_subparsers(dest='task')
  storing = commands.add_parser('store', help='store the results of a finished run')
  storing.add_argument('workdir', type=Path)
  storing.add_argument('name')
  storing.add_argument('--command', required=True, help='the command that made the run')
  storing.add_argument('--sweep', help='store the points of this sweep, merged into one summary')
  storing.add_argument('--reference', default='', help='the point that others are compared with')
  flags = parser.parse_args(arguments)
  if flags.task == 'store':
    if flags.sweep:
      path = store_sweep(flags.workdir, flags.name, flags.command, flags.sweep, flags.reference)
    else:
      path = store(flags.workdir, flags.name, flags.command)
    print(f'stored in {path}')
    return 0
  if not flags.check:
    draw_figures()
  return update(flags.check)


if __name__ == '__main__':
  run_command(main)
