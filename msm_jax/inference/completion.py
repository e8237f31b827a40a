"""One request to a model, and its answer while it is generated.

A `CompletionRequest` says what to generate. A `Completion` receives the tokens that the sampler
draws, turns them into text, finds stop strings, and reports what is new as `Piece`s. Nothing here
touches a device.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from msm_jax.base.errors import UserError
from msm_jax.tokenizer import Tokenizer

# The likeliest tokens at one position: (id, log-probability in nats), best first.
TopLogprobs = tuple[tuple[int, float], ...]

# Decoders write this character for bytes that are not (yet) valid UTF-8.
REPLACEMENT = '\ufffd'

# As many tokens of the prompt are decoded before an answer, because the text of a token may depend
# on the tokens in front of it.
CONTEXT_TOKENS = 8
# The most tokens of a character that is not whole: UTF-8 has at most four bytes a character.
MAX_HALF_TOKENS = 3


class RequestError(UserError, ValueError):
  """A request that cannot be answered."""


class TooLong(RequestError):
  """A prompt that leaves no room for an answer."""


@dataclasses.dataclass(frozen=True)
class CompletionRequest:
  """A prompt and the settings of its continuation.

  Attributes:
    prompt: token ids.
    max_tokens: the largest number of tokens to generate. Fewer are generated if the model's window
      ends first; 0 only scores the prompt.
    temperature: logits are divided by it before a token is drawn; 0 takes the likeliest token.
    top_p: tokens are drawn from the smallest set of likeliest tokens that has this probability
      (Holtzman et al. 2020).
    seed: requests with the same seed draw the same tokens, whatever else is in the batch.
    stop: strings that end the text. The text does not include them.
    top_logprobs: the number of likeliest alternatives that are reported with every token.
    echo: whether log-probabilities of the prompt's tokens are reported, too.
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
  """A token with its log-probability and its place in the text.

  Attributes:
    id: the token id.
    logprob: log-probability in nats under the model itself (temperature 1, no token left out);
      None for the first token of a prompt.
    top: the likeliest tokens at this position, best first.
    start: the offset in the text, in characters, at which the token begins.
  """

  id: int
  logprob: float | None
  top: TopLogprobs
  start: int


class Piece(NamedTuple):
  """The part of an answer that has not been reported before.

  Attributes:
    text: the new text.
    tokens: the new tokens.
    finish_reason: '' until the last piece, which has 'stop', 'length' or 'error'. The error itself
      is in `Completion.error`.
  """

  text: str
  tokens: tuple[Token, ...]
  finish_reason: str


