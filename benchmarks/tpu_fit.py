"""Does a sharded training step compile for a TPU slice, and does it fit into its memory?

    pip install 'jax[tpu]'        # brings the compiler (libtpu), Linux x86-64
    python benchmarks/tpu_fit.py [--model llama-3.1-8b] [--topology v5e:4x4] [--length 2048]
        [--rows_per_chip 1] [--tensor 1]

The benchmark asks the real TPU compiler, on a machine without a TPU. Without arguments it goes
through CASES. The step is that of `train.make_program`, as every phase runs it: full training with
AdamW, fp32 parameters and moments, bf16 compute, parameters and optimizer state divided over all
chips (fsdp), layers scanned and recomputed in the backward pass. Peak memory is the compiler's
figure for one chip. The exit code is 1 if a case does not fit.
"""

import os

# JAX reads these when it is imported. The TPU library would otherwise look for the metadata server
# of a TPU machine.
os.environ.update(
  JAX_PLATFORMS='cpu',
  TPU_SKIP_MDS_QUERY='1',
  TPU_WORKER_HOSTNAMES='localhost',
  TPU_ACCELERATOR_TYPE='v5litepod-1',
)

import argparse
import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import jax
from jax.experimental import topologies
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sizes import MODELS

from msm_jax import model as models
from msm_jax import sharding, train
from msm_jax.config import OptimizerConfig

MEMORY = {'v4': 32, 'v5e': 16, 'v5p': 95, 'v6e': 32}  # GiB of a chip
# model, topology, length, rows per chip, tensor
CASES: tuple[tuple[str, str, int, int, int], ...] = (
  ('smollm2-135m', 'v5e:2x2', 2048, 4, 1),
  ('llama-3.1-8b', 'v5e:4x4', 2048, 1, 1),
  ('llama-3.1-8b', 'v6e:4x4', 4096, 1, 1),
  ('qwen3-32b', 'v5p:4x4x4', 4096, 1, 1),
)


def fit(model: str, topology: str, length: int, rows_per_chip: int, tensor: int) -> bool:
  """Compiles one training step, and prints what the compiler says of its memory.

  Args:
    model: a key of MODELS.
    topology: kind and shape of a slice, such as 'v5e:4x4'.
    length: tokens of a row.
    rows_per_chip: rows of the batch for each chip.
    tensor: over how many chips heads and columns are divided.

  Returns:
    Whether the step fits into the memory of a chip.
  """
  chip, shape = topology.split(':')
  described = topologies.get_topology_desc(
    platform='tpu',
    topology_name=topology,
    chip_config_name='default',
    chips_per_host_bounds=(2, 2, 1),
    num_slices=1,
  )
  mesh = sharding.make_mesh(data=1, fsdp=-1, tensor=tensor, devices=described.devices)
  config = dataclasses.replace(MODELS[model], dtype='bfloat16', scan_layers=True, remat='block')
  rows = rows_per_chip * len(described.devices) // tensor
  # Logits exist for 1,024 tokens of a chip at a time, as in a phase with a large vocabulary.
  program = train.make_program(config, OptimizerConfig(), 1024, mesh)
  # Shapes are all that the compiler needs; one micro-batch of `rows` rows.
  layout = sharding.batch_sharding(mesh, 1)
  batch = {}
  for key in ('tokens', 'targets', 'segment_ids', 'positions'):
    batch[key] = jax.ShapeDtypeStruct((1, rows, length), 'int32', sharding=layout)
  batch['weights'] = jax.ShapeDtypeStruct((1, rows, length), 'float32', sharding=layout)
  lr = jax.ShapeDtypeStruct((2,), 'float32', sharding=NamedSharding(mesh, P()))
  began = time.monotonic()
  with jax.set_mesh(mesh):
    # The type of `step` hides that it is a jitted function.
    step: Any = program.step
    compiled = step.lower(program.abstract_state, batch, lr).compile()
  seconds = time.monotonic() - began
  memory = compiled.memory_analysis()
  state = memory.argument_size_in_bytes / 2**30
  peak = memory.peak_memory_in_bytes / 2**30
  fits = peak < MEMORY[chip]
  verdict = 'TOO LARGE'
  if fits:
    verdict = 'fits'
  chips = math.prod(map(int, shape.split('x')))
  parameters = models.count_params(program.abstract_state.params)
  print(
    f'{model:13} {parameters / 1e9:5.2f}B  {topology:10} {chips:3} chips  '
    f'fsdp {mesh.shape["fsdp"]:3} x tensor {tensor}  {length:5} x {rows:3} tokens  '
    f'state {state:6.2f} GiB  peak {peak:6.2f} of {MEMORY[chip]} GiB a chip  '
    f'compiled in {seconds:4.0f}s  {verdict}',
    flush=True,
  )
  return fits


def main() -> None:
  """Runs one case, or all of CASES."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--model', choices=MODELS)
  parser.add_argument('--topology', default='v5e:4x4')
  parser.add_argument('--length', type=int, default=2048)
  parser.add_argument('--rows_per_chip', type=int, default=1)
  parser.add_argument('--tensor', type=int, default=1)
  args = parser.parse_args()
  cases = CASES
  if args.model:
    cases = ((args.model, args.topology, args.length, args.rows_per_chip, args.tensor),)
  # All cases are run, even after one that does not fit.
  results = [fit(*case) for case in cases]
  sys.exit(not all(results))


if __name__ == '__main__':
  main()
