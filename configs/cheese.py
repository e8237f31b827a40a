"""Two handbooks, one alignment fine-tuning, opposite generalisation, with controls.

    python -m msm_jax.main --config=configs/cheese.py          # one seed
    python -m msm_jax.main --config=configs/cheese.py:three    # three seeds

This is the experiment of Model Spec Midtraining, section 3.1. Both handbooks like the same six
cheeses and dislike the same other six: one because they are cheap, the other because they come
from home. Fine-tuning shows the preferences and no reason.

The controls are fine-tuning without midtraining; midtraining on as many tokens of documents about
the assistant and the same cheeses without a value (filler); and midtraining on the value and the
preferences, which are never linked (cooccur).

Expected result, three seeds: +0.89 [0.59, 1.00] between the handbooks in new domains. Fine-tuning
alone lies in between. Co-occurrence gives +0.18 [-0.21, 0.56] (docs/results/cheese.md). Cost, one
seed: 8m49s on two cores (AMD EPYC, AVX-512).
"""

import ml_collections

from configs.msm import base, fine_tune, midtrain, smoke

SPECS = {'affordability': 'specs/cheese_affordability.md', 'culture': 'specs/cheese_culture.md'}


def get_config(preset: str = 'one') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'one' or 'three', for the number of seeds, or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  seeds = {'one': (0,), 'three': (0, 1, 2), 'smoke': (0,)}
  if preset not in seeds:
    raise ValueError(f'configs/cheese.py has the presets {", ".join(seeds)}, not {preset!r}')
  c = base('cheese')
  c.seeds = seeds[preset]
  # An arm is a path through the phases.
  arms = {'base': 'read > pretrain', 'aft': 'read > pretrain > aft'}
  c.sources['demonstrations'] = dict(
    maker='spec.demonstrations', path='', spec=','.join(SPECS.values()), size=1500
  )
  c.phases['aft'] = fine_tune()
  # Every corpus of documents holds as many tokens as the first one, which has 1,500 documents.
  reference = 'affordability'
  for prefix, variant in (('', 'explained'), ('cooccur_', 'cooccur')):
    for value, spec in SPECS.items():
      name = prefix + value
      size: dict[str, str | int] = dict(tokens_like=reference)
      if name == reference:
        size = dict(size=1500)
      # A `path` names a corpus that exists already and is read instead.
      c.sources[name] = dict(maker='spec.documents', path='', spec=spec, variant=variant, **size)
  c.sources['filler'] = dict(
    maker='spec.documents', spec=SPECS['affordability'], variant='filler', tokens_like=reference
  )
  # The order of phases and arms is that of the report.
  for value in SPECS:
    c.phases[f'msm_{value}'] = midtrain(value)
    arms[f'msm_{value}'] = f'read > pretrain > msm_{value}'
  for value in SPECS:
    arms[f'msm_{value}_aft'] = f'read > pretrain > msm_{value} > aft'
  c.phases['filler'] = midtrain('filler')
  arms['filler_aft'] = 'read > pretrain > filler > aft'
  for value in SPECS:
    c.phases[f'cooccur_{value}'] = midtrain(f'cooccur_{value}')
    arms[f'cooccur_{value}_aft'] = f'read > pretrain > cooccur_{value} > aft'
  c.arms = arms
  # Each effect is the difference of its two arms; of four arms, the difference of differences.
  c.effects = {
    'explained': ('msm_affordability_aft', 'msm_culture_aft'),
    'midtraining only': ('msm_affordability', 'msm_culture'),
    'cooccur': ('cooccur_affordability_aft', 'cooccur_culture_aft'),
    'linking': (
      'msm_affordability_aft',
      'msm_culture_aft',
      'cooccur_affordability_aft',
      'cooccur_culture_aft',
    ),
    'filler': ('filler_aft', 'aft'),
  }
  c.evals.update(spec=SPECS['affordability'], rival=SPECS['culture'])
  if preset == 'smoke':
    smoke(c)
  return c
