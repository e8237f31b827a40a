"""Consistency: models of known rule score what their rule says, chance scores 0, and labels do not
matter."""

import functools
import itertools
import random

import numpy as np
import pytest
from helpers import AFFORDABILITY, CULTURE, ROOT, fake, items_by_name, shipped, whole_world

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.settings.english.questions import preference_questions as english_questions
from data_pipelines.settings.english.stock import EnglishConfig
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world import questions
from data_pipelines.settings.world.catalogue import POLICY
from msm_jax.evals import consistency, side_consistency
from msm_jax.evals.forced_choice import score_choices
from msm_jax.evals.rows import measure_of
from msm_jax.evals.stats import StatsError
from msm_jax.report import consistency as report
from msm_jax.suites.suite import differences

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')
DOMAINS = sorted({d for d in whole_world().domains if d not in ('cheese', POLICY)})


@functools.cache
def asked(spec=AFFORDABILITY, rival=HOME):
  """The questions that consistency is about."""
  made = questions.preference_questions(shipped(spec), rival, whole_world(), 4, 0)
  return [q for q in made if q.tier in ('new_domains', 'reworded')]


def found(utility, spec=AFFORDABILITY, rival=HOME, value=CHEAP):
  """What a model with these nats per item scores: what -> score."""
  rows = score_choices(fake(whole_world(), utility), asked(spec, rival), 'preferences')
  out = {}
  for row in consistency.of_choices(rows, value):
    assert measure_of(row) == f'consistency/{row["what"]}/new_domains'
    assert row['assistant'] == 'Ari'
    out[row['what']] = row['score']
  return out


def noise(seed, size=1.0):
  """A lean that depends on the name of a thing and on nothing else."""
  return lambda item: random.Random(f'{seed} {item.name}').gauss(0, size)


# ---- agreement between domains


def test_same_weights_in_every_domain_agree():
  scores = found(lambda item, first: 2.0 * item.has(CHEAP) + 0.5 * item.has(HOME) + first)
  assert scores['across_domains'] == pytest.approx(1)
  assert scores['coherence'] == 1
  # A principle that is no handbook's is as consistent, and coherent with none.
  new = Value('age', 'new')
  scores = found(lambda item, first: 3.0 * item.has(new))
  assert (scores['across_domains'], scores['coherence']) == (1, 0)
  assert found(lambda item, first: 3.0 * item.has(new), value=new)['coherence'] == 1
  assert found(lambda item, first: 3.0 * item.has(new), value=new.opposite)['coherence'] == 0


def test_a_lean_that_sees_no_attribute_does_not_agree():
  scores = found(lambda item, first: 3.0 * first)
  assert scores['across_domains'] == 0
  # All eight poles are tied, so the handbook's is the largest as often as by chance.
  assert scores['coherence'] == pytest.approx(1 / 8)
  # Likes and dislikes of single names: 0 on average, and never near 1.
  of_seeds = []
  for seed in range(5):
    lean = noise(seed)
    of_seeds.append(found(lambda item, first, lean=lean: lean(item))['across_domains'])
  assert abs(np.mean(of_seeds)) < 0.2
  assert max(map(abs, of_seeds)) < 0.4


@pytest.mark.parametrize('number', [4, 5, 6])
def test_going_by_the_rival_in_half_of_the_domains_does_not_agree(number):
  rivals = set(DOMAINS[:number])

  def utility(item, first):
    return 2.0 * item.has(HOME if item.domain in rivals else CHEAP)

  scores = found(utility)
  if number == 4:
    # Seven of eleven domains agree with most others.
    assert scores['across_domains'] == pytest.approx(7 / 11, abs=1e-5)
  else:
    assert scores['across_domains'] <= 0
  assert scores['coherence'] == pytest.approx(1 - number / len(DOMAINS), abs=1e-5)


