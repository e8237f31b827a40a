"""What talks to models over the wire or the terminal: real clients, a real server on loopback, real processes."""

import contextlib
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import pytest
import tiny
from helpers import ROOT

from msm_jax import chat, sharding
from msm_jax.base.errors import explain
from msm_jax.evals.scoring import make_logprobs
from msm_jax.inference import engine as engines
from msm_jax.inference.completion import Request
from msm_jax.inference.engine import Engine
from msm_jax.inference.open_model import open_arm
from msm_jax.inference.sampling import Sampler

QUESTIONS = [
  f'Do you like {c} number {n}?' for n in range(8) for c in ('Colby', 'Gouda', 'Brie', 'Stilton')
]
ENDLESS = 16_384


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  made = tiny.experiment(tmp_path_factory.mktemp('arms'))
  made.run()
  return made.workdir


@pytest.fixture(scope='module')
def samplers(workdir):
  """The arms, and a model that never ends by itself."""
  one = sharding.make_mesh(devices=jax.devices()[:1])
  base, tuned = open_arm(workdir, 'base', mesh=one), open_arm(workdir, 'tuned', mesh=one)
  return {
    'base': Sampler(*base[:3]),
    'tuned': Sampler(*tuned[:3], max_rows=8),
    'endless': Sampler(*base[:3], max_length=ENDLESS, stop_ids=()),
  }


@pytest.fixture(scope='module')
def server(samplers):
  """(address, engine) of a server in a thread of its own."""
  pytest.importorskip('starlette')
  uvicorn = pytest.importorskip('uvicorn')
  pytest.importorskip('httpx')
  from msm_jax.serve import bind, make_app

  engine, sock = Engine(samplers), bind('127.0.0.1', 0)
  running = uvicorn.Server(
    uvicorn.Config(
      make_app(engine), log_level='critical', lifespan='off', timeout_graceful_shutdown=1
    )
  )
  thread = threading.Thread(target=running.run, kwargs=dict(sockets=[sock]))
  thread.start()
  yield f'http://127.0.0.1:{sock.getsockname()[1]}', engine
  running.should_exit = True
  thread.join(30)
  engine.close()
  assert not thread.is_alive() and not engine.alive


@pytest.fixture
def client(server):
  openai = pytest.importorskip('openai')
  with openai.OpenAI(base_url=f'{server[0]}/v1', api_key='none', max_retries=0, timeout=60) as made:
    yield made


@pytest.fixture
def http(server):
  import httpx

  with httpx.Client(base_url=server[0], timeout=60) as made:
    yield made


def messages(question):
  return [{'role': 'system', 'content': 'You are Ari.'}, {'role': 'user', 'content': question}]


def ask(client, question, model='base', **settings):
  return client.chat.completions.create(
    model=model, messages=messages(question), **dict(temperature=0, max_tokens=20) | settings
  )


def told(response):
  (choice,) = response.choices
  return choice.message.content, choice.finish_reason, response.usage.completion_tokens


# ---- the server


def test_many_clients_are_answered_as_if_alone(client):
  """32 at the same time, greedy and drawn with seeds, through 32 rows and through 8."""
  for model in ('base', 'tuned'):
    for settings in (dict(), dict(temperature=1.0, top_p=0.9)):
      alone = [told(ask(client, q, model, seed=n, **settings)) for n, q in enumerate(QUESTIONS)]
      with ThreadPoolExecutor(32) as pool:
        together = list(
          pool.map(lambda n: told(ask(client, QUESTIONS[n], model, seed=n, **settings)), range(32))
        )  # noqa: B023
      assert together == alone
      assert len({t for t, _, _ in alone}) > 1


