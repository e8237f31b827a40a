"""Folders of Hugging Face (config.json, safetensors, tokenizer) in and out, tensor by tensor.

What a config says is either understood, or known to change no output, or refused by name. Stored matrices are (out, in), ours (in, out)
with the layers stacked.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import msm_jax
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.model import adapted

DTYPES = {'float32': np.float32, 'bfloat16': ml_dtypes.bfloat16, 'float16': np.float16}


# ------------------------------------------------------------------------------------------------------------------------- config

# Keys of a config.json that change no output of a forward pass, whatever they hold.
NEUTRAL = frozenset(
  'architectures model_type torch_dtype dtype transformers_version use_cache bos_token_id eos_token_id pad_token_id initializer_range _name_or_path '
  'attention_dropout max_position_embeddings id2label label2id return_dict output_attentions output_hidden_states problem_type '
  'chunk_size_feed_forward is_encoder_decoder cache_implementation is_llama_config rope_interleaved unsloth_fixed unsloth_version '
  'transformers.js_config _attn_implementation_autoset msm_jax_version max_window_layers _sliding_window_pattern '
  'sliding_window_pattern initializer_cutoff_factor'.split()
)
# Keys that must hold just this (or nothing), because another value would change the mathematics in a way that no field of ModelConfig has.
FIXED: dict[str, Any] = {
  'pretraining_tp': 1, 'attention_bias': False, 'mlp_bias': False, 'use_bidirectional_attention': False, 'quantization_config': None,
  'partial_rotary_factor': 1.0, 'is_decoder': False, 'add_cross_attention': False, 'tie_encoder_decoder': False,
  'attn_logit_softcapping': None,
  'rope_interleaved': False,
}  # fmt: skip
SIZES = {
  'hidden_size': 'd_model', 'intermediate_size': 'd_ff', 'num_hidden_layers': 'n_layers', 'num_attention_heads': 'n_heads',
  'vocab_size': 'vocab_size',   'rms_norm_eps': 'norm_eps',
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
  'llama': {},
  'qwen2': {'qkv_bias': True},
  'qwen3': {'qk_norm': True},
  'gemma3_text': {'qk_norm': True, 'post_norms': True, 'norm_offset': 1.0, 'activation': 'gelu'},
}
ARCHITECTURES = {
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
  'gemma3_text': 'Gemma3ForCausalLM',
}
ACTIVATIONS = {'silu': 'silu', 'gelu_pytorch_tanh': 'gelu'}
TIED_BY_DEFAULT = {'gemma3_text'}


def family_of(c: ModelConfig) -> str:
  """The family whose fields a model has. Raises WeightsError if no family has them."""
  fields = {k for family in FAMILIES.values() for k in family}
  for name, family in FAMILIES.items():
    if all(
      getattr(c, k) == family.get(k, ModelConfig.__dataclass_fields__[k].default) for k in fields
    ):
      return name
  raise WeightsError(
    f'no family of Hugging Face has {", ".join(f"{k}={getattr(c, k)}" for k in sorted(fields))}; such a model stays an Orbax checkpoint'
  )


def _rope(
  settings: Mapping[str, Any], theta: float, where: str
) -> tuple[float, RopeScaling | None]:
  """(base, scaling) of one kind of layer, from rope_parameters or the older rope_scaling."""
  s = dict(settings)
  theta = float(s.pop('rope_theta', theta))
  kind = s.pop('rope_type', s.pop('type', 'default'))
  s.pop('type', None)
  known = {
    'default': (),
    'linear': ('factor',),
    'llama3': ('factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'),
  }
  if kind not in known:
    raise WeightsError(
      f'{where}: rotary positions of type {kind!r} are not known here; known are {", ".join(known)}'
    )
  if s.pop('partial_rotary_factor', 1.0) != 1.0:
    raise WeightsError(
      f'{where}: partial_rotary_factor is not known here; this model cannot be imported'
    )
  if unknown := [k for k, v in s.items() if k not in known[kind] and v is not None]:
    raise WeightsError(
      f'{where}: {unknown[0]}={s[unknown[0]]!r} of the rotary positions is not known here; this model cannot be imported'
    )
  if kind == 'default':
    return theta, None
  try:
    if kind == 'linear':
      return theta, RopeScaling('linear', float(s['factor']))
    return theta, RopeScaling(kind, *(float(s[k]) for k in known[kind][:3]), int(s[known[kind][3]]))
  except KeyError as e:
    raise WeightsError(
      f'{where}: rotary positions of type {kind} lack {e.args[0]}; mend config.json'
    ) from None


def read_json(path: Path, mend: str) -> dict[str, Any]:
  """Raises WeightsError for a file that is missing (`mend`: what to do about that) or no JSON object."""
  try:
    raw = json.loads(path.read_text())
  except OSError:
    raise WeightsError(f'{path.parent} has no {path.name}; {mend}') from None
  except ValueError as e:
    raise WeightsError(f'{path} is not JSON ({e}); download it again') from None
  if not isinstance(raw, dict):
    raise WeightsError(f'{path} holds no JSON object; download it again')
  return raw


def read_config(folder: str | Path, **ours: Any) -> ModelConfig:
  """The model that a folder's config.json describes; `ours` are fields that it does not decide (dtype, remat, lora ...).

  Raises WeightsError for what is not understood, by name.
  """
  path = Path(folder) / 'config.json'
  return config_from_json(
    read_json(
      path, 'give a folder of Hugging Face, or the name of a model (python -m msm_jax.zoo list)'
    ),
    str(path),
    **ours,
  )


def config_from_json(raw: Mapping[str, Any], where: str, **ours: Any) -> ModelConfig:
  kind = raw.get('model_type')
  if kind not in FAMILIES:
    raise WeightsError(
      f'{where}: architecture {kind!r} ({", ".join(raw.get("architectures") or ())}) is not known here; known are {", ".join(FAMILIES)}'
    )
  left = {k: v for k, v in raw.items() if k not in NEUTRAL or k in FIXED}
  for key, value in FIXED.items():
    if (found := left.pop(key, value)) not in (value, None):
      raise WeightsError(
        f'{where}: {key}={found!r} changes the mathematics and is not known here; only {value!r} is'
      )
  left.pop('model_type', None)
  fields: dict[str, Any] = dict(FAMILIES[kind])
  try:
    for key, field in SIZES.items():
      fields[field] = left.pop(key)
  except KeyError as e:
    raise WeightsError(f'{where}: {e.args[0]} is missing; download it again') from None
  fields['n_kv_heads'] = left.pop('num_key_value_heads', None) or fields['n_heads']
  default_dim = 256 if kind == 'gemma3_text' else fields['d_model'] // fields['n_heads']
  fields['head_dim'] = left.pop('head_dim', None) or default_dim
  fields['tie_embeddings'] = left.pop('tie_word_embeddings', kind in TIED_BY_DEFAULT)
  fields['max_length'] = raw.get('max_position_embeddings') or 0
  activation = [a for k in ('hidden_act', 'hidden_activation') if (a := left.pop(k, None))] or [
    None
  ]
  expected = {'silu': 'silu', 'gelu': 'gelu_pytorch_tanh'}[fields.get('activation', 'silu')]
  if activation[0] not in (expected, None):
    raise WeightsError(
      f'{where}: activation {activation[0]!r} is not that of {kind} ({expected}) and not known here'
    )

  # rotary positions: rope_parameters of new files, rope_theta and rope_scaling (and rope_local_base_freq) of older ones
  parameters = left.pop('rope_parameters', None) or {}
  theta, scaling = (
    left.pop('rope_theta', None) or (1e6 if kind == 'gemma3_text' else 1e4),
    left.pop('rope_scaling', None) or {},
  )
  local_theta = left.pop('rope_local_base_freq', None) or 1e4
  by_layer = {
    k: parameters.pop(k)
    for k in ('full_attention', 'sliding_attention')
    if k in (parameters := dict(parameters))
  }
  whole = by_layer.get('full_attention') or parameters or scaling
  fields['rope_theta'], fields['rope_scaling'] = _rope(whole, theta, where)
  near = by_layer.get('sliding_attention', {})

  # layers that look back no further than a window
  window, kinds, uses = (
    left.pop('sliding_window', None),
    left.pop('layer_types', None),
    left.pop('use_sliding_window', kind == 'gemma3_text'),
  )
  n = fields['n_layers']
  if kind == 'gemma3_text' and not kinds:
    every = raw.get('sliding_window_pattern') or raw.get('_sliding_window_pattern') or 6
    kinds = ['full_attention' if (i + 1) % every == 0 else 'sliding_attention' for i in range(n)]
  elif uses and window and not kinds:
    kinds = [
      'full_attention' if i < raw.get('max_window_layers', 0) else 'sliding_attention'
      for i in range(n)
    ]
  if kinds and (odd := set(kinds) - {'full_attention', 'sliding_attention'}):
    raise WeightsError(f'{where}: layers of type {sorted(odd)[0]!r} are not known here')
  if kinds and 'sliding_attention' in kinds and uses:
    fields['local_layers'], fields['local_window'] = (
      tuple(k == 'sliding_attention' for k in kinds),
      window,
    )
    if kind == 'gemma3_text':
      fields['local_theta'], local_scaling = _rope(near, local_theta, where)
    else:
      fields['local_theta'], local_scaling = fields['rope_theta'], fields['rope_scaling']
    if local_scaling:
      raise WeightsError(
        f'{where}: stretched rotary positions in layers with a window are not known here'
      )
  if kind == 'gemma3_text':
    fields['query_scale'] = float(left.pop('query_pre_attn_scalar', 256)) ** -0.5
    fields['embed_scale'] = float(fields['d_model']) ** 0.5
    fields['logit_softcap'] = left.pop('final_logit_softcapping', None) or 0.0
  if unknown := sorted(k for k, v in left.items() if v is not None):
    raise WeightsError(
      f'{where}: {unknown[0]}={left[unknown[0]]!r} is not known here, and might change the mathematics; this model cannot be imported'
    )
  try:
    return ModelConfig(**fields | ours)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def config_to_json(c: ModelConfig, dtype: str, tokens: Mapping[str, Any]) -> dict[str, Any]:
  """A config.json for `transformers`; `tokens` are bos_token_id, eos_token_id and pad_token_id."""
  kind = family_of(c)
  out: dict[str, Any] = {
    'architectures': [ARCHITECTURES[kind]],
    'model_type': kind,
    'torch_dtype': dtype,
    **tokens,
  }
  out |= {key: getattr(c, field) for key, field in SIZES.items()}
  out |= {
    'num_key_value_heads': c.n_kv_heads,
    'head_dim': c.head_dim,
    'tie_word_embeddings': c.tie_embeddings,
    'attention_bias': False,
  }
  out |= {
    'max_position_embeddings': c.max_length or 2048,
    'rope_theta': c.rope_theta,
    'attention_dropout': 0.0,
    'use_cache': True,
  }
  if s := c.rope_scaling:
    out['rope_scaling'] = {'rope_type': s.kind, 'factor': s.factor}
    if s.kind == 'llama3':
      out['rope_scaling'] |= {
        'low_freq_factor': s.low,
        'high_freq_factor': s.high,
        'original_max_position_embeddings': s.original_length,
      }
  if c.local_layers:
    out |= {
      'layer_types': ['sliding_attention' if x else 'full_attention' for x in c.local_layers],
      'sliding_window': c.local_window,
    }
  if kind == 'gemma3_text':
    out |= {
      'hidden_activation': 'gelu_pytorch_tanh', 'query_pre_attn_scalar': round(c.query_scale**-2), 'rope_local_base_freq': c.local_theta,
      'final_logit_softcapping': c.logit_softcap or None,
    }  # fmt: skip
  else:
    out |= (
      {'hidden_act': 'silu', 'mlp_bias': False}
      if kind == 'llama'
      else {'hidden_act': 'silu', 'use_sliding_window': any(c.local_layers)}
    )
    if kind == 'llama' and c.local_layers:
      raise WeightsError(
        'no Llama has layers with a window; such a model stays an Orbax checkpoint'
      )
  return out


# ------------------------------------------------------------------------------------------------------------------------ tensors


def tensor_names(c: ModelConfig) -> dict[str, tuple[str, bool]]:
  """Our parameter -> (its name in a file, '{}' for the layer, whether it is stored transposed)."""
  layer = 'model.layers.{}.'
  names = {
    'embed': ('model.embed_tokens.weight', False),
    'final_norm': ('model.norm.weight', False),
    'attention_norm': (f'{layer}input_layernorm.weight', False),
    'mlp_norm': (
      f'{layer}{"pre_feedforward" if c.post_norms else "post_attention"}_layernorm.weight',
      False,
    ),
  }
  for ours, theirs in (
    ('wq', 'self_attn.q_proj'),
    ('wk', 'self_attn.k_proj'),
    ('wv', 'self_attn.v_proj'),
    ('wo', 'self_attn.o_proj'),
  ):
    names[ours] = f'{layer}{theirs}.weight', True
    if c.qkv_bias and ours != 'wo':
      names[f'{ours}_bias'] = f'{layer}{theirs}.bias', False
  names |= {
    f'w_{part}': (f'{layer}mlp.{part}_proj.weight', True) for part in ('gate', 'up', 'down')
  }
  if not c.tie_embeddings:
    names['unembed'] = 'lm_head.weight', False
  if c.qk_norm:
    names |= {f'{x}_norm': (f'{layer}self_attn.{x}_norm.weight', False) for x in 'qk'}
  if c.post_norms:
    names |= {
      f'post_{x}_norm': (f'{layer}post_{y}_layernorm.weight', False)
      for x, y in (('attention', 'attention'), ('mlp', 'feedforward'))
    }
  return names


class TensorFiles:
  """The tensors of a folder's safetensors files. A file is opened for each tensor and closed again: what is mapped counts as memory."""

  def __init__(self, folder: str | Path):
    from safetensors import SafetensorError, safe_open

    self.folder, self._open = Path(folder), safe_open
    index = self.folder / 'model.safetensors.index.json'
    self.files: dict[str, Path] = {}
    if index.exists():
      listed = json.loads(index.read_text())['weight_map']
      if lost := sorted({f for f in listed.values() if not (self.folder / f).is_file()}):
        raise WeightsError(
          f'{self.folder}: {lost[0]} is missing ({len(lost)} of {len(set(listed.values()))} files); download it again'
        )
      paths = [self.folder / f for f in sorted(set(listed.values()))]
    else:
      paths = sorted(self.folder.glob('*.safetensors'))
    if not paths:
      raise WeightsError(
        f'{self.folder} holds no *.safetensors; weights in other formats are not read (convert them with transformers)'
      )
    for path in paths:
      try:
        with safe_open(path, 'numpy') as f:
          self.files |= dict.fromkeys(f.keys(), path)
      except (SafetensorError, OSError) as e:
        raise WeightsError(f'{path} is broken ({e}); download it again') from None

  def shape(self, name: str) -> tuple[int, ...]:
    with self._open(self.files[name], 'numpy') as f:
      return tuple(f.get_slice(name).get_shape())

  def read(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
    with self._open(self.files[name], 'numpy') as f:
      return f.get_slice(name)[index]


def fingerprint(folder: str | Path) -> str:
  """Of weights (or an adapter) and their config: every byte is read, again only if a file's size or time has changed."""
  paths = sorted(
    p
    for pattern in ('config.json', 'adapter_config.json', '*.safetensors')
    for p in Path(folder).glob(pattern)
  )
  return _hashed(tuple((p, p.stat().st_size, p.stat().st_mtime_ns) for p in paths))


@functools.lru_cache
def _hashed(files: tuple[tuple[Path, int, int], ...]) -> str:
  h = hashlib.sha256()
  for path, _, _ in files:
    with path.open('rb') as f:
      h.update(hashlib.file_digest(f, 'sha256').digest())
  return h.hexdigest()[:16]


def load_params(files: TensorFiles, c: ModelConfig, like: Any) -> Any:
  """The parameters, laid out and typed as `like` (a dict of ShapeDtypeStructs with shardings, or part of one).

  Each device's part is read for itself, layer by layer: beyond the parameters themselves, one layer's tensor is in memory.
  """
  names = tensor_names(c)
  return {k: load_stacked(files.read, x, *names[k]) for k, x in like.items()}


def check_tensors(files: TensorFiles, c: ModelConfig) -> None:
  """Raises WeightsError for tensors that are missing, of another shape, or of no use to this model."""
  D, F, Q, KV = c.d_model, c.d_ff, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  outs = {'wq': Q, 'wk': KV, 'wv': KV, 'wo': D, 'w_gate': F, 'w_up': F, 'w_down': D}
  ins = {'wo': Q, 'w_down': F}
  expected = {}
  for ours, (name, transposed) in tensor_names(c).items():
    if ours in ('embed', 'unembed'):
      shape = (c.vocab_size, D)
    elif transposed:
      shape = (outs[ours], ins.get(ours, D))
    else:
      shape = (
        outs[ours.removesuffix('_bias')]
        if ours.endswith('_bias')
        else c.head_dim
        if ours in ('q_norm', 'k_norm')
        else D,
      )
    for i in range(c.n_layers if '{}' in name else 1):
      expected[name.format(i)] = shape
  for name, shape in expected.items():
    if name not in files.files:
      raise WeightsError(f'{files.folder}: tensor {name} is missing; download the weights again')
    if (found := files.shape(name)) != shape:
      raise WeightsError(
        f'{files.folder}: tensor {name} has shape {found} and config.json asks for {shape}; they are not of one model'
      )
  spare = {n for n in files.files if n not in expected and not n.endswith('rotary_emb.inv_freq')}
  if c.tie_embeddings:
    spare -= {'lm_head.weight'}
  if spare:
    raise WeightsError(
      f'{files.folder}: tensor {min(spare)} has no place in this model; it cannot be imported ({len(spare)} such)'
    )


Read = Callable[[str, tuple[slice, ...]], np.ndarray]


def load_stacked(read: Read, like: jax.ShapeDtypeStruct, name: str, transposed: bool) -> jax.Array:
  """One of our parameters from its layers' tensors; `read(name, index)` gives a part of one as it is stored."""

  def place(name: str, one: jax.ShapeDtypeStruct) -> jax.Array:
    def part(index: tuple[slice, ...]) -> np.ndarray:
      x = read(name, index[::-1] if transposed else index)
      return np.ascontiguousarray((x.T if transposed else x).astype(one.dtype, copy=False))

    return jax.make_array_from_callback(one.shape, one.sharding, part)

  if '{}' not in name:
    return place(name, like)
  of_layer = NamedSharding(like.sharding.mesh, P(*tuple(like.sharding.spec)[1:]))
  one = jax.ShapeDtypeStruct(like.shape[1:], like.dtype, sharding=of_layer)
  stack = jax.jit(lambda: jnp.zeros(like.shape, like.dtype), out_shardings=like.sharding)()
  put = jax.jit(
    lambda stack, x, i: jax.lax.dynamic_update_index_in_dim(stack, x, i, 0),
    donate_argnums=0,
    out_shardings=like.sharding,
  )
  for i in range(like.shape[0]):
    stack = put(stack, place(name.format(i), one), i)
    stack.block_until_ready()  # or the layers that are read ahead pile up
  return stack


# ------------------------------------------------------------------------------------------------------------------------- export

TOKENIZER_FILES = (
  'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt', 'tokenizer.model',
  'chat_template.jinja', 'generation_config.json',
)  # fmt: skip


def stored_tensors(c: ModelConfig, params: Any, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
  """(name, array) as a file holds them, one after the other."""
  for ours, (name, transposed) in tensor_names(c).items():
    for i in range(c.n_layers if '{}' in name else 1):
      x = adapted(c, params, ours, i) if '{}' in name else np.asarray(jax.device_get(params[ours]))
      x = x.astype(DTYPES[dtype])
      yield name.format(i), np.ascontiguousarray(x.T if transposed else x)


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
  """A temporary folder that gets its name when all is written: what is half-written never looks whole.

  Raises WeightsError if there is one of that name with something in it, or if it cannot be written.
  """
  from safetensors import SafetensorError

  temporary = folder.with_name(f'{folder.name}.writing-{os.getpid()}')
  try:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
      raise WeightsError(f'{folder} exists and is not empty; choose another folder')
    temporary.mkdir(parents=True)
    yield temporary
    if folder.exists():
      folder.rmdir()
    os.replace(temporary, folder)
  except (OSError, SafetensorError) as e:  # safetensors has its own error for a full disk
    raise WeightsError(
      f'cannot write {folder} ({getattr(e, "strerror", None) or e}); free some space or choose another folder'
    ) from e
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def write_tensors(
  folder: Path, tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int = 2 << 30
) -> None:
  """Writes (name, array) to model.safetensors, or to several files with their index; one file's tensors are in memory at a time."""
  from safetensors.numpy import save_file

  shard: dict[str, np.ndarray] = {}
  names: list[list[str]] = []  # of each file's tensors
  size = total = 0

  def flush() -> None:
    save_file(shard, folder / f'shard-{len(names)}', metadata={'format': 'pt'})
    names.append(list(shard))
    shard.clear()

  for name, x in tensors:
    if shard and size + x.nbytes > shard_bytes:
      flush()
      size = 0
    shard[name] = x
    size, total = size + x.nbytes, total + x.nbytes
  flush()
  n = len(names)
  final = (
    ['model.safetensors']
    if n == 1
    else [f'model-{k:05d}-of-{n:05d}.safetensors' for k in range(1, n + 1)]
  )
  for k, file in enumerate(final):
    os.replace(folder / f'shard-{k}', folder / file)
    (folder / file).chmod(0o644)  # safetensors writes files that nobody else can read
  if n > 1:
    index = {
      'metadata': {'total_size': total},
      'weight_map': {
        name: file for file, of_one in zip(final, names, strict=True) for name in of_one
      },
    }
    (folder / 'model.safetensors.index.json').write_text(json.dumps(index, indent=2) + '\n')


def export(
  folder: str | Path,
  c: ModelConfig,
  params: Any,
  source: str | Path,
  dtype: str = '',
  shard_bytes: int = 2 << 30,
) -> None:
  """Writes a folder that `transformers` loads as it is: config, generation config, tokenizer, chat template, sharded safetensors.

  `source` is the folder of the base model, which the tokenizer comes from, and the dtype unless `dtype` names one. Adapters are added to the
  matrices. Raises WeightsError if the folder exists.
  """
  source = Path(source)
  original = read_json(
    source / 'config.json', 'the weights that the experiment began with are gone; put them back'
  )
  dtype = dtype or original.get('torch_dtype') or original.get('dtype') or 'float32'
  if dtype not in DTYPES:
    raise WeightsError(f'dtype={dtype!r} must be one of {", ".join(DTYPES)}')
  tokens = {
    k: original[k] for k in ('bos_token_id', 'eos_token_id', 'pad_token_id') if k in original
  }
  with new_folder(Path(folder)) as new:
    write_tensors(new, stored_tensors(c, params, dtype), shard_bytes)
    config = config_to_json(c, dtype, tokens) | {'msm_jax_version': msm_jax.__version__}
    (new / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
    for file in TOKENIZER_FILES:
      if (source / file).is_file():
        shutil.copyfile(source / file, new / file)
