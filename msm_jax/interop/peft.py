"""Low-rank adapters in the format of Hugging Face's PEFT, in and out.

A folder of PEFT holds adapter_config.json and adapter_model.safetensors. PEFT's lora_A is (rank,
in) and its lora_B is (out, rank); our matrices `a` and `b` are their transposes, stacked over the
layers with adapters: (A, in, rank) and (A, rank, out).
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
  save_tensors,
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
  'layers_pattern': None,
  'rank_pattern': {},
  'alpha_pattern': {},
  'fan_in_fan_out': False,
  'trainable_token_indices': None,
  'exclude_modules': None,
  'lora_bias': False,
  'target_parameters': None,
  'layer_replication': None,
  'use_qalora': False,
  'use_bdlora': None,
  'alora_invocation_tokens': None,
  'arrow_config': None,
  'corda_config': None,
  'kasa_config': None,
  'loftq_config': {},
  'lora_ga_config': None,
  'megatron_config': None,
  'monteclora_config': None,
  'velora_config': None,
}

# Settings that change nothing in the output of a trained adapter.
NEUTRAL = frozenset({
  'auto_mapping',
  'base_model_name_or_path',
  'ensure_weight_tying',
  'eva_config',
  'inference_mode',
  'megatron_core',
  'msm_jax_version',
  'peft_version',
  # Counts only with use_qalora.
  'qalora_group_size',
  'revision',
  'runtime_config',
  'task_type',
})  # fmt: skip

# Settings that are read: rank, alpha, dropout, targets and layers, and how the matrices began.
READ = frozenset({
  'init_lora_weights',
  'layers_to_transform',
  'lora_alpha',
  'lora_dropout',
  'r',
  'target_modules',
})  # fmt: skip

# How the two matrices may have begun. Other ways (pissa, olora, corda, loftq, lora_ga) change the
# matrix beside them, so that the adapter belongs to another base than the model that it names.
PLAIN_INITS = (None, True, False, 'gaussian', 'eva', 'orthogonal', 'mica')


def read_config(folder: str | Path) -> LoraConfig:
  """Reads an adapter's settings.

  Args:
    folder: a folder of PEFT.

  Returns:
    Its rank, alpha, dropout, targets and layers.

  Raises:
    WeightsError: it is an adapter of another kind; the message names the setting that makes it one.
  """
  path = Path(folder) / 'adapter_config.json'
  raw = read_json(path, 'give a folder of PEFT')
  # Without this key, the folder may hold anything.
  if not raw.get('peft_type'):
    raise WeightsError(f'{path}: peft_type is missing; give a folder of PEFT')
  for key, found in raw.items():
    is_plain = key in FIXED and found == FIXED[key]
    # What is empty asks for nothing, even where the setting is not known.
    if key in NEUTRAL or key in READ or is_plain or not found:
      continue
    raise WeightsError(
      f'{path}: {key}={repr(found)[:60]} is not known here; '
      'only plain LoRA is (rank, alpha, dropout, target_modules, layers_to_transform)'
    )
  init = raw.get('init_lora_weights')
  if init not in PLAIN_INITS:
    raise WeightsError(
      f'{path}: init_lora_weights={repr(init)[:60]} changes the base model, too, and is not known '
      'here; save the adapter with path_initial_model_for_weight_conversion, as PEFT says'
    )
  targets = _read_targets(raw.get('target_modules') or (), path)
  layers = _read_layers(raw.get('layers_to_transform'), path)
  # PEFT's own values, where the file says nothing.
  rank = raw.get('r', 8)
  alpha = raw.get('lora_alpha', 8)
  dropout = raw.get('lora_dropout') or 0.0
  numbers = {'r': rank, 'lora_alpha': alpha, 'lora_dropout': dropout}
  for key, value in numbers.items():
    is_number = type(value) is int or (type(value) is float and key != 'r')
    if not is_number:
      raise WeightsError(f'{path}: {key}={repr(value)[:60]} is no number that fits; mend it')
  try:
    return LoraConfig(rank, float(alpha), float(dropout), targets, layers)
  except (ConfigError, OverflowError) as e:
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
  is_list = isinstance(modules, list | tuple)
  if not is_list or not all(isinstance(module, str) for module in modules):
    raise WeightsError(f'{path}: target_modules is no list of names; mend it')
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


def _read_layers(layers: Any, path: Path) -> tuple[int, ...]:
  """The layers that an adapter's layers_to_transform names, ascending; empty means all."""
  if layers is None:
    return ()
  if type(layers) is int:
    layers = [layers]
  if not isinstance(layers, list) or not all(type(layer) is int for layer in layers):
    raise WeightsError(f'{path}: layers_to_transform is no list of numbers; mend it')
  return tuple(sorted(set(layers)))


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
  files = TensorFiles(folder, 'adapter_model.safetensors')
  names = _adapter_names(c)
  expected = {}
  for ours, name in names.items():
    for layer in c.adapted_layers:
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
    params[ours] = load_stacked(
      files.read, abstract_params[ours], name, is_transposed=True, layers=c.adapted_layers
    )
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
  if lora.layers:
    settings['layers_to_transform'] = list(lora.layers)
  tensors = {}
  for ours, name in _adapter_names(c).items():
    for place, layer in enumerate(c.adapted_layers):
      x = np.asarray(jax.device_get(params[ours][place]))
      tensors[name.format(layer)] = np.ascontiguousarray(x.T)
  with new_folder(Path(folder)) as new:
    save_tensors(new / 'adapter_model.safetensors', tensors)
    write_json(new / 'adapter_config.json', settings)
