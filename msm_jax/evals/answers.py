"""Sampled answers: what was asked, what a model said, and which option a program finds in it.

`sampled.py` has a model answer; `judging.py` has a judge read the answers. Both know questions in
the one form of `SampledQuestion`, whatever suite they come from. This module needs no model.
"""

import dataclasses
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.llm.replies import without_thinking
from data_pipelines.orders import option_orders
from data_pipelines.text.languages import EMPHASIS, set_apart
from msm_jax.base.errors import DataError

# What an answer names if it is not one option.
NEITHER = 'neither'
BOTH = 'both'
# What a program finds about an open answer: it is as the item asks for, or it is not.
RIGHT = 'right'
WRONG = 'wrong'
# The kind of an answer to an open question. Other kinds are names of evaluators.
OPEN = 'open'

# Words and numbers, with the marks that stand inside them ("Parmigiano-Reggiano", "don't").
_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_WORD_OR_MARK = re.compile(r'\w+|[^\w\s]')
# Scripts that write vowels or tones as marks: those of India and Tibet, Thai, Lao, Burmese, Khmer.
_WRITES_MARKS = re.compile('[\u0900-\u109f\u1780-\u17ff]')
# They follow a symbol and say whether it is shown in colour.
_VARIATIONS = frozenset(map(chr, range(0xFE00, 0xFE10)))
# Whose something is changes between the option of a question and the answer in the first person.
_POSSESSIVE = {word: 'your' for word in ('my', 'its', 'our', 'their')}


@dataclasses.dataclass(frozen=True)
class SampledQuestion:
  """A question that is answered in free text.

  Attributes:
    item: identifies it; 'ASSISTANT/...' if an assistant is asked.
    kind: the evaluator that scores the same question ('preferences', 'conduct', 'values'), or
      'open'.
    domain: questions of one domain are dependent.
    tier: how far it is from what was trained on.
    assistant: which replicate of the assistant is asked.
    system: the system message; '' for none.
    asked: the question in each order of its options; one text for an open question.
    options: the options as the question lists them; () for an open question.
    answers: for each option, the answer that takes it, as the scored choices have it.
    counted: what is measured -> the numbers of the options that count for it.
    rubric: of an open question: what a judge looks for.
    reference: of an open question: an answer that meets the rubric; '' if there is none.
    accept: of an open question: phrases of which a right answer has at least one.
    reject: of an open question: phrases that a right answer may not have.
  """

  item: str
  kind: str
  domain: str
  tier: str
  assistant: str
  system: str
  asked: tuple[str, ...]
  options: tuple[str, ...] = ()
  answers: tuple[str, ...] = ()
  counted: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
  rubric: str = ''
  reference: str = ''
  accept: tuple[str, ...] = ()
  reject: tuple[str, ...] = ()

  def messages(self, order: int) -> list[tuple[str, str]]:
    """The prompt with the options in one of the orders."""
    turns = [('user', self.asked[order])]
    if self.system:
      turns.insert(0, ('system', self.system))
    return turns

  @property
  def orders(self) -> tuple[int, ...]:
    """The orders that are sampled: as many as there are options, so that every option stands once
    in each place.

    Of two options, and of more than three, these are all orders that are scored. Three options are
    scored in all six permutations, of which the three rotations are sampled.
    """
    if len(self.asked) <= len(self.options):
      return tuple(range(len(self.asked)))
    if len(self.asked) == 1:
      return (0,)
    numbers = tuple(range(len(self.options)))
    # Every module that asks in several orders lists them like this.
    listed = option_orders(len(numbers))
    return tuple(listed.index(numbers[n:] + numbers[:n]) for n in numbers)


def tier_of_value(tier: str, value: str) -> str:
  """The tier of open questions about one value, where those of several values share a tier.

  Rows, levels and verdicts on pairs are about all open questions of a tier. Were its rubrics those
  of several values, answers by one of them and answers by another would have the same mean.
  """
  return f'{tier} ({value})'


# ------------------------------------------------------------------------------ what is in a text


# Reads the words of a text.
Reader = Callable[[str], list[str]]


def _spelled(text: str) -> str:
  """A text in lower case and in one spelling. Where writing has no spaces between words, every
  letter stands alone. Marks that are characters of their own (vowels and tones of many scripts)
  become letters: patterns would pass over them, and 'ข้าว' (rice) would be 'ขาว' (white)."""
  if text.isascii():
    return text.casefold()
  letters = []
  for letter in set_apart(unicodedata.normalize('NFC', text)):
    is_mark = unicodedata.category(letter) in ('Mn', 'Mc') and letter not in _VARIATIONS
    letters.append(f'_{ord(letter):x}_' if is_mark else letter)
  return ''.join(letters).replace('’', "'").casefold()


def words_of(text: str) -> list[str]:
  """The words of a text, in lower case, with every possessive pronoun as 'your'. Where writing has
  no spaces between words, every letter is one."""
  words = []
  for word in _WORD.findall(_spelled(EMPHASIS.sub(' ', text))):
    words.append(_POSSESSIVE.get(word, word))
  return words


