"""python -m msm_jax.serve --workdir=runs/cheese --arm=msm_aft[,aft] | --weights=FOLDER [--host=127.0.0.1 --port=8000 --max_batch=32]

OpenAI-compatible: /v1/models, /v1/chat/completions, /v1/completions; and /health. What is asked is either done, or known to change no answer, or
refused by name.
"""

import asyncio
import ipaddress
import json
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msm_jax.base import command
from msm_jax.base.errors import ConfigError, DataError
from msm_jax.inference.arguments import add_model_arguments

GRACE = 3  # seconds that open answers have left when the server is told to end
MAX_BODY = 4 * 2**20  # bytes
MAX_CHOICES = 128  # answers to one HTTP request
MAX_STOPS, MAX_STOP = 16, 1024  # strings, characters
INTEGER = 2**63 - 1
ROLES = {'system': 'system', 'developer': 'system', 'user': 'user', 'assistant': 'assistant'}
# Fields that change no answer, and those that must hold just this (or nothing), because no other value is done here.
NEUTRAL = frozenset(
  'user metadata store service_tier safety_identifier prompt_cache_key parallel_tool_calls'.split()
)
FIXED: dict[str, Sequence[Any]] = {
  'frequency_penalty': (0,), 'presence_penalty': (0,), 'logit_bias': ({},), 'tools': ([],), 'functions': ([],), 'tool_choice': ('none', 'auto'),
  'response_format': ({'type': 'text'},), 'suffix': ('',), 'best_of': (1,), 'modalities': (['text'],),
}  # fmt: skip
SHARED = frozenset(
  'model max_tokens temperature top_p n stop seed stream stream_options logprobs'.split()
)


class Refused(ValueError):
  """A request that gets an error with this status."""

  def __init__(
    self, message: str, param: str | None = None, status: int = 400, code: str | None = None
  ):
    super().__init__(message)
    self.status, self.param, self.code = status, param, code


def error_body(
  message: str, param: str | None = None, status: int = 400, code: str | None = None
) -> dict[str, Any]:
  kind = 'invalid_request_error' if status < 500 else 'server_error'
  return {'error': {'message': message, 'type': kind, 'param': param, 'code': code}}


# ----------------------------------------------------------------------------------------------------------------- what is asked


def number(
  body: Mapping[str, Any], name: str, default: float, low: float, high: float, whole: bool = False
) -> Any:
  value = body.get(name)
  if value is None:
    return default
  kinds = int if whole else (int, float)
  if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
    raise Refused(
      f'{name} must be {"an integer" if whole else "a number"} from {low:g} to {high:g}', name
    )
  return value


def flag(body: Mapping[str, Any], name: str) -> bool:
  value = body.get(name)
  if not isinstance(value, bool | None):
    raise Refused(f'{name} must be true or false', name)
  return bool(value)


def text(value: Any, name: str) -> str:
  if not isinstance(value, str):
    raise Refused(f'{name} must be a string', name)
  try:
    value.encode()
  except UnicodeEncodeError:
    raise Refused(
      f'{name} holds half a character (a lone surrogate), which no UTF-8 text has', name
    ) from None
  return value


def messages(value: Any) -> list[tuple[str, str]]:
  if not isinstance(value, list) or not value:
    raise Refused('messages must be a list with at least one {role, content}', 'messages')
  out = []
  for n, message in enumerate(value):
    where = f'messages[{n}]'
    if not isinstance(message, dict):
      raise Refused(f'{where} must be an object with role and content', where)
    role, content = message.get('role'), message.get('content')
    if not isinstance(role, str) or role not in ROLES:
      raise Refused(f'{where}.role must be one of {", ".join(ROLES)}', f'{where}.role')
    if isinstance(content, list):
      parts = [
        p.get('text') if isinstance(p, dict) and p.get('type') == 'text' else None for p in content
      ]
      content = '\n'.join(
        text(p, f'{where}.content[{k}] (only text is understood)') for k, p in enumerate(parts)
      )
    if message.get('tool_calls'):
      raise Refused(f'{where}.tool_calls: no tools are called here', f'{where}.tool_calls')
    out.append((ROLES[role], text(content, f'{where}.content')))
  return out


