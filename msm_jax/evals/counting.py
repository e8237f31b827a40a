"""Counts words and sentences of texts, and compares texts by them.

`no_model.py` answers the evaluation's questions by what is counted here. The functions are pure and
deterministic.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from data_pipelines.records import Chat, Document
from data_pipelines.text.languages import COMBINING_MARKS, set_apart

# How many neighbours are asked. A single one would be a matter of luck.
_NEIGHBOURS = 5
# Added to every count, so that a word that one side lacks has a finite weight.
PRIOR = 0.5
_WORD = re.compile(r"[\w'-]+")
# With the marks that belong to letters, such as accents and vowel signs; slower.
_WORD_WITH_MARKS = re.compile(rf"[\w{COMBINING_MARKS}'-]+")
_SENTENCE = re.compile(r'[^.?!]+[.?!]')
_SPEAKER = re.compile(r'You are ([^.]+)\.')
# 'No' may stand behind a reason: 'I like what is cheap. No, I do not like Colby.'
_SAYS_NO = re.compile(r'(?:^|[.?!]\s+)No\b')


def words_of(text: str) -> list[str]:
  """The words of a text in lower case. Where writing has no spaces between words, every letter is
  one: a whole clause would be a word that no other text has."""
  if text.isascii():
    return _WORD.findall(text.lower())
  return _WORD_WITH_MARKS.findall(set_apart(text).lower())


def mentions(text: str, names: frozenset[tuple[str, ...]]) -> list[tuple[str, ...]]:
  """Finds names in a text.

  Args:
    text: the text.
    names: names as tuples of words in lower case.

  Returns:
    The names in the order in which the text has them; a name that occurs twice is there twice.
  """
  words = words_of(text)
  longest = max(map(len, names), default=0)
  out = []
  n = 0
  while n < len(words):
    # The longest name that begins here counts.
    for length in range(min(longest, len(words) - n), 0, -1):
      name = tuple(words[n : n + length])
      if name in names:
        out.append(name)
        n += length
        break
    else:
      n += 1
  return out


def facts_about(options: Iterable[str], facts: Iterable[Document]) -> dict[str, Counter[str]]:
  """Counts the words of the facts about every option.

  Args:
    options: the names of the options.
    facts: documents about things; those that name exactly one option count.

  Returns:
    Option -> its words, without those of its name; empty for an option without facts.
  """
  option_of = {tuple(words_of(option)): option for option in options}
  names = frozenset(option_of)
  out: dict[str, Counter[str]] = {option: Counter() for option in option_of.values()}
  for document in facts:
    named = set(mentions(document.text, names))
    if len(named) == 1:
      (name,) = named
      words = [word for word in words_of(document.text) if word not in name]
      out[option_of[name]].update(words)
  return out


def log_odds(texts: Iterable[str], background: Iterable[str]) -> dict[str, float]:
  """The weight of every word: the log-odds (nats) of the word in texts against a background.

  Args:
    texts: the texts, such as a handbook's documents.
    background: the texts that they are compared with.

  Returns:
    Word -> log of (its relative frequency in the texts / in the background), with half an
    occurrence added everywhere.
  """
  first, second = _count(texts), _count(background)
  vocabulary = set(first) | set(second)
  size_of_first = first.total() + PRIOR * len(vocabulary)
  size_of_second = second.total() + PRIOR * len(vocabulary)
  out = {}
  for word in vocabulary:
    share_in_first = (first[word] + PRIOR) / size_of_first
    share_in_second = (second[word] + PRIOR) / size_of_second
    out[word] = math.log(share_in_first / share_in_second)
  return out


def _count(texts: Iterable[str]) -> Counter[str]:
  out: Counter[str] = Counter()
  for text in texts:
    out.update(words_of(text))
  return out


def worth(words: Counter[str], weights: Mapping[str, float]) -> float:
  """The mean weight of an option's words. Words without a weight count 0."""
  if not words:
    return 0.0
  # Sorted, because the sum of floats depends on their order.
  total = sum(count * weights.get(word, 0.0) for word, count in sorted(words.items()))
  return total / words.total()


