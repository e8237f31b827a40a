"""How answers to questions about kinds of things and about criteria depend on their wording.

The questions are in data_pipelines/settings/english/kinds.py.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english.kinds import BOTH_WAYS, CRITERIA, KINDS, OPPOSITE
from msm_jax.evals.answers import SampledQuestion
from msm_jax.evals.rows import Row

# The tiers whose questions are told apart by their wording.
TIERS = (CRITERIA, KINDS, *OPPOSITE.values(), *BOTH_WAYS.values())


def by_wording(rows: Iterable[Row]) -> list[Row]:
  """Makes the wording the cluster of rows about kinds and criteria.

  How a model answers these questions depends more on the wording than on the domain.

  Args:
    rows: of one model.

  Returns:
    All rows, in their order.
  """
  out = []
  for row in rows:
    if row['tier'] in TIERS:
      row['cluster'] = row['form']
    out.append(row)
  return out


def both_ways(rows: Sequence[Row]) -> list[Row]:
  """Joins the answers to questions about kinds and criteria with those to the opposite questions.

  Documents about prices make words about prices likelier, whatever is asked. Such a change adds as
  much to the margin of what matters less as to that of what matters more. It cancels here; only
  what depends on the question is left.

  Args:
    rows: of one model, before the wording is their cluster; those of other tiers do not matter.

  Returns:
    Rows of the tiers `BOTH_WAYS`: `margin` is half of the difference of the two margins, and
    `score` is 1 if it is above zero.
  """

  def asked_about(row: Row) -> tuple[Any, ...]:
    options = tuple(row['options'])
    return row['evaluator'], row['what'], row['assistant'], row['cluster'], row['form'], options

  opposites = {}
  for row in rows:
    if row['tier'] in OPPOSITE.values():
      opposites[row['tier'], asked_about(row)] = row['margin']
  out: list[Row] = []
  for row in rows:
    if row['tier'] not in BOTH_WAYS:
      continue
    margin = (row['margin'] - opposites[OPPOSITE[row['tier']], asked_about(row)]) / 2
    # The bias of orders is left out: it belongs to one question.
    out.append(
      {
        'evaluator': row['evaluator'],
        'what': row['what'],
        'tier': BOTH_WAYS[row['tier']],
        'item': row['item'],
        'cluster': row['cluster'],
        'form': row['form'],
        'assistant': row['assistant'],
        'options': row['options'],
        'score': 0.5 if margin == 0 else float(margin > 0),
        'margin': round(margin, 5),
      }
    )
  return out


def sampled_by_wording(
  sampled: Iterable[SampledQuestion], stated: Iterable[ForcedChoice]
) -> list[SampledQuestion]:
  """Makes the wording the cluster of sampled answers about criteria, as it is that of scored ones.

  Args:
    sampled: the questions that may be sampled.
    stated: the questions about criteria, and others.

  Returns:
    All of `sampled`, in their order.
  """
  wordings = {question.id: question.form for question in stated if question.tier == CRITERIA}
  out = []
  for question in sampled:
    # Answers of one domain, as sampling calls it, are one cluster.
    cluster = wordings.get(question.item, question.domain)
    out.append(dataclasses.replace(question, domain=cluster))
  return out


def summarize_wordings(
  rows: Sequence[Row], named: Mapping[str, Sequence[str]], asked: Sequence[ForcedChoice]
) -> dict[str, Any]:
  """Says how much an effect owes to single wordings.

  A model that chooses by a value does so in most wordings. A mean over wordings that point in
  different directions says little, however many questions it is taken over.

  Args:
    rows: of all arms and seeds.
    named: effect -> its two or four arms.
    asked: the questions.

  Returns:
    `examples`: what -> wording -> the first question in this wording; `effects`: effect -> what ->
    wording -> for every seed, in their order, the effect's margin in nats, a mean over questions.
    `what` is 'PAIR TYPE/TIER'. Nothing if no arm was asked.
  """
  of_arms: dict[tuple[str, str, str], dict[int, list[float]]] = {}
  for row in rows:
    # Rows of sampled answers have no margin.
    if row['tier'] in TIERS and 'margin' in row:
      key = (row['arm'], f'{row["what"]}/{row["tier"]}', row['form'])
      by_seed = of_arms.setdefault(key, defaultdict(list))
      by_seed[row['seed']].append(row['margin'])
  if not of_arms:
    return {}
  # (arm, what, wording) -> the mean of every seed.
  means_S = {}
  for key, by_seed in of_arms.items():
    means_S[key] = np.array([np.mean(by_seed[seed]) for seed in sorted(by_seed)])

  examples: dict[str, dict[str, str]] = {}
  for question in asked:
    if question.tier not in TIERS:
      continue
    first, second = question.options
    text = question.question.format(first=first, second=second)
    _add_example(examples, question, question.tier, text)
    if question.tier in BOTH_WAYS:
      _add_example(examples, question, BOTH_WAYS[question.tier], f'{text} (asked both ways)')
  effects: dict[str, dict[str, dict[str, list[float]]]] = {}
  for name, arms in named.items():
    effects[name] = {}
    for what, of_what in examples.items():
      found = {}
      for wording in sorted(of_what):
        keys = [(arm, what, wording) for arm in arms]
        if all(key in means_S for key in keys):
          nats_S = _difference([means_S[key] for key in keys])
          found[wording] = [round(nats, 5) for nats in nats_S.tolist()]
      if found:
        effects[name][what] = found
  return {'examples': examples, 'effects': effects}


def _add_example(
  examples: dict[str, dict[str, str]], question: ForcedChoice, tier: str, text: str
) -> None:
  """Adds the text of a question, unless there is one in its wording."""
  of_what = examples.setdefault(f'{question.pair_type}/{tier}', {})
  of_what.setdefault(question.form, text)


def _difference(of_arms: Sequence[np.ndarray]) -> np.ndarray:
  """The first of two arms minus the second; of four, the difference of two differences."""
  difference = of_arms[0] - of_arms[1]
  if len(of_arms) == 2:
    return difference
  return difference - (of_arms[2] - of_arms[3])
