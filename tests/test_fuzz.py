"""A small part of benchmarks/fuzz.py: malformed input is refused in one line."""

import importlib.util
import sys

import pytest
from helpers import ROOT


@pytest.fixture(scope='module')
def fuzz():
  spec = importlib.util.spec_from_file_location('fuzz', ROOT / 'benchmarks' / 'fuzz.py')
  module = importlib.util.module_from_spec(spec)
  # Dataclasses look their module up.
  sys.modules['fuzz'] = module
  spec.loader.exec_module(module)
  yield module
  del sys.modules['fuzz']


@pytest.mark.slow
@pytest.mark.parametrize(
  'campaign',
  [
    'configs',
    'sweeps',
    'jsonl',
    'overrides',
    'objectives',
    'flags',
    'preferences',
    'items',
    'answers',
  ],
)
def test_malformed_input(campaign, fuzz):
  """The list of nonsense is tried whole, and a tenth of the random inputs."""
  tally, faults = fuzz.run_campaign(campaign, seed=1, scale=0.1)
  assert not faults, '\n\n'.join(faults)
  assert tally.inputs > 20 and tally.refused >= tally.nonsense > 10


@pytest.mark.slow
@pytest.mark.parametrize(
  'campaign', ['handbooks', 'adapters', 'http', 'gguf', 'templates', 'weights']
)
def test_malformed_files_and_requests(campaign, fuzz):
  for package in ('safetensors', 'tokenizers', 'jinja2', 'gguf'):
    pytest.importorskip(package)
  tally, faults = fuzz.run_campaign(campaign, seed=1, scale=0.1)
  assert not faults, '\n\n'.join(faults)
  assert tally.inputs > 10


def test_the_judge_knows_all_ends(fuzz, monkeypatch):
  """A campaign whose judge sees nothing would always pass."""
  import time

  from msm_jax.base.errors import DataError

  monkeypatch.setattr(sys.modules['fuzz_inputs'], 'MAX_SECONDS', 0.2)
  fuzz.signal.signal(fuzz.signal.SIGALRM, fuzz.time_is_up)
  tally = fuzz.Tally()

  def fail(error):
    raise error

  assert fuzz.judge(fuzz.Input('x', lambda: fail(DataError('x; y')), True), tally) == ''
  assert 'KeyError' in fuzz.judge(fuzz.Input('x', lambda: fail(KeyError('x'))), tally)
  assert fuzz.judge(fuzz.Input('x', lambda: 3, True), tally) == 'accepted'
  other = fuzz.Input('x', lambda: fail(DataError('y')), True, says='x')
  assert fuzz.judge(other, tally).startswith('refused for another reason than x: error: y')
  assert fuzz.judge(fuzz.Input('x', lambda: time.sleep(9)), tally) == 'hang'
  assert (
    fuzz.judge(fuzz.Input('x', lambda: fail(sys.modules['fuzz_inputs'].Lost('x'))), tally)
    == 'lost: x'
  )
  assert dict(vars(tally), seconds=0) == dict(
    inputs=6,
    refused=1,
    nonsense=3,
    tracebacks=1,
    hangs=1,
    lost=1,
    accepted_nonsense=2,
    seconds=0,
  )
