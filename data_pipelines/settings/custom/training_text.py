"""Whether training text holds what the items ask.

An experiment refuses text that speaks of its assistant and names a held-out option or holds a whole
question (`held_out_texts`). The command `python -m data_pipelines.items --train=FILE` looks closer:
it also finds runs of words that an item and a text share, whoever the text speaks of.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from data_pipelines import leaks
from data_pipelines.records import TRAINED, Record
from data_pipelines.settings.custom.items import Fault
from data_pipelines.settings.custom.published import CORRECT
from data_pipelines.settings.custom.schema import PLACES, ChoiceItem, ClaimItem, Item
from data_pipelines.text.languages import set_apart
from data_pipelines.text.wording import FUNCTION_WORDS, words

# A run of so many words that an item and a text share is no coincidence; shorter texts are looked
# for as a whole, down to the second number.
_LONG_RUN, _SHORTEST = 8, 6
# Where no spaces part words, a 'word' is a clause of at least as many letters as the first number,
# which words of Korean do not reach. There, runs are of letters; so many as the second number count
# as one word.
_LETTERS_OF_CLAUSE, _LETTERS_OF_WORD = 4, 2
# Words of options that are forms of answers and name nothing.
_ANSWERS = frozenset(
  """
  yes no true false both neither none not agree disagree maybe depends sure unsure certain know
  always never sometimes other strongly somewhat slightly fully partly
  """.split()
)
# The same in other languages, as whole options.
_OTHER_ANSWERS = frozenset(
  (
    'ja|nein|nie|niemals|immer|manchmal|vielleicht|weder noch|stimme zu|stimme nicht zu|weiß nicht'
    "|oui|non|jamais|toujours|parfois|peut-être|d'accord|pas d'accord|sí|nunca|siempre|quizás"
    '|tal vez|de acuerdo|en desacuerdo|sim|não|sempre|talvez|concordo|discordo|sì|forse|mai'
    '|nee|nooit|altijd|misschien|nej|aldrig|alltid|altid|kanske|måske|tak|nigdy|zawsze|nie wiem'
    '|ano|ne|da|nu|evet|hayır|kyllä|ei|igen|nem|ya|tidak|có|không|да|нет|никогда|всегда'
    '|はい|いいえ|是|否|不是|同意|不同意|不知道|예|네|아니요'
  ).split('|')
)
# Those that are no other word, and may begin a longer answer.
_YES_OR_NO = frozenset('ja nein oui non sí não sì nee nej evet hayır да нет'.split())
# 'Yes, if it is cheap': what follows is no thing.
_ANSWER_FIRST = re.compile(r'\W*(\w+)[,.:;!]')
# Other braces are text: formulas are full of them.
_PLACE = re.compile(r'\{(?:' + '|'.join(('assistant', 'options', *PLACES)) + r')\}')
# What stands around a question or an option and may be written in another way.
_AROUND = ' ,.:;?!\n-"\'¿¡，。、：；？！「」『』《》〈〉“”„‘’‚«»‹›'
# Where a question ends and its lettered options begin: 'Choices:', '(A)'. A text may hold the
# question alone.
_FIRST_LETTER = re.compile(
  r'(?:\n[ \t]*(?:(?:answer|your) )?(?:choices|options):\s*)?\n[ \t]*\(?A[).:][ \t]*\Z', re.I
)


def held_out_texts(items: Sequence[Item], with_options: bool = True) -> list[str]:
  """Lists what no training text may tell an assistant about.

  Args:
    items: the items; those of the tier `trained` are left out.
    with_options: whether options count, beside whole questions.

  Returns:
    Questions of at least six words that are not asked of several sets of options, as a template is;
    options that name something. None of them stands in a trained item. Marks around them are left
    out: a text may end its sentence in another way.
  """
  shown: set[str] = set()
  # Question -> the sets of options that it is asked of.
  asked: dict[str, set[tuple[str, ...]]] = defaultdict(set)
  options: set[str] = set()
  for item in items:
    if item.tier == TRAINED:
      # With the part of a question that is looked for: the same question is asked of other options.
      for text in (*item.texts, *_questions_of(item)):
        shown.add(text.strip(_AROUND).casefold())
      continue
    # Only a choice can have a template for a question; a situation is told for itself.
    of_options = tuple(sorted(item.texts[1:])) if isinstance(item, ChoiceItem) else ()
    for question in _questions_of(item):
      asked[question].add(of_options)
    if isinstance(item, ChoiceItem) and item.values != (CORRECT,):
      for option in item.options:
        if _names_something(option.text):
          options.add(option.text.strip(_AROUND))
  # A question without options is no further template of one that has some.
  held_out = {question for question, sets in asked.items() if len(sets - {()}) <= 1}
  if with_options:
    held_out |= options
  return sorted(text for text in held_out if text.casefold() not in shown)


def _questions_of(item: Item) -> list[str]:
  """The longest part without a place of the question or the situation, if it is long enough."""
  # A claim is what the documents are meant to say.
  if isinstance(item, ClaimItem):
    return []
  parts = [_FIRST_LETTER.sub('', part) for part in _PLACE.split(item.texts[0])]
  longest = max(parts, key=len).strip(_AROUND)
  return [longest] if _size(longest) >= _SHORTEST else []


def _names_something(option: str) -> bool:
  """Whether an option is a thing or a statement: two words, or a name."""
  found = words(option)
  if _PLACE.search(option) or not found:
    return False
  if option.strip(_AROUND).replace('’', "'").lower() in _OTHER_ANSWERS:
    return False
  first = _ANSWER_FIRST.match(option)
  if first and first[1].lower() in _ANSWERS | _YES_OR_NO:
    return False
  # 'I agree' and 'not sure' say nothing else. 'No Country for Old Men' does.
  if not _ANSWERS.isdisjoint(found) and set(found) <= _ANSWERS | FUNCTION_WORDS:
    return False
  is_name = option[:1].isupper() and len(option) > 3 and option.isalpha()
  return _size(option) > 1 or is_name


def _size(text: str) -> int:
  """How many words a text has; about two letters count as one where no spaces part words."""
  return (len(words(text)) + len(words(set_apart(text)))) // 2


def check_training(
  items: Sequence[Item], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]
) -> list[Fault]:
  """Finds items that stand in training text.

  Args:
    items: the items.
    corpora: name of a file -> its records.
    assistants: names of the assistants.

  Returns:
    One finding for each item and file. Of claims, the paraphrase alone counts.
  """
  runs = _runs_of(items)
  held_out = held_out_texts(items)
  where_of = _where_held_out(items, held_out)
  found: list[Fault] = []
  for name, records in corpora.items():
    seen: set[str] = set()
    kept: list[Record] = []
    for record in records:
      kept.append(record)
      text = unicodedata.normalize('NFC', leaks.record_text(record))
      for item, run in _shared_runs(text, runs):
        if item.id not in seen:
          seen.add(item.id)
          found.append(_shares(item, name, record, run))
    # The check that an experiment makes, so that the command says what a run would refuse.
    for line in leaks.find_leaks(held_out, {name: kept}, assistants):
      where = _where_of_leak(line, where_of) or name
      found.append(Fault(where, line, 'take it out of the corpus, or ask something else'))
  return found


def _shares(item: Item, corpus: str, record: Record, run: str) -> Fault:
  return Fault(
    item.where,
    f'{corpus}: record {record.id} has the words "{run}" of the item',
    'take them out of the training text, or ask something else',
  )


def _plain(text: str) -> str:
  return ' '.join(words(unicodedata.normalize('NFC', text)))


def _where_of_leak(line: str, where_of: Mapping[str, str]) -> str:
  """Where the item stands that a line of `find_leaks` is about; '' if that is not known."""
  said = line.removesuffix(', which the evaluation asks about').split(' about ')
  # The id of the record and the text that it tells may hold the word, too.
  for n in range(1, len(said)):
    where = where_of.get(_plain(' about '.join(said[n:])))
    if where:
      return where
  return ''


def _where_held_out(items: Sequence[Item], held_out: Collection[str]) -> dict[str, str]:
  """Text that is held out -> where its item stands."""
  held_out = set(held_out)
  out: dict[str, str] = {}
  for item in items:
    if item.tier == TRAINED:
      continue
    for text in (*item.texts, *_questions_of(item)):
      if text.strip(_AROUND) in held_out:
        out.setdefault(_plain(text), item.where)
  return out


# (whether runs are of letters, how many) -> runs -> the item that has them.
_Runs = Mapping[tuple[bool, int], Mapping[tuple[str, ...], Item]]


def _runs_of(items: Sequence[Item]) -> _Runs:
  """The runs of words of items, or of letters where no spaces part words."""
  out: dict[tuple[bool, int], dict[tuple[str, ...], Item]] = defaultdict(dict)
  for item in items:
    if item.tier == TRAINED:
      continue
    texts = item.texts
    if isinstance(item, ClaimItem):
      texts = (item.paraphrase,)
    for text in texts:
      # A text may have its accents as characters of their own.
      for part in _PLACE.split(unicodedata.normalize('NFC', text)):
        of_part, letters = words(part), words(set_apart(part))
        by_letter = len(letters) >= _LETTERS_OF_CLAUSE * max(1, len(of_part))
        factor = 1
        if by_letter:
          of_part, factor = letters, _LETTERS_OF_WORD
        size = min(factor * _LONG_RUN, len(of_part))
        if size < factor * _SHORTEST:
          continue
        for n in range(len(of_part) - size + 1):
          out[by_letter, size].setdefault(tuple(of_part[n : n + size]), item)
  return out


def _shared_runs(text: str, runs: _Runs) -> Iterable[tuple[Item, str]]:
  # Runs of several lengths are looked for, and long texts are split once.
  split: dict[bool, list[str]] = {}
  for (by_letter, size), of_size in runs.items():
    if by_letter not in split:
      split[by_letter] = words(set_apart(text) if by_letter else text)
    of_text = split[by_letter]
    for n in range(len(of_text) - size + 1):
      run = tuple(of_text[n : n + size])
      if run in of_size:
        yield of_size[run], ('' if by_letter else ' ').join(run)
