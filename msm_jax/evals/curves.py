"""Curves: what the evaluators find on the way of an arm's last phase.

The rows of a point have the keys `phase` and `update`. They are summarised like the rows of an arm,
with the same statistics, so the end of a curve is the number of the arm itself.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals.rows import Row
from msm_jax.evals.summary import SeenArms, SummarySuite, number_of

# Measure -> number, as summary.json holds it.
Numbers = dict[str, Any]


def summarize_curves(
  along: Sequence[Row],
  summary: Mapping[str, Any],
  config: ExperimentConfig,
  suite: SummarySuite,
  is_shown: Callable[[str], bool],
) -> dict[str, Any]:
  """Makes the part `curves` of summary.json; `docs/schemas.md` describes it.

  Args:
    along: the rows of all points, of all arms and seeds.
    summary: the summary of the arms, whose numbers are the ends of the curves.
    config: the experiment's settings.
    suite: the suite that made the rows.
    is_shown: whether a measure is wanted; a summary with all of them would be large.

  Returns:
    `arms`: arm -> `phase` and `at`: update (as text) -> measure -> number. `effects`: the same for
    effects whose arms all have points, at the updates that all of them have. Effects of which one
    arm goes on from another have no curve, see `is_aligned`.
  """
  by_update: dict[int, list[Row]] = {}
  for row in along:
    by_update.setdefault(row['update'], []).append(row)
  seen = {update: SeenArms(by_update[update]) for update in sorted(by_update)}
  arms = {}
  for arm, path in config.arms.items():
    phase = path_of(path)[-1]
    at = _arm_at(arm, seen, len(config.seeds), is_shown)
    if at:
      end = config.phases[phase].updates
      at[str(end)] = _of_same_measures(summary['arms'][arm], at)
      arms[arm] = {'phase': phase, 'at': at}
  effects = {}
  for name, named in config.effects.items():
    if not is_aligned(named, config.arms):
      continue
    at = _effect_at(named, seen, len(config.seeds), suite, is_shown)
    if at:
      phases = [path_of(config.arms[arm])[-1] for arm in named]
      ends = {config.phases[phase].updates for phase in phases}
      # Phases of different lengths have no common end.
      if len(ends) == 1:
        at[str(ends.pop())] = _of_same_measures(summary['effects'][name], at)
      effects[name] = {'arms': list(named), 'phase': phases[0], 'at': at}
  return {'arms': arms, 'effects': effects}


def is_aligned(named: Sequence[str], arms: Mapping[str, str]) -> bool:
  """Whether the same update means the same for all arms of an effect.

  It does not if one arm goes on from another: 16 updates after fine-tuning are to be compared with
  the end of fine-tuning, and not with fine-tuning after 16 updates.

  Args:
    named: the arms of the effect.
    arms: arm -> its path.

  Returns:
    False if the path of some arm begins with all of another one's.
  """
  paths = [path_of(arms[arm]) for arm in named]
  for path, other in itertools.permutations(paths, 2):
    if len(other) > len(path) and other[: len(path)] == path:
      return False
  return True


def _arm_at(
  arm: str, seen: Mapping[int, SeenArms], seeds: int, is_shown: Callable[[str], bool]
) -> dict[str, Numbers]:
  """Update -> the numbers of one arm, where it has a point."""
  out = {}
  for update, arms in seen.items():
    if arm not in arms.each:
      continue
    numbers = {}
    for measure, observed in sorted(arms.each[arm].items()):
      if is_shown(measure):
        numbers[measure] = number_of(measure, observed, seeds)
    out[str(update)] = numbers
  return out


def _effect_at(
  named: Sequence[str],
  seen: Mapping[int, SeenArms],
  seeds: int,
  suite: SummarySuite,
  is_shown: Callable[[str], bool],
) -> dict[str, Numbers]:
  """Update -> the differences of an effect, where all of its arms have a point."""
  out = {}
  for update, arms in seen.items():
    if not all(arm in arms.each for arm in named):
      continue
    differences = suite.effects(arms.compared(named))
    numbers = {}
    for measure, interval in differences.items():
      if is_shown(measure):
        numbers[measure] = interval.as_dict(seeds)
    out[str(update)] = numbers
  return out


def _of_same_measures(numbers: Mapping[str, Any], at: Mapping[str, Numbers]) -> Numbers:
  """Those numbers whose measures the points have too."""
  known: set[str] = set()
  for point in at.values():
    known.update(point)
  return {measure: number for measure, number in numbers.items() if measure in known}
