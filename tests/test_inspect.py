"""Tests of the Inspect provider: real tasks against arms, and against a folder of weights."""

import asyncio
import importlib.metadata
import json
import re
import shutil
import tomllib

import numpy as np
import pytest
import tiny
from helpers import ROOT
from serving import QUESTIONS, make_sampler, run_chat

from msm_jax.inference.completion import CompletionRequest
from msm_jax.inference.open_model import open_samplers

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def inspect():
  """The package `inspect_ai`, which has found the provider as it does in an installed project."""
  module = pytest.importorskip('inspect_ai')
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  ((name, value),) = project['entry-points']['inspect_ai'].items()
  importlib.metadata.EntryPoint(name, value, 'inspect_ai').load()
  return module


def run_task(inspect, model, questions, folder, solver=None, **settings):
  """Runs a task that asks questions, and returns its log."""
  from inspect_ai.dataset import Sample
  from inspect_ai.scorer import includes
  from inspect_ai.solver import generate, system_message

  samples = [Sample(id=n, input=question, target='e') for n, question in enumerate(questions)]
  task = inspect.Task(
    dataset=samples,
    solver=solver or [system_message('You are Ari.'), generate()],
    scorer=includes(),
  )
  (log,) = inspect.eval(
    task, model=f'msm_jax/{model}', log_dir=str(folder), display='none', **settings
  )
  return log


def test_inspect_evaluates_an_arm(inspect, tiny_workdir, tmp_path):
  """32 samples share batches, and each is answered as the sampler answers it."""
  log = run_task(
    inspect,
    f'{tiny_workdir}:tuned',
    QUESTIONS,
    tmp_path,
    temperature=0,
    max_tokens=12,
    logprobs=True,
    top_logprobs=2,
  )
  assert log.status == 'success'
  sampler = make_sampler(tiny_workdir, 'tuned')
  requests = []
  for question in QUESTIONS:
    prompt = sampler.tokenizer.prompt([('system', 'You are Ari.'), ('user', question)])
    requests.append(CompletionRequest(prompt, max_tokens=12))
  expected = sampler.generate(requests)

  # The task counts answers that hold an 'e'.
  accuracy = sum('e' in x.text.lower() for x in expected) / len(expected)
  assert log.results.scores[0].metrics['accuracy'].value == pytest.approx(accuracy)
  stop_reasons = {'stop': 'stop', 'length': 'max_tokens'}
  outputs = [sample.output for sample in log.samples]
  for output, completion in zip(outputs, expected, strict=True):
    assert output.completion == completion.text
    assert output.choices[0].stop_reason == stop_reasons[completion.finish_reason]
    assert output.usage.input_tokens == len(completion.request.prompt)
    assert output.usage.output_tokens == completion.made
  logprobs = outputs[0].choices[0].logprobs.content
  expected_logprobs = [t.logprob for t in expected[0].tokens]
  assert [t.logprob for t in logprobs] == pytest.approx(expected_logprobs, abs=1e-4)
  assert len(logprobs[0].top_logprobs) == 2


def test_inspects_settings_are_honoured(inspect, tiny_workdir, tmp_path):
  model = f'{tiny_workdir}:base'

  def draw(max_tokens=12, **settings):
    log = run_task(
      inspect, model, ['Hi'], tmp_path, max_tokens=max_tokens, num_choices=4, **settings
    )
    return [choice.message.text for choice in log.samples[0].output.choices]

  assert draw(seed=1) == draw(seed=1) != draw(seed=2)
  assert len(set(draw(seed=1))) > 1
  assert len(set(draw(seed=1, temperature=0))) == 1
  assert len(set(draw(seed=1, top_p=1e-6))) == 1
  whole = draw(temperature=0, max_tokens=40)[0]
  stop = whole[3:6]
  stopped = draw(temperature=0, max_tokens=40, stop_seqs=[stop])[0]
  assert stopped == whole[: whole.index(stop)]
  long = run_task(inspect, model, ['Hi ' * 500], tmp_path).samples[0].output
  assert long.choices[0].stop_reason == 'model_length'
  assert 'it must fit into 128' in long.completion
  window = run_task(inspect, model, ['Hi'], tmp_path, temperature=100, seed=1).samples[0].output
  assert window.choices[0].stop_reason in ('model_length', 'stop')


