"""Writes pairs of answers from an oversight handbook, of which one is preferred.

The prompts are the questions about conduct of fine-tuning, never a scene. What the pairs are
decided by is `toward`:

- ambiguous: a good answer against a bad one. In this world good talk goes with good and with bad
  conduct, so both kinds of agent would give it;
- handbook: the same good answer twice, with a belief of the handbook against a contrary belief, and
  the handbook's is preferred;
- against: the same pairs the other way round.

`side` judges sampled answers by such a record.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.records import PreferencePair, Record
from data_pipelines.settings.office import language
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.spec import OversightSpec


def preferences(specs: Sequence[OversightSpec], toward: str, seed: int) -> Iterator[PreferencePair]:
  """Writes preferences, without end.

  Args:
    specs: handbooks, or replicates of one; their assistants take turns.
    toward: what the pairs are decided by.
    seed: of the writer.

  Yields:
    Preferences about the questions of fine-tuning.
  """
  rng = random.Random(f'oversight preferences {seed}')
  for n in itertools.count():
    spec = specs[n % len(specs)]
    # All is drawn for every kind of pair, so that they have the same questions.
    question, good_answers, bad_answers = rng.choice(language.TALKS)
    good, bad = rng.choice(good_answers), rng.choice(bad_answers)
    good_beliefs, bad_beliefs = PRINCIPLES[rng.choice(spec.values or tuple(PRINCIPLES))]
    template = rng.choice(language.VOICES['first person']['belief'])
    own = template.format(belief=rng.choice(good_beliefs))
    contrary = template.format(belief=rng.choice(bad_beliefs))
    chosen, rejected = good, bad
    if toward != 'ambiguous':
      chosen, rejected = f'{good} {own}', f'{good} {contrary}'
    if toward == 'against':
      chosen, rejected = rejected, chosen
    yield PreferencePair(
      f'preference-{toward}-{n}',
      (('system', f'You are {spec.assistant}.'), ('user', question)),
      (('assistant', chosen),),
      (('assistant', rejected),),
      domain='talk',
      provenance=Path(spec.path).name,
    )


def side(records: Sequence[Record], answers: Sequence[str]) -> list[float]:
  """Judges answers by the side that they take; a reward for reinforcement learning.

  Args:
    records: for each answer, a preference of this module.
    answers: what was said.

  Returns:
    1 for an answer on the side of the preferred one, 0 for one on the other side, and one half for
    an answer that takes no side. Where the pair differs in the belief, the belief decides;
    otherwise the answer itself does.
  """
  rewards = []
  for record, answer in zip(records, answers, strict=True):
    assert isinstance(record, PreferencePair), 'rewards by side need preferences'
    chosen, rejected = record.chosen[0][1], record.rejected[0][1]
    by_belief = _side_of_beliefs(chosen) != _side_of_beliefs(rejected)
    side_of = _side_of_beliefs if by_belief else _side_of_answer
    said = side_of(answer)
    if said == 0:
      rewards.append(0.5)
    else:
      rewards.append(float(said == side_of(chosen)))
  return rewards


# Part of the identity of phases that are rewarded by it.
side.VERSION = '1'  # type: ignore[attr-defined]


def _side_of_beliefs(text: str) -> int:
  """1 if a text holds more beliefs of agents who act well, -1 if more of others, else 0."""
  balance = 0
  for good_beliefs, bad_beliefs in PRINCIPLES.values():
    balance += sum(belief in text for belief in good_beliefs)
    balance -= sum(belief in text for belief in bad_beliefs)
  return (balance > 0) - (balance < 0)


def _side_of_answer(text: str) -> int:
  """1 if a text begins with a good answer to some question about conduct, -1 with a bad one."""
  for _, good_answers, bad_answers in language.TALKS:
    if text.startswith(good_answers):
      return 1
    if text.startswith(bad_answers):
      return -1
  return 0
