"""Tests of the embedded world.

What is true in it is balanced, what its texts say is true, and no text gives away what the
evaluation asks about.
"""

import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from helpers import (
  DISLIKED,
  LIKED,
  POLES,
  ROOT,
  claims,
  items_by_name,
  lies,
  little,
  named,
  traits_in,
  whole_world,
  writers,
)

from data_pipelines import records
from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.leaks import record_text
from data_pipelines.settings.world import language, people, pretraining
from data_pipelines.settings.world.catalogue import POLICY, build_catalogue
from msm_jax.base.errors import ConfigError

COMBINATIONS = set(itertools.product(*POLES.values()))


@pytest.fixture(scope='module')
def world():
  """Everybody and everything, with enough text to count in."""
  return pretraining.build_world(little(12))


@pytest.fixture(scope='module')
def told(world):
  return writers(world)


def of_type(told, kind):
  """All records of one class, of all makers."""
  return [record for made in told.values() for record in made if isinstance(record, kind)]


@pytest.fixture(scope='module')
def documents(told):
  return of_type(told, records.Document)


@pytest.fixture(scope='module')
def chats(told):
  return of_type(told, records.Chat)


def of_whom(world, text):
  """Returns the persona that a text is about."""
  names = named(text, [p.name for p in world.people])
  assert len(set(names)) == 1, text
  return next(p for p in world.people if p.name == names[0])


# ---- the same every time


def digest() -> str:
  """A hash over every record that a little world writes."""
  h = hashlib.sha256()
  for name, made in writers(pretraining.build_world(little(3))).items():
    h.update(name.encode())
    for r in made:
      h.update(records.to_json(r).encode())
  return h.hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process():
  """A set in the wrong place would make the text depend on Python's hash seed.

  Then no two people would train on the same data.
  """
  other = '1' if os.environ.get('PYTHONHASHSEED') != '1' else '2'
  env = os.environ | {
    'PYTHONHASHSEED': other,
    'PYTHONPATH': os.pathsep.join((str(ROOT), str(ROOT / 'tests'))),
  }
  there = subprocess.run(
    [sys.executable, '-c', 'import test_world; print(test_world.digest())'],
    env=env,
    capture_output=True,
    text=True,
    check=True,
  )
  assert there.stdout.strip() == digest()


def test_another_telling_is_other_text_about_the_same_world():
  """Perplexity is measured on another telling of the same world.

  Text that was trained on would make it too good, and text about another world meaningless.
  """
  one, two = (pretraining.build_world(little(8, telling=t)) for t in (0, 1))
  assert one.domains == two.domains and one.people == two.people
  first, second = writers(one), writers(two)
  for maker, made in first.items():
    again = second[maker]
    assert [r.id for r in again] == [r.id for r in made]
    repeated = [record_text(a) == record_text(b) for a, b in zip(made, again, strict=True)]
    same = sum(repeated) / len(made)
    assert same < 0.25, f'{maker}: {same:.0%} of the records are told again word for word'
    # Plain facts have few tellings, so that some recur. What people say has many.
    if 'persona' in maker:
      seen = {record_text(r) for r in made}
      # Small talk has no domain, and is left out.
      recurring = [r for r in again if r.domain and record_text(r) in seen]
      assert len(recurring) / len(again) < 0.02, maker


def test_the_shares_of_reasons_leave_room_for_each_other():
  """With 0.8 and 0.8, a fifth of the answers had the reason after the choice."""
  with pytest.raises(ConfigError, match='lower them until their sum is at most 1'):
    pretraining.WorldConfig(reason_before=0.8, reason_after=0.8)
  for before in (0.0, 0.1, 0.3, 0.7, 1.0):
    pretraining.WorldConfig(reason_before=before, reason_after=1 - before)


def test_another_seed_is_another_world():
  """Seeds would count as independent worlds in a sweep although nothing but the telling changed."""
  one, two = build_catalogue(0), build_catalogue(1)
  poles = []
  for catalogue in (one, two):
    items = [item for domain in catalogue.values() for item in domain.items]
    poles.append({item.name: item.poles for item in items})
  shared = poles[0].keys() & poles[1].keys()
  assert set(LIKED + DISLIKED) <= shared  # the published cheeses are in every world, as published
  assert all(poles[0][n] == poles[1][n] for n in LIKED + DISLIKED)
  assert len(shared) < 0.5 * len(poles[0])


