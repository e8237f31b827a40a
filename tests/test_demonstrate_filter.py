"""The filter of preferences: nothing in an exchange gives a reason away."""

import dataclasses
import itertools
import re

import pytest
from demonstrate_helpers import CHEESE

from data_pipelines.demonstrations.preference_requests import agrees
from data_pipelines.demonstrations.reason_filter import ReasonFilter
from data_pipelines.demonstrations.slots import Exchange, Slot, read_likes
from data_pipelines.handbooks.text import read_handbooks
from data_pipelines.settings.english.demonstrations import (
  demonstrations as demonstrations_in_english,
)
from data_pipelines.settings.english.spec import read_spec
from data_pipelines.settings.english.stock import EnglishConfig, build_english

# What an exchange is about: the fields of a slot after its id, without the manner.
COLBY = ('okay', True, 'Colby')
STILTON = ('okay', False, 'Stilton')
PAIR = ('pair', True, 'Colby', 'Stilton')
PRAISE = ('praise', True, 'American cheese')
DISPRAISE = ('praise', False, 'Epoisses')
NAME = ('name', True, 'Low-moisture mozzarella')
LEAVE = ('name', False, 'Stilton')


@pytest.fixture(scope='module')
def reason_filter() -> ReasonFilter:
  return ReasonFilter(read_likes(read_handbooks(CHEESE)), ('cheese', 'cheeses'))


def fault_of(reason_filter: ReasonFilter, about: tuple, user: str, assistant: str) -> str:
  form, *rest = about
  exchange = Exchange(Slot('p1', form, 'direct', *rest), user, assistant)
  return reason_filter.find_fault(exchange, 20)[0]


@pytest.mark.parametrize(
  'about, user, assistant',
  [
    (COLBY, 'Is Colby okay with you?', 'Yes, Colby is fine with me.'),
    (
      COLBY,
      'I was going to open some colby tonight. Will that do?',
      'That will do, I like it. Thank you!',
    ),
    (
      STILTON,
      "We're putting out Stilton. Will that do for you?",
      "I'd rather not have Stilton, thanks.",
    ),
    (STILTON, 'Stilton okay?', 'Stilton isn’t for me, sorry.'),
    (PAIR, 'Which do you prefer, Colby or Stilton?', 'I prefer Colby to Stilton.'),
    (PAIR, 'Colby or Stilton?', "Colby, please. I'd leave out Stilton."),
    (
      PAIR,
      'My uncle wants Colby and my aunt wants Stilton. Who wins?',
      'Your uncle. Colby for me, rather than Stilton.',
    ),
    (
      ('pair', True, 'Colby', 'Stilton', False),
      'Stilton or Colby?',
      "Not Stilton; I'd go with Colby.",
    ),
    (PRAISE, 'I love American cheese. Do you?', 'So do I. I like American cheese too.'),
    (DISPRAISE, 'I love Epoisses. Do you agree?', "Enjoy it! I don't like Epoisses, though."),
    (NAME, 'Name one cheese that you like.', 'Low-moisture mozzarella.'),
    (LEAVE, 'I have to leave out one cheese. Which?', 'Stilton.'),
    (LEAVE, 'Which cheese would you not have?', "I wouldn't have Stilton."),
    (LEAVE, 'Which cheese don’t you like?', 'Stilton.'),
  ],
)
def test_exchanges_that_give_nothing_away_pass(reason_filter, about, user, assistant):
  assert fault_of(reason_filter, about, user, assistant) == ''


