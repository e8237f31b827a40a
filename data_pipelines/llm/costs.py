"""What calls cost: a table of prices that users edit, and the cost of a plan before it is run."""

import dataclasses
import fnmatch
import json
import math
from collections.abc import Sequence
from pathlib import Path

from msm_jax.base import paths
from msm_jax.base.errors import DataError


@dataclasses.dataclass(frozen=True)
class Price:
  """USD for a million tokens; `batch`: share of it that a provider's batch mode asks for. Raises ValueError."""

  input: float
  output: float
  batch: float = 1.0

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      if (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf
      ):
        raise ValueError(f'{name} must be a number, at least 0, and is {value!r}')

  def cost(self, input_tokens: float, output_tokens: float, batch: bool = False) -> float:
    return (
      (input_tokens * self.input + output_tokens * self.output)
      / 1e6
      * (self.batch if batch else 1.0)
    )


def read_price(path: str, model: str) -> Price | None:
  """The price of the first name in the table that the model is or matches ('mockllm/*'), or None. Raises DataError for a table that is none."""
  file = Path(paths.find(path))
  try:
    table = json.loads(file.read_text(encoding='utf-8'))
    return next(
      (
        Price(**row)
        for name, row in table.items()
        if not name.startswith('#') and fnmatch.fnmatchcase(model, name)
      ),
      None,
    )
  except OSError:
    raise DataError(
      f'no price table at {path}; give prices=FILE.json, such as configs/corpora/prices.json'
    ) from None
  except (ValueError, TypeError, AttributeError) as e:
    raise DataError(
      f'{path} is no table of prices ({e}); it maps names of models to {{"input": USD, "output": USD}} for a million tokens'
    ) from None


def guess_tokens(text: str) -> int:
  """Tokens of English, for estimates: four characters each."""
  return -(-len(text) // 4)


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A stage before it is run. Tokens are those of one call; `batch`: whether its model is asked in batches."""

  stage: str
  model: str
  calls: int
  input_tokens: int
  output_tokens: int
  batch: bool = False


def estimate_table(estimates: Sequence[Estimate], prices: str, budget: float = 0.0) -> str:
  """Calls, tokens and cost by stage and in total, for the terminal."""
  rows, total, unknown = [('stage', 'model', 'calls', 'tokens in', 'tokens out', 'USD')], 0.0, set()
  for e in estimates:
    price = read_price(prices, e.model)
    cost = (
      price.cost(e.calls * e.input_tokens, e.calls * e.output_tokens, e.batch) if price else None
    )
    total += cost or 0.0
    unknown |= {e.model} if cost is None else set()
    rows.append(
      (
        e.stage,
        e.model,
        f'{e.calls:,}',
        f'{e.calls * e.input_tokens:,}',
        f'{e.calls * e.output_tokens:,}',
        '?' if cost is None else f'{cost:,.2f}',
      )
    )
  sums = [
    sum(e.calls for e in estimates),
    *(sum(e.calls * getattr(e, k) for e in estimates) for k in ('input_tokens', 'output_tokens')),
  ]
  rows.append(('total', '', *(f'{n:,}' for n in sums), f'{total:,.2f}'))
  widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
  lines = [
    '  '.join(
      c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))
    ).rstrip()
    for r in rows
  ]
  note = (
    [f'no price for {", ".join(sorted(unknown))} in {prices}: add a line to see what it costs']
    if unknown
    else []
  )
  note += [f'Budget: ${budget:,.2f}; the run stops before it is exceeded.'] if budget else []
  return '\n'.join([lines[0], '  '.join('-' * w for w in widths), *lines[1:], *note])
