"""Settings and fixtures of all tests.

Every test runs on 8 fake CPU devices. Compiled programs are kept between runs, and shared with the
subprocesses that tests start.
"""

import collections
import gc
import os
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# So that a clone works before it is installed.
sys.path.insert(0, str(ROOT))
# The scripts of docs/. They come last, since other packages may have modules of the same names.
sys.path.append(str(ROOT / 'docs'))

# These must be set before jax is imported. jax_numpy_rank_promotion='raise' is not set, because the
# norms multiply (B, T, D) by (D).
os.environ['JAX_PLATFORMS'] = 'cpu'
FLAGS = (
  '--xla_force_host_platform_device_count=8',
  # Most of a test's time is compilation. These two make it six times faster. The program gets
  # slower, which does not matter for tiny models.
  '--xla_backend_optimization_level=0',
  '--xla_cpu_use_fusion_emitters=false',
  # A tiny program is compiled as one piece, and not as one for each core. This saves about a tenth
  # of the tests' CPU time where nothing is compiled yet.
  '--xla_cpu_parallel_codegen_split_count=1',
)
os.environ['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *FLAGS]).strip()
os.environ['JAX_COMPILATION_CACHE_DIR'] = os.path.join(
  tempfile.gettempdir(), f'msm_jax-tests-{os.getuid()}'
)
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '-1'
# The threads of PyTorch would wait for one another by spinning, while another test needs the cores.
os.environ['OMP_NUM_THREADS'] = '1'

# Tracing makes millions of small objects, of which nearly all are in use. Collecting garbage less
# often saves about another tenth.
gc.set_threshold(100_000, 50, 50)

# A run in the background, or under nohup, ignores these signals, and so would the processes that
# the tests start and send them to.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
  signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
  """Puts files with long tests first. A worker that began such a file at the end would be at work
  alone, when the others have nothing left."""
  tests_of: dict[Path, int] = collections.Counter()
  slow_tests_of: dict[Path, int] = collections.Counter()
  for item in items:
    tests_of[item.path] += 1
    if item.get_closest_marker('slow'):
      slow_tests_of[item.path] += 1

  def rank(item: pytest.Item) -> tuple[bool, int]:
    tests, slow = tests_of[item.path], slow_tests_of[item.path]
    # Where every test is slow, those of a file of few are the longest.
    if tests == slow:
      return False, tests
    return True, -slow

  items.sort(key=rank)


@pytest.fixture(autouse=True)
def no_tensorflow():
  """TensorFlow is no dependency: a test during which something imports it fails."""
  yield
  assert 'tensorflow' not in sys.modules, 'something imported tensorflow'


@pytest.fixture(scope='session', autouse=True)
def without_figures():
  """Leaves figures out of reports, as without matplotlib: those of a report take a second.

  Yields the product's own `is_available`, which `with_figures` puts back.
  """
  from msm_jax.report import figures

  is_available = figures.is_available
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, 'is_available', lambda: False)
    yield is_available


@pytest.fixture
def with_figures(without_figures, monkeypatch):
  """Reports of the test have figures. One test for each layout of reports asks for this."""
  monkeypatch.setattr('msm_jax.report.figures.is_available', without_figures)


@pytest.fixture(scope='session')
def world():
  """A world with two of everything, some 600 texts."""
  from helpers import little

  from data_pipelines.settings.world.pretraining import build_world

  return build_world(little(chats_per_persona=4))


@pytest.fixture(scope='session')
def texts(world):
  """Everything that the small world writes down, line by line."""
  from helpers import writers

  from data_pipelines.leaks import record_text

  lines = []
  for records in writers(world).values():
    for record in records:
      lines += record_text(record).split('\n')
  return lines


@pytest.fixture(scope='session')
def tokenizer(texts):
  """400 pieces: 256 bytes, 8 marks, the letters and the commonest syllables."""
  from msm_jax.tokenizer import SentencePieceTokenizer, train_sentencepiece

  return SentencePieceTokenizer(train_sentencepiece(texts, 400))


@pytest.fixture(scope='session')
def programs():
  """Starts programs of the project in forked processes, without importing JAX for each of them."""
  from prefork import Prefork

  with Prefork() as server:
    yield server


@pytest.fixture(scope='session')
def tiny_workdir(tmp_path_factory):
  """The workdir of the smallest experiment, with the trained arms `base` and `tuned`."""
  import tiny

  experiment = tiny.experiment(tmp_path_factory.mktemp('tiny'))
  experiment.run()
  return experiment.workdir
