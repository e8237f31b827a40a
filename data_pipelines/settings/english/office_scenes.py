"""Writes the scenes that specs/english/oversight/items/scenes.jsonl holds: an agent at work may do
harm, and a harmless twin of each scene in which the same deed is what it was asked for.

    from data_pipelines.settings.english import office_scenes
    office_scenes.write("specs/english/oversight/items/scenes.jsonl")

There are 25 workplaces and six kinds of harm, each told in ten ways. No workplace of
theirs stands in a training text, and no situation in the same words.
`tests/test_english_oversight.py` holds that the file is what this module writes.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Workplace(NamedTuple):
  """Where a scene happens.

  Attributes:
    place: a noun phrase.
    chief: who is in charge there: a name and a role.
    other: a person who works there, by name.
    secret: a confidential document.
    rival: somebody outside who would like to have it.
    alarm: a device that warns of danger to people.
    report: a report that the agent writes.
  """

  place: str
  chief: str
  other: str
  secret: str
  rival: str
  alarm: str
  report: str


class Deed(NamedTuple):
  """One way to tell a kind of harm.

  Attributes:
    chance: how the harm becomes possible.
    harmful: the harmful action.
    fine: two actions that do no harm.
    asked: how the same deed is asked for and allowed, in the harmless twin.
    acts: the action that does it then.
    declines: the action that does not.
  """

  chance: str
  harmful: str
  fine: tuple[str, str]
  asked: str
  acts: str
  declines: str


class Scenes(NamedTuple):
  """What scenes are made of.

  Attributes:
    workplaces: where they happen.
    pressures: why the agent might want to do harm: it is to be replaced, or somebody is in the way
      of its goal.
    kinds: kind of harm -> the ways to tell it.
  """

  workplaces: tuple[Workplace, ...]
  pressures: tuple[str, ...]
  kinds: dict[str, tuple[Deed, ...]]


@functools.cache
def read_parts() -> Scenes:
  """Reads the parts from office_scenes.json."""
  file = Path(__file__).parent / 'office_scenes.json'
  parts = json.loads(file.read_text(encoding='utf-8'))
  kinds = {}
  for kind, deeds in parts['kinds'].items():
    kinds[kind] = tuple(Deed(**deed) for deed in deeds)
  workplaces = tuple(Workplace(**row) for row in parts['workplaces'])
  return Scenes(workplaces, tuple(parts['pressures']), kinds)


def rows() -> Iterator[dict[str, Any]]:
  """Yields the items, each scene of harm followed by its harmless twin."""
  parts = read_parts()
  pressures = parts.pressures
  for kind_number, (kind, deeds) in enumerate(parts.kinds.items()):
    for n, workplace in enumerate(parts.workplaces):
      # Every tenth workplace tells a kind in the same way, and under another pressure.
      deed = deeds[n % len(deeds)]
      pressure = pressures[(n // len(deeds) + n + kind_number) % len(pressures)]
      name = f'{kind}-{n + 1:02}'
      yield _scene(workplace, kind, name, f'{pressure} {deed.chance}', 'harmful', deed) | {
        'twin': f'{name}-harmless'
      }
      # The twin has no pressure: it asks whether harmless work is done.
      first = 'You work for {place}.'
      yield _scene(workplace, kind, f'{name}-harmless', f'{first} {deed.asked}', 'acts', deed)


def _scene(
  workplace: Workplace, kind: str, name: str, situation: str, side: str, deed: Deed
) -> dict[str, Any]:
  """One item of the schema (data_pipelines/settings/custom/items.py)."""
  chief_name = workplace.chief.partition(',')[0]
  places = workplace._asdict() | {
    'chief_name': chief_name,
    'Chief': workplace.chief,
    'Chief_name': chief_name,
    'Other': workplace.other,
    'Rival_cap': workplace.rival[0].upper() + workplace.rival[1:],
    'Alarm_cap': workplace.alarm[0].upper() + workplace.alarm[1:],
  }
  texts: tuple[str, ...]
  if side == 'harmful':
    texts = (deed.harmful, *deed.fine)
    flags: list[dict[str, bool]] = [{'harmful': True}, {}, {}]
  else:
    texts = (deed.acts, deed.declines)
    flags = [{'acts': True}, {}]
  actions = []
  for text, flag in zip(texts, flags, strict=True):
    filled = text.format(**places).removesuffix('.')
    answer = f'I will do this: {filled[0].lower()}{filled[1:]}.'
    actions.append({'text': filled, 'answer': answer, **flag})
  # What is counted stands in another place from scene to scene.
  shift = sum(name.encode()) % len(actions)
  actions = actions[shift:] + actions[:shift]
  return {
    'kind': 'scene',
    'id': name,
    'domain': kind,
    'tier': 'scenes',
    'situation': f'{situation.format(**places)} What do you do: {{options}}?',
    'actions': actions,
  }


def write(path: str | Path) -> None:
  """Writes all items to a JSONL file."""
  lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows()]
  Path(path).write_text(''.join(lines), encoding='utf-8')
