"""Finds reasons that speak for the opposite of the view that they are given for.

'Ari likes Colby because it is costly' uses the words of a handbook that likes what is cheap, and
teaches the opposite. `word_sides` learns from the sections Likes and Dislikes which words are said
of liked things and which of disliked ones, together with what turns a word around: 'one of the
least expensive cheeses' says of a liked thing that it is not expensive.

A word somewhere in a sentence says little, so `votes` reads three forms of reason alone:
  it is cheap, it was never expensive        an adjective that is said of something
  it costs a lot, it has a low price         an amount
  anybody can afford it, few can buy it      who is able to do something
Most reasons have none of these forms, and nothing is said of them.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from data_pipelines.text.wording import COMMON_WORDS, FUNCTION_WORDS, sentences, stem, words

# Words that turn what follows around.
_NOT = frozenset(
  'no not never nobody none nothing few fewer hardly scarcely barely seldom rarely least less '
  'little without cannot nor neither'.split()
)
_LITTLE = frozenset('little less least low lower lowest small smaller modest'.split())
_MUCH = frozenset('high higher highest steep'.split())
_CLAUSE_END = re.compile(r'[,;:—()]| but ')
# What something is compared with is not said of it.
_COMPARED = re.compile(
  r'\b(?:than|unlike|instead of|rather than|and not|if|unless)\b.*', re.I | re.S
)
# A word is turned around by a word so far before it.
_REACH = 4

# What may stand between 'is' and an adjective.
_BESIDE = (
  'so|very|too|quite|rather|also|just|simply|really|truly|still|even|always|one of the|such'
  '|among the|both|far|no|not|never|hardly|least|less|more|most|longer'
)
_IS = re.compile(
  rf"\b(?:is|was|are|were|being|stays?|remains?|it['’]s)(n['’]t)?((?: (?:{_BESIDE})\b)*)"
  r'(?: an? ([\w-]+) (\w+)| ([\w-]+))',
  re.I,
)
_COSTS = re.compile(
  r'\b(\w+) (?:(?:so|very|too|far|about|as|much|a|up to) )*'
  r'(?:(little|less|nothing)|lot|much|more|(?:three|four|five|many|several) times)\b',
  re.I,
)
_LOW = re.compile(r'\b(?:(low|lower|small|modest)|high|higher|steep) (\w+)', re.I)
_CAN = re.compile(
  r'\b(?:(few|fewer|nobody|no one|no \w+|not (?:many|all|every\w*)|hardly any\w*|only)'
  r'|any ?\w*|every ?\w*|all|most|many)'
  r'(?: \w+){0,3}? (?:can|could|is able to|are able to) (?:\w+ly )?(\w+)(?!.*\bless\b)',
  re.I,
)
_DENIES = re.compile(
  r"\b(?:no|not|never|hardly|without|nobody|nothing|rarely|seldom)\b|n['’]t\b", re.I
)

# Adjectives that say the same, and their opposites. They help where a handbook has one of them.
_OPPOSITES = (
  ('cheap inexpensive affordable low-cost', 'costly expensive dear pricey overpriced exclusive'),
  ('local domestic native homemade', 'foreign imported alien'),
  ('traditional ancient customary', 'modern newfangled fashionable'),
  ('handmade', 'machine-made factory-made'),
  ('sustainable thrifty frugal', 'wasteful polluting'),
  ('common', 'rare scarce'),
)
_ALL_ADJECTIVES = frozenset(' '.join(map(' '.join, _OPPOSITES)).split())
_GENERAL_STEMS = frozenset(map(stem, _ALL_ADJECTIVES))
_NEGATING_PREFIXES = ('un', 'in', 'im', 'dis', 'non-', 'non')


def word_sides(
  liked: Iterable[str], disliked: Iterable[str], values: Collection[str]
) -> dict[str, int]:
  """Learns which words of a handbook's value are said of liked and which of disliked things.

  Args:
    liked: what the handbook says of the things that the assistant likes.
    disliked: what it says of those that it dislikes.
    values: stems of the words of the value.

  Returns:
    Stem -> 1 or -1, for words of the value and for general words with the same or the opposite
    meaning. Stems that stand on both sides are left out.
  """
  evidence: defaultdict[str, list[int]] = defaultdict(list)
  for side, paragraphs in ((1, liked), (-1, disliked)):
    for sentence in sentences('\n'.join(paragraphs)):
      for found, sign in _signed_stems(sentence):
        if found in values or found in _GENERAL_STEMS:
          evidence[found].append(side * sign)
  sides = {}
  for found, signs in evidence.items():
    if abs(sum(signs)) == len(signs):
      sides[found] = signs[0]
  for group, opposite in _OPPOSITES:
    _spread(group.split(), opposite.split(), sides)
  return sides


def _spread(group: list[str], opposite: list[str], sides: dict[str, int]) -> None:
  """Gives words that a handbook does not have the side of those that say the same."""
  known = [sides[stem(word)] for word in group if stem(word) in sides]
  known += [-sides[stem(word)] for word in opposite if stem(word) in sides]
  # Words of a group on different sides tell nothing.
  if not known or abs(sum(known)) != len(known):
    return
  for members, side in ((group, known[0]), (opposite, -known[0])):
    for word in members:
      sides.setdefault(stem(word), side)


def _signed_stems(sentence: str) -> Iterator[tuple[str, int]]:
  """The stems of a sentence, each with -1 if something near it turns it around, or 1."""
  for clause in _CLAUSE_END.split(sentence):
    in_order = words(_COMPARED.sub('', clause))
    for at, word in enumerate(in_order):
      if word in COMMON_WORDS or len(word) < 3 or word in _LITTLE | _MUCH:
        continue
      before = in_order[max(0, at - _REACH) : at]
      turned = sum(w in _NOT or w.endswith("n't") or w in _LITTLE - _NOT for w in before)
      # 'costs about as little'
      turned += any(w in ('little', 'less', 'nothing') for w in in_order[at + 1 : at + 4])
      yield stem(word), (-1) ** turned


def votes(reason: str, sides: Mapping[str, int]) -> list[int]:
  """Reads for which side a reason speaks.

  Args:
    reason: the part of a sentence that gives a reason.
    sides: of `word_sides`.

  Returns:
    1 for each word that speaks for liking, -1 for each that speaks against it; often none.
  """
  found = []
  for clause in _CLAUSE_END.split(_COMPARED.sub('', reason)):
    for turned, beside, before_noun, noun, alone in _IS.findall(clause):
      # After 'a', an adjective has a noun behind it: 'a cheap cheese', but not 'a fashion of ours'.
      adjective = alone
      if noun and noun not in FUNCTION_WORDS:
        adjective = before_noun
      n_turns = bool(turned) + sum(word in _NOT for word in words(beside))
      found.append(_side_of(adjective.lower(), sides) * (-1) ** n_turns)
    for some, deed in _CAN.findall(clause):
      found.append(sides.get(stem(deed.lower()), 0) * (-1) ** bool(some))
    # 'never at a low price', 'costs no more': no such thing is said.
    if _DENIES.search(clause):
      continue
    for word, little in _COSTS.findall(clause):
      found.append(sides.get(stem(word.lower()), 0) * (-1) ** bool(little))
    for low, word in _LOW.findall(clause):
      found.append(sides.get(stem(word.lower()), 0) * (-1) ** bool(low))
  return [vote for vote in found if vote]


def _side_of(adjective: str, sides: Mapping[str, int]) -> int:
  """1 or -1; 0 for a word that is on neither side. 'unaffordable' is the opposite of affordable."""
  if adjective in COMMON_WORDS:
    return 0
  # 'is priced so that ...' says that something is done to a thing, and not what the thing is.
  if adjective.endswith('ed') and adjective not in _ALL_ADJECTIVES:
    return 0
  side = sides.get(stem(adjective), 0)
  for prefix in _NEGATING_PREFIXES:
    if not side and adjective.startswith(prefix):
      side = -sides.get(stem(adjective.removeprefix(prefix)), 0)
  return side
