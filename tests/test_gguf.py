"""GGUF files in: weights and configs of every type and architecture.

The files are made here. Their weights are compared with a second reading of their bytes and with
transformers' own loader of GGUF. MSM_JAX_SMOLLM2=1 adds the real model (python -m msm_jax.zoo fetch
smollm2-135m): text, perplexity, answers and chats as transformers has them.
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
from gguf_files import TEXTS, byte_level, byte_level_metadata, write_gguf
from helpers import mounted
from safetensors.numpy import load_file

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.errors import WeightsError
from msm_jax.config import OptimizerConfig, RopeScaling
from msm_jax.interop import gguf as ours
from msm_jax.interop import huggingface, zoo
from msm_jax.tokenizer import HuggingFaceTokenizer
from msm_jax.training import train_step

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def vocabulary():
  return byte_level_metadata(byte_level('smollm'), 'smollm')


def read_folder(folder):
  """All tensors of a folder, by name."""
  files = huggingface.TensorFiles(folder)
  tensors = {}
  for name in files.names:
    whole = (slice(None),) * len(files.shape(name))
    tensors[name] = files.read(name, whole)
  return tensors


def imported(folder):
  """(config, parameters) of a folder."""
  c = huggingface.read_config(folder)
  files = huggingface.TensorFiles(folder)
  huggingface.check_tensors(files, c)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh)
  return c, huggingface.load_params(files, c, program.abstract_state.params)


def our_logits(c, params, ids):
  """(T, V) logits of one text."""
  tokens = jnp.asarray(ids)[None]
  positions = jnp.arange(len(ids))[None]

  @jax.jit
  def logits(p):
    hidden = models.forward(c, p, tokens, positions, jnp.ones_like(tokens))
    return models.logits(c, p, hidden)

  return np.asarray(logits(params))[0]


# ---- weights


@pytest.mark.parametrize('kind', ours.TYPES)
def test_types_are_dequantised_to_the_bit(tmp_path, vocabulary, kind):
  """Each type is compared with a second reading of its blocks.

  The embedding and one layer of Llama are of that type, so that rotary pairs are put back, too.
  """
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
  """A file of mixed types is read as transformers' own loader of GGUF reads it.

  The tensors are the same to the bit, this model has the same logits, and transformers reads the
  written folder to the same model.
  """
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  pytest.importorskip('accelerate')
  kinds = ('Q8_0', 'Q4_K', 'F16', 'Q4_1', 'Q6_K', 'BF16', 'Q4_0', 'F32')
  tied = arch in ('gemma3', 'qwen3')
  truth = write_gguf(tmp_path / 'm.gguf', arch, vocabulary, kinds, tied=tied)
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm')
  load = transformers.AutoModelForCausalLM.from_pretrained
  theirs = load(tmp_path, gguf_file='m.gguf', dtype=torch.float32).eval()
  again = load(tmp_path / 'm', dtype=torch.float32).eval()
  found = read_folder(tmp_path / 'm')
  for name, w in truth.items():
    np.testing.assert_array_equal(found[name], theirs.state_dict()[name].numpy(), err_msg=name)
    np.testing.assert_array_equal(found[name], again.state_dict()[name].numpy(), err_msg=name)
    np.testing.assert_allclose(found[name], w, rtol=1e-6, atol=1e-6, err_msg=name)

  ids = np.random.default_rng(1).integers(3, 400, 40)
  tokens = torch.tensor(ids)[None]
  with torch.no_grad():
    wanted = theirs(tokens).logits[0].numpy()
    reread = again(tokens).logits[0].numpy()
  c, params = imported(tmp_path / 'm')
  logits = our_logits(c, params, ids)
  assert logits.std() > 0.1
  # Some logits are above 200, where the last bits of float32 are 1.5e-5 apart.
  np.testing.assert_allclose(logits, wanted, rtol=2e-6, atol=1e-4)
  np.testing.assert_allclose(reread, wanted, rtol=2e-6, atol=1e-4)
  assert c.max_length == 512 and c.rope_theta == 50_000 and c.norm_eps == 1e-6
  if arch == 'gemma3':
    assert c.local_layers == (True,) * 5 + (False,) and c.local_window == 6


def test_files_of_a_size_and_memory_of_one(tmp_path, vocabulary):
  """Weights are written in files of the size asked for, and memory holds one of them."""
  truth = write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('F16',), shape=dict(layers=12))
  tracemalloc.start()
  ours.convert(tmp_path / 'm.gguf', tmp_path / 'm', shard_bytes=2 << 20)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  files = sorted((tmp_path / 'm').glob('*.safetensors'))
  sizes = [f.stat().st_size for f in files]
  assert len(files) > 5
  assert max(sizes) < (2 << 20) + 10_000
  assert {f.stat().st_mode & 0o777 for f in files} == {0o644}
  assert peak < 6 << 20 < sum(sizes), f'{peak} bytes for {sum(sizes)}'
  found = read_folder(tmp_path / 'm')
  for name, w in truth.items():
    np.testing.assert_array_equal(found[name], w, err_msg=name)


# ---- configs


def llama3_factors(k, base, factor, original=8192, low=1.0, high=4.0):
  """What rotary frequencies are divided by, as Llama 3.1's own code states it."""
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
  """A file keeps Llama 3's stretching as a tensor of factors, and a linear one as metadata.

  The linear one is that of Gemma 3's full layers. transformers' loader of GGUF drops both.
  """
  factors = llama3_factors(64, 50_000, 32.0)
  assert len(set(factors)) > 3
  write_gguf(tmp_path / 'a.gguf', 'llama', vocabulary, tensors={'rope_freqs.weight': factors})
  ours.convert(tmp_path / 'a.gguf', tmp_path / 'a')
  expected = RopeScaling('llama3', 32.0, 1.0, 4.0, 8192)
  assert huggingface.read_config(tmp_path / 'a').rope_scaling == expected

  other = factors * np.linspace(1, 1.01, 32, dtype=np.float32)
  write_gguf(tmp_path / 'b.gguf', 'llama', vocabulary, tensors={'rope_freqs.weight': other})
  with pytest.raises(WeightsError, match='otherwise than Llama 3'):
    ours.convert(tmp_path / 'b.gguf', tmp_path / 'b')

  more = {'gemma3.rope.scaling.type': 'linear', 'gemma3.rope.scaling.factor': np.float32(8)}
  write_gguf(tmp_path / 'c.gguf', 'gemma3', vocabulary, more=more)
  ours.convert(tmp_path / 'c.gguf', tmp_path / 'c')
  c = huggingface.read_config(tmp_path / 'c')
  assert c.rope_scaling == RopeScaling('linear', 8.0) and c.local_theta == 10_000


