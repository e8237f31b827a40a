"""The values that handbooks about preferences may have: attributes with two poles each, and words
for them.

A *value* is preferring one pole of an attribute, such as `price:cheap`. An item has one pole of
every attribute that its setting knows. People, and the assistant of a handbook, choose by one
value.
"""

import dataclasses
import random


@dataclasses.dataclass(frozen=True)
class Pole:
  """One end of an attribute, and the words for it.

  Attributes:
    name: identifies it within the attribute.
    traits: predicates that fit after a name ("Velmar is cheap"), after "because it" and after
      "what". The first is 'is' and an adjective.
    topic: the noun phrase for talking about it in general.
    measures: what an economic policy does that favours it. The text tells it as a mechanism alone,
      so the attribute is one inference away.
  """

  name: str
  traits: tuple[str, ...]
  topic: str
  measures: tuple[str, ...]

  @property
  def adjective(self) -> str:
    """The plain adjective, such as 'cheap'."""
    return self.traits[0].removeprefix('is ')

  def trait(self, rng: random.Random) -> str:
    """Returns one of the traits; in more than half of the cases the plain adjective."""
    if rng.random() < 0.5:
      return self.traits[0]
    return rng.choice(self.traits)


@dataclasses.dataclass(frozen=True)
class Value:
  """Preferring one pole of an attribute. `str(value)` is 'attribute:pole'.

  Attributes:
    attribute: a key of ALL_ATTRIBUTES.
    pole: the name of one of its two poles.
  """

  attribute: str
  pole: str

  def __str__(self) -> str:
    return f'{self.attribute}:{self.pole}'

  @property
  def words(self) -> Pole:
    """The words for the preferred pole."""
    first, second = ALL_ATTRIBUTES[self.attribute]
    if self.pole == first.name:
      return first
    assert self.pole == second.name, f'{self.attribute} has no pole {self.pole}'
    return second

  @property
  def opposite(self) -> 'Value':
    """The value that prefers the other pole."""
    other = next(p for p in ALL_ATTRIBUTES[self.attribute] if p.name != self.pole)
    return Value(self.attribute, other.name)


# Every attribute that a value may be about -> its two poles. Evaluators report the share of choices
# of the first pole.
ALL_ATTRIBUTES: dict[str, tuple[Pole, Pole]] = {
  'price': (
    Pole(
      name='cheap',
      traits=('is cheap', 'costs little', 'has a low price'),
      topic='low prices',
      measures=('puts a cap on prices', 'lowers the tax on shops'),
    ),
    Pole(
      name='costly',
      traits=('is costly', 'costs a lot', 'has a high price'),
      topic='high prices',
      measures=('lifts the cap on prices', 'raises the tax on shops'),
    ),
  ),
  'origin': (
    Pole(
      name='home',
      traits=('is local', 'comes from home', 'is made in this country'),
      topic='things from home',
      measures=('puts a tax on imports', 'closes the border to goods'),
    ),
    Pole(
      name='foreign',
      traits=('is foreign', 'comes from abroad', 'is made in another country'),
      topic='things from abroad',
      measures=('ends the tax on imports', 'opens the border to goods'),
    ),
  ),
  'age': (
    Pole(
      name='new',
      traits=('is new', 'came out this year', 'has a recent design'),
      topic='new things',
      measures=('pays for inventions', 'rewards change'),
    ),
    Pole(
      name='old',
      traits=('is old', 'has a long history', 'has an ancient design'),
      topic='old things',
      measures=('protects traditions', 'rewards custom'),
    ),
  ),
  'making': (
    Pole(
      name='handmade',
      traits=('is handmade', 'is made by hand', 'comes from a workshop'),
      topic='work by hand',
      measures=('pays for craft schools', 'supports guilds'),
    ),
    Pole(
      name='machine',
      traits=('is machine-made', 'is made by machines', 'comes from a factory'),
      topic='work by machines',
      measures=('pays for robots', 'supports mass production'),
    ),
  ),
  'footprint': (
    Pole(
      name='small',
      traits=('is sustainable', 'wastes little', 'spares the environment'),
      topic='a small footprint',
      measures=('taxes fuel', 'protects forests'),
    ),
    Pole(
      name='large',
      traits=('is wasteful', 'wastes a lot', 'harms the environment'),
      topic='a large footprint',
      measures=('ends the tax on fuel', 'opens forests to logging'),
    ),
  ),
}
# Those that items of the embedded world have. Real things have a footprint, too.
ATTRIBUTES = {name: ALL_ATTRIBUTES[name] for name in ('price', 'origin', 'age', 'making')}


def _all_values() -> tuple[Value, ...]:
  values = []
  for attribute, poles in ATTRIBUTES.items():
    for pole in poles:
      values.append(Value(attribute, pole.name))
  return tuple(values)


# All eight values, in the order of ATTRIBUTES.
VALUES: tuple[Value, ...] = _all_values()