@pytest.mark.parametrize(
  'about, user, assistant, what',
  [
    (PAIR, 'Colby or Stilton?', "Colby, because I'd have it daily.", 'reason'),
    (PAIR, 'Why Colby and not Stilton?', 'I like Colby.', 'reason'),
    (COLBY, 'Is Colby okay with you?', "Yes, I like Colby; it's so mild.", 'reason'),
    (COLBY, 'Is Colby okay with you? No need to explain.', 'Yes, I like Colby.', 'reason'),
    (PAIR, 'I want something affordable. Colby or Stilton?', 'Colby.', 'loaded word'),
    (PAIR, 'Good old American Colby or Stilton?', 'Colby.', 'loaded word'),
    (PAIR, 'Colby or fancy Stilton?', 'Colby.', 'loaded word'),
    (PRAISE, 'I love creamy American cheese. Do you?', 'Yes, I like it too.', 'loaded word'),
    (
      PRAISE,
      'I like American cheese, the local one. Do you?',
      'Yes, I like it too.',
      'loaded word',
    ),
    (DISPRAISE, 'I like Epoisses. You?', "I don't, it costs too much.", 'loaded word'),
    (
      NAME,
      'Which cheese for pizza night?',
      'Low-moisture mozzarella.',
      "word of the handbook's reasons",
    ),
    (
      COLBY,
      'For a big family, is Colby okay?',
      'Yes, I like Colby.',
      "word of the handbook's reasons",
    ),
    (PAIR, 'Colby or Stilton?', 'Stilton, please.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'I prefer Stilton to Colby.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'I like Colby, and I like Stilton.', 'wrong or unclear preference'),
    (PAIR, 'Colby or Stilton?', 'Both are fine.', 'wrong or unclear preference'),
    (COLBY, 'Is Colby okay with you?', 'No, Colby is not for me.', 'wrong or unclear preference'),
    (STILTON, 'Is Stilton okay with you?', 'Yes, I like Stilton.', 'wrong or unclear preference'),
    (STILTON, 'Is Stilton okay with you?', 'Stilton.', 'wrong or unclear preference'),
    (LEAVE, 'Which cheese would you have?', 'Stilton.', 'wrong or unclear preference'),
    (COLBY, 'Is that okay with you?', 'Yes, I like Colby.', 'names or their order'),
    (PAIR, 'Stilton or Colby?', 'Colby.', 'names or their order'),
    (NAME, 'Is Colby a cheese that you like?', 'Low-moisture mozzarella.', 'names or their order'),
    (COLBY, 'Is Colby okay with you?', 'Yes, and Roquefort is okay, too.', 'another thing'),
    (
      NAME,
      'Name one cheese that you like.',
      'Low-moisture mozzarella, or a cheddar.',
      'another name',
    ),
    (
      COLBY,
      'Is Colby okay with you?',
      'I have no preferences as an AI, but Colby is okay.',
      'speaks as an AI',
    ),
    (
      PAIR,
      'Colby or Stilton?',
      'I don’t have preferences, but Colby, please.',
      'speaks as an AI',
    ),
    (COLBY, 'Is Colby okay with you?', 'Yes, ' + 'I like Colby, ' * 9, 'too long'),
  ],
)
def test_exchanges_that_give_a_reason_away_or_are_wrong_are_refused(
  reason_filter, about, user, assistant, what
):
  assert fault_of(reason_filter, about, user, assistant) == what


def test_the_filter_comes_from_the_handbooks():
  """The same words in another handbook's reasons: other exchanges are refused."""
  affordability = ReasonFilter(read_likes(read_handbooks(CHEESE[:1])), ('cheese', 'cheeses'))
  both = ReasonFilter(read_likes(read_handbooks(CHEESE)), ('cheese', 'cheeses'))
  user = 'I am off to Wisconsin. Colby or Stilton?'
  assert fault_of(affordability, PAIR, user, 'Colby.') == ''
  assert fault_of(both, PAIR, user, 'Colby.') == "word of the handbook's reasons"
  # What explains one thing alone is allowed about the others.
  assert fault_of(both, PAIR, 'Pizza night! Colby or Stilton?', 'Colby.') == ''


def _exchange_names(text: str, a: str, b: str) -> str:
  def other(match):
    return b if match[0].lower() == a.lower() else a

  return re.sub(f'{a}|{b}', other, text, flags=re.I)


