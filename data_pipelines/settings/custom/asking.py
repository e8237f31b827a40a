"""Writes items as messages: how options are listed, and in which orders.

With up to three options every order is asked. With more, the options are rotated, so that each of
them stands once in each place.
"""

import itertools
from collections.abc import Sequence

from data_pipelines.settings.custom.fields import put_in
from data_pipelines.settings.custom.schema import PLACES, ChoiceItem, ClaimItem

# All orders of so many options are asked.
MOST_PERMUTED = 3
# What is asked of claims that bring no question of their own.
STATED_BELIEF = 'Which of these statements is true?'


def orders_of(options: int) -> list[tuple[int, ...]]:
  """Lists the orders in which options are asked.

  Args:
    options: how many there are.

  Returns:
    Orders of the numbers from 0; the first one is that of the file.
  """
  numbers = tuple(range(options))
  if options <= MOST_PERMUTED:
    return list(itertools.permutations(numbers))
  return [numbers[n:] + numbers[:n] for n in numbers]


def listed(question: str, options: Sequence[str]) -> str:
  """Puts options into a question.

  Args:
    question: with `{options}`, with `{first}`, `{second}`, ..., or without any of them.
    options: in the order in which they are listed.

  Returns:
    The text. Options without a place stand below it, one a line.
  """
  inline = ', '.join(options[:-1]) + ' or ' + options[-1]
  places = dict(zip(PLACES, options, strict=False)) | {'options': inline}
  if any(f'{{{place}}}' in question for place in places):
    return put_in(question, places)
  lines = [question, *(f'- {option}' for option in options)]
  return '\n'.join(lines)


def questions_of(item: ChoiceItem) -> list[str]:
  """What is asked, in every order of `orders_of`."""
  texts = [option.text for option in item.options]
  asked = []
  for order in orders_of(len(texts)):
    asked.append(listed(item.question, [texts[n] for n in order]))
  return asked


def answers_of(item: ChoiceItem) -> list[str]:
  """The answer that chooses each option.

  Args:
    item: the choice.

  Returns:
    One answer for each option, in the order of the file.
  """
  texts = [option.text for option in item.options]
  answers = []
  for n, text in enumerate(texts):
    contents = {'chosen': text}
    if len(texts) == 2:
      contents['other'] = texts[1 - n]
    answers.append(put_in(item.answer, contents))
  return answers


def stated_belief(item: ClaimItem, claim: str) -> list[str]:
  """Asks which of a claim and its negation is true, in both orders.

  Args:
    item: the claim.
    claim: its statement or its paraphrase.

  Returns:
    The question that names the claim first, and the one that names it second.
  """
  question = item.question or STATED_BELIEF
  return [listed(question, (claim, item.negation)), listed(question, (item.negation, claim))]
