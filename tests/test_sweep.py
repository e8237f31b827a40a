"""Sweeps: which points there are, that a point changes what it names, and that nothing is run
twice."""

import dataclasses
import json
import types

import ml_collections
import pytest
import tiny
from helpers import AFFORDABILITY, ROOT, little, small_corpora

from configs.sweeps.oversight import get_config
from msm_jax import config, experiment, report, sweep
from msm_jax.base import checks, paths
from msm_jax.base.errors import ConfigError, SpecError
from msm_jax.base.files import read_json_lines
from msm_jax.phases import digest
from msm_jax.running.design import make_design
from msm_jax.suites.registry import layout_of

# Pages of sweeps have curves.
pytestmark = pytest.mark.usefixtures('with_figures')

A, B = sweep.axis('x.a', (1, 2)), sweep.axis('x.b', ('u', 'v'))


def test_points():
  assert sweep.product(A, B) == [{'x.a': a, 'x.b': b} for a in (1, 2) for b in ('u', 'v')]
  assert sweep.zipped(A, B) == [{'x.a': 1, 'x.b': 'u'}, {'x.a': 2, 'x.b': 'v'}]
  assert sweep.chain(A, B) == [{'x.a': 1}, {'x.a': 2}, {'x.b': 'u'}, {'x.b': 'v'}]
  with pytest.raises(ValueError, match='zip'):
    sweep.zipped(A, sweep.axis('x.b', (1,)))
  assert sweep.labelled((1,), A[:1]) == [{'label': '1', 'x.a': 1}]
  # Labels of the whole list replace those of its axes.
  few, many = sweep.labelled(('few', 'many'), sweep.product(sweep.labelled('z', A[:1]), B))
  assert few == {'label': 'few', 'x.a': 1, 'x.b': 'u'} and many['label'] == 'many'
  assert (
    report.point_label({'phases.aft.updates': 3, 'size': 5}) == 'updates=3 size=5'
    and report.point_label(sweep.labelled('z', A[:1])[0]) == 'z'
  )
  # An empty label is none.
  assert report.point_label({'label': '', 'size': 5}) == 'size=5'


def test_a_point_changes_what_it_names_and_nothing_else():
  settings = ml_collections.ConfigDict({'x': {'a': 0, 'b': 'z'}, 'y': 1})
  made = sweep.overridden(settings, {'x.a': 7}, schema=None)
  assert made.to_dict() == {'x': {'a': 7, 'b': 'z'}, 'y': 1} and settings.x.a == 0
  labelled = {'label': 'seven', 'x.a': 7}
  assert sweep.overridden(settings, labelled, schema=None).to_dict() == made.to_dict()
  with pytest.raises(ConfigError, match=r"a=7: the config has no setting 'xx'.*did you mean 'x'"):
    sweep.overridden(settings, {'xx.a': 7}, schema=None)


def test_times_saved_by_hand():
  """At 10 the first arm has what the second reaches half way (on log x) between 100 and 1,000; at
  1,000 what it never reaches."""
  first, second = [0.3, 0.2, 0.1], [0.5, 0.4, 0.2]
  saved = report.times_saved([10, 100, 1000], first, second, -1)
  assert (
    saved[0] == (pytest.approx(10**1.5), True)
    and saved[1] == (pytest.approx(10), True)
    and saved[2] == (1, False)
  )
  shuffled = report.times_saved([1000, 10, 100], [0.1, 0.3, 0.2], [0.2, 0.5, 0.4], -1)
  assert shuffled == saved
  rising = report.times_saved([1, 10], [0.5, 0.9], [0.1, 0.5], 1)  # more can be better, too
  assert rising == [(pytest.approx(10), True), (1, False)]
  assert report.times_saved([1, 10], [0.5, 0.2], [0.5, 0.1], -1)[0] == (1, True)  # nothing saved
  assert report.times_saved([20, 80, 320], [0.5, 0.3, 0.2], [0.4, 0.3, 0.1], -1)[0] == (
    1,
    True,
  )  # the second is better from the start


