"""Estimates the speed and memory of training on TPU slices, from what the real compiler says.

    pip install 'jax[tpu]'        # brings the compiler (libtpu), Linux x86-64
    python benchmarks/roofline.py [--only NAME ...] [--list]
    python benchmarks/roofline.py --only NAME --attention xla --option FLAG=VALUE    # prints alone

Each case compiles the step of `train.make_program`, as every phase runs it, for a slice that is
described and not there. The text of the compiled program (hlo.py reads it) holds the compiler's
estimate of the cycles of each fusion, and all exchanges between chips. From these come the seconds
of a step:

- computing: the sum of the compiler's estimates, loops multiplied by their lengths. Kernels written
  in Pallas have no estimate; those of attention count as KERNEL_RATE of the chip's peak.
- exchanges: the bytes that come into each chip, divided by the bandwidth of the links that the
  group has. Latency is left out.
- a step: asynchronous exchanges run beside the computing of their own loop body, and what does not
  fit beside it is added; synchronous ones are added in full.

One large matrix product, compiled for the same chip, says how the compiler's estimate relates to
the peak: no step can have a higher MFU than that product. An estimate that is above the peak, or
under half of it, would mean that CHIPS has a wrong clock, and is refused.

None of this was measured on a TPU. Each result is kept as a line of docs/results/data/tpu.jsonl,
and the table of docs/results/tpu.md is made from these lines. The exit code is 1 if a case does not
fit.
"""

import argparse
import collections
import dataclasses
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hlo
from sizes import MODELS, training_flops

from msm_jax.config import LoraConfig, ModelConfig, OptimizerConfig

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'docs' / 'results' / 'data' / 'tpu.jsonl'
PAGE = ROOT / 'docs' / 'results' / 'tpu.md'
BEGIN, END = '<!-- roofline -->\n', '<!-- end roofline -->'
GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """What a chip can do, by docs.cloud.google.com/tpu/docs/v5e, v5p and v6e.

  Attributes:
    flops: the peak in bf16, FLOP/s.
    clock: cycles per second. The pages do not name it: it is the peak divided by the FLOPs of a
      cycle (2 x 128 x 128 for each of the 4 units of v5e and 8 of v5p). For v6e it is a guess,
      which the matrix product checks.
    memory: HBM in GiB.
    bandwidth: of HBM, bytes/s.
    link: of one link to a neighbour, bytes/s in one direction. The pages name the sum over all
      links (4, 6 and 4) and both directions: 400, 1,200 and 800 GB/s.
    wraps: a dimension of the slice whose size is a multiple of this is a ring; others are lines.
  """

  flops: float
  clock: float
  memory: int
  bandwidth: float
  link: float
  wraps: int


CHIPS = {
  'v5e': Chip(197e12, 1.5e9, 16, 819e9, 50e9, 16),
  'v5p': Chip(459e12, 1.75e9, 95, 2765e9, 100e9, 4),
  'v6e': Chip(918e12, 1.75e9, 32, 1600e9, 100e9, 16),
}
# The rate of attention kernels, as a share of the peak: what good ones reach. An assumption.
KERNEL_RATE = 0.4
# The matrix products of each kernel of splash attention, of (T, K) by (K, T) or the like for each
# head. The kernel of keys and values makes one more if there is none of queries.
KERNEL_PRODUCTS = {'fwd': 2, 'dq': 3, 'dkv': 4}
KERNEL = re.compile(r'splash_m[hq]a_(fwd|dq|dkv)_')
MATMUL_SIDE = 8192


