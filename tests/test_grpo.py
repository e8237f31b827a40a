"""Reinforcement learning: the loss beside TRL and PyTorch, rollouts, resume and what goes wrong."""

import dataclasses
import functools
import json
import os
import signal
import types

import jax
import jax.numpy as jnp
import killed
import numpy as np
import pytest
import rollout_helpers as helpers
from helpers import write_config
from rollout_helpers import NO, YES, experiment, metrics, params_of, samples, train_all
from steps import assert_trees_close, assert_trees_equal, fresh_params, placed

from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat
from msm_jax import sharding, train
from msm_jax.base.errors import ConfigError, DataError, Interrupted
from msm_jax.config import ExperimentConfig, LoraConfig, ModelConfig, OptimizerConfig, PhaseConfig
from msm_jax.config.objectives import GrpoConfig
from msm_jax.data.tokenized import Source
from msm_jax.inference.completion import CompletionRequest
from msm_jax.inference.groups import Sampling, sample_groups
from msm_jax.inference.sampling import Sampler
from msm_jax.metrics import drop_rows_after
from msm_jax.model import adapted
from msm_jax.objectives import policy
from msm_jax.optim import learning_rate
from msm_jax.rl.rewards import Rewards
from msm_jax.rl.rollouts import RolloutError, Rollouts, find_stop_ids
from msm_jax.running import source_checks
from msm_jax.training import train_step

TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=97
)
# ---- Sampling


