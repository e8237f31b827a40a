"""Times training and decoding on one H100 or H200, beside PyTorch, in at most ten minutes.

    pip install -e . 'jax[cuda13]' torch
    python benchmarks/gpu.py [--budget 540] [--only NAME ...] | tee gpu.jsonl
    python benchmarks/gpu.py --smoke        # each kind of case at toy size, on the CPU

Cases run in order of worth until the budget is spent, and each prints a line of JSON as soon as it
ends; what there is no time for is listed in the end. Cases run in child processes, so that one that
crashes or hangs takes no other with it.

- `matmul`: what the card gives in bf16. MFU is measured against this rate.
- `parity`: the loss and gradients of a small model with cuDNN's attention against those of `xla`,
  both against fp32.
- training: the step of `make_program`, as every phase runs it: AdamW, fp32 master weights,
  bf16 compute, texts of 200 to 800 tokens packed into rows. LoRA has rank 64 on all projections.
- PyTorch: see gpu_peer.py. It is given rows of one text each, which take its fastest kernel. The
  losses of the first steps are those of such rows in both programs. Where a model is small, both
  start from the same weights, and `same_losses` says whether they agree.
- decoding: greedy, prompts of 128 tokens, 128 new ones.

`anchor` is a published rate to beat, tokens per second: 12,473 for LoRA of 8B on an H100 (NVIDIA
NeMo) and about 390,000 for full training of 135M.

Shapes: B rows, T tokens of a row.
"""

import argparse
import dataclasses
import functools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gpu_peer
from sizes import MODELS, training_flops

from msm_jax.config import LoraConfig, ModelConfig, OptimizerConfig

LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.01
# Steps whose losses are compared; they also warm up.
COMPARED_STEPS = 3
# Timed steps of a block, and blocks, of which the median counts.
STEPS, BLOCKS = 5, 3
# PyTorch starts from our weights up to this many parameters; larger ones take long to carry over.
CARRIED_PARAMETERS = 3e8
# Losses of bf16 programs that round at other places.
LOSS_TOLERANCE = 0.02
TOY = ModelConfig(
  d_model=64, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=16, d_ff=128, vocab_size=512
)
# Side of the square matrices that the rate of the card is measured with.
MATMUL_SIDE = 8192
NEW_TOKENS = PROMPT_TOKENS = 128


@dataclasses.dataclass(frozen=True)
class Case:
  """What is measured.

  Attributes:
    name: the name of the case.
    kind: 'matmul', 'parity', 'train' or 'decode'.
    model: a key of MODELS.
    length: tokens of a row.
    rows: rows of a batch.
    rank: the rank of adapters; 0 trains everything.
    remat: what is computed again in the backward pass.
    loss_chunk: for how many tokens at a time logits exist; 0 means all.
    attention: which implementation of attention is asked for.
    program: 'msm_jax', 'pytorch' (blocks compiled) or 'pytorch eager'.
    seconds: about how long the case takes; it is left out if less time is left.
    anchor: a published rate in tokens per second; 0 if there is none.
  """

  name: str
  kind: str
  model: str = 'smollm2-135m'
  length: int = 1024
  rows: int = 0
  rank: int = 0
  remat: str = 'none'
  loss_chunk: int = 16_384
  attention: str = 'auto'
  program: str = 'msm_jax'
  seconds: float = 35
  anchor: int = 0


FULL_135M = Case('135m full 1024', 'train', rows=64, anchor=390_000)
LORA_135M = Case('135m lora 1024', 'train', rows=64, rank=64)
FULL_1B = Case('1b full 2048', 'train', model='llama-3.2-1b', length=2048, rows=16, remat='dots')
LORA_8B = Case(
  '8b lora 4096',
  'train',
  model='llama-3.1-8b',
  length=4096,
  rows=4,
  rank=64,
  remat='block',
  seconds=70,
  anchor=12_473,
)


def variant(case: Case, **changes: Any) -> Case:
  """A case like another one. Unless it is given a name, its name gets the changed program."""
  named = [case.name]
  for key, value in changes.items():
    if key in ('attention', 'program'):
      named.append(str(value))
  changes.setdefault('name', ' '.join(named))
  return dataclasses.replace(case, **changes)


