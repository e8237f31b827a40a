"""Judges pairs of arms that differ in nothing that matters.

In a placebo study every effect compares two arms of one kind: another draw of the same corpus,
another order of the rows. There is nothing to find, so an interval that excludes zero is a false
finding. Of 95% intervals that keep their promise, one in twenty does so.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msm_jax.evals import stats
from msm_jax.evals.rows import Row
from msm_jax.evals.summary import observations

# At most this share of the intervals may exclude zero.
BAR = 0.07


def judge(summary: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
  """Counts the intervals that exclude zero, as a user sees them in the summary.

  Args:
    summary: the contents of summary.json; every effect is a pair of arms.
    rows: the rows of all arms and seeds.

  Returns:
    `bar`; `measures`: measure -> `pairs` (with an interval), `exclude_zero`, `share` (None without
    an interval), `rms` (root mean square of the differences), and what users of one seed would
    have seen: `one_seed_pairs`, `one_seed_exclude_zero` (the range over the names of the assistant
    does not contain zero); `kinds`: what stands before the colon in the names of effects -> the
    same for the pairs of that kind.
  """
  effects = summary['effects']
  measures = _measures_of(effects)
  seen = _one_seed_differences(effects, measures, rows)
  out: dict[str, Any] = {'bar': BAR, 'measures': {}, 'kinds': {}}
  kinds: dict[str, list[str]] = {}
  for name in effects:
    kinds.setdefault(name.partition(':')[0], []).append(name)
  for measure in measures:
    out['measures'][measure] = _count(effects, list(effects), measure, seen)
  for kind, names in kinds.items():
    out['kinds'][kind] = {measure: _count(effects, names, measure, seen) for measure in measures}
  return out


def is_about(judged: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
  """Whether a verdict is about these results: workdirs are run again, and verdicts stay.

  Args:
    judged: what `judge` returned at some time.
    summary: the contents of summary.json.

  Returns:
    Whether its counts are those of the effects; what rows say beside them is not looked at.
  """
  effects = summary['effects']
  measures = judged.get('measures', {})
  # Of no effects, nothing can be judged.
  if not effects or list(measures) != _measures_of(effects):
    return False
  for measure, counted in measures.items():
    found = _count(effects, list(effects), measure, {})
    if any(counted.get(key) != found[key] for key in ('pairs', 'exclude_zero', 'share', 'rms')):
      return False
  return True


def _measures_of(effects: Mapping[str, Any]) -> list[str]:
  """The measures that every effect has, margins first."""
  common = set.intersection(*(set(effect) for effect in effects.values())) - {'arms'}
  return sorted(common, key=lambda measure: (not measure.startswith('margin/'), measure))


# (effect, measure) -> of every seed, the smallest and the largest difference of a name.
_Ranges = Mapping[tuple[str, str], list[tuple[float, float]]]


def _one_seed_differences(
  effects: Mapping[str, Any], measures: Sequence[str], rows: Sequence[Row]
) -> _Ranges:
  """What each seed by itself shows of every effect."""
  by_seed: dict[int, list[Row]] = {}
  for row in rows:
    by_seed.setdefault(row['seed'], []).append(row)
  out: dict[tuple[str, str], list[tuple[float, float]]] = {}
  for _, members in sorted(by_seed.items()):
    # Of the rows of one seed, the runs are the names of the assistant.
    arms = observations(members)
    for name, effect in effects.items():
      first, second = (arms[arm] for arm in effect['arms'])
      for measure in measures:
        if measure not in first or measure not in second:
          continue
        # A consistency is not defined for every name.
        of_arms = stats.in_shared_runs([first[measure], second[measure]])
        if not set.intersection(*map(set, of_arms)):
          continue
        # A sampled answer may name no option, so that a name may lack a domain.
        differences = stats.in_all_runs(stats.paired_difference(of_arms))
        if not differences:
          continue
        found = stats.interval(differences)
        if found.lowest is not None and found.highest is not None:
          out.setdefault((name, measure), []).append((found.lowest, found.highest))
  return out


def meets_bar(judged: Mapping[str, Any], measure: str) -> bool:
  """Whether no more intervals exclude zero than the bar allows.

  Args:
    judged: what `judge` returned.
    measure: the margin that the bar is about.

  Returns:
    Whether it is met; True without an interval.
  """
  found = judged['measures'][measure]
  # The share itself is rounded: 18 of 257 would pass as 7%.
  return found['exclude_zero'] <= judged['bar'] * found['pairs']


def _count(
  effects: Mapping[str, Any], names: Sequence[str], measure: str, seen: _Ranges
) -> dict[str, Any]:
  """Counts the pairs of one measure."""
  numbers = [effects[name][measure] for name in names]
  with_interval = [number for number in numbers if number['low'] is not None]
  excluded = [number for number in with_interval if _excludes(number['low'], number['high'])]
  ranges = []
  for name in names:
    ranges += seen.get((name, measure), [])
  share = None
  if with_interval:
    share = round(len(excluded) / len(with_interval), 4)
  squares = [number['mean'] ** 2 for number in numbers]
  return {
    'pairs': len(with_interval),
    'exclude_zero': len(excluded),
    'share': share,
    'rms': round(math.sqrt(sum(squares) / len(squares)), 6),
    'one_seed_pairs': len(ranges),
    'one_seed_exclude_zero': sum(_excludes(*ends) for ends in ranges),
  }


def _excludes(low: float, high: float) -> bool:
  """Whether zero lies outside."""
  return low > 0 or high < 0


def table(judged: Mapping[str, Any], measures: Sequence[str]) -> str:
  """Writes the verdict for a terminal.

  Args:
    judged: what `judge` returned.
    measures: the measures to show.

  Returns:
    Lines of text: one per measure, then one per kind of pair for the first measure.
  """
  lines = [f'placebo pairs: intervals that exclude zero (bar: at most {judged["bar"]:.0%})', '']
  for measure in measures:
    lines.append(f'{measure}: {_sentence(judged["measures"][measure])}')
  lines += ['', f'{measures[0]}, by kind of pair:']
  for kind, found in judged['kinds'].items():
    lines.append(f'  {kind}: {_sentence(found[measures[0]])}')
  return '\n'.join(lines)


def verdict(judged: Mapping[str, Any], measure: str) -> str:
  """Says in words whether a placebo study met its bar.

  Args:
    judged: what `judge` returned.
    measure: the margin that the bar is about.

  Returns:
    A few sentences.
  """
  found = judged['measures'][measure]
  if found['share'] is None:
    return 'The study has no intervals: fewer than three seeds have none.'
  counted = (
    f'Of {found["pairs"]} intervals of pairs that differ in nothing that matters, '
    f'{found["exclude_zero"]} ({found["share"]:.1%}) exclude zero; at most {judged["bar"]:.0%} may.'
  )
  if meets_bar(judged, measure):
    return f'{counted} The bar is met. Pairs share arms, so the share is itself uncertain.'
  return (
    f'{counted} **The bar is missed**: of experiments of this size, intervals that barely exclude '
    'zero establish nothing. Pairs share arms, so the share is itself uncertain.'
  )


def _sentence(found: Mapping[str, Any]) -> str:
  if found['share'] is None:
    counted = 'no intervals (shares and fewer than three seeds have none)'
  else:
    counted = f'{found["exclude_zero"]} of {found["pairs"]} ({found["share"]:.1%})'
  return (
    f'{counted}; root mean square {found["rms"]:.2f}; with one seed, the range over names excludes '
    f'zero in {found["one_seed_exclude_zero"]} of {found["one_seed_pairs"]}'
  )
