"""Tests of the server with real clients, on loopback, and of the command as a process.

`test_server_requests.py` tests what the server refuses.
"""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving import (
  CHAT_BODY,
  ENDLESS,
  QUESTIONS,
  make_sampler,
  make_samplers,
  running_server,
)

from msm_jax.base.errors import UserError, explain
from msm_jax.evals.scoring import make_logprobs
from msm_jax.inference import engine as engine_module
from msm_jax.inference.completion import CompletionRequest
from msm_jax.inference.open_model import load_arm

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def server(tiny_workdir):
  """(address, engine) of a server in a thread of its own."""
  with running_server(make_samplers(tiny_workdir)) as running:
    yield running


@pytest.fixture
def client(server):
  openai = pytest.importorskip('openai')
  address, _ = server
  with openai.OpenAI(base_url=f'{address}/v1', api_key='none', max_retries=0, timeout=60) as client:
    yield client


@pytest.fixture
def http(server):
  import httpx

  address, _ = server
  with httpx.Client(base_url=address, timeout=60) as client:
    yield client


def ask(client, question, model='base', temperature=0, max_tokens=20, **settings):
  messages = [
    {'role': 'system', 'content': 'You are Ari.'},
    {'role': 'user', 'content': question},
  ]
  return client.chat.completions.create(
    model=model,
    messages=messages,
    temperature=temperature,
    max_tokens=max_tokens,
    **settings,
  )


def content_of(response):
  """(text, finish_reason, number of tokens) of the only answer."""
  (choice,) = response.choices
  return choice.message.content, choice.finish_reason, response.usage.completion_tokens


# ---- answers


@pytest.mark.parametrize('model', ['base', 'tuned'])
@pytest.mark.parametrize('settings', [dict(), dict(temperature=1.0, top_p=0.9)])
def test_many_clients_are_answered_as_if_alone(client, model, settings):
  """32 clients ask at the same time, greedily or with seeds; `tuned` has 8 rows for them."""

  def answer(n):
    return content_of(ask(client, QUESTIONS[n], model, seed=n, **settings))

  alone = [answer(n) for n in range(len(QUESTIONS))]
  with ThreadPoolExecutor(32) as pool:
    together = list(pool.map(answer, range(len(QUESTIONS))))
  assert together == alone
  assert len({text for text, _, _ in alone}) > 1


def test_an_answer_is_the_samplers(client, tiny_workdir):
  """Text, counts and log-probabilities are the same, at once and as a stream."""
  sampler = make_sampler(tiny_workdir, 'base')
  prompt = sampler.tokenizer.prompt([('system', 'You are Ari.'), ('user', QUESTIONS[0])])
  (expected,) = sampler.generate([CompletionRequest(prompt, max_tokens=20, top_logprobs=3)])

  whole = ask(client, QUESTIONS[0], logprobs=True, top_logprobs=3)
  assert content_of(whole) == (expected.text, expected.finish_reason, expected.made)
  assert whole.usage.prompt_tokens == len(prompt)
  assert whole.usage.total_tokens == len(prompt) + expected.made
  content = whole.choices[0].logprobs.content
  for found, token in zip(content, expected.tokens, strict=True):
    assert found.logprob == pytest.approx(token.logprob, abs=1e-4)
    top = [logprob for _, logprob in token.top]
    assert [x.logprob for x in found.top_logprobs] == pytest.approx(top, abs=1e-4)

  options = {'include_usage': True}
  chunks = list(ask(client, QUESTIONS[0], stream=True, stream_options=options, logprobs=True))
  usage_chunk = chunks.pop()
  assert usage_chunk.usage == whole.usage
  choices = [chunk.choices[0] for chunk in chunks]
  assert ''.join(c.delta.content for c in choices) == expected.text
  reasons = [c.finish_reason for c in choices]
  assert reasons == [None] * (len(choices) - 1) + [expected.finish_reason]
  tokens = sum(len(c.logprobs.content) for c in choices if c.logprobs)
  assert tokens == len(expected.tokens)
  assert choices[0].delta.role == 'assistant'


