"""GGUF files in: every type and architecture, made here, against a dequantisation written down a second time and against transformers' own loader.

MSM_JAX_SMOLLM2=1 adds the real model (python -m msm_jax.zoo fetch smollm2-135m): text, perplexity, answers and chats as transformers has them.
"""

import json
import math
import os
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

gguf = pytest.importorskip('gguf')
tokenizers = pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models

from msm_jax import model as models
from msm_jax import sharding, train, zoo
from msm_jax.config import OptimizerConfig, RopeScaling
from msm_jax.interop import WeightsError, huggingface
from msm_jax.interop import gguf as ours
from msm_jax.tokenizer import HuggingFaceTokenizer

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
      scale, least = (packed[g + 4] & 15) | (packed[g - 4] >> 6 << 4), (packed[g + 4] >> 4) | (packed[g] >> 6 << 4)
    for x in q[g // 2 * 32 : g // 2 * 32 + 32]:
      out.append(d * np.float32(scale) * np.float32(int(x) >> 4 if g % 2 else int(x) & 15) - dmin * np.float32(least))
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


BLOCKS = {'Q4_0': (18, q4_0), 'Q4_1': (20, q4_1), 'Q8_0': (34, q8_0), 'Q4_K': (144, q4_k), 'Q6_K': (210, q6_k)}


def dequantise(raw, kind):
  if kind == 'BF16':
    return (raw.view('<u2').astype(np.uint32) << 16).view(np.float32)
  if kind in ('F32', 'F16'):
    return raw.astype(np.float32)
  size, read = BLOCKS[kind]
  return np.array([[x for k in range(0, len(row), size) for x in read(row[k : k + size])] for row in raw], np.float32)


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
  raw[..., scales] = rng.uniform(2e-5, 4e-5, (*raw.shape[:2], (scales.stop - scales.start) // 2)).astype('<f2').view(np.uint8).reshape(*raw.shape[:2], -1)
  return raw.reshape(w.shape[0], -1)


# ---- files

CORPUS = (
  "The quick brown fox can't jump over 13 lazy dogs; they're asleep in 2024. Öl kostet 3,50 € — naïve cafés, übermäßig.\n"
  'def f(x):\n    return [x ** 2 for x in range(10)]  # squares\n\n\n日本語のテキスト and emoji 🎉🎉.   Three spaces, a\ttab.\r\n'
) * 4
TEXTS = [
  'The quick brown fox', ' leading space', 'two  spaces,   three', 'trailing ', "can't they're I'LL we'd", 'x = 12345 + 6.78e-9', '2024-11-25',
  'def f(x):\n    return x ** 2\n\n\tif y: pass', 'naïve cafés — übermäßig €3,50', '日本語のテキスト', '🎉 emoji 👩‍👩‍👧 zwj', '\n\n\nnew lines\r\n', '', ' ', '\t',
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
  made = Tokenizer(tokenizer_models.BPE())
  whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
  if pre == 'smollm':
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
  elif pre in ('qwen2', 'llama-bpe'):
    split = Regex(SPLIT.replace('DIGITS', {'qwen2': r'\p{N}', 'llama-bpe': r'\p{N}{1,3}'}[pre]))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(split, 'isolated'), pre_tokenizers.ByteLevel(False, use_regex=False)])
  else:
    made.pre_tokenizer = whole
  if pre == 'qwen2':
    made.normalizer = normalizers.NFC()
  made.decoder = decoders.ByteLevel()
  made.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=400, special_tokens=MARKS, initial_alphabet=BYTES, show_progress=False))
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


@pytest.fixture(scope='module')
def vocabulary():
  return byte_level_metadata(byte_level('smollm'), 'smollm')


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
    'general.architecture': arch, 'general.type': 'model', 'general.name': 'Tiny', f'{arch}.block_count': u(s['layers']), f'{arch}.context_length': u(512),
    f'{arch}.embedding_length': u(s['d']), f'{arch}.feed_forward_length': u(s['ff']), f'{arch}.attention.head_count': u(s['heads']),
    f'{arch}.attention.head_count_kv': u(s['kv']), f'{arch}.attention.layer_norm_rms_epsilon': np.float32(1e-6), f'{arch}.rope.freq_base': np.float32(50_000),
    f'{arch}.attention.key_length': u(s['k']), f'{arch}.attention.value_length': u(s['k']), f'{arch}.vocab_size': u(tokens),
  }  # fmt: skip
  if arch == 'llama':
    m['llama.rope.dimension_count'] = u(s['k'])
  if arch == 'gemma3':
    m['gemma3.attention.sliding_window'] = u(6)
  return m


