"""The loop of one phase: where it starts, what it leaves, and when it refuses to go on."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest
from steps import TINY, assert_trees_equal

from msm_jax import checkpointing, sharding, train
from msm_jax.base import checks
from msm_jax.base.errors import ConfigError, Interrupted
from msm_jax.config import ExperimentConfig, LoraConfig, MeshConfig, PhaseConfig
from msm_jax.data.tokenized import Source
from msm_jax.metrics import count_skipped
from msm_jax.model import training_flops_per_token
from msm_jax.training import train_step
from msm_jax.training.phase_checkpoints import Origin
from msm_jax.training.training_checks import TrainingError, UpdateGuard


def documents(texts):
  rows = [{'id': b'%d' % n, 'text': t.encode(), 'claim_ids': []} for n, t in enumerate(texts)]
  return Source('documents', 'documents', rows)


def chats(conversations):
  rows = []
  for n, messages in enumerate(conversations):
    roles = [role.encode() for role, _ in messages]
    contents = [content.encode() for _, content in messages]
    rows.append({'id': b'%d' % n, 'roles': roles, 'contents': contents})
  return Source('chats', 'chats', rows)


SENTENCES = [f'It is cheap: {n}.' for n in range(20)]
EXPERIMENT = checks.from_mapping(
  ExperimentConfig,
  dict(
    name='test',
    sources=dict(items=dict(maker='world.items')),
    phases=dict(p=dict(data=dict(items=1.0), updates=1, min_updates=1)),
    arms=dict(a='p'),
    model=dataclasses.asdict(dataclasses.replace(TINY, vocab_size=400)),
  ),
)
PHASE = dict(updates=4, min_updates=1, batch_size=8, length=32, checkpoint_every=100)


def run_phase(
  folder,
  tokenizer,
  source,
  *,
  parent=None,
  stop=lambda: False,
  until=None,
  mesh=None,
  max_skipped=20,
  max_skipped_share=0.1,
  **settings,
):
  """Trains one phase in `folder` and returns its metrics."""
  c = dataclasses.replace(
    EXPERIMENT,
    max_skipped=max_skipped,
    max_skipped_share=max_skipped_share,
    mesh=MeshConfig(**(mesh or {})),
  )
  phase = PhaseConfig(**dict(PHASE, data={source.name: 1.0}) | settings)
  folder.mkdir(exist_ok=True)
  job = train.PhaseJob(
    config=c,
    phase=phase,
    label='this phase',
    seed=0,
    tokenizer=tokenizer,
    sources=[(source, 1.0)],
    folder=folder,
    meta={'data': source.name},
    stop=stop,
    origin=Origin(parent=parent),
    until=until,
  )
  train.train_phase(job)
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def the_program(mesh=None):
  c = EXPERIMENT
  mesh = sharding.make_mesh(**(mesh or {}))
  return train_step.make_program(c.model, c.optimizer, c.loss_chunk, mesh, 'next_token', None)


def saved_params(folder, step):
  c = checkpointing.Checkpoints(folder / 'checkpoints')
  params = jax.device_get(c.restore_params(step, the_program().abstract_state.params))
  c.close()
  return params


# ---- The start and the end of a phase


@pytest.mark.slow
def test_one_program_serves_all_phases(tmp_path, tokenizer):
  """Fresh, from a parent and resumed, with other schedules, data and rates: the step is compiled
  once."""
  train_step.make_program.cache_clear()
  first = run_phase(tmp_path / 'a', tokenizer, documents(SENTENCES), lr=1e-2)

  def parent(abstract_params):
    c = checkpointing.Checkpoints(tmp_path / 'a' / 'checkpoints')
    return c.restore_params(4, abstract_params)

  def unused_parent(abstract_params):
    pytest.fail('its own checkpoint comes first')

  said = chats([[('user', s), ('assistant', s)] for s in SENTENCES])
  second = dict(schedule='constant', lr=1e-3, updates=5, checkpoint_every=2)
  stop = iter([False, False, True]).__next__
  with pytest.raises(Interrupted, match='this phase: saved at step 3'):
    run_phase(tmp_path / 'b', tokenizer, said, parent=parent, stop=stop, **second)
  rows = run_phase(tmp_path / 'b', tokenizer, said, parent=unused_parent, **second)
  assert the_program().step._cache_size() == 1
  assert first[-1]['step'] == 4
  assert rows[-1]['step'] == 5
  assert rows[-1]['lr'] == pytest.approx(1e-3)


@pytest.mark.slow
def test_a_phase_starts_from_its_parent(tmp_path, tokenizer):
  """With a rate of nothing, the phase ends with its parent's parameters; a fresh one would not."""
  run_phase(tmp_path / 'a', tokenizer, documents(SENTENCES), lr=1e-2)
  parent = saved_params(tmp_path / 'a', 4)

  def parent_params(abstract_params):
    return jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), parent, abstract_params)

  still = dict(lr=1e-30, updates=2)
  run_phase(tmp_path / 'b', tokenizer, documents(SENTENCES), parent=parent_params, **still)
  assert_trees_equal(saved_params(tmp_path / 'b', 2), parent)
  run_phase(tmp_path / 'c', tokenizer, documents(SENTENCES), **still)
  assert np.abs(saved_params(tmp_path / 'c', 2)['embed'] - parent['embed']).max() > 1e-3


