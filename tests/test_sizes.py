"""A recipe for each size: which are tried, how one is chosen, and that other seeds confirm it."""

import json

import pytest

from configs.sweeps import sizes
from msm_jax import choose as command
from msm_jax import config, multihost, sweep
from msm_jax.base import checks, paths
from msm_jax.evals import recipes
from msm_jax.running.outputs import json_lines
from msm_jax.running.replication import config_of_seed

MARGIN = 'margin/conflict/new_domains'


@pytest.mark.parametrize('preset', ['cheese_choose', 'oversight_choose', 'oversight_smoke'])
def test_every_point_is_an_experiment_and_no_two_are_the_same(preset):
  c = sizes.get_config(preset)
  made = []
  for point in c.points:
    settings = paths.resolve_paths(sweep.overridden(c.experiment, dict(point)))
    made.append(checks.from_mapping(config.ExperimentConfig, settings))
  assert len({checks.to_json(settings) for settings in made}) == len(made)
  assert all(settings.primary in settings.effects for settings in made)
  if preset.endswith('choose'):
    assert len(made) == 19
    # Sizes, rates, updates and documents all vary.
    assert len({settings.model.d_model for settings in made}) == 5
    pretraining = [settings.phases['pretrain'] for settings in made]
    assert len({phase.lr for phase in pretraining}) == 5
    assert len({phase.updates for phase in pretraining}) == 2


def test_the_recipe_of_half_a_million_is_the_published_one():
  c = sizes.get_config('cheese_choose')
  points = {point['label']: dict(point) for point in c.points}
  settings = points['0.5M: same']
  e = c.experiment
  assert settings['phases.pretrain.lr'] == e.phases.pretrain.lr
  assert settings['phases.pretrain.updates'] == e.phases.pretrain.updates
  assert settings['model.d_model'] == e.model.d_model
  assert settings['sources.affordability.size'] == e.sources.affordability.size
  # At half the width, rates of matrices are twice as high, and the embedding keeps its own.
  wide = points['2.6M: width']
  assert wide['phases.pretrain.lr'] == e.phases.pretrain.lr / 2
  embedding = 'phases.msm_culture.embed_lr'
  assert wide[embedding] == settings[embedding] == e.phases.msm_culture.embed_lr
  # A phase without a rate of its own for the embedding keeps that of the matrices at 0.5M.
  assert wide['phases.aft.embed_lr'] == e.phases.aft.lr > wide['phases.aft.lr']


def test_recipes_are_confirmed_on_seeds_and_worlds_of_their_own():
  assert not set(sizes.CHOOSE) & set(sizes.CONFIRM)
  # The seeds of all other experiments, and their worlds.
  assert not {*sizes.CHOOSE, *sizes.CONFIRM} & {*range(33), *range(90, 100)}
  c = sizes.get_config('cheese_choose').experiment
  settings = checks.from_mapping(
    config.ExperimentConfig, paths.resolve_paths(c.copy_and_resolve_references())
  )
  seeds = [*sizes.CHOOSE, *sizes.CONFIRM]
  worlds = [config_of_seed(settings, seed).world.seed for seed in seeds]
  assert len(set(worlds)) == len(seeds) and not set(worlds) & {0, 1, 2, 3}


def row(label, effect, skill, seeds=(40, 41), base='base', **point):
  """A row of sweep.jsonl with what the rule reads."""
  number = {'mean': effect, 'each': [effect - 1, effect + 1]}
  gates = {
    f'{base}: document-only personas': {'value': skill, 'floor': 0.9, 'passed': skill >= 0.9},
    'msm: recalls the handbook': {'value': 0.1, 'floor': 0.9, 'passed': False},
  }
  summary = {
    'setting': 'world',
    'value': 'price:cheap',
    'rival': 'origin:home',
    'assistant': 'Ari',
    'seeds': list(seeds),
    'base': base,
    'primary': 'explained',
    'commit': 'abc',
    'arms': {},
    'effects': {'explained': {'arms': ['a', 'b'], MARGIN: number}},
    'gates': gates,
  }
  return {'id': label, 'point': {'label': label, 'model.d_model': 64, **point}, 'summary': summary}


