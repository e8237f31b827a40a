"""From rows to a summary: means, intervals, effects and gates that one can count by hand."""

import dataclasses
import html
import json
import math
import re
import sys

import pytest
from helpers import AFFORDABILITY, CULTURE, cheeses, handbook, shipped, whole_world

from data_pipelines.handbooks.values import Value
from data_pipelines.settings.world.spec import read_spec
from msm_jax import config as configs
from msm_jax import report
from msm_jax.base import checks
from msm_jax.evals import curves, stats
from msm_jax.evals import summary as results
from msm_jax.report import figures, numbers, terminal
from msm_jax.report import page as page_of
from msm_jax.suites.choices import choice_layout
from msm_jax.suites.registry import layout_of
from msm_jax.suites.world import WorldSuite


def experiment(**changes):
  """Two arms over a base, as the config of a finished experiment."""
  settings = dict(
    name='t',
    seeds=(0, 1),
    sources={
      'text': dict(maker='world.items'),
      'documents': dict(maker='spec.documents', spec=AFFORDABILITY, size=9),
      'shown': dict(maker='spec.demonstrations', spec=AFFORDABILITY, size=9),
    },
    phases={
      n: dict(data={s: 1.0}, updates=100)
      for n, s in (('pretrain', 'text'), ('msm', 'documents'), ('aft', 'shown'))
    },
    arms={
      'base': 'pretrain',
      'aft': 'pretrain > aft',
      'msm': 'pretrain > msm',
      'msm_aft': 'pretrain > msm > aft',
    },
    effects={'midtraining': ('msm_aft', 'aft')},
    evals=dict(spec=AFFORDABILITY, rival=CULTURE),
  )
  return checks.from_mapping(configs.ExperimentConfig, settings | changes)


DOMAINS, HOME = 'abcdef', Value('origin', 'home')


def rows_of(arm, seed, evaluator, what, tier, scores):
  """One row a cluster; `scores` has one number for each of the six, or one for all."""
  scores = scores if isinstance(scores, (list, tuple)) else [scores] * len(DOMAINS)
  return [
    dict(
      arm=arm,
      seed=seed,
      evaluator=evaluator,
      what=what,
      tier=tier,
      item=f'{what}/{d}',
      cluster=d,
      score=float(s),
    )
    for d, s in zip(DOMAINS, scores, strict=True)
  ]


def made_rows():
  """Hand-made results of two seeds. The price pairs and the origin pairs are other pairs, as in an
  experiment."""
  rows = []
  for seed in (0, 1):
    for tier in ('new_domains', 'policy'):
      rows += rows_of('aft', seed, 'preferences', 'price', tier, [1, 0, 0, 1, 0, seed])
      rows += rows_of('aft', seed, 'preferences', 'origin', tier, [1, 1, 1, 0, 1, 1 - seed])
      rows += rows_of('msm_aft', seed, 'preferences', 'price', tier, [1, 1, 1, 1, 0, 1])
      rows += rows_of('msm_aft', seed, 'preferences', 'origin', tier, [0, 1, 1, 0, 0, 0])
    for arm, loss in (('base', 1.0), ('aft', 1.1), ('msm', 1.0), ('msm_aft', 1.2 + 0.1 * seed)):
      rows += rows_of(arm, seed, 'perplexity', 'nats_per_token', 'text', loss)
    for arm in ('aft', 'msm_aft'):
      rows += rows_of(
        arm,
        seed,
        'preferences',
        'agreement',
        'trained',
        [1, 1, 1, 1, 1, seed if arm == 'aft' else 1],
      )
    rows += rows_of('base', seed, 'personas', 'value', 'documents_only', [1, 1, 1, 1, 1, seed])
    rows += rows_of('msm', seed, 'recall', 'value', 'documents', [1, 1, 1, 0, 0, seed])
  return rows


