"""The commands that the documents name can be run: modules, flags, configs, presets and settings
exist.

No command is run. Its own parser parses it, and a config is read with all that it changes.
"""

import argparse
import ast
import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import ROOT

from data_pipelines.demonstrations import pipeline as demonstrations
from data_pipelines.documents import pipeline as documents
from data_pipelines.llm.settings import CorpusConfig
from data_pipelines.llm.settings import read_config as read_corpus_config
from msm_jax.base import paths
from msm_jax.base.checks import from_mapping
from msm_jax.base.command import split_overrides
from msm_jax.base.config_files import read_config
from msm_jax.base.errors import DataError
from msm_jax.base.overrides import from_text, override
from msm_jax.base.references import separate_groups
from msm_jax.config import ExperimentConfig
from msm_jax.sweep import SweepConfig, overridden

# docs/LOG.md tells what was run once.
PAGES = [
  *ROOT.glob('*.md'),
  *(page for page in ROOT.glob('docs/**/*.md') if page.name != 'LOG.md'),
  *ROOT.glob('configs/**/*.py'),
]
# A config of the reader's own -> a shipped one that has all that the command needs.
OF_READERS = {
  'configs/MINE.py': 'configs/custom.py',
  'my_experiment.py': 'configs/custom.py',
  'configs/sweeps/cheese_dose.py': '',
  'configs/corpora/NAME.py': '',
}
SCHEMAS = {
  'msm_jax.main': ExperimentConfig,
  'msm_jax.sweep': SweepConfig,
  'data_pipelines.write': CorpusConfig,
  'data_pipelines.demonstrate': CorpusConfig,
}
DEFAULT = 'configs/msm.py'
COMMAND = re.compile(r'(?:\w+=\S+ )*(?:python|make|pip|pytest|inspect|gcloud) ')
NAMED_CONFIG = re.compile(r'configs/[\w/]+\.py(?::\w[\w,]*)?')


class Parsed(Exception):
  """Raised in place of what a command does once its flags are parsed."""


@pytest.fixture(autouse=True)
def parse_only(monkeypatch):
  parse = argparse.ArgumentParser.parse_args

  def parse_args(self, args=None, namespace=None):
    raise Parsed(parse(self, args, namespace))

  monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
  monkeypatch.chdir(ROOT)


def commands_of(text: str) -> Iterator[str]:
  """The commands of a text: lines of code that begin with a program, joined at backslashes."""
  is_fenced = False
  lines = iter(text.splitlines())
  for line in lines:
    if line.lstrip().startswith('```'):
      is_fenced = not is_fenced
      continue
    if not (is_fenced or line.startswith('    ')) or not COMMAND.match(line.strip()):
      continue
    command = line.strip()
    while command.endswith('\\'):
      command = f'{command[:-1]} {next(lines).strip()}'
    yield command


def text_of(page: Path) -> str:
  text = page.read_text()
  if page.suffix == '.py':
    return ast.get_docstring(ast.parse(text), clean=False) or ''
  return text


def check_config(config: str, schema: type, changes: list[tuple[str, str]]) -> None:
  """Reads a config as the command line does, and makes the settings of it."""
  file, colon, preset = config.partition(':')
  file = OF_READERS.get(file, file)
  if not file:
    return
  made = read_config(f'{file}{colon}{preset}')
  separate_groups(made)
  for key, text in changes:
    override(made, key, from_text(made, key, text, schema), schema)
  if schema is not ExperimentConfig:
    return
  try:
    from_mapping(schema, paths.resolve_paths(made))
  except DataError as e:
    # The reader's own file, or one that another command writes.
    assert 'no such file' in str(e), e


def check_module(module: str, arguments: list[str]) -> None:
  """Checks the flags of `python -m MODULE`."""
  if module in SCHEMAS:
    others, changes = split_overrides(arguments)
    flags = dict(argument.lstrip('-').partition('=')[::2] for argument in others)
    assert flags.keys() <= {'config', 'workdir', 'dry_run'}, others
    check_config(flags.get('config', DEFAULT), SCHEMAS[module], changes)
    return
  name = module
  if (ROOT / module.replace('.', '/')).is_dir():
    name = f'{module}.__main__'
  main = importlib.import_module(name).main
  if module == 'data_pipelines.world':
    assert not arguments
    return
  with pytest.raises(Parsed):
    main(arguments)


def check_make(arguments: list[str]) -> None:
  makefile = (ROOT / 'Makefile').read_text()
  variables = dict(argument.split('=', 1) for argument in arguments if '=' in argument)
  for target in arguments:
    if '=' not in target:
      assert re.search(rf'^{re.escape(target)}:', makefile, re.M), f'make has no target {target}'
  for variable in variables:
    assert re.search(rf'^{variable} \?=', makefile, re.M), f'make has no variable {variable}'
  if 'run' in arguments:
    more = shlex.split(variables.get('ARGS', ''))
    check_module('msm_jax.main', [f'--config={variables.get("CONFIG", DEFAULT)}', *more])


def check_pip(arguments: list[str]) -> None:
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  for argument in arguments:
    if argument.startswith('.['):
      extras = set(argument[2:-1].split(','))
      assert extras <= project['optional-dependencies'].keys(), argument


def check_script(file: str, arguments: list[str]) -> None:
  """Checks that a script is there and mentions the flags."""
  source = (ROOT / file).read_text()
  for argument in arguments:
    if argument.startswith('--'):
      assert f"'{argument.partition('=')[0]}'" in source, f'{file} has no flag {argument}'


