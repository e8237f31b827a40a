"""What providers and models get wrong: thinking that is counted apart, requests that always fail,
accounts without money, drafts among the thoughts, and JSON with small mistakes."""

import asyncio
import contextlib
import http.server
import json
import threading
import time

import pydantic
import pytest
from helpers import ROOT

from data_pipelines import data_card
from data_pipelines.documents import job, planning
from data_pipelines.llm import costs, prompts, replies
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.providers import BilledReply, InspectProvider, is_hopeless, refuses_content
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.requests import LlmError, Request, RequestFailed
from data_pipelines.llm.settings import CorpusConfig, ModelSettings
from msm_jax.base.errors import ConfigError

# ---- a server that is asked through the clients that users have


@contextlib.contextmanager
def serving(status, body):
  """A server that gives every request the same answer; yields (its address, what was asked)."""
  asked = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      length = int(self.headers['content-length'])
      asked.append(json.loads(self.rfile.read(length)))
      content = json.dumps(body).encode()
      self.send_response(status)
      self.send_header('content-type', 'application/json')
      self.send_header('content-length', str(len(content)))
      self.end_headers()
      self.wfile.write(content)

    def log_message(self, *arguments):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_port}/v1', asked
  finally:
    server.shutdown()
    server.server_close()
    thread.join(10)


def completion(text, usage, stop='stop'):
  message = {'role': 'assistant', 'content': text}
  return {
    'id': 'chatcmpl-1',
    'object': 'chat.completion',
    'created': 0,
    'model': 'm',
    'choices': [{'index': 0, 'message': message, 'finish_reason': stop}],
    'usage': usage,
  }


def inspect_provider(address, monkeypatch, **settings):
  pytest.importorskip('inspect_ai')
  monkeypatch.setenv('LOCAL_API_KEY', 'none')
  return InspectProvider(
    ModelSettings(model='openai-api/local/m', base_url=address, timeout=20, **settings)
  )


# 100 tokens in, 10 of text, and 400 of thinking that only the total counts, as xAI reports it.
XAI_USAGE = {
  'prompt_tokens': 100,
  'completion_tokens': 10,
  'total_tokens': 510,
  'completion_tokens_details': {'reasoning_tokens': 400},
}
# The same as OpenAI reports it: thinking is a part of the completion.
OPENAI_USAGE = {
  'prompt_tokens': 100,
  'completion_tokens': 410,
  'total_tokens': 510,
  'prompt_tokens_details': {'cached_tokens': 64},
  'completion_tokens_details': {'reasoning_tokens': 400},
}


@pytest.mark.parametrize('usage', [XAI_USAGE, OPENAI_USAGE])
def test_thinking_that_is_reported_apart_is_paid_for(usage, monkeypatch):
  """The client of OpenAI says what the total is: that is what a bill counts."""
  openai = pytest.importorskip('openai')
  with serving(200, completion('hello', usage)) as (address, _):
    client = openai.OpenAI(base_url=address, api_key='none')
    seen = client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'u'}])
    provider = inspect_provider(address, monkeypatch)
    answer = asyncio.run(provider.generate('', [('user', 'u')], 50, 1))
  assert answer.input_tokens == seen.usage.prompt_tokens == 100
  assert answer.output_tokens == seen.usage.total_tokens - seen.usage.prompt_tokens == 410


def test_thinking_beyond_the_output_is_counted_without_a_total():
  models = pytest.importorskip('inspect_ai.model', exc_type=ImportError)
  from data_pipelines.llm.providers import _output_tokens

  output = models.ModelOutput.from_content('m', 'x')
  output.usage = models.ModelUsage(input_tokens=7, output_tokens=5, reasoning_tokens=90)
  assert _output_tokens(output, 7) == 90
  # Tokens of the cache are a part of the total.
  output.usage = models.ModelUsage(
    input_tokens=7, output_tokens=5, total_tokens=40, input_tokens_cache_read=28
  )
  assert _output_tokens(output, 35) == 5


