"""Sweeps over the oversight experiment.

    python -m msm_jax.sweep --config=configs/sweeps/oversight.py:dose

| preset | what changes | bases to train |
| --- | --- | --- |
| dose | the number of documents about the handbook | 1 |
| aft | the number of demonstrations, and updates of fine-tuning with them | 1 |
| specs | the handbook of the documents, and the handbook behind the demonstrations' reasons | 1 |
| wording | descriptive or normative documents | 1 |
| against | the share of the demonstrations that say the opposite | 1 |
| replay | the share of midtraining rows that replay pretraining text | 1 |
| contradiction | how many agents who talk well act badly, in the base model's text | 4 |
| size | width and depth of the model, 0.3 to 5 million parameters | 5 |

In `replay` the number of updates stays the same, so where less is replayed, each document of the
handbook is read more often: without replay almost seven times as often as with 0.85. In `wording`
one document in ten quotes the handbook, in descriptive words at both points.

The last column counts the bases of one seed in a new workdir. One of them is that of
configs/oversight.py: with --workdir=runs/oversight it is there already, and one less is trained.
For three seeds, give --config.experiment.seeds="(0,1,2)".

Expected results: docs/results/oversight_sweeps.md for wording, against, replay and two points of
contradiction (three seeds); docs/results/oversight_earlier.md for the other presets (one seed of an
earlier design), with their cost.
"""

import itertools
from collections.abc import Callable

import ml_collections

from configs.oversight import get_config as oversight
from msm_jax.base.points import Point, axis, labelled, zipped

# Handbooks in specs/oversight: three with the same rules, and two without rules. rule_augmented is
# last, since it is not tried for the reasons: there, the embedded writer takes no more from it than
# from `rules`; only the quotes in documents differ.
RULED = ('rules', 'value_augmented', 'rule_augmented')
GENERAL = ('philosophy', 'general')
# The arms that are fine-tuned, with and without the handbook and the reasons.
FINE_TUNED = ('aft', 'msm_aft', 'aft_reasons', 'msm_aft_reasons')
# The two sources of demonstrations.
DEMONSTRATIONS = ('demonstrations', 'reasoned')
# Size -> (d_model, heads, d_ff, layers). The second is the model of configs/oversight.py.
SHAPES = {
  '0.3M': (64, 2, 192, 3),
  '0.5M': (96, 3, 256, 3),
  '1.1M': (128, 4, 384, 4),
  '2.6M': (192, 6, 512, 5),
  '5.3M': (256, 8, 704, 6),
}


def keep(c: ml_collections.ConfigDict, *arms: str) -> None:
  """Keeps the base and these arms of an experiment, and the effects between them.

  Args:
    c: the config of the experiment; it is changed.
    *arms: the arms to keep beside the base.
  """
  kept = ('base', *arms)
  c.arms = {arm: c.arms[arm] for arm in kept}
  contexts = c.get('contexts', {})
  c.contexts = {arm: path for arm, path in contexts.items() if arm in kept}
  c.effects = {name: effect for name, effect in c.effects.items() if set(effect) <= set(kept)}
  if c.primary not in c.effects:
    c.primary = ''


def replay(share: float) -> dict[str, float]:
  """The shares of midtraining's sources in which pretraining text has this share of the rows."""
  # The sources of pretraining keep their proportions to each other, 1 : 6 : 10.
  pretraining = {'textbook': 1 / 17, 'agent_documents': 6 / 17, 'agent_chats': 10 / 17}
  shares = {'philosophy': 1 - share}
  if share:
    for source, part in pretraining.items():
      shares[source] = share * part
  return shares


# Each function below makes the points of one preset and says in a sentence what changes. It takes
# the config of the experiment, in which it may drop arms.


def _dose(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'aft', 'msm_aft')
  points = axis('sources.philosophy.size', (15, 50, 150, 500, 1500))
  return points, 'Documents of the handbook; updates and shares as they are.'


def _aft(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, *FINE_TUNED)
  sizes = (20, 80, 320, 1280, 5120)
  # Few demonstrations with many updates would be learned by heart.
  updates = (10, 20, 40, 100, 300)
  axes = [axis(f'sources.{source}.size', sizes) for source in DEMONSTRATIONS]
  for phase in ('aft', 'aft_reasons'):
    axes.append(axis(f'phases.{phase}.updates', updates))
    # Otherwise ten updates would be refused as too few.
    axes.append(axis(f'phases.{phase}.min_updates', [10] * len(updates)))
  points = labelled(sizes, zipped(*axes))
  return points, 'Demonstrations, with 10, 20, 40, 100 and 300 updates of fine-tuning.'