def stored_tensors(arch, s, tokens, tied, rng):
  """name in a file -> (name in Hugging Face, shape), of everything that an architecture has."""
  D, F, Q, KV = s['d'], s['ff'], s['heads'] * s['k'], s['kv'] * s['k']
  names = {'token_embd.weight': ('model.embed_tokens.weight', (tokens, D)), 'output_norm.weight': ('model.norm.weight', (D,))}
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
      of_layer |= {f'attn_{x}.bias': (f'self_attn.{x}_proj.bias', (n,)) for x, n in (('q', Q), ('k', KV), ('v', KV))}
    if arch in ('qwen3', 'gemma3'):
      of_layer |= {f'attn_{x}_norm.weight': (f'self_attn.{x}_norm.weight', (s['k'],)) for x in 'qk'}
    if arch == 'gemma3':
      of_layer['post_attention_norm.weight'] = 'post_attention_layernorm.weight', (D,)
      of_layer['post_ffw_norm.weight'] = 'post_feedforward_layernorm.weight', (D,)
    names |= {f'blk.{i}.{ours}': (f'model.layers.{i}.{theirs}', shape) for ours, (theirs, shape) in of_layer.items()}
  return names


def write_gguf(path, arch, vocabulary, kinds=('F32',), tied=True, seed=0, more=None, drop=(), tensors=None, shape=None):
  """A small random model in a file. Returns its tensors by the names of Hugging Face, as its bytes have them."""
  rng = np.random.default_rng(seed)
  s = SHAPES[arch] | (shape or {})
  n = len(vocabulary['tokenizer.ggml.tokens'])
  writer = gguf.GGUFWriter(path, arch)
  del writer.kv_data[0]['general.architecture']
  metadata = {k: v for k, v in (shape_metadata(arch, s, n) | vocabulary | (more or {})).items() if k not in drop and v is not None}
  add = {str: writer.add_string, bool: writer.add_bool, np.uint32: writer.add_uint32, np.float32: writer.add_float32, list: writer.add_array}
  for key, value in metadata.items():
    add[type(value)](key, value)
  truth = {}
  for j, (name, (theirs, of)) in enumerate(stored_tensors(arch, s, n, tied, rng).items()):
    w = rng.normal(0, 1.0 if 'embd' in name else of[-1] ** -0.5, of).astype(np.float32)
    if len(of) == 1:
      w = (0.3 * w * of[-1] ** 0.5 + (name.endswith('norm.weight') and arch != 'gemma3')).astype(np.float32)
    kind = kinds[j % len(kinds)] if len(of) > 1 else 'F32'
    heads = {'attn_q': s['heads'], 'attn_k': s['kv']}.get(name.split('.')[-2]) if arch == 'llama' and len(of) > 1 else None
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
    writer.add_tensor(name, x)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return truth


def read_folder(folder):
  files = huggingface.TensorFiles(folder)
  return {n: files.read(n, (slice(None),) * len(files.shape(n))) for n in files.files}


def imported(folder):
  c = huggingface.read_config(folder)
  files = huggingface.TensorFiles(folder)
  huggingface.check_tensors(files, c)
  like = train.prepare(c, OptimizerConfig(), 0, sharding.make_mesh(devices=jax.devices()[:1])).like.params
  return c, huggingface.load_params(files, c, like)


def our_logits(c, params, ids):
  tokens = jnp.asarray(ids)[None]
  positions = jnp.arange(len(ids))[None]
  return np.asarray(jax.jit(lambda p: models.logits(c, p, models.forward(c, p, tokens, positions, jnp.ones_like(tokens))))(params))[0]


# ---- weights


@pytest.mark.parametrize('kind', ours.TYPES)
def test_types_are_dequantised_to_the_bit(tmp_path, vocabulary, kind):
  """Against a second reading of each block's layout; the embedding and one layer of Llama, rotary pairs put back, in that type."""
  truth = write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, (kind,), shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found = load_file(tmp_path / 'm' / 'model.safetensors')
  assert found.keys() == truth.keys()
  for name, w in truth.items():
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], w, err_msg=name)
    assert 0.005 < found[name].std() < 2, 'a test of zeros shows nothing'


