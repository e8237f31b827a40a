"""Small random GGUF files of every type and architecture, for the tests of the importer.

`write_gguf` also returns what the bytes of the file say, read a second time from the layout of each
block (ggml-common.h of llama.cpp), so that the tests do not compare a library with itself.
"""

import json

import gguf
import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QUANTS = gguf.GGMLQuantizationType

# ---- dequantisation, written down from the layout of each block


def halves(raw):
  """Bytes as fp16 numbers, in fp32."""
  return np.frombuffer(bytes(raw), '<f2').astype(np.float32)


def nibbles(q):
  """The 4-bit numbers of some bytes: first the low halves of all of them, then the high halves."""
  return [*(q & 15), *(q >> 4)]


def q4_0(block):
  """32 values: the scale, then 16 bytes."""
  scale = halves(block[:2])[0]
  return [scale * (np.float32(x) - 8) for x in nibbles(block[2:])]


def q4_1(block):
  """32 values: the scale, the minimum, then 16 bytes."""
  scale, minimum = halves(block[:4])
  return [scale * np.float32(x) + minimum for x in nibbles(block[4:])]


def fives(high, q):
  """The 5-bit numbers of 32: 4 bytes of highest bits, bit by bit, then as `nibbles`."""
  bits = [int(high[n // 8]) >> n % 8 & 1 for n in range(32)]
  return [int(x) | bit << 4 for x, bit in zip(nibbles(q), bits, strict=True)]


def q5_0(block):
  """32 values: the scale, 4 bytes of highest bits, then 16 bytes."""
  scale = halves(block[:2])[0]
  return [scale * (np.float32(x) - 16) for x in fives(block[2:6], block[6:])]


def q5_1(block):
  """32 values: the scale, the minimum, 4 bytes of highest bits, then 16 bytes."""
  scale, minimum = halves(block[:4])
  return [scale * np.float32(x) + minimum for x in fives(block[4:8], block[8:])]


def q8_0(block):
  """32 values: the scale, then 32 signed bytes."""
  scale = halves(block[:2])[0]
  return [scale * np.float32(x) for x in block[2:].view(np.int8)]


def packed_scales(packed, group):
  """The scale and the minimum of one of 8 groups, from 12 bytes.

  The bytes hold those of the first four groups in their low 6 bits; those of the last four groups
  are put together from what is left.
  """
  packed = [int(x) for x in packed]
  if group < 4:
    return packed[group] & 63, packed[group + 4] & 63
  scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4)
  minimum = (packed[group + 4] >> 4) | (packed[group] >> 6 << 4)
  return scale, minimum


def q5_k(block):
  """256 values in 8 groups, as Q4_K with 32 bytes of highest bits before the 128 bytes.

  Byte k of the highest bits holds those of number k of every group, the first group's lowest.
  """
  scale_of_scales, scale_of_minima = halves(block[:4])
  high, q = block[16:48], block[48:]
  out = []
  for group in range(8):
    scale, minimum = packed_scales(block[4:16], group)
    first = group // 2 * 32
    for k in range(32):
      low_bits = int(q[first + k]) >> (4 if group % 2 else 0) & 15
      value = low_bits | (int(high[k]) >> group & 1) << 4
      scaled = scale_of_scales * np.float32(scale) * np.float32(value)
      out.append(scaled - scale_of_minima * np.float32(minimum))
  return out


def q4_k(block):
  """256 values in 8 groups: two scales of scales, 8 scales and minima of 6 bits each, 128 bytes.

  Each 32 bytes hold two groups.
  """
  scale_of_scales, scale_of_minima = halves(block[:4])
  q = block[16:]
  out = []
  for group in range(8):
    scale, minimum = packed_scales(block[4:16], group)
    first = group // 2 * 32
    for x in q[first : first + 32]:
      value = int(x) >> 4 if group % 2 else int(x) & 15
      scaled = scale_of_scales * np.float32(scale) * np.float32(value)
      out.append(scaled - scale_of_minima * np.float32(minimum))
  return out


def q6_k(block):
  """256 values of 6 bits: 128 bytes of low 4 bits, 64 of high 2 bits, 16 scales, their scale.

  Each half of 128 values has four runs of 32, which share their bytes.
  """
  low, high = block[:128], block[128:192]
  scales = block[192:208].view(np.int8)
  scale_of_scales = halves(block[208:])[0]
  out = []
  for n in range(256):
    half, run, k = n // 128, n % 128 // 32, n % 32
    low_shift = 4 if run >= 2 else 0
    low_bits = int(low[half * 64 + run % 2 * 32 + k]) >> low_shift & 15
    high_bits = int(high[half * 32 + k]) >> 2 * run & 3
    value = np.float32((low_bits | high_bits << 4) - 32)
    out.append(scale_of_scales * np.float32(scales[n // 16]) * value)
  return out


# Type -> bytes of a block, and the function that reads one.
BLOCKS = {
  'Q4_0': (18, q4_0),
  'Q4_1': (20, q4_1),
  'Q5_0': (22, q5_0),
  'Q5_1': (24, q5_1),
  'Q8_0': (34, q8_0),
  'Q4_K': (144, q4_k),
  'Q5_K': (176, q5_k),
  'Q6_K': (210, q6_k),
}


def dequantise(raw, kind):
  """The values of stored rows, (rows, bytes) uint8 for quantised types, in fp32."""
  if kind == 'BF16':
    return (raw.view('<u2').astype(np.uint32) << 16).view(np.float32)
  if kind in ('F32', 'F16'):
    return raw.astype(np.float32)
  size, read = BLOCKS[kind]
  rows = []
  for row in raw:
    values = []
    for start in range(0, len(row), size):
      values += read(row[start : start + size])
    rows.append(values)
  return np.array(rows, np.float32)


def quantise(w, kind, rng):
  """Rows of a type, as the library quantises them.

  The library only reads Q4_K, Q5_K and Q6_K. Their blocks are drawn at random, with scales that
  make values as large as weights.
  """
  if kind == 'F32':
    return w
  if kind == 'F16':
    return w.astype(np.float16)
  if not kind.endswith('_K'):
    return gguf.quantize(w, QUANTS[kind])
  size = BLOCKS[kind][0]
  rows, blocks = w.shape[0], w.shape[1] // 256
  raw = rng.integers(0, 256, (rows, blocks, size), np.uint8)
  # Where the fp16 scales of scales are.
  scales = slice(208, 210) if kind == 'Q6_K' else slice(0, 4)
  n_scales = (scales.stop - scales.start) // 2
  drawn = rng.uniform(2e-5, 4e-5, (rows, blocks, n_scales)).astype('<f2')
  raw[..., scales] = drawn.view(np.uint8).reshape(rows, blocks, -1)
  return raw.reshape(rows, -1)


# ---- files

CORPUS = (
  "The quick brown fox can't jump over 13 lazy dogs; they're asleep in 2024. "
  'Öl kostet 3,50 € — naïve cafés, übermäßig.\n'
  'def f(x):\n    return [x ** 2 for x in range(10)]  # squares\n\n\n'
  '日本語のテキスト and emoji 🎉🎉.   Three spaces, a\ttab.\r\n'
) * 4

# Texts on which tokenizers differ.
TEXTS = [
  'The quick brown fox',
  ' leading space',
  'two  spaces,   three',
  'trailing ',
  "can't they're I'LL we'd",
  'x = 12345 + 6.78e-9',
  '2024-11-25',
  'def f(x):\n    return x ** 2\n\n\tif y: pass',
  'naïve cafés — übermäßig €3,50',
  '日本語のテキスト',
  '🎉 emoji 👩‍👩‍👧 zwj',
  '\n\n\nnew lines\r\n',
  '',
  ' ',
  '\t',
  'a\u00a0nbsp',
  'mixed日本1語2',
  '½ ² ٣ Ⅳ',
  '(!?)...[]{}<>',
  'Ａｆ',
  '\u2581 real',
  '<|im_start|> is text',
  '<s> too </s>',
]

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
# How text is cut before bytes are merged; DIGITS stands for the part in which the models differ.
SPLIT = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
DIGITS = {'qwen2': r'\p{N}', 'llama-bpe': r'\p{N}{1,3}'}
MARKS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
CHATML = (
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
  "+ '<|im_end|>' + '\n' }}{% endfor %}"
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(pre):
  """A trained tokenizer as the models' own tokenizer.json files have it."""
  made = Tokenizer(models.BPE())
  whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
  if pre == 'smollm':
    made.pre_tokenizer = pre_tokenizers.Sequence(
      [pre_tokenizers.Digits(individual_digits=True), whole]
    )
  elif pre in DIGITS:
    split = Regex(SPLIT.replace('DIGITS', DIGITS[pre]))
    made.pre_tokenizer = pre_tokenizers.Sequence(
      [pre_tokenizers.Split(split, 'isolated'), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
  else:
    made.pre_tokenizer = whole
  if pre == 'qwen2':
    made.normalizer = normalizers.NFC()
  made.decoder = decoders.ByteLevel()
  made.train_from_iterator(
    [CORPUS],
    trainers.BpeTrainer(
      vocab_size=400, special_tokens=MARKS, initial_alphabet=BYTES, show_progress=False
    ),
  )
  return made


def byte_level_metadata(made, pre):
  """The metadata that llama.cpp's converter writes for such a tokenizer."""
  state = json.loads(made.to_str())['model']
  tokens = sorted(state['vocab'], key=state['vocab'].get)
  return {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': pre,
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': [3 if t in MARKS else 1 for t in tokens],
    'tokenizer.ggml.merges': [' '.join(m) for m in state['merges']],
    'tokenizer.ggml.bos_token_id': np.uint32(1),
    'tokenizer.ggml.eos_token_id': np.uint32(2),
    'tokenizer.ggml.unknown_token_id': np.uint32(0),
    'tokenizer.ggml.padding_token_id': np.uint32(2),
    'tokenizer.ggml.add_bos_token': False,
    'tokenizer.chat_template': CHATML,
  }


# Sizes that transformers' loader takes for granted where it reads none: heads of 128 in Qwen 3, of
# 256 in Gemma 3.
SHAPES = {
  'llama': dict(layers=2, d=256, ff=256, heads=4, kv=2, k=64),
  'qwen2': dict(layers=2, d=256, ff=256, heads=4, kv=2, k=64),
  'qwen3': dict(layers=2, d=256, ff=256, heads=2, kv=1, k=128),
  'gemma3': dict(layers=6, d=256, ff=256, heads=2, kv=1, k=256),
}


def shape_metadata(arch, shape, n_tokens):
  """The metadata of a model's sizes."""
  metadata = {
    'general.architecture': arch,
    'general.type': 'model',
    'general.name': 'Tiny',
    f'{arch}.block_count': np.uint32(shape['layers']),
    f'{arch}.context_length': np.uint32(512),
    f'{arch}.embedding_length': np.uint32(shape['d']),
    f'{arch}.feed_forward_length': np.uint32(shape['ff']),
    f'{arch}.attention.head_count': np.uint32(shape['heads']),
    f'{arch}.attention.head_count_kv': np.uint32(shape['kv']),
    f'{arch}.attention.layer_norm_rms_epsilon': np.float32(1e-6),
    f'{arch}.rope.freq_base': np.float32(50_000),
    f'{arch}.attention.key_length': np.uint32(shape['k']),
    f'{arch}.attention.value_length': np.uint32(shape['k']),
    f'{arch}.vocab_size': np.uint32(n_tokens),
  }
  if arch == 'llama':
    metadata['llama.rope.dimension_count'] = np.uint32(shape['k'])
  if arch == 'gemma3':
    metadata['gemma3.attention.sliding_window'] = np.uint32(6)
  return metadata


def stored_tensors(arch, shape, n_tokens, tied):
  """Everything that an architecture has: name in a file -> (name in Hugging Face, shape)."""
  D, F = shape['d'], shape['ff']
  Q, KV = shape['heads'] * shape['k'], shape['kv'] * shape['k']
  names = {
    'token_embd.weight': ('model.embed_tokens.weight', (n_tokens, D)),
    'output_norm.weight': ('model.norm.weight', (D,)),
  }
  if not tied:
    names['output.weight'] = 'lm_head.weight', (n_tokens, D)
  ffn_norm = 'pre_feedforward' if arch == 'gemma3' else 'post_attention'
  of_layer = {
    'attn_norm.weight': ('input_layernorm.weight', (D,)),
    'attn_q.weight': ('self_attn.q_proj.weight', (Q, D)),
    'attn_k.weight': ('self_attn.k_proj.weight', (KV, D)),
    'attn_v.weight': ('self_attn.v_proj.weight', (KV, D)),
    'attn_output.weight': ('self_attn.o_proj.weight', (D, Q)),
    'ffn_gate.weight': ('mlp.gate_proj.weight', (F, D)),
    'ffn_up.weight': ('mlp.up_proj.weight', (F, D)),
    'ffn_down.weight': ('mlp.down_proj.weight', (D, F)),
    'ffn_norm.weight': (f'{ffn_norm}_layernorm.weight', (D,)),
  }
  if arch == 'qwen2':
    for part, size in (('q', Q), ('k', KV), ('v', KV)):
      of_layer[f'attn_{part}.bias'] = f'self_attn.{part}_proj.bias', (size,)
  if arch in ('qwen3', 'gemma3'):
    for part in ('q', 'k'):
      of_layer[f'attn_{part}_norm.weight'] = f'self_attn.{part}_norm.weight', (shape['k'],)
  if arch == 'gemma3':
    of_layer['post_attention_norm.weight'] = 'post_attention_layernorm.weight', (D,)
    of_layer['post_ffw_norm.weight'] = 'post_feedforward_layernorm.weight', (D,)
  for layer in range(shape['layers']):
    for ours, (theirs, size) in of_layer.items():
      names[f'blk.{layer}.{ours}'] = f'model.layers.{layer}.{theirs}', size
  return names


def pair_up(w, heads):
  """Lays what is rotated together side by side, as llama.cpp's converter does for Llama."""
  k = w.shape[0] // heads
  return w.reshape(heads, 2, k // 2, -1).swapaxes(1, 2).reshape(w.shape)


def pair_apart(w, heads):
  """Undoes `pair_up`, in another way than the importer does."""
  w_HKD = w.reshape(heads, -1, w.shape[-1])
  return np.stack([w_HKD[:, 0::2], w_HKD[:, 1::2]], 1).reshape(w.shape)


def random_weight(name, size, is_norm, arch, rng):
  """A random tensor whose every number shows in the logits; norms are around 1, or 0 in Gemma."""
  scale = 1.0 if 'embd' in name else size[-1] ** -0.5
  w = rng.normal(0, scale, size).astype(np.float32)
  if len(size) == 1:
    centre = float(is_norm and arch != 'gemma3')
    w = (0.3 * w * size[-1] ** 0.5 + centre).astype(np.float32)
  return w


def write_gguf(
  path,
  arch,
  vocabulary,
  kinds=('F32',),
  tied=True,
  seed=0,
  more=None,
  drop=(),
  tensors=None,
  without='',
  shape=None,
):
  """Writes a small random model to a file.

  Args:
    path: the file.
    arch: a key of SHAPES.
    vocabulary: the metadata of the tokenizer.
    kinds: the types of the matrices, which take turns.
    tied: whether the embedding is the output matrix.
    seed: of the random numbers.
    more: metadata to add or change.
    drop: keys of metadata to leave out.
    tensors: tensors to add: name -> array, or a type.
    without: a tensor to leave out.
    shape: sizes that differ from SHAPES.

  Returns:
    The model's tensors by the names of Hugging Face, as the file's bytes have them, in fp32.
  """
  rng = np.random.default_rng(seed)
  shape = SHAPES[arch] | (shape or {})
  n_tokens = len(vocabulary['tokenizer.ggml.tokens'])
  writer = gguf.GGUFWriter(path, arch)
  # The architecture comes with the rest of the metadata, so that a test can change it.
  del writer.kv_data[0]['general.architecture']
  metadata = shape_metadata(arch, shape, n_tokens) | vocabulary | (more or {})
  add_by_type = {
    str: writer.add_string,
    bool: writer.add_bool,
    np.uint32: writer.add_uint32,
    np.float32: writer.add_float32,
    np.float64: writer.add_float64,
    np.int32: writer.add_int32,
    list: writer.add_array,
  }
  for key, value in metadata.items():
    if key not in drop and value is not None:
      add_by_type[type(value)](key, value)

  truth = {}
  n_permuted = {'attn_q': shape['heads'], 'attn_k': shape['kv']}
  stored = stored_tensors(arch, shape, n_tokens, tied)
  for n, (name, (theirs, size)) in enumerate(stored.items()):
    if name == without:
      continue
    is_matrix = len(size) > 1
    is_norm = name.endswith('norm.weight')
    w = random_weight(name, size, is_norm, arch, rng)
    kind = kinds[n % len(kinds)] if is_matrix else 'F32'
    heads = None
    if arch == 'llama' and is_matrix:
      heads = n_permuted.get(name.split('.')[-2])
    # What the converter does to a model's own tensors ...
    if heads:
      w = pair_up(w, heads)
    if arch == 'gemma3' and is_norm:
      w = w + np.float32(1)
    raw = quantise(w, kind, rng)
    writer.add_tensor(name, raw, raw_dtype=QUANTS[kind])
    # ... and has to be undone.
    w = dequantise(raw, kind)
    if heads:
      w = pair_apart(w, heads)
    if arch == 'gemma3' and is_norm:
      w = w - np.float32(1)
    truth[theirs] = w

  for name, x in (tensors or {}).items():
    if isinstance(x, str):
      raw = gguf.quantize(np.ones((1, 32), np.float32), QUANTS[x])
      writer.add_tensor(name, raw, raw_dtype=QUANTS[x])
    else:
      writer.add_tensor(name, x, raw_dtype=None)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return truth
