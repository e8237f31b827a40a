"""The batches of a phase. The loop reads text and sampled answers through one interface.

`TextBatches` reads rows of corpora. `rollouts.Rollouts` has the model itself answer prompts.
"""

from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from msm_jax.input_pipeline import BatchIterator
from msm_jax.training.train_step import TrainState, to_device


class PhaseData(Protocol):
  """Where the batches of a phase come from."""

  def resume(self, step: int) -> None:
    """Takes up the phase after an update, before the first batch is asked for."""

  def batch(self, step: int, state: TrainState) -> tuple[dict[str, jax.Array], dict[str, float]]:
    """Makes the batch of an update.

    Args:
      step: the number of the update, 1-based.
      state: the state before the update.

    Returns:
      (global (A, B, T) arrays, metrics of how the batch came about).

    Raises:
      UserError: there is no batch. The place in the data is that after the last one.
    """

  def get_state(self) -> dict[str, Any]:
    """The place in the data after the last batch, as JSON takes it."""

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned, in this process or another."""

  def close(self) -> None:
    """Ends what makes batches ahead."""


class TextBatches:
  """Rows of corpora, put onto the devices. They depend on neither the update nor the state."""

  def __init__(self, rows: BatchIterator, micro_batches: int, mesh: Mesh):
    """Takes the rows.

    Args:
      rows: batches of the rows that this process holds.
      micro_batches: the number A of micro-batches of a batch.
      mesh: the devices.
    """
    self._rows = rows
    self._micro_batches = micro_batches
    self._mesh = mesh

  def resume(self, step: int) -> None:
    """Does nothing: `set_state` says where the rows go on."""

  def batch(self, step: int, state: TrainState) -> tuple[dict[str, jax.Array], dict[str, float]]:
    """Takes the next batch; see `PhaseData`."""
    return to_device(next(self._rows), self._micro_batches, self._mesh), {}

  def get_state(self) -> dict[str, Any]:
    """The place after the last batch."""
    return self._rows.get_state()

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned."""
    self._rows.set_state(state)

  def close(self) -> None:
    """Ends the thread that makes batches ahead."""
    self._rows.close()
