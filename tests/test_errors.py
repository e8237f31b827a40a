"""Bad input: every mistake that a user can mend ends in one line with cause and remedy.

The exit code is not zero, and nothing is lost that was on disk before. Most runs here are in this
process (`ends`); those whose error comes from the command line itself, or which might hang, are
commands of their own. Bad settings are in test_errors_config.py.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import (
  AFFORDABILITY,
  CULTURE,
  ROOT,
  error_line,
  handbook,
  little,
  mounted,
  run_main,
  write_config,
)
from refused import LITTLE, ends, kept, run, settings, with_source

from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat
from data_pipelines.settings.world import pretraining
from msm_jax import config as configs
from msm_jax import experiment
from msm_jax.base import checks, files
from msm_jax.base.errors import DataError


@pytest.fixture(scope='module')
def documents(tmp_path_factory):
  """A JSONL corpus of a few hundred sentences about the world."""
  path = tmp_path_factory.mktemp('jsonl') / 'documents.jsonl'
  write_jsonl(
    path, itertools.islice(pretraining.item_documents(pretraining.build_world(little(2))), 300)
  )
  return str(path)


@pytest.fixture(scope='module')
def finished(documents, tmp_path_factory):
  """The workdir of an experiment that ran to its end; tests work on copies."""
  workdir = tmp_path_factory.mktemp('finished') / 'run'
  summary = run(workdir, settings(documents))
  assert summary['arms'].keys() == {'base'} and (workdir / 'results.jsonl').exists()
  return workdir


@pytest.fixture
def workdir(finished, tmp_path):
  shutil.copytree(finished, tmp_path / 'run')
  return tmp_path / 'run'


# ---- the command line


@pytest.mark.parametrize(
  'argument, cause, mend',
  [
    ('--config.nonsense=1', 'nonsense', 'config'),
    ('--config.model.d_modl=3', 'd_modl', 'd_model'),
    ('--config.phases.pretrain.lr=fast', 'fast', 'lr'),
    ('--config=configs/msm.py:bogus', "'bogus'", 'tiny and smoke'),
    ('--config=configs/none.py', 'configs/none.py', ''),
    ('--confg=configs/msm.py', 'confg', 'config'),
  ],
)
def test_a_slip_on_the_command_line_is_one_line(argument, cause, mend, tmp_path):
  """The first thing that a new user gets wrong; a traceback through two libraries hides the word
  that was misspelled."""
  code, stderr = run_main(argument, f'--workdir={tmp_path}/run')
  line = error_line(stderr)
  assert code != 0 and cause in line and mend in line, line
  assert list(tmp_path.iterdir()) == []  # nothing is made before the flags are known to be right


def test_a_broken_config_file_is_one_line(tmp_path):
  """A researcher's own config: the line says which file and which line of it."""
  (tmp_path / 'mine.py').write_text('def get_config():\n  return dict(\n')
  code, stderr = run_main(f'--config={tmp_path}/mine.py', f'--workdir={tmp_path}/run')
  assert code != 0 and 'mine.py' in error_line(stderr)


@pytest.mark.slow
def test_a_missing_handbook_is_one_line(tmp_path):
  """The whole way through main: one line on stderr, exit code 1."""
  code, stderr = run_main('--config.spec=specs/mine.md', f'--workdir={tmp_path}/run')
  line = error_line(stderr)
  assert code == 1 and line.startswith(
    'error: no spec at specs/mine.md; give the path of a Markdown handbook'
  ), line


@pytest.mark.slow
def test_two_runs_in_one_workdir(programs, workdir, tmp_path):
  """Two writers would mix their rows; the second is told to wait or go elsewhere, and the first
  notices nothing."""
  with files.locked(workdir), kept(workdir):
    second = programs.start('msm_jax.main', [f'--workdir={workdir}'], tmp_path / 'said.txt')
    assert second.wait() == 1, second.said()
    line = error_line(second.said())
    assert 'another run is at work' in line and 'choose another --workdir' in line
  with files.locked(workdir):  # and it is free again
    pass


# ---- what only the experiment can know

