"""The tokenizer of a folder of Hugging Face: its tokenizer.json and its own chat template.

The ids are those of `transformers` (the tests compare them), with one difference that is on
purpose: the names of control symbols count only where the chat template writes them. Neither a
document nor a user can make up a turn.
"""

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages, Tokenizer
from msm_jax.tokenizer.chat_template import ChatTemplate, Piece

# What may close a document; the first that a tokenizer has is taken. They come before eos_token,
# because the eos_token of an instruct model closes a turn.
DOCUMENT_ENDS = ('<|endoftext|>', '<|end_of_text|>', '<eos>', '</s>')

# Special tokens that chat templates refer to by these names.
SPECIAL_TOKENS = ('bos_token', 'eos_token', 'unk_token', 'pad_token')


class HuggingFaceTokenizer(Tokenizer):
  """tokenizer.json and the model's own chat template.

  Attributes:
    folder: where the files are.
    processor: the tokenizer of the `tokenizers` package.
    control_ids: text of each control symbol -> its id.
    chat_template: the model's chat template.
  """

  def __init__(self, folder: str | Path):
    """Loads a tokenizer.

    Args:
      folder: a folder of Hugging Face.

    Raises:
      DataError: the folder has no tokenizer.json, or a broken one.
    """
    self.folder = Path(folder)
    file = self.folder / 'tokenizer.json'
    if not file.is_file():
      raise DataError(
        f'{self.folder} has no tokenizer.json; other kinds are not read '
        '(save it with transformers, which writes one)'
      )
    content = file.read_bytes()
    self._config = _read_tokenizer_config(self.folder)
    special_tokens = {name: self._special_token(name) for name in SPECIAL_TOKENS}
    template = _read_template(self.folder, self._config)
    self.chat_template = ChatTemplate(template, special_tokens, self.folder)
    self.fingerprint = hashlib.sha256(content + (template or '').encode()).hexdigest()[:16]
    try:
      self.processor = _load_processor(content)
    # tokenizers raises bare Exceptions.
    except Exception as e:
      raise DataError(f'{file} cannot be read ({e}); download it again') from None
    # The ids that the tokenizer itself puts around an empty text, such as bos.
    around_text = self.processor.encode('').ids
    # From here on, the name of a control symbol in a text is ordinary text.
    self.processor.encode_special_tokens = True
    self._continuation = self._without_space_first(content)
    self.vocab_size = self.processor.get_vocab_size()
    self.control_ids: dict[str, int] = {}
    for token_id, token in self.processor.get_added_tokens_decoder().items():
      if token.special:
        self.control_ids[token.content] = token_id
    # Longer names come first, because one name may begin with another. '(?!)' matches nowhere.
    names = sorted(self.control_ids, key=len, reverse=True)
    self._controls = re.compile('|'.join(re.escape(name) for name in names) or '(?!)')
    self._set_edges(around_text)

  def _set_edges(self, around_text: list[int]) -> None:
    """Sets what is put around a document, and what ends an answer."""
    eos = self.control_ids.get(self._special_token('eos_token'))
    eos_ids = [] if eos is None else [eos]
    ends = [self.control_ids[name] for name in DOCUMENT_ENDS if name in self.control_ids]
    self.document_end = ends[:1] or eos_ids
    self.document_start = around_text
    # Some tokenizers close every text with eos themselves, which is no part of its beginning.
    if eos is not None and around_text[-1:] == [eos]:
      self.document_start = around_text[:-1]
    stop_ids = [*self.document_end, *eos_ids]
    if self.chat_template.template:
      stop_ids = [self.turn_end, *stop_ids]
    self.stop_ids = tuple(dict.fromkeys(stop_ids))

  def _without_space_first(self, content: bytes) -> Any:
    """The tokenizer for text that follows a control symbol.

    Some tokenizers of SentencePiece put a space before the first word of a text, and only there.
    """
    import tokenizers

    pre_tokenizer = self.processor.pre_tokenizer
    if getattr(pre_tokenizer, 'prepend_scheme', '') != 'first':
      return self.processor
    continuation = _load_processor(content)
    continuation.encode_special_tokens = True
    continuation.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(
      pre_tokenizer.replacement, 'never', pre_tokenizer.split
    )
    return continuation

  def _special_token(self, name: str) -> str:
    """The text of a special token, '' if there is none. Older files have an object in the place of
    the text.
    """
    value = self._config.get(name) or ''
    if isinstance(value, dict):
      return value['content']
    return value

  def encode(self, text: str) -> list[int]:
    return self.processor.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Sequence[int]) -> str:
    return self.processor.decode([int(i) for i in ids], skip_special_tokens=True)

  @functools.cached_property
  def turn_end(self) -> int:
    """The control symbol that closes the assistant's turn."""
    ids, weights = self.render_chat([('user', 'one'), ('assistant', 'two')])
    last_learned = np.flatnonzero(weights)[-1]
    return int(ids[last_learned])

  def render_chat(
    self, messages: Messages, continues: bool = False
  ) -> tuple[np.ndarray, np.ndarray]:
    pieces = self.chat_template.split(messages, add_prompt=False)
    if continues:
      # The last piece is what the template writes after the last message.
      pieces = pieces[:-1]
    return self._encode_pieces(messages, pieces)

  def prompt(self, messages: Messages) -> np.ndarray:
    ids, _ = self._encode_pieces(messages, self.chat_template.split(messages, add_prompt=True))
    return ids

  def _encode_pieces(
    self, messages: Messages, pieces: Sequence[Piece]
  ) -> tuple[np.ndarray, np.ndarray]:
    """Turns the pieces of a rendered chat into ids and loss weights.

    An answer is learned, with what the template writes between the prompt and the answer, and with
    the control symbol that follows the answer. What lies between two control symbols is encoded in
    one piece, as `transformers` does.
    """
    run = _Run(self.processor, self._continuation)
    # Whether the last thing said was the assistant's, and no control symbol has closed its turn
    # yet.
    is_turn_open = False
    for piece in pieces:
      is_answer = piece.message is not None and messages[piece.message][0] == 'assistant'
      if piece.is_content:
        is_turn_open = is_answer
        run.add_text(piece.text, is_answer)
        continue
      position = 0
      for control in self._controls.finditer(piece.text):
        before = piece.text[position : control.start()]
        # The control symbol closes the turn only if nothing but white space comes before it.
        if before.strip():
          is_turn_open = False
        is_learned = is_turn_open or is_answer
        run.add_text(before, is_learned)
        run.add_control(self.control_ids[control.group()], is_learned)
        is_turn_open = False
        position = control.end()
      run.add_text(piece.text[position:], is_answer)
    run.encode_text()
    return np.asarray(run.ids, np.int32), np.asarray(run.weights, np.int32)


