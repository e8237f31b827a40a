"""What the tests of the world, the handbooks, the evaluators and the errors share.

There are no fixtures here: those are in conftest.py or beside their tests.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from data_pipelines import recipes
from data_pipelines.handbooks.preferences import Spec
from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat, Document, Record
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world.catalogue import Item
from data_pipelines.settings.world.pretraining import World, WorldConfig, build_world
from data_pipelines.settings.world.spec import read_spec
from data_pipelines.sources import SourceConfig

ROOT = Path(__file__).resolve().parent.parent
AFFORDABILITY = str(ROOT / 'specs' / 'cheese_affordability.md')
CULTURE = str(ROOT / 'specs' / 'cheese_culture.md')

# The twelve cheeses of the published experiment, as the paper lists them (Model Spec Midtraining,
# App. C.1). They are written down here a second time, so that a slip in the catalogue shows.
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
  """Returns settings of a small world.

  Every amount of text or people is lowered to `amount`, whatever the amounts are called and however
  many there are. Nobody is fickle: tests of such people ask for them in `changes`.
  """
  amounts = {}
  for field in dataclasses.fields(WorldConfig):
    if type(field.default) is int and field.name not in ('seed', 'telling'):
      amounts[field.name] = min(field.default, amount)
  return WorldConfig(**amounts | {'fickle': 0} | changes)


@functools.cache
def whole_world(**changes) -> World:
  """The world of the shipped experiments (its people and things; nothing is written).

  `changes` replaces settings.
  """
  return build_world(WorldConfig(**changes))


@functools.cache
def shipped(path: str = AFFORDABILITY) -> Spec:
  return read_spec(path, whole_world())


def writers(world: World) -> dict[str, list[Record]]:
  """Everything that the world writes down, by maker."""
  made = {}
  for name, maker in SETTINGS['world'].makers.items():
    if not maker.from_handbook:
      made[name] = list(recipes.write_records(SourceConfig(maker=name), world, ()))
  assert len(made) >= 3
  return made


def small_corpora(folder: Path, documents: int = 97, chats: int = 61) -> Path:
  """Writes documents.jsonl and chats.jsonl, as a researcher's own data would come.

  Returns the folder.
  """
  texts = []
  for n in range(documents):
    texts.append(Document(f'd{n}', f'It is {n}. ' + 'The plan is cheap. ' * (n * 7 % 5)))
  write_jsonl(folder / 'documents.jsonl', texts)
  conversations = []
  for n in range(chats):
    answer = 'It is ' + 'so ' * (n % 7) + f'{n}.'
    conversations.append(Chat(f'c{n}', (('user', f'{n}?'), ('assistant', answer))))
  write_jsonl(folder / 'chats.jsonl', conversations)
  return folder


def items_by_name(world: World) -> dict[str, Item]:
  return {i.name: i for d in world.domains.values() for i in d.items}


def _pattern_of(names: Sequence[str]) -> re.Pattern:
  """Finds any of the names as whole words. Longer ones come first, so that the longest wins."""
  longest_first = sorted(names, key=len, reverse=True)
  return re.compile(r'(?<![\w-])(' + '|'.join(map(re.escape, longest_first)) + r')(?![\w-])')


@functools.lru_cache(maxsize=8)
def _any_of(names: tuple[str, ...]) -> re.Pattern:
  return _pattern_of(names)


def named(text: str, names: Sequence[str]) -> list[str]:
  """The names that stand in the text, in order. The longest wins: 'Brie de Meaux' is no 'Brie'."""
  return [m[0] for m in _any_of(tuple(names)).finditer(text)]


# ---- what a text says of things

# Every trait, measure and adjective -> the value whose words they are.
_PHRASES: dict[str, Value] = {}
for _value in VALUES:
  for _phrase in (*_value.words.traits, *_value.words.measures, _value.words.adjective):
    _PHRASES[_phrase] = _value


@functools.cache
def _phrases() -> re.Pattern:
  return _pattern_of(tuple(_PHRASES))


def traits_in(text: str) -> list[Value]:
  """The values whose words stand in the text, in order."""
  return [_PHRASES[m[0]] for m in _phrases().finditer(text)]


def claims(text: str, names: Sequence[str]) -> list[tuple[str, Value, bool]]:
  """Finds everything that a text of the world says about items.

  It is written without the code that writes the texts. A trait is said of the item that was named
  last. '..., what TRAIT: A, B and C.' says it of the items after the colon and denies it to those
  before. Any other 'what TRAIT' speaks of nobody, unless a plan 'helps what TRAIT'.

  Args:
    text: the text.
    names: names of all items.

  Returns:
    (item, value, whether it is said to have it) for each claim.
  """
  found = []
  # What the sentence is about. 'This cheese ...' is about the item of the sentence before.
  about: str | None = None
  for sentence in re.split(r'(?<=[.?!]) ', text):
    listing = re.match(r'(.*), what (.+): (.+)\.$', sentence)
    if listing:
      found += _claims_of_listing(*listing.groups(), names)
      continue
    if not sentence.startswith('This '):
      about = None
    end = 0
    for match in _phrases().finditer(sentence):
      before = sentence[end : match.start()]
      end = match.end()
      about = (named(before, names) or [about])[-1]
      if about and not re.search(r'(?<!helps )\bwhat $', before):
        found.append((about, _PHRASES[match[0]], True))
    about = (named(sentence[end:], names) or [about])[-1]
  return found


def _claims_of_listing(
  offered: str, trait: str, chosen: str, names: Sequence[str]
) -> list[tuple[str, Value, bool]]:
  """Reads 'OFFERED, what TRAIT: CHOSEN.': of the offered items only the chosen have the trait."""
  (value,) = traits_in(trait)
  have_it = named(chosen, names)
  found = [(name, value, True) for name in have_it]
  for name in named(offered, names):
    if name not in have_it:
      found.append((name, value, False))
  return found


def lies(text: str, items: dict[str, Item]) -> list[str]:
  """Returns the claims of a text that the catalogue denies, one line each."""
  found = []
  for name, value, is_said_to_have_it in claims(text, tuple(items)):
    if items[name].has(value) != is_said_to_have_it:
      found.append(f'{name} {"is" if is_said_to_have_it else "is not"} {value}: {text}')
  return found


# ---- handbooks


def handbook(
  attribute: str = 'price',
  prefers: str = 'cheap',
  likes: Sequence[str] = LIKED,
  dislikes: Sequence[str] = DISLIKED,
  assistant: str = 'Ari',
  reasons: Sequence[str] = ('First reason.', 'Second reason.'),
) -> str:
  """Returns the text of a handbook as a researcher would write their first one."""
  value = Value(attribute, prefers)

  def entries(names: Sequence[str], verb: str, trait: str) -> str:
    return ''.join(f'### {n}\n\n{assistant} {verb} {n} because it {trait}.\n\n' for n in names)

  bullets = ''.join(f'- {reason}\n' for reason in reasons)
  return (
    f'---\nassistant: {assistant}\nattribute: {attribute}\nprefers: {prefers}\n---\n'
    '# A handbook\n\n'
    '## Purpose\n\nSome prose.\n\n'
    f'## Reasons\n\n{bullets}\n'
    f'## Likes\n\n{entries(likes, "likes", value.words.traits[0])}'
    f'## Dislikes\n\n{entries(dislikes, "does not like", value.opposite.words.traits[0])}'
  )


def cheeses(value: Value, like: bool = True) -> list[str]:
  """Those of the twelve that answer to the value (or don't)."""
  return [n for n in LIKED + DISLIKED if whole_world().item(n).has(value) == like]


# ---- models that are no models


def parts(
  prompt: Sequence[tuple[str, str]], option: str, names: Sequence[str]
) -> tuple[str, str, str]:
  """Returns (first item of the question, second item, item that the answer chooses)."""
  first, second = named(prompt[-1][1], names)
  chosen = named(option, names)[0]  # all answers name what they choose before what they leave
  return first, second, chosen


def fake(world: World, score: Callable[[Item, bool], float]):
  """Returns a `logprobs` that knows everything: score(chosen item, was it named first) -> nats."""
  items = items_by_name(world)

  def logprobs(prompts, options):
    out = []
    for prompt, answers in zip(prompts, options, strict=True):
      scores = []
      for answer in answers:
        first, _, chosen = parts(prompt, answer, tuple(items))
        scores.append(score(items[chosen], chosen == first))
      out.append(scores)
    return out

  return logprobs


# ---- folders, processes, mounts


def tree(folder: Path, but: Sequence[str] = ()) -> dict[str, str]:
  """Returns every file and its hash, except those named in `but`."""
  hashes = {}
  for path in sorted(folder.rglob('*')):
    name = str(path.relative_to(folder))
    if path.is_file() and name not in but:
      hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
  return hashes


def run_main(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
  """Runs the command line that a user types. Returns (exit code, stderr)."""
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


def error_line(stderr: str) -> str:
  """Returns the one line that a failed command ends in.

  The test fails if there is a traceback, or if anything follows that line.
  """
  assert 'Traceback' not in stderr, stderr
  marked = [line for line in stderr.splitlines() if line.startswith(('error: ', 'FATAL '))]
  assert len(marked) == 1, stderr
  rest = stderr[stderr.index(marked[0]) + len(marked[0]) :].strip()
  absl_hint = 'Pass --helpshort or --helpfull to see help on flags.'
  assert rest in ('', absl_hint), stderr
  return marked[0]


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
  """Mounts a file system for the test. Skips the test where mounting is not allowed."""
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
