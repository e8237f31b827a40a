"""The training steps that `real_step.py` times: SmolLM2-135M with msm_jax and with transformers.

Dimensions: B rows, T tokens of a row.
"""

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sizes import MODELS

from configs import smollm2

if TYPE_CHECKING:
  from msm_jax.config import ModelConfig

# Standard deviation of random weights and of the second matrices of adapters.
SCALE = 0.02


class Way(NamedTuple):
  """A way to train: ours or the peer's, the dtype, and whether the peer uses autocast."""

  is_ours: bool
  dtype: str
  autocast: bool = False


PROGRAMS = {
  'ours-float32': Way(True, 'float32'),
  'peer-float32': Way(False, 'float32'),
  'ours-bfloat16': Way(True, 'bfloat16'),
  'peer-bfloat16': Way(False, 'bfloat16'),
  'peer-autocast': Way(False, 'bfloat16', autocast=True),
}
# The settings of training.
CONFIG = smollm2.get_config('cpu_all')
LEARNING_RATE = CONFIG.phases.affordability.lr


# --------------------------------------------------------------------------------------------------
# What both programs are given
# --------------------------------------------------------------------------------------------------


def make_tokens(args: argparse.Namespace) -> np.ndarray:
  """Draws the tokens of the batch, (B, T) int32; those that chats end with are left out."""
  rng = np.random.default_rng(0)
  return rng.integers(4, args.vocabulary, (args.rows, args.length)).astype(np.int32)


def model_config(weights: str, case: str, dtype: str) -> 'ModelConfig':
  """Makes our settings of the model.

  Args:
    weights: the folder of the weights.
    case: one of CASES.
    dtype: 'float32' or 'bfloat16'.

  Returns:
    The settings.
  """
  from msm_jax.config import LoraConfig
  from msm_jax.interop import huggingface

  changes = CONFIG.model.to_dict() | {'dtype': dtype, 'lora': None}
  if case == 'lora':
    changes['lora'] = LoraConfig(**CONFIG.model.lora.to_dict())
  return huggingface.read_config(weights, **changes)


def write_random(folder: str, layers: int, vocabulary: int) -> None:
  """Writes a folder of random weights with the shape of SmolLM2-135M.

  Args:
    folder: the folder.
    layers: the number of layers.
    vocabulary: the size of the vocabulary.
  """
  import torch
  import transformers

  c = MODELS['smollm2-135m']
  torch.manual_seed(0)
  config = transformers.LlamaConfig(
    hidden_size=c.d_model,
    intermediate_size=c.d_ff,
    num_hidden_layers=layers,
    num_attention_heads=c.n_heads,
    num_key_value_heads=c.n_kv_heads,
    vocab_size=vocabulary,
    rope_theta=c.rope_theta,
    rms_norm_eps=c.norm_eps,
    tie_word_embeddings=True,
    max_position_embeddings=8192,
    initializer_range=SCALE,
  )
  transformers.LlamaForCausalLM(config).save_pretrained(folder)


def write_adapter(folder: str, weights: str) -> None:
  """Writes an adapter that changes a little, in the format of PEFT.

  Args:
    folder: the new folder.
    weights: the folder of the weights that it belongs to.
  """
  import jax

  from msm_jax.interop import peft
  from msm_jax.model import init_params

  c = model_config(weights, 'lora', 'float32')
  shapes = jax.eval_shape(lambda key: init_params(c, key), jax.random.key(0))
  rng = np.random.default_rng(0)
  adapters: dict[str, Any] = {}
  for name, x in shapes.items():
    if name.endswith('_a'):
      adapters[name] = rng.normal(0, x.shape[1] ** -0.5, x.shape).astype(np.float32)
    elif name.endswith('_b'):
      # An adapter whose second matrices are zero would say nothing about its scale.
      adapters[name] = rng.normal(0, SCALE / 10, x.shape).astype(np.float32)
  peft.export(folder, c, adapters, weights)


# --------------------------------------------------------------------------------------------------
# The programs
# --------------------------------------------------------------------------------------------------


def ours(args: argparse.Namespace, way: Way) -> Iterator[float]:
  """Trains with msm_jax.

  Args:
    args: the command line of the child.
    way: the dtype.

  Yields:
    The loss of each step, when the step has ended.
  """
  import jax

  from msm_jax import models, sharding
  from msm_jax.config import OptimizerConfig
  from msm_jax.training import train_step

  # One device has all cores, as where a config asks for nothing else.
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  model = model_config(args.weights, args.case, way.dtype)
  optimizer = OptimizerConfig(**CONFIG.optimizer.to_dict())
  program = train_step.make_program(model, optimizer, CONFIG.loss_chunk, mesh)
  adapter = None
  if args.case == 'lora':
    adapter = Path(args.adapter)
  location = models.ParamsLocation(model, Path(args.weights), adapter)
  state = program.start(location.load_trained(program.abstract_parent))
  frozen = location.load_frozen(program.abstract_state.frozen)
  state = dataclasses.replace(state, frozen=frozen)
  tokens_BT = make_tokens(args)
  weights_BT = np.ones(tokens_BT.shape, np.float32)
  # The last token of a text has no next one.
  weights_BT[:, -1] = 0
  batch = {
    'tokens': tokens_BT,
    'targets': np.roll(tokens_BT, -1, axis=1),
    'weights': weights_BT,
    'segment_ids': np.ones_like(tokens_BT),
    'positions': np.tile(np.arange(args.length, dtype=np.int32), (args.rows, 1)),
  }
  on_device = train_step.to_device(batch, 1, mesh)
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  lr = jax.device_put(np.full(2, LEARNING_RATE, np.float32), replicated)
  while True:
    with jax.set_mesh(mesh):
      state, metrics = program.step(state, on_device, lr)
    yield float(jax.block_until_ready((state, metrics))[1]['loss'])


def peer(args: argparse.Namespace, way: Way) -> Iterator[float]:
  """Trains with transformers, and with peft where there are adapters.

  Args:
    args: the command line of the child.
    way: the dtype, and whether autocast is used.

  Yields:
    The loss of each step, when the step has ended.
  """
  import torch
  import transformers

  dtype = getattr(torch, way.dtype)
  if args.case == 'full' and way.autocast:
    dtype = torch.float32
  model: Any = transformers.AutoModelForCausalLM.from_pretrained(
    args.weights, dtype=dtype, attn_implementation='sdpa'
  )
  if args.case == 'lora':
    import peft

    model = peft.PeftModel.from_pretrained(model, args.adapter, is_trainable=True)
  model.train()
  trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
  # Norms do not decay; they are the vectors.
  groups = [
    {'params': [p for p in trained if p.ndim > 1], 'weight_decay': CONFIG.optimizer.weight_decay},
    {'params': [p for p in trained if p.ndim == 1], 'weight_decay': 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, fused=True)
  tokens_BT = torch.from_numpy(make_tokens(args)).long()
  while True:
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=way.autocast):
      loss = model(input_ids=tokens_BT, labels=tokens_BT, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
    optimizer.step()
    yield loss.item()


def steps_of(args: argparse.Namespace, name: str) -> Iterator[float]:
  """The losses of a program, a key of PROGRAMS, step by step."""
  way = PROGRAMS[name]
  if way.is_ours:
    return ours(args, way)
  return peer(args, way)
