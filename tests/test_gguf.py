"""GGUF files in: every type and architecture, made here, against a dequantisation written down a second time and against transformers' own loader.

MSM_JAX_SMOLLM2=1 adds the real model (python -m msm_jax.zoo fetch smollm2-135m): text, perplexity, answers and chats as transformers has them.
"""

import json
import math
import os
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('gguf')
pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
from gguf_files import (
  BYTES,
  CHATML,
  CORPUS,
  MARKS,
  TEXTS,
  byte_level,
  byte_level_metadata,
  write_gguf,
)
from helpers import mounted
from safetensors.numpy import load_file
from tokenizers import trainers

from msm_jax import model as models
from msm_jax import sharding, train
from msm_jax.base.errors import WeightsError
from msm_jax.config import OptimizerConfig, RopeScaling
from msm_jax.interop import gguf as ours
from msm_jax.interop import huggingface, zoo
from msm_jax.tokenizer import HuggingFaceTokenizer


@pytest.fixture(scope='module')
def vocabulary():
  return byte_level_metadata(byte_level('smollm'), 'smollm')


def read_folder(folder):
  files = huggingface.TensorFiles(folder)
  return {n: files.read(n, (slice(None),) * len(files.shape(n))) for n in files.names}


def imported(folder):
  c = huggingface.read_config(folder)
  files = huggingface.TensorFiles(folder)
  huggingface.check_tensors(files, c)
  like = train.make_program(
    c, OptimizerConfig(), 0, sharding.make_mesh(devices=jax.devices()[:1])
  ).abstract_state.params
  return c, huggingface.load_params(files, c, like)


def our_logits(c, params, ids):
  tokens = jnp.asarray(ids)[None]
  positions = jnp.arange(len(ids))[None]
  return np.asarray(
    jax.jit(
      lambda p: models.logits(c, p, models.forward(c, p, tokens, positions, jnp.ones_like(tokens)))
    )(params)
  )[0]


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
  truth = write_gguf(
    tmp_path / 'm.gguf',
    arch,
    vocabulary,
    ('Q8_0', 'Q4_K', 'F16', 'Q4_1', 'Q6_K', 'BF16', 'Q4_0', 'F32'),
    tied=arch in ('gemma3', 'qwen3'),
  )
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, gguf_file='m.gguf', dtype=torch.float32
  ).eval()
  again = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'm', dtype=torch.float32
  ).eval()
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
  assert huggingface.read_config(tmp_path / 'a').rope_scaling == RopeScaling(
    'llama3', 32.0, 1.0, 4.0, 8192
  )
  write_gguf(
    tmp_path / 'b.gguf',
    'llama',
    vocabulary,
    tensors={'rope_freqs.weight': factors * np.linspace(1, 1.01, 32, dtype=np.float32)},
  )
  with pytest.raises(WeightsError, match='otherwise than Llama 3'):
    ours.convert(tmp_path / 'b.gguf', tmp_path / 'b')
  more = {'gemma3.rope.scaling.type': 'linear', 'gemma3.rope.scaling.factor': np.float32(8)}
  write_gguf(tmp_path / 'c.gguf', 'gemma3', vocabulary, more=more)
  ours.convert(tmp_path / 'c.gguf', tmp_path / 'c')
  c = huggingface.read_config(tmp_path / 'c')
  assert c.rope_scaling == RopeScaling('linear', 8.0) and c.local_theta == 10_000


