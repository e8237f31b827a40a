"""Two processes, as two hosts of a pod, do what one does: the same batches, the same models, one
set of files."""

import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import killed
import numpy as np
import pytest
from helpers import small_corpora, write_config
from prefork import Prefork
from test_resume import settings

from msm_jax.base import files

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module', autouse=True)
def server(programs):
  """Starts the processes of all pods."""
  Pod.server = programs


class Pod:
  """One run in several processes that share four devices.

  Attributes:
    server: starts the processes.
    runs: the processes.
  """

  server: Prefork

  def __init__(
    self,
    folder: Path,
    processes: int,
    folder_of_others: Path | None = None,
    evaluates: bool = True,
  ):
    """Starts them.

    Args:
      folder: the workdir, beside the config.
      processes: how many there are.
      folder_of_others: another workdir, for all processes but the first.
      evaluates: whether the run goes on when everything is trained.
    """
    with socket.socket() as s:
      s.bind(('127.0.0.1', 0))
      port = s.getsockname()[1]
    flags = os.environ['XLA_FLAGS'].replace('device_count=8', f'device_count={4 // processes}')
    self.runs = []
    for n in range(processes):
      workdir = folder
      if folder_of_others and n > 0:
        workdir = folder_of_others
      env = {'XLA_FLAGS': flags}
      if processes > 1:
        env['MSM_JAX_DISTRIBUTED'] = f'127.0.0.1:{port},{processes},{n}'
      log = workdir.parent / f'said-{folder.name}-{n}.txt'
      config = workdir.parent / 'config.py'
      program, arguments = 'train_only', [str(config), str(workdir)]
      if evaluates:
        program, arguments = 'msm_jax.main', [f'--config={config}', f'--workdir={workdir}']
      self.runs.append(self.server.start(program, arguments, log, **env))

  def wait(self) -> list[int]:
    try:
      return [run.wait(150) for run in self.runs]
    finally:
      self.kill()

  def kill(self) -> None:
    for run in self.runs:
      run.send(signal.SIGKILL)

  def said(self) -> list[str]:
    return [run.said() for run in self.runs]

  def until(self, path: Path, pattern: str) -> None:
    began = time.monotonic()
    while next(path.glob(pattern), None) is None:
      assert all(run.poll() is None for run in self.runs), self.said()
      assert time.monotonic() - began < 100, self.said()
      time.sleep(0.02)


def losses(folder: Path) -> dict[str, list[float]]:
  """Phase folder -> the loss of each update."""
  found = {}
  for path in sorted(folder.glob('phases/*/metrics.jsonl')):
    found[path.parent.name] = [json.loads(line)['loss'] for line in path.open()]
  return found


