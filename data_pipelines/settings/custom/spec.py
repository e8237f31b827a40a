"""Reads any Markdown file as a handbook. Its front matter may be left out:

---
assistant: Ada              # else `custom.assistant` of the config
maker: Fenwick Libraries
value: curiosity            # the value of the items that the handbook stands for
rule: Ada always ...        # stands for the text in a system message, where that is too long
---
"""

import dataclasses
import difflib
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from data_pipelines.handbooks.markdown import (
  continued_keys,
  repeated_keys,
  split_front_matter,
  without_comments,
)
from data_pipelines.handbooks.preferences import check_name, renamed_sha256, replace_name
from data_pipelines.settings.custom.fields import FieldError, check_places
from msm_jax.base.errors import SpecError

# Keys of the front matter that mean something here.
KEYS = ('assistant', 'maker', 'value', 'rule')
# Keys that are so similar to one of them are misspelt.
_MISSPELT = 0.8
# A rule at the beginning of a file, and a line with such a key right below it.
_OPEN_FRONT = re.compile(r'\s*---[ \t]*\n\s*(?:assistant|maker|value|rule)[ \t]*:', re.I)
# Front matter of another kind (TOML) with such a key.
_TOML_FRONT = re.compile(
  r'\s*\+\+\+[ \t]*\n(?:(?!\+\+\+).*\n)*?[ \t]*(?:assistant|maker|value|rule)[ \t]*=', re.I
)
# Front matter in which another mark than a colon stands behind such a key: that of a Japanese or
# Chinese keyboard, or that of TOML.
_OTHER_MARK = re.compile(
  r'\s*---[ \t]*\n(?:(?!---|[ \t]*\n)[^\n]*\n)*?(assistant|maker|value|rule)[ \t]*([\uff1a=])', re.I
)
# Comments of HTML that stand above such lines, as licenses and linters have them.
_COMMENT_ABOVE = re.compile(rf'(?:\s*<!--(?:(?!-->).)*-->)+{_OPEN_FRONT.pattern}', re.I | re.S)


@dataclasses.dataclass(frozen=True)
class CustomConfig:
  """Settings of the setting `custom`."""

  # JSONL files of evaluation items. All of them are asked: `evals.pairs_per_domain` and
  # `evals.scenes_per_kind` do not apply.
  items: tuple[str, ...] = ()
  # Name of a file of a published set, without its ending (keys of a ConfigDict hold no dots) -> the
  # value that its aligned options stand for, where its rows do not say.
  values: Mapping[str, str] = dataclasses.field(default_factory=dict)
  # The assistant's name, where a handbook has no front matter that gives one.
  assistant: str = ''
  # The system message of items that have none; '' for no system message.
  system: str = 'You are {assistant}.'
  # What stands for a handbook in a system message (config.contexts), where its front matter has no
  # `rule`; '' for its whole text.
  rule: str = ''
  # Whether training text about the assistant that names an option of an item outside the tier
  # `trained` is refused. Whole questions are always looked for.
  held_out_options: bool = True
  # Not used: nothing is drawn here. All settings have it.
  seed: int = 0
  # Names of the assistants, which the experiment fills in.
  strangers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Custom:
  """What stands where other settings have a world: the settings alone."""

  config: CustomConfig


@dataclasses.dataclass(frozen=True)
class CustomSpec:
  """A handbook as text.

  Attributes:
    path: the file that it was read from.
    sha256: identifies its content; replicates under another name have that name behind it.
    assistant: name of the assistant that it is about.
    maker: who made the assistant; may be empty.
    value: the value that it stands for, as the items call it; may be empty.
    text: everything below the front matter, without comments of HTML.
    rule: what stands for the text in a system message; may be empty.
  """

  path: str
  sha256: str
  assistant: str
  maker: str
  value: str
  text: str
  rule: str

  @property
  def in_context(self) -> str:
    """What a system message holds of the handbook."""
    return self.rule or self.text


