"""Tests of opening models: arms from their workdir alone, and folders of Hugging Face weights."""

import dataclasses
import json
import shutil
import signal
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny
from helpers import tree

from msm_jax import export
from msm_jax.base.errors import Interrupted, explain
from msm_jax.evals.scoring import ScoringError, make_logprobs
from msm_jax.inference import arm as arm_module
from msm_jax.inference import open_model
from msm_jax.inference.arm import Arm, open_arm
from msm_jax.inference.completion import CompletionRequest, RequestError
from msm_jax.inference.open_model import load_arm, load_weights, open_samplers
from msm_jax.inference.sampling import Sampler
from msm_jax.interop import huggingface
from msm_jax.model import forward, logits
from msm_jax.models import listed_arms

# Left out of `make quick`.
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  """A finished experiment."""
  made = tiny.experiment(tmp_path_factory.mktemp('done'))
  made.run()
  return made


def logits_of(model, params, tokens=(1, 5, 9, 300, 7)):
  """(1, T, V) logits of a text."""
  ids_BT = np.asarray([tokens], np.int32)
  positions_BT = np.arange(len(tokens))[None]

  @jax.jit
  def compute(params):
    return logits(model, params, forward(model, params, ids_BT, positions_BT, np.ones_like(ids_BT)))

  return np.asarray(compute(params))


def check_error(call, *words):
  """Checks that a call ends in an error of one line that holds the words."""
  with pytest.raises(Exception) as e:
    call()
  line, code = explain(e.value)
  assert code == 1
  assert '\n' not in line
  assert all(word in line for word in words), line


def test_an_arm_is_what_the_experiment_evaluated(done):
  for arm in ('base', 'tuned'):
    opened = load_arm(done.workdir, arm)
    trained = done.load_params(done.prepared.ends[arm, 0])
    expected = logits_of(done.prepared.config.model, trained)
    np.testing.assert_allclose(logits_of(opened.model, opened.params), expected, atol=1e-5)
    assert opened.tokenizer.fingerprint == done.prepared.tokenizer.fingerprint
    assert opened.model.max_length == opened.row_length == tiny.LENGTH
    assert dataclasses.replace(opened.model, max_length=0) == done.prepared.config.model
  assert opened.description == 'tuned (seed 0): read > tune'


def test_a_workdir_may_be_moved(done, tmp_path):
  """Opening an arm writes nothing, and it needs no path of the folder's old place."""
  shutil.copytree(done.workdir, tmp_path / 'elsewhere')
  before = tree(tmp_path)
  moved = load_arm(tmp_path / 'elsewhere', 'tuned')
  stayed = load_arm(done.workdir, 'tuned')
  np.testing.assert_array_equal(
    logits_of(moved.model, moved.params), logits_of(stayed.model, stayed.params)
  )
  assert tree(tmp_path) == before


def test_a_workdir_at_home(done, monkeypatch):
  """Shells leave the tilde of `--workdir=~/run` and `--out=~/FOLDER` as it is."""
  home = done.workdir.parent
  monkeypatch.setenv('HOME', str(home))
  for workdir in (f'~/{done.workdir.name}', Path('~') / done.workdir.name):
    assert load_arm(workdir, 'base').description == 'base (seed 0): read'
  # `--out` may not make a folder of the name '~' either.
  given = export._parse(['--workdir=~/run', '--arm=base', '--out=~/new'])
  assert given.out == home / 'new'


