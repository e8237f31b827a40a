"""ConfigDict -> frozen, checked dataclasses. Every error names the key and says what to change."""

import dataclasses
import importlib.util
import itertools
import math
from collections.abc import Mapping

from data_pipelines.corpora import SourceConfig, check_source
from data_pipelines.settings.english.handbook import EnglishConfig
from data_pipelines.settings.office.pretraining import OfficeConfig
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world.pretraining import WorldConfig
from msm_jax.base.checks import (
  AT_LEAST_ONE,
  MIN_POSITIVE,
  NON_NEGATIVE,
  SHARE,
  hint_for,
  one_of,
  within,
)
from msm_jax.base.errors import ConfigError


def path_of(arm: str) -> tuple[str, ...]:
  return tuple(p.strip() for p in arm.split('>'))


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How the frequencies of rotary positions are stretched beyond the length that a model was first trained on.

  linear: all divided by `factor`. llama3: those with a wavelength above original_length / low are, those below original_length / high are
  not, and those in between in part (Llama 3.1).
  """

  kind: str = 'llama3'
  factor: float = 8.0
  low: float = 1.0
  high: float = 4.0
  original_length: int = 8192

  def __post_init__(self):
    one_of('model.rope_scaling.kind', self.kind, ('linear', 'llama3'))
    within(
      'model.rope_scaling.',
      self,
      factor=AT_LEAST_ONE,
      low=(MIN_POSITIVE, math.inf),
      high=(MIN_POSITIVE, math.inf),
      original_length=AT_LEAST_ONE,
    )
    if self.kind == 'llama3' and self.low >= self.high:
      raise ConfigError(f'model.rope_scaling.low={self.low} must be below high={self.high}')


PROJECTIONS = ('wq', 'wk', 'wv', 'wo', 'w_gate', 'w_up', 'w_down')


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Low-rank adapters (Hu et al. 2021) beside the named projections; the defaults are the published recipe's (Model Spec Midtraining, App. B.4).
  With them, nothing else is trained."""

  rank: int = 64
  alpha: float = 128.0
  dropout: float = 0.0
  targets: tuple[str, ...] = PROJECTIONS

  def __post_init__(self):
    within('model.lora.', self, rank=AT_LEAST_ONE, alpha=(MIN_POSITIVE, math.inf), dropout=SHARE)
    if not self.targets or len(set(self.targets)) != len(self.targets):
      raise ConfigError(
        f'model.lora.targets={self.targets} must name at least one projection, each once'
      )
    for t in self.targets:
      one_of('model.lora.targets', t, PROJECTIONS)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The decoder; families are settings of these fields.

  Attributes:
    vocab_size: 0 means as large as the tokenizer.
    qkv_bias: queries, keys and values have a bias (Qwen 2).
    qk_norm: queries and keys are normalised per head (Qwen 3, Gemma 3).
    post_norms: each branch is normalised on its way out too (Gemma).
    norm_offset: added to the scales of all norms (Gemma stores them less 1).
    activation: of the gated feed-forward: silu, or gelu in its tanh form.
    embed_scale: embeddings are multiplied by it.
    query_scale: of the logits of attention; 0 means head_dim ** -0.5.
    local_layers: for each layer whether it looks back at most `local_window` tokens, with rotary base `local_theta` and no rope_scaling; empty: none.
    logit_softcap: logits x become cap tanh(x / cap); 0 for none.
    max_length: what the weights were trained for; told on export, no limit here.
  """

  d_model: int = 128
  n_layers: int = 4
  n_heads: int = 4
  n_kv_heads: int = 4
  head_dim: int = 32
  d_ff: int = 384
  vocab_size: int = 0
  rope_theta: float = 10_000.0
  rope_scaling: RopeScaling | None = None
  norm_eps: float = 1e-5
  qkv_bias: bool = False
  qk_norm: bool = False
  post_norms: bool = False
  norm_offset: float = 0.0
  activation: str = 'silu'
  embed_scale: float = 1.0
  query_scale: float = 0.0
  local_layers: tuple[bool, ...] = ()
  local_window: int = 0
  local_theta: float = 10_000.0
  logit_softcap: float = 0.0
  max_length: int = 0
  tie_embeddings: bool = True
  init_scale: float = 1.0
  lora: LoraConfig | None = None
  dtype: str = 'float32'
  scan_layers: bool = False
  remat: str = 'none'

  def __post_init__(self):
    sizes = dict.fromkeys(
      ('d_model', 'n_layers', 'n_heads', 'n_kv_heads', 'head_dim', 'd_ff'), AT_LEAST_ONE
    )
    within(
      'model.',
      self,
      **sizes,
      vocab_size=NON_NEGATIVE,
      **dict.fromkeys(('rope_theta', 'norm_eps', 'init_scale'), (MIN_POSITIVE, math.inf)),
    )
    if self.n_heads % self.n_kv_heads:
      raise ConfigError(
        f'model.n_kv_heads={self.n_kv_heads} must divide model.n_heads={self.n_heads}'
      )
    if self.head_dim % 2:
      raise ConfigError(f'model.head_dim={self.head_dim} must be even (rotary embedding)')
    if self.local_layers and (
      len(self.local_layers) != self.n_layers or (any(self.local_layers) and self.local_window < 1)
    ):
      raise ConfigError(
        f'model.local_layers must name each of the {self.n_layers} layers, and model.local_window={self.local_window} be at least 1'
      )
    within(
      'model.',
      self,
      **dict.fromkeys(('query_scale', 'local_window', 'logit_softcap', 'max_length'), NON_NEGATIVE),
    )
    within(
      'model.', self, embed_scale=(MIN_POSITIVE, math.inf), local_theta=(MIN_POSITIVE, math.inf)
    )
    one_of('model.activation', self.activation, ('silu', 'gelu'))
    one_of('model.remat', self.remat, ('none', 'dots', 'block'))
    one_of('model.dtype', self.dtype, ('float32', 'bfloat16'))


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Sizes of the mesh axes; -1 means whatever is left."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """AdamW (Loshchilov and Hutter 2019), or Muon for the matrices of the blocks with AdamW for the rest (Liu et al. 2025, consistent RMS,
  so that both take the same learning rate).

  Matrices decay, norms don't. `clip` is the global gradient norm, 0 for none."""

  name: str = 'adamw'
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.01
  clip: float = 1.0

  def __post_init__(self):
    one_of('optimizer.name', self.name, ('adamw', 'muon'))
    within(
      'optimizer.',
      self,
      b1=SHARE,
      b2=SHARE,
      eps=(MIN_POSITIVE, 1),
      weight_decay=NON_NEGATIVE,
      clip=NON_NEGATIVE,
    )


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
  """One phase: data, schedule, budget.

  Attributes:
    data: source name -> share of the packed rows.
    updates: optimizer updates.
    weights: the phase is no training: it stands for these weights, a folder of Hugging Face or a name that `msm_jax.zoo` knows.
    adapter: likewise, for a PEFT adapter over its parent's weights.
    lr: peak learning rate.
    embed_lr: peak rate of the embedding (and the unembedding, if untied); 0 means `lr`.
    min_updates: the phase refuses to start with fewer (a handful of updates fakes a null result).
    stream: which order of the data: phases of one stream and seed draw alike, so that arms with mirrored corpora differ in nothing else;
      '' is the phase's own.
    warmup: share of the updates with rising learning rate.
    schedule: 'cosine' or 'linear' decay to `final` x peak, or 'constant'.
    micro_batches: gradients are accumulated over this many equal parts of a batch.
  """

  data: Mapping[str, float] = dataclasses.field(default_factory=dict)
  updates: int = 0
  weights: str = ''
  adapter: str = ''
  lr: float = 1e-3
  embed_lr: float = 0.0
  warmup: float = 0.05
  schedule: str = 'cosine'
  final: float = 0.1
  batch_size: int = 32
  length: int = 128
  micro_batches: int = 1
  min_updates: int = 100
  stream: str = ''
  checkpoint_every: int = 200

  @property
  def is_import(self) -> bool:
    return bool(self.weights or self.adapter)

  def check(self, name: str) -> None:
    where = f'phases.{name}'
    if self.is_import:
      if self.data or self.updates or (self.weights and self.adapter):
        raise ConfigError(
          f'{where} names {"weights" if self.weights else "an adapter"} and so takes neither data nor updates, nor both of them'
        )
      return
    one_of(f'{where}.schedule', self.schedule, ('cosine', 'linear', 'constant'))
    if self.updates < self.min_updates:
      raise ConfigError(
        f'{where}: {self.updates} updates are fewer than its floor of {self.min_updates} (so few fake a null result); raise {where}.updates '
        f'or lower {where}.min_updates'
      )
    within(
      f'{where}.',
      self,
      **dict.fromkeys(
        ('updates', 'batch_size', 'length', 'micro_batches', 'checkpoint_every'), AT_LEAST_ONE
      ),
    )
    within(
      f'{where}.',
      self,
      lr=(MIN_POSITIVE, math.inf),
      embed_lr=NON_NEGATIVE,
      warmup=SHARE,
      final=SHARE,
    )
    if self.batch_size % self.micro_batches:
      raise ConfigError(
        f'{where}.micro_batches={self.micro_batches} must divide batch_size={self.batch_size}'
      )
    if not self.data:
      raise ConfigError(f'{where}.data is empty; name at least one source and its share')
    for source, share in self.data.items():
      if not 0 < share < math.inf:
        raise ConfigError(
          f'{where}.data.{source}={share} must be a positive share; leave the source out instead'
        )


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
  """SentencePiece, trained on the named sources' text."""

  vocab_size: int = 2048
  sources: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """What is measured on every arm.

  Attributes:
    spec: handbook whose value the conflict pairs count as success.
    rival: handbook of the value it is measured against; '' takes the first other value that explains the demonstrations as well.
    pairs_per_domain: at most so many forced choices per assistant, domain and pair type (0: all).
    scenes_per_kind: scenes per assistant, tier and kind of scene (office).
    personas: questions per ordinary persona or agent (document-only ones and talkers get four times as many, document-only agents eight).
    held_out: records of each pretraining source that perplexity is measured on.
    rows: rows per scored batch, as long as the longest phase's.
  """

  spec: str = ''
  rival: str = ''
  pairs_per_domain: int = 16
  scenes_per_kind: int = 8
  personas: int = 1
  held_out: int = 100
  seed: int = 0
  rows: int = 32

  def __post_init__(self):
    within(
      'evals.',
      self,
      pairs_per_domain=NON_NEGATIVE,
      held_out=NON_NEGATIVE,
      **dict.fromkeys(('scenes_per_kind', 'personas', 'rows'), AT_LEAST_ONE),
    )


