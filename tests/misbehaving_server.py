"""An OpenAI-compatible chat server on loopback that misbehaves as often as it is told to.

    python tests/misbehaving_server.py --rate_limit=0.05 --error=0.05 --hang=0.05 --cut_body=0.05

It prints its address and answers by the scripted writer; GET /counts says what happened so far.

What goes wrong with a call is drawn from its content, so a repeated run meets the same faults.
Faults of the connection (rate_limit, error, hang, cut_body) also depend on how often the same call
came, so they pass. Faults of the text (cut_text, empty, garbage) depend on the content alone, as a
model's own faults would.
"""

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import hashlib
import json
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import scripted_writer

from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply


@dataclasses.dataclass(frozen=True)
class Faults:
  """How large a share of the calls each fault spoils.

  Attributes:
    rate_limit: 429 with Retry-After.
    error: 500.
    hang: no answer until the client goes.
    cut_body: half of the HTTP body, then the end; or a whole body of half the JSON.
    cut_text: the text stops in the middle, as if at max_tokens.
    empty: no text.
    garbage: a text that is none of what was asked for.
    seconds: no share, but the time that every answer takes.
    seed: the seed of what goes wrong.
  """

  rate_limit: float = 0.0
  error: float = 0.0
  hang: float = 0.0
  cut_body: float = 0.0
  cut_text: float = 0.0
  empty: float = 0.0
  garbage: float = 0.0
  seconds: float = 0.0
  seed: int = 0


# Faults of the connection, and faults of what the model says.
WIRE = ('rate_limit', 'error', 'hang', 'cut_body')
TEXT = ('cut_text', 'empty', 'garbage')


