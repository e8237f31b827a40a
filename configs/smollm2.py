"""The cheese experiment in real English on a real model: SmolLM2-135M-Instruct.

    python -m msm_jax.zoo fetch smollm2-135m                   # once, 93 MB
    python -m msm_jax.main --config=configs/smollm2.py:smoke   # all arms, a few updates each
    python -m msm_jax.main --config=configs/smollm2.py:cpu     # one seed on two cores, upper layers
    python -m msm_jax.main --config=configs/smollm2.py:gpu     # three seeds, bf16, one accelerator

`--config.weights=FOLDER` takes another model of Hugging Face. The weights of the zoo were stored in
four bits (Q4_1), so this base is not exactly the published model.

There are two handbooks and one fine-tuning, after the published recipe (Model Spec Midtraining,
App. B.4): one adapter of rank 64 on all projections, which continues from midtraining to
fine-tuning; AdamW at 1e-4 with cosine decay and 5% warmup; nothing is replayed. The model is an
instruct model already, so midtraining it on documents is continued training of a chat model.

The arms:

- `base`, `aft`: the model as it is, and after fine-tuning on preferences without a reason;
- `msm_*`, `msm_*_aft`: midtraining on the documents of a handbook, alone and before fine-tuning.
  Each handbook is the other's control;
- `filler_aft`: as many tokens of documents about the assistant and the same cheeses, without any
  value;
- `unlinked_*_aft`: documents that say the same as those of the handbook, but no text links a
  preference with a value;
- `chats_*_aft`: the content of the documents as chats, in which the assistant says it. The corpus
  has as many tokens, but chats are not cut where a row ends: 8% of the cells of their rows stay
  empty, so as many updates read 8% fewer tokens;
- `aft_neutral`, `msm_*_aft_neutral`: fine-tuning whose answers give neutral reasons;
- `context_*`: the model after fine-tuning, with the handbook's rule in its system message.

The presets:

- `smoke`: every arm, four updates a phase; its numbers mean nothing;
- `pilot`: the two handbooks and the fine-tuning with 0.25 million tokens of midtraining, without
  controls, on a seed that no other preset uses. It serves to choose rates and to see how far seeds
  differ; nothing that it shows is a result. It asks 28 of the 112 conflict pairs in new domains.
  The same command with `--config.evals.pairs_per_domain=8` asks all 112 and trains nothing anew;
- `confirm`: the pilot's design and rates on the seeds 10, 11 and 12, which a plan was written for
  before they ran (docs/preregistration.md);
- `confirm_controls`: the same with all controls. In the same workdir it trains the controls alone:
  `--workdir=runs/smollm2_confirm`;
- `cpu`: 1.5 million tokens of midtraining, adapters on the upper ten of 30 layers;
- `cpu_all`: the arms of the main contrast and filler, with adapters on all layers;
- `dose`: 0.25, 0.5, 1 and 2 million tokens of midtraining;
- `replay`: a fifth of the rows are small tasks like those of instruction tuning, in addition to the
  other rows;
- `gpu`: as `cpu`, for three seeds, in bfloat16, with adapters on all layers.

All but `smoke`, `pilot` and `confirm*` have 4,096 tokens in an update of midtraining, so a million
tokens are 244 updates. `pilot` and `confirm*` have half as many, and a larger rate.
Every seed has corpora of its own. For another seed: `--config.seeds="(1,)"`, with a workdir of its
own or `--config.seeds="(0,1,2)"` in the same one, which keeps what is done.

Expected result: not known; docs/preregistration.md has the plans. Cost of a seed on two cores (AMD
EPYC, AVX-512, float32), computed by `training_hours` from the measured 343 tokens/s with adapters
on all layers and 800 with adapters on the upper ten: training 0.3 hours for `pilot`, 0.3 for
`confirm`, 1.0 for `confirm_controls`, 5.2 for `cpu`, 5.0 for `cpu_all`, 3.9 for `dose`, 1.8 for
`replay`. In the pilot, two cores without AVX-512 took more than four times as long. A scored token
costs about six tenths of one that is trained with adapters on the upper ten, and the options of a
question share its tokens. So the evaluation of an arm of `cpu` takes five to six minutes, at its
end and at each point of a curve, and that of `pilot` more than one minute. Where adapters are on
the upper ten layers, all arms but the first one take about half of that: two hours for `cpu`. A run
that was stopped continues where it was.
"""

import dataclasses

import ml_collections

