"""What the campaigns of fuzz.py share: inputs, how they end, and ways to damage something."""

import dataclasses
import json
import random
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msm_jax.base.errors import explain

MAX_SECONDS = 10

# Values that some key of some file may hold instead of the right one.
ODD_VALUES: tuple[Any, ...] = (
  None,
  True,
  False,
  0,
  -1,
  2,
  1.5,
  -0.0,
  2**31,
  2**63,
  10**400,
  float('nan'),
  float('inf'),
  5e-324,
  1e308,
  '',
  'x',
  '3',
  'nan',
  '../..',
  '\0',
  '\ud800',
  'a' * 5000,
  [],
  [None],
  [[[]]],
  {},
  {'x': 1},
  {'': None},
)
ODD_TEXTS = (
  '',
  ' ',
  '-1',
  '1.5',
  '1e3',
  'nan',
  '-inf',
  '1e999',
  '9' * 400,
  '9' * 5000,
  'true',
  'None',
  '(1, 2)',
  '(' * 3000,
  "('a',",
  '[[[]]]',
  'a,b',
  '\udcff',
  'x' * 5000,
  '{"a": 1}',
)


class Hang(BaseException):
  """The time of an input is up. No `except Exception` of the project catches it."""


class Lost(Exception):
  """Finished work was changed, or gives other results without a word."""


@dataclasses.dataclass(frozen=True)
class Input:
  """One malformed input.

  Attributes:
    name: says what it is, for the list of faults.
    run: hands it to the project.
    is_nonsense: whether it must be refused.
    says: what the line of a refusal must say. Without it, nonsense might be refused for a fault
      that its surroundings have.
  """

  name: str
  run: Callable[[], Any]
  is_nonsense: bool = False
  says: str = ''


@dataclasses.dataclass
class Tally:
  """How the inputs of a campaign ended."""

  inputs: int = 0
  refused: int = 0
  nonsense: int = 0
  tracebacks: int = 0
  hangs: int = 0
  lost: int = 0
  accepted_nonsense: int = 0
  seconds: float = 0.0

  @property
  def faults(self) -> int:
    return self.tracebacks + self.hangs + self.lost + self.accepted_nonsense


def time_is_up(signal_number: int, frame: object) -> None:
  raise Hang


def judge(given: Input, tally: Tally) -> str:
  """Runs one input and counts how it ended.

  Args:
    given: the input.
    tally: where it is counted.

  Returns:
    What is wrong, in a few lines; '' if nothing is.
  """
  tally.inputs += 1
  tally.nonsense += given.is_nonsense
  began = time.monotonic()
  fault = ''
  signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
  try:
    given.run()
  except Hang:
    tally.hangs += 1
    fault = 'hang'
  except Lost as e:
    tally.lost += 1
    fault = f'lost: {e}'
  except Exception as e:
    explained = explain(e)
    if explained is None:
      tally.tracebacks += 1
      fault = ''.join(traceback.format_exception(e)[-3:]).strip()
    elif given.says not in explained[0]:
      tally.accepted_nonsense += 1
      fault = f'refused for another reason than {given.says}: {explained[0]}'
    else:
      tally.refused += 1
  else:
    if given.is_nonsense:
      tally.accepted_nonsense += 1
      fault = 'accepted'
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
  # A library that is busy outside Python notices the alarm only when it comes back.
  if not fault and time.monotonic() - began > MAX_SECONDS:
    tally.hangs += 1
    fault = 'hang'
  return fault


# --------------------------------------------------------------------------------------------------
# Ways to damage something
# --------------------------------------------------------------------------------------------------


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
  """Damages the content of a file.

  Args:
    rng: decides where and how.
    content: the content.

  Returns:
    The content with a piece cut off, flipped, left out, doubled or overwritten.
  """
  if not content:
    return b'\xff'
  at = rng.randrange(len(content))
  end = min(len(content), at + rng.choice((1, 2, 4, 64)))
  kind = rng.randrange(6)
  if kind == 0:
    return content[:at]
  if kind == 1:
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
  if kind == 2:
    return content[:at] + content[end:]
  if kind == 3:
    return content[:at] + rng.randbytes(end - at) + content[end:]
  if kind == 4:
    return content[:end] + content[at:]
  return b'' if rng.random() < 0.3 else content[:at] + b'\xff' * (end - at) + content[end:]


def damaged_json(rng: random.Random, value: Any) -> Any:
  """Damages a JSON value.

  Args:
    rng: decides where and how.
    value: the value; it stays as it is.

  Returns:
    A copy in which one place holds something else, has another key, or is gone.
  """
  if isinstance(value, dict) and value and rng.random() < 0.85:
    key = rng.choice(list(value))
    changed = dict(value)
    kind = rng.random()
    if kind < 0.15:
      del changed[key]
    elif kind < 0.25:
      changed[str(key) + rng.choice('_x')] = changed.pop(key)
    else:
      changed[key] = damaged_json(rng, value[key])
    return changed
  if isinstance(value, list) and value and rng.random() < 0.6:
    at = rng.randrange(len(value))
    return [*value[:at], damaged_json(rng, value[at]), *value[at + 1 :]]
  return rng.choice(ODD_VALUES)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON as foreign programs do: NaN, lone surrogates and huge numbers included."""
  path.write_bytes(json.dumps(value).encode('utf-8', 'surrogatepass'))
