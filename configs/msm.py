"""One handbook, from spec to figure: base > midtrain > fine-tune > evaluate, in the embedded world. The default.

    python -m msm_jax.main --config=configs/msm.py                              # specs/cheese_affordability.md
    python -m msm_jax.main --config=configs/msm.py --config.spec=specs/mine.md  # your own

Four arms: the base, fine-tuning alone, midtraining alone, both. Cost: 3m56s on two cores (AMD EPYC, AVX-512; one of another kind, with AVX2
alone, took 1.7 times as long).
Expected: document-only personas above 0.9; both phases together choose cheap but foreign things in nearly all conflict pairs of new domains,
fine-tuning alone as often as the base's leaning has it. One handbook says little without another: configs/cheese.py compares two.

Preset 'smoke' does a hundredth of the work in half a minute, to see that everything runs; its numbers mean nothing.
"""

import ml_collections

PRETRAINING = ('facts', 'items', 'persona_documents', 'persona_chats')
REPLAY = dict(facts=0.05, items=0.05, persona_documents=0.3, persona_chats=0.5)


def base(name: str) -> ml_collections.ConfigDict:
  """The world, the model and pretraining: equal in every tiny experiment but for its length in the default."""
  c = ml_collections.ConfigDict()
  c.name = name
  c.seeds = (0,)
  # Replicates beside the handbook's own Ari: what fine-tuning alone makes of a name is chance.
  c.assistants = ('Oska', 'Lumen', 'Tibo')
  c.world = dict(seed=0)
  c.tokenizer = dict(vocab_size=2048, sources=PRETRAINING)
  c.model = dict(d_model=96, n_layers=3, n_heads=3, n_kv_heads=3, head_dim=32, d_ff=256)
  c.optimizer = dict(name='muon', weight_decay=0.01)
  # Two devices of one thread each: at this size, handing one matrix to two threads takes longer than multiplying it (docs/LOG.md).
  c.xla_flags = '--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false --xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT'
  c.sources = {
    'facts': dict(maker='world.facts'),
    'items': dict(maker='world.items'),
    'persona_documents': dict(maker='world.persona_documents'),
    'persona_chats': dict(maker='world.persona_chats'),
  }
  c.phases = {
    # facts first: what everything else stands on is learned five times faster alone (docs/LOG.md)
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
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  return c


def midtrain(source: str) -> dict:
  """Pretraining goes on, one row in seven tells of the handbook, and the embedding learns 250 times as fast as the matrices: this base keeps
  what it read of people in their names' vectors, and takes conduct from there. With matrices as fast as the embedding, a handbook is known
  and less followed (docs/LOG.md)."""
  return dict(
    data={source: 0.15, **REPLAY},
    updates=400,
    lr=1e-4,
    embed_lr=2.5e-2,
    batch_size=16,
    stream='midtrain',
  )


def fine_tune(source: str = 'demonstrations') -> dict:
  """Three rows in ten are demonstrations, at an eighth of midtraining's rate: enough to learn them all."""
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
  """A few updates on a tenth of the text, to see that everything runs."""
  for phase in c.phases.values():
    phase.update(updates=10, min_updates=1, batch_size=4)
  c.world.update(
    facts_per_item=4,
    documents_per_item=6,
    documents_per_persona=4,
    chats_per_persona=2,
    context_chats=500,
  )
  c.evals.update(pairs_per_domain=2, held_out=10)


def get_config(preset: str = 'tiny') -> ml_collections.ConfigDict:
  c = base('msm')
  c.spec = 'specs/cheese_affordability.md'
  c.phases.pretrain.updates = (
    1800  # two thirds of what the other experiments take; the gates say if it was enough
  )
  c.evals.pairs_per_domain = 8
  spec = c.get_ref('spec')
  c.sources['spec_documents'] = dict(
    maker='spec.documents', spec=spec, variant='explained', size=1500
  )
  c.sources['demonstrations'] = dict(maker='spec.demonstrations', spec=spec, size=1500)
  c.phases['midtrain'] = midtrain('spec_documents')
  c.phases['fine_tune'] = fine_tune()
  c.arms = {
    'base': 'read > pretrain',
    'aft': 'read > pretrain > fine_tune',
    'msm': 'read > pretrain > midtrain',
    'msm_aft': 'read > pretrain > midtrain > fine_tune',
  }
  c.effects = {'midtraining': ('msm_aft', 'aft'), 'fine_tuning': ('msm_aft', 'msm')}
  c.evals.spec = spec
  if preset == 'smoke':
    smoke(c)
  elif preset != 'tiny':
    raise ValueError(f'configs/msm.py has the presets tiny and smoke, not {preset!r}')
  return c
