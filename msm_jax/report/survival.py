"""At which dose of contradiction half of an effect is gone: figures and tables, for the page of an
experiment, for the terminal and for sweeps. Also what arms say beside what they do."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_jax.report import figures
from msm_jax.report.curves import Section
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import RowsByMeasure, Summary, margin_of, point_label, show_measure
from msm_jax.report.robustness import show_p

TITLE = 'Survival'
ABOUT = (
  'The dose at which half of an effect is gone: the share of contradicting demonstrations at which '
  'it first is at most half of what it is at dose 0, read off a straight line over the logarithm '
  'of the dose. Brackets: 95% interval over seeds; braces: range over the runs that have an effect '
  'at dose 0, with their number if some have none. &le;: gone at the smallest dose; &gt;: not gone '
  'at the largest. An effect whose interval at dose 0 holds 0 has no half.'
)
LEFT_TITLE = 'Whether more than half of an effect is left'
ABOUT_LEFT = (
  'The effect after a way minus half of the effect before it, within seeds, in the direction of '
  'the effect: above 0 more than half is left, below 0 less. Brackets: 95% interval over seeds. '
  'p: two-sided, of Student&rsquo;s t over seeds; corrected for the number of ways (Holm), but for '
  'the primary effect of the config.'
)
LEFT_HEADS = ('way', 'nats', 'seeds above 0', 'p', 'p, corrected', 'left')
READ_TITLE = 'Contradicting demonstrations that were read'
ABOUT_READ = (
  'Counted in the rows of each phase; the range is over seeds. Where none was read, an arm has '
  'been told nothing of the dose.'
)
STATED_TITLE = 'What they say and what they do'
ABOUT_STATED = (
  'Both are shares of the handbook&rsquo;s side: what an arm says when it is asked about its '
  'value, and what it does. A positive difference is an arm that says one thing and does another.'
)
# Cells whose value is this share of the largest one are dark, and have white digits.
_DARK = 0.6


def show_dose(dose: float) -> str:
  """A dose as a percentage with two digits: '0.13%'."""
  return f'{float(f"{100 * dose:.2g}"):g}%'


def show_half(half: Mapping[str, Any] | None) -> str:
  """Writes a half dose with its interval or range, as plain text.

  Args:
    half: as summary.json has it; None where nothing was measured.

  Returns:
    Such as '1.3% [0.8%, 2.1%]', '<= 0.1%', '> 100%' or 'not defined'. A range over some of the
    runs, since others have no half dose, says so: 'not defined {1.2%..3.7%} (2 of 3 runs)'.
  """
  if half is None:
    return '-'
  text = _signed(half['kind'], half['dose'])
  if half['low'] is not None:
    return f'{text} [{show_dose(half["low"])}, {show_dose(half["high"])}]'
  if len(half['each']) > 1 and half['lowest'] is not None:
    text += f' {{{_signed(*half["lowest"])}..{_signed(*half["highest"])}}}'
    runs = sum(dose is not None for _, dose in half['each'])
    if runs < len(half['each']):
      text += f' ({runs} of {len(half["each"])} runs)'
  return text


def _signed(kind: str, dose: float | None) -> str:
  """A dose with what is known of it: '1.3%', '<= 0.1%', '> 100%' or 'not defined'."""
  if dose is None:
    # No effect was established at dose 0, so nothing can be halved. That is no sign of its absence.
    return 'not defined'
  return {'at most': '<= ', 'over': '> '}.get(kind, '') + show_dose(dose)


def half_rows(
  summary: Summary, layout: ReportLayout, updates: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]]]:
  """The table of half doses, as plain text.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.
    updates: the updates of the columns; None for all that the curves have.

  Returns:
    (headings, one row for each curve: its name, the effect at dose 0 after the last update, and the
    half dose after each update); empty if there are no dose curves.
  """
  measure = _measure_of(summary, layout)
  ordered = updates_of([summary], layout) if updates is None else updates
  body = []
  for name, curve in summary.get('survival', {}).items():
    half = curve['half'].get(measure, {})
    at_zero = summary['effects'][curve['effects'][0]].get(measure)
    cells = [show_half(half.get(update)) for update in ordered]
    body.append([name, show_measure(at_zero, measure, is_effect=True), *cells])
  return ['effect at dose 0', *(f'after {int(n):,} updates' for n in ordered)], body


def updates_of(summaries: Sequence[Summary], layout: ReportLayout) -> list[str]:
  """Lists the updates after which half doses are known.

  Args:
    summaries: the contents of summary.json of one experiment, or of all points of a sweep.
    layout: what their setting shows.

  Returns:
    The updates that some curve has, as text, in their order.
  """
  updates: set[str] = set()
  for summary in summaries:
    measure = _measure_of(summary, layout)
    for curve in summary.get('survival', {}).values():
      updates.update(curve['half'].get(measure, {}))
  return sorted(updates, key=int)


def _measure_of(summary: Summary, layout: ReportLayout) -> str:
  """The margin of the main measure, or where there is none the main measure itself."""
  margin = margin_of(layout.main)
  for curve in summary.get('survival', {}).values():
    if margin in curve['half']:
      return margin
  return layout.main


def section(summary: Summary, layout: ReportLayout) -> Section | None:
  """The section of the page; None if there are no dose curves."""
  heads, body = half_rows(summary, layout)
  if not body:
    return None
  cells = []
  for row in body:
    cells.append([html.escape(cell) for cell in row])
  return TITLE, ABOUT, ['effect', *heads], cells


def left_rows(left: Mapping[str, Any], measure: str) -> list[list[str]]:
  """The table of what is left of an effect, as plain text.

  Args:
    left: change -> number, as `left` of a dose curve in summary.json has it for one measure.
    measure: the measure.

  Returns:
    One row for each change with an interval, with cells in the order of LEFT_HEADS.
  """
  body = []
  for name, number in left.items():
    if number['low'] is None:
      continue
    p, corrected = number['p'], '-'
    if number['p_corrected'] is not None:
      p, corrected = number['p_corrected'], show_p(number['p_corrected'])
    verdict = 'not established'
    if p < 0.05:
      verdict = 'more than half' if number['mean'] > 0 else 'less than half'
    above = sum(mean > 0 for mean in number['each'])
    in_nats = show_measure(number, measure, is_effect=True)
    way = name.removeprefix('change by ')
    seeds = f'{above} of {len(number["each"])}'
    body.append([way, in_nats, seeds, show_p(number['p']), corrected, verdict])
  return body


def left_sections(summary: Summary) -> list[Section]:
  """The tables of what is left of effects, one for each dose curve and measure with any."""
  out: list[Section] = []
  for name, curve in summary.get('survival', {}).items():
    for measure, left in curve.get('left', {}).items():
      body = []
      for row in left_rows(left, measure):
        body.append([html.escape(cell) for cell in row])
      if body:
        out.append((f'{LEFT_TITLE}: {html.escape(name)}', ABOUT_LEFT, list(LEFT_HEADS), body))
  return out


def read_rows(summary: Summary) -> tuple[list[str], list[list[str]]]:
  """How many contradicting demonstrations were read, as plain text.

  Args:
    summary: the contents of summary.json.

  Returns:
    (doses, one row for each update of the curve with most doses: the update, and for each dose the
    fewest and the most records of a seed, or '-' where its phase was not looked at after this
    update); empty if nothing was counted.
  """
  counted = summary.get('contradictions_read', {})
  if not counted:
    return [], []
  name = max(counted, key=lambda name: len(summary['survival'][name]['doses']))
  body = []
  for update, by_dose in sorted(counted[name].items(), key=lambda item: int(item[0])):
    cells = []
    for records in by_dose:
      if not records:
        # The phases of the doses may have other lengths, or other points.
        cells.append('-')
        continue
      few, many = min(records), max(records)
      cells.append(f'{few:,}' if few == many else f'{few:,} to {many:,}')
    body.append([f'{int(update):,}', *cells])
  return [show_dose(dose) for dose in summary['survival'][name]['doses']], body


def read_section(summary: Summary) -> Section | None:
  """The section of the page about what was read; None if nothing was counted."""
  heads, body = read_rows(summary)
  if not body:
    return None
  return READ_TITLE, ABOUT_READ, ['updates', *heads], body


def grid_of(
  summary: Summary, curve: Mapping[str, Any], measure: str
) -> tuple[list[str], list[list[float]]]:
  """The surface of one dose curve.

  Args:
    summary: the contents of summary.json.
    curve: one curve of its part `survival`.
    measure: the measure.

  Returns:
    (updates, for each update the mean effect at each dose). The updates are those at which the
    curve has a half dose.
  """
  updates = sorted(curve['half'].get(measure, {}), key=int)
  along = summary.get('curves', {}).get('effects', {})
  grid = []
  for update in updates:
    line = []
    for effect in curve['effects']:
      at = along.get(effect, {}).get('at', {})
      numbers = at.get(update, summary['effects'][effect])
      line.append(numbers[measure]['mean'])
    grid.append(line)
  return updates, grid


def draw(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws a surface for each dose curve: doses to the right, updates upwards.

  Args:
    fig: the figure to draw into; it stays empty if there are no dose curves.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: not used; all figures take the same arguments.
  """
  curves = summary.get('survival', {})
  _draw_surfaces(fig, layout, [(name, summary, curve) for name, curve in curves.items()])


