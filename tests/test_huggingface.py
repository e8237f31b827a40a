"""Folders of Hugging Face in and out, and adapters of PEFT.

Every family is compared with frozen logits of `transformers` (tests/golden/make.py), and with
`transformers` and `peft` themselves where they are installed.

Letters: B texts, T tokens of each.
"""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip('safetensors')
from golden import make
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from steps import assert_trees_equal, fresh_params

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.errors import WeightsError
from msm_jax.config import LoraConfig, OptimizerConfig
from msm_jax.interop import huggingface, peft
from msm_jax.objectives.next_token import next_token
from msm_jax.training import train_step

# Left out of `make quick`.
pytestmark = pytest.mark.slow

GOLDEN = np.load(Path(make.__file__).with_name('logits.npz'))
B, T = make.TOKENS.shape
POSITIONS = np.tile(np.arange(T), (B, 1))
ONES = np.ones_like(POSITIONS)
MESHES = {'one': dict(devices=jax.devices()[:1]), 'all': dict(data=2, fsdp=2, tensor=2)}
LORA = LoraConfig(rank=4, alpha=8.0)


def imported(folder, mesh=MESHES['one'], **ours):
  """(config, parameters) of a folder, frozen ones too."""
  c = huggingface.read_config(folder, **ours)
  files = huggingface.TensorFiles(folder)
  huggingface.check_tensors(files, c)
  program = train_step.make_program(c, OptimizerConfig(), 0, sharding.make_mesh(**mesh))
  load = functools.partial(huggingface.load_params, files, c)
  if c.lora:
    return c, load(program.abstract_state.frozen) | program.init(jax.random.key(0)).params
  return c, load(program.abstract_state.params)


def logits(c, params, tokens=make.TOKENS, positions=POSITIONS, segments=ONES):
  """(B, T, V) logits of packed rows."""

  @jax.jit
  def compute(p):
    hidden = models.forward(c, p, jnp.asarray(tokens), positions, segments)
    return models.logits(c, p, hidden)

  return np.asarray(compute(params))


@pytest.mark.parametrize('case', make.CASES)
def test_logits_equal_transformers(tmp_path, case):
  """The logits are the same however they are computed.

  With one text a row, with two packed into one row, with the layers scanned, and token by token
  from a cache.
  """
  make.write_folder(tmp_path, case)
  wanted = GOLDEN[case]
  for scan in (False, True):
    c, params = imported(tmp_path, scan_layers=scan)
    np.testing.assert_allclose(logits(c, params), wanted, atol=1e-4)
  packed = logits(
    c, params, make.TOKENS.reshape(1, -1), POSITIONS.reshape(1, -1), np.repeat([1, 2], T)[None]
  )
  np.testing.assert_allclose(packed.reshape(wanted.shape), wanted, atol=1e-4)

  extend = jax.jit(functools.partial(models.extend, c))
  cache = models.empty_cache(c, B, 32)
  parts = []
  # Nine tokens at once, then one at a time.
  for start, end in [(0, 9)] + [(t, t + 1) for t in range(9, T)]:
    tokens = jnp.asarray(make.TOKENS[:, start:end])
    x, cache = extend(params, tokens, jnp.asarray(POSITIONS[:, start:end]), cache)
    parts.append(models.logits(c, params, x))
  np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=1e-4)


def test_ragged_rows_share_a_cache():
  """Rows of different lengths are padded, and what the padding wrote is never seen."""
  c = huggingface.config_from_json(make.COMMON | make.CASES['gemma3'], 'here')
  params = fresh_params(c)
  extend = jax.jit(functools.partial(models.extend, c))
  lengths, cache = np.array([5, 11]), models.empty_cache(c, B, 32)
  x, cache = extend(
    params,
    jnp.asarray(np.where(lengths[:, None] > POSITIONS, make.TOKENS, 0)[:, :11]),
    jnp.asarray(POSITIONS[:, :11]),
    cache,
  )
  whole = jax.jit(functools.partial(models.forward, c))(params, make.TOKENS, POSITIONS, ONES)
  for row, n in enumerate(lengths):
    np.testing.assert_allclose(x[row, :n], whole[row, :n], atol=1e-4)
  for k in range(6):
    at = lengths + k
    x, cache = extend(
      params, jnp.asarray(make.TOKENS[[0, 1], at])[:, None], jnp.asarray(at)[:, None], cache
    )
    np.testing.assert_allclose(x[:, 0], whole[np.arange(2), at], atol=1e-4)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('case', ['llama3', 'qwen2', 'gemma3'])
