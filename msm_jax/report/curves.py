"""How effects run along the last phases of arms: a figure, and a table for each phase."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msm_jax.report import figures
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import RowsByMeasure, Summary, margin_of

# (title, paragraph, headings, rows of cells) of a section of the page; all are HTML.
Section = tuple[str, str, list[str], list[list[str]]]
# Writes a number as its measure is written: (number, measure, whether it is an effect) -> HTML.
ShowStat = Callable[[Any, str, bool], str]

# Panels in a row of the figure.
_COLUMNS = 3
_ABOUT = (
  'What the evaluators find after so many updates of the last phase of an arm; update 0 is the end '
  'of the phase before. On the way the assistant alone is asked. The parameters of each point are '
  'kept: <code>ARM@UPDATE</code> opens them like an arm.'
)


def _shown_measure(curves: Mapping[str, Any], layout: ReportLayout) -> str:
  """The margin of the main measure, or where there is none the main measure itself."""
  margin = margin_of(layout.main)
  for curve in curves.values():
    if all(margin in numbers for numbers in curve['at'].values()):
      return margin
  return layout.main


def by_phase(curves: Mapping[str, Any], leave_out: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
  """Groups curves by their phase.

  Args:
    curves: name -> curve, of arms or of effects, as summary.json has them.
    leave_out: names that are shown elsewhere.

  Returns:
    phase -> name -> update -> measure -> number.
  """
  out: dict[str, dict[str, Any]] = {}
  for name, curve in curves.items():
    if name not in leave_out:
      out.setdefault(curve['phase'], {})[name] = curve['at']
  return out


def _shown_elsewhere(summary: Summary) -> list[str]:
  """The effects of dose curves and their arms: at ten doses they would fill ten panels."""
  out = []
  for curve in summary.get('survival', {}).values():
    for effect in curve['effects']:
      out += [effect, *summary['effects'][effect]['arms']]
  return out


def draw(fig: Any, layout: ReportLayout, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws one panel for each phase, with a line for each effect (or each arm, without effects).

  Args:
    fig: the figure to draw into; it stays empty if nothing was measured on the way.
    layout: what its setting shows.
    summary: the contents of summary.json.
    rows: not used; all figures take the same arguments.
  """
  curves = summary.get('curves')
  if not curves:
    return
  drawn = curves['effects'] or curves['arms']
  measure = _shown_measure(drawn, layout)
  phases = by_phase(drawn, _shown_elsewhere(summary))
  if not phases:
    return
  lines = -(-len(phases) // _COLUMNS)
  fig.set_size_inches(10, 0.4 + 2.6 * lines)
  axes = fig.subplots(lines, min(_COLUMNS, len(phases)), squeeze=False, sharey=True)
  panels = iter(axes.flat)
  # 'handbook, push' and 'handbook, release' have the colour of 'handbook'.
  stems: dict[str, int] = {}
  for of_phase in phases.values():
    for name in of_phase:
      stems.setdefault(_stem_of(name), len(stems))
  for phase, of_phase in phases.items():
    _draw_phase(next(panels), phase, of_phase, measure, stems)
  for ax in panels:
    ax.set_visible(False)
  fig.supylabel(f'{measure.partition("/")[2]}{" (nats)" if "margin" in measure else ""}')


def _stem_of(name: str) -> str:
  """What the effects of one kind of model have in common: the part before the comma."""
  return name.split(',')[0]


def _draw_phase(
  ax: Any, phase: str, of_phase: Mapping[str, Any], measure: str, stems: Mapping[str, int]
) -> None:
  """One panel. Updates stand side by side: they rise by factors, and 0 has no logarithm.

  Lines of one panel that have the same colour have other dashes and markers.
  """
  updates: set[int] = set()
  for at in of_phase.values():
    updates.update(map(int, at))
  places = {update: x for x, update in enumerate(sorted(updates))}
  ax.axhline(0, color=figures.INK, lw=0.8, ls=':')
  # Colour -> how many lines of this panel have it.
  lines_of: dict[str, int] = {}
  for name, at in of_phase.items():
    xs: list[float] = []
    means: list[float] = []
    below: list[float] = []
    above: list[float] = []
    for update, numbers in at.items():
      if measure not in numbers:
        continue
      (lower,), (upper,) = figures.error_of(numbers[measure])
      xs.append(places[int(update)])
      means.append(numbers[measure]['mean'])
      below.append(lower)
      above.append(upper)
    number = stems[_stem_of(name)]
    colour = figures.line_look(number, 0)['color']
    look = figures.line_look(number, lines_of.get(colour, 0))
    lines_of[colour] = lines_of.get(colour, 0) + 1
    style = dict(capsize=2, lw=1.3, ms=4)
    label = figures.legend_label(name)
    ax.errorbar(xs, means, [below, above], label=label, **style, **look)
  ax.set_xticks(range(len(places)), [str(update) for update in places])
  ax.set_title(phase, weight='bold')
  ax.legend(fontsize=6, frameon=False)


def sections(summary: Summary, layout: ReportLayout, show: ShowStat) -> Iterator[Section]:
  """Makes a table for each phase with points.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.
    show: how a number is written.

  Yields:
    Sections of the page: arms and effects in rows, updates in columns.
  """
  curves = summary.get('curves')
  if not curves:
    return
  measure = _shown_measure(curves['arms'], layout)
  elsewhere = _shown_elsewhere(summary)
  effects = by_phase(curves['effects'], elsewhere)
  about = f'{_ABOUT} Shown: {html.escape(measure.partition("/")[2])}.'
  title = 'Along the phases'
  for phase, of_phase in by_phase(curves['arms'], elsewhere).items():
    body, updates = [], _updates_of(of_phase)
    for is_effect, members in ((False, of_phase), (True, effects.get(phase, {}))):
      for name, at in members.items():
        cells = []
        for update in updates:
          cells.append(show(at.get(update, {}).get(measure), measure, is_effect))
        kind = '<small>effect</small>' if is_effect else ''
        body.append([f'{html.escape(name)}{kind}', *cells])
    heads = [html.escape(phase), *(f'{int(update):,}' for update in updates)]
    yield title, about, heads, body
    # The text stands once, above the first table.
    title, about = '', ''


def _updates_of(of_phase: Mapping[str, Any]) -> list[str]:
  updates: set[str] = set()
  for at in of_phase.values():
    updates.update(at)
  return sorted(updates, key=int)