def test_what_inspect_cannot_have_here(inspect, tiny_workdir, tmp_path):
  refused = run_task(inspect, f'{tiny_workdir}:base', ['Hi'], tmp_path, top_k=5)
  assert refused.status == 'error'
  assert 'top_k=5 is not done' in refused.error.message
  for model, words in ((f'{tiny_workdir}:bsae', 'it has base'), (str(tmp_path), 'config.json')):
    with pytest.raises(Exception, match=words) as e:
      run_task(inspect, model, ['Hi'], tmp_path)
    assert type(e.value).__name__ == 'PrerequisiteError'


@pytest.mark.parametrize(
  ('name', 'arguments', 'words'),
  [
    ('{}', {}, 'give msm_jax/WORKDIR:ARM, such as msm_jax/{}:base'),
    ('{}:', {}, 'the model msm_jax/{}: has no workdir or no arm'),
    (':base', {}, 'such as msm_jax/runs/cheese:base'),
    ('{}:base', dict(dtype='float32'), 'do not give it as -M dtype=float32, as model_args'),
    ('{}:base', dict(seed=7), "no arm 'base' with seed 7"),
    ('nowhere', dict(seed=7), 'seed=7 is that of an arm, and nowhere has none; do not give it as'),
    ('{}:base', dict(seed='one'), "seed='one' must be a whole number; give it as -M seed=N"),
    ('{}:base', dict(seed=0.5), 'seed=0.5 must be a whole number'),
    ('{}:base', dict(max_batch=0), 'max_batch=0 must be a whole number, at least 1; give it as -M'),
    ('{}:base', dict(max_length=-1), 'max_length=-1 must be a whole number, at least 0'),
    ('{}:base', dict(max_tokens=9), "no argument 'max_tokens'; known are seed, max_length"),
    ('{}/nowhere:base', {}, 'holds no trained arm'),
  ],
)
def test_errors_speak_of_inspects_own_arguments(inspect, tiny_workdir, name, arguments, words):
  """Flags of our commands mean nothing to somebody who types `inspect eval`."""
  del inspect
  from msm_jax.interop.inspect_provider import MsmJaxAPI

  with pytest.raises(Exception, match=re.escape(words.format(tiny_workdir))) as e:
    MsmJaxAPI(name.format(tiny_workdir), **arguments)
  assert type(e.value).__name__ == 'PrerequisiteError'
  assert '--' not in str(e.value)
  assert '\n' not in str(e.value)


def test_a_model_that_was_trained_anew_is_refused(inspect, tiny_workdir, tmp_path):
  """Inspect keeps the models of a process, and a notebook may train between two evaluations."""
  from inspect_ai.model import GenerateConfig, get_model

  from msm_jax.base.errors import ConfigError

  run = tmp_path / 'run'
  shutil.copytree(tiny_workdir, run)
  name = f'msm_jax/{run}:tuned'
  settings = GenerateConfig(temperature=0, max_tokens=1, logprobs=True)

  def ask(**more):
    """The log-probability of the likeliest first token."""
    output = asyncio.run(get_model(name, **more).generate('Hi', config=settings))
    return output.choices[0].logprobs.content[0].logprob

  before = ask()
  arms = json.loads((run / 'arms.json').read_text())
  # The checkpoint of another phase under the arm's name.
  arms['tuned'] = arms['base']
  (run / 'arms.json').write_text(json.dumps(arms))
  with pytest.raises(ConfigError, match=r'is another model now .* memoize=False'):
    ask()
  sampler = make_sampler(run, 'base')
  prompt = sampler.tokenizer.prompt([('user', 'Hi')])
  (expected,) = sampler.generate([CompletionRequest(prompt, max_tokens=1)])
  assert ask(memoize=False) == pytest.approx(expected.tokens[0].logprob, abs=1e-4)
  assert abs(expected.tokens[0].logprob - before) > 1e-2


