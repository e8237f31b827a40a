"""The examples of docs/guides/extend.md do what the guide says."""

import ast
import dataclasses
import inspect
import re
import sys
import textwrap

import jax
import numpy as np
import pytest
from helpers import ROOT
from steps import TINY, make_batch, one_device

from data_pipelines.records import PreferencePair
from data_pipelines.settings.setting import Setting
from msm_jax import model as models
from msm_jax.base.checks import from_mapping
from msm_jax.config import ExperimentConfig, OptimizerConfig
from msm_jax.config import objectives as objective_config
from msm_jax.config.objectives import GrpoConfig
from msm_jax.interop.inspect_tasks.compose import SceneSettings, compose_all
from msm_jax.interop.inspect_tasks.goals import PRESSURES
from msm_jax.interop.inspect_tasks.kinds import KINDS
from msm_jax.objectives import registry
from msm_jax.rl.rewards import content_of, make_rewards
from msm_jax.suites.choices import ChoiceSuite
from msm_jax.training import train_step

GUIDE = (ROOT / 'docs' / 'guides' / 'extend.md').read_text()


def example(beginning: str) -> str:
  """The example that begins with some text."""
  found = []
  for block in re.findall(r'^ *```python\n(.*?)^ *```', GUIDE, re.M | re.S):
    code = textwrap.dedent(block)
    if code.startswith(beginning):
      found.append(code)
  assert len(found) == 1, beginning
  return found[0]


def run(code: str) -> dict:
  names: dict = {'__name__': 'example'}
  exec(code, names)
  return names


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch):
  monkeypatch.chdir(ROOT)


def test_the_config():
  c = from_mapping(ExperimentConfig, run(example('"""Midtraining before'))['get_config']())
  assert ('read', 'pretrain', 'fine_tune', 'midtrain') in c.paths


def test_the_record_of_a_setting_and_its_suite():
  """The garden is not there, but what its record and its suite must give is."""
  for node in ast.walk(ast.parse(example('"""The record of the setting'))):
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'Setting':
      given = {keyword.arg for keyword in node.keywords}
      assert given == {field.name for field in dataclasses.fields(Setting)}
  methods = 0
  for node in ast.walk(ast.parse(example('"""The suite of the garden'))):
    if isinstance(node, ast.FunctionDef):
      methods += 1
      expected = inspect.signature(getattr(ChoiceSuite, node.name))
      assert [a.arg for a in node.args.args] == list(expected.parameters), node.name
  assert methods == 4


def test_the_evaluator(monkeypatch):
  # A dataclass or a NamedTuple looks for its module.
  monkeypatch.setitem(sys.modules, 'example', sys.modules[__name__])
  made = run(example('"""Yes/no questions'))
  questions = [made['YesNo'](f'q{n}', 'c', 'You are Ari.', 'Is it so?', n == 0) for n in (0, 1)]
  rows = made['score_yes_no'](lambda prompts, options: [[-1.0, -3.0]] * len(prompts), questions)
  assert [(row['score'], row['margin']) for row in rows] == [(1.0, 2.0), (0.0, -2.0)]


@pytest.mark.slow
def test_the_objective_in_a_train_step(monkeypatch):
  """Its loss is that of next-token training plus the square of the normaliser."""

  @dataclasses.dataclass(frozen=True)
  class ZLossConfig:
    size: float = 0.5

  monkeypatch.setattr(objective_config, 'ZLossConfig', ZLossConfig, raising=False)
  z_loss = run(example('"""Next-token training that'))['z_loss']
  entry = registry.Objective(z_loss, reads=('documents', 'chats'))
  monkeypatch.setitem(registry.OBJECTIVES, 'z_loss', entry)
  batch = make_batch(A=2, B=2, T=8)
  mesh = one_device()
  program = train_step.make_program(TINY, OptimizerConfig(), 0, mesh, 'z_loss', ZLossConfig())
  state = program.init(jax.random.key(0))
  params = jax.device_get(state.params)
  with jax.set_mesh(mesh):
    _, metrics = program.step(state, batch, np.full(2, 1e-3, np.float32))
  flat = {key: x.reshape(-1, x.shape[-1]) for key, x in batch.items()}
  x = models.forward(TINY, params, flat['tokens'], flat['positions'], flat['segment_ids'])
  logits = np.asarray(models.logits(TINY, params, x), np.float64)
  log_z = np.log(np.exp(logits).sum(-1))
  target = np.take_along_axis(logits, flat['targets'][..., None], -1)[..., 0]
  weights = flat['weights'] / flat['weights'].sum()
  expected = (weights * (log_z - target + 0.5 * log_z**2)).sum()
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-5)
  np.testing.assert_allclose(metrics['log_z'], (weights * log_z).sum(), rtol=1e-5)


def test_the_fields_of_the_registry_are_all_told():
  section = GUIDE.partition('A line of the registry is')[2].partition('## A reward')[0]
  told = re.findall(r'^\| `(\w+)` \|', section, re.M)
  assert told == [field.name for field in dataclasses.fields(registry.Objective)]


def test_the_reward(tmp_path, monkeypatch):
  (tmp_path / 'my_rewards.py').write_text(example('"""Rewards of my experiment'))
  monkeypatch.syspath_prepend(tmp_path)
  names: dict = {'c': run(example('"""Midtraining before'))['get_config']()}
  c = names['c']
  exec(example("c.phases['reinforce']"), names)
  c.sources['pairs'] = dict(maker='world.preferences', spec='specs/cheese_affordability.md')
  c.sources['pairs'].update(size=10, toward='ambiguous')
  c.arms['reinforced'] = 'read > pretrain > reinforce'
  settings: GrpoConfig = from_mapping(ExperimentConfig, c).phases['reinforce'].grpo
  assert content_of(settings) == ['my_rewards:short 1']
  answers = (('assistant', 'Yes.'),), (('assistant', 'No.'),)
  pair = PreferencePair('p', (('user', 'Is it?'),), *answers)
  total, _ = make_rewards(settings, {}, tmp_path)(
    [pair] * 2, ['Yes.', 'It is as it is, so yes.'], {}
  )
  np.testing.assert_allclose(total, [1.5, 0.0])


def test_a_copied_kind_of_scene_is_composed_for_every_pressure(monkeypatch):
  monkeypatch.setitem(KINDS, 'copy', dataclasses.replace(KINDS['log'], name='copy'))
  scenes = compose_all(SceneSettings(kinds=('copy',), goals=('none',)))
  assert len(scenes) == 2 * len(PRESSURES)
  assert all(not re.search('[{}]', scene.desk) for scene in scenes)
