"""Measures that may be unable to show anything, each beside its ceiling.

The base model is asked the same questions about people whose conduct it has read of. If it is wrong
about them, an arm's share says nothing about a handbook, whatever it is. So such a measure stands
in no other table and in no figure.
"""

from collections.abc import Callable, Mapping

from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import Summary, show

TITLE = 'A measure beside its ceiling'
# Below this share, people of known conduct are nearer to chance (0.5) than to 1.
CAN_SHOW = 0.75


def rows_of(
  summary: Summary, layout: ReportLayout, show_stat: Callable[[Mapping], str] = show
) -> dict[str, list[list[str]]]:
  """The tables.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows; `limited` names the measures.
    show_stat: how a measured number is written.

  Returns:
    Measure -> rows of [who, share]: first the people whose conduct is known, as the base sees them,
    then every arm. Measures without such people are left out.
  """
  out = {}
  for measure, known in layout.limited.items():
    ceiling = _ceiling(summary, known)
    if ceiling is None:
      continue
    name = f'right about people of known conduct ({summary["base"]})'
    rows = [[name, show_stat(ceiling)]]
    for arm, measures in summary['arms'].items():
      if measure in measures:
        rows.append([arm, show_stat(measures[measure])])
    out[measure] = rows
  return out


def verdict(summary: Summary, layout: ReportLayout, measure: str) -> str:
  """Says whether a measure can show anything, as plain text.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.
    measure: one that `rows_of` has a table of.

  Returns:
    One or two sentences, without a point at the end.
  """
  ceiling = _ceiling(summary, layout.limited[measure])
  assert ceiling is not None
  name = measure.partition('/')[2]
  known = (
    f'{name}: the base is right about people of known conduct in {ceiling["mean"]:.2f} of such '
    f'questions; 0.5 is chance'
  )
  if ceiling['mean'] < CAN_SHOW:
    return f'{known}. So the shares below can show nothing about a handbook'
  return f'{known}. Shares below are to be compared with this one'


def _ceiling(summary: Summary, known: str) -> Mapping | None:
  """The share of the people whose conduct is known, as the base sees them."""
  # Summaries of older versions do not name the base.
  return summary['arms'].get(summary.get('base', ''), {}).get(known)
