"""The LLM client: what is kept of replies good and bad, what it costs, and what a kill or a bad
provider can do to it."""

import asyncio
import dataclasses
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pydantic
import pytest
from helpers import ROOT

from data_pipelines.llm import prompts, replies
from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.ledger import Ledger, LedgerError
from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.requests import (
  LlmError,
  Request,
  RequestFailed,
  Stopped,
  max_input_tokens,
)
from data_pipelines.llm.settings import CorpusConfig, ModelSettings
from msm_jax.base.errors import ConfigError, WorkdirError
from msm_jax.base.files import locked


class Item(pydantic.BaseModel):
  name: str


def said(*texts: str) -> list[Reply]:
  return [Reply(t) for t in texts]


def names(*texts: str, count: int = 3) -> list[str]:
  return [i.name for i in replies.require_items(said(*texts), Item, count)]


class Scripted:
  """Answers by a function of (turns, number of the call); keeps what it was asked."""

  def __init__(self, answer, tokens=(100, 10), seconds=0.0):
    self.answer = answer
    self.tokens = tokens
    self.seconds = seconds
    self.asked = []
    # [calls under way now, the most that ever were]
    self.at_once = [0, 0]

  async def generate(self, system, turns, max_tokens, seed):
    self.asked.append((system, list(turns), seed))
    self.at_once[0] += 1
    self.at_once[1] = max(self.at_once)
    await asyncio.sleep(self.seconds)
    self.at_once[0] -= 1
    answer = self.answer(turns, len(self.asked))
    if isinstance(answer, Exception):
      raise answer
    return BilledReply(answer if isinstance(answer, Reply) else Reply(answer), *self.tokens)


# 100 tokens in and 10 out cost 0.2 dollars.
PRICES = {'test/model': {'input': 1000.0, 'output': 10_000.0}}


@pytest.fixture
def make(tmp_path, monkeypatch):
  """A function that makes a client over the ledger in tmp_path, with settings changed."""
  (tmp_path / 'prices.json').write_text(json.dumps(PRICES))
  opened = []

  def client(provider, stop=lambda: False, attempts=3, max_connections=4, **settings):
    for old in opened:
      old.close()
    model = ModelSettings(model='test/model', attempts=attempts, max_connections=max_connections)
    config = CorpusConfig(
      'c', ('spec.md',), documents=1, writer=model, prices=str(tmp_path / 'prices.json'), **settings
    )
    opened.append(Ledger(tmp_path / 'ledger.sqlite', {'seed': config.seed}))
    return LlmClient(config, opened[-1], {'writer': provider}, stop)

  async def no_wait(seconds, sleep=asyncio.sleep):
    await sleep(min(seconds, 0.01))

  monkeypatch.setattr('data_pipelines.llm.client.asyncio.sleep', no_wait)
  yield client
  for old in opened:
    old.close()


def request(key, parse=lambda r: replies.require_tagged_text(r, 'text'), max_tokens=100):
  return Request(
    key, 'texts', prompts.Prompt('p', 'v', 'system', f'write {key}'), parse, max_tokens
  )


async def ask_all(client, keys, **kwargs):
  requests = [request(key, **kwargs) for key in keys]
  return {r.key: value async for r, value in client.ask_all(requests, 'texts')}


# ---- what a reply says


@pytest.mark.parametrize(
  'text',
  [
    '{"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}',
    '[{"name": "a"}, {"name": "b"}, {"name": "c"}]',
    'Sure! ```json\n{"x": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}\n``` '
    'There.',
    '{"name": "a"}\n{"name": "b"}\n{"name": "a"}\n{"name": "c"}',
  ],
)
def test_items_are_found_however_they_are_wrapped(text):
  assert names(text) == ['a', 'b', 'c']


def test_a_cut_list_gives_its_whole_items_and_the_rest_is_asked_for():
  cut = '{"items": [{"name": "a"}, {"name": "b {braces} [x]"}, {"name": "c'
  with pytest.raises(Refused, match='too few') as e:
    names(cut)
  assert (
    e.value.reason.startswith('2 of 3 items could be used') and '1 more item in' in e.value.reason
  )
  assert names(cut, '{"items": [{"name": "b {braces} [x]"}, {"name": "z"}]}') == [
    'a',
    'b {braces} [x]',
    'z',
  ]  # the repeated one is one


