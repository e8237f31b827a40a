"""A sweep as one summary: names, changes within seeds, and what a stored sweep must have."""

import copy
import datetime
import json
import os
import types

import ml_collections
import numpy as np
import pytest
import scipy.stats
from published import stored as stored_files
from test_docs_tables import MARGIN, SHARE, STORED, block, number

from msm_jax import report, sweep
from msm_jax.evals import merged
from msm_jax.suites.registry import layout_of

# The means of three seeds of `aft` and `msm_aft` at two points.
AFT, MSM_FEW, MSM_MANY = (0.5, 1.0, 1.5), (1.0, 1.0, 3.0), (2.5, 2.0, 6.0)
# A half dose that only one seed has.
HALF = {'kind': 'reached', 'dose': 0.5, 'low': None, 'high': None, 'lowest': None, 'each': []}


def of_seeds(each):
  """A number in nats with the interval of Student's t, computed by scipy."""
  low, high = scipy.stats.t.interval(0.95, 2, np.mean(each), scipy.stats.sem(each))
  return number(float(np.mean(each)), low, high, min(each), max(each), each)


def point(msm, seeds=(3, 4, 10), commit='0123456789abcdef'):
  """The summary of one point, in which `msm_aft` has these means."""
  summary = copy.deepcopy(STORED['summary'])
  difference = [a - b for a, b in zip(msm, AFT, strict=True)]
  summary |= {
    'name': 'mine',
    'base': 'base',
    'seeds': list(seeds),
    'commit': commit,
    'arms': {'aft': {MARGIN: of_seeds(AFT)}, 'msm_aft': {MARGIN: of_seeds(msm), 'other/x': 1}},
    'effects': {'midtraining': {'arms': ['msm_aft', 'aft'], MARGIN: of_seeds(difference)}},
    'curves': {
      'effects': {
        'midtraining': {
          'arms': ['msm_aft', 'aft'],
          'phase': 'aft',
          'at': {'16': {MARGIN: of_seeds(difference)}},
        }
      },
    },
    'survival': {
      'handbook': {
        'doses': [0.0, 1.0],
        'effects': ['midtraining', 'midtraining'],
        'half': {MARGIN: {'16': HALF}},
      }
    },
  }
  return summary


def merge(**summaries):
  return merged.merged(list(summaries.items()), (SHARE, MARGIN), (MARGIN,), 'few')


def test_everything_is_named_by_its_point():
  found = merge(few=point(MSM_FEW), many=point(MSM_MANY))
  assert found['arms']['many: msm_aft'] == {MARGIN: of_seeds(MSM_MANY)}
  assert found['effects']['few: midtraining']['arms'] == ['few: msm_aft', 'few: aft']
  assert found['gates']['many: base: document-only personas']['passed']
  assert found['survival']['few: handbook']['effects'] == ['few: midtraining'] * 2
  assert found['curves']['effects']['many: midtraining']['arms'] == ['many: msm_aft', 'many: aft']


def test_changes_are_within_seeds():
  found = merge(few=point(MSM_FEW), many=point(MSM_MANY))
  change = found['effects']['many minus few: midtraining']
  # `aft` is the same, so that of the effect is that of `msm_aft`.
  each = np.subtract(MSM_MANY, MSM_FEW)
  low, high = scipy.stats.ttest_1samp(each, 0).confidence_interval(0.95)
  assert change[MARGIN]['each'] == pytest.approx(each)
  assert (change[MARGIN]['low'], change[MARGIN]['high']) == pytest.approx((low, high), abs=1e-6)
  assert change['arms'] == ['many: msm_aft', 'many: aft', 'few: msm_aft', 'few: aft']
  # The points share `aft`, where nothing changes. So the change of `msm_aft` is this number again.
  assert 'many minus few: aft' not in found['effects']
  assert 'many minus few: msm_aft' not in found['effects']


def test_an_arm_is_covered_on_either_side_of_an_effect():
  """The change of `aft - msm_aft` is that of `msm_aft` with the other sign, and the same test."""
  turned = {}
  for label, means in (('few', MSM_FEW), ('many', MSM_MANY)):
    turned[label] = point(means)
    effect = turned[label]['effects']['midtraining']
    each = [-mean for mean in effect[MARGIN]['each']]
    effect |= {'arms': effect['arms'][::-1], MARGIN: of_seeds(each)}
  changes = [name for name in merge(**turned)['effects'] if ' minus ' in name]
  assert changes == ['many minus few: midtraining']