def test_gemma_by_its_layers():
  """Which layers look near, and how the attention of the one of 27B is scaled, as Gemma's own configs have it."""
  metadata = {
    'general.architecture': 'gemma3', 'gemma3.block_count': 62, 'gemma3.context_length': 131072, 'gemma3.embedding_length': 5376,
    'gemma3.feed_forward_length': 21504, 'gemma3.attention.head_count': 32, 'gemma3.attention.head_count_kv': 16, 'gemma3.attention.key_length': 128,
    'gemma3.attention.value_length': 128, 'gemma3.attention.layer_norm_rms_epsilon': 1e-6, 'gemma3.rope.freq_base': 1e6,
    'gemma3.attention.sliding_window': 1024,
  }  # fmt: skip

  def read(**changes):
    return ours.read_config(
      metadata | {f'gemma3.{k}': v for k, v in changes.items()},
      None,
      {'token_embd.weight': (262208, 5376)},
      'here',
    )

  assert huggingface.config_to_json(read(), 'float32', {})['query_pre_attn_scalar'] == 168
  assert (
    huggingface.config_to_json(read(block_count=48), 'float32', {})['query_pre_attn_scalar'] == 128
  )
  assert [i for i, near in enumerate(read().local_layers) if not near] == [
    5,
    11,
    17,
    23,
    29,
    35,
    41,
    47,
    53,
    59,
  ]
  assert (
    read(block_count=4, **{'attention.sliding_window_pattern': 2}).local_layers == (True, False) * 2
  )
  assert read(
    block_count=3, **{'attention.sliding_window_pattern': [True, False, False]}
  ).local_layers == (True, False, False)
  assert read(**{'attention.sliding_window': 0}).local_layers == ()
  assert read(final_logit_softcapping=30.0).logit_softcap == 30


def test_files_of_a_size_and_memory_of_one(tmp_path, vocabulary):
  truth = write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('F16',), shape=dict(layers=12))
  tracemalloc.start()
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm', shard_bytes=2 << 20)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  files = sorted((tmp_path / 'm').glob('*.safetensors'))
  total = sum(f.stat().st_size for f in files)
  assert (
    len(files) > 5
    and max(f.stat().st_size for f in files) < (2 << 20) + 10_000
    and {f.stat().st_mode & 0o777 for f in files} == {0o644}
  )
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
  theirs, again = (
    their_tokenizer(tmp_path, 'm.gguf'),
    transformers.AutoTokenizer.from_pretrained(tmp_path / 'm'),
  )
  made.encode_special_tokens = False
  for text in TEXTS:
    assert again(text)['input_ids'] == made.encode(text).ids, text
    # its loader cuts SmolLM's text as GPT-2's, whose white space before a digit is cut otherwise
    if pre != 'smollm' or 'spaces' in text or not any(c.isnumeric() for c in text):
      assert theirs(text)['input_ids'] == made.encode(text).ids, text
  assert (again.bos_token_id, again.eos_token_id, again.pad_token_id, again.unk_token_id) == (
    1,
    2,
    2,
    0,
  )
  assert again.decode(found.encode('naïve 12')) == 'naïve 12'


def test_what_transformers_leaves_out_of_a_file(tmp_path):
  """Where its loader of GGUF and a model's own tokenizer differ, the model's own counts: digits cut first (SmolLM), composed letters (Qwen), words
  that are tokens though no merges make them (Llama 3)."""
  for pre, text, own in (
    ('smollm', 'a\n\n1', ['a', '\n\n', '1']), ('qwen2', 'cafe\u0301', ['caf\u00e9'])
  ):  # fmt: skip
    made = byte_level(pre)
    made.train_from_iterator(
      [CORPUS, text * 50],
      trainers.BpeTrainer(
        vocab_size=420, special_tokens=MARKS, initial_alphabet=BYTES, show_progress=False
      ),
    )
    write_gguf(tmp_path / 'm.gguf', 'llama', byte_level_metadata(made, pre), shape=dict(layers=1))
    ours.convert(tmp_path / 'm.gguf', tmp_path / pre)
    found = HuggingFaceTokenizer(tmp_path / pre)
    assert (
      found.encode(text) == made.encode(text).ids == [i for part in own for i in found.encode(part)]
    )
  for pre, whole in (('llama-bpe', True), ('gpt-2', False)):
    metadata = byte_level_metadata(byte_level(pre), pre)
    metadata['tokenizer.ggml.tokens'][-1] = '\u0120zebra'
    metadata['tokenizer.ggml.merges'] = metadata['tokenizer.ggml.merges'][:-1]
    write_gguf(tmp_path / 'm.gguf', 'llama', metadata, shape=dict(layers=1))
    ours.convert(tmp_path / 'm.gguf', tmp_path / pre)
    assert (
      HuggingFaceTokenizer(tmp_path / pre).encode(' zebra')
      == [len(metadata['tokenizer.ggml.tokens']) - 1]
    ) is whole


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
  found, theirs = (
    HuggingFaceTokenizer(tmp_path / 'm'),
    transformers.AutoTokenizer.from_pretrained(tmp_path / 'm'),
  )
  chat = [
    ('user', 'The quick brown fox?'),
    ('assistant', 'It jumps over 13 dogs.'),
    ('user', 'They are lazy.'),
    ('assistant', 'Yes!'),
  ]
  wanted = theirs.apply_chat_template(
    [{'role': r, 'content': c} for r, c in chat], tokenize=True, return_dict=False
  )
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


