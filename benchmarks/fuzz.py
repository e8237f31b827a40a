"""Feeds malformed input to everything that reads what others wrote.

    python benchmarks/fuzz.py [--seed 0] [--scale 1.0] [--only http,gguf]

The campaigns: settings (overrides, config files, points of sweeps, objectives, flags of commands),
text (handbooks, JSONL, preferences, items, sampled answers), workdirs and checkpoints of a finished
run, and other people's files (weights, adapters, chat templates, GGUF, requests by HTTP).

Inputs are made from good ones by seeded changes: values of other types, enormous numbers, cut and
flipped bytes, lines out of place. All run in this process, so 2,000 of them take minutes. Each
ends in one of four ways:

  accepted    it was taken;
  refused     one line with cause and remedy (`msm_jax.base.errors.explain`);
  traceback   any other exception, which a user would see as a traceback;
  hang        more than 10 seconds.

Beside these it counts finished work that was lost (a file of a finished run that changed, or other
results than before without a word) and nonsense that was accepted: some inputs come from a list of
what must be refused, in most cases by a line that names what is wrong. Bars: at least 2,000 inputs,
300 of them from that list, and 0 of each fault. The exit code is 1 if one is missed.
"""

import argparse
import dataclasses
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
# Before JAX is imported, which only the campaigns do that need it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import fuzz_experiments
import fuzz_flags
import fuzz_models
import fuzz_records
import fuzz_runs
import fuzz_settings
from fuzz_inputs import Input, Tally, judge, time_is_up

MIN_INPUTS = 2000
MIN_NONSENSE = 300

CAMPAIGNS: dict[str, Callable[[random.Random, float], Iterator[Input]]] = {
  'overrides': fuzz_settings.overrides,
  'configs': fuzz_settings.config_files_of_users,
  'sweeps': fuzz_settings.sweeps,
  'objectives': fuzz_experiments.objectives,
  'flags': fuzz_flags.flags,
  'handbooks': fuzz_records.handbooks,
  'jsonl': fuzz_records.jsonl,
  'preferences': fuzz_records.preferences,
  'items': fuzz_records.items,
  'answers': fuzz_records.answers,
  'workdirs': fuzz_runs.workdirs,
  'weights': fuzz_models.models,
  'adapters': fuzz_models.adapters,
  'templates': fuzz_models.templates,
  'gguf': fuzz_models.gguf,
  'http': fuzz_models.http,
}


def run_campaign(name: str, seed: int, scale: float) -> tuple[Tally, list[str]]:
  """Runs one campaign.

  Args:
    name: a key of CAMPAIGNS.
    seed: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Returns:
    How its inputs ended, and what is wrong, one text a fault.
  """
  tally, faults = Tally(), []
  began = time.monotonic()
  rng = random.Random(f'{seed} {name}')
  before = signal.signal(signal.SIGALRM, time_is_up)
  usual_folder = tempfile.tempdir
  try:
    # Whatever the campaign writes is deleted at its end.
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
      tempfile.tempdir = folder
      for given in CAMPAIGNS[name](rng, scale):
        fault = judge(given, tally)
        if fault:
          faults.append(f'{name}: {given.name}\n{fault}')
  finally:
    tempfile.tempdir = usual_folder
    signal.signal(signal.SIGALRM, before)
  tally.seconds = time.monotonic() - began
  return tally, faults


def main() -> int:
  """Runs the campaigns and prints the table.

  Returns:
    The exit code: 1 if there is any fault, or if a whole campaign had too few inputs.
  """
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--scale', type=float, default=1.0)
  parser.add_argument('--only', default='', help='campaigns, with commas')
  args = parser.parse_args()
  names = [name for name in args.only.split(',') if name] or list(CAMPAIGNS)
  # Lines of runs, and what threads of libraries print about damaged checkpoints, would hide the
  # table, which is on stdout.
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
  columns = ('inputs', 'refused', 'nonsense', 'tracebacks', 'hangs', 'lost', 'accepted_nonsense')
  print(f'{"campaign":12}' + ''.join(f'{column[:10]:>12}' for column in columns) + '     seconds')
  total = Tally()
  all_faults = []
  for name in names:
    try:
      tally, faults = run_campaign(name, args.seed, args.scale)
    except Exception:
      # What a campaign begins with is wrong. stderr is not shown.
      print(f'{name}: the campaign itself failed\n{traceback.format_exc()}')
      return 1
    all_faults += faults
    for field in dataclasses.fields(Tally):
      sum_ = getattr(total, field.name) + getattr(tally, field.name)
      setattr(total, field.name, sum_)
    _print_row(name, tally, columns)
  _print_row('all', total, columns)
  for fault in all_faults:
    print(f'\n{fault}')
  is_whole = len(names) == len(CAMPAIGNS) and args.scale >= 1
  enough = total.inputs >= MIN_INPUTS and total.nonsense >= MIN_NONSENSE
  if is_whole and not enough:
    print(f'\nfewer than {MIN_INPUTS} inputs or {MIN_NONSENSE} that must be refused')
    return 1
  return int(total.faults > 0)


def _print_row(name: str, tally: Tally, columns: tuple[str, ...]) -> None:
  cells = ''.join(f'{getattr(tally, column):12,}' for column in columns)
  print(f'{name:12}{cells}{tally.seconds:12.0f}', flush=True)


if __name__ == '__main__':
  sys.exit(main())
