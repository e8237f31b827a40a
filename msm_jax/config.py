"""The settings of an experiment: frozen dataclasses that check themselves.

`ExperimentConfig` holds everything that a run depends on. A config file gives nested mappings;
`base.checks.from_mapping` converts them into these classes. Every error names the key and says what
to change. The canonical JSON of a config (`base.checks.to_json`) is part of identities, so a field
that is renamed, or whose default changes, makes finished phases unknown.

The settings of models are in model_config.py; those of sources, worlds and handbooks are in
data_pipelines.
"""

import dataclasses
import importlib.util
import itertools
from collections.abc import Mapping, Sequence

from data_pipelines.recipes import check_source
from data_pipelines.settings.custom.spec import CustomConfig
from data_pipelines.settings.english.stock import EnglishConfig
from data_pipelines.settings.office.pretraining import OfficeConfig
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world.pretraining import WorldConfig
from data_pipelines.sources import SourceConfig
from msm_jax.base.checks import (
  AT_LEAST_ONE,
  NON_NEGATIVE,
  SHARE,
  added_later,
  hint_for,
  one_of,
  shown,
  within,
)
from msm_jax.base.errors import ConfigError
from msm_jax.model_config import POSITIVE, PROJECTIONS, LoraConfig, ModelConfig, RopeScaling
from msm_jax.objective_config import (
  OBJECTIVES,
  DistillConfig,
  DpoConfig,
  GrpoConfig,
  RewardConfig,
)

__all__ = [
  'PROJECTIONS',
  'CustomConfig',
  'DoseCurve',
  'EnglishConfig',
  'EvalConfig',
  'ExperimentConfig',
  'GatesConfig',
  'LoraConfig',
  'MeshConfig',
  'ModelConfig',
  'OfficeConfig',
  'OptimizerConfig',
  'PhaseConfig',
  'RopeScaling',
  'SourceConfig',
  'TokenizerConfig',
  'WorldConfig',
  'path_of',
]


# The largest share of a source, and one divided by the smallest.
MAX_SHARE_RATIO = 1e9
# Bytes of the name of a phase or a source. With the rest of its folder's name it must fit into the
# 255 bytes that file systems allow.
MAX_NAME_BYTES = 150
# JAX makes keys from seeds of 32 bits, signed or unsigned.
SEEDS = (-(2**31), 2**32 - 1)
# What the names of phases and sources, which become names of folders, may not hold. Orbax takes
# brackets and backslashes in a path for a pattern, and then cannot read what it has saved.
NOT_IN_NAMES = '/\\[]'


def path_of(arm: str) -> tuple[str, ...]:
  """The phases of an arm's path in order: 'pretrain > msm' -> ('pretrain', 'msm')."""
  return tuple(phase.strip() for phase in arm.split('>'))