@dataclasses.dataclass(frozen=True)
class Case:
  """A model on a slice.

  Attributes:
    name: the name of the case.
    model: a key of MODELS.
    topology: kind and shape of the slice, such as 'v5e:4x4'.
    length: tokens of a row.
    rows: rows of the batch for each chip (each group of `tensor` chips).
    rank: the rank of adapters on all projections; 0 trains everything.
    mesh: over how many chips data, fsdp and tensor divide; -1 means whatever is left.
    remat: what is computed again in the backward pass.
    loss_chunk: for how many tokens of a chip logits exist at a time.
    attention: which implementation is asked for; 'auto' takes the kernel of TPUs.
    bar: the MFU that the project wants to reach; 0 if none is set.
  """

  name: str
  model: str
  topology: str
  length: int
  rows: int = 1
  rank: int = 0
  mesh: tuple[int, int, int] = (1, -1, 1)
  remat: str = 'block'
  loss_chunk: int = 1024
  attention: str = 'auto'
  bar: float = 0.0

  @property
  def chip(self) -> Chip:
    """What a chip of the slice can do."""
    return CHIPS[self.topology.partition(':')[0]]

  @property
  def shape(self) -> tuple[int, ...]:
    """The chips of the slice in each dimension."""
    return tuple(int(size) for size in self.topology.partition(':')[2].split('x'))


M135, B8, B32 = 'smollm2-135m', 'llama-3.1-8b', 'qwen3-32b'
CASES = (
  # The shape of configs/smollm2.py:gpu: 16 rows, every chip holds the whole model.
  Case('smollm2-gpu', M135, 'v5e:2x2', 1024, 4, 64, mesh=(-1, 1, 1)),
  Case('135m-full-v5e-2048', M135, 'v5e:2x2', 2048, 4),
  Case('8b-full-v5e-2048', B8, 'v5e:4x4', 2048, bar=0.45),
  Case('8b-full-v5e-8192', B8, 'v5e:4x4', 8192, bar=0.45),
  Case('8b-lora-v5e-8192', B8, 'v5e:4x4', 8192, rank=64),
  Case('8b-full-v6e-4096', B8, 'v6e:4x4', 4096),
  Case('8b-full-v6e-8192', B8, 'v6e:4x4', 8192, bar=0.35),
  Case('8b-lora-v6e-8192', B8, 'v6e:4x4', 8192, rank=64),
  Case('32b-full-v5p-4096', B32, 'v5p:4x4x4', 4096, bar=0.5),
  Case('32b-full-v5p-4096-4x16', B32, 'v5p:4x4x4', 4096, mesh=(4, 16, 1), bar=0.5),
  Case('32b-lora-v5p-4096', B32, 'v5p:4x4x4', 4096, rank=64),
  Case('32b-full-v5p-8192', B32, 'v5p:4x4x4', 8192, bar=0.5),
  Case('32b-lora-v5p-8192', B32, 'v5p:4x4x4', 8192, rank=64),
)


# --------------------------------------------------------------------------------------------------
# From a compiled program to seconds: pure functions
# --------------------------------------------------------------------------------------------------


def links_of(chip: Chip, shape: Sequence[int], coordinates: Iterable[Sequence[int]]) -> int:
  """Counts the links through which a chip of a group hears from the others.

  Args:
    chip: what a chip can do.
    shape: the chips of the slice in each dimension.
    coordinates: where the chips of the group are.

  Returns:
    For each dimension that the group extends over: two if it is a whole ring, else one, for the
    chips at the end of a line, on which the others wait.
  """
  places = list(coordinates)
  links = 0
  for dim, size in enumerate(shape):
    extent = len({place[dim] for place in places})
    is_ring = extent == size and size % chip.wraps == 0
    if is_ring and size > 2:
      links += 2
    elif extent > 1:
      links += 1
  return links


def kernel_flops(case: Case, model: ModelConfig, attributes: str, has_dq: bool) -> float:
  """Counts the FLOPs of one execution of a kernel on one chip.

  Args:
    case: the case.
    model: the settings of its model.
    attributes: the attributes of the operation, which name the kernel.
    has_dq: whether the program has a kernel for the gradient of queries.

  Returns:
    The FLOPs of causal attention, T / 2 keys for each query; 0 for a kernel of another name.
  """
  found = KERNEL.search(attributes)
  if found is None:
    return 0.0
  products = KERNEL_PRODUCTS[found[1]]
  if found[1] == 'dkv' and not has_dq:
    products += 1
  width = model.n_heads * model.head_dim / case.mesh[2]
  return products * case.rows * width * case.length**2


