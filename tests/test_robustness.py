"""How firm effects are: many contrasts, shared worlds, seeds that are not normal, seeds that gates
leave out."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from configs import cheese
from msm_jax.base.checks import from_mapping, to_json
from msm_jax.base.errors import ConfigError
from msm_jax.base.paths import resolve_paths
from msm_jax.config import ExperimentConfig
from msm_jax.evals import robustness, stats
from msm_jax.report import robustness as shown
from msm_jax.report.numbers import about_spread, show_measure
from msm_jax.running.design import settings_of_results
from msm_jax.running.replication import worlds_of_seeds
from msm_jax.suites.choices import choice_layout
from msm_jax.suites.suite import differences

MARGIN = 'margin/conflict/new_domains'
# Experiments of a simulation: a coverage of 0.85 has a standard error of 0.003.
N = 16_000


def effect_of(*each):
  """An effect with these means of seeds, as summary.json holds it."""
  observed = {(str(seed), 'c', 'item'): float(mean) for seed, mean in enumerate(each)}
  number = stats.interval(observed, in_nats=True).as_dict(len(each))
  return {'arms': ['a', 'b'], MARGIN: number}


def test_p_values_are_those_of_the_t_test_and_agree_with_the_interval():
  rng = np.random.default_rng(11)
  for _ in range(200):
    each = rng.normal(rng.normal(), 1, int(rng.integers(3, 9)))
    p = robustness.p_of_t(each)
    assert p == pytest.approx(scipy.stats.ttest_1samp(each, 0).pvalue)
    number = effect_of(*each)[MARGIN]
    assert (p < 0.05) == (number['low'] > 0 or number['high'] < 0)


def test_p_values_are_corrected_for_their_number():
  """The values are those of p.adjust in R, method 'holm'."""
  assert robustness.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
  assert robustness.holm([0.6, 0.7]) == [1.0, 1.0]
  assert robustness.holm([]) == []


def test_the_primary_effect_is_not_corrected_and_corrects_nobody():
  effects = {'other': effect_of(1, 2, 3, 4), 'main': effect_of(3, 4, 5, 4)}
  effects['third'] = effect_of(-1, 1, 2, -2)
  found = robustness.of_effects(effects, MARGIN, 'main', ())['effects']
  assert found['main']['p_corrected'] is None
  assert found['other']['p_corrected'] == pytest.approx(2 * found['other']['p'], abs=2e-6)
  assert (found['third']['above'], found['third']['below']) == (2, 2)
  assert all(firm['over_worlds'] is None for firm in found.values())
  unnamed = robustness.of_effects(effects, MARGIN, '', ())['effects']
  assert unnamed['main']['p_corrected'] == pytest.approx(3 * unnamed['main']['p'], abs=3e-6)


def test_a_seed_without_any_effect_lies_on_neither_side():
  effects = {'main': effect_of(-1, 0, 2, 3)}
  found = robustness.of_effects(effects, MARGIN, 'main', ())['effects']['main']
  assert (found['above'], found['below']) == (2, 1)


def test_worlds_of_other_seeds_are_not_taken():
  """An effect that was measured in fewer seeds does not say in which, so their worlds are open."""
  effects = {'main': effect_of(1, 2, 4, 6)}

  def over_worlds(worlds):
    found = robustness.of_effects(effects, MARGIN, 'main', worlds)
    return found['effects']['main']['over_worlds']

  assert over_worlds([0, 1, 2, 0])['worlds'] == 3
  assert over_worlds([0, 1, 2, 0, 1]) is None


def test_effects_without_an_interval_are_left_out():
  two_seeds = {'main': effect_of(1, 2)}
  assert robustness.of_effects(two_seeds, MARGIN, 'main', ()) == {}
  assert robustness.of_effects({'main': {'arms': ['a', 'b']}}, MARGIN, 'main', ()) == {}


def test_effects_that_are_rounding_alone_are_left_out():
  """Two arms that differ by floating-point noise: NaN in summary.json would be no JSON."""
  noise, constant = effect_of(1e-9, -1e-9, 3e-9), effect_of(2 + 1e-9, 2, 2 - 1e-9)
  assert noise[MARGIN]['low'] is not None and constant[MARGIN]['low'] is not None
  assert robustness.of_effects({'noise': noise, 'constant': constant}, MARGIN, '', ()) == {}
  found = robustness.of_effects({'noise': noise, 'other': effect_of(1, 2, 3)}, MARGIN, '', ())
  # Nothing is corrected for what is left out.
  assert list(found['effects']) == ['other']
  assert found['effects']['other']['p_corrected'] == found['effects']['other']['p']


def test_worlds_are_what_is_drawn_where_seeds_share_them():
  """Seeds 0 to 5 in the worlds 0, 1, 2: means 2, 3 and 7, so t has two degrees of freedom."""
  found = robustness.over_worlds([1, 2, 6, 3, 4, 8], [0, 1, 2, 0, 1, 2])
  error = np.std([2, 3, 7], ddof=1) / np.sqrt(3)
  assert found['mean'] == 4 and found['worlds'] == 3
  assert found['high'] == pytest.approx(4 + 4.30265 * error, rel=1e-5)
  # Every seed has a world of its own, all have one, or there are two.
  for worlds in ([0, 1, 2, 3], [], [0, 0, 0, 0], [0, 0, 1, 1]):
    assert robustness.over_worlds([1.0, 2.0, 4.0, 5.0], worlds) is None


def test_the_table_has_the_primary_effect_first():
  effects = {'a': effect_of(1, 2, 3, 4), 'main': effect_of(3, 4, 5, 4)}
  summary = {
    'value': 'price:cheap',
    'rival': 'origin:home',
    'assistant': 'Ari',
    'arms': {},
    'effects': effects,
  }
  layout = choice_layout(summary)
  assert shown.rows_of(summary, layout) == []
  summary['robustness'] = robustness.of_effects(effects, MARGIN, 'main', [0, 1, 2, 0])
  first, second = shown.rows_of(summary, layout)
  assert first[:3] == ['main (primary)', '+4.0 [+2.7, +5.3]', '4 of 4']
  assert first[4] == '-' and second[4] == f'{summary["robustness"]["effects"]["a"]["p"]:.3f}'
  assert first[5] == '+4.2 [+2.3, +6.1]'
  assert shown.show_p(0.0004) == '<0.001'
  # Whether p is below 0.05 must not be rounded away.
  assert [shown.show_p(p) for p in (0.0496, 0.05, 0.05001)] == ['0.0496', '0.050', '0.05001']
  said = about_spread({**summary, 'seeds': [0, 1, 2, 3]})
  assert said.endswith('as if seeds of one world were independent; see the intervals over worlds')


def test_the_primary_effect_is_named_and_is_no_part_of_an_identity():
  config = from_mapping(ExperimentConfig, resolve_paths(cheese.get_config('confirm')))
  assert config.primary == 'explained'
  unnamed = dataclasses.replace(config, primary='')
  assert settings_of_results(config) == settings_of_results(unnamed) == to_json(unnamed)
  measured = dataclasses.replace(config, primary_measure='preferences/price/new_domains')
  assert settings_of_results(measured) == settings_of_results(unnamed)
  # Seeds in the order in which summaries list them.
  assert worlds_of_seeds(config) == [3, 0, 1, 2, 3, 0, 1, 2]
  with pytest.raises(
    ConfigError, match=r"primary names effect 'explain'.*did you mean 'explained'"
  ):
    dataclasses.replace(config, primary='explain')
  # The margin goes with the share.
  for wrong in ('margin/price/new_domains', 'price'):
    with pytest.raises(ConfigError, match=f"primary_measure='{wrong}' is the name of no share"):
      dataclasses.replace(config, primary_measure=wrong)


# ---- simulations, which the pages and docstrings quote


def coverage(means_NR, truth=0.0):
  """How often the interval over the seeds holds the truth."""
  error_N = np.abs(means_NR.mean(1) - truth)
  return float((error_N <= stats.half_width(means_NR)).mean())


@pytest.mark.parametrize('of_worlds, wanted', [(0.0, 0.95), (0.25, 0.92), (0.5, 0.89), (0.8, 0.83)])
def test_seeds_that_share_worlds(of_worlds, wanted):
  """Eight seeds in four worlds, which make up this part of the variance. Seeds as if they were
  independent hold the truth too rarely; worlds as what is drawn keep the promise."""
  rng = np.random.default_rng(20260501)
  worlds_NW1 = rng.normal(0, np.sqrt(of_worlds), (N, 4, 1))
  means_NWR = worlds_NW1 + rng.normal(0, np.sqrt(1 - of_worlds), (N, 4, 2))
  assert coverage(means_NWR.reshape(N, 8)) == pytest.approx(wanted, abs=0.01)
  assert coverage(means_NWR.mean(2)) == pytest.approx(0.95, abs=0.01)


def test_seeds_that_are_skewed_or_fall_into_two_groups():
  """What msm_jax/evals/stats.py says of seeds' means that are not normal."""
  rng, found = np.random.default_rng(20260502), {}
  for seeds in (3, 5, 8):
    skewed = rng.exponential(1, (N, seeds))
    groups = rng.normal(0, 1, (N, seeds)) + 10 * (rng.random((N, seeds)) < 0.75)
    found[seeds] = (coverage(skewed, 1), coverage(groups, 7.5))
    # A placebo pair: both arms are of one kind, so the difference is symmetric.
    other = rng.normal(0, 1, (N, seeds)) + 10 * (rng.random((N, seeds)) < 0.75)
    assert 0.945 < coverage(groups - other) < 0.985
  wanted = {3: (0.89, 0.72), 5: (0.88, 0.76), 8: (0.89, 0.90)}
  for seeds, shares in wanted.items():
    assert found[seeds] == pytest.approx(shares, abs=0.015), found


