"""GGUF files in: a folder of Hugging Face with the weights dequantised, and config, tokenizer and chat template rebuilt from the metadata.

What the metadata says is either understood, or known to change no output, or refused by name. Sources: the format's description (docs/gguf.md of
ggml), what llama.cpp's converter writes (who permutes queries and keys, who adds 1 to norms) and what its loader takes for granted.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import msm_jax
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import ModelConfig, RopeScaling
from msm_jax.interop.huggingface import (
  FAMILIES,
  check_tensors,
  config_to_json,
  new_folder,
  tensor_names,
  write_tensors,
)
from msm_jax.model import rope_frequencies

ARCHITECTURES = {'llama': 'llama', 'qwen2': 'qwen2', 'qwen3': 'qwen3', 'gemma3': 'gemma3_text'}
TYPES = ('F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q4_K', 'Q6_K')

# ------------------------------------------------------------------------------------------------------------------------- config

# Keys under the architecture's name that must hold just this, because another value would change the mathematics; and those that change nothing.
FIXED: dict[str, Any] = {
  'expert_count': 0, 'expert_used_count': 0, 'attention.causal': True, 'attn_logit_softcapping': 0.0, 'pooling_type': 0,
  'rope.scaling.attn_factor': 1.0,
}  # fmt: skip
NEUTRAL = (
  'vocab_size',
  'rope.scaling.finetuned',
  'rope.scaling.original_context_length',
)  # the embedding has as many rows as it has
GEMMA3_27B_LAYERS = 62  # the one Gemma 3 whose attention is scaled by d_model / heads; no file says so, llama.cpp knows it by its layers


def read_config(
  metadata: Mapping[str, Any],
  rope_factors: np.ndarray | None,
  tensors: Mapping[str, tuple[int, ...]],
  where: str,
) -> ModelConfig:
  """The model that a file's metadata and tensors (name -> shape) describe.

  `rope_factors`: what the file divides its rotary frequencies by, (K/2,), if it does. Raises WeightsError for what is not understood, by name.
  """
  arch = metadata.get('general.architecture')
  if arch not in ARCHITECTURES:
    raise WeightsError(
      f'{where}: architecture {arch!r} is not known here; known are {", ".join(ARCHITECTURES)}'
    )
  if (kind := metadata.get('general.type', 'model')) != 'model':
    raise WeightsError(
      f'{where} holds no model but {kind!r} (general.type); give the file of the model itself'
    )
  if metadata.get('split.count', 0) > 1:
    raise WeightsError(
      f'{where} is one of {metadata["split.count"]} parts of a model; join them first (llama-gguf-split --merge)'
    )
  left = {k.removeprefix(f'{arch}.'): v for k, v in metadata.items() if k.startswith(f'{arch}.')}
  for key, value in FIXED.items():
    if (found := left.pop(key, value)) != value:
      raise WeightsError(
        f'{where}: {arch}.{key}={found!r} changes the mathematics and is not known here; only {value!r} is'
      )
  for key in NEUTRAL:
    left.pop(key, None)

  def need(key: str) -> Any:
    if key not in left:
      raise WeightsError(f'{where}: {arch}.{key} is missing; download it again')
    if isinstance(left[key], list):
      raise WeightsError(
        f'{where}: {arch}.{key} differs by layer, which is not known here; this model cannot be imported'
      )
    if left[key] < 1:
      raise WeightsError(f'{where}: {arch}.{key}={left[key]} must be at least 1; download it again')
    return left.pop(key)

  def real(key: str, default: float) -> float:
    return float(
      str(np.float32(left.pop(key, default)))
    )  # 1e-05, not the 9.99999974e-06 that it is in 32 bits

  fields: dict[str, Any] = dict(FAMILIES[ARCHITECTURES[arch]])
  for key, field in (
    ('block_count', 'n_layers'),
    ('embedding_length', 'd_model'),
    ('feed_forward_length', 'd_ff'),
    ('context_length', 'max_length'),
  ):
    fields[field] = need(key)
  fields['n_heads'] = need('attention.head_count')
  fields['n_kv_heads'] = (
    need('attention.head_count_kv') if 'attention.head_count_kv' in left else fields['n_heads']
  )
  fields['head_dim'] = head_dim = left.pop(
    'attention.key_length', fields['d_model'] // fields['n_heads']
  )
  for key in ('attention.value_length', 'rope.dimension_count'):
    if (found := left.pop(key, head_dim)) != head_dim:
      raise WeightsError(
        f'{where}: {arch}.{key}={found} and heads of {head_dim} are not known here together; this model cannot be imported'
      )
  if 'attention.layer_norm_rms_epsilon' not in left:
    raise WeightsError(
      f'{where}: {arch}.attention.layer_norm_rms_epsilon is missing; download it again'
    )
  fields['norm_eps'] = real('attention.layer_norm_rms_epsilon', 0.0)
  fields['tie_embeddings'] = 'output.weight' not in tensors
  if 'token_embd.weight' not in tensors:
    raise WeightsError(f'{where}: tensor token_embd.weight is missing; download it again')
  fields['vocab_size'] = tensors['token_embd.weight'][0]

  fields['rope_theta'] = real('rope.freq_base', 10_000.0)
  scaling, factor = (
    left.pop('rope.scaling.type', 'linear'),
    real('rope.scaling.factor', 0.0) or real('rope.scale_linear', 0.0) or 1.0,
  )
  left.pop('rope.scale_linear', None)
  if scaling not in ('none', 'linear'):
    raise WeightsError(
      f'{where}: {arch}.rope.scaling.type={scaling!r} is not known here; known are none and linear'
    )
  if scaling == 'linear' and factor != 1.0:
    fields['rope_scaling'] = RopeScaling('linear', factor)
  if rope_factors is not None and (rope_factors != 1).any():
    fields['rope_scaling'] = _llama3(rope_factors, fields, where)

  if arch == 'gemma3':
    window, pattern = (
      left.pop('attention.sliding_window', 0),
      left.pop('attention.sliding_window_pattern', 6),
    )
    n = fields['n_layers']
    local = (
      tuple(map(bool, pattern))
      if isinstance(pattern, list)
      else tuple(i % pattern < pattern - 1 for i in range(n))
    )
    fields |= {
      'local_layers': local if window else (),
      'local_window': window,
      'local_theta': real('rope.freq_base_swa', 10_000.0),
    }
    fields['query_scale'] = (
      fields['d_model'] / fields['n_heads'] if n == GEMMA3_27B_LAYERS else head_dim
    ) ** -0.5
    fields['embed_scale'] = float(fields['d_model']) ** 0.5
    fields['logit_softcap'] = real('final_logit_softcapping', 0.0)
  if left:
    key = min(left)
    raise WeightsError(
      f'{where}: {arch}.{key}={str(left[key])[:60]} is not known here, and might change the mathematics; this model cannot be imported'
    )
  try:
    return ModelConfig(**fields)
  except (ConfigError, TypeError) as e:
    raise WeightsError(f'{where}: {e}') from None


def _llama3(factors: np.ndarray, fields: Mapping[str, Any], where: str) -> RopeScaling:
  """Llama 3's stretching from its effect, which is all that a file keeps: the lowest frequency is divided by the factor itself."""
  scaling = RopeScaling('llama3', float(factors.max()))
  plain, stretched = (
    rope_frequencies(fields['head_dim'], fields['rope_theta'], s) for s in (None, scaling)
  )
  if (
    'rope_scaling' in fields
    or factors.shape != plain.shape
    or not np.allclose(plain / factors, stretched, rtol=1e-5, atol=0)
  ):
    raise WeightsError(
      f'{where}: tensor rope_freqs.weight stretches rotary positions otherwise than Llama 3; this model cannot be imported'
    )
  return scaling


