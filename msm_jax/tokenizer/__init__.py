"""Tokenizers, and the rendering of documents and chats to token ids and loss weights.

base.py              what the rest of the project knows of a tokenizer
sentencepiece.py     for models that are trained from the beginning
huggingface.py       for models that begin with weights of Hugging Face
huggingface_files.py the files of such models
chat_template.py     their chat templates
pieces.py            what templates write, as ids
"""

from pathlib import Path

from msm_jax.tokenizer.base import Messages, Tokenizer
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
  'train_sentencepiece',
]


def load_tokenizer(path: str | Path) -> Tokenizer:
  """Loads a SentencePiece model from a file, or the tokenizer of a folder of Hugging Face."""
  path = Path(path)
  if path.is_dir():
    return HuggingFaceTokenizer(path)
  return SentencePieceTokenizer(path.read_bytes())
