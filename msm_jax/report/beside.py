"""What an arm's share is to be compared with: people whose conduct is known, and counting words.

A share of 0.9 means one thing if people about whom the base has read the same reach 0.95, and
another if whoever counts words reaches 1.00. Both stand beside the table of arms, in the terminal
and on the page.
"""

import html
from collections.abc import Callable, Mapping

from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import Summary, show

TITLE = 'What to compare the shares with'


def reference_rows(
  summary: Summary, layout: ReportLayout, show_stat: Callable[[Mapping], str] = show
) -> list[list[str]]:
  """The rows of the table.

  Args:
    summary: the contents of summary.json.
    layout: what its setting shows.
    show_stat: how a measured number is written.

  Returns:
    [what it is, its share] of each group of people, as the base model sees them, and of each
    baseline without a model, once for arms with the same share. The shares are those of the main
    measure of the setting, also where an experiment has named another one.
  """
  rows = []
  # Summaries of older versions do not name the base.
  base = summary.get('base', '')
  measured = summary['arms'].get(base, {})
  for measure, label in layout.ceilings.items():
    if measure in measured:
      rows.append([f'{label} ({base})', show_stat(measured[measure])])
  tier = layout.of_setting.main.rsplit('/', 1)[-1]
  shares: dict[str, list[tuple[str, float]]] = {}
  for arm, by_baseline in summary.get('no_model', {}).items():
    for baseline, by_tier in by_baseline.items():
      if tier in by_tier:
        shares.setdefault(baseline, []).append((arm, by_tier[tier]))
  for baseline, of_arms in shares.items():
    # Arms with the same share stand in one row.
    arms_of: dict[str, list[str]] = {}
    for arm, share in of_arms:
      arms_of.setdefault(f'{share:.2f}', []).append(arm)
    for share_text, arms in arms_of.items():
      rows.append([f'no model, {baseline}: {", ".join(arms)}', share_text])
  return rows


def reference_html(
  summary: Summary, layout: ReportLayout, show_stat: Callable[[Mapping], str]
) -> list[list[str]]:
  """The same rows with what they are as HTML."""
  return [[html.escape(label), cell] for label, cell in reference_rows(summary, layout, show_stat)]


_ABOUT = (
  'People met only in documents show what the base makes of documents at best. &ldquo;No '
  'model&rdquo; counts words: <i>bag of words</i> weighs every word of the documents by its '
  'log-odds against documents about everybody, and chooses the option whose facts weigh more (for '
  'scenes: it weighs whole sentences by the conduct of the agents of whom they are said); '
  '<i>nearest neighbours</i> does what the people or agents with the most similar documents did in '
  'chats. What counting gives as well is no achievement of a model.'
)


def about(layout: ReportLayout) -> str:
  """The paragraph above the table, as HTML.

  Args:
    layout: what the setting shows. If the experiment has named another main measure, the shares are
      still those of the measure of the setting, and the paragraph says so.

  Returns:
    A few sentences.
  """
  measure = 'the main measure'
  if layout.former is not None:
    measure = f'{html.escape(layout.of_setting.main)}, which is not the primary measure here'
  return f'Shares of {measure}, on the same pairs or scenes. {_ABOUT}'