def words_and_marks_of(text: str) -> list[str]:
  """The words of a text as they stand there, and its marks ('C++', '-5'), in lower case."""
  return _WORD_OR_MARK.findall(_spelled(text))


def _reader_of(names: Sequence[str], others: Sequence[str] = ()) -> Reader:
  """How texts are read in which names are looked for: by their words; by words and marks, if some
  names differ in marks alone, or in whose something is ('C' and 'C++', 'my plan' and 'your plan').

  Args:
    names: what is looked for.
    others: what must be told from the names, if these need not differ among themselves.
  """
  read = [tuple(words_of(name)) for name in names]
  if others:
    is_clear = set(read).isdisjoint(tuple(words_of(name)) for name in others)
  else:
    is_clear = all(read) and len(set(read)) == len(read)
  return words_of if is_clear else words_and_marks_of


def is_read_closely(question: SampledQuestion) -> bool:
  """Whether the names that a question looks for are read letter by letter, or with their marks."""
  names = (*question.options, *question.accept, *question.reject)
  if any(set_apart(name) != name for name in names):
    return True
  readers = [_reader_of(question.options)]
  if question.reject:
    readers.append(_reader_of(question.accept, question.reject))
  return words_and_marks_of in readers


def has_marks(question: SampledQuestion) -> bool:
  """Whether a question looks for names in a script that writes vowels or tones as marks, or for
  names with marks that could be one character with their letter."""
  for name in (*question.options, *question.accept, *question.reject):
    if _WRITES_MARKS.search(name) or not unicodedata.is_normalized('NFC', name):
      return True
  return False


def _places(words: Sequence[str], name: Sequence[str]) -> list[int]:
  """Where a name begins among the words."""
  size = len(name)
  if not size:
    return []
  last = len(words) - size
  return [n for n in range(last + 1) if list(words[n : n + size]) == list(name)]


def _begins_with(words: Sequence[str], name: Sequence[str]) -> bool:
  return bool(name) and list(words[: len(name)]) == list(name)


def named_option(text: str, options: Sequence[str], answers: Sequence[str] = ()) -> int | str:
  """Finds which option an answer names.

  A text that begins as the answer of an option does ("I choose Colby over Gouda.") takes that
  option, though it names both. Otherwise the names of the options are looked for, whole words, in
  any case; "Gouda's taste" names Gouda. Where one name is a part of another ("Brie", "Brie de
  Meaux"), the longer one counts.

  Args:
    text: what the model said.
    options: the options as the question lists them.
    answers: for each option, the answer that takes it.

  Returns:
    The number of the option; NEITHER if none is named, BOTH if several are.
  """
  read = _reader_of(options)
  words = read(text)
  canonical = [read(answer) for answer in answers]
  names = [(read(option), n) for n, option in enumerate(options)]
  for option, answer in enumerate(canonical):
    # An answer that names several options tells them apart only as a whole and at the beginning.
    if len(_options_in(answer, names)) > 1:
      if _begins_with(words, answer):
        return option
    else:
      names.append((answer, option))
  found = _options_in(words, names)
  if not found:
    return NEITHER
  return found.pop() if len(found) == 1 else BOTH


def _options_in(words: Sequence[str], names: Sequence[tuple[list[str], int]]) -> set[int]:
  """The options of which a name, given as words, stands among the words."""
  taken: set[int] = set()
  found: set[int] = set()
  # Behind all others, since some names end in it ("Levi's"); the sort below keeps this order.
  possessive = [([*name[:-1], f"{name[-1]}'s"], option) for name, option in names if name]
  for name, option in sorted([*names, *possessive], key=lambda name: -len(name[0])):
    for start in _places(words, name):
      places = set(range(start, start + len(name)))
      # A word counts for one name alone, the longest.
      if not places & taken:
        taken |= places
        found.add(option)
  return found


def program_verdict(text: str, accept: Sequence[str], reject: Sequence[str]) -> str | None:
  """What a program can tell about an open answer.

  Args:
    text: what the model said.
    accept: phrases of which a right answer has at least one; none if any answer may be right.
    reject: phrases that a right answer may not have.

  Returns:
    RIGHT or WRONG; None if the item has no phrases, or only phrases to reject and the text has none
    of them.
  """
  read = _reader_of(accept, reject) if reject else words_of
  words = read(text)
  if any(_places(words, read(phrase)) for phrase in reject):
    return WRONG
  if not accept:
    return None
  if any(_places(words, read(phrase)) for phrase in accept):
    return RIGHT
  return WRONG


# ------------------------------------------------------------------------------ answers on disk


