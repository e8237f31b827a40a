"""Errors that a user can mend. Each message is one line that names the cause and the remedy.

Every error that is raised because of a user's input, disk or settings derives from `UserError`. A
command prints such an error as one line and exits with its `exit_code`. Any other exception is a
bug and shows its traceback.
"""

import errno
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
# read-only disk, no permission, a file that is too large.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)


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
  if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
    where = ''
    if error.filename:
      where = f' at {error.filename}'
    remedy = 'free some space or choose another --workdir, then run the same command again'
    return f'error: cannot write{where} ({error.strerror}); {remedy}', 1
  return None
