"""How numbers, contrasts and points are written, in the terminal and on pages alike."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Summary = Mapping[str, Any]
# A measured number of summary.json: mean, low, high, seeds, items, each. None where nothing was
# measured.
Stat = Mapping[str, Any] | None
# (arm, measure) -> rows of results.jsonl.
RowsByMeasure = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]


def show(stat: Stat, digits: int = 2, sign: str = '', form: str = '{} [{}, {}]') -> str:
  """Writes a mean with its interval.

  Args:
    stat: the number.
    digits: digits after the point.
    sign: '+' writes the sign of positive numbers too.
    form: where mean, low and high stand.

  Returns:
    For instance '0.93 [0.88, 0.97]'; '-' for what was not measured.
  """
  if not stat:
    return '-'
  # 'z' turns '-0.00' into '0.00'.
  spec = f'{sign}z.{digits}f'
  return form.format(*(format(stat[key], spec) for key in ('mean', 'low', 'high')))


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
  parts = [f'{key.rsplit(".", 1)[-1]}={value}' for key, value in point.items()]
  return ' '.join(parts) or 'as it is'
