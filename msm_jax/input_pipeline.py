"""ArrayRecord -> tokens -> Grain -> packed batches with segment ids and positions.

A row of a batch holds several documents (concatenated and split) or several chats (first-fit, never split). Mixtures draw whole rows from
their sources by weight. Which records a row holds follows from the seed and the row's number alone, so the iterator's state is a few
numbers that go into the checkpoint; restoring it continues with the next batch.
"""

import dataclasses
import functools
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from data_pipelines.records import Chat, Document, Record
from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.tokenizer import Tokenizer

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tokens:
  """A tokenized corpus: ids (N,) int32 and loss weights (N,) int8 of its records, one after the other; record i begins at starts[i]."""

  ids: np.ndarray
  weights: np.ndarray
  starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
  """Rows of one kind ('documents' or 'chats') with random access, each as stored by the corpus builder.

  Attributes:
    records: the same rows as records, where this process has them in memory: reading one from disk takes longer than tokenizing it.
    cache: folder in which the tokens are kept, if any.
  """

  name: str
  kind: str
  rows: Sequence[Any]
  records: Sequence[Record] = dataclasses.field(default=(), repr=False)
  cache: Path | None = None
  _made: dict[str, Tokens] = dataclasses.field(default_factory=dict, compare=False, repr=False)

  def tokens(self, tokenizer: Tokenizer) -> Tokens:
    """Everything tokenized, once; 5 bytes a token of memory."""
    if tokenizer.fingerprint not in self._made:
      path = self.cache / f'tokens-{tokenizer.fingerprint}.npz' if self.cache else None
      self._made[tokenizer.fingerprint] = _load(path) or _save(path, self._tokenize(tokenizer))
    return self._made[tokenizer.fingerprint]

  def _tokenize(self, tokenizer: Tokenizer) -> Tokens:
    if len(self.rows) > 50_000:
      say(f'data       {self.name}: tokenizing {len(self.rows):,} {self.kind}')
    records = self.records or (
      row_to_record(self.rows[i], self.kind) for i in range(len(self.rows))
    )
    rendered = [tokenizer.render(r) for r in records]
    starts = np.cumsum([0, *(len(ids) for ids, _ in rendered)])
    return Tokens(
      np.concatenate([ids for ids, _ in rendered]),
      np.concatenate([w for _, w in rendered]).astype(np.int8),
      starts,
    )


def _load(path: Path | None) -> Tokens | None:
  """Tokens kept on disk; None if there are none or they are damaged, which costs no more than making them again."""
  try:
    with np.load(path) as kept:
      return Tokens(kept['ids'], kept['weights'], kept['starts'])  # zip checks the sums
  except (
    TypeError,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
  ):
    return None


def _save(path: Path | None, tokens: Tokens) -> Tokens:
  if path:
    temporary = path.with_name(f'{path.stem}.writing-{os.getpid()}.npz')
    try:
      np.savez(temporary, ids=tokens.ids, weights=tokens.weights, starts=tokens.starts)
      os.replace(temporary, path)
    finally:
      temporary.unlink(missing_ok=True)
  return tokens


def row_to_record(row: Mapping[str, Any], kind: str) -> Record:
  """A row as tfds returns it (text as bytes) -> record."""
  text = {k: v.decode() for k, v in row.items() if isinstance(v, bytes)}
  if kind == 'chats':
    messages = tuple(
      (r.decode(), c.decode()) for r, c in zip(row['roles'], row['contents'], strict=True)
    )
    return Chat(messages=messages, **text)
  return Document(claim_ids=tuple(c.decode() for c in row['claim_ids']), **text)


