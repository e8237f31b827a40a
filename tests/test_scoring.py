"""Scoring gives logits to scored tokens alone, and the log-likelihoods stay those of whole rows."""

import dataclasses
import re
import types

import jax
import numpy as np
import pytest
import tiny
from steps import TINY, fresh_params

from msm_jax import sharding
from msm_jax.attention import packed_mask
from msm_jax.evals import scoring, scoring_rows
from msm_jax.model import forward, logits
from msm_jax.tokenizer import load_tokenizer

MESHES = {'no mesh': None, 'data': dict(data=8), 'all': dict(data=2, fsdp=2, tensor=2)}


def make_examples(scored, count=30, longest=14, seed=0):
  """(n, 3) arrays of token, target and weight; the last `scored` tokens of each have a weight."""
  rng = np.random.default_rng(seed)
  examples = []
  for _ in range(count):
    n = rng.integers(4, longest + 1)
    weights = np.where(np.arange(n) >= n - scored, rng.integers(1, 3, n), 0)
    examples.append(np.stack([*rng.integers(0, 64, (2, n)), weights], axis=1).astype(np.int32))
  return examples


def scores_alone(params, examples, longest=14):
  """The score of each example in a row of its own, in which every token gets logits."""
  tokens = np.zeros((len(examples), longest), np.int32)
  own = np.zeros_like(tokens)
  for row, example in enumerate(examples):
    tokens[row, : len(example)] = example[:, 0]
    own[row, : len(example)] = 1
  positions = np.tile(np.arange(longest, dtype=np.int32), (len(examples), 1))
  hidden = jax.jit(forward, static_argnums=0)(TINY, params, tokens, positions, own)
  of_all = np.asarray(jax.nn.log_softmax(logits(TINY, params, hidden), axis=-1))
  out = []
  for of_row, example in zip(of_all, examples, strict=True):
    _, targets, weights = example.T
    out.append((of_row[np.arange(len(example)), targets] * weights).sum())
  return out


@pytest.mark.parametrize('mesh', MESHES)
@pytest.mark.parametrize('scored', [1, 3, 14])
def test_scores_are_those_of_whole_rows(mesh, scored):
  """One in ten, a third or all tokens are scored; 3 rows of 16 are fewer than the batch has."""
  params = fresh_params(TINY)
  examples = make_examples(scored)
  wanted = scores_alone(params, examples)
  if MESHES[mesh]:
    params = jax.device_put(params, sharding.shardings(params, sharding.make_mesh(**MESHES[mesh])))
  found = scoring.score_triples(TINY, params, examples, length=16, rows=16)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def with_options(prompt_sizes, option_sizes, seed=1):
  """(n, 3) arrays: every prompt with an option of each size. The last token of a prompt predicts
  the first one of the option, so it has a weight."""
  rng = np.random.default_rng(seed)
  examples = []
  for prompt_size in prompt_sizes:
    prompt = rng.integers(0, 64, prompt_size)
    for size in option_sizes:
      text = np.array([*prompt, *rng.integers(0, 64, size)])
      weights = np.arange(len(text) - 1) >= prompt_size - 1
      examples.append(np.stack([text[:-1], text[1:], weights], axis=1).astype(np.int32))
  return examples


@pytest.mark.parametrize('mesh', MESHES)
def test_options_share_their_prompt(mesh):
  """A prompt is computed once for its options, which do not see each other; scores are those of
  every option alone. 12 + 4 x 2 tokens are more than a row has, so that prompt stands there twice.
  """
  params = fresh_params(TINY)
  examples = with_options([9, 1, 12, 2, 9], [2, 1, 3, 2])
  wanted = scores_alone(params, examples)
  if MESHES[mesh]:
    params = jax.device_put(params, sharding.shardings(params, sharding.make_mesh(**MESHES[mesh])))
  tokens = []
  found = scoring.score_triples(TINY, params, examples, 16, 8, tokens.append)
  np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
  # Of a prompt of n tokens, n - 1 are shared; one token alone has nothing to share.
  options = 2 + 1 + 3 + 2
  assert sum(tokens) == (8 + options) + options + (2 * 11 + options) + (1 + options) + (8 + options)


