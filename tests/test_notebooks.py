"""The cells of all notebooks, one after the other, at smoke size.

Each notebook runs in a process of its own (notebook_cells.py), as a kernel would run it. Its
parameter cell is followed by smaller settings.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import english_texts
import pytest
import tiny
from helpers import ROOT
from notebook_cells import code_cells, source_of
from prefork import Prefork

pytestmark = pytest.mark.slow

NOTEBOOKS = ('your_handbook', 'read_the_results', 'real_model')


# ---- running a notebook


# The smoke preset with fewer people, one name of the assistant beside its own and a smaller model:
# most of the time of a run is that of its questions.
SMALL = """
from configs import msm

def get_config():
  c = msm.get_config('smoke')
  c.model = dict(d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=48)
  c.tokenizer.vocab_size = 1024
  c.world.update(per_value=5, documents_only=2, talkers=2, fickle=12)
  c.assistants = c.assistants[:1]
  c.evals.update(others_of='base', pairs_per_domain=1)
  return c
"""


def run_notebook(
  programs: Prefork, name: str, folder: Path, devices: int = 1, **parameters: object
) -> tuple[str, list[str]]:
  """Runs a notebook in a process of its own, in a folder that looks like a clone.

  The small batches of `SMALL` cannot be divided over many devices, so there is one if nothing else
  is said. Returns (what was printed, what cells showed as their value).
  """
  for path in ('constraints.txt', 'specs', 'configs', 'msm_jax', 'data_pipelines'):
    (folder / path).symlink_to(ROOT / path)
  flags = os.environ['XLA_FLAGS'].replace('device_count=8', f'device_count={devices}')
  arguments = [name, str(folder), json.dumps(parameters)]
  log = folder / 'printed.txt'
  program = programs.start('notebook_cells', arguments, log, XLA_FLAGS=flags, MPLBACKEND='agg')
  assert program.wait(300) == 0, program.said()[-4000:]
  return program.said(), json.loads((folder / 'shown.json').read_text())


# ---- the notebooks


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_form(name):
  """The notebook has no outputs, one parameter cell, and begins with the cell of the clone, which
  says how to install JAX for a GPU or a TPU."""
  cells = code_cells(name)
  assert not any(cell['outputs'] for cell in cells)
  assert 'REPOSITORY = ' in ''.join(cells[0]['source'])
  assert '%pip install' in ''.join(cells[0]['source'])
  assert 'jax[tpu]' in ''.join(cells[0]['source'])
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


def test_your_handbook_and_its_results(programs, tmp_path):
  """The second notebook reads what the first one leaves."""
  pytest.importorskip('matplotlib')
  pytest.importorskip('pandas')
  first, second = tmp_path / 'first', tmp_path / 'second'
  first.mkdir()
  second.mkdir()
  workdir = str(tmp_path / 'run')
  (first / 'small.py').write_text(SMALL)
  printed, shown = run_notebook(
    programs, 'your_handbook', first, CONFIG='small.py', WORKDIR=workdir
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
    programs, 'read_the_results', second, CONFIG='configs/none.py', WORKDIR=workdir
  )
  for gate in summary['gates']:
    assert gate in printed
  mean = summary['arms']['msm_aft']['preferences/conflict/new_domains']['mean']
  assert f'mean and range: {mean:.2f}' in printed
  opened, pivot, page = shown
  assert opened.startswith('Results(')
  assert 'msm_aft' in pivot
  assert 'svg' in page


def test_real_model(programs, tmp_path):
  """The weights are random and tiny. There are four devices, and a batch has two rows."""
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  # With fewer tokens, or those of other texts, rows would have to be longer.
  documents = english_texts.documents(
    english_texts.shipped_handbooks()['affordability'], english_texts.stock(), 'explained', 60
  )
  texts = [document.text for document in documents]
  sizes = dict(max_length=1024, n_layers=1, n_heads=2, n_kv_heads=1)
  weights = tiny.weights(tmp_path / 'weights', texts, 1200, **sizes)
  folder = tmp_path / 'clone'
  folder.mkdir()
  printed, shown = run_notebook(
    programs,
    'real_model',
    folder,
    devices=4,
    WEIGHTS=str(weights),
    WORKDIR='runs/real_model',
    DOCUMENTS=10,
    UPDATES=1,
    LENGTH=320,
  )
  assert 'msm_aft minus aft' in printed
  assert ' affordable.' in printed
  (page,) = shown
  assert '<th>aft</th><th>msm_aft</th>' in page
  assert page.count('<td') == 6