@pytest.mark.parametrize('arch', ours.ARCHITECTURES)
def test_architectures_equal_transformers(tmp_path, vocabulary, arch):
  """The same tensors to the bit as transformers' own loader of GGUF, from a file of mixed types; the same logits through this model; and a folder
  that transformers reads to the same model."""
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  pytest.importorskip('accelerate')
  truth = write_gguf(tmp_path / 'm.gguf', arch, vocabulary, ('Q8_0', 'Q4_K', 'F16', 'Q4_1', 'Q6_K', 'BF16', 'Q4_0', 'F32'), tied=arch in ('gemma3', 'qwen3'))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file='m.gguf', dtype=torch.float32).eval()
  again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'm', dtype=torch.float32).eval()
  found = read_folder(tmp_path / 'm')
  for name, w in truth.items():
    np.testing.assert_array_equal(found[name], theirs.state_dict()[name].numpy(), err_msg=name)
    np.testing.assert_array_equal(found[name], again.state_dict()[name].numpy(), err_msg=name)
    np.testing.assert_allclose(found[name], w, rtol=1e-6, atol=1e-6, err_msg=name)
  ids = np.random.default_rng(1).integers(3, 400, 40)
  with torch.no_grad():
    wanted, reread = (m(torch.tensor(ids)[None]).logits[0].numpy() for m in (theirs, again))
  c, params = imported(tmp_path / 'm')
  logits = our_logits(c, params, ids)
  assert logits.std() > 0.1
  np.testing.assert_allclose(logits, wanted, atol=1e-4)
  np.testing.assert_allclose(reread, wanted, atol=1e-4)
  assert c.max_length == 512 and c.rope_theta == 50_000 and c.norm_eps == 1e-6
  if arch == 'gemma3':
    assert c.local_layers == (True,) * 5 + (False,) and c.local_window == 6


def llama3_factors(k, base, factor, original=8192, low=1.0, high=4.0):
  """As Llama 3.1's own code states it."""
  out = []
  for j in range(0, k, 2):
    wavelength = 2 * math.pi * base ** (j / k)
    if wavelength < original / high:
      out.append(1.0)
    elif wavelength > original / low:
      out.append(factor)
    else:
      smooth = (original / wavelength - low) / (high - low)
      out.append(1 / ((1 - smooth) / factor + smooth))
  return np.array(out, np.float32)


def test_stretched_positions(tmp_path, vocabulary):
  """Llama 3's, which a file keeps as a tensor of factors, and linear ones (of Gemma 3's far layers); transformers' loader drops both."""
  factors = llama3_factors(64, 50_000, 32.0)
  assert len(set(factors)) > 3
  write_gguf(tmp_path / 'a.gguf', 'llama', vocabulary, tensors={'rope_freqs.weight': factors})
  ours.convert(tmp_path / 'a.gguf', tmp_path / 'a')
  assert huggingface.read_config(tmp_path / 'a').rope_scaling == RopeScaling('llama3', 32.0, 1.0, 4.0, 8192)
  write_gguf(tmp_path / 'b.gguf', 'llama', vocabulary, tensors={'rope_freqs.weight': factors * np.linspace(1, 1.01, 32, dtype=np.float32)})
  with pytest.raises(WeightsError, match='otherwise than Llama 3'):
    ours.convert(tmp_path / 'b.gguf', tmp_path / 'b')
  more = {'gemma3.rope.scaling.type': 'linear', 'gemma3.rope.scaling.factor': np.float32(8)}
  write_gguf(tmp_path / 'c.gguf', 'gemma3', vocabulary, more=more)
  ours.convert(tmp_path / 'c.gguf', tmp_path / 'c')
  c = huggingface.read_config(tmp_path / 'c')
  assert c.rope_scaling == RopeScaling('linear', 8.0) and c.local_theta == 10_000


def test_files_of_a_size_and_memory_of_one(tmp_path, vocabulary):
  truth = write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('F16',), shape=dict(layers=12))
  tracemalloc.start()
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm', shard_bytes=2 << 20)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  files = sorted((tmp_path / 'm').glob('*.safetensors'))
  total = sum(f.stat().st_size for f in files)
  assert len(files) > 5 and max(f.stat().st_size for f in files) < (2 << 20) + 10_000 and {f.stat().st_mode & 0o777 for f in files} == {0o644}
  assert peak < 6 << 20 < total, f'{peak} bytes for {total}'
  found = read_folder(tmp_path / 'm')
  for name, w in truth.items():
    np.testing.assert_array_equal(found[name], w, err_msg=name)


# ---- tokenizers