def test_seeds_that_a_gate_leaves_out():
  """Eight seeds; those whose base falls half a standard deviation short are left out, and the
  effect goes with the base. The interval is about seeds that pass, not about all seeds."""
  rng = np.random.default_rng(20260503)
  bound, together = -0.5, 0.8
  base_NR = rng.normal(0, 1, (4_000, 8))
  means_NR = together * base_NR + np.sqrt(1 - together**2) * rng.normal(0, 1, base_NR.shape)
  of_passing = together * scipy.stats.norm.pdf(bound) / scipy.stats.norm.sf(bound)
  of_all, of_those = [], []
  for means_R, base_R in zip(means_NR, base_NR, strict=True):
    left = means_R[base_R > bound]
    if len(left) >= stats.MIN_SEEDS:
      half = float(stats.half_width(left))
      of_all.append(abs(left.mean()) <= half)
      of_those.append(abs(left.mean() - of_passing) <= half)
  assert np.mean(of_all) == pytest.approx(0.86, abs=0.02)
  assert np.mean(of_those) == pytest.approx(0.95, abs=0.012)


def test_seeds_with_unequal_items_are_covered():
  """Seeds were asked different numbers of items in each domain, as worlds differ: every domain
  weighs the same, so the mean stays unbiased and the interval keeps its promise."""
  rng, held = np.random.default_rng(20260504), 0
  domains = rng.normal(0, 2, 6)
  for _ in range(400):
    observed = {}
    for seed in range(5):
      shift = rng.normal(0, 1)
      for domain, of_domain in enumerate(domains):
        for item in range(int(rng.integers(1, 9))):
          value = 1 + shift + of_domain + rng.normal(0, 0.5)
          observed[str(seed), f'd{domain}', f'{seed} {item}'] = float(value)
    found = stats.interval(observed, in_nats=True)
    held += found.low <= 1 + domains.mean() <= found.high
  # Four standard errors of 400 experiments.
  assert 0.906 < held / 400 < 0.994


