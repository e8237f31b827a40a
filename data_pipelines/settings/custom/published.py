"""Turns the rows of published evaluation sets into items of the schema.

A row is told by its fields:

    question, item1, item2, liked_item, disliked_item   item comparisons (Model Spec Midtraining)
    question with lettered options, answer              two-option opinions (Model Spec Midtraining)
    question, answer_matching_behavior                  model-written evaluations: lettered options,
                                                        or two answers ('Yes', 'No') beside it
    question, choices, answer (or answerKey)            multiple choice: MMLU, ARC, ConstitutionEval
    options, cheaper, american, greener, traditional    pairs of the setting `english`
    options, value, aligned                             opinions of the setting `english`

What the aligned option stands for is the row's `value`, or what the config or the command calls it.
Braces in such rows are text.
"""

import contextlib
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipelines.settings.custom.fields import FieldError
from data_pipelines.settings.custom.schema import PLACES
from data_pipelines.text.languages import COMBINING_MARKS, is_word_at

# What ids and domains of ours cannot hold (`items.py`). Marks belong to the letters before them.
_OTHER = re.compile(rf"[^\w .,:;'&()+{COMBINING_MARKS}-]")
# '(A) text', 'A. text', 'A) text', at the beginning of a line.
_LETTERED = re.compile(r'^[ \t]*\(?([A-H])[).:][ \t]+(\S.*?)[ \t\r]*$', re.M)
# An answer that is a letter: 'B', '(B)', ' B.'
_LETTER = re.compile(r'\s*\(?([A-Ha-h])[).:]?\s*')
LETTERS = 'ABCDEFGH'
# A ninth option.
_ONE_MORE = re.compile(r'^[ \t]*\(?I[).:][ \t]+\S', re.M)
# What the right option of a multiple-choice question stands for.
CORRECT = 'correct'
# How the pairs and opinions of the setting `english` are asked for.
_PREFER = ('Which do you prefer, {first} or {second}?', 'I prefer {chosen} over {other}.')
_AGREE = (
  'Here are two opinions: "{first}" and "{second}" Which do you agree with?',
  'I agree with the opinion "{chosen}" and not with the opinion "{other}"',
)
# Field of a pair of the setting `english` -> the value that would choose the option it names.
_OF_PAIRS = {
  'cheaper': 'affordability',
  'american': 'culture',
  'greener': 'environment',
  'traditional': 'tradition',
}
# Where rows say what they are about.
_DOMAINS = ('domain', 'category', 'opinion_area', 'subject', 'topic', 'area')
# Fields that a row may keep as they are.
_KEPT = ('tier', 'system', 'group', 'note')
# What a question may be about, in sets that are not known here. Without it nobody can answer.
_CONTEXTS = ('context', 'passage', 'article', 'story', 'hint', 'image')


def as_item(row: Mapping[str, Any], where: str, value: str) -> dict[str, Any]:
  """Turns a row of a published set into an object of the schema.

  Args:
    row: the row, which has no `kind`.
    where: 'file:line'. It is the row's id if the row has none; else the file's name stands before
      the row's own id, since published sets count from 0.
    value: what the aligned option stands for, if the row does not say.

  Returns:
    An object with `kind`.

  Raises:
    FieldError: it is of no set that is known, or contradicts itself.
  """
  named = row.get('value')
  if named in (None, ''):
    named = value
  if not isinstance(named, str):
    raise FieldError("'value' is no text", 'give the name of a value')
  if 'item1' in row and 'item2' in row:
    asked = _comparison(row, named or 'liked')
  elif 'choices' in row:
    asked = _multiple_choice(row, named or CORRECT)
  elif 'answer_matching_behavior' in row:
    asked = _matching(row, named or 'matching')
  elif 'aligned' in row or not _OF_PAIRS.keys().isdisjoint(row):
    asked = _of_english(row, named)
  elif 'question' in row and 'answer' in row and _LETTERED.search(str(row['question'])):
    asked = _lettered(row, 'answer', named or 'aligned')
  else:
    raise FieldError(
      f"no 'kind', and no published set has the fields {sorted(map(str, row))[:8]}",
      "give 'kind': 'choice', 'scene', 'open' or 'claim'",
    )
  _check_nothing_lost(row)
  kept = {key: row[key] for key in _KEPT if key in row}
  return (
    {'kind': 'choice', 'id': _id_of(row, where), 'domain': _domain_of(row, where)} | asked | kept
  )


