"""Agreement of two who put the same things into categories: raw, and corrected for chance.

Shapes: N things, S resamples.
"""

import dataclasses
import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

# Resamples of the bootstrap, and its seed: the same data give the same interval.
_RESAMPLES = 2000
_SEED = 0
# The standard normal quantile of a 95% interval.
_Z = 1.959964
# A chance agreement this close to 1 leaves nothing to correct.
_ALL = 1 - 1e-9


@dataclasses.dataclass(frozen=True)
class Agreement:
  """How far two agree.

  Attributes:
    things: how many things both judged.
    raw: the share on which they agree, 0 to 1.
    low: the lower end of its 95% interval (Wilson).
    high: the upper end.
    kappa: Cohen's kappa: 1 if they always agree, 0 at chance; None if both put everything into one
      category, where chance agreement is perfect.
    kappa_low: the lower end of its 95% interval (bootstrap); None where there is none.
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


def wilson(share: float, n: float) -> tuple[float, float]:
  """The 95% interval of a share of n independent things (Wilson 1927)."""
  centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
  half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
  return max(0.0, centre - half), min(1.0, centre + half)


def agreement(
  first: Sequence[Hashable],
  second: Sequence[Hashable],
  weights: Sequence[float] | None = None,
  strata: Sequence[Hashable] | None = None,
) -> Agreement | None:
  """Measures the agreement of two.

  Args:
    first: the category that the first one gave to each thing.
    second: the same of the second one.
    weights: how many things each one stands for, if the things are a stratified sample.
    strata: the stratum of each thing; the bootstrap resamples within strata.

  Returns:
    The agreement; None if there is nothing to compare. The interval of the raw share counts as many
    things as an unweighted sample of the same precision would have (Kish 1965).
  """
  N = len(first)
  if not N:
    return None
  names: dict[Hashable, int] = {}
  for category in (*first, *second):
    names.setdefault(category, len(names))
  first_N = np.array([names[category] for category in first])
  second_N = np.array([names[category] for category in second])
  weights_N = np.ones(N) if weights is None else np.asarray(weights, float)
  raw = float(weights_N[first_N == second_N].sum() / weights_N.sum())
  effective = float(weights_N.sum() ** 2 / (weights_N**2).sum())
  low, high = wilson(raw, effective)
  kappa = cohens_kappa(first_N, second_N, weights_N)
  kappa_low, kappa_high = None, None
  if kappa is not None:
    kappa_low, kappa_high = _bootstrap(first_N, second_N, weights_N, strata)
  return Agreement(N, raw, low, high, kappa, kappa_low, kappa_high)


def _bootstrap(
  first_N: np.ndarray,
  second_N: np.ndarray,
  weights_N: np.ndarray,
  strata: Sequence[Hashable] | None,
) -> tuple[float | None, float | None]:
  """The 2.5% and 97.5% quantiles of kappa over resamples; None if they do not vary."""
  groups: dict[Hashable, list[int]] = {}
  for n in range(len(first_N)):
    groups.setdefault(strata[n] if strata is not None else '', []).append(n)
  rng = np.random.default_rng(_SEED)
  kappas = []
  for _ in range(_RESAMPLES):
    drawn = np.concatenate([rng.choice(members, len(members)) for members in groups.values()])
    kappa = cohens_kappa(first_N[drawn], second_N[drawn], weights_N[drawn])
    if kappa is not None:
      kappas.append(kappa)
  if not kappas or max(kappas) - min(kappas) < 1e-12:
    return None, None
  low, high = np.quantile(kappas, (0.025, 0.975))
  return float(low), float(high)
