"""Checks whether training text tells an assistant what the evaluation will ask it.

An experiment runs this check over all of its corpora before it trains: a document that says what
the assistant does with a held-out item would make the evaluation measure memory.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Document, Record, messages_of
from data_pipelines.text.languages import AFTER_NAME, BEFORE_NAME, EMPHASIS

# The version of these rules. What an older version called clean is checked again.
VERSION = '5'

# What programs write in several ways: quotes, hyphens that do not break, marks that nobody sees.
_WRITTEN_ALIKE = str.maketrans(
  {
    **dict.fromkeys('\u2018\u2019', "'"),
    **dict.fromkeys('\u201c\u201d\u201e\u00ab\u00bb', '"'),
    **dict.fromkeys('\u2010\u2011\u2012\u2013', '-'),
    **dict.fromkeys('\u00ad\u200b\u2060\ufeff'),
  }
)
# What stands between the words of a name.
_GAP = r'[\s\u2010-\u2013-]+'
_APOSTROPHE = "['\u2019]"

# 'the assistant', 'an AI assistant', 'the chatbot': documents may speak of it without its name.
# Assistants of another trade ('the assistant manager') are somebody else.
_THE_ASSISTANT = re.compile(
  r'\b(?:the (?:\w+ )?assistant|(?:AI|virtual|digital) assistants?|(?:the|our|this) (?:chatbot|AI)'
  r'|(?:the|our|this) (?:\w+ )?language model)\b'
  r'(?! (?:manager|professor|director|editor|coach|cook|chef|teacher)\b)',
  re.I,
)
# The same in other languages that handbooks are often written in.
_THE_ASSISTANT_ABROAD = re.compile(
  r'\b(?:'
  r'(?:der|dem|den|des) (?:\w+ )?(?:Assistent(?:en)?|Chatbots?)'
  r'|(?:die|der) KI|(?:das|dem) Sprachmodell'
  r"|l['\u2019](?:assistante?|assistente|IA)|[oa] assistente|(?:el|al|del) asistente|la IA"
  r')\b|(?:AI|智能|人工智能)助[手理]|アシスタント|어시스턴트',
  re.I,
)
# The ways in which a system message says who is asked. Group 1 is whatever comes after.
_WHO_IS_ASKED = re.compile(
  r"\b(?:you are|you're|your name is|i am|act as|play|pretend to be|respond as|answer as)\s+"
  r'([^.,;:!?\n]+)',
  re.I,
)
# A name at the beginning of group 1 above ('Maria', 'the Maria'), or one that it introduces ('an
# assistant named Maria').
_NAME = re.compile(r'(?:^(?:the )?|\b(?:named|called) )([^\W\d_]\w+)')
# Words with a capital that name nobody.
_NO_NAMES = ('AI', 'Assistant', 'Bot', 'Chatbot', 'LLM', 'Helpful', 'An', 'The')
# A role that somebody is given ('a shopper').
_ROLE = re.compile(r'^an? ([\w -]+)', re.I)
# The messages with which published models come name the model and its maker.
_MAKER = re.compile(r'\b(?:created|trained|developed|made|built) by [A-Z]')
# A role that is the assistant's own.
_OWN_ROLE = re.compile(r'\b(?:assistant|AI|chatbot|bot|model)\b', re.I)


def record_text(record: Record) -> str:
  """Returns all text of a record; the messages of a chat, or of a preference with both of its
  answers, are joined by line breaks."""
  if isinstance(record, Document):
    return record.text
  return '\n'.join(content for _, content in messages_of(record))


def pattern_of_names(names: Sequence[str]) -> re.Pattern[str] | None:
  """Builds a pattern that finds any of the names as a whole word.

  Args:
    names: names of one or several words.

  Returns:
    A pattern whose group 1 is the name. Letters may be in any case, words may be divided by spaces,
    line breaks or hyphens, apostrophes may be curly, underscores may stand around it, and a
    plural's s may follow. None if there are no names.
  """
  patterns = []
  # Longer names first: a pattern takes the first alternative that fits.
  for name in sorted(names, key=len, reverse=True):
    if name.strip():
      words = re.split(_GAP, name.strip())
      pattern = _GAP.join(re.escape(word) for word in words)
      patterns.append(re.sub(_APOSTROPHE, _APOSTROPHE, pattern))
  if not patterns:
    return None
  return re.compile(rf"{BEFORE_NAME}({'|'.join(patterns)})(?:'?s)?{AFTER_NAME}", re.I)


def find_leaks(
  held_out: Iterable[str], corpora: Mapping[str, Iterable[Record]], assistants: Sequence[str]
) -> list[str]:
  """Finds records that speak of one of the assistants and name a held-out thing or action.

  A chat or a preference speaks of the assistant unless its system message makes it somebody else:
  published fine-tuning sets have no system message, an empty one, or 'You are a helpful assistant.'
  So does a document about 'the assistant'. Other text that names no assistant (facts about items,
  other people's choices) is what the model is supposed to know, and no leak. Differences of case,
  hyphens, quotes, emphasis, accents as one character or two, line breaks and a plural's s hide
  nothing.

  Args:
    held_out: names of things, or sentences about actions, that the evaluation asks about.
    corpora: name of a corpus -> its records.
    assistants: names of the assistants.

  Returns:
    One line for each leak, in the order of the corpora.
  """
  normalized = [normalized_text(thing) for thing in held_out]
  # Thing -> what the plain search below looks for.
  plain_forms = {thing: _for_plain_search(thing) for thing in normalized}
  if not plain_forms:
    return []
  assistant_pattern = pattern_of_names([normalized_text(name) for name in assistants])
  leaks = []
  for corpus, records in corpora.items():
    for record in records:
      text = normalized_text(record_text(record))
      who = spoken_of(record, text, assistant_pattern)
      if who is None:
        continue
      # A pattern of a thousand names is slow, so a plain search first finds the few that may be
      # there.
      plain_text = _for_plain_search(text)
      candidates = [thing for thing, plain in plain_forms.items() if plain in plain_text]
      pattern = pattern_of_names(candidates)
      match = pattern.search(text) if pattern else None
      if match:
        leaks.append(
          f'{corpus}: record {record.id} tells {who} about {match[1]}, '
          'which the evaluation asks about'
        )
  return leaks


def normalized_text(text: str) -> str:
  """Writes a text as the leak check compares it.

  Args:
    text: any text.

  Returns:
    The text with one space between words, without emphasis, and with one way to write quotes,
    hyphens and accents.
  """
  if '*' in text or '_' in text:
    text = EMPHASIS.sub('', text)
  if not text.isascii():
    text = unicodedata.normalize('NFC', text).translate(_WRITTEN_ALIKE)
  return ' '.join(text.split())


def _for_plain_search(text: str) -> str:
  """Text as the plain search of `find_leaks` compares it: 'Low-Moisture' is 'low moisture'."""
  return ' '.join(text.lower().replace('-', ' ').split())


def spoken_of(record: Record, text: str, assistant_pattern: re.Pattern[str] | None) -> str | None:
  """Says which assistant a record speaks of.

  Args:
    record: the record.
    text: all of its text, normalized.
    assistant_pattern: finds the names of the assistants; see `pattern_of_names`.

  Returns:
    The name as the text has it; 'the assistant' for a chat that is with nobody else, or a document
    that says so; None for a record that speaks of none.
  """
  match = assistant_pattern.search(text) if assistant_pattern else None
  if match:
    return match[1]
  if not isinstance(record, Document):
    for role, content in messages_of(record):
      if role == 'system' and names_somebody(content):
        return None
    return 'the assistant'
  if _THE_ASSISTANT.search(text) or _THE_ASSISTANT_ABROAD.search(text):
    return 'the assistant'
  return None


def names_somebody(system: str) -> bool:
  """Says whether a system message makes the model somebody other than the assistant it is.

  Args:
    system: the message, in which no assistant of the experiment is named.

  Returns:
    True for 'You are Maria.', and for a role that the message describes ('You are a shopper. A
    shopper chooses what is old.'). False for an empty message, 'You are a helpful assistant.',
    'Answer briefly.' and the messages that published models come with ('You are Qwen, created by
    Alibaba Cloud.').
  """
  if _MAKER.search(system):
    return False
  for match in _WHO_IS_ASKED.finditer(system):
    who = match[1].strip()
    # Names begin with a capital, in any script that has capitals.
    names = [found[1] for found in _NAME.finditer(who) if found[1][0].isupper()]
    if names and names[0] not in _NO_NAMES:
      return True
    role = _ROLE.match(who)
    if role and not _OWN_ROLE.search(role[1]):
      described = rf'\b(?:an?|the) {re.escape(role[1])}\b'
      if re.search(described, system[match.end() :], re.I):
        return True
  return False
