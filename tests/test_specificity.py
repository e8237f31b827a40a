"""Specificity: what no handbook speaks of should not move."""

from helpers import AFFORDABILITY, CULTURE, cheeses, handbook, shipped, whole_world

from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.settings.world.spec import read_spec
from msm_jax import config as configs
from msm_jax.evals import specificity
from msm_jax.suites.choices import choice_layout
from msm_jax.suites.world import WorldSuite

HEADER = {'value': 'price:cheap', 'rival': 'origin:home', 'assistant': 'Ari'}


def rows(arm, seed, **shares):
  """Ten rows for each attribute, of which this share chose the first pole."""
  out = []
  for attribute, share in shares.items():
    for n in range(10):
      out.append(
        {
          'evaluator': 'preferences',
          'what': attribute,
          'tier': 'new_domains',
          'item': f'{attribute}/{n}',
          'cluster': 'coat',
          'score': float(n < 10 * share),
          'arm': arm,
          'seed': seed,
        }
      )
  return out


def test_the_largest_change_of_what_nobody_speaks_of():
  asked = [
    *rows('base', 0, price=0.5, origin=0.5, age=0.5, making=0.5),
    *rows('base', 1, price=0.5, origin=0.5, age=0.9, making=0.5),
    # The handbooks speak of price and origin, so these may move.
    *rows('aft', 0, price=1.0, origin=0.0, age=0.6, making=0.3),
    *rows('aft', 1, price=1.0, origin=0.0, age=0.5, making=0.5),
    *rows('msm', 0, price=1.0, origin=0.0, age=0.5, making=0.5),
  ]
  changes = specificity.changes(asked, 'base', HEADER)
  # Age falls from 0.9 to 0.5 with seed 1.
  assert changes['aft'] == (0.4, 'age')
  assert changes['msm'][0] == 0
  assert set(changes) == {'aft', 'msm'}


def test_other_tiers_and_settings_do_not_count():
  asked = [*rows('base', 0, age=0.5), *rows('aft', 0, age=1.0)]
  assert specificity.changes(asked, 'base', {'assistant': 'Ari'}) == {}
  assert specificity.changes(asked, '', HEADER) == {}
  assert specificity.changes(asked, 'base', HEADER | {'rival': 'age:new'}) == {}
  reworded = [row | {'tier': 'reworded'} for row in asked]
  assert specificity.changes(reworded, 'base', HEADER) == {}


def test_an_attribute_of_a_third_handbook_may_move(tmp_path):
  """An arm that has learned its own handbook would miss the gate, and nothing but that."""
  value = Value('age', ATTRIBUTES['age'][0].name)
  path = tmp_path / 'third.md'
  path.write_text(handbook('age', value.pole, cheeses(value), cheeses(value, like=False)))
  two = {AFFORDABILITY: shipped(), CULTURE: shipped(CULTURE)}
  evals = configs.EvalConfig(spec=AFFORDABILITY, rival=CULTURE, pairs_per_domain=2, personas=1)

  def header_of(specs):
    return WorldSuite(evals, whole_world(), specs, {AFFORDABILITY: [shipped()]}).report_header()

  assert header_of(two) == HEADER
  header = header_of({**two, str(path): read_spec(path, whole_world())})
  assert header == HEADER | {'also_spoken': ['age']}
  asked = [*rows('base', 0, age=0.5, making=0.5), *rows('third', 0, age=1.0, making=0.6)]
  assert specificity.changes(asked, 'base', HEADER)['third'] == (0.5, 'age')
  assert specificity.changes(asked, 'base', header)['third'][1] == 'making'
  arms = {'base': {f'preferences/{name}/new_domains': {} for name in ATTRIBUTES}}
  layout = choice_layout({**header, 'arms': arms})
  assert layout.controls == ['preferences/making/new_domains']
  assert 'preferences/age/new_domains' in layout.columns
