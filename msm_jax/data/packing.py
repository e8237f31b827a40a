"""Packs texts into rows of one length.

A row holds several documents (put one after the other and cut at the row's end, so nothing is
padding), or several chats or pairs (first-fit, never cut). Which ones follows from the seed and the
number of the row alone.

Shapes: T cells of a row, S cells of a row of a teacher. A cell holds a token and its target.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence

import numpy as np

from msm_jax.base.errors import DataError
from msm_jax.data.tokenized import Source
from msm_jax.tokenizer import Tokenizer

# `tokens`, `targets`, `segment_ids` and `positions` (int32) and `weights` (fp32): (T,) each for a
# row, (B, T) for a batch. With a teacher also `partner` (T,) and, of the teacher's own row of S
# cells, `teacher_tokens`, `teacher_segment_ids` and `teacher_positions` (all int32).
Batch = dict[str, np.ndarray]
# How many rows of chats or pairs are filled at a time. More would waste less room and take longer.
OPEN_ROWS = 16
# The rule by which `PackedRows` orders the records of an epoch. It is part of the identity of every
# phase that reads data, so whoever changes the rule changes this text too.
DATA_ORDER = 'by the random key of each record'


@dataclasses.dataclass(frozen=True)
class _Segment:
  """A stretch of one text in a row.

  Attributes:
    text: the number of the text.
    offset: how many of the text's cells stand in the rows before.
    cells: how many cells of the row it takes. A cell holds a token and its target.
  """

  text: int
  offset: int
  cells: int


class PackedRows:
  """The packed rows of a source, epoch after epoch, each epoch in an order of its own.

  Row k is made from the seed and k alone, so a resumed phase asks for it without the rows before.

  Attributes:
    tokens: the tokenized corpus.
    length: the cells T of a row.
    seed: decides the orders of the epochs.
    is_cut: whether records are cut where a row ends. Documents are; chats and pairs are not.
    has_teacher: whether records are pairs of what a student and what a teacher reads. These have
      rows of their own: a row of students and a row of their teachers belong together.
    teacher_length: the cells S of a row of a teacher.
    sizes: (records,) cells of each record.
    members: the records that are used. Chats and pairs that are longer than a row are left out;
      `source_checks.check_sources_fit` says how many.
  """

  def __init__(self, source: Source, tokenizer: Tokenizer, length: int, seed: int):
    """Prepares the rows.

    Args:
      source: the corpus.
      tokenizer: the tokenizer.
      length: the cells T of a row.
      seed: decides the orders of the epochs.

    Raises:
      DataError: no chat or pair fits into a row, or no document has a token to learn.
    """
    self.tokens = source.tokens(tokenizer)
    self.length = length
    self.seed = seed
    self.is_cut = source.kind == 'documents'
    self.has_teacher = source.context is not None
    self.sizes = self.tokens.cells_of_texts.sum(axis=1)
    self.teacher_length = source.teacher_length or length
    self.members = np.flatnonzero(source.fitting(tokenizer, length))
    if not len(self.members) and not self.is_cut:
      raise DataError(
        f'{source.name}: no {source.unit} fits into length={length}; '
        f'raise the length of the phase or shorten the {source.unit}s'
      )
    if not len(self.members):
      raise DataError(f'{source.name}: no document has any text; take the source out of the phase')
    self._cells = self.tokens.cells
    # What a row of chats or pairs has room for, and (records, 1 or 2) what each record takes of it.
    self._capacities = [length]
    self._needs = self.sizes[:, None]
    if self.has_teacher:
      self._capacities = [length, self.teacher_length]
      self._needs = self.tokens.cells_of_texts
    # Cells of an epoch.
    self._epoch_cells = int(self.sizes[self.members].sum())
    # For chats and pairs: how many rows stand before each epoch, as far as it is known.
    self._rows_before = [0]
    # A row may reach into the next epoch, so two epochs are remembered.
    self._order = functools.lru_cache(2)(self._make_order)
    self._whole_rows = functools.lru_cache(2)(self._make_whole_rows)

  @property
  def rows_before(self) -> list[int]:
    """How many rows stand before each epoch, as far as it is known; [0] for documents."""
    return list(self._rows_before)

  def know_rows_before(self, rows_before: Sequence[int]) -> None:
    """Takes over what another one with the same source, length and seed has found out.

    To know which chats row k holds, all epochs before it must be planned: a second and more for
    each, with a million chats. A resumed phase is spared this.

    Args:
      rows_before: the other one's `rows_before`.
    """
    if len(rows_before) > len(self._rows_before):
      self._rows_before = list(rows_before)

  def __getitem__(self, k: int) -> Batch:
    """Makes row k.

    Args:
      k: the number of the row; there is no last one.

    Returns:
      (T,) arrays. Padding has segment 0, weight 0 and zeros elsewhere. A preference is two segments
      that lie side by side: an odd number and the even one after it. With a teacher there are (S,)
      arrays too; see `Batch`.
    """
    segments = self._segments_of(k)
    if not self.has_teacher:
      return self._fill(segments, self.length)
    row = self._fill(segments[0::2], self.length)
    teacher = self._fill(segments[1::2], self.teacher_length)
    # For each learned cell of a student, the cell in which its teacher has the same target. Both
    # have the same learned tokens in the same order.
    row['partner'] = np.zeros(self.length, np.int32)
    row['partner'][row['weights'] > 0] = np.flatnonzero(teacher['weights'])
    for key in ('tokens', 'segment_ids', 'positions'):
      row[f'teacher_{key}'] = teacher[key]
    return row

  def records_of(self, k: int) -> list[int]:
    """The numbers of the records of which something stands in row k, each once."""
    texts_per_record = self.tokens.texts_per_record
    return sorted({int(segment.text) // texts_per_record for segment in self._segments_of(k)})

  def _segments_of(self, k: int) -> list[_Segment]:
    """The segments of row k in their order. With a teacher, those of student and teacher alternate,
    and each kind has a row of its own."""
    if self.is_cut:
      return self._segments_of_documents(k)
    return self._segments_of_whole(k)

  def _fill(self, segments: Sequence[_Segment], length: int) -> Batch:
    """The arrays of a row that holds these segments."""
    row = {
      'tokens': np.zeros(length, np.int32),
      'targets': np.zeros(length, np.int32),
      'segment_ids': np.zeros(length, np.int32),
      'positions': np.zeros(length, np.int32),
      'weights': np.zeros(length, np.float32),
    }
    at = 0
    for number, segment in enumerate(segments, 1):
      cells = slice(at, at + segment.cells)
      begin = self.tokens.starts[segment.text] + segment.offset
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

  # ---- Chats and pairs: first-fit within an epoch

  def _segments_of_whole(self, k: int) -> list[_Segment]:
    """The segments of row k. How many rows an epoch has is known once its rows are planned."""
    while self._rows_before[-1] <= k:
      epoch = len(self._rows_before) - 1
      self._rows_before.append(self._rows_before[-1] + len(self._whole_rows(epoch)))
    epoch = int(np.searchsorted(self._rows_before, k, side='right')) - 1
    segments = []
    for record in self._whole_rows(epoch)[k - self._rows_before[epoch]]:
      first = record * self.tokens.texts_per_record
      for text in range(first, first + self.tokens.texts_per_record):
        segments.append(_Segment(text, 0, int(self._cells[text])))
    return segments

  def _make_whole_rows(self, epoch: int) -> list[list[int]]:
    """The chats or pairs of each row of an epoch.

    Each one goes into the first open row that has room for it. If none has, a new row is opened. At
    most OPEN_ROWS are open: the fullest one is closed to make way for another.
    """
    closed: list[list[int]] = []
    opened: list[list[int]] = []
    # The free cells of each open row; with a teacher, those of the student and of the teacher.
    room: list[list[int]] = []
    order, _ = self._order(epoch)
    for record, needs in zip(order, self._needs[order].tolist(), strict=True):
      with_room = (r for r, free in enumerate(room) if all(map(operator.ge, free, needs)))
      row = next(with_room, None)
      if row is None:
        if len(opened) == OPEN_ROWS:
          fullest = room.index(min(room))
          closed.append(opened.pop(fullest))
          room.pop(fullest)
        row = len(opened)
        opened.append([])
        room.append(list(self._capacities))
      opened[row].append(record)
      room[row] = list(map(operator.sub, room[row], needs))
    return closed + opened
