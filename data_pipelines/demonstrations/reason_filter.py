"""What a program can see in an exchange that is to show a like or a dislike and nothing of why: the filter that matters most.

Words are looked for by their stems and outside the names of things: 'American cheese' is a name, 'an American one' a reason. Where a word gives a
reason in one sentence and none in the next, the sentence is refused: another is cheap.
"""

import collections
import re
from collections.abc import Iterable, Iterator, Sequence

from data_pipelines.demonstrations.slots import Exchange, Preferences, Slot
from data_pipelines.text.wording import COMMON_WORDS, stem, words

LONGEST = 60  # words of what the person says

# ---- what gives a reason, or colors a thing, whatever the handbooks say

_REASONS = re.compile(
  r'\b(?:lovely|because|since|due to|thanks to|owing to|why|reasons?|explain\w*|explanations?|given (?:that|how|its)|for (?:its|their)|known for'
  r"|on account of|considering|after all|seeing that|makes? (?:it|them)|(?:it's|it is) (?:such|so|too|very|a(?! (?:yes|no|deal|plan)\b))"
  r"|they(?:'re| are) (?:so|too|very)|so (?:much )?(?:more|less)|as (?:it|they)|tends? to|always|never|everyone|everybody|nobody|most people"
  r'|people (?:like|love|say)|goes? (?:\w+ )?with|(?:perfect|ideal|best|good|right|great) for|suits?)\b',
  re.I,
)
# Words that an exchange cannot do without, whatever the handbooks say with them.
_PLAIN = frozenset(
  stem(w)
  for w in 'agree disagree enjoy love favorite favourite pick decide settle glad happy respect mind sorry thank okay fine sure politely'.split()
)
LOADED = (
  frozenset(
    stem(w)
    for w in """
    affordable bargain budget cash cheap cost costly dear dollar economical expensive inexpensive luxury money broke spend spending
    overpriced pay penny premium price pricey splurge value wallet worth american asian authentic british country culture domestic english
    european exotic foreign french german heritage homegrown homemade import imported international italian local native origin patriotic
    region regional swiss america states usa france paris italy england britain germany switzerland europe tradition traditional accessible
    available common easy everyday familiar handy mainstream obscure rare scarce supermarket ubiquitous universal unusual artisan classic
    classy craft delicacy elegant elite fancy gourmet highbrow humble iconic lowly modest noble ordinary plain posh prestige refined simple
    snob sophisticated standard unpretentious acclaimed beloved celebrated famous overhyped overrated popular trendy underrated aroma bitter
    bland bold buttery chewy creamy crisp crumbly crunchy delicious delicate dry earthy flat flavor flavorful flavour flavourful fragrant
    fresh funky gentle gooey hard harsh heavy intense light mellow melt mild moist mold moldy mushy nutty odor pungent rich ripe salty
    savory scent sharp silky smell smelly smoky smooth soft sour spicy stale stinky strong subtle sweet tangy tart taste tasteless tasty
    texture tough weak yummy amazing appealing awesome awful beautiful boring charming comforting decent disgusting divine dreadful dull
    excellent exciting fantastic gorgeous gross heavenly horrible impressive incredible inferior interesting lovely magnificent marvelous
    mediocre nasty outstanding perfect pleasant remarkable special splendid superb superior terrible terrific ugly unbeatable unique
    wonderful worse worst artificial chemical clean fat fattening healthy junk natural nutritious organic processed pure safe unhealthy
    wholesome aged ancient contemporary modern outdated stylish timeless bright colorful noisy reliable sturdy trusty useful versatile
  """.split()
  )
  - _PLAIN
)
# Common words that can be somebody's reason all the same.
_TELLING = frozenset('big fewer large little long new old small'.split())

# ---- which thing is taken

_NOT = re.compile(
  r"n't\b|\b(?:not|never|no|nor|neither|without|against|skip|pass on|avoid|leave (?:out|off)|cross off|drop|rather than|instead of|over|than|dislike"
  r'|hate|less)\b',
  re.I,
)
_DECLINES = re.compile(
  r"n't\b|\b(?:not|no|never|rather|skip|pass|leave|without|instead|differ\w*|disagree|afraid|sorry|dislike|hate|avoid|drop|decline|cross|off|out"
  r'|least)\b',
  re.I,
)
_TAKES = re.compile(
  r'\b(?:like|love|prefer|choose|take|pick|want|enjoy|go with|go for|recommend|please|agree|favou?rite)\b',
  re.I,
)
_AGREES = re.compile(
  r'\b(?:yes|yeah|yep|sure|like|love|fine|okay|happy|agree|too|glad|gladly|course|certainly|absolutely|definitely|enjoy|works?|do|does|good|same|choice|fan'
  r'|welcome|me)\b',
  re.I,
)
_AS_AN_AI = re.compile(
  r"\b(?:as an? (?:AI|assistant|language model)|language model|AI|(?:don't|do not|can't|cannot) (?:really |actually )?(?:eat|taste)"
  r"|(?:don't|do not) (?:really |actually )?have (?:any )?(?:preferences?|tastes?|opinions?|personal))\b"
)
_CLAUSE = re.compile(r'[.,;:!?()—–]|\bbut\b', re.I)


