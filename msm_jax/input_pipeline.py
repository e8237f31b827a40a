"""From stored records to packed batches: tokens, targets, weights, segment ids and positions.

1. `Source` tokenizes a corpus once and keeps the tokens in a file beside it.
2. `PackedRows` makes rows of one length. A row holds several documents (put one after the other and
   cut at the row's end, so nothing is padding) or several chats (first-fit, never cut).
3. `batches` draws whole rows from its sources by their shares, with Grain.

Which records a row holds follows from the seed and the number of the row alone. The state of the
iterator is therefore a few numbers, which go into the checkpoint, and restoring it continues with
the very next batch. The cost: the order of a whole epoch is in memory, 16 bytes a record.

Shapes: N tokens of a corpus, T tokens of a row, B rows of a batch.
"""

import dataclasses
import functools
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from data_pipelines.records import Chat, Document, Record
from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.tokenizer import Tokenizer

# `tokens`, `targets`, `segment_ids` and `positions` (int32) and `weights` (fp32): (T,) each for a
# row, (B, T) for a batch.
Batch = dict[str, np.ndarray]

# Tokenizing more records than this takes long enough to tell the user.
_MANY_RECORDS = 50_000
# How many rows of chats are filled at a time. More would waste less room and take longer.
OPEN_ROWS = 16
# More rows than any phase reads: the numbers of a source's rows have no end.
_ENDLESS = 2**40
# The rule by which `PackedRows` orders the records of an epoch. It is part of the identity of every
# phase that reads data, so whoever changes the rule changes this text too.
DATA_ORDER = 'by the random key of each record'


# --------------------------------------------------------------------------------------------------
# Tokens of a corpus
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Tokens:
  """A tokenized corpus, with the records one after the other.

  Attributes:
    ids: (N,) int32 token ids.
    weights: (N,) int8 weight of each token as a target of the loss.
    starts: (records + 1,) int64; record i is at starts[i] to starts[i + 1].
  """

  ids: np.ndarray
  weights: np.ndarray
  starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
  """The stored rows of one corpus, with random access.

  Attributes:
    name: the corpus's name, for messages.
    kind: 'documents' or 'chats'.
    rows: the rows, as the corpus builder stored them and tfds returns them.
    records: the same rows as records, where this process has them in memory. Reading a record from
      disk takes longer than tokenizing it.
    cache: the folder in which the tokens are kept; None if they are not kept.
  """

  name: str
  kind: str
  rows: Sequence[Any]
  records: Sequence[Record] = dataclasses.field(default=(), repr=False)
  cache: Path | None = None
  # Tokenizer fingerprint -> tokens.
  _tokens: dict[str, Tokens] = dataclasses.field(default_factory=dict, compare=False, repr=False)

  def tokens(self, tokenizer: Tokenizer) -> Tokens:
    """Tokenizes everything, once.

    Args:
      tokenizer: the tokenizer.

    Returns:
      The tokens, 5 bytes each in memory.
    """
    fingerprint = tokenizer.fingerprint
    if fingerprint not in self._tokens:
      self._tokens[fingerprint] = self._read_or_tokenize(tokenizer)
    return self._tokens[fingerprint]

  def count_fitting(self, tokenizer: Tokenizer, length: int) -> tuple[int, int]:
    """Counts what a phase with rows of this length reads.

    Args:
      tokenizer: the tokenizer.
      length: the cells T of a row.

    Returns:
      (records, tokens) without the chats that are longer than a row. Documents are cut, so they
      always fit.
    """
    tokens = self.tokens(tokenizer)
    fits = _fits(self.kind, tokens, length)
    return int(fits.sum()), int(np.diff(tokens.starts)[fits].sum())

  def count_silent(self, tokenizer: Tokenizer) -> int:
    """Counts records of which no token is learned, such as chats without an answer."""
    tokens = self.tokens(tokenizer)
    learned_before = np.concatenate([[0], np.cumsum(tokens.weights, dtype=np.int64)])
    # The first token of a record is never a target.
    begins = np.minimum(tokens.starts[:-1] + 1, tokens.starts[1:])
    return int((learned_before[tokens.starts[1:]] == learned_before[begins]).sum())

  def all_records(self) -> Iterator[Record]:
    """Yields every record, from memory or from disk."""
    if self.records:
      yield from self.records
      return
    for i in range(len(self.rows)):
      yield row_to_record(self.rows[i], self.kind)

  def _read_or_tokenize(self, tokenizer: Tokenizer) -> Tokens:
    """The kept tokens, or new ones, which are then kept."""
    if self.cache is None:
      return self._tokenize(tokenizer)
    path = self.cache / f'tokens-{tokenizer.fingerprint}.npz'
    kept = _load(path)
    if kept is not None:
      return kept
    made = self._tokenize(tokenizer)
    _save(path, made)
    return made

  def _tokenize(self, tokenizer: Tokenizer) -> Tokens:
    if len(self.rows) > _MANY_RECORDS:
      say(f'data       {self.name}: tokenizing {len(self.rows):,} {self.kind}')
    all_ids, all_weights, sizes = [], [], [0]
    for record in self.all_records():
      ids, weights = tokenizer.render(record)
      all_ids.append(ids)
      all_weights.append(weights)
      sizes.append(len(ids))
    return Tokens(
      ids=np.concatenate(all_ids),
      weights=np.concatenate(all_weights).astype(np.int8),
      starts=np.cumsum(sizes),
    )


