"""The matrix "trained on x, measured by y" of a report: as a figure, as HTML and as plain text.

It is shown where the summary has one: experiments with several values (`matrix` in
`docs/schemas.md`).
"""

import html
import math
from collections.abc import Sequence
from typing import Any

from msm_jax.report.numbers import RowsByMeasure, Summary, means_by, show_measure

ABOUT = (
  'Rows: arms that read documents of a handbook, by the value that it stands for. Columns: the '
  'values of the items. A cell holds the share of choices by the value of its column and, below '
  'it, how much the margin for that value rose over the base arm (nats). On the diagonal, in bold, '
  'an arm is measured by the value of its own handbook; the last column is the rise on the '
  'diagonal minus the mean rise of the other columns.'
)
CAPTION = (
  'Trained on (rows), measured by (columns): how much the margin for the value of the column rose '
  'over the base arm (nats; without a base arm the share minus one half). Frames: the value of the '
  'arm&rsquo;s own handbook'
)
STARS = (
  'Shares by the value of the column; in stars that of the own handbook. Last column: rise of the '
  'margin by the own value over the base arm, minus that by the others'
)
# The colours go to this many nats at least, so that noise stays pale.
_SMALLEST_SPAN = 0.5
# Cells further from the middle of the colours than this have white digits.
_DARK = 0.75


def arms_of(summary: Summary, tier: str) -> list[str]:
  """The rows of a matrix.

  Args:
    summary: the contents of summary.json.
    tier: 'EVALUATOR/TIER', a key of its `matrix`.

  Returns:
    Arms by the value that they were trained on, in the order of the columns.
  """
  values = summary['matrix'][tier]['values']
  trained_on = summary['trained_on']
  out = []
  for value in values:
    out += [arm for arm in summary['arms'] if trained_on.get(arm) == value]
  return out


def _measure(tier: str, value: str) -> str:
  evaluator, _, name = tier.partition('/')
  return f'{evaluator}/{value}/{name}'


def _title(tier: str) -> str:
  evaluator, _, name = tier.partition('/')
  kind = 'claims' if evaluator == 'claims' else 'choices'
  return f'{kind}, {name.replace("_", " ")}'


def matrix_html(summary: Summary, tier: str) -> tuple[list[str], list[list[str]]]:
  """Writes one matrix as a table.

  Args:
    summary: the contents of summary.json.
    tier: a key of its `matrix`.

  Returns:
    (headings, rows of cells), as HTML.
  """
  matrix = summary['matrix'][tier]
  heads = ['trained on', *(html.escape(value) for value in matrix['values']), 'own &minus; others']
  body = []
  for arm in arms_of(summary, tier):
    own = summary['trained_on'][arm]
    cells = [f'{html.escape(own)}<small>{html.escape(arm)}</small>']
    for value in matrix['values']:
      measure = _measure(tier, value)
      cell = html.escape(show_measure(summary['arms'][arm].get(measure), measure))
      if value == own:
        cell = f'<b>{cell}</b>'
      rise = matrix['rise'].get(arm, {}).get(value)
      if rise:
        cell = f'{cell}<small>{html.escape(_rise(rise))}</small>'
      cells.append(cell)
    cells.append(html.escape(_rise(matrix['own'].get(arm))))
    body.append(cells)
  return heads, body


def _rise(stat: Any) -> str:
  return show_measure(stat, 'margin/', is_effect=True)


def matrix_rows(summary: Summary, tier: str) -> tuple[list[str], list[list[str]]]:
  """Writes one matrix for a terminal.

  Args:
    summary: the contents of summary.json.
    tier: a key of its `matrix`.

  Returns:
    (headings, rows of cells): shares, the one of the own value between stars, and the rise of the
    own value over the base minus that of the others.
  """
  matrix = summary['matrix'][tier]
  heads = [f'by/{value}' for value in matrix['values']]
  body = []
  for arm in arms_of(summary, tier):
    own = summary['trained_on'][arm]
    cells = [f'{own} ({arm})']
    for value in matrix['values']:
      stat = summary['arms'][arm].get(_measure(tier, value))
      share = f'{stat["mean"]:.2f}' if stat else '-'
      cells.append(f'*{share}*' if value == own else share)
    cells.append(_rise(matrix['own'].get(arm)))
    body.append(cells)
  return [*heads, 'own - others/nats'], body


