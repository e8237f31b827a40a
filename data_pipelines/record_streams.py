"""The records of a corpus, one after the other: written by a maker, or read from a file.

Records that teach nothing are left out on the way, and a stream ends where the recipe says. Nothing
is held in memory but what `KeptIfFew` keeps.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from data_pipelines.jsonl import read_jsonl
from data_pipelines.recipes import write_records
from data_pipelines.records import Record, emptiness_of, kind_of
from data_pipelines.settings.setting import AnySpec, AnyWorld
from data_pipelines.sources import SourceConfig
from msm_jax.base.checks import exceeds_share
from msm_jax.base.console import say
from msm_jax.base.errors import DataError


def stream_records(
  name: str,
  source: SourceConfig,
  world: AnyWorld,
  specs: Sequence[AnySpec],
  tokens: int,
  count_tokens: Callable[[Record], int],
  max_left_out: float = 0.0,
) -> Iterator[Record]:
  """Writes a corpus by its maker, or reads it from its file.

  Records that teach nothing are left out: documents without text, chats in which the assistant says
  nothing, and preferences with an empty side or equal ones. They are counted and said, and so is a
  corpus that comes out shorter than asked, and a file that has more records than asked.

  Args:
    name: the corpus's name in the config; errors name it.
    source: the recipe.
    world: the world that the maker writes about.
    specs: the handbooks that the maker works from.
    tokens: number of tokens at which to stop; 0 for no such limit.
    count_tokens: record -> its number of tokens; only called if `tokens` is not 0.
    max_left_out: at most this share of the records may be left out.

  Yields:
    The records, of which none is held. With `tokens`, their total is as close to it as whole
    records allow.

  Raises:
    DataError: if the file cannot be read, or after the last record: if there is none, if there are
      records of several kinds, or if too many records teach nothing.
  """
  records: Iterator[Record]
  if source.path:
    records = read_jsonl(source.path)
  else:
    records = write_records(source, world, specs)
  seen = _Seen()
  unlimited = records = _without_empty(records, seen)
  # Makers that work from a handbook never end, so the limits come first.
  if source.size:
    records = itertools.islice(records, source.size)
  if tokens:
    records = _until_tokens(records, tokens, count_tokens, seen)
  for record in records:
    seen.kept += 1
    # Records of two kinds are refused below, and whoever stores records of one takes no other.
    if len(seen.kinds) == 1:
      yield record
  _check_kinds(name, seen)
  _check_left_out(name, seen, max_left_out)
  if not seen.kept:
    remedy = f'put records into {source.path}' if source.path else 'raise its size'
    raise DataError(f'sources.{name} is empty; {remedy}')
  _say_if_short(name, source, seen, tokens)
  if source.path and seen.kept == source.size:
    _say_if_cut(name, source, unlimited)


@dataclasses.dataclass
class _Seen:
  """What has gone through a stream so far."""

  # How many records were kept.
  kept: int = 0
  # Their tokens, which are counted if they limit the stream.
  tokens: int = 0
  # The kinds of all records, kept or not.
  kinds: set[str] = dataclasses.field(default_factory=set)
  # Why records were left out -> how many, and the id of the first one.
  left_out: Counter[str] = dataclasses.field(default_factory=Counter)
  first_left_out: dict[str, str] = dataclasses.field(default_factory=dict)


def _without_empty(records: Iterable[Record], seen: _Seen) -> Iterator[Record]:
  """Yields the records that a model can learn from, and notes the others in `seen`."""
  for record in records:
    seen.kinds.add(kind_of([record]))
    reason = emptiness_of(record)
    if reason:
      seen.left_out[reason] += 1
      seen.first_left_out.setdefault(reason, record.id)
    else:
      yield record


def _until_tokens(
  records: Iterable[Record], tokens: int, count_tokens: Callable[[Record], int], seen: _Seen
) -> Iterator[Record]:
  """Yields records until their total, `seen.tokens`, is as close to `tokens` as it gets. It stays
  lower if there are no more records."""
  for record in records:
    n = count_tokens(record)
    # With more than half of this record beyond the limit, the total is closer to it without the
    # record.
    if seen.tokens + n / 2 > tokens:
      break
    seen.tokens += n
    yield record


def _check_kinds(name: str, seen: _Seen) -> None:
  """Raises DataError for records of several kinds.

  Each kind is stored with fields of its own, and trained on differently.
  """
  kinds = seen.kinds
  if len(kinds) > 1:
    mixed = ' and '.join(sorted(kinds, reverse=True))
    if 'preferences' not in kinds:
      mixed = 'documents and chats'
    raise DataError(f'sources.{name} mixes {mixed}; split it into {len(kinds)} sources')


def _check_left_out(name: str, seen: _Seen, max_left_out: float) -> None:
  """Says which records teach nothing. Raises DataError if their share is too large."""
  n = sum(seen.left_out.values())
  if not n:
    return
  total = seen.kept + n
  what = 'records have no supervised token of text'
  remedy = 'chats with assistant turns and documents with text'
  counted = [f'{count:,} {reason}' for reason, count in seen.left_out.items()]
  if seen.kinds == {'preferences'}:
    what = 'preferences compare nothing'
    remedy = 'two different answers'
    # A pair may be one of a million of a published set, so the first of each reason is named.
    counted = []
    for reason, count in seen.left_out.items():
      counted.append(f'{count:,} {reason}, such as {seen.first_left_out[reason]}')
  found = f'{n:,} of {total:,} {what} ({", ".join(counted)})'
  if exceeds_share(n, total, max_left_out):
    raise DataError(
      f'sources.{name}: {found}; give {remedy}, or raise config.max_left_out (now {max_left_out:g})'
    )
  say(f'data       {name}: {found} and are left out')


def _say_if_short(name: str, source: SourceConfig, seen: _Seen, tokens: int) -> None:
  """Says that a corpus came out shorter than asked."""
  if seen.kept < source.size and not tokens:
    (kind,) = seen.kinds
    say(
      f'data       {name}: {seen.kept:,} {kind} are all that there are; '
      f'size={source.size:,} asks for more'
    )
  # Another record of average length would have brought the total closer.
  if seen.tokens + seen.tokens / seen.kept / 2 < tokens:
    say(
      f'data       {name}: {seen.tokens:,} tokens are all that there are; '
      f'{source.tokens_like} has {tokens:,}'
    )


def _say_if_cut(name: str, source: SourceConfig, rest: Iterator[Record]) -> None:
  """Says that a file has more records than `size`, which often comes from the preset alone."""
  try:
    has_more = next(rest, None) is not None
  except DataError:
    # Nobody asked for the next record, so a fault in it is no reason to stop.
    has_more = True
  if has_more:
    say(
      f'data       {name}: {source.path} has more than size={source.size:,} records, and the '
      f'others are not read; raise sources.{name}.size to read more, or give 0 to read all'
    )


class KeptIfFew:
  """Passes records on and keeps them for this process, unless there are many.

  Attributes:
    records: the records that have passed; empty if there were more than the limit.
  """

  def __init__(self, records: Iterable[Record], limit: int):
    """Wraps records.

    Args:
      records: the records.
      limit: how many are kept at most.
    """
    self.records: list[Record] = []
    self._source = records
    self._limit = limit

  def __iter__(self) -> Iterator[Record]:
    keeps = True
    for record in self._source:
      if keeps:
        self.records.append(record)
        keeps = len(self.records) <= self._limit
        if not keeps:
          self.records = []
      yield record
