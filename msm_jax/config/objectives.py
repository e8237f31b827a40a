"""The settings of objectives, one group for each that has any.

A phase names its objective (`PhaseConfig.objective`) and may set the group of the same name. The
objectives themselves are in objectives/; this module is apart from them because the settings of an
experiment are read before JAX is.
"""

import dataclasses
import math
from collections.abc import Mapping

from data_pipelines.sources import HANDBOOK_FORMS
from msm_jax.base.checks import AT_LEAST_ONE, NON_NEGATIVE, SHARE, added_later, one_of, within
from msm_jax.base.errors import ConfigError
from msm_jax.config.model import POSITIVE

# What `DpoConfig.loss` and `GrpoConfig.per` may be.
DPO_LOSSES = ('sigmoid', 'ipo')
GRPO_UNITS = ('token', 'answer')
# The names of rewards that are no function of the user, or how they begin: 'chosen', 'model:PATH',
# 'judge:MODEL' and 'judge'.
CHOSEN, MODEL, JUDGE = 'chosen', 'model:', 'judge:'
THE_JUDGE = 'judge'


@dataclasses.dataclass(frozen=True)
class DpoConfig:
  """Direct preference optimisation."""

  # How strongly the model is held to the reference: rewards are beta times log-ratios. With 'ipo',
  # log-ratios are pulled to 1 / (2 beta).
  beta: float = 0.1
  # 'sigmoid' (Rafailov et al. 2023, eq. 7) or 'ipo' (Azar et al. 2023, eq. 17).
  loss: str = 'sigmoid'
  # Whether the log-probability of an answer is divided by its number of tokens.
  length_normalised: bool = False
  # How often the preferences are assumed to be the wrong way round (Mitchell 2023); 'sigmoid' only.
  label_smoothing: float = 0.0

  def __post_init__(self):
    one_of('dpo.loss', self.loss, DPO_LOSSES)
    # Below, -1 / (2 beta) of 'ipo' would not be finite in fp32.
    within('dpo.', self, beta=(1e-6, POSITIVE[1]), label_smoothing=(0, 0.5))
    if self.loss == 'ipo' and self.label_smoothing:
      raise ConfigError(
        "dpo.label_smoothing belongs to dpo.loss='sigmoid'; leave it out with 'ipo'"
      )


@dataclasses.dataclass(frozen=True)
class DistillConfig:
  """Context distillation: the model learns to answer without a handbook as it does with it."""

  # The handbook that the teacher reads in its system message.
  spec: str = ''
  # What it reads of it: 'rule' (what arms in `contexts` read when they are evaluated) or 'text'
  # (the whole handbook).
  handbook: str = 'rule'
  # The tokens of a row of the teacher, which reads the handbook before each chat; 0 means as many
  # as a row of the student has (`length` of the phase).
  teacher_length: int = 0
  # Logits of student and teacher are divided by it.
  temperature: float = 1.0

  def __post_init__(self):
    one_of('distill.handbook', self.handbook, HANDBOOK_FORMS)
    within('distill.', self, temperature=(1e-3, 1e3), teacher_length=NON_NEGATIVE)


