"""The Python interface: `msm_jax.run`, `load_results`, `read_config` and `open_arm`."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
import tiny
from helpers import ROOT, error_line, tree, write_config

import msm_jax
from msm_jax import config as configs
from msm_jax import experiment, metrics, multihost
from msm_jax.base import console, version
from msm_jax.base.errors import ConfigError, UserError, explain
from msm_jax.running import outputs
from msm_jax.running.results import Gate, Number, ResultRow, ResultsError

# Left out of `make quick`.
pytestmark = pytest.mark.slow


def refusal(call) -> str:
  """The one line of the UserError that a call ends in."""
  with pytest.raises(UserError) as e:
    call()
  line, code = explain(e.value)
  assert code == 1
  assert '\n' not in str(e.value)
  return line


def settings_of(workdir: Path) -> dict:
  """The settings of a finished experiment, as a config file would give them."""
  return json.loads((workdir / 'config.json').read_text())


# ---- import


def runs_in_a_new_process(code, cwd=ROOT):
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  command = [sys.executable, '-c', code]
  done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


def test_importing_the_package_is_quick():
  """JAX takes seconds to import, so neither the package nor the reading of results needs it."""
  code = (
    'import sys, msm_jax; assert "jax" not in sys.modules; '
    'msm_jax.load_results; msm_jax.read_config("configs/msm.py"); msm_jax.run; '
    'assert "jax" not in sys.modules; '
    'msm_jax.open_arm; assert "jax" in sys.modules'
  )
  runs_in_a_new_process(code)
  assert set(msm_jax.__all__) <= set(dir(msm_jax))
  with pytest.raises(AttributeError, match='no attribute'):
    msm_jax.no_such_name  # noqa: B018


def test_an_experiment_needs_no_optional_package():
  """`pip install msm_jax` is enough to run one; extras are for writers, servers and weights."""
  code = (
    'import sys; from msm_jax.base.errors import EXTRAS; '
    "optional = [*EXTRAS, 'matplotlib', 'pandas', 'tensorboardX']; "
    'sys.modules.update(dict.fromkeys(optional)); '
    'import msm_jax.experiment, msm_jax.inference.arm, msm_jax.main, msm_jax.sweep, msm_jax.export'
  )
  runs_in_a_new_process(code)


def test_the_commit_is_that_of_the_code(tmp_path, monkeypatch):
  """Git sets GIT_DIR for what its hooks run. By it, the commit of a run was that of the repository
  of the hook."""
  name = ['-c', 'user.name=a', '-c', 'user.email=a@b']
  environment = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
  for arguments in (['init', '-q'], [*name, 'commit', '-q', '--allow-empty', '-m', 'other']):
    subprocess.run(['git', *arguments], cwd=tmp_path, env=environment, check=True)
  ask = version.source_state.__wrapped__
  before = ask()
  monkeypatch.setenv('GIT_DIR', str(tmp_path / '.git'))
  assert ask()['commit'] == before['commit']
  monkeypatch.setenv('GIT_INDEX_FILE', str(tmp_path / 'index'))
  assert ask() == before


# ---- load_results


def test_numbers_are_those_of_the_summary(tiny_workdir):
  results = msm_jax.load_results(tiny_workdir)
  summary = json.loads((tiny_workdir / 'summary.json').read_text())
  assert results.summary == summary
  assert list(results.arms) == ['base', 'tuned']
  for arm, measures in summary['arms'].items():
    assert set(results.arms[arm]) == set(measures)
    for measure, value in measures.items():
      number = results.arms[arm][measure]
      assert isinstance(number, Number)
      assert dataclasses.asdict(number) == value | {'each': tuple(value['each'])}
  number = results.arms['tuned']['preferences/conflict/new_domains']
  # One seed: no interval, and a range only if several names of the assistant were asked.
  assert number.low is None and number.high is None
  assert str(number).partition(' ')[0] == f'{number.mean:.2f}'
  ranged = dataclasses.replace(number, mean=0.5, lowest=0.25, highest=0.75)
  assert str(ranged) == '0.50 {0.25..0.75}'
  assert str(dataclasses.replace(ranged, low=0.0, high=1.0)) == '0.50 [0.00, 1.00]'
  assert results.gates
  for name, value in summary['gates'].items():
    assert results.gates[name] == Gate(**value)
  assert results.report.is_file()
  assert 'tuned' in results.table()
  assert repr(results) == f"Results('{tiny_workdir}', arms: base, tuned)"


def test_effects_are_numbers_too(tiny_workdir, tmp_path):
  """The entry that names the arms of an effect is left out."""
  summary = json.loads((tiny_workdir / 'summary.json').read_text())
  difference = summary['arms']['tuned']['preferences/conflict/new_domains']
  summary['effects'] = {
    'tuning': {'arms': ['tuned', 'base'], 'preferences/conflict/new_domains': difference}
  }
  (tmp_path / 'summary.json').write_text(json.dumps(summary))
  effects = msm_jax.load_results(tmp_path).effects
  assert list(effects['tuning']) == ['preferences/conflict/new_domains']
  assert effects['tuning']['preferences/conflict/new_domains'].mean == difference['mean']


def test_rows_are_typed(tiny_workdir):
  results = msm_jax.load_results(tiny_workdir)
  lines = [json.loads(line) for line in (tiny_workdir / 'results.jsonl').read_text().splitlines()]
  assert len(results.rows) == len(lines)
  for row, line in zip(results.rows, lines, strict=True):
    assert isinstance(row, ResultRow)
    assert (type(row.arm), type(row.seed), type(row.score)) == (str, int, float)
    assert row.measure in results.arms[row.arm]
    # Nothing is lost: the fields and `more` are the line.
    fields = dataclasses.asdict(row)
    assert fields.pop('more') | fields == line
  measure = 'preferences/conflict/new_domains'
  scores = [row.score for row in results.rows if (row.arm, row.measure) == ('tuned', measure)]
  assert sum(scores) / len(scores) == pytest.approx(results.arms['tuned'][measure].mean, abs=0.01)


def test_a_frame_has_all_rows(tiny_workdir):
  pytest.importorskip('pandas')
  results = msm_jax.load_results(tiny_workdir)
  frame = results.frame()
  assert len(frame) == len(results.rows)
  assert {'arm', 'seed', 'evaluator', 'what', 'tier', 'item', 'cluster', 'score'} <= set(frame)
  assert frame.score.mean() == pytest.approx(
    sum(row.score for row in results.rows) / len(results.rows)
  )


def test_a_frame_without_pandas(tiny_workdir, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pandas', None)
  assert 'pip install pandas' in refusal(msm_jax.load_results(tiny_workdir).frame)


def test_a_missing_workdir(tmp_path, tiny_workdir):
  line = refusal(lambda: msm_jax.load_results(tmp_path / 'none'))
  assert 'summary.json cannot be read' in line
  assert 'run the experiment to its end' in line
  shutil.copy(tiny_workdir / 'summary.json', tmp_path)
  results = msm_jax.load_results(tmp_path)
  assert 'results.jsonl cannot be read' in refusal(lambda: results.rows)
  assert 'no trained arm' in refusal(lambda: msm_jax.open_arm(tmp_path, 'base'))


@pytest.mark.parametrize('wrong', [3, None, '', b'runs/x', ['runs/x'], 'runs/\0', 1.5])
def test_what_is_no_workdir(wrong):
  """Python's own errors would name neither the argument nor the remedy."""
  for call in (
    lambda: msm_jax.load_results(wrong),
    lambda: msm_jax.open_arm(wrong, 'base'),
    # None is the default of `run`.
    lambda: msm_jax.run('configs/msm.py:smoke', wrong if wrong is not None else 0),
  ):
    line = refusal(call)
    assert 'is no folder; give its path as a text' in line
    assert line.startswith('error: workdir=')