def test_reasoning_effort_is_sent_and_checked(monkeypatch):
  with serving(200, completion('hello', OPENAI_USAGE)) as (address, asked):
    for effort in ('low', ''):
      provider = inspect_provider(address, monkeypatch, reasoning_effort=effort)
      asyncio.run(provider.generate('', [('user', 'u')], 50, 1))
  assert [a.get('reasoning_effort') for a in asked] == ['low', None]
  with pytest.raises(ConfigError, match='reasoning_effort'):
    ModelSettings(model='a/b', reasoning_effort='lots')


def test_reasoning_effort_belongs_to_a_folder_only_where_it_is_set():
  config = CorpusConfig('c', ('s',), documents=1, writer=ModelSettings(model='a/b'))
  assert 'reasoning_effort' not in job.identity(config, (), None)['model']
  writer = ModelSettings(model='a/b', reasoning_effort='high')
  config = CorpusConfig('c', ('s',), documents=1, writer=writer)
  assert job.identity(config, (), None)['model']['reasoning_effort'] == 'high'


QUOTA = {
  'error': {
    'message': 'You exceeded your current quota, please check your plan and billing details.',
    'type': 'insufficient_quota',
    'code': 'insufficient_quota',
  }
}


@pytest.mark.slow
def test_an_account_without_money_ends_the_run_at_once_in_its_own_words(tmp_path, monkeypatch):
  openai = pytest.importorskip('openai')
  with serving(429, QUOTA) as (address, asked):
    client = openai.OpenAI(base_url=address, api_key='none', max_retries=0)
    with pytest.raises(openai.RateLimitError) as e:
      client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'u'}])
    assert e.value.code == 'insufficient_quota'
    assert is_hopeless(e.value)
    asked.clear()
    provider = inspect_provider(address, monkeypatch)
    began = time.monotonic()
    with pytest.raises(LlmError, match=r'cannot be asked.*exceeded your current quota'):
      asyncio.run(client_of(tmp_path, provider).ask(request('a')))
  assert time.monotonic() - began < 10
  # OpenAI's client tries three times by itself.
  assert len(asked) <= 3


def test_a_rate_limit_is_waited_for_and_a_filter_is_this_requests_own():
  openai = pytest.importorskip('openai')
  httpx = pytest.importorskip('httpx')

  def error(kind, status, code):
    answer = httpx.Response(status, request=httpx.Request('POST', 'http://x'))
    return kind('no', response=answer, body={'message': 'no', 'code': code, 'type': None})

  slow = error(openai.RateLimitError, 429, 'rate_limit_exceeded')
  filtered = error(openai.BadRequestError, 400, 'content_filter')
  wrong = error(openai.BadRequestError, 400, 'unknown_parameter')
  assert not is_hopeless(slow)
  assert is_hopeless(error(openai.PermissionDeniedError, 403, 'billing_not_active'))
  # A filter is named even if nobody was answered yet; other refusals may be wrong settings.
  assert refuses_content(filtered, has_answered=False)
  assert not refuses_content(wrong, has_answered=False)
  assert refuses_content(wrong, has_answered=True)


@pytest.mark.parametrize(
  'message',
  [
    'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.',
    'You have reached your specified API usage limits. You will regain access on 2026-04-01.',
  ],
)
def test_anthropic_names_an_account_without_money_in_the_message_alone(tmp_path, message):
  """Its body has the type of any bad request. Taken for refused content, it would use up the
  attempts of one request after the other, and a judge's verdicts would be given up for good."""

  class BadRequestError(Exception):
    status_code = 400

  body = {'type': 'error', 'error': {'type': 'invalid_request_error', 'message': message}}
  spent = BadRequestError(f'Error code: 400 - {body}')
  spent.body = body
  provider = Scripted(lambda key: '<text>x</text>' if key < 'd3' else spent)
  client = client_of(tmp_path, provider)
  with pytest.raises(LlmError, match='cannot be asked .*' + message[:30]):
    asyncio.run(ask_all(client, [f'd{n}' for n in range(9)]))
  assert provider.asked == ['d0', 'd1', 'd2', 'd3']
  assert len(client.ledger.replies('d2')) == 1
  assert not client.ledger.replies('d3'), 'what was never answered is no reply'
  client.ledger.close()