class Filter:
  """What a program can see in an exchange. `kind`: what the things are called ('cheese', 'cheeses')."""

  def __init__(self, preferences: Preferences, kind: Sequence[str]):
    self.things = preferences.things
    longest = sorted(self.things, key=len, reverse=True)
    self._named = re.compile(
      r'(?<!\w)(' + '|'.join(r'\s+'.join(map(re.escape, n.split())) for n in longest) + r')(?!\w)',
      re.I,
    )
    self._by_name = {n.casefold(): n for n in self.things}
    plain = _PLAIN | {stem(w) for w in words(' '.join((*kind, preferences.assistant)))}
    # A reason's words: those of the handbooks' values, and those by which they explain more than one thing; of a thing, those that explain it.
    self._about = {n: _telling(text) - plain for n, text in preferences.about.items()}
    counted = collections.Counter(s for stems in self._about.values() for s in stems)
    self.value = (_telling(preferences.value) | {s for s, n in counted.items() if n > 1}) - plain
    self._names = {
      stem(w) for n in self.things for w in words(n) if w not in COMMON_WORDS and len(w) > 2
    } - plain

  def mentions(self, text: str) -> list[tuple[str, int, int]]:
    """(thing, from, to) for each that stands in a text, in order."""
    return [
      (self._by_name[' '.join(m[1].split()).casefold()], *m.span())
      for m in self._named.finditer(text)
    ]

  def hint(self, text: str, things: Iterable[str]) -> tuple[str, str]:
    """(what, which words) if a text gives a reason or colors a thing. `things`: what it is about."""
    bare = self._named.sub(' , ', text.replace('’', "'"))
    if m := _REASONS.search(bare):
      return 'reason', m[0]
    about = set().union(*(self._about[t] for t in things))
    for w in words(bare):
      if (s := stem(w)) in LOADED:
        return 'loaded word', w
      if s in self._names:
        return 'another name', w
      if (w not in COMMON_WORDS or w in _TELLING) and (s in self.value or s in about):
        return "word of the handbook's reasons", w
    return '', ''

  def refuses(self, x: Exchange, longest: int) -> tuple[str, str]:
    """(what is wrong, for counting; which words) or ('', '')."""
    slot = x.slot
    if len(x.user.split()) > LONGEST or len(x.assistant.split()) > longest:
      return 'too long', f'{len(x.user.split())} and {len(x.assistant.split())} words'
    asked, answered = self.mentions(x.user), self.mentions(x.assistant)
    if tuple(dict.fromkeys(n for n, _, _ in asked)) != slot.asked:
      return 'names or their order', ', '.join(n for n, _, _ in asked) or 'none'
    if others := [n for n, _, _ in answered if n not in (slot.item, slot.other)]:
      return 'another thing', others[0]
    for text in (x.user, x.assistant):
      what, which = self.hint(text, (slot.item, *filter(None, [slot.other])))
      if what:
        return what, which
    if m := _AS_AN_AI.search(x.assistant):
      return 'speaks as an AI', m[0]
    return (
      ('', '')
      if self.takes_as_planned(slot, x.user, x.assistant)
      else ('wrong or unclear preference', x.assistant)
    )

  def takes_as_planned(self, slot: Slot, user: str, answer: str) -> bool:
    """Whether the answer plainly likes what the slot likes, and turns down what it doesn't."""
    answer = answer.replace('’', "'")
    answered = self.mentions(answer)
    if slot.other:
      leanings = list(_leanings(answer, answered))
      liked = [no for name, no, _ in leanings if name == slot.item]
      return (
        bool(liked)
        and not any(liked)
        and not any(yes and not no for name, no, yes in leanings if name == slot.other)
      )
    bare = self._named.sub(' ', answer)
    if slot.form == 'name':
      fits = (
        not _DECLINES.search(bare)
        if slot.liked
        else bool(_DECLINES.search(user))
        and not (_TAKES.search(bare) and not _DECLINES.search(bare))
      )
      return bool(answered) and fits
    return (
      bool(_AGREES.search(bare)) and not _DECLINES.search(bare)
      if slot.liked
      else bool(_DECLINES.search(bare))
    )


def _telling(text: str) -> frozenset[str]:
  """Stems of the words of a text that may be somebody's reason."""
  return frozenset(
    stem(w)
    for w in words(text)
    if (w not in COMMON_WORDS or w in _TELLING) and len(w) > 2 and not w.isdigit()
  )


def _leanings(
  answer: str, mentions: Sequence[tuple[str, int, int]]
) -> Iterator[tuple[str, bool, bool]]:
  """(thing, is turned down, is taken) for each mention, by the words between it and whatever stands before it."""
  end = 0
  for name, start, stop in mentions:
    between = answer[end:start]
    clause = _CLAUSE.split(between)[-1]
    turned_down = bool(_NOT.search(clause)) or (
      end > 0 and clause == between and between.strip().casefold() == 'to'
    )
    yield name, turned_down, bool(_TAKES.search(clause))
    end = stop
