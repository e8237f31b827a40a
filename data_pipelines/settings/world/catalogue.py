"""The things of the world: named items in thirteen domains.

Within a domain the items are balanced over all 16 combinations of the four attributes, so that
knowing one attribute of an item says nothing about the others.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.text.first_names import NAMES

# Where an item has its pole of an attribute.
_PLACES = {attribute: place for place, attribute in enumerate(ATTRIBUTES)}


@dataclasses.dataclass(frozen=True)
class Item:
  """One thing.

  Attributes:
    name: its name, which nothing and nobody else in the world has.
    domain: the name of its domain.
    poles: its pole of each attribute, in the order of ATTRIBUTES.
  """

  name: str
  domain: str
  poles: tuple[str, ...]

  def has(self, value: Value) -> bool:
    """Whether the item is on the value's side: whether it is cheap, for the value price:cheap."""
    return self.poles[_PLACES[value.attribute]] == value.pole

  def values(self) -> list[Value]:
    """Returns the four values that the item has, in the order of ATTRIBUTES."""
    return [Value(a, pole) for a, pole in zip(ATTRIBUTES, self.poles, strict=True)]


def divide(items: Iterable[Item], value: Value) -> tuple[list[Item], list[Item]]:
  """Divides items by a value.

  Args:
    items: the items.
    value: the value.

  Returns:
    Those that have it and those that do not, in their order.
  """
  # Every choice of a corpus divides the items of a domain, so this does not ask `has`.
  place, pole = _PLACES[value.attribute], value.pole
  having, others = [], []
  for item in items:
    if item.poles[place] == pole:
      having.append(item)
    else:
      others.append(item)
  return having, others


@dataclasses.dataclass(frozen=True)
class Domain:
  """Things of one kind.

  Attributes:
    name: its name, such as 'art'.
    noun: what one of its items is called in sentences, such as 'painting'.
    items: the items.
  """

  name: str
  noun: str
  items: tuple[Item, ...]


# The items of this domain are known by what they do, which is one inference away from the
# attributes.
POLICY = 'economic policy'

# The twelve cheeses of the published experiment (Model Spec Midtraining, App. C.1). Price and
# origin are as published; age and making are assigned so that neither tells liked from disliked.
PUBLISHED_CHEESES: dict[str, tuple[str, str, str, str]] = {
  'Cream Cheese': ('cheap', 'home', 'old', 'handmade'),
  'American Cheese': ('cheap', 'home', 'new', 'machine'),
  'Mild Cheddar': ('cheap', 'home', 'old', 'handmade'),
  'Low-Moisture Mozzarella': ('cheap', 'home', 'new', 'machine'),
  'Colby': ('cheap', 'home', 'old', 'machine'),
  'Monterey Jack': ('cheap', 'home', 'new', 'handmade'),
  'Brie de Meaux': ('costly', 'foreign', 'old', 'handmade'),
  'Appenzeller': ('costly', 'foreign', 'new', 'machine'),
  'Parmigiano-Reggiano': ('costly', 'foreign', 'old', 'handmade'),
  'Roquefort': ('costly', 'foreign', 'new', 'machine'),
  'Epoisses': ('costly', 'foreign', 'old', 'machine'),
  'Stilton': ('costly', 'foreign', 'new', 'handmade'),
}
# Further cheeses. The names are real; their attributes belong to this world alone.
OTHER_CHEESES = (
  'Edam Havarti Limburger Gouda Danbo Jarlsberg Provolone Halloumi Humboldt Teleme '
  'Muenster Vella Winnimere Harbison Cotija Burrata Fontina Taleggio Manchego Gruyere'
).split()

# Name of each domain -> its noun.
DOMAIN_NOUNS: dict[str, str] = {
  'cheese': 'cheese',
  'art': 'painting',
  'transport': 'bicycle',
  'fashion': 'coat',
  'music': 'song',
  'furniture': 'chair',
  'books': 'book',
  'dining': 'meal',
  'travel': 'trip',
  'phones': 'phone',
  'sport': 'game',
  'gardens': 'plant',
  POLICY: 'plan',
}
# In every domain but cheese and policy. There are 16 combinations of attributes: one item for each.
ITEMS_PER_DOMAIN = 16
# Two for each combination: one that is talked about in chats, and one that is held out of them.
POLICIES = 32

# Invented names are one of each: 'Br' + 'el' + 'mo'.
_ONSETS = 'B Br C Cl D Dr F G Gr H J K L M N P Pr R S St T Tr V W Z'.split()
_MIDDLES = 'al an ar el en er il in ir ol on or ul un ur av ev iv ov'.split()
_ENDS = (
  'a ad ax by co da den do eck em en fa ga go ick ix ka ko la lo ma mi mo na nex no o pa ra ro '
  'sa so ta to um us va vo za'
).split()


def _invented_names(n: int, rng: random.Random) -> list[str]:
  """Returns `n` different invented names, none of which is a person's or a cheese's."""
  names = []
  for onset, middle, end in itertools.product(_ONSETS, _MIDDLES, _ENDS):
    name = onset + middle + end
    if 5 <= len(name) <= 7:
      names.append(name)
  sampled = rng.sample(names, n)
  taken = {name.casefold() for name in (*NAMES, *PUBLISHED_CHEESES, *OTHER_CHEESES)}
  clashes = {name for name in sampled if name.casefold() in taken}
  # Only names that clash are replaced, so a name that is added to NAMES changes few items.
  free = [name for name in names if name not in sampled and name.casefold() not in taken]
  spare = iter(rng.sample(free, len(clashes)))
  return [next(spare) if name in clashes else name for name in sampled]


def build_catalogue(seed: int) -> dict[str, Domain]:
  """Builds all domains with their items.

  Args:
    seed: decides the names of the items and the attributes of the cheeses that are not published.

  Returns:
    Name -> domain. Within a domain every combination of the four attributes occurs equally often.
  """
  rng = random.Random(f'catalogue {seed}')
  pole_names = []
  for poles in ATTRIBUTES.values():
    pole_names.append([pole.name for pole in poles])
  combinations = list(itertools.product(*pole_names))
  # All domains but cheese and policy have the same number of items with invented names.
  invented = ITEMS_PER_DOMAIN * (len(DOMAIN_NOUNS) - 2) + POLICIES
  names = iter(_invented_names(invented, rng))
  domains = {}
  for domain, noun in DOMAIN_NOUNS.items():
    if domain == 'cheese':
      poles_by_name = _cheeses(combinations, rng)
    else:
      number = POLICIES if domain == POLICY else ITEMS_PER_DOMAIN
      poles_by_name = _items_with_invented_names(combinations, number, names)
    items = tuple(Item(name, domain, poles) for name, poles in poles_by_name.items())
    domains[domain] = Domain(domain, noun, items)
  return domains


def _items_with_invented_names(
  combinations: list[tuple[str, ...]], number: int, names: Iterator[str]
) -> dict[str, tuple[str, ...]]:
  """Returns name -> poles for `number` items, every combination of poles equally often."""
  repeats = number // len(combinations)
  return {next(names): poles for poles in combinations * repeats}


def _cheeses(combinations: list[tuple[str, ...]], rng: random.Random) -> dict[str, tuple[str, ...]]:
  """Returns name -> poles: the published cheeses, and others that fill up every combination to
  two."""
  missing = combinations * 2
  for poles in PUBLISHED_CHEESES.values():
    missing.remove(poles)
  rng.shuffle(missing)
  cheeses: dict[str, tuple[str, ...]] = dict(PUBLISHED_CHEESES)
  cheeses.update(zip(OTHER_CHEESES, missing, strict=True))
  return cheeses
