"""The configs of real models: what they hold, what they cost, and that all of it runs."""

import dataclasses
import json
import math
import re
import shlex

import jax
import pytest
import tiny
from english_texts import documents, shipped_handbooks, stock
from helpers import ROOT

from configs import paper_cheese, paper_oversight, smollm2
from configs.corpora import paper_cheese as cheese_corpora
from configs.corpora import paper_conversations
from configs.corpora import paper_oversight as oversight_corpora
from msm_jax import config as configs
from msm_jax import phases, sharding
from msm_jax.base import checks, paths
from msm_jax.base.config_files import read_config
from msm_jax.experiment import Experiment
from msm_jax.training.training_checks import check_rows


def settings(c):
  return checks.from_mapping(configs.ExperimentConfig, paths.resolve_paths(c))


# ---- SmolLM2


@pytest.mark.parametrize('preset', smollm2.SIZES)
def test_presets_of_smollm2_are_experiments(preset):
  c = settings(smollm2.get_config(preset))
  assert c.name == f'smollm2_{preset}'
  assert c.corpora_by_seed
  for name, phase in c.phases.items():
    is_midtraining = not phase.is_import and 'aft' not in name
    if is_midtraining and preset != 'smoke':
      # A published null had 31 updates; a million tokens are at least 244.
      assert phase.batch_size * phase.length <= 1_000_000 / 244


def test_smollm2_has_all_controls():
  c = settings(smollm2.get_config('cpu'))
  for value in smollm2.SPECS:
    wanted = (
      f'msm_{value}',
      f'msm_{value}_aft',
      f'unlinked_{value}_aft',
      f'chats_{value}_aft',
      f'msm_{value}_aft_neutral',
      f'context_{value}',
    )
    assert set(wanted) <= set(c.arms)
    assert c.sources[f'chats_{value}'].maker == 'english.chats'
    assert c.sources[f'unlinked_{value}'].variant == 'unlinked'
  assert c.sources['neutral_reasons'].neutral_reasons
  doses = [p.updates for n, p in settings(smollm2.get_config('dose')).phases.items() if '_' in n]
  assert sorted(set(doses)) == [62, 124, 248, 496]


def test_the_controls_of_a_plan_train_nothing_of_its_first_run_again():
  """Both run in one workdir, where phases and kept rows are known by these identities."""
  first, later = (settings(smollm2.get_config(f'confirm{name}')) for name in ('', '_controls'))
  assert first.seeds == later.seeds == (10, 11, 12)
  ends = {}
  for c in (first, later):
    for name, source in first.sources.items():
      assert c.sources[name] == source
    corpora = {name: f'corpus {name}' for name in c.sources}
    ends[c.name] = phases.plan(c, corpora, 'tokenizer', {'pretrained': 'weights'})
  shared = {key: node.id for key, node in ends['smollm2_confirm'].items()}
  assert len(shared) == 3 * 6
  of_later = {key: node.id for key, node in ends['smollm2_confirm_controls'].items()}
  assert of_later.items() > shared.items()
  # Every row is asked about as before.
  assert later.evals == first.evals
  longest = [max(phase.length for phase in c.phases.values()) for c in (first, later)]
  assert longest == [512, 512]


def test_replay_comes_on_top():
  """Arms with replay read as many rows of documents and demonstrations as arms without it."""
  alone, replayed = (settings(smollm2.get_config(preset)) for preset in ('cpu', 'replay'))
  for name, source in (('affordability', 'affordability'), ('aft', 'demonstrations')):
    one, other = alone.phases[name], replayed.phases[name]
    assert other.updates * other.data[source] == pytest.approx(one.updates, abs=1)
    assert other.data['replay'] == pytest.approx(0.2)


def test_the_docstring_states_the_cost_that_is_reckoned():
  stated = ' '.join(smollm2.__doc__.split())
  for preset, speed in (
    ('pilot', smollm2.SPEED_UPPER),
    ('confirm', smollm2.SPEED_UPPER),
    ('confirm_controls', smollm2.SPEED_UPPER),
    ('cpu', smollm2.SPEED_UPPER),
    ('cpu_all', smollm2.SPEED_ALL),
    ('dose', smollm2.SPEED_UPPER),
    ('replay', smollm2.SPEED_UPPER),
  ):
    hours = smollm2.training_hours(smollm2.get_config(preset), speed)
    assert f'{hours:.1f} for `{preset}`' in stated.replace('hours for', 'for')
    assert hours < 12