def test_round_trip_to_the_bit(tmp_path, case, dtype):
  """A folder is read onto a mesh and written in several files.

  Every tensor is as it was stored, and the config says the same model.
  """
  make.write_folder(tmp_path / 'in', case, dtype)
  (tmp_path / 'in' / 'tokenizer.json').write_text('{}')
  template = 'additional_chat_templates/tool_use.jinja'
  (tmp_path / 'in' / template).parent.mkdir()
  (tmp_path / 'in' / template).write_text('{{ tools }}')
  c, params = imported(tmp_path / 'in', MESHES['all'])
  assert {len(x.sharding.device_set) for x in jax.tree.leaves(params)} == {8}
  huggingface.export(tmp_path / 'out', c, params, tmp_path / 'in', shard_bytes=30_000)
  files = huggingface.TensorFiles(tmp_path / 'out')
  stored = load_file(tmp_path / 'in' / 'model.safetensors')
  assert files.names == stored.keys()
  assert len(set(files.paths.values())) > 2
  for name, x in stored.items():
    with safe_open(files.paths[name], 'numpy') as f:
      assert f.get_tensor(name).dtype == x.dtype
      np.testing.assert_array_equal(
        f.get_tensor(name).view(np.uint8), x.view(np.uint8), err_msg=name
      )
  assert huggingface.read_config(tmp_path / 'out') == c
  assert (tmp_path / 'out' / 'tokenizer.json').exists()
  assert (tmp_path / 'out' / template).read_text() == '{{ tools }}'
  with pytest.raises(WeightsError, match='not empty; choose another'):
    huggingface.export(tmp_path / 'out', c, params, tmp_path / 'in')


def test_a_weight_that_float16_cannot_hold(tmp_path):
  """It would be infinite, and every answer of the exported model NaN."""
  make.write_folder(tmp_path / 'in', 'llama3', 'float32')
  c, params = imported(tmp_path / 'in')
  for value, is_refused in ((65504.0, False), (1e5, True)):
    out = tmp_path / f'out {value}'
    params['w_up'] = params['w_up'].at[1, 0, 0].set(-value)
    if is_refused:
      says = r'model\.layers\.1\.mlp\.up_proj\.weight holds numbers up to 100000, and float16 ends'
      with pytest.raises(WeightsError, match=says):
        huggingface.export(out, c, params, tmp_path / 'in', 'float16')
      assert not out.exists()
    else:
      huggingface.export(out, c, params, tmp_path / 'in', 'float16')
  huggingface.export(tmp_path / 'wide', c, params, tmp_path / 'in', 'bfloat16')
  stored = load_file(tmp_path / 'wide' / 'model.safetensors')
  assert stored['model.layers.1.mlp.up_proj.weight'].astype(np.float32)[0, 0] == np.float32(-99840)


def test_a_window_that_the_base_does_not_name(tmp_path):
  """An arm has the length of its rows then, which is no window of the exported model."""
  make.write_folder(tmp_path / 'in', 'llama3', 'float32')
  path = tmp_path / 'in' / 'config.json'
  settings = json.loads(path.read_text())
  window = settings.pop('max_position_embeddings')
  path.write_text(json.dumps(settings))
  c, params = imported(tmp_path / 'in')
  assert c.max_length == 0
  c = dataclasses.replace(c, max_length=96)
  huggingface.export(tmp_path / 'out', c, params, tmp_path / 'in')
  read = pytest.importorskip('transformers').AutoConfig.from_pretrained
  lengths = [read(tmp_path / name).max_position_embeddings for name in ('in', 'out')]
  assert lengths[0] == lengths[1] != 96
  path.write_text(json.dumps(settings | {'max_position_embeddings': window}))
  c, params = imported(tmp_path / 'in')
  huggingface.export(tmp_path / 'named', c, params, tmp_path / 'in')
  assert read(tmp_path / 'named').max_position_embeddings == window


