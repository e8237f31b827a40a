"""Log-likelihoods of texts given prompts: the one thing that evaluators ask of a model.

Shapes: B rows, T tokens of a row, D width of the model, V entries of the vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from msm_jax import multihost, sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.input_pipeline import to_triples
from msm_jax.model import forward, logits
from msm_jax.tokenizer import Tokenizer

Messages = Sequence[tuple[str, str]]
# logprobs(prompts, options): for each prompt (messages, or the beginning of a document) and each of
# its options, the sum of the log-likelihoods (nats) of the option's tokens.
Logprobs = Callable[[Sequence[Messages | str], Sequence[Sequence[str]]], list[list[float]]]

# So many logits are in memory at once: 256 MiB in float32.
MAX_LOGITS = 2**26


class ScoringError(UserError, ValueError):
  """A text that cannot be scored."""


def check_fit(
  what: str, prompt: Messages, answers: Sequence[str], tokenizer: Tokenizer, length: int
) -> None:
  """Checks before training that what is asked after it fits into a row.

  Args:
    what: what is asked, for the error message.
    prompt: its messages.
    answers: the answers that will be scored.
    tokenizer: the tokenizer of the model.
    length: tokens of a row.

  Raises:
    ScoringError: the prompt with one of its answers is longer than a row.
  """
  for answer in answers:
    ids, _ = tokenizer.render_chat([*prompt, ('assistant', answer)], continues=True)
    # The last token has no target.
    tokens = len(ids) - 1
    if tokens > length:
      raise ScoringError(
        f'{what} has {tokens} tokens and rows hold {length}; '
        f'shorten it or raise the length of the last phase'
      )


@functools.partial(jax.jit, static_argnums=0)
def token_logprobs(
  model: ModelConfig,
  params: Any,
  tokens_BT: jax.Array,
  targets_BT: jax.Array,
  segment_ids_BT: jax.Array,
  positions_BT: jax.Array,
) -> jax.Array:
  """Computes the log-likelihood of every target.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokens_BT: int32 token ids.
    targets_BT: int32 id of the token that follows each token.
    segment_ids_BT: int32; tokens see tokens of their own segment alone; 0 is padding.
    positions_BT: int32 position of each token in its segment.

  Returns:
    (B, T) float32 log-likelihoods in nats.
  """
  x_BTD = forward(model, params, tokens_BT, positions_BT, segment_ids_BT)

  def of_rows(part: tuple[jax.Array, jax.Array]) -> jax.Array:
    x_BTD, targets_BT = part
    logits_BTV = logits(model, params, x_BTD)
    target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return target_BT - jax.nn.logsumexp(logits_BTV, axis=-1)

  B, T = tokens_BT.shape
  if B * T * model.vocab_size <= MAX_LOGITS:
    return of_rows((x_BTD, targets_BT))
  # The logits of all rows would not fit into memory: one row of every device at a time.
  n = sharding.batch_parts()

  def one_row_of_each_device(a: jax.Array) -> jax.Array:
    return jnp.swapaxes(a.reshape(n, B // n, *a.shape[1:]), 0, 1)

  parts = jax.tree.map(one_row_of_each_device, (x_BTD, targets_BT))
  return jnp.swapaxes(jax.lax.map(of_rows, parts), 0, 1).reshape(B, T)


def _fill_rows(lengths: Sequence[int], length: int) -> list[list[int]]:
  """Packs examples into rows: row -> numbers of its examples.

  The longest come first: neighbours of like length fill the rows well.
  """
  rows: list[list[int]] = [[]]
  room = length
  for n in np.argsort([-size for size in lengths], kind='stable'):
    if lengths[n] > room:
      rows.append([])
      room = length
    rows[-1].append(int(n))
    room -= lengths[n]
  return rows


def score_triples(
  model: ModelConfig, params: Any, examples: Sequence[np.ndarray], length: int, rows: int
) -> np.ndarray:
  """Sums the weighted log-likelihoods of each example.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    examples: (n, 3) int32 arrays of token, target and weight; see `input_pipeline.to_triples`.
    length: tokens of a row; several examples share one.
    rows: rows of a batch.

  Returns:
    (examples,) float64: sum of weight x log-likelihood in nats.

  Raises:
    ScoringError: an example is longer than a row, or a log-likelihood is not finite.
  """
  longest = max(map(len, examples), default=0)
  if longest > length:
    raise ScoringError(
      f'an eval item has {longest} tokens and rows hold {length}; '
      f'shorten it or raise the length of the last phase'
    )
  layout = getattr(jax.tree.leaves(params)[0], 'sharding', None)
  if isinstance(layout, NamedSharding) and isinstance(layout.mesh, Mesh):
    # Rows are divided over all devices, as in training.
    parts = sharding.batch_parts(layout.mesh)
    layout, rows = sharding.batch_sharding(layout.mesh), -(-rows // parts) * parts
  scores = np.zeros(len(examples))
  packed = _fill_rows([len(e) for e in examples], length)
  for start in range(0, len(packed), rows):
    x_BT3 = np.zeros((rows, length, 3), np.int32)
    segments_BT = np.zeros((rows, length), np.int32)
    positions_BT = np.zeros((rows, length), np.int32)
    # (example, row, first token, end) of everything in this batch
    places: list[tuple[int, int, int, int]] = []
    for b, members in enumerate(packed[start : start + rows]):
      begin = 0
      for segment, n in enumerate(members, 1):
        end = begin + len(examples[n])
        x_BT3[b, begin:end] = examples[n]
        segments_BT[b, begin:end] = segment
        positions_BT[b, begin:end] = np.arange(end - begin)
        places.append((n, b, begin, end))
        begin = end
    arrays = []
    for host_array in (x_BT3[..., 0], x_BT3[..., 1], segments_BT, positions_BT):
      arrays.append(multihost.place_replicated(host_array, layout))
    logprobs_BT = multihost.gather_to_host(token_logprobs(model, params, *arrays)) * x_BT3[..., 2]
    for n, b, begin, end in places:
      scores[n] = logprobs_BT[b, begin:end].sum()
  if not np.isfinite(scores).all():
    raise ScoringError(
      'the model gives log-likelihoods that are not finite; its training went wrong: '
      'delete that phase and lower its lr'
    )
  return scores


def make_logprobs(
  model: ModelConfig, params: Any, tokenizer: Tokenizer, length: int, rows: int = 32
) -> Logprobs:
  """Makes a `logprobs` function of one set of parameters.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokenizer: its tokenizer.
    length: tokens of a row.
    rows: rows per scored batch.

  Returns:
    The function. It scores an option alone, never the prompt before it or the end of the turn after
    it.
  """

  def example(prompt: Messages | str, option: str) -> np.ndarray:
    if isinstance(prompt, str):
      start = tokenizer.document_start
      ids = np.asarray([*start, *tokenizer.encode(prompt + option)], np.int32)
      before = len(start) + len(tokenizer.encode(prompt))
    else:
      ids, weights = tokenizer.render_chat([*prompt, ('assistant', option)], continues=True)
      before = int(np.flatnonzero(weights == 0)[-1]) + 1
    is_option = (np.arange(len(ids)) >= before).astype(np.int32)
    return to_triples(ids, is_option)

  def logprobs(
    prompts: Sequence[Messages | str], options: Sequence[Sequence[str]]
  ) -> list[list[float]]:
    examples = []
    for prompt, of_prompt in zip(prompts, options, strict=True):
      for option in of_prompt:
        examples.append(example(prompt, option))
    scores = iter(score_triples(model, params, examples, length, rows).tolist())
    out = []
    for of_prompt in options:
      out.append([next(scores) for _ in of_prompt])
    return out

  return logprobs