def test_merges_of_a_vocabulary():
  """The order that transformers makes of scores, ties as well; but no text makes a control symbol, whatever its letters."""
  base = pytest.importorskip('transformers.tokenization_utils_base')
  rng = np.random.default_rng(0)
  tokens = list(
    dict.fromkeys([*'abc', *(''.join(rng.choice([*'abc'], n)) for n in rng.integers(2, 7, 400))])
  )
  scores = [float(x) for x in rng.integers(-9, 0, len(tokens))]
  found = ours.merges_by_rank(tokens, [1] * len(tokens), scores)
  assert len(found) > 500
  assert found == base.generate_merges(
    {t: i for i, t in enumerate(tokens)}, dict(zip(tokens, scores, strict=True))
  )
  assert ours.merges_by_rank(['a', 'b', 'c', 'ab', 'bc', 'abc'], [1, 1, 1, 1, 1, 3], [0.0] * 6) == [
    ('a', 'b'),
    ('b', 'c'),
  ]


def test_tokens_that_users_defined(tmp_path, vocabulary):
  """Kept whole in any text, and no control symbols."""
  metadata = vocabulary | {
    k: list(vocabulary[k]) for k in ('tokenizer.ggml.tokens', 'tokenizer.ggml.token_type')
  }
  metadata['tokenizer.ggml.tokens'][-1], metadata['tokenizer.ggml.token_type'][-1] = '<think>', 4
  metadata['tokenizer.ggml.merges'] = metadata['tokenizer.ggml.merges'][:-1]
  write_gguf(tmp_path / 'm.gguf', 'llama', metadata, shape=dict(layers=1))
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  found = HuggingFaceTokenizer(tmp_path / 'm')
  ids = found.encode('fox <think> dogs <|im_end|>')
  assert (
    ids.count(len(metadata['tokenizer.ggml.tokens']) - 1) == 1
    and 2 not in ids
    and found.decode(ids) == 'fox <think> dogs <|im_end|>'
  )
  assert their_tokenizer(tmp_path, 'm.gguf')('fox <think> dogs')['input_ids'] == found.encode(
    'fox <think> dogs'
  )


def test_bos_where_the_file_is_silent(tmp_path):
  """llama.cpp adds it for Llama 3 and for SentencePiece, and for nobody else."""
  for pre, bos in (('llama-bpe', [1]), ('qwen2', [])):
    write_gguf(
      tmp_path / 'm.gguf',
      'llama',
      byte_level_metadata(byte_level(pre), pre),
      drop=('tokenizer.ggml.add_bos_token',),
      shape=dict(layers=1),
    )
    ours.convert(tmp_path / 'm.gguf', tmp_path / pre)
    assert HuggingFaceTokenizer(tmp_path / pre).document_start == bos
    assert json.loads((tmp_path / pre / 'tokenizer_config.json').read_text())[
      'add_bos_token'
    ] is bool(bos)


def test_ends_of_turns(tmp_path, vocabulary):
  write_gguf(
    tmp_path / 'm.gguf',
    'llama',
    vocabulary,
    more={'tokenizer.ggml.eot_token_id': np.uint32(0)},
    shape=dict(layers=1),
  )
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  assert json.loads((tmp_path / 'm' / 'generation_config.json').read_text()) == {
    'bos_token_id': 1,
    'eos_token_id': [2, 0],
    'pad_token_id': 2,
  }
  assert (tmp_path / 'm' / 'chat_template.jinja').read_text() == CHATML


