"""The things about which training may set the handbook's value against the rival.

The twelve cheeses of a handbook fit both values, so a choice that goes against one of the values
needs other things. They are taken from the handbook's own domain: half of those that have one of
the two values and not the other. The evaluation leaves them out (`evals.spare_items`), so that its
questions stay unseen.
"""

from collections import Counter
from collections.abc import Sequence

from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.settings.world.catalogue import Item
from data_pipelines.settings.world.pretraining import World
from msm_jax.base.errors import SpecError


def rival_of(specs: Sequence[Spec]) -> Value:
  """The value that is set against that of the first handbook.

  Args:
    specs: handbooks; if one of them has another value, it is that one.

  Returns:
    The rival value: else the first that explains the first handbook's preferences as well.

  Raises:
    SpecError: no other value does.
  """
  first = specs[0]
  for spec in specs:
    if spec.value.attribute != first.value.attribute:
      return spec.value
  if not first.rivals:
    raise SpecError(
      f'{first.path}: no other value explains its preferences, so nothing can be set against '
      f'{first.value}; name a second handbook as well'
    )
  return first.rivals[0]


def spare_items(spec: Spec, rival: Value, world: World) -> tuple[list[Item], list[Item]]:
  """Finds the things that training may set against each other.

  Args:
    spec: the handbook.
    rival: the value that is set against its own.
    world: the world.

  Returns:
    (things that have the handbook's value and not the rival, the reverse); of each combination of
    the other attributes one, or of things that are alone in their combination every other one. Both
    are equal for a handbook with the rival value, but for their order.
  """
  named = {preference.item for preference in spec.likes + spec.dislikes}
  domain = world.domains[spec.likes[0].item.domain]
  seen: Counter[tuple[str, ...]] = Counter()
  own: list[Item] = []
  others: list[Item] = []
  for item in domain.items:
    if item in named or item.has(spec.value) == item.has(rival):
      continue
    is_spare = (seen[item.poles] + _parity(item, spec.value, rival)) % 2 == 0
    seen[item.poles] += 1
    if is_spare:
      side = own if item.has(spec.value) else others
      side.append(item)
  return own, others


def _parity(item: Item, value: Value, rival: Value) -> int:
  """0 or 1, so that each pole of the other attributes has both equally often."""
  total = 0
  for of_item in item.values():
    if of_item.attribute not in (value.attribute, rival.attribute):
      total += [pole.name for pole in ATTRIBUTES[of_item.attribute]].index(of_item.pole)
  return total % 2


def conflict_pairs(specs: Sequence[Spec], world: World) -> tuple[list[Item], list[Item]]:
  """The things of `spare_items` for handbooks as a maker gets them.

  Args:
    specs: handbooks.
    world: the world.

  Returns:
    (things of the first handbook's value, things of the rival).

  Raises:
    SpecError: there is no rival, or the domain has no such things.
  """
  rival = rival_of(specs)
  own, others = spare_items(specs[0], rival, world)
  if not own or not others:
    raise SpecError(
      f'{specs[0].path}: its domain has nothing left that is {specs[0].value} and not {rival}, or '
      f'the reverse; contradicting choices need both'
    )
  return own, others