def check_inspect(arguments: list[str]) -> None:
  if arguments[:2] != ['eval', 'msm_jax/agents_at_work']:
    return
  source = (ROOT / 'msm_jax/interop/inspect_tasks/tasks.py').read_text()
  for node in ast.parse(source).body:
    if isinstance(node, ast.FunctionDef) and node.name == 'agents_at_work':
      known = {argument.arg for argument in node.args.args}
  for flag, value in itertools.pairwise(arguments):
    if flag == '-T':
      assert value.partition('=')[0] in known, value


def check(command: str) -> None:
  """Raises an error unless a command can be parsed."""
  words = shlex.split(command, comments=True)
  # '...' stands for more flags, and '[--once]' for one that may be given.
  words = [word.strip('[]') if word.startswith('[--') else word for word in words if word != '...']
  while '=' in words[0]:
    words.pop(0)
  for end in ('&', '&&', '|'):
    if end in words:
      words = words[: words.index(end)]
  program, *arguments = words
  if program == 'make':
    check_make(arguments)
  elif program == 'pip':
    check_pip(arguments)
  elif program == 'inspect':
    check_inspect(arguments)
  elif program == 'python' and arguments[0] == '-m':
    check_module(arguments[1], arguments[2:])
  elif program != 'gcloud':
    check_script(arguments[0], arguments[1:])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_parsed(page):
  failed = []
  for command in commands_of(text_of(page)):
    try:
      check(command)
    except (Exception, SystemExit, pytest.fail.Exception) as e:
      failed.append(f'{command}\n  {type(e).__name__}: {e}')
  assert not failed, '\n'.join(failed)


def test_configs_and_presets_that_are_named_exist():
  named = set()
  for page in PAGES:
    named.update(NAMED_CONFIG.findall(page.read_text()))
  assert len(named) > 20
  failed = []
  for config in sorted(named):
    if config.partition(':')[0] in OF_READERS or config == 'configs/corpora/thresholds.py':
      continue
    try:
      read_config(config)
    except Exception as e:
      failed.append(f'{config}: {e}')
  assert not failed, '\n'.join(failed)


@pytest.mark.parametrize(
  'command',
  [
    'python -m msm_jax.main --config=configs/msm.py:smoke --config.evals.smapled=2',
    'python -m msm_jax.main --config=configs/msm.py:tniy',
    'python -m msm_jax.main --conf=configs/msm.py',
    'python -m msm_jax.judge --workdir=runs/mine --modle=x',
    'python -m msm_jax.chatt --weights=FOLDER',
    'make rum',
    "pip install -e '.[lmm]'",
    'python benchmarks/roofline.py --onyl 8b-full-v5e-2048',
    'pytest tests/test_nothing.py',
    'inspect eval msm_jax/agents_at_work --model openai/NAME -T kindes=leak',
  ],
)
def test_a_wrong_command_is_found(command):
  with pytest.raises((Exception, SystemExit)):
    check(command)


# ---- numbers of the guides that a config decides


def rows_of_table(page: str, heading: str) -> list[list[str]]:
  """The cells of the table below a heading row, line by line."""
  lines = (ROOT / page).read_text().partition(heading)[2].splitlines()
  rows = []
  for line in lines[2:]:
    if not line.startswith('|'):
      break
    rows.append([cell.strip(' `') for cell in line.strip('|').split('|')])
  return rows


COSTS = rows_of_table('docs/guides/paper.md', '| corpus | tokens or records | calls |')
MIRRORED = ['cheese_mirrored', '', '6,393', '147', '']


@pytest.mark.parametrize('row', [*COSTS, MIRRORED], ids=lambda row: row[0])
def test_the_guides_state_what_a_dry_run_prints(row):
  """Calls and cost of each corpus, one by one and with every model in batches."""
  name, _, calls, one_by_one, in_batches = row
  corpus, _, preset = name.partition(', ')
  file = f'configs/corpora/{corpus}.py'
  # Both sides of a mirrored corpus are written by one command.
  if preset not in ('', 'both sides'):
    file += f':{preset}'
  for batch, cost in ((0, one_by_one), (1000, in_batches)):
    c = read_config(file)
    for group in ('writer', 'judge'):
      if group in c:
        c[group].batch = batch
    config = read_corpus_config(c)
    pipeline = documents if config.kind == 'documents' else demonstrations
    total = re.search(r'^total +([\d,]+) .* ([\d,.]+)$', pipeline.dry_run(config), re.M)
    assert total is not None
    assert total[1] == calls
    if cost:
      assert f'{float(total[2].replace(",", "")):,.0f}' == cost
  if name == 'cheese_mirrored':
    said = ' '.join((ROOT / 'docs' / 'guides' / 'corpora.md').read_text().split())
    assert f'reports {calls} calls and about {one_by_one} USD' in said


SWEEPS = rows_of_table('docs/guides/sweeps.md', '| preset | what changes | base models to train |')


@pytest.mark.parametrize('row', SWEEPS, ids=lambda row: row[0])
def test_the_guide_counts_the_base_models_of_a_sweep(row):
  """Points have one base if what pretraining depends on is the same."""
  preset, _, count = row
  c = read_config(f'configs/sweeps/oversight.py:{preset}')
  bases = set()
  for point in c.points:
    e = overridden(c.experiment, point)
    before = [e.phases[phase].to_dict() for phase in ('read', 'pretrain')]
    bases.add(repr((e.office.to_dict(), e.model.to_dict(), before)))
  assert len(bases) == int(count)
  table = rows_of_table('configs/sweeps/oversight.py', '| preset | what changes | bases to train |')
  assert {cells[0]: cells[2] for cells in table}[preset] == count
