"""The settings of one phase, and the paths that phases form.

`msm_jax.config` has these names too, beside all other settings; import them from there.
"""

import dataclasses
from collections.abc import Mapping

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
from msm_jax.config.model import POSITIVE
from msm_jax.config.objectives import (
  OBJECTIVE_SETTINGS,
  DistillConfig,
  DpoConfig,
  GrpoConfig,
  RewardConfig,
)

# The largest share of a source, and one divided by the smallest.
MAX_SHARE_RATIO = 1e9


def path_of(arm: str) -> tuple[str, ...]:
  """The phases of an arm's path in order: 'pretrain > msm' -> ('pretrain', 'msm')."""
  return tuple(phase.strip() for phase in arm.split('>'))


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
  # The peak for the embedding (and the unembedding, if it is another matrix); 0 means `lr`. With
  # adapters (`model.lora`), neither is trained.
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
  # mirrored corpora differ in nothing else. '' means an order of the phase's own. Sources are drawn
  # by their places: those without a handbook (`spec`) come first, each group by name. What two
  # phases share must have one place in both.
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
    if self.objective not in OBJECTIVE_SETTINGS:
      raise ConfigError(
        f'{where}.objective={shown(self.objective)}{hint_for(self.objective, OBJECTIVE_SETTINGS)}'
      )
    for name, settings in OBJECTIVE_SETTINGS.items():
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
    if self.data or self.updates:
      raise ConfigError(
        f'{where} names {what} and so takes neither data nor updates; leave them out'
      )
    if self.weights and self.adapter:
      raise ConfigError(
        f'{where} names weights and an adapter; give the adapter a phase of its own, after that of '
        f'the weights'
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
