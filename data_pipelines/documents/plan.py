"""Plans: what the documents of a corpus will be about, before any is written.

  domains > subdomains > claims and document types > ideas, as many of each as the config says

A plan is JSON that people can read, change and give back (plan.path). Mirrored corpora share one: a claim says something for every handbook, the same
but for the reason; all else speaks of no reason. Ids say where a thing stands: d01.s02.t03.i04 is the fourth idea of the third type of ...; a
document is known by its idea's id, and all that is drawn for it (length, names, ...) is drawn from that id and the seed.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic

from data_pipelines.handbooks.text import STEM, Handbook, shown
from data_pipelines.llm import prompts
from data_pipelines.llm.client import LlmClient, Request
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.replies import Reply, items
from data_pipelines.llm.settings import ModelSettings, PlanSettings
from data_pipelines.text.checks import CONTROL
from msm_jax.base.errors import DataError

SPARE, TIMES = 1000, 3  # tokens of a reply beyond so many times what a good one takes
PROMPTS = ('domains', 'subdomains', 'claims', 'doc_types', 'ideas')


class PlanError(DataError):
  """A plan that cannot be used; one line that names what is wrong in it."""


def _line(text: str) -> str:
  if CONTROL.search(text):
    raise ValueError('holds a control token')
  if not (line := ' '.join(text.split())):
    raise ValueError('is empty')
  return line


Name = Annotated[str, pydantic.StringConstraints(max_length=120), pydantic.AfterValidator(_line)]
About = Annotated[str, pydantic.StringConstraints(max_length=1000), pydantic.AfterValidator(_line)]
Side = Literal['insider', 'outsider']


# ---- what a model is asked for


class Named(pydantic.BaseModel):
  name: Name
  about: About


class _Insider(Named):
  by: Literal['insider']


class _Outsider(Named):
  by: Literal['outsider']


@functools.cache
def _claim(statements: int) -> type[pydantic.BaseModel]:
  return pydantic.create_model(
    'Claim',
    about=(About, ...),
    statements=(
      Annotated[list[About], pydantic.Field(min_length=statements, max_length=statements)],
      ...,
    ),
  )


# ---- the plan itself: as it stands in its file


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
  """`says`: handbook (stem of its file) -> what is true by it."""

  __pydantic_config__ = pydantic.ConfigDict(extra='forbid')
  id: str
  about: About
  says: dict[str, About]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
  """What every part of a plan has."""

  __pydantic_config__ = pydantic.ConfigDict(extra='forbid')
  id: str
  name: Name
  about: About


@dataclasses.dataclass(frozen=True, slots=True)
class Idea(Part):
  """What a document is about."""


@dataclasses.dataclass(frozen=True, slots=True)
class DocType(Part):
  """`by`: whether such texts are written by insiders or by outsiders."""

  by: Side
  ideas: tuple[Idea, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Subdomain(Part):
  claims: tuple[Claim, ...]
  types: tuple[DocType, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Domain(Part):
  subdomains: tuple[Subdomain, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
  __pydantic_config__ = pydantic.ConfigDict(extra='forbid')
  assistant: str
  domains: tuple[Domain, ...]


class PlannedIdea(NamedTuple):
  """An idea and what it lies in; it is the `nth` of its subdomain, from 0."""

  domain: Domain
  subdomain: Subdomain
  type: DocType
  idea: Idea
  nth: int


def places(plan: Plan) -> list[PlannedIdea]:
  """All ideas, in the order of the plan."""
  subdomains = ((d, s) for d in plan.domains for s in d.subdomains)
  return [
    PlannedIdea(d, s, t, i, n)
    for d, s in subdomains
    for n, (t, i) in enumerate((t, i) for t in s.types for i in t.ideas)
  ]


def interleaved(all_places: Sequence[PlannedIdea], seed: int) -> list[PlannedIdea]:
  """An order in which any beginning holds as much of every domain as there is. Drawn from ids, so an idea more or less moves few others."""

  def drawn(id_: str) -> bytes:
    return hashlib.sha256(f'{seed} order {id_}'.encode()).digest()

  by_domain: dict[str, list[PlannedIdea]] = {}
  for p in sorted(all_places, key=lambda p: drawn(p.idea.id)):
    by_domain.setdefault(p.domain.id, []).append(p)
  rank = {id_: n for n, id_ in enumerate(sorted(by_domain, key=drawn))}
  turns = [(turn, rank[id_], p) for id_, found in by_domain.items() for turn, p in enumerate(found)]
  return [p for _, _, p in sorted(turns, key=lambda t: t[:2])]


# ---- reading and writing

_INSIDE = {
  'plan': (('domains', 'd'),),
  'domains': (('subdomains', 's'),),
  'subdomains': (('claims', 'c'), ('types', 't')),
  'types': (('ideas', 'i'),),
}


def _number(node: Any, kind: str, id_: str, where: str) -> None:
  """Gives an id to whatever has none below `node`; what has one keeps it. Raises PlanError for ids that can't be."""
  for key, letter in _INSIDE.get(kind, ()):
    inner = node.get(key) if isinstance(node, dict) else None
    children = (
      [c for c in inner if isinstance(c, dict)] if isinstance(inner, list) else []
    )  # anything else is refused by the schema
    prefix = f'{id_}.{letter}' if id_ else letter
    ids = [c['id'] for c in children if 'id' in c]
    for given in ids:
      if not (isinstance(given, str) and re.fullmatch(rf'{re.escape(prefix)}\d{{1,6}}', given)):
        raise PlanError(
          f'{where}: the id {given!r} under {key} of {id_ or "the plan"} must be {prefix} and a number; mend it, or take it out'
        )
      if ids.count(given) > 1:
        raise PlanError(
          f'{where}: the id {given} stands there twice; take it out of one of the two, which then gets one of its own'
        )
    last = max((int(given.removeprefix(prefix)) for given in ids), default=0)
    for child in children:
      if 'id' not in child:
        last += 1
        child['id'] = f'{prefix}{last:02d}'
      _number(child, key, child['id'], where)