# ---- what is refused

U, F = np.uint32, np.float32
REFUSED = {  # what is wrong -> (changes to the file, what the line says)
  'another architecture': (dict(more={'general.architecture': 'mamba'}), "architecture 'mamba' is not known here; known are llama"),
  'an adapter': (dict(more={'general.type': 'adapter'}), "holds no model but 'adapter'"),
  'a part of a model': (dict(more={'split.count': U(3)}), 'one of 3 parts'),
  'experts': (dict(more={'llama.expert_count': U(8)}), 'llama.expert_count=8 changes the mathematics'),
  'another stretching': (dict(more={'llama.rope.scaling.type': 'yarn'}), "llama.rope.scaling.type='yarn' is not known here"),
  'a part of the head rotated': (dict(more={'llama.rope.dimension_count': U(32)}), 'llama.rope.dimension_count=32 and heads of 64'),
  'values of another size': (dict(more={'llama.attention.value_length': U(32)}), 'llama.attention.value_length=32'),
  'a window': (dict(more={'llama.attention.sliding_window': U(4096)}), 'llama.attention.sliding_window=4096 is not known here'),
  'a scale': (dict(more={'llama.residual_scale': F(0.5)}), 'llama.residual_scale=0.5 is not known here'),
  'capped attention': (dict(more={'llama.attn_logit_softcapping': F(50)}), 'attn_logit_softcapping=50.0 changes the mathematics'),
  'attention that looks ahead': (dict(more={'llama.attention.causal': False}), 'attention.causal=False changes the mathematics'),
  'heads that differ by layer': (dict(more={'llama.attention.head_count_kv': [1, 2]}), 'attention.head_count_kv differs by layer'),
  'heads that do not divide': (dict(more={'llama.attention.head_count_kv': U(3)}), 'n_kv_heads=3 must divide'),
  'no layers': (dict(drop=('llama.block_count',)), 'llama.block_count is missing; download it again'),
  'no width': (dict(more={'llama.embedding_length': U(0)}), 'llama.embedding_length=0 must be at least 1'),
  'no epsilon': (dict(drop=('llama.attention.layer_norm_rms_epsilon',)), 'layer_norm_rms_epsilon is missing'),
  'a bias': (dict(tensors={'blk.0.attn_q.bias': np.zeros(256, F)}), 'tensor blk.0.attn_q.bias has no place in this model'),
  'a layer that is missing': (dict(more={'llama.block_count': U(2)}), 'tensor model.layers.1.'),
  'sizes of another model': (dict(more={'llama.feed_forward_length': U(512)}), 'has shape (256, 256)'),
  'a type that is not read': (dict(tensors={'x': 'Q5_0'}), 'tensor x is of type Q5_0, which is not read here; known are F32'),
  'another cut of text': (dict(more={'tokenizer.ggml.pre': 'tekken'}), "tokenizer.ggml.pre='tekken' is not known here; known are llama-bpe"),
  'no cut of text': (dict(drop=('tokenizer.ggml.pre',)), 'tokenizer.ggml.pre=None'),
  'another tokenizer': (dict(more={'tokenizer.ggml.model': 'bert'}), "kind 'bert' is not known here"),
  'no tokenizer': (dict(drop=('tokenizer.ggml.model',)), 'kind None is not known here'),
  'text that is changed first': (dict(more={'tokenizer.ggml.precompiled_charsmap': 'xx'}), 'tokenizer.ggml.precompiled_charsmap=xx'),
  'a space before bytes': (dict(more={'tokenizer.ggml.add_space_prefix': True}), 'add_space_prefix is not known here'),
  'no merges': (dict(drop=('tokenizer.ggml.merges',)), 'lacks merges, scores or token types'),
  'merges of no tokens': (dict(more={'tokenizer.ggml.merges': ['zz yy']}), 'its vocabulary and its merges make no tokenizer'),
  'a token that does not exist': (dict(more={'tokenizer.ggml.eos_token_id': U(4000)}), 'names token 4000 of 400'),
  'a start without a name': (dict(more={'tokenizer.ggml.add_bos_token': True}, drop=('tokenizer.ggml.bos_token_id',)), 'that it does not name'),
  'fewer tokens than rows': (dict(tensors={'token_embd.weight': np.zeros((384, 256), F)}, without='token_embd.weight'),
    '400 tokens and an embedding of 384'),
}  # fmt: skip


