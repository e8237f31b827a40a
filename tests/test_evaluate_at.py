"""Evaluation along a phase: parameters that are kept, rows, the summary, and arms to open."""

import dataclasses
import json
import shutil
import signal

import numpy as np
import pytest
from helpers import AFFORDABILITY, tree, write_config
from tiny import PHASE, experiment, weights

from msm_jax.base.checks import to_json
from msm_jax.base.errors import ConfigError, Interrupted
from msm_jax.checkpointing import CheckpointError
from msm_jax.config import PhaseConfig
from msm_jax.evals import scoring
from msm_jax.inference.open_model import ArmError, load_arm, trained_arms
from msm_jax.running.results import load_results

# A constant rate without warmup: a point is then what a phase of so many updates would leave.
TUNE = dict(PHASE, data=dict(chats=1.0), length=96, updates=4, schedule='constant', warmup=0.0)
READ = dict(PHASE, data=dict(documents=1.0))
EFFECTS = dict(tuning=('tuned', 'tuned again'))
ARMS = {'base': 'read', 'tuned': 'read > tune', 'tuned again': 'read > tune > again'}


def made(folder, at=(0, 2, 4), stop=lambda: False, **changes):
  folder.mkdir(exist_ok=True)
  phases = {'read': READ, 'tune': dict(TUNE, evaluate_at=at), 'again': dict(TUNE, evaluate_at=at)}
  evals = dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=0, others_of='base')
  return experiment(folder, stop, phases=phases, arms=ARMS, effects=EFFECTS, evals=evals, **changes)


def trained(e):
  """Does what `run` does before it evaluates; evaluation takes most of the time."""
  ends = e.prepared.ends
  for node in e.prepared.nodes:
    if not e.is_trained(node):
      e.train(node, '[1/1]')
    e.keep_missing_points(node, '[1/1]')
    e.list_arms({key: end for key, end in ends.items() if end.id == node.id})
  return e


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  e = made(tmp_path_factory.mktemp('along'))
  e.run()
  return e


def params_of(e, arm):
  return {name: np.asarray(x) for name, x in load_arm(e.workdir, arm).params.items()}


def assert_same(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])


def test_it_is_no_part_of_a_phases_identity(tmp_path):
  with_points, without = made(tmp_path / 'a'), made(tmp_path / 'b', at=())
  ids = []
  for e in (with_points, without):
    ids.append([n.settings.updates and n.id for n in e.prepared.nodes])
  assert ids[0] == ids[1]
  assert with_points.identity != without.identity


@pytest.mark.parametrize(
  ('at', 'said'),
  [((2, 1), 'must rise'), ((1, 1), 'must rise'), ((-1, 2), 'from 0'), ((0, 5), 'updates=4')],
)
def test_points_outside_the_phase_are_refused(at, said):
  phase = PhaseConfig(**dict(TUNE, evaluate_at=at))
  with pytest.raises(ConfigError, match=said):
    phase.check('tune')


def test_weights_have_no_points_and_no_arm_has_the_name_of_one(tmp_path):
  with pytest.raises(ConfigError, match='leave evaluate_at out'):
    PhaseConfig(weights='x', evaluate_at=(1,)).check('w')
  with pytest.raises(ConfigError, match='give it another name'):
    experiment(
      tmp_path,
      phases={'read': dict(READ, evaluate_at=(1,))},
      arms={'base': 'read', 'base@1': 'read'},
    )


@pytest.mark.slow
def test_points_open_like_arms(done):
  names = [f'{arm}@{update}' for arm in ('tuned', 'tuned again') for update in (0, 2, 4)]
  assert set(trained_arms(done.workdir)) == {*ARMS, *names}
  assert_same(params_of(done, 'tuned@0'), params_of(done, 'base'))
  assert_same(params_of(done, 'tuned@4'), params_of(done, 'tuned'))
  assert_same(params_of(done, 'tuned again@0'), params_of(done, 'tuned'))
  before, after = params_of(done, 'tuned@2'), params_of(done, 'tuned')
  assert any((before[name] != after[name]).any() for name in before)
  assert 'read > tune@2' in load_arm(done.workdir, 'tuned@2').description


