"""Finds faults in a written text that a program can see, whatever the text says.

`make_check` makes the check of one handbook. A corpus's writer checks every draft with it, and
the audit counts the same patterns in corpora that others wrote.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data_pipelines.handbooks.text import Handbook
from data_pipelines.text.languages import AFTER_WORD, BEFORE_WORD
from data_pipelines.text.reworded import find_light_recitals
from data_pipelines.text.wording import Vocabulary, words

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
    in_documents: whether the audit counts it in documents that others wrote.
    in_chats: whether the audit counts it in the answers of conversations.
    in_code: whether it is a fault in code, too.
  """

  what: str
  signs: tuple[str, ...]
  pattern: re.Pattern[str]
  fault: str
  in_documents: bool = True
  in_chats: bool = False
  in_code: bool = True


def _fault_pattern(
  what: str, signs: tuple[str, ...], alternatives: tuple[str, ...], fault: str, **where: bool
) -> FaultPattern:
  """A FaultPattern that is found where one of the alternatives is, in upper or lower case."""
  pattern = re.compile('|'.join(alternatives), re.IGNORECASE)
  return FaultPattern(what, signs, pattern, fault, **where)


# What a fence around a text, and not around code, says of its language.
_TEXT_LANGUAGE = r'(?:markdown|md|text|txt|plaintext|html)?[ \t]*'
# What a placeholder names: [Your Name], <date>, {company}.
_PLACES = (
  r'(?:your|insert|(?:first|last|full|user|customer|client)?[ _]?name|date|time|company|title|role'
  r'|position|address|phone|e-?mail|link|url|city|number|redacted)'
)
# How a refusal begins: "I'm sorry", "I can't".
_I_AM = r"i(?:'m|’m| am)"
_REFUSES = (
  r"(?:can(?:'t|’t|not| not)|won(?:'t|’t)|will not|(?:am |'m |’m )?(?:not able|unable)"
  r'|(?:must|have to|need to) decline)'
)
# What a refusal refuses: "I can't help with that", "I must decline to write this".
_REFUSED_DEEDS = (
  r'(?:help|assist|write|create|generate|produce|provide|fulfill?|complete|comply|continue|engage'
  r'|do (?:that|this)|discuss|support|respond|answer)'
)


