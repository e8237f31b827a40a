"""Adapters on chosen layers: what they compute, where the backward pass ends, and PEFT's form."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_model import TINY, assert_close, make_batch, make_params, shapes_of

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.checks import from_mapping, to_json
from msm_jax.base.errors import ConfigError, WeightsError
from msm_jax.config import LoraConfig, ModelConfig, OptimizerConfig
from msm_jax.objectives.next_token import next_token
from msm_jax.training import train_step

LORA = LoraConfig(rank=2, alpha=4.0, targets=('wq', 'w_down'))
FOUR = dataclasses.replace(TINY, n_layers=4, lora=LORA)


# Not op by op: every operation would be compiled by itself.
forward = jax.jit(models.forward, static_argnums=0)


def on_layers(layers, **changes):
  return dataclasses.replace(FOUR, lora=dataclasses.replace(LORA, layers=layers), **changes)


def as_everywhere(params, layers):
  """The parameters of a model with adapters everywhere that computes the same: others are zero."""
  everywhere = {}
  for name, x in params.items():
    if name.endswith(('_a', '_b')):
      whole = np.zeros((FOUR.n_layers, *x.shape[1:]), np.float32)
      whole[list(layers)] = x
      x = whole
    everywhere[name] = x
  return everywhere


def loss_of(c):
  """(adapters, frozen parameters, batch) -> the loss sum."""
  return lambda adapters, frozen, batch: next_token(c, None, 0, adapters, batch, frozen)[0]


def loss_and_gradients(c, params, batch):
  adapters, frozen = train_step.split_trainable(c, params)
  compute = jax.jit(jax.value_and_grad(loss_of(c)))
  return jax.device_get(compute(adapters, frozen, batch))


def test_other_layers_have_none():
  shapes = shapes_of(on_layers((1, 3)))
  assert shapes['wq_a'].shape == (2, 32, 2) and shapes['w_down_b'].shape == (2, 2, 32)
  assert shapes['wq'].shape[0] == 4
  # Adapters everywhere, said in two ways, are the same parameters.
  everywhere = on_layers((0, 1, 2, 3))
  assert jax.tree.map(jnp.shape, shapes_of(everywhere)) == jax.tree.map(jnp.shape, shapes_of(FOUR))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('layers', 'changes'),
  [
    ((2, 3), dict(scan_layers=True)),
    ((2, 3), dict(scan_layers=False, remat='block')),
    # With a gap, and with layers above the highest.
    ((0, 2), dict(scan_layers=True, remat='block')),
    ((1,), dict(scan_layers=True, local_layers=(True, False) * 2, local_window=4)),
  ],
  ids=str,
)
def test_gradients_are_those_of_adapters_that_are_zero_elsewhere(layers, changes):
  c = on_layers(layers, **changes)
  params, batch = make_params(c), make_batch()
  loss, found = loss_and_gradients(c, params, batch)
  everywhere = dataclasses.replace(c, lora=LORA, scan_layers=False, remat='none')
  wanted_loss, wanted = loss_and_gradients(everywhere, as_everywhere(params, layers), batch)
  assert loss == pytest.approx(wanted_loss, rel=1e-5)
  wanted = {name: x[list(layers)] for name, x in wanted.items()}
  assert all(np.abs(x).max() > 0 for x in wanted.values())
  assert_close(found, wanted, 1e-5)


def count_matrix_products(jaxpr):
  """The matrix products of a program, those of loops as often as they run."""
  total = 0
  for equation in jaxpr.eqns:
    total += equation.primitive.name == 'dot_general'
    inner = sum(map(count_matrix_products, jax.core.jaxprs_in_params(equation.params)))
    if equation.primitive.name == 'scan':
      inner *= equation.params['length']
    total += inner
  return total


@pytest.mark.slow
@pytest.mark.parametrize('scan', [False, True])
def test_the_backward_pass_ends_at_the_lowest_of_them(scan):
  """Each layer that it leaves out saves the same matrix products, and layers below keep nothing."""
  batch = make_batch()

  def program(layers):
    c = on_layers(layers, scan_layers=scan)
    adapters, frozen = train_step.split_trainable(c, shapes_of(c))
    return jax.make_jaxpr(jax.grad(loss_of(c)))(adapters, frozen, batch).jaxpr

  upper_one, upper_two, upper_three = (
    count_matrix_products(program(layers)) for layers in ((3,), (2, 3), (1, 2, 3))
  )
  assert upper_three - upper_two == upper_two - upper_one
  of_forward_pass = count_matrix_products(
    jax.make_jaxpr(loss_of(FOUR))(*train_step.split_trainable(FOUR, shapes_of(FOUR)), batch).jaxpr
  )
  # A layer is 7 projections, 2 of attention and 2 x 2 of adapters forward.
  assert upper_two - upper_one > 4 + 9
  assert upper_one < 2 * of_forward_pass
  if scan:
    loops = [e for e in program((2, 3)).eqns if e.primitive.name == 'scan']
    lower = [e for e in loops if e.params['length'] == 2 and not e.params['reverse']]
    # Of the lower layers, one array comes out: what the upper ones begin with.
    assert min(len(e.outvars) for e in lower) == 1
    assert sum(e.params['reverse'] for e in loops) == 1


@pytest.mark.slow
def test_from_a_cache_and_merged():
  """Token by token, and added to the matrices of their layers, they compute the same."""
  c = on_layers((1, 3))
  params = make_params(c)
  batch = make_batch(rows=((16,), (16,)))
  tokens, positions = jnp.asarray(batch['tokens']), jnp.asarray(batch['positions'])
  wanted = forward(c, params, tokens, positions, batch['segment_ids'])
  extend = jax.jit(models.extend, static_argnums=0)
  cache = models.empty_cache(c, 2, 16)
  first, cache = extend(c, params, tokens[:, :10], positions[:, :10], cache)
  rest, _ = extend(c, params, tokens[:, 10:], positions[:, 10:], cache)
  np.testing.assert_allclose(np.concatenate([first, rest], 1), wanted, atol=2e-5)

  merged = {}
  for name in shapes_of(dataclasses.replace(c, lora=None)):
    merged[name] = params[name]
    if name in LORA.targets:
      merged[name] = np.stack([models.adapted(c, params, name, n) for n in range(4)])
  assert [bool(np.any(merged['wq'][n] != params['wq'][n])) for n in range(4)] == [0, 1, 0, 1]
  plain = dataclasses.replace(c, lora=None)
  found = forward(plain, merged, tokens, positions, batch['segment_ids'])
  np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_dropout_does_not_depend_on_the_layout():
  """A layer's key is that of its number, whether layers are scanned or not."""
  lora = dataclasses.replace(LORA, layers=(1, 2), dropout=0.5)
  batch, key = make_batch(), jax.random.key(3)

  def run(scan):
    c = dataclasses.replace(FOUR, lora=lora, scan_layers=scan)
    place = [jnp.asarray(batch[k]) for k in ('tokens', 'positions', 'segment_ids')]
    return forward(c, make_params(c), *place, key)

  np.testing.assert_allclose(run(True), run(False), atol=1e-5)