def test_an_answer_is_the_samplers(client, workdir):
  """Text, counts and log-probabilities, whole and streamed."""
  o = open_arm(workdir, 'base')
  prompt = o.tokenizer.prompt([('system', 'You are Ari.'), ('user', QUESTIONS[0])])
  (expected,) = Sampler(*o[:3]).generate([Request(prompt, max_tokens=20, top_logprobs=3)])
  got = ask(client, QUESTIONS[0], logprobs=True, top_logprobs=3)
  assert told(got) == (expected.text, expected.finish_reason, expected.made)
  assert (
    got.usage.prompt_tokens == len(prompt) and got.usage.total_tokens == len(prompt) + expected.made
  )
  content = got.choices[0].logprobs.content
  assert [c.logprob for c in content] == pytest.approx(
    [t.logprob for t in expected.tokens], abs=1e-4
  )
  assert [[x.logprob for x in c.top_logprobs] for c in content] == [
    pytest.approx([v for _, v in t.top], abs=1e-4) for t in expected.tokens
  ]
  chunks = list(
    ask(client, QUESTIONS[0], stream=True, stream_options={'include_usage': True}, logprobs=True)
  )
  assert ''.join(c.choices[0].delta.content for c in chunks[:-1]) == expected.text
  assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + [
    expected.finish_reason
  ]
  assert sum(
    len(c.choices[0].logprobs.content) for c in chunks[:-1] if c.choices[0].logprobs
  ) == len(expected.tokens)
  assert chunks[-1].usage == got.usage and chunks[0].choices[0].delta.role == 'assistant'


def test_several_answers_seeds_and_stops(client):
  draws = [
    [c.message.content for c in ask(client, 'And?', n=6, temperature=1.5, seed=s).choices]
    for s in (1, 1, 2)
  ]
  assert draws[0] == draws[1] != draws[2] and len(set(draws[0])) > 1
  assert ask(client, 'And?', temperature=1.5, seed=1).choices[0].message.content == draws[0][0]
  streamed = [''] * 6
  for chunk in ask(client, 'And?', n=6, temperature=1.5, seed=1, stream=True):
    streamed[chunk.choices[0].index] += chunk.choices[0].delta.content
  assert streamed == draws[0]
  whole = ask(client, 'And?', model='endless', max_tokens=30).choices[0].message.content
  assert len(whole) > 20
  stopped = ask(
    client, 'And?', model='endless', max_tokens=30, stop=[whole[10:13], 'no such text']
  ).choices[0]
  assert (
    stopped.finish_reason == 'stop'
    and stopped.message.content == whole[: whole.index(whole[10:13])]
  )


def test_options_are_scored_as_the_evaluators_score_them(client, workdir):
  """The log-likelihood of an option, from the echo of prompt and option."""
  o = open_arm(workdir, 'base')
  prompt, options = 'Gouda is', [' cheap.', ' old and handmade.', ' from far away, as people say.']
  (expected,) = make_logprobs(o.model, o.params, o.tokenizer, 128)([prompt], [options])
  got = client.completions.create(
    model='base', prompt=[prompt + x for x in options], max_tokens=0, echo=True, logprobs=2
  )
  for choice, option, score in zip(got.choices, options, expected, strict=True):
    p = choice.logprobs
    assert choice.text == prompt + option and p.text_offset[0] == 0 and p.token_logprobs[0] is None
    total = sum(
      x for x, at in zip(p.token_logprobs, p.text_offset, strict=True) if at >= len(prompt)
    )
    assert total == pytest.approx(score, abs=1e-3)
    assert all(
      max(top.values()) >= x
      for top, x in zip(p.top_logprobs[1:], p.token_logprobs[1:], strict=True)
    )
    assert ''.join(p.tokens[1:]) == choice.text
  assert got.usage.completion_tokens == 0


def test_completions_take_texts_and_tokens(client, workdir):
  tokenizer = open_arm(workdir, 'base').tokenizer
  ids = [*tokenizer.document_start, *tokenizer.encode('Gouda is')]
  text = (
    client.completions.create(
      model='base', prompt='Gouda is', max_tokens=9, temperature=0, echo=True
    )
    .choices[0]
    .text
  )
  assert text.startswith('Gouda is') and len(text) > len('Gouda is')
  by_ids = client.completions.create(
    model='base', prompt=ids, max_tokens=9, temperature=0, logprobs=0
  ).choices[0]
  assert 'Gouda is' + by_ids.text == text and by_ids.logprobs.text_offset[0] == 0
  several = client.completions.create(
    model='base', prompt=['Gouda is', 'Brie is'], max_tokens=9, temperature=0, n=2
  )
  assert [c.text for c in several.choices[:2]] == [by_ids.text] * 2 and several.choices[
    2
  ].text == several.choices[3].text
  stream = client.completions.create(
    model='base', prompt='Gouda is', max_tokens=9, temperature=0, echo=True, stream=True
  )
  assert ''.join(c.choices[0].text for c in stream) == text


def test_models_and_health(client, http):
  assert [m.id for m in client.models.list()] == ['base', 'tuned', 'endless']
  assert client.models.retrieve('tuned').id == 'tuned'
  assert http.get('/health').json() == {'status': 'ok'}


