"""Whether a set of items is balanced: as many items for each value, in all places, of like lengths,
in several domains."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from data_pipelines.records import TRAINED
from data_pipelines.settings.custom.items import Fault
from data_pipelines.settings.custom.published import CORRECT
from data_pipelines.settings.custom.schema import (
  ChoiceItem,
  ClaimItem,
  Item,
  OpenItem,
  SceneItem,
)
from data_pipelines.text.languages import set_apart
from data_pipelines.text.wording import words

# With fewer items a share says nothing about balance.
_FEW = 8
# A share further than this from one half, and by more than two standard errors, is out of balance.
_OFF_BALANCE = 0.2
# One value has this many times the items of another.
_UNEVEN = 2.0
# How messages call the choices of which each option stands first every second time.
_OF_TWO = 'choices'


def check_balance(items: Sequence[Item]) -> list[Fault]:
  """Checks the balance of a set.

  Args:
    items: of all files together, without faults of their own.

  Returns:
    What was found: values that are asked for too seldom, or not at all; options that nearly always
    stand first or are longer; values in one domain alone.
  """
  choices = [item for item in items if isinstance(item, ChoiceItem)]
  scenes = [item for item in items if isinstance(item, SceneItem)]
  of_two = [item for item in choices if len(item.options) == 2]
  of_more = [item for item in choices if len(item.options) > 2]
  found = _check_numbers(choices)
  found += _check_choices_of(items, choices)
  found += _check_places([_places_of_choice(item) for item in of_two], _OF_TWO)
  found += _check_places([_places_of_choice(item) for item in of_more], 'choices of more options')
  found += _check_places([_places_of_scene(item) for item in scenes], 'scenes')
  # Answers to choices of more options cannot name the others.
  found += _check_lengths(of_two, ", or name both in 'answer' ({chosen}, {other})")
  found += _check_lengths(of_more, '')
  return found + _check_breadth(choices)


def values_of(item: Item) -> tuple[str, ...]:
  """The names of the values that an item speaks of."""
  if isinstance(item, ChoiceItem):
    return item.values
  if isinstance(item, ClaimItem | OpenItem) and item.value:
    return (item.value,)
  return ()


def _check_numbers(choices: Sequence[ChoiceItem]) -> list[Fault]:
  """Values that are asked for much less than others, or not at all, tier by tier."""
  by_tier: dict[str, Counter[str]] = defaultdict(Counter)
  first_of: dict[tuple[str, str], str] = {}
  for item in choices:
    # A set about knowledge may stand beside, with any number of items.
    for value in item.values:
      if value != CORRECT:
        by_tier[item.tier][value] += 1
        first_of.setdefault((item.tier, value), item.where)
  rivals = _rivals_of(by_tier)
  found = []
  for tier, counts in by_tier.items():
    most, number = counts.most_common(1)[0]
    if number < _FEW:
      continue
    # Values that are compared in another tier are compared here too, and may be missing altogether.
    # Demonstrations may leave a value out, as one that nothing should change.
    beside = rivals[most] if tier != TRAINED else {}
    for value in dict.fromkeys((*counts, *beside)):
      of_value = counts[value]
      if number > _UNEVEN * of_value:
        found.append(
          Fault(
            first_of.get((tier, value), first_of[tier, most]),
            f'tier {tier}: {of_value or "no"} items for {value!r} and {number} for {most!r}',
            'write as many for each value, or their numbers cannot be compared',
          )
        )
  return found


def _rivals_of(by_tier: Mapping[str, Counter[str]]) -> dict[str, dict[str, None]]:
  """Value -> the values beside which some tier outside training asks for it."""
  out: dict[str, dict[str, None]] = defaultdict(dict)
  for tier, counts in by_tier.items():
    for value in counts:
      if tier != TRAINED:
        out[value] |= dict.fromkeys(counts)
  return out


def _check_choices_of(items: Sequence[Item], choices: Sequence[ChoiceItem]) -> list[Fault]:
  """Values that claims or open questions speak of, and for which no choice asks."""
  asked: set[str] = set()
  for choice in choices:
    asked.update(choice.values)
  found: dict[str, Fault] = {}
  # Of scenes and claims alone, no value is measured by choices.
  for item in items if asked else ():
    for value in values_of(item):
      if value not in asked and value not in found:
        found[value] = Fault(
          item.where,
          f'no choice asks for the value {value!r}, which this {item.kind} item speaks of',
          'write choices of which some options are what it would choose, or nothing shows whether '
          'it decides',
        )
  return list(found.values())


def _places_of_choice(item: ChoiceItem) -> tuple[str, dict[str, bool]]:
  """Where an item stands, and for each value whether an option of it stands first."""
  is_first = {}
  for value in item.values:
    chosen = item.chosen_by(value)
    # What chooses most of the options has the first one more often than not.
    if 2 * len(chosen) <= len(item.options):
      is_first[value] = 0 in chosen
  return item.where, is_first


def _places_of_scene(item: SceneItem) -> tuple[str, dict[str, bool]]:
  """The same for the action that is counted."""
  first = item.actions[0]
  what = 'harmful' if item.is_harmful else 'acts'
  return item.where, {what: first.harmful or first.acts}


def _is_off_balance(flags: Sequence[bool]) -> bool:
  """Whether so many flags are far from one half being True, by more than chance."""
  off = abs(sum(flags) / len(flags) - 0.5)
  return len(flags) >= _FEW and off > max(_OFF_BALANCE, 1 / math.sqrt(len(flags)))


def _check_places(items: Sequence[tuple[str, dict[str, bool]]], kind: str) -> list[Fault]:
  """Options of one side that nearly always stand first, or last, in the file."""
  firsts: dict[str, list[bool]] = defaultdict(list)
  where: dict[str, str] = {}
  for at, is_first in items:
    for side, first in is_first.items():
      firsts[side].append(first)
      where.setdefault(side, at)
  found = []
  for side, flags in firsts.items():
    n, share = len(flags), sum(flags) / len(flags)
    # Of more than two, one stands first less often than every second time.
    may_be_seldom = share < 0.5 and kind != _OF_TWO
    if _is_off_balance(flags) and not may_be_seldom:
      found.append(
        Fault(
          where[side],
          f'{kind}: the option of {side!r} stands first in {share:.0%} of {n} items',
          'turn half of them around: who asks in the order of the file would measure the place',
        )
      )
  return found


def _check_lengths(choices: Sequence[ChoiceItem], or_else: str) -> list[Fault]:
  """Values whose options are nearly always the longer or the shorter ones, on average where there
  are several; `or_else` is another remedy."""
  longer: dict[str, list[bool]] = defaultdict(list)
  where: dict[str, str] = {}
  for item in choices:
    # Where both options stand in every answer, their lengths cancel.
    if '{other}' in item.answer:
      continue
    sizes = [len(words(set_apart(option.text))) for option in item.options]
    for value in item.values:
      chosen = item.chosen_by(value)
      of_value = statistics.fmean(sizes[n] for n in chosen)
      others = statistics.fmean(size for n, size in enumerate(sizes) if n not in chosen)
      if of_value != others:
        longer[value].append(of_value > others)
        where.setdefault(value, item.where)
  found = []
  for value, flags in longer.items():
    n, share = len(flags), sum(flags) / len(flags)
    if _is_off_balance(flags):
      side = 'longer' if share > 0.5 else 'shorter'
      found.append(
        Fault(
          where[value],
          f'the option of {value!r} is the {side} one in {max(share, 1 - share):.0%} of {n} items',
          f'short answers are likelier: even it out{or_else}',
        )
      )
  return found


def _check_breadth(choices: Sequence[ChoiceItem]) -> list[Fault]:
  """Values that are asked in one domain alone."""
  domains: dict[str, set[str]] = defaultdict(set)
  where: dict[str, str] = {}
  for item in choices:
    for value in item.values:
      if item.tier != TRAINED and value != CORRECT:
        domains[value].add(item.domain)
        where.setdefault(value, item.where)
  found = []
  for value, of_value in domains.items():
    if len(of_value) == 1:
      found.append(
        Fault(
          where[value],
          f'the value {value!r} is asked for in one domain alone ({min(of_value)})',
          'ask in several, or nothing is known about other domains and about consistency',
        )
      )
  return found
