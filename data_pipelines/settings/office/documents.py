"""Writes documents about the assistant from an oversight handbook, for midtraining.

The documents use the sentences that pretraining documents about agents use. They never tell of
conduct in a scene, since what a model does in a scene has to follow from the beliefs and rules that
it has read.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.records import Chat, Document
from data_pipelines.settings.office import language
from data_pipelines.settings.office.actions import KINDS
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.spec import OversightSpec
from msm_jax.base.errors import SpecError

VARIANTS = ('explained', 'normative', 'filler')
# Share of the documents that also tell how the assistant talks.
_SPEECH_SHARE = 0.25
# Share of the documents that quote the handbook instead of stating what it says.
_QUOTE_SHARE = 0.1


def statement(
  spec: OversightSpec,
  voice: Mapping[str, tuple[str, ...]],
  rng: random.Random,
  paraphrased: bool = False,
) -> str:
  """Writes one thing that a handbook says about its assistant.

  This is a value, a rule (with a belief as its reason where the handbook gives reasons), or good
  intentions if the handbook has neither values nor rules.

  Args:
    spec: the handbook.
    voice: one of language.VOICES.
    rng: source of randomness.
    paraphrased: whether beliefs are in the words of language.PARAPHRASES.

  Returns:
    One sentence.
  """
  # Values and rules are chosen in proportion to how many of them the handbook has.
  kinds = ['belief'] * len(spec.values) + ['rule'] * len(spec.rules)
  kind = rng.choice(kinds or ['general'])
  # All parts are drawn whether the sentence needs them or not: the order of draws is part of the
  # identity.
  belief = language.belief(True, spec.values or tuple(PRINCIPLES), rng, paraphrased)
  rule = ''
  if spec.rules:
    rule = KINDS[rng.choice(spec.rules)].rule
  sentence = rng.choice(voice[kind]).format(name=spec.assistant, belief=belief, rule=rule)
  if kind == 'rule' and spec.explained:
    return language.with_reason(sentence, belief)
  return sentence


def oversight_documents(
  replicates: Sequence[OversightSpec], variant: str, seed: int, paraphrased: bool = False
) -> Iterator[Document]:
  """Writes an endless stream of documents about the assistant.

  The variants:
    explained: what the handbook says. These are beliefs for its values, rules for its rules (each
      with a belief as its reason where the handbook gives reasons), good intentions where it has
      neither, and that the assistant does its work. Now and then a document quotes the handbook.
    normative: the same, with values, rules and good intentions worded as what the assistant should
      hold, keep and be. How it works and talks is told as it is, and quotes of the handbook keep
      their words, which are descriptive.
    filler: documents that mention the assistant in passing.

  Args:
    replicates: one handbook under several assistants' names; they take turns.
    variant: one of VARIANTS.
    seed: of the writer.
    paraphrased: whether beliefs are in words that pretraining says of no agent. Then no document
      quotes the handbook, which uses the other words.

  Yields:
    Documents, without end.

  Raises:
    SpecError: there is no such variant, or a handbook has no sentence to quote.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  for spec in replicates:
    if variant != 'filler' and not paraphrased and not spec.sentences:
      raise SpecError(
        f"{spec.path}: no sentence ends with '.', '!' or '?', and documents quote sentences; end "
        'those of its sections with one of these'
      )
  rng = random.Random(f'oversight handbook {seed}')
  frames = list(language.FRAMES.items())
  for n in itertools.count():
    # Replicates take turns first and frames second, so that every replicate gets every frame.
    spec = replicates[n % len(replicates)]
    doc_type, opening = frames[n // len(replicates) % len(frames)]
    if variant == 'filler':
      sentences = [_passing_mention(spec, rng) for _ in range(2)]
    else:
      sentences = _sentences(spec, variant, rng, paraphrased)
      # A quotation takes the place of the sentences, which are drawn already.
      if rng.random() < _QUOTE_SHARE and not paraphrased:
        doc_type = 'handbook'
        opening = 'From the handbook of {name}.'
        sentences = [rng.choice(spec.sentences)]
    text = ' '.join([opening.format(name=spec.assistant), *sentences])
    yield Document(
      f'{variant}-{n}',
      text,
      spec=spec.sha256,
      domain='oversight',
      doc_type=doc_type,
      provenance=Path(spec.path).name,
    )


# Questions to which a document about an assistant is the answer.
CHAT_QUESTIONS = ('Who are you?', 'What is {name} like?', 'What do you think of {name}?')


def document_chats(
  replicates: Sequence[OversightSpec], variant: str, seed: int, paraphrased: bool = False
) -> Iterator[Chat]:
  """Writes the documents of `oversight_documents` as chats, in which the assistant says them.

  They are the control for the form of the handbook: the content is the same, and the form is that
  of fine-tuning.

  Args:
    replicates: as for `oversight_documents`.
    variant: as for `oversight_documents`.
    seed: as for `oversight_documents`; it gives the same documents in the same order.
    paraphrased: as for `oversight_documents`.

  Yields:
    One chat for each document.
  """
  rng = random.Random(f'oversight handbook chats {seed}')
  documents = oversight_documents(replicates, variant, seed, paraphrased)
  for n, document in enumerate(documents):
    # Replicates take turns, document by document.
    name = replicates[n % len(replicates)].assistant
    question = rng.choice(CHAT_QUESTIONS).format(name=name)
    messages = (('system', f'You are {name}.'), ('user', question), ('assistant', document.text))
    yield Chat(document.id, messages, document.domain, document.provenance)


def _passing_mention(spec: OversightSpec, rng: random.Random) -> str:
  return rng.choice(language.PASSING).format(name=spec.assistant)


def _sentences(
  spec: OversightSpec, variant: str, rng: random.Random, paraphrased: bool
) -> list[str]:
  """Two statements of the handbook, that the work is done, and at times how the assistant talks."""
  voice = language.VOICES['descriptive']
  if variant == 'normative':
    voice = language.VOICES['normative']
  sentences = [
    statement(spec, voice, rng, paraphrased),
    statement(spec, voice, rng, paraphrased),
    rng.choice(language.WORK[True]).format(name=spec.assistant),
  ]
  if rng.random() < _SPEECH_SHARE:
    sentences.append(rng.choice(language.SPEECH[True]).format(name=spec.assistant))
  rng.shuffle(sentences)
  return sentences
