"""What the pipeline that writes documents costs by itself, and what faults and kills can do to it.

    # (a) 1,000, 10,000 and 50,000 documents, from a provider that answers at once
    python benchmarks/corpus_writing.py
    # (a) from an HTTP server that answers at once, in a process of its own
    python benchmarks/corpus_writing.py --http --documents 2000
    # (a) the same through Inspect; with --once, without an editor
    python benchmarks/corpus_writing.py --http --inspect --documents 2000 [--once]
    # (b) with --mirrored, two handbooks and one plan
    python benchmarks/corpus_writing.py --faults --documents 1000 --kills 20 [--inspect]
        [--mirrored]

(a) Speed and memory. Every document is drafted and revised: two calls, or one with --once.
Documents per second are counted from the finished plan to the JSONL file on disk. The audit and the
storing as ArrayRecord are timed beside it. Memory is the most that the process has held, beyond
what it held after its imports.

(b) Faults and kills. A server fails with 429, 500, a hang and a cut body in 5% of the calls each.
The writer is killed at random moments and started again. In the end, every planned document must be
there once, the files must be those of a run without kills and without such faults, and hardly a
reply that had arrived in full may be missing in the ledger. A reply takes half a second, and 16 are
under way at a time: a kill can lose what arrives while it is written down. (Calls under way are
lost with any writer, and are not counted.)
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

from data_pipelines.audit.thresholds import DOCUMENT_MEASURES, FLOORS
from data_pipelines.documents import pipeline
from data_pipelines.documents.run import Run
from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, PlanSettings

ROOT = Path(__file__).resolve().parent.parent
SPECS = {n: str(ROOT / 'specs' / 'english' / f'{n}.md') for n in ('affordability', 'culture')}

# The shape of every plan: domains, subdomains of each domain, and types of documents.
DOMAINS = 10
SUBDOMAINS = 5
TYPES = 10


def loose_thresholds() -> dict[str, float]:
  """Makes thresholds that every corpus keeps, because scripted texts would miss the usual ones.

  Returns:
    Name of a threshold -> bound.
  """
  thresholds = {}
  for name in DOCUMENT_MEASURES:
    if name in FLOORS:
      thresholds[name] = 0.0
    else:
      thresholds[name] = 1.0
  return thresholds


class InstantProvider:
  """A provider that answers at once, without a network."""

  async def generate(self, system: str, turns: Any, max_tokens: int, seed: int) -> BilledReply:
    said = scripted_writer.quick(system, turns, seed)
    return BilledReply(Reply(said), 1000, len(said) // 4)


def memory(field: str) -> float:
  """Reads this process's memory from /proc/self/status.

  Args:
    field: 'VmRSS' for the memory now, 'VmHWM' for the most so far.

  Returns:
    MiB.
  """
  found = re.search(rf'{field}:\s+(\d+)', Path('/proc/self/status').read_text())
  assert found is not None
  return int(found[1]) / 1024


def corpus_config(args: argparse.Namespace) -> CorpusConfig:
  """Makes the config of the corpora that the command line asks for.

  Args:
    args: the command line.

  Returns:
    The config.
  """
  documents = args.documents[0]
  places = DOMAINS * SUBDOMAINS * TYPES
  model = 'mockllm/model'
  if args.inspect:
    model = 'openai-api/local/scripted'
  return CorpusConfig(
    'benchmark',
    tuple(SPECS[stem] for stem in spec_stems(args)),
    documents=documents,
    revise=not args.once,
    min_yield=0.0,
    prices=str(ROOT / 'configs' / 'corpora' / 'prices.json'),
    plan=PlanSettings(
      domains=DOMAINS,
      subdomains=SUBDOMAINS,
      claims=6,
      types=TYPES,
      # Rounded up, so that there are enough.
      ideas=-(-documents // places),
    ),
    audit=loose_thresholds(),
    writer=ModelSettings(
      model=model,
      base_url=args.address,
      max_connections=args.connections,
      timeout=args.timeout,
      attempts=8,
    ),
  )


def make_providers(args: argparse.Namespace) -> dict[str, Any] | None:
  """Makes what takes the place of Inspect; None if Inspect is asked for."""
  if args.inspect:
    return None
  if args.address:
    return {'writer': PlainClient(args.address, args.timeout)}
  return {'writer': InstantProvider()}


def spec_stems(args: argparse.Namespace) -> list[str]:
  """Names the handbooks: both for mirrored corpora, otherwise the first."""
  stems = list(SPECS)
  if args.mirrored:
    return stems
  return stems[:1]


def flags_of_child(args: argparse.Namespace) -> list[str]:
  """Lists the flags that a child process gets as they were given."""
  return [f'--{name}' for name in ('inspect', 'mirrored', 'once') if getattr(args, name)]


# ---- (a) speed and memory


class Marks:
  """What is measured during a run, by wrapping functions of the pipeline.

  Attributes:
    wall: name of a moment -> wall clock in seconds, or name of a part -> its seconds.
    cpu: name of a moment -> CPU seconds of this process.
    peak: name of a moment or part -> the most memory until its end, in MiB.
  """

  def __init__(self):
    self.wall: dict[str, float] = {}
    self.cpu: dict[str, float] = {}
    self.peak: dict[str, float] = {}

  def time_calls(self, owner: Any, name: str, label: str) -> None:
    """Replaces a function by one that adds its seconds to `wall[label]`.

    Args:
      owner: the module or class of the function.
      name: of the function.
      label: of the part.
    """
    function = getattr(owner, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
      began = time.perf_counter()
      try:
        return function(*args, **kwargs)
      finally:
        self.wall[label] = self.wall.get(label, 0.0) + time.perf_counter() - began
        self.peak[label] = memory('VmHWM')

    setattr(owner, name, timed)

  def mark_end(self, owner: Any, name: str, label: str) -> None:
    """Replaces a function by one that notes the moment at which it ends.

    Args:
      owner: the module or class of the function.
      name: of the function.
      label: of the moment.
    """
    function = getattr(owner, name)

    def marked(*args: Any) -> Any:
      result = function(*args)
      self.wall[label] = time.perf_counter()
      self.cpu[label] = time.process_time()
      self.peak[label] = memory('VmHWM')
      return result

    setattr(owner, name, marked)


def measure(
  config: CorpusConfig, providers: dict[str, Any] | None, folder: Path
) -> dict[str, float]:
  """Writes corpora once, in this process, and measures it.

  Args:
    config: the corpora.
    providers: what takes the place of Inspect.
    folder: the folder to write to.

  Returns:
    Counts, documents per second, milliseconds of CPU per document, seconds and MiB of each part.
  """
  marks = Marks()
  marks.time_calls(pipeline, '_audit', 'audit')
  marks.time_calls(pipeline, 'store', 'store')
  marks.mark_end(Run, '_keep_plan', 'planned')
  marks.mark_end(Run, '_finish', 'finished')
  if not providers:
    import inspect_ai.model  # noqa: F401  its import is no part of the work
  before = memory('VmRSS')
  # Makes the kernel count the maximum from here.
  Path('/proc/self/clear_refs').write_text('5')
  done = pipeline.make(config, folder, providers)
  documents = len(config.specs) * config.documents
  expected = documents
  if done.balance:
    # Mirrored corpora may drop pairs to make their tokens equal.
    expected = len(config.specs) * len(done.balance.kept)
  assert sum(done.documents.values()) == expected, done.documents
  wall = marks.wall['finished'] - marks.wall['planned']
  cpu = marks.cpu['finished'] - marks.cpu['planned']
  return {
    'documents': documents,
    'tokens': sum(done.tokens.values()),
    'per_second': documents / wall,
    'cpu_ms': 1000 * cpu / documents,
    'mib': marks.peak['finished'] - before,
    'audit_s': marks.wall['audit'],
    'audit_mib': marks.peak['audit'] - before,
    'store_s': marks.wall['store'],
    'store_mib': marks.peak['store'] - before,
  }


def throughput(args: argparse.Namespace) -> None:
  """Measures each number of documents in a process of its own.

  Args:
    args: the command line.
  """
  for documents in args.documents:
    with contextlib.ExitStack() as stack:
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      address = ''
      if args.http:
        address = stack.enter_context(served('--quick'))
      command = [sys.executable, __file__, '--child', folder, '--documents', str(documents)]
      command += ['--address', address, *flags_of_child(args)]
      out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    m = json.loads(out.splitlines()[-1])
    print(
      f'{documents:>6,} documents, {m["tokens"]:>10,} tokens: '
      f'{m["per_second"]:>5.0f} documents/s, {m["cpu_ms"]:.2f} ms of CPU each; '
      f'memory {m["mib"]:.0f} MiB; audit {m["audit_s"]:.0f} s, up to {m["audit_mib"]:.0f} MiB; '
      f'ArrayRecord {m["store_s"]:.0f} s, up to {m["store_mib"]:.0f} MiB',
      flush=True,
    )


# ---- (b) faults and kills


@contextlib.contextmanager
def served(*flags: str) -> Iterator[str]:
  """Runs a server in a process of its own.

  Args:
    *flags: of tests/misbehaving_server.py.

  Yields:
    Its address.
  """
  command = [sys.executable, str(ROOT / 'tests' / 'misbehaving_server.py'), *flags]
  server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  assert server.stdout is not None
  try:
    yield server.stdout.readline().strip()
  finally:
    server.kill()
    server.wait()


def read_counts(address: str) -> dict[str, int]:
  """Asks the server what it has seen."""
  with urllib.request.urlopen(address.removesuffix('/v1') + '/counts', timeout=10) as answer:
    return json.load(answer)


def count_replies(folder: Path) -> int:
  """Counts the replies in the ledger; 0 while there is none."""
  address = f'file:{folder}/ledger.sqlite?mode=ro'
  try:
    with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
      return db.execute('select count(*) from replies').fetchone()[0]
  except sqlite3.Error:
    return 0


def read_files(folder: Path) -> dict[str, bytes]:
  """Reads what a run leaves: the plan and the corpora."""
  paths = [folder / 'plan.json', *(folder / 'corpus').glob('*.jsonl')]
  return {path.name: path.read_bytes() for path in paths}


def faulty(args: argparse.Namespace) -> None:
  """Compares a run without trouble with one that is killed and has a faulty server.

  Args:
    args: the command line.
  """
  flags = ['--documents', str(args.documents[0]), '--timeout', '5', '--connections', '16']
  flags += flags_of_child(args)
  # Faults in the texts change which documents are accepted, so both runs have the same ones.
  text_faults = ('--cut_text=0.05', '--empty=0.02', '--garbage=0.02')
  wire_faults = ('--rate_limit=0.05', '--error=0.05', '--hang=0.05', '--cut_body=0.05')
  with tempfile.TemporaryDirectory() as folder:
    whole = Path(folder, 'whole')
    killed = Path(folder, 'killed')
    with served(*text_faults) as address:
      began = time.monotonic()
      run_to_the_end(['--child', str(whole), '--address', address, *flags])
      total = count_replies(whole)
      print(
        f'without kills and without trouble on the wire: {total:,} replies '
        f'in {time.monotonic() - began:.0f} s'
      )
    with served(*text_faults, *wire_faults, '--seconds=0.5') as address:
      began = time.monotonic()
      arguments = ['--child', str(killed), '--address', address, *flags]
      draw = random.Random(0)
      for at in sorted(draw.sample(range(1, total - 1), args.kills)):
        start_and_kill(arguments, killed, at, draw.random())
      starts = run_to_the_end(arguments)
      seconds = time.monotonic() - began
      seen = read_counts(address)
    print(
      f'with {args.kills} kills and {starts} more start(s): {seconds:.0f} s; '
      f'the server saw {json.dumps(seen)}'
    )
    print_comparison(args, whole, killed, seen['delivered'])


def print_comparison(args: argparse.Namespace, whole: Path, killed: Path, delivered: int) -> None:
  """Prints what the faults and kills have changed.

  Args:
    args: the command line.
    whole: the folder of the run without trouble.
    killed: the folder of the other one.
    delivered: how many replies the faulty server has sent in full.
  """
  for stem in spec_stems(args):
    with (killed / 'corpus' / f'{stem}.jsonl').open() as lines:
      ids = [json.loads(line)['id'] for line in lines]
    print(
      f'{stem}: documents {len(ids):,}, different ids {len(set(ids)):,} '
      f'of {args.documents[0]:,} planned'
    )
  kept = count_replies(killed)
  unused = (delivered - kept) / delivered
  print(
    f'replies delivered in full {delivered:,}, in the ledger {kept:,}: '
    f'{unused:.2%} not used (bar: 1%)'
  )
  same = read_files(whole) == read_files(killed)
  print('files equal to those of the run without kills:', same)
  report = json.loads((killed / 'audit.json').read_text())
  for what, found in report['mirrored'].items():
    if found:
      print(f'audit: {what} {found["value"]:.4f}')
    else:
      print(f'audit: {what} not measured')


def start_and_kill(arguments: list[str], folder: Path, replies: int, seconds: float) -> None:
  """Starts the writer and kills it.

  Args:
    arguments: of the child.
    folder: where it writes.
    replies: how many replies the ledger must hold before.
    seconds: how long the writer lives after that.
  """
  command = [sys.executable, __file__, *arguments]
  child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
  while child.poll() is None and count_replies(folder) < replies:
    time.sleep(0.01)
  with contextlib.suppress(subprocess.TimeoutExpired):
    child.wait(seconds)
  child.send_signal(signal.SIGKILL)
  child.wait()


def run_to_the_end(arguments: list[str], max_starts: int = 10) -> int:
  """Starts the same command until it ends well.

  A provider that fails again and again ends a run early, and the next run continues.

  Args:
    arguments: of the child.
    max_starts: after how many starts to give up.

  Returns:
    How often it was started.

  Raises:
    SystemExit: no run has come to its end.
  """
  command = [sys.executable, __file__, *arguments]
  for n in range(1, max_starts + 1):
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    if not done.returncode:
      return n
    print('a run ended early:', done.stderr.strip().splitlines()[-1])
  raise SystemExit(f'no run of {max_starts} came to its end')


def main() -> None:
  """Runs part (a), or (b) with --faults; with --child, it is one run that this program started."""
  assert __doc__ is not None
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
  if args.child:
    print(json.dumps(measure(corpus_config(args), make_providers(args), Path(args.child))))
  elif args.faults:
    faulty(args)
  else:
    throughput(args)


if __name__ == '__main__':
  main()