def draw_sweep(fig: Any, layout: ReportLayout, rows: Sequence[Mapping[str, Any]]) -> None:
  """Draws the surface of the first dose curve at every point of a sweep.

  Args:
    fig: the figure to draw into; it stays empty if there are no dose curves.
    layout: what the setting shows.
    rows: rows of sweep.jsonl.
  """
  panels = []
  for row in rows:
    curves = row['summary'].get('survival', {})
    for name, curve in list(curves.items())[:1]:
      panels.append((f'{name}, {point_label(row["point"])}', row['summary'], curve))
  _draw_surfaces(fig, layout, panels)


def _draw_surfaces(
  fig: Any, layout: ReportLayout, panels: Sequence[tuple[str, Summary, Mapping[str, Any]]]
) -> None:
  """Draws one heat map for each (title, summary, curve), all in the same colours."""
  if not panels:
    return
  measure = _measure_of(panels[0][1], layout)
  # At some point of a sweep, the measure may not have been asked.
  panels = [panel for panel in panels if measure in panel[2]['half']]
  if not panels:
    return
  grids = [grid_of(summary, curve, measure) for _, summary, curve in panels]
  largest = 1e-9
  for _, grid in grids:
    for line in grid:
      largest = max(largest, *map(abs, line))
  fig.set_size_inches(10, 0.5 + sum(0.8 + 0.3 * len(grid) for _, grid in grids))
  heights = [1 + len(grid) for _, grid in grids]
  axes = fig.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
  for ax, (title, _, curve), (updates, grid) in zip(axes, panels, grids, strict=True):
    ax.pcolormesh(grid, cmap=figures.two_sided(), vmin=-largest, vmax=largest, edgecolors='white')
    for y, line in enumerate(grid):
      for x, value in enumerate(line):
        colour = 'white' if abs(value) > _DARK * largest else figures.INK
        ax.text(x + 0.5, y + 0.5, f'{value:+z.1f}', ha='center', va='center', color=colour)
    doses = [show_dose(dose) for dose in curve['doses']]
    ax.set_xticks([x + 0.5 for x in range(len(doses))], doses)
    ax.set_yticks([y + 0.5 for y in range(len(updates))], updates)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel('updates')
    ax.set_title(title, weight='bold')
  axes[-1].set_xlabel('share of contradicting demonstrations')


