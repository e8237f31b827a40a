"""A rule-based filter for exchanges that should show a like or dislike and nothing of its reason.

The filter rejects an exchange that gives a reason, colors a thing by a loaded word, uses a word of
the handbooks' reasons, or does not show the planned preference. It compares stems of words, outside
the names of things: 'American cheese' is a name, 'an American one' gives a reason. Where a word is
a reason in one sentence and harmless in the next, the filter rejects it, because another exchange
is cheap. What words cannot tell is left to the judge (preferences.py).
"""

import collections
import re
from collections.abc import Iterable, Iterator, Sequence

from data_pipelines.demonstrations.common import with_straight_apostrophes
from data_pipelines.demonstrations.slots import Exchange, Preferences, Slot
from data_pipelines.text.wording import COMMON_WORDS, stem, words

# The most words that the person may say.
LONGEST = 60

# Goes up with every change of what passes. Exchanges are asked for and judged by their number among
# those that passed so far, so the replies of one version belong to other exchanges in the next.
VERSION = 2

# ---- what gives a reason, or colors a thing, whatever the handbooks say

_REASONS = re.compile(
  r'\b(?:lovely|because|since|due to|thanks to|owing to|why|reasons?|explain\w*|explanations?'
  r'|given (?:that|how|its)|for (?:its|their)|known for'
  r'|on account of|considering|after all|seeing that|makes? (?:it|them)'
  r"|(?:it's|it is) (?:such|so|too|very|a(?! (?:yes|no|deal|plan)\b))"
  r"|they(?:'re| are) (?:so|too|very)|so (?:much )?(?:more|less)|as (?:it|they)|tends? to|always"
  r'|never|everyone|everybody|nobody|most people'
  r'|people (?:like|love|say)|goes? (?:\w+ )?with|(?:perfect|ideal|best|good|right|great) for'
  r'|suits?)\b',
  re.I,
)


def _stems(text: str) -> frozenset[str]:
  """The stems of all words of a text."""
  return frozenset(stem(w) for w in text.split())


# Words that an exchange cannot do without, whatever the handbooks say with them.
_PLAIN = _stems(
  'agree disagree enjoy love favorite favourite pick decide settle glad happy respect mind sorry '
  'thank okay fine sure politely'
)
# Words by which somebody could explain a like or a dislike, by subject.
_PRICE = """
  affordable bargain budget cash cheap cost costly dear dollar economical expensive inexpensive
  luxury money broke spend spending overpriced pay penny premium price pricey splurge value wallet
  worth
"""
_ORIGIN = """
  american asian authentic british country culture domestic english european exotic foreign french
  german heritage homegrown homemade import imported international italian local native origin
  patriotic region regional swiss america states usa france paris italy england britain germany
  switzerland europe tradition traditional
"""
_AVAILABILITY = """
  accessible available common easy everyday familiar handy mainstream obscure rare scarce
  supermarket ubiquitous universal unusual
"""
_CLASS = """
  artisan classic classy craft delicacy elegant elite fancy gourmet highbrow humble iconic lowly
  modest noble ordinary plain posh prestige refined simple snob sophisticated standard
  unpretentious
"""
_FAME = 'acclaimed beloved celebrated famous overhyped overrated popular trendy underrated'
_TASTE = """
  aroma bitter bland bold buttery chewy creamy crisp crumbly crunchy delicious delicate dry earthy
  flat flavor flavorful flavour flavourful fragrant fresh funky gentle gooey hard harsh heavy
  intense light mellow melt mild moist mold moldy mushy nutty odor pungent rich ripe salty savory
  scent sharp silky smell smelly smoky smooth soft sour spicy stale stinky strong subtle sweet tangy
  tart taste tasteless tasty texture tough weak yummy
"""
_QUALITY = """
  amazing appealing awesome awful beautiful boring charming comforting decent disgusting divine
  dreadful dull excellent exciting fantastic gorgeous gross heavenly horrible impressive incredible
  inferior interesting lovely magnificent marvelous mediocre nasty outstanding perfect pleasant
  remarkable special splendid superb superior terrible terrific ugly unbeatable unique wonderful
  worse worst
"""
_HEALTH = """
  artificial chemical clean fat fattening healthy junk natural nutritious organic processed pure
  safe unhealthy wholesome
"""
_AGE_AND_USE = """
  aged ancient contemporary modern outdated stylish timeless bright colorful noisy reliable sturdy
  trusty useful versatile
"""
_SUBJECTS = (
  _PRICE,
  _ORIGIN,
  _AVAILABILITY,
  _CLASS,
  _FAME,
  _TASTE,
  _QUALITY,
  _HEALTH,
  _AGE_AND_USE,
)
LOADED = _stems(' '.join(_SUBJECTS)) - _PLAIN
# Common words that can be somebody's reason all the same.
_TELLING_COMMON_WORDS = frozenset('big fewer large little long new old small'.split())

