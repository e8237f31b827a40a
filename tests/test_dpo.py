"""Preference optimisation: the loss and its gradients, packed or not, on one device or several,
with adapters, and beside TRL."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from pairs import changed, make_pairs, one_by_one, rows_of_pairs
from steps import TINY, assert_trees_close, assert_trees_equal, fresh_params, one_device, placed

from msm_jax import checkpointing, sharding
from msm_jax import model as models
from msm_jax.base.errors import ConfigError
from msm_jax.config import LoraConfig, OptimizerConfig
from msm_jax.config.objectives import DpoConfig
from msm_jax.objectives.dpo import dpo
from msm_jax.training import train_step
from msm_jax.training.phase_checkpoints import Origin, starting_state

PAIRS = make_pairs(7)
T = 64
PACKED = rows_of_pairs(PAIRS, T, per_row=3)
UNPACKED = rows_of_pairs(PAIRS, 24, per_row=1)
PARAMS = fresh_params()
REFERENCE = changed(PARAMS)
SETTINGS = [
  DpoConfig(),
  DpoConfig(beta=0.5, label_smoothing=0.1, length_normalised=True),
  DpoConfig(beta=0.2, loss='ipo', length_normalised=True),
]


def plain(settings, params, reference):
  """(mean loss, what is reported) of PAIRS: every conversation in a row of its own, logits of all
  tokens at once, and no backward pass written by hand."""

  def log_ratios(rows):
    logprobs = []
    for p in (params, reference):
      x = models.forward(TINY, p, rows['tokens'], rows['positions'], rows['segment_ids'])
      of_all = jax.nn.log_softmax(models.logits(TINY, p, x))
      of_targets = jnp.take_along_axis(of_all, rows['targets'][..., None], axis=-1)[..., 0]
      logprobs.append(of_targets * rows['weights'])
    ratios = logprobs[0] - logprobs[1]
    of_answers = ratios.sum(1)
    if settings.length_normalised:
      of_answers /= rows['weights'].sum(1)
    return of_answers, (jnp.exp(-ratios) - 1 + ratios).sum(1)

  (chosen, kl), (rejected, _) = (log_ratios(rows) for rows in one_by_one(PAIRS))
  h = chosen - rejected
  if settings.loss == 'ipo':
    loss = (h - 0.5 / settings.beta) ** 2
  else:
    s = settings.label_smoothing
    loss = -(1 - s) * jnp.log(jax.nn.sigmoid(settings.beta * h))
    loss -= s * jnp.log(1 - jax.nn.sigmoid(settings.beta * h))
  return loss.mean(), {'margin': h.mean(), 'accuracy': (h > 0).mean(), 'kl': kl.mean()}


@functools.partial(jax.jit, static_argnums=(0, 1))
def ours(settings, chunk, params, reference, batch):
  """(mean loss, sums divided by the weight), gradients of the mean loss."""

  def mean_loss(params):
    loss, sums = dpo(TINY, settings, chunk, params, batch, reference=reference)
    weight = sums.pop('weight')
    return loss / weight, {name: x / weight for name, x in sums.items()} | {'weight': weight}

  return jax.value_and_grad(mean_loss, has_aux=True)(params)


# ---- The loss


@pytest.mark.parametrize('batch', [PACKED, UNPACKED], ids=['packed', 'unpacked'])
def test_the_first_loss_is_ln_2(batch):
  """The model is its own reference at the start of a phase."""
  (loss, found), grads = ours(DpoConfig(), 0, PARAMS, PARAMS, batch)
  assert float(loss) == pytest.approx(math.log(2), abs=1e-6)
  assert float(found['weight']) == len(PAIRS)
  assert abs(float(found['margin'])) < 1e-5 and abs(float(found['kl'])) < 1e-6
  assert max(np.abs(g).max() for g in grads.values()) > 1e-3, 'there is something to learn'


def test_pairs_that_nothing_decides_are_not_accurate():
  """At the very start, h is 0 and not above 0."""
  compute = jax.jit(functools.partial(dpo, TINY, DpoConfig(), 0))
  _, sums = compute(PARAMS, PACKED, reference=PARAMS)
  assert float(sums['margin']) == 0
  assert float(sums['accuracy']) == 0


@pytest.mark.slow
@pytest.mark.parametrize('settings', SETTINGS, ids=['sigmoid', 'smoothed', 'ipo'])
def test_packed_equals_one_conversation_a_row(settings):
  """Loss, gradients and what is reported are those of plain autodiff over conversations that see
  nothing of each other; in rows of three pairs, of one, and in chunks of few tokens."""
  compute = jax.value_and_grad(functools.partial(plain, settings), has_aux=True)
  (wanted_loss, wanted), wanted_grads = jax.jit(compute)(PARAMS, REFERENCE)
  for batch, chunk in [(PACKED, 0), (PACKED, 20), (UNPACKED, 0)]:
    (loss, found), grads = ours(settings, chunk, PARAMS, REFERENCE, batch)
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-5)
    for name, x in wanted.items():
      assert float(found[name]) == pytest.approx(float(x), rel=1e-4, abs=1e-6), name
    for name, g in wanted_grads.items():
      np.testing.assert_allclose(grads[name], g, atol=1e-5 * np.abs(g).max(), err_msg=name)


def test_a_pair_without_an_answer_compares_nothing():
  """Padding, and a pair whose answer was taken out, weigh nothing."""
  batch = {key: x.copy() for key, x in PACKED.items()}
  batch['weights'][0, batch['segment_ids'][0] == 4] = 0
  (_, found), grads = ours(DpoConfig(), 0, PARAMS, REFERENCE, batch)
  assert float(found['weight']) == len(PAIRS) - 1
  rest = rows_of_pairs([p for n, p in enumerate(PAIRS) if n != 1], T, per_row=3)
  (_, wanted), wanted_grads = ours(DpoConfig(), 0, PARAMS, REFERENCE, rest)
  assert float(found['margin']) == pytest.approx(float(wanted['margin']), rel=1e-4)
  assert_trees_close(grads, wanted_grads, rtol=1e-4, atol=1e-6)


def test_settings_that_cannot_work():
  for settings, what in [
    (dict(loss='hinge'), "dpo.loss='hinge' must be one of sigmoid, ipo"),
    (dict(beta=0), 'dpo.beta=0 must be'),
    (dict(label_smoothing=0.7), 'dpo.label_smoothing=0.7 must be from 0 to 0.5'),
    (dict(loss='ipo', label_smoothing=0.1), 'leave it out'),
  ]:
    with pytest.raises(ConfigError, match=what):
      DpoConfig(**settings)


# ---- The step

ADAPTED = dataclasses.replace(TINY, lora=LoraConfig(rank=4, alpha=4.0))
# A large eps makes Adam's first updates proportional to the gradient.
LINEAR_ADAM = OptimizerConfig(eps=1e-2)


def two_updates(mesh, A):
  """(metrics of two updates of DPO, parameters after them) in A micro-batches on a mesh."""
  program = train_step.make_program(TINY, LINEAR_ADAM, 20, mesh, 'dpo', DpoConfig(beta=0.5))
  found = []
  with jax.set_mesh(mesh):
    state = program.start(placed(PARAMS, program.abstract_state.params))
    state = dataclasses.replace(state, reference=placed(PARAMS, program.abstract_state.reference))
    for seed in (1, 2):
      rows = rows_of_pairs(make_pairs(9, seed), T, per_row=3)
      # Four rows, the last of them empty.
      rows = {key: np.pad(x, [(0, 1), (0, 0)]) for key, x in rows.items()}
      batch = train_step.to_device(rows, A, mesh)
      state, metrics = program.step(state, batch, jnp.full(2, 0.05))
      found.append(jax.device_get(metrics))
    assert_trees_equal(state.reference, PARAMS)
  return found, jax.device_get(state.params)


@pytest.mark.slow
def test_micro_batches_and_devices_make_one_update():
  wanted, params = two_updates(one_device(), 1)
  assert wanted[0]['loss'] == pytest.approx(math.log(2), abs=1e-6)
  assert wanted[0]['weight'] == 9 and wanted[1]['kl'] > 0
  pair = sharding.make_mesh(data=2, devices=jax.devices()[:2])
  divided = sharding.make_mesh(data=1, fsdp=2, devices=jax.devices()[:2])
  for mesh, A in [(pair, 2), (divided, 1)]:
    found, others = two_updates(mesh, A)
    assert_trees_close(found, wanted, rtol=1e-4)
    assert_trees_close(others, params, rtol=1e-4, atol=2e-6)


class NoData:
  """A place in no data."""

  def set_state(self, state):
    assert state == {'at': 2}


@pytest.mark.slow
def test_the_reference_of_adapters_is_the_adapter_at_its_start(tmp_path):
  """To the bit, after resuming too, and without a second model in memory."""
  mesh = one_device()
  program = train_step.make_program(ADAPTED, LINEAR_ADAM, 0, mesh, 'dpo', DpoConfig())
  everything = fresh_params(ADAPTED, seed=5)
  start, frozen = train_step.split_trainable(ADAPTED, changed(everything))
  reads = []

  def put(params, abstract):
    return jax.tree.map(lambda x, a: jax.device_put(x, a.sharding), params, abstract)

  def parent(abstract):
    reads.append(abstract)
    return put(start, abstract)

  def start_or_resume():
    checkpoints = checkpointing.Checkpoints(tmp_path / 'checkpoints')
    origin = Origin(parent, lambda abstract: put(frozen, abstract))
    state = starting_state(program, checkpoints, NoData(), origin, 0, {})
    return checkpoints, state

  with jax.set_mesh(mesh):
    checkpoints, state = start_or_resume()
    assert_trees_equal(state.params, start)
    assert_trees_equal(state.reference, start)
    batch = train_step.to_device(rows_of_pairs(PAIRS, T, per_row=3), 1, mesh)
    compiled = program.step.lower(program.abstract_state, batch, jnp.zeros(2)).compile()
    for _ in range(2):
      state, metrics = program.step(state, batch, jnp.full(2, 0.05))
    checkpoints.save(2, state.params, train_step.saved_opt_state(state), {'at': 2}, {})
    checkpoints.close()
    trained = jax.device_get(state.params)
    assert_trees_equal(state.reference, start)
    checkpoints, resumed = start_or_resume()
    checkpoints.close()
  assert float(metrics['loss']) < math.log(2) - 1e-3, 'something is learned'
  assert int(resumed.step) == 2
  assert_trees_equal(resumed.params, trained)
  assert_trees_equal(resumed.reference, start)
  saved = list((tmp_path / 'checkpoints' / '2').iterdir())
  assert not any('reference' in path.name for path in saved)

  def size(tree):
    return sum(x.nbytes for x in jax.tree.leaves(tree))

  adapter = size(start)
  # Two moments, and the reference.
  assert size(state) == size(frozen) + 4 * adapter + 4 * 3 + size(state.opt_state) - 2 * adapter
  assert size(state.reference) == adapter < size(frozen) / 3
  arguments = compiled.memory_analysis().argument_size_in_bytes
  # What the step is given is the state, the batch and two rates, and nothing beside them.
  rest = arguments - size(state) - size(batch) - 8
  assert 0 <= rest < adapter, 'a second model would be larger'


# ---- TRL, where it is installed


def trl_trainer(folder, settings):
  """TRL's trainer of a model in a folder, with the model in another as its reference."""
  trl = pytest.importorskip('trl')
  datasets = pytest.importorskip('datasets')
  transformers = pytest.importorskip('transformers')
  loss_type = 'ipo' if settings.loss == 'ipo' else 'sigmoid'
  if settings.length_normalised and settings.loss == 'sigmoid':
    loss_type = 'sigmoid_norm'

  def model(name):
    return transformers.AutoModelForCausalLM.from_pretrained(
      folder / name, attn_implementation='eager', dtype='float32'
    )

  tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder / 'model')
  tokenizer.pad_token = '<|end|>'
  arguments = trl.DPOConfig(
    output_dir=str(folder / 'out'),
    beta=settings.beta,
    loss_type=[loss_type],
    use_cpu=True,
    bf16=False,
    report_to='none',
    disable_dropout=True,
  )
  unused = datasets.Dataset.from_list([{'prompt': 'a', 'chosen': 'b', 'rejected': 'c'}])
  return trl.DPOTrainer(
    model=model('model'),
    ref_model=model('reference'),
    args=arguments,
    train_dataset=unused,
    processing_class=tokenizer,
  )


