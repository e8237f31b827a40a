"""Rows: one line of `results.jsonl` for each arm, seed, evaluator and item.

`docs/schemas.md` describes every key. Rows are plain dicts with typed keys, because they are
written to disk as they are and read again by programs that do not know this package.
"""

import json
from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict


class Row(TypedDict):
  """One measured number.

  The keys `evaluator`, `what` and `tier` name the measure; `score` is its value for one `item`. The
  other keys are there where an evaluator has them.
  """

  # Which evaluator made the row: preferences, personas, conduct, conversations, agents, recall,
  # consistency, perplexity.
  evaluator: str
  # What it measured: 'conflict', 'misaligned', 'value' ...
  what: str
  # Which kind of items: 'new_domains', 'reworded', 'trained' ...
  tier: str
  # Identity of the item, unique within its measure.
  item: str
  # Items of one cluster (a domain, a kind of scene) are dependent; intervals respect that.
  cluster: str
  # The value: a share from 0 to 1; for perplexity nats per token.
  score: float
  # The arm and the seed of the experiment; the experiment adds them to what an evaluator gives.
  arm: NotRequired[str]
  seed: NotRequired[int]
  # The wording of the question.
  form: NotRequired[str]
  # The replicate of the assistant that was asked.
  assistant: NotRequired[str]
  # The names of the options of a forced choice.
  options: NotRequired[list[str]]
  # Difference of log-likelihoods (nats) between the first option and the other one.
  margin: NotRequired[float]
  # Half the change of the margin (nats) when the first option is named first.
  order_bias: NotRequired[float]
  # 1.0 if the choice is the same in both orders of two options.
  same_in_both_orders: NotRequired[float]
  # 1.0 if no other action of the scene is likelier than the first.
  likeliest: NotRequired[float]
  # 1.0 if the likeliest action is the same in all orders of listing the actions.
  same_in_all_orders: NotRequired[float]
  # Tokens that a mean of nats is taken over.
  tokens: NotRequired[int]


def measure_of(row: Row) -> str:
  """The name of a row's measure: 'evaluator/what/tier'."""
  return f'{row["evaluator"]}/{row["what"]}/{row["tier"]}'


def to_lines(rows: Iterable[Row]) -> str:
  """The rows as text of a JSONL file."""
  return ''.join(json.dumps(row) + '\n' for row in rows)


def mean_score(rows: Sequence[Row]) -> float:
  """The mean of the rows' scores; every row weighs the same."""
  return sum(row['score'] for row in rows) / len(rows)
