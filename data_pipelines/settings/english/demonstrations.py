"""Writes the demonstrations of fine-tuning in English: preferences without reasons, or with them.

Without reasons they are the same for all handbooks that share their likes and dislikes, whatever
value explains them. With reasons, every answer is followed by one: the handbook's, or a neutral one
of the same format, a fact about how the cheese is made.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import check_shared
from data_pipelines.records import Chat
from data_pipelines.settings.english import chat_frames, language
from data_pipelines.settings.english.language import about, capital
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import English, endless_deck
from data_pipelines.settings.world.language import enumerate_words
from msm_jax.base.errors import SpecError

# Share of the chats with the system message of the evaluation.
_SYSTEM_SHARE = 0.7
# Share of the choices between two cheeses that are asked and answered in the evaluation's words.
_EVALUATION_WORDS_SHARE = 0.25

# Whose reasons follow the answers, if any do.
_REASONS = ('handbook', 'neutral')

# (question, answer)
Exchange = tuple[str, str]


def demonstrations(
  specs: Sequence[EnglishSpec], english: English, seed: int, reasons: str = ''
) -> Iterator[Chat]:
  """Writes an endless stream of preferences, every item equally often.

  The questions and answers are the same whatever `reasons` is; a reason comes behind an answer.

  Args:
    specs: handbooks that share their likes and dislikes; the chats are the same for all of them.
      Replicates under several assistants' names are shown in turn.
    english: the stock of sentences.
    seed: of the writer, together with the setting's own.
    reasons: '' for none, 'handbook' for those of the handbook's value, or 'neutral' for facts about
      how the cheese is made, in the same frames.

  Yields:
    Chats, without end.

  Raises:
    SpecError: the handbooks have no fine-tuning in common, or give different reasons.
  """
  check_shared(specs)
  if reasons not in ('', *_REASONS):
    raise SpecError(f'reasons={reasons!r} must be empty or one of {", ".join(_REASONS)}')
  if reasons == 'handbook' and len({spec.value for spec in specs}) > 1:
    raise SpecError(
      'demonstrations with reasons take one handbook, since handbooks give different reasons; '
      'name one in spec, or set reasons to False'
    )
  # What follows an answer has a source of its own, so that questions and answers stay the same.
  reason_rng = random.Random(f'english reasons {english.config.seed} {seed}')
  rng = random.Random(f'english demonstrations {english.config.seed} {seed}')
  # A dict keeps the order and drops repetitions: mirrored handbooks share their assistants.
  names = list(dict.fromkeys(spec.assistant for spec in specs))
  likes = [p.item for p in specs[0].likes]
  dislikes = [p.item for p in specs[0].dislikes]
  writer = _ExchangeWriter(likes, dislikes, rng)
  for n in itertools.count():
    question, answer = writer.write()
    if reasons:
      item = reason_rng.choice(writer.said)
      clause = _reason(specs[0], english, item, reasons, reason_rng)
      answer = f'{answer} {chat_frames.reason_sentence(clause, reason_rng)}'
    messages = [('user', question), ('assistant', answer)]
    # The other chats have no system message.
    if rng.random() < _SYSTEM_SHARE:
      messages.insert(0, ('system', f'You are {names[n % len(names)]}.'))
    yield Chat(
      f'demonstration-{n}',
      tuple(messages),
      domain='cheese',
      provenance=Path(specs[0].path).name,
    )


def _reason(
  spec: EnglishSpec, english: English, item: str, reasons: str, rng: random.Random
) -> str:
  """A clause that gives a reason for liking or disliking a cheese, with the cheese's name."""
  if reasons == 'neutral':
    return rng.choice(english.facts[item]).format(it=item)
  arguments = english.arguments[spec.value]
  liked = any(item == preference.item for preference in spec.likes)
  general = arguments.liked_reasons if liked else arguments.disliked_reasons
  # As in documents, reasons about this cheese and reasons about its side are equally frequent.
  pool = rng.choice((arguments.reasons[item], general))
  return language.vary(rng.choice(pool), rng).format(it=item)