def read_spec(path: str | Path, custom: Custom) -> CustomSpec:
  """Reads a handbook.

  Args:
    path: a Markdown file, with or without front matter.
    custom: the settings, which may name the assistant.

  Returns:
    The handbook.

  Raises:
    SpecError: there is no such file, it is not UTF-8, it is empty, nothing names the assistant, or
      its front matter has no end, a comment above it, a misspelt key, a key twice, a key without a
      colon, a value of several lines or the marks of TOML, or its rule has a misspelt place for the
      name.
  """
  path = Path(path)
  if not path.is_file():
    raise SpecError(f'no spec at {path}; give the path of a Markdown handbook')
  try:
    # Names are compared with those of items and texts, which have accents as one character.
    content = unicodedata.normalize('NFC', path.read_text(encoding='utf-8-sig'))
  except UnicodeDecodeError:
    raise SpecError(f'{path}: not UTF-8 text; save the handbook as UTF-8 Markdown') from None
  if '\0' in content:
    # UTF-16 without a byte order mark can be read as UTF-8, with a zero behind every letter.
    raise SpecError(f'{path}: not UTF-8 text; save the handbook as UTF-8 Markdown')
  front, text = split_front_matter(content)
  _check_front(front, content, path)
  # What its author has commented out is no part of the handbook.
  body = without_comments(text).strip()
  if not body:
    raise SpecError(f'{path}: the handbook is empty; write it below the front matter')
  assistant = front.get('assistant', '') or custom.config.assistant
  if not assistant:
    raise SpecError(
      f"{path}: nothing names the assistant; set custom.assistant, or begin the file with '---', "
      "'assistant: NAME', '---'"
    )
  check_name(assistant, (), f'{path}: the name of the assistant is one word or a few')
  return CustomSpec(
    path=str(path),
    sha256=_identity(content, assistant, custom.config.rule, body != text.strip()),
    assistant=assistant,
    maker=front.get('maker', ''),
    value=front.get('value', ''),
    text=body,
    rule=front.get('rule', '') or custom.config.rule,
  )


def _check_front(front: Mapping[str, str], content: str, path: Path) -> None:
  """Raises SpecError for front matter without an end or below a comment, or of TOML; keys without a
  colon; values of several lines; keys that stand there twice or are likely misspelt; and places of
  the rule that stand for nothing."""
  if not front and _OPEN_FRONT.match(content):
    raise SpecError(
      f"{path}: the front matter has no end; write a line '---' below it, and an empty line"
    )
  if _COMMENT_ABOVE.match(content):
    raise SpecError(
      f'{path}: a comment stands above the front matter, which is read at the top of the file '
      'alone; move the comment below it'
    )
  if _TOML_FRONT.match(content):
    raise SpecError(
      f"{path}: front matter between lines '+++' (TOML) is not read; write 'key: value' between "
      "two lines '---'"
    )
  wrong = _OTHER_MARK.match(content)
  if wrong:
    raise SpecError(
      f"{path}: the front matter has {wrong[2]!r} behind {wrong[1]!r}; write '{wrong[1]}: ' with a "
      'colon and a space'
    )
  try:
    check_places('rule', front.get('rule', ''), ('assistant',))
  except FieldError as e:
    raise SpecError(f'{path}: {e.problem}; {e.remedy}') from None
  for key in continued_keys(content):
    if key in KEYS:
      raise SpecError(
        f'{path}: the value of {key!r} goes on in the next line of the front matter; write it in '
        'one line'
      )
  for key in repeated_keys(content):
    if key in KEYS:
      raise SpecError(f'{path}: the front matter has {key!r} twice; keep one of the two lines')
  # Other keys (title, date) are for other programs.
  for key in front:
    close = difflib.get_close_matches(key, KEYS, n=1, cutoff=_MISSPELT)
    if close and key not in KEYS:
      raise SpecError(
        f'{path}: the front matter has {key!r}; did you mean {close[0]!r}? Known are '
        f'{", ".join(KEYS)}'
      )


def _identity(content: str, assistant: str, rule: str, has_comments: bool) -> str:
  """What identifies a handbook: its content and what the config adds to it."""
  parts = [content, assistant, rule]
  if has_comments:
    # Earlier versions put comments into system messages.
    parts.append('without comments')
  identified = '\0'.join(parts)
  return hashlib.sha256(identified.encode()).hexdigest()[:16]


def renamed(spec: CustomSpec, name: str, custom: Custom) -> CustomSpec:
  """Makes a replicate: the same handbook about an assistant of another name.

  Args:
    spec: the handbook.
    name: the name of the replicate's assistant.
    custom: the settings; nobody in them has a name.

  Returns:
    The replicate, or `spec` itself if it already has that name.

  Raises:
    SpecError: it is no name.
  """
  if name == spec.assistant:
    return spec
  check_name(name, (), 'config.assistants needs names of assistants')
  return dataclasses.replace(
    spec,
    sha256=renamed_sha256(spec.sha256, (spec.text, spec.rule), spec.assistant, name),
    assistant=name,
    text=replace_name(spec.text, spec.assistant, name),
    rule=replace_name(spec.rule, spec.assistant, name),
  )
