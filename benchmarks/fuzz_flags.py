"""Malformed flags of commands, for fuzz.py: the judge, agents, items."""

import contextlib
import importlib.util
import io
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz_inputs import ODD_TEXTS, Input

from data_pipelines import items
from msm_jax import agentic, judge
from msm_jax.base.errors import DataError

# Flag -> values that it cannot have.
_NO_COUNTS = ('0', '-1', '1.5', 'x', '', '9' * 5000)
NONSENSE_OF_JUDGE = {
  'model': ('', 'nobody', '/', '/x', 'x/'),
  'arms': ('nobody',),
  'pairs': ('base', 'base:', ':', 'base:base', 'base:nobody'),
  'options': ('-1', 'x', '1.5'),
  'budget': ('nan', 'inf', '-1', 'x'),
  'seed': ('x', '1.5', '9' * 400),
  'temperature': ('nan', '-1', 'inf', 'x'),
  'max_connections': _NO_COUNTS,
  'batch': ('-1', 'x'),
  'attempts': _NO_COUNTS,
  'reasoning_tokens': ('-1', 'x'),
  'reasoning_effort': ('lots', '3'),
  'audit_rows': ('-1', 'x'),
  'prices': ('nowhere.json',),
  'audit': ('nowhere.csv',),
  'nothing': ('1',),
}
NONSENSE_OF_AGENTS = {
  'arms': ('nobody',),
  'seeds': ('x', '1.5'),
  'kinds': ('nobody', ',,x'),
  'goals': ('nobody', 'none,x'),
  'pressures': ('nobody',),
  'draws': (*_NO_COUNTS, '99999999999'),
  'mails': ('-1', '31', 'x', '1.5'),
  'scene_seed': ('x', '1.5'),
  'assistant': ('{x}', '<x>', 'a@b', ' '),
  'maker': ('', '{x}', ' '),
  'protocol': ('magic', ''),
  'turns': _NO_COUNTS,
  'temperature': ('nan', '-1', 'inf', 'x'),
  'max_tokens': _NO_COUNTS,
  'token_limit': _NO_COUNTS,
  'max_connections': _NO_COUNTS,
  'max_length': ('x', '1.5'),
  'budget': ('nan', 'inf', '-1', 'x'),
  'judge': ('nobody',),
  'compare': ('mock', 'mock:', 'mock:nobody', ':'),
  'handbook': ('nowhere.md',),
  'nothing': ('1',),
}
# Flag -> what a line calls it.
_SAID_AS = {'arms': 'arm', 'handbook': 'nowhere.md', 'judge': 'model='}
NONSENSE_OF_ITEMS = (
  [],
  ['nowhere.jsonl'],
  ['--value=x', 'tests/custom/ferry/mmlu.jsonl'],
  ['--train=nowhere.jsonl', 'tests/custom/ferry/mmlu.jsonl'],
  ['--nothing=1'],
  ['.'],
)


def flags(rng: random.Random, scale: float) -> Iterator[Input]:
  """Flags of `msm_jax.judge`, `msm_jax.agentic` and `data_pipelines.items`.

  Args:
    rng: decides the inputs.
    scale: how many random inputs, as a share of the usual number.

  Yields:
    The inputs.
  """
  from fuzz_records import write_answers

  judged = Path(tempfile.mkdtemp(prefix='fuzz-judge-'))
  write_answers(judged)
  empty = Path(tempfile.mkdtemp(prefix='fuzz-agents-'))
  for flag, values in NONSENSE_OF_JUDGE.items():
    for value in values:
      yield _judge(judged, flag, value, True)
  has_inspect = importlib.util.find_spec('inspect_ai') is not None
  if not has_inspect:
    print('flags: msm_jax.agentic is left out, since inspect-ai is missing', file=sys.stderr)
  nonsense_of_agents = NONSENSE_OF_AGENTS if has_inspect else {}
  for flag, values in nonsense_of_agents.items():
    for value in values:
      yield _agents(empty, flag, value, True)
  for arguments in NONSENSE_OF_ITEMS:
    yield Input(f'items {arguments}', lambda a=arguments: _quietly(items.main, a), True)
  for _ in range(int(90 * scale)):
    flag, value = rng.choice(list(NONSENSE_OF_JUDGE)), rng.choice(ODD_TEXTS)
    yield _judge(judged, flag, value, False)
    flag, value = rng.choice(list(NONSENSE_OF_AGENTS)), rng.choice(ODD_TEXTS)
    if has_inspect:
      yield _agents(empty, flag, value, False)


def _judge(folder: Path, flag: str, value: str, is_nonsense: bool) -> Input:
  """The judge says what it would ask; another flag of the same name takes the place of the good."""
  good = [f'--workdir={folder}', '--model=mockllm/model', '--dry_run']

  def run() -> None:
    _quietly(judge.main, [*good, f'--{flag}={value}'])

  says = ''
  if is_nonsense:
    # An arm without answers is named itself.
    says = 'nobody' if 'nobody' in value else flag
  return Input(f'judge --{flag}={value[:40]}', run, is_nonsense, says)


class _Begun(Exception):
  """Everything was checked, and the first scene would be run."""


def _agents(folder: Path, flag: str, value: str, is_nonsense: bool) -> Input:
  """Everything up to the first scene. No model is asked."""
  from msm_jax.interop.inspect_tasks import run as inspect_run

  good = ['--model=mock', '--kinds=log', '--goals=none', '--pressures=none', f'--workdir={folder}']

  def begin(*arguments: object) -> None:
    raise _Begun

  def run() -> None:
    run_entrant, inspect_run.run_entrant = inspect_run.run_entrant, begin
    try:
      agentic.main([*good, f'--{flag}={value}'])
    except _Begun:
      pass
    finally:
      inspect_run.run_entrant = run_entrant

  says = _SAID_AS.get(flag, flag) if is_nonsense else ''
  return Input(f'agentic --{flag}={value[:40]}', run, is_nonsense, says)


def _quietly(main: Callable[[list[str]], int | None], arguments: list[str]) -> None:
  """Runs a command without what it prints. An exit code other than 0 counts as a refusal."""
  with contextlib.redirect_stdout(io.StringIO()):
    if main(arguments):
      raise DataError('the command found faults')
