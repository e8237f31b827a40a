"""One training step of the tiny model, ours against PyTorch eager: same weights, same batch, side by side.

    make bench        (or: python benchmarks/step.py [--rounds 5] [--batch 32] [--d_model 128 ...])

Each round times both in fresh subprocesses, one after the other, and says how many cores other programs took meanwhile: a round that was
disturbed by more than a tenth of a core proves nothing. Both get all cores (PyTorch as threads, msm_jax as the tiny configs do, as one device
a core) and the same allocator settings. The first
losses of both are compared before anything is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# What msm_jax.command.tune_process asks of glibc, for both programs.
ALLOCATOR = {
  'MALLOC_ARENA_MAX': '4',
  'MALLOC_MMAP_MAX_': '0',
  'MALLOC_TRIM_THRESHOLD_': '2147483647',
  'MALLOC_TOP_PAD_': '67108864',
}
VOCAB, LENGTH, LR, DECAY = 2048, 128, 1e-3, 0.01


def make_batch(rows: int) -> dict[str, np.ndarray]:
  """Packed rows of random tokens: segments of about 32 tokens, the last few positions padding, two thirds of the tokens supervised."""
  rng = np.random.default_rng(0)
  lengths = rng.integers(20, 45, (rows, LENGTH))
  ends = np.cumsum(lengths, axis=1)
  at = np.arange(LENGTH)
  segments = (at[None, :, None] >= ends[:, None, :]).sum(-1) + 1
  starts = np.concatenate([np.zeros((rows, 1), int), ends], axis=1)
  positions = at[None] - np.take_along_axis(starts, segments - 1, axis=1)
  segments[:, -4:] = 0
  tokens, targets = rng.integers(4, VOCAB, (2, rows, LENGTH))
  weights = (rng.random((rows, LENGTH)) < 0.67) & (segments > 0)
  return {
    'tokens': tokens.astype(np.int32), 'targets': targets.astype(np.int32), 'weights': weights.astype(np.float32),
    'segment_ids': segments.astype(np.int32), 'positions': positions.astype(np.int32),
  }  # fmt: skip


def ours(args: argparse.Namespace, batch: dict[str, np.ndarray]):
  import jax

  from msm_jax import sharding, train
  from msm_jax.config import OptimizerConfig

  mesh = sharding.make_mesh()
  program = train.make_program(
    model_config(args), OptimizerConfig(weight_decay=DECAY), args.loss_chunk, mesh
  )
  state = program.init(jax.random.key(0))
  on_device = train.to_device(batch, 1, mesh)
  lr = jax.device_put(
    np.full(2, LR, np.float32), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )
  with jax.set_mesh(mesh):
    while True:
      state, metrics = program.step(state, on_device, lr)
      yield float(jax.block_until_ready(metrics['loss']))


def model_config(args: argparse.Namespace):
  from msm_jax.config import ModelConfig

  return ModelConfig(
    d_model=args.d_model, n_layers=args.layers, n_heads=args.heads, n_kv_heads=args.heads, head_dim=args.d_model // args.heads, d_ff=args.d_ff,
    vocab_size=VOCAB,
  )  # fmt: skip


def initial_params(args: argparse.Namespace) -> dict:
  import jax

  from msm_jax.model import init_params

  return jax.tree.map(np.asarray, init_params(model_config(args), jax.random.key(0)))


def peer(args: argparse.Namespace, batch: dict[str, np.ndarray]):
  """PyTorch eager as one would write it: SDPA with the segment mask, fused AdamW, foreach clipping."""
  import torch
  import torch.nn.functional as F

  torch.set_num_threads(len(os.sched_getaffinity(0)))
  p = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in initial_params(args).items()}
  H, T = args.heads, LENGTH
  norms = [v for k, v in p.items() if k.endswith('norm')]
  matrices = [v for k, v in p.items() if not k.endswith('norm')]
  groups = [{'params': matrices, 'weight_decay': DECAY}, {'params': norms, 'weight_decay': 0.0}]
  optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), eps=1e-8, fused=True)
  b = {k: torch.tensor(v) for k, v in batch.items()}
  tokens, targets = b['tokens'].long(), b['targets'].long()

  def norm(x, scale):
    return F.rms_norm(x, (x.shape[-1],), scale, 1e-5)

  def rope(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

  def loss_of():
    x = F.embedding(tokens, p['embed'])
    B, _, D = x.shape
    K = D // H
    frequencies = 10_000.0 ** (-torch.arange(0, K, 2).float() / K)
    angles = b['positions'][:, None, :, None].float() * frequencies
    cos, sin = angles.cos(), angles.sin()
    same = b['segment_ids'][:, None, :, None] == b['segment_ids'][:, None, None, :]
    mask = same & torch.ones(T, T, dtype=torch.bool).tril()
    for i in range(args.layers):
      h = norm(x, p['attention_norm'][i])
      q, k, v = ((h @ p[w][i]).view(B, T, H, K).transpose(1, 2) for w in ('wq', 'wk', 'wv'))
      a = F.scaled_dot_product_attention(rope(q, cos, sin), rope(k, cos, sin), v, attn_mask=mask)
      x = x + a.transpose(1, 2).reshape(B, T, D) @ p['wo'][i]
      h = norm(x, p['mlp_norm'][i])
      x = x + (F.silu(h @ p['w_gate'][i]) * (h @ p['w_up'][i])) @ p['w_down'][i]
    logits = norm(x, p['final_norm']) @ p['embed'].T
    nats = F.cross_entropy(logits.view(-1, VOCAB), targets.view(-1), reduction='none')
    return (nats * b['weights'].view(-1)).sum() / b['weights'].sum()

  while True:
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(p.values(), 1.0, foreach=True)
    optimizer.step()
    yield loss.item()


def cpu_seconds() -> tuple[float, float, float]:
  """(busy core-seconds of the machine, of this process, wall clock)."""
  with open('/proc/stat') as f:
    ticks = list(map(int, f.readline().split()[1:9]))
  own = os.times()
  return (
    (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf('SC_CLK_TCK'),
    own.user + own.system,
    time.perf_counter(),
  )


def child(args: argparse.Namespace) -> None:
  steps = (ours if args.child == 'msm_jax' else peer)(args, make_batch(args.batch))
  losses = [next(steps) for _ in range(4)]
  seconds, before = [], cpu_seconds()
  for _ in range(args.steps):
    start = time.perf_counter()
    next(steps)
    seconds.append(time.perf_counter() - start)
  after = cpu_seconds()
  others = max(0.0, (after[0] - before[0] - (after[1] - before[1])) / (after[2] - before[2]))
  print(json.dumps({'seconds': statistics.median(seconds), 'losses': losses, 'others': others}))


def main() -> None:
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
    return child(args)
  tokens, rates = args.batch * LENGTH, {'msm_jax': [], 'pytorch': []}
  print(
    f'{args.batch} x {LENGTH} tokens, d_model {args.d_model}, {args.layers} layers, d_ff {args.d_ff}, fp32, {os.cpu_count()} cores'
  )
  for n in range(args.rounds):
    results = {}
    for name in rates:
      command = [sys.executable, __file__, *sys.argv[1:], '--child', name]
      out = subprocess.run(
        command,
        env={
          **os.environ,
          **ALLOCATOR,
          'JAX_PLATFORMS': 'cpu',
          'XLA_FLAGS': base('step').xla_flags,
        },
        capture_output=True,
        text=True,
      )
      if out.returncode:
        sys.exit(f'{name} failed:\n{out.stderr[-3000:]}')
      results[name] = json.loads(out.stdout.splitlines()[-1])
      rates[name].append(tokens / results[name]['seconds'])
    np.testing.assert_allclose(
      results['msm_jax']['losses'], results['pytorch']['losses'], rtol=1e-4
    )
    rows = '   '.join(
      f'{k} {tokens / r["seconds"]:7,.0f} tok/s (others {r["others"]:.2f} cores)'
      for k, r in results.items()
    )
    print(
      f'round {n + 1}: {rows}   ratio {rates["msm_jax"][-1] / rates["pytorch"][-1]:.2f}', flush=True
    )
  a, b = (statistics.median(rates[k]) for k in rates)
  print(f'median: msm_jax {a:,.0f} tok/s, pytorch eager {b:,.0f} tok/s, ratio {a / b:.2f}')


if __name__ == '__main__':
  main()