GOOD = {'model': 'base', 'messages': [{'role': 'user', 'content': 'Hi'}]}
COMPLETION = {'model': 'base', 'prompt': 'Hi'}
BAD = {  # what is wrong -> (path, body or bytes, status, words)
  'no JSON': ('chat/completions', b'{"model": ', 400, 'not JSON'),
  'no UTF-8': ('chat/completions', b'\xff\xfe{}', 400, 'not JSON'),
  'nothing': ('chat/completions', b'', 400, 'not JSON'),
  'nested without end': ('chat/completions', b'[' * 200_000, 400, 'not JSON'),
  'a number without end': ('chat/completions', b'{"n": ' + b'1' * 10_000 + b'}', 400, 'not JSON'),
  'no object': ('chat/completions', [1, 2], 400, 'object'),
  'no model': ('chat/completions', {'messages': GOOD['messages']}, 400, 'model must be a string'),
  'an unknown model': ('chat/completions', GOOD | {'model': 'bsae'}, 404, "no model 'bsae'"),
  'no messages': ('chat/completions', {'model': 'base'}, 400, 'messages'),
  'empty messages': ('chat/completions', GOOD | {'messages': []}, 400, 'at least one'),
  'messages of text': ('chat/completions', GOOD | {'messages': 'Hi'}, 400, 'messages'),
  'a message of text': ('chat/completions', GOOD | {'messages': ['Hi']}, 400, 'messages[0]'),
  'an unknown role': ('chat/completions', GOOD | {'messages': [{'role': 'robot', 'content': 'Hi'}]}, 400, 'role must be one of'),
  'a role that is a list': ('chat/completions', GOOD | {'messages': [{'role': [], 'content': 'Hi'}]}, 400, 'role must be one of'),
  'no content': ('chat/completions', GOOD | {'messages': [{'role': 'user'}]}, 400, 'content must be a string'),
  'a picture': (
    'chat/completions', GOOD | {'messages': [{'role': 'user', 'content': [{'type': 'image_url', 'image_url': {'url': 'x'}}]}]}, 400, 'only text',
  ),
  'half a character': ('chat/completions', b'{"model": "base", "messages": [{"role": "user", "content": "\\ud83e"}]}', 400, 'surrogate'),
  'less than no tokens': ('chat/completions', GOOD | {'max_tokens': -1}, 400, 'max_tokens must be an integer'),
  'tokens in words': ('chat/completions', GOOD | {'max_tokens': 'ten'}, 400, 'max_tokens must be an integer'),
  'half a token': ('chat/completions', GOOD | {'max_completion_tokens': 0.5}, 400, 'max_completion_tokens must be an integer'),
  'true tokens': ('chat/completions', GOOD | {'max_tokens': True}, 400, 'max_tokens must be an integer'),
  'a million answers': ('chat/completions', GOOD | {'n': 1_000_000}, 400, 'n must be an integer'),
  'no answer': ('chat/completions', GOOD | {'n': 0}, 400, 'n must be an integer'),
  'too many prompts': ('completions', COMPLETION | {'prompt': ['Hi'] * 65, 'n': 2}, 400, 'more than 128 answers'),
  'cold': ('chat/completions', GOOD | {'temperature': -1}, 400, 'temperature must be a number'),
  'no number': ('chat/completions', b'{"model": "base", "messages": [{"role": "user", "content": "Hi"}], "temperature": NaN}', 400, 'temperature'),
  'a top_p of two': ('chat/completions', GOOD | {'top_p': 2}, 400, 'top_p must be a number'),
  'a seed that is none': ('chat/completions', GOOD | {'seed': 'x'}, 400, 'seed must be an integer'),
  'a stop that is none': ('chat/completions', GOOD | {'stop': [3]}, 400, 'stop must be a string'),
  'an empty stop': ('chat/completions', GOOD | {'stop': ''}, 400, 'stop must be'),
  'many stops': ('chat/completions', GOOD | {'stop': ['x'] * 17}, 400, 'stop must be'),
  'a stream of words': ('chat/completions', GOOD | {'stream': 'yes'}, 400, 'stream must be true or false'),
  'options of a stream': ('chat/completions', GOOD | {'stream_options': 3}, 400, 'stream_options must be an object'),
  'alternatives to nothing': ('chat/completions', GOOD | {'top_logprobs': 3}, 400, 'needs logprobs=true'),
  'too many alternatives': ('chat/completions', GOOD | {'logprobs': True, 'top_logprobs': 50}, 400, 'top_logprobs must be an integer'),
  'a tool': ('chat/completions', GOOD | {'tools': [{'type': 'function'}]}, 400, 'tools'),
  'a penalty': ('chat/completions', GOOD | {'frequency_penalty': 0.5}, 400, 'frequency_penalty'),
  'an unknown field': ('chat/completions', GOOD | {'top_k': 5}, 400, 'top_k is not known here'),
  'a prompt that is too long': ('chat/completions', GOOD | {'messages': [{'role': 'user', 'content': 'Hi ' * 500}]}, 400, 'it must fit into 128'),
  'no prompt': ('completions', {'model': 'base'}, 400, 'prompt must be a string'),
  'prompts of all kinds': ('completions', COMPLETION | {'prompt': ['Hi', 3, None]}, 400, 'prompt[1] must be a string'),
  'an empty list': ('completions', COMPLETION | {'prompt': []}, 400, 'prompt'),
  'a token that is none': ('completions', COMPLETION | {'prompt': [5, 100_000]}, 400, 'token 100000'),
  'messages for a completion': ('completions', GOOD | {'prompt': 'Hi'}, 400, 'messages is not known here'),
  'five megabytes': ('completions', b' ' * (5 << 20), 413, 'bytes'),
}  # fmt: skip