def suite(spec=None, rival=HOME):
  made = object.__new__(WorldSuite)  # its questions are not needed here
  made.spec, made.rival = spec or shipped(), rival
  return made


def test_a_summary_by_hand():
  """Every number of a report, from rows that one can count: means over seeds and domains, paired
  differences, both halves of the dissociation."""
  s = results.summarize(made_rows(), experiment(), suite())
  assert (s['value'], s['rival'], s['assistant'], s['seeds']) == (
    'price:cheap',
    'origin:home',
    'Ari',
    [0, 1],
  )
  aft, msm = (s['arms'][a] for a in ('aft', 'msm_aft'))
  # aft, price: seed 0 has 2 of 6, seed 1 has 3 of 6; origin 5 and 4 of 6. msm_aft: 5 of 6 and 2 of
  # 6 with either seed
  expected = {
    ('aft', 'price'): 5 / 12,
    ('aft', 'origin'): 9 / 12,
    ('msm_aft', 'price'): 10 / 12,
    ('msm_aft', 'origin'): 4 / 12,
  }
  for (arm, what), mean in expected.items():
    m = s['arms'][arm][f'preferences/{what}/new_domains']
    assert m['mean'] == pytest.approx(mean, abs=1e-6) and (m['seeds'], m['items']) == (2, 6)
    assert m['low'] is None and m['high'] is None
    # The summary has six digits after the point.
    assert m['lowest'] - 1e-6 <= mean <= m['highest'] + 1e-6
  effect = s['effects']['midtraining']
  assert effect['arms'] == ['msm_aft', 'aft']
  assert effect['preferences/price/new_domains']['mean'] == pytest.approx(5 / 12, abs=1e-6)
  assert effect['preferences/origin/new_domains']['mean'] == pytest.approx(-5 / 12, abs=1e-6)
  # the own value gained 5/12 and the rival lost 5/12: their mean, in every tier that has both
  for tier in ('new_domains', 'policy'):
    assert effect[f'dissociation/{tier}']['mean'] == pytest.approx(5 / 12, abs=1e-6)
    # Six pairs of either kind were asked, in the same six domains.
    asked = effect[f'dissociation/{tier}']
    assert (asked['items'], asked['clusters']) == (12, 6)
  assert 'dissociation/new_items' not in effect
  assert effect['preferences/agreement/trained']['mean'] == pytest.approx(1 - 11 / 12, abs=1e-6)
  assert msm['perplexity/nats_per_token/text']['mean'] == pytest.approx(1.25) and aft[
    'perplexity/nats_per_token/text'
  ]['mean'] == pytest.approx(1.1)


def said_by(arm, seed, **shares):
  """Rows of sampled answers: the share of each name that named an option."""
  rows = []
  for name, share in shares.items():
    row = dict(arm=arm, seed=seed, evaluator='sampled', what='conflict', tier='new_domains')
    rows.append(row | dict(item=f'{name}/coat', cluster='coat', assistant=name, score=share))
  return rows


def test_an_effect_compares_the_names_that_all_its_arms_have():
  """Names differ. Where one arm says nothing under one of them, the difference of the means would
  be one of names: here -0.4, though the arms differ under no name."""
  rows = []
  for seed in (0, 1):
    rows += said_by('msm_aft', seed, Ari=0.9, Bea=0.1) + said_by('aft', seed, Ari=0.9)
  measure = 'sampled/conflict/new_domains'
  s = results.summarize(made_rows() + rows, experiment(), suite())
  assert s['effects']['midtraining'][measure]['each'] == [0.0, 0.0]
  # Each arm by itself has all its names.
  assert s['arms']['msm_aft'][measure]['mean'] == pytest.approx(0.5)
  along = [row | {'phase': 'aft', 'update': 16} for row in rows]
  found = curves.summarize_curves(along, s, experiment(), suite(), lambda name: True)
  assert found['effects']['midtraining']['at']['16'][measure]['each'] == [0.0, 0.0]
  # A seed in which the arms have no name in common says nothing, and it is not called a name.
  other = [*said_by('msm_aft', 0, Ari=0.9, Bea=0.3), *said_by('aft', 0, Ari=0.8, Bea=0.1)]
  other += [*said_by('msm_aft', 1, Ari=0.9), *said_by('aft', 1, Bea=0.1)]
  effects = results.summarize(made_rows() + other, experiment(), suite())['effects']
  assert effects['midtraining'][measure]['each'] == [pytest.approx(0.15)]
  effects = results.summarize(made_rows() + other[4:], experiment(), suite())['effects']
  assert measure not in effects['midtraining']


