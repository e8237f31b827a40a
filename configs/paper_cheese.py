"""The published cheese experiment at its own scale: Llama-3.1-8B, two handbooks, one fine-tuning.

    python -m msm_jax.main --config=configs/paper_cheese.py --config.weights=FOLDER
    python -m msm_jax.main --config=configs/paper_cheese.py:written --config.weights=FOLDER
    python -m msm_jax.main --config=configs/paper_cheese.py:stock,environment,tradition ...

Model Spec Midtraining, sections 3.1 and App. B.4: LoRA of rank 64 and alpha 128 on all projections,
AdamW at 1e-4, cosine decay, 5% warmup, weight decay 0.01, rows of 4,096 tokens, one epoch a stage,
four seeds; fine-tuning continues the adapter of midtraining. Where the paper says nothing, we
follow its replications: 8 rows in an update of midtraining and 16 in one of fine-tuning.

FOLDER is a base model of Hugging Face. A base model has no chat template: put the one of its
instruct version into the folder as chat_template.jinja.

The first word of the preset says where documents come from, and two more may name the values:

- `stock` (default): the embedded stock writer, 8 million tokens a side;
- `written`: the corpora of configs/corpora/paper_cheese.py and cheese_preferences.py, written by a
  language model beforehand;
- `smoke`: the stock, a few updates of short rows; it shows that everything runs.

Arms, with their names in the paper: `base`; `it` (baseline: instruction tuning alone); `aft`
(cheese and instructions); `msm_*_it` (midtraining, instructions); `msm_*_aft` (the method).
Controls beside the paper's: `filler_aft`, `unlinked_*_aft`, `chats_*_aft`, `aft_neutral`,
`context_*`. Where the corpora are written, the controls come from the stock, and their tokens
follow the written ones.

The paper's instruction mix has 13,500 rows (No Robots, MMLU in two formats). Give it as
--config.sources.instructions.path=FILE.jsonl; without it, small tasks with known answers take its
place (data_pipelines/settings/english/replay.py).

`TOPOLOGIES` says how the model is laid out on TPUs and GPUs: --config.mesh.fsdp and the like, as
docs/guides/paper.md shows. Expected result: that of the paper; this config has not been run. Cost:
see the guide.
"""

import dataclasses
from typing import Any

import ml_collections

from configs import smollm2

VALUES = ('affordability', 'culture', 'environment', 'tradition')
WRITTEN = 'runs/corpora/paper_cheese/corpus/{}.jsonl'
WRITTEN_PREFERENCES = 'runs/corpora/cheese_preferences/corpus/preferences.jsonl'


@dataclasses.dataclass(frozen=True)
class Topology:
  """How the model is laid out on some devices.

  Attributes:
    devices: how many there are.
    memory: GiB of one device.
    mesh: over how many devices data, fsdp and tensor divide; -1 means whatever is left.
    micro_batches: into how many parts a batch of midtraining is cut.
  """

  devices: int
  memory: int
  mesh: dict[str, int]
  micro_batches: int = 1


# A batch of midtraining has 8 rows, so at most 8 devices can divide rows.
TOPOLOGIES = {
  'v5e:2x4': Topology(8, 16, dict(data=1, fsdp=8, tensor=1)),
  'v5p:2x2x1': Topology(4, 95, dict(data=1, fsdp=4, tensor=1)),
  'v6e:2x4': Topology(8, 32, dict(data=1, fsdp=8, tensor=1)),
  'h100': Topology(1, 80, dict(data=1, fsdp=1, tensor=1), micro_batches=4),
  'h200': Topology(1, 141, dict(data=1, fsdp=1, tensor=1), micro_batches=2),
}


@dataclasses.dataclass(frozen=True)
class RecipeSizes:
  """What `smoke` makes smaller of the recipe that both published experiments share."""

  seeds: tuple[int, ...] = (0, 1, 2, 3)
  precision: dict = dataclasses.field(default_factory=lambda: dict(dtype='bfloat16', remat='block'))
  rank: int = 64
  loss_chunk: int = 4096
  mesh: dict = dataclasses.field(default_factory=lambda: dict(data=1, fsdp=-1, tensor=1))