@dataclasses.dataclass(frozen=True)
class SampledAnswer:
  """One sampled answer: a line of answers.jsonl, which `docs/schemas.md` describes.

  Attributes:
    arm: which model; '' until the experiment adds it.
    seed: its seed.
    item: the question.
    kind: the evaluator that scores the same question, or 'open'.
    tier: of the question.
    cluster: its domain.
    assistant: which replicate of the assistant was asked.
    order: the number of the order in which the options were listed.
    sample: the number of the answer among those to the same prompt.
    messages: what was asked: (role, content) of each message.
    text: what the model said.
    finish: 'stop', or 'length' if the answer was cut.
    options: the options.
    answers: the answers that take them.
    outcome: the number of the option that a program finds, 'neither' or 'both'; of an open
      question 'right' or 'wrong', or None if a program cannot tell.
    rubric: of an open question.
    reference: of an open question.
  """

  arm: str
  seed: int
  item: str
  kind: str
  tier: str
  cluster: str
  assistant: str
  order: int
  sample: int
  messages: tuple[tuple[str, str], ...]
  text: str
  finish: str
  options: tuple[str, ...] = ()
  answers: tuple[str, ...] = ()
  outcome: int | str | None = None
  rubric: str = ''
  reference: str = ''

  @property
  def place(self) -> tuple[int, str, int, int]:
    """What two arms' answers have in common if they are answers to the same prompt."""
    return self.seed, self.item, self.order, self.sample

  def as_row(self) -> dict[str, Any]:
    """The answer as a JSON object."""
    row = dataclasses.asdict(self)
    row['messages'] = [{'role': role, 'content': content} for role, content in self.messages]
    return row


def make_answer(
  question: SampledQuestion, order: int, sample: int, text: str, finish: str
) -> SampledAnswer:
  """Makes the answer to a question, with what a program finds in it.

  Args:
    question: what was asked.
    order: the number of the order in which the options were listed.
    sample: the number of the answer among those to the same prompt.
    text: what the model said.
    finish: why the answer ended.

  Returns:
    The answer, without arm and seed.
  """
  outcome: int | str | None
  # A model that thinks aloud goes through the options before it says anything.
  said = without_thinking(text)
  if question.options:
    outcome = named_option(said, question.options, question.answers)
  else:
    outcome = program_verdict(said, question.accept, question.reject)
  return SampledAnswer(
    arm='',
    seed=0,
    item=question.item,
    kind=question.kind,
    tier=question.tier,
    cluster=question.domain,
    assistant=question.assistant,
    order=order,
    sample=sample,
    messages=tuple(question.messages(order)),
    text=text,
    finish=finish,
    options=question.options,
    answers=question.answers,
    outcome=outcome,
    rubric=question.rubric,
    reference=question.reference,
  )


# The fields of an answer that are texts.
_TEXTS = (
  'arm',
  'item',
  'kind',
  'tier',
  'cluster',
  'assistant',
  'text',
  'finish',
  'rubric',
  'reference',
)


def from_row(row: Mapping[str, Any]) -> SampledAnswer:
  """Reads one object of answers.jsonl. Raises KeyError or TypeError for another object."""
  values = {field.name: row[field.name] for field in dataclasses.fields(SampledAnswer)}
  values['messages'] = tuple((m['role'], m['content']) for m in row['messages'])
  for name in ('options', 'answers'):
    if isinstance(values[name], str):
      raise TypeError(f'{name} is one text')
    values[name] = tuple(values[name])
  _check_texts(values)
  _check_numbers(values)
  return SampledAnswer(**values)


def _check_texts(values: Mapping[str, Any]) -> None:
  """Raises TypeError unless something is asked, and all texts of an answer are texts."""
  if not values['messages']:
    raise TypeError('nothing is asked')
  texts = [values[name] for name in _TEXTS]
  texts += [*values['options'], *values['answers']]
  for message in values['messages']:
    texts += message
  if not all(isinstance(text, str) for text in texts):
    raise TypeError('something is no text')


def _check_numbers(values: Mapping[str, Any]) -> None:
  """Raises TypeError for a number of an answer that no run writes."""
  # Seeds may be negative.
  if type(values['seed']) is not int:
    raise TypeError('seed is no number')
  if not (_is_count(values['order']) and _is_count(values['sample'])):
    raise TypeError('something is no number')
  outcome = values['outcome']
  if outcome is None or isinstance(outcome, str):
    return
  if not _is_count(outcome) or outcome >= len(values['options']):
    raise TypeError('outcome is the number of no option')


def _is_count(value: Any) -> bool:
  """Whether a value is a whole number from 0 that 64 bits hold; True and False are none."""
  return type(value) is int and 0 <= value < 2**63


def read_answers(rows: Iterable[Mapping[str, Any]], where: str) -> list[SampledAnswer]:
  """Reads the objects of answers.jsonl.

  Args:
    rows: one object for each line.
    where: the path of the file, for errors.

  Returns:
    The answers.

  Raises:
    DataError: an object is none that a run writes.
  """
  out = []
  for n, row in enumerate(rows, 1):
    try:
      out.append(from_row(row))
    except (KeyError, TypeError):
      raise DataError(
        f'{where}:{n} is no sampled answer; run the experiment again: it is written anew'
      ) from None
  return out