def fake_summary(share):
  stat = {
    'mean': share,
    'low': None,
    'high': None,
    'lowest': share,
    'highest': min(1.0, share + 0.1),
    'seeds': 1,
    'runs': 4,
    'items': 9,
    'each': [share] * 4,
  }
  return {
    'setting': 'office',
    'assistant': 'Ari',
    'seeds': [0],
    'arms': {'aft': {'conduct/misaligned/scenes': stat}},
    'effects': {},
    'gates': {'g': {'value': 0.5, 'floor': 0.9, 'passed': False}},
  }


def test_a_size_of_zero_has_no_ratio():
  """The table is made when all points have run, so nothing in it may fail."""
  rows = []
  for size, share in ((0, 0.2), (10, 0.4), (100, 0.3)):
    summary = fake_summary(share)
    summary['arms']['msm_aft'] = fake_summary(share / 2)['arms']['aft']
    summary['effects'] = {'midtraining': {'arms': ['aft', 'msm_aft']}}
    rows.append({'point': {'sources.docs.size': size}, 'summary': summary})
  layout = layout_of(rows[0]['summary'])
  assert 'size=0' in report.sweep_table(rows, layout)
  table = report.sweep_table(rows[1:], layout)
  assert 'how many times the size' in table
  # The second arm is as good at the smallest size already, so it may need less.
  cells = table.partition('how many times the size')[2].splitlines()[5:7]
  assert [line.split('  ', 1)[1].strip() for line in cells] == ['at most 1', 'at most 0.1']


def with_half_doses(at):
  """A summary with a half dose after each of these updates."""
  measure = 'conduct/misaligned/scenes'
  summary = fake_summary(0.5)
  summary['effects'] = {'handbook': {'arms': ['aft', 'aft'], **summary['arms']['aft']}}
  half = {}
  for update, dose in at.items():
    half[update] = {'kind': 'reached', 'dose': dose, 'low': None, 'high': None}
    half[update] |= {'lowest': None, 'highest': None, 'each': [['reached', dose]], 'seeds': 1}
  curve = {'doses': [0.0, 0.1], 'effects': ['handbook', 'handbook'], 'half': {measure: half}}
  return summary | {'survival': {'curve': curve}}


@pytest.mark.parametrize('turn', [1, -1])
def test_half_doses_stand_under_their_own_updates(turn):
  """The points of a sweep over updates are not asked after the same ones."""
  rows = []
  for updates, at in ((16, {'16': 0.9}), (128, {'16': 0.5, '128': 0.25})):
    rows.append({'point': {'phases.aft.updates': updates}, 'summary': with_half_doses(at)})
  table = report.sweep_table(rows[::turn], layout_of(rows[0]['summary']))
  cells = {}
  for line in table.splitlines():
    if ' curve ' in line:
      cells[line.split()[0]] = line.split()[-2:]
  assert cells == {'updates=16': ['90%', '-'], 'updates=128': ['50%', '25%']}
  (heads,) = [line for line in table.splitlines() if 'effect at dose 0' in line]
  assert heads.index('after 16 updates') < heads.index('after 128 updates')


def test_a_point_that_lacks_the_measure_has_no_surface():
  """The page is written when all points have run."""
  from matplotlib.figure import Figure

  from msm_jax.report import survival

  rows = []
  for label in ('with', 'without'):
    rows.append({'point': {'label': label}, 'summary': with_half_doses({'16': 0.5})})
  rows[1]['summary']['survival']['curve']['half'] = {}
  fig = Figure()
  survival.draw_sweep(fig, layout_of(rows[0]['summary']), rows)
  assert [ax.get_title() for ax in fig.axes] == ['curve, with']


def test_a_curve_goes_from_each_point_to_the_next_on_the_axis():
  from matplotlib.figure import Figure

  from msm_jax.report import figures

  rows = []
  for size, share in ((600, 0.3), (150, 0.1), (1500, 0.5)):
    rows.append({'point': {'sources.docs.size': size}, 'summary': fake_summary(share)})
  fig = Figure()
  figures.curves(fig, layout_of(rows[0]['summary']), rows)
  (line,) = [line for line in fig.axes[0].lines if line.get_marker() == 'o']
  assert list(line.get_xdata()) == [150, 600, 1500]
  assert list(line.get_ydata()) == [0.1, 0.3, 0.5]