@pytest.mark.slow
def test_metrics_of_a_phase(tmp_path, tokenizer):
  """One row per update. In documents that fill their rows every target counts, and the loss falls
  from that of guessing."""
  rows = run_phase(tmp_path, tokenizer, documents(SENTENCES), lr=2e-2, updates=30)
  assert [r['step'] for r in rows] == list(range(1, 31))
  assert {r['weight'] for r in rows} == {8 * 32}
  assert rows[0]['loss'] > 5
  assert rows[-1]['loss'] < 1.5
  # Warmup takes two updates.
  assert rows[0]['lr'] == pytest.approx(1e-2)


def test_tokens_are_those_of_the_batches(tmp_path, tokenizer, monkeypatch):
  """`batch_size` of reinforcement learning counts answers, which fill a quarter to all of so many
  rows. The speed is that of the rows that are there."""

  class HalfOfTheRows(train.TextBatches):
    def batch(self, step, state):
      whole, numbers = super().batch(step, state)
      half = {}
      for key, x in whole.items():
        half[key] = jax.device_put(x[:, : x.shape[1] // 2], x.sharding)
      return half, numbers

  monkeypatch.setattr(train, 'TextBatches', HalfOfTheRows)
  rows = run_phase(tmp_path, tokenizer, documents(SENTENCES), batch_size=16, updates=2)
  assert [row['weight'] for row in rows] == [8 * 32] * 2
  assert rows[-1]['tokens_per_s'] * rows[-1]['seconds'] == pytest.approx(2 * 8 * 32, rel=0.02)


def test_the_speed_of_adapters_is_that_of_adapters(tmp_path):
  """FLOPs that nobody computes do not count: frozen matrices get no gradients."""
  model = dataclasses.replace(TINY, lora=LoraConfig(rank=4))
  job = types.SimpleNamespace(
    config=types.SimpleNamespace(model=model, tensorboard=False),
    phase=types.SimpleNamespace(length=16, updates=1),
    label='p',
    folder=tmp_path,
  )
  opened = train._open_metrics(job, 0, 1)
  opened.close()
  assert opened.flops_per_token == training_flops_per_token(model, 16)


def test_a_phase_that_ends_early_counts_to_its_end(tmp_path, tokenizer, capfd):
  """Training for points alone showed the updates of the whole phase and the time that these would
  take, and its last line was missing. It saves nothing at its end, from which nobody goes on."""
  rows = run_phase(tmp_path, tokenizer, documents(SENTENCES), until=2, checkpoint_every=1)
  assert [row['step'] for row in rows] == [1, 2]
  said = capfd.readouterr().err
  assert 'this phase  step 2/2 ' in said and 'step 1/4' not in said
  assert checkpointing.Checkpoints(tmp_path / 'checkpoints').latest() == 1


# ---- Refusals


def test_a_rate_that_explodes_stops_the_phase(tmp_path, tokenizer):
  """More than max_skipped updates in a row that are not finite end the phase with one line that
  names them; 3 are borne."""
  settings = dict(lr=1e37, updates=10, schedule='constant', warmup=0.0, max_skipped=3)
  message = r'^this phase: updates 2 to 5 were not finite; lower .*lr .*1e\+37.*max_skipped$'
  with pytest.raises(TrainingError, match=message) as e:
    run_phase(tmp_path, tokenizer, documents(SENTENCES), **settings)
  assert '\n' not in str(e.value)


@pytest.mark.filterwarnings('ignore:overflow encountered in cast')
def test_a_phase_that_learned_nothing_is_no_phase(tmp_path, tokenizer):
  """Fewer updates than max_skipped bears, and not one of them finite: the rate is more than fp32
  holds."""
  settings = dict(lr=1e39, updates=3, schedule='constant', warmup=0.0)
  with pytest.raises(TrainingError, match=r'^this phase: updates 1 to 3 were not finite'):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), **settings)


