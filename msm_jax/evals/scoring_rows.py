"""Puts texts whose options are scored into rows, and rows into batches.

Texts that begin alike are a *family*: their beginning stands in a row once, and what follows it in
each stands behind it, in branches that do not see each other.

Shapes: B rows, T tokens of a row; N parts of a batch, one for each device, C = B T / N tokens of a
part, S = M T scored ones among them.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


def _fill_rows(lengths: Sequence[int], length: int) -> list[list[int]]:
  """Packs texts into rows: row -> numbers of its texts.

  The longest come first, and each goes where it leaves the least room (best fit decreasing).
  """
  rows: list[list[int]] = []
  # Room -> the rows that have so much left. `rooms` says the same in bits: bit 5 is set if some row
  # has room for five tokens. So the smallest room that suffices is found without a search.
  rows_with: dict[int, list[int]] = {}
  rooms = 0
  for n in np.argsort([-size for size in lengths], kind='stable'):
    size = lengths[n]
    large_enough = rooms >> size
    if large_enough:
      lowest_bit = large_enough & -large_enough
      room = size + lowest_bit.bit_length() - 1
      row = rows_with[room].pop()
      if not rows_with[room]:
        rooms ^= 1 << room
    else:
      row, room = len(rows), length
      rows.append([])
    rows[row].append(int(n))
    room -= size
    rows_with.setdefault(room, []).append(row)
    rooms |= 1 << room
  return rows


class Family(NamedTuple):
  """Examples that begin alike: their beginning stands in a row once, and what follows it in each
  stands behind it, in branches that do not see each other.

  Attributes:
    members: the numbers of the examples.
    shared: how many tokens the beginning has.
  """

  members: list[int]
  shared: int


def _families(examples: Sequence[np.ndarray], length: int, shares: bool) -> list[Family]:
  """Finds neighbouring examples that differ only from their first scored token on.

  Args:
    examples: (n, 3) int32 arrays of token, target and weight.
    length: tokens of a row, which a family may not exceed.
    shares: whether examples may share their beginnings.

  Returns:
    All examples, in their order.
  """
  families: list[Family] = []
  last_beginning, room = b'', 0
  for n, example in enumerate(examples):
    is_scored = example[:, 2] != 0
    shared = int(is_scored.argmax()) if is_scored.any() else len(example)
    beginning = example[:shared].tobytes()
    own = len(example) - shared
    if shares and beginning and beginning == last_beginning and own <= room:
      families[-1].members.append(n)
      room -= own
    else:
      families.append(Family([n], shared))
      last_beginning, room = beginning, length - len(example)
  return families


def pack_examples(examples: Sequence[np.ndarray], length: int, shares: bool) -> list[list[Family]]:
  """Packs examples into rows.

  Args:
    examples: (n, 3) int32 arrays of token, target and weight.
    length: tokens of a row.
    shares: whether examples may share their beginnings.

  Returns:
    Row -> its families.
  """
  families = _families(examples, length, shares)
  sizes = []
  for family in families:
    size = family.shared
    for n in family.members:
      size += len(examples[n]) - family.shared
    sizes.append(size)
  packed = []
  for numbers in _fill_rows(sizes, length):
    packed.append([families[n] for n in numbers])
  return packed


def count_scored(examples: Sequence[np.ndarray], row: Sequence[Family]) -> int:
  """Counts the scored tokens of a row."""
  scored = 0
  for family in row:
    for n in family.members:
      scored += int(np.count_nonzero(examples[n][:, 2]))
  return scored


class Piece(NamedTuple):
  """Neighbouring tokens of an example that stand in a row.

  Attributes:
    example: its number.
    start: the first token, counted in the example.
    stop: the last one, plus one.
    begin: where the first token stands in the row.
    branch: 0 for a shared beginning, and the number of the branch from 1 on.
  """

  example: int
  start: int
  stop: int
  begin: int
  branch: int


def _pieces(examples: Sequence[np.ndarray], family: Family, begin: int) -> Iterator[Piece]:
  """Yields the pieces of a family that stands in a row from `begin` on."""
  yield Piece(family.members[0], 0, family.shared, begin, 0)
  begin += family.shared
  for branch, n in enumerate(family.members, 1):
    size = len(examples[n])
    yield Piece(n, family.shared, size, begin, branch)
    begin += size - family.shared


def row_pieces(
  examples: Sequence[np.ndarray], row: Sequence[Family]
) -> Iterator[tuple[int, Piece]]:
  """Yields (segment, piece) for all pieces of a row. Segments count from 1."""
  begin = 0
  for segment, family in enumerate(row, 1):
    for piece in _pieces(examples, family, begin):
      yield segment, piece
      begin = piece.begin + piece.stop - piece.start


def count_scored_rows(in_row: Sequence[int], length: int, rows: int, parts: int) -> int:
  """Computes how many rows the scored tokens of one device fill in the fullest batch.

  Each result means a compiled program of its own. So the result is rounded up to a quarter of the
  rows of a device, which leaves four programs at most.

  Args:
    in_row: the scored tokens of each row.
    length: tokens of a row.
    rows: rows of a batch.
    parts: the devices that share a batch.

  Returns:
    The number of rows.
  """
  of_part = rows // parts
  # Batches are whole numbers of parts, so parts may be counted through all of them.
  most = 0
  for start in range(0, len(in_row), of_part):
    most = max(most, sum(in_row[start : start + of_part]))
  quarters = max(1, -(-4 * most // (of_part * length)))
  return -(-quarters * of_part // 4)


class Batch(NamedTuple):
  """What `scoring.token_logprobs` takes beside the model, under the names that it has there."""

  tokens_BT: np.ndarray
  segment_ids_BT: np.ndarray
  positions_BT: np.ndarray
  scored_NMT: np.ndarray
  targets_NMT: np.ndarray
  branches_BT: np.ndarray | None


# The arrays of a batch that the layers of a model work on; the others are for the loss.
READ_BY_LAYERS = ('tokens_BT', 'segment_ids_BT', 'positions_BT', 'branches_BT')


def make_batch(
  examples: Sequence[np.ndarray],
  packed: Sequence[Sequence[Family]],
  length: int,
  rows: int,
  parts: int,
  scored_rows: int,
  shares: bool,
) -> Batch:
  """Makes the arrays of a batch.

  Of each part, `scored_rows` * `length` tokens get logits: the scored ones first, in their order;
  what follows them fills the arrays up.

  Args:
    examples: (n, 3) int32 arrays of token, target and weight.
    packed: the families of each row, at most `rows` rows; the other rows are padding.
    length: tokens of a row.
    rows: rows of the batch.
    parts: the devices that share it.
    scored_rows: see `count_scored_rows`.
    shares: whether examples share their beginnings.

  Returns:
    The arrays.
  """
  triples_BT3 = np.zeros((rows, length, 3), np.int32)
  segment_ids_BT = np.zeros((rows, length), np.int32)
  positions_BT = np.zeros((rows, length), np.int32)
  branches_BT = np.zeros((rows, length), np.int32)
  for b, row in enumerate(packed):
    for segment, (example, start, stop, begin, branch) in row_pieces(examples, row):
      place = slice(begin, begin + stop - start)
      triples_BT3[b, place] = examples[example][start:stop]
      segment_ids_BT[b, place] = segment
      positions_BT[b, place] = np.arange(start, stop)
      branches_BT[b, place] = branch
  tokens_BT, targets_BT, weights_BT = np.moveaxis(triples_BT3, 2, 0)
  is_unscored_NC = weights_BT.reshape(parts, -1) == 0
  scored_NS = np.argsort(is_unscored_NC, axis=1, kind='stable')[:, : scored_rows * length]
  targets_NS = np.take_along_axis(targets_BT.reshape(parts, -1), scored_NS, axis=1)
  shape = (parts, scored_rows, length)
  return Batch(
    tokens_BT,
    segment_ids_BT,
    positions_BT,
    scored_NS.astype(np.int32).reshape(shape),
    targets_NS.reshape(shape),
    branches_BT if shares else None,
  )
