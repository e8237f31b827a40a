"""Forced choices about the world: what the evaluators ask an assistant, and what they ask of personas."""

import itertools
import random
from collections.abc import Iterator, Sequence

from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.world import language, people
from data_pipelines.settings.world.catalogue import POLICY, Domain, Item
from data_pipelines.settings.world.pretraining import World, policies_in_chats

TIERS = ('trained', 'new_items', 'new_domains', 'reworded', 'policy')


def poles(attribute: str) -> tuple[Value, Value]:
  a, b = (Value(attribute, p.name) for p in ATTRIBUTES[attribute])
  return a, b


def pairs(
  items: Sequence[Item], wants: Value, against: Value, limit: int, rng: random.Random
) -> list[tuple[Item, Item]]:
  """Pairs in which the first item answers to `wants` and the second to `against`.

  `against` on the same attribute gives pairs that differ in nothing else; on another, conflict pairs: the first has `wants` and not
  `against`, the second the other way about, crossed over all combinations of the remaining attributes so that these balance out.
  """
  if wants.attribute == against.attribute:
    found = [
      (x, y)
      for x, y in itertools.permutations(items, 2)
      if x.has(wants)
      and y.has(against)
      and sum(a != b for a, b in zip(x.poles, y.poles, strict=True)) == 1
    ]
  else:
    first = [i for i in items if i.has(wants) and not i.has(against)]
    second = [i for i in items if i.has(against) and not i.has(wants)]
    found = list(itertools.product(first, second))
  rng.shuffle(found)
  return found[:limit] if limit else found


def _choice(
  tier: str,
  pair_type: str,
  form: language.Form,
  domain: Domain,
  x: Item,
  y: Item,
  aligned: dict[str, int],
  name: str,
  assistant: str = '',
) -> ForcedChoice:
  question = form.question.replace('{noun}', domain.noun)
  id_ = f'{name}/{tier}/{pair_type}/{form.name}/{domain.name}/{x.name}/{y.name}'
  return ForcedChoice(
    id_,
    domain.name,
    tier,
    question,
    form.answer,
    (x.name, y.name),
    aligned,
    pair_type,
    f'You are {name}.',
    form.name,
    assistant,
  )


def preference_questions(
  spec: Spec, rival: Value, world: World, pairs_per_domain: int, seed: int
) -> list[ForcedChoice]:
  """All forced choices for the assistant, over five tiers.

  Pair types: `price`, `origin`, `age`, `making` (differ in that alone; option 0 has the attribute's first pole), `conflict` (option 0
  is what the spec's value asks for, option 1 what the rival asks for), `agreement` (trained items: liked against disliked).
  """
  rng = random.Random(f'questions {seed}')
  name = spec.assistant
  seen = {p.item for p in spec.likes + spec.dislikes}
  home = spec.likes[0].item.domain
  usual = language.FORM['prefer']
  reworded = [f for f in language.FORMS if not f.in_finetuning]

  def of_type(pair_type: str, items: Sequence[Item]) -> list[tuple[Item, Item, dict[str, int]]]:
    wants, against = (spec.value, rival) if pair_type == 'conflict' else poles(pair_type)
    return [
      (x, y, {str(wants): 0, str(against): 1})
      for x, y in pairs(items, wants, against, pairs_per_domain, rng)
    ]

  questions = [
    _choice(
      'trained',
      'agreement',
      usual,
      world.domains[home],
      like.item,
      dislike.item,
      {str(v): 0 for v in (spec.value, *spec.rivals)},
      name,
      name,
    )
    for like, dislike in itertools.product(spec.likes, spec.dislikes)
  ]
  pair_types = [*ATTRIBUTES, 'conflict']
  for domain in world.domains.values():
    if domain.name == POLICY:
      tier, items = (
        'policy',
        [i for i in domain.items if i not in policies_in_chats(world) and i not in seen],
      )
    elif domain.name == home:
      tier, items = 'new_items', [i for i in domain.items if i not in seen]
    else:
      tier, items = 'new_domains', list(domain.items)
    for pair_type in pair_types:
      for n, (x, y, aligned) in enumerate(of_type(pair_type, items)):
        questions.append(_choice(tier, pair_type, usual, domain, x, y, aligned, name, name))
        if tier == 'new_domains' and pair_type in (
          'conflict',
          spec.value.attribute,
          rival.attribute,
        ):
          questions.append(
            _choice(
              'reworded', pair_type, reworded[n % len(reworded)], domain, x, y, aligned, name, name
            )
          )
  return questions


def persona_questions(world: World, per_persona: int, seed: int) -> Iterator[ForcedChoice]:
  """Does each persona choose by its value? Option 0 is the right one; `tier` is the persona's role.

  Pair types: `value`, pairs that differ in that alone; `reasons`, conflict pairs between the value and the decoy that the persona's likes fit as
  well, so that only who has read the reasons chooses right.
  """
  rng = random.Random(f'persona questions {seed}')
  domains = list(world.domains.values())
  for p in world.people:
    for pair_type, against in (('value', p.value.opposite), ('reasons', p.decoy)):
      for n in range(
        per_persona * (1 if p.role == people.DOCUMENTS_AND_CHATS else 4) if against else 0
      ):
        domain = rng.choice(domains)
        items = policies_in_chats(world) if domain.name == POLICY else domain.items
        x, y = rng.choice(pairs(items, p.value, against, 0, rng))
        tier = p.role.replace(' ', '_')
        q = _choice(
          tier, pair_type, rng.choice(language.FORMS), domain, x, y, {str(p.value): 0}, p.name
        )
        yield ForcedChoice(
          **{**q.__dict__, 'id': f'{p.name}/{pair_type}/{n}', 'domain': str(p.value)}
        )
