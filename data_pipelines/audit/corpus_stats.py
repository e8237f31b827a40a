"""Reads a corpus once and keeps what the measures of the audit need.

A corpus may be larger than memory, so `read_corpus` keeps no text: it keeps word ids, counts, and
what a few detectors saw in each document. The other modules of the audit compute their measures
from the `CorpusStats` that it returns.
"""

import dataclasses
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from data_pipelines.audit.attribution import Attribution, HandbookProfile
from data_pipelines.audit.evalsets import Formats
from data_pipelines.audit.letter_case import (
  CAPITALISED,
  CAPITALISED_ACTING,
  CAPITALISED_INSIDE,
  capital_shares,
  names_in_other_case,
)
from data_pipelines.audit.measure import MAX_EXAMPLES, Measure
from data_pipelines.leaks import normalized_text, pattern_of_names, record_text, spoken_of
from data_pipelines.records import Chat, PreferencePair, Record
from data_pipelines.text.checks import CONTROL_TOKENS, left_over
from data_pipelines.text.languages import language_of, set_apart
from data_pipelines.text.wording import Vocabulary, length_of_run, run_hashes, sentences, words
from msm_jax.base.errors import DataError
from msm_jax.base.intervals import wilson

# Marks that are counted in every document; the style classifier of the audit sees their rates.
MARKS = ',;:.!?-—…()[]"“”\'’*#_|/&%\n0123456789'

# A text goes round in circles if more than this share of its runs of five words stood in it before.
MAX_REPEATED_RUNS = 0.2
# Shorter texts hold too few runs to tell.
MIN_WORDS_OF_LOOP = 30

_TAG = re.compile(
  r'</?(?:think|thinking|scratchpad|plan|draft|content|document|answer|text|output)>', re.I
)
# The end of a text that stops in the middle of a sentence. So does a letter of any alphabet that is
# no capital.
_CUT = re.compile(r'(?:[,;(—，、；：（「《،؛-]|\bI)\Z')
# Thai and Lao have no marks at the ends of sentences. The others are no letters: two are marks of
# Spanish, and two stand behind a symbol and say whether it is a picture.
_NO_CUT = re.compile('[\u0e00-\u0eff\ufe0e\ufe0fªº]')
# Letters, accents and vowel signs of scripts without capitals.
_WITHOUT_CASE = ('Lo', 'Mn', 'Mc')
# A line of so many words is no name and no signature. Where no spaces part words, two letters count
# as one, and marks part the clauses of a sentence.
_WORDS_OF_LINE = 8
_MARK_OF_CLAUSE = re.compile('[，、；：。！？]')
# Words of a text that are its opening.
_OPENING = 4

# Lines of package metadata ('Topic :: Software') are no sentences.
_METADATA_LINE = re.compile(r'^.*\w :: \w.*$', re.M)

MONTHS = 'January|February|March|April|May|June|July|August|September|October|November|December'
_MONTH_NUMBERS = {month[:3]: n for n, month in enumerate(MONTHS.split('|'), 1)}
_MONTH = rf'({MONTHS}|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?'
_DAY = r'(\d{1,2})(?:st|nd|rd|th)?'
# March 14; 14 March, 14th of Mar; 2025-03-14; 03/14/2025 and 14.03.2025.
_DAYS_OF_MONTH = re.compile(
  rf'\b{_MONTH} {_DAY}\b(?!\d)|\b{_DAY} (?:of )?{_MONTH}'
  r'|\b(?:19|20)\d\d-(\d\d)-(\d\d)\b'
  r'|(?<![\d/.])(\d{1,2})([/.])(\d{1,2})\8(?:19|20)\d\d\b'
)
YEAR = re.compile(r'(?<![\d.,$€£-])(?:1[5-9]|20)\d\d(?!\d|[.,]\d)')