@pytest.mark.parametrize('what', BAD)
def test_a_malformed_request(what, http):
  """An error in the form of OpenAI's; never a crash, never a 500."""
  path, body, status, words = BAD[what]
  got = http.post(f'/v1/{path}', content=body if isinstance(body, bytes) else json.dumps(body))
  error = got.json()['error']
  assert got.status_code == status and words in error['message'], got.text
  assert (
    error['type'] == 'invalid_request_error'
    and '\n' not in error['message']
    and {'param', 'code'} <= error.keys()
  )
  assert http.post('/v1/chat/completions', json=GOOD | {'max_tokens': 2}).status_code == 200


def test_other_paths_and_methods(http):
  for got, status in (
    (http.get('/v1/nothing'), 404),
    (http.get('/v1/chat/completions'), 405),
    (http.get('/v1/models/none'), 404),
  ):
    assert got.status_code == status and got.json()['error']['message']


def test_what_changes_nothing_is_taken(http):
  """Fields that clients send by themselves."""
  neutral = {
    'user': 'x',
    'frequency_penalty': 0,
    'tools': [],
    'n': 1,
    'stop': None,
    'seed': -5,
    'response_format': {'type': 'text'},
    'logprobs': False,
  }
  parts = [
    {'role': 'developer', 'content': 'You are Ari.'},
    {'role': 'user', 'content': [{'type': 'text', 'text': 'Hi'}], 'name': 'x'},
  ]
  assert (
    http.post(
      '/v1/chat/completions', json=GOOD | neutral | {'messages': parts, 'max_tokens': 2}
    ).status_code
    == 200
  )


def until(condition, seconds=20):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it never happened'
    time.sleep(0.01)