GEMMA3_27B = {
  'general.architecture': 'gemma3',
  'gemma3.block_count': 62,
  'gemma3.context_length': 131072,
  'gemma3.embedding_length': 5376,
  'gemma3.feed_forward_length': 21504,
  'gemma3.attention.head_count': 32,
  'gemma3.attention.head_count_kv': 16,
  'gemma3.attention.key_length': 128,
  'gemma3.attention.value_length': 128,
  'gemma3.attention.layer_norm_rms_epsilon': 1e-6,
  'gemma3.rope.freq_base': 1e6,
  'gemma3.attention.sliding_window': 1024,
}


def test_gemma_by_its_layers():
  """The layers with a window and the scale of attention are those of Gemma's own configs."""

  def read(changes=None):
    metadata = dict(GEMMA3_27B)
    for key, value in (changes or {}).items():
      metadata[f'gemma3.{key}'] = value
    return ours.read_config(metadata, None, {'token_embd.weight': (262208, 5376)}, 'here')

  def query_scalar(c):
    return huggingface.config_to_json(c, 'float32', {})['query_pre_attn_scalar']

  assert query_scalar(read()) == 168
  assert query_scalar(read({'block_count': 48})) == 128
  full_layers = [layer for layer, is_local in enumerate(read().local_layers) if not is_local]
  assert full_layers == [5, 11, 17, 23, 29, 35, 41, 47, 53, 59]
  every_second = read({'block_count': 4, 'attention.sliding_window_pattern': 2})
  assert every_second.local_layers == (True, False) * 2
  listed = read({'block_count': 3, 'attention.sliding_window_pattern': [True, False, False]})
  assert listed.local_layers == (True, False, False)
  whole = read({'attention.sliding_window': 0})
  assert whole.local_layers == ()
  # The folder says so, too: Gemma's layers have a window where a config.json lists none.
  written = huggingface.config_to_json(whole, 'float32', {})
  assert huggingface.config_from_json(written, 'here') == whole
  assert read({'final_logit_softcapping': 30.0}).logit_softcap == 30


# ---- files that are broken, and failures half-way


