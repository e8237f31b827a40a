"""Rebuilds a tokenizer.json from the metadata of a GGUF file.

A file holds the vocabulary and, for byte-level BPE, the merges; how text is cut before it is merged
is only a name (`tokenizer.ggml.pre`). The rest of a tokenizer is code in llama.cpp, and is written
down again here, so that the ids are those of the model's own tokenizer.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from msm_jax.base.errors import WeightsError
from msm_jax.tokenizer.huggingface_files import looks_like_a_symbol
from msm_jax.tokenizer.sentencepiece import SPACE

# tokenizer.ggml.token_type: ordinary text, symbols that no text makes, and tokens that are kept
# whole in any text.
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4

# A regular expression that cuts text before bytes are merged, as in each model's own
# tokenizer.json. Llama 3 and Qwen 2 differ only in how many digits go together. Its parts: English
# contractions, words, digits, punctuation, white space.
_SPLIT_BEFORE_DIGITS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_SPLIT_AFTER_DIGITS = r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
# tokenizer.ggml.pre -> the expression; empty for those that use GPT-2's, which is built into
# `tokenizers`.
SPLITS = {
  'llama-bpe': _SPLIT_BEFORE_DIGITS + r'\p{N}{1,3}' + _SPLIT_AFTER_DIGITS,
  'qwen2': _SPLIT_BEFORE_DIGITS + r'\p{N}' + _SPLIT_AFTER_DIGITS,
  'smollm': '',
  'gpt-2': '',
}
# 'default' is not among them. llama.cpp then cuts by an expression that is no model's own (after
# every third digit, and around punctuation), and other programs write the word for any tokenizer.

# Name of a special token in tokenizer_config.json -> the key of its id in a GGUF file.
SPECIAL = {
  'bos_token': 'bos_token_id',
  'eos_token': 'eos_token_id',
  'unk_token': 'unknown_token_id',
  'pad_token': 'padding_token_id',
}

# Keys that are read here or change no ids. All others must be false, empty or absent, or name a
# token id.
KNOWN_KEYS = frozenset(
  {
    'add_bos_token',
    'add_eos_token',
    'add_space_prefix',
    'chat_template',
    'chat_templates',
    'huggingface',
    'merges',
    'model',
    'pre',
    'scores',
    'token_type',
    'token_type_count',
    'tokens',
  }
)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """What a file says of its tokenizer.

  Attributes:
    where: the file's name, for error messages.
    kind: gpt2 (byte-level BPE) or llama (SentencePiece).
    pre: how text is cut before bytes are merged, a key of SPLITS; without meaning for
      SentencePiece.
    tokens: the text of each token, by id.
    types: NORMAL, CONTROL, USER_DEFINED or another number, by id.
    scores: by id; pairs of pieces with a higher score are merged first (SentencePiece).
    merges: pairs of tokens, the first to be merged first; None if the file has none.
    special: ids of bos_token, eos_token, unk_token and pad_token, those that there are.
    turn_ends: ids that end an answer, beside eos.
    add_bos: whether a text begins with bos_token.
    add_eos: whether a text ends with eos_token.
    space_prefix: whether a space is put before the first word of a text (SentencePiece).
  """

  where: str
  kind: str
  pre: str | None
  tokens: list[str]
  types: list[int]
  scores: list[float]
  merges: list[tuple[str, str]] | None
  special: dict[str, int]
  turn_ends: list[int]
  add_bos: bool
  add_eos: bool
  space_prefix: bool

  def special_token(self, name: str) -> str | None:
    """The text of bos_token, eos_token, unk_token or pad_token; None if the file names none."""
    if name not in self.special:
      return None
    return self.tokens[self.special[name]]


def read_vocabulary(metadata: Mapping[str, Any], where: str) -> Vocabulary:
  """Reads what a file's metadata says of its tokenizer.

  Args:
    metadata: key -> value.
    where: the file's name, for error messages.

  Returns:
    The vocabulary, with llama.cpp's defaults where the file says nothing.

  Raises:
    WeightsError: something is missing, contradictory or not understood; the message names it.
  """
  settings = _tokenizer_settings(metadata)
  for key, value in settings.items():
    is_known = key in KNOWN_KEYS or key.endswith('_token_id')
    if value and not is_known:
      raise WeightsError(
        f'{where}: tokenizer.ggml.{key}={str(value)[:60]} is not known here, '
        'and might change the tokens'
      )
  kind: Any = settings.get('model')
  pre: Any = settings.get('pre')
  _check_kind(kind, pre, settings, where)

  _check_types(settings, where)
  tokens: list[str] = settings.get('tokens') or []
  if not tokens or len(set(tokens)) < len(tokens):
    raise WeightsError(
      f'{where}: its tokenizer has no tokens, or one token twice; download it again'
    )
  types: list[int] = settings.get('token_type') or [NORMAL] * len(tokens)
  scores: list[float] = settings.get('scores') or []
  merges = None
  if 'merges' in settings:
    merges = [_split_merge(merge, where) for merge in settings['merges']]
  lacks_order = merges is None and len(scores) != len(tokens)
  if len(types) != len(tokens) or lacks_order:
    raise WeightsError(
      f'{where}: its tokenizer lacks merges, scores or token types; download it again'
    )

  special = {}
  for name, key in SPECIAL.items():
    if key in settings:
      special[name] = settings[key]
  turn_ends = [settings[key] for key in ('eot_token_id', 'eom_token_id') if key in settings]
  for token_id in (*special.values(), *turn_ends):
    if not 0 <= token_id < len(tokens):
      raise WeightsError(
        f'{where}: its tokenizer names token {token_id} of {len(tokens)}; download it again'
      )

  # Where a file says nothing, llama.cpp adds bos for SentencePiece and for Llama 3, if there is
  # one.
  adds_bos_by_default = (kind == 'llama' or pre == 'llama-bpe') and 'bos_token' in special
  add_bos = settings.get('add_bos_token', adds_bos_by_default)
  add_eos = settings.get('add_eos_token', False)
  if (add_bos and 'bos_token' not in special) or (add_eos and 'eos_token' not in special):
    raise WeightsError(
      f'{where}: its tokenizer adds a token at the start or end that it does not name; '
      'download it again'
    )
  return Vocabulary(
    where=where,
    kind=kind,
    pre=pre,
    tokens=tokens,
    types=types,
    scores=scores,
    merges=merges,
    special=special,
    turn_ends=turn_ends,
    add_bos=add_bos,
    add_eos=add_eos,
    space_prefix=settings.get('add_space_prefix', True),
  )


def _tokenizer_settings(metadata: Mapping[str, Any]) -> dict[str, Any]:
  """The values under `tokenizer.ggml.`, and those under `tokenizer.` by the first part of their
  name.
  """
  settings = {}
  for key, value in metadata.items():
    if key.startswith('tokenizer.ggml.'):
      settings[key.removeprefix('tokenizer.ggml.')] = value
    elif key.startswith('tokenizer.'):
      # tokenizer.chat_template, or a variant such as tokenizer.chat_template.tool_use.
      settings[key.split('.')[1]] = value
  return settings


def _check_kind(kind: Any, pre: Any, settings: Mapping[str, Any], where: str) -> None:
  """Refuses kinds of tokenizers that are not rebuilt here."""
  if kind not in ('gpt2', 'llama'):
    raise WeightsError(
      f'{where}: a tokenizer of kind {kind!r} is not known here; '
      'known are gpt2 (byte-level BPE) and llama (SentencePiece)'
    )
  if kind == 'gpt2' and (not isinstance(pre, str) or pre not in SPLITS):
    raise WeightsError(
      f'{where}: tokenizer.ggml.pre={pre!r} is not known here; known are {", ".join(SPLITS)}'
    )
  if kind == 'gpt2' and settings.get('add_space_prefix'):
    raise WeightsError(
      f'{where}: tokenizer.ggml.add_space_prefix is not known here for byte-level BPE; '
      'this model cannot be imported'
    )


def _check_types(settings: Mapping[str, Any], where: str) -> None:
  """Refuses values of another type than the one that their key must have."""
  list_types: dict[str, tuple[type, ...]] = {
    'tokens': (str,),
    'merges': (str,),
    'token_type': (int,),
    'scores': (float, int),
  }
  for key, value in settings.items():
    is_good = True
    if key in list_types:
      is_list = isinstance(value, list)
      is_good = is_list and all(type(entry) in list_types[key] for entry in value)
    elif key.endswith('_token_id'):
      is_good = type(value) is int
    elif key in ('add_bos_token', 'add_eos_token', 'add_space_prefix'):
      is_good = type(value) in (bool, int)
    if not is_good:
      raise WeightsError(
        f'{where}: tokenizer.ggml.{key}={repr(value)[:60]} is not of the type that it must have; '
        'download it again'
      )


def _split_merge(merge: str, where: str) -> tuple[str, str]:
  """The two tokens of a merge, 'LEFT RIGHT'."""
  if not merge:
    raise WeightsError(f'{where}: its tokenizer has an empty merge; download it again')
  # A token may be a space but is never empty, so the separator is not the first character.
  left, _, right = merge[1:].partition(' ')
  return merge[0] + left, right


def merges_by_rank(
  tokens: Sequence[str], types: Sequence[int], ranks: Sequence[float]
) -> list[tuple[str, str]]:
  """Finds the merges that a SentencePiece vocabulary stands for.

  Every pair of pieces that makes a piece is a merge. Those that make the piece of the highest rank
  come first; of pairs that make the same piece, the one with the longer left part. This is the
  order that `transformers` gives them.

  Args:
    tokens: the pieces, by id.
    types: their types, by id.
    ranks: by id.

  Returns:
    The pairs, the first to be merged first.
  """
  ids = {token: i for i, token in enumerate(tokens)}
  found: list[tuple[float, str, str]] = []
  for token, kind, rank in zip(tokens, types, ranks, strict=True):
    # No text makes a control symbol, so nothing may be merged into one.
    if kind not in (NORMAL, USER_DEFINED):
      continue
    pairs = []
    for cut in range(1, len(token)):
      left, right = token[:cut], token[cut:]
      if left in ids and right in ids:
        pairs.append((rank, left, right))
    # The sort below keeps the order of equals, so their order by ids decides where rank and lengths
    # are the same.
    pairs.sort(key=lambda pair: (ids[pair[1]], ids[pair[2]]))
    found += pairs
  found.sort(key=lambda pair: (pair[0], len(pair[1]), len(pair[2])), reverse=True)
  return [(left, right) for _, left, right in found]


def make_tokenizer(vocabulary: Vocabulary, arch: str) -> Any:
  """Builds a tokenizer that gives the ids of the model's own.

  Args:
    vocabulary: what the file says.
    arch: the file's architecture; Gemma 3 differs from other models with SentencePiece.

  Returns:
    A tokenizers.Tokenizer.

  Raises:
    WeightsError: the vocabulary and its merges make no tokenizer.
  """
  is_gemma = vocabulary.kind == 'llama' and arch == 'gemma3'
  tokens = list(vocabulary.tokens)
  merges = vocabulary.merges
  if is_gemma:
    # Files spell Gemma's runs of spaces as spaces, where its tokenizer has SentencePiece's sign.
    tokens = [_respell_spaces(token) for token in tokens]
  if merges is None:
    ranks: Sequence[float] = vocabulary.scores
    if is_gemma:
      # Gemma's merges go by the order of the pieces; the scores in its files say nothing.
      ranks = [-i for i in range(len(tokens))]
    merges = merges_by_rank(tokens, vocabulary.types, ranks)
  tokenizer = _make_bpe(vocabulary, tokens, merges)
  if vocabulary.kind == 'gpt2':
    _set_byte_level(tokenizer, str(vocabulary.pre))
  else:
    _set_sentencepiece(tokenizer, is_gemma, vocabulary.space_prefix)
  _add_special_tokens(tokenizer, vocabulary, tokens)
  if vocabulary.add_bos or vocabulary.add_eos:
    _add_bos_and_eos(tokenizer, vocabulary, tokens)
  return tokenizer


def _respell_spaces(token: str) -> str:
  """A token of spaces alone, spelled as SentencePiece spells it; any other token as it is."""
  if token and not token.strip(' '):
    return SPACE * len(token)
  return token


def _make_bpe(vocabulary: Vocabulary, tokens: list[str], merges: list[tuple[str, str]]) -> Any:
  """A tokenizer that merges as the vocabulary says, with nothing around it yet."""
  # tokenizers belongs to the optional extra `hf`.
  from tokenizers import Tokenizer, models

  ids = {token: i for i, token in enumerate(tokens)}
  settings: dict[str, Any]
  if vocabulary.kind == 'gpt2':
    # In Llama 3 a word that is a token becomes that token, whatever the merges make of it.
    settings = {'ignore_merges': vocabulary.pre == 'llama-bpe'}
  else:
    unknown = vocabulary.special_token('unk_token')
    settings = {'unk_token': unknown, 'fuse_unk': True, 'byte_fallback': True}
  try:
    return Tokenizer(models.BPE(vocab=ids, merges=merges, **settings))
  # tokenizers raises bare Exceptions.
  except Exception as e:
    raise WeightsError(
      f'{vocabulary.where}: its vocabulary and its merges make no tokenizer ({e}); '
      'download it again'
    ) from None


def _set_byte_level(tokenizer: Any, pre: str) -> None:
  """Sets how text is cut into words and turned into bytes, for byte-level BPE."""
  from tokenizers import Regex, decoders, normalizers, pre_tokenizers

  split = SPLITS[pre]
  steps: list[Any] = []
  if split:
    steps.append(pre_tokenizers.Split(Regex(split), 'isolated'))
  elif pre == 'smollm':
    # SmolLM cuts at every digit first, and then as GPT-2 does.
    steps.append(pre_tokenizers.Digits(individual_digits=True))
  byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
  if steps:
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, byte_level])
  else:
    tokenizer.pre_tokenizer = byte_level
  if pre == 'qwen2':
    tokenizer.normalizer = normalizers.NFC()
  tokenizer.decoder = decoders.ByteLevel()


def _set_sentencepiece(tokenizer: Any, is_gemma: bool, space_prefix: bool) -> None:
  """Sets how spaces are written, and how pieces become text again, for SentencePiece.

  A space is put before the first word of a text, and behind no control symbol that a chat template
  writes, as in transformers' loader of GGUF. In llama.cpp each text that follows a control symbol
  gets one, too. A file does not say which of the two its model has learned.
  """
  from tokenizers import decoders, normalizers, pre_tokenizers

  steps = [decoders.Replace(SPACE, ' '), decoders.ByteFallback(), decoders.Fuse()]
  if is_gemma:
    tokenizer.normalizer = normalizers.Replace(' ', SPACE)
  else:
    scheme = 'first' if space_prefix else 'never'
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
      replacement=SPACE, prepend_scheme=scheme, split=False
    )
    if space_prefix:
      # The space that was put before the first word is taken away again.
      steps.append(decoders.Strip(content=' ', left=1))
  tokenizer.decoder = decoders.Sequence(steps)


def _add_special_tokens(tokenizer: Any, vocabulary: Vocabulary, tokens: list[str]) -> None:
  """Marks control symbols, which text is not searched for, and user-defined tokens, which are kept
  whole in text.
  """
  from tokenizers import AddedToken

  named = set(vocabulary.special.values())
  special = set()
  for i, kind in enumerate(vocabulary.types):
    # A file may name '!' as its padding. It stays a character, or answers would lose it.
    is_named = i in named and (kind != NORMAL or looks_like_a_symbol(tokens[i]))
    if kind == CONTROL or is_named:
      special.add(i)
  tokenizer.add_special_tokens(
    [AddedToken(tokens[i], normalized=False, special=True) for i in sorted(special)]
  )
  user_defined = []
  for i, kind in enumerate(vocabulary.types):
    if kind == USER_DEFINED and i not in special:
      user_defined.append(AddedToken(tokens[i], normalized=False))
  tokenizer.add_tokens(user_defined)


def _add_bos_and_eos(tokenizer: Any, vocabulary: Vocabulary, tokens: list[str]) -> None:
  """Sets what is put around a text, and around each of a pair of texts."""
  from tokenizers import processors

  before = []
  after = []
  if vocabulary.add_bos:
    before = [str(vocabulary.special_token('bos_token'))]
  if vocabulary.add_eos:
    after = [str(vocabulary.special_token('eos_token'))]
  single = [*before, '$A', *after]
  # The second text of a pair has type 1, as the library's own templates have it.
  second = [f'{piece}:1' for piece in (*before, '$B', *after)]
  ids = {token: i for i, token in enumerate(tokens)}
  special_tokens = [(token, ids[token]) for token in dict.fromkeys(before + after)]
  tokenizer.post_processor = processors.TemplateProcessing(
    single=single, pair=[*single, *second], special_tokens=special_tokens
  )