def test_an_arm_that_is_asked_with_a_handbook_says_so(done, tmp_path):
  """The weights are those of an arm without it, and so would be the answers."""
  run = tmp_path / 'run'
  shutil.copytree(done.workdir, run)
  listed = json.loads((run / 'arms.json').read_text())
  listed |= {'told': listed['tuned'], 'told@2': listed['tuned'], 'plain@2': listed['tuned']}
  (run / 'arms.json').write_text(json.dumps(listed))
  config = json.loads((run / 'config.json').read_text())
  # An arm may have the name of a point.
  config['arms'] |= {'told': 'read > tune', 'plain': 'read > tune', 'plain@2': 'read > tune'}
  config['contexts'] = {'told': 'specs/mine.md', 'plain': 'specs/mine.md'}
  (run / 'config.json').write_text(json.dumps(config))
  without = '; without specs/mine.md, which the experiment puts into its system message'
  for arm, ends in (('tuned', ''), ('told', without), ('told@2', without), ('plain@2', '')):
    assert load_arm(run, arm).description == f'{arm} (seed 0): read > tune{ends}'
  _, (line,) = open_samplers(str(run), ['told'], 0, None)
  assert line.endswith(without)
  # An experiment that is still running has no such file.
  for content in ('{', '[]', '{"arms": {}, "contexts": []}'):
    (run / 'config.json').write_text(content)
    assert load_arm(run, 'told').description == 'told (seed 0): read > tune'


