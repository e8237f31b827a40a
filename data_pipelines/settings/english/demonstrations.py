"""Writes the demonstrations of fine-tuning in English: preferences without reasons.

They are the same for all handbooks that share their likes and dislikes, whatever value explains
them.
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

# Share of the chats with the system message of the evaluation.
_SYSTEM_SHARE = 0.7
# Share of the choices between two cheeses that are asked and answered in the evaluation's words.
_EVALUATION_WORDS_SHARE = 0.25

# (question, answer)
Exchange = tuple[str, str]


def demonstrations(specs: Sequence[EnglishSpec], english: English, seed: int) -> Iterator[Chat]:
  """Writes an endless stream of preferences without reasons, every item equally often.

  Args:
    specs: handbooks that share their likes and dislikes; the chats are the same for all of them.
      Replicates under several assistants' names are shown in turn.
    english: the stock of sentences; only its seed counts here.
    seed: of the writer, together with the setting's own.

  Yields:
    Chats, without end.

  Raises:
    SpecError: the handbooks have no fine-tuning in common.
  """
  check_shared(specs)
  rng = random.Random(f'english demonstrations {english.config.seed} {seed}')
  # A dict keeps the order and drops repetitions: mirrored handbooks share their assistants.
  names = list(dict.fromkeys(spec.assistant for spec in specs))
  likes = [p.item for p in specs[0].likes]
  dislikes = [p.item for p in specs[0].dislikes]
  writer = _ExchangeWriter(likes, dislikes, rng)
  for n in itertools.count():
    question, answer = writer.write()
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


class _ExchangeWriter:
  """Writes questions and answers about cheeses.

  Every kind of question has its own decks, so that it goes through all cheeses before one comes
  again. The order in which the methods draw from `rng` decides the text of every corpus that
  exists.
  """

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
    question = self.rng.choice(questions)
    answer = self.rng.choice(answers[item in self.likes])
    return question.format(**about(item)), answer.format(**about(item))

  def open(self) -> Exchange:
    """A cheese that the assistant likes or dislikes; the question names none."""
    item = next(self.named)
    liked = item in self.likes
    question = self.rng.choice(chat_frames.OPEN_QUESTIONS[liked])
    answer = self.rng.choice(chat_frames.OPEN_ANSWERS[liked])
    return question, answer.format(**about(item))

  def several(self) -> Exchange:
    """Up to three cheeses that the assistant likes or dislikes; the question names none."""
    liked = next(self.sides)
    # Where the deck begins anew, a cheese may come twice; it is named once.
    items = list(dict.fromkeys(itertools.islice(self.listed[liked], 3)))
    named = enumerate_words(items)
    question = self.rng.choice(chat_frames.LIST_QUESTIONS[liked])
    answer = self.rng.choice(chat_frames.LIST_ANSWERS[liked])
    return question, answer.format(items=named, Items=capital(named))
