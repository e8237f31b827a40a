"""What the rest of the project knows of a tokenizer.

A tokenizer renders documents and chats to token ids together with loss weights: 1 for a token that
the model learns to predict, 0 for a token that it only reads. Both come out of one pass, so they
cannot disagree.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.records import Chat, PreferencePair, Record
from msm_jax.base.errors import DataError, WeightsError

# A chat: (role, content) of each message; roles are system, user and assistant.
Messages = Sequence[tuple[str, str]]


def check_characters(text: str) -> None:
  """Refuses a text that holds half of a character, which no library can encode.

  Args:
    text: the text. JSON can write such halves (lone surrogates), and so can a broken terminal.

  Raises:
    DataError: it holds one.
  """
  try:
    text.encode()
  except UnicodeEncodeError as e:
    raise DataError(
      f'the text holds {text[e.start]!r}, half of a character, at place {e.start}; take it out'
    ) from None


@contextlib.contextmanager
def naming(record: Record) -> Iterator[None]:
  """Puts the id of a record in front of whatever is wrong with it, as it may be one of a million.

  Args:
    record: the record.

  Raises:
    DataError: what was raised within, with the record's id.
  """
  try:
    yield
  except DataError as error:
    raise DataError(f'record {record.id}: {error}') from None


class Tokenizer:
  """The base class of tokenizers.

  Attributes:
    fingerprint: identifies the tokenizer in checkpoints; 16 hexadecimal digits.
    vocab_size: how many ids there are.
    document_start: ids before a document.
    document_end: ids after a document.
    stop_ids: ids that end an answer.
  """

  fingerprint: str
  vocab_size: int
  document_start: list[int]
  document_end: list[int]
  stop_ids: tuple[int, ...]

  def check_fits(self, n_rows: int, where: str) -> None:
    """Checks that a model has a row in its embedding for every id.

    JAX looks up the last row for an id beyond it, so such a model would run and be wrong.

    Args:
      n_rows: how many rows the embedding has; it may have more than there are ids.
      where: the folder of the model, for the error message.

    Raises:
      WeightsError: it has fewer.
    """
    if self.vocab_size > n_rows:
      raise WeightsError(
        f'{where}: its tokenizer has ids up to {self.vocab_size - 1}, and its embedding has '
        f'{n_rows} rows; they are not of one model: resize the embedding with transformers, or '
        'take the tokenizer that belongs to the weights'
      )

  def encode(self, text: str) -> list[int]:
    """Turns a text into ids. None of them is a control symbol, whatever the text says.

    Raises:
      DataError: the text holds half of a character.
    """
    raise NotImplementedError

  def decode(self, ids: Sequence[int]) -> str:
    """Turns ids into text; control symbols are left out."""
    raise NotImplementedError

  def saved_at(self, folder: Path) -> Path:
    """Says what `load_tokenizer` reads to make the same tokenizer in another process.

    Args:
      folder: a folder in which it may be written.

    Returns:
      The path of the tokenizer.
    """
    raise NotImplementedError

  def token_id(self, name: str) -> int | None:
    """Finds a token of the vocabulary by its name, such as '<|im_end|>'; None if there is none."""
    raise NotImplementedError

  def render_chat(
    self, messages: Messages, continues: bool = False, learned_from: int = 0
  ) -> tuple[np.ndarray, np.ndarray]:
    """Renders a chat. Only what the assistant says is learned, and the end of its turns.

    Args:
      messages: the chat.
      continues: whether the last message stays open, without an end of turn, as for an option to
        score.
      learned_from: the number of the first message that is learned, if it is the assistant's.
        Answers before it are only read.

    Returns:
      ids and loss weights, (n,) int32 each.
    """
    raise NotImplementedError

  def prompt(self, messages: Messages) -> np.ndarray:
    """Renders a chat up to where the assistant's answer begins; (n,) int32 ids."""
    raise NotImplementedError

  def render_document(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Renders a document. Every token of the text is learned, and its end.

    Args:
      text: the document.

    Returns:
      ids and loss weights, (n,) int32 each.
    """
    learned = [*self.encode(text), *self.document_end]
    ids = [*self.document_start, *learned]
    weights = [0] * len(self.document_start) + [1] * len(learned)
    return np.asarray(ids, np.int32), np.asarray(weights, np.int32)

  def render(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Renders a record of any kind. The two sides of a preference come one after the other."""
    texts = self.render_texts(record)
    if len(texts) == 1:
      return texts[0]
    chosen, rejected = texts
    return np.concatenate([chosen[0], rejected[0]]), np.concatenate([chosen[1], rejected[1]])

  def render_texts(self, record: Record) -> list[tuple[np.ndarray, np.ndarray]]:
    """Renders the texts of a record: the two sides of a preference, or the one text of another.

    Args:
      record: the record.

    Returns:
      ids and loss weights of each text, (n,) int32 each.

    Raises:
      DataError: the record cannot be rendered; the error names it.
    """
    with naming(record):
      if isinstance(record, PreferencePair):
        return self.render_sides(record)
      if isinstance(record, Chat):
        return [self.render_chat(record.messages)]
      return [self.render_document(record.text)]

  def render_sides(self, record: PreferencePair) -> list[tuple[np.ndarray, np.ndarray]]:
    """Renders the two conversations of a preference, the chosen one first.

    Only the answers that are compared are learned. Those of the prompt stand in both conversations.

    Args:
      record: the preference.

    Returns:
      ids and loss weights of each conversation, (n,) int32 each.
    """
    rendered = []
    for side in (record.chosen, record.rejected):
      messages = record.prompt + side
      rendered.append(self.render_chat(messages, learned_from=len(record.prompt)))
    return rendered
