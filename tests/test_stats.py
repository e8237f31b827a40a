"""Means over seeds and their intervals, against cases that one can work out by hand.

`test_stats_coverage.py` has the simulations of what the intervals promise.
"""

import itertools
import math

import numpy as np
import pytest
import scipy.special

from msm_jax.base.errors import UserError
from msm_jax.evals import stats
from msm_jax.suites.suite import differences

# Student's t, 97.5%, as any table prints it.
T = {1: 12.7062, 2: 4.30265, 3: 3.18245}


def table(values):
  """(R, C) numbers -> observations, one item a cluster."""
  out = {}
  for run, row in enumerate(values):
    for cluster, value in enumerate(row):
      out[str(run), f'c{cluster}', 'only'] = float(value)
  return out


def half(interval):
  assert interval.high - interval.mean == pytest.approx(interval.mean - interval.low)
  return interval.high - interval.mean


def test_the_interval_is_student_t_over_the_seeds():
  """1, 2, 3 from three seeds: variance 1, error sqrt(1/3), on 2 degrees of freedom."""
  i = stats.interval(table([[1], [2], [3]]), in_nats=True)
  assert (i.mean, i.runs, i.items, i.clusters) == (2, 3, 1, 1)
  assert half(i) == pytest.approx(T[2] * math.sqrt(1 / 3), rel=1e-4)
  assert (i.lowest, i.highest, i.each) == (1, 3, (1, 2, 3))


def test_domains_do_not_change_the_interval():
  """Questions are fixed: what domains add to all seeds alike is part of what is estimated."""
  plain = stats.interval(table([[1] * 4, [2] * 4, [3] * 4]), in_nats=True)
  domains = np.array([[-9, 9, 5, -5]])
  differing = stats.interval(table(np.array([[1], [2], [3]]) + domains), in_nats=True)
  assert half(differing) == pytest.approx(half(plain))
  assert (differing.mean, differing.clusters) == (pytest.approx(plain.mean), 4)


def test_no_interval_is_narrower_than_the_seeds_allow():
  """1,000 random tables of 3 to 8 seeds and 1 to 12 domains, whatever varies in them."""
  rng = np.random.default_rng(19)
  for _ in range(1_000):
    R, C = int(rng.integers(3, 9)), int(rng.integers(1, 13))
    runs_sd, clusters_sd, noise_sd = rng.exponential(1, 3)
    values = rng.normal(0, runs_sd, (R, 1)) + rng.normal(0, clusters_sd, (1, C))
    values = values + rng.normal(0, noise_sd, (R, C))
    found = stats.interval(table(values), in_nats=True)
    quantile = float(scipy.special.stdtrit(R - 1, 0.975))
    least = quantile * values.mean(1).std(ddof=1) / math.sqrt(R)
    assert found.high - found.mean >= least * (1 - 1e-9)


def test_seeds_stand_in_their_order():
  """Seed 3 comes before seed 10, as in the summary's list of seeds."""
  values = {(seed, 'c', 'only'): float(seed) for seed in ('10', '3', '4')}
  assert stats.interval(values).each == (3, 4, 10)


@pytest.mark.parametrize('runs', [1, 2])
def test_below_three_runs_there_is_no_interval(runs):
  """One run has no range either."""
  i = stats.interval(table([[0.5, 1.0], [2.0, 3.0]][:runs]), in_nats=True)
  assert (i.low, i.high) == (None, None)
  assert (i.lowest, i.highest) == ((None, None) if runs == 1 else (0.75, 2.5))


def test_shares_have_a_range_and_no_interval():
  i = stats.interval(table([[1, 1], [1, 0], [0, 0], [1, 1]]))
  assert (i.mean, i.low, i.high) == (0.625, None, None)
  assert (i.lowest, i.highest) == (0, 1)


def test_runs_that_are_copies_are_no_certainty():
  """Three times the same number has no interval, instead of one of width 0."""
  i = stats.interval(table([[0.1, 0.2]] * 3), in_nats=True)
  assert (i.low, i.high) == (None, None)
  assert i.lowest == i.highest == pytest.approx(0.15)
  # The same numbers in another order have means that differ in their last bits.
  turned = stats.interval(table([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.3, 0.2]]), in_nats=True)
  assert len(set(turned.each)) > 1
  assert (turned.low, turned.high) == (None, None)


def test_clusters_weigh_the_same_however_many_items_they_hold():
  """Three items of one domain and one of another: (1 + 0) / 2, not 3 / 4; four items were asked."""
  observations = {('0', 'a', item): 1.0 for item in 'xyz'} | {('0', 'b', 'x'): 0.0}
  i = stats.interval(observations)
  assert (i.mean, i.items, i.clusters) == (0.5, 4, 2)


def test_the_same_items_asked_of_more_seeds_are_no_more_items():
  one, three = (stats.interval(table([[1.0] * 10] * s)) for s in (1, 3))
  assert one.items == three.items == 10