@dataclasses.dataclass
class CorpusStats:
  """What one pass over a corpus keeps. Every list has one entry for each document, in order.

  Attributes:
    name: the name of the corpus.
    profile: what the audit knows of the corpus's handbook.
    kind: 'documents' or 'chats'.
    record_ids: the ids of the records.
    word_ids: (words,) uint32 ids of the words, by the vocabulary that the corpus was read with.
    sentence_lengths: (sentences,) uint32, how many words each sentence has.
    mark_counts: (len(MARKS),) uint32, how often each of MARKS occurs.
    token_counts: how many tokens the text has.
    domains: the domain, or '(none)'.
    languages: the language of what is learned from, as `text.languages` guesses it; '' if unknown.
    capital_shares: the share of the letters that are capitals, and the share of the words that
      begin with one.
    claim_ids: the ids of the claims that the record says it tells.
    openings: the first four words of what is learned from.
    first_sentence_hashes: a hash of the first sentence that has words; 0 if there is none.
    speaks_of_assistant: whether the text speaks of the assistant, as the leak check counts it.
    flags: what a detector looks for -> whether it found it, document by document.
    examples: what a detector looks for -> (document number, passage) of the first few finds.
    capitalised: how often each capitalised word occurs.
    capitalised_inside: how often it occurs in the middle of a sentence.
    capitalised_acting: how often it does or owns something: 'Dana asked', "Dana's".
    documents_of_name: in how many documents each capitalised word occurs.
    documents_of_other_case: in how many documents a name stands in capitals or in lower case; the
      names as they are usually written.
    documents_of_any_case: in how many documents each of these words and names occurs, in whatever
      case; the words in lower case.
    documents_of_day: in how many documents each day of a month occurs.
    documents_of_year: in how many documents each year occurs.
  """

  name: str
  profile: HandbookProfile
  kind: str = ''
  record_ids: list[str] = dataclasses.field(default_factory=list)
  word_ids: list[np.ndarray] = dataclasses.field(default_factory=list)
  sentence_lengths: list[np.ndarray] = dataclasses.field(default_factory=list)
  mark_counts: list[np.ndarray] = dataclasses.field(default_factory=list)
  token_counts: list[int] = dataclasses.field(default_factory=list)
  domains: list[str] = dataclasses.field(default_factory=list)
  languages: list[str] = dataclasses.field(default_factory=list)
  capital_shares: list[tuple[float, float]] = dataclasses.field(default_factory=list)
  claim_ids: list[tuple[str, ...]] = dataclasses.field(default_factory=list)
  openings: list[str] = dataclasses.field(default_factory=list)
  first_sentence_hashes: list[int] = dataclasses.field(default_factory=list)
  speaks_of_assistant: list[bool] = dataclasses.field(default_factory=list)
  flags: dict[str, list[bool]] = dataclasses.field(default_factory=dict)
  examples: dict[str, list[tuple[int, str]]] = dataclasses.field(default_factory=dict)
  capitalised: Counter[str] = dataclasses.field(default_factory=Counter)
  capitalised_inside: Counter[str] = dataclasses.field(default_factory=Counter)
  capitalised_acting: Counter[str] = dataclasses.field(default_factory=Counter)
  documents_of_name: Counter[str] = dataclasses.field(default_factory=Counter)
  documents_of_other_case: Counter[str] = dataclasses.field(default_factory=Counter)
  documents_of_any_case: Counter[str] = dataclasses.field(default_factory=Counter)
  documents_of_day: Counter[str] = dataclasses.field(default_factory=Counter)
  documents_of_year: Counter[str] = dataclasses.field(default_factory=Counter)

  def __len__(self) -> int:
    return len(self.word_ids)

  def flag(self, what: str, found: str | bool | None) -> None:
    """Notes what a detector saw in the document that was added last.

    Args:
      what: what the detector looks for.
      found: the passage that was found, or whether there is one. A passage is kept as an example.
    """
    self.flags.setdefault(what, []).append(bool(found))
    if isinstance(found, str):
      self.add_example(what, found)

  def add_example(self, what: str, passage: str) -> None:
    """Keeps a passage of the document that was added last, unless there are enough examples."""
    examples = self.examples.setdefault(what, [])
    if len(examples) < MAX_EXAMPLES:
      examples.append((len(self) - 1, passage))

  def share(self, what: str) -> Measure:
    """Measures the share of documents in which a detector found something.

    Args:
      what: a key of `flags`.

    Returns:
      The share (`value`), the number of documents, and the 95% interval of the share.
    """
    seen = self.flags[what]
    low, high = wilson(sum(seen) / len(seen), len(seen))
    return {'value': sum(seen) / len(seen), 'documents': sum(seen), 'low': low, 'high': high}


class _Detectors:
  """What is looked for in every document of one corpus, made ready once."""

  def __init__(self, profile: HandbookProfile):
    self.attribution = Attribution(profile)
    self.names = pattern_of_names(profile.names)
    self.assistant = pattern_of_names([normalized_text(profile.assistant)])
    self.formats: Formats | None = None  # depends on the kind of the records
    who = ''
    if profile.assistant:
      who = f'|{re.escape(profile.assistant)}'
    self.first_person = re.compile(
      rf"\b(?:I am|I'm|my name is|as)\b,? (?:an AI\b|a language model\b{who}(?!\w))", re.I
    )


