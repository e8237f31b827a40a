"""Several processes that run one program, one on each host of a pod: the first speaks and writes what all know, and all decide alike.

Whatever a process decides by looking at the disk or the clock, the others must decide too, or they wait for each other for ever. The workdir lies
where all hosts see it. One that fails alone takes the others with it, after JAX's timeouts (a minute or two). With one process, nothing is asked.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from msm_jax.base import console, files
from msm_jax.base.errors import ConfigError, UserError

T = TypeVar('T')


class ProcessError(UserError, RuntimeError):
  """Another process failed; its message says why."""


def start() -> None:
  """Joins the other processes, if MSM_JAX_DISTRIBUTED says that there are any: `auto` on TPU pods and in clusters that JAX knows, or
  HOST:PORT,COUNT,INDEX by hand. Raises ConfigError."""
  asked = os.environ.get('MSM_JAX_DISTRIBUTED', '')
  if not asked:
    return
  jax.config.update(
    'jax_enable_preemption_service', False
  )  # it would take SIGTERM for itself, without being heard
  try:
    where = ()
    if asked != 'auto':
      address, count, index = asked.split(',')
      where = address, int(count), int(index)
    jax.distributed.initialize(*where, shutdown_timeout_seconds=60)
    console.set_quiet(not is_first())
    broadcast_from_first(
      None
    )  # they connect while none of them is busy: on CPUs that may take 30 seconds at most
  except (ValueError, RuntimeError) as e:
    raise ConfigError(
      f'MSM_JAX_DISTRIBUTED={asked}: the processes cannot be joined ({" ".join(str(e).split())[:200]}); give auto, or HOST:PORT,COUNT,INDEX'
    ) from None


def is_first() -> bool:
  """Whether this is the process that writes what all of them know."""
  return jax.process_index() == 0


def broadcast_from_first(value: T) -> T:
  """What the first process says, in all of them; anything that JSON holds."""
  if jax.process_count() == 1:
    return value
  said = (
    np.frombuffer(json.dumps(value).encode(), np.uint8) if is_first() else np.zeros(0, np.uint8)
  )
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(said))))
  heard = multihost_utils.broadcast_one_to_all(said if is_first() else np.zeros(size, np.uint8))
  return json.loads(bytes(np.asarray(heard, np.uint8)))


def write(path: Path, content: str) -> None:
  """A file that appears whole, from the first process."""
  if is_first():
    files.write_atomically(path, content.encode())


def any_process(flag: bool) -> bool:
  """Whether it is true in any process."""
  return (
    flag
    if jax.process_count() == 1
    else bool(multihost_utils.process_allgather(np.array(flag)).any())
  )


def gather_to_host(x: Any) -> np.ndarray:
  """An array of all devices on the host."""
  return np.asarray(
    x
    if x.is_fully_addressable or x.is_fully_replicated
    else multihost_utils.process_allgather(x, tiled=True)
  )


def place_replicated(x: np.ndarray, layout: jax.sharding.Sharding | None) -> jax.Array:
  """A host's array, the same in all processes, on the devices of a layout."""
  if jax.process_count() == 1 or layout is None:
    return jax.device_put(x, layout)
  return jax.make_array_from_callback(x.shape, layout, x.__getitem__)


@contextlib.contextmanager
def first_process_first() -> Iterator[None]:
  """The first process does what stands within, then the others, who find on disk what it has made. Raises ProcessError in them if it fails."""
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
  """The workdir's lock, which the first process holds for all. Raises WorkdirError, and ConfigError if they do not see the same folder."""
  with contextlib.ExitStack() as stack:
    with first_process_first():
      if is_first():
        stack.enter_context(files.locked(workdir))
    if jax.process_count() > 1:
      _check_shared(workdir)
    yield


def _check_shared(workdir: Path) -> None:
  sign = workdir / f'.seen-{broadcast_from_first(time.time_ns())}'
  with first_process_first():
    if is_first():
      sign.touch()
  missing = any_process(not sign.exists())
  if is_first():
    sign.unlink()
  if missing:
    raise ConfigError(
      f'{workdir} is not the same folder on all hosts; give --workdir on a disk that all of them see'
    )