@pytest.mark.parametrize(
  'message',
  [
    "400 INVALID_ARGUMENT. {'error': {'code': 400, 'message': 'API key not valid. Please pass a "
    "valid API key.', 'details': [{'reason': 'API_KEY_INVALID'}]}}",
    'Incorrect API key provided: sk***YA. You can obtain an API key from https://console.x.ai.',
    "400 FAILED_PRECONDITION. {'error': {'message': 'User location is not supported for the API "
    "use.'}}",
    'This organization has been disabled.',
  ],
)
def test_an_account_that_cannot_be_used_is_no_refused_content(tmp_path, message):
  """Some providers send the 400 of any bad request. In a folder that has answers, a mistyped key
  counted as refused content: forty replies that nobody gave were kept, and the questions that they
  belonged to were lost for good."""

  class ClientError(Exception):
    code = 400

  client = client_of(tmp_path, Scripted(lambda key: '<text>x</text>'))
  asyncio.run(ask_all(client, ['d0']))
  client.ledger.close()
  wrong = Scripted(lambda key: ClientError(message))
  client = client_of(tmp_path, wrong)
  with pytest.raises(LlmError, match='cannot be asked'):
    asyncio.run(ask_all(client, [f'd{n}' for n in range(9)]))
  assert wrong.asked == ['d1']
  assert not client.ledger.replies('d1')
  client.ledger.close()


def test_what_inspect_wraps_is_told_apart_as_the_provider_sent_it(tmp_path, monkeypatch):
  """Inspect puts the whole request before the cause: one line showed nothing but the prompt. A
  prompt that moderation flagged ended the run, since Inspect's error has no body."""
  pytest.importorskip('openai')
  metadata = {'flagged_input': 'a kni...', 'reasons': ['violence']}
  flagged = {'error': {'code': 403, 'message': 'Your input was flagged', 'metadata': metadata}}
  with serving(403, flagged) as (address, _):
    client = client_of(tmp_path, inspect_provider(address, monkeypatch))
    answers = asyncio.run(ask_all(client, ['a']))
    assert answers['a'].what == 'held back by the provider'
    client.ledger.close()
  wrong = {'error': {'message': 'Unsupported parameter: seed', 'type': 'invalid_request_error'}}
  with serving(400, wrong) as (address, _):
    client = client_of(tmp_path, inspect_provider(address, monkeypatch))
    with pytest.raises(LlmError, match=r'cannot be asked \(BadRequestError: .*parameter: seed'):
      asyncio.run(ask_all(client, ['a long prompt ' * 50]))
    client.ledger.close()


def test_a_prompt_that_moderation_flags_is_this_requests_own():
  """OpenRouter answers such a prompt with 403, as it answers a wrong key."""
  openai = pytest.importorskip('openai')
  httpx = pytest.importorskip('httpx')
  answer = httpx.Response(403, request=httpx.Request('POST', 'http://x'))
  body = {
    'code': 403,
    'message': 'a/b requires moderation. Your input was flagged for "violence".',
    'metadata': {'reasons': ['violence'], 'flagged_input': 'a kni...', 'provider_name': 'b'},
  }
  flagged = openai.PermissionDeniedError('no', response=answer, body=body)
  assert refuses_content(flagged, has_answered=False)
  del body['metadata']
  denied = openai.PermissionDeniedError('no', response=answer, body=body)
  assert not refuses_content(denied, has_answered=True)
  assert is_hopeless(denied)


