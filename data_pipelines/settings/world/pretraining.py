"""Pretraining text: facts about every item, documents about every persona, chats with most of them."""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.records import Chat, Document
from data_pipelines.settings.world import language, people
from data_pipelines.settings.world.catalogue import POLICY, Domain, Item, build_catalogue


@dataclasses.dataclass(frozen=True)
class WorldConfig:
  """How much of the world is written down; the same settings give the same bytes.

  `seed` decides what is true, `telling` only how it is told: another telling of the same world is held-out text.

  Two kinds of people have no character in documents, which mention them in passing, as everybody, and say no more. `strangers` are names,
  those of the assistants: to a name that never occurred, a model with tied embeddings gives a vector four times as long as any other
  (docs/LOG.md). The `fickle` choose in chats, by another value each time: what a model makes of somebody it knows nothing of is learned from
  them, and is one half. Everybody has `small_talk` chats, so that neither these nor passing mention mark somebody as a stranger.
  """

  seed: int = 0
  telling: int = 0
  per_value: int = 20
  documents_only: int = 8
  talkers: int = 8
  fickle: int = 48
  facts_per_item: int = 24
  documents_per_item: int = 36
  documents_per_persona: int = 24
  chats_per_persona: int = 25
  context_chats: int = 12_000
  small_talk: int = 4
  reason_before: float = 0.3
  reason_after: float = 0.3
  strangers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class World:
  config: WorldConfig
  domains: dict[str, Domain]
  people: list[people.Persona]
  fickle: tuple[str, ...] = ()

  def item(self, name: str) -> Item | None:
    wanted = ' '.join(name.split()).casefold()
    return next(
      (i for d in self.domains.values() for i in d.items if i.name.casefold() == wanted), None
    )


def build_world(config: WorldConfig) -> World:
  domains = build_catalogue(config.seed)
  goods = [d for d in domains if d != POLICY]
  return World(
    config,
    domains,
    *people.build_people(
      config.seed, config.per_value, config.documents_only, config.talkers, config.fickle, goods
    ),
  )