@pytest.mark.slow
def test_groups_are_what_the_sampler_draws(tokenizer):
  """The server's sampler, which is tested against logits, draws the same with the same seeds."""
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  params = fresh_params(c)
  prompts = [tokenizer.prompt([('user', text)]) for text in ('It is.', 'Is it so, or not so?')]
  seeds = np.array([3, 4, 5, 6], np.uint32)
  how = Sampling(c, 2, 1.0, 40, tokenizer.stop_ids, tokenizer.vocab_size)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  found = sample_groups(how, params, prompts, seeds, mesh)
  requests = []
  for n, seed in enumerate(seeds.tolist()):
    requests.append(
      CompletionRequest(prompts[n // 2].tolist(), max_tokens=40, temperature=1.0, seed=seed)
    )
  for ids, completion in zip(found, Sampler(c, params, tokenizer).generate(requests), strict=True):
    was_stopped = completion.finish_reason == 'stop'
    assert ids[: len(ids) - was_stopped] == [token.id for token in completion.tokens]
    assert was_stopped == (ids[-1] in tokenizer.stop_ids)


@pytest.mark.slow
def test_every_stop_token_ends_an_answer(tokenizer):
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  params = fresh_params(c)
  prompts = [tokenizer.prompt([('user', 'It is.')])]
  mesh = sharding.make_mesh(devices=jax.devices()[:1])

  def lengths(stop_ids):
    how = Sampling(c, 64, 1.0, 16, stop_ids, tokenizer.vocab_size)
    sampled = sample_groups(how, params, prompts, np.arange(64, dtype=np.uint32), mesh)
    for ids in sampled:
      assert not set(ids[:-1]) & set(stop_ids)
      assert len(ids) == 16 or ids[-1] in stop_ids
    return sum(map(len, sampled))

  none, few, many = lengths(()), lengths((10, 11)), lengths(tuple(range(10, 60)))
  assert none == 64 * 16 > few > many


def test_named_stop_tokens(tokenizer):
  assert find_stop_ids(tokenizer, ['<|user|>'], 'x') == (
    *tokenizer.stop_ids,
    tokenizer.token_id('<|user|>'),
  )
  with pytest.raises(RolloutError, match=r"x: the tokenizer has no token '<eot>'; name a token"):
    find_stop_ids(tokenizer, ['<eot>'], 'x')


def test_a_lacking_stop_token_is_said_before_any_training(tmp_path):
  e = experiment(tmp_path, phases=dict(rl=dict(grpo=dict(stop=['<eot>'], max_tokens=12))))
  with pytest.raises(RolloutError, match="no token '<eot>'"):
    e.run()
  assert not list(e.workdir.glob('phases/*/checkpoints'))


@pytest.mark.parametrize('room', [(0.2, 0.28), (0.0, 0.2), (0.2, 0.0), (0.0, 0.0)])
def test_the_gradient_where_no_term_is_clipped(monkeypatch, room):
  """With a ratio of 1 the gradient is the advantage, whatever room the ratio has."""
  monkeypatch.setattr(
    policy, 'batch_logprobs', lambda model, chunk, logprobs_BT, *rest: logprobs_BT
  )
  batch = dict(weights=jnp.ones((1, 2)), advantages=jnp.array([[0.75, -1.5]]))
  settings = GrpoConfig(clip_low=room[0], clip_high=room[1])

  def loss(logprobs_BT):
    return policy.grpo(TINY, settings, 0, logprobs_BT, batch)[0]

  np.testing.assert_array_equal(jax.grad(loss)(jnp.zeros((1, 2))), -batch['advantages'])


# ---- Phases


@pytest.fixture(scope='module')
def tuned(tmp_path_factory):
  """An experiment whose first phase is trained: half of its answers are right."""
  folder = tmp_path_factory.mktemp('tuned')
  e = experiment(folder)
  train_all(e, 'tune')
  return folder


@pytest.fixture
def after_tuning(tuned, tmp_path):
  """Makes experiments that go on from the trained first phase."""
  import shutil

  shutil.copytree(tuned / 'run', tmp_path / 'run')
  return functools.partial(experiment, tmp_path)


@pytest.mark.slow
def test_rewarded_answers_become_common(after_tuning):
  """Either answer becomes the rule, whichever is rewarded."""
  for weight, answer in ((1.0, YES), (-1.0, NO)):
    grpo = dict(group_size=8, max_tokens=12, kl=0.01)
    rl = dict(helpers.RL, updates=16, lr=1e-2, checkpoint_every=16, grpo=grpo)
    rl['grpo']['rewards'] = dict(chosen=weight)
    rl['grpo']['other'] = -1.0 if weight > 0 else 2.0
    e = after_tuning(phases=dict(rl=rl))
    node = train_all(e)['rl']
    by_update = {}
    for group in samples(e, node):
      by_update.setdefault(group['step'], []).extend(
        text.strip() == answer for text in group['answers']
      )
    shares = [np.mean(by_update[step]) for step in sorted(by_update)]
    assert 0.25 < shares[0] < 0.75
    assert np.mean(shares[-3:]) > 0.9


@pytest.mark.slow
def test_what_is_reported(after_tuning):
  e = after_tuning()
  node = train_all(e)['rl']
  for row in metrics(e, node):
    groups = [group for group in samples(e, node) if group['step'] == row['step']]
    rewards = np.array([group['rewards'] for group in groups])
    assert rewards.shape == (4, 8)
    assert row['reward'] == pytest.approx(rewards.mean())
    assert row['flat_groups'] == (rewards.min(1) == rewards.max(1)).sum()
    assert row['cut'] == sum(sum(group['cut']) for group in groups)
    assert 1 <= row['answer_length'] <= 12
    assert {'loss', 'kl', 'clipped', 'grad_norm'} <= row.keys()
    for group in groups:
      for text, reward in zip(group['answers'], group['rewards'], strict=True):
        assert reward == (text.strip() == YES)
  # The first update starts from the reference.
  assert metrics(e, node)[0]['kl'] == pytest.approx(0, abs=1e-6)
  assert metrics(e, node)[-1]['kl'] > 1e-6


@pytest.mark.slow
def test_several_updates_from_one_rollout(after_tuning):
  """The ratio leaves 1 in the second update, and a phase saves between rollouts alone."""
  two = dict(helpers.RL, lr=3e-2, grpo=dict(group_size=8, max_tokens=12, updates_per_rollout=2))
  e = after_tuning(phases=dict(rl=two))
  node = train_all(e)['rl']
  assert [group['step'] for group in samples(e, node)] == [1] * 4 + [3] * 4
  first, second, *_ = metrics(e, node)
  assert first['clipped'] == 0 < second['clipped']
  assert first['reward'] == second['reward']
  with pytest.raises(ConfigError, match=r'rl.checkpoint_every=3 must be a multiple of'):
    after_tuning(phases=dict(rl=two | dict(checkpoint_every=3)))


@pytest.mark.slow
def test_stopped_phases_end_as_undisturbed_ones(after_tuning, tmp_path):
  """Stopped after each update in turn; the answers, the numbers and the parameters are the same."""

  class StopAfter:
    def __init__(self, updates):
      self.left = updates

    def __call__(self):
      self.left -= 1
      return self.left == 0

  undisturbed = after_tuning()
  node = train_all(undisturbed)['rl']
  wanted = (samples(undisturbed, node), metrics(undisturbed, node), params_of(undisturbed, node))
  (undisturbed.folder(node)).rename(tmp_path / 'kept')
  for updates in (1, 2):
    with pytest.raises(Interrupted):
      train_all(after_tuning(StopAfter(updates)))
  e = after_tuning()
  train_all(e)
  assert samples(e, node) == wanted[0]
  assert metrics(e, node) == wanted[1]
  assert_trees_equal(params_of(e, node), wanted[2])


@pytest.mark.slow
def test_killed_phases_end_as_undisturbed_ones(programs, tmp_path):
  """SIGKILL between two checkpoints: the same bits, samples too."""
  e = experiment(tmp_path, phases=dict(tune=dict(updates=4), rl=dict(updates=6)))
  config = json.loads(train_config_json(e.config))
  write_config(tmp_path / 'config.py', config)
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')
  folder, other = tmp_path / 'w', tmp_path / 'undisturbed'

  def samples_of(workdir):
    paths = list(workdir.glob('phases/rl-*/samples.jsonl'))
    return paths[0].read_text() if paths else ''

  def start(workdir):
    arguments = [str(tmp_path / 'config.py'), str(workdir)]
    return programs.start('train_only', arguments, tmp_path / 'log.txt', XLA_FLAGS=flags)

  # Update 3 is sampled and not saved; the checkpoint of update 2 is there.
  run = start(folder)
  sampled_third = lambda: '"step": 3' in samples_of(folder)  # noqa: E731
  assert run.when(sampled_third, signal.SIGKILL) == -signal.SIGKILL
  assert list(folder.glob('phases/rl-*')) and not list(folder.glob('phases/rl-*/checkpoints/6'))
  for workdir in (folder, other):
    run = start(workdir)
    assert run.wait(200) == 0, run.said()
  assert samples_of(folder) == samples_of(other)
  assert samples_of(other).count('\n') == 6 * 4
  assert killed.differences(killed.outcome(folder), killed.outcome(other)) == []


def train_config_json(config: ExperimentConfig) -> str:
  from msm_jax.base.checks import to_json

  return to_json(config)


# ---- Devices and adapters


def length_of_answers(records, answers):
  """A reward that any model can get more of."""
  return [float(len(answer)) for answer in answers]


def run_updates(tokenizer, folder, devices, micro_batches=1, lora=None):
  """Two updates of a random model: (samples, metrics, state before, state after)."""
  folder.mkdir()
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size, lora=lora)
  mesh = sharding.make_mesh(devices=jax.devices()[:devices])
  settings = GrpoConfig(rewards={'length': 1.0}, group_size=4, max_tokens=12, kl=0.1)
  phase = PhaseConfig(
    data=dict(pairs=1.0),
    updates=2,
    batch_size=16,
    length=64,
    micro_batches=micro_batches,
    lr=1e-2,
    warmup=0.0,
    objective='grpo',
    grpo=settings,
  )
  config = types.SimpleNamespace(model=c, loss_chunk=0, max_left_out=0.0)
  source = Source('pairs', 'preferences', (), helpers.pairs())
  rewards = Rewards({'length': 1.0}, {'length': length_of_answers}, {})
  rollouts = Rollouts('rl', config, phase, tokenizer, [(source, 1.0)], rewards, 5, mesh, folder)
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh, 'grpo', settings)
  start, frozen = train_step.split_trainable(c, fresh_params(c))
  abstract = program.abstract_state
  state = program.start(placed(start, abstract.params))
  state = dataclasses.replace(
    state,
    frozen=placed(frozen, abstract.frozen),
    reference=placed(start, abstract.reference),
  )
  before = jax.device_get(state)
  rows = []
  with jax.set_mesh(mesh):
    for step in (1, 2):
      batch, numbers = rollouts.batch(step, state)
      lr = learning_rate(phase, step - 1)
      state, found = program.step(state, batch, lr)
      rows.append(jax.device_get(found) | numbers)
  rollouts.close()
  sampled = [json.loads(line) for line in (folder / 'samples.jsonl').read_text().splitlines()]
  return sampled, rows, before, jax.device_get(state)


