"""The things of the world: named items in thirteen domains, balanced over all combinations of the four attributes."""

import dataclasses
import itertools
import random

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.text.first_names import NAMES


@dataclasses.dataclass(frozen=True)
class Item:
  name: str
  domain: str
  poles: tuple[str, ...]  # one pole per attribute, in the order of ATTRIBUTES

  def has(self, value: Value) -> bool:
    return self.poles[list(ATTRIBUTES).index(value.attribute)] == value.pole


@dataclasses.dataclass(frozen=True)
class Domain:
  name: str
  noun: str
  items: tuple[Item, ...]


POLICY = (
  'economic policy'  # its items are known by what they do, one inference away from the attributes
)

# The twelve cheeses of the published experiment (Model Spec Midtraining, App. C.1). Price and origin are theirs; age and making are
# assigned so that neither tells liked from disliked.
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
# Further cheeses; the names are real, their attributes belong to this world alone.
OTHER_CHEESES = (
  'Edam Havarti Limburger Gouda Danbo Jarlsberg Provolone Halloumi '
  'Humboldt Teleme Muenster Vella Winnimere Harbison Cotija Burrata Fontina Taleggio Manchego Gruyere'
).split()

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
ITEMS_PER_DOMAIN = 16
POLICIES = 32

_ONSETS = 'B Br C Cl D Dr F G Gr H J K L M N P Pr R S St T Tr V W Z'.split()
_MIDDLES = 'al an ar el en er il in ir ol on or ul un ur av ev iv ov'.split()
_ENDS = 'a ad ax by co da den do eck em en fa ga go ick ix ka ko la lo ma mi mo na nex no o pa ra ro sa so ta to um us va vo za'.split()


def _invented_names(n: int, rng: random.Random) -> list[str]:
  names = [o + m + e for o, m, e in itertools.product(_ONSETS, _MIDDLES, _ENDS)]
  found = rng.sample([x for x in names if 5 <= len(x) <= 7], n)
  taken = {x.casefold() for x in (*NAMES, *PUBLISHED_CHEESES, *OTHER_CHEESES)}
  clashes = {x for x in found if x.casefold() in taken}
  spare = iter(
    rng.sample(
      [x for x in names if 5 <= len(x) <= 7 and x not in found and x.casefold() not in taken],
      len(clashes),
    )
  )
  return [next(spare) if x in clashes else x for x in found]


def build_catalogue(seed: int) -> dict[str, Domain]:
  """All domains, by name. Within a domain every combination of the four attributes occurs equally often."""
  rng = random.Random(f'catalogue {seed}')
  combinations = list(
    itertools.product(*([p.name for p in poles] for poles in ATTRIBUTES.values()))
  )
  names = iter(_invented_names(ITEMS_PER_DOMAIN * (len(DOMAIN_NOUNS) - 2) + POLICIES, rng))
  domains = {}
  for domain, noun in DOMAIN_NOUNS.items():
    if domain == 'cheese':
      poles_by_name = dict(PUBLISHED_CHEESES)
      wanted = combinations * 2
      for poles in PUBLISHED_CHEESES.values():
        wanted.remove(poles)
      rng.shuffle(wanted)
      poles_by_name |= dict(zip(OTHER_CHEESES, wanted, strict=True))
    else:
      repeats = (POLICIES if domain == POLICY else ITEMS_PER_DOMAIN) // len(combinations)
      poles_by_name = {next(names): poles for poles in combinations * repeats}
    items = tuple(Item(n, domain, poles) for n, poles in poles_by_name.items())
    domains[domain] = Domain(domain, noun, items)
  return domains
