"""Counts the tokens of a text with the tokenizer of the model that will be trained on it."""

import re
from collections.abc import Callable
from pathlib import Path

from data_pipelines.text.languages import COMBINING_MARKS
from msm_jax.base import paths
from msm_jax.base.errors import DataError

# Accents and vowel signs belong to their word.
_WORD_OR_MARK = re.compile(rf'\w+(?:[{COMBINING_MARKS}]\w*)*|[^\w\s]')


def counter(tokenizer: str) -> Callable[[str], int]:
  """Makes a function that counts tokens.

  Args:
    tokenizer: a Hugging Face folder or a SentencePiece .model file; '' counts words and
      punctuation marks.

  Returns:
    A function from a text to its number of tokens, without those that mark beginning and end.

  Raises:
    DataError: there is no such tokenizer, or it cannot be read.
  """
  if not tokenizer:
    return lambda text: len(_WORD_OR_MARK.findall(text))
  path = Path(paths.find(tokenizer))
  if not path.exists():
    raise DataError(
      f'no tokenizer at {path}; give a folder of Hugging Face, a SentencePiece .model, '
      "or '' to count words and marks"
    )
  if path.is_dir():
    return _hugging_face_counter(path)
  return _sentencepiece_counter(path)


def _hugging_face_counter(folder: Path) -> Callable[[str], int]:
  file = folder / 'tokenizer.json'
  if not file.is_file():
    raise DataError(f'{folder} holds no tokenizer.json; give a folder of Hugging Face with one')
  # Imported here: the package is optional, and a command says in one line how to install it.
  import tokenizers

  try:
    loaded = tokenizers.Tokenizer.from_file(str(file))
  except Exception as e:
    # The package raises Exception itself for a file that it cannot read.
    raise DataError(f'{file} cannot be read ({e}); give a tokenizer.json of Hugging Face') from None
  # A file may say that texts are cut or filled up to a length, which training does not do. Then
  # every long text would count as much as any other.
  loaded.no_truncation()
  loaded.no_padding()
  return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def _sentencepiece_counter(path: Path) -> Callable[[str], int]:
  # Imported here, so that counting words does not wait for the library to load.
  import sentencepiece

  try:
    loaded = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    # An empty file is refused here, and not by the constructor.
    loaded.encode('')
  except (OSError, RuntimeError) as e:
    raise DataError(f'{path} is no SentencePiece model ({e}); give a .model file') from None
  return lambda text: len(loaded.encode(text))