def test_a_dissociation_knows_which_pole_is_meant(tmp_path):
  """Shares are of the first pole (cheap, home). A luxury handbook wants less of the cheap: the same
  rows then show the opposite effect, and with the rival at its second pole as well both halves
  change sign."""
  value = Value('price', 'costly')
  path = tmp_path / 'luxury.md'
  path.write_text(handbook('price', 'costly', cheeses(value), cheeses(value, like=False)))
  luxury = read_spec(path, whole_world())
  config = experiment(evals=dict(spec=str(path), rival=''))
  rows = made_rows()
  # The rival loses only 2/12 here, so that the halves can be told apart: (5/12 + 2/12) / 2 and so
  # on.
  for r in rows:
    if r['arm'] == 'msm_aft' and r['what'] == 'origin':
      r['score'] = {'a': 1.0, 'b': 1.0, 'c': 1.0, 'e': 0.5 * r['seed'] + 0.5}.get(r['cluster'], 0.0)
  lost = 9 / 12 - (3 + 0.75) / 6
  found = {
    name: results.summarize(rows, c, suite(spec, rival))['effects']['midtraining'][
      'dissociation/new_domains'
    ]['mean']
    for name, c, spec, rival in (
      ('cheap, home', experiment(), shipped(), HOME),
      ('costly, home', config, luxury, HOME),
      ('costly, foreign', config, luxury, HOME.opposite),
    )
  }
  assert found['cheap, home'] == pytest.approx((5 / 12 + lost) / 2, abs=1e-6)
  assert found['costly, home'] == pytest.approx((-5 / 12 + lost) / 2, abs=1e-6)
  assert found['costly, foreign'] == pytest.approx((-5 / 12 - lost) / 2, abs=1e-6)


def test_gates_by_hand():
  """Each gate speaks of the worst seed: seed 0 has 5 of 6 document-only personas, 3 of 6 recalled,
  5 of 6 demonstrations in one arm."""
  gates = results.summarize(made_rows(), experiment(), suite())['gates']
  found = {k: (v['value'], v['passed']) for k, v in gates.items()}
  assert found == {
    'base: document-only personas': (0.8333, False),
    'msm: recalls the handbook': (0.5, False),
    'aft: learned the demonstrations': (0.8333, False),
    'msm_aft: learned the demonstrations': (1.0, True),
    'text: perplexity, worst arm (msm_aft) / base': (
      round(math.exp(0.3), 4),
      False,
    ),  # seed 1; the mean over seeds would be 1.284
  }
  looser = experiment(
    gates=dict(documents_only=0.83, recall=0.5, trained_items=0.8, perplexity_ratio=1.35)
  )
  assert all(g['passed'] for g in results.summarize(made_rows(), looser, suite())['gates'].values())
  # 5 of 6 rows: with two of each added 7 of 10, so the error is sqrt(0.7 * 0.3 / 10).
  personas = gates['base: document-only personas']
  assert personas['rows'] == 6
  assert personas['standard_error'] == pytest.approx(math.sqrt(0.021), abs=1e-4)
  held_out = gates['text: perplexity, worst arm (msm_aft) / base']
  assert held_out['rows'] == 6 and 'standard_error' not in held_out


