"""The frame that all commands share: flags, signals, memory allocation and one-line errors.

A command calls `run_command` (it parses its own arguments) or `run_on_config` (it works on a
config file that --config names). In both, an error that the user can mend is printed as one line,
and the process ends with a non-zero exit code.
"""

import argparse
import ctypes
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from absl import app, flags
from ml_collections import config_flags

from msm_jax.base import paths
from msm_jax.base.errors import ConfigError, explain

# Libraries whose notes on backends, checkpoints, fonts and requests would hide the lines of a run.
_TALKATIVE = ('absl', 'jax', 'matplotlib', 'httpx', 'httpx2')

# The numbers of glibc's `mallopt` parameters (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8


def tune_process() -> None:
  """Keeps freed memory in the process (glibc only).

  XLA:CPU frees and takes hundreds of megabytes at every step. By default glibc gives them back to
  the system, and every page is faulted in again. The measurements are in docs/LOG.md.
  """
  if not sys.platform.startswith('linux'):
    return
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError):
    # Another C library than glibc, such as musl.
    return
  # With one arena for all threads, the devices would wait for each other.
  mallopt(_M_ARENA_MAX, 4)
  mallopt(_M_MMAP_MAX, 0)
  mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(_M_TOP_PAD, 64 * 2**20)


def _silence_libraries(names: tuple[str, ...]) -> None:
  for name in names:
    logging.getLogger(name).setLevel(logging.ERROR)


def run_command(main: Callable[[list[str]], int | None]) -> None:
  """Runs a program on the arguments of the command line and ends the process.

  An error that a user can mend becomes one line on stderr and a non-zero exit code.

  Args:
    main: the program; it takes the arguments and returns an exit code, or None for success.
  """
  _silence_libraries(('absl', 'jax'))
  tune_process()
  try:
    sys.exit(main(sys.argv[1:]))
  except KeyboardInterrupt:
    sys.exit(128 + signal.SIGINT)
  except BrokenPipeError:
    # Whoever read the output is gone (`... | head`). Python would write what is left in the
    # buffer when it exits, and fail again; the null device takes it instead.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)
  except Exception as e:
    _exit_with_one_line(e)


def _exit_with_one_line(error: Exception, before: str = '') -> NoReturn:
  """Ends the process with the line that explains the error; an error that is a bug is raised
  again."""
  explained = explain(error)
  if explained is None:
    raise error
  line, exit_code = explained
  print(f'{before}{line}', file=sys.stderr)
  sys.exit(exit_code)


class Parser(argparse.ArgumentParser):
  """An argument parser whose errors are one line, as all errors of the project are."""

  def error(self, message: str) -> NoReturn:
    raise ConfigError(f'{message}; --help lists the flags')


def set_xla_flags(settings: Any) -> None:
  """Hands a config's `xla_flags` to the compiler. It must be called before JAX is imported.

  Args:
    settings: the experiment's ConfigDict. Flags of the environment go after its own, so they win.
  """
  own, given = settings.get('xla_flags', ''), os.environ.get('XLA_FLAGS', '')
  os.environ['XLA_FLAGS'] = f'{own} {given}'.strip()


class StopSignal:
  """Notes that SIGTERM or SIGINT arrived. The training loop asks it between steps.

  Calling the object says whether a signal arrived. A second SIGINT ends the process at once.
  """

  def __init__(self) -> None:
    self.asked = False
    signal.signal(signal.SIGTERM, self._note)
    signal.signal(signal.SIGINT, self._note)

  def _note(self, signal_number: int, frame: object) -> None:
    if self.asked and signal_number == signal.SIGINT:
      raise KeyboardInterrupt
    self.asked = True

  def __call__(self) -> bool:
    return self.asked


def parse(argv: list[str], default: str) -> list[str]:
  """Defines and reads the flags --config and --workdir.

  absl and ml_collections would print a traceback for a wrong flag; here it becomes one line.

  Args:
    argv: the program's name and its arguments.
    default: the config file that is used without --config.

  Returns:
    The arguments that are no flags: the program's name alone.

  Raises:
    ConfigError: a flag is unknown or has a wrong value, the config file cannot be read, or an
      argument is no flag.
  """
  try:
    settings = config_flags.DEFINE_config_file(
      'config', paths.find(default), 'What to run; file.py or file.py:preset.', lock_config=True
    )
    flags.DEFINE_string(
      'workdir', None, 'Where everything goes (default: runs/<name of the config>).'
    )
    rest = flags.FLAGS(argv)
    # The file is read when its value is first used, so a missing file shows only here.
    settings.value.to_dict()
  except (AttributeError, KeyError) as e:
    key = _without_quotes(str(e))
    raise ConfigError(f'the config has no setting {key}; its file lists them') from None
  except Exception as e:
    usage = '--config=FILE.py[:preset], --config.a.b=value'
    raise ConfigError(f'{_first_and_last_line(e)}; {usage}') from None
  if len(rest) > 1:
    raise ConfigError(f'unexpected argument {rest[1]!r}; settings are given as --config.name=value')
  return rest


def _without_quotes(message: str) -> str:
  """A message of ml_collections, which quotes it twice, as plain text in one line."""
  message = message.replace('\\n', ', ')
  for mark in ('"', "'", '\\'):
    message = message.replace(mark, '')
  return message


def _first_and_last_line(error: Exception) -> str:
  """The two lines of a long message that say something: what failed and why."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  if not lines:
    return type(error).__name__
  if lines[0] == lines[-1]:
    return lines[0]
  return f'{lines[0]} {lines[-1]}'


def run_on_config(job: Callable[[list[str]], None], default: str) -> None:
  """Runs a job on the config that --config names and ends the process.

  An error that a user can mend becomes one line on stderr and a non-zero exit code.

  Args:
    job: the program; it reads `flags.FLAGS.config` and `flags.FLAGS.workdir`.
    default: the config file that is used without --config.
  """
  _silence_libraries(_TALKATIVE)
  sys.argv[1:] = [paths.resolve_config_flag(a) for a in sys.argv[1:]]
  try:
    app.run(job, flags_parser=functools.partial(parse, default=default))
  except Exception as e:
    # A progress bar may stand on the current line.
    _exit_with_one_line(e, before='\n')