class TextStream:
  """Decodes tokens one at a time. Text that ends in half a character waits for the rest of it.

  Args:
    tokenizer: decodes the tokens.
    before: ids of the tokens in front of the text. They are not part of the text.
  """

  def __init__(self, tokenizer: Tokenizer, before: Sequence[int] = ()):
    self.decode = tokenizer.decode
    # The last ones suffice.
    self.ids = list(before[-CONTEXT_TOKENS:])
    # ids[start:read] is context that was decoded before; ids[read:] has no text yet.
    self.start, self.read = self._whole_characters(is_cut=len(before) > CONTEXT_TOKENS)
    # What is decoded of a character that begins in `before` and is not whole there. It is no part
    # of the text, but the whole character is.
    self._half = ''
    self._half = self._unread_text()

  def feed(self, token: int) -> str:
    """Adds a token.

    Args:
      token: its id.

    Returns:
      The text that is complete now, without what was returned before. It may be ''.
    """
    self.ids.append(token)
    if self._wait_goes_on(token):
      return ''
    text = self._unread_text()
    if not text or text.endswith(REPLACEMENT):
      return ''
    self.start = self.read
    self.read = len(self.ids)
    self._half = ''
    return text

  def flush(self) -> str:
    """Returns the text of the tokens that still wait, complete or not."""
    return self._unread_text()

  def _wait_goes_on(self, token: int) -> bool:
    """Whether a few tokens show that nothing of a long run of waiting tokens is complete yet.

    Without this, a run of bytes that are no text, or of control symbols, would be decoded again for
    each of its tokens.

    Args:
      token: the last one.

    Returns:
      True if the tokens go on waiting; False if all of them must be decoded to find out.
    """
    if len(self.ids) - self.read <= CONTEXT_TOKENS:
      return False
    # A control symbol has no text. Some decoders drop the first space of a text, so a space shows
    # only if it stands there twice.
    if not self.decode([token, token]):
      return True
    # The end of the last character shows without the tokens far in front of it.
    return self.decode(self.ids[-CONTEXT_TOKENS:]).endswith(REPLACEMENT)

  def _unread_text(self) -> str:
    # The new tokens are decoded together with those in front of them, because some decoders treat
    # the first token of a text in their own way (they drop its space).
    context = self.decode(self.ids[self.start : self.read])
    text = self.decode(self.ids[self.start :])[len(context) :]
    if text.startswith(self._half):
      return text[len(self._half) :]
    # The character is whole now. A token may have whole ones in front of it, which are known.
    return text[len(self._half.rstrip(REPLACEMENT)) :]

  def _whole_characters(self, is_cut: bool) -> tuple[int, int]:
    """Finds which of the ids are whole characters: (first, end).

    Some decoders turn all bytes of a run into replacements if one of its characters is not whole.

    Args:
      is_cut: whether there are ids in front, so that these may begin within a character.

    Returns:
      The number of the first one and of the one after the last; all if there are no such ids.
    """
    n = len(self.ids)
    starts = range(MAX_HALF_TOKENS + 1 if is_cut else 1)
    for end in range(n, max(0, n - MAX_HALF_TOKENS) - 1, -1):
      for start in starts:
        text = self.decode(self.ids[start:end])
        begins_within = is_cut and text.startswith(REPLACEMENT)
        if not begins_within and not text.endswith(REPLACEMENT):
          return start, end
    return 0, n