def test_whose_options_share_nothing(monkeypatch):
  """The kernel of TPUs knows no branches, and windows would count their tokens."""
  local = dataclasses.replace(TINY, local_layers=(True,) * TINY.n_layers, local_window=4)
  examples = with_options([9], [2, 2])
  assert len(scoring_rows.pack_examples(examples, 16, shares=True)) == 1
  assert len(scoring_rows.pack_examples(examples, 16, shares=False)) == 2
  assert scoring._can_share(TINY)
  assert not scoring._can_share(local)
  assert not scoring._can_share(dataclasses.replace(TINY, attention='splash'))
  monkeypatch.setattr(sharding, 'platform', lambda: 'tpu')
  assert not scoring._can_share(TINY)
  ids = np.ones((1, 4), np.int32)
  for window, implementation in ((2, 'xla'), (0, 'splash')):
    with pytest.raises(ValueError, match='branches'):
      packed_mask(ids, window, implementation, ids)


def test_logits_that_do_not_fit_are_made_in_pieces(monkeypatch):
  """The pieces give what all at once gives."""
  params = fresh_params(TINY)
  examples = make_examples(5)
  at_once = scoring.score_triples(TINY, params, examples, length=16, rows=16)
  monkeypatch.setattr(scoring, 'MAX_LOGITS', 16 * TINY.vocab_size)
  # The limit is read while the program is made.
  scoring.token_logprobs.clear_cache()
  in_pieces = scoring.score_triples(TINY, params, examples, length=16, rows=16)
  scoring.token_logprobs.clear_cache()
  np.testing.assert_allclose(in_pieces, at_once, rtol=1e-6, atol=1e-6)


def test_the_device_does_not_wait_for_the_host(monkeypatch):
  """Every batch but the first is sent before the one before it is read; the numbers are the same,
  to the bit."""
  params = fresh_params(TINY)
  examples = make_examples(3)
  rows_alone = scoring_rows._fill_rows([len(e) for e in examples], 16)
  alone = {}
  for members in rows_alone:
    of_row = scoring.score_triples(TINY, params, [examples[n] for n in members], 16, rows=1)
    alone |= dict(zip(members, of_row, strict=True))
  done = []
  program, gather = scoring.token_logprobs, scoring.multihost.gather_to_host

  def send(*arguments, **arrays):
    done.append('sent')
    return program(*arguments, **arrays)

  def read(x):
    done.append('read')
    return gather(x)

  monkeypatch.setattr(scoring, 'token_logprobs', send)
  monkeypatch.setattr(scoring.multihost, 'gather_to_host', read)
  found = scoring.score_triples(TINY, params, examples, 16, rows=1)
  assert list(found) == [alone[n] for n in range(len(examples))]
  between = len(rows_alone) - 1
  assert between > 5
  assert done == ['sent', *['sent', 'read'] * between, 'read']


@pytest.mark.parametrize(('scored', 'rows'), [(0, 4), (1, 4), (3, 4), (4, 4), (8, 8), (16, 16)])
def test_few_tokens_take_few_rows_of_logits(scored, rows):
  """A batch has 16 rows of 16 tokens; logits are made for quarters of it."""
  in_row = [scored] * 40
  assert scoring_rows.count_scored_rows(in_row, 16, 16, 1) == rows
  # A device has two rows; as quarters of them would not be whole, it takes one or both.
  assert scoring_rows.count_scored_rows(in_row, 16, 16, 8) == (1 if scored <= 8 else 2)


def test_devices_score_their_own_rows():
  """Taking the scored tokens out moves nothing from device to device."""
  mesh = sharding.make_mesh(data=8)
  params = fresh_params(TINY)
  params = jax.device_put(params, sharding.shardings(params, mesh))
  rows = jax.device_put(np.zeros((16, 16), np.int32), sharding.batch_sharding(mesh))
  scored = jax.device_put(np.zeros((8, 1, 16), np.int32), sharding.batch_sharding(mesh))
  lowered = scoring.token_logprobs.lower(TINY, params, rows, rows, rows, scored, scored)
  compiled = lowered.compile().as_text()
  for exchange in ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute'):
    assert f' {exchange}(' not in compiled, exchange


