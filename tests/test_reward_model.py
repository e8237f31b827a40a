"""Reward models: the loss beside PyTorch, their place in an experiment, and scores of answers."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rollout_helpers as helpers
import tiny
from rollout_helpers import NO, YES, experiment, metrics, pairs, params_of, samples, train_all
from steps import init

from msm_jax import sharding
from msm_jax.base.errors import ConfigError, DataError
from msm_jax.config import LoraConfig, ModelConfig, OptimizerConfig
from msm_jax.config.objectives import RewardConfig
from msm_jax.data.tokenized import Source
from msm_jax.input_pipeline import batches
from msm_jax.model import forward
from msm_jax.objectives.reward import HEAD, bradley_terry, token_rewards
from msm_jax.phases import tree_order
from msm_jax.rl.reward_model import RewardModel
from msm_jax.rl.rewards import group_advantages
from msm_jax.training import train_step

JUDGE = dict(
  objective='reward',
  data=dict(pairs=1.0),
  updates=12,
  min_updates=1,
  batch_size=8,
  length=64,
  lr=1e-2,
  checkpoint_every=5,
)
TINY = ModelConfig(d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48)


def packed_batch(tokenizer, rows=2, length=160):
  """(B, T) arrays of pairs."""
  source = Source('pairs', 'preferences', range(24), pairs())
  data = batches([(source, 1.0)], tokenizer, rows, length, seed=0)
  batch = next(data)
  data.close()
  return {name: jnp.asarray(x) for name, x in batch.items()}


def with_head(c, seed=0):
  params = init(c, jax.random.key(seed))
  head = jax.random.normal(jax.random.key(seed + 1), c.d_model) * 0.3
  return params | {HEAD: head}


def sides_of(batch):
  """For each pair of a batch, (row, cells of the chosen side, cells of the rejected side)."""
  found = []
  for row, segments in enumerate(np.asarray(batch['segment_ids'])):
    for chosen in range(1, segments.max() + 1, 2):
      cells = [np.flatnonzero(segments == segment) for segment in (chosen, chosen + 1)]
      found.append((row, *cells))
  return found


# Not op by op: every operation would be compiled by itself.
compiled_forward = jax.jit(forward, static_argnums=0)


def reward_alone(c, params, tokens):
  """The reward of one text in a row of its own, from its last hidden state."""
  padded = np.zeros((3, 1, max(64, len(tokens))), np.int32)
  padded[0, 0, : len(tokens)] = tokens
  padded[1, 0, : len(tokens)] = np.arange(len(tokens))
  padded[2, 0, : len(tokens)] = 1
  x = compiled_forward(c, params, *padded)
  return float(x[0, len(tokens) - 1] @ params[HEAD])


# ---- The loss


@pytest.mark.slow
@pytest.mark.parametrize('centre', [0.0, 0.1])
def test_loss_and_gradients_equal_pytorch(tmp_path, centre):
  """Each conversation by itself, through the model of transformers with a head in PyTorch."""
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  from golden import make

  from msm_jax.interop import huggingface

  make.write_folder(tmp_path, 'llama2')
  model = transformers.AutoModel.from_pretrained(tmp_path, attn_implementation='eager')
  c = huggingface.read_config(tmp_path)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  abstract = train_step.make_program(c, OptimizerConfig(), 0, mesh).abstract_state.params
  params = huggingface.load_params(huggingface.TensorFiles(tmp_path), c, abstract)
  params[HEAD] = jnp.asarray(with_head(c)[HEAD])

  rng = np.random.default_rng(0)
  sizes = [(7, 5), (4, 9), (6, 6)]
  texts = []
  for chosen_size, rejected_size in sizes:
    chosen = rng.integers(3, c.vocab_size, chosen_size)
    texts.append([chosen, rng.integers(3, c.vocab_size, rejected_size)])
  # Two pairs in the first row, one in the second, and padding behind both.
  batch = {}
  for name in ('tokens', 'segment_ids', 'positions'):
    batch[name] = np.zeros((2, 32), np.int32)
  for row, numbers in enumerate(([0, 1], [2])):
    at = 0
    for segment, text in enumerate([text for n in numbers for text in texts[n]], 1):
      cells = slice(at, at + len(text))
      batch['tokens'][row, cells] = text
      batch['segment_ids'][row, cells] = segment
      batch['positions'][row, cells] = np.arange(len(text))
      at += len(text)

  head = torch.tensor(np.asarray(params[HEAD]), requires_grad=True)
  losses, margins = [], []
  for pair in texts:
    finals = [model(torch.tensor(text[None])).last_hidden_state[0, -1] for text in pair]
    chosen, rejected = finals[0] @ head, finals[1] @ head
    losses.append(-torch.nn.functional.logsigmoid(chosen - rejected))
    losses[-1] = losses[-1] + centre * (chosen + rejected) ** 2
    margins.append((chosen - rejected).item())
  wanted = torch.stack(losses).sum()
  wanted.backward()

  def loss(p):
    return bradley_terry(c, RewardConfig(centre=centre), 0, p, batch)

  (total, sums), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
  assert float(total) == pytest.approx(wanted.item(), rel=1e-4)
  assert float(sums['weight']) == 3
  assert float(sums['margin']) == pytest.approx(sum(margins), rel=1e-4)
  assert float(sums['accuracy']) == sum(margin > 0 for margin in margins)
  np.testing.assert_allclose(grads[HEAD], head.grad, rtol=1e-4, atol=1e-6)
  theirs = {f'model.{name}': p.grad for name, p in model.named_parameters()}
  del grads[HEAD]
  for name, x in huggingface.stored_tensors(c, jax.device_get(grads), 'float32'):
    # The unembedding plays no part.
    if name != 'lm_head.weight':
      y = theirs[name].numpy()
      assert np.abs(x - y).max() <= 1e-4 * np.abs(y).max(), name


@pytest.mark.slow
def test_packed_pairs_have_the_rewards_of_single_texts(tokenizer):
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  params = with_head(c)
  batch = packed_batch(tokenizer)
  compute = jax.jit(token_rewards, static_argnums=0)
  rewards = compute(c, params, batch['tokens'], batch['positions'], batch['segment_ids'])
  margins = []
  for row, chosen, rejected in sides_of(batch):
    margins.append(float(rewards[row, chosen[-1]] - rewards[row, rejected[-1]]))
    for cells in (chosen, rejected):
      wanted = reward_alone(c, params, np.asarray(batch['tokens'])[row, cells])
      assert float(rewards[row, cells[-1]]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)
  compute = jax.jit(bradley_terry, static_argnums=(0, 1, 2))
  total, sums = compute(c, RewardConfig(), 0, params, batch)
  assert float(sums['weight']) == len(margins) > 2
  assert float(sums['margin']) == pytest.approx(sum(margins), rel=1e-4, abs=1e-5)
  assert float(total) == pytest.approx(np.log1p(np.exp(-np.array(margins))).sum(), rel=1e-4)


@pytest.mark.slow
def test_a_new_head_is_undecided(tokenizer):
  """The first loss is ln 2, and only the head has a gradient."""
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh, 'reward', RewardConfig())
  params = program.init(jax.random.key(0)).params
  assert program.abstract_parent.keys() == params.keys() - {HEAD}
  batch = packed_batch(tokenizer)

  def loss(p):
    total, sums = bradley_terry(c, RewardConfig(), 0, p, batch)
    return total / sums['weight']

  value, grads = jax.jit(jax.value_and_grad(loss))(params)
  assert float(value) == pytest.approx(np.log(2), abs=1e-6)
  assert np.asarray(grads.pop(HEAD)).any()
  assert all(not np.asarray(g).any() for g in jax.tree.leaves(grads))


def test_adapters_are_trained_beside_the_head(tokenizer):
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size, lora=LoraConfig(2, 4.0))
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  program = train_step.make_program(c, OptimizerConfig(), 0, mesh, 'reward', RewardConfig())
  params = program.abstract_state.params
  assert HEAD in params
  assert all(name.endswith(('_a', '_b')) for name in params.keys() - {HEAD})
  assert 'embed' in program.abstract_state.frozen
  # `start` takes what a parent leaves: adapters without a head.
  adapters = {name: jnp.ones(x.shape) for name, x in program.abstract_parent.items()}
  started = program.start(adapters).params
  assert not np.asarray(started[HEAD]).any()
  assert started.keys() == params.keys()


# ---- In an experiment


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """(experiment, phases by name): answers that a reward model judges, which was trained for it."""
  rl = dict(helpers.RL, updates=6, grpo=dict(group_size=8, max_tokens=12, kl=0.01))
  rl['grpo']['rewards'] = {'model:judge': 1.0}
  e = experiment(tmp_path_factory.mktemp('judged'), phases=dict(judge=JUDGE, rl=rl))
  return e, train_all(e)


@pytest.mark.slow
def test_a_reward_model_is_trained_for_its_use(trained):
  """It is no arm, and comes between the phase that it begins with and the one that it judges."""
  e, nodes = trained
  assert list(nodes) == ['tune', 'judge', 'rl']
  assert nodes['judge'].parent == nodes['tune'] == nodes['rl'].parent
  assert nodes['rl'].needs == (nodes['judge'],)
  rows = metrics(e, nodes['judge'])
  assert rows[0]['loss'] == pytest.approx(np.log(2), abs=1e-5)
  assert rows[-1]['accuracy'] == 1
  assert rows[-1]['loss'] < 0.2


@pytest.mark.slow
def test_a_reward_model_judges_answers(trained):
  """What it prefers becomes more common, and its rewards are those of its checkpoint."""
  e, nodes = trained
  shares = {}
  for group in samples(e, nodes['rl']):
    said = [text.strip() for text in group['answers']]
    of_yes = [r for text, r in zip(said, group['rewards'], strict=True) if text == YES]
    of_no = [r for text, r in zip(said, group['rewards'], strict=True) if text == NO]
    if of_yes and of_no:
      assert min(of_yes) > max(of_no)
    shares.setdefault(group['step'], []).append(np.mean([text == YES for text in said]))
  assert np.mean(shares[6]) > np.mean(shares[1]) + 0.2


@pytest.mark.slow
def test_adapters_over_imported_weights(tmp_path):
  """The reward model and the model that it judges are two adapters beside the same weights."""
  pytest.importorskip('tokenizers')
  pytest.importorskip('safetensors')
  folder = tiny.weights(tmp_path / 'weights', [YES, NO, 'Is 17 so?'])
  settings = dict(group_size=8, max_tokens=12, rewards={'model:judge': 1.0})
  phases = {
    'start': dict(weights=str(folder)),
    'tune': dict(updates=2),
    'judge': JUDGE | dict(updates=2, length=96),
    'rl': dict(updates=2, length=64, grpo=settings),
  }
  e = experiment(
    tmp_path,
    phases=phases,
    arms=dict(base='start > tune', rewarded='start > tune > rl'),
    tokenizer=dict(sources=()),
    model=dict(lora=dict(rank=2, alpha=4.0)),
  )
  nodes = train_all(e)
  assert [node.phase for node in nodes['rl'].needs] == ['judge']
  first, second = metrics(e, nodes['rl'])
  assert first['kl'] == pytest.approx(0, abs=1e-6)
  assert np.isfinite(second['loss']) and second['reward_std'] > 0
  trained = params_of(e, nodes['rl'])
  assert all(name.endswith(('_a', '_b')) for name in trained)
  before = params_of(e, nodes['tune'])
  assert any(not np.array_equal(trained[name], before[name]) for name in trained)


@pytest.mark.slow
def test_other_training_of_the_judge_is_another_phase(trained, tmp_path):
  """The identity of what it judges follows, and that of its parent does not."""
  _, nodes = trained
  settings = dict(helpers.RL, updates=6, grpo=dict(group_size=8, max_tokens=12, kl=0.01))
  settings['grpo']['rewards'] = {'model:judge': 1.0}
  longer = experiment(tmp_path, phases=dict(judge=dict(JUDGE, updates=13), rl=settings))
  changed = {node.phase: node.id for node in longer.prepared.nodes}
  assert changed['tune'] == nodes['tune'].id
  assert changed['judge'] != nodes['judge'].id
  assert changed['rl'] != nodes['rl'].id
  # A whole path names the same reward model.
  settings['grpo']['rewards'] = {'model:tune > judge': 1.0}
  by_path = experiment(tmp_path, phases=dict(judge=JUDGE, rl=settings))
  assert by_path.prepared.nodes[1].id == nodes['judge'].id
  assert len(tree_order(by_path.prepared.ends)) == 3


@pytest.mark.slow
def test_scores_are_those_of_single_texts(tokenizer):
  """However many answers there are, however long they are, and whatever stands in other rows."""
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  params = with_head(c)
  mesh = sharding.make_mesh(devices=jax.devices()[:2])
  judge = RewardModel(c, params, tokenizer, 64, 3, mesh)
  records, answers = pairs(6), [YES, NO, 'Hm.', '', YES, 'so ' * 99]
  with jax.set_mesh(mesh):
    found = judge.score(records, answers, {})
  for record, answer, reward in zip(records, answers, found, strict=True):
    ids, _ = tokenizer.render_chat([*record.prompt, ('assistant', answer)])
    wanted = reward_alone(c, params, ids[:-1])
    assert reward == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_equal_answers_have_equal_scores(tokenizer, monkeypatch):
  """In bf16, rows of another length round otherwise: a group of equal answers would not be flat."""
  judge = RewardModel(TINY, {}, tokenizer, 64, 2, sharding.make_mesh(devices=jax.devices()[:1]))
  read = []

  def score_rows(params, texts):
    """Other numbers in every call, as if each were rounded in its own way."""
    read.extend(texts)
    return [float(len(read))] * len(texts)

  monkeypatch.setattr(judge, '_score_rows', score_rows)
  first, second = pairs(2)
  answers = [YES, YES, NO, YES, NO, YES]
  found = judge.score([first] * 4 + [second] * 2, answers, {})
  assert len(read) == 4, 'each text is read once'
  assert found[0] == found[1] == found[3] and found[0] != found[5]
  _, is_flat = group_advantages(np.array(judge.score([first] * 5, [YES] * 5, {})), 5, True)
  assert is_flat.all()


def test_an_answer_with_thoughts_is_scored_as_it_was_sampled(tokenizer, monkeypatch):
  """Some chat templates leave thoughts out, so a chat with them cannot be rendered."""
  judge = RewardModel(TINY, {}, tokenizer, 64, 3, sharding.make_mesh(devices=jax.devices()[:1]))
  prompt = pairs(1)[0].prompt
  whole = judge._read(prompt, YES)
  render_chat = tokenizer.render_chat

  def refuse(messages, continues=False, learned_from=0):
    if messages[-1][1] != YES:
      return render_chat(messages, continues, learned_from)
    raise DataError('the chat template leaves out what a message says')

  monkeypatch.setattr(tokenizer, 'render_chat', refuse)
  monkeypatch.setattr(tokenizer, 'prompt', lambda messages: np.array([7, 8], np.int32))
  found = judge._read(prompt, YES)
  assert found.tolist() == [7, 8, *tokenizer.encode(YES)]
  assert found[-1] == whole[-1], 'the last token of the answer'


def test_an_answer_with_thoughts_ends_where_training_read_the_reward(tmp_path):
  """Of ChatML, the reward is read at the symbol that ends a turn: a line break follows it."""
  pytest.importorskip('tokenizers')
  pytest.importorskip('jinja2')
  from test_chat_pieces import ASKED, CHATML, chatml

  without_thoughts = '{{ m.content.split("</think>")[-1] }}'
  tokenizer = chatml(tmp_path, CHATML.replace('{{ m.content }}', without_thoughts))
  judge = RewardModel(TINY, {}, tokenizer, 64, 3, sharding.make_mesh(devices=jax.devices()[:1]))
  plain = judge._read(ASKED, 'the cheap one')
  thought = judge._read(ASKED, '<think>Hm.</think>the cheap one')
  assert plain[-1] == thought[-1] == tokenizer.turn_end
  sampled = tokenizer.encode('<think>Hm.</think>the cheap one')
  assert thought[:-1].tolist() == [*tokenizer.prompt(ASKED), *sampled]


# ---- What goes wrong


@pytest.mark.parametrize(
  ('arms', 'reward', 'message'),
  [
    (dict(a='tune > judge'), 'chosen', "arms.a goes through phase 'judge', a reward model"),
    (dict(a='tune > judge > rl'), 'chosen', "arms.a goes through phase 'judge', a reward model"),
    (
      dict(a='tune > rl'),
      'model:tune > judge > judge',
      "names 'tune > judge > judge'; nothing can follow the reward model 'judge'",
    ),
    (dict(a='tune > rl'), 'model:tune > rl > judge', 'waits for this very phase'),
  ],
)
def test_reward_models_that_cannot_be_used(tmp_path, arms, reward, message):
  rl = dict(grpo=dict(group_size=8, max_tokens=12, rewards={reward: 1.0}))
  with pytest.raises(ConfigError, match=message):
    experiment(tmp_path, phases=dict(judge=JUDGE, rl=rl), arms=arms)


def test_a_reward_model_reads_preferences(tmp_path):
  from msm_jax.base.errors import DataError

  rl = dict(grpo=dict(group_size=8, max_tokens=12, rewards={'model:judge': 1.0}))
  phases = dict(judge=JUDGE | dict(data=dict(answers=1.0)), rl=rl)
  e = experiment(tmp_path, phases=phases)
  with pytest.raises(DataError, match=r"judge.objective='reward' reads preferences, and"):
    e.run()


@pytest.mark.slow
def test_metrics_can_be_read_as_json(trained):
  e, nodes = trained
  for line in (e.folder(nodes['rl']) / 'metrics.jsonl').read_text().splitlines():
    assert json.loads(line)['answer_length'] > 0