@pytest.mark.slow
def test_a_point_is_what_a_shorter_phase_leaves(done, tmp_path):
  short = made(tmp_path, at=())
  phases = dict(short.config.phases)
  phases['tune'] = dataclasses.replace(phases['tune'], updates=2)
  short.config = dataclasses.replace(short.config, phases=phases)
  trained(short)
  assert_same(params_of(short, 'tuned'), params_of(done, 'tuned@2'))


@pytest.mark.slow
def test_rows_of_a_point_are_what_its_parameters_say(done):
  rows = [json.loads(line) for line in (done.workdir / 'points.jsonl').read_text().splitlines()]
  assert {(r['arm'], r['phase'], r['update']) for r in rows} == {
    ('tuned', 'tune', 0),
    ('tuned', 'tune', 2),
    ('tuned again', 'again', 0),
    ('tuned again', 'again', 2),
  }
  # The assistant alone is asked.
  assert {r['evaluator'] for r in rows} <= {'preferences', 'consistency', 'recall'}
  loaded = load_arm(done.workdir, 'tuned@2')
  design = done.design
  length, batch = design.row_length, done.config.evals.rows
  logprobs = scoring.make_logprobs(loaded.model, loaded.params, loaded.tokenizer, length, batch)
  node = done.prepared.ends['tuned', 0]
  wanted = design.suite.rows(logprobs, design.handbook_read_by(node), others=False)
  found = [r for r in rows if (r['arm'], r['update']) == ('tuned', 2)]
  assert len(found) == len(wanted)
  for a, b in zip(found, wanted, strict=True):
    assert (a['item'], a['what']) == (b['item'], b['what'])
    assert a.get('margin', 0) == pytest.approx(b.get('margin', 0), abs=1e-3)


@pytest.mark.slow
def test_summary_has_curves_that_end_in_the_arms_numbers(done):
  summary = json.loads((done.workdir / 'summary.json').read_text())
  curve = summary['curves']['arms']['tuned']
  assert curve['phase'] == 'tune' and list(curve['at']) == ['0', '2', '4']
  measure = 'preferences/conflict/new_domains'
  assert curve['at']['4'][measure] == summary['arms']['tuned'][measure]
  assert curve['at']['0'][measure]['mean'] == summary['arms']['base'][measure]['mean']
  # One arm of this effect goes on from the other: their updates are not the same.
  assert not summary['curves']['effects']
  # The second arm at update 0 is the first arm at its end.
  first, last = (summary['curves']['arms'][arm]['at'] for arm in ('tuned again', 'tuned'))
  assert first['0'][measure]['mean'] == last['4'][measure]['mean']
  assert (
    load_results(done.workdir).curves['tuned'][2][measure].mean
    == (curve['at']['2'][measure]['mean'])
  )


@pytest.mark.slow
def test_the_report_shows_curves(done, with_figures):
  # Everything is finished, so this only writes the report again.
  done.run()
  page = (done.workdir / 'report.html').read_text()
  assert '<h2>Along the phases</h2>' in page
  assert 'Along the last phases, after so many updates' in page


@pytest.mark.slow
def test_rows_of_points_do_not_outlive_them(done, tmp_path):
  """Without `evaluate_at`, those of an earlier run would look like those of this one."""
  shutil.copytree(done.workdir, tmp_path / 'run')
  assert 'curves' not in made(tmp_path, at=()).run()
  assert not (tmp_path / 'run' / 'points.jsonl').exists()


@pytest.mark.slow
def test_points_that_were_not_kept_are_trained_again(done, tmp_path, capsys):
  e = trained(made(tmp_path, at=(4,)))
  kept = tree(e.workdir / 'phases')
  assert not [name for name in kept if '/points/' in name]
  later = trained(made(tmp_path))
  said = capsys.readouterr().err
  assert 'its parameters at update 2 were not kept; its first 2 updates are trained again' in said
  assert_same(params_of(later, 'tuned@2'), params_of(done, 'tuned@2'))
  # What was there stays as it is, and the scratch folder is gone.
  now = tree(e.workdir / 'phases')
  assert {name: now[name] for name in kept} == kept
  assert not [name for name in now if '/again/' in f'/{name.partition("/")[2]}']
  # A third run trains nothing.
  trained(later)
  assert 'trained again' not in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_training_that_passed_a_new_point_begins_anew(done, tmp_path):
  trained(made(tmp_path, at=(4,)))
  # One that was stopped at its very last update leaves nothing to do, and goes.
  for at in ((2, 4), (3, 4)):
    polls = iter(range(100))
    with pytest.raises(Interrupted, match='saved at step 2'):
      trained(made(tmp_path, at=at, stop=lambda polls=polls: next(polls) >= 1))
    if at == (2, 4):
      trained(made(tmp_path, at=at))
      assert not list((tmp_path / 'run').glob('phases/tune-*/again'))
  e = trained(made(tmp_path, at=(1, 3, 4)))
  points = e.points_of(e.prepared.ends['tuned', 0])
  assert points.has(1) and points.has(3)


