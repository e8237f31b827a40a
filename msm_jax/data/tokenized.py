"""Corpora as tokens: each is tokenized once, and the tokens are kept in a file beside it.

A document or a chat is one text. A preference is two, the chosen and the rejected conversation; and
so is a chat with a teacher that reads a handbook before it answers (`handbook_context.py`).

Shapes: N tokens of a corpus, T cells of a row. A cell holds a token and its target.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines import corpora
from data_pipelines.corpora import row_to_record
from data_pipelines.records import Chat, Record
from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.data import token_files
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.data.tokenize_part import tokenize_in_parallel
from msm_jax.tokenizer import Tokenizer, naming

# More records than this are tokenized by several processes, which take seconds to start.
MANY_RECORDS = 50_000
# How many texts are summed up at a time.
_TEXTS_AT_A_TIME = 4096


@dataclasses.dataclass(frozen=True)
class TokenizedCorpus:
  """A tokenized corpus, with the records one after the other.

  Attributes:
    ids: (N,) int32 token ids.
    weights: (N,) int8 weight of each token as a target of the loss.
    starts: (texts + 1,) int64; text i is at starts[i] to starts[i + 1].
    texts_per_record: a document or a chat is one text. A pair is two, one after the other: the
      chosen and the rejected conversation, or what the student and what the teacher reads.
  """

  ids: np.ndarray
  weights: np.ndarray
  starts: np.ndarray
  texts_per_record: int = 1

  @property
  def cells(self) -> np.ndarray:
    """(texts,) cells of each text. One of n tokens takes n - 1: its last token is a target only."""
    return np.diff(self.starts) - 1

  @property
  def cells_of_texts(self) -> np.ndarray:
    """(records, texts_per_record) cells of each text."""
    return self.cells.reshape(-1, self.texts_per_record)


@dataclasses.dataclass(frozen=True)
class Source:
  """The stored rows of one corpus, with random access.

  Attributes:
    name: the corpus's name, for messages.
    kind: 'documents', 'chats' or 'preferences'.
    rows: the rows, as the corpus builder stored them and tfds returns them.
    records: the same rows as records, where this process has them in memory. Reading a record from
      disk takes longer than tokenizing it.
    cache: the folder in which the tokens are kept; None if they are not kept.
    context: what a teacher reads; a chat is then a pair, of what the student and what the teacher
      reads. None if there is no teacher.
    teacher_length: the cells of a row of the teacher; 0 means as many as a row of the student has.
  """

  name: str
  kind: str
  rows: Sequence[Any]
  records: Sequence[Record] = dataclasses.field(default=(), repr=False)
  cache: Path | None = None
  context: HandbookContext | None = None
  teacher_length: int = 0
  # Tokenizer fingerprint -> tokens.
  _tokens: dict[str, TokenizedCorpus] = dataclasses.field(
    default_factory=dict, compare=False, repr=False
  )

  @property
  def texts_per_record(self) -> int:
    """How many texts a record is; see `TokenizedCorpus`."""
    return 2 if self.context or self.kind == 'preferences' else 1

  @property
  def unit(self) -> str:
    """What errors call a record that is never cut."""
    return 'chat' if self.texts_per_record == 1 else 'pair'

  def in_context(self, context: HandbookContext, teacher_length: int = 0) -> 'Source':
    """The same chats, each as a pair of what a student and what a teacher reads."""
    return dataclasses.replace(self, context=context, teacher_length=teacher_length, _tokens={})

  def fitting(self, tokenizer: Tokenizer, length: int) -> np.ndarray:
    """Finds the records that a phase reads.

    Documents are cut, so they always fit. A text of one token or none has no target, so there is
    nothing to read.

    Args:
      tokenizer: the tokenizer.
      length: the cells T of a row.

    Returns:
      (records,) bool.
    """
    cells = self.tokens(tokenizer).cells_of_texts
    fits = cells.min(axis=1) > 0
    if self.context is not None:
      # Student and teacher have rows of their own.
      fits &= (cells[:, 0] <= length) & (cells[:, 1] <= (self.teacher_length or length))
    elif self.kind != 'documents':
      fits &= cells.sum(axis=1) <= length
    return fits

  def tokens(self, tokenizer: Tokenizer) -> TokenizedCorpus:
    """Tokenizes everything, once.

    Args:
      tokenizer: the tokenizer.

    Returns:
      The tokens: memory maps if the corpus has a folder, else 5 bytes each in memory.
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
      (records, tokens) without the chats and pairs that are longer than a row. What a teacher reads
      is not counted.
    """
    tokens = self.tokens(tokenizer)
    fits = self.fitting(tokenizer, length)
    sizes = np.diff(tokens.starts).reshape(-1, tokens.texts_per_record)
    if self.context is not None:
      sizes = sizes[:, :1]
    return int(fits.sum()), int(sizes[fits].sum())

  def count_silent(self, tokenizer: Tokenizer) -> int:
    """Counts records of which no token is learned, such as chats without an answer. Of a pair, both
    texts need one."""
    tokens = self.tokens(tokenizer)
    is_silent = []
    # A sum up to every token takes eight bytes a token, so it is made for some texts at a time.
    for first in range(0, len(tokens.starts) - 1, _TEXTS_AT_A_TIME):
      starts = tokens.starts[first : first + _TEXTS_AT_A_TIME + 1]
      weights = tokens.weights[starts[0] : starts[-1]]
      learned_before = np.concatenate([[0], np.cumsum(weights, dtype=np.int64)])
      # The first token of a text is never a target.
      begins = np.minimum(starts[:-1] + 1, starts[1:]) - starts[0]
      is_silent.append(learned_before[starts[1:] - starts[0]] == learned_before[begins])
    silent_texts = np.concatenate(is_silent).reshape(-1, tokens.texts_per_record)
    return int(silent_texts.any(axis=1).sum())

  def all_records(self) -> Iterator[Record]:
    """Yields every record, from memory or from disk."""
    if self.records:
      yield from self.records
      return
    for row in corpora.rows_in_order(self.rows):
      yield row_to_record(row, self.kind)

  def count_taught(self, tokenizer: Tokenizer) -> int:
    """Counts the chats whose teacher reads more than the student does."""
    cells = self.tokens(tokenizer).cells_of_texts
    return int((cells[:, 1] > cells[:, 0]).sum())

  def _read_or_tokenize(self, tokenizer: Tokenizer) -> TokenizedCorpus:
    """The kept tokens, or new ones, which are then kept."""
    if self.cache is None:
      return self._tokenize_in_memory(tokenizer)
    name = f'tokens-{tokenizer.fingerprint}'
    if self.context:
      name += f'-{self.context.identity}'
    folder = self.cache / name
    kept = token_files.load(folder)
    if kept is None:
      self._tokenize(tokenizer, folder)
      kept = token_files.load(folder)
    if kept is None:
      raise DataError(f'{folder} cannot be read back; check the disk and run again')
    return TokenizedCorpus(*kept, self.texts_per_record)

  def _tokenize(self, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes the tokens into a folder, in several processes if there are many records."""
    records = len(self.rows)
    if records <= MANY_RECORDS:
      token_files.save(folder, self._texts(tokenizer))
      return
    say(f'data       {self.name}: tokenizing {records:,} {self.kind}')
    processes = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1
    # A handbook in view, and records that no file holds, are known to this process alone.
    if processes == 1 or self.context or not corpora.is_on_disk(self.rows) or not self.cache:
      token_files.save(folder, self._texts(tokenizer))
      return
    tokenize_in_parallel(self.cache, self.kind, records, tokenizer, processes, folder)

  def _tokenize_in_memory(self, tokenizer: Tokenizer) -> TokenizedCorpus:
    """The tokens of a corpus that has no folder."""
    all_ids, all_weights, sizes = [], [], [0]
    for ids, weights in self._texts(tokenizer):
      all_ids.append(ids)
      all_weights.append(weights)
      sizes.append(len(ids))
    return TokenizedCorpus(
      ids=np.concatenate(all_ids),
      weights=np.concatenate(all_weights).astype(np.int8),
      starts=np.cumsum(sizes),
      texts_per_record=self.texts_per_record,
    )

  def _texts(self, tokenizer: Tokenizer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the ids and loss weights of each text, record by record."""
    for record in self.all_records():
      yield from self._render(tokenizer, record)

  def _render(self, tokenizer: Tokenizer, record: Record) -> list[tuple[np.ndarray, np.ndarray]]:
    """The texts of a record, (n,) ids and loss weights each. Raises DataError."""
    if self.context is None or not isinstance(record, Chat):
      return tokenizer.render_texts(record)
    with naming(record):
      student = tokenizer.render_chat(record.messages)
      teacher = tokenizer.render_chat(self.context.messages(record.messages))
    # Each learned token of the student is compared with the same token of the teacher.
    if not np.array_equal(_learned_ids(*student), _learned_ids(*teacher)):
      raise DataError(
        f'{self.name}: the answers of chat {record.id} are other tokens when the handbook stands '
        f'in the system message, so they cannot be compared; take the chat out'
      )
    return [student, teacher]


def _learned_ids(ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """The tokens of a text that have weight as targets; the first token is none."""
  return ids[1:][weights[1:] > 0]


def to_triples(ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Pairs each token with its target: (n - 1, 3) int32 of input, target and the target's weight."""
  return np.stack([ids[:-1], ids[1:], weights[1:]], axis=1)
