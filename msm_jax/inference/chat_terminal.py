"""The terminal of a chat: it reads questions and commands, and shows the answers.

Answers of several models stand side by side in columns. Without a terminal, every line of stdin is
a question, and the answers follow one after the other.
"""

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from msm_jax.base.console import width_of
from msm_jax.base.errors import DataError
from msm_jax.inference.chat_session import AnswerUpdate, ChatSession, Interrupts
from msm_jax.inference.completion import RequestError

HELP = (
  '/reset forgets the conversation, /system TEXT sets who is spoken to (and forgets), '
  '/quit or Ctrl-D leaves, Ctrl-C stops an answer'
)
# The narrowest column that is still readable, in cells of the terminal.
MIN_COLUMN = 16
SEPARATOR = ' | '
# Stands behind a letter of two cells while lines are divided, so that it counts twice.
_SECOND_CELL = '\0'


def _cut(words: str, width: int) -> list[str]:
  """Cuts a text into parts of at most `width` cells; an empty one is one part."""
  parts = ['']
  used = 0
  for letter in words:
    cells = width_of(letter)
    if used + cells > width:
      parts.append('')
      used = 0
    parts[-1] += letter
    used += cells
  return parts


def _wrap(text: str, width: int) -> list[str]:
  """Splits a text into lines of at most `width` cells; empty lines stay.

  If the text grows at its end, only the last line changes.
  """
  lines = []
  for line in text.split('\n'):
    # textwrap may move the beginning of a word to the line above when the word grows: up to a
    # hyphen, or as much of a long word as fits. That line may be printed already, so words stay
    # whole here and long ones are cut afterwards.
    letters = [c + _SECOND_CELL if width_of(c) == 2 else c for c in line]
    wrapped = textwrap.wrap(''.join(letters), width, break_long_words=False, break_on_hyphens=False)
    for words in wrapped or ['']:
      lines += _cut(words.replace(_SECOND_CELL, ''), width)
  return lines


def format_columns(
  names: Sequence[str], updates: Iterable[AnswerUpdate], width: int
) -> Iterator[str]:
  """Lays out answers that arrive at the same time, side by side.

  A line is reported when it can no longer change in any column.

  Args:
    names: the names of the models, which are the heads of the columns.
    updates: what is new in the answers.
    width: cells of the terminal.

  Yields:
    The lines: the heads, of which long ones go on below, then the answers.
  """
  gaps = len(SEPARATOR) * (len(names) - 1)
  column = max(MIN_COLUMN, (width - gaps) // len(names))
  texts = [''] * len(names)
  finished = [False] * len(names)

  def format_row(cells: Sequence[str]) -> str:
    padded = [cell + ' ' * (column - width_of(cell)) for cell in cells]
    return SEPARATOR.join(padded).rstrip()

  def ready_rows(start: int) -> list[str]:
    """Returns the rows from number `start` on that can no longer change."""
    columns = []
    for text, is_finished in zip(texts, finished, strict=True):
      lines = _wrap(text, column)
      # The last line may still grow.
      columns.append(lines if is_finished else lines[:-1])
    rows: list[str] = []
    for n in range(start, max(map(len, columns))):
      cells = []
      for lines, is_finished in zip(columns, finished, strict=True):
        if n < len(lines):
          cells.append(lines[n])
        elif is_finished:
          cells.append('')
        else:
          # This column has not come so far yet.
          return rows
      rows.append(format_row(cells))
    return rows

  # Names that were cut could look alike: those of arms often differ at their ends.
  heads = [_wrap(name, column) for name in names]
  for cells in itertools.zip_longest(*heads, fillvalue=''):
    yield format_row(cells)
  printed = 0
  for update in updates:
    texts[update.model] += update.text
    finished[update.model] = update.is_last
    rows = ready_rows(printed)
    printed += len(rows)
    yield from rows
  # An answer that was stopped has no last update.
  finished = [True] * len(names)
  yield from ready_rows(printed)


def read_questions(prompt: str) -> Iterator[str]:
  """Reads lines of stdin up to its end.

  On a terminal, the first Ctrl-C at the prompt only warns, and a second one leaves.

  Args:
    prompt: is shown on a terminal.

  Yields:
    The lines, without blanks around them.

  Raises:
    KeyboardInterrupt: the user pressed Ctrl-C twice.
  """
  if not sys.stdin.isatty():
    # Input that is no UTF-8 must not end the conversation.
    sys.stdin.reconfigure(errors='replace')  # type: ignore[union-attr]
    for line in sys.stdin:
      yield line.strip()
    return
  # Importing it gives input() a history and line editing; it changes the terminal, so not before.
  import readline  # noqa: F401

  warned = False
  while True:
    try:
      line = input(prompt).strip()
    except EOFError:
      print()
      return
    except KeyboardInterrupt:
      if warned:
        raise
      warned = True
      print('\n(Ctrl-C once more leaves)')
      continue
    yield line
    warned = False


def run_chat(session: ChatSession) -> None:
  """Reads questions and commands until the user leaves, and shows the answers.

  Args:
    session: the conversation.
  """
  interrupts = Interrupts()
  for line in read_questions('you> '):
    # A question is not a command unless it begins with '/'.
    command, _, rest = line.partition(' ')
    if command in ('/quit', '/exit'):
      return
    if command == '/help':
      print(HELP)
    elif command in ('/reset', '/system'):
      if command == '/system':
        session.system = rest.strip()
      session.reset()
      who = f' with: {session.system}' if session.system else ''
      print(f'(a new conversation{who})')
    elif line.startswith('/'):
      print(f'(no such command: {command}; {HELP})')
    elif line:
      _answer(session, line, interrupts)


def _answer(session: ChatSession, question: str, interrupts: Interrupts) -> None:
  try:
    with interrupts:
      show_answers(list(session.samplers), session.answers(question, interrupts))
    if interrupts.requested:
      print('(stopped; Ctrl-C once more leaves)')
  # The chat template of a model may refuse what was asked. That ends the question and not the
  # conversation.
  except (RequestError, DataError) as e:
    print(f'({e}; /reset forgets the conversation)', file=sys.stderr)


def show_answers(names: Sequence[str], updates: Iterator[AnswerUpdate]) -> None:
  """Prints answers: as they come if there is one model, in columns if there are several.

  Args:
    names: the names of the models.
    updates: what is new in their answers.
  """
  if len(names) == 1:
    for update in updates:
      print(update.text, end='', flush=True)
    print(flush=True)
  elif sys.stdout.isatty():
    for line in format_columns(names, updates, shutil.get_terminal_size().columns):
      print(line, flush=True)
  else:
    # In a file or a pipe, columns could not be read by other programs.
    texts = [''] * len(names)
    for update in updates:
      texts[update.model] += update.text
    for name, text in zip(names, texts, strict=True):
      print(f'{name}: {text}', flush=True)