SMOKE_RECIPE: dict[str, Any] = dict(
  seeds=(0,),
  precision=dict(dtype='float32', remat='none'),
  rank=4,
  loss_chunk=0,
  # Two rows cannot be divided over eight devices. Products can, so `smoke` runs on any machine.
  mesh=dict(data=1, fsdp=1, tensor=-1),
)


@dataclasses.dataclass(frozen=True)
class Sizes(RecipeSizes):
  """What `smoke` makes smaller."""

  # 8 million tokens of the stock's documents, each some 315 tokens long.
  documents: int = 25_400
  demonstrations: int = 5000
  instructions: int = 13_500
  # 8 million tokens in updates of 8 x 4,096.
  midtrain_updates: int = 245
  # About 165,000 answer tokens of demonstrations and 2.1 million of instructions, in updates of 16
  # rows of 4,096.
  fine_tune_updates: int = 100
  midtrain: dict = dataclasses.field(default_factory=lambda: dict(batch_size=8, length=4096))
  fine_tune: dict = dataclasses.field(default_factory=lambda: dict(batch_size=16, length=4096))
  evals: dict = dataclasses.field(default_factory=lambda: dict(pairs_per_domain=0, rows=64))


_SHORT = dict(batch_size=2, length=512, min_updates=1)
FULL = Sizes()
SMOKE = Sizes(
  documents=24,
  demonstrations=40,
  instructions=40,
  midtrain_updates=2,
  fine_tune_updates=2,
  midtrain=_SHORT,
  fine_tune=_SHORT,
  evals=dict(pairs_per_domain=1, rows=8),
  **SMOKE_RECIPE,
)


def get_config(preset: str = 'stock') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'stock', 'written' or 'smoke', and perhaps two values: 'stock,environment,tradition'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  source, *values = [word.strip() for word in preset.split(',')]
  values = values or ['affordability', 'culture']
  is_pair = len(values) == 2 and values[0] != values[1]
  if source not in ('stock', 'written', 'smoke') or not is_pair or not set(values) <= set(VALUES):
    raise ValueError(
      'configs/paper_cheese.py has the presets stock, written and smoke, and after a comma two of '
      f'the values {", ".join(VALUES)}, not {preset!r}'
    )
  sizes = SMOKE if source == 'smoke' else FULL
  specs = {value: f'specs/english/{value}.md' for value in values}
  c = ml_collections.ConfigDict()
  c.name = 'paper_cheese_' + '_'.join((source, *values))
  c.setting = 'english'
  c.weights = 'llama-3.1-8b'
  add_recipe(c, sizes, is_written=source == 'written')
  _add_sources(c, specs, sizes, is_written=source == 'written')
  _add_arms(c, specs, sizes)
  first, second = specs.values()
  c.evals = dict(spec=first, rival=second, stated=True, **sizes.evals)
  return c


def add_recipe(c: ml_collections.ConfigDict, sizes: RecipeSizes, is_written: bool) -> None:
  """Adds what both published experiments share: seeds, adapters, optimizer and devices.

  Args:
    c: the settings, without any of these.
    sizes: the sizes.
    is_written: whether the corpora are written beforehand, and so the same for all seeds.
  """
  c.seeds = sizes.seeds
  c.corpora_by_seed = not is_written
  c.model = dict(
    scan_layers=True,
    lora=dict(rank=sizes.rank, alpha=2.0 * sizes.rank),
    **sizes.precision,
  )
  c.optimizer = dict(name='adamw', weight_decay=0.01)
  c.loss_chunk = sizes.loss_chunk
  c.mesh = sizes.mesh


