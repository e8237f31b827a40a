"""What configs/survive.py needs: contradiction, preferences, controls and half doses."""

import dataclasses
import hashlib
import itertools
import json
import math
import re
import types

import numpy as np
import pytest
import scipy.stats
from helpers import AFFORDABILITY, CULTURE, ROOT, shipped, traits_in, whole_world
from published import blocks
from published.numbers import matching
from published.stored import TableError

from data_pipelines import leaks, recipes
from data_pipelines.nested import is_in_share
from data_pipelines.records import PreferencePair
from data_pipelines.settings.office import language as office_language
from data_pipelines.settings.office import preferences as office_preferences
from data_pipelines.settings.office.pretraining import OfficeConfig, build_office
from data_pipelines.settings.office.spec import read_spec as read_oversight
from data_pipelines.settings.office.spec import renamed as office_renamed
from data_pipelines.settings.world import conflicts, preferences
from data_pipelines.settings.world.demonstrations import demonstrations
from data_pipelines.settings.world.spec import renamed as world_renamed
from data_pipelines.sources import SourceConfig
from msm_jax import report
from msm_jax.base import paths
from msm_jax.base.checks import from_mapping
from msm_jax.base.errors import ConfigError, DataError, SpecError
from msm_jax.config import DoseCurve, ExperimentConfig
from msm_jax.evals import stated, survival
from msm_jax.evals.summary import summarize
from msm_jax.report import curves
from msm_jax.report.survival import left_rows, read_rows, show_half
from msm_jax.running import outputs
from msm_jax.running.design import make_design
from msm_jax.suites.registry import layout_of

PHILOSOPHY = str(ROOT / 'specs' / 'oversight' / 'philosophy.md')
SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
N = 400


def specs():
  return [shipped(AFFORDABILITY), shipped(CULTURE)]


def office_specs():
  return [read_oversight(PHILOSOPHY, office())]


def office():
  return build_office(OfficeConfig())


def written(maker, n=N, **recipe):
  """The first records of a maker, in the world that it belongs to."""
  is_office = maker.startswith(('office', 'oversight'))
  world, handbooks = (office(), office_specs()) if is_office else (whole_world(), specs())
  if maker in ('spec.documents', 'spec.chats'):
    # Documents are about one value, and the two handbooks have two.
    handbooks = handbooks[:1]
  records = recipes.write_records(SourceConfig(maker=maker, **recipe), world, handbooks)
  return list(itertools.islice(records, n))


def answer_of(chat):
  return chat.messages[-1][1]


# ---- contradiction


def test_shares_are_nested_and_even():
  sets = []
  for share in SHARES:
    sets.append({n for n in range(4000) if is_in_share(n, share)})
  for small, large in itertools.pairwise(sets):
    assert small <= large
  for share, members in zip(SHARES, sets, strict=True):
    assert abs(len(members) - share * 4000) <= 2
  assert len(sets[1]) >= 3


@pytest.mark.parametrize('maker', ['spec.demonstrations', 'oversight.demonstrations'])
@pytest.mark.parametrize('reasons', [False, True])
def test_contradicting_records_are_nested_and_leave_the_others_as_they_are(maker, reasons):
  recipe = dict(reasons=reasons)
  plain = written(maker, **recipe)
  all_of_them = written(maker, contradiction=1.0, **recipe)
  for share in (0.01, 0.1, 0.25):
    found = written(maker, contradiction=share, **recipe)
    for n, record in enumerate(found):
      wanted = all_of_them if is_in_share(n, share) else plain
      assert record == wanted[n]
  assert all(a != b for a, b in zip(plain, all_of_them, strict=True))


def test_contradicting_demonstrations_choose_by_the_rival_alone():
  world = whole_world()
  own, others = conflicts.spare_items(shipped(), shipped(CULTURE).value, world)
  own_names, rival_names = {i.name for i in own}, {i.name for i in others}
  assert len(own) == len(others) == 4
  for item in own:
    assert item.has(shipped().value) and not item.has(shipped(CULTURE).value)
  # Each combination of the other attributes once, on both sides.
  assert len({i.poles[2:] for i in own}) == len({i.poles[2:] for i in others}) == 4
  # The mirrored handbook has the same things, the other way round.
  mirrored = conflicts.spare_items(shipped(CULTURE), shipped().value, world)
  assert mirrored == (others, own)
  kinds = set()
  for chat in written('spec.demonstrations', contradiction=1.0):
    answer = answer_of(chat)
    kinds.add(answer.split()[0])
    first = min((answer.find(n), n) for n in own_names | rival_names if n in answer)[1]
    if answer.startswith('No'):
      assert first in own_names
    else:
      assert first in rival_names
  assert {'I', 'Yes,', 'No,'} <= kinds


