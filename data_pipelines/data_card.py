"""The parts of a corpus's data card (datacard.md) that all kinds of corpora share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.handbooks.text import fenced
from data_pipelines.llm.costs import show_cost

LICENCE = (
  'The texts were written by the model named above: what its provider says of its output holds '
  'for them, and what the handbook says of its own licence. People, occasions and opinions in '
  'them are made up.'
)


def _cell(value: Any) -> str:
  """A value in a table: whole numbers with commas, and no bar, which would end the cell."""
  if isinstance(value, int):
    return f'{value:,}'
  return str(value).replace('|', '/')


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
  """The lines of a Markdown table."""
  cells = [list(head), ['---'] * len(head)]
  for row in rows:
    cells.append([_cell(value) for value in row])
  return ['| ' + ' | '.join(row) + ' |' for row in cells]


def spending(totals: Sequence[Mapping[str, Any]]) -> list[str]:
  """Lays out what the calls cost.

  Args:
    totals: the rows that `Ledger.totals` gives; a cost of None is unknown.

  Returns:
    The lines of a table and of a sentence with the sum.
  """
  counts = ('stage', 'model', 'requests', 'replies', 'input_tokens', 'output_tokens')
  rows = []
  cost = 0.0
  unpriced = False
  for total in totals:
    # The counts of a stage whose price is unknown are known all the same.
    unknown = total['cost'] is None
    unpriced = unpriced or unknown
    cost += total['cost'] or 0.0
    rows.append([*(total[name] for name in counts), show_cost(total['cost'] or 0.0, unknown, '')])
  head = ('stage', 'model', 'requests', 'replies', 'tokens in', 'tokens out', 'USD')
  return [*table(head, rows), '', f'USD {show_cost(cost, unpriced, "")} in all.', '']


def ending(audits: Mapping[str, str]) -> list[str]:
  """Makes the last sections: audit and licence.

  Args:
    audits: for each corpus, what its audit says for the terminal; a single corpus may have the
      name ''.

  Returns:
    The lines of the sections.
  """
  lines = ['## Audit', '']
  for name, text in audits.items():
    if name:
      lines += [f'{name}:', '']
    lines += [fenced(text), '']
  return [*lines, '## Licence', '', LICENCE, '']
