"""How long a text is, by the tokenizer of the model that will read it."""

import re
from collections.abc import Callable
from pathlib import Path

from msm_jax.base import paths
from msm_jax.base.errors import DataError

_WORD_OR_MARK = re.compile(r'\w+|[^\w\s]')


def counter(tokenizer: str) -> Callable[[str], int]:
  """text -> tokens. `tokenizer`: a folder of Hugging Face or a SentencePiece .model; '' counts words and marks. Raises DataError."""
  if not tokenizer:
    return lambda text: len(_WORD_OR_MARK.findall(text))
  path = Path(paths.find(tokenizer))
  if not path.exists():
    raise DataError(
      f"no tokenizer at {path}; give a folder of Hugging Face, a SentencePiece .model, or '' to count words and marks"
    )
  if path.is_dir():
    return _hugging_face_counter(path)
  return _sentencepiece_counter(path)


def _hugging_face_counter(folder: Path) -> Callable[[str], int]:
  file = folder / 'tokenizer.json'
  if not file.is_file():
    raise DataError(f'{folder} holds no tokenizer.json; give a folder of Hugging Face with one')
  import tokenizers  # an extra, whose absence is told in one line

  try:
    loaded = tokenizers.Tokenizer.from_file(str(file))
  except Exception as e:  # tokenizers raises Exception itself
    raise DataError(f'{file} cannot be read ({e}); give a tokenizer.json of Hugging Face') from None
  return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def _sentencepiece_counter(path: Path) -> Callable[[str], int]:
  import sentencepiece

  try:
    loaded = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
  except (OSError, RuntimeError) as e:
    raise DataError(f'{path} is no SentencePiece model ({e}); give a .model file') from None
  return lambda text: len(loaded.encode(text))
