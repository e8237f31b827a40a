"""What a phase must keep to while it is trained: `UpdateGuard` ends one that learns nothing.

A number that is not finite, a batch without targets or a batch that the devices cannot share would
otherwise end in a result that looks like one.
"""

from collections.abc import Mapping

from jax.sharding import Mesh

from msm_jax import sharding
from msm_jax.base.checks import exceeds_share
from msm_jax.base.console import say
from msm_jax.base.errors import UserError
from msm_jax.config import ExperimentConfig, PhaseConfig
from msm_jax.objectives.registry import OBJECTIVES


class TrainingError(UserError, RuntimeError):
  """A phase that cannot go on. The message is one line with cause and remedy."""


def check_rows(phase: PhaseConfig, label: str, mesh: Mesh) -> None:
  """Checks that the rows of a micro-batch can be divided over the devices.

  Args:
    phase: the phase's settings.
    label: what the phase is called in the error.
    mesh: the devices.

  Raises:
    TrainingError: they cannot.
  """
  rows = phase.batch_size // phase.micro_batches
  if rows % sharding.batch_parts(mesh):
    raise TrainingError(
      f'{label}: {rows} rows per micro-batch cannot be split over data x fsdp = '
      f'{mesh.shape["data"]} x {mesh.shape["fsdp"]} devices; '
      f'change batch_size, micro_batches or config.mesh'
    )


class UpdateGuard:
  """Looks at the metrics of every update of a phase, and ends a phase that learns nothing.

  Attributes:
    skipped: how many updates of the phase were not finite so far. They changed nothing.
  """

  def __init__(self, config: ExperimentConfig, phase: PhaseConfig, label: str, skipped: int):
    """Begins to count.

    Args:
      config: the settings of the experiment.
      phase: the settings of the phase.
      label: what the phase is called in errors.
      skipped: how many updates were not finite before an interruption.
    """
    self.skipped = skipped
    self._config = config
    self._phase = phase
    self._label = label

  def check(self, step: int, values: Mapping[str, float]) -> None:
    """Checks the metrics of an update.

    Args:
      step: the number of the update, 1-based.
      values: its metrics, among them `weight` and `skipped` (updates in a row that were not
        finite).

    Raises:
      TrainingError: no target of the batch has any weight, too many updates in a row were not
        finite, too large a share of the phase was not, or its last update was not.
    """
    if values['skipped']:
      self.skipped += 1
    self._check_weight(step, values['weight'])
    self._check_in_a_row(step, int(values['skipped']))
    self._check_share(step, was_skipped=bool(values['skipped']))

  def _check_weight(self, step: int, weight: float) -> None:
    """Raises TrainingError if nothing of the batch counts."""
    phase = self._phase
    if not weight:
      raise TrainingError(
        f'{self._label}: the batch of update {step} has no {OBJECTIVES[phase.objective].unit}; '
        f'give chats with assistant turns that fit into length={phase.length}'
      )

  def _check_in_a_row(self, step: int, in_a_row: int) -> None:
    """Raises TrainingError if too many updates in a row were not finite."""
    phase = self._phase
    # A phase of max_skipped updates or fewer must not end with all of them skipped.
    allowed = min(self._config.max_skipped, phase.updates - 1)
    if in_a_row > allowed:
      first = step - in_a_row + 1
      raise TrainingError(
        f'{self._label}: updates {first} to {step} were not finite; '
        f'lower phases lr (now {phase.lr}) or raise max_skipped'
      )

  def _check_share(self, step: int, was_skipped: bool) -> None:
    """Raises TrainingError if a phase is made of updates that changed nothing.

    `max_skipped` of them are borne until the phase ends. A phase whose last update was not finite
    ends in parameters that may well be unfit for any text.
    """
    phase = self._phase
    is_last = step == phase.updates
    share = self._config.max_skipped_share
    is_borne = not is_last and self.skipped <= self._config.max_skipped
    if exceeds_share(self.skipped, phase.updates, share) and not is_borne:
      raise TrainingError(
        f'{self._label}: {self.skipped} of the {step} updates so far were not finite and changed '
        f'nothing; lower phases lr (now {phase.lr}) or raise max_skipped_share (now {share})'
      )
    if is_last and was_skipped:
      raise TrainingError(
        f'{self._label}: the last update, {step}, was not finite; lower phases lr (now {phase.lr})'
      )

  def say_skipped(self) -> None:
    """Says at the end of the phase how many updates changed nothing, if there were any."""
    if self.skipped:
      say(
        f'{self._label}: {self.skipped} of {self._phase.updates} updates were not finite '
        f'and changed nothing'
      )
