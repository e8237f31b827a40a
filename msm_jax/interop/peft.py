"""Low-rank adapters in the format of Hugging Face's PEFT (adapter_config.json, adapter_model.safetensors), in and out."""

import json
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
)

TARGETS = {
  'q_proj': 'wq',
  'k_proj': 'wk',
  'v_proj': 'wv',
  'o_proj': 'wo',
  'gate_proj': 'w_gate',
  'up_proj': 'w_up',
  'down_proj': 'w_down',
}
# What must hold just this (or nothing): another value would make another adapter than ours.
FIXED: dict[str, Any] = {
  'peft_type': 'LORA', 'use_rslora': False, 'use_dora': False, 'bias': 'none', 'modules_to_save': None, 'layers_to_transform': None,
  'rank_pattern': {},  'alpha_pattern': {}, 'fan_in_fan_out': False, 'trainable_token_indices': None, 'exclude_modules': None, 'lora_bias': False,
  'target_parameters': None,  'layer_replication': None, 'use_qalora': False, 'alora_invocation_tokens': None, 'megatron_config': None,
}  # fmt: skip


def read_config(folder: str | Path) -> LoraConfig:
  """Raises WeightsError for an adapter of another kind, by the setting that makes it one."""
  path = Path(folder) / 'adapter_config.json'
  raw = read_json(path, 'give a folder of PEFT')
  for key, value in FIXED.items():
    if (found := raw.get(key, value)) != value and found:
      raise WeightsError(
        f'{path}: {key}={found!r} is not known here; only plain LoRA is (rank, alpha, dropout, target_modules)'
      )
  modules = raw.get('target_modules') or ()
  if isinstance(modules, str):
    if modules != 'all-linear':
      raise WeightsError(
        f'{path}: target_modules={modules!r} is a pattern, which is not read here; list the modules'
      )
    modules = tuple(TARGETS)
  if unknown := sorted(m for m in modules if m.rpartition('.')[2] not in TARGETS):
    raise WeightsError(
      f'{path}: target module {unknown[0]!r} is not known here; known are {", ".join(TARGETS)}'
    )
  targets = {TARGETS[m.rpartition('.')[2]] for m in modules}
  try:
    return LoraConfig(
      raw['r'],
      float(raw['lora_alpha']),
      float(raw.get('lora_dropout') or 0),
      tuple(t for t in TARGETS.values() if t in targets),
    )
  except (KeyError, ConfigError) as e:
    raise WeightsError(f'{path}: {e}; mend it or download it again') from None


def _names(c: ModelConfig) -> dict[str, str]:
  """Our adapter matrix -> the name of its tensor, '{}' for the layer."""
  stems = {t: tensor_names(c)[t][0].removesuffix('.weight') for t in c.lora.targets}
  return {
    f'{t}_{x.lower()}': f'base_model.model.{stem}.lora_{x}.weight'
    for t, stem in stems.items()
    for x in 'AB'
  }


def load_params(folder: str | Path, c: ModelConfig, like: Any) -> Any:
  """The adapters in a folder, laid out as `like`. Raises WeightsError if they don't fit the model, or change nothing."""
  files, names = TensorFiles(folder), _names(c)
  expected = {
    name.format(i): like[k].shape[:0:-1] for k, name in names.items() for i in range(c.n_layers)
  }
  for name in sorted(expected.keys() ^ files.files.keys()):
    raise WeightsError(
      f'{folder}: tensor {name} is {"missing" if name in expected else "not known here"}; the adapter does not fit this model'
    )
  for name, shape in expected.items():
    if (found := files.shape(name)) != shape:
      raise WeightsError(
        f'{folder}: tensor {name} has shape {found}, and this model asks for {shape}; the adapter is of another model'
      )
  params = {k: load_stacked(files.read, like[k], name, True) for k, name in names.items()}
  check_effect(params, str(folder))
  return params


def check_effect(params: Any, where: str) -> None:
  """Raises WeightsError if adapters change no output: every product of theirs is zero."""
  products = [(k[:-2], x, params[f'{k[:-2]}_b']) for k, x in params.items() if k.endswith('_a')]
  if not any(bool(jax.numpy.any(a) & jax.numpy.any(b)) for _, a, b in products):
    raise WeightsError(
      f'{where}: the adapter changes no output (all its products are zero); it was never trained, or is not the one you want'
    )


def export(folder: str | Path, c: ModelConfig, params: Any, base: str) -> None:
  """Writes adapters so that PEFT loads them over the model `base` (a name or a folder, told in the config)."""
  from safetensors.numpy import save_file

  theirs = {ours: name for name, ours in TARGETS.items()}
  settings = {
    'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'base_model_name_or_path': base, 'r': c.lora.rank, 'lora_alpha': c.lora.alpha,
    'lora_dropout': c.lora.dropout, 'target_modules': [theirs[t] for t in c.lora.targets], 'bias': 'none', 'inference_mode': True,
  }  # fmt: skip
  tensors = {}
  for k, name in _names(c).items():
    for i in range(c.n_layers):
      tensors[name.format(i)] = np.ascontiguousarray(np.asarray(jax.device_get(params[k][i])).T)
  with new_folder(Path(folder)) as new:
    save_file(tensors, new / 'adapter_model.safetensors', metadata={'format': 'pt'})
    (new / 'adapter_config.json').write_text(json.dumps(settings, indent=2) + '\n')
