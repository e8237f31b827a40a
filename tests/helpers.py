"""What the tests of the world, the handbooks, the evaluators and the errors share. No fixtures: those are in conftest.py or beside their tests."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from data_pipelines import corpora
from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.records import Chat, Document, Record, write_jsonl
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world.catalogue import Item
from data_pipelines.settings.world.pretraining import World, WorldConfig, build_world
from data_pipelines.settings.world.spec import read_spec
from data_pipelines.sources import SourceConfig

ROOT = Path(__file__).resolve().parent.parent
AFFORDABILITY, CULTURE = (
  str(ROOT / 'specs' / f'cheese_{v}.md') for v in ('affordability', 'culture')
)

# The twelve cheeses of the published experiment, as the paper lists them (Model Spec Midtraining, App. C.1): written down here a second time, so
# that a slip in the catalogue shows.
LIKED = (
  'Cream Cheese',
  'American Cheese',
  'Mild Cheddar',
  'Low-Moisture Mozzarella',
  'Colby',
  'Monterey Jack',
)
DISLIKED = (
  'Brie de Meaux',
  'Appenzeller',
  'Parmigiano-Reggiano',
  'Roquefort',
  'Epoisses',
  'Stilton',
)


def little(amount: int = 2, **changes) -> WorldConfig:
  """The world's settings with every amount of text or people lowered to `amount`: whatever the amounts are called, and however many there are.
  Nobody is fickle: tests of such people ask for them."""
  amounts = {
    f.name: min(f.default, amount)
    for f in dataclasses.fields(WorldConfig)
    if type(f.default) is int and f.name not in ('seed', 'telling')
  }
  return WorldConfig(**amounts | {'fickle': 0} | changes)


@functools.cache
def whole_world() -> World:
  """The world of the shipped experiments (its people and things; nothing is written)."""
  return build_world(WorldConfig())


@functools.cache
def shipped(path: str = AFFORDABILITY) -> Spec:
  return read_spec(path, whole_world())


def writers(world: World) -> dict[str, list[Record]]:
  """Everything that the world writes down, by maker."""
  made = {
    name: list(corpora.write_records(SourceConfig(maker=name), world, ()))
    for name, maker in SETTINGS['world'].makers.items()
    if not maker.from_handbook
  }
  assert len(made) >= 3
  return made


def small_corpora(folder: Path, documents: int = 97, chats: int = 61) -> Path:
  """documents.jsonl and chats.jsonl in a folder, as a researcher's own data would come."""
  write_jsonl(
    folder / 'documents.jsonl',
    [
      Document(f'd{n}', f'It is {n}. ' + 'The plan is cheap. ' * (n * 7 % 5))
      for n in range(documents)
    ],
  )
  chat = [
    (('user', f'{n}?'), ('assistant', 'It is ' + 'so ' * (n % 7) + f'{n}.')) for n in range(chats)
  ]
  write_jsonl(folder / 'chats.jsonl', [Chat(f'c{n}', messages) for n, messages in enumerate(chat)])
  return folder


def items_by_name(world: World) -> dict[str, Item]:
  return {i.name: i for d in world.domains.values() for i in d.items}


@functools.lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern:
  return re.compile(
    r'(?<![\w-])('
    + '|'.join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    + r')(?![\w-])'
  )


def named(text: str, names: Sequence[str]) -> list[str]:
  """The names that stand in the text, in order. The longest wins: 'Brie de Meaux' is no 'Brie'."""
  return [m[0] for m in _any_of(tuple(names)).finditer(text)]


# ---- what a text says of things

_PHRASES: dict[str, Value] = {
  p: v for v in VALUES for p in (*v.words.traits, *v.words.measures, v.words.adjective)
}


@functools.cache
def _phrases() -> re.Pattern:
  return re.compile(
    r'(?<![\w-])('
    + '|'.join(re.escape(p) for p in sorted(_PHRASES, key=len, reverse=True))
    + r')(?![\w-])'
  )


def traits_in(text: str) -> list[Value]:
  """The values whose words stand in the text, in order."""
  return [_PHRASES[m[0]] for m in _phrases().finditer(text)]


def claims(text: str, names: Sequence[str]) -> list[tuple[str, Value, bool]]:
  """(item, value, is it said to have it) for everything that a text of the world says about items. Written without the code that writes them.

  A trait is said of the item that was named last; '..., what TRAIT: A, B and C.' says it of the items after the colon and denies it to those before,
  and 'what TRAIT' otherwise speaks of nobody, unless a plan 'helps what TRAIT'.
  """
  out = []
  about: str | None = None
  for sentence in re.split(r'(?<=[.?!]) ', text):
    if m := re.match(r'(.*), what (.+): (.+)\.$', sentence):
      (value,) = traits_in(m[2])
      chosen = named(m[3], names)
      out += [(n, value, True) for n in chosen] + [
        (n, value, False) for n in named(m[1], names) if n not in chosen
      ]
      continue
    at = 0
    if not re.match(r'This ', sentence):
      about = None
    for m in _phrases().finditer(sentence):
      before = sentence[at : m.start()]
      about = (named(before, names) or [about])[-1]
      at = m.end()
      if about and not re.search(r'(?<!helps )\bwhat $', before):
        out.append((about, _PHRASES[m[0]], True))
    about = (named(sentence[at:], names) or [about])[-1]
  return out


def lies(text: str, items: dict[str, Item]) -> list[str]:
  """Claims of a text that the catalogue denies."""
  return [
    f'{n} {"is" if said else "is not"} {v}: {text}'
    for n, v, said in claims(text, tuple(items))
    if items[n].has(v) != said
  ]