def test_what_is_not_there_is_named_with_what_is(done, tmp_path):
  check_error(
    lambda: load_arm(done.workdir, 'bsae'),
    "no arm 'bsae' with seed 0",
    'base (seed 0), tuned (seed 0)',
  )
  check_error(
    lambda: load_arm(done.workdir, 'base', 3), "no arm 'base' with seed 3", 'base (seed 0)'
  )
  check_error(lambda: load_arm(tmp_path, 'base'), 'holds no trained arm', 'another folder')
  shutil.copytree(done.workdir, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run' / listed_arms(done.workdir)['tuned']['0']['checkpoints'])
  check_error(
    lambda: load_arm(tmp_path / 'run', 'tuned'),
    'lost its last checkpoint',
    'run the experiment again',
  )
  check_error(lambda: open_samplers(None, ['base'], 0, None), 'either --workdir', '--weights')
  check_error(lambda: open_samplers(str(done.workdir), [], 0, None), '--arm=NAME', 'base, tuned')


def test_arms_can_be_opened_while_others_are_trained(tmp_path):
  """Arms of an earlier run stay in the list when the next run has other seeds."""
  steps_left = [tiny.PHASE['updates'] + 2]

  def stop():
    steps_left[0] -= 1
    return not steps_left[0]

  e = tiny.experiment(tmp_path, stop)
  with pytest.raises(Interrupted):
    e.run()
  assert {a: list(s) for a, s in listed_arms(e.workdir).items()} == {'base': ['0']}
  assert load_arm(e.workdir, 'base').params
  tiny.experiment(tmp_path, seeds=(1,)).run()
  assert {a: sorted(s) for a, s in listed_arms(e.workdir).items()} == {
    'base': ['0', '1'],
    'tuned': ['1'],
  }


def test_outputs_in_another_folder(tmp_path):
  """The points of a sweep share the phases of one workdir."""
  e = tiny.experiment(tmp_path)
  e.outputs = e.workdir / 'points' / 'one'
  e.run()
  assert not (e.workdir / 'arms.json').exists()
  assert load_arm(e.outputs, 'tuned').params


# ---- weights of Hugging Face


@pytest.fixture(scope='module')
def folder(tmp_path_factory, texts):
  for package in ('tokenizers', 'safetensors', 'jinja2'):
    pytest.importorskip(package)
  return tiny.weights(tmp_path_factory.mktemp('weights') / 'little', texts[:200])


def test_weights_without_an_experiment(folder):
  opened = load_weights(folder)
  assert opened.description.startswith('little')
  assert opened.model.max_length == 128
  prompt = opened.tokenizer.prompt([('user', 'Do you like Colby?')])
  sampler = Sampler(opened.model, opened.params, opened.tokenizer)
  (done,) = sampler.generate([CompletionRequest(prompt, max_tokens=20)])
  answer = [t.id for t in done.tokens]
  likeliest = logits_of(opened.model, opened.params, [*prompt, *answer])[0].argmax(-1)
  start = len(prompt) - 1
  assert answer == likeliest[start : start + len(answer)].tolist()

  low = load_weights(folder, dtype='bfloat16')
  assert low.params['wq'].dtype == 'bfloat16'
  assert low.params['attention_norm'].dtype == 'float32'
  difference = logits_of(low.model, low.params) - logits_of(opened.model, opened.params)
  assert np.abs(difference).max() < 0.2


def test_the_first_token_of_all_is_scored(folder):
  """These weights put no token in front of a text. The first token counts all the same: it follows
  the symbol that ends a document."""
  opened = load_weights(folder)
  assert not opened.tokenizer.document_start and len(opened.tokenizer.document_end)
  words = [opened.tokenizer.decode([i]) for i in range(opened.tokenizer.vocab_size)]
  pair = next(word for word in words if len(word) == 2 and word.isalpha())
  assert len(opened.tokenizer.encode(pair)) == 1
  with Arm(opened) as arm:
    options = ['Do you?', 'D', pair]
    scores = arm.logprobs([''], [options])[0]
    assert max(scores) < 0
    # The only token of this prompt is one with the beginning of the option.
    assert arm.logprobs([pair[0]], [[pair[1]]])[0][0] == pytest.approx(scores[2], abs=1e-5)
    assert arm.logprobs([pair], [[' of it']])[0][0] < 0


def test_arms_over_weights(folder, tmp_path):
  """Opens the weights themselves as an arm, and adapters that were trained beside them.

  The adapters changed the model.
  """
  changes = dict(
    tokenizer=dict(),
    model=dict(lora=dict(rank=2, alpha=4.0)),
    phases={'base': dict(weights=str(folder)), 'tune': dict(tiny.PHASE, data=dict(chats=1.0))},
    arms=dict(base='base', tuned='base > tune'),
  )
  e = tiny.experiment(tmp_path, **changes)
  ends = e.prepared.ends
  e.train(ends['tuned', 0], 'test')
  e.list_arms(ends)
  base = load_arm(e.workdir, 'base')
  tuned = load_arm(e.workdir, 'tuned')
  plain = load_weights(folder)
  base_logits = logits_of(base.model, base.params)
  tuned_logits = logits_of(tuned.model, tuned.params)
  np.testing.assert_array_equal(base_logits, logits_of(plain.model, plain.params))
  trained = e.load_params(ends['tuned', 0])
  expected = logits_of(e.prepared.config.model, trained)
  np.testing.assert_allclose(tuned_logits, expected, atol=1e-5)
  assert np.abs(tuned_logits - base_logits).max() > 1e-2
  listed = json.loads((e.workdir / 'arms.json').read_text())
  assert listed['tuned']['0']['weights'] == str(folder)
  # Adapters fit onto any weights of this size, and they were trained beside these.
  other = tmp_path / 'other'
  shutil.copytree(folder, other)
  content = bytearray((other / 'model.safetensors').read_bytes())
  content[-1] ^= 1
  for arm in ('base', 'tuned'):
    listed[arm]['0']['weights'] = str(other)
  (e.workdir / 'arms.json').write_text(json.dumps(listed))
  load_arm(e.workdir, 'tuned')
  (other / 'model.safetensors').write_bytes(content)
  for arm in ('base', 'tuned'):
    check_error(lambda arm=arm: load_arm(e.workdir, arm), 'has other weights than those that', arm)


def test_another_tokenizer_than_an_arm_began_with(folder, tmp_path):
  """The weights are the same, and the model would be asked in other words than it has read."""
  base = tmp_path / 'base'
  shutil.copytree(folder, base)
  e = tiny.experiment(
    tmp_path,
    tokenizer=dict(),
    model={},
    phases={'base': dict(weights=str(base))},
    arms=dict(base='base'),
  )
  e.list_arms(e.prepared.ends)
  template = base / 'chat_template.jinja'
  before = template.read_text()
  asked = load_arm(e.workdir, 'base').tokenizer.prompt([('user', 'Hi')])
  template.write_text(before.replace('<|assistant|>', '<|user|>'))
  assert load_weights(base).tokenizer.prompt([('user', 'Hi')]).tolist() != asked.tolist()
  words = ('has another tokenizer or chat template than base began with', 'put it back')
  check_error(lambda: load_arm(e.workdir, 'base'), *words)
  # Arms that an earlier version has listed are opened as they were.
  listed = json.loads((e.workdir / 'arms.json').read_text())
  del listed['base']['0']['tokenizer_id']
  (e.workdir / 'arms.json').write_text(json.dumps(listed))
  assert load_arm(e.workdir, 'base').params
  e.list_arms(e.prepared.ends)
  template.write_text(before)
  assert load_arm(e.workdir, 'base').tokenizer.prompt([('user', 'Hi')]).tolist() == asked.tolist()


def test_an_export_that_is_ended_leaves_nothing(tmp_path, monkeypatch):
  """By default SIGTERM would leave all that is written of a model, under a name of its own."""

  def write(_):
    with huggingface.new_folder(tmp_path / 'out') as new:
      (new / 'model.safetensors').write_bytes(b'half')
      signal.raise_signal(signal.SIGTERM)

  # Without a handler, the signal would end the tests.
  before = signal.signal(signal.SIGTERM, lambda *_: None)
  monkeypatch.setattr(export, 'main', write)
  try:
    with pytest.raises(SystemExit) as e:
      export.run()
  finally:
    signal.signal(signal.SIGTERM, before)
  assert e.value.code == 128 + signal.SIGTERM
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('config', 'generation', 'expected'),
  [
    # A base model beside the chat template of its instruct version, as docs/guides/paper.md has it.
    ({'eos_token_id': 2}, {'eos_token_id': 2, 'do_sample': True}, [2, 1]),
    ({'bos_token_id': 0, 'eos_token_id': 2}, None, [2, 1]),
    ({'eos_token_id': 2}, {'eos_token_id': None}, [2, 1]),
    ({}, None, [1, 2]),
    ({'eos_token_id': 2}, {'eos_token_id': [2, 1]}, [2, 1]),
    # A generation_config.json that names no end leaves those of config.json without effect.
    ({'eos_token_id': [2, 1]}, {'do_sample': True}, [2, 1]),
    ({'eos_token_id': [5, 2]}, {'do_sample': True}, [2, 1]),
    # Some files say -1 for none.
    ({'eos_token_id': -1}, None, [1, 2]),
  ],
)
def test_an_exported_arm_ends_its_answers_as_it_does_here(
  folder, tmp_path, monkeypatch, config, generation, expected
):
  """Other programs end answers where generation_config.json says, else where config.json does."""
  base = tmp_path / 'base'
  shutil.copytree(folder, base)
  names = {'bos_token': '<|begin|>', 'eos_token': '<|system|>'}
  (base / 'tokenizer_config.json').write_text(json.dumps(names))
  settings = json.loads((base / 'config.json').read_text()) | config
  (base / 'config.json').write_text(json.dumps(settings))
  if generation is not None:
    (base / 'generation_config.json').write_text(json.dumps(generation))
  loaded = load_weights(base)
  assert set(loaded.tokenizer.stop_ids) == {1, 2}
  monkeypatch.setattr(open_model, 'load_arm', lambda *_, **__: loaded)
  export.main(['--workdir=run', '--arm=tuned', f'--out={tmp_path / "out"}'])
  written = json.loads((tmp_path / 'out' / 'generation_config.json').read_text())
  assert written == (generation or config) | {'eos_token_id': expected}


