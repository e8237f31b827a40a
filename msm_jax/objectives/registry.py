"""The list of objectives: what a phase can train for.

An objective is a pure function to sums:

  (settings of the model, settings of the objective, loss_chunk, params, batch, frozen, reference,
  key) -> (loss sum, sums)

`sums` is a dict of fp32 scalars. It always holds `weight`, what the loss sum is divided by (the
supervised tokens, the pairs); whatever else it holds is divided by it too and reported under its
name. The train step adds the sums and gradients of all micro-batches and devices and divides once,
so micro-batches, devices and packed rows give exactly the loss of the whole batch, whatever the
objective is. To add one, write its function and put a line into `OBJECTIVES` here and into
`OBJECTIVE_SETTINGS` of `config/objectives.py`. If it has settings, `PhaseConfig` gets a field of
its name.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from msm_jax.config import ModelConfig, PhaseConfig
from msm_jax.model import Params
from msm_jax.objectives.distill import distill
from msm_jax.objectives.dpo import dpo
from msm_jax.objectives.next_token import next_token
from msm_jax.objectives.policy import grpo, keeps_reference
from msm_jax.objectives.reward import bradley_terry, new_head

# (loss sum, name -> another sum), all fp32 scalars.
Sums = tuple[jax.Array, dict[str, jax.Array]]


def always(settings: Any) -> bool:
  """A `needs_reference` that does not depend on the settings."""
  return True


def never(settings: Any) -> bool:
  """A `needs_reference` that does not depend on the settings."""
  return False


def nothing(model: ModelConfig) -> Params:
  """An `added` of objectives that train the model as it is."""
  return {}


@dataclasses.dataclass(frozen=True)
class Objective:
  """What training needs to know of an objective.

  Attributes:
    sums: the function; see above.
    reads: the kinds of records that it learns from: 'documents', 'chats', 'preferences'.
    needs_reference: settings -> whether it compares the model with what it was at the start of the
      phase.
    unit: what its weight counts, for errors.
    added: settings of the model -> the parameters that it adds to those of the model, as they are
      at first. Nothing can follow a phase that adds any.
    unread: the fields of its settings that `sums` and `needs_reference` do not read, since they are
      about what is trained on. Each has a default. Phases that differ in nothing else share a
      compiled step.
  """

  sums: Callable[..., Sums]
  reads: tuple[str, ...]
  needs_reference: Callable[[Any], bool] = never
  unit: str = 'supervised token'
  added: Callable[[ModelConfig], Params] = nothing
  unread: tuple[str, ...] = ()


OBJECTIVES = {
  'next_token': Objective(next_token, reads=('documents', 'chats')),
  'dpo': Objective(dpo, reads=('preferences',), needs_reference=always, unit='pair of answers'),
  'distill': Objective(
    distill,
    reads=('chats',),
    needs_reference=always,
    unread=('spec', 'handbook', 'teacher_length'),
  ),
  'grpo': Objective(
    grpo,
    reads=('preferences', 'chats'),
    needs_reference=keeps_reference,
    unit='token of an answer',
    unread=(
      'rewards',
      'group_size',
      'max_tokens',
      'stop',
      'updates_per_rollout',
      'per',
      'divide_by_std',
      'patience',
      'other',
      'judge',
      'judge_spec',
    ),
  ),
  'reward': Objective(bradley_terry, reads=('preferences',), unit='pair', added=new_head),
}


def settings_of(phase: PhaseConfig) -> Any:
  """The settings that the objective of a phase is compiled with, for `make_program`.

  Args:
    phase: the phase's settings.

  Returns:
    Those of its objective, where fields that are not read have their defaults; None if it has none.
  """
  # A phase has them in the field of the objective's name. 'next_token' has no field.
  given: Any = getattr(phase, phase.objective, None)
  unread = OBJECTIVES[phase.objective].unread
  if not unread:
    return given
  read = {}
  for field in dataclasses.fields(given):
    if field.name not in unread:
      read[field.name] = getattr(given, field.name)
  return type(given)(**read)
