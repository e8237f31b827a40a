"""Opens trained models: the arms of a workdir, or a folder of Hugging Face weights.

A workdir is all that is needed: its `arms.json` lists the arms that are trained to their end, with
their settings and the places of their parameters and tokenizer.
"""

import dataclasses
import functools
import json
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from msm_jax import checkpointing, models, sharding
from msm_jax.base import checks
from msm_jax.base.checks import shown
from msm_jax.base.errors import ConfigError, UserError
from msm_jax.base.paths import as_workdir
from msm_jax.config import ModelConfig
from msm_jax.inference.sampling import Sampler
from msm_jax.interop import huggingface, zoo
from msm_jax.model import init_params
from msm_jax.models import ParamsLocation, listed_arms
from msm_jax.tokenizer import Tokenizer, load_tokenizer
from msm_jax.training.train_step import split_trainable


class ArmError(UserError, RuntimeError):
  """An arm that cannot be used: it is not there, or it is closed."""


class ArmEntry(TypedDict):
  """What arms.json says about one arm with one seed. Relative paths start at the workdir.

  Attributes:
    path: the phases that the arm went through, as the config writes them ('read > tune').
    model: the settings of the model.
    length: tokens of the longest row that the arm was trained on; 0 if it is imported as it is.
    tokenizer: path of its SentencePiece model; '' if the tokenizer is that of `weights`.
    weights: the folder of Hugging Face that the arm began with, or ''.
    adapter: the folder of an imported PEFT adapter, or ''.
    checkpoints: path of the checkpoints of its last phase; '' if that phase is an import.
    updates: the optimizer updates of its last phase, which name its last checkpoint.
    weights_id: what `huggingface.sample_of` said of `weights`; entries of earlier versions lack it.
    adapter_id: the same of `adapter`.
    tokenizer_id: the fingerprint of the tokenizer of `weights`; earlier entries lack it.
  """

  path: str
  model: dict[str, Any]
  length: int
  tokenizer: str
  weights: str
  adapter: str
  checkpoints: str
  updates: int
  weights_id: NotRequired[str]
  adapter_id: NotRequired[str]
  tokenizer_id: NotRequired[str]


class LoadedModel(NamedTuple):
  """A model that is ready to be used.

  Attributes:
    model: its settings.
    params: its parameters, placed on the devices.
    tokenizer: its tokenizer.
    description: one line for people. It names the handbook with which the experiment asks the arm
      (`contexts`), since no system message has it here.
    weights: the folder of Hugging Face that it began with, or ''.
    row_length: tokens of the longest row that it was trained on; 0 if it was only imported.
  """

  model: ModelConfig
  params: Any
  tokenizer: Tokenizer
  description: str
  weights: str
  row_length: int = 0


def trained_arms(workdir: str | Path) -> dict[str, tuple[int, ...]]:
  """Lists the arms of a workdir that are trained to their end.

  Args:
    workdir: the folder of an experiment.

  Returns:
    Arm -> its seeds, sorted.

  Raises:
    ArmError: there is no trained arm.
    ConfigError: what is given is no path.
  """
  listed = listed_arms(as_workdir(workdir))
  if not listed:
    raise ArmError(
      f'{workdir} holds no trained arm; run its experiment '
      '(again: what is trained is only listed), or name another folder'
    )
  return {arm: tuple(sorted(map(int, seeds))) for arm, seeds in listed.items()}


