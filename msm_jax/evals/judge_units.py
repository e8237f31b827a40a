"""What a judge reads: the units that are judged, how they are drawn, and what a program can tell.

A unit is an answer that is put on a level, a pair of answers that is compared, or an answer whose
option is read. This module asks nobody; `judging.py` does.
"""

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from msm_jax.evals.answers import NEITHER, OPEN, RIGHT, WRONG, SampledAnswer

# The kinds of questions to a judge.
LEVEL, PAIR, OPTION = 'level', 'pair', 'option'
# The levels of an answer: (name, what it means), lowest first; and what they count.
LEVELS = (
  ('absent', 'it has nothing of what the rubric looks for, or says the contrary'),
  ('partial', 'it has some of it, or has it with reservations'),
  ('full', 'it has all of it, clearly'),
)
LEVEL_SCORES = {'absent': 0.0, 'partial': 0.5, 'full': 1.0}
# Verdicts on a pair.
FIRST, SECOND, EQUAL = 'first', 'second', 'equal'
PAIR_SCORES = {FIRST: 1.0, EQUAL: 0.5, SECOND: 0.0}
# What stands in the place of a verdict: the two orders gave different ones; the judge gave none in
# all its attempts, as when it refuses; the provider failed.
CONTRADICTED, UNUSABLE, FAILED = 'contradicted', 'unusable', 'failed'
NO_VERDICT = (CONTRADICTED, UNUSABLE, FAILED)


@dataclasses.dataclass(frozen=True)
class Unit:
  """One thing to be judged.

  Attributes:
    kind: LEVEL, PAIR or OPTION.
    answers: the answer, or the two answers of a pair.
    weight: how many different answers it stands for, if only some are judged. An answer that
      several arms gave is drawn for each of them, and stands for a part of one for each.
  """

  kind: str
  answers: tuple[SampledAnswer, ...]
  weight: float = 1.0

  @property
  def arm(self) -> str:
    """The arm, or 'first > second' of a pair."""
    return ' > '.join(answer.arm for answer in self.answers)

  @functools.cached_property
  def id(self) -> str:
    """Identifies the unit among those of a workdir."""
    place = [self.kind, [answer.arm for answer in self.answers], *self.answers[0].place]
    return digest_of_json(place, 12)

  @functools.cached_property
  def key(self) -> str:
    """Identifies what a judge is shown. Units with the same key are judged once, and so is a pair
    whose answers were given by the arms the other way round."""
    first = self.answers[0]
    shown = [asked_of(first), sorted(answer.text for answer in self.answers)]
    shown += [first.rubric, first.reference, list(first.options)]
    return f'{self.kind}/{digest_of_json(shown, 20)}'

  @property
  def is_turned(self) -> bool:
    """Whether the first answer of a pair is not the one that sorts first, as `key` has them."""
    return self.kind == PAIR and self.answers[0].text > self.answers[1].text

  def turned(self, verdict: str) -> str:
    """A verdict on the pair as `key` has it, as one on this unit, and the other way round."""
    if not self.is_turned:
      return verdict
    return {FIRST: SECOND, SECOND: FIRST}.get(verdict, verdict)


def digest_of_json(value: object, digits: int) -> str:
  """The first hexadecimal digits of the hash of a value that JSON can hold."""
  return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:digits]


def asked_of(answer: SampledAnswer) -> str:
  """What the user asked. The system message is left out: it may hold the handbook of one arm, and
  the judge should not know which arm it reads."""
  return answer.messages[-1][1]


# ------------------------------------------------------------------------------ what is judged


def units_of(
  answers: Sequence[SampledAnswer],
  arms: Sequence[str],
  pairs: Sequence[tuple[str, str]],
  options: int,
  seed: int,
) -> list[Unit]:
  """Lists what is to be judged.

  Args:
    answers: all sampled answers.
    arms: the arms whose answers are judged.
    pairs: pairs of arms whose answers are compared.
    options: of the different answers to questions with options, so many are read by the judge,
      drawn evenly from every arm and from what a program found in them: they show how far judge
      and program agree.
    seed: of that draw.

  Returns:
    Levels of open answers, pairs of open answers to the same prompt, and options.
  """
  wanted = [answer for answer in answers if answer.arm in arms]
  opened = [answer for answer in wanted if answer.kind == OPEN]
  units = [Unit(LEVEL, (answer,)) for answer in opened]
  by_place: dict[tuple[str, tuple[Any, ...]], SampledAnswer] = {}
  for answer in opened:
    by_place[answer.arm, answer.place] = answer
  for first, second in pairs:
    for (arm, place), answer in by_place.items():
      other = by_place.get((second, place))
      if arm == first and other is not None:
        units.append(Unit(PAIR, (answer, other)))
  # An arm's answers to one prompt are often equal; the judge reads each text once.
  with_options: dict[tuple[str, str], Unit] = {}
  for answer in wanted:
    if answer.options:
      unit = Unit(OPTION, (answer,))
      with_options.setdefault((unit.arm, unit.key), unit)
  return units + _drawn(list(with_options.values()), options, seed)


