"""The shapes of OpenAI's answers: whole answers, parts of a stream, and errors."""

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from msm_jax.inference.completion import Completion, Piece, Token
from msm_jax.inference.server.requests import ParsedRequest

Json = dict[str, Any]


def error_body(
  message: str, param: str | None = None, status: int = 400, code: str | None = None
) -> Json:
  """Returns the body of an error as OpenAI's clients expect it."""
  # Below 500 the request is at fault, from 500 on the server.
  kind = 'invalid_request_error' if status < 500 else 'server_error'
  return {'error': {'message': message, 'type': kind, 'param': param, 'code': code}}


def chat_logprobs(
  tokens: Sequence[Token],
  token_text: Callable[[int], str],
  token_bytes: Callable[[int], list[int]],
) -> Json:
  """Makes the log-probabilities of a chat answer.

  Args:
    tokens: the tokens of the answer, or of a part of it.
    token_text: gives the text of a token id.
    token_bytes: gives the bytes of a token id.

  Returns:
    The field `logprobs` of a choice.
  """

  def entry(token: int, logprob: float | None) -> Json:
    # Part of a character has bytes and a made-up text.
    return {'token': token_text(token), 'logprob': logprob, 'bytes': token_bytes(token)}

  content = []
  for t in tokens:
    item = entry(t.id, t.logprob)
    item['top_logprobs'] = [entry(token, logprob) for token, logprob in t.top]
    content.append(item)
  return {'content': content, 'refusal': None}


def completion_logprobs(
  tokens: Sequence[Token], token_text: Callable[[int], str], offset: int
) -> Json:
  """Makes the log-probabilities of a text completion.

  Args:
    tokens: the tokens of the answer, or of a part of it.
    token_text: gives the text of a token id.
    offset: characters of the text in front of the answer.

  Returns:
    The field `logprobs` of a choice.
  """
  top_logprobs: list[dict[str, float] | None] = []
  for t in tokens:
    top: dict[str, float] = {}
    for token, logprob in t.top:
      # Several ids may have one text; the likeliest comes first and stays.
      top.setdefault(token_text(token), logprob)
    if t.logprob is not None:
      # The token itself is always listed, even if it is not among the likeliest.
      top.setdefault(token_text(t.id), t.logprob)
    top_logprobs.append(top or None)
  return {
    'tokens': [token_text(t.id) for t in tokens],
    'token_logprobs': [t.logprob for t in tokens],
    'top_logprobs': top_logprobs,
    'text_offset': [max(0, t.start + offset) for t in tokens],
  }


def _stop_token_of(completion: Completion) -> list[Token]:
  """The stop token that ended an answer, which the log-probabilities of text completions list.

  Clients count on one entry for each token that was generated. lm-evaluation-harness asks for one
  token after the prompt and drops the last entry: without the stop token it would drop a token of
  the prompt.
  """
  if completion.stop_token is None:
    return []
  return [completion.stop_token]


