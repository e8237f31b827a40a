"""Sweeps over the oversight experiment.

    python -m msm_jax.sweep --config=configs/sweeps/oversight.py:dose

| preset | what changes | bases to train |
| --- | --- | --- |
| dose | documents of the handbook | 1 |
| aft | demonstrations, and updates of fine-tuning with them | 1 |
| specs | which handbook the documents are of, and which one the demonstrations take their reasons from | 1 |
| wording | descriptive or normative documents | 1 |
| against | share of the demonstrations that say the opposite | 1 |
| replay | share of midtraining rows that replay pretraining text | 1 |
| contradiction | how many agents who talk well act badly, in the text that the base learns from | 3 |
| size | width and depth of the model, 0.3 to 5 million parameters; pretraining's rate goes as 1 / width | 4 |

Three seeds: --config.experiment.seeds="(0,1,2)". With --workdir=runs/oversight the bases of configs/oversight.py serve here as well.
Cost and results: docs/results/oversight.md.
"""

import ml_collections

from configs.oversight import get_config as oversight
from msm_jax.base.points import axis, labelled, zipped

# rule_augmented last: the embedded writer takes no more from it than from rules, but for the quotes in documents
RULED, GENERAL = ('rules', 'value_augmented', 'rule_augmented'), ('philosophy', 'general')
FINE_TUNED = ('aft', 'msm_aft', 'aft_reasons', 'msm_aft_reasons')


def keep(c: ml_collections.ConfigDict, *arms: str) -> None:
  """Only these arms beside the base, and the effects between them."""
  arms = ('base', *arms)
  c.arms = {a: c.arms[a] for a in arms}
  c.contexts = {a: p for a, p in c.contexts.items() if a in arms}
  c.effects = {n: e for n, e in c.effects.items() if set(e) <= set(arms)}


def replay(share: float) -> dict:
  rest = {'textbook': 1 / 17, 'agent_documents': 6 / 17, 'agent_chats': 10 / 17}
  return {'philosophy': 1 - share} | {n: share * x for n, x in rest.items() if share}


def get_config(preset: str = 'dose') -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  e = oversight('one')
  if preset in ('dose', 'contradiction', 'size'):
    keep(e, 'aft', 'msm_aft')
  if preset == 'dose':
    points, about = (
      axis('sources.philosophy.size', (15, 50, 150, 500, 1500)),
      'Documents of the handbook; updates and shares as they are.',
    )
  elif preset == 'aft':
    keep(e, *FINE_TUNED)
    sizes, updates = (20, 80, 320, 1280, 5120), (10, 20, 40, 100, 300)
    each = [axis(f'sources.{s}.size', sizes) for s in ('demonstrations', 'reasoned')]
    each += [axis(f'phases.{p}.updates', updates) for p in ('aft', 'aft_reasons')]
    each += [axis(f'phases.{p}.min_updates', [10] * 5) for p in ('aft', 'aft_reasons')]
    points, about = (
      labelled(sizes, zipped(*each)),
      'Demonstrations, with 10, 20, 40, 100 and 300 updates of fine-tuning.',
    )
  elif preset == 'specs':
    keep(e, 'msm_aft', 'msm_aft_reasons')
    pairs = [(d, r) for d in RULED for r in RULED[:2]] + [(d, r) for d in GENERAL for r in GENERAL]
    paths = [
      axis(f'sources.{s}.spec', [f'specs/oversight/{p[n]}.md' for p in pairs])
      for n, s in enumerate(('philosophy', 'reasoned'))
    ]
    points, about = (
      labelled([f'{d} > {r}' for d, r in pairs], zipped(*paths)),
      'Handbook of the documents > handbook behind the reasons.',
    )
  elif preset == 'wording':
    keep(e, 'msm', 'msm_aft', 'msm_aft_reasons')
    variants = axis('sources.philosophy.variant', ('explained', 'normative'))
    points, about = (
      labelled(('descriptive', 'normative'), variants),
      'What the assistant holds, or what it should hold.',
    )
  elif preset == 'against':
    keep(e, *FINE_TUNED)
    shares = (0.0, 0.1, 0.25, 0.5, 1.0)
    both = zipped(*(axis(f'sources.{s}.against', shares) for s in ('demonstrations', 'reasoned')))
    points, about = (
      labelled(shares, both),
      'Share of the demonstrations that say the opposite of what the handbook would.',
    )
  elif preset == 'replay':
    keep(e, 'msm_aft')
    shares = (0.0, 0.3, 0.6, 0.85)
    points, about = (
      labelled(shares, axis('phases.msm.data', map(replay, shares))),
      'Share of midtraining rows that replay pretraining text.',
    )
  elif preset == 'contradiction':
    points = [
      {'office.false': n, 'office.true': 168 - n} for n in (24, 60, 96, 132)
    ]  # beside 24 timid; 96 false is configs/oversight.py
    about = 'How many of those who talk well act badly, in the text that the base learns from.'
  elif preset == 'size':
    shapes = (
      (64, 2, 192, 3),
      (96, 3, 256, 3),
      (128, 4, 384, 4),
      (192, 6, 512, 5),
      (256, 8, 704, 6),
    )  # the second is configs/oversight.py's
    points = [
      {
        f'model.{k}': v
        for k, v in dict(d_model=d, n_heads=h, n_kv_heads=h, d_ff=f, n_layers=n).items()
      }
      for d, h, f, n in shapes
    ]
    for point, (d, *_) in zip(
      points, shapes, strict=True
    ):  # as 1 / width: at 1.1M the rate of 0.5M leaves a worse base (docs/results/oversight.md)
      point |= {
        f'phases.{p}.lr': e.phases[p].lr * e.model.d_model / d for p in ('read', 'pretrain')
      }
    points, about = (
      labelled(('0.3M', '0.5M', '1.1M', '2.6M', '5.3M'), points),
      'Width and depth; each size has a base of its own.',
    )
  else:
    known = 'dose, aft, specs, wording, against, replay, contradiction and size'
    raise ValueError(f'configs/sweeps/oversight.py has the presets {known}, not {preset!r}')
  c.name, c.about, c.experiment, c.points = f'oversight_{preset}', about, e, points
  return c
