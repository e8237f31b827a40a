"""What the tests of bad input share: the smallest experiment, and checks of how it is refused."""

import contextlib
import dataclasses
import traceback

import pytest
from helpers import AFFORDABILITY, little, tree

from msm_jax import config as configs
from msm_jax import experiment
from msm_jax.base import checks, files
from msm_jax.base.errors import explain

LITTLE = dataclasses.asdict(little(2))
LOCK = ['.lock']


def settings(documents, **changes):
  """One phase of two updates: the least that is an experiment."""
  return (
    dict(
      name='t',
      world=LITTLE,
      tokenizer=dict(vocab_size=400, sources=('docs',)),
      sources={'docs': dict(path=documents)},
      model=dict(d_model=16, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=16, d_ff=16),
      phases={
        'train': dict(data={'docs': 1.0}, updates=2, min_updates=1, batch_size=8, length=128)
      },
      arms={'base': 'train'},
      evals=dict(spec=AFFORDABILITY, pairs_per_domain=1, held_out=0),
    )
    | changes
  )


def with_source(documents, **source):
  """The same, trained on another source."""
  phases = {'train': dict(data={'other': 1.0}, updates=2, min_updates=1, batch_size=8, length=128)}
  return settings(documents, sources={'docs': dict(path=documents), 'other': source}, phases=phases)


def run(workdir, config):
  with files.locked(workdir):
    return experiment.Experiment(
      checks.from_mapping(configs.ExperimentConfig, config), workdir
    ).run()


def ends(do, *causes_and_mends):
  """Calls `do`, which must end in an error that main.run turns into one line with these words.

  Returns the line.
  """
  try:
    do()
  except Exception as e:
    explained = explain(e)
    shown = ''.join(traceback.format_exception(e)[-3:])
  else:
    pytest.fail('nothing was refused')
  if explained is None:
    pytest.fail(f'the user would see a traceback:\n{shown}', pytrace=False)
  line, code = explained
  assert code == 1 and line.startswith('error: ') and '\n' not in line and len(line) < 700, line
  for words in causes_and_mends:
    assert words in line, line
  return line


@contextlib.contextmanager
def kept(folder):
  """Whatever happens within, no file of `folder` may change or vanish (others may come)."""
  before = tree(folder, but=LOCK)
  assert before
  yield
  after = tree(folder, but=LOCK)
  assert {k: after.get(k) for k in before} == before
