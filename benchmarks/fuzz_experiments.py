"""Malformed settings of objectives, of curves and of the setting custom, for fuzz.py."""

import copy
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_inputs import ODD_VALUES, Input, damaged_json
from fuzz_settings import SETTINGS_OF_FILE, check_settings
from ml_collections import ConfigDict

ROOT = Path(__file__).resolve().parent.parent

_PAIRS = {'data': {'pairs': 1.0}, 'updates': 200, 'lr': 1e-4}
# An experiment with a phase of every objective, points on the way, and a dose curve.
SETTINGS_OF_OBJECTIVES: dict[str, Any] = SETTINGS_OF_FILE | {
  'sources': {
    **SETTINGS_OF_FILE['sources'],
    'pairs': {
      'maker': 'world.preferences',
      'spec': 'specs/cheese_affordability.md',
      'size': 9,
      'toward': 'handbook',
    },
    'shown': {'maker': 'spec.demonstrations', 'spec': 'specs/cheese_affordability.md', 'size': 9},
  },
  'phases': {
    **SETTINGS_OF_FILE['phases'],
    'prefer': _PAIRS | {'objective': 'dpo', 'dpo': {'beta': 0.1, 'label_smoothing': 0.1}},
    'model': _PAIRS | {'objective': 'reward', 'reward': {'centre': 0.01}},
    'taught': {
      'data': {'shown': 1.0},
      'updates': 200,
      'objective': 'distill',
      'distill': {'spec': 'specs/cheese_affordability.md', 'temperature': 1.0},
    },
    'sampled': {
      'data': {'pairs': 1.0},
      'updates': 200,
      'objective': 'grpo',
      'batch_size': 32,
      'grpo': {'rewards': {'chosen': 1.0, 'model:model': 0.5}, 'group_size': 8, 'max_tokens': 16},
      'evaluate_at': (0, 100),
    },
  },
  'arms': {
    'base': 'read',
    'dpo': 'read > prefer',
    'grpo': 'read > sampled',
    'distill': 'read > taught',
  },
  'effects': {'none': ('dpo', 'base'), 'half': ('grpo', 'base')},
  'dose_curves': ({'name': 'x', 'effects': ('none', 'half'), 'doses': (0.0, 0.5)},),
}

_NO_NUMBERS: tuple[Any, ...] = (math.nan, math.inf, -1, '3', None, [1], 10**400)
_NO_COUNTS: tuple[Any, ...] = (0, -1, 1.5, 'x', None, math.nan, 10**400, (8,))
# Key -> values that it cannot have.
NONSENSE: dict[str, tuple[Any, ...]] = {
  'phases.prefer.objective': ('ppo', '', None, 3, ['dpo'], 'DPO', 'next_token', 'grpo', 'reward'),
  'phases.prefer.dpo': (3, None, 'x', [], {'beat': 1.0}, {'beta': {}}),
  'phases.prefer.dpo.beta': (*_NO_NUMBERS, 0, 1e-9),
  'phases.prefer.dpo.loss': ('hinge', None, 3),
  'phases.prefer.dpo.label_smoothing': (*_NO_NUMBERS, 0.6),
  'phases.prefer.dpo.length_normalised': ('maybe', 3, None),
  'phases.model.reward.centre': _NO_NUMBERS,
  'phases.taught.distill.spec': ('', None, 3),
  'phases.taught.distill.handbook': ('all', None, 3),
  'phases.taught.distill.temperature': (*_NO_NUMBERS, 0),
  'phases.taught.distill.teacher_length': (-1, 1.5, 'x', None, math.nan),
  'phases.sampled.grpo.rewards': (
    *({}, None, 3, 'chosen', {'chosen': 'x'}, {'chosen': None}, {'chosen': math.nan}),
    *({'chosen': math.inf}, {'judge': 1.0}, {'model:nobody': 1.0}),
  ),
  'phases.sampled.grpo.group_size': (*_NO_COUNTS, 1, 5),
  'phases.sampled.grpo.temperature': (*_NO_NUMBERS, 0),
  'phases.sampled.grpo.max_tokens': (*_NO_COUNTS, 128),
  'phases.sampled.grpo.updates_per_rollout': (*_NO_COUNTS, 3),
  'phases.sampled.grpo.clip_low': (*_NO_NUMBERS, 2),
  'phases.sampled.grpo.clip_high': _NO_NUMBERS,
  'phases.sampled.grpo.kl': _NO_NUMBERS,
  'phases.sampled.grpo.per': ('word', None, 3),
  'phases.sampled.grpo.patience': (-1, 1.5, 'x', None),
  'phases.sampled.grpo.other': (math.nan, math.inf, 'x', None),
  'phases.sampled.grpo.stop': (3, None, [3]),
  'phases.sampled.grpo.judge': ('openai/x', 3, None),
  'phases.sampled.evaluate_at': (
    *((-1,), (5, 3), (3, 3), (0, 10**9), ('x',), 'abc', (1.5,), None),
    *((math.nan,), ({},), {'a': 1}, 7.5, (10**400,)),
  ),
  'arms.grpo@100': ('read > sampled', 'read'),
  'arms.judges': ('read > model',),
  'dose_curves': (3, None, 'x', ({},), ('x',), ({'name': 'x'},), [[]]),
  'dose_curves.0.doses': (
    *((0.0,), (0.5, 0.0), (0.1, 0.5), (0.0, 0.0), (0.0, math.nan), (0.0, 'x')),
    *((0.0, 0.2, 0.5), (), None, 'ab', (0.0, math.inf)),
  ),
  'dose_curves.0.effects': (('none',), ('none', 'nobody'), (), None, 'none', (1, 2)),
  'dose_curves.0.name': (None, 3, ['x']),
  'primary': ('nobody', 3, None),
  'evals.sampled': (-1, 1.5, 'x', None, math.nan),
  'evals.sampled_temperature': _NO_NUMBERS,
  'evals.sampled_tokens': _NO_COUNTS,
  'evals.others_of': ('none', None, 3),
  'custom.items': ('x.jsonl', ('x.jsonl',), 3, None, (3,)),
  'custom.nothing': (1,),
  'world_seeds': ('x', (1.5,), None),
  'corpora_by_seed': ('perhaps', None, 2),
  'max_left_out': (*_NO_NUMBERS, 2),
  'max_skipped_share': (*_NO_NUMBERS, 2),
  'xla_flags': (3, None, ['--xla_a']),
}