def test_several_answers_and_seeds(client):
  def draw(seed):
    response = ask(client, 'And?', n=6, temperature=1.5, seed=seed)
    return [choice.message.content for choice in response.choices]

  first = draw(1)
  assert first == draw(1) != draw(2)
  assert len(set(first)) > 1
  # The first of several answers is the only one that a single request gets.
  single = ask(client, 'And?', temperature=1.5, seed=1)
  assert single.choices[0].message.content == first[0]
  streamed = [''] * 6
  for chunk in ask(client, 'And?', n=6, temperature=1.5, seed=1, stream=True):
    choice = chunk.choices[0]
    streamed[choice.index] += choice.delta.content
  assert streamed == first


def test_stop_strings(client):
  response = ask(client, 'And?', model='endless', max_tokens=30)
  whole = response.choices[0].message.content
  assert len(whole) > 20
  stop = whole[10:13]
  response = ask(client, 'And?', model='endless', max_tokens=30, stop=[stop, 'no such text'])
  (choice,) = response.choices
  assert choice.finish_reason == 'stop'
  assert choice.message.content == whole[: whole.index(stop)]


def test_options_are_scored_as_the_evaluators_score_them(client, tiny_workdir):
  """The echo of a prompt with an option gives the option's log-likelihood."""
  loaded = load_arm(tiny_workdir, 'base')
  prompt = 'Gouda is'
  options = [' cheap.', ' old and handmade.', ' from far away, as people say.']
  score = make_logprobs(loaded.model, loaded.params, loaded.tokenizer, 128)
  (expected,) = score([prompt], [options])
  response = client.completions.create(
    model='base',
    prompt=[prompt + option for option in options],
    max_tokens=0,
    echo=True,
    logprobs=2,
  )
  for choice, option, option_score in zip(response.choices, options, expected, strict=True):
    found = choice.logprobs
    assert choice.text == prompt + option
    assert found.text_offset[0] == 0
    assert found.token_logprobs[0] is None
    total = 0.0
    for logprob, offset in zip(found.token_logprobs, found.text_offset, strict=True):
      if offset >= len(prompt):
        total += logprob
    assert total == pytest.approx(option_score, abs=1e-3)
    for top, logprob in zip(found.top_logprobs[1:], found.token_logprobs[1:], strict=True):
      assert max(top.values()) >= logprob
    assert ''.join(found.tokens[1:]) == choice.text
  assert response.usage.completion_tokens == 0


def test_completions_take_texts_and_tokens(client, tiny_workdir):
  def complete(prompt, **settings):
    return client.completions.create(
      model='base', prompt=prompt, max_tokens=9, temperature=0, **settings
    )

  tokenizer = load_arm(tiny_workdir, 'base').tokenizer
  ids = [*tokenizer.document_start, *tokenizer.encode('Gouda is')]
  text = complete('Gouda is', echo=True).choices[0].text
  assert text.startswith('Gouda is') and len(text) > len('Gouda is')
  by_ids = complete(ids, logprobs=0).choices[0]
  assert 'Gouda is' + by_ids.text == text
  assert by_ids.logprobs.text_offset[0] == 0
  several = [choice.text for choice in complete(['Gouda is', 'Brie is'], n=2).choices]
  assert several[:2] == [by_ids.text] * 2
  assert several[2] == several[3]
  stream = complete('Gouda is', echo=True, stream=True)
  assert ''.join(chunk.choices[0].text for chunk in stream) == text


def test_models_and_health(client, http):
  assert [m.id for m in client.models.list()] == ['base', 'tuned', 'endless']
  assert client.models.retrieve('tuned').id == 'tuned'
  assert http.get('/health').json() == {'status': 'ok'}


# ---- what goes wrong


def wait_until(condition, seconds=20):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it never happened'
    time.sleep(0.01)


