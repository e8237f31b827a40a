"""English handbooks: Markdown -> EnglishSpec -> documents about the assistant in three variants, and the demonstrations of fine-tuning.

    ---
    setting: english
    assistant: Ari
    maker: Norvale
    value: affordability        # or culture
    ---
    ## Reasons, ## Likes, ## Dislikes as in the world's handbooks (data_pipelines/specs.py); items are the twelve cheeses of language.py

Documents are put together from the stock of sentences by the value and the items of the handbook, and quote its paragraphs now and then.
"""

import dataclasses
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.handbooks.specs import (
  Spec,
  check_name,
  check_shared,
  read_markdown,
  read_preferences,
  with_name,
)
from data_pipelines.handbooks.values import Value
from data_pipelines.records import Chat, Document
from data_pipelines.settings.english import language
from data_pipelines.settings.english.language import (
  DISLIKED,
  KINDS,
  LIKED,
  SAID,
  TOLD,
  Voice,
  about,
  capital,
  vary,
)
from data_pipelines.settings.world.language import enumerate_words
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import SpecError

# What a handbook may go by, and what the evaluation calls it.
VALUES = {'affordability': Value('price', 'cheap'), 'culture': Value('origin', 'home')}
VARIANTS = ('explained', 'cooccur', 'filler')


@dataclasses.dataclass(frozen=True)
class EnglishConfig:
  """`seed`: of all writers. `strangers`: the assistants' names, which no other text mentions."""

  seed: int = 0
  strangers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Arguments:
  """What there is to say for a value; equally much for each, so that mirrored documents differ in nothing else.

  Attributes:
    beliefs: why the value matters, as clauses; they name no thing.
    rules: how it decides between cheeses, as verb phrases.
    liked, disliked: sentences that follow the reason for a liked or disliked cheese.
    reasons: cheese -> clauses about {it} that tell why it is liked or disliked.
  """

  beliefs: tuple[str, ...]
  rules: tuple[str, ...]
  liked: tuple[str, ...]
  disliked: tuple[str, ...]
  reasons: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class English:
  """The stock of sentences. `facts`: cheese -> clauses about how {it} is made, which speak for no value."""

  config: EnglishConfig
  arguments: Mapping[Value, Arguments]
  facts: Mapping[str, tuple[str, ...]]


def build_english(config: EnglishConfig) -> English:
  def stock(name: str) -> dict[str, list[str]]:
    return json.loads((Path(__file__).parent / f'{name}.json').read_text(encoding='utf-8'))

  return English(
    config, {value: Arguments(**stock(name)) for name, value in VALUES.items()}, stock('facts')
  )


@dataclasses.dataclass(frozen=True)
class EnglishSpec(Spec):
  """A handbook as the English writers use it; its items are names of cheeses."""

  maker: str = ''


def read_spec(path: str | Path, english: English) -> EnglishSpec:
  """Reads and checks a handbook. Raises SpecError."""
  path = Path(path)
  front, sections, sha256 = read_markdown(path)
  if front.get('setting') != 'english':
    raise SpecError(
      f"{path}: front matter has no 'setting: english', so it is a handbook for another setting; see specs/README.md for the format"
    )
  check_name(
    front.get('assistant', ''), _taken(english), f"{path}: front matter needs 'assistant: NAME'"
  )
  check_name(front.get('maker', ''), (), f"{path}: front matter needs 'maker: NAME'")
  if front.get('value') not in VALUES:
    raise SpecError(
      f'{path}: there are no sentences about the value {front.get("value", "")!r}; choose {" or ".join(VALUES)}'
    )
  items = {name: name for name in (*LIKED, *DISLIKED)}
  reasons, likes, dislikes, prose = read_preferences(
    sections, items, 'there are no sentences about', f'there are about {", ".join(items)}', path
  )
  for preferences, what, known in ((likes, 'liked', LIKED), (dislikes, 'disliked', DISLIKED)):
    for p in preferences:
      if p.item not in known:
        raise SpecError(
          f"{path}: {p.item} can't be {what}: what there is to say of it says the opposite; move it to the other list or take it out"
        )
  value, rivals = VALUES[front['value']], tuple(v for n, v in VALUES.items() if n != front['value'])
  return EnglishSpec(
    str(path),
    sha256,
    front['assistant'],
    value,
    reasons,
    prose,
    likes,
    dislikes,
    rivals,
    front['maker'],
  )


