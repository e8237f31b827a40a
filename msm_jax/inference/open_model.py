"""What an experiment leaves, opened from its workdir alone: an arm's parameters and tokenizer, for whoever wants to ask it something."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from msm_jax import checkpointing, sharding, train, zoo
from msm_jax.base import checks
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.interop import huggingface, peft
from msm_jax.model import init_params
from msm_jax.tokenizer import Tokenizer


class ArmError(UserError, RuntimeError):
  """An arm that is not there; one line with cause and mend."""


class LoadedModel(NamedTuple):
  """A model, ready to be asked. `description`: one line for people; `weights`: the folder that it began with, if any."""

  model: ModelConfig
  params: Any
  tokenizer: Tokenizer
  description: str
  weights: str


def listed_arms(workdir: Path) -> dict[str, dict[str, Any]]:
  """arm -> seed -> where its parameters lie; nothing if the workdir holds no trained arm."""
  try:
    return json.loads((workdir / 'arms.json').read_text())
  except (OSError, ValueError):
    return {}


def trained_arms(workdir: str | Path) -> dict[str, tuple[int, ...]]:
  """Trained arms and their seeds. Raises ArmError if there are none."""
  listed = listed_arms(Path(workdir))
  if not listed:
    raise ArmError(
      f'{workdir} holds no trained arm; run its experiment (again: what is trained is only listed), or give another --workdir'
    )
  return {arm: tuple(sorted(map(int, seeds))) for arm, seeds in listed.items()}


def open_arm(
  workdir: str | Path, arm: str, seed: int = 0, mesh: Mesh | None = None, dtype: str = ''
) -> LoadedModel:
  """An arm that is trained to its end, whether or not the rest of its experiment is. `max_length` of the model is the longest row that it was
  trained on, if its weights don't say. `dtype`: of the parameters, if not what the model works in.

  Raises ArmError for an arm or a seed that is not there, CheckpointError or WeightsError for one that cannot be read.
  """
  known = trained_arms(workdir)
  if seed not in known.get(arm, ()):
    there = ', '.join(
      f'{a} (seed{"s" * (len(s) > 1)} {", ".join(map(str, s))})' for a, s in known.items()
    )
    raise ArmError(f'{workdir} has no arm {arm!r} with seed {seed}; it has {there}')
  workdir, at = Path(workdir), listed_arms(Path(workdir))[arm][str(seed)]
  model = checks.from_mapping(ModelConfig, at['model'], 'model')
  if model.lora and not (at['adapter'] or at['checkpoints']):
    model = dataclasses.replace(
      model, lora=None
    )  # adapters that nothing has trained yet change nothing
  like = abstract_params(model, mesh, dtype)
  trained, frozen = train.split(model, like)
  weights = functools.partial(_load_weights, at['weights'], model)
  if at['adapter']:
    params = peft.load_params(at['adapter'], model, trained)
  elif at['checkpoints']:
    checkpoints = checkpointing.Checkpoints(workdir / at['checkpoints'])
    if checkpoints.latest() != at['updates']:
      raise ArmError(
        f'{checkpoints.folder} has lost its last checkpoint; run the experiment again: the phase is trained anew'
      )
    params = checkpoints.restore_params(at['updates'], trained)
    checkpoints.close()
  else:
    params = weights(trained)
  tokenizer = Tokenizer.load(workdir / at['tokenizer'] if at['tokenizer'] else at['weights'])
  model = dataclasses.replace(model, max_length=model.max_length or at['length'])
  return LoadedModel(
    model,
    (weights(frozen) if frozen else {}) | params,
    tokenizer,
    f'{arm} (seed {seed}): {at["path"]}',
    at['weights'],
  )


def open_weights(folder: str | Path, mesh: Mesh | None = None, **ours: Any) -> LoadedModel:
  """A folder of Hugging Face without an experiment; `ours` are settings of the model that its config.json leaves open (dtype ...).

  Raises WeightsError or DataError for what cannot be read.
  """
  folder = zoo.locate(str(folder))
  model = huggingface.read_config(folder, **ours)
  huggingface.check_tensors(huggingface.TensorFiles(folder), model)
  return LoadedModel(
    model,
    _load_weights(folder, model, abstract_params(model, mesh)),
    Tokenizer.load(folder),
    f'{folder.name}: {folder}',
    str(folder),
  )


def _load_weights(folder: str | Path, model: ModelConfig, like: Any) -> Any:
  return huggingface.load_params(huggingface.TensorFiles(folder), model, like)


def abstract_params(model: ModelConfig, mesh: Mesh | None = None, dtype: str = '') -> Any:
  """Parameters to be read for use alone: in the dtype that the model works in unless `dtype` names one (norms in float32), divided over the
  devices by heads and columns unless `mesh` says otherwise."""
  mesh = mesh or sharding.make_mesh(data=1, tensor=-1)
  shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
  layout = sharding.shardings(shapes, mesh)
  dtypes = {
    k: x.dtype if k.endswith('norm') else jnp.dtype(dtype or model.dtype) for k, x in shapes.items()
  }
  return {
    k: jax.ShapeDtypeStruct(x.shape, dtypes[k], sharding=layout[k]) for k, x in shapes.items()
  }