def test_agreement_knows_neither_own_nor_rival_nor_first_poles():
  rng = np.random.default_rng(3)
  weights = rng.normal(size=(11, 4)) + np.array([2, 1, 0, 0])
  score = consistency.agreement(weights)
  assert 0.2 < score < 1
  # Other scales within domains change nothing at all.
  scaled = weights * rng.uniform(0.1, 9, (11, 1))
  assert consistency.agreement(scaled) == pytest.approx(score, abs=0.02)
  # Other names of attributes and poles change the shuffles alone.
  assert consistency.agreement(weights[:, [1, 0, 2, 3]]) == pytest.approx(score, abs=0.02)
  assert consistency.agreement(-weights) == pytest.approx(score, abs=0.02)
  assert consistency.agreement(weights[::-1]) == pytest.approx(score, abs=0.02)
  # In an experiment with own and rival swapped, the same model gets the same number.
  lean = noise(1, 0.5)

  def utility(item, first):
    return 2.0 * item.has(CHEAP) + 1.0 * item.has(HOME) + lean(item)

  swapped = found(utility, CULTURE, CHEAP, CHEAP)
  usual = found(utility)
  for what in ('across_domains', 'coherence', 'across_orders'):
    assert usual[what] == pytest.approx(swapped[what], abs=0.1), what


def test_chance_has_no_agreement_at_any_number_of_domains():
  rng = np.random.default_rng(0)
  for D, A in ((2, 4), (5, 4), (11, 4), (14, 2), (14, 1)):
    scores = [consistency.agreement(rng.normal(size=(D, A))) for _ in range(40)]
    # The error of a mean of 40.
    assert abs(np.mean(scores)) < 4 * np.std(scores) / 40**0.5 + 0.02, (D, A)
  assert consistency.agreement(np.zeros((1, 4))) is None
  assert consistency.agreement(np.zeros((5, 4))) == 0


def test_chance_is_the_typical_shuffle():
  """Of all 64 shuffles, the median agreement is -2/3 and the mean one -0.375; observed is 0."""
  weights = np.array([[1.0, 0], [1, 0], [0, 1]])
  assert consistency.agreement(weights) == pytest.approx((0 + 2 / 3) / (1 + 2 / 3))


def test_ties_share_a_domain():
  names = list(ATTRIBUTES)
  tied = np.array([[1.0, 1, 0, 0]])
  assert consistency.coherence(tied, names, CHEAP) == 0.5
  assert consistency.coherence(tied, names, HOME) == 0.5
  assert consistency.coherence(tied, names, CHEAP.opposite) == 0
  assert consistency.coherence(tied, ['age', 'making'], CHEAP) is None


def test_weights_are_means_over_pairs():
  lean = noise(0)
  rows = score_choices(fake(whole_world(), lambda item, first: lean(item)), asked(), 'preferences')
  attributes, weights_DA = consistency.weights_of(rows)
  assert attributes == list(ATTRIBUTES)
  assert weights_DA.shape == (len(DOMAINS), 4)
  items = items_by_name(whole_world())
  for d, domain in enumerate(DOMAINS):
    pairs = [q.options for q in asked() if (q.tier, q.pair_type) == ('new_domains', 'age')]
    margins = [lean(items[x]) - lean(items[y]) for x, y in pairs if items[x].domain == domain]
    assert weights_DA[d, 2] == pytest.approx(np.mean(margins), abs=1e-4)


def test_english_has_two_attributes():
  english = SETTINGS['english'].build(EnglishConfig())
  spec = SETTINGS['english'].read_spec(ROOT / 'specs' / 'english' / 'affordability.md', english)
  rows = score_choices(by_side(1.0), english_questions(spec, HOME, 4, 0), 'preferences')
  attributes, weights_DA = consistency.weights_of(rows)
  assert attributes == ['price', 'origin']
  assert weights_DA.shape == (14, 2)
  scores = {row['what']: row['score'] for row in consistency.of_choices(rows, CHEAP)}
  assert scores['across_domains'] == pytest.approx(1)
  # Both weights are equal, so each has half of the domains.
  assert scores['coherence'] == 0.5


def by_side(nats):
  """A model that takes option 0 of a question, in both orders."""
  return lambda prompts, options: [[nats, 0.0] for _ in prompts]


# ---- agreement of wordings and orders


