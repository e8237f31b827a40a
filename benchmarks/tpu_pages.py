"""The lines that `roofline.py` keeps, and the tables that are made from them.

A line of docs/results/data/tpu.jsonl is the result of one case. A page has a block for each of its
tables, which begins with `<!-- roofline: NAME -->` and ends with `<!-- end roofline -->`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tpu_cases import CASES, Case, case_of

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'docs' / 'results' / 'data' / 'tpu.jsonl'
# Page -> the tables that it has.
PAGES = {
  ROOT / 'docs' / 'results' / 'tpu.md': ('speed', 'configs'),
  ROOT / 'docs' / 'guides' / 'paper.md': ('memory',),
}
BEGIN, END = '<!-- roofline: {} -->\n', '<!-- end roofline -->'
GIB = 2**30

Kept = Mapping[str, Mapping[str, Any]]


# --------------------------------------------------------------------------------------------------
# Lines
# --------------------------------------------------------------------------------------------------


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
  """Reads kept results.

  Args:
    file: the file of lines, which may not be there yet.

  Returns:
    Name of the case -> result.
  """
  if not file.exists():
    return {}
  kept = {}
  for line in file.read_text().splitlines():
    result = json.loads(line)
    kept[result['name']] = result
  return kept


def keep_line(file: Path, result: Mapping[str, Any]) -> None:
  """Writes a result in place of the older one of its case; cases stay in the order of CASES.

  Args:
    file: the file of lines.
    result: what `roofline.run` has returned.
  """
  kept = read_lines(file)
  kept[result['name']] = dict(result)
  lines = []
  for case in CASES:
    if case.name in kept:
      lines.append(json.dumps(kept[case.name]) + '\n')
  file.write_text(''.join(lines))


# --------------------------------------------------------------------------------------------------
# Cells
# --------------------------------------------------------------------------------------------------


def _peak(case: Case, result: Mapping[str, Any], unit: str = '') -> str:
  """Peak memory of a chip beside what it has."""
  if 'peak_gib' not in result:
    return '**does not fit**'
  peak = f'{result["peak_gib"]:.2f} of {case.chip.memory}{unit}'
  if not result['fits']:
    peak += ' **does not fit**'
  return peak


def _milliseconds(result: Mapping[str, Any], key: str) -> str:
  return f'{1e3 * result[key]:,.0f}'


def _mfu(result: Mapping[str, Any]) -> str:
  """The MFU, and what a matrix product alone reaches."""
  return f'{result["mfu"]:.1%} ({result["matmul_share"]:.0%})'


def exchanged(result: Mapping[str, Any]) -> str:
  """The exchanges of a step in words: GiB that come into a chip, and how many, by kind."""
  parts = []
  for kind, total in result['exchanges'].items():
    parts.append(f'{kind} {total["bytes"] / GIB:.1f} ({total["count"]:,.0f})')
  return ', '.join(parts) or 'none'


def _layout(case: Case) -> str:
  """The mesh in words; sizes of one are left out."""
  parts = []
  for axis, size in zip(('data', 'fsdp', 'tensor'), case.mesh, strict=True):
    if size == -1:
      parts.append(f'{axis} over all')
    elif size > 1:
      parts.append(f'{axis} {size}')
  return ', '.join(parts) or 'one chip'


def _tokens(case: Case) -> str:
  return f'{case.rows} x {case.length:,}'


# --------------------------------------------------------------------------------------------------
# Tables
# --------------------------------------------------------------------------------------------------


def speed_table(kept: Kept) -> str:
  """All cases of training that belong to no published experiment.

  Args:
    kept: name of the case -> result.

  Returns:
    A Markdown table, and a line with versions.
  """
  cases = [case for case in CASES if not case.config.startswith('configs/paper_')]
  head = (
    'case', 'slice', 'mesh', 'remat', 'tokens a chip', 'peak GiB', 'computing, ms',
    'exchanges, ms', 'step, ms', 'tokens/s/chip', 'MFU (of a matmul)', 'GiB exchanged (times)',
  )  # fmt: skip

  def cells(case: Case, result: Mapping[str, Any]) -> list[str]:
    return [
      case.name,
      case.topology,
      _layout(case),
      case.remat,
      _tokens(case),
      _peak(case, result),
      *_speeds(result),
    ]

  return _table(cases, kept, head, cells)


def configs_table(kept: Kept) -> str:
  """The phases and the evaluation of the published experiments, with estimated speed.

  Args:
    kept: name of the case -> result.

  Returns:
    A Markdown table, and a line with versions.
  """
  head = (
    'case', 'slice', 'mesh', 'tokens of a group', 'peak GiB', 'computing, ms', 'exchanges, ms',
    'step, ms', 'tokens/s/chip', 'MFU (of a matmul)', 'GiB exchanged (times)',
  )  # fmt: skip

  def cells(case: Case, result: Mapping[str, Any]) -> list[str]:
    return [
      case.name,
      case.topology,
      _layout(case),
      _tokens(case),
      _peak(case, result),
      *_speeds(result),
    ]

  return _table(_published(), kept, head, cells)


def memory_table(kept: Kept) -> str:
  """What a chip holds in each phase of the published experiments.

  Args:
    kept: name of the case -> result.

  Returns:
    A Markdown table, and a line with versions.
  """
  head = ('config', 'devices', 'phase', 'rows of a batch', 'weights, adapters, moments', 'peak')

  return _table(_published(), kept, head, _memory_cells)


def _memory_cells(case: Case, result: Mapping[str, Any]) -> list[str]:
  """The cells of one row of `memory_table`."""
  phase = case.name.removeprefix(case.config[len('configs/') : -len('.py')])
  phase = phase.removesuffix(case.topology.replace(':', '-')).strip('-')
  state = '-'
  if 'state_gib' in result:
    state = f'{result["state_gib"]:.2f} GiB'
  data, fsdp, _ = case.mesh_sizes
  rows = case.rows * data * fsdp
  return [
    f'`{case.config}`',
    case.topology,
    phase.replace('_', '-'),
    f'{rows} x {case.length:,}',
    state,
    _peak(case, result, ' GiB'),
  ]


def _published() -> list[Case]:
  return [case for case in CASES if case.config.startswith('configs/paper_')]


def _speeds(result: Mapping[str, Any]) -> list[str]:
  if 'seconds' not in result:
    return [''] * 6
  return [
    _milliseconds(result, 'computing_seconds'),
    _milliseconds(result, 'exchanging_seconds'),
    _milliseconds(result, 'seconds'),
    f'{result["tokens_per_second"]:,.0f}',
    _mfu(result),
    exchanged(result),
  ]


def _table(
  cases: Sequence[Case],
  kept: Kept,
  head: Sequence[str],
  cells: Callable[[Case, Mapping[str, Any]], list[str]],
) -> str:
  """A Markdown table of the cases that have a result, and a line with versions."""
  rows = []
  # (JAX, libtpu) -> commits.
  made_with: dict[tuple[str, str], set[str]] = {}
  for case in cases:
    if case.name not in kept:
      continue
    result = kept[case.name]
    commits = made_with.setdefault((result['jax'], result['libtpu']), set())
    commits.add((result['commit'] or 'unknown')[:7])
    # As it was compiled: the case may have changed since.
    rows.append(cells(case_of(result), result))
  if not rows:
    return '*Not run yet.*\n'
  lines = [list(head), ['---'] * len(head), *rows]
  text = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
  made = []
  for (jax_version, libtpu), commits in sorted(made_with.items()):
    made.append(f'{", ".join(sorted(commits))} with JAX {jax_version} and libtpu {libtpu}')
  return f'{text}\nMade at {"; ".join(made)}.\n'


TABLES = {'speed': speed_table, 'configs': configs_table, 'memory': memory_table}


# --------------------------------------------------------------------------------------------------
# Pages
# --------------------------------------------------------------------------------------------------


def with_table(page: str, name: str, new: str) -> str:
  """Puts a table between the markers of a page.

  Args:
    page: the text of the page.
    name: the name of the table.
    new: the table.

  Returns:
    The new text.

  Raises:
    ValueError: the page lacks the markers.
  """
  before, begin, rest = page.partition(BEGIN.format(name))
  _, end, after = rest.partition(END)
  if not begin or not end:
    raise ValueError(f'the page has no block {BEGIN.format(name).strip()} ... {END}')
  return f'{before}{begin}{new}{end}{after}'


def filled(page: Path) -> str:
  """The text of a page with the tables that the kept lines say."""
  text = page.read_text()
  kept = read_lines(RESULTS)
  for name in PAGES[page]:
    text = with_table(text, name, TABLES[name](kept))
  return text


def write_pages() -> None:
  """Makes all tables anew."""
  for page in PAGES:
    page.write_text(filled(page))