def their_tokenizer(folder, file):
  return pytest.importorskip('transformers').AutoTokenizer.from_pretrained(folder, gguf_file=file)


@pytest.mark.parametrize('pre', ours.SPLITS)
def test_byte_level_tokenizers(tmp_path, pre):
  """Ids of the tokenizer that the file was made of, and of transformers' loader where that splits as the models do."""
  made = byte_level(pre)
  write_gguf(tmp_path / 'm.gguf', 'llama', byte_level_metadata(made, pre), shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found = HuggingFaceTokenizer(tmp_path / 'm')
  made.encode_special_tokens = True
  for text in TEXTS:
    ids = found.encode(text)
    assert ids == made.encode(text, add_special_tokens=False).ids, text
    assert found.decode(ids) == (text.replace('\u2126', '\u03a9') if pre == 'qwen2' else text)
  transformers = pytest.importorskip('transformers')
  theirs, again = their_tokenizer(tmp_path, 'm.gguf'), transformers.AutoTokenizer.from_pretrained(tmp_path / 'm')
  made.encode_special_tokens = False
  for text in TEXTS:
    assert again(text)['input_ids'] == made.encode(text).ids, text
    # its loader cuts SmolLM's text as GPT-2's, whose white space before a digit is cut otherwise
    if pre != 'smollm' or 'spaces' in text or not any(c.isnumeric() for c in text):
      assert theirs(text)['input_ids'] == made.encode(text).ids, text
  assert (again.bos_token_id, again.eos_token_id, again.pad_token_id, again.unk_token_id) == (1, 2, 2, 0)
  assert again.decode(found.encode('naïve 12')) == 'naïve 12'


def test_what_transformers_leaves_out_of_a_file(tmp_path):
  """Where its loader of GGUF and a model's own tokenizer differ, the model's own counts: digits cut first (SmolLM), composed letters (Qwen)."""
  for pre, text, own in (
    ('smollm', 'a\n\n1', [['a'], ['\n\n'], ['1']]), ('qwen2', 'cafe\u0301', [['caf\u00e9']])
  ):  # fmt: skip
    made = byte_level(pre)
    made.train_from_iterator([CORPUS, text * 50], trainers.BpeTrainer(vocab_size=420, special_tokens=MARKS, initial_alphabet=BYTES, show_progress=False))
    write_gguf(tmp_path / 'm.gguf', 'llama', byte_level_metadata(made, pre), shape=dict(layers=1))
    ours.convert(tmp_path / 'm.gguf', tmp_path / pre)
    found = HuggingFaceTokenizer(tmp_path / pre)
    assert found.encode(text) == made.encode(text).ids == [i for part in own for i in found.encode(part[0])]


def sentencepiece_metadata(texts, prefix=True, gemma=False):
  """(processor, metadata) of a little model of SentencePiece, as the converter writes it."""
  import io

  import sentencepiece

  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(texts), model_writer=model, vocab_size=480, model_type='bpe', byte_fallback=True, normalization_rule_name='identity',
    remove_extra_whitespaces=False, add_dummy_prefix=prefix, split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98, pad_id=-1,
    unk_id=0, bos_id=1, eos_id=2, control_symbols=['[INST]', '[/INST]'], num_threads=1, minloglevel=2, max_sentence_length=2**20,
  )  # fmt: skip
  p = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
  n = p.vocab_size()
  metadata = {
    'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.pre': 'default', 'tokenizer.ggml.tokens': [p.id_to_piece(i) for i in range(n)],
    'tokenizer.ggml.scores': [p.get_score(i) for i in range(n)],
    'tokenizer.ggml.token_type': [2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 1 for i in range(n)],
    'tokenizer.ggml.unknown_token_id': np.uint32(0), 'tokenizer.ggml.bos_token_id': np.uint32(1), 'tokenizer.ggml.eos_token_id': np.uint32(2),
    'tokenizer.ggml.add_space_prefix': prefix,
    'tokenizer.chat_template': "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}",
  }  # fmt: skip
  return p, metadata


