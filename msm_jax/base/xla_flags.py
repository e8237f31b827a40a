"""Checks a config's flags for the compiler, before JAX starts.

The compiler reads the variable XLA_FLAGS once. A flag that it does not have, or a value of another
type, ends the process with pages of text. It cannot be asked for its flags, so it is given them in
a process of its own, which takes 0.2 seconds. The flags of the shipped configs need none.
"""

import os
import re
import subprocess
import sys
from typing import Any

from msm_jax.base.errors import ConfigError

# Every version of jaxlib that the project runs with takes these.
KNOWN_FLAGS = frozenset(
  {
    '--xla_force_host_platform_device_count=2',
    '--xla_cpu_multi_thread_eigen=false',
    '--xla_disable_hlo_passes=tree_reduction_rewriter',
  }
)
# The compiler reads its flags when its options are made for the first time.
_READ_FLAGS = 'from jaxlib import _jax; _jax.CompileOptions()'
_MAX_SECONDS = 120

_DEVICES = re.compile(r'--xla_force_host_platform_device_count=(-?\d+)')
_UNKNOWN = re.compile(r'Unknown flags? in XLA_FLAGS: (.+)')
_BAD_VALUE = re.compile(
  r"Couldn't interpret value .*? for flag (?P<name>\w+)\.|Illegal value for --(?P<other>\w+)"
)
# Lines of its log begin with a letter, date, time, process and place.
_LOG_LINE = re.compile(r'^[EF]\d{4} \S+ +\d+ \S+\] (.+)', re.M)


def check_xla_flags(flags_text: Any) -> None:
  """Checks flags for the compiler.

  Args:
    flags_text: what a config says, such as '--xla_cpu_multi_thread_eigen=false'.

  Raises:
    ConfigError: they are no text, or the compiler does not take one of them.
  """
  if not isinstance(flags_text, str):
    raise ConfigError(
      f'xla_flags must be a text such as --xla_cpu_multi_thread_eigen=false, not {flags_text!r}'
    )
  given = flags_text.split()
  if KNOWN_FLAGS.issuperset(given):
    return
  for n_devices in _DEVICES.findall(flags_text):
    # JAX takes any number and finds no devices then.
    if int(n_devices) < 1:
      raise ConfigError(
        f'xla_flags: --xla_force_host_platform_device_count={n_devices} must be 1 or more'
      )
  log = _log_of_compiler(flags_text)
  unknown = _UNKNOWN.search(log)
  if unknown:
    hint = ''
    if '--xla_tpu_' in unknown[1]:
      hint = '; flags of TPUs go into the variable LIBTPU_INIT_ARGS of the environment'
    raise ConfigError(
      f'xla_flags: the compiler of this jaxlib has no flag {unknown[1]}; '
      f'correct its name or take it out{hint}'
    )
  bad_value = _BAD_VALUE.search(log)
  if bad_value:
    flag = '--' + (bad_value['name'] or bad_value['other'])
    # The flag as it was given; one with quotes or spaces is not found so, and its name must do.
    shown = next((word for word in given if word.partition('=')[0] == flag), flag)
    raise ConfigError(
      f'xla_flags: the compiler cannot read the value of {shown}; correct it or take the flag out'
    )
  other = _LOG_LINE.search(log)
  if other:
    raise ConfigError(f'xla_flags: the compiler does not take them ({other[1]}); correct them')


def _log_of_compiler(flags_text: str) -> str:
  """What the compiler writes about flags if it ends; '' if it takes them or cannot be asked."""
  environment = dict(os.environ, XLA_FLAGS=flags_text)
  try:
    done = subprocess.run(
      [sys.executable, '-c', _READ_FLAGS],
      env=environment,
      capture_output=True,
      timeout=_MAX_SECONDS,
    )
  except (OSError, TypeError, ValueError, subprocess.TimeoutExpired):
    # Python cannot be started here, or the text holds what no variable can: JAX will say it. Inside
    # of another program, sys.executable may be None.
    return ''
  if done.returncode == 0:
    return ''
  # The list of all flags follows, thousands of lines.
  return done.stderr[:20_000].decode(errors='replace')
