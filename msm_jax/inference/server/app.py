"""The ASGI application: its paths, its answers, and its errors.

Paths: /v1/models, /v1/models/NAME, /v1/chat/completions, /v1/completions and /health; and, as vLLM
has them, /tokenize, /detokenize and /tokenizer_info.
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from msm_jax.base.errors import DataError
from msm_jax.inference.completion import RequestError, TooLong
from msm_jax.inference.engine import Engine, EngineBusy, EngineClosed
from msm_jax.inference.server import tokenization
from msm_jax.inference.server.requests import InvalidRequest, parse_request
from msm_jax.inference.server.responses import ResponseFormat, error_body
from msm_jax.inference.server.stream import ClientDisconnected, GenerationFailed, ResponseStream

# Bytes of the longest body that is read.
MAX_BODY = 4 * 2**20
# The status of a request whose client is gone; nobody sees it (nginx introduced it).
CLIENT_CLOSED_REQUEST = 499

Handler = Callable[[HttpRequest], Awaitable[Response]]


async def read_json(request: HttpRequest) -> Any:
  """Reads the body of a request.

  Args:
    request: the HTTP request.

  Returns:
    The parsed JSON.

  Raises:
    InvalidRequest: the body is too long, or no JSON in UTF-8.
  """
  body = bytearray()
  async for chunk in request.stream():
    body += chunk
    # Checked for every chunk, so that a client cannot fill the memory.
    if len(body) > MAX_BODY:
      raise InvalidRequest(f'the body has more than {MAX_BODY} bytes', status=413)
  try:
    return json.loads(body.decode())
  except (ValueError, RecursionError) as e:
    # ValueError includes wrong UTF-8 and integers of too many digits.
    raise InvalidRequest(f'the body is not JSON ({type(e).__name__})') from None


async def error_response(request: HttpRequest, error: Exception) -> Response:
  """Makes the response for anything that a handler raised.

  Args:
    request: the HTTP request.
    error: what was raised.

  Returns:
    An error in OpenAI's form; its message is one line.
  """
  if isinstance(error, InvalidRequest):
    body = error_body(str(error), error.param, error.status, error.code)
    return JSONResponse(body, error.status)
  if isinstance(error, HTTPException):
    # Starlette raises it for a path or a method that does not exist.
    message = f'{request.method} {request.url.path}: {error.detail}'
    body = error_body(message, status=error.status_code)
    return JSONResponse(body, error.status_code, error.headers)
  if isinstance(error, (ClientDisconnected, ClientDisconnect)):
    return Response(status_code=CLIENT_CLOSED_REQUEST)
  status = _status_of(error)
  code = 'context_length_exceeded' if isinstance(error, TooLong) else None
  return JSONResponse(error_body(_one_line(error), None, status, code), status)


def _status_of(error: Exception) -> int:
  if isinstance(error, EngineBusy):
    return 429
  if isinstance(error, EngineClosed):
    return 503
  if isinstance(error, (RequestError, DataError)):
    return 400
  return 500


def _one_line(error: Exception) -> str:
  return ' '.join(str(error).split())


def _event(value: Any) -> str:
  """Returns a server-sent event that holds a JSON value."""
  return f'data: {json.dumps(value)}\n\n'


async def stream_events(
  response_format: ResponseFormat, stream: ResponseStream
) -> AsyncIterator[str]:
  """Writes the answers as server-sent events while they are generated.

  Args:
    response_format: gives the answers their shape.
    stream: the answers. It is closed in the end.

  Yields:
    One event for each new part of an answer, and '[DONE]' at the end. An error becomes an event,
    too, because the status of the response is sent by then.
  """
  begun: set[int] = set()
  try:
    async for n, piece in stream.pieces():
      is_first = n not in begun
      yield _event(response_format.chunk(n, piece, stream.completions[n], is_first))
      begun.add(n)
    if response_format.parsed.usage:
      yield _event(response_format.usage_chunk(stream.completions))
    yield 'data: [DONE]\n\n'
  except ClientDisconnected:
    pass
  except (GenerationFailed, EngineClosed) as e:
    yield _event(error_body(_one_line(e), status=500))
  finally:
    stream.close()


class _Handlers:
  """Answers HTTP requests with an engine."""

  def __init__(self, engine: Engine) -> None:
    self.engine = engine
    self._started = int(time.time())

  def _describe(self, model: str) -> dict[str, Any]:
    return {'id': model, 'object': 'model', 'created': self._started, 'owned_by': 'msm_jax'}

  async def health(self, request: HttpRequest) -> Response:
    if self.engine.alive:
      return JSONResponse({'status': 'ok'}, 200)
    return JSONResponse({'status': 'the engine has ended'}, 503)

  async def models(self, request: HttpRequest) -> Response:
    models = [self._describe(name) for name in self.engine.samplers]
    return JSONResponse({'object': 'list', 'data': models})

  async def model(self, request: HttpRequest) -> Response:
    name = request.path_params['model']
    if name not in self.engine.samplers:
      raise InvalidRequest(f'there is no model {name[:100]!r}', 'model', 404, 'model_not_found')
    return JSONResponse(self._describe(name))

  async def tokenizer_info(self, request: HttpRequest) -> Response:
    name = request.query_params.get('model')
    return JSONResponse(tokenization.describe(tokenization.sampler_of(name, self.engine.samplers)))

  async def tokenize(self, request: HttpRequest) -> Response:
    return await self._convert(request, tokenization.tokenize)

  async def detokenize(self, request: HttpRequest) -> Response:
    return await self._convert(request, tokenization.detokenize)

  async def _convert(self, request: HttpRequest, convert: Callable[..., Any]) -> Response:
    body = await read_json(request)
    if not isinstance(body, dict):
      raise InvalidRequest('the body must be a JSON object')
    # As in `_complete`, the event loop must go on meanwhile.
    return JSONResponse(await run_in_threadpool(convert, body, self.engine.samplers))

  async def chat_completions(self, request: HttpRequest) -> Response:
    return await self._complete(request, chat=True)

  async def completions(self, request: HttpRequest) -> Response:
    return await self._complete(request, chat=False)

  async def _complete(self, request: HttpRequest, chat: bool) -> Response:
    body = await read_json(request)
    # Tokenizing a long prompt takes a while, and the event loop must go on meanwhile.
    parsed = await run_in_threadpool(parse_request, body, self.engine.samplers, chat)
    sampler = self.engine.samplers[parsed.model]
    response_format = ResponseFormat(parsed, chat, sampler.token_text, sampler.token_bytes)
    stream = ResponseStream(self.engine, parsed, request.receive)
    if parsed.stream:
      return StreamingResponse(
        stream_events(response_format, stream),
        media_type='text/event-stream',
        headers={'cache-control': 'no-cache'},
      )
    try:
      # The pieces are not needed here: the completions hold the whole answers.
      async for _ in stream.pieces():
        pass
    finally:
      stream.close()
    return JSONResponse(response_format.response(stream.completions))


def make_app(engine: Engine) -> Starlette:
  """Makes the ASGI application.

  Args:
    engine: answers the requests. The caller closes it.

  Returns:
    The application.
  """
  handlers = _Handlers(engine)
  routes = [
    Route('/health', handlers.health),
    Route('/v1/models', handlers.models),
    Route('/v1/models/{model:path}', handlers.model),
    Route('/tokenizer_info', handlers.tokenizer_info),
    Route('/tokenize', handlers.tokenize, methods=['POST']),
    Route('/detokenize', handlers.detokenize, methods=['POST']),
    Route('/v1/chat/completions', handlers.chat_completions, methods=['POST']),
    Route('/v1/completions', handlers.completions, methods=['POST']),
  ]
  # Starlette looks for the class of an error, then for its base classes. What only `Exception`
  # matches is answered, but also raised again and logged as a crash; so the others are listed.
  handled: list[type[Exception]] = [
    InvalidRequest,
    RequestError,
    DataError,
    ClientDisconnected,
    GenerationFailed,
    ClientDisconnect,
    HTTPException,
    Exception,
  ]
  return Starlette(routes=routes, exception_handlers=dict.fromkeys(handled, error_response))