def estimate(
  program: hlo.Program,
  case: Case,
  model: ModelConfig,
  coordinates: Sequence[Sequence[int]],
) -> dict[str, Any]:
  """Adds up what a step costs one chip.

  Args:
    program: the compiled step.
    case: the case.
    model: the settings of its model.
    coordinates: where each device of the mesh is, in the order of the mesh.

  Returns:
    FLOPs of matrix products, bytes of HBM, seconds of computing, of kernels and of exchanges, the
    exchanges by kind, and the seconds of a step (see the top of this file).
  """
  chip = case.chip
  steps = list(hlo.walk(program))
  kernels = [s.operation for s in steps if s.operation.opcode == 'custom-call']
  has_dq = any('_dq_' in kernel.attributes for kernel in kernels)
  flops = kernel_seconds = 0.0
  n_bytes = 0
  # Caller -> seconds of one step. Exchanges are hidden by what their own loop body computes.
  computing: dict[str, float] = collections.defaultdict(float)
  synchronous: dict[str, float] = collections.defaultdict(float)
  asynchronous: dict[str, float] = collections.defaultdict(float)
  exchanges: dict[str, dict[str, float]] = {}
  for step in steps:
    flops += step.times * hlo.flops_of(program, step)
    n_bytes += step.times * hlo.hbm_bytes_of(program, step)
    if step.fusion is None:
      computing[step.caller] += step.times * hlo.cycles_of(step.operation) / chip.clock
      work = step.times * kernel_flops(case, model, step.operation.attributes, has_dq)
      if step.operation.opcode == 'custom-call' and work:
        flops += work
        kernel_seconds += work / (KERNEL_RATE * chip.flops)
        computing[step.caller] += work / (KERNEL_RATE * chip.flops)
  for step, found in hlo.collectives(program, len(coordinates)):
    links = 1
    if found.kind != 'collective-permute':
      links = links_of(chip, case.shape, [coordinates[member] for member in found.group])
    seconds = step.times * found.bytes / (max(links, 1) * chip.link)
    by_overlap = asynchronous if found.asynchronous else synchronous
    by_overlap[step.caller] += seconds
    total = exchanges.setdefault(found.kind, collections.defaultdict(float))
    total['count'] += step.times
    total['count_in_loops'] += step.times if step.loops else 0
    total['bytes'] += step.times * found.bytes
    total['seconds'] += seconds
  computing_seconds = sum(computing.values())
  hidden = 0.0
  for caller, seconds in asynchronous.items():
    hidden += min(seconds, computing[caller])
  exchanging = sum(synchronous.values()) + sum(asynchronous.values())
  return {
    'flops': flops,
    'hbm_bytes': n_bytes,
    'hbm_seconds': n_bytes / chip.bandwidth,
    'computing_seconds': computing_seconds,
    'kernel_seconds': kernel_seconds,
    'exchanging_seconds': exchanging,
    'hidden_seconds': hidden,
    'seconds': computing_seconds + exchanging - hidden,
    'exchanges': {kind: dict(total) for kind, total in sorted(exchanges.items())},
    'unknown_loops': hlo.unknown_loops(program),
  }


def rates(case: Case, model: ModelConfig, seconds: float) -> tuple[float, float]:
  """Turns the seconds of a step into rates.

  Args:
    case: the case.
    model: the settings of its model.
    seconds: of a step.

  Returns:
    (tokens per second and chip, MFU).
  """
  # Each group of `tensor` chips has `rows` rows.
  tokens = case.rows * case.length / case.mesh[2]
  flops = training_flops(model, case.length) * tokens
  return tokens / seconds, flops / seconds / case.chip.flops


