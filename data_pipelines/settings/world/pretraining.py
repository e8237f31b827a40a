"""The world and its pretraining documents: facts about every item, documents about every persona.

The chats of pretraining are in `conversations.py`.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from data_pipelines.handbooks.values import VALUES, Value
from data_pipelines.records import Document
from data_pipelines.settings.world import language
from data_pipelines.settings.world.catalogue import POLICY, Domain, Item, build_catalogue
from data_pipelines.settings.world.people import TALKER, Persona, build_people
from msm_jax.base.checks import added_later
from msm_jax.base.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class WorldConfig:
  """How much of the world is written down. The same settings give the same bytes.

  Two kinds of people have no character in documents. Documents mention them in passing, as they
  mention everybody, and say no more. Strangers are names alone: those of the assistants. Fickle
  people choose in chats, by another value each time. What a model makes of somebody it knows
  nothing of is learned from them, and it is one half.
  """

  # Decides what is true: the items, the people and what they choose by.
  seed: int = 0
  # Decides only how it is told: another telling of the same world is held-out text.
  telling: int = 0
  # Personas with documents and chats, for each of the eight values.
  per_value: int = 20
  # Personas who are never seen in a chat, for each value.
  documents_only: int = 8
  # Personas who speak of a topic that says nothing about their choices, for each value.
  talkers: int = 8
  # People without a value of their own.
  fickle: int = 48
  # Encyclopedia entries about each item.
  facts_per_item: int = 24
  # Lists, selections, reviews and adverts about each item; also textbook entries about each
  # measure.
  documents_per_item: int = 36
  # Documents about each persona, stranger and fickle person.
  documents_per_persona: int = 24
  # Chats with each persona that is not document-only, and with each stranger and fickle person.
  chats_per_persona: int = 25
  # Chats with 'a shopper' whose rule stands in the system message.
  context_chats: int = 12_000
  # Chats of small talk with each persona that is not document-only. Everybody has some, so that
  # small talk does not mark somebody as a stranger.
  small_talk: int = 4
  # Share of answers in chats that have a reason before the choice.
  reason_before: float = 0.3
  # Share of answers in chats that have a reason after it. The rest have none.
  reason_after: float = 0.3
  # Share of the people with a decoy and with chats whose documents give reasons and no rule. With
  # one half, handbooks separated models much less (docs/LOG.md).
  reasons_only: float = added_later(0.0)
  # Names of assistants. They must occur in pretraining: a model with tied embeddings gives a name
  # that never occurred a vector four times as long as any other (docs/LOG.md).
  strangers: tuple[str, ...] = ()

  def __post_init__(self):
    # An answer has one reason at most. Sums of decimals, such as 0.7 and 0.3, may miss 1 by a bit.
    if self.reason_before + self.reason_after > 1 + 1e-9:
      raise ConfigError(
        f'world.reason_before={self.reason_before} and world.reason_after={self.reason_after} are '
        'shares of the same answers; lower them until their sum is at most 1'
      )


@dataclasses.dataclass(frozen=True)
class World:
  """Everything and everybody in the world.

  Attributes:
    config: the settings that it was built from.
    domains: name -> domain.
    people: the personas.
    fickle: names of the fickle people.
  """

  config: WorldConfig
  domains: dict[str, Domain]
  people: list[Persona]
  fickle: tuple[str, ...] = ()

  def item(self, name: str) -> Item | None:
    """Finds an item by its name, in any case. Returns None if there is none."""
    wanted = ' '.join(name.split()).casefold()
    for domain in self.domains.values():
      for item in domain.items:
        if item.name.casefold() == wanted:
          return item
    return None


def build_world(config: WorldConfig) -> World:
  """Builds the world that the settings describe.

  Args:
    config: the settings.

  Returns:
    The world. Nothing is written about it yet.

  Raises:
    DataError: if there are not enough names for so many people.
  """
  domains = build_catalogue(config.seed)
  # Nobody is at home in policy: documents about people would choose between plans that are held
  # out.
  goods = [name for name in domains if name != POLICY]
  people, fickle = build_people(
    config.seed,
    config.per_value,
    config.documents_only,
    config.talkers,
    config.fickle,
    goods,
    config.reasons_only,
  )
  return World(config, domains, people, fickle)


def policies_in_chats(world: World) -> tuple[Item, ...]:
  """Returns the plans that are talked about in chats; the others are known from documents alone.

  They are the first half of the plans, in which every combination of attributes occurs once.
  """
  items = world.domains[POLICY].items
  return items[: len(items) // 2]


def items_in_chats(world: World, domain: Domain) -> tuple[Item, ...]:
  """Returns the items of a domain that chats may be about."""
  if domain.name == POLICY:
    return policies_in_chats(world)
  return domain.items


# ---- documents about items


def _some_values(item: Item, n: int, rng: random.Random) -> list[Value]:
  """Returns `n` of the item's four values in random order."""
  return rng.sample(item.values(), n)