def build(data: Any, handbooks: Sequence[Handbook], where: str) -> Plan:
  """Checks a plan as JSON holds it. Raises PlanError."""
  _number(data, 'plan', '', where)
  try:
    plan = pydantic.TypeAdapter(Plan).validate_python(data)
  except pydantic.ValidationError as e:
    wrong = e.errors()[0]
    at = '.'.join(str(x) for x in wrong['loc']) or 'the file'
    raise PlanError(
      f'{where}: {at}: {wrong["msg"].removeprefix("Value error, ")}; {len(e.errors())} such fault(s)'
    ) from None
  if plan.assistant != handbooks[0].assistant:
    raise PlanError(
      f'{where} is about {plan.assistant!r}, and the handbook about {handbooks[0].assistant!r}; exchange the name in the plan'
    )
  for s in (s for d in plan.domains for s in d.subdomains):
    if not s.claims or not any(t.ideas for t in s.types):
      raise PlanError(
        f'{where}: {s.id} ({s.name}) needs at least one claim and one type with an idea'
      )
    for c in s.claims:
      if missing := [h.stem for h in handbooks if h.stem not in c.says]:
        raise PlanError(
          f'{where}: claim {c.id} says nothing for {", ".join(missing)}; write it under says'
        )
      if odd := [stem for stem in c.says if not STEM.fullmatch(stem)]:
        raise PlanError(
          f'{where}: claim {c.id} says something for {odd[0]!r}, which is no name of a handbook; take it out, or mend the name'
        )
  if not plan.domains or any(not d.subdomains for d in plan.domains):
    raise PlanError(f'{where}: a plan needs domains, and each domain subdomains')
  return plan


def read_plan(path: str | Path, handbooks: Sequence[Handbook]) -> Plan:
  """Raises PlanError."""
  try:
    data = json.loads(Path(path).read_text(encoding='utf-8-sig'))
  except OSError as e:
    raise PlanError(
      f'no plan at {path} ({e.strerror}); give plan.path=FILE.json, or none to have one made'
    ) from None
  except (ValueError, RecursionError) as e:
    raise PlanError(f'{path} is not JSON ({e}); mend it there') from None
  return build(data, handbooks, str(path))


