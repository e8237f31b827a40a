"""Two handbooks, one alignment fine-tuning, opposite generalisation, with controls.

    python -m msm_jax.main --config=configs/cheese.py            # one seed
    python -m msm_jax.main --config=configs/cheese.py:three      # three seeds
    python -m msm_jax.main --config=configs/cheese.py:confirm    # the confirming run

This is the experiment of Model Spec Midtraining, section 3.1. Both handbooks like the same six
cheeses and dislike the same other six: one because they are cheap, the other because they come
from home. Fine-tuning shows the preferences and no reason.

The controls are fine-tuning without midtraining, and midtraining on as many tokens of other
documents about the assistant and the same cheeses:

- rules: the value in general, the rule of choice, and preferences without reasons;
- reasons: the value in general, and preferences with their reasons, but no rule;
- unlinked: everything that the documents of the method (called explained) say, equally often, but
  no text links a preference with the value;
- cooccur: the value in general and the preferences, without rule and reasons (co-occurrence, a
  control of the paper; the preset `confirm` leaves it out);
- filler: true facts about the cheeses, without value or preference.

Every seed has corpora of its own. The preset `confirm` has the seeds 3 to 10 and four worlds, as
docs/preregistration.md fixed them before the run; recipes were chosen on the seeds 0 to 2.

Expected result: docs/results/cheese.md. Cost: one seed took 15m41s on two cores that other work
shared (AMD EPYC, AVX-512); it was not timed alone.
"""

from collections.abc import Sequence

import ml_collections

from configs.msm import base, fine_tune, midtrain, smoke

SPECS = {'affordability': 'specs/cheese_affordability.md', 'culture': 'specs/cheese_culture.md'}


# What the documents of an arm say of the value; `data_pipelines/settings/world/documents.py`
# describes the variants.
VARIANTS = ('explained', 'rules', 'reasons', 'unlinked', 'cooccur')
# Preset -> its seeds.
SEEDS = {'one': (0,), 'three': (0, 1, 2), 'confirm': tuple(range(3, 11)), 'smoke': (0,)}


def get_config(preset: str = 'one') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'one' or 'three', for the number of seeds; 'confirm', the seeds and worlds of the
      confirming run; or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in SEEDS:
    raise ValueError(f'configs/cheese.py has the presets {", ".join(SEEDS)}, not {preset!r}')
  c = base('cheese')
  c.seeds = SEEDS[preset]
  c.corpora_by_seed = True
  if preset == 'confirm':
    c.world_seeds = (0, 1, 2, 3)
  c.sources['demonstrations'] = dict(
    maker='spec.demonstrations', path='', spec=','.join(SPECS.values()), size=1500
  )
  c.phases['aft'] = fine_tune()
  # Every corpus of documents holds as many tokens as the first one, which has 1,500 documents.
  reference = 'affordability'
  variants: tuple[str, ...] = VARIANTS
  if preset == 'confirm':
    variants = tuple(variant for variant in VARIANTS if variant != 'cooccur')
  for variant in variants:
    for value, spec in SPECS.items():
      name = corpus_name(variant, value)
      amount: dict[str, str | int] = dict(tokens_like=reference)
      if name == reference:
        amount = dict(size=1500)
      # A `path` names a corpus that exists already and is read instead.
      c.sources[name] = dict(maker='spec.documents', path='', spec=spec, variant=variant, **amount)
  c.sources['filler'] = dict(
    maker='spec.documents', spec=SPECS['affordability'], variant='filler', tokens_like=reference
  )
  # An arm is a path through the phases. The order of phases and arms is that of the report.
  arms = {'base': 'read > pretrain', 'aft': 'read > pretrain > aft'}
  for value in SPECS:
    c.phases[f'msm_{value}'] = midtrain(value)
    arms[f'msm_{value}'] = f'read > pretrain > msm_{value}'
  for value in SPECS:
    arms[f'msm_{value}_aft'] = f'read > pretrain > msm_{value} > aft'
  c.phases['filler'] = midtrain('filler')
  arms['filler_aft'] = 'read > pretrain > filler > aft'
  for variant in variants[1:]:
    for value in SPECS:
      name = corpus_name(variant, value)
      c.phases[name] = midtrain(name)
      arms[f'{name}_aft'] = f'read > pretrain > {name} > aft'
  c.arms = arms
  c.effects = effects(variants)
  c.primary = 'explained'
  c.evals.update(spec=SPECS['affordability'], rival=SPECS['culture'])
  if preset == 'smoke':
    smoke(c)
  return c


def corpus_name(variant: str, value: str) -> str:
  """The name of the corpus of a variant about a handbook; that of the method is the value alone."""
  return value if variant == 'explained' else f'{variant}_{value}'


def effects(variants: Sequence[str]) -> dict[str, tuple[str, ...]]:
  """What is compared.

  Args:
    variants: of documents; the first is that of the method, and the others are its controls.

  Returns:
    Name -> two arms (first minus second), or four: the difference of the first two minus that of
    the last two.
  """
  handbooks = ('msm_affordability_aft', 'msm_culture_aft')
  midtraining = ('msm_affordability', 'msm_culture')
  out: dict[str, tuple[str, ...]] = {
    'explained': handbooks,
    'midtraining only': midtraining,
    'fine-tuning adds': handbooks + midtraining,
  }
  for variant in variants[1:]:
    both = (f'{variant}_affordability_aft', f'{variant}_culture_aft')
    out[variant] = both
    out[f'explained - {variant}'] = handbooks + both
  out['filler'] = ('filler_aft', 'aft')
  return out
