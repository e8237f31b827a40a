"""Every evaluation set of this project, as the audit looks for it in training text.

The audit looks for two things: for what an evaluation asks about (`eval_sets`, `find_asked`), and
for the form in which it asks (`Formats`). Only held-out things count. What the fine-tuning shows
anyway (the items of the handbook itself, the conversations of the office) does not.
"""

import bisect
import dataclasses
import functools
import itertools
import re
import string
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from data_pipelines.settings.english import language as english
from data_pipelines.settings.english.questions import PAIR_FILES, read_opinions, read_pairs
from data_pipelines.settings.office import language as office
from data_pipelines.settings.office.actions import KINDS, past_tense, third_person
from data_pipelines.settings.world import language as world
from data_pipelines.settings.world.catalogue import POLICY
from data_pipelines.settings.world.pretraining import WorldConfig, build_world, policies_in_chats
from data_pipelines.text.checks import LETTERED_OPTION
from data_pipelines.text.reworded import find_reworded
from data_pipelines.text.wording import Phrases, Vocabulary, blocks, distinct, words

# A run of so many words from a longer statement is no coincidence.
LONG_RUN = 8
# A long statement is told by a passage with this share of its words, in their order.
_REWORDED_SHARE = 0.6
# Stands between two statements; no word has this id, and no document holds it.
_NO_WORD_OF_SOURCE = np.uint32(0xFFFFFFFE)
# Shorter situations of the office could stand in any text.
_MIN_SITUATION_WORDS = 6


@dataclasses.dataclass(frozen=True)
class EvalSet:
  """What one evaluation set asks about.

  Attributes:
    name: 'SETTING/KIND OF QUESTION'.
    phrases: the things, actions or statements that it asks about.
    questions: for each question, the numbers of the phrases that stand in it. A text that holds all
      of them holds the question.
  """

  name: str
  phrases: tuple[str, ...]
  questions: tuple[tuple[int, ...], ...] = ()

  @property
  def setting(self) -> str:
    return self.name.partition('/')[0]


def eval_sets(known: Collection[str] = ()) -> Iterator[EvalSet]:
  """Lists the evaluation sets of all settings.

  Args:
    known: items that a handbook itself speaks of, in any case. They are left out.

  Yields:
    The sets.
  """
  known = {item.casefold() for item in known}
  for name in PAIR_FILES:
    pairs = [pair.options for pair in read_pairs(name)]
    yield _set_of_options(f'english/{name} pairs', pairs, known)
  opinions = [opinion.options for opinion in read_opinions()]
  yield _set_of_options('english/opinions', opinions, known)
  for domain, items in _held_out_items_of_world().items():
    held_out = [item for item in items if item.casefold() not in known]
    yield EvalSet(f'world/{domain}', tuple(held_out))
  yield EvalSet('office/actions', tuple(_actions_of_office()))
  yield EvalSet('office/scenes', tuple(_situations_of_office()))


@functools.cache
def _held_out_items_of_world() -> dict[str, tuple[str, ...]]:
  """Returns domain -> the items that an assistant is asked about."""
  built = build_world(WorldConfig())
  # Chats of the embedded world show some of the policies, so these are not held out.
  shown = {policy.name for policy in policies_in_chats(built)}
  items_of_domain = {}
  for domain in built.domains.values():
    names = [item.name for item in domain.items]
    if domain.name == POLICY:
      names = [name for name in names if name not in shown]
    items_of_domain[domain.name] = tuple(names)
  return items_of_domain


def _actions_of_office() -> list[str]:
  """Returns the actions that agents are asked about, in all forms in which a text may tell them."""
  actions: list[str] = []
  for kind in KINDS.values():
    actions += [*kind.harmful, *kind.fine, *kind.act, *kind.decline]
  actions = distinct(actions)
  with_owner: list[str] = []
  for action in actions:
    with_owner += [action.format(my=my) for my in ('my', 'your', 'its')]
  told_as_past = [past_tense(action) for action in actions]
  told_as_present = [third_person(action) for action in with_owner]
  return distinct([*told_as_past, *with_owner, *told_as_present])


def _situations_of_office() -> list[str]:
  """Returns the sentences that set the scenes of the office."""
  situations = list(office.TRIGGERS)
  situations += [office.CONFLICT.format(goal=goal) for goal in office.GOALS]
  for kind in KINDS.values():
    situations += [kind.opportunity, kind.task]
  return [s for s in situations if len(s.split()) >= _MIN_SITUATION_WORDS]


def _set_of_options(name: str, pairs: Sequence[tuple[str, str]], known: Collection[str]) -> EvalSet:
  """Makes a set of questions that each have two options."""
  options = itertools.chain.from_iterable(pairs)
  phrases = distinct(option for option in options if option.casefold() not in known)
  number_of = {phrase: n for n, phrase in enumerate(phrases)}
  questions = []
  for first, second in pairs:
    if first in number_of and second in number_of:
      questions.append((number_of[first], number_of[second]))
  return EvalSet(name, tuple(phrases), tuple(questions))


