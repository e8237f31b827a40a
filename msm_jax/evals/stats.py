"""Intervals over seeds and items together.

An observation belongs to a run (a seed; of a single seed, a replicate of the assistant) and to a
cluster of items (a domain, or a pair of items). Both are random: another run or other domains could
have been drawn. The variance of the grand mean is estimated for two crossed ways of clustering
(Cameron, Gelbach and Miller 2011, eq. 2.11): V = V_runs + V_clusters - V_residual. Intervals use
Student's t with Satterthwaite's degrees of freedom, because three seeds are few.

Shapes: R runs, C clusters.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

# An observation: (run, cluster, item) -> value.
Observations = Mapping[tuple[str, str, str], float]

# The quantile of the normal distribution that a 95% interval uses.
_Z95 = 1.96
# Degrees of freedom where nothing varies: then the quantile does not matter.
_MANY = 1e9


@dataclasses.dataclass(frozen=True)
class Interval:
  """A mean with its 95% interval. With one run, the interval covers items only."""

  mean: float
  low: float
  high: float
  # How many runs and distinct items the mean rests on.
  runs: int
  items: int
  # The mean of every run.
  each: tuple[float, ...]

  def as_dict(self, seeds: int) -> dict[str, Any]:
    """The interval for summary.json.

    Args:
      seeds: how many seeds there were; `runs` are replicates where there is only one seed.

    Returns:
      A dict that JSON can hold, with six digits after the point.
    """
    return {
      'mean': round(self.mean, 6),
      'low': round(self.low, 6),
      'high': round(self.high, 6),
      'runs': self.runs,
      'items': self.items,
      'each': [round(mean, 6) for mean in self.each],
      'seeds': seeds,
    }


def _table(observations: Observations) -> tuple[np.ndarray, int]:
  """((R, C) means per run and cluster, number of distinct items).

  Raises ValueError unless every run has seen every cluster.
  """
  runs = sorted({run for run, _, _ in observations})
  clusters = sorted({cluster for _, cluster, _ in observations})
  row_of = {run: i for i, run in enumerate(runs)}
  column_of = {cluster: i for i, cluster in enumerate(clusters)}
  sums_RC = np.zeros((len(runs), len(clusters)))
  counts_RC = np.zeros((len(runs), len(clusters)))
  for (run, cluster, _), value in observations.items():
    sums_RC[row_of[run], column_of[cluster]] += value
    counts_RC[row_of[run], column_of[cluster]] += 1
  if (counts_RC == 0).any():
    raise ValueError(
      'some run has no observation in some cluster; intervals need the same items for every run'
    )
  return sums_RC / counts_RC, count_items(observations)


def count_items(observations: Observations) -> int:
  """How many distinct items were observed."""
  return len({(cluster, item) for _, cluster, item in observations})


def _half_width(table_RC: np.ndarray) -> float:
  """Half the width of the 95% interval of the table's mean."""
  R, C = table_RC.shape
  mean = float(table_RC.mean())
  by_run_R, by_cluster_C = table_RC.mean(1), table_RC.mean(0)
  v_runs, v_clusters, v_residual = 0.0, 0.0, 0.0
  if R > 1:
    v_runs = float(by_run_R.var(ddof=1) / R)
  if C > 1:
    v_clusters = float(by_cluster_C.var(ddof=1) / C)
  if R > 1 and C > 1:
    residual_RC = table_RC - by_run_R[:, None] - by_cluster_C[None] + mean
    v_residual = float((residual_RC**2).sum() / ((R - 1) * (C - 1)) / (R * C))
  # The estimate may fall below one of its parts, or below zero; the larger part then stands.
  variance = max(v_runs + v_clusters - v_residual, v_runs, v_clusters)
  df = _degrees_of_freedom(((v_runs, R - 1), (v_clusters, C - 1)))
  return float(scipy.special.stdtrit(df, 0.975)) * math.sqrt(variance)


def _degrees_of_freedom(parts: Sequence[tuple[float, int]]) -> float:
  """Satterthwaite's degrees of freedom of a sum of variances; parts are (variance, its degrees)."""
  total = sum(variance for variance, _ in parts)
  if total <= 0:
    return _MANY
  varying = [(variance, df) for variance, df in parts if variance > 0]
  return total**2 / sum(variance * variance / df for variance, df in varying)