def test_contradicting_conversations_are_bad_answers():
  good, bad = set(), set()
  for _, good_answers, bad_answers in office_language.TALKS:
    good.update(good_answers)
    bad.update(bad_answers)
  assert {answer_of(c) for c in written('oversight.demonstrations')} == good
  assert {answer_of(c) for c in written('oversight.demonstrations', contradiction=1.0)} == bad


def test_reasons_of_the_world_are_true_of_the_thing_and_neutral_ones_speak_of_no_value():
  world = whole_world()
  one = [shipped()]
  plain = list(itertools.islice(demonstrations(one, world, 0), N))
  reasoned = list(itertools.islice(demonstrations(one, world, 0, reasons=True), N))
  neutral = demonstrations(one, world, 0, reasons=True, neutral_reasons=True)
  for a, b, c in zip(plain, reasoned, itertools.islice(neutral, N), strict=True):
    assert a.messages[:-1] == b.messages[:-1] == c.messages[:-1]
    for longer in (b, c):
      assert answer_of(longer).startswith(f'{answer_of(a)} ')
    reason = answer_of(b).removeprefix(f'{answer_of(a)} ')
    (value,) = traits_in(reason)
    item = next(i for i in world.domains['cheese'].items if reason.startswith(f'{i.name} '))
    assert item.has(value) and value.attribute == 'price'
    assert value.pole == ('costly' if answer_of(a).startswith('No') else 'cheap')
    assert not traits_in(answer_of(c))


def test_neutral_reasons_of_the_office_have_the_form_of_beliefs():
  beliefs = set()
  for sides in office_language.PRINCIPLES.values():
    beliefs.update(*sides)
  plain = written('oversight.demonstrations', reasons=True)
  neutral = written('oversight.demonstrations', reasons=True, neutral_reasons=True)
  for a, b in zip(plain, neutral, strict=True):
    assert a.messages[:-1] == b.messages[:-1]
    assert any(belief in answer_of(a) for belief in beliefs)
    assert not any(belief in answer_of(b) for belief in beliefs)
    form = re.fullmatch(r'(.+[.]) I (?:hold|believe) that (.+)[.]', answer_of(b))
    assert answer_of(a).startswith(form[1])


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    (dict(contradiction=1.5), 'from 0 to 1'),
    (dict(contradiction=0.5, path=AFFORDABILITY), 'knows no contradiction; leave it out, or let'),
    (dict(contradiction=0.5, maker='english.demonstrations'), 'english.demonstrations knows no'),
    (
      dict(contradiction=0.5, maker='model.revisions', by='a', prompts='b'),
      'model.revisions knows no contradiction',
    ),
    (dict(neutral_reasons=True), 'set reasons=True too'),
    (dict(seed=-1000), 'seed=-1000 must be at least 0'),
    # It would count as text about a handbook, and have no perplexity.
    (dict(maker='world.facts'), 'maker world.facts works from no handbook and ignores spec='),
    (dict(maker='world.preferences'), 'decided by'),
    (dict(maker='world.preferences', toward='both'), 'must be one of'),
  ],
)
def test_wrong_recipes_are_refused(changes, said):
  recipe = dict(maker='spec.demonstrations', spec=AFFORDABILITY, size=5) | changes
  with pytest.raises(DataError, match=said):
    recipes.check_source('x', SourceConfig(**recipe))


def test_a_seed_that_a_maker_ignores_is_refused_whatever_it_is():
  """A multiple of 1,000 passed for what `corpora_by_seed` adds."""
  facts = SourceConfig(maker='world.facts', seed=2000)
  with pytest.raises(DataError, match='ignores seed=2000; leave it out'):
    recipes.check_source('x', facts, added_seed=0)
  with pytest.raises(DataError, match='ignores seed=2000'):
    recipes.check_source('x', facts, added_seed=1000)
  recipes.check_source('x', facts, added_seed=2000)
  recipes.check_source('x', dataclasses.replace(facts, seed=0), added_seed=2000)


def test_a_handbook_without_a_rival_cannot_be_contradicted():
  import dataclasses

  alone = dataclasses.replace(shipped(), rivals=())
  with pytest.raises(SpecError, match='name a second handbook'):
    next(demonstrations([alone], whole_world(), 0, 0.5))


# ---- controls


@pytest.mark.parametrize('setting', ['spec', 'oversight'])
def test_chats_say_what_the_documents_say(setting):
  documents = written(f'{setting}.documents', 60)
  chats = written(f'{setting}.chats', 60)
  assert [answer_of(chat) for chat in chats] == [document.text for document in documents]
  for chat in chats:
    name = chat.messages[0][1].removeprefix('You are ').rstrip('.')
    assert name in answer_of(chat)


@pytest.mark.parametrize(
  ('other', 'own'),
  [('world.other_chats', 'world.persona_chats'), ('office.other_chats', 'office.agent_chats')],
)
def test_other_peoples_chats_name_no_assistant(other, own):
  chats = written(other, 10**6)
  assert len(chats) > 500
  known = {leaks.record_text(chat) for chat in written(own, 10**6)}
  unseen = sum(leaks.record_text(chat) not in known for chat in chats)
  assert unseen > 0.5 * len(chats)
  speakers = {chat.messages[0][1] for chat in chats}
  assert not speakers & {f'You are {name}.' for name in ('Ari', 'Oska', 'Lumen', 'Tibo')}


