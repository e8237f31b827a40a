"""Damaged workdirs and checkpoints, for fuzz.py: finished work is kept, or made again."""

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fuzz_inputs import Input, Lost, damaged_bytes, damaged_json, write_json

from msm_jax.base import checks


def workdirs(rng: random.Random, scale: float) -> Iterator[Input]:
  """A finished run with one damaged file, and the same command again.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  import tiny

  folder = Path(tempfile.mkdtemp(prefix='fuzz-workdir-'))
  tiny.experiment(folder).run()
  finished = folder / 'finished'
  (folder / 'run').rename(finished)
  expected = json.loads((finished / 'summary.json').read_text())['arms']
  files = [path.relative_to(finished) for path in sorted(finished.rglob('*')) if path.is_file()]

  def run(damaged: Path, damage: Callable[[Path], None]) -> None:
    """Repeats the finished run with one damaged file, and raises Lost if the others changed."""
    workdir = folder / 'run'
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.copytree(finished, workdir)
    damage(workdir / damaged)
    before = {path: (finished / path).read_bytes() for path in files if path != damaged}
    try:
      summary = tiny.experiment(folder).run()
      if json.loads(json.dumps(summary))['arms'] != expected:
        raise Lost(f'other results with {damaged} damaged')
    finally:
      for path, content in before.items():
        is_output = len(path.parts) == 1
        if not is_output and (workdir / path).read_bytes() != content:
          raise Lost(f'{path} changed')

  # Checkpoints have a campaign of their own.
  small = [path for path in files if 'checkpoints' not in path.parts and path.name != '.lock']
  for n in range(int(45 * scale)):
    damaged = small[n % len(small)]
    kind = rng.randrange(4)

    def damage(path: Path, kind: int = kind, seed: int = rng.randrange(2**32)) -> None:
      if kind == 0:
        path.unlink()
      elif kind == 1:
        path.unlink()
        path.mkdir()
      else:
        path.write_bytes(damaged_bytes(random.Random(seed), path.read_bytes()))

    yield Input(f'workdir {damaged} (kind {kind})', lambda d=damaged, f=damage: run(d, f))
  yield from _listed_arms(rng, scale, finished, folder)
  yield from _checkpoints(rng, scale, finished, folder)


def _listed_arms(rng: random.Random, scale: float, finished: Path, folder: Path) -> Iterator[Input]:
  """arms.json with odd values."""
  from msm_jax.inference.open_model import trained_arms

  good = json.loads((finished / 'arms.json').read_text())
  cases: list[tuple[Any, bool]] = [
    (x, True) for x in (None, [], 3, {'base': 3}, {'base': {'0': 1}})
  ]
  cases += [(damaged_json(rng, good), False) for _ in range(int(60 * scale))]
  for n, (value, is_nonsense) in enumerate(cases):
    workdir = folder / f'arms-{n}'
    workdir.mkdir()
    write_json(workdir / 'arms.json', value)

    def run(workdir: Any = workdir) -> Any:
      return trained_arms(workdir)

    yield Input(f'arms.json {str(value)[:80]}', run, is_nonsense)


def _checkpoints(rng: random.Random, scale: float, finished: Path, folder: Path) -> Iterator[Input]:
  """Checkpoints with one damaged file; what is restored must be what was saved."""
  import jax
  import numpy as np

  from msm_jax import sharding
  from msm_jax.checkpointing import Checkpoints
  from msm_jax.config import ModelConfig, OptimizerConfig
  from msm_jax.training import train_step

  (checkpoints, *_) = sorted(finished.glob('phases/read-*/checkpoints'))
  listed = json.loads((finished / 'arms.json').read_text())['base']['0']
  model = checks.from_mapping(ModelConfig, listed['model'])
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  abstract = train_step.make_program(model, OptimizerConfig(), 0, mesh).abstract_state
  step = listed['updates']

  def restore(path: Path) -> Any:
    opened = Checkpoints(path)
    try:
      return opened.restore(step, abstract.params, train_step.saved_opt_state(abstract))
    finally:
      opened.close()

  expected = jax.tree.map(np.asarray, restore(checkpoints))
  files = [p.relative_to(checkpoints) for p in sorted(checkpoints.rglob('*')) if p.is_file()]

  def run(n: int, damaged: Path, content: bytes) -> None:
    path = folder / f'phase-{n}' / checkpoints.name
    shutil.copytree(checkpoints, path)
    # The hashes of checkpoints lie beside them.
    for kept in checkpoints.parent.glob('checkpoints-*.sha256'):
      shutil.copy(kept, path.parent)
    (path / damaged).write_bytes(content)
    found = jax.tree.map(np.asarray, restore(path))
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), expected, found)
    if not all(jax.tree.leaves(same)):
      raise Lost(f'other arrays or another place in the data with {damaged} damaged')

  for n in range(int(70 * scale)):
    damaged = rng.choice(files)
    content = damaged_bytes(rng, (checkpoints / damaged).read_bytes())
    yield Input(f'checkpoint {damaged}', lambda n=n, d=damaged, c=content: run(n, d, c))