# --------------------------------------------------------------------------------------------------
# The compiler
# --------------------------------------------------------------------------------------------------


def prepare_environment() -> None:
  """Sets what JAX and libtpu read when they are imported, on a machine without a TPU."""
  os.environ.update(
    JAX_PLATFORMS='cpu',
    # The TPU library would otherwise look for the metadata server of a TPU machine.
    TPU_SKIP_MDS_QUERY='1',
    TPU_WORKER_HOSTNAMES='localhost',
    TPU_ACCELERATOR_TYPE='v5litepod-1',
  )


def model_of(case: Case) -> ModelConfig:
  """Makes the settings of a case's model.

  Args:
    case: the case.

  Returns:
    The settings.
  """
  lora = None
  if case.rank:
    lora = LoraConfig(rank=case.rank, alpha=128.0)
  return dataclasses.replace(
    MODELS[case.model],
    dtype='bfloat16',
    scan_layers=True,
    remat=case.remat,
    lora=lora,
    attention=case.attention,
  )


def make_mesh(case: Case) -> Any:
  """Makes the mesh of a case over the chips of a described slice.

  Args:
    case: the case.

  Returns:
    The mesh, in the order in which exchanges name devices.
  """
  from jax.experimental import topologies

  from msm_jax import sharding

  described = topologies.get_topology_desc(
    platform='tpu',
    topology_name=case.topology,
    chip_config_name='default',
    chips_per_host_bounds=(2, 2, 1),
    num_slices=1,
  )
  data, fsdp, tensor = case.mesh
  return sharding.make_mesh(data, fsdp, tensor, devices=described.devices)


def compile_step(case: Case, mesh: Any, options: Mapping[str, str]) -> Any:
  """Compiles a training step for a slice.

  Args:
    case: the case.
    mesh: its mesh.
    options: flags for the compiler, beside those that the product sets.

  Returns:
    The compiled step.
  """
  import jax
  from jax.sharding import NamedSharding
  from jax.sharding import PartitionSpec as P

  from msm_jax import sharding, train

  rows = case.rows * math.prod(case.shape) // mesh.shape['tensor']
  program = train.make_program(model_of(case), OptimizerConfig(), case.loss_chunk, mesh)
  # Shapes are all that the compiler needs; one micro-batch of `rows` rows.
  layout = sharding.batch_sharding(mesh, 1)
  batch = {}
  for key in ('tokens', 'targets', 'segment_ids', 'positions'):
    batch[key] = jax.ShapeDtypeStruct((1, rows, case.length), 'int32', sharding=layout)
  batch['weights'] = jax.ShapeDtypeStruct((1, rows, case.length), 'float32', sharding=layout)
  lr = jax.ShapeDtypeStruct((2,), 'float32', sharding=NamedSharding(mesh, P()))
  with jax.set_mesh(mesh):
    # The type of `step` hides that it is a jitted function.
    step: Any = program.step
    lowered = step.lower(program.abstract_state, batch, lr)
    return lowered.compile(compiler_options=dict(options) or None)


def compile_matmul(mesh: Any) -> str:
  """Compiles one large matrix product, which every chip computes whole.

  Args:
    mesh: the mesh of the slice.

  Returns:
    The text of the compiled program.
  """
  import jax
  from jax.sharding import NamedSharding
  from jax.sharding import PartitionSpec as P

  whole = NamedSharding(mesh, P())
  side = jax.ShapeDtypeStruct((MATMUL_SIDE, MATMUL_SIDE), 'bfloat16', sharding=whole)
  product = jax.jit(lambda x, y: x @ y, out_shardings=whole)
  return product.lower(side, side).compile().as_text() or ''