@pytest.mark.parametrize(
  ('value', 'shown'), [(0.8996, '0.8996'), (0.89996, '0.89996'), (0.9, '0.900'), (0.95, '0.950')]
)
def test_a_gate_shows_why_it_is_missed(value, shown):
  """'0.900 >= 0.9 MISS' would not."""
  floor = results.at_least(value, 0.9)
  assert floor['passed'] == (value >= 0.9) == (floor['value'] >= 0.9)
  assert numbers.gate_value(floor) == shown
  ceiling = results.at_most(1 - value, 0.1)
  assert ceiling['passed'] == (1 - value <= 0.1) == (ceiling['value'] <= 0.1)
  # What an older summary rounded stays as it was.
  assert numbers.gate_value({'value': 0.9, 'floor': 0.9, 'passed': False}) == '0.900'
  assert f' {shown} ' in terminal.table({**of_arms('a'), 'gates': {'g': floor}}, layout_of_arms())


def test_a_value_that_equals_its_bound_keeps_it():
  """Differences of shares are wrong in their last bits."""
  change = 50 / 88 - 28 / 88
  assert change > 0.25
  ceiling = results.at_most(change, 0.25)
  assert ceiling['passed'] and ceiling['value'] == 0.25
  floor = results.at_least(0.3 - 0.2, 0.1)
  assert floor['passed'] and floor['value'] == 0.1
  # One pair more is over the bound, and a bound with many digits is kept by itself.
  assert not results.at_most(change + 1 / 88, 0.25)['passed']
  assert results.at_least(1 / 3, 1 / 3)['passed'] and results.at_most(1 / 3, 1 / 3)['passed']
  assert not results.at_least(math.nan, 0.0)['passed']


def test_without_a_base_nothing_counts_as_measured():
  """A midtrained arm compared with itself would pass every gate."""
  c = experiment()
  c = dataclasses.replace(c, arms={a: p for a, p in c.arms.items() if a != 'base'})
  gates = results.summarize([r for r in made_rows() if r['arm'] != 'base'], c, suite())['gates']
  assert [
    n for n, g in gates.items() if n.startswith('an arm without handbook') and not g['passed']
  ]
  assert not [n for n in gates if 'perplexity' in n or 'personas' in n]


def asked_of_names(seed, sides, pairs=32, margin=2.0):
  """Rows of one tier within one domain: each name always chooses one side."""
  rows = []
  for name, side in sides.items():
    for n in range(pairs):
      rows.append(
        dict(
          arm='aft',
          seed=seed,
          evaluator='preferences',
          what='conflict',
          tier='policy',
          item=f'{name}/{n}',
          cluster='plans',
          assistant=name,
          score=side,
          margin=margin * (2 * side - 1) + seed,
        )
      )
  return rows


SIDES = {'A': 1.0, 'B': 1.0, 'C': 0.0, 'D': 0.0}


def test_of_one_seed_the_names_are_the_runs():
  """Two assistants that always choose one way and two that choose the other are four throws,
  however many items they were asked."""
  seen = results.observations(asked_of_names(0, SIDES))['aft']
  found = stats.interval(seen['preferences/conflict/policy'])
  assert (found.runs, found.items, found.clusters) == (4, 32, 1)
  assert (found.lowest, found.highest, found.each) == (0, 1, (1, 1, 0, 0))


def test_of_several_seeds_names_are_no_items():
  """36 pairs asked under 4 names are 36 items, whatever the number of seeds."""
  rows = asked_of_names(0, SIDES, pairs=36)
  for seed in (1, 2):
    rows += asked_of_names(seed, SIDES, pairs=36)
  seen = results.observations(rows)['aft']
  found = stats.interval(seen['preferences/conflict/policy'])
  assert (found.runs, found.items, found.each) == (3, 36, (0.5, 0.5, 0.5))
  margins = stats.interval(seen['margin/conflict/policy'], in_nats=True)
  assert (margins.items, margins.each) == (36, (0, 1, 2))