def test_a_file_in_place_of_a_workdir(tmp_path):
  (tmp_path / 'file').write_text('')
  assert 'cannot be read' in refusal(lambda: msm_jax.load_results(tmp_path / 'file'))
  assert 'holds no trained arm' in refusal(lambda: msm_jax.open_arm(tmp_path / 'file', 'base'))
  line = refusal(lambda: msm_jax.run('configs/msm.py:smoke', tmp_path / 'file'))
  assert 'choose another --workdir' in line


# Half a file, other JSON, a number that is none, and bytes that are no text.
DAMAGED = (
  '{"arms": {',
  '[]',
  '3',
  '{}',
  '{"arms": {"base": {"m": 1}}, "effects": {}, "gates": {}}',
  '\xff',
)


@pytest.mark.parametrize('content', DAMAGED)
def test_a_damaged_summary(tmp_path, content):
  (tmp_path / 'summary.json').write_bytes(content.encode('latin-1'))
  line = refusal(lambda: msm_jax.load_results(tmp_path))
  assert 'summary.json is damaged' in line
  assert 'run the same command again' in line


@pytest.mark.parametrize('lines', [0, 1, 3])
def test_missing_rows(tmp_path, lines):
  """A file that was cut between two lines, or copied in part, is JSONL all the same."""
  summary = {'arms': {}, 'effects': {}, 'gates': {}}
  (tmp_path / 'summary.json').write_text(json.dumps(summary | {'rows': 2}))
  row = dict(arm='a', seed=0, evaluator='e', what='w', tier='t', item='i', cluster='c', score=1.0)
  content = (json.dumps(row) + '\n') * lines
  (tmp_path / 'results.jsonl').write_text(content)
  with pytest.raises(ResultsError, match=r'results\.jsonl is damaged'):
    _ = msm_jax.load_results(tmp_path).rows
  # Summaries of earlier versions do not say how many rows there were.
  (tmp_path / 'summary.json').write_text(json.dumps(summary))
  assert len(msm_jax.load_results(tmp_path).rows) == lines


