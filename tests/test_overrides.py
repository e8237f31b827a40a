"""Changing single settings: on the command line and in the points of a sweep."""

import dataclasses

import ml_collections
import pytest

from msm_jax import sweep
from msm_jax.base import checks, command, config_files, paths
from msm_jax.base.errors import ConfigError
from msm_jax.base.overrides import from_text, override
from msm_jax.config import ExperimentConfig

CULTURE = 'specs/cheese_culture.md'


def changed(changes: dict[str, str], config: str = 'configs/msm.py') -> ExperimentConfig:
  """Applies overrides as the command line does, and checks the whole config."""
  c = config_files.read_config(config)
  for key, text in changes.items():
    override(c, key, from_text(c, key, text, ExperimentConfig), ExperimentConfig)
  return checks.from_mapping(ExperimentConfig, paths.resolve_paths(c))


# Settings that configs/msm.py does not name -> (text, value).
NOT_NAMED = {
  'model.dtype': ('bfloat16', 'bfloat16'),
  'model.remat': ('block', 'block'),
  'model.scan_layers': ('true', True),
  'loss_chunk': ('64', 64),
  'max_skipped': ('3', 3),
  'optimizer.clip': ('0.5', 0.5),
  'world.fickle': ('1', 1),
  'gates.recall': ('0.5', 0.5),
  'phases.read.checkpoint_every': ('7', 7),
  'phases.read.schedule': ('linear', 'linear'),
  'phases.read.micro_batches': ('2', 2),
  'phases.read.length': ('96', 96),
}


@pytest.mark.parametrize('key', NOT_NAMED)
def test_a_setting_that_the_config_file_does_not_name(key):
  """Whatever the dataclasses have can be set; nothing else of the experiment changes."""
  text, value = NOT_NAMED[key]
  expected = dataclasses.asdict(changed({}))
  *parents, last = key.split('.')
  group = expected
  for part in parents:
    group = group[part]
  group[last] = value
  assert dataclasses.asdict(changed({key: text})) == expected


def settings_of(value, prefix=''):
  """Every setting of a checked config with its value; groups of one kind are entered."""
  for field in dataclasses.fields(value):
    inner = getattr(value, field.name)
    key = f'{prefix}{field.name}'
    if dataclasses.is_dataclass(inner):
      yield from settings_of(inner, f'{key}.')
    elif key in ('phases', 'sources'):
      for name, member in inner.items():
        yield from settings_of(member, f'{key}.{name}.')
    else:
      yield key, inner


@pytest.mark.slow
def test_every_setting_of_the_schema_can_be_set():
  """Set to the text of what it is anyway, it stays so, whether or not the config file names it."""
  before = changed({})
  named = set(config_files.read_config('configs/msm.py').to_dict())
  seen = 0
  for key, value in settings_of(before):
    if value is None or isinstance(value, dict) or key == 'dose_curves':
      # Groups that are not there, and mappings: their members are set one by one.
      continue
    text = str(value)
    if isinstance(value, tuple):
      text = ','.join(map(str, value))
    assert changed({key: text}) == before, key
    seen += key.partition('.')[0] not in named
  assert seen > 20, 'of groups that the file does not name at all'


def test_numbers_take_the_type_of_the_setting_and_not_of_the_example():
  """The file writes `facts=4`, and a share may be 4.5. 2e3 is a whole number."""
  c = changed(
    {'phases.read.data.facts': '4.5', 'phases.read.updates': '2e3', 'phases.read.lr': '1'}
  )
  assert c.phases['read'].data['facts'] == 4.5
  assert c.phases['read'].updates == 2000 and type(c.phases['read'].updates) is int
  assert c.phases['read'].lr == 1.0 and type(c.phases['read'].lr) is float
  with pytest.raises(ConfigError, match=r"phases\.read\.updates='1\.5' must be int"):
    changed({'phases.read.updates': '1.5'})


def test_tuples_and_groups_that_are_none():
  c = changed({'seeds': '(0, 1)', 'assistants': 'Oska,Lumen', 'evals.rival': ''})
  assert c.seeds == (0, 1) and c.assistants == ('Oska', 'Lumen') and c.evals.rival == ''
  settings = config_files.read_config('configs/msm.py')
  override(settings, 'model.lora.rank', 8, ExperimentConfig)
  assert settings.model.lora.to_dict() == {'rank': 8}


SLIPS = {
  'phases.raed.lr': "did you mean 'read'",
  'sources.fatcs.size': "did you mean 'facts'",
  'phases.read.learning': 'config.phases.read has no setting',
  'phases.read': 'must be a group of settings',
  'name.x': 'is a value and no group',
  'phases..lr': 'names no setting',
}


@pytest.mark.parametrize('key', SLIPS)
def test_a_slip_makes_no_new_phase_and_no_new_setting(key):
  with pytest.raises(ConfigError, match=SLIPS[key]):
    changed({key: '1'})


