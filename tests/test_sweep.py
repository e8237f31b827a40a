"""Sweeps: which points there are, that a point changes what it names, and that nothing is run twice."""

import json

import ml_collections
import pytest

from msm_jax import experiment, report, sweep
from msm_jax.config import ConfigError

A, B = sweep.axis('x.a', (1, 2)), sweep.axis('x.b', ('u', 'v'))


def test_points():
  assert sweep.product(A, B) == [{'x.a': a, 'x.b': b} for a in (1, 2) for b in ('u', 'v')]
  assert sweep.zipped(A, B) == [{'x.a': 1, 'x.b': 'u'}, {'x.a': 2, 'x.b': 'v'}]
  assert sweep.chain(A, B) == [{'x.a': 1}, {'x.a': 2}, {'x.b': 'u'}, {'x.b': 'v'}]
  with pytest.raises(ValueError, match='zip'):
    sweep.zipped(A, sweep.axis('x.b', (1,)))
  assert report.point_label({'phases.aft.updates': 3, 'size': 5}) == 'updates=3 size=5'


def test_a_point_changes_what_it_names_and_nothing_else():
  settings = ml_collections.ConfigDict({'x': {'a': 0, 'b': 'z'}, 'y': 1})
  made = sweep.overridden(settings, {'x.a': 7})
  assert made.to_dict() == {'x': {'a': 7, 'b': 'z'}, 'y': 1} and settings.x.a == 0
  with pytest.raises(ConfigError, match=r"a=7: the config has no 'xx.a' \(nothing named 'xx'\)"):
    sweep.overridden(settings, {'xx.a': 7})


def fake_summary(share):
  stat = {'mean': share, 'low': share, 'high': min(1.0, share + 0.1), 'seeds': 1, 'items': 9, 'each': [share]}
  return {
    'setting': 'office', 'assistant': 'Ari', 'seeds': [0], 'arms': {'aft': {'conduct/misaligned/scenes': stat}}, 'effects': {},
    'gates': {'g': {'value': 0.5, 'floor': 0.9, 'passed': False}},
  }  # fmt: skip


def test_no_point_is_run_twice_and_all_are_checked_first(tmp_path, monkeypatch):
  """The second command finishes what the first left; a point that cannot work is refused before the first is run."""
  ran = []

  class Fake:
    def __init__(self, config, workdir, stop, outputs):
      self.size, self.outputs = config.office.true, outputs

    def run(self):
      if self.size == 3 and 3 not in ran:
        ran.append(3)
        raise KeyboardInterrupt
      ran.append(self.size)
      return fake_summary(self.size / 10)

  monkeypatch.setattr(experiment, 'Experiment', Fake)
  phase = dict(data={'t': 1.0}, updates=100)
  settings = ml_collections.ConfigDict(
    dict(name='t', setting='office', office=dict(true=1), sources={'t': dict(maker='office.textbook')}, phases={'p': phase}, arms={'aft': 'p'})
  )
  with pytest.raises(ConfigError, match=r'office\.true'):
    sweep.run_points(settings, sweep.axis('office.true', (2, 'many')), tmp_path, None)
  assert not ran
  points = sweep.axis('office.true', (2, 3, 4))
  with pytest.raises(KeyboardInterrupt):
    sweep.run_points(settings, points, tmp_path, None)
  rows = sweep.run_points(settings, points, tmp_path, None)
  assert ran == [2, 3, 3, 4] and [r['point'] for r in rows] == points
  assert len((tmp_path / 'sweep.jsonl').read_text().splitlines()) == 3
  table = report.sweep_table(rows)
  assert 'true=3' in table and '0.30 [0.30, 0.40]' in table and 'gates missed at true=2: g' in table
  page = report.write_sweep(tmp_path / 'sweep.html', 't', 'about <it>', rows).read_text()
  assert 'about &lt;it&gt;' in page and '<svg' in page
  assert json.loads((tmp_path / 'sweep.jsonl').read_text().splitlines()[0])['summary']['arms']['aft']
