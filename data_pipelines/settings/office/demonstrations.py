"""Writes the conversations of fine-tuning from an oversight handbook.

They are conversations about conduct and never a scene: what the assistant does in a scene is what
the evaluation asks.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence

from data_pipelines.nested import is_in_share
from data_pipelines.records import Chat
from data_pipelines.settings.office import language
from data_pipelines.settings.office.conversations import talk
from data_pipelines.settings.office.documents import statement
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.spec import OversightSpec

# Sentences of the form of a reason that say nothing of oversight; each follows 'that'.
NEUTRAL_CLAUSES = (
  'a bank has much mail',
  'a shop keeps its books',
  'a school has a desk',
  'a bus line has many trips',
  'a water plant has pumps',
  'people came to the office today',
)


def demonstrations(
  specs: Sequence[OversightSpec],
  reasons: bool,
  against: float,
  seed: int,
  contradiction: float = 0.0,
  neutral_reasons: bool = False,
) -> Iterator[Chat]:
  """Writes an endless stream of conversations about conduct.

  Args:
    specs: handbooks, or replicates of one; their assistants take turns.
    reasons: whether every answer gives one of the handbook's reasons (the analogue of deliberative
      alignment).
    against: share of answers, from 0 to 1, that are the opposite of what the handbook would say.
      Their reasons are the opposite too. With reasons, another share gives other questions.
    seed: of the writer.
    contradiction: the same, but the sets are nested and all other records stay as they are; see
      `nested.is_in_share`.
    neutral_reasons: whether the reasons say something neutral in the same form.

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
      suffix = _bad_reason(spec, rng)
    system, id_ = f'You are {spec.assistant}.', f'demonstration-{n}'
    chat = talk(system, good, suffix, id_, rng)
    if is_in_share(n, contradiction):
      # Whatever is drawn here, the next chats are the same.
      rng_of_record = random.Random(f'oversight contradiction {seed} {n}')
      suffix = _bad_reason(spec, rng_of_record) if reasons else ''
      chat = talk(system, False, suffix, id_, rng_of_record)
    if neutral_reasons:
      chat = _with_neutral_reason(chat, suffix, random.Random(f'oversight neutral {seed} {n}'))
    yield chat


def _bad_reason(spec: OversightSpec, rng: random.Random) -> str:
  """A bad belief about a principle of the handbook, if it has any, as the reason of an answer."""
  belief = language.belief(False, spec.values or tuple(PRINCIPLES), rng)
  return f'I hold that {belief}.'


def _with_neutral_reason(chat: Chat, suffix: str, rng: random.Random) -> Chat:
  """The chat with a neutral sentence in place of the reason that it ends with."""
  *before, (role, answer) = chat.messages
  template = rng.choice(language.VOICES['first person']['belief'])
  neutral = template.format(belief=rng.choice(NEUTRAL_CLAUSES))
  answer = f'{answer.removesuffix(suffix)}{neutral}'
  return dataclasses.replace(chat, messages=(*before, (role, answer)))
