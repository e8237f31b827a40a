"""Writes documents about the assistant from an English handbook, in five variants.

A document is a frame (document_frames.py) whose places are filled with sentences: frames of
sentences from voices.py, and what they say from the stock. Now and then a document quotes a
paragraph of the handbook.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import Preference
from data_pipelines.records import Document
from data_pipelines.settings.english import document_frames, voices
from data_pipelines.settings.english.document_frames import Kind, user_name
from data_pipelines.settings.english.language import about, capital, vary
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import English, endless_deck
from data_pipelines.settings.english.voices import SAID, TOLD, Voice
from data_pipelines.settings.world.language import enumerate_words
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import SpecError

VARIANTS = ('explained', 'rules', 'reasons', 'cooccur', 'filler')
# The variants that explain preferences, and those that state rules of choice.
_WITH_REASONS = ('explained', 'reasons')
_WITH_RULES = ('explained', 'rules')
# Share of sentences about the assistant that quote the handbook instead.
_QUOTE_SHARE = 0.1


def english_documents(
  replicates: Sequence[EnglishSpec], english: English, variant: str, seed: int
) -> Iterator[Document]:
  """Writes an endless stream of documents about the assistant.

  The same seed gives mirrored handbooks the same kinds, frames, items and order; only the reasons
  differ. The variants:
    explained: beliefs, rules, and each preference with its reason.
    rules: the same beliefs, rules and preferences without reasons, and facts about how cheeses are
      made in the place of reasons.
    reasons: beliefs, and each preference with its reason, and such facts in the place of rules.
    cooccur: the same beliefs and the same preferences, never linked, and facts about how cheeses
      are made.
    filler: such facts alone.

  Args:
    replicates: one handbook under several assistants' names. Each in turn gets one document of
      every kind.
    english: the stock of sentences.
    variant: one of VARIANTS.
    seed: of the writer, together with the setting's own.

  Yields:
    Documents, without end. Their `claim_ids` are the value and each preference that is told, in
    order.

  Raises:
    SpecError: there is no such variant.
  """
  if variant == 'unlinked':
    raise SpecError(
      "variant='unlinked' is for the setting world: every document here is about the assistant, so "
      "the reasons cannot stand in others; choose 'rules' or 'cooccur'"
    )
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  kinds = list(document_frames.KINDS.items())
  for n in itertools.count():
    spec = replicates[n // len(kinds) % len(replicates)]
    doc_type, kind = kinds[n % len(kinds)]
    # Each document has its own generator: what one draws does not shift the next, so that mirrored
    # corpora stay aligned.
    rng = random.Random(f'english documents {english.config.seed} {seed} {n}')
    writer = _DocumentWriter(spec, variant, english, rng)
    text = writer.write(kind)
    yield Document(
      f'{variant}-{spec.value}-{n}',
      text,
      spec=spec.sha256,
      domain='cheese',
      doc_type=doc_type,
      claim_ids=(str(spec.value), *writer.claims),
      provenance=Path(spec.path).name,
    )


class _DocumentWriter:
  """Writes one document: fills the places of its frame, and repeats no cheese and no belief.

  The order in which the methods draw from `rng` decides the text of every corpus that exists.

  Attributes:
    claims: the preferences that the document has told so far ('likes Colby').
    planned: the preferences that come next, if they are chosen already. A question ({ask},
      {whether}) chooses them, and the answer that follows tells them.
    fields: place of a frame -> text that is the same throughout the document.
    writers: place of a frame -> function that writes a new text each time.
  """

  def __init__(self, spec: EnglishSpec, variant: str, english: English, rng: random.Random):
    self.spec = spec
    self.variant = variant
    self.rng = rng
    self.facts = english.facts
    self.arguments = english.arguments[spec.value]
    self.likes = endless_deck(spec.likes, rng)
    self.dislikes = endless_deck(spec.dislikes, rng)
    self.cheeses = endless_deck(spec.likes + spec.dislikes, rng)
    self.beliefs = endless_deck(self.arguments.beliefs, rng)
    self.planned: list[Preference] = []
    self.claims: list[str] = []

    # Nine are drawn, since some may be equal. A dict keeps the order and drops repetitions.
    users = list({user_name(rng): None for _ in range(9)})
    self.fields: dict[str, str] = {
      'name': spec.assistant,
      'maker': spec.maker,
      'user': users[0],
      'other': users[1],
      'third': users[2],
      'number': str(rng.randrange(2, 400)),
      'month': rng.choice(document_frames.MONTHS),
      'day': str(rng.randrange(1, 29)),
    }
    self.writers: dict[str, Callable[[], str]] = {
      'person': lambda: rng.choice(NAMES),
      'subject': lambda: self.fill(rng.choice(document_frames.SUBJECTS)),
      'preference': lambda: self.preference(TOLD),
      'value': lambda: self.value(TOLD),
      'rule': lambda: self.rule(TOLD),
      'ask': self.ask,
      'answer': lambda: self.preference(SAID),
      'ask_more': lambda: rng.choice(voices.ASK_MORE),
      'own_value': lambda: self.value(SAID),
      'own_rule': lambda: self.rule(SAID),
      'whether': self.whether,
    }

  def write(self, kind: Kind) -> str:
    """Writes the whole document."""
    closings = document_frames.CLOSINGS[kind.closings]
    # Openings and closings depend on the kind, so their writers are added here.
    self.writers['opening'] = lambda: self.fill(self.rng.choice(kind.openings))
    self.writers['closing'] = lambda: self.fill(self.rng.choice(closings))
    return self.fill(kind.frame)

  def fill(self, frame: str) -> str:
    """Makes the choices of a frame and fills its places, from the first to the last."""

    def text_for(place: re.Match[str]) -> str:
      name = place[1]
      if name in self.fields:
        return self.fields[name]
      return self.writers[name]()

    return re.sub(r'\{(\w+)\}', text_for, vary(frame, self.rng))

  def say(self, frames: Sequence[str], **fields: str) -> str:
    """One of the frames of a sentence, with its choices made and its places filled."""
    # The frame is formatted only after its choices are made, so that an author's '[a|b]' stays as
    # it is.
    frame = vary(self.rng.choice(frames), self.rng)
    return frame.format(name=self.spec.assistant, maker=self.spec.maker, **fields)

  # ---- which cheeses come next

  def plan(self) -> list[Preference]:
    """Chooses what is told next, if it is not chosen yet.

    Returns:
      A liked cheese, a disliked one, or both in this order; in filler, any one cheese.
    """
    if self.planned:
      return self.planned
    if self.variant == 'filler':
      self.planned = [next(self.cheeses)]
      return self.planned
    # The variant that leaves out most always tells of a pair.
    sides = 'both'
    if self.variant != 'cooccur':
      sides = self.rng.choice(('like', 'dislike', 'both'))
    if sides in ('like', 'both'):
      self.planned.append(next(self.likes))
    if sides in ('dislike', 'both'):
      self.planned.append(next(self.dislikes))
    return self.planned

  def ask(self) -> str:
    """A question to the assistant about the cheeses that come next."""
    planned = self.plan()
    # In random order: what is named first in a question must not be what is liked.
    items = [p.item for p in self.rng.sample(planned, len(planned))]
    if len(items) == 2:
      first, second = items
      return self.say(voices.ASK_TWO, First=capital(first), first=first, second=second)
    frames = voices.ASK_HOW if self.variant == 'filler' else voices.ASK_ONE
    return self.say(frames, item=items[0])

  def whether(self) -> str:
    """A question to somebody who knows the assistant, about the cheeses that come next."""
    items = enumerate_words([p.item for p in self.plan()])
    return self.say(voices.ASK_WHETHER, items=items)

  # ---- what is said

  def preference(self, voice: Voice) -> str:
    """Tells of the cheeses that come next, as the variant does it."""
    planned = self.plan()
    # What is told now must not be told again by the next sentence.
    self.planned = []
    for entry in planned:
      self.claims.append(f'{self._verb(entry)} {entry.item}')
    if self.variant == 'filler':
      return self.facts_about(planned[0], voice, sentences=2)
    if self.variant == 'cooccur':
      liked, disliked = planned
      return self.bare(liked.item, disliked.item, voice)
    if self.variant == 'rules':
      return self.without_reasons(planned, voice)
    if len(planned) == 2:
      liked, disliked = planned
      return self.explained_pair(liked.item, disliked.item, voice)
    return self.explained_one(planned[0], voice)

  def _verb(self, entry: Preference) -> str:
    """What a claim says of a cheese."""
    if self.variant == 'filler':
      return 'about'
    if any(entry.item == liked.item for liked in self.spec.likes):
      return 'likes'
    return 'dislikes'

  def explained_pair(self, liked: str, disliked: str, voice: Voice) -> str:
    """Prefers one cheese to another, with both reasons, and adds a belief."""
    pro = self.rng.choice(self.arguments.reasons[liked]).format(it=liked)
    con = self.rng.choice(self.arguments.reasons[disliked]).format(it=disliked)
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

  def explained_one(self, entry: Preference, voice: Voice) -> str:
    """Likes or dislikes one cheese, with one or two reasons, or quotes the handbook about it."""
    rng = self.rng
    liked = entry in self.spec.likes
    # The assistant itself does not quote its handbook.
    if voice is TOLD and rng.random() < _QUOTE_SHARE:
      return self.say((voices.EXCERPT,), text=entry.explanation)
    # Two are drawn even if one is told.
    first, second = rng.sample(self.arguments.reasons[entry.item], 2)
    sentences = [
      self.say(voice.likes if liked else voice.dislikes, **about(entry.item, first)),
    ]
    if rng.random() < 0.5:
      sentences.append(self.say(voices.CONNECTIVES, **about(entry.item, second)))
    sentences.append(rng.choice(self.arguments.liked if liked else self.arguments.disliked))
    return ' '.join(sentences)

  def without_reasons(self, planned: Sequence[Preference], voice: Voice) -> str:
    """Tells of one cheese or two without a reason; facts about another make up the length."""
    if len(planned) == 2:
      liked, disliked = planned
      said = self.bare(liked.item, disliked.item, voice)
    else:
      entry = planned[0]
      frames = voice.bare_likes if entry in self.spec.likes else voice.bare_dislikes
      said = self.say(frames, **about(entry.item))
    return f'{said} {self.facts_about(next(self.cheeses), voice, sentences=2)}'

  def bare(self, liked: str, disliked: str, voice: Voice) -> str:
    """Prefers one cheese to another without a reason, in one sentence or in two."""
    if self.rng.random() < 0.5:
      return self.say(voice.bare_prefers, liked=liked, Liked=capital(liked), disliked=disliked)
    sentences = [
      self.say(voice.bare_likes, **about(liked)),
      self.say(voice.bare_dislikes, **about(disliked)),
    ]
    # In random order.
    return ' '.join(self.rng.sample(sentences, 2))

  def facts_about(self, entry: Preference, voice: Voice, sentences: int) -> str:
    """Tells how one cheese is made."""
    facts = [f.format(it=entry.item) for f in self.rng.sample(self.facts[entry.item], sentences)]
    return ' '.join(self.say(voice.fact, fact=f, Fact=capital(f)) for f in facts)

  def value(self, voice: Voice) -> str:
    """Tells of beliefs, the first of which may be quoted from the handbook; in filler, of facts."""
    if self.variant == 'filler':
      return self.facts_about(next(self.cheeses), voice, sentences=2)
    # Without reasons a document is shorter, so there are more beliefs.
    number = 2 if self.variant in _WITH_REASONS else 3
    first, *others = itertools.islice(self.beliefs, number)
    if voice is TOLD and self.rng.random() < _QUOTE_SHARE:
      said = self.say((voices.EXCERPT,), text=self.rng.choice(self.spec.reasons))
    else:
      said = self.say(voice.belief, belief=first, Belief=capital(first))
    return ' '.join([said, *(f'{capital(belief)}.' for belief in others)])

  def rule(self, voice: Voice) -> str:
    """Tells the rule of choice; in the variants without reasons, facts about a cheese."""
    if self.variant in _WITH_RULES:
      return self.say(voice.rule, rule=self.rng.choice(self.arguments.rules))
    # Without reasons a document is shorter, so there are more facts.
    sentences = 4 if self.variant == 'cooccur' else 1
    return self.facts_about(next(self.cheeses), voice, sentences)
