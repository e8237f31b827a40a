"""Prints lines for the user. All of them go to stderr, so that stdout holds nothing but results."""

import sys
import time
import unicodedata

# True in all but the first of several processes: only one of them prints.
is_quiet = False

# In a notebook, lines are filled with spaces to this width. The longest progress bar is shorter.
_NOTEBOOK_WIDTH = 160
# How often a `ProgressLine` is shown, in seconds: one that is drawn anew, and lines of a log file.
_SECONDS_BETWEEN_BARS = 0.5
_SECONDS_BETWEEN_LINES = 15


def width_of(text: str) -> int:
  """Counts the cells of a terminal that a text takes: Chinese letters take two, accents none."""
  cells = 0
  for letter in text:
    if unicodedata.category(letter) in ('Mn', 'Me', 'Cf'):
      continue
    cells += 2 if unicodedata.east_asian_width(letter) in 'WF' else 1
  return cells


def set_quiet(quiet: bool) -> None:
  """Switches this process's lines off or on."""
  global is_quiet
  is_quiet = quiet


def can_redraw() -> bool:
  """Whether stderr shows text that can be overwritten: a terminal, or the output of a notebook."""
  return sys.stderr.isatty() or _is_notebook()


def _is_notebook() -> bool:
  # Jupyter and Colab give their cells a stream of the package ipykernel as stderr.
  return type(sys.stderr).__module__.startswith('ipykernel')


def over_line(text: str) -> str:
  """Prepares a line that takes the place of what stands on the current line.

  Args:
    text: the line, without a line break.

  Returns:
    The text with what the terminal or the notebook needs; the bare text elsewhere.
  """
  if sys.stderr.isatty():
    # Back to the first column, then delete to the end of the line.
    return f'\r\x1b[K{text}'
  if _is_notebook():
    # A notebook knows carriage returns and no other codes. Spaces cover a longer line before.
    return f'\r{text:<{_NOTEBOOK_WIDTH}}'
  return text


def say(text: str) -> None:
  """Prints one line, after it has cleared a progress bar that may stand on the current line.

  Args:
    text: the line; nothing is printed in a quiet process.
  """
  if is_quiet:
    return
  print(over_line(text), file=sys.stderr, flush=True)


class ProgressLine:
  """A line that says how far something is. It is drawn anew on a terminal or in a notebook; a log
  file gets a new line now and then."""

  def __init__(self, last_shown: float = 0.0) -> None:
    """Begins with nothing shown.

    Args:
      last_shown: the time from which the first pause counts, by `time.monotonic`. With 0, the first
        line is due at once.
    """
    self._last_shown = last_shown
    self._is_open = False

  def is_due(self) -> bool:
    """Whether the last line was shown long enough ago."""
    pause = _SECONDS_BETWEEN_BARS if can_redraw() else _SECONDS_BETWEEN_LINES
    return time.monotonic() - self._last_shown > pause

  def show(self, text: str, is_last: bool = False) -> None:
    """Shows the line.

    Args:
      text: the line; nothing is printed in a quiet process.
      is_last: whether it stays on the screen; the next one takes the place of the others.
    """
    self._last_shown = time.monotonic()
    if is_quiet:
      return
    self._is_open = can_redraw() and not is_last
    print(over_line(text), end='' if self._is_open else '\n', file=sys.stderr, flush=True)

  def close(self) -> None:
    """Lets the last line stay on the screen."""
    if self._is_open:
      print(file=sys.stderr, flush=True)
      self._is_open = False


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
