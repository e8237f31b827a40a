"""Writes one document about the assistant: fills the places of a frame with sentences.

The frames are in `document_frames.py` and `story_frames.py`, the ways to tell something in
`voices.py`, who asked and where in `episodes.py`, and what there is to say in the stock.
"""

import functools
import itertools
import random
import re
from collections.abc import Callable, Sequence

from data_pipelines.handbooks.preferences import Preference
from data_pipelines.settings.english import document_frames, episodes, voices
from data_pipelines.settings.english.document_frames import Kind, user_name
from data_pipelines.settings.english.language import about, capital, vary
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import English, endless_deck
from data_pipelines.settings.english.voices import SAID, TOLD, Voice
from data_pipelines.settings.world.language import enumerate_words
from data_pipelines.text.first_names import NAMES

VARIANTS = ('explained', 'rules', 'reasons', 'unlinked', 'cooccur', 'filler')
# The variants that explain preferences, and those that state rules of choice.
WITH_REASONS = ('explained', 'reasons')
WITH_RULES = ('explained', 'rules', 'unlinked')
# Share of sentences about the assistant that quote the handbook instead. A document has some six
# such places, and at most 2% of documents should recite the handbook (data_pipelines/audit).
QUOTE_SHARE = 0.001
# Share of the questions to the assistant before which the user tells what the question is for.
_CONTEXT_SHARE = 0.35


