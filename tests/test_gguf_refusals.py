"""GGUF files in: what is not understood is refused by name, in one line, and nothing is written."""

import numpy as np
import pytest

pytest.importorskip('gguf')
pytest.importorskip('tokenizers')
pytest.importorskip('safetensors')
from gguf_files import byte_level, byte_level_metadata, write_gguf

from msm_jax.base.errors import WeightsError
from msm_jax.interop import gguf as ours
from msm_jax.interop import huggingface


@pytest.fixture(scope='module')
def vocabulary():
  return byte_level_metadata(byte_level('smollm'), 'smollm')


# Short for the types that files keep numbers in.
U, F = np.uint32, np.float32

# What is wrong -> (changes to the file, as arguments of write_gguf; what the line says).
REFUSED = {
  'another architecture': (
    dict(more={'general.architecture': 'mamba'}),
    "architecture 'mamba' is not known here; known are llama",
  ),
  'an adapter': (
    dict(more={'general.type': 'adapter'}),
    "holds no model but 'adapter'",
  ),
  'a part of a model': (
    dict(more={'split.count': U(3)}),
    'one of 3 parts',
  ),
  'experts': (
    dict(more={'llama.expert_count': U(8)}),
    'llama.expert_count=8 changes the mathematics',
  ),
  'another stretching': (
    dict(more={'llama.rope.scaling.type': 'yarn'}),
    "llama.rope.scaling.type='yarn' is not known here",
  ),
  'a part of the head rotated': (
    dict(more={'llama.rope.dimension_count': U(32)}),
    'llama.rope.dimension_count=32 and heads of 64',
  ),
  'values of another size': (
    dict(more={'llama.attention.value_length': U(32)}),
    'llama.attention.value_length=32',
  ),
  'a window': (
    dict(more={'llama.attention.sliding_window': U(4096)}),
    'llama.attention.sliding_window=4096 is not known here',
  ),
  'a scale': (
    dict(more={'llama.residual_scale': F(0.5)}),
    'llama.residual_scale=0.5 is not known here',
  ),
  'capped attention': (
    dict(more={'llama.attn_logit_softcapping': F(50)}),
    'attn_logit_softcapping=50.0 changes the mathematics',
  ),
  'attention that looks ahead': (
    dict(more={'llama.attention.causal': False}),
    'attention.causal=False changes the mathematics',
  ),
  'heads that differ by layer': (
    dict(more={'llama.attention.head_count_kv': [1, 2]}),
    'attention.head_count_kv differs by layer',
  ),
  'heads that do not divide': (
    dict(more={'llama.attention.head_count_kv': U(3)}),
    'n_kv_heads=3 must divide',
  ),
  'no layers': (
    dict(drop=('llama.block_count',)),
    'llama.block_count is missing; download it again',
  ),
  'no width': (
    dict(more={'llama.embedding_length': U(0)}),
    'llama.embedding_length=0 must be at least 1',
  ),
  'no epsilon': (
    dict(drop=('llama.attention.layer_norm_rms_epsilon',)),
    'layer_norm_rms_epsilon is missing',
  ),
  'a bias': (
    dict(tensors={'blk.0.attn_q.bias': np.zeros(256, F)}),
    'tensor blk.0.attn_q.bias has no place in this model',
  ),
  'a layer that is missing': (
    dict(more={'llama.block_count': U(2)}),
    'tensor model.layers.1.',
  ),
  'sizes of another model': (
    dict(more={'llama.feed_forward_length': U(512)}),
    'has shape (256, 256)',
  ),
  'a type that is not read': (
    dict(tensors={'x': 'Q5_0'}),
    'tensor x is of type Q5_0, which is not read here; known are F32',
  ),
  'another cut of text': (
    dict(more={'tokenizer.ggml.pre': 'tekken'}),
    "tokenizer.ggml.pre='tekken' is not known here; known are llama-bpe",
  ),
  'no cut of text': (
    dict(drop=('tokenizer.ggml.pre',)),
    'tokenizer.ggml.pre=None',
  ),
  'another tokenizer': (
    dict(more={'tokenizer.ggml.model': 'bert'}),
    "kind 'bert' is not known here",
  ),
  'no tokenizer': (
    dict(drop=('tokenizer.ggml.model',)),
    'kind None is not known here',
  ),
  'text that is changed first': (
    dict(more={'tokenizer.ggml.precompiled_charsmap': 'xx'}),
    'tokenizer.ggml.precompiled_charsmap=xx',
  ),
  'a space before bytes': (
    dict(more={'tokenizer.ggml.add_space_prefix': True}),
    'add_space_prefix is not known here',
  ),
  'no merges': (
    dict(drop=('tokenizer.ggml.merges',)),
    'lacks merges, scores or token types',
  ),
  'merges of no tokens': (
    dict(more={'tokenizer.ggml.merges': ['zz yy']}),
    'its vocabulary and its merges make no tokenizer',
  ),
  'a token that does not exist': (
    dict(more={'tokenizer.ggml.eos_token_id': U(4000)}),
    'names token 4000 of 400',
  ),
  'a start without a name': (
    dict(more={'tokenizer.ggml.add_bos_token': True}, drop=('tokenizer.ggml.bos_token_id',)),
    'that it does not name',
  ),
  'fewer tokens than rows': (
    dict(tensors={'token_embd.weight': np.zeros((384, 256), F)}, without='token_embd.weight'),
    '400 tokens and an embedding of 384',
  ),
}


@pytest.mark.parametrize('what', REFUSED)
def test_what_is_not_understood_is_refused(tmp_path, vocabulary, what):
  changes, says = REFUSED[what]
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, **{'shape': dict(layers=1)} | changes)
  with pytest.raises(WeightsError) as e:
    ours.convert(tmp_path / 'm.gguf', tmp_path / 'new' / 'm')
  line = str(e.value)
  assert says in line and 'm.gguf' in line, line
  assert '\n' not in line and len(line) < 400, line
  assert not (tmp_path / 'new').exists()


def test_the_file_that_was_changed_is_good(tmp_path, vocabulary):
  """What is refused above is refused for its own fault; keys that change nothing are taken."""
  neutral = {
    'llama.expert_count': U(0),
    'llama.rope.scaling.type': 'none',
    'llama.rope.scaling.factor': F(8),
    'quantize.imatrix.file': 'x',
    'split.count': U(0),
    'tokenizer.ggml.fim_pre_token_id': U(5),
    'tokenizer.ggml.remove_extra_whitespaces': False,
  }
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, shape=dict(layers=1), more=neutral)
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  assert huggingface.read_config(tmp_path / 'm').rope_scaling is None
