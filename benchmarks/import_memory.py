"""How much memory does an import of weights take beyond the parameters themselves?

    python benchmarks/import_memory.py      # a random Llama of 1.2 billion parameters, bf16

The benchmark writes a folder of weights (2.5 GB in files of 512 MiB, in a temporary place). It
imports the folder in a process of its own (bf16 parameters, one device) and prints the peak of that
process's memory, less what it had before, less the parameters. The bound is the largest stored
tensor and 1 GiB.
"""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np
from sizes import MODELS

from msm_jax.config import LoraConfig
from msm_jax.interop import huggingface

MODEL = dataclasses.replace(MODELS['llama-3.2-1b'], dtype='bfloat16', scan_layers=True)

FILE_BYTES = 2**29
# What an import may take beyond its largest tensor.
ALLOWED_BYTES = 2**30


def stored_shapes() -> dict[str, tuple[int, ...]]:
  """Lists the tensors of the folder.

  Returns:
    Name in the format of Hugging Face -> shape.
  """
  D = MODEL.d_model
  F = MODEL.d_ff
  query_width = MODEL.n_heads * MODEL.head_dim
  key_width = MODEL.n_kv_heads * MODEL.head_dim
  # Hugging Face stores matrices as (outputs, inputs). All other tensors are norms, with D scales.
  matrices = {
    'wq': (query_width, D),
    'wk': (key_width, D),
    'wv': (key_width, D),
    'wo': (D, query_width),
    'w_gate': (F, D),
    'w_up': (F, D),
    'w_down': (D, F),
    'embed': (MODEL.vocab_size, D),
  }
  shapes: dict[str, tuple[int, ...]] = {}
  for ours, (name, _) in huggingface.tensor_names(MODEL).items():
    shape = matrices.get(ours, (D,))
    if '{}' in name:
      for layer in range(MODEL.n_layers):
        shapes[name.format(layer)] = shape
    else:
      shapes[name] = shape
  return shapes


def write(folder: Path) -> None:
  """Writes the weights. Their values are random, since only their number matters.

  Args:
    folder: an empty folder.
  """
  from safetensors.numpy import save_file  # an extra, which only the parent process needs

  rng = np.random.default_rng(0)
  shapes = stored_shapes()
  last = list(shapes)[-1]
  weight_map: dict[str, str] = {}
  tensors: dict[str, np.ndarray] = {}
  size = 0
  files = 0
  for name, shape in shapes.items():
    tensors[name] = rng.standard_normal(shape, np.float32).astype(ml_dtypes.bfloat16)
    size += tensors[name].nbytes
    if size > FILE_BYTES or name == last:
      files += 1
      file = f'model-{files:05d}.safetensors'
      save_file(tensors, folder / file)
      weight_map.update(dict.fromkeys(tensors, file))
      tensors = {}
      size = 0
  (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
  (folder / 'config.json').write_text(json.dumps(huggingface.config_to_json(MODEL, 'bfloat16', {})))


def memory(field: str) -> int:
  """Reads this process's memory from /proc/self/status.

  getrusage has a maximum as well, but it would begin with that of the parent process.

  Args:
    field: 'VmRSS' for the memory now, 'VmHWM' for the most so far.

  Returns:
    Bytes.
  """
  found = re.search(rf'{field}:\s+(\d+)', Path('/proc/self/status').read_text())
  assert found is not None
  return int(found[1]) * 1024


def load(folder: str) -> None:
  """Imports the weights and prints what it took as JSON; runs in the child process.

  Args:
    folder: the folder of weights.
  """
  # Only the child may hold JAX in memory.
  import jax

  from msm_jax import sharding
  from msm_jax.config import OptimizerConfig
  from msm_jax.training import train_step

  # Frozen parameters (beside adapters) are kept as they are stored. This is how a model of 8 or 32
  # billion parameters is imported.
  lora = LoraConfig(rank=1, targets=('wq',))
  config = huggingface.read_config(folder, dtype='bfloat16', scan_layers=True, lora=lora)
  program = train_step.make_program(config, OptimizerConfig(), 0, sharding.make_mesh())
  files = huggingface.TensorFiles(folder)
  # Starts the backend, whose memory is no part of the import.
  jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(8))())
  # Makes the kernel count the maximum from here.
  Path('/proc/self/clear_refs').write_text('5')
  before = memory('VmRSS')
  began = time.monotonic()
  params = huggingface.load_params(files, config, program.abstract_state.frozen)
  params = jax.block_until_ready(params)
  seconds = time.monotonic() - began
  peak = memory('VmHWM') - before
  size = sum(x.nbytes for x in params.values())
  # A stored parameter takes two bytes.
  largest = max(2 * int(np.prod(files.shape(name))) for name in files.names)
  measured = {
    'parameters': sum(x.size for x in params.values()),
    'bytes': size,
    'beyond': peak - size,
    'bound': largest + ALLOWED_BYTES,
    's': seconds,
  }
  print(json.dumps(measured))


def main() -> None:
  """Writes the weights and measures their import; with an argument, it is the child process."""
  if len(sys.argv) > 1:
    load(sys.argv[1])
    return
  with tempfile.TemporaryDirectory() as folder:
    write(Path(folder))
    command = [sys.executable, __file__, folder]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
  measured = json.loads(out.splitlines()[-1])
  verdict = 'ABOVE'
  if measured['beyond'] <= measured['bound']:
    verdict = 'within'
  GiB = 2**30
  print(
    f'{measured["parameters"] / 1e9:.2f}B parameters, {measured["bytes"] / GiB:.2f} GiB, '
    f'in {measured["s"]:.1f} s; peak beyond them {measured["beyond"] / GiB:.2f} GiB, '
    f'bound {measured["bound"] / GiB:.2f} GiB: {verdict}'
  )


if __name__ == '__main__':
  main()