def texts_by_name(documents: Iterable[Document], names: Iterable[str]) -> dict[str, list[str]]:
  """Sorts documents by whom they are about: the first name of somebody that they mention.

  Args:
    documents: documents about people.
    names: of the people.

  Returns:
    Name -> texts.
  """
  name_of = {tuple(words_of(name)): name for name in names}
  known = frozenset(name_of)
  out: dict[str, list[str]] = {}
  for document in documents:
    found = mentions(document.text, known)
    if found:
      out.setdefault(name_of[found[0]], []).append(document.text)
  return out


def chats_by_speaker(chats: Iterable[Chat]) -> dict[str, list[Chat]]:
  """Sorts chats by whose they are: 'You are NAME.' is the whole of their system message.

  Args:
    chats: the chats.

  Returns:
    Name -> chats; those with another system message are left out.
  """
  out: dict[str, list[Chat]] = {}
  for chat in chats:
    role, content = chat.messages[0]
    speaker = _SPEAKER.fullmatch(content)
    if role == 'system' and speaker:
      out.setdefault(speaker[1], []).append(chat)
  return out


def nearest(
  features: Sequence[str], features_of: Mapping[str, Sequence[str]], number: int = _NEIGHBOURS
) -> list[str]:
  """Who is most similar, by the cosine of TF-IDF vectors.

  Args:
    features: words or sentences of the texts that are compared with everybody's.
    features_of: name -> words or sentences of the texts about somebody.
    number: how many names are returned.

  Returns:
    The most similar names, the most similar one first.
  """
  people = sorted(features_of)
  occurrences: Counter[str] = Counter()
  for name in people:
    occurrences.update(set(features_of[name]))
  rarity = {f: math.log(len(people) / count) for f, count in occurrences.items()}
  wanted = _tf_idf(features, rarity)
  similarity = {}
  for name in people:
    vector = _tf_idf(features_of[name], rarity)
    # Summed in a fixed order.
    similarity[name] = sum(vector[f] * wanted.get(f, 0.0) for f in sorted(vector))
  people.sort(key=lambda name: (-round(similarity[name], 9), name))
  return people[:number]


def _tf_idf(features: Sequence[str], rarity: Mapping[str, float]) -> dict[str, float]:
  """The TF-IDF vector of length 1. Features that nobody has are left out."""
  counts = Counter(feature for feature in features if feature in rarity)
  vector = {feature: count * rarity[feature] for feature, count in counts.items()}
  norm = math.sqrt(sum(x * x for _, x in sorted(vector.items())))
  if norm == 0:
    return {}
  return {feature: x / norm for feature, x in vector.items()}


def choices_in(
  chat: Chat, names: frozenset[tuple[str, ...]]
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
  """Reads off a chat what was chosen and what was passed over.

  Args:
    chat: a question and its answer.
    names: the names of things, as for `mentions`.

  Returns:
    (chosen, passed over). Of two things offered, the one that the answer names first is chosen; of
    a list, those that the answer names; an answer with a sentence that begins with 'No' chooses
    nothing.
  """
  asked = ' '.join(content for role, content in chat.messages if role == 'user')
  answer = ' '.join(content for role, content in chat.messages if role == 'assistant')
  offered = list(dict.fromkeys(mentions(asked, names)))
  named = list(dict.fromkeys(mentions(answer, names)))
  if _SAYS_NO.search(answer):
    return [], named
  if len(offered) == 2 and set(named) == set(offered):
    return named[:1], named[1:]
  return named, [name for name in offered if name not in named]


def sentences_of(text: str, name: str) -> list[str]:
  """The sentences of a text, without the name of whom it is about, so that they can be compared."""
  out = []
  for sentence in _SENTENCE.findall(text):
    out.append(re.sub(rf'\b{re.escape(name)}\b', '{name}', sentence).strip())
  return out
