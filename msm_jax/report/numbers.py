"""How numbers, contrasts and points are written, in the terminal and on pages alike."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Summary = Mapping[str, Any]
# With fewer domains than this, a measure says nothing about other domains.
FEW_DOMAINS = 5
# Digits after the point that summaries have.
MOST_DIGITS = 6
# Evaluators without margins whose measures are called as those of others that have some: without
# its evaluator, 'four/conflict/new_domains' would have the margin of choices between two options.
_WITHOUT_MARGINS = ('sampled/', 'four/')
# A measured number of summary.json: mean, low, high, lowest, highest, runs, items, clusters, each,
# seeds. None where nothing was measured.
Stat = Mapping[str, Any] | None
# (arm, measure) -> rows of results.jsonl.
RowsByMeasure = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]


def spread(stat: Mapping[str, Any], digits: int = 2, sign: str = '') -> str:
  """Writes how far a number can be trusted.

  Args:
    stat: the number.
    digits: digits after the point.
    sign: '+' writes the sign of positive numbers too.

  Returns:
    A 95% interval in brackets, '[0.88, 0.97]'; where there is none, the range over the runs in
    braces, '{0.83..0.99}'; of a single run ''. An end that is close to 0 has more digits, since
    '+0.0' does not say whether the interval excludes 0.
  """
  # 'z' turns '-0.00' into '0.00'.
  spec = f'{sign}z.{digits}f'
  if stat.get('low') is not None:
    low, high = (_end(stat[key], digits, sign) for key in ('low', 'high'))
    return f'[{low}, {high}]'
  if stat.get('lowest') is not None:
    return f'{{{stat["lowest"]:{spec}}..{stat["highest"]:{spec}}}}'
  return ''


def _end(value: float, digits: int, sign: str) -> str:
  """An end of an interval, with as many more digits as it needs not to be written as 0."""
  while value and not round(value, digits) and digits < MOST_DIGITS:
    digits += 1
  return f'{value:{sign}z.{digits}f}'


def show(stat: Stat, digits: int = 2, sign: str = '') -> str:
  """Writes a mean with its interval or its range.

  Args:
    stat: the number.
    digits: digits after the point.
    sign: '+' writes the sign of positive numbers too.

  Returns:
    For instance '+5.2 [+3.1, +7.3]' or '0.93 {0.83..0.99}'; '-' for what was not measured.
  """
  if not stat:
    return '-'
  return f'{stat["mean"]:{sign}z.{digits}f} {spread(stat, digits, sign)}'.rstrip()


def margin_of(measure: str) -> str:
  """The measure of the margins (nats) behind a measure of shares.

  'preferences/conflict/policy' -> 'margin/conflict/policy'; 'dissociation/policy' ->
  'margin/dissociation/policy'. For a measure without margins, it is a name that no summary has.
  """
  if measure.startswith(('dissociation/', *_WITHOUT_MARGINS)):
    return f'margin/{measure}'
  return f'margin/{measure.partition("/")[2]}'


def digits_of(measure: str) -> int:
  """How many digits after the point a measure is written with."""
  if measure.startswith('margin/'):
    return 1
  return 3 if measure.startswith('perplexity/') else 2


def show_measure(stat: Stat, measure: str, is_effect: bool = False) -> str:
  """Writes a number as its measure is written: margins and effects have a sign."""
  shown = show(stat, digits_of(measure), sign_of(measure, is_effect))
  return f'{shown} {of_fewer_seeds(stat)}'.rstrip()


def of_fewer_seeds(stat: Stat) -> str:
  """'(3 of 8 seeds)' if a number is not defined for all seeds of the experiment, else ''."""
  if not stat or not 1 < stat.get('seeds', 0) > stat['runs']:
    return ''
  return f'({stat["runs"]} of {stat["seeds"]} seeds)'


def sign_of(measure: str, is_effect: bool = False) -> str:
  """'+' if positive numbers of a measure have a sign: margins, and all effects."""
  return '+' if is_effect or measure.startswith('margin/') else ''


def measured_in(summary: Summary, part: str) -> set[str]:
  """The measures that some arm has (part 'arms'), or some effect (part 'effects')."""
  measured: set[str] = set()
  for numbers in summary[part].values():
    measured.update(numbers)
  # Beside its measures, an effect has the key `arms`.
  measured.discard('arms')
  return measured


def names_of(summary: Summary) -> int:
  """How many names of the assistant were asked, of one seed; 1 if nobody was asked by name."""
  runs = [1]
  for measures in summary['arms'].values():
    runs += [stat.get('runs', 1) for stat in measures.values()]
  return max(runs)


def range_over(summary: Summary) -> str:
  """What braces and bars of the range go over: '3 seeds', or of one seed '4 names'."""
  seeds = len(summary['seeds'])
  if seeds > 1:
    return f'{seeds} seeds'
  names = names_of(summary)
  return f'{names} names' if names > 1 else 'one seed'


def about_spread(summary: Summary) -> str:
  """Says what braces and brackets hold, and what they do not hold.

  Args:
    summary: the contents of summary.json.

  Returns:
    One line of plain text.
  """
  seeds = len(summary['seeds'])
  over = range_over(summary)
  if seeds == 1 and names_of(summary) == 1:
    return 'one seed: another seed may differ; no interval'
  if seeds == 1:
    return f'one seed: braces hold the range over {over}; another seed may differ more; no interval'
  if seeds == 2:
    return 'two seeds: braces hold both; no interval below three seeds'
  text = (
    f'braces: range over {over}; brackets: 95% interval over {over} (Student t), for these '
    f'questions'
  )
  firm = summary.get('robustness', {}).get('effects', {})
  if any(effect['over_worlds'] for effect in firm.values()):
    text += ', as if seeds of one world were independent; see the intervals over worlds'
  return text


def about_primary(summary: Summary, main: str) -> str:
  """Says what is primary, and how many intervals stand beside it, as plain text.

  Args:
    summary: the contents of summary.json.
    main: the measure that stands for the experiment.

  Returns:
    One line.
  """
  numbers, intervals = 0, 0
  for effect in summary['effects'].values():
    for name, stat in effect.items():
      if name != 'arms':
        numbers += 1
        intervals += stat.get('low') is not None
  text = f'primary: {primary_name(summary, main)}'
  if summary.get('primary'):
    text += f' of {summary["primary"]!r}; other effects and measures are secondary'
  if not numbers:
    return text
  if not intervals:
    return f'{text}; the summary has {numbers} differences of effects, none with an interval'
  by_chance = f'{0.05 * intervals:.0f}' if intervals >= 20 else f'{0.05 * intervals:.1f}'
  return (
    f'{text}; the summary has {intervals} intervals of effects: without any effect about '
    f'{by_chance} would exclude 0'
  )


def primary_name(summary: Summary, main: str) -> str:
  """How the main measure is called: with its evaluator if the experiment has named it, since the
  measures of two evaluators may be called alike but for this."""
  if summary.get('primary_measure') == main:
    return main
  return main.partition('/')[2]


def few_domains(summary: Summary, measures: Sequence[str]) -> str:
  """Names the measures that were asked in fewer than `FEW_DOMAINS` domains.

  With so few, nothing can be said about other domains (or other economic plans).

  Args:
    summary: the contents of summary.json.
    measures: the measures that are shown.

  Returns:
    One line of plain text; '' if there are none.
  """
  found = {}
  for of_arm in summary['arms'].values():
    for measure in measures:
      stat = of_arm.get(measure)
      if stat and 1 <= stat.get('clusters', 0) < FEW_DOMAINS and stat['items'] > 1:
        found[measure.partition('/')[2]] = f'{stat["items"]} items, {stat["clusters"]} domain(s)'
  if not found:
    return ''
  listed = '; '.join(f'{measure} ({amount})' for measure, amount in found.items())
  return f'few domains, so about these items alone: {listed}'


def contrast(arms: Sequence[str], minus: str) -> str:
  """Writes the arms of an effect: 'a minus b', or '(a minus b) minus (c minus d)'."""
  pairs = [f' {minus} '.join(arms[n : n + 2]) for n in range(0, len(arms), 2)]
  if len(pairs) == 1:
    return pairs[0]
  return f' {minus} '.join(f'({pair})' for pair in pairs)


def bound(gate: Mapping[str, Any], at_least: str, at_most: str) -> str:
  """Writes the bound of a gate with the signs that are given for floors and ceilings."""
  if 'floor' in gate:
    return f'{at_least} {gate["floor"]:g}'
  return f'{at_most} {gate["ceiling"]:g}'


def gate_value(gate: Mapping[str, Any]) -> str:
  """Writes the value of a gate.

  Args:
    gate: the gate.

  Returns:
    Three digits after the point, or as many as show whether the bound is kept: '0.900' would not
    say why a floor of 0.9 is missed.
  """
  value = gate['value']
  for digits in range(3, 12):
    shown = round(value, digits)
    keeps = shown >= gate['floor'] if 'floor' in gate else shown <= gate['ceiling']
    if keeps == gate['passed']:
      return f'{value:.{digits}f}'
  # Older summaries hold four digits, which may not tell.
  return f'{value:.3f}'


def verdict(gate: Mapping[str, Any], passed: str, missed: str = 'MISS') -> str:
  """The word for a gate that was passed, or the word for one that was missed."""
  return passed if gate['passed'] else missed


def means_by(rows: Sequence[Mapping[str, Any]], key: str) -> dict[Any, float]:
  """Mean scores by seed or by cluster.

  As in the intervals, every cluster weighs the same, however many items it has.

  Args:
    rows: rows of one arm and one measure.
    key: 'seed' or 'cluster'.

  Returns:
    seed or cluster -> mean score.
  """
  cells: dict[tuple[int, str], list[float]] = defaultdict(list)
  for row in rows:
    cells[row['seed'], row['cluster']].append(row['score'])
  part = ('seed', 'cluster').index(key)
  means: dict[Any, list[float]] = defaultdict(list)
  for cell, scores in sorted(cells.items()):
    means[cell[part]].append(fmean(scores))
  return {name: fmean(values) for name, values in means.items()}


def point_label(point: Mapping[str, Any]) -> str:
  """The name of a sweep's point.

  Args:
    point: its overrides, and perhaps a label.

  Returns:
    The label; without one 'updates=200 size=1500': the last parts of the keys tell the points of a
    page apart.
  """
  if point.get('label'):
    return point['label']
  overrides = {key: value for key, value in point.items() if key != 'label'}
  parts = [f'{key.rsplit(".", 1)[-1]}={value}' for key, value in overrides.items()]
  return ' '.join(parts) or 'as it is'
