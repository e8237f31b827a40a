"""Prints lines for the user. All of them go to stderr, so that stdout holds nothing but results."""

import sys

# True in all but the first of several processes: only one of them prints.
is_quiet = False


def set_quiet(quiet: bool) -> None:
  """Switches this process's lines off or on."""
  global is_quiet
  is_quiet = quiet


def say(text: str) -> None:
  """Prints one line, after it has cleared a progress bar that may stand on the current line.

  Args:
    text: the line; nothing is printed in a quiet process.
  """
  if is_quiet:
    return
  clear_line = ''
  if sys.stderr.isatty():
    # Back to the first column, then delete to the end of the line.
    clear_line = '\r\x1b[K'
  print(f'{clear_line}{text}', file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
  """Writes a duration as people read it.

  Args:
    seconds: the duration in seconds; it is rounded to whole seconds.

  Returns:
    Text such as '41s', '3m05s' or '2h07m'.
  """
  s = round(seconds)
  if s >= 3600:
    return f'{s // 3600}h{s % 3600 // 60:02d}m'
  if s >= 60:
    return f'{s // 60}m{s % 60:02d}s'
  return f'{s}s'