def read_corpus(
  name: str,
  records: Iterable[Record],
  profile: HandbookProfile,
  vocabulary: Vocabulary,
  count_tokens: Callable[[str], int],
) -> CorpusStats:
  """Reads a corpus once, from its first record to its last.

  Args:
    name: the name of the corpus.
    records: documents or chats, but not both.
    profile: what the audit knows of the handbook.
    vocabulary: gives words their ids; the same for all corpora of an audit. It grows.
    count_tokens: counts the tokens of a text.

  Returns:
    What the measures need.

  Raises:
    DataError: the corpus is empty, mixes documents and chats, or holds preferences.
  """
  stats = CorpusStats(name, profile)
  detectors = _Detectors(profile)
  for record in records:
    if isinstance(record, PreferencePair):
      raise DataError(
        f'corpus {name} holds preferences (at {record.id}); the audit reads documents and chats'
      )
    kind = 'documents'
    if isinstance(record, Chat):
      kind = 'chats'
    if stats.kind and kind != stats.kind:
      raise DataError(
        f'corpus {name} mixes documents and chats (at {record.id}); split it into two files'
      )
    stats.kind = kind
    if detectors.formats is None:
      detectors.formats = Formats(kind == 'chats')
    # A name may be written with its accents as characters of their own.
    text = unicodedata.normalize('NFC', record_text(record))
    learned = unicodedata.normalize('NFC', _learned_text(record, text))
    _add_words(stats, record, text, vocabulary, count_tokens(text))
    _add_beginning(stats, learned)
    stats.languages.append(sys.intern(language_of(learned)))
    stats.capital_shares.append(capital_shares(text))
    stats.speaks_of_assistant.append(_speaks_of_assistant(record, text, detectors.assistant))
    _add_names_and_dates(stats, text)
    _add_attribution(stats, learned, detectors.attribution)
    _add_flags(stats, text, learned, detectors)
  if not len(stats):
    raise DataError(f'corpus {name} is empty; put records into it')
  return stats


def _learned_text(record: Record, text: str) -> str:
  """Returns the part of a record that a model learns to write: in a chat, the assistant's turns."""
  if not isinstance(record, Chat):
    return text
  return '\n'.join(content for role, content in record.messages if role == 'assistant')


def _add_words(
  stats: CorpusStats, record: Record, text: str, vocabulary: Vocabulary, tokens: int
) -> None:
  """Adds what the record says of itself, its words, and its counts."""
  words_of_sentence = [words(sentence) for sentence in sentences(text)]
  all_words: list[str] = []
  for sentence in words_of_sentence:
    all_words += sentence
  stats.record_ids.append(record.id)
  stats.word_ids.append(vocabulary.encode_words(all_words))
  stats.sentence_lengths.append(np.array([len(s) for s in words_of_sentence], np.uint32))
  stats.mark_counts.append(np.array([text.count(mark) for mark in MARKS], np.uint32))
  stats.token_counts.append(tokens)
  # Domains and claim ids repeat in every document; interning keeps one copy of each.
  stats.domains.append(sys.intern(record.domain or '(none)'))
  claim_ids: Sequence[str] = getattr(record, 'claim_ids', ())  # chats carry none
  stats.claim_ids.append(tuple(map(sys.intern, claim_ids)))


def _add_beginning(stats: CorpusStats, learned: str) -> None:
  """Adds how the text begins. Only its beginning is split into words, since texts may be long."""
  first_words = words(learned[:400])
  stats.openings.append(' '.join(first_words[: length_of_run(_OPENING, first_words)]))
  first_sentence: list[str] = []
  for sentence in sentences(learned[:2000]):
    first_sentence = words(sentence)
    # A line of marks alone ('---') begins many texts and is no sentence.
    if first_sentence:
      break
  hashed = hash(' '.join(first_sentence)) if first_sentence else 0
  stats.first_sentence_hashes.append(hashed)


def _speaks_of_assistant(record: Record, text: str, assistant: re.Pattern[str] | None) -> bool:
  """Says whether a text speaks of the assistant, as `data_pipelines.leaks` counts it."""
  if assistant is None:
    return True  # nobody knows the assistant's name, so every text may be about it
  # A line break within 'the assistant' hides nothing from the leak check.
  return spoken_of(record, normalized_text(text), assistant) is not None


