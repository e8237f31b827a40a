"""The sampler: many requests share the rows of one batch, and each is answered as if it were alone.

A `Sampler` works in rounds:

  1. Requests that wait take free rows. Their prompts are read into the cache up to the last token;
     prompts whose lengths round up to the same power of two are read together.
  2. Every row generates a few tokens in one compiled loop (`decoding.decode`).
  3. What is new in each answer is reported, and rows whose answers are finished become free.

`batch` holds the rows and calls the compiled programs of `decoding`; this module holds the queue.
"""

import collections
import math
import numbers
from collections.abc import Iterator, Sequence

import numpy as np

from msm_jax.base.checks import shown
from msm_jax.config import ModelConfig
from msm_jax.inference.batch import Batch, cast_params, use_mesh, usual_numbers
from msm_jax.inference.completion import (
  Completion,
  CompletionRequest,
  Piece,
  RequestError,
  TooLong,
)
from msm_jax.inference.decoding import MAX_TOP_LOGPROBS
from msm_jax.inference.token_bytes import token_bytes
from msm_jax.model import Params, split_layers
from msm_jax.tokenizer import Tokenizer

# The window of models that do not say what length they were trained for.
DEFAULT_LENGTH = 2048


class Sampler:
  """Answers requests with one set of parameters, which may be sharded.

  A sampler starts no thread, and only one thread may use it at a time.

  Args:
    config: settings of the model.
    params: its parameters.
    tokenizer: turns its tokens into text.
    max_length: tokens of a prompt with its answer (default: what the model was trained for).
    max_rows: requests that are answered at the same time; the others wait.
    stop_ids: tokens that end an answer (default: the tokenizer's).

  Attributes:
    waiting: completions that have no row yet, first come first served.
    vocabulary: the number of token ids that may be chosen.
    mesh: the mesh of the parameters, or None if they are not sharded.
  """

  def __init__(
    self,
    config: ModelConfig,
    params: Params,
    tokenizer: Tokenizer,
    max_length: int = 0,
    max_rows: int = 32,
    stop_ids: Sequence[int] | None = None,
  ) -> None:
    self.tokenizer = tokenizer
    self.max_length = max_length or config.max_length or DEFAULT_LENGTH
    self.max_rows = max_rows
    if stop_ids is None:
      stop_ids = tokenizer.stop_ids
    self.stop_ids = tuple(int(i) for i in stop_ids)
    # The embedding table may be larger than the tokenizer; ids beyond it have no text.
    highest_stop = max(self.stop_ids, default=0)
    self.vocabulary = min(max(tokenizer.vocab_size, highest_stop + 1), config.vocab_size)
    with usual_numbers():
      layers = split_layers(cast_params(config, params))
    self._batch = Batch(config, layers, self.vocabulary, self.stop_ids)
    self.mesh = self._batch.mesh
    self._token_texts: dict[int, str] = {}
    self._token_bytes: dict[int, list[int]] = {}
    self.waiting: collections.deque[Completion] = collections.deque()

  def reset(self) -> None:
    """Forgets every request, and the cache."""
    self.waiting.clear()
    self._batch.reset()

  @property
  def unfinished(self) -> list[Completion]:
    """The completions that have a row or wait for one."""
    return [*self._batch.active, *self.waiting]

  @property
  def busy(self) -> bool:
    """Whether there is anything to do for `round`."""
    return bool(self.unfinished)

  # ---- Requests come in.

  def new_completion(self, request: CompletionRequest) -> Completion:
    """Checks a request and makes its completion, without starting it.

    Args:
      request: the request.

    Returns:
      A completion that nothing has been generated for.

    Raises:
      RequestError: the request cannot be answered; TooLong if its prompt does not fit.
    """
    _check_range('max_tokens', request.max_tokens, 0, math.inf, whole=True)
    _check_range('temperature', request.temperature, 0, math.inf)
    _check_range('top_p', request.top_p, 0, 1)
    _check_range('seed', request.seed, -math.inf, math.inf, whole=True)
    _check_range('top_logprobs', request.top_logprobs, 0, MAX_TOP_LOGPROBS, whole=True)
    n = len(request.prompt)
    if not n:
      raise RequestError('the prompt is empty; give at least one token')
    # A prompt may fill the window completely only if nothing is to be generated after it.
    room_for_answer = 1 if request.max_tokens > 0 else 0
    if n + room_for_answer > self.max_length:
      raise TooLong(
        f'the prompt has {n} tokens, and with its answer it must fit into {self.max_length}; '
        'shorten it or raise max_length'
      )
    ids = np.asarray(request.prompt)
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= self.vocabulary:
      wrong = lowest if lowest < 0 else highest
      raise RequestError(f'the prompt holds token {wrong}; ids go from 0 to {self.vocabulary - 1}')
    if '' in request.stop:
      raise RequestError('stop holds an empty string; leave it out')
    # The answer ends with the window, however many tokens it asks for.
    # A small integer of NumPy would overflow in sums with the length of the prompt.
    limit = int(min(request.max_tokens, self.max_length - n))
    return Completion(request, self.tokenizer, self.stop_ids, limit)

  def submit(self, request: CompletionRequest) -> Completion:
    """Puts a request in the queue. Raises RequestError if it cannot be answered."""
    completion = self.new_completion(request)
    self.waiting.append(completion)
    return completion

  def cancel(self, completion: Completion) -> None:
    """Frees the row of a completion, which stays as it is. Finished ones are left alone."""
    if completion in self.waiting:
      self.waiting.remove(completion)
    self._batch.remove(completion)

  # ---- Whole answers.

  def generate(self, requests: Sequence[CompletionRequest]) -> list[Completion]:
    """Answers all requests, in their order. Raises RequestError before anything is generated."""
    # All requests are checked before the first one starts.
    completions = [self.new_completion(r) for r in requests]
    for _ in self._run(completions):
      pass
    return completions

  def stream(self, requests: Sequence[CompletionRequest]) -> Iterator[tuple[int, Piece]]:
    """Answers all requests, and reports the answers while they are generated.

    Whoever stops reading early closes the iterator, and nothing more is generated.

    Args:
      requests: the requests.

    Returns:
      An iterator over (index of the request, new part of its answer).

    Raises:
      RequestError: a request cannot be answered; at once, before anything is generated.
    """
    return self._run([self.new_completion(r) for r in requests])

  def _run(self, completions: list[Completion]) -> Iterator[tuple[int, Piece]]:
    index = {completion: n for n, completion in enumerate(completions)}
    self.waiting += completions
    try:
      while not all(c.finish_reason for c in completions):
        try:
          pieces = self.round()
        except BaseException:
          # The cache's memory was given away to the program that failed.
          self.reset()
          raise
        for completion, piece in pieces:
          # Requests of others may share the rounds; their pieces are not reported here.
          if completion in index:
            yield index[completion], piece
    finally:
      # This runs, too, when the reader of a stream stops early.
      for completion in completions:
        self.cancel(completion)

  def token_text(self, token: int) -> str:
    """Returns the text of a token, as lists of log-probabilities show it.

    Args:
      token: its id.

    Returns:
      Its text, or a made-up name if it has none of its own (control tokens, parts of characters).
    """
    if token not in self._token_texts:
      # Some decoders drop the space in front of a text, so another token stands before it.
      before = self.tokenizer.encode('.')[-1:]
      text = self.tokenizer.decode([*before, token])[len(self.tokenizer.decode(before)) :]
      # The sign for a broken character is also a character, and vocabularies have tokens of it.
      if not text or _is_broken(token_bytes(self.tokenizer, token)):
        text = _made_up_name(token)
      self._token_texts[token] = text
    return self._token_texts[token]

  def token_bytes(self, token: int) -> list[int]:
    """Returns the bytes of a token. Joined, those of an answer's tokens are its text.

    Args:
      token: its id.

    Returns:
      Its own bytes, if it is a part of a character or a token of bytes; else those of its text, of
      which a control token has none.
    """
    if token not in self._token_bytes:
      own = token_bytes(self.tokenizer, token)
      if own is None:
        text = self.token_text(token)
        own = b'' if text == _made_up_name(token) else text.encode()
      self._token_bytes[token] = list(own)
    return self._token_bytes[token]

  def round(self) -> list[tuple[Completion, Piece]]:
    """Gives rows to waiting requests, and generates some tokens in every row.

    Returns:
      The completions that moved on, with what is new in them.
    """
    # Requests are served in the order in which they came.
    free = self.max_rows - len(self._batch.active)
    joining: list[Completion] = []
    while self.waiting and len(joining) < free:
      joining.append(self.waiting.popleft())
    with use_mesh(self.mesh), usual_numbers():
      try:
        self._batch.admit(joining)
      except Exception:
        # There may be no memory for their rows. They wait again, so that whoever asks for the
        # unfinished finds them and tells those who sent them.
        active = self._batch.active
        self.waiting.extendleft(c for c in reversed(joining) if c not in active)
        raise
      self._batch.decode()
    # Finished completions still have their rows here, so that their last pieces are reported.
    active = self._batch.active
    moved = []
    for completion in active:
      if completion.finish_reason:
        self._batch.remove(completion)
      piece = completion.take_piece()
      if piece.text or piece.tokens or piece.finish_reason:
        moved.append((completion, piece))
    return moved


def _made_up_name(token: int) -> str:
  return f'<|token {token}|>'


def _is_broken(own: bytes | None) -> bool:
  """Whether the bytes of a token are no text, but a part of a character. None stands for a token
  whose text says everything."""
  if own is None:
    return False
  try:
    own.decode()
  except UnicodeDecodeError:
    return True
  return False


def _check_range(name: str, value: float, low: float, high: float, whole: bool = False) -> None:
  """Raises RequestError unless low <= value <= high.

  With `whole`, the value must be a whole number. Infinity is good for max_tokens alone.
  """
  is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
  if name == 'max_tokens' and is_number and value == math.inf:
    return
  if whole and not is_whole:
    raise RequestError(f'{name}={shown(value)} must be a whole number')
  if not is_number:
    raise RequestError(f'{name}={shown(value)} must be a number')
  # A whole number may be too large to be turned into a float.
  if low <= value <= high and (is_whole or math.isfinite(value)):
    return
  span = f'from {low} to {high}'
  if high == math.inf:
    span = f'at least {low}'
  raise RequestError(f'{name}={value} must be {span}')
