"""Writes folders that `transformers`, vLLM and other programs load as they are.

A folder is written under a temporary name and renamed at the end, so a folder that has its name is
complete. Large models are written in several safetensors files, of which one at a time is in
memory.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from msm_jax.base.errors import WeightsError
from msm_jax.base.version import VERSION
from msm_jax.config import ModelConfig
from msm_jax.interop.huggingface.config import read_json
from msm_jax.interop.huggingface.config_writing import config_to_json
from msm_jax.interop.huggingface.tensors import tensor_names
from msm_jax.model import adapted

# Types in which weights are written, by their names in a config.json.
DTYPES = {'float32': np.float32, 'bfloat16': ml_dtypes.bfloat16, 'float16': np.float16}

# Weights are divided into files of about 2 GiB.
SHARD_BYTES = 2 << 30

# Files of the base model that an exported folder takes over as they are.
TOKENIZER_FILES = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'generation_config.json',
)
# The folder of chat templates for other purposes, such as calls of tools.
MORE_TEMPLATES = 'additional_chat_templates'


def stored_tensors(
  c: ModelConfig, params: dict[str, jax.Array], dtype: str
) -> Iterator[tuple[str, np.ndarray]]:
  """Gives the parameters of a model as a file holds them, with adapters added to their matrices.

  Args:
    c: the model.
    params: its parameters, adapters among them if it has any.
    dtype: a key of DTYPES.

  Yields:
    The name and the array of one tensor after the other; matrices are (out, in).

  Raises:
    WeightsError: a weight is too large for the dtype.
  """
  for ours, stored in tensor_names(c).items():
    for layer in stored.layers(c):
      if stored.is_per_layer:
        x = adapted(c, params, ours, layer)
      else:
        x = np.asarray(jax.device_get(params[ours]))
      name = stored.name.format(layer)
      x = _cast(name, x, dtype)
      if stored.is_transposed:
        x = x.T
      yield name, np.ascontiguousarray(x)


def _cast(name: str, x: np.ndarray, dtype: str) -> np.ndarray:
  """Casts a tensor to the type of the file. Raises WeightsError if a weight would be infinite."""
  with np.errstate(over='ignore'):
    cast = x.astype(DTYPES[dtype])
  # Only float16 ends far below what the others hold: at 65504.
  if dtype == 'float16' and np.isinf(cast).any() and not np.isinf(x).any():
    raise WeightsError(
      f'tensor {name} holds numbers up to {np.abs(x).max():g}, and float16 ends at 65504; '
      'give --dtype=bfloat16 or --dtype=float32'
    )
  return cast


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
  """Makes a folder that appears only when everything in it is written.

  Args:
    folder: the final name; an empty folder may already have it.

  Yields:
    A temporary folder to write into. It is renamed at the end, and removed if anything fails.

  Raises:
    WeightsError: the folder exists and is not empty, it has no name, or it cannot be written.
  """
  # safetensors belongs to the optional extra `hf`.
  from safetensors import SafetensorError

  if not folder.name:
    raise WeightsError(f'{folder} cannot be replaced; name a new folder')
  temporary = folder.with_name(f'{folder.name}.writing-{os.getpid()}')
  try:
    if folder.exists():
      is_empty_folder = folder.is_dir() and not any(folder.iterdir())
      if not is_empty_folder:
        raise WeightsError(f'{folder} exists and is not empty; choose another folder')
    temporary.mkdir(parents=True)
    yield temporary
    if folder.exists():
      folder.rmdir()
    os.replace(temporary, folder)
  # safetensors raises an error of its own when the disk is full.
  except (OSError, SafetensorError) as e:
    reason = getattr(e, 'strerror', None) or e
    raise WeightsError(
      f'cannot write {folder} ({reason}); free some space or choose another folder'
    ) from e
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def save_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
  """Writes one safetensors file, which everybody may read."""
  # safetensors belongs to the optional extra `hf`.
  from safetensors.numpy import save_file

  save_file(tensors, path, metadata={'format': 'pt'})
  # safetensors writes files that only their owner can read.
  path.chmod(0o644)


def write_tensors(
  folder: Path, tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int = SHARD_BYTES
) -> None:
  """Writes model.safetensors, or several files with their index. The tensors of one file are in
  memory at a time.

  Args:
    folder: an existing folder.
    tensors: name and array of each tensor.
    shard_bytes: the largest size of a file, unless a single tensor is larger.
  """
  shard: dict[str, np.ndarray] = {}
  names_by_file: list[list[str]] = []
  shard_size = 0
  total_size = 0

  def flush() -> None:
    """Writes the file that is being gathered, under a preliminary name."""
    save_tensors(folder / f'shard-{len(names_by_file)}', shard)
    names_by_file.append(list(shard))
    shard.clear()

  for name, x in tensors:
    if shard and shard_size + x.nbytes > shard_bytes:
      flush()
      shard_size = 0
    shard[name] = x
    shard_size += x.nbytes
    total_size += x.nbytes
  flush()

  # The names say how many files there are, which is known only now.
  n_files = len(names_by_file)
  weight_map: dict[str, str] = {}
  for k, names in enumerate(names_by_file):
    file = 'model.safetensors'
    if n_files > 1:
      file = f'model-{k + 1:05d}-of-{n_files:05d}.safetensors'
    os.replace(folder / f'shard-{k}', folder / file)
    weight_map |= dict.fromkeys(names, file)
  if n_files > 1:
    index = {'metadata': {'total_size': total_size}, 'weight_map': weight_map}
    write_json(folder / 'model.safetensors.index.json', index)


def write_json(path: Path, content: Any) -> None:
  """Writes JSON as `transformers` does: indented by two spaces, a newline at the end."""
  path.write_text(json.dumps(content, indent=2) + '\n')


def export(
  folder: str | Path,
  c: ModelConfig,
  params: dict[str, jax.Array],
  source: str | Path,
  dtype: str = '',
  shard_bytes: int = SHARD_BYTES,
  ends: Sequence[int] = (),
) -> None:
  """Writes a model with its config, tokenizer, chat template and weights; adapters are added to the
  matrices.

  Args:
    folder: the new folder.
    c: the model.
    params: its parameters.
    source: the folder of the base model, which the tokenizer comes from.
    dtype: a key of DTYPES; empty for the type of the base model.
    shard_bytes: the largest size of one file.
    ends: the ids that end an answer. Those that the files of the base model do not name are added
      to generation_config.json.

  Raises:
    WeightsError: the folder exists, `source` is gone, the dtype is unknown or too small for a
      weight, or the folder cannot be written.
  """
  source = Path(source)
  remedy = 'the weights that the experiment began with are gone; put them back'
  original = read_json(source / 'config.json', remedy)
  # New versions of transformers call it dtype.
  dtype = dtype or original.get('torch_dtype') or original.get('dtype') or 'float32'
  if not isinstance(dtype, str) or dtype not in DTYPES:
    raise WeightsError(f'dtype={dtype!r} must be one of {", ".join(DTYPES)}')
  tokens: dict[str, Any] = {}
  for key in ('bos_token_id', 'eos_token_id', 'pad_token_id'):
    if key in original:
      tokens[key] = original[key]
  with new_folder(Path(folder)) as new:
    write_tensors(new, stored_tensors(c, params, dtype), shard_bytes)
    config = config_to_json(c, dtype, tokens)
    if original.get('max_position_embeddings') is None:
      # The window of an arm is then the rows of its training. Other programs take that of the
      # family, as they do with the base model.
      del config['max_position_embeddings']
    config['msm_jax_version'] = VERSION
    write_json(new / 'config.json', config)
    for file in TOKENIZER_FILES:
      if (source / file).is_file():
        shutil.copyfile(source / file, new / file)
    if (source / MORE_TEMPLATES).is_dir():
      shutil.copytree(source / MORE_TEMPLATES, new / MORE_TEMPLATES)
    _add_ends(new / 'generation_config.json', ends, tokens)


def _add_ends(path: Path, ends: Sequence[int], tokens: Mapping[str, Any]) -> None:
  """Adds ids that end an answer to a generation_config.json, which need not be there yet.

  A base model with the chat template of its instruct version learns to close its turns with a
  symbol that its own files do not name as an end. Other programs would write on behind it.

  Args:
    path: the file.
    ends: the ids.
    tokens: the ids of config.json, which count only where there is no such file.
  """
  settings = dict(tokens)
  if path.is_file():
    settings = read_json(path, 'put it back')
  named = _ids_of(settings.get('eos_token_id'))
  if all(end in named for end in ends):
    return
  # The first end is what other programs fill up rows with. A file that names none keeps that of
  # config.json, if an answer ends with it here, too.
  listed = [end for end in named or _ids_of(tokens.get('eos_token_id')) if end in ends]
  missing = [end for end in ends if end not in listed]
  write_json(path, settings | {'eos_token_id': [*listed, *missing]})


def _ids_of(ids: Any) -> list[Any]:
  """An eos_token_id as a list: files have one id, several, or none."""
  if ids is None:
    return []
  return ids if isinstance(ids, list) else [ids]
