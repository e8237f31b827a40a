"""Tokenizers, and the rendering of documents and chats to token ids and loss weights.

base.py              what the rest of the project knows of a tokenizer
sentencepiece.py     for models that are trained from the beginning
huggingface.py       for models that begin with weights of Hugging Face
huggingface_files.py the files of such models
chat_template.py     their chat templates
pieces.py            what templates write, as ids
"""

import hashlib
from pathlib import Path

from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages, Tokenizer, naming
from msm_jax.tokenizer.huggingface import HuggingFaceTokenizer
from msm_jax.tokenizer.sentencepiece import (
  BOS,
  END_OF_TURN,
  EOS,
  PAD,
  ROLE_MARKERS,
  UNK,
  SentencePieceTokenizer,
  train_sentencepiece,
)

__all__ = [
  'BOS',
  'END_OF_TURN',
  'EOS',
  'PAD',
  'ROLE_MARKERS',
  'UNK',
  'HuggingFaceTokenizer',
  'Messages',
  'SentencePieceTokenizer',
  'Tokenizer',
  'load_tokenizer',
  'naming',
  'train_sentencepiece',
]


def load_tokenizer(path: str | Path) -> Tokenizer:
  """Loads a tokenizer.

  Args:
    path: the file of a SentencePiece model, or a folder of Hugging Face.

  Returns:
    The tokenizer.

  Raises:
    DataError: it is not there, or damaged.
  """
  path = Path(path)
  if path.is_dir():
    return HuggingFaceTokenizer(path)
  reason = ''
  try:
    content = path.read_bytes()
    # The run that trained it has left its hash beside it.
    stamp = path.with_suffix('.sha256')
    if stamp.exists() and stamp.read_bytes() != hashlib.sha256(content).hexdigest().encode():
      reason = 'it changed after it was trained'
    # The library takes an empty file for a tokenizer without any piece.
    elif content:
      return SentencePieceTokenizer(content)
  except OSError as e:
    reason = e.strerror or ''
  except RuntimeError:
    pass
  raise DataError(
    f'the tokenizer {path} cannot be read ({reason or "it is no SentencePiece model"}); put it '
    'back, or delete it and run the experiment again: it is trained anew, as it was'
  )
