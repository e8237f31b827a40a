"""Writes files so that they appear whole or not at all, and keeps a folder for one process at a
time.

A file under construction has the name `NAME.writing-PID`. If a process was killed while it wrote,
the next process that locks the folder deletes what was left.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msm_jax.base.errors import WorkdirError

# A half-written file or folder; group 1 is the id of the process that wrote it. NumPy adds the
# ending .npz itself.
_HALF_WRITTEN = re.compile(r'.*\.writing-(\d{1,9})(\.npz)?')


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
  """Writes a file under another name and then renames it, so that nobody sees half of it.

  Args:
    path: the file to write; it is replaced if it exists.
    content: the whole content, or its pieces in order.
  """
  write_together({path: content})


def write_together(
  contents: Mapping[Path, bytes | Iterable[bytes]], gone: Iterable[Path] = ()
) -> None:
  """Writes files that belong together, such as rows and their summary.

  All of them are written under other names before the first is renamed. A disk that fills up on the
  way therefore leaves every file as it was, and no new file beside an old one.

  Args:
    contents: the files to write, in the order in which they are replaced -> the whole content of
      each, or its pieces in order.
    gone: files that are deleted before the first is replaced. A kill between two renames would
      leave them beside new files, as if they belonged to these. They may be among `contents`.
  """
  temporary = {path: path.with_name(f'{path.name}.writing-{os.getpid()}') for path in contents}
  try:
    for path, content in contents.items():
      with temporary[path].open('wb') as f:
        f.writelines([content] if isinstance(content, bytes) else content)
        f.flush()
        # Without fsync, a power cut could leave the new name with an empty file behind it.
        os.fsync(f.fileno())
    for path in gone:
      path.unlink(missing_ok=True)
    for path in contents:
      os.replace(temporary[path], path)
  finally:
    # After the renames there is nothing to delete; after an error there is.
    for path in temporary.values():
      path.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
  """Adds up the bytes of all files in a folder; 0 if there is none."""
  return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def _is_alive(process: int) -> bool:
  try:
    # Signal 0 is not delivered; it only checks whether the process exists.
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    # The process exists and belongs to another user.
    pass
  return True


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
  """Makes a workdir and keeps other runs out of it while the context lasts.

  Args:
    workdir: the folder; its parents are made too. Half-written files of processes that have ended
      are deleted from it.

  Yields:
    None, once the folder is locked.

  Raises:
    WorkdirError: the folder cannot be made, written or locked, or another run is at work in it.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = (workdir / '.lock').open('w')
  except OSError as e:
    raise WorkdirError(
      f'cannot write to {workdir} ({e.strerror}); choose another --workdir'
    ) from None
  with lock:
    try:
      # The system drops this lock when the process ends, however it ends.
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise WorkdirError(
        f'another run is at work in {workdir}; wait for it or choose another --workdir'
      ) from None
    except OSError as e:
      # Some network file systems have no locks.
      raise WorkdirError(
        f'{workdir} lies where files cannot be locked ({e.strerror}); choose another --workdir'
      ) from None
    _delete_half_written(workdir)
    yield


def _delete_half_written(workdir: Path) -> None:
  """Deletes what killed processes left half-written."""
  for path in workdir.glob('**/*.writing-[0-9]*'):
    match = _HALF_WRITTEN.fullmatch(path.name)
    if match is None:
      continue
    process = int(match[1])
    # This process has written nothing yet: a file with its id is from an earlier process with the
    # same id. In a container that happens often.
    if process != os.getpid() and _is_alive(process):
      continue
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink(missing_ok=True)


def _checksum_path(path: Path) -> Path:
  return path.with_name(f'{path.name}.sha256')


def write_with_checksum(path: Path, content: bytes) -> None:
  """Writes a file that a run keeps to avoid doing work again, and its checksum beside it.

  Args:
    path: the file; its checksum goes into NAME.sha256.
    content: the whole content.
  """
  digest = hashlib.sha256(content).hexdigest()
  # If the process is killed between the two renames, the checksum does not match and the work is
  # done again.
  write_together({path: content, _checksum_path(path): f'{digest}\n'.encode()})


def read_json_lines(path: Path) -> list[Any]:
  """Reads a JSONL file that `write_with_checksum` wrote.

  Args:
    path: the file.

  Returns:
    The value of every line; nothing if the file is missing or is not the one that was written. Then
    the work is done again, which costs time and nothing else.
  """
  content = read_checked(path)
  if content is None:
    return []
  try:
    return [json.loads(line) for line in content.decode().splitlines()]
  except (ValueError, RecursionError):
    return []


def read_checked(path: Path) -> bytes | None:
  """Reads a file that `write_with_checksum` wrote.

  Args:
    path: the file.

  Returns:
    The content; None if the file is missing or is not the one that was written.
  """
  try:
    content = path.read_bytes()
    digest = _checksum_path(path).read_text(encoding='utf-8').strip()
  except (OSError, ValueError):
    return None
  # A file that was cut or changed may still be JSON, with other results.
  if hashlib.sha256(content).hexdigest() != digest:
    return None
  return content


def checked_line(row: dict[str, Any]) -> str:
  """Makes a line for a file that grows line by line, with a checksum of its own.

  Args:
    row: what JSON can hold. Half of a character (a lone surrogate) becomes a question mark.

  Returns:
    The row as JSON, with the key `checksum`, and a line feed.
  """
  text = json.dumps(row, ensure_ascii=False).encode(errors='replace').decode()
  # The checksum is that of the row as it will be read back: keys are texts then, tuples are lists.
  as_read = json.loads(text)
  checksum = _row_digest(as_read)
  return json.dumps(as_read | {'checksum': checksum}, ensure_ascii=False) + '\n'


def read_checked_line(line: str | bytes) -> dict[str, Any] | None:
  """Reads a line that `checked_line` made.

  Args:
    line: the line.

  Returns:
    The row without its checksum; None for a line that was cut off by a kill, or changed.
  """
  try:
    row = json.loads(line)
    digest = row.pop('checksum')
    if digest == _row_digest(row):
      return row
  except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
    pass
  return None


def _row_digest(row: dict[str, Any]) -> str:
  return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]
