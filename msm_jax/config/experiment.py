"""All settings of an experiment.

`ExperimentConfig` holds everything that a run depends on. A config file gives nested mappings;
`base.checks.from_mapping` converts them into these classes. Every error names the key and says what
to change. The canonical JSON of a config (`base.checks.to_json`) is part of identities, so a field
that is renamed, or whose default changes, makes finished phases unknown.
"""

import dataclasses
from collections.abc import Mapping

from data_pipelines.settings.custom.spec import CustomConfig
from data_pipelines.settings.english.stock import EnglishConfig
from data_pipelines.settings.office.pretraining import OfficeConfig
from data_pipelines.settings.world.pretraining import WorldConfig
from data_pipelines.sources import SourceConfig
from msm_jax.base.checks import added_later, for_references
from msm_jax.config.checks import check_experiment
from msm_jax.config.evals import DoseCurve, EvalConfig, GatesConfig
from msm_jax.config.model import ModelConfig
from msm_jax.config.phases import PhaseConfig, path_of
from msm_jax.config.training import MeshConfig, OptimizerConfig, TokenizerConfig


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
  spec: str = for_references('')
  # The same for `--config.weights=...`.
  weights: str = for_references('')
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
  # The share that conclusions rest on, such as 'preferences/conflict/kinds'; its margin in nats is
  # the primary measure. '' takes the main one of the setting. As above, no identity depends on it.
  primary_measure: str = added_later('')
  # Effects at rising doses; the report says at which dose half of each is gone.
  dose_curves: tuple[DoseCurve, ...] = added_later(())
  # What is measured.
  evals: EvalConfig = EvalConfig()
  # What a result must reach before anybody concludes from it.
  gates: GatesConfig = GatesConfig()

  def __post_init__(self):
    check_experiment(self)

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
        waiting += [*self.reward_models_of(path[: n + 1]), *self.writers_of(path[: n + 1])]
    return tuple(found)

  def reward_models_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Finds the reward models that a phase uses.

    Args:
      path: the path whose last phase it is.

    Returns:
      Their paths, in the order of the rewards; none but in reinforcement learning.
    """
    phase = self.phases[path[-1]]
    if phase.objective != 'grpo':
      return []
    paths = []
    for named in phase.grpo.reward_models.values():
      model_path = path_of(named)
      if len(model_path) == 1:
        # A single name is the reward model that begins where this phase does.
        model_path = path[:-1] + model_path
      paths.append(model_path)
    return paths

  def writers_of(self, path: tuple[str, ...]) -> list[tuple[str, ...]]:
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