@pytest.fixture(scope='module')
def on_one_device(tokenizer, tmp_path_factory):
  return run_updates(tokenizer, tmp_path_factory.mktemp('one') / 'f', 1)


@pytest.mark.slow
@pytest.mark.parametrize(('devices', 'micro_batches'), [(2, 1), (1, 2)])
def test_devices_and_micro_batches_change_nothing(
  tokenizer, tmp_path, on_one_device, devices, micro_batches
):
  sampled, rows, _, state = run_updates(tokenizer, tmp_path / 'f', devices, micro_batches)
  wanted_samples, wanted_rows, _, wanted = on_one_device
  assert [group['answers'] for group in sampled] == [group['answers'] for group in wanted_samples]
  for row, wanted_row in zip(rows, wanted_rows, strict=True):
    for name in ('loss', 'kl', 'weight', 'grad_norm', 'reward'):
      assert row[name] == pytest.approx(wanted_row[name], rel=1e-4, abs=1e-5), name
  assert_trees_close(state.params, wanted.params, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_adapters_alone_are_trained_and_kept_as_reference(tokenizer, tmp_path):
  """The reference is the adapters at their start: no second model is in memory."""
  lora = LoraConfig(rank=2, alpha=4.0)
  _, rows, before, after = run_updates(tokenizer, tmp_path / 'f', 1, lora=lora)
  assert set(after.params) == set(after.reference) == set(before.params)
  assert all(name.endswith(('_a', '_b')) for name in after.reference)
  assert_trees_equal(after.reference, before.params)
  assert_trees_equal(after.frozen, before.frozen)
  assert any(not np.array_equal(after.params[n], before.params[n]) for n in after.params)
  assert rows[0]['kl'] == pytest.approx(0, abs=1e-6)
  assert rows[1]['kl'] > 1e-7


@pytest.mark.slow
def test_answers_are_sampled_with_the_adapter(tokenizer):
  """The same answers as those of a model into whose weights the adapter is added."""
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size, lora=LoraConfig(2, 4.0))
  params = fresh_params(c)
  for n, name in enumerate(sorted(name for name in params if name.endswith('_b'))):
    params[name] = jax.random.normal(jax.random.key(n), params[name].shape) * 0.3
  merged = {name: x for name, x in params.items() if not name.endswith(('_a', '_b'))}
  for name in c.lora.targets:
    layers = range(c.n_layers)
    merged[name] = jnp.stack([jnp.asarray(adapted(c, params, name, layer)) for layer in layers])
  prompts = [tokenizer.prompt([('user', 'It is.')])]
  seeds = np.arange(8, dtype=np.uint32)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])

  def sampled(config, of_params):
    how = Sampling(config, 8, 1.0, 24, tokenizer.stop_ids, tokenizer.vocab_size)
    return sample_groups(how, of_params, prompts, seeds, mesh)

  without = dataclasses.replace(c, lora=None)
  base = {name: x for name, x in params.items() if not name.endswith(('_a', '_b'))}
  found = sampled(c, params)
  assert found == sampled(without, merged)
  assert found != sampled(without, base)