def load_arm(
  workdir: str | Path, arm: str, seed: int = 0, mesh: Mesh | None = None, dtype: str = ''
) -> LoadedModel:
  """Loads an arm that is trained to its end, whether or not the rest of its experiment is.

  Args:
    workdir: the folder of the experiment.
    arm: the name of the arm.
    seed: its seed.
    mesh: the devices (default: all, with heads and columns divided over them).
    dtype: of the parameters (default: the dtype that the model computes in).

  Returns:
    The model. Its `max_length` is the longest row that it was trained on, unless its weights say
    what it is.

  Raises:
    ArmError: the arm, its seed, or its last checkpoint is not there, or the folder of the weights
      that it began with holds others, or another tokenizer.
    ConfigError: what is given is no path.
    CheckpointError: its checkpoint cannot be read.
    DataError: its tokenizer is not there, or damaged.
    WeightsError: the weights that it began with cannot be read.
  """
  workdir = as_workdir(workdir)
  known = trained_arms(workdir)
  # Python takes 0.0 and False for the seed 0, and arms.json does not.
  is_seed = isinstance(seed, numbers.Integral) and not isinstance(seed, bool)
  if not (isinstance(arm, str) and is_seed and seed in known.get(arm, ())):
    there = ', '.join(_arm_with_seeds(name, seeds) for name, seeds in known.items())
    raise ArmError(f'{workdir} has no arm {shown(arm)} with seed {shown(seed)}; it has {there}')
  entry: ArmEntry = listed_arms(workdir)[arm][str(seed)]
  model = checks.from_mapping(ModelConfig, entry['model'], 'model')
  # The kernels of the devices that trained it may not run on these.
  model = dataclasses.replace(model, attention='auto')
  if model.lora and not (entry['adapter'] or entry['checkpoints']):
    # Adapters that nothing has trained yet are zero: the model is the same without them.
    model = dataclasses.replace(model, lora=None)
  location = _location(workdir, entry, model)
  trainable, frozen = split_trainable(model, abstract_params(model, mesh, dtype))
  is_imported = not entry['checkpoints']
  if frozen or is_imported:
    _check_content(entry['weights'], entry.get('weights_id', ''), arm)
  if is_imported:
    _check_content(entry['adapter'], entry.get('adapter_id', ''), arm)
  # `load_trained` returns None only for adapters that nothing has trained; there are none by now.
  trained = location.load_trained(trainable) or {}
  params = {**location.load_frozen(frozen), **trained}
  # Models that begin with imported weights also use the tokenizer of these weights.
  if entry['tokenizer']:
    tokenizer = load_tokenizer(workdir / entry['tokenizer'])
  else:
    tokenizer = load_tokenizer(entry['weights'])
    _check_tokenizer(tokenizer, entry, arm)
    tokenizer.check_fits(model.vocab_size, entry['weights'])
  if not model.max_length:
    model = dataclasses.replace(model, max_length=entry['length'])
  return LoadedModel(
    model=model,
    params=params,
    tokenizer=tokenizer,
    description=f'{arm} (seed {seed}): {entry["path"]}{_about_context(workdir, arm)}',
    weights=entry['weights'],
    row_length=entry['length'],
  )


def _check_content(folder: str, expected: str, arm: str) -> None:
  """Raises ArmError if an imported folder has other weights than when the arm was trained.

  Adapters would fit onto the weights of any model of the same size.
  """
  if expected and huggingface.sample_of(folder) not in (expected, ''):
    raise ArmError(
      f'{folder} has other weights than those that {arm} began with; put them back, or run its '
      'experiment again'
    )


def _check_tokenizer(tokenizer: Tokenizer, entry: ArmEntry, arm: str) -> None:
  """Raises ArmError if an imported folder has another tokenizer than when the arm was trained.

  The arm would run with it, and be asked by other tokens or another chat template than it has read.
  """
  if tokenizer.fingerprint != entry.get('tokenizer_id', tokenizer.fingerprint):
    raise ArmError(
      f'{entry["weights"]} has another tokenizer or chat template than {arm} began with; put it '
      'back, or run its experiment again'
    )


def _about_context(workdir: Path, arm: str) -> str:
  """Says that an arm lacks the handbook with which the experiment asks it; '' if it lacks none.

  Such an arm may have the very weights of another one, which is asked without a handbook.
  """
  try:
    config = json.loads((workdir / 'config.json').read_text(encoding='utf-8'))
    # A point on the way of an arm ('told@64') is asked as the arm is.
    name = arm if arm in config['arms'] else arm.rpartition('@')[0]
    handbook = config.get('contexts', {}).get(name, '')
  except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
    # The file appears when the experiment ends, and its next run mends it.
    return ''
  if not handbook:
    return ''
  return f'; without {handbook}, which the experiment puts into its system message'


def _arm_with_seeds(arm: str, seeds: Sequence[int]) -> str:
  word = 'seed' if len(seeds) == 1 else 'seeds'
  return f'{arm} ({word} {", ".join(map(str, seeds))})'


def _location(workdir: Path, entry: ArmEntry, model: ModelConfig) -> ParamsLocation:
  """Says where the parameters of an arm lie.

  Raises ArmError if its last checkpoint is not there any more.
  """
  checkpoint_folder = None
  if entry['checkpoints']:
    checkpoint_folder = workdir / entry['checkpoints']
    checkpoints = checkpointing.Checkpoints(checkpoint_folder)
    is_there = checkpoints.has(entry['updates'])
    checkpoints.close()
    if not is_there:
      raise ArmError(
        f'{checkpoint_folder} has lost its last checkpoint; run the experiment again: '
        'the phase is trained anew'
      )
  return ParamsLocation(
    model=model,
    weights=Path(entry['weights']) if entry['weights'] else None,
    adapter=Path(entry['adapter']) if entry['adapter'] else None,
    checkpoints=checkpoint_folder,
    updates=entry['updates'],
  )