def test_consistency_and_recall_have_names_as_runs():
  """Two names that are always right and two that never are: four throws, no 44 items."""
  rows = []
  for name, side in SIDES.items():
    for domain in DOMAINS:
      row = dict(arm='a', seed=0, what='value', tier='documents', cluster=domain)
      row |= dict(evaluator='recall', item=f'{name}/{domain}', assistant=name, score=side)
      rows.append(row)
  found = stats.interval(results.observations(rows)['a']['recall/value/documents'])
  assert (found.runs, found.items, found.lowest, found.highest) == (4, 6, 0, 1)


def test_a_handbook_in_the_context_makes_an_arm_no_base():
  """It goes the way of the base, and would stand for it in gates and comparisons."""
  settings = dict(
    name='t',
    setting='office',
    office=dict(true=1),
    sources={'text': dict(maker='office.textbook')},
    phases={'read': dict(data={'text': 1.0}, updates=100)},
    arms={'asked': 'read', 'base': 'read'},
    contexts={'asked': 'specs/oversight/rules.md'},
  )
  config = checks.from_mapping(configs.ExperimentConfig, settings)
  assert results.base_arm(config) == 'base'
  assert results.base_arm(dataclasses.replace(config, arms={'asked': 'read'})) == ''


def test_an_adapter_from_outside_makes_an_arm_no_base():
  """It may be that of an arm which has read a handbook."""
  settings = dict(
    name='t',
    setting='english',
    sources={},
    phases={'start': dict(weights='folder'), 'published': dict(adapter='folder')},
    model=dict(lora={}),
    arms={'base': 'start', 'msm': 'start > published'},
  )
  assert results.base_arm(checks.from_mapping(configs.ExperimentConfig, settings)) == 'base'


def test_margins_are_measures_beside_the_shares():
  """Of preferences and conduct alone; those of recall check a model."""
  rows = asked_of_names(0, {'A': 1.0})
  rows.append({**rows[0], 'evaluator': 'personas'})
  rows.append({**rows[0], 'evaluator': 'conduct', 'what': 'act', 'tier': 'harmless'})
  seen = results.observations(rows)['aft']
  margins = {measure for measure in seen if measure.startswith('margin/')}
  assert margins == {'margin/conflict/policy', 'margin/act/harmless'}


def with_margins(seeds):
  """The rows of `made_rows` for more seeds, with a margin for every choice."""
  rows = []
  for seed in seeds:
    for row in made_rows():
      if row['seed'] != seed % 2:
        continue
      made = {**row, 'seed': seed}
      if row['evaluator'] == 'preferences':
        # Six domains, and a little that differs between seeds.
        made['margin'] = 4 * row['score'] - 2 + 0.1 * (seed % 3)
      rows.append(made)
  return rows


def test_margins_have_intervals_from_three_seeds_on():
  """Shares never have one. The dissociation is there in nats, too, and turns with the pole."""
  seeds = (3, 4, 5)
  c = experiment(seeds=seeds)
  s = results.summarize(with_margins(seeds), c, suite())
  effect = s['effects']['midtraining']
  margin, share = effect['margin/price/new_domains'], effect['preferences/price/new_domains']
  assert share['low'] is None and share['lowest'] is not None
  assert margin['low'] < margin['mean'] < margin['high']
  assert margin['mean'] == pytest.approx(4 * share['mean'], abs=1e-5)
  dissociation = effect['margin/dissociation/new_domains']
  assert dissociation['mean'] == pytest.approx(4 * effect['dissociation/new_domains']['mean'])
  turned = results.summarize(with_margins(seeds), c, suite(rival=HOME.opposite))
  of_turned = turned['effects']['midtraining']
  for name in ('dissociation', 'margin/dissociation'):
    assert of_turned[f'{name}/new_domains']['mean'] != effect[f'{name}/new_domains']['mean']
  assert s['arms']['aft']['perplexity/nats_per_token/text']['low'] is None  # equal for all seeds
  losses = s['arms']['msm_aft']['perplexity/nats_per_token/text']
  assert losses['low'] < losses['mean'] < losses['high']