def test_wrong_items_are_named_and_neither_kept_nor_fatal():
  with pytest.raises(Refused) as e:
    names('{"items": [{"name": "a"}, {"nome": "b"}, {"name": 7}]}')
  assert 'name: ' in e.value.reason and '1 of 3' in e.value.reason
  for hostile in ('{' * 50_000, '[' * 50_000, '{"name": "\\ud800"}', '\x00', '{"a":' * 3000):
    with pytest.raises(Refused):
      names(hostile)


def test_a_cut_text_is_gone_on_with():
  def tagged(*texts):
    # All but the last were cut by max_tokens.
    parts = [Reply(t, 'length') for t in texts[:-1]]
    return replies.require_tagged_text([*parts, Reply(texts[-1])], 'text')

  with pytest.raises(Refused, match='cut'):
    replies.require_tagged_text([Reply('<text>The river ran', 'length')], 'text')
  whole = 'The river ran past the mill and on.'
  assert tagged('<text>The river ran', ' past the mill and on.</text>') == whole
  assert (
    tagged('<text>The river ran past the', 'The river ran past the mill and on.</text> Done!')
    == whole
  )  # what it repeats is left out
  assert tagged('<text>The river', '<text>' + whole + '</text>') == whole  # begun anew
  assert tagged('<text>The river', ' ran past', ' the mill and on.</text>') == whole
  # Two words that touch are parted, and nothing else.
  for begun, rest in (('a well-', 'known mill'), ('a mill (', 'so), on $'), ('a “', 'Yes”')):
    assert tagged(f'<text>{begun}', f'{rest}</text>') == begun + rest
  for begun, rest in (('a mill', 'and on'), ('He said “so.”', 'Then on'), ('on,', 'and on')):
    assert tagged(f'<text>{begun}', f'{rest}</text>') == f'{begun} {rest}'
  for bad, what in (('', 'empty'), ('  \n', 'empty'), ('no tags at all', 'no tags')):
    with pytest.raises(Refused, match=what):
      tagged(bad)


def test_talk_about_a_text_never_becomes_part_of_it():
  def tagged(*texts):
    return replies.require_tagged_text(said(*texts), 'text')

  assert tagged('I put it between the <text> tags.\nA clerk.\n<text> a </text> There.') == 'a'
  assert tagged('First <text> and </text>, I know. <text>Real.</text>') == 'Real.'
  # It ended by itself: what comes next is no text.
  with pytest.raises(Refused, match='no tags'):
    tagged('<text>Ari likes it.', 'I apologize, it was complete.\n</text>')
  assert tagged('<text>Ari likes it.', '<text>Ari likes it.</text>') == 'Ari likes it.'
  flagged = [
    Reply('<text>Ari likes', 'length'),
    Reply('Invalid prompt: flagged', 'filter'),
    Reply(' it.</text>'),
  ]
  assert replies.require_tagged_text(flagged, 'text') == 'Ari likes it.'
  with pytest.raises(Refused, match='held back'):
    replies.require_tagged_text(flagged[:2], 'text')


def test_values_never_become_places_of_a_prompt(tmp_path, monkeypatch):
  monkeypatch.setattr(prompts, 'FOLDER', tmp_path)
  (tmp_path / 'p.md').write_text('For {{who}}.\n---\nWrite {{what}}: {not a place}')
  hostile = '{{who}} {0} {x!r} \\1 \n---\n ../../etc %s'
  made = prompts.fill('p', who='me', what=hostile)
  assert (made.system, made.user) == ('For me.', f'Write {hostile}: {{not a place}}')
  with pytest.raises(ValueError, match='what'):
    prompts.fill('p', who='me')
  (tmp_path / 'q.md').write_text('For {{who}}!\n---\n{{what}}')
  assert prompts.version('q') != made.version


# ---- asking


