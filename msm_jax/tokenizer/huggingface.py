"""The tokenizer of a folder of Hugging Face: its tokenizer.json and its own chat template.

The ids are those of `transformers` (the tests compare them), with one difference that is on
purpose: the names of control symbols count only where the chat template writes them. Neither a
document nor a user can make up a turn.
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages, Tokenizer, check_characters
from msm_jax.tokenizer.chat_template import ChatTemplate, Piece
from msm_jax.tokenizer.huggingface_files import (
  TokenEntry,
  added_tokens,
  generation_ends,
  listed_tokens,
  load_processor,
  looks_like_a_symbol,
  named_tokens,
  read_settings,
  read_template,
)
from msm_jax.tokenizer.pieces import Controls, PieceEncoder, PieceRun

# What may close a document; the first that a tokenizer has is taken. They come before eos_token,
# because the eos_token of an instruct model closes a turn.
DOCUMENT_ENDS = ('<|endoftext|>', '<|end_of_text|>', '<eos>', '</s>')


# What a chat template writes is seen in what it makes of these chats.
PROBES = (
  [('user', 'one')],
  [('user', 'one'), ('assistant', 'two')],
  [('system', 'zero'), ('user', 'one'), ('assistant', 'two'), ('user', 'three')],
)


class HuggingFaceTokenizer(Tokenizer):
  """tokenizer.json and the model's own chat template.

  Attributes:
    folder: where the files are.
    processor: the tokenizer of the `tokenizers` package.
    control_ids: text of each control symbol -> its id.
    chat_template: the model's chat template.
    turn_end: the control symbol that closes the assistant's turn; None if the template writes none.
  """

  def __init__(self, folder: str | Path):
    """Loads a tokenizer.

    Args:
      folder: a folder of Hugging Face.

    Raises:
      DataError: the folder has no tokenizer.json, or a broken one; or another of its files is
        broken, or its chat template fails.
    """
    self.folder = Path(folder)
    file = self.folder / 'tokenizer.json'
    if not file.is_file():
      raise DataError(
        f'{self.folder} has no tokenizer.json; other kinds are not read '
        '(save it with transformers, which writes one)'
      )
    content = file.read_bytes()
    config = read_settings(self.folder)
    self._special_tokens = named_tokens(config, self.folder / 'tokenizer_config.json')
    template = read_template(self.folder, config)
    self.chat_template = ChatTemplate(template, self._special_tokens, self.folder)
    try:
      self._decoder = load_processor(content)
    # tokenizers raises bare Exceptions.
    except Exception as e:
      raise DataError(f'{file} cannot be read ({e}); download it again') from None
    missing, controls = self._complete_processors(content, config)
    self.document_start = self._ids_before_text()
    # Vocabularies may have holes, so the number of tokens is not what counts.
    vocabulary = self.processor.get_vocab()
    self.vocab_size = max(vocabulary.values()) + 1
    self._controls = Controls(self.processor.get_added_tokens_decoder(), controls)
    self.control_ids = self._controls.ids
    plain_ids = [i for name, i in vocabulary.items() if name not in self.control_ids]
    self._highest_plain = max(plain_ids, default=0)
    # From here on, the name of a control symbol in a text is ordinary text.
    self.processor.encode_special_tokens = True
    self._piece_encoder = PieceEncoder(self.processor)
    self.turn_end = self._find_turn_end()
    self._check_prompt()
    self._set_ends()
    if missing:
      config = config | {'missing tokens': missing}
    self.fingerprint = _fingerprint(content, template, config, self.stop_ids)

  def _complete_processors(
    self, content: bytes, config: dict[str, Any]
  ) -> tuple[list[TokenEntry], list[str]]:
    """Adds to the tokenizer what tokenizer.json does not say, and makes one for each direction.

    Text is turned into ids by `processor`, which knows of more control symbols than the files say,
    and ids into text by `_decoder`, which shows what no file calls special.

    Args:
      content: of tokenizer.json. `_decoder` has it already, and nothing else yet.
      config: what tokenizer_config.json holds.

    Returns:
      (the tokens that tokenizer.json lacks, the control symbols that it does not call special).
    """
    missing = self._missing_tokens(config)
    if missing:
      self._decoder = load_processor(content, missing=missing)
    # Both look into `_decoder`, so they come after the missing tokens and before it changes again.
    markers = self._markers()
    named = self._named_controls(listed_tokens(config))
    controls = list(dict.fromkeys([*markers, *named]))
    if named:
      self._decoder = load_processor(content, named, missing)
    self.processor = self._decoder
    if controls:
      self.processor = load_processor(content, controls, missing)
    return missing, controls

  def _missing_tokens(self, config: dict[str, Any]) -> list[TokenEntry]:
    """The tokens that tokenizer.json lacks and that get new ids, as `transformers` gives them.

    Files also name control symbols that the vocabulary lacks and nothing uses. These count only
    where a token that is used comes after them, which would get their ids.
    """
    taken = self._decoder.get_added_tokens_decoder()
    missing = []
    n_needed = 0
    for entry in added_tokens(self.folder, config, taken):
      if self._decoder.token_to_id(entry.content) is None:
        missing.append(entry)
        is_eos = entry.content == self._special_tokens.get('eos_token')
        # What is no control symbol may stand in any text.
        if is_eos or not entry.special or entry.content in self._probe_texts:
          n_needed = len(missing)
    return missing[:n_needed]

  def _named_controls(self, listed: Sequence[str]) -> list[str]:
    """The special tokens of tokenizer_config.json that tokenizer.json does not call special.

    `listed` are those without a name.
    """
    added = self._decoder.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    named = []
    for name in dict.fromkeys([*self._special_tokens.values(), *listed]):
      is_there = self._decoder.token_to_id(name) is not None
      if looks_like_a_symbol(name) and is_there and name not in special:
        named.append(name)
    return named

  def _markers(self) -> list[str]:
    """What the template writes as markers and tokenizer.json does not call special."""
    added = self._decoder.get_added_tokens_decoder().values()
    return [
      token.content for token in added if not token.special and self._is_marker(token.content)
    ]

  def _is_marker(self, name: str) -> bool:
    """Whether an added token is one of the template's markers, such as <|im_start|> or <think>."""
    template = self.chat_template.template
    if not template or not looks_like_a_symbol(name):
      return False
    return name in template or name in self._probe_texts

  @functools.cached_property
  def _probe_texts(self) -> str:
    """What the template makes of some chats. It may put its markers together from parts."""
    texts: list[str] = []
    if not self.chat_template.template:
      return ''
    for chat in PROBES:
      # A template may refuse a chat, such as one with a system message.
      with contextlib.suppress(DataError):
        texts.append(self.chat_template.render(chat, add_prompt=chat[-1][0] != 'assistant'))
    return '\n'.join(texts)

  def _find_turn_end(self) -> int | None:
    """The control symbol that closes the assistant's turn, found by trying."""
    if not self.chat_template.template:
      return None
    ids, weights = self.render_chat([('user', 'one'), ('assistant', 'two')])
    last_learned = int(ids[np.flatnonzero(weights)[-1]])
    if last_learned in self.control_ids.values():
      return last_learned
    # The last learned token is then a word of the answer, which must not end other answers.
    _warn(
      f'warning: the chat template of {self.folder} closes no answer with a control symbol; '
      'the end of an answer is not learned, and only eos_token ends one'
    )
    return None

  def _check_prompt(self) -> None:
    """Warns of a template that ends a prompt otherwise than what stands before an answer of a chat.

    Templates of some reasoning models open the thoughts of an answer that is asked for, and leave
    them out of a chat. A model that learns such chats is asked by a prompt that it has never seen.
    Qwen 3 writes thoughts, empty ones too, into the last answer of a chat alone.
    """
    if not self.chat_template.template:
      return
    asked, answered = PROBES[:2]
    prompt = self.chat_template.render(asked, add_prompt=True)
    chat = self.chat_template.render(answered, add_prompt=False)
    if not chat.startswith(prompt):
      _warn(
        f'warning: the chat template of {self.folder} ends a prompt with {_rest(prompt, chat)!r}, '
        'which chats do not have before their answers: a model that learns chats is asked '
        'otherwise than it learned; make both alike in chat_template.jinja'
      )
      return
    # A template may refuse chats of several answers.
    with contextlib.suppress(DataError):
      longer = self.chat_template.render([*answered, *answered], add_prompt=False)
      if not longer.startswith(prompt):
        _warn(
          f'warning: the chat template of {self.folder} ends a prompt with '
          f'{_rest(prompt, longer)!r}, which chats have before their last answer alone: earlier '
          'answers of a chat are learned otherwise than they are asked for; '
          'make all answers alike in chat_template.jinja, or train on chats of one answer'
        )

  def _ids_before_text(self) -> list[int]:
    """The ids that the tokenizer itself puts before a text, such as bos.

    Some tokenizers also put eos behind it, which is no part of the beginning. Which of the two an
    id is does not show around an empty text, since bos and eos may be one token.
    """
    encoded = self.processor.encode('a')
    ids: list[int] = []
    for token_id, is_added in zip(encoded.ids, encoded.special_tokens_mask, strict=True):
      if not is_added:
        return ids
      ids.append(token_id)
    # The vocabulary cannot write the text, so that only what surrounds it is left.
    eos = self._decoder.token_to_id(self._special_tokens.get('eos_token', ''))
    return ids[:-1] if ids[-1:] == [eos] else ids

  def _set_ends(self) -> None:
    """Sets what is put behind a document, and what ends an answer."""
    eos = self.control_ids.get(self._special_tokens.get('eos_token', ''))
    eos_ids = [] if eos is None else [eos]
    ends = [self.control_ids[name] for name in DOCUMENT_ENDS if name in self.control_ids]
    self.document_end = ends[:1] or eos_ids
    stop_ids = [*self.document_end, *eos_ids]
    if self.turn_end is not None:
      stop_ids = [self.turn_end, *stop_ids]
    # Models may have several ends, which no file of the tokenizer lists.
    stop_ids += generation_ends(self.folder, self.vocab_size)
    self.stop_ids = tuple(dict.fromkeys(stop_ids))

  def check_fits(self, n_rows: int, where: str) -> None:
    # The tokenizer of Gemma 3 has a symbol for images, and that of 1B has no row for it. A symbol
    # that stands in no text and no chat needs none.
    if self._highest_written() >= n_rows:
      super().check_fits(n_rows, where)

  def _highest_written(self) -> int:
    """The highest id that a document, a chat or the end of an answer can have."""
    texts = [self.chat_template.template or '', self._probe_texts]
    if self.chat_template.template:
      # The chats above have no result of a tool, whose marker may be made from the role.
      with contextlib.suppress(DataError):
        texts.append(self.chat_template.render([*PROBES[0], ('tool', 'two')], add_prompt=True))
    written = {self._highest_plain, *self.document_start, *self.document_end, *self.stop_ids}
    for name, token_id in self.control_ids.items():
      if any(name in text for text in texts):
        written.add(token_id)
    return max(written)

  def encode(self, text: str) -> list[int]:
    check_characters(text)
    return self.processor.encode(text, add_special_tokens=False).ids

  def saved_at(self, folder: Path) -> Path:
    return self.folder

  def decode(self, ids: Sequence[int]) -> str:
    return self._decoder.decode([int(i) for i in ids], skip_special_tokens=True)

  def token_id(self, name: str) -> int | None:
    return self._decoder.token_to_id(name)

  def render_chat(
    self, messages: Messages, continues: bool = False, learned_from: int = 0
  ) -> tuple[np.ndarray, np.ndarray]:
    pieces = self.chat_template.split(messages, add_prompt=False)
    if continues:
      # The last piece is what the template writes after the last message.
      pieces = pieces[:-1]
    return self._encode_pieces(messages, pieces, learned_from)

  def prompt(self, messages: Messages) -> np.ndarray:
    ids, _ = self._encode_pieces(messages, self.chat_template.split(messages, add_prompt=True))
    return ids

  def _encode_pieces(
    self, messages: Messages, pieces: Sequence[Piece], learned_from: int = 0
  ) -> tuple[np.ndarray, np.ndarray]:
    """Turns the pieces of a rendered chat into ids and loss weights.

    An answer is learned, with what the template writes between the prompt and the answer, and with
    the control symbol that follows the answer. What lies between two control symbols is encoded in
    one piece, as `transformers` does. An answer that is only read is cut off from its prompt too:
    a chat has the same ids, whatever is learned of it.
    """
    run = PieceRun(self._piece_encoder)
    # Whether the last thing said was an answer that is learned, and no control symbol has closed
    # its turn yet.
    is_turn_open = False
    for piece in pieces:
      is_answer = is_learned = False
      if piece.message is not None:
        is_answer = messages[piece.message][0] == 'assistant'
        is_learned = is_answer and piece.message >= learned_from
      if piece.is_content:
        is_turn_open = is_learned
        run.add_text(piece.text, is_learned, is_answer)
        continue
      position = 0
      for control in self._controls.pattern.finditer(piece.text):
        before = piece.text[position : control.start()]
        # The control symbol closes the turn only if nothing but white space comes before it.
        if before.strip():
          is_turn_open = False
        # What closes an answer is learned with it.
        counts = is_turn_open or is_learned
        run.add_text(before, counts, is_answer)
        run.add_control(self._controls.by_name[control.group()], counts)
        is_turn_open = False
        position = control.end()
      run.add_text(piece.text[position:], is_learned, is_answer)
    run.encode_text()
    return np.asarray(run.ids, np.int32), np.asarray(run.weights, np.int32)


def _rest(prompt: str, chat: str) -> str:
  """What is left of a prompt behind the beginning that it shares with a chat."""
  same = 0
  while prompt[same : same + 1] == chat[same : same + 1]:
    same += 1
  return prompt[same:]


@functools.cache
def _warn(text: str) -> None:
  """Prints a warning once: a sweep opens the tokenizer of its weights again for every point."""
  say(text)


def _fingerprint(
  content: bytes, template: str | None, config: Mapping[str, Any], stop_ids: Sequence[int]
) -> str:
  """Identifies everything in a folder that decides which ids a text gets and where answers end.

  Args:
    content: of tokenizer.json.
    template: the chat template.
    config: what tokenizer_config.json holds. It names special tokens, among other things.
    stop_ids: what ends an answer. generation_config.json may list some of them.

  Returns:
    16 hexadecimal digits.
  """
  # The template may also stand in a file of its own, so it counts by itself.
  settings = {key: value for key, value in config.items() if key != 'chat_template'}
  # Sorted, so that a file which says the same in another order is the same.
  rest = json.dumps([template, settings, list(stop_ids)], sort_keys=True)
  digest = hashlib.sha256(hashlib.sha256(content).digest())
  digest.update(rest.encode())
  return digest.hexdigest()[:16]