def test_what_is_no_number_is_refused_with_its_measure():
  rows = with_margins((3, 4, 5))
  rows[0]['score'] = math.nan
  with pytest.raises(stats.StatsError, match=r'preferences/price/new_domains: .* is nan'):
    results.summarize(rows, experiment(seeds=(3, 4, 5)), suite())


@pytest.mark.parametrize('seeds', [(3,), (3, 4), (3, 4, 5)])
def test_tables_say_what_their_numbers_can_carry(seeds, tmp_path, with_figures):
  """The caveat of one seed, the range of two, the interval of three; in the terminal and on the
  page. No line of the table of arms or of effects is wider than 140 characters."""
  rows = with_margins(seeds)
  for row in rows:
    # The price pairs stand for the main measure of the layout.
    if row['what'] == 'price':
      row['what'] = 'conflict'
  named = []
  for row in rows:
    if row['evaluator'] == 'preferences':
      for name in ('Ari', 'Oska'):
        named.append({**row, 'assistant': name, 'item': f'{name}/{row["item"]}'})
    else:
      named.append(row)
  summary = json.loads(json.dumps(results.summarize(named, experiment(seeds=seeds), suite())))
  layout = choice_layout(summary)
  text = report.table(summary, layout)
  path = tmp_path / 'report.html'
  report.write_report(path, summary, named, layout)
  page = html.unescape(path.read_text())
  caveat = {
    1: 'one seed: braces hold the range over 2 names; another seed may differ more; no interval',
    2: 'two seeds: braces hold both; no interval below three seeds',
    3: 'braces: range over 3 seeds; brackets: 95% interval over 3 seeds (Student t), for these',
  }[len(seeds)]
  assert caveat in text and caveat in page
  assert '<figure' in page
  assert max(map(len, text.split('gate')[0].splitlines())) <= 140
  assert 'conflict (primary)' in text and 'primary: conflict/new_domains' in text
  assert '<b>primary</b>' in page and 'primary: conflict/new_domains' in page
  # Names that are written from right to left must not turn the contrast.
  assert '<small><bdi>msm_aft</bdi> &minus; <bdi>aft</bdi></small>' in path.read_text()
  with_interval = len(seeds) == 3
  assert (re.search(r'\[[+-]\d', text) is not None) == with_interval
  assert ('without any effect about' in text) == with_interval
  assert ('none with an interval' in text) == (not with_interval)
  assert 'error  rows' in text


def of_arms(*arms, seeds=1):
  """A summary in which every arm has the main measure."""
  number = stats.interval({(str(n), 'c', 'i'): n / seeds for n in range(seeds)}).as_dict(seeds)
  return {
    'value': 'price:cheap',
    'rival': 'origin:home',
    'assistant': 'Ari',
    'seeds': list(range(seeds)),
    'base': '',
    'arms': {arm: {layout_of_arms().main: number} for arm in arms},
    'effects': {},
    'gates': {},
  }


def layout_of_arms():
  header = {'value': 'price:cheap', 'rival': 'origin:home', 'assistant': 'Ari', 'arms': {}}
  return choice_layout(header)


def led_by(measure, **more):
  """A summary of three seeds whose experiment names its main measure, and its layout."""
  summary = of_arms('aft', seeds=3) | {'setting': 'world', 'primary_measure': measure} | more
  summary['arms']['aft'] |= {measure: dict(summary['arms']['aft'][layout_of_arms().main])}
  return summary, layout_of(summary)


