"""What conversations and preferences share: rounds, near duplicates, verdicts and rejections.

Demonstrations are written in rounds. A demonstration that is rejected is asked for again in a later
round, so a plan is filled exactly or the run ends with an error. A round depends on all rounds
before it and on nothing else, and what came of a request after its last try stays as it is.
Therefore the same command makes the same demonstrations, however often it was interrupted.
"""

import collections
import contextlib
import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import pydantic

from data_pipelines.llm.client import LlmClient
from data_pipelines.llm.costs import Estimate, guess_tokens
from data_pipelines.llm.replies import Refused, Reply, Unanswered, collect_items
from data_pipelines.llm.requests import LlmError, Request, RequestFailed
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.text.checks import CONTROL_TOKENS, wrongly_encoded
from data_pipelines.text.duplicates import repeats

T = TypeVar('T')
M = TypeVar('M', bound=pydantic.BaseModel)
# Replies to one request, in all runs together.
TRIES = 3
# Demonstrations that are written and judged before the rest is paid for.
PILOT = 40
# Rounds after which a plan that is not filled ends the run.
MAX_ROUNDS = 20
# A pass rate below this counts as this, so that a bad beginning does not ask for any number of
# calls.
LOWEST_PASS_RATE = 0.1
# What messages say of changes to the plan, handbooks, prompts or models: the ledger refuses them in
# the same folder, since each request depends on all rounds before it.
PAID_ANEW = 'in another --workdir, where all replies are paid anew'


@dataclasses.dataclass(frozen=True)
class Rejected:
  """A demonstration that is not kept, or a part of one that was never written.

  Attributes:
    id: of the demonstration, or the key of the request that should have brought it.
    what: what is wrong with it, for counting.
    why: the details: the words that were found, or what the judge says.
    texts: the texts that were written.
  """

  id: str
  what: str
  why: str
  texts: tuple[str, ...]


@dataclasses.dataclass
class Tally:
  """Counts which demonstrations pass.

  Attributes:
    stage: what they are called in messages.
    judged: demonstrations on which somebody decided.
    kept: those of them that passed.
    rejected: the others, and those that did not come so far.
  """

  stage: str
  judged: int = 0
  kept: int = 0
  rejected: list[Rejected] = dataclasses.field(default_factory=list)

  @property
  def rejections(self) -> collections.Counter[str]:
    """How often each reason for a rejection occurs."""
    return collections.Counter(x.what for x in self.rejected)

  @property
  def pass_rate(self) -> float:
    """The share of all begun demonstrations that passed, at least LOWEST_PASS_RATE."""
    if not self.rejected:
      return 1.0
    return max(LOWEST_PASS_RATE, self.kept / (self.kept + len(self.rejected)))

  def keep(self) -> None:
    """Counts a demonstration that passed."""
    self.judged += 1
    self.kept += 1

  def reject(self, id_: str, what: str, why: str = '', *texts: str, judged: bool = True) -> None:
    """Counts a demonstration that is not kept; see `Rejected`.

    `judged=False` is for one that was left out before anybody decided on it.
    """
    if judged:
      self.judged += 1
    self.rejected.append(Rejected(id_, what, why, texts))

  def reasons(self, most: int = 4) -> str:
    """The most frequent reasons for rejections, for messages."""
    return ', '.join(f'{what} ({n})' for what, n in self.rejections.most_common(most))

  def check_yield(self, config: CorpusConfig) -> None:
    """Ends a run in which too few demonstrations pass, before more is paid for.

    Args:
      config: gives the smallest share that may pass.

    Raises:
      LlmError: if a smaller share passes.
    """
    if self.judged and self.kept / self.judged < config.min_yield:
      raise LlmError(
        f'only {self.kept} of {self.judged} {self.stage} were kept: {self.reasons()}; read '
        f'refused.jsonl, then change the handbook, the prompts or the models {PAID_ANEW}, or lower '
        f'min_yield={config.min_yield}, which keeps them'
      )


# ---- parsers and requests


def with_fallback(
  parse: Callable[[Sequence[Reply]], T], fallback: Callable[[Refused, Sequence[Reply]], T]
) -> Callable[[Sequence[Reply]], T]:
  """Makes a parser that accepts something after TRIES replies.

  The outcome is final: a later run has the same replies, so it does not ask again.

  Args:
    parse: reads the replies, or raises Refused.
    fallback: gives the value when `parse` refuses TRIES replies.

  Returns:
    A parser that refuses only while there are fewer than TRIES replies.
  """

  def parse_with_fallback(replies: Sequence[Reply]) -> T:
    # Replies beyond TRIES come from runs with other settings; they must not change the outcome.
    replies = replies[:TRIES]
    try:
      return parse(replies)
    except Refused as e:
      if len(replies) < TRIES:
        raise
      return fallback(e, replies)

  return parse_with_fallback


def as_unanswered(refused: Refused, _: Sequence[Reply]) -> Any:
  """A fallback: the request has no answer."""
  return Unanswered(refused.what)