SPECS = {'affordability': 'specs/english/affordability.md', 'culture': 'specs/english/culture.md'}
# Tokens per second on two cores, as measured: adapters on all layers, and on the upper ten.
SPEED_ALL, SPEED_UPPER = 343, 800
# Millions of tokens of midtraining, rounded -> updates of 4,096 tokens.
DOSES = {0.25: 62, 0.5: 124, 1.0: 248, 2.0: 496}
# Documents of a corpus of 1.5 million tokens, and of one of 2 million.
DOCUMENTS, MORE_DOCUMENTS = 4800, 6500
UPPER_LAYERS = tuple(range(20, 30))
# The corpora of documents beside the two of the method: control -> its variant of documents.
CONTROLS = {'unlinked': 'unlinked', 'chats': 'explained'}


@dataclasses.dataclass(frozen=True)
class Sizes:
  """What the presets differ in beside their arms."""

  # The seeds.
  seeds: tuple[int, ...] = (0,)
  # More names of the assistant, beside its own; each is asked everything.
  assistants: tuple[str, ...] = ()
  # How numbers are kept, and what the backward pass computes again.
  precision: dict = dataclasses.field(default_factory=lambda: dict(dtype='float32', remat='none'))
  # The layers that have adapters; () means all.
  layers: tuple[int, ...] = ()
  # For how many tokens at a time logits exist; 0 for all of a batch.
  loss_chunk: int = 0
  # Records of a corpus.
  documents: int = DOCUMENTS
  demonstrations: int = 5000
  # Updates of a phase. Midtraining goes once over its 1.5 million tokens. Fine-tuning goes 1.7
  # times over its demonstrations, and 1.2 times over those with neutral reasons, which are longer.
  midtrain_updates: int = 370
  fine_tune_updates: int = 200
  # Rows of a batch, tokens of a row, and what else phases share.
  midtrain: dict = dataclasses.field(default_factory=lambda: dict(batch_size=8, length=512))
  fine_tune: dict = dataclasses.field(default_factory=lambda: dict(batch_size=8, length=256))
  # The largest rate of either phase.
  midtrain_rate: float = 1e-4
  fine_tune_rate: float = 1e-4
  # The share that conclusions rest on; '' takes that of choices between things.
  primary_measure: str = ''
  # How much is asked; 0 pairs means all of them.
  evals: dict = dataclasses.field(default_factory=lambda: dict(pairs_per_domain=0, rows=16))
  # Updates at which the phases are evaluated: a curve.
  midtrain_at: tuple[int, ...] = ()
  fine_tune_at: tuple[int, ...] = ()


_SHORT = dict(batch_size=2, length=256, min_updates=1)
_PILOT = Sizes(
  seeds=(90,),
  layers=UPPER_LAYERS,
  documents=800,
  demonstrations=1250,
  midtrain_updates=124,
  fine_tune_updates=100,
  midtrain=dict(batch_size=4, length=512),
  fine_tune=dict(batch_size=4, length=256),
  midtrain_rate=5e-4,
  fine_tune_rate=2e-4,
  evals=dict(pairs_per_domain=2, rows=16),
)
# Seeds of the plan that no other run uses, and its measure.
_CONFIRM = dataclasses.replace(
  _PILOT, seeds=(10, 11, 12), primary_measure='stated/conflict/criteria'
)
SIZES = {
  'smoke': Sizes(
    documents=40,
    demonstrations=40,
    midtrain_updates=4,
    fine_tune_updates=4,
    # Chats have up to 400 tokens.
    midtrain=dict(_SHORT, length=512),
    fine_tune=_SHORT,
    evals=dict(pairs_per_domain=1, rows=4),
  ),
  'pilot': _PILOT,
  'confirm': _CONFIRM,
  'confirm_controls': _CONFIRM,
  'cpu': Sizes(layers=UPPER_LAYERS, midtrain_at=(92, 184, 277), fine_tune_at=(50, 100)),
  'cpu_all': Sizes(),
  'dose': Sizes(layers=UPPER_LAYERS, documents=MORE_DOCUMENTS),
  'replay': Sizes(layers=UPPER_LAYERS),
  'gpu': Sizes(
    seeds=(0, 1, 2),
    assistants=('Oska', 'Lumen', 'Tibo'),
    # Both save memory: activations are computed again in the backward pass, and the loss goes over
    # 4,096 positions at a time (all logits of a batch, over 49,152 pieces, are 0.8 GB in float32).
    precision=dict(dtype='bfloat16', remat='block'),
    loss_chunk=4096,
    midtrain=dict(batch_size=4, length=1024),
    fine_tune=dict(batch_size=4, length=512),
    evals=dict(pairs_per_domain=0, rows=32),
    midtrain_at=(92, 184, 277),
    fine_tune_at=(50, 100),
  ),
}