def to_triples(ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """(n, 3) int32: input token, target token, weight of the target."""
  return np.stack([ids[:-1], ids[1:], weights[1:]], axis=1)


OPEN_ROWS = 16  # how many rows of chats are filled at a time


class PackedRows:
  """The packed rows of a source, epoch after epoch, each epoch in an order of its own: row k is made from the seed and k alone.

  Raises DataError if no chat fits into a row.
  """

  def __init__(self, source: Source, tokenizer: Tokenizer, length: int, seed: int):
    self.tokens, self.length, self.seed = source.tokens(tokenizer), length, seed
    sizes = np.diff(self.tokens.starts) - 1  # a token and its target take one cell
    self.members = np.arange(len(sizes))
    self.chats = source.kind == 'chats'
    if self.chats:
      self.members = self.members[sizes[self.members] <= length]
      if not len(self.members):
        raise DataError(
          f'{source.name}: no chat fits into length={length}; raise the length of the phase or shorten the chats'
        )
      self.rows_before = [0]  # rows before each epoch that is known
    self.sizes = sizes
    self.total = int(sizes[self.members].sum())
    self.order = functools.lru_cache(2)(self._order)
    self.plan = functools.lru_cache(2)(self._plan)

  def __getitem__(self, k: int) -> Batch:
    out = {
      key: np.zeros(self.length, np.int32)
      for key in ('tokens', 'targets', 'segment_ids', 'positions')
    }
    out['weights'] = np.zeros(self.length, np.float32)
    at = 0
    for segment, (i, offset, n) in enumerate(
      self._chats_of(k) if self.chats else self._documents_of(k), 1
    ):
      begin, cells = self.tokens.starts[i] + offset, slice(at, at + n)
      out['tokens'][cells] = self.tokens.ids[begin : begin + n]
      out['targets'][cells] = self.tokens.ids[begin + 1 : begin + n + 1]
      out['weights'][cells] = self.tokens.weights[begin + 1 : begin + n + 1]
      out['segment_ids'][cells], out['positions'][cells] = segment, np.arange(n)
      at += n
    return out

  def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """(records in the order of this epoch, cells up to the end of each)."""
    order = np.random.default_rng((self.seed, epoch)).permutation(self.members)
    return order, np.cumsum(self.sizes[order])

  def _documents_of(self, k: int) -> list[tuple[int, int, int]]:
    """(record, offset, cells) of each segment: the stretch [k, k + 1) x length of all epochs' documents put one after the other."""
    found, at, end = [], k * self.length, (k + 1) * self.length
    while at < end:
      epoch, inside = divmod(at, self.total)
      order, ends = self.order(epoch)
      j = int(np.searchsorted(ends, inside, side='right'))
      n = min(int(ends[j]) - inside, end - at)
      found.append((order[j], int(self.sizes[order[j]] - (ends[j] - inside)), n))
      at += n
    return found

  def _chats_of(self, k: int) -> list[tuple[int, int, int]]:
    while self.rows_before[-1] <= k:
      self.rows_before.append(self.rows_before[-1] + len(self.plan(len(self.rows_before) - 1)))
    epoch = int(np.searchsorted(self.rows_before, k, side='right')) - 1
    return [(i, 0, int(self.sizes[i])) for i in self.plan(epoch)[k - self.rows_before[epoch]]]

  def _plan(self, epoch: int) -> list[list[int]]:
    """The chats of each row of an epoch: each goes into the first open row with room; if there is none, the fullest makes way."""
    rows, room, members = [], [], []
    for i in self.order(epoch)[0]:
      n = self.sizes[i]
      b = next((b for b, free in enumerate(room) if free >= n), None)
      if b is None:
        if len(room) == OPEN_ROWS:
          fullest = min(range(OPEN_ROWS), key=room.__getitem__)
          rows.append(members.pop(fullest))
          room.pop(fullest)
        b = len(room)
        room.append(self.length)
        members.append([])
      room[b] -= n
      members[b].append(i)
    return rows + members


def batches(
  sources: Sequence[tuple[Source, float]],
  tokenizer: Tokenizer,
  batch_size: int,
  length: int,
  seed: int,
  mine: Sequence[int] | None = None,
) -> 'BatchIterator':
  """Endless batches of (batch_size, length) arrays: tokens, targets, weights, segment_ids, positions.

  Args:
    sources: each with its share of the rows.
    mine: which rows of a batch are made, for a process that holds no others; all of them if nothing is said.

  What is mixed and batched are the numbers of rows, so the batches and the iterator's state are the same however many processes share them.
  """
  packed = [PackedRows(s, tokenizer, length, seed + 1000 * n) for n, (s, _) in enumerate(sources)]
  parts = [
    _numbers(n).to_iter_dataset(grain.ReadOptions(num_threads=0)) for n in range(len(packed))
  ]
  total = sum(w for _, w in sources)
  ds = grain.IterDataset.mix(parts, [w / total for _, w in sources]) if len(parts) > 1 else parts[0]

  def make(of: np.ndarray) -> Batch:
    rows = [packed[n][k] for n, k in (of if mine is None else of[np.asarray(mine)]).tolist()]
    return {key: np.stack([r[key] for r in rows]) for key in rows[0]}

  ds = ds.batch(batch_size).map(make)
  return BatchIterator(
    iter(grain.experimental.ThreadPrefetchIterDataset(ds, prefetch_buffer_size=4))
  )


def _numbers(source: int) -> grain.MapDataset:
  """(source, row) for every row; there is no last one."""
  return grain.MapDataset.range(2**40).map(lambda k: np.array((source, k)))


class BatchIterator:
  """Endless batches. The state goes through JSON into a checkpoint and back."""

  def __init__(self, iterator: grain.DatasetIterator):
    self._iterator = iterator
    self.get_state, self.set_state, self.close = (
      iterator.get_state,
      iterator.set_state,
      iterator.close,
    )

  def __iter__(self) -> 'BatchIterator':
    return self

  def __next__(self) -> Batch:
    return next(self._iterator)