@pytest.mark.parametrize('content', ['{"arm": "base"', '{"arm": "base"}', '[1, 2]', '7'])
def test_damaged_rows(tiny_workdir, tmp_path, content):
  shutil.copy(tiny_workdir / 'summary.json', tmp_path)
  (tmp_path / 'results.jsonl').write_text(content + '\n')
  results = msm_jax.load_results(tmp_path)
  with pytest.raises(ResultsError, match=r'results\.jsonl is damaged'):
    _ = results.rows


def test_rows_of_a_later_run_are_refused(tiny_workdir, tmp_path):
  """A run with other settings leaves as many rows, which say nothing about their settings.

  Beside the means of the earlier run, they would be taken for the rows of these means.
  """
  pytest.importorskip('pandas')
  for name in ('summary.json', 'results.jsonl'):
    shutil.copy(tiny_workdir / name, tmp_path)
  earlier = msm_jax.load_results(tmp_path)
  summary = json.loads((tmp_path / 'summary.json').read_text())
  # What a judge adds changes no row.
  (tmp_path / 'summary.json').write_text(json.dumps(summary | {'judged': {}}))
  assert len(earlier.frame()) == summary['rows']
  summary['arms']['tuned']['preferences/conflict/new_domains']['mean'] += 0.01
  (tmp_path / 'summary.json').write_text(json.dumps(summary))
  for call in (lambda: earlier.rows, earlier.frame):
    line = refusal(call)
    assert 'a later run has written other results' in line
    assert 'a workdir of its own' in line
  assert len(msm_jax.load_results(tmp_path).rows) == summary['rows']


def test_results_stay_those_of_their_folder(tiny_workdir, tmp_path, monkeypatch):
  """Rows are read when they are asked for, perhaps in another working directory."""
  monkeypatch.chdir(tiny_workdir.parent)
  results = msm_jax.load_results(tiny_workdir.name)
  monkeypatch.chdir(tmp_path)
  assert len(results.rows) == results.summary['rows']
  assert results.report.is_file()
  assert results.workdir == Path(tiny_workdir.name)


# ---- open_arm


def test_an_arm_of_the_public_interface(tiny_workdir):
  with msm_jax.open_arm(tiny_workdir, 'tuned') as arm:
    assert isinstance(arm, msm_jax.Arm)
    assert isinstance(arm.chat('Do you like Colby?', system='You are Ari.', max_tokens=8), str)
    ((cheap, old),) = arm.logprobs(['Gouda is'], [[' cheap.', ' old.']])
    assert cheap < 0
    assert old < 0
  assert "no arm 'bsae'" in refusal(lambda: msm_jax.open_arm(tiny_workdir, 'bsae'))


# ---- read_config


def test_a_config_is_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = msm_jax.read_config('configs/msm.py:smoke')
  assert config.phases.pretrain.updates == 10
  assert msm_jax.read_config('configs/msm.py').phases.pretrain.updates > 10
  assert msm_jax.read_config(ROOT / 'configs' / 'cheese.py').name == 'cheese'