def _read_tokenizer_config(folder: Path) -> dict[str, Any]:
  """The content of tokenizer_config.json; empty if it is missing or broken, since tokenizer.json
  holds what matters.
  """
  try:
    return json.loads((folder / 'tokenizer_config.json').read_text())
  except (OSError, ValueError):
    return {}


def _read_template(folder: Path, config: dict[str, Any]) -> str | None:
  """The chat template: in a file of its own, or in older folders in tokenizer_config.json."""
  file = folder / 'chat_template.jinja'
  if file.is_file():
    return file.read_text()
  template = config.get('chat_template')
  if isinstance(template, list):
    # Several templates for different purposes, each with a name.
    by_name = {entry['name']: entry['template'] for entry in template}
    return by_name.get('default')
  return template


def _load_processor(content: bytes) -> Any:
  """A tokenizers.Tokenizer from the content of tokenizer.json, that neither cuts nor fills up."""
  # tokenizers belongs to the optional extra `hf`.
  import tokenizers

  processor = tokenizers.Tokenizer.from_buffer(content)
  processor.no_truncation()
  processor.no_padding()
  return processor


class _Run:
  """Collects ids and loss weights; text is gathered until the next control symbol and then encoded
  together.
  """

  def __init__(self, processor: Any, continuation: Any):
    """`processor` encodes the beginning of a text, `continuation` what follows something else."""
    self._processor = processor
    self._continuation = continuation
    self._text = ''
    # Whether each character of the text is learned.
    self._learned: list[int] = []
    self.ids: list[int] = []
    self.weights: list[int] = []

  def add_text(self, text: str, is_learned: bool) -> None:
    self._text += text
    self._learned += [int(is_learned)] * len(text)

  def add_control(self, token_id: int, is_learned: bool) -> None:
    self.encode_text()
    self.ids.append(token_id)
    self.weights.append(int(is_learned))

  def encode_text(self) -> None:
    """Encodes the gathered text, cut where an answer begins: no prompt may end in the middle of a
    token.
    """
    learned = self._learned
    cuts = [k for k in range(1, len(learned)) if learned[k] > learned[k - 1]]
    starts = [0, *cuts]
    ends = [*cuts, len(self._text)]
    for start, end in zip(starts, ends, strict=True):
      processor = self._continuation if self.ids else self._processor
      encoded = processor.encode(self._text[start:end], add_special_tokens=False)
      self.ids += encoded.ids
      # A token is learned if its first character is. Tokens of no character may lie behind the end
      # of the text.
      for first, _ in encoded.offsets:
        self.weights.append(learned[min(start + first, len(self._text) - 1)])
    self._text = ''
    self._learned = []