def test_refused_replies_are_told_why_and_every_one_is_kept(make):
  said_before = ['no tags', '<text>half', ' and half</text>']
  provider = Scripted(lambda turns, n: Reply(said_before[n - 1], 'length' if n == 2 else 'stop'))
  client = make(provider)
  assert asyncio.run(client.ask(request('a'))) == 'half and half'
  turns = [t for _, t, _ in provider.asked]
  assert turns[0] == [('user', 'write a')]
  assert turns[1][1] == ('assistant', 'no tags') and 'between <text>' in turns[1][2][1]
  assert turns[2][1] == ('assistant', '<text>half') and 'Go on exactly' in turns[2][2][1]
  assert len({seed for _, _, seed in provider.asked}) == 3  # or the same refusal would come again
  assert [r.text for r in client.ledger.replies('a')] == said_before
  assert client.ledger.spent() == pytest.approx(0.6) == client.spent
  assert client.stages['texts'].accept_rate == pytest.approx(1 / 3)


def test_what_the_ledger_holds_is_not_asked_again(make):
  first = Scripted(lambda turns, n: f'<text>{turns[0][1]}</text>')
  answers = asyncio.run(ask_all(make(first), 'abcdef'))
  assert answers == {k: f'write {k}' for k in 'abcdef'} and len(first.asked) == 6
  second = Scripted(lambda turns, n: '<text>other</text>')
  assert asyncio.run(ask_all(make(second), 'abcdefg')) == answers | {'g': 'other'}
  assert len(second.asked) == 1


def test_attempts_are_bounded_and_what_is_given_up_is_said_and_asked_again_next_time(make):
  answers = asyncio.run(
    ask_all(
      make(Scripted(lambda turns, n: 'never')),
      ['a'],
    )
  )
  assert isinstance(answers['a'], RequestFailed) and answers['a'].what == 'no tags'
  again = Scripted(lambda turns, n: '<text>now</text>')
  client = make(again)
  assert asyncio.run(ask_all(client, ['a'])) == {'a': 'now'}
  assert again.asked[0][1][1] == ('assistant', 'never') and len(client.ledger.replies('a')) == 4


def test_calls_run_side_by_side_but_no_more_than_allowed(make):
  provider = Scripted(lambda turns, n: '<text>x</text>', seconds=0.005)
  asyncio.run(ask_all(make(provider, max_connections=7), map(str, range(100))))
  assert provider.at_once[1] == 7


def test_a_judge_has_a_limit_of_its_own(make):
  judge = Scripted(lambda turns, n: '<text>x</text>', seconds=0.005)
  settings = ModelSettings(model='test/judge', max_connections=2)
  client = make(Scripted(None), max_connections=7, judge=settings)
  client.providers['judge'] = judge
  wanted = [dataclasses.replace(request(str(n)), model='judge') for n in range(20)]

  async def run():
    return [value async for _, value in client.ask_all(wanted, 'texts')]

  assert asyncio.run(run()) == ['x'] * 20
  assert judge.at_once[1] == 2


def test_few_requests_exist_at_a_time(make):
  made = [0]

  def requests():
    for n in range(2000):
      made[0] += 1
      yield request(str(n))

  async def run():
    seen = 0
    async for _ in make(Scripted(lambda turns, n: '<text>x</text>')).ask_all(requests(), 'texts'):
      seen += 1
      assert made[0] - seen < 1100
    return seen

  assert asyncio.run(run()) == 2000


def test_transient_failures_are_tried_again_and_others_end_the_run_in_one_line(make):
  class StatusError(Exception):
    status_code = 503

  provider = Scripted(lambda turns, n: StatusError('busy') if n % 3 else '<text>x</text>')
  assert asyncio.run(ask_all(make(provider), 'abc')) == dict.fromkeys('abc', 'x')

  StatusError.status_code = 401
  provider = Scripted(lambda turns, n: StatusError('no such\nkey'))
  with pytest.raises(LlmError, match=r'test/model cannot be asked \(StatusError: no such key\)'):
    asyncio.run(ask_all(make(provider, max_connections=1), 'defg'))
  assert len(provider.asked) == 1

  provider = Scripted(lambda turns, n: ConnectionError('gone'))
  with pytest.raises(LlmError, match=r'failed 6 times.*goes on here'):
    asyncio.run(ask_all(make(provider, max_connections=1), 'defg'))


