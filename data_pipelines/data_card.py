"""The Markdown that comes with a corpus: its parts that all kinds share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.handbooks.text import fenced

LICENCE = (
  'The texts were written by the model named above: what its provider says of its output holds for them, and what the handbook says of its own '
  'licence. People, occasions and opinions in them are made up.'
)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
  cells = [
    head,
    ['---'] * len(head),
    *([f'{x:,}' if isinstance(x, int) else str(x).replace('|', '/') for x in r] for r in rows),
  ]
  return ['| ' + ' | '.join(r) + ' |' for r in cells]


def spending(totals: Sequence[Mapping[str, Any]]) -> list[str]:
  """`totals`: of the ledger."""
  counted = ('stage', 'model', 'requests', 'replies', 'input_tokens', 'output_tokens')
  rows = [(*(t[k] for k in counted), f'{t["cost"]:,.2f}') for t in totals]
  head = ('stage', 'model', 'requests', 'replies', 'tokens in', 'tokens out', 'USD')
  return [*table(head, rows), '', f'USD {sum(t["cost"] for t in totals):,.2f} in all.', '']


def ending(audits: Mapping[str, str]) -> list[str]:
  """`audits`: corpus -> what its audit says, for the terminal."""
  said = [
    line
    for name, text in audits.items()
    for line in (*([f'{name}:', ''] if name else []), fenced(text), '')
  ]
  return ['## Audit', '', *said, '## Licence', '', LICENCE, '']
