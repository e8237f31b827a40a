"""What all measures of the audit share: their type, and the interval of a share.

A measure is a dict that goes into the JSON report as it is. Its key `value` is the number that a
threshold bounds; `data_pipelines.audit.thresholds` says what each number is a share of. A share of
all documents is a count, not an estimate. Its interval says what the same writer could be expected
to give again.
"""

from typing import Any

Measure = dict[str, Any]

# How many examples the report keeps of each measure.
MAX_EXAMPLES = 5


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
  """Computes the Wilson score interval of a share (Wilson 1927).

  Args:
    successes: how many of the trials succeeded.
    n: how many trials there were.
    z: quantile of the normal distribution; 1.96 gives a 95% interval.

  Returns:
    (low, high), both within 0 and 1; (0, 1) if there were no trials.
  """
  if not n:
    return 0.0, 1.0
  p = successes / n
  zz = z * z / n
  centre = p + zz / 2
  half = z * ((p * (1 - p) + zz / 4) / n) ** 0.5
  low = (centre - half) / (1 + zz)
  high = (centre + half) / (1 + zz)
  return max(0.0, low), min(1.0, high)