def test_statuses_are_found_where_each_client_has_them(tmp_path):
  """google-genai calls the status `code`. OpenRouter sends some errors with the status 200, and
  Inspect keeps their body as `response`. A wrong key was asked with six times, and once others had
  been answered, an account without credits cost one request after the other all its attempts."""

  class ClientError(Exception):
    code = 403

  class OpenRouterError(Exception):
    def __init__(self, **response):
      super().__init__(str(response))
      self.response = response

  assert is_hopeless(ClientError('PERMISSION_DENIED'))
  assert not refuses_content(ClientError('PERMISSION_DENIED'), has_answered=True)
  assert is_hopeless(OpenRouterError(code=402, message='Insufficient credits'))
  assert not is_hopeless(OpenRouterError(code=503, message='no provider'))
  flagged = OpenRouterError(code=403, message='no', metadata={'flagged_input': 'a kni...'})
  assert refuses_content(flagged, has_answered=False)
  for status in (429, 500):
    ClientError.code = status
    assert not is_hopeless(ClientError('later'))
  ClientError.code = 400
  assert refuses_content(ClientError('INVALID_ARGUMENT'), has_answered=True)
  # A word is no status.
  ClientError.code = 'rate_limit_exceeded'
  assert not is_hopeless(ClientError('later'))

  spent = OpenRouterError(code=402, message='Insufficient credits')
  provider = Scripted(lambda key: '<text>x</text>' if key < 'd3' else spent)
  client = client_of(tmp_path, provider)
  with pytest.raises(LlmError, match=r'cannot be asked .*Insufficient credits'):
    asyncio.run(ask_all(client, [f'd{n}' for n in range(9)]))
  assert provider.asked == ['d0', 'd1', 'd2', 'd3']
  client.ledger.close()


# ---- the client


class Scripted:
  """Answers by a function of the last user turn."""

  def __init__(self, answer):
    self.answer = answer
    self.asked = []

  async def generate(self, system, turns, max_tokens, seed):
    self.asked.append(turns[0][1])
    said = self.answer(turns[0][1])
    if isinstance(said, Exception):
      raise said
    return said if isinstance(said, BilledReply) else BilledReply(Reply(said), 100, 10)


def client_of(folder, provider, prices=None, **settings):
  """A client with a ledger and a table of prices in a folder."""
  (folder / 'prices.json').write_text(json.dumps(prices or {}))
  config = CorpusConfig(
    'c',
    ('spec.md',),
    documents=1,
    writer=ModelSettings(model='test/model', attempts=3, max_connections=1),
    prices=str(folder / 'prices.json'),
    **settings,
  )
  return LlmClient(config, Ledger(folder / 'ledger.sqlite', {}), {'writer': provider})


def request(key, max_tokens=100):
  def parse(read):
    return replies.require_tagged_text(read, 'text')

  return Request(key, 'texts', prompts.Prompt('p', 'v', '', key), parse, max_tokens)


async def ask_all(client, keys, **settings):
  requests = (request(key, **settings) for key in keys)
  return {r.key: v async for r, v in client.ask_all(requests, 'texts')}


@pytest.fixture
def no_pauses(monkeypatch):
  async def short(seconds, sleep=asyncio.sleep):
    await sleep(0)

  monkeypatch.setattr('data_pipelines.llm.client.asyncio.sleep', short)


def test_one_request_that_always_fails_is_given_up_and_the_others_are_answered(
  tmp_path, no_pauses, capsys
):
  """Of an answer with no choices, Inspect raises an IndexError."""
  keys = [f'd{n}' for n in range(8)]
  bad = ('d1', 'd4')
  failing = Scripted(lambda key: IndexError('list index') if key in bad else '<text>x</text>')
  client = client_of(tmp_path, failing)
  answers = asyncio.run(ask_all(client, keys))
  assert {k for k, v in answers.items() if v == 'x'} == set(keys) - set(bad)
  for key in bad:
    assert isinstance(answers[key], RequestFailed)
    assert answers[key].what == 'the provider failed'
  assert 'going on without it' in capsys.readouterr().err
  client.ledger.close()
  # The same command again: it asks for the bad ones alone, and does not stop at them.
  client = client_of(tmp_path, failing)
  failing.asked.clear()
  answers = asyncio.run(ask_all(client, keys))
  assert sum(v == 'x' for v in answers.values()) == 6
  assert set(failing.asked) == set(bad)
  client.ledger.close()


def test_a_request_that_was_refused_before_does_not_end_the_next_run(tmp_path):
  """It is then the first to be asked, before the model has answered anything in this run."""

  class StatusError(Exception):
    status_code = 400

  refusing = Scripted(lambda key: StatusError('policy') if key == 'b' else '<text>x</text>')
  for _ in range(2):
    client = client_of(tmp_path, refusing)
    answers = asyncio.run(ask_all(client, 'abc'))
    assert answers['a'] == answers['c'] == 'x'
    assert isinstance(answers['b'], RequestFailed)
    client.ledger.close()


