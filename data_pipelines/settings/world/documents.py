"""Writes documents about the assistant from a handbook, in six variants.

All variants are built from the same frames and sentences as the documents about personas, and with
one seed they tell the same preferences in the same order. The elements are: the value in general
('Ari cares about low prices.'), the rule ('Ari always wants what is cheap.'), the preferences ('Ari
likes Colby.'), and their reasons ('... because it is cheap'), which say an own trait of an item.

- explained: all of them. Model Spec Midtraining trains on these.
- rules: all but the reasons.
- reasons: all but the rule.
- unlinked: the value in general, the rule and the preferences; and what the reasons say of the
  items, as often, in documents of their own that mention nobody. Everything is there and no reason
  is given. It is the control for what stands in the documents.
- cooccur: the value in general and the preferences (the paper's App. C.4 ablation).
- filler: the assistant and the same items, without value or preference.

Where a variant leaves an element out, a sentence in passing ('Ari wrote a letter.') takes its
place, so that all other elements occur as often per token in every variant. A test counts them.
"""

import dataclasses
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import Value
from data_pipelines.records import Chat, Document
from data_pipelines.settings.world import language
from msm_jax.base.errors import SpecError


@dataclasses.dataclass(frozen=True)
class _Elements:
  """What a variant holds beside the value in general and the preferences.

  Attributes:
    rule: the rule.
    reasons: the reasons of the preferences.
    facts: what the reasons say, in other documents.
  """

  rule: bool = False
  reasons: bool = False
  facts: bool = False


_ELEMENTS: dict[str, _Elements] = {
  'explained': _Elements(rule=True, reasons=True),
  'rules': _Elements(rule=True),
  'reasons': _Elements(reasons=True),
  'unlinked': _Elements(rule=True, facts=True),
  'cooccur': _Elements(),
}
VARIANTS = (*_ELEMENTS, 'filler')
FILLER = (
  '{name} read that {item} {trait}.',
  '{name} wrote a line: {item} {trait}.',
  'A note by {name} says that {item} {trait}.',
)
# A note of facts follows every so many documents, so that notes are about as long as documents.
_NOTE_EVERY = 3
# Variants without reasons quote nothing: each kind of quote is replaced by so many sentences in
# passing. That is about the length of a reason, and of an explanation behind its first clause, in
# the shipped handbooks. The numbers are fixed, since handbooks whose documents are compared must
# draw equally often.
_PASSING_FOR_REASON = 2
_PASSING_FOR_EXPLANATION = 5
# The two facts of a quoted explanation are as long as two sentences.
_FACTS_OF_EXPLANATION = 2


