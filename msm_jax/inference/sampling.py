"""Decoding with a cache of keys and values: any number of requests share the rows of one batch, and each is answered as if it were alone.

A `Sampler` works in rounds. In each, requests that wait take free rows: their prompts are read, all of one length bucket at once, up to the last
token; then every row makes a few tokens in one compiled loop. What is compiled depends on buckets alone (rows, slots and lengths are powers of
two), never on what is asked: sampling, log-probabilities and stops are switched at run time.

Shapes: R rows, T tokens, S slots of the cache, V vocabulary, L layers, G key/value heads, K head size, N steps of a round.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import sharding
from msm_jax.base.errors import UserError
from msm_jax.config import ModelConfig
from msm_jax.inference.completion import (
  Completion,
  Piece,
  Request,
  RequestError,
  TooLong,
  place_prompt,
)
from msm_jax.model import Cache, Params, empty_cache, extend, logits
from msm_jax.tokenizer import Tokenizer

STEPS = 32  # of a round at most
ROUND_SECONDS = 0.05  # what a round should take: how long others wait, and how often a stream moves
TOP = 20  # alternatives that log-probabilities can be asked for
PREFILL_TOKENS = 2**14  # of prompts that are read by one call
CHUNK = 512  # of a prompt's tokens read at once
LOGITS = 2**24  # of prompts, computed at once; 64 MiB
COLD = 1e-4  # temperatures up to it take the likeliest token: logits divided by less would overflow
LEAST_PROMPT, LEAST_SLOTS = 16, 64
DEFAULT_LENGTH = 2048  # where a model doesn't say what it was trained for


class SamplingError(UserError, RuntimeError):
  """A model that cannot answer; one line with cause and mend."""


# ------------------------------------------------------------------------------------------------------------------ on the device


class Rows(NamedTuple):
  """One entry per row, (R,). A row without `left` does nothing."""

  token: Any  # the last one, which the cache doesn't hold yet
  position: Any  # its place
  left: Any  # tokens to make
  seed: Any
  temperature: Any
  top_p: Any


def nucleus(probs_RV: jax.Array, top_p_R: jax.Array) -> jax.Array:
  """(R, V) bool: the likeliest tokens that together have top_p, ties included.

  The bits of positive floats are ordered as the floats are, so the threshold is found exactly, bit by bit, without a sort.
  """
  bits_RV = jax.lax.bitcast_convert_type(probs_RV, jnp.int32)

  def refine(n, threshold_R):
    higher_R = threshold_R | (1 << (29 - n))  # 1.0 and all below it have 30 bits
    mass_R = jnp.sum(jnp.where(bits_RV >= higher_R[:, None], probs_RV, 0), axis=-1)
    return jnp.where(mass_R >= top_p_R, higher_R, threshold_R)

  return bits_RV >= jax.lax.fori_loop(0, 30, refine, jnp.zeros(len(top_p_R), jnp.int32))[:, None]


def choose(logits_RV: jax.Array, rows: Rows, position_R: jax.Array) -> jax.Array:
  """(R,) next tokens. A row's draw depends on its seed and position alone."""
  likeliest_R = jnp.argmax(logits_RV, axis=-1).astype(jnp.int32)
  warm_R = rows.temperature > COLD

  def draw() -> jax.Array:
    scaled_RV = logits_RV / jnp.where(warm_R, rows.temperature, 1)[:, None]
    scaled_RV = jax.lax.cond(
      jnp.any(warm_R & (rows.top_p < 1)),
      lambda: jnp.where(
        nucleus(jax.nn.softmax(scaled_RV), rows.top_p) | (rows.top_p >= 1)[:, None],
        scaled_RV,
        -jnp.inf,
      ),
      lambda: scaled_RV,
    )
    noise_RV = jax.vmap(
      lambda s, p: jax.random.gumbel(jax.random.fold_in(jax.random.key(s), p), scaled_RV.shape[1:])
    )(rows.seed, position_R)
    return jnp.where(
      warm_R, jnp.argmax(scaled_RV + noise_RV, axis=-1).astype(jnp.int32), likeliest_R
    )

  return jax.lax.cond(jnp.any(warm_R), draw, lambda: likeliest_R)


def _pinned(cache: Cache, layout: NamedSharding | None) -> Cache:
  return jax.lax.with_sharding_constraint(cache, layout) if layout else cache


