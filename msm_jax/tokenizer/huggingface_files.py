"""Reads the files of a tokenizer of Hugging Face. Every error names the file and the remedy."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msm_jax.base.errors import DataError

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


class TokenEntry(NamedTuple):
  """A token that a file adds to the vocabulary, with the fields of tokenizers.AddedToken.

  Attributes:
    content: its text.
    special: whether it is a control symbol.
    lstrip: whether white space before it goes away.
    rstrip: whether white space after it goes away.
    single_word: whether it counts only as a word of its own.
    normalized: whether it is looked for in the text as the normalizer leaves it.
  """

  content: str
  special: bool
  lstrip: bool
  rstrip: bool
  single_word: bool
  normalized: bool


def read_json(path: Path) -> dict[str, Any]:
  """Reads a JSON file that may be missing.

  Args:
    path: the file.

  Returns:
    Its content; empty if there is no such file.

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


def read_settings(folder: Path) -> dict[str, Any]:
  """Reads tokenizer_config.json, and what special_tokens_map.json adds to it in older folders.

  As in `transformers`, the second file counts only where the first has no `added_tokens_decoder`,
  and then it goes before the first.

  Args:
    folder: where the files are.

  Returns:
    The settings; empty if there is neither file.

  Raises:
    DataError: a file holds no JSON object, or a token in special_tokens_map.json is no text.
  """
  config = read_json(folder / 'tokenizer_config.json')
  if 'added_tokens_decoder' in config:
    return config
  older_file = folder / 'special_tokens_map.json'
  older = read_json(older_file)
  # An error must name this file and not the other one.
  named_tokens(older, older_file)
  for key, value in older.items():
    text = _text_of(value)
    # A token may be written in two forms. What says the same changes no fingerprint.
    is_same_token = text is not None and text == _text_of(config.get(key))
    if not is_same_token:
      config[key] = value
  return config


def named_tokens(config: dict[str, Any], file: Path) -> dict[str, str]:
  """Finds the special tokens that have a name, such as bos_token.

  Args:
    config: what tokenizer_config.json holds.
    file: its path, for the error.

  Returns:
    Name -> text, of those that there are.

  Raises:
    DataError: a token is no text.
  """
  tokens = {}
  for name in SPECIAL_TOKENS:
    value = config.get(name)
    text = _text_of(value)
    if text is not None:
      tokens[name] = text
    elif value not in (None, '', False):
      raise DataError(f'{file}: {name}={repr(value)[:60]} is no text; mend it')
  return tokens


def listed_tokens(config: dict[str, Any]) -> list[str]:
  """Finds the special tokens that have no name of their own.

  Args:
    config: what tokenizer_config.json holds.

  Returns:
    Their texts, in the order of the file.
  """
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


def _entry_of(token: Any, special: bool) -> TokenEntry | None:
  """A token as a file describes it, by its text or by an object; None if it has no text."""
  text = _text_of(token)
  if text is None:
    return None
  said = token if isinstance(token, dict) else {}
  return TokenEntry(
    content=text,
    special=special,
    lstrip=bool(said.get('lstrip')),
    rstrip=bool(said.get('rstrip')),
    single_word=bool(said.get('single_word')),
    normalized=bool(said.get('normalized', not special)),
  )


def added_tokens(folder: Path, config: dict[str, Any], taken: Collection[int]) -> list[TokenEntry]:
  """Finds the tokens that other files than tokenizer.json add to a vocabulary.

  `transformers` adds those that tokenizer.json lacks one after the other, so their order decides
  about their ids: first those that have ids, by these; then those that have a name; then the rest.

  Args:
    folder: where the files are.
    config: what `read_settings` gave.
    taken: the ids of the added tokens of tokenizer.json. They go before added_tokens.json, which
      counts in older folders only.

  Returns:
    The tokens in this order, each once.

  Raises:
    DataError: added_tokens.json is broken.
  """
  file = folder / 'tokenizer_config.json'
  named = {text: config[name] for name, text in named_tokens(config, file).items()}
  listed = listed_tokens(config)
  entries: list[TokenEntry | None] = []
  by_id = config.get('added_tokens_decoder')
  if isinstance(by_id, dict):
    # Python turns no text of thousands of digits into a number.
    numbered = [
      (int(key), token) for key, token in by_id.items() if key.isdecimal() and len(key) < 10
    ]
    for _, token in sorted(numbered, key=lambda pair: pair[0]):
      is_special = isinstance(token, dict) and bool(token.get('special'))
      entries.append(_entry_of(token, is_special or _text_of(token) in named))
  elif by_id is None:
    for text, token_id in _older_added_tokens(folder):
      if token_id not in taken:
        entries.append(_entry_of(text, text in named or text in listed))
  entries += [_entry_of(token, special=True) for token in (*named.values(), *listed)]
  # The first that speaks of a token counts.
  found: dict[str, TokenEntry] = {}
  for entry in entries:
    if entry is not None:
      found.setdefault(entry.content, entry)
  return list(found.values())


