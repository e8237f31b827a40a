"""Keeps what the frozen lower layers of a model make of each batch, for the arms that come next.

Arms that have adapters on upper layers alone differ in these, and they are asked the same. So the
layers below all adapters run once for a batch, and only the upper ones run for every arm. Of
SmolLM2 with adapters on ten of its thirty layers, an arm then takes about half of the time
(docs/LOG.md); logits are made for every arm.

The two parts of the model are two compiled programs. They are used whether a batch is kept or not,
so an arm has the same scores to the bit in whichever order the arms are asked.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax

from msm_jax import sharding
from msm_jax.config import ModelConfig
from msm_jax.evals.scoring_rows import READ_BY_LAYERS, Batch
from msm_jax.model import forward_lower

# So much stays in memory at most: 450,000 tokens of SmolLM2-135M in float32.
MAX_BYTES = 2**30

_program = jax.jit(forward_lower, static_argnums=0)


def runs_apart(model: ModelConfig) -> bool:
  """Whether the layers below all adapters run in a program of their own.

  On other devices than CPUs, the memory is needed for batches. The processes of a pod would have to
  agree on what is kept.

  Args:
    model: the model's settings.

  Returns:
    Whether there are such layers, and whether their results can be kept here.
  """
  can_keep = sharding.platform() == 'cpu' and jax.process_count() == 1
  return model.n_lower_layers > 0 and can_keep


class LowerLayers:
  """The lower layers of one model, and what they made of batches.

  Batches are kept until there is no room left; then the first ones stay. Arms are asked in one
  order, so a batch that pushes out an older one would be pushed out before it is used again.

  Attributes:
    kept_bytes: how much is kept.
  """

  def __init__(self, max_bytes: int = MAX_BYTES) -> None:
    self._max_bytes = max_bytes
    self._model: ModelConfig | None = None
    self._frozen: dict[str, jax.Array] = {}
    # The hash of a batch -> (B, T, D) hidden states.
    self._kept: dict[bytes, jax.Array] = {}
    self.kept_bytes = 0

  def of(
    self,
    model: ModelConfig,
    params: dict[str, Any],
    batch: Batch,
    on_device: Mapping[str, jax.Array | None],
  ) -> jax.Array:
    """Computes the hidden states below the lowest layer with adapters, or finds them.

    What is kept belongs to one model and its frozen parameters. Others drop all of it.

    Args:
      model: the model's settings, with `n_lower_layers` > 0.
      params: its parameters, frozen ones too.
      batch: the batch, on the host.
      on_device: what layers read of it (`READ_BY_LAYERS`), on the devices.

    Returns:
      (B, T, D) array in the dtype of the settings.
    """
    frozen = {name: x for name, x in params.items() if not name.endswith(('_a', '_b'))}
    if not self._are_known(model, frozen):
      self._model, self._frozen = model, frozen
      self._kept.clear()
      self.kept_bytes = 0
    key = _hash_of(batch)
    if key in self._kept:
      return self._kept[key]
    hidden_BTD = _program(model, params, **on_device)
    if self.kept_bytes + hidden_BTD.nbytes <= self._max_bytes:
      self._kept[key] = hidden_BTD
      self.kept_bytes += hidden_BTD.nbytes
    return hidden_BTD

  def _are_known(self, model: ModelConfig, frozen: dict[str, jax.Array]) -> bool:
    """Whether what is kept is of this model and of these very arrays."""
    if model != self._model or frozen.keys() != self._frozen.keys():
      return False
    return all(x is self._frozen[name] for name, x in frozen.items())


def _hash_of(batch: Batch) -> bytes:
  """A hash of what the layers read of a batch, with its shapes."""
  hashed = hashlib.sha256()
  for name in READ_BY_LAYERS:
    x = getattr(batch, name)
    shape = None if x is None else x.shape
    hashed.update(repr(shape).encode())
    if x is not None:
      hashed.update(x.tobytes())
  return hashed.digest()