def matmul_share(text: str, chip: Chip) -> float:
  """Says what share of the peak the compiler expects of a program of one matrix product.

  Args:
    text: the text of the compiled program.
    chip: what a chip can do.

  Returns:
    FLOPs by the estimated seconds and the peak.

  Raises:
    ValueError: the share cannot be, so cycles do not mean what CHIPS says.
  """
  program = hlo.parse(text)
  cycles = flops = 0
  for step in hlo.walk(program):
    flops += hlo.flops_of(program, step)
    if step.fusion is None:
      cycles += hlo.cycles_of(step.operation)
  share = flops * chip.clock / max(cycles, 1) / chip.flops
  if not 0.5 <= share <= 1.02:
    raise ValueError(
      f'the compiler expects a matrix product at {share:.0%} of the peak; '
      f'set the right clock in CHIPS'
    )
  return share


def run(case: Case, options: Mapping[str, str], keep: Path | None) -> dict[str, Any]:
  """Compiles a case and estimates its step.

  Args:
    case: the case.
    options: flags for the compiler.
    keep: a folder for the text of the compiled program, or None.

  Returns:
    What is kept of it: the case, memory, seconds and rates. A step that does not fit has the
    compiler's message instead.
  """
  import jax
  import jaxlib

  from msm_jax.base.version import source_state

  model = model_of(case)
  result: dict[str, Any] = dataclasses.asdict(case)
  result |= {
    'options': dict(options),
    'commit': source_state()['commit'],
    'jax': jax.__version__,
    'jaxlib': jaxlib.__version__,
    'libtpu': _libtpu_version(),
  }
  mesh = make_mesh(case)
  result['matmul_share'] = matmul_share(compile_matmul(mesh), case.chip)
  began = time.monotonic()
  try:
    compiled = compile_step(case, mesh, options)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return result | {'fits': False, 'message': ' '.join(str(error).split())[:500]}
  result['compile_seconds'] = time.monotonic() - began
  text = compiled.as_text()
  if keep:
    keep.mkdir(parents=True, exist_ok=True)
    (keep / f'{case.name}.hlo').write_text(text)
  memory = compiled.memory_analysis()
  result['state_gib'] = memory.argument_size_in_bytes / GIB
  result['peak_gib'] = memory.peak_memory_in_bytes / GIB
  result['fits'] = result['peak_gib'] < case.chip.memory
  coordinates = [device.coords for device in mesh.devices.ravel()]
  result |= estimate(hlo.parse(text), case, model, coordinates)
  result['tokens_per_second'], result['mfu'] = rates(case, model, result['seconds'])
  _, result['mfu_without_exchanges'] = rates(case, model, result['computing_seconds'])
  return result


def _libtpu_version() -> str:
  import importlib.metadata

  return importlib.metadata.version('libtpu')


# --------------------------------------------------------------------------------------------------
# Lines and table
# --------------------------------------------------------------------------------------------------


def read_lines(file: Path) -> dict[str, dict[str, Any]]:
  """Reads kept results.

  Args:
    file: the file of lines, which may not be there yet.

  Returns:
    Name of the case -> result.
  """
  if not file.exists():
    return {}
  kept = {}
  for line in file.read_text().splitlines():
    result = json.loads(line)
    kept[result['name']] = result
  return kept


def keep_line(file: Path, result: Mapping[str, Any]) -> None:
  """Writes a result in place of the older one of its case; cases stay in the order of CASES.

  Args:
    file: the file of lines.
    result: what `run` has returned.
  """
  kept = read_lines(file)
  kept[result['name']] = dict(result)
  lines = []
  for case in CASES:
    if case.name in kept:
      lines.append(json.dumps(kept[case.name]) + '\n')
  file.write_text(''.join(lines))


def exchanged(result: Mapping[str, Any]) -> str:
  """The exchanges of a step in words: GiB that come into a chip, and how many, by kind."""
  parts = []
  for kind, total in result['exchanges'].items():
    parts.append(f'{kind} {total["bytes"] / GIB:.1f} ({total["count"]:,})')
  return ', '.join(parts) or 'none'


