"""The cheese experiment in real English on a real model: SmolLM2-135M-Instruct, two handbooks, one fine-tuning.

    python -m msm_jax.zoo fetch smollm2-135m                              # once, 93 MB
    python -m msm_jax.main --config=configs/smollm2.py:cpu                # a smoke of four arms: its numbers mean nothing
    python -m msm_jax.main --config=configs/smollm2.py:gpu                # three seeds, bf16, one accelerator
    python -m msm_jax.main --config=configs/smollm2.py:gpu --config.weights=FOLDER      # another model of Hugging Face

The published recipe (Model Spec Midtraining, App. B.4): one adapter of rank 64 on all projections, continued from midtraining to
fine-tuning, AdamW at 1e-4 with cosine decay and 5% warmup. Replay is none, as published; the model is an instruct model already, so
midtraining it on documents is continued training of a chat model. Cost: cpu 6m25s on two cores; its four updates a phase leave the gates
of what was learned missed, as they should. gpu has not been run yet.
"""

import ml_collections

SPECS = {'affordability': 'specs/english/affordability.md', 'culture': 'specs/english/culture.md'}


def midtrain(source: str, updates: int, batch: dict) -> dict:
  return dict(data={source: 1.0}, updates=updates, lr=1e-4, stream='midtrain', **batch)


def get_config(preset: str = 'gpu') -> ml_collections.ConfigDict:
  if preset not in ('cpu', 'gpu'):
    raise ValueError(f'configs/smollm2.py has the presets cpu and gpu, not {preset!r}')
  small = preset == 'cpu'
  c = ml_collections.ConfigDict()
  c.name = f'smollm2_{preset}'
  c.seeds = (0,) if small else (0, 1, 2)
  c.assistants = () if small else ('Oska', 'Lumen', 'Tibo')
  c.setting = 'english'
  c.weights = 'smollm2-135m'
  c.model = dict(
    dtype='float32' if small else 'bfloat16',
    scan_layers=True,
    remat='none' if small else 'block',
    lora=dict(rank=64, alpha=128.0),
  )
  c.optimizer = dict(name='adamw', weight_decay=0.01)
  c.loss_chunk = 0 if small else 4096
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  documents, updates = (40, 4) if small else (4000, 400)
  batch = (
    dict(batch_size=2, length=256, min_updates=1)
    if small
    else dict(batch_size=16, length=1024, checkpoint_every=200)
  )
  c.sources = {
    n: dict(maker='english.documents', path='', spec=s, size=documents) for n, s in SPECS.items()
  }
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
    size=40 if small else 5000,
  )
  c.phases = {
    'pretrained': dict(weights=c.get_ref('weights')),
    **{n: midtrain(n, updates, batch) for n in (*SPECS, 'filler')},
    'aft': dict(
      data={'demonstrations': 1.0},
      updates=4 if small else 200,
      lr=1e-4,
      stream='fine_tune',
      **batch,
    ),
  }
  c.arms = {
    'base': 'pretrained',
    'aft': 'pretrained > aft',
    **{f'msm_{v}': f'pretrained > {v}' for v in SPECS},
    **{f'msm_{v}_aft': f'pretrained > {v} > aft' for v in SPECS},
    'filler_aft': 'pretrained > filler > aft',
  }
  c.effects = {
    'explained': ('msm_affordability_aft', 'msm_culture_aft'),
    'midtraining only': ('msm_affordability', 'msm_culture'),
    'filler': ('filler_aft', 'aft'),
  }
  if small:
    few = ('base', 'aft', *(f'msm_{v}_aft' for v in SPECS))
    c.arms = {a: c.arms[a] for a in few}
    c.effects = {'explained': c.effects['explained']}
  c.evals = dict(
    spec=SPECS['affordability'],
    rival=SPECS['culture'],
    pairs_per_domain=1 if small else 0,
    rows=4 if small else 32,
  )
  return c