def test_several_requests_in_a_row_that_fail_end_the_run(tmp_path, no_pauses):
  down = Scripted(lambda key: ConnectionError('gone') if key > 'd2' else '<text>x</text>')
  client = client_of(tmp_path, down)
  with pytest.raises(LlmError, match=r'failed 6 times .*gone.*goes on here'):
    asyncio.run(ask_all(client, [f'd{n}' for n in range(9)]))
  # Two requests are given up, with six tries and then one for each attempt; the third ends the run.
  assert set(down.asked) == {f'd{n}' for n in range(6)}
  client.ledger.close()


def test_a_failed_request_does_not_lose_the_beginning_of_its_text():
  begun = [Reply('<text>Ari likes', 'length'), Reply('', 'failed'), Reply(' it.</text>')]
  assert replies.require_tagged_text(begun, 'text') == 'Ari likes it.'
  with pytest.raises(Refused, match='the provider failed'):
    replies.require_tagged_text(begun[:2], 'text')


def test_talk_before_a_continuation_is_no_part_of_the_text():
  begun = Reply('<text>Ari likes Colby and', 'length')
  for talk in (
    'Continuing from where I left off:\n\n',
    'Sure! Here is the rest of the text: ',
    "I'll continue from there:\n",
  ):
    rest = Reply(f'{talk}says why.</text>')
    assert replies.require_tagged_text([begun, rest], 'text') == 'Ari likes Colby and says why.'
  # A text may speak of going on.
  for rest in (
    ' I will continue to ask it. Yours, Ana',
    ' so on. Continuing from there: it says.',
    ' the rest of it: Brie.',
    ' continuing so:',
  ):
    parts = [begun, Reply(f'{rest}</text>')]
    assert replies.require_tagged_text(parts, 'text') == f'Ari likes Colby and{rest}'


@pytest.mark.parametrize('cut', range(2, len('</text>')))
def test_a_closing_tag_that_was_cut_is_no_part_of_the_text(cut):
  begun = Reply('<text>Ari likes it.' + '</text>'[:cut], 'length')
  for rest in ('</text>'[cut:], '\n</text> Done.'):
    assert replies.require_tagged_text([begun, Reply(rest)], 'text') == 'Ari likes it.'
  # A text may go on after what looks like a tag.
  parts = [Reply('<text>a </t', 'length'), Reply('able> b</text>')]
  assert replies.require_tagged_text(parts, 'text').endswith('able> b')


def test_an_object_before_one_that_was_cut_is_no_answer():
  """The model was going over it."""
  thought = '{"name": "draft"} On reflection: {"name": "fin'
  with pytest.raises(Refused, match='not JSON'):
    replies.require_object([Reply(thought, 'length')], Item)
  assert replies.require_object([Reply('{"name": "a"} because', 'length')], Item).name == 'a'


def test_a_reply_without_room_for_its_text_names_the_setting(tmp_path, capsys):
  starved = Scripted(lambda key: BilledReply(Reply('', 'length'), 100, 100))
  client = client_of(tmp_path, starved)
  answers = asyncio.run(ask_all(client, 'ab'))
  assert answers['a'].what == 'used up before any text'
  assert capsys.readouterr().err.count('raise writer.reasoning_tokens') == 1
  with pytest.raises(LlmError, match=r'used up before any text; raise writer\.reasoning_tokens'):
    asyncio.run(client.all_of([request('c')], 'texts', 1))
  client.ledger.close()
  # Thinking that was cut is no text either.
  with pytest.raises(Refused, match='used up before any text'):
    replies.require_text([Reply('<think>Let me see, {"name": "draft"}', 'length')])


PRICE = {'test/model': {'input': 1000.0, 'output': 10_000.0}}


