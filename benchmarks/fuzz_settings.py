"""Malformed settings, for fuzz.py: overrides, config files and points of sweeps."""

import dataclasses
import random
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_inputs import ODD_TEXTS, ODD_VALUES, Input, damaged_json

from msm_jax.base import checks, config_files, paths, references
from msm_jax.base.overrides import from_text, override
from msm_jax.config import ExperimentConfig


def check_settings(config: Any) -> ExperimentConfig:
  """Checks a config as `msm_jax.main` does before it opens a workdir."""
  references.separate_groups(config)
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


def overrides(rng: random.Random, scale: float) -> Iterator[Input]:
  """Overrides of single settings.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  numbers = [
    (key, type_) for key, type_ in setting_paths(ExperimentConfig) if type_ in (int, float)
  ]
  for key in ('phases.read.lr', 'phases.read.warmup', 'phases.read.data.facts'):
    numbers.append((key, float))
  # No number is any of these.
  for key, _ in numbers:
    for text in ('nan', '-inf', '9' * 400, 'many'):
      yield _override_input(key, text, is_nonsense=True)
  # What is wrong in it is what the line must name.
  for key, says in {
    'phases.raed.lr': 'raed',
    'sources.fatcs.size': 'fatcs',
    'modle.d_model': 'modle',
    'model.x.y': "'x'",
    'model': 'model',
    'a..b': 'names no setting',
  }.items():
    yield _override_input(key, '1', True, says)
  everything = [key for key, _ in setting_paths(ExperimentConfig)]
  everything += ['phases.read.updates', 'sources.facts.spec', 'arms.base', 'effects.midtraining']
  everything += ['model.lora.rank', 'phases.read.data.items', 'contexts.base', 'name']
  for _ in range(int(450 * scale)):
    yield _override_input(rng.choice(everything), rng.choice(ODD_TEXTS), is_nonsense=False)


def _override_input(key: str, text: str, is_nonsense: bool, says: str = '') -> Input:
  # The line names the setting.
  if is_nonsense and not says:
    says = key.rpartition('.')[2]
  return Input(f'--config.{key}={text[:40]}', lambda: apply_texts([(key, text)]), is_nonsense, says)


SETTINGS_OF_FILE: dict[str, Any] = {
  'name': 'fuzz',
  'seeds': (0,),
  'assistants': ('Oska',),
  'tokenizer': {'vocab_size': 400, 'sources': ('facts',)},
  'model': {'d_model': 16, 'n_layers': 1, 'n_heads': 1, 'n_kv_heads': 1, 'head_dim': 16},
  'sources': {
    'facts': {'maker': 'world.facts'},
    'docs': {'maker': 'spec.documents', 'size': 9, 'spec': 'specs/cheese_culture.md'},
  },
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
)
# Settings that no experiment can have.
NONSENSE_SETTINGS: tuple[dict[Any, Any], ...] = (
  {'name': ''},
  {'name': None},
  {3: 4},
  {'seeds': (-(2**40),)},
  {'seeds': (0, 0)},
  {'gates': {'recall': float('nan')}},
  {'gates': {'recall': 2.0}},
  {'gates': {'perplexity_ratio': float('inf')}},
  {'phases': {3: {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'base': 'read'}},
  {'phases': {'read [v1]': {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'read [v1]'}},
  {'phases': {'a\\b': {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'a\\b'}},
  {'phases': {'a' * 300: {'data': {'facts': 1.0}, 'updates': 200}}, 'arms': {'b': 'a' * 300}},
  {'phases': SETTINGS_OF_FILE['phases'] | {'a\0': {'data': {'facts': 1.0}, 'updates': 200}}},
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


def config_files_of_users(rng: random.Random, scale: float) -> Iterator[Input]:
  """Config files: with odd values in one place, and with no config in them.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  folder = Path(tempfile.mkdtemp(prefix='fuzz-configs-'))
  for n, text in enumerate(BROKEN_FILES):
    path = folder / f'broken-{n}.py'
    path.write_text(text)

    def read(path: Path = path) -> Any:
      return check_settings(config_files.read_config(path))

    yield Input(f'config file {text[:60]!r}', read, True, says=path.stem)
  from ml_collections import ConfigDict

  # What is changed below is good: nothing is refused for another reason.
  check_settings(ConfigDict(SETTINGS_OF_FILE))
  for changes in NONSENSE_SETTINGS:

    def run(changes: Any = changes) -> Any:
      return check_settings(ConfigDict(SETTINGS_OF_FILE | changes))

    group = 'phases' if 'phases' in changes else next(iter(changes))
    says = group if isinstance(group, str) else 'has a key that is no text'
    yield Input(f'settings {str(changes)[:80]}', run, True, says)
  for n in range(int(250 * scale)):
    settings = damaged_json(rng, SETTINGS_OF_FILE)
    if not isinstance(settings, dict):
      continue

    def run(settings: Any = settings) -> Any:
      return check_settings(ConfigDict(settings))

    yield Input(f'settings {n}: {str(settings)[:300]}', run)


def sweeps(rng: random.Random, scale: float) -> Iterator[Input]:
  """Points of sweeps.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
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
