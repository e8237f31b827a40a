"""The front page stays short, and what the documents name exists."""

import re
from collections import Counter

import pytest
from helpers import ROOT

PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), ROOT / 'specs' / 'README.md'])
LINK = re.compile(r'\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)')


def test_the_front_page_is_short():
  lines = (ROOT / 'README.md').read_text().splitlines()
  assert len(lines) <= 150
  assert max(map(len, lines)) <= 100


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
  for target in LINK.findall(page.read_text()):
    assert (page.parent / target).exists(), f'{page.relative_to(ROOT)} links to {target}'


MAP = set(re.findall(r'`([\w/]+(?:\.py|/))`', (ROOT / 'docs' / 'map.md').read_text()))
# The map writes the names of modules in these folders without them.
INSPECT_TASKS = 'msm_jax/interop/inspect_tasks'
EVALS = 'msm_jax/evals'
PACKAGES = ('msm_jax', 'data_pipelines')
INITS = [*ROOT.glob('msm_jax/**/__init__.py'), *ROOT.glob('data_pipelines/**/__init__.py')]
FOLDERS = {str(path.parent.relative_to(ROOT)) for path in INITS}


def modules_of(folder):
  return {path.name for path in (ROOT / folder).glob('*.py')} - {'__init__.py'}


def test_modules_that_the_map_names_exist():
  """Every `NAME.py` and `NAME/` of docs/map.md is in the tree."""
  assert len(MAP) > 40
  places = ('', *FOLDERS, 'tests')
  missing = [n for n in MAP if not any((ROOT / place / n).exists() for place in places)]
  assert not missing, missing


@pytest.mark.parametrize('folder', ['msm_jax', 'data_pipelines', EVALS, INSPECT_TASKS])
def test_the_map_names_every_module(folder):
  """A new module is told on the map, and so is a new folder of modules."""
  named = {name.rstrip('/').rpartition('/')[2] for name in MAP}
  modules = modules_of(folder)
  folders = {path.parent.name for path in (ROOT / folder).glob('*/__init__.py')}
  assert modules
  assert modules | folders <= named, modules | folders - named


def test_the_map_names_every_module_of_a_folder_once():
  """The table of the folders has each folder that no other table or way has."""
  table = (ROOT / 'docs' / 'map.md').read_text().partition('### Inside the folders')[2]
  listed = {}
  folder = ''
  for line in table.partition('### Beside')[0].splitlines():
    cells = [cell.strip() for cell in line.split('|')]
    if len(cells) == 5 and '.py`' in cells[2]:
      folder = cells[1].strip('`/') or folder
      listed.setdefault(folder, []).extend(re.findall(r'`(\w+\.py)`', cells[2]))
  assert sorted(listed) == sorted(FOLDERS - {*PACKAGES, EVALS, INSPECT_TASKS})
  for folder, names in listed.items():
    assert sorted(names) == sorted(modules_of(folder)), folder


def test_no_module_is_visited_more_than_twice_on_the_map():
  """The ways through the code stay readable, each by itself."""
  ways = (ROOT / 'docs' / 'map.md').read_text().partition('## All modules')[0]
  visits = Counter()
  for way in re.split(r'^## ', ways, flags=re.M)[1:]:
    # In the way of an agent, the names are those of another folder.
    if not way.startswith('How an agent'):
      visits.update(set(re.findall(r'`([\w/]+\.py)`', way)))
  assert max(visits.values()) == 2, visits.most_common(5)


# Files of the reader, or that a command makes.
NOT_THERE = {'specs/mine.md', 'configs/sweeps/cheese_dose.py', 'docs/results/data/tpu.jsonl'}
NAMED_FILE = re.compile(
  r'`((?:msm_jax|data_pipelines|tests|configs|docs|benchmarks|specs|notebooks)/[\w./-]+\.\w+)[:`]'
)


def test_files_that_pages_name_exist():
  """Of files in code marks, with their folder; NAME stands for any name."""
  named = set()
  for page in PAGES:
    # The log tells of files that are gone.
    if page.name != 'LOG.md':
      named.update(NAMED_FILE.findall(page.read_text()))
  assert len(named) > 40
  missing = [name for name in named - NOT_THERE if not (ROOT / name).exists()]
  assert not [name for name in missing if 'NAME' not in name], missing