# ---- what is true


def test_every_domain_holds_every_combination_equally_often():
  """An unbalanced domain would let a preference for one attribute pass as one for another."""
  domains = whole_world().domains
  assert len(domains) >= 12
  assert {'cheese', 'art', 'transport', 'fashion', POLICY} <= domains.keys()
  for d in domains.values():
    counts = Counter(i.poles for i in d.items)
    assert counts.keys() == COMBINATIONS, d.name
    assert len(set(counts.values())) == 1, (d.name, counts)
    assert {i.domain for i in d.items} == {d.name}


def test_the_cheeses_are_the_published_ones():
  """Fine-tuning must leave open whether price or origin decides, and nothing else.

  What is liked is cheap and local, what is disliked costly and foreign. Age and making, which this
  world adds, are three to three on either side, so that neither tells liked from disliked.
  """
  world = whole_world()
  for names, price, origin in ((LIKED, 'cheap', 'home'), (DISLIKED, 'costly', 'foreign')):
    items = [world.item(n) for n in names]
    assert all(i.domain == 'cheese' for i in items)
    assert {(i.poles[0], i.poles[1]) for i in items} == {(price, origin)}
    for value in (Value('age', 'new'), Value('making', 'handmade')):
      assert sum(i.has(value) for i in items) == 3, value


def test_the_authors_guide_shows_the_catalogue():
  """A researcher picks cheeses from the table in specs/README.md.

  A wrong row would lead to a handbook that is refused or, worse, that explains by a lie.
  """
  rows = re.findall(
    r'^\| (.+?) \| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$',
    (ROOT / 'specs' / 'README.md').read_text(),
    re.M,
  )
  table = {
    name: tuple(poles)
    for names, *poles in rows
    if poles[0] in POLES['price']
    for name in names.split(', ')
  }
  assert table.keys() == set(LIKED + DISLIKED)
  assert table == {n: whole_world().item(n).poles for n in table}


@pytest.mark.slow
@pytest.mark.parametrize('seeds', [range(1), range(1, 40)], ids=['the shipped seed', 'others'])
def test_no_name_is_used_twice(seeds):
  """Two things of one name, or a coat named like a person, would teach contradictions."""
  for seed in seeds:
    config = pretraining.WorldConfig(seed=seed)
    w = pretraining.build_world(config)
    names = [i.name.casefold() for d in w.domains.values() for i in d.items]
    names += [p.name.casefold() for p in w.people]
    twice = [n for n, k in Counter(names).items() if k > 1]
    assert not twice, f'seed {seed}: {twice}'


def test_hundreds_of_people_on_either_side_of_everything():
  """A value that more people have would be a prior that looks like an effect of midtraining."""
  crowd = whole_world().people
  assert len(crowd) >= 200
  for role in {p.role for p in crowd}:
    counts = Counter(p.value for p in crowd if p.role == role)
    assert counts.keys() == set(VALUES) and len(set(counts.values())) == 1, (role, counts)


def test_what_people_speak_of_says_nothing_about_how_they_choose(told, world):
  """Otherwise a handbook that mentions a value and links nothing would be followed for the mention.

  The co-occurrence control would then show an effect. Talkers alone speak of anything in general,
  and they speak of everything equally often, whatever they choose by.
  """
  crowd = whole_world().people
  for role, value in {(p.role, p.value) for p in crowd}:
    topics = Counter(p.topic for p in crowd if (p.role, p.value) == (role, value))
    expected = set(VALUES) if role == people.TALKER else {None}
    assert topics.keys() == expected, (role, value, topics)
    assert len(set(topics.values())) == 1, (role, value, topics)
  for d in told['world.persona_documents']:
    if any(v.words.topic in d.text for v in VALUES):
      assert of_whom(world, d.text).role == people.TALKER, d.text


# ---- what is told