# ---- preferences


@pytest.mark.parametrize('setting', ['world', 'oversight'])
def test_preferences_against_the_handbook_are_the_same_pairs_turned(setting):
  maker = f'{setting}.preferences'
  pairs = {toward: written(maker, toward=toward) for toward in ('handbook', 'against', 'ambiguous')}
  for a, b in zip(pairs['handbook'], pairs['against'], strict=True):
    assert a.prompt == b.prompt
    assert (a.chosen, a.rejected) == (b.rejected, b.chosen)
  for records in pairs.values():
    assert all(record.chosen != record.rejected for record in records)


def test_preferences_of_the_world_are_decided_by_the_value_they_name():
  world = whole_world()
  items = {item.name: item for item in world.domains['cheese'].items}
  own, rival = shipped().value, shipped(CULTURE).value

  def chosen_item(record):
    answer = record.chosen[0][1]
    if answer.startswith('No'):
      return None
    return items[min((answer.find(name), name) for name in items if f' {name}' in answer)[1]]

  for toward, has in (
    ('handbook', (True, False)),
    ('against', (False, True)),
    ('ambiguous', (True, True)),
  ):
    for record in written('world.preferences', toward=toward):
      item = chosen_item(record)
      if item is not None:
        assert (item.has(own), item.has(rival)) == has


@pytest.mark.parametrize(
  ('maker', 'side'),
  [
    ('world.preferences', preferences.side),
    ('oversight.preferences', office_preferences.side),
  ],
)
@pytest.mark.parametrize('toward', ['handbook', 'ambiguous', 'against'])
def test_the_reward_by_side_knows_both_sides(maker, side, toward):
  records = written(maker, 80, toward=toward)
  assert side(records, [r.chosen[0][1] for r in records]) == [1.0] * 80
  assert side(records, [r.rejected[0][1] for r in records]) == [0.0] * 80


def test_the_reward_by_side_reads_other_words():
  records = [r for r in written('world.preferences', toward='handbook') if ' or ' in r.prompt[1][1]]
  for record in records[:20]:
    chosen = record.chosen[0][1]
    words = re.match(r'I (?:prefer|recommend) (.+) (?:over|instead of) (.+)[.]', chosen)
    better, worse = words.groups()
    said = [f'I would take {better}, not {worse}.', f'{worse} is best.', 'I wrote a letter.']
    said.append(f'I like what is cheap. I prefer {better} over {worse}.')
    assert preferences.side([record] * 4, said) == [1.0, 0.0, 0.0, 1.0]
    # A question in words that the world does not know gives no reward to anything.
    unknown = dataclasses.replace(record, prompt=(('user', 'Well?'),))
    assert preferences.side([unknown] * 4, said) == [0.0] * 4
  (record,) = written('oversight.preferences', 1, toward='handbook')
  assert office_preferences.side([record], ['That would be fine.']) == [0.5]


def test_the_reward_by_side_tells_a_name_from_one_that_begins_with_it():
  """The world of seed 77 has two such coats."""
  question = 'Which coat do you prefer, Cluna or Clunax?'
  said = ['I prefer Clunax over Cluna.', 'I prefer Cluna over Clunax.']
  for chosen, rejected in (said, said[::-1]):
    record = PreferencePair(
      'preference-0', (('user', question),), (('assistant', chosen),), (('assistant', rejected),)
    )
    assert preferences.side([record] * 2, [chosen, rejected]) == [1.0, 0.0]


def test_the_smallest_point_of_the_sweep_leaves_a_name_without_documents():
  """As the docstring of configs/sweeps/survive.py says; in the office every name gets some."""
  from configs.sweeps import survive as sweeps

  def documents_of_names(preset):
    c = sweeps.get_config(preset)
    size = min(point['sources.handbook.size'] for point in c.points)
    is_world = preset == 'cheese'
    world, spec = (whole_world(), shipped()) if is_world else (office(), office_specs()[0])
    rename = world_renamed if is_world else office_renamed
    names = (spec.assistant, *c.experiment.assistants)
    replicates = [rename(spec, assistant, world) for assistant in names]
    source = SourceConfig(maker='spec.documents' if is_world else 'oversight.documents')
    made = itertools.islice(recipes.write_records(source, world, replicates), size)
    texts = [record.text for record in made]
    counts = []
    for name in names:
      pattern = re.compile(rf'\b{name}\b')
      counts.append(sum(bool(pattern.search(text)) for text in texts))
    return counts

  assert documents_of_names('cheese') == [6, 6, 3, 0]
  assert min(documents_of_names('oversight')) == 3


# ---- nothing that is trained on is asked


