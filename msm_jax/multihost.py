"""Helpers for several processes that run one program, one on each host of a pod.

Process 0 writes files, and its decisions are broadcast, so that all processes take the same branch.
Whatever a process decides by looking at the disk or the clock, the others must decide too, or they
wait for each other for ever.

The workdir must lie where all hosts see it. A process that fails alone takes the others with it
after JAX's timeouts (a minute or two). With a single process, every helper returns at once.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from msm_jax.base import console, files
from msm_jax.base.errors import ConfigError, DataError, UserError, WorkdirError

T = TypeVar('T')

# What the path of a workdir must not hold.
UNREADABLE_MARKS = ('[', ']', '\\', '**')

# How a run learns that it is one of several processes.
VARIABLE = 'MSM_JAX_DISTRIBUTED'

# What one process tells the others has a multiple of this size.
BROADCAST_BYTES = 1024


class ProcessError(UserError, RuntimeError):
  """The first process failed. Its own message says why."""


def start() -> None:
  """Joins the other processes, if the environment variable MSM_JAX_DISTRIBUTED names any.

  Its value is `auto` on TPU pods and in clusters that JAX knows, or HOST:PORT,COUNT,INDEX. Where
  the processes are joined already, by an earlier call or by `jax.distributed.initialize`, it does
  not count.

  Raises:
    ConfigError: the processes cannot be joined.
  """
  if not jax.distributed.is_initialized():
    _join()
  if jax.distributed.is_initialized():
    console.set_quiet(not is_first())


def _join() -> None:
  """Joins the processes that the environment names, if it names any. Raises ConfigError."""
  value = os.environ.get(VARIABLE, '')
  if not value:
    return
  # JAX's preemption service would take SIGTERM for itself, and nobody asks it.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    if value == 'auto':
      jax.distributed.initialize(shutdown_timeout_seconds=60)
    else:
      address, count, index = value.split(',')
      jax.distributed.initialize(address, int(count), int(index), shutdown_timeout_seconds=60)
    # Processes connect when they first exchange something. On CPUs this may take at most 30
    # seconds, so it is done now, while none of them is busy.
    broadcast_from_first(None)
  except (ValueError, RuntimeError) as e:
    reason = ' '.join(str(e).split())[:200]
    raise ConfigError(
      f'{VARIABLE}={value}: the processes cannot be joined ({reason}); '
      f'give auto, or HOST:PORT,COUNT,INDEX'
    ) from None


def is_first() -> bool:
  """Whether this is process 0, which writes the files and speaks on the console."""
  return jax.process_index() == 0


def broadcast_from_first(value: T) -> T:
  """Gives all processes the value of process 0.

  Args:
    value: anything that JSON can hold. The values of all other processes are ignored.

  Returns:
    The value of process 0.
  """
  if jax.process_count() == 1:
    return value
  # Arrays must have the same shape in all processes, so the size is broadcast first. A program is
  # compiled for each size, so there are few: JSON ignores the blanks at its end.
  content = np.zeros(0, np.uint8)
  if is_first():
    text = json.dumps(value).encode()
    blanks = -len(text) % BROADCAST_BYTES
    content = np.frombuffer(text + b' ' * blanks, np.uint8)
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
  if not is_first():
    content = np.zeros(size, np.uint8)
  received = multihost_utils.broadcast_one_to_all(content)
  return json.loads(bytes(np.asarray(received, np.uint8)))


def any_process(flag: bool) -> bool:
  """Whether the flag is True in any process; all processes must ask."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def gather_to_host(x: jax.Array) -> np.ndarray:
  """Fetches a global array to the host; every process gets all of it."""
  if x.is_fully_addressable or x.is_fully_replicated:
    return np.asarray(x)
  return np.asarray(multihost_utils.process_allgather(x, tiled=True))