@functools.partial(
  jax.jit, static_argnames=('c', 'vocabulary', 'stop_ids', 'layout'), donate_argnames='cache'
)
def decode(
  params: Params, cache: Cache, rows: Rows, steps: Any, with_top: Any, *, c: ModelConfig, vocabulary: int, stop_ids: tuple[int, ...],
  layout: NamedSharding | None,
) -> tuple[Cache, tuple[jax.Array, ...]]:  # fmt: skip
  """At most `steps` tokens in every row that has some left: (cache, (tokens (N, R), logprobs (N, R), top ids (N, R, TOP), top logprobs)).

  Tokens are -1 where a row made none. Ids from `vocabulary` on are padding of the table and never chosen.
  """
  R, top = rows.token.shape[0], min(TOP, vocabulary)
  out = (
    jnp.full((STEPS, R), -1, jnp.int32), jnp.zeros((STEPS, R)), jnp.zeros((STEPS, R, top), jnp.int32), jnp.zeros((STEPS, R, top)),
  )  # fmt: skip

  def step(state):
    n, token_R, position_R, left_R, cache, out = state
    x_R1D, cache = extend(c, params, token_R[:, None], position_R[:, None], cache)
    logits_RV = logits(c, params, x_R1D[:, 0])
    live_R, known_RV = left_R > 0, logits_RV[:, :vocabulary]
    chosen_R = choose(known_RV, rows, position_R)
    norm_R = jax.nn.logsumexp(logits_RV, axis=-1)
    logprob_R = jnp.take_along_axis(logits_RV, chosen_R[:, None], axis=-1)[:, 0] - norm_R
    top_RK, ids_RK = jax.lax.cond(
      with_top,
      lambda: tuple(jax.lax.top_k(known_RV, top)),
      lambda: (jnp.zeros((R, top), jnp.float32), jnp.zeros((R, top), jnp.int32)),
    )
    made = (jnp.where(live_R, chosen_R, -1), logprob_R, ids_RK, top_RK - norm_R[:, None])
    out = jax.tree.map(
      lambda whole, new: jax.lax.dynamic_update_index_in_dim(whole, new, n, 0), out, made
    )
    stopped_R = functools.reduce(
      jnp.logical_or, [chosen_R == s for s in stop_ids], jnp.zeros(R, bool)
    )
    left_R = jnp.where(stopped_R, 0, jnp.maximum(left_R - 1, 0))
    return (
      n + 1,
      jnp.where(live_R, chosen_R, token_R),
      position_R + live_R,
      left_R,
      _pinned(cache, layout),
      out,
    )

  def goes_on(state):
    return (state[0] < steps) & jnp.any(state[3] > 0)

  state = jax.lax.while_loop(
    goes_on, step, (jnp.int32(0), rows.token, rows.position, rows.left, _pinned(cache, layout), out)
  )
  return state[-2:]


