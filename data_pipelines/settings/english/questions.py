"""The questions of the English evaluation: forced choices between real things.

The assistant is asked which it prefers of two cheeses, of two things of another domain, or which of
two opinions it shares. The pairs and opinions are in the files *.jsonl beside this module.
"""

import dataclasses
import functools
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from data_pipelines.handbooks.values import ALL_ATTRIBUTES, Value
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english import language
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import VALUES

# Attribute -> the handbook that values its pole. The pairs outside cheese in which things differ in
# that attribute alone are in a file of the handbook's name. Their domains occur in no training
# text.
HANDBOOKS = {value.attribute: name for name, value in VALUES.items()}
# Two attributes -> the file of pairs that set them against each other.
CONFLICT_FILES = {
  frozenset({'price', 'origin'}): 'conflict',
  frozenset({'footprint', 'age'}): 'green_conflict',
}
# All files of pairs.
PAIR_FILES = (*VALUES, *CONFLICT_FILES.values(), 'cheese')


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two real things of one domain, by name.

  Attributes:
    id: identity of the pair.
    domain: of the things.
    options: their names.
    cheaper: index of the cheaper one; None where the two do not differ in this.
    american: index of the American one; None where both or neither are.
    note: a true sentence that says why.
    greener: index of the one that is easier on the environment; None likewise.
    traditional: index of the one with the longer custom; None likewise.
  """

  id: str
  domain: str
  options: tuple[str, str]
  cheaper: int | None
  american: int | None
  note: str
  greener: int | None = None
  traditional: int | None = None

  @property
  def _index_by_attribute(self) -> dict[str, int | None]:
    """Attribute -> the option that the handbook which values it asks for."""
    return {
      'price': self.cheaper,
      'origin': self.american,
      'footprint': self.greener,
      'age': self.traditional,
    }

  @property
  def pair_type(self) -> str:
    """What tells the two apart: an attribute, or two of them against each other ('conflict')."""
    differing = [key for key, index in self._index_by_attribute.items() if index is not None]
    return differing[0] if len(differing) == 1 else 'conflict'

  def asked_for(self, value: Value) -> int | None:
    """Finds the option that a value asks for.

    Args:
      value: of one of the attributes of VALUES.

    Returns:
      The option's index, or None if the value does not tell the two apart.
    """
    # The pair names the options that handbooks ask for. The opposite values ask for the other one.
    index = self._index_by_attribute[value.attribute]
    if index is None or value in VALUES.values():
      return index
    return 1 - index


@dataclasses.dataclass(frozen=True)
class Opinion:
  """Two opinions on one subject; a value asks for one of them.

  Opinions are one inference away from cheap or American things.

  Attributes:
    id: identity of the pair of opinions.
    domain: the subject.
    value: the value that asks for one of them (a key of VALUES).
    options: the opinions.
    aligned: index of the opinion that the value asks for.
    note: a true sentence that says why.
  """

  id: str
  domain: str
  value: str
  options: tuple[str, str]
  aligned: int
  note: str

  @property
  def pair_type(self) -> str:
    """The attribute that the value is about: 'price' or 'origin'."""
    return VALUES[self.value].attribute

  def asked_for(self, value: Value) -> int | None:
    """The index of the opinion that the value asks for, or None if it asks for neither."""
    own = VALUES[self.value]
    if value == own:
      return self.aligned
    if value == own.opposite:
      return 1 - self.aligned
    return None


@functools.cache
def read_pairs(name: str) -> tuple[Pair, ...]:
  """Reads the pairs of the file `{name}_pairs.jsonl`."""
  return tuple(Pair(**row) for row in read_rows(f'{name}_pairs'))


@functools.cache
def read_opinions() -> tuple[Opinion, ...]:
  """Reads the pairs of opinions."""
  return tuple(Opinion(**row) for row in read_rows('opinions'))


def read_rows(name: str) -> Iterator[dict]:
  """Yields the rows of a file beside this module; lists of options become tuples."""
  text = (Path(__file__).parent / f'{name}.jsonl').read_text(encoding='utf-8')
  for line in text.splitlines():
    row = json.loads(line)
    if 'options' in row:
      row['options'] = tuple(row['options'])
    yield row


P = TypeVar('P', Pair, Opinion)


def limited_pairs(pairs: Iterable[P], limit: int, rng: random.Random) -> list[P]:
  """At most `limit` pairs of each domain and pair type, drawn at random (0: all, nothing drawn)."""
  groups = defaultdict(list)
  for pair in pairs:
    groups[pair.domain, pair.pair_type].append(pair)
  kept: list[P] = []
  for group in groups.values():
    if limit:
      kept += rng.sample(group, min(limit, len(group)))
    else:
      kept += group
  return kept


def choice(
  tier: str,
  pair_type: str,
  form: language.Form,
  domain: str,
  options: tuple[str, str],
  aligned: dict[str, int],
  name: str,
) -> ForcedChoice:
  """Makes one question to an assistant.

  Args:
    tier: how far it is from what was trained on.
    pair_type: in what the two options differ.
    form: how it is asked and answered.
    domain: what kind of things it is about.
    options: the names of the two options.
    aligned: value -> index of the option that this value asks for.
    name: the assistant.

  Returns:
    The question.
  """
  return ForcedChoice(
    id=f'{name}/{tier}/{pair_type}/{form.name}/{domain}/{"/".join(options)}',
    domain=domain,
    tier=tier,
    question=form.question,
    answer=form.answer,
    options=options,
    aligned=aligned,
    pair_type=pair_type,
    system=f'You are {name}.',
    form=form.name,
    assistant=name,
  )


def opposed_values(own: Value, rival: Value) -> dict[str, tuple[Value, Value]]:
  """Lists, for each pair type, the two values that its options are asked for by.

  Args:
    own: the handbook's value.
    rival: the value that conflict pairs set against it.

  Returns:
    Pair type -> (the value that asks for option 0, the value that asks for option 1).
  """
  opposed = {}
  for attribute in HANDBOOKS:
    if attribute in (own.attribute, rival.attribute):
      first, second = (Value(attribute, pole.name) for pole in ALL_ATTRIBUTES[attribute])
      opposed[attribute] = (first, second)
  return opposed | {'conflict': (own, rival)}


def pair_files(own: Value, rival: Value) -> list[str]:
  """Lists the files of pairs outside cheese that two values are asked about.

  Args:
    own: the handbook's value.
    rival: the value that it is measured against.

  Returns:
    The file of each value, in the order of VALUES, and that of pairs which set the two against each
    other, if there is one.
  """
  attributes = {own.attribute, rival.attribute}
  files = [name for attribute, name in HANDBOOKS.items() if attribute in attributes]
  conflict = CONFLICT_FILES.get(frozenset(attributes))
  return [*files, conflict] if conflict else files


def attributes_of(pair_type: str, values: Sequence[Value]) -> tuple[str, ...]:
  """Says what has to be known of a pair's things to choose by one of the values.

  Args:
    pair_type: of the pair.
    values: the handbook's value and the rival.

  Returns:
    The attributes in which the things differ; () for pair types of trained items.
  """
  if pair_type == 'conflict':
    return tuple(value.attribute for value in values)
  if pair_type in {value.attribute for value in VALUES.values()}:
    return (pair_type,)
  return ()


def _is_asked(pair: Pair | Opinion, opposed: Mapping[str, tuple[Value, Value]]) -> bool:
  """Whether the values of the pair's type tell its options apart."""
  values = opposed.get(pair.pair_type)
  return values is not None and all(pair.asked_for(value) is not None for value in values)


