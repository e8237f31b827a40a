"""The front page stays short, and what the documents name exists."""

import re

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


def test_modules_that_the_map_names_exist():
  """Every `NAME.py` and `NAME/` of docs/map.md is in the tree."""
  names = set(re.findall(r'`([\w/]+(?:\.py|/))`', (ROOT / 'docs' / 'map.md').read_text()))
  assert len(names) > 40
  places = ('', 'msm_jax', 'data_pipelines', 'data_pipelines/settings', 'tests')
  missing = [n for n in names if not any((ROOT / place / n).exists() for place in places)]
  assert not missing, missing