# What the line calls a setting where it is not the setting's own name.
_SAID_AS = {
  'phases.sampled.grpo.rewards': 'grpo',
  'dose_curves.0.doses': 'dose_curves',
  'dose_curves.0.effects': 'dose_curves',
  'dose_curves.0.name': 'dose_curves',
}


def put(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
  """Sets one place of nested settings.

  Args:
    settings: the settings; they stay as they are.
    key: such as 'phases.prefer.dpo.beta'; numbers are places in a tuple.
    value: what to put there.

  Returns:
    The changed settings.
  """
  made = copy.deepcopy(settings)
  group: Any = made
  *parents, last = key.split('.')
  for part in parents:
    if part.isdigit():
      group = group[int(part)]
    else:
      group = group.setdefault(part, {})
  group[last] = value
  return made


def objectives(rng: random.Random, scale: float) -> Iterator[Input]:
  """Settings of objectives, points on the way, dose curves and measures.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  # What is changed below is good.
  check_settings(ConfigDict(SETTINGS_OF_OBJECTIVES))
  for key, values in NONSENSE.items():
    for value in values:
      settings = put(SETTINGS_OF_OBJECTIVES, key, value)
      # The line names the setting or what it belongs to.
      says = _SAID_AS.get(key, key.rpartition('.')[2])
      yield _input(settings, f'{key}={str(value)[:40]}', True, says)
  phases = SETTINGS_OF_OBJECTIVES['phases']
  for n in range(int(200 * scale)):
    phase = rng.choice([name for name in phases if name != 'read'])
    if rng.random() < 0.6:
      settings = put(SETTINGS_OF_OBJECTIVES, f'phases.{phase}', damaged_json(rng, phases[phase]))
    elif rng.random() < 0.5:
      curves = damaged_json(rng, list(SETTINGS_OF_OBJECTIVES['dose_curves']))
      settings = put(SETTINGS_OF_OBJECTIVES, 'dose_curves', curves)
    else:
      at = [rng.choice(ODD_VALUES) for _ in range(rng.randrange(3))]
      settings = put(SETTINGS_OF_OBJECTIVES, f'phases.{phase}.evaluate_at', at)
    yield _input(settings, f'objectives {n}', False)


def _input(settings: Any, name: str, is_nonsense: bool, says: str = '') -> Input:
  return Input(name, lambda: check_settings(ConfigDict(settings)), is_nonsense, says)
