"""Log-likelihoods of texts given prompts: the one thing evaluators ask of a model."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from msm_jax import multihost, sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.input_pipeline import to_triples
from msm_jax.model import forward, logits
from msm_jax.tokenizer import Tokenizer

Messages = Sequence[tuple[str, str]]
# logprobs(prompts, options): for each prompt (messages, or the beginning of a document) and each of its options, the sum of the
# log-likelihoods (nats) of the option's tokens.
Logprobs = Callable[[Sequence[Messages | str], Sequence[Sequence[str]]], list[list[float]]]


class ScoringError(UserError, ValueError):
  """A text that cannot be scored; one line with cause and mend."""


LOGITS = 2**26  # as many at once; 256 MiB


@functools.partial(jax.jit, static_argnums=0)
def token_logprobs(
  model: ModelConfig, params: Any, tokens_BT, targets_BT, segment_ids_BT, positions_BT
) -> jax.Array:
  """(B, T) fp32 log-likelihood of each target."""
  x_BTD = forward(model, params, tokens_BT, positions_BT, segment_ids_BT)

  def of_rows(part):
    x_BTD, targets_BT = part
    logits_BTV = logits(model, params, x_BTD)
    target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return target_BT - jax.nn.logsumexp(logits_BTV, axis=-1)

  B, T = tokens_BT.shape
  if B * T * model.vocab_size <= LOGITS:
    return of_rows((x_BTD, targets_BT))
  # a row from every device at a time: the logits of all would not fit
  n = sharding.batch_parts()
  parts = jax.tree.map(
    lambda a: jnp.swapaxes(a.reshape(n, B // n, *a.shape[1:]), 0, 1), (x_BTD, targets_BT)
  )
  return jnp.swapaxes(jax.lax.map(of_rows, parts), 0, 1).reshape(B, T)


def score_triples(
  model: ModelConfig, params: Any, examples: Sequence[np.ndarray], length: int, rows: int
) -> np.ndarray:
  """Sum of weight x log-likelihood of each example, an (n, 3) array of token, target, weight; packed into (rows, length) batches."""
  longest = max(map(len, examples), default=0)
  if longest > length:
    raise ScoringError(
      f'an eval item has {longest} tokens and rows hold {length}; shorten it or raise the length of the last phase'
    )
  scores = np.zeros(len(examples))
  bins: list[list[int]] = [[]]
  room = length
  for n in np.argsort(
    [-len(e) for e in examples], kind='stable'
  ):  # longest first: neighbours of like length fill rows well
    if len(examples[n]) > room:
      bins.append([])
      room = length
    bins[-1].append(int(n))
    room -= len(examples[n])
  layout = getattr(jax.tree.leaves(params)[0], 'sharding', None)
  if isinstance(layout, NamedSharding):  # rows over all devices, as in training
    parts = sharding.batch_parts(layout.mesh)
    layout, rows = sharding.batch_sharding(layout.mesh), -(-rows // parts) * parts
  for start in range(0, len(bins), rows):
    x = np.zeros((rows, length, 3), np.int32)
    segments, positions = np.zeros((rows, length), np.int32), np.zeros((rows, length), np.int32)
    placed = []
    for b, members in enumerate(bins[start : start + rows]):
      t = 0
      for s, n in enumerate(members, 1):
        size = len(examples[n])
        x[b, t : t + size], segments[b, t : t + size], positions[b, t : t + size] = (
          examples[n],
          s,
          np.arange(size),
        )
        placed.append((n, b, t, t + size))
        t += size
    arrays = [
      multihost.place_replicated(a, layout) for a in (x[..., 0], x[..., 1], segments, positions)
    ]
    logprobs = multihost.gather_to_host(token_logprobs(model, params, *arrays)) * x[..., 2]
    for n, b, t, end in placed:
      scores[n] = logprobs[b, t:end].sum()
  if not np.isfinite(scores).all():
    raise ScoringError(
      'the model gives log-likelihoods that are not finite; its training went wrong: delete that phase and lower its lr'
    )
  return scores


def make_logprobs(
  model: ModelConfig, params: Any, tokenizer: Tokenizer, length: int, rows: int = 32
) -> Logprobs:
  """A `logprobs` function over one set of parameters. Only the option is scored, never the prompt or a turn's end."""

  def example(prompt: Messages | str, option: str) -> np.ndarray:
    if isinstance(prompt, str):
      start = tokenizer.document_start
      ids = np.asarray([*start, *tokenizer.encode(prompt + option)], np.int32)
      before = len(start) + len(tokenizer.encode(prompt))
    else:
      ids, weights = tokenizer.render_chat([*prompt, ('assistant', option)], continues=True)
      before = int(np.flatnonzero(weights == 0)[-1]) + 1
    return to_triples(ids, (np.arange(len(ids)) >= before).astype(np.int32))

  def logprobs(prompts, options):
    counts = [len(o) for o in options]
    flat = [example(p, o) for p, opts in zip(prompts, options, strict=True) for o in opts]
    scores = iter(score_triples(model, params, flat, length, rows).tolist())
    return [[next(scores) for _ in range(n)] for n in counts]

  return logprobs