def test_an_effect_of_other_arms_has_no_change():
  """A point may override what an effect compares; the difference is then none of one effect."""
  few, many = point(MSM_FEW), point(MSM_MANY)
  many['effects']['midtraining']['arms'] = ['msm_aft', 'base']
  changes = [name for name in merge(few=few, many=many)['effects'] if ' minus ' in name]
  assert changes == ['many minus few: msm_aft']


def test_a_sweep_of_ones_own_items_has_a_layout():
  header = {'own_value': 'thrift', 'values': ['thrift'], 'tiers': ['new_domains']}
  header |= {'setting': 'custom', 'scene_tiers': [], 'claims_of': []}
  found = merge(few=point(MSM_FEW) | header, many=point(MSM_MANY) | header)
  assert layout_of(found).main == 'values/thrift/new_domains'


def test_a_stored_sweep_is_led_by_the_measure_that_its_experiment_names(swept):
  """Its half doses and changes are in this measure, and no other would find them."""
  named = {'primary_measure': 'preferences/price/new_domains'}
  for label, means in (('few', MSM_FEW), ('many', MSM_MANY)):
    path = swept / 'points' / label / 'summary.json'
    path.write_text(json.dumps(point(means) | named))
  stored = json.loads(stored_files.store_sweep(swept, 'mine', 'c', 't').read_text())
  assert stored['layout']['main'] == layout_of(stored['summary']).main == named['primary_measure']
  # The point was summarised before the measure was named.
  path.write_text(json.dumps(point(MSM_MANY)))
  with pytest.raises(stored_files.TableError, match='do not have the same primary measure'):
    stored_files.store_sweep(swept, 'mine', 'c', 't')


def test_names_of_one_seed_give_no_interval():
  """With one seed, `each` holds the means of names."""
  one = {}
  for label, means in (('few', MSM_FEW), ('many', MSM_MANY)):
    one[label] = point(means, seeds=(3,))
    for numbers in (*one[label]['arms'].values(), *one[label]['effects'].values()):
      numbers[MARGIN] |= {'low': None, 'high': None, 'seeds': 1}
  change = merge(**one)['effects']['many minus few: midtraining'][MARGIN]
  assert change['low'] is None and change['seeds'] == 1 and change['runs'] == 3


def test_only_whole_pairs_of_seeds_are_compared():
  """Two seeds of three may be other two, and equal places may hold other seeds."""
  few, many = point(MSM_FEW), point(MSM_MANY)
  for summary in (few, many):
    numbers = summary['effects']['midtraining'][MARGIN]
    numbers |= {'each': numbers['each'][:2], 'runs': 2}
  found = merge(few=few, many=many)['effects']
  assert 'many minus few: midtraining' not in found and 'many minus few: msm_aft' in found
  found = merge(few=few, many=point(MSM_MANY, seeds=(3, 4, 11)))['effects']
  assert set(found) == {'few: midtraining', 'many: midtraining'}


def test_shares_of_other_values_are_not_compared(swept):
  """At one point a share is that of the cheap thing, at the other that of the local thing."""
  other = point(MSM_MANY) | {'value': 'origin:home', 'rival': 'price:cheap'}
  assert set(merge(few=point(MSM_FEW), many=other)['effects']) == {
    'few: midtraining',
    'many: midtraining',
  }
  (swept / 'points' / 'many' / 'summary.json').write_text(json.dumps(other))
  with pytest.raises(stored_files.TableError, match='ask about different values'):
    stored_files.store_sweep(swept, 'mine', 'c', 't')


def test_a_stored_sweep_has_the_date_of_its_last_point(swept):
  """A point that was added may stand before those that were there."""
  for label, day in (('few', 2), ('many', 1)):
    seconds = datetime.datetime(2026, 1, day, 12, tzinfo=datetime.UTC).timestamp()
    os.utime(swept / 'points' / label / 'summary.json', (seconds, seconds))
  stored = json.loads(stored_files.store_sweep(swept, 'mine', 'c', 't').read_text())
  assert stored['date'] == '2026-01-02'


def test_the_page_has_the_changes():
  summaries = {'few': point(MSM_FEW), 'many': point(MSM_MANY)}
  rows = [{'point': {'label': label}, 'summary': summary} for label, summary in summaries.items()]
  layout = layout_of(rows[0]['summary'])
  table = report.sweep_table(rows, layout, sweep.changes_from_first(rows, layout.main))
  assert 'what changes against few, within seeds' in table
  line = next(line for line in table.splitlines() if line.startswith('many minus few: midt'))
  assert '+1.8 [-0.8, +4.4]' in line


