"""Where arrays live: one mesh (data, fsdp, tensor), one table from parameter names to mesh axes."""

import math
import re
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax.base.errors import UserError


class MeshError(UserError, ValueError):
  """A mesh that doesn't fit the devices; one line with cause and mend."""


AXES = ('data', 'fsdp', 'tensor')
BATCH = ('data', 'fsdp')  # the axes that a batch's rows are divided over

# Parameter path (regex) -> mesh axes of its dimensions. Block parameters have the layer axis first.
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
)


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices: list | None = None) -> Mesh:
  """A mesh over all devices; one of the sizes may be -1 (whatever is left). Raises MeshError if the sizes don't fit."""
  devices = jax.devices() if devices is None else devices
  sizes, n = [data, fsdp, tensor], len(devices)
  known = math.prod(s for s in sizes if s != -1)
  if sizes.count(-1) > 1 or any(s == 0 or s < -1 for s in sizes):
    raise MeshError(
      f'mesh {dict(zip(AXES, sizes, strict=True))}: sizes are positive, and at most one is -1'
    )
  if (n % known) if -1 in sizes else (n != known):
    raise MeshError(
      f'mesh {dict(zip(AXES, sizes, strict=True))} does not divide the {n} device(s) at hand; set config.mesh to match'
    )
  sizes = [n // known if s == -1 else s for s in sizes]
  return Mesh(np.asarray(devices).reshape(sizes), AXES, axis_types=(AxisType.Auto,) * 3)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
  """Pins an activation's layout; 'batch' stands for the axes of BATCH. Does nothing without a mesh."""
  if jax.sharding.get_abstract_mesh().empty:
    return x
  return jax.lax.with_sharding_constraint(x, P(*(BATCH if a == 'batch' else a for a in axes)))


def batch_parts(mesh: Mesh | None = None) -> int:
  """Into how many parts a batch's rows are divided; of the mesh in force (1 without one) unless `mesh` is given."""
  shape = (jax.sharding.get_abstract_mesh() if mesh is None else mesh).shape
  return math.prod(shape.get(a, 1) for a in BATCH)


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """Rows, at `axis`, divided over the devices."""
  return NamedSharding(mesh, P(*[None] * axis, BATCH))


def local_rows(mesh: Mesh, parts: int, rows: int) -> np.ndarray:
  """Which rows of a batch of (parts, rows / parts), counted through, this process's devices hold."""
  numbers = np.arange(rows).reshape(parts, -1)
  held = batch_sharding(mesh, 1).addressable_devices_indices_map(numbers.shape).values()
  return np.unique(np.concatenate([numbers[index].ravel() for index in held]))


def _path(key_path: tuple) -> str:
  return '/'.join(
    str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in key_path
  )


def shardings(tree: Any, mesh: Mesh) -> Any:
  """A sharding for each array by the first rule that matches the end of its path.

  Optimizer moments sit at paths that end like their parameter's, so a whole train state is laid out by the same table. Scalars are
  replicated, and a dimension that its mesh axis doesn't divide stays whole.
  """

  def one(key_path: tuple, x: jax.Array) -> NamedSharding:
    if x.ndim == 0:
      return NamedSharding(mesh, P())
    path = _path(key_path)
    for pattern, spec in RULES:
      if re.search(pattern, path):
        axes = [
          a if a and d % mesh.shape[a] == 0 else None
          for a, d in zip(tuple(spec) + (None,) * x.ndim, x.shape, strict=False)
        ]
        return NamedSharding(mesh, P(*axes))
    raise ValueError(f'no sharding rule matches {path}; add one to sharding.RULES')

  return jax.tree_util.tree_map_with_path(one, tree)
