"""The frame of a command: flags, signals, memory allocation, and errors that become one line."""

import argparse
import ctypes
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

from msm_jax.base import paths
from msm_jax.base.errors import ConfigError, explain


def tune_process() -> None:
  """Keeps freed memory in the process (glibc only).

  XLA:CPU frees and takes hundreds of megabytes at every step; by default glibc gives them back to the system and every page is
  faulted in again. One arena for all threads makes the devices wait for each other. Figures: docs/LOG.md.
  """
  if not sys.platform.startswith('linux'):
    return
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (OSError, AttributeError):  # not glibc
    return
  M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
  mallopt(M_ARENA_MAX, 4)
  mallopt(M_MMAP_MAX, 0)
  mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
  mallopt(M_TOP_PAD, 64 * 2**20)


def run_command(main: Callable[[list[str]], int | None]) -> None:
  """Runs a program on its arguments; an error that a user can mend becomes one line on stderr and a non-zero exit."""
  for name in ('absl', 'jax'):  # their notes about backends and checkpoints are not ours to show
    logging.getLogger(name).setLevel(logging.ERROR)
  tune_process()
  try:
    sys.exit(main(sys.argv[1:]))
  except KeyboardInterrupt:
    sys.exit(128 + signal.SIGINT)
  except (
    BrokenPipeError
  ):  # whoever read the output is gone; nor can what is left in the buffer be written
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(128 + signal.SIGPIPE)
  except Exception as e:
    explained = explain(e)
    if explained is None:
      raise
    print(explained[0], file=sys.stderr)
    sys.exit(explained[1])


class Parser(argparse.ArgumentParser):
  """Wrong flags end in one line, as all errors do."""

  def error(self, message: str) -> NoReturn:

    raise ConfigError(f'{message}; --help lists the flags')


class Stop:
  """True once SIGTERM or SIGINT came; a second SIGINT ends at once."""

  def __init__(self):
    self.asked = False
    signal.signal(signal.SIGTERM, self._ask)
    signal.signal(signal.SIGINT, self._ask)

  def _ask(self, signum: int, frame: object) -> None:
    if self.asked and signum == signal.SIGINT:
      raise KeyboardInterrupt
    self.asked = True

  def __call__(self) -> bool:
    return self.asked


def parse(argv: list[str], default: str) -> list[str]:
  """Defines and reads the flags. What is wrong with them becomes one line: absl and ml_collections would print a traceback."""

  try:
    settings = config_flags.DEFINE_config_file(
      'config', paths.find(default), 'What to run; file.py or file.py:preset.', lock_config=True
    )
    flags.DEFINE_string(
      'workdir', None, 'Where everything goes (default: runs/<name of the config>).'
    )
    rest = flags.FLAGS(argv)
    settings.value.to_dict()  # a config file that is missing shows only here
  except (AttributeError, KeyError) as e:
    key = (
      str(e).replace('\\n', ', ').translate({ord(c): None for c in '\'"\\'})
    )  # ml_collections quotes its message twice
    raise ConfigError(f'the config has no setting {key}; its file lists them') from None
  except Exception as e:
    said = [line.strip() for line in str(e).splitlines() if line.strip()] or [type(e).__name__]
    raise ConfigError(
      ' '.join(dict.fromkeys((said[0], said[-1])))
      + '; --config=FILE.py[:preset], --config.a.b=value'
    ) from None
  if len(rest) > 1:
    raise ConfigError(f'unexpected argument {rest[1]!r}; settings are given as --config.name=value')
  return rest


def run_on_config(job: Callable[[list[str]], None], default: str) -> None:
  """Runs `job` on the config that --config names; an error that a user can mend becomes one line on stderr and a non-zero exit."""
  for name in (
    'absl',
    'jax',
    'matplotlib',
    'httpx',
    'httpx2',
  ):  # their notes on backends, checkpoints, fonts and requests are not ours to show
    logging.getLogger(name).setLevel(logging.ERROR)
  sys.argv[1:] = [paths.resolve_config_flag(a) for a in sys.argv[1:]]
  try:
    app.run(job, flags_parser=functools.partial(parse, default=default))
  except Exception as e:
    explained = explain(e)
    if explained is None:
      raise
    print(f'\n{explained[0]}', file=sys.stderr)
    sys.exit(explained[1])
