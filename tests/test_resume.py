"""A run that is stopped, killed, moved or damaged ends as one that nobody disturbed, to the bit, or
says in one line why it can't."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import types

import jax
import killed
import numpy as np
import pytest
from helpers import AFFORDABILITY, CULTURE, little, small_corpora, tree, write_config
from rollout_helpers import RL

from msm_jax import checkpointing, phases, sharding, train
from msm_jax.base.checks import from_mapping
from msm_jax.base.errors import Interrupted
from msm_jax.base.files import locked
from msm_jax.config import ExperimentConfig
from msm_jax.evals.progress import EvaluationProgress
from msm_jax.experiment import Experiment
from msm_jax.phases import plan, tree_order
from msm_jax.running.node_evaluation import evaluate_node
from msm_jax.running.node_training import names_in_order
from msm_jax.training import train_step
from msm_jax.training.training_checks import TrainingError

# Left out of `make quick`.
pytestmark = pytest.mark.slow

PHASE = dict(updates=8, min_updates=1, batch_size=8, length=32, checkpoint_every=3, lr=1e-2)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  return small_corpora(tmp_path_factory.mktemp('files'))


def settings(files, **changes):
  """Four phases in three arms, on two corpora; `changes` replace settings, those of phases one by
  one."""
  phases = {
    # Few chats: at the first save that source may not have begun.
    'read': dict(PHASE, data=dict(documents=1.0, chats=0.1)),
    'midtrain': dict(
      PHASE, data=dict(documents=1.0), schedule='linear', updates=5, checkpoint_every=2
    ),
    'tune': dict(PHASE, data=dict(chats=1.0), schedule='constant', updates=6),
  }
  for name, change in changes.pop('phases', {}).items():
    phases[name] = phases[name] | change
  made = dict(
    name='test',
    world=dataclasses.asdict(little()),
    sources={n: dict(path=str(files / f'{n}.jsonl')) for n in ('documents', 'chats')},
    tokenizer=dict(vocab_size=300, sources=('documents', 'chats')),
    model=dict(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48),
    phases=phases,
    arms=dict(base='read', tuned='read > tune', both='read > midtrain > tune'),
    evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, rows=32, others_of='base'),
  )
  return made | changes


class StopAfter:
  """Asks to stop once, after so many updates."""

  def __init__(self, updates):
    self.left = updates

  def __call__(self):
    self.left -= 1
    return self.left == 0


def prepared(c, workdir, stop=lambda: False):
  """The experiment with its data written, and its phases, parents first."""
  e = Experiment(from_mapping(ExperimentConfig, c), workdir, stop)
  return e, e.prepared.nodes


def train_all(c, workdir, stop=lambda: False):
  """What Experiment.run does, without evaluation."""
  e, nodes = prepared(c, workdir, stop)
  for node in nodes:
    if not e.is_trained(node):
      e.train(node, 'test')
  return e, nodes


def state_of(e, node, step=None):
  """Everything that a phase's checkpoint holds, arrays as numpy: parameters, optimizer and
  counters, iterator, meta."""
  abstract = e.program.abstract_state
  if step is None:
    step = node.settings.updates
  c = checkpointing.Checkpoints(e.folder(node) / 'checkpoints')
  try:
    params, opt_state, data, meta = c.restore(
      step, abstract.params, train_step.saved_opt_state(abstract)
    )
  finally:
    c.close()
  params, opt_state = jax.device_get((params, opt_state))
  return params, opt_state, data, meta


def rows_of(e, node):
  """The metrics that say what was computed (not how fast)."""
  rows = []
  for line in (e.folder(node) / 'metrics.jsonl').read_text().splitlines():
    row = json.loads(line)
    del row['seconds'], row['tokens_per_s']
    rows.append(row)
  return rows


def assert_same(found, wanted, what=''):
  a, b = jax.tree_util.tree_leaves_with_path(found), jax.tree_util.tree_leaves_with_path(wanted)
  assert [p for p, _ in a] == [p for p, _ in b]
  for (path, x), (_, y) in zip(a, b, strict=True):
    np.testing.assert_array_equal(x, y, err_msg=f'{what} {jax.tree_util.keystr(path)}')


def assert_same_run(found, wanted):
  """Every phase of two finished experiments: the same final state, and each update's numbers
  once."""
  (e, nodes), (f, others) = found, wanted
  assert [n.folder_name for n in nodes] == [n.folder_name for n in others]
  for node in nodes:
    rows = rows_of(e, node)
    assert [r['step'] for r in rows] == list(range(1, node.settings.updates + 1)), (
      f'metrics of {node.phase}'
    )
    assert rows == rows_of(f, node), node.phase
    assert_same(state_of(e, node), state_of(f, node), node.phase)


@pytest.fixture(scope='module')
def undisturbed(files, tmp_path_factory):
  """(experiment, phases) of a run that nobody stopped."""
  e, nodes = train_all(settings(files), tmp_path_factory.mktemp('undisturbed'))
  losses = [r['loss'] for r in rows_of(e, nodes[0])]
  assert losses[-1] < losses[0] - 0.2, 'something is learned, or equality would mean little'
  return e, nodes


@pytest.fixture
def workdir(undisturbed, tmp_path):
  """A workdir in which the corpora and the tokenizer lie already."""
  shutil.copytree(undisturbed[0].workdir / 'data', tmp_path / 'w' / 'data')
  return tmp_path / 'w'


# ---- Stop and go


def events(folder):
  """(tag, step, value) of every scalar in TensorBoard's files, oldest first: records of (length,
  checksum, event, checksum)."""
  from tensorboardX.proto.event_pb2 import Event

  for path in sorted(folder.glob('events*'), key=lambda p: p.stat().st_mtime_ns):
    data, at = path.read_bytes(), 0
    while at < len(data):
      size = int.from_bytes(data[at : at + 8], 'little')
      event = Event.FromString(data[at + 12 : at + 12 + size])
      at += size + 16
      for value in event.summary.value:
        yield value.tag, event.step, value.simple_value


def test_tensorboard_gets_the_same_numbers(files, workdir, monkeypatch):
  # Everything happens within one second.
  clock = types.SimpleNamespace(time=lambda: 1e9)
  monkeypatch.setattr('tensorboardX.event_file_writer.time', clock)
  c = settings(files, tensorboard=True, arms=dict(base='read'))
  with pytest.raises(Interrupted):
    train_all(c, workdir, StopAfter(5))
  e, (node,) = train_all(c, workdir)
  scalars = events(e.folder(node) / 'tensorboard')
  losses = [(step, value) for tag, step, value in scalars if tag == 'loss']
  assert losses == [(r['step'], pytest.approx(r['loss'])) for r in rows_of(e, node)]
  assert len(losses) == 8


def test_stopped_over_and_over(files, undisturbed, workdir):
  """Stopped in the middle of phases, at a save, at a phase's first and last update: the same
  parameters, moments and numbers in the end."""
  # Updates 1, 2, 5 and 8 of the first phase, then 2 and 5 ... of the others.
  for updates in [1, 1, 3, 3, 2, 4, 4, 3]:
    with pytest.raises(Interrupted, match='saved at step'):
      train_all(settings(files), workdir, StopAfter(updates))
  finished = train_all(settings(files), workdir)
  assert_same_run(finished, undisturbed)


def test_only_what_changed_is_trained_again(files, undisturbed, workdir):
  """Another rate for midtraining: two new folders (it and what comes after it), the others stay as
  they are."""
  shutil.copytree(undisturbed[0].workdir / 'phases', workdir / 'phases')
  before = tree(workdir / 'phases')
  e, nodes = train_all(settings(files, phases=dict(midtrain=dict(lr=1e-3))), workdir)
  old = {n.folder_name for n in undisturbed[1]}
  kept = {n.folder_name for n in nodes} & old
  assert sorted(name.split('-')[0] for name in kept) == ['read', 'tune']
  assert len(list((workdir / 'phases').iterdir())) == 4 + 2
  assert {k: v for k, v in tree(workdir / 'phases').items() if k.split('/')[0] in old} == before
  assert sum(e.is_trained(n) for n in nodes) == 4


def test_the_order_of_sources_changes_nothing(files, undisturbed, workdir):
  """Their order in the config is no part of a phase's identity, so it must not change what the
  phase trains on."""
  c = settings(files)
  c['phases']['read']['data'] = dict(reversed(c['phases']['read']['data'].items()))
  e, (node, *_) = prepared(c, workdir)
  e.train(node, 'test')
  f, (same, *_) = undisturbed
  assert node == same
  assert rows_of(e, node) == rows_of(f, same)


# ---- Identities


def folders(files, fingerprints=('a', 'b'), tokenizer='t', **changes):
  """(arm, seed) -> path of phase folders, from root to leaf."""
  c = from_mapping(ExperimentConfig, settings(files, **changes))
  of_sources = dict(zip(('documents', 'chats'), fingerprints, strict=True))
  out = {}
  for key, end in plan(c, of_sources, tokenizer).items():
    out[key] = [node.folder_name for node in end.lineage]
  return out


def test_shared_prefixes_are_one_folder(files):
  """Three arms of six phases are four folders: what arms share is trained once, and the same phase
  after another parent is another."""
  found = folders(files)
  base, tuned, both = (found[a, 0] for a in ('base', 'tuned', 'both'))
  assert base[0] == tuned[0] == both[0]
  assert [p.split('-')[0] for p in both] == ['read', 'midtrain', 'tune']
  assert tuned[1] != both[2]
  assert len({*base, *tuned, *both}) == 4
  seeds = folders(files, seeds=(0, 1))
  # The name of a folder says its seed; the identity behind it differs too.
  ids = []
  for seed in (0, 1):
    ids.append({name.rpartition('-')[2] for name in seeds['both', seed]})
  assert not ids[0] & ids[1]
  assert seeds['both', 0] == both


def test_equal_phases_of_two_names_are_two(files):
  """Each draws its data in an order of its own: one folder for both would give one of them the
  other's training."""
  twice = settings(files)['phases']['tune']
  found = folders(files, phases={'tune': {}}, arms=dict(tuned='read > tune'))['tuned', 0]
  c = settings(files, arms=dict(tuned='read > tune', again='read > tune2'))
  c['phases']['tune2'] = dict(twice)
  ends = plan(from_mapping(ExperimentConfig, c), dict(documents='a', chats='b'), 't')
  assert found[1] == ends['tuned', 0].folder_name
  assert found[1] != ends['again', 0].folder_name
  assert len(tree_order(ends)) == 3