def test_every_arm_has_a_line_and_a_legend_of_its_own():
  from matplotlib.figure import Figure

  from msm_jax.report import figures

  rows = []
  for size in (1, 2):
    summary = fake_summary(0.5)
    summary['arms'] = {f'_{n}': summary['arms']['aft'] for n in range(25)}
    rows.append({'point': {'sources.docs.size': size}, 'summary': summary})
  fig = Figure()
  figures.curves(fig, layout_of(rows[0]['summary']), rows)
  lines = [line for line in fig.axes[0].lines if line.get_marker() in ('o', 's', '^', 'D')]
  looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
  assert len(looks) == len({look[::2] for look in looks}) == len(lines) == 25
  assert len(fig.axes[0].get_legend().get_texts()) == 25


def test_points_with_other_seeds_say_so(tmp_path):
  rows = []
  for seeds in ((0, 1, 2), (3,)):
    summary = fake_summary(0.5) | {'seeds': list(seeds)}
    rows.append({'point': {'label': f'{len(seeds)} seeds'}, 'summary': summary})
  layout = layout_of(rows[0]['summary'])
  page = report.write_sweep(tmp_path / 'sweep.html', 't', 'about', rows, layout).read_text()
  assert 'Seeds at 3 seeds: 0, 1, 2; at 1 seeds: 3.' in page
  assert 'bars: range over 3 seeds or 4 names.' in page
  assert 'at 1 seeds: one seed: braces hold the range over 4 names' in report.sweep_table(
    rows, layout
  )