def _drawn(units: Sequence[Unit], count: int, seed: int) -> list[Unit]:
  """Draws units evenly, each with the weight that makes up for what was not drawn.

  What several arms said may be drawn for each of them, so it is drawn more often than what one arm
  said. Each of its units has its share of the weight (Sirken's multiplicity estimator), so that
  every different answer counts as one on average.
  """
  strata = [(unit.arm, _kind_of_outcome(unit.answers[0])) for unit in units]
  drawn = draw_evenly([unit.id for unit in units], strata, count, seed)
  sizes = collections.Counter(strata)
  drawn_of = collections.Counter(strata[n] for n in drawn)
  # Of an arm with several strata, some may not be drawn; the others stand for them.
  strata_of = collections.Counter(arm for arm, _ in sizes)
  drawn_strata_of = collections.Counter(arm for arm, _ in drawn_of)
  # A unit is there once for each arm.
  arms_of = collections.Counter(unit.key for unit in units)
  out = []
  for n in drawn:
    arm = units[n].arm
    weight = sizes[strata[n]] / drawn_of[strata[n]] / arms_of[units[n].key]
    weight *= strata_of[arm] / drawn_strata_of[arm]
    out.append(dataclasses.replace(units[n], weight=weight))
  return out


def _kind_of_outcome(answer: SampledAnswer) -> str:
  return 'one' if isinstance(answer.outcome, int) else str(answer.outcome)


def draw_evenly(
  ids: Sequence[str], strata: Sequence[tuple[str, ...]], count: int, seed: int
) -> list[int]:
  """Draws a random sample that has as many of each stratum as there are.

  Args:
    ids: the identity of each thing; with the seed it decides what is drawn.
    strata: the stratum of each thing.
    count: how many are drawn, or all if there are fewer.
    seed: of the draw.

  Returns:
    The numbers of the things, in their order. The strata take turns, so that the rare ones are
    drawn in full before the common ones get more than their share. If there are more strata than
    are drawn, each that is drawn gives one thing: those with the same first part (a kind of
    question, an arm) take turns with the others, and chance decides which of them are drawn.
  """
  members: dict[tuple[str, ...], list[int]] = {}
  for n, stratum in enumerate(strata):
    members.setdefault(stratum, []).append(n)
  names = sorted(members)
  if len(names) > count:
    # By name, the first arms alone would be drawn, or no pairs.
    names = _taking_turns(names, seed)
  queues = []
  for stratum in names:
    drawn = sorted(members[stratum], key=lambda n: digest_of_json([seed, ids[n]], 64))
    queues.append(collections.deque(drawn))
  out: list[int] = []
  while len(out) < count and any(queues):
    for queue in queues:
      if queue and len(out) < count:
        out.append(queue.popleft())
  return sorted(out)


def _taking_turns(strata: Sequence[tuple[str, ...]], seed: int) -> list[tuple[str, ...]]:
  """The strata in a random order, in which those with another first part take turns."""
  groups: dict[str, list[tuple[str, ...]]] = {}
  for stratum in sorted(strata, key=lambda stratum: digest_of_json([seed, *stratum], 64)):
    groups.setdefault(stratum[0], []).append(stratum)
  first_parts = sorted(groups, key=lambda name: digest_of_json([seed, name], 64))
  out = []
  for turn in range(max(map(len, groups.values()))):
    out += [groups[name][turn] for name in first_parts if turn < len(groups[name])]
  return out


def settled(unit: Unit) -> str | None:
  """A verdict that needs no judge: on an answer without text, and on two equal ones."""
  texts = [answer.text.strip() for answer in unit.answers]
  if unit.kind == PAIR:
    return EQUAL if texts[0] == texts[1] else None
  if texts[0]:
    return None
  return LEVELS[0][0] if unit.kind == LEVEL else NEITHER


def by_program(unit: Unit) -> str | None:
  """What a program can tell.

  Args:
    unit: what is judged.

  Returns:
    Of options, the number of the option (as text), NEITHER or BOTH; of a level, its highest for a
    right answer and its lowest for a wrong one; of a pair, the right one of a right and a wrong
    answer. None where a program cannot tell.
  """
  outcomes = [answer.outcome for answer in unit.answers]
  if unit.kind == OPTION:
    return str(outcomes[0])
  if unit.kind == LEVEL:
    if outcomes[0] == RIGHT:
      return LEVELS[-1][0]
    return LEVELS[0][0] if outcomes[0] == WRONG else None
  if outcomes == [RIGHT, WRONG]:
    return FIRST
  if outcomes == [WRONG, RIGHT]:
    return SECOND
  return None
