"""The loss of GRPO and its advantages, beside TRL, PyTorch and a plain loop."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import init

from msm_jax import sharding
from msm_jax.config import ModelConfig, OptimizerConfig
from msm_jax.config.objectives import GrpoConfig
from msm_jax.model import forward, logits
from msm_jax.objectives.policy import grpo, rollout_logprobs
from msm_jax.objectives.token_logprobs import batch_logprobs
from msm_jax.rl.rewards import group_advantages
from msm_jax.rl.rollouts import logprobs_program, pack_answers
from msm_jax.training import train_step

TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=97
)
# Prompts of several lengths and their answers: two groups of two.
SIZES = ((5, 4), (5, 9), (8, 3), (8, 6))


@functools.cache
def sequences():
  """(tokens of the prompt, tokens of the answer) of each answer."""
  rng = np.random.default_rng(0)
  made = []
  for prompt, answer in SIZES:
    made.append((rng.integers(3, 97, prompt), rng.integers(3, 97, answer).tolist()))
  return made


VALUES = np.array([1.5, -0.7, 0.4, -1.2], np.float32)


def batch_of(rows, per='token', extra=None):
  """(B, T) arrays of a batch. `extra` gives each sequence's values of more arrays, token by token.

  Args:
    rows: for each row, the numbers of its sequences.
    per: see `pack_answers`.
    extra: name -> for each sequence, one value for each token of its answer.
  """
  stacked = {}
  for numbers in rows:
    chosen = [sequences()[n] for n in numbers]
    # The numbers of sequences stand in for advantages, to find the cells of each.
    (row,) = pack_answers(chosen, np.array(numbers, np.float32) + 1, per, 64)
    number_of_cell = row['advantages'].astype(int) - 1
    is_answer = row['weights'] > 0
    row['advantages'] = np.where(is_answer, VALUES[number_of_cell], 0).astype(np.float32)
    for name, of_sequences in (extra or {}).items():
      row[name] = np.zeros(64, np.float32)
      for n in numbers:
        row[name][is_answer & (number_of_cell == n)] = of_sequences[n]
    for name, x in row.items():
      stacked.setdefault(name, []).append(x)
  return {name: jnp.asarray(np.stack(xs)) for name, xs in stacked.items()}


def test_nothing_has_changed_before_the_first_update():
  """In bfloat16 too, what is said of a rollout is rounded as the train step rounds it: ratios to
  the old log-probabilities are 1, and the divergence from the reference is 0."""
  c = dataclasses.replace(TINY, n_layers=4, dtype='bfloat16', init_scale=3.0)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  settings = GrpoConfig(kl=1.0)
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh, 'grpo', settings)
  with jax.set_mesh(mesh):
    state = program.init(jax.random.key(0))
    state = dataclasses.replace(state, reference=jax.tree.map(jnp.copy, state.params))
    batch = {name: x[None] for name, x in batch_of(((0, 1), (2, 3))).items()}
    said = logprobs_program(c, 0, settings.temperature, mesh)(state.params, {}, batch)
    batch |= dict(old_logprobs=said, reference_logprobs=said)
    _, found = program.step(state, batch, np.zeros(2, np.float32))
  # With every ratio at 1 and no divergence, the loss is minus the mean of the advantages.
  mean = np.sum(batch['advantages'] * batch['weights']) / np.sum(batch['weights'])
  assert found['kl'] == pytest.approx(0, abs=1e-6)
  assert found['loss'] == pytest.approx(-float(mean), abs=1e-5)


def noisy(seed):
  """Differences from log-probabilities, large enough that some ratios are clipped."""
  rng = np.random.default_rng(seed)
  return [rng.normal(0, 0.3, answer).astype(np.float32) for _, answer in SIZES]


# ---- The loss


@pytest.fixture(scope='module')
def peer(tmp_path_factory):
  """(settings, parameters, the same model of transformers) with random weights."""
  transformers = pytest.importorskip('transformers')
  from golden import make

  from msm_jax.interop import huggingface

  folder = tmp_path_factory.mktemp('peer')
  config = make.write_folder(folder, 'llama2')
  # TRL loads the reference by the name of its class.
  config['architectures'] = ['LlamaForCausalLM']
  (folder / 'config.json').write_text(json.dumps(config))
  model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation='eager')
  c = huggingface.read_config(folder)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  abstract = train_step.make_program(c, OptimizerConfig(), 0, mesh).abstract_state.params
  return c, huggingface.load_params(huggingface.TensorFiles(folder), c, abstract), model


def padded():
  """TRL's form of the sequences: prompts padded on the left, answers on the right."""
  import torch

  widest_prompt = max(prompt for prompt, _ in SIZES)
  widest_answer = max(answer for _, answer in SIZES)
  shapes = dict(prompt=(len(SIZES), widest_prompt), completion=(len(SIZES), widest_answer))
  arrays = {}
  for name, shape in shapes.items():
    arrays[f'{name}_ids'] = torch.zeros(shape, dtype=torch.long)
    arrays[f'{name}_mask'] = torch.zeros(shape, dtype=torch.long)
  for n, (prompt, answer) in enumerate(sequences()):
    arrays['prompt_ids'][n, -len(prompt) :] = torch.tensor(prompt)
    arrays['prompt_mask'][n, -len(prompt) :] = 1
    arrays['completion_ids'][n, : len(answer)] = torch.tensor(answer)
    arrays['completion_mask'][n, : len(answer)] = 1
  return arrays