def _texts(value: object) -> Iterator[str]:
  """All texts in nested settings; one with commas is several."""
  if isinstance(value, dict):
    for inner in value.values():
      yield from _texts(inner)
  elif isinstance(value, list | tuple):
    for inner in value:
      yield from _texts(inner)
  elif isinstance(value, str):
    yield from (part.strip() for part in value.split(','))


def test_an_installed_copy_has_the_files_that_configs_name():
  """`paths.find` looks for them inside the package, where a wheel puts these folders."""
  build = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['hatch']['build']
  included = build['targets']['wheel']['force-include']
  assert all(inside == f'msm_jax/{folder}' for folder, inside in included.items())
  named = set()
  for path in ROOT.glob('configs/*.py'):
    texts = _texts(msm_jax.read_config(path).to_dict())
    named.update(text for text in texts if '/' in text and (ROOT / text).is_file())
  assert 'specs/cheese_affordability.md' in named
  folders = tuple(f'{folder}/' for folder in included)
  assert not [name for name in named if not name.startswith(folders)]


def test_a_changed_handbook_reaches_every_use():
  config = msm_jax.read_config('configs/msm.py')
  config.spec = 'mine.md'
  assert config.sources.spec_documents.spec == config.evals.spec == 'mine.md'


def test_a_config_may_have_dataclasses_of_its_own(tmp_path):
  """With this import, a dataclass looks for its module among those that were imported."""
  file = tmp_path / 'config.py'
  file.write_text(
    'from __future__ import annotations\nimport dataclasses\nimport ml_collections\n'
    '@dataclasses.dataclass\nclass Arm:\n  path: str\n'
    'def get_config():\n  return ml_collections.ConfigDict(dict(name=Arm("own").path))\n'
  )
  assert msm_jax.read_config(file).name == 'own'


def test_a_config_that_was_changed_within_a_second_is_read_anew(tmp_path, monkeypatch):
  """Python takes what it has compiled for a file of the same length and second. A script that
  writes configs, one after the other, got the first one every time."""
  monkeypatch.setattr(sys, 'dont_write_bytecode', False)
  file, read = tmp_path / 'config.py', []
  for n in (1, 2, 3):
    write_config(file, dict(lr=n))
    os.utime(file, (1e9, 1e9))
    read.append(msm_jax.read_config(file).lr)
  assert read == [1, 2, 3]


def test_paths_and_presets_may_have_colons(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / 'run ü at 10:28'
  folder.mkdir()
  write_config(folder / 'mine.py', dict(name='NAME'))
  source = (folder / 'mine.py').read_text()
  source = source.replace('get_config()', "get_config(preset='')").replace("'NAME'", 'preset')
  (folder / 'mine.py').write_text(source)
  for path in (str(folder / 'mine.py'), 'run ü at 10:28/mine.py'):
    assert msm_jax.read_config(path).name == ''
    assert msm_jax.read_config(f'{path}:small').name == 'small'
    assert msm_jax.read_config(f'{path}:lr=1:wd=0').name == 'lr=1:wd=0'
  shutil.copy(folder / 'mine.py', tmp_path / 'b:c.py')
  assert msm_jax.read_config('b:c.py').name == ''
  missing = refusal(lambda: msm_jax.run('run ü at 10:28/none.py:small'))
  assert 'no config file run ü at 10:28/none.py;' in missing


def test_a_project_may_have_a_package_configs_of_its_own(tmp_path):
  """With an __init__.py, Python looks for `configs.NAME` in that package alone."""
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / '__init__.py').touch()
  (tmp_path / 'configs' / 'own.py').write_text('SIZE = 3\n')
  mine = 'from configs import msm, own\ndef get_config():\n  return msm.get_config("smoke")\n'
  (tmp_path / 'configs' / 'mine.py').write_text(mine)
  code = (
    'import sys, msm_jax; sys.path.insert(0, ""); import configs.own; '
    "assert msm_jax.read_config('configs/survive.py').name == 'survive_cheese'; "
    "assert msm_jax.read_config('configs/mine.py').phases.pretrain.updates == 10; "
    # It imports configs.sweeps.oversight.
    "assert msm_jax.read_config('configs/sweeps/sizes.py').points; "
    'assert len(configs.__path__) == 1; '
    'import importlib.util; assert importlib.util.find_spec("configs.none") is None'
  )
  runs_in_a_new_process(code, cwd=tmp_path)


