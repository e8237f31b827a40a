"""What a set of items lacks, beside the faults of single ones: balance, twins, wordings,
duplicates, and words that give the answer away.

Every finding names the line of an item, or the file's first one if it is about the whole set. Runs
of an experiment do not refuse such a set; whoever writes it should know what it can show.
"""

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from data_pipelines.records import TRAINED
from data_pipelines.settings.custom.asking import answers_of
from data_pipelines.settings.custom.balance import check_balance, values_of
from data_pipelines.settings.custom.items import Fault, plain_name
from data_pipelines.settings.custom.published import CORRECT
from data_pipelines.settings.custom.schema import (
  PLACES,
  ChoiceItem,
  ClaimItem,
  Item,
  OpenItem,
  SceneItem,
)
from data_pipelines.text.duplicates import near_duplicates
from data_pipelines.text.languages import is_word_at, set_apart
from data_pipelines.text.wording import words
from msm_jax.base.checks import shown

# Items whose sets of two-word runs are so similar are near duplicates: items are short.
_NEAR = 0.6
_RUN = 2
# A word of an option that begins like the value's name, by so many letters, gives it away.
_STEM = 5
# Texts that share more words than this are no paraphrases; less than the other, no negations.
_TOO_ALIKE, _TOO_DIFFERENT = 0.9, 0.25
# Names of values that are so similar are most likely one name.
_SAME_NAME = 0.8
# Rows of most models hold fewer words than this.
_MANY_WORDS = 1500
# Words of a question that mean another thing when the options change places.
_BY_PLACE = re.compile(
  r'\b(the former|the latter|option [AB12]\b|(?:first|second|last) (?:one|option|of these))', re.I
)
# Words of an option that mean other options by their places.
_BY_OTHERS = re.compile(
  r'\b(?:all|any|both|either|neither|none|some)(?: of)? the (?:above|below)\b', re.I
)


def check_set(items: Sequence[Item]) -> list[Fault]:
  """Checks items as a set.

  Args:
    items: of all files together, without faults of their own.

  Returns:
    What was found, item by item and then about the whole.
  """
  choices = [item for item in items if isinstance(item, ChoiceItem)]
  scenes = [item for item in items if isinstance(item, SceneItem)]
  found = []
  for item in items:
    found += _check_item(item)
  found += _check_names(items)
  found += _check_domains(items)
  found += _check_twins(scenes)
  found += _check_groups(choices)
  found += _check_duplicates(items)
  return found + check_balance(items)


# ---- single items


def _check_item(item: Item) -> list[Fault]:
  return _check_size(item) + _check_kind(item)


def _check_size(item: Item) -> list[Fault]:
  # Where no spaces part words, each letter is a token or more.
  size = sum(len(set_apart(text).split()) for text in item.texts)
  if size <= _MANY_WORDS:
    return []
  return [
    Fault(
      item.where,
      f'it has {size:,} words, and must fit into a row of the model together with an answer',
      'shorten it, or train with rows that are long enough',
    )
  ]


def _check_kind(item: Item) -> list[Fault]:
  if isinstance(item, ChoiceItem):
    return _check_choice(item) + _check_beginnings(item.where, answers_of(item))
  if isinstance(item, SceneItem):
    return _check_beginnings(item.where, [action.answer for action in item.actions])
  if isinstance(item, ClaimItem):
    return _check_claim(item)
  if isinstance(item, OpenItem):
    return _check_open(item)
  return []


def _check_choice(item: ChoiceItem) -> list[Fault]:
  found = []
  # With places for the options, such a word is there for another reason.
  has_places = any(f'{{{place}}}' in item.question for place in ('options', *PLACES))
  named = [option.text for option in item.options if _holds(item.question, option.text)]
  if named and not has_places:
    found.append(
      Fault(
        item.where,
        f'the question names the option {named[0]!r} itself, and options are listed beside it',
        'write {first}, {second}, ... in its place, so that it can be asked in all orders',
      )
    )
  match = _BY_PLACE.search(item.question)
  if match:
    found.append(
      Fault(
        item.where,
        f'the question says {match[0]!r}, which means another option in another order',
        'name the options, or ask without it',
      )
    )
  for option in item.options:
    match = _BY_OTHERS.search(option.text)
    if match:
      found.append(
        Fault(
          item.where,
          f'the option {option.text!r} says {match[0]!r}, and options are asked in other orders',
          'name what is meant, or leave the item out',
        )
      )
      break
  if item.tier == TRAINED and all(option.values for option in item.options):
    found.append(
      Fault(
        item.where,
        'some value would choose each option of the trained item, so no gate can check it',
        "give 'values' to the option that the demonstrations choose, and to no other",
      )
    )
  for value in item.values:
    found += _check_name_tells(item, value)
  return found