def _specs(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'msm_aft', 'msm_aft_reasons')
  # Rules are paired with rules and general handbooks with general ones.
  pairs = [*itertools.product(RULED, RULED[:2]), *itertools.product(GENERAL, GENERAL)]
  of_documents = [f'specs/oversight/{documents}.md' for documents, _ in pairs]
  of_reasons = [f'specs/oversight/{reasons}.md' for _, reasons in pairs]
  points = zipped(
    axis('sources.philosophy.spec', of_documents), axis('sources.reasoned.spec', of_reasons)
  )
  names = [f'{documents} > {reasons}' for documents, reasons in pairs]
  return labelled(names, points), 'Handbook of the documents > handbook behind the reasons.'


def _wording(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'msm', 'msm_aft', 'msm_aft_reasons')
  variants = axis('sources.philosophy.variant', ('explained', 'normative'))
  points = labelled(('descriptive', 'normative'), variants)
  return points, 'What the assistant holds, or what it should hold.'


def _against(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, *FINE_TUNED)
  shares = (0.0, 0.1, 0.25, 0.5, 1.0)
  axes = [axis(f'sources.{source}.against', shares) for source in DEMONSTRATIONS]
  about = 'Share of the demonstrations that say the opposite of what the handbook would.'
  return labelled(shares, zipped(*axes)), about


def _replay(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'msm_aft')
  shares = (0.0, 0.3, 0.6, 0.85)
  points = labelled(shares, axis('phases.msm.data', map(replay, shares)))
  return points, 'Share of midtraining rows that replay pretraining text.'


def _contradiction(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'aft', 'msm_aft')
  # 24 timid agents come beside these. 96 false ones are those of configs/oversight.py.
  points: list[Point] = []
  for false in (24, 60, 96, 132):
    points.append({'office.false': false, 'office.true': 168 - false})
  about = 'How many of those who talk well act badly, in the text that the base learns from.'
  return points, about


def shape_of(size: str) -> Point:
  """The settings of the model's shape at a size, a key of SHAPES."""
  d_model, heads, d_ff, layers = SHAPES[size]
  return {
    'model.d_model': d_model,
    'model.n_heads': heads,
    'model.n_kv_heads': heads,
    'model.d_ff': d_ff,
    'model.n_layers': layers,
  }


def _size(e: ml_collections.ConfigDict) -> tuple[list[Point], str]:
  keep(e, 'aft', 'msm_aft')
  points: list[Point] = []
  for size in SHAPES:
    point = shape_of(size)
    # Pretraining's rate goes as 1 / width: at 1.1M parameters the rate of 0.5M leaves a worse
    # base model (docs/results/oversight_earlier.md).
    for phase in ('read', 'pretrain'):
      point[f'phases.{phase}.lr'] = e.phases[phase].lr * e.model.d_model / SHAPES[size][0]
    points.append(point)
  return labelled(SHAPES, points), 'Width and depth; each size has a base of its own.'


PRESETS: dict[str, Callable[[ml_collections.ConfigDict], tuple[list[Point], str]]] = {
  'dose': _dose,
  'aft': _aft,
  'specs': _specs,
  'wording': _wording,
  'against': _against,
  'replay': _replay,
  'contradiction': _contradiction,
  'size': _size,
}


def get_config(preset: str = 'dose') -> ml_collections.ConfigDict:
  """Makes the config of a sweep.

  Args:
    preset: one of PRESETS; the table above says what changes.

  Returns:
    The settings of the sweep: its experiment, its points and a sentence about them.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in PRESETS:
    *names, last = PRESETS
    known = f'{", ".join(names)} and {last}'
    raise ValueError(f'configs/sweeps/oversight.py has the presets {known}, not {preset!r}')
  experiment = oversight('one')
  points, about = PRESETS[preset](experiment)
  c = ml_collections.ConfigDict()
  c.name = f'oversight_{preset}'
  c.about = about
  c.experiment = experiment
  c.points = points
  return c
