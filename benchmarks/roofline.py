"""Estimates the speed and memory of training on TPU slices, from what the real compiler says.

    pip install 'jax[tpu]'        # brings the compiler (libtpu), Linux x86-64
    python benchmarks/roofline.py [--only NAME ...] [--list]
    python benchmarks/roofline.py --only NAME --with rows=2 remat=dots --option FLAG=VALUE
    python benchmarks/roofline.py --only NAME --keep FOLDER --largest 20

With `--with` or `--option`, a case is a trial: its result is printed and not kept.

Each case compiles the step of `make_program`, as every phase runs it, for a slice that is
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
and the tables of docs/results/tpu.md and docs/guides/paper.md are made from these lines
(tpu_pages.py). The exit code is 1 if a case does not fit.
"""

import argparse
import collections
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import hlo
import hlo_largest
import tpu_pages
from sizes import MODELS, scoring_flops, training_flops
from tpu_cases import CASES, Case, Chip, changed

from msm_jax.config import LoraConfig, ModelConfig, OptimizerConfig

GIB = 2**30
# The rate of attention kernels, as a share of the peak: what good ones reach. An assumption.
KERNEL_RATE = 0.4
# The matrix products of each kernel of splash attention, of (T, K) by (K, T) or the like for each
# head. The kernel of keys and values makes one more if there is none of queries.
KERNEL_PRODUCTS = {'fwd': 2, 'dq': 3, 'dkv': 4}
KERNEL = re.compile(r'splash_m[hq]a_(fwd|dq|dkv)_')
MATMUL_SIDE = 8192


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
  rings = chip.rings(shape)
  for dim, size in enumerate(shape):
    extent = len({place[dim] for place in places})
    is_ring = extent == size and rings[dim]
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
  width = model.n_heads * model.head_dim / case.mesh_sizes[2]
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
  tokens = case.rows * case.length / case.mesh_sizes[2]
  flops_of_token = training_flops if case.kind == 'train' else scoring_flops
  flops = flops_of_token(model, case.length) * tokens
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


def compile_case(case: Case, mesh: Any, options: Mapping[str, str]) -> Any:
  """Compiles a training step, or the scoring of a batch, for a slice.

  Args:
    case: the case.
    mesh: its mesh.
    options: flags for the compiler, beside those that the product sets.

  Returns:
    The compiled program.
  """
  import jax

  from msm_jax.training import train_step

  model = model_of(case)
  program = train_step.make_program(model, OptimizerConfig(), case.loss_chunk, mesh)
  lower = {'train': _lower_step, 'score': _lower_scoring}[case.kind]
  with jax.set_mesh(mesh):
    return lower(case, model, program, mesh).compile(compiler_options=dict(options) or None)


def _lower_step(case: Case, model: ModelConfig, program: Any, mesh: Any) -> Any:
  """Traces a training step. Shapes are all that the compiler needs."""
  import jax
  from jax.sharding import NamedSharding
  from jax.sharding import PartitionSpec as P

  from msm_jax import sharding

  del model
  # One micro-batch.
  shape = (1, case.rows * sharding.batch_parts(mesh), case.length)
  layout = sharding.batch_sharding(mesh, 1)
  batch = {}
  for key in ('tokens', 'targets', 'segment_ids', 'positions'):
    batch[key] = jax.ShapeDtypeStruct(shape, 'int32', sharding=layout)
  batch['weights'] = jax.ShapeDtypeStruct(shape, 'float32', sharding=layout)
  lr = jax.ShapeDtypeStruct((2,), 'float32', sharding=NamedSharding(mesh, P()))
  return program.step.lower(program.abstract_state, batch, lr)


