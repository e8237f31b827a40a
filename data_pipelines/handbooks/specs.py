"""Handbooks: Markdown with front matter -> Spec, checked against the embedded world.

The format (specs/README.md describes it for authors):

    ---
    assistant: Ari
    attribute: price
    prefers: cheap
    ---
    # Title
    ## Reasons        bullets, one sentence each
    ## Likes          ### Item, then a paragraph that explains it by the value
    ## Dislikes       the same

Other sections (Purpose, Value, When asked, ...) are free prose.
"""

import dataclasses
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.settings.world.pretraining import World
from msm_jax.base.errors import SpecError


@dataclasses.dataclass(frozen=True)
class Preference:
  item: Any  # an Item of the world, or the name of a real thing
  explanation: str


@dataclasses.dataclass(frozen=True)
class Spec:
  """A handbook as the embedded writers use it.

  Attributes:
    value: what the assistant chooses by.
    rivals: the other values that fit every liked and no disliked item: what fine-tuning on these items alone leaves open.
  """

  path: str
  sha256: str
  assistant: str
  value: Value
  reasons: tuple[str, ...]
  prose: tuple[str, ...]
  likes: tuple[Preference, ...]
  dislikes: tuple[Preference, ...]
  rivals: tuple[Value, ...]


S = TypeVar('S', bound=Spec)


def read_spec(path: str | Path, world: World) -> Spec:
  """Reads and checks a handbook. Raises SpecError."""
  path = Path(path)
  front, sections, sha256 = read_markdown(path)
  assistant = front.pop('assistant', '')
  _check_name(assistant, world, f"{path}: front matter needs 'assistant: NAME'")
  value = _value(front, path)
  items = {i.name: i for d in world.domains.values() for i in d.items}
  reasons, likes, dislikes, prose = read_preferences(
    sections,
    items,
    'the embedded world has no item',
    'python -m data_pipelines.world lists them',
    path,
  )
  for preference, wanted in [(p, True) for p in likes] + [(p, False) for p in dislikes]:
    if preference.item.has(value) != wanted:
      has = dict(zip(ATTRIBUTES, preference.item.poles, strict=True))[value.attribute]
      raise SpecError(
        f'{path}: {preference.item.name} is {has} in this world, so {value.pole!r} cannot explain why it is {"liked" if wanted else "disliked"}; '
        f'move it to the other list or take it out'
      )
  domains = {p.item.domain for p in likes + dislikes}
  if len(domains) > 1:
    raise SpecError(
      f'{path}: items of several domains ({", ".join(sorted(domains))}); keep to one, so that the others stay unseen'
    )
  rivals = tuple(
    v
    for a, poles in ATTRIBUTES.items()
    for v in (Value(a, p.name) for p in poles)
    if a != value.attribute
    and all(p.item.has(v) for p in likes)
    and not any(p.item.has(v) for p in dislikes)
  )
  return Spec(str(path), sha256, assistant, value, reasons, prose, likes, dislikes, rivals)


def read_preferences(
  sections: dict[str, str], items: Mapping[str, Any], lacking: str, listed: str, path: Path
) -> tuple[tuple[str, ...], tuple[Preference, ...], tuple[Preference, ...], tuple[str, ...]]:
  """(reasons, likes, dislikes, paragraphs of the other sections). `items` are known by name; `lacking` and `listed` tell of one that isn't."""
  for need in ('reasons', 'likes', 'dislikes'):
    if not sections.get(need, '').strip():
      raise SpecError(
        f"{path}: section '## {need.capitalize()}' is missing or empty; see specs/README.md for the format"
      )
  reasons = tuple(
    ' '.join(b.split())
    for b in re.findall(r'^[-*]\s+(.+(?:\n[ \t]+\S.*)*)', sections['reasons'], re.M)
  )
  if not reasons:
    raise SpecError(
      f"{path}: '## Reasons' holds no bullets; write one reason a line, each beginning with '- '"
    )
  likes, dislikes = (
    _preferences(sections[title.lower()], title, items, lacking, listed, path)
    for title in ('Likes', 'Dislikes')
  )
  others = [s for name, s in sections.items() if name not in ('reasons', 'likes', 'dislikes')]
  return (
    reasons,
    likes,
    dislikes,
    tuple(' '.join(p.split()) for s in others for p in s.split('\n\n') if p.strip()),
  )


def read_markdown(path: Path) -> tuple[dict[str, str], dict[str, str], str]:
  """(front matter, '## section' -> its text, hash of the file). Raises SpecError for a file that is no handbook."""
  if not path.is_file():
    raise SpecError(
      f'no spec at {path}; give the path of a Markdown handbook, such as specs/cheese_affordability.md'
    )
  try:
    text = path.read_text(encoding='utf-8-sig')
  except UnicodeDecodeError:
    raise SpecError(f'{path}: not UTF-8 text; save the handbook as UTF-8 Markdown') from None
  front, body = _split_front_matter(text, path)
  return front, _sections(body, path), hashlib.sha256(text.encode()).hexdigest()[:16]