class Completion:
  """The answer to one request, while it is generated and when it is finished.

  Attributes:
    request: the request that is answered.
    text: the answer so far, up to a stop string.
    tokens: the tokens of the text, without the ones that ended it.
    finish_reason: '' while the answer is generated; then 'stop', 'length' or 'error'.
    error: the exception, if finish_reason is 'error'.
    made: the number of generated tokens, including those that a stop string removed.
    limit: the largest number of tokens to generate.
    last_token: the last token of prompt and answer. The cache does not hold it yet.
    stop_token: the stop token that ended the answer, which has no text; None if none did.
    prompt_tokens: the prompt's tokens, if the request asked for `echo`. Their offsets are negative,
      because the text begins at 0.
  """

  def __init__(
    self, request: CompletionRequest, tokenizer: Tokenizer, stop_ids: Sequence[int], limit: int
  ) -> None:
    self.request = request
    self.limit = limit
    self.text = ''
    self.tokens: list[Token] = []
    self.prompt_tokens: list[Token] = []
    self.finish_reason = ''
    self.error: Exception | None = None
    self.made = 0
    self.last_token = int(request.prompt[-1])
    self.stop_token: Token | None = None
    self._tokenizer = tokenizer
    # A set, because it is asked for every token.
    self._stop_ids = frozenset(stop_ids)
    self._stream = TextStream(tokenizer, request.prompt)
    # How many characters and tokens `take_piece` has reported.
    self._reported_chars = 0
    self._reported_tokens = 0

  @property
  def position(self) -> int:
    """The position of `last_token` in the sequence."""
    return len(self.request.prompt) - 1 + self.made

  def add(self, token: int, logprob: float, top: TopLogprobs) -> None:
    """Takes the next token, and finishes the answer if that token ends it.

    Args:
      token: its id.
      logprob: its log-probability in nats.
      top: the likeliest tokens at its position.
    """
    self.made += 1
    self.last_token = token
    if token in self._stop_ids:
      # A stop token has no text, and it is not listed among the tokens.
      self.finish('stop')
      self.stop_token = Token(token, logprob, top, len(self.text))
      return
    self.tokens.append(Token(token, logprob, top, len(self.text)))
    self._add_text(self._stream.feed(token))
    if self.made == self.limit and not self.finish_reason:
      self.finish('length')

  def score_prompt(self, scores: Sequence[tuple[float, TopLogprobs]]) -> None:
    """Takes the scores of the prompt's tokens, and finds the offsets of these tokens in the text.

    Args:
      scores: the log-probability and the likeliest tokens for each token but the first, which
        nothing predicts.
    """
    prompt = [int(token) for token in self.request.prompt]
    stream = TextStream(self._tokenizer)
    starts = []
    length = 0
    for token in prompt:
      starts.append(length)
      length += len(stream.feed(token))
    # The text that a server repeats also holds what there is of a character that is not whole.
    length += len(stream.flush())
    self.prompt_tokens = [Token(prompt[0], None, (), starts[0] - length)]
    for token, start, (logprob, top) in zip(prompt[1:], starts[1:], scores, strict=True):
      self.prompt_tokens.append(Token(token, logprob, top, start - length))

  def finish(self, reason: str) -> None:
    """Ends the answer with a finish_reason; half a character that still waits joins the text."""
    # The token of half a character may have whole ones too, and a stop string among them.
    self._add_text(self._stream.flush())
    self.finish_reason = self.finish_reason or reason

  def take_piece(self) -> Piece:
    """Reports what is new since the last call.

    Text that could be the beginning of a stop string is held back until the answer goes on.

    Returns:
      The new text and tokens. They are empty if nothing is new.
    """
    end = len(self.text)
    tokens = len(self.tokens)
    if not self.finish_reason:
      end -= self._possible_stop_length()
      # A token is reported together with its text, so one that waits for its text is held back.
      while tokens and self.tokens[tokens - 1].start >= end:
        tokens -= 1
    new_tokens = tuple(self.tokens[self._reported_tokens : tokens])
    piece = Piece(self.text[self._reported_chars : end], new_tokens, self.finish_reason)
    self._reported_chars = max(self._reported_chars, end)
    self._reported_tokens = max(self._reported_tokens, tokens)
    return piece

  def _add_text(self, new: str) -> None:
    """Adds to the text, and finishes the answer at a stop string."""
    old_length = len(self.text)
    self.text += new
    cut = self._find_stop(old_length)
    if cut is not None:
      self.text = self.text[:cut]
      # A token that began before the stop string stays, even if part of its text is cut.
      self.tokens = [t for t in self.tokens if t.start < cut]
      self.finish_reason = 'stop'

  def _find_stop(self, old_length: int) -> int | None:
    """Returns where the first stop string begins; only text after `old_length` is new."""
    cuts = []
    for stop in self.request.stop:
      # A stop string may begin in the old text, but at least its last character is new.
      at = self.text.find(stop, max(0, old_length - len(stop) + 1))
      if at >= 0:
        cuts.append(at)
    return min(cuts, default=None)

  def _possible_stop_length(self) -> int:
    """Returns the length of the longest end of the text that could begin a stop string."""
    longest = 0
    for stop in self.request.stop:
      for length in range(1, len(stop)):
        if self.text.endswith(stop[:length]):
          longest = max(longest, length)
    return longest


def seeds(seed: int, n: int) -> list[int]:
  """Returns seeds for n answers to one prompt; the first answer has the seed itself."""
  # SeedSequence mixes the bits, so neighbouring seeds do not share draws: seed + 1 would.
  others = np.random.SeedSequence(seed % 2**64).generate_state(n).tolist()[1:]
  return [seed, *others]