def results(folder: Path) -> list[dict]:
  return [json.loads(line) for line in (folder / 'results.jsonl').open()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A config that lays parameters out over the devices of both processes."""
  folder = tmp_path_factory.mktemp('pod')
  # An update of two processes takes a sixth of a second of CPU, so there are few. Rows of one shape
  # let one compiled step serve both phases.
  shape = dict(length=160, micro_batches=2)
  read = dict(shape, updates=12, checkpoint_every=2)
  c = settings(
    small_corpora(folder),
    mesh=dict(data=1, fsdp=-1),
    model=dict(d_model=32, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48),
    phases=dict(read=read, midtrain=shape, tune=shape),
  )
  c['arms'] = dict(base='read', tuned='read > tune')
  # Few large batches: parameters are gathered anew for each.
  c['evals'] = c['evals'] | dict(rows=128)
  write_config(folder / 'config.py', c)
  return folder


@pytest.fixture(scope='module')
def two(folder):
  """A run of two processes that nobody disturbed."""
  pod = Pod(folder / 'two', 2)
  assert pod.wait() == [0, 0], pod.said()
  return pod


def test_two_processes_train_and_measure_what_one_does(folder, two):
  one = Pod(folder / 'one', 1)
  assert one.wait() == [0], one.said()
  a, b = losses(folder / 'one'), losses(folder / 'two')
  assert a.keys() == b.keys() and len(a) == 2
  for phase in a:
    # Sums are grouped in another way, so this is not equal to the bit.
    np.testing.assert_allclose(b[phase], a[phase], rtol=1e-4, err_msg=phase)
  of_one, of_two = results(folder / 'one'), results(folder / 'two')
  for row, other_row in zip(of_one, of_two, strict=True):
    for key in ('arm', 'what', 'item'):
      assert row[key] == other_row[key]
  margins = [row.get('margin', row['score']) for row in of_one]
  other_margins = [row.get('margin', row['score']) for row in of_two]
  # Of nats, after 18 updates at a high rate.
  np.testing.assert_allclose(margins, other_margins, atol=5e-2)
  first, other = two.said()
  for what in ('step 12/12', 'evaluating [2/2]', 'MISS', 'report.html'):
    assert what in first, what
    assert what not in other, what
  assert not list(folder.glob('two/**/*.writing*'))


def test_killed_and_stopped_they_go_on_together(folder, two):
  """SIGKILL of both; then SIGTERM to the second alone, which stops both; then to the end, with
  checkpoints as if nothing had been."""
  whole, w = folder / 'two', folder / 'killed'
  pod = Pod(w, 2)
  pod.until(w, 'phases/*/checkpoints/2/params')
  pod.kill()
  pod.wait()
  pod = Pod(w, 2)
  pod.until(w, 'phases/*/checkpoints/4/params')
  pod.runs[1].send(signal.SIGTERM)
  assert pod.wait() == [128 + signal.SIGTERM] * 2, pod.said()
  assert 'saved at step' in pod.said()[0]
  shutil.copytree(w, folder / 'fewer')
  pod = Pod(w, 2, evaluates=False)
  assert pod.wait() == [0, 0], pod.said()
  assert losses(w) == losses(whole)
  assert killed.hashes_of_checkpoints(w) == killed.hashes_of_checkpoints(whole)
  # One process goes on where the two were stopped.
  fewer = Pod(folder / 'fewer', 1, evaluates=False)
  assert fewer.wait() == [0], fewer.said()
  assert 'step 1/12' not in fewer.said()[0], fewer.said()
  for phase, want in losses(whole).items():
    np.testing.assert_allclose(losses(folder / 'fewer')[phase], want, rtol=1e-4, err_msg=phase)


def test_what_the_first_refuses_ends_all(folder):
  with files.locked(folder / 'busy'):
    pod = Pod(folder / 'busy', 2)
    assert pod.wait() == [1, 1], pod.said()
  first, other = (text.strip().splitlines()[-1] for text in pod.said())
  assert first.startswith('error: another run is at work')
  assert other == 'error: the first process has failed'


def test_hosts_that_see_different_folders_are_refused(folder):
  pod = Pod(folder / 'here', 2, folder / 'there')
  assert pod.wait() == [1, 1], pod.said()
  for text in pod.said():
    assert 'is not the same folder on all hosts; give --workdir' in text.strip().splitlines()[-1]


def test_hosts_that_read_different_files_are_refused(tmp_path):
  """One path, and a file of its own on each host: each would train on other rows of one batch."""
  for n in range(2):
    (tmp_path / f'host{n}').mkdir()
    small_corpora(tmp_path / f'host{n}', documents=97 + n)
  # A relative path means another file in another folder.
  write_config(tmp_path / 'config.py', settings(Path()))
  source = (tmp_path / 'config.py').read_text()
  (tmp_path / 'config.py').write_text(f"import os\nos.chdir(os.environ['HERE'])\n{source}")
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    port = s.getsockname()[1]
  arguments = [f'--config={tmp_path / "config.py"}', f'--workdir={tmp_path / "run"}']
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=2')
  runs = []
  for n in range(2):
    env = {'HERE': str(tmp_path / f'host{n}'), 'XLA_FLAGS': flags}
    env['MSM_JAX_DISTRIBUTED'] = f'127.0.0.1:{port},2,{n}'
    log = tmp_path / f'said-{n}.txt'
    runs.append(Pod.server.start('msm_jax.main', arguments, log, **env))
  try:
    assert [run.wait(100) for run in runs] == [1, 1], [run.said() for run in runs]
  finally:
    for run in runs:
      run.send(signal.SIGKILL)
  for run in runs:
    assert 'give all hosts the same files' in run.said().strip().splitlines()[-1]
  assert not (tmp_path / 'run' / 'phases').exists()


def test_layers_and_adapters_divided_over_processes(folder):
  """Weights of Hugging Face, LoRA, and each matrix on the devices of both processes, which then
  hold all rows."""
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  import tiny
  from test_weights import LORA
  from test_weights import settings as of_weights

  at = folder / 'adapters'
  at.mkdir()
  weights = tiny.weights(
    at / 'weights', ['Ari prefers what is cheap.', 'The plan is cheap. ' * 3, 'It is so so so.']
  )
  c = of_weights(
    weights,
    folder,
    mesh=dict(data=1, fsdp=1, tensor=-1),
    model=dict(lora=LORA),
    arms=dict(tuned='start > tune'),
  )
  c['phases']['tune'] = c['phases']['tune'] | dict(length=256, updates=3)
  write_config(at / 'config.py', c)
  one, two = (Pod(at / name, n, evaluates=False) for n, name in ((1, 'one'), (2, 'two')))
  assert one.wait() == [0], one.said()
  assert two.wait() == [0, 0], two.said()
  [(phase, losses_of_one)] = losses(at / 'one').items()
  np.testing.assert_allclose(losses(at / 'two')[phase], losses_of_one, rtol=1e-5)


def test_objectives_in_two_processes(tmp_path):
  """Pairs, rows of teachers and the reference are divided over the processes as parameters are."""
  from test_objectives import settings as of_objectives

  short = dict(updates=2, batch_size=8)
  changes = {name: short for name in ('read', 'prefer', 'recall')}
  arms = dict(both='read > prefer > recall')
  c = of_objectives(tmp_path, phases=changes, mesh=dict(data=1, fsdp=-1), arms=arms)
  write_config(tmp_path / 'config.py', c)
  one, two = (Pod(tmp_path / name, n, evaluates=False) for n, name in ((1, 'one'), (2, 'two')))
  assert one.wait() == [0], one.said()
  assert two.wait() == [0, 0], two.said()
  found, wanted = losses(tmp_path / 'two'), losses(tmp_path / 'one')
  assert found.keys() == wanted.keys() and len(wanted) == 3
  for phase, of_one in wanted.items():
    np.testing.assert_allclose(found[phase], of_one, rtol=1e-4, err_msg=phase)


@pytest.mark.parametrize('asked', ['auto', '127.0.0.1:1,2', '127.0.0.1:1,two,0'])
def test_processes_that_cannot_be_joined_are_refused_in_one_line(tmp_path, asked):
  run = Pod.server.start(
    'msm_jax.main', [f'--workdir={tmp_path}'], tmp_path / 'said.txt', MSM_JAX_DISTRIBUTED=asked
  )
  assert run.wait() == 1, run.said()
  last = run.said().strip().splitlines()[-1]
  assert last.startswith(f'error: MSM_JAX_DISTRIBUTED={asked}: '), run.said()
  assert 'HOST:PORT,COUNT,INDEX' in last, run.said()