def stated_sections(summary: Summary, show: Callable[[Any, str, bool], str]) -> list[Section]:
  """Tables of what arms say beside what they do.

  Args:
    summary: the contents of summary.json.
    show: how a number is written: (number, measure, whether it is an effect) -> HTML.

  Returns:
    One section for each pair of measures; none if arms were not asked what they value.
  """
  out: list[Section] = []
  for pair in summary.get('stated', ()):
    body = []
    for arm, numbers in pair['arms'].items():
      cells = [show(numbers[key], pair['said'], False) for key in ('said', 'done')]
      cells.append(show(numbers['difference'], pair['said'], True))
      body.append([html.escape(arm), *cells])
    names = [html.escape(pair[key]).replace('/', '/<wbr>') for key in ('said', 'done')]
    heads = ['arm', f'says<br>({names[0]})', f'does<br>({names[1]})', 'says minus does']
    out.append((STATED_TITLE, ABOUT_STATED, heads, body))
  return out


def stated_rows(summary: Summary) -> list[list[str]]:
  """The same as plain text: [arm, says, does, difference] for each arm, pair after pair."""
  out = []
  pairs = summary.get('stated', ())
  for pair in pairs:
    # Of several values, each line must say which one it is about.
    about = f', {pair["said"].split("/")[1]}' if len(pairs) > 1 else ''
    for arm, numbers in pair['arms'].items():
      cells = [show_measure(numbers[key], pair['said']) for key in ('said', 'done')]
      difference = show_measure(numbers['difference'], pair['said'], True)
      out.append([f'{arm}{about}', *cells, difference])
  return out