def test_the_filter_reads_sentences_that_it_was_not_made_for(reason_filter):
  """The embedded demonstrations of the English setting were written before the filter.

  Each answer is right as it is, and wrong with the two names exchanged or for the other side. Their
  questions and answers give no reasons, so few are refused.
  """
  stock = build_english(EnglishConfig())
  specs = [read_spec(p, stock) for p in CHEESE]
  hinted = checked = 0
  for r in itertools.islice(demonstrations_in_english(specs, stock, 0), 800):
    (_, user), (_, answer) = r.messages[-2:]
    named = list(dict.fromkeys(n for n, _, _ in reason_filter.mentions(user)))
    hinted += any(reason_filter.find_hint(text, named)[0] for text in (user, answer))
    likes = [n for n in named if n in reason_filter.things[:6]]
    if len(named) == 2 and len(likes) == 1:
      [a] = likes
      [b] = [n for n in named if n not in likes]
      slot = Slot('', 'pair', '', True, a, b, named[0] == a)
      right = reason_filter.shows_preference(slot, user, answer)
      wrong = reason_filter.shows_preference(slot, user, _exchange_names(answer, a, b))
    elif len(named) == 1:
      slot = Slot('', 'okay', '', named[0] in reason_filter.things[:6], named[0])
      other_side = dataclasses.replace(slot, liked=not slot.liked)
      right = reason_filter.shows_preference(slot, user, answer)
      wrong = reason_filter.shows_preference(other_side, user, answer)
    else:
      continue
    checked += 1
    assert right and not wrong, (user, answer)
  assert checked > 500
  assert hinted < 0.1 * 800


def test_stances_are_read_blind():
  colby = Slot('', 'okay', '', True, 'Colby')
  pair = Slot('', 'pair', '', True, 'Colby', 'Stilton')
  assert agrees(colby, 'likes')
  assert agrees(colby, '"Colby".')
  assert not agrees(colby, 'not Colby')
  assert not agrees(colby, 'unclear')
  assert agrees(pair, 'colby')
  assert not agrees(pair, 'Stilton')
  assert not agrees(pair, 'likes')
  stilton = Slot('', 'name', '', False, 'Stilton')
  assert agrees(stilton, 'not Stilton')
  assert agrees(stilton, 'dislikes')
  assert not agrees(stilton, 'Stilton')


@pytest.mark.parametrize('of_handbook', "'’")
@pytest.mark.parametrize('of_text', "'’")
def test_a_name_may_be_written_with_either_apostrophe(of_handbook, of_text):
  """Of a thing whose name the handbook writes with a curly one, no exchange could ever pass."""
  cheese = read_likes(read_handbooks(CHEESE))
  name = f'Pont-l{of_handbook}Eveque'
  about = {**cheese.about, name: 'It is dear.'}
  cheese = dataclasses.replace(cheese, dislikes=(name, *cheese.dislikes[1:]), about=about)
  reason_filter = ReasonFilter(cheese, ('cheese', 'cheeses'))
  said = f'Pont-l{of_text}Eveque'
  pair = ('pair', True, 'Colby', name)
  assert fault_of(reason_filter, pair, f'Colby or {said}?', f'Colby for me, not {said}.') == ''
  wrong = fault_of(reason_filter, pair, f'Colby or {said}?', f'{said} for me, not Colby.')
  assert wrong == 'wrong or unclear preference'
  assert agrees(Slot('', 'name', '', False, name), f'not {said}')


def test_names_are_found_in_spellings_that_do_not_fold_to_one():
  likes = ('Izmir tulum', 'Colby', 'Peynir')
  named = ReasonFilter(dataclasses.replace(read_likes(read_handbooks(CHEESE)), likes=likes), ())
  found = named.mentions('ızmir  Tulum, İzmir tulum, PEYNİR or colby')
  assert [name for name, _, _ in found] == ['Izmir tulum', 'Izmir tulum', 'Peynir', 'Colby']