@pytest.fixture
def swept(tmp_path, monkeypatch):
  """The workdir of a finished sweep called `t`, and a folder for stored files."""
  monkeypatch.setattr(stored_files, 'DATA', tmp_path / 'data')
  rows = []
  for label, summary in (('few', point(MSM_FEW)), ('many', point(MSM_MANY))):
    folder = tmp_path / 'points' / label
    folder.mkdir(parents=True)
    (folder / 'summary.json').write_text(json.dumps(summary))
    arms = {'aft': 'base > aft', 'msm_aft': f'base > {label} > aft'}
    (folder / 'config.json').write_text(json.dumps({'arms': arms, 'world_seeds': [0, 1]}))
    rows.append({'id': label, 'point': {'label': label, 'x.y': 3}, 'summary': summary})
  # The command itself, but that its points are run already.
  points = tuple(row['point'] for row in rows)
  c = ml_collections.ConfigDict({'name': 't', 'experiment': {}, 'points': points})
  flags = types.SimpleNamespace(config=c, workdir=str(tmp_path))
  monkeypatch.setattr(sweep.flags, 'FLAGS', flags)
  monkeypatch.setattr(sweep.command, 'StopSignal', lambda: None)
  monkeypatch.setattr(sweep, 'run_points', lambda *_: rows)
  sweep.sweep([])
  return tmp_path


def test_the_command_says_what_changes_and_which_points_it_has(swept):
  page = (swept / 't.html').read_text()
  assert 'many minus few: midtraining' in page and 'adds the figures' in page
  points = json.loads((swept / 't.json').read_text())['points']
  assert points == [{'id': n, 'point': {'label': n, 'x.y': 3}} for n in ('few', 'many')]


def test_a_stored_sweep_serves_every_block(swept):
  stored_files.store_sweep(swept, 'mine', 'python -m msm_jax.sweep', 't')
  page = block(f'mine effects columns={MARGIN} rows="many minus few: mid*"')
  assert (
    '| many minus few: midtraining | (many: msm_aft - many: aft) - (few: msm_aft - few: aft) '
    '| +1.8 [-0.8, +4.4] |'
  ) in page
  half = block('mine survival')
  assert '| few: handbook |' in half and '| many: handbook |' in half
  firm = block('mine robustness rows="many minus*"')
  p = scipy.stats.ttest_1samp(np.subtract(MSM_MANY, MSM_FEW), 0).pvalue
  assert f'{p:.3f}' in firm
  along = block('mine along phase=aft')
  assert '| many: midtraining | +2.5' in along
  stored_files.store_sweep(swept, 'mine', 'python -m msm_jax.sweep', 't', 'many')
  assert 'few minus many' in block(f'mine effects columns={MARGIN}')


def test_a_stored_sweep_is_that_of_all_its_points(swept):
  """Arms of one name may differ from point to point, and so may the state of the checkout."""
  path = swept / 'points' / 'many' / 'summary.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | {'dirty': True}))
  stored = json.loads(stored_files.store_sweep(swept, 'mine', 'c', 't').read_text())
  assert stored['dirty'] and stored['summary']['commit'] == '0123456789abcdef'
  assert stored['config']['arms'] == {
    'few: aft': 'base > aft',
    'few: msm_aft': 'base > few > aft',
    'many: aft': 'base > aft',
    'many: msm_aft': 'base > many > aft',
  }


def test_a_sweep_that_cannot_be_stored(swept):
  with pytest.raises(stored_files.TableError, match="'none' is no point of t; it has few, many"):
    stored_files.store_sweep(swept, 'mine', 'c', 't', 'none')
  with pytest.raises(stored_files.TableError, match=r'u\.json cannot be read'):
    stored_files.store_sweep(swept, 'mine', 'c', 'u')
  # One list of seeds heads the tables, and these are others.
  (swept / 'points' / 'many' / 'summary.json').write_text(
    json.dumps(point(MSM_MANY, seeds=(5, 6, 7)))
  )
  with pytest.raises(stored_files.TableError, match='do not have the same seeds'):
    stored_files.store_sweep(swept, 'mine', 'c', 't')
  (swept / 'points' / 'few').rename(swept / 'elsewhere')
  # Running the sweep again writes no results of a point that has a row.
  with pytest.raises(stored_files.TableError, match=r'few/summary\.json is gone; delete .*sweep'):
    stored_files.store_sweep(swept, 'mine', 'c', 't')
  (swept / 'elsewhere').rename(swept / 'points' / 'few')
  other = point(MSM_MANY, commit='fedcba9876543210')
  (swept / 'points' / 'many' / 'summary.json').write_text(json.dumps(other))
  with pytest.raises(stored_files.TableError, match=r'several commits; delete .*sweep\.jsonl'):
    stored_files.store_sweep(swept, 'mine', 'c', 't')
