"""What a run keeps to avoid doing work again is the file that was written, or it counts as none."""

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tiny
from helpers import AFFORDABILITY
from jax.sharding import NamedSharding, PartitionSpec
from orbax.checkpoint._src.path import atomicity_types
from refused import ends

from data_pipelines import corpora
from data_pipelines.records import Document
from msm_jax import checkpointing, experiment, sharding
from msm_jax.base import files
from msm_jax.base.errors import DataError, SpecError, WorkdirError
from msm_jax.checkpointing import CheckpointError, Checkpoints
from msm_jax.model import count_params
from msm_jax.models import listed_arms
from msm_jax.running import outputs, workspace
from msm_jax.running.prepared import Prepared
from msm_jax.running.results import ResultsError, load_results
from msm_jax.training.training_checks import TrainingError

ROWS = [{'item': 'a', 'score': 0.25}, {'item': 'b', 'score': 0.5}, {'item': 'c', 'score': 0.75}]


def damages(content: bytes) -> dict[str, bytes]:
  """Changed files that JSON parsers take, beside others."""
  lines = content.splitlines(keepends=True)
  return {
    'one line less': b''.join(lines[:-1]),
    'one line alone': lines[0],
    'one digit': content.replace(b'0.25', b'0.75'),
    'a number': b'3\n',
    'a line twice': content + lines[-1],
    'half of it': content[: len(content) // 2],
    'nothing': b'',
  }


def test_rows_are_those_that_were_written(tmp_path):
  """A cut or changed file would give other results under a plausible report."""
  path = tmp_path / 'evals-1.jsonl'
  content = ''.join(json.dumps(row) + '\n' for row in ROWS).encode()
  files.write_with_checksum(path, content)
  assert files.read_json_lines(path) == ROWS and path.read_bytes() == content
  for what, damaged in damages(content).items():
    assert damaged != content
    path.write_bytes(damaged)
    assert files.read_json_lines(path) == [], what
  path.write_bytes(content)
  path.with_name('evals-1.jsonl.sha256').unlink()
  assert files.read_json_lines(path) == []


def test_files_that_belong_together_are_replaced_together(tmp_path, monkeypatch):
  """A disk that fills up within the second file leaves the first one as it was, too."""
  rows, summary = tmp_path / 'rows', tmp_path / 'summary'
  files.write_together({rows: b'1', summary: [b'of ', b'1']})
  assert rows.read_bytes() == b'1' and summary.read_bytes() == b'of 1'
  synced = []

  def no_space_for_second(file):
    synced.append(file)
    if len(synced) == 2:
      raise OSError(errno.ENOSPC, 'No space left on device')

  with monkeypatch.context() as patched, pytest.raises(OSError, match='No space'):
    patched.setattr(files.os, 'fsync', no_space_for_second)
    files.write_together({rows: b'2', summary: b'of 2'})
  assert rows.read_bytes() == b'1' and summary.read_bytes() == b'of 1'
  assert sorted(tmp_path.iterdir()) == [rows, summary]


def test_a_kill_between_two_renames_leaves_nothing_of_an_earlier_run(tmp_path, monkeypatch):
  """New rows beside the summary of a run with other settings: they are as many as before."""
  rows, points, summary = (tmp_path / name for name in ('rows', 'points', 'summary'))
  replace = os.replace
  for at in range(2):
    files.write_together({rows: b'1', points: b'of 1', summary: b'of 1'})
    replaced = []

    def killed(old, new, at=at, replaced=replaced):
      if len(replaced) == at:
        raise KeyboardInterrupt
      replaced.append(new)
      replace(old, new)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
      patched.setattr(files.os, 'replace', killed)
      files.write_together({rows: b'2', summary: b'of 2'}, [summary, points])
    assert list(tmp_path.iterdir()) == [rows]
    assert rows.read_bytes() == (b'2' if replaced else b'1')
  files.write_together({rows: b'2', summary: b'of 2'}, [summary, points])
  assert sorted(tmp_path.iterdir()) == [rows, summary]


def test_lines_of_a_file_that_grows_are_those_that_were_written():
  """Each line has a checksum of its own: of a killed run, the whole lines before the last count."""
  rows = [{'key': 'a', 'score': 0.25}, {'text': 'Grüße \u2028 日本', 'n': [1, {'x': None}]}]
  for row in rows:
    line = files.checked_line(row)
    assert line.endswith('\n') and line.count('\n') == 1
    assert {k: v for k, v in json.loads(line).items() if k != 'checksum'} == row
    assert files.read_checked_line(line) == files.read_checked_line(line.encode()) == row
    for n in range(len(line) - 1):
      assert files.read_checked_line(line[:n]) is None
    for old, new in (('0.25', '0.75'), ('ü', 'u'), ('"n"', '"m"'), ('checksum', 'chexsum')):
      if old in line:
        assert files.read_checked_line(line.replace(old, new)) is None
  for other in ('', '3', 'null', '[]', '["checksum"]', '{}', '"x"', '[' * 99999, '\xff'):
    assert files.read_checked_line(other) is None
  # Half of a character cannot be stored.
  assert files.read_checked_line(files.checked_line({'x': 'a\ud800'})) == {'x': 'a?'}


def test_half_checkpoints_of_killed_runs_are_deleted_and_nothing_else(tmp_path):
  """Of a run that was killed in the save that SIGTERM asked for: the step may never be saved again,
  and with large models that is many gigabytes."""
  suffix = atomicity_types.TMP_DIR_SUFFIX
  gone = [
    tmp_path / 'phases/read-s0-1/checkpoints' / f'437{suffix}',
    tmp_path / 'phases/read-s0-1/points' / f'64{suffix}',
    tmp_path / 'phases/read-s0-1/again/checkpoints' / f'20{suffix}',
  ]
  whole = [
    tmp_path / 'phases/read-s0-1/checkpoints/200/params',
    tmp_path / f'mine{suffix}',
  ]
  for folder in (*gone, *whole):
    folder.mkdir(parents=True)
    (folder / 'file').write_text('x')
  checkpointing.delete_half_written(tmp_path / 'phases')
  assert not any(folder.exists() for folder in gone)
  assert all((folder / 'file').exists() for folder in whole)
  # A workdir in which nothing was trained yet.
  checkpointing.delete_half_written(tmp_path / 'none')


def test_a_disk_that_suffices_for_a_run_suffices_for_going_on(tmp_path, monkeypatch):
  """What a phase that was stopped has on disk was counted once more: a run could not go on."""
  e = tiny.experiment(tmp_path)
  node = e.prepared.nodes[0]
  need = 2 * 3 * 4 * count_params(e.program.abstract_state.params)
  free = types.SimpleNamespace(free=need - 1000)
  monkeypatch.setattr(experiment.shutil, 'disk_usage', lambda _: free)
  with pytest.raises(experiment.ExperimentError, match='the 1 phases left need about'):
    e._check_space([node])
  stopped = e.folder(node) / 'checkpoints' / '200' / 'params'
  stopped.mkdir(parents=True)
  (stopped / 'file').write_bytes(b'x' * 1001)
  e._check_space([node])
  # What one phase has on disk is no room for another.
  with pytest.raises(experiment.ExperimentError, match='the 2 phases left'):
    e._check_space([node, e.prepared.nodes[1]])


def test_a_third_checkpoint_needs_space_while_it_is_saved(tmp_path, monkeypatch):
  """The oldest of three is deleted when the newest is complete. A disk with room for two ended the
  phase at its third save. One phase at a time has a third."""
  every = dict(tiny.PHASE, checkpoint_every=1)
  phases = {
    'read': dict(every, data=dict(documents=1.0)),
    'tune': dict(every, data=dict(chats=1.0), length=96),
  }
  e = tiny.experiment(tmp_path, phases=phases)
  of_checkpoint = 3 * 4 * count_params(e.program.abstract_state.params)
  read, tune = e.prepared.nodes
  for nodes, checkpoints in (([read], 3), ([read, tune], 5)):
    free = types.SimpleNamespace(free=checkpoints * of_checkpoint)
    monkeypatch.setattr(experiment.shutil, 'disk_usage', lambda _, free=free: free)
    e._check_space(nodes)
    free.free -= 1
    with pytest.raises(experiment.ExperimentError, match='phases left need about'):
      e._check_space(nodes)


@pytest.mark.slow
def test_stops_leave_checkpoints_beside_which_a_third_is_saved(tmp_path, monkeypatch):
  """The independent judge is Orbax: the most checkpoints that are there while the phase goes on.
  The disk had room for two, and the phase ended at its last save."""
  phase = dict(tiny.PHASE, updates=4, data=dict(documents=1.0))
  e = tiny.experiment(tmp_path, phases=dict(read=phase), arms=dict(base='read'))
  (node,) = e.prepared.nodes
  folder = e.folder(node) / 'checkpoints'
  # A checkpoint is 12,000 bytes large; what is in it has no part in this.
  monkeypatch.setattr(experiment, 'count_params', lambda _: 1000)
  monkeypatch.setattr(experiment, 'size_of', lambda _: 12_000 * steps_in(folder))
  free = types.SimpleNamespace(free=0)
  monkeypatch.setattr(experiment.shutil, 'disk_usage', lambda _: free)
  cases = (
    # checkpoint_every, steps on disk, steps to come, the most at once
    (2, (), (2, 4), 2),
    # Each stop has saved a checkpoint between those of `checkpoint_every`.
    (2, (1,), (2, 4), 3),
    (2, (1, 2), (4,), 3),
    (2, (2, 3), (4,), 3),
    (2, (3,), (4,), 2),
    (200, (1,), (4,), 2),
    (200, (1, 3), (4,), 3),
  )
  for every, kept, to_come, at_once in cases:
    settings = dataclasses.replace(node.settings, checkpoint_every=every)
    going_on = dataclasses.replace(node, settings=settings)
    checkpoints = Checkpoints(folder)
    for step in kept:
      save_one(checkpoints, step)
    free.free = (at_once - len(kept)) * 12_000
    e._check_space([going_on])
    free.free -= 1
    with pytest.raises(experiment.ExperimentError, match='phases left need about'):
      e._check_space([going_on])
    most = 0
    for step in to_come:
      # What is there stays until the new one is complete.
      most = max(most, steps_in(folder) + 1)
      save_one(checkpoints, step)
    checkpoints.close()
    assert most == at_once, (every, kept)
    shutil.rmtree(folder)


def save_one(checkpoints, step):
  checkpoints.save(step, {'w': jnp.ones(4)}, {'step': jnp.int32(step)}, {}, {})
  checkpoints.wait()


def steps_in(folder):
  return len([path for path in folder.glob('*') if path.name.isdigit()])


def test_what_is_trained_goes_on_wherever_it_is(tmp_path, monkeypatch):
  """Rows that the devices cannot share, and a judge whose package is missing, hinder training
  alone. A finished experiment only asks questions; a phase that lacks a point is trained again."""
  phases = {
    'read': dict(tiny.PHASE, data=dict(documents=1.0), evaluate_at=(1,)),
    'tune': dict(tiny.PHASE, data=dict(chats=1.0), batch_size=4, length=96, evaluate_at=(1,)),
  }
  e = tiny.experiment(tmp_path, phases=phases, mesh=dict(data=8))
  nodes = e.prepared.nodes
  read, tune = nodes
  asked = []
  monkeypatch.setattr(experiment, 'check_before_training', lambda *_: asked.append(1))
  for node in nodes:
    (e.points_of(node).folder / '1').mkdir(parents=True)
  refused = pytest.raises(TrainingError, match='4 rows per micro-batch cannot be split')
  with refused:
    e._check_before_training(nodes, [True, False])
  e._check_before_training(nodes, [False, True])
  e._check_before_training(nodes, [True, True])
  (e.points_of(read).folder / '1').rmdir()
  e._check_before_training(nodes, [True, True])
  (e.points_of(tune).folder / '1').rmdir()
  with refused:
    e._check_before_training(nodes, [True, True])
  # The same of reinforcement learning, whose judge may not be installed where questions are asked.
  judged = dataclasses.replace(
    read, settings=dataclasses.replace(read.settings, objective='grpo', evaluate_at=())
  )
  e._check_before_training([judged], [True])
  assert not asked
  e._check_before_training([judged], [False])
  assert asked


@pytest.fixture
def saved(tmp_path):
  """(folder, abstract arguments, what was saved)."""
  params = {'w': jnp.arange(6.0).reshape(2, 3)}
  optimizer = {'step': jnp.int32(1)}
  data, meta = {'next_index': 14, 'stop': 20}, {'tokenizer': 'x', 'step': 1}
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  checkpoints.save(1, params, optimizer, data, meta)
  checkpoints.close()
  layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  abstract = []
  for tree in (params, optimizer):
    abstract.append(checkpointing.abstract(tree, jax.tree.map(lambda _: layout, tree)))
  return tmp_path / 'checkpoints', abstract, (params, data, meta)


def restore(folder, abstract):
  checkpoints = Checkpoints(folder)
  try:
    return checkpoints.restore(1, *abstract)
  finally:
    checkpoints.close()


def test_the_place_in_the_data_is_the_one_that_was_saved(saved):
  """One digit less, and a phase would go on with other batches and other losses."""
  folder, abstract, (params, data, meta) = saved
  found = restore(folder, abstract)
  np.testing.assert_array_equal(found[0]['w'], params['w'])
  assert found[2:] == (data, meta)
  changed = 0
  for path in folder.glob('1/*/metadata'):
    before = path.read_text()
    for old, new in (('14', '13'), ('next_index', 'next_indfx'), ('"step"', '"stfp"')):
      if old in before and path.parent.name in ('data', 'meta'):
        path.write_text(before.replace(old, new))
        with pytest.raises(CheckpointError, match='delete that folder and run again'):
          restore(folder, abstract)
        path.write_text(before)
        changed += 1
  assert changed == 3
  restore(folder, abstract)


def test_what_orbax_says_of_arrays_is_saved_and_not_needed(saved):
  """Orbax compares it between processes when it ends a save. Some kept checkpoints lack it."""
  folder, abstract, (params, data, meta) = saved
  found = sorted(folder.glob('1/*/array_metadatas'))
  assert [path.parent.name for path in found] == ['opt_state', 'params']
  for path in found:
    shutil.rmtree(path)
  folder.with_name(f'{folder.name}-1.sha256').unlink()
  restored = restore(folder, abstract)
  np.testing.assert_array_equal(restored[0]['w'], params['w'])
  assert restored[2:] == (data, meta)


def test_a_name_that_looks_like_a_number_is_no_checkpoint(saved):
  folder, _, _ = saved
  (folder / '²').mkdir()
  (folder / '7').write_text('a file')
  assert Checkpoints(folder).latest() == 1


def test_how_a_corpus_is_read_is_protected_as_its_data_are(tmp_path):
  """dataset_info.json says how many records there are: with another number, fewer are read."""
  folder = tmp_path / 'docs-1'
  records = [Document(str(n), f'Text {n}.') for n in range(30)]
  card = corpora.write_corpus(folder, records, {'name': 'docs'})
  assert corpora.read_card(folder) == card
  (info,) = folder.rglob('dataset_info.json')
  before = info.read_text()
  assert '"30"' in before
  info.write_text(before.replace('"30"', '"20"'))
  with pytest.raises(DataError, match=r'changed after it was written'):
    corpora.read_card(folder)
  info.write_text(before)
  for old, new in (('"records": 30', '"records": 20'), ('"kind": "doc', '"kind": "chats')):
    text = (folder / 'card.json').read_text()
    assert old in text
    (folder / 'card.json').write_text(text.replace(old, new))
    with pytest.raises(DataError, match='is damaged; delete'):
      corpora.read_card(folder)
    (folder / 'card.json').write_text(text)
  assert corpora.read_card(folder) == card


BAD_LISTS = [
  'null',
  '[]',
  '3',
  '{"base": 3}',
  '{"base": {"0": 1}}',
  '{"base": {"x": {}}}',
  '[' * 99999,
]


@pytest.mark.parametrize('content', BAD_LISTS, ids=range(len(BAD_LISTS)))
def test_a_list_of_arms_that_is_none(content, tmp_path):
  (tmp_path / 'arms.json').write_text(content)
  assert listed_arms(tmp_path) == {}


def test_points_of_an_arm_that_was_trained_anew_are_not_listed(tmp_path, monkeypatch):
  """They would open the model of the earlier settings under the arm's name."""
  old, new = {'checkpoint': 'phases/old'}, {'checkpoint': 'phases/new'}

  def listed():
    file = tmp_path / 'arms.json'
    return json.loads(file.read_text()) if file.exists() else {}

  # Entries that lack something do not count elsewhere.
  monkeypatch.setattr(outputs, 'listed_arms', lambda folder: listed())
  both_seeds = {('tuned', 0): old, ('tuned@2', 0): old, ('tuned', 1): old, ('tuned@2', 1): old}
  outputs.list_arms(tmp_path, both_seeds | {('other@2', 0): old})
  # The same model again: its points stay.
  outputs.list_arms(tmp_path, {('tuned', 0): old})
  assert listed()['tuned@2'] == {'0': old, '1': old}
  outputs.list_arms(tmp_path, {('tuned', 0): new, ('tuned@4', 0): new})
  assert listed() == {
    'tuned': {'0': new, '1': old},
    'tuned@2': {'1': old},
    'tuned@4': {'0': new},
    'other@2': {'0': old},
  }
  outputs.list_arms(tmp_path, {('tuned', 1): new})
  assert set(listed()) == {'tuned', 'tuned@4', 'other@2'}
  # An entry of an earlier version, which lacks a key, is of the same model.
  outputs.list_arms(tmp_path, {('tuned', 0): new | {'tokenizer_id': 'a'}})
  assert 'tuned@4' in listed() and listed()['tuned']['0']['tokenizer_id'] == 'a'
  outputs.list_arms(tmp_path, {('tuned', 0): new | {'tokenizer_id': 'b'}})
  assert 'tuned@4' not in listed()


@pytest.mark.slow
def test_a_finished_run_writes_no_text_again(tiny_workdir, tmp_path, monkeypatch):
  """Held-out text is written only where something is left to evaluate."""
  folder = tmp_path / 'copy'
  shutil.copytree(tiny_workdir.parent, folder)
  before = json.loads((folder / 'run' / 'summary.json').read_text())
  asked = []
  held_out = Prepared.held_out
  monkeypatch.setattr(Prepared, 'held_out', lambda self: asked.append(1) or held_out(self))
  tiny.experiment(folder).run()
  assert not asked
  # Two of the three models are asked again, and the text is written once.
  for path in sorted((folder / 'run').glob('phases/*/evals-*.jsonl'))[:2]:
    path.write_text('')
  summary = tiny.experiment(folder).run()
  assert len(asked) == 1
  assert json.loads(json.dumps(summary))['arms'] == before['arms']


@pytest.mark.slow
def test_rows_and_summary_are_of_one_run(tiny_workdir, tmp_path, monkeypatch):
  """A run with other settings that ends while it makes its summary leaves the results of the run
  before as they were: its rows are as many, so nobody would notice. Half a checkpoint goes."""
  folder = tmp_path / 'copy'
  shutil.copytree(tiny_workdir.parent, folder)
  path = folder / 'run' / 'results.jsonl'
  whole = path.read_bytes()
  path.write_bytes(b'of the run before')
  (phase, *_) = (folder / 'run' / 'phases').iterdir()
  half = phase / 'checkpoints' / f'2{atomicity_types.TMP_DIR_SUFFIX}'
  half.mkdir()

  def ends_here(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(outputs, 'without_model', ends_here)
    with pytest.raises(KeyboardInterrupt):
      tiny.experiment(folder).run()
  assert path.read_bytes() == b'of the run before'
  assert not half.exists()

  def no_space_for_summary(file):
    if 'summary.json' in os.readlink(f'/proc/self/fd/{file}'):
      raise OSError(errno.ENOSPC, 'No space left on device')

  with monkeypatch.context() as patched:
    patched.setattr(files.os, 'fsync', no_space_for_summary)
    with pytest.raises(OSError, match='No space'):
      tiny.experiment(folder).run()
  assert path.read_bytes() == b'of the run before'
  assert load_results(folder / 'run').summary

  replace = os.replace

  def killed_before_summary(old, new):
    if new.name == 'summary.json':
      raise KeyboardInterrupt
    replace(old, new)

  (folder / 'run' / 'points.jsonl').write_text('of the run before')
  with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
    patched.setattr(files.os, 'replace', killed_before_summary)
    tiny.experiment(folder).run()
  # The rows are those of this run now, and nothing of the run before stands beside them.
  assert path.read_bytes() == whole
  assert not (folder / 'run' / 'points.jsonl').exists()
  with pytest.raises(ResultsError, match=r'summary\.json cannot be read'):
    load_results(folder / 'run')
  tiny.experiment(folder).run()
  assert path.read_bytes() == whole and load_results(folder / 'run').rows


@pytest.mark.slow
def test_answers_of_an_earlier_run_are_not_those_of_this_one(tiny_workdir, tmp_path, monkeypatch):
  """Where no question can be sampled, as of claims alone, what a judge said about the models of the
  run before went into the summary."""
  shutil.copytree(tiny_workdir.parent, tmp_path / 'copy')
  workdir = tmp_path / 'copy' / 'run'
  answers = b'{"arm": "tuned", "text": "of the run before"}\n'
  (workdir / 'answers.jsonl').write_bytes(answers)
  verdicts = {'answers': hashlib.sha256(answers).hexdigest(), 'model': 'x'}
  judged = workdir / 'judge' / 'x-1' / 'judge.json'
  judged.parent.mkdir(parents=True)
  files.write_with_checksum(judged, json.dumps(verdicts).encode())
  assert outputs.read_judged(workdir) == {'x-1': verdicts}
  evals = dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=0, others_of='base', sampled=2)
  e = tiny.experiment(tmp_path / 'copy', evals=evals)
  monkeypatch.setattr(type(e.design.suite), 'sampled_questions', lambda *_: [])
  assert 'judged' not in e.run()
  assert (workdir / 'answers.jsonl').read_bytes() == b''


def test_seeds_read_the_same_files(tmp_path, monkeypatch):
  """Each seed reads them by itself, and to write its corpora takes minutes. A mean over seeds was
  about two versions of a file that somebody edited in that time."""
  handbook = tmp_path / 'mine.md'
  shutil.copy(AFFORDABILITY, handbook)
  evals = dict(spec=str(handbook), pairs_per_domain=1, held_out=0)

  def made():
    return tiny.experiment(tmp_path, seeds=(0, 1), corpora_by_seed=True, evals=evals)

  make_design, prepare = workspace.make_design, workspace.prepare

  def make_design_and_edit(config):
    design = make_design(config)
    handbook.write_text(handbook.read_text() + '\n')
    return design

  with monkeypatch.context() as patched:
    patched.setattr(workspace, 'make_design', make_design_and_edit)
    with pytest.raises(SpecError, match=r'mine\.md was edited while the run began'):
      _ = made().designs

  def prepare_and_edit(design, workdir):
    prepared = prepare(design, workdir)
    with (tmp_path / 'chats.jsonl').open('a') as f:
      f.write((tmp_path / 'chats.jsonl').read_text().splitlines()[0] + '\n')
    return prepared

  with monkeypatch.context() as patched:
    patched.setattr(workspace, 'prepare', prepare_and_edit)
    with pytest.raises(DataError, match=r'sources\.chats: .*chats\.jsonl was edited while'):
      _ = made().prepared_by_seed
  # The same command again.
  e = made()
  assert len({id(prepared) for prepared in e.prepared_by_seed.values()}) == 2


@pytest.mark.slow
def test_something_else_in_the_place_of_a_file(tiny_workdir, tmp_path):
  """A folder where a file goes, and a file where a folder goes: one line that names it."""
  folder = tmp_path / 'copy'
  shutil.copytree(tiny_workdir.parent, folder)
  (folder / 'run' / 'results.jsonl').unlink()
  (folder / 'run' / 'results.jsonl').mkdir()
  ends(lambda: tiny.experiment(folder).run(), 'results.jsonl', 'move it away')
  (folder / 'run' / 'results.jsonl').rmdir()
  shutil.rmtree(folder / 'run' / 'data')
  (folder / 'run' / 'data').write_text('a file')
  ends(lambda: tiny.experiment(folder).run(), 'data', 'move it away')


@pytest.mark.parametrize('name', ['run [v1]', 'a\\b', '[', 'below [x]/run'])
def test_a_workdir_whose_checkpoints_could_not_be_read_is_refused(name, tmp_path):
  """Orbax takes the path for a pattern: the first phase was trained to its end and then lost."""
  from msm_jax import multihost

  refused = pytest.raises(WorkdirError, match='choose another --workdir')
  with refused, multihost.locked(tmp_path / name):
    pass
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['run (v1)', 'r*n', 'ü ?', "it's %{x}~"])
def test_a_workdir_with_another_odd_name_works(name, saved, tmp_path):
  """The independent judge is Orbax: what it saved there, it reads again."""
  from msm_jax import multihost

  _, abstract, (params, data, meta) = saved
  with multihost.locked(tmp_path / name):
    checkpoints = Checkpoints(tmp_path / name / 'checkpoints')
    checkpoints.save(1, params, {'step': jnp.int32(1)}, data, meta)
    checkpoints.close()
    found = restore(tmp_path / name / 'checkpoints', abstract)
  np.testing.assert_array_equal(found[0]['w'], params['w'])