def torch_logprobs(model, temperature):
  """For each sequence, the log-probabilities of its answer, computed without any padding."""
  import torch

  found = []
  for prompt, answer in sequences():
    ids = torch.tensor([[*prompt.tolist(), *answer]])
    logits = model(ids).logits[0, len(prompt) - 1 : -1].float() / temperature
    logprobs = logits.log_softmax(-1)
    found.append(logprobs.gather(1, torch.tensor(answer)[:, None])[:, 0])
  return found


def torch_loss(model, settings, old, reference):
  """The loss as the paper writes it (Shao et al. 2024, eq. 3), by plain PyTorch."""
  import torch

  losses = []
  now = torch_logprobs(model, settings.temperature)
  for n, logprobs in enumerate(now):
    ratio = (logprobs - torch.tensor(old[n])).exp()
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    gain = torch.minimum(ratio * float(VALUES[n]), clipped * float(VALUES[n]))
    d = torch.tensor(reference[n]) - logprobs
    losses.append(-gain + settings.kl * (d.exp() - d - 1))
  if settings.per == 'token':
    return torch.cat(losses).mean()
  return torch.stack([loss.mean() for loss in losses]).mean()


def ours(c, params, settings, batch, chunk=0):
  """(loss, gradients) divided by the weight, as the train step does."""

  def loss(p):
    total, sums = grpo(c, settings, chunk, p, batch)
    return total / sums['weight']

  return jax.jit(jax.value_and_grad(loss))(params)


def assert_gradients_equal(c, grads, model, rtol):
  """Compares gradients tensor by tensor, relative to the largest number of each."""
  from msm_jax.interop import huggingface

  theirs = {name: p.grad.numpy() for name, p in model.named_parameters()}
  found = dict(huggingface.stored_tensors(c, jax.device_get(grads), 'float32'))
  assert found.keys() == theirs.keys()
  for name, x in theirs.items():
    assert np.abs(found[name] - x).max() <= rtol * np.abs(x).max(), name


