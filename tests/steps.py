"""What the tests of the loss, the step, the optimizer and the loop share.

Shapes: A micro-batches, B rows, T tokens of a row.
"""

import jax
import numpy as np

from msm_jax import sharding
from msm_jax.config import ModelConfig
from msm_jax.model import init_params
from msm_jax.training import train_step

TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=64
)


def make_batch(A=1, B=8, T=16, seed=0):
  """(A, B, T) random tokens, two segments in a row. The weights of rows and micro-batches differ
  much."""
  rng = np.random.default_rng(seed)
  shape = (A * B, T)
  weights = rng.choice([0.0, 0.5, 1.0, 3.0], shape) * (rng.random((A * B, 1)) < 0.7)
  segments = np.where(np.arange(T) < rng.integers(2, T, (A * B, 1)), 1, 2)
  in_second = np.arange(T) - (segments == 1).sum(1, keepdims=True)
  batch = {
    'tokens': rng.integers(0, 64, shape),
    'targets': rng.integers(0, 64, shape),
    'weights': weights,
    'segment_ids': segments,
    'positions': np.where(segments == 1, np.arange(T), in_second),
  }
  for key, value in batch.items():
    dtype = np.float32 if key == 'weights' else np.int32
    batch[key] = value.reshape(A, B, T).astype(dtype)
  return batch


def rows_of(batch):
  """(A, B, T) -> the (A B, T) arrays that `train_step.to_device` takes."""
  return {key: x.reshape(-1, x.shape[-1]) for key, x in batch.items()}


# One program makes all parameters of a model; without it, each would be compiled by itself.
init = jax.jit(init_params, static_argnums=0)


def fresh_params(model=TINY, seed=0):
  """The parameters of a new model, on the host."""
  return jax.device_get(init(model, jax.random.key(seed)))


def placed(params, abstract):
  """Puts parameters onto devices, laid out as an abstract tree says."""
  return jax.device_put(params, jax.tree.map(lambda x: x.sharding, abstract))


def one_device():
  return sharding.make_mesh(devices=jax.devices()[:1])


def run_steps(optimizer, batches, lrs, keeps_states=True):
  """Updates of a fresh TINY on one device: (the states before and after each, their metrics)."""
  mesh = one_device()
  program = train_step.make_program(TINY, optimizer, 0, mesh)
  state = program.init(jax.random.key(0))
  states, metrics = [jax.device_get(state)], []
  with jax.set_mesh(mesh):
    for batch, lr in zip(batches, lrs, strict=True):
      state, found = program.step(state, batch, np.full(2, lr, np.float32))
      if keeps_states:
        states.append(jax.device_get(state))
      metrics.append(jax.device_get(found))
  return states, metrics


def _leaves(a, b):
  """(path, leaf of a, leaf of b) of two trees, on the host."""
  of_a = jax.tree_util.tree_leaves_with_path(jax.device_get(a))
  of_b = jax.tree.leaves(jax.device_get(b))
  for (path, x), y in zip(of_a, of_b, strict=True):
    yield jax.tree_util.keystr(path), x, y


def assert_trees_close(a, b, rtol=1e-5, atol=1e-6):
  for path, x, y in _leaves(a, b):
    np.testing.assert_allclose(x, y, rtol, atol, err_msg=path)


def assert_trees_equal(a, b):
  for path, x, y in _leaves(a, b):
    np.testing.assert_array_equal(x, y, err_msg=path)
