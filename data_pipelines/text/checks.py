"""What a program can see in a written text: faults that spoil it, whatever it says."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from data_pipelines.handbooks.text import Handbook
from data_pipelines.text.wording import words

RECITED = (
  12  # words in a row that a text may not share with its handbook; the audit counts the same
)
# Beyond the first pair a text is refused, beyond the second its editor is told.
FAR, OFF = (0.5, 2.0), (0.75, 1.35)

# What chat templates and tokenizers take for more than text.
CONTROL = re.compile(
  r'<\|[^<>\n]{0,60}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|</?think>|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]'
)
_UNPRINTABLE = re.compile(r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]')


@dataclasses.dataclass(frozen=True)
class _Pattern:
  """`signs`: of which one, in lower case, stands wherever the pattern is found; to look for them costs little."""

  what: str
  signs: tuple[str, ...]
  pattern: re.Pattern
  fault: str


def _pattern(what: str, signs: tuple[str, ...], pattern: str, fault: str) -> _Pattern:
  return _Pattern(what, signs, re.compile(pattern, re.I), fault)


PATTERNS = (
  _pattern(
    'placeholder',
    ('{{', '[', '<', 'lorem', 'todo', 'tbd', '_____'),
    r'\{\{[^{}\n]{0,60}\}\}|<(?:your|insert|name|date|company|title)\b[^<>\n]{0,60}>|\blorem ipsum\b|\b(?-i:TODO|TBD)\b|_{5,}'
    r'|\[(?:your|insert|(?:first |last )?name|date|time|company|title|role|position|address|phone|e-?mail|link|url|city|number|redacted)\b'
    r'[^\[\]\n]{0,60}\]',
    'It has a placeholder: {}. Write out what belongs there.',
  ),
  _pattern(
    'speaks as an AI',
    ('as a large language model', 'as a language model', 'as an ai'),
    r'\bas an? (?:(?:AI|large) )?language model\b|\bas an AI(?: assistant| model)?, I\b',
    'It has a stock phrase of AI assistants: {}.',
  ),
  _pattern(
    'speaks of the task',
    (
      'here is',
      "here's",
      'word count',
      'length target',
      'the prompt',
      'the brief',
      'fictional',
      'synthetic',
    ),
    r"\A\W*(?:\w+\W+){0,3}here(?:'s| is) (?:the|a|your|my)\b[^\n]{0,40}\b(?:document|text|version|draft|rewrite|revision)\b"
    r'|\b(?:word count|length target|the (?:prompt|brief) (?:asks|says)|(?:this|the) (?:fictional|synthetic) (?:document|text))\b',
    'It speaks of the task of writing it: {}.',
  ),
  _pattern(
    'tags',
    ('<document', '</document'),
    r'</?document\b[^<>\n]{0,20}>',
    'It has a tag of the reply within the text: {}.',
  ),
  _pattern(
    'link',
    ('http', 'www.', 'doi:'),
    r'https?://|\bwww\.\w|\bdoi:\s*10\.',
    'It has a link or an address on the web: {}.',
  ),
)
LETTERED = re.compile(r'^[ \t]*(?:[-*][ \t]*)?(?:\*\*)?\(?([A-D])[).:](?:\*\*)?[ \t]+\S', re.M)
_OPTION = re.compile(r'\b(?:option|choice) ([AB])\b', re.I)


@dataclasses.dataclass(frozen=True)
class Problem:
  """`what`: for counting; `fault`: for the model that shall mend it. A text with a hard one is not kept."""

  what: str
  fault: str
  hard: bool = True


def _quoted(found: str) -> str:
  return '"' + ' '.join(found.split())[:80] + '"'


def _runs(found: Sequence[str]) -> Iterator[tuple[str, ...]]:
  """Every RECITED words in a row."""
  return zip(*(found[n:] for n in range(RECITED)), strict=False)


def make_check(handbook: Handbook) -> Callable[[str, int], list[Problem]]:
  """(text, target in words) -> its problems."""
  source = frozenset(_runs(words(handbook.text)))
  assistant, maker = re.escape(handbook.assistant), re.escape(handbook.maker)
  named = re.compile(rf'(?<!\w){assistant}(?!\w)')
  names_handbook = _pattern(
    'names the handbook',
    ('handbook', 'model spec', 'system prompt'),
    rf"\b(?:(?:{assistant}|{maker})(?:['’]s)?|the|this|its|our|a)\s+(?:\w+\s+){{0,2}}(?:handbook|model spec(?:ification)?|system prompt)\b",
    'It mentions the handbook: {}. It must tell of the assistant, and of no document about it.',
  )

  def check(text: str, target: int) -> list[Problem]:
    if not text.strip():
      return [Problem('empty', 'There is no text.')]
    found = []

    def add(what: str, fault: str, hard: bool = True) -> None:
      found.append(Problem(what, fault, hard))

    long, text_words, lower = len(text.split()), words(text), text.lower()
    if not FAR[0] <= long / target <= FAR[1]:
      add('far from its length', f'It has {long} words instead of about {target}.')
    elif not OFF[0] <= long / target <= OFF[1]:
      add('off its length', f'It has {long} words instead of about {target}.', hard=False)
    if not named.search(text):
      add('names nobody', f'It never mentions {handbook.assistant} by name.')
    if not source.isdisjoint(_runs(text_words)):
      run = next(r for r in _runs(text_words) if r in source)
      add('recites', f'It repeats the handbook word for word: "{" ".join(run)}".')
    if ('<' in text or '[' in text or _UNPRINTABLE.search(text)) and (m := CONTROL.search(text)):
      add(
        'control token',
        f'It holds marks that belong to a machine and not to a text: {_quoted(m[0])}.',
      )
    for p in (*PATTERNS, names_handbook):
      if any(sign in lower for sign in p.signs) and (m := p.pattern.search(text)):
        add(p.what, p.fault.format(_quoted(m[0])))
    lettered = (
      any(sign in text for sign in ('A)', 'A.', 'A:')) and len(set(LETTERED.findall(text))) > 1
    )
    if lettered or (
      ('option b' in lower or 'choice b' in lower)
      and {o.upper() for o in _OPTION.findall(text)} >= {'A', 'B'}
    ):
      add('lettered choices', 'It offers lettered choices, as a test would. Say it in sentences.')
    return found

  return check
