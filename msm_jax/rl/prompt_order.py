"""The prompts of reinforcement learning, in an endless order whose place can be saved.

The order follows from the seed, as that of packed rows does (input_pipeline.py), and sources are
mixed by their shares. So a phase that resumes goes on with the very next prompt.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import grain
import numpy as np

from data_pipelines.records import Record
from msm_jax.base.checks import exceeds_share
from msm_jax.base.errors import DataError
from msm_jax.config import PhaseConfig
from msm_jax.data.tokenized import Source
from msm_jax.input_pipeline import mixed_rows, seed_of_source
from msm_jax.rl.answers import prompt_of
from msm_jax.tokenizer import Tokenizer, naming


class RolloutPrompt(NamedTuple):
  """What is answered.

  Attributes:
    record: the preference pair or the chat.
    ids: (n,) int32 tokens up to where the answer begins.
  """

  record: Record
  ids: np.ndarray


def prompt_room(phase: PhaseConfig) -> int:
  """The most tokens that a prompt may have, so that its answer fits into a row too."""
  # A sequence of n tokens takes n - 1 cells.
  return phase.length + 1 - phase.grpo.max_tokens


class PromptOrder:
  """The prompts of a source, epoch after epoch, each epoch in an order of its own.

  Prompt k follows from the seed and k alone, so a resumed phase asks for it without those before.

  Args:
    source: the corpus, of preferences or chats.
    tokenizer: the tokenizer.
    room: the most tokens that a prompt may have; those with more are left out.
    max_left_out: at most this share of the prompts may be left out.
    seed: decides the orders of the epochs.

  Attributes:
    prompts: those that fit.
    left_out: the number of prompts that do not fit.
  """

  def __init__(
    self, source: Source, tokenizer: Tokenizer, room: int, max_left_out: float, seed: int
  ) -> None:
    self.seed = seed
    self.prompts = []
    count = 0
    for record in source.all_records():
      count += 1
      with naming(record):
        ids = tokenizer.prompt(prompt_of(record))
      if len(ids) <= room:
        self.prompts.append(RolloutPrompt(record, ids))
    self.left_out = count - len(self.prompts)
    if exceeds_share(self.left_out, count, max_left_out) or not self.prompts:
      raise DataError(
        f'{source.name}: {self.left_out:,} of {count:,} prompts have over {room} tokens, which '
        f'leaves no room for an answer of max_tokens; raise the length of the phase, lower '
        f'max_tokens, or raise config.max_left_out (now {max_left_out:g})'
      )
    self._order = functools.lru_cache(2)(self._make_order)

  def __getitem__(self, k: int) -> RolloutPrompt:
    epoch, place = divmod(k, len(self.prompts))
    return self.prompts[self._order(epoch)[place]]

  def _make_order(self, epoch: int) -> np.ndarray:
    """The prompts in the order of an epoch, each with a random key as in `PackedRows`.

    The key belongs to the place of a prompt among those that fit, not to its record: with another
    room, the order is another one.
    """
    keys = np.random.default_rng((self.seed, epoch)).random(len(self.prompts))
    return np.argsort(keys, kind='stable')


class PromptIterator:
  """The prompts of rollouts, without end. Its place can be saved and restored."""

  def __init__(self, iterator: grain.DatasetIterator) -> None:
    self._iterator = iterator

  def __iter__(self) -> 'PromptIterator':
    return self

  def __next__(self) -> list[RolloutPrompt]:
    return next(self._iterator)

  def get_state(self) -> dict[str, Any]:
    """The place after the last prompts that were taken, as JSON takes it."""
    return self._iterator.get_state()

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned, in this process or another."""
    self._iterator.set_state(state)

  def close(self) -> None:
    """Ends the iterator."""
    self._iterator.close()


def prompt_iterator(
  sources: Sequence[tuple[Source, float]],
  tokenizer: Tokenizer,
  count: int,
  room: int,
  max_left_out: float,
  seed: int,
) -> PromptIterator:
  """Makes an endless iterator over the prompts of rollouts, whose place can be saved.

  Args:
    sources: each source of preferences or chats, with its share of the prompts.
    tokenizer: the tokenizer.
    count: the prompts of a rollout.
    room: the most tokens that a prompt may have.
    max_left_out: at most this share of a source's prompts may be left out.
    seed: decides the order of each source.

  Returns:
    An iterator over lists of `RolloutPrompt`.

  Raises:
    DataError: a source is of documents, or too many of its prompts are too long.
  """
  orders = []
  for n, (source, _) in enumerate(sources):
    if source.kind == 'documents':
      raise DataError(
        f'{source.name}: documents ask nothing; give a phase of objective grpo preferences or chats'
      )
    own_seed = seed_of_source(seed, n)
    orders.append(PromptOrder(source, tokenizer, room, max_left_out, own_seed))

  def make(places: np.ndarray) -> list[RolloutPrompt]:
    """(count, 2) pairs of source and place -> the prompts there."""
    return [orders[source][place] for source, place in places.tolist()]

  dataset = mixed_rows([share for _, share in sources]).batch(count).map(make)
  return PromptIterator(iter(dataset))
