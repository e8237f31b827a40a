"""The tokenizer of a folder of Hugging Face: its tokenizer.json and its own chat template.

The ids are those of `transformers` (the tests compare them), with one difference that is on
purpose: the names of control symbols count only where the chat template writes them. Neither a
document nor a user can make up a turn.
"""

import contextlib
import functools
import hashlib
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from msm_jax.base.console import say
from msm_jax.base.errors import DataError
from msm_jax.tokenizer.base import Messages, Tokenizer, check_characters
from msm_jax.tokenizer.chat_template import ChatTemplate, Piece

# What may close a document; the first that a tokenizer has is taken. They come before eos_token,
# because the eos_token of an instruct model closes a turn.
DOCUMENT_ENDS = ('<|endoftext|>', '<|end_of_text|>', '<eos>', '</s>')

# Special tokens that have a name. Chat templates refer to them by it.
SPECIAL_TOKENS = (
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
)

# Lists of special tokens that have no name of their own.
SPECIAL_LISTS = ('additional_special_tokens', 'extra_special_tokens')

# What a chat template writes is seen in what it makes of these chats.
PROBES = (
  [('user', 'one')],
  [('user', 'one'), ('assistant', 'two')],
  [('system', 'zero'), ('user', 'one'), ('assistant', 'two'), ('user', 'three')],
)

