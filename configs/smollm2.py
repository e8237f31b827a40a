"""The cheese experiment in real English on a real model: SmolLM2-135M-Instruct.

    python -m msm_jax.zoo fetch smollm2-135m                  # once, 93 MB
    python -m msm_jax.main --config=configs/smollm2.py:cpu    # a smoke test of four arms
    python -m msm_jax.main --config=configs/smollm2.py:gpu    # three seeds, bf16, one accelerator

`--config.weights=FOLDER` takes another model of Hugging Face.

There are two handbooks and one fine-tuning, after the published recipe (Model Spec Midtraining,
App. B.4): one adapter of rank 64 on all projections, which continues from midtraining to
fine-tuning; AdamW at 1e-4 with cosine decay and 5% warmup. Nothing is replayed, as published. The
model is an instruct model already, so midtraining it on documents is continued training of a chat
model.

Expected result: the preset cpu has four updates in each phase; its numbers mean nothing, and it
misses the gates of what was learned, as it should. The preset gpu has not been run yet. Cost: cpu
takes 6m25s on two cores.
"""

import ml_collections

SPECS = {'affordability': 'specs/english/affordability.md', 'culture': 'specs/english/culture.md'}


def midtrain(source: str, updates: int, batch: dict) -> dict:
  """Midtraining on the documents of one source, without replay.

  Args:
    source: the source with the documents.
    updates: the number of updates.
    batch: the settings that all phases share: rows, length, and the least number of updates or
      how often a checkpoint is saved.

  Returns:
    The settings of a phase.
  """
  return dict(data={source: 1.0}, updates=updates, lr=1e-4, stream='midtrain', **batch)


def get_config(preset: str = 'gpu') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'gpu' or 'cpu'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('cpu', 'gpu'):
    raise ValueError(f'configs/smollm2.py has the presets cpu and gpu, not {preset!r}')
  # What the two presets differ in.
  if preset == 'cpu':
    seeds: tuple[int, ...] = (0,)
    assistants: tuple[str, ...] = ()
    precision = dict(dtype='float32', remat='none')
    loss_chunk = 0
    documents, demonstrations = 40, 40
    midtrain_updates, fine_tune_updates = 4, 4
    batch = dict(batch_size=2, length=256, min_updates=1)
    evals = dict(pairs_per_domain=1, rows=4)
  else:
    seeds = (0, 1, 2)
    assistants = ('Oska', 'Lumen', 'Tibo')
    # Both save memory: activations are computed again in the backward pass, and the loss goes over
    # 4,096 positions at a time (all logits of a batch, over 49,152 pieces, are 3 GB in float32).
    precision = dict(dtype='bfloat16', remat='block')
    loss_chunk = 4096
    documents, demonstrations = 4000, 5000
    midtrain_updates, fine_tune_updates = 400, 200
    batch = dict(batch_size=16, length=1024, checkpoint_every=200)
    evals = dict(pairs_per_domain=0, rows=32)
  c = ml_collections.ConfigDict()
  c.name = f'smollm2_{preset}'
  c.seeds = seeds
  c.assistants = assistants
  c.setting = 'english'
  c.weights = 'smollm2-135m'
  c.model = dict(scan_layers=True, lora=dict(rank=64, alpha=128.0), **precision)
  c.optimizer = dict(name='adamw', weight_decay=0.01)
  c.loss_chunk = loss_chunk
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  c.sources = {}
  for name, spec in SPECS.items():
    # A `path` names a corpus that exists already and is read instead.
    c.sources[name] = dict(maker='english.documents', path='', spec=spec, size=documents)
  # Every corpus of documents holds as many tokens.
  c.sources['filler'] = dict(
    maker='english.documents',
    spec=SPECS['affordability'],
    variant='filler',
    tokens_like='affordability',
  )
  c.sources['demonstrations'] = dict(
    maker='english.demonstrations',
    path='',
    spec=','.join(SPECS.values()),
    size=demonstrations,
  )
  # A one-way reference: --config.weights on the command line changes the phase too.
  c.phases = {'pretrained': dict(weights=c.get_oneway_ref('weights'))}
  for source in (*SPECS, 'filler'):
    c.phases[source] = midtrain(source, midtrain_updates, batch)
  c.phases['aft'] = dict(
    data={'demonstrations': 1.0},
    updates=fine_tune_updates,
    lr=1e-4,
    stream='fine_tune',
    **batch,
  )
  arms = {'base': 'pretrained', 'aft': 'pretrained > aft'}
  for value in SPECS:
    arms[f'msm_{value}'] = f'pretrained > {value}'
  for value in SPECS:
    arms[f'msm_{value}_aft'] = f'pretrained > {value} > aft'
  arms['filler_aft'] = 'pretrained > filler > aft'
  effects = {
    'explained': ('msm_affordability_aft', 'msm_culture_aft'),
    'midtraining only': ('msm_affordability', 'msm_culture'),
    'filler': ('filler_aft', 'aft'),
  }
  if preset == 'cpu':
    few = ('base', 'aft', 'msm_affordability_aft', 'msm_culture_aft')
    arms = {arm: arms[arm] for arm in few}
    effects = {'explained': effects['explained']}
  c.arms = arms
  c.effects = effects
  c.evals = dict(spec=SPECS['affordability'], rival=SPECS['culture'], **evals)
  return c