@functools.partial(jax.jit, static_argnames=('c', 'vocabulary', 'scored', 'layout'))
def prefill(
  params: Params,
  tokens_RT: jax.Array,
  targets_RT: jax.Array,
  *,
  c: ModelConfig,
  vocabulary: int,
  scored: bool,
  layout: NamedSharding | None,
) -> tuple[Cache, tuple[jax.Array, ...]]:
  """Reads rows of tokens: (their cache of T slots, (logprobs (R, T) of the targets, top ids (R, T, TOP), top logprobs) if `scored`)."""
  R, T = tokens_RT.shape
  length = min(T, CHUNK)

  def read(cache, part):
    tokens_RC, start = part
    x_RCD, cache = extend(
      c, params, tokens_RC, jnp.broadcast_to(start + jnp.arange(length), (R, length)), cache
    )
    return _pinned(cache, layout), x_RCD if scored else None

  # some at a time: the logits of attention of all T tokens to all would not fit
  parts = tokens_RT.reshape(R, T // length, length).swapaxes(0, 1), jnp.arange(0, T, length)
  cache, x_NRCD = jax.lax.scan(read, _pinned(empty_cache(c, R, T), layout), parts)

  def score(one):
    x_D, target = one
    logits_V = logits(c, params, x_D)
    norm = jax.nn.logsumexp(logits_V)
    top, ids = jax.lax.top_k(logits_V[:vocabulary], min(TOP, vocabulary))
    return logits_V[target] - norm, ids, top - norm

  if not scored:
    return cache, ()
  flat = (x_NRCD.swapaxes(0, 1).reshape(R * T, -1), targets_RT.reshape(-1))
  scores = jax.lax.map(score, flat, batch_size=max(1, LOGITS // c.vocab_size))
  return cache, tuple(a.reshape(R, T, *a.shape[1:]) for a in scores)


@functools.partial(jax.jit, static_argnames='layout', donate_argnames='cache')
def insert(cache: Cache, part: Cache, rows: jax.Array, *, layout: NamedSharding | None) -> Cache:
  """`part`, of fewer slots, into these rows; numbers beyond the last row go nowhere."""
  return _pinned(
    tuple(
      whole.at[:, rows, :, : new.shape[3]].set(new) for whole, new in zip(cache, part, strict=True)
    ),
    layout,
  )


@functools.partial(jax.jit, static_argnames=('slots', 'layout'))
def arrange(cache: Cache, rows: jax.Array, *, slots: int, layout: NamedSharding | None) -> Cache:
  """These rows, with more slots or fewer."""

  def one(x):
    x = x[:, rows, :, :slots]
    return jnp.pad(x, [(0, slots - n if axis == 3 else 0) for axis, n in enumerate(x.shape)])

  return _pinned(tuple(map(one, cache)), layout)


@functools.partial(jax.jit, static_argnames=('c', 'rows', 'slots', 'layout'))
def fresh_cache(*, c: ModelConfig, rows: int, slots: int, layout: NamedSharding | None) -> Cache:
  return _pinned(empty_cache(c, rows, slots), layout)


def working(c: ModelConfig, params: Params) -> Params:
  """Matrices in the dtype that the model works in: cast once, not at every step. Norms stay in float32."""
  dtype = jnp.dtype(c.dtype)
  return {
    k: x if k.endswith('norm') else x.astype(dtype)
    for k, x in jax.tree.map(jnp.asarray, params).items()
  }


# ------------------------------------------------------------------------------------------------------------------------ rounds


def bucket(n: int, least: int = 1) -> int:
  """The power of two, and no less than `least`, that holds n."""
  return max(least, 1 << max(0, n - 1).bit_length())


class Sampler:
  """Answers requests with one set of parameters, which may be sharded. Not for several threads at a time.

  `max_length`: tokens of a prompt and its answer together (default: what the model was trained for). `max_rows`: requests answered at the same
  time; the others wait. `stop_ids`: what ends an answer (default: the tokenizer's).
  """

  def __init__(
    self,
    config: ModelConfig,
    params: Params,
    tokenizer: Tokenizer,
    max_length: int = 0,
    max_rows: int = 32,
    stop_ids: Sequence[int] | None = None,
  ):
    # neither setting changes a number; so all configs of one model share programs
    self.config = dataclasses.replace(config, scan_layers=True, remat='none')
    self.params, self.tokenizer = working(config, params), tokenizer
    self.max_length, self.max_rows = max_length or config.max_length or DEFAULT_LENGTH, max_rows
    self.stop_ids = tuple(int(i) for i in (tokenizer.stop_ids if stop_ids is None else stop_ids))
    self.vocabulary = min(
      max(tokenizer.vocab_size, *(i + 1 for i in self.stop_ids), 1), config.vocab_size
    )
    self.mesh, self._layout, self._parts = None, None, 1
    placed = getattr(jax.tree.leaves(self.params)[0], 'sharding', None)
    if isinstance(placed, NamedSharding):
      self.mesh, self._parts = placed.mesh, sharding.batch_parts(placed.mesh)
      heads = 'tensor' if config.n_kv_heads % placed.mesh.shape['tensor'] == 0 else None
      self._layout = NamedSharding(placed.mesh, P(None, sharding.BATCH, heads))
    self._names: dict[int, str] = {}
    self.waiting: collections.deque[Completion] = collections.deque()
    self.reset()

  def reset(self) -> None:
    """Forgets every request, and the cache."""
    self.waiting.clear()
    self._rows: list[Completion | None] = []
    self._cache: Cache | None = None
    self._slots, self._steps = 0, 4

  @property
  def open(self) -> list[Completion]:
    """What is being answered or waits."""
    return [r for r in self._rows if r] + list(self.waiting)

  @property
  def busy(self) -> bool:
    return bool(self.waiting) or any(self._rows)

  def completion(self, request: Request) -> Completion:
    """Raises RequestError for a request that cannot be answered."""
    n = len(request.prompt)
    if not n:
      raise RequestError('the prompt is empty; give at least one token')
    if n + (request.max_tokens > 0) > self.max_length:
      raise TooLong(
        f'the prompt has {n} tokens, and with its answer it must fit into {self.max_length}; shorten it or raise max_length'
      )
    ids = np.asarray(request.prompt)
    if ids.min() < 0 or ids.max() >= self.vocabulary:
      raise RequestError(
        f'the prompt holds token {ids.max() if ids.min() >= 0 else ids.min()}; ids go from 0 to {self.vocabulary - 1}'
      )
    bounds = {
      'max_tokens': (0, math.inf),
      'temperature': (0, math.inf),
      'top_p': (0, 1),
      'top_logprobs': (0, TOP),
    }
    for name, (low, high) in bounds.items():
      if not (
        low <= getattr(request, name) <= high
        and (name == 'max_tokens' or math.isfinite(getattr(request, name)))
      ):
        span = f'at least {low}' if high == math.inf else f'from {low} to {high}'
        raise RequestError(f'{name}={getattr(request, name)} must be {span}')
    if '' in request.stop:
      raise RequestError('stop holds an empty string; leave it out')
    return Completion(
      request, self.tokenizer, self.stop_ids, min(request.max_tokens, self.max_length - n)
    )

  def token_text(self, token: int) -> str:
    """What log-probabilities call a token: its text, or a name of its own if it has none."""
    if token not in self._names:
      anchor = self.tokenizer.encode('.')[
        -1:
      ]  # some decoders drop the space before the first token of a text
      text = self.tokenizer.decode([*anchor, token])[len(self.tokenizer.decode(anchor)) :]
      self._names[token] = text if text and '\ufffd' not in text else f'<|token {token}|>'
    return self._names[token]

  def submit(self, request: Request) -> Completion:
    """Puts a request in the queue. Raises RequestError."""
    completion = self.completion(request)
    self.waiting.append(completion)
    return completion

  def cancel(self, completion: Completion) -> None:
    """Frees its row; it stays as far as it came."""
    if completion in self.waiting:
      self.waiting.remove(completion)
    self._rows = [None if r is completion else r for r in self._rows]

  def generate(self, requests: Sequence[Request]) -> list[Completion]:
    """Answers all, in their order. Raises RequestError."""
    completions = [self.completion(r) for r in requests]
    for _ in self._run(completions):
      pass
    return completions

  def stream(self, requests: Sequence[Request]) -> Iterator[tuple[int, Piece]]:
    """(index of the request, what came anew) as it comes. Raises RequestError. Leave it early, and nothing is made that nobody reads."""
    return self._run([self.completion(r) for r in requests])

  def _run(self, completions: list[Completion]) -> Iterator[tuple[int, Piece]]:
    index = {id(c): i for i, c in enumerate(completions)}
    self.waiting += completions
    try:
      while not all(c.finish_reason for c in completions):
        try:
          moved = self.round()
        except BaseException:
          self.reset()  # the cache may be lost
          raise
        yield from ((index[id(c)], piece) for c, piece in moved if id(c) in index)
    finally:
      for c in completions:
        self.cancel(c)

  def round(self) -> list[tuple[Completion, Piece]]:
    """Lets waiting requests in and makes some tokens in every row; returns what came anew."""
    with jax.set_mesh(self.mesh) if self.mesh else contextlib.nullcontext():
      self._admit()
      self._decode()
    moved = [r for r in self._rows if r]
    self._rows = [r if r and not r.finish_reason else None for r in self._rows]
    return [(c, piece) for c in moved if (piece := c.piece()) != ('', (), '')]

  # ---- rows come and go

  def _admit(self) -> None:
    live = [r for r in self._rows if r]
    joining = [
      self.waiting.popleft() for _ in range(min(self.max_rows - len(live), len(self.waiting)))
    ]
    if not (everyone := live + joining):
      return
    rows = self._bucket_rows(len(everyone))
    # room for the longest round, whatever rounds are just now: which programs a request meets doesn't depend on the clock
    slots = bucket(
      max(min(c.position + 1 + STEPS, len(c.request.prompt) + c.limit) for c in everyone),
      LEAST_SLOTS,
    )
    held = (len(self._rows), self._slots)
    if live:
      rows, slots = settled(rows, held[0]), settled(slots, held[1])
    if (rows, slots) != held:
      if live:
        source_R = np.zeros(rows, np.int32)
        source_R[: len(live)] = [n for n, r in enumerate(self._rows) if r]
        self._cache = arrange(self._cache, source_R, slots=slots, layout=self._layout)
      else:
        self._cache = fresh_cache(c=self.config, rows=rows, slots=slots, layout=self._layout)
      self._rows, self._slots = live + [None] * (rows - len(live)), slots
    free = [n for n, r in enumerate(self._rows) if r is None]
    places = {id(c): n for c, n in zip(joining, free, strict=False)}
    for c in joining:
      self._rows[places[id(c)]] = c
    self._read(joining, places)

  def _bucket_rows(self, n: int) -> int:
    return self._parts * bucket(-(-n // self._parts))

  def _read(self, joining: Sequence[Completion], places: dict[int, int]) -> None:
    """Prompts into the cache, but for their last tokens, which the first step takes."""

    def kind(c: Completion) -> tuple[int, bool]:
      return bucket(len(c.request.prompt) - 1, LEAST_PROMPT), c.request.echo

    for (T, scored), group in itertools.groupby(sorted(joining, key=kind), kind):
      for part in batched([c for c in group], max(1, PREFILL_TOKENS // T)):
        self._read_bucket(part, places, T, scored)
    for c in joining:
      if not c.limit:
        c.finish('length')

  def _read_bucket(
    self, part: Sequence[Completion], places: dict[int, int], T: int, scored: bool
  ) -> None:
    rows = self._bucket_rows(len(part))
    tokens_RT, targets_RT = np.zeros((2, rows, T), np.int32)
    into_R = np.full(rows, len(self._rows), np.int32)
    for n, c in enumerate(part):
      prompt = np.asarray(c.request.prompt, np.int32)
      tokens_RT[n, : len(prompt) - 1], targets_RT[n, : len(prompt) - 1], into_R[n] = (
        prompt[:-1],
        prompt[1:],
        places[id(c)],
      )
    cache, scores = prefill(
      self.params,
      tokens_RT,
      targets_RT,
      c=self.config,
      vocabulary=self.vocabulary,
      scored=scored,
      layout=self._layout,
    )
    self._cache = insert(self._cache, cache, into_R, layout=self._layout)
    if scored:
      logprobs_RT, ids_RTK, top_RTK = map(np.asarray, scores)
      for n, c in enumerate(part):
        size, k = len(c.request.prompt) - 1, c.request.top_logprobs
        self._check_finite(logprobs_RT[n, :size])
        rest = [
          (float(logprobs_RT[n, t]), pairs(ids_RTK[n, t, :k], top_RTK[n, t, :k]))
          for t in range(size)
        ]
        c.prompt_tokens = place_prompt(self.tokenizer, c.request.prompt, [(None, ()), *rest])

  # ---- tokens are made

  def _decode(self) -> None:
    live = [(n, r) for n, r in enumerate(self._rows) if r and not r.finish_reason]
    if not live:
      return
    R = len(self._rows)
    state = Rows(
      *(np.zeros(R, t) for t in (np.int32, np.int32, np.int32, np.uint32, np.float32, np.float32))
    )
    for n, c in live:
      r = c.request
      values = (
        c.last,
        c.position,
        c.limit - c.made,
        r.seed % 2**32,
        r.temperature,
        max(r.top_p, 1e-9),
      )
      for whole, value in zip(state, values, strict=True):
        whole[n] = value
    with_top = any(c.request.top_logprobs for _, c in live)
    began = time.monotonic()
    self._cache, made = decode(
      self.params, self._cache, state, np.int32(self._steps), np.bool_(with_top), c=self.config, vocabulary=self.vocabulary,
      stop_ids=self.stop_ids, layout=self._layout,
    )  # fmt: skip
    tokens_NR, logprobs_NR, *tops = jax.device_get(made if with_top else made[:2])
    done = int((tokens_NR >= 0).any(1).sum())
    self._steps = int(np.clip(ROUND_SECONDS * done / max(1e-9, time.monotonic() - began), 1, STEPS))
    for n, c in live:
      self._check_finite(logprobs_NR[tokens_NR[:, n] >= 0, n])
      k = c.request.top_logprobs
      for t in range(done):
        if tokens_NR[t, n] >= 0 and not c.finish_reason:
          c.add(
            int(tokens_NR[t, n]),
            float(logprobs_NR[t, n]),
            pairs(*(x[t, n, :k] for x in tops)) if k else (),
          )

  @staticmethod
  def _check_finite(logprobs: np.ndarray) -> None:
    if not np.isfinite(logprobs).all():
      raise SamplingError(
        'the model gives log-probabilities that are not finite; its training went wrong: delete that phase and lower its lr'
      )


def settled(wanted: int, held: int) -> int:
  """A size that grows at once, and shrinks when that is worth a copy of the cache."""
  return wanted if wanted > held or wanted * 4 <= held else held


def pairs(ids: np.ndarray, values: np.ndarray) -> tuple[tuple[int, float], ...]:
  return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def batched(items: list[Any], size: int) -> Iterator[list[Any]]:
  return (items[i : i + size] for i in range(0, len(items), size))