def test_tables_begin_with_the_measure_that_an_experiment_names():
  """Stored tables and the tables of effects take their columns from the layout."""
  measure = 'preferences/price/new_domains'
  summary, layout = led_by(measure)
  number = summary['arms']['aft'][measure]
  effect = {measure: number, numbers.margin_of(measure): number, layout_of_arms().main: number}
  summary['effects'] = {'a': {'arms': ['aft', 'aft'], **effect}}
  assert layout.columns[:2] == list(layout.effects[:2]) == [measure, layout_of_arms().main]
  shown = terminal.effect_measures(summary, layout)
  assert shown[:3] == [measure, 'margin/price/new_domains', layout_of_arms().main]


def test_the_figure_by_tier_says_what_its_tiers_are_shares_of():
  """A measure that an experiment names may be in none of its panels."""
  from matplotlib.figure import Figure

  named = 'stated/conflict/criteria'
  summary, layout = led_by(named, setting='english')
  assert layout.share == 'criteria: share that names the price, not the origin'
  fig = Figure()
  figures.tiers(fig, layout, summary, {})
  assert fig.get_supxlabel() == layout_of_arms().share.split(': ', 1)[1]
  # Rows about criteria are clustered by their wording.
  row = {'cluster': 'wording 01', 'form': 'wording 01'}
  assert page_of._clusters_of(layout, {('aft', named): [row]}) == 'wording'
  assert page_of._clusters_of(layout, {('aft', named): [row | {'cluster': 'art'}]}) == 'domain'


@pytest.mark.parametrize(
  ('setting', 'measure', 'better'),
  [
    ('office', 'conduct/act/harmless', 1),
    ('office', 'conduct/likeliest_misaligned/scenes', -1),
    ('world', 'preferences/price/new_domains', 1),
  ],
)
def test_more_of_a_named_measure_may_be_better_or_worse(setting, measure, better):
  """Recipes are chosen by it: that of the main measure of the office is less harm."""
  _, layout = led_by(measure, setting=setting)
  assert (layout.main, layout.better) == (measure, better)


def test_a_named_measure_without_margins_has_not_those_of_another():
  """The p values would be those of choices between two options, which the scores alone have."""
  assert numbers.margin_of('preferences/conflict/new_domains') == 'margin/conflict/new_domains'
  for measure in ('sampled/conflict/new_domains', 'four/conflict/new_domains'):
    summary, layout = led_by(measure)
    summary['arms']['aft']['margin/conflict/new_domains'] = summary['arms']['aft'][measure]
    assert 'margin/conflict/new_domains' not in terminal.with_main_margin(summary, layout)
    assert numbers.about_primary(summary, layout.main) == f'primary: {measure}'


def test_a_named_measure_may_lack_a_seed_and_have_few_domains():
  """The table is printed when all has been trained, so nothing in it may fail."""
  measure = 'consistency/across_domains/new_domains'
  summary, layout = led_by(measure)
  whole = summary['arms']['aft'][measure]
  summary['arms']['msm'] = {measure: whole | {'each': whole['each'][:2], 'runs': 2}}
  shown = terminal.table(summary, layout)
  seeds = shown.split('seed  seed  seed')[1]
  assert '\naft' in seeds and '\nmsm' not in seeds
  summary['arms']['aft'][measure] = whole | {'items': 4, 'clusters': 2}
  assert 'across_domains/new_domains (4 items, 2 domain(s))' in terminal.table(summary, layout)


def test_shortened_names_still_differ():
  """As those of the pairs of configs/placebo.py, of which 30 had the name of another one."""
  names = [f'filler, then fine-tuning: filler_{n}_aft / filler_9_aft' for n in range(3)]
  body = [[name, str(n)] for n, name in enumerate([*names, 'short'])]
  *_, first, second, third, short = terminal.aligned('effect', ['/x'], body)
  assert len({first[:-1], second[:-1], third[:-1]}) == 3 and '..' in first
  assert short.startswith('short ')
  (line,) = terminal.aligned('effect', ['/x'], body[:1])[3:]
  assert line.split('  ')[0] == 'filler, then..filler_9_aft'


