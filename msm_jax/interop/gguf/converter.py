"""Writes a folder of Hugging Face from a GGUF file."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msm_jax.base.errors import WeightsError
from msm_jax.base.version import VERSION
from msm_jax.config import ModelConfig
from msm_jax.interop.gguf.config import read_config
from msm_jax.interop.gguf.reader import open_file, stored_shape
from msm_jax.interop.gguf.tensors import ROPE_FACTORS, GGUFTensors
from msm_jax.interop.gguf.tokenizer import Vocabulary, make_tokenizer, read_vocabulary
from msm_jax.interop.huggingface.config_writing import config_to_json
from msm_jax.interop.huggingface.folder import (
  SHARD_BYTES,
  new_folder,
  write_json,
  write_tensors,
)
from msm_jax.interop.huggingface.tensors import check_tensors

# The quantisations that are read: those that the tests compare with a second reading of their
# layout.
TYPES = (
  'F32',
  'F16',
  'BF16',
  'Q8_0',
  'Q4_0',
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q4_K',
  'Q5_K',
  'Q6_K',
)


def _ignore_progress(done: int, total: int) -> None:
  pass


def convert(
  source: str | Path,
  folder: str | Path,
  on_progress: Callable[[int, int], None] = _ignore_progress,
  shard_bytes: int = SHARD_BYTES,
) -> None:
  """Converts a GGUF file. Everything is checked before anything is written, and the folder appears
  whole or not at all.

  Args:
    source: the file.
    folder: the new folder.
    on_progress: is called after each tensor with how many are done, and of how many.
    shard_bytes: the largest size of one file of weights; one such file is in memory at a time.

  Raises:
    WeightsError: the file says something that is not understood, which the message names; or the
      folder exists or cannot be written.
  """
  source = Path(source)
  where = str(source)
  metadata, stored = open_file(source)
  rope_factors = None
  if ROPE_FACTORS in stored:
    rope_factors = np.array(stored[ROPE_FACTORS].data, np.float32)
  shapes = {name: stored_shape(tensor) for name, tensor in stored.items()}
  c = read_config(metadata, rope_factors, shapes, where)
  arch = metadata['general.architecture']
  for name, tensor in stored.items():
    kind = tensor.tensor_type.name
    if kind not in TYPES:
      raise WeightsError(
        f'{where}: tensor {name} is of type {kind}, which is not read here; '
        f'known are {", ".join(TYPES)}'
      )
  tensors = GGUFTensors(source, stored, c, arch)
  check_tensors(tensors, c)
  vocabulary = read_vocabulary(metadata, where)
  if len(vocabulary.tokens) != c.vocab_size:
    raise WeightsError(
      f'{where}: {len(vocabulary.tokens)} tokens and an embedding of {c.vocab_size} '
      'are not of one model; download it again'
    )
  tokenizer = make_tokenizer(vocabulary, arch)

  def read_all() -> Iterator[tuple[str, np.ndarray]]:
    for n_done, name in enumerate(tensors.names, 1):
      yield name, tensors.read(name)
      on_progress(n_done, len(tensors.names))

  # All content is made before the folder is: whatever cannot be translated fails without a trace on
  # disk.
  ids = _special_ids(vocabulary)
  config = config_to_json(c, 'float32', ids)
  config['_name_or_path'] = metadata.get('general.name', '')
  config['msm_jax_version'] = VERSION
  template = metadata.get('tokenizer.chat_template')
  if template is not None and not isinstance(template, str):
    raise WeightsError(
      f'{where}: tokenizer.chat_template={repr(template)[:60]} is no text; download it again'
    )
  with new_folder(Path(folder)) as new:
    write_tensors(new, read_all(), shard_bytes)
    write_json(new / 'config.json', config)
    write_json(new / 'generation_config.json', _generation_config(ids, vocabulary))
    write_json(new / 'tokenizer_config.json', _tokenizer_config(vocabulary, c))
    tokenizer.save(str(new / 'tokenizer.json'))
    if template:
      (new / 'chat_template.jinja').write_text(template, encoding='utf-8')


def _special_ids(vocabulary: Vocabulary) -> dict[str, int]:
  """The ids that a config.json names: bos_token_id, eos_token_id and pad_token_id, those that there
  are.
  """
  ids = {}
  for name, token_id in vocabulary.special.items():
    if name != 'unk_token':
      ids[name.replace('_token', '_token_id')] = token_id
  return ids


def _generation_config(ids: Mapping[str, int], vocabulary: Vocabulary) -> dict[str, Any]:
  """The content of generation_config.json. An answer ends at eos, or where the file says that a
  turn ends.
  """
  ends = []
  if 'eos_token_id' in ids:
    ends.append(ids['eos_token_id'])
  for token_id in vocabulary.turn_ends:
    if token_id not in ends:
      ends.append(token_id)
  config: dict[str, Any] = dict(ids)
  if ends:
    config['eos_token_id'] = ends
  return config


def _tokenizer_config(vocabulary: Vocabulary, c: ModelConfig) -> dict[str, Any]:
  """The content of tokenizer_config.json."""
  config: dict[str, Any] = {}
  for name in vocabulary.special:
    config[name] = vocabulary.special_token(name)
  config['add_bos_token'] = vocabulary.add_bos
  config['add_eos_token'] = vocabulary.add_eos
  config['tokenizer_class'] = 'PreTrainedTokenizerFast'
  config['clean_up_tokenization_spaces'] = False
  config['model_max_length'] = c.max_length
  return config