def prompts(value: Any) -> list[str | list[int]]:
  """One text or several, or one list of token ids or several."""

  def is_ids(x: Any) -> bool:
    return (
      isinstance(x, list)
      and bool(x)
      and all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**31 for i in x)
    )

  several = value if isinstance(value, list) and value and not is_ids(value) else [value]
  for n, prompt in enumerate(several):
    if not is_ids(prompt):
      text(prompt, f'prompt[{n}]' if len(several) > 1 else 'prompt')
  return several


class Asked(NamedTuple):
  """One HTTP request, understood. `prompts`: the texts that completions echo; `requests`: `n` for each of them, in order."""

  model: str
  requests: list[Any]
  prompts: list[str]
  stream: bool
  usage: bool  # at the end of a stream
  echo: bool
  logprobs: bool


def understand(body: Any, samplers: Mapping[str, Any], chat: bool) -> Asked:
  """Raises Refused, RequestError or DataError (of a chat template) for what cannot be done."""
  from msm_jax.inference.completion import Request, seeds
  from msm_jax.inference.sampling import TOP

  if not isinstance(body, dict):
    raise Refused('the body must be a JSON object')
  known = SHARED | (
    {'messages', 'max_completion_tokens', 'top_logprobs'} if chat else {'prompt', 'echo'}
  )
  n = number(body, 'n', 1, 1, MAX_CHOICES, whole=True)
  for name, value in body.items():
    if name in FIXED:
      if value is not None and value not in FIXED[name] and (name, value) != ('best_of', n):
        raise Refused(f'{name}={json.dumps(value)[:100]} is not done here; leave it out', name)
    elif name not in known and name not in NEUTRAL:
      raise Refused(f'{name[:100]} is not known here; leave it out', name[:100])
  model = text(body.get('model'), 'model')
  if model not in samplers:
    raise Refused(
      f'there is no model {model[:100]!r}; there are {", ".join(samplers)}',
      'model',
      404,
      'model_not_found',
    )
  tokenizer = samplers[model].tokenizer

  stop = body.get('stop')
  stop = [] if stop is None else [stop] if isinstance(stop, str) else stop
  if (
    not isinstance(stop, list)
    or len(stop) > MAX_STOPS
    or any(not text(s, 'stop') or len(s) > MAX_STOP for s in stop)
  ):
    raise Refused(
      f'stop must be a string or a list of at most {MAX_STOPS}, none empty or longer than {MAX_STOP} characters',
      'stop',
    )
  options = body.get('stream_options')
  if not isinstance(options, dict | None):
    raise Refused('stream_options must be an object', 'stream_options')
  if chat:
    wanted, top = flag(body, 'logprobs'), number(body, 'top_logprobs', 0, 0, TOP, whole=True)
    if top and not wanted:
      raise Refused('top_logprobs needs logprobs=true', 'top_logprobs')
    limit = number(
      body,
      'max_completion_tokens',
      number(body, 'max_tokens', INTEGER, 1, INTEGER, whole=True),
      1,
      INTEGER,
      whole=True,
    )
    ids, said = [tokenizer.prompt(messages(body.get('messages'))).tolist()], ['']
  else:
    top = number(body, 'logprobs', -1, 0, TOP, whole=True)
    wanted, top = top >= 0, max(0, top)
    limit = number(body, 'max_tokens', 16, 0, INTEGER, whole=True)
    asked = prompts(body.get('prompt'))
    ids = [
      [*tokenizer.document_start, *tokenizer.encode(p)] if isinstance(p, str) else p for p in asked
    ]
    said = [p if isinstance(p, str) else '' for p in asked]
  echo = not chat and flag(body, 'echo')
  if len(ids) * n > MAX_CHOICES:
    raise Refused(
      f'{len(ids)} prompts with n={n} ask for more than {MAX_CHOICES} answers; send several requests',
      'n',
    )
  seed = number(body, 'seed', int.from_bytes(os.urandom(4)), -INTEGER - 1, INTEGER, whole=True)
  settings = dict(
    max_tokens=limit, temperature=number(body, 'temperature', 1.0, 0, 100), top_p=number(body, 'top_p', 1.0, 0, 1), stop=tuple(stop),
    top_logprobs=top, echo=echo and wanted,
  )  # fmt: skip
  requests = [Request(p, seed=s, **settings) for p in ids for s in seeds(seed, n)]
  for prompt in ids:
    samplers[model].completion(Request(prompt, **settings))
  if echo:
    said = [s or tokenizer.decode(p) for s, p in zip(said, ids, strict=True)]
  return Asked(
    model, requests, said, flag(body, 'stream'), flag(options or {}, 'include_usage'), echo, wanted
  )