def poison(monkeypatch, *steps):
  """Makes the learning rate of these updates infinite, so that they change nothing."""
  rate = train.learning_rate

  def poisoned(phase, step):
    found = rate(phase, step)
    return found * np.float32('inf') if step + 1 in steps else found

  monkeypatch.setattr(train, 'learning_rate', poisoned)


def test_most_updates_skipped_are_no_phase(tmp_path, tokenizer):
  """All updates but the first are skipped, and no more in a row than max_skipped bears: such a
  phase ended in a report."""
  settings = dict(lr=1e37, updates=20, schedule='constant', warmup=0.0)
  message = (
    r'^this phase: 19 of the 20 updates so far were not finite and changed nothing; '
    r'lower phases lr \(now 1e\+37\) or raise max_skipped_share \(now 0.1\)$'
  )
  with pytest.raises(TrainingError, match=message):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), **settings)
  assert checkpointing.Checkpoints(tmp_path / 'checkpoints').latest() is None


def test_scattered_skips_are_counted_together(tmp_path, tokenizer, monkeypatch, capfd):
  """Never two in a row: a share counts them, a streak does not. Up to the share they are said."""
  poison(monkeypatch, 3, 5, 8)
  settings = dict(updates=20)
  with pytest.raises(TrainingError, match=r'^this phase: 3 of the 20 updates so far'):
    run_phase(tmp_path / 'a', tokenizer, documents(SENTENCES), **settings)
  settings |= dict(max_skipped_share=0.15)
  metrics = run_phase(tmp_path / 'b', tokenizer, documents(SENTENCES), **settings)
  assert [row['step'] for row in metrics if row['lr'] is None] == [3, 5, 8]
  assert 'this phase: 3 of 20 updates were not finite and changed nothing' in capfd.readouterr().err
  assert count_skipped(tmp_path / 'b', 20) == 3 and count_skipped(tmp_path / 'b', 7) == 2


def test_skips_before_an_interruption_count(tmp_path, tokenizer, monkeypatch):
  """Two before it and one after it are three."""
  poison(monkeypatch, 3, 5, 8)
  stops = iter([False] * 5)
  settings = dict(updates=20)
  with pytest.raises(Interrupted):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), stop=lambda: next(stops, True), **settings)
  assert checkpointing.Checkpoints(tmp_path / 'checkpoints').latest() == 6
  with pytest.raises(TrainingError, match=r'^this phase: 3 of the 20 updates so far'):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), **settings)


def test_the_last_update_must_be_finite(tmp_path, tokenizer, monkeypatch):
  poison(monkeypatch, 20)
  with pytest.raises(TrainingError, match=r'the last update, 20, was not finite'):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), updates=20)


def test_many_scattered_skips_end_a_long_phase_early():
  """More than both bounds: nothing that comes later can make up for it."""
  phase = PhaseConfig(**dict(PHASE, data={'documents': 1.0}, updates=1000))
  c = dataclasses.replace(EXPERIMENT, max_skipped=20, max_skipped_share=0.1)
  guard = UpdateGuard(c, phase, 'p', skipped=99)
  values = {'skipped': 1.0, 'weight': 8.0}
  guard.check(300, values)
  assert guard.skipped == 100
  with pytest.raises(TrainingError, match='101 of the 300 updates so far'):
    guard.check(300, values)