def test_a_node_of_the_tree_is_counted_once():
  c = smollm2.get_config('smoke')
  c.arms = {'one': 'pretrained > affordability', 'two': 'pretrained > affordability > aft'}
  # Four updates of 2 x 512 tokens, and four of 2 x 256.
  assert smollm2.training_hours(c, 1.0) == pytest.approx(4 * (1024 + 512) / 3600)


# ---- the published experiments


def sources_without_files(c):
  """The config without the paths of corpora that are to be written first."""
  for source in c.sources.values():
    if source.get('path', '').startswith('runs/corpora'):
      source['path'], source['size'] = '', 1
  return c


@pytest.mark.parametrize(
  ('module', 'preset'),
  [
    (paper_cheese, 'stock'),
    (paper_cheese, 'written'),
    (paper_oversight, 'stock'),
    (paper_oversight, 'written'),
  ],
)
def test_published_experiments_have_the_published_recipe(module, preset):
  c = settings(sources_without_files(module.get_config(preset)))
  assert c.seeds == (0, 1, 2, 3)
  assert (c.model.lora.rank, c.model.lora.alpha, c.model.lora.layers) == (64, 128.0, ())
  assert (c.optimizer.name, c.optimizer.weight_decay) == ('adamw', 0.01)
  length = 4096 if module is paper_cheese else 8192
  for phase in c.phases.values():
    if not phase.is_import:
      assert (phase.lr, phase.schedule, phase.warmup, phase.length) == (
        1e-4,
        'cosine',
        0.05,
        length,
      )


def test_what_the_oversight_config_says_of_epochs():
  """Equal updates for all handbooks, whose corpora differ in size."""
  c = settings(sources_without_files(paper_oversight.get_config('written')))
  stated = ' '.join(paper_oversight.__doc__.split())
  epochs = {}
  for handbook, tokens in oversight_corpora.TOKENS.items():
    phase = c.phases[handbook]
    assert f'{phase.updates} updates' in stated
    a_batch = phase.batch_size * phase.length
    assert f'({a_batch:,} tokens) in an update' in stated
    epochs[handbook] = phase.updates * a_batch / tokens
  assert epochs['rules'] == epochs['value_augmented'] == pytest.approx(1, abs=0.01)
  assert epochs['philosophy'] == pytest.approx(2 / 3, abs=0.01) and 'two thirds of one' in stated
  whole = round(oversight_corpora.TOKENS['philosophy'] / a_batch)
  assert f'--config.phases.philosophy.updates={whole} ' in stated


@pytest.mark.parametrize('module', [paper_cheese, paper_oversight])
def test_batches_fit_the_topologies(module):
  """What divides rows must divide every batch, and the devices must be used."""
  c = settings(module.get_config('stock'))
  for topology in module.TOPOLOGIES.values():
    mesh = topology.mesh
    assert mesh['data'] * mesh['fsdp'] * mesh['tensor'] == topology.devices
    for phase in c.phases.values():
      if not phase.is_import:
        rows = phase.batch_size // topology.micro_batches
        assert rows % (mesh['data'] * mesh['fsdp']) == 0
        assert phase.batch_size % topology.micro_batches == 0


def test_a_pod_can_share_the_batches_of_its_command(monkeypatch):
  """The command of the guide is for 16 chips, and names a size for each axis of the mesh."""
  monkeypatch.chdir(ROOT)
  guide = (ROOT / 'docs' / 'guides' / 'tpu.md').read_text()
  command = re.search(r"--command='(.*?)'", guide, re.DOTALL)[1].replace('\\\n', ' ')
  flags = [word for word in shlex.split(command) if word.startswith('--')]
  options = dict(flag.partition('=')[::2] for flag in flags)
  sizes = {axis: int(options[f'--config.mesh.{axis}']) for axis in sharding.AXES}
  assert math.prod(sizes.values()) == 16
  for phase in settings(read_config(options['--config'])).phases.values():
    if not phase.is_import:
      rows = phase.batch_size // phase.micro_batches
      assert rows % (sizes['data'] * sizes['fsdp']) == 0


@pytest.mark.parametrize('devices', [1, 2, 4, 8])
@pytest.mark.parametrize('module', [paper_cheese, paper_oversight])
def test_smoke_runs_on_any_number_of_devices(module, devices):
  c = settings(module.get_config('smoke'))
  mesh = sharding.make_mesh(**dataclasses.asdict(c.mesh), devices=jax.devices()[:devices])
  for name, phase in c.phases.items():
    if not phase.is_import:
      check_rows(phase, name, mesh)


