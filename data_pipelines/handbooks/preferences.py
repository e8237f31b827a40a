"""What a handbook about preferences says: reasons, likes and dislikes.

    ## Reasons        bullets, one sentence each
    ## Likes          ### Item, then a paragraph that explains it by the value
    ## Dislikes       the same

Other sections (Purpose, Value, When asked, ...) are free prose. The settings `world` and `english`
read these sections, and so does the writer of demonstrations about preferences
(`demonstrations/slots.py`). Which items exist and which value fits them is known to the caller
alone.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from data_pipelines.handbooks.markdown import split_at, split_headings
from data_pipelines.handbooks.values import Value
from data_pipelines.text.languages import (
  AFTER_NAME,
  AFTER_WORD,
  BEFORE_NAME,
  BEFORE_WORD,
  COMBINING_MARKS,
)
from msm_jax.base.errors import SpecError

# The mark of a bullet, and that of an entry with a number, which no continued line begins with.
_BULLET = re.compile(r'[ \t]*[-*+][ \t]+(?=\S)')
_NUMBER = re.compile(r'\d{1,9}[.)][ \t]+(?=\S)')
# A line across the page, which may look like a bullet: '* * *'.
_RULE = re.compile(r' {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$')
_QUOTE = re.compile(r' {0,3}(?:>[ \t]?)+')
# The marks of a list within an entry: of its first line, and of any.
_FIRST_ENTRY = re.compile(r'[ \t]*1[.)][ \t]+(?=\S)')
_ENTRY = re.compile(r'[ \t]*\d{1,2}[.)][ \t]+(?=\S)')
_HEADING = re.compile(r' {0,3}#{1,6}[ \t]')
# A line that another one below it makes a heading, as Markdown has it, too.
_UNDERLINED = re.compile(
  r'^ {0,3}(?![-*+>#=|]|\d{1,9}[.)][ \t])(\S.*)\n {0,3}(?:-{2,}|={2,})[ \t]*$', re.M
)
# Between two paragraphs. Spaces in it, which nobody sees, change nothing.
_EMPTY_LINE = re.compile(r'\n[ \t]*\n')
# Letters of any script, at both ends. Marks such as vowel signs belong to the letter before them.
_NAME = re.compile(rf"[^\W\d_](?:[^\W\d_]|[' {COMBINING_MARKS}-]){{0,30}}(?<![' -])")
_PREFERENCE_SECTIONS = ('reasons', 'likes', 'dislikes')


@dataclasses.dataclass(frozen=True)
class Preference:
  """One thing that the assistant likes or dislikes.

  Attributes:
    item: an Item of the embedded world, or the name of a real thing.
    explanation: the paragraph that explains the preference by the value, in one line.
  """

  item: Any
  explanation: str


@dataclasses.dataclass(frozen=True)
class Spec:
  """A handbook about preferences, as the writers of text use it.

  Attributes:
    path: the file that it was read from.
    sha256: identifies its content; replicates under another name have that name behind it.
    assistant: name of the assistant that the handbook is about.
    value: what the assistant chooses by.
    reasons: the bullets under Reasons.
    prose: the paragraphs of all other sections.
    likes: what the assistant likes, and why.
    dislikes: what it dislikes, and why.
    rivals: the other values that every liked item has and no disliked item has. Fine-tuning on
      these items alone leaves open which of them decides.
  """

  path: str
  sha256: str
  assistant: str
  value: Value
  reasons: tuple[str, ...]
  prose: tuple[str, ...]
  likes: tuple[Preference, ...]
  dislikes: tuple[Preference, ...]
  rivals: tuple[Value, ...]


SpecT = TypeVar('SpecT', bound=Spec)


@dataclasses.dataclass(frozen=True)
class PreferenceSections:
  """The sections of a handbook about preferences.

  Attributes:
    reasons: the bullets under Reasons, each on one line.
    likes: the entries under Likes.
    dislikes: the entries under Dislikes.
    prose: the paragraphs of all other sections, each on one line.
  """

  reasons: tuple[str, ...]
  likes: tuple[Preference, ...]
  dislikes: tuple[Preference, ...]
  prose: tuple[str, ...]


def read_preferences(
  sections: Mapping[str, str],
  items: Mapping[str, Any],
  unknown_item: str,
  where_items_are_listed: str,
  path: Path,
) -> PreferenceSections:
  """Reads the sections Reasons, Likes and Dislikes, and the prose of all others.

  Args:
    sections: title in lower case -> text (`MarkdownFile.sections`).
    items: name -> item, for everything that may be liked or disliked.
    unknown_item: begins the error about an item that is not among `items`, such as 'the embedded
      world has no item'.
    where_items_are_listed: ends that error if no known item has a similar name.
    path: the file; errors name it.

  Returns:
    What the sections say.

  Raises:
    SpecError: if one of the three sections is missing or empty, or if an entry is unknown,
      unexplained, given twice, or followed by a heading that is underlined.
  """
  for name in _PREFERENCE_SECTIONS:
    if not sections.get(name, '').strip():
      raise SpecError(
        f"{path}: section '## {name.capitalize()}' is missing or empty; "
        'see specs/README.md for the format'
      )
  reasons = tuple(_on_one_line(bullet) for bullet in _bullets(sections['reasons'], path))
  if not reasons:
    raise SpecError(
      f"{path}: '## Reasons' holds no bullets; write one reason a line, each beginning with '- '"
    )

  def entries(title: str) -> tuple[Preference, ...]:
    text = sections[title.lower()]
    return _read_entries(text, title, items, unknown_item, where_items_are_listed, path)

  return PreferenceSections(reasons, entries('Likes'), entries('Dislikes'), _prose(sections))


def with_name(spec: SpecT, name: str) -> SpecT:
  """Makes the same handbook about an assistant of another name: a replicate.

  It does not check whether somebody has that name already; see `check_name`.

  Args:
    spec: a handbook.
    name: the other name.

  Returns:
    The handbook with the name replaced in all of its text, and with a hash of its own.
  """

  def renamed_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(replace_name(text, spec.assistant, name) for text in texts)

  def renamed_preferences(preferences: tuple[Preference, ...]) -> tuple[Preference, ...]:
    renamed = []
    for preference in preferences:
      explanation = replace_name(preference.explanation, spec.assistant, name)
      renamed.append(Preference(preference.item, explanation))
    return tuple(renamed)

  explanations = (preference.explanation for preference in (*spec.likes, *spec.dislikes))
  texts = (*spec.reasons, *spec.prose, *explanations)
  return dataclasses.replace(
    spec,
    # Other text, so another identity: corpora of the two must not be taken for one.
    sha256=renamed_sha256(spec.sha256, texts, spec.assistant, name),
    assistant=name,
    reasons=renamed_texts(spec.reasons),
    prose=renamed_texts(spec.prose),
    likes=renamed_preferences(spec.likes),
    dislikes=renamed_preferences(spec.dislikes),
  )


def replace_name(text: str, old: str, new: str) -> str:
  """Replaces a name in a text wherever it stands as a whole word, emphasised ('_Ari_') or not."""
  return re.sub(f'{BEFORE_NAME}{re.escape(old)}{AFTER_NAME}', new, text)


def renamed_sha256(sha256: str, texts: Iterable[str], old: str, new: str) -> str:
  """Makes the identity of a handbook in which a name is replaced.

  Args:
    sha256: the identity of the handbook.
    texts: its texts.
    old: the name in them.
    new: the name in its place.

  Returns:
    The identity with the new name behind it, and with a mark if earlier versions left the old name
    in some text: they did not find it in emphasis.
  """
  before = re.compile(BEFORE_WORD + re.escape(old) + AFTER_WORD)
  is_other_text = any(before.sub(new, text) != replace_name(text, old, new) for text in texts)
  return f'{sha256}-{new}-emphasis' if is_other_text else f'{sha256}-{new}'


def check_name(name: str, taken: Iterable[str], where: str) -> None:
  """Checks that a name can be an assistant's (or a maker's).

  Args:
    name: the name.
    taken: names that somebody or something has already, in any case.
    where: begins the error: where the name stands and what is expected there.

  Raises:
    SpecError: if it is no name (letters, up to 31), or if it is taken.
  """
  if not _NAME.fullmatch(name):
    raise SpecError(f'{where} (letters, up to 31), found {name!r}')
  if name.casefold() in {other.casefold() for other in taken}:
    raise SpecError(
      f'{where}, and the world already has somebody or something named {name!r}; '
      'choose another name for the assistant'
    )


def check_shared(specs: Sequence[Spec]) -> None:
  """Checks that the same demonstrations can serve all handbooks.

  Args:
    specs: handbooks, each under one name or several (replicates have the same path).

  Raises:
    SpecError: if they do not agree on the names of the assistant, the likes and the dislikes.
  """
  names_by_path: dict[str, set[str]] = {}
  for spec in specs:
    names_by_path.setdefault(spec.path, set()).add(spec.assistant)

  def shared_part(spec: Spec) -> tuple[set[str], set[Any], set[Any]]:
    likes = {p.item for p in spec.likes}
    dislikes = {p.item for p in spec.dislikes}
    return names_by_path[spec.path], likes, dislikes

  # Replicates of one handbook have different names, so names are compared by handbook.
  first = specs[0]
  for other in specs[1:]:
    if shared_part(other) != shared_part(first):
      raise SpecError(
        f'{first.path} and {other.path} differ in assistant, likes or dislikes; '
        'the same demonstrations cannot serve both'
      )


def _bullets(section: str, path: Path) -> list[str]:
  """The bullets of a section, those within others too, with the lines that continue each.

  A paragraph goes on in the next line, indented or not. Below an empty line, indented lines go on.
  Raises SpecError for entries with numbers beside bullets: they would be lost.
  """
  bullets: list[list[str]] = []
  numbered = ''
  is_open = False
  for line in section.splitlines():
    mark = None if _RULE.match(line) else _BULLET.match(line)
    if mark:
      bullets.append([line[mark.end() :]])
      is_open = True
    elif not line.strip() or _HEADING.match(line) or _RULE.match(line):
      is_open = False
    elif _NUMBER.match(line):
      numbered = line
    elif bullets and (is_open or line.startswith(('  ', '\t'))):
      bullets[-1].append(line)
      is_open = True
  if bullets and numbered:
    raise SpecError(
      f"{path}: '## Reasons' has bullets and the entry {numbered[:40]!r}; begin every reason with "
      "'- '"
    )
  return ['\n'.join(lines) for lines in bullets]


def _read_entries(
  section: str,
  title: str,
  items: Mapping[str, Any],
  unknown_item: str,
  where_items_are_listed: str,
  path: Path,
) -> tuple[Preference, ...]:
  """Reads the '### Item' entries of one section; the arguments are those of `read_preferences`."""
  for line, _ in split_at(_UNDERLINED, section):
    raise SpecError(
      f'{path}: {line[1][:40]!r} is made a heading by the line below it, and would be read as text '
      f"of the entry above it; write it with '## ' in front, or leave an empty line below it"
    )
  known = {name.casefold(): item for name, item in items.items()}
  entries: list[Preference] = []
  for name, text in split_headings(section):
    # Authors may write names in any case and with any spaces.
    item = known.get(_on_one_line(name).casefold())
    if item is None:
      # The name is most likely misspelt, so the error proposes the closest one.
      similar = difflib.get_close_matches(name, items, n=1, cutoff=0.5)
      remedy = where_items_are_listed
      if similar:
        remedy = f'did you mean {similar[0]!r}?'
      raise SpecError(f'{path}: {unknown_item} {name!r}; {remedy}')
    explanation = _on_one_line(_without_marks(text))
    if not explanation:
      raise SpecError(
        f"{path}: '### {name}' has no paragraph that explains it by the value; write one"
      )
    if any(entry.item == item for entry in entries):
      raise SpecError(f"{path}: {name} stands twice under '## {title}'; keep one")
    entries.append(Preference(item, explanation))
  if len(entries) < 2:
    raise SpecError(
      f"{path}: '## {title}' needs at least two '### Item' paragraphs, found {len(entries)}"
    )
  return tuple(entries)


def _without_marks(text: str) -> str:
  """The text of an entry without headings, rules, and the marks of lists and quotes: documents
  quote it in one line, where these would stand within sentences."""
  lines = []
  for line in text.splitlines():
    if not (_HEADING.match(line) or _RULE.match(line)):
      quoted = _QUOTE.match(line)
      lines.append(line[quoted.end() :] if quoted else line)
  # A number with a full stop may also end a sentence. A list begins with 1.
  has_numbers = any(_FIRST_ENTRY.match(line) for line in lines)
  plain = []
  for line in lines:
    mark = _BULLET.match(line) or (has_numbers and _ENTRY.match(line))
    plain.append(line[mark.end() :] if mark else line)
  return '\n'.join(plain)


def _prose(sections: Mapping[str, str]) -> tuple[str, ...]:
  """Returns the paragraphs of all sections that do not hold preferences, each on one line."""
  paragraphs = []
  for name, text in sections.items():
    if name in _PREFERENCE_SECTIONS:
      continue
    for paragraph in _EMPTY_LINE.split(text):
      if paragraph.strip():
        paragraphs.append(_on_one_line(paragraph))
  return tuple(paragraphs)


def _on_one_line(text: str) -> str:
  """Makes every run of spaces and line breaks one space."""
  return ' '.join(text.split())