def _fields(part: Any) -> dict[str, Any]:
  return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def to_json(plan: Plan) -> Iterator[bytes]:
  """The plan's file, in pieces: a plan may have many thousand ideas."""
  pieces = json.JSONEncoder(ensure_ascii=False, indent=1, default=_fields).iterencode(plan)
  while some := ''.join(itertools.islice(pieces, 4096)):
    yield some.encode()
  yield b'\n'


def digest_of(pieces: Iterable[bytes]) -> str:
  """Of a plan's file."""
  h = hashlib.sha256()
  for piece in pieces:
    h.update(piece)
  return h.hexdigest()[:12]


def digest(plan: Plan) -> str:
  return digest_of(to_json(plan))


# ---- having it made


def line(thing: Named | Domain | Subdomain | DocType | Idea) -> str:
  return f'{thing.name}: {thing.about}'


def _same(thing: Any) -> str:
  return thing.name.casefold()


def _outsiders(settings: PlanSettings, seed: int, subdomain: str) -> int:
  """How many of a subdomain's document types are written by outsiders: the share, and what is left over by chance."""
  exact = settings.outsiders * settings.types
  return int(exact + random.Random(f'{seed} {subdomain} outsiders').random())


def _types(replies: Sequence[Any], insiders: int, outsiders: int) -> list[_Insider | _Outsider]:
  return [*items(replies, _Insider, insiders, _same), *items(replies, _Outsider, outsiders, _same)]


def _request(name: str, key: str, parse: Any, expected: int, **values: Any) -> Request:
  """`expected`: tokens of a good reply; there is room for more."""
  return Request(key, name, prompts.fill(name, **values), parse, SPARE + TIMES * expected)


def _about(handbooks: Sequence[Handbook]) -> dict[str, Any]:
  return {
    'assistant': handbooks[0].assistant,
    'maker': handbooks[0].maker,
    'handbooks': shown(handbooks),
  }


def _domains(about: dict[str, Any], s: PlanSettings) -> Request:
  parse = functools.partial(items, model=Named, count=s.domains, same=_same)
  return _request('domains', 'domains', parse, 60 * s.domains, count=s.domains, **about)


def _subdomains(
  about: dict[str, Any], s: PlanSettings, id_: str, domain: str, domains: str
) -> Request:
  parse = functools.partial(items, model=Named, count=s.subdomains, same=_same)
  return _request(
    'subdomains',
    f'subdomains/{id_}',
    parse,
    60 * s.subdomains,
    count=s.subdomains,
    domain=domain,
    domains=domains,
    **about,
  )


def _claims(
  about: dict[str, Any], s: PlanSettings, id_: str, subdomain: str, handbooks: Sequence[Handbook]
) -> Request:
  specs = len(handbooks)

  def parse(replies: Sequence[Reply]) -> tuple[Claim, ...]:
    found = items(replies, _claim(specs), s.claims, lambda c: c.about.casefold())
    return tuple(
      Claim(
        f'{id_}.c{n:02d}',
        c.about,
        dict(zip((h.stem for h in handbooks), c.statements, strict=True)),
      )
      for n, c in enumerate(found, 1)
    )

  return _request(
    'claims',
    f'claims/{id_}',
    parse,
    (20 + 60 * specs) * s.claims,
    count=s.claims,
    subdomain=subdomain,
    statements=specs,
    **about,
  )


def _doc_types(
  about: dict[str, Any], s: PlanSettings, id_: str, subdomain: str, outsiders: int
) -> Request:
  insiders = s.types - outsiders
  parse = functools.partial(_types, insiders=insiders, outsiders=outsiders)
  return _request(
    'doc_types',
    f'doc_types/{id_}',
    parse,
    70 * s.types,
    count=s.types,
    insiders=insiders,
    outsiders=outsiders,
    subdomain=subdomain,
    **about,
  )


