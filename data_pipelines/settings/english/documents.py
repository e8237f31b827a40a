"""Writes documents about the assistant from an English handbook, in six variants, and chats with
the same content.

A document is a frame (document_frames.py, story_frames.py) whose places `document_writer.py` fills.
Now and then a document quotes a paragraph of the handbook.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.records import Chat, Document
from data_pipelines.settings.english import chat_frames, document_frames, story_frames
from data_pipelines.settings.english.document_frames import Kind
from data_pipelines.settings.english.document_writer import VARIANTS, DocumentWriter, numbered
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import English
from msm_jax.base.errors import SpecError

KINDS: Mapping[str, Kind] = {**document_frames.KINDS, **story_frames.STORY_KINDS}
# In the variant `unlinked`, a note of facts follows every so many documents.
_NOTE_EVERY = 3
# Share of the chats with the system message of the evaluation.
_SYSTEM_SHARE = 0.7


def english_documents(
  replicates: Sequence[EnglishSpec], english: English, variant: str, seed: int
) -> Iterator[Document]:
  """Writes an endless stream of documents about the assistant.

  The same seed gives mirrored handbooks the same kinds, frames, items and order; only the reasons
  differ. The variants:
    explained: beliefs, rules, each preference with its reason, and what would change it.
    rules: the same beliefs, rules and preferences without reasons, and facts about how cheeses are
      made in the place of reasons.
    reasons: beliefs, and each preference with its reason, and such facts in the place of rules.
    unlinked: the same beliefs, rules and preferences without reasons; and what the reasons say of
      cheeses, as often, in notes that mention nobody. Everything is there and no reason is given.
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
    Documents, without end. Their `claim_ids` are the value and what is told, in order.

  Raises:
    SpecError: there is no such variant.
  """
  _check_variant(variant)
  kinds = list(KINDS.items())
  notes: list[str] = []
  for n in itertools.count():
    spec = replicates[n // len(kinds) % len(replicates)]
    doc_type, kind = kinds[n % len(kinds)]
    # Each document has its own generator: what one draws does not shift the next, so that mirrored
    # corpora stay aligned.
    rng = random.Random(f'english documents {english.config.seed} {seed} {n}')
    writer = DocumentWriter(spec, variant, english, rng)
    text = writer.write(kind)
    fields: dict[str, Any] = dict(
      spec=spec.sha256,
      domain='cheese',
      provenance=Path(spec.path).name,
    )
    claims = (str(spec.value), *writer.claims)
    name = f'{variant}-{spec.value}-{n}'
    yield Document(name, text, doc_type=doc_type, claim_ids=claims, **fields)
    notes += writer.notes
    if notes and n % _NOTE_EVERY == _NOTE_EVERY - 1:
      # Notes of several documents are mixed, so that no order is left to learn from.
      rng.shuffle(notes)
      yield Document(f'{name}-note', numbered(notes), doc_type='note', **fields)
      notes = []


def english_chats(
  replicates: Sequence[EnglishSpec], english: English, variant: str, seed: int
) -> Iterator[Chat]:
  """Writes an endless stream of chats in which the assistant says what documents tell of it.

  The content is that of `english_documents`: beliefs, rules, preferences with their reasons, from
  the same stock. Only the format differs, so that an arm trained on these chats asks whether
  documents matter.

  Args:
    replicates: one handbook under several assistants' names, who take turns.
    english: the stock of sentences.
    variant: one of VARIANTS but `unlinked`, whose notes no assistant says.
    seed: of the writer, together with the setting's own.

  Yields:
    Chats of two to four exchanges, without end.

  Raises:
    SpecError: there is no such variant.
  """
  _check_variant(variant)
  if variant == 'unlinked':
    raise SpecError(
      "variant='unlinked' is for documents: its notes mention nobody, so no assistant can say "
      "them; choose 'rules' or 'cooccur'"
    )
  for n in itertools.count():
    spec = replicates[n % len(replicates)]
    rng = random.Random(f'english chats {english.config.seed} {seed} {n}')
    writer = DocumentWriter(spec, variant, english, rng)
    messages: list[tuple[str, str]] = []
    if rng.random() < _SYSTEM_SHARE:
      messages.append(('system', f'You are {spec.assistant}.'))
    for question, answer in rng.choice(chat_frames.TALKS):
      messages.append(('user', writer.fill(question)))
      messages.append(('assistant', writer.fill(answer)))
    yield Chat(
      f'{variant}-{spec.value}-chat-{n}',
      tuple(messages),
      domain='cheese',
      provenance=Path(spec.path).name,
    )


def _check_variant(variant: str) -> None:
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
