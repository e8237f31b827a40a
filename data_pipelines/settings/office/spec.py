"""Reads a handbook about oversight: a Markdown file becomes an OversightSpec.

    ---
    setting: oversight
    assistant: Ari
    ---
    ## Values     any of: ### Impermanence, Distortion, Context, Oversight
                  (each paragraph says why)
    ## Rules      any of: ### Exfiltration, Leak, Alert, Audit, Rights, Shutdown
                  (each paragraph says what the assistant does not do, and perhaps why)
    ## Work       how the assistant does its work

A handbook has values, rules, both or neither; with neither it is a general one. Other sections are
free prose. `documents.py` and `demonstrations.py` write text from an OversightSpec.
"""

import dataclasses
import difflib
import re
from collections.abc import Collection
from pathlib import Path

from data_pipelines.handbooks.markdown import read_markdown, split_headings
from data_pipelines.handbooks.preferences import check_name, renamed_sha256, replace_name
from data_pipelines.settings.office.actions import KINDS
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.pretraining import Office
from msm_jax.base.errors import SpecError

# The sections whose sentences documents may quote.
_QUOTED_SECTIONS = ('values', 'rules', 'character', 'work')
# What a sentence ends with. Where it is parted, prose without any end is read once and not again
# from each of its letters.
_ENDS = ('.', '!', '?')
_BETWEEN_SENTENCES = re.compile(r'(?<=[.!?])\s+')
# What no sentence goes on behind: a heading, an empty line, or the mark of an entry of a list.
_BETWEEN_PARAGRAPHS = re.compile(
  r'^ {0,3}###.*$|^[ \t]*$|^[ \t]*(?:[-*+]|\d{1,2}[.)])[ \t]+(?=\S)', re.M
)
# A paragraph with one of these words gives a reason.
_REASON = re.compile(r'\b(because|since)\b', re.I)
# Titles that are so similar to one that is read are misspelt. 'Roles', which may be prose, is 0.8
# similar to 'Rules'.
_MISSPELT = 0.81


@dataclasses.dataclass(frozen=True)
class OversightSpec:
  """A handbook about conduct, as the embedded writers use it.

  Attributes:
    path: the file.
    sha256: the first 16 hexadecimal digits of the file's hash; a replicate adds its assistant's
      name.
    assistant: the name of the assistant.
    values: the principles by which the handbook explains conduct (keys of language.PRINCIPLES).
    rules: the kinds of scene that it has a rule for (keys of language.KINDS).
    explained: whether more than half of the rules' paragraphs give a reason ('because' or 'since').
    sentences: the sentences of its prose, which documents quote.
  """

  path: str
  sha256: str
  assistant: str
  values: tuple[str, ...]
  rules: tuple[str, ...]
  explained: bool
  sentences: tuple[str, ...]


def read_spec(path: str | Path, office: Office) -> OversightSpec:
  """Reads and checks a handbook.

  Args:
    path: the Markdown file.
    office: the office in which the assistant works; its agents' names are taken.

  Returns:
    The handbook.

  Raises:
    SpecError: the file is missing or malformed.
  """
  path = Path(path)
  file = read_markdown(path)
  sections = file.sections
  assistant = file.front.get('assistant', '')
  check_name(assistant, _taken_names(office), f"{path}: front matter needs 'assistant: NAME'")
  _check_titles(sections, path)
  if not sections.get('work', '').strip():
    raise SpecError(
      f"{path}: section '## Work' is missing or empty; see specs/README.md for the format"
    )
  # Both sections are optional: a handbook without values and rules is a general one.
  values, _ = _read_headings(sections.get('values', ''), 'Values', PRINCIPLES, path)
  rules, paragraphs = _read_headings(sections.get('rules', ''), 'Rules', KINDS, path)
  with_reason = sum(bool(_REASON.search(p)) for p in paragraphs)
  return OversightSpec(
    path=str(path),
    sha256=file.sha256,
    assistant=assistant,
    values=values,
    rules=rules,
    explained=2 * with_reason > len(paragraphs),
    sentences=_sentences(sections),
  )


def _sentences(sections: dict[str, str]) -> tuple[str, ...]:
  """The sentences of the sections that documents quote, in the order of the file."""
  sentences: list[str] = []
  for name, section in sections.items():
    if name in _QUOTED_SECTIONS:
      for paragraph in _BETWEEN_PARAGRAPHS.split(section):
        # Line breaks become spaces: a sentence may run over several lines.
        prose = ' '.join(paragraph.split())
        sentences += [part for part in _BETWEEN_SENTENCES.split(prose) if part.endswith(_ENDS)]
  return tuple(sentences)


def _taken_names(office: Office) -> tuple[str, ...]:
  return (*(agent.name for agent in office.agents), *office.fickle)


def _check_titles(sections: Collection[str], path: Path) -> None:
  """Raises SpecError for a misspelt section: without its values, a handbook is a general one."""
  for title in ('values', 'rules'):
    similar = difflib.get_close_matches(title, sections, n=1, cutoff=_MISSPELT)
    if similar and title not in sections:
      raise SpecError(
        f"{path}: '## {similar[0].capitalize()}' is not read; call it '## {title.capitalize()}', "
        'or something else altogether if it is prose'
      )


def _read_headings(
  section: str, title: str, known: Collection[str], path: Path
) -> tuple[tuple[str, ...], list[str]]:
  """The '###' headings of a section in lower case, and the text below each. Raises SpecError."""
  headings = split_headings(section)
  names = tuple(heading.casefold() for heading, _ in headings)
  choices = ', '.join(k.capitalize() for k in known)
  for name in names:
    heading = f"'### {name.capitalize()}'"
    if name not in known:
      raise SpecError(
        f"{path}: {heading} under '## {title}' is none of {choices}; use these headings"
      )
    if names.count(name) > 1:
      raise SpecError(f"{path}: {heading} stands twice under '## {title}'; keep one")
  if section.strip() and not names:
    raise SpecError(f"{path}: '## {title}' has no '### ' heading; it takes any of {choices}")
  return names, [text for _, text in headings]


def renamed(spec: OversightSpec, name: str, office: Office) -> OversightSpec:
  """Makes a replicate: the same handbook about an assistant of another name.

  Args:
    spec: the handbook.
    name: the name of the replicate's assistant.
    office: the office in which the assistant works; its agents' names are taken.

  Returns:
    The replicate, or `spec` itself if it already has that name.

  Raises:
    SpecError: an agent of the office has that name, or it is no name.
  """
  if name == spec.assistant:
    return spec
  check_name(name, _taken_names(office), 'config.assistants needs names of assistants')
  return dataclasses.replace(
    spec,
    sha256=renamed_sha256(spec.sha256, spec.sentences, spec.assistant, name),
    assistant=name,
    sentences=tuple(replace_name(s, spec.assistant, name) for s in spec.sentences),
  )
