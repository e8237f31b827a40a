"""ArrayRecord -> Grain -> packed batches with segment ids and positions.

A row of a batch holds several documents (concatenated and split) or several chats (first-fit, never split). Mixtures draw whole rows from
their sources by weight. The iterator's state is a small dict that goes into the checkpoint; restoring it continues with the next batch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from data_pipelines.records import Chat, DataError, Document, Record
from msm_jax.tokenizer import Tokenizer

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Source:
  """Rows of one kind ('documents' or 'chats') with random access, each as stored by the corpus builder.

  `records` are the same rows as records, where this process has them in memory: reading one from disk takes longer than tokenizing it.
  `made` keeps the tokenized rows of a small corpus, for every phase that reads this source with the same tokenizer.
  """

  name: str
  kind: str
  rows: Sequence[Any]
  records: Sequence[Record] = dataclasses.field(default=(), compare=False, repr=False)
  made: dict[int, np.ndarray] = dataclasses.field(default_factory=dict, compare=False, repr=False)


def row_to_record(row: Mapping[str, Any], kind: str) -> Record:
  """A row as tfds returns it (text as bytes) -> record."""
  text = {k: v.decode() for k, v in row.items() if isinstance(v, bytes)}
  if kind == 'chats':
    messages = tuple((r.decode(), c.decode()) for r, c in zip(row['roles'], row['contents'], strict=True))
    return Chat(messages=messages, **text)
  return Document(claim_ids=tuple(c.decode() for c in row['claim_ids']), **text)


def to_triples(ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """(n, 3) int32: input token, target token, weight of the target."""
  return np.stack([ids[:-1], ids[1:], weights[1:]], axis=1)


CACHED_ROWS = 200_000  # a corpus of at most so many rows is tokenized once and kept


class _Examples:
  """The rows of a source as (n, 3) arrays, made when first asked for."""

  def __init__(self, source: Source, tokenizer: Tokenizer):
    self.source, self.tokenizer = source, tokenizer

  def __len__(self) -> int:
    return len(self.source.rows)

  def __getitem__(self, i: int) -> dict[str, np.ndarray]:
    x = self.source.made.get(i)
    if x is None:
      record = self.source.records[i] if self.source.records else row_to_record(self.source.rows[i], self.source.kind)
      x = to_triples(*self.tokenizer.render(record))
      if len(self) <= CACHED_ROWS:
        self.source.made[i] = x
    return {'x': x}


def source_dataset(source: Source, tokenizer: Tokenizer, length: int, seed: int) -> grain.IterDataset:
  """An endless, reshuffled stream of packed rows. Raises DataError if no chat fits into a row."""
  examples = _Examples(source, tokenizer)
  ds = grain.MapDataset.source(examples).seed(seed).shuffle().repeat().to_iter_dataset(grain.ReadOptions(num_threads=0))
  if source.kind == 'chats':
    if not any(len(examples[i]['x']) <= length for i in range(len(examples))):
      raise DataError(f'{source.name}: no chat fits into length={length}; raise the length of the phase or shorten the chats')
    ds = ds.filter(lambda triples: len(triples['x']) <= length)
    return grain.experimental.FirstFitPackIterDataset(ds, length_struct={'x': length}, num_packing_bins=16, seed=seed)
  return grain.experimental.ConcatThenSplitIterDataset(ds, length_struct={'x': length})


def _to_batch(rows: Mapping[str, np.ndarray]) -> Batch:
  x = rows['x']
  return {
    'tokens': x[..., 0],
    'targets': x[..., 1],
    'weights': x[..., 2].astype(np.float32),
    'segment_ids': rows['x_segment_ids'],
    'positions': rows['x_positions'],
  }


def batches(
  sources: Sequence[tuple[Source, float]], tokenizer: Tokenizer, batch_size: int, length: int, seed: int, shard: tuple[int, int] = (0, 1)
) -> 'BatchIterator':
  """Endless batches of (batch_size, length) arrays: tokens, targets, weights, segment_ids, positions.

  Args:
    sources: each with its share of the rows.
    shard: (index, count) of this process; each process reads its own records.
  """
  index, count = shard
  parts = [
    source_dataset(s if count == 1 else Source(s.name, s.kind, _Every(s.rows, index, count)), tokenizer, length, seed + 1000 * n)
    for n, (s, _) in enumerate(sources)
  ]
  total = sum(w for _, w in sources)
  ds = grain.IterDataset.mix(parts, [w / total for _, w in sources]) if len(parts) > 1 else parts[0]
  ds = ds.batch(batch_size).map(_to_batch)
  return BatchIterator(iter(grain.experimental.ThreadPrefetchIterDataset(ds, prefetch_buffer_size=4)))


class BatchIterator:
  """Endless batches. The state goes through JSON into a checkpoint and back."""

  def __init__(self, iterator: grain.DatasetIterator):
    self._iterator = iterator
    self.get_state, self.close = iterator.get_state, iterator.close

  def __iter__(self) -> 'BatchIterator':
    return self

  def __next__(self) -> Batch:
    return next(self._iterator)

  def set_state(self, state: dict[str, Any]) -> None:
    """Grain compares the slices of a split document with tuples; JSON made them lists, and the next document would be dropped."""

    def mend(value: Any) -> Any:
      if isinstance(value, dict):
        return {k: {f: tuple(x) for f, x in v.items()} if k == 'remainder_slices' else mend(v) for k, v in value.items()}
      return [mend(v) for v in value] if isinstance(value, list) else value

    self._iterator.set_state(mend(state))


class _Every:
  """Every `count`-th row from `index` on."""

  def __init__(self, rows: Sequence[Any], index: int, count: int):
    self.rows, self.index, self.count = rows, index, count

  def __len__(self) -> int:
    return (len(self.rows) - self.index + self.count - 1) // self.count

  def __getitem__(self, i: int) -> Any:
    return self.rows[self.index + i * self.count]
