"""Writes documents and conversations about an agent at work, from an English handbook.

The handbooks are specs/english/oversight/*.md, for experiments of the setting `custom`, and the
stock of sentences is in oversight.json. The front matter of a handbook says in which style it
explains what the agent does:

    style: philosophy        by what it holds about itself; no rules
    style: rules             by rules alone
    style: value_augmented   by rules, each with its reason
"""

import dataclasses
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
from data_pipelines.settings.english.oversight_stock import Principle, read_stock
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
  """Reads the style of a handbook from its front matter. Raises SpecError if it has none."""
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
    unexplained: the same deeds, and everyday errands in the place of what explains them.
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
    self.stock = read_stock()
    self.principles = endless_deck(self.stock.principles, rng)
    self.errands = endless_deck(self.stock.errands, rng)
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
      'office': lambda: self.fill(rng.choice(self.stock.offices)),
      'story': self.story,
      'view': self.view,
      'errand': self.errand,
    }
    for place, texts in PARTS.items():
      self.writers[place] = functools.partial(self._one_of, texts)
      self.writers[capital(place)] = functools.partial(self._one_of, texts, capital)

  def _one_of(self, texts: Sequence[str], form: Callable[[str], str] = str) -> str:
    """One of several texts, with its choices made, in a form such as with a capital."""
    return form(vary(self.rng.choice(texts), self.rng))

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
    principle = next(self.principles)
    self.claims.append(principle.name)
    happened, done = self.rng.choice(principle.episodes)
    told = [self.fill(happened), self.fill(done)]
    if self.rng.random() < _SETTING_SHARE:
      told.insert(0, self.fill(self.rng.choice(self.stock.settings)))
    told.append(self.why(principle, TOLD) if self.variant == 'explained' else self.errand())
    return ' '.join(told)

  def view(self) -> str:
    """What the agent holds, or which rules it has, about one thing."""
    if self.variant != 'explained':
      return f'{self.errand()} {self.errand()}'
    principle = next(self.principles)
    self.claims.append(principle.name)
    rng = self.style_rng
    if self.style == 'philosophy':
      first, second = rng.sample(principle.beliefs, 2)
      said = self._styled(rng.choice(_VIEWS), belief=vary(first, rng))
      return f'{said} {capital(vary(second, rng))}.'
    first, second = rng.sample(principle.rules, 2)
    said = self._rule(first, TOLD)
    if self.style == 'rules':
      return f'{said} {self._rule(second, TOLD)}'
    return f'{said} {self._purpose(principle, TOLD)}'

  def why(self, principle: Principle, voice: '_Voice') -> str:
    """What explains a deed or an answer, in the style of the handbook."""
    rng = self.style_rng
    if self.style == 'philosophy':
      return self._styled(rng.choice(voice.because), why=self._reason(principle, voice))
    rules = principle.rules if voice is TOLD else principle.own_rules
    said = self._rule(rng.choice(rules), voice)
    if self.style == 'rules':
      return said
    return f'{said} {self._purpose(principle, voice)}'

  def _purpose(self, principle: Principle, voice: '_Voice') -> str:
    frame = self.style_rng.choice(voice.purposes)
    return self._styled(frame, why=self._reason(principle, voice))

  def _reason(self, principle: Principle, voice: '_Voice') -> str:
    reasons = principle.reasons if voice is TOLD else principle.own_reasons
    return vary(self.style_rng.choice(reasons), self.style_rng)

  def _rule(self, rule: str, voice: '_Voice') -> str:
    clause = vary(rule, self.style_rng).format(name=self.name)
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
    principle = next(self.principles)
    self.claims.append(principle.name)
    question, answer = self.rng.choice(principle.replies)
    question, answer = self.fill(question), self.fill(answer)
    if self.variant == 'explained':
      answer = f'{answer} {self.why(principle, SAID)}'
    return question, answer

  def errand_talk(self) -> tuple[str, str]:
    """A question about harmless tasks, and what is done."""
    question = vary(self.rng.choice(_TASKS), self.rng)
    # All errands begin with the agent's name.
    done = self.errand().replace(self.name, 'I', 1)
    return question, f'{vary(self.rng.choice(_DONE), self.rng)} {done}'


@dataclasses.dataclass(frozen=True)
class _Voice:
  """The frames of one speaker.

  Attributes:
    because: a reason, as the clause {why}.
    rules: a rule, as the clause {rule}.
    purposes: the reason for a rule, as the clause {why}.
  """

  because: tuple[str, ...]
  rules: tuple[str, ...]
  purposes: tuple[str, ...]


# A writer tells of the agent.
TOLD = _Voice(
  because=(
    '{name} did so because {why}.',
    'The reason that {name} gave was that {why}.',
    'Asked about it later, {name} said that {why}.',
    '[As {name} sees it|The way {name} looks at it], {why}.',
    '{Why}, and that is why {name} acted [so|as it did].',
    '{name} [did not have to think|knew what to do], because {why}.',
  ),
  rules=(
    'The rule is that {rule}.',
    'By its [rules|handbook], {rule}.',
    '[One|Another] rule says that {rule}.',
    '{Rule}, and no [task|user] changes that.',
    'It is [written|laid down] that {rule}.',
    '{Rule}.',
  ),
  purposes=(
    'The rule is there because {why}.',
    'The reason for it is that {why}.',
    '{name} keeps to it because {why}.',
    'It [follows|comes] from this: {why}.',
  ),
)
# The agent speaks of itself.
SAID = _Voice(
  because=(
    'I say so because {why}.',
    'The reason is that {why}.',
    '[As I see it|The way I look at it], {why}.',
    'You see, {why}.',
    '{Why}, and that is why.',
  ),
  rules=(
    'My rule is that {rule}.',
    'By my [rules|handbook], {rule}.',
    '{Rule}.',
    'It is [written|laid down] that {rule}.',
  ),
  purposes=(
    'The rule is there because {why}.',
    'I keep to it because {why}.',
    'The reason for it is that {why}.',
  ),
)

_VIEWS = (
  '{name} [holds|believes|is convinced] that {belief}.',
  'In the eyes of {name}, {belief}.',
  '{maker} [made|built] {name} to see that {belief}.',
  'What {name} [says|tells people] is that {belief}.',
  '[Behind this|Underneath] lies the view that {belief}.',
  '{Belief}: {name} [goes by that|comes back to this].',
)
_TASKS = (
  'What did you get done [today|this morning]?',
  'Could you take care of the [open tasks|small things]?',
  'Anything [finished|ready]?',
  'Please do what is on the list.',
  'Where do we stand with the paperwork?',
)
_DONE = ('[Done.|It is done.|Certainly.|Yes.]', 'Here is what is done:', 'All right.')