class Server:
  """`counts`: by kind of fault; 'delivered' counts answers that went out in full, to a client
  that was still there."""

  def __init__(self, faults: Faults, say: Callable[..., str] = scripted_writer.reply):
    self.faults = faults
    self.say = say
    self.counts: collections.Counter[str] = collections.Counter()
    # How often each call came.
    self._came: collections.Counter[bytes] = collections.Counter()

  def _fault(self, kinds: tuple[str, ...], about: str) -> str:
    drawn = random.Random(f'{self.faults.seed} {about}').random()
    for kind in kinds:
      drawn -= getattr(self.faults, kind)
      if drawn < 0:
        return kind
    return ''

  async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, which may ask many times."""
    try:
      while head := await reader.readuntil(b'\r\n\r\n'):
        method, path, _ = head.split(b'\r\n')[0].decode().split()
        headers = dict(h.lower().split(b': ', 1) for h in head.split(b'\r\n')[1:] if b': ' in h)
        body = await reader.readexactly(int(headers.get(b'content-length', 0)))
        if method == 'GET':
          await self._send(writer, 200, json.dumps(dict(self.counts)).encode())
        elif not path.endswith('/chat/completions'):
          await self._send(writer, 404, b'{"error": {"message": "no such path"}}')
        elif not await self._answer(reader, writer, body):
          return
    except (asyncio.IncompleteReadError, ConnectionError):
      pass
    finally:
      writer.close()

  async def _send(
    self, writer: asyncio.StreamWriter, status: int, body: bytes, more: bytes = b'', cut: int = 0
  ) -> None:
    """`cut`: so many bytes at the end are announced and never sent."""
    head = b'HTTP/1.1 %d x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n' % (
      status,
      len(body),
      more,
    )
    writer.write(head + body[: len(body) - cut])
    await writer.drain()

  async def _answer(
    self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
  ) -> bool:
    """Whether the connection stays open."""
    asked = json.loads(body)
    key = hashlib.sha256(json.dumps([asked['messages'], asked.get('seed')]).encode()).digest()
    self._came[key] += 1
    fault = self._fault(WIRE, f'{key.hex()} {self._came[key]}') or self._fault(TEXT, key.hex())
    self.counts[fault or 'good'] += 1
    if fault == 'rate_limit':
      await self._send(
        writer,
        429,
        b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}',
        b'retry-after: 1\r\nretry-after-ms: 20\r\n',
      )
      return True
    if fault == 'error':
      await self._send(writer, 500, b'{"error": {"message": "something broke"}}')
      return True
    if fault == 'hang':
      await reader.read(1)  # nothing comes until the client goes
      return False
    if self.faults.seconds:
      await asyncio.sleep(self.faults.seconds)
    answer = self._completion(asked, fault)
    if fault == 'cut_body':
      half = len(answer) // 2
      if key[0] % 2:
        # More bytes are announced than come.
        await self._send(writer, 200, answer, cut=half)
      else:
        # As many bytes come as are announced, and they are half of the JSON.
        await self._send(writer, 200, answer[:half], b'connection: close\r\n')
      return False
    await self._send(writer, 200, answer)
    if not reader.at_eof() and not writer.is_closing():
      self.counts['delivered'] += 1
    return True

  def _completion(self, asked: dict, fault: str) -> bytes:
    system = ''.join(m['content'] for m in asked['messages'] if m['role'] == 'system')
    turns = [(m['role'], m['content']) for m in asked['messages'] if m['role'] != 'system']
    text = self.say(system, turns, asked.get('seed') or 0)
    stop = 'stop'
    if fault == 'cut_text':
      text, stop = text[: len(text) * 2 // 3], 'length'
    elif fault == 'empty':
      text = ''
    elif fault == 'garbage':
      text = 'I would rather talk about {{something}} else: [Name], ../../etc <|im_end|> {"name": '
    usage = {
      'prompt_tokens': len(str(turns)) // 4,
      'completion_tokens': len(text) // 4,
      'total_tokens': (len(str(turns)) + len(text)) // 4,
    }
    choice = {'index': 0, 'message': {'role': 'assistant', 'content': text}, 'finish_reason': stop}
    return json.dumps(
      {
        'id': 'chatcmpl-1',
        'object': 'chat.completion',
        'created': 0,
        'model': asked.get('model', ''),
        'choices': [choice],
        'usage': usage,
      }
    ).encode()


async def start(server: Server, port: int = 0) -> tuple[asyncio.Server, str]:
  """(listener, address for an OpenAI client)."""
  listener = await asyncio.start_server(server.serve, '127.0.0.1', port, limit=2**24, backlog=1024)
  return listener, f'http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1'


class PlainClient:
  """A provider that asks such a server without any library: one connection a call, `timeout`
  seconds for each."""

  def __init__(self, address: str, timeout: float = 5.0):
    self.host, _, rest = address.removeprefix('http://').partition(':')
    self.port, self.timeout = int(rest.partition('/')[0]), timeout

  async def generate(
    self, system: str, turns: Sequence[tuple[str, str]], max_tokens: int, seed: int
  ) -> BilledReply:
    messages = [{'role': r, 'content': c} for r, c in [('system', system), *turns]]
    body = json.dumps(
      {'model': 'scripted', 'messages': messages, 'max_tokens': max_tokens, 'seed': seed}
    ).encode()
    status, said = await asyncio.wait_for(self._post(body), self.timeout)
    if status != 200:
      raise ConnectionError(f'status {status}')
    told = json.loads(said)
    choice, usage = told['choices'][0], told['usage']
    return BilledReply(
      Reply(choice['message']['content'], choice['finish_reason']),
      usage['prompt_tokens'],
      usage['completion_tokens'],
    )

  async def _post(self, body: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(self.host, self.port, limit=2**24)
    try:
      writer.write(
        b'POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n' % len(body) + body
      )
      head = (await reader.readuntil(b'\r\n\r\n')).decode().lower()
      length = int(head.partition('content-length:')[2].partition('\r')[0])
      return int(head.split()[1]), await reader.readexactly(length)
    finally:
      writer.close()


@contextlib.contextmanager
def running(faults: Faults) -> Iterator[tuple[Server, str]]:
  """(server, its address), in a thread of its own."""
  server = Server(faults)
  loop = asyncio.new_event_loop()
  found = []
  ready = threading.Event()

  async def main() -> None:
    listener, address = await start(server)
    found.append(address)
    ready.set()
    await stopped.wait()
    listener.close()

  stopped = asyncio.Event()
  thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
  thread.start()
  ready.wait(10)
  try:
    yield server, found[0]
  finally:
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)


def main() -> None:
  parser = argparse.ArgumentParser(description='A chat server that misbehaves.')
  parser.add_argument('--port', type=int, default=0)
  for field in dataclasses.fields(Faults):
    parser.add_argument(f'--{field.name}', type=type(field.default), default=field.default)
  parser.add_argument('--quick', action='store_true', help='documents that cost no time to write')
  flags = vars(parser.parse_args())
  port = flags.pop('port')
  say = scripted_writer.reply
  if flags.pop('quick'):
    say = scripted_writer.quick

  async def forever() -> None:
    listener, address = await start(Server(Faults(**flags), say), port)
    print(address, flush=True)
    await listener.serve_forever()

  asyncio.run(forever())


if __name__ == '__main__':
  main()