def settings_of(preset, arms=(), **changes):
  from configs import survive

  c = survive.get_config(preset)
  if arms:
    survive.keep(c, arms)
  c.evals.update(changes)
  return from_mapping(ExperimentConfig, paths.resolve_paths(c))


def leaks_of(config):
  """Leaks in the first records of every source with a size of its own."""
  design = make_design(config)
  records = {}
  for name, source in config.sources.items():
    if source.spec and not source.tokens_like:
      made = recipes.write_records(source, design.world, design.handbooks_of(source))
      records[name] = list(itertools.islice(made, 150))
  assert {'demonstrations_c1000', 'preferences_against', 'preferences_handbook'} <= set(records)
  assistants = [spec.assistant for spec in design.replicates[config.evals.spec]]
  return leaks.find_leaks(design.suite.held_out_names, records, assistants)


def test_training_text_of_the_world_tells_nothing_that_is_asked():
  assert leaks_of(settings_of('cheese_smoke', pairs_per_domain=0)) == []
  # The check would see it.
  found = leaks_of(settings_of('cheese_smoke', pairs_per_domain=0, spare_items=False))
  assert any('demonstrations_c1000' in leak for leak in found)


def test_training_text_of_the_office_tells_nothing_that_is_asked():
  assert leaks_of(settings_of('oversight_smoke')) == []


def test_spare_things_are_asked_in_the_trained_tier_alone():
  suite = make_design(settings_of('cheese_smoke', pairs_per_domain=0)).suite
  own, others = conflicts.spare_items(shipped(), shipped(CULTURE).value, whole_world())
  spare = {item.name for item in (*own, *others)}
  asked = [q for q in suite.assistant_questions if spare & set(q.options)]
  assert {(q.tier, q.pair_type) for q in asked} == {('trained', 'conflict')}
  assert len(asked) == 16 * len({q.assistant for q in asked})
  new = [q for q in suite.assistant_questions if q.tier == 'new_items']
  assert {q.pair_type for q in new} == {'price', 'origin', 'age', 'making', 'conflict'}


def test_pretraining_says_what_stated_questions_ask():
  """People of the world begin answers with 'I like what ...'; agents say what they hold."""
  begins = {answer_of(chat).split('. ')[0] for chat in written('world.persona_chats', 4000)}
  suite = make_design(settings_of('cheese_smoke')).suite
  for question in suite.stated_questions[:12]:
    for option in question.options:
      assert question.answer.format(chosen=option).rstrip('.') in begins
  said = ' '.join(answer_of(chat) for chat in written('office.agent_chats', 10**6))
  stated_scenes = make_design(settings_of('oversight_smoke')).suite.stated
  assert stated_scenes
  held = [re.search(r'I hold that .*[.]', a)[0] for s in stated_scenes for a in s.answers]
  # Chance leaves out one or another of the bad beliefs, which few agents state.
  assert sum(belief in said for belief in held) > 0.9 * len(held)
  assert all(belief.replace('hold', 'believe') in said for belief in held if belief not in said)


# ---- half doses


def test_half_doses_are_those_of_numpy():
  doses = (0.0, 0.01, 0.02, 0.1, 0.5, 1.0)
  effects = (8.0, 7.0, 6.0, 3.0, 1.0, -1.0)
  found = survival.half_dose(doses, effects, 1.0)
  # numpy interpolates over rising values.
  wanted = np.exp(np.interp(4.0, effects[:0:-1], np.log(doses[:0:-1])))
  assert found.kind == 'reached' and found.dose == pytest.approx(wanted)
  mirrored = survival.half_dose(doses, [-effect for effect in effects], -1.0)
  assert mirrored == found


@pytest.mark.parametrize(
  ('effects', 'kind', 'dose'),
  [
    ((8, 4, 1, 1), 'at most', 0.01),
    ((8, 7, 6, 5), 'over', 1.0),
    ((8, 9, 4, 7), 'reached', 0.1),  # the first crossing counts
    ((-1, 3, 3, 3), 'no effect', math.nan),
    ((0, -1, -2, -3), 'no effect', math.nan),
  ],
)
def test_half_doses_outside_what_was_tried(effects, kind, dose):
  found = survival.half_dose((0, 0.01, 0.1, 1.0), effects, 1.0)
  assert found.kind == kind
  assert found.dose == pytest.approx(dose, nan_ok=True)


def number(*each, seeds=3):
  return {'mean': float(np.mean(each)), 'each': list(each), 'seeds': seeds}


