"""What calls cost: a table of prices that users edit, and the cost of a plan before it is run."""

import dataclasses
import fnmatch
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msm_jax.base import paths
from msm_jax.base.errors import DataError

# Characters of English text for one token, roughly; for estimates only.
CHARACTERS_PER_TOKEN = 4

# The first columns of the table of estimates are text and are aligned at the left.
_TEXT_COLUMNS = 2


@dataclasses.dataclass(frozen=True)
class Price:
  """The price of a model in USD for a million tokens. Raises ValueError for a wrong number.

  Attributes:
    input: for a million tokens that the model reads.
    output: for a million tokens that the model writes.
    batch: the share of the price that the provider asks for calls in its batch mode.
  """

  input: float
  output: float
  batch: float = 1.0

  def __post_init__(self) -> None:
    for name, value in dataclasses.asdict(self).items():
      # JSON has `true` where a slip may put it, and Python counts it as a number.
      is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
      if not is_number or not 0 <= value < math.inf:
        raise ValueError(f'{name} must be a number, at least 0, and is {value!r}')

  def cost(self, input_tokens: float, output_tokens: float, batch: bool = False) -> float:
    """The cost in USD of so many tokens; `batch` says whether they go through batch mode."""
    dollars = (input_tokens * self.input + output_tokens * self.output) / 1e6
    if batch:
      return dollars * self.batch
    return dollars


def _object_of(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
  """Makes a JSON object. Raises ValueError if it has a name twice, but for comments: the last price
  would count in the place of the first."""
  found: dict[str, Any] = {}
  for name, value in pairs:
    if name in found and not name.startswith('#'):
      raise ValueError(f'{name} stands there twice')
    found[name] = value
  return found


def read_price(path: str, model: str) -> Price | None:
  """Reads the price of a model from a table.

  Args:
    path: a JSON file that maps names of models, or patterns such as 'mockllm/*', to prices. Names
      that begin with '#' are comments.
    model: the name of the model.

  Returns:
    The price under the first name that fits the model; None if there is none.

  Raises:
    DataError: there is no such file, or it is no table of prices.
  """
  file = Path(paths.find(path))
  try:
    table = json.loads(file.read_text(encoding='utf-8-sig'), object_pairs_hook=_object_of)
    for name, row in table.items():
      if not name.startswith('#') and fnmatch.fnmatchcase(model, name):
        return Price(**row)
  except OSError:
    raise DataError(
      f'no price table at {path}; give prices=FILE.json, such as configs/corpora/prices.json'
    ) from None
  except (ValueError, TypeError, AttributeError) as e:
    raise DataError(
      f'{path} is no table of prices ({e}); it maps names of models to '
      '{"input": USD, "output": USD} for a million tokens'
    ) from None
  return None


def show_cost(dollars: float, unpriced: bool, sign: str = '$') -> str:
  """Shows an amount; '?' stands for what models without a price cost."""
  if not unpriced:
    return f'{sign}{dollars:,.2f}'
  if not dollars:
    return f'{sign}?'
  return f'{sign}{dollars:,.2f} + ?'


def mark_unpriced(totals: Sequence[Mapping[str, Any]], prices: str) -> list[dict[str, Any]]:
  """Tells what cost nothing from what has no price, and adds what has a price only now.

  Args:
    totals: the rows that `Ledger.totals` gives.
    prices: the path of the table of prices.

  Returns:
    The same rows without what they say of unpriced tokens; `cost` is None for a model that the
    table does not have.

  Raises:
    DataError: the table of prices cannot be read.
  """
  rows = []
  for total in totals:
    row = dict(total)
    unpriced = (row.pop('unpriced_input', 0), row.pop('unpriced_output', 0))
    price = read_price(prices, row['model'])
    if price is not None:
      # As `LlmClient` counts them: the full price, since nobody knows whether they came in batches.
      row['cost'] += price.cost(*unpriced)
    elif not row['cost']:
      row['cost'] = None
    rows.append(row)
  return rows


def guess_tokens(text: str) -> int:
  """Guesses the number of tokens of an English text, rounded up; for estimates."""
  return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What one stage of a corpus will ask for, before it is run.

  Attributes:
    stage: the name of the stage.
    model: the name of the model that is asked.
    calls: the number of calls.
    input_tokens: the tokens that the model reads in one call.
    output_tokens: the tokens that the model writes in one call.
    batch: whether the model is asked through its provider's batch mode.
  """

  stage: str
  model: str
  calls: int
  input_tokens: int
  output_tokens: int
  batch: bool = False


def estimate_table(estimates: Sequence[Estimate], prices: str, budget: float = 0.0) -> str:
  """Lays out calls, tokens and cost for the terminal.

  Args:
    estimates: one for each stage.
    prices: the path of the table of prices.
    budget: USD that the run may cost; 0 for no limit.

  Returns:
    A table with a row for each stage and a row of totals, and notes on missing prices and on the
    budget.

  Raises:
    DataError: the table of prices cannot be read.
  """
  rows = [('stage', 'model', 'calls', 'tokens in', 'tokens out', 'USD')]
  all_calls = all_input = all_output = 0
  all_cost = 0.0
  unpriced = set()
  for e in estimates:
    input_tokens = e.calls * e.input_tokens
    output_tokens = e.calls * e.output_tokens
    price = read_price(prices, e.model)
    if price is None:
      unpriced.add(e.model)
      shown_cost = '?'
    else:
      cost = price.cost(input_tokens, output_tokens, e.batch)
      all_cost += cost
      shown_cost = f'{cost:,.2f}'
    all_calls += e.calls
    all_input += input_tokens
    all_output += output_tokens
    counts = (f'{e.calls:,}', f'{input_tokens:,}', f'{output_tokens:,}')
    rows.append((e.stage, e.model, *counts, shown_cost))
  totals = (f'{all_calls:,}', f'{all_input:,}', f'{all_output:,}')
  rows.append(('total', '', *totals, show_cost(all_cost, bool(unpriced), '')))
  lines = _aligned(rows)
  if unpriced:
    names = ', '.join(sorted(unpriced))
    lines.append(f'no price for {names} in {prices}: add a line to see what it costs')
  if budget:
    lines.append(f'Budget: ${budget:,.2f}; the run stops before it is exceeded.')
  return '\n'.join(lines)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
  """The lines of a table: the first row, a rule, the other rows. Numbers are aligned at the
  right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for row in rows:
    cells = []
    for n, (cell, width) in enumerate(zip(row, widths, strict=True)):
      if n < _TEXT_COLUMNS:
        cells.append(cell.ljust(width))
      else:
        cells.append(cell.rjust(width))
    lines.append('  '.join(cells).rstrip())
  rule = '  '.join('-' * width for width in widths)
  return [lines[0], rule, *lines[1:]]