# ------------------------------------------------------------------------------------------------------------------------ tensors

STEMS = {
  'embed': 'token_embd', 'unembed': 'output', 'final_norm': 'output_norm', 'attention_norm': 'blk.{}.attn_norm', 'mlp_norm': 'blk.{}.ffn_norm',
  'wq': 'blk.{}.attn_q', 'wk': 'blk.{}.attn_k', 'wv': 'blk.{}.attn_v', 'wo': 'blk.{}.attn_output', 'w_gate': 'blk.{}.ffn_gate',
  'w_up': 'blk.{}.ffn_up', 'w_down': 'blk.{}.ffn_down', 'q_norm': 'blk.{}.attn_q_norm', 'k_norm': 'blk.{}.attn_k_norm',
  'post_attention_norm': 'blk.{}.post_attention_norm', 'post_mlp_norm': 'blk.{}.post_ffw_norm',
}  # fmt: skip


class GGUFTensors:
  """The tensors of a file under the names of Hugging Face, in fp32; those that have no place in the model keep their own names."""

  def __init__(self, path: Path, stored: Mapping[str, Any], c: ModelConfig, arch: str):
    self.folder, self.c = path, c
    theirs, self.heads = {}, {}
    for ours, (name, _) in tensor_names(c).items():
      stem = STEMS[ours.removesuffix('_bias')] + ('.bias' if ours.endswith('_bias') else '.weight')
      for i in range(c.n_layers if '{}' in name else 1):
        theirs[stem.format(i)] = name.format(i)
        if arch == 'llama' and ours in ('wq', 'wk'):
          self.heads[name.format(i)] = c.n_heads if ours == 'wq' else c.n_kv_heads
    self.files = {
      theirs.get(name, name): t for name, t in stored.items() if name != 'rope_freqs.weight'
    }

  def shape(self, name: str) -> tuple[int, ...]:
    return _shape(self.files[name])

  def read(self, name: str) -> np.ndarray:
    import gguf

    t = self.files[name]
    w = np.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type), np.float32)
    if (
      name in self.heads
    ):  # Llama's rotary pairs lie side by side in the file, and half a head apart in Hugging Face
      w = w.reshape(self.heads[name], self.c.head_dim // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
    elif (
      name.endswith('norm.weight') and self.c.norm_offset
    ):  # Gemma's: the file has them as they are multiplied with
      w = w - np.float32(self.c.norm_offset)
    return w


def _shape(tensor: Any) -> tuple[int, ...]:
  return tuple(int(n) for n in reversed(tensor.shape))


# ---------------------------------------------------------------------------------------------------------------------- tokenizer

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
# How text is cut before bytes are merged, by `tokenizer.ggml.pre`: as in each model's own tokenizer.json. Llama 3 and Qwen 2 differ in how many
# digits go together.
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
  'llama-bpe': _SPLIT % r'\p{N}{1,3}',
  'qwen2': _SPLIT % r'\p{N}',
  'smollm': '',
  'gpt-2': '',
  'default': '',
}
SPECIAL = {
  'bos_token': 'bos_token_id',
  'eos_token': 'eos_token_id',
  'unk_token': 'unknown_token_id',
  'pad_token': 'padding_token_id',
}
# Keys of the tokenizer that are read here or change no ids; what others say must be false, empty or absent.
TOKENIZER_KEYS = frozenset(
  'model pre tokens token_type token_type_count scores merges add_bos_token add_eos_token add_space_prefix chat_template chat_templates '
  'huggingface'.split()
)


