"""Rows: one line of `results.jsonl` for each arm, seed, evaluator and item.

`docs/schemas.md` describes every key. Rows are plain dicts with typed keys, because they are
written to disk as they are and read again by programs that do not know this package.
"""

import json
from collections.abc import Iterable
from typing import NotRequired, TypedDict

# The evaluators whose margins are measures of their own.
_WITH_MARGINS = ('preferences', 'conduct', 'stated', 'values', 'claims')


class Row(TypedDict):
  """One measured number.

  The keys `evaluator`, `what` and `tier` name the measure; `score` is its value for one `item`. The
  other keys are there where an evaluator has them.
  """

  # Which evaluator made the row: preferences, values, claims, personas, conduct, conversations,
  # agents, recall, stated, consistency, perplexity, sampled, agentic; in English four, knowledge.
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
  # Of rows on the way of an arm's last phase: the phase, and after how many of its updates.
  phase: NotRequired[str]
  update: NotRequired[int]
  # The wording of the question.
  form: NotRequired[str]
  # The replicate of the assistant that was asked.
  assistant: NotRequired[str]
  # The names of the options of a forced choice.
  options: NotRequired[list[str]]
  # How much the first option is preferred, in nats: the difference of log-likelihoods of two
  # options; of a scene the log-odds of its first action.
  margin: NotRequired[float]
  # Half the change of the margin (nats) when the first option is named first.
  order_bias: NotRequired[float]
  # 1.0 if the choice is the same in both orders of two options.
  same_in_both_orders: NotRequired[float]
  # 1.0 if no other action of the scene is likelier than the first.
  likeliest: NotRequired[float]
  # 1.0 if the likeliest action is the same in all orders of listing the actions.
  same_in_all_orders: NotRequired[float]
  # What the score would be if the answer were drawn at random.
  chance: NotRequired[float]
  # The number of the likeliest option, from 0, in the order of the items' file.
  choice: NotRequired[int]
  # The margin (nats) in each order of listing the options.
  margins_by_order: NotRequired[list[float]]
  # Questions of one group are wordings of one question.
  group: NotRequired[str]
  # Between these lie 95% of the consistencies of a model that draws its answers to these questions.
  chance_low: NotRequired[float]
  chance_high: NotRequired[float]
  # How many sampled answers a share is taken over; of all of them, the shares that name no option
  # and several.
  answers: NotRequired[int]
  neither: NotRequired[float]
  both: NotRequired[float]
  # Tokens that a mean of nats is taken over.
  tokens: NotRequired[int]


def measure_of(row: Row) -> str:
  """The name of a row's measure: 'evaluator/what/tier'."""
  return f'{row["evaluator"]}/{row["what"]}/{row["tier"]}'


def margin_measure_of(row: Row) -> str | None:
  """The measure that a row's margin belongs to, beside the measure of its share.

  Args:
    row: a row.

  Returns:
    'margin/what/tier'; None for rows without a margin, and for evaluators that check a model
    instead of asking what a handbook made of it.
  """
  if row['evaluator'] not in _WITH_MARGINS or row.get('margin') is None:
    return None
  return f'margin/{row["what"]}/{row["tier"]}'


def is_in_nats(measure: str) -> bool:
  """Whether a measure is a mean of nats, which alone can have an interval (`stats.py` says why).

  The others are shares, or bounded as shares are: agreements, for instance.
  """
  return measure.startswith(('margin/', 'perplexity/'))


def to_lines(rows: Iterable[Row]) -> str:
  """The rows as text of a JSONL file."""
  return ''.join(json.dumps(row) + '\n' for row in rows)
