"""A recipe for each size of the model, from 0.3 to 5.3 million parameters.

Recipes are chosen on some seeds and confirmed on others, in the same workdir:

    python -m msm_jax.sweep --config=configs/sweeps/sizes.py:cheese_choose --workdir=runs/sizes
    python -m msm_jax.choose --workdir=runs/sizes --out=configs/recipes/cheese.json

The second command applies the rule of docs/preregistration.md and writes the chosen rates, updates
and numbers of documents. Commit that file; then the preset `cheese_confirm` runs the chosen recipes
on three other seeds. `oversight_choose` and `oversight_confirm` do the same for oversight, in
another workdir.

| recipe | what changes against the recipe of 0.5M |
| --- | --- |
| same | nothing but the size of the model |
| width | all rates of matrices are proportional to 1 / width; the embedding keeps its own rate |
| width long | the same, and pretraining and midtraining take one and a half times as many updates |
| width documents | as width, with twice as many documents and updates of midtraining |

Each of `choose` has two seeds, five sizes and four recipes (three at 0.5M, where `same` and `width`
are one); `confirm` has three seeds and five sizes. No seed and no world of either was used before.

Expected result: not run yet. Cost on two idle cores (AMD EPYC, AVX-512), by calculation: cheese 9
hours to choose and 5 to confirm, oversight 28 and 16. A point of 0.5M takes 4 minutes in cheese and
12 in oversight. Points of 0.3M, 1.1M and 2.6M take 0.6, 2.5 and 5 times as long. 5.3M was never
run, and is taken as 10 times. The presets `cheese_smoke` and `oversight_smoke` try two recipes of
0.3M for a few updates, to show that everything runs; their numbers mean nothing.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import ml_collections

from configs import cheese, msm, oversight
from configs.sweeps.oversight import SHAPES, keep, shape_of
from msm_jax.base import paths
from msm_jax.base.points import Point

# Where the chosen recipes lie, one file for each experiment: below the current folder, or beside
# these configs.
CHOSEN = Path('configs/recipes')
# The seeds on which recipes are chosen, and those that confirm the choice.
CHOOSE, CONFIRM = (40, 41), (42, 43, 44)
# Seed 40 has world 4, seed 41 world 5, and so on: each seed has a world of its own.
WORLD_SEEDS = (4, 5, 6, 7, 8)


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What the two experiments differ in."""

  # Makes the config with one seed.
  config: Callable[[], ml_collections.ConfigDict]
  # The arms beside the base.
  arms: tuple[str, ...]
  # The phases that pretrain, those that midtrain and those that fine-tune.
  pretraining: tuple[str, ...]
  midtraining: tuple[str, ...]
  fine_tuning: tuple[str, ...]
  # The source whose size is the number of the handbook's documents.
  documents: str