def test_large_parameters_are_read_layer_by_layer(tmp_path, monkeypatch):
  """As if all were large; the numbers and their layout are those of layers read together."""
  make.write_folder(tmp_path, 'qwen2', 'bfloat16')
  _, together = imported(tmp_path, MESHES['all'])
  monkeypatch.setattr('msm_jax.interop.huggingface.tensors.READ_TOGETHER', 0)
  _, one_by_one = imported(tmp_path, MESHES['all'])
  assert_trees_equal(one_by_one, together)
  for name, x in together.items():
    assert one_by_one[name].sharding == x.sharding and one_by_one[name].dtype == x.dtype, name


def assert_refused(folder, case, changes, says):
  """A config.json of a case with changes is refused in one line."""
  make.write_folder(folder, case)
  edit(folder, **changes)
  with pytest.raises(WeightsError, match=says) as e:
    huggingface.read_config(folder)
  assert '\n' not in str(e.value)


def edit(folder, **changes):
  """Changes keys of a folder's config.json; 'absent' takes one away."""
  path = folder / 'config.json'
  raw = json.loads(path.read_text()) | changes
  path.write_text(json.dumps({k: v for k, v in raw.items() if v != 'absent'}))


@pytest.mark.parametrize(
  ('case', 'changes', 'says'),
  [
    ('llama2', dict(model_type='mamba'), "architecture 'mamba'"),
    ('llama2', dict(attention_bias=True), 'attention_bias=True changes the mathematics'),
    ('llama2', dict(surprise=0.5), 'surprise=0.5 is not known here'),
    ('llama2', dict(hidden_act='relu'), "activation 'relu'"),
    ('llama2', dict(rope_scaling=dict(rope_type='yarn', factor=4.0)), "type 'yarn'"),
    ('llama2', dict(rope_scaling=dict(rope_type='llama3', factor=4.0)), 'lack low_freq_factor'),
    ('llama2', dict(rope_parameters=dict(rope_type='linear', factor=2.0, spin=1)), 'spin=1'),
    ('llama2', dict(quantization_config=dict(bits=4)), 'quantization_config='),
    ('llama2', dict(hidden_size='absent'), 'hidden_size is missing'),
    ('llama2', dict(num_key_value_heads=3), 'must divide'),
    ('gemma3', dict(attn_logit_softcapping=50.0), 'attn_logit_softcapping=50.0'),
    ('gemma3', dict(layer_types=['chunked_attention'] * 4), "layers of type 'chunked_attention'"),
  ],
)
def test_what_changes_the_mathematics_is_refused_by_name(tmp_path, case, changes, says):
  assert_refused(tmp_path, case, changes, says)


def test_tensors_that_do_not_fit_are_refused_by_name(tmp_path):
  make.write_folder(tmp_path, 'llama2')
  c, path = huggingface.read_config(tmp_path), tmp_path / 'model.safetensors'
  tensors = load_file(path)

  def refused(says, **changes):
    save_file({n: x for n, x in (tensors | changes).items() if x is not None}, path)
    with pytest.raises(WeightsError, match=says):
      huggingface.check_tensors(huggingface.TensorFiles(tmp_path), c)

  name = 'model.layers.2.mlp.up_proj.weight'
  refused(f'{name} is missing', **{name: None})
  refused(r'has shape \(48, 16\)', **{name: tensors[name][:, :16].copy()})
  refused(
    'model.layers.0.self_attn.q_proj.bias has no place',
    **{'model.layers.0.self_attn.q_proj.bias': np.zeros(32, np.float32)},
  )
  path.write_bytes(path.read_bytes()[:-50])
  with pytest.raises(WeightsError, match='is broken'):
    huggingface.TensorFiles(tmp_path)
  # Beside model.safetensors, an index would not be read.
  path.unlink()
  (tmp_path / 'model.safetensors.index.json').write_text(
    json.dumps({'weight_map': {'a': 'one.safetensors', 'b': 'two.safetensors'}})
  )
  with pytest.raises(WeightsError, match=r'one.safetensors is missing \(2 of 2'):
    huggingface.TensorFiles(tmp_path)


# ---- adapters


def noisy(params, scale=0.1):
  """Adapters as if they were trained: neither factor is zero."""
  rng = np.random.default_rng(0)
  changed = dict(params)
  for name, x in params.items():
    if name.endswith(('_a', '_b')):
      changed[name] = x + scale * rng.standard_normal(x.shape, np.float32)
  return changed


