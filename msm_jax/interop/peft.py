"""Low-rank adapters in the format of Hugging Face's PEFT, in and out.

A folder of PEFT holds adapter_config.json and adapter_model.safetensors. PEFT's lora_A is (rank,
in) and its lora_B is (out, rank); our matrices `a` and `b` are their transposes, stacked over
layers: (L, in, rank) and (L, rank, out).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import LoraConfig, ModelConfig
from msm_jax.interop.huggingface import (
  TensorFiles,
  load_stacked,
  new_folder,
  read_json,
  tensor_names,
  write_json,
)

# Module of Hugging Face -> our matrix.
TARGETS = {
  'q_proj': 'wq',
  'k_proj': 'wk',
  'v_proj': 'wv',
  'o_proj': 'wo',
  'gate_proj': 'w_gate',
  'up_proj': 'w_up',
  'down_proj': 'w_down',
}

# Settings that must have this value, or be empty: another value would make another adapter than
# ours.
FIXED: dict[str, Any] = {
  'peft_type': 'LORA',
  'use_rslora': False,
  'use_dora': False,
  'bias': 'none',
  'modules_to_save': None,
  'layers_to_transform': None,
  'rank_pattern': {},
  'alpha_pattern': {},
  'fan_in_fan_out': False,
  'trainable_token_indices': None,
  'exclude_modules': None,
  'lora_bias': False,
  'target_parameters': None,
  'layer_replication': None,
  'use_qalora': False,
  'alora_invocation_tokens': None,
  'megatron_config': None,
}


def read_config(folder: str | Path) -> LoraConfig:
  """Reads an adapter's settings.

  Args:
    folder: a folder of PEFT.

  Returns:
    Its rank, alpha, dropout and targets.

  Raises:
    WeightsError: it is an adapter of another kind; the message names the setting that makes it one.
  """
  path = Path(folder) / 'adapter_config.json'
  raw = read_json(path, 'give a folder of PEFT')
  for key, value in FIXED.items():
    found = raw.get(key, value)
    if found and found != value:
      raise WeightsError(
        f'{path}: {key}={found!r} is not known here; '
        'only plain LoRA is (rank, alpha, dropout, target_modules)'
      )
  targets = _read_targets(raw.get('target_modules') or (), path)
  try:
    dropout = float(raw.get('lora_dropout') or 0)
    return LoraConfig(raw['r'], float(raw['lora_alpha']), dropout, targets)
  except (KeyError, ConfigError) as e:
    raise WeightsError(f'{path}: {e}; mend it or download it again') from None


def _read_targets(modules: Any, path: Path) -> tuple[str, ...]:
  """Our matrices that an adapter's target_modules name, in our order."""
  if isinstance(modules, str):
    # PEFT takes a string for a regular expression, except for this word.
    if modules != 'all-linear':
      raise WeightsError(
        f'{path}: target_modules={modules!r} is a pattern, which is not read here; list the modules'
      )
    modules = tuple(TARGETS)
  targets = set()
  for module in sorted(modules):
    # A module may be named with its path, such as self_attn.q_proj.
    name = module.rpartition('.')[2]
    if name not in TARGETS:
      raise WeightsError(
        f'{path}: target module {module!r} is not known here; known are {", ".join(TARGETS)}'
      )
    targets.add(TARGETS[name])
  return tuple(ours for ours in TARGETS.values() if ours in targets)


def _lora(c: ModelConfig) -> LoraConfig:
  """The adapters' settings of a model that is known to have adapters."""
  assert c.lora is not None
  return c.lora


def _adapter_names(c: ModelConfig) -> dict[str, str]:
  """Our adapter matrix -> the name of its tensor, with '{}' for the layer."""
  stored_names = tensor_names(c)
  names = {}
  for target in _lora(c).targets:
    stem = stored_names[target].name.removesuffix('.weight')
    names[f'{target}_a'] = f'base_model.model.{stem}.lora_A.weight'
    names[f'{target}_b'] = f'base_model.model.{stem}.lora_B.weight'
  return names


def load_params(
  folder: str | Path, c: ModelConfig, abstract_params: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
  """Reads an adapter onto the devices.

  Args:
    folder: a folder of PEFT.
    c: the model, with the adapter's settings in `c.lora`.
    abstract_params: shape, dtype and sharding of every adapter matrix, by our names.

  Returns:
    The adapter's matrices, laid out and typed as `abstract_params` says.

  Raises:
    WeightsError: the adapter does not fit the model, or changes no output.
  """
  files = TensorFiles(folder)
  names = _adapter_names(c)
  expected = {}
  for ours, name in names.items():
    for layer in range(c.n_layers):
      # The shape without its first axis, in reverse: a file holds the transpose of one layer.
      expected[name.format(layer)] = abstract_params[ours].shape[:0:-1]
  differing = sorted(set(expected) ^ set(files.names))
  if differing:
    problem = 'missing' if differing[0] in expected else 'not known here'
    raise WeightsError(
      f'{folder}: tensor {differing[0]} is {problem}; the adapter does not fit this model'
    )
  for name, shape in expected.items():
    found = files.shape(name)
    if found != shape:
      raise WeightsError(
        f'{folder}: tensor {name} has shape {found}, and this model asks for {shape}; '
        'the adapter is of another model'
      )
  params = {}
  for ours, name in names.items():
    params[ours] = load_stacked(files.read, abstract_params[ours], name, is_transposed=True)
  check_effect(params, str(folder))
  return params


def check_effect(params: Mapping[str, jax.Array], where: str) -> None:
  """Checks that an adapter changes some output.

  A fresh adapter has b = 0, so an adapter of which every product a @ b is zero was never trained.

  Args:
    params: the adapter's matrices.
    where: the adapter's name, for the error message.

  Raises:
    WeightsError: every product is zero.
  """
  for name, a in params.items():
    if name.endswith('_a'):
      b = params[f'{name.removesuffix("_a")}_b']
      if bool(jax.numpy.any(a) & jax.numpy.any(b)):
        return
  raise WeightsError(
    f'{where}: the adapter changes no output (all its products are zero); '
    'it was never trained, or is not the one you want'
  )


def export(folder: str | Path, c: ModelConfig, params: Mapping[str, jax.Array], base: str) -> None:
  """Writes an adapter that PEFT loads.

  Args:
    folder: the new folder.
    c: the model, with the adapter's settings in `c.lora`.
    params: the adapter's matrices.
    base: the model that the adapter belongs to, a name or a folder; PEFT reads it from the
      adapter's config.
  """
  # safetensors belongs to the optional extra `hf`.
  from safetensors.numpy import save_file

  lora = _lora(c)
  modules = {ours: module for module, ours in TARGETS.items()}
  settings = {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'base_model_name_or_path': base,
    'r': lora.rank,
    'lora_alpha': lora.alpha,
    'lora_dropout': lora.dropout,
    'target_modules': [modules[target] for target in lora.targets],
    'bias': 'none',
    'inference_mode': True,
  }
  tensors = {}
  for ours, name in _adapter_names(c).items():
    for layer in range(c.n_layers):
      x = np.asarray(jax.device_get(params[ours][layer]))
      tensors[name.format(layer)] = np.ascontiguousarray(x.T)
  with new_folder(Path(folder)) as new:
    save_file(tensors, new / 'adapter_model.safetensors', metadata={'format': 'pt'})
    write_json(new / 'adapter_config.json', settings)