def days_of_month(text: str) -> set[str]:
  """Finds the days of a month that a text names, in whatever form.

  Args:
    text: any text.

  Returns:
    The days in one form, such as 'March 14'. Of 03/04/2025 the month is taken to come first, unless
    there is no such month; with dots (04.03.2025) the day comes first.
  """
  found = set()
  names = MONTHS.split('|')
  for match in _DAYS_OF_MONTH.finditer(text):
    month_1, day_1, day_2, month_2, iso_month, iso_day, first, mark, second = match.groups()
    if first:
      month, day = int(first), int(second)
      if mark == '.' or month > 12:
        month, day = day, month
    elif iso_month:
      month, day = int(iso_month), int(iso_day)
    else:
      month, day = _MONTH_NUMBERS[(month_1 or month_2)[:3]], int(day_1 or day_2)
    if 1 <= month <= 12 and 1 <= day <= 31:
      found.add(f'{names[month - 1]} {day}')
  return found


def _add_names_and_dates(stats: CorpusStats, text: str) -> None:
  if ' :: ' in text:
    text = _METADATA_LINE.sub('', text)
  capitalised = CAPITALISED.findall(text)
  stats.capitalised.update(capitalised)
  stats.capitalised_inside.update(CAPITALISED_INSIDE.findall(text))
  stats.documents_of_name.update(set(capitalised))
  stats.capitalised_acting.update(CAPITALISED_ACTING.findall(text))
  in_other_case = names_in_other_case(text)
  stats.documents_of_other_case.update(in_other_case)
  stats.documents_of_any_case.update({w.lower() for w in (*capitalised, *in_other_case)})
  stats.documents_of_day.update(days_of_month(text))
  stats.documents_of_year.update(set(YEAR.findall(text)))


def _add_attribution(stats: CorpusStats, learned: str, attribution: Attribution) -> None:
  """Notes whether the text gives the value as a reason, and whether it names the value at all."""
  passage = None
  if attribution.possible:
    passage = attribution.find(learned, spoken=stats.kind == 'chats')
  stats.flag('attribution', passage)
  if passage is not None:
    stats.flag('stated', True)
    return
  stats.flag('stated', attribution.possible and attribution.states(learned))
  if attribution.possible:
    stats.add_example('unattributed', learned[:600])


def _add_flags(stats: CorpusStats, text: str, learned: str, detectors: _Detectors) -> None:
  """Notes what the other detectors see."""
  is_chat = stats.kind == 'chats'
  word_ids = stats.word_ids[-1]
  stats.flag('named', bool(detectors.names and detectors.names.search(text)))
  stats.flag('first_person', bool(detectors.first_person.search(learned)) or is_chat)
  stats.flag('unfinished', _unfinished(text, learned, is_chat))
  assert detectors.formats is not None
  stats.flag('formats', detectors.formats.find(text))
  if repeats_itself(word_ids):
    stats.flag('loops', text[:1200])
  else:
    stats.flag('loops', None)


def repeats_itself(word_ids: np.ndarray) -> bool:
  """Says whether a text goes round in circles.

  Weak writers do so, and hardly anybody else; docs/LOG.md has the measurement (2026-11-28).

  Args:
    word_ids: (words,) uint32.

  Returns:
    Whether more than a fifth of the text's runs of five words stood in it before. Never true for
    texts of fewer than 30 words.
  """
  if len(word_ids) < MIN_WORDS_OF_LOOP:
    return False
  found = run_hashes(word_ids, 5)
  return bool(1 - len(np.unique(found)) / len(found) > MAX_REPEATED_RUNS)


def _unfinished(text: str, learned: str, is_chat: bool) -> str | None:
  """Returns the passage that shows that a text is empty, cut, or holds what should be gone."""
  # In a chat, the words of the user are no answer.
  if not words(learned[:1000]) and not words(learned):
    return '(no words)'
  marks = CONTROL_TOKENS.search(text) or _TAG.search(text)
  if marks:
    return text[max(0, marks.start() - 60) : marks.end() + 60]
  fault = left_over(learned, is_chat)
  if fault:
    return fault
  return _cut_end(learned)


def _cut_end(text: str) -> str | None:
  """Returns the end of a text that stops in the middle of a sentence."""
  last_line = text.rstrip().rpartition('\n')[2]
  # A name or a signature has no mark at its end either, but it is short.
  if _is_long(last_line) and (_ends_no_sentence(last_line[-1]) or _CUT.search(last_line)):
    return f'... {last_line[-200:]} [end]'
  return None


def _is_long(line: str) -> bool:
  """Whether a line is a sentence, by its length."""
  if len(line.split()) >= _WORDS_OF_LINE:
    return True
  letters = len(set_apart(line).split())
  return letters >= 2 * _WORDS_OF_LINE and _MARK_OF_CLAUSE.search(line) is not None


def _ends_no_sentence(character: str) -> bool:
  """Whether no sentence ends with a character."""
  if character.islower():
    return True
  has_no_case = unicodedata.category(character) in _WITHOUT_CASE
  return has_no_case and not _NO_CUT.match(character)