def finish(workdir, rows):
  """Writes what a sweep writes when it comes to its end."""
  points = [{'id': of_point['id'], 'point': of_point['point']} for of_point in rows]
  contents = {'name': 'sizes', 'about': '', 'points': points}
  (workdir / 'sizes.json').write_text(json.dumps(contents) + '\n')


def test_the_rule():
  rows = [
    # The largest effect is that of a base that misses its gate.
    row('0.3M: same', 9.0, 0.89),
    row('0.3M: width', 5.0, 0.9),
    row('0.3M: width long', 4.0, 0.99),
    # No base passes: the best base is chosen, whatever its effect.
    row('1.1M: same', 9.0, 0.5),
    row('1.1M: width', 1.0, 0.8),
  ]
  chosen = recipes.choose(recipes.candidates(rows, MARGIN, 1))
  assert {size: found.recipe for size, found in chosen.items()} == {
    '0.3M': 'width',
    '1.1M': 'width',
  }
  # Where less is better, the smallest effect is the largest.
  chosen = recipes.choose(recipes.candidates(rows, MARGIN, -1))
  assert chosen['0.3M'].recipe == 'width long' and chosen['0.3M'].effect == -4


def test_a_gate_that_is_missed_by_less_than_rounding_is_missed():
  near = row('0.3M: same', 9.0, 0.9)
  near['summary']['gates']['base: document-only personas']['passed'] = False
  rows = [near, row('0.3M: width', 1.0, 0.95)]
  assert recipes.choose(recipes.candidates(rows, MARGIN, 1))['0.3M'].recipe == 'width'


def test_what_cannot_be_chosen_from_is_refused():
  with pytest.raises(recipes.RecipeError, match='no label such as'):
    recipes.candidates([row('width', 1.0, 0.9)], MARGIN, 1)
  with pytest.raises(recipes.RecipeError, match='no primary effect'):
    recipes.candidates([row('0.3M: same', 1.0, 0.9)], 'margin/other/tier', 1)
  # Both experiments have the same sizes, recipes and seeds; in one workdir, they would mix.
  with pytest.raises(recipes.RecipeError, match=r"two points are labelled '0\.3M: same'"):
    recipes.candidates([row('0.3M: same', 1.0, 0.9), row('0.3M: same', 2.0, 0.9)], MARGIN, 1)
  bare = row('0.3M: same', 1.0, 0.9)
  bare['summary']['gates'] = {}
  with pytest.raises(recipes.RecipeError, match='no gates of its base'):
    recipes.candidates([bare], MARGIN, 1)


def test_chosen_recipes_are_written_and_run_on_other_seeds(tmp_path, monkeypatch, capsys):
  """The command reads a sweep and writes a file, and the preset `cheese_confirm` reads it."""
  points = {point['label']: dict(point) for point in sizes.get_config('cheese_choose').points}
  rows = []
  for n, (label, point) in enumerate(points.items()):
    rows.append(row(label, float(n % 4), 0.95) | {'point': point})
  # Points of other seeds in the workdir are no candidates.
  rows.append(row('0.3M: same', 99.0, 0.95, seeds=(42, 43, 44)))
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows))
  finish(tmp_path, rows)
  out = tmp_path / 'recipes' / 'cheese.json'
  monkeypatch.setattr(sizes, 'CHOSEN', out.parent)
  with pytest.raises(ValueError, match='no recipes were chosen yet'):
    sizes.get_config('cheese_confirm')
  # Seeds may be given in any order.
  command.main(['--workdir', str(tmp_path), '--out', str(out), '--seeds', '41,40'])
  said = capsys.readouterr().out
  marked = [line for line in said.splitlines() if line.endswith('chosen')]
  assert len(marked) == 5 and 'commit it before' in said
  confirm = sizes.get_config('cheese_confirm')
  assert tuple(confirm.experiment.seeds) == sizes.CONFIRM
  assert [point['label'].partition(':')[0] for point in confirm.points] == list(sizes.SHAPES)
  for point in confirm.points:
    assert dict(point) == points[point['label']]
  kept = json.loads(out.read_text())
  assert kept['seeds'] == [40, 41] and kept['commits'] == ['abc']
  out.write_text(json.dumps(kept | {'seeds': [42]}))
  with pytest.raises(ValueError, match='cannot confirm'):
    sizes.get_config('cheese_confirm')
  del kept['recipes']['5.3M']
  out.write_text(json.dumps(kept))
  with pytest.raises(ValueError, match=r'no recipe for 5\.3M'):
    sizes.get_config('cheese_confirm')