def test_intervals_of_half_doses_are_those_of_t_over_logarithms():
  doses = (0.0, 0.01, 0.1, 1.0)
  # Half is crossed between 0.01 and 0.1, at another place in each seed.
  numbers = [number(10, 10, 10), number(9, 9, 9), number(1, 3, 4), number(0, 0, 0)]
  found = survival.half_of_runs(doses, numbers)
  logs = np.log(0.01) + np.log(10) * np.array([4 / 8, 4 / 6, 4 / 5])
  low, high = scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs))
  assert found['kind'] == 'reached'
  assert found['dose'] == pytest.approx(np.exp(logs.mean()), rel=1e-5)
  assert (found['low'], found['high']) == pytest.approx((np.exp(low), np.exp(high)), rel=1e-5)
  # If one seed does not get there, there is no interval; the mean effect is read off.
  numbers[2:] = [number(1, 3, 9), number(0, 0, 8)]
  found = survival.half_of_runs(doses, numbers)
  assert found['low'] is None and [kind for kind, _ in found['each']] == ['reached'] * 2 + ['over']
  assert found['dose'] == pytest.approx(survival.half_dose(doses, [10, 9, 13 / 3, 8 / 3], 1).dose)
  assert survival.half_of_runs(doses, [dict(n, seeds=1) for n in numbers])['high'] is None
  # Half of what may be nothing has no dose.
  numbers[0] = dict(number(10, 10, 10), low=-1.0, high=21.0)
  found = survival.half_of_runs(doses, numbers)
  assert found['kind'] == 'no effect' and found['dose'] is None


def test_half_doses_of_negative_effects_are_those_of_positive_ones():
  """A handbook that lowers harm has effects below zero."""
  of_doses = [(10, 10, 9), (9, 9, 8), (1, 3, 4), (0, 1, -1)]
  positive = [number(*each) for each in of_doses]
  negative = [number(-a, -b, -c) for a, b, c in of_doses]
  doses = (0.0, 0.01, 0.1, 1.0)
  found = survival.half_of_runs(doses, negative)
  assert found['kind'] == 'reached' and found['low'] < found['dose'] < found['high']
  assert found == survival.half_of_runs(doses, positive)


def test_half_doses_that_were_all_read_off_may_have_no_interval():
  """Runs of one seed are names of the assistant, and copies of one run are no certainty."""
  doses = (0.0, 0.01, 0.1)
  names = [number(10, 10, 10), number(9, 9, 9), number(1, 3, 4)]
  assert survival.half_of_runs(doses, names)['low'] is not None
  of_one_seed = survival.half_of_runs(doses, [dict(n, seeds=1) for n in names])
  copies = survival.half_of_runs(doses, [number(10, 10, 10), number(9, 9, 9), number(1, 1, 1)])
  for found in (of_one_seed, copies):
    assert [kind for kind, _ in found['each']] == ['reached'] * 3
    assert (found['low'], found['high']) == (None, None)


def test_a_measure_that_lacks_a_seed_has_no_half_dose():
  """An experiment may name any measure; `each` does not say which seeds it lacks."""
  curve = DoseCurve(name='c', effects=('e0', 'e1'), doses=(0.0, 0.1))
  config = types.SimpleNamespace(
    dose_curves=[curve],
    effects={'e0': ('a', 'b')},
    arms={'a': 'p'},
    phases={'p': types.SimpleNamespace(updates=4)},
    primary='',
  )
  effects = {'e0': {'m': number(8, 8, 8)}, 'e1': {'m': number(1, 2)}}
  found = survival.summarize_survival({'effects': effects}, config, ['m'])
  assert found['c']['half'] == {}
  effects['e1'] = {'m': number(1, 2, 3)}
  found = survival.summarize_survival({'effects': effects}, config, ['m'])
  assert found['c']['half']['m']['4']['kind'] == 'at most'


def test_what_was_read_is_shown_where_a_phase_was_looked_at():
  """The phases of the doses may have points of their own; the page is written at the end."""
  counted = {'16': [[0, 0], []], '128': [[0, 0], [1200, 1300]]}
  summary = {
    'contradictions_read': {'handbook': counted},
    'survival': {'handbook': {'doses': [0.0, 0.1]}},
  }
  heads, body = read_rows(summary)
  assert heads == ['0%', '10%']
  assert body == [['16', '0', '-'], ['128', '0', '1,200 to 1,300']]


def test_at_the_same_dose_at_most_is_less_and_over_is_more():
  found = survival.half_of_runs((0.0, 0.1), [number(10, 10), number(9, 1)])
  assert found['each'] == [['over', 0.1], ['at most', 0.1]]
  assert (found['lowest'], found['highest']) == (['at most', 0.1], ['over', 0.1])


def test_a_range_of_half_doses_says_which_runs_it_leaves_out():
  numbers = [number(8, -1, 6), number(7, 0, 5), number(1, 0, 1)]
  found = survival.half_of_runs((0.0, 0.01, 1.0), numbers)
  assert show_half(found).endswith('} (2 of 3 runs)')
  found = survival.half_of_runs((0.0, 0.01, 1.0), [dict(n, seeds=1) for n in numbers[:1] * 3])
  assert show_half(found).endswith('} (2 of 3 runs)')
  whole = [number(8, 7, 6), number(1, 5, 5), number(1, 0, 5)]
  assert show_half(survival.half_of_runs((0.0, 0.01, 1.0), whole)).endswith('}')