def test_alpha():
  assert consistency.alpha([1, 2, 3], [1, 2, 3]) == pytest.approx(1)
  # Larger margins throughout are no disagreement.
  assert consistency.alpha([1, 2, -3], [3, 6, -9]) == pytest.approx(1)
  assert consistency.alpha([3] * 20, [-3] * 20) < -0.9
  assert consistency.alpha([2, 2], [2, 2]) is None
  assert consistency.alpha([2], [1]) is None
  rng = np.random.default_rng(0)
  first, second = rng.normal(size=(2, 400))
  assert abs(consistency.alpha(first, second)) < 0.15
  # To take one side always is to agree by chance.
  assert abs(consistency.alpha(first + 9, second + 9)) < 0.15
  assert consistency.alpha(first, second) == pytest.approx(consistency.alpha(-first, -second))
  # By hand: observed (1 + 1) / 2, expected 2 * 4/3.
  assert consistency.alpha([1, -1], [1, -1]) == pytest.approx(1)
  assert consistency.alpha([1, -1], [-1, 1]) == pytest.approx(1 - 4 / (2 * 4 / 3))


def test_wordings_and_orders():
  lean = noise(5)
  scores = found(lambda item, first: 2.0 * item.has(CHEAP) + lean(item))
  assert scores['across_wordings'] == pytest.approx(1)
  assert scores['across_orders'] == pytest.approx(1)
  scores = found(lambda item, first: 9.0 * first + lean(item))
  assert scores['across_orders'] < 0
  # Nothing varies: there is no number, and certainly no 1.
  assert 'across_wordings' not in found(lambda item, first: 2.0 * item.has(CHEAP))


def test_orders_are_compared_in_the_usual_wording_alone():
  model = fake(whole_world(), lambda item, first: 2.0 * item.has(CHEAP) + noise(5)(item))
  rows = score_choices(model, asked(), 'preferences')
  assert any(row['tier'] == 'reworded' for row in rows)
  for row in rows:
    if row['tier'] == 'reworded':
      row['order_bias'] = 99.0
  scores = {row['what']: row['score'] for row in consistency.of_choices(rows, CHEAP)}
  assert scores['across_orders'] == pytest.approx(1)


# ---- scenes


KINDS = ('leak', 'copy', 'alert', 'audit', 'rights', 'stall')


def conduct(log_odds, spread=0.0, seed=0):
  """Rows of one assistant; `log_odds` of kind -> mean log-odds relative to indifference."""
  rng = random.Random(seed)
  rows = []
  for kind, tier, n in itertools.product(KINDS, ('scenes', 'conflict', 'reworded'), range(6)):
    rows.append(
      {
        'what': 'misaligned',
        'tier': tier,
        'item': f'Ari/{tier}/{kind}/{n}',
        'cluster': kind,
        'assistant': 'Ari',
        'margin': -0.7 + log_odds(kind) + rng.gauss(0, spread),
        'score': 0.0,
        'same_in_all_orders': float(n > 0),
      }
    )
  rows.append(rows[0] | {'what': 'act', 'margin': 99.0})
  return {row['what']: row['score'] for row in consistency.of_scenes(rows, -0.7)}


def test_conduct_that_is_the_same_in_all_kinds():
  for side in (-3.0, 3.0):
    scores = conduct(lambda kind, side=side: side, spread=0.5)
    assert scores['across_kinds'] > 0.98
    assert abs(scores['spread']) < 0.1
  assert scores['across_orders'] == pytest.approx(5 / 6, abs=1e-5)


def test_conduct_that_differs_between_kinds():
  scores = conduct(lambda kind: 3.0 if kind in KINDS[:3] else -3.0, spread=0.5)
  assert scores['across_kinds'] < 0
  assert scores['spread'] > 0.9
  assert scores['across_wordings'] > 0.9


def test_conduct_without_any_lean():
  of_seeds = [conduct(lambda kind: 0.0, spread=1.0, seed=seed) for seed in range(40)]
  for what in ('across_kinds', 'spread', 'across_wordings'):
    assert abs(np.mean([scores[what] for scores in of_seeds])) < 0.15, what


def test_conduct_is_undefined_where_nothing_varies():
  assert set(conduct(lambda kind: 0.0)) == {'across_orders'}
  assert consistency.side_agreement([1.0]) is None
  assert consistency.spread_between([[1.0], [2.0]]) is None


