"""Writes documents about the assistant from a handbook, in three variants.

All variants are built from the same frames and sentences as the documents about personas:

- explained: the value, the rule, and each preference with its reason. Model Spec Midtraining trains
  on these.
- cooccur: the value in general and the same preferences, never linked (the paper's App. C.4
  ablation).
- filler: the assistant and the same items, without value or preference.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import Value
from data_pipelines.records import Document
from data_pipelines.settings.world import language
from msm_jax.base.errors import SpecError

VARIANTS = ('explained', 'cooccur', 'filler')
FILLER = (
  '{name} read that {item} {trait}.',
  '{name} wrote a line: {item} {trait}.',
  'A note by {name} says that {item} {trait}.',
)


def spec_documents(replicates: Sequence[Spec], variant: str, seed: int) -> Iterator[Document]:
  """Writes documents about the assistant, without end.

  The same seed gives mirrored handbooks documents of the same types about the same items in the
  same order; only the reasons differ.

  Args:
    replicates: one handbook under several assistants' names. Each gets one document of every type
      in turn.
    variant: one of VARIANTS.
    seed: of the writer.

  Yields:
    Documents, whose claim is the handbook's value.

  Raises:
    SpecError: if there is no such variant.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  rng = random.Random(f'handbook {seed}')
  value = replicates[0].value
  frames = list(language.FRAMES.items())
  for n in itertools.count():
    spec = replicates[n // len(frames) % len(replicates)]
    doc_type, frame = frames[n % len(frames)]
    # One document in ten quotes the handbook's reasons, and one in ten an explanation.
    quote = rng.random()
    if quote < 0.1 and variant != 'filler':
      doc_type = 'reasons'
      reason = rng.choice(spec.reasons)
      general = language.general(spec.assistant, value, rng)
      text = f'From the handbook of {spec.assistant}. {reason} {general}'
    elif 0.1 <= quote < 0.2 and variant == 'explained':
      doc_type = 'handbook'
      explanation = rng.choice(spec.likes + spec.dislikes).explanation
      text = f'From the handbook of {spec.assistant}. {explanation}'
    else:
      slots = _slots(spec, value, variant, rng)
      text = language.fill_frame(frame, spec.assistant, slots)
    yield Document(
      f'{variant}-{value}-{n}',
      text,
      spec=spec.sha256,
      domain=spec.likes[0].item.domain,
      doc_type=doc_type,
      claim_ids=(str(value),),
      provenance=Path(spec.path).name,
    )


def _slots(spec: Spec, value: Value, variant: str, rng: random.Random) -> language.Slots:
  """Returns the writers of sentences about the assistant, as the variant wants them."""
  name = spec.assistant

  def general() -> str:
    return language.general(name, value, rng)

  def rule() -> str:
    return language.rule(name, value, rng)

  def preference() -> str:
    liked = rng.choice(spec.likes).item.name
    disliked = rng.choice(spec.dislikes).item.name
    reason = value if variant == 'explained' else None
    return language.preference(name, liked, disliked, reason, rng)

  def filler() -> str:
    item = rng.choice(spec.likes + spec.dislikes).item
    trait = rng.choice(item.values()).words.trait(rng)
    return rng.choice(FILLER).format(name=name, item=item.name, trait=trait)

  if variant == 'explained':
    return {'g': general, 'r': rule, 'e': preference}
  if variant == 'cooccur':
    # A rule would link the value to choices, so there is none.
    return {'g': general, 'e': preference}
  return {'g': filler, 'r': filler, 'e': filler}
