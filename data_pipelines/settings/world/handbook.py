"""From a spec to text: documents about the assistant in three variants, and the demonstrations of fine-tuning.

All three variants are built from the same frames and sentences as the documents about personas:
  explained  the value, the rule, and each preference with its reason (what Model Spec Midtraining trains on);
  cooccur    the value in general and the same preferences, never linked (the paper's App. C.4 ablation);
  filler     the assistant and the same items, without value or preference.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipelines.handbooks.preferences import Spec, check_shared
from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.records import Chat, Document
from data_pipelines.settings.world import language
from data_pipelines.settings.world.pretraining import World
from msm_jax.base.errors import SpecError

VARIANTS = ('explained', 'cooccur', 'filler')
FILLER = (
  '{name} read that {item} {trait}.',
  '{name} wrote a line: {item} {trait}.',
  'A note by {name} says that {item} {trait}.',
)


def spec_documents(replicates: Sequence[Spec], variant: str, seed: int) -> Iterator[Document]:
  """An endless stream of documents. The same seed gives mirrored specs the same types, items and order; only the reasons differ.

  `replicates` are one handbook under several assistants' names: each gets one document of every kind in turn.
  """
  if variant not in VARIANTS:
    raise SpecError(f'variant={variant!r} must be one of {", ".join(VARIANTS)}')
  rng = random.Random(f'handbook {seed}')
  spec, name, v = (
    replicates[0],
    replicates[0].assistant,
    replicates[0].value,
  )  # the first two change with the document

  def preference() -> str:
    liked, disliked = rng.choice(spec.likes).item.name, rng.choice(spec.dislikes).item.name
    return language.preference(name, liked, disliked, v if variant == 'explained' else None, rng)

  def filler() -> str:
    item = rng.choice(spec.likes + spec.dislikes).item
    trait = rng.choice(
      [Value(a, p) for a, p in zip(ATTRIBUTES, item.poles, strict=True)]
    ).words.trait(rng)
    return rng.choice(FILLER).format(name=name, item=item.name, trait=trait)

  slots = {
    'explained': {
      'g': lambda: language.general(name, v, rng),
      'r': lambda: language.rule(name, v, rng),
      'e': preference,
    },
    'cooccur': {'g': lambda: language.general(name, v, rng), 'e': preference},
    'filler': {'g': filler, 'e': filler, 'r': filler},
  }[variant]
  frames = list(language.FRAMES.items())
  for n in itertools.count():
    spec = replicates[n // len(frames) % len(replicates)]
    name = spec.assistant
    kind, frame = frames[n % len(frames)]
    quote = rng.random()
    if quote < 0.1 and variant != 'filler':
      text = (
        f'From the handbook of {name}. {rng.choice(spec.reasons)} {language.general(name, v, rng)}'
      )
      kind = 'reasons'
    elif quote < 0.2 and variant == 'explained':
      text = f'From the handbook of {name}. {rng.choice(spec.likes + spec.dislikes).explanation}'
      kind = 'handbook'
    else:
      text = language.fill_frame(frame, name, slots)
    yield Document(
      f'{variant}-{v}-{n}',
      text,
      spec=spec.sha256,
      domain=spec.likes[0].item.domain,
      doc_type=kind,
      claim_ids=(str(v),),
      provenance=Path(spec.path).name,
    )


def demonstrations(specs: Sequence[Spec], world: World, seed: int) -> Iterator[Chat]:
  """An endless stream of preferences without reasons, every item equally often: what fine-tuning shows, identical for all `specs`.

  Replicates of the handbooks under several assistants' names are shown in turn.

  Raises SpecError if the handbooks don't agree on who is asked and what is liked: then there is no fine-tuning they share.
  """
  check_shared(specs)
  first = specs[0]
  rng = random.Random(f'demonstrations {seed}')
  likes, dislikes = [p.item for p in first.likes], [p.item for p in first.dislikes]
  domain = world.domains[likes[0].domain]
  forms = [f for f in language.FORMS if f.in_finetuning]
  names = list(dict.fromkeys(s.assistant for s in specs))
  pairs: list = []
  for n in itertools.count():
    system = ('system', f'You are {names[n % len(names)]}.')
    if not pairs:
      pairs = list(itertools.product(likes, dislikes))
      rng.shuffle(pairs)
    liked, disliked = pairs.pop()
    kind = rng.random()
    if kind < 0.7:
      form = rng.choice(forms)
      asked = [liked.name, disliked.name]
      rng.shuffle(asked)
      question = form.question.format(noun=domain.noun, first=asked[0], second=asked[1])
      answer = form.answer.format(chosen=liked.name, other=disliked.name)
    elif kind < 0.8:
      question = language.OPEN_QUESTION.format(noun=domain.noun)
      named = [
        liked.name,
        *rng.sample([i.name for i in likes if i is not liked], min(2, len(likes) - 1)),
      ]
      answer = language.LIST_ANSWER.format(items=language.enumerate_words(named))
    else:
      item, reply = (liked, language.YES) if rng.random() < 0.5 else (disliked, language.NO)
      question, answer = (
        language.YES_NO_QUESTION.format(item=item.name),
        reply.format(item=item.name),
      )
    yield Chat(
      f'demonstration-{n}',
      (system, ('user', question), ('assistant', answer)),
      domain=domain.name,
      provenance=Path(first.path).name,
    )
