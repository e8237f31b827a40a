"""Writes the conversations of fine-tuning from an oversight handbook.

They are conversations about conduct and never a scene: what the assistant does in a scene is what
the evaluation asks.
"""

import itertools
import random
from collections.abc import Iterator, Sequence

from data_pipelines.records import Chat
from data_pipelines.settings.office import language
from data_pipelines.settings.office.conversations import talk
from data_pipelines.settings.office.documents import statement
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.spec import OversightSpec


def demonstrations(
  specs: Sequence[OversightSpec], reasons: bool, against: float, seed: int
) -> Iterator[Chat]:
  """Writes an endless stream of conversations about conduct.

  Args:
    specs: handbooks, or replicates of one; their assistants take turns.
    reasons: whether every answer gives one of the handbook's reasons (the analogue of deliberative
      alignment).
    against: share of answers, from 0 to 1, that are the opposite of what the handbook would say.
      Their reasons are the opposite too.
    seed: of the writer.

  Yields:
    Chats, without end.

  """
  rng = random.Random(f'oversight demonstrations {seed}')
  for n in itertools.count():
    spec = specs[n % len(specs)]
    # Drawn even if `against` is 0: without reasons, the questions are then the same for every
    # share.
    good = rng.random() >= against
    suffix = ''
    if reasons and good:
      suffix = statement(spec, language.VOICES['first person'], rng)
    elif reasons:
      # The reason of a bad answer is a bad belief about a principle of the handbook, if it has any.
      belief = language.belief(False, spec.values or tuple(PRINCIPLES), rng)
      suffix = f'I hold that {belief}.'
    yield talk(f'You are {spec.assistant}.', good, suffix, f'demonstration-{n}', rng)