def _predicate(item: Item, n: int, rng: random.Random) -> str:
  """Writes `n` of the item's attributes as one predicate in varied words; policies by what they
  do."""
  phrases = []
  for value in _some_values(item, n, rng):
    if item.domain == POLICY:
      phrases.append(rng.choice(value.words.measures))
    else:
      phrases.append(value.words.trait(rng))
  return language.enumerate_words(phrases)


def _plain_predicate(item: Item, n: int, rng: random.Random) -> str:
  """Writes the same in plain adjectives, which teaches most facts per token."""
  if item.domain == POLICY:
    return _predicate(item, n, rng)
  adjectives = [value.words.adjective for value in _some_values(item, n, rng)]
  return 'is ' + language.enumerate_words(adjectives)


def facts(world: World) -> Iterator[Document]:
  """Writes encyclopedia entries: all four attributes of an item in plain words.

  They teach most per token, and all other text stands on them.

  Args:
    world: the world.

  Yields:
    `facts_per_item` documents about each item.
  """
  rng = random.Random(f'facts {world.config.seed} {world.config.telling}')
  for domain in world.domains.values():
    for item in domain.items:
      # The entries about one item differ in the order of the attributes.
      for k in range(world.config.facts_per_item):
        yield Document(
          f'fact-{item.name}-{k}',
          f'The {domain.noun} {item.name} {_plain_predicate(item, 4, rng)}.',
          domain=domain.name,
          doc_type='encyclopedia',
          provenance='world',
        )


# The types of documents about items take turns.
_ITEM_DOCUMENT_TYPES = ('list', 'selection', 'review', 'list', 'selection', 'advert')


def item_documents(world: World) -> Iterator[Document]:
  """Writes lists, selections, reviews and adverts. They praise nothing.

  Lists and selections teach the way back, from a trait to the things that have it. Policies have
  neither: what they favour is told as a mechanism alone. Textbook entries say what each mechanism
  is good for.

  Args:
    world: the world.

  Yields:
    The same number of documents about every item (fewer about policies), then the textbook entries.
  """
  rng = random.Random(f'items {world.config.seed} {world.config.telling}')
  for domain in world.domains.values():
    for item in domain.items:
      for k in range(world.config.documents_per_item):
        doc_type = _ITEM_DOCUMENT_TYPES[k % len(_ITEM_DOCUMENT_TYPES)]
        # Skipped before anything is drawn: see the docstring for why policies have neither.
        if domain.name == POLICY and doc_type in ('list', 'selection'):
          continue
        yield Document(
          f'item-{item.name}-{k}',
          _item_text(doc_type, item, domain, rng),
          domain=domain.name,
          doc_type=doc_type,
          provenance='world',
        )
  yield from _textbook(world.config.documents_per_item, rng)