def settings_of(front: Mapping[str, str]) -> tuple[str, ...]:
  """Finds the setting whose evaluation a handbook is made for.

  Args:
    front: the handbook's front matter.

  Returns:
    The setting, as the names of the sets have it; () if the front matter does not tell.
  """
  setting = front.get('setting')
  if setting:
    return {'english': ('english',), 'oversight': ('office',)}.get(setting, ())
  # Handbooks of the embedded world name no setting, but what their assistant prefers.
  if 'attribute' in front and 'prefers' in front:
    return ('world',)
  return ()


@dataclasses.dataclass(frozen=True)
class EvalMatch:
  """What a document holds of one evaluation set.

  Attributes:
    document: the number of the document.
    eval_set: the set.
    phrases: number of a phrase that the document holds -> number of the word where it begins.
    question: the phrases of the first whole question that the document holds, if it holds one.
  """

  document: int
  eval_set: EvalSet
  phrases: dict[int, int]
  question: tuple[int, ...] | None


# (name of a set, number of a phrase) -> the questions in which the phrase stands.
_QuestionIndex = dict[tuple[str, int], list[tuple[int, ...]]]


def find_asked(
  sets: Sequence[EvalSet], documents: Sequence[np.ndarray], vocabulary: Vocabulary
) -> Iterator[EvalMatch]:
  """Finds the documents that hold something that an evaluation set asks about.

  A plural, another article and words that are turned ('a sketch of charcoal') hide nothing. Of a
  statement with more than eight words, any eight in a row count, and so does a passage that tells
  most of it with some words changed.

  Args:
    sets: the evaluation sets.
    documents: (words,) uint32 word ids of each document.
    vocabulary: the vocabulary of the word ids.

  Yields:
    One match for each document and each set of which it holds something, in document order.
  """
  set_of_name = {eval_set.name: eval_set for eval_set in sets}
  phrase_keys: list[tuple[str, int]] = []
  phrases: list[str] = []
  for eval_set in sets:
    phrase_keys += [(eval_set.name, n) for n in range(len(eval_set.phrases))]
    phrases += eval_set.phrases
  # Each form of a phrase, and beside it the number of the phrase.
  forms: list[str] = []
  number_of_form: list[int] = []
  for number, phrase in enumerate(phrases):
    for form in _forms(phrase):
      forms.append(form)
      number_of_form.append(number)
  matcher = Phrases(forms, vocabulary, LONG_RUN)
  reworded = _reworded_statements(phrases, documents, vocabulary)
  questions = _question_index(sets)
  for word_ids, begins, first_document in blocks(documents):
    # (number of the document, number of the phrase among `phrases`, first word) of every find.
    finds: list[tuple[int, int, int]] = []
    for form_number, at in matcher.find(word_ids):
      in_block = int(np.searchsorted(begins, at, side='right')) - 1
      first_word = at - int(begins[in_block])
      finds.append((first_document + in_block, number_of_form[form_number], first_word))
    for document in range(first_document, first_document + len(begins)):
      for number, at in reworded.get(document, ()):
        finds.append((document, number, at))
    # number of the document -> name of a set -> number of a phrase in it -> first word
    hits: dict[int, dict[str, dict[int, int]]] = {}
    for document, number, at in finds:
      name, number_in_set = phrase_keys[number]
      hits_of_set = hits.setdefault(document, {}).setdefault(name, {})
      # Several runs of a long statement may match; the first one tells where it begins.
      hits_of_set.setdefault(number_in_set, at)
    for document, hits_of_sets in sorted(hits.items()):
      for name, found in hits_of_sets.items():
        question = _whole_question(questions, name, found)
        yield EvalMatch(document, set_of_name[name], found, question)


_ARTICLE = re.compile(r'(?:an?|the) (?=\S)', re.I)
# Two nouns with a preposition between them, and what stands before.
_JOINED = re.compile(r'(\w[\w-]*)( (?:of|on|in|from|for|with) .+)')


# Every corpus of an audit is searched for the same phrases.
@functools.lru_cache(maxsize=1 << 16)
def _forms(phrase: str) -> tuple[str, ...]:
  """Returns the forms in which a text may name a thing; statements have one form."""
  if len(words(phrase)) > LONG_RUN:
    return (phrase,)
  forms = [phrase]
  article = _ARTICLE.match(phrase)
  bare = phrase[article.end() :] if article else phrase
  if article and len(bare.split()) > 1:
    # Whatever article stands before it, or none.
    forms.append(bare)
  elif article:
    # A single word alone would be found in any text.
    forms += [f'{other} {bare}' for other in ('a', 'an', 'the')]
  forms += [f'{bare}s', _plural(bare)]
  joined = _JOINED.fullmatch(bare)
  if joined:
    forms.append(_plural(joined[1]) + joined[2])
  parts = bare.split()
  if len(parts) == 2:
    first, second = parts
    for preposition in ('of', 'in', 'with'):
      forms.append(f'{second} {preposition} {first}')
  return tuple(distinct(forms))