def test_settings():
  """Empty means all and leaves identities alone; what cannot be is refused in one line."""
  assert 'layers' not in json.loads(to_json(LORA))
  chosen = dataclasses.replace(LORA, layers=(1, 2))
  assert from_mapping(LoraConfig, json.loads(to_json(chosen))) == chosen
  assert FOUR.adapted_layers == (0, 1, 2, 3) and TINY.adapted_layers == ()
  for wrong in ((2, 1), (1, 1), (-1,)):
    with pytest.raises(ConfigError, match='numbers of layers from 0, ascending'):
      dataclasses.replace(LORA, layers=wrong)
  # What is kept would be divided by zero.
  with pytest.raises(ConfigError, match=r'dropout=1\.0 must be from 0'):
    dataclasses.replace(LORA, dropout=1.0)
  with pytest.raises(ConfigError, match='names layer 4, and the model has the layers 0 to 3'):
    models.init_params(on_layers((1, 4)), jax.random.key(0))
  # With imported weights, the number of layers is not known yet.
  assert ModelConfig(lora=dataclasses.replace(LORA, layers=(20, 29)))


@pytest.mark.slow
def test_to_peft_and_back(tmp_path):
  """PEFT computes what we compute, and an adapter that PEFT made on chosen layers comes in."""
  torch, transformers = pytest.importorskip('torch'), pytest.importorskip('transformers')
  theirs = pytest.importorskip('peft')
  from golden import make

  from msm_jax.interop import huggingface, peft

  make.write_folder(tmp_path / 'base', 'llama3')
  one_device = sharding.make_mesh(devices=jax.devices()[:1])
  layers = (1, 3)

  def opened(lora, folder=None):
    """(config, parameters) of the weights with an adapter; random ones without a folder."""
    c = huggingface.read_config(tmp_path / 'base', lora=lora, scan_layers=True)
    abstract = train_step.make_program(c, OptimizerConfig(), 0, one_device).abstract_state
    files = huggingface.TensorFiles(tmp_path / 'base')
    params = huggingface.load_params(files, c, abstract.frozen)
    if folder is not None:
      return c, params | peft.load_params(folder, c, abstract.params)
    rng = np.random.default_rng(0)
    for name, x in abstract.params.items():
      params[name] = jnp.asarray(rng.normal(0, 0.3, x.shape), jnp.float32)
    return c, params

  tokens = make.TOKENS
  positions = np.tile(np.arange(tokens.shape[1]), (tokens.shape[0], 1))

  def our_logits(c, params):
    hidden = forward(c, params, jnp.asarray(tokens), positions, np.ones_like(positions))
    return models.logits(c, params, hidden)

  def their_logits(model):
    with torch.no_grad():
      return model.eval()(torch.tensor(tokens)).logits.numpy()

  load = functools.partial(
    transformers.AutoModelForCausalLM.from_pretrained,
    tmp_path / 'base',
    attn_implementation='eager',
  )
  lora = LoraConfig(rank=4, alpha=8.0, targets=('wq', 'w_down'), layers=layers)
  c, params = opened(lora)
  assert c.n_layers > 1
  adapters, _ = train_step.split_trainable(c, params)
  peft.export(tmp_path / 'ours', c, adapters, str(tmp_path / 'base'))
  assert peft.read_config(tmp_path / 'ours') == lora
  # Others may read what is exported.
  assert all(f.stat().st_mode & 0o444 == 0o444 for f in (tmp_path / 'ours').iterdir())
  jax.tree.map(np.testing.assert_array_equal, opened(lora, tmp_path / 'ours')[1], params)
  model = theirs.PeftModel.from_pretrained(load(), tmp_path / 'ours')
  np.testing.assert_allclose(their_logits(model), our_logits(c, params), atol=1e-5)
  huggingface.export(tmp_path / 'merged', c, params, tmp_path / 'base')
  merged = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / 'merged')
  np.testing.assert_allclose(their_logits(merged), our_logits(c, params), atol=1e-5)

  settings = theirs.LoraConfig(
    r=4,
    lora_alpha=8,
    target_modules=['q_proj', 'v_proj'],
    init_lora_weights=False,
    layers_to_transform=list(layers),
  )
  made = theirs.get_peft_model(load(), settings)
  made.save_pretrained(tmp_path / 'theirs')
  found = peft.read_config(tmp_path / 'theirs')
  assert found.layers == layers
  ours = our_logits(*opened(found, tmp_path / 'theirs'))
  np.testing.assert_allclose(ours, their_logits(made), atol=1e-5)

  # An adapter of these layers does not fit a model that expects it on others.
  with pytest.raises(WeightsError, match='does not fit this model'):
    opened(dataclasses.replace(found, layers=(0, 1)), tmp_path / 'theirs')
  path = tmp_path / 'theirs' / 'adapter_config.json'
  raw = json.loads(path.read_text())
  for written, read in ((1, (1,)), ([1, 0], (0, 1)), ([], ())):
    path.write_text(json.dumps(raw | dict(layers_to_transform=written)))
    assert peft.read_config(tmp_path / 'theirs').layers == read
  path.write_text(json.dumps(raw | dict(layers_to_transform='1')))
  with pytest.raises(WeightsError, match='layers_to_transform is no list of numbers'):
    peft.read_config(tmp_path / 'theirs')