@pytest.mark.parametrize('what', REFUSED)
def test_what_is_not_understood_is_refused(tmp_path, vocabulary, what):
  """By name, in one line, and nothing is written."""
  changes, says = REFUSED[what]
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, **{'shape': dict(layers=1)} | changes)
  with pytest.raises(WeightsError) as e:
    ours.convert(tmp_path / 'm.gguf', tmp_path / 'new' / 'm')
  line = str(e.value)
  assert says in line and 'm.gguf' in line and '\n' not in line and len(line) < 400, line
  assert not (tmp_path / 'new').exists()


def test_the_file_that_was_changed_is_good(tmp_path, vocabulary):
  """So that what is refused above is refused for its own fault; keys that change nothing are taken."""
  neutral = {'llama.expert_count': U(0), 'llama.rope.scaling.type': 'none', 'llama.rope.scaling.factor': F(8), 'quantize.imatrix.file': 'x',
             'split.count': U(0), 'tokenizer.ggml.fim_pre_token_id': U(5), 'tokenizer.ggml.remove_extra_whitespaces': False}  # fmt: skip
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, shape=dict(layers=1), more=neutral)
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  assert huggingface.read_config(tmp_path / 'm').rope_scaling is None


def test_broken_files(tmp_path, vocabulary):
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('Q8_0',), shape=dict(layers=1))
  whole = (tmp_path / 'm.gguf').read_bytes()
  for n, content in enumerate(
    (
      b'',
      b'GGUF',
      b'PK\x03\x04' + whole[4:],
      whole[:3000],
      whole[: len(whole) // 2],
      whole[:-1000],
      b'\0' * 4096,
    )
  ):
    path = tmp_path / f'{n}.gguf'
    path.write_bytes(content)
    with pytest.raises(
      WeightsError, match=r'no GGUF file, or a part of one \(.*\); download it again'
    ):
      ours.convert(path, tmp_path / 'out')
  with pytest.raises(WeightsError, match='is no file; give a GGUF file'):
    ours.convert(tmp_path / 'none.gguf', tmp_path / 'out')
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'precious').write_text('x')
  with pytest.raises(WeightsError, match='exists and is not empty'):
    ours.convert(tmp_path / 'm.gguf', tmp_path / 'full')
  assert [p.name for p in (tmp_path / 'full').iterdir()] == ['precious'] and not (
    tmp_path / 'out'
  ).exists()