def test_broken_files(tmp_path, vocabulary):
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('Q8_0',), shape=dict(layers=1))
  whole = (tmp_path / 'm.gguf').read_bytes()
  broken = (
    b'',
    b'GGUF',
    b'PK\x03\x04' + whole[4:],
    whole[:3000],
    whole[: len(whole) // 2],
    whole[:-1000],
    b'\0' * 4096,
  )
  says = r'no GGUF file, or a part of one \(.*\); download it again'
  for n, content in enumerate(broken):
    path = tmp_path / f'{n}.gguf'
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
      ours.convert(path, tmp_path / 'out')
  with pytest.raises(WeightsError, match='is no file; give a GGUF file'):
    ours.convert(tmp_path / 'none.gguf', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()

  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'precious').write_text('x')
  with pytest.raises(WeightsError, match='exists and is not empty'):
    ours.convert(tmp_path / 'm.gguf', tmp_path / 'full')
  assert [p.name for p in (tmp_path / 'full').iterdir()] == ['precious']


def test_a_failure_half_way_leaves_nothing(tmp_path, vocabulary):
  """The disk is full. safetensors has an error of its own for this."""
  write_gguf(tmp_path / 'm.gguf', 'llama', vocabulary, ('Q8_0',), shape=dict(layers=1))
  says = r'cannot write .*No space left on device.*; free some space or choose another folder'
  with mounted(tmp_path / 'disk', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs'):
    with pytest.raises(WeightsError, match=says):
      ours.convert(tmp_path / 'm.gguf', tmp_path / 'disk' / 'm')
    assert not list((tmp_path / 'disk').iterdir())


# ---- the real model

PARAGRAPHS = (
  'Every morning before the market opened, Ines walked down to the harbour to look at the boats. '
  'The fishermen knew her and would hold up what they had caught: silver mackerel, a crate of '
  'crabs, once an octopus that had wrapped itself around the anchor. She bought little, because '
  'her stall was small and her customers were careful with their money, but she remembered what '
  'each of them had said the week before, and she never sold a fish that she would not have cooked '
  'for her own children.',
  'Granite is a coarse-grained igneous rock that forms when magma cools slowly below the surface '
  'of the Earth. It consists mainly of quartz, feldspar and mica, and its colour ranges from white '
  'and pink to dark grey, depending on these minerals. Because it is hard and resists weathering, '
  'granite has been used since antiquity for buildings, bridges and monuments; the ancient '
  'Egyptians quarried it at Aswan and shipped it down the Nile.',
)
QUESTIONS = (
  'What is the capital of France?',
  'Name three colours.',
  'Write a haiku about the sea.',
)
# Tokens of the longest text here; one size is compiled once.
WINDOW = 128


def perplexity(logits, ids):
  """Of all tokens but the first, from (T, V) logits."""
  logprobs = np.asarray(jax.nn.log_softmax(logits[:-1]))
  chosen = logprobs[np.arange(len(ids) - 1), ids[1:]]
  return float(np.exp(-np.mean(chosen)))


@pytest.mark.skipif(
  not os.environ.get('MSM_JAX_SMOLLM2'),
  reason='MSM_JAX_SMOLLM2=1 asks for it; needs the model (python -m msm_jax.zoo fetch)',
)
def test_smollm2_equals_transformers(tmp_path):
  """Ids, chats, perplexity and greedy answers are those of transformers with the same file."""
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
    # transformers' loader cuts text differently; see test_byte_level_tokenizers.
    if 'spaces' in text or not any(x.isnumeric() for x in text):
      wanted = their_tokens(text, split_special_tokens=True)['input_ids']
      assert tokenizer.encode(text) == wanted, text
      report['tokens'] += len(wanted)
  chats = [[('user', question)] for question in QUESTIONS]
  chats.append(
    [('system', 'Be brief.'), ('user', 'Hi'), ('assistant', 'Hello!'), ('user', '2  + 2?')]
  )
  for chat in chats:
    messages = [{'role': role, 'content': content} for role, content in chat]
    wanted_prompt = their_tokens.apply_chat_template(
      messages, add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.prompt(chat).tolist() == wanted_prompt
    wanted_chat = their_tokens.apply_chat_template(messages, return_dict=False)
    assert tokenizer.render_chat(chat)[0].tolist() == wanted_chat

  positions = jnp.arange(WINDOW)[None]

  @jax.jit
  def forward(p, ids, n):
    hidden = models.forward(c, p, ids, positions, (positions < n).astype(int))
    return models.logits(c, p, hidden)[0]

  def run(ids):
    padded = jnp.asarray(np.pad(ids, (0, WINDOW - len(ids))))[None]
    return np.asarray(forward(params, padded, len(ids)))[: len(ids)]

  for n, text in enumerate(PARAGRAPHS):
    ids = tokenizer.encode(text)
    logits = run(ids)
    with torch.no_grad():
      wanted = theirs(torch.tensor(ids)[None]).logits[0].numpy()
    mine, reference = perplexity(logits, ids), perplexity(wanted, ids)
    difference = np.abs(logits - wanted).max()
    report[f'paragraph {n}'] = (
      f'{len(ids)} tokens, perplexity {mine:.5f} and {reference:.5f}, '
      f'logits differ by {difference:.1e}'
    )
    assert f'{mine:.3g}' == f'{reference:.3g}' and mine < 60
    np.testing.assert_allclose(logits, wanted, atol=5e-4)

  for question in QUESTIONS:
    ids = tokenizer.prompt([('user', question)]).tolist()
    n = len(ids)
    with torch.no_grad():
      answer = theirs.generate(
        torch.tensor(ids)[None],
        do_sample=False,
        max_new_tokens=24,
        attention_mask=torch.ones(1, n),
        pad_token_id=2,
      )
    while len(ids) < n + 24 and ids[-1] not in tokenizer.stop_ids[:1]:
      ids.append(int(run(ids)[-1].argmax()))
    report[question] = tokenizer.decode(ids[n:])
    assert ids[n:] == answer[0, n:].tolist()
  print(json.dumps(report, indent=1, ensure_ascii=False))
