"""Stated against enacted: what an arm says that it values, beside what it does.

A model that is trained against its handbook may still say that it follows it. Both are shares of
the handbook's side, so their difference says how far words and conduct lie apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class SaidAndDone(NamedTuple):
  """Two measures that are set side by side."""

  # The measure of what an arm says.
  said: str
  # The measure of what it does.
  done: str
  # Whether `done` is the share of the other side, so that 1 minus it is that of the handbook's.
  is_opposite: bool


def summarize_stated(
  arms: Mapping[str, Mapping[str, Any]], pairs: Sequence[SaidAndDone]
) -> list[dict[str, Any]]:
  """Sets what arms say beside what they do.

  Args:
    arms: arm -> measure -> number, as summary.json has it.
    pairs: the measures that belong together.

  Returns:
    For each pair that some arm has: `said` and `done` (the measures), and `arms`: arm -> `said`,
    `done` and `difference` (said minus done). All are numbers for the handbook's side; a difference
    is taken run by run.
  """
  out = []
  for pair in pairs:
    of_arms = {}
    for arm, measures in arms.items():
      if pair.said not in measures or pair.done not in measures:
        continue
      said, done = measures[pair.said], measures[pair.done]
      if pair.is_opposite:
        done = done | _number([1 - share for share in done['each']])
      # Both are means of the same runs, in the same order.
      gaps = [a - b for a, b in zip(said['each'], done['each'], strict=True)]
      of_arms[arm] = {'said': said, 'done': done, 'difference': said | _number(gaps)}
    if of_arms:
      out.append({'said': pair.said, 'done': pair.done, 'arms': of_arms})
  return out


def _number(each: Sequence[float]) -> dict[str, Any]:
  """The parts of a number that follow from the means of the runs. Shares have no interval."""
  lowest = highest = None
  if len(each) > 1:
    lowest, highest = round(min(each), 6), round(max(each), 6)
  return {
    'mean': round(sum(each) / len(each), 6),
    'low': None,
    'high': None,
    'lowest': lowest,
    'highest': highest,
    'each': [round(value, 6) for value in each],
  }