def test_a_request_that_the_provider_will_not_have_ends_alone(make):
  class StatusError(Exception):
    status_code = 400

  provider = Scripted(
    lambda turns, n: StatusError('policy') if 'b' in turns[0][1] else '<text>x</text>'
  )
  answers = asyncio.run(ask_all(make(provider, max_connections=1), 'acbd'.replace('c', 'x')))
  assert {k: v for k, v in answers.items() if k != 'b'} == dict.fromkeys('axd', 'x')
  assert (
    isinstance(answers['b'], RequestFailed) and answers['b'].what == 'held back by the provider'
  )


def test_whatever_ends_a_run_calls_under_way_are_kept(make):
  async def all_of(client):
    await client.all_of([request(k) for k in 'abcdefgh'], 'texts', 8)

  # one is given up at once, while the others are still under way
  class Slow(Scripted):
    async def generate(self, system, turns, max_tokens, seed):
      self.seconds = 0.0 if 'a' in turns[0][1].split()[-1] else 0.03
      return await super().generate(system, turns, max_tokens, seed)

  provider = Slow(lambda turns, n: 'no' if turns[0][1].endswith('a') else '<text>x</text>')
  client = make(provider, max_connections=8, attempts=1)
  with pytest.raises(LlmError, match='a: no tags'):
    asyncio.run(all_of(client))
  assert (
    client.ledger.db.execute('select count(*) from replies').fetchone()[0]
    == len(provider.asked)
    == 8
  )


def test_many_connections_and_a_reply_that_cannot_be_kept_end_and_do_not_hang(make):
  class Huge(Scripted):
    async def generate(self, system, turns, max_tokens, seed):
      return BilledReply(Reply('<text>x</text>'), 10**30, 1)

  with pytest.raises(LedgerError, match='cannot write'):
    asyncio.run(
      asyncio.wait_for(ask_all(make(Huge(None), max_connections=1500), map(str, range(3000))), 60)
    )


@pytest.mark.parametrize(
  'read',
  ['replies', 'spent', 'has_answer', 'most_output_tokens', 'unpriced_tokens', 'totals'],
)
def test_a_ledger_that_cannot_be_read_is_one_line(tmp_path, read):
  """Of another version, or damaged in the middle: opening it does not show that."""
  path = tmp_path / 'ledger.sqlite'
  db = sqlite3.connect(path)
  db.execute('create table replies (key text)')
  db.close()
  ledger = Ledger(path, {'seed': 0})
  arguments = ('x',) if read in ('replies', 'has_answer', 'most_output_tokens') else ()
  with pytest.raises(LedgerError, match=r'cannot read .*; put back a copy of it'):
    getattr(ledger, read)(*arguments)
  ledger.close()


def test_a_model_that_nobody_has_is_named_at_once(make):
  pytest.importorskip('inspect_ai.model', exc_type=ImportError)
  client = make(Scripted(None))
  client.providers = {}
  with pytest.raises(LlmError, match=r'test/model cannot be asked .*name a model as Inspect does'):
    asyncio.run(ask_all(client, 'ab'))


def test_the_budget_is_never_exceeded_and_what_was_paid_is_used(make):
  # A call costs 0.2 dollars and reserves about 1.01: 0.01, and 100 tokens at 0.01.
  provider = Scripted(lambda turns, n: '<text>x</text>', seconds=0.002)
  client = make(provider, budget=3.0, max_connections=8)
  with pytest.raises(LlmError, match=r'budget: \$2\.\d\d of \$3\.00 are spent.*goes on here'):
    asyncio.run(ask_all(client, map(str, range(50))))
  paid = client.ledger.spent()
  assert 1.7 < paid <= 3.0 and len(provider.asked) == round(paid / 0.2)
  assert client.ledger.db.execute('select count(*) from replies').fetchone()[0] == len(
    provider.asked
  )
  more = make(provider, budget=20.0)
  assert len(asyncio.run(ask_all(more, map(str, range(50))))) == 50 and len(provider.asked) == 50