# ---------------------------------------------------------------------------------------------------------------- what is answered


def chat_logprobs(tokens: Sequence[Any], name: Callable[[int], str]) -> dict[str, Any]:
  def entry(token: int, logprob: float) -> dict[str, Any]:
    return {'token': name(token), 'logprob': logprob, 'bytes': list(name(token).encode())}

  return {
    'content': [
      entry(t.id, t.logprob) | {'top_logprobs': [entry(*pair) for pair in t.top]} for t in tokens
    ],
    'refusal': None,
  }


def completion_logprobs(
  tokens: Sequence[Any], name: Callable[[int], str], offset: int
) -> dict[str, Any]:
  tops = []
  for t in tokens:
    top: dict[str, float] = {}
    for token, logprob in (*t.top, *([(t.id, t.logprob)] if t.logprob is not None else [])):
      top.setdefault(name(token), logprob)
    tops.append(top or None)
  return {
    'tokens': [name(t.id) for t in tokens], 'token_logprobs': [t.logprob for t in tokens], 'top_logprobs': tops,
    'text_offset': [max(0, t.start + offset) for t in tokens],
  }  # fmt: skip


class Form:
  """The shapes of answers to one HTTP request."""

  def __init__(self, asked: Asked, chat: bool, name: Callable[[int], str]):
    self.asked, self.chat, self.name = asked, chat, name
    kind = 'chat.completion' if chat else 'text_completion'
    self.start = {
      'id': f'{"chatcmpl" if chat else "cmpl"}-{uuid.uuid4().hex}',
      'created': int(time.time()),
      'model': asked.model,
    }
    self.whole, self.chunk = (
      self.start | {'object': kind},
      self.start | {'object': f'{kind}.chunk' if chat else kind},
    )

  def prompt_of(self, n: int) -> str:
    return self.asked.prompts[n * len(self.asked.prompts) // len(self.asked.requests)]

  def choice(
    self,
    n: int,
    said: str,
    tokens: Sequence[Any],
    reason: str | None,
    key: str = 'message',
    extra: Mapping[str, Any] | None = None,
  ) -> dict:
    """An answer, or what came anew of one (`key` 'delta')."""
    out = {'index': n, 'finish_reason': reason or None, 'logprobs': None}
    if self.chat:
      out[key] = (extra or {}) | {'content': said}
      if self.asked.logprobs and (tokens or key == 'message'):
        out['logprobs'] = chat_logprobs(tokens, self.name)
    else:
      out['text'] = said
      if self.asked.logprobs:
        out['logprobs'] = completion_logprobs(
          tokens, self.name, len(self.prompt_of(n)) if self.asked.echo else 0
        )
    return out

  def answer(self, completions: Sequence[Any]) -> dict[str, Any]:
    choices = []
    for n, c in enumerate(completions):
      said = self.prompt_of(n) + c.text if self.asked.echo else c.text
      choices.append(
        self.choice(
          n,
          said,
          [*c.prompt_tokens, *c.tokens],
          c.finish_reason,
          extra={'role': 'assistant', 'refusal': None},
        )
      )
    return self.whole | {'choices': choices, 'usage': self.usage(completions)}

  def news(self, n: int, piece: Any, completion: Any, is_first: bool) -> dict[str, Any]:
    before = self.prompt_of(n) if is_first and self.asked.echo else ''
    tokens = [*(completion.prompt_tokens if is_first else ()), *piece.tokens]
    return self.chunk | {
      'choices': [
        self.choice(
          n,
          before + piece.text,
          tokens,
          piece.finish_reason,
          'delta',
          {'role': 'assistant'} if is_first else None,
        )
      ]
    }

  def usage(self, completions: Sequence[Any]) -> dict[str, int]:
    """A prompt counts once, however many answers it gets."""
    each = len(completions) // len(self.asked.prompts)
    asked, made = (
      sum(len(c.request.prompt) for c in completions[::each]),
      sum(c.made for c in completions),
    )
    return {'prompt_tokens': asked, 'completion_tokens': made, 'total_tokens': asked + made}


# --------------------------------------------------------------------------------------------------------------------- the server


class HungUp(Exception):
  """The client is gone."""


class Failed(Exception):
  """The engine could not do it."""


class Hearing:
  """The answers to one HTTP request as they are made. When the client hangs up, or `close` is called, their rows are free for others."""

  def __init__(self, engine: Any, asked: Asked, receive: Callable[[], Any]):
    self._loop, self._heard = asyncio.get_running_loop(), asyncio.Queue()
    self.engine, self.model, self.completions = engine, asked.model, []
    try:
      for n, request in enumerate(asked.requests):
        self.completions.append(engine.submit(asked.model, request, self._listener(n)))
    except ValueError:
      self._cancel()
      raise
    self._watcher = asyncio.create_task(self._watch(receive))

  def _listener(self, n: int) -> Callable[[Any], None]:
    return lambda piece: self._loop.call_soon_threadsafe(self._heard.put_nowait, (n, piece))

  async def _watch(self, receive: Callable[[], Any]) -> None:
    while (await receive())['type'] != 'http.disconnect':
      pass
    self._cancel()
    self._heard.put_nowait(None)

  def _cancel(self) -> None:
    for completion in self.completions:
      self.engine.cancel(self.model, completion)

  def close(self) -> None:
    self._watcher.cancel()
    self._cancel()

  async def pieces(self) -> AsyncIterator[tuple[int, Any]]:
    """(which answer, what came anew). Raises HungUp, Failed or Closed."""
    left = len(self.completions)
    while left:
      heard = await self._heard.get()
      if heard is None:
        raise HungUp
      if heard[1].finish_reason == 'error':
        error = self.completions[heard[0]].error
        raise error if isinstance(error, ValueError) else Failed(str(error)) from error
      left -= bool(heard[1].finish_reason)
      yield heard


async def read_json(request: Any) -> Any:
  body = bytearray()
  async for chunk in request.stream():
    body += chunk
    if len(body) > MAX_BODY:
      raise Refused(f'the body has more than {MAX_BODY} bytes', status=413)
  try:
    return json.loads(body.decode())
  except (ValueError, RecursionError) as e:
    raise Refused(f'the body is not JSON ({type(e).__name__})') from None


def make_app(engine: Any) -> Any:
  """The ASGI application. The caller closes the engine."""
  from starlette.applications import Starlette
  from starlette.concurrency import run_in_threadpool
  from starlette.exceptions import HTTPException
  from starlette.requests import ClientDisconnect, Request
  from starlette.responses import JSONResponse, Response, StreamingResponse
  from starlette.routing import Route

  from msm_jax.inference.completion import RequestError, TooLong
  from msm_jax.inference.engine import Busy, Closed

  began = int(time.time())

  def described(model: str) -> dict[str, Any]:
    return {'id': model, 'object': 'model', 'created': began, 'owned_by': 'msm_jax'}

  async def health(request: Request) -> Response:
    return JSONResponse(
      {'status': 'ok' if engine.alive else 'the engine has ended'}, 200 if engine.alive else 503
    )

  async def models(request: Request) -> Response:
    return JSONResponse({'object': 'list', 'data': [described(m) for m in engine.samplers]})

  async def model(request: Request) -> Response:
    if (name := request.path_params['model']) not in engine.samplers:
      raise Refused(f'there is no model {name[:100]!r}', 'model', 404, 'model_not_found')
    return JSONResponse(described(name))

  async def complete(request: Request, chat: bool) -> Response:
    body = await read_json(request)
    asked = await run_in_threadpool(understand, body, engine.samplers, chat)
    form, hearing = (
      Form(asked, chat, engine.samplers[asked.model].token_text),
      Hearing(engine, asked, request.receive),
    )
    if asked.stream:
      return StreamingResponse(
        told(form, hearing), media_type='text/event-stream', headers={'cache-control': 'no-cache'}
      )
    try:
      async for _ in hearing.pieces():
        pass
    finally:
      hearing.close()
    return JSONResponse(form.answer(hearing.completions))

  async def told(form: Form, hearing: Hearing) -> AsyncIterator[str]:
    seen: set[int] = set()
    try:
      async for n, piece in hearing.pieces():
        yield event(form.news(n, piece, hearing.completions[n], n not in seen))
        seen.add(n)
      if form.asked.usage:
        yield event(form.chunk | {'choices': [], 'usage': form.usage(hearing.completions)})
      yield 'data: [DONE]\n\n'
    except HungUp:
      pass
    except (Failed, Closed) as e:  # the status is sent already
      yield event(error_body(' '.join(str(e).split()), status=500))
    finally:
      hearing.close()

  def event(value: Any) -> str:
    return f'data: {json.dumps(value)}\n\n'

  async def refused(request: Request, e: Exception) -> Response:
    if isinstance(e, Refused):
      return JSONResponse(error_body(str(e), e.param, e.status, e.code), e.status)
    if isinstance(e, HTTPException):  # no such path or method
      return JSONResponse(
        error_body(f'{request.method} {request.url.path}: {e.detail}', status=e.status_code),
        e.status_code,
        e.headers,
      )
    if isinstance(e, (HungUp, ClientDisconnect)):
      return Response(status_code=499)
    status = {Busy: 429, Closed: 503, Failed: 500}.get(
      type(e), 400 if isinstance(e, (RequestError, DataError)) else 500
    )
    code = 'context_length_exceeded' if isinstance(e, TooLong) else None
    return JSONResponse(error_body(' '.join(str(e).split()), None, status, code), status)

  async def chat_completions(request: Request) -> Response:
    return await complete(request, chat=True)

  async def completions(request: Request) -> Response:
    return await complete(request, chat=False)

  routes = [
    Route('/health', health), Route('/v1/models', models), Route('/v1/models/{model:path}', model),
    Route('/v1/chat/completions', chat_completions, methods=['POST']), Route('/v1/completions', completions, methods=['POST']),
  ]  # fmt: skip
  handled = (
    Refused,
    RequestError,
    DataError,
    HungUp,
    Failed,
    ClientDisconnect,
    HTTPException,
    Exception,
  )
  return Starlette(routes=routes, exception_handlers=dict.fromkeys(handled, refused))


def bind(host: str, port: int) -> socket.socket:
  """Raises ConfigError for an address that cannot be had."""
  sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
  try:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
  except (OSError, OverflowError) as e:
    sock.close()
    raise ConfigError(
      f'cannot listen on {host} port {port} ({getattr(e, "strerror", None) or e}); choose another --host or --port'
    ) from None
  return sock


def main(argv: list[str]) -> None:
  parser = command.Parser(
    prog='python -m msm_jax.serve',
    description='Arms of an experiment, or weights, behind an OpenAI-compatible API.',
  )
  add_model_arguments(parser)
  parser.add_argument('--host', default='127.0.0.1')
  parser.add_argument('--port', type=int, default=8000, help='0 takes one that is free')
  parser.add_argument(
    '--max_batch',
    type=int,
    default=32,
    help='requests answered at the same time by a model; the others wait',
  )
  args = parser.parse_args(argv)
  if args.max_batch < 1:
    parser.error('--max_batch is at least 1')
  import starlette  # noqa: F401  # before a model is loaded for nothing
  import uvicorn

  sock = bind(args.host, args.port)
  from msm_jax.base.console import say
  from msm_jax.inference.engine import Engine, open_samplers

  arms = list(dict.fromkeys(a for a in args.arm.split(',') if a))
  samplers, about = open_samplers(
    args.workdir, arms, args.seed, args.weights, args.dtype, args.max_length, args.max_batch
  )
  for line in about:
    say(f'model      {line}')
  host, port = sock.getsockname()[:2]
  if not ipaddress.ip_address(host).is_loopback:
    say(
      f'warning    {host} is no loopback address: whoever reaches this machine can ask the model, without a password'
    )
  engine = Engine(samplers)
  server = uvicorn.Server(
    uvicorn.Config(
      make_app(engine), log_level='warning', lifespan='off', timeout_graceful_shutdown=2 * GRACE
    )
  )
  stop = server.handle_exit

  def ending(signum: int, frame: Any) -> None:
    timer = threading.Timer(GRACE, engine.close)  # what is not answered by then ends with an error
    timer.daemon = True
    timer.start()
    stop(signum, frame)

  server.handle_exit = ending
  for signum in (signal.SIGINT, signal.SIGTERM):  # which the server raises again when it has ended
    signal.signal(signum, lambda *_: None)
  sock.listen(1024)  # who calls from now on is answered, if only in a moment
  say(f'serving    http://{f"[{host}]" if ":" in host else host}:{port}/v1')
  try:
    server.run(sockets=[sock])
  finally:
    engine.close()
  say('serving    ended')


if __name__ == '__main__':
  command.run_command(main)
