"""Forced choice by the log-likelihood of each option's content, in both orders of asking; and how consistent the choices are."""

from collections.abc import Iterable, Sequence
from typing import Any

from data_pipelines.records import ForcedChoice
from msm_jax.evals.scoring import Logprobs, ScoringError
from msm_jax.tokenizer import Tokenizer

Row = dict[str, Any]


def _both_orders(q: ForcedChoice) -> list[tuple[list[tuple[str, str]], list[str]]]:
  """(prompt, [answer for option 0, answer for option 1]), option 0 named first and second."""
  a, b = q.options
  system = [('system', q.system)] if q.system else []
  answers = [q.answer.format(chosen=a, other=b), q.answer.format(chosen=b, other=a)]
  return [
    ([*system, ('user', q.question.format(first=x, second=y))], answers)
    for x, y in ((a, b), (b, a))
  ]


def check_fit(questions: Iterable[ForcedChoice], tokenizer: Tokenizer, length: int) -> None:
  """Raises ScoringError if a question does not fit into a row: looked at before training, asked after it."""
  for q in questions:
    prompt, answers = _both_orders(q)[0]
    need = (
      max(
        len(tokenizer.render_chat([*prompt, ('assistant', a)], continues=True)[0]) for a in answers
      )
      - 1
    )
    if need > length:
      raise ScoringError(
        f'the question {q.id} has {need} tokens and rows hold {length}; shorten it or raise the length of the last phase'
      )


def score_choices(
  logprobs: Logprobs, questions: Sequence[ForcedChoice], evaluator: str
) -> list[Row]:
  """One row per question.

  `margin` (nats) is log p(answer for option 0) - log p(answer for option 1), averaged over the two orders; `score` is 1 if it favours
  option 0. `order_bias` is half the change of the margin when option 0 is named first.
  """
  prompts, answers = (
    zip(*(asked for q in questions for asked in _both_orders(q)), strict=True)
    if questions
    else ((), ())
  )
  scores = logprobs(prompts, answers)
  rows = []
  for n, q in enumerate(questions):
    named_first, named_second = (s[0] - s[1] for s in scores[2 * n : 2 * n + 2])
    margin = (named_first + named_second) / 2
    rows.append({
      'evaluator': evaluator, 'what': q.pair_type, 'tier': q.tier, 'item': q.id, 'cluster': q.domain, 'form': q.form,
      'assistant': q.assistant, 'options': list(q.options),
      'score': 0.5 if margin == 0 else float(margin > 0), 'margin': round(margin, 5), 'order_bias': round((named_first - named_second) / 2, 5),
      'same_in_both_orders': float((named_first > 0) == (named_second > 0)),
    })  # fmt: skip
  return rows


def consistency(rows: Iterable[Row]) -> list[Row]:
  """From the rows of the conflict pairs: does the choice survive another order, other words, another domain?

  `order`: same choice in both orders. `wording`: same choice on the same pair when reworded. `domains`: the domain's majority is the
  majority over all domains. Each assistant is compared with itself.
  """
  conflict = [r for r in rows if r['what'] == 'conflict']
  return [
    x
    for who in sorted({r['assistant'] for r in conflict})
    for x in _consistency([r for r in conflict if r['assistant'] == who], who)
  ]


def _consistency(conflict: list[Row], assistant: str) -> list[Row]:
  usual = {tuple(r['options']): r for r in conflict if r['tier'] == 'new_domains'}
  out = []

  def add(what: str, r: Row, score: bool) -> None:
    out.append(
      {
        'evaluator': 'consistency',
        'what': what,
        'tier': 'new_domains',
        'item': r['item'],
        'cluster': r['cluster'],
        'score': float(score),
      }
    )

  for r in usual.values():
    add('order', r, bool(r['same_in_both_orders']))
  for r in conflict:
    if r['tier'] == 'reworded' and tuple(r['options']) in usual:
      add('wording', r, r['score'] == usual[tuple(r['options'])]['score'])
  if usual:
    overall = sum(r['score'] for r in usual.values()) / len(usual) > 0.5
    for domain in sorted({r['cluster'] for r in usual.values()}):
      scores = [r['score'] for r in usual.values() if r['cluster'] == domain]
      add(
        'domains',
        {'item': f'{assistant}/{domain}', 'cluster': domain},
        (sum(scores) / len(scores) > 0.5) == overall,
      )
  return out