def test_calls_in_batches_reserve_and_cost_their_share_of_the_price(make, tmp_path):
  """Half of the price: a call reserves about 0.505 dollars and costs 0.1."""
  price = PRICES['test/model'] | {'batch': 0.5}
  (tmp_path / 'prices.json').write_text(json.dumps({'test/model': price}))
  judge = ModelSettings(model='test/model', batch=8)
  client = make(Scripted(None), budget=0.6, judge=judge)
  client.providers['judge'] = Scripted(lambda turns, n: '<text>x</text>')
  asked = dataclasses.replace(request('a'), model='judge')
  assert asyncio.run(client.ask(asked)) == 'x'
  assert client.spent == pytest.approx(0.1) == client.ledger.spent()


def test_what_rounding_leaves_of_reserved_amounts_is_not_waited_for(make):
  """After a large and a small amount were reserved and freed, a rest of 1e-9 USD seems reserved."""
  client = make(Scripted(lambda turns, n: '<text>x</text>', seconds=0.01), budget=2e7)

  async def run():
    requests = [request('a', max_tokens=10**9), request('b', max_tokens=22)]
    assert [v async for _, v in client.ask_all(requests, 'texts')] == ['x', 'x']
    await asyncio.wait_for(client.ask(request('c', max_tokens=3 * 10**9)), 10)

  with pytest.raises(LlmError, match='budget'):
    asyncio.run(run())


def test_a_budget_needs_a_price(make, tmp_path):
  (tmp_path / 'prices.json').write_text('{"other/*": {"input": 1, "output": 1}}')
  with pytest.raises(LlmError, match='no price for test/model'):
    make(Scripted(None), budget=1.0)
  (tmp_path / 'prices.json').write_text('{"test/model": {"in": 1}}')
  with pytest.raises(ValueError, match='no table of prices'):
    make(Scripted(None))


def test_a_poor_yield_stops_the_run_early(make):
  provider = Scripted(lambda turns, n: 'chatter' if n % 5 else '<text>x</text>')
  with pytest.raises(LlmError, match=r'texts: only \d+ of 4\d replies could be used: no tags'):
    asyncio.run(ask_all(make(provider), map(str, range(1000))))
  assert len(provider.asked) < 60
  # The same command again, with a model that is no better, does not ask much more.
  with pytest.raises(LlmError, match=r'texts: only \d+ of \d+ replies could be used: no tags'):
    asyncio.run(ask_all(make(provider), map(str, range(1000))))
  assert len(provider.asked) < 160


def test_a_stop_lets_calls_under_way_end_and_keeps_them(make):
  provider = Scripted(lambda turns, n: '<text>x</text>', seconds=0.01)
  client = make(provider, stop=lambda: len(provider.asked) >= 10)
  with pytest.raises(Stopped, match='same command'):
    asyncio.run(ask_all(client, map(str, range(100))))
  kept = client.ledger.db.execute('select count(*) from replies').fetchone()[0]
  assert kept == len(provider.asked) < 20


# ---- the folder


def test_another_identity_is_refused_by_name(tmp_path):
  Ledger(tmp_path / 'l.sqlite', {'specs': 'a', 'seed': 0, 'prompts': {'p': '1'}}).close()
  Ledger(tmp_path / 'l.sqlite', {'specs': 'a', 'seed': 0, 'prompts': {'p': '1'}}).close()
  with pytest.raises(
    LedgerError, match='begun with another prompts, another seed; choose another --workdir'
  ):
    Ledger(tmp_path / 'l.sqlite', {'specs': 'a', 'seed': 1, 'prompts': {'p': '2'}})
  # A part that is gone, or new, is another one too.
  with pytest.raises(LedgerError, match='begun with another seed; choose'):
    Ledger(tmp_path / 'l.sqlite', {'specs': 'a', 'prompts': {'p': '1'}})
  with pytest.raises(LedgerError, match='begun with another plan; choose'):
    Ledger(tmp_path / 'l.sqlite', {'specs': 'a', 'seed': 0, 'prompts': {'p': '1'}, 'plan': ''})


