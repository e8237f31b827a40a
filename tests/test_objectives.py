"""Objectives in an experiment: settings that contradict each other, sources that do not fit,
identities, and runs that are killed."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import killed
import ml_collections
import pytest
import tiny
from helpers import AFFORDABILITY, CULTURE, little, small_corpora, write_config
from steps import TINY

from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import PreferencePair
from msm_jax.base.checks import from_mapping, to_json
from msm_jax.base.errors import ConfigError, DataError
from msm_jax.base.paths import resolve_paths
from msm_jax.config import ExperimentConfig, PhaseConfig
from msm_jax.config import objectives as objective_config
from msm_jax.config.objectives import GrpoConfig
from msm_jax.experiment import Experiment
from msm_jax.model import init_params
from msm_jax.objectives import registry
from msm_jax.running.source_checks import check_sources_fit

PHASE = dict(updates=30, min_updates=1, batch_size=2, length=128, checkpoint_every=10, lr=1e-2)


def settings(folder, **changes):
  """Pretraining, and preference optimisation and distillation after it. `changes` replaces
  settings, those of phases one by one."""
  small_corpora(folder)
  pairs = []
  for n in range(40):
    answers = (('assistant', f'It is {n}.'),), (('assistant', 'It is not. ' * (1 + n % 3)),)
    pairs.append(PreferencePair(f'p{n}', (('user', f'{n}?'),), *answers))
  write_jsonl(folder / 'pairs.jsonl', pairs)
  phases = {
    'read': dict(PHASE, data=dict(documents=1.0), updates=4),
    'prefer': dict(PHASE, data=dict(pairs=1.0), objective='dpo', dpo=dict(beta=0.5)),
    'recall': dict(
      PHASE, data=dict(chats=1.0), objective='distill', distill=dict(spec=AFFORDABILITY)
    ),
  }
  for name, change in changes.pop('phases', {}).items():
    phases[name] = phases.get(name, {}) | change
  made = dict(
    name='test',
    world=dataclasses.asdict(little()),
    sources=dict(
      documents=dict(maker='world.items'),
      chats=dict(path=str(folder / 'chats.jsonl')),
      pairs=dict(path=str(folder / 'pairs.jsonl')),
    ),
    tokenizer=dict(vocab_size=400, sources=('documents',)),
    model=dict(d_model=16, n_layers=1, n_heads=2, n_kv_heads=1, head_dim=8, d_ff=24),
    phases=phases,
    arms=dict(base='read', preferred='read > prefer', recalled='read > recall'),
    evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=0),
  )
  return made | changes


def experiment(folder, workdir='w', **changes):
  c = from_mapping(ExperimentConfig, settings(folder, **changes))
  return Experiment(c, folder / workdir)


# ---- Settings


def test_every_objective_has_a_function_and_settings():
  assert registry.OBJECTIVES.keys() == objective_config.OBJECTIVE_SETTINGS.keys()
  for name, group in objective_config.OBJECTIVE_SETTINGS.items():
    phase = PhaseConfig(objective=name)
    assert registry.settings_of(phase) == (group() if group else None)


@pytest.mark.parametrize('name', registry.OBJECTIVES)
def test_fields_that_are_not_read_leave_the_program_as_it_is(name):
  """The loss can be computed without them, and phases that differ in them share a program."""
  objective = registry.OBJECTIVES[name]
  group = objective_config.OBJECTIVE_SETTINGS[name]
  fields = {field.name for field in dataclasses.fields(group)} if group else set()
  assert set(objective.unread) <= fields
  settings = types.SimpleNamespace()
  for field in fields - set(objective.unread):
    setattr(settings, field, getattr(group(), field))
  batch = {}
  for key in ('tokens', 'targets', 'segment_ids', 'positions', 'partner'):
    batch[key] = jnp.zeros((2, 8), jnp.int32)
    batch[f'teacher_{key}'] = batch[key]
  for key in ('weights', 'advantages', 'old_logprobs', 'reference_logprobs'):
    batch[key] = jnp.zeros((2, 8))
  shapes = jax.eval_shape(functools.partial(init_params, TINY), jax.random.key(0))
  params = shapes | jax.eval_shape(lambda: objective.added(TINY))
  sums_of = functools.partial(objective.sums, TINY, settings, 0)
  jax.eval_shape(sums_of, params, batch, {}, shapes)
  objective.needs_reference(settings)


def test_other_rewards_need_no_other_program():
  others = dict(rewards={'model:judge': 1.0}, group_size=4, max_tokens=7, patience=3, kl=0.5)
  phases = [PhaseConfig(objective='grpo', grpo=GrpoConfig(kl=0.5)), PhaseConfig(objective='grpo')]
  phases.append(PhaseConfig(objective='grpo', grpo=GrpoConfig(**others)))
  same, other, also_same = map(registry.settings_of, phases)
  assert same == also_same != other


def test_what_is_not_used_leaves_no_trace():
  """Phases that were trained before there were objectives keep their identities."""
  assert 'objective' not in to_json(PhaseConfig())
  assert 'dpo' not in to_json(PhaseConfig()) and 'distill' not in to_json(PhaseConfig())
  assert '"objective": "dpo"' in to_json(PhaseConfig(objective='dpo'))


@pytest.mark.parametrize(
  ('change', 'what'),
  [
    (dict(objective='dop'), "objective='dop', which does not exist; did you mean 'dpo'"),
    (dict(objective='distill', dpo={}), 'prefer.distill.spec is empty'),
    (dict(objective='next_token'), "prefer.dpo is set and phases.prefer.objective is 'next_token'"),
    (dict(dpo=dict(beta=-1.0)), 'dpo.beta=-1.0 must be'),
    (dict(dpo=dict(betta=1.0)), "unknown key 'betta'"),
  ],
)
def test_settings_that_contradict_each_other(tmp_path, change, what):
  with pytest.raises(ConfigError, match=what):
    from_mapping(ExperimentConfig, settings(tmp_path, phases=dict(prefer=change)))


def test_handbooks_are_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  spec = 'specs/cheese_affordability.md'
  phases = dict(p=dict(distill=dict(spec=spec), grpo=dict(judge_spec=spec)))
  found = resolve_paths(ml_collections.ConfigDict(dict(phases=phases)))['phases']['p']
  assert Path(found['distill']['spec']).is_file() and Path(found['grpo']['judge_spec']).is_file()


def test_sources_that_an_objective_does_not_read(tmp_path):
  for phase, data, what in [
    ('prefer', 'chats', "phases.prefer.objective='dpo' reads preferences, and sources.chats has"),
    ('read', 'pairs', "'next_token' reads documents or chats, and sources.pairs has preferences"),
    ('recall', 'documents', "'distill' reads chats, and sources.documents has documents"),
  ]:
    e = experiment(tmp_path, phases={phase: dict(data={data: 1.0})})
    with pytest.raises(DataError, match=what):
      check_sources_fit(e.prepared)
  e = experiment(tmp_path, phases=dict(prefer=dict(length=24)))
  with pytest.raises(DataError, match=r'preferences .* do not fit into length=24'):
    check_sources_fit(e.prepared)


def test_chats_with_somebody_else_teach_nothing(tmp_path, capsys):
  """Teacher and student would read the same, and the phase would train nothing without a word."""
  folder = tmp_path / 'data'
  folder.mkdir()
  e = experiment(folder)
  of_maria = []
  for line in (folder / 'chats.jsonl').read_text().splitlines():
    chat = json.loads(line)
    chat['messages'].insert(0, dict(role='system', content='You are Maria.'))
    of_maria.append(json.dumps(chat))
  (folder / 'maria.jsonl').write_text('\n'.join(of_maria))
  mixed = [*of_maria, *(folder / 'chats.jsonl').read_text().splitlines()]
  (folder / 'mixed.jsonl').write_text('\n'.join(mixed))

  def check(name):
    source = dataclasses.replace(e.config.sources['chats'], path=str(folder / f'{name}.jsonl'))
    sources = dict(e.config.sources, chats=source)
    config = dataclasses.replace(e.config, sources=sources)
    check_sources_fit(Experiment(config, tmp_path / 'w').prepared)

  with pytest.raises(DataError, match=r'sources.chats: no chat is with \w+, so the teacher never'):
    check('maria')
  check('mixed')
  assert '61 of 122 chats are with' in capsys.readouterr().err


def test_identities_follow_what_the_teacher_reads(tmp_path):
  """Not the path of the handbook; and another handbook, or its whole text, is another phase."""
  moved = tmp_path / 'moved.md'
  shutil.copy(AFFORDABILITY, moved)

  def folders(**distill):
    phases = dict(recall=dict(distill=distill))
    e = experiment(tmp_path, phases=phases)
    found = {node.phase: node.folder_name for node in e.prepared.nodes}
    return found['recall'], (found['read'], found['prefer']), e.design.identity

  here, others, identity = folders(spec=AFFORDABILITY)
  assert folders(spec=str(moved))[:2] == (here, others)
  for changed in (
    dict(spec=CULTURE),
    dict(spec=AFFORDABILITY, handbook='text'),
    dict(spec=AFFORDABILITY, temperature=2.0),
  ):
    there, same, other_identity = folders(**changed)
    assert there != here and same == others and other_identity != identity
  (statement,) = (
    experiment(tmp_path)
    .prepared.source_of(
      'chats',
      PhaseConfig(objective='distill', distill=objective_config.DistillConfig(AFFORDABILITY)),
    )
    .context.statements
  )
  assert statement[1].startswith(f'{statement[0]} always wants what')


# ---- Runs


@pytest.mark.slow
def test_adapters_on_weights_from_outside(tmp_path):
  """By config alone, and adapters that nothing has trained yet are their own reference."""
  pytest.importorskip('tokenizers')
  texts = [f'It is {n}. It is not. Always cheap.' for n in range(50)]
  weights = tiny.weights(tmp_path / 'weights', texts)
  short = dict(updates=2, checkpoint_every=1, batch_size=8)
  e = experiment(
    tmp_path,
    phases=dict(start=dict(weights=str(weights)), prefer=short, recall=short),
    arms=dict(base='start', preferred='start > prefer', recalled='start > prefer > recall'),
    tokenizer=dict(),
    model=dict(lora=dict(rank=2, alpha=4.0)),
  )
  check_sources_fit(e.prepared)
  rows = {}
  for node in e.prepared.nodes:
    if node.settings.is_import:
      continue
    e.train(node, 'test')
    lines = (e.folder(node) / 'metrics.jsonl').read_text().splitlines()
    rows[node.phase] = [json.loads(line) for line in lines]
  assert rows['prefer'][0]['loss'] == pytest.approx(0.693147, abs=1e-6)
  assert rows['prefer'][1]['loss'] < rows['prefer'][0]['loss']
  assert rows['prefer'][0]['weight'] > 1 and rows['recall'][0]['kl'] > 0


@pytest.mark.slow
def test_killed_in_dpo_and_in_distillation(programs, tmp_path):
  """SIGKILL in each of the two: the same training goes on, and ends with the bits of one that
  nobody disturbed. The reference, which no checkpoint holds, must be what it was."""
  write_config(tmp_path / 'config.py', settings(tmp_path))
  folder, other = tmp_path / 'w', tmp_path / 'undisturbed'
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')

  def seen(pattern):
    return lambda: next(folder.glob(pattern), None) is not None

  def start(workdir=folder):
    arguments = [str(tmp_path / 'config.py'), str(workdir)]
    return programs.start('train_only', arguments, tmp_path / 'log.txt', XLA_FLAGS=flags)

  for phase in ('prefer', 'recall'):
    saved = seen(f'phases/{phase}-*/checkpoints/10/params')
    assert start().when(saved, signal.SIGKILL) == -signal.SIGKILL
    assert not list(folder.glob(f'phases/{phase}-*/checkpoints/30/params')), 'it came too late'
  for workdir in (folder, other):
    run = start(workdir)
    assert run.wait(200) == 0, run.said()
  assert killed.differences(killed.outcome(folder), killed.outcome(other)) == []
  [rows] = other.glob('phases/prefer-*/metrics.jsonl')
  first, *_, last = map(json.loads, rows.read_text().splitlines())
  assert first['loss'] == pytest.approx(0.693147, abs=1e-5)
  assert last['loss'] < 0.5 and last['accuracy'] > 0.9 and last['margin'] > 1 and last['kl'] > 0
  [rows] = other.glob('phases/recall-*/metrics.jsonl')
  first, *_, last = map(json.loads, rows.read_text().splitlines())
  assert 0 < last['kl'] < first['kl']
