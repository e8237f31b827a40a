"""Agreement of two who put the same things into categories: raw, and corrected for chance.

Things may be dependent: answers to one question, and answers of models of one seed. So intervals
resample whole questions and whole seeds, each independently of the other, and a thing counts as
often as the product of the two says (the bootstrap of crossed factors: McCullagh 2000, Owen 2007).
Resampling single things would give intervals that are far too narrow; tests/test_sampled.py
counts how often either kind holds the truth.

Shapes: N things, S resamples, C clusters, K categories, H strata.
"""

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from msm_jax.base.intervals import wilson

# Resamples of the bootstrap, and its seed: the same data give the same interval.
_RESAMPLES = 2000
_SEED = 0
# The standard normal quantile of a 95% interval.
_Z = 1.959964
# A chance agreement this close to 1 leaves nothing to correct.
_ALL = 1 - 1e-9
# Numbers that differ by less are equal but for rounding.
_NO_SPREAD = 1e-12
# Weights of resamples that are in memory at a time: 32 MiB.
_MAX_WEIGHTS = 2**22


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far two agree.

  Attributes:
    things: how many things both judged.
    raw: the share on which they agree, 0 to 1.
    low: the lower end of its 95% interval (Wilson, for as many independent things as would be as
      precise).
    high: the upper end.
    kappa: Cohen's kappa: 1 if they always agree, 0 at chance; None if both put everything into one
      category, where chance agreement is perfect.
    kappa_low: the lower end of its 95% interval (bootstrap over clusters); None where there is
      none.
    kappa_high: the upper end.
  """

  things: int
  raw: float
  low: float
  high: float
  kappa: float | None
  kappa_low: float | None = None
  kappa_high: float | None = None

  def as_dict(self) -> dict[str, Any]:
    """The numbers for JSON, with six digits after the point."""
    out: dict[str, Any] = {}
    for key, value in dataclasses.asdict(self).items():
      out[key] = round(value, 6) if isinstance(value, float) else value
    return out


def cohens_kappa(first_N: np.ndarray, second_N: np.ndarray, weights_N: np.ndarray) -> float | None:
  """Cohen's kappa (Cohen 1960), weighted by things and not by categories.

  Args:
    first_N: the categories that the first one gave, as numbers from 0.
    second_N: those of the second one.
    weights_N: how much each thing counts.

  Returns:
    Kappa; None if chance agreement is perfect.
  """
  categories = int(max(first_N.max(), second_N.max())) + 1
  total = weights_N.sum()
  observed = weights_N[first_N == second_N].sum() / total
  shares = []
  for given_N in (first_N, second_N):
    shares.append(np.bincount(given_N, weights_N, categories) / total)
  chance = float(shares[0] @ shares[1])
  if chance > _ALL:
    return None
  return float((observed - chance) / (1 - chance))


def agreement(
  first: Sequence[Hashable],
  second: Sequence[Hashable],
  weights: Sequence[float] | None = None,
  strata: Sequence[Hashable] | None = None,
  clusters: Sequence[Sequence[Hashable]] = (),
) -> Agreement | None:
  """Measures the agreement of two.

  Args:
    first: the category that the first one gave to each thing.
    second: the same of the second one.
    weights: how many things each one stands for, if the things are a stratified sample.
    strata: the stratum of each thing; in every resample the strata keep their total weights.
    clusters: groupings by which things are dependent, such as their questions and their seeds: for
      each grouping the label of each thing. Without any, the things are independent.

  Returns:
    The agreement; None if there is nothing to compare. The interval of the raw share counts as many
    things as would be as precise if they were independent and had equal weights: never more than
    Kish (1965) allows for weights, and fewer the more the share varies between clusters.
  """
  N = len(first)
  if not N:
    return None
  first_N, second_N = _numbered([*first, *second]).reshape(2, N)
  weights_N = np.ones(N) if weights is None else np.asarray(weights, float)
  agrees_N = (first_N == second_N).astype(float)
  raw = float(weights_N @ agrees_N / weights_N.sum())
  groupings = [_numbered(labels) for labels in clusters] or [np.arange(N)]
  strata_N = None if strata is None else _numbered(strata)
  raw_S, kappa_S = _bootstrap(first_N, second_N, weights_N, groupings, strata_N)
  low, high = wilson(raw, _effective_number(raw, raw_S, weights_N), _Z)
  kappa = cohens_kappa(first_N, second_N, weights_N)
  kappa_low, kappa_high = None, None
  if kappa is not None and len(kappa_S) and np.ptp(kappa_S) > _NO_SPREAD:
    kappa_low, kappa_high = (float(end) for end in np.quantile(kappa_S, (0.025, 0.975)))
  return Agreement(N, raw, low, high, kappa, kappa_low, kappa_high)


def _numbered(labels: Sequence[Hashable]) -> np.ndarray:
  """(N,) the number of each label, from 0, in the order in which they first appear."""
  numbers: dict[Hashable, int] = {}
  return np.array([numbers.setdefault(label, len(numbers)) for label in labels])


def _effective_number(raw: float, raw_S: np.ndarray, weights_N: np.ndarray) -> float:
  """How many independent things would give the raw share as precisely."""
  kish = float(weights_N.sum() ** 2 / (weights_N**2).sum())
  variance = float(raw_S.var()) if len(raw_S) else 0.0
  # Where all agree, or none do, nothing varies, and the clusters cannot tell.
  if variance < _NO_SPREAD or raw * (1 - raw) < _NO_SPREAD:
    return kish
  return min(kish, max(1.0, raw * (1 - raw) / variance))


def _bootstrap(
  first_N: np.ndarray,
  second_N: np.ndarray,
  weights_N: np.ndarray,
  groupings: Sequence[np.ndarray],
  strata_N: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
  """Raw shares and kappas of resamples; of kappa, those resamples are left out that have none."""
  rng = np.random.default_rng(_SEED)
  K = int(max(first_N.max(), second_N.max())) + 1
  agrees_N = (first_N == second_N).astype(float)
  is_first_NK, is_second_NK = np.eye(K)[first_N], np.eye(K)[second_N]
  raws, kappas = [], []
  # Some resamples at a time, so that many things need no more memory.
  size = max(1, _MAX_WEIGHTS // len(first_N))
  for start in range(0, _RESAMPLES, size):
    S = min(size, _RESAMPLES - start)
    weights_SN = _resampled(rng, S, weights_N, groupings, strata_N)
    total_S = weights_SN.sum(1)
    # Few questions of few seeds may have no thing in common.
    weights_SN, total_S = weights_SN[total_S > 0], total_S[total_S > 0]
    observed_S = weights_SN @ agrees_N / total_S
    chance_S = ((weights_SN @ is_first_NK) * (weights_SN @ is_second_NK)).sum(1) / total_S**2
    has_kappa_S = chance_S <= _ALL
    raws.append(observed_S)
    kappas.append(((observed_S - chance_S) / np.maximum(1 - chance_S, 1e-12))[has_kappa_S])
  return np.concatenate(raws), np.concatenate(kappas)


def _resampled(
  rng: np.random.Generator,
  S: int,
  weights_N: np.ndarray,
  groupings: Sequence[np.ndarray],
  strata_N: np.ndarray | None,
) -> np.ndarray:
  """(S, N) how much each thing counts in each resample."""
  weights_SN = np.tile(weights_N, (S, 1))
  for cluster_N in groupings:
    C = int(cluster_N.max()) + 1
    # One cluster, drawn once, is itself: the interval is then about this cluster.
    counts_SC = rng.multinomial(C, np.full(C, 1 / C), size=S)
    weights_SN = weights_SN * counts_SC[:, cluster_N]
  if strata_N is None:
    return weights_SN
  # Post-stratification: how much each stratum stands for is known, and no matter of chance.
  is_in_NH = np.eye(int(strata_N.max()) + 1)[strata_N]
  drawn_SH = weights_SN @ is_in_NH
  scale_SH = (weights_N @ is_in_NH) / np.where(drawn_SH > 0, drawn_SH, np.inf)
  return weights_SN * scale_SH[:, strata_N]