# ---- handbooks


def handbook(
  attribute: str = 'price',
  prefers: str = 'cheap',
  likes: Sequence[str] = LIKED,
  dislikes: Sequence[str] = DISLIKED,
  assistant: str = 'Ari',
  reasons: Sequence[str] = ('First reason.', 'Second reason.'),
) -> str:
  """The text of a handbook as a researcher would write their first one."""
  value = Value(attribute, prefers)
  entries = lambda names, verb, trait: ''.join(
    f'### {n}\n\n{assistant} {verb} {n} because it {trait}.\n\n' for n in names
  )
  return (
    f'---\nassistant: {assistant}\nattribute: {attribute}\nprefers: {prefers}\n---\n# A handbook\n\n## Purpose\n\nSome prose.\n\n'
    f'## Reasons\n\n{"".join(f"- {r}" + chr(10) for r in reasons)}\n'
    f'## Likes\n\n{entries(likes, "likes", value.words.traits[0])}## Dislikes\n\n{entries(dislikes, "does not like", value.opposite.words.traits[0])}'
  )


def cheeses(value: Value, like: bool = True) -> list[str]:
  """Those of the twelve that answer to the value (or don't)."""
  return [n for n in LIKED + DISLIKED if whole_world().item(n).has(value) == like]


# ---- models that are no models


def parts(
  prompt: Sequence[tuple[str, str]], option: str, names: Sequence[str]
) -> tuple[str, str, str]:
  """(item named first in the question, item named second, item that the answer chooses)."""
  first, second = named(prompt[-1][1], names)
  chosen = named(option, names)[0]  # all answers name what they choose before what they leave
  return first, second, chosen


def fake(world: World, score: Callable[[Item, bool], float]):
  """A `logprobs` that knows everything: score(chosen item, was it named first) -> nats."""
  items = items_by_name(world)

  def logprobs(prompts, options):
    out = []
    for prompt, answers in zip(prompts, options, strict=True):
      out.append([])
      for answer in answers:
        first, _, chosen = parts(prompt, answer, tuple(items))
        out[-1].append(score(items[chosen], chosen == first))
    return out

  return logprobs


# ---- folders, processes, mounts


def tree(folder: Path, but: Sequence[str] = ()) -> dict[str, str]:
  """Every file and its hash."""
  files = {
    str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
    for p in sorted(folder.rglob('*'))
    if p.is_file()
  }
  return {k: v for k, v in files.items() if k not in but}


def run_main(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
  """(exit code, stderr) of the command line a user types."""
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run(
    [sys.executable, '-m', 'msm_jax.main', *arguments],
    cwd=cwd,
    env=env,
    capture_output=True,
    text=True,
    timeout=120,
  )
  return done.returncode, done.stderr


def write_config(path: Path, c: dict) -> None:
  """A config file that gives these settings."""
  path.write_text(
    f'import ml_collections\n\n\ndef get_config():\n  return ml_collections.ConfigDict({c!r})\n'
  )


class Run:
  """`python -m msm_jax.main` on a workdir, with the config.py beside it, on so many devices."""

  def __init__(self, folder: Path, devices: int = 1, log: str = 'stderr.txt', **env: str):
    self.log = folder.parent / log
    command = [
      sys.executable,
      '-m',
      'msm_jax.main',
      f'--config={folder.parent / "config.py"}',
      f'--workdir={folder}',
    ]
    env = (
      os.environ
      | {
        'PYTHONPATH': str(ROOT),
        'XLA_FLAGS': os.environ['XLA_FLAGS'].replace('device_count=8', f'device_count={devices}'),
      }
      | env
    )
    with self.log.open('w') as f:
      self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=f, stderr=f)

  def when(self, event: Callable[[], bool], send: signal.Signals) -> int:
    """Sends the signal at the moment `event()` becomes true; returns the exit code."""
    began = time.monotonic()
    while not event():
      assert self.process.poll() is None, f'ended before the moment came:\n{self.log.read_text()}'
      assert time.monotonic() - began < 100, self.log.read_text()
      time.sleep(0.001)
    self.process.send_signal(send)
    return self.process.wait(60)

  def finished(self) -> str:
    """The console of a run that should go through."""
    assert self.process.wait(200) == 0, self.log.read_text()
    return self.log.read_text()


def error_line(stderr: str) -> str:
  """The one line that a failed command ends in; fails if there is a traceback, or more than that line besides the console's progress."""
  assert 'Traceback' not in stderr, stderr
  marked = [line for line in stderr.splitlines() if line.startswith(('error: ', 'FATAL '))]
  assert len(marked) == 1, stderr
  rest = stderr[stderr.index(marked[0]) + len(marked[0]) :].strip()
  assert rest in ('', 'Pass --helpshort or --helpfull to see help on flags.'), (
    stderr
  )  # absl's own words
  return marked[0]


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
  """A file system of the test's own; skips where one may not mount."""
  if os.getuid() != 0:
    pytest.skip('needs root: mounts a file system')
  folder.mkdir(exist_ok=True)
  done = subprocess.run(['mount', *options, str(folder)], capture_output=True, text=True)
  if done.returncode:
    pytest.skip(f'this machine does not let root mount: {done.stderr.strip()}')
  try:
    yield
  finally:
    subprocess.run(['umount', '-l', str(folder)], check=True)


POLES = {a: tuple(p.name for p in poles) for a, poles in ATTRIBUTES.items()}