def test_an_arm_that_lacks_a_seed_is_refused():
  """Otherwise a difference over two seeds would stand in a table about three."""
  whole = {(str(seed), 'c', 'item'): 1.0 for seed in range(3)}
  torn = {key: value for key, value in whole.items() if key[0] != '2'}
  for arms in ((whole, torn), (torn, whole), (whole, whole, whole, torn)):
    with pytest.raises(stats.StatsError, match=r'has nothing of run 2, which another arm has'):
      stats.difference(*arms, in_nats=True)
  # A consistency is not defined in every seed. Its difference says over how many it was taken.
  measure = 'consistency/across_domains/new_domains'
  (found,) = differences([{measure: whole}, {measure: torn}], ('consistency/',)).values()
  assert found.as_dict(3)['runs'] == 2 and found.as_dict(3)['seeds'] == 3


def test_a_number_of_fewer_seeds_says_so():
  number = effect_of(1, 2, 3)[MARGIN]
  assert show_measure(number, MARGIN) == '+2.0 [-0.5, +4.5]'
  assert show_measure({**number, 'seeds': 8}, MARGIN) == '+2.0 [-0.5, +4.5] (3 of 8 seeds)'
  # With one seed, the runs are names of the assistant.
  assert show_measure({**number, 'seeds': 1}, MARGIN) == '+2.0 [-0.5, +4.5]'
