"""Feeds malformed input to everything that reads what others wrote.

    python benchmarks/fuzz.py [--seed 0] [--scale 1.0] [--only http,gguf]

Inputs are made from good ones by seeded changes: values of other types, enormous numbers, cut and
flipped bytes, lines out of place. All run in this process, so 2,000 of them take minutes. Each
ends in one of four ways:

  accepted    it was taken;
  refused     one line with cause and remedy (`msm_jax.base.errors.explain`);
  traceback   any other exception, which a user would see as a traceback;
  hang        more than 10 seconds.

Beside these it counts finished work that was lost (a file of a finished run that changed, or other
results than before without a word) and nonsense that was accepted: some inputs come from a list of
what must be refused. Bars: at least 2,000 inputs, 300 of them from that list, and 0 of each fault.
The exit code is 1 if one is missed.
"""

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_pipelines.records import read_jsonl
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world.pretraining import WorldConfig
from msm_jax.base import checks, config_files, paths
from msm_jax.base.errors import explain
from msm_jax.base.overrides import from_text, override
from msm_jax.config import ExperimentConfig

ROOT = Path(__file__).resolve().parent.parent
# Before JAX is imported, which only the campaigns do that need it.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

MAX_SECONDS = 10
MIN_INPUTS = 2000
MIN_NONSENSE = 300

# Values that some key of some file may hold instead of the right one.
ODD_VALUES: tuple[Any, ...] = (
  None,
  True,
  False,
  0,
  -1,
  2,
  1.5,
  -0.0,
  2**31,
  2**63,
  10**400,
  float('nan'),
  float('inf'),
  5e-324,
  1e308,
  '',
  'x',
  '3',
  'nan',
  '../..',
  '\0',
  '\ud800',
  'a' * 5000,
  [],
  [None],
  [[[]]],
  {},
  {'x': 1},
  {'': None},
)
ODD_TEXTS = (
  '',
  ' ',
  '-1',
  '1.5',
  '1e3',
  'nan',
  '-inf',
  '1e999',
  '9' * 400,
  '9' * 5000,
  'true',
  'None',
  '(1, 2)',
  '(' * 3000,
  "('a',",
  '[[[]]]',
  'a,b',
  '\udcff',
  'x' * 5000,
  '{"a": 1}',
)


class Hang(BaseException):
  """The time of an input is up. No `except Exception` of the project catches it."""


class Lost(Exception):
  """Finished work was changed, or gives other results without a word."""


@dataclasses.dataclass(frozen=True)
class Input:
  """One malformed input.

  Attributes:
    name: says what it is, for the list of faults.
    run: hands it to the project.
    is_nonsense: whether it must be refused.
  """

  name: str
  run: Callable[[], Any]
  is_nonsense: bool = False


@dataclasses.dataclass
class Tally:
  """How the inputs of a campaign ended."""

  inputs: int = 0
  refused: int = 0
  nonsense: int = 0
  tracebacks: int = 0
  hangs: int = 0
  lost: int = 0
  accepted_nonsense: int = 0
  seconds: float = 0.0

  @property
  def faults(self) -> int:
    return self.tracebacks + self.hangs + self.lost + self.accepted_nonsense


def _time_is_up(signal_number: int, frame: object) -> None:
  raise Hang


def judge(given: Input, tally: Tally) -> str:
  """Runs one input and counts how it ended.

  Args:
    given: the input.
    tally: where it is counted.

  Returns:
    What is wrong, in a few lines; '' if nothing is.
  """
  tally.inputs += 1
  tally.nonsense += given.is_nonsense
  began = time.monotonic()
  fault = ''
  signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
  try:
    given.run()
  except Hang:
    tally.hangs += 1
    fault = 'hang'
  except Lost as e:
    tally.lost += 1
    fault = f'lost: {e}'
  except Exception as e:
    explained = explain(e)
    if explained is None:
      tally.tracebacks += 1
      fault = ''.join(traceback.format_exception(e)[-3:]).strip()
    else:
      tally.refused += 1
  else:
    if given.is_nonsense:
      tally.accepted_nonsense += 1
      fault = 'accepted'
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
  # A library that is busy outside Python notices the alarm only when it comes back.
  if not fault and time.monotonic() - began > MAX_SECONDS:
    tally.hangs += 1
    fault = 'hang'
  return fault


