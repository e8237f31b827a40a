"""Handbooks as the writers of a corpus see them: their text, and whom they are about.

A language model that writes documents or demonstrations is shown the whole handbook, so any
Markdown file will do whose front matter names the assistant and its maker (specs/README.md):

    ---
    assistant: Ari
    maker: Norvale
    ---
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.handbooks.markdown import read_markdown, without_comments
from data_pipelines.handbooks.preferences import check_name
from data_pipelines.text.languages import language_of
from msm_jax.base.errors import SpecError

# A file name without its ending; corpora are named after it, so it must do as the name of a folder.
STEM = re.compile(r'\w[\w.-]*')
# What prompts say of a handbook that is in another language than they are.
_IN_ITS_LANGUAGE = (
  'The handbook is not in English. Everything that people will read is written in the language of '
  'the handbook. Tags, field names and fixed words stay as the task names them.'
)


@dataclasses.dataclass(frozen=True)
class Handbook:
  """A handbook as text.

  Attributes:
    path: the file that it was read from.
    stem: the file's name without its ending; the corpus made from it has the same name.
    sha256: identifies its content.
    assistant: name of the assistant that it is about.
    maker: name of the organisation that made the assistant.
    text: everything below the front matter.
    content: the whole text of the file, as it was read. A run takes hours, and somebody may edit
      the file meanwhile.
  """

  path: str
  stem: str
  sha256: str
  assistant: str
  maker: str
  text: str
  content: str


def read_handbook(path: str | Path) -> Handbook:
  """Reads a handbook as text.

  Args:
    path: a Markdown file.

  Returns:
    The handbook.

  Raises:
    SpecError: if the file cannot be read, names no assistant or maker, has no text, or has a name
      that no corpus can have.
  """
  path = Path(path)
  file = read_markdown(path)
  assistant = file.front.get('assistant', '')
  maker = file.front.get('maker', '')
  check_name(assistant, (), f"{path}: front matter needs 'assistant: NAME'")
  check_name(maker, (assistant,), f"{path}: front matter needs 'maker: NAME'")
  if not STEM.fullmatch(path.stem):
    raise SpecError(
      f'{path}: its corpus would be named {path.stem!r}; '
      'rename the file to letters, digits, dots and dashes'
    )
  # What its author has commented out is no part of the handbook.
  text = without_comments(file.body).strip()
  if not text:
    raise SpecError(f'{path}: nothing stands below its front matter; write the handbook there')
  return Handbook(str(path), path.stem, file.sha256, assistant, maker, text, content=file.content)


def read_handbooks(paths: Sequence[str]) -> tuple[Handbook, ...]:
  """Reads one handbook, or several mirrored ones.

  Args:
    paths: Markdown files. Mirrored handbooks have one assistant and one maker, and differ in their
      reasons.

  Returns:
    The handbooks, in the order of the paths.

  Raises:
    SpecError: if one cannot be read, if they name different assistants or makers, or if two have
      the same stem.
  """
  handbooks = tuple(read_handbook(path) for path in paths)
  first = handbooks[0]
  for other in handbooks[1:]:
    if (other.assistant, other.maker) != (first.assistant, first.maker):
      raise SpecError(
        f'{first.path} and {other.path} are about different assistants or makers; '
        'mirrored handbooks differ in their reasons alone'
      )
  if len({h.stem for h in handbooks}) < len(handbooks):
    raise SpecError(
      f'two handbooks are called {first.stem}; rename one, since corpora are called after them'
    )
  return handbooks


def fenced(text: str) -> str:
  """Puts a text between code fences that are longer than any run of backticks in it, so that it
  cannot close them."""
  longest = max((len(run) for run in re.findall(r'`+', text)), default=0)
  fence = '`' * max(3, longest + 1)
  return f'{fence}\n{text.strip()}\n{fence}'


def in_prompt(handbook: Handbook) -> str:
  """One handbook as prompts show it.

  Prompts are in English. Without the remark below, a model would write English texts about a
  handbook in another language.

  Args:
    handbook: the handbook.

  Returns:
    Its text between fences, and the remark if it is in another language than English.
  """
  text = fenced(handbook.text)
  if language_of(handbook.text) in ('', 'English'):
    return text
  return f'{text}\n\n{_IN_ITS_LANGUAGE}'


def shown(handbooks: Sequence[Handbook]) -> str:
  """Puts one or several handbooks into one text, as prompts show them.

  Args:
    handbooks: the handbooks.

  Returns:
    The text. Each handbook stands between fences; several are lettered A, B, ...
  """
  if len(handbooks) == 1:
    return f'The handbook of {handbooks[0].assistant}:\n\n{in_prompt(handbooks[0])}'
  shown_texts = []
  for n, handbook in enumerate(handbooks):
    letter = chr(ord('A') + n)
    shown_texts.append(f'Handbook {letter} of {handbook.assistant}:\n\n{in_prompt(handbook)}')
  return '\n\n'.join(shown_texts)