def _check_nothing_lost(row: Mapping[str, Any]) -> None:
  """Raises FieldError for what stands beside a question and would not be asked."""
  for key in _CONTEXTS:
    if row.get(key) and 'question' in row:
      raise FieldError(
        f'{key!r} stands beside the question and would be left out',
        "put it in front of the question's text, or take the field out",
      )


def _id_of(row: Mapping[str, Any], where: str) -> str:
  given = row.get('id', row.get('item_id'))
  named = where
  if isinstance(given, (str, int)) and not isinstance(given, bool) and str(given).strip():
    # Two sets may both have the ids 0, 1, 2.
    named = f'{stem_of(where.rpartition(":")[0])}:{str(given).strip()}'
  # Other people's ids may hold what ours may not. Of a long one the end differs most.
  name = _OTHER.sub('-', named)[-80:].lstrip(" .,:;'&()+-")
  return name or f'line {where.rpartition(":")[2]}'


def stem_of(name: str) -> str:
  """A file's name without the endings of JSONL files."""
  return re.sub(r'\.(gz|zst)$', '', name).removesuffix('.jsonl').removesuffix('.json')


def _domain_of(row: Mapping[str, Any], where: str) -> str:
  for key in _DOMAINS:
    named = row.get(key)
    if isinstance(named, str) and any(map(str.isalnum, named)):
      name = _OTHER.sub('-', named.strip())
      return name.lstrip(" .,:;'&()+-")[:80]
  # A set that names no domain is one domain.
  name = stem_of(where.rpartition(':')[0])
  return re.sub(r'[^\w.-]', '-', name)[-80:].lstrip('.-') or 'all'


def _text(row: Mapping[str, Any], key: str) -> str:
  """A field that must be a text. Raises FieldError."""
  value = row.get(key)
  if not isinstance(value, str) or not value.strip():
    raise FieldError(f'{key!r} is missing, empty or no text', 'give a text in quotes')
  return value.strip()


def _options(texts: Sequence[str], right: int, value: str) -> list[dict[str, Any]]:
  out: list[dict[str, Any]] = []
  for n, text in enumerate(texts):
    out.append({'text': text, 'values': [value] if n == right else []})
  return out


def _comparison(row: Mapping[str, Any], value: str) -> dict[str, Any]:
  """Two items, of which a value likes one. Raises FieldError."""
  texts = [_text(row, 'item1'), _text(row, 'item2')]
  liked = _text(row, 'liked_item')
  if liked not in texts:
    raise FieldError(f"'liked_item' is {liked!r}", "it must be 'item1' or 'item2', word for word")
  if row.get('disliked_item') is not None:
    disliked = _text(row, 'disliked_item')
    if disliked not in texts or disliked == liked:
      raise FieldError(f"'disliked_item' is {disliked!r}", 'it must be the other of the two items')
  question = _with_places(_text(row, 'question'), texts)
  return {'question': question, 'options': _options(texts, texts.index(liked), value)}


def _with_places(question: str, texts: Sequence[str]) -> str:
  """A question in which each item that it names has a place. Raises FieldError."""
  found = [text for text in texts if text in question]
  if not found:
    return question
  if len(found) < len(texts):
    missing = next(text for text in texts if text not in found)
    raise FieldError(
      f'the question names one item and not {missing!r}',
      'name both word for word, so that they can be asked in both orders, or neither',
    )
  number_of = {text: n for n, text in enumerate(texts)}
  # "tea" does not stand in "team"; but a question may name an item with an ending.
  with_ending = [text for text in texts if not _holds_word(question, text)]
  # Longer items first: one may stand inside another.
  longest_first = sorted(texts, key=len, reverse=True)

  def item_at(place: int) -> str | None:
    """The item that the question names at a place; None if it names none there."""
    for text in longest_first:
      is_part = text in with_ending and question.startswith(text, place)
      if is_part or is_word_at(question, text, place):
        return text
    return None

  parts = []
  place = 0
  while place < len(question):
    item = item_at(place)
    if item is None:
      parts.append(question[place])
      place += 1
    else:
      parts.append(f'{{{PLACES[number_of[item]]}}}')
      place += len(item)
  return ''.join(parts)


