"""Where a phase starts, and what it saves on its way.

`starting_state` makes the state in which a phase begins or goes on. `PhaseSaver` saves checkpoints,
from which the phase can go on, and the parameters at its points, which evaluators read.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msm_jax import multihost
from msm_jax.checkpointing import Checkpoints
from msm_jax.metrics import UpdateLog
from msm_jax.model import Params
from msm_jax.training.phase_data import PhaseData
from msm_jax.training.train_step import Program, TrainState, saved_opt_state
from msm_jax.training.training_checks import TrainingError

# --------------------------------------------------------------------------------------------------
# The start of a phase
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Origin:
  """Where the parameters of a phase come from, as far as they are not fresh."""

  # Reads the parameters that the parent phase leaves, given their abstract tree, and returns None
  # if it leaves none. None for a phase without parent.
  parent: Callable[[Params], Params | None] | None = None
  # Reads the parameters that are not trained, given their abstract tree; None if all are trained.
  frozen: Callable[[Params], Params] | None = None


def starting_state(
  program: Program,
  checkpoints: Checkpoints,
  data: PhaseData,
  origin: Origin,
  seed: int,
  meta: Mapping[str, Any],
) -> TrainState:
  """Makes the state in which a phase begins or goes on.

  Args:
    program: the compiled functions.
    checkpoints: the phase's own checkpoints.
    data: the phase's batches. If the phase goes on, they are set to where it stopped.
    origin: where parameters are read that do not lie in its own checkpoints.
    seed: the seed of fresh parameters and of dropout.
    meta: what a checkpoint of this phase has to match.

  Returns:
    The state; its `step` is the number of updates that are done already.

  Raises:
    TrainingError: the newest checkpoint was made with other data or another tokenizer.
  """
  abstract = program.abstract_state
  # Processes must not decide this by looking at the disk one after the other.
  newest_step = multihost.broadcast_from_first(checkpoints.latest())

  # Where the parameters come from. The first of these that exists decides:
  #
  # 1. Resume: the newest checkpoint of this phase itself, with optimizer and place in the data.
  # 2. Parent: the parameters that the parent phase ended with, with a fresh optimizer.
  # 3. Import: weights from outside, if the parent phase stands for such weights. `origin.parent`
  #    hides the difference between 2 and 3. It returns None if the parent leaves nothing to train:
  #    weights whose adapters are yet to be made.
  # 4. Fresh: random parameters from the seed.
  inherited = None
  if newest_step is None and origin.parent is not None:
    inherited = origin.parent(program.abstract_parent)
  if newest_step is not None:
    state = _resume(abstract, checkpoints, newest_step, data, meta)
  elif inherited is not None:
    state = program.start(inherited)
  else:
    state = program.init(jax.random.key(seed))

  # What stands in no checkpoint is read again, whatever came above.
  seed_on_device = multihost.make_global(np.asarray(seed, np.uint32), abstract.seed.sharding)
  return dataclasses.replace(
    state,
    frozen=_frozen_params(abstract, origin),
    reference=_reference_params(program, origin, seed),
    seed=seed_on_device,
  )


def _resume(
  abstract: TrainState,
  checkpoints: Checkpoints,
  step: int,
  data: PhaseData,
  meta: Mapping[str, Any],
) -> TrainState:
  """Reads the checkpoint of a step and sets the data to where it was."""
  params, opt_state, data_state, saved_meta = checkpoints.restore(
    step, abstract.params, saved_opt_state(abstract)
  )
  _check_same_start(saved_meta, meta, checkpoints.folder / str(step))
  data.set_state(data_state)
  return dataclasses.replace(abstract, params=params, **opt_state)


def _check_same_start(saved: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
  """Refuses to go on from a checkpoint of other data or another tokenizer.

  `saved` is the item `meta` of the checkpoint, `now` the same of this run, and `where` the
  checkpoint's folder, for the error. Raises TrainingError.
  """
  for key in ('tokenizer', 'data'):
    if saved.get(key) != now.get(key):
      raise TrainingError(
        f'{where}: {key} is {now.get(key)} and was {saved.get(key)} when this was saved; '
        f'restore it, or delete the phase to train it anew'
      )


def _reference_params(program: Program, origin: Origin, seed: int) -> Params:
  """What the trained parameters were at the start of the phase, if the objective asks for it.

  They are read into arrays of their own, since the step puts the new parameters into those of
  `params`.
  """
  abstract = program.abstract_state
  if not abstract.reference:
    return {}
  read = None
  if origin.parent is not None:
    read = origin.parent(abstract.params)
  if read is None:
    read = program.init(jax.random.key(seed)).params
  return read


def _frozen_params(abstract: TrainState, origin: Origin) -> Params:
  """The parameters that are not trained: imported weights, if adapters are trained beside them."""
  if not abstract.frozen:
    return {}
  assert origin.frozen is not None, 'adapters need the weights that they are beside'
  return origin.frozen(abstract.frozen)


# --------------------------------------------------------------------------------------------------
# Saving
# --------------------------------------------------------------------------------------------------


class PhaseSaver:
  """Saves a phase: checkpoints to go on from, and the parameters after some of its updates.

  Attributes:
    saved_step: the newest update of which there is a checkpoint.
  """

  def __init__(
    self,
    checkpoints: Checkpoints,
    points: Checkpoints | None,
    kept_points: Sequence[int],
    data: PhaseData,
    log: UpdateLog,
    meta: dict[str, Any],
    saved_step: int,
  ):
    """Finds out which points are missing.

    Args:
      checkpoints: the phase's checkpoints.
      points: where the parameters of `kept_points` are kept. What is there already stays. None if
        there are none.
      kept_points: the updates after which the parameters are kept.
      data: the phase's batches.
      log: the log of the updates.
      meta: what is written into each checkpoint.
      saved_step: the update from which the phase goes on.
    """
    self.saved_step = saved_step
    self._checkpoints = checkpoints
    self._points = points
    self._data = data
    self._log = log
    self._meta = meta
    # Processes must agree on what is saved.
    missing = [step for step in kept_points if points is not None and not points.has(step)]
    self._missing_points = multihost.broadcast_from_first(missing)

  def keep_point(self, step: int, state: TrainState) -> None:
    """Keeps the parameters after an update, if it is one of the missing points."""
    if self._points is not None and step in self._missing_points:
      self._points.save_params(step, state.params, self._meta | {'step': step})

  def save(self, step: int, state: TrainState) -> None:
    """Saves a checkpoint, from which the phase can go on after this update.

    Args:
      step: the number of updates done.
      state: the state after them.

    Raises:
      TrainingError: the last update shows that the phase learns nothing.
      CheckpointError: the checkpoint cannot be written.
    """
    if step == self.saved_step:
      return
    # metrics.jsonl and the points never know less than a checkpoint: resuming would leave a gap.
    self._log.flush()
    if self._points is not None:
      self._points.wait()
    self._checkpoints.save(
      step,
      state.params,
      saved_opt_state(state),
      self._data.get_state(),
      self._meta | {'step': step},
    )
    self.saved_step = step

  def close(self) -> None:
    """Waits until everything is on disk; may raise CheckpointError."""
    try:
      self._checkpoints.close()
    finally:
      if self._points is not None:
        self._points.close()