@pytest.mark.parametrize('prefix', [True, False])
def test_sentencepiece_tokenizers(tmp_path, prefix):
  """Ids of transformers' loader (which puts a space first, whatever the file says), and of SentencePiece itself but for text that begins with a
  space, before which transformers puts no other."""
  processor, metadata = sentencepiece_metadata(CORPUS.split('\n') + TEXTS[:4], prefix)
  write_gguf(tmp_path / 'm.gguf', 'llama', metadata, shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found = HuggingFaceTokenizer(tmp_path / 'm')
  assert found.document_start == [1] and found.document_end == [2]
  plain = [t for t in TEXTS if '\u2581' not in t]
  for text in plain:
    if not (prefix and text.startswith(' ')):
      ids = found.encode(text)
      assert ids == processor.encode(text), text
      assert found.decode(ids) == text
  transformers = pytest.importorskip('transformers')
  again = transformers.AutoTokenizer.from_pretrained(tmp_path / 'm')
  theirs = their_tokenizer(tmp_path, 'm.gguf') if prefix else again
  for text in plain:
    if '<s>' not in text and '</s>' not in text:
      assert again(text)['input_ids'] == theirs(text)['input_ids'] == [1, *found.encode(text)], text


def test_chats_of_sentencepiece_tokenizers(tmp_path):
  """As transformers renders them, also where text follows a control symbol: the space that SentencePiece puts first is the first of the whole."""
  transformers = pytest.importorskip('transformers')
  _, metadata = sentencepiece_metadata(CORPUS.split('\n') + TEXTS[:4])
  write_gguf(tmp_path / 'm.gguf', 'llama', metadata, shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found, theirs = HuggingFaceTokenizer(tmp_path / 'm'), transformers.AutoTokenizer.from_pretrained(tmp_path / 'm')
  chat = [('user', 'The quick brown fox?'), ('assistant', 'It jumps over 13 dogs.'), ('user', 'They are lazy.'), ('assistant', 'Yes!')]
  wanted = theirs.apply_chat_template([{'role': r, 'content': c} for r, c in chat], tokenize=True, return_dict=False)
  assert found.render_chat(chat)[0].tolist() == wanted
  assert found.render_chat(chat[:1])[0].tolist() == wanted[: len(found.render_chat(chat[:1])[0])]


def test_gemma_tokenizers(tmp_path):
  """Pieces in the order of their merges, runs of spaces written as spaces, user-defined pieces; as transformers' loader reads them."""
  _, metadata = sentencepiece_metadata(CORPUS.split('\n') + ['a      b   c    d'] * 9, prefix=False)
  tokens, types = metadata['tokenizer.ggml.tokens'], metadata['tokenizer.ggml.token_type']
  first = 7 + 256
  for k, piece in enumerate(('\n', '\n\n', '  ', '   ')):  # in the place of the rarest
    if piece.replace(' ', '\u2581') in tokens:
      tokens[tokens.index(piece.replace(' ', '\u2581'))] = f'unused{k}'
    tokens[-1 - k], types[-1 - k] = piece, 4
  assert first < len(tokens)
  metadata['tokenizer.ggml.scores'] = [-float(i % 7) for i in range(len(tokens))]  # say nothing
  write_gguf(tmp_path / 'm.gguf', 'gemma3', metadata, shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found = HuggingFaceTokenizer(tmp_path / 'm')
  for text in TEXTS:
    assert found.decode(found.encode(text)) == text.replace('\u2581', ' '), text
  theirs = their_tokenizer(tmp_path, 'm.gguf')
  again = pytest.importorskip('transformers').AutoTokenizer.from_pretrained(tmp_path / 'm')
  for text in TEXTS:
    assert again(text)['input_ids'] == theirs(text)['input_ids'], text
  assert again('\n\n')['input_ids'] == [1, len(tokens) - 2]


def test_bos_where_the_file_is_silent(tmp_path):
  """llama.cpp adds it for Llama 3 and for SentencePiece, and for nobody else."""
  for pre, bos in (('llama-bpe', [1]), ('qwen2', [])):
    write_gguf(tmp_path / 'm.gguf', 'llama', byte_level_metadata(byte_level(pre), pre), drop=('tokenizer.ggml.add_bos_token',), shape=dict(layers=1))
    ours.convert(tmp_path / 'm.gguf', tmp_path / pre)
    assert HuggingFaceTokenizer(tmp_path / pre).document_start == bos
    assert json.loads((tmp_path / pre / 'tokenizer_config.json').read_text())['add_bos_token'] is bool(bos)


def test_ends_of_turns(tmp_path, vocabulary):
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, more={'tokenizer.ggml.eot_token_id': np.uint32(0)}, shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  assert json.loads((tmp_path / 'm' / 'generation_config.json').read_text()) == {'bos_token_id': 1, 'eos_token_id': [2, 0], 'pad_token_id': 2}
  assert (tmp_path / 'm' / 'chat_template.jinja').read_text() == CHATML