@pytest.mark.slow
def test_a_run_that_was_stopped_keeps_the_same_points(done, tmp_path):
  polls = iter(range(100))
  # The base takes 3 polls; the fourth of `tune` would be its end.
  e = made(tmp_path, stop=lambda: next(polls) >= 5)
  with pytest.raises(Interrupted):
    trained(e)
  trained(made(tmp_path))
  for arm in ('tuned@2', 'tuned again@2'):
    assert_same(params_of(e, arm), params_of(done, arm))


@pytest.mark.slow
def test_a_lost_point_is_made_anew_and_a_changed_one_is_refused(done, tmp_path):
  shutil.copytree(done.workdir, tmp_path / 'run')
  e = made(tmp_path)
  folder = e.folder(e.prepared.ends['tuned', 0]) / 'points'
  wanted = params_of(e, 'tuned@2')
  shutil.rmtree(folder / '2')
  with pytest.raises(ArmError, match='run the experiment again'):
    load_arm(e.workdir, 'tuned@2')
  trained(e)
  assert_same(params_of(e, 'tuned@2'), wanted)
  for path in folder.rglob('*'):
    # A flipped bit would be other weights.
    if path.is_file() and path.stat().st_size > 1000:
      path.write_bytes(path.read_bytes()[:-1] + b'x')
  with pytest.raises(CheckpointError, match='cannot be read'):
    load_arm(e.workdir, 'tuned@2')


@pytest.mark.slow
def test_points_of_adapters_are_adapters(tmp_path):
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  folder = weights(tmp_path / 'weights', ['The quick brown fox jumps over the dog.'] * 40)
  phases = {'start': dict(weights=str(folder)), 'tune': dict(TUNE, evaluate_at=(0, 2))}
  e = trained(
    experiment(
      tmp_path,
      phases=phases,
      arms={'base': 'start', 'tuned': 'start > tune'},
      model=dict(lora=dict(rank=2, alpha=4.0)),
      tokenizer={},
    )
  )
  assert_same(params_of(e, 'tuned@0'), params_of(e, 'base'))
  point, end = params_of(e, 'tuned@2'), params_of(e, 'tuned')
  adapters = {name for name in point if name.endswith(('_a', '_b'))}
  assert adapters and load_arm(e.workdir, 'tuned@2').model.lora is not None
  assert all((point[name] != end[name]).any() for name in adapters)
  assert_same(*({k: x for k, x in p.items() if k not in adapters} for p in (point, end)))
  # Nothing but the adapters is on disk.
  (folder,) = e.workdir.glob('phases/tune-*/points/2')
  kept = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
  assert kept < 4 * sum(x.size for x in end.values())


@pytest.mark.slow
def test_a_run_that_was_killed_keeps_the_same_points(done, programs, tmp_path):
  """SIGKILL as soon as the first point is there; the rest is trained here."""
  settings = json.loads(to_json(made(tmp_path).config))
  settings['phases']['tune']['checkpoint_every'] = 1
  write_config(tmp_path / 'config.py', settings)
  arguments = [str(tmp_path / 'config.py'), str(tmp_path / 'run')]

  def is_there():
    return bool(list((tmp_path / 'run').glob('phases/tune-*/points/2')))

  run = programs.start('train_only', arguments, tmp_path / 'log.txt')
  assert run.when(is_there, signal.SIGKILL) == -signal.SIGKILL
  e = made(tmp_path)
  assert not e.is_trained(e.prepared.ends['tuned again', 0]), 'it came too late'
  trained(e)
  for arm in ('tuned@2', 'tuned', 'tuned again@2'):
    assert_same(params_of(e, arm), params_of(done, arm))
