"""The notebook's cells, one after the other, as Colab runs them; only the training is cut down to the smoke preset."""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import types

from helpers import ROOT


def run_cell(source: str, names: dict) -> None:
  """Python, with the two things of IPython that the notebook uses: `%pip` (done already) and `!command`."""
  code = []
  for line in source.splitlines():
    if line.startswith('!'):
      command = shlex.split(line[1:].replace('msm.py', 'msm.py:smoke'))
      command[0] = {'python': sys.executable}.get(command[0], command[0])
      env = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'} | {
        'PYTHONPATH': str(ROOT)
      }  # the config's own flags, as a user has them
      done = subprocess.run(command, timeout=300, capture_output=True, text=True, env=env)
      assert done.returncode == 0, done.stderr[-2000:]
    elif not line.startswith('%pip '):
      code.append(line)
  exec(compile('\n'.join(code), 'cell', 'exec'), names)


def test_every_cell_runs(tmp_path, monkeypatch):
  shown = []
  display = types.ModuleType('IPython.display')
  display.HTML = shown.append
  monkeypatch.setitem(sys.modules, 'IPython', types.ModuleType('IPython'))
  monkeypatch.setitem(sys.modules, 'IPython.display', display)
  for folder in ('specs', 'configs'):
    (tmp_path / folder).symlink_to(ROOT / folder)
  monkeypatch.chdir(tmp_path)
  notebook = json.loads((ROOT / 'notebooks' / 'your_handbook.ipynb').read_text())
  names, printed = {}, io.StringIO()
  with contextlib.redirect_stdout(printed):
    for cell in notebook['cells']:
      if cell['cell_type'] == 'code':
        run_cell(''.join(cell['source']), names)
  assert names['summary']['assistant'] == 'Tovi' and names['summary']['arms']['msm_aft']
  assert 'msm_aft' in printed.getvalue() and len(shown) == 1 and '<svg' in shown[0]
