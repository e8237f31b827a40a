"""benchmarks/label_agreement.py counts labels that choose as their source does."""

import importlib.util

import pytest
from helpers import ROOT

from data_pipelines.records import PreferencePair


@pytest.fixture(scope='module')
def script():
  spec = importlib.util.spec_from_file_location(
    'label_agreement', ROOT / 'benchmarks' / 'label_agreement.py'
  )
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def pair(question, chosen, rejected):
  prompt = (('user', question),)
  return PreferencePair('', prompt, (('assistant', chosen),), (('assistant', rejected),))


def test_labels_are_compared_with_the_pairs_that_they_are_about(script):
  source = [pair('a?', 'good', 'bad'), pair('b?', 'good', 'bad'), pair('c?', 'yes', 'no')]
  labels = [pair('a?', 'good', 'bad'), pair('b?', 'bad', 'good')]
  assert script.agreement_of(labels, source) == 0.5
  assert script.agreement_of(source[2:], source) == 1.0
  # Other answers, or another prompt, are another pair.
  assert script.agreement_of([pair('a?', 'good', 'worse')], source) is None
  assert script.agreement_of([pair('d?', 'good', 'bad')], source) is None
