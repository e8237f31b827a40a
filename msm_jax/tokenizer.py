"""SentencePiece, losslessly, and the rendering of documents and chats to ids and loss weights together."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from data_pipelines.records import Chat, DataError, Record

PAD, BOS, EOS, UNK = 0, 1, 2, 3
ROLE_MARKERS = {'system': '<|system|>', 'user': '<|user|>', 'assistant': '<|assistant|>'}
END_OF_TURN = '<|end|>'
SPACE = '\u2581'  # what SentencePiece writes for a space; in a text of its own it goes through as bytes


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> bytes:
  """Trains a BPE model that gives every text back as it was; the same texts give the same bytes.

  Whitespace, digits and unknown characters survive (identity normalisation, byte fallback, no dummy prefix). Chat markers are control
  symbols: no text can produce them, so neither a document nor a user can inject a turn.
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts), model_writer=model, vocab_size=vocab_size, model_type='bpe', byte_fallback=True,
      normalization_rule_name='identity', remove_extra_whitespaces=False, add_dummy_prefix=False, split_digits=True,
      allow_whitespace_only_pieces=True, character_coverage=1.0, pad_id=PAD, bos_id=BOS, eos_id=EOS, unk_id=UNK,
      control_symbols=[*ROLE_MARKERS.values(), END_OF_TURN], num_threads=1, minloglevel=2,
      max_sentence_length=2**24,  # longer lines would be left out without a word
    )  # fmt: skip
  except RuntimeError as e:
    raise DataError(
      f'cannot train a tokenizer of {vocab_size} pieces on this text ({str(e).splitlines()[-1]}); change config.tokenizer.vocab_size'
    ) from None
  return model.getvalue()


class Tokenizer:
  """A trained SentencePiece model; `fingerprint` identifies it in checkpoints."""

  def __init__(self, model: bytes):
    self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]
    self.vocab_size = self.processor.vocab_size()
    self.end_of_turn = self.processor.piece_to_id(END_OF_TURN)
    self.space = [self.processor.piece_to_id(f'<0x{b:02X}>') for b in SPACE.encode()]
    self.markers = {role: self.processor.piece_to_id(m) for role, m in ROLE_MARKERS.items()}

  @classmethod
  def load(cls, path: str | Path) -> 'Tokenizer':
    return cls(Path(path).read_bytes())

  def encode(self, text: str) -> list[int]:
    first, *rest = text.split(SPACE)
    ids = self.processor.encode(first)
    for part in rest:
      ids += [*self.space, *self.processor.encode(part)]
    return ids

  def decode(self, ids: Sequence[int]) -> str:
    return self.processor.decode([int(i) for i in ids])

  def render_document(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    """(ids, weights): every token of the text and its end is learned."""
    ids = [BOS, *self.encode(text), EOS]
    return np.asarray(ids, np.int32), np.asarray([0] + [1] * (len(ids) - 1), np.int32)

  def render_chat(self, messages: Sequence[tuple[str, str]], continues: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(ids, weights): only what the assistant says, and its end of turn, is learned.

    With `continues` the last message stays open: no end of turn after it (a prompt, or an option to score).
    """
    ids, weights = [BOS], [0]
    for n, (role, content) in enumerate(messages):
      said = self.encode(content)
      closed = [self.end_of_turn] if n < len(messages) - 1 or not continues else []
      learned = int(role == 'assistant')
      ids += [self.markers[role], *said, *closed]
      weights += [0, *[learned] * (len(said) + len(closed))]
    return np.asarray(ids, np.int32), np.asarray(weights, np.int32)

  def render(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
    return self.render_chat(record.messages) if isinstance(record, Chat) else self.render_document(record.text)
