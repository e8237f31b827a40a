"""Rollouts: answers that a model samples while it is trained, their rewards, and the batch.

A phase of reinforcement learning goes from rollout to rollout:

1. The next prompts are taken from the data, in an order that follows from the seed.
2. The model, as it is now, samples a group of answers to each (inference/groups.py). Which ones
   are drawn follows from the seed, the update and the row.
3. Rewards judge the answers (rewards.py), and become advantages within each group.
4. The answers are packed into the rows of a batch, like any text. What the model and the reference
   say of their tokens is computed by the forward pass of training.
5. One or more updates are made from the batch (objectives/policy.py).

A phase saves and stops between rollouts alone, so nothing of a rollout has to be kept.

Shapes: A micro-batches, B rows of a micro-batch, T tokens of a row.
"""

import functools
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from msm_jax import metrics, multihost, sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ExperimentConfig, ModelConfig, PhaseConfig
from msm_jax.config.objectives import GrpoConfig
from msm_jax.data.tokenized import Source
from msm_jax.inference.batch import cast_params
from msm_jax.inference.groups import Sampling, sample_groups
from msm_jax.model import Params
from msm_jax.objectives.policy import rollout_logprobs
from msm_jax.rl.answers import prompt_of
from msm_jax.rl.prompt_order import RolloutPrompt, prompt_iterator, prompt_room
from msm_jax.rl.rewards import Rewards, describe_flat, group_advantages
from msm_jax.tokenizer import Tokenizer
from msm_jax.training.train_step import TrainState


class RolloutError(UserError, RuntimeError):
  """A phase of reinforcement learning that cannot go on. The message is one line."""


class RolloutAnswer(NamedTuple):
  """An answer that was sampled.

  Attributes:
    ids: its tokens, with the stop token that ended it.
    text: its text.
    was_cut: whether it had no end within max_tokens.
  """

  ids: list[int]
  text: str
  was_cut: bool


