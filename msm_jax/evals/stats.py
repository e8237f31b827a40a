"""Intervals over seeds and items together.

An observation belongs to a seed (a training run) and to a cluster of items (a domain, or a pair of items). Both are random: another seed
or other domains could have been drawn. The variance of the grand mean is estimated for two crossed ways of clustering (Cameron, Gelbach
and Miller 2011, eq. 2.11): V = V_seeds + V_clusters - V_residual, with Student's t and Satterthwaite's degrees of freedom, because three
seeds are few.
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
  """Mean with its 95% interval; `seeds` and `items` are what it rests on, `each` is the mean of every seed. One seed: the interval covers items
  only."""

  mean: float
  low: float
  high: float
  seeds: int
  items: int
  each: tuple[float, ...]

  def as_dict(self) -> dict[str, Any]:
    d = {k: round(v, 6) if isinstance(v, float) else v for k, v in dataclasses.asdict(self).items()}
    return d | {'each': [round(v, 6) for v in self.each]}


# An observation: (seed, cluster, item) -> value.
Observations = Mapping[tuple[int, str, str], float]


def _table(observations: Observations) -> tuple[np.ndarray, int]:
  """((S, C) means per seed and cluster, number of distinct items). Every seed must have seen every cluster."""
  seeds = sorted({s for s, _, _ in observations})
  clusters = sorted({c for _, c, _ in observations})
  sums, counts = np.zeros((len(seeds), len(clusters))), np.zeros((len(seeds), len(clusters)))
  at_seed, at_cluster = {s: i for i, s in enumerate(seeds)}, {c: i for i, c in enumerate(clusters)}
  for (s, c, _), value in observations.items():
    sums[at_seed[s], at_cluster[c]] += value
    counts[at_seed[s], at_cluster[c]] += 1
  if (counts == 0).any():
    raise ValueError('some seed has no observation in some cluster; intervals need the same items for every seed')
  return sums / counts, len({(c, i) for _, c, i in observations})


def interval(observations: Observations, share: bool = True) -> Interval:
  """Mean over clusters and seeds, every cluster weighing the same.

  Args:
    share: the values are shares in [0, 1]: the interval stays inside, and is never narrower than a binomial one over the distinct items
      (Agresti and Coull 1998), so that 'all right' on few items is not reported as certainty.
  """
  table_SC, items = _table(observations)
  S, C = table_SC.shape
  mean = float(table_SC.mean())
  by_seed, by_cluster = table_SC.mean(1), table_SC.mean(0)
  v_seeds = float(by_seed.var(ddof=1) / S) if S > 1 else 0.0
  v_clusters = float(by_cluster.var(ddof=1) / C) if C > 1 else 0.0
  v_residual = 0.0
  if S > 1 and C > 1:
    residual_SC = table_SC - by_seed[:, None] - by_cluster[None] + mean
    v_residual = float((residual_SC**2).sum() / ((S - 1) * (C - 1)) / (S * C))
  variance = max(v_seeds + v_clusters - v_residual, v_seeds, v_clusters)
  total = v_seeds + v_clusters
  df = 1e9  # no variance at all: the quantile doesn't matter
  if total > 0:
    parts = [(v, n - 1) for v, n in ((v_seeds, S), (v_clusters, C)) if v > 0]
    df = total**2 / sum(v * v / n for v, n in parts)
  half = float(scipy.special.stdtrit(df, 0.975)) * math.sqrt(variance)
  if share:
    adjusted = (mean * items + 2) / (items + 4)
    half = max(half, 1.96 * math.sqrt(adjusted * (1 - adjusted) / (items + 4)))
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half), S, items, tuple(by_seed.tolist()))
  return Interval(mean, mean - half, mean + half, S, items, tuple(by_seed.tolist()))


def minus(arms: Sequence[Observations]) -> Observations:
  """First minus second arm, or, of four, that less (third minus fourth), paired by seed, cluster and item: what the arms share (base, items)
  cancels. Raises ValueError if they have no item in common."""
  common = set.intersection(*(set(a) for a in arms))
  if not common:
    raise ValueError('the arms have no item in common')
  return {k: arms[0][k] - arms[1][k] - (arms[2][k] - arms[3][k] if len(arms) > 2 else 0.0) for k in common}


def difference(*arms: Observations) -> Interval:
  """The mean of `minus(arms)` for two or four arms of shares.

  The interval is never narrower than that of matched pairs over the distinct items with half a pair added to each of the four cells
  (Agresti and Min 2005, section 3; of two differences, the root of the sum of both squared): two arms that agree on every item asked need
  not agree on all.
  """
  found = interval(minus(arms), share=False)
  n, floor = found.items + 2, 0.0
  for pair in (arms[:2], arms[2:])[: len(arms) // 2]:
    values = minus(pair).values()
    gained, lost = (sum(max(0.0, sign * v) for v in values) / len(values) * found.items + 0.5 for sign in (1, -1))
    floor += (gained + lost - (gained - lost) ** 2 / n) * (1.96 / n) ** 2
  half, most = max(found.high - found.mean, math.sqrt(floor)), len(arms) / 2
  return dataclasses.replace(found, low=max(-most, found.mean - half), high=min(most, found.mean + half))


def halves(gained: Observations, lost: Observations) -> Observations:
  """Per seed and domain, the mean of what the own value gained and what the rival lost (they are asked on different pairs)."""
  sums: dict[tuple[int, str], list[list[float]]] = defaultdict(lambda: [[], []])
  for n, part in enumerate((gained, lost)):
    for (seed, cluster, _), v in part.items():
      sums[seed, cluster][n].append(v)
  return {(s, c, c): (sum(g) / len(g) + sum(x) / len(x)) / 2 for (s, c), (g, x) in sums.items() if g and x}
