"""Samples groups of answers to prompts, exactly reproducibly, on any mesh.

It uses the compiled programs of `decoding`, as the sampler does. The sampler serves requests that
come and go, in rounds whose length depends on the time. Here all prompts are known, and all answers
are generated side by side, so the programs that run follow from the prompts alone.

Shapes: P prompts, R = P x group_size answers, T tokens of a prompt, N tokens of one call.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from msm_jax import multihost, sharding
from msm_jax.config import ModelConfig
from msm_jax.inference.batch import MIN_PROMPT_LENGTH, MIN_SLOTS, check_finite
from msm_jax.inference.decoding import (
  MAX_STEPS,
  Generated,
  Rows,
  decode,
  idle_rows,
  prefill,
)
from msm_jax.inference.kv_cache import bucket_size, cache_sharding, resize_cache
from msm_jax.model import Cache, Params, split_layers


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How answers are sampled.

  Attributes:
    model: the settings of the model.
    group_size: answers to each prompt.
    temperature: what logits are divided by before a token is drawn.
    max_tokens: the most tokens of an answer, with its stop token.
    stop_ids: tokens that end an answer.
    vocabulary: ids from here on are never drawn.
  """

  model: ModelConfig
  group_size: int
  temperature: float
  max_tokens: int
  stop_ids: tuple[int, ...]
  vocabulary: int


def sample_groups(
  how: Sampling, params: Params, prompts: Sequence[np.ndarray], seeds: np.ndarray, mesh: Mesh
) -> list[list[int]]:
  """Samples a group of answers to each prompt.

  Args:
    how: how answers are sampled.
    params: all parameters, frozen ones too, in the dtype that the model works in.
    prompts: (n,) int32 tokens of each.
    seeds: (prompts x group_size,) uint32 seed of each answer.
    mesh: the devices; rows are divided over them.

  Returns:
    The tokens of each answer, group after group, with the stop token that ended it.

  Raises:
    SamplingError: the model gives log-probabilities that are not finite.
  """
  # Neither setting changes what is computed; fixing them, all phases share the programs.
  config = dataclasses.replace(how.model, scan_layers=False, remat='none')
  how = dataclasses.replace(how, model=config)
  params = split_layers(params)
  layout = cache_sharding(config, mesh)
  on_all = NamedSharding(mesh, Spec())
  # Rows are divided over the devices: copies of the first prompt, which nobody answers, fill up.
  parts = sharding.batch_parts(mesh)
  filled = [*prompts, *[prompts[0]] * (-len(prompts) % parts)]
  cache = _read_prompts(how, params, filled, layout, on_all)
  rows = _first_rows(how, filled, seeds)

  answers: list[list[int]] = [[] for _ in seeds]
  # Every call makes as many steps as the one before, and every row takes part in all of them.
  while rows.remaining.any():
    cache, output = decode(
      params,
      cache,
      Rows(*[multihost.make_global(x, on_all) for x in rows]),
      np.int32(MAX_STEPS),
      np.bool_(False),
      c=config,
      vocabulary=how.vocabulary,
      stop_ids=how.stop_ids,
      layout=layout,
    )
    _take_tokens(how, rows, output, answers)
  return answers


def _read_prompts(
  how: Sampling,
  params: Params,
  prompts: Sequence[np.ndarray],
  layout: NamedSharding,
  on_all: NamedSharding,
) -> Cache:
  """Reads each prompt once, and returns a cache with one row for each answer of its group."""
  longest = max(len(ids) for ids in prompts)
  tokens_PT = np.zeros((len(prompts), bucket_size(longest - 1, MIN_PROMPT_LENGTH)), np.int32)
  for n, ids in enumerate(prompts):
    # The last token is left out: `decode` reads it first.
    tokens_PT[n, : len(ids) - 1] = ids[:-1]
  tokens = multihost.make_global(tokens_PT, on_all)
  cache, _ = prefill(
    params, tokens, tokens, c=how.model, vocabulary=how.vocabulary, scored=False, layout=layout
  )
  prompt_of_R = np.repeat(np.arange(len(prompts), dtype=np.int32), how.group_size)
  slots = bucket_size(longest + how.max_tokens, MIN_SLOTS)
  return resize_cache(cache, multihost.make_global(prompt_of_R, on_all), slots=slots, layout=layout)


def _first_rows(how: Sampling, prompts: Sequence[np.ndarray], seeds: np.ndarray) -> Rows:
  """The rows before the first token. Those without a seed stay idle."""
  rows = idle_rows(len(prompts) * how.group_size)
  for n, ids in enumerate(prompts):
    group = slice(n * how.group_size, (n + 1) * how.group_size)
    rows.token[group] = ids[-1]
    rows.position[group] = len(ids) - 1
  rows.temperature[:] = how.temperature
  rows.top_p[:] = 1.0
  rows.seed[: len(seeds)] = seeds
  rows.remaining[: len(seeds)] = how.max_tokens
  return rows


def _take_tokens(how: Sampling, rows: Rows, output: Generated, answers: list[list[int]]) -> None:
  """Adds what one call generated to the answers, and moves the rows on. Raises SamplingError."""
  tokens_NR = multihost.gather_to_host(output.tokens_NR)
  logprobs_NR = multihost.gather_to_host(output.logprobs_NR)
  check_finite(logprobs_NR[tokens_NR >= 0])
  for row, answer in enumerate(answers):
    # -1 marks steps in which the row was idle.
    new = tokens_NR[tokens_NR[:, row] >= 0, row].tolist()
    if not new:
      continue
    answer += new
    rows.token[row] = new[-1]
    rows.position[row] += len(new)
    rows.remaining[row] -= len(new)
    if new[-1] in how.stop_ids:
      rows.remaining[row] = 0