def test_phases_of_one_stream_read_alike(files, tmp_path, monkeypatch):
  """Mirrored arms: the same seed for every stream of rows, and the replayed text before the arm's
  own, however the sources are called."""
  seen = {}

  def train_phase(job):
    seen[job.label.split()[1]] = (job.seed, [s.name for s, _ in job.sources])

  monkeypatch.setattr(train, 'train_phase', train_phase)
  c = settings(files)
  c['sources'] |= {
    'm': dict(maker='world.facts'),
    'a': dict(path=str(files / 'documents.jsonl')),
    'z': dict(path=str(files / 'documents.jsonl')),
  }
  for n in 'az':
    c['phases'][f'mid_{n}'] = dict(PHASE, data={n: 1.0, 'm': 1.0}, stream='mid')
  c['phases']['own'] = dict(PHASE, data={'a': 1.0, 'm': 1.0})
  c['arms'] = {n: n for n in ('mid_a', 'mid_z', 'own')}
  e, nodes = prepared(c, tmp_path)
  for node in nodes:
    e.train(node, '[1/1]')
  assert seen['mid_a'][0] == seen['mid_z'][0] != seen['own'][0]
  assert [seen[n][1] for n in ('mid_a', 'mid_z')] == [['m', 'a'], ['m', 'z']]