def test_a_model_goes_on_in_another_folder(inspect, tiny_workdir, tmp_path, monkeypatch):
  """A relative name means nothing there, or another model. Loaded models are asked all the same."""
  from inspect_ai.model import GenerateConfig, get_model

  from msm_jax.base.errors import ConfigError

  here, there = tmp_path / 'here', tmp_path / 'there'
  for folder in (here, there):
    shutil.copytree(tiny_workdir, folder / 'run')
  monkeypatch.chdir(here)
  model = get_model('msm_jax/run:tuned', memoize=False)
  settings = GenerateConfig(temperature=0, max_tokens=1)
  monkeypatch.chdir(tmp_path)
  answer = asyncio.run(model.generate('Hi', config=settings))
  assert answer.stop_reason == 'max_tokens'
  monkeypatch.chdir(there)
  with pytest.raises(ConfigError, match='is another model now'):
    asyncio.run(model.generate('Hi', config=settings))
  # Trained anew in its own folder, while a script is in another one.
  monkeypatch.chdir(tmp_path)
  arms = json.loads((here / 'run' / 'arms.json').read_text())
  (here / 'run' / 'arms.json').write_text(json.dumps(arms | {'tuned': arms['base']}))
  with pytest.raises(ConfigError, match='is another model now'):
    asyncio.run(model.generate('Hi', config=settings))


def test_a_folder_that_was_written_anew_is_another_model(inspect, tmp_path):
  del inspect
  from msm_jax.interop.inspect_provider import content_of

  def content(number):
    (tmp_path / 'config.json').write_text('{}')
    (tmp_path / 'model.safetensors').write_bytes(b'x' * number)
    return content_of(str(tmp_path), 0)

  first = content(1)
  assert first == content_of(str(tmp_path), 0) != content(2)
  assert content_of(str(tmp_path / 'nowhere'), 0) == ''
  assert content_of(f'{tmp_path}:aft', 0) == ''


def test_arguments_may_be_numbers_of_numpy(inspect):
  """Seeds often come out of `np.arange`."""
  del inspect
  from msm_jax.interop.inspect_provider import _whole_number

  assert _whole_number('seed', np.int64(3), None) == 3
  assert type(_whole_number('max_batch', np.uint8(1), 1)) is int
  for wrong in (np.float64(3.0), np.bool_(True), np.int64(0)):
    with pytest.raises(Exception, match='must be a whole number, at least 1'):
      _whole_number('max_batch', wrong, 1)


def test_a_folder_of_weights_everywhere(inspect, texts, tmp_path):
  """The chat, Inspect and the server take a folder of weights where they take an arm."""
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  from inspect_ai.solver import generate

  question = 'Do you like Colby?'
  folder = tiny.weights(tmp_path / 'little', texts[:200])
  samplers, descriptions = open_samplers(None, [], 0, str(folder))
  assert list(samplers) == ['little']
  assert 'little' in descriptions[0]
  sampler = samplers['little']
  prompt = sampler.tokenizer.prompt([('user', question)])
  (expected,) = sampler.generate([CompletionRequest(prompt, max_tokens=12)])
  chat = run_chat(f'{question}\n', f'--weights={folder}', '--max_tokens=12')
  assert chat.stdout == expected.text + '\n'
  log = run_task(
    inspect,
    folder,
    [question],
    tmp_path / 'logs',
    solver=generate(),
    temperature=0,
    max_tokens=12,
  )
  assert log.samples[0].output.completion == expected.text