EXPERIMENTS = {
  'cheese': Experiment(
    config=lambda: cheese.get_config('one'),
    arms=(
      'aft',
      'msm_affordability',
      'msm_culture',
      'msm_affordability_aft',
      'msm_culture_aft',
    ),
    pretraining=('read', 'pretrain'),
    midtraining=('msm_affordability', 'msm_culture'),
    fine_tuning=('aft',),
    documents='affordability',
  ),
  'oversight': Experiment(
    config=lambda: oversight.get_config('one'),
    arms=('aft', 'msm', 'msm_aft'),
    pretraining=('read', 'pretrain'),
    midtraining=('msm',),
    fine_tuning=('aft',),
    documents='philosophy',
  ),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """By what the recipe of 0.5M is multiplied."""

  # Whether the rates of matrices go as 1 / width.
  by_width: bool = True
  # Updates of pretraining.
  pretraining: float = 1.0
  # Updates of midtraining.
  midtraining: float = 1.0
  # Documents of the handbook.
  documents: float = 1.0


RECIPES = {
  'same': Recipe(by_width=False),
  'width': Recipe(),
  'width long': Recipe(pretraining=1.5, midtraining=1.5),
  'width documents': Recipe(midtraining=2.0, documents=2.0),
}


def settings_of(
  e: ml_collections.ConfigDict, about: Experiment, size: str, recipe: Recipe
) -> Point:
  """The settings of one size and recipe.

  Args:
    e: the config of the experiment, with the recipe of 0.5M.
    about: which of its phases and sources the recipe is about.
    size: a key of SHAPES.
    recipe: by what the recipe of 0.5M is multiplied.

  Returns:
    The model's shape, and rates, updates and documents as absolute numbers.
  """
  point = shape_of(size)
  slower = e.model.d_model / SHAPES[size][0] if recipe.by_width else 1.0
  for phase in (*about.pretraining, *about.midtraining, *about.fine_tuning):
    settings = e.phases[phase]
    # Four digits: the rates are written into a file for people to read.
    point[f'phases.{phase}.lr'] = float(f'{settings.lr * slower:.4g}')
    # The embedding keeps the rate that it has at 0.5M; 0 stands for that of the matrices there.
    point[f'phases.{phase}.embed_lr'] = settings.get('embed_lr', 0.0) or settings.lr
    updates = settings.updates
    # The first phase teaches the facts alone, and keeps its length.
    if phase == about.pretraining[-1]:
      updates = round(updates * recipe.pretraining)
    elif phase in about.midtraining:
      updates = round(updates * recipe.midtraining)
    point[f'phases.{phase}.updates'] = updates
  documents = e.sources[about.documents].size
  point[f'sources.{about.documents}.size'] = round(documents * recipe.documents)
  return point


def _candidates(e: ml_collections.ConfigDict, about: Experiment, sizes: list[str]) -> list[Point]:
  """The points to choose from, each labelled 'SIZE: RECIPE'; no two of a size are the same."""
  points: list[Point] = []
  for size in sizes:
    tried: list[Point] = []
    for name, recipe in RECIPES.items():
      settings = settings_of(e, about, size, recipe)
      if settings not in tried:
        tried.append(settings)
        points.append({'label': f'{size}: {name}', **settings})
  return points


def chosen_points(world: str) -> list[Point]:
  """Reads the recipes that were chosen.

  Args:
    world: a key of EXPERIMENTS.

  Returns:
    One point for each size.

  Raises:
    ValueError: no recipes were chosen, a size lacks one, or they were chosen on the seeds that
      should confirm them.
  """
  path = Path(paths.find(str(CHOSEN / f'{world}.json')))
  command = f'python -m msm_jax.choose --out=configs/recipes/{path.name}'
  if not path.exists():
    raise ValueError(f'no recipes were chosen yet; run the preset {world}_choose, then {command}')
  chosen = json.loads(path.read_text(encoding='utf-8'))
  if missing := set(SHAPES) - set(chosen['recipes']):
    raise ValueError(f'{path.name} has no recipe for {", ".join(sorted(missing))}; run {command}')
  if used := set(chosen['seeds']) & set(CONFIRM):
    raise ValueError(f'{path.name} was chosen on seeds {sorted(used)}, which cannot confirm it')
  points: list[Point] = []
  for size in SHAPES:
    of_size = chosen['recipes'][size]
    points.append({'label': f'{size}: {of_size["recipe"]}', **of_size['settings']})
  return points


def get_config(preset: str = 'cheese_choose') -> ml_collections.ConfigDict:
  """Makes the config of the sweep.

  Args:
    preset: 'cheese' or 'oversight', followed by '_choose', '_confirm' or '_smoke'.

  Returns:
    The settings of the sweep: its experiment, its points and a sentence about them.

  Raises:
    ValueError: the preset is unknown, or there is nothing yet to confirm.
  """
  world, _, stage = preset.partition('_')
  if world not in EXPERIMENTS or stage not in ('choose', 'confirm', 'smoke'):
    stages = ', '.join(f'{name}_choose, {name}_confirm, {name}_smoke' for name in EXPERIMENTS)
    raise ValueError(f'configs/sweeps/sizes.py has the presets {stages}, not {preset!r}')
  about = EXPERIMENTS[world]
  e = about.config()
  keep(e, *about.arms)
  e.seeds = CONFIRM if stage == 'confirm' else CHOOSE
  if world == 'cheese':
    e.world_seeds = WORLD_SEEDS
  sizes = list(SHAPES)
  if stage == 'smoke':
    e.seeds, sizes = CHOOSE[:1], sizes[:1]
    _smoke(e, world)
  c = ml_collections.ConfigDict()
  c.name = f'sizes_{preset}'
  c.about = 'Sizes of the model, each with a base and a recipe of its own.'
  c.experiment = e
  if stage == 'confirm':
    c.points = chosen_points(world)
  else:
    c.points = _candidates(e, about, sizes)
  if stage == 'smoke':
    c.points = c.points[:2]
  return c


def _smoke(e: ml_collections.ConfigDict, world: str) -> None:
  """Cuts an experiment down to a few updates."""
  if world == 'cheese':
    msm.smoke(e)
    return
  for phase in e.phases.values():
    phase.update(updates=10, min_updates=1, batch_size=4)
  e.evals.update(scenes_per_kind=1, held_out=10)
