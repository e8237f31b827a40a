"""The batch of a sampler: the requests that are being answered, one in each row of the cache.

Requests join the batch while others are in the middle of their answers. The cache grows and shrinks
with them, in powers of two.

Shapes: R rows, T tokens, K alternatives, N steps of a round.
"""

import contextlib
import dataclasses
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from msm_jax import sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.inference.completion import Completion, TopLogprobs
from msm_jax.inference.decoding import (
  MAX_STEPS,
  MIN_TOP_P,
  Generated,
  PromptScores,
  Rows,
  decode,
  idle_rows,
  prefill,
)
from msm_jax.inference.kv_cache import (
  bucket_size,
  cache_sharding,
  insert_rows,
  new_cache,
  resize_cache,
  stable_size,
)
from msm_jax.model import Cache, Params

# How long a round should take, in seconds: new requests wait for its end, and streams move with it.
ROUND_SECONDS = 0.05
# Steps of the first round, before any round was timed.
FIRST_STEPS = 4
# Tokens of prompts that one call of `prefill` reads.
PREFILL_TOKENS = 2**14
# The smallest buckets of prompt lengths and of cache slots. Smaller ones would save no time.
MIN_PROMPT_LENGTH = 16
MIN_SLOTS = 64


class SamplingError(UserError, RuntimeError):
  """A model that cannot answer."""


def cast_params(c: ModelConfig, params: Params) -> Params:
  """Casts matrices to the dtype of the computation, once instead of at every step.

  Args:
    c: settings of the model; `c.dtype` is the dtype.
    params: parameters. Those that have the dtype already are not copied.

  Returns:
    The parameters. Norms stay in float32.
  """
  # jnp.asarray puts NumPy arrays on the device once; otherwise every call would copy them.
  dtype = jnp.dtype(c.dtype)
  cast = {}
  for name, x in jax.tree.map(jnp.asarray, params).items():
    cast[name] = x if name.endswith('norm') else x.astype(dtype)
  return cast


def mesh_of(params: Params) -> Mesh | None:
  """Returns the mesh that parameters are placed on, or None if they are not sharded."""
  placement = getattr(jax.tree.leaves(params)[0], 'sharding', None)
  if isinstance(placement, NamedSharding) and isinstance(placement.mesh, Mesh):
    return placement.mesh
  return None


def use_mesh(mesh: Mesh | None) -> contextlib.AbstractContextManager:
  """Returns a context in which compiled programs run on the mesh; without one it does nothing."""
  if mesh is None:
    return contextlib.nullcontext()
  return jax.set_mesh(mesh)


def usual_numbers() -> contextlib.AbstractContextManager:
  """Returns a context in which arrays get the types that they have by default in JAX.

  With `jax_enable_x64`, the programs of sampling would mix float32 with float64.
  """
  return jax.enable_x64(False)


