"""The frame that all commands share: flags, signals, memory allocation and one-line errors.

A command calls `run_command` (it parses its own arguments) or `run_on_config` (it works on a
config file that --config names). In both, an error that the user can mend is printed as one line,
and the process ends with a non-zero exit code.
"""

import argparse
import ctypes
import functools
import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags

from msm_jax.base.config_files import read_config
from msm_jax.base.errors import ConfigError, explain
from msm_jax.base.overrides import from_text, override
from msm_jax.base.paths import check_is_local, with_home
from msm_jax.base.references import separate_groups
from msm_jax.base.xla_flags import check_xla_flags

# Libraries whose notes on backends, checkpoints, fonts and requests would hide the lines of a run.
_TALKATIVE = ('absl', 'jax', 'matplotlib', 'httpx', 'httpx2')
# The logger by which JAX says that it computes on the CPU although there is a GPU or a TPU.
BACKENDS_LOGGER = 'jax._src.xla_bridge'

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
  # Without this one note, a run on a GPU node whose JAX lacks CUDA would take its CPU, for days,
  # and not say so.
  logging.getLogger(BACKENDS_LOGGER).setLevel(logging.WARNING)


def _print_in_every_locale() -> None:
  """Lets stdout write a letter that its encoding lacks as its number, as stderr does.

  A model may say any letter, and a name may have any. On a terminal with another encoding than
  UTF-8, one of them would end the command with a traceback.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')


def end_on_sigterm() -> None:
  """Turns SIGTERM into an exception, so that half-written folders are removed before the end.

  By default it ends a process at once.
  """
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run_command(main: Callable[[list[str]], int | None]) -> None:
  """Runs a program on the arguments of the command line and ends the process.

  An error that a user can mend becomes one line on stderr and a non-zero exit code.

  Args:
    main: the program; it takes the arguments and returns an exit code, or None for success.
  """
  _silence_libraries(('absl', 'jax'))
  _print_in_every_locale()
  tune_process()
  try:
    sys.exit(main(sys.argv[1:]))
  except KeyboardInterrupt:
    sys.exit(128 + signal.SIGINT)
  except BrokenPipeError:
    _exit_without_reader()
  except Exception as e:
    _exit_with_one_line(e)


def _exit_without_reader() -> NoReturn:
  """Ends the process after whoever read its output is gone (`... | head`).

  Python would write what is left in the buffer when it exits, and fail again; the null device takes
  it instead.
  """
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  sys.exit(128 + signal.SIGPIPE)


def _exit_with_one_line(error: Exception, before: str = '') -> NoReturn:
  """Ends the process with the line that explains the error; an error that is a bug is raised
  again."""
  explained = explain(error)
  if explained is None:
    raise error
  line, exit_code = explained
  print(f'{before}{line}', file=sys.stderr)
  # What the error has left unfinished, such as a coroutine of a checkpoint's writer, would be
  # warned of when Python exits.
  warnings.simplefilter('ignore')
  sys.exit(exit_code)


class Parser(argparse.ArgumentParser):
  """An argument parser whose errors are one line, as all errors of the project are.

  Paths may begin with `~`, see `paths.with_home`, and are no addresses, see `paths.check_is_local`.
  """

  def __init__(self, *args: Any, **settings: Any) -> None:
    super().__init__(*args, **settings)
    self.register('type', Path, _path_from)

  def error(self, message: str) -> NoReturn:
    raise ConfigError(f'{message}; --help lists the flags')


def _path_from(text: str) -> Path:
  if not text.strip():
    # As `--workdir=$OUT` where the variable is not set. `Path` makes the current folder of it.
    raise argparse.ArgumentTypeError('it is empty; name a path, or leave the flag out')
  try:
    check_is_local(text)
  except ConfigError as e:
    # Of any other ValueError, argparse says only that the value is invalid.
    raise argparse.ArgumentTypeError(str(e)) from None
  return Path(with_home(text))


def set_xla_flags(settings: Any) -> None:
  """Hands a config's `xla_flags` to the compiler. It must be called before JAX is imported.

  Args:
    settings: the experiment's ConfigDict. Flags of the environment go after its own, so they win.

  Raises:
    ConfigError: the compiler does not take them. It would end the process with a dump.
  """
  own, given = settings.get('xla_flags', ''), os.environ.get('XLA_FLAGS', '')
  check_xla_flags(own)
  os.environ['XLA_FLAGS'] = f'{own} {given}'.strip()


class StopSignal:
  """Notes that SIGTERM, SIGINT or SIGHUP arrived. The training loop asks it between steps.

  Calling the object says whether a signal arrived. A second SIGINT ends the process at once.
  """

  def __init__(self) -> None:
    self.asked = False
    signal.signal(signal.SIGTERM, self._note)
    signal.signal(signal.SIGINT, self._note)
    # A terminal that is closed sends SIGHUP. Under nohup it is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
      signal.signal(signal.SIGHUP, self._note)

  def _note(self, signal_number: int, frame: object) -> None:
    if self.asked and signal_number == signal.SIGINT:
      raise KeyboardInterrupt
    self.asked = True

  def __call__(self) -> bool:
    return self.asked


# --config.NAME or --config.NAME=VALUE; absl takes one dash as well.
_OVERRIDE = re.compile(r'--?config\.([^=]+)(?:=(.*))?', re.DOTALL)


def parse(argv: list[str], default: str, schema: Any = None) -> list[str]:
  """Defines and reads the flags --config, --config.NAME and --workdir.

  Args:
    argv: the program's name and its arguments.
    default: the config file that is used without --config.
    schema: the dataclass that the config becomes; see `overrides.override`.

  Returns:
    The arguments that are no flags: the program's name alone. `flags.FLAGS.config` is the config,
    with the settings that the arguments change.

  Raises:
    ConfigError: a flag is unknown or has a wrong value, the config file cannot be read, or an
      argument is no flag.
  """
  others, changes = split_overrides(argv)
  flags.DEFINE_string('config', default, 'What to run; file.py or file.py:preset.')
  flags.DEFINE_string(
    'workdir', None, 'Where everything goes (default: runs/<name of the config>).'
  )
  try:
    rest = flags.FLAGS(others)
  except flags.Error as e:
    usage = '--config=FILE.py[:preset], --config.a.b=value'
    raise ConfigError(f'{_first_and_last_line(e)}; {usage}') from None
  workdir = flags.FLAGS.workdir
  if workdir is not None:
    if not workdir.strip():
      # As `--workdir=$OUT` is where the variable is not set: the run would go on in another folder.
      raise ConfigError('--workdir is empty; name a folder, or leave the flag out')
    check_is_local(workdir)
    flags.FLAGS['workdir'].value = with_home(workdir)
  if len(rest) > 1:
    raise ConfigError(f'unexpected argument {rest[1]!r}; settings are given as --config.name=value')
  config = read_config(flags.FLAGS.config)
  separate_groups(config)
  for key, text in changes:
    override(config, key, from_text(config, key, text, schema), schema)
  # A slip in the program itself would otherwise make a new setting.
  config.lock()
  flags.FLAGS['config'].value = config
  return rest


def split_overrides(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
  """Splits arguments into those that are no overrides and those that are.

  Args:
    argv: the arguments.

  Returns:
    (the arguments that are no overrides, (setting, text of its value) for each override).

  Raises:
    ConfigError: an override has no value.
  """
  others: list[str] = []
  changes: list[tuple[str, str]] = []
  arguments = iter(argv)
  for argument in arguments:
    match = _OVERRIDE.fullmatch(argument)
    if match is None:
      others.append(argument)
      continue
    key, value = match[1], match[2]
    if value is None:
      # '--config.a.b value'. After an equals sign a value may begin with dashes, as compiler flags
      # do; without it, what begins with dashes is the next flag.
      value = next(arguments, None)
      if value is None or value.startswith('--'):
        raise ConfigError(f'--config.{key} has no value; give --config.{key}=VALUE')
    changes.append((key, value))
  return others, changes


def _first_and_last_line(error: Exception) -> str:
  """The two lines of a long message that say something: what failed and why."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  if not lines:
    return type(error).__name__
  if lines[0] == lines[-1]:
    return lines[0]
  return f'{lines[0]} {lines[-1]}'


def run_on_config(job: Callable[[list[str]], None], default: str, schema: Any = None) -> None:
  """Runs a job on the config that --config names and ends the process.

  An error that a user can mend becomes one line on stderr and a non-zero exit code.

  Args:
    job: the program; it reads `flags.FLAGS.config` and `flags.FLAGS.workdir`.
    default: the config file that is used without --config.
    schema: the dataclass that the config becomes. With it, any of its settings can be changed by
      `--config.NAME=VALUE`, whether or not the config file names it.
  """
  _silence_libraries(_TALKATIVE)
  _print_in_every_locale()
  try:
    app.run(job, flags_parser=functools.partial(parse, default=default, schema=schema))
  except KeyboardInterrupt:
    # A second Ctrl-C, or one before the job has begun. Threads of libraries may still be at work
    # and would print tracebacks while Python waits for them, so the process ends at once.
    print('\ninterrupted; run the same command to go on', file=sys.stderr, flush=True)
    os._exit(128 + signal.SIGINT)
  except BrokenPipeError:
    _exit_without_reader()
  except Exception as e:
    # A progress bar may stand on the current line.
    _exit_with_one_line(e, before='\n')
