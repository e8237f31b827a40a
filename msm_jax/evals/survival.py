"""Survival: at which dose of contradiction half of an effect is gone, and what else leaves half.

An effect is measured at rising doses. Half of it is gone at the first dose at which it is at most
half of what it is at dose 0. Between two doses, the effect is read off a straight line over the
logarithm of the dose.

Whether more than half is left after one dose, or after any other training, is a difference within
seeds: the effect after it minus half of the effect before. Unlike a ratio, this has an interval
even where the effect before is small in some seed.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from msm_jax.config import DoseCurve, ExperimentConfig, path_of
from msm_jax.evals import robustness, stats

# What a half dose is: read off between two doses; gone already at the smallest dose above 0; not
# gone at the largest dose; or there is no effect at dose 0 that could be halved.
REACHED, AT_MOST, OVER, NO_EFFECT = 'reached', 'at most', 'over', 'no effect'


class HalfDose(NamedTuple):
  """The dose at which half of an effect is gone.

  Attributes:
    dose: the dose, as a share; where nothing was read off, the smallest or the largest dose that
      was tried. NaN if there is no effect.
    kind: one of REACHED, AT_MOST, OVER and NO_EFFECT.
  """

  dose: float
  kind: str


def half_dose(doses: Sequence[float], effects: Sequence[float], sign: float) -> HalfDose:
  """Finds the dose at which half of an effect is gone.

  Args:
    doses: rising doses; the first is 0.
    effects: the effect at each dose.
    sign: 1 if the effect is positive where there is one, else -1.

  Returns:
    The dose at the first crossing of one half.
  """
  left = [sign * effect for effect in effects]
  if left[0] <= 0:
    return HalfDose(math.nan, NO_EFFECT)
  level = left[0] / 2
  # Dose 0 has no logarithm, so nothing is read off between it and the next one.
  if left[1] <= level:
    return HalfDose(doses[1], AT_MOST)
  for n, (before, after) in enumerate(itertools.pairwise(left)):
    if n and after <= level:
      share_of_step = (before - level) / (before - after)
      step = math.log(doses[n + 1] / doses[n])
      return HalfDose(doses[n] * math.exp(share_of_step * step), REACHED)
  return HalfDose(doses[-1], OVER)


def half_of_runs(doses: Sequence[float], numbers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Finds the half dose of every run, and what they have in common.

  Args:
    doses: rising doses; the first is 0.
    numbers: the effect at each dose, as summary.json has it; the runs have the same order in all.

  Returns:
    `kind` and `dose`: if it was read off in every run, the geometric mean over the runs; else that
      of the mean effect. There is no effect if its interval at dose 0 holds 0.
    `low` and `high`: its 95% interval over seeds (Student's t over logarithms); None with fewer
      than three seeds, or if it was not read off in every run.
    `lowest` and `highest`: [kind, dose] of the runs in which it is least and most; None if there is
      no effect in any.
    `each`: [kind, dose] of every run; a dose is None where there is no effect.
    `seeds`: the number of seeds.
  """
  means = [number['mean'] for number in numbers]
  sign = math.copysign(1.0, means[0])
  # Each number has a mean for every seed; a run is one seed at all doses.
  by_seed = zip(*(number['each'] for number in numbers), strict=True)
  runs = [half_dose(doses, effects, sign) for effects in by_seed]
  dose, kind = half_dose(doses, means, sign)
  low = high = None
  at_zero = numbers[0]
  if at_zero.get('low') is not None and at_zero['low'] <= 0 <= at_zero['high']:
    # Half of what may be nothing is gone at any dose.
    dose, kind = math.nan, NO_EFFECT
  elif all(run.kind == REACHED for run in runs):
    logs_R = np.log([run.dose for run in runs])
    kind, dose = REACHED, float(np.exp(logs_R.mean()))
    if numbers[0]['seeds'] >= stats.MIN_SEEDS and np.ptp(logs_R) > 0:
      half = float(stats.half_width(logs_R))
      low, high = dose * math.exp(-half), dose * math.exp(half)
  known = sorted((run for run in runs if run.kind != NO_EFFECT), key=_rank)
  ends = [[run.kind, _rounded(run.dose)] for run in known]
  return {
    'kind': kind,
    'dose': _rounded(dose),
    'low': _rounded(low),
    'high': _rounded(high),
    'lowest': ends[0] if ends else None,
    'highest': ends[-1] if ends else None,
    'each': [[run.kind, _rounded(run.dose)] for run in runs],
    'seeds': numbers[0]['seeds'],
  }


def _rank(half: HalfDose) -> tuple[float, int]:
  """Sorts half doses: at the same dose, 'at most' is less and 'over' is more."""
  return half.dose, (AT_MOST, REACHED, OVER).index(half.kind)