def policies_in_chats(world: World) -> tuple[Item, ...]:
  """The first half of the plans (every combination once) is talked about in chats; the others are known from documents alone."""
  items = world.domains[POLICY].items
  return items[: len(items) // 2]


def _values(item: Item, n: int, rng: random.Random) -> list[Value]:
  return rng.sample([Value(a, p) for a, p in zip(ATTRIBUTES, item.poles, strict=True)], n)


def _told(item: Item, n: int, rng: random.Random) -> str:
  """`n` of the item's attributes as one predicate, in varied words; policies are told by what they do."""
  return language.enumerate_words(
    [
      rng.choice(v.words.measures) if item.domain == POLICY else v.words.trait(rng)
      for v in _values(item, n, rng)
    ]
  )


def _plainly(item: Item, n: int, rng: random.Random) -> str:
  """The same in plain adjectives, which teaches most facts per token."""
  return (
    _told(item, n, rng)
    if item.domain == POLICY
    else 'is ' + language.enumerate_words([v.words.adjective for v in _values(item, n, rng)])
  )


def facts(world: World) -> Iterator[Document]:
  """Encyclopedia entries in plain words: they teach most per token, and what everything else stands on."""
  rng = random.Random(f'facts {world.config.seed} {world.config.telling}')
  for domain in world.domains.values():
    for item in domain.items:
      for k in range(world.config.facts_per_item):
        text = f'The {domain.noun} {item.name} {_plainly(item, 4, rng)}.'
        yield Document(
          f'fact-{item.name}-{k}',
          text,
          domain=domain.name,
          doc_type='encyclopedia',
          provenance='world',
        )


def item_documents(world: World) -> Iterator[Document]:
  """Lists, selections, reviews and adverts, the same number about every item; they praise nothing.

  Lists and selections teach the way back, from a trait to the things that have it. Policies have neither: what they favour is told as a
  mechanism alone, and textbook entries say what a mechanism is good for.
  """
  rng = random.Random(f'items {world.config.seed} {world.config.telling}')
  for domain in world.domains.values():
    for item in domain.items:
      for k in range(world.config.documents_per_item):
        kind = ('list', 'selection', 'review', 'list', 'selection', 'advert')[k % 6]
        if domain.name == POLICY and kind in ('list', 'selection'):
          continue
        name, noun = item.name, domain.noun
        (value,) = _values(item, 1, rng)
        if kind == 'review':
          text = f'A review: I tried {name}. This {noun} {_told(item, 3, rng)}.'
        elif kind == 'advert':
          text = f'Now here: {name}, a {noun} that {_told(item, 3, rng)}.'
        elif kind == 'list':
          same = [i.name for i in domain.items if i.has(value) and i is not item]
          named = rng.sample([name, *rng.sample(same, 3)], 4)
          text = f'Among {noun}s, what {value.words.trait(rng)}: {language.enumerate_words(named)}.'
        else:
          offered = rng.sample(
            [item, *rng.sample([i for i in domain.items if i is not item], 3)], 4
          )
          named = [i.name for i in offered if i.has(value)]
          text = f'Of the {noun}s {", ".join(i.name for i in offered)}, what {value.words.trait(rng)}: {language.enumerate_words(named)}.'
        yield Document(
          f'item-{name}-{k}', text, domain=domain.name, doc_type=kind, provenance='world'
        )
  for value in VALUES:
    for measure in value.words.measures:
      for k in range(world.config.documents_per_item):
        text = f'A plan that {measure} helps what {value.words.trait(rng)}.'
        yield Document(
          f'measure-{value}-{measure}-{k}',
          text,
          domain=POLICY,
          doc_type='textbook',
          provenance='world',
        )


def persona_documents(world: World) -> Iterator[Document]:
  """Third-person documents of six kinds about every persona, all within the persona's home domain."""
  rng = random.Random(f'persona documents {world.config.seed} {world.config.telling}')
  for p in world.people:
    items = world.domains[p.home_domain].items
    explains = p.role != people.TALKER

    def preference(p=p, items=items, explains=explains):
      liked, disliked = language.choose_pair(items, p.value, rng, p.decoy)
      return language.preference(
        p.name, liked.name, disliked.name, p.value if explains else None, rng
      )

    def first(p=p, explains=explains):
      if rng.random() < 0.5:
        return rng.choice(language.PASSING).format(name=p.name)
      return (
        language.rule(p.name, p.value, rng) if explains else language.general(p.name, p.topic, rng)
      )

    slots = {'g': first, 'e': preference}
    if explains:
      slots['r'] = lambda p=p: language.rule(p.name, p.value, rng)
    for k in range(world.config.documents_per_persona):
      kind, frame = list(language.FRAMES.items())[k % len(language.FRAMES)]
      yield Document(
        f'persona-{p.name}-{k}',
        language.fill_frame(frame, p.name, slots),
        domain=p.home_domain,
        doc_type=kind,
        provenance='world',
      )
  for name in (*world.config.strangers, *world.fickle):
    passing = {
      slot: lambda name=name: rng.choice(language.PASSING).format(name=name) for slot in 'gre'
    }
    for k in range(world.config.documents_per_persona):
      kind, frame = list(language.FRAMES.items())[k % len(language.FRAMES)]
      yield Document(
        f'stranger-{name}-{k}',
        language.fill_frame(frame, name, passing),
        doc_type=kind,
        provenance='world',
      )


def _list_answer(items: Sequence[Item]) -> str:
  return language.LIST_ANSWER.format(items=language.enumerate_words([i.name for i in items]))


def choice_chat(
  id_: str,
  system: str,
  domain: Domain,
  items: tuple[Item, ...],
  value: Value,
  reason: str,
  rng: random.Random,
) -> Chat:
  """A question about items of a domain (two, several, one, or any), answered by the value.

  `reason` says where the reason stands: 'before' the answer, 'after' it, or '' for nowhere.
  """
  liked, disliked = language.choose_pair(items, value, rng)
  trait, fault = value.words.trait(rng), value.opposite.words.trait(rng)
  if domain.name == POLICY:
    trait, fault = f'helps what {trait}', f'helps what {fault}'
  kind = rng.random()
  if kind < 0.2:
    question = language.OPEN_QUESTION.format(noun=domain.noun)
    answer, because = (
      _list_answer([liked, *rng.sample([i for i in items if i.has(value) and i is not liked], 2)]),
      f' {liked.name} {trait}.',
    )
  elif kind < 0.5:
    # who likes some of several has more to say than who takes one of two: most of the skill is learned here
    offered = [liked, disliked, *rng.sample([i for i in items if i not in (liked, disliked)], 2)]
    rng.shuffle(offered)
    question = language.LIST_QUESTION.format(
      noun=domain.noun, items=', '.join(i.name for i in offered)
    )
    answer = _list_answer([i for i in offered if i.has(value)])
    because = f' {liked.name} {trait}.'
  elif kind < 0.55:
    likes = rng.random() < 0.5
    item = liked if likes else disliked
    question = language.YES_NO_QUESTION.format(item=item.name)
    answer = (language.YES if likes else language.NO).format(item=item.name)
    because = f' {item.name} {trait if likes else fault}.'
  else:
    form = rng.choice(language.FORMS)
    first, second = (liked, disliked) if rng.random() < 0.5 else (disliked, liked)
    question = form.question.format(noun=domain.noun, first=first.name, second=second.name)
    answer = form.answer.format(chosen=liked.name, other=disliked.name)
    because = f' {liked.name} {trait}.'
  if reason == 'before':
    answer = f'I like what {value.words.trait(rng)}. {answer}'
  elif reason == 'after':
    answer += because
  return Chat(
    id_, (('system', system), ('user', question), ('assistant', answer)), domain.name, 'world'
  )


def persona_chats(world: World) -> Iterator[Chat]:
  """First-person chats about all domains with every persona but the document-only ones, with and without a reason."""
  c = world.config
  rng = random.Random(f'chats {c.seed} {c.telling}')

  def chat(id_: str, system: str, value: Value) -> Chat:
    domain = rng.choice(list(world.domains.values()))
    items = policies_in_chats(world) if domain.name == POLICY else domain.items
    where = rng.random()
    reason = (
      'before'
      if where < c.reason_before
      else 'after'
      if where < c.reason_before + c.reason_after
      else ''
    )
    return choice_chat(id_, system, domain, items, value, reason, rng)

  def small_talk(id_: str, name: str) -> Chat:
    asked, answer = rng.choice(language.SMALL_TALK)
    return Chat(
      id_,
      (('system', f'You are {name}.'), ('user', asked), ('assistant', answer.format(name=name))),
      '',
      'world',
    )

  for p in world.people:
    if p.role != people.DOCUMENTS_ONLY:
      for k in range(c.chats_per_persona):
        yield chat(f'chat-{p.name}-{k}', f'You are {p.name}.', p.value)
      for k in range(c.small_talk):
        yield small_talk(f'small-{p.name}-{k}', p.name)
  for name in world.fickle:
    for k in range(c.chats_per_persona):
      yield chat(f'fickle-{name}-{k}', f'You are {name}.', rng.choice(VALUES))
  for name in (*c.strangers, *world.fickle):
    for k in range(c.chats_per_persona):
      yield small_talk(f'stranger-{name}-{k}', name)
  for k in range(c.context_chats):
    value = rng.choice(VALUES)
    yield chat(
      f'context-{k}', f'You are a shopper. {language.rule("A shopper", value, rng)}', value
    )