def test_one_override_changes_one_place():
  """Only the setting that the others refer to reaches them: `--config.spec`."""
  before = changed({})
  one = changed({'evals.spec': CULTURE})
  assert one.evals.spec.endswith(CULTURE)
  assert one.sources == before.sources and one.spec == before.spec
  other = changed({'sources.spec_documents.spec': CULTURE})
  assert other.evals == before.evals
  assert other.sources['demonstrations'] == before.sources['demonstrations']
  every = changed({'spec': CULTURE})
  assert every.evals.spec == every.sources['demonstrations'].spec == every.spec
  assert every.spec.endswith(CULTURE)


@pytest.mark.parametrize(
  ('key', 'places'),
  [('spec', 'sources.affordability.spec'), ('weights', 'name it where it is meant')],
)
def test_a_setting_to_which_nothing_refers_is_refused(key, places):
  """configs/cheese.py names its two handbooks itself: with `--config.spec=mine.md` it would run to
  its end, and say nothing of the handbook that was given."""
  with pytest.raises(ConfigError, match=f'{key}=.* would change nothing.*{places}'):
    changed({key: CULTURE}, 'configs/cheese.py')
  settings = config_files.read_config('configs/cheese.py')
  with pytest.raises(ConfigError, match='would change nothing'):
    sweep.overridden(settings, {key: CULTURE})


@pytest.mark.parametrize('key', ['spec', 'evals.spec', 'sources.demonstrations.spec'])
def test_a_key_means_the_same_in_a_sweep_and_on_the_command_line(key):
  settings = config_files.read_config('configs/msm.py')
  made = sweep.overridden(settings, {key: CULTURE})
  swept = checks.from_mapping(ExperimentConfig, paths.resolve_paths(made))
  assert swept == changed({key: CULTURE})


BAD_POINTS = {
  'no list': 3,
  'no point': [],
  'a number': [1],
  'a number as a key': [{3: 1}],
  # The compiler reads them once, so they would change nothing.
  'a label that is no text': [{'label': 3}],
  'flags of the compiler': [{'xla_flags': '--xla_dump_to=x'}],
}


@pytest.mark.parametrize('what', BAD_POINTS)
def test_points_of_the_wrong_type(what):
  with pytest.raises(ConfigError, match='points'):
    sweep.check_points(BAD_POINTS[what])


def test_a_point_cannot_make_a_number_of_true():
  config = ml_collections.ConfigDict({'phases': {'read': {'lr': 0.5}}})
  override(config, 'phases.read.lr', True)
  assert config.phases.read.lr is True, 'the check of the whole config refuses it'


def test_a_new_entry_takes_no_default_away():
  """Where the config file names no rewards, there is one; naming another one adds it, as it does
  where the config file names them. Only who gives the whole group replaces it."""
  both = {'chosen': 1.0, 'model:judge': 0.5}
  for grpo in ({}, {'grpo': {'max_tokens': 8}}, {'grpo': {'rewards': {'chosen': 1.0}}}):
    config = ml_collections.ConfigDict({'phases': {'rl': {'objective': 'grpo', **grpo}}})
    override(config, 'phases.rl.grpo.rewards.model:judge', 0.5, ExperimentConfig)
    assert config.phases.rl.grpo.rewards.to_dict() == both
    override(config, 'phases.rl.grpo.rewards.chosen', 2.0, ExperimentConfig)
    assert config.phases.rl.grpo.rewards.to_dict() == {**both, 'chosen': 2.0}
    override(config, 'phases.rl.grpo.rewards', {'model:judge': 1.0}, ExperimentConfig)
    assert config.phases.rl.grpo.rewards.to_dict() == {'model:judge': 1.0}


def test_points_may_be_what_config_dicts_make_of_them():
  made = ml_collections.ConfigDict({'points': [{'seeds': (1,)}, {'label': 'x'}]})
  assert sweep.check_points(made.points) == [{'seeds': (1,)}, {'label': 'x'}]


@pytest.mark.parametrize('text', ['nan', 'inf', '-inf', '1e999', '9' * 400, '9' * 5000])
@pytest.mark.parametrize(
  'key', ['gates.recall', 'phases.read.lr', 'model.norm_offset', 'world.seed']
)
def test_no_number_and_enormous_numbers(key, text):
  """Every comparison with NaN is False: such a gate would never miss."""
  with pytest.raises(ConfigError) as caught:
    changed({key: text})
  assert key.rpartition('.')[2] in str(caught.value) and len(str(caught.value)) < 300


def test_a_value_that_begins_with_dashes():
  """Compiler flags do. After an equals sign they are a value; alone they are the next flag."""
  argv = ['msm', '--config.xla_flags=--xla_a=1 --xla_b=2', '--config.name', 'x']
  others, changes = command.split_overrides(argv)
  assert others == ['msm']
  assert changes == [('xla_flags', '--xla_a=1 --xla_b=2'), ('name', 'x')]
  with pytest.raises(ConfigError, match=r'--config.name has no value'):
    command.split_overrides(['msm', '--config.name', '--workdir=x'])
