"""Times one training step of the tiny model, ours against PyTorch, eager and compiled.

    make bench        (or: python benchmarks/step.py [--rounds 5] [--batch 32] [--d_model 128 ...])

All have the same weights and the same batch, and run side by side. Each round times each of them in
a fresh subprocess, one after the other, and says how many cores other programs took meanwhile. A
round that was disturbed by more than a tenth of a core proves nothing. All get all cores (PyTorch
as threads; msm_jax as one device for each core, as the tiny configs ask) and the same settings of
the memory allocator. The first losses of each round are compared before its rates are printed.
torch.compile needs a C++ compiler.

Dimensions: B rows, T tokens of a row, D model width, H heads, K width of a head.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
  from msm_jax.config import ModelConfig

# What msm_jax.base.command.tune_process asks of glibc, for both programs.
ALLOCATOR = {
  'MALLOC_ARENA_MAX': '4',
  'MALLOC_MMAP_MAX_': '0',
  'MALLOC_TRIM_THRESHOLD_': '2147483647',
  'MALLOC_TOP_PAD_': '67108864',
}
VOCABULARY = 2048
LENGTH = 128
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.01
# Steps whose losses are compared; they also compile and warm up.
COMPARED_STEPS = 4


def make_batch(rows: int) -> dict[str, np.ndarray]:
  """Makes packed rows of random tokens.

  Segments have about 32 tokens, the last four positions are padding, and two thirds of the tokens
  are supervised.

  Args:
    rows: the number B of rows.

  Returns:
    (B, T) arrays: tokens, targets, segment_ids and positions as int32, weights as float32.
  """
  rng = np.random.default_rng(0)
  segment_lengths = rng.integers(20, 45, (rows, LENGTH))
  segment_ends = np.cumsum(segment_lengths, axis=1)
  at_T = np.arange(LENGTH)
  # The number of segments that ended before a position, plus one; 0 is for padding.
  segments_BT = (at_T[None, :, None] >= segment_ends[:, None, :]).sum(-1) + 1
  segment_starts = np.concatenate([np.zeros((rows, 1), int), segment_ends], axis=1)
  positions_BT = at_T[None] - np.take_along_axis(segment_starts, segments_BT - 1, axis=1)
  segments_BT[:, -4:] = 0
  tokens_BT, targets_BT = rng.integers(4, VOCABULARY, (2, rows, LENGTH))
  weights_BT = (rng.random((rows, LENGTH)) < 0.67) & (segments_BT > 0)
  return {
    'tokens': tokens_BT.astype(np.int32),
    'targets': targets_BT.astype(np.int32),
    'weights': weights_BT.astype(np.float32),
    'segment_ids': segments_BT.astype(np.int32),
    'positions': positions_BT.astype(np.int32),
  }


def model_config(args: argparse.Namespace) -> 'ModelConfig':
  """Makes our settings of the model that the command line asks for.

  Args:
    args: the command line.

  Returns:
    The settings.
  """
  from msm_jax.config import ModelConfig

  return ModelConfig(
    d_model=args.d_model,
    n_layers=args.layers,
    n_heads=args.heads,
    n_kv_heads=args.heads,
    head_dim=args.d_model // args.heads,
    d_ff=args.d_ff,
    vocab_size=VOCABULARY,
  )


def initial_params(args: argparse.Namespace) -> dict[str, np.ndarray]:
  """Returns the initial parameters, the same for both programs."""
  # The child that runs PyTorch needs JAX for this alone.
  import jax

  from msm_jax.model import init_params

  return jax.tree.map(np.asarray, init_params(model_config(args), jax.random.key(0)))


def ours(args: argparse.Namespace, batch: dict[str, np.ndarray]) -> Iterator[float]:
  """Trains with msm_jax.

  Args:
    args: the command line.
    batch: of every step.

  Yields:
    The loss of each step, when the step has ended.
  """
  import jax

  from msm_jax import sharding
  from msm_jax.config import OptimizerConfig
  from msm_jax.training import train_step

  mesh = sharding.make_mesh()
  optimizer = OptimizerConfig(weight_decay=WEIGHT_DECAY)
  program = train_step.make_program(model_config(args), optimizer, args.loss_chunk, mesh)
  state = program.init(jax.random.key(0))
  on_device = train_step.to_device(batch, 1, mesh)
  replicated = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  lr = jax.device_put(np.full(2, LEARNING_RATE, np.float32), replicated)
  with jax.set_mesh(mesh):
    while True:
      state, metrics = program.step(state, on_device, lr)
      yield float(jax.block_until_ready(metrics['loss']))


def peer(args: argparse.Namespace, batch: dict[str, np.ndarray]) -> Iterator[float]:
  """Trains with PyTorch, as one would write it.

  It uses scaled_dot_product_attention with the segment mask, fused AdamW and foreach clipping.

  Args:
    args: the command line; `child` says whether the loss and its gradients are compiled.
    batch: of every step.

  Yields:
    The loss of each step, when the step has ended.
  """
  import torch
  import torch.nn.functional as F

  torch.set_num_threads(len(os.sched_getaffinity(0)))
  p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in initial_params(args).items()}
  H, T = args.heads, LENGTH
  norms = [v for k, v in p.items() if k.endswith('norm')]
  matrices = [v for k, v in p.items() if not k.endswith('norm')]
  groups = [
    {'params': matrices, 'weight_decay': WEIGHT_DECAY},
    {'params': norms, 'weight_decay': 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, fused=True)
  b = {k: torch.tensor(v) for k, v in batch.items()}
  tokens_BT = b['tokens'].long()
  targets_BT = b['targets'].long()

  def norm(x, scale):
    return F.rms_norm(x, (x.shape[-1],), scale, 1e-5)

  def rope(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

  def loss_of():
    """The mean loss of the batch, as `objectives.next_token` has it."""
    x_BTD = F.embedding(tokens_BT, p['embed'])
    B, _, D = x_BTD.shape
    K = D // H
    frequencies = 10_000.0 ** (-torch.arange(0, K, 2).float() / K)
    angles = b['positions'][:, None, :, None].float() * frequencies
    cos, sin = angles.cos(), angles.sin()
    # A token sees itself and the tokens before it in its own segment.
    same_segment = b['segment_ids'][:, None, :, None] == b['segment_ids'][:, None, None, :]
    mask = same_segment & torch.ones(T, T, dtype=torch.bool).tril()
    for i in range(args.layers):
      h_BTD = norm(x_BTD, p['attention_norm'][i])
      q_BHTK = (h_BTD @ p['wq'][i]).view(B, T, H, K).transpose(1, 2)
      k_BHTK = (h_BTD @ p['wk'][i]).view(B, T, H, K).transpose(1, 2)
      v_BHTK = (h_BTD @ p['wv'][i]).view(B, T, H, K).transpose(1, 2)
      q_BHTK = rope(q_BHTK, cos, sin)
      k_BHTK = rope(k_BHTK, cos, sin)
      a_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, attn_mask=mask)
      x_BTD = x_BTD + a_BHTK.transpose(1, 2).reshape(B, T, D) @ p['wo'][i]
      h_BTD = norm(x_BTD, p['mlp_norm'][i])
      gated = F.silu(h_BTD @ p['w_gate'][i]) * (h_BTD @ p['w_up'][i])
      x_BTD = x_BTD + gated @ p['w_down'][i]
    logits = norm(x_BTD, p['final_norm']) @ p['embed'].T
    nats = F.cross_entropy(logits.view(-1, VOCABULARY), targets_BT.view(-1), reduction='none')
    return (nats * b['weights'].view(-1)).sum() / b['weights'].sum()

  if args.child == 'compiled':
    loss_of = torch.compile(loss_of)
  while True:
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(p.values(), 1.0, foreach=True)
    optimizer.step()
    yield loss.item()


# What is timed: ours, PyTorch eager, and PyTorch with torch.compile.
PROGRAMS = {'msm_jax': ours, 'eager': peer, 'compiled': peer}


class Clocks(NamedTuple):
  """The clocks at one moment, in seconds.

  Attributes:
    busy: of all cores of the machine, how long they have worked.
    own: how long they have worked for this process.
    wall: the wall clock.
  """

  busy: float
  own: float
  wall: float


def read_clocks() -> Clocks:
  """Reads the clocks of the machine (Linux only)."""
  with open('/proc/stat') as f:
    ticks = [int(field) for field in f.readline().split()[1:9]]
  idle, waiting = ticks[3], ticks[4]
  own = os.times()
  busy = (sum(ticks) - idle - waiting) / os.sysconf('SC_CLK_TCK')
  return Clocks(busy, own.user + own.system, time.perf_counter())


def cores_of_others(before: Clocks, after: Clocks) -> float:
  """Returns how many cores other programs took between two moments."""
  others = (after.busy - before.busy) - (after.own - before.own)
  return max(0.0, others / (after.wall - before.wall))


def child(args: argparse.Namespace) -> None:
  """Times one of the programs and prints the result as JSON.

  Args:
    args: the command line; `child` names the program.
  """
  batch = make_batch(args.batch)
  steps = PROGRAMS[args.child](args, batch)
  losses = [next(steps) for _ in range(COMPARED_STEPS)]
  seconds = []
  before = read_clocks()
  for _ in range(args.steps):
    start = time.perf_counter()
    next(steps)
    seconds.append(time.perf_counter() - start)
  others = cores_of_others(before, read_clocks())
  print(json.dumps({'seconds': statistics.median(seconds), 'losses': losses, 'others': others}))


def run_child(script: str, arguments: list[str], xla_flags: str) -> dict:
  """Runs a program in a process of its own.

  Args:
    script: the file of the benchmark.
    arguments: its command line, which names the program.
    xla_flags: what the configs ask of the compiler.

  Returns:
    What the child printed as JSON in its last line.
  """
  command = [sys.executable, script, *arguments]
  settings = {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': xla_flags}
  environment = {**os.environ, **ALLOCATOR, **settings}
  out = subprocess.run(command, env=environment, capture_output=True, text=True)
  if out.returncode:
    sys.exit(f'{" ".join(command)} failed:\n{out.stderr[-3000:]}')
  return json.loads(out.stdout.splitlines()[-1])


def main() -> None:
  """Runs all rounds; with --child, it is one of the programs."""
  from configs.msm import base

  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=15)
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--d_model', type=int, default=128)
  parser.add_argument('--layers', type=int, default=4)
  parser.add_argument('--heads', type=int, default=4)
  parser.add_argument('--d_ff', type=int, default=384)
  parser.add_argument('--loss_chunk', type=int, default=0)
  parser.add_argument('--child', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    child(args)
    return
  print(
    f'{args.batch} x {LENGTH} tokens, d_model {args.d_model}, {args.layers} layers, '
    f'd_ff {args.d_ff}, fp32, {os.cpu_count()} cores'
  )
  tokens = args.batch * LENGTH
  xla_flags = base('step').xla_flags
  rates: dict[str, list[float]] = {name: [] for name in PROGRAMS}  # tokens per second
  for n in range(args.rounds):
    cells = []
    losses = {}
    for name in PROGRAMS:
      result = run_child(__file__, [*sys.argv[1:], '--child', name], xla_flags)
      losses[name] = result['losses']
      rates[name].append(tokens / result['seconds'])
      cells.append(f'{name} {rates[name][-1]:7,.0f} (others {result["others"]:.2f} cores)')
    for name in PROGRAMS:
      np.testing.assert_allclose(losses['msm_jax'], losses[name], rtol=1e-4)
    print(f'round {n + 1}, tokens/s: {"   ".join(cells)}', flush=True)
  for name in ('eager', 'compiled'):
    ratios = []
    for our_rate, their_rate in zip(rates['msm_jax'], rates[name], strict=True):
      ratios.append(our_rate / their_rate)
    print(
      f'median tokens/s: msm_jax {statistics.median(rates["msm_jax"]):,.0f}, '
      f'{name} {statistics.median(rates[name]):,.0f}; '
      f'ratio by round {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]'
    )


if __name__ == '__main__':
  main()