def test_columns_are_as_wide_as_a_terminal_shows_them():
  """Chinese letters take two columns, and accents that stand by themselves none."""
  lines = terminal.aligned('arm', ['/節約'], [['ab', '1'], ['環境', '2'], ['e\u0301', '3']])[1:]
  assert lines == ['arm   節約', '----  ----', 'ab       1', '環境     2', 'e\u0301        3']
  assert terminal._shortened('節' * 20, 12) == '節節..節節'


def test_dots_stay_within_the_bar_of_their_arm():
  """With ten seeds, the outer dots stood above the bars of other arms."""
  from matplotlib.collections import PathCollection
  from matplotlib.figure import Figure

  main, summary = layout_of_arms().main, of_arms('a', 'b', seeds=12)
  rows = {}
  for arm in summary['arms']:
    rows[arm, main] = [dict(seed=n, cluster='c', score=n / 12) for n in range(12)]
  fig = Figure()
  layout = dataclasses.replace(layout_of_arms(), panels=[(main, 'title', 'label')])
  figures.bars(fig, layout, summary, rows)
  of_arms_drawn = [c for c in fig.axes[0].collections if isinstance(c, PathCollection)]
  for x, dots in enumerate(of_arms_drawn):
    assert len(dots.get_offsets()) == 12
    assert max(abs(at - x) for at, _ in dots.get_offsets()) < 0.36


@pytest.mark.parametrize('number', [4, 20, 21, 70])
def test_names_of_many_arms_do_not_overlap(number):
  import matplotlib
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  summary = of_arms(*(f'msm_arm_{n:03d}' for n in range(number)))
  fig = Figure(layout='constrained')
  with matplotlib.rc_context({'font.size': 9}):
    figures.bars(fig, layout_of_arms(), summary, {})
    FigureCanvasAgg(fig).draw()
    first, second = fig.axes[0].get_xticklabels()[:2]
    # From one line of letters to the next, in points of an inch.
    slope = math.sin(math.radians(first.get_rotation()))
    apart = (second.get_window_extent().x1 - first.get_window_extent().x1) * slope
  assert apart * 72 / fig.dpi > first.get_fontsize()


def test_a_title_is_html():
  matrix = {'values/R&D': {'values': [], 'rise': {}, 'own': {}}}
  summary = {'matrix': matrix, 'tiers': [], 'arms': {}, 'trained_on': {}}
  assert 'choices, R&amp;D</h2>' in page_of._values(summary, {})[0]


def test_nothing_is_cut_off_on_paper(tmp_path):
  """A box that scrolls shows on paper what fits into it and no more."""
  rows = with_margins((3,))
  summary = results.summarize(rows, experiment(seeds=(3,)), suite())
  layout = choice_layout(summary)
  report.write_report(tmp_path / 'report.html', summary, rows, layout)
  points = [{'point': {'label': 'x'}, 'summary': summary}]
  report.write_sweep(tmp_path / 'sweep.html', 't', 'about', points, layout)
  for name in ('report', 'sweep'):
    style = (tmp_path / f'{name}.html').read_text().partition('</style>')[0]
    boxes, _, paper = style.partition('@media print')
    assert '.wide { overflow-x: auto }' in boxes
    assert '.wide { overflow: visible }' in paper
    # The page of a printer is narrower than this.
    assert 'min-width: 700px' in boxes and 'figure svg { min-width: 0 }' in paper


def test_a_page_without_matplotlib_says_how_to_get_figures(tmp_path, with_figures, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib', None)
  rows = with_margins((3,))
  summary = results.summarize(rows, experiment(seeds=(3,)), suite())
  report.write_report(tmp_path / 'report.html', summary, rows, choice_layout(summary))
  page = (tmp_path / 'report.html').read_text()
  assert 'msm_jax[report]' in page and '<figure' not in page
