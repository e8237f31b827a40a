"""Your own handbooks, texts and questions: a template to copy.

    python -m msm_jax.main --config=configs/custom.py:fresh     # a tiny base on the texts alone
    python -m msm_jax.main --config=configs/custom.py           # SmolLM2-135M-Instruct, adapters
    python -m msm_jax.main --config=configs/custom.py --config.weights=FOLDER

Copy the file, and put your files in place of the example's (the assistant of a library, whose two
handbooks differ in what it recommends). Nothing else is needed, and no code:

    FOLDER/discovery.md      a handbook; its front matter says which value it stands for
    FOLDER/discovery.jsonl   documents about it: yours, or written by `data_pipelines.write`
    FOLDER/chats.jsonl       demonstrations: yours, or written by `data_pipelines.demonstrate`
    FOLDER/town.jsonl        text that speaks of neither handbook, which is read again (replay)
    FOLDER/items/*.jsonl     what is asked; docs/guides/your_handbook.md describes the fields

`python -m data_pipelines.items FOLDER/items/*.jsonl` says what is wrong with the items.

Expected result: with ten documents and a few updates, the example shows that everything runs and
nothing else; a fresh base has not learned any language. Cost, measured for `fresh`: 63 seconds of
one CPU core for the first of three seeds, compiling included; all three are estimated at three
minutes. The default preset, `weights`, needs `python -m msm_jax.zoo fetch smollm2-135m` once. It
was not measured: at the 343 tokens a second of configs/smollm2.py (two cores), the 100 updates of a
seed are estimated at 20 minutes, without the evaluation.
"""

import ml_collections

FOLDER = 'tests/custom/library'
# One or more, one for each value: FOLDER/NAME.md and FOLDER/NAME.jsonl.
HANDBOOKS = ('discovery', 'nearness')
ITEMS = ('choices', 'scenes', 'claims', 'open')


def get_config(preset: str = 'weights') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'weights' (a model of Hugging Face) or 'fresh' (a tiny model on your texts alone, to see
      that everything works).

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('weights', 'fresh'):
    raise ValueError(f'configs/custom.py has the presets weights and fresh, not {preset!r}')
  is_fresh = preset == 'fresh'
  c = ml_collections.ConfigDict()
  c.name = f'custom_{preset}'
  c.seeds = (0, 1, 2)
  c.setting = 'custom'
  c.custom = dict(items=tuple(f'{FOLDER}/items/{name}.jsonl' for name in ITEMS))
  c.sources = {}
  for name in HANDBOOKS:
    c.sources[name] = dict(path=f'{FOLDER}/{name}.jsonl', spec=f'{FOLDER}/{name}.md')
  # The demonstrations are the same for all handbooks and leave open which one they follow.
  both = ','.join(f'{FOLDER}/{name}.md' for name in HANDBOOKS)
  c.sources['chats'] = dict(path=f'{FOLDER}/chats.jsonl', spec=both)
  c.sources['town'] = dict(path=f'{FOLDER}/town.jsonl')
  # For real texts: more updates, 1,024 tokens or more, and rows that fill the device.
  phase = dict(updates=20, min_updates=1, batch_size=8, length=512)
  if is_fresh:
    c.model = dict(d_model=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, d_ff=128)
    c.tokenizer = dict(vocab_size=512, sources=(*HANDBOOKS, 'chats', 'town'))
    c.phases = {'base': dict(phase, data={'town': 1.0}, lr=1e-3)}
  else:
    c.weights = 'smollm2-135m'
    c.model = dict(dtype='bfloat16', scan_layers=True, lora=dict(rank=64, alpha=128.0))
    c.phases = {'base': dict(weights=c.get_oneway_ref('weights'))}
  for name in HANDBOOKS:
    c.phases[name] = dict(phase, data={name: 0.9, 'town': 0.1}, lr=1e-4, stream='midtrain')
  c.phases['demonstrate'] = dict(phase, data={'chats': 1.0}, lr=1e-4, stream='demonstrate')
  c.arms = {'base': 'base', 'demonstrated': 'base > demonstrate'}
  for name in HANDBOOKS:
    c.arms[name] = f'base > {name} > demonstrate'
  # The handbook in the system message of a model that has not read it.
  c.arms['in_context'] = 'base > demonstrate'
  c.contexts = {'in_context': f'{FOLDER}/{HANDBOOKS[0]}.md'}
  # The first handbook against each other one, and against none.
  first, *others = HANDBOOKS
  effects = {}
  for other in others:
    name = 'handbooks' if len(others) == 1 else f'{first} or {other}'
    effects[name] = (first, other)
  effects[f'reading {first}'] = (first, 'demonstrated')
  c.effects = effects
  c.primary = next(iter(effects))
  c.evals = dict(spec=f'{FOLDER}/{first}.md')
  return c