# What one wants to know first comes first.
CASES = (
  Case('matmul', 'matmul', seconds=15),
  Case('parity', 'parity', attention='cudnn', length=512, rows=2, loss_chunk=0),
  FULL_135M,
  variant(FULL_135M, attention='xla', remat='block'),
  variant(FULL_135M, program='pytorch', seconds=60),
  # Midtraining of configs/smollm2.py:gpu.
  Case('smollm2.py:gpu', 'train', rows=4, rank=64, remat='block', loss_chunk=4096),
  LORA_8B,
  variant(LORA_8B, program='pytorch', seconds=80),
  LORA_135M,
  variant(FULL_135M, name='135m full 2048', length=2048, rows=32),
  FULL_1B,
  variant(FULL_1B, program='pytorch', remat='none', seconds=60),
  Case('135m decode', 'decode'),
  variant(LORA_135M, name='135m lora 2048', length=2048, rows=32),
  Case('1b decode', 'decode', model='llama-3.2-1b'),
  variant(LORA_135M, program='pytorch', seconds=60),
  variant(FULL_135M, name='135m full 2048 pytorch', length=2048, rows=32, program='pytorch'),
  variant(FULL_135M, program='pytorch eager'),
)


# --------------------------------------------------------------------------------------------------
# Models and batches
# --------------------------------------------------------------------------------------------------


def toys(cases: Sequence[Case]) -> list[Case]:
  """Makes the same cases at a size for the CPU.

  Args:
    cases: the cases.

  Returns:
    The small cases, without those that are the same at that size as one before.
  """
  small: dict[tuple, Case] = {}
  for case in cases:
    toy = dataclasses.replace(
      case, length=64, rows=min(case.rows, 4), rank=min(case.rank, 4), loss_chunk=0
    )
    small.setdefault((toy.kind, toy.program, toy.rank, toy.remat, toy.attention), toy)
  return list(small.values())


def model_config(case: Case, smoke: bool) -> ModelConfig:
  """Makes the settings of a case's model.

  Args:
    case: the case.
    smoke: whether the model is a toy.

  Returns:
    The settings.
  """
  config = MODELS[case.model]
  if smoke:
    config = TOY
  lora = None
  if case.rank:
    lora = LoraConfig(rank=case.rank, alpha=128.0)
  return dataclasses.replace(
    config,
    dtype='bfloat16',
    scan_layers=True,
    remat=case.remat,
    lora=lora,
    attention=case.attention,
  )


