"""Errors that a user can mend. Each message is one line that names the cause and the remedy.

Every error that is raised because of a user's input, disk or settings derives from `UserError`. A
command prints such an error as one line and exits with its `exit_code`. Any other exception is a
bug and shows its traceback.
"""

import errno
import re
import signal

# An optional package that is missing -> the extra of this project that installs it.
EXTRAS = {
  'gguf': 'hf',
  'jinja2': 'hf',
  'safetensors': 'hf',
  'tokenizers': 'hf',
  'starlette': 'serve',
  'uvicorn': 'serve',
  'inspect_ai': 'llm',
  'pydantic': 'llm',
}

# Errors of the operating system that say that a file cannot be written: no space, no quota, a
# read-only disk, a file that is too large.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
# Errors that say that somebody may not do this. They do not say whether it was to read or to write.
_NOT_PERMITTED = (errno.EACCES, errno.EPERM)
# Errors that say that something else stands where a file or a folder is expected: a file in the
# place of a folder, a folder in the place of a file, a name that is too long, links in a circle.
_WRONG_KIND = (
  errno.EISDIR,
  errno.ENOTDIR,
  errno.EEXIST,
  errno.ENOTEMPTY,
  errno.ENAMETOOLONG,
  errno.ELOOP,
)
# What JAX, XLA and NumPy call memory that is not there.
_OUT_OF_MEMORY = ('RESOURCE_EXHAUSTED', 'out of memory', 'Out of memory')


class UserError(Exception):
  """The base class of all errors that a user can mend."""

  exit_code = 1


class ConfigError(UserError, ValueError):
  """A setting or a flag that cannot work."""


class DataError(UserError, ValueError):
  """Input data that cannot be used: records, corpora, replies, plans."""


class WorkdirError(DataError):
  """A folder in which a run cannot work."""


class SpecError(DataError):
  """A handbook that cannot be used."""


class WeightsError(UserError, ValueError):
  """Weights, adapters or tokenizers that cannot be read or written."""


class Interrupted(UserError):
  """SIGTERM or SIGINT arrived. Everything is saved, and the same command continues."""

  exit_code = 128 + signal.SIGTERM


def explain(error: BaseException) -> tuple[str, int] | None:
  """Says what a command prints for an error.

  Args:
    error: what was raised.

  Returns:
    (line, exit code): one line with cause and remedy, and the exit code of the process. None if
    the error is a bug.
  """
  # Messages of libraries may have line breaks; what a command prints is one line.
  line = ' '.join(str(error).split())
  if isinstance(error, Interrupted):
    return f'{line}; run the same command to go on', error.exit_code
  if isinstance(error, UserError):
    return f'error: {line}', error.exit_code
  if isinstance(error, ModuleNotFoundError):
    package = (error.name or '').partition('.')[0]
    if package in EXTRAS:
      install = f"pip install 'msm_jax[{EXTRAS[package]}]'"
      return f'error: the package {error.name} is missing; {install}', 1
  if isinstance(error, OSError):
    os_line = _explain_os_error(error)
    if os_line is not None:
      return os_line, 1
  if _is_out_of_memory(error):
    wanted = re.search(r'allocat\w* [\d.,]+ ?\w*bytes|allocate [\d.]+ ?[KMGTP]i?B', line)
    size = f' ({wanted[0]})' if wanted else ''
    return (
      f'error: out of memory{size}; lower batch_size or length of the phase, raise its '
      f"micro_batches, or set model.remat='block' (for evaluation: lower evals.rows)"
    ), 1
  return None


def _explain_os_error(error: OSError) -> str | None:
  """The line for an error of the operating system about a file; None for any other."""
  if error.errno in _CANNOT_WRITE:
    where = ''
    if error.filename:
      where = f' at {error.filename}'
    remedy = 'free some space or choose another --workdir, then run the same command again'
    return f'error: cannot write{where} ({error.strerror}); {remedy}'
  if error.errno in _NOT_PERMITTED:
    return (
      f'error: you have no permission for {error.filename or "a file"} ({error.strerror}); '
      f'change its permissions (chmod), or name another file or --workdir, then run the same '
      f'command again'
    )
  if error.errno in _WRONG_KIND:
    # After a failed rename, the second name is the one that was to be replaced.
    where = error.filename2 or error.filename or 'the disk'
    return (
      f'error: {where} is not what was expected there ({error.strerror}); '
      f'move it away or choose another --workdir'
    )
  return None


def _is_out_of_memory(error: BaseException) -> bool:
  """Whether a device or the host has no memory left. JAX is not imported to find out."""
  if isinstance(error, MemoryError):
    return True
  is_of_jax = type(error).__name__ in ('JaxRuntimeError', 'XlaRuntimeError')
  return is_of_jax and any(words in str(error) for words in _OUT_OF_MEMORY)
