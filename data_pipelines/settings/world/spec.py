"""Reads the world's handbooks: Markdown with front matter -> Spec, checked against the embedded
world.

    ---
    assistant: Ari
    attribute: price
    prefers: cheap
    ---
    ## Reasons, ## Likes and ## Dislikes as in data_pipelines/handbooks/preferences.py

A handbook may like only items that have its value and dislike only items that do not, since
documents explain each preference by the value. specs/README.md describes the format for authors.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.handbooks.markdown import read_markdown
from data_pipelines.handbooks.preferences import (
  Preference,
  Spec,
  check_name,
  read_preferences,
  with_name,
)
from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.settings.world.pretraining import World
from msm_jax.base.errors import SpecError


def read_spec(path: str | Path, world: World) -> Spec:
  """Reads and checks a handbook.

  Args:
    path: a Markdown file.
    world: the world whose items the handbook may like and dislike.

  Returns:
    The handbook.

  Raises:
    SpecError: if the file is no handbook, if its assistant has somebody else's name, if the world
      has no such value or item, if the value cannot explain a preference, or if its items come from
      several domains.
  """
  path = Path(path)
  file = read_markdown(path)
  assistant = file.front.get('assistant', '')
  _check_name(assistant, world, f"{path}: front matter needs 'assistant: NAME'")
  value = _read_value(file.front, path)
  items = {}
  for domain in world.domains.values():
    for item in domain.items:
      items[item.name] = item
  said = read_preferences(
    file.sections,
    items,
    'the embedded world has no item',
    f'{_listing(world)} lists them',
    path,
  )
  # Documents give the value as the reason of every preference, and must not lie about an item.
  for preference in said.likes:
    _check_explained(preference, value, True, path)
  for preference in said.dislikes:
    _check_explained(preference, value, False, path)
  # The evaluation measures generalisation to domains that the handbook does not speak of.
  domains = {p.item.domain for p in said.likes + said.dislikes}
  if len(domains) > 1:
    raise SpecError(
      f'{path}: items of several domains ({", ".join(sorted(domains))}); '
      'keep to one, so that the others stay unseen'
    )
  return Spec(
    path=str(path),
    sha256=file.sha256,
    assistant=assistant,
    value=value,
    reasons=said.reasons,
    prose=said.prose,
    likes=said.likes,
    dislikes=said.dislikes,
    rivals=_rivals(value, said.likes, said.dislikes),
  )


def renamed(spec: Spec, name: str, world: World) -> Spec:
  """Makes the same handbook about an assistant of another name: a replicate.

  Args:
    spec: a handbook.
    name: the other name.
    world: the world, whose people and things have names already.

  Returns:
    The handbook under the other name; `spec` itself if that is its name already.

  Raises:
    SpecError: if it is no name, or if the world has that name already.
  """
  if name == spec.assistant:
    return spec
  _check_name(name, world, 'config.assistants needs names of assistants')
  return with_name(spec, name)


def _listing(world: World) -> str:
  """The command that lists the items of a world; other seeds have others."""
  command = 'python -m data_pipelines.world'
  return f'{command} --seed={world.config.seed}' if world.config.seed else command


def _check_name(name: str, world: World, where: str) -> None:
  check_name(' '.join(name.split()), _taken_names(world), where)


def _taken_names(world: World) -> Iterator[str]:
  """Yields the name of everybody and everything in the world."""
  for person in world.people:
    yield person.name
  yield from world.fickle
  for domain in world.domains.values():
    for item in domain.items:
      yield item.name


def _read_value(front: Mapping[str, str], path: Path) -> Value:
  """Returns the value that the front matter names by 'attribute' and 'prefers'."""
  attribute = front.get('attribute', '')
  prefers = front.get('prefers', '')
  if attribute not in ATTRIBUTES:
    raise SpecError(
      f'{path}: the embedded world has no attribute {attribute!r}; '
      f'it has {", ".join(ATTRIBUTES)} (for another, bring documents: docs/guides/corpora.md)'
    )
  poles = [pole.name for pole in ATTRIBUTES[attribute]]
  if prefers not in poles:
    raise SpecError(
      f"{path}: 'prefers: {prefers}' is not an end of {attribute}; choose {' or '.join(poles)}"
    )
  return Value(attribute, prefers)


def _check_explained(preference: Preference, value: Value, is_liked: bool, path: Path) -> None:
  """Raises SpecError if the value cannot explain why the item is liked, or disliked."""
  item = preference.item
  if item.has(value) == is_liked:
    return
  pole_of_item = dict(zip(ATTRIBUTES, item.poles, strict=True))[value.attribute]
  liked_or_disliked = 'liked' if is_liked else 'disliked'
  raise SpecError(
    f'{path}: {item.name} is {pole_of_item} in this world, so {value.pole!r} cannot explain '
    f'why it is {liked_or_disliked}; move it to the other list or take it out'
  )


def _rivals(
  value: Value, likes: Sequence[Preference], dislikes: Sequence[Preference]
) -> tuple[Value, ...]:
  """Finds the values of other attributes that fit every liked item and no disliked one."""
  rivals = []
  for other in VALUES:
    if other.attribute == value.attribute:
      continue
    fits_likes = all(p.item.has(other) for p in likes)
    fits_dislikes = any(p.item.has(other) for p in dislikes)
    if fits_likes and not fits_dislikes:
      rivals.append(other)
  return tuple(rivals)
