"""Rewards: what an answer that was sampled is worth.

The settings of a phase name rewards with their weights:

  chosen                 1 for the answer that the record prefers, 0 for the one that it rejects
  model:PATH             what a reward model says; PATH is its phase, such as 'read > judge'
  judge:MODEL            a language model that Inspect knows, see reward_judge.py
  package.module:name    a function of yours, called with records and answers

An answer's reward is the weighted sum. A reward that is not a finite number, or is missing, ends
the phase in one line; everything up to there is saved.
"""

import hashlib
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.handbooks.markdown import body_of
from data_pipelines.llm import prompts
from data_pipelines.records import Record
from msm_jax import multihost
from msm_jax.base.errors import ConfigError, SpecError, UserError
from msm_jax.config.objectives import CHOSEN, JUDGE, MODEL, THE_JUDGE, GrpoConfig
from msm_jax.model import Params
from msm_jax.rl import reward_judge
from msm_jax.rl.answers import chosen_of, normalized, rejected_of
from msm_jax.rl.reward_model import RewardModel

# Records and the answers to their prompts -> a reward for each answer.
RewardFunction = Callable[[Sequence[Record], Sequence[str]], Sequence[float]]


class RewardError(UserError, RuntimeError):
  """A reward that cannot be computed. The message is one line with cause and remedy."""


