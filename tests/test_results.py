"""From rows to a summary: means, intervals, effects and gates that one can count by hand."""

import dataclasses
import math

import pytest
from helpers import AFFORDABILITY, CULTURE, cheeses, handbook, shipped, whole_world

from data_pipelines.handbooks.values import Value
from data_pipelines.settings.world.spec import read_spec
from msm_jax import config as configs
from msm_jax.base import checks
from msm_jax.evals import stats
from msm_jax.evals import summary as results
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
    assert 0 <= m['low'] < mean < m['high'] <= 1
  effect = s['effects']['midtraining']
  assert effect['arms'] == ['msm_aft', 'aft']
  assert effect['preferences/price/new_domains']['mean'] == pytest.approx(5 / 12, abs=1e-6)
  assert effect['preferences/origin/new_domains']['mean'] == pytest.approx(-5 / 12, abs=1e-6)
  # the own value gained 5/12 and the rival lost 5/12: their mean, in every tier that has both
  for tier in ('new_domains', 'policy'):
    assert effect[f'dissociation/{tier}']['mean'] == pytest.approx(5 / 12, abs=1e-6)
  assert 'dissociation/new_items' not in effect
  assert effect['preferences/agreement/trained']['mean'] == pytest.approx(1 - 11 / 12, abs=1e-6)
  assert msm['perplexity/nats_per_token/text']['mean'] == pytest.approx(1.25) and aft[
    'perplexity/nats_per_token/text'
  ]['mean'] == pytest.approx(1.1)


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


def test_without_a_base_nothing_counts_as_measured():
  """A midtrained arm compared with itself would pass every gate."""
  c = experiment()
  c = dataclasses.replace(c, arms={a: p for a, p in c.arms.items() if a != 'base'})
  gates = results.summarize([r for r in made_rows() if r['arm'] != 'base'], c, suite())['gates']
  assert [
    n for n, g in gates.items() if n.startswith('an arm without handbook') and not g['passed']
  ]
  assert not [n for n in gates if 'perplexity' in n or 'personas' in n]


def test_of_one_seed_the_replicates_are_the_runs():
  """Two assistants that always choose one way and two that choose the other are four throws,
  however many items they were asked."""
  rows = [
    dict(
      arm='aft',
      seed=0,
      evaluator='preferences',
      what='conflict',
      tier='policy',
      item=f'{who}/{n}',
      cluster='plans',
      assistant=who,
      score=side,
    )
    for who, side in (('A', 1.0), ('B', 1.0), ('C', 0.0), ('D', 0.0))
    for n in range(32)
  ]
  found = stats.interval(results.observations(rows)['aft']['preferences/conflict/policy'])
  assert found.runs == 4 and found.items == 32 and (found.low, found.high) == (0, 1)
  several = stats.interval(
    results.observations(rows + [r | {'seed': 1} for r in rows])['aft'][
      'preferences/conflict/policy'
    ]
  )
  assert several.runs == 2 and several.each == (0.5, 0.5)


def test_items_of_few_domains_are_their_own_clusters():
  """A tier within one domain has one cluster; its interval then goes over items instead of claiming
  certainty."""
  one_domain = [
    dict(
      arm='a',
      seed=0,
      evaluator='preferences',
      what='price',
      tier='new_items',
      item=str(n),
      cluster='cheese',
      score=float(n % 2),
    )
    for n in range(8)
  ]
  seen = results.observations(one_domain)['a']['preferences/price/new_items']
  assert {c for _, c, _ in seen} == set('01234567')
  many = rows_of('a', 0, 'preferences', 'price', 'new_domains', 1)
  seen = results.observations(many)['a']['preferences/price/new_domains']
  assert {c for _, c, _ in seen} == set(DOMAINS) and len(seen) == 6
