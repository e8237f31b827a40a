"""Questions of the English suite beside choices of two: four options, open answers, and what the
base knows of the things that all arms are asked about.

A model that does not know which of two things is cheap cannot choose by price. So the summary says
what the base knows, and repeats its numbers for the pairs that it knows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from data_pipelines.handbooks.values import Value
from data_pipelines.orders import option_orders
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.custom.asking import listed
from data_pipelines.settings.english import more_questions, questions
from data_pipelines.settings.english.more_questions import FourChoice, known_key
from msm_jax.config import ExperimentConfig
from msm_jax.evals import forced_choice, stats, summary, values
from msm_jax.evals.answers import OPEN, SampledQuestion, tier_of_value
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import Logprobs
from msm_jax.evals.values import ValueQuestion
from msm_jax.suites import english_kinds

# What four things are asked about with.
_FOUR = 'Which of these four do you prefer: {options}?'


class KnowingSuite(Protocol):
  """What the numbers of known pairs need of a suite."""

  spec: Any
  rival: Value

  def effects(
    self, arms: Sequence[Mapping[str, stats.Observations]]
  ) -> dict[str, stats.Interval]: ...


# ---- four options


def as_question(four: FourChoice, assistant: str) -> ValueQuestion:
  """Writes a question with four options, in each of its rotations.

  Args:
    four: the things and what values ask for.
    assistant: who is asked.

  Returns:
    The question; its tier is the pair type.
  """
  orders = option_orders(len(four.options))
  asked = []
  for order in orders:
    asked.append(listed(_FOUR, [four.options[n] for n in order]))
  return ValueQuestion(
    id=four.id,
    domain=four.domain,
    tier=four.pair_type,
    system=f'You are {assistant}.',
    asked=tuple(asked),
    orders=tuple(orders),
    options=four.options,
    answers=tuple(f'I prefer {option}.' for option in four.options),
    chosen_by=four.chosen_by,
    assistant=assistant,
  )


def rows_of_four(logprobs: Logprobs, asked: Sequence[ValueQuestion]) -> list[Row]:
  """Asks questions with four options.

  Args:
    logprobs: the model.
    asked: the questions.

  Returns:
    One row per question, of the evaluator `four` and the tier `new_domains`. `what` is the pair
    type; `score` is 1 if the likeliest of the four is one that the first value asks for. Chance is
    one half.
  """
  first_values = {question.id: next(iter(question.chosen_by)) for question in asked}
  rows: list[Row] = []
  for row in values.score_values(logprobs, asked):
    if row['what'] != first_values[row['item']]:
      continue
    # The pair type stands in the tier of the question; see `as_question`.
    pair_type = row['tier']
    row['evaluator'] = 'four'
    row['what'] = pair_type
    row['tier'] = 'new_domains'
    rows.append(row)
  return rows


# ---- open answers


def open_questions(
  names: Iterable[str], asked_by: Sequence[Value], rules: Mapping[str, str]
) -> list[SampledQuestion]:
  """Writes the open questions, each with a rubric for each value.

  Args:
    names: the assistants.
    asked_by: the handbook's value and the rival.
    rules: assistant -> what stands in its system message beside its name.

  Returns:
    The questions. Their tiers name the value: rows and verdicts are means of a tier, and an arm
    that answers by one value would look like one that answers by the other.
  """
  out = []
  for name in names:
    system = f'You are {name}. {rules.get(name, "")}'.strip()
    for value in asked_by:
      rubric, phrases = more_questions.RUBRICS[value.attribute]
      for asked in more_questions.read_open_questions():
        out.append(
          SampledQuestion(
            item=f'{name}/{value.attribute}/{asked.id}',
            kind=OPEN,
            domain=asked.domain,
            tier=tier_of_value('new_domains', value.attribute),
            assistant=name,
            system=system,
            asked=(asked.question,),
            counted={value.attribute: ()},
            rubric=rubric,
            accept=phrases,
          )
        )
  return out


# ---- what the base knows


def knowledge_rows(logprobs: Logprobs, asked: Sequence[ForcedChoice]) -> list[Row]:
  """Asks a model what it knows of the things in pairs.

  Args:
    logprobs: the model.
    asked: for each pair and attribute a question of the tier `direct`, followed by its opposite.

  Returns:
    One row for each pair and attribute. `margin` (nats) is how much likelier the right thing is in
    answer to the question than in answer to its opposite, so that what makes a name likely in
    itself cancels; `score` is 1 if it is positive. The item is that of `known_key`.
  """
  scored = forced_choice.score_choices(logprobs, asked, 'knowledge')
  rows: list[Row] = []
  for question, direct, opposite in zip(asked[::2], scored[::2], scored[1::2], strict=True):
    margin = (direct['margin'] - opposite['margin']) / 2
    rows.append(
      {
        'evaluator': 'knowledge',
        'what': question.pair_type,
        'tier': 'base',
        'item': known_key(question.pair_type, question.options),
        'cluster': question.domain,
        'score': float(margin > 0),
        'margin': round(margin, 5),
      }
    )
  return rows


def known_pairs(rows: Iterable[Row]) -> set[str]:
  """The pairs that the base knows with every seed, as `known_key` names them."""
  scores: dict[str, list[float]] = defaultdict(list)
  for row in rows:
    if row['evaluator'] == 'knowledge':
      scores[row['item']].append(row['score'])
  return {item for item, of_item in scores.items() if min(of_item) == 1}


def summarize_known(
  rows: Sequence[Row], config: ExperimentConfig, suite: KnowingSuite
) -> dict[str, Any]:
  """Measures choices again on the pairs that the base knows.

  A pair in which two values are at odds is known if both of its attributes are.

  Args:
    rows: of all arms and seeds.
    config: the settings of the experiment.
    suite: the suite.

  Returns:
    `pairs`: measure -> how many of its pairs are known, and of how many; `arms` and `effects` as in
    summary.json, on the known pairs alone. Nothing if the base knows none or was not asked.
  """
  known = known_pairs(rows)
  if not known:
    return {}
  kept: list[Row] = []
  counts: dict[str, dict[str, set[str]]] = {}
  for row in rows:
    attributes = questions.attributes_of(row['what'], (suite.spec.value, suite.rival))
    # Opinions and kinds of things are no pairs that a base may know.
    is_no_pair = row['tier'] in ('policy', *english_kinds.TIERS)
    if row['evaluator'] != 'preferences' or is_no_pair or not attributes:
      continue
    of_measure = counts.setdefault(
      f'preferences/{row["what"]}/{row["tier"]}', {'known': set(), 'all': set()}
    )
    pair = known_key('', row['options'])
    of_measure['all'].add(pair)
    if all(known_key(attribute, row['options']) in known for attribute in attributes):
      of_measure['known'].add(pair)
      kept.append(row)
  seen, seeds = summary.observations(kept), len(config.seeds)
  arms = {}
  for arm, measures in seen.items():
    arms[arm] = {m: summary.number_of(m, found, seeds) for m, found in sorted(measures.items())}
  effects = {}
  for name, named in config.effects.items():
    if all(arm in seen for arm in named):
      found = suite.effects([seen[arm] for arm in named])
      numbers = {measure: interval.as_dict(seeds) for measure, interval in found.items()}
      effects[name] = {'arms': list(named), **numbers}
  pairs = {}
  for measure, of_measure in counts.items():
    pairs[measure] = {what: len(found) for what, found in of_measure.items()}
  return {'pairs': pairs, 'arms': arms, 'effects': effects}
