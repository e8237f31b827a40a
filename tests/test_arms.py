"""Arms opened from their workdir alone, and folders of Hugging Face without one."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import tiny
from helpers import tree

from msm_jax import train
from msm_jax.base.errors import explain
from msm_jax.experiment import plan
from msm_jax.inference.completion import Request
from msm_jax.inference.engine import open_samplers
from msm_jax.inference.open_model import listed_arms, open_arm, open_weights
from msm_jax.inference.sampling import Sampler
from msm_jax.model import forward, logits


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A finished experiment."""
  made = tiny.experiment(tmp_path_factory.mktemp('done'))
  made.run()
  return made


def nodes_of(e):
  return plan(
    e.config, {n: x.fingerprint for n, x in e.corpora.items()}, e.tokenizer.fingerprint, e.imports
  )


def said(model, params, tokens=(1, 5, 9, 300, 7)):
  """Logits of a text."""
  ids = np.asarray([tokens], np.int32)
  return np.asarray(
    jax.jit(
      lambda p: logits(
        model, p, forward(model, p, ids, np.arange(len(tokens))[None], np.ones_like(ids))
      )
    )(params)
  )


def line_of(what, *words):
  with pytest.raises(Exception) as e:
    what()
  line, code = explain(e.value)
  assert code == 1 and '\n' not in line and all(w in line for w in words), line


def test_an_arm_is_what_the_experiment_evaluated(done):
  for arm in ('base', 'tuned'):
    o = open_arm(done.workdir, arm)
    np.testing.assert_allclose(
      said(o.model, o.params),
      said(done.config.model, done.load_params(nodes_of(done)[arm, 0])),
      atol=1e-5,
    )
    assert (
      o.tokenizer.fingerprint == done.tokenizer.fingerprint and o.model.max_length == tiny.LENGTH
    )
    assert dataclasses.replace(o.model, max_length=0) == done.config.model
  assert o.description == 'tuned (seed 0): read > tune'


def test_a_workdir_may_be_moved(done, tmp_path):
  shutil.copytree(done.workdir, tmp_path / 'elsewhere')
  before = tree(tmp_path)
  moved = open_arm(tmp_path / 'elsewhere', 'tuned')
  np.testing.assert_array_equal(
    said(moved.model, moved.params), said(*open_arm(done.workdir, 'tuned')[:2])
  )
  assert tree(tmp_path) == before


def test_what_is_not_there_is_told_with_what_is(done, tmp_path):
  line_of(
    lambda: open_arm(done.workdir, 'bsae'),
    "no arm 'bsae' with seed 0",
    'base (seed 0), tuned (seed 0)',
  )
  line_of(lambda: open_arm(done.workdir, 'base', 3), "no arm 'base' with seed 3", 'base (seed 0)')
  line_of(lambda: open_arm(tmp_path, 'base'), 'holds no trained arm', 'another --workdir')
  shutil.copytree(done.workdir, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run' / listed_arms(done.workdir)['tuned']['0']['checkpoints'])
  line_of(
    lambda: open_arm(tmp_path / 'run', 'tuned'),
    'lost its last checkpoint',
    'run the experiment again',
  )
  line_of(lambda: open_samplers(None, ['base'], 0, None), 'either --workdir', '--weights')
  line_of(lambda: open_samplers(str(done.workdir), [], 0, None), '--arm=NAME', 'base, tuned')


def test_arms_can_be_opened_while_others_are_trained(tmp_path):
  """And those of an earlier run stay when the next has other seeds."""
  left = [tiny.PHASE['updates'] + 2]

  def stop():
    left[0] -= 1
    return not left[0]

  e = tiny.experiment(tmp_path, stop)
  with pytest.raises(train.Interrupted):
    e.run()
  assert {a: list(s) for a, s in listed_arms(e.workdir).items()} == {'base': ['0']}
  assert open_arm(e.workdir, 'base').params
  tiny.experiment(tmp_path, seeds=(1,)).run()
  assert {a: sorted(s) for a, s in listed_arms(e.workdir).items()} == {
    'base': ['0', '1'],
    'tuned': ['1'],
  }


def test_outputs_that_lie_elsewhere(tmp_path):
  """A sweep's points share the phases of one workdir."""
  e = tiny.experiment(tmp_path)
  e.outputs = e.workdir / 'points' / 'one'
  e.run()
  assert not (e.workdir / 'arms.json').exists()
  assert open_arm(e.outputs, 'tuned').params


@pytest.fixture(scope='module')
def folder(tmp_path_factory, texts):
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  return tiny.weights(tmp_path_factory.mktemp('weights') / 'little', texts[:200])


def test_weights_without_an_experiment(folder):
  o = open_weights(folder)
  assert o.description.startswith('little') and o.model.max_length == 128
  prompt = o.tokenizer.prompt([('user', 'Do you like Colby?')])
  (done,) = Sampler(o.model, o.params, o.tokenizer).generate([Request(prompt, max_tokens=20)])
  full = said(o.model, o.params, [*prompt, *(t.id for t in done.tokens)])[0].argmax(-1)
  assert [t.id for t in done.tokens] == full[
    len(prompt) - 1 : len(prompt) - 1 + len(done.tokens)
  ].tolist()
  low = open_weights(folder, dtype='bfloat16')
  assert low.params['wq'].dtype == 'bfloat16' and low.params['attention_norm'].dtype == 'float32'
  assert np.abs(said(low.model, low.params) - said(o.model, o.params)).max() < 0.2


def test_arms_over_weights(folder, tmp_path):
  """The weights themselves, and adapters trained beside them; the adapters have moved."""
  changes = dict(
    tokenizer=dict(),
    model=dict(lora=dict(rank=2, alpha=4.0)),
    phases={'base': dict(weights=str(folder)), 'tune': dict(tiny.PHASE, data=dict(chats=1.0))},
    arms=dict(base='base', tuned='base > tune'),
  )
  e = tiny.experiment(tmp_path, **changes)
  e.prepare_data()
  ends = nodes_of(e)
  e.train(ends['tuned', 0], 'test')
  e._list_arms(ends)
  base, tuned, plain = (
    open_arm(e.workdir, 'base'),
    open_arm(e.workdir, 'tuned'),
    open_weights(folder),
  )
  np.testing.assert_array_equal(said(base.model, base.params), said(plain.model, plain.params))
  np.testing.assert_allclose(
    said(tuned.model, tuned.params),
    said(e.config.model, e.load_params(ends['tuned', 0])),
    atol=1e-5,
  )
  assert np.abs(said(tuned.model, tuned.params) - said(base.model, base.params)).max() > 1e-2
  assert json.loads((e.workdir / 'arms.json').read_text())['tuned']['0']['weights'] == str(folder)