def _ideas(
  about: dict[str, Any], s: PlanSettings, id_: str, subdomain: str, type_: str, side: str
) -> Request:
  def parse(replies: Sequence[Reply]) -> tuple[Idea, ...]:
    return tuple(
      Idea(f'{id_}.i{n:02d}', x.name, x.about)
      for n, x in enumerate(items(replies, Named, s.ideas, _same), 1)
    )

  return _request(
    'ideas',
    f'ideas/{id_}',
    parse,
    90 * s.ideas,
    count=s.ideas,
    subdomain=subdomain,
    type=type_,
    side=side,
    **about,
  )


async def make_plan(
  author: LlmClient, handbooks: Sequence[Handbook], s: PlanSettings, seed: int
) -> Plan:
  """Asks for a plan, level by level. Raises AuthorError."""
  about = _about(handbooks)
  [found] = await author.all_of([_domains(about, s)], 'domains', 1)
  domains = {f'd{n:02d}': d for n, d in enumerate(found, 1)}
  listed = '\n'.join(f'- {line(d)}' for d in domains.values())

  async def asked(
    stage: str, outer: Mapping[str, Named], request: Callable[[str, Any], Request]
  ) -> dict[str, Any]:
    made = await author.all_of((request(i, x) for i, x in outer.items()), stage, len(outer))
    return dict(zip(outer, made, strict=True))

  def numbered(found: Mapping[str, Sequence[Named]], letter: str) -> dict[str, Any]:
    return {f'{i}.{letter}{n:02d}': x for i, inner in found.items() for n, x in enumerate(inner, 1)}

  subdomains = numbered(
    await asked('subdomains', domains, lambda i, d: _subdomains(about, s, i, line(d), listed)), 's'
  )
  claims = await asked(
    'claims', subdomains, lambda i, sub: _claims(about, s, i, line(sub), handbooks)
  )
  types = numbered(
    await asked(
      'doc_types',
      subdomains,
      lambda i, sub: _doc_types(about, s, i, line(sub), _outsiders(s, seed, i)),
    ),
    't',
  )
  ideas = await asked(
    'ideas',
    types,
    lambda i, t: _ideas(about, s, i, line(subdomains[i.rpartition('.')[0]]), line(t), t.by),
  )

  def within(id_: str, things: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(i, x) for i, x in things.items() if i.rpartition('.')[0] == id_]

  def subdomain(id_: str, sub: Named) -> Subdomain:
    return Subdomain(
      id_,
      sub.name,
      sub.about,
      claims[id_],
      tuple(DocType(i, t.name, t.about, t.by, ideas[i]) for i, t in within(id_, types)),
    )

  return Plan(
    handbooks[0].assistant,
    tuple(
      Domain(i, d.name, d.about, tuple(subdomain(*x) for x in within(i, subdomains)))
      for i, d in domains.items()
    ),
  )


def estimates(
  handbooks: Sequence[Handbook], s: PlanSettings, writer: ModelSettings
) -> list[Estimate]:
  """What a plan of this size takes, if every reply can be used at once."""
  about, typical = _about(handbooks), 'Five words of a name: ' + 'and its description ' * 8
  subdomains = s.domains * s.subdomains
  stages = [
    (_domains(about, s), 1),
    (_subdomains(about, s, '', typical, typical * s.domains), s.domains),
    (_claims(about, s, '', typical, handbooks), subdomains),
    (_doc_types(about, s, '', typical, s.types // 2), subdomains),
    (_ideas(about, s, '', typical, typical, 'insider'), subdomains * s.types),
  ]
  return [
    Estimate(
      r.stage,
      writer.model,
      n,
      guess_tokens(r.prompt.system + r.prompt.user),
      (r.max_tokens - SPARE) // TIMES,
      bool(writer.batch),
    )
    for r, n in stages
  ]


def requests_of(place: PlannedIdea) -> Iterator[str]:
  """Keys of the requests that an idea came from."""
  yield from ('domains', f'subdomains/{place.domain.id}')
  yield from (f'{name}/{place.subdomain.id}' for name in ('claims', 'doc_types'))
  yield f'ideas/{place.type.id}'