@pytest.mark.parametrize('case', ['llama3', 'qwen2', 'gemma3'])
def test_adapters_merged_and_beside(tmp_path, case):
  """Fresh adapters change nothing, noisy ones change the logits.

  They change them alike when the export has added them to the matrices.
  """
  make.write_folder(tmp_path / 'in', case)
  c, params = imported(tmp_path / 'in', lora=LORA)
  np.testing.assert_allclose(logits(c, params), GOLDEN[case], atol=1e-4)
  params = noisy(params)
  beside = logits(c, params)
  assert np.abs(beside - GOLDEN[case]).max() > 0.1
  huggingface.export(tmp_path / 'out', c, params, tmp_path / 'in')
  np.testing.assert_allclose(logits(*imported(tmp_path / 'out')), beside, atol=1e-5)


def abstract_adapters(c, mesh):
  """Shapes, dtypes and shardings of a model's adapters."""
  program = train_step.make_program(c, OptimizerConfig(), 0, sharding.make_mesh(**MESHES[mesh]))
  return program.abstract_state.params


def test_adapters_in_the_format_of_peft(tmp_path):
  make.write_folder(tmp_path, 'qwen3')
  c, params = imported(tmp_path, lora=LoraConfig(rank=4, alpha=8.0, targets=('wq', 'w_down')))
  adapters, _ = train_step.split_trainable(c, noisy(params))
  peft.export(tmp_path / 'adapter', c, adapters, 'some/base')
  assert peft.read_config(tmp_path / 'adapter') == c.lora
  back = peft.load_params(tmp_path / 'adapter', c, abstract_adapters(c, 'all'))
  for k, x in adapters.items():
    np.testing.assert_array_equal(back[k], x)

  with pytest.raises(WeightsError, match='changes no output'):
    peft.check_effect(train_step.split_trainable(c, params)[0], 'here')
  path = tmp_path / 'adapter' / 'adapter_config.json'
  raw = json.loads(path.read_text())
  for change, says in (
    (dict(use_dora=True), 'use_dora=True'),
    (dict(target_modules=['embed_tokens']), "target module 'embed_tokens'"),
    (dict(target_modules='.*q_proj'), 'is a pattern'),
    (dict(peft_type='IA3'), "peft_type='IA3'"),
  ):
    path.write_text(json.dumps(raw | change))
    with pytest.raises(WeightsError, match=says):
      peft.read_config(tmp_path / 'adapter')
  wide = dataclasses.replace(c, lora=LoraConfig(rank=8, targets=c.lora.targets))
  with pytest.raises(WeightsError, match='has shape'):
    peft.load_params(tmp_path / 'adapter', wide, abstract_adapters(wide, 'one'))


@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_a_step_with_adapters(tmp_path, dropout):
  """Only adapters learn, and only they have moments.

  The step is differentiable through what is frozen, and dropout follows from seed and step.
  """
  make.write_folder(tmp_path, 'llama3')
  lora = dataclasses.replace(LORA, dropout=dropout)
  mesh = sharding.make_mesh(**MESHES['all'])
  c = huggingface.read_config(tmp_path, lora=lora)
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh)
  state, files = program.init(jax.random.key(0)), huggingface.TensorFiles(tmp_path)
  frozen = jax.device_get(huggingface.load_params(files, c, program.abstract_state.frozen))
  adapters = {f'{t}_{x}' for t in lora.targets for x in 'ab'}
  assert set(state.params) == adapters and not adapters & set(frozen)
  moments = [x for x in jax.tree.leaves(state.opt_state) if x.ndim]
  assert sum(x.size for x in moments) == 2 * sum(x.size for x in state.params.values())
  whole = {
    'tokens': make.TOKENS[:, :-1],
    'targets': make.TOKENS[:, 1:],
    'positions': POSITIONS[:, 1:],
    'segment_ids': ONES[:, 1:],
  }
  batch = {k: np.repeat(v, 2, 0)[None].astype(np.int32) for k, v in whole.items()} | {
    'weights': np.ones((1, 2 * B, T - 1), np.float32)
  }

  def run(seed, steps=6):
    # On the devices, as the step leaves it: it would be compiled anew for what it is given next.
    on_devices = jax.device_put(np.uint32(seed), program.abstract_state.seed.sharding)
    s, seen = dataclasses.replace(program.init(jax.random.key(0)), seed=on_devices), []
    s = dataclasses.replace(
      s, frozen=huggingface.load_params(files, c, program.abstract_state.frozen)
    )
    with jax.set_mesh(mesh):
      for _ in range(steps):
        s, values = program.step(s, batch, np.full(2, 2e-2, np.float32))
        seen.append(float(values['loss']))
    return s, seen

  after, seen = run(0)
  assert seen[-1] < seen[0] - 0.1
  assert all(np.abs(x).max() > 0 for x in jax.device_get(after.params).values())
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(after.frozen), frozen)
  assert run(0, 3)[1] == seen[:3]
  assert (run(1, 3)[1] == seen[:3]) == (not dropout)


