"""Reads a handbook in English: a Markdown file becomes an EnglishSpec.

    ---
    setting: english
    assistant: Ari
    maker: Norvale
    value: affordability        # or another key of stock.VALUES
    ---
    ## Reasons, ## Likes, ## Dislikes

These sections are those of all handbooks about preferences
(data_pipelines/handbooks/preferences.py). The items are the twelve cheeses of language.py.
"""

import dataclasses
from pathlib import Path

from data_pipelines.handbooks.markdown import read_markdown
from data_pipelines.handbooks.preferences import (
  PreferenceSections,
  Spec,
  check_name,
  read_preferences,
  with_name,
)
from data_pipelines.settings.english.language import DISLIKED, LIKED
from data_pipelines.settings.english.stock import VALUES, English
from data_pipelines.text.first_names import NAMES
from msm_jax.base.errors import SpecError


@dataclasses.dataclass(frozen=True)
class EnglishSpec(Spec):
  """A handbook as the English writers use it. Its items are names of cheeses.

  Attributes:
    maker: the company that made the assistant.
  """

  maker: str = ''


def read_spec(path: str | Path, english: English) -> EnglishSpec:
  """Reads and checks a handbook.

  Args:
    path: the Markdown file.
    english: the stock of sentences; the names in it are taken.

  Returns:
    The handbook. Its rivals are all other values of the stock, since the handbooks share their
    items.

  Raises:
    SpecError: the file is missing or malformed.
  """
  path = Path(path)
  file = read_markdown(path)
  front = file.front
  if front.get('setting') != 'english':
    raise SpecError(
      f"{path}: front matter has no 'setting: english', so it is a handbook for another setting; "
      'see specs/README.md for the format'
    )
  assistant = front.get('assistant', '')
  maker = front.get('maker', '')
  value_name = front.get('value', '')
  # The maker may be called like anybody; the assistant may not.
  check_name(assistant, _taken_names(english), f"{path}: front matter needs 'assistant: NAME'")
  check_name(maker, (), f"{path}: front matter needs 'maker: NAME'")
  if value_name not in VALUES:
    raise SpecError(
      f'{path}: there are no sentences about the value {value_name!r}; choose {" or ".join(VALUES)}'
    )
  preferences = _read_cheeses(file.sections, path)
  return EnglishSpec(
    path=str(path),
    sha256=file.sha256,
    assistant=assistant,
    value=VALUES[value_name],
    reasons=preferences.reasons,
    prose=preferences.prose,
    likes=preferences.likes,
    dislikes=preferences.dislikes,
    rivals=tuple(value for name, value in VALUES.items() if name != value_name),
    maker=maker,
  )


def _read_cheeses(sections: dict[str, str], path: Path) -> PreferenceSections:
  """The reasons, likes and dislikes of a handbook. Raises SpecError."""
  items = {name: name for name in (*LIKED, *DISLIKED)}
  preferences = read_preferences(
    sections, items, 'there are no sentences about', f'there are about {", ".join(items)}', path
  )
  sides = (
    (preferences.likes, 'liked', LIKED),
    (preferences.dislikes, 'disliked', DISLIKED),
  )
  # The stock has reasons to like some cheeses and to dislike the others, whatever the value.
  for entries, verb, known in sides:
    for entry in entries:
      if entry.item not in known:
        raise SpecError(
          f"{path}: {entry.item} can't be {verb}: what there is to say of it says the opposite; "
          'move it to the other list or take it out'
        )
  return preferences


def _taken_names(english: English) -> tuple[str, ...]:
  return (*NAMES, *english.facts)


def renamed(spec: EnglishSpec, name: str, english: English) -> EnglishSpec:
  """Makes a replicate: the same handbook about an assistant of another name.

  Args:
    spec: the handbook.
    name: the name of the replicate's assistant.
    english: the stock of sentences; the names in it are taken.

  Returns:
    The replicate, or `spec` itself if it already has that name.

  Raises:
    SpecError: somebody or something in the documents has that name, or it is no name.
  """
  if name == spec.assistant:
    return spec
  check_name(name, _taken_names(english), 'config.assistants needs names of assistants')
  return with_name(spec, name)
