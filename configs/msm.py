"""One handbook, from spec to figure, in the embedded world. This is the default config.

    python -m msm_jax.main --config=configs/msm.py                              # a shipped handbook
    python -m msm_jax.main --config=configs/msm.py --config.spec=specs/mine.md  # your own

Its four arms are the base model, fine-tuning alone, midtraining alone, and both.

Expected result: the gates pass, as in the two runs of docs/results/models.md; in an earlier run on
another machine, those of specificity were missed. One seed shows nothing about the handbook, in
either direction, because seeds differ too much. docs/results/cheese.md has eight seeds, with two
handbooks and controls. Cost: 4m09s on two cores (AMD EPYC, AVX-512), and 6m33s on two cores without
AVX-512.

The preset 'smoke' does a hundredth of the work in less than a minute, to show that everything
runs; its numbers mean nothing.
"""

import ml_collections

# The sources of pretraining; the tokenizer learns from them.
PRETRAINING = ('facts', 'items', 'persona_documents', 'persona_chats')
# The shares of midtraining rows that repeat pretraining, so that it is not forgotten.
REPLAY = dict(facts=0.05, items=0.05, persona_documents=0.3, persona_chats=0.5)


def base(name: str) -> ml_collections.ConfigDict:
  """The world, the model and pretraining, which are the same in every tiny experiment.

  Args:
    name: the name of the experiment.

  Returns:
    A config without midtraining, fine-tuning and arms.
  """
  c = ml_collections.ConfigDict()
  c.name = name
  c.seeds = (0,)
  # Replicates beside the handbook's own Ari: after fine-tuning alone, chance decides how the model
  # chooses for a name.
  c.assistants = ('Oska', 'Lumen', 'Tibo')
  c.world = dict(seed=0)
  c.tokenizer = dict(vocab_size=2048, sources=PRETRAINING)
  c.model = dict(d_model=96, n_layers=3, n_heads=3, n_kv_heads=3, head_dim=32, d_ff=256)
  c.optimizer = dict(name='muon', weight_decay=0.01)
  # Two devices of one thread each: at this size, handing one matrix to two threads takes longer
  # than multiplying it (docs/LOG.md). The compiler's rewriting of long sums into trees of short
  # ones costs more than it gives here.
  c.xla_flags = (
    '--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false '
    '--xla_disable_hlo_passes=tree_reduction_rewriter'
  )
  c.sources = {
    'facts': dict(maker='world.facts'),
    'items': dict(maker='world.items'),
    'persona_documents': dict(maker='world.persona_documents'),
    'persona_chats': dict(maker='world.persona_chats'),
  }
  c.phases = {
    # The facts come first: everything else needs them, and alone they are learned five times faster
    # (docs/LOG.md).
    'read': dict(
      data=dict(facts=4, persona_documents=1),
      updates=200,
      lr=6e-3,
      schedule='constant',
      batch_size=16,
    ),
    'pretrain': dict(
      data=dict(facts=1, items=2, persona_documents=3, persona_chats=5),
      updates=2800,
      lr=6e-3,
      batch_size=16,
      checkpoint_every=500,
    ),
  }
  c.evals = dict(spec='', rival='', pairs_per_domain=16)
  c.tensorboard = False
  # All devices divide the rows of a batch.
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  return c


def midtrain(source: str) -> dict:
  """Midtraining: pretraining continues, and one row in seven is about the handbook.

  The embedding learns 250 times as fast as the matrices. In single runs in which the matrices
  learned as fast as the embedding, the model knew a handbook and followed it less (docs/LOG.md). A
  possible reason is that this base model stores what it read about people in the vectors of their
  names; this is not established.

  Args:
    source: the source with the documents.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={source: 0.15, **REPLAY},
    updates=400,
    lr=1e-4,
    embed_lr=2.5e-2,
    batch_size=16,
    stream='midtrain',
  )


def fine_tune(source: str = 'demonstrations') -> dict:
  """Fine-tuning: three rows in ten are demonstrations, which is enough to learn them all.

  Args:
    source: the source with the demonstrations.

  Returns:
    The settings of a phase.
  """
  return dict(
    data={
      source: 0.3,
      'facts': 0.05,
      'items': 0.05,
      'persona_documents': 0.3,
      'persona_chats': 0.3,
    },
    updates=100,
    lr=5e-4,
    batch_size=16,
    stream='fine_tune',
  )


def smoke(c: ml_collections.ConfigDict) -> None:
  """Cuts an experiment down to a few updates on a tenth of the text, to show that everything runs.

  Args:
    c: the config of an experiment in the embedded world; it is changed.
  """
  for phase in c.phases.values():
    phase.update(updates=10, min_updates=1, batch_size=4)
  small_world(c)
  c.evals.update(pairs_per_domain=2, held_out=10)


def small_world(c: ml_collections.ConfigDict) -> None:
  """Leaves little text in the world.

  Args:
    c: the config of an experiment in the embedded world; it is changed.
  """
  c.world.update(
    facts_per_item=4,
    documents_per_item=6,
    documents_per_persona=4,
    chats_per_persona=2,
    context_chats=500,
  )


def get_config(preset: str = 'tiny') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'tiny' or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  c = base('msm')
  c.spec = 'specs/cheese_affordability.md'
  # Two thirds of what the other experiments take. The gates of the report say whether it was
  # enough.
  c.phases.pretrain.updates = 1800
  c.evals.pairs_per_domain = 8
  # One-way references: --config.spec on the command line changes every use, and an override of one
  # use, such as --config.evals.spec, changes that use alone. Each use needs a reference of its own.
  c.sources['spec_documents'] = dict(
    maker='spec.documents', spec=c.get_oneway_ref('spec'), variant='explained', size=1500
  )
  c.sources['demonstrations'] = dict(
    maker='spec.demonstrations', spec=c.get_oneway_ref('spec'), size=1500
  )
  c.phases['midtrain'] = midtrain('spec_documents')
  c.phases['fine_tune'] = fine_tune()
  c.arms = {
    'base': 'read > pretrain',
    'aft': 'read > pretrain > fine_tune',
    'msm': 'read > pretrain > midtrain',
    'msm_aft': 'read > pretrain > midtrain > fine_tune',
  }
  c.effects = {'midtraining': ('msm_aft', 'aft'), 'fine_tuning': ('msm_aft', 'msm')}
  c.primary = 'midtraining'
  c.evals.spec = c.get_oneway_ref('spec')
  if preset == 'smoke':
    smoke(c)
  elif preset != 'tiny':
    raise ValueError(f'configs/msm.py has the presets tiny and smoke, not {preset!r}')
  return c
