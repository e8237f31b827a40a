"""Figures as inline SVG. The same numbers give the same bytes. Matplotlib is optional and imported
when a figure is drawn."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import RowsByMeasure, Summary, margin_of, means_by, point_label

# Colours of Okabe and Ito (2008): colour-blind readers can tell them apart too.
BLUE, ORANGE, GREY, INK = '#0072b2', '#d55e00', '#8c8c8c', '#222222'
# Lines that stand side by side have these colours, and where they are too few, other dashes and
# markers. In a legend, lines are too short to show dashes.
_LINE_COLOURS = (BLUE, ORANGE, '#009e73', '#cc79a7', '#e69f00', '#56b4e9', INK)
_DASHES, _MARKERS = ('-', '--', ':', '-.'), ('o', 's', '^', 'D')
NO_FIGURES = (
  '<p class="note"><code>pip install &quot;msm_jax[report]&quot;</code> adds the figures.</p>'
)
# A share this far from one half has a dark cell, on which white digits are easier to read.
_DARK_CELL = 0.33
# An axis whose largest value is at least this many times the smallest is logarithmic.
_LOG_SPAN = 8
# Points of an inch. Letters have this size, slanted names of arms need this much room from one to
# the next, and the axes of a figure take about this width.
_LETTERS, _ROOM_FOR_NAMES, _WIDTH_OF_AXES = 9, 15, 600
# The dots of all seeds lie within the bar of their arm.
_BAR, _DOTS_APART = 0.72, 0.13


def colours(summary: Summary) -> dict[str, str]:
  """The colour of each arm, by the side that it has in effects.

  Args:
    summary: the contents of summary.json.

  Returns:
    arm -> blue if it stands first in an effect (the handbook's own value), orange if it stands
    second (the rival's value), grey if no effect names it.
  """
  firsts = {effect['arms'][0] for effect in summary['effects'].values()}
  seconds = {effect['arms'][1] for effect in summary['effects'].values()}
  out = {}
  for arm in summary['arms']:
    out[arm] = GREY
    if arm in seconds:
      out[arm] = ORANGE
    if arm in firsts:
      out[arm] = BLUE
  return out


def error_of(stat: Mapping[str, Any]) -> list[list[float]]:
  """The two lengths of an error bar, below and above the mean.

  Args:
    stat: the number.

  Returns:
    Those of the interval if there is one, else of the range over the runs. Of a single run they
    are 0.
  """
  mean = stat['mean']
  low, high = stat.get('low'), stat.get('high')
  if low is None or high is None:
    low, high = stat.get('lowest'), stat.get('highest')
  if low is None or high is None:
    low, high = mean, mean
  return [[max(0.0, mean - low)], [max(0.0, high - mean)]]


def bars(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws a bar per arm and a dot per seed, as the published figures do (Model Spec Midtraining,
  figures 2 and 4).

  Args:
    fig: the figure to draw into.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: the rows behind it.
  """
  arm_colours = colours(summary)
  names, panels = list(arm_colours), len(layout.panels)
  # Many arms: the panels stand one below the other, and the names upright.
  style: dict[str, Any] = dict(rotation=40, ha='right', rotation_mode='anchor')
  if _WIDTH_OF_AXES / panels / len(names) < _ROOM_FOR_NAMES:
    fig.set_size_inches(10, 4.8 * panels)
    axes = fig.subplots(panels, 1, squeeze=False)[:, 0]
    letters = min(_LETTERS, 0.8 * _WIDTH_OF_AXES / len(names))
    style = dict(rotation=90, fontsize=letters)
  else:
    fig.set_size_inches(10, 4.8)
    axes = fig.subplots(1, panels, sharey=True, squeeze=False)[0]
  for ax, (measure, title, label) in zip(axes, layout.panels, strict=True):
    ax.axhline(0.5, color=INK, lw=0.8, ls=':')
    for x, (arm, measures) in enumerate(summary['arms'].items()):
      stat = measures.get(measure)
      if not stat:
        continue
      ax.bar(x, stat['mean'], _BAR, color=arm_colours[arm])
      ax.errorbar(x, stat['mean'], error_of(stat), color=INK, capsize=3, lw=1.2, zorder=3)
      seeds = list(means_by(rows.get((arm, measure), ()), 'seed').values())
      # Side by side, so that dots of equal height stay apart, and not above another arm's bar.
      apart = min(_DOTS_APART, _BAR / max(1, len(seeds)))
      at = [x + apart * (n - (len(seeds) - 1) / 2) for n in range(len(seeds))]
      ax.scatter(at, seeds, 13, 'white', edgecolors=INK, linewidths=0.8, zorder=4)
    ax.set_xticks(range(len(names)), names, **style)
    ax.set(ylim=(0, 1.03), ylabel=label)
    ax.set_title(title, weight='bold')
    ax.yaxis.set_tick_params(labelleft=True)


def tiers(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws the arms from top to bottom, with one panel per tier.

  Args:
    fig: the figure to draw into.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: not used; all figures take the same arguments.
  """
  arm_colours = colours(summary)
  fig.set_size_inches(10, 1.1 + 0.27 * len(arm_colours))
  axes = fig.subplots(1, len(layout.tiers), sharey=True, squeeze=False)[0]
  for ax, (measure, title) in zip(axes, layout.tiers.items(), strict=True):
    ax.grid(axis='y', color='#eee')
    ax.set_axisbelow(True)
    ax.axvline(0.5, color=INK, lw=0.8, ls=':')
    for y, (arm, measures) in enumerate(summary['arms'].items()):
      stat = measures.get(measure)
      if stat:
        ax.errorbar(
          stat['mean'], y, xerr=error_of(stat), fmt='o', color=arm_colours[arm], ms=6, lw=1.8
        )
    ax.set(xlim=(-0.04, 1.04), ylim=(len(arm_colours) - 0.5, -0.5))
    ax.set_title(title, weight='bold')
    ax.set_xticks([0, 0.5, 1], ['0', '0.5', '1'])
    ax.set_yticks(range(len(arm_colours)), list(arm_colours))
  # The tiers are those of the setting, also where an experiment has another main measure.
  fig.supxlabel(layout.of_setting.share.split(': ', 1)[1], fontsize=9)


def margins(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws the margin of the main measure, of all arms and of all effects, with its intervals.

  Args:
    fig: the figure to draw into; it stays empty if no number has an interval.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: not used; all figures take the same arguments.
  """
  measure = margin_of(layout.main)
  panels = []
  for title, part in (('arms', summary['arms']), ('effects', summary['effects'])):
    stats = {name: of_name[measure] for name, of_name in part.items() if measure in of_name}
    if any(stat.get('low') is not None for stat in stats.values()):
      panels.append((title, stats))
  if not panels:
    return
  arm_colours = colours(summary)
  longest = max(len(stats) for _, stats in panels)
  fig.set_size_inches(10, 1.1 + 0.27 * longest)
  axes = fig.subplots(1, len(panels), squeeze=False)[0]
  for ax, (title, stats) in zip(axes, panels, strict=True):
    ax.grid(axis='y', color='#eee')
    ax.set_axisbelow(True)
    ax.axvline(0, color=INK, lw=0.8, ls=':')
    for y, (name, stat) in enumerate(stats.items()):
      colour = arm_colours.get(name, INK) if title == 'arms' else INK
      ax.errorbar(stat['mean'], y, xerr=error_of(stat), fmt='o', color=colour, ms=6, lw=1.8)
    ax.set_ylim(len(stats) - 0.5, -0.5)
    ax.set_yticks(range(len(stats)), list(stats))
    ax.set_xlabel('nats')
    ax.set_title(title, weight='bold')


def two_sided() -> Any:
  """A colour map from the rival's orange over nearly white to the handbook's blue."""
  from matplotlib.colors import LinearSegmentedColormap

  return LinearSegmentedColormap.from_list('sides', [ORANGE, '#f7f7f7', BLUE])


def domains(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws the main measure by domain as a heat map, for the arms that an effect names.

  Args:
    fig: the figure to draw into; it stays empty if these arms have no rows.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: the rows behind it.
  """
  shares = {}
  for arm, colour in colours(summary).items():
    members = rows.get((arm, layout.main))
    if colour != GREY and members:
      shares[arm] = means_by(members, 'cluster')
  names: set[str] = set()
  for by_domain in shares.values():
    names.update(by_domain)
  if not names:
    return
  columns = sorted(names)
  grid = []
  for by_domain in shares.values():
    grid.append([by_domain.get(domain, float('nan')) for domain in columns])
  fig.set_size_inches(10, 1.2 + 0.36 * len(shares))
  # '0.53' is two and a quarter times as wide as its letters are high.
  letters = min(_LETTERS, 0.36 * _WIDTH_OF_AXES / len(columns))
  ax = fig.subplots()
  ax.pcolormesh(grid, cmap=two_sided(), vmin=0, vmax=1, edgecolors='white', linewidth=1.5)
  for y, line in enumerate(grid):
    for x, share in enumerate(line):
      colour = 'white' if abs(share - 0.5) > _DARK_CELL else INK
      place = (x + 0.5, y + 0.5)
      ax.text(*place, f'{share:.2f}', ha='center', va='center', color=colour, fontsize=letters)
  ticks = [x + 0.5 for x in range(len(columns))]
  style = dict(rotation=30, ha='right', rotation_mode='anchor', fontsize=letters)
  ax.set_xticks(ticks, columns, **style)
  ax.set_yticks([y + 0.5 for y in range(len(shares))], list(shares))
  ax.set_ylim(len(shares), 0)
  ax.tick_params(length=0)
  ax.spines[:].set_visible(False)


def numeric_axis(rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[float]] | None:
  """Finds the axis of a sweep's curves: the first override of its points.

  Args:
    rows: rows of sweep.jsonl.

  Returns:
    The override's key and its value at every point, if the values are different numbers; else None.
  """
  keys: set[str] = set()
  values: list[Any] = []
  for row in rows:
    overrides = [(k, v) for k, v in row['point'].items() if k != 'label']
    key, value = overrides[0] if overrides else ('', None)
    keys.add(key)
    values.append(value)
  are_numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
  if len(keys) == 1 and are_numbers and len(set(values)) == len(values) > 1:
    return keys.pop(), values
  return None


def curves(fig: Any, layout: ReportLayout, rows: Sequence[Mapping[str, Any]]) -> None:
  """Draws the main measure of each arm over the points of a sweep.

  Args:
    fig: the figure to draw into.
    layout: what its setting shows.
    rows: rows of sweep.jsonl, in any order. The points stand at their value if one number tells
      them apart, else one after the other.
  """
  fig.set_size_inches(10, 4.4)
  ax = fig.subplots()
  axis = numeric_axis(rows)
  xs: Sequence[float] = range(len(rows))
  if axis:
    # A line that runs back and forth would show values between points that are no neighbours.
    order = sorted(range(len(rows)), key=axis[1].__getitem__)
    xs, rows = [axis[1][n] for n in order], [rows[n] for n in order]
  arms: dict[str, None] = {}
  for row in rows:
    arms |= dict.fromkeys(row['summary']['arms'])
  for n, arm in enumerate(arms):
    look = line_look(n, n // len(_LINE_COLOURS))
    _curve(ax, arm, look, layout, xs, rows)
  if axis:
    ax.set_xlabel(axis[0])
    if min(xs) > 0 and max(xs) >= _LOG_SPAN * min(xs):
      ax.set_xscale('log')
    ax.set_xticks(xs, [f'{x:g}' for x in xs])
    ax.minorticks_off()
  else:
    labels = [point_label(row['point']) for row in rows]
    ax.set_xticks(xs, labels, rotation=30, ha='right', rotation_mode='anchor')
  ax.set(ylim=(-0.03, 1.03), ylabel=layout.share.split(': ', 1)[1])
  ax.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)


def _curve(
  ax: Any,
  arm: str,
  look: Mapping[str, Any],
  layout: ReportLayout,
  xs: Sequence[float],
  rows: Sequence[Mapping[str, Any]],
) -> None:
  at, means, below, above = [], [], [], []
  for x, row in zip(xs, rows, strict=True):
    stat = row['summary']['arms'].get(arm, {}).get(layout.main)
    if stat is None:
      continue
    (lower,), (upper,) = error_of(stat)
    at.append(x)
    means.append(stat['mean'])
    below.append(lower)
    above.append(upper)
  style = dict(capsize=3, lw=1.5, ms=5)
  ax.errorbar(at, means, [below, above], label=legend_label(arm), **style, **look)


def line_look(colour: int, kind: int) -> dict[str, Any]:
  """The colour of a line, and the dashes and markers of its kind; numbers may be any from 0."""
  return {
    'color': _LINE_COLOURS[colour % len(_LINE_COLOURS)],
    'linestyle': _DASHES[kind % len(_DASHES)],
    'marker': _MARKERS[kind % len(_MARKERS)],
  }


def legend_label(name: str) -> str:
  """A name as a legend shows it: matplotlib leaves out names that begin with an underscore."""
  # A character without width.
  return f'\N{WORD JOINER}{name}' if name.startswith('_') else name


def is_available() -> bool:
  """Whether figures can be drawn: matplotlib is an extra."""
  try:
    import matplotlib  # noqa: F401
  except ImportError:
    return False
  return True


def svg_figure(draw: Callable[[Any], None], salt: str, caption: str) -> str:
  """Draws a figure as HTML.

  Args:
    draw: draws into a matplotlib figure.
    salt: what the ids inside the SVG are made from; figures of one page need different salts.
    caption: HTML below the figure.

  Returns:
    A <figure> with an inline SVG; '' if nothing was drawn. Names are text, never TeX.
  """
  from matplotlib import style
  from matplotlib.figure import Figure

  settings = {
    'svg.fonttype': 'none',
    'svg.hashsalt': salt,
    'text.parse_math': False,
    'font.size': 9,
    'axes.titlesize': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
  }
  with style.context(['default', settings]), warnings.catch_warnings():
    # Text stays text in the SVG: letters that matplotlib's own font lacks are shown all the same.
    warnings.filterwarnings('ignore', message='Glyph .* missing from font')
    fig = Figure(layout='constrained')
    draw(fig)
    if not fig.axes:
      return ''
    out = io.StringIO()
    no_metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    fig.savefig(out, format='svg', transparent=True, metadata=no_metadata)
  svg = out.getvalue()
  svg = svg[svg.index('<svg') :]
  # Every figure names its groups figure_1, axes_1 and so on; ids on one page must differ.
  svg = re.sub(r'<g id="[^"]*">', '<g>', svg)
  return f'<figure><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'