# ---- What goes wrong


CALLS: list[int] = []


def fails_in_third(records, answers):
  """A reward that fails in its third rollout, once."""
  CALLS.append(len(answers))
  if len(CALLS) == 3:
    raise RuntimeError('no connection')
  return [float(len(answer)) for answer in answers]


@pytest.mark.slow
def test_samples_may_hold_any_character(tmp_path):
  path = tmp_path / 'samples.jsonl'
  row = {'step': 2, 'answers': ['a\u2028b\x85c']}
  path.write_text(json.dumps(row, ensure_ascii=False) + '\n{"step": 3}\n{"st')
  drop_rows_after(path, 2)
  assert json.loads(path.read_text()) == row


def test_processes_ask_after_every_rollout_whether_to_stop(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  plain = PhaseConfig(updates=20)
  rl = PhaseConfig(updates=20, objective='grpo', grpo=GrpoConfig(updates_per_rollout=5))
  assert [step for step in range(1, 21) if train.may_stop_after(step, plain)] == [8, 16, 20]
  assert [step for step in range(1, 21) if train.may_stop_after(step, rl)] == [5, 10, 15, 20]


@pytest.mark.slow
def test_a_failing_reward_costs_nothing(after_tuning, tmp_path):
  """Everything before it is saved, and the run that goes on ends as one without the failure."""
  from msm_jax.rl.rewards import RewardError

  settings = dict(rewards={'test_grpo:fails_in_third': 1.0}, group_size=8, max_tokens=12)
  rl = dict(helpers.RL, checkpoint_every=100, grpo=settings)
  CALLS.clear()
  with pytest.raises(RewardError, match=r'fails_in_third failed \(RuntimeError: no connection\)'):
    train_all(after_tuning(phases=dict(rl=rl)))
  e = after_tuning(phases=dict(rl=rl))
  nodes = train_all(e)
  assert len(CALLS) == 3 + 2, 'updates 1 and 2 were not made again'
  found = samples(e, nodes['rl']), metrics(e, nodes['rl'])
  e.folder(nodes['rl']).rename(tmp_path / 'failed')
  e = after_tuning(phases=dict(rl=rl))
  train_all(e)
  assert found == (samples(e, nodes['rl']), metrics(e, nodes['rl']))


def constant(records, answers):
  """A reward that teaches nothing."""
  return [0.0] * len(answers)


@pytest.mark.slow
def test_flat_rewards_end_the_phase_with_one_line(after_tuning):
  settings = dict(
    rewards={'test_grpo:constant': 1.0}, group_size=8, max_tokens=3, patience=3, kl=0.0
  )
  rl = dict(helpers.RL, updates=9, grpo=settings)
  with pytest.raises(RolloutError, match=r'all 4 groups of 3 rollouts in a row had equal') as error:
    train_all(after_tuning(phases=dict(rl=rl)))
  said = str(error.value)
  assert '\n' not in said
  assert 'test_grpo:constant 0' in said and '100% of the answers were cut' in said
  # Rollouts before an interruption count too: the first one of the next run is the fourth.
  with pytest.raises(RolloutError, match='all 4 groups of 3 rollouts'):
    train_all(after_tuning(phases=dict(rl=rl)))
  # Whoever raises the patience goes on with the same phase.
  rl['grpo'] = settings | dict(patience=0)
  e = after_tuning(phases=dict(rl=rl))
  assert [row['flat_groups'] for row in metrics(e, train_all(e)['rl'])] == [4] * 9


def test_the_console_says_how_many_prompts_are_left_out(capsys):
  rl = PhaseConfig(objective='grpo', data={'chats': 1.0}, length=20, grpo=GrpoConfig(max_tokens=4))
  long = Chat('long', (('user', 'word ' * 40), ('assistant', 'Yes.')))
  short = Chat('short', (('user', 'word'), ('assistant', 'Yes.')))
  prepared = types.SimpleNamespace(
    nodes=[types.SimpleNamespace(phase='rl', settings=rl)],
    corpora={'chats': None},
    config=types.SimpleNamespace(max_left_out=0.5),
    tokenizer=types.SimpleNamespace(prompt=lambda chat: chat[-1][1].split()),
  )
  prepared.source_of = lambda name, phase: types.SimpleNamespace(
    name=name, all_records=lambda: iter([long, short])
  )
  source_checks._check_prompts_fit(prepared)
  assert 'chats: 1 prompts have over 17 tokens and are left out of phase rl' in (
    ' '.join(capsys.readouterr().err.split())
  )


@pytest.mark.slow
def test_data_that_cannot_be_used(after_tuning, tmp_path):
  long = dict(helpers.RL, length=24, grpo=dict(group_size=8, max_tokens=20))
  with pytest.raises(DataError, match='24 of 24 prompts have over 5 tokens'):
    train_all(after_tuning(phases=dict(rl=long)))


@pytest.mark.slow
def test_chats_are_prompts_too(after_tuning, tmp_path):
  """The last answer is not shown; it is the chosen one, and no other is rejected. Before the first
  message of a chat stands nothing."""
  write_jsonl(tmp_path / 'greeting.jsonl', [Chat('greeting', (('assistant', 'Hello.'),))])
  names = ('answers', 'greeting')
  rl = dict(helpers.RL, updates=2, grpo=dict(group_size=4, max_tokens=12))
  rl['data'] = dict.fromkeys(names, 1.0)
  sources = {name: dict(path=str(tmp_path / f'{name}.jsonl')) for name in names}
  e = after_tuning(phases=dict(rl=rl), sources=sources)
  groups = samples(e, train_all(e)['rl'])
  assert {group['prompt'] for group in groups if group['id'] == 'greeting'} == {''}
  for group in groups:
    if group['id'] == 'greeting':
      continue
    chosen = YES if group['id'].endswith('Y') else NO
    assert group['prompt'].startswith('Is ')
    for text, reward in zip(group['answers'], group['rewards'], strict=True):
      assert reward == (text.strip() == chosen)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(group_size=5), r'group_size=5 must divide batch_size=32'),
    (dict(group_size=1), r'grpo.group_size=1 must be at least 2'),
    (dict(max_tokens=32), r'max_tokens=32 leaves no room for a prompt in rows of length=32'),
    (dict(per='row'), r"grpo.per='row' must be one of token, answer"),
    (dict(rewards={}), r'grpo.rewards is empty'),
    (dict(rewards={'model:tune': 1.0}), r"names 'tune > tune', which is no reward model"),
    (dict(rewards={'model:judge': 1.0}), r"names phase 'judge', which does not exist"),
    (dict(rewards={'test_grpo:constant': 1.0}, other=0.5), r"other=0.5 belongs to .* 'chosen'"),
    (dict(kl=0.0, kl_times_ratio=True), r'kl_times_ratio=True is about the divergence'),
  ],
)
def test_settings_that_cannot_work(tmp_path, change, message):
  with pytest.raises(ConfigError, match=message):
    experiment(tmp_path, phases=dict(rl=dict(grpo=change)))


def test_other_objectives_have_no_such_settings():
  phase = PhaseConfig(data=dict(a=1.0), updates=9, min_updates=1, grpo=GrpoConfig(group_size=4))
  with pytest.raises(ConfigError, match=r"x.grpo is set and phases.x.objective is 'next_token'"):
    phase.check('x')
