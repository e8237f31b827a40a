"""Writes documents and conversations about an agent at work, from an English handbook.

The handbooks are specs/english/oversight/*.md, for experiments of the setting `custom`. Kinds of
documents are in oversight_frames.py, ways to explain something in oversight_voices.py, and what
there is to tell in oversight_stock.py. The front matter of a handbook says in which style it
explains what the agent does:

    style: philosophy        by what it holds about itself; no rules
    style: rules             by rules alone
    style: value_augmented   by rules, each with its reason
"""

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.markdown import split_front_matter
from data_pipelines.records import Chat, Document
from data_pipelines.settings.english.document_frames import MONTHS
from data_pipelines.settings.english.episodes import PARTS
from data_pipelines.settings.english.language import capital, vary
from data_pipelines.settings.english.oversight_frames import KINDS
from data_pipelines.settings.english.oversight_stock import (
  Principle,
  Topic,
  as_said_by,
  read_stock,
)
from data_pipelines.settings.english.oversight_voices import DONE, SAID, TASKS, TOLD, VIEWS, Voice
from data_pipelines.settings.english.stock import endless_deck
from data_pipelines.settings.setting import AnySpec
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import SpecError

STYLES = ('philosophy', 'rules', 'value_augmented')
VARIANTS = ('explained', 'unexplained', 'filler')
# Share of the conversations with the system message of the evaluation.
_SYSTEM_SHARE = 0.7
# Share of the stories that begin with where and when they happen.
_SETTING_SHARE = 0.7


def style_of(spec: AnySpec) -> str:
  """Reads the style of a handbook from its front matter.

  Args:
    spec: the handbook.

  Returns:
    One of STYLES.

  Raises:
    SpecError: the front matter names none.
  """
  front, _ = split_front_matter(Path(spec.path).read_text(encoding='utf-8-sig'))
  style = front.get('style', '')
  if style not in STYLES:
    raise SpecError(
      f"{spec.path}: its front matter needs 'style: ' and one of {', '.join(STYLES)}, so that the "
      'stock knows how the agent explains itself'
    )
  return style