class Vocabulary:
  """What a file says of its tokenizer.

  Attributes:
    tokens, types, scores: by id.
    merges: pairs, the first to be merged first; None if the file has none.
    special: bos_token, eos_token, unk_token and pad_token, those that there are, by id.
    turn_ends: ids that end an answer, besides eos.

  Raises WeightsError for what is not understood, by name.
  """

  def __init__(self, metadata: Mapping[str, Any], where: str):
    said = {
      k.split('.', 2)[2] if k.startswith('tokenizer.ggml.') else k.split('.')[1]: v
      for k, v in metadata.items()
      if k.startswith('tokenizer.')
    }
    for key, value in said.items():
      if key not in TOKENIZER_KEYS and not key.endswith('_token_id') and value:
        raise WeightsError(
          f'{where}: tokenizer.ggml.{key}={str(value)[:60]} is not known here, and might change the tokens'
        )
    self.where, self.kind, self.pre = where, said.get('model'), said.get('pre')
    if self.kind not in ('gpt2', 'llama'):
      raise WeightsError(
        f'{where}: a tokenizer of kind {self.kind!r} is not known here; known are gpt2 (byte-level BPE) and llama (SentencePiece)'
      )
    if self.kind == 'gpt2' and self.pre not in SPLITS:
      raise WeightsError(
        f'{where}: tokenizer.ggml.pre={self.pre!r} is not known here; known are {", ".join(SPLITS)}'
      )
    if self.kind == 'gpt2' and said.get('add_space_prefix'):
      raise WeightsError(
        f'{where}: tokenizer.ggml.add_space_prefix is not known here for byte-level BPE; this model cannot be imported'
      )
    self.tokens: list[str] = said.get('tokens') or []
    if len(set(self.tokens)) < len(self.tokens) or not self.tokens:
      raise WeightsError(
        f'{where}: its tokenizer has no tokens, or one token twice; download it again'
      )
    self.types: list[int] = said.get('token_type') or [NORMAL] * len(self.tokens)
    self.scores: list[float] = said.get('scores') or []
    self.merges = [_pair(m) for m in said['merges']] if 'merges' in said else None
    if len(self.types) != len(self.tokens) or (
      self.merges is None and len(self.scores) != len(self.tokens)
    ):
      raise WeightsError(
        f'{where}: its tokenizer lacks merges, scores or token types; download it again'
      )
    self.special: dict[str, int] = {name: said[key] for name, key in SPECIAL.items() if key in said}
    self.turn_ends: list[int] = [said[k] for k in ('eot_token_id', 'eom_token_id') if k in said]
    if wrong := [
      i for i in (*self.special.values(), *self.turn_ends) if not 0 <= i < len(self.tokens)
    ]:
      raise WeightsError(
        f'{where}: its tokenizer names token {wrong[0]} of {len(self.tokens)}; download it again'
      )
    # what llama.cpp takes for granted where a file is silent
    self.add_bos: bool = said.get(
      'add_bos_token',
      (self.kind == 'llama' or self.pre == 'llama-bpe') and 'bos_token' in self.special,
    )
    self.add_eos: bool = said.get('add_eos_token', False)
    self.space_prefix: bool = said.get('add_space_prefix', True)
    if (self.add_bos and 'bos_token' not in self.special) or (
      self.add_eos and 'eos_token' not in self.special
    ):
      raise WeightsError(
        f'{where}: its tokenizer adds a token at the start or end that it does not name; download it again'
      )

  def name(self, special: str) -> str | None:
    return self.tokens[self.special[special]] if special in self.special else None