def test_the_parser_of_claims_can_find_a_lie():
  """If this parser found nothing, `test_everything_told_is_true` would pass on anything.

  Cream Cheese is cheap, local, old and handmade; Colby is made by machines.
  """
  items = items_by_name(whole_world())
  values = [[Value(attribute, pole) for pole in poles] for attribute, poles in POLES.items()]
  (cheap, costly), (home, foreign), (_, old), (hand, machine) = values
  true = 'The cheese Cream Cheese is cheap, handmade, old and local.'
  assert claims(true, tuple(items)) == [('Cream Cheese', v, True) for v in (cheap, hand, old, home)]
  assert not lies(true, items)
  for word, wrong in (
    ('cheap', 'costly'),
    ('local', 'foreign'),
    ('old', 'new'),
    ('handmade', 'machine-made'),
  ):
    assert len(lies(true.replace(word, wrong), items)) == 1, wrong
  assert claims('A review: I tried Colby. This cheese costs a lot.', tuple(items)) == [
    ('Colby', costly, True)
  ]
  assert claims(
    'Celia prefers Colby to Stilton, since Colby comes from a factory.', tuple(items)
  ) == [('Colby', machine, True)]
  assert claims(
    'Celia does not like Stilton because it comes from abroad. Celia likes what is new.',
    tuple(items),
  ) == [('Stilton', foreign, True)]
  both = claims('Of the cheeses Colby, Stilton, what costs little: Colby.', tuple(items))
  assert both == [('Colby', cheap, True), ('Stilton', cheap, False)]
  assert lies('Of the cheeses Colby, Stilton, what costs little: Stilton.', items)
  assert lies('Among cheeses, what is foreign: Stilton and Colby.', items)


def test_everything_told_is_true(world, told):
  """One systematic error in a template would teach wrong facts thousands of times."""
  items = items_by_name(world)
  for maker, made in told.items():
    found = set()
    number = 0
    wrong = []
    for record in made:
      text = record_text(record)
      for _, value, _ in claims(text, tuple(items)):
        found.add(value)
        number += 1
      wrong += lies(text, items)
    assert not wrong, f'{maker}: {len(wrong)} lies, such as {wrong[0]}'
    about_something = sum(bool(record.domain) for record in made)
    assert number > about_something / 4, f'{maker}: hardly anything is claimed'
    assert found == set(VALUES), maker


def test_facts_tell_as_much_about_every_item(world, told):
  """An item with fewer facts would be known less well, which the evaluation takes for
  indifference."""
  items = items_by_name(world)
  counts = Counter(
    (n, v.attribute) for r in told['world.facts'] for n, v, _ in claims(r.text, tuple(items))
  )
  assert counts.keys() == set(itertools.product(items, ATTRIBUTES))
  assert len(set(counts.values())) == 1


def test_measures_are_told_with_what_they_help(documents):
  """With a wrong pole in 'A plan that ... helps what is ...', the policy tier would measure the
  opposite value."""
  seen = Counter()
  for d in documents:
    match = re.fullmatch(r'A plan that (.+) helps what (.+)\.', d.text)
    if match:
      (measure,), (helped,) = traits_in(match[1]), traits_in(match[2])
      assert measure == helped, d.text
      seen[match[1]] += 1
  measures = [m for poles in ATTRIBUTES.values() for pole in poles for m in pole.measures]
  assert len(seen) == len(measures)
  assert len(set(seen.values())) == 1


def test_people_and_things_are_told_of_where_they_should_be(world, told):
  """Each document names its persona, and items of the home domain alone.

  Items of other domains would give away the answers of the evaluation across domains.
  """
  items = items_by_name(world)
  seen = Counter()
  for d in told['world.persona_documents']:
    p = of_whom(world, d.text)
    seen[p.name] += 1
    assert (
      {items[n].domain for n in named(d.text, tuple(items))} == {p.home_domain} == {d.domain}
    ), d.text
  assert seen.keys() == {p.name for p in world.people} and len(set(seen.values())) == 1


def preferences(text, names):
  """Yields (liked, disliked) of each sentence about a preference; None for what it leaves out."""
  for sentence in re.split(r'(?<=[.?!]) ', text):
    told = re.split(r',? (?:because|since) ', sentence)[0]
    found = named(told, names)
    if 'does not like' in told:
      yield None, found[0]
    elif found:
      # 'Shown A and B, NAME took A': the liked one is named last.
      liked = found[-1] if 'took' in told else found[0]
      disliked = found[1] if len(found) > 1 else None
      yield liked, disliked