def around(model, temperature, seed):
  """Log-probabilities near those of the model, for each token of each answer."""
  now = [x.detach().numpy() for x in torch_logprobs(model, temperature)]
  return [x + d for x, d in zip(now, noisy(seed), strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(('per', 'temperature'), [('token', 1.0), ('answer', 0.7)])
def test_loss_and_gradients_equal_pytorch(peer, per, temperature):
  """One answer a row or all in one, all logits at once or in chunks: the same loss."""
  c, params, model = peer
  settings = GrpoConfig(per=per, temperature=temperature, kl=0.1, clip_low=0.2, clip_high=0.3)
  old, reference = around(model, temperature, 1), around(model, temperature, 2)
  model.zero_grad()
  wanted = torch_loss(model, settings, old, reference)
  wanted.backward()
  extra = dict(old_logprobs=old, reference_logprobs=reference)
  for rows, chunk in (([[0], [1], [2], [3]], 0), ([[0, 1, 2, 3]], 16)):
    batch = batch_of(rows, per, extra)
    loss, grads = ours(c, params, settings, batch, chunk)
    assert float(loss) == pytest.approx(wanted.item(), rel=1e-5)
    assert_gradients_equal(c, grads, model, 1e-4)
  _, sums = jax.jit(functools.partial(grpo, c, settings, 0))(params, batch)
  assert 0 < float(sums['clipped']) < float(sums['weight']), 'some tokens are clipped and some not'


@pytest.mark.slow
@pytest.mark.parametrize(
  ('loss_type', 'per', 'kl_times_ratio'),
  [('grpo', 'answer', False), ('bnpo', 'token', False), ('bnpo', 'token', True)],
)
def test_loss_and_gradients_equal_trl(peer, tmp_path, loss_type, per, kl_times_ratio):
  """TRL's own trainer, on the same model and batch."""
  trl = pytest.importorskip('trl')
  datasets = pytest.importorskip('datasets')
  import torch
  import transformers

  c, params, model = peer
  temperature = 0.9
  settings = GrpoConfig(
    per=per,
    temperature=temperature,
    kl=0.1,
    kl_times_ratio=kl_times_ratio,
    clip_low=0.2,
    clip_high=0.3,
  )
  old, reference = around(model, temperature, 1), around(model, temperature, 2)
  loss, grads = ours(
    c,
    params,
    settings,
    batch_of([[0, 1, 2, 3]], per, dict(old_logprobs=old, reference_logprobs=reference)),
  )
  words = {f't{n}': n for n in range(c.vocab_size)}
  from tokenizers import Tokenizer, models

  tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(words, 't0')), pad_token='t0', eos_token='t1'
  )
  trainer = trl.GRPOTrainer(
    model=model,
    reward_funcs=lambda completions, **_: [0.0] * len(completions),
    args=trl.GRPOConfig(
      output_dir=str(tmp_path),
      per_device_train_batch_size=4,
      num_generations=2,
      beta=settings.kl,
      use_bias_correction_kl=kl_times_ratio,
      epsilon=settings.clip_low,
      epsilon_high=settings.clip_high,
      temperature=temperature,
      loss_type=loss_type,
      bf16=False,
      use_cpu=True,
      gradient_checkpointing=False,
      report_to=[],
    ),
    train_dataset=datasets.Dataset.from_dict({'prompt': ['t2'] * 4}),
    processing_class=tokenizer,
  )
  trainer.current_gradient_accumulation_steps = 1
  shape = padded()['completion_ids'].shape
  inputs = padded() | {'advantages': torch.tensor(VALUES)}
  for name, of_sequences in (('old', old), ('ref', reference)):
    logprobs = torch.zeros(shape)
    for n, x in enumerate(of_sequences):
      logprobs[n, : len(x)] = torch.tensor(x)
    inputs[f'{name}_per_token_logps'] = logprobs
  model.train()
  model.zero_grad()
  theirs = trainer._compute_loss(model, inputs)
  theirs.backward()
  assert float(loss) == pytest.approx(theirs.item(), rel=1e-4)
  assert_gradients_equal(c, grads, model, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('softcap', [0.0, 3.0])
def test_temperature_divides_the_logits(softcap):
  """With a soft cap too, under which hidden states are divided in place of the logits."""
  c = dataclasses.replace(TINY, logit_softcap=softcap)
  params = init(c, jax.random.key(0))
  batch = batch_of([[0, 1]])
  compute = jax.jit(functools.partial(batch_logprobs, c, 0, temperature=0.6))
  found = compute(params, batch)
  run = jax.jit(forward, static_argnums=0)
  x = run(c, params, batch['tokens'], batch['positions'], batch['segment_ids'])
  all_logprobs = jax.nn.log_softmax(logits(c, params, x) / 0.6)
  wanted = jnp.take_along_axis(all_logprobs, batch['targets'][..., None], -1)[..., 0]
  np.testing.assert_allclose(found, np.where(batch['weights'] > 0, wanted, 0), atol=1e-5)


@pytest.mark.slow
def test_a_fresh_rollout_has_ratios_of_one():
  """Without old log-probabilities, the gradient is that of the policy gradient: nothing is
  clipped, and the loss is minus the mean advantage."""
  params = init(TINY, jax.random.key(0))
  batch = batch_of([[0, 1], [2, 3]])
  settings = GrpoConfig(kl=0.0)
  total, sums = jax.jit(functools.partial(grpo, TINY, settings, 0))(params, batch)
  lengths = np.array([answer for _, answer in SIZES])
  assert float(sums['weight']) == lengths.sum()
  assert float(sums['clipped']) == 0
  assert float(total) == pytest.approx(-float((VALUES * lengths).sum()), rel=1e-5)
  # The same numbers given as old log-probabilities change nothing.
  one_batch = {name: x[None] for name, x in batch.items()}
  old = rollout_logprobs(TINY, 0, 1.0, params, {}, one_batch)[0]
  with_old = ours(TINY, params, settings, batch | {'old_logprobs': old})
  without = ours(TINY, params, settings, batch)
  for x, y in zip(jax.tree.leaves(with_old), jax.tree.leaves(without), strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('per', ['token', 'answer'])
def test_what_is_reported_is_weighted_as_the_loss_is(per):
  """A ratio out of bounds counts as clipped only where the clipped term is the smaller one."""
  params = init(TINY, jax.random.key(0))
  batch = batch_of([[0, 1], [2, 3]], per)
  one_batch = {name: x[None] for name, x in batch.items()}
  now = np.asarray(rollout_logprobs(TINY, 0, 1.0, params, {}, one_batch)[0])
  rng = np.random.default_rng(0)
  moved, apart = rng.normal(0, 0.6, (2, *now.shape)).astype(np.float32)
  batch |= dict(old_logprobs=now - moved, reference_logprobs=now + apart)
  settings = GrpoConfig(per=per, kl=0.1, clip_low=0.2, clip_high=0.3)
  _, sums = jax.jit(functools.partial(grpo, TINY, settings, 0))(params, batch)
  weights, advantages = np.asarray(batch['weights']), np.asarray(batch['advantages'])
  is_low, is_high = np.exp(moved) < 0.8, np.exp(moved) > 1.3
  cells = [weights * is_low * (advantages < 0), weights * is_high * (advantages > 0)]
  not_clipped = weights * (is_low | is_high) - cells[0] - cells[1]
  assert min(x.sum() for x in (*cells, not_clipped)) > 0
  assert float(sums['clipped']) == pytest.approx((cells[0] + cells[1]).sum(), rel=1e-5)
  kl = np.exp(apart) - apart - 1
  assert float(sums['kl']) == pytest.approx((weights * kl).sum(), rel=1e-3)


def test_equal_rewards_give_no_gradient():
  params = init(TINY, jax.random.key(0))
  values, is_flat = group_advantages(np.array([1.0, 1.0, 0.3, 0.3]), 2, divide_by_std=True)
  assert is_flat.all()
  batch = batch_of([[0, 1, 2, 3]])
  batch['advantages'] = jnp.zeros_like(batch['advantages']) + values[0]
  _, grads = ours(TINY, params, GrpoConfig(kl=0.0), batch)
  assert all(not np.asarray(g).any() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize('divide_by_std', [True, False])
def test_advantages_equal_a_loop(divide_by_std):
  rng = np.random.default_rng(3)
  rewards = rng.normal(size=12)
  rewards[4:8] = 0.1 + 0.2  # all equal, and the mean of four of these differs from them
  found, is_flat = group_advantages(rewards, 4, divide_by_std)
  for n in range(12):
    group = rewards[n // 4 * 4 : n // 4 * 4 + 4]
    wanted = rewards[n] - sum(group) / 4
    if divide_by_std:
      variance = sum((x - sum(group) / 4) ** 2 for x in group) / 3
      wanted /= variance**0.5 + 1e-4
    assert found[n] == pytest.approx(0.0 if 4 <= n < 8 else wanted, rel=1e-5)
  assert is_flat.tolist() == [False, True, False]
