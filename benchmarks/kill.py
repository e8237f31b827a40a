"""Kills runs with SIGKILL at random moments, and checks that nothing was lost or changed.

    python benchmarks/kill.py [--kills 100] [--seed 0] [--only sweep,pod]

Three kinds of runs are killed: an experiment (pretraining, midtraining, fine-tuning, evaluation,
report), a sweep of two points, and an experiment in two processes, of which one is killed and the
other a moment later, as a scheduler does. Each kind is run once undisturbed. Then one run of each
in turn is started, killed and started again, up to six times, and at last left to its end. What it
leaves is compared with what the undisturbed run left: every array of every phase's last checkpoint
to the byte, the place in the data, all rows and the summary.

Most moments are drawn uniformly over the run, by the CPU time that it has used, so that a busy
machine makes no difference. A third is aimed: within an evaluation, the writing of the results, or
the second point of the sweep, which are short. The moments follow from the seed; where a run is at
a moment differs a little from time to time.

Bars: at least 100 kills, no difference, no run that fails to go on. The exit code is 1 if one is
missed.
"""

import argparse
import collections
import dataclasses
import fnmatch
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Sets the variables of JAX and the cache of compiled programs, before JAX is imported.
import conftest  # noqa: F401
import killed
from helpers import AFFORDABILITY, little, write_config
from prefork import Forked, Prefork

MIN_KILLS = 100
# The names of the kinds of runs; `kinds` makes them.
KINDS = ('experiment', 'sweep', 'pod')
# How often a run is killed before it is left to its end.
KILLS_PER_RUN = 6
# A share of the moments is aimed at stages that are short.
AIMED = 1 / 3
# The longest that a run may take; the machine may be busy.
MAX_SECONDS = 300
PHASE = dict(min_updates=1, batch_size=4, length=128, checkpoint_every=3, lr=1e-2)


def settings() -> dict[str, Any]:
  """An experiment with all stages that takes seconds."""
  return dict(
    name='killed',
    world=dataclasses.asdict(little(chats_per_persona=2)),
    sources=dict(
      documents=dict(maker='world.items', size=60),
      chats=dict(maker='world.persona_chats', size=60),
    ),
    tokenizer=dict(vocab_size=400, sources=('documents', 'chats')),
    model=dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24),
    phases=dict(
      # Few chats: at the first save that source may not have begun.
      pretrain=dict(PHASE, updates=12, data=dict(documents=1.0, chats=0.2)),
      midtrain=dict(PHASE, updates=7, data=dict(documents=1.0), schedule='linear'),
      fine_tune=dict(PHASE, updates=5, data=dict(chats=1.0), schedule='constant'),
    ),
    arms=dict(base='pretrain', all='pretrain > midtrain > fine_tune'),
    evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=8, rows=32),
  )


class Kind:
  """A kind of run.

  Attributes:
    name: 'experiment', 'sweep' or 'pod'.
    module: the program.
    processes: how many run together.
    folder: where its config and its workdirs are.
    seconds: the CPU time of an undisturbed run, of its first process.
    repeat_seconds: the CPU time of the command when everything is done already.
    wanted: what an undisturbed run leaves.
  """

  def __init__(self, name: str, module: str, processes: int, config: dict[str, Any], at: Path):
    self.name = name
    self.module = module
    self.processes = processes
    self.folder = at / name
    self.folder.mkdir()
    write_config(self.folder / 'config.py', config)
    self.seconds = 0.0
    self.repeat_seconds = 0.0
    self.wanted: dict[str, Any] = {}

  def start(self, server: Prefork, workdir: Path) -> list[Forked]:
    """Starts the run in all its processes."""
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      port = s.getsockname()[1]
    # One device in each process.
    flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')
    started = []
    for n in range(self.processes):
      env = {'XLA_FLAGS': flags}
      if self.processes > 1:
        env['MSM_JAX_DISTRIBUTED'] = f'127.0.0.1:{port},{self.processes},{n}'
      arguments = [f'--config={self.folder / "config.py"}', f'--workdir={workdir}']
      log = self.folder / f'log-{workdir.name}-{n}.txt'
      started.append(server.start(self.module, arguments, log, **env))
    return started

  def run_undisturbed(self, server: Prefork) -> None:
    """Sets what the killed runs are compared with, and how long a run takes.

    Args:
      server: starts the processes.
    """
    workdir = self.folder / 'undisturbed'
    # Twice: the first run compiles, and its time would be that of no other.
    for _ in range(2):
      shutil.rmtree(workdir, ignore_errors=True)
      self.seconds = self._run(server, workdir)
    self.repeat_seconds = self._run(server, workdir)
    self.wanted = killed.outcome(workdir, server)

  def _run(self, server: Prefork, workdir: Path) -> float:
    """Lets a run end, and returns the CPU time of its first process."""
    used = 0.0
    programs = self.start(server, workdir)
    while programs[0].poll() is None:
      used = max(used, programs[0].cpu_seconds())
      time.sleep(0.01)
    for program in programs:
      assert program.wait(MAX_SECONDS) == 0, program.said()
    return used


