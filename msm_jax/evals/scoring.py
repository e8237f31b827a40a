"""Log-likelihoods of texts given prompts: the one thing that evaluators ask of a model.

A prompt stands in a row once for all of its options, where the attention of the device can do that.

Shapes: B rows, T tokens of a row, D width of the model, V entries of the vocabulary; N parts of a
batch, one for each device, C = B T / N tokens of a part, S = M T scored ones among them.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from msm_jax import multihost, sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.data.tokenized import to_triples
from msm_jax.evals.lower_layers import LowerLayers, runs_apart
from msm_jax.evals.scoring_rows import (
  READ_BY_LAYERS,
  Batch,
  Family,
  count_scored,
  count_scored_rows,
  make_batch,
  pack_examples,
  row_pieces,
)
from msm_jax.model import forward, logits
from msm_jax.tokenizer import Tokenizer

Messages = Sequence[tuple[str, str]]
# logprobs(prompts, options): for each prompt (messages, or the beginning of a document) and each of
# its options, the sum of the log-likelihoods (nats) of the option's tokens.
Logprobs = Callable[[Sequence[Messages | str], Sequence[Sequence[str]]], list[list[float]]]

# A function that is told after every batch how many tokens it had; see `evals.progress`.
AfterBatch = Callable[[int], None]

# So many logits are in memory at once: 256 MiB in float32.
MAX_LOGITS = 2**26
# So many tokens of what was asked stay in memory for the next arm: some 50 MiB.
MAX_KEPT_TOKENS = 2**22


class ScoringError(UserError, ValueError):
  """A text that cannot be scored."""


def check_fit(
  what: str, prompts: Sequence[Messages], answers: Sequence[str], tokenizer: Tokenizer, length: int
) -> None:
  """Checks before training that what is asked after it fits into a row, in every order.

  Words may be other tokens beside other words, so the orders of the options differ in length.

  Args:
    what: what is asked, for the error message.
    prompts: its messages, in each order of the options.
    answers: the answers that will be scored.
    tokenizer: the tokenizer of the model.
    length: tokens of a row.

  Raises:
    ScoringError: a prompt with one of its answers is longer than a row.
  """
  # A question may name an option twice, so that one order has more words than another.
  sizes = set()
  for prompt in prompts:
    sizes.add(sum(len(content) for _, content in prompt))
  for prompt in prompts:
    longest = _check_fit_in_order(what, prompt, answers, tokenizer, length)
    # The same words in another order are never twice as many tokens. Most questions are far shorter
    # than rows, and three options have six orders.
    if 2 * longest <= length and len(sizes) == 1:
      return


def _check_fit_in_order(
  what: str, prompt: Messages, answers: Sequence[str], tokenizer: Tokenizer, length: int
) -> int:
  """The tokens of a prompt with its longest answer. Raises ScoringError, see `check_fit`."""
  longest = 0
  for answer in answers:
    # Kept, since the arms are asked the same later.
    tokens = len(_examples(tokenizer).of(tokenizer, prompt, answer))
    if tokens > length:
      raise ScoringError(
        f'{what} has {tokens} tokens and rows hold {length}; '
        f'shorten it or raise the length of the last phase'
      )
    longest = max(longest, tokens)
  return longest


def count_tokens(prompt: str, option: str, tokenizer: Tokenizer) -> int:
  """Counts the tokens of a row that a document's beginning takes with what follows it.

  Args:
    prompt: the beginning of a document; may be empty.
    option: what follows it.
    tokenizer: the tokenizer of the model.

  Returns:
    The number. The last token has no target and is left out.

  Raises:
    ScoringError: nothing can stand before the first token of the option.
  """
  return len(_examples(tokenizer).of(tokenizer, prompt, option))


def _token_logprobs(
  model: ModelConfig,
  params: Any,
  tokens_BT: jax.Array,
  segment_ids_BT: jax.Array,
  positions_BT: jax.Array,
  scored_NMT: jax.Array,
  targets_NMT: jax.Array,
  branches_BT: jax.Array | None = None,
  lower_BTD: jax.Array | None = None,
) -> jax.Array:
  """Computes the log-likelihoods of the scored targets; no other token gets logits.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokens_BT: int32 token ids. The rows are N equal parts, one for each device.
    segment_ids_BT: int32; tokens see tokens of their own segment alone; 0 is padding.
    positions_BT: int32 position of each token in its segment.
    scored_NMT: int32; which tokens of a part are scored, counted through its rows.
    targets_NMT: int32 id of the token that follows each scored token.
    branches_BT: int32, where several texts go on from one beginning; see `attention.packed_mask`.
    lower_BTD: what the layers below all adapters give, if that is known.

  Returns:
    (N, M, T) float32 log-likelihoods in nats.
  """
  x_BTD = forward(
    model, params, tokens_BT, positions_BT, segment_ids_BT, None, branches_BT, lower_BTD
  )
  N, M, T = scored_NMT.shape
  x_NCD = x_BTD.reshape(N, -1, x_BTD.shape[-1])
  x_NSD = jnp.take_along_axis(x_NCD, scored_NMT.reshape(N, -1, 1), axis=1)
  x_NMTD = x_NSD.reshape(N, M, T, -1)

  def of_tokens(part: tuple[jax.Array, jax.Array]) -> jax.Array:
    x, targets = part
    all_logits = logits(model, params, x)
    of_targets = jnp.take_along_axis(all_logits, targets[..., None], axis=-1)[..., 0]
    return of_targets - jax.nn.logsumexp(all_logits, axis=-1)

  if N * M * T * model.vocab_size <= MAX_LOGITS:
    return of_tokens((x_NMTD, targets_NMT))
  # The logits of all would not fit into memory: T tokens of every device at a time.
  x_MNTD = jnp.swapaxes(x_NMTD, 0, 1)
  targets_MNT = jnp.swapaxes(targets_NMT, 0, 1)
  return jnp.swapaxes(jax.lax.map(of_tokens, (x_MNTD, targets_MNT)), 0, 1)


token_logprobs = jax.jit(_token_logprobs, static_argnums=0)


@functools.cache
def scoring_program(mesh: Mesh) -> Any:
  """Chooses how the log-likelihoods of a batch are compiled.

  Args:
    mesh: the devices.

  Returns:
    The compiled `_token_logprobs`; for TPUs with the compiler's options of the training step.
    Without them, XLA cuts products with divided weights into windows (docs/results/tpu.md).
  """
  if mesh.devices.flat[0].platform != 'tpu':
    return token_logprobs
  options = sharding.compiler_options(mesh, 'bfloat16')
  return jax.jit(_token_logprobs, static_argnums=0, compiler_options=options)


def _can_share(model: ModelConfig) -> bool:
  """Whether examples may share a beginning. The kernel of TPUs knows no branches, and the window of
  a local layer would count the tokens of other branches."""
  is_for_tpus = sharding.platform() == 'tpu' or model.attention == 'splash'
  return not is_for_tpus and not model.local_layers


def ignore_batch(tokens: int) -> None:
  """An `after_batch` that does nothing."""
  del tokens


def score_triples(
  model: ModelConfig,
  params: Any,
  examples: Sequence[np.ndarray],
  length: int,
  rows: int,
  after_batch: AfterBatch = ignore_batch,
  lower_layers: LowerLayers | None = None,
) -> np.ndarray:
  """Sums the weighted log-likelihoods of each example.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    examples: (n, 3) int32 arrays of token, target and weight; see `tokenized.to_triples`.
    length: tokens of a row; several examples share one.
    rows: rows of a batch.
    after_batch: told after every batch how many tokens its examples had. What it raises ends the
      scoring.
    lower_layers: keeps what the layers below all adapters made of batches; None keeps nothing.

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
  parts = 1
  program = token_logprobs
  if isinstance(layout, NamedSharding) and isinstance(layout.mesh, Mesh):
    # Rows are divided over all devices, as in training.
    mesh = layout.mesh
    program = scoring_program(mesh)
    layout = sharding.batch_sharding(mesh)
    parts = sharding.batch_parts(mesh)
    rows = -(-rows // parts) * parts
  scores = np.zeros(len(examples))
  shares = _can_share(model)
  if lower_layers is None:
    lower_layers = LowerLayers(max_bytes=0)
  packed = pack_examples(examples, length, shares)
  in_row = [count_scored(examples, row) for row in packed]
  scored_rows = count_scored_rows(in_row, length, rows, parts)

  def send(in_batch: Sequence[Sequence[Family]]) -> tuple[Batch, jax.Array]:
    """Makes the arrays of a batch and starts its computation."""
    batch = make_batch(examples, in_batch, length, rows, parts, scored_rows, shares)
    arrays = {}
    for name, x in batch._asdict().items():
      arrays[name] = None if x is None else multihost.make_global(x, layout)
    lower_BTD = None
    if runs_apart(model):
      read = {name: arrays[name] for name in READ_BY_LAYERS}
      lower_BTD = lower_layers.of(model, params, batch, read)
    return batch, program(model, params, **arrays, lower_BTD=lower_BTD)

  def take(in_batch: Sequence[Sequence[Family]], batch: Batch, on_device: jax.Array) -> None:
    """Waits for the results of a batch and adds them up for each example."""
    logprobs_NMT = multihost.gather_to_host(on_device)
    # Each token of the rows gets its log-likelihood; those that were left out get 0.
    logprobs_NC = np.zeros((parts, rows // parts * length), np.float32)
    scored_NS = batch.scored_NMT.reshape(parts, -1)
    np.put_along_axis(logprobs_NC, scored_NS, logprobs_NMT.reshape(scored_NS.shape), axis=1)
    logprobs_BT = logprobs_NC.reshape(rows, length)
    tokens = 0
    for b, row in enumerate(in_batch):
      for _, (n, start, stop, begin, branch) in row_pieces(examples, row):
        tokens += stop - start
        if branch:
          weights = examples[n][start:stop, 2]
          scores[n] = (logprobs_BT[b, begin : begin + stop - start] * weights).sum()
    after_batch(tokens)

  # A batch is sent before the results of the one before are read. So the device computes while the
  # host adds up results and makes the arrays of the next batch. All processes do this in one order.
  sent: list[tuple[Sequence[Sequence[Family]], Batch, jax.Array]] = []
  for start in range(0, len(packed), rows):
    in_batch = packed[start : start + rows]
    sent.append((in_batch, *send(in_batch)))
    if len(sent) > 1:
      take(*sent.pop(0))
  for last in sent:
    take(*last)
  if not np.isfinite(scores).all():
    raise ScoringError(
      'the model gives log-likelihoods that are not finite; its training went wrong: '
      'delete that phase and lower its lr'
    )
  return scores


class _Examples:
  """Prompts with their options as tokens, of one tokenizer.

  All arms of an experiment are asked the same, so the tokens are kept, up to `MAX_KEPT_TOKENS`.
  """

  def __init__(self) -> None:
    self._kept: dict[tuple[Messages | str, str], np.ndarray] = {}
    self._tokens = 0

  def of(self, tokenizer: Tokenizer, prompt: Messages | str, option: str) -> np.ndarray:
    """A prompt and an option as (n, 3) int32 token, target and weight; the option has a weight."""
    asked = prompt
    if not isinstance(prompt, str):
      asked = tuple((role, content) for role, content in prompt)
    key = (asked, option)
    if key not in self._kept:
      example = _example(tokenizer, prompt, option)
      if self._tokens + len(example) > MAX_KEPT_TOKENS:
        return example
      self._tokens += len(example)
      self._kept[key] = example
    return self._kept[key]


def _example(tokenizer: Tokenizer, prompt: Messages | str, option: str) -> np.ndarray:
  if isinstance(prompt, str):
    start = list(tokenizer.document_start)
    learned = tokenizer.encode(prompt + option)
    # Spaces at the end of the prompt belong to the option. With some first words they are one
    # token, and with others, such as digits, they are not: all options must be scored from one
    # place on.
    before = _common_length([*start, *tokenizer.encode(prompt.rstrip(' '))], [*start, *learned])
    if not before:
      # Nothing would predict the first token, and the sum would lack it. Documents follow the end
      # of another one, in pretraining and in lm-evaluation-harness (its prefix token).
      start = list(tokenizer.document_end[:1])
      before = len(start)
    if not before:
      raise ScoringError(
        f'nothing stands before the first token of {option[:40]!r}, and this tokenizer has no '
        'symbol for the end of a document, so its probability is not known; put a prompt before it'
      )
    ids = np.asarray([*start, *learned], np.int32)
  else:
    ids, weights = tokenizer.render_chat([*prompt, ('assistant', option)], continues=True)
    before = int(np.flatnonzero(weights == 0)[-1]) + 1
  is_option = (np.arange(len(ids)) >= before).astype(np.int32)
  return to_triples(ids, is_option)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
  """How many tokens two texts have in common at their beginning."""
  n = 0
  for a, b in zip(first, second, strict=False):
    if a != b:
      break
    n += 1
  return n


# An object of its own for every tokenizer, gone with it.
_EXAMPLES: weakref.WeakKeyDictionary[Tokenizer, _Examples] = weakref.WeakKeyDictionary()


def _examples(tokenizer: Tokenizer) -> _Examples:
  return _EXAMPLES.setdefault(tokenizer, _Examples())


def make_logprobs(
  model: ModelConfig,
  params: Any,
  tokenizer: Tokenizer,
  length: int,
  rows: int = 32,
  after_batch: AfterBatch = ignore_batch,
  lower_layers: LowerLayers | None = None,
) -> Logprobs:
  """Makes a `logprobs` function of one set of parameters.

  Args:
    model: the model's settings.
    params: its parameters, frozen ones too.
    tokenizer: its tokenizer.
    length: tokens of a row.
    rows: rows per scored batch.
    after_batch: see `score_triples`.
    lower_layers: see `score_triples`.

  Returns:
    The function. It scores an option alone, never the prompt before it or the end of the turn after
    it.
  """
  kept = _examples(tokenizer)

  def logprobs(
    prompts: Sequence[Messages | str], options: Sequence[Sequence[str]]
  ) -> list[list[float]]:
    examples = []
    for prompt, of_prompt in zip(prompts, options, strict=True):
      for option in of_prompt:
        examples.append(kept.of(tokenizer, prompt, option))
    scored = score_triples(model, params, examples, length, rows, after_batch, lower_layers)
    scores = iter(scored.tolist())
    out = []
    for of_prompt in options:
      out.append([next(scores) for _ in of_prompt])
    return out

  return logprobs