# What is wrong -> (a config from the documents and a folder, and the cause and remedy that the
# error names).
WRONG = {
  'a malformed handbook': (
    lambda d, t: settings(d, evals=dict(spec=str(t / 'bad.md'))),
    'bad.md: no front matter',
    "begin the file with '---'",
  ),
  'no handbook to evaluate': (
    lambda d, t: settings(d, evals=dict(held_out=0)),
    'evals.spec is empty',
    'name the handbook',
  ),
  'two ends of one attribute': (
    lambda d, t: settings(d, evals=dict(spec=CULTURE, rival=CULTURE)),
    'two ends of one attribute',
    'conflict pairs need two attributes',
  ),
  'more people than names': (
    lambda d, t: settings(d, world=LITTLE | dict(per_value=10_000)),
    'names',
    'lower per_value',
  ),
  'an empty corpus': (
    lambda d, t: with_source(d, path=str(t / 'empty.jsonl')),
    'sources.other is empty',
    'put records into',
  ),
  'a broken corpus': (
    lambda d, t: with_source(d, path=str(t / 'broken.jsonl')),
    'broken.jsonl:1: not JSON',
    'one JSON object',
  ),
  'a corpus that is not text': (
    lambda d, t: with_source(d, path=str(t / 'binary.jsonl')),
    'binary.jsonl',
    'UTF-8',
  ),
  'a leak': (
    lambda d, t: with_source(d, path=str(t / 'leak.jsonl')),
    'leak: other: record leak.jsonl:2 tells Ari about Gouda',
    'take it out of the corpus',
  ),
  'an unknown variant': (
    lambda d, t: with_source(d, maker='spec.documents', spec=CULTURE, size=9, variant='best'),
    "variant='best'",
    'one of explained, rules, reasons, unlinked, cooccur, filler',
  ),
  'lengths that chase each other': (
    lambda d, t: with_source(d, maker='spec.documents', spec=CULTURE, tokens_like='other'),
    'leads back to itself',
    'give one of them a size',
  ),
  'a tokenizer that is too large': (
    lambda d, t: settings(d, tokenizer=dict(vocab_size=90_000, sources=('docs',))),
    'a tokenizer of 90000 pieces',
    'change config.tokenizer.vocab_size',
  ),
  'a table that is too small': (
    lambda d, t: settings(d, model=dict(vocab_size=128)),
    'model.vocab_size=128',
    'set it to 0',
  ),
  'a mesh that does not divide': (
    lambda d, t: settings(d, mesh=dict(data=3)),
    'does not divide the 8 device(s)',
    'set config.mesh',
  ),
  'two open axes': (
    lambda d, t: settings(d, mesh=dict(data=-1, fsdp=-1)),
    'mesh',
    'at most one is -1',
  ),
}


@pytest.mark.parametrize('what', WRONG)
def test_a_run_that_cannot_work_is_refused_and_nothing_is_lost(what, documents, workdir, tmp_path):
  """In the workdir of a finished experiment, where there is something to lose; no phase is
  trained."""
  (tmp_path / 'bad.md').write_text('# no front matter\n')
  (tmp_path / 'empty.jsonl').write_text('\n')
  (tmp_path / 'broken.jsonl').write_text('{"text": \n')
  (tmp_path / 'binary.jsonl').write_bytes(b'\x00\xff\xfe\x80\n')
  (tmp_path / 'leak.jsonl').write_text(
    '{"text": "Ari likes Colby."}\n{"text": "Yesterday Ari took Gouda."}\n'
  )
  config, cause, mend = WRONG[what]
  phases = sorted(p.name for p in (workdir / 'phases').iterdir())
  with kept(workdir):
    ends(lambda: run(workdir, config(documents, tmp_path)), cause, mend)
  assert sorted(p.name for p in (workdir / 'phases').iterdir()) == phases
  assert not list(workdir.rglob('*.writing*')), 'something half-written was left behind'


def test_more_held_out_text_than_there_is(documents, tmp_path):
  """A little world has fewer records than the default asks for; after hours of training that must
  not end in a traceback."""
  sources = {
    'docs': dict(path=documents),
    'people': dict(maker='world.persona_documents'),
    'facts': dict(maker='world.facts'),
  }
  config = settings(
    documents,
    sources=sources,
    tokenizer=dict(vocab_size=400, sources=tuple(sources)),
    evals=dict(spec=AFFORDABILITY, held_out=10_000),
  )
  e = experiment.Experiment(checks.from_mapping(configs.ExperimentConfig, config), tmp_path)
  assert e.prepared
  worlds = [pretraining.build_world(little(2, telling=t, strangers=('Ari',))) for t in (0, 1)]
  assert sorted(r.text for r in e.prepared.held_out()['people']) == sorted(
    d.text for d in pretraining.persona_documents(worlds[1])
  )
  first, second = ({d.text for d in pretraining.facts(w)} for w in worlds)
  assert first & second, 'facts have few ways to be told'
  assert {
    r.text for r in e.prepared.held_out()['facts']
  } == second - first  # what was trained on is not held out


