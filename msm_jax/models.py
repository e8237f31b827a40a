"""The one loader of parameters: for the children of a phase, for evaluation, and for opening an
arm.

What a phase leaves behind lies in one of four places. A `ParamsLocation` says in which:

1. its own checkpoint, if it was trained;
2. a PEFT adapter, if it stands for one;
3. the imported weights, if it stands for these and no adapters are trained beside them;
4. nowhere: adapters beside imported weights that nothing has trained yet.

With adapters, the imported weights are *frozen parameters*: they are part of the model and never
trained.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from msm_jax import checkpointing
from msm_jax.config import ModelConfig
from msm_jax.interop import huggingface, peft

# A tree of abstract arrays: shapes, dtypes and the devices that the parameters go to.
AbstractParams = Any
Params = Any


@dataclasses.dataclass(frozen=True)
class ParamsLocation:
  """Where the parameters of a model lie on disk."""

  # The settings of the model.
  model: ModelConfig
  # A folder of Hugging Face that the model begins with; None if models start fresh.
  weights: Path | None = None
  # A folder of a PEFT adapter; None if there is none.
  adapter: Path | None = None
  # A folder of checkpoints, and the update whose checkpoint counts; None if nothing was trained.
  checkpoints: Path | None = None
  updates: int = 0

  def load_frozen(self, abstract: AbstractParams) -> Params:
    """Loads frozen parameters.

    Args:
      abstract: the frozen part of the parameters, as abstract arrays; empty if all are trained.

    Returns:
      The parameters on their devices.
    """
    if not abstract:
      return {}
    return load_weights(self.weights, self.model, abstract)

  def load_trained(self, abstract: AbstractParams) -> Params | None:
    """Loads what phases train: all parameters, or the adapters alone.

    Args:
      abstract: that part of the parameters, as abstract arrays.

    Returns:
      The parameters on their devices; None for adapters that nothing has trained yet.
    """
    if self.checkpoints is not None:
      checkpoints = checkpointing.Checkpoints(self.checkpoints)
      try:
        return checkpoints.restore_params(self.updates, abstract)
      finally:
        checkpoints.close()
    if self.adapter is not None:
      return peft.load_params(self.adapter, self.model, abstract)
    if self.model.lora:
      return None
    return load_weights(self.weights, self.model, abstract)


def load_weights(folder: str | Path | None, model: ModelConfig, abstract: AbstractParams) -> Params:
  """Loads parameters from a folder of Hugging Face.

  Args:
    folder: the folder.
    model: the settings of the model.
    abstract: the parameters that are wanted, as abstract arrays.

  Returns:
    The parameters on their devices.

  Raises:
    WeightsError: the folder does not hold what the model needs.
  """
  if folder is None:
    raise ValueError('a model without imported weights has none to load')
  return huggingface.load_params(huggingface.TensorFiles(folder), model, abstract)


def listed_arms(workdir: Path) -> dict[str, dict[str, Any]]:
  """Reads arms.json, in which a run lists the arms that are trained to their end.

  Args:
    workdir: the folder of the experiment.

  Returns:
    arm -> seed, as text -> where its parameters lie; nothing if the workdir holds no trained arm.
    `docs/schemas.md` describes the entries.
  """
  try:
    listed = json.loads((workdir / 'arms.json').read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError):
    return {}
  if not isinstance(listed, dict):
    return {}
  arms: dict[str, dict[str, Any]] = {}
  for arm, seeds in listed.items():
    whole = {}
    if isinstance(seeds, dict):
      whole = {seed: entry for seed, entry in seeds.items() if _is_whole(seed, entry)}
    # An arm without a whole entry counts as not listed; the next run lists it again.
    if whole:
      arms[arm] = whole
  return arms


# What an entry of arms.json must hold.
_ENTRY_TYPES = {
  'path': str,
  'model': dict,
  'length': int,
  'tokenizer': str,
  'weights': str,
  'adapter': str,
  'checkpoints': str,
  'updates': int,
}


def _is_whole(seed: str, entry: Any) -> bool:
  """Whether an entry of arms.json has everything that opening the arm asks for."""
  is_number = seed.removeprefix('-').isascii() and seed.removeprefix('-').isdigit()
  if not is_number or not isinstance(entry, dict):
    return False
  return all(isinstance(entry.get(key), type_) for key, type_ in _ENTRY_TYPES.items())
