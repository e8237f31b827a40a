"""Intervals: against cases that one can work out by hand, and by simulation of what they
promise."""

import itertools
import math

import numpy as np
import pytest

from msm_jax.evals import stats

# Student's t, 97.5%, as any table prints it
T = {1: 12.7062, 2: 4.30265, 3: 3.18245, 7: 2.36462, 9: 2.26216, 11: 2.20099}


def table(values):
  """(S, C) numbers -> observations, one item a cluster."""
  return {(s, f'c{c}', 'only'): float(v) for s, row in enumerate(values) for c, v in enumerate(row)}


def half(interval):
  assert interval.high - interval.mean == pytest.approx(interval.mean - interval.low)
  return interval.high - interval.mean


def test_one_seed_is_the_t_interval_over_clusters():
  """0.2, 0.4, 0.6, 0.8: variance 0.2/3, so the error of the mean is sqrt(0.2/3/4), on 3 degrees of
  freedom."""
  i = stats.interval(table([[0.2, 0.4, 0.6, 0.8]]), share=False)
  assert (i.mean, i.runs, i.items) == (pytest.approx(0.5), 1, 4)
  assert half(i) == pytest.approx(T[3] * math.sqrt(0.2 / 12), rel=1e-4)


def test_one_cluster_is_the_t_interval_over_seeds():
  """1, 2, 3 from three seeds: variance 1, error sqrt(1/3), on 2 degrees of freedom."""
  i = stats.interval(table([[1], [2], [3]]), share=False)
  assert (i.mean, i.runs, i.items) == (2, 3, 1)
  assert half(i) == pytest.approx(T[2] * math.sqrt(1 / 3), rel=1e-4)


def test_seeds_and_clusters_add_up():
  """[[0, 1], [1, 2]]: seed means 0.5 and 1.5, cluster means too, nothing left over. Each way the
  variance of the mean is 0.5/2 = 0.25; together 0.5; Satterthwaite: 0.5^2 / (0.25^2/1 + 0.25^2/1) =
  2 degrees of freedom."""
  i = stats.interval(table([[0, 1], [1, 2]]), share=False)
  assert i.mean == 1 and half(i) == pytest.approx(T[2] * math.sqrt(0.5), rel=1e-4)


def test_what_is_left_over_is_not_counted_twice():
  """[[0, 2], [2, 2]]: means 1 and 2 either way, 0.25 each; residuals -0.5, 0.5, 0.5, -0.5 sum to 1
  in squares, over 1 degree of freedom and 4 cells 0.25: 0.25 + 0.25 - 0.25. The degrees of freedom
  are those of the two main parts."""
  i = stats.interval(table([[0, 2], [2, 2]]), share=False)
  assert i.mean == 1.5 and half(i) == pytest.approx(T[2] * math.sqrt(0.25), rel=1e-4)


def test_clusters_weigh_the_same_however_many_items_they_hold():
  """Three items of one domain and one of another: (1 + 0) / 2, not 3 / 4; but four distinct items
  were asked."""
  i = stats.interval(
    {(0, 'a', 'x'): 1.0, (0, 'a', 'y'): 1.0, (0, 'a', 'z'): 1.0, (0, 'b', 'x'): 0.0}, share=False
  )
  assert i.mean == 0.5 and i.items == 4
  assert half(i) == pytest.approx(T[1] * math.sqrt(0.5 / 2), rel=1e-4)


@pytest.mark.parametrize('n', [1, 4, 10, 36])
def test_all_right_on_few_items_is_not_certain(n):
  """Ten of ten is not [1, 1]: Agresti and Coull's interval adds two of each, p = (n + 2) / (n + 4),
  1.96 errors of it below 1."""
  i = stats.interval(table([[1.0] * n]))
  p = (n + 2) / (n + 4)
  assert i.mean == i.high == 1.0
  assert i.low == pytest.approx(max(0.0, 1 - 1.96 * math.sqrt(p * (1 - p) / (n + 4))), abs=1e-9)
  assert i.low < 1
  none = stats.interval(table([[0.0] * n]))
  assert (none.mean, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - i.low))


def test_the_same_items_asked_of_more_seeds_are_no_more_items():
  """Three seeds that are right on the same ten items say no more about other items than one."""
  one, three = (stats.interval(table([[1.0] * 10] * s)) for s in (1, 3))
  assert one.items == three.items == 10 and one.low == three.low


def test_shares_stay_shares():
  """A wide interval around a share ends at 0 and 1; around a difference it doesn't."""
  values = table([[1, 0, 1, 1], [0, 0, 1, 1]])
  i, free = stats.interval(values), stats.interval(values, share=False)
  assert 0 <= i.low < i.mean < i.high <= 1 and free.high > 1