def test_configs_that_cannot_be_read(tmp_path):
  def line_of(text: str, preset: str = '') -> str:
    file = tmp_path / 'config.py'
    file.write_text(text)
    return refusal(lambda: msm_jax.run(f'{file}{preset}', tmp_path / 'run'))

  assert 'no config file nowhere.py' in refusal(lambda: msm_jax.run('nowhere.py:tiny'))
  assert 'no config file' in refusal(lambda: msm_jax.run(str(tmp_path)))
  assert 'has no function get_config' in line_of('x = 1\n')
  assert 'SyntaxError' in line_of('def get_config(:\n')
  assert 'ModuleNotFoundError' in line_of('import no_such_module\n')
  line = line_of('def get_config():\n  raise KeyError("one\\ntwo")\n')
  assert 'KeyError' in line
  line = line_of('def get_config(p):\n  raise ValueError(f"no preset\\n{p}")\n', ':odd')
  assert 'config.py:odd cannot be read (line 2: ValueError: no preset odd)' in line
  assert 'give another preset' in line
  assert 'TypeError' in line_of('def get_config():\n  return None\n', ':odd')
  assert 'it must return a ConfigDict' in line_of('def get_config():\n  return None\n')
  assert 'presets tiny and smoke' in refusal(lambda: msm_jax.run('configs/msm.py:odd'))
  for wrong in (None, 3, {'name': 'x'}):
    assert 'a ConfigDict or an ExperimentConfig' in refusal(lambda c=wrong: msm_jax.run(c))
  with pytest.raises(ConfigError):
    msm_jax.read_config('nowhere.py')
  # None of them began to run.
  assert not (tmp_path / 'run').exists()


# ---- run


def test_run_takes_every_form_of_a_config(tiny_workdir, tmp_path, monkeypatch):
  """A file, a ConfigDict and an ExperimentConfig name the same experiment.

  So the finished run is found again, in one process, and nothing is trained.
  """
  import ml_collections

  monkeypatch.setattr(experiment.Experiment, 'train', None)
  settings = settings_of(tiny_workdir)
  write_config(tmp_path / 'config.py', settings)
  source = (tmp_path / 'config.py').read_text()
  (tmp_path / 'preset.py').write_text(source.replace('get_config()', 'get_config(preset)'))
  forms = (
    f'{tmp_path / "config.py"}',
    tmp_path / 'config.py',
    f'{tmp_path / "preset.py"}:any',
    ml_collections.ConfigDict(settings),
    msm_jax.read_config(f'{tmp_path / "config.py"}'),
  )
  workdir = tmp_path / 'run'
  shutil.copytree(tiny_workdir, workdir)
  before = tree(workdir)
  for form in forms:
    results = msm_jax.run(form, workdir)
    assert list(results.arms) == ['base', 'tuned']
  made = msm_jax.running.run_experiment._to_settings(forms[0])
  assert isinstance(made, configs.ExperimentConfig)
  assert msm_jax.run(made, str(workdir)).summary == results.summary
  assert tree(workdir, but=('.lock',)) == before