def test_differences_are_paired():
  """Seeds and domains differ by far more than the arms do; what both arms share cancels exactly."""
  rng = np.random.default_rng(0)
  shared = rng.uniform(0, 0.1, (3, 8)) + np.array([[0], [5], [9]])

  def arm(margins):
    out = {}
    for s, c, item in itertools.product(range(3), range(8), range(5)):
      out[str(s), f'c{c}', item] = float(margins[s, c])
    return out

  gains = np.array([[0.4], [0.5], [0.6]])
  d = stats.difference(arm(shared + gains), arm(shared), in_nats=True)
  assert d.mean == pytest.approx(0.5) and d.items == 40
  assert half(d) == pytest.approx(T[2] * 0.1 / math.sqrt(3), rel=1e-4)
  assert half(stats.interval(arm(shared + gains), in_nats=True)) > 40 * half(d)


def test_differences_are_over_what_both_arms_were_asked():
  first = table([[1.0, 1.0, 0.0]])
  second = {k: v for k, v in table([[0.0, 1.0, 0.0]]).items() if k[1] != 'c2'}
  d = stats.difference(first, second)
  assert d.mean == 0.5 and d.items == 2
  with pytest.raises(stats.StatsError, match='no item in common'):
    stats.difference(first, {('9', 'c0', 'only'): 1.0})


def test_a_difference_of_differences():
  """What one pair of arms adds to the other's difference, item by item."""
  rows = ([1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
  a, b, c, d = (table([row] * 2) for row in rows)
  both = stats.difference(a, b, c, d)
  assert both.mean == 0.5 - 0.25
  assert stats.paired_difference((a, b, c, d))['0', 'c1', 'only'] == 1.0
  assert stats.difference(a, b, b, a).mean == 1.0


def test_a_dissociation_counts_the_items_of_both_kinds():
  own = {('0', 'x', 'a'): 1.0, ('0', 'x', 'b'): 0.0, ('0', 'y', 'c'): 1.0}
  rival = {('0', 'x', 'd'): 1.0, ('0', 'y', 'e'): 0.0}
  none = [dict.fromkeys(kind, 0.0) for kind in (own, rival)]
  found = stats.dissociation([own, none[0]], [rival, none[1]])
  assert (found.items, found.clusters) == (5, 2)
  # A cluster that one kind lacks is left out, with its items.
  del rival['0', 'y', 'e']
  found = stats.dissociation([own, none[0]], [rival, none[1]])
  assert (found.items, found.clusters) == (3, 1)
  # Where no cluster is common, all of a run are joined.
  apart = {('0', 'z', 'd'): 1.0}
  found = stats.dissociation([own, none[0]], [apart, dict.fromkeys(apart, 0.0)])
  assert (found.items, found.mean) == (4, pytest.approx((2 / 3 - 1) / 2))


def test_a_seed_without_a_cluster_is_refused():
  """A torn evaluation must not become a mean over whatever is there."""
  values = table([[1, 0, 1], [0, 0, 1]])
  del values['1', 'c2', 'only']
  with pytest.raises(stats.StatsError, match='some run has no observation in some cluster'):
    stats.interval(values)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value):
  """It must become neither an interval nor 'no interval'."""
  good, bad = table([[0.5, 1.0]] * 3), table([[0.5, value]] * 3)
  for call in (lambda: stats.interval(bad), lambda: stats.difference(good, bad, in_nats=True)):
    with pytest.raises(stats.StatsError, match='a mean needs finite numbers') as e:
      call()
    assert isinstance(e.value, UserError) and '\n' not in str(e.value)
  with pytest.raises(stats.StatsError, match='no observations'):
    stats.interval({})


def test_as_dict_is_what_the_summary_holds():
  """Of fewer than three seeds the runs are names, or too few: no interval then."""
  i = stats.interval(table([[1 / 3, 2 / 3], [1, 1], [2, 2]]), in_nats=True)
  d = i.as_dict(seeds=3)
  assert list(d) == [
    'mean',
    'low',
    'high',
    'lowest',
    'highest',
    'runs',
    'items',
    'clusters',
    'each',
    'seeds',
  ]
  assert (d['low'], d['lowest'], d['highest']) == (round(i.low, 6), 0.5, 2)
  assert (d['each'], d['seeds'], d['items']) == ([0.5, 1, 2], 3, 2)
  of_names = i.as_dict(seeds=1)
  assert (of_names['low'], of_names['high'], of_names['lowest']) == (None, None, 0.5)


def test_what_a_run_lacks_by_chance_is_left_out():
  """A sampled answer may name no option: the means are of the clusters that all runs have."""
  seen = {('0', 'x', 'a'): 1.0, ('0', 'y', 'b'): 0.0, ('1', 'x', 'a'): 0.5}
  assert stats.in_all_runs(seen) == {('0', 'x', 'a'): 1.0, ('1', 'x', 'a'): 0.5}
  (found,) = differences([{'sampled/v/t': seen}] * 2, ('sampled/',)).values()
  assert (found.mean, found.clusters, found.runs) == (0.0, 1, 2)
  apart = {('0', 'x', 'a'): 1.0, ('1', 'y', 'b'): 0.0}
  assert stats.in_all_runs(apart) == {} and stats.in_all_runs({}) == {}
  assert differences([{'sampled/v/t': apart}] * 2, ('sampled/',)) == {}
  # What is asked of every run is still missed.
  with pytest.raises(stats.StatsError, match='some cluster'):
    differences([{'values/v/t': seen}] * 2, ('values/',))