def _older_added_tokens(folder: Path) -> list[tuple[str, int]]:
  """The tokens of added_tokens.json with their ids, by id. Raises DataError if one has no id."""
  path = folder / 'added_tokens.json'
  ids = read_json(path)
  for text, token_id in ids.items():
    if type(token_id) is not int or token_id < 0:
      raise DataError(f'{path}: {text!r}: {str(token_id)[:60]} is no token id; mend it')
  return sorted(ids.items(), key=lambda pair: pair[1])


def generation_ends(folder: Path, vocab_size: int) -> list[int]:
  """Finds the ids that end an answer by the files that `transformers` obeys.

  These are generation_config.json and, only where there is no such file, config.json.

  Args:
    folder: where the files are.
    vocab_size: how many ids the tokenizer has.

  Returns:
    The ids; none if the file is missing or names none.

  Raises:
    DataError: an entry is no id.
  """
  path = folder / 'generation_config.json'
  is_fallback = not path.is_file()
  if is_fallback:
    path = folder / 'config.json'
  ends = read_json(path).get('eos_token_id')
  if ends is None:
    return []
  if not isinstance(ends, list):
    ends = [ends]
  for token_id in ends:
    is_id = type(token_id) is int and (token_id >= 0 or is_fallback)
    if not is_id:
      raise DataError(f'{path}: eos_token_id={str(token_id)[:60]} is no token id; mend it')
  if is_fallback:
    # Some say -1 for none, and models that were cut out of larger ones keep ids of these.
    ends = [token_id for token_id in ends if 0 <= token_id < vocab_size]
  return ends


def read_template(folder: Path, config: dict[str, Any]) -> str | None:
  """Reads the chat template: from a file of its own, or in older folders tokenizer_config.json.

  Args:
    folder: where the files are.
    config: what tokenizer_config.json holds.

  Returns:
    The template; None if there is none.

  Raises:
    DataError: the template cannot be read.
  """
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


def looks_like_a_symbol(name: str) -> bool:
  """Whether a token can be a control symbol: letters or digits between other characters.

  Words, punctuation and runs of white space are none, even where a template has them. Some files
  name '!' as their pad_token, which must stay a character that people can write.
  """
  # A vocabulary may have an empty token.
  is_enclosed = not (name[:1].isalnum() or name[-1:].isalnum())
  return is_enclosed and any(c.isalnum() for c in name)


def load_processor(
  content: bytes, special: Sequence[str] = (), missing: Sequence[TokenEntry] = ()
) -> Any:
  """Loads a tokenizer that neither cuts nor fills up.

  Args:
    content: of tokenizer.json.
    special: texts of tokens that are special, whatever the file says of them.
    missing: tokens that the file lacks. They get the next ids, in this order.

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
  # What the file has as an added token must not be added again: that would make it forget which
  # white space goes away with it.
  there = {token.content for token in processor.get_added_tokens_decoder().values()}
  there.update(entry.content for entry in missing)
  processor.add_special_tokens(
    [
      tokenizers.AddedToken(text, normalized=False, special=True)
      for text in special
      if text not in there
    ]
  )
  more = []
  for entry in missing:
    is_special = entry.special or entry.content in special
    more.append(tokenizers.AddedToken(**entry._replace(special=is_special)._asdict()))
  processor.add_tokens(more)
  processor.no_truncation()
  processor.no_padding()
  return processor