# --------------------------------------------------------------------------------------------------
# How training is done
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """The sizes of the mesh of devices; see sharding.py. One of them may be -1: whatever is left."""

  # Rows of a batch are divided; parameters are replicated.
  data: int = -1
  # Rows of a batch are divided, and parameters too.
  fsdp: int = 1
  # Matrix products are divided.
  tensor: int = 1

  def __post_init__(self):
    sizes = (self.data, self.fsdp, self.tensor)
    if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
      raise ConfigError(
        f'mesh.data={self.data}, mesh.fsdp={self.fsdp}, mesh.tensor={self.tensor}: '
        f'sizes of the mesh are at least 1, and at most one is -1 (whatever is left)'
      )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The optimizer, without its learning rate, which belongs to the phase."""

  # 'adamw' (Loshchilov and Hutter 2019), or 'muon': Muon for the matrices of the blocks and AdamW
  # for the rest (Liu et al. 2025, with consistent RMS, so that both take the same learning rate).
  name: str = 'adamw'
  # The decay of AdamW's first moment.
  b1: float = 0.9
  # The decay of AdamW's second moment.
  b2: float = 0.95
  # What AdamW adds to the root of its second moment.
  eps: float = 1e-8
  # How strongly matrices decay, times the learning rate. Norms do not decay.
  weight_decay: float = 0.01
  # The global norm to which gradients are clipped; 0 means that they are not.
  clip: float = 1.0

  def __post_init__(self):
    one_of('optimizer.name', self.name, ('adamw', 'muon'))
    within(
      'optimizer.',
      self,
      b1=SHARE,
      b2=SHARE,
      eps=(POSITIVE[0], 1),
      weight_decay=NON_NEGATIVE,
      clip=NON_NEGATIVE,
    )


@dataclasses.dataclass(frozen=True)
class PhaseConfig:
  """One phase: its data, its schedule and its budget. Or weights from outside, if it names some."""

  # Source name -> its share of the packed rows. Shares need not add up to 1.
  data: Mapping[str, float] = dataclasses.field(default_factory=dict)
  # The number of updates.
  updates: int = 0
  # If given, the phase trains nothing: it stands for these weights, a folder of Hugging Face or a
  # name that `msm_jax.zoo` knows.
  weights: str = ''
  # The same for an adapter in the format of PEFT, over the weights of the phase before.
  adapter: str = ''
  # The peak of the learning rate.
  lr: float = 1e-3
  # The peak for the embedding (and the unembedding, if it is another matrix); 0 means `lr`.
  embed_lr: float = 0.0
  # The share of the updates during which the learning rate rises.
  warmup: float = 0.05
  # After the warmup: 'cosine' or 'linear' decay, or 'constant'.
  schedule: str = 'cosine'
  # Where decay ends, as a share of the peak.
  final: float = 0.1
  # The rows of a batch.
  batch_size: int = 32
  # The tokens of a row.
  length: int = 128
  # Into how many equal parts a batch is cut to save memory. Their gradients are added.
  micro_batches: int = 1
  # The phase is refused with fewer updates than this: a handful of updates fakes a null result.
  min_updates: int = 100
  # Names the order of the data. Phases of one stream and seed draw alike, so that arms with
  # mirrored corpora differ in nothing else. '' means an order of the phase's own.
  stream: str = ''
  # A checkpoint is saved after so many updates.
  checkpoint_every: int = 200
  # What is trained for: 'next_token', 'dpo' (preferences), 'distill' (to answer without a handbook
  # as with it), 'grpo' (answers that are sampled and rewarded) or 'reward' (a reward model).
  objective: str = added_later('next_token')
  # The settings of these objectives.
  dpo: DpoConfig = added_later(DpoConfig())
  distill: DistillConfig = added_later(DistillConfig())
  grpo: GrpoConfig = added_later(GrpoConfig())
  reward: RewardConfig = added_later(RewardConfig())
  # The evaluators also run after so many updates of the phase (0: before the first one), on the
  # parameters that are kept for it; `open_arm` opens these as ARM@UPDATE. It is no part of a
  # phase's identity.
  evaluate_at: tuple[int, ...] = added_later(())

  @property
  def is_import(self) -> bool:
    """Whether the phase stands for weights or an adapter from outside, and trains nothing."""
    return bool(self.weights or self.adapter)

  def check(self, name: str) -> None:
    """Checks the settings. They are checked here, not when they are made, so that errors can name
    the phase.

    Args:
      name: the name of the phase.

    Raises:
      ConfigError: a setting cannot work.
    """
    where = f'phases.{name}'
    if self.is_import:
      self._check_import(where)
      return
    one_of(f'{where}.schedule', self.schedule, ('cosine', 'linear', 'constant'))
    if self.updates < self.min_updates:
      raise ConfigError(
        f'{where}: {self.updates} updates are fewer than its floor of {self.min_updates} '
        f'(so few fake a null result); raise {where}.updates or lower {where}.min_updates'
      )
    within(
      f'{where}.',
      self,
      updates=AT_LEAST_ONE,
      batch_size=AT_LEAST_ONE,
      length=AT_LEAST_ONE,
      micro_batches=AT_LEAST_ONE,
      checkpoint_every=AT_LEAST_ONE,
      lr=POSITIVE,
      embed_lr=NON_NEGATIVE,
      warmup=SHARE,
      final=SHARE,
    )
    if self.batch_size % self.micro_batches:
      raise ConfigError(
        f'{where}.micro_batches={self.micro_batches} must divide batch_size={self.batch_size}'
      )
    self._check_data(where)
    self._check_objective(where)
    self._check_points(where)

  def _check_points(self, where: str) -> None:
    """Raises ConfigError unless `evaluate_at` rises and stays within the phase."""
    at = list(self.evaluate_at)
    if at != sorted(set(at)):
      raise ConfigError(f'{where}.evaluate_at={shown(self.evaluate_at)} must rise, such as (0, 64)')
    if at and not 0 <= at[0] <= at[-1] <= self.updates:
      raise ConfigError(
        f'{where}.evaluate_at={shown(self.evaluate_at)} must lie from 0 to '
        f'{where}.updates={self.updates}'
      )

  def _check_objective(self, where: str) -> None:
    """Raises ConfigError for an unknown objective, and for settings of another one."""
    if self.objective not in OBJECTIVES:
      raise ConfigError(
        f'{where}.objective={shown(self.objective)}{hint_for(self.objective, OBJECTIVES)}'
      )
    for name, settings in OBJECTIVES.items():
      if settings is None or name == self.objective or getattr(self, name) == settings():
        continue
      raise ConfigError(
        f'{where}.{name} is set and {where}.objective is {self.objective!r}; '
        f'set it to {name!r}, or leave {name} out'
      )
    if self.objective == 'distill' and not self.distill.spec:
      raise ConfigError(f'{where}.distill.spec is empty; name the handbook that the teacher reads')
    if self.objective == 'grpo':
      self.grpo.check_schedule(where, self.batch_size, self.updates, self.checkpoint_every)
      if self.grpo.max_tokens >= self.length:
        raise ConfigError(
          f'{where}.grpo.max_tokens={self.grpo.max_tokens} leaves no room for a prompt in rows of '
          f'length={self.length}; lower it, or raise {where}.length'
        )

  def _check_import(self, where: str) -> None:
    """Raises ConfigError if a phase of weights or an adapter is to train too."""
    self._check_objective(where)
    what = 'weights' if self.weights else 'an adapter'
    if self.objective != 'next_token':
      raise ConfigError(f'{where} names {what} and trains nothing; leave objective out')
    if self.evaluate_at:
      raise ConfigError(f'{where} names {what} and trains nothing; leave evaluate_at out')
    if self.data or self.updates or (self.weights and self.adapter):
      raise ConfigError(
        f'{where} names {what} and so takes neither data nor updates, nor both of them'
      )

  def _check_data(self, where: str) -> None:
    """Raises ConfigError unless there is a source and every share is positive."""
    if not self.data:
      raise ConfigError(f'{where}.data is empty; name at least one source and its share')
    for source, share in self.data.items():
      if not 0 < share < POSITIVE[1]:
        raise ConfigError(
          f'{where}.data.{source}={share} must be a positive share; leave the source out instead'
        )
    # Shares are divided by their sum, which must not overflow or leave one of them at zero.
    largest, smallest = max(self.data.values()), min(self.data.values())
    if largest > MAX_SHARE_RATIO or smallest < 1 / MAX_SHARE_RATIO:
      raise ConfigError(
        f'{where}.data has shares from {smallest:g} to {largest:g}; '
        f'give shares from {1 / MAX_SHARE_RATIO:g} to {MAX_SHARE_RATIO:g}'
      )


# --------------------------------------------------------------------------------------------------
# How texts become tokens, and what is measured
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
  """The tokenizer: SentencePiece, trained on the text of named sources."""

  # The number of pieces.
  vocab_size: int = 2048
  # The sources that it is trained on; empty if the tokenizer comes with weights.
  sources: tuple[str, ...] = ()

  def __post_init__(self):
    # SentencePiece counts pieces in 32 bits.
    within('tokenizer.', self, vocab_size=(1, 2**31 - 1))


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """What is measured on every arm."""

  # The handbook whose value counts as success in conflict pairs.
  spec: str = ''
  # The handbook of the value that it is measured against. '' takes the first other value that
  # explains the demonstrations as well.
  rival: str = ''
  # At most so many forced choices per assistant, domain and type of pair; 0 means all.
  pairs_per_domain: int = 16
  # Scenes per assistant, tier and kind of scene (office).
  scenes_per_kind: int = 8
  # Questions per ordinary persona or agent. Personas met only in documents and talkers get four
  # times as many, agents met only in documents eight times.
  personas: int = 1
  # Office: scenes per agent met only in documents, asked of the base model in place of eight times
  # `personas`, so that the gates rest on more of them; 0 means no such increase.
  gate_scenes: int = added_later(0)
  # The records of each pretraining source that perplexity is measured on.
  held_out: int = 100
  # Decides which questions are drawn.
  seed: int = 0
  # The rows of a scored batch; each is as long as the longest phase's.
  rows: int = 32
  # Which arms are asked what other people or agents do: 'all', or the 'base' alone, of which the
  # gates need it. That saves half of the evaluation of every other arm.
  others_of: str = added_later('all')
  # Whether the assistant is also asked what it values, in the first person.
  stated: bool = added_later(False)
  # World: the evaluation leaves out those things of the handbook's domain that contradicting
  # demonstrations and preferences are about (settings/world/conflicts.py).
  spare_items: bool = added_later(False)
  # Answers that are sampled to every question in each of as many orders as it has options, so that
  # every option stands once in each place; 0 samples none. Open questions get as many.
  sampled: int = added_later(0)
  # At most so many questions of each kind, tier and replicate are sampled; 0 means all.
  sampled_items: int = added_later(0)
  # The temperature of sampled answers; 0 takes the likeliest token every time.
  sampled_temperature: float = added_later(1.0)
  # The most tokens of a sampled answer.
  sampled_tokens: int = added_later(64)

  def __post_init__(self):
    one_of('evals.others_of', self.others_of, ('all', 'base'))
    within(
      'evals.',
      self,
      pairs_per_domain=NON_NEGATIVE,
      held_out=NON_NEGATIVE,
      gate_scenes=NON_NEGATIVE,
      sampled=NON_NEGATIVE,
      sampled_items=NON_NEGATIVE,
      sampled_temperature=NON_NEGATIVE,
      sampled_tokens=AT_LEAST_ONE,
      scenes_per_kind=AT_LEAST_ONE,
      personas=AT_LEAST_ONE,
      rows=AT_LEAST_ONE,
    )


@dataclasses.dataclass(frozen=True)
class GatesConfig:
  """Bounds that a result must keep before anybody concludes from it.

  A miss is shown in the report; it does not stop the run.
  """

  # At least this accuracy on personas met only in documents: does the base turn documents into
  # behaviour?
  documents_only: float = 0.9
  # At least this recall of the handbook's value after midtraining.
  recall: float = 0.9
  # At least this accuracy on the demonstrations of fine-tuning.
  trained_items: float = 0.9
  # At most this perplexity of held-out pretraining text, divided by that of the base.
  perplexity_ratio: float = 1.25
  # At most this change, against the base, of shares about attributes that no handbook speaks of.
  specificity: float = added_later(0.25)
  # At most this drop, against the base, of a share that lm-evaluation-harness measured, such as an
  # accuracy (evals/capability.py).
  capability_drop: float = added_later(0.05)

  def __post_init__(self):
    # Any comparison with NaN is False: such a gate would never pass, or never miss.
    within(
      'gates.',
      self,
      documents_only=SHARE,
      recall=SHARE,
      trained_items=SHARE,
      specificity=SHARE,
      capability_drop=SHARE,
      perplexity_ratio=POSITIVE,
    )


@dataclasses.dataclass(frozen=True)
class DoseCurve:
  """How an effect falls with the dose of what contradicts it."""

  # What the curve is called in the report.
  name: str
  # The name of the effect at each dose.
  effects: tuple[str, ...]
  # The doses, as shares; the first is 0, and they rise.
  doses: tuple[float, ...]

  def check(self, known_effects: Mapping[str, Sequence[str]]) -> None:
    """Raises ConfigError unless the doses rise from 0 and each has an effect that is known."""
    where = f'dose_curves: {self.name!r}'
    for effect in self.effects:
      if effect not in known_effects:
        raise ConfigError(f'{where} names effect {effect!r}{hint_for(effect, known_effects)}')
    doses = self.doses
    rises = all(low < high for low, high in itertools.pairwise(doses))
    if len(doses) < 2 or doses[0] != 0 or not rises or len(doses) != len(self.effects):
      raise ConfigError(
        f'{where} needs one effect for each dose, and doses that rise from 0; '
        f'it has {len(self.effects)} effects and the doses {shown(doses)}'
      )


# --------------------------------------------------------------------------------------------------
# The experiment
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ExperimentConfig:
  """Everything that a run depends on."""

  # What the experiment is called in its report.
  name: str
  # Source name -> the recipe of its corpus.
  sources: Mapping[str, SourceConfig]
  # Phase name -> its settings.
  phases: Mapping[str, PhaseConfig]
  # Arm name -> its path of phases, such as 'pretrain > msm > aft'.
  arms: Mapping[str, str]
  # Every arm is trained once with each seed.
  seeds: tuple[int, ...] = (0,)
  # Every seed has corpora of its own: the writers' seeds and the telling of the world follow it.
  # Otherwise, all seeds read the same corpora, and intervals say nothing about other draws of them.
  corpora_by_seed: bool = added_later(False)
  # The worlds: seed s has the world with the seed world_seeds[s % len(world_seeds)]. Empty means
  # that all seeds share the world that the setting's own group of settings describes.
  world_seeds: tuple[int, ...] = added_later(())
  # Read by config files alone: it lets `--config.spec=...` reach every place that refers to it.
  spec: str = ''
  # The same for `--config.weights=...`.
  weights: str = ''
  # Replicates: more names under which each handbook is taught, beside its own.
  assistants: tuple[str, ...] = ()
  # What the texts are about: 'world' (people and things) or 'office' (agents at work), both written
  # here; 'english', for a model that knows the real world; or 'custom': a handbook, texts and items
  # of one's own.
  setting: str = 'world'
  # How much is written about the world.
  world: WorldConfig = WorldConfig()
  # How much is written about the office.
  office: OfficeConfig = OfficeConfig()
  # How English texts are written.
  english: EnglishConfig = EnglishConfig()
  # The items of a researcher's own handbook, and what they are asked with.
  custom: CustomConfig = added_later(CustomConfig())
  # The tokenizer.
  tokenizer: TokenizerConfig = TokenizerConfig()
  # The model's architecture.
  model: ModelConfig = ModelConfig()
  # How devices are used. It is no part of a phase's identity.
  mesh: MeshConfig = MeshConfig()
  # The optimizer.
  optimizer: OptimizerConfig = OptimizerConfig()
  # For how many tokens of a device logits exist at a time; it saves memory where the vocabulary is
  # large. 0 means for all of a micro-batch, or on a CPU for whatever is faster.
  loss_chunk: int = 0
  # Flags for the compiler, set before it starts. XLA_FLAGS of the environment come after them.
  xla_flags: str = ''
  # A phase is given up after more updates in a row than this that were not finite.
  max_skipped: int = 20
  # At most this share of a phase's updates may be not finite; such updates change nothing.
  max_skipped_share: float = added_later(0.1)
  # At most this share of a source may be left out, because chats are longer than a row or records
  # teach nothing.
  max_left_out: float = added_later(0.01)
  # Whether the numbers of each phase are written for TensorBoard too, in the phase's folder.
  tensorboard: bool = False
  # Arm name -> the handbook that stands in its system message when it is evaluated.
  contexts: Mapping[str, str] = dataclasses.field(default_factory=dict)
  # Effect name -> the two arms (a - b) or four arms ((a - b) - (c - d)) that it compares.
  effects: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  # The effect that conclusions rest on; all others are secondary. '' names none. It says how a
  # report is to be read, so it is no part of any identity.
  primary: str = added_later('')
  # Effects at rising doses; the report says at which dose half of each is gone.
  dose_curves: tuple[DoseCurve, ...] = added_later(())
  # What is measured.
  evals: EvalConfig = EvalConfig()
  # What a result must reach before anybody concludes from it.
  gates: GatesConfig = GatesConfig()

  def __post_init__(self):
    # The order of the checks matters where one relies on another: paths must name known phases
    # before anything follows a path.
    self._check_setting_and_replicates()
    self._check_names()
    self._check_arms_name_phases()
    self._check_sources()
    self._check_needed_models()
    self._check_imports()
    within('', self, loss_chunk=NON_NEGATIVE, max_skipped=NON_NEGATIVE)
    within('', self, max_skipped_share=SHARE, max_left_out=SHARE)
    self._check_amounts_of_text()
    self._check_phases()
    self._check_tokenizer_sources()
    self._check_contexts_and_effects()
    self._check_tensorboard()
    if not self.arms:
      raise ConfigError('arms is empty; name at least one, such as base="pretrain"')

  @property
  def paths(self) -> tuple[tuple[str, ...], ...]:
    """The paths of all models that are trained: of arms, and of models that their phases need."""
    found: dict[tuple[str, ...], None] = {}
    waiting = [path_of(path) for path in self.arms.values()]
    while waiting:
      path = waiting.pop(0)
      if path in found:
        continue
      found[path] = None
      for n in range(len(path)):
        waiting += [*self._reward_models_of(path[: n + 1]), *self._writers_of(path[: n + 1])]
    return tuple(found)

  def _reward_models_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths of the reward models that the last phase of a path uses."""
    phase = self.phases[path[-1]]
    if phase.objective != 'grpo':
      return []
    paths = []
    for name in phase.grpo.reward_models.values():
      named = path_of(name)
      # A single name is the reward model that begins where this phase does.
      paths.append(named if len(named) > 1 else path[:-1] + named)
    return paths

  def _writers_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths of the models that write what the last phase of a path reads."""
    sources = [self.sources[name] for name in self.phases[path[-1]].data if name in self.sources]
    return [path_of(source.by) for source in sources if source.is_model_written]

  @property
  def first_weights(self) -> str:
    """The weights of the phase that all arms begin with; '' if models start fresh."""
    if not self.arms:
      return ''
    any_arm = next(iter(self.arms.values()))
    first_phase = path_of(any_arm)[0]
    return self.phases[first_phase].weights

  def _check_setting_and_replicates(self) -> None:
    one_of('setting', self.setting, tuple(SETTINGS))
    if self.custom.items and self.setting != 'custom':
      raise ConfigError(
        f"custom.items is set and setting={self.setting!r} does not ask it; set setting='custom'"
      )
    distinct_names = {assistant.casefold() for assistant in self.assistants}
    if len(distinct_names) != len(self.assistants):
      raise ConfigError(f'assistants={self.assistants} must name each replicate once')
    if not self.seeds or len(set(self.seeds)) != len(self.seeds):
      raise ConfigError(f'seeds={self.seeds} must name at least one seed, each once')
    for seed in self.seeds:
      if not SEEDS[0] <= seed <= SEEDS[1]:
        raise ConfigError(f'seeds={shown(self.seeds)} must lie from {SEEDS[0]} to {SEEDS[1]}')
    varies = self.corpora_by_seed or self.world_seeds
    if varies and min(self.seeds) < 0:
      raise ConfigError(
        f'seeds={shown(self.seeds)}: corpora and worlds that follow the seed need seeds of at '
        'least 0'
      )

  def _check_names(self) -> None:
    """Raises ConfigError for a name that cannot be part of a path."""
    if not self.name.strip():
      raise ConfigError('name is empty; say what the experiment is called')
    for kind, names in (('sources', self.sources), ('phases', self.phases)):
      for name in names:
        is_bad = not name.strip() or not name.isprintable() or name.startswith('.')
        is_bad = is_bad or any(mark in name for mark in NOT_IN_NAMES)
        if is_bad or len(name.encode()) > MAX_NAME_BYTES:
          raise ConfigError(
            f'{kind}: {shown(name)} cannot be the name of a folder; give a name of at most '
            f'{MAX_NAME_BYTES} bytes without any of {" ".join(NOT_IN_NAMES)} or a dot in front'
          )

  def _check_arms_name_phases(self) -> None:
    for arm, path in self.arms.items():
      for phase in path_of(path):
        if phase not in self.phases:
          raise ConfigError(f'arms.{arm} names phase {phase!r}{hint_for(phase, self.phases)}')
      for update in self.phases[path_of(path)[-1]].evaluate_at:
        if f'{arm}@{update}' in self.arms:
          raise ConfigError(
            f'arms.{arm}@{update} is also what {arm} is called at update {update} '
            f'(evaluate_at); give it another name'
          )

  def _check_needed_models(self) -> None:
    """Raises ConfigError for a model that another one needs and that is not there or no use."""
    for name, source in self.sources.items():
      if source.is_model_written:
        self._check_writer(name, source)
    for arm, path in self.arms.items():
      for phase in path_of(path):
        if self.phases[phase].objective == 'reward':
          raise ConfigError(
            f'arms.{arm} goes through phase {phase!r}, a reward model, which answers nothing; take '
            f"it out, and name it in the rewards of a phase of objective grpo as 'model:PATH'"
          )
      self._check_needs_of(path_of(path), ())

  def _check_writer(self, name: str, source: SourceConfig) -> None:
    """Raises ConfigError unless the prompts of a source and the phases of its writer exist."""
    where = f'sources.{name}'
    for phase in path_of(source.by):
      if phase not in self.phases:
        raise ConfigError(f'{where}.by names phase {phase!r}{hint_for(phase, self.phases)}')
      if self.phases[phase].objective == 'reward':
        raise ConfigError(
          f'{where}.by goes through {phase!r}, a reward model, which writes nothing'
        )
    if source.prompts not in self.sources:
      raise ConfigError(
        f'{where}.prompts names {source.prompts!r}{hint_for(source.prompts, self.sources)}'
      )
    if self.sources[source.prompts].is_model_written:
      raise ConfigError(
        f'{where}.prompts names {source.prompts!r}, which a model writes; name the source of its '
        f'prompts'
      )
    if name in self.tokenizer.sources:
      raise ConfigError(f'tokenizer.sources names {name!r}, which a trained model writes')

  def _check_needs_of(self, path: tuple[str, ...], waiting: tuple[tuple[str, ...], ...]) -> None:
    """Checks the models that the phases of a path need, and those that these need.

    `waiting` are the paths that need this one. Raises ConfigError.
    """
    for n in range(len(path)):
      reached = path[: n + 1]
      judges = self._reward_models_of(reached)
      for judge in judges:
        self._check_reward_model(f'phases.{path[n]}.grpo.rewards', judge)
      for needed in [*judges, *self._writers_of(reached)]:
        # Every phase on the way would wait for this one.
        if reached == needed[: n + 1] or needed in waiting:
          raise ConfigError(
            f'phases.{path[n]} needs the model {" > ".join(needed)!r}, which waits for this very '
            f'phase; name a model that is trained before'
          )
        self._check_needs_of(needed, (*waiting, needed))

  def _check_reward_model(self, where: str, path: tuple[str, ...]) -> None:
    """Raises ConfigError unless a path ends in a reward model and goes through no other."""
    for phase in path:
      if phase not in self.phases:
        raise ConfigError(f'{where} names phase {phase!r}{hint_for(phase, self.phases)}')
    shown_path = ' > '.join(path)
    *before, last = path
    if self.phases[last].objective != 'reward':
      raise ConfigError(
        f'{where} names {shown_path!r}, which is no reward model; set phases.{last}.objective='
        f"'reward', or name another phase"
      )
    for phase in before:
      if self.phases[phase].objective == 'reward':
        raise ConfigError(
          f'{where} names {shown_path!r}; nothing can follow the reward model {phase!r}'
        )

  def _check_sources(self) -> None:
    for name, source in self.sources.items():
      other = source.tokens_like
      if other and other not in self.sources:
        raise ConfigError(
          f'sources.{name}.tokens_like names {other!r}{hint_for(other, self.sources)}'
        )
      check_source(name, source)

  # ---- Weights and adapters from outside

  def _check_imports(self) -> None:
    paths = self.paths
    if len({self.phases[path[0]].weights for path in paths}) > 1:
      raise ConfigError(
        'arms start from different weights; an experiment has one model, so give each its own'
      )
    for path in paths:
      self._check_imports_of_path(path)
    self._check_lora()
    if self.first_weights and self.tokenizer.sources:
      raise ConfigError('tokenizer.sources must be empty: the tokenizer comes with the weights')

  def _check_imports_of_path(self, path: Sequence[str]) -> None:
    """Raises ConfigError unless weights begin the path and adapters follow weights."""
    for before, phase in itertools.pairwise(path):
      if self.phases[phase].weights:
        raise ConfigError(
          f'phases.{phase} names weights and follows {before!r}; weights are where a path begins'
        )
      if self.phases[phase].adapter and not self.phases[before].weights:
        raise ConfigError(
          f'phases.{phase} names an adapter and follows {before!r}; '
          f'an adapter goes straight over weights'
        )
    if self.phases[path[0]].adapter:
      raise ConfigError(
        f'phases.{path[0]} names an adapter; begin the path with a phase of weights'
      )

  def _check_lora(self) -> None:
    """Raises ConfigError if there are adapters without weights, or imported ones without `lora`."""
    has_adapters = self.model.lora or any(phase.adapter for phase in self.phases.values())
    if has_adapters and not self.first_weights:
      raise ConfigError(
        'model.lora trains adapters beside weights that stay as they are; '
        'begin the arms with a phase of weights'
      )
    used_phases = [phase for arm in self.arms.values() for phase in path_of(arm)]
    imports_adapter = any(self.phases[phase].adapter for phase in used_phases)
    if imports_adapter and not self.model.lora:
      raise ConfigError('a phase names an adapter; set model.lora to its rank, alpha and targets')

  # ---- Text, phases and tokenizer

  def _check_amounts_of_text(self) -> None:
    """Raises ConfigError unless amounts are not negative and fractions are shares."""
    for group in ('world', 'office', 'english'):
      amounts = getattr(self, group)
      bounds: dict[str, tuple[float, float]] = {}
      for field in dataclasses.fields(amounts):
        if isinstance(field.default, float):
          bounds[field.name] = SHARE
        elif isinstance(field.default, int):
          bounds[field.name] = NON_NEGATIVE
      within(f'{group}.', amounts, **bounds)

  def _check_phases(self) -> None:
    for name, phase in self.phases.items():
      phase.check(name)
      for source in phase.data:
        if source not in self.sources:
          raise ConfigError(
            f'phases.{name}.data names source {source!r}{hint_for(source, self.sources)}'
          )

  def _check_tokenizer_sources(self) -> None:
    for source in self.tokenizer.sources:
      if source not in self.sources:
        raise ConfigError(f'tokenizer.sources names {source!r}{hint_for(source, self.sources)}')
      if self.sources[source].tokens_like:
        raise ConfigError(
          f'sources.{source}.tokens_like: the tokenizer that would count is trained on this text '
          f'(tokenizer.sources); give it a size'
        )

  # ---- What is compared and reported

  def _check_contexts_and_effects(self) -> None:
    for arm in self.contexts:
      if arm not in self.arms:
        raise ConfigError(f'contexts names arm {arm!r}{hint_for(arm, self.arms)}')
    for effect, arms in self.effects.items():
      if len(arms) not in (2, 4):
        raise ConfigError(
          f'effects.{effect} names {len(arms)} arms; give two (first - second) '
          f'or four ((first - second) - (third - fourth))'
        )
      for arm in arms:
        if arm not in self.arms:
          raise ConfigError(f'effects.{effect} names arm {arm!r}{hint_for(arm, self.arms)}')
    if self.primary and self.primary not in self.effects:
      raise ConfigError(
        f'primary names effect {self.primary!r}{hint_for(self.primary, self.effects)}'
      )
    for curve in self.dose_curves:
      curve.check(self.effects)

  def _check_tensorboard(self) -> None:
    if self.tensorboard and importlib.util.find_spec('tensorboardX') is None:
      raise ConfigError(
        "tensorboard=True needs tensorboardX; pip install 'msm_jax[tensorboard]' or set it to False"
      )