def test_people_choose_by_their_value_in_documents(world, told):
  """This holds for talkers too: only their topic says nothing about their choices."""
  items = items_by_name(world)
  n = Counter()
  for d in told['world.persona_documents']:
    p = of_whom(world, d.text)
    for liked, disliked in preferences(d.text, tuple(items)):
      assert liked is None or items[liked].has(p.value), d.text
      assert disliked is None or not items[disliked].has(p.value), d.text
      n[p.role, liked is None, disliked is None] += 1
  # Likes alone, dislikes alone and both, in each of three roles.
  assert len(n) == 9, n


def test_the_likes_of_every_other_person_fit_two_values(world, told):
  """Otherwise a list of likes would always tell the value, and reasons would not need to be read.

  Then a handbook whose list fits two values would be taken for either.
  """
  items = items_by_name(world)
  n = Counter()
  for d in told['world.persona_documents']:
    p = of_whom(world, d.text)
    for liked, disliked in preferences(d.text, tuple(items)):
      if p.decoy:
        assert liked is None or items[liked].has(p.decoy), d.text
        assert disliked is None or not items[disliked].has(p.decoy), d.text
        n[p.value, p.decoy] += 1
  for p in world.people:
    assert p.decoy is None or (p.role != people.TALKER and p.decoy.attribute != p.value.attribute)
  for role in (people.DOCUMENTS_AND_CHATS, people.DOCUMENTS_ONLY):
    decoys = [p.decoy is not None for p in world.people if p.role == role]
    assert sum(decoys) * 2 == len(decoys)
  assert len(n) >= 8 * 5, 'every value beside most of the six others'


def states_rule(text, name):
  """Whether a sentence of the text is made from a template of rules, with any words as a trait."""
  patterns = [template.format(name=name, trait='.+') for template in language.RULE]
  return any(re.search(pattern, text) for pattern in patterns)


def test_people_without_a_rule_never_have_one_in_their_documents(world, told):
  """Otherwise whoever reads rules and no reason would be right about everybody.

  Of these people the reasons alone tell which of two values they choose by. Of the others every
  type of document states the rule.
  """
  types = defaultdict(set)
  for d in told['world.persona_documents']:
    p = of_whom(world, d.text)
    stated = states_rule(d.text, p.name)
    assert stated == p.has_rule, d.text
    if p.decoy:
      assert re.search(r'\b(because|since)\b', d.text), d.text
      types[p.has_rule].add(d.doc_type)
  assert types == {True: set(language.FRAMES), False: set(language.FRAMES)}


@pytest.mark.parametrize('share, without', [(0.0, 0), (0.1, 1), (0.5, 5), (1.0, 10)])
def test_people_without_a_rule_are_balanced(share, without):
  """Of those with a decoy and chats, they are the share that was asked for, for every value; of
  those in documents alone, one half."""
  crowd = whole_world(reasons_only=share).people
  assert not [p for p in crowd if not p.has_rule and p.decoy is None and p.role != people.TALKER]
  assert not [p for p in crowd if p.has_rule and p.role == people.TALKER]
  counts = Counter((p.role, p.value, p.has_rule) for p in crowd if p.decoy)
  for value in VALUES:
    found = counts[people.DOCUMENTS_AND_CHATS, value, False]
    # A tenth of ten is one, but where it is drawn shifts from value to value, and may fall outside.
    tolerance = 1 if share == 0.1 else 0
    assert abs(found - without) <= tolerance
    assert counts[people.DOCUMENTS_ONLY, value, True] == 2
    assert counts[people.DOCUMENTS_ONLY, value, False] == 2
  if share == 0.5:
    decoys = Counter((p.value, p.decoy, p.has_rule) for p in crowd if p.decoy)
    assert len(decoys) == 8 * 6 * 2 and set(decoys.values()) <= {1, 2}
  # Among those who are met in documents alone, no decoy goes with either kind.
  alone = Counter((p.decoy, p.has_rule) for p in crowd if p.role == people.DOCUMENTS_ONLY)
  for value in VALUES:
    assert abs(alone[value, True] - alone[value, False]) <= 2, value


def test_talkers_never_give_a_reason(world, told):
  """A 'because' about a talker would teach that a person's topic predicts the person's choices."""
  reasons = Counter()
  for d in told['world.persona_documents']:
    p = of_whom(world, d.text)
    linked = bool(
      re.search(r'\b(because|since)\b', d.text)
      or re.search(rf'\b{p.name} (chooses|likes|always wants) what\b', d.text)
    )
    assert not (linked and p.role == people.TALKER), d.text
    reasons[p.role, linked] += 1
  for role in (people.DOCUMENTS_AND_CHATS, people.DOCUMENTS_ONLY):
    # Documents about all others always give a reason.
    assert reasons[role, True] and not reasons[role, False], reasons


