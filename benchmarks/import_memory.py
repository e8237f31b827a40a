"""How much memory does an import take beyond the parameters themselves?

    python benchmarks/import_memory.py            # a random Llama of 1.2 billion parameters, bf16, in files of 512 MiB

Writes the folder (2.5 GB, in a temporary place), imports it in a process of its own (bf16 parameters, one device) and prints the peak of
that process's memory, less what it had before, less the parameters. The bound: the largest stored tensor and 1 GiB.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ml_dtypes
import numpy as np

from msm_jax.config import LoraConfig, ModelConfig
from msm_jax.interop import huggingface

MODEL = ModelConfig(
  d_model=2048,
  n_layers=16,
  n_heads=32,
  n_kv_heads=8,
  head_dim=64,
  d_ff=8192,
  vocab_size=128256,
  rope_theta=5e5,
  dtype='bfloat16',
  scan_layers=True,
)


def write(folder: Path) -> None:
  """Random bits of a small range: what counts is their number."""
  from safetensors.numpy import save_file

  shapes, shard, weight_map, size = {}, {}, {}, 0
  D, F, Q, KV = (
    MODEL.d_model,
    MODEL.d_ff,
    MODEL.n_heads * MODEL.head_dim,
    MODEL.n_kv_heads * MODEL.head_dim,
  )
  outs = {
    'wq': (Q, D),
    'wk': (KV, D),
    'wv': (KV, D),
    'wo': (D, Q),
    'w_gate': (F, D),
    'w_up': (F, D),
    'w_down': (D, F),
    'embed': (MODEL.vocab_size, D),
  }
  for ours, (name, _) in huggingface.tensor_names(MODEL).items():
    shapes |= {
      name.format(i): outs.get(ours, (D,)) for i in range(MODEL.n_layers if '{}' in name else 1)
    }
  rng, files = np.random.default_rng(0), 0
  for n, (name, shape) in enumerate(shapes.items()):
    shard[name] = rng.standard_normal(shape, np.float32).astype(ml_dtypes.bfloat16)
    size += shard[name].nbytes
    if size > 2**29 or n == len(shapes) - 1:
      files += 1
      save_file(shard, folder / f'model-{files:05d}.safetensors')
      weight_map |= dict.fromkeys(shard, f'model-{files:05d}.safetensors')
      shard, size = {}, 0
  (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
  (folder / 'config.json').write_text(json.dumps(huggingface.config_to_json(MODEL, 'bfloat16', {})))


def memory(field: str) -> int:
  """Bytes of this process by /proc/self/status: VmRSS now, VmHWM at most. (getrusage's maximum would begin with the parent's.)"""
  return int(re.search(rf'{field}:\s+(\d+)', Path('/proc/self/status').read_text())[1]) * 1024


def load(folder: str) -> None:
  import jax

  from msm_jax import sharding, train
  from msm_jax.config import OptimizerConfig

  # frozen parameters (beside adapters) are kept as they are stored: what an 8B or 32B model is imported as
  c = huggingface.read_config(
    folder, dtype='bfloat16', scan_layers=True, lora=LoraConfig(rank=1, targets=('wq',))
  )
  like = train.make_program(c, OptimizerConfig(), 0, sharding.make_mesh()).abstract_state.frozen
  files = huggingface.TensorFiles(folder)
  jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(8))())
  Path('/proc/self/clear_refs').write_text('5')  # the maximum begins here
  before, began = memory('VmRSS'), time.monotonic()
  params = jax.block_until_ready(huggingface.load_params(files, c, like))
  seconds, peak = time.monotonic() - began, memory('VmHWM') - before
  size, largest = (
    sum(x.nbytes for x in params.values()),
    max(2 * int(np.prod(files.shape(n))) for n in files.names),
  )
  print(
    json.dumps(
      {
        'parameters': sum(x.size for x in params.values()),
        'bytes': size,
        'beyond': peak - size,
        'bound': largest + 2**30,
        's': seconds,
      }
    )
  )


def main() -> None:
  if len(sys.argv) > 1:
    return load(sys.argv[1])
  with tempfile.TemporaryDirectory() as folder:
    write(Path(folder))
    told = json.loads(
      subprocess.run(
        [sys.executable, __file__, folder], check=True, capture_output=True, text=True
      ).stdout.splitlines()[-1]
    )
  verdict = 'within' if told['beyond'] <= told['bound'] else 'ABOVE'
  print(
    f'{told["parameters"] / 1e9:.2f}B parameters, {told["bytes"] / 2**30:.2f} GiB, in {told["s"]:.1f} s; '
    f'peak beyond them {told["beyond"] / 2**30:.2f} GiB, bound {told["bound"] / 2**30:.2f} GiB: {verdict}'
  )


if __name__ == '__main__':
  main()