# ---- live, where transformers and peft are installed


@pytest.mark.parametrize('case', make.CASES)
def test_gradients_equal_transformers(tmp_path, case):
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  make.write_folder(tmp_path, case)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation='eager')
  tokens = torch.tensor(make.TOKENS)
  their_logits = theirs(tokens).logits
  np.testing.assert_allclose(their_logits.detach().numpy(), GOLDEN[case], atol=1e-5)
  loss = torch.nn.functional.cross_entropy(
    their_logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction='sum'
  )
  loss.backward()
  wanted = {name: p.grad.numpy() for name, p in theirs.named_parameters()}

  c, params = imported(tmp_path)
  batch = {
    'tokens': make.TOKENS[:, :-1],
    'targets': make.TOKENS[:, 1:],
    'positions': POSITIONS[:, :-1],
    'segment_ids': ONES[:, 1:],
  }
  batch = {k: jnp.asarray(v, jnp.int32) for k, v in batch.items()}
  batch['weights'] = jnp.ones((B, T - 1))
  grads = jax.jit(jax.grad(lambda p: next_token(c, None, 0, p, batch)[0]))(params)
  for ours, stored in huggingface.tensor_names(c).items():
    for layer in stored.layers(c):
      name = stored.name.format(layer)
      x = wanted[name]
      scale = np.abs(x).max()
      if stored.is_transposed:
        x = x.T
      found = np.asarray(grads[ours][layer] if stored.is_per_layer else grads[ours])
      np.testing.assert_allclose(found, x, rtol=0, atol=1e-3 * scale, err_msg=name)


def test_peft_and_transformers_load_what_is_written(tmp_path):
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  theirs = pytest.importorskip('peft')
  make.write_folder(tmp_path / 'base', 'llama3')
  c, params = imported(tmp_path / 'base', lora=LORA)
  params = noisy(params)
  beside = logits(c, params)
  adapters, _ = train_step.split_trainable(c, params)
  peft.export(tmp_path / 'adapter', c, adapters, str(tmp_path / 'base'))
  huggingface.export(tmp_path / 'merged', c, params, tmp_path / 'base')

  def told(model):
    with torch.no_grad():
      return model.eval()(torch.tensor(make.TOKENS)).logits.numpy()

  load = functools.partial(
    transformers.AutoModelForCausalLM.from_pretrained, attn_implementation='eager'
  )
  model = theirs.PeftModel.from_pretrained(load(tmp_path / 'base'), tmp_path / 'adapter')
  np.testing.assert_allclose(told(model), beside, atol=1e-5)
  np.testing.assert_allclose(told(load(tmp_path / 'merged')), beside, atol=1e-5)

  # And the other way: an adapter that peft made.
  settings = theirs.LoraConfig(
    r=4, lora_alpha=8, target_modules=['q_proj', 'v_proj'], init_lora_weights=False
  )
  made = theirs.get_peft_model(load(tmp_path / 'base'), settings)
  made.save_pretrained(tmp_path / 'theirs')
  c = dataclasses.replace(c, lora=peft.read_config(tmp_path / 'theirs'))
  program = train_step.make_program(c, OptimizerConfig(), 0, sharding.make_mesh(**MESHES['one']))
  params = huggingface.load_params(
    huggingface.TensorFiles(tmp_path / 'base'), c, program.abstract_state.frozen
  )
  params |= peft.load_params(tmp_path / 'theirs', c, program.abstract_state.params)
  np.testing.assert_allclose(logits(c, params), told(made), atol=1e-5)


@pytest.mark.parametrize('place', ['.', '/', '..'])
def test_a_folder_that_cannot_be_new_is_refused(place):
  with (
    pytest.raises(WeightsError, match=r'(name a new|choose another) folder'),
    huggingface.new_folder(Path(place)),
  ):
    pass
