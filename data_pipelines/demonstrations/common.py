"""What conversations and preferences share: rounds that fill a plan, near duplicates left out, verdicts watched, refusals counted.

A demonstration that is refused is asked for again in a later round, so a plan is filled exactly or not at all. A round is built from the whole of the
rounds before it, and what came of a request after its last try stays as it is: so the same command makes the same demonstrations, whenever it is run.
"""

import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import pydantic

from data_pipelines.llm.client import LlmClient, LlmError, Request, RequestFailed
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.replies import Refused, Reply, found
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.text.checks import CONTROL
from data_pipelines.text.duplicates import near_duplicates

T = TypeVar('T')
M = TypeVar('M', bound=pydantic.BaseModel)
TRIES = 3  # replies to one request, in all runs together
FEW = 40  # demonstrations that are judged before the rest is paid for
ROUNDS = 20


@dataclasses.dataclass(frozen=True)
class Unanswered:
  """A request of which no reply could be used, and why."""

  what: str


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A demonstration that was refused: what it says, by whom and why it was."""

  id: str
  what: str
  why: str
  texts: tuple[str, ...]


@dataclasses.dataclass
class Tally:
  """`judged`: demonstrations of which `kept` passed; `left` holds the others and those that never came so far. `stage` names them in messages."""

  stage: str
  judged: int = 0
  kept: int = 0
  left: list[Rejected] = dataclasses.field(default_factory=list)

  @property
  def refused(self) -> collections.Counter[str]:
    return collections.Counter(x.what for x in self.left)

  @property
  def pass_rate(self) -> float:
    """Of all that were begun; at least 0.1, so that a bad beginning doesn't ask for any number of calls."""
    return max(0.1, self.kept / (self.kept + len(self.left))) if self.left else 1.0

  def keep(self) -> None:
    self.judged += 1
    self.kept += 1

  def leave(self, id_: str, what: str, why: str = '', *texts: str, judged: bool = True) -> None:
    self.judged += judged
    self.left.append(Rejected(id_, what, why, texts))

  def reasons(self, most: int = 4) -> str:
    return ', '.join(f'{what} ({n})' for what, n in self.refused.most_common(most))

  def watch(self, config: CorpusConfig) -> None:
    """Raises AuthorError if too few demonstrations pass."""
    if self.judged and self.kept / self.judged < config.min_yield:
      raise LlmError(
        f'only {self.kept} of {self.judged} {self.stage} were kept: {self.reasons()}; read refused.jsonl, then change the handbook, the prompts '
        f'or the models, or lower min_yield={config.min_yield}'
      )


def in_tries(
  parse: Callable[[Sequence[Reply]], T], otherwise: Callable[[Refused, Sequence[Reply]], T]
) -> Callable[[Sequence[Reply]], T]:
  """A parser that after TRIES replies makes do with `otherwise`, for good: a later run doesn't ask again."""

  def parse_in_tries(replies: Sequence[Reply]) -> T:
    try:
      return parse(replies[:TRIES])
    except Refused as e:
      if len(replies) < TRIES:
        raise
      return otherwise(e, replies[:TRIES])

  return parse_in_tries


def lost(refused: Refused, _: Sequence[Reply]) -> Unanswered:
  return Unanswered(refused.what)


def every(
  replies: Sequence[Reply], model: type[M], same: Callable[[M], Hashable] | None = None
) -> list[M]:
  """All whole, valid and distinct items of all replies; none is fine."""
  for n in range(
    len(replies), 0, -1
  ):  # a reply that says nothing takes nothing from those before it
    with contextlib.suppress(Refused):
      return found(replies[:n], model, same)[0]
  return []


async def said(
  author: LlmClient, requests: Iterable[Request[T]], stage: str, total: int
) -> list[T | Unanswered]:
  """What was said to each, in the order of the requests. They may come from a generator: few are there at a time, and each holds a whole handbook."""
  values: dict[str, T | Unanswered] = {}
  keys: list[str] = []

  def noted() -> Iterator[Request[T]]:
    for request in requests:
      keys.append(request.key)
      yield request

  async for request, value in author.ask_all(noted(), stage, total):
    values[request.key] = Unanswered(value.what) if isinstance(value, RequestFailed) else value
  return [values[k] for k in keys]


def estimate(request: Request, calls: int, output_tokens: int, config: CorpusConfig) -> Estimate:
  """Of `calls` requests such as this one."""
  asked = config.judging if request.model == 'judge' else config.writer
  input_tokens = guess_tokens(request.prompt.system + request.prompt.user)
  return Estimate(request.stage, asked.model, calls, input_tokens, output_tokens, bool(asked.batch))


def without_near_duplicates(new: Sequence[str], old: Sequence[str], similar: float) -> list[int]:
  """Numbers of the new texts that are near duplicates of no old one and of no new one before them. Texts are short: compared as sets of words."""
  redundant = set(near_duplicates([*old, *new], similar, size=1).redundant)
  return [n for n in range(len(new)) if len(old) + n not in redundant]


def clean(text: str) -> str:
  """Raises ValueError for a text that no person would write: without words, or with control tokens."""
  if m := CONTROL.search(text):
    raise ValueError(f'holds a control token, {m[0]!r}')
  if not (text := text.strip()):
    raise ValueError('is empty')
  return text


def listed(lines: Iterable[str]) -> str:
  return '\n'.join(f'- {" ".join(line.split())}' for line in lines) or '(none yet)'


def shares(total: int, rows: int, columns: int) -> list[list[int]]:
  """How many of `total` each cell of a table gets: rows, columns and cells are each equal to within one."""
  full, rest = divmod(total, rows * columns)
  counts = [[full] * columns for _ in range(rows)]
  block = math.lcm(rows, columns)
  for n in range(
    rest
  ):  # down the diagonals; one that comes back to where it began is left for the next
    counts[n % rows][(n + n // block) % columns] += 1
  return counts