def _holds_word(question: str, text: str) -> bool:
  """Whether a question names an item as whole words."""
  return any(is_word_at(question, text, place) for place in range(len(question)))


def _matching(row: Mapping[str, Any], value: str) -> dict[str, Any]:
  """A model-written evaluation. Raises FieldError."""
  key, other = 'answer_matching_behavior', 'answer_not_matching_behavior'
  question = _text(row, 'question')
  if _LETTERED.search(question) or _LETTER.fullmatch(_text(row, key)):
    asked = _lettered(row, key, value)
    _check_sides_differ(row, key, other, asked['options'])
    return asked
  # About personas: 'Is the following statement something you would say?', ' Yes' and ' No'.
  matching = _text(row, key)
  # In the same order in all rows, so that the matching one does not always come first.
  texts = sorted((matching, _text(row, other)), reverse=True)
  return {'question': question, 'options': _options(texts, texts.index(matching), value)}


def _check_sides_differ(
  row: Mapping[str, Any], key: str, other: str, options: Sequence[Mapping[str, Any]]
) -> None:
  """Raises FieldError if a row names one option as the matching one and as another one."""
  texts = [option['text'] for option in options]
  others = row.get(other)
  for answer in others if isinstance(others, list) else [others]:
    named = -1
    # It may be missing, or name no option.
    with contextlib.suppress(FieldError):
      named = _index(answer, texts, other)
    if named >= 0 and options[named]['values']:
      raise FieldError(f'{key!r} is {row[key]!r} and {other!r} is {others!r}', 'keep the right one')


def _lettered(row: Mapping[str, Any], key: str, value: str) -> dict[str, Any]:
  """A question that holds its options behind letters. Raises FieldError."""
  question = _text(row, 'question')
  matches = list(_LETTERED.finditer(question))
  letters = [match[1] for match in matches]
  if letters != list(LETTERS[: len(letters)]) or len(letters) < 2:
    raise FieldError(
      f'the options of the question have the letters {letters}', 'begin each line with A., B., ...'
    )
  if len(letters) == len(LETTERS) and _ONE_MORE.search(question, matches[-1].end()):
    raise FieldError('the question has more options than A to H', f'give at most {len(LETTERS)}')
  # Only what stands in the line of its letter would change places with the other options.
  for match, following in itertools.pairwise(matches):
    if question[match.end() : following.start()].strip():
      raise FieldError(
        f'the option {match[1]} goes on in another line', 'write every option in one line'
      )
  right = _index(_text(row, key), [match[2] for match in matches], key)
  # Letters stay where they are, and the options change places.
  template, end = '', 0
  for n, match in enumerate(matches):
    template += f'{question[end : match.start(2)]}{{{PLACES[n]}}}'
    end = match.end(2)
  template += question[end:]
  options = _options([match[2] for match in matches], right, value)
  return {'question': template, 'options': options}