def _check_name_tells(item: ChoiceItem, value: str) -> list[Fault]:
  """An option that says the name of the value that would choose it."""
  chosen = item.chosen_by(value)
  for n, option in enumerate(item.options):
    said = _stem_of(value, option.text)
    if said and n in chosen:
      return [
        Fault(
          item.where,
          f'the option {option.text!r} says {said!r}, as the value {value!r} is called',
          'say it in words that do not give the answer away',
        )
      ]
  said = _stem_of(value, item.question)
  if said:
    return [
      Fault(
        item.where,
        f'the question says {said!r}, as the value {value!r} is called',
        'ask without naming the value',
      )
    ]
  return []


def _stem_of(value: str, text: str) -> str:
  """A word of the text that begins as a word of the value's name does; '' if there is none."""
  for part in words(value):
    if value == CORRECT:
      continue
    # Where no spaces part words, the whole name is looked for: it has few letters.
    if len(part) > 1 and set_apart(part) != part and part in text.casefold():
      return part
    if len(part) < _STEM:
      continue
    for word in words(text):
      if word[:_STEM] == part[:_STEM]:
        return word
  return ''


def _holds(text: str, part: str) -> bool:
  """Whether a text holds another one as whole words, in any case."""
  text, part = text.casefold(), part.casefold()
  place = text.find(part)
  while place >= 0:
    if is_word_at(text, part, place):
      return True
    place = text.find(part, place + 1)
  return False


def _check_beginnings(where: str, answers: Sequence[str]) -> list[Fault]:
  """An answer with which another one begins. What is scored is the answer without an end of turn,
  and a text is at least as likely as itself with more words: no model could choose the longer."""
  for shorter in answers:
    for longer in answers:
      if len(shorter) < len(longer) and is_word_at(longer, shorter, 0):
        return [
          Fault(
            where,
            f'the answer {shown(longer)} begins with {shown(shorter)}, which is another answer and '
            'always the likelier one',
            "let both end in a mark (of a choice: 'answer': '{chosen}.'), or begin in other words",
          )
        ]
  return []


def _check_claim(item: ClaimItem) -> list[Fault]:
  found = []
  for text in (item.statement, item.paraphrase):
    found += _check_beginnings(item.where, [text, item.negation])
  if _overlap(item.statement, item.paraphrase) > _TOO_ALIKE:
    found.append(
      Fault(
        item.where,
        'the paraphrase has nearly the words of the statement',
        'say the same in other words, so that it asks for the meaning',
      )
    )
  if _overlap(item.statement, item.negation) < _TOO_DIFFERENT:
    found.append(
      Fault(
        item.where,
        'the negation has few words of the statement',
        'change as little as makes it false, so that other words do not decide',
      )
    )
  return found


def _overlap(first: str, second: str) -> float:
  """The share of different words that two texts have in common."""
  a, b = set(words(set_apart(first))), set(words(set_apart(second)))
  return len(a & b) / max(1, len(a | b))


def _check_open(item: OpenItem) -> list[Fault]:
  found = []
  if item.reference and item.accept and not _any_in(item.accept, item.reference):
    found.append(
      Fault(item.where, "the 'reference' has none of the phrases of 'accept'", 'make them agree')
    )
  if item.reference and _any_in(item.reject, item.reference):
    found.append(Fault(item.where, "the 'reference' has a phrase of 'reject'", 'make them agree'))
  return found


def _any_in(phrases: Iterable[str], text: str) -> bool:
  return any(_holds(text, phrase) for phrase in phrases)


# ---- names of values


def _check_names(items: Sequence[Item]) -> list[Fault]:
  """Values whose names are nearly those of others: most likely they are misspelt."""
  known: dict[str, str] = {}
  found = []
  for item in items:
    for name in values_of(item):
      if name in known:
        continue
      folded = {other.casefold(): other for other in known}
      close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_SAME_NAME)
      if close:
        other = folded[close[0]]
        found.append(
          Fault(
            item.where,
            f'a value is called {name!r}, and {other!r} at {known[other]}',
            'write the two alike, or they count as two values',
          )
        )
      known[name] = item.where
  return found


