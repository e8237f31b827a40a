"""From stored records to packed batches: tokens, targets, weights, segment ids and positions.

1. `Source` (data/tokenized.py) tokenizes a corpus once and keeps the tokens in a file beside it.
2. `PackedRows` (data/packing.py) makes rows of one length.
3. `batches` draws whole rows from its sources by their shares, with Grain.

Which records a row holds follows from the seed and the number of the row alone. The state of the
iterator is therefore a few numbers, which go into the checkpoint, and restoring it continues with
the very next batch. The cost: sizes and the orders of two epochs are in memory, 56 bytes a record.
Rows of chats and pairs are planned for a whole epoch: with three to a row, these take 165 bytes
each.

Shapes: T tokens of a row, B rows of a batch.
"""

from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from msm_jax.data.packing import Batch, PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.tokenizer import Tokenizer

# More rows than any phase reads: the numbers of a source's rows have no end.
_ENDLESS = 2**40
# The key under which a batch carries, inside this module, the sources and numbers of its rows.
_ROW_IDS = 'row_ids'


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
    DataError: a source of chats or pairs has none that fits into a row.
  """
  packed = []
  for n, (source, _) in enumerate(sources):
    packed.append(PackedRows(source, tokenizer, length, seed_of_source(seed, n)))

  def make_batch(row_ids: np.ndarray) -> Batch:
    """(B, 2) pairs of source and row -> the arrays of this process's rows."""
    own_ids = row_ids
    if local_rows is not None:
      own_ids = row_ids[np.asarray(local_rows)]
    rows = [packed[source][row] for source, row in own_ids.tolist()]
    batch = {}
    for key in rows[0]:
      batch[key] = np.stack([row[key] for row in rows])
    # The iterator takes this out again; it is the same in every process.
    batch[_ROW_IDS] = row_ids
    return batch

  # What is mixed and batched are the numbers of rows, not the rows themselves. The batches and the
  # state of the iterator are therefore the same, however many processes share the work.
  dataset = mixed_rows([share for _, share in sources]).batch(batch_size).map(make_batch)
  # A thread makes the next batches while the device works on this one.
  prefetched = grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=4)
  return BatchIterator(iter(prefetched), packed)


def seed_of_source(seed: int, n: int) -> int:
  """The seed of the n-th source: two of the same size must not be read in the same order."""
  return seed + 1000 * n


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

  def __init__(self, iterator: grain.DatasetIterator, packed: Sequence[PackedRows]):
    self._iterator = iterator
    self._packed = packed
    # How many rows of each source were taken. Rows that were made ahead do not count.
    self._taken = [0] * len(packed)

  def __iter__(self) -> 'BatchIterator':
    return self

  def __next__(self) -> Batch:
    batch = next(self._iterator)
    for source, row in batch.pop(_ROW_IDS).tolist():
      self._taken[source] = max(self._taken[source], row + 1)
    return batch

  def get_state(self) -> dict[str, Any]:
    """The place after the last batch that was taken, and what was found out on the way there."""
    rows_before = []
    for source, taken in zip(self._packed, self._taken, strict=True):
      # What is known of later epochs depends on how many batches the thread has made ahead.
      rows_before.append([rows for rows in source.rows_before if rows <= taken])
    return {
      'rows': self._iterator.get_state(),
      'taken': list(self._taken),
      'rows_before': rows_before,
    }

  def set_state(self, state: dict[str, Any]) -> None:
    """Goes to a place that `get_state` returned, in this process or another."""
    # States of older checkpoints are the place alone.
    if 'rows_before' in state:
      for source, rows_before in zip(self._packed, state['rows_before'], strict=True):
        source.know_rows_before(rows_before)
      self._taken = list(state['taken'])
      state = state['rows']
    self._iterator.set_state(state)

  def close(self) -> None:
    """Ends the thread that makes batches ahead."""
    self._iterator.close()
