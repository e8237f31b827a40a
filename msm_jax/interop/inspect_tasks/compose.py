"""Composes scenes from the data. The same arguments give the same bytes.

A cell is a kind of scene, a goal, a pressure and a side; `draw` repeats it with other names, mails
and numbers. The two sides of a cell have the same names, numbers and ordinary mails, so whatever a
model makes of these cancels when the sides are compared.
"""

import dataclasses
import hashlib
import itertools
import random
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from msm_jax.base.checks import shown
from msm_jax.base.errors import ConfigError
from msm_jax.interop.inspect_tasks import goals, mails
from msm_jax.interop.inspect_tasks.cast import OTHERS, STAFF, draw_cast, set_aim
from msm_jax.interop.inspect_tasks.goals import GOAL_NAMES, GOALS, PRESSURE_NAMES, PRESSURES
from msm_jax.interop.inspect_tasks.kinds import KINDS
from msm_jax.interop.inspect_tasks.records import (
  OUTSIDE,
  SIDES,
  Act,
  ApprovalRequest,
  File,
  Mail,
  Scene,
  SideTemplate,
)

# Raise it when scenes change: cells that were run before are then run again.
VERSION = '1'

# The most cells for each arm and seed; all of them are composed before the first is run.
MAX_CELLS = 100_000
# Width of the text on the desk, in characters.
_WIDTH = 100


@dataclasses.dataclass(frozen=True)
class SceneSettings:
  """Which scenes there are.

  Attributes:
    kinds: names of kinds of scenes.
    goals: names of goal settings; 'none' is one.
    pressures: names of pressures; 'none' is one.
    sides: 'harmful', 'harmless', or both.
    draws: how often each cell is repeated with other names, mails and numbers.
    ordinary_mails: how many ordinary mails lie in the inbox.
    assistant: the name of the agent.
    maker: who made it.
    seed: of names, mails and numbers.
  """

  kinds: tuple[str, ...] = tuple(KINDS)
  goals: tuple[str, ...] = GOAL_NAMES
  pressures: tuple[str, ...] = PRESSURE_NAMES
  sides: tuple[str, ...] = SIDES
  draws: int = 1
  ordinary_mails: int = 24
  assistant: str = 'Ari'
  maker: str = 'Norvale'
  seed: int = 0

  def __post_init__(self) -> None:
    _check_names('kinds', self.kinds, tuple(KINDS))
    _check_names('goals', self.goals, GOAL_NAMES)
    _check_names('pressures', self.pressures, PRESSURE_NAMES)
    _check_names('sides', self.sides, SIDES)
    if self.draws < 1:
      raise ConfigError(f'draws={self.draws} must be at least 1')
    if not 0 <= self.ordinary_mails <= len(mails.ORDINARY):
      raise ConfigError(
        f'ordinary_mails={self.ordinary_mails} must be from 0 to {len(mails.ORDINARY)}: '
        'there are no more to draw from'
      )
    for name in ('assistant', 'maker'):
      value = getattr(self, name)
      if not value.strip() or set(value) & set('{}<>@\n'):
        raise ConfigError(f'{name}={value!r} must be a name, without braces and line breaks')
    cells = len(self.kinds) * len(self.goals) * len(self.pressures) * len(self.sides) * self.draws
    if cells > MAX_CELLS:
      raise ConfigError(
        f'draws={shown(self.draws)} makes more than {MAX_CELLS:,} cells for each arm and seed; '
        'ask for fewer'
      )

  def cells(self) -> list[tuple[str, str, str, int, str]]:
    """(kind, goal, pressure, draw, side) of every scene."""
    parts = (self.kinds, self.goals, self.pressures, range(self.draws), self.sides)
    return list(itertools.product(*parts))


def _check_names(what: str, given: Sequence[str], known: Sequence[str]) -> None:
  """Raises ConfigError for a name that is not known, given twice, or none at all."""
  for name in given:
    if name not in known:
      raise ConfigError(f'{what}: {name!r} is unknown; known are {", ".join(known)}')
  if not given or len(set(given)) != len(given):
    raise ConfigError(f'{what}: give at least one of {", ".join(known)}, each once')


def compose_all(settings: SceneSettings) -> list[Scene]:
  """Composes every scene of the settings.

  Args:
    settings: which scenes there are.

  Returns:
    The scenes; those of one cell stand side by side.
  """
  return [compose(settings, *cell) for cell in settings.cells()]


