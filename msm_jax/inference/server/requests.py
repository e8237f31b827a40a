"""Reads the body of an HTTP request: OpenAI's fields become requests to a sampler.

A field is either honoured, or known to change no answer, or refused by name. So no client gets an
answer that silently ignores what it asked for.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msm_jax.inference.completion import CompletionRequest, seeds
from msm_jax.inference.decoding import MAX_TOP_LOGPROBS
from msm_jax.inference.sampling import Sampler
from msm_jax.inference.server.fields import (
  Body,
  InvalidRequest,
  check_text,
  read_flag,
  read_integer,
  read_messages,
  read_number,
  read_prompts,
  read_stops,
)
from msm_jax.tokenizer import Tokenizer

# The largest number of answers to one HTTP request.
MAX_CHOICES = 128
# The largest integer that is taken where there is no other bound.
MAX_INTEGER = 2**63 - 1
# Tokens of a text completion, if the client does not say; OpenAI's default.
DEFAULT_COMPLETION_TOKENS = 16

# Fields that change no answer.
NEUTRAL = frozenset(
  [
    'user',
    'metadata',
    'store',
    'service_tier',
    'safety_identifier',
    'prompt_cache_key',
    'prompt_cache_options',
    'prompt_cache_retention',
    'parallel_tool_calls',
  ]
)
# Fields that are not honoured, with the values that ask for nothing. Others are refused.
FIXED: dict[str, Sequence[Any]] = {
  'frequency_penalty': (0,),
  'presence_penalty': (0,),
  'logit_bias': ({},),
  'tools': ([],),
  'functions': ([],),
  'tool_choice': ('none', 'auto'),
  'response_format': ({'type': 'text'},),
  'suffix': ('',),
  'best_of': (1,),
  'modalities': (['text'],),
  'function_call': ('none', 'auto'),
  'reasoning_effort': ('none',),
  'verbosity': (),
  'audio': (),
  'prediction': (),
  'moderation': (),
  'web_search_options': (),
}
# What `stream_options` may hold. The second hides from others on the line how long parts are.
STREAM_OPTIONS = ('include_usage', 'include_obfuscation')
# Fields of both endpoints, of chats alone, and of text completions alone.
SHARED = frozenset(
  [
    'model',
    'max_tokens',
    'temperature',
    'top_p',
    'n',
    'stop',
    'seed',
    'stream',
    'stream_options',
    'logprobs',
  ]
)
CHAT_ONLY = frozenset(['messages', 'max_completion_tokens', 'top_logprobs'])
TEXT_ONLY = frozenset(['prompt', 'echo'])
# All fields of the two endpoints. Clients that write out their whole schema send null for what they
# do not ask for.
OF_OPENAI = SHARED | CHAT_ONLY | TEXT_ONLY | NEUTRAL | FIXED.keys()


class ParsedRequest(NamedTuple):
  """One HTTP request after it was checked.

  Attributes:
    model: the name of the model.
    requests: `n` requests for each prompt, in order.
    prompts: one text for each prompt. A text completion with `echo` repeats it.
    stream: whether the answers are sent while they are generated.
    usage: whether a stream ends with the numbers of tokens.
    echo: whether answers begin with their prompts.
    logprobs: whether log-probabilities are reported.
  """

  model: str
  requests: list[CompletionRequest]
  prompts: list[str]
  stream: bool
  usage: bool
  echo: bool
  logprobs: bool


def _check_fields(body: Body, known: frozenset[str], n: int) -> None:
  """Raises InvalidRequest for a field that is not known, or that asks for what is not done."""
  for name, value in body.items():
    if value is None and name in OF_OPENAI:
      continue
    if name in FIXED:
      # best_of=n asks for nothing, either: all n answers are returned.
      asks_for_nothing = value in FIXED[name] or (name, value) == ('best_of', n)
      if not asks_for_nothing:
        raise InvalidRequest(
          f'{name}={json.dumps(value)[:100]} is not done here; leave it out', name
        )
    elif name not in known and name not in NEUTRAL:
      # The message names it, so it must be a text that can be sent.
      check_text(name, 'the name of a field')
      raise InvalidRequest(f'{name[:100]} is not known here; leave it out', name[:100])


def _read_stream_options(body: Body) -> bool:
  """Returns whether a stream ends with the numbers of tokens. Raises InvalidRequest."""
  options = body.get('stream_options')
  if not isinstance(options, dict | None):
    raise InvalidRequest('stream_options must be an object', 'stream_options')
  for name, value in (options or {}).items():
    if name not in STREAM_OPTIONS and value not in (None, False):
      check_text(name, 'the name of a field')
      raise InvalidRequest(
        f'stream_options.{name[:100]} is not known here; leave it out', 'stream_options'
      )
  return read_flag(options or {}, 'include_usage')


class _Prompts(NamedTuple):
  """The fields in which the two endpoints differ.

  Attributes:
    ids: the token ids of each prompt.
    texts: the text of each prompt; '' where it was given as token ids, and for chats.
    max_tokens: the largest number of tokens of an answer.
    logprobs: whether log-probabilities are reported.
    top_logprobs: the number of alternatives that are reported with each token.
  """

  ids: list[list[int]]
  texts: list[str]
  max_tokens: int
  logprobs: bool
  top_logprobs: int


def _read_chat(body: Body, tokenizer: Tokenizer) -> _Prompts:
  logprobs = read_flag(body, 'logprobs')
  top_logprobs = read_integer(body, 'top_logprobs', 0, 0, MAX_TOP_LOGPROBS)
  if top_logprobs and not logprobs:
    raise InvalidRequest('top_logprobs needs logprobs=true', 'top_logprobs')
  # `max_tokens` is the older name of the field.
  max_tokens = read_integer(body, 'max_tokens', MAX_INTEGER, 1, MAX_INTEGER)
  max_tokens = read_integer(body, 'max_completion_tokens', max_tokens, 1, MAX_INTEGER)
  ids = tokenizer.prompt(read_messages(body.get('messages'))).tolist()
  return _Prompts([ids], [''], max_tokens, logprobs, top_logprobs)


def _read_text_completion(body: Body, tokenizer: Tokenizer, n: int) -> _Prompts:
  # Here `logprobs` is the number of alternatives; without it, nothing is reported.
  top_logprobs = read_integer(body, 'logprobs', -1, 0, MAX_TOP_LOGPROBS)
  max_tokens = read_integer(body, 'max_tokens', DEFAULT_COMPLETION_TOKENS, 0, MAX_INTEGER)
  prompts = read_prompts(body.get('prompt'))
  # Each answer takes a place in the engine, so one client must not take them all. Asked before the
  # prompts become tokens: a body has room for a million of them.
  if len(prompts) * n > MAX_CHOICES:
    raise InvalidRequest(
      f'{len(prompts)} prompts with n={n} ask for more than {MAX_CHOICES} answers; '
      'send several requests',
      'n',
    )
  ids = []
  texts = []
  for prompt in prompts:
    if isinstance(prompt, str):
      ids.append([*tokenizer.document_start, *tokenizer.encode(prompt)])
      texts.append(prompt)
    else:
      ids.append(prompt)
      texts.append('')
  return _Prompts(ids, texts, max_tokens, top_logprobs >= 0, max(0, top_logprobs))


def parse_request(body: Any, samplers: Mapping[str, Sampler], chat: bool) -> ParsedRequest:
  """Checks the body of an HTTP request and makes the requests that it asks for.

  Args:
    body: the parsed JSON.
    samplers: name of a model -> its sampler.
    chat: whether the body belongs to /v1/chat/completions; otherwise to /v1/completions.

  Returns:
    The requests, and how their answers are sent.

  Raises:
    InvalidRequest: a field is wrong.
    RequestError: the model cannot answer the request.
    DataError: the chat template of the model refuses the messages.
  """
  if not isinstance(body, dict):
    raise InvalidRequest('the body must be a JSON object')
  # `n` comes first, because what is allowed for `best_of` depends on it.
  n = read_integer(body, 'n', 1, 1, MAX_CHOICES)
  _check_fields(body, SHARED | (CHAT_ONLY if chat else TEXT_ONLY), n)
  model = check_text(body.get('model'), 'model')
  if model not in samplers:
    known = ', '.join(samplers)
    raise InvalidRequest(
      f'there is no model {model[:100]!r}; there are {known}', 'model', 404, 'model_not_found'
    )
  sampler = samplers[model]
  stop = read_stops(body)
  usage = _read_stream_options(body)
  if chat:
    prompts = _read_chat(body, sampler.tokenizer)
    echo = False
  else:
    prompts = _read_text_completion(body, sampler.tokenizer, n)
    echo = read_flag(body, 'echo')
  temperature = read_number(body, 'temperature', 1.0, 0, 100)
  top_p = read_number(body, 'top_p', 1.0, 0, 1)

  requests = []
  for ids in prompts.ids:
    # Without a seed, a client expects different answers every time. With one for all prompts, equal
    # prompts of a request would get equal answers.
    random_seed = int.from_bytes(os.urandom(4))
    seed = read_integer(body, 'seed', random_seed, -MAX_INTEGER - 1, MAX_INTEGER)
    for answer_seed in seeds(seed, n):
      request = CompletionRequest(
        prompt=ids,
        max_tokens=prompts.max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=answer_seed,
        stop=stop,
        top_logprobs=prompts.top_logprobs,
        echo=echo and prompts.logprobs,
      )
      requests.append(request)
  # The answers to one prompt differ in their seeds only, so one of them is checked.
  for request in requests[::n]:
    sampler.new_completion(request)
  # Prompts that came as token ids are repeated as text.
  texts = prompts.texts
  if echo:
    texts = []
    for text, ids in zip(prompts.texts, prompts.ids, strict=True):
      texts.append(text or sampler.tokenizer.decode(ids))
  return ParsedRequest(
    model=model,
    requests=requests,
    prompts=texts,
    stream=read_flag(body, 'stream'),
    usage=usage,
    echo=echo,
    logprobs=prompts.logprobs,
  )