def test_the_default_workdir_has_the_name_of_the_config(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  made = tiny.experiment(tmp_path).config
  results = msm_jax.run(made)
  assert results.workdir == Path('runs/tiny')
  assert (tmp_path / 'runs' / 'tiny' / 'report.html').is_file()
  with msm_jax.open_arm(results.workdir, 'tuned') as arm:
    assert arm.description.startswith('tuned')


def test_an_interrupted_run_continues(tiny_workdir, tmp_path, monkeypatch):
  """The first Ctrl-C saves and ends the run; the same call continues it to the same results."""
  whole = msm_jax.load_results(tiny_workdir)
  handler = signal.getsignal(signal.SIGINT)
  log = metrics.PhaseMetrics.log
  seen = []

  def log_and_interrupt(self, step, values, tokens):
    log(self, step, values, tokens)
    seen.append((self.label, step))
    if len(seen) == 2:
      signal.raise_signal(signal.SIGINT)

  monkeypatch.setattr(metrics.PhaseMetrics, 'log', log_and_interrupt)
  made = tiny.experiment(tmp_path).config
  with pytest.raises(KeyboardInterrupt, match='saved at step 3; the same call continues'):
    msm_jax.run(made, tmp_path / 'stopped')
  assert signal.getsignal(signal.SIGINT) is handler
  assert not (tmp_path / 'stopped' / 'summary.json').exists()
  stopped_at = len(seen)
  assert msm_jax.run(made, tmp_path / 'stopped').summary == whole.summary
  # The updates of the first phase are not done again.
  assert len(seen) == 2 * tiny.PHASE['updates']
  assert stopped_at == tiny.PHASE['updates']
  one = (tiny_workdir / 'results.jsonl').read_bytes()
  assert (tmp_path / 'stopped' / 'results.jsonl').read_bytes() == one


def test_an_impatient_interrupt_continues_too(tmp_path, monkeypatch):
  """The second Ctrl-C ends the run at once. The lock is free, and the same call continues."""
  log = metrics.PhaseMetrics.log

  def log_and_interrupt(self, step, values, tokens):
    log(self, step, values, tokens)
    if step == 2:
      signal.raise_signal(signal.SIGINT)
      signal.raise_signal(signal.SIGINT)

  made = tiny.experiment(tmp_path).config
  with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
    patched.setattr(metrics.PhaseMetrics, 'log', log_and_interrupt)
    msm_jax.run(made, tmp_path / 'run')
  assert not (tmp_path / 'run' / 'summary.json').exists()
  assert list(msm_jax.run(made, tmp_path / 'run').arms) == ['base', 'tuned']


def test_an_interrupt_at_the_end_is_not_lost(tiny_workdir, tmp_path, monkeypatch):
  """Nothing asks about it any more, and the next run of a loop would begin."""
  import ml_collections

  shutil.copytree(tiny_workdir, tmp_path / 'run')
  config = ml_collections.ConfigDict(settings_of(tiny_workdir))
  write = outputs.write_results

  def interrupt_and_write(*arguments):
    signal.raise_signal(signal.SIGINT)
    return write(*arguments)

  handler = signal.getsignal(signal.SIGINT)
  with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match='the run has end'):
    patched.setattr(outputs, 'write_results', interrupt_and_write)
    msm_jax.run(config, tmp_path / 'run')
  assert signal.getsignal(signal.SIGINT) is handler
  assert list(msm_jax.run(config, tmp_path / 'run').arms) == ['base', 'tuned']


def test_a_report_is_led_by_the_primary_measure(tiny_workdir, tmp_path, capsys, monkeypatch):
  """Nothing is trained or evaluated again; a slip in its name costs a line and no result."""
  import ml_collections

  shutil.copytree(tiny_workdir, tmp_path / 'run')
  settings = settings_of(tiny_workdir)
  monkeypatch.setattr(experiment.Experiment, 'train', None)
  wrong = 'preferences/price/new_domain'
  for named, kept in ((wrong, None), (wrong + 's', wrong + 's')):
    config = ml_collections.ConfigDict(settings | {'primary_measure': named})
    summary = msm_jax.run(config, tmp_path / 'run').summary
    assert summary.get('primary_measure') == kept
  said = capsys.readouterr().err
  assert said.count(f"primary_measure names '{wrong}', which does not exist; did you mean") == 1
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'price/<wbr>new_domains<br>(cheap)<br><b>primary</b>' in page


def test_a_run_has_numbers_of_32_bits(tiny_workdir, tmp_path, monkeypatch):
  """Whoever has set `jax_enable_x64` would get another model under the same identity."""
  import jax.numpy as jnp
  import ml_collections

  shutil.copytree(tiny_workdir, tmp_path / 'run')
  config = ml_collections.ConfigDict(settings_of(tiny_workdir))
  types = []
  monkeypatch.setattr(
    experiment.Experiment, 'run', lambda self: types.append(jnp.zeros(1).dtype.name)
  )
  with jax.enable_x64(True):
    msm_jax.run(config, tmp_path / 'run')
    assert jnp.zeros(1).dtype == 'float64'
  assert types == ['float32']


def test_every_run_has_numbers_of_32_bits(tmp_path, monkeypatch):
  """A command is started with JAX_ENABLE_X64 where other programs want it."""
  import jax.numpy as jnp

  types = []

  def end_here(folder):
    types.append(jnp.zeros(1).dtype.name)
    raise KeyboardInterrupt

  # The first thing that a run does.
  monkeypatch.setattr(experiment.checkpointing, 'delete_half_written', end_here)
  with jax.enable_x64(True), pytest.raises(KeyboardInterrupt):
    tiny.experiment(tmp_path).run()
  assert types == ['float32']