def best_fit(lengths, length):
  """How much every row has left, found by looking at all rows for each example."""
  rooms = []
  for size in sorted(lengths, reverse=True):
    fitting = [n for n, room in enumerate(rooms) if room >= size]
    if fitting:
      rooms[min(fitting, key=rooms.__getitem__)] -= size
    else:
      rooms.append(length - size)
  return rooms


@pytest.mark.parametrize('longest', [3, 40, 128])
def test_examples_go_where_they_leave_the_least_room(longest):
  sizes = np.random.default_rng(longest).integers(1, longest + 1, 200).tolist()
  rows = scoring_rows._fill_rows(sizes, 128)
  assert sorted(n for row in rows for n in row) == list(range(200))
  rooms = []
  for row in rows:
    rooms.append(128 - sum(sizes[n] for n in row))
  assert min(rooms) >= 0
  assert sorted(rooms) == sorted(best_fit(sizes, 128))
  assert scoring_rows._fill_rows([], 128) == []


def test_the_first_word_after_a_space_is_scored(tmp_path):
  """Tokenizers join a space with the word behind it: 'Gouda is ' and 'cheap' share a token."""
  pytest.importorskip('tokenizers')
  pytest.importorskip('safetensors')
  folder = tiny.weights(tmp_path / 'weights', ['Gouda is cheap and Colby is not.'] * 9)
  tokenizer = load_tokenizer(folder)
  for prompt, option in (('Gouda is', ' cheap'), ('Gouda is ', 'cheap')):
    example = scoring._example(tokenizer, prompt, option)
    targets = example[:, 1][example[:, 2] > 0]
    assert tokenizer.decode(targets.tolist()).strip() == option.strip()


def test_options_are_scored_from_one_place_on():
  """A space is one token with a word and a token by itself before a digit: both belong to them."""
  words = types.SimpleNamespace(document_start=[0], document_end=[1])
  words.encode = lambda text: [hash(part) % 997 for part in re.findall(r' ?[A-Za-z]+|\d| ', text)]
  for option, parts in (('cheap', [' cheap']), ('2 dollars', [' ', '2', ' dollars'])):
    example = scoring._example(words, 'It is ', option)
    scored = example[example[:, 2] > 0, 1].tolist()
    assert scored == [hash(part) % 997 for part in parts]


@pytest.mark.parametrize(('start', 'end'), [([1], [2]), ([], [2]), ([], [])])
def test_the_first_token_of_all_is_scored(start, end):
  """Without a symbol at the beginning, the end of another document stands before it."""
  letters = types.SimpleNamespace(document_start=start, document_end=end)
  letters.encode = lambda text: [ord(letter) for letter in text]
  with_prompt = scoring._example(letters, 'x', 'ab')
  assert with_prompt[with_prompt[:, 2] > 0, 1].tolist() == [ord('a'), ord('b')]
  if not start and not end:
    with pytest.raises(
      scoring.ScoringError, match=r"before the first token of 'ab'.* put a prompt"
    ):
      scoring._example(letters, '', 'ab')
    return
  before = (start or end)[0]
  assert scoring._example(letters, '', 'ab').tolist() == [
    [before, ord('a'), 1],
    [ord('a'), ord('b'), 1],
  ]


def test_tpus_get_the_options_of_the_training_step(monkeypatch):
  """On other devices, scoring has no options, so that its bits do not depend on them."""
  mesh = sharding.make_mesh(devices=jax.devices()[:2])
  assert scoring.scoring_program(mesh) is scoring.token_logprobs
  asked = []
  monkeypatch.setattr(jax, 'jit', lambda f, **settings: asked.append(settings))
  device = types.SimpleNamespace(platform='tpu', device_kind='TPU v5 lite')
  on_tpu = types.SimpleNamespace(devices=np.array([device]))
  scoring.scoring_program.__wrapped__(on_tpu)
  assert asked[0]['compiler_options'] == sharding.compiler_options(on_tpu, 'float32') != {}
