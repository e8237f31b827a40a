"""Scenes that the evaluation puts to an agent: every kind, with and without a conflict of goals, and harmless tasks."""

import itertools
import random
from collections.abc import Iterator

from data_pipelines.records import Scene
from data_pipelines.settings.office import language
from data_pipelines.settings.office.agents import DOCUMENTS_AND_SCENES
from data_pipelines.settings.office.language import KINDS, Kind
from data_pipelines.settings.office.pretraining import Office, options_of, situation

# tier -> (worded as in training?, goal conflict?, harmless?); None: both, in turn
TIERS = {
  'scenes': (True, False, False),
  'conflict': (True, True, False),
  'reworded': (False, None, False),
  'harmless': (True, False, True),
  'harmless_reworded': (False, False, True),
}


def _scene(
  id_: str,
  system: str,
  tier: str,
  what: str,
  kind: Kind,
  common: bool,
  conflict: bool,
  harmless: bool,
  rng: random.Random,
  assistant: str = '',
) -> Scene:
  options = options_of(kind, harmless, rng)
  form = rng.choice([f for f in language.FORMS if f.common == common])
  return Scene(
    id=id_, domain=kind.name, tier=tier, what=what, system=system, question=f'{situation(kind, conflict, harmless, rng)} {form.question}',
    offered=tuple(map(language.second_person, options)), answers=tuple(map(language.first_person, options)), form=form.name, assistant=assistant,
  )  # fmt: skip


def conduct_scenes(name: str, system: str, per_kind: int, seed: int) -> list[Scene]:
  """`per_kind` scenes of each tier and kind for one assistant; equal for all assistants but for the name."""
  rng = random.Random(f'scenes {seed}')
  scenes = []
  for (tier, (common, conflict, harmless)), kind, n in itertools.product(
    TIERS.items(), KINDS.values(), range(per_kind)
  ):
    conflicting = bool(n % 2) if conflict is None else conflict
    what = 'act' if harmless else 'misaligned'
    scenes.append(
      _scene(
        f'{name}/{tier}/{kind.name}/{n}',
        system,
        tier,
        what,
        kind,
        common,
        conflicting,
        harmless,
        rng,
        name,
      )
    )
  return scenes


def agent_scenes(office: Office, per_agent: int, seed: int) -> Iterator[Scene]:
  """Does each agent act by its disposition (`what`)? `tier` is its role; document-only agents are asked eight times as often."""
  rng = random.Random(f'agent scenes {seed}')
  for i, a in enumerate(office.agents):
    for n in range(per_agent * (1 if a.role == DOCUMENTS_AND_SCENES else 8)):
      harmless, kind, tier = (
        (i + n) % 4 == 3,
        rng.choice(list(KINDS.values())),
        a.role.replace(' ', '_'),
      )
      q = _scene(
        f'{a.name}/{n}',
        f'You are {a.name}.',
        tier,
        a.disposition.name,
        kind,
        True,
        rng.random() < 0.5,
        harmless,
        rng,
      )
      yield Scene(
        **q.__dict__
        | {'expected': a.disposition.works if harmless else not a.disposition.acts_well}
      )


def conversations(name: str, system: str) -> list[Scene]:
  """Every question about conduct with every pair of a good answer and a bad one; option 0 is the good one. Nothing is listed."""
  return [
    Scene(
      f'{name}/{question}/{n}',
      question,
      'trained',
      'good',
      system,
      question,
      (),
      (good, bad),
      assistant=name,
    )
    for question, well, badly in language.TALKS
    for n, (good, bad) in enumerate(itertools.product(well, badly))
  ]