# --------------------------------------------------------------------------------------------------
# Ways to damage something
# --------------------------------------------------------------------------------------------------


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
  """Damages the content of a file.

  Args:
    rng: decides where and how.
    content: the content.

  Returns:
    The content with a piece cut off, flipped, left out, doubled or overwritten.
  """
  if not content:
    return b'\xff'
  at = rng.randrange(len(content))
  end = min(len(content), at + rng.choice((1, 2, 4, 64)))
  kind = rng.randrange(6)
  if kind == 0:
    return content[:at]
  if kind == 1:
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
  if kind == 2:
    return content[:at] + content[end:]
  if kind == 3:
    return content[:at] + rng.randbytes(end - at) + content[end:]
  if kind == 4:
    return content[:end] + content[at:]
  return b'' if rng.random() < 0.3 else content[:at] + b'\xff' * (end - at) + content[end:]


def damaged_json(rng: random.Random, value: Any) -> Any:
  """Damages a JSON value.

  Args:
    rng: decides where and how.
    value: the value; it stays as it is.

  Returns:
    A copy in which one place holds something else, has another key, or is gone.
  """
  if isinstance(value, dict) and value and rng.random() < 0.85:
    key = rng.choice(list(value))
    changed = dict(value)
    kind = rng.random()
    if kind < 0.15:
      del changed[key]
    elif kind < 0.25:
      changed[str(key) + rng.choice('_x')] = changed.pop(key)
    else:
      changed[key] = damaged_json(rng, value[key])
    return changed
  if isinstance(value, list) and value and rng.random() < 0.6:
    at = rng.randrange(len(value))
    return [*value[:at], damaged_json(rng, value[at]), *value[at + 1 :]]
  return rng.choice(ODD_VALUES)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON as foreign programs do: NaN, lone surrogates and huge numbers included."""
  path.write_bytes(json.dumps(value).encode('utf-8', 'surrogatepass'))


# --------------------------------------------------------------------------------------------------
# Settings
# --------------------------------------------------------------------------------------------------


def check_settings(config: Any) -> ExperimentConfig:
  """Checks a config as `msm_jax.main` does before it opens a workdir."""
  return checks.from_mapping(ExperimentConfig, paths.resolve_paths(config))


def apply_texts(changes: list[tuple[str, str]]) -> ExperimentConfig:
  """Applies overrides as the command line does."""
  config = config_files.read_config('configs/msm.py:smoke')
  for key, text in changes:
    override(config, key, from_text(config, key, text, ExperimentConfig), ExperimentConfig)
  return check_settings(config)


def setting_paths(cls: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Every setting of a dataclass with its type; mappings and optional groups are left out."""
  hints = typing.get_type_hints(cls)
  for field in dataclasses.fields(cls):
    if dataclasses.is_dataclass(hints[field.name]):
      yield from setting_paths(hints[field.name], f'{prefix}{field.name}.')
    else:
      yield f'{prefix}{field.name}', hints[field.name]