def load_weights(folder: str | Path, mesh: Mesh | None = None, **settings: Any) -> LoadedModel:
  """Loads a folder of Hugging Face weights.

  Args:
    folder: the folder, or the name of a model that `msm_jax.zoo` knows.
    mesh: the devices (default: all, with heads and columns divided over them).
    **settings: settings of the model that config.json leaves open, such as `dtype`.

  Returns:
    The model.

  Raises:
    WeightsError: the weights cannot be read.
    DataError: the tokenizer or its chat template cannot be used.
  """
  folder = zoo.locate(str(folder))
  model = huggingface.read_config(folder, **settings)
  huggingface.check_tensors(huggingface.TensorFiles(folder), model)
  tokenizer = load_tokenizer(folder)
  tokenizer.check_fits(model.vocab_size, str(folder))
  return LoadedModel(
    model=model,
    params=models.load_weights(folder, model, abstract_params(model, mesh)),
    tokenizer=tokenizer,
    description=f'{folder.name}: {folder}',
    weights=str(folder),
  )


def abstract_params(model: ModelConfig, mesh: Mesh | None = None, dtype: str = '') -> Any:
  """Describes the parameters of a model for reading them from disk.

  Args:
    model: settings of the model.
    mesh: the devices (default: all, with heads and columns divided over them).
    dtype: of the matrices (default: the dtype that the model computes in). Norms are in float32.

  Returns:
    Name -> jax.ShapeDtypeStruct with a sharding.
  """
  # Sampling has few rows, so the devices divide the matrices and not the batch.
  mesh = mesh or sharding.make_mesh(data=1, tensor=-1)
  shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
  layout = sharding.shardings(shapes, mesh)
  matrix_dtype = jnp.dtype(dtype or model.dtype)
  abstract = {}
  for name, x in shapes.items():
    x_dtype = x.dtype if name.endswith('norm') else matrix_dtype
    abstract[name] = jax.ShapeDtypeStruct(x.shape, x_dtype, sharding=layout[name])
  return abstract


def open_samplers(
  workdir: str | None,
  arms: Sequence[str],
  seed: int,
  weights: str | None,
  dtype: str | None = None,
  max_length: int = 0,
  max_rows: int = 32,
) -> tuple[dict[str, Sampler], list[str]]:
  """Opens the models that the flags of a command name.

  Args:
    workdir: the folder of an experiment, or None.
    arms: the names of its arms.
    seed: their seed.
    weights: a folder of Hugging Face weights instead of a workdir, or None.
    dtype: that such weights compute in (default: float32 on a CPU, bfloat16 elsewhere).
    max_length: tokens of a prompt with its answer (default: what the model was trained for).
    max_rows: requests that a model answers at the same time.

  Returns:
    Name -> sampler, and one line about each model.

  Raises:
    ConfigError: the flags do not go together.
    UserError: a model cannot be opened.
  """
  if max_length < 0:
    raise ConfigError(
      f'max_length={max_length} is negative; give the tokens of a prompt with its answer, '
      f'or 0 for what the model was trained for'
    )
  _check_model_flags(workdir, arms, seed, weights, dtype)
  opened: dict[str, LoadedModel] = {}
  if weights:
    # Most CPUs only emulate bfloat16, so float32 is faster there.
    if not dtype:
      dtype = 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
    # The path may be '.', which has no name of its own.
    name = Path(weights).name or Path(weights).resolve().name or 'model'
    opened[name] = load_weights(weights, dtype=dtype)
  elif workdir:
    if not arms:
      raise ConfigError(f'give --arm=NAME; {workdir} has {", ".join(trained_arms(workdir))}')
    for arm in arms:
      opened[arm] = load_arm(workdir, arm, seed)
  samplers = {}
  descriptions = []
  for name, loaded in opened.items():
    samplers[name] = Sampler(loaded.model, loaded.params, loaded.tokenizer, max_length, max_rows)
    descriptions.append(loaded.description)
  return samplers, descriptions


def _check_model_flags(
  workdir: str | None, arms: Sequence[str], seed: int, weights: str | None, dtype: str | None
) -> None:
  """Raises ConfigError for flags that do not go together; the arguments are those of
  `open_samplers`."""
  # Both or neither was given.
  if bool(workdir) == bool(weights):
    raise ConfigError('give either --workdir=DIR with --arm=NAME, or --weights=FOLDER')
  # A flag that is ignored would look as if it had an effect.
  if weights and arms:
    raise ConfigError(f'{weights} has no arms; leave --arm={",".join(arms)} out, or give --workdir')
  if weights and seed:
    raise ConfigError(f'--seed={seed} is that of an arm, and {weights} has none; leave it out')
  if workdir and dtype:
    raise ConfigError(
      f'--dtype={dtype} is for --weights, and an arm works in the dtype of its experiment; '
      'leave it out'
    )