def table(kept: Mapping[str, Mapping[str, Any]]) -> str:
  """Makes the table of the page.

  Args:
    kept: name of the case -> result.

  Returns:
    A Markdown table, in the order of CASES, and a line with versions; a line that says so if there
    are no results.
  """
  rows = []
  versions = set()
  for case in CASES:
    if case.name not in kept:
      continue
    result = kept[case.name]
    versions.add(((result['commit'] or 'unknown')[:7], result['jax'], result['libtpu']))
    tokens = f'{case.rows} x {case.length:,}'
    if 'seconds' not in result:
      cells = [case.name, case.topology, tokens, '**does not fit**', *[''] * 6]
    else:
      peak = f'{result["peak_gib"]:.2f} of {case.chip.memory}'
      if not result['fits']:
        peak += ' **does not fit**'
      cells = [
        case.name,
        case.topology,
        tokens,
        peak,
        f'{1e3 * result["computing_seconds"]:,.0f}',
        f'{1e3 * result["exchanging_seconds"]:,.0f}',
        f'{1e3 * result["seconds"]:,.0f}',
        f'{result["tokens_per_second"]:,.0f}',
        f'{result["mfu"]:.1%} ({result["matmul_share"]:.0%})',
        exchanged(result),
      ]
    rows.append(f'| {" | ".join(cells)} |\n')
  if not rows:
    return '*Not run yet.*\n'
  head = (
    '| case | slice | tokens a chip | peak GiB | computing, ms | exchanges, ms | step, ms '
    '| tokens/s/chip | MFU (of a matmul) | GiB exchanged (times) |\n'
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n'
  )
  made_with = []
  for commit, jax_version, libtpu in sorted(versions):
    made_with.append(f'{commit} with JAX {jax_version} and libtpu {libtpu}')
  return f'{head}{"".join(rows)}\nMade at {"; ".join(made_with)}.\n'


def with_table(page: str, new: str) -> str:
  """Puts the table between the markers of a page.

  Args:
    page: the text of the page.
    new: the table.

  Returns:
    The new text.

  Raises:
    ValueError: the page lacks the markers.
  """
  before, begin, rest = page.partition(BEGIN)
  _, end, after = rest.partition(END)
  if not begin or not end:
    raise ValueError(f'the page has no block {BEGIN.strip()} ... {END}')
  return f'{before}{begin}{new}{end}{after}'


def main() -> None:
  """Runs the cases that are asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--only', nargs='+', choices=[case.name for case in CASES], metavar='NAME')
  parser.add_argument('--list', action='store_true', help='print the names of the cases')
  parser.add_argument('--table', action='store_true', help='make the table anew and run nothing')
  parser.add_argument('--attention', help='another implementation; the result is not kept')
  parser.add_argument(
    '--option', action='append', default=[], help='FLAG=VALUE for the compiler; not kept either'
  )
  parser.add_argument('--keep', type=Path, help='a folder for the texts of compiled programs')
  args = parser.parse_args()
  if args.list:
    print('\n'.join(case.name for case in CASES))
    return
  prepare_environment()
  options = dict(option.split('=', 1) for option in args.option)
  is_trial = bool(args.attention or options)
  cases = [case for case in CASES if not args.only or case.name in args.only]
  if args.table:
    cases = []
  fits = True
  for case in cases:
    if args.attention:
      case = dataclasses.replace(case, attention=args.attention)
    result = run(case, options, args.keep)
    print(json.dumps(result), flush=True)
    # All cases are run, even after one that does not fit.
    fits &= result['fits']
    if not is_trial:
      keep_line(RESULTS, result)
  if not is_trial:
    PAGE.write_text(with_table(PAGE.read_text(), table(read_lines(RESULTS))))
  sys.exit(not fits)


if __name__ == '__main__':
  main()
