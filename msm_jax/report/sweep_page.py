"""The table and the page of a sweep: one experiment at many points."""

import functools
import html
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_jax.base.files import write_atomically
from msm_jax.base.html import HEAD, STYLE
from msm_jax.report import figures, numbers, survival
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import point_label, show_measure
from msm_jax.report.terminal import aligned

SweepRows = Sequence[Mapping[str, Any]]


def times_saved(
  xs: Sequence[float], first: Sequence[float], second: Sequence[float], better: int
) -> list[tuple[float, bool]]:
  """How many times as much of the axis the second arm needs to be as good as the first.

  Values between two points are read off a straight line over log x, at the second arm's first
  crossing, as the published 10x to 60x of fine-tuning data are (Model Spec Midtraining, section
  4.2).

  Args:
    xs: positions on the axis, in any order.
    first: the first arm's measure at each position.
    second: the second arm's measure at each position.
    better: 1 if more of the measure is better, else -1.

  Returns:
    One pair for each position, in ascending order: (factor, True), or (lower bound, False) if the
    second arm is not as good even at the largest x. At the smallest x a factor is an upper bound:
    an arm that is as good there may need less.
  """
  points = sorted(zip(xs, first, second, strict=True))
  out = []
  for x, level, _ in points:
    reached_at = _first_x_at_level(points, level, better)
    if reached_at is None:
      out.append((points[-1][0] / x, False))
    else:
      out.append((reached_at / x, True))
  return out


def _first_x_at_level(
  points: Sequence[tuple[float, float, float]], level: float, better: int
) -> float | None:
  """Where the second arm first is as good as `level`; None if nowhere."""
  for (x0, _, y0), (x1, _, y1) in itertools.pairwise(points):
    if better * (y0 - level) >= 0:
      return x0
    if better * (y1 - level) >= 0:
      share_of_step = (level - y0) / (y1 - y0)
      return math.exp(math.log(x0) + share_of_step * math.log(x1 / x0))
  return None


def _names(rows: SweepRows, part: str) -> list[str]:
  """The arms or effects of all points, each once, in the order in which they appear."""
  names: dict[str, None] = {}
  for row in rows:
    names |= dict.fromkeys(row['summary'][part])
  return list(names)


def of_points(rows: SweepRows, text_of: Callable[[Mapping[str, Any]], str]) -> str:
  """Says something about the summaries of all points.

  Args:
    rows: rows of sweep.jsonl.
    text_of: what is said about the summary of one point.

  Returns:
    The text once if it is the same at all points; else every text, with the names of its points.
  """
  labels: dict[str, list[str]] = {}
  for row in rows:
    labels.setdefault(text_of(row['summary']), []).append(point_label(row['point']))
  if len(labels) == 1:
    return next(iter(labels))
  return '; '.join(f'at {", ".join(points)}: {text}' for text, points in labels.items())


def _seeds_of(summary: Mapping[str, Any]) -> str:
  return ', '.join(map(str, summary['seeds']))


def _arms_of_effect(rows: SweepRows, effect: str) -> list[str]:
  """The arms of an effect, at the first point that has it."""
  for row in rows:
    if effect in row['summary']['effects']:
      return row['summary']['effects'][effect]['arms']
  raise KeyError(effect)


