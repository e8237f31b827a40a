"""Runs the cells of a notebook in a process of its own, as a kernel would run it.

    python -m notebook_cells NAME FOLDER PARAMETERS

Works in FOLDER, whose file shown.json gets what the cells show, as a JSON list. PARAMETERS are a
JSON object that follows the parameter cell. IPython is replaced by the little that the notebooks
use of it. tests/test_notebooks.py starts this program in a forked process.
"""

import ast
import json
import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def code_cells(name: str) -> list[dict]:
  """The cells of a notebook that hold code, as its file has them."""
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


def run_cells(name: str, parameters: dict) -> list[str]:
  """Runs a notebook in this process, in the folder where it is. Returns what its cells show."""
  # The package IPython itself stays away: matplotlib would ask it for its version.
  display = types.ModuleType('IPython.display')
  # A page is shown as its text.
  display.HTML = str  # type: ignore[attr-defined]
  sys.modules['IPython.display'] = display
  shown: list[str] = []
  names: dict = {}
  for cell in code_cells(name):
    value = execute(source_of(cell), names)
    if value is not None:
      shown.append(str(value))
    if 'parameters' in cell['metadata'].get('tags', ()):
      assert set(parameters) <= set(names)
      names |= parameters
  return shown


def main() -> None:
  """Runs the notebook that the arguments name."""
  name, folder, parameters = sys.argv[1:]
  os.chdir(folder)
  Path('shown.json').write_text(json.dumps(run_cells(name, json.loads(parameters))))


if __name__ == '__main__':
  main()