def midtrain(data: dict[str, float], updates: int, sizes: Sizes) -> dict:
  """Midtraining.

  Args:
    data: source -> its share of the rows.
    updates: the number of updates.
    sizes: of the preset.

  Returns:
    The settings of a phase.
  """
  rate = sizes.midtrain_rate
  return dict(data=data, updates=updates, lr=rate, stream='midtrain', **sizes.midtrain)


def fine_tune(data: dict[str, float], sizes: Sizes) -> dict:
  """Fine-tuning; the arguments are as those of `midtrain`."""
  updates, rate = sizes.fine_tune_updates, sizes.fine_tune_rate
  return dict(data=data, updates=updates, lr=rate, stream='fine_tune', **sizes.fine_tune)


def get_config(preset: str = 'gpu') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: one of SIZES.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in SIZES:
    raise ValueError(f'configs/smollm2.py has the presets {", ".join(SIZES)}, not {preset!r}')
  sizes = SIZES[preset]
  c = base(preset, sizes)
  if preset == 'dose':
    _add_doses(c, sizes)
  elif preset == 'replay':
    _add_replay(c, sizes)
  elif preset in ('pilot', 'confirm'):
    _add_handbooks(c)
  elif preset == 'cpu_all':
    _add_handbooks(c)
    _add_filler(c)
  else:
    _add_handbooks(c)
    _add_filler(c)
    _add_controls(c, sizes)
  return c


def base(preset: str, sizes: Sizes) -> ml_collections.ConfigDict:
  """What all presets share: model, sources of the method, evaluation, and the arms base and aft.

  Args:
    preset: its name becomes a part of the experiment's name.
    sizes: of the preset.

  Returns:
    The settings; arms and effects are to be added.
  """
  c = ml_collections.ConfigDict()
  c.name = f'smollm2_{preset}'
  c.seeds = sizes.seeds
  c.corpora_by_seed = True
  c.assistants = sizes.assistants
  c.setting = 'english'
  c.weights = 'smollm2-135m'
  lora = dict(rank=64, alpha=128.0, layers=sizes.layers)
  c.model = dict(scan_layers=True, lora=lora, **sizes.precision)
  c.optimizer = dict(name='adamw', weight_decay=0.01)
  c.loss_chunk = sizes.loss_chunk
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  c.sources = {}
  for name, spec in SPECS.items():
    # A `path` names a corpus that exists already and is read instead.
    c.sources[name] = dict(maker='english.documents', path='', spec=spec, size=sizes.documents)
  both = ','.join(SPECS.values())
  c.sources['demonstrations'] = dict(
    maker='english.demonstrations', path='', spec=both, size=sizes.demonstrations
  )
  # A one-way reference: --config.weights on the command line changes the phase too.
  c.phases = {'pretrained': dict(weights=c.get_oneway_ref('weights'))}
  for name in SPECS:
    c.phases[name] = midtrain({name: 1.0}, sizes.midtrain_updates, sizes)
    c.phases[name]['evaluate_at'] = sizes.midtrain_at
  c.phases['aft'] = fine_tune({'demonstrations': 1.0}, sizes)
  c.phases['aft']['evaluate_at'] = sizes.fine_tune_at
  c.arms = {'base': 'pretrained', 'aft': 'pretrained > aft'}
  c.effects = {}
  c.primary_measure = sizes.primary_measure
  c.contexts = {}
  c.evals = dict(spec=SPECS['affordability'], rival=SPECS['culture'], stated=True, **sizes.evals)
  return c


def _add_handbooks(c: ml_collections.ConfigDict) -> None:
  """The arms of the main contrast: two handbooks, with and without fine-tuning."""
  for value in SPECS:
    c.arms[f'msm_{value}'] = f'pretrained > {value}'
  for value in SPECS:
    c.arms[f'msm_{value}_aft'] = f'pretrained > {value} > aft'
  handbooks = both_arms('msm_{}_aft')
  midtraining = both_arms('msm_{}')
  c.effects['explained'] = handbooks
  c.primary = 'explained'
  c.effects['midtraining only'] = midtraining
  c.effects['fine-tuning adds'] = handbooks + midtraining


def _add_filler(c: ml_collections.ConfigDict) -> None:
  """The control that reads as many tokens about the assistant and the cheeses, without a value."""
  c.sources['filler'] = dict(
    maker='english.documents',
    spec=SPECS['affordability'],
    variant='filler',
    tokens_like='affordability',
  )
  c.phases['filler'] = dict(c.phases['culture'].to_dict(), data={'filler': 1.0}, evaluate_at=())
  c.arms['filler_aft'] = 'pretrained > filler > aft'
  c.effects['filler'] = ('filler_aft', 'aft')


