"""SentencePiece tokenizers, for models that are trained from the beginning.

The tokenizer loses nothing: decoding gives every text back as it was. Roles of a chat are control
symbols, which no text can produce, so neither a document nor a user can make up a turn.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages, Tokenizer, check_characters

# Ids of the symbols that every trained model has.
PAD, BOS, EOS, UNK = 0, 1, 2, 3

# Control symbols that begin a turn, by its role, and the one that ends it.
ROLE_MARKERS = {'system': '<|system|>', 'user': '<|user|>', 'assistant': '<|assistant|>'}
END_OF_TURN = '<|end|>'

# What SentencePiece writes for a space.
SPACE = '\u2581'


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> bytes:
  """Trains a BPE model that gives every text back as it was.

  The same texts give the same bytes.

  Args:
    texts: what to train on.
    vocab_size: how many pieces the model has, control symbols among them.

  Returns:
    The serialised model.

  Raises:
    DataError: the texts do not suffice for so many pieces, or there are too few pieces for their
      characters.
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts),
      model_writer=model,
      vocab_size=vocab_size,
      model_type='bpe',
      # These settings keep white space, digits and characters that the texts lack.
      byte_fallback=True,
      normalization_rule_name='identity',
      remove_extra_whitespaces=False,
      add_dummy_prefix=False,
      split_digits=True,
      allow_whitespace_only_pieces=True,
      character_coverage=1.0,
      pad_id=PAD,
      bos_id=BOS,
      eos_id=EOS,
      unk_id=UNK,
      control_symbols=[*ROLE_MARKERS.values(), END_OF_TURN],
      # With several threads the result could depend on their timing.
      num_threads=1,
      minloglevel=2,
      # SentencePiece leaves out longer lines without a warning.
      max_sentence_length=2**24,
    )
  except RuntimeError as e:
    reason = str(e).splitlines()[-1]
    if 'sentences_.empty()' in reason:
      raise DataError(
        'there is no text to train a tokenizer on; name sources with text in '
        'config.tokenizer.sources'
      ) from None
    raise DataError(
      f'cannot train a tokenizer of {vocab_size} pieces on this text ({reason}); '
      'change config.tokenizer.vocab_size'
    ) from None
  return model.getvalue()


class SentencePieceTokenizer(Tokenizer):
  """A trained SentencePiece model.

  Attributes:
    processor: the model.
    markers: role -> the id that begins its turns.
    end_of_turn: the id that ends a turn.
  """

  def __init__(self, model: bytes):
    """Loads a model.

    Args:
      model: what `train_sentencepiece` gave.
    """
    self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self._model = model
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]
    self.vocab_size = self.processor.vocab_size()
    self.end_of_turn = self.processor.piece_to_id(END_OF_TURN)
    self.document_start = [BOS]
    self.document_end = [EOS]
    self.stop_ids = (self.end_of_turn, EOS)
    self.markers = {}
    for role, marker in ROLE_MARKERS.items():
      self.markers[role] = self.processor.piece_to_id(marker)
    self._space_ids = [self.processor.piece_to_id(f'<0x{b:02X}>') for b in SPACE.encode()]

  def encode(self, text: str) -> list[int]:
    """See the base class.

    Args:
      text: the text.

    Returns:
      Its ids.

    Raises:
      DataError: the text holds half of a character.
    """
    check_characters(text)
    # A text that has SentencePiece's own sign for a space would lose it, so the sign goes through
    # as its bytes.
    parts = text.split(SPACE)
    ids = self.processor.encode(parts[0])
    for part in parts[1:]:
      ids += [*self._space_ids, *self.processor.encode(part)]
    return ids

  def saved_at(self, folder: Path) -> Path:
    path = folder / 'tokenizer.model'
    path.write_bytes(self._model)
    return path

  def decode(self, ids: Sequence[int]) -> str:
    return self.processor.decode([int(i) for i in ids])

  def token_id(self, name: str) -> int | None:
    found = self.processor.piece_to_id(name)
    return None if found == UNK else found

  def render_chat(
    self, messages: Messages, continues: bool = False, learned_from: int = 0
  ) -> tuple[np.ndarray, np.ndarray]:
    """See the base class.

    Args:
      messages: the chat.
      continues: whether the last message stays open.
      learned_from: the number of the first message that may be learned.

    Returns:
      ids and loss weights, (n,) int32 each.
    """
    ids = [BOS]
    weights = [0]
    for n, (role, content) in enumerate(messages):
      turn = self.encode(content)
      is_last = n == len(messages) - 1
      if not (is_last and continues):
        turn.append(self.end_of_turn)
      is_learned = int(role == 'assistant' and n >= learned_from)
      ids += [self.markers[role], *turn]
      weights += [0, *[is_learned] * len(turn)]
    return np.asarray(ids, np.int32), np.asarray(weights, np.int32)

  def prompt(self, messages: Messages) -> np.ndarray:
    ids, _ = self.render_chat([*messages, ('assistant', '')], continues=True)
    return ids
