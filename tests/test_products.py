"""Products of bf16 on a CPU: what they compute, and that the compiler has its fast kernel for them.
What is chosen for other kinds of devices, and that a GPU that is not used is named.

Shapes: N tokens, D model, F feed-forward.
"""

import dataclasses
import importlib.util
import logging
import os
import re
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT
from jax._src import xla_bridge
from steps import TINY, make_batch, one_device, rows_of

from msm_jax import products, sharding
from msm_jax.base import command
from msm_jax.config import LoraConfig, OptimizerConfig
from msm_jax.training import train_step


def arrays(*shapes, dtype='bfloat16'):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('of', [(24, 40), (40, 24), (2, 3, 8, 16), (2, 3, 16, 8)])
def test_products_are_those_of_fp32_rounded_once(dtype, of):
  """Both orders of the transposed product, with and without leading dimensions."""
  *leading, K, M = of
  x_NK, y_KM, z_NM = arrays((*leading, 32, K), of, (*leading, 32, M), dtype=dtype)
  # Half of a last digit of bf16, and the error of 32 sums in fp32.
  tolerance = 2**-8 if dtype == 'bfloat16' else 1e-5
  for found, x, y in (
    (jax.jit(products.product)(x_NK, y_KM), x_NK, y_KM),
    (jax.jit(products.transposed_product)(x_NK, z_NM), x_NK.mT, z_NM),
  ):
    wanted = np.matmul(np.asarray(x, np.float64), np.asarray(y, np.float64))
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, tolerance, tolerance)


def test_other_devices_have_plain_products(monkeypatch):
  """A result in fp32 would double what a TPU sends when a product is divided over chips."""
  x_NK, y_KM = arrays((8, 16), (16, 4))
  on_cpu = str(jax.make_jaxpr(products.product)(x_NK, y_KM))
  assert 'preferred_element_type=float32' in on_cpu
  monkeypatch.setattr(products, 'platform', lambda: 'tpu')
  on_tpu = str(jax.make_jaxpr(lambda x, y: products.product(x, y))(x_NK, y_KM))
  assert 'preferred_element_type=bfloat16' in on_tpu


@pytest.mark.slow
def test_weights_stay_in_bf16():
  """The compiled step slices the stacked weights in bf16. XLA:CPU, left alone, made a copy of all
  of them in fp32 first. No product has a bf16 result either."""
  model = dataclasses.replace(
    TINY, dtype='bfloat16', scan_layers=True, n_layers=3, d_ff=56, lora=LoraConfig(rank=4)
  )
  mesh = one_device()
  program = train_step.make_program(model, OptimizerConfig(), 0, mesh)
  with jax.set_mesh(mesh):
    batch = train_step.to_device(rows_of(make_batch(B=2)), 1, mesh)
    lowered = program.step.lower(program.abstract_state, batch, jnp.zeros(2))
    compiled = lowered.compile().as_text()
  weights = program.abstract_state.frozen['w_gate'].shape
  assert weights == (3, 32, 56)
  assert 'bf16[3,32,56]' in compiled
  assert not re.search(r'\bf32\[3,32,56\]', compiled)
  assert not re.search(r'= bf16\[[\d,]*\]\S* dot\(', compiled)


def mesh_of(platform, kind):
  """As much of a mesh as the choice of options looks at."""
  device = types.SimpleNamespace(platform=platform, device_kind=kind)
  return types.SimpleNamespace(devices=np.array([[device]]))


def test_options_for_the_compiler_are_for_one_kind_of_devices():
  """fp32 on a CPU, as the tiny experiments have it, is compiled as its config says."""
  assert sharding.compiler_options(one_device(), 'float32') == {}
  assert 'float-normalization-bf16' in str(sharding.compiler_options(one_device(), 'bfloat16'))
  on_v5e = sharding.compiler_options(mesh_of('tpu', 'TPU v5 lite'), 'bfloat16')
  assert 'xla_jf_spmd_threshold_for_windowed_einsum_mib' in on_v5e
  assert 'xla_enable_async_all_reduce' in on_v5e
  # JAX's own table has these pairs of names (jax/_src/pallas/mosaic/tpu_info.py).
  assert sharding.compiler_options(mesh_of('tpu', 'TPU v5e'), 'bfloat16') == on_v5e
  for kind in ('TPU v5', 'TPU v5p', 'TPU v6 lite', 'TPU v6e'):
    assert set(sharding.compiler_options(mesh_of('tpu', kind), 'bfloat16')) > set(on_v5e)
  for kind in ('TPU v4', 'TPU v5x', 'TPU v50', 'NVIDIA H100'):
    assert sharding.compiler_options(mesh_of('tpu', kind), 'bfloat16') == {}


def test_a_gpu_that_is_not_used_is_named(monkeypatch, caplog):
  """JAX says so by itself. Commands silence its notes, and this one is let through."""
  jax.devices()
  loggers = [logging.getLogger(name) for name in (*command._TALKATIVE, command.BACKENDS_LOGGER)]
  levels = [logger.level for logger in loggers]
  monkeypatch.setattr('jax._src.hardware_utils.has_visible_nvidia_gpu', lambda: True)
  try:
    command._silence_libraries(command._TALKATIVE)
    xla_bridge._suggest_missing_backends()
  finally:
    for logger, level in zip(loggers, levels, strict=True):
      logger.setLevel(level)
  assert 'Falling back to cpu' in caplog.text


# A gradient of weights that are divided over the chips, compiled with and without the options.
ON_TPU = """
import roofline
roofline.prepare_environment()
import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from msm_jax import sharding

case = next(case for case in roofline.CASES if case.topology == 'v5e:4x4')
mesh = roofline.make_mesh(case)
rows = NamedSharding(mesh, P('fsdp'))
x, dy = (jax.ShapeDtypeStruct((16 * 2048, n), 'bfloat16', sharding=rows) for n in (4096, 4096))
for options in ({}, sharding.compiler_options(mesh, 'bfloat16')):
  gradient = jax.jit(
    lambda x, dy: x.T @ dy, out_shardings=NamedSharding(mesh, P('fsdp')), compiler_options=options
  )
  with jax.set_mesh(mesh):
    print(gradient.lower(x, dy).compile().as_text().count('collective-permute-start('))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='needs libtpu')
def test_products_are_not_cut_into_windows_on_v5e():
  folders = os.pathsep.join([str(ROOT), str(ROOT / 'benchmarks'), *sys.path])
  out = subprocess.run(
    [sys.executable, '-c', ON_TPU],
    env={**os.environ, 'PYTHONPATH': folders},
    capture_output=True,
    text=True,
    check=True,
  )
  with_windows, without = map(int, out.stdout.split())
  assert with_windows > 0 == without