def make_batch(rows: int, length: int, vocabulary: int, packed: bool) -> dict[str, np.ndarray]:
  """Makes rows of random tokens.

  Args:
    rows: the number B of rows.
    length: the number T of tokens of a row.
    vocabulary: the number of token ids.
    packed: whether a row holds texts of 200 to 800 tokens (of a fifth to four fifths, in rows of
      under 1,000) or a single one.

  Returns:
    (B, T) arrays: tokens, targets, segment_ids and positions as int32, weights as float32.
  """
  rng = np.random.default_rng(0)
  tokens_BT, targets_BT = rng.integers(4, vocabulary, (2, rows, length))
  unit = min(200, length // 5)
  most = 1
  if packed:
    most = -(-length // unit)
  lengths = rng.integers(unit, 4 * unit + 1, (rows, most))
  if not packed:
    lengths[:] = length
  ends = np.cumsum(lengths, axis=1)
  at_T = np.arange(length)
  # The number of texts that ended before a position, plus one.
  segments_BT = (at_T[None, :, None] >= ends[:, None, :]).sum(-1) + 1
  starts = np.concatenate([np.zeros((rows, 1), int), ends], axis=1)
  positions_BT = at_T[None] - np.take_along_axis(starts, segments_BT - 1, axis=1)
  return {
    'tokens': tokens_BT.astype(np.int32),
    'targets': targets_BT.astype(np.int32),
    'weights': np.ones((rows, length), np.float32),
    'segment_ids': segments_BT.astype(np.int32),
    'positions': positions_BT.astype(np.int32),
  }


def seconds_of(step: Callable[[], Any], wait: Callable[[Any], Any], steps: int) -> float:
  """Times a step that may run on while the next one is being sent.

  Args:
    step: does one step.
    wait: waits until what a step has returned is there.
    steps: the steps of a block.

  Returns:
    Seconds of a step, the median of the blocks.
  """
  seconds = []
  for _ in range(BLOCKS):
    began = time.perf_counter()
    for _ in range(steps):
      value = step()
    wait(value)
    seconds.append((time.perf_counter() - began) / steps)
  return statistics.median(seconds)


# --------------------------------------------------------------------------------------------------
# The kinds of cases. Each returns what its line of JSON says.
# --------------------------------------------------------------------------------------------------


def run_matmul(case: Case, smoke: bool) -> dict[str, Any]:
  """Measures the rate of one large matrix product in bf16.

  Args:
    case: the case.
    smoke: whether the matrices are small.

  Returns:
    The device, the version of JAX, and FLOPs per second.
  """
  import jax
  import jax.numpy as jnp

  n = MATMUL_SIDE
  if smoke:
    n = 256
  x, y = jax.random.normal(jax.random.key(0), (2, n, n), jnp.bfloat16)
  product = jax.jit(lambda x, y: x @ y)
  jax.block_until_ready(product(x, y))
  seconds = seconds_of(lambda: product(x, y), jax.block_until_ready, 20)
  rate = 2 * n**3 / seconds
  return {'device': str(jax.devices()[0]), 'jax': jax.__version__, 'flops_per_s': rate}


def run_parity(case: Case, smoke: bool) -> dict[str, Any]:
  """Compares an implementation of attention with xla's, in bf16, both against fp32.

  Args:
    case: the case.
    smoke: whether to compare xla with itself, which runs on a CPU.

  Returns:
    For full and for local attention: the distances of both gradients from those of fp32, divided by
    the norm of these, and whether the implementation's is at most half as large again.
  """
  import jax
  import optax

  from msm_jax.model import init_params
  from msm_jax.objectives.next_token import next_token

  # A CPU has no other implementation to compare with.
  attention = 'xla' if smoke else case.attention
  base = dataclasses.replace(TOY, d_model=256, head_dim=64, scan_layers=True, local_window=100)
  batch = make_batch(case.rows, case.length, base.vocab_size, packed=True)
  # The end of a row is padding.
  batch['segment_ids'][:, -7:] = 0
  batch['weights'][:, -7:] = 0
  found: dict[str, Any] = {}
  for name, is_local in (('full', False), ('local', True)):
    config = dataclasses.replace(base, local_layers=(is_local,) * base.n_layers)
    params = init_params(config, jax.random.key(0))

    def gradients(dtype: str, attention: str, config=config, params=params) -> Any:
      chosen = dataclasses.replace(config, dtype=dtype, attention=attention)
      objective = functools.partial(next_token, chosen, None, case.loss_chunk)
      grads, _ = jax.jit(jax.grad(objective, has_aux=True))(params, batch)
      return grads

    # By default, GPUs multiply fp32 numbers as TF32, with ten bits.
    with jax.default_matmul_precision('highest'):
      exact = gradients('float32', 'xla')
    size = optax.tree.norm(exact)

    def distance(grads: Any, exact=exact, size=size) -> float:
      return float(optax.tree.norm(jax.tree.map(lambda a, b: a - b, grads, exact)) / size)

    of_xla = distance(gradients('bfloat16', 'xla'))
    try:
      own = distance(gradients('bfloat16', attention))
    except Exception as error:  # What an implementation refuses is a result too.
      found[name] = {'refused': _one_line(error)}
      continue
    found[name] = {'of_xla': of_xla, f'of_{case.attention}': own, 'agree': own <= 1.5 * of_xla}
  return found


def run_train(case: Case, smoke: bool) -> dict[str, Any]:
  """Times training steps.

  Args:
    case: the case.
    smoke: whether the model is a toy.

  Returns:
    Seconds of a step, tokens and FLOPs per second, the losses of the first steps, seconds of
    compiling (for PyTorch, of the first steps), and peak memory in GiB.
  """
  config = model_config(case, smoke)
  if case.program == 'msm_jax':
    result = _train_ours(case, config)
  else:
    result = _train_peer(case, config)
  tokens = case.rows * case.length
  result['tok_s'] = tokens / result['seconds']
  # The parent divides by the rate of the card.
  result['flops_per_s'] = training_flops(config, case.length) * result['tok_s']
  return result


def _train_ours(case: Case, config: ModelConfig) -> dict[str, Any]:
  import jax

  from msm_jax import sharding
  from msm_jax.training import train_step

  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  optimizer = OptimizerConfig(weight_decay=WEIGHT_DECAY)
  program = train_step.make_program(config, optimizer, case.loss_chunk, mesh)
  state = program.init(jax.random.key(0))
  if config.lora:
    state = dataclasses.replace(state, frozen=_random_like(program.abstract_state.frozen))
  batches = []
  for packed in (False, True):
    rows = make_batch(case.rows, case.length, config.vocab_size, packed)
    batches.append(train_step.to_device(rows, 1, mesh))
  whole, packed_rows = batches
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  lr = jax.device_put(np.full(2, LEARNING_RATE, np.float32), replicated)
  with jax.set_mesh(mesh):
    began = time.monotonic()
    # The type of `step` hides that it is a jitted function.
    step: Any = program.step
    compiled = step.lower(state, whole, lr).compile()
    compile_seconds = time.monotonic() - began
    losses = []
    for _ in range(COMPARED_STEPS):
      state, metrics = compiled(state, whole, lr)
      losses.append(float(metrics['loss']))

    def one_step() -> Any:
      nonlocal state
      state, metrics = compiled(state, packed_rows, lr)
      return metrics['loss']

    jax.block_until_ready(one_step())
    seconds = seconds_of(one_step, jax.block_until_ready, STEPS)
  memory = compiled.memory_analysis()
  peak = None
  # Some backends do not say, or say 0.
  if memory is not None and memory.peak_memory_in_bytes:
    peak = memory.peak_memory_in_bytes / 2**30
  return {
    'seconds': seconds,
    'compile_seconds': compile_seconds,
    'peak_gib': peak,
    'losses': losses,
  }


def _random_like(abstract: Any) -> Any:
  """Makes random frozen parameters of the size of trained ones; norms are ones."""
  import jax
  import jax.numpy as jnp

  keys = jax.random.split(jax.random.key(1), len(abstract))
  made = {}
  for key, (name, shape) in zip(keys, abstract.items(), strict=True):
    if name.endswith('norm'):
      made[name] = jnp.ones(shape.shape, shape.dtype, device=shape.sharding)
      continue

    def draw(key: Any, shape=shape) -> Any:
      return gpu_peer.SCALE * jax.random.normal(key, shape.shape, shape.dtype)

    made[name] = jax.jit(draw, out_shardings=shape.sharding)(key)
  return made


def _train_peer(case: Case, config: ModelConfig) -> dict[str, Any]:
  # JAX is only asked for shapes and small weights here, on the CPU.
  import jax

  from msm_jax.model import count_params, init_params

  init = functools.partial(init_params, config)
  abstract = jax.eval_shape(init, jax.random.key(0))
  shapes = {name: x.shape for name, x in abstract.items()}
  values = None
  if not case.rank and count_params(abstract) <= CARRIED_PARAMETERS:
    values = jax.tree.map(np.asarray, init(jax.random.key(0)))
  batch = make_batch(case.rows, case.length, config.vocab_size, packed=False)
  on_gpu = gpu_peer.device_name() == 'cuda'
  # A CPU runs eagerly: compiling for it would take longer than everything else.
  compiled = case.program == 'pytorch' and on_gpu
  step = gpu_peer.make_step(config, shapes, values, batch, LEARNING_RATE, WEIGHT_DECAY, compiled)
  began = time.monotonic()
  losses = [float(step()) for _ in range(COMPARED_STEPS)]
  compile_seconds = time.monotonic() - began
  seconds = seconds_of(step, float, STEPS)
  return {
    'seconds': seconds,
    'compile_seconds': compile_seconds,
    'peak_gib': gpu_peer.peak_gib(),
    'losses': losses,
    'same_weights': values is not None,
  }


class NoTokenizer:
  """A tokenizer whose tokens have no text. The sampler asks it for no more than this."""

  stop_ids = ()

  def __init__(self, vocab_size: int) -> None:
    self.vocab_size = vocab_size

  def decode(self, ids: Sequence[int]) -> str:
    return ''


def run_decode(case: Case, smoke: bool) -> dict[str, Any]:
  """Times greedy decoding of 1, 32 and 256 requests at once.

  Args:
    case: the case.
    smoke: whether the model is a toy and the requests are few.

  Returns:
    Tokens per second for each number of requests.
  """
  import jax

  from msm_jax.inference.completion import CompletionRequest
  from msm_jax.inference.sampling import Sampler
  from msm_jax.model import init_params

  config = model_config(case, smoke)
  params = jax.jit(functools.partial(init_params, config))(jax.random.key(0))
  tokenizer: Any = NoTokenizer(config.vocab_size)
  sampler = Sampler(config, params, tokenizer, max_length=512, max_rows=256)
  del params
  tokens = NEW_TOKENS
  counts = [1, 32, 256]
  if smoke:
    tokens = 8
    counts = [1, 4]
  rng = np.random.default_rng(0)
  result = {}
  for rows in counts:
    prompts = rng.integers(4, config.vocab_size, (rows, PROMPT_TOKENS)).tolist()
    requests = [CompletionRequest(prompt, max_tokens=tokens) for prompt in prompts]
    # The first time compiles.
    sampler.generate(requests)
    began = time.perf_counter()
    sampler.generate(requests)
    result[f'tok_s of {rows} rows'] = rows * tokens / (time.perf_counter() - began)
  return result


KINDS = {'matmul': run_matmul, 'parity': run_parity, 'train': run_train, 'decode': run_decode}


# --------------------------------------------------------------------------------------------------
# Children, and the parent that starts them
# --------------------------------------------------------------------------------------------------


def _one_line(error: BaseException) -> str:
  text = ' '.join(f'{type(error).__name__}: {error}'.split())
  return text[:400]


def left_out(case: Case) -> dict[str, Any]:
  """The line of a case that there is no time for."""
  return {'case': case.name, 'left_out': 'no time left'}


def child(cases: Sequence[Case], deadline: float, smoke: bool) -> None:
  """Runs cases of one program one after the other, and prints a line of JSON for each.

  Args:
    cases: the cases.
    deadline: until when, in seconds of the wall clock since 1970.
    smoke: whether they run at toy sizes on the CPU.
  """
  import jax

  for case in cases:
    if time.time() + case.seconds > deadline:
      print(json.dumps(left_out(case)), flush=True)
      continue
    began = time.monotonic()
    line: dict[str, Any] = {'case': case.name}
    try:
      line |= KINDS[case.kind](case, smoke)
    except Exception as error:  # The next case may work.
      line['error'] = _one_line(error)
    line['took'] = round(time.monotonic() - began, 1)
    print(json.dumps(line), flush=True)
    jax.clear_caches()


def next_group(cases: Sequence[Case]) -> Sequence[Case]:
  """The first cases that one child can run: those of the same program."""
  count = 0
  for case in cases:
    if _is_peer(case) != _is_peer(cases[0]):
      break
    count += 1
  return cases[:count]


def _is_peer(case: Case) -> bool:
  return case.program != 'msm_jax'


def lines_of_child(cases: Sequence[Case], deadline: float, smoke: bool) -> Iterator[dict[str, Any]]:
  """Runs cases in a child process.

  Args:
    cases: cases of one program.
    deadline: when the child is killed, in seconds of the wall clock since 1970.
    smoke: whether they run at toy sizes on the CPU.

  Yields:
    The line of each case. The last one says so if the child did not get through it.
  """
  command = [sys.executable, __file__, '--child', str(deadline)]
  command += ['--only', *[case.name for case in cases]]
  environment = dict(os.environ)
  if smoke:
    command.append('--smoke')
  if smoke or _is_peer(cases[0]):
    # PyTorch gets the whole card.
    environment['JAX_PLATFORMS'] = 'cpu'
  # JAX refuses the new name of this variable beside its old one.
  if 'XLA_PYTHON_CLIENT_MEM_FRACTION' not in environment:
    environment.setdefault('XLA_CLIENT_MEM_FRACTION', '.92')
  process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
  assert process.stdout is not None
  # A case that hangs must not outlast the budget.
  killer = threading.Timer(max(0.0, deadline - time.time()), process.kill)
  killer.daemon = True
  killer.start()
  seen = 0
  for text in process.stdout:
    if text.startswith('{'):
      seen += 1
      yield json.loads(text)
  code = process.wait()
  killer.cancel()
  if seen < len(cases):
    yield {'case': cases[seen].name, 'error': f'its process ended with exit code {code}'}


def complete(line: Mapping[str, Any], case: Case, before: Mapping[str, Mapping]) -> dict[str, Any]:
  """Adds to a line what its child cannot know.

  Args:
    line: what the child printed.
    case: its case.
    before: name -> line of the cases that are done.

  Returns:
    The line with the case's settings, its MFU against the measured rate, the published rate, and,
    for PyTorch, the comparison with our line of the same shape.
  """
  done = dict(line)
  if case.kind != 'train' or 'tok_s' not in done:
    return done
  for key in ('program', 'model', 'length', 'rows', 'rank', 'remat', 'loss_chunk', 'attention'):
    done[key] = getattr(case, key)
  rate = before.get('matmul', {}).get('flops_per_s')
  if rate:
    done['mfu'] = done['flops_per_s'] / rate
  if case.anchor:
    done['anchor'] = case.anchor
  ours = before.get(case.name.partition(' pytorch')[0], {})
  if _is_peer(case) and 'tok_s' in ours:
    done['ours_to_theirs'] = ours['tok_s'] / done['tok_s']
    if done['same_weights']:
      done['same_losses'] = bool(np.allclose(ours['losses'], done['losses'], rtol=LOSS_TOLERANCE))
  return done


def run_all(cases: Sequence[Case], budget: float, smoke: bool) -> int:
  """Runs cases in child processes and prints their lines.

  Args:
    cases: the cases in order of worth.
    budget: how long all of them may take, in seconds.
    smoke: whether they run at toy sizes on the CPU.

  Returns:
    How many of them failed.
  """
  deadline = time.time() + budget
  remaining = list(cases)
  before: dict[str, dict] = {}
  failed = 0
  while remaining:
    # Starting a child takes seconds, so this is asked here too.
    if time.time() + remaining[0].seconds > deadline:
      print(json.dumps(left_out(remaining.pop(0))), flush=True)
      continue
    group = next_group(remaining)
    for line in lines_of_child(group, deadline, smoke):
      case = remaining.pop(0)
      done = complete(line, case, before)
      before[case.name] = done
      failed += 'error' in done
      print(json.dumps(done), flush=True)
  return failed


def main() -> None:
  """Runs the cases; with --child, runs them in this process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--budget', type=float, default=540, help='seconds (default: 540)')
  parser.add_argument('--only', nargs='+', choices=[case.name for case in CASES], metavar='NAME')
  parser.add_argument('--smoke', action='store_true', help='toy sizes, on the CPU')
  parser.add_argument('--child', type=float, help=argparse.SUPPRESS)
  args = parser.parse_args()
  cases = [case for case in CASES if not args.only or case.name in args.only]
  if args.smoke:
    cases = toys(cases)
  if args.child:
    child(cases, args.child, args.smoke)
    return
  sys.exit(min(1, run_all(cases, args.budget, args.smoke)))


if __name__ == '__main__':
  main()