def test_no_point_is_run_twice_and_all_are_checked_first(tmp_path, monkeypatch):
  """The second command finishes what the first left; a point that cannot work is refused before
  the first is run."""
  ran = []

  class Fake:
    def __init__(self, config, workdir, stop=None, outputs=None):
      self.size = config.office.true
      self.identity = str(self.size)

    def run(self):
      if self.size == 3 and 3 not in ran:
        ran.append(3)
        raise KeyboardInterrupt
      ran.append(self.size)
      return fake_summary(self.size / 10)

  monkeypatch.setattr(experiment, 'Experiment', Fake)
  phase = dict(data={'t': 1.0}, updates=100)
  settings = ml_collections.ConfigDict(
    dict(
      name='t',
      setting='office',
      office=dict(true=1),
      sources={'t': dict(maker='office.textbook')},
      phases={'p': phase},
      arms={'aft': 'p'},
    )
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
  assert (
    sweep.run_points(settings, sweep.labelled('x', points[:1]), tmp_path, None)[0]['point']
    == {'label': 'x', 'office.true': 2}
    and len(ran) == 4
  )
  layout = layout_of(rows[0]['summary'])
  table = report.sweep_table(rows, layout)
  assert 'true=3' in table and '0.30 {0.30..0.40}' in table and 'gates missed at true=2: g' in table
  caveat = 'one seed: braces hold the range over 4 names; another seed may differ more; no interval'
  assert caveat in table
  path = tmp_path / 'sweep.html'
  page = report.write_sweep(path, 't', 'about <it>', rows, layout).read_text()
  assert 'about &lt;it&gt;' in page and '<svg' in page and page.count(caveat) == 2
  assert 'Dots: mean; bars: range over 4 names.' in page
  assert json.loads((tmp_path / 'sweep.jsonl').read_text().splitlines()[0])['summary']['arms'][
    'aft'
  ]


def office_settings(**more):
  """The config of an experiment whose points are run by a stand-in."""
  return ml_collections.ConfigDict(
    dict(
      name='t',
      setting='office',
      office=dict(true=1),
      sources={'t': dict(maker='office.textbook')},
      phases={'p': dict(data={'t': 1.0}, updates=100)},
      arms={'aft': 'p', 'msm_aft': 'p'},
      contexts={'msm_aft': 'specs/oversight/rules.md'},
      effects={'a': ('aft', 'msm_aft'), 'b': ('msm_aft', 'aft')},
    )
    | more
  )


@pytest.fixture
def runs(monkeypatch):
  """What was primary at the points that were run; the experiments are stand-ins."""
  ran = []

  class Fake:
    def __init__(self, config, workdir, stop=None, outputs=None):
      self.config = config
      self.identity = str(config.office.true)

    def run(self):
      named = {key: getattr(self.config, key) for key in ('primary', 'primary_measure')}
      ran.append(tuple(named.values()))
      return fake_summary(0.5) | {key: name for key, name in named.items() if name}

  monkeypatch.setattr(experiment, 'Experiment', Fake)
  return ran


def test_points_of_one_name_are_refused_before_any_is_run(tmp_path, runs):
  """Rows of one name cannot be told apart, and changes between them cannot be named."""
  settings = office_settings(sources={n: dict(maker='office.textbook') for n in ('t', 'u')})
  of_axes = sweep.chain(sweep.axis('office.true', (1,)), sweep.axis('office.false', (1,)))
  assert len(sweep.run_points(settings, of_axes, tmp_path, None)) == len(runs) + 1 == 2
  twice = {
    'true=1': sweep.axis('office.true', (1, 1)),
    # The last parts of the keys and the values are the same.
    'size=1': sweep.chain(sweep.axis('sources.t.size', (1,)), sweep.axis('sources.u.size', (1,))),
    # The label of the last axis is the label of the combined point.
    'few': sweep.product(
      sweep.labelled(('small', 'large'), sweep.axis('office.true', (1, 2))),
      sweep.labelled(('few', 'many'), sweep.axis('sources.t.size', (1, 2))),
    ),
  }
  for name, points in twice.items():
    with pytest.raises(ConfigError, match=f"are both called '{name}'; give every point a label"):
      sweep.run_points(settings, points, tmp_path, None)
  assert len(runs) == 1


def test_rows_have_the_label_and_the_overrides_of_the_last_command(tmp_path, runs):
  """`msm_jax.choose` reads sizes, recipes and settings from them."""
  path = tmp_path / 'sweep.jsonl'
  sweep.run_points(office_settings(), sweep.axis('office.true', (2, 3)), tmp_path, None)
  points = sweep.labelled(('a: x', 'a: y'), sweep.axis('office.true', (2, 3)))
  points[1]['phases.p.updates'] = 100
  sweep.run_points(office_settings(), points, tmp_path, None)
  assert [row['point'] for row in read_json_lines(path)] == points and len(runs) == 2


@pytest.mark.parametrize('key', ['primary', 'primary_measure'])
def test_a_point_is_summarised_anew_if_something_else_is_primary(tmp_path, runs, key):
  """Recipes are chosen by it, and p values depend on it; no identity does."""
  points = sweep.axis('office.true', (2,))
  effects = {'a/b': ('aft', 'msm_aft'), 'a/c': ('msm_aft', 'aft')}
  for primary in ('', 'a/b', 'a/b', 'a/c', 'a/c', ''):
    settings = office_settings(**{'effects': effects, key: primary})
    (row,) = sweep.run_points(settings, points, tmp_path, None)
    (kept,) = read_json_lines(tmp_path / 'sweep.jsonl')
    assert row['summary'].get(key, '') == kept['summary'].get(key, '') == primary
  ran = [first or second for first, second in runs]
  assert ran == ['', 'a/b', 'a/c', '']


def test_a_group_of_a_config_can_be_a_value(tmp_path, runs):
  """What a config file takes from its experiment is a ConfigDict, which JSON cannot hold."""
  settings = office_settings()
  points = sweep.check_points([{'phases.p.data': settings.phases.p.data}])
  assert points == [{'phases.p.data': {'t': 1.0}}] and type(points[0]['phases.p.data']) is dict
  (row,) = sweep.run_points(settings, points, tmp_path, None)
  assert report.point_label(row['point']) == "data={'t': 1.0}"
  assert read_json_lines(tmp_path / 'sweep.jsonl')[0]['point'] == points[0]
  # A group may stand within a value. It would fail when the point is written, after it was run.
  points = sweep.check_points([{'phases.p': dict(settings.phases.p, updates=300)}])
  assert points == [{'phases.p': {'data': {'t': 1.0}, 'updates': 300}}]
  sweep.run_points(settings, points, tmp_path, None)
  assert read_json_lines(tmp_path / 'sweep.jsonl')[0]['point'] == points[0]


def test_what_points_name_is_read_before_any_is_run(tmp_path, monkeypatch):
  """A slip in the path of the last handbook must not wait for the points before. A handbook that is
  edited while they run belongs to the identity under which its point is kept."""
  ran, content = [], {2: 'a', 3: ''}

  class Fake:
    def __init__(self, config, workdir, stop=None, outputs=None):
      self.size = config.office.true

    @property
    def identity(self):
      if not content[self.size]:
        raise SpecError('no such handbook; give another')
      return content[self.size]

    def run(self):
      ran.append(self.identity)
      content[3] = 'edited'
      return fake_summary(0.5)

  monkeypatch.setattr(experiment, 'Experiment', Fake)
  points = sweep.axis('office.true', (2, 3))
  with pytest.raises(SpecError):
    sweep.run_points(office_settings(), points, tmp_path, None)
  assert not ran
  content[3] = 'b'
  rows = sweep.run_points(office_settings(), points, tmp_path, None)
  assert ran == [row['id'] for row in rows] == ['a', 'edited']


def test_a_point_is_run_with_what_its_identity_stands_for(tmp_path, monkeypatch):
  """A handbook that is edited as a point begins was read twice: the results of the second text were
  kept as those of the first."""
  handbook, ran = tmp_path / 'mine.md', []
  handbook.write_text((ROOT / 'specs/oversight/rules.md').read_text())

  def edit_and_run(self):
    handbook.write_text(handbook.read_text() + '\nMore.')
    ran.append((self.identity, self.outputs))
    return fake_summary(0.5)

  monkeypatch.setattr(experiment.Experiment, 'run', edit_and_run)
  settings = office_settings(evals=dict(spec=str(handbook)))
  (row,) = sweep.run_points(settings, sweep.axis('office.true', (1,)), tmp_path, None)
  assert ran == [(row['id'], tmp_path / 'points' / row['id'])]


def test_points_with_other_values_say_what_their_shares_are():
  """Where the handbook is what varies, a share of 1 is cheap at one point and local at another."""
  rows = []
  for value, rival in (('price:cheap', 'origin:home'), ('origin:home', 'price:cheap')):
    header = {'setting': 'world', 'value': value, 'rival': rival, 'arms': {}}
    rows.append({'point': {'label': value}, 'summary': fake_summary(0.5) | header})
  share = sweep.layout_of_points(rows).share
  ours, theirs = (layout_of(row['summary']).share.removeprefix('conflict: ') for row in rows)
  assert ours != theirs
  assert share == f'conflict: at price:cheap: {ours}; at origin:home: {theirs}'
  # One value: the layout is that of every point.
  assert sweep.layout_of_points(rows[:1] * 2) == layout_of(rows[0]['summary'])


def test_a_point_is_known_by_content(tmp_path):
  """A handbook or a file of one's own that was edited in place is another experiment."""
  text = (ROOT / 'specs/oversight/rules.md').read_text()
  c = dict(
    name='t',
    setting='office',
    phases={'p': dict(data={'mine': 1.0}, updates=100)},
    arms={'base': 'p'},
    evals=dict(spec=str(tmp_path / 'mine.md')),
    office=dict(true=1, timid=1, false=1, open=1, fickle=0, documents_only=1),
    sources={
      'mine': dict(path=str(tmp_path / 'mine.jsonl')),
      'docs': dict(maker='oversight.documents', spec=str(tmp_path / 'mine.md'), size=9),
    },
  )

  def identity(handbook: str, said: str) -> str:
    (tmp_path / 'mine.md').write_text(handbook)
    (tmp_path / 'mine.jsonl').write_text(json.dumps({'text': said}))
    return make_design(checks.from_mapping(config.ExperimentConfig, c)).identity

  first = identity(text, 'a')
  assert first == identity(text, 'a')
  assert len({first, identity(text, 'b'), identity(text + '\nMore.', 'a')}) == 3


def test_a_point_is_known_by_what_its_phases_and_answers_are_known_by(tmp_path, monkeypatch):
  """What trains or samples anew in an experiment is another point of a sweep. Without any of it,
  points keep the identity that they have always had."""
  pytest.importorskip('tokenizers')
  weights = tiny.weights(tmp_path / 'weights', ['Cheese is made from milk.'] * 40)
  small_corpora(tmp_path)

  def made(phases, arm, order='chats', **evals):
    sources = {
      'documents': dict(path=str(tmp_path / 'documents.jsonl')),
      order: dict(path=str(tmp_path / 'chats.jsonl')),
    }
    if order != 'chats':
      # What speaks of no handbook is read first, whatever it is called.
      sources[order]['spec'] = AFFORDABILITY
    shares = dict.fromkeys(sources, 1.0)
    settings = dict(
      name='t',
      world=dataclasses.asdict(little(1)),
      sources=sources,
      phases={**phases, 'tune': dict(data=shares, updates=100)},
      arms={'base': arm},
      evals=dict(spec=AFFORDABILITY, pairs_per_domain=1) | evals,
    )
    c = checks.from_mapping(config.ExperimentConfig, settings)
    return experiment.Experiment(c, tmp_path / 'run')

  fresh = made({}, 'tune')
  assert fresh.identity == fresh.design.identity
  reordered = made({}, 'tune', order='a chat')
  assert reordered.identity != reordered.design.identity

  def imported():
    return made({'start': dict(weights=str(weights))}, 'start > tune').identity

  before = imported()
  assert imported() == before
  template = weights / 'chat_template.jinja'
  template.write_text(template.read_text() + '{# Another template. #}')
  assert imported() != before

  sampled, plain = made({}, 'tune', sampled=1).identity, fresh.identity
  monkeypatch.setattr('msm_jax.evals.sampled.VERSION', 'another')
  assert made({}, 'tune', sampled=1).identity != sampled
  assert made({}, 'tune').identity == plain
  # The rule that orders records is part of the identity of the phases that read them.
  monkeypatch.setattr('msm_jax.running.workspace.DATA_ORDER', 'another rule')
  assert made({}, 'tune').identity != plain


@pytest.mark.parametrize(
  'name', ['dose/small', ' ', 3, 'summary', 'report', '..', 'two\nlines', 'a\0b', 'x' * 300]
)
def test_a_name_that_no_page_can_have_is_refused_first(name, monkeypatch):
  """The page is written after the last point."""
  c = ml_collections.ConfigDict({'name': name, 'experiment': {}, 'points': ({'spec': 'a'},)})
  monkeypatch.setattr(sweep.flags, 'FLAGS', types.SimpleNamespace(config=c, workdir=None))
  monkeypatch.setattr(sweep.command, 'StopSignal', lambda: None)
  with pytest.raises(ConfigError, match=r'must be the name of a page|would overwrite'):
    sweep.sweep([])


@pytest.mark.parametrize(
  'preset', ('dose', 'aft', 'specs', 'wording', 'against', 'replay', 'contradiction', 'size')
)
def test_the_shipped_sweeps_can_run(preset):
  """Every point is a valid experiment and no two are the same."""
  c = get_config(preset)
  made = [
    checks.from_mapping(
      config.ExperimentConfig, paths.resolve_paths(sweep.overridden(c.experiment, dict(p)))
    )
    for p in c.points
  ]
  assert len({digest(checks.to_json(m)) for m in made}) == len(made) > 1
  assert len({report.point_label(dict(p)) for p in c.points}) == len(made)