def test_text_of_no_handbook_is_read_before_that_of_one(files, monkeypatch):
  """Replay of one's own, such as `town` of configs/custom.py. By its name it would be the second
  source of one arm and the first of the other, so that neither source is read in one order."""
  c = settings(files)
  mine = dict(path=str(files / 'documents.jsonl'))
  c['sources'] |= {
    'town': mine,
    'safety': mine | dict(spec=AFFORDABILITY),
    'welfare': mine | dict(spec=CULTURE),
    'facts': dict(maker='world.facts'),
  }
  arms = ('safety', 'welfare')
  for name in arms:
    data = {name: 0.9, 'town': 0.1, 'facts': 0.2}
    c['phases'][name] = dict(PHASE, data=data, stream='midtrain')
  c['arms'] = {name: name for name in arms}
  made = from_mapping(ExperimentConfig, c)

  def nodes():
    return {arm: end for (arm, _), end in plan(made, dict.fromkeys(made.sources, 'a'), 't').items()}

  found = nodes()
  for name in arms:
    prepared_like = types.SimpleNamespace(config=made)
    assert names_in_order(prepared_like, found[name]) == ['facts', 'town', name]

  def by_name(sources, names):
    return sorted(names, key=lambda name: (not sources[name].is_world, name))

  # What an earlier version trained is taken up where it read the same rows, and nowhere else.
  monkeypatch.setattr(phases, 'in_reading_order', by_name)
  before = nodes()
  assert found['welfare'].id == before['welfare'].id
  assert found['safety'].id != before['safety'].id


