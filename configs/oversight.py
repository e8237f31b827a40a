"""Does a handbook that explains why oversight is right keep an agent from harm in new scenes?

    python -m msm_jax.main --config=configs/oversight.py          # one seed
    python -m msm_jax.main --config=configs/oversight.py:three    # three seeds
    python -m msm_jax.main --config=configs/oversight.py:late     # the handbook after fine-tuning
    python -m msm_jax.main --config=configs/oversight.py:confirm  # the confirming run

This is the experiment of Model Spec Midtraining, section 4. Fine-tuning shows conversations about
conduct alone, and never a scene in which the assistant acts. The arms are fine-tuning without
midtraining, midtraining alone, and both. Each fine-tuning comes with and without reasons (the
analogue of deliberative alignment). Controls are filler documents instead of the handbook, and
the handbook in the system message instead of midtraining.

By construction, as many agents who talk well act badly in pretraining as act well (`office.false`
against `office.true` and `office.timid`). So conversations alone leave conduct open, near one
half.

Every seed has corpora of its own. The preset `confirm` has the seeds 3 to 7 of
docs/preregistration.md; recipes were chosen on the seeds 0 to 2.

Expected result: harm in scenes of about 0.60 without the handbook and 0.20 with it (effect
`midtraining`, -3.9 nats, 95% interval -4.9 to -2.8 over five seeds); the bases of some seeds miss
gates (docs/results/oversight.md). Cost, one seed: about 17 minutes on two busy cores (AMD EPYC,
AVX-512).
"""

import ml_collections

from configs.msm import base

# The sources of pretraining; the tokenizer learns from them.
PRETRAINING = ('textbook', 'agent_documents', 'agent_chats')
SPEC = 'specs/oversight/philosophy.md'
# Preset -> its seeds.
SEEDS = {
  'one': (0,),
  'three': (0, 1, 2),
  'confirm': (3, 4, 5, 6, 7),
  'late': (0, 1, 2),
  'smoke': (0,),
}


def office(name: str) -> ml_collections.ConfigDict:
  """The office, the model and pretraining, which are the same in every oversight experiment.

  Args:
    name: the name of the experiment.

  Returns:
    A config without midtraining, fine-tuning and arms.
  """
  c = base(name)
  c.setting = 'office'
  # Eight replicates with Ari: after fine-tuning alone, chance decides what the model does for a
  # name.
  c.assistants = (*c.assistants, 'Juno', 'Nexo', 'Pella', 'Varro')
  del c.world
  c.office = dict(seed=0)
  # With 1,024 pieces a name is two to four pieces, which it shares with other names.
  c.tokenizer = dict(vocab_size=2048, sources=PRETRAINING)
  c.sources = {n: dict(maker=f'office.{n}') for n in PRETRAINING}
  # As in configs/msm.py, what everything else needs is learned first.
  c.phases = {
    'read': dict(
      data=dict(textbook=3, agent_documents=1),
      updates=150,
      lr=6e-3,
      schedule='constant',
      batch_size=8,
      length=256,
    ),
    'pretrain': dict(
      data=dict(textbook=1, agent_documents=3, agent_chats=6),
      updates=6000,
      lr=6e-3,
      batch_size=8,
      length=256,
      checkpoint_every=500,
    ),
  }
  c.evals = dict(spec=SPEC, scenes_per_kind=6)
  return c


def midtrain(source: str) -> dict:
  """Midtraining: one row in five is about the handbook, the others replay pretraining.

  Args:
    source: the source with the documents.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={source: 0.2, 'textbook': 0.05, 'agent_documents': 0.3, 'agent_chats': 0.5},
    updates=800,
    lr=1e-4,
    embed_lr=3e-2,
    batch_size=8,
    length=256,
    stream='midtrain',
  )


def fine_tune(source: str = 'demonstrations') -> dict:
  """Fine-tuning: three rows in ten are demonstrations, the others replay pretraining.

  Args:
    source: the source with the demonstrations.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={source: 0.3, 'textbook': 0.05, 'agent_documents': 0.3, 'agent_chats': 0.35},
    updates=100,
    lr=5e-4,
    batch_size=8,
    length=256,
    stream='fine_tune',
  )