def interval(observations: Observations, share: bool = True) -> Interval:
  """Computes the mean over clusters and runs; every cluster weighs the same.

  Args:
    observations: the values; every run must have seen every cluster.
    share: the values are shares in [0, 1]. Then the interval stays inside, and it is never narrower
      than a binomial one over the distinct items (Agresti and Coull 1998), so that 'all right' on
      few items is not reported as certainty.

  Returns:
    The mean with its interval.
  """
  table_RC, items = _table(observations)
  mean, each = float(table_RC.mean()), tuple(table_RC.mean(1).tolist())
  half = _half_width(table_RC)
  low, high = mean - half, mean + half
  if share:
    adjusted = (mean * items + 2) / (items + 4)
    half = max(half, _Z95 * math.sqrt(adjusted * (1 - adjusted) / (items + 4)))
    low, high = max(0.0, mean - half), min(1.0, mean + half)
  return Interval(mean, low, high, table_RC.shape[0], items, each)


def paired_difference(arms: Sequence[Observations]) -> Observations:
  """Subtracts arms, paired by run, cluster and item: what the arms share (base, items) cancels.

  Args:
    arms: two arms (first - second), or four ((first - second) - (third - fourth)).

  Returns:
    The differences of the observations that all arms have.

  Raises:
    ValueError: the arms have no item in common.
  """
  common = set.intersection(*(set(arm) for arm in arms))
  if not common:
    raise ValueError('the arms have no item in common')
  out = {}
  for key in common:
    subtracted = arms[2][key] - arms[3][key] if len(arms) > 2 else 0.0
    out[key] = arms[0][key] - arms[1][key] - subtracted
  return out


def difference(*arms: Observations) -> Interval:
  """The mean of `paired_difference` for two or four arms of shares.

  Args:
    *arms: the arms.

  Returns:
    The mean with its interval, which is never narrower than `min_half_width` allows.
  """
  found = interval(paired_difference(arms), share=False)
  return _with_min_width(found, min_half_width(arms), len(arms) / 2)


def dissociation(own: Sequence[Observations], rival: Sequence[Observations]) -> Interval:
  """Joins two differences that were asked on different pairs of items.

  Args:
    own: two or four arms: shares of choosing by the first arm's own value.
    rival: the same arms: shares of choosing by the rival value.

  Returns:
    The mean of how much more the first arm chooses by its own value and how much less by the rival.
  """
  gained = paired_difference(own)
  lost = {key: -value for key, value in paired_difference(rival).items()}
  least = math.hypot(min_half_width(own), min_half_width(rival)) / 2
  found = interval(mean_of_halves(gained, lost), share=False)
  return _with_min_width(found, least, len(own) / 2)


def min_half_width(arms: Sequence[Observations]) -> float:
  """The least half-width of a difference of shares.

  Two arms that agree on every item that was asked need not agree on all items. This is half the
  interval of matched pairs over the distinct items, with half a pair added to each of the four
  cells (Agresti and Min 2005, section 3). Of two differences it is the root of the sum of both
  squares.

  Args:
    arms: two or four arms of shares.

  Returns:
    The half-width, in shares.
  """
  out = 0.0
  for pair in (arms[:2], arms[2:])[: len(arms) // 2]:
    values = paired_difference(pair)
    items = count_items(values)
    gained = sum(max(0.0, value) for value in values.values()) / len(values) * items + 0.5
    lost = sum(max(0.0, -value) for value in values.values()) / len(values) * items + 0.5
    n = items + 2
    out += (gained + lost - (gained - lost) ** 2 / n) * (_Z95 / n) ** 2
  return math.sqrt(out)


def _with_min_width(found: Interval, least: float, most: float) -> Interval:
  """The interval with at least this half-width, inside [-most, most]."""
  half = max(found.high - found.mean, least)
  low, high = max(-most, found.mean - half), min(most, found.mean + half)
  return dataclasses.replace(found, low=low, high=high)


def mean_of_halves(gained: Observations, lost: Observations) -> Observations:
  """The mean of two kinds of observations, per run and cluster.

  Args:
    gained: the first kind.
    lost: the second kind.

  Returns:
    One observation per run and cluster that both kinds have. Where the two have no cluster in
    common (single items of one domain), all clusters of a run are joined.
  """
  clusters_gained = {cluster for _, cluster, _ in gained}
  clusters_lost = {cluster for _, cluster, _ in lost}
  together = not clusters_gained & clusters_lost
  cells: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
  for n, part in enumerate((gained, lost)):
    for (run, cluster, _), value in part.items():
      key = (run, '' if together else cluster)
      cells.setdefault(key, ([], []))[n].append(value)
  out = {}
  for (run, cluster), (g, x) in cells.items():
    if g and x:
      out[run, cluster, cluster] = (sum(g) / len(g) + sum(x) / len(x)) / 2
  return out