def as_trl(pairs):
  """The pairs as TRL's collator takes them."""
  examples = []
  for chosen, rejected in pairs:
    n = chosen.prompt
    examples.append(
      {
        'prompt_ids': chosen.ids[:n].tolist(),
        'chosen_ids': chosen.ids[n:].tolist(),
        'rejected_ids': rejected.ids[n:].tolist(),
      }
    )
  return examples


@pytest.mark.slow
@pytest.mark.parametrize('settings', [DpoConfig(), SETTINGS[2]], ids=['sigmoid', 'ipo'])
def test_loss_and_gradients_equal_trl(tmp_path, monkeypatch, settings):
  """The same Llama with random weights and the same pairs, fp32, no dropout: within 1e-4."""
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'hf'))
  pytest.importorskip('trl')
  from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

  # The pairs come through the collator. The trainer only asks for some data set.
  monkeypatch.setattr(DPOTrainer, '_prepare_dataset', lambda self, dataset, *rest: dataset)

  from msm_jax.interop import huggingface

  texts = [f'It is cheap: {n}.' for n in range(50)]
  tiny.weights(tmp_path / 'model', texts)
  tiny.weights(tmp_path / 'reference', texts)
  c = huggingface.read_config(tmp_path / 'model')
  abstract = train_step.make_program(c, OptimizerConfig(), 0, one_device()).abstract_state.params
  params = huggingface.load_params(huggingface.TensorFiles(tmp_path / 'model'), c, abstract)
  reference = changed(jax.device_get(params), 0.02)
  stored = dict(huggingface.stored_tensors(c, reference, 'float32'))
  from safetensors.numpy import save_file

  save_file(stored, tmp_path / 'reference' / 'model.safetensors', metadata={'format': 'pt'})

  trainer = trl_trainer(tmp_path, settings)
  inputs = DataCollatorForPreference(pad_token_id=0)(as_trl(PAIRS))
  their_loss = trainer.compute_loss(trainer.model, inputs)
  their_loss.backward()

  batch = rows_of_pairs(PAIRS, T, per_row=3)

  def mean_loss(p):
    loss, sums = dpo(c, settings, 0, p, batch, reference=reference)
    return loss / sums['weight']

  loss, grads = jax.jit(jax.value_and_grad(mean_loss))(params)
  assert float(loss) == pytest.approx(their_loss.item(), rel=1e-4)
  named = dict(huggingface.stored_tensors(c, jax.device_get(grads), 'float32'))
  compared = 0
  for name, parameter in trainer.model.named_parameters():
    if name not in named:
      continue
    wanted = parameter.grad.numpy()
    np.testing.assert_allclose(
      named[name], wanted, rtol=0, atol=1e-4 * np.abs(wanted).max(), err_msg=name
    )
    compared += 1
  assert compared == len(named)


def test_pairs_of_this_file_have_different_lengths():
  """Otherwise, dividing by lengths would go unnoticed."""
  lengths = []
  for pair in PAIRS:
    lengths.append([len(c.ids) - c.prompt for c in pair])
  assert any(a != b for a, b in lengths)
  assert len(set(itertools.chain(*lengths))) > 2