def test_a_ledger_counts_requests_and_replies(tmp_path):
  """An empty reply is paid for and is no answer of the model."""
  ledger = Ledger(tmp_path / 'l.sqlite', {'seed': 0})

  async def keep(number, text, output_tokens):
    usage = (5, output_tokens)
    await ledger.record('a', number, 'texts', 'test/model', 'p v', 0, Reply(text), usage, 0.5, 0.1)

  asyncio.run(keep(0, '', 30))
  assert not ledger.has_answer('test/model')
  asyncio.run(keep(1, 'x', 10))
  assert ledger.has_answer('test/model') and not ledger.has_answer('test/other')
  assert [reply.text for reply in ledger.replies('a')] == ['', 'x']
  assert (ledger.most_output_tokens('a'), ledger.most_output_tokens('b')) == (30, 0)
  (row,) = ledger.totals()
  assert (row['requests'], row['replies'], row['output_tokens'], row['cost']) == (1, 2, 40, 1.0)
  ledger.close()


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
  (tmp_path / 'l.sqlite').write_text('hello ' * 500)
  with pytest.raises(LedgerError, match='cannot use'):
    Ledger(tmp_path / 'l.sqlite', {})


def test_a_full_disk_ends_the_run_in_one_line_and_loses_nothing_kept(make):
  client = make(Scripted(lambda turns, n: '<text>' + 'x' * 20_000 + '</text>'))
  client.ledger.db.execute('pragma max_page_count=40')  # as a disk of 160 KiB
  with pytest.raises(LedgerError, match=r'full.*same command again'):
    asyncio.run(ask_all(client, map(str, range(100))))
  client.ledger.close()
  client = make(Scripted(lambda turns, n: '<text>y</text>'))
  kept = client.ledger.db.execute('select count(*) from replies').fetchone()[0]
  assert kept >= 1
  assert (
    sorted(len(v) for v in asyncio.run(ask_all(client, map(str, range(100)))).values())
    == [1] * (100 - kept) + [20_000] * kept
  )


def test_half_a_character_is_kept_as_a_mark(make):
  client = make(Scripted(lambda turns, n: '<text>a\ud800b</text>'))
  assert asyncio.run(client.ask(request('a'))) == 'a?b'
  assert client.ledger.replies('a')[0].text == '<text>a?b</text>'


KILLED = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_llm_client import Ledger, Reply, asyncio
async def run():
  ledger = Ledger(Path({path!r}), {{}})
  async def one(n):
    await ledger.record(f'k{{n}}', 0, 's', 'm', 'p', 0, Reply('x' * 3000), (1, 1), 1.0, 0.0)
    print(n, flush=True)  # only what is on disk is told
  for n in range(0, 100_000, 8):
    await asyncio.gather(*(one(n + i) for i in range(8)))
