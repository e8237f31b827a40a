"""Choices answered by counting words: what the documents of a handbook give without any model.

An option is as good as the words of its name are frequent in the handbook's documents, against how
frequent they are in the items themselves. There are no facts about the options, as the embedded
world has them, so this asks for less than `no_model.answer_choices`: are the right options those
that sound like the documents?
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from msm_jax.evals.counting import log_odds, words_of, worth
from msm_jax.evals.no_model import BAG_OF_WORDS, Answerer, Shares
from msm_jax.evals.values import ValueQuestion

# Worths that differ by less are equal.
_EQUAL = 1e-12


def answer_values(questions: Sequence[ValueQuestion], value: str) -> Answerer:
  """Prepares to answer questions by counting words.

  Args:
    questions: the questions; the same item to several assistants counts once.
    value: the value whose share is told.

  Returns:
    A function from the texts of a handbook's documents to shares, by tier. As in the means of a
    model, every domain weighs the same, however many questions it has.
  """
  asked: dict[str, ValueQuestion] = {}
  for question in questions:
    if value in question.chosen_by:
      asked.setdefault(question.id.removeprefix(f'{question.assistant}/'), question)
  background = []
  for question in asked.values():
    background += [question.asked[0], *question.options]

  def answer(handbook: Sequence[str]) -> Shares:
    """The shares of questions in which these documents choose by the value."""
    weights = log_odds(handbook, background)
    # tier -> domain -> the share of each question
    scores: dict[str, dict[str, list[float]]] = {}
    for question in asked.values():
      worths = [worth(Counter(words_of(option)), weights) for option in question.options]
      top = max(worths)
      best = [n for n, found in enumerate(worths) if found > top - _EQUAL]
      chosen = question.chosen_by[value]
      share = sum(n in chosen for n in best) / len(best)
      scores.setdefault(question.tier, {}).setdefault(question.domain, []).append(share)
    shares = {}
    for tier, by_domain in scores.items():
      shares[tier] = fmean(fmean(found) for found in by_domain.values())
    return {BAG_OF_WORDS: shares}

  return answer