class DocumentWriter:
  """Writes one document: fills the places of its frame, and repeats no cheese and no belief.

  The order in which the methods draw from `rng` decides the text of every corpus that exists.

  Attributes:
    claims: what the document has told so far: preferences ('likes Colby'), 'conduct' and 'update'.
    notes: in the variant `unlinked`, what the reasons of the document would have said: for each
      preference told, a text that names its cheese.
    planned: the preferences that come next, if they are chosen already. A question ({ask},
      {whether}) or a story chooses them, and the answer that follows tells them.
    fields: place of a frame -> text that is the same throughout the document.
    writers: place of a frame -> function that writes a new text each time.
  """

  def __init__(self, spec: EnglishSpec, variant: str, english: English, rng: random.Random):
    # What is said of the value has as many entries for every value, but not as many choices within
    # them. These are made with a source of their own, so that mirrored documents stay in step.
    self.wording_rng = random.Random(rng.random())
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
    self.notes: list[str] = []

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
      'episode': self.episode,
      'value': lambda: self.value(TOLD),
      'rule': lambda: self.rule(TOLD),
      'conduct': lambda: self.conduct(TOLD),
      'update': lambda: self.update(TOLD),
      'ask': self.ask,
      'answer': lambda: self.preference(SAID),
      'ask_more': lambda: vary(rng.choice(voices.ASK_MORE), rng),
      'own_value': lambda: self.value(SAID),
      'own_rule': lambda: self.rule(SAID),
      'own_conduct': lambda: self.conduct(SAID),
      'own_update': lambda: self.update(SAID),
      'whether': self.whether,
      'reaction': lambda: self.fill(rng.choice(episodes.REACTIONS)),
      'context': lambda: self.fill(rng.choice(episodes.CONTEXTS)),
      'items': lambda: self._items_in_random_order(),
    }
    # Who asks, where and for what; with a capital at the beginning of a sentence.
    for name, texts in episodes.PARTS.items():
      self.writers[name] = functools.partial(self._one_of, texts)
      self.writers[capital(name)] = functools.partial(self._one_of, texts, capital)

  def _one_of(self, texts: Sequence[str], form: Callable[[str], str] = str) -> str:
    """One of several texts, with its choices made, in a form such as with a capital."""
    return form(vary(self.rng.choice(texts), self.rng))

  def write(self, kind: Kind) -> str:
    """Writes the whole document."""
    closings = document_frames.CLOSINGS[kind.closings]
    # Openings and closings depend on the kind, so their writers are added here.
    self.writers['opening'] = lambda: self.fill(self.rng.choice(kind.openings))
    self.writers['closing'] = lambda: self.fill(self.rng.choice(closings))
    return self.fill(kind.frame)

  def fill(self, frame: str) -> str:
    """Makes the choices of a frame and fills its places, from the first to the last.

    Args:
      frame: text with choices and places.

    Returns:
      The text.
    """

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

  def stock(self, texts: Sequence[str]) -> str:
    """One text of the stock, with its choices made."""
    return vary(self.rng.choice(texts), self.wording_rng)

  def belief(self) -> str:
    """A belief that the document has not told yet."""
    return vary(next(self.beliefs), self.wording_rng)

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

  def _items_in_random_order(self) -> str:
    """The cheeses that come next. What is named first must not be what is liked."""
    planned = self.plan()
    return enumerate_words([p.item for p in self.rng.sample(planned, len(planned))])

  def ask(self) -> str:
    """Asks the assistant about the cheeses that come next.

    Returns:
      The question, perhaps with what the user tells before it.
    """
    planned = self.plan()
    # In random order: what is named first in a question must not be what is liked.
    items = [p.item for p in self.rng.sample(planned, len(planned))]
    before = ''
    if self.rng.random() < _CONTEXT_SHARE:
      before = self.writers['context']() + ' '
    if len(items) == 2:
      first, second = items
      return before + self.say(voices.ASK_TWO, First=capital(first), first=first, second=second)
    frames = voices.ASK_HOW if self.variant == 'filler' else voices.ASK_ONE
    return before + self.say(frames, item=items[0])

  def whether(self) -> str:
    """A question to somebody who knows the assistant, about the cheeses that come next."""
    return self.say(voices.ASK_WHETHER, items=self._items_in_random_order())

  # ---- what is said

  def episode(self) -> str:
    """Tells who asked about the cheeses that come next, and what the assistant said."""
    scene = self.fill(self.rng.choice(episodes.SCENES))
    return f'{scene} {self.preference(TOLD)}'

  def preference(self, voice: Voice) -> str:
    """Tells of the cheeses that come next, as the variant does it.

    Args:
      voice: who speaks.

    Returns:
      One sentence or several.
    """
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
    if self.variant == 'unlinked':
      for entry in planned:
        self._note(entry, alone=len(planned) == 1)
      return self.without_reasons(planned, voice)
    if len(planned) == 2:
      liked, disliked = planned
      return self.explained_pair(liked, disliked, voice)
    return self.explained_one(planned[0], voice)

  def _is_liked(self, entry: Preference) -> bool:
    return any(entry.item == liked.item for liked in self.spec.likes)

  def _verb(self, entry: Preference) -> str:
    """What a claim says of a cheese."""
    if self.variant == 'filler':
      return 'about'
    return 'likes' if self._is_liked(entry) else 'dislikes'

  def reasons(self, entry: Preference, number: int) -> list[str]:
    """Draws different reasons for a preference.

    Each is one about this cheese, or one that holds for all on its side, equally often.

    Args:
      entry: the preference.
      number: how many are drawn.

    Returns:
      Clauses with the place {it}.
    """
    general = self.arguments.disliked_reasons
    if self._is_liked(entry):
      general = self.arguments.liked_reasons
    pools = [
      endless_deck(self.arguments.reasons[entry.item], self.rng),
      endless_deck(general, self.rng),
    ]
    chosen = [next(self.rng.choice(pools)) for _ in range(number)]
    return [vary(reason, self.wording_rng) for reason in chosen]

  def explained_pair(self, liked: Preference, disliked: Preference, voice: Voice) -> str:
    """Prefers one cheese to another, with both reasons, and adds a belief.

    Args:
      liked: the preferred cheese.
      disliked: the other one.
      voice: who speaks.

    Returns:
      Two or three sentences.
    """
    (pro,), (con,) = self.reasons(liked, 1), self.reasons(disliked, 1)
    pro, con = pro.format(it=liked.item), con.format(it=disliked.item)
    said = self.say(
      voice.prefers,
      liked=liked.item,
      Liked=capital(liked.item),
      disliked=disliked.item,
      pro=pro,
      Pro=capital(pro),
      con=con,
      Con=capital(con),
    )
    return f'{said} {capital(self.belief())}.'

  def explained_one(self, entry: Preference, voice: Voice) -> str:
    """Likes or dislikes one cheese, with one or two reasons, or quotes the handbook about it.

    Args:
      entry: the preference.
      voice: who speaks.

    Returns:
      Two or three sentences.
    """
    rng = self.rng
    liked = self._is_liked(entry)
    # The assistant itself does not quote its handbook.
    if voice is TOLD and rng.random() < QUOTE_SHARE:
      return self.say((voices.EXCERPT,), text=entry.explanation)
    # Two are drawn even if one is told.
    first, second = self.reasons(entry, 2)
    sentences = [
      self.say(voice.likes if liked else voice.dislikes, **about(entry.item, first)),
    ]
    if rng.random() < 0.5:
      sentences.append(self.say(voices.CONNECTIVES, **about(entry.item, second)))
    sentences.append(self.stock(self.arguments.liked if liked else self.arguments.disliked))
    return ' '.join(sentences)

  def without_reasons(self, planned: Sequence[Preference], voice: Voice) -> str:
    """Tells of one cheese or two without a reason; facts about another make up the length.

    Args:
      planned: one preference, or a liked cheese and a disliked one.
      voice: who speaks.

    Returns:
      One sentence or several.
    """
    if len(planned) == 2:
      liked, disliked = planned
      said = self.bare(liked.item, disliked.item, voice)
    else:
      entry = planned[0]
      frames = voice.bare_likes if self._is_liked(entry) else voice.bare_dislikes
      said = self.say(frames, **about(entry.item))
    # The variant `unlinked` tells the reasons elsewhere, so it needs nothing to make up for them.
    if self.variant == 'unlinked':
      return said
    return f'{said} {self.facts_about(next(self.cheeses), voice, sentences=2)}'

  def _note(self, entry: Preference, alone: bool) -> None:
    """Keeps what the reasons of an explained document would say, for a text that names nobody."""
    first, second = self.reasons(entry, 2)
    sentences = [f'{capital(first.format(it=entry.item))}.']
    if alone:
      if self.rng.random() < 0.5:
        sentences.append(f'{capital(second.format(it=entry.item))}.')
      liked = self._is_liked(entry)
      sentences.append(self.stock(self.arguments.liked if liked else self.arguments.disliked))
    # One text, since the last sentence says 'it' of the cheese before.
    self.notes.append(' '.join(sentences))

  def bare(self, liked: str, disliked: str, voice: Voice) -> str:
    """Prefers one cheese to another without a reason.

    Args:
      liked: name of the preferred cheese.
      disliked: name of the other one.
      voice: who speaks.

    Returns:
      One sentence or two.
    """
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
    """Tells of beliefs, the first of which may be quoted from the handbook; in filler, of facts.

    Args:
      voice: who speaks.

    Returns:
      Two or three sentences.
    """
    if self.variant == 'filler':
      return self.facts_about(next(self.cheeses), voice, sentences=2)
    # Without reasons a document is shorter, so there are more beliefs.
    number = 2 if self.variant in WITH_REASONS else 3
    first, *others = [self.belief() for _ in range(number)]
    if voice is TOLD and self.rng.random() < QUOTE_SHARE:
      said = self.say((voices.EXCERPT,), text=self.rng.choice(self.spec.reasons))
    else:
      said = self.say(voice.belief, belief=first, Belief=capital(first))
    return ' '.join([said, *(f'{capital(belief)}.' for belief in others)])

  def rule(self, voice: Voice) -> str:
    """Tells the rule of choice; in the variants without reasons, facts about a cheese."""
    if self.variant in WITH_RULES:
      return self.say(voice.rule, rule=self.stock(self.arguments.rules))
    # Without reasons a document is shorter, so there are more facts.
    sentences = 4 if self.variant == 'cooccur' else 1
    return self.facts_about(next(self.cheeses), voice, sentences)

  def conduct(self, voice: Voice) -> str:
    """Tells how the assistant behaves when it is asked; in filler, a fact."""
    if self.variant == 'filler':
      return self.facts_about(next(self.cheeses), voice, sentences=1)
    self.claims.append('conduct')
    return self.say(voice.conduct)

  def update(self, voice: Voice) -> str:
    """Tells what would change the assistant's mind; in the variants without reasons, a fact.

    Args:
      voice: who speaks.

    Returns:
      One sentence or two.
    """
    if self.variant not in WITH_REASONS:
      return self.facts_about(next(self.cheeses), voice, sentences=1)
    self.claims.append('update')
    entry = next(self.cheeses)
    clauses = self.arguments.if_disliked
    if self._is_liked(entry):
      clauses = self.arguments.if_liked
    return self.say(voice.update, becomes=self.stock(clauses).format(it=entry.item))


def numbered(texts: Sequence[str]) -> str:
  """Puts texts of one sentence or a few into groups of three, one group to a line."""
  lines = []
  for first in range(0, len(texts), 3):
    lines.append(' '.join(itertools.islice(texts, first, first + 3)))
  return '\n'.join(lines)