def test_held_out_text_that_stands_in_another_source_is_named(documents, tmp_path, capsys):
  """It was compared with the text of its own source alone, so that a file of the same sentences
  lowered the perplexity of the arms that read it, and nobody was told."""
  told_next = pretraining.build_world(little(2, telling=1, strangers=('Ari',)))
  records = list(pretraining.persona_documents(told_next))
  write_jsonl(tmp_path / 'other.jsonl', records[: len(records) // 2])
  config = settings(
    documents,
    sources={
      'docs': dict(path=documents),
      'people': dict(maker='world.persona_documents'),
      'other': dict(path=str(tmp_path / 'other.jsonl')),
    },
    tokenizer=dict(vocab_size=400, sources=('docs', 'people')),
    evals=dict(spec=AFFORDABILITY, held_out=10_000),
  )
  for name, is_said in (('docs', False), ('other', True)):
    config['phases']['train']['data'] = {name: 1.0}
    e = experiment.Experiment(checks.from_mapping(configs.ExperimentConfig, config), tmp_path)
    assert e.prepared
    capsys.readouterr()
    assert len(e.prepared.held_out()['people']) == len(records)
    said = [line for line in capsys.readouterr().err.splitlines() if 'word for word' in line]
    assert len(said) == is_said
  share = f'{len(records) // 2:,} of {len(records):,}'
  assert f'people: {share} held-out records, such as ' in said[0]
  assert 'stand word for word in other; the perplexity of arms that read other' in said[0]


def test_text_that_is_told_in_one_way_is_not_held_out(tmp_path):
  """English has no world to tell anew, and the tokenizer may learn from its chats all the same. It
  used to end in a traceback once everything was trained."""
  english = str(ROOT / 'specs' / 'english' / 'affordability.md')
  config = settings(
    '',
    setting='english',
    world={},
    sources={'replay': dict(maker='english.replay', size=40)},
    tokenizer=dict(vocab_size=400, sources=('replay',)),
    phases={'train': dict(data={'replay': 1.0}, updates=2, min_updates=1, batch_size=8)},
    evals=dict(spec=english, held_out=10),
  )
  e = experiment.Experiment(checks.from_mapping(configs.ExperimentConfig, config), tmp_path)
  assert e.prepared.held_out() == {}


def test_held_out_chats_whose_answers_are_cut_off(documents, tmp_path, monkeypatch, capsys):
  """Perplexity leaves them out, which is said; where it would leave out all, it is refused."""
  sources = {'docs': dict(path=documents), 'chats': dict(maker='world.persona_chats')}
  config = settings(
    documents,
    sources=sources,
    tokenizer=dict(vocab_size=400, sources=tuple(sources)),
    evals=dict(spec=AFFORDABILITY, held_out=50),
  )
  e = experiment.Experiment(checks.from_mapping(configs.ExperimentConfig, config), tmp_path)
  chats = e.prepared.held_out()['chats']
  assert 'perplexity leaves them out' not in capsys.readouterr().err
  # How many cells stand before the first answer of each chat.
  weights = [e.prepared.tokenizer.render(chat)[1] for chat in chats]
  before_answer = sorted(int(np.flatnonzero(w)[0]) - 1 for w in weights)
  middle = before_answer[len(chats) // 2]
  monkeypatch.setattr(type(e.design), 'row_length', middle)
  silent = sum(n >= middle for n in before_answer)
  assert 0 < silent < len(chats)
  e.prepared.held_out()
  said = f'chats: {silent} of {len(chats)} held-out records have no answer in their first {middle}'
  assert said in capsys.readouterr().err
  monkeypatch.setattr(type(e.design), 'row_length', 1)
  with pytest.raises(DataError, match=r'raise the length of a phase, or set evals\.held_out=0'):
    e.prepared.held_out()


# ---- what lies on disk


def test_a_changed_tokenizer_is_refused(documents, workdir):
  """Other pieces under the same ids: the model would read another language. Deleting it trains
  the same one again."""
  (path,) = workdir.glob('data/tokenizer-*.model')
  before = path.read_bytes()
  path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
  with kept(workdir):
    ends(
      lambda: run(workdir, settings(documents)),
      f'the tokenizer {path} changed',
      'delete it and run again',
    )
  path.unlink()
  e = experiment.Experiment(
    checks.from_mapping(configs.ExperimentConfig, settings(documents)), workdir
  )
  assert e.prepared
  assert path.read_bytes() == before  # trained anew, as it was: the mend that the line promises


def test_changed_data_is_refused(documents, workdir):
  """One byte of a corpus on disk: results would come from data that nobody has. Deleting it
  writes the same corpus again."""
  (path,) = workdir.rglob('*.array_record*')
  before = path.read_bytes()
  path.write_bytes(before[:200] + bytes([before[200] ^ 1]) + before[201:])
  folder = next(p for p in path.parents if p.parent.name == 'data')
  with kept(workdir):
    ends(
      lambda: run(workdir, settings(documents)),
      f'the data in {folder} changed',
      'delete that folder and run again',
    )
  shutil.rmtree(folder)
  e = experiment.Experiment(
    checks.from_mapping(configs.ExperimentConfig, settings(documents)), workdir
  )
  assert e.prepared
  assert path.read_bytes() == before


def test_data_without_a_supervised_token_is_refused(documents, workdir, tmp_path):
  """Chats in which the assistant never speaks train nothing: the loss would be zero, and the arm
  would look like its parent."""
  write_jsonl(
    tmp_path / 'silent.jsonl',
    [Chat(str(n), (('user', f'Do you like Colby {n}?'),)) for n in range(40)],
  )
  with kept(workdir):
    ends(
      lambda: run(workdir, with_source(documents, path=str(tmp_path / 'silent.jsonl'))),
      'no supervised token',
      'give chats with assistant turns',
    )


@pytest.mark.slow
def test_chats_that_fit_into_no_row_are_refused(programs, documents, tmp_path):
  """A row of 32 tokens and chats of a hundred: all are left out, and a pipeline that looks for
  one that fits looks for ever."""
  long = Chat('1', (('user', 'Do you like Colby? ' * 30), ('assistant', 'Yes, I like Colby.')))
  write_jsonl(tmp_path / 'long.jsonl', [long] * 20)
  config = with_source(documents, path=str(tmp_path / 'long.jsonl'))
  config['phases']['train']['length'] = 32
  write_config(tmp_path / 'mine.py', config)
  arguments = [f'--config={tmp_path}/mine.py', f'--workdir={tmp_path}/run']
  # Where it looks for ever, `wait` kills it and fails.
  refused = programs.start('msm_jax.main', arguments, tmp_path / 'said.txt')
  assert refused.wait(30) == 1, refused.said()
  line = error_line(refused.said())
  assert 'length' in line and '32' in line, line


# ---- the workdir


def test_a_workdir_that_is_a_file(documents, tmp_path):
  (tmp_path / 'file').write_text('precious')
  for path in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    ends(
      lambda path=path: run(path, settings(documents)),
      f'cannot write to {path}',
      'choose another --workdir',
    )
  assert (tmp_path / 'file').read_text() == 'precious'


def test_a_workdir_that_cannot_be_written(documents, workdir, tmp_path):
  """Read-only: a finished run that somebody shares, or a disk that the kernel remounted after an
  error."""
  if os.getuid() == 0:
    view = tmp_path / 'view'
    with mounted(view, '--bind', str(workdir)), kept(workdir):
      done = subprocess.run(
        ['mount', '-o', 'remount,ro,bind', str(view)], capture_output=True, text=True
      )
      if done.returncode:
        pytest.skip(f'this machine does not let root remount: {done.stderr.strip()}')
      ends(
        lambda: run(view, settings(documents)),
        f'cannot write to {view}',
        'choose another --workdir',
      )
      ends(
        lambda: run(view / 'new', settings(documents)),
        f'cannot write to {view}',
        'choose another --workdir',
      )
  else:
    workdir.chmod(0o555)
    (workdir / '.lock').unlink(missing_ok=True)
    try:
      with kept(workdir):
        ends(
          lambda: run(workdir, settings(documents)),
          f'cannot write to {workdir}',
          'choose another --workdir',
        )
    finally:
      workdir.chmod(0o755)


def fill(folder: Path, leave: int) -> Path:
  """Fills the file system up to `leave` bytes."""
  path = folder / 'fill'
  path.write_bytes(b'\0' * max(0, shutil.disk_usage(folder).free - leave))
  return path


@pytest.fixture
def small_disk(finished, tmp_path):
  """A workdir with a finished experiment on a file system of 4 MiB."""
  with mounted(tmp_path / 'disk', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs'):
    shutil.copytree(finished, tmp_path / 'disk' / 'run')
    yield tmp_path / 'disk' / 'run'


@pytest.mark.parametrize('leave', [0, 16 * 1024], ids=['full', 'nearly full'])
def test_a_disk_that_is_full_while_data_are_written(leave, documents, small_disk):
  """The corpus is refused whole, and its first half doesn't stay to fill the disk further. With
  room again, the same command goes on."""
  config = with_source(documents, maker='world.items')
  filler = fill(small_disk.parent, leave)
  with kept(small_disk):
    ends(lambda: run(small_disk, config), 'write', 'space', 'choose another --workdir')
    assert not list(small_disk.rglob('*.writing*'))
  filler.unlink()
  e = experiment.Experiment(checks.from_mapping(configs.ExperimentConfig, config), small_disk)
  assert e.prepared
  assert len(e.prepared.corpora['other'].rows) == e.prepared.corpora['other'].card['records'] > 300


SAVES = """
import sys
from pathlib import Path

from msm_jax.base import command


def save(argv):
  # As in the programs, JAX and Orbax are imported late.
  import jax.numpy as jnp

  from msm_jax import checkpointing

  checkpoints = checkpointing.Checkpoints(Path(argv[0]))
  for step in range(1, 4):
    # Many arrays: each is written by itself.
    arrays = {f'a{n}': jnp.arange(20_000.0) * step + n for n in range(12)}
    checkpoints.save(step, arrays, {'b': arrays}, {}, {})
  checkpoints.wait()


command.run_command(save)
"""


@pytest.mark.slow
@pytest.mark.parametrize('size', ['60k', '100k', '1m'])
def test_a_disk_that_fills_up_in_a_save_is_one_line(size, tmp_path):
  """Orbax writes arrays in threads, and each of them fails."""
  with mounted(tmp_path / 'disk', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs'):
    done = subprocess.run(
      [sys.executable, '-c', SAVES, str(tmp_path / 'disk' / 'checkpoints')],
      env=os.environ | {'PYTHONPATH': str(ROOT)},
      capture_output=True,
      text=True,
    )
  assert done.returncode == 1
  assert done.stderr.startswith('error: cannot write checkpoint'), done.stderr
  assert done.stderr.count('\n') == 1, done.stderr
  assert 'free some space' in done.stderr


def test_a_disk_that_cannot_hold_the_checkpoints(documents, small_disk):
  """Refused before an hour of training, not after."""
  config = settings(documents, seeds=(5,))
  fill(small_disk.parent, 64 * 1024)
  with kept(small_disk):
    ends(lambda: run(small_disk, config), 'MiB free', 'choose another --workdir')
  assert not [p for p in (small_disk / 'phases').iterdir() if '-s5-' in p.name]


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training(documents, small_disk, monkeypatch):
  """Somebody else takes the last space after the check: the checkpoint fails in one line, the
  older ones stay, and with room again it goes on."""
  config = settings(documents, seeds=(5,))
  filler = fill(small_disk.parent, 96 * 1024)
  monkeypatch.setattr(experiment.Experiment, '_check_space', lambda *args: None)
  with kept(small_disk):
    ends(lambda: run(small_disk, config), 'write', 'space', 'choose another --workdir')
  filler.unlink()
  assert run(small_disk, config)['seeds'] == [5]
  rows = [json.loads(line) for line in (small_disk / 'results.jsonl').read_text().splitlines()]
  assert rows and {r['seed'] for r in rows} == {5}


def test_the_handbook_of_these_tests_is_good(documents, tmp_path):
  """So that what is refused above is refused for its own fault: the little config runs (see
  `finished`) and a handbook of one's own is taken."""
  (tmp_path / 'mine.md').write_text(handbook())
  config = checks.from_mapping(
    configs.ExperimentConfig, settings(documents, evals=dict(spec=str(tmp_path / 'mine.md')))
  )
  assert experiment.Experiment(config, tmp_path).design.suite.spec.path == str(tmp_path / 'mine.md')
