"""The cells of all notebooks, one after the other, at smoke size.

Each notebook runs in a process of its own, as a kernel would run it. Its parameter cell is followed
by smaller settings. IPython is replaced by the little that the notebooks use of it.
"""

import ast
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import tiny
from helpers import ROOT

pytestmark = pytest.mark.slow

NOTEBOOKS = ('your_handbook', 'read_the_results', 'real_model')


# ---- running a notebook


def code_cells(name: str) -> list[dict]:
  notebook = json.loads((ROOT / 'notebooks' / f'{name}.ipynb').read_text())
  return [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']


def source_of(cell: dict) -> str:
  """The code of a cell without `%pip`, the one command of IPython that the notebooks use."""
  lines = ''.join(cell['source']).splitlines()
  return '\n'.join(line for line in lines if not line.startswith('%pip '))


def execute(source: str, names: dict) -> object:
  """Executes a cell. Returns the value of its last line if that is an expression, else None."""
  tree = ast.parse(source)
  last = None
  if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
  exec(compile(tree, 'cell', 'exec'), names)
  if last is None:
    return None
  return eval(compile(last, 'cell', 'eval'), names)


def run_cells(name: str, parameters: dict, shown_file: str) -> None:
  """Runs a notebook in this process. It writes what the cells show to a file, as a JSON list."""
  # The package IPython itself stays away: matplotlib would ask it for its version.
  display = types.ModuleType('IPython.display')
  # A page is shown as its text.
  display.HTML = str
  sys.modules['IPython.display'] = display
  shown, names = [], {}
  for cell in code_cells(name):
    value = execute(source_of(cell), names)
    if value is not None:
      shown.append(str(value))
    if 'parameters' in cell['metadata'].get('tags', ()):
      assert set(parameters) <= set(names)
      names |= parameters
  Path(shown_file).write_text(json.dumps(shown))


def run_notebook(name: str, folder: Path, **parameters: object) -> tuple[str, list[str]]:
  """Runs a notebook in a process of its own, in a folder that looks like a clone.

  Returns (what was printed, what cells showed as their value).
  """
  for path in ('constraints.txt', 'specs', 'configs', 'msm_jax', 'data_pipelines'):
    (folder / path).symlink_to(ROOT / path)
  shown = folder / 'shown.json'
  call = f'test_notebooks.run_cells({name!r}, {parameters!r}, {str(shown)!r})'
  # One device, since the small batches cannot be divided.
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', 'device_count=1')
  env = os.environ | {
    'PYTHONPATH': f'{ROOT / "tests"}{os.pathsep}{ROOT}',
    'XLA_FLAGS': flags,
    'MPLBACKEND': 'agg',
  }
  done = subprocess.run(
    [sys.executable, '-c', f'import test_notebooks; {call}'],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr[-4000:]
  return done.stdout, json.loads(shown.read_text())


# ---- the notebooks


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_form(name):
  """The notebook has no outputs, one parameter cell, and begins with the cell of the clone."""
  cells = code_cells(name)
  assert not any(cell['outputs'] for cell in cells)
  assert 'REPOSITORY = ' in ''.join(cells[0]['source'])
  assert '%pip install' in ''.join(cells[0]['source'])
  tagged = [cell for cell in cells if 'parameters' in cell['metadata'].get('tags', ())]
  assert len(tagged) == 1
  assert {path.stem for path in (ROOT / 'notebooks').glob('*.ipynb')} == set(NOTEBOOKS)


def test_the_first_cell_clones_outside_a_clone(tmp_path, monkeypatch):
  """It does so once; inside a clone, or in a folder of one, it does not."""
  calls = []
  monkeypatch.setattr(subprocess, 'run', lambda command, check: calls.append(command))
  monkeypatch.setattr(sys, 'path', list(sys.path))
  cell = source_of(code_cells('your_handbook')[0])
  clone = tmp_path / 'elsewhere' / 'msm_jax_clone'
  (clone / 'msm_jax').mkdir(parents=True)
  (clone / 'notebooks').mkdir()
  (clone / 'constraints.txt').touch()
  for start in (clone, clone / 'notebooks', tmp_path / 'elsewhere'):
    monkeypatch.chdir(start)
    exec(cell, {})
    assert Path.cwd() == clone
    assert sys.path[0] == str(clone)
  assert not calls
  (tmp_path / 'empty').mkdir()
  monkeypatch.chdir(tmp_path / 'empty')
  # The folder is missing because nothing was cloned.
  with pytest.raises(FileNotFoundError):
    exec(cell, {})
  (command,) = calls
  assert command[:2] == ['git', 'clone']


def test_your_handbook_and_its_results(tmp_path):
  """The second notebook reads what the first one leaves."""
  pytest.importorskip('matplotlib')
  pytest.importorskip('pandas')
  first, second = tmp_path / 'first', tmp_path / 'second'
  first.mkdir()
  second.mkdir()
  workdir = str(tmp_path / 'run')
  printed, shown = run_notebook(
    'your_handbook', first, CONFIG='configs/msm.py:smoke', WORKDIR=workdir
  )
  summary = json.loads(Path(workdir, 'summary.json').read_text())
  assert summary['assistant'] == 'Tovi'
  assert 'name' in summary
  assert 'msm_aft' in printed
  assert 'new_domains' in printed
  (page,) = shown
  assert 'iframe' in page
  assert 'svg' in page

  printed, shown = run_notebook(
    'read_the_results', second, CONFIG='configs/none.py', WORKDIR=workdir
  )
  for gate in summary['gates']:
    assert gate in printed
  mean = summary['arms']['msm_aft']['preferences/conflict/new_domains']['mean']
  assert f'mean and range: {mean:.2f}' in printed
  opened, pivot, page = shown
  assert opened.startswith('Results(')
  assert 'msm_aft' in pivot
  assert 'svg' in page


def test_real_model(tmp_path, texts):
  """The weights are random and tiny."""
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  weights = tiny.weights(tmp_path / 'weights', texts[:200], max_length=1024)
  folder = tmp_path / 'clone'
  folder.mkdir()
  printed, shown = run_notebook(
    'real_model',
    folder,
    WEIGHTS=str(weights),
    WORKDIR='runs/real_model',
    DOCUMENTS=10,
    UPDATES=1,
    LENGTH=512,
  )
  assert 'msm_aft minus aft' in printed
  assert ' affordable.' in printed
  (page,) = shown
  assert '<th>aft</th><th>msm_aft</th>' in page
  assert page.count('<td') == 6