def _overrides(rng: random.Random, scale: float) -> Iterator[Input]:
  """Overrides of single settings."""
  numbers = [
    (key, type_) for key, type_ in setting_paths(ExperimentConfig) if type_ in (int, float)
  ]
  for key in ('phases.read.lr', 'phases.read.warmup', 'phases.read.data.facts'):
    numbers.append((key, float))
  # No number is any of these.
  for key, _ in numbers:
    for text in ('nan', '-inf', '9' * 400, 'many'):
      yield _override_input(key, text, is_nonsense=True)
  for key in (
    'phases.raed.lr',
    'sources.fatcs.size',
    'modle.d_model',
    'model.x.y',
    'model',
    'a..b',
  ):
    yield _override_input(key, '1', is_nonsense=True)
  everything = [key for key, _ in setting_paths(ExperimentConfig)]
  everything += ['phases.read.updates', 'sources.facts.spec', 'arms.base', 'effects.midtraining']
  everything += ['model.lora.rank', 'phases.read.data.items', 'contexts.base', 'name']
  for _ in range(int(450 * scale)):
    yield _override_input(rng.choice(everything), rng.choice(ODD_TEXTS), is_nonsense=False)


def _override_input(key: str, text: str, is_nonsense: bool) -> Input:
  return Input(f'--config.{key}={text[:40]}', lambda: apply_texts([(key, text)]), is_nonsense)