def _fits(kind: str, tokens: Tokens, length: int) -> np.ndarray:
  """(records,) bool: which records are read by a phase with rows of a length.

  A record of one token or none has no target, so there is nothing to read.
  """
  # A record of n tokens takes n - 1 cells: its last token is a target only.
  cells = np.diff(tokens.starts) - 1
  if kind == 'chats':
    return (cells > 0) & (cells <= length)
  return cells > 0


# What numpy and zipfile raise when a file is missing or damaged.
_UNREADABLE = (
  OSError,
  EOFError,
  KeyError,
  TypeError,
  ValueError,
  RuntimeError,
  NotImplementedError,
  zipfile.BadZipFile,
)


def _load(path: Path) -> Tokens | None:
  """Reads kept tokens. None if they are missing or damaged: making them again costs little."""
  try:
    # The checksums of the zip archive notice damage.
    with np.load(path) as kept:
      return Tokens(kept['ids'], kept['weights'], kept['starts'])
  except _UNREADABLE:
    return None


def _save(path: Path, tokens: Tokens) -> None:
  # Written under another name and renamed, so that a killed process leaves no half of a file. The
  # name ends in .npz because numpy would append it otherwise.
  temporary = path.with_name(f'{path.stem}.writing-{os.getpid()}.npz')
  try:
    np.savez(temporary, ids=tokens.ids, weights=tokens.weights, starts=tokens.starts)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def row_to_record(row: Mapping[str, Any], kind: str) -> Record:
  """Converts a row as tfds returns it, with text as bytes, into a record.

  Args:
    row: the row.
    kind: 'documents' or 'chats'.

  Returns:
    A `Document` or a `Chat`.
  """
  text = {key: value.decode() for key, value in row.items() if isinstance(value, bytes)}
  if kind == 'chats':
    roles = [role.decode() for role in row['roles']]
    contents = [content.decode() for content in row['contents']]
    return Chat(messages=tuple(zip(roles, contents, strict=True)), **text)
  claim_ids = tuple(claim_id.decode() for claim_id in row['claim_ids'])
  return Document(claim_ids=claim_ids, **text)


