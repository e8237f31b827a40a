"""Intervals over seeds and items together.

An observation belongs to a run (a seed; of one seed, a replicate of the assistant) and to a cluster of items (a domain, or a pair of items).
Both are random: another run or other domains could have been drawn. The variance of the grand mean is estimated for two crossed ways of
clustering (Cameron, Gelbach and Miller 2011, eq. 2.11): V = V_runs + V_clusters - V_residual, with Student's t and Satterthwaite's degrees of
freedom, because three seeds are few.
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special


@dataclasses.dataclass(frozen=True)
class Interval:
  """Mean with its 95% interval; `runs` and `items` are what it rests on, `each` is the mean of every run. One run: the interval covers items
  only."""

  mean: float
  low: float
  high: float
  runs: int
  items: int
  each: tuple[float, ...]

  def as_dict(self, seeds: int) -> dict[str, Any]:
    """For summary.json. `seeds`: how many there were, which runs tell only where there are several."""
    d = {k: round(v, 6) if isinstance(v, float) else v for k, v in dataclasses.asdict(self).items()}
    return d | {'seeds': seeds, 'each': [round(v, 6) for v in self.each]}


# An observation: (run, cluster, item) -> value.
Observations = Mapping[tuple[str, str, str], float]


def _table(observations: Observations) -> tuple[np.ndarray, int]:
  """((R, C) means per run and cluster, number of distinct items). Every run must have seen every cluster."""
  runs = sorted({r for r, _, _ in observations})
  clusters = sorted({c for _, c, _ in observations})
  sums, counts = np.zeros((len(runs), len(clusters))), np.zeros((len(runs), len(clusters)))
  at_run, at_cluster = {r: i for i, r in enumerate(runs)}, {c: i for i, c in enumerate(clusters)}
  for (r, c, _), value in observations.items():
    sums[at_run[r], at_cluster[c]] += value
    counts[at_run[r], at_cluster[c]] += 1
  if (counts == 0).any():
    raise ValueError(
      'some run has no observation in some cluster; intervals need the same items for every run'
    )
  return sums / counts, len({(c, i) for _, c, i in observations})


def interval(observations: Observations, share: bool = True) -> Interval:
  """Mean over clusters and runs, every cluster weighing the same.

  Args:
    share: the values are shares in [0, 1]: the interval stays inside, and is never narrower than a binomial one over the distinct items
      (Agresti and Coull 1998), so that 'all right' on few items is not reported as certainty.
  """
  table_RC, items = _table(observations)
  R, C = table_RC.shape
  mean = float(table_RC.mean())
  by_run, by_cluster = table_RC.mean(1), table_RC.mean(0)
  v_runs = float(by_run.var(ddof=1) / R) if R > 1 else 0.0
  v_clusters = float(by_cluster.var(ddof=1) / C) if C > 1 else 0.0
  v_residual = 0.0
  if R > 1 and C > 1:
    residual_RC = table_RC - by_run[:, None] - by_cluster[None] + mean
    v_residual = float((residual_RC**2).sum() / ((R - 1) * (C - 1)) / (R * C))
  variance = max(v_runs + v_clusters - v_residual, v_runs, v_clusters)
  total = v_runs + v_clusters
  df = 1e9  # no variance at all: the quantile doesn't matter
  if total > 0:
    parts = [(v, n - 1) for v, n in ((v_runs, R), (v_clusters, C)) if v > 0]
    df = total**2 / sum(v * v / n for v, n in parts)
  half = float(scipy.special.stdtrit(df, 0.975)) * math.sqrt(variance)
  if share:
    adjusted = (mean * items + 2) / (items + 4)
    half = max(half, 1.96 * math.sqrt(adjusted * (1 - adjusted) / (items + 4)))
    return Interval(
      mean, max(0.0, mean - half), min(1.0, mean + half), R, items, tuple(by_run.tolist())
    )
  return Interval(mean, mean - half, mean + half, R, items, tuple(by_run.tolist()))


def minus(arms: Sequence[Observations]) -> Observations:
  """First minus second arm, or, of four, that less (third minus fourth), paired by run, cluster and item: what the arms share (base, items)
  cancels. Raises ValueError if they have no item in common."""
  common = set.intersection(*(set(a) for a in arms))
  if not common:
    raise ValueError('the arms have no item in common')
  return {
    k: arms[0][k] - arms[1][k] - (arms[2][k] - arms[3][k] if len(arms) > 2 else 0.0) for k in common
  }


def difference(*arms: Observations) -> Interval:
  """The mean of `minus(arms)` for two or four arms of shares, its interval never narrower than `least_half(arms)`."""
  return _widened(interval(minus(arms), share=False), least_half(arms), len(arms) / 2)


def dissociation(own: Sequence[Observations], rival: Sequence[Observations]) -> Interval:
  """The mean of two differences that were asked on different pairs: how much more the first arm chooses by its own value (`own`, shares choosing
  by it in each arm) and how much less by the rival (`rival`, shares choosing by that)."""
  gained, lost = minus(own), {k: -v for k, v in minus(rival).items()}
  least = math.hypot(least_half(own), least_half(rival)) / 2
  return _widened(interval(halves(gained, lost), share=False), least, len(own) / 2)


def least_half(arms: Sequence[Observations]) -> float:
  """Half the interval of matched pairs over the distinct items with half a pair added to each of the four cells (Agresti and Min 2005, section
  3; of two differences, the root of the sum of both squared): two arms that agree on every item asked need not agree on all."""
  out = 0.0
  for pair in (arms[:2], arms[2:])[: len(arms) // 2]:
    values = minus(pair)
    items = len({(c, i) for _, c, i in values})
    gained, lost = (
      sum(max(0.0, sign * v) for v in values.values()) / len(values) * items + 0.5
      for sign in (1, -1)
    )
    n = items + 2
    out += (gained + lost - (gained - lost) ** 2 / n) * (1.96 / n) ** 2
  return math.sqrt(out)


def _widened(found: Interval, least: float, most: float) -> Interval:
  half = max(found.high - found.mean, least)
  return dataclasses.replace(
    found, low=max(-most, found.mean - half), high=min(most, found.mean + half)
  )


def halves(gained: Observations, lost: Observations) -> Observations:
  """Per run and cluster, the mean of both; over all clusters together where the two have none in common (single items of one domain)."""
  together = not {c for _, c, _ in gained} & {c for _, c, _ in lost}
  sums: dict[tuple[str, str], list[list[float]]] = defaultdict(lambda: [[], []])
  for n, part in enumerate((gained, lost)):
    for (run, cluster, _), v in part.items():
      sums[run, '' if together else cluster][n].append(v)
  return {
    (r, c, c): (sum(g) / len(g) + sum(x) / len(x)) / 2 for (r, c), (g, x) in sums.items() if g and x
  }
