"""Prints lines for the user. All of them go to stderr, so that stdout holds nothing but results."""

import sys
import unicodedata

# True in all but the first of several processes: only one of them prints.
is_quiet = False

# In a notebook, lines are filled with spaces to this width. The longest progress bar is shorter.
_NOTEBOOK_WIDTH = 160


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