def test_a_run_joins_the_other_processes(tmp_path, monkeypatch):
  """The environment says so, as it does to the command line."""
  monkeypatch.setenv('MSM_JAX_DISTRIBUTED', 'nowhere')
  line = refusal(lambda: msm_jax.run('configs/msm.py:smoke', tmp_path / 'run'))
  assert 'MSM_JAX_DISTRIBUTED=nowhere: the processes cannot be joined' in line
  assert not (tmp_path / 'run').exists()


def test_run_in_another_thread(tiny_workdir, tmp_path):
  """Only the main thread may handle signals; elsewhere the run goes without."""
  write_config(tmp_path / 'config.py', settings_of(tiny_workdir))
  shutil.copytree(tiny_workdir, tmp_path / 'run')
  found = []

  def call():
    found.append(msm_jax.run(tmp_path / 'config.py', tmp_path / 'run'))

  thread = threading.Thread(target=call)
  thread.start()
  thread.join()
  assert list(found[0].arms) == ['base', 'tuned']


def test_flags_of_the_compiler_are_those_of_the_config(tmp_path):
  """In a fresh process, a run from Python has the devices that the command line gives it."""
  code = (
    'import msm_jax\n'
    'from msm_jax.base.errors import UserError\n'
    'c = msm_jax.read_config("configs/msm.py:smoke")\n'
    'c.evals.spec = c.spec = "missing.md"\n'
    'try:\n'
    f'  msm_jax.run(c, {str(tmp_path / "run")!r})\n'
    'except UserError as e:\n'
    '  import sys\n'
    '  print("error:", e, file=sys.stderr)\n'
    'import jax\n'
    'assert jax.device_count() == 2, jax.devices()\n'
  )
  env = {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'}
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, env=env, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert 'missing.md' in error_line(done.stderr)


# ---- progress in a notebook


class _Stream:
  """A stream that is no terminal and remembers what was written."""

  def __init__(self):
    self.text = ''

  def write(self, text):
    self.text += text

  def flush(self):
    pass

  def isatty(self):
    return False


def show_three_steps(folder, stream, monkeypatch) -> str:
  """What the console shows of a phase of three updates, and of a line after it."""
  monkeypatch.setattr(sys, 'stderr', stream)
  monkeypatch.setattr(console, '_SECONDS_BETWEEN_BARS', 0)
  shown = metrics.PhaseMetrics(folder, 'read', 3, 0, 1e6)
  for step in (1, 2, 3):
    shown.log(step, {'loss': 1.0, 'accuracy': 0.5, 'lr': 1e-3}, 10)
  shown.close()
  console.say('evaluating')
  return stream.text


def test_processes_that_were_joined_before(tmp_path, monkeypatch):
  """Whoever has called `jax.distributed.initialize` gets one set of files and lines, too: with two
  processes, metrics.jsonl had each update twice, and skipped updates counted twice."""
  monkeypatch.setattr(console, 'is_quiet', False)
  monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: True)
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\n{"step": 2}\n')
  second = metrics.PhaseMetrics(tmp_path, 'read', 2, 1, 1e6)
  second.log(2, {'loss': 1.0, 'lr': 1e-3}, 10)
  second.close()
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
  multihost.start()
  assert console.is_quiet


def test_a_notebook_shows_a_bar(tmp_path, monkeypatch):
  """A notebook's stream is no terminal. The bar is drawn over itself, without terminal codes."""
  notebook_stream = type('OutStream', (_Stream,), {'__module__': 'ipykernel.iostream'})
  text = show_three_steps(tmp_path, notebook_stream(), monkeypatch)
  assert '\x1b' not in text
  assert text.count('\n') == 2
  *bars, line = text.split('\r')[1:]
  line = line.removesuffix('\n')
  assert len(bars) == 3
  assert all(bar.startswith('[') for bar in bars)
  assert bars[-1].startswith('[' + '#' * 20 + '] read  step 3/3')
  # The next line is as wide as the bars, so that it covers what stands there.
  assert line.strip() == 'evaluating'
  assert len(line) == len(bars[0])


def test_a_log_file_gets_lines(tmp_path, monkeypatch):
  text = show_three_steps(tmp_path, _Stream(), monkeypatch)
  assert '\r' not in text
  assert '[#' not in text
  assert text.endswith('evaluating\n')