@dataclasses.dataclass(frozen=True)
class GrpoConfig:
  """Group-relative policy optimisation (Shao et al. 2024), objective 'grpo'; see rl/rollouts.py.

  `batch_size` of the phase counts answers: batch_size / group_size prompts are answered in each
  rollout.
  """

  # The name of a reward -> its weight. Names: 'chosen', 'model:PATH' (a phase of objective
  # 'reward'), 'judge:MODEL' (as Inspect names it) or 'judge' (the model of the setting `judge`),
  # 'package.module:function'; see rl/rewards.py. Keys of a ConfigDict hold no dots: a function is
  # then 'package/module:function'.
  rewards: Mapping[str, float] = dataclasses.field(
    default_factory=lambda: {'chosen': 1.0}, hash=False
  )
  # The answers that are sampled to each prompt.
  group_size: int = 8
  # The temperature at which they are sampled. The loss is that of the model at this temperature.
  temperature: float = 1.0
  # The most tokens of an answer, with the token that ends it. Longer answers are cut and counted.
  max_tokens: int = 32
  # Tokens that end an answer, by their names, beside the end of a turn and the end of a text that
  # the tokenizer knows.
  stop: tuple[str, ...] = ()
  # The updates that are made from one rollout.
  updates_per_rollout: int = 1
  # The ratio of an answer's token to what it was is clipped to 1 - clip_low ... 1 + clip_high. In
  # the first update from a rollout the ratio is 1, so with one update nothing is clipped.
  clip_low: float = 0.2
  clip_high: float = 0.2
  # The weight of the KL divergence from the start of the phase; 0 means that no reference is kept
  # and the divergence is not reported.
  kl: float = 0.04
  # Whether the estimate of the divergence is multiplied by the ratio, so that its gradient is that
  # of the divergence, without bias (DeepSeek-V3.2, 2025; TRL does it unless told otherwise). Shao
  # et al. 2024 do not.
  kl_times_ratio: bool = False
  # What has the weight 1 in the loss: 'token', each token of an answer (Yu et al. 2025), or
  # 'answer', each answer (Shao et al. 2024).
  per: str = 'token'
  # Whether advantages are divided by the standard deviation of their group's rewards. Liu et al.
  # 2025 (Dr. GRPO) leave it out.
  divide_by_std: bool = True
  # The phase ends after so many rollouts in a row whose groups have all equal rewards and so give
  # no gradient; 0 means never.
  patience: int = 20
  # The reward `chosen` of an answer that is neither the chosen nor the rejected one.
  other: float = 0.0
  # The model of the reward 'judge', as Inspect names it.
  judge: str = added_later('')
  # The handbook that judges go by; '' lets them compare with the chosen answer.
  judge_spec: str = ''

  def __post_init__(self):
    within(
      'grpo.',
      self,
      group_size=(2, math.inf),
      temperature=(1e-2, 1e2),
      max_tokens=AT_LEAST_ONE,
      updates_per_rollout=AT_LEAST_ONE,
      clip_low=SHARE,
      clip_high=NON_NEGATIVE,
      kl=NON_NEGATIVE,
      patience=NON_NEGATIVE,
      other=(-math.inf, math.inf),
    )
    one_of('grpo.per', self.per, GRPO_UNITS)
    if not self.rewards:
      raise ConfigError("grpo.rewards is empty; name at least one, such as {'chosen': 1.0}")
    if (THE_JUDGE in self.rewards) != bool(self.judge):
      raise ConfigError(
        f"grpo.judge={self.judge!r} is the model of the reward 'judge'; give both or none"
      )
    if JUDGE in self.rewards:
      # Nobody would be asked, which shows only when the phases before are trained.
      raise ConfigError(
        f'grpo.rewards names {JUDGE!r} without a model; write {JUDGE}MODEL as Inspect names it'
      )
    if self.judge_spec and not self.judges:
      raise ConfigError(
        f'grpo.judge_spec={self.judge_spec} is what judges go by, and no reward is a judge; name '
        f'one, such as {JUDGE}MODEL, or leave it out'
      )

  @property
  def reward_models(self) -> dict[str, str]:
    """The reward models that are named: 'model:PATH' -> PATH."""
    return {name: name.removeprefix(MODEL) for name in self.rewards if name.startswith(MODEL)}

  @property
  def judges(self) -> dict[str, str]:
    """The rewards that language models give: name of the reward -> the model."""
    found = {name: name.removeprefix(JUDGE) for name in self.rewards if name.startswith(JUDGE)}
    if self.judge:
      found[THE_JUDGE] = self.judge
    return found

  def check_schedule(self, where: str, batch_size: int, updates: int, save_every: int) -> None:
    """Checks the settings of a phase that is trained, and its schedule against them.

    Args:
      where: what errors call the phase.
      batch_size: the answers of a rollout.
      updates: the updates of the phase.
      save_every: after so many updates the phase saves a checkpoint.

    Raises:
      ConfigError: groups or rollouts would be divided, no reward has any weight, or a setting would
        change nothing.
    """
    if self.patience and not any(self.rewards.values()):
      # Every rollout would be flat, which shows only when the phases before it are trained.
      raise ConfigError(
        f'{where}.grpo.rewards has no other weight than 0, so all answers are worth the same; give '
        f'a reward another weight, or set patience=0 for a phase without rewards'
      )
    self._check_nothing_ignored(where)
    if batch_size % self.group_size:
      raise ConfigError(
        f'{where}.grpo.group_size={self.group_size} must divide batch_size={batch_size}, which '
        f'counts the answers of a rollout'
      )
    for key, value in (('updates', updates), ('checkpoint_every', save_every)):
      if value % self.updates_per_rollout:
        raise ConfigError(
          f'{where}.{key}={value} must be a multiple of '
          f'grpo.updates_per_rollout={self.updates_per_rollout}: a phase saves and ends between '
          f'rollouts'
        )

  def _check_nothing_ignored(self, where: str) -> None:
    """Raises ConfigError for a setting that is not the default and changes nothing.

    Two phases that differ in it would be trained as two, and be taken for a comparison.
    """
    if self.other and CHOSEN not in self.rewards:
      raise ConfigError(
        f'{where}.grpo.other={self.other:g} belongs to the reward {CHOSEN!r}, which is not among '
        f'the rewards; leave it out, or name that reward'
      )
    if self.kl_times_ratio and not self.kl:
      raise ConfigError(
        f'{where}.grpo.kl_times_ratio=True is about the divergence, which kl=0 leaves out; leave '
        f'kl_times_ratio out, or raise kl'
      )


@dataclasses.dataclass(frozen=True)
class RewardConfig:
  """A reward model: a head on the model gives one number to an answer (Bradley and Terry 1952)."""

  # How strongly the sum of both sides' rewards is pulled to zero (Eisenstein et al. 2023), so that
  # rewards of different prompts can be compared.
  centre: float = 0.0

  def __post_init__(self):
    within('reward.', self, centre=NON_NEGATIVE)


# Objective -> the class of its settings; None if it has none.
OBJECTIVE_SETTINGS: dict[str, type | None] = {
  'next_token': None,
  'dpo': DpoConfig,
  'distill': DistillConfig,
  'grpo': GrpoConfig,
  'reward': RewardConfig,
}