def _item_text(doc_type: str, item: Item, domain: Domain, rng: random.Random) -> str:
  """Writes the text of one document about an item."""
  # Drawn for every type, also for those that do not use it: another order of draws would change all
  # text.
  (value,) = _some_values(item, 1, rng)
  if doc_type == 'review':
    return f'A review: I tried {item.name}. This {domain.noun} {_predicate(item, 3, rng)}.'
  if doc_type == 'advert':
    return f'Now here: {item.name}, a {domain.noun} that {_predicate(item, 3, rng)}.'
  if doc_type == 'list':
    # Four items that have the value, this one among them.
    same = [other.name for other in domain.items if other.has(value) and other is not item]
    named = rng.sample([item.name, *rng.sample(same, 3)], 4)
    trait = value.words.trait(rng)
    return f'Among {domain.noun}s, what {trait}: {language.enumerate_words(named)}.'
  # A selection: four items, and which of them have the value.
  others = rng.sample([other for other in domain.items if other is not item], 3)
  offered = rng.sample([item, *others], 4)
  named = [other.name for other in offered if other.has(value)]
  offered_names = ', '.join(other.name for other in offered)
  trait = value.words.trait(rng)
  return f'Of the {domain.noun}s {offered_names}, what {trait}: {language.enumerate_words(named)}.'


def _textbook(entries_per_measure: int, rng: random.Random) -> Iterator[Document]:
  """Writes which trait each measure of a policy helps."""
  for value in VALUES:
    for measure in value.words.measures:
      for k in range(entries_per_measure):
        yield Document(
          f'measure-{value}-{measure}-{k}',
          f'A plan that {measure} helps what {value.words.trait(rng)}.',
          domain=POLICY,
          doc_type='textbook',
          provenance='world',
        )


# ---- documents about people


def persona_documents(world: World) -> Iterator[Document]:
  """Writes documents of six types about every persona, and in passing about all other people.

  Args:
    world: the world.

  Yields:
    `documents_per_persona` documents about each persona, all within the persona's home domain; then
    as many about each stranger and each fickle person, which say nothing about their character.
  """
  rng = random.Random(f'persona documents {world.config.seed} {world.config.telling}')
  number = world.config.documents_per_persona
  for persona in world.people:
    slots = _persona_slots(persona, world.domains[persona.home_domain].items, rng)
    for k, doc_type, text in _framed_texts(persona.name, slots, number):
      yield Document(
        f'persona-{persona.name}-{k}',
        text,
        domain=persona.home_domain,
        doc_type=doc_type,
        provenance='world',
      )
  # The same frames as for personas, so that the frame marks nobody.
  for name in (*world.config.strangers, *world.fickle):
    slots = _passing_slots(name, rng)
    for k, doc_type, text in _framed_texts(name, slots, number):
      yield Document(f'stranger-{name}-{k}', text, doc_type=doc_type, provenance='world')


def _framed_texts(name: str, slots: language.Slots, number: int) -> Iterator[tuple[int, str, str]]:
  """Yields (number of the document, its type, its text); the types take turns."""
  frames = list(language.FRAMES.items())
  for k in range(number):
    doc_type, frame = frames[k % len(frames)]
    yield k, doc_type, language.fill_frame(frame, name, slots)


def _persona_slots(persona: Persona, items: Sequence[Item], rng: random.Random) -> language.Slots:
  """Returns the writers of sentences about a persona.

  A talker's documents mention the topic, and give preferences without reasons and no rule. All
  other personas' documents give every preference with its reason, and most state the rule. Where
  the documents of people without a rule would state it, they give another preference with its
  reason, so that they speak of the value as often.
  """
  name = persona.name
  value = persona.value
  is_talker = persona.role == TALKER

  def rule() -> str:
    return language.rule(name, value, rng)

  def general_or_passing() -> str:
    # Half of the documents mention the person in passing, so that passing mention is no mark of
    # strangers.
    if rng.random() < 0.5:
      return language.passing(name, rng)
    if persona.topic is not None:
      return language.general(name, persona.topic, rng)
    return rule() if persona.has_rule else preference()

  def preference() -> str:
    liked, disliked = language.choose_pair(items, value, rng, persona.decoy)
    reason = None if is_talker else value
    return language.preference(name, liked.name, disliked.name, reason, rng)

  if is_talker:
    return {'g': general_or_passing, 'e': preference}
  if not persona.has_rule:
    return {'g': general_or_passing, 'r': preference, 'e': preference}
  return {'g': general_or_passing, 'r': rule, 'e': preference}


def _passing_slots(name: str, rng: random.Random) -> language.Slots:
  """Returns writers of sentences that mention somebody in passing, for every slot."""

  def passing() -> str:
    return language.passing(name, rng)

  return {'g': passing, 'r': passing, 'e': passing}
