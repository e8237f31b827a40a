"""The parts of a report about sampled answers, judges and general skills, where there are any.

Sampled answers are measures of the arms. What judges said (`judged`) and what lm-evaluation-harness
measured (`capability`) are entries of the summary, which `docs/schemas.md` describes.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_jax.report.numbers import Stat, Summary, measured_in

# Writes a section: title, text, headings and rows of cells.
Section = Callable[[str, str, Sequence[str], Sequence[Sequence[str]]], str]
# Shows a number of a measure.
Cell = Callable[[Stat], str]

PREFIX = 'sampled/'
_ABOUT_SAMPLED = (
  'Answers in free text. A program finds which option an answer names. parsed: share of the '
  'answers that name one option; the shares of options are taken over these. agreement: how often '
  'a sampled answer lies on the side that is scored higher; corrected: the same corrected for '
  'chance (1 is agreement throughout, 0 is naming an option at random).'
)
_ABOUT_LEVELS = (
  'How well open answers meet their rubric: 0 not at all, 0.5 in part, 1 fully. A judge reads '
  'every answer twice, with the levels in both orders. Answers on which it contradicts itself have '
  'no level; the bounds say what the mean would be if all without a verdict had the lowest or the '
  'highest one.'
)
_ABOUT_PAIRS = (
  'Two arms&rsquo; answers to the same question; the judge reads each pair in both orders. '
  'Contradicted: it prefers another answer when the order changes; such pairs count for nobody. '
  'Different: how many pairs are left if equal ones count once.'
)
_ABOUT_AGREEMENT = (
  'Raw: share of equal verdicts, with its 95% interval. Kappa (Cohen): 1 is agreement throughout, '
  '0 is chance; with a 95% bootstrap interval over questions and seeds. Equal answers to one '
  'question are one thing.'
)
_ABOUT_CAPABILITY = (
  'Tasks of lm-evaluation-harness, asked through the server. A model that only fell silent, or '
  'forgot what it knew, is noticed here.'
)


def sampled_measures(summary: Summary) -> list[str]:
  """Lists the measures of sampled answers.

  Args:
    summary: the contents of summary.json.

  Returns:
    Those that some arm has: shares of options first, then what is about parsing and agreement.
  """
  found = [measure for measure in measured_in(summary, 'arms') if measure.startswith(PREFIX)]
  about = ('parsed', 'agreement', 'corrected')

  def place(measure: str) -> tuple[int, str]:
    what = measure.split('/')[1]
    return (about.index(what) + 1 if what in about else 0, measure)

  return sorted(found, key=place)


def sampled_html(summary: Summary, labels: Mapping[str, str], section: Section, cell: Cell) -> str:
  """Writes the section about sampled answers.

  Args:
    summary: the contents of summary.json.
    labels: arm -> its name as HTML.
    section: writes a section.
    cell: shows a number.

  Returns:
    HTML; '' if nothing was sampled.
  """
  measures = sampled_measures(summary)
  if not measures:
    return ''
  body = []
  for arm, of_arm in summary['arms'].items():
    body.append([labels[arm], *(cell(of_arm.get(measure)) for measure in measures)])
  heads = [html.escape(m.removeprefix(PREFIX)).replace('/', '/<wbr>') for m in measures]
  return section('Sampled answers', _ABOUT_SAMPLED, ['arm', *heads], body)


def judged_html(judged: Mapping[str, Any], section: Section, cell: Cell) -> str:
  """Writes the sections about what judges said.

  Args:
    judged: folder of a judge -> what `evals/judging.py` found.
    section: writes a section.
    cell: shows a number.

  Returns:
    HTML.
  """
  out = []
  for found in judged.values():
    name = html.escape(found['model'])
    if found['levels']:
      heads = ['arm', 'tier', 'level', 'bounds', 'answers', 'contradicted', 'without a verdict']
      title = f'Judged answers: levels by {name}'
      out.append(section(title, _ABOUT_LEVELS, heads, _levels(found['levels'], cell)))
    if found['pairs']:
      heads = ['pair', 'tier', 'first', 'second', 'equal', 'contradicted', 'without a verdict']
      heads.append('different')
      title = f'Judged answers: pairs by {name}'
      out.append(section(title, _ABOUT_PAIRS, heads, _pairs(found['pairs'])))
    rows = agreement_rows(found)
    if rows:
      heads = ['who', 'things', 'raw', 'kappa']
      out.append(section(f'Agreement with {name}', _ABOUT_AGREEMENT, heads, rows))
  return '\n'.join(out)


def _levels(levels: Mapping[str, Any], cell: Cell) -> list[list[str]]:
  body = []
  for arm, tiers in levels.items():
    for tier, found in tiers.items():
      low, high = found['bounds']
      counts = (found['answers'], found['contradicted'], found['unusable'] + found['failed'])
      body.append(
        [
          html.escape(arm),
          html.escape(tier),
          cell(found['level']),
          f'{low:.2f} to {high:.2f}',
          *map(str, counts),
        ]
      )
  return body


def _pairs(pairs: Mapping[str, Any]) -> list[list[str]]:
  body = []
  for pair, tiers in pairs.items():
    for tier, found in tiers.items():
      without = found['unusable'] + found['failed']
      counts = [found[name] for name in ('first', 'second', 'equal', 'contradicted')]
      # Judges of earlier versions did not count them.
      counts += [without, found.get('different', '-')]
      body.append([html.escape(pair), html.escape(tier), *map(str, counts)])
  return body


def agreement_rows(found: Mapping[str, Any]) -> list[list[str]]:
  """The rows of the table of agreements.

  Args:
    found: what `evals/judging.py` found with one judge.

  Returns:
    Cells: who is compared, how many things, raw agreement and kappa, each with its interval.
  """
  rows = []
  for who, numbers in found['agreement'].items():
    if numbers is None:
      continue
    raw = f'{numbers["raw"]:.2f} ({numbers["low"]:.2f} to {numbers["high"]:.2f})'
    kappa = '-'
    if numbers['kappa'] is not None:
      kappa = f'{numbers["kappa"]:.2f}'
      if numbers['kappa_low'] is not None:
        kappa += f' ({numbers["kappa_low"]:.2f} to {numbers["kappa_high"]:.2f})'
    rows.append([who, str(numbers['things']), raw, kappa])
  return rows


def capability_html(
  capability: Mapping[str, Any], labels: Mapping[str, str], section: Section
) -> str:
  """Writes the section about tasks of lm-evaluation-harness.

  Args:
    capability: the entry of the summary.
    labels: arm -> its name as HTML.
    section: writes a section.

  Returns:
    HTML.
  """
  measures: dict[str, None] = {}
  for of_arm in capability.values():
    measures |= dict.fromkeys(of_arm)
  body = []
  for arm, of_arm in capability.items():
    cells = []
    for measure in measures:
      number = of_arm.get(measure)
      cells.append(_with_error(number) if number else '-')
    body.append([labels.get(arm, html.escape(arm)), *cells])
  heads = [html.escape(measure).replace('/', '/<wbr>') for measure in measures]
  return section('General skills', _ABOUT_CAPABILITY, ['arm', *heads], body)


def _with_error(number: Mapping[str, Any]) -> str:
  shown = f'{number["value"]:.3f}'
  error = number.get('standard_error')
  if error is None:
    return shown
  return f'{shown}<small>&plusmn; {error:.3f}</small>'
