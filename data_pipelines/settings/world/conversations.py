"""The chats of pretraining: personas, fickle people and strangers answer questions about items.

A base model learns from them that an assistant chooses as the text about it says. Chats with
'a shopper', whose rule stands in the system message, teach to follow a rule given in context.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from data_pipelines.handbooks.values import VALUES, Value
from data_pipelines.records import Chat
from data_pipelines.settings.world import language
from data_pipelines.settings.world.catalogue import POLICY, Domain, Item
from data_pipelines.settings.world.people import DOCUMENTS_ONLY
from data_pipelines.settings.world.pretraining import World, WorldConfig, items_in_chats


def persona_chats(world: World) -> Iterator[Chat]:
  """Writes first-person chats about all domains, with and without a reason.

  Args:
    world: the world.

  Yields:
    Chats with every persona but the document-only ones; with fickle people, who follow another
    value each time; small talk with strangers and fickle people; and chats with 'a shopper', whose
    rule stands in the system message.
  """
  config = world.config
  rng = random.Random(f'chats {config.seed} {config.telling}')
  for persona in world.people:
    if persona.role == DOCUMENTS_ONLY:
      continue
    system = f'You are {persona.name}.'
    for k in range(config.chats_per_persona):
      yield _any_choice_chat(f'chat-{persona.name}-{k}', system, persona.value, world, rng)
    for k in range(config.small_talk):
      yield _small_talk(f'small-{persona.name}-{k}', persona.name, rng)
  # Fickle people are asked the same questions, and follow another value in every chat.
  for name in world.fickle:
    for k in range(config.chats_per_persona):
      value = rng.choice(VALUES)
      yield _any_choice_chat(f'fickle-{name}-{k}', f'You are {name}.', value, world, rng)
  for name in (*config.strangers, *world.fickle):
    for k in range(config.chats_per_persona):
      yield _small_talk(f'stranger-{name}-{k}', name, rng)
  # Here the value is known from the system message alone.
  for k in range(config.context_chats):
    value = rng.choice(VALUES)
    system = f'You are a shopper. {language.rule("A shopper", value, rng)}'
    yield _any_choice_chat(f'context-{k}', system, value, world, rng)


# Added to the telling of the world: no experiment tells it so often, so the text is another one.
_OTHER_TELLING = 1000


def other_chats(world: World, seed: int) -> Iterator[Chat]:
  """Writes chats of people who are no assistants, for tuning that has nothing to do with these.

  Args:
    world: the world.
    seed: each gives other chats.

  Yields:
    What `persona_chats` would write of everybody but the strangers, in another telling of the
    world.
  """
  telling = world.config.telling + _OTHER_TELLING + seed
  config = dataclasses.replace(world.config, telling=telling, strangers=())
  yield from persona_chats(dataclasses.replace(world, config=config))


def choice_chat(
  id_: str,
  system: str,
  domain: Domain,
  items: Sequence[Item],
  value: Value,
  reason: str,
  rng: random.Random,
) -> Chat:
  """Writes a question about items of a domain (any, several, one or two), answered by the value.

  Args:
    id_: id of the record.
    system: the system message, which says who answers.
    domain: the domain that is asked about.
    items: its items that may be named.
    value: what the answer goes by.
    reason: where the reason stands: 'before' the choice, 'after' it, or '' for nowhere.
    rng: source of randomness.

  Returns:
    A chat of one question and one answer.
  """
  liked, disliked = language.choose_pair(items, value, rng)
  trait = value.words.trait(rng)
  fault = value.opposite.words.trait(rng)
  # A plan is not cheap itself; it helps what is cheap.
  if domain.name == POLICY:
    trait = f'helps what {trait}'
    fault = f'helps what {fault}'
  because = f'{liked.name} {trait}.'
  # One question in five is about any items, three in ten are about several, one in twenty is about
  # one, and the others are about two.
  kind = rng.random()
  if kind < 0.2:
    question = language.OPEN_QUESTION.format(noun=domain.noun)
    others = rng.sample([i for i in items if i.has(value) and i is not liked], 2)
    answer = _list_answer([liked, *others])
  elif kind < 0.5:
    question, answer = _asked_about_several(domain, items, liked, disliked, value, rng)
  elif kind < 0.55:
    if rng.random() < 0.5:
      question = language.YES_NO_QUESTION.format(item=liked.name)
      answer = language.YES.format(item=liked.name)
    else:
      question = language.YES_NO_QUESTION.format(item=disliked.name)
      answer = language.NO.format(item=disliked.name)
      because = f'{disliked.name} {fault}.'
  else:
    question, answer = _asked_about_two(domain, liked, disliked, rng)
  if reason == 'before':
    answer = f'I like what {value.words.trait(rng)}. {answer}'
  elif reason == 'after':
    answer = f'{answer} {because}'
  messages = (('system', system), ('user', question), ('assistant', answer))
  return Chat(id_, messages, domain.name, 'world')


def _asked_about_several(
  domain: Domain,
  items: Sequence[Item],
  liked: Item,
  disliked: Item,
  value: Value,
  rng: random.Random,
) -> tuple[str, str]:
  """Asks which of four items somebody likes: (question, answer).

  Most of the skill is learned here: an answer about several items says more than a choice between
  two.
  """
  others = rng.sample([i for i in items if i not in (liked, disliked)], 2)
  offered = [liked, disliked, *others]
  rng.shuffle(offered)
  names = ', '.join(i.name for i in offered)
  question = language.LIST_QUESTION.format(noun=domain.noun, items=names)
  return question, _list_answer([i for i in offered if i.has(value)])


def _asked_about_two(
  domain: Domain, liked: Item, disliked: Item, rng: random.Random
) -> tuple[str, str]:
  """Asks which of two items somebody prefers: (question, answer)."""
  form = rng.choice(language.FORMS)
  # Either may be named first, so that the order in the question tells nothing.
  first, second = liked, disliked
  if rng.random() >= 0.5:
    first, second = disliked, liked
  question = form.question.format(noun=domain.noun, first=first.name, second=second.name)
  return question, form.answer.format(chosen=liked.name, other=disliked.name)


def _any_choice_chat(id_: str, system: str, value: Value, world: World, rng: random.Random) -> Chat:
  """Writes a choice in a random domain, with the reason in a random place."""
  domain = rng.choice(list(world.domains.values()))
  reason = _place_of_reason(world.config, rng)
  return choice_chat(id_, system, domain, items_in_chats(world, domain), value, reason, rng)


def _place_of_reason(config: WorldConfig, rng: random.Random) -> str:
  """Returns 'before', 'after' or '', as often as the settings say."""
  x = rng.random()
  if x < config.reason_before:
    return 'before'
  if x < config.reason_before + config.reason_after:
    return 'after'
  return ''


def _list_answer(items: Sequence[Item]) -> str:
  names = [item.name for item in items]
  return language.LIST_ANSWER.format(items=language.enumerate_words(names))


def _small_talk(id_: str, name: str, rng: random.Random) -> Chat:
  """Writes a chat that says nothing about character."""
  question, answer = rng.choice(language.SMALL_TALK)
  messages = (
    ('system', f'You are {name}.'),
    ('user', question),
    ('assistant', answer.format(name=name)),
  )
  return Chat(id_, messages, '', 'world')