@dataclasses.dataclass(frozen=True)
class GatesConfig:
  """Floors and ceilings that a result must clear before anybody concludes from it; a miss is shown, it does not stop the run."""

  documents_only: float = (
    0.9  # personas met only in documents: does the base turn documents into behaviour?
  )
  recall: float = 0.9  # of the handbook's value after midtraining
  trained_items: float = 0.9  # demonstrations learned by fine-tuning
  perplexity_ratio: float = 1.25  # of held-out pretraining text, against the base


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
  """Everything a run depends on. `arms` maps an arm to its path of phases, 'pretrain > msm > aft'."""

  name: str
  sources: Mapping[str, SourceConfig]
  phases: Mapping[str, PhaseConfig]
  arms: Mapping[str, str]
  seeds: tuple[int, ...] = (0,)
  spec: str = ''  # only so that `--config.spec=...` can reach every place that refers to it
  weights: str = ''  # the same for `--config.weights=...`
  assistants: tuple[
    str, ...
  ] = ()  # replicates: more names under which each handbook is taught, beside its own
  setting: str = 'world'  # embedded: 'world' (people and things) or 'office' (agents at work); or 'english', for a model that knows this world
  world: WorldConfig = WorldConfig()
  office: OfficeConfig = OfficeConfig()
  english: EnglishConfig = EnglishConfig()
  tokenizer: TokenizerConfig = TokenizerConfig()
  model: ModelConfig = ModelConfig()
  mesh: MeshConfig = MeshConfig()
  optimizer: OptimizerConfig = OptimizerConfig()
  loss_chunk: int = 0
  xla_flags: str = (
    ''  # for the compiler, set before it starts; XLA_FLAGS of the environment goes after them
  )
  max_skipped: int = 20
  tensorboard: bool = False  # each phase's numbers for TensorBoard too, in its folder
  contexts: Mapping[str, str] = dataclasses.field(
    default_factory=dict
  )  # arm -> handbook that stands in its system message when it is evaluated
  effects: Mapping[str, tuple[str, ...]] = dataclasses.field(
    default_factory=dict
  )  # two arms (a - b), or four ((a - b) - (c - d))
  evals: EvalConfig = EvalConfig()
  gates: GatesConfig = GatesConfig()

  def __post_init__(self):
    one_of('setting', self.setting, tuple(SETTINGS))
    if len({a.casefold() for a in self.assistants}) != len(self.assistants):
      raise ConfigError(f'assistants={self.assistants} must name each replicate once')
    if not self.seeds or len(set(self.seeds)) != len(self.seeds):
      raise ConfigError(f'seeds={self.seeds} must name at least one seed, each once')
    for arm, path in self.arms.items():
      for phase in path_of(path):
        if phase not in self.phases:
          raise ConfigError(f'arms.{arm} names phase {phase!r}{hint_for(phase, self.phases)}')
    for name, source in self.sources.items():
      if source.tokens_like and source.tokens_like not in self.sources:
        raise ConfigError(
          f'sources.{name}.tokens_like names {source.tokens_like!r}{hint_for(source.tokens_like, self.sources)}'
        )
      check_source(name, source)
    used = {phase for path in self.arms.values() for phase in path_of(path)}
    self._check_imports([path_of(p) for p in self.arms.values()])
    within('', self, loss_chunk=NON_NEGATIVE, max_skipped=NON_NEGATIVE)
    for world in (self.world, self.office, self.english):
      numbers = {
        f.name: f.default for f in dataclasses.fields(world) if isinstance(f.default, (int, float))
      }
      within(
        f'{self.setting}.',
        world,
        **{k: SHARE if isinstance(v, float) else NON_NEGATIVE for k, v in numbers.items()},
      )
    for name, phase in self.phases.items():
      phase.check(name)
      tokens = phase.batch_size // phase.micro_batches * phase.length
      if 0 < self.loss_chunk < tokens and tokens % self.loss_chunk:
        raise ConfigError(
          f'loss_chunk={self.loss_chunk} must divide the {tokens} tokens of a micro-batch of phases.{name}'
        )
      for source in phase.data:
        if source not in self.sources:
          raise ConfigError(
            f'phases.{name}.data names source {source!r}{hint_for(source, self.sources)}'
          )
    for source in self.tokenizer.sources:
      if source not in self.sources:
        raise ConfigError(f'tokenizer.sources names {source!r}{hint_for(source, self.sources)}')
      if self.sources[source].tokens_like:
        raise ConfigError(
          f'sources.{source}.tokens_like: the tokenizer that would count is trained on this text (tokenizer.sources); give it a size'
        )
    for arm in self.contexts:
      if arm not in self.arms:
        raise ConfigError(f'contexts names arm {arm!r}{hint_for(arm, self.arms)}')
    for effect, arms in self.effects.items():
      if len(arms) not in (2, 4):
        raise ConfigError(
          f'effects.{effect} names {len(arms)} arms; give two (first - second) or four ((first - second) - (third - fourth))'
        )
      for arm in arms:
        if arm not in self.arms:
          raise ConfigError(f'effects.{effect} names arm {arm!r}{hint_for(arm, self.arms)}')
    if self.tensorboard and importlib.util.find_spec('tensorboardX') is None:
      raise ConfigError(
        "tensorboard=True needs tensorboardX; pip install 'msm_jax[tensorboard]' or set it to False"
      )
    if not used:
      raise ConfigError('arms is empty; name at least one, such as base="pretrain"')

  @property
  def first_weights(self) -> str:
    """Of the phase that all arms begin with; '' if models start fresh."""
    return next((self.phases[path_of(p)[0]].weights for p in self.arms.values()), '')

  def _check_imports(self, paths: list[tuple[str, ...]]) -> None:
    if len({self.phases[p[0]].weights for p in paths}) > 1:
      raise ConfigError(
        'arms start from different weights; an experiment has one model, so give each its own'
      )
    for path in paths:
      for before, phase in itertools.pairwise(path):
        if self.phases[phase].weights:
          raise ConfigError(
            f'phases.{phase} names weights and follows {before!r}; weights are where a path begins'
          )
        if self.phases[phase].adapter and not self.phases[before].weights:
          raise ConfigError(
            f'phases.{phase} names an adapter and follows {before!r}; an adapter goes straight over weights'
          )
      if self.phases[path[0]].adapter:
        raise ConfigError(
          f'phases.{path[0]} names an adapter; begin the path with a phase of weights'
        )
    if (self.model.lora or any(p.adapter for p in self.phases.values())) and not self.first_weights:
      raise ConfigError(
        'model.lora trains adapters beside weights that stay as they are; begin the arms with a phase of weights'
      )
    if any(self.phases[x].adapter for p in paths for x in p) and not self.model.lora:
      raise ConfigError('a phase names an adapter; set model.lora to its rank, alpha and targets')
    if self.first_weights and self.tokenizer.sources:
      raise ConfigError('tokenizer.sources must be empty: the tokenizer comes with the weights')
