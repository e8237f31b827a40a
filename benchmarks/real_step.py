"""Times a training step of SmolLM2-135M on the CPU, ours against transformers and peft.

    python -m msm_jax.zoo fetch smollm2-135m                   # once, 93 MB
    python benchmarks/real_step.py [--rounds 3] [--out results.jsonl]
    python benchmarks/real_step.py --dtypes float32            # for CPUs without products in bf16
    python benchmarks/real_step.py --random --layers 2 --rounds 1 --steps 1   # does it work?

It needs torch, transformers, peft and safetensors, and Linux. The cases are `lora` (adapters and
optimizer as in configs/smollm2.py) and `full` (all parameters are trained), each in float32 and
bfloat16. In bfloat16 ours keeps what it trains in float32. The peer has two ways to bfloat16:

- `peer-bfloat16`: the model is loaded in bfloat16. peft keeps adapters in float32, as is its
  default; without adapters everything is bfloat16, the state of AdamW too.
- `peer-autocast`: the same under `torch.autocast`, but without adapters the weights are float32.

A row is one text without padding, so that the peer needs no mask and its attention takes the flash
kernel. All have the same weights, adapters and batch, AdamW with the same settings, no dropout, all
cores, and the same settings of the memory allocator. The peer is eager, as it is without further
settings, and its AdamW is fused.

Before anything is timed, the losses of the first steps are compared with those of the peer in
float32. A way of the peer whose loss falls less than half as far does not train, and does not count
(bfloat16 weights round small updates away). Then each round times each program in a fresh process,
one after the other. Ratios are by round, against the fastest peer of the case in either dtype. A
round in which other programs took more than a tenth of a core proves nothing; the CPU seconds of a
step stand beside the wall clock, which other programs disturb more.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import numpy as np
from real_step_programs import PROGRAMS, steps_of, write_adapter, write_random
from sizes import MODELS
from step import cores_of_others, read_clocks, run_child

CASES = ('lora', 'full')
# The dtypes of the programs. The peer in float32 always runs, since losses are compared with it.
DTYPES = ('float32', 'bfloat16')
# Steps whose losses are compared; they also compile and warm up.
COMPARED_STEPS = 3
# By how much a loss may differ from that of the peer in float32, as a share of it.
TOLERANCE = {'float32': 5e-4, 'bfloat16': 1e-2}
REFERENCE = 'peer-float32'


def child(args: argparse.Namespace) -> None:
  """Runs one program and prints the result as JSON.

  Args:
    args: the command line; `child` names the program.
  """
  if not PROGRAMS[args.child].is_ours:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
  steps = steps_of(args, args.child)
  result: dict[str, Any] = {'losses': [next(steps) for _ in range(COMPARED_STEPS)]}
  clocks = [read_clocks()]
  for _ in range(args.steps):
    next(steps)
    clocks.append(read_clocks())
  if args.steps:
    first, last = clocks[0], clocks[-1]
    result['seconds'] = statistics.median(np.diff([c.wall for c in clocks]).tolist())
    result['cpu_seconds'] = (last.own - first.own) / args.steps
    result['others'] = cores_of_others(first, last)
  print(json.dumps(result))


def check_losses(losses: Mapping[str, Sequence[float]]) -> list[str]:
  """Checks that all programs do the same work.

  Args:
    losses: program -> its first losses.

  Returns:
    The programs of the peer that train.

  Raises:
    ValueError: the losses of a program are too far from those of the peer in float32.
  """
  reference = np.array(losses[REFERENCE])
  training = []
  for name, own in losses.items():
    way = PROGRAMS[name]
    # The peer may fail to train in bfloat16, but it must begin with the same loss.
    count = COMPARED_STEPS if way.is_ours else 1
    if not np.allclose(own[:count], reference[:count], rtol=TOLERANCE[way.dtype]):
      raise ValueError(
        f'losses of {name} are {own}, and those of {REFERENCE} {reference.tolist()}: '
        'they do not compute the same; nothing was timed'
      )
    fall = own[0] - own[-1]
    if not way.is_ours and fall > 0.5 * (reference[0] - reference[-1]):
      training.append(name)
  if REFERENCE not in training:
    raise ValueError(f'the loss of {REFERENCE} does not fall: {reference.tolist()}')
  return training


def summarize(
  case: str,
  tokens: int,
  losses: Mapping[str, Sequence[float]],
  rounds: Mapping[str, Sequence[Mapping[str, float]]],
) -> list[dict[str, Any]]:
  """Makes the results of a case.

  Args:
    case: one of CASES.
    tokens: of a step.
    losses: program -> its first losses.
    rounds: program -> what its child measured in each round.

  Returns:
    A record for each program. `ratios` are the speed of ours in each round, as multiples of that of
    the peer's fastest program that trains.
  """
  training = check_losses(losses)
  records: dict[str, dict[str, Any]] = {}
  for name, results in rounds.items():
    rates = [tokens / result['seconds'] for result in results]
    differences = np.abs(np.subtract(losses[name], losses[REFERENCE]))
    records[name] = {
      'case': case,
      'program': name,
      'tokens_per_second': statistics.median(rates),
      'cpu_seconds': statistics.median(result['cpu_seconds'] for result in results),
      'others': max(result['others'] for result in results),
      'rates': rates,
      'losses': list(losses[name]),
      'loss_difference': float(differences.max()),
      'trains': PROGRAMS[name].is_ours or name in training,
    }
  fastest = max(training, key=lambda name: records[name]['tokens_per_second'])
  for name, record in records.items():
    if PROGRAMS[name].is_ours:
      record['fastest_peer'] = fastest
      record['ratios'] = np.divide(record['rates'], records[fastest]['rates']).tolist()
  return list(records.values())


def table(records: Sequence[Mapping[str, Any]]) -> str:
  """Writes the table: a line for each program, in Markdown.

  Args:
    records: of all cases; see `summarize`.

  Returns:
    The lines.
  """
  lines = [
    '| case | program | tokens/s | CPU s a step | others, cores | ratio to the fastest peer '
    '| largest difference of losses |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ]
  for record in records:
    comparison = ''
    if not record['trains']:
      comparison = 'does not train'
    elif ratios := record.get('ratios'):
      median, low, high = statistics.median(ratios), min(ratios), max(ratios)
      comparison = f'{median:.2f} [{low:.2f}, {high:.2f}] of {record["fastest_peer"]}'
    cells = (
      record['case'],
      record['program'],
      f'{record["tokens_per_second"]:,.0f}',
      f'{record["cpu_seconds"]:.2f}',
      f'{record["others"]:.2f}',
      comparison,
      f'{record["loss_difference"]:.1e}',
    )
    lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines)


def run_case(args: argparse.Namespace, case: str) -> list[dict[str, Any]]:
  """Compares and times all programs of a case.

  Args:
    args: the command line, with the folders of weights and adapter.
    case: one of CASES.

  Returns:
    The records of `summarize`.
  """

  def run(name: str, steps: int) -> dict[str, Any]:
    options = {'case': case, 'child': name, 'steps': steps}
    for key in ('weights', 'adapter', 'vocabulary', 'rows', 'length'):
      options[key] = getattr(args, key)
    arguments = [f'--{key}={value}' for key, value in options.items()]
    return run_child(__file__, arguments, xla_flags='')

  programs = [name for name, way in PROGRAMS.items() if way.dtype in args.dtypes]
  if REFERENCE not in programs:
    programs.append(REFERENCE)
  losses = {name: run(name, steps=0)['losses'] for name in programs}
  training = check_losses(losses)
  for name, first in losses.items():
    note = ''
    if not PROGRAMS[name].is_ours and name not in training:
      note = '   does not train'
    print(f'{case} {name}: losses {", ".join(f"{x:.4f}" for x in first)}{note}', flush=True)
  rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
  tokens = args.rows * args.length
  for n in range(args.rounds):
    for name in programs:
      result = run(name, args.steps)
      rounds[name].append(result)
      print(
        f'{case} round {n + 1} {name}: {tokens / result["seconds"]:,.0f} tokens/s, '
        f'{result["cpu_seconds"]:.2f} CPU s a step (others {result["others"]:.2f} cores)',
        flush=True,
      )
  return summarize(case, tokens, losses, rounds)


def main() -> None:
  """Runs all cases; with --child, it is one of the programs."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--weights', default='smollm2-135m', help='a folder, or a name of the zoo')
  parser.add_argument('--random', action='store_true', help='random weights of the same shape')
  parser.add_argument('--layers', type=int, default=30, help='of random weights')
  parser.add_argument('--cases', nargs='+', choices=CASES, default=CASES)
  parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=DTYPES)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=5)
  parser.add_argument('--rows', type=int, default=4)
  parser.add_argument('--length', type=int, default=256)
  parser.add_argument('--vocabulary', type=int, default=MODELS['smollm2-135m'].vocab_size)
  parser.add_argument('--out', type=Path, help='a file that the results are added to')
  for hidden in ('--case', '--child', '--adapter'):
    parser.add_argument(hidden, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    child(args)
    return
  from msm_jax.interop import zoo

  records = []
  with tempfile.TemporaryDirectory() as folder:
    if args.random:
      args.weights = f'{folder}/weights'
      write_random(args.weights, args.layers, args.vocabulary)
    args.weights = str(zoo.locate(args.weights))
    args.vocabulary = json.loads(Path(args.weights, 'config.json').read_text())['vocab_size']
    args.adapter = f'{folder}/adapter'
    write_adapter(args.adapter, args.weights)
    print(
      f'{args.rows} x {args.length} tokens, {args.weights}, {len(os.sched_getaffinity(0))} cores, '
      f'{args.rounds} rounds of {args.steps} steps',
      flush=True,
    )
    for case in args.cases:
      of_case = run_case(args, case)
      records += of_case
      if args.out:
        with args.out.open('a') as f:
          f.writelines(f'{json.dumps(record)}\n' for record in of_case)
  print(table(records))


if __name__ == '__main__':
  main()
