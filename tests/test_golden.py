"""Identities, rows and reports of the shipped experiments are what they were
(`golden/identities.py`)."""

import json
import os

import pytest
from golden import identities
from helpers import ROOT

# Left out of `make quick`.
pytestmark = pytest.mark.slow

WANTED = json.loads(identities.GOLDEN.read_text())


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  pytest.importorskip('tokenizers')
  made = tmp_path_factory.mktemp('golden')
  identities.tiny_weights(made)
  return made


@pytest.fixture(autouse=True)
def at_the_top():
  """Paths of handbooks are relative to the repository."""
  before = os.getcwd()
  os.chdir(ROOT)
  yield
  os.chdir(before)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize('name', identities.EXPERIMENTS)
def test_experiments(name, folder, with_figures):
  found = identities.snapshot(name, folder)
  assert found == WANTED[name]


@pytest.mark.golden
def test_points_of_sweeps(folder):
  assert identities.sweep_identities(folder) == WANTED['sweeps']