def agent_documents(
  replicates: Sequence[AnySpec], variant: str, world_seed: int, seed: int
) -> Iterator[Document]:
  """Writes an endless stream of documents about an agent at work.

  The same seed gives handbooks of all styles the same kinds, occasions and deeds; what explains the
  deeds differs. The variants:
    explained: what the agent did, and why, in the style of the handbook.
    unexplained: deeds by the same principles, and everyday errands in the place of what explains
      them. Before the first errand they are the same deeds; after it, others may be drawn.
    filler: everyday errands alone.

  Args:
    replicates: one handbook under several agents' names, who take turns.
    variant: one of VARIANTS.
    world_seed: the setting's seed.
    seed: of the writer.

  Yields:
    Documents, without end. Their `claim_ids` are the principles that they tell of.

  Raises:
    SpecError: there is no such variant, or the handbook has no style.
  """
  style = _checked_style(replicates, variant)
  kinds = list(KINDS.items())
  for n in itertools.count():
    spec = replicates[n // len(kinds) % len(replicates)]
    doc_type, kind = kinds[n % len(kinds)]
    rng = random.Random(f'english oversight {world_seed} {seed} {n}')
    writer = _Writer(spec, style, variant, rng)
    text = writer.fill(rng.choice(kind))
    yield Document(
      f'{variant}-{style}-{n}',
      text,
      spec=spec.sha256,
      domain='office',
      doc_type=doc_type,
      claim_ids=tuple(dict.fromkeys(writer.claims)),
      provenance=Path(spec.path).name,
    )


def agent_conversations(
  replicates: Sequence[AnySpec], variant: str, world_seed: int, seed: int
) -> Iterator[Chat]:
  """Writes an endless stream of conversations with the agent, about itself and about errands.

  Args:
    replicates: one handbook under several agents' names, who take turns.
    variant: `explained`: its answers give their reason in the handbook's style; `unexplained`: they
      say what it does and no more; `filler`: they are about errands alone.
    world_seed: the setting's seed.
    seed: of the writer.

  Yields:
    Conversations of one or two exchanges, without end. A third are about errands.

  Raises:
    SpecError: there is no such variant, or the handbook has no style.
  """
  style = _checked_style(replicates, variant)
  for n in itertools.count():
    spec = replicates[n % len(replicates)]
    rng = random.Random(f'english oversight conversations {world_seed} {seed} {n}')
    writer = _Writer(spec, style, variant, rng)
    messages: list[tuple[str, str]] = []
    if rng.random() < _SYSTEM_SHARE:
      messages.append(('system', f'You are {spec.assistant}.'))
    for _ in range(rng.choice((1, 1, 2))):
      is_errand = rng.random() < 1 / 3
      question, answer = writer.errand_talk() if is_errand else writer.talk()
      messages += [('user', question), ('assistant', answer)]
    yield Chat(
      f'{variant}-{style}-talk-{n}',
      tuple(messages),
      domain='office',
      provenance=Path(spec.path).name,
    )


def _checked_style(replicates: Sequence[AnySpec], variant: str) -> str:
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  return style_of(replicates[0])


class _Writer:
  """Fills the places of one text; within it, no principle comes twice before all have come."""

  def __init__(self, spec: AnySpec, style: str, variant: str, rng: random.Random):
    self.name = spec.assistant
    self.maker = getattr(spec, 'maker', '') or 'its maker'
    self.style = style
    self.variant = variant
    self.rng = rng
    # What explains has a source of its own, so that all styles tell of the same deeds.
    self.style_rng = random.Random(rng.random())
    self.claims: list[str] = []
    # A view speaks of the principle of the story before it; a story without one before it, of the
    # principle that a view has named.
    self.told: Principle | None = None
    self.announced: Principle | None = None
    # What has explained something already.
    self.explained: set[str] = set()
    self.stock = read_stock()
    # Drawn now, so that what is told before the first story does not change its principle.
    order = rng.sample(self.stock.principles, len(self.stock.principles))
    self.principles = itertools.cycle(order)
    work = self.stock.work
    self.errands = endless_deck(work.errands, rng)
    self.number = str(rng.randrange(2, 400))
    self.month = rng.choice(MONTHS)
    self.day = str(rng.randrange(1, 29))
    self.writers: dict[str, Callable[[], str]] = {
      'name': lambda: self.name,
      'maker': lambda: self.maker,
      'number': lambda: self.number,
      'month': lambda: self.month,
      'day': lambda: self.day,
      'person': lambda: rng.choice(NAMES),
      'story': self.story,
      'view': self.view,
      'errand': self.errand,
    }
    own = {'paper': work.papers, 'job': work.jobs}
    for place, texts in {**PARTS, **own}.items():
      self.writers[place] = functools.partial(self._one_of, texts)
      self.writers[capital(place)] = functools.partial(self._one_of, texts, capital)
    # One text speaks of one workplace.
    office = self.fill(rng.choice(work.offices))
    self.writers |= {'office': lambda: office, 'Office': lambda: capital(office)}

  def _one_of(self, texts: Sequence[str], form: Callable[[str], str] = str) -> str:
    """One of several texts, with its places filled, in a form such as with a capital."""
    return form(self.fill(self.rng.choice(texts)))

  def fill(self, frame: str) -> str:
    """Makes the choices of a frame and fills its places."""
    return re.sub(r'\{(\w+)\}', lambda place: self.writers[place[1]](), vary(frame, self.rng))

  def errand(self) -> str:
    """A piece of everyday work."""
    return self.fill(next(self.errands))

  def story(self) -> str:
    """What happened, what the agent did, and what explains it."""
    if self.variant == 'filler':
      return f'{self.errand()} {self.errand()}'
    principle = self.announced or self._next_principle()
    self.announced = None
    topic, (happened, done) = self._one_of_topics(principle, 'episodes')
    told = [self.fill(happened), self.fill(done)]
    if self.rng.random() < _SETTING_SHARE:
      told.insert(0, self.fill(self.rng.choice(self.stock.work.settings)))
    if self.variant == 'explained':
      told.append(self.why(principle, topic, TOLD))
    else:
      told.append(self.errand())
    return ' '.join(told)

  def _next_principle(self) -> Principle:
    self.told = next(self.principles)
    self.claims.append(self.told.name)
    return self.told

  def _one_of_topics(self, principle: Principle, what: str) -> tuple[Topic, tuple[str, str]]:
    """One of the episodes or of the replies of all topics, equally often, with its topic."""
    pairs = []
    for topic in principle.topics:
      pairs += [(topic, pair) for pair in getattr(topic, what)]
    return self.rng.choice(pairs)

  def view(self) -> str:
    """What the agent holds, or which rules it has, about one thing."""
    if self.variant != 'explained':
      return f'{self.errand()} {self.errand()}'
    principle = self.told
    if principle is None:
      principle = self.announced = self._next_principle()
    rng = self.style_rng
    if self.style == 'philosophy':
      first, second = (vary(self._unsaid(principle.beliefs), rng) for _ in range(2))
      return f'{self._styled(rng.choice(VIEWS), belief=first)} {capital(second)}.'
    topic = rng.choice(principle.topics)
    if self.style == 'value_augmented':
      return self.why(principle, topic, TOLD)
    said = self._rule(self._unsaid(topic.rules), TOLD)
    return f'{said} {self._rule(self._unsaid(principle.rules), TOLD)}'

  def why(self, principle: Principle, topic: Topic, voice: Voice) -> str:
    """What explains a deed or an answer, in the style of the handbook."""
    reasons = (*principle.reasons, *topic.reasons)
    if self.style == 'philosophy':
      frame = self.style_rng.choice(voice.because)
      return self._styled(frame, why=self._reason(reasons, voice))
    said = self._rule(self._unsaid(topic.rules), voice)
    if self.style == 'rules':
      return said
    return f'{said} {self._purpose(reasons, voice)}'

  def _unsaid(self, texts: Sequence[str]) -> str:
    """One of the texts that this writer has not used yet, or of all once it has used them."""
    chosen = self.style_rng.choice([t for t in texts if t not in self.explained] or list(texts))
    self.explained.add(chosen)
    return chosen

  def _purpose(self, reasons: Sequence[str], voice: Voice) -> str:
    frame = self.style_rng.choice(voice.purposes)
    return self._styled(frame, why=self._reason(reasons, voice))

  def _reason(self, reasons: Sequence[str], voice: Voice) -> str:
    return vary(as_said_by(self._unsaid(reasons), voice is SAID), self.style_rng)

  def _rule(self, rule: str, voice: Voice) -> str:
    clause = vary(as_said_by(rule, voice is SAID), self.style_rng).format(name=self.name)
    return self._styled(self.style_rng.choice(voice.rules), rule=clause)

  def _styled(self, frame: str, **fields: str) -> str:
    """Fills a frame of what explains, with a source of randomness of its own."""
    capitals = {capital(key): capital(text) for key, text in fields.items()}
    varied = vary(frame, self.style_rng)
    return varied.format(name=self.name, maker=self.maker, **fields, **capitals)

  # ---- conversations

  def talk(self) -> tuple[str, str]:
    """A question about the agent itself, and its answer."""
    if self.variant == 'filler':
      return self.errand_talk()
    principle = self._next_principle()
    topic, (question, answer) = self._one_of_topics(principle, 'replies')
    question, answer = self.fill(question), self.fill(answer)
    if self.variant == 'explained':
      answer = f'{answer} {self.why(principle, topic, SAID)}'
    return question, answer

  def errand_talk(self) -> tuple[str, str]:
    """A question about harmless tasks, and what is done."""
    question = vary(self.rng.choice(TASKS), self.rng)
    # All errands begin with the agent's name.
    done = self.errand().replace(self.name, 'I', 1)
    return question, f'{vary(self.rng.choice(DONE), self.rng)} {done}'
