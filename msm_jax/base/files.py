"""Files that appear whole, and folders in which one process works at a time."""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from msm_jax.base.errors import WorkdirError


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
  """`content`: whole, or in pieces."""
  temporary = path.with_name(f'{path.name}.writing-{os.getpid()}')
  try:
    with temporary.open('wb') as f:
      f.writelines([content] if isinstance(content, bytes) else content)
      f.flush()
      os.fsync(f.fileno())  # or a power cut may leave a name without content
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # somebody else's
    pass
  return True


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
  """Makes the workdir, checks that it can be written, and keeps other runs out of it."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = (workdir / '.lock').open('w')
  except OSError as e:
    raise WorkdirError(
      f'cannot write to {workdir} ({e.strerror}); choose another --workdir'
    ) from None
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise WorkdirError(
        f'another run is at work in {workdir}; wait for it or choose another --workdir'
      ) from None
    except OSError as e:
      raise WorkdirError(
        f'{workdir} lies where files cannot be locked ({e.strerror}); choose another --workdir'
      ) from None
    for left in workdir.glob('**/*.writing-[0-9]*'):  # of runs that were killed while they wrote
      by = re.fullmatch(r'.*\.writing-(\d{1,9})(\.npz)?', left.name)
      if by and (
        int(by[1]) == os.getpid() or not _is_alive(int(by[1]))
      ):  # our own number is that of one before us
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    yield