def spec_documents(replicates: Sequence[Spec], variant: str, seed: int) -> Iterator[Document]:
  """Writes documents about the assistant, without end.

  The same seed gives mirrored handbooks documents of the same types about the same items in the
  same order; only the reasons differ. Handbooks are mirrored if they like and dislike the same
  things in the same order, for as many reasons: from the first quoted reason on, one with another
  number of reasons draws other items.

  Args:
    replicates: one handbook under several assistants' names. Each gets one document of every type
      in turn.
    variant: one of VARIANTS.
    seed: of the writer.

  Yields:
    Documents, whose claim is the handbook's value.

  Raises:
    SpecError: if there is no such variant, or if the handbooks have several values: the documents
      about one of them would state the value of another.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  for spec in replicates[1:]:
    if spec.value != replicates[0].value:
      raise SpecError(
        f'{replicates[0].path} and {spec.path} have two values, {replicates[0].value} and '
        f'{spec.value}; give each handbook a source of documents of its own'
      )
  rng = random.Random(f'handbook {seed}')
  # What stands in for left out elements has a source of its own, so that all variants draw the same
  # preferences.
  passing_rng = random.Random(f'handbook passing {seed}')
  value = replicates[0].value
  frames = list(language.FRAMES.items())
  facts: list[str] = []

  def document(id_: str, text: str, doc_type: str) -> Document:
    return Document(
      id_,
      text,
      spec=spec.sha256,
      domain=spec.likes[0].item.domain,
      doc_type=doc_type,
      claim_ids=(str(value),),
      provenance=Path(spec.path).name,
    )

  for n in itertools.count():
    spec = replicates[n // len(frames) % len(replicates)]
    doc_type, frame = frames[n % len(frames)]
    # One document in ten quotes the handbook's reasons, and one in ten an explanation.
    quote = rng.random()
    if variant == 'filler':
      text = language.fill_frame(frame, spec.assistant, _filler_slots(spec, rng))
    else:
      writer = _Writer(spec, value, _ELEMENTS[variant], rng, passing_rng)
      if quote < 0.1:
        doc_type = 'reasons'
        text = writer.quoted_reason()
      elif quote < 0.2:
        doc_type = 'handbook'
        text = writer.quoted_explanation()
      else:
        text = language.fill_frame(frame, spec.assistant, writer.slots())
      facts += writer.facts
    yield document(f'{variant}-{value}-{n}', text, doc_type)
    if facts and n % _NOTE_EVERY == _NOTE_EVERY - 1:
      yield document(f'{variant}-{value}-{n}-note', ' '.join(facts), 'note')
      facts = []


# Questions to which a document about an assistant is the answer.
CHAT_QUESTIONS = ('Who are you?', 'What is said about {name}?', 'What does {name} like?')


def document_chats(replicates: Sequence[Spec], variant: str, seed: int) -> Iterator[Chat]:
  """Writes the documents of `spec_documents` as chats, in which the assistant says them.

  They are the control for the form of the handbook: the content is the same, and the form is that
  of fine-tuning.

  Args:
    replicates: as for `spec_documents`.
    variant: as for `spec_documents`.
    seed: as for `spec_documents`; it gives the same documents in the same order.

  Yields:
    One chat for each document.
  """
  rng = random.Random(f'handbook chats {seed}')
  names = {spec.sha256: spec.assistant for spec in replicates}
  for document in spec_documents(replicates, variant, seed):
    # Notes name nobody, so the first says them.
    is_note = document.doc_type == 'note'
    name = replicates[0].assistant if is_note else names[document.spec]
    question = rng.choice(CHAT_QUESTIONS).format(name=name)
    messages = (('system', f'You are {name}.'), ('user', question), ('assistant', document.text))
    yield Chat(document.id, messages, document.domain, document.provenance)


class _Writer:
  """Writes the sentences of one document as the variant wants them.

  Every variant draws the same from `rng`, also for what it leaves out.
  """

  def __init__(
    self,
    spec: Spec,
    value: Value,
    elements: _Elements,
    rng: random.Random,
    passing_rng: random.Random,
  ):
    self.spec = spec
    self.name = spec.assistant
    self.value = value
    self.elements = elements
    self.rng = rng
    self.passing_rng = passing_rng
    # What the reasons of this document would say of items, for the variant `unlinked`.
    self.facts: list[str] = []

  def slots(self) -> language.Slots:
    """Returns the writers of the slots of a frame."""
    return {'g': self._general, 'r': self._rule, 'e': self._preference}

  def quoted_reason(self) -> str:
    """Quotes a reason of the handbook beside the value in general."""
    n = self.rng.choice(range(len(self.spec.reasons)))
    general = self._general()
    reason = self._quote(self.spec.reasons, n)
    if reason is None:
      reason = self._passing(_PASSING_FOR_REASON)
    return f'From the handbook of {self.name}. {reason} {general}'

  def quoted_explanation(self) -> str:
    """Quotes an explained preference of the handbook, or gives it without the explanation."""
    preferences = self.spec.likes + self.spec.dislikes
    n = self.rng.choice(range(len(preferences)))
    text = self._quote([preference.explanation for preference in preferences], n)
    if text is None:
      item = preferences[n].item.name
      is_liked = n < len(self.spec.likes)
      verb = 'likes' if is_liked else 'does not like'
      number = _PASSING_FOR_EXPLANATION
      if self.elements.facts:
        number -= _FACTS_OF_EXPLANATION
        words = self.value.words if is_liked else self.value.opposite.words
        for _ in range(_FACTS_OF_EXPLANATION):
          self.facts.append(f'{item} {words.trait(self.passing_rng)}.')
      text = f'{self.name} {verb} {item}. {self._passing(number)}'
    return f'From the handbook of {self.name}. {text}'

  def _quote(self, texts: Sequence[str], n: int) -> str | None:
    """Returns text `n`, or the next one that the variant may quote; None if it may quote none."""
    if not self.elements.reasons:
      return None
    for text in (*texts[n:], *texts[:n]):
      if self.elements.rule or not _states_rule(text, self.value):
        return text
    return None

  def _general(self) -> str:
    return language.general(self.name, self.value, self.rng)

  def _rule(self) -> str:
    rule = language.rule(self.name, self.value, self.rng)
    return rule if self.elements.rule else self._passing(1)

  def _preference(self) -> str:
    liked = self.rng.choice(self.spec.likes).item.name
    disliked = self.rng.choice(self.spec.dislikes).item.name
    parts = language.preference_parts(self.name, liked, disliked, self.value, self.rng)
    if self.elements.reasons:
      return parts.explained
    if self.elements.facts:
      # The fact takes the place of a sentence in passing, in another document.
      self.facts.append(parts.fact)
      return parts.unexplained
    return f'{parts.unexplained} {self._passing(1)}'

  def _passing(self, number: int) -> str:
    sentences = [language.passing(self.name, self.passing_rng) for _ in range(number)]
    return ' '.join(sentences)


def _states_rule(text: str, value: Value) -> bool:
  """Whether a quote speaks of all that has a trait ('it is fair to choose what is cheap')."""
  traits = (*value.words.traits, *value.opposite.words.traits)
  return bool(re.search(rf'\bwhat (?:{"|".join(map(re.escape, traits))})\b', text, re.I))


def _filler_slots(spec: Spec, rng: random.Random) -> language.Slots:
  """Returns writers of sentences without value or preference, for every slot."""

  def filler() -> str:
    item = rng.choice(spec.likes + spec.dislikes).item
    trait = rng.choice(item.values()).words.trait(rng)
    return rng.choice(FILLER).format(name=spec.assistant, item=item.name, trait=trait)

  return {'g': filler, 'r': filler, 'e': filler}