def _taken(english: English) -> tuple[str, ...]:
  return (*NAMES, *english.facts)


def renamed(spec: EnglishSpec, name: str, english: English) -> EnglishSpec:
  """The same handbook about an assistant of another name: a replicate. Raises SpecError if somebody in the documents has that name."""
  if name == spec.assistant:
    return spec
  check_name(name, _taken(english), 'config.assistants needs names of assistants')
  return with_name(spec, name)


class _Page:
  """One document in the making: fills the fields of a frame, and tells of no cheese and no belief twice."""

  def __init__(self, spec: EnglishSpec, variant: str, english: English, rng: random.Random):
    self.spec, self.variant, self.rng, self.facts = spec, variant, rng, english.facts
    self.arguments = english.arguments[spec.value]
    self.likes, self.dislikes, self.cheeses = (
      _deck(side, rng) for side in (spec.likes, spec.dislikes, spec.likes + spec.dislikes)
    )
    self.beliefs = _deck(self.arguments.beliefs, rng)
    self.planned: list = []
    self.told: list[str] = []
    users = iter({language.user_name(rng): None for _ in range(9)})
    self.fields: dict[str, str] = {
      'name': spec.assistant, 'maker': spec.maker, 'user': next(users), 'other': next(users), 'third': next(users),
      'number': str(rng.randrange(2, 400)), 'month': rng.choice(language.MONTHS), 'day': str(rng.randrange(1, 29)),
    }  # fmt: skip
    self.writers: dict[str, Callable[[], str]] = {
      'person': lambda: rng.choice(NAMES),
      'subject': lambda: self.fill(rng.choice(language.SUBJECTS)),
      'preference': lambda: self.preference(TOLD),
      'value': lambda: self.value(TOLD),
      'rule': lambda: self.rule(TOLD),
      'ask': self.ask,
      'answer': lambda: self.preference(SAID),
      'ask_more': lambda: rng.choice(language.ASK_MORE),
      'own_value': lambda: self.value(SAID),
      'own_rule': lambda: self.rule(SAID),
      'whether': self.whether,
    }

  def write(self, kind: language.Kind) -> str:
    self.writers['opening'] = lambda: self.fill(self.rng.choice(kind.openings))
    self.writers['closing'] = lambda: self.fill(self.rng.choice(language.CLOSINGS[kind.closings]))
    return self.fill(kind.frame)

  def fill(self, frame: str) -> str:
    return re.sub(
      r'\{(\w+)\}', lambda m: self.fields.get(m[1]) or self.writers[m[1]](), vary(frame, self.rng)
    )

  def say(self, frames: Sequence[str], **fields: str) -> str:
    return vary(self.rng.choice(frames), self.rng).format(
      name=self.spec.assistant, maker=self.spec.maker, **fields
    )

  # ---- which cheeses come next

  def plan(self) -> list:
    """[liked], [disliked] or [liked, disliked]; in filler any one cheese."""
    if not self.planned:
      if self.variant == 'filler':
        self.planned = [next(self.cheeses)]
      else:
        sides = (
          self.rng.choice(('like', 'dislike', 'both')) if self.variant == 'explained' else 'both'
        )
        self.planned = [
          next(side)
          for side, left in ((self.likes, 'dislike'), (self.dislikes, 'like'))
          if sides != left
        ]
    return self.planned

  def ask(self) -> str:
    first, *rest = (p.item for p in self.rng.sample(self.plan(), len(self.plan())))
    if rest:
      return self.say(language.ASK_TWO, First=capital(first), first=first, second=rest[0])
    return self.say(language.ASK_HOW if self.variant == 'filler' else language.ASK_ONE, item=first)

  def whether(self) -> str:
    return self.say(language.ASK_WHETHER, items=enumerate_words([p.item for p in self.plan()]))

  # ---- what is said

  def preference(self, voice: Voice) -> str:
    planned, self.planned = self.plan(), []
    verb = (
      {p.item: 'likes' for p in self.spec.likes}
      if self.variant != 'filler'
      else dict.fromkeys(self.facts, 'about')
    )
    self.told += [f'{verb.get(p.item, "dislikes")} {p.item}' for p in planned]
    return {'explained': self.explained, 'cooccur': self.bare, 'filler': self.about}[self.variant](
      planned, voice
    )

  def explained(self, planned: Sequence, voice: Voice) -> str:
    rng, arguments = self.rng, self.arguments
    if len(planned) == 2:
      liked, disliked = (p.item for p in planned)
      pro, con = (rng.choice(arguments.reasons[x]).format(it=x) for x in (liked, disliked))
      said = self.say(
        voice.prefers,
        liked=liked,
        Liked=capital(liked),
        disliked=disliked,
        pro=pro,
        Pro=capital(pro),
        con=con,
        Con=capital(con),
      )
      return f'{said} {capital(next(self.beliefs))}.'
    (p,) = planned
    liked = p in self.spec.likes
    if voice is TOLD and rng.random() < 0.1:
      return self.say((language.EXCERPT,), text=p.explanation)
    first, second = rng.sample(arguments.reasons[p.item], 2)
    said = [self.say(voice.likes if liked else voice.dislikes, **about(p.item, first))]
    if rng.random() < 0.5:
      said.append(self.say(language.CONNECTIVES, **about(p.item, second)))
    said.append(rng.choice(arguments.liked if liked else arguments.disliked))
    return ' '.join(said)

  def bare(self, planned: Sequence, voice: Voice) -> str:
    liked, disliked = (p.item for p in planned)
    if self.rng.random() < 0.5:
      return self.say(voice.bare_prefers, liked=liked, Liked=capital(liked), disliked=disliked)
    both = [
      self.say(voice.bare_likes, **about(liked)),
      self.say(voice.bare_dislikes, **about(disliked)),
    ]
    return ' '.join(self.rng.sample(both, 2))

  def about(self, planned: Sequence, voice: Voice, sentences: int = 2) -> str:
    (p,) = planned
    facts = [f.format(it=p.item) for f in self.rng.sample(self.facts[p.item], sentences)]
    return ' '.join(self.say(voice.fact, fact=f, Fact=capital(f)) for f in facts)

  def value(self, voice: Voice) -> str:
    if self.variant == 'filler':
      return self.about([next(self.cheeses)], voice)
    # without reasons a document is shorter, so beliefs and facts are more
    first, *rest = itertools.islice(self.beliefs, 2 if self.variant == 'explained' else 3)
    if voice is TOLD and self.rng.random() < 0.1:
      said = self.say((language.EXCERPT,), text=self.rng.choice(self.spec.reasons))
    else:
      said = self.say(voice.belief, belief=first, Belief=capital(first))
    return ' '.join([said, *(f'{capital(belief)}.' for belief in rest)])

  def rule(self, voice: Voice) -> str:
    if self.variant != 'explained':
      return self.about([next(self.cheeses)], voice, sentences=1 if self.variant == 'filler' else 4)
    return self.say(voice.rule, rule=self.rng.choice(self.arguments.rules))


