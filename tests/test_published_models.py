"""Folders and adapters as people publish them: what is read is what `transformers` and `peft` make
of the same files, or it is refused by name in one line."""

import json
import math
import shutil

import numpy as np
import pytest

pytest.importorskip('safetensors')
from golden import make
from safetensors.numpy import load_file, save_file
from test_huggingface import assert_refused, edit, imported, logits

from msm_jax.base.errors import WeightsError
from msm_jax.interop import huggingface, peft


def their_logits(folder):
  """The logits of `transformers`."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation='eager')
  with torch.no_grad():
    return model.eval()(torch.tensor(make.TOKENS)).logits.float().numpy()


def check_logits(folder):
  """Compares ours of a folder with those of `transformers`."""
  np.testing.assert_allclose(logits(*imported(folder)), their_logits(folder), atol=1e-4)


# ---- config.json

# What people's files hold beside what counts -> (case, changes of config.json).
PUBLISHED = {
  'Qwen2.5-0.5B': ('qwen2', dict(use_mrope=False, max_window_layers=24, sliding_window=32768)),
  'huggyllama': ('llama2', dict(max_sequence_length=2048, pad_token_id=0)),
  'a full dump of transformers 4': (
    'llama2',
    dict(do_sample=False, top_k=50, top_p=1.0, num_beams=1, max_length=20, temperature=1.0)
    | dict(pruned_heads={}, cross_attention_hidden_size=None, torchscript=False, prefix=None)
    | dict(bad_words_ids=None, typical_p=1.0, use_bfloat16=False, tokenizer_class=None),
  ),
}


@pytest.mark.parametrize('what', PUBLISHED)
def test_keys_that_ask_for_nothing(tmp_path, what):
  case, changes = PUBLISHED[what]
  plain = make.write_folder(tmp_path, case)
  edit(tmp_path, **changes)
  expected = huggingface.config_from_json(plain, 'here')
  assert huggingface.read_config(tmp_path) == expected


WINDOWS = {
  'no max_window_layers': ('qwen2', dict(use_sliding_window=True, sliding_window=4)),
  'qwen 3 without it': ('qwen3', dict(use_sliding_window=True, sliding_window=4)),
  'half of the layers': (
    'qwen2',
    dict(use_sliding_window=True, sliding_window=4, max_window_layers=2),
  ),
  'all layers': ('qwen3', dict(use_sliding_window=True, sliding_window=4, max_window_layers=0)),
  'a window of the family': ('gemma3', dict(sliding_window='absent', layer_types='absent')),
  'a switch that the family lacks': ('gemma3', dict(use_sliding_window=False)),
}


@pytest.mark.parametrize('what', WINDOWS)
def test_windows_where_the_file_says_nothing(tmp_path, what):
  case, changes = WINDOWS[what]
  make.write_folder(tmp_path, case)
  edit(tmp_path, **changes)
  theirs = pytest.importorskip('transformers').AutoConfig.from_pretrained(tmp_path)
  c = huggingface.read_config(tmp_path)
  has_window = [kind == 'sliding_attention' for kind in theirs.layer_types]
  assert list(c.local_layers or [False] * c.n_layers) == has_window
  if any(has_window):
    assert c.local_window == theirs.sliding_window


@pytest.mark.slow
@pytest.mark.parametrize('what', ['no max_window_layers', 'half of the layers'])
def test_logits_with_windows(tmp_path, what):
  case, changes = WINDOWS[what]
  make.write_folder(tmp_path, case)
  edit(tmp_path, **changes)
  check_logits(tmp_path)


LINEAR = dict(rope_type='linear', factor=4.0)
ROPES = {
  'rope_scaling goes before rope_parameters': (
    'llama2',
    dict(rope_parameters=dict(rope_type='default', rope_theta=5e4), rope_scaling=LINEAR),
  ),
  'and takes rope_theta from beside it': (
    'qwen3',
    dict(
      rope_parameters=dict(rope_type='default', rope_theta=5e4),
      rope_scaling=LINEAR,
      rope_theta=3e4,
    ),
  ),
  'an empty one does not': (
    'llama2',
    dict(rope_parameters=dict(rope_type='default', rope_theta=5e4), rope_scaling=None),
  ),
  'gemma adds it': (
    'gemma3',
    dict(
      rope_parameters=dict(
        full_attention=dict(rope_type='default', rope_theta=5e4),
        sliding_attention=dict(rope_type='default', rope_theta=2e4),
      ),
      rope_scaling=LINEAR,
    ),
  ),
  'gemma of one kind only': (
    'gemma3',
    dict(rope_parameters=dict(full_attention=dict(rope_type='default', rope_theta=5e4))),
  ),
}


@pytest.mark.parametrize('what', ROPES)
def test_which_rotary_positions_count(tmp_path, what):
  case, changes = ROPES[what]
  make.write_folder(tmp_path, case)
  edit(tmp_path, **changes)
  theirs = pytest.importorskip('transformers').AutoConfig.from_pretrained(tmp_path).rope_parameters
  c = huggingface.read_config(tmp_path)
  full = theirs.get('full_attention', theirs)
  assert c.rope_theta == full['rope_theta']
  factor = c.rope_scaling.factor if c.rope_scaling else None
  assert factor == full.get('factor')
  if case == 'gemma3':
    assert c.local_theta == theirs['sliding_attention']['rope_theta']


@pytest.mark.slow
def test_logits_where_two_keys_scale(tmp_path):
  make.write_folder(tmp_path, 'llama2')
  edit(tmp_path, **ROPES['rope_scaling goes before rope_parameters'][1])
  check_logits(tmp_path)


def test_yarn_is_refused_in_new_files_too(tmp_path):
  make.write_folder(tmp_path, 'qwen3')
  new = dict(rope_type='default', rope_theta=1e6)
  yarn = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=32768)
  edit(tmp_path, rope_parameters=new, rope_scaling=yarn)
  with pytest.raises(WeightsError, match="type 'yarn' are not known here"):
    huggingface.read_config(tmp_path)


# What transformers reads otherwise than it is meant, or does not run -> (case, changes, the error).
PASSED_OVER = {
  'windows that are not switched on': (
    'qwen2',
    dict(layer_types=make.MIXED, sliding_window=4),
    'use_sliding_window=False',
  ),
  'windows that are switched neither on nor off': (
    'qwen3',
    dict(layer_types=make.MIXED, use_sliding_window=None),
    'use_sliding_window=None',
  ),
  'a second activation': (
    'gemma3',
    dict(hidden_act='gelu_pytorch_tanh', hidden_activation='silu'),
    "activation 'silu'",
  ),
  'a base for all layers of a Gemma': (
    'gemma3',
    dict(rope_parameters=dict(rope_type=None, rope_theta=5e4)),
    'rope_theta stands beside them',
  ),
  'a factor for all layers of a Gemma': (
    'gemma3',
    dict(rope_parameters=LINEAR | dict(sliding_attention=dict(rope_theta=2e4))),
    'factor stands beside them',
  ),
  'a base for one kind of layers of a Llama': (
    'llama2',
    dict(rope_parameters=dict(full_attention=dict(rope_type='default', rope_theta=5e4))),
    'the same for all layers',
  ),
  'a base for the windows of a Qwen': (
    'qwen3',
    dict(rope_parameters=dict(rope_theta=5e4, sliding_attention=dict(rope_theta=2e4))),
    'the same for all layers',
  ),
}


@pytest.mark.parametrize('what', PASSED_OVER)
def test_what_transformers_would_pass_over_is_refused(tmp_path, what):
  assert_refused(tmp_path, *PASSED_OVER[what])


def test_kinds_of_layers_in_a_llama(tmp_path):
  """transformers gives no Llama a window, and rope_scaling goes before all rope_parameters."""
  make.write_folder(tmp_path, 'llama2')
  nested = dict(full_attention=dict(rope_type='default', rope_theta=5e4))
  edit(tmp_path, layer_types=make.MIXED, rope_parameters=nested, rope_scaling=LINEAR)
  theirs = pytest.importorskip('transformers').AutoConfig.from_pretrained(tmp_path).rope_parameters
  c = huggingface.read_config(tmp_path)
  assert not c.local_layers
  assert (c.rope_theta, c.rope_scaling.factor) == (theirs['rope_theta'], theirs['factor'])


@pytest.mark.parametrize('case', ['llama2', 'qwen2', 'qwen3', 'gemma3'])
def test_defaults_of_the_families(case):
  """Keys that are absent have the values of the family's own class in `transformers`."""
  transformers = pytest.importorskip('transformers')
  absent = (
    'vocab_size',
    'rms_norm_eps',
    'num_key_value_heads',
    'head_dim',
    'tie_word_embeddings',
    'query_pre_attn_scalar',
    'max_position_embeddings',
  )
  raw = make.COMMON | make.CASES[case] | dict(num_attention_heads=32, hidden_size=1024)
  raw = {key: value for key, value in raw.items() if key not in absent}
  theirs = transformers.AutoConfig.for_model(**raw)
  c = huggingface.config_from_json(raw, 'here')
  assert c.vocab_size == theirs.vocab_size
  assert c.norm_eps == theirs.rms_norm_eps
  assert c.n_kv_heads == theirs.num_key_value_heads
  # The class of Qwen 2 has no such key.
  assert c.head_dim == getattr(theirs, 'head_dim', 1024 // 32)
  assert c.tie_embeddings == theirs.tie_word_embeddings
  if case == 'gemma3':
    assert c.query_scale == theirs.query_pre_attn_scalar**-0.5


MALFORMED = {
  'no heads': (dict(num_attention_heads=0), 'num_attention_heads=0'),
  'heads null': (dict(num_attention_heads=None), 'num_attention_heads=None'),
  'a size as text': (dict(hidden_size='32'), "hidden_size='32'"),
  'half of a layer': (dict(num_hidden_layers=2.0), 'num_hidden_layers=2.0'),
  'a size that is true': (dict(intermediate_size=True), 'intermediate_size=True'),
  'epsilon as text': (dict(rms_norm_eps='1e-6'), "rms_norm_eps='1e-6'"),
  'epsilon that is none': (dict(rms_norm_eps=math.nan), 'rms_norm_eps=nan'),
  'a base that is null': (
    dict(rope_parameters=dict(rope_type='default', rope_theta=None)),
    'rope_theta=None',
  ),
  'a base of zero': (dict(rope_theta=0), 'rope_theta=0'),
  'a huge base': (dict(rope_theta=10**400), 'rope_theta=1000'),
  'a factor that is null': (
    dict(rope_scaling=dict(rope_type='linear', factor=None)),
    'factor=None',
  ),
  'a factor that is a list': (
    dict(rope_scaling=dict(rope_type='linear', factor=[2])),
    'factor=[2]',
  ),
  'a kind that is a list': (dict(rope_scaling=dict(rope_type=['linear'])), "type ['linear']"),
  'rope as text': (dict(rope_scaling='linear'), "rope_scaling='linear'"),
  'rope as a list': (dict(rope_parameters=[1]), 'rope_parameters=[1]'),
  'a family that is a list': (dict(model_type=['llama']), "architecture ['llama']"),
  'architectures null': (dict(model_type='x', architectures=[None]), "architecture 'x' ([None])"),
  'kinds of layers as text': (dict(layer_types='full'), "layer_types='full'"),
  'kinds of layers as numbers': (dict(layer_types=[1, 2]), 'layer_types=[1, 2]'),
  'too few kinds': (dict(layer_types=['full_attention']), 'layer_types'),
  'tied perhaps': (dict(tie_word_embeddings='no'), "tie_word_embeddings='no'"),
  'a length as text': (dict(max_position_embeddings='x'), "max_position_embeddings='x'"),
  'a window without a size': (
    dict(layer_types=['sliding_attention'] * 4, use_sliding_window=True, sliding_window=None),
    'sliding_window=None',
  ),
  'a huge size': (dict(hidden_size=2**70), 'hidden_size=1180'),
  'a window as text': (dict(sliding_window=''), "sliding_window=''"),
  'a window in a Llama': (
    dict(use_sliding_window=True, sliding_window=4, layer_types=['sliding_attention'] * 4),
    'no Llama has layers with a window',
  ),
  'a negative window': (dict(sliding_window=-4), 'sliding_window=-4'),
}


@pytest.mark.parametrize('what', MALFORMED)
def test_values_of_the_wrong_type(tmp_path, what):
  changes, says = MALFORMED[what]
  make.write_folder(tmp_path, 'llama2')
  edit(tmp_path, **changes)
  with pytest.raises(WeightsError) as e:
    huggingface.read_config(tmp_path)
  line = str(e.value)
  assert says in line and '\n' not in line and len(line) < 500, line


def test_a_gemma_without_windows_is_written_as_one():
  """Where a file lists no layers, `transformers` gives most layers of Gemma 3 a window."""
  raw = make.COMMON | make.CASES['gemma3'] | dict(layer_types=['full_attention'] * 4)
  c = huggingface.config_from_json(raw, 'here')
  written = huggingface.config_to_json(c, 'float32', {})
  assert c.local_layers == () and huggingface.config_from_json(written, 'here') == c
  theirs = pytest.importorskip('transformers').AutoConfig.for_model(**written)
  assert theirs.layer_types == raw['layer_types']


def test_patterns_of_gemma(tmp_path):
  for changes, says in (
    (dict(sliding_window_pattern=0), 'sliding_window_pattern=0'),
    # transformers gives every sixth layer the whole text then.
    (dict(_sliding_window_pattern=2), '_sliding_window_pattern=2 says nothing without layer_types'),
    (dict(query_pre_attn_scalar=0), 'query_pre_attn_scalar=0'),
    (dict(final_logit_softcapping='x'), "final_logit_softcapping='x'"),
  ):
    make.write_folder(tmp_path, 'gemma3')
    edit(tmp_path, layer_types='absent', **changes)
    with pytest.raises(WeightsError, match=says):
      huggingface.read_config(tmp_path)


# ---- which tensors count


@pytest.mark.slow
def test_the_main_file_goes_before_an_index(tmp_path):
  """An index and its shards that were left beside model.safetensors are not read."""
  make.write_folder(tmp_path, 'llama2')
  tensors = load_file(tmp_path / 'model.safetensors')
  stale = {name: 2 * x for name, x in tensors.items()}
  save_file(stale, tmp_path / 'model-00001-of-00001.safetensors', metadata={'format': 'pt'})
  index = {'weight_map': dict.fromkeys(tensors, 'model-00001-of-00001.safetensors')}
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
  # Nor is a copy whose name comes later.
  save_file(stale, tmp_path / 'old_copy.safetensors', metadata={'format': 'pt'})
  check_logits(tmp_path)


def test_a_tensor_in_two_files(tmp_path):
  make.write_folder(tmp_path, 'llama2')
  shutil.copy(tmp_path / 'model.safetensors', tmp_path / 'x-1.safetensors')
  (tmp_path / 'model.safetensors').rename(tmp_path / 'x-2.safetensors')
  with pytest.raises(WeightsError, match=r'is in x-1\.safetensors and in x-2\.safetensors; move'):
    huggingface.TensorFiles(tmp_path)


def test_a_refusal_of_a_long_value_is_short():
  """The config.json of a quantised model lists hundreds of layers."""
  plain = make.COMMON | make.CASES['llama2']
  layers = [f'model.layers.{n}.mlp.gate' for n in range(100)]
  quantised = {'quant_method': 'fp8', 'modules_to_not_convert': layers}
  for key, says in (('quantization_config', 'from before the quantisation'), ('new', 'not known')):
    with pytest.raises(WeightsError, match=f'{key}=.*fp8.*{says}') as e:
      huggingface.config_from_json(plain | {key: quantised}, 'here')
    assert len(str(e.value)) < 300


def test_types_of_quantised_weights(tmp_path):
  """Weights in 8 bits, without a config that says so."""
  torch = pytest.importorskip('torch')
  from safetensors.torch import load_file as load_torch
  from safetensors.torch import save_file as save_torch

  make.write_folder(tmp_path, 'llama2')
  path = tmp_path / 'model.safetensors'
  name = 'model.layers.0.mlp.up_proj.weight'
  tensors = load_torch(path)
  c = huggingface.read_config(tmp_path)
  for dtype in (torch.float8_e4m3fn, torch.int8):
    save_torch(tensors | {name: tensors[name].to(dtype)}, path, metadata={'format': 'pt'})
    with pytest.raises(WeightsError, match=f'{name} is stored as'):
      huggingface.check_tensors(huggingface.TensorFiles(tmp_path), c)


@pytest.mark.parametrize(
  ('content', 'says'),
  [
    (b'{"weight_map": {"a": "mod', 'is not JSON'),
    (b'{"metadata": {}}', 'has no weight_map'),
    (b'[]', 'holds no JSON object'),
    (b'{"weight_map": ["x"]}', 'has no weight_map'),
    (b'{"weight_map": {"a": 3}}', 'is no name of a file'),
    (b'{"weight_map": {"a": "../other/x.safetensors"}}', 'is no name of a file'),
    (b'{"weight_map": {}}', r'holds no \*\.safetensors'),
    (b'\xff\xfe', 'is not JSON'),
    (b'[' * 100_000, 'is not JSON'),
  ],
)
def test_an_index_that_is_broken(tmp_path, content, says):
  (tmp_path / 'model.safetensors.index.json').write_bytes(content)
  with pytest.raises(WeightsError, match=says) as e:
    huggingface.TensorFiles(tmp_path)
  assert '\n' not in str(e.value)


def test_an_output_matrix_that_config_calls_tied(tmp_path):
  """`transformers` uses the matrix that is stored; here it is refused, unless it is the same."""
  make.write_folder(tmp_path, 'llama3')
  path = tmp_path / 'model.safetensors'
  tensors = load_file(path)
  embed = tensors['model.embed_tokens.weight']
  c = huggingface.read_config(tmp_path)
  save_file(tensors | {'lm_head.weight': embed.copy()}, path, metadata={'format': 'pt'})
  huggingface.check_tensors(huggingface.TensorFiles(tmp_path), c)
  other = embed.copy()
  other[-1, -1] += 1
  for changed in (other, embed[:-1].copy()):
    save_file(tensors | {'lm_head.weight': changed}, path, metadata={'format': 'pt'})
    with pytest.raises(WeightsError, match='set tie_word_embeddings to false'):
      huggingface.check_tensors(huggingface.TensorFiles(tmp_path), c)
  # The remedy works.
  save_file(tensors | {'lm_head.weight': other}, path, metadata={'format': 'pt'})
  edit(tmp_path, tie_word_embeddings=False)
  huggingface.check_tensors(huggingface.TensorFiles(tmp_path), huggingface.read_config(tmp_path))


# ---- adapters


def saved_adapter(folder, **settings):
  """An adapter of `peft` on the model in folder / 'base', as if it was trained; and its logits."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  theirs = pytest.importorskip('peft')
  load = transformers.AutoModelForCausalLM.from_pretrained
  make.write_folder(folder / 'base', 'llama2')
  torch.manual_seed(0)
  config = theirs.LoraConfig(
    r=4, lora_alpha=8, target_modules=['q_proj', 'down_proj'], task_type='CAUSAL_LM', **settings
  )
  model = theirs.get_peft_model(load(folder / 'base', attn_implementation='eager'), config)
  for name, x in model.named_parameters():
    if 'lora_' in name:
      x.data += 0.1 * torch.randn_like(x)
  model.save_pretrained(folder / 'adapter')
  base = load(folder / 'base', attn_implementation='eager')
  again = theirs.PeftModel.from_pretrained(base, folder / 'adapter').eval()
  with torch.no_grad():
    return again(torch.tensor(make.TOKENS)).logits.numpy()


@pytest.mark.slow
@pytest.mark.parametrize('init', [True, False, 'gaussian', 'orthogonal', 'mica', 'eva'])
def test_adapters_of_peft_that_are_plain(tmp_path, init):
  expected = saved_adapter(tmp_path, init_lora_weights=init)
  lora = peft.read_config(tmp_path / 'adapter')
  c, params = imported(tmp_path / 'base', lora=lora)
  abstract = {name: x for name, x in params.items() if name.endswith(('_a', '_b'))}
  params |= peft.load_params(tmp_path / 'adapter', c, abstract)
  np.testing.assert_allclose(logits(c, params), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('init', ['pissa', 'pissa_niter_4', 'olora'])
def test_adapters_of_peft_that_change_the_base(tmp_path, init):
  saved_adapter(tmp_path, init_lora_weights=init)
  with pytest.raises(WeightsError, match=f"init_lora_weights='{init}'"):
    peft.read_config(tmp_path / 'adapter')


PLAIN = dict(peft_type='LORA', r=4, lora_alpha=8, target_modules=['q_proj'])


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    (dict(init_lora_weights='loftq'), "init_lora_weights='loftq'"),
    (dict(init_lora_weights='corda'), "init_lora_weights='corda'"),
    (dict(init_lora_weights='lora_ga'), "init_lora_weights='lora_ga'"),
    (dict(init_lora_weights=['x']), 'init_lora_weights='),
    (dict(use_future_lora=True), 'use_future_lora=True'),
    (dict(kasa_config=dict(beta=1e-4)), 'kasa_config='),
    (dict(use_bdlora=dict(nblocks=2)), 'use_bdlora='),
    (dict(monteclora_config=dict(x=1)), 'monteclora_config='),
    (dict(velora_config=dict(x=1)), 'velora_config='),
    (dict(arrow_config=dict(top_k=3)), 'arrow_config='),
    (dict(use_rslora=True), 'use_rslora=True'),
    (dict(alpha_pattern=dict(q_proj=3)), 'alpha_pattern='),
    (dict(r='4'), "r='4' is no number"),
    (dict(r=4.0), 'r=4.0 is no number'),
    (dict(r=True), 'r=True is no number'),
    (dict(r=0), 'rank'),
    (dict(lora_alpha=None), 'lora_alpha=None is no number'),
    (dict(lora_alpha=10**400), 'too large'),
    (dict(lora_dropout='x'), "lora_dropout='x' is no number"),
    (dict(target_modules=7), 'target_modules is no list'),
    (dict(target_modules=[['q_proj']]), 'target_modules is no list'),
    (dict(peft_type=None), 'peft_type'),
  ],
)
def test_adapters_that_are_refused(tmp_path, changes, says):
  raw = PLAIN | changes
  (tmp_path / 'adapter_config.json').write_text(json.dumps(raw))
  with pytest.raises(WeightsError) as e:
    peft.read_config(tmp_path)
  assert says in str(e.value) and '\n' not in str(e.value), e.value


def test_every_setting_of_peft_is_known():
  """What this version of PEFT writes for a plain adapter passes, and each setting has its place."""
  theirs = pytest.importorskip('peft')
  raw = theirs.LoraConfig(**{k: v for k, v in PLAIN.items() if k != 'peft_type'}).to_dict()
  assert set(raw) <= set(peft.FIXED) | peft.NEUTRAL | peft.READ
