"""The power analysis, against simulation with the project's own intervals and against tables."""

import numpy as np
import pytest
from helpers import ROOT

from msm_jax.evals import stats
from msm_jax.evals.power import PowerError, Spread, power, smallest_effect


def share_found(effect, spread, seeds, items, trials=1500):
  """How often `stats.interval` of simulated margins excludes zero on either side."""
  rng = np.random.default_rng(0)
  found = 0
  for _ in range(trials):
    of_seed = effect + spread.seeds * rng.standard_normal(seeds)
    observed = {}
    for seed in range(seeds):
      # All items are of one cluster, so that each weighs the same.
      scores = of_seed[seed] + spread.items * rng.standard_normal(items)
      observed |= {(str(seed), 'c', str(n)): float(x) for n, x in enumerate(scores)}
    interval = stats.interval(observed, True)
    found += interval.low > 0 or interval.high < 0
  return found / trials


@pytest.mark.parametrize(
  ('effect', 'seeds', 'items'), [(0.0, 3, 8), (0.5, 3, 8), (0.5, 5, 8), (0.3, 8, 4)]
)
def test_power_is_what_the_project_s_intervals_find(effect, seeds, items):
  spread = Spread(seeds=0.2, items=0.6)
  assert power(effect, spread, seeds, items) == pytest.approx(
    share_found(effect, spread, seeds, items), abs=0.035
  )


def test_power_of_a_known_table():
  """Cohen 1988, table 2.3: a paired difference of 0.5 standard deviations needs 34 for 80%."""
  one = Spread(seeds=1.0, items=0.0)
  assert power(0.5, one, 34, 1) == pytest.approx(0.81, abs=0.01)
  assert power(0.5, one, 33, 1) == pytest.approx(0.80, abs=0.01)
  # Without an effect, the test errs in 5% of the cases.
  assert power(0.0, one, 7, 1) == pytest.approx(0.05, abs=1e-6)
  assert power(-0.5, one, 34, 1) == pytest.approx(power(0.5, one, 34, 1))


def test_the_smallest_effect_is_found_as_often_as_wanted():
  spread = Spread(seeds=0.1, items=1.0)
  for seeds in (3, 5):
    effect = smallest_effect(spread, seeds, 100, 0.9)
    assert power(effect, spread, seeds, 100) == pytest.approx(0.9, abs=0.005)
  assert smallest_effect(spread, 5, 100) < smallest_effect(spread, 3, 100)
  # More items help less and less, since the seeds' own spread stays.
  few, many, endless = (smallest_effect(spread, 3, n) for n in (10, 1000, 10**9))
  assert few > 2 * many
  assert many < 1.1 * endless


def test_large_effects_have_a_power():
  """`scipy.stats.nct` gives NaN for some, and a search that compares with NaN ends too early."""
  one = Spread(seeds=1.0, items=0.0)
  for seeds in (2, 3, 8, 100):
    found = [power(effect, one, seeds, 1) for effect in (0, 0.1, 1, 3, 5, 10, 20, 50, 300)]
    assert min(np.diff(found)) > -1e-9 and found[-1] == pytest.approx(1, abs=1e-6)
  effect = smallest_effect(one, 2, 1, 0.99)
  # The interval of two seeds excludes zero if their mean is 12.7 standard errors away.
  seeds_TR = effect + np.random.default_rng(0).standard_normal((200_000, 2))
  errors_T = seeds_TR.std(axis=1, ddof=1) / np.sqrt(2)
  assert (np.abs(seeds_TR.mean(axis=1)) > 12.7062 * errors_T).mean() == pytest.approx(
    0.99, abs=0.002
  )


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ((0.1, Spread(0.1, 1.0), 1, 10), 'seeds=1 and items=10 must be at least 2 and 1'),
    ((0.1, Spread(0.0, 0.0), 3, 10), 'one of the two must be positive'),
    ((0.1, Spread(-0.1, 0.0), 3, 10), 'must not be negative'),
  ],
)
def test_designs_without_a_power_are_refused(arguments, message):
  with pytest.raises(PowerError, match=message):
    power(*arguments)
  with pytest.raises(PowerError, match='must lie above'):
    smallest_effect(Spread(1.0, 1.0), 3, 10, wanted=0.01)


def test_the_table_of_the_preregistration_is_what_the_function_gives():
  text = (ROOT / 'docs' / 'preregistration.md').read_text()
  block = text.split('<!-- power: items 4.7 nats, found in 80% of runs -->')[1]
  rows = block.split('<!-- end power -->')[0].strip().splitlines()[2:]
  assert len(rows) == 6
  for row in rows:
    seeds, items, *effects = (float(cell) for cell in row.strip('|').split('|'))
    for own, effect in zip((0.1, 0.2, 0.4, 0.8), effects, strict=True):
      found = smallest_effect(Spread(own, 4.7), int(seeds), int(items))
      assert effect == pytest.approx(found, abs=0.0051)