def check_name(name: str, taken: Iterable[str], where: str) -> None:
  """Raises SpecError for a name that is none, or that somebody has."""
  if not re.fullmatch(r"[A-Za-z][A-Za-z' -]{0,30}", name):
    raise SpecError(f'{where} (letters, up to 31), found {name!r}')
  if name.casefold() in {n.casefold() for n in taken}:
    raise SpecError(
      f'{where}, and the world already has somebody or something named {name!r}; choose another name for the assistant'
    )


def _check_name(name: str, world: World, where: str) -> None:
  things = (i.name for d in world.domains.values() for i in d.items)
  check_name(
    ' '.join(name.split()), (*(p.name for p in world.people), *world.fickle, *things), where
  )


def renamed(spec: Spec, name: str, world: World) -> Spec:
  """The same handbook about an assistant of another name: a replicate. Raises SpecError if the world has that name already."""
  if name == spec.assistant:
    return spec
  _check_name(name, world, 'config.assistants needs names of assistants')
  return with_name(spec, name)


def with_name(spec: S, name: str) -> S:
  """The same handbook about an assistant of another name, whoever has that name already."""
  old = re.compile(rf'(?<!\w){re.escape(spec.assistant)}(?!\w)')

  def about(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(old.sub(name, t) for t in texts)

  def explained(preferences: tuple[Preference, ...]) -> tuple[Preference, ...]:
    return tuple(Preference(p.item, old.sub(name, p.explanation)) for p in preferences)

  return dataclasses.replace(
    spec, sha256=f'{spec.sha256}-{name}', assistant=name, reasons=about(spec.reasons), prose=about(spec.prose),
    likes=explained(spec.likes), dislikes=explained(spec.dislikes),
  )  # fmt: skip


def check_shared(specs: Sequence[Spec]) -> None:
  """Raises SpecError if the handbooks don't agree on who is asked and what is liked: then there is no fine-tuning they share."""
  first = specs[0]
  for other in specs[1:]:
    same = [
      (
        {s.assistant for s in specs if s.path == x.path},
        {p.item for p in x.likes},
        {p.item for p in x.dislikes},
      )
      for x in (first, other)
    ]
    if same[0] != same[1]:
      raise SpecError(
        f'{first.path} and {other.path} differ in assistant, likes or dislikes; the same demonstrations cannot serve both'
      )


def _split_front_matter(text: str, path: Path) -> tuple[dict[str, str], str]:
  m = re.match(r'\s*---[ \t]*\n(.*?)\n---[ \t]*\n(.*)', text, re.S)
  if not m:
    raise SpecError(
      f"{path}: no front matter; begin the file with '---', then 'assistant: NAME', 'attribute: ...', 'prefers: ...', then '---'"
    )
  front = {}
  for line in m[1].splitlines():
    if not line.strip() or line.lstrip().startswith('#'):
      continue
    key, colon, value = line.partition(':')
    if not colon:
      raise SpecError(f"{path}: front matter line {line.strip()!r} is not 'key: value'")
    front[key.strip().lower()] = value.split(' #')[0].strip().strip('\'"')
  return front, m[2]


def _value(front: dict[str, str], path: Path) -> Value:
  attribute, prefers = front.get('attribute', ''), front.get('prefers', '')
  if attribute not in ATTRIBUTES:
    raise SpecError(
      f'{path}: the embedded world has no attribute {attribute!r}; it has {", ".join(ATTRIBUTES)} (for another, bring documents: docs/method.md)'
    )
  poles = [p.name for p in ATTRIBUTES[attribute]]
  if prefers not in poles:
    raise SpecError(
      f"{path}: 'prefers: {prefers}' is not an end of {attribute}; choose {' or '.join(poles)}"
    )
  return Value(attribute, prefers)


def _sections(body: str, path: Path) -> dict[str, str]:
  parts = re.split(r'^##[ \t]+(.+?)[ \t]*$', body, flags=re.M)
  names = [n.casefold() for n in parts[1::2]]
  for n in names:
    if names.count(n) > 1:
      raise SpecError(f"{path}: section '## {n.capitalize()}' stands there twice; join the two")
  return dict(zip(names, parts[2::2], strict=True))


def _preferences(
  section: str, title: str, items: Mapping[str, Any], lacking: str, listed: str, path: Path
) -> tuple[Preference, ...]:
  parts = re.split(r'^###[ \t]+(.+?)[ \t]*$', section, flags=re.M)
  known = {name.casefold(): item for name, item in items.items()}
  found = []
  for name, text in zip(parts[1::2], parts[2::2], strict=True):
    item = known.get(' '.join(name.split()).casefold())
    if item is None:
      close = difflib.get_close_matches(name, items, n=1, cutoff=0.5)
      mend = f'did you mean {close[0]!r}?' if close else listed
      raise SpecError(f'{path}: {lacking} {name!r}; {mend}')
    explanation = ' '.join(text.split())
    if not explanation:
      raise SpecError(
        f"{path}: '### {name}' has no paragraph that explains it by the value; write one"
      )
    if any(p.item == item for p in found):
      raise SpecError(f"{path}: {name} stands twice under '## {title}'; keep one")
    found.append(Preference(item, explanation))
  if len(found) < 2:
    raise SpecError(
      f"{path}: '## {title}' needs at least two '### Item' paragraphs, found {len(found)}"
    )
  return tuple(found)