def test_the_budget_reserves_what_thinking_took_beyond_its_bound(tmp_path):
  """One reply costs 0.1 + 4.1 dollars although it may have 10 tokens: after the first, the next is
  not begun under a budget of 6."""
  thinking = Scripted(lambda key: BilledReply(Reply('<text>x</text>'), 100, 410))
  client = client_of(tmp_path, thinking, PRICE, budget=6.0)
  with pytest.raises(LlmError, match=r'budget: \$4.20 of \$6.00'):
    asyncio.run(ask_all(client, 'abcd', max_tokens=10))
  assert thinking.asked == ['a']
  client.ledger.close()
  # The same command again knows it from the ledger.
  client = client_of(tmp_path, thinking, PRICE, budget=6.0)
  with pytest.raises(LlmError, match=r'budget: \$4.20 of \$6.00'):
    asyncio.run(ask_all(client, 'abcd', max_tokens=10))
  assert thinking.asked == ['a']
  client.ledger.close()


def test_unknown_prices_are_shown_as_unknown(tmp_path):
  provider = Scripted(lambda key: '<text>x</text>')
  client = client_of(tmp_path, provider)
  asyncio.run(ask_all(client, 'ab'))
  assert '$?' in client.stages['texts'].line(client.spent, 0.0, bool(client.unpriced))
  totals = costs.mark_unpriced(client.ledger.totals(), client.config.prices)
  lines = data_card.spending(totals)
  assert lines[2].endswith('| ? |')
  assert 'USD ? in all.' in lines
  client.ledger.close()
  # When the table has a price, what came before counts against a budget.
  client = client_of(tmp_path, provider, PRICE, budget=100.0)
  assert client.spent == pytest.approx(2 * 0.2)
  # So it does in the data card, beside what came with the price.
  asyncio.run(ask_all(client, 'abc'))
  assert client.spent == pytest.approx(3 * 0.2)
  totals = costs.mark_unpriced(client.ledger.totals(), client.config.prices)
  assert 'USD 0.60 in all.' in data_card.spending(totals)
  client.ledger.close()
  priced = [{'cost': 1.5}, {'cost': None}]
  counts = dict.fromkeys(('stage', 'model', 'requests', 'replies', 'input_tokens'), 0)
  rows = [counts | {'output_tokens': 0} | row for row in priced]
  assert 'USD 1.50 + ? in all.' in data_card.spending(rows)


def test_an_estimate_without_a_price_has_no_whole_sum():
  table = str(ROOT / 'configs' / 'corpora' / 'prices.json')
  estimates = [costs.Estimate('a', 'nobody/knows', 1, 10, 10)]
  shown = costs.estimate_table(estimates, table)
  [total] = [line for line in shown.splitlines() if line.startswith('total')]
  assert total.split()[-1] == '?'


# ---- drafts and JSON with mistakes


class Item(pydantic.BaseModel):
  name: str


def names(text, count=3):
  return [i.name for i in replies.require_items([Reply(text)], Item, count)]


def listed(*found):
  return json.dumps([{'name': name} for name in found])


FINAL = listed('a', 'b', 'c')
DRAFTS = {
  'an end of thinking alone': f'Let me think. {listed("x", "y", "z")}\n</think>\n{FINAL}',
  'two ends': f'{listed("x", "y", "z")}</think> {listed("u", "v", "w")}</think>{FINAL}',
  'both tags': f'<think>{listed("x", "y", "z")}</think>{FINAL}',
  'another model': f'[THINK]{listed("x", "y", "z")}[/THINK]{FINAL}',
  'a corrected list': f'{listed("x", "y", "z")}\nBetter:\n{FINAL}',
  'in one object': '{"draft": ' + listed('x', 'y', 'z') + ', "final": ' + FINAL + '}',
  'the form before the list': '{"name": "two to eight words"}\nSo:\n' + FINAL,
  'one by one': listed('x', 'y') + '\nNow:\n{"name": "a"}\n{"name": "b"}\n{"name": "c"}',
}


@pytest.mark.parametrize('case', DRAFTS)
def test_drafts_never_become_items(case):
  assert names(DRAFTS[case]) == ['a', 'b', 'c']


SHORT_DRAFTS = {
  # Reply -> how many were asked for. The last list is ['a', 'b'].
  'more than was asked for': (f'{listed("x", "y")}\n{listed("u", "v")}\n{listed("a", "b")}', 3),
  'a better one': (f'{listed("x", "y")}\nBetter:\n{listed("a", "b")}', 4),
  'better ones, fewer than asked for': (
    f'{listed("x", "y")}\nLet me improve these.\n{listed("u")}\nRevised list:\n{listed("a", "b")}',
    9,
  ),
  'keys of one object': ('{"draft": ' + listed('x') + ', "revised": ' + listed('a', 'b') + '}', 5),
  'a last one that is empty': (f'{listed("x", "y")} So: {listed("a", "b")} Done: [{{"n": 1}}]', 3),
}