def to_triples(ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Pairs each token with its target: (n - 1, 3) int32 of input, target and the target's weight."""
  return np.stack([ids[:-1], ids[1:], weights[1:]], axis=1)


# --------------------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Segment:
  """A stretch of one record in a row.

  Attributes:
    record: the number of the record.
    offset: how many of the record's cells stand in the rows before.
    cells: how many cells of the row it takes. A cell holds a token and its target.
  """

  record: int
  offset: int
  cells: int


class PackedRows:
  """The packed rows of a source, epoch after epoch, each epoch in an order of its own.

  Row k is made from the seed and k alone, so a resumed phase asks for it without the rows before.

  Attributes:
    tokens: the tokenized corpus.
    length: the cells T of a row.
    seed: decides the orders of the epochs.
    is_chats: whether the records are chats, which are never cut.
    sizes: (records,) cells of each record.
    members: the records that are used. Chats that are longer than a row are left out;
      `prepare.check_sources_fit` says how many.
  """

  def __init__(self, source: Source, tokenizer: Tokenizer, length: int, seed: int):
    """Prepares the rows.

    Args:
      source: the corpus.
      tokenizer: the tokenizer.
      length: the cells T of a row.
      seed: decides the orders of the epochs.

    Raises:
      DataError: no chat fits into a row, or no document has a token to learn.
    """
    self.tokens = source.tokens(tokenizer)
    self.length = length
    self.seed = seed
    self.is_chats = source.kind == 'chats'
    # A record of n tokens takes n - 1 cells: its last token is a target only.
    self.sizes = np.diff(self.tokens.starts) - 1
    self.members = np.flatnonzero(_fits(source.kind, self.tokens, length))
    if not len(self.members) and self.is_chats:
      raise DataError(
        f'{source.name}: no chat fits into length={length}; '
        f'raise the length of the phase or shorten the chats'
      )
    if not len(self.members):
      raise DataError(f'{source.name}: no document has any text; take the source out of the phase')
    # Cells of an epoch.
    self._epoch_cells = int(self.sizes[self.members].sum())
    # For chats: how many rows stand before each epoch, as far as it is known.
    self._rows_before = [0]
    # A row may reach into the next epoch, so two epochs are remembered.
    self._order = functools.lru_cache(2)(self._make_order)
    self._chat_rows = functools.lru_cache(2)(self._make_chat_rows)

  def __getitem__(self, k: int) -> Batch:
    """Makes row k.

    Args:
      k: the number of the row; there is no last one.

    Returns:
      (T,) arrays. Padding has segment 0, weight 0 and zeros elsewhere.
    """
    row = {
      'tokens': np.zeros(self.length, np.int32),
      'targets': np.zeros(self.length, np.int32),
      'segment_ids': np.zeros(self.length, np.int32),
      'positions': np.zeros(self.length, np.int32),
      'weights': np.zeros(self.length, np.float32),
    }
    segments = self._segments_of_chats(k) if self.is_chats else self._segments_of_documents(k)
    at = 0
    for number, segment in enumerate(segments, 1):
      cells = slice(at, at + segment.cells)
      begin = self.tokens.starts[segment.record] + segment.offset
      end = begin + segment.cells
      row['tokens'][cells] = self.tokens.ids[begin:end]
      # The target of a token is the one after it.
      row['targets'][cells] = self.tokens.ids[begin + 1 : end + 1]
      row['weights'][cells] = self.tokens.weights[begin + 1 : end + 1]
      row['segment_ids'][cells] = number
      # A document that goes on in the next row begins there at position 0.
      row['positions'][cells] = np.arange(segment.cells)
      at += segment.cells
    return row

  def _make_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """The records in the order of an epoch, and the cells up to the end of each.

    Every record has a random key, and the records are read by rising keys. The key depends on the
    seed, the epoch and the number of the record alone. Two corpora of different sizes are therefore
    read in one order, as far as both have the record. A shuffled list would not do: the shuffles of
    1,500 and of 1,452 records have nothing in common.
    """
    key_of_record = np.random.default_rng((self.seed, epoch)).random(len(self.sizes))
    order = self.members[np.argsort(key_of_record[self.members], kind='stable')]
    return order, np.cumsum(self.sizes[order])

  # ---- Documents: all epochs put one after the other and cut into rows

  def _segments_of_documents(self, k: int) -> list[_Segment]:
    """The segments of row k: cells k T to (k + 1) T of the endless text of all epochs."""
    segments = []
    at = k * self.length
    row_end = at + self.length
    while at < row_end:
      epoch, in_epoch = divmod(at, self._epoch_cells)
      order, ends = self._order(epoch)
      # The first document that ends after this cell is the one that holds it.
      j = int(np.searchsorted(ends, in_epoch, side='right'))
      record = order[j]
      left_in_record = int(ends[j]) - in_epoch
      offset = int(self.sizes[record]) - left_in_record
      cells = min(left_in_record, row_end - at)
      segments.append(_Segment(record, offset, cells))
      at += cells
    return segments

  # ---- Chats: first-fit within an epoch

  def _segments_of_chats(self, k: int) -> list[_Segment]:
    """The segments of row k. How many rows an epoch has is known once its rows are planned."""
    while self._rows_before[-1] <= k:
      epoch = len(self._rows_before) - 1
      self._rows_before.append(self._rows_before[-1] + len(self._chat_rows(epoch)))
    epoch = int(np.searchsorted(self._rows_before, k, side='right')) - 1
    chats = self._chat_rows(epoch)[k - self._rows_before[epoch]]
    return [_Segment(chat, 0, int(self.sizes[chat])) for chat in chats]

  def _make_chat_rows(self, epoch: int) -> list[list[int]]:
    """The chats of each row of an epoch.

    Each chat goes into the first open row that has room for it. If none has, a new row is opened.
    At most OPEN_ROWS are open: the fullest one is closed to make way for another.
    """
    closed: list[list[int]] = []
    opened: list[list[int]] = []
    # The free cells of each open row.
    room: list[int] = []
    order, _ = self._order(epoch)
    for chat in order:
      size = self.sizes[chat]
      row = next((r for r, free in enumerate(room) if free >= size), None)
      if row is None:
        if len(opened) == OPEN_ROWS:
          fullest = room.index(min(room))
          closed.append(opened.pop(fullest))
          room.pop(fullest)
        row = len(opened)
        opened.append([])
        room.append(self.length)
      opened[row].append(chat)
      room[row] -= size
    return closed + opened


# --------------------------------------------------------------------------------------------------
# Batches
# --------------------------------------------------------------------------------------------------


def batches(
  sources: Sequence[tuple[Source, float]],
  tokenizer: Tokenizer,
  batch_size: int,
  length: int,
  seed: int,
  local_rows: Sequence[int] | np.ndarray | None = None,
) -> 'BatchIterator':
  """Makes endless batches from a mixture of sources.

  Args:
    sources: each source with its share of the rows. Shares need not add up to 1.
    tokenizer: the tokenizer.
    batch_size: the rows B of the global batch.
    length: the tokens T of a row.
    seed: decides the order of each source.
    local_rows: which rows of the global batch are made, for a process that holds no others; None
      means all.

  Returns:
    An iterator over batches of (B, T) arrays, or (len(local_rows), T).

  Raises:
    DataError: a source of chats has none that fits into a row.
  """
  packed = []
  for n, (source, _) in enumerate(sources):
    # Two sources of the same size must not be read in the same order.
    packed.append(PackedRows(source, tokenizer, length, seed + 1000 * n))

  def make_batch(row_ids: np.ndarray) -> Batch:
    """(B, 2) pairs of source and row -> the arrays of this process's rows."""
    if local_rows is not None:
      row_ids = row_ids[np.asarray(local_rows)]
    rows = [packed[source][row] for source, row in row_ids.tolist()]
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

  # What is mixed and batched are the numbers of rows, not the rows themselves. The batches and the
  # state of the iterator are therefore the same, however many processes share the work.
  dataset = mixed_rows([share for _, share in sources]).batch(batch_size).map(make_batch)
  # A thread makes the next batches while the device works on this one.
  prefetched = grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=4)
  return BatchIterator(iter(prefetched))