def test_differences_are_paired():
  """Seeds and domains differ by far more than the arms do; what both arms share cancels exactly,
  and only one number is left."""
  rng = np.random.default_rng(0)
  shared, items = (
    rng.uniform(0, 0.1, (3, 8)) + np.array([[0], [0.2], [0.4]]),
    [f'i{n}' for n in range(50)],
  )

  def arm(shares):
    return {
      (s, f'c{c}', i): shares[s, c] for s, c, i in itertools.product(range(3), range(8), items)
    }

  d = stats.difference(arm(shared + 0.5), arm(shared))
  # 400 items of which half gained: Agresti and Min's 200.5 against 0.5 of 402 pairs
  assert d.mean == pytest.approx(0.5) and half(d) == pytest.approx(
    1.96 * math.sqrt(201 - 200**2 / 402) / 402
  )
  assert half(stats.interval(arm(shared + 0.5), share=False)) > 2 * half(d)
  d = stats.difference(
    arm(shared + np.array([[0, 1] * 4] * 3)), arm(shared)
  )  # half of the domains gain 1: 0.5 +- t(7) x sqrt(0.25 x 8/7 / 8)
  assert d.mean == pytest.approx(0.5) and half(d) == pytest.approx(
    T[7] * math.sqrt(0.25 / 7), rel=1e-3
  )


@pytest.mark.parametrize('n', [4, 40])
def test_arms_that_agree_on_few_items_may_differ(n):
  """No difference on n items is not [0, 0]: half a pair is added to each cell, so 1 of n + 2 pairs
  is discordant."""
  same = table([[1.0] * n])
  d = stats.difference(same, same)
  assert d.mean == 0 and (d.low, d.high) == pytest.approx((-1.96 / (n + 2), 1.96 / (n + 2)))


def test_differences_are_over_what_both_arms_were_asked():
  first = table([[1.0, 1.0, 0.0]])
  second = {k: v for k, v in table([[0.0, 1.0, 0.0]]).items() if k[1] != 'c2'}
  d = stats.difference(first, second)
  assert d.mean == 0.5 and d.items == 2
  with pytest.raises(ValueError, match='no item in common'):
    stats.difference(first, {(9, 'c0', 'only'): 1.0})


def test_a_difference_of_differences():
  """What one pair of arms adds to the other's difference: per item, with each pair's floor."""
  a, b, c, d = (
    table([row] * 2)
    for row in (
      [1.0, 1.0, 1.0, 0.0],
      [0.0, 0.0, 1.0, 0.0],
      [1.0, 0.0, 0.0, 0.0],
      [0.0, 0.0, 0.0, 0.0],
    )
  )
  both = stats.difference(a, b, c, d)
  assert both.mean == 0.5 - 0.25 and stats.paired_difference((a, b, c, d))[0, 'c1', 'only'] == 1.0
  assert half(both) >= math.hypot(*(1.96 / 6 * math.sqrt(g + 1 - g**2 / 6) for g in (2, 1)))
  most = stats.difference(a, b, b, a)
  assert most.mean == 1.0 and most.high <= 2


def test_a_seed_without_a_cluster_is_refused():
  """A torn evaluation must not become a mean over whatever is there."""
  values = table([[1, 0, 1], [0, 0, 1]])
  del values[1, 'c2', 'only']
  with pytest.raises(ValueError, match='some run has no observation in some cluster'):
    stats.interval(values)


def test_as_dict_is_what_the_summary_holds():
  i = stats.interval(table([[1 / 3, 2 / 3]]), share=False)
  d = i.as_dict(seeds=1)
  assert (
    d.keys() == {'mean', 'low', 'high', 'seeds', 'runs', 'items', 'each'}
    and d['mean'] == 0.5
    and (d['seeds'], d['items']) == (1, 2)
  )
  assert d['low'] == round(i.low, 6)
  assert stats.interval(table([[0.0, 1.0], [1.0, 1.0]])).as_dict(2)['each'] == [0.5, 1.0]


@pytest.mark.parametrize(
  'seed_sd, cluster_sd, noise_sd',
  [(1.0, 1.0, 1.0), (1.0, 0.2, 0.2), (0.2, 1.0, 0.2), (0.0, 0.0, 1.0), (0.5, 1.0, 2.0)],
  ids=['alike', 'seeds differ', 'domains differ', 'noise alone', 'mostly noise'],
)
def test_coverage(seed_sd, cluster_sd, noise_sd):
  """Two-way random effects, 3 seeds x 12 domains, 400 experiments: a 95% interval holds the truth
  in 90% to 99.5% of them.

  An interval over domains alone would hold it in less than half of them when seeds differ; the
  binomial error of 400 throws is 1.1 points.
  """
  rng = np.random.default_rng(20260401)
  truth, hits = 0.3, 0
  for _ in range(400):
    values = (
      truth
      + rng.normal(0, seed_sd, (3, 1))
      + rng.normal(0, cluster_sd, (1, 12))
      + rng.normal(0, noise_sd, (3, 12))
    )
    i = stats.interval(table(values), share=False)
    hits += i.low <= truth <= i.high
  assert 0.90 <= hits / 400 <= 0.995, hits / 400


def test_an_interval_over_items_alone_would_not_cover():
  """The simulation above has teeth: with seeds that differ, one seed's interval (which covers items
  only, as its docstring says) misses."""
  rng = np.random.default_rng(1)
  hits = 0
  for _ in range(200):
    values = rng.normal(0, 1.0) + rng.normal(0, 0.2, (1, 12))
    i = stats.interval(table(values), share=False)
    hits += i.low <= 0 <= i.high
  assert hits / 200 < 0.5
