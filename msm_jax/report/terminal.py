"""The plain-text table that a run prints."""

from collections.abc import Iterable, Sequence

from msm_jax.report import numbers
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import Summary, show


def _shortened(name: str, longest: int) -> str:
  """The name; if it is longer than `longest`, it loses its middle."""
  if len(name) <= longest:
    return name
  half = longest // 2 - 1
  return f'{name[:half]}..{name[-half:]}'


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
  """Names stand to the left of their column, numbers to the right."""
  out = [cells[0].ljust(widths[0])]
  for cell, width in zip(cells[1:], widths[1:], strict=True):
    out.append(cell.rjust(width))
  return '  '.join(out).rstrip()


def aligned(
  kind: str, columns: Sequence[str], body: Iterable[Sequence[str]], longest: int = 26
) -> list[str]:
  """Writes a table in aligned columns.

  Args:
    kind: heading of the first column.
    columns: headings of the others; the last two parts of 'a/b/c' stand in two lines.
    body: rows of cells; the first cell is the row's name.
    longest: longer names lose their middle.

  Returns:
    Lines, the first of them empty.
  """
  upper = ['', *(column.split('/')[-2] for column in columns)]
  lower = [kind, *(column.split('/')[-1] for column in columns)]
  rows = [[_shortened(name, longest), *cells] for name, *cells in body]
  widths = [max(map(len, column)) for column in zip(upper, lower, *rows, strict=True)]
  heads = [line for line in (upper, lower) if any(line)]
  rule = ['-' * width for width in widths]
  return ['', *(_padded(cells, widths) for cells in (*heads, rule, *rows))]


def table(summary: Summary, layout: ReportLayout) -> str:
  """Writes the main measures, effects and gates of an experiment.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.

  Returns:
    Plain text for a terminal.
  """
  out = [f'{layout.share}; mean [95% interval]']
  body = []
  for arm, measures in summary['arms'].items():
    body.append([arm, *(show(measures.get(c)) for c in layout.columns)])
  out += aligned('arm', layout.columns, body)
  if summary['effects']:
    out += _effects(summary, layout)
  if len(summary['seeds']) > 1:
    out += _each_seed(summary, layout)
  if summary['gates']:
    body = []
    for name, gate in summary['gates'].items():
      bound = numbers.bound(gate, '>=', '<=')
      body.append([name, f'{gate["value"]:.3f}', bound, numbers.verdict(gate, 'PASS')])
    out += aligned('gate', ('/value', '/bound', '/passed'), body, longest=120)
  return '\n'.join(out) + '\n'


def _effects(summary: Summary, layout: ReportLayout) -> list[str]:
  body = []
  for name, effect in summary['effects'].items():
    body.append([name, *(show(effect.get(c), sign='+') for c in layout.effects)])
  out = [*aligned('effect', layout.effects, body), '']
  for name, effect in summary['effects'].items():
    out.append(f'{name}: {numbers.contrast(effect["arms"], "minus")}')
  return out


def _each_seed(summary: Summary, layout: ReportLayout) -> list[str]:
  """The main measure of every seed."""
  body = []
  for arm, measures in summary['arms'].items():
    if layout.main in measures:
      body.append([arm, *(f'{mean:.2f}' for mean in measures[layout.main]['each'])])
  heads = [f'seed/{seed}' for seed in summary['seeds']]
  return aligned(layout.main.split('/', 1)[1], heads, body)
