"""What is asked of a model and what it says: a request, and its answer in the making, token by token into text."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from msm_jax.base.errors import UserError
from msm_jax.tokenizer import Tokenizer


class RequestError(UserError, ValueError):
  """A request that cannot be answered; one line with cause and mend."""


class TooLong(RequestError):
  """A prompt that leaves no room for an answer."""


@dataclasses.dataclass(frozen=True)
class Request:
  """A prompt and how to go on from it.

  Attributes:
    prompt: token ids.
    max_tokens: at most so many are made (fewer if the window ends); 0 scores the prompt alone.
    temperature: 0 takes the likeliest token.
    top_p: draws come from the smallest set of likeliest tokens that has this much probability (Holtzman et al. 2020).
    seed: with it the draws are always the same, whoever else is in the batch.
    stop: strings that end the text, which doesn't hold them.
    top_logprobs: so many likeliest alternatives come with every token.
    echo: log-probabilities of the prompt's tokens are wanted, too.
  """

  prompt: Sequence[int]
  max_tokens: int = 256
  temperature: float = 0.0
  top_p: float = 1.0
  seed: int = 0
  stop: tuple[str, ...] = ()
  top_logprobs: int = 0
  echo: bool = False


class Token(NamedTuple):
  """A token in its text.

  Attributes:
    logprob: in nats under the model itself (temperature 1, nothing left out); None for a prompt's first.
    top: (id, logprob) of the likeliest, best first.
    start: where in the text it begins.
  """

  id: int
  logprob: float | None
  top: tuple[tuple[int, float], ...]
  start: int


class Piece(NamedTuple):
  """What came anew; `finish_reason` is '' until the last piece: 'stop', 'length' or 'error' (the completion has the error)."""

  text: str
  tokens: tuple[Token, ...]
  finish_reason: str


class TextStream:
  """Token by token into text: what may be half a character waits for the rest. `before`: ids that the text follows."""

  def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()):
    self.decode, self.ids = tokenizer.decode, list(before)
    self.start, self.read = 0, len(self.ids)

  def feed(self, token: int) -> str:
    self.ids.append(token)
    text = self._new()
    if not text or text.endswith('\ufffd'):
      return ''
    self.start, self.read = self.read, len(self.ids)
    return text

  def flush(self) -> str:
    return self._new()

  def _new(self) -> str:
    # decoded with what stands before: a decoder may treat the first token of a text in its own way
    before = self.decode(self.ids[self.start : self.read])
    return self.decode(self.ids[self.start :])[len(before) :]


class Completion:
  """An answer in the making, and when finished: text, tokens (without what ended them), finish_reason.

  Attributes:
    made: tokens made, those included that a stop took away.
    limit: tokens that it may make.
    prompt_tokens: the prompt's, if the request asked for `echo`; they begin at negative places, the text at 0.
  """

  def __init__(self, request: Request, tokenizer: Tokenizer, stop_ids: Sequence[int], limit: int):
    self.request, self.limit, self.tokenizer = request, limit, tokenizer
    self.text, self.finish_reason = '', ''
    self.tokens: list[Token] = []
    self.prompt_tokens: list[Token] = []
    self.error: Exception | None = None
    self.made, self.last = 0, int(request.prompt[-1])
    self._stop_ids, self._stream = frozenset(stop_ids), TextStream(tokenizer, request.prompt[-8:])
    self._said = self._said_tokens = 0

  @property
  def position(self) -> int:
    """Of the last token, which no cache holds yet."""
    return len(self.request.prompt) - 1 + self.made

  def add(self, token: int, logprob: float, top: tuple[tuple[int, float], ...]) -> None:
    self.made, self.last = self.made + 1, token
    if token in self._stop_ids:
      self.finish('stop')
      return
    self.tokens.append(Token(token, logprob, top, len(self.text)))
    before = len(self.text)
    self.text += self._stream.feed(token)
    cuts = [
      at for s in self.request.stop if (at := self.text.find(s, max(0, before - len(s) + 1))) >= 0
    ]
    if cuts:
      self.text = self.text[: min(cuts)]
      self.tokens = [t for t in self.tokens if t.start < len(self.text)]
      self.finish_reason = 'stop'
    elif self.made == self.limit:
      self.finish('length')

  def finish(self, reason: str) -> None:
    self.text += self._stream.flush()
    self.finish_reason = reason

  def piece(self) -> Piece:
    """What nobody has been given yet, up to what may be the beginning of a stop."""
    end = len(self.text)
    if not self.finish_reason:
      end -= max(
        (k for s in self.request.stop for k in range(1, len(s)) if self.text.endswith(s[:k])),
        default=0,
      )
    known = len(self.tokens)
    while not self.finish_reason and known and self.tokens[known - 1].start >= end:
      known -= 1
    out = Piece(
      self.text[self._said : end], tuple(self.tokens[self._said_tokens : known]), self.finish_reason
    )
    self._said, self._said_tokens = max(self._said, end), max(self._said_tokens, known)
    return out


def seeds(seed: int, n: int) -> list[int]:
  """Seeds of n answers to one prompt; the first, or only, answer has the seed itself."""
  return [seed, *np.random.SeedSequence(seed % 2**64).generate_state(n).tolist()[1:]]


def place_prompt(
  tokenizer: Tokenizer,
  prompt: Sequence[int],
  scored: Sequence[tuple[float | None, tuple[tuple[int, float], ...]]],
) -> list[Token]:
  """A prompt's tokens with their places, counted back from where the answer begins."""
  stream, starts, at = TextStream(tokenizer), [], 0
  for token in prompt:
    starts.append(at)
    at += len(stream.feed(int(token)))
  return [
    Token(int(t), logprob, top, start - at)
    for t, start, (logprob, top) in zip(prompt, starts, scored, strict=True)
  ]