def make_global(x: np.ndarray, layout: jax.sharding.Sharding | None) -> jax.Array:
  """Makes a global array of one that every process holds whole.

  Args:
    x: the array, the same in all processes.
    layout: how it lies on the devices, replicated or divided; None means the default device.

  Returns:
    The array on the devices.
  """
  if jax.process_count() == 1 or layout is None:
    return jax.device_put(x, layout)
  return jax.make_array_from_callback(x.shape, layout, x.__getitem__)


def write(path: Path, content: str) -> None:
  """Writes a text file, in process 0 only. The file appears complete or not at all."""
  if is_first():
    files.write_atomically(path, content.encode())


def write_with_checksum(path: Path, content: str) -> None:
  """Writes a text file and its checksum, in process 0 only; see `files.write_with_checksum`."""
  if is_first():
    files.write_with_checksum(path, content.encode())


def check_same_settings(settings: str) -> None:
  """Checks that all processes were started with the same settings.

  With others, they would train different models as one, or wait for each other for ever.

  Args:
    settings: all settings of this process, as text.

  Raises:
    ConfigError: another process has other settings.
  """
  if _differs(settings):
    raise ConfigError(
      'the processes were started with different settings; '
      'give all of them the same --config and the same overrides'
    )


def check_same_inputs(identity: str) -> None:
  """Checks that all processes have read the same handbooks, questions, corpora and weights.

  Under one path, each host may have a file of its own: a handbook that was edited in one clone of
  the repository, or weights of which one copy is older. The hosts would train on different texts
  as if it were one model.

  Args:
    identity: what this process has read, as text.

  Raises:
    DataError: another process has read something else.
  """
  if _differs(identity):
    raise DataError(
      'the processes have read different handbooks, questions, corpora or weights under the same '
      'paths; give all hosts the same files'
    )


def _differs(text: str) -> bool:
  """Whether a text is another one in some process; all processes must ask."""
  if jax.process_count() == 1:
    return False
  own = hashlib.sha256(text.encode()).hexdigest()
  return any_process(own != broadcast_from_first(own))


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
  """Runs the body in process 0 first, then in the others, which find its files on disk.

  Yields:
    Nothing.

  Raises:
    ProcessError: process 0 failed. This is raised in the others.
  """
  # The two calls of broadcast_from_first meet: the others wait at their only one, here, until
  # process 0 reaches its own at the end.
  if not is_first() and not broadcast_from_first(False):
    raise ProcessError('the first process has failed')
  done = False
  try:
    yield
    done = True
  finally:
    if is_first():
      broadcast_from_first(done)


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
  """Holds the lock of a workdir. Process 0 holds it for all.

  Args:
    workdir: the folder, which is created if there is none.

  Yields:
    Nothing.

  Raises:
    WorkdirError: the folder cannot be used, or another run holds the lock.
    ConfigError: the processes do not see the same folder.
  """
  _check_readable_path(workdir)
  with contextlib.ExitStack() as stack:
    with first_process_first():
      if is_first():
        stack.enter_context(files.locked(workdir))
    if jax.process_count() > 1:
      _check_shared(workdir)
    yield


def _check_readable_path(workdir: Path) -> None:
  """Raises WorkdirError for a path under which Orbax saves checkpoints that nobody can read.

  Orbax merges the files of a checkpoint by a pattern that begins with the whole path. It takes
  [...] for a choice of characters and a backslash for a separator, so it finds no file to merge;
  and it refuses two stars.
  """
  path = str(workdir.absolute())
  found = [mark for mark in UNREADABLE_MARKS if mark in path]
  if found:
    raise WorkdirError(
      f'{path} has {" ".join(found)} in its name, and checkpoints below it could not be read '
      f'again; choose another --workdir'
    )


def _check_shared(workdir: Path) -> None:
  """Raises ConfigError unless all processes see a file that process 0 creates in the workdir."""
  sign = workdir / f'.seen-{broadcast_from_first(time.time_ns())}'
  with first_process_first():
    if is_first():
      sign.touch()
  missing = any_process(not sign.exists())
  if is_first():
    sign.unlink()
  if missing:
    raise ConfigError(
      f'{workdir} is not the same folder on all hosts; '
      f'give --workdir on a disk that all of them see'
    )
