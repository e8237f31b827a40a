"""Sweeps over the oversight experiment.

    python -m msm_jax.sweep --config=configs/sweeps/oversight.py:dose

Presets: `dose` (documents of the handbook), `aft` (demonstrations and updates of fine-tuning), `replay` (share of rows that replay
pretraining), `size` (width of the model; trains a base each), `contradiction` (how many agents who talk well act badly; trains a base
each), `specs` (which handbook). Add --config.experiment.seeds="(0,1,2)" for several seeds. Cost and results: docs/results/oversight.md.
"""

import ml_collections

from configs.oversight import get_config as oversight
from msm_jax.sweep import axis, zipped

SPECS = ('philosophy', 'rules', 'value_augmented', 'rule_augmented', 'general')


def keep(c: ml_collections.ConfigDict, *arms: str) -> None:
  """Only these arms, and the effects between them."""
  c.arms = {a: c.arms[a] for a in arms}
  c.contexts = {a: p for a, p in c.contexts.items() if a in arms}
  c.effects = {n: e for n, e in c.effects.items() if set(e) <= set(arms)}


def replay(share: float) -> dict:
  rest = {'textbook': 1 / 17, 'agent_documents': 6 / 17, 'agent_chats': 10 / 17}
  return {'philosophy': 1 - share} | {n: share * x for n, x in rest.items() if share}


def get_config(preset: str = 'dose') -> ml_collections.ConfigDict:
  c = ml_collections.ConfigDict()
  e = oversight('one')
  keep(e, 'aft', 'msm_aft')
  if preset == 'dose':
    points, about = axis('sources.philosophy.size', (15, 50, 150, 500, 1500)), 'Documents of the handbook; updates and shares as they are.'
  elif preset == 'aft':
    e = oversight('one')
    keep(e, 'aft', 'msm_aft', 'aft_reasons', 'msm_aft_reasons')
    sizes, updates = (20, 80, 320, 1280, 5120), (10, 20, 40, 100, 300)
    each = [axis(f'sources.{s}.size', sizes) for s in ('demonstrations', 'reasoned')] + [
      axis(f'phases.{p}.updates', updates) for p in ('aft', 'aft_reasons')
    ]
    floors = [axis(f'phases.{p}.min_updates', [10] * 5) for p in ('aft', 'aft_reasons')]
    points, about = zipped(*each, *floors), 'Demonstrations of fine-tuning, and updates in proportion.'
  elif preset == 'replay':
    keep(e, 'msm_aft')
    points, about = axis('phases.msm.data', [replay(s) for s in (0.0, 0.3, 0.6, 0.85)]), 'Share of midtraining rows that replay pretraining text.'
  elif preset == 'size':
    shapes = [dict(d_model=d, n_heads=h, n_kv_heads=h, d_ff=f) for d, h, f in ((64, 2, 192), (96, 3, 256), (128, 4, 384))]
    points, about = [{f'model.{k}': v for k, v in s.items()} for s in shapes], 'Width of the model; each trains a base of its own.'
  elif preset == 'contradiction':
    counts = ((96, 16), (64, 48), (32, 80), (16, 96))  # (true, false) beside 16 timid
    points = [{'office.true': t, 'office.false': f} for t, f in counts]
    about = 'How many of those who talk well act badly, in the text that the base learns from.'
  elif preset == 'specs':
    paths = [f'specs/oversight/{s}.md' for s in SPECS]
    points = zipped(axis('sources.philosophy.spec', paths), axis('evals.spec', paths))
    about = 'The same documents from other handbooks.'
  else:
    raise ValueError(f'configs/sweeps/oversight.py has the presets dose, aft, replay, size, contradiction and specs, not {preset!r}')
  c.name, c.about, c.experiment, c.points = f'oversight_{preset}', about, e, points
  return c