def _pair(merge: str) -> tuple[str, str]:
  left, _, right = merge[1:].partition(' ')  # a token may be a space, but none is empty
  return merge[0] + left, right


def merges_by_rank(
  tokens: list[str], types: list[int], ranks: list[float]
) -> list[tuple[str, str]]:
  """The merges that a SentencePiece vocabulary stands for: pairs of pieces that make a piece, those of the highest rank first; of pairs that make
  the same piece, that with the longer left part (what `transformers` makes of such a vocabulary)."""
  ids = {t: i for i, t in enumerate(tokens)}
  found = []
  for token, kind, rank in zip(tokens, types, ranks, strict=True):
    if kind in (NORMAL, USER_DEFINED):  # no text makes a control symbol
      pairs = ((token[:k], token[k:]) for k in range(1, len(token)))
      found += sorted(
        ((rank, a, b) for a, b in pairs if a in ids and b in ids),
        key=lambda m: (ids[m[1]], ids[m[2]]),
      )
  found.sort(key=lambda m: (m[0], len(m[1]), len(m[2])), reverse=True)
  return [(a, b) for _, a, b in found]


def make_tokenizer(v: Vocabulary, arch: str) -> Any:
  """A tokenizers.Tokenizer that gives the ids of the model's own. Raises WeightsError if the vocabulary makes none."""
  from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
  )

  tokens, merges = v.tokens, v.merges
  gemma = v.kind == 'llama' and arch == 'gemma3'
  if gemma:  # files spell its runs of spaces as spaces; its merges go by the order of the pieces, not by their scores
    tokens = ['\u2581' * len(t) if t and not t.strip(' ') else t for t in tokens]
  if merges is None:
    merges = merges_by_rank(
      tokens, v.types, [-i for i in range(len(tokens))] if gemma else v.scores
    )
  vocabulary = {t: i for i, t in enumerate(tokens)}
  try:
    if v.kind == 'gpt2':
      # a word that is a token is that token in Llama 3, whatever the merges make of it
      made = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=v.pre == 'llama-bpe')
      )
    else:
      made = Tokenizer(
        models.BPE(
          vocab=vocabulary,
          merges=merges,
          unk_token=v.name('unk_token'),
          fuse_unk=True,
          byte_fallback=True,
        )
      )
  except Exception as e:  # tokenizers raises bare Exceptions
    raise WeightsError(
      f'{v.where}: its vocabulary and its merges make no tokenizer ({e}); download it again'
    ) from None

  if v.kind == 'gpt2':
    made.decoder = decoders.ByteLevel()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not SPLITS[v.pre])
    if SPLITS[v.pre]:
      made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLITS[v.pre]), 'isolated'), byte_level]
      )
    else:
      made.pre_tokenizer = (
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
        if v.pre == 'smollm'
        else byte_level
      )
    if v.pre == 'qwen2':
      made.normalizer = normalizers.NFC()
  else:
    steps = [decoders.Replace('\u2581', ' '), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
      made.normalizer = normalizers.Replace(' ', '\u2581')
    else:
      scheme = 'first' if v.space_prefix else 'never'
      made.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement='\u2581', prepend_scheme=scheme, split=False
      )
      steps += [decoders.Strip(content=' ', left=1)] if v.space_prefix else []
    made.decoder = decoders.Sequence(steps)

  special = {i for i, kind in enumerate(v.types) if kind == CONTROL} | set(v.special.values())
  made.add_special_tokens(
    [AddedToken(tokens[i], normalized=False, special=True) for i in sorted(special)]
  )
  plain = [
    AddedToken(t, normalized=False)
    for i, (t, kind) in enumerate(zip(tokens, v.types, strict=True))
    if kind == USER_DEFINED and i not in special
  ]
  made.add_tokens(plain)
  if v.add_bos or v.add_eos:
    before, after = (
      (v.name('bos_token') if v.add_bos else None),
      (v.name('eos_token') if v.add_eos else None),
    )
    one, two = ([t for t in (before, part, after) if t] for part in ('$A', '$B'))
    around = [(t, vocabulary[t]) for t in dict.fromkeys((before, after)) if t]
    made.post_processor = processors.TemplateProcessing(
      single=one, pair=[*one, *(f'{t}:1' for t in two)], special_tokens=around
    )
  return made


