"""Reads the safetensors files of a folder into this project's parameters.

Hugging Face stores a matrix as (out, in) and one tensor per layer. Here a matrix is (in, out), and
the layers are stacked along a first axis. `tensor_names` is the table between the two; reading,
checking and writing all use it.

Memory is the difficulty: a model of 32 billion parameters must reach its devices through a host
that cannot hold it. So each device's part is read for itself, and never more than one layer's
tensor is in host memory, or all layers' where they are small.

Shapes: L layers, D model, F feed-forward, Q all query heads, KV all key/value heads, V vocabulary.
"""

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax.base.errors import WeightsError
from msm_jax.config import ModelConfig
from msm_jax.interop.huggingface.config import read_json

# The types of stored weights, by the names of safetensors. Quantised weights have others.
STORED_DTYPES = ('F64', 'F32', 'F16', 'BF16')

# How many rows of two matrices are compared at a time.
SHARED_ROWS = 8192

# Bytes of a parameter whose layers are read together. No program is compiled for it, which would
# take longer than reading it. A single layer of a large model has as many.
READ_TOGETHER = 2**28

# How many places of a file `sample_of` reads, and how many bytes at each.
SAMPLES, SAMPLE_BYTES = 64, 2**12

# read(name, index) gives a part of one stored tensor.
ReadTensor = Callable[[str, tuple[slice, ...]], np.ndarray]


class StoredName(NamedTuple):
  """Where one of our parameters is stored.

  Attributes:
    name: the tensor's name, with '{}' in the place of the layer's number if every layer has one.
    is_transposed: whether the file holds (out, in) where our parameter is (in, out).
  """

  name: str
  is_transposed: bool

  @property
  def is_per_layer(self) -> bool:
    return '{}' in self.name

  def layers(self, c: ModelConfig) -> range:
    """The numbers to put into `name`; just 0 for a parameter that is not per layer."""
    return range(c.n_layers if self.is_per_layer else 1)


def tensor_names(c: ModelConfig) -> dict[str, StoredName]:
  """Lists the parameters of a model with their names in a folder of Hugging Face.

  Args:
    c: the model.

  Returns:
    Our parameter's name -> where it is stored.
  """
  layer = 'model.layers.{}'
  # Gemma normalises before and after each branch, so its norms have other names.
  mlp_norm = 'pre_feedforward_layernorm' if c.post_norms else 'post_attention_layernorm'
  names = {
    'embed': StoredName('model.embed_tokens.weight', False),
    'final_norm': StoredName('model.norm.weight', False),
    'attention_norm': StoredName(f'{layer}.input_layernorm.weight', False),
    'mlp_norm': StoredName(f'{layer}.{mlp_norm}.weight', False),
  }
  for part in ('q', 'k', 'v', 'o'):
    stored = f'{layer}.self_attn.{part}_proj'
    names[f'w{part}'] = StoredName(f'{stored}.weight', True)
    if c.qkv_bias and part != 'o':
      names[f'w{part}_bias'] = StoredName(f'{stored}.bias', False)
  for part in ('gate', 'up', 'down'):
    names[f'w_{part}'] = StoredName(f'{layer}.mlp.{part}_proj.weight', True)
  if not c.tie_embeddings:
    names['unembed'] = StoredName('lm_head.weight', False)
  if c.qk_norm:
    for part in ('q', 'k'):
      names[f'{part}_norm'] = StoredName(f'{layer}.self_attn.{part}_norm.weight', False)
  if c.post_norms:
    attention_norm = f'{layer}.post_attention_layernorm.weight'
    names['post_attention_norm'] = StoredName(attention_norm, False)
    names['post_mlp_norm'] = StoredName(f'{layer}.post_feedforward_layernorm.weight', False)
  return names


class StoredTensors(Protocol):
  """Tensors under the names of Hugging Face, whatever kind of file they are in.

  Attributes:
    source: the folder or file, for error messages.
    names: the names of all tensors in it.
  """

  source: Path
  names: Collection[str]

  def shape(self, name: str) -> tuple[int, ...]:
    """The shape of one tensor as it is stored."""
    ...