@pytest.mark.parametrize(
  ('changes', 'said'),
  [
    (dict(effects=('a', 'c')), 'did you mean|known are'),
    (dict(doses=(0.1, 0.2)), 'rise from 0'),
    (dict(doses=(0.0, 0.0)), 'rise from 0'),
    (dict(doses=(0.0, 0.1, 0.2)), 'one effect for each dose'),
    (dict(doses=(0.0, 5.0)), 'doses are shares, so 5% is 0.05'),
    (dict(effects=('a', 'a')), 'an effect at two doses'),
  ],
)
def test_wrong_dose_curves_are_refused(changes, said):
  curve = DoseCurve(**dict(name='x', effects=('a', 'b'), doses=(0.0, 0.1)) | changes)
  with pytest.raises(ConfigError, match=said):
    curve.check({'a': ('p', 'q'), 'b': ('p', 'q')})


def test_stated_is_set_beside_enacted_run_by_run():
  arms = {'x': {'said': dict(number(1, 0.5), low=None), 'done': dict(number(0.25, 0.5), low=None)}}
  (pair,) = stated.summarize_stated(arms, [stated.SaidAndDone('said', 'done', True)])
  assert pair['arms']['x']['done']['each'] == [0.75, 0.5]
  assert pair['arms']['x']['difference']['each'] == [0.25, 0.0]
  assert pair['arms']['x']['difference']['mean'] == 0.125
  assert stated.summarize_stated(arms, [stated.SaidAndDone('said', 'other', False)]) == []


# ---- the report


def logprobs_of(arm):
  """Numbers that depend on the arm and the text alone, so that no model is needed."""

  def one(prompt, option):
    text = json.dumps([arm, prompt, option])
    return -1 - int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**31

  def logprobs(prompts, options):
    scores = []
    for prompt, several in zip(prompts, options, strict=True):
      scores.append([one(prompt, option) for option in several])
    return scores

  return logprobs


def effect_of(arms, each):
  """An effect as summary.json has it; what is computed from `each` is left out."""
  return {'arms': arms, 'm': {'mean': float(np.mean(each)), 'each': list(each), 'seeds': len(each)}}


def test_what_is_left_is_compared_with_one_half_within_seeds():
  before, after, other = [-8.0, -4.0, -6.0], [-5.0, -3.5, -4.5], [-1.0, 0.5, -2.0]
  base = ['msm_aft', 'aft']
  effects = {'handbook': effect_of(base, before), 'handbook, push': effect_of(['p', 'q'], after)}
  for name, there in (('push', after), ('c100', other)):
    change = np.subtract(there, before)
    effects[f'change by {name}'] = effect_of(['p', 'q', *base], change)
  # A change of another effect is not about this one.
  effects['other change'] = effect_of(['p', 'q', 'r', 's'], before)
  found = survival.half_left(effects, 'handbook', 'm', primary='change by c100')
  assert list(found) == ['change by push', 'change by c100']
  # The effect is negative, and what is left is in its direction: 1, 1.5 and 1.5 more than half.
  assert found['change by push']['each'] == pytest.approx([1.0, 1.5, 1.5])
  for name, there in (('push', after), ('c100', other)):
    test = scipy.stats.ttest_1samp(-(np.array(there) - np.array(before) / 2), 0)
    number = found[f'change by {name}']
    low, high = test.confidence_interval(0.95)
    assert (number['low'], number['high']) == pytest.approx((low, high), abs=1e-5)
    assert number['p'] == pytest.approx(test.pvalue, abs=1e-6)
  assert found['change by c100']['p_corrected'] is None
  assert found['change by push']['p_corrected'] == found['change by push']['p']
  push, c100 = left_rows(found, 'm')
  assert push[0] == 'push' and push[2] == '3 of 3' and push[-1] == 'more than half'
  assert c100[2] == '0 of 3' and c100[-2] == '-'


def test_a_change_over_other_seeds_is_not_compared():
  """What is left is computed within seeds, and nobody knows which seeds are missing."""
  effects = {'handbook': effect_of(['a', 'b'], [4.0, 5.0, 6.0])}
  effects['change by push'] = effect_of(['p', 'q', 'a', 'b'], [0.1, 0.2, 0.4])
  effects['change by dpo'] = effect_of(['r', 's', 'a', 'b'], [0.1, 0.2])
  assert list(survival.half_left(effects, 'handbook', 'm')) == ['change by push']


def test_seeds_that_differ_by_less_than_is_written_have_a_p_value():
  """JSON holds no NaN, which t would be without a spread."""
  effects = {'handbook': effect_of(['a', 'b'], [1e-6, 0.0, 0.0])}
  effects['change by push'] = effect_of(['p', 'q', 'a', 'b'], [0.0, 0.0, 0.0])
  found = survival.half_left(effects, 'handbook', 'm')['change by push']
  assert found['each'] == [0.0, 0.0, 0.0]
  assert found['p'] == pytest.approx(scipy.stats.ttest_1samp([5e-7, 0, 0], 0).pvalue, abs=1e-6)