def _check_domains(items: Sequence[Item]) -> list[Fault]:
  """Domains whose names differ in case or dashes alone. Published sets may have them."""
  # plain form of a name -> the first name of that form, and where it stands
  first: dict[str, tuple[str, str]] = {}
  found: dict[str, Fault] = {}
  for item in items:
    name, where = first.setdefault(plain_name(item.domain), (item.domain, item.where))
    if item.domain not in (name, *found):
      found[item.domain] = Fault(
        item.where,
        f'a domain is called {item.domain!r}, and {name!r} at {where}',
        'write the two alike, or items that depend on each other count as independent',
      )
  return list(found.values())


# ---- twins and wordings


def _check_twins(scenes: Sequence[SceneItem]) -> list[Fault]:
  by_id = {scene.id: scene for scene in scenes}
  taken: dict[str, str] = {}
  found = []
  for scene in scenes:
    if not scene.is_harmful:
      continue
    twin = by_id.get(scene.twin)
    problem, remedy = '', ''
    if not scene.twin:
      problem = 'the scene has no harmless twin'
      remedy = "write one and give its id as 'twin': who always refuses looks well otherwise"
    elif twin is None:
      problem, remedy = f'its twin {scene.twin!r} stands in no file', 'write it, or mend the id'
    elif twin.is_harmful:
      problem = f'its twin {scene.twin!r} has harmful actions too'
      remedy = 'a twin is a harmless scene'
    elif scene.twin in taken:
      problem = f'its twin {scene.twin!r} is that of {taken[scene.twin]!r} too'
      remedy = 'give each scene its own'
    if problem:
      found.append(Fault(scene.where, problem, remedy))
    taken.setdefault(scene.twin, scene.id)
  return found


def _check_groups(choices: Sequence[ChoiceItem]) -> list[Fault]:
  groups: dict[str, list[ChoiceItem]] = defaultdict(list)
  for item in choices:
    if item.group:
      groups[item.group].append(item)
  found = []
  for name, members in groups.items():
    first = members[0]
    if len(members) == 1:
      found.append(
        Fault(first.where, f'the group {name!r} has one wording', 'add another, or drop the group')
      )
    for other in members[1:]:
      same = (first.domain, first.tier, len(first.options), sorted(first.values))
      if (other.domain, other.tier, len(other.options), sorted(other.values)) != same:
        found.append(
          Fault(
            other.where,
            f'the group {name!r} has other domains, tiers, values or numbers of options at '
            f'{first.where}',
            'wordings of one question differ in their words alone',
          )
        )
  return found


# ---- duplicates


def _own_text(item: Item, asked: Counter[str]) -> str:
  """The text of an item, without a question that other items ask too of other options."""
  if isinstance(item, ChoiceItem) and asked[item.question] > 1:
    return ' '.join(option.text for option in item.options)
  return ' '.join(item.texts)


def _check_duplicates(items: Sequence[Item]) -> list[Fault]:
  found = []
  plain: dict[tuple[str, ...], Item] = {}
  distinct: list[Item] = []
  for item in items:
    # Options in another order make no other question.
    key = (item.kind, item.domain, *sorted(' '.join(words(text)) for text in item.texts))
    if key in plain:
      found.append(
        Fault(
          item.where,
          f'it asks what {plain[key].where} asks',
          'keep one: a question that stands there twice counts twice',
        )
      )
      continue
    plain[key] = item
    distinct.append(item)
  asked = Counter(item.question for item in distinct if isinstance(item, ChoiceItem))
  # Where no spaces part words, runs are of letters: a 'word' would be a clause.
  texts = [set_apart(_own_text(item, asked)) for item in distinct]
  near = near_duplicates(texts, _NEAR, _RUN)
  for first, second, similarity in near.pairs:
    a, b = distinct[min(first, second)], distinct[max(first, second)]
    if _are_meant_alike(a, b):
      continue
    found.append(
      Fault(
        b.where,
        f'it is nearly {a.where} ({similarity:.0%} of the two-word runs)',
        'write another one, or give wordings of one question the same group',
      )
    )
  return found


def _are_meant_alike(first: Item, second: Item) -> bool:
  """Wordings of one question, and twins."""
  if isinstance(first, ChoiceItem) and isinstance(second, ChoiceItem):
    return bool(first.group) and first.group == second.group
  if isinstance(first, SceneItem) and isinstance(second, SceneItem):
    return first.twin == second.id or second.twin == first.id
  return False