@pytest.mark.parametrize('where', ['of Orbax', 'of the checksum'])
def test_orbax_is_closed_where_the_disk_is_full(tmp_path, monkeypatch, where):
  """Its threads would stay, and hold the arrays in memory."""
  closed = []
  close = ocp.CheckpointManager.close

  def close_and_note(self):
    close(self)
    closed.append(self)

  def full(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')

  monkeypatch.setattr(ocp.CheckpointManager, 'close', close_and_note)
  if where == 'of Orbax':
    monkeypatch.setattr(ocp.CheckpointManager, '_finalize', full)
  else:
    monkeypatch.setattr(checkpointing, '_checksum_of_files', full)
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  checkpoints.save(1, {'w': jnp.ones(4)}, {'step': jnp.int32(1)}, {}, {})
  with pytest.raises(CheckpointError, match=r'No space left on device.*free some space'):
    checkpoints.close()
  assert len(closed) == 1
  # There is nothing left to close.
  checkpoints.close()
  assert len(closed) == 1


def test_arrays_are_those_that_were_saved(saved):
  """One bit of the data: other weights, which every child of the phase would be trained from."""
  folder, abstract, (params, *_) = saved
  for path in sorted(folder.glob('1/*/**/d/*')):
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    with pytest.raises(CheckpointError, match='delete that folder and run again'):
      restore(folder, abstract)
    with pytest.raises(CheckpointError, match='delete that folder and run again'):
      Checkpoints(folder).restore_params(1, abstract[0])
    path.write_bytes(before)
  np.testing.assert_array_equal(restore(folder, abstract)[0]['w'], params['w'])
  # Retrained after the folder was deleted: the old hash does not count.
  shutil.rmtree(folder / '1')
  checkpoints = Checkpoints(folder)
  checkpoints.save(1, {'w': params['w'] + 1}, {'step': jnp.int32(1)}, {}, {})
  checkpoints.close()
  np.testing.assert_array_equal(restore(folder, abstract)[0]['w'], params['w'] + 1)


def test_small_arrays_are_written_whole(tmp_path):
  """Of copies on eight devices, each device writes a part only if that is worth it."""
  shapes = {'small': (8, 8), 'large': (2048, 1024)}
  everywhere = NamedSharding(sharding.make_mesh(data=8), PartitionSpec())
  params = {}
  for name, shape in shapes.items():
    params[name] = jax.device_put(np.ones(shape, np.float32), everywhere)
  checkpoints = Checkpoints(tmp_path / 'checkpoints')
  checkpoints.save(1, params, {'step': jnp.int32(1)}, {}, {})
  checkpoints.close()
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    found = checkpointer.metadata(tmp_path / 'checkpoints' / '1' / 'params').item_metadata.tree
  assert found['small'].storage.chunk_shape == (8, 8)
  assert found['large'].storage.chunk_shape == (2048 // 8, 1024)