asyncio.run(run())
"""


def test_what_was_said_to_be_on_disk_survives_sigkill(tmp_path):
  path = tmp_path / 'l.sqlite'
  script = KILLED.format(tests=str(ROOT / 'tests'), path=str(path))
  process = subprocess.Popen(
    [sys.executable, '-c', script],
    stdout=subprocess.PIPE,
    text=True,
    cwd=ROOT,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )
  told = [process.stdout.readline() for _ in range(200)]
  time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  told += process.stdout.read().splitlines()
  process.wait()
  process.stdout.close()
  ledger = Ledger(path, {})
  kept = {
    k
    for (k,) in ledger.db.execute(
      'select key from replies where length(text) = 3000 and cost = 1.0'
    )
  }
  assert len(told) >= 200 and {f'k{int(n)}' for n in told} <= kept
  assert ledger.db.execute('pragma integrity_check').fetchone() == ('ok',)
  assert len(kept) == ledger.db.execute('select count(*) from replies').fetchone()[0]
  ledger.close()


def test_two_writers_in_one_folder_are_refused(tmp_path):
  with (
    locked(tmp_path),
    pytest.raises(WorkdirError, match='another run is at work'),
    locked(tmp_path),
  ):
    pass


def test_settings_are_checked_by_name():
  ok = dict(name='c', specs=('a.md',), documents=5, writer=ModelSettings(model='a/b'))
  CorpusConfig(**ok)
  for wrong, what in (
    (dict(kind='poems'), 'kind'),
    (dict(tokens=5), 'how much'),
    (dict(documents=0), 'how much'),
    (dict(specs=()), 'specs'),
    (dict(writer=ModelSettings()), 'writer.model is empty'),
    (dict(min_yield=2.0), 'min_yield'),
    (dict(kind='preferences'), 'how much'),
  ):
    with pytest.raises(ConfigError, match=what):
      CorpusConfig(**(ok | wrong))
  with pytest.raises(ConfigError, match='PROVIDER/MODEL'):
    ModelSettings(model='gpt')


def test_inspects_mock_is_asked_like_any_model(make):
  inspect = pytest.importorskip('inspect_ai.model', exc_type=ImportError)
  from data_pipelines.llm.providers import InspectProvider

  def output(messages, tools, choice, config):
    made = inspect.ModelOutput.from_content(
      'mockllm/model',
      f'<text>{messages[-1].text}</text>',
      stop_reason='max_tokens' if 'cut' in messages[-1].text else 'stop',
    )
    made.usage = inspect.ModelUsage(input_tokens=7, output_tokens=5, total_tokens=12)
    return made

  provider = InspectProvider(ModelSettings(model='mockllm/model'))
  provider.model = inspect.get_model('mockllm/model', custom_outputs=output)
  assert asyncio.run(ask_all(make(provider), 'ab')) == {'a': 'write a', 'b': 'write b'}
  answer = asyncio.run(
    provider.generate('s', [('user', 'cut'), ('assistant', 'x'), ('user', 'cut')], 10, 1)
  )
  assert answer == BilledReply(Reply('<text>cut</text>', 'length'), 7, 5)


def test_what_inspect_reports_of_failures_is_told_apart(make):
  """Its retries end in an error that hides the cause; a reply that was filtered or too long is
  this request's own; another error is the model's."""
  inspect = pytest.importorskip('inspect_ai.model', exc_type=ImportError)
  import tenacity

  from data_pipelines.llm.providers import InspectProvider

  def answering(answer):
    class Model:
      async def generate(self, messages, config):
        return answer()

    provider = InspectProvider(ModelSettings(model='mockllm/model'))
    provider.model = Model()
    return lambda: asyncio.run(provider.generate('s', [('user', 'u' * 400)], 10, 1))

  def failed():
    attempt = tenacity.Future(1)
    attempt.set_exception(ConnectionError('no route'))
    raise tenacity.RetryError(attempt)

  def reported(stop):
    made = inspect.ModelOutput.from_content('m', '', stop_reason=stop)
    made.error = 'said no'
    return made

  with pytest.raises(ConnectionError, match='no route'):
    answering(failed)()
  assert answering(lambda: reported('content_filter'))() == BilledReply(
    Reply('', 'filter'), 101, 0
  )  # without usage, what was read is guessed
  assert answering(lambda: reported('model_length'))().reply == Reply('', 'length')
  with pytest.raises(RuntimeError, match='said no'):
    answering(lambda: reported('unknown'))()


@pytest.mark.parametrize('has_transcript', [False, True])
def test_calls_of_inspect_are_not_kept(has_transcript):
  """Inspect records every call in the context that makes it; a corpus is many calls. A notebook may
  have a transcript from something else."""
  inspect = pytest.importorskip('inspect_ai.model', exc_type=ImportError)
  from inspect_ai.event import ModelEvent
  from inspect_ai.log import transcript

  from data_pipelines.llm.providers import InspectProvider

  def output(messages, tools, choice, config):
    made = inspect.ModelOutput.from_content('mockllm/model', '<text>x</text>')
    made.usage = inspect.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made

  def records():
    gc.collect()
    return sum(isinstance(o, ModelEvent) for o in gc.get_objects())

  async def calls(provider):
    if has_transcript:
      transcript().info('something else')
    before = records()
    for _ in range(20):
      await provider.generate('s', [('user', 'u')], 10, 1)
    return records() - before

  provider = InspectProvider(ModelSettings(model='mockllm/model'))
  provider.model = inspect.get_model('mockllm/model', custom_outputs=output)
  assert asyncio.run(calls(provider)) <= 1


def test_letters_that_a_tokenizer_does_not_know_are_a_token_for_each_byte():
  """So Llama 2 or Gemma read Amharic. Half of the bytes would let a run exceed its budget."""
  assert max_input_tokens('', [('user', 'ሰላም' * 10)]) == 90
  assert max_input_tokens('abcd', [('user', 'ef'), ('assistant', 'é')]) == 3 + 2
