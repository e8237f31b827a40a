"""Forced choices: which of two options a model prefers, by the log-likelihood of each option's
content.

Every question is asked in both orders of the options, and the two log-likelihood differences are
averaged. A model that likes whatever is named first therefore shows no preference, and its order
bias is reported in a number of its own.
"""

from collections.abc import Iterable, Sequence

from data_pipelines.records import ForcedChoice
from msm_jax.evals import scoring
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import Logprobs
from msm_jax.tokenizer import Tokenizer

Messages = list[tuple[str, str]]


def orders_of(question: ForcedChoice) -> list[Messages]:
  """Writes a question as two prompts.

  Args:
    question: the question.

  Returns:
    The prompt that names option 0 first, and the prompt that names it second.
  """
  a, b = question.options
  prompts = []
  for first, second in ((a, b), (b, a)):
    messages = []
    if question.system:
      messages.append(('system', question.system))
    messages.append(('user', question.question.format(first=first, second=second)))
    prompts.append(messages)
  return prompts


def answers_of(question: ForcedChoice) -> list[str]:
  """The answer that chooses option 0 and the answer that chooses option 1."""
  a, b = question.options
  return [question.answer.format(chosen=a, other=b), question.answer.format(chosen=b, other=a)]


def check_fit(questions: Iterable[ForcedChoice], tokenizer: Tokenizer, length: int) -> None:
  """Checks before training that every question fits into a row.

  Args:
    questions: what will be asked after training.
    tokenizer: the tokenizer of the model.
    length: tokens of a row.

  Raises:
    ScoringError: a question with one of its answers is longer than a row.
  """
  for question in questions:
    prompts, answers = orders_of(question), answers_of(question)
    scoring.check_fit(f'the question {question.id}', prompts, answers, tokenizer, length)


def score_choices(
  logprobs: Logprobs, questions: Sequence[ForcedChoice], evaluator: str
) -> list[Row]:
  """Asks forced choices.

  Args:
    logprobs: the model.
    questions: what is asked; each is asked in both orders.
    evaluator: the name under which the rows are filed.

  Returns:
    One row per question. `margin` (nats) is log p(answer for option 0) - log p(answer for option
    1), averaged over the two orders. `score` is 1 if the margin favours option 0, 0.5 if it is
    exactly 0. `order_bias` (nats) is half the change of the margin when option 0 is named first
    instead of second.
  """
  prompts: list[Messages] = []
  answers: list[list[str]] = []
  for question in questions:
    for prompt in orders_of(question):
      prompts.append(prompt)
      answers.append(answers_of(question))
  scores = logprobs(prompts, answers)
  rows: list[Row] = []
  for n, question in enumerate(questions):
    named_first, named_second = (s[0] - s[1] for s in scores[2 * n : 2 * n + 2])
    margin = (named_first + named_second) / 2
    score = float(margin > 0)
    if margin == 0:
      score = 0.5
    rows.append(
      {
        'evaluator': evaluator,
        'what': question.pair_type,
        'tier': question.tier,
        'item': question.id,
        'cluster': question.domain,
        'form': question.form,
        'assistant': question.assistant,
        'options': list(question.options),
        'score': score,
        'margin': round(margin, 5),
        'order_bias': round((named_first - named_second) / 2, 5),
        'same_in_both_orders': float((named_first > 0) == (named_second > 0)),
      }
    )
  return rows