# The white space that `rstrip` and `lstrip` of a token take away: what Unicode calls so.
WHITE_SPACE = '\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000' + ''.join(
  chr(code) for code in range(0x2000, 0x200B)
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
    config_file = self.folder / 'tokenizer_config.json'
    config = _read_json(config_file)
    self._special_tokens = _named_tokens(config, config_file)
    template = _read_template(self.folder, config)
    self.chat_template = ChatTemplate(template, self._special_tokens, self.folder)
    try:
      self._decoder = _load_processor(content)
    # tokenizers raises bare Exceptions.
    except Exception as e:
      raise DataError(f'{file} cannot be read ({e}); download it again') from None
    # Text is turned into ids by a tokenizer that knows of more control symbols than tokenizer.json
    # says, and ids into text by the one as it is, which shows what the file does not call special.
    self.processor = self._decoder
    controls = self._more_controls(_listed_tokens(config))
    if controls:
      self.processor = _load_processor(content, controls)
    # The ids that the tokenizer itself puts around an empty text, such as bos.
    around_text = self.processor.encode('').ids
    # Vocabularies may have holes, so the number of tokens is not what counts.
    self.vocab_size = max(self.processor.get_vocab().values()) + 1
    self._controls = _Controls(self.processor.get_added_tokens_decoder(), controls)
    self.control_ids = self._controls.ids
    # From here on, the name of a control symbol in a text is ordinary text.
    self.processor.encode_special_tokens = True
    self._piece_encoder = _PieceEncoder(self.processor)
    self.turn_end = self._find_turn_end()
    self._set_edges(around_text)
    self.fingerprint = _fingerprint(content, template, config, self.stop_ids)

  def _more_controls(self, listed: Sequence[str]) -> list[str]:
    """The control symbols that tokenizer.json does not call special.

    These are the special tokens of tokenizer_config.json (`listed` are those without a name), and
    what the template writes as markers.
    """
    added = self._decoder.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    more = [
      token.content for token in added if not token.special and self._is_marker(token.content)
    ]
    for name in (*self._special_tokens.values(), *listed):
      # Files also name tokens that the vocabulary lacks and nothing uses. Those that something uses
      # get new ids, as `transformers` gives them.
      is_used = name in self._probe_texts or name == self._special_tokens.get('eos_token')
      is_there = self._decoder.token_to_id(name) is not None
      if _looks_like_a_symbol(name) and (is_used or is_there):
        more.append(name)
    return [name for name in dict.fromkeys(more) if name not in special]

  def _is_marker(self, name: str) -> bool:
    """Whether an added token is one of the template's markers, such as <|im_start|> or <think>."""
    template = self.chat_template.template
    if not template or not _looks_like_a_symbol(name):
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
    say(
      f'warning: the chat template of {self.folder} closes no answer with a control symbol; '
      'the end of an answer is not learned, and only eos_token ends one'
    )
    return None

  def _set_edges(self, around_text: list[int]) -> None:
    """Sets what is put around a document, and what ends an answer."""
    eos = self.control_ids.get(self._special_tokens.get('eos_token', ''))
    eos_ids = [] if eos is None else [eos]
    ends = [self.control_ids[name] for name in DOCUMENT_ENDS if name in self.control_ids]
    self.document_end = ends[:1] or eos_ids
    self.document_start = around_text
    # Some tokenizers close every text with eos themselves, which is no part of its beginning.
    if eos is not None and around_text[-1:] == [eos]:
      self.document_start = around_text[:-1]
    stop_ids = [*self.document_end, *eos_ids]
    if self.turn_end is not None:
      stop_ids = [self.turn_end, *stop_ids]
    # Models may have several ends, and only this file lists them all.
    stop_ids += _generation_ends(self.folder)
    self.stop_ids = tuple(dict.fromkeys(stop_ids))

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
    one piece, as `transformers` does.
    """
    run = _Run(self._piece_encoder)
    # Whether the last thing said was the assistant's, and no control symbol has closed its turn
    # yet.
    is_turn_open = False
    for piece in pieces:
      is_answer = False
      if piece.message is not None and piece.message >= learned_from:
        is_answer = messages[piece.message][0] == 'assistant'
      if piece.is_content:
        is_turn_open = is_answer
        run.add_text(piece.text, is_answer)
        continue
      position = 0
      for control in self._controls.pattern.finditer(piece.text):
        before = piece.text[position : control.start()]
        # The control symbol closes the turn only if nothing but white space comes before it.
        if before.strip():
          is_turn_open = False
        is_learned = is_turn_open or is_answer
        run.add_text(before, is_learned)
        run.add_control(self._controls.by_name[control.group()], is_learned)
        is_turn_open = False
        position = control.end()
      run.add_text(piece.text[position:], is_answer)
    run.encode_text()
    return np.asarray(run.ids, np.int32), np.asarray(run.weights, np.int32)


def _read_json(path: Path) -> dict[str, Any]:
  """The content of a file that may be missing; empty if it is.

  Raises:
    DataError: the file holds no JSON object.
  """
  try:
    raw = json.loads(path.read_text(encoding='utf-8'))
  except OSError:
    return {}
  # RecursionError comes from JSON that is nested too deeply.
  except (ValueError, RecursionError) as e:
    raise DataError(f'{path} is not JSON ({e}); download it again') from None
  if not isinstance(raw, dict):
    raise DataError(f'{path} holds no JSON object; download it again')
  return raw


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


def _looks_like_a_symbol(name: str) -> bool:
  """Whether a token can be a control symbol: letters or digits between other characters.

  Words, punctuation and runs of white space are none, even where a template has them. Some files
  name '!' as their pad_token, which must stay a character that people can write.
  """
  is_enclosed = not (name[0].isalnum() or name[-1].isalnum())
  return is_enclosed and any(c.isalnum() for c in name)


def _text_of(token: Any) -> str | None:
  """The text of a token in tokenizer_config.json: a text, or an object that holds it."""
  if isinstance(token, dict):
    token = token.get('content')
  if not isinstance(token, str) or not token:
    return None
  try:
    token.encode()
  except UnicodeEncodeError:
    # JSON may escape half of a surrogate pair, which no token can be.
    return None
  return token


def _named_tokens(config: dict[str, Any], file: Path) -> dict[str, str]:
  """The special tokens that have a name, those that there are: bos_token -> its text."""
  tokens = {}
  for name in SPECIAL_TOKENS:
    value = config.get(name)
    text = _text_of(value)
    if text is not None:
      tokens[name] = text
    elif value not in (None, '', False):
      raise DataError(f'{file}: {name}={repr(value)[:60]} is no text; mend it')
  return tokens


def _listed_tokens(config: dict[str, Any]) -> list[str]:
  """The special tokens that tokenizer_config.json lists beside those that have a name."""
  entries: list[Any] = []
  for key in SPECIAL_LISTS:
    listed = config.get(key) or []
    if isinstance(listed, dict):
      listed = list(listed.values())
    if isinstance(listed, list):
      entries += listed
  by_id = config.get('added_tokens_decoder')
  if isinstance(by_id, dict):
    for entry in by_id.values():
      if isinstance(entry, dict) and entry.get('special'):
        entries.append(entry)
  texts = [_text_of(entry) for entry in entries]
  return [text for text in texts if text is not None]


def _generation_ends(folder: Path) -> list[int]:
  """The ids that end an answer by generation_config.json, which `transformers` obeys."""
  path = folder / 'generation_config.json'
  ends = _read_json(path).get('eos_token_id')
  if ends is None:
    return []
  if not isinstance(ends, list):
    ends = [ends]
  for token_id in ends:
    if type(token_id) is not int or token_id < 0:
      raise DataError(f'{path}: eos_token_id={str(token_id)[:60]} is no token id; mend it')
  return ends


def _read_template(folder: Path, config: dict[str, Any]) -> str | None:
  """The chat template: in a file of its own, or in older folders in tokenizer_config.json."""
  file = folder / 'chat_template.jinja'
  if file.is_file():
    try:
      return file.read_text(encoding='utf-8')
    except ValueError as e:
      raise DataError(f'{file} is not UTF-8 ({e}); download it again') from None
  template = config.get('chat_template')
  if isinstance(template, list):
    # Several templates for different purposes, each with a name.
    by_name = {}
    for entry in template:
      if isinstance(entry, dict):
        by_name[str(entry.get('name'))] = entry.get('template')
    template = by_name.get('default')
    if template is None:
      raise DataError(
        f'{folder / "tokenizer_config.json"}: none of its chat templates is called default; '
        'write the one that you want into chat_template.jinja'
      )
  if template is not None and not isinstance(template, str):
    raise DataError(
      f'{folder / "tokenizer_config.json"}: chat_template is no text; '
      'write the template into chat_template.jinja'
    )
  return template


def _load_processor(content: bytes, special: Sequence[str] = ()) -> Any:
  """Loads a tokenizer that neither cuts nor fills up.

  Args:
    content: of tokenizer.json.
    special: texts of tokens that are special, whatever the file says of them.

  Returns:
    A tokenizers.Tokenizer.
  """
  # tokenizers belongs to the optional extra `hf`.
  import tokenizers

  if special:
    raw = json.loads(content)
    for token in raw.get('added_tokens') or ():
      token['special'] = token['special'] or token['content'] in special
    content = json.dumps(raw).encode()
  processor = tokenizers.Tokenizer.from_buffer(content)
  # Those that the file has as added tokens stay as they are.
  processor.add_special_tokens(
    [tokenizers.AddedToken(text, normalized=False, special=True) for text in special]
  )
  processor.no_truncation()
  processor.no_padding()
  return processor


class _Control(NamedTuple):
  """A control symbol.

  Attributes:
    id: its id.
    strips_left: whether white space before it goes away.
    strips_right: whether white space after it goes away.
  """

  id: int
  strips_left: bool
  strips_right: bool


class _Controls:
  """The control symbols of a tokenizer.

  Attributes:
    by_name: text of each -> the symbol.
    ids: text of each -> its id.
    pattern: finds them in what a template writes.
  """

  def __init__(self, added: Mapping[int, Any], special: Collection[str]):
    """Takes those of the added tokens (by id) that are special, or are named in `special`."""
    self.by_name: dict[str, _Control] = {}
    for token_id, token in added.items():
      if token.special or token.content in special:
        self.by_name[token.content] = _Control(token_id, token.lstrip, token.rstrip)
    self.ids = {name: control.id for name, control in self.by_name.items()}
    # Longer names come first, because one name may begin with another. '(?!)' matches nowhere.
    names = sorted(self.by_name, key=len, reverse=True)
    self.pattern = re.compile('|'.join(re.escape(name) for name in names) or '(?!)')


class _PieceEncoder:
  """Encodes parts of a text as if the tokenizer had seen the whole.

  Tokenizers do something at the start of a text, such as to put a space before its first word. They
  may do it after a control symbol, too, or not. Which of these a tokenizer does is not told from
  its settings, which have many forms, but tried: by encoding the text behind something else, and
  taking off the ids of that.
  """

  # What may stand before a text to try it: no two of them are likely to be one token with the
  # beginning of the same text.
  ANCHORS = ('\n', '.', 'x', '0', '|', ' a', '\u4e2d')

  def __init__(self, processor: Any):
    """Adds a token to the tokenizer, a tokenizers.Tokenizer, that no text has."""
    # tokenizers belongs to the optional extra `hf`.
    import tokenizers

    self._processor = processor
    # No text can hold it, because it is drawn anew each time. It is no special token, so that it is
    # found in a text although special tokens are not.
    self._symbol = f'<{secrets.token_hex(16)}>'
    self._processor.add_tokens([tokenizers.AddedToken(self._symbol, normalized=False)])
    self._is_plain_at_start = all(self._is_same_after(anchor) for anchor in self.ANCHORS[:3])

  def _encode(self, text: str) -> tuple[list[int], list[int]]:
    """The ids of a text, and where each of their tokens begins in it."""
    check_characters(text)
    encoded = self._processor.encode(text, add_special_tokens=False)
    return encoded.ids, [first for first, _ in encoded.offsets]

  def _is_same_after(self, anchor: str) -> bool:
    """Whether some texts have the same ids at the start as behind an anchor."""
    for text in ('(', ')I', '\u00e9'):
      together = self._behind(anchor, text)
      if together is not None and together[0] != self._encode(text)[0]:
        return False
    return True

  def _behind(self, before: str, text: str) -> tuple[list[int], list[int]] | None:
    """Encodes a text that stands behind another.

    Returns:
      The ids of the text alone, and where they begin in it; None if a token lies across the two.
    """
    first_ids, _ = self._encode(before)
    ids, starts = self._encode(before + text)
    n = len(first_ids)
    if ids[:n] != first_ids:
      return None
    return ids[n:], [max(0, start - len(before)) for start in starts[n:]]

  def encode(self, text: str, is_first: bool) -> tuple[list[int], list[int]]:
    """Encodes a text at the beginning of everything (`is_first`), or behind a control symbol.

    Returns:
      The ids, and where each of their tokens begins in the text.
    """
    if is_first:
      return self._encode(text)
    ids, starts = self._encode(self._symbol + text)
    return ids[1:], [max(0, start - len(self._symbol)) for start in starts[1:]]

  def encode_rest(self, before: str, text: str) -> tuple[list[int], list[int]]:
    """Encodes a text that stands behind another, of which no token may reach into it.

    Args:
      before: the other text.
      text: the text.

    Returns:
      The ids of the text, and where each of their tokens begins in it.
    """
    found = self._behind(before, text)
    if found is not None:
      return found
    if self._is_plain_at_start:
      return self._encode(text)
    for anchor in self.ANCHORS:
      found = self._behind(anchor, text)
      if found is not None:
        return found
    return self._encode(text)


class _Run:
  """Collects ids and loss weights; text is gathered until the next control symbol and then encoded
  together.
  """

  def __init__(self, encoder: _PieceEncoder):
    """`encoder` turns text into ids."""
    self._encoder = encoder
    self._text = ''
    # Whether each character of the text is learned.
    self._learned: list[int] = []
    # Whether the last control symbol takes away the white space after it.
    self._strips = False
    self.ids: list[int] = []
    self.weights: list[int] = []

  def add_text(self, text: str, is_learned: bool) -> None:
    if self._strips:
      text = text.lstrip(WHITE_SPACE)
      self._strips = not text
    self._text += text
    self._learned += [int(is_learned)] * len(text)

  def add_control(self, control: _Control, is_learned: bool) -> None:
    if control.strips_left:
      self._text = self._text.rstrip(WHITE_SPACE)
      del self._learned[len(self._text) :]
    self.encode_text()
    self.ids.append(control.id)
    self.weights.append(int(is_learned))
    self._strips = control.strips_right

  def encode_text(self) -> None:
    """Encodes the gathered text, cut where an answer begins: no prompt may end in the middle of a
    token.
    """
    text = self._text
    learned = self._learned
    cuts = [k for k in range(1, len(learned)) if learned[k] > learned[k - 1]]
    begins = [0, *cuts]
    ends = [*cuts, len(text)]
    for begin, end in zip(begins, ends, strict=True):
      if begin:
        ids, starts = self._encoder.encode_rest(text[:begin], text[begin:end])
      else:
        ids, starts = self._encoder.encode(text[:end], is_first=not self.ids)
      self.ids += ids
      # A token is learned if its first character is. Tokens of no character may lie behind the end
      # of the text.
      for start in starts:
        self.weights.append(learned[min(begin + start, len(text) - 1)])
    self._text = ''
    self._learned = []