def sweep_table(
  rows: SweepRows, layout: ReportLayout, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
  """Writes the main measure of every arm at every point, and every effect.

  Args:
    rows: rows of sweep.jsonl.
    layout: what the setting shows.
    changes: what changes from the first point to the others, see `msm_jax/evals/merged.py`; None
      for no table of it.

  Returns:
    Plain text for a terminal.
  """
  arms, effects = _names(rows, 'arms'), _names(rows, 'effects')
  tier = layout.main.split('/')[-1]
  out = [
    layout.share,
    f'primary: {numbers.primary_name(rows[0]["summary"], layout.main)}, at {len(rows)} points; no '
    f'correction for their number',
    of_points(rows, numbers.about_spread),
  ]
  body = []
  for row in rows:
    measures = row['summary']['arms']
    cells = [show_measure(measures.get(arm, {}).get(layout.main), layout.main) for arm in arms]
    body.append([point_label(row['point']), *cells])
  # Headings are divided at a '/', which the names of arms and effects may have.
  heads = [f'{arm.replace("/", "-")}/{tier}' for arm in arms]
  out += aligned('point', heads, body)
  if effects:
    out += _effects(rows, effects, layout.main, f'/{tier}')
    margin = numbers.margin_of(layout.main)
    if _is_measured(rows, margin):
      out += _effects(rows, effects, margin, f'/{tier}, nats')
  axis = figures.numeric_axis(rows)
  # A size of 0 stands for no limit, and has no ratio to others.
  if axis and axis[0].endswith('.size') and effects and min(axis[1]) > 0:
    out += _factors(rows, layout, axis, arms, effects)
  out += _half_doses(rows, layout)
  out += _changes(changes or {}, layout, point_label(rows[0]['point']))
  out.append('')
  for row in rows:
    gates = row['summary']['gates']
    missed = [name for name, gate in gates.items() if not gate['passed']]
    if missed:
      out.append(f'gates missed at {point_label(row["point"])}: {", ".join(missed)}')
  return '\n'.join(out) + '\n'


def _half_doses(rows: SweepRows, layout: ReportLayout) -> list[str]:
  """The table of the doses at which half of an effect is gone; empty without dose curves."""
  # Points may be asked after other updates: a column is one update, whichever points have it.
  updates = survival.updates_of([row['summary'] for row in rows], layout)
  body: list[list[str]] = []
  heads: list[str] = []
  for row in rows:
    heads, of_point = survival.half_rows(row['summary'], layout, updates)
    for name, *cells in of_point:
      body.append([f'{point_label(row["point"])} {name}', *cells])
  if not body:
    return []
  columns = [f'/{head}' for head in heads]
  return ['', 'dose at which half of an effect is gone', *aligned('effect', columns, body, 60)]


def _changes(
  changes: Mapping[str, Mapping[str, Any]], layout: ReportLayout, reference: str
) -> list[str]:
  """The table of what changes from the first point to the others; empty if nothing is given."""
  measures = (layout.main, numbers.margin_of(layout.main))
  body = []
  for name, change in changes.items():
    cells = [show_measure(change.get(measure), measure, is_effect=True) for measure in measures]
    body.append([name, *cells])
  if not body:
    return []
  tier = layout.main.split('/')[-1]
  heads = [f'share/{tier}', f'nats/{tier}']
  about = f'what changes against {reference}, within seeds; no correction for the number of rows'
  return ['', about, *aligned('change', heads, body, 60)]


def _is_measured(rows: SweepRows, measure: str) -> bool:
  """Whether an effect of any point has the measure."""
  for row in rows:
    for effect in row['summary']['effects'].values():
      if measure in effect:
        return True
  return False


def _effects(rows: SweepRows, effects: Sequence[str], measure: str, heading: str) -> list[str]:
  """The table of one measure's effects at every point."""
  body = []
  for row in rows:
    measured = row['summary']['effects']
    cells = []
    for effect in effects:
      stat = measured.get(effect, {}).get(measure)
      cells.append(show_measure(stat, measure, is_effect=True))
    body.append([point_label(row['point']), *cells])
  heads = [f'{effect.replace("/", "-")}{heading}' for effect in effects]
  return aligned('point', heads, body)


def _factors(
  rows: SweepRows,
  layout: ReportLayout,
  axis: tuple[str, list[float]],
  arms: Sequence[str],
  effects: Sequence[str],
) -> list[str]:
  """Lines that say how many times as much data the second arm of an effect needs."""
  key, xs = axis
  means: dict[str, list[float | None]] = {}
  for arm in arms:
    stats = [row['summary']['arms'].get(arm, {}).get(layout.main, {}) for row in rows]
    means[arm] = [stat.get('mean') for stat in stats]
  # effect -> one cell for each position, from the smallest on
  saved: dict[str, list[str]] = {}
  in_order = sorted(range(len(rows)), key=xs.__getitem__)
  for effect in effects:
    named = _arms_of_effect(rows, effect)
    if len(named) != 2:
      continue
    first = [mean for mean in means[named[0]] if mean is not None]
    second = [mean for mean in means[named[1]] if mean is not None]
    measured_everywhere = len(first) == len(second) == len(rows)
    if measured_everywhere and len(set(second)) > 1:
      least = second[in_order[0]]
      factors = times_saved(xs, first, second, layout.better)
      saved[effect] = []
      for n, (factor, reached) in zip(in_order, factors, strict=True):
        is_enough = layout.better * (least - first[n]) >= 0
        saved[effect].append(_show_factor(factor, reached, is_enough))
  if not saved:
    return []
  body = []
  for position, n in enumerate(in_order):
    cells = [of_effect[position] for of_effect in saved.values()]
    body.append([point_label(rows[n]['point']), *cells])
  varied = key.rsplit('.', 1)[-1]
  about = f'how many times the {varied} the second arm needs for what the first has at a point'
  return [
    '',
    about,
    *aligned('point', [f'{effect.replace("/", "-")}/times' for effect in saved], body),
  ]


def _show_factor(factor: float, reached: bool, is_enough: bool) -> str:
  """Writes a factor of `times_saved`. `is_enough`: the second arm is as good at the smallest point
  already, and may need less."""
  if not reached:
    return f'over {factor:.3g}'
  return f'at most {factor:.3g}' if is_enough else f'{factor:.3g}'


def write_sweep(
  path: Path,
  name: str,
  about: str,
  rows: SweepRows,
  layout: ReportLayout,
  changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
  """Writes one page with the curves and the table of a sweep.

  Args:
    path: where the page goes.
    name: the sweep's name.
    about: what the sweep changes, in one sentence.
    rows: rows of sweep.jsonl.
    layout: what the setting shows.
    changes: as for `sweep_table`.

  Returns:
    The path.
  """
  name = html.escape(name)
  figure = figures.NO_FIGURES
  if figures.is_available():
    draw = functools.partial(figures.curves, layout=layout, rows=rows)
    over = ' or '.join(dict.fromkeys(numbers.range_over(row['summary']) for row in rows))
    figure = figures.svg_figure(draw, 'curves', f'Dots: mean; bars: range over {over}.')
    draw_surfaces = functools.partial(survival.draw_sweep, layout=layout, rows=rows)
    about_surfaces = 'What is left of an effect, by dose and by updates, at each point.'
    figure += figures.svg_figure(draw_surfaces, 'surfaces', about_surfaces)
  seed_list = html.escape(of_points(rows, _seeds_of))
  uncertainty = html.escape(of_points(rows, numbers.about_spread))
  heading = f'<h1>{name}</h1><p>{html.escape(about)}</p>'
  page = f"""{HEAD}<title>{name}: sweep</title><style>{STYLE}</style></head><body>{heading}
<p class="note">{layout.caveat}</p>
<p class="note">Uncertainty: {uncertainty}.</p>
{figure}<pre class="wide">{html.escape(sweep_table(rows, layout, changes))}</pre>
<footer><p>Seeds {seed_list}. Every point is a whole experiment with a page of its own, under
<code>points/</code>.</p></footer>
</body></html>
"""
  write_atomically(path, page.encode())
  return path