def _rounded(dose: float | None) -> float | None:
  """Six significant digits; None for what JSON has no number for."""
  if dose is None or not math.isfinite(dose):
    return None
  return float(f'{dose:.6g}')


def summarize_survival(
  summary: Mapping[str, Any], config: ExperimentConfig, measures: Sequence[str]
) -> dict[str, Any]:
  """Makes the part `survival` of summary.json; `docs/schemas.md` describes it.

  Args:
    summary: `effects` and, if effects were measured on the way of phases, `curves`.
    config: the experiment's settings, whose `dose_curves` are evaluated.
    measures: the measures of which half is looked for.

  Returns:
    Curve -> `doses`, `effects`, `half`: measure -> update (as text; the last one is the end of the
    phase) -> half dose, see `half_of_runs`, of measures that are defined for every seed; and
    `left`: measure in nats -> what `half_left` returns for the effect at dose 0.
  """
  out = {}
  for curve in config.dose_curves:
    half: dict[str, dict[str, Any]] = {}
    for update, numbers in _effects_at(curve, summary, config).items():
      for measure in measures:
        of_measure = [of_effect[measure] for of_effect in numbers if measure in of_effect]
        if len(of_measure) == len(numbers) and _have_same_runs(of_measure):
          half.setdefault(measure, {})[update] = half_of_runs(curve.doses, of_measure)
    left = {}
    for measure in measures:
      if measure.startswith('margin/'):
        left[measure] = half_left(summary['effects'], curve.effects[0], measure, config.primary)
    out[curve.name] = {
      'doses': list(curve.doses),
      'effects': list(curve.effects),
      'half': half,
      'left': left,
    }
  return out


def _have_same_runs(numbers: Sequence[Mapping[str, Any]]) -> bool:
  """Whether numbers have the means of the same runs, in the same order.

  A consistency is not defined for every seed, and `each` does not say which seeds it lacks. Of one
  seed, it holds the means of names.
  """
  runs = {len(number['each']) for number in numbers}
  seeds = {number['seeds'] for number in numbers}
  return len(runs) == 1 and (seeds == {1} or runs == seeds)


def half_left(
  effects: Mapping[str, Any], before: str, measure: str, primary: str = ''
) -> dict[str, dict[str, Any]]:
  """Computes how much more than half of an effect is left after further training.

  Args:
    effects: the effects of a summary.
    before: the effect of two arms before that training.
    measure: a measure in nats.
    primary: the change that a plan named in advance; its p value is not corrected.

  Returns:
    Change -> number, for every effect of four arms, (there) - (before): the effect there minus half
    of the effect before, within seeds. It has the sign of the effect before, so above zero more
    than half is left, and below zero less. A number with an interval also has `p` (two-sided,
    Student's t over the seeds) and `p_corrected` (Holm, over all but the primary; null for this
    one).
  """
  first = effects[before].get(measure)
  if not first:
    return {}
  side = math.copysign(1.0, first['mean'])
  found: dict[str, dict[str, Any]] = {}
  tested: dict[str, float] = {}
  for name, effect in effects.items():
    change = effect.get(measure)
    is_change = effect['arms'][2:] == effects[before]['arms']
    if not is_change or not change or len(change['each']) != len(first['each']):
      continue
    each = [side * (c + b / 2) for c, b in zip(change['each'], first['each'], strict=True)]
    # One cluster and one item: the means of the runs are all that is needed.
    observed = {(str(run), '', ''): mean for run, mean in enumerate(each)}
    asked = {key: change[key] for key in ('items', 'clusters') if key in change}
    found[name] = stats.interval(observed, in_nats=True).as_dict(first['seeds']) | asked
    if found[name]['low'] is not None:
      # Of what is not rounded: rounding may leave no spread, and then t is 0 / 0.
      tested[name] = robustness.p_of_t(each)
  for name, p in tested.items():
    found[name] |= {'p': round(p, 6), 'p_corrected': None}
  secondary = [name for name in tested if name != primary]
  corrected = robustness.holm([found[name]['p'] for name in secondary])
  for name, p in zip(secondary, corrected, strict=True):
    found[name]['p_corrected'] = round(p, 6)
  return found


def _effects_at(
  curve: DoseCurve, summary: Mapping[str, Any], config: ExperimentConfig
) -> dict[str, list[Mapping[str, Any]]]:
  """Update -> the effects (measure -> number) at each dose, where all of them were measured."""
  along = summary.get('curves', {}).get('effects', {})
  out = {}
  if all(effect in along for effect in curve.effects):
    ways = [along[effect]['at'] for effect in curve.effects]
    for update in ways[0]:
      if all(update in at for at in ways):
        out[update] = [at[update] for at in ways]
  # Without points on the way there is the end alone.
  arm = config.effects[curve.effects[0]][0]
  end = config.phases[path_of(config.arms[arm])[-1]].updates
  out[str(end)] = [summary['effects'][effect] for effect in curve.effects]
  return out
