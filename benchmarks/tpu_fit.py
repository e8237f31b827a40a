"""Does a sharded training step compile for a TPU slice, and does it fit? Asked of the real TPU compiler, on a machine without a TPU.

    pip install 'jax[tpu]'        # brings the compiler (libtpu), Linux x86-64
    python benchmarks/tpu_fit.py [--model llama-3.1-8b] [--topology v5e:4x4] [--length 2048] [--rows_per_chip 1] [--tensor 1]

Without arguments it goes through CASES. The step is `train.make_program`'s, as every phase runs it: full training with AdamW, fp32 parameters and
moments, bf16 compute, parameters and optimizer state divided over all chips (fsdp), layers scanned and recomputed in the backward pass.
Peak memory is the compiler's figure for one chip; ends with exit code 1 if a case does not fit.
"""

import os

os.environ.update(
  JAX_PLATFORMS='cpu',
  TPU_SKIP_MDS_QUERY='1',
  TPU_WORKER_HOSTNAMES='localhost',
  TPU_ACCELERATOR_TYPE='v5litepod-1',
)

import argparse
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import model as models
from msm_jax import sharding, train
from msm_jax.config import ModelConfig, OptimizerConfig

MODELS = {
  'smollm2-135m': ModelConfig(576, 30, 9, 3, 64, 1536, 49_152, rope_theta=1e5),
  'llama-3.1-8b': ModelConfig(
    4096, 32, 32, 8, 128, 14_336, 128_256, rope_theta=5e5, tie_embeddings=False
  ),
  'qwen3-32b': ModelConfig(
    5120, 64, 64, 8, 128, 25_600, 151_936, rope_theta=1e6, tie_embeddings=False, qk_norm=True
  ),
}
MEMORY = {'v4': 32, 'v5e': 16, 'v5p': 95, 'v6e': 32}  # GiB of a chip
CASES = (  # model, topology, length, rows per chip, tensor
  ('smollm2-135m', 'v5e:2x2', 2048, 4, 1),
  ('llama-3.1-8b', 'v5e:4x4', 2048, 1, 1),
  ('llama-3.1-8b', 'v6e:4x4', 4096, 1, 1),
  ('qwen3-32b', 'v5p:4x4x4', 4096, 1, 1),
)


def fit(model: str, topology: str, length: int, rows_per_chip: int, tensor: int) -> bool:
  chip, shape = topology.split(':')
  described = topologies.get_topology_desc(
    platform='tpu',
    topology_name=topology,
    chip_config_name='default',
    chips_per_host_bounds=(2, 2, 1),
    num_slices=1,
  )
  mesh = sharding.make_mesh(data=1, fsdp=-1, tensor=tensor, devices=described.devices)
  settings = {f: getattr(MODELS[model], f) for f in ModelConfig.__dataclass_fields__} | dict(
    dtype='bfloat16', scan_layers=True, remat='block'
  )
  c = ModelConfig(**settings)
  chips = math.prod(map(int, shape.split('x')))
  rows = rows_per_chip * len(described.devices) // tensor
  tokens = rows * length
  program = train.make_program(c, OptimizerConfig(), min(8192, tokens), mesh)
  layout = sharding.batch_sharding(mesh, 1)
  batch = {
    k: jax.ShapeDtypeStruct(
      (1, rows, length), 'float32' if k == 'weights' else 'int32', sharding=layout
    )
    for k in ('tokens', 'targets', 'weights', 'segment_ids', 'positions')
  }
  lr = jax.ShapeDtypeStruct((2,), 'float32', sharding=NamedSharding(mesh, P()))
  began = time.monotonic()
  with jax.set_mesh(mesh):
    compiled = program.step.lower(program.abstract_state, batch, lr).compile()
  memory = compiled.memory_analysis()
  state, peak = (x / 2**30 for x in (memory.argument_size_in_bytes, memory.peak_memory_in_bytes))
  fits = peak < MEMORY[chip]
  parameters = models.count_params(program.abstract_state.params)
  print(
    f'{model:13} {parameters / 1e9:5.2f}B  {topology:10} {chips:3} chips  fsdp {mesh.shape["fsdp"]:3} x tensor {tensor}  {length:5} x {rows:3} tokens'
    f'  state {state:6.2f} GiB  peak {peak:6.2f} of {MEMORY[chip]} GiB a chip  compiled in {time.monotonic() - began:4.0f}s  '
    f'{"fits" if fits else "TOO LARGE"}',
    flush=True,
  )
  return fits


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--model', choices=MODELS)
  parser.add_argument('--topology', default='v5e:4x4')
  parser.add_argument('--length', type=int, default=2048)
  parser.add_argument('--rows_per_chip', type=int, default=1)
  parser.add_argument('--tensor', type=int, default=1)
  a = parser.parse_args()
  cases = [(a.model, a.topology, a.length, a.rows_per_chip, a.tensor)] if a.model else CASES
  sys.exit(not all([fit(*case) for case in cases]))


if __name__ == '__main__':
  main()