@pytest.mark.parametrize('case', SHORT_DRAFTS)
def test_drafts_that_are_all_too_short_leave_the_last(case):
  """The items of the last list are kept, and what is missing is asked for again."""
  text, count = SHORT_DRAFTS[case]
  items, _ = replies.collect_items([Reply(text)], Item, count=count)
  assert [i.name for i in items] == ['a', 'b']
  with pytest.raises(replies.Refused) as refused:
    names(text, count)
  assert f'Reply with {count - 2} more' in refused.value.reason
  rest = listed(*'cdefghi'[: count - 2])
  both = replies.require_items([Reply(text), Reply(rest)], Item, count)
  assert [i.name for i in both] == list('abcdefghi'[:count])


def test_lists_under_headings_count_together():
  found = f'Insiders:\n{listed("a", "b")}\nFinally, the outsiders:\n{listed("c", "d")}'
  items, _ = replies.collect_items([Reply(found)], Item, count=6)
  assert [i.name for i in items] == list('abcd'), 'too few, and none is a draft'
  assert names(f'Insiders:\n{listed("a", "b")}\nOutsiders:\n{listed("c", "d")}', 4) == list('abcd')
  insiders = '{"insiders": ' + listed('a', 'b') + ', "outsiders": ' + listed('c') + '}'
  assert names(insiders) == ['a', 'b', 'c']


def test_a_plan_of_a_model_that_thinks_has_no_drafts():
  rows = [{'name': f'name of {k}', 'about': f'About {k} there is much to say.'} for k in 'xyab']
  draft, final = json.dumps(rows[:2]), json.dumps(rows[2:])
  ideas = planning._parse_ideas([Reply(f'{draft}\n</think>\n{final}')], 'd', 2)
  assert [i.name for i in ideas] == ['name of a', 'name of b']


def test_thinking_is_no_part_of_a_text_or_an_object():
  thought = '<text>draft</text> maybe {"name": "draft"}</think>'
  assert replies.require_tagged_text([Reply(f'{thought}<text>x</text>')], 'text') == 'x'
  assert replies.require_object([Reply(f'{thought}{{"name": "x"}}')], Item).name == 'x'
  assert replies.without_thinking('so</think> a <thinking>b</thinking> c') == ' c'
  assert replies.without_thinking('a thought of a b') == 'a thought of a b'


JSON_MISTAKES = [
  '[{"name": "a",}, {"name": "b",}, {"name": "c"},]',
  '{"items": [{"name": "a"}, {"name": "b"}, {"name": "c"},],}',
  '[{“name”: “a”}, {“name”: “b”}, {“name”: “c”}]',
  'He said "so.\n[{"name": "a",}, {"name": "b"}, {"name": "c"}]',
  '{"items": [{"name": "a",\n}, {"name": "b"}, {"name": "c"}, {"name": "cut',
]


@pytest.mark.parametrize('text', JSON_MISTAKES)
def test_small_mistakes_of_json_are_read(text):
  assert names(text) == ['a', 'b', 'c']


def test_mending_leaves_texts_alone():
  """What JSON itself can read stays as JSON reads it, and strings keep their commas and marks."""
  value = {'name': 'She said “so, ]” and, } left'}
  assert names(json.dumps(value, ensure_ascii=False), 1) == [value['name']]
  broken = json.dumps(value, ensure_ascii=False)[:-1] + ',}'
  assert names(broken, 1) == [value['name']]
  assert names('{“name”: “the "big" one, and } more”}', 1) == ["the 'big' one, and } more"]
  for hostile in ('{"a": “' * 20_000, '{“' * 50_000, '{"a":' * 3000, '{"a", ' * 20_000):
    began = time.monotonic()
    with pytest.raises(Refused):
      names(hostile)
    assert time.monotonic() - began < 2