class Rewards:
  """The weighted sum of named rewards.

  Args:
    weights: name -> weight.
    functions: name -> function, for all rewards but those of models.
    models: name -> reward model.
  """

  def __init__(
    self,
    weights: Mapping[str, float],
    functions: Mapping[str, RewardFunction],
    models: Mapping[str, RewardModel],
  ) -> None:
    self.weights = dict(weights)
    self.functions = dict(functions)
    self.models = dict(models)

  def __call__(
    self, records: Sequence[Record], answers: Sequence[str], frozen: Params
  ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Judges answers.

    Args:
      records: for each answer, the record with its prompt.
      answers: their texts.
      frozen: the parameters that are not trained, for reward models.

    Returns:
      ((answers,) float64 rewards; name -> the same of each reward alone, without its weight).

    Raises:
      RewardError: a reward fails, or gives anything but a finite number for each answer.
      JudgeError: a judge cannot be asked, or gives no scores.
    """
    total = np.zeros(len(answers))
    parts = {}
    for name, weight in self.weights.items():
      if name in self.models:
        # All processes compute together.
        values = self.models[name].score(records, answers, frozen)
        parts[name] = _checked(name, values, len(answers))
      else:
        parts[name] = self._of_first_process(name, records, answers)
      total += weight * parts[name]
    return total, parts

  def _of_first_process(
    self, name: str, records: Sequence[Record], answers: Sequence[str]
  ) -> np.ndarray:
    """What process 0 computes: a judge is asked once, and all processes train on one number."""
    values: list[float] = []
    error: UserError | None = None
    if multihost.is_first():
      try:
        values = _checked(name, self._call(name, records, answers), len(answers)).tolist()
      except UserError as e:
        error = e
    # The others must not wait for rewards that never come.
    failed = multihost.any_process(error is not None)
    if error is not None:
      raise error
    if failed:
      raise RewardError(f'reward {name}: the first process has failed')
    return np.asarray(multihost.broadcast_from_first(values), np.float64)

  def _call(self, name: str, records: Sequence[Record], answers: Sequence[str]) -> Any:
    """What one reward gives. An error in a user's function becomes a RewardError."""
    try:
      # A function that changes its lists in place must not change what other rewards read.
      return self.functions[name](list(records), list(answers))
    except UserError:
      raise
    # A function that ends the process would end the run without a word.
    except (Exception, SystemExit) as e:
      if not is_function(name):
        raise
      reason = ' '.join(str(e).split())[:200]
      raise RewardError(
        f'reward {name} failed ({type(e).__name__}: {reason}); mend it and run again: everything '
        f'up to here is saved'
      ) from e


def _checked(name: str, values: Any, count: int) -> np.ndarray:
  """(count,) float64. Raises RewardError unless there is a finite number for each answer."""
  remedy = 'mend it and run again: everything up to here is saved'
  try:
    rewards = np.asarray(values, np.float64)
  # Tensors of other libraries raise what they like, such as those that have gradients.
  except Exception as e:
    reason = ' '.join(str(e).split())[:100]
    raise RewardError(f'reward {name} gave no numbers ({reason}); {remedy}') from None
  if rewards.shape != (count,):
    given = f'{rewards.size} rewards'
    if rewards.ndim > 1:
      given = f'an array of the shape {rewards.shape}'
    raise RewardError(
      f'reward {name} gave {given} for {count} answers; give one number for each; {remedy}'
    )
  if not np.isfinite(rewards).all():
    n = int(np.flatnonzero(~np.isfinite(rewards))[0])
    raise RewardError(f'reward {name} is {rewards[n]} for answer {n + 1} of {count}; {remedy}')
  return rewards


# --------------------------------------------------------------------------------------------------
# Named rewards
# --------------------------------------------------------------------------------------------------


def is_function(name: str) -> bool:
  """Whether a reward is a function of the user."""
  return name not in (CHOSEN, THE_JUDGE) and not name.startswith((MODEL, JUDGE))


def make_rewards(settings: GrpoConfig, models: Mapping[str, RewardModel], folder: Path) -> Rewards:
  """Makes the rewards that a phase names.

  Args:
    settings: the settings of the phase's objective.
    models: 'model:PATH' -> the reward model there.
    folder: the phase's folder, in which scores of judges are kept.

  Returns:
    The rewards.

  Raises:
    ConfigError: a function or a handbook is not there.
  """
  functions: dict[str, RewardFunction] = {}
  for name in settings.rewards:
    if is_function(name):
      functions[name] = load_function(name)
    elif name in settings.judges:
      handbook = _read_handbook(settings.judge_spec)
      kept = folder / 'judge-scores.jsonl'
      functions[name] = reward_judge.Judge(settings.judges[name], handbook, kept)
    elif name == CHOSEN:
      functions[name] = chosen_reward(settings.other)
  return Rewards(settings.rewards, functions, models)


def chosen_reward(other: float) -> RewardFunction:
  """Makes the reward `chosen`.

  Args:
    other: the reward of an answer that is neither of the two that the record knows.

  Returns:
    The function.
  """

  def chosen(records: Sequence[Record], answers: Sequence[str]) -> list[float]:
    rewards = []
    for record, answer in zip(records, answers, strict=True):
      side = _side_of(answer, chosen_of(record), rejected_of(record))
      rewards.append({'chosen': 1.0, 'rejected': 0.0}.get(side, other))
    return rewards

  return chosen


def _side_of(answer: str, chosen: str, rejected: str) -> str:
  """Which of two sides an answer is: 'chosen', 'rejected' or 'neither'."""
  is_chosen, is_rejected = _says_the_same(answer, chosen), _says_the_same(answer, rejected)
  if is_chosen and is_rejected:
    # The two sides differ in nothing but case, white space or marks, which then decide.
    is_chosen = answer.strip() == chosen.strip()
    is_rejected = answer.strip() == rejected.strip()
  if is_chosen:
    return 'chosen'
  return 'rejected' if is_rejected else 'neither'


def _says_the_same(answer: str, side: str) -> bool:
  """Whether an answer is one of the two that a record knows; '' for a side that it does not have.

  An empty answer is neither of them, not even if a side has nothing but marks, such as '...'.
  """
  wanted = normalized(side)
  if wanted:
    return normalized(answer) == wanted
  return bool(side.strip()) and answer.strip() == side.strip()


def load_function(name: str) -> RewardFunction:
  """Imports a reward function.

  Args:
    name: 'package.module:function'; 'package/module:function' means the same.

  Returns:
    The function.

  Raises:
    ConfigError: it is not there, or cannot be called.
  """
  module_name, colon, function_name = name.partition(':')
  if not (module_name and colon and function_name):
    raise ConfigError(
      f'rewards: {name!r} is no reward; give {CHOSEN!r}, {MODEL}PATH of a phase, {JUDGE}MODEL as '
      f'Inspect names it, or package.module:function'
    )
  # Keys of a ConfigDict may hold no dots, so slashes may stand for them.
  module_name = module_name.replace('/', '.')
  try:
    module = importlib.import_module(module_name)
  # A module of the user may fail in any way. One that is a script may end the process.
  except (Exception, SystemExit) as e:
    reason = ' '.join(str(e).split())[:200]
    raise ConfigError(
      f'rewards: {module_name} cannot be imported ({reason}); mend the module, or set '
      f'PYTHONPATH to the folder that it lies in'
    ) from None
  function = getattr(module, function_name, None)
  if not callable(function):
    raise ConfigError(f'rewards: {module_name} has no function {function_name!r}; write it')
  return function


def _read_handbook(path: str) -> str:
  """The text of a handbook, as models are shown it: without its front matter and comments; '' for
  no path. Raises ConfigError, also if no text is left: answers would be compared with the chosen
  ones."""
  if not path:
    return ''
  try:
    return body_of(Path(path))
  except SpecError as e:
    raise ConfigError(f'grpo.judge_spec: {e}') from None


def content_of(settings: GrpoConfig) -> list[str]:
  """What of the rewards is content and not settings: it belongs to the identity of the phase.

  Args:
    settings: the settings of the phase's objective.

  Returns:
    The version of the judge's prompt and the hash of its handbook, and the `VERSION` that a user's
    function declares as an attribute, each with the name of its reward.

  Raises:
    ConfigError: a function or a handbook is not there.
  """
  parts = []
  for name in sorted(settings.rewards):
    if name in settings.judges:
      handbook = hashlib.sha256(_read_handbook(settings.judge_spec).encode()).hexdigest()
      parts.append(f'{name} {prompts.version(reward_judge.PROMPT)} {handbook}')
    elif is_function(name):
      version = getattr(load_function(name), 'VERSION', '')
      parts.append(f'{name} {version}')
  return parts


# --------------------------------------------------------------------------------------------------
# From rewards to advantages
# --------------------------------------------------------------------------------------------------

# What is added to the standard deviation of a group, as TRL does.
STD_EPS = 1e-4
# Rewards are equal if they differ by no more than this share of the larger one. Weighted sums are
# rounded: 0.1 + 0.2 is not 0.3.
ROUNDING = 1e-12


def group_advantages(
  rewards: np.ndarray, group_size: int, divide_by_std: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Computes what each answer is worth beside the others of its group (Shao et al. 2024, 4.1.2).

  Args:
    rewards: (groups x group_size,) float64, group after group.
    group_size: the answers of a group.
    divide_by_std: whether the difference from the mean is divided by the standard deviation of the
      group (with Bessel's correction, plus `STD_EPS`). Liu et al. 2025 (Dr. GRPO) leave it out.

  Returns:
    ((groups x group_size,) float32 advantages; (groups,) bool: whether all rewards of the group
    are equal, up to the rounding of sums, so that all of its advantages are exactly 0).
  """
  by_group = rewards.reshape(-1, group_size)
  highest, lowest = by_group.max(axis=1), by_group.min(axis=1)
  is_flat = highest - lowest <= ROUNDING * np.maximum(np.abs(highest), np.abs(lowest))
  values = by_group - by_group.mean(axis=1, keepdims=True)
  if divide_by_std:
    values = values / (by_group.std(axis=1, ddof=1, keepdims=True) + STD_EPS)
  # The mean of equal numbers may differ from them in its last bit.
  values[is_flat] = 0.0
  return values.reshape(-1).astype(np.float32), is_flat


def describe_flat(rewards: Mapping[str, np.ndarray]) -> str:
  """Says what the rewards of a rollout are whose groups are all flat, for an error message."""
  shown = []
  for name, values in rewards.items():
    low, high = float(values.min()), float(values.max())
    span = f'{low:g}' if math.isclose(low, high) else f'{low:g} to {high:g}'
    shown.append(f'{name} {span}')
  return ', '.join(shown)