def all_valid_items(
  replies: Sequence[Reply],
  model: type[M],
  same: Callable[[M], Hashable] | None = None,
  count: int = 0,
) -> list[M]:
  """Collects all whole, valid and distinct items of all replies; there may be none.

  Args:
    replies: all replies to a request.
    model: the schema of an item.
    same: gives a key; items with equal keys are one.
    count: the number of items that was asked for; as for `collect_items`.

  Returns:
    The items, in order.
  """
  # `collect_items` refuses when the last reply says nothing. Such a reply must not take anything
  # from those before it, so the longest beginning of the replies that can be read counts.
  for n in range(len(replies), 0, -1):
    with contextlib.suppress(Refused):
      return collect_items(replies[:n], model, same, count)[0]
  return []


def with_what_there_is(
  parse: Callable[[Sequence[Reply]], list[M]],
  model: type[M],
  same: Callable[[M], Hashable] | None = None,
  count: int = 0,
) -> Callable[[Sequence[Reply]], list[M] | Unanswered]:
  """Makes a parser that accepts fewer items than were asked for after TRIES replies.

  Args:
    parse: reads the replies, or raises Refused.
    model: the schema of an item.
    same: gives a key; items with equal keys are one.
    count: the number of items that was asked for.

  Returns:
    A parser that gives the items, or Unanswered if there is none.
  """

  def what_there_is(refused: Refused, replies: Sequence[Reply]) -> list[M] | Unanswered:
    return all_valid_items(replies, model, same, count) or Unanswered(refused.what)

  return with_fallback(parse, what_there_is)


async def ask_in_order(
  client: LlmClient, requests: Iterable[Request[T]], stage: str, total: int
) -> list[T | Unanswered]:
  """Asks for many things at once and returns the answers in the order of the requests.

  Args:
    client: asks the models.
    requests: may be a generator: few requests exist at a time, and each holds a whole handbook.
    stage: for progress, yield and costs.
    total: how many requests there are.

  Returns:
    The value of each request, or why it has none.
  """
  values: dict[str, T | Unanswered] = {}
  keys: list[str] = []

  def noting_keys() -> Iterator[Request[T]]:
    for request in requests:
      keys.append(request.key)
      yield request

  async for request, value in client.ask_all(noting_keys(), stage, total):
    if isinstance(value, RequestFailed):
      values[request.key] = Unanswered(value.what)
    else:
      values[request.key] = value
  return [values[key] for key in keys]


def estimate(
  request: Request[Any], calls: int, output_tokens: int, config: CorpusConfig
) -> Estimate:
  """Estimates what requests such as this one take.

  Args:
    request: a typical request.
    calls: how many there are.
    output_tokens: tokens of a good reply, without those of thinking.
    config: says which model is asked.

  Returns:
    The estimate. Input tokens are guessed from the number of characters.
  """
  asked = config.judging if request.model == 'judge' else config.writer
  input_tokens = guess_tokens(request.prompt.system + request.prompt.user)
  # All that it may think counts, as a judge's estimate counts it.
  output_tokens += asked.reasoning_tokens
  return Estimate(request.stage, asked.model, calls, input_tokens, output_tokens, bool(asked.batch))


# ---- texts


def without_near_duplicates(new: Sequence[str], old: Sequence[str], similar: float) -> list[int]:
  """Finds the new texts that are near duplicates neither of an old one nor of one before them.

  Args:
    new: texts in order; they are short, so they are compared as sets of words.
    old: texts that are kept already.
    similar: the Jaccard similarity from which two texts are near duplicates.

  Returns:
    Indices into `new`, in order.
  """
  repeated = set(repeats([*old, *new], similar, size=1))
  return [n for n in range(len(new)) if len(old) + n not in repeated]


def clean(text: str) -> str:
  """Strips a text that a model wrote.

  Args:
    text: the text.

  Returns:
    The text without space around it.

  Raises:
    ValueError: if the text is empty or holds what no person would write: a control token, a
      code of HTML, or a backslash and an n.
  """
  match = CONTROL_TOKENS.search(text)
  if match:
    raise ValueError(f'holds a control token, {match[0]!r}')
  code = wrongly_encoded(text)
  if code:
    raise ValueError(f'holds the code {code} instead of a character')
  text = text.strip()
  if not text:
    raise ValueError('is empty')
  return text


def with_straight_apostrophes(text: str) -> str:
  """Writes every apostrophe as `'`. Models, people and handbooks also write `’`.

  Every character keeps its place, so that places in the result are places in the text.
  """
  return text.replace('’', "'")


def bullet_list(lines: Iterable[str]) -> str:
  """A list as prompts show it."""
  return '\n'.join(f'- {" ".join(line.split())}' for line in lines) or '(none yet)'


def split_evenly(total: int, rows: int, columns: int) -> list[list[int]]:
  """Divides a number over the cells of a table so that everything is equal to within one.

  Args:
    total: the number.
    rows: rows of the table.
    columns: columns of the table.

  Returns:
    The number in each cell, row by row. Any two cells, any two sums of a row and any two sums of a
    column differ by at most one.
  """
  full, rest = divmod(total, rows * columns)
  counts = [[full] * columns for _ in range(rows)]
  # The rest goes down the diagonals. A diagonal is back where it began after `cycle` steps; then
  # the next diagonal follows.
  cycle = math.lcm(rows, columns)
  for n in range(rest):
    row = n % rows
    column = (n + n // cycle) % columns
    counts[row][column] += 1
  return counts