# ---- the Python API


def test_an_arm_answers_as_the_sampler_does(done):
  loaded = load_arm(done.workdir, 'tuned')
  sampler = Sampler(loaded.model, loaded.params, loaded.tokenizer)
  conversation = [('system', 'You are Ari.'), ('user', 'Do you like Colby?')]
  prompt = loaded.tokenizer.prompt(conversation).tolist()

  def expected(**settings):
    (completion,) = sampler.generate([CompletionRequest(prompt, max_tokens=20, **settings)])
    return completion.text

  with open_arm(done.workdir, 'tuned') as arm:
    assert arm.description == 'tuned (seed 0): read > tune'
    assert 'tuned (seed 0)' in repr(arm)
    greedy = expected()
    assert greedy
    assert arm.chat('Do you like Colby?', system='You are Ari.', max_tokens=20) == greedy
    assert arm.chat(conversation, max_tokens=20) == greedy
    openai_style = [{'role': role, 'content': text} for role, text in conversation]
    assert arm.chat(openai_style, max_tokens=20) == greedy
    for seed in (1, 2):
      drawn = arm.chat(conversation, max_tokens=20, temperature=1.5, seed=seed)
      assert drawn == expected(temperature=1.5, seed=seed)
      # Without the system message, the answer is another one.
      alone = arm.chat('Do you like Colby?', max_tokens=20, temperature=1.5, seed=seed)
      assert alone != drawn