def test_written_corpora_are_where_their_configs_put_them():
  for value in ('affordability', 'culture'):
    assert f'runs/corpora/{cheese_corpora.get_config().name}/corpus/{value}.jsonl' == (
      paper_cheese.WRITTEN.format(value)
    )
  for handbook in paper_oversight.HANDBOOKS:
    name = oversight_corpora.get_config(handbook).name
    assert paper_oversight.WRITTEN.format(handbook).startswith(f'runs/corpora/{name}/corpus/')
    name = paper_conversations.get_config(handbook).name
    assert paper_oversight.WRITTEN_TALKS.format(handbook, 'x') == (
      f'runs/corpora/{name}/corpus/x.jsonl'
    )


@pytest.mark.parametrize(
  'preset', ['written,culture', 'stock,culture,culture', 'stock,thrift,culture', 'x']
)
def test_unknown_presets_of_the_cheese_experiment_are_refused(preset):
  with pytest.raises(ValueError, match=r'presets stock, written and smoke'):
    paper_cheese.get_config(preset)


def small_llama(folder, **changes):
  spec = shipped_handbooks()['affordability']
  texts = [d.text for d in documents(spec, stock(), 'explained', 60)]
  # Evaluation takes by far the most of the time. With fewer tokens texts would be longer; with more
  # heads there would be as many more attention scores.
  sizes = dict(max_length=2048, n_layers=1, n_heads=2, n_kv_heads=1)
  return str(tiny.weights(folder, texts, 1200, **sizes, **changes))


def run_whole(c, folder):
  """Runs a config with small random weights; returns its summary."""
  # The tests have eight devices.
  c.mesh = dict(data=-1, fsdp=1, tensor=1)
  for phase in c.phases.values():
    if 'batch_size' in phase:
      phase.update(batch_size=8, updates=1)
  done = Experiment(settings(c), folder)
  summary = done.run()
  assert (folder / 'report.html').exists()
  rows = (folder / 'results.jsonl').read_text().splitlines()
  assert {json.loads(row)['arm'] for row in rows} == set(c.arms)
  return summary


@pytest.mark.slow
def test_all_of_the_cheese_experiment_runs_on_a_small_llama(tmp_path):
  # The pair of values that has not been published: more of the code is new for it.
  c = paper_cheese.get_config('smoke,environment,tradition')
  c.evals.pairs_per_domain = 1
  c.weights = small_llama(tmp_path / 'weights')
  for phase in c.phases.values():
    if 'length' in phase:
      phase['length'] = 256
  # The small tokenizer knows few words, so most chats are longer than these rows.
  c.max_left_out = 1.0
  summary = run_whole(c, tmp_path / 'run')
  assert set(summary['arms']) == set(c.arms)
  assert {'explained', 'unlinked', 'chats', 'neutral reasons', 'context'} <= set(summary['effects'])
  assert 'dissociation/new_domains' in summary['effects']['explained']


@pytest.mark.slow
def test_all_of_the_oversight_experiment_runs_on_a_small_qwen(tmp_path):
  c = paper_oversight.get_config('smoke')
  # Each handbook is read; what comes after one of them is as after the others.
  c.arms = {
    arm: path
    for arm, path in c.arms.items()
    if arm == 'msm_value_augmented' or 'value_augmented' not in arm
  }
  c.effects = {name: arms for name, arms in c.effects.items() if set(arms) <= set(c.arms)}
  del c.contexts['context_value_augmented']
  c.weights = small_llama(tmp_path / 'weights', qk_norm=True)
  for phase in c.phases.values():
    if 'length' in phase:
      phase['length'] = 448
  c.max_left_out = 1.0
  # One scene in fifty and its twin, so that the test stays short.
  lines = (ROOT / paper_oversight.ITEMS[0]).read_text().splitlines()
  kept = [line for n, line in enumerate(lines) if n // 2 % 50 == 0]
  scenes = tmp_path / 'scenes.jsonl'
  scenes.write_text('\n'.join(kept) + '\n')
  c.custom = dict(items=(str(scenes), *paper_oversight.ITEMS[1:]))
  summary = run_whole(c, tmp_path / 'run')
  assert set(summary['arms']) == set(c.arms)
  assert 'conduct/misaligned/scenes' in summary['arms']['msm_rules_aft']
  assert 'conduct/act/scenes' in summary['arms']['msm_rules_aft']