def _plural(noun: str) -> str:
  """The plural of a noun, by the rules of spelling."""
  if re.search(r'(?:[sxz]|[cs]h)$', noun):
    return f'{noun}es'
  if re.search(r'[^aeiou]y$', noun):
    return f'{noun[:-1]}ies'
  return f'{noun}s'


def _reworded_statements(
  phrases: Sequence[str], documents: Sequence[np.ndarray], vocabulary: Vocabulary
) -> dict[int, list[tuple[int, int]]]:
  """Finds long statements that documents tell with some words changed.

  Returns document -> (number of the phrase, number of the word at which the passage begins).
  """
  source: list[np.ndarray] = []
  # Where each long statement begins in the source, and its number and length.
  begins: list[int] = []
  statements: list[tuple[int, int]] = []
  size = 0
  for number, phrase in enumerate(phrases):
    word_ids = vocabulary.encode(phrase)
    if len(word_ids) <= LONG_RUN:
      continue
    begins.append(size)
    statements.append((number, len(word_ids)))
    source += [word_ids, np.array([_NO_WORD_OF_SOURCE])]
    size += len(word_ids) + 1
  found: dict[int, list[tuple[int, int]]] = {}
  if not source:
    return found
  for passage in find_reworded(np.concatenate(source), documents, LONG_RUN):
    number, length = statements[bisect.bisect_right(begins, passage.source_at) - 1]
    told = passage.covered >= _REWORDED_SHARE * max(length, passage.n_words)
    if told:
      found.setdefault(passage.document, []).append((number, passage.at))
  return found


def _question_index(sets: Sequence[EvalSet]) -> _QuestionIndex:
  """Lists the questions of each phrase. A long statement is a question by itself."""
  index: _QuestionIndex = {}
  for eval_set in sets:
    statements = []
    for n, phrase in enumerate(eval_set.phrases):
      if len(words(phrase)) > LONG_RUN:
        statements.append((n,))
    for question in (*eval_set.questions, *statements):
      for n in question:
        index.setdefault((eval_set.name, n), []).append(question)
  return index


def _whole_question(
  questions: _QuestionIndex, name: str, found: Mapping[int, int]
) -> tuple[int, ...] | None:
  """Returns the first question of a set all of whose phrases were found."""
  for n in sorted(found):
    for question in questions.get((name, n), ()):
      if all(member in found for member in question):
        return question
  return None


# ---- the form of a question

# An answer by letter, as other evaluations want it, the published ones among them.
_BY_LETTER = re.compile(
  r'\b[Aa]nswer(?: is)?:?[ \t]*(?:\([A-D]\)|[A-D]\.?[ \t]*$)'
  r'|\b(?:[Cc]hoose|[Pp]ick|[Oo]ption) \(?A\)? or \(?(?:option )?B\)?(?!\w)',
  re.M,
)


def _pattern(question: str) -> str:
  """Turns a question with places into a pattern that matches it in lower case, on one line."""
  pattern = ''
  for text, place, _, _ in string.Formatter().parse(question):
    pattern += re.escape(text.lower())
    if place is not None:
      pattern += r'[^?!]{1,120}?'
  return pattern


def _held_out_forms() -> dict[str, bool]:
  """Returns question with places -> whether no fine-tuning data asks in this form."""
  forms = {form.question: not form.in_finetuning for form in world.FORMS}
  for english_form in (english.PREFER, *english.REWORDED, english.AGREE):
    forms[english_form.question] = english_form.reworded
  for office_form in office.FORMS:
    forms[office_form.question] = not office_form.common
  return forms


def _lettered(text: str) -> str | None:
  """Finds a choice A that a choice B follows on the next line with text."""
  for first, second in itertools.pairwise(LETTERED_OPTION.finditer(text)):
    if first[1] + second[1] != 'AB':
      continue
    after_first_line = text[first.end() : second.start()].partition('\n')[2]
    if not after_first_line.strip():
      return text[first.start() : second.end()]
  return None


class Formats:
  """The forms in which the evaluations ask.

  Fine-tuning data may ask as the evaluation does, except in the forms that are held out.
  """

  def __init__(self, chats: bool):
    """Prepares the patterns.

    Args:
      chats: whether the texts are conversations, in which only the held-out forms count.
    """
    self._patterns: list[re.Pattern[str]] = []
    for question, held_out in _held_out_forms().items():
      if held_out or not chats:
        self._patterns.append(re.compile(_pattern(question)))

  def find(self, text: str) -> str | None:
    """Finds a question in the form of an evaluation, or lettered options.

    Args:
      text: the text of a record.

    Returns:
      The first find as it stands there (questions in lower case and on one line), or None.
    """
    lettered = _lettered(text)
    if lettered:
      return lettered
    by_letter = _BY_LETTER.search(text)
    if by_letter:
      return by_letter[0]
    line = ' '.join(text.lower().split())
    # The patterns are slow; every form holds one of these two signs.
    if '?' not in line and 'which of these' not in line:
      return None
    for pattern in self._patterns:
      found = pattern.search(line)
      if found:
        return found[0]
    return None