def mixed_rows(shares: Sequence[float]) -> grain.IterDataset:
  """Mixes the numbers of the rows of sources.

  Args:
    shares: the share of each source. They need not add up to 1.

  Returns:
    Endless pairs of source and row, (2,) int64 each; each source's rows come in order.
  """
  row_ids = [_row_ids(n) for n in range(len(shares))]
  if len(row_ids) == 1:
    return row_ids[0]
  total = sum(shares)
  return grain.IterDataset.mix(row_ids, [share / total for share in shares])


def _row_ids(source: int) -> grain.IterDataset:
  """(source, row) for every row of a source, in order; there is no last one."""
  numbers = grain.MapDataset.range(_ENDLESS)
  pairs = numbers.map(lambda row: np.array((source, row)))
  # Without threads: making a number takes less time than handing it over.
  return pairs.to_iter_dataset(grain.ReadOptions(num_threads=0))


class BatchIterator:
  """Endless batches whose place can be saved and restored.

  The state is a dict that goes through JSON into a checkpoint and back. Batches that were made
  ahead but not yet taken do not count.
  """

  def __init__(self, iterator: grain.DatasetIterator):
    self._iterator = iterator

  def __iter__(self) -> 'BatchIterator':
    return self

  def __next__(self) -> Batch:
    return next(self._iterator)

  def get_state(self) -> dict[str, Any]:
    """The place after the last batch that was taken."""
    return self._iterator.get_state()

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned, in this process or another."""
    self._iterator.set_state(state)

  def close(self) -> None:
    """Ends the thread that makes batches ahead."""
    self._iterator.close()
