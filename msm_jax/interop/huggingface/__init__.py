"""Folders of Hugging Face (config.json, safetensors, tokenizer), in and out.

  families.py        the model families, and what each of them means for ModelConfig
  config.py          config.json -> ModelConfig; what is not understood is refused by name
  config_keys.py     what the keys of a config.json mean
  config_writing.py  ModelConfig -> config.json
  tensors.py         safetensors -> parameters on devices
  folder.py          parameters -> a new folder

The tokenizer of a folder is read by `msm_jax.tokenizer`.
"""

from msm_jax.interop.huggingface.config import config_from_json, read_config, read_json
from msm_jax.interop.huggingface.config_writing import config_to_json
from msm_jax.interop.huggingface.families import FAMILIES, family_of
from msm_jax.interop.huggingface.folder import (
  DTYPES,
  export,
  new_folder,
  save_tensors,
  stored_tensors,
  write_json,
  write_tensors,
)
from msm_jax.interop.huggingface.tensors import (
  TensorFiles,
  check_tensors,
  fingerprint,
  load_params,
  load_stacked,
  sample_of,
  tensor_names,
)

__all__ = [
  'DTYPES',
  'FAMILIES',
  'TensorFiles',
  'check_tensors',
  'config_from_json',
  'config_to_json',
  'export',
  'family_of',
  'fingerprint',
  'load_params',
  'load_stacked',
  'new_folder',
  'read_config',
  'read_json',
  'sample_of',
  'save_tensors',
  'stored_tensors',
  'tensor_names',
  'write_json',
  'write_tensors',
]
