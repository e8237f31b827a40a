"""The interval of a share, for whoever counts: the audit of corpora and the agreement of judges."""


def wilson(share: float, n: float, z: float = 1.96) -> tuple[float, float]:
  """Computes the Wilson score interval of a share (Wilson 1927).

  Args:
    share: which part of the trials succeeded, from 0 to 1.
    n: how many independent trials there were, more than 0. It need not be a whole number: dependent
      trials are as precise as fewer independent ones.
    z: quantile of the normal distribution; 1.96 gives a 95% interval.

  Returns:
    (low, high), both within 0 and 1.
  """
  zz = z * z / n
  centre = share + zz / 2
  half = z * ((share * (1 - share) + zz / 4) / n) ** 0.5
  low = (centre - half) / (1 + zz)
  high = (centre + half) / (1 + zz)
  return max(0.0, low), min(1.0, high)
