"""In which orders the options of a question are listed."""

import itertools

# All orders of so many options are asked.
MOST_PERMUTED = 3


def option_orders(options: int) -> list[tuple[int, ...]]:
  """Lists the orders in which options are asked.

  Up to `MOST_PERMUTED` options are asked in every order. More are rotated, so that each of them
  stands once in each place.

  Args:
    options: how many there are.

  Returns:
    Orders of the numbers from 0; the first one is that of the question.
  """
  numbers = tuple(range(options))
  if options <= MOST_PERMUTED:
    return list(itertools.permutations(numbers))
  return [numbers[n:] + numbers[:n] for n in numbers]