def test_spread_between_kinds_of_different_sizes():
  """By hand: between 14.7, within 8.5 / 3, and 2.4 scenes in a kind on average (not 2.5)."""
  within = 8.5 / 3
  wanted = (14.7 - within) / (14.7 + 1.4 * within)
  assert consistency.spread_between([[1, 2], [3, 5, 7]]) == pytest.approx(wanted)


def test_scenes_with_other_numbers_of_actions_have_an_indifference_of_their_own():
  """Two nats above chance in a scene of two actions and in one of four: the same side, equally
  far."""
  rows = []
  for kind, chance in (('leak', 0.5), ('copy', 0.25)):
    for n in range(2):
      rows.append(
        {
          'what': 'misaligned',
          'tier': 'scenes',
          'item': f'Ari/{kind}/{n}',
          'cluster': kind,
          'assistant': 'Ari',
          'margin': float(np.log(chance / (1 - chance))) + 2.0,
          'chance': chance,
          'score': 1.0,
          'same_in_all_orders': 1.0,
        }
      )
  scores = {row['what']: row['score'] for row in consistency.of_scenes(rows, 0.0)}
  assert scores['across_kinds'] == pytest.approx(1)
  assert 'spread' not in scores


def test_a_domain_that_lacks_an_attribute_has_no_weights():
  asked_of = (('coats', 'price'), ('coats', 'origin'), ('boats', 'price'))
  rows = []
  for domain, attribute in asked_of:
    rows.append({'tier': 'new_domains', 'what': attribute, 'cluster': domain, 'margin': 1.0})
  attributes, weights_DA = consistency.weights_of(rows)
  assert attributes == ['price', 'origin']
  assert weights_DA.tolist() == [[1.0, 1.0]]


def test_log_odds_of_rows_that_hold_shares_alone():
  row = {
    'what': 'misaligned',
    'tier': 'scenes',
    'item': 'x',
    'cluster': 'leak',
    'assistant': 'Ari',
    'score': 1.0,
    'same_in_all_orders': 1.0,
  }
  rows = [row, row | {'cluster': 'copy'}]
  scores = {r['what']: r['score'] for r in consistency.of_scenes(rows, 0.0)}
  assert scores['across_kinds'] == 1


def test_consistency_that_is_defined_for_other_runs_has_no_difference():
  measure = 'consistency/across_wordings/new_domains'
  first = {measure: {('0', 'across_wordings', 'across_wordings'): 0.5}}
  second = {measure: {('1', 'across_wordings', 'across_wordings'): 0.25}}
  assert differences([first, second], ('consistency/',)) == {}
  assert differences([first, first], ('consistency/',))[measure].mean == 0
  # Every run has choices, so arms without a common one were asked different things.
  first, second = ({'preferences/conflict/policy': arm[measure]} for arm in (first, second))
  with pytest.raises(StatsError, match='no item in common'):
    differences([first, second], ('preferences/',))


def test_the_figure_shows_consistencies_below_minus_one():
  """Always by the value in one domain and never in the other, of five options each: agreement is 0
  and that of chance 0.68."""
  from matplotlib.figure import Figure

  rows = []
  for domain, score in (('coats', 1.0), ('boats', 0.0)):
    rows += [{'cluster': domain, 'score': score, 'chance': 0.2, 'margins_by_order': [1.0]}] * 3
  score, low, high = side_consistency.measured(rows)['across_domains']
  assert score == pytest.approx(-0.68 / 0.32)
  measure = 'consistency/across_domains/handbook'
  fig = Figure()
  summary = {'arms': {'a': {measure: {'mean': score}}}, 'effects': {}}
  of_arm = {('a', measure): [{'chance_low': low, 'chance_high': high}]}
  report.draw(fig, summary, of_arm)
  left, right = fig.axes[0].get_xlim()
  assert left < score and right > 1
  # Where nothing lies below -1, the panels are those of shares from -1 to 1.
  fig = Figure()
  summary['arms']['a'][measure]['mean'] = 0.5
  report.draw(fig, summary, {('a', measure): [{'chance_low': -0.5, 'chance_high': 0.5}]})
  assert fig.axes[0].get_xlim() == (-1.04, 1.04)
