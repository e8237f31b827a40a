"""Nested shares: which records of an endless stream belong to a share of it.

The set of a larger share holds that of a smaller one, whatever is written before or after. So runs
that differ in a share differ in nothing but the records that the larger share adds.
"""

# The fractional part of n times this number is spread as evenly as can be: of any N records in a
# row, a share s of them is s N, to within five records (for N up to 100,000).
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def is_in_share(number: int, share: float) -> bool:
  """Whether a record belongs to a share of all records; it depends on its number alone.

  Args:
    number: the number of the record; the first is 0.
    share: from 0 to 1.

  Returns:
    True for a share of all numbers.
  """
  # Number 0 would belong to every share above 0, so the count begins at 1.
  return (number + 1) * _GOLDEN_RATIO % 1 < share


def number_of(record_id: str) -> int:
  """The number of a record of a stream with nested shares; its id ends with it."""
  return int(record_id.rsplit('-', 1)[1])