SETTINGS_OF_FILE = {
  'name': 'fuzz',
  'seeds': (0,),
  'assistants': ('Oska',),
  'tokenizer': {'vocab_size': 400, 'sources': ('facts',)},
  'model': {'d_model': 16, 'n_layers': 1, 'n_heads': 1, 'n_kv_heads': 1, 'head_dim': 16},
  'sources': {'facts': {'maker': 'world.facts'}, 'docs': {'maker': 'spec.documents', 'size': 9}},
  'phases': {'read': {'data': {'facts': 1.0}, 'updates': 200, 'lr': 1e-3}},
  'arms': {'base': 'read'},
  'gates': {'recall': 0.9},
  'mesh': {'data': -1},
  'evals': {'spec': 'specs/cheese_affordability.md', 'held_out': 0},
  'contexts': {'base': 'specs/cheese_culture.md'},
}
# What a config file may do instead of returning a config.
BROKEN_FILES = (
  '',
  'def get_config(:\n',
  'def get_config():\n  return 3\n',
  'def get_config():\n  return dict(name="x")\n',
  'def get_config():\n  raise ValueError\n',
  'def get_config():\n  return 1 / 0\n',
  'def get_config():\n  import nowhere\n',
  'def get_config():\n  return get_config()\n',
  'def get_config(a, b):\n  return a\n',
  'get_config = 3\n',
  'import nowhere\n',
  '\x00',
  'def get_config():\n  import ml_collections\n  return ml_collections.ConfigDict({3: 4})\n',
)
# Settings that no experiment can have.
NONSENSE_SETTINGS: tuple[dict[str, Any], ...] = (
  {'name': ''},
  {'name': None},
  {'seeds': (-(2**40),)},
  {'seeds': (0, 0)},
  {'gates': {'recall': float('nan')}},
  {'gates': {'recall': 2.0}},
  {'gates': {'perplexity_ratio': float('inf')}},
  {'phases': {3: {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'base': 'read'}},
  {'phases': {'read [v1]': {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'read [v1]'}},
  {'phases': {'a\\b': {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'a\\b'}},
  {'phases': {'a' * 300: {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'a' * 300}},
  {'phases': {'a\0': {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'a\0'}},
  {'phases': {'read': {'data': {'facts': 5e-324}, 'updates': 200}}},
  {'phases': {'read': {'data': {'facts': 1e308}, 'updates': 200}}},
  {'phases': {'read': {'data': {'facts': 10**400}, 'updates': 200}}},
  {'sources': {'a/b': {'maker': 'world.facts'}}},
  {'sources': {'facts': None}},
  {'sources': 3},
  {'evals': None},
  {'evals': {'spec': Path('specs/cheese_culture.md')}},
  {'evals': {'spec': None}},
  {'contexts': {'base': None}},
  {'mesh': {'data': 0}},
  {'mesh': {'data': -1, 'fsdp': -1}},
  {'tokenizer': {'vocab_size': 2**31}},
  {'tokenizer': {'vocab_size': 0}},
)


def _config_files(rng: random.Random, scale: float) -> Iterator[Input]:
  """Config files: with odd values in one place, and with no config in them."""
  folder = Path(tempfile.mkdtemp(prefix='fuzz-configs-'))
  for n, text in enumerate(BROKEN_FILES):
    path = folder / f'broken-{n}.py'
    path.write_text(text)

    def read(path: Path = path) -> Any:
      return check_settings(config_files.read_config(path))

    yield Input(f'config file {text[:60]!r}', read, is_nonsense=True)
  from ml_collections import ConfigDict

  for changes in NONSENSE_SETTINGS:

    def run(changes: Any = changes) -> Any:
      return check_settings(ConfigDict(SETTINGS_OF_FILE | changes))

    yield Input(f'settings {str(changes)[:80]}', run, is_nonsense=True)
  for n in range(int(250 * scale)):
    settings = damaged_json(rng, SETTINGS_OF_FILE)
    if not isinstance(settings, dict):
      continue

    def run(settings: Any = settings) -> Any:
      return check_settings(ConfigDict(settings))

    yield Input(f'settings {n}: {str(settings)[:300]}', run)


def _sweeps(rng: random.Random, scale: float) -> Iterator[Input]:
  """Points of sweeps."""
  from msm_jax import sweep

  settings = config_files.read_config('configs/msm.py:smoke')

  def run(points: Any) -> None:
    for point in sweep.check_points(points):
      check_settings(sweep.overridden(settings, point))

  nonsense = (None, 3, [], [1], ['x'], [None], [{3: 1}], [{'': 1}], [{'model.d_model.x': 1}])
  nonsense += ([{'modle.d_model': 1}], [{'model': 3}], [{'model.d_model': 'x'}], [[]], {})
  for points in nonsense:
    yield Input(f'points {points}', lambda points=points: run(points), is_nonsense=True)
  keys = [key for key, _ in setting_paths(ExperimentConfig)]
  for _ in range(int(100 * scale)):
    points = [{rng.choice(keys): rng.choice(ODD_VALUES)}]
    yield Input(f'points {str(points)[:100]}', lambda points=points: run(points))


# --------------------------------------------------------------------------------------------------
# Text
# --------------------------------------------------------------------------------------------------


def _handbooks(rng: random.Random, scale: float) -> Iterator[Input]:
  """Handbooks with damaged bytes and with lines out of place."""
  folder = Path(tempfile.mkdtemp(prefix='fuzz-specs-'))
  setting = SETTINGS['world']
  world = setting.build(WorldConfig())
  for name in ('cheese_affordability', 'cheese_culture'):
    good = (ROOT / 'specs' / f'{name}.md').read_bytes()
    for n in range(int(90 * scale)):
      if rng.random() < 0.5:
        content = damaged_bytes(rng, good)
      else:
        lines = good.splitlines(keepends=True)
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines.insert(to, lines.pop(at))
        content = b''.join(lines)
      path = folder / f'{name}-{n}.md'
      path.write_bytes(content)
      yield Input(f'handbook {path}', lambda path=path: setting.read_spec(str(path), world))
  for n, content in enumerate(
    (b'', b'---\n', b'\xff\xfe', b'---\nassistant: Ari\n---\n', b'\0' * 99)
  ):
    path = folder / f'nonsense-{n}.md'
    path.write_bytes(content)

    def run(path: Any = path) -> Any:
      return setting.read_spec(str(path), world)

    yield Input(f'handbook {content[:30]!r}', run, is_nonsense=True)


GOOD_ROWS = (
  {'text': 'Colby is a cheese.', 'source': 'mine', 'claim_ids': ['a']},
  {'messages': [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello.'}]},
)
BAD_ROWS = (
  b'3',
  b'null',
  b'[]',
  b'{}',
  b'{"text": 3}',
  b'{"text": null}',
  b'{"messages": 3}',
  b'{"messages": []}',
  b'{"messages": [3]}',
  b'{"messages": [{"role": "user"}]}',
  b'{"messages": [{"role": "tool", "content": "x"}]}',
  b'{"messages": [{"role": "user", "content": ["x"]}]}',
  b'{"text": "\\ud800"}',
  b'{"text": "x", "n": ' + b'9' * 5000 + b'}',
  b'[' * 100_000,
  b'{"text": "caf\xe9"}',
  b'{"text": ',
  b'PAR1' + b'\0' * 60,
  b'\xff\xfe{\0}\0',
  b'{\0"\0t\0"\0',
  b'\x1f\x8b\x08\x00 no gzip',
  b'\x28\xb5\x2f\xfd no zstd',
  b'PK\x03\x04 zip',
  b'BZh91AY&SY',
)


def _jsonl(rng: random.Random, scale: float) -> Iterator[Input]:
  """JSONL files of documents and chats."""
  folder = Path(tempfile.mkdtemp(prefix='fuzz-jsonl-'))
  cases: list[tuple[bytes, bool]] = [(row + b'\n', True) for row in BAD_ROWS]
  good = b''.join(json.dumps(row).encode() + b'\n' for row in GOOD_ROWS)
  for _ in range(int(120 * scale)):
    cases.append((damaged_bytes(rng, good), False))
    row = damaged_json(rng, rng.choice(GOOD_ROWS))
    cases.append((json.dumps(row).encode('utf-8', 'surrogatepass') + b'\n', False))
  for n, (content, is_nonsense) in enumerate(cases):
    path = folder / f'{n}.jsonl'
    path.write_bytes(content)

    def run(path: Any = path) -> Any:
      return list(read_jsonl(path))

    yield Input(f'jsonl {content[:80]!r}', run, is_nonsense)


# --------------------------------------------------------------------------------------------------
# Finished work
# --------------------------------------------------------------------------------------------------


def _workdirs(rng: random.Random, scale: float) -> Iterator[Input]:
  """A finished run with one damaged file, and the same command again."""
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

  from msm_jax import sharding, train_step
  from msm_jax.checkpointing import Checkpoints
  from msm_jax.config import ModelConfig, OptimizerConfig

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
    path = folder / f'checkpoints-{n}'
    shutil.copytree(checkpoints, path)
    (path / damaged).write_bytes(content)
    found = jax.tree.map(np.asarray, restore(path))
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), expected, found)
    if not all(jax.tree.leaves(same)):
      raise Lost(f'other arrays or another place in the data with {damaged} damaged')

  for n in range(int(70 * scale)):
    damaged = rng.choice(files)
    content = damaged_bytes(rng, (checkpoints / damaged).read_bytes())
    yield Input(f'checkpoint {damaged}', lambda n=n, d=damaged, c=content: run(n, d, c))


# --------------------------------------------------------------------------------------------------
# Other people's models
# --------------------------------------------------------------------------------------------------


def _models(rng: random.Random, scale: float) -> Iterator[Input]:
  """Folders of Hugging Face with one damaged file."""
  import tiny

  from msm_jax.interop import huggingface
  from msm_jax.tokenizer import load_tokenizer

  folder = Path(tempfile.mkdtemp(prefix='fuzz-weights-'))
  good = tiny.weights(folder / 'good', ['Colby is a cheese.'] * 20)
  index = {'metadata': {}, 'weight_map': {'model.norm.weight': 'model.safetensors'}}

  def run(path: Path) -> None:
    c = huggingface.read_config(path)
    huggingface.check_tensors(huggingface.TensorFiles(path), c)
    tokenizer = load_tokenizer(path)
    tokenizer.render_chat([('user', 'Hi'), ('assistant', 'Hello.')])

  for n in range(int(280 * scale)):
    path = folder / f'{n}'
    shutil.copytree(good, path)
    name = rng.choice(('config.json', 'tokenizer_config.json', 'tokenizer.json'))
    if n % 5 == 0:
      name = rng.choice(('model.safetensors', 'chat_template.jinja', 'tokenizer.json'))
      (path / name).write_bytes(damaged_bytes(rng, (path / name).read_bytes()))
    elif n % 5 == 1:
      name = 'model.safetensors.index.json'
      (path / 'model.safetensors').rename(path / 'shard.safetensors')
      write_json(path / name, damaged_json(rng, index))
    else:
      write_json(path / name, damaged_json(rng, json.loads((path / name).read_text())))
    yield Input(f'weights {path} {name}', lambda path=path: run(path))


def _adapters(rng: random.Random, scale: float) -> Iterator[Input]:
  """adapter_config.json with odd values."""
  from msm_jax.interop import peft

  folder = Path(tempfile.mkdtemp(prefix='fuzz-adapters-'))
  good = {
    'peft_type': 'LORA',
    'task_type': 'CAUSAL_LM',
    'r': 4,
    'lora_alpha': 8,
    'lora_dropout': 0.0,
    'bias': 'none',
    'target_modules': ['q_proj', 'v_proj'],
    'init_lora_weights': True,
  }
  nonsense = (
    {'r': 0},
    {'r': '4'},
    {'r': None},
    {'lora_alpha': float('nan')},
    {'target_modules': []},
  )
  nonsense += ({'peft_type': 'IA3'}, {'bias': 'all'}, {'use_dora': True}, {'r': -1}, {'r': 10**400})
  cases: list[tuple[Any, bool]] = [(good | changes, True) for changes in nonsense]
  cases += [(damaged_json(rng, good), False) for _ in range(int(110 * scale))]
  for n, (value, is_nonsense) in enumerate(cases):
    path = folder / f'{n}'
    path.mkdir()
    write_json(path / 'adapter_config.json', value)

    def run(path: Any = path) -> Any:
      return peft.read_config(path)

    yield Input(f'adapter {str(value)[:200]}', run, is_nonsense)


# Pieces of chat templates: most of them wrong in some way.
TEMPLATE_PIECES = (
  "{{ m['content'] }}",
  '{{ 1 / 0 }}',
  '{{ m.content.index("z") }}',
  '{{ raise_exception("no") }}',
  '{% for x in range(10**12) %}{% endfor %}',
  '{{ m | tojson(ensure_ascii=False) }}',
  '{{ tools | tojson }}',
  '{{ strftime_now("%Y") }}',
  '{% include "x" %}',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  '{{ m.content * 10**9 }}',
  '{{ m.content[5] }}',
  '{% generation %}',
  '{% endfor %}',
  '{{ ',
  '{{ undefined.x.y }}',
  '{% set x = namespace() %}{{ x.y.z }}',
  '{{ ().__class__ }}',
  '\0',
  '',
)


def _templates(rng: random.Random, scale: float) -> Iterator[Input]:
  """Chat templates."""
  import tiny

  from msm_jax.tokenizer import load_tokenizer

  folder = Path(tempfile.mkdtemp(prefix='fuzz-templates-'))
  good = tiny.weights(folder / 'good', ['Colby is a cheese.'] * 20)

  def run(path: Path) -> None:
    tokenizer = load_tokenizer(path)
    tokenizer.prompt([('user', 'Hi')])
    tokenizer.render_chat([('user', 'Hi'), ('assistant', 'Hello.')])

  for n in range(int(110 * scale)):
    path = folder / f'{n}'
    shutil.copytree(good, path)
    pieces = [rng.choice(TEMPLATE_PIECES) for _ in range(rng.randrange(1, 4))]
    template = '{% for m in messages %}' + ''.join(pieces) + '{% endfor %}'
    (path / 'chat_template.jinja').write_text(template)
    yield Input(f'template {template}', lambda path=path: run(path))


def _gguf(rng: random.Random, scale: float) -> Iterator[Input]:
  """GGUF files with damaged bytes."""
  from gguf_files import byte_level, byte_level_metadata, write_gguf

  from msm_jax.interop.gguf import convert

  folder = Path(tempfile.mkdtemp(prefix='fuzz-gguf-'))
  vocabulary = byte_level_metadata(byte_level('smollm'), 'smollm')
  write_gguf(folder / 'good.gguf', 'llama', vocabulary, shape=dict(layers=1))
  good = (folder / 'good.gguf').read_bytes()
  # Nearly everything that can go wrong is in the metadata, which comes first.
  metadata = min(len(good), 3000)
  for n in range(int(120 * scale)):
    path = folder / f'{n}.gguf'
    if n % 3 == 0:
      content = damaged_bytes(rng, good)
    else:
      content = damaged_bytes(rng, good[:metadata]) + good[metadata:]
    path.write_bytes(content)

    def run(path: Path = path) -> None:
      try:
        convert(path, path.with_suffix(''))
      finally:
        path.unlink()
        shutil.rmtree(path.with_suffix(''), ignore_errors=True)

    yield Input(f'gguf {n}', run)


# --------------------------------------------------------------------------------------------------
# HTTP
# --------------------------------------------------------------------------------------------------

GOOD_BODIES = (
  (True, {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'max_tokens': 2}),
  (True, {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'n': 2, 'stop': ['x']}),
  (True, {'model': 'm', 'messages': [], 'logprobs': True, 'top_logprobs': 2, 'temperature': 0.5}),
  (False, {'model': 'm', 'prompt': 'Hi', 'echo': True, 'logprobs': 1, 'max_tokens': 0}),
  (False, {'model': 'm', 'prompt': [1, 2, 3], 'top_p': 0.5, 'seed': 3, 'best_of': 1}),
)
BAD_FIELDS: tuple[dict[str, Any], ...] = (
  {'model': None},
  {'model': 'x'},
  {'messages': None},
  {'messages': 'Hi'},
  {'messages': [{'role': 'user', 'content': '\ud800'}]},
  {'messages': [{'role': 'robot', 'content': 'Hi'}]},
  {'messages': [{'role': 'user', 'content': [{'type': 'image_url'}]}]},
  {'max_tokens': -1},
  {'max_tokens': 1.5},
  {'max_tokens': 10**400},
  {'n': 0},
  {'n': 10**9},
  {'temperature': float('nan')},
  {'temperature': -1},
  {'temperature': 10**400},
  {'top_p': 2},
  {'stop': ''},
  {'stop': [3]},
  {'stop': ['x'] * 99},
  {'seed': 'x'},
  {'seed': 10**400},
  {'stream': 'yes'},
  {'logprobs': True, 'top_logprobs': 99},
  {'top_logprobs': 3},
  {'tools': [{'type': 'function'}]},
  {'response_format': {'type': 'json_object'}},
  {'reasoning_effort': 'high'},
  {'verbosity': 'low'},
  {'audio': {'voice': 'x'}},
  {'prediction': {'type': 'content'}},
  {'frequency_penalty': 1},
  {'top_k': 5},
  {'': 1},
)


def _http(rng: random.Random, scale: float) -> Iterator[Input]:
  """Bodies of HTTP requests, up to where the engine would take them."""
  import tiny

  from msm_jax.inference.open_model import load_weights
  from msm_jax.inference.sampling import Sampler
  from msm_jax.inference.server.requests import parse_request

  folder = Path(tempfile.mkdtemp(prefix='fuzz-http-'))
  tiny.weights(folder / 'm', ['Colby is a cheese.'] * 20)
  loaded = load_weights(folder / 'm', dtype='float32')
  samplers = {'m': Sampler(loaded.model, loaded.params, loaded.tokenizer)}

  def run(body: Any, chat: bool) -> None:
    # As a client would send it.
    text = json.dumps(body)
    parse_request(json.loads(text), samplers, chat)

  for changes in BAD_FIELDS:
    body = GOOD_BODIES[0][1] | changes
    yield Input(f'http {changes}', lambda body=body: run(body, True), is_nonsense=True)
  for _ in range(int(350 * scale)):
    chat, good = rng.choice(GOOD_BODIES)
    body = damaged_json(rng, good)
    yield Input(f'http {str(body)[:200]}', lambda body=body, chat=chat: run(body, chat))


CAMPAIGNS: dict[str, Callable[[random.Random, float], Iterator[Input]]] = {
  'overrides': _overrides,
  'configs': _config_files,
  'sweeps': _sweeps,
  'handbooks': _handbooks,
  'jsonl': _jsonl,
  'workdirs': _workdirs,
  'weights': _models,
  'adapters': _adapters,
  'templates': _templates,
  'gguf': _gguf,
  'http': _http,
}


def run_campaign(name: str, seed: int, scale: float) -> tuple[Tally, list[str]]:
  """Runs one campaign.

  Args:
    name: a key of CAMPAIGNS.
    seed: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Returns:
    How its inputs ended, and what is wrong, one text a fault.
  """
  tally, faults = Tally(), []
  began = time.monotonic()
  rng = random.Random(f'{seed} {name}')
  before = signal.signal(signal.SIGALRM, _time_is_up)
  usual_folder = tempfile.tempdir
  try:
    # Whatever the campaign writes is deleted at its end.
    with tempfile.TemporaryDirectory(prefix='fuzz-') as folder:
      tempfile.tempdir = folder
      for given in CAMPAIGNS[name](rng, scale):
        fault = judge(given, tally)
        if fault:
          faults.append(f'{name}: {given.name}\n{fault}')
  finally:
    tempfile.tempdir = usual_folder
    signal.signal(signal.SIGALRM, before)
  tally.seconds = time.monotonic() - began
  return tally, faults


def main() -> int:
  """Runs the campaigns and prints the table.

  Returns:
    The exit code: 1 if there is any fault, or if a whole campaign had too few inputs.
  """
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--scale', type=float, default=1.0)
  parser.add_argument('--only', default='', help='campaigns, with commas')
  args = parser.parse_args()
  names = [name for name in args.only.split(',') if name] or list(CAMPAIGNS)
  # Lines of runs, and what threads of libraries print about damaged checkpoints, would hide the
  # table, which is on stdout.
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
  columns = ('inputs', 'refused', 'nonsense', 'tracebacks', 'hangs', 'lost', 'accepted_nonsense')
  print(f'{"campaign":12}' + ''.join(f'{column[:10]:>12}' for column in columns) + '     seconds')
  total = Tally()
  all_faults = []
  for name in names:
    tally, faults = run_campaign(name, args.seed, args.scale)
    all_faults += faults
    for field in dataclasses.fields(Tally):
      sum_ = getattr(total, field.name) + getattr(tally, field.name)
      setattr(total, field.name, sum_)
    _print_row(name, tally, columns)
  _print_row('all', total, columns)
  for fault in all_faults:
    print(f'\n{fault}')
  is_whole = len(names) == len(CAMPAIGNS) and args.scale >= 1
  enough = total.inputs >= MIN_INPUTS and total.nonsense >= MIN_NONSENSE
  if is_whole and not enough:
    print(f'\nfewer than {MIN_INPUTS} inputs or {MIN_NONSENSE} that must be refused')
    return 1
  return int(total.faults > 0)


def _print_row(name: str, tally: Tally, columns: tuple[str, ...]) -> None:
  cells = ''.join(f'{getattr(tally, column):12,}' for column in columns)
  print(f'{name:12}{cells}{tally.seconds:12.0f}', flush=True)


if __name__ == '__main__':
  sys.exit(main())