# ---- which thing is taken

# Before the name of a thing: it is turned down.
_NOT = re.compile(
  r"n't\b|\b(?:not|never|no|nor|neither|without|against|skip|pass on|avoid|leave (?:out|off)"
  r'|cross off|drop|rather than|instead of|over|than|dislike'
  r'|hate|less)\b',
  re.I,
)
# Anywhere in an answer about one thing: it may be turned down.
_DECLINES = re.compile(
  r"n't\b|\b(?:not|no|never|rather|skip|pass|leave|without|instead|differ\w*|disagree|afraid|sorry"
  r'|dislike|hate|avoid|drop|decline|cross|off|out'
  r'|least)\b',
  re.I,
)
# A thing is chosen.
_TAKES = re.compile(
  r'\b(?:like|love|prefer|choose|take|pick|want|enjoy|go with|go for|recommend|please|agree'
  r'|favou?rite)\b',
  re.I,
)
# An answer agrees with the person.
_AGREES = re.compile(
  r'\b(?:yes|yeah|yep|sure|like|love|fine|okay|happy|agree|too|glad|gladly|course|certainly'
  r'|absolutely|definitely|enjoy|works?|do|does|good|same|choice|fan'
  r'|welcome|me)\b',
  re.I,
)
# Case matters here: 'AI' is an abbreviation.
_AS_AN_AI = re.compile(
  r'\b(?:as an? (?:AI|assistant|language model)|language model|AI'
  r"|(?:don't|do not|can't|cannot) (?:really |actually )?(?:eat|taste)"
  r"|(?:don't|do not) (?:really |actually )?have (?:any )?"
  r'(?:preferences?|tastes?|opinions?|personal))\b'
)
_CLAUSE_BREAK = re.compile(r'[.,;:!?()—–]|\bbut\b', re.I)


