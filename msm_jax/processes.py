"""Several processes that run one program, one on each host of a pod: the first speaks and writes, and all decide alike.

Whatever a process decides by looking at the disk or the clock, the others must decide too, or they wait for each other for ever. The workdir lies
where all hosts see it. With one process, all of this does nothing.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines import files
from msm_jax import metrics
from msm_jax.config import ConfigError

T = TypeVar('T')


class ProcessError(RuntimeError):
  """Another process failed; its message says why."""


def start() -> None:
  """Joins the other processes, if MSM_JAX_DISTRIBUTED says that there are any: `auto` on TPU pods and in clusters that JAX knows, or
  HOST:PORT,COUNT,INDEX by hand. Raises ConfigError."""
  asked = os.environ.get('MSM_JAX_DISTRIBUTED', '')
  if not asked:
    return
  address, *numbers = asked.split(',')
  jax.config.update('jax_enable_preemption_service', False)  # it would take SIGTERM for itself, without being heard
  try:
    if numbers:
      count, index = map(int, numbers)
      jax.distributed.initialize(address, count, index)
    else:
      jax.distributed.initialize()
  except (ValueError, RuntimeError) as e:
    raise ConfigError(
      f'MSM_JAX_DISTRIBUTED={asked}: the processes cannot be joined ({" ".join(str(e).split())[:200]}); give auto, or HOST:PORT,COUNT,INDEX'
    ) from None
  metrics.speaks = is_first()


def is_first() -> bool:
  """Whether this is the process that writes what all of them know."""
  return jax.process_index() == 0


def agreed(value: T) -> T:
  """What the first process says, in all of them; anything that JSON holds."""
  if jax.process_count() == 1:
    return value
  said = np.frombuffer(json.dumps(value).encode(), np.uint8) if is_first() else np.zeros(0, np.uint8)
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(said))))
  heard = multihost_utils.broadcast_one_to_all(said if is_first() else np.zeros(size, np.uint8))
  return json.loads(bytes(np.asarray(heard, np.uint8)))


def any_of(flag: bool) -> bool:
  """Whether it is true in any process."""
  return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())


def whole(x: Any) -> np.ndarray:
  """An array of all devices on the host."""
  return np.asarray(x if x.is_fully_addressable or x.is_fully_replicated else multihost_utils.process_allgather(x, tiled=True))


def placed(x: np.ndarray, layout: jax.sharding.Sharding | None) -> jax.Array:
  """A host's array, the same in all processes, on the devices of a layout."""
  if jax.process_count() == 1 or layout is None:
    return jax.device_put(x, layout)
  return jax.make_array_from_callback(x.shape, layout, x.__getitem__)


def locked(workdir: Path) -> contextlib.AbstractContextManager[None]:
  """The workdir's lock, which the first process holds for all."""
  return files.locked(workdir) if is_first() else contextlib.nullcontext()


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
  """The first process does what stands within, then the others, who find on disk what it has made. Raises ProcessError in them if it fails."""
  if not is_first() and not agreed(False):
    raise ProcessError('the first process has failed')
  done = False
  try:
    yield
    done = True
  finally:
    if is_first():
      agreed(done)
