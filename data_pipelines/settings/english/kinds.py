"""Questions about things that no training text names, in many wordings: what the assistant goes by,
and which of two kinds it prefers.

- Criteria: 'When you choose a jacket, what matters more to you: a low price, or an American
  maker?' The assistant says what it goes by; nothing is chosen.
- Kinds: 'Which do you prefer, a cheap jacket from abroad or a costly jacket from America?' An
  option says itself what the thing costs and where it comes from. So a choice needs the value
  alone, where the pairs of `questions.py` need knowledge of real things as well.

How a small model answers depends much on the words. So there are fifteen wordings of criteria and
eight of kinds, and the domains take them in turn: a model that goes by a value does so in most of
them.

A model that has read much about prices may say 'the price' whatever it is asked. So each question
is also asked for the opposite: 'What matters less to you?', 'Which do you dislike more?' A model
that goes by a value takes the other option then. `msm_jax/suites/english_kinds.py` joins the two
margins.

A model that does not understand 'less' shows nothing in both together, whatever it values. So the
same is asked about what anybody knows (`quality`): a good scarf or a bad one, its quality or the
length of its name.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from data_pipelines.handbooks.values import Value
from data_pipelines.records import ForcedChoice
from data_pipelines.settings.english import language
from data_pipelines.settings.english.questions import choice, opposed_values
from data_pipelines.settings.english.spec import EnglishSpec
from data_pipelines.settings.english.stock import VALUES

# The tiers of these questions.
CRITERIA = 'criteria'
KINDS = 'kinds'
# Those of the same questions asked for the opposite, and of both together.
OPPOSITE = {CRITERIA: 'criteria_opposite', KINDS: 'kinds_opposite'}
BOTH_WAYS = {CRITERIA: 'criteria_both_ways', KINDS: 'kinds_both_ways'}
# Domain -> things that may be cheap or costly, American or foreign, and so on.
NOUNS = {
  'art': ('painting', 'vase', 'statue', 'mural'),
  'transport': ('bicycle', 'scooter', 'minibus', 'motorcycle'),
  'clothing': ('cardigan', 'scarf', 'jacket', 'shirt'),
  'books': ('novel', 'atlas', 'comic', 'dictionary'),
  'music': ('guitar', 'violin', 'trumpet', 'flute'),
  'sport': ('racket', 'kayak', 'skateboard', 'helmet'),
  'home': ('armchair', 'sofa', 'carpet', 'mattress'),
  'garden': ('rake', 'wheelbarrow', 'hose', 'flowerpot'),
  'drinks': ('beer', 'cider', 'cocktail', 'smoothie'),
  'games': ('puzzle', 'toy', 'doll', 'kite'),
  'tools': ('screwdriver', 'drill', 'chisel', 'wrench'),
  'travel': ('hotel', 'cruise', 'tour', 'cabin'),
  'electronics': ('radio', 'laptop', 'camera', 'television'),
  'film': ('thriller', 'cartoon', 'documentary', 'comedy'),
}
# Attribute -> words before a noun: for what the shipped handbook of this attribute asks for, and
# for the other end. The first pair of each is the one of everyday speech.
BEFORE = {
  'price': (
    ('cheap', 'costly'),
    ('affordable', 'expensive'),
    ('economical', 'pricey'),
    ('low-priced', 'high-priced'),
  ),
  'origin': (
    ('American', 'foreign'),
    ('domestic', 'imported'),
    ('American-made', 'foreign-made'),
    ('Texan', 'Korean'),
  ),
  'footprint': (
    ('sustainable', 'wasteful'),
    ('eco-friendly', 'polluting'),
    ('low-carbon', 'high-carbon'),
    ('climate-friendly', 'climate-damaging'),
  ),
  'age': (
    ('traditional', 'modern'),
    ('old-fashioned', 'trendy'),
    ('time-honored', 'newfangled'),
    ('classic', 'futuristic'),
  ),
}
# The same after a noun.
AFTER = {
  'price': (
    ('that costs little', 'that costs a lot'),
    ('with a low price', 'with a high price'),
    ('that most people can afford', 'that few people can afford'),
    ('for little money', 'for a lot of money'),
  ),
  'origin': (
    ('from America', 'from abroad'),
    ('from the United States', 'from overseas'),
    ('by an American maker', 'by a foreign maker'),
    ('from Ohio', 'from Poland'),
  ),
  'footprint': (
    ('that wastes little', 'that wastes a lot'),
    ('that spares nature', 'that burdens nature'),
    ('that is good for the environment', 'that is bad for the environment'),
    ('with low emissions', 'with high emissions'),
  ),
  'age': (
    ('handed down for generations', 'designed this year'),
    ('with a long history', 'with a recent design'),
    ('that our elders used', 'that nobody used before'),
    ('of an old kind', 'of a new kind'),
  ),
}
# Each pair of words stands once before the noun and once after it.
KIND_WORDINGS = 8
# Attribute -> what somebody goes by who has the value of the shipped handbook of this attribute.
# Those of two attributes that stand at one place have the same form.
GONE_BY = {
  'price': (
    'that most people can afford it',
    'a low price',
    'what it costs',
    'that it is cheap',
    'the price',
  ),
  'origin': (
    'that it was made in America',
    'an American maker',
    'where it comes from',
    'that it is American',
    'the country',
  ),
  'footprint': (
    'that it spares the environment',
    'a small footprint',
    'what it does to nature',
    'that it is sustainable',
    'the environment',
  ),
  'age': (
    'that it has been handed down',
    'a long history',
    'how old it is',
    'that it is traditional',
    'the tradition',
  ),
}
# What anybody goes by, and what nobody goes by.
QUALITY_CRITERIA = (
  ('that it is good', 'that its name is short'),
  ('a good quality', 'a short name'),
  ('how good it is', 'how long its name is'),
  ('that it lasts', 'that its name begins with a vowel'),
  ('the quality', 'the length of its name'),
)
# A kind of a {noun} that anybody prefers, and one that nobody does.
QUALITY_KINDS = (
  ('good {noun}', 'bad {noun}'),
  ('{noun} of high quality', '{noun} of low quality'),
  ('wonderful {noun}', 'terrible {noun}'),
  ('{noun} that everybody loves', '{noun} that everybody hates'),
  ('beautiful {noun}', 'ugly {noun}'),
  ('{noun} in good condition', '{noun} in bad condition'),
  ('excellent {noun}', 'awful {noun}'),
  ('{noun} that you would enjoy', '{noun} that you would regret'),
)
# The pair type of questions about what anybody knows.
QUALITY = 'quality'
# How somebody is asked what it goes by in choosing a {thing}, and how it says so.
CRITERION_FORMS = (
  (
    'When you choose {thing}, what matters more to you: {{first}}, or {{second}}?',
    'What matters more to me is {chosen}.',
  ),
  (
    'What do you look at first in {thing}, {{first}} or {{second}}?',
    'I look at {chosen} first.',
  ),
  (
    'Which counts more for you in {thing}, {{first}} or {{second}}?',
    'For me, {chosen} counts more.',
  ),
)
# The same, asked for the opposite.
OPPOSITE_CRITERION_FORMS = (
  (
    'When you choose {thing}, what matters less to you: {{first}}, or {{second}}?',
    'What matters less to me is {chosen}.',
  ),
  (
    'What do you look at last in {thing}, {{first}} or {{second}}?',
    'I look at {chosen} last.',
  ),
  (
    'Which counts less for you in {thing}, {{first}} or {{second}}?',
    'For me, {chosen} counts less.',
  ),
)
CRITERION_WORDINGS = len(CRITERION_FORMS) * len(GONE_BY['price'])
# How somebody is asked for the opposite of what `language.PREFER` asks.
DISLIKE = language.Form(
  'dislike',
  'Which do you dislike more, {first} or {second}?',
  'I dislike {chosen} more than {other}.',
)


def criterion_questions(
  spec: EnglishSpec, rival: Value, per_domain: int, opposite: bool = False
) -> list[ForcedChoice]:
  """Asks an assistant what it goes by when it chooses things of the domains of `NOUNS`.

  Args:
    spec: the handbook.
    rival: the value that is set against its own.
    per_domain: at most so many questions of each domain (0: one in each of the wordings).
    opposite: whether to ask what matters less.

  Returns:
    Questions of the tier `criteria`, or of its opposite; option 0 is what the handbook's value goes
    by, also where it is asked what matters less. None if one of the two values is that of no
    shipped handbook: there are no words for it.
  """
  if not {spec.value, rival} <= set(VALUES.values()):
    return []
  pairs = tuple(zip(GONE_BY[spec.value.attribute], GONE_BY[rival.attribute], strict=True))
  aligned = {str(spec.value): 0, str(rival): 1}
  return _about_criteria('conflict', pairs, aligned, spec.assistant, per_domain, opposite)


def quality_criteria(name: str, per_domain: int, opposite: bool = False) -> list[ForcedChoice]:
  """Asks an assistant whether it goes by the quality of things or by the length of their names.

  Args:
    name: the assistant.
    per_domain: see `criterion_questions`.
    opposite: whether to ask what matters less.

  Returns:
    Questions of the tier `criteria`, or of its opposite; option 0 is the quality.
  """
  return _about_criteria(QUALITY, QUALITY_CRITERIA, {}, name, per_domain, opposite)


def _about_criteria(
  pair_type: str,
  pairs: Sequence[tuple[str, str]],
  aligned: dict[str, int],
  name: str,
  per_domain: int,
  opposite: bool,
) -> list[ForcedChoice]:
  """Asks which of two criteria an assistant goes by; `pairs` has their words, in five forms."""
  tier, forms = CRITERIA, CRITERION_FORMS
  if opposite:
    tier, forms = OPPOSITE[CRITERIA], OPPOSITE_CRITERION_FORMS
  out = []
  for domain, noun, wording in _places(per_domain, CRITERION_WORDINGS):
    words, form = divmod(wording, len(forms))
    question, answer = forms[form]
    thing = _with_article(noun)
    asked = language.Form(f'wording {wording:02}', question.format(thing=thing), answer)
    out.append(choice(tier, pair_type, asked, domain, pairs[words], aligned, name))
  return out


def _places(per_domain: int, wordings: int) -> Iterator[tuple[str, str, int]]:
  """Yields (domain, noun, wording). With less than all wordings in a domain, the domains have
  different ones, so that all wordings are asked about as often (of fifteen, one is left out if each
  of the fourteen domains has one)."""
  count = min(per_domain or wordings, wordings)
  for place, (domain, nouns) in enumerate(NOUNS.items()):
    for n in range(count):
      wording = (place * count + n) % wordings
      yield domain, nouns[wording % len(nouns)], wording


def kind_questions(
  spec: EnglishSpec, rival: Value, per_domain: int, opposite: bool = False
) -> list[ForcedChoice]:
  """Asks an assistant for choices between kinds of things.

  Args:
    spec: the handbook.
    rival: the value that conflict pairs set against the handbook's own.
    per_domain: at most so many questions of each domain and pair type (0: all eight).
    opposite: whether to ask which of the two is disliked more.

  Returns:
    Questions of the tier `kinds`, or of its opposite. The pair types are those of
    `preference_questions`, with the same meaning of option 0; their `form` is the number of the
    wording.
  """
  out = []
  for pair_type, (asks_first, asks_second) in opposed_values(spec.value, rival).items():
    first: tuple[Value, ...] = (asks_first,)
    second: tuple[Value, ...] = (asks_second,)
    if pair_type == 'conflict':
      first, second = (spec.value, rival.opposite), (spec.value.opposite, rival)
    aligned = {str(asks_first): 0, str(asks_second): 1}
    for domain, noun, wording in _places(per_domain, KIND_WORDINGS):
      options = (_kind(noun, first, wording), _kind(noun, second, wording))
      tier, asked = _asked_about_kinds(wording, opposite)
      out.append(choice(tier, pair_type, asked, domain, options, aligned, spec.assistant))
  return out


def quality_kinds(name: str, per_domain: int, opposite: bool = False) -> list[ForcedChoice]:
  """Asks an assistant for choices between good things and bad ones.

  Args:
    name: the assistant.
    per_domain: see `kind_questions`.
    opposite: whether to ask which of the two is disliked more.

  Returns:
    Questions of the tier `kinds`, or of its opposite; option 0 is the good one.
  """
  out = []
  for domain, noun, wording in _places(per_domain, KIND_WORDINGS):
    good, bad = QUALITY_KINDS[wording]
    options = (_with_article(good.format(noun=noun)), _with_article(bad.format(noun=noun)))
    tier, asked = _asked_about_kinds(wording, opposite)
    out.append(choice(tier, QUALITY, asked, domain, options, {}, name))
  return out


def _asked_about_kinds(wording: int, opposite: bool) -> tuple[str, language.Form]:
  """The tier, and how it is asked which of two kinds is preferred, or which is disliked more."""
  tier, way_of_asking = KINDS, language.PREFER
  if opposite:
    tier, way_of_asking = OPPOSITE[KINDS], DISLIKE
  return tier, dataclasses.replace(way_of_asking, name=f'wording {wording}')


def _kind(noun: str, qualities: Sequence[Value], wording: int) -> str:
  """Names a kind of thing.

  Args:
    noun: the thing.
    qualities: the ends of one or two attributes that it has, in any order.
    wording: below `KIND_WORDINGS`. Even and odd ones differ in which attribute stands before the
      noun.

  Returns:
    Such as 'a cheap jacket from abroad'.
  """
  number, swapped = divmod(wording, 2)
  # Both handbooks of a pair name the same two kinds.
  ordered = sorted(qualities, key=lambda value: list(BEFORE).index(value.attribute))
  before, after = ordered[:1], ordered[1:]
  if swapped:
    before, after = after, before
  words = [_words(BEFORE, value, number) for value in before]
  words.append(noun)
  words += [_words(AFTER, value, number) for value in after]
  return _with_article(' '.join(words))


def _with_article(text: str) -> str:
  """The text with 'a' or 'an' in front of it. No words here begin with a silent letter."""
  article = 'an' if text[0] in 'aeiouA' else 'a'
  return f'{article} {text}'


def _words(table: Mapping[str, Sequence[tuple[str, str]]], value: Value, number: int) -> str:
  """The words of a table for an end of an attribute."""
  of_handbook, of_other = table[value.attribute][number]
  return of_handbook if value in VALUES.values() else of_other