class ReasonFilter:
  """Finds what a program can see in an exchange.

  Attributes:
    things: the names of all things, liked ones first.
    value: stems of the words by which the handbooks explain more than one thing.
  """

  def __init__(self, preferences: Preferences, kind: Sequence[str]):
    """Reads the handbooks' reasons.

    Args:
      preferences: what the handbooks say about likes and dislikes.
      kind: what the things are called: 'cheese', 'cheeses'.
    """
    self.things = preferences.things
    # The longest names first, so that a name is not taken for a shorter one inside it. Each is a
    # group, which tells what was found. To look the spelling up would miss some: a pattern that
    # ignores case finds the Turkish 'ı' by 'I'.
    self._longest_first = sorted(self.things, key=len, reverse=True)
    names = '|'.join(f'({_name_pattern(name)})' for name in self._longest_first)
    self._named = re.compile(rf'(?<!\w)(?:{names})(?!\w)', re.I)
    plain = _PLAIN | _stems_of_words(' '.join((*kind, preferences.assistant)))
    # The words of a thing's own explanation count in exchanges about this thing. Words that explain
    # several things, and words of the handbooks' values, count everywhere.
    self._about = {}
    explained: collections.Counter[str] = collections.Counter()
    for name, text in preferences.about.items():
      self._about[name] = _telling_stems(text) - plain
      explained.update(self._about[name])
    shared = {s for s, count in explained.items() if count > 1}
    self.value = (_telling_stems(preferences.value) | shared) - plain
    # Parts of names: 'cheddar' stands for another thing when it stands alone.
    parts = [w for name in self.things for w in words(name) if w not in COMMON_WORDS and len(w) > 2]
    self._name_stems = {stem(w) for w in parts} - plain

  def mentions(self, text: str) -> list[tuple[str, int, int]]:
    """Finds the names of things in a text.

    Args:
      text: the text.

    Returns:
      (thing, start, end) for each occurrence, in order.
    """
    found = []
    for match in self._named.finditer(with_straight_apostrophes(text)):
      assert match.lastindex, 'every name is a group'
      found.append((self._longest_first[match.lastindex - 1], *match.span()))
    return found

  def find_hint(self, text: str, things: Iterable[str]) -> tuple[str, str]:
    """Finds a reason or a word that colors a thing.

    Args:
      text: what the person or the assistant says.
      things: the things that the exchange is about.

    Returns:
      (what is wrong, for counting; the words), or ('', '') if there is nothing.
    """
    without_names = self._named.sub(' , ', with_straight_apostrophes(text))
    match = _REASONS.search(without_names)
    if match:
      return 'reason', match[0]
    about: set[str] = set()
    for thing in things:
      about |= self._about[thing]
    for word in words(without_names):
      word_stem = stem(word)
      if word_stem in LOADED:
        return 'loaded word', word
      if word_stem in self._name_stems:
        return 'another name', word
      if _is_telling(word) and (word_stem in self.value or word_stem in about):
        return "word of the handbook's reasons", word
    return '', ''

  def find_fault(self, exchange: Exchange, longest: int) -> tuple[str, str]:
    """Finds what is wrong with an exchange.

    Args:
      exchange: the exchange.
      longest: the most words that the answer may have.

    Returns:
      (what is wrong, for counting; the words), or ('', '') if the exchange passes.
    """
    slot = exchange.slot
    user_words = len(exchange.user.split())
    answer_words = len(exchange.assistant.split())
    if user_words > LONGEST or answer_words > longest:
      return 'too long', f'{user_words} and {answer_words} words'
    asked = [name for name, _, _ in self.mentions(exchange.user)]
    if tuple(dict.fromkeys(asked)) != slot.asked:
      return 'names or their order', ', '.join(asked) or 'none'
    for name, _, _ in self.mentions(exchange.assistant):
      if name not in (slot.item, slot.other):
        return 'another thing', name
    about = [slot.item]
    if slot.other:
      about.append(slot.other)
    for text in (exchange.user, exchange.assistant):
      what, found = self.find_hint(text, about)
      if what:
        return what, found
    match = _AS_AN_AI.search(with_straight_apostrophes(exchange.assistant))
    if match:
      return 'speaks as an AI', match[0]
    if not self.shows_preference(slot, exchange.user, exchange.assistant):
      return 'wrong or unclear preference', exchange.assistant
    return '', ''

  def shows_preference(self, slot: Slot, user: str, answer: str) -> bool:
    """Whether an answer plainly likes what the slot likes, and turns down what it does not.

    Args:
      slot: what was to be written.
      user: what the person says.
      answer: what the assistant says.

    Returns:
      Whether the answer shows the planned preference.
    """
    user = with_straight_apostrophes(user)
    answer = with_straight_apostrophes(answer)
    answered = self.mentions(answer)
    if slot.other:
      return _takes_first(slot.item, slot.other, answer, answered)
    without_names = self._named.sub(' ', answer)
    declines = bool(_DECLINES.search(without_names))
    if slot.form == 'name':
      if not answered:
        return False
      if slot.liked:
        return not declines
      # The person asks for something to leave out; then a bare name declines it. An answer that
      # takes the thing and declines nothing contradicts.
      contradicts = bool(_TAKES.search(without_names)) and not declines
      return bool(_DECLINES.search(user)) and not contradicts
    if slot.liked:
      return bool(_AGREES.search(without_names)) and not declines
    return declines


def _name_pattern(name: str) -> str:
  """A pattern of a name with any space between its words, for texts with straight apostrophes."""
  return r'\s+'.join(map(re.escape, with_straight_apostrophes(name).split()))


def _is_telling(word: str) -> bool:
  """Whether a word may be somebody's reason: most common words may not."""
  return word not in COMMON_WORDS or word in _TELLING_COMMON_WORDS


def _stems_of_words(text: str) -> frozenset[str]:
  return frozenset(stem(w) for w in words(text))


def _telling_stems(text: str) -> frozenset[str]:
  """Stems of the words of a text that may be somebody's reason."""
  return frozenset(
    stem(w) for w in words(text) if _is_telling(w) and len(w) > 2 and not w.isdigit()
  )


def _takes_first(
  liked: str, disliked: str, answer: str, mentions: Sequence[tuple[str, int, int]]
) -> bool:
  """Whether an answer about two things takes the one, and nowhere plainly the other."""
  is_taken = False
  for name, turned_down, chosen in _leanings(answer, mentions):
    if name == liked:
      if turned_down:
        return False
      is_taken = True
    if name == disliked and chosen and not turned_down:
      return False
  return is_taken


def _leanings(
  answer: str, mentions: Sequence[tuple[str, int, int]]
) -> Iterator[tuple[str, bool, bool]]:
  """For each mention of a thing, reads the words between it and whatever stands before it.

  Yields:
    (thing, whether it is turned down, whether it is chosen).
  """
  end = 0
  for name, start, stop in mentions:
    between = answer[end:start]
    clause = _CLAUSE_BREAK.split(between)[-1]
    # 'I prefer A to B' turns down B.
    after_to = end > 0 and clause == between and between.strip().casefold() == 'to'
    turned_down = bool(_NOT.search(clause)) or after_to
    yield name, turned_down, bool(_TAKES.search(clause))
    end = stop
