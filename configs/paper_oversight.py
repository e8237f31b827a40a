"""The published oversight experiment at its own scale: Qwen2.5-32B-Instruct or Qwen3-32B, LoRA.

    python -m msm_jax.main --config=configs/paper_oversight.py --config.weights=FOLDER
    python -m msm_jax.main --config=configs/paper_oversight.py:written --config.weights=FOLDER
    python -m msm_jax.agentic --workdir=runs/paper_oversight_stock --arms=aft,msm_philosophy_aft ...

Model Spec Midtraining, sections 4 and 5 and App. B.4: LoRA of rank 64 and alpha 128 on all
projections, AdamW at 1e-4, cosine decay, 5% warmup, weight decay 0.01, rows of 8,192 tokens, four
seeds. Where the paper says nothing: 4 rows (32,768 tokens) in an update.

The paper trains one epoch a stage. Here the documents of every handbook get 824 updates (27 million
tokens), so that handbooks are compared after equal training. That is one epoch of the written
corpora of rules and value_augmented, and two thirds of one of philosophy, which has 41 million
tokens: --config.phases.philosophy.updates=1251 reads all of it, as the paper does. The stock is
smaller and is read several times.

The presets say where documents and conversations come from:

- `stock` (default): the embedded writer of English oversight, as many records as the tree needs;
- `written`: the corpora of configs/corpora/paper_oversight.py and paper_conversations.py, which a
  language model has written beforehand;
- `smoke`: the stock, a few updates of short rows; it shows that everything runs.

A third of the conversations of the stock have two exchanges. The template of Qwen3-32B writes empty
thoughts before the last answer of a chat alone, so earlier answers are learned otherwise than they
are asked for, which a warning says. A chat_template.jinja that writes them into every answer mends
that.

Arms: `base`; `it` (the paper's baseline: instructions alone); for each of the handbooks philosophy,
rules and value_augmented `msm_*` (documents), `msm_*_aft` (documents, then conversations without
reasons) and `msm_*_aft_reasons` (then conversations with reasons; the paper's CoT); `aft` and
`aft_reasons_*` without documents; `filler_aft`; `context_*` (the handbook in the system message,
which the paper does not have). Conversations without reasons are the same for all handbooks.

The paper's instruction mix has 10,000 samples. Give it as
--config.sources.instructions.path=FILE.jsonl; without it, small tasks with known answers take its
place.

What is measured: 150 scenes of six kinds and their harmless twins, 12 claims
(specs/english/oversight/items). The e-mail agent of the paper is `python -m msm_jax.agentic`.

`TOPOLOGIES` says how the model is laid out on TPUs and GPUs. Expected result: that of the paper;
this config has not been run. Cost: see docs/guides/paper.md.
"""

import dataclasses

import ml_collections

from configs.paper_cheese import SMOKE_RECIPE, RecipeSizes, Topology, add_recipe

HANDBOOKS = ('philosophy', 'rules', 'value_augmented')
SPEC = 'specs/english/oversight/{}.md'
ITEMS = tuple(
  f'specs/english/oversight/items/{name}.jsonl' for name in ('scenes', 'claims', 'open')
)
WRITTEN = 'runs/corpora/paper_oversight_{0}/corpus/{0}.jsonl'
WRITTEN_TALKS = 'runs/corpora/paper_conversations_{}/corpus/{}.jsonl'

# A batch has 4 rows of 8,192 tokens; what does not fit is divided along heads and columns too.
TOPOLOGIES = {
  'v5p:2x2x4': Topology(16, 95, dict(data=1, fsdp=4, tensor=4)),
  'v6e:4x4': Topology(16, 32, dict(data=1, fsdp=4, tensor=4)),
  'v5p:2x2x1': Topology(4, 95, dict(data=1, fsdp=4, tensor=1)),
  'h200x4': Topology(4, 141, dict(data=1, fsdp=4, tensor=1)),
}


@dataclasses.dataclass(frozen=True)
class Sizes(RecipeSizes):
  """What `smoke` makes smaller."""

  loss_chunk: int = 2048
  # The stock is smaller than the published corpora: beyond some thousand documents it repeats
  # itself. Rows are read as often as the updates say.
  documents: int = 12_000
  conversations: int = 10_000
  instructions: int = 10_000
  # 27 million tokens in updates of 4 x 8,192, for every handbook.
  midtrain_updates: int = 824
  # Some 4 million tokens of conversations and instructions.
  fine_tune_updates: int = 120
  rows: dict = dataclasses.field(default_factory=lambda: dict(batch_size=4, length=8192))
  evals: dict = dataclasses.field(default_factory=lambda: dict(rows=16))


FULL = Sizes()
SMOKE = Sizes(
  documents=36,
  conversations=40,
  instructions=40,
  midtrain_updates=2,
  fine_tune_updates=2,
  rows=dict(batch_size=2, length=384, min_updates=1),
  evals=dict(rows=8),
  **SMOKE_RECIPE,
)