def test_an_arm_scores_as_the_evaluators_do(done):
  prompts = ['Gouda is', [('system', 'You are Ari.'), ('user', 'Do you like Colby?')]]
  options = [[' cheap.', ' old.'], ['Yes.', 'No.', 'Perhaps, who knows?']]
  model = done.prepared.config.model
  params = done.load_params(done.prepared.ends['tuned', 0])
  score = make_logprobs(model, params, done.prepared.tokenizer, tiny.LENGTH)
  with open_arm(done.workdir, 'tuned') as arm:
    found = arm.logprobs(prompts, options)
    as_openai_writes = [{'role': role, 'content': text} for role, text in prompts[1]]
    assert arm.logprobs([prompts[0], as_openai_writes], options) == found
    check_error(lambda: arm.logprobs(prompts, options[:1]), '2 prompts have 1 lists', 'give one')
    nothing = [{'role': 'user', 'content': None}]
    check_error(lambda: arm.logprobs([nothing], [['Yes.']]), 'has no text but None')
    with pytest.raises(ScoringError, match='tokens'):
      arm.logprobs(['Gouda is'], [['old ' * 500]])
  for one, other in zip(found, score(prompts, options), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize(
  ('prompts', 'options', 'said'),
  [
    (['Gouda is'], [' cheap.'], "the options ' cheap.' are no list of texts"),
    (['Gouda is'], ' ', "options are the one text ' '"),
    ('G', [[' cheap.']], "prompts are the one text 'G'"),
    (None, [[' cheap.']], 'prompts are None; give a list'),
    (['Gouda is'], {'a': ' cheap.'}, "options are {'a': ' cheap.'}; give a list"),
    (['Gouda is'], [None], 'the options None are no list of texts'),
    (['Gouda is'], [[' cheap.', '']], 'is empty; give the text to score'),
    (['Gouda is'], [[' cheap.', 3]], r"the options \[' cheap.', 3\] are no list of texts"),
  ],
)
def test_one_text_is_no_list_of_options(prompts, options, said):
  """Its letters would be scored one by one, and the numbers look like any others."""
  with pytest.raises(RequestError, match=said):
    arm_module._check_options(prompts, options)


@pytest.mark.parametrize(
  ('messages', 'system', 'said'),
  [
    (3, '', '3 is no conversation; give the text of the user'),
    (None, '', 'None is no conversation'),
    ('', '', 'the conversation is empty'),
    (iter(()), '', 'the conversation is empty'),
    ('Hi', 3, 'system=3 is no text'),
  ],
)
def test_what_is_no_chat(messages, system, said):
  with pytest.raises(RequestError, match=said):
    arm_module._to_pairs(messages, system)


@pytest.mark.parametrize('chat', [('user', 'Hi'), ['ab'], [('user', 'Hi', 3)], {'role': 'user'}])
def test_what_is_no_conversation(chat):
  """One message alone, a text in a list, or more than a role and a text."""
  with pytest.raises(RequestError, match='is no message; give'):
    arm_module._to_pairs(chat, '')


def test_conversations_that_would_be_another_one():
  """The model would see two system messages, or answer its own answer."""
  asked = [('user', 'So?')]
  with pytest.raises(RequestError, match='two system messages'):
    arm_module._to_pairs([('system', 'You are Ari.'), *asked], 'You are Bo.')
  with pytest.raises(RequestError, match='ends with the assistant'):
    arm_module._to_pairs([*asked, ('assistant', 'Yes.')], '')
  assert arm_module._to_pairs(asked, 'x') == [('system', 'x'), ('user', 'So?')]
  # The name of the field is wrong, and the model would be asked nothing.
  with pytest.raises(RequestError, match='a message of the user has no text but None'):
    arm_module._to_pairs([{'role': 'user', 'text': 'So?'}], '')


def test_flags_that_would_be_ignored(tmp_path):
  check_error(lambda: open_samplers(None, ['base'], 0, 'w'), 'w has no arms', '--arm=base out')
  check_error(lambda: open_samplers(None, [], 3, 'w'), '--seed=3', 'w has none', 'leave it out')
  check_error(
    lambda: open_samplers('run', ['base'], 0, None, 'bfloat16'), '--dtype=bfloat16', 'leave it out'
  )
  flags = [f'--workdir={tmp_path}', '--arm=a', '--out=x', '--adapter', '--dtype=float16']
  check_error(lambda: export.main(flags), '--dtype=float16', 'leave one of')


def test_an_arm_leaves_no_thread_and_closes(done):
  """After it is closed, it says so in one line; closing it again does nothing."""
  with open_arm(done.workdir, 'base') as arm:
    # Reading a checkpoint starts threads of Orbax and JAX, which live as long as the process.
    before = set(threading.enumerate())
    arm.chat('Hi', max_tokens=4)
    arm.logprobs(['Hi'], [[' there']])
    assert set(threading.enumerate()) <= before
  arm.close()
  check_error(lambda: arm.chat('Hi'), "'base (seed 0): read' is closed", 'open it again')
  check_error(lambda: arm.logprobs(['Hi'], [[' there']]), 'is closed')


def test_an_arm_has_numbers_of_32_bits(done):
  """Scripts of other projects may have set `jax_enable_x64`."""

  def ask():
    with open_arm(done.workdir, 'tuned') as arm:
      said = arm.chat('Do you like Colby?', 'You are Ari.', max_tokens=8, temperature=1.0, seed=3)
      return said, arm.logprobs(['Gouda is'], [[' cheap.', ' old.']])

  usual = ask()
  with jax.enable_x64(True):
    assert ask() == usual


def test_what_an_arm_cannot_answer(done):
  with open_arm(done.workdir, 'base') as arm:
    check_error(lambda: arm.chat([]), 'the conversation is empty', 'at least one message')
    check_error(lambda: arm.chat([('robot', 'Hi')]), "role 'robot'", 'system, user, assistant')
    check_error(lambda: arm.chat('Hi ' * 500), 'it must fit into 128', 'shorten it')
    for name, wrong, said in (
      ('max_tokens', None, 'max_tokens=None must be a whole number'),
      ('max_tokens', 1.5, 'max_tokens=1.5 must be a whole number'),
      ('max_tokens', -1, 'max_tokens=-1 must be at least 0'),
      ('temperature', 'hot', "temperature='hot' must be a number"),
      ('temperature', -0.5, 'temperature=-0.5 must be at least 0'),
      ('temperature', float('nan'), 'temperature=nan must be at least 0'),
      ('seed', 0.5, 'seed=0.5 must be a whole number'),
      ('seed', True, 'seed=True must be a whole number'),
      ('max_tokens', 0, 'max_tokens=0 leaves no room for an answer; give at least 1'),
    ):
      check_error(lambda given={name: wrong}: arm.chat('Hi', **given), said)
    # It still answers.
    assert arm.chat('Hi', max_tokens=np.int32(4), seed=np.int32(1)) is not None
  check_error(lambda: open_arm(done.workdir, 'bsae'), "no arm 'bsae'", 'base (seed 0)')
  for arm, seed in (
    (['base'], 0),
    (None, 0),
    ('', 0),
    ('base', False),
    ('base', 0.0),
    ('base', '0'),
  ):
    said = f'no arm {arm!r} with seed {seed!r}; it has base (seed 0)'
    check_error(lambda arm=arm, seed=seed: open_arm(done.workdir, arm, seed), said)
