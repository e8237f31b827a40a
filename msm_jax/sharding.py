"""Where arrays live: one mesh of devices and one table from parameter names to mesh axes.

The mesh has the axes `data` (rows of a batch), `fsdp` (rows of a batch, and parameters too, which
are gathered when they are needed) and `tensor` (each matrix product is divided). `RULES` says which
dimension of which parameter lies on which axis. XLA derives everything else and adds the
communication, with four exceptions:

- Where every device has all parameters, `sums_over_rows` adds the gradients of all devices up
  itself, at once.
- `over_own_tokens` gathers the unembedding once and adds the gradient by it up once.
- `divided_over_devices` gives each device its part of the matrices that Muon orthogonalises.
- attention.py calls its kernels on every device, since XLA cannot divide a kernel.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax.base.errors import UserError


class MeshError(UserError, ValueError):
  """A mesh that does not fit the devices. The message is one line with cause and remedy."""


AXES = ('data', 'fsdp', 'tensor')
# The axes that the rows of a batch are divided over.
BATCH = ('data', 'fsdp')

# Parameter path (a regular expression) -> the mesh axis of each of its dimensions. Parameters of
# the blocks have the layer axis first. Names that end in _a and _b are low-rank adapters.
RULES: tuple[tuple[str, P], ...] = (
  (r'embed$', P('tensor', 'fsdp')),
  (r'(wq|wk|wv|w_gate|w_up)$', P(None, 'fsdp', 'tensor')),
  (r'(wo|w_down)$', P(None, 'tensor', 'fsdp')),
  (r'bias$', P(None, 'tensor')),
  (r'(wq|wk|wv|w_gate|w_up)_a$', P(None, 'fsdp', None)),
  (r'(wq|wk|wv|w_gate|w_up)_b$', P(None, None, 'tensor')),
  (r'(wo|w_down)_a$', P(None, 'tensor', None)),
  (r'(wo|w_down)_b$', P(None, None, 'fsdp')),
  (r'norm$', P()),
  (r'reward_head$', P()),
)

# Three things on TPUs; docs/results/tpu.md has the estimates behind them, all for Llama-3.1-8B on
# v5e. XLA cuts products with divided weights into windows, so that parts of the weights travel
# while others are multiplied. The windows are too small for the matrix units: 2,251 ms of computing
# a step with them, and 1,238 ms without. Gradients of weights that are divided over chips in two
# dimensions are added up by all-reduces, which XLA would run alone: computing goes on meanwhile if
# they are asynchronous and not combined into larger ones, a step of 1,067 instead of 1,266 ms.
# Those of less than 4 MiB may be combined, since they cost latency and little else.
_ON_TPUS = {
  'xla_jf_spmd_threshold_for_windowed_einsum_mib': '1000000',
  'xla_enable_async_all_reduce': 'true',
  'xla_tpu_enable_async_collective_fusion_fuse_all_reduce': 'true',
  'xla_jf_crs_combiner_threshold_in_bytes': str(4 * 2**20),
}
# On v5p and v6e, XLA gathers weights while it computes only if it is told to. Without this, nothing
# of the exchanges of a step of Qwen3-32B was hidden (v5p 4x4x4, 8,192 tokens a chip).
_GATHERS = {
  'xla_tpu_enable_async_collective_fusion': 'true',
  'xla_tpu_enable_async_collective_fusion_fuse_all_gather': 'true',
  'xla_tpu_enable_async_collective_fusion_multiple_steps': 'true',
  'xla_tpu_overlap_compute_collective_tc': 'true',
  'xla_enable_async_all_gather': 'true',
}

# Kind of devices (a regular expression for 'platform kind'), dtypes of the model, and options for
# the compiler, with what justifies them. The first line that matches counts.
COMPILER_OPTIONS: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
  # This pass turns bf16 arrays into fp32 ones wherever they are sliced. Weights and activations of
  # scanned layers are then kept and read twice, in both. A step of SmolLM2 with adapters takes 16%
  # less time without it (409 against 475 tokens per second of one core, ten layers). The second
  # pass is as in configs/msm.py; naming a pass here replaces those of XLA_FLAGS.
  (
    'cpu',
    ('bfloat16',),
    {'xla_disable_hlo_passes': 'float-normalization-bf16,tree_reduction_rewriter'},
  ),
  # JAX knows two names of each chip: v5e is 'TPU v5 lite' or 'TPU v5e', v5p 'TPU v5' or 'TPU v5p'.
  ('tpu TPU v5( lite|e)$', ('bfloat16', 'float32'), _ON_TPUS),
  ('tpu TPU v(5|5p|6 lite|6e)$', ('bfloat16', 'float32'), _ON_TPUS | _GATHERS),
)


# --------------------------------------------------------------------------------------------------
# The mesh
# --------------------------------------------------------------------------------------------------


def make_mesh(
  data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Makes a mesh over all devices.

  Args:
    data: the size of the axis `data`; -1 means whatever is left. At most one size may be -1.
    fsdp: the size of the axis `fsdp`.
    tensor: the size of the axis `tensor`.
    devices: the devices to use; None means all that JAX knows.

  Returns:
    The mesh, with the axes in the order of `AXES`.

  Raises:
    MeshError: the sizes do not fit the number of devices.
  """
  if devices is None:
    devices = jax.devices()
  count = len(devices)
  sizes = [data, fsdp, tensor]
  described = f'mesh {dict(zip(AXES, sizes, strict=True))}'
  if sizes.count(-1) > 1 or any(size == 0 or size < -1 for size in sizes):
    raise MeshError(f'{described}: sizes are positive, and at most one is -1')
  known = math.prod(size for size in sizes if size != -1)
  fits = count == known
  if -1 in sizes:
    fits = count % known == 0
  if not fits:
    raise MeshError(
      f'{described} does not divide the {count} device(s) at hand; set config.mesh to match'
    )
  sizes = [count // known if size == -1 else size for size in sizes]
  return Mesh(np.asarray(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * 3)


def compiler_options(mesh: Mesh, dtype: str) -> dict[str, str]:
  """Chooses options for the compiler that suit the devices.

  Args:
    mesh: the devices.
    dtype: the dtype that the model works in.

  Returns:
    Name of a flag of XLA -> its value. They come on top of XLA_FLAGS.
  """
  device = mesh.devices.flat[0]
  for kind, dtypes, options in COMPILER_OPTIONS:
    if dtype in dtypes and re.match(kind, f'{device.platform} {device.device_kind}'):
      return dict(options)
  return {}


# --------------------------------------------------------------------------------------------------
# Batches and activations
# --------------------------------------------------------------------------------------------------


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
  """Pins the layout of an activation, so that XLA does not choose another one.

  Args:
    x: the activation.
    *axes: the mesh axis of each dimension; 'batch' stands for the axes of `BATCH`, and None for a
      dimension that is not divided.

  Returns:
    The same values. Nothing is done without a mesh in force, or where each device works on rows of
    its own (see `sums_over_rows`).
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.are_all_axes_manual:
    return x
  spec: list[str | tuple[str, ...] | None] = []
  for axis in axes:
    spec.append(BATCH if axis == 'batch' else axis)
  return jax.lax.with_sharding_constraint(x, P(*spec))


def platform() -> str:
  """The kind of the devices that the program is traced for: 'cpu', 'gpu' or 'tpu'."""
  # A program for TPUs may be compiled on a machine without any, so the mesh comes first.
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty and mesh.abstract_device is not None:
    return mesh.abstract_device.platform
  return jax.default_backend()


def device_kind() -> str:
  """What the devices that the program is traced for call themselves, such as 'TPU v5 lite'."""
  mesh = jax.sharding.get_abstract_mesh()
  if not mesh.empty and mesh.abstract_device is not None:
    return mesh.abstract_device.device_kind
  return jax.devices()[0].device_kind


def batch_parts(mesh: Mesh | None = None) -> int:
  """Counts the parts into which the rows of a batch are divided.

  Args:
    mesh: the mesh; None means the one in force.

  Returns:
    The product of the sizes of the axes of `BATCH`; 1 if there is no mesh.
  """
  shape = jax.sharding.get_abstract_mesh().shape if mesh is None else mesh.shape
  return math.prod(shape.get(axis, 1) for axis in BATCH)


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """The layout of arrays whose dimension number `axis` counts rows, divided over the devices."""
  undivided = [None] * axis
  return NamedSharding(mesh, P(*undivided, BATCH))


def is_data_parallel_only() -> bool:
  """Whether the mesh in force has several devices, and every one of them has all parameters."""
  mesh = jax.sharding.get_abstract_mesh()
  return not mesh.empty and 1 < mesh.size == mesh.shape['data']


def sums_over_rows(f: Callable[..., Any], params: Any, batch: dict[str, jax.Array]) -> Any:
  """Computes sums over the rows of a batch. Where it can, each device first sums its own rows.

  XLA would add up the parts of the devices array by array, and each exchange makes all devices wait
  for the slowest. Here there is one exchange of all sums. It needs devices that have all
  parameters; on any other mesh XLA finds out what to exchange.

  Args:
    f: (params, batch) -> a tree of arrays, each a sum over the rows of the batch.
    params: a tree of arrays.
    batch: (A, B, T) arrays, with the rows B divided over the devices.

  Returns:
    The sums over all rows.
  """
  if not is_data_parallel_only():
    return f(params, batch)

  def of_own_rows(params: Any, batch: dict[str, jax.Array]) -> Any:
    # XLA makes one exchange of sums that are not used before all of them are there.
    return jax.lax.psum(f(params, batch), BATCH)

  # Without `check_vma=False`, JAX would add gradients up inside of `f`, array by array.
  on_all_devices = jax.shard_map(
    of_own_rows, in_specs=(P(), P(None, BATCH)), out_specs=P(), check_vma=False
  )
  return on_all_devices(params, batch)


def over_own_tokens(
  f: Callable[..., tuple[Any, Any, jax.Array | None]], table_VD: jax.Array, by_token: Any
) -> tuple[Any, Any, jax.Array | None]:
  """Computes sums over tokens that need a whole matrix. Each device takes its own tokens.

  Where the matrix is divided over devices, it is gathered once, and the gradient by it is added up
  once. XLA would do both in every chunk of tokens: 139 of 325 GiB of exchanges in a step of 32B on
  64 chips, by the compiled program.

  Args:
    f: (table (V, D), tree of (n, ...) arrays) -> (tree of sums over the n tokens, tree of (n, ...)
      arrays, sum of the table's shape or None).
    table_VD: the matrix, laid out as an embedding.
    by_token: a tree of (N, ...) arrays, with the tokens divided over the devices.

  Returns:
    What `f` returns, of all tokens. The last part is laid out as the table is.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.are_all_axes_manual:
    return f(table_VD, by_token)
  is_divided = mesh.shape['fsdp'] > 1 and table_VD.shape[1] % mesh.shape['fsdp'] == 0
  table_spec = P(None, 'fsdp') if is_divided else P()

  def of_own_tokens(table_VD: jax.Array, by_token: Any) -> tuple[Any, Any, jax.Array | None]:
    if is_divided:
      table_VD = jax.lax.all_gather(table_VD, 'fsdp', axis=1, tiled=True)
    sums, of_each_token, dtable_VD = f(table_VD, by_token)
    if dtable_VD is None:
      return jax.lax.psum(sums, BATCH), of_each_token, None
    if is_divided:
      dtable_VD = jax.lax.psum_scatter(dtable_VD, 'fsdp', scatter_dimension=1, tiled=True)
      dtable_VD = jax.lax.psum(dtable_VD, 'data')
    else:
      dtable_VD = jax.lax.psum(dtable_VD, BATCH)
    return jax.lax.psum(sums, BATCH), of_each_token, dtable_VD

  # The axis `tensor` stays with XLA, which divides the rows of the table over it. Without
  # `check_vma=False`, JAX asks how every array of the loops in `f` varies over the devices.
  on_each_device = jax.shard_map(
    of_own_tokens,
    in_specs=(table_spec, P(BATCH)),
    out_specs=(P(), P(BATCH), table_spec),
    axis_names=set(BATCH),
    check_vma=False,
  )
  return on_each_device(table_VD, by_token)


def divided_over_devices(f: Callable[[jax.Array], jax.Array], x_N: jax.Array) -> jax.Array:
  """Computes f(x), and each device computes its own part of the first axis.

  Args:
    f: a function from an array to one of the same shape. It must not mix entries along the first
      axis.
    x_N: the array; `batch_parts` divides the length of its first axis.

  Returns:
    The values of f(x).
  """
  others = [None] * (x_N.ndim - 1)
  if not is_data_parallel_only():
    return f(constrain(x_N, 'batch', *others))
  # The devices have all of x and need all of f(x). Unless this is said, XLA divides what comes
  # before and after as well, and exchanges every array of it.
  y_N = f(constrain(constrain(x_N, None, *others), 'batch', *others))
  return constrain(y_N, None, *others)


def local_rows(mesh: Mesh, micro_batches: int, rows: int) -> np.ndarray:
  """Finds which rows of the global batch the devices of this process hold.

  Args:
    mesh: the mesh; rows are divided over its axes `data` and `fsdp`.
    micro_batches: the number of micro-batches. The batch is (micro_batches, rows / micro_batches),
      and the rows of each micro-batch are divided over all devices.
    rows: the number of rows of the global batch.

  Returns:
    (n,) int array of row indices of the global batch, increasing. The process keeps its rows in
    this order.
  """
  indices = np.arange(rows).reshape(micro_batches, -1)
  layout = batch_sharding(mesh, axis=1)
  held = layout.addressable_devices_indices_map(indices.shape).values()
  # Devices along the axis `tensor` hold the same rows, hence `unique`.
  return np.unique(np.concatenate([indices[index].ravel() for index in held]))


# --------------------------------------------------------------------------------------------------
# Parameters and their moments
# --------------------------------------------------------------------------------------------------


def _path_text(key_path: tuple[Any, ...]) -> str:
  """A path in a tree as text: keys of dicts, names of fields and positions, with '/' between."""
  parts = []
  for entry in key_path:
    for attribute in ('key', 'name', 'idx'):
      if hasattr(entry, attribute):
        parts.append(str(getattr(entry, attribute)))
        break
    else:
      parts.append(str(entry))
  return '/'.join(parts)


def _divide(spec: P, shape: tuple[int, ...], mesh: Mesh) -> P:
  """The axes of `spec`, without those that do not divide their dimension of an array."""
  # A rule may name fewer axes than the array has dimensions, or more.
  padded = tuple(spec) + (None,) * len(shape)
  axes = []
  for axis, size in zip(padded, shape, strict=False):
    divides = axis is not None and size % mesh.shape[axis] == 0
    axes.append(axis if divides else None)
  return P(*axes)


def shardings(tree: Any, mesh: Mesh) -> Any:
  """Finds the layout of every array of a tree by the first rule that matches the end of its path.

  The moments of an optimizer sit at paths that end like those of their parameters, so one table
  lays out a whole train state.

  Args:
    tree: a tree of arrays, or of their shapes.
    mesh: the mesh.

  Returns:
    A tree of the same structure with a NamedSharding for each array. Scalars are replicated. A
    dimension that its mesh axis does not divide stays whole.

  Raises:
    ValueError: no rule matches an array.
  """

  def layout_of(key_path: tuple[Any, ...], x: jax.Array) -> NamedSharding:
    if x.ndim == 0:
      return NamedSharding(mesh, P())
    path = _path_text(key_path)
    for pattern, spec in RULES:
      if re.search(pattern, path):
        return NamedSharding(mesh, _divide(spec, x.shape, mesh))
    raise ValueError(f'no sharding rule matches {path}; add one to sharding.RULES')

  return jax.tree_util.tree_map_with_path(layout_of, tree)
