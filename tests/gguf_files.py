"""Small random GGUF files of every type and architecture, and what their bytes say, read a second time from the layout of each block."""

import json

import gguf
import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QUANTS = gguf.GGMLQuantizationType

# ---- dequantisation, written down from the layout of each block


def halves(raw):
  return np.frombuffer(bytes(raw), '<f2').astype(np.float32)


def q4_0(b):  # d, then 16 bytes: the low halves are the first 16 values
  d, q = halves(b[:2])[0], b[2:]
  return [d * (np.float32(x) - 8) for x in (*(q & 15), *(q >> 4))]


def q4_1(b):  # d, m
  (d, m), q = halves(b[:4]), b[4:]
  return [d * np.float32(x) + m for x in (*(q & 15), *(q >> 4))]


def q8_0(b):
  return [halves(b[:2])[0] * np.float32(x) for x in b[2:].view(np.int8)]


def q4_k(b):
  """256 values: d, dmin, eight scales and minima of 6 bits in 12 bytes, then 128 bytes, each 32 of which hold two groups of 32 values."""
  (d, dmin), packed, q = halves(b[:4]), [int(x) for x in b[4:16]], b[16:]
  out = []
  for g in range(8):
    if g < 4:
      scale, least = packed[g] & 63, packed[g + 4] & 63
    else:
      scale, least = (
        (packed[g + 4] & 15) | (packed[g - 4] >> 6 << 4),
        (packed[g + 4] >> 4) | (packed[g] >> 6 << 4),
      )
    for x in q[g // 2 * 32 : g // 2 * 32 + 32]:
      out.append(
        d * np.float32(scale) * np.float32(int(x) >> 4 if g % 2 else int(x) & 15)
        - dmin * np.float32(least)
      )
  return out


def q6_k(b):
  """256 values: 128 bytes of low halves, 64 of high pairs, 16 scales, d; in each half of 128, four runs of 32."""
  low, high, scales, d = b[:128], b[128:192], b[192:208].view(np.int8), halves(b[208:])[0]
  out = []
  for n in range(256):
    half, run, k = n // 128, n % 128 // 32, n % 32
    four = int(low[half * 64 + run % 2 * 32 + k]) >> (4 if run >= 2 else 0) & 15
    two = int(high[half * 32 + k]) >> 2 * run & 3
    out.append(d * np.float32(scales[n // 16]) * np.float32((four | two << 4) - 32))
  return out


BLOCKS = {
  'Q4_0': (18, q4_0),
  'Q4_1': (20, q4_1),
  'Q8_0': (34, q8_0),
  'Q4_K': (144, q4_k),
  'Q6_K': (210, q6_k),
}


def dequantise(raw, kind):
  if kind == 'BF16':
    return (raw.view('<u2').astype(np.uint32) << 16).view(np.float32)
  if kind in ('F32', 'F16'):
    return raw.astype(np.float32)
  size, read = BLOCKS[kind]
  return np.array(
    [[x for k in range(0, len(row), size) for x in read(row[k : k + size])] for row in raw],
    np.float32,
  )


def quantise(w, kind, rng):
  """As the library does it; blocks of the kinds that it only reads are drawn at random, with scales that make values like weights."""
  if kind == 'F32':
    return w
  if kind == 'F16':
    return w.astype(np.float16)
  if kind not in ('Q4_K', 'Q6_K'):
    return gguf.quantize(w, QUANTS[kind])
  size, scales = BLOCKS[kind][0], (slice(0, 4) if kind == 'Q4_K' else slice(208, 210))
  raw = rng.integers(0, 256, (w.shape[0], w.shape[1] // 256, size), np.uint8)
  raw[..., scales] = (
    rng.uniform(2e-5, 4e-5, (*raw.shape[:2], (scales.stop - scales.start) // 2))
    .astype('<f2')
    .view(np.uint8)
    .reshape(*raw.shape[:2], -1)
  )
  return raw.reshape(w.shape[0], -1)


# ---- files

CORPUS = (
  "The quick brown fox can't jump over 13 lazy dogs; they're asleep in 2024. Öl kostet 3,50 € — naïve cafés, übermäßig.\n"
  'def f(x):\n    return [x ** 2 for x in range(10)]  # squares\n\n\n日本語のテキスト and emoji 🎉🎉.   Three spaces, a\ttab.\r\n'
) * 4
TEXTS = [
  'The quick brown fox', ' leading space', 'two  spaces,   three', 'trailing ', "can't they're I'LL we'd", 'x = 12345 + 6.78e-9', '2024-11-25',
  'def f(x):\n    return x ** 2\n\n\tif y: pass', 'naïve cafés — übermäßig €3,50', '日本語のテキスト', '🎉 emoji 👩‍👩‍👧 zwj',
  '\n\n\nnew lines\r\n', '', ' ', '\t',
  'a\u00a0nbsp', 'mixed日本1語2', '½ ² ٣ Ⅳ', '(!?)...[]{}<>', 'Ａｆ', '\u2581 real', '<|im_start|> is text', '<s> too </s>',
]  # fmt: skip
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
MARKS = ['<|endoftext|>', '<|im_start|>', '<|im_end|>']
CHATML = (
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
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
  elif pre in ('qwen2', 'llama-bpe'):
    split = Regex(SPLIT.replace('DIGITS', {'qwen2': r'\p{N}', 'llama-bpe': r'\p{N}{1,3}'}[pre]))
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
  state = json.loads(made.to_str())['model']
  tokens = sorted(state['vocab'], key=state['vocab'].get)
  return {
    'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': pre, 'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': [3 if t in MARKS else 1 for t in tokens],
    'tokenizer.ggml.merges': [' '.join(m) for m in state['merges']],
    'tokenizer.ggml.bos_token_id': np.uint32(1), 'tokenizer.ggml.eos_token_id': np.uint32(2), 'tokenizer.ggml.unknown_token_id': np.uint32(0),
    'tokenizer.ggml.padding_token_id': np.uint32(2), 'tokenizer.ggml.add_bos_token': False, 'tokenizer.chat_template': CHATML,
  }  # fmt: skip


# Sizes that transformers' loader takes for granted where it reads none: heads of 128 in Qwen 3, of 256 in Gemma 3.
SHAPES = {
  'llama': dict(layers=2, d=256, ff=256, heads=4, kv=2, k=64),
  'qwen2': dict(layers=2, d=256, ff=256, heads=4, kv=2, k=64),
  'qwen3': dict(layers=2, d=256, ff=256, heads=2, kv=1, k=128),
  'gemma3': dict(layers=6, d=256, ff=256, heads=2, kv=1, k=256),
}


def shape_metadata(arch, s, tokens):
  u = np.uint32
  m = {
    'general.architecture': arch, 'general.type': 'model', 'general.name': 'Tiny',
    f'{arch}.block_count': u(s['layers']), f'{arch}.context_length': u(512),
    f'{arch}.embedding_length': u(s['d']), f'{arch}.feed_forward_length': u(s['ff']), f'{arch}.attention.head_count': u(s['heads']),
    f'{arch}.attention.head_count_kv': u(s['kv']), f'{arch}.attention.layer_norm_rms_epsilon': np.float32(1e-6),
    f'{arch}.rope.freq_base': np.float32(50_000),
    f'{arch}.attention.key_length': u(s['k']), f'{arch}.attention.value_length': u(s['k']), f'{arch}.vocab_size': u(tokens),
  }  # fmt: skip
  if arch == 'llama':
    m['llama.rope.dimension_count'] = u(s['k'])
  if arch == 'gemma3':
    m['gemma3.attention.sliding_window'] = u(6)
  return m


def stored_tensors(arch, s, tokens, tied):
  """name in a file -> (name in Hugging Face, shape), of everything that an architecture has."""
  D, F, Q, KV = s['d'], s['ff'], s['heads'] * s['k'], s['kv'] * s['k']
  names = {
    'token_embd.weight': ('model.embed_tokens.weight', (tokens, D)),
    'output_norm.weight': ('model.norm.weight', (D,)),
  }
  if not tied:
    names['output.weight'] = 'lm_head.weight', (tokens, D)
  for i in range(s['layers']):
    of_layer = {
      'attn_norm.weight': ('input_layernorm.weight', (D,)), 'attn_q.weight': ('self_attn.q_proj.weight', (Q, D)),
      'attn_k.weight': ('self_attn.k_proj.weight', (KV, D)), 'attn_v.weight': ('self_attn.v_proj.weight', (KV, D)),
      'attn_output.weight': ('self_attn.o_proj.weight', (D, Q)), 'ffn_gate.weight': ('mlp.gate_proj.weight', (F, D)),
      'ffn_up.weight': ('mlp.up_proj.weight', (F, D)), 'ffn_down.weight': ('mlp.down_proj.weight', (D, F)),
      'ffn_norm.weight': (('pre_feedforward' if arch == 'gemma3' else 'post_attention') + '_layernorm.weight', (D,)),
    }  # fmt: skip
    if arch == 'qwen2':
      of_layer |= {
        f'attn_{x}.bias': (f'self_attn.{x}_proj.bias', (n,))
        for x, n in (('q', Q), ('k', KV), ('v', KV))
      }
    if arch in ('qwen3', 'gemma3'):
      of_layer |= {f'attn_{x}_norm.weight': (f'self_attn.{x}_norm.weight', (s['k'],)) for x in 'qk'}
    if arch == 'gemma3':
      of_layer['post_attention_norm.weight'] = 'post_attention_layernorm.weight', (D,)
      of_layer['post_ffw_norm.weight'] = 'post_feedforward_layernorm.weight', (D,)
    names |= {
      f'blk.{i}.{ours}': (f'model.layers.{i}.{theirs}', shape)
      for ours, (theirs, shape) in of_layer.items()
    }
  return names


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
  """A small random model in a file. Returns its tensors by the names of Hugging Face, as its bytes have them."""
  rng = np.random.default_rng(seed)
  s = SHAPES[arch] | (shape or {})
  n = len(vocabulary['tokenizer.ggml.tokens'])
  writer = gguf.GGUFWriter(path, arch)
  del writer.kv_data[0]['general.architecture']
  metadata = {
    k: v
    for k, v in (shape_metadata(arch, s, n) | vocabulary | (more or {})).items()
    if k not in drop and v is not None
  }
  add = {
    str: writer.add_string,
    bool: writer.add_bool,
    np.uint32: writer.add_uint32,
    np.float32: writer.add_float32,
    list: writer.add_array,
  }
  for key, value in metadata.items():
    add[type(value)](key, value)
  truth = {}
  for j, (name, (theirs, of)) in enumerate(stored_tensors(arch, s, n, tied).items()):
    if name == without:
      continue
    w = rng.normal(0, 1.0 if 'embd' in name else of[-1] ** -0.5, of).astype(np.float32)
    if len(of) == 1:
      w = (0.3 * w * of[-1] ** 0.5 + (name.endswith('norm.weight') and arch != 'gemma3')).astype(
        np.float32
      )
    kind = kinds[j % len(kinds)] if len(of) > 1 else 'F32'
    heads = (
      {'attn_q': s['heads'], 'attn_k': s['kv']}.get(name.split('.')[-2])
      if arch == 'llama' and len(of) > 1
      else None
    )
    if heads:  # as the converter lays rotary pairs side by side
      w = w.reshape(heads, 2, s['k'] // 2, -1).swapaxes(1, 2).reshape(of)
    if arch == 'gemma3' and name.endswith('norm.weight'):
      w = w + np.float32(1)
    raw = quantise(w, kind, rng)
    writer.add_tensor(name, raw, raw_dtype=QUANTS[kind])
    w = dequantise(raw, kind)
    if heads:
      w = np.stack([w.reshape(heads, -1, of[-1])[:, k::2] for k in (0, 1)], 1).reshape(of)
    truth[theirs] = w - np.float32(1) if arch == 'gemma3' and name.endswith('norm.weight') else w
  for name, x in (tensors or {}).items():
    writer.add_tensor(
      name,
      gguf.quantize(np.ones((1, 32), np.float32), QUANTS[x]) if isinstance(x, str) else x,
      raw_dtype=QUANTS[x] if isinstance(x, str) else None,
    )
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return truth