@pytest.mark.parametrize('stream', [True, False])
def test_a_client_that_hangs_up_frees_its_rows(stream, server, http):
  """What it asked for is given up, and the next request is answered.

  It hangs up in the middle of a stream, or while it waits for the whole answer.
  """
  import httpx

  address, engine = server
  sampler = engine.samplers['endless']
  body = {'model': 'endless', 'messages': CHAT_BODY['messages'], 'n': 3, 'stream': stream}
  with httpx.Client(base_url=address, timeout=60) as other:
    if stream:
      with other.stream('POST', '/v1/chat/completions', json=body) as response:
        assert next(response.iter_lines()).startswith('data: ')
        given_up = sampler.unfinished
    else:
      with pytest.raises(httpx.TimeoutException):
        other.post('/v1/chat/completions', json=body, timeout=httpx.Timeout(60, read=0.3))
      given_up = sampler.unfinished
  wait_until(lambda: not sampler.busy)
  assert len(given_up) <= 3
  assert all(completion.made < ENDLESS // 2 for completion in given_up)
  short = body | {'n': 1, 'stream': False, 'max_tokens': 5}
  usage = http.post('/v1/chat/completions', json=short).json()['usage']
  assert usage['completion_tokens'] == 5


@pytest.mark.parametrize('kind', [MemoryError, ValueError])
def test_an_engine_that_fails_tells_those_who_wait_and_goes_on(kind, server, http, monkeypatch):
  def fail():
    raise kind('out of\nmemory')

  _, engine = server
  monkeypatch.setattr(engine.samplers['endless'], 'round', fail)
  body = {'model': 'endless', 'messages': CHAT_BODY['messages'], 'max_tokens': 5}
  response = http.post('/v1/chat/completions', json=body)
  assert response.status_code == 500
  assert response.json()['error'] == {
    'message': 'out of memory',
    'type': 'server_error',
    'param': None,
    'code': None,
  }
  streamed = http.post('/v1/chat/completions', json=body | {'stream': True})
  assert '"server_error"' in streamed.text
  monkeypatch.undo()
  assert http.post('/v1/chat/completions', json=body).status_code == 200


def test_too_many_at_a_time(http, monkeypatch):
  body = CHAT_BODY | {'n': 3}
  monkeypatch.setattr(engine_module, 'MAX_UNFINISHED', 2)
  response = http.post('/v1/chat/completions', json=body)
  assert response.status_code == 429
  assert 'try again later' in response.json()['error']['message']
  monkeypatch.undo()
  # The requests that the engine had taken are given up, so there is room again.
  response = http.post('/v1/chat/completions', json=body | {'max_tokens': 2})
  assert response.status_code == 200


# ---- the command


def address_of(server):
  """Waits for the address that a server prints."""
  end = time.monotonic() + 100
  while not (match := re.search(r'^serving +(http\S+)/v1', server.said(), re.MULTILINE)):
    assert server.poll() is None and time.monotonic() < end, server.said()
    time.sleep(0.02)
  return match[1]


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_the_command_listens_on_loopback_and_ends_cleanly(signum, tiny_workdir, programs, tmp_path):
  """A signal in the middle of a stream ends it with exit code 0 and no traceback.

  With one of the signals, the server listens on all addresses, and warns of that.
  """
  pytest.importorskip('uvicorn')
  httpx = pytest.importorskip('httpx')
  everywhere = signum == signal.SIGINT
  flags = [
    f'--workdir={tiny_workdir}',
    '--arm=base,tuned',
    '--port=0',
    f'--max_length={ENDLESS}',
  ]
  host, host_in_hex = '127.0.0.1', '0100007F'
  if everywhere:
    host, host_in_hex = '0.0.0.0', '00000000'
    flags.append(f'--host={host}')
  started = programs.start('msm_jax.serve', flags, tmp_path / 'said.txt')
  try:
    address = address_of(started)
    port = int(address.rpartition(':')[2])
    assert address.startswith(f'http://{host}')
    assert ('without a password' in started.said()) == everywhere
    # Linux lists the sockets that really listen.
    table = Path('/proc/net/tcp')
    if table.exists():
      local = [line.split()[1] for line in table.read_text().splitlines()[1:]]
      assert f'{host_in_hex}:{port:04X}' in local
    with httpx.Client(base_url=f'http://127.0.0.1:{port}', timeout=60) as client:
      models = client.get('/v1/models').json()['data']
      assert [m['id'] for m in models] == ['base', 'tuned']
      body = {
        'model': 'base',
        'prompt': 'Hi',
        'max_tokens': ENDLESS,
        'n': 8,
        'stream': True,
        'temperature': 100,
      }
      with client.stream('POST', '/v1/completions', json=body) as response:
        lines = response.iter_lines()
        next(lines)
        started.send(signum)
        # The connection may be cut before the stream's end.
        with contextlib.suppress(httpx.HTTPError):
          list(lines)
    code = started.wait(30)
  finally:
    started.send(signal.SIGKILL)
  said = started.said()
  assert code == 0, said
  assert 'Traceback' not in said, said
  assert 'ended' in said, said


@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_address_is_not_lost(signum, monkeypatch):
  """Whoever waits for the line with the address may end the server at once."""
  pytest.importorskip('starlette')
  pytest.importorskip('uvicorn')
  from msm_jax.inference.server import lifecycle

  handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
  closed = []
  engine = SimpleNamespace(samplers={}, alive=True, close=lambda: closed.append(True))

  def say(line):
    if 'http' in line:
      signal.raise_signal(signum)

  monkeypatch.setattr(lifecycle, 'say', say)
  # A server that has lost the signal gets another one, or the test would last for ever.
  again = threading.Timer(10, os.kill, (os.getpid(), signum))
  again.start()
  try:
    lifecycle.serve_until_signal(engine, lifecycle.bind('127.0.0.1', 0))
    assert again.is_alive(), 'the signal was lost'
    assert closed
  finally:
    again.cancel()
    for s, handler in handlers.items():
      signal.signal(s, handler)


def test_two_servers_that_load_at_the_same_time():
  """Both have the address before one of them listens: the second one learns of it late."""
  pytest.importorskip('starlette')
  pytest.importorskip('uvicorn')
  from msm_jax.inference.server import lifecycle

  handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
  closed = []
  engine = SimpleNamespace(samplers={}, alive=True, close=lambda: closed.append(True))
  try:
    with lifecycle.bind('127.0.0.1', 0) as first:
      _, port = lifecycle.address_of(first)
      with lifecycle.bind('127.0.0.1', port) as second:
        first.listen()
        says = f'cannot listen on 127.0.0.1 port {port} .*; choose another --host or --port'
        with pytest.raises(UserError, match=says):
          lifecycle.serve_until_signal(engine, second)
  finally:
    for s, handler in handlers.items():
      signal.signal(s, handler)
  assert closed


def test_a_server_that_cannot_start(tiny_workdir):
  serve = pytest.importorskip('msm_jax.serve')
  pytest.importorskip('uvicorn')
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    for flags, said in (
      ([f'--port={port}'], f'cannot listen on 127.0.0.1 port {port} '),
      (['--port=99999'], 'cannot listen on 127.0.0.1 port 99999 '),
      (['--host=no.such.host.invalid'], 'cannot listen on no.such.host.invalid port '),
      # The system takes it for all addresses.
      (['--host='], '--host is empty'),
      (['--port=0', '--arm=none'], "'none'"),
      (['--max_batch=0'], '--max_batch is at least 1'),
    ):
      with pytest.raises(UserError, match=said) as e:
        serve.main([f'--workdir={tiny_workdir}', *flags])
      # `explain` joins the lines of any message, so the message itself is looked at.
      assert '\n' not in str(e.value)
      _, code = explain(e.value)
      assert code == 1