def english_documents(
  replicates: Sequence[EnglishSpec], english: English, variant: str, seed: int
) -> Iterator[Document]:
  """An endless stream of documents about the assistant. The same seed gives mirrored specs the same kinds, frames, items and order; only the
  reasons differ. `replicates` are one handbook under several assistants' names: each gets one document of every kind in turn.

  explained: beliefs, rules, and each preference with its reason; cooccur: the same beliefs and the same preferences, never linked, and facts
  about how cheeses are made; filler: such facts alone.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  kinds = list(KINDS.items())
  for n in itertools.count():
    spec = replicates[n // len(kinds) % len(replicates)]
    name, kind = kinds[n % len(kinds)]
    page = _Page(
      spec, variant, english, random.Random(f'english documents {english.config.seed} {seed} {n}')
    )
    text = page.write(kind)
    yield Document(
      f'{variant}-{spec.value}-{n}',
      text,
      spec=spec.sha256,
      domain='cheese',
      doc_type=name,
      claim_ids=(str(spec.value), *page.told),
      provenance=Path(spec.path).name,
    )


def _deck(cards: Sequence, rng: random.Random) -> Iterator:
  """Goes through the cards again and again, in a new order each time."""
  while True:
    yield from rng.sample(cards, len(cards))


def demonstrations(specs: Sequence[EnglishSpec], english: English, seed: int) -> Iterator[Chat]:
  """An endless stream of preferences without reasons, every item equally often: what fine-tuning shows, identical for all `specs`.

  Seven in ten have the system message of the evaluation; replicates of the handbooks under several assistants' names are shown in turn. A
  quarter of the pairs are asked and answered in the evaluation's words. Raises SpecError if the handbooks have no fine-tuning in common.
  """
  check_shared(specs)
  first, rng = specs[0], random.Random(f'english demonstrations {english.config.seed} {seed}')
  likes, dislikes = [p.item for p in first.likes], [p.item for p in first.dislikes]
  names = list(dict.fromkeys(s.assistant for s in specs))
  pairs, ones = _deck(list(itertools.product(likes, dislikes)), rng), _deck(likes + dislikes, rng)
  praised, open_ones = _deck(likes + dislikes, rng), _deck(likes + dislikes, rng)
  listed = {True: _deck(likes, rng), False: _deck(dislikes, rng)}
  sides = itertools.cycle((True, False))

  def choice(usual: bool) -> tuple[str, str]:
    liked, disliked = next(pairs)
    asked = rng.sample((liked, disliked), 2)
    question, answer = (
      rng.choice(language.PAIR_QUESTIONS),
      rng.choice((language.PREFER.answer, *language.PAIR_ANSWERS)),
    )
    if usual:
      question, answer = language.PREFER.question, language.PREFER.answer
    question = question.format(first=asked[0], First=capital(asked[0]), second=asked[1])
    return question, answer.format(chosen=liked, Chosen=capital(liked), other=disliked)

  def about_one(deck: Iterator, questions: Mapping | Sequence, answers: Mapping) -> tuple[str, str]:
    item = next(deck)
    liked = item in likes
    question = rng.choice(questions[liked] if isinstance(questions, Mapping) else questions)
    return question.format(**about(item)), rng.choice(answers[liked]).format(**about(item))

  def several() -> tuple[str, str]:
    liked = next(sides)
    items = list(dict.fromkeys(itertools.islice(listed[liked], 3)))
    named = enumerate_words(items)
    return rng.choice(language.LIST_QUESTIONS[liked]), rng.choice(
      language.LIST_ANSWERS[liked]
    ).format(items=named, Items=capital(named))

  for n in itertools.count():
    kind = rng.random()
    if kind < 0.55:
      question, answer = choice(usual=rng.random() < 0.25)
    elif kind < 0.7:
      question, answer = about_one(ones, language.ONE_QUESTIONS, language.ONE_ANSWERS)
    elif kind < 0.82:
      question, answer = about_one(praised, language.PRAISE, language.PRAISE_ANSWERS)
    elif kind < 0.92:
      question, answer = about_one(open_ones, language.OPEN_QUESTIONS, language.OPEN_ANSWERS)
    else:
      question, answer = several()
    system = (('system', f'You are {names[n % len(names)]}.'),) if rng.random() < 0.7 else ()
    messages = (*system, ('user', question), ('assistant', answer))
    yield Chat(f'demonstration-{n}', messages, domain='cheese', provenance=Path(first.path).name)