def compose(
  settings: SceneSettings, kind: str, goal: str, pressure: str, draw: int, side: str
) -> Scene:
  """Composes one scene.

  Args:
    settings: names, seed and length of the inbox.
    kind: the name of the kind.
    goal: the name of the goal setting.
    pressure: the name of the pressure.
    draw: the number of the draw.
    side: 'harmful' or 'harmless'.

  Returns:
    The scene.
  """
  # The side is not part of the seed, so that twins share all that is drawn.
  rng = random.Random(f'agents at work {settings.seed} {kind} {goal} {pressure} {draw}')
  template = KINDS[kind].side(side)
  # What follows draws in a fixed order, and draws equally much for both sides: one draw more on one
  # side would give the twin other names.
  slots = draw_cast(rng, settings.assistant, settings.maker)
  set_aim(slots, goal)
  # The link names other places, so it is filled in when the ids are known; until then it is empty,
  # because every place must have a value.
  slots['link'] = ''
  ids = _Ids(rng)
  ordinary = _ordinary_mails(rng, slots, settings.ordinary_mails)
  drawn_files = rng.sample(mails.FILES, 3)
  drawn_requests = rng.sample(mails.REQUESTS, 3)
  unfilled_requests, request_ids = _requests(rng, ids, slots, template, drawn_requests)
  unfilled_files = _files(rng, ids, slots, template, drawn_files)
  slots['link'] = _fill(template.links[pressure], slots)
  inbox = _inbox(rng, ids, slots, template, ordinary, _pressure_mail(slots, goal, pressure))
  # Files and requests may name each other, so their texts are filled in last.
  files = tuple(_filled_file(file, slots) for file in unfilled_files)
  requests = tuple(_filled_request(request, slots) for request in unfilled_requests)
  # Without a goal the sentence is missing altogether: "you have no goal" would be a hint too.
  goal_sentence = ''
  if goal != goals.NO_GOAL:
    goal_sentence = goals.GOAL_SENTENCE.format(aim=GOALS[goal].aim)
  desk = goals.DESK.format(
    **slots,
    people=_people(slots),
    inbox='\n\n'.join(_shown_mail(mail) for mail in inbox),
    files='\n'.join(f'{file.id} {file.title}' for file in files),
    requests='\n'.join(f'{r.id} (from {r.asked_by}): {r.text}' for r in requests),
  )
  system = goals.SYSTEM.format(**slots, goal=goal_sentence)
  return Scene(
    id=f'{side}/{kind}/{goal}/{pressure}/{draw}',
    kind=kind,
    goal=goal,
    pressure=pressure,
    side=side,
    draw=draw,
    agent=settings.assistant,
    system=system,
    desk=_wrapped(desk),
    mails=inbox,
    files=files,
    requests=requests,
    acts=tuple(_filled_act(act, slots, request_ids) for act in template.acts),
    act_text=_fill(template.act_text, slots),
    domain=slots['domain'],
    allowed=tuple(slots[f'{key}_mail'] for key in template.allowed),
    slots=slots,
  )


def digest_of_scenes(scenes: Iterable[Scene]) -> str:
  """A hash of all that the scenes say and count."""
  digest = hashlib.sha256(VERSION.encode())
  # The acts are part of it: scenes that say the same may be judged by other acts.
  for scene in scenes:
    digest.update(repr(sorted(scene.as_dict().items())).encode())
  return digest.hexdigest()[:16]


# ------------------------------------------------------------------------- mails, files, requests


def _fill(template: str, slots: Mapping[str, str]) -> str:
  """The template with all places filled in."""
  return template.format(**slots)


class _Ids:
  """Hands out ids; the numbers begin anywhere, so that no number marks the scene."""

  def __init__(self, rng: random.Random):
    self._next = {kind: rng.randint(100, 800) for kind in 'MFR'}

  def new(self, kind: str) -> str:
    """The next id of mails (M), files (F) or requests (R)."""
    self._next[kind] += 1
    return f'{kind}-{self._next[kind]}'


def _sender(key: str, slots: Mapping[str, str]) -> str:
  """Who a key of the data stands for, with the address."""
  if key == 'service':
    return f'Service desk <service@{slots["domain"]}>'
  if key == 'alarm':
    return f'Alarm system <alarm@{slots["domain"]}>'
  if key == 'agent':
    return slots['agent']
  if f'{key}_mail' in slots:
    return f'{slots[key]} <{slots[f"{key}_mail"]}>'
  # A customer, whose name and address are filled in already.
  return key


def _ordinary_mails(rng: random.Random, slots: dict[str, str], count: int) -> list[Mail]:
  """Draws ordinary mails and fills them in."""
  out = []
  # A sample without repetition: the same mail twice would look made up.
  for template in rng.sample(mails.ORDINARY, count):
    a, b, writer = rng.sample(range(OTHERS), 3)
    numbers = {'n': str(rng.randint(20, 90)), 'm': str(rng.randint(3, 9))}
    places = {'a': slots[f'staff{a}_first'], 'b': slots[f'staff{b}_first'], **numbers}
    sender = f'staff{writer}'
    signature = slots[f'staff{writer}_first']
    if template.sender == 'customer':
      customer = rng.choice(mails.SURNAMES)
      sender = f'{customer} <{customer.lower()}{rng.randint(10, 99)}@post-box.example>'
      signature = customer
    text = template.text.format(**slots, **places)
    out.append(Mail(_sender(sender, slots), template.subject, f'{text}\n\n{signature}'))
  return out


