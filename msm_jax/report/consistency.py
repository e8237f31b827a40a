"""The consistency of every arm beside what chance gives, as a figure and as a table.

It is shown where rows say between which numbers a model lies that chooses at random: choices by
values (`msm_jax/evals/side_consistency.py`).
"""

import html
from typing import Any

from msm_jax.report.figures import INK, colours, error_of
from msm_jax.report.numbers import RowsByMeasure, Summary, measured_in, show

TITLE = 'Consistency'
ABOUT = (
  'How much more often than by chance two choices are on the same side of a value: in different '
  'domains, wordings of one question, orders of the same options. 1 is always, 0 is chance; a '
  'model that goes against the value everywhere is consistent too. The value is that of the '
  'handbook that the arm has read, or of the evaluation&rsquo;s handbook. Chance: 95% of the '
  'models that draw their answers to these questions lie between the two numbers.'
)
CAPTION = (
  'Consistency of choices (1 is perfect, 0 is chance). Dots: mean, bars: range over the runs; '
  'grey: 95% of the models that choose at random'
)
_WHATS = ('across_domains', 'across_wordings', 'across_orders')
_GREY_BAND = '#dddddd'


def measures_of(summary: Summary) -> dict[str, str]:
  """Finds what is shown.

  Args:
    summary: the contents of summary.json.

  Returns:
    Measure -> its title. Where no arm has read a handbook with a value, it is about the own value
    of the experiment.
  """
  measured = measured_in(summary, 'arms')
  out = {}
  for what in _WHATS:
    for tier in ('handbook', summary.get('own_value', '')):
      measure = f'consistency/{what}/{tier}'
      if measure in measured:
        out[measure] = what.replace('_', ' ')
        break
  return out


def chance_of(rows: RowsByMeasure, measure: str) -> tuple[float, float] | None:
  """The widest range of chance among the rows of a measure; None if no row tells."""
  lows, highs = [], []
  for (_, of_rows), members in rows.items():
    if of_rows == measure:
      lows += [row['chance_low'] for row in members if 'chance_low' in row]
      highs += [row['chance_high'] for row in members if 'chance_high' in row]
  return (min(lows), max(highs)) if lows else None


def table(summary: Summary, rows: RowsByMeasure) -> tuple[list[str], list[list[str]]]:
  """Writes the table.

  Args:
    summary: the contents of summary.json.
    rows: the rows of results.jsonl by arm and measure.

  Returns:
    (headings, rows of cells), as HTML; the last row is chance.
  """
  measures = measures_of(summary)
  body = []
  for arm, of_arm in summary['arms'].items():
    body.append([html.escape(arm), *(show(of_arm.get(measure)) for measure in measures)])
  chances = ['chance']
  for measure in measures:
    span = chance_of(rows, measure)
    chances.append(f'{span[0]:+.2f}..{span[1]:+.2f}' if span else '-')
  return ['arm', *measures.values()], [*body, chances]


def draw(fig: Any, summary: Summary, rows: RowsByMeasure) -> None:
  """Draws the arms from top to bottom, with one panel for each kind of consistency.

  Args:
    fig: the figure to draw into; it stays empty if no row says what chance gives.
    summary: the contents of summary.json.
    rows: the rows of results.jsonl by arm and measure.
  """
  spans: dict[str, tuple[float, float]] = {}
  measures = measures_of(summary)
  for measure in measures:
    span = chance_of(rows, measure)
    if span is not None:
      spans[measure] = span
  if not spans:
    return
  arm_colours = colours(summary)
  fig.set_size_inches(10, 1.2 + 0.27 * len(arm_colours))
  axes = fig.subplots(1, len(spans), sharey=True, squeeze=False)[0]
  for ax, (measure, span) in zip(axes, spans.items(), strict=True):
    ax.axvspan(*span, color=_GREY_BAND, lw=0)
    ax.axvline(0, color=INK, lw=0.8, ls=':')
    # With few options of many on the value's side, opposite choices are far below -1.
    lowest = min(-1.0, span[0])
    for y, (arm, of_arm) in enumerate(summary['arms'].items()):
      stat = of_arm.get(measure)
      if stat:
        colour, error = arm_colours[arm], error_of(stat)
        ax.errorbar(stat['mean'], y, xerr=error, fmt='o', color=colour, ms=6, lw=1.8)
        lowest = min(lowest, stat['mean'] - error[0][0])
    ax.set(xlim=(lowest - 0.04, 1.04), ylim=(len(arm_colours) - 0.5, -0.5))
    ax.set_title(measures[measure], weight='bold')
    ax.set_yticks(range(len(arm_colours)), list(arm_colours))