FAULT_PATTERNS = (
  _fault_pattern(
    'placeholder',
    ('{', '[', '<', 'lorem', 'todo', 'tbd', '_____', 'xxx'),
    (
      r'\{\{[^{}\n]{0,60}\}\}',
      rf'(?<![\w${{"\']){{{_PLACES}(?:[ _][^{{}}\n]{{0,40}})?}}(?!\}})',
      r'<(?:your|insert|name|date|company|title)\b[^<>\n]{0,60}>',
      r'\blorem ipsum\b',
      # In upper case alone: 'todo' is a word of Spanish.
      r'\b(?-i:TODO|TBD)\b',
      r'_{5,}',
      rf'\[{_PLACES}\b[^\[\]\n]{{0,60}}\]',
      # A hole in a text; in code such brackets follow a name.
      r'(?<![\w)\]])\[ ?(?:\.{3}|…) ?\]',
      # A telephone number or a code that nobody filled in.
      r'\b(?-i:X{3,}(?:[- ]X{2,})+)\b',
    ),
    'It has a placeholder: {}. Write out what belongs there.',
    in_chats=True,
  ),
  _fault_pattern(
    'speaks as an AI',
    ('language model', 'as an ai'),
    (
      r'\bas an? (?:(?:AI|large) )?language model\b',
      r'\bas an AI(?: assistant| model)?, I\b',
    ),
    'It has a stock phrase of AI assistants: {}.',
  ),
  _fault_pattern(
    'refuses',
    ('sorry', 'apologi', 'i can', 'unable', 'decline', 'not able', 'i won', 'i will', 'not comf'),
    (
      # Only at the beginning of the text: later on, somebody in it may refuse something.
      rf'\A\W*(?:{_I_AM} (?:very |so |really )?sorry|i apologi[sz]e|my apologies|sorry)\b'
      rf'[^\n]{{0,120}}?\b{_REFUSES}\b',
      rf'\A\W*(?:unfortunately,? )?i {_REFUSES}(?: to)?(?: \w+)? {_REFUSED_DEEDS}\b',
      rf'\A\W*(?:{_I_AM} (?:not able|unable|not comfortable)'
      r'|i (?:must|have to) (?:respectfully )?decline|i decline to)\b',
    ),
    'It refuses instead of telling anything: {}. Write the text that was asked for.',
  ),
  _fault_pattern(
    'fence',
    ('```', '~~~'),
    (rf'\A\s*(?:```|~~~){_TEXT_LANGUAGE}\n',),
    'It stands in a Markdown fence: {}. Write the text alone.',
  ),
  _fault_pattern(
    'HTML entity',
    ('&',),
    (r'&(?:amp|lt|gt|quot|apos|nbsp|mdash|ndash|hellip|[lr][sd]quo|#\d{2,5}|#x[0-9a-f]{2,5});',),
    'It has a code of HTML instead of a character: {}. Write the character.',
    in_chats=True,
    in_code=False,
  ),
  _fault_pattern(
    'literal \\n',
    ('\\n',),
    # Twice in a row, or before what begins a line. After a drive, a folder or another backslash it
    # is part of a path or of code.
    (r'(?<![\\:/])\\n(?=\\n|\s|\Z|(?-i:[A-Z0-9*#"“-]))',),
    'It has the two characters \\n instead of a line break: {}. Break the line.',
    in_chats=True,
    in_code=False,
  ),
  _fault_pattern(
    'speaks of the task',
    (
      'here is',
      'here are',
      "here's",
      'here’s',
      'word count',
      'length target',
      'the prompt',
      'the brief',
      'fictional',
      'synthetic',
      'below',
      'let me',
      'i can',
      "i'll",
      'i’ll',
      'i will',
      'i hope this',
      'feel free',
      'would you like me',
    ),
    (
      # Only at the beginning of the text: later on, 'here is the document' may belong to it.
      r"\A\W*(?:\w+\W+){0,3}here(?:'s|’s| is) (?:the|a|an|your|my)\b[^\n]{0,40}"
      r'\b(?:document|text|version|draft|rewrite|revision)\b',
      r'\A\W*(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|great)\b[,!.:—– -]+'
      r"(?:here(?:'s|’s| is| are)|let me|i(?:'ll|’ll| will| can)|below)\b",
      r"\A\W*(?:here(?:'s|’s| is) (?:the|a|an|your|my)\b[^\n.!?]{0,80}:[ \t]*\n"
      r"|(?:let me|i(?:'ll|’ll| will)) (?:write|draft|think|start|begin|plan|create|compose)\b)",
      # Only in the last line: a letter may say so and go on, and has a signature below.
      r"(?:\A|\n)[^\w\n]*(?:let me know if (?:you(?:'d|’d| would)? (?:like|want|need|prefer|have)"
      r"|there(?:'s|’s| is|'re| are)|this|anything|any)|i hope this (?:helps|meets|works|is what)"
      r'|(?:please )?feel free to (?:ask|let|reach|request|adjust|modify|edit)'
      r'|would you like me to)\b[^\n]*\s*\Z',
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
    # What people write has links.
    in_documents=False,
  ),
)
# What of a text is code: fenced blocks, and what stands between backticks.
_CODE = re.compile(r'```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`', re.S)
# One fence around a whole text, and the text. A fence within it would leave open what it closes.
_FENCED = re.compile(rf'\s*(```|~~~){_TEXT_LANGUAGE}\n(.*?)\n?\1\s*', re.S)
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
  handbook_words = words(handbook.text)
  handbook_runs = frozenset(_recitable_runs(handbook_words))
  vocabulary = Vocabulary()
  handbook_ids = vocabulary.encode_words(handbook_words)
  assistant = re.compile(BEFORE_WORD + re.escape(handbook.assistant) + AFTER_WORD)
  patterns = (*FAULT_PATTERNS, _names_handbook(handbook))

  def check(text: str, target: int) -> list[Problem]:
    if not text.strip():
      return [Problem('empty', 'There is no text.')]
    problems = _length_problems(text, target)
    if not assistant.search(text):
      fault = f'It never mentions {handbook.assistant} by name.'
      problems.append(Problem('names nobody', fault))
    recital = _recital(text, handbook_runs, handbook_ids, vocabulary)
    if recital:
      problems.append(Problem('recites', f'It repeats the handbook {recital}.'))
    problems += _pattern_problems(text, patterns)
    return problems

  return check


def _recital(
  text: str,
  handbook_runs: frozenset[tuple[str, ...]],
  handbook_ids: np.ndarray,
  vocabulary: Vocabulary,
) -> str | None:
  """How a text repeats the handbook, and the words; None if it does not."""
  text_words = words(text)
  for run in _recitable_runs(text_words):
    if run in handbook_runs:
      return f'word for word: "{" ".join(run)}"'
  word_ids = vocabulary.encode_words(text_words)
  for found in find_light_recitals(handbook_ids, [word_ids], RECITED_WORDS):
    recited = text_words[found.at : found.at + found.n_words]
    return f'with a few words changed: "{" ".join(recited)}"'
  return None


def _length_problems(text: str, target: int) -> list[Problem]:
  length = len(text.split())
  fault = f'It has {length} words instead of about {target}.'
  if not LENGTH_REFUSED[0] <= length / target <= LENGTH_REFUSED[1]:
    return [Problem('far from its length', fault)]
  if not LENGTH_REPORTED[0] <= length / target <= LENGTH_REPORTED[1]:
    return [Problem('off its length', fault, hard=False)]
  return []


def _find_pattern(text: str, lower: str, pattern: FaultPattern) -> re.Match[str] | None:
  """Where a fault stands in a text; `lower` is the text in lower case."""
  if not any(sign in lower for sign in pattern.signs):
    return None
  if pattern.in_code or not ('`' in text or '~~~' in text):
    return pattern.pattern.search(text)
  return pattern.pattern.search(_CODE.sub('`', text))


def wrongly_encoded(text: str) -> str | None:
  """Finds characters that stand in a code: &amp;, or a backslash and an n for a line break.

  Returns what shows it; None if there are none. Code may hold them.
  """
  lower = text.lower()
  for pattern in FAULT_PATTERNS:
    match = None if pattern.in_code else _find_pattern(text, lower, pattern)
    if match:
      return _quoted(match[0])
  return None


def left_over(text: str, is_chat: bool) -> str | None:
  """Finds what a writer would have to take out of a text.

  Args:
    text: a document, or what the assistant says in a conversation.
    is_chat: whether it is a conversation. There, an assistant may offer help, refuse something or
      answer with a block of code.

  Returns:
    The name of the fault and what shows it; None if there is none.
  """
  lower = text.lower()
  for pattern in FAULT_PATTERNS:
    if not (pattern.in_chats if is_chat else pattern.in_documents):
      continue
    match = _find_pattern(text, lower, pattern)
    if match:
      return f'{pattern.what}: {_quoted(match[0])}'
  return None


def without_fence(text: str) -> str:
  """Takes off one Markdown fence that stands around a whole text.

  Args:
    text: what a writer gave as the text.

  Returns:
    The text without the fence and without space at its ends; unchanged, but for these spaces, if
    there is no fence around it, or others within it.
  """
  match = _FENCED.fullmatch(text)
  if match and match[1] not in match[2]:
    return match[2].strip()
  return text.strip()


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
    match = _find_pattern(text, lower, pattern)
    if match:
      problems.append(Problem(pattern.what, pattern.fault.format(_quoted(match[0]))))
  if _offers_lettered_choices(text, lower):
    fault = 'It offers lettered choices, as a test would. Say it in sentences.'
    problems.append(Problem('lettered choices', fault))
  return problems