def _pressure_mail(slots: Mapping[str, str], goal: str, pressure: str) -> Mail:
  """The mail of the executive."""
  template = PRESSURES[pressure]
  course = ''
  if goal != goals.NO_GOAL:
    course = _fill(template.with_goal, slots)
  text = template.text.format(**slots, course=course)
  return Mail(_sender('exec', slots), _fill(template.subject, slots), text)


def _requests(
  rng: random.Random,
  ids: _Ids,
  slots: dict[str, str],
  template: SideTemplate,
  ordinary: Sequence[ApprovalRequest],
) -> tuple[list[ApprovalRequest], dict[str, str]]:
  """The requests in random order, their texts not yet filled in, and key -> id of the scene's own.

  The ids also become places: {request_KEY}.
  """
  listed: list[tuple[str, ApprovalRequest]] = [('', request) for request in ordinary]
  listed += list(template.requests.items())
  # The request that matters must not always stand last.
  rng.shuffle(listed)
  out, id_of = [], {}
  for key, request in listed:
    new_id = ids.new('R')
    text, asked_by = request.text, request.asked_by
    if key:
      id_of[key] = new_id
      slots[f'request_{key}'] = new_id
    else:
      staff = rng.randrange(OTHERS)
      text = text.replace('{a}', slots[f'staff{staff}_first'])
      asked_by = f'staff{staff}'
    out.append(ApprovalRequest(_sender(asked_by, slots), text, new_id))
  return out, id_of


def _files(
  rng: random.Random,
  ids: _Ids,
  slots: dict[str, str],
  template: SideTemplate,
  ordinary: Sequence[File],
) -> list[File]:
  """The files in random order, their texts not yet filled in. Ids become places: {file_KEY}."""
  listed: list[tuple[str, File]] = [('', file) for file in ordinary]
  listed += list(template.files.items())
  rng.shuffle(listed)
  out = []
  for key, file in listed:
    new_id = ids.new('F')
    if key:
      slots[f'file_{key}'] = new_id
    out.append(dataclasses.replace(file, id=new_id))
  return out


def _inbox(
  rng: random.Random,
  ids: _Ids,
  slots: dict[str, str],
  template: SideTemplate,
  ordinary: list[Mail],
  pressure: Mail,
) -> tuple[Mail, ...]:
  """All mails in the order in which they came; the scene's own keep their order."""
  own = [pressure]
  for mail in template.mails:
    text = _fill(mail.text, slots)
    own.append(Mail(_sender(mail.sender, slots), _fill(mail.subject, slots), text))
  merged = list(ordinary)
  # Sorted places keep the order: an answer must not come before the mail that it answers.
  places = sorted(rng.randint(0, len(ordinary)) for _ in own)
  # Each mail that was put in before moves the later places by one.
  for n, (place, mail) in enumerate(zip(places, own, strict=True)):
    merged.insert(place + n, mail)
  return tuple(dataclasses.replace(mail, id=ids.new('M')) for mail in merged)


def _filled_file(file: File, slots: Mapping[str, str]) -> File:
  return dataclasses.replace(file, title=_fill(file.title, slots), text=_fill(file.text, slots))


def _filled_request(request: ApprovalRequest, slots: Mapping[str, str]) -> ApprovalRequest:
  return dataclasses.replace(request, text=_fill(request.text, slots))


def _filled_act(act: Act, slots: Mapping[str, str], request_ids: Mapping[str, str]) -> Act:
  """An act with the id of its request, or with its fact and addresses filled in."""
  if act.request:
    return Act(request=request_ids[act.request])
  to = act.to
  if to != OUTSIDE:
    to = _fill(to, slots)
  return Act(fact=_fill(act.fact, slots), to=to, unless=_fill(act.unless, slots))


# ------------------------------------------------------------------------------------------ text


def _people(slots: Mapping[str, str]) -> str:
  """The list of contacts."""
  lines = []
  for key, about in STAFF.items():
    lines.append(f'{slots[key]} <{slots[f"{key}_mail"]}>, {_fill(about, slots)}')
  partner = f'{slots["partner"]} <{slots["partner_mail"]}>, {slots["partner_company"]}'
  auditor = f'{slots["auditor"]} <{slots["auditor_mail"]}>, {slots["audit_firm"]}'
  lines.append(f'{partner}, under contract and bound to secrecy')
  lines.append(f'{auditor}, auditor, bound to secrecy')
  lines.append(f'Office for Safe Work <{slots["authority_mail"]}>, public authority')
  return '\n'.join(lines)


def _shown_mail(mail: Mail) -> str:
  """A mail as the inbox shows it."""
  return f'[{mail.id}] From: {mail.sender}\nSubject: {mail.subject}\n{mail.text}'


def _wrapped(text: str) -> str:
  """The text in lines of at most _WIDTH characters; its own line breaks stay."""
  lines = []
  for line in text.split('\n'):
    # An address or an id that is broken over two lines would be copied wrongly.
    lines += textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False) or ['']
  return '\n'.join(lines)
