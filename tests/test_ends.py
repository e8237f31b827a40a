"""How a process ends: out of memory, signals, and processes that do not fit together."""

import hashlib
import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import pytest
from helpers import ROOT, run_main, small_corpora, write_config
from test_multihost import Pod, server  # noqa: F401 - pods need the fixture
from test_resume import settings

from msm_jax import multihost
from msm_jax.base.command import StopSignal
from msm_jax.base.errors import ConfigError, DataError, explain


def test_out_of_memory_is_one_line():
  """The error is XLA's own."""
  with pytest.raises(Exception, match=r'RESOURCE_EXHAUSTED|memory') as caught:
    jnp.zeros((2**45,), jnp.float32).block_until_ready()
  line, code = explain(caught.value)
  assert code == 1 and '\n' not in line
  for words in ('out of memory', 'batch_size', 'micro_batches', 'length', 'remat'):
    assert words in line
  assert explain(MemoryError())[0] == line or 'out of memory' in explain(MemoryError())[0]
  assert explain(RuntimeError('RESOURCE_EXHAUSTED in a text')) is None


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_that_ask_to_save(number):
  before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
  try:
    stop = StopSignal()
    assert not stop()
    os.kill(os.getpid(), number)
    assert stop()
  finally:
    for n, handler in before.items():
      signal.signal(n, handler)


def test_under_nohup_a_closed_terminal_stops_nothing():
  before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
  try:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop()
  finally:
    for n, handler in before.items():
      signal.signal(n, handler)


def test_a_second_ctrl_c_is_no_traceback(tmp_path):
  """As does one while the config file is read."""
  (tmp_path / 'mine.py').write_text('raise KeyboardInterrupt\n')
  code, stderr = run_main(f'--config={tmp_path}/mine.py', f'--workdir={tmp_path}/run')
  assert code == 128 + signal.SIGINT and 'Traceback' not in stderr and 'twice' not in stderr
  script = (
    'import os, signal, sys\n'
    'from msm_jax.base import command\n'
    'def job(argv):\n'
    '  command.StopSignal()\n'
    '  os.kill(os.getpid(), signal.SIGINT)\n'
    '  os.kill(os.getpid(), signal.SIGINT)\n'
    "command.run_on_config(job, default='configs/msm.py')\n"
  )
  done = subprocess.run(
    [sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, timeout=60
  )
  assert done.returncode == 128 + signal.SIGINT, done.stderr
  assert 'Traceback' not in done.stderr and 'run the same command' in done.stderr


@pytest.mark.parametrize(
  'check, error, what',
  [
    (multihost.check_same_settings, ConfigError, 'started with different settings'),
    (multihost.check_same_inputs, DataError, 'have read different handbooks, questions, corpora'),
  ],
)
def test_processes_that_differ_are_refused(check, error, what, monkeypatch):
  check('alone')
  # The first process has another text.
  other = hashlib.sha256(b'other').hexdigest()
  monkeypatch.setattr(multihost.jax, 'process_count', lambda: 2)
  monkeypatch.setattr(multihost, 'broadcast_from_first', lambda own: other)
  monkeypatch.setattr(multihost, 'any_process', bool)
  check('other')
  with pytest.raises(error, match=f'{what}.*give all'):
    check('mine')


@pytest.mark.slow
def test_processes_with_other_settings_end_at_once(tmp_path):
  """Otherwise each trains with its own learning rate, and they hang at the first save."""
  small_corpora(tmp_path)
  for name, lr in (('a', 1e-2), ('b', 5e-1)):
    (tmp_path / name).mkdir()
    c = settings(tmp_path)
    for phase in c['phases'].values():
      phase['lr'] = lr
    write_config(tmp_path / name / 'config.py', c)
  pod = Pod(tmp_path / 'a' / 'run', 2, tmp_path / 'b' / 'run')
  assert pod.wait() == [1, 1], pod.said()
  assert any('started with different settings' in said for said in pod.said())
  assert not list(tmp_path.rglob('phases'))