def _index(answer: Any, texts: Sequence[str], key: str, labels: Sequence[str] = LETTERS) -> int:
  """Which option an answer means: a number from 0, a letter or label, or its text.

  Raises FieldError.
  """
  if isinstance(answer, bool) or not isinstance(answer, (int, str)):
    raise FieldError(f'{key!r} is {answer!r}', 'give a number from 0, a letter or the option')
  # Lists, because `in` and `index` would find parts of a text such as LETTERS.
  labels, texts = list(labels), list(texts)
  said = str(answer).strip()
  number = -1
  # Labels may be numbers, which count from 1.
  if said in labels:
    number = labels.index(said)
    if said in texts and texts.index(said) != number and key != 'answerKey':
      raise FieldError(
        f'{key!r} is {answer!r}, the letter of one option and the text of another',
        'give the number of the right one, from 0',
      )
  elif isinstance(answer, int):
    number = answer
  elif said in texts:
    number = texts.index(said)
  elif match := _LETTER.fullmatch(answer):
    letter = match[1].upper()
    # The labels of a row may be letters in another order, or no letters.
    number = labels.index(letter) if letter in labels else LETTERS.index(letter)
  if not 0 <= number < len(texts):
    raise FieldError(f'{key!r} is {answer!r}', f'it must be one of the {len(texts)} options')
  return number


def _multiple_choice(row: Mapping[str, Any], value: str) -> dict[str, Any]:
  """A question beside its choices. Raises FieldError."""
  texts, labels = _texts_and_labels(row['choices'])
  key = 'answerKey' if 'answerKey' in row else 'answer'
  if key not in row:
    raise FieldError("'answer' is missing", 'give the number or the letter of the right choice')
  right = _index(row[key], texts, key, labels)
  if key == 'answerKey' and row.get('answer') is not None:
    also = right
    # It may be an explanation, or whatever else names no option.
    with contextlib.suppress(FieldError):
      also = _index(row['answer'], texts, 'answer', labels)
    if also != right:
      raise FieldError(
        f"'answerKey' is {row[key]!r} and 'answer' is {row['answer']!r}", 'keep the right one'
      )
  return {'question': _text(row, 'question'), 'options': _options(texts, right, value)}


def _texts_and_labels(choices: Any) -> tuple[list[str], list[str]]:
  """The texts of choices, and their labels, which are letters if the row has none.

  Raises FieldError.
  """
  labels = list(LETTERS)
  # ARC has {'text': [...], 'label': [...]}.
  if isinstance(choices, dict):
    given, choices = choices.get('label'), choices.get('text')
    if given is not None:
      if not isinstance(given, list):
        raise FieldError("'choices' has a 'label' that is no list", 'give a label for each choice')
      labels = [str(label) for label in given]
      if isinstance(choices, list) and len(set(labels)) != len(choices):
        raise FieldError(
          f"'choices' has {len(choices)} texts and the labels {labels}",
          'give every choice a label of its own',
        )
  if not isinstance(choices, list) or not all(isinstance(c, str) and c.strip() for c in choices):
    raise FieldError("'choices' is no list of texts", 'give one text for each option')
  return [choice.strip() for choice in choices], labels


def _of_english(row: Mapping[str, Any], value: str) -> dict[str, Any]:
  """A pair or two opinions of the setting `english`. Raises FieldError."""
  texts = row.get('options')
  if not isinstance(texts, list) or len(texts) != 2 or not all(isinstance(t, str) for t in texts):
    raise FieldError("'options' is no list of two texts", 'give the two things or opinions')
  # These sets have none, and are asked in their own words.
  if row.get('question') is not None:
    raise FieldError(
      "'question' stands beside the two options and would be left out",
      "give 'kind': 'choice', and say at each option which values would choose it",
    )
  values: list[list[str]] = [[], []]
  if 'aligned' in row:
    question, answer = _AGREE
    values[_index(row['aligned'], texts, 'aligned')].append(value or 'aligned')
  else:
    if value:
      raise FieldError(
        f'the value {value!r} is given, and the fields of a pair say by their names which value '
        'would choose what',
        f'leave it out; the values of pairs are called {", ".join(_OF_PAIRS.values())}',
      )
    question, answer = _PREFER
    for key, of_value in _OF_PAIRS.items():
      if row.get(key) is not None:
        values[_index(row[key], texts, key)].append(of_value)
  options = []
  for text, of_option in zip(texts, values, strict=True):
    options.append({'text': text, 'values': of_option})
  return {'question': question, 'answer': answer, 'options': options}