def title_of(tier: str) -> str:
  """What a matrix is called: 'Trained on, measured by: choices, new domains'."""
  return f'Trained on, measured by: {_title(tier)}'


def draw(fig: Any, summary: Summary) -> None:
  """Draws the matrices of choices as heat maps, with the diagonal framed.

  The colour of a cell is the rise of the margin over the base, in nats; without a base it is the
  share.

  Args:
    fig: the figure to draw into; it stays empty if there is no matrix of choices.
    summary: the contents of summary.json.
  """
  from matplotlib.colors import LinearSegmentedColormap
  from matplotlib.patches import Rectangle

  tiers = [tier for tier in summary.get('matrix', {}) if tier.startswith('values/')]
  if not tiers:
    return
  rows = max(len(arms_of(summary, tier)) for tier in tiers)
  fig.set_size_inches(10, 1.6 + 0.42 * rows)
  axes = fig.subplots(1, len(tiers), squeeze=False)[0]
  colour_map = LinearSegmentedColormap.from_list('rise', ['#d55e00', '#f7f7f7', '#0072b2'])
  for ax, tier in zip(axes, tiers, strict=True):
    matrix, arms = summary['matrix'][tier], arms_of(summary, tier)
    grid = _grid(summary, tier, arms)
    span = _span(grid)
    ax.pcolormesh(grid, cmap=colour_map, vmin=-span, vmax=span, edgecolors='white', linewidth=1.5)
    for y, arm in enumerate(arms):
      for x, value in enumerate(matrix['values']):
        colour = 'white' if abs(grid[y][x]) > _DARK * span else '#222222'
        ax.text(x + 0.5, y + 0.5, f'{grid[y][x]:+z.1f}', ha='center', va='center', color=colour)
        if value == summary['trained_on'][arm]:
          frame = Rectangle((x + 0.04, y + 0.04), 0.92, 0.92, fill=False, edgecolor='#222222', lw=2)
          ax.add_patch(frame)
    at = [x + 0.5 for x in range(len(matrix['values']))]
    ax.set_xticks(at, matrix['values'], rotation=30, ha='right', rotation_mode='anchor')
    ax.set_yticks([y + 0.5 for y in range(len(arms))], arms)
    ax.set_ylim(len(arms), 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(_title(tier), weight='bold')


def _grid(summary: Summary, tier: str, arms: Sequence[str]) -> list[list[float]]:
  """The rise of every cell; where there is no base, its share minus one half."""
  matrix = summary['matrix'][tier]
  grid = []
  for arm in arms:
    line = []
    for value in matrix['values']:
      rise = matrix['rise'].get(arm, {}).get(value)
      stat = summary['arms'][arm].get(_measure(tier, value))
      cell = float('nan')
      if rise:
        cell = rise['mean']
      elif stat and not matrix['rise']:
        cell = stat['mean'] - 0.5
      line.append(cell)
    grid.append(line)
  return grid


def _span(grid: Sequence[Sequence[float]]) -> float:
  """The largest size of a cell, for the ends of the colours."""
  span = _SMALLEST_SPAN
  for line in grid:
    for cell in line:
      if not math.isnan(cell):
        span = max(span, abs(cell))
  return span


def by_domain(
  summary: Summary, rows: RowsByMeasure, tier: str
) -> tuple[list[str], list[list[str]]]:
  """The shares of every arm and value, domain by domain.

  Args:
    summary: the contents of summary.json.
    rows: the rows of results.jsonl by arm and measure.
    tier: 'EVALUATOR/TIER'.

  Returns:
    (headings, rows of cells), as HTML; means over seeds.
  """
  found: dict[tuple[str, str], dict[str, float]] = {}
  domains: set[str] = set()
  for arm in summary['arms']:
    for value in summary['values']:
      members = rows.get((arm, _measure(tier, value)))
      if members:
        found[arm, value] = means_by(members, 'cluster')
        domains.update(found[arm, value])
  columns = sorted(domains)
  body = []
  for (arm, value), means in found.items():
    cells = [f'{html.escape(arm)}<small>{html.escape(value)}</small>']
    for domain in columns:
      cells.append(f'{means[domain]:.2f}' if domain in means else '-')
    body.append(cells)
  return ['arm, value', *(html.escape(domain) for domain in columns)], body
