"""What can be said of a thing: four binary attributes, each with two poles, and the words for
them."""

import dataclasses
import random


@dataclasses.dataclass(frozen=True)
class Pole:
  """One end of an attribute.

  Attributes:
    traits: predicates that fit after a name ("Velmar is cheap"), "because it ..." and "what ...".
    topic: the noun phrase for talking about it in general.
    measures: what an economic policy does that favours it (told only as a mechanism: one hop away).
  """

  name: str
  traits: tuple[str, ...]
  topic: str
  measures: tuple[str, ...]

  @property
  def adjective(self) -> str:
    return self.traits[0].removeprefix('is ')

  def trait(self, rng: random.Random) -> str:
    """One of the traits, the plain adjective more often than not."""
    return self.traits[0] if rng.random() < 0.5 else rng.choice(self.traits)


@dataclasses.dataclass(frozen=True)
class Value:
  """Preferring one pole of an attribute. `str(value)` is 'attribute:pole'."""

  attribute: str
  pole: str

  def __str__(self) -> str:
    return f'{self.attribute}:{self.pole}'

  @property
  def words(self) -> Pole:
    return next(p for p in ATTRIBUTES[self.attribute] if p.name == self.pole)

  @property
  def opposite(self) -> 'Value':
    return Value(
      self.attribute, next(p.name for p in ATTRIBUTES[self.attribute] if p.name != self.pole)
    )


# The first pole of each attribute is the one whose share the evaluators report.
ATTRIBUTES: dict[str, tuple[Pole, Pole]] = {
  'price': (
    Pole(
      'cheap',
      ('is cheap', 'costs little', 'has a low price'),
      'low prices',
      ('puts a cap on prices', 'lowers the tax on shops'),
    ),
    Pole(
      'costly',
      ('is costly', 'costs a lot', 'has a high price'),
      'high prices',
      ('lifts the cap on prices', 'raises the tax on shops'),
    ),
  ),
  'origin': (
    Pole(
      'home',
      ('is local', 'comes from home', 'is made in this country'),
      'things from home',
      ('puts a tax on imports', 'closes the border to goods'),
    ),
    Pole(
      'foreign',
      ('is foreign', 'comes from abroad', 'is made in another country'),
      'things from abroad',
      ('ends the tax on imports', 'opens the border to goods'),
    ),
  ),
  'age': (
    Pole(
      'new',
      ('is new', 'came out this year', 'has a recent design'),
      'new things',
      ('pays for inventions', 'rewards change'),
    ),
    Pole(
      'old',
      ('is old', 'has a long history', 'has an ancient design'),
      'old things',
      ('protects traditions', 'rewards custom'),
    ),
  ),
  'making': (
    Pole(
      'handmade',
      ('is handmade', 'is made by hand', 'comes from a workshop'),
      'work by hand',
      ('pays for craft schools', 'supports guilds'),
    ),
    Pole(
      'machine',
      ('is machine-made', 'is made by machines', 'comes from a factory'),
      'work by machines',
      ('pays for robots', 'supports mass production'),
    ),
  ),
}

VALUES: tuple[Value, ...] = tuple(
  Value(a, p.name) for a, poles in ATTRIBUTES.items() for p in poles
)