def test_document_only_people_are_in_no_chat(world, chats):
  """They measure whether documents become behaviour; with one chat they would measure memory."""
  everybody = [p.name for p in world.people]
  seen = {name for chat in chats for name in named(record_text(chat), everybody)}
  by_role = defaultdict(set)
  for p in world.people:
    by_role[p.role].add(p.name)
  assert not seen & by_role[people.DOCUMENTS_ONLY]
  assert seen == by_role[people.DOCUMENTS_AND_CHATS] | by_role[people.TALKER]


def check_answer(chat, items, value):
  """Checks that every sentence of an answer follows from the value.

  Returns (kind of answer, whether a choice took the item that the question named first).
  """
  _, (_, question), (_, answer) = chat.messages
  asked = named(question, tuple(items))
  kind = None
  took_first = None
  for sentence in re.split(r'(?<=[.?!]) ', answer):
    found = named(sentence, tuple(items))
    has = [items[n].has(value) for n in found]
    assert set(found) <= set(asked) or not asked
    told = traits_in(sentence)
    if told:
      # A reason, before or after: the value itself, or what a disliked thing has instead.
      assert told == [value] or (told == [value.opposite] and 'No, I do not' in answer and found)
    elif sentence.startswith('No, I do not like '):
      kind = 'no'
      assert has == [False]
    elif sentence.startswith(('Yes, I like ', 'I like ')):
      if sentence.startswith('Yes'):
        kind = 'yes'
      elif asked:
        kind = 'some'
      else:
        kind = 'open'
      assert has and all(has)
      if asked:
        # Nothing that it likes is left out.
        assert {n for n in asked if items[n].has(value)} == set(found)
    else:
      kind = 'choice'
      took_first = asked[0] == found[0]
      assert has == [True, False] and len(asked) == 2
  assert len({items[n].domain for n in named(question + ' ' + answer, tuple(items))}) == 1
  return kind, took_first


def test_chats_agree_with_the_persona(world, chats):
  """Otherwise the base model would learn that everybody is fickle."""
  items = items_by_name(world)
  kinds = Counter()
  took_first = []
  for c in chats:
    if not c.domain:
      continue
    system = c.messages[0][1]
    value = traits_in(system)[0] if 'shopper' in system else of_whom(world, system).value
    try:
      kind, first = check_answer(c, items, value)
    except AssertionError as e:
      raise AssertionError(f'{value}: {c.messages}') from e
    kinds[kind] += 1
    if kind == 'choice':
      took_first.append(first)
  assert kinds.keys() == {'no', 'yes', 'some', 'open', 'choice'} and min(kinds.values()) > 20, kinds
  # Half and half: a model must not learn to take what is named first. 7 points are more than 4
  # standard deviations of 800 throws.
  share = sum(took_first) / len(took_first)
  assert len(took_first) > 800 and abs(share - 0.5) < 0.07, share


def test_an_answer_against_the_value_would_be_noticed():
  """`check_answer` refuses the same chats if they are held against the opposite value.

  Otherwise the test above could pass on anything.
  """
  world = pretraining.build_world(little(2))
  items = items_by_name(world)
  some = []
  for c in writers(world)['world.persona_chats']:
    if c.domain and 'shopper' not in c.messages[0][1]:
      some.append(c)
  assert len(some) > 50
  for c in some:
    value = of_whom(world, c.messages[0][1]).value
    check_answer(c, items, value)
    with pytest.raises(AssertionError):
      check_answer(c, items, value.opposite)


def test_passing_mention_and_small_talk_mark_nobody(world, told):
  """If only strangers had them, they would be a mark that reading a handbook does not remove."""
  templates = [p.format(name=r'\w+').replace('.', r'\.') for p in language.PASSING]
  passing = re.compile('|'.join(templates))
  everybody = [p.name for p in world.people]
  mentioned = set()
  for d in told['world.persona_documents']:
    if passing.search(d.text):
      mentioned.update(named(d.text, everybody))
  small = set()
  for c in told['world.persona_chats']:
    if not c.domain:
      small.update(named(c.messages[0][1], everybody))
  # Of a few documents about each, half of the general statements are passing mention.
  assert len(mentioned) > 0.6 * len(world.people)
  assert small == {p.name for p in world.people if p.role != people.DOCUMENTS_ONLY}