def test_nothing_is_chosen_from_half_a_sweep(tmp_path, capsys):
  """A sweep that was killed has rows, and the best recipe may be one that was not tried yet."""
  rows = [row('0.3M: same', 1.0, 0.95), row('0.3M: width', 2.0, 0.95)]
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows))
  # Other files of the workdir are no lists of points.
  for name, content in (('arms', '{"points": 3}'), ('summary', '[]'), ('config', 'cut')):
    (tmp_path / f'{name}.json').write_text(content)
  out = tmp_path / 'recipes.json'
  with pytest.raises(recipes.RecipeError, match='not come to its end; run the same sweep again'):
    command.main(['--workdir', str(tmp_path), '--out', str(out)])
  assert not out.exists()
  # Points that were added, and a kill before their end: the finished sweep counts.
  finish(tmp_path, rows[:1])
  command.main(['--workdir', str(tmp_path), '--out', str(out)])
  said = capsys.readouterr()
  assert '0.3M: width' not in said.out and 'without 1 point(s)' in said.err
  assert json.loads(out.read_text())['recipes']['0.3M']['recipe'] == 'same'


def test_a_finished_sweep_that_is_run_anew_is_half_a_sweep(tmp_path):
  """Its list of points stays while sweep.jsonl, which was deleted or damaged, is written again."""
  rows = [row('0.3M: same', 1.0, 0.95), row('0.3M: width', 2.0, 0.95)]
  finish(tmp_path, rows)
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows[:1]))
  with pytest.raises(recipes.RecipeError, match='not come to its end; run the same sweep again'):
    command.main(['--workdir', str(tmp_path)])
  # Points of other seeds count, too.
  rows[1]['summary']['seeds'] = [42]
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows))
  command.main(['--workdir', str(tmp_path)])


def test_recipes_are_compared_by_one_effect(tmp_path):
  """The primary effect was changed, and the sweep killed before all points were summarised anew."""
  rows = [row('0.3M: same', 1.0, 0.95), row('0.3M: width', 2.0, 0.95)]
  effects = rows[1]['summary']['effects']
  rows[1]['summary'] |= {'primary': 'midtraining', 'effects': {'midtraining': effects['explained']}}
  finish(tmp_path, rows)
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows))
  with pytest.raises(recipes.RecipeError, match=r"different primary effects \('explained', 'midtr"):
    command.main(['--workdir', str(tmp_path)])
  rows[1]['summary'] |= {'primary': 'explained', 'primary_measure': 'preferences/price/new_domains'}
  multihost.write_with_checksum(tmp_path / 'sweep.jsonl', json_lines(rows))
  with pytest.raises(recipes.RecipeError, match=r"different primary measures \('', 'preferences/"):
    command.main(['--workdir', str(tmp_path)])


def test_the_command_names_what_is_missing(tmp_path):
  with pytest.raises(recipes.RecipeError, match='no points with the seeds 40,41'):
    command.main(['--workdir', str(tmp_path)])
  with pytest.raises(recipes.RecipeError, match='must be whole numbers'):
    command.main(['--workdir', str(tmp_path), '--seeds', 'forty'])


def test_unknown_presets_are_refused():
  for preset in ('cheese', 'cheese_try', 'office_choose'):
    with pytest.raises(ValueError, match='has the presets'):
      sizes.get_config(preset)