class Batch:
  """The requests that are being answered, and their cache.

  Args:
    config: settings of the model.
    params: its parameters, split into layers; they may be sharded.
    vocabulary: ids from here on are never chosen.
    stop_ids: tokens that end an answer.

  Attributes:
    rows: the completion of each row, or None where the row is free.
    mesh: the mesh of the parameters, or None if they are not sharded.
  """

  def __init__(
    self, config: ModelConfig, params: Params, vocabulary: int, stop_ids: tuple[int, ...]
  ) -> None:
    # Neither setting changes a number. Fixing them lets all configs of one model share programs.
    self.config = dataclasses.replace(config, scan_layers=False, remat='none')
    self.params = params
    self.vocabulary = vocabulary
    self.stop_ids = stop_ids
    self.mesh = mesh_of(params)
    self._layout: NamedSharding | None = None
    # Rows are divided over the devices, so their number is a multiple of this.
    self._row_parts = 1
    if self.mesh is not None:
      self._row_parts = sharding.batch_parts(self.mesh)
      self._layout = cache_sharding(config, self.mesh)
    self.reset()

  def reset(self) -> None:
    """Forgets every request, and the cache."""
    self.rows: list[Completion | None] = []
    self._cache: Cache | None = None
    # Slots of the cache, and the steps of the next round.
    self._slots = 0
    self._steps = FIRST_STEPS

  @property
  def active(self) -> list[Completion]:
    """The completions that have a row, in the order of the rows."""
    return [completion for completion in self.rows if completion is not None]

  def remove(self, completion: Completion) -> None:
    """Frees the row of a completion, if it has one."""
    if completion in self.rows:
      self.rows[self.rows.index(completion)] = None

  def admit(self, joining: Sequence[Completion]) -> None:
    """Gives completions a row each and reads their prompts.

    Args:
      joining: the completions. The caller sees to it that there are not too many.
    """
    if not joining and not self.active:
      return
    # Even if nobody joins, those who are active may need more slots for the next round.
    everyone = [*self.active, *joining]
    rows = self._bucket_rows(len(everyone))
    slots = bucket_size(max(map(_slots_needed, everyone)), MIN_SLOTS)
    self._resize(rows, slots)
    # `_resize` has made free rows for all who join.
    row_of: dict[Completion, int] = {}
    for completion in joining:
      row = self.rows.index(None)
      self.rows[row] = completion
      row_of[completion] = row
    self._read_prompts(row_of)

  def _bucket_rows(self, n: int) -> int:
    """Returns the number of rows that holds n requests: a power of two in every part."""
    rows_per_part = -(-n // self._row_parts)
    return self._row_parts * bucket_size(rows_per_part)

  def _resize(self, rows: int, slots: int) -> None:
    """Makes sure that the cache has enough rows and slots; active completions keep theirs."""
    active = self.active
    old_rows = len(self.rows)
    # With an empty batch, nothing needs to be kept, so the cache gets just the size that is needed.
    if active:
      rows = stable_size(rows, old_rows)
      slots = stable_size(slots, self._slots)
    if (rows, slots) == (old_rows, self._slots):
      return
    if active:
      # The active rows move to the front. The other rows copy row 0: they are free anyway.
      source_R = np.zeros(rows, np.int32)
      source_R[: len(active)] = [n for n, r in enumerate(self.rows) if r is not None]
      self._cache = resize_cache(self._cache, source_R, slots=slots, layout=self._layout)
    else:
      # The old cache goes first: the memory may not hold both.
      self.rows, self._slots, self._cache = [], 0, None
      self._cache = new_cache(c=self.config, rows=rows, slots=slots, layout=self._layout)
    # The list must stand in the order in which the rows of the cache were copied.
    self.rows = [*active, *[None] * (rows - len(active))]
    self._slots = slots

  def _read_prompts(self, row_of: dict[Completion, int]) -> None:
    """Reads prompts into the cache, except for their last tokens: the first step takes those.

    Args:
      row_of: the row of each completion.
    """
    # One program reads prompts of one length bucket, either with scores or without.
    groups: dict[tuple[int, bool], list[Completion]] = {}
    for completion in row_of:
      length = bucket_size(len(completion.request.prompt) - 1, MIN_PROMPT_LENGTH)
      groups.setdefault((length, completion.request.echo), []).append(completion)
    # Sorted, so that the same requests always meet the same programs in the same order.
    for T, scored in sorted(groups):
      group = groups[T, scored]
      at_once = max(1, PREFILL_TOKENS // T)
      for start in range(0, len(group), at_once):
        self._prefill(group[start : start + at_once], row_of, T, scored)
    # A request for no tokens (max_tokens=0) is finished when its prompt is scored.
    for completion in row_of:
      if not completion.limit:
        completion.finish('length')

  def _prefill(
    self, group: Sequence[Completion], row_of: dict[Completion, int], T: int, scored: bool
  ) -> None:
    """Reads prompts of at most T + 1 tokens with one call, and scores them if `scored`."""
    R = self._bucket_rows(len(group))
    tokens_RT = np.zeros((R, T), np.int32)
    targets_RT = np.zeros((R, T), np.int32)
    # Rows without a prompt are inserted beyond the last row, that is, nowhere.
    into_R = np.full(R, len(self.rows), np.int32)
    for n, completion in enumerate(group):
      # The last token is left out: it has nothing to predict here, and `decode` reads it first.
      prompt = np.asarray(completion.request.prompt, np.int32)
      tokens_RT[n, : len(prompt) - 1] = prompt[:-1]
      targets_RT[n, : len(prompt) - 1] = prompt[1:]
      into_R[n] = row_of[completion]
    cache, scores = prefill(
      self.params,
      tokens_RT,
      targets_RT,
      c=self.config,
      vocabulary=self.vocabulary,
      scored=scored,
      layout=self._layout,
    )
    self._cache = insert_rows(self._cache, cache, into_R, layout=self._layout)
    if scores is not None:
      self._store_prompt_scores(group, scores)

  def _store_prompt_scores(self, group: Sequence[Completion], scores: PromptScores) -> None:
    """Gives each completion the scores of its prompt."""
    logprobs_RT, top_ids_RTK, top_RTK = jax.device_get(scores)
    for n, completion in enumerate(group):
      request = completion.request
      size = len(request.prompt) - 1
      k = request.top_logprobs
      check_finite(logprobs_RT[n, :size])
      scored: list[tuple[float, TopLogprobs]] = []
      for t in range(size):
        top = _pair_up(top_ids_RTK[n, t, :k], top_RTK[n, t, :k])
        scored.append((float(logprobs_RT[n, t]), top))
      completion.score_prompt(scored)

  def decode(self) -> None:
    """Generates some tokens in every row, and hands them to the completions."""
    active: list[tuple[int, Completion]] = []
    for row, completion in enumerate(self.rows):
      if completion is not None and not completion.finish_reason:
        active.append((row, completion))
    if not active:
      return
    # Alternatives are computed for all rows or for none; each request then gets its own number.
    with_top = any(completion.request.top_logprobs for _, completion in active)
    began = time.monotonic()
    self._cache, output = decode(
      self.params,
      self._cache,
      self._decode_rows(active),
      np.int32(self._steps),
      np.bool_(with_top),
      c=self.config,
      vocabulary=self.vocabulary,
      stop_ids=self.stop_ids,
      layout=self._layout,
    )
    if not with_top:
      # The alternatives hold only zeros, so they are not copied to the host.
      unused = np.zeros((0, 0, 0))
      output = output._replace(top_ids_NRK=unused, top_logprobs_NRK=unused)
    # This waits for the device, so the time that is measured is that of the round.
    output = jax.device_get(output)
    steps = int((output.tokens_NR >= 0).any(1).sum())
    steps_per_second = steps / max(1e-9, time.monotonic() - began)
    # The next round makes as many steps as fit into ROUND_SECONDS at this speed.
    self._steps = int(np.clip(ROUND_SECONDS * steps_per_second, 1, MAX_STEPS))
    for row, completion in active:
      _add_tokens(completion, output, row, steps)

  def _decode_rows(self, active: Sequence[tuple[int, Completion]]) -> Rows:
    """Returns the rows of a batch as `decode` takes them; the others are idle."""
    rows = idle_rows(len(self.rows))
    for n, completion in active:
      request = completion.request
      rows.token[n] = completion.last_token
      rows.position[n] = completion.position
      rows.remaining[n] = completion.limit - completion.made
      # A seed may be any integer, also a negative one; the device takes 32 bits of it.
      # NumPy's smaller integers cannot be divided by so large a number.
      rows.seed[n] = int(request.seed) % 2**32
      rows.temperature[n] = request.temperature
      rows.top_p[n] = max(request.top_p, MIN_TOP_P)
    return rows


def _slots_needed(completion: Completion) -> int:
  """Returns the cache slots that a completion may fill in the next round.

  It counts the longest possible round, not the one that comes. So which programs a request meets
  does not depend on how fast the machine is.
  """
  after_longest_round = completion.position + 1 + MAX_STEPS
  when_finished = len(completion.request.prompt) + completion.limit
  return min(after_longest_round, when_finished)


def _add_tokens(completion: Completion, output: Generated, row: int, steps: int) -> None:
  """Hands the tokens of a row to its completion, until a stop string ends it."""
  generated_N = output.tokens_NR[:, row] >= 0
  check_finite(output.logprobs_NR[generated_N, row])
  k = completion.request.top_logprobs
  for t in range(steps):
    # The device knows stop tokens but no stop strings: what it drew after one is dropped.
    if not generated_N[t] or completion.finish_reason:
      continue
    top: TopLogprobs = ()
    if k:
      top = _pair_up(output.top_ids_NRK[t, row, :k], output.top_logprobs_NRK[t, row, :k])
    token = int(output.tokens_NR[t, row])
    completion.add(token, float(output.logprobs_NR[t, row]), top)


def _pair_up(ids_K: np.ndarray, logprobs_K: np.ndarray) -> TopLogprobs:
  return tuple(zip(ids_K.tolist(), logprobs_K.tolist(), strict=True))


def check_finite(logprobs: np.ndarray) -> None:
  """Raises SamplingError if a log-probability is infinite or not a number."""
  if not np.isfinite(logprobs).all():
    raise SamplingError(
      'the model gives log-probabilities that are not finite; its training went wrong: '
      'delete that phase and lower its lr'
    )
