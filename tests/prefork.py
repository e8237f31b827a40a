"""Starts programs of the project in forked processes, and kills them.

Importing JAX takes two seconds of CPU, which a run that is killed a hundred times would spend a
hundred times. Here one process imports everything, starts no JAX backend, and forks for each
program: the program begins within milliseconds, with its own environment, output and exit code.

`Prefork` is what tests and benchmarks use. This file is also the program that it starts.
"""

import contextlib
import gc
import itertools
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Who waits for an event asks once in so many looks whether the program still runs.
LOOKS_PER_POLL = 50


class Forked:
  """A program that was started.

  Attributes:
    pid: its process.
    log: the file with its stdout and stderr.
  """

  def __init__(self, server: 'Prefork', pid: int, log: Path):
    self._server = server
    self._code: int | None = None
    self.pid = pid
    self.log = log

  def poll(self) -> int | None:
    """The exit code, as subprocess has it; None while the program runs."""
    if self._code is None:
      self._code = self._server.ask(do='poll', pid=self.pid)
    return self._code

  def cpu_seconds(self) -> float:
    """The CPU time that the program has used; other than the time of the clock, it does not depend
    on what else the machine does. 0 if the program has ended."""
    try:
      fields = Path(f'/proc/{self.pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
      return 0.0
    # utime and stime, of all threads.
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

  def send(self, number: signal.Signals) -> None:
    """Sends a signal, unless the program has ended."""
    # The server keeps the process's id until it is asked, so no other process can have it.
    if self.poll() is None:
      os.kill(self.pid, number)

  def wait(self, seconds: float = 100) -> int:
    """Waits for the end and returns the exit code; kills the program if it takes too long."""
    end = time.monotonic() + seconds
    while (code := self.poll()) is None:
      if time.monotonic() > end:
        self.send(signal.SIGKILL)
        raise TimeoutError(f'still at work after {seconds} s:\n{self.said()}')
      time.sleep(0.02)
    return code

  def when(self, event: Callable[[], bool], number: signal.Signals) -> int:
    """Sends a signal at the moment `event()` becomes true; returns the exit code."""
    end = time.monotonic() + 100
    for look in itertools.count(1):
      if event():
        break
      # Asking costs as much as most events do, and the program has only two processors.
      if look % LOOKS_PER_POLL == 0:
        assert self.poll() is None, f'ended before the moment came:\n{self.said()}'
        assert time.monotonic() < end, self.said()
      time.sleep(0.002)
    self.send(number)
    return self.wait()

  def said(self) -> str:
    # A process that is killed at once has not opened its log.
    return self.log.read_text() if self.log.exists() else ''


class Prefork:
  """A process that has imported the project and forks programs. It is a context manager, and what
  still runs is killed at its end."""

  def __init__(self) -> None:
    env = os.environ | {'PYTHONPATH': f'{ROOT}:{ROOT / "tests"}'}
    self._process = subprocess.Popen(
      [sys.executable, str(Path(__file__).resolve())],
      cwd=ROOT,
      env=env,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def __enter__(self) -> 'Prefork':
    return self

  def __exit__(self, *exception: object) -> None:
    assert self._process.stdin
    self._process.stdin.close()
    self._process.wait(20)

  def ask(self, **request: Any) -> Any:
    """Sends a request to the process and returns its answer."""
    assert self._process.stdin and self._process.stdout
    self._process.stdin.write(json.dumps(request) + '\n')
    self._process.stdin.flush()
    return json.loads(self._process.stdout.readline())

  def start(self, module: str, arguments: Sequence[str], log: Path, **env: str) -> Forked:
    """Starts `python -m module arguments`.

    Args:
      module: such as 'msm_jax.main'.
      arguments: of the command line.
      log: the file that gets its stdout and stderr.
      **env: what is added to the environment. JAX reads most of its own variables when it is
        imported, so only XLA_FLAGS and those of the project have an effect. MPLBACKEND says that
        the program draws; without it, reports have no figures, as in the tests themselves.

    Returns:
      The program.
    """
    # What an earlier program said must not be taken for the new one's words.
    log.unlink(missing_ok=True)
    pid = self.ask(do='start', module=module, arguments=list(arguments), log=str(log), env=env)
    return Forked(self, pid, log)


def _serve() -> None:
  """Answers requests until stdin is closed. Returns in the server alone."""
  # Everything that the programs import. Nothing here starts a backend or a Python thread.
  from data_pipelines.builders import corpus_builder  # noqa: F401
  from msm_jax import experiment, multihost, report  # noqa: F401
  from msm_jax.base import command  # noqa: F401
  from msm_jax.report import figures

  # The product imports it when it draws: half a second for each program.
  with contextlib.suppress(ImportError):
    import matplotlib.figure  # noqa: F401

  # A program that collects garbage would look at everything that was imported, and so copy it: half
  # a second of CPU for each program.
  gc.collect()
  gc.freeze()
  # As in conftest.py: tracing makes millions of small objects.
  gc.set_threshold(100_000, 50, 50)

  running: set[int] = set()
  codes: dict[int, int] = {}
  for line in sys.stdin:
    request = json.loads(line)
    if request['do'] == 'start':
      pid = os.fork()
      if pid == 0:
        _become(figures, **request)
      running.add(pid)
      answer: int | None = pid
    else:
      pid = request['pid']
      if pid in running:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
          running.discard(pid)
          codes[pid] = os.waitstatus_to_exitcode(status)
      answer = codes.get(pid)
    print(json.dumps(answer), flush=True)
  for pid in running:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _become(
  figures: Any, do: str, module: str, arguments: list[str], log: str, env: dict[str, str]
) -> None:
  """Turns a forked process into a program; ends as the program does."""
  output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
  nothing = os.open(os.devnull, os.O_RDONLY)
  for source, target in ((nothing, 0), (output, 1), (output, 2)):
    os.dup2(source, target)
  os.environ.update(env)
  # Libraries were imported before the program could silence them.
  logging.disable(logging.ERROR)
  if 'MPLBACKEND' not in env:
    figures.is_available = lambda: False
  sys.argv = [module, *arguments]
  runpy.run_module(module, run_name='__main__', alter_sys=True)
  sys.exit(0)


if __name__ == '__main__':
  _serve()