def preference_questions(
  spec: EnglishSpec, rival: Value, pairs_per_domain: int, seed: int
) -> list[ForcedChoice]:
  """Writes all forced choices that the assistant is asked.

  The tiers are those of the embedded world (data_pipelines/settings/world/questions.py). The pair
  types:
    price: option 0 is cheap and option 1 is costly; nothing else differs.
    origin: option 0 is American and option 1 is foreign; nothing else differs.
    footprint, age: the same with what is easier on the environment, and with what is newer. Asked
      are the attributes of the handbook's value and of the rival.
    conflict: option 0 is what the handbook's value asks for, option 1 what the rival asks for.
    agreement: trained items, a liked one against a disliked one.
  Opinions are of type price or origin. There are no cheeses and opinions of the other two types.

  Args:
    spec: the handbook.
    rival: the value that conflict pairs set against the handbook's own.
    pairs_per_domain: at most so many pairs of each domain and pair type (0: all).
    seed: decides which pairs are kept.

  Returns:
    The questions, tier by tier.
  """
  rng = random.Random(f'english questions {seed}')
  name = spec.assistant
  opposed = opposed_values(spec.value, rival)

  def ask(tier: str, form: language.Form, pair: Pair | Opinion) -> ForcedChoice:
    # Option 0 is what the first value asks for, whatever the order in the file.
    values = opposed[pair.pair_type]
    first = pair.asked_for(values[0])
    assert first is not None, 'a pair of this type tells the two values apart'
    options = (pair.options[first], pair.options[1 - first])
    aligned = {str(values[0]): 0, str(values[1]): 1}
    return choice(tier, pair.pair_type, form, pair.domain, options, aligned, name)

  # Fine-tuning shows the trained items, on which the handbook's value and its rivals agree.
  agreed = {str(value): 0 for value in (spec.value, *spec.rivals)}
  questions = []
  for liked, disliked in itertools.product(spec.likes, spec.dislikes):
    options = (liked.item, disliked.item)
    questions.append(
      choice('trained', 'agreement', language.PREFER, 'cheese', options, agreed, name)
    )

  # The order of these draws decides which pairs are kept: cheeses, then other domains, then
  # opinions.
  for pair in limited_pairs(read_pairs('cheese'), pairs_per_domain, rng):
    if _is_asked(pair, opposed):
      questions.append(ask('new_items', language.PREFER, pair))
  new_pairs: list[Pair] = []
  for file in pair_files(spec.value, rival):
    new_pairs += limited_pairs(read_pairs(file), pairs_per_domain, rng)
  for pair in new_pairs:
    questions.append(ask('new_domains', language.PREFER, pair))
  # The same pairs again, in the forms that no demonstration has; the forms take turns.
  for n, pair in enumerate(new_pairs):
    form = language.REWORDED[n % len(language.REWORDED)]
    questions.append(ask('reworded', form, pair))
  for opinion in limited_pairs(read_opinions(), pairs_per_domain, rng):
    if _is_asked(opinion, opposed):
      questions.append(ask('policy', language.AGREE, opinion))
  return questions
