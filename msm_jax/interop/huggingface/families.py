"""Model families of Hugging Face, and the fields of ModelConfig by which they differ.

A family is what `model_type` in a config.json names. This project has one model class, so a family
is only a set of field values here. `config.py` beside this file translates the rest of a
config.json.
"""

import dataclasses
from typing import Any

from msm_jax.base.errors import WeightsError
from msm_jax.config import ModelConfig

# model_type -> the fields of ModelConfig that differ from their defaults in this family.
FAMILIES: dict[str, dict[str, Any]] = {
  'llama': {},
  'qwen2': {'qkv_bias': True},
  'qwen3': {'qk_norm': True},
  'gemma3_text': {'qk_norm': True, 'post_norms': True, 'norm_offset': 1.0, 'activation': 'gelu'},
}

# model_type -> the class of `transformers` that loads such a model.
ARCHITECTURES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
  'gemma3_text': 'Gemma3ForCausalLM',
}

# ModelConfig.activation -> its name in a config.json.
ACTIVATIONS = {'silu': 'silu', 'gelu': 'gelu_pytorch_tanh'}

# Families whose embedding and output matrix are the same where the config.json does not say so.
TIED_BY_DEFAULT = {'gemma3_text'}


def family_of(c: ModelConfig) -> str:
  """Finds the family whose fields a model has.

  Args:
    c: the model.

  Returns:
    A key of FAMILIES.

  Raises:
    WeightsError: no family has these fields.
  """
  names: set[str] = set()
  for family in FAMILIES.values():
    names |= family.keys()
  defaults = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
  found = {name: getattr(c, name) for name in sorted(names)}
  for model_type, family in FAMILIES.items():
    expected = {name: family.get(name, defaults[name]) for name in names}
    if found == expected:
      return model_type
  listed = ', '.join(f'{name}={value}' for name, value in found.items())
  raise WeightsError(
    f'no family of Hugging Face has {listed}; such a model stays an Orbax checkpoint'
  )