class ResponseFormat:
  """Gives the answers to one HTTP request their shape.

  Args:
    parsed: the HTTP request.
    chat: whether it is a chat; otherwise it is a text completion.
    token_text: gives the text of a token id.
    token_bytes: gives the bytes of a token id.
  """

  def __init__(
    self,
    parsed: ParsedRequest,
    chat: bool,
    token_text: Callable[[int], str],
    token_bytes: Callable[[int], list[int]],
  ) -> None:
    self.parsed = parsed
    self.chat = chat
    self.token_text = token_text
    self.token_bytes = token_bytes
    prefix = 'chatcmpl' if chat else 'cmpl'
    self._header = {
      'id': f'{prefix}-{uuid.uuid4().hex}',
      'created': int(time.time()),
      'model': parsed.model,
    }

  def response(self, completions: Sequence[Completion]) -> Json:
    """Makes the whole answer.

    Args:
      completions: the finished completions, in the order of the requests.

    Returns:
      The body of the response.
    """
    choices = []
    for n, completion in enumerate(completions):
      tokens = [*completion.prompt_tokens, *completion.tokens]
      choice = self._choice(n, completion.finish_reason)
      if self.chat:
        choice['message'] = {
          'role': 'assistant',
          'refusal': None,
          'content': completion.text,
        }
        if self.parsed.logprobs:
          choice['logprobs'] = chat_logprobs(tokens, self.token_text, self.token_bytes)
      else:
        choice['text'] = self._echoed_prompt(n) + completion.text
        if self.parsed.logprobs:
          tokens += _stop_token_of(completion)
          choice['logprobs'] = self._completion_logprobs(n, tokens)
      choices.append(choice)
    kind = 'chat.completion' if self.chat else 'text_completion'
    return {**self._header, 'object': kind, 'choices': choices, 'usage': self._usage(completions)}

  def chunk(self, n: int, piece: Piece, completion: Completion, is_first: bool) -> Json:
    """Makes the part of a stream that reports what is new in one answer.

    Args:
      n: the number of the answer.
      piece: what is new in it.
      completion: the answer.
      is_first: whether nothing of this answer was reported before.

    Returns:
      The part.
    """
    tokens = list(piece.tokens)
    if is_first:
      tokens = [*completion.prompt_tokens, *tokens]
    choice = self._choice(n, piece.finish_reason)
    if self.chat:
      choice['delta'] = {'content': piece.text}
      if is_first:
        choice['delta'] = {'role': 'assistant', 'content': piece.text}
      # A part may hold text without tokens: the end of a character, or nothing but the end.
      if self.parsed.logprobs and tokens:
        choice['logprobs'] = chat_logprobs(tokens, self.token_text, self.token_bytes)
    else:
      before = self._echoed_prompt(n) if is_first else ''
      choice['text'] = before + piece.text
      if self.parsed.logprobs:
        if piece.finish_reason:
          tokens += _stop_token_of(completion)
        choice['logprobs'] = self._completion_logprobs(n, tokens)
    return self._chunk_with([choice])

  def usage_chunk(self, completions: Sequence[Completion]) -> Json:
    """Makes the last part of a stream, which holds the numbers of tokens and no answer."""
    return self._chunk_with([]) | {'usage': self._usage(completions)}

  def _chunk_with(self, choices: list[Json]) -> Json:
    kind = 'chat.completion.chunk' if self.chat else 'text_completion'
    chunk: Json = {**self._header, 'object': kind, 'choices': choices}
    if self.parsed.usage:
      # As OpenAI has it: null in every part but the last, which puts its numbers here.
      chunk['usage'] = None
    return chunk

  def _choice(self, n: int, finish_reason: str) -> Json:
    return {'index': n, 'finish_reason': finish_reason or None, 'logprobs': None}

  def _echoed_prompt(self, n: int) -> str:
    """Returns the text of the n-th answer's prompt, or '' if it is not to be repeated."""
    if not self.parsed.echo:
      return ''
    # The answers to one prompt stand together, and each prompt has as many.
    answers_per_prompt = len(self.parsed.requests) // len(self.parsed.prompts)
    return self.parsed.prompts[n // answers_per_prompt]

  def _completion_logprobs(self, n: int, tokens: Sequence[Token]) -> Json:
    return completion_logprobs(tokens, self.token_text, len(self._echoed_prompt(n)))

  def _usage(self, completions: Sequence[Completion]) -> dict[str, int]:
    """Counts tokens. A prompt counts once, however many answers it gets."""
    answers_per_prompt = len(completions) // len(self.parsed.prompts)
    prompt_tokens = sum(len(c.request.prompt) for c in completions[::answers_per_prompt])
    completion_tokens = sum(c.made for c in completions)
    return {
      'prompt_tokens': prompt_tokens,
      'completion_tokens': completion_tokens,
      'total_tokens': prompt_tokens + completion_tokens,
    }