class TensorFiles:
  """The tensors of a folder's safetensors files.

  A file is opened for each read and closed again. The pages of a mapped file count as memory of the
  process, so files that stay open would add up to the size of the model.

  Attributes:
    source: the folder.
    paths: name of each tensor -> the file that holds it.
    names: the names of all tensors.
  """

  def __init__(self, folder: str | Path, main_file: str = 'model.safetensors'):
    """Lists the tensors.

    As in `transformers`, the main file goes before an index, and both before other *.safetensors,
    which may be copies or the files of another program.

    Args:
      folder: a folder with the main file, or with its index and the files that the index lists, or
        simply with *.safetensors.
      main_file: the name of the file that holds everything, if it is there.

    Raises:
      WeightsError: a file is missing or broken, or there is none, or two files hold the same
        tensor.
    """
    # safetensors belongs to the optional extra `hf`.
    from safetensors import SafetensorError, safe_open

    self.source = Path(folder)
    self._open = safe_open
    self.paths: dict[str, Path] = {}
    for path in self._find_files(main_file):
      try:
        with safe_open(path, 'numpy') as f:
          names = list(f.keys())
      except (SafetensorError, OSError) as e:
        raise WeightsError(f'{path} is broken ({e}); download it again') from None
      for name in names:
        if name in self.paths:
          raise WeightsError(
            f'{self.source}: tensor {name} is in {self.paths[name].name} and in {path.name}; '
            'move the file away that does not belong to the model'
          )
        self.paths[name] = path
    self.names: Collection[str] = self.paths.keys()

  def _find_files(self, main_file: str) -> list[Path]:
    """The main file, or the files that its index lists, or else all *.safetensors."""
    main = self.source / main_file
    index = self.source / f'{main_file}.index.json'
    if main.is_file():
      paths = [main]
    elif index.exists():
      files = self._read_index(index)
      missing = [file for file in files if not (self.source / file).is_file()]
      if missing:
        raise WeightsError(
          f'{self.source}: {missing[0]} is missing ({len(missing)} of {len(files)} files); '
          'download it again'
        )
      paths = [self.source / file for file in files]
    else:
      paths = sorted(self.source.glob('*.safetensors'))
    if not paths:
      raise WeightsError(
        f'{self.source} holds no *.safetensors; weights in other formats are not read '
        '(convert them with transformers)'
      )
    return paths

  def _read_index(self, index: Path) -> list[str]:
    """The files that an index lists, in the order of their names."""
    weight_map = read_json(index, 'download it again').get('weight_map')
    if not isinstance(weight_map, dict):
      raise WeightsError(f'{index} has no weight_map of names and files; download it again')
    files = set()
    for name, file in weight_map.items():
      # A name with a folder in it could lead out of the model's folder.
      if not isinstance(file, str) or Path(file).name != file:
        raise WeightsError(
          f'{index}: {repr(file)[:60]}, the file of {name}, is no name of a file; download it again'
        )
      files.add(file)
    return sorted(files)

  def shape(self, name: str) -> tuple[int, ...]:
    """Reads the shape of one tensor as it is stored; its content is not read.

    Args:
      name: the tensor's name.

    Returns:
      Its shape.

    Raises:
      WeightsError: it is stored in a type that is not read.
    """
    with self._open(self.paths[name], 'numpy') as f:
      stored = f.get_slice(name)
      if stored.get_dtype() not in STORED_DTYPES:
        raise WeightsError(
          f'{self.paths[name]}: tensor {name} is stored as {stored.get_dtype()}, which is not read '
          f'here; known are {", ".join(STORED_DTYPES)}: convert it with transformers'
        )
      return tuple(stored.get_shape())

  def read(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
    """Reads a part of one tensor, in the type in which it is stored."""
    with self._open(self.paths[name], 'numpy') as f:
      return f.get_slice(name)[index]


def fingerprint(folder: str | Path) -> str:
  """Identifies the content of a folder of weights, or of an adapter.

  Every byte of the weights and of their config counts. Files are read again only if their size or
  time has changed.

  Args:
    folder: a folder of Hugging Face or PEFT.

  Returns:
    16 hexadecimal digits.
  """
  files = []
  for pattern in ('config.json', 'adapter_config.json', '*.safetensors'):
    for path in Path(folder).glob(pattern):
      stat = path.stat()
      files.append((path, stat.st_size, stat.st_mtime_ns))
  return _hash_files(tuple(sorted(files)))


@functools.lru_cache
def _hash_files(files: tuple[tuple[Path, int, int], ...]) -> str:
  """Hashes files; their sizes and times are arguments only so that the cache notices a change."""
  digest = hashlib.sha256()
  for path, _size, _mtime in files:
    with path.open('rb') as f:
      digest.update(hashlib.file_digest(f, 'sha256').digest())
  return digest.hexdigest()[:16]


def sample_of(folder: str | Path) -> str:
  """Identifies the content of a folder of weights, or of an adapter, by a small part of its bytes.

  It takes milliseconds, however large the files are, so it can be compared whenever a model is
  opened. It tells trained weights from those before; `fingerprint` also notices a changed bit.

  Args:
    folder: a folder of Hugging Face or PEFT.

  Returns:
    16 hexadecimal digits; '' if the folder has no weights.
  """
  digest = hashlib.sha256()
  paths = sorted(Path(folder).glob('*.safetensors'))
  for path in paths:
    size = path.stat().st_size
    digest.update(f'{path.name} {size}'.encode())
    with path.open('rb') as f:
      for n in range(SAMPLES):
        f.seek(max(size - SAMPLE_BYTES, 0) * n // (SAMPLES - 1))
        digest.update(f.read(SAMPLE_BYTES))
  return digest.hexdigest()[:16] if paths else ''


def _stored_shape(c: ModelConfig, ours: str) -> tuple[int, ...]:
  """The shape that one of our parameters has in a file, for one layer."""
  D, F, V = c.d_model, c.d_ff, c.vocab_size
  Q, KV = c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim
  out_in = {
    'wq': (Q, D),
    'wk': (KV, D),
    'wv': (KV, D),
    'wo': (D, Q),
    'w_gate': (F, D),
    'w_up': (F, D),
    'w_down': (D, F),
  }
  if ours in ('embed', 'unembed'):
    return (V, D)
  if ours in out_in:
    return out_in[ours]
  if ours.endswith('_bias'):
    return out_in[ours.removesuffix('_bias')][:1]
  if ours in ('q_norm', 'k_norm'):
    return (c.head_dim,)
  # All other norms are over the width of the model.
  return (D,)


def check_tensors(tensors: StoredTensors, c: ModelConfig) -> None:
  """Checks that stored tensors are exactly those of a model.

  Args:
    tensors: what is stored.
    c: the model that it should be.

  Raises:
    WeightsError: a tensor is missing, has another shape, or has no place in this model.
  """
  expected = {}
  for ours, stored in tensor_names(c).items():
    for layer in stored.layers(c):
      expected[stored.name.format(layer)] = _stored_shape(c, ours)
  for name, shape in expected.items():
    if name not in tensors.names:
      raise WeightsError(f'{tensors.source}: tensor {name} is missing; download the weights again')
    found = tensors.shape(name)
    if found != shape:
      raise WeightsError(
        f'{tensors.source}: tensor {name} has shape {found} and config.json asks for {shape}; '
        'they are not of one model'
      )
  # Older files store the rotary frequencies too, which are computed here.
  spare = {name for name in tensors.names if not name.endswith('rotary_emb.inv_freq')}
  spare -= expected.keys()
  if c.tie_embeddings and isinstance(tensors, TensorFiles) and 'lm_head.weight' in spare:
    # Some files store the shared matrix twice.
    _check_shared(tensors, c)
    spare -= {'lm_head.weight'}
  if spare:
    raise WeightsError(
      f'{tensors.source}: tensor {min(spare)} has no place in this model; it cannot be imported '
      f'({len(spare)} such)'
    )


def _check_shared(files: TensorFiles, c: ModelConfig) -> None:
  """Checks that the output matrix of a model whose config.json says that it is the embedding, and
  that is stored all the same, is the embedding.
  """
  embed, unembed = 'model.embed_tokens.weight', 'lm_head.weight'
  is_same = files.shape(unembed) == files.shape(embed)
  # A part at a time, since such a matrix may have gigabytes.
  for start in range(0, c.vocab_size, SHARED_ROWS):
    if not is_same:
      break
    rows = (slice(start, min(start + SHARED_ROWS, c.vocab_size)), slice(None))
    is_same = np.array_equal(files.read(unembed, rows), files.read(embed, rows))
  if not is_same:
    raise WeightsError(
      f'{files.source}: {unembed} differs from {embed}, and config.json says that they are one '
      'matrix; set tie_word_embeddings to false in config.json'
    )


def load_params(
  files: TensorFiles, c: ModelConfig, abstract_params: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
  """Reads parameters onto the devices.

  Each device's part is read for itself, layer by layer: beside the parameters themselves, one
  layer's tensor is in memory, or READ_TOGETHER bytes of several.

  Args:
    files: the folder's tensors.
    c: the model.
    abstract_params: shape, dtype and sharding of the parameters wanted, by our names; all of the
      model's or some.

  Returns:
    The parameters, laid out and typed as `abstract_params` says.
  """
  names = tensor_names(c)
  params = {}
  for ours, abstract in abstract_params.items():
    stored = names[ours]
    params[ours] = load_stacked(files.read, abstract, stored.name, stored.is_transposed)
  return params


def load_stacked(
  read: ReadTensor,
  abstract: jax.ShapeDtypeStruct,
  name: str,
  is_transposed: bool,
  layers: Sequence[int] = (),
) -> jax.Array:
  """Reads one of our parameters from its layers' tensors.

  Args:
    read: gives a part of a stored tensor.
    abstract: shape, dtype and sharding of the parameter; (L, ...) if `name` has a '{}'.
    name: the tensor's name, with '{}' for the layer's number if every layer has one.
    is_transposed: whether the file holds (out, in) where the parameter is (in, out).
    layers: the layers that are stacked; empty means all.

  Returns:
    The parameter, as `abstract` says.
  """
  if '{}' not in name:
    return _load_one(read, abstract, name, is_transposed)
  numbers = layers or range(abstract.shape[0])
  if abstract.size * abstract.dtype.itemsize <= READ_TOGETHER:

    def read_stack(index: tuple[slice, ...] | None) -> np.ndarray:
      # JAX passes None for a scalar, which no weight is.
      assert index is not None
      parts = []
      for layer in numbers[index[0]]:
        part = _read_part(read, name.format(layer), is_transposed, index[1:])
        parts.append(part.astype(abstract.dtype, copy=False))
      return np.stack(parts)

    return jax.make_array_from_callback(abstract.shape, abstract.sharding, read_stack)

  sharding = abstract.sharding
  # One layer is laid out as the stack is, without the stack's first axis.
  layer_sharding = NamedSharding(sharding.mesh, P(*tuple(sharding.spec)[1:]))
  one_layer = jax.ShapeDtypeStruct(abstract.shape[1:], abstract.dtype, sharding=layer_sharding)

  empty_stack, put = _stack_programs(abstract.shape, abstract.dtype, sharding)
  stack = empty_stack()
  for place, layer in enumerate(numbers):
    stack = put(stack, _load_one(read, one_layer, name.format(layer), is_transposed), place)
    # JAX returns before the copy is done. Without this, layers that were read ahead would pile up
    # in memory.
    stack.block_until_ready()
  return stack


@functools.lru_cache(maxsize=64)
def _stack_programs(
  shape: tuple[int, ...], dtype: np.dtype, sharding: NamedSharding
) -> tuple[Callable[[], jax.Array], Callable[..., jax.Array]]:
  """The compiled functions that make an empty stack and put one layer into it.

  They are kept: an experiment with adapters loads its weights for every phase and every arm, and
  compiling takes longer than loading where the weights are small.
  """

  @functools.partial(jax.jit, out_shardings=sharding)
  def empty_stack() -> jax.Array:
    return jnp.zeros(shape, dtype)

  # The stack is donated, so that it is filled in place and exists once.
  @functools.partial(jax.jit, donate_argnums=0, out_shardings=sharding)
  def put(stack: jax.Array, x: jax.Array, place: int) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(stack, x, place, 0)

  return empty_stack, put


def _load_one(
  read: ReadTensor, abstract: jax.ShapeDtypeStruct, name: str, is_transposed: bool
) -> jax.Array:
  """Reads one tensor onto the devices, each of which gets its own part."""

  def read_part(index: tuple[slice, ...] | None) -> np.ndarray:
    # JAX passes None for a scalar, which no weight is.
    assert index is not None
    x = _read_part(read, name, is_transposed, index)
    return np.ascontiguousarray(x.astype(abstract.dtype, copy=False))

  return jax.make_array_from_callback(abstract.shape, abstract.sharding, read_part)


def _read_part(
  read: ReadTensor, name: str, is_transposed: bool, index: tuple[slice, ...]
) -> np.ndarray:
  """Reads the part of our parameter, or of one layer of it, that an index of ours names."""
  if is_transposed:
    return read(name, index[::-1]).T
  return read(name, index)
