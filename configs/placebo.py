"""How often do arms that differ in nothing that matters look different?

    python -m msm_jax.main --config=configs/placebo.py --workdir=runs/placebo
    python -m msm_jax.placebo --workdir=runs/placebo

Every effect of this experiment compares two arms of one kind:

- fine-tuning alone, with another order of the rows or another draw of the demonstrations;
- filler documents, with another draw of the corpus or another order, before fine-tuning and after;
- documents of one handbook (and of co-occurrence), with another draw, before fine-tuning and after.

The two arms of a pair differ in nothing that matters, so an interval that excludes zero is a false
finding. The recipe is that of configs/cheese.py. The seeds are used by no other experiment, and
every seed has corpora of its own.

Expected result: of 43 intervals of the primary measure, 2 exclude zero (docs/results/cheese.md); at
most 7% should. Cost: about 27 minutes on two idle cores (AMD EPYC, AVX-512), by calculation; the
stored run shared them with other work and was paused. A seed takes 150 s of pretraining, ten
midtrainings of 18 s, sixteen fine-tunings of 5 s and 27 evaluations of 4 to 5 s.
"""

import itertools

import ml_collections

from configs.msm import base, fine_tune, midtrain, smoke

SPECS = ('specs/cheese_affordability.md', 'specs/cheese_culture.md')
# Kind of documents -> their variant and how many corpora are drawn.
DOCUMENTS = {
  'filler': ('filler', 4),
  'handbook': ('explained', 3),
  'cooccur': ('cooccur', 2),
}


def get_config(preset: str = 'three') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'three', for the number of seeds, or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  seeds = {'three': (20, 21, 22), 'smoke': (20,)}
  if preset not in seeds:
    raise ValueError(f'configs/placebo.py has the presets {", ".join(seeds)}, not {preset!r}')
  c = base('placebo')
  c.seeds = seeds[preset]
  c.corpora_by_seed = True
  c.arms = {'base': 'read > pretrain'}
  # Kind of arm -> its arms; every two of a kind are a pair.
  kinds = {'fine-tuning alone': _fine_tunings(c)}
  for name, (variant, corpora) in DOCUMENTS.items():
    midtrainings = _midtrainings(c, name, variant, corpora)
    kinds[name] = midtrainings
    kinds[f'{name}, then fine-tuning'] = [f'{arm}_aft' for arm in midtrainings]
  c.effects = {}
  for kind, arms in kinds.items():
    for first, second in itertools.combinations(arms, 2):
      c.effects[f'{kind}: {first} / {second}'] = (first, second)
  c.evals.update(spec=SPECS[0], rival=SPECS[1], pairs_per_domain=8)
  if preset == 'smoke':
    smoke(c)
  return c


def _fine_tunings(c: ml_collections.ConfigDict) -> list[str]:
  """Adds fine-tuning alone: three draws of the demonstrations, one of them in four orders.

  Args:
    c: the config; sources, phases and arms are added to it.

  Returns:
    The names of the arms.
  """
  for n in range(3):
    c.sources[f'demonstrations_{n}'] = dict(
      maker='spec.demonstrations', spec=','.join(SPECS), size=1500, seed=n
    )
  # The first one is the fine-tuning that follows all midtrainings.
  phases = {'aft': ('demonstrations_0', 'fine_tune')}
  for n in range(1, 4):
    phases[f'aft_order_{n}'] = ('demonstrations_0', f'fine_tune_{n}')
  for n in range(1, 3):
    phases[f'aft_corpus_{n}'] = (f'demonstrations_{n}', 'fine_tune')
  for name, (source, stream) in phases.items():
    c.phases[name] = {**fine_tune(source), 'stream': stream}
    c.arms[name] = f'read > pretrain > {name}'
  return list(phases)


def _midtrainings(c: ml_collections.ConfigDict, kind: str, variant: str, corpora: int) -> list[str]:
  """Adds midtraining on several draws of one kind of documents; of filler, one in another order.

  Args:
    c: the config; sources, phases and arms are added to it.
    kind: begins the names of sources, phases and arms.
    variant: of the documents.
    corpora: how many are drawn.

  Returns:
    The names of the arms without fine-tuning; those with it end in '_aft'.
  """
  phases = {}
  for n in range(corpora):
    name = f'{kind}_{n}'
    # As in configs/cheese.py, every corpus holds as many tokens as 1,500 documents of the handbook.
    size: dict[str, str | int] = dict(tokens_like='handbook_0')
    if name == 'handbook_0':
      size = dict(size=1500)
    c.sources[name] = dict(maker='spec.documents', spec=SPECS[0], variant=variant, seed=n, **size)
    phases[name] = midtrain(name)
  if kind == 'filler':
    phases['filler_0_order_1'] = {**midtrain('filler_0'), 'stream': 'midtrain_1'}
  for name, phase in phases.items():
    c.phases[name] = phase
    c.arms[name] = f'read > pretrain > {name}'
    c.arms[f'{name}_aft'] = f'read > pretrain > {name} > aft'
  return list(phases)