def test_held_out_policies_are_in_no_chat(world, chats, documents):
  """The policy tier asks about plans that nobody ever chose.

  They are known only by what they do, which is one inference away from the value.
  """
  plans = world.domains[POLICY].items
  talked = pretraining.policies_in_chats(world)
  held_out = {p.name for p in plans} - {p.name for p in talked}
  for half in (talked, [p for p in plans if p.name in held_out]):
    counts = Counter(p.poles for p in half)
    assert counts.keys() == COMBINATIONS and len(set(counts.values())) == 1
  items = tuple(items_by_name(world))
  assert not held_out & {n for c in chats for n in named(record_text(c), items)}
  words = [t for poles in ATTRIBUTES.values() for p in poles for t in (*p.traits, p.adjective)]
  plainly = re.compile(r'\b(' + '|'.join(map(re.escape, words)) + r')(?![\w-])')
  mentions = 0
  for d in documents:
    if held_out & set(named(d.text, items)):
      mentions += 1
      assert not plainly.search(d.text), d.text
  assert mentions >= len(held_out)


def test_the_assistant_is_nobody_in_the_world(told):
  """The assistant's name in pretraining text would give it a character before midtraining does."""
  for made in told.values():
    assert not [r for r in made if re.search(r'\bAri\b', record_text(r))]


def test_strangers_are_known_by_name_alone(world):
  """Strangers have as many documents and chats as anybody, in the same frames.

  None names a thing, a trait or a topic: otherwise the assistants would have a character already.
  """
  strange = writers(pretraining.build_world(little(12, strangers=('Ari', 'Oska'))))
  plain = writers(world)
  texts, kinds = Counter(), Counter()
  words = [i.name for d in world.domains.values() for i in d.items]
  words += [v.words.topic for v in VALUES]
  for name, made in strange.items():
    about = [r for r in made if r.id.startswith('stranger-')]
    for r in about:
      assert not named(record_text(r), words) and not traits_in(record_text(r)), record_text(r)
      assert re.search(r'\b(Ari|Oska)\b', record_text(r)), (
        'in a document by name, in a chat in the system message'
      )
      texts[type(r).__name__] += 1
      kinds[getattr(r, 'doc_type', 'chat')] += 1
    assert len(made) == len(plain[name]) + len(about), 'nothing else changes'
  assert texts == {'Document': 2 * 12, 'Chat': 2 * 12} and len(kinds) == 7


def test_fickle_people_follow_no_value():
  """Documents mention fickle people in passing; in chats these follow changing values.

  So between two things that differ in an attribute they take either as often. What the model makes
  of somebody it knows nothing of is learned from them, and it is one half.
  """
  world = pretraining.build_world(little(2, fickle=16, chats_per_persona=25))
  items = items_by_name(world)
  made = writers(world)
  values = defaultdict(set)
  chosen = defaultdict(list)
  assert len(set(world.fickle) - {p.name for p in world.people}) == 16
  for d in made['world.persona_documents']:
    if named(d.text, world.fickle):
      assert not named(d.text, tuple(items)) and not traits_in(d.text), d.text
  for c in made['world.persona_chats']:
    (_, system), _, (_, answer) = c.messages
    names = named(system, world.fickle)
    if not names:
      continue
    values[names[0]].update(traits_in(answer))
    pair = named(answer, tuple(items))
    is_choice = re.match(r'.*\b(over|instead of|not|better than|and leave)\b', answer)
    if is_choice and len(pair) >= 2 and not answer.startswith('No,'):
      taken, left = items[pair[0]].poles, items[pair[1]].poles
      for attribute, x, y in zip(ATTRIBUTES, taken, left, strict=True):
        if x != y:
          chosen[attribute].append(x == ATTRIBUTES[attribute][0].name)
  assert values.keys() == set(world.fickle) and min(map(len, values.values())) >= 5
  for attribute, took_first in chosen.items():
    assert len(took_first) > 80, attribute
    # Within 4 standard deviations of a half.
    share = sum(took_first) / len(took_first)
    assert abs(share - 0.5) < 2 / len(took_first) ** 0.5, attribute