class Rollouts:
  """Makes the batches of a phase of reinforcement learning.

  Attributes:
    label: what the phase is called in errors.
    settings: the settings of its objective.
  """

  def __init__(
    self,
    label: str,
    config: ExperimentConfig,
    phase: PhaseConfig,
    tokenizer: Tokenizer,
    sources: Sequence[tuple[Source, float]],
    rewards: Rewards,
    seed: int,
    mesh: Mesh,
    folder: Path,
  ) -> None:
    """Reads the prompts.

    Args:
      label: what the phase is called in errors.
      config: the settings of the experiment.
      phase: the settings of the phase.
      tokenizer: the tokenizer.
      sources: the corpora, each with its share of the prompts.
      rewards: what judges the answers.
      seed: decides the order of the prompts and what is sampled.
      mesh: the devices.
      folder: the phase's folder; what is sampled is written there, to samples.jsonl.

    Raises:
      DataError: a source cannot be used.
      RolloutError: the tokenizer lacks a stop token.
    """
    self.label = label
    self.settings = settings = phase.grpo
    model = config.model
    self._phase = phase
    self._rewards = rewards
    self._seed = seed
    self._mesh = mesh
    self._folder = folder
    self._tokenizer = tokenizer
    stop_ids = find_stop_ids(tokenizer, settings.stop, f'{label}: grpo.stop')
    vocabulary = min(max(tokenizer.vocab_size, max(stop_ids) + 1), model.vocab_size)
    self._sampling = Sampling(
      model,
      settings.group_size,
      settings.temperature,
      settings.max_tokens,
      stop_ids,
      vocabulary,
    )
    room = prompt_room(phase)
    count = phase.batch_size // settings.group_size
    self._prompts = prompt_iterator(sources, tokenizer, count, room, config.max_left_out, seed)
    self._logprobs = logprobs_program(model, config.loss_chunk, settings.temperature, mesh)
    # The batch of the rollout under way, its numbers, and how many rollouts in a row were flat.
    self._batch: dict[str, jax.Array] = {}
    self._numbers: dict[str, float] = {}
    self._flat_in_a_row = 0

  def resume(self, step: int) -> None:
    """Takes up the phase after an update: forgets what a killed run sampled beyond it.

    Args:
      step: the number of updates done.
    """
    if multihost.is_first():
      metrics.drop_rows_after(self._folder / 'samples.jsonl', step)
    flat = _flat_rollouts(self._folder / 'metrics.jsonl', step, self.settings.updates_per_rollout)
    self._flat_in_a_row = multihost.broadcast_from_first(flat)

  def batch(self, step: int, state: TrainState) -> tuple[dict[str, jax.Array], dict[str, float]]:
    """Makes the batch of an update, with a new rollout if the last one is used up.

    Args:
      step: the number of the update, 1-based.
      state: the state before the update. Its `reference` is empty if there is none.

    Returns:
      (global (A, B, T) arrays as `objectives.policy.grpo` takes them, metrics of the rollout).

    Raises:
      UserError: a reward cannot be computed, or all groups of too many rollouts were flat. The
        place in the data is then that before this rollout.
    """
    is_used_up = (step - 1) % self.settings.updates_per_rollout == 0
    if is_used_up or not self._batch:
      before = self._prompts.get_state()
      try:
        self._roll_out(step, state.params, state.frozen, state.reference)
      except BaseException:
        self._prompts.set_state(before)
        raise
    return self._batch, self._numbers

  def get_state(self) -> dict[str, Any]:
    """The place in the prompts, after the last rollout."""
    return self._prompts.get_state()

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned, in this process or another."""
    self._prompts.set_state(state)

  def close(self) -> None:
    """Ends the iterator over prompts."""
    self._prompts.close()

  # ---- One rollout

  def _roll_out(self, step: int, params: Params, frozen: Params, reference: Params) -> None:
    """Samples, judges and packs the answers of one rollout."""
    settings, phase = self.settings, self._phase
    prompts = next(self._prompts)
    answers = self._sample(step, prompts, cast_params(self._sampling.model, frozen | params))
    records = []
    for prompt in prompts:
      records += [prompt.record] * settings.group_size
    rewards, parts = self._rewards(records, [answer.text for answer in answers], frozen)
    advantages, is_flat = group_advantages(rewards, settings.group_size, settings.divide_by_std)
    self._check_flat(is_flat, parts, answers)

    sequences = []
    for n, answer in enumerate(answers):
      sequences.append((prompts[n // settings.group_size].ids, answer.ids))
    packed = pack_answers(sequences, advantages, settings.per, phase.length)
    self._batch = self._place(packed)
    self._add_logprobs(params, frozen, reference)
    self._numbers = self._describe(answers, rewards, parts, is_flat)
    self._write_samples(step, prompts, answers, rewards, advantages)

  def _sample(
    self, step: int, prompts: Sequence[RolloutPrompt], params: Params
  ) -> list[RolloutAnswer]:
    """Samples the answers of all groups."""
    count = len(prompts) * self.settings.group_size
    # One entropy for each answer: neighbouring rows and updates must not share draws.
    seeds = np.zeros(count, np.uint32)
    for row in range(count):
      seeds[row] = np.random.SeedSequence((self._seed, step, row)).generate_state(1)[0]
    how = self._sampling
    sampled = sample_groups(how, params, [p.ids for p in prompts], seeds, self._mesh)
    answers = []
    for ids in sampled:
      was_cut = ids[-1] not in how.stop_ids
      said = ids if was_cut else ids[:-1]
      answers.append(RolloutAnswer(ids, self._tokenizer.decode(said), was_cut))
    return answers

  def _check_flat(
    self, is_flat: np.ndarray, parts: Mapping[str, np.ndarray], answers: Sequence[RolloutAnswer]
  ) -> None:
    """Counts rollouts in a row of which nothing can be learned. Raises RolloutError."""
    settings = self.settings
    self._flat_in_a_row = self._flat_in_a_row + 1 if is_flat.all() else 0
    patience = settings.patience
    if not patience or self._flat_in_a_row < patience:
      return
    cut = sum(answer.was_cut for answer in answers) / len(answers)
    raise RolloutError(
      f'{self.label}: all {len(is_flat)} groups of {self._flat_in_a_row} rollouts in a row had '
      f'equal rewards (now {describe_flat(parts)}), so there is no gradient; {cut:.0%} of the '
      f'answers were cut at max_tokens={settings.max_tokens}. If the rewards are low, the prompts '
      f'are too hard or the stop tokens wrong; if they are high, all is learned: lower updates, or '
      f'set patience=0'
    )

  def _place(self, packed: Sequence[dict[str, np.ndarray]]) -> dict[str, jax.Array]:
    """Puts rows onto the devices, as global (A, B, T) arrays filled up with rows of padding."""
    phase, mesh = self._phase, self._mesh
    unit = phase.micro_batches * sharding.batch_parts(mesh)
    count = rows_of_batch(len(packed), phase.batch_size, unit)
    rows = [*packed, *[empty_row(phase.length)] * (count - len(packed))]
    local = sharding.local_rows(mesh, phase.micro_batches, count)
    layout = sharding.batch_sharding(mesh, axis=1)
    placed = {}
    for key in rows[0]:
      stacked = np.stack([rows[n][key] for n in local])
      parts = stacked.reshape(phase.micro_batches, -1, phase.length)
      placed[key] = jax.make_array_from_process_local_data(layout, parts)
    return placed

  def _add_logprobs(self, params: Params, frozen: Params, reference: Params) -> None:
    """Adds what the model and the reference say of the answers before the first update."""
    batch = self._batch
    before = dict(batch)
    if self.settings.updates_per_rollout > 1:
      batch['old_logprobs'] = self._logprobs(params, frozen, before)
    if reference:
      batch['reference_logprobs'] = self._logprobs(reference, frozen, before)

  def _describe(
    self,
    answers: Sequence[RolloutAnswer],
    rewards: np.ndarray,
    parts: Mapping[str, np.ndarray],
    is_flat: np.ndarray,
  ) -> dict[str, float]:
    """The numbers of a rollout for metrics.jsonl."""
    numbers = {
      'reward': float(rewards.mean()),
      'reward_std': float(rewards.std()),
      'flat_groups': float(is_flat.sum()),
      'cut': float(sum(answer.was_cut for answer in answers)),
      'answer_length': float(np.mean([len(answer.ids) for answer in answers])),
      'groups': float(len(is_flat)),
    }
    if len(parts) > 1:
      for name, values in parts.items():
        numbers[f'reward {name}'] = float(values.mean())
    return numbers

  def _write_samples(
    self,
    step: int,
    prompts: Sequence[RolloutPrompt],
    answers: Sequence[RolloutAnswer],
    rewards: np.ndarray,
    advantages: np.ndarray,
  ) -> None:
    """Appends one line for each group to samples.jsonl."""
    if not multihost.is_first():
      return
    size = self.settings.group_size
    with (self._folder / 'samples.jsonl').open('a', encoding='utf-8') as f:
      for n, prompt in enumerate(prompts):
        group = slice(n * size, (n + 1) * size)
        messages = prompt_of(prompt.record)
        line = {
          'step': step,
          'id': prompt.record.id,
          # A chat may begin with the assistant, which then answers nothing.
          'prompt': messages[-1][1] if messages else '',
          'answers': [answer.text for answer in answers[group]],
          'cut': [answer.was_cut for answer in answers[group]],
          'rewards': [round(float(x), 6) for x in rewards[group]],
          'advantages': [round(float(x), 6) for x in advantages[group]],
        }
        f.write(json.dumps(line) + '\n')


def logprobs_program(
  model: ModelConfig, loss_chunk: int, temperature: float, mesh: Mesh
) -> Callable[[Params, Params, dict[str, jax.Array]], jax.Array]:
  """Makes the function that says how likely the tokens of a rollout are, as training computes it.

  The compiler gets the options of the train step. With others it rounds bf16 elsewhere: ratios of
  the first update from a rollout would not be 1, and neither would its divergence be 0.

  Args:
    model: the settings of the model.
    loss_chunk: for how many tokens of a device logits exist at a time; see `token_logprobs`.
    temperature: the temperature of sampling.
    mesh: the devices.

  Returns:
    (trained parameters, frozen parameters, batch) -> (A, B, T) fp32 log-probabilities in nats. It
    is compiled when it is first used.
  """
  return jax.jit(
    functools.partial(rollout_logprobs, model, loss_chunk, temperature),
    out_shardings=sharding.batch_sharding(mesh, axis=1),
    compiler_options=sharding.compiler_options(mesh, model.dtype),
  )


def _flat_rollouts(path: Path, until: int, updates_per_rollout: int) -> int:
  """Counts how many rollouts in a row were flat up to an update, by metrics.jsonl."""
  if not path.exists():
    return 0
  flat = 0
  for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
    try:
      row = json.loads(line)
      step, is_flat = row['step'], row['flat_groups'] == row['groups']
      # Every update of a rollout has the numbers of the rollout; its last one counts.
      counts = step <= until and step % updates_per_rollout == 0
    except (ValueError, KeyError, TypeError, RecursionError):
      # A killed run left the last line unfinished, or somebody changed one.
      break
    if counts:
      flat = flat + 1 if is_flat else 0
  return flat


# --------------------------------------------------------------------------------------------------
# Stop tokens and rows
# --------------------------------------------------------------------------------------------------


def check_before_training(settings: GrpoConfig, tokenizer: Tokenizer, label: str) -> None:
  """Checks what a phase needs before any phase is trained.

  Args:
    settings: the settings of the phase's objective.
    tokenizer: the tokenizer.
    label: what the phase is called in errors.

  Raises:
    RolloutError: the tokenizer lacks a stop token, or a judge needs a package that is missing.
  """
  find_stop_ids(tokenizer, settings.stop, f'{label}: grpo.stop')
  if settings.judges and importlib.util.find_spec('inspect_ai') is None:
    raise RolloutError(f"{label}: judges need inspect-ai; pip install 'msm_jax[llm]'")


def find_stop_ids(tokenizer: Tokenizer, stop: Sequence[str], where: str) -> tuple[int, ...]:
  """Finds the tokens that end an answer: those of the tokenizer and those that are named.

  Args:
    tokenizer: the tokenizer; its own are the end of a turn and the end of a text.
    stop: names of more tokens, such as '<|im_end|>'.
    where: what error messages call the setting.

  Returns:
    The ids, each once.

  Raises:
    RolloutError: the tokenizer lacks a token, or there is none at all.
  """
  ids = list(tokenizer.stop_ids)
  for name in stop:
    found = tokenizer.token_id(name)
    if found is None:
      raise RolloutError(
        f'{where}: the tokenizer has no token {name!r}; name a token of its vocabulary, such as '
        f'the one that ends a turn'
      )
    ids.append(found)
  if not ids:
    raise RolloutError(
      f'{where} is empty and the tokenizer names no token that ends an answer; name at least one'
    )
  return tuple(dict.fromkeys(ids))


def pack_answers(
  sequences: Sequence[tuple[np.ndarray, Sequence[int]]],
  advantages: np.ndarray,
  per: str,
  length: int,
) -> list[dict[str, np.ndarray]]:
  """Packs prompts with their answers into rows. None is cut, and none sees another.

  Args:
    sequences: (tokens of the prompt, tokens of the answer) of each; together at most `length` + 1.
    advantages: (sequences,) fp32, of the answers.
    per: what has the weight 1: 'token', each token of an answer, or 'answer', each answer.
    length: the tokens T of a row.

  Returns:
    For each row, (T,) arrays as `objectives.policy.grpo` takes them.
  """
  sizes = [len(prompt) + len(answer) - 1 for prompt, answer in sequences]
  rows: list[dict[str, np.ndarray]] = []
  # The free cells of each row, and how many sequences it has.
  room: list[int] = []
  counts: list[int] = []
  # The longest come first: shorter ones fill the gaps.
  for n in np.argsort([-size for size in sizes], kind='stable').tolist():
    row = next((r for r, free in enumerate(room) if free >= sizes[n]), None)
    if row is None:
      row = len(rows)
      rows.append(empty_row(length))
      room.append(length)
      counts.append(0)
    counts[row] += 1
    begin = length - room[row]
    room[row] -= sizes[n]
    prompt, answer = sequences[n]
    ids = np.concatenate([prompt, np.asarray(answer, np.int32)])
    cells = slice(begin, begin + sizes[n])
    of_answer = slice(begin + len(prompt) - 1, begin + sizes[n])
    rows[row]['tokens'][cells] = ids[:-1]
    rows[row]['targets'][cells] = ids[1:]
    rows[row]['segment_ids'][cells] = counts[row]
    rows[row]['positions'][cells] = np.arange(sizes[n])
    rows[row]['weights'][of_answer] = 1.0 if per == 'token' else 1.0 / len(answer)
    rows[row]['advantages'][of_answer] = advantages[n]
  return rows


def empty_row(length: int) -> dict[str, np.ndarray]:
  """A row of padding: (T,) zeros for each array of a batch."""
  row = {}
  for key in ('tokens', 'targets', 'segment_ids', 'positions'):
    row[key] = np.zeros(length, np.int32)
  for key in ('weights', 'advantages'):
    row[key] = np.zeros(length, np.float32)
  return row


def rows_of_batch(needed: int, most: int, unit: int) -> int:
  """Chooses the rows of a batch: a quarter, half, three quarters or all of `most`.

  Each number of rows is a compiled program of its own, so there are four at most.

  Args:
    needed: the rows that are filled.
    most: the rows of the phase's batches.
    unit: the rows are a multiple of this.

  Returns:
    The smallest number of rows that suffices.
  """
  for quarters in (1, 2, 3):
    rows = -(-most * quarters // 4 // unit) * unit
    if needed <= rows < most:
      return rows
  return most
