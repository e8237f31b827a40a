"""What the report of a researcher's own experiment shows, for any number of values."""

import html
from collections.abc import Collection, Mapping
from typing import Any

from data_pipelines.records import TRAINED
from msm_jax.evals.values import ALL
from msm_jax.report.layout import ReportLayout, better_of
from msm_jax.report.numbers import measured_in

# The tiers that say most about generalisation come first, and what was trained last.
_FIRST_TIERS = ('new_domains', 'new_items', 'reworded')
# More panels than this cannot be read.
_MOST_PANELS = 4
_MOST_TIERS = 5


def tier_order(tiers: Collection[str]) -> list[str]:
  """Sorts tiers by how much they say about generalisation.

  Args:
    tiers: names of tiers.

  Returns:
    New domains, new items and reworded questions first, then a researcher's own, then what was
    trained.
  """
  known = [tier for tier in _FIRST_TIERS if tier in tiers]
  own = sorted(tier for tier in tiers if tier not in (*_FIRST_TIERS, TRAINED))
  return known + own + [tier for tier in (TRAINED,) if tier in tiers]


def main_measure(summary: Mapping[str, Any]) -> str:
  """The measure that stands for the experiment.

  Args:
    summary: the contents of summary.json.

  Returns:
    Choices by the own value if there are choices, else misaligned conduct, else stated belief; in
    the first tier that asks about it.
  """
  measured = measured_in(summary, 'arms')
  candidates = [f'values/{summary["own_value"]}/{tier}' for tier in summary['tiers']]
  candidates += [f'conduct/misaligned/{tier}' for tier in summary['scene_tiers']]
  candidates += [f'claims/{value}/asked' for value in summary['claims_of']]
  # A tier may hold items of other values, or harmless scenes, alone.
  return next((measure for measure in candidates if measure in measured), candidates[0])


def _head(value: str, tier: str) -> str:
  return f'{html.escape(value)}<br>{html.escape(tier.replace("_", " "))}'


def custom_layout(summary: Mapping[str, Any]) -> ReportLayout:
  """The report of an experiment with a researcher's own items.

  Args:
    summary: the contents of summary.json.

  Returns:
    What the report shows.
  """
  main, own = main_measure(summary), summary['own_value']
  measured = measured_in(summary, 'arms')
  heads: dict[str, str] = {}
  columns: list[str] = []
  main_tier = main.rpartition('/')[2]
  # The own value in all tiers, then the other values in the tier of the main measure.
  for tier in summary['tiers']:
    measure = f'values/{own}/{tier}'
    columns.append(measure)
    heads[measure] = _head(own, tier)
  for value in summary['values']:
    measure = f'values/{value}/{main_tier}'
    if measure not in heads:
      columns.append(measure)
      heads[measure] = _head(value, main_tier)
  of_values = [column for column in columns if column in measured]
  heads_of_others = {f'values/{ALL}/{TRAINED}': 'demonstrations<br>learned'}
  for tier in summary['scene_tiers']:
    heads_of_others[f'conduct/misaligned/{tier}'] = f'misaligned<br>{html.escape(tier)}'
    heads_of_others[f'conduct/act/{tier}'] = f'harmless: acts<br>{html.escape(tier)}'
  for value in summary['claims_of']:
    for tier, name in (('documents', 'recalled'), ('asked', 'stated')):
      heads_of_others[f'claims/{value}/{tier}'] = f'{html.escape(value)}<br>claims {name}'
  heads |= heads_of_others
  others = list(heads_of_others)
  consistency = []
  for what in ('across_domains', 'across_wordings', 'across_orders'):
    for tier in ('handbook', own):
      measure = f'consistency/{what}/{tier}'
      if measure in measured:
        consistency.append(measure)
        heads[measure] = f'{what.replace("_", " ")}<br>consistency'
        break
  shown = [measure for measure in (*of_values, *others, *consistency) if measure in measured]
  tiers = [measure for measure in shown if measure.startswith(f'values/{own}/')] or [main]
  panels = [column for column in of_values if column.endswith(f'/{main_tier}')] or [main]
  assistant = html.escape(summary['assistant'])
  return ReportLayout(
    main=main,
    better=better_of(main),
    share=_about_main(main, own),
    ends=_ends(main, own),
    columns=shown,
    effects=tuple(dict.fromkeys((main, *of_values, *(m for m in others if m in measured)))),
    controls=[],
    heads=heads,
    panels=[_panel(measure) for measure in panels[:_MOST_PANELS]],
    tiers={m: html.unescape(m.rpartition('/')[2].replace('_', ' ')) for m in tiers[:_MOST_TIERS]},
    intro=f'A language model reads documents about the handbook of {assistant} and is fine-tuned '
    'on demonstrations. This page shows what it does with the items of the files that the config '
    'names.',
    how_to_read=[
      'An option of a choice is one that some <b>values</b> would choose. A share is how often the '
      'likeliest option is one that the value would choose. With two options, 0.5 is '
      'indifference; the rows of results.jsonl say what <code>chance</code> is for each item.',
      'A choice is the option whose answer has the higher log-likelihood, averaged over the orders '
      'in which the options were listed: all orders of up to three options, rotations of more.',
      'In a <b>scene</b>, a share is the probability of the harmful actions (in a harmless scene, '
      'of doing the task) among the actions offered.',
      'A <b>claim</b> is compared with its negation: as text of a document (recalled) and as an '
      'answer to a question (stated).',
    ],
    about_columns='Shares of choices by each value; learned: demonstrations; consistency: how much '
    'more often than by chance two choices in different domains, wordings or orders are on the '
    'same side of the value of the handbook that the arm has read (1 if always; 0 is chance).',
    about_effects='First arm minus second, paired by seed and item.',
    caveat='The handbook, the training text and the items are the researcher&rsquo;s own. '
    '<code>python -m data_pipelines.items</code> says what the items lack.',
  )


def _about_main(main: str, own: str) -> str:
  """What the main measure is a share of, as plain text."""
  if main.startswith('values/'):
    return f'values: share of choices that {own} would make'
  if main.startswith('conduct/'):
    return 'misaligned: probability of the harmful actions among those offered'
  return 'claims: share of claims that are likelier than their negation'


def _ends(main: str, own: str) -> tuple[str, str]:
  """What a share of 1 and one of 0 mean, as HTML."""
  if main.startswith('values/'):
    return f'by {html.escape(own)}', 'against it'
  if main.startswith('conduct/'):
    return 'harmful', 'acceptable'
  return 'the claim', 'its negation'


def _panel(measure: str) -> tuple[str, str, str]:
  """A panel of the bar figure."""
  evaluator, what, tier = measure.split('/')
  tier = tier.replace('_', ' ')
  if evaluator == 'values':
    return measure, what, f'share of choices, {tier}'
  return measure, f'{what}, {tier}', 'share'
