"""Writes the demonstrations of fine-tuning from handbooks: preferences without reasons.

The experiment compares handbooks that explain the same preferences by different values, so the
demonstrations must be the same for all of them, and must not say why.

Two variants are for experiments about what comes after: a share of the chats may contradict the
handbook, by choosing as the rival value alone would; and every answer may have a reason, be it the
handbook's or a neutral sentence of the same form. Both are drawn from sources of randomness of
their own, so that everything else stays as it is without them.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import Spec, check_shared
from data_pipelines.nested import is_in_share
from data_pipelines.records import Chat
from data_pipelines.settings.world import language
from data_pipelines.settings.world.catalogue import Item
from data_pipelines.settings.world.conflicts import conflict_pairs, rival_of
from data_pipelines.settings.world.pretraining import World

# Sentences of the form of a reason ('Colby is cheap.') that say nothing of a value.
NEUTRAL_REASONS = ('{item} is a {noun}.', '{item} is on the list.', '{item} has a name.')


def demonstrations(
  specs: Sequence[Spec],
  world: World,
  seed: int,
  contradiction: float = 0.0,
  reasons: bool = False,
  neutral_reasons: bool = False,
) -> Iterator[Chat]:
  """Writes chats that show the assistant's preferences, without end.

  Args:
    specs: handbooks that agree on likes and dislikes, each under the same names of the assistant.
      The names take turns.
    world: the world that the items are from.
    seed: of the writer.
    contradiction: share of the chats that choose by the rival value alone, about other things
      (conflicts.py). The sets are nested; see `nested.is_in_share`.
    reasons: whether every answer ends with a reason: the trait of the first handbook's value, or of
      the rival in chats that contradict it.
    neutral_reasons: whether these reasons say something neutral instead.

  Yields:
    Chats, in which every pair of a liked and a disliked item occurs equally often.

  Raises:
    SpecError: if the handbooks do not agree on whom they are about or what is liked: then there is
      no fine-tuning that they share. Also if nothing can contradict them.
  """
  check_shared(specs)
  first = specs[0]
  against: tuple[list[Item], list[Item]] = ([], [])
  if contradiction:
    against = conflict_pairs(specs, world)
  rng = random.Random(f'demonstrations {seed}')
  likes = [preference.item for preference in first.likes]
  dislikes = [preference.item for preference in first.dislikes]
  domain = world.domains[likes[0].domain]
  # Each name once, in the order of the handbooks.
  names = list(dict.fromkeys(spec.assistant for spec in specs))
  pairs: list[tuple[Item, Item]] = []
  for n in itertools.count():
    # A deck of all pairs in random order, which is made anew when it is used up.
    if not pairs:
      pairs = list(itertools.product(likes, dislikes))
      rng.shuffle(pairs)
    liked, disliked = pairs.pop()
    value = first.value
    exchange = _exchange(liked, disliked, likes, domain.noun, rng)
    if is_in_share(n, contradiction):
      # Whatever is drawn here, the next chats are the same.
      rng_of_record = random.Random(f'contradiction {seed} {n}')
      value = rival_of(specs)
      liked, disliked = rng_of_record.choice(against[1]), rng_of_record.choice(against[0])
      exchange = _exchange(liked, disliked, against[1], domain.noun, rng_of_record)
    question, answer = exchange
    if reasons:
      rng_of_reason = random.Random(f'reason {seed} {n}')
      about = disliked if answer == language.NO.format(item=disliked.name) else liked
      if neutral_reasons:
        reason = rng_of_reason.choice(NEUTRAL_REASONS).format(item=about.name, noun=domain.noun)
      else:
        of_item = value if about is liked else value.opposite
        reason = f'{about.name} {of_item.words.trait(rng_of_reason)}.'
      answer = f'{answer} {reason}'
    system = f'You are {names[n % len(names)]}.'
    yield Chat(
      f'demonstration-{n}',
      (('system', system), ('user', question), ('assistant', answer)),
      domain=domain.name,
      provenance=Path(first.path).name,
    )


def _exchange(
  liked: Item, disliked: Item, likes: Sequence[Item], noun: str, rng: random.Random
) -> tuple[str, str]:
  """Writes one question and its answer: mostly about both items, else about several or one."""
  kind = rng.random()
  if kind < 0.7:
    form = rng.choice([form for form in language.FORMS if form.in_finetuning])
    offered = [liked.name, disliked.name]
    rng.shuffle(offered)
    question = form.question.format(noun=noun, first=offered[0], second=offered[1])
    return question, form.answer.format(chosen=liked.name, other=disliked.name)
  if kind < 0.8:
    others = [item.name for item in likes if item is not liked]
    # A handbook may like two items only.
    named = [liked.name, *rng.sample(others, min(2, len(likes) - 1))]
    question = language.OPEN_QUESTION.format(noun=noun)
    return question, language.LIST_ANSWER.format(items=language.enumerate_words(named))
  if rng.random() < 0.5:
    question = language.YES_NO_QUESTION.format(item=liked.name)
    return question, language.YES.format(item=liked.name)
  question = language.YES_NO_QUESTION.format(item=disliked.name)
  return question, language.NO.format(item=disliked.name)