def _lower_scoring(case: Case, model: ModelConfig, program: Any, mesh: Any) -> Any:
  """Traces the scoring of a batch in which every token is scored, which takes the most memory."""
  import jax

  from msm_jax import sharding
  from msm_jax.evals.scoring import scoring_program

  parts = sharding.batch_parts(mesh)
  layout = sharding.batch_sharding(mesh)

  def integers(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, 'int32', sharding=layout)

  rows = integers(case.rows * parts, case.length)
  scored = integers(parts, case.rows, case.length)
  params = program.abstract_state.frozen | program.abstract_state.params
  of_scores = scoring_program(mesh)
  return of_scores.lower(model, params, rows, rows, rows, scored, scored)


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


def run(
  case: Case, options: Mapping[str, str], keep: Path | None = None, largest: int = 0
) -> dict[str, Any]:
  """Compiles a case and estimates its step.

  Args:
    case: the case.
    options: flags for the compiler.
    keep: a folder for the text of the compiled program, or None.
    largest: of how many groups of operations the time is printed.

  Returns:
    What is kept of it: the case, memory, seconds and rates. A step that does not fit has the
    compiler's message instead.
  """
  import jax
  import jaxlib

  from msm_jax import sharding
  from msm_jax.base.version import source_state

  model = model_of(case)
  result: dict[str, Any] = dataclasses.asdict(case)
  result |= {
    'options': dict(options),
    **source_state(),
    'jax': jax.__version__,
    'jaxlib': jaxlib.__version__,
    'libtpu': _libtpu_version(),
  }
  mesh = make_mesh(case)
  if case.kind == 'train':
    result['options_of_project'] = sharding.compiler_options(mesh, model.dtype)
  result['matmul_share'] = matmul_share(compile_matmul(mesh), case.chip)
  began = time.monotonic()
  try:
    compiled = compile_case(case, mesh, options)
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
  result['peak_bytes'] = memory.peak_memory_in_bytes
  result['peak_gib'] = memory.peak_memory_in_bytes / GIB
  result['fits'] = result['peak_gib'] < case.chip.memory
  coordinates = [tuple(device.coords) for device in mesh.devices.ravel()]
  program = hlo.parse(text)
  result |= estimate(program, case, model, coordinates)
  result['tokens_per_second'], result['mfu'] = rates(case, model, result['seconds'])
  _, result['mfu_without_exchanges'] = rates(case, model, result['computing_seconds'])
  if largest:
    print(hlo_largest.table(hlo_largest.groups(program, case.chip.clock), largest), flush=True)
  return result


def _libtpu_version() -> str:
  import importlib.metadata

  return importlib.metadata.version('libtpu')


def main() -> None:
  """Runs the cases that are asked for."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--only', nargs='+', choices=[case.name for case in CASES], metavar='NAME')
  parser.add_argument('--list', action='store_true', help='print the names of the cases')
  parser.add_argument('--table', action='store_true', help='make the tables anew and run nothing')
  parser.add_argument(
    '--with',
    dest='changes',
    nargs='+',
    default=[],
    metavar='FIELD=VALUE',
    help='change fields of the cases, such as topology=v6e:4x4; the result is not kept',
  )
  parser.add_argument(
    '--option', action='append', default=[], help='FLAG=VALUE for the compiler; not kept either'
  )
  parser.add_argument('--keep', type=Path, help='a folder for the texts of compiled programs')
  parser.add_argument(
    '--largest', type=int, default=0, help='print so many operations that take the most time'
  )
  args = parser.parse_args()
  if args.list:
    print('\n'.join(case.name for case in CASES))
    return
  prepare_environment()
  options = dict(option.split('=', 1) for option in args.option)
  is_trial = bool(args.changes or options)
  cases = [case for case in CASES if not args.only or case.name in args.only]
  if args.table:
    cases = []
  fits = True
  for case in cases:
    result = run(changed(case, args.changes), options, args.keep, args.largest)
    print(json.dumps(result), flush=True)
    # All cases are run, even after one that does not fit.
    fits &= result['fits']
    if not is_trial:
      tpu_pages.keep_line(tpu_pages.RESULTS, result)
  if not is_trial:
    tpu_pages.write_pages()
  sys.exit(not fits)


if __name__ == '__main__':
  main()
