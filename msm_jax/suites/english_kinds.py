"""Choices between kinds of things: asking for them, and how they differ between wordings.

The questions are in data_pipelines/settings/english/kinds.py.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english.kinds import KINDS
from msm_jax.evals import forced_choice
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import Logprobs


def rows_of_kinds(logprobs: Logprobs, asked: Sequence[ForcedChoice]) -> list[Row]:
  """Asks for choices between kinds of things.

  Args:
    logprobs: the model.
    asked: the questions.

  Returns:
    One row per question, of the evaluator `preferences`. How a model chooses depends more on the
    wording than on the domain, so the wording is the cluster.
  """
  rows = forced_choice.score_choices(logprobs, asked, 'preferences')
  for row in rows:
    row['cluster'] = row['form']
  return rows


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
    `examples`: pair type -> wording -> the two options of its first question; `effects`: effect ->
    pair type -> wording -> the effect's margin in nats, a mean over questions and then over seeds.
    Nothing if no arm was asked.
  """
  of_arms: dict[tuple[str, str, str], dict[int, list[float]]] = {}
  for row in rows:
    if row['evaluator'] == 'preferences' and row['tier'] == KINDS:
      by_seed = of_arms.setdefault((row['arm'], row['what'], row['form']), defaultdict(list))
      by_seed[row['seed']].append(row['margin'])
  if not of_arms:
    return {}
  means = {}
  for key, by_seed in of_arms.items():
    means[key] = float(np.mean([np.mean(margins) for margins in by_seed.values()]))

  examples: dict[str, dict[str, list[str]]] = {}
  for question in asked:
    of_type = examples.setdefault(question.pair_type, {})
    of_type.setdefault(question.form, list(question.options))
  effects: dict[str, dict[str, dict[str, float]]] = {}
  for name, arms in named.items():
    effects[name] = {}
    for pair_type, of_type in examples.items():
      found = {}
      for wording in sorted(of_type):
        keys = [(arm, pair_type, wording) for arm in arms]
        if all(key in means for key in keys):
          found[wording] = round(_difference([means[key] for key in keys]), 5)
      effects[name][pair_type] = found
  return {'examples': examples, 'effects': effects}


def _difference(of_arms: Sequence[float]) -> float:
  """The first of two arms minus the second; of four, the difference of two differences."""
  difference = of_arms[0] - of_arms[1]
  if len(of_arms) == 2:
    return difference
  return difference - (of_arms[2] - of_arms[3])