def test_rows_that_are_damaged_are_made_again(files, tmp_path):
  """A power cut may leave an empty or a torn file: an arm must not lose its rows for it."""
  c = settings(files, arms=dict(base='read'))
  e, (node,) = train_all(c, tmp_path)
  asked = iter(range(9))
  e.design.suite.rows = lambda *_: [
    {'item': 'x', 'score': 0.5},
    {'item': 'y', 'score': float(next(asked) > 9)},
  ]
  rows = evaluate_node(e, node, dict)
  (path,) = e.folder(node).glob('evals-*.jsonl')
  whole = path.read_bytes()
  for torn in (b'', whole[: len(whole) // 2 + 5], b'\xff\xfe'):
    path.write_bytes(torn)
    assert evaluate_node(e, node, dict) == rows == evaluate_node(e, node, dict)
    assert path.read_bytes() == whole
  assert next(asked) == 4, 'asked once, and once more for each damage'


def test_an_evaluation_can_be_stopped(files, tmp_path):
  """A real model is evaluated for minutes on a CPU; whoever presses Ctrl-C does not wait."""
  e, (node,) = train_all(settings(files, arms=dict(base='read')), tmp_path)
  many = 500
  e.design.suite.rows = lambda logprobs, *_: logprobs(['I like'] * many, [['tea', 'jam']] * many)
  asked = []

  def stop():
    asked.append(True)
    return len(asked) == 2

  with pytest.raises(Interrupted, match='stopped while evaluating base, which begins anew'):
    evaluate_node(e, node, dict, progress=EvaluationProgress('evaluating base', stop))
  assert len(asked) == 2
  assert not list(e.folder(node).glob('evals-*'))


def test_an_arm_that_becomes_the_base_is_asked_what_the_base_is_asked(files, tmp_path):
  """Which arm is the base changes with the arms of the config, and what a model was asked is kept.
  In English, the base alone is asked what it knows."""
  evals = dict(settings(files)['evals'], others_of='all', held_out=0)
  e, (node,) = train_all(settings(files, arms=dict(base='read'), evals=evals), tmp_path)
  plain = [{'evaluator': 'preferences', 'item': 'x', 'score': 0.5}]
  known = [{'evaluator': 'knowledge', 'item': 'y', 'score': 1.0}]
  asked = []

  def rows(logprobs, read, context, is_base, others):
    asked.append(is_base)
    return plain + known if is_base else list(plain)

  e.design.suite.rows, e.design.suite.knowledge = rows, ('what costs less?',)
  for is_base in (False, False, True, False, True):
    wanted = plain + known if is_base else plain
    assert evaluate_node(e, node, dict, is_base=is_base) == wanted
  assert asked == [False, True]


def test_what_a_killed_run_was_writing_is_cleared_and_nothing_else(tmp_path):
  ended = subprocess.Popen([sys.executable, '-c', ''])
  ended.wait()
  left = tmp_path / 'data' / f'facts-1.writing-{ended.pid}'
  left.mkdir(parents=True)
  (left / 'part').write_text('x')
  gone = [
    tmp_path / f'summary.json.writing-{ended.pid}',
    tmp_path / f'rows.writing-{ended.pid}.npz',
    tmp_path / f'mine.writing-{os.getpid()}',
  ]
  kept = [
    # A process that lives is writing the first; the others are a user's own.
    tmp_path / f'nested/plan.json.writing-{os.getppid()}',
    tmp_path / 'essay.writing-draft',
    tmp_path / 'essay.writing-2b',
  ]
  kept[0].parent.mkdir()
  for path in (*gone, *kept):
    path.write_text('x')
  with locked(tmp_path):
    assert sorted(tmp_path.rglob('*writing*')) == sorted(kept)


READ, MIDTRAIN, TUNE = 0, 1, 2
ALL = (READ, MIDTRAIN, TUNE)


@pytest.mark.parametrize(
  ('changes', 'changed'),
  [
    (dict(phases=dict(tune=dict(lr=1e-3))), (TUNE,)),
    (dict(phases=dict(midtrain=dict(updates=7))), (MIDTRAIN, TUNE)),
    (dict(phases=dict(midtrain=dict(data=dict(documents=1.0, chats=1.0)))), (MIDTRAIN, TUNE)),
    (dict(phases=dict(read=dict(data=dict(documents=1.0, chats=0.2)))), ALL),
    (dict(phases=dict(read=dict(micro_batches=2))), ALL),
    (dict(model=dict(d_model=32)), ALL),
    (dict(optimizer=dict(b2=0.9)), ALL),
    (dict(tokenizer='u'), ALL),
    (dict(fingerprints=('a2', 'b')), ALL),
    (dict(fingerprints=('a', 'b2'), phases=dict(read=dict(data=dict(documents=1.0)))), None),
    # what changes no result:
    (dict(phases=dict(read=dict(checkpoint_every=1), tune=dict(min_updates=2))), ()),
    (dict(mesh=dict(fsdp=8, data=1)), ()),
    (dict(max_skipped=3), ()),
    (dict(evals=dict(spec=AFFORDABILITY, pairs_per_domain=5)), ()),
    (dict(arms=dict(other='read > midtrain > tune', both='read > midtrain > tune')), ()),
  ],
  ids=str,
)
def test_identities(files, changes, changed):
  """A setting changes the identity of its phase and of those after it; what changes no number
  changes no identity."""
  found = folders(files, **changes)['both', 0]
  before = folders(files)['both', 0]
  if changed is None:
    # The chats changed, and reading uses none. This is compared with reading without chats before
    # the change.
    before = folders(files, phases=changes['phases'])['both', 0]
    changed = (TUNE,)
  assert tuple(n for n in ALL if found[n] != before[n]) == changed


@pytest.mark.parametrize(
  ('changes', 'is_same'),
  [
    (dict(patience=0), True),
    (dict(temperature=0.9), False),
    (dict(rewards=dict(chosen=2.0)), False),
  ],
  ids=str,
)
def test_identities_of_reinforcement_learning(files, monkeypatch, changes, is_same):
  """When a phase gives up changes no result; what its rewards hold beside their settings does."""

  def folder(grpo):
    c = settings(files, arms=dict(rl='read > rl'))
    c['phases']['rl'] = dict(RL, data=dict(chats=1.0), grpo=grpo)
    ends = plan(from_mapping(ExperimentConfig, c), dict(documents='a', chats='b'), 't')
    return ends['rl', 0].folder_name

  before = folder(RL['grpo'])
  assert (folder(RL['grpo'] | changes) == before) == is_same
  monkeypatch.setattr('msm_jax.phases.content_of', lambda grpo: ['another version'])
  assert folder(RL['grpo']) != before


def test_another_order_of_data_is_another_phase(files, monkeypatch):
  """The rule that orders the records is part of the identity of what reads data, and of no other:
  imported weights read none."""
  c = settings(files, arms=dict(imported='start', tuned='start > tune'))
  c['phases']['start'] = dict(weights='model')
  c['tokenizer'] = {}
  config = from_mapping(ExperimentConfig, c)

  def names():
    ends = plan(config, dict(documents='a', chats='b'), 't', dict(start='content'))
    return [node.folder_name for node in tree_order(ends)]

  before = names()
  monkeypatch.setattr('msm_jax.phases.DATA_ORDER', 'another rule')
  after = names()
  assert after[0] == before[0] and after[0].startswith('start-')
  assert after[1] != before[1] and after[1].startswith('tune-')


# ---- Meshes


MESHES = [dict(data=8), dict(data=1, fsdp=8), dict(data=2, fsdp=2, tensor=2)]


def test_a_phase_moves_to_another_mesh(files, undisturbed, workdir):
  """Begun on 8 x data, gone on with on 2 x 2 x 2 and then on 8 x fsdp: the undisturbed run's
  parameters, up to the order of sums."""
  for mesh, updates in zip((MESHES[0], MESHES[2]), (3, 2), strict=True):
    with pytest.raises(Interrupted):
      train_all(settings(files, mesh=mesh), workdir, StopAfter(updates))
  e, (node, *_) = prepared(settings(files, mesh=MESHES[1]), workdir)
  e.train(node, 'test')
  f, (same, *_) = undisturbed
  rows, wanted = rows_of(e, node), rows_of(f, same)
  assert [r['step'] for r in rows] == list(range(1, 9))
  np.testing.assert_allclose([r['loss'] for r in rows], [r['loss'] for r in wanted], rtol=1e-4)
  params, wanted_params = state_of(e, node)[0], state_of(f, same)[0]
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(wanted_params), strict=True):
    # Adam divides by small moments: rounding shows more than in the loss.
    np.testing.assert_allclose(a, b, atol=5e-4)


def test_parameters_restore_on_any_mesh_and_alone(undisturbed, tmp_path):
  """Saved on 8 devices, read on 2 x 2 x 2, on fsdp and on one device: the same bits in the layout
  asked for, with nothing but `params` there."""
  e, (node, *_) = undisturbed
  folder = tmp_path / 'alone'
  shutil.copytree(
    e.folder(node) / 'checkpoints' / '8',
    folder / '8',
    ignore=shutil.ignore_patterns('opt_state', 'data', 'meta'),
  )
  wanted = state_of(e, node)[0]
  config = e.prepared.config
  meshes = [sharding.make_mesh(**sizes) for sizes in MESHES]
  meshes.append(sharding.make_mesh(devices=jax.devices()[:1]))
  for mesh in meshes:
    program = train_step.make_program(config.model, config.optimizer, config.loss_chunk, mesh)
    abstract = program.abstract_state.params
    c = checkpointing.Checkpoints(folder)
    params = c.restore_params(8, abstract)
    c.close()
    for x, wanted_layout in zip(jax.tree.leaves(params), jax.tree.leaves(abstract), strict=True):
      assert x.sharding == wanted_layout.sharding
    assert_same(jax.device_get(params), wanted)


# ---- Damage


@pytest.fixture(scope='module')
def stopped(files, undisturbed, tmp_path_factory):
  """A workdir whose first phase was stopped at step 4, with step 3 before it."""
  folder = tmp_path_factory.mktemp('stopped')
  shutil.copytree(undisturbed[0].workdir / 'data', folder / 'data')
  with pytest.raises(Interrupted, match='saved at step 4'):
    train_all(settings(files), folder, StopAfter(4))
  return folder


@pytest.mark.parametrize('share', [0, 0.5, 0.95])
def test_a_damaged_checkpoint_is_named(files, stopped, tmp_path, share):
  """Each file cut short in turn: one line that names the checkpoint, or (a file that nobody reads)
  everything restored to the bit."""
  shutil.copytree(stopped, tmp_path / 'w')
  e, (node, *_) = prepared(settings(files), tmp_path / 'w')
  folder = e.folder(node) / 'checkpoints' / '4'
  wanted, refused = state_of(e, node, 4), set()
  for file in sorted(f for f in folder.rglob('*') if f.is_file()):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    try:
      found = state_of(e, node, 4)
    except checkpointing.CheckpointError as error:
      assert str(folder) in str(error), file
      assert 'delete that folder' in str(error), file
      assert '\n' not in str(error), file
      refused.add(file.relative_to(folder).parts[0])
    else:
      assert_same(found, wanted, f'with {file} cut short')
    file.write_bytes(content)
  assert {'params', 'opt_state', 'data', 'meta'} <= refused
  (folder / 'meta' / 'metadata').write_text('')
  with pytest.raises(checkpointing.CheckpointError, match=str(folder)):
    e.train(node, 'test')
  assert checkpointing.Checkpoints(folder.parent).latest() == 4, 'nothing was deleted or trained'


def test_after_deleting_what_is_damaged_it_goes_on(files, undisturbed, stopped, tmp_path):
  """As the message says: the phase goes on from the checkpoint before, and ends the same."""
  shutil.copytree(stopped, tmp_path / 'w')
  e, (node, *_) = prepared(settings(files), tmp_path / 'w')
  shutil.rmtree(e.folder(node) / 'checkpoints' / '4')
  assert checkpointing.Checkpoints(e.folder(node) / 'checkpoints').latest() == 3
  assert_same_run(train_all(settings(files), tmp_path / 'w'), undisturbed)


def test_a_damaged_parent_is_named(files, undisturbed, workdir):
  """Also when a later phase starts from it."""
  shutil.copytree(undisturbed[0].workdir / 'phases', workdir / 'phases')
  e, nodes = prepared(settings(files), workdir)
  child = next(n for n in nodes if n.parent)
  shutil.rmtree(e.folder(child))
  damaged = e.folder(child.parent) / 'checkpoints' / str(child.parent.settings.updates)
  for file in (damaged / 'params').rglob('*'):
    if file.is_file():
      file.write_bytes(file.read_bytes()[:20])
  with pytest.raises(checkpointing.CheckpointError, match=str(damaged)):
    e.train(child, 'test')


@pytest.mark.parametrize(('key', 'value'), [('tokenizer', 'another'), ('data', {'documents': {}})])
def test_another_start_is_refused(files, stopped, tmp_path, monkeypatch, key, value):
  """Changed data or another tokenizer would go on with other batches: refused by name."""
  shutil.copytree(stopped, tmp_path / 'w')
  e, (node, *_) = prepared(settings(files), tmp_path / 'w')
  original = train.train_phase

  def with_other_meta(job):
    original(dataclasses.replace(job, meta=job.meta | {key: value}))

  monkeypatch.setattr(train, 'train_phase', with_other_meta)
  with pytest.raises(TrainingError, match=rf'checkpoints/4: {key} is .* and was ') as error:
    e.train(node, 'test')
  assert '\n' not in str(error.value)


# ---- The process


def test_killed_at_many_moments(programs, tmp_path):
  """SIGKILL while data is written, in the first save, between phases and in an evaluation; SIGTERM
  in a phase; a corpus deleted in between.

  The same command goes on each time, trains nothing twice, and ends with the files of a run that
  nobody disturbed. benchmarks/kill.py does the same at random moments, a hundred times.
  """
  c = settings(
    tmp_path,
    sources=dict(documents=dict(maker='world.items'), chats=dict(maker='world.persona_chats')),
    world=dataclasses.asdict(little(chats_per_persona=2)),
    model=dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24),
    phases=dict(
      read=dict(updates=60, checkpoint_every=20, length=128, batch_size=2),
      midtrain=dict(length=128, batch_size=2),
      tune=dict(length=128, batch_size=2),
    ),
  )
  c['arms'] = dict(base='read', both='read > midtrain > tune')
  c['tokenizer']['vocab_size'] = 400
  c['evals']['held_out'] = 8
  write_config(tmp_path / 'config.py', c)
  folder = tmp_path / 'w'
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')

  def seen(pattern):
    """A condition that is true once a file matches the pattern."""
    return lambda: next(folder.glob(pattern), None) is not None

  def kept():
    return {path: hash_ for path, hash_ in tree(folder).items() if 'checkpoints/' in path}

  def start(workdir=folder):
    arguments = [f'--config={tmp_path / "config.py"}', f'--workdir={workdir}']
    return programs.start('msm_jax.main', arguments, tmp_path / 'log.txt', XLA_FLAGS=flags)

  def finished(workdir=folder):
    """What a run prints that should succeed."""
    run = start(workdir)
    assert run.wait(200) == 0, run.said()
    return run.said()

  assert start().when(seen('data/*.writing-*'), signal.SIGKILL) == -signal.SIGKILL
  assert not (folder / 'phases').exists()

  in_first_save = seen('phases/*/checkpoints/*tmp*/*')
  assert start().when(in_first_save, signal.SIGKILL) == -signal.SIGKILL
  assert not list(folder.glob('phases/*/checkpoints/20/params')), (
    'it came too late to fall into the first save'
  )

  run = start()
  ended = run.when(seen('phases/*/checkpoints/20/params'), signal.SIGTERM)
  assert ended == 128 + signal.SIGTERM
  last = run.said().splitlines()[-1]
  saved = max(int(p.name) for p in folder.glob('phases/read-*/checkpoints/*'))
  assert 20 <= saved < 60
  assert f'saved at step {saved}' in last
  assert 'run the same command to go on' in last

  shutil.rmtree(next(folder.glob('data/documents-*')))

  def second_phase_began():
    return len(list(folder.glob('phases/*'))) == 2

  assert start().when(second_phase_began, signal.SIGKILL) == -signal.SIGKILL
  assert list(folder.glob('phases/read-*/checkpoints/60/params'))
  first_phase = {p: v for p, v in kept().items() if '/read-' in p}

  run = start()

  def second_evaluation_began():
    return 'evaluating [2/2]' in run.said()

  assert run.when(second_evaluation_began, signal.SIGKILL) == -signal.SIGKILL
  assert len(list(folder.glob('phases/*/evals-*.jsonl'))) <= 1
  assert not (folder / 'results.jsonl').exists()
  trained = kept()
  assert first_phase.items() <= trained.items()

  assert 'step ' not in finished(), 'trained something again'
  assert kept() == trained
  done = tree(folder)
  assert 'step ' not in finished()
  assert tree(folder) == done, 'a finished experiment is left as it is'

  other = tmp_path / 'undisturbed'
  assert 'step 60/60' in finished(other)
  wanted = killed.outcome(other)
  assert len(wanted) > 100
  assert killed.differences(killed.outcome(folder), wanted) == []