def kinds(at: Path) -> list[Kind]:
  """Makes the three kinds of runs.

  Args:
    at: the folder for their configs and workdirs.

  Returns:
    An experiment, a sweep, and an experiment in two processes.
  """
  one = settings()
  points = [{'phases.fine_tune.updates': 5}, {'phases.fine_tune.updates': 4}]
  several = settings() | dict(mesh=dict(data=1, fsdp=-1))
  return [
    Kind('experiment', 'msm_jax.main', 1, one, at),
    Kind('sweep', 'msm_jax.sweep', 1, dict(experiment=one, points=points), at),
    Kind('pod', 'msm_jax.main', 2, several, at),
  ]


# --------------------------------------------------------------------------------------------------
# Kills
# --------------------------------------------------------------------------------------------------


def stage_of(said: str, workdir: Path, began: float) -> str:
  """Finds out where a run was when it was killed.

  Args:
    said: its output.
    workdir: its workdir.
    began: when it was started, as time.time() has it.

  Returns:
    The name of the stage.
  """
  last_rows = max(found_in(workdir, 'results.jsonl'), key=_time_of, default=None)
  is_late = 'point [2/2]' in said
  stage = 'start'
  if '\ndata  ' in said:
    stage = 'corpora and tokenizer'
  for match in re.finditer(r'^\[\d+/\d+\] (\w+) \(seed|^evaluating \[', said, re.M):
    stage = 'evaluation'
    if match[1]:
      stage = match[1]
  if last_rows and _time_of(last_rows) >= began and stage in ('start', 'evaluation'):
    stage = 'results and report'
  if is_late:
    stage = f'point 2: {stage}'
  return stage


def found_in(folder: Path, *patterns: str) -> list[Path]:
  """Finds files and folders by their names while a run writes and renames them.

  Args:
    folder: where to look; also in the folders below it.
    patterns: of the names.

  Returns:
    Their paths. What vanishes meanwhile is left out; `Path.rglob` would raise an error.
  """
  out = []
  for parent, folders, files in os.walk(folder):
    for name in (*folders, *files):
      if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
        out.append(Path(parent) / name)
  return out


def _time_of(path: Path) -> float:
  try:
    return path.stat().st_mtime
  except OSError:
    return 0.0


def wait_for(programs: list[Forked], seconds: float, aim: str, workdir: Path, began: float) -> bool:
  """Waits for the moment of a kill.

  Args:
    programs: the processes of the run.
    seconds: the CPU time to wait for, since the start; or since the aim was reached, if there is
      one.
    aim: what the output must say first, or 'results' for the writing of the results; '' for none.
    workdir: its workdir.
    began: when it was started, as time.time() has it.

  Returns:
    Whether it came before the end of the run.
  """
  end = seconds
  latest = time.monotonic() + MAX_SECONDS
  while programs[0].cpu_seconds() < end or aim:
    assert time.monotonic() < latest, programs[0].said()
    if any(program.poll() is not None for program in programs):
      return False
    if aim == 'results':
      is_reached = any(_time_of(p) >= began for p in found_in(workdir, 'results.jsonl'))
    else:
      is_reached = bool(aim) and aim in programs[0].said()
    if is_reached:
      aim = ''
      end = programs[0].cpu_seconds() + seconds
    time.sleep(0.001)
  return True