def test_a_failure_half_way_leaves_nothing(tmp_path, vocabulary, monkeypatch):
  """A full disk, say: safetensors has an error of its own for it."""
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('Q8_0',), shape=dict(layers=1))
  with mounted(tmp_path / 'disk', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs'):
    with pytest.raises(
      WeightsError,
      match=r'cannot write .*No space left on device.*; free some space or choose another folder',
    ):
      ours.convert(tmp_path / 'm.gguf', tmp_path / 'disk' / 'm')
    assert not list((tmp_path / 'disk').iterdir())


# ---- the real model

PARAGRAPHS = (
  'Every morning before the market opened, Ines walked down to the harbour to look at the boats. The fishermen knew her and would hold up what '
  'they had caught: silver mackerel, a crate of crabs, once an octopus that had wrapped itself around the anchor. She bought little, because her '
  'stall was small and her customers were careful with their money, but she remembered what each of them had said the week before, and she never '
  'sold a fish that she would not have cooked for her own children.',
  'Granite is a coarse-grained igneous rock that forms when magma cools slowly below the surface of the Earth. It consists mainly of quartz, '
  'feldspar and mica, and its colour ranges from white and pink to dark grey, depending on these minerals. Because it is hard and resists '
  'weathering, granite has been used since antiquity for buildings, bridges and monuments; the ancient Egyptians quarried it at Aswan and shipped it '
  'down the Nile.',
)
QUESTIONS = (
  'What is the capital of France?',
  'Name three colours.',
  'Write a haiku about the sea.',
)


@pytest.mark.skipif(
  not os.environ.get('MSM_JAX_SMOLLM2'),
  reason='MSM_JAX_SMOLLM2=1 asks for it; needs the model (python -m msm_jax.zoo fetch)',
)
def test_smollm2_equals_transformers(tmp_path):
  """Perplexity of two paragraphs, greedy answers, ids and chats, against transformers' loader of the same GGUF file."""
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  zoo._download(zoo.MODELS['smollm2-135m'], tmp_path)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path, gguf_file='model.gguf', dtype=torch.float32
  ).eval()
  their_tokens = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file='model.gguf')
  folder = zoo.locate('smollm2-135m')
  tokenizer = HuggingFaceTokenizer(folder)
  c, params = imported(folder)
  report = {'tokens': 0}

  for text in (*TEXTS, *PARAGRAPHS, *QUESTIONS):
    if 'spaces' in text or not any(x.isnumeric() for x in text):  # see test_byte_level_tokenizers
      wanted = their_tokens(text, split_special_tokens=True)['input_ids']
      assert tokenizer.encode(text) == wanted, text
      report['tokens'] += len(wanted)
  chats = [[('user', q)] for q in QUESTIONS] + [
    [('system', 'Be brief.'), ('user', 'Hi'), ('assistant', 'Hello!'), ('user', '2  + 2?')]
  ]
  for chat in chats:
    dicts = [{'role': r, 'content': x} for r, x in chat]
    assert tokenizer.prompt(chat).tolist() == their_tokens.apply_chat_template(
      dicts, add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.render_chat(chat)[0].tolist() == their_tokens.apply_chat_template(
      dicts, return_dict=False
    )

  positions = jnp.arange(128)[None]
  forward = jax.jit(
    lambda p, ids, n: models.logits(
      c, p, models.forward(c, p, ids, positions, (positions < n).astype(int))
    )[0]
  )

  def run(ids):
    return np.asarray(
      forward(params, jnp.asarray(np.pad(ids, (0, 128 - len(ids))))[None], len(ids))
    )[: len(ids)]

  for n, text in enumerate(PARAGRAPHS):
    ids = tokenizer.encode(text)
    logits = run(ids)
    with torch.no_grad():
      wanted = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    mine, reference = (
      float(
        np.exp(-np.mean(np.asarray(jax.nn.log_softmax(x[:-1]))[np.arange(len(ids) - 1), ids[1:]]))
      )
      for x in (logits, wanted)
    )
    report[f'paragraph {n}'] = (
      f'{len(ids)} tokens, perplexity {mine:.5f} and {reference:.5f}, logits differ by {np.abs(logits - wanted).max():.1e}'
    )
    assert f'{mine:.3g}' == f'{reference:.3g}' and mine < 60
    np.testing.assert_allclose(logits, wanted, atol=5e-4)

  for question in QUESTIONS:
    ids = tokenizer.prompt([('user', question)]).tolist()
    n = len(ids)
    with torch.no_grad():
      wanted = theirs.generate(
        torch.tensor(ids)[None],
        do_sample=False,
        max_new_tokens=24,
        attention_mask=torch.ones(1, n),
        pad_token_id=2,
      )[0, n:].tolist()
    while len(ids) < n + 24 and ids[-1] not in tokenizer.stop_ids[:1]:
      ids.append(int(run(ids)[-1].argmax()))
    report[question] = tokenizer.decode(ids[n:])
    assert ids[n:] == wanted
  print(json.dumps(report, indent=1, ensure_ascii=False))
