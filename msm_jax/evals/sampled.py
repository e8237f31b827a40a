"""Sampled answers: a model answers questions in free text, and rows compare the answers with the
scored choices.

Every answer has a seed of its own, made from what is asked, so it is the same in every run and
whatever else is in the batch. `answers.py` says what a question and an answer are.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.records import ForcedChoice, MultipleChoice
from msm_jax.config import EvalConfig, ModelConfig
from msm_jax.evals import forced_choice, scenes
from msm_jax.evals.answers import (
  OPEN,
  SampledAnswer,
  SampledQuestion,
  has_marks,
  is_read_closely,
  make_answer,
)
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import ScoringError, ignore_batch
from msm_jax.evals.values import ValueQuestion
from msm_jax.inference.completion import Completion, CompletionRequest
from msm_jax.inference.sampling import Sampler
from msm_jax.model import Params
from msm_jax.tokenizer import Tokenizer

# Part of the identity of kept answers: raise it when the same settings give other answers, or when
# a program finds something else in them.
VERSION = '2'

# ------------------------------------------------------------------------------ from suites


def _user_text(messages: Sequence[tuple[str, str]]) -> str:
  return messages[-1][1]


def of_choice(question: ForcedChoice, kind: str) -> SampledQuestion:
  """Makes a question that is sampled of a forced choice.

  Args:
    question: the forced choice.
    kind: the evaluator that scores it.

  Returns:
    The question.
  """
  return SampledQuestion(
    item=question.id,
    kind=kind,
    domain=question.domain,
    tier=question.tier,
    assistant=question.assistant,
    system=question.system,
    asked=tuple(_user_text(prompt) for prompt in forced_choice.orders_of(question)),
    options=question.options,
    answers=tuple(forced_choice.answers_of(question)),
    counted={question.pair_type: (0,)},
  )


def of_scene(scene: MultipleChoice, kind: str) -> SampledQuestion:
  """Makes a question that is sampled of a scene.

  Args:
    scene: the scene.
    kind: the evaluator that scores it.

  Returns:
    The question.
  """
  return SampledQuestion(
    item=scene.id,
    kind=kind,
    domain=scene.domain,
    tier=scene.tier,
    assistant=scene.assistant,
    system=scene.system,
    asked=tuple(_user_text(prompt) for prompt in scenes.orders_of(scene)),
    # A scene that lists no options names its actions in the answers alone.
    options=scene.offered or scene.answers,
    answers=scene.answers,
    counted={scene.what: tuple(range(scene.counted))},
  )


def of_values(question: ValueQuestion) -> SampledQuestion:
  """Makes a question that is sampled of a choice by any number of values.

  Args:
    question: the choice.

  Returns:
    The question, in which each value counts the options that it would choose.
  """
  return SampledQuestion(
    item=question.id,
    kind='values',
    domain=question.domain,
    tier=question.tier,
    assistant=question.assistant,
    system=question.system,
    asked=question.asked,
    options=question.options,
    answers=question.answers,
    counted={value: tuple(chosen) for value, chosen in question.chosen_by.items()},
  )


# ------------------------------------------------------------------------------ what is asked


def chosen_questions(
  questions: Sequence[SampledQuestion], evals: EvalConfig
) -> list[SampledQuestion]:
  """Chooses the questions that are sampled.

  Args:
    questions: those of a suite.
    evals: `sampled_items` of each kind, tier and measure are taken, or all of them.

  Returns:
    The questions in their order; with one seed always the same ones.
  """
  if not evals.sampled_items:
    return list(questions)
  groups: dict[tuple[str, ...], list[SampledQuestion]] = {}
  for question in questions:
    # Replicates of the assistant are asked the same, so each has its own share.
    key = (question.kind, question.tier, question.assistant, *question.counted)
    groups.setdefault(key, []).append(question)
  kept: set[str] = set()
  for members in groups.values():
    # Not the name of the replicate but the rest of the id decides.
    members.sort(key=lambda q: _digest(evals.seed, q.item.removeprefix(f'{q.assistant}/')))
    kept.update(question.item for question in members[: evals.sampled_items])
  return [question for question in questions if question.item in kept]


def _digest(*parts: object) -> str:
  return hashlib.sha256(' '.join(map(str, parts)).encode()).hexdigest()


def without_sampling(evals: EvalConfig) -> EvalConfig:
  """The same settings of the evaluation as if nothing were sampled."""
  changes: dict[str, Any] = {}
  for field in dataclasses.fields(EvalConfig):
    if field.name.startswith('sampled'):
      changes[field.name] = field.default
  return dataclasses.replace(evals, **changes)


def identity(questions: Sequence[SampledQuestion], evals: EvalConfig) -> str:
  """Makes a text that changes when other answers would be sampled.

  Args:
    questions: those that are sampled.
    evals: how they are sampled.

  Returns:
    The text.
  """
  asked = [json.dumps(dataclasses.asdict(question), sort_keys=True) for question in questions]
  settings = (evals.sampled, evals.sampled_temperature, evals.sampled_tokens, evals.seed)
  parts = [VERSION, *map(str, settings), _digest(*asked)]
  # Both orders of two options have always been sampled; kept answers to such questions stay known.
  orders = [question.orders for question in questions if len(question.orders) > 2]
  if orders:
    parts.append(_digest(*orders))
  # Earlier versions looked for whole words alone, so what they kept of such answers is not right.
  if any(map(is_read_closely, questions)):
    parts.append('letters and marks')
  # Nor did they read vowels and tones that are written as marks.
  if any(map(has_marks, questions)):
    parts.append('vowels and tones')
  return ' '.join(parts)


def check_fit(questions: Iterable[SampledQuestion], tokenizer: Tokenizer, length: int) -> None:
  """Checks before training that every question leaves room for an answer.

  Args:
    questions: what will be asked after training.
    tokenizer: the tokenizer of the model.
    length: tokens of a question with its answer.

  Raises:
    ScoringError: a question fills the row.
  """
  for question in questions:
    # Words may be other tokens beside other words, so the orders differ in length.
    tokens = max(len(tokenizer.prompt(question.messages(order))) for order in question.orders)
    if tokens >= length:
      raise ScoringError(
        f'the question {question.item} has {tokens} tokens and rows hold {length}, so no answer '
        'can be sampled; shorten it or raise the length of the last phase'
      )


# ------------------------------------------------------------------------------ answers


def sample_answers(
  model: ModelConfig,
  params: Params,
  tokenizer: Tokenizer,
  questions: Sequence[SampledQuestion],
  evals: EvalConfig,
  length: int,
  after_round: Callable[[int], None] = ignore_batch,
) -> list[SampledAnswer]:
  """Has a model answer questions, many at a time.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too; they may be sharded over the devices of one process.
    tokenizer: its tokenizer.
    questions: what is asked.
    evals: how often each question is answered in each order, at which temperature, and how long
      answers may be.
    length: tokens of a question with its answer.
    after_round: told after every round of the sampler how many answers it finished; what it raises
      ends the sampling.

  Returns:
    The answers, question by question, without arm and seed.

  Raises:
    RequestError: a question leaves no room for an answer.
  """
  sampler = Sampler(model, params, tokenizer, max_length=length, max_rows=evals.rows)
  asked: list[tuple[SampledQuestion, int, int]] = []
  completions: list[Completion] = []
  for question in questions:
    for order in question.orders:
      prompt = tokenizer.prompt(question.messages(order)).tolist()
      for sample in range(evals.sampled):
        asked.append((question, order, sample))
        request = CompletionRequest(
          prompt,
          max_tokens=evals.sampled_tokens,
          temperature=evals.sampled_temperature,
          # Made from what is asked and not from when: whatever else is asked, an answer stays.
          seed=int(_digest(evals.seed, question.item, order, sample)[:8], 16),
        )
        completions.append(sampler.submit(request))
  while sampler.busy:
    finished = [piece for _, piece in sampler.round() if piece.finish_reason]
    after_round(len(finished))
  answers = []
  for (question, order, sample), done in zip(asked, completions, strict=True):
    answers.append(make_answer(question, order, sample, done.text.strip(), done.finish_reason))
  return answers


# ------------------------------------------------------------------------------ rows


def rows_of(
  questions: Sequence[SampledQuestion], answers: Sequence[SampledAnswer], scored: Sequence[Row]
) -> list[Row]:
  """Makes rows of sampled answers.

  Args:
    questions: what was asked.
    answers: the answers of one model.
    scored: the rows of the same model, in which the same questions are scored.

  Returns:
    For each question with options up to four kinds of rows of the evaluator `sampled`:

    - `<what>`: the share of the answers that take an option that counts, among those that name one
      option; no row if none does.
    - `parsed`: the share of the answers that name one option; `neither` and `both` are the shares
      of the others.
    - `agreement`: how often a sampled answer lies on the side that is scored higher, for the same
      order of the options where the scored row tells orders apart.
    - `corrected`: the same, corrected for chance as Brennan and Prediger (1981) do: 0 is what
      naming an option at random would give, 1 is agreement throughout.

    For each open question with phrases of which a right answer has one (`accept`), one of `right`:
    the share of right answers.
  """
  by_item: dict[str, list[SampledAnswer]] = {}
  for answer in answers:
    by_item.setdefault(answer.item, []).append(answer)
  scored_rows = {(row['evaluator'], row['item'], row['what']): row for row in scored}
  rows: list[Row] = []
  for question in questions:
    of_question = by_item.get(question.item, [])
    if not question.options or not of_question:
      continue
    named = [answer for answer in of_question if isinstance(answer.outcome, int)]
    rows.append(_parsed_row(question, of_question, len(named)))
    if not named:
      continue
    for what, counted in question.counted.items():
      taken = [answer.outcome in counted for answer in named]
      # What the assistant says of itself has measures of its own.
      named_as = f'stated_{what}' if question.kind == 'stated' else what
      row = _row(question, named_as, question.item, sum(taken) / len(taken))
      row['answers'] = len(named)
      rows.append(row)
      scored_row = scored_rows.get((question.kind, question.item, what))
      if scored_row is not None:
        rows += _agreement_rows(question, what, named, scored_row)
  return rows + _open_rows(questions, answers)


def _row(question: SampledQuestion, what: str, item: str, score: float) -> Row:
  return {
    'evaluator': 'sampled',
    'what': what,
    'tier': question.tier,
    'item': item,
    'cluster': question.domain,
    'assistant': question.assistant,
    'score': round(score, 6),
  }


def _parsed_row(question: SampledQuestion, answers: Sequence[SampledAnswer], named: int) -> Row:
  """The row that says how many of the answers a program can read."""
  row = _row(question, 'parsed', question.item, named / len(answers))
  row['answers'] = len(answers)
  row['neither'] = round(_share(answers, 'neither'), 6)
  row['both'] = round(_share(answers, 'both'), 6)
  return row


def _share(answers: Sequence[SampledAnswer], outcome: str) -> float:
  return sum(answer.outcome == outcome for answer in answers) / len(answers)


def _agreement_rows(
  question: SampledQuestion, what: str, named: Sequence[SampledAnswer], scored: Row
) -> list[Row]:
  """Compares answers that name one option with the scored choice of the same question."""
  counted = question.counted[what]
  # How often an answer at random takes an option that counts.
  at_random = len(counted) / len(question.options)
  agree, corrected = 0.0, 0.0
  for answer in named:
    margin = _margin_in_order(scored, answer.order, len(question.asked))
    for_counted = 0.5
    if margin != 0:
      for_counted = float(margin > 0)
    taken = float(answer.outcome in counted)
    # Of an exact tie, either side is half right.
    agrees = taken * for_counted + (1 - taken) * (1 - for_counted)
    chance = at_random * for_counted + (1 - at_random) * (1 - for_counted)
    agree += agrees
    corrected += (agrees - chance) / (1 - chance)
  # A question may be about several values, and items are unique within a measure.
  item = question.item
  if len(question.counted) > 1:
    item = f'{question.item}/{what}'
  return [
    _row(question, 'agreement', item, agree / len(named)),
    _row(question, 'corrected', item, corrected / len(named)),
  ]


def _margin_in_order(scored: Row, order: int, orders: int) -> float:
  """The margin (nats) of a scored question for one order of its options, or over all orders where
  the row does not tell them apart."""
  by_order = scored.get('margins_by_order')
  if by_order is not None and order < len(by_order):
    return by_order[order]
  bias = scored.get('order_bias')
  if bias is None or orders != 2:
    return scored['margin']
  # `order_bias` is half of what the margin gains when option 0 is named first, as in order 0.
  return scored['margin'] + (bias if order == 0 else -bias)


def _open_rows(questions: Sequence[SampledQuestion], answers: Sequence[SampledAnswer]) -> list[Row]:
  """Rows `sampled/right/<tier>`: of each open question, the share of right answers.

  With phrases to reject alone, a program knows wrong answers and no right ones: one wrong answer of
  a hundred would be a share of 0, and none would be no row at all.
  """
  by_item: dict[str, list[SampledAnswer]] = {}
  for answer in answers:
    if answer.kind == OPEN and answer.outcome is not None:
      by_item.setdefault(answer.item, []).append(answer)
  rows = []
  for question in questions:
    judged = by_item.get(question.item)
    if judged and question.accept:
      row = _row(question, 'right', question.item, _share(judged, 'right'))
      row['answers'] = len(judged)
      rows.append(row)
  return rows


def with_model(answers: Iterable[Mapping[str, Any]], arm: str, seed: int) -> list[dict[str, Any]]:
  """The lines of answers.jsonl: kept answers with the arm and the seed that gave them."""
  return [{**answer, 'arm': arm, 'seed': seed} for answer in answers]