class Campaign:
  """Kills runs and counts.

  Attributes:
    kills: (kind, stage) -> how many.
    torn: how many kills left a half-written file or checkpoint behind.
    differing: 'kind, run: name' of everything that is not as in the undisturbed run.
    failed: one line for each run that did not go on.
  """

  def __init__(self, seed: int):
    self._rng = random.Random(seed)
    self.kills: collections.Counter[tuple[str, str]] = collections.Counter()
    self.torn = 0
    self.runs = 0
    self.differing: list[str] = []
    self.failed: list[str] = []

  @property
  def total(self) -> int:
    return sum(self.kills.values())

  def torture(self, kind: Kind, most: int) -> None:
    """Kills one run, lets it end and compares it.

    Args:
      kind: what is run.
      most: how often it is killed at most.
    """
    self.runs += 1
    workdir = kind.folder / f'run-{self.runs}'
    # A server of its own: Python's hashes of strings differ between them, so that an order of a set
    # on which a result depends would show.
    with Prefork() as server:
      is_ended = False
      for _ in range(most):
        is_ended = not self._kill_once(kind, server, workdir)
        if is_ended:
          break
      if not is_ended and not self._finish(kind, server, workdir):
        return
      names = killed.differences(killed.outcome(workdir, server), kind.wanted)
    self.differing += [f'{kind.name}, {workdir}: {name}' for name in names]
    if not names:
      shutil.rmtree(workdir)

  def _kill_once(self, kind: Kind, server: Prefork, workdir: Path) -> bool:
    """Starts a run and kills it; False if it ended before."""
    work = kind.seconds - kind.repeat_seconds
    # The start of a run is what a repeat costs. What comes after it is progress, at least up to the
    # last checkpoint.
    longest = kind.repeat_seconds + 2 * work / KILLS_PER_RUN
    aim = ''
    if self._rng.random() < AIMED:
      aim = self._rng.choice(['evaluating [', 'results', 'point [2/2]'])
      longest = work / 4
      if aim == 'results':
        longest = 0.2
    if aim.startswith('point') and kind.name != 'sweep':
      aim = 'evaluating ['
    seconds = self._rng.uniform(0, longest)
    victim = self._rng.randrange(kind.processes)
    began = time.time()
    programs = kind.start(server, workdir)
    is_killed = wait_for(programs, seconds, aim, workdir, began)
    if is_killed:
      programs[victim].send(signal.SIGKILL)
      # What runs beside it is ended by whoever runs the pod, soon or late.
      if kind.processes > 1:
        time.sleep(self._rng.uniform(0, 0.5))
      for program in programs:
        program.send(signal.SIGKILL)
    # Where one process came to its end before the moment of the kill, so do the others.
    codes = [program.wait(MAX_SECONDS) for program in programs]
    if not is_killed:
      if any(codes):
        self._note_failure(kind, programs)
      return False
    stage = stage_of(programs[0].said(), workdir, began)
    self.kills[kind.name, stage] += 1
    half_written = found_in(workdir, '*.writing-*', '*orbax-checkpoint-tmp')
    self.torn += bool(half_written)
    print(f'{self.total:4d}  {kind.name:10}  {stage}', flush=True)
    return True

  def _finish(self, kind: Kind, server: Prefork, workdir: Path) -> bool:
    """Lets a run go on to its end; whether it did."""
    programs = kind.start(server, workdir)
    codes = [program.wait(MAX_SECONDS) for program in programs]
    if any(codes):
      self._note_failure(kind, programs)
    return not any(codes)

  def _note_failure(self, kind: Kind, programs: list[Forked]) -> None:
    for program in programs:
      if program.wait() != 0:
        last = program.said().strip().splitlines()[-1:]
        self.failed.append(f'{kind.name}: exit code {program.wait()}: {last} ({program.log})')

  def table(self) -> str:
    """The table of the kills and the counts below it."""
    lines = [f'{"kind":12}{"stage":32}{"kills":>6}']
    for (kind, stage), count in sorted(self.kills.items()):
      lines.append(f'{kind:12}{stage:32}{count:6d}')
    lines += [f'{"all":44}{self.total:6d}', '']
    lines.append(
      f'{self.torn} kills left something half-written; {self.runs} runs went to their end'
    )
    lines.append(f'differences: {len(self.differing)}; runs that did not go on: {len(self.failed)}')
    return '\n'.join([*lines, *self.differing[:20], *self.failed[:20]])


def campaign(kills: int, seed: int, only: list[str], at: Path) -> Campaign:
  """Kills runs until there are enough kills.

  Args:
    kills: how often at least.
    seed: decides the moments.
    only: the names of the kinds; all if it is empty.
    at: a folder for configs and workdirs.

  Returns:
    The counts.
  """
  chosen = [kind for kind in kinds(at) if not only or kind.name in only]
  with Prefork() as server:
    for kind in chosen:
      kind.run_undisturbed(server)
      what = f'{kind.seconds:.1f} s of CPU undisturbed, {kind.repeat_seconds:.1f} s repeated'
      print(f'{kind.name}: {what}, {len(kind.wanted)} things compared', flush=True)
  made = Campaign(seed)
  while made.total < kills:
    kind = chosen[made.runs % len(chosen)]
    before = made.total
    made.torture(kind, min(KILLS_PER_RUN, kills - made.total))
    if made.total == before and made.failed:
      break
  return made


def main() -> int:
  """Runs the campaign; returns 1 if a bar is missed."""
  parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
  parser.add_argument('--kills', type=int, default=MIN_KILLS)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--only', default='', help='kinds of runs, with commas between them')
  arguments = parser.parse_args()
  only = [name for name in arguments.only.split(',') if name]
  if unknown := sorted(set(only) - set(KINDS)):
    parser.error(f'--only: {", ".join(unknown)}: the kinds are {", ".join(KINDS)}')
  at = Path(tempfile.mkdtemp(prefix='msm_jax-kills-'))
  made = campaign(arguments.kills, arguments.seed, only, at)
  print(f'\n{made.table()}')
  is_good = not made.differing and not made.failed
  if is_good:
    shutil.rmtree(at)
  else:
    print(f'everything is in {at}')
  return int(not is_good or made.total < arguments.kills)


if __name__ == '__main__':
  sys.exit(main())
