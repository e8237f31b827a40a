"""How long a text is, by the tokenizer of the model that will read it."""

import re
from collections.abc import Callable
from pathlib import Path

from data_pipelines.records import DataError
from msm_jax import resources

_WORD_OR_MARK = re.compile(r'\w+|[^\w\s]')


def counter(tokenizer: str) -> Callable[[str], int]:
  """text -> tokens. `tokenizer`: a folder of Hugging Face or a SentencePiece .model; '' counts words and marks. Raises DataError."""
  if not tokenizer:
    return lambda text: len(_WORD_OR_MARK.findall(text))
  path = Path(resources.find(tokenizer))
  if not path.exists():
    raise DataError(f"no tokenizer at {path}; give a folder of Hugging Face, a SentencePiece .model, or '' to count words and marks")
  from msm_jax.tokenizer import Tokenizer

  loaded = Tokenizer.load(path)
  return lambda text: len(loaded.encode(text))
