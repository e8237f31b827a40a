"""How firm the intervals of effects are: many contrasts at once, and seeds that share worlds.

An experiment has one primary effect and several secondary ones. The interval of each is a 95%
interval by itself. With nine secondary contrasts, one interval that just misses zero is no
surprise, so their p values are corrected for their number (Holm 1979, "A simple sequentially
rejective multiple test procedure").

Where several seeds have the same world, their results may be alike. Student's t over the seeds then
holds the truth too rarely: with eight seeds in four worlds, in 92%, 89% and 83% of simulated
experiments if worlds make up a quarter, a half and four fifths of the variance
(tests/test_robustness.py). The interval over the means of worlds keeps its promise there. It is
wide, since there are few worlds.

None of this replaces the analysis that was planned. It stands beside it.

Shapes: R seeds, W worlds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from msm_jax.evals import stats

# effect -> `arms`, and measure -> number, as summary.json holds them.
Effects = Mapping[str, Mapping[str, Any]]


def of_effects(
  effects: Effects, measure: str, primary: str, worlds: Sequence[int]
) -> dict[str, Any]:
  """Says how firm the effects of an experiment are.

  Args:
    effects: the effects of a summary.
    measure: the primary measure, in nats.
    primary: the name of the primary effect; '' if the experiment names none.
    worlds: the world of every seed; empty if all seeds share one.

  Returns:
    `measure`, `primary` and `effects`: effect -> `above` and `below` (how many seeds lie on each
    side of 0), `p` (two-sided, of Student's t over the seeds), `p_corrected` (by Holm over all
    effects but the primary one; null for the primary one) and `over_worlds`: mean, low, high and
    number of worlds, null unless seeds share three worlds or more. Effects without an interval are
    left out, and so are those whose seeds are all equal but for rounding. Empty if none is left.
  """
  found: dict[str, dict[str, Any]] = {}
  for name, effect in effects.items():
    number = effect.get(measure)
    if not number or number['low'] is None:
      continue
    each = number['each']
    if len(set(each)) == 1:
      # Summaries are rounded. Without a spread, t is 0 / 0, which JSON cannot hold.
      continue
    of_worlds = worlds if len(worlds) == len(each) else ()
    found[name] = {
      'above': sum(mean > 0 for mean in each),
      'below': sum(mean < 0 for mean in each),
      'p': round(p_of_t(each), 6),
      'p_corrected': None,
      'over_worlds': over_worlds(each, of_worlds),
    }
  if not found:
    return {}
  secondary = [name for name in found if name != primary]
  corrected = holm([found[name]['p'] for name in secondary])
  for name, p in zip(secondary, corrected, strict=True):
    found[name]['p_corrected'] = round(p, 6)
  return {'measure': measure, 'primary': primary, 'effects': found}


def p_of_t(each: Sequence[float]) -> float:
  """The two-sided p value of Student's t over the means of seeds, for a true mean of 0.

  Args:
    each: the mean of every seed, not all equal; at least two.

  Returns:
    The p value. It is below 0.05 if and only if the interval of `stats.interval` excludes zero.
  """
  means_R = np.asarray(each, float)
  R = len(means_R)
  error = means_R.std(ddof=1) / np.sqrt(R)
  return float(2 * scipy.special.stdtr(R - 1, -abs(means_R.mean()) / error))


def holm(ps: Sequence[float]) -> list[float]:
  """Corrects p values for their number, so that all of them together err in 5% of experiments.

  Args:
    ps: the p values.

  Returns:
    The corrected ones, in the same order. The smallest is multiplied by their number, the next one
    by one less, and so on; none is smaller than one before it, or larger than 1.
  """
  out = [1.0] * len(ps)
  largest = 0.0
  for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
    largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
    out[place] = largest
  return out


def over_worlds(each: Sequence[float], worlds: Sequence[int]) -> dict[str, Any] | None:
  """The mean over worlds, with Student's t over the means of worlds.

  Args:
    each: the mean of every seed.
    worlds: the world of every seed; empty if all seeds share one.

  Returns:
    `mean`, `low`, `high` (95%) and `worlds`, their number. None where the seeds themselves are the
    worlds, or where there are fewer than three worlds or all have the same mean.
  """
  members: dict[int, list[float]] = {}
  for world, mean in zip(worlds, each, strict=False):
    members.setdefault(world, []).append(mean)
  if len(members) == len(each):
    return None
  # Each world is one cluster with one item, whose value is the mean of the world's seeds.
  observed = {(str(world), '', ''): float(np.mean(means)) for world, means in members.items()}
  if not observed:
    return None
  found = stats.interval(observed, in_nats=True)
  if found.low is None or found.high is None:
    return None
  return {
    'mean': round(found.mean, 6),
    'low': round(found.low, 6),
    'high': round(found.high, 6),
    'worlds': found.runs,
  }