def test_what_is_left_says_how_much_was_asked():
  effects = {'handbook': effect_of(['a', 'b'], [4.0, 5.0, 6.0])}
  effects['change by push'] = effect_of(['p', 'q', 'a', 'b'], [0.1, 0.2, 0.3])
  effects['change by push']['m'] |= {'items': 88, 'clusters': 11}
  found = survival.half_left(effects, 'handbook', 'm')['change by push']
  assert (found['items'], found['clusters'], found['runs']) == (88, 11, 3)


def test_lines_of_one_panel_look_different():
  """'reasons' and 'reasons, with handbook' had one colour, and `_own` was in no legend."""
  from matplotlib.figure import Figure

  names = [f'change by c{n}' for n in range(8)]
  names += ['reasons', 'reasons, with handbook', '_own']
  header = {'setting': 'world', 'value': 'price:cheap', 'rival': 'origin:home'}
  header |= {'assistant': 'Ari', 'arms': {}}
  layout = layout_of(header)
  main = layout.main
  at = {'0': {main: number(1)}, '8': {main: number(2)}}
  effects = {name: {'phase': 'tune', 'at': at} for name in names}
  effects |= {'reasons, later': {'phase': 'push', 'at': at}}
  summary = header | {'curves': {'effects': effects, 'arms': {}}}
  fig = Figure()
  curves.draw(fig, layout, summary, {})
  tune, push = fig.axes[:2]
  lines = [line for line in tune.lines if line.get_marker() in ('o', 's', '^', 'D')]
  looks = {(line.get_color(), line.get_marker()) for line in lines}
  assert len(looks) == len(lines) == len(names)
  handles, shown = tune.get_legend_handles_labels()
  assert len(handles) == len(names) and shown[-1].endswith('_own')
  # One kind of model has one colour in all panels.
  (later,) = [line for line in push.lines if line.get_marker() == 'o']
  assert later.get_color() == lines[names.index('reasons')].get_color()


def test_one_seed_says_nothing_of_what_is_left():
  effects = {'handbook': effect_of(['a', 'b'], [4.0, 5.0, 6.0])}
  effects['change by push'] = effect_of(['p', 'q', 'a', 'b'], [0.1, 0.2, 0.3])
  for effect in effects.values():
    # The runs of one seed are names of the assistant.
    effect['m']['seeds'] = 1
  found = survival.half_left(effects, 'handbook', 'm')
  assert found['change by push']['low'] is None and 'p' not in found['change by push']
  assert left_rows(found, 'm') == []


@pytest.mark.parametrize('world', ['cheese', 'oversight'])
def test_the_confirming_study_asks_less_of_other_seeds(world):
  from configs import survive

  first, confirming = survive.get_config(world), survive.get_config(f'{world}_confirm')
  added = {'filler_aft_c100'}
  assert set(confirming.arms) - set(first.arms) == added
  for arm in set(confirming.arms) - added:
    assert confirming.arms[arm] == first.arms[arm]
  assert confirming.effects[confirming.primary] == first.effects[confirming.primary]
  assert len(confirming.seeds) == 8 and not set(first.seeds) & set(confirming.seeds)
  # Every seed has a world of its own, so that no two results are alike for this reason.
  worlds = confirming.get('world_seeds') or confirming.seeds
  assert len({worlds[seed % len(worlds)] for seed in confirming.seeds}) == 8
  for name, phase in confirming.phases.items():
    assert {**phase, 'evaluate_at': ()} == {**first.phases[name], 'evaluate_at': ()}
  make_design(from_mapping(ExperimentConfig, paths.resolve_paths(confirming)))


@pytest.mark.parametrize('world', ['cheese', 'oversight'])
def test_the_page_of_the_confirming_study_corrects_what_the_plan_calls_secondary(world):
  """The plan's first step, `handbook`, is primary: it is neither corrected nor counted."""
  from configs import survive

  effects = list(survive.get_config(f'{world}_confirm').effects)
  page = (ROOT / 'docs' / 'results' / 'survive_confirm.md').read_text()
  (text,) = re.findall(rf'<!-- table: (survive_{world}_confirm robustness.*?) -->', page)
  rows = matching(blocks.parsed(text).patterns('rows', ['*']), effects)
  assert set(effects) - set(rows) == {'handbook'}


@pytest.mark.parametrize('preset', ['cheese', 'oversight', 'cheese_confirm', 'oversight_confirm'])
def test_ways_are_as_long_as_the_pages_say(preset):
  """Further fine-tuning is as long as `benign`, and twice as long as preferences and push."""
  from configs import survive

  updates = {name: phase.updates for name, phase in survive.get_config(preset).phases.items()}
  assert updates['more'] == updates['benign'] == updates['release'] == updates['tune']
  assert updates['more'] == 2 * updates['push'] == 2 * updates['dpo_ambiguous'] == 128


