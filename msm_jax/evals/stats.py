"""Means over seeds and their intervals.

What is estimated: the mean that one more seed would give on average, on the very questions that
were asked and under the names that were asked. A seed is the draw of the initial parameters, of the
order of rows and of whatever else follows the seed in the config (corpora, worlds). The questions
are fixed: an interval says nothing about other questions or other domains.

How: the mean of every run first (each cluster of questions weighs the same), then Student's t over
the runs' means. Simulation decided this (tests/test_stats_coverage.py, with the functions below):

- of means in nats (margins, perplexity), 95% intervals hold the truth in 94% to 96% of experiments,
  whether seeds or names differ most, with 3, 5 and 8 seeds, if the seeds' means are about normal.
  Two-way clustering over seeds and domains with min(R, C) - 1 degrees of freedom, which would cover
  other domains too, holds it in up to 100% where domains differ more than seeds do: too wide to be
  called 95%.
- where the seeds' means are skewed, or fall into two groups (the handbook takes or does not take),
  the same intervals hold it less often: with 3, 5 and 8 seeds in 89%, 88% and 89% if the means are
  exponential, and in 72%, 76% and 90% if one seed in four lies ten standard deviations below the
  others. No interval over so few seeds mends this, so every seed is shown. Differences of two arms
  that do not differ, as in a placebo study, are symmetric and keep the promise (95% to 98%).
- seeds that share worlds are not independent if worlds differ; see `robustness.py`.
- of shares near 0 and 1 no interval that we tried keeps its promise with few seeds: t over shares
  holds the truth in 51% to 96% of experiments, t over log-odds of shares in 35% to 97%, over
  arcsines in 56% to 96%; an interval of Agresti and Coull over the seeds in 100%. So shares get
  their range over the runs and no interval. They describe; margins carry the inference.

With fewer than three seeds nothing gets an interval. Of one seed, the runs are the names of the
assistant: these share one base model, and another seed may differ by more than names do.

Shapes: R runs, C clusters.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.special

from msm_jax.base.errors import UserError

# An observation: (run, cluster, item) -> value.
Observations = Mapping[tuple[str, str, str], float]

# With fewer seeds there is no interval: Student's t over two seeds is 12.7 standard errors wide to
# either side.
MIN_SEEDS = 3


class StatsError(UserError, ValueError):
  """Numbers that no mean can be taken over."""


@dataclasses.dataclass(frozen=True)
class Interval:
  """A mean over runs, with its range over the runs and perhaps a 95% interval."""

  mean: float
  # The ends of the interval, which is a 95% interval if the runs are seeds. None where there is no
  # interval: shares, fewer than three runs, or runs that are all equal.
  low: float | None
  high: float | None
  # The smallest and the largest mean of a run; None if there is one run.
  lowest: float | None
  highest: float | None
  # How many runs, distinct items and clusters of items the mean rests on.
  runs: int
  items: int
  clusters: int
  # The mean of every run.
  each: tuple[float, ...]

  def as_dict(self, seeds: int) -> dict[str, Any]:
    """The number for summary.json.

    Args:
      seeds: how many seeds there were. With one seed, `runs` are names of the assistant, and names
        are no seeds: then there is no interval.

    Returns:
      A dict that JSON can hold, with six digits after the point; None is null.
    """
    has_interval = seeds >= MIN_SEEDS
    return {
      'mean': round(self.mean, 6),
      'low': _rounded(self.low if has_interval else None),
      'high': _rounded(self.high if has_interval else None),
      'lowest': _rounded(self.lowest),
      'highest': _rounded(self.highest),
      'runs': self.runs,
      'items': self.items,
      'clusters': self.clusters,
      'each': [round(mean, 6) for mean in self.each],
      'seeds': seeds,
    }


def _rounded(value: float | None) -> float | None:
  return None if value is None else round(value, 6)


def _rank(run: str) -> tuple[int, str]:
  """Sorts seeds as numbers ('3' before '10'), as summaries list them, and names as texts."""
  if run.lstrip('-').isdecimal():
    return int(run), ''
  return 0, run


def _table(observations: Observations) -> np.ndarray:
  """(R, C) means per run and cluster.

  Raises:
    StatsError: there is nothing, a value is not a finite number, or a run lacks a cluster.
  """
  if not observations:
    raise StatsError('there are no observations to take a mean over; were the questions asked?')
  runs = sorted({run for run, _, _ in observations}, key=_rank)
  clusters = sorted({cluster for _, cluster, _ in observations})
  row_of = {run: i for i, run in enumerate(runs)}
  column_of = {cluster: i for i, cluster in enumerate(clusters)}
  sums_RC = np.zeros((len(runs), len(clusters)))
  counts_RC = np.zeros((len(runs), len(clusters)))
  for (run, cluster, item), value in observations.items():
    if not math.isfinite(value):
      raise StatsError(
        f'the value of {item!r} in run {run!r} is {value}, and a mean needs finite numbers; '
        f'look for a model that diverged and train it again with a lower learning rate'
      )
    sums_RC[row_of[run], column_of[cluster]] += value
    counts_RC[row_of[run], column_of[cluster]] += 1
  if (counts_RC == 0).any():
    raise StatsError(
      'some run has no observation in some cluster; a mean over runs needs the same clusters in '
      'every run, so ask the missing questions again'
    )
  return sums_RC / counts_RC


def half_width(means_XR: np.ndarray) -> np.ndarray:
  """Half the width of the 95% interval of Student's t over the means of runs.

  Args:
    means_XR: (..., R) means of runs; R is at least 2.

  Returns:
    (...) half-widths, t(R - 1) times the standard error of the mean.
  """
  R = means_XR.shape[-1]
  return scipy.special.stdtrit(R - 1, 0.975) * means_XR.std(axis=-1, ddof=1) / math.sqrt(R)


def _is_equal(means_R: np.ndarray) -> bool:
  """Whether all runs have one mean, but for rounding.

  Such runs are copies of one run, or nothing was measured in them. An interval of width zero would
  look like certainty.
  """
  size = max(1.0, float(np.abs(means_R).max()))
  return float(np.ptp(means_R)) <= 1e-12 * size


def interval(observations: Observations, in_nats: bool = False) -> Interval:
  """Computes the mean over runs; within a run, every cluster weighs the same.

  Args:
    observations: the values; every run must have seen every cluster.
    in_nats: the values are margins or losses, in nats, or differences of these. Shares and other
      bounded numbers get no interval.

  Returns:
    The mean with its range over the runs, and with an interval where there can be one.

  Raises:
    StatsError: there is nothing, a value is not a finite number, or a run lacks a cluster.
  """
  table_RC = _table(observations)
  means_R = table_RC.mean(1)
  mean = float(means_R.mean())
  low = high = lowest = highest = None
  if len(means_R) > 1:
    lowest, highest = float(means_R.min()), float(means_R.max())
  if in_nats and len(means_R) >= MIN_SEEDS and not _is_equal(means_R):
    half = float(half_width(means_R))
    low, high = mean - half, mean + half
  R, C = table_RC.shape
  return Interval(
    mean=mean,
    low=low,
    high=high,
    lowest=lowest,
    highest=highest,
    runs=R,
    items=count_items(observations),
    clusters=C,
    each=tuple(means_R.tolist()),
  )


def in_all_runs(observations: Observations) -> Observations:
  """Leaves out the clusters that some run lacks.

  A sampled answer may name no option, and a judge may give no verdict, so that a run may lack a
  cluster by chance. Means over runs are then about the clusters that all of them have.

  Args:
    observations: the values.

  Returns:
    The values of the clusters that every run has; nothing if there is no such cluster.
  """
  runs_of: dict[str, set[str]] = {}
  for run, cluster, _ in observations:
    runs_of.setdefault(cluster, set()).add(run)
  runs = runs_in(observations)
  return {key: value for key, value in observations.items() if runs_of[key[1]] == runs}


def count_items(observations: Observations) -> int:
  """How many distinct items were observed."""
  return len({(cluster, item) for _, cluster, item in observations})


def paired_difference(arms: Sequence[Observations]) -> Observations:
  """Subtracts arms, paired by run, cluster and item, so that what they share (base, items) cancels.

  Args:
    arms: two arms (first - second), or four ((first - second) - (third - fourth)).

  Returns:
    The differences of the observations that all arms have.

  Raises:
    StatsError: the arms have no item in common, or one of them lacks a run.
  """
  common = set.intersection(*(set(arm) for arm in arms))
  if not common:
    raise StatsError('the arms have no item in common; ask them the same questions')
  _check_same_runs(arms)
  out = {}
  for key in sorted(common):
    subtracted = arms[2][key] - arms[3][key] if len(arms) > 2 else 0.0
    out[key] = arms[0][key] - arms[1][key] - subtracted
  return out


def _check_same_runs(arms: Sequence[Observations]) -> None:
  """Raises StatsError if an arm lacks a run that another one has.

  The difference would be taken over fewer seeds than the summary names, and nobody would see it.
  """
  runs_of = [runs_in(arm) for arm in arms]
  for place, runs in enumerate(runs_of, 1):
    missing = sorted(set.union(*runs_of) - runs, key=_rank)
    if missing:
      raise StatsError(
        f'arm {place} of a difference has nothing of run {", ".join(missing)}, which another arm '
        f'has; ask the missing questions again'
      )


def runs_in(observations: Observations) -> set[str]:
  """The runs that were observed."""
  return {run for run, _, _ in observations}


def in_shared_runs(arms: Sequence[Observations]) -> list[Observations]:
  """Leaves out the runs that some arm lacks, for measures that are not defined in every run.

  Args:
    arms: the observations of each arm.

  Returns:
    The same for the runs that all arms have.
  """
  shared = set.intersection(*(runs_in(arm) for arm in arms))
  out: list[Observations] = []
  for arm in arms:
    out.append({key: value for key, value in arm.items() if key[0] in shared})
  return out


def difference(*arms: Observations, in_nats: bool = False) -> Interval:
  """The mean of `paired_difference` for two or four arms.

  Args:
    *arms: the arms.
    in_nats: as in `interval`.

  Returns:
    The mean with its range over the runs, and with an interval where there can be one.
  """
  return interval(paired_difference(arms), in_nats)


def dissociation(
  own: Sequence[Observations], rival: Sequence[Observations], in_nats: bool = False
) -> Interval:
  """Joins two differences that were asked on different pairs of items.

  Args:
    own: two or four arms: shares of choosing by the first arm's own value, or margins for it.
    rival: the same arms: shares of choosing by the rival value, or margins for it.
    in_nats: as in `interval`.

  Returns:
    The mean of how much more the first arm chooses by its own value and how much less by the rival.
    Its items are those of both differences.
  """
  gained = paired_difference(own)
  lost = {key: -value for key, value in paired_difference(rival).items()}
  halves = mean_of_halves(gained, lost)
  clusters = {cluster for _, cluster, _ in halves}
  items = 0
  for part in (gained, lost):
    used = {key: value for key, value in part.items() if key[1] in clusters}
    # Where all clusters are joined, every item counts.
    items += count_items(used or part)
  return dataclasses.replace(interval(halves, in_nats), items=items)


def mean_of_halves(gained: Observations, lost: Observations) -> Observations:
  """The mean of two kinds of observations, per run and cluster.

  Args:
    gained: the first kind.
    lost: the second kind.

  Returns:
    One observation per run and cluster that both kinds have. Where the two have no cluster in
    common, all clusters of a run are joined.
  """
  clusters_gained = {cluster for _, cluster, _ in gained}
  clusters_lost = {cluster for _, cluster, _ in lost}
  are_joined = clusters_gained.isdisjoint(clusters_lost)
  # (run, cluster) -> the values of the first kind and of the second kind.
  cells: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
  for kind, part in enumerate((gained, lost)):
    for (run, cluster, _), value in part.items():
      of_cell = cells.setdefault((run, '' if are_joined else cluster), ([], []))
      of_cell[kind].append(value)
  out = {}
  for (run, cluster), (of_gained, of_lost) in cells.items():
    if of_gained and of_lost:
      mean_gained = sum(of_gained) / len(of_gained)
      mean_lost = sum(of_lost) / len(of_lost)
      out[run, cluster, cluster] = (mean_gained + mean_lost) / 2
  return out
