"""The compiled programs of sampling: `prefill` reads prompts, `decode` generates tokens.

What is compiled depends on sizes (rows, slots, lengths), on the stop tokens of the model and on
whether prompts are scored. Whatever else a request asks for is a value at run time: temperature,
top_p, seeds, the number of tokens and the alternatives to each of them.

Shapes: R rows, T tokens, C tokens of a chunk, S slots of the cache, V vocabulary, D model size,
K alternatives, N steps of one call.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from msm_jax.config import ModelConfig
from msm_jax.inference.kv_cache import constrain_cache
from msm_jax.model import Cache, Params, empty_cache, extend, logits

# The largest number of tokens that one call of `decode` generates in a row.
MAX_STEPS = 32
# The largest number of alternatives that can be reported with a token.
MAX_TOP_LOGPROBS = 20
# Tokens of a prompt that are read at once. Attention scores of all tokens to all would not fit.
PREFILL_CHUNK = 512
# Logits of a prompt that are computed at once: 64 MiB as float32.
MAX_LOGITS = 2**24
# Temperatures up to this one take the likeliest token: logits divided by less would overflow.
GREEDY_TEMPERATURE = 1e-4
# The smallest top_p. With 0, no token would be left to draw.
MIN_TOP_P = 1e-9

# A NumPy array on the host, or a jax.Array inside a program.
Array = Any


class Rows(NamedTuple):
  """The state of the rows of a batch; every field has the shape (R,).

  Attributes:
    token: int32, the last token of each row. The cache does not hold it yet.
    position: int32, the position of that token.
    remaining: int32, the number of tokens that are still to be generated; a row with 0 is idle.
    seed: uint32.
    temperature: float32.
    top_p: float32.
  """

  token: Array
  position: Array
  remaining: Array
  seed: Array
  temperature: Array
  top_p: Array


def idle_rows(n: int) -> Rows:
  """Makes rows that do nothing.

  Args:
    n: the number of rows.

  Returns:
    NumPy arrays of shape (n,), to be filled in.
  """
  return Rows(
    token=np.zeros(n, np.int32),
    position=np.zeros(n, np.int32),
    remaining=np.zeros(n, np.int32),
    seed=np.zeros(n, np.uint32),
    temperature=np.zeros(n, np.float32),
    top_p=np.zeros(n, np.float32),
  )


class Generated(NamedTuple):
  """What one call of `decode` generated.

  Attributes:
    tokens_NR: int32; -1 where a row generated no token.
    logprobs_NR: float32, log-probabilities in nats.
    top_ids_NRK: int32, the likeliest tokens, best first. All 0 if they were not asked for.
    top_logprobs_NRK: float32, their log-probabilities.
  """

  tokens_NR: Array
  logprobs_NR: Array
  top_ids_NRK: Array
  top_logprobs_NRK: Array


class PromptScores(NamedTuple):
  """Log-probabilities of the tokens of prompts.

  Attributes:
    logprobs_RT: float32, of the targets, in nats.
    top_ids_RTK: int32, the likeliest tokens, best first.
    top_logprobs_RTK: float32, their log-probabilities.
  """

  logprobs_RT: Array
  top_ids_RTK: Array
  top_logprobs_RTK: Array


def top_p_mask(probs_RV: jax.Array, top_p_R: jax.Array) -> jax.Array:
  """Finds the likeliest tokens that together have the probability top_p (Holtzman et al. 2020).

  The bits of positive floats, read as integers, are ordered as the floats are. So the probability
  of the least likely token that stays is found exactly, bit by bit, without a sort. Sorting a
  vocabulary takes much longer.

  Args:
    probs_RV: (R, V) float32 probabilities.
    top_p_R: (R,) float32.

  Returns:
    (R, V) bool. Tokens that are as likely as the last one that is needed are included.
  """
  bits_RV = jax.lax.bitcast_convert_type(probs_RV, jnp.int32)

  def refine(n, threshold_R):
    # 1.0 and all floats below it have 30 bits; the highest comes first.
    higher_R = threshold_R | (1 << (29 - n))
    mass_R = jnp.sum(jnp.where(bits_RV >= higher_R[:, None], probs_RV, 0), axis=-1)
    return jnp.where(mass_R >= top_p_R, higher_R, threshold_R)

  # A bit stays set if the tokens above the new threshold still have enough probability. In the
  # end the threshold is the highest one that keeps top_p.
  lowest_R = jnp.zeros(len(top_p_R), jnp.int32)
  threshold_R = jax.lax.fori_loop(0, 30, refine, lowest_R)
  return bits_RV >= threshold_R[:, None]


def _likeliest(scores_RV: jax.Array) -> jax.Array:
  """Finds the first of the highest scores of each row, (R,) int32.

  It is `argmax` in two steps. XLA:CPU computes that number by number, but each step with vectors.
  """
  V = scores_RV.shape[1]
  is_highest_RV = scores_RV == jnp.max(scores_RV, axis=-1, keepdims=True)
  # A row that is not finite has no highest score. Any token will do: its log-probability tells.
  return jnp.min(jnp.where(is_highest_RV, jnp.arange(V), V - 1), axis=-1).astype(jnp.int32)


def sample_tokens(logits_RV: jax.Array, rows: Rows, position_R: jax.Array) -> jax.Array:
  """Draws the next token of each row, or takes the likeliest.

  A draw depends on the row's seed and position alone, so it is the same whatever the other rows
  are. It adds Gumbel noise to the logits and takes the largest: that is a draw from their softmax.

  Args:
    logits_RV: (R, V) float32.
    rows: temperatures, top_p and seeds.
    position_R: (R,) int32, the position of the token in front.

  Returns:
    (R,) int32 token ids.
  """
  likeliest_R = _likeliest(logits_RV)
  # Greedy and drawn rows share a batch, so both answers are computed and one is chosen.
  warm_R = rows.temperature > GREEDY_TEMPERATURE

  def gumbel_noise(seed, position):
    # The position in the sequence, not the step of the round: rounds have different lengths.
    key = jax.random.fold_in(jax.random.key(seed), position)
    return jax.random.gumbel(key, logits_RV.shape[1:])

  def draw() -> jax.Array:
    """The tokens of a batch in which some rows draw theirs, (R,) int32."""
    scaled_RV = logits_RV / jnp.where(warm_R, rows.temperature, 1)[:, None]

    def without_tail() -> jax.Array:
      likely_RV = top_p_mask(jax.nn.softmax(scaled_RV), rows.top_p)
      # Rounding may leave the sum of all probabilities below 1, so top_p = 1 is its own case.
      kept_RV = likely_RV | (rows.top_p >= 1)[:, None]
      return jnp.where(kept_RV, scaled_RV, -jnp.inf)

    # Most batches use no top_p, and then the search for the threshold is skipped.
    any_top_p = jnp.any(warm_R & (rows.top_p < 1))
    scaled_RV = jax.lax.cond(any_top_p, without_tail, lambda: scaled_RV)
    noise_RV = jax.vmap(gumbel_noise)(rows.seed, position_R)
    drawn_R = _likeliest(scaled_RV + noise_RV)
    return jnp.where(warm_R, drawn_R, likeliest_R)

  # A batch that is greedy throughout makes no random numbers at all.
  return jax.lax.cond(jnp.any(warm_R), draw, lambda: likeliest_R)


def _is_any_of(token_R: jax.Array, ids: tuple[int, ...]) -> jax.Array:
  """Returns (R,) bool: whether each token is one of the ids."""
  found_R = jnp.zeros(len(token_R), bool)
  for i in ids:
    found_R = found_R | (token_R == i)
  return found_R


class _DecodeState(NamedTuple):
  """What the loop of `decode` carries from step to step."""

  step: jax.Array
  token_R: Array
  position_R: Array
  remaining_R: Array
  cache: Cache
  output: Generated


@functools.partial(
  jax.jit, static_argnames=('c', 'vocabulary', 'stop_ids', 'layout'), donate_argnames='cache'
)
def decode(
  params: Params,
  cache: Cache,
  rows: Rows,
  steps: Array,
  with_top: Array,
  *,
  c: ModelConfig,
  vocabulary: int,
  stop_ids: tuple[int, ...],
  layout: NamedSharding | None,
) -> tuple[Cache, Generated]:
  """Generates tokens in every row until its `remaining` tokens are generated or it stops.

  Args:
    params: parameters of the model, best split into layers (`model.split_layers`).
    cache: holds every row up to the token in front of `rows.token`. Its memory is used again.
    rows: the state of the rows.
    steps: () int32, the largest number of tokens per row, at most MAX_STEPS.
    with_top: () bool, whether the likeliest tokens are reported.
    c: settings of the model.
    vocabulary: ids from here on are padding of the embedding table and are never chosen.
    stop_ids: tokens that end a row.
    layout: the sharding of the cache, if it is sharded.

  Returns:
    The cache with the new tokens, except for the last one of each row, and the tokens; N is
    MAX_STEPS.
  """
  R = rows.token.shape[0]
  K = min(MAX_TOP_LOGPROBS, vocabulary)

  def no_alternatives():
    return jnp.zeros((R, K), jnp.float32), jnp.zeros((R, K), jnp.int32)

  def next_token(state: _DecodeState) -> _DecodeState:
    """Generates one token in every row."""
    x_R1D, cache = extend(c, params, state.token_R[:, None], state.position_R[:, None], state.cache)
    # Every row takes part in every step, idle ones too: the shapes of a program are fixed.
    logits_RV = logits(c, params, x_R1D[:, 0])
    known_RV = logits_RV[:, :vocabulary]
    chosen_R = sample_tokens(known_RV, rows, state.position_R)
    # Log-probabilities are the model's own: over the whole table, at temperature 1.
    norm_R = jax.nn.logsumexp(logits_RV, axis=-1)
    logprob_R = jnp.take_along_axis(logits_RV, chosen_R[:, None], axis=-1)[:, 0] - norm_R
    top_RK, top_ids_RK = jax.lax.cond(
      with_top, lambda: tuple(jax.lax.top_k(known_RV, K)), no_alternatives
    )

    # An idle row keeps its token and position, and its results are marked with -1.
    live_R = state.remaining_R > 0
    new = Generated(
      jnp.where(live_R, chosen_R, -1), logprob_R, top_ids_RK, top_RK - norm_R[:, None]
    )
    output = jax.tree.map(
      lambda whole, x: jax.lax.dynamic_update_index_in_dim(whole, x, state.step, 0),
      state.output,
      new,
    )
    # A stop token counts as generated, and then the row is idle.
    remaining_R = jnp.maximum(state.remaining_R - 1, 0)
    return _DecodeState(
      step=state.step + 1,
      token_R=jnp.where(live_R, chosen_R, state.token_R),
      position_R=state.position_R + live_R,
      remaining_R=jnp.where(_is_any_of(chosen_R, stop_ids), 0, remaining_R),
      cache=constrain_cache(cache, layout),
      output=output,
    )

  def goes_on(state: _DecodeState) -> jax.Array:
    return (state.step < steps) & jnp.any(state.remaining_R > 0)

  start = _DecodeState(
    step=jnp.int32(0),
    token_R=rows.token,
    position_R=rows.position,
    remaining_R=rows.remaining,
    cache=constrain_cache(cache, layout),
    output=Generated(
      tokens_NR=jnp.full((MAX_STEPS, R), -1, jnp.int32),
      logprobs_NR=jnp.zeros((MAX_STEPS, R)),
      top_ids_NRK=jnp.zeros((MAX_STEPS, R, K), jnp.int32),
      top_logprobs_NRK=jnp.zeros((MAX_STEPS, R, K)),
    ),
  )
  # A while loop, not a scan: it ends as soon as no row has anything left to do.
  end = jax.lax.while_loop(goes_on, next_token, start)
  return end.cache, end.output


@functools.partial(jax.jit, static_argnames=('c', 'vocabulary', 'scored', 'layout'))
def prefill(
  params: Params,
  tokens_RT: Array,
  targets_RT: Array,
  *,
  c: ModelConfig,
  vocabulary: int,
  scored: bool,
  layout: NamedSharding | None,
) -> tuple[Cache, PromptScores | None]:
  """Reads the tokens of prompts into a new cache.

  Args:
    params: parameters of the model.
    tokens_RT: (R, T) int32; T is at most PREFILL_CHUNK or a multiple of it. Padding at the end of a
      row is harmless: `decode` writes over it before any token sees it.
    targets_RT: (R, T) int32, the token after each one. Only read if `scored`.
    c: settings of the model.
    vocabulary: ids from here on are padding of the embedding table and are never reported.
    scored: whether log-probabilities of the targets are computed.
    layout: the sharding of the cache, if it is sharded.

  Returns:
    A cache of R rows and T slots, and the scores (None unless `scored`).
  """
  R, T = tokens_RT.shape
  C = min(T, PREFILL_CHUNK)

  def read_chunk(cache, chunk):
    tokens_RC, start = chunk
    positions_RC = jnp.broadcast_to(start + jnp.arange(C), (R, C))
    x_RCD, cache = extend(c, params, tokens_RC, positions_RC, cache)
    # Without scores, the hidden states of the prompt need not be kept.
    return constrain_cache(cache, layout), x_RCD if scored else None

  # T is a power of two from 16 on, so the chunks divide it.
  chunks_NRC = tokens_RT.reshape(R, T // C, C).swapaxes(0, 1)
  starts_N = jnp.arange(0, T, C)
  empty = constrain_cache(empty_cache(c, R, T), layout)
  cache, x_NRCD = jax.lax.scan(read_chunk, empty, (chunks_NRC, starts_N))
  if not scored:
    return cache, None

  def score(one):
    x_D, target = one
    logits_V = logits(c, params, x_D)
    # As in `decode`: normalised over the whole table, but padding is never reported.
    norm = jax.nn.logsumexp(logits_V)
    top_K, top_ids_K = jax.lax.top_k(logits_V[:vocabulary], min(MAX_TOP_LOGPROBS, vocabulary))
    # A target that is one of these has their very number: lm-evaluation-harness compares the two
    # exactly, and logits that are capped differ in their last bit if XLA computes them twice.
    is_target_K = top_ids_K == target
    own = jnp.where(
      jnp.any(is_target_K), jnp.sum(jnp.where(is_target_K, top_K, 0)), logits_V[target]
    )
    return own - norm, top_ids_K, top_K - norm

  # (N, R, C, D) -> one hidden state per token, row by row.
  flat_x = x_NRCD.swapaxes(0, 1).reshape(R * T, -1)
  flat_targets = targets_RT.reshape(-1)
  # The logits of all tokens of all prompts together would not fit into memory.
  at_once = max(1, MAX_LOGITS // c.vocab_size)
  scores = jax.lax.map(score, (flat_x, flat_targets), batch_size=at_once)
  return cache, PromptScores(*[a.reshape(R, T, *a.shape[1:]) for a in scores])