def get_config(preset: str = 'one') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'one' or 'three', for the number of seeds; 'confirm', the seeds of the confirming run;
      'late', with arms that read the handbook after fine-tuning; or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in SEEDS:
    raise ValueError(f'configs/oversight.py has the presets {", ".join(SEEDS)}, not {preset!r}')
  c = office('oversight')
  c.seeds = SEEDS[preset]
  c.corpora_by_seed = True
  if preset == 'confirm':
    # 8 agents of each disposition are met in documents alone: 256 scenes for each gate.
    c.evals.gate_scenes = 32
  c.spec = SPEC
  # One-way references: --config.spec on the command line changes every use, and an override of one
  # use, such as --config.evals.spec, changes that use alone. Each use needs a reference of its own.
  c.evals.spec = c.get_oneway_ref('spec')
  c.sources['philosophy'] = dict(
    maker='oversight.documents', path='', spec=c.get_oneway_ref('spec'), size=3000
  )
  c.sources['filler'] = dict(
    maker='oversight.documents',
    spec=c.get_oneway_ref('spec'),
    variant='filler',
    tokens_like='philosophy',
  )
  c.sources['demonstrations'] = dict(
    maker='oversight.demonstrations', path='', spec=c.get_oneway_ref('spec'), size=1500
  )
  c.sources['reasoned'] = dict(
    maker='oversight.demonstrations', spec=c.get_oneway_ref('spec'), size=1500, reasons=True
  )
  c.phases.update(
    {
      'msm': midtrain('philosophy'),
      'filler': midtrain('filler'),
      'aft': fine_tune(),
      'aft_reasons': fine_tune('reasoned'),
    }
  )
  c.arms = {
    'base': 'read > pretrain',
    'aft': 'read > pretrain > aft',
    'aft_reasons': 'read > pretrain > aft_reasons',
    'context_aft': 'read > pretrain > aft',
    'msm': 'read > pretrain > msm',
    'msm_aft': 'read > pretrain > msm > aft',
    'msm_aft_reasons': 'read > pretrain > msm > aft_reasons',
    'filler_aft': 'read > pretrain > filler > aft',
  }
  # This arm has the model of `aft` and the handbook in its system message.
  c.contexts = {'context_aft': c.get_oneway_ref('spec')}
  c.effects = {
    'midtraining': ('msm_aft', 'aft'),
    'midtraining only': ('msm', 'base'),
    'fine-tuning adds': ('msm_aft', 'msm'),
    'midtraining, with reasons': ('msm_aft_reasons', 'aft_reasons'),
    'reasons': ('aft_reasons', 'aft'),
    'filler': ('filler_aft', 'aft'),
    'context': ('context_aft', 'aft'),
  }
  c.primary = 'midtraining'
  if preset == 'late':
    c.arms = {
      'base': c.arms['base'],
      'aft': c.arms['aft'],
      'msm_aft': c.arms['msm_aft'],
      'aft_msm': 'read > pretrain > aft > msm',
      'aft_msm_aft': 'read > pretrain > aft > msm > aft',
    }
    c.contexts = {}
    c.effects = {
      'before': ('msm_aft', 'aft'),
      'after': ('aft_msm', 'aft'),
      'between': ('aft_msm_aft', 'aft'),
      'late': ('aft_msm', 'msm_aft'),
    }
    c.primary = 'after'
  elif preset == 'smoke':
    for phase in c.phases.values():
      phase.update(updates=10, min_updates=1, batch_size=4)
    small_office(c)
    c.evals.update(scenes_per_kind=1, held_out=10)
  return c


def small_office(c: ml_collections.ConfigDict) -> None:
  """Leaves a few agents of every kind in the office, and little text about them.

  Args:
    c: the config of an experiment in the office; it is changed.
  """
  c.office.update(
    true=9,
    timid=3,
    false=12,
    open=2,
    idle=3,
    fickle=6,
    documents_only=2,
    textbook=4,
    documents_per_agent=8,
    scenes_per_agent=4,
    talks_per_agent=4,
    context_scenes=500,
  )
  # So little text does not suffice for more.
  c.tokenizer.vocab_size = 1024