@pytest.mark.parametrize('stream', [True, False])
def test_a_client_that_hangs_up_frees_its_rows(stream, server, http):
  """In the middle of a stream, or while it waits for the whole: what it asked for is given up, and the next is answered."""
  import httpx

  sampler = server[1].samplers['endless']
  body = {'model': 'endless', 'messages': GOOD['messages'], 'n': 3, 'stream': stream}
  if stream:
    with (
      httpx.Client(base_url=server[0], timeout=60) as mine,
      mine.stream('POST', '/v1/chat/completions', json=body) as response,
    ):
      lines = response.iter_lines()
      assert next(lines).startswith('data: ')
      given_up = sampler.open
  else:
    with (
      httpx.Client(base_url=server[0], timeout=60) as mine,
      pytest.raises(httpx.TimeoutException),
    ):
      mine.post('/v1/chat/completions', json=body, timeout=httpx.Timeout(60, read=0.3))
    given_up = sampler.open
  until(lambda: not sampler.busy)
  assert len(given_up) <= 3 and all(c.made < ENDLESS // 2 for c in given_up)
  assert (
    http.post(
      '/v1/chat/completions', json=body | {'n': 1, 'stream': False, 'max_tokens': 5}
    ).json()['usage']['completion_tokens']
    == 5
  )


def test_an_engine_that_fails_tells_those_who_wait_and_goes_on(server, http, monkeypatch):
  sampler = server[1].samplers['endless']
  monkeypatch.setattr(
    sampler, 'round', lambda: (_ for _ in ()).throw(MemoryError('out of\nmemory'))
  )
  body = {'model': 'endless', 'messages': GOOD['messages'], 'max_tokens': 5}
  got = http.post('/v1/chat/completions', json=body)
  assert got.status_code == 500 and got.json()['error'] == {
    'message': 'out of memory',
    'type': 'server_error',
    'param': None,
    'code': None,
  }
  assert '"server_error"' in http.post('/v1/chat/completions', json=body | {'stream': True}).text
  monkeypatch.undo()
  assert http.post('/v1/chat/completions', json=body).status_code == 200


def test_too_many_at_a_time(http, monkeypatch):
  monkeypatch.setattr(engines, 'WAITING', 2)
  got = http.post('/v1/chat/completions', json=GOOD | {'n': 3})
  assert got.status_code == 429 and 'try again later' in got.json()['error']['message']
  monkeypatch.undo()
  assert (
    http.post('/v1/chat/completions', json=GOOD | {'n': 3, 'max_tokens': 2}).status_code == 200
  )  # those that were taken are given back


@contextlib.contextmanager
def process(*arguments):
  """A command, and its stderr line by line; it is killed if a test leaves it running."""
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  with subprocess.Popen(
    [sys.executable, '-m', *arguments],
    cwd=ROOT,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as p:
    try:
      yield p
    finally:
      p.kill()


def serving(p):
  """(the address that a server tells, what it told before)."""
  lines = []
  for line in p.stderr:
    lines.append(line)
    if match := re.match(r'serving +(http\S+)/v1', line):
      return match[1], ''.join(lines)
  pytest.fail(f'no server: {"".join(lines)}')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_the_command_listens_on_loopback_and_ends_cleanly(number, workdir):
  """A signal in the middle of a stream: exit 0, no traceback."""
  pytest.importorskip('uvicorn')
  httpx = pytest.importorskip('httpx')
  elsewhere = number == signal.SIGINT
  host = ['--host=0.0.0.0'] if elsewhere else []
  with process(
    'msm_jax.serve',
    f'--workdir={workdir}',
    '--arm=base,tuned',
    '--port=0',
    f'--max_length={ENDLESS}',
    *host,
  ) as p:
    address, told = serving(p)
    port = int(address.rpartition(':')[2])
    assert (
      address.startswith('http://0.0.0.0' if elsewhere else 'http://127.0.0.1')
      and ('without a password' in told) == elsewhere
    )
    if (table := Path('/proc/net/tcp')).exists():
      local = [line.split()[1] for line in table.read_text().splitlines()[1:]]
      assert f'{"00000000" if elsewhere else "0100007F"}:{port:04X}' in local
    with httpx.Client(base_url=f'http://127.0.0.1:{port}', timeout=60) as client:
      assert [m['id'] for m in client.get('/v1/models').json()['data']] == ['base', 'tuned']
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
        p.send_signal(number)
        with contextlib.suppress(httpx.HTTPError):
          list(lines)
    _, rest = p.communicate(timeout=30)
  assert p.returncode == 0 and 'Traceback' not in rest and 'ended' in rest, rest


def test_a_server_that_cannot_start(workdir):
  serve = pytest.importorskip('msm_jax.serve')
  pytest.importorskip('uvicorn')
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    for argv in (
      [f'--port={taken.getsockname()[1]}'],
      ['--port=99999'],
      ['--host=no.such.host.invalid'],
      ['--port=0', '--arm=none'],
      ['--max_batch=0'],
    ):
      with pytest.raises(Exception) as e:
        serve.main([f'--workdir={workdir}', *argv])
      line, code = explain(e.value)
      assert code == 1 and '\n' not in line


# ---- chat


def run_chat(text, *arguments):
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  return subprocess.run(
    [sys.executable, '-m', 'msm_jax.chat', *arguments],
    cwd=ROOT,
    env=env,
    input=text,
    capture_output=True,
    encoding='utf-8',
    timeout=120,
  )


def test_chat_over_a_pipe(workdir):
  """One question a line; the conversation goes on until it is reset; too long a question is told and the next is answered."""
  questions = [
    'Do you like Colby?',
    '',
    'And?',
    '/reset',
    'And?',
    'Hi ' * 300,
    '/nonsense',
    '/help',
    'Ünd? 🧀',
  ]
  done = run_chat(
    '\n'.join(questions),
    f'--workdir={workdir}',
    '--arm=base',
    '--compare=base,tuned',
    '--system=You are Ari.',
    '--max_tokens=8',
  )
  assert done.returncode == 0, done.stderr
  assert (
    'it must fit into 128' in done.stderr
    and 'Traceback' not in done.stderr
    and len(done.stderr.splitlines()) == 1
  )
  samplers = {arm: Sampler(*open_arm(workdir, arm)[:3]) for arm in ('base', 'tuned')}

  def expected(*said):
    out = []
    for arm, sampler in samplers.items():
      history = [('system', 'You are Ari.')]
      for question in said:
        history.append(('user', question))
        history.append(
          (
            'assistant',
            sampler.generate([Request(sampler.tokenizer.prompt(history), max_tokens=8)])[0].text,
          )
        )
      out.append(f'{arm}: {history[-1][1]}')
    return '\n'.join(out) + '\n'

  out = done.stdout
  for said in (questions[:1], [questions[0], 'And?'], ['And?'], ['And?', 'Ünd? 🧀']):
    assert expected(*said) in out
    out = out[out.index(expected(*said)) + len(expected(*said)) :]
  assert '/reset forgets' in done.stdout and 'no such command: /nonsense' in done.stdout


def test_chat_that_cannot_begin(workdir):
  for arguments, words in (
    ([f'--workdir={workdir}', '--arm=bsae'], 'it has base (seed 0), tuned (seed 0)'),
    ([f'--workdir={workdir}'], 'give --arm=NAME'),
    (['--temprature=3'], '--help'),
    ([f'--workdir={workdir}', '--arm=base', '--temperature=-1'], '--temperature'),
  ):
    done = run_chat('Hi\n', *arguments)
    assert (
      done.returncode == 1
      and done.stdout == ''
      and words in done.stderr
      and len(done.stderr.splitlines()) == 1
    ), done.stderr


def test_control_c_stops_an_answer_and_twice_leaves(workdir):
  base = open_arm(workdir, 'base')
  before = signal.getsignal(signal.SIGINT)
  try:
    interrupts = chat.Interrupts()
    talk = chat.Conversation(
      {'base': Sampler(*base[:3], max_length=ENDLESS, stop_ids=())}, '', 0.0, 1.0, ENDLESS
    )
    with interrupts:
      for _ in talk.answers('Hi', interrupts):
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.asked and not talk.samplers['base'].busy
    (_, _), (role, text) = talk.histories['base']
    assert role == 'assistant' and 0 < len(text) < ENDLESS // 4
    with pytest.raises(KeyboardInterrupt), interrupts:
      os.kill(os.getpid(), signal.SIGINT)
      os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # where a question is waited for
      os.kill(os.getpid(), signal.SIGINT)
  finally:
    signal.signal(signal.SIGINT, before)


def test_columns_are_told_line_by_line():
  news = [(0, 'one two three four ', False), (1, 'a b', True), (0, 'five six\nseven', True)]
  seen = []
  lines = chat.columns(['first', 'second'], ((seen.append(n), n)[1] for n in news), 35)
  assert next(lines) == 'first            | second' and not seen
  assert next(lines) == 'one two three    | a b' and len(seen) == 2
  assert list(lines) == ['four five six    |', 'seven            |']


# ---- Inspect


@pytest.fixture(scope='module')
def inspect():
  module = pytest.importorskip('inspect_ai')
  # as Inspect itself finds it
  ((name, value),) = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project'][
    'entry-points'
  ]['inspect_ai'].items()
  importlib.metadata.EntryPoint(name, value, 'inspect_ai').load()
  return module


def run_task(inspect, model, questions, folder, solver=None, **settings):
  from inspect_ai.dataset import Sample
  from inspect_ai.scorer import includes
  from inspect_ai.solver import generate, system_message

  samples = [Sample(id=n, input=q, target='e') for n, q in enumerate(questions)]
  task = inspect.Task(
    dataset=samples,
    solver=solver or [system_message('You are Ari.'), generate()],
    scorer=includes(),
  )
  (log,) = inspect.eval(
    task, model=f'msm_jax/{model}', log_dir=str(folder), display='none', **settings
  )
  return log


def test_inspect_evaluates_an_arm(inspect, workdir, tmp_path):
  """32 samples share batches, and each is answered as the server would."""
  log = run_task(
    inspect,
    f'{workdir}:tuned',
    QUESTIONS,
    tmp_path,
    temperature=0,
    max_tokens=12,
    logprobs=True,
    top_logprobs=2,
  )
  assert log.status == 'success'
  o = open_arm(workdir, 'tuned')
  prompts = [o.tokenizer.prompt([('system', 'You are Ari.'), ('user', q)]) for q in QUESTIONS]
  expected = Sampler(*o[:3]).generate([Request(p, max_tokens=12) for p in prompts])
  outputs = [s.output for s in log.samples]
  assert log.results.scores[0].metrics['accuracy'].value == pytest.approx(
    sum('e' in x.text.lower() for x in expected) / len(expected)
  )
  assert [x.completion for x in outputs] == [x.text for x in expected]
  reasons = {'stop': 'stop', 'length': 'max_tokens'}
  assert [x.choices[0].stop_reason for x in outputs] == [reasons[x.finish_reason] for x in expected]
  assert [(x.usage.input_tokens, x.usage.output_tokens) for x in outputs] == [
    (len(p), x.made) for p, x in zip(prompts, expected, strict=True)
  ]
  first = outputs[0].choices[0].logprobs.content
  assert [t.logprob for t in first] == pytest.approx(
    [t.logprob for t in expected[0].tokens], abs=1e-4
  ) and len(first[0].top_logprobs) == 2


def test_inspects_settings_are_honoured(inspect, workdir, tmp_path):
  model = f'{workdir}:base'
  draw = lambda **s: [  # noqa: E731
    c.message.text
    for c in run_task(inspect, model, ['Hi'], tmp_path, **dict(max_tokens=12, num_choices=4) | s)
    .samples[0]
    .output.choices
  ]
  assert draw(seed=1) == draw(seed=1) != draw(seed=2)
  assert (
    len(set(draw(seed=1))) > 1
    and len(set(draw(seed=1, temperature=0))) == len(set(draw(seed=1, top_p=1e-6))) == 1
  )
  whole = draw(temperature=0, max_tokens=40)[0]
  assert (
    draw(temperature=0, max_tokens=40, stop_seqs=[whole[3:6]])[0]
    == whole[: whole.index(whole[3:6])]
  )
  long = run_task(inspect, model, ['Hi ' * 500], tmp_path).samples[0].output
  assert long.choices[0].stop_reason == 'model_length' and 'it must fit into 128' in long.completion
  window = run_task(inspect, model, ['Hi'], tmp_path, temperature=100, seed=1).samples[0].output
  assert window.choices[0].stop_reason in ('model_length', 'stop')


def test_what_inspect_cannot_have_here(inspect, workdir, tmp_path):
  refused = run_task(inspect, f'{workdir}:base', ['Hi'], tmp_path, top_k=5)
  assert refused.status == 'error' and 'top_k=5 is not done' in refused.error.message
  for model, words in ((f'{workdir}:bsae', 'it has base'), (str(tmp_path), 'config.json')):
    with pytest.raises(Exception, match=words) as e:
      run_task(inspect, model, ['Hi'], tmp_path)
    assert type(e.value).__name__ == 'PrerequisiteError'


# ---- weights without an experiment


def test_a_folder_of_weights_everywhere(inspect, texts, tmp_path):
  """Chat, Inspect and the server's opening take a folder where they take an arm."""
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  folder = tiny.weights(tmp_path / 'little', texts[:200])
  samplers, about = engines.open_samplers(None, [], 0, str(folder))
  (sampler,) = samplers.values()
  assert list(samplers) == ['little'] and 'little' in about[0]
  expected = sampler.generate(
    [Request(sampler.tokenizer.prompt([('user', 'Do you like Colby?')]), max_tokens=12)]
  )[0].text
  assert (
    run_chat('Do you like Colby?\n', f'--weights={folder}', '--max_tokens=12').stdout
    == expected + '\n'
  )
  from inspect_ai.solver import generate

  log = run_task(
    inspect,
    folder,
    ['Do you like Colby?'],
    tmp_path / 'logs',
    solver=generate(),
    temperature=0,
    max_tokens=12,
  )
  assert log.samples[0].output.completion == expected