def test_a_share_that_is_reached_is_borne():
  """29 of 100 are not more than 0.29, although 0.29 * 100 is 28.999999999999996."""
  phase = PhaseConfig(**dict(PHASE, data={'documents': 1.0}, updates=100))
  c = dataclasses.replace(EXPERIMENT, max_skipped=5, max_skipped_share=0.29)
  finite = {'skipped': 0.0, 'weight': 8.0}
  UpdateGuard(c, phase, 'p', skipped=29).check(100, finite)
  with pytest.raises(TrainingError, match='30 of the 100 updates so far'):
    UpdateGuard(c, phase, 'p', skipped=30).check(100, finite)


def test_no_supervised_token(tmp_path, tokenizer):
  """Chats in which the assistant says nothing teach nothing: refused, instead of a phase that
  changes nothing."""
  silent = chats([[('user', s)] for s in SENTENCES])
  message = r'^this phase: the batch of update 1 has no supervised token; give chats .*length=32$'
  with pytest.raises(TrainingError, match=message):
    run_phase(tmp_path, tokenizer, silent, updates=2)
  assert checkpointing.Checkpoints(tmp_path / 'checkpoints').latest() is None


def test_a_full_disk_leaves_nothing_open(tmp_path, tokenizer, monkeypatch):
  """If the last checkpoint cannot be written, the metrics and the thread of batches end as well."""
  closed = []
  for part in (train.PhaseSaver, train.UpdateLog, train.TextBatches):

    def close(self, close=part.close):
      close(self)
      closed.append(type(self).__name__)
      if isinstance(self, train.PhaseSaver):
        raise checkpointing.CheckpointError('no space is left')

    monkeypatch.setattr(part, 'close', close)
  with pytest.raises(checkpointing.CheckpointError, match='no space is left'):
    run_phase(tmp_path, tokenizer, documents(SENTENCES), updates=1)
  assert closed == ['PhaseSaver', 'UpdateLog', 'TextBatches']


# (mesh, settings of the phase, error, message)
UNDIVIDED = [
  (dict(data=3), {}, sharding.MeshError, "mesh .*'data': 3.* does not divide the 8 device"),
  (
    dict(data=-1, tensor=3),
    {},
    sharding.MeshError,
    "mesh .*'tensor': 3.* does not divide the 8 device",
  ),
  (dict(data=-1, fsdp=-1), {}, ConfigError, 'at most one is -1'),
  (dict(data=8, fsdp=0), {}, ConfigError, 'sizes of the mesh are at least 1'),
  (
    dict(data=4, fsdp=2),
    dict(batch_size=12),
    TrainingError,
    '12 rows per micro-batch cannot be split over data x fsdp = 4 x 2',
  ),
  (
    dict(data=8),
    dict(batch_size=16, micro_batches=4),
    TrainingError,
    '4 rows per micro-batch cannot be split',
  ),
]


@pytest.mark.parametrize(('mesh', 'settings', 'error', 'message'), UNDIVIDED, ids=str)
def test_what_does_not_divide(tmp_path, tokenizer, mesh, settings, error, message):
  """One line with cause and remedy, before anything is written."""
  with pytest.raises(error, match=message) as e:
    run_phase(tmp_path, tokenizer, documents(SENTENCES), mesh=mesh, **settings)
  assert '\n' not in str(e.value)
  assert not list(tmp_path.iterdir())


def test_too_few_updates_are_refused():
  """A handful of updates fakes a null result: a phase refuses to be planned below its floor (100
  unless lowered)."""
  c = dict(name='t', sources=dict(items=dict(maker='world.items')), arms=dict(a='p'))

  def plan(**settings):
    phases = dict(p=dict(data=dict(items=1.0), **settings))
    return checks.from_mapping(ExperimentConfig, c | dict(phases=phases))

  message = (
    r'^phases\.p: 99 updates are fewer than its floor of 100 .* or lower phases\.p\.min_updates$'
  )
  with pytest.raises(ConfigError, match=message):
    plan(updates=99)
  assert plan(updates=100).phases['p'].updates == 100
  assert plan(updates=9, min_updates=9).phases['p'].updates == 9