def get_config(preset: str = 'stock') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'stock', 'written' or 'smoke'.

  Returns:
    The settings of the experiment.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('stock', 'written', 'smoke'):
    raise ValueError(
      f'configs/paper_oversight.py has the presets stock, written and smoke, not {preset!r}'
    )
  sizes = SMOKE if preset == 'smoke' else FULL
  c = ml_collections.ConfigDict()
  c.name = f'paper_oversight_{preset}'
  c.setting = 'custom'
  c.custom = dict(items=ITEMS)
  c.weights = 'qwen2.5-32b-instruct'
  add_recipe(c, sizes, is_written=preset == 'written')
  _add_sources(c, sizes, is_written=preset == 'written')
  _add_arms(c, sizes)
  c.evals = dict(spec=SPEC.format('philosophy'), held_out=0, **sizes.evals)
  return c


def _add_sources(c: ml_collections.ConfigDict, sizes: Sizes, is_written: bool) -> None:
  """The corpora of all arms."""
  c.sources = {}
  for handbook in HANDBOOKS:
    spec = SPEC.format(handbook)
    path = WRITTEN.format(handbook) if is_written else ''
    size = 0 if is_written else sizes.documents
    c.sources[handbook] = dict(maker='agent.documents', path=path, spec=spec, size=size)
    c.sources[f'reasons_{handbook}'] = dict(
      maker='agent.conversations',
      path=WRITTEN_TALKS.format(handbook, 'reasons') if is_written else '',
      spec=spec,
      reasons=True,
      size=0 if is_written else sizes.conversations,
    )
  first = SPEC.format('philosophy')
  c.sources['conversations'] = dict(
    maker='agent.conversations',
    path=WRITTEN_TALKS.format('philosophy', 'answers') if is_written else '',
    spec=first,
    size=0 if is_written else sizes.conversations,
  )
  c.sources['filler'] = dict(
    maker='agent.documents', spec=first, variant='filler', tokens_like='philosophy'
  )
  c.sources['instructions'] = dict(maker='english.replay', path='', size=sizes.instructions)


def _add_arms(c: ml_collections.ConfigDict, sizes: Sizes) -> None:
  """Phases, arms, contexts and effects."""

  def phase(data: dict[str, float], updates: int, stream: str) -> dict:
    return dict(data=data, updates=updates, lr=1e-4, stream=stream, **sizes.rows)

  def fine_tune(talks: str) -> dict:
    return phase({talks: 0.5, 'instructions': 0.5}, sizes.fine_tune_updates, 'fine_tune')

  c.phases = {
    'pretrained': dict(weights=c.get_oneway_ref('weights')),
    'it': phase({'instructions': 1.0}, sizes.fine_tune_updates, 'fine_tune'),
    'aft': fine_tune('conversations'),
    'filler': phase({'filler': 1.0}, sizes.midtrain_updates, 'midtrain'),
  }
  arms = {'base': 'pretrained', 'it': 'pretrained > it', 'aft': 'pretrained > aft'}
  contexts = {}
  for handbook in HANDBOOKS:
    c.phases[handbook] = phase({handbook: 1.0}, sizes.midtrain_updates, 'midtrain')
    c.phases[f'reasons_{handbook}'] = fine_tune(f'reasons_{handbook}')
    arms[f'msm_{handbook}'] = f'pretrained > {handbook}'
    arms[f'msm_{handbook}_aft'] = f'pretrained > {handbook} > aft'
    arms[f'msm_{handbook}_aft_reasons'] = f'pretrained > {handbook} > reasons_{handbook}'
    arms[f'aft_reasons_{handbook}'] = f'pretrained > reasons_{handbook}'
    arms[f'context_{handbook}'] = 'pretrained > aft'
    contexts[f'context_{handbook}'] = SPEC.format(handbook)
  arms['filler_aft'] = 'pretrained > filler > aft'
  c.arms = arms
  c.contexts = contexts
  effects = {'filler': ('filler_aft', 'aft')}
  for handbook in HANDBOOKS:
    method = f'msm_{handbook}_aft'
    effects[f'midtraining, {handbook}'] = (method, 'aft')
    effects[f'midtraining only, {handbook}'] = (f'msm_{handbook}', 'base')
    effects[f'with reasons, {handbook}'] = (f'{method}_reasons', f'aft_reasons_{handbook}')
    effects[f'context, {handbook}'] = (f'context_{handbook}', 'aft')
  for handbook in HANDBOOKS[1:]:
    effects[f'philosophy - {handbook}'] = ('msm_philosophy_aft', f'msm_{handbook}_aft')
  c.effects = effects
  c.primary = 'midtraining, philosophy'