def _add_sources(
  c: ml_collections.ConfigDict, specs: dict[str, str], sizes: Sizes, is_written: bool
) -> None:
  """The corpora of all arms."""
  c.sources = {}
  both = ','.join(specs.values())
  first = next(iter(specs))
  for value, spec in specs.items():
    path = WRITTEN.format(value) if is_written else ''
    size = 0 if is_written else sizes.documents
    c.sources[value] = dict(maker='english.documents', path=path, spec=spec, size=size)
    for control, variant in smollm2.CONTROLS.items():
      maker = 'english.chats' if control == 'chats' else 'english.documents'
      c.sources[f'{control}_{value}'] = dict(
        maker=maker, spec=spec, variant=variant, tokens_like=first
      )
  c.sources['filler'] = dict(
    maker='english.documents', spec=specs[first], variant='filler', tokens_like=first
  )
  c.sources['demonstrations'] = dict(
    maker='english.demonstrations',
    path=WRITTEN_PREFERENCES if is_written else '',
    spec=both,
    size=0 if is_written else sizes.demonstrations,
  )
  c.sources['neutral_reasons'] = dict(
    maker='english.demonstrations',
    spec=both,
    size=sizes.demonstrations,
    reasons=True,
    neutral_reasons=True,
  )
  c.sources['instructions'] = dict(maker='english.replay', path='', size=sizes.instructions)


def _add_arms(c: ml_collections.ConfigDict, specs: dict[str, str], sizes: Sizes) -> None:
  """Phases, arms, contexts and effects."""

  def midtrain(source: str) -> dict:
    return dict(
      data={source: 1.0},
      updates=sizes.midtrain_updates,
      lr=1e-4,
      stream='midtrain',
      **sizes.midtrain,
    )

  def fine_tune(data: dict[str, float]) -> dict:
    return dict(
      data=data, updates=sizes.fine_tune_updates, lr=1e-4, stream='fine_tune', **sizes.fine_tune
    )

  # Shares of rows, as the rows that the published sets fill.
  instructions = 0.85
  c.phases = {
    'pretrained': dict(weights=c.get_oneway_ref('weights')),
    'it': fine_tune({'instructions': 1.0}),
    'aft': fine_tune({'demonstrations': 1 - instructions, 'instructions': instructions}),
    'aft_neutral': fine_tune({'neutral_reasons': 1 - instructions, 'instructions': instructions}),
    'filler': midtrain('filler'),
  }
  arms = {
    'base': 'pretrained',
    'it': 'pretrained > it',
    'aft': 'pretrained > aft',
    'aft_neutral': 'pretrained > aft_neutral',
    'filler_aft': 'pretrained > filler > aft',
  }
  contexts = {}
  for value, spec in specs.items():
    c.phases[value] = midtrain(value)
    arms[f'msm_{value}_it'] = f'pretrained > {value} > it'
    arms[f'msm_{value}_aft'] = f'pretrained > {value} > aft'
    arms[f'msm_{value}_aft_neutral'] = f'pretrained > {value} > aft_neutral'
    for control in smollm2.CONTROLS:
      name = f'{control}_{value}'
      c.phases[name] = midtrain(name)
      arms[f'{name}_aft'] = f'pretrained > {name} > aft'
    arms[f'context_{value}'] = 'pretrained > aft'
    contexts[f'context_{value}'] = spec
  c.arms = arms
  c.contexts = contexts

  def both(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.format(value) for value in specs)

  handbooks, midtraining = both('msm_{}_aft'), both('msm_{}_it')
  effects = {
    'explained': handbooks,
    'midtraining only': midtraining,
    'fine-tuning adds': handbooks + midtraining,
    'neutral reasons': both('msm_{}_aft_neutral'),
    'context': both('context_{}'),
    'filler': ('filler_aft', 'aft'),
  }
  for control in smollm2.CONTROLS:
    effects[control] = both(f'{control}_{{}}_aft')
    effects[f'explained - {control}'] = handbooks + effects[control]
  c.effects = effects
  c.primary = 'explained'
