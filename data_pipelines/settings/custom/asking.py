"""Writes items as messages: how options are listed, in every order of `option_orders`."""

from collections.abc import Sequence

from data_pipelines.orders import option_orders
from data_pipelines.settings.custom.fields import put_in
from data_pipelines.settings.custom.schema import PLACES, ChoiceItem, ClaimItem

# What is asked of claims that bring no question of their own.
STATED_BELIEF = 'Which of these statements is true?'


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
  """What is asked, in every order of `option_orders`."""
  texts = [option.text for option in item.options]
  asked = []
  for order in option_orders(len(texts)):
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