# ------------------------------------------------------------------------------------------------------------------------ convert


def convert(
  source: str | Path,
  folder: str | Path,
  told: Callable[[int, int], None] = lambda done, of: None,
  shard_bytes: int = 2 << 30,
) -> None:
  """Writes a folder of Hugging Face, in float32, from a GGUF file; it appears whole or not at all, and no more than one of its files is in memory.

  `told` hears how many tensors are done, and of how many. Raises WeightsError for what is not understood, by name, before anything is written.
  """
  source, folder = Path(source), Path(folder)
  metadata, stored = _open(source)
  factors = (
    np.array(stored['rope_freqs.weight'].data, np.float32)
    if 'rope_freqs.weight' in stored
    else None
  )
  arch = metadata.get('general.architecture')
  c = read_config(metadata, factors, {n: _shape(t) for n, t in stored.items()}, str(source))
  for name, t in stored.items():
    if t.tensor_type.name not in TYPES:
      raise WeightsError(
        f'{source}: tensor {name} is of type {t.tensor_type.name}, which is not read here; known are {", ".join(TYPES)}'
      )
  tensors = GGUFTensors(source, stored, c, arch)
  check_tensors(tensors, c)
  vocabulary = Vocabulary(metadata, str(source))
  if len(vocabulary.tokens) != c.vocab_size:
    raise WeightsError(
      f'{source}: {len(vocabulary.tokens)} tokens and an embedding of {c.vocab_size} are not of one model; download it again'
    )
  tokenizer = make_tokenizer(vocabulary, arch)

  def read() -> Iterator[tuple[str, np.ndarray]]:
    for n, name in enumerate(tensors.files, 1):
      yield name, tensors.read(name)
      told(n, len(tensors.files))

  ids = {
    k.replace('_token', '_token_id'): i for k, i in vocabulary.special.items() if k != 'unk_token'
  }
  ends = list(
    dict.fromkeys([i for k, i in ids.items() if k == 'eos_token_id'] + vocabulary.turn_ends)
  )
  config = config_to_json(c, 'float32', ids) | {
    '_name_or_path': metadata.get('general.name', ''),
    'msm_jax_version': msm_jax.__version__,
  }
  words = {k: vocabulary.name(k) for k in vocabulary.special} | {
    'add_bos_token': vocabulary.add_bos,
    'add_eos_token': vocabulary.add_eos,
  }
  words |= {
    'tokenizer_class': 'PreTrainedTokenizerFast',
    'clean_up_tokenization_spaces': False,
    'model_max_length': c.max_length,
  }
  with new_folder(folder) as new:
    write_tensors(new, read(), shard_bytes)
    for name, content in (
      ('config.json', config), ('generation_config.json', ids | ({'eos_token_id': ends} if ends else {})), ('tokenizer_config.json', words),
    ):  # fmt: skip
      (new / name).write_text(json.dumps(content, indent=2) + '\n')
    tokenizer.save(str(new / 'tokenizer.json'))
    if template := metadata.get('tokenizer.chat_template'):
      (new / 'chat_template.jinja').write_text(template)


def _open(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """(metadata, tensors by name) of a file, mapped. Raises WeightsError if it is none, or cut short."""
  import gguf

  if not path.is_file():
    raise WeightsError(f'{path} is no file; give a GGUF file')
  try:
    reader = gguf.GGUFReader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    if reader.byte_order != 'I':
      raise WeightsError(
        f'{path} is of the other byte order; take a file made for this kind of machine'
      )
    return metadata, {t.name: t for t in reader.tensors}
  except WeightsError:
    raise
  except OSError as e:
    raise WeightsError(f'cannot read {path} ({e.strerror})') from None
  except (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
  ) as e:  # what its reader trips over
    raise WeightsError(
      f'{path} is no GGUF file, or a part of one ({e}); download it again'
    ) from None