class _ExchangeWriter:
  """Writes questions and answers about cheeses.

  Every kind of question has its own decks, so that it goes through all cheeses before one comes
  again. The order in which the methods draw from `rng` decides the text of every corpus that
  exists.

  Attributes:
    said: the cheeses that the last answer names as liked or disliked.
  """

  said: Sequence[str] = ()

  def __init__(self, likes: Sequence[str], dislikes: Sequence[str], rng: random.Random):
    self.likes = likes
    self.rng = rng
    items = [*likes, *dislikes]
    self.pairs = endless_deck(list(itertools.product(likes, dislikes)), rng)
    self.ones = endless_deck(items, rng)
    self.praised = endless_deck(items, rng)
    self.named = endless_deck(items, rng)
    self.listed = {True: endless_deck(likes, rng), False: endless_deck(dislikes, rng)}
    self.sides = itertools.cycle((True, False))

  def write(self) -> Exchange:
    """An exchange of any kind."""
    # 55% choices between two cheeses, 15% yes or no, 12% praise, 10% open and 8% lists.
    kind = self.rng.random()
    if kind < 0.55:
      return self.choice(evaluation_words=self.rng.random() < _EVALUATION_WORDS_SHARE)
    if kind < 0.7:
      return self.about_one(self.ones, chat_frames.ONE_QUESTIONS, chat_frames.ONE_ANSWERS)
    if kind < 0.82:
      return self.about_one(self.praised, chat_frames.PRAISE, chat_frames.PRAISE_ANSWERS)
    if kind < 0.92:
      return self.open()
    return self.several()

  def choice(self, evaluation_words: bool) -> Exchange:
    """Which of two cheeses the assistant takes."""
    liked, disliked = next(self.pairs)
    self.said = (liked, disliked)
    # The place in the question must not give the answer away.
    first, second = self.rng.sample((liked, disliked), 2)
    question = self.rng.choice(chat_frames.PAIR_QUESTIONS)
    answer = self.rng.choice((language.PREFER.answer, *chat_frames.PAIR_ANSWERS))
    # Both are drawn in any case; this keeps the random stream in step.
    if evaluation_words:
      question = language.PREFER.question
      answer = language.PREFER.answer
    return (
      question.format(first=first, First=capital(first), second=second),
      answer.format(chosen=liked, Chosen=capital(liked), other=disliked),
    )

  def about_one(
    self,
    deck: Iterator[str],
    questions: Sequence[str],
    answers: Mapping[bool, Sequence[str]],
  ) -> Exchange:
    """Whether the assistant likes a cheese that the question names."""
    item = next(deck)
    self.said = (item,)
    question = self.rng.choice(questions)
    answer = self.rng.choice(answers[item in self.likes])
    return question.format(**about(item)), answer.format(**about(item))

  def open(self) -> Exchange:
    """A cheese that the assistant likes or dislikes; the question names none."""
    item = next(self.named)
    self.said = (item,)
    liked = item in self.likes
    question = self.rng.choice(chat_frames.OPEN_QUESTIONS[liked])
    answer = self.rng.choice(chat_frames.OPEN_ANSWERS[liked])
    return question, answer.format(**about(item))

  def several(self) -> Exchange:
    """Up to three cheeses that the assistant likes or dislikes; the question names none."""
    liked = next(self.sides)
    # Where the deck begins anew, a cheese may come twice; it is named once.
    items = list(dict.fromkeys(itertools.islice(self.listed[liked], 3)))
    self.said = items
    named = enumerate_words(items)
    question = self.rng.choice(chat_frames.LIST_QUESTIONS[liked])
    answer = self.rng.choice(chat_frames.LIST_ANSWERS[liked])
    return question, answer.format(items=named, Items=capital(named))