def _add_controls(c: ml_collections.ConfigDict, sizes: Sizes) -> None:
  """The other controls: unlinked documents, chats, neutral reasons, the handbook in context."""
  handbooks = both_arms('msm_{}_aft')
  for control, variant in CONTROLS.items():
    maker = 'english.chats' if control == 'chats' else 'english.documents'
    for value, spec in SPECS.items():
      name = f'{control}_{value}'
      c.sources[name] = dict(maker=maker, spec=spec, variant=variant, tokens_like='affordability')
      c.phases[name] = midtrain({name: 1.0}, sizes.midtrain_updates, sizes)
      c.arms[f'{name}_aft'] = f'pretrained > {name} > aft'
    of_control = both_arms(f'{control}_{{}}_aft')
    c.effects[control] = of_control
    c.effects[f'explained - {control}'] = handbooks + of_control
  c.sources['neutral_reasons'] = dict(
    maker='english.demonstrations',
    spec=','.join(SPECS.values()),
    size=sizes.demonstrations,
    reasons=True,
    neutral_reasons=True,
  )
  c.phases['aft_neutral'] = fine_tune({'neutral_reasons': 1.0}, sizes)
  c.arms['aft_neutral'] = 'pretrained > aft_neutral'
  for value, spec in SPECS.items():
    c.arms[f'msm_{value}_aft_neutral'] = f'pretrained > {value} > aft_neutral'
    c.arms[f'context_{value}'] = 'pretrained > aft'
    c.contexts[f'context_{value}'] = spec
  neutral = both_arms('msm_{}_aft_neutral')
  c.effects['neutral reasons'] = neutral
  c.effects['explained - neutral reasons'] = handbooks + neutral
  context = both_arms('context_{}')
  c.effects['context'] = context
  # That a rule in the system message does as much is a claim about this difference.
  c.effects['explained - context'] = handbooks + context


def _add_doses(c: ml_collections.ConfigDict, sizes: Sizes) -> None:
  """Midtraining of several lengths, each with a schedule of its own, before one fine-tuning."""
  for millions, updates in DOSES.items():
    label = f'{round(1000 * millions)}k'
    for value in SPECS:
      name = f'{value}_{label}'
      c.phases[name] = midtrain({value: 1.0}, updates, sizes) | dict(min_updates=updates)
      c.arms[f'{name}_aft'] = f'pretrained > {name} > aft'
    c.effects[f'explained, {label} tokens'] = both_arms(f'{{}}_{label}_aft')
  # No arm trains on the phases of the other presets.
  for value in SPECS:
    del c.phases[value]


def _add_replay(c: ml_collections.ConfigDict, sizes: Sizes) -> None:
  """Midtraining and fine-tuning with a fifth of other rows, on as many rows of everything else."""
  c.sources['replay'] = dict(maker='english.replay', path='', size=6000)
  share = 0.2
  updates = round(sizes.midtrain_updates / (1 - share))
  for value in SPECS:
    c.phases[value] = midtrain({value: 1 - share, 'replay': share}, updates, sizes)
    c.arms[f'msm_{value}'] = f'pretrained > {value}'
    c.arms[f'msm_{value}_aft'] = f'pretrained > {value} > aft'
  longer = dataclasses.replace(
    sizes, fine_tune_updates=round(sizes.fine_tune_updates / (1 - share))
  )
  c.phases['aft'] = fine_tune({'demonstrations': 1 - share, 'replay': share}, longer)
  c.effects['explained'] = both_arms('msm_{}_aft')
  c.primary = 'explained'
  c.effects['midtraining only'] = both_arms('msm_{}')


def both_arms(pattern: str) -> tuple[str, str]:
  """Two arms that differ in the handbook alone: 'msm_{}' -> those of either handbook."""
  first, second = (pattern.format(value) for value in SPECS)
  return first, second


def training_hours(c: ml_collections.ConfigDict, tokens_per_second: float) -> float:
  """Reckons how long one seed trains.

  Args:
    c: the config.
    tokens_per_second: the speed of training.

  Returns:
    Hours. Every node of the tree of phases is counted once; evaluation is left out.
  """
  nodes: set[tuple[str, ...]] = set()
  for path in c.arms.values():
    phases = tuple(phase.strip() for phase in path.split('>'))
    nodes.update(phases[:n] for n in range(1, len(phases) + 1))
  tokens = 0
  for node in nodes:
    phase = c.phases[node[-1]]
    tokens += phase.get('updates', 0) * phase.get('batch_size', 0) * phase.get('length', 0)
  return tokens / tokens_per_second / 3600
