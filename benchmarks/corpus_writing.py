"""What the pipeline that writes documents does by itself: how fast, in how much memory, and what faults and kills can do to it.

    python benchmarks/corpus_writing.py      # (a) 1,000, 10,000 and 50,000 documents, a provider that answers at once
    python benchmarks/corpus_writing.py --http --documents 2000      # (a) an HTTP server that answers at once, in a process of its own
    python benchmarks/corpus_writing.py --http --inspect --documents 2000 [--once]      # (a) the same through Inspect; without an editor
    python benchmarks/corpus_writing.py --faults --documents 1000 --kills 20 [--inspect] [--mirrored]      # (b); two handbooks, one plan

(a) Every document is drafted and revised: two calls, or one with --once. Documents a second are counted from the finished plan to the JSONL file on
disk; the audit and the storing as ArrayRecord are timed beside it. Memory is the most that the process has held, beyond what it held after its
imports.
(b) A server that fails with 429, 500, a hang and a cut body in 5% of the calls each; the writer is killed at random moments and started again. In
the end all planned documents are there once, the files are those of a run without kills and without such faults, and hardly a reply that had
arrived in full is missing in the ledger. A reply takes half a second, and 16 are under way at a time: what a kill can lose is what arrives while it
is written down. (Calls under way are lost with any writer, and aren't counted.)
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests'))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('LOCAL_API_KEY', 'none')

import scripted_writer
from misbehaving_server import PlainClient

from data_pipelines.audit import run as audit
from data_pipelines.documents import pipeline as writing
from data_pipelines.llm.providers import Answer
from data_pipelines.llm.replies import Reply
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, PlanSettings

ROOT = Path(__file__).resolve().parent.parent
SPECS = {n: str(ROOT / 'specs' / 'english' / f'{n}.md') for n in ('affordability', 'culture')}
LOOSE = {what: 0.0 if what in audit.FLOORS else 1.0 for what in audit.OF_DOCUMENTS}


class Instant:
  """Answers at once, without a network."""

  async def generate(self, system: str, turns: Any, max_tokens: int, seed: int) -> Answer:
    said = scripted_writer.quick(system, turns, seed)
    return Answer(Reply(said), 1000, len(said) // 4)


def memory(field: str) -> float:
  """MiB of this process by /proc/self/status: VmRSS now, VmHWM at most."""
  return int(re.search(rf'{field}:\s+(\d+)', Path('/proc/self/status').read_text())[1]) / 1024


def config(args: argparse.Namespace) -> CorpusConfig:
  documents = args.documents[0]
  ideas = -(-documents // (10 * 5 * 10))
  model = 'openai-api/local/scripted' if args.inspect else 'mockllm/model'
  return CorpusConfig(
    'benchmark', tuple(SPECS[s] for s in stems(args)), documents=documents, revise=not args.once, min_yield=0.0,
    prices=str(ROOT / 'configs' / 'corpora' / 'prices.json'),
    plan=PlanSettings(domains=10, subdomains=5, claims=6, types=10, ideas=ideas), audit=LOOSE,
    writer=ModelSettings(model=model, base_url=args.address, max_connections=args.connections, timeout=args.timeout, attempts=8),
  )  # fmt: skip


def providers(args: argparse.Namespace) -> dict[str, Any] | None:
  return (
    None
    if args.inspect
    else {'writer': PlainClient(args.address, args.timeout) if args.address else Instant()}
  )


def stems(args: argparse.Namespace) -> list[str]:
  return list(SPECS)[: 2 if args.mirrored else 1]


def passed_on(args: argparse.Namespace) -> list[str]:
  """Flags for a child."""
  return [f'--{name}' for name in ('inspect', 'mirrored', 'once') if getattr(args, name)]


# ---- (a)


def measure(c: CorpusConfig, providers: dict[str, Any] | None, folder: Path) -> dict[str, float]:
  """One run in this process."""
  clocks: dict[str, float] = {}
  cpu: dict[str, float] = {}

  def timed(owner: Any, name: str, label: str) -> None:
    made = getattr(owner, name)

    def run(*args: Any, **kwargs: Any) -> Any:
      began = time.perf_counter()
      try:
        return made(*args, **kwargs)
      finally:
        clocks[label] = clocks.get(label, 0.0) + time.perf_counter() - began
        cpu[f'{label}_peak'] = memory('VmHWM')

    setattr(owner, name, run)

  timed(writing, '_audit', 'audit')
  timed(writing, 'store', 'store')
  keep_plan = writing.Run._keep_plan

  def planned(run: writing.Run, made: Any) -> None:
    keep_plan(run, made)
    clocks['planned'], cpu['planned'] = time.perf_counter(), time.process_time()

  writing.Run._keep_plan = planned
  finish = writing.Run._finish

  def finished(*args: Any) -> Any:
    done = finish(*args)
    clocks['finished'], cpu['finished'], cpu['peak'] = (
      time.perf_counter(),
      time.process_time(),
      memory('VmHWM'),
    )
    return done

  writing.Run._finish = finished
  if not providers:
    import inspect_ai.model  # noqa: F401  its import is no part of the work
  before = memory('VmRSS')
  Path('/proc/self/clear_refs').write_text('5')  # the maximum begins here
  done = writing.make(c, folder, providers)
  documents = len(c.specs) * c.documents
  assert sum(done.documents.values()) == (
    len(c.specs) * len(done.balance.kept) if done.balance else documents
  ), done.documents
  wall, used = clocks['finished'] - clocks['planned'], cpu['finished'] - cpu['planned']
  return {
    'documents': documents, 'tokens': sum(done.tokens.values()), 'per_second': documents / wall, 'cpu_ms': 1000 * used / documents,
    'mib': cpu['peak'] - before, 'audit_s': clocks['audit'], 'audit_mib': cpu['audit_peak'] - before, 'store_s': clocks['store'],
    'store_mib': cpu['store_peak'] - before,
  }  # fmt: skip


def throughput(args: argparse.Namespace) -> None:
  for documents in args.documents:
    with (
      tempfile.TemporaryDirectory() as folder,
      served('--quick') if args.http else contextlib.nullcontext('') as address,
    ):
      flags = [
        '--child',
        folder,
        '--documents',
        str(documents),
        '--address',
        address,
        *passed_on(args),
      ]
      out = subprocess.run(
        [sys.executable, __file__, *flags], check=True, capture_output=True, text=True
      ).stdout
    m = json.loads(out.splitlines()[-1])
    print(
      f'{documents:>6,} documents, {m["tokens"]:>10,} tokens: {m["per_second"]:>5.0f} documents/s, {m["cpu_ms"]:.2f} ms of CPU each; '
      f'memory {m["mib"]:.0f} MiB; audit {m["audit_s"]:.0f} s, up to {m["audit_mib"]:.0f} MiB; '
      f'ArrayRecord {m["store_s"]:.0f} s, up to {m["store_mib"]:.0f} MiB',
      flush=True,
    )


# ---- (b)


@contextlib.contextmanager
def served(*flags: str) -> Iterator[str]:
  """The address of a server in a process of its own."""
  server = subprocess.Popen(
    [sys.executable, str(ROOT / 'tests' / 'misbehaving_server.py'), *flags],
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    yield server.stdout.readline().strip()
  finally:
    server.kill()
    server.wait()


def counts(address: str) -> dict[str, int]:
  with urllib.request.urlopen(address.removesuffix('/v1') + '/counts', timeout=10) as answer:
    return json.load(answer)


def replies(folder: Path) -> int:
  try:
    with contextlib.closing(
      sqlite3.connect(f'file:{folder}/ledger.sqlite?mode=ro', uri=True)
    ) as db:
      return db.execute('select count(*) from replies').fetchone()[0]
  except sqlite3.Error:
    return 0


def files(folder: Path) -> dict[str, bytes]:
  return {
    p.name: p.read_bytes() for p in (folder / 'plan.json', *(folder / 'corpus').glob('*.jsonl'))
  }


def faulty(args: argparse.Namespace) -> None:
  documents, kills = args.documents[0], args.kills
  flags = ['--documents', str(documents), '--timeout', '5', '--connections', '16', *passed_on(args)]
  text = ('--cut_text=0.05', '--empty=0.02', '--garbage=0.02')
  wire = ('--rate_limit=0.05', '--error=0.05', '--hang=0.05', '--cut_body=0.05', '--seconds=0.5')
  with tempfile.TemporaryDirectory() as folder:
    whole, killed = Path(folder, 'whole'), Path(folder, 'killed')
    with served(*text) as address:
      began = time.monotonic()
      run_to_the_end(['--child', str(whole), '--address', address, *flags])
      total = replies(whole)
      print(
        f'without kills and without trouble on the wire: {total:,} replies in {time.monotonic() - began:.0f} s'
      )
    with served(*text, *wire) as address:
      began, arguments = time.monotonic(), ['--child', str(killed), '--address', address, *flags]
      draw = random.Random(0)
      for at in sorted(draw.sample(range(1, total - 1), kills)):
        kill(arguments, killed, at, draw.random())
      starts = run_to_the_end(arguments)
      seconds, seen = time.monotonic() - began, counts(address)
    kept, rows = (
      replies(killed),
      {
        s: [json.loads(line)['id'] for line in (killed / 'corpus' / f'{s}.jsonl').open()]
        for s in stems(args)
      },
    )
    print(
      f'with {kills} kills and {starts} more start(s): {seconds:.0f} s; the server saw {json.dumps(seen)}'
    )
    for s, ids in rows.items():
      print(
        f'{s}: documents {len(ids):,}, different ids {len(set(ids)):,} of {documents:,} planned'
      )
    unused = (seen['delivered'] - kept) / seen['delivered']
    print(
      f'replies delivered in full {seen["delivered"]:,}, in the ledger {kept:,}: {unused:.2%} not used (bar: 1%)'
    )
    print('files equal to those of the run without kills:', files(whole) == files(killed))
    for what, measure in json.loads((killed / 'audit.json').read_text())['mirrored'].items():
      print(f'audit: {what} {measure["value"]:.4f}' if measure else f'audit: {what} not measured')


def kill(arguments: list[str], folder: Path, at: int, seconds: float) -> None:
  """Starts the writer and kills it, so many seconds after the ledger holds so many replies."""
  child = subprocess.Popen(
    [sys.executable, __file__, *arguments], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
  )
  while child.poll() is None and replies(folder) < at:
    time.sleep(0.01)
  with contextlib.suppress(subprocess.TimeoutExpired):
    child.wait(seconds)
  child.send_signal(signal.SIGKILL)
  child.wait()


def run_to_the_end(arguments: list[str], most: int = 10) -> int:
  """The same command until it ends well: how often. A provider that fails again and again ends a run early, and the next goes on."""
  for n in range(1, most + 1):
    done = subprocess.run(
      [sys.executable, __file__, *arguments],
      stderr=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      text=True,
    )
    if not done.returncode:
      return n
    print('a run ended early:', done.stderr.strip().splitlines()[-1])
  raise SystemExit(f'no run of {most} came to its end')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--documents', type=int, nargs='+', default=[1000, 10_000, 50_000])
  parser.add_argument('--http', action='store_true')
  parser.add_argument('--inspect', action='store_true')
  parser.add_argument('--faults', action='store_true')
  parser.add_argument('--mirrored', action='store_true')
  parser.add_argument('--once', action='store_true')
  parser.add_argument('--kills', type=int, default=20)
  parser.add_argument('--child', help=argparse.SUPPRESS)
  parser.add_argument('--address', default='', help=argparse.SUPPRESS)
  parser.add_argument('--timeout', type=int, default=60, help=argparse.SUPPRESS)
  parser.add_argument('--connections', type=int, default=50, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:  # a run of its own, started by this program
    print(json.dumps(measure(config(args), providers(args), Path(args.child))))
  elif args.faults:
    faulty(args)
  else:
    throughput(args)


if __name__ == '__main__':
  main()