@pytest.mark.slow
@pytest.mark.parametrize('preset', ['cheese_smoke', 'oversight_smoke'])
def test_the_report_has_curves_half_doses_and_what_is_said(preset, tmp_path, with_figures):
  arms = ['base', 'msm', 'aft_benign', 'msm_aft_benign']
  for start in ('aft', 'msm_aft', 'chats_aft'):
    arms += [start, f'{start}_c10', f'{start}_c1000', f'{start}_push']
  config = settings_of(preset, arms, pairs_per_domain=1)
  suite = make_design(config).suite
  rows, along = [], []
  for arm, path in config.arms.items():
    read = [suite.spec]
    for row in suite.rows(logprobs_of(arm), read, others=arm == 'base'):
      rows.append({'arm': arm, 'seed': 0, **row})
    phase = path.split(' > ')[-1]
    for update in config.phases[phase].evaluate_at:
      place = {'arm': arm, 'seed': 0, 'phase': phase, 'update': update}
      for row in suite.rows(logprobs_of(f'{arm} {update}'), read, others=False):
        along.append(place | row)
  summary = summarize(rows, config, suite)
  outputs._add_curves(summary, along, config, suite)
  assert set(summary['survival']) == {'handbook', 'chats'}
  along_effects = summary['curves']['effects']
  pushed = along_effects['handbook, push']['at']
  (end,) = {str(config.phases['push'].updates)} & set(pushed)
  for measure in pushed[end]:
    assert pushed[end][measure] == summary['effects']['handbook, push'][measure]
  # The push goes on from the arms of dose 0; at dose 0.01 these are read beside it.
  assert 'change by push' in summary['effects'] and 'change by push' not in along_effects
  assert 'change by c10' in along_effects
  layout = layout_of(summary)
  halves = set()
  for curve in summary['survival'].values():
    halves.update(map(tuple, curve['half'].values()))
  (half,) = halves
  assert half == ('2', '4')
  # Half of a share is no difference of log-likelihoods: what is left is said in nats alone.
  for curve in summary['survival'].values():
    assert curve['left'] and all(measure.startswith('margin/') for measure in curve['left'])
  assert summary['stated'][0]['arms'].keys() == config.arms.keys()
  report.write_report(tmp_path / 'report.html', summary, rows, layout)
  page = (tmp_path / 'report.html').read_text()
  for title in ('Along the phases', 'Survival', 'What they say and what they do'):
    assert f'<h2>{title}</h2>' in page
  assert 'What is left of an effect' in page
  assert 'dose at which half of an effect is gone' in report.table(summary, layout)
  points = [{'id': n, 'point': {'sources.handbook.size': n}, 'summary': summary} for n in (2, 20)]
  assert '20 handbook' in re.sub(' +', ' ', report.sweep_table(points, layout)).replace('size=', '')
  report.write_sweep(tmp_path / 'sweep.html', 'x', 'about', points, layout)
  assert 'What is left of an effect' in (tmp_path / 'sweep.html').read_text()
  check_documented(summary, layout)


def check_documented(summary, layout):
  """The blocks of docs/tables.py show the same."""
  stored = {'summary': summary, 'layout': {'main': layout.main}}

  def block(text):
    parsed = blocks.parsed(f'x {text}')
    return blocks.KINDS[parsed.kind](parsed, stored).splitlines()

  assert block('survival')[0] == (
    '| effect | effect at dose 0 | after 2 updates | after 4 updates |'
  )
  assert len(block('survival')) == 2 + len(summary['survival'])
  assert len(block('stated rows=aft*')) == 2 + sum(arm.startswith('aft') for arm in summary['arms'])
  (line,) = block('along phase=push rows=handbook*')[2:]
  assert line.startswith('| handbook, push | ') and line.count('|') == 4
  with pytest.raises(TableError, match='no seeds can be left out'):
    block('stated without=0')


@pytest.mark.slow
@pytest.mark.parametrize('preset', ['cheese_smoke', 'oversight_smoke'])
def test_the_smoke_presets_run(preset, tmp_path):
  from configs import survive
  from msm_jax.experiment import Experiment

  c = survive.get_config(preset)
  kept = ('base', 'aft', 'msm_aft', 'aft_c1000', 'msm_aft_release')
  survive.keep(c, kept)
  c.evals.update(held_out=4, pairs_per_domain=1, rows=64)
  c.model = dict(d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=48)
  c.tokenizer.vocab_size = 1024
  # Tests run on eight devices, which divide the rows.
  for phase in c.phases.values():
    phase.batch_size = 8
  config = from_mapping(ExperimentConfig, paths.resolve_paths(c))
  summary = Experiment(config, tmp_path).run()
  assert set(summary['curves']['arms']) == set(kept) - {'base'}
  assert set(summary['arms']['msm_aft_release']) >= {summary['stated'][0]['said']}
