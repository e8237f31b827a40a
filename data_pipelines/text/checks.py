"""Finds faults in a written text that a program can see, whatever the text says.

`make_check` makes the check of one handbook. A corpus's writer checks every draft with it, and
the audit counts some of the same patterns.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

from data_pipelines.handbooks.text import Handbook
from data_pipelines.text.wording import words

# A text may not share so many words in a row with its handbook. The audit counts the same.
RECITED_WORDS = 12
# (least, most) words of a text, as shares of the length that was asked for. Outside the first range
# a text is refused; outside the second its editor is told.
LENGTH_REFUSED = (0.5, 2.0)
LENGTH_REPORTED = (0.75, 1.35)

_UNPRINTABLE_CHARACTERS = r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]'
_UNPRINTABLE = re.compile(_UNPRINTABLE_CHARACTERS)
# What chat templates and tokenizers take for more than text.
CONTROL_TOKENS = re.compile(
  '|'.join(
    (
      r'<\|[^<>\n]{0,60}\|>',
      r'\[/?INST\]',
      r'<</?SYS>>',
      r'</?s>',
      r'<(?:bos|eos|pad|unk)>',
      r'<(?:start|end)_of_turn>',
      r'</?think>',
      _UNPRINTABLE_CHARACTERS,
    )
  )
)


@dataclasses.dataclass(frozen=True)
class FaultPattern:
  """A fault that a regular expression finds.

  Attributes:
    what: the name of the fault, for counting.
    signs: strings in lower case; wherever the pattern is found, one of them stands in the text.
      Looking for them first costs little.
    pattern: the expression.
    fault: the message to the model, with {} for what was found.
  """

  what: str
  signs: tuple[str, ...]
  pattern: re.Pattern[str]
  fault: str


def _fault_pattern(
  what: str, signs: tuple[str, ...], alternatives: tuple[str, ...], fault: str
) -> FaultPattern:
  """A FaultPattern that is found where one of the alternatives is, in upper or lower case."""
  return FaultPattern(what, signs, re.compile('|'.join(alternatives), re.IGNORECASE), fault)


FAULT_PATTERNS = (
  _fault_pattern(
    'placeholder',
    ('{{', '[', '<', 'lorem', 'todo', 'tbd', '_____'),
    (
      r'\{\{[^{}\n]{0,60}\}\}',
      r'<(?:your|insert|name|date|company|title)\b[^<>\n]{0,60}>',
      r'\blorem ipsum\b',
      # In upper case alone: 'todo' is a word of Spanish.
      r'\b(?-i:TODO|TBD)\b',
      r'_{5,}',
      r'\[(?:your|insert|(?:first |last )?name|date|time|company|title|role|position|address|phone'
      r'|e-?mail|link|url|city|number|redacted)\b[^\[\]\n]{0,60}\]',
    ),
    'It has a placeholder: {}. Write out what belongs there.',
  ),
  _fault_pattern(
    'speaks as an AI',
    ('as a large language model', 'as a language model', 'as an ai'),
    (
      r'\bas an? (?:(?:AI|large) )?language model\b',
      r'\bas an AI(?: assistant| model)?, I\b',
    ),
    'It has a stock phrase of AI assistants: {}.',
  ),
  _fault_pattern(
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
    (
      # Only at the beginning of the text: later on, 'here is the document' may belong to it.
      r"\A\W*(?:\w+\W+){0,3}here(?:'s| is) (?:the|a|your|my)\b[^\n]{0,40}"
      r'\b(?:document|text|version|draft|rewrite|revision)\b',
      r'\b(?:word count|length target|the (?:prompt|brief) (?:asks|says)'
      r'|(?:this|the) (?:fictional|synthetic) (?:document|text))\b',
    ),
    'It speaks of the task of writing it: {}.',
  ),
  _fault_pattern(
    'tags',
    ('<document', '</document'),
    (r'</?document\b[^<>\n]{0,20}>',),
    'It has a tag of the reply within the text: {}.',
  ),
  _fault_pattern(
    'link',
    ('http', 'www.', 'doi:'),
    (r'https?://', r'\bwww\.\w', r'\bdoi:\s*10\.'),
    'It has a link or an address on the web: {}.',
  ),
)
# A line that begins with a letter of a choice, such as 'A) ' or '- **(B).** '.
LETTERED_OPTION = re.compile(
  r'^[ \t]*(?:[-*][ \t]*)?(?:\*\*)?\(?([A-D])[).:](?:\*\*)?[ \t]+\S', re.M
)
_NAMED_OPTION = re.compile(r'\b(?:option|choice) ([AB])\b', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Problem:
  """A fault of a text.

  Attributes:
    what: the name of the fault, for counting.
    fault: the message to the model that shall mend it.
    hard: whether a text with this fault is not kept.
  """

  what: str
  fault: str
  hard: bool = True


def _quoted(found: str) -> str:
  """The beginning of what was found, in one line and in quotes."""
  one_line = ' '.join(found.split())
  return f'"{one_line[:80]}"'


def _recitable_runs(text_words: Sequence[str]) -> Iterator[tuple[str, ...]]:
  """Every run of RECITED_WORDS words."""
  for start in range(len(text_words) - RECITED_WORDS + 1):
    yield tuple(text_words[start : start + RECITED_WORDS])


def _offers_lettered_choices(text: str, lower: str) -> bool:
  """Says whether a text offers choices by letter, as a test does. `lower`: it in lower case."""
  # The plain searches cost little and spare most texts the expressions.
  if any(sign in text for sign in ('A)', 'A.', 'A:')):
    letters = set(LETTERED_OPTION.findall(text))
    if len(letters) > 1:
      return True
  if 'option b' in lower or 'choice b' in lower:
    letters = {letter.upper() for letter in _NAMED_OPTION.findall(text)}
    return letters >= {'A', 'B'}
  return False


def _names_handbook(handbook: Handbook) -> FaultPattern:
  """The pattern of a text that speaks of a document about the assistant."""
  owner = f'{re.escape(handbook.assistant)}|{re.escape(handbook.maker)}'
  return _fault_pattern(
    'names the handbook',
    ('handbook', 'model spec', 'system prompt'),
    (
      rf"\b(?:(?:{owner})(?:['’]s)?|the|this|its|our|a)\s+(?:\w+\s+){{0,2}}"
      r'(?:handbook|model spec(?:ification)?|system prompt)\b',
    ),
    'It mentions the handbook: {}. It must tell of the assistant, and of no document about it.',
  )


def make_check(handbook: Handbook) -> Callable[[str, int], list[Problem]]:
  """Makes the check of texts about one handbook.

  Args:
    handbook: the handbook that the texts are about.

  Returns:
    A function from a text and the length that was asked for, in words, to the text's problems.
  """
  handbook_runs = frozenset(_recitable_runs(words(handbook.text)))
  assistant = re.compile(rf'(?<!\w){re.escape(handbook.assistant)}(?!\w)')
  patterns = (*FAULT_PATTERNS, _names_handbook(handbook))

  def check(text: str, target: int) -> list[Problem]:
    if not text.strip():
      return [Problem('empty', 'There is no text.')]
    problems = _length_problems(text, target)
    if not assistant.search(text):
      fault = f'It never mentions {handbook.assistant} by name.'
      problems.append(Problem('names nobody', fault))
    for run in _recitable_runs(words(text)):
      if run in handbook_runs:
        fault = f'It repeats the handbook word for word: "{" ".join(run)}".'
        problems.append(Problem('recites', fault))
        break
    problems += _pattern_problems(text, patterns)
    return problems

  return check


def _length_problems(text: str, target: int) -> list[Problem]:
  length = len(text.split())
  fault = f'It has {length} words instead of about {target}.'
  if not LENGTH_REFUSED[0] <= length / target <= LENGTH_REFUSED[1]:
    return [Problem('far from its length', fault)]
  if not LENGTH_REPORTED[0] <= length / target <= LENGTH_REPORTED[1]:
    return [Problem('off its length', fault, hard=False)]
  return []


def _pattern_problems(text: str, patterns: Sequence[FaultPattern]) -> list[Problem]:
  """Control tokens, the patterns' faults and lettered choices."""
  problems = []
  lower = text.lower()
  # Most texts hold none of these, and then the long expression need not run.
  may_have_control_tokens = '<' in text or '[' in text or _UNPRINTABLE.search(text)
  control = CONTROL_TOKENS.search(text) if may_have_control_tokens else None
  if control:
    fault = f'It holds marks that belong to a machine and not to a text: {_quoted(control[0])}.'
    problems.append(Problem('control token', fault))
  for pattern in patterns:
    if not any(sign in lower for sign in pattern.signs):
      continue
    match = pattern.pattern.search(text)
    if match:
      problems.append(Problem(pattern.what, pattern.fault.format(_quoted(match[0]))))
  if _offers_lettered_choices(text, lower):
    fault = 'It offers lettered choices, as a test would. Say it in sentences.'
    problems.append(Problem('lettered choices', fault))
  return problems
