"""Tests of sampling.

Decoding with a cache is compared with full forward passes, draws with exact distributions, and each
request of a batch with itself alone.
"""

import dataclasses
import functools
import queue

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.errors import explain
from msm_jax.config import ModelConfig
from msm_jax.inference import batch, decoding
from msm_jax.inference.batch import SamplingError
from msm_jax.inference.completion import Completion, CompletionRequest, RequestError, TextStream
from msm_jax.inference.decoding import Rows
from msm_jax.inference.engine import Engine
from msm_jax.inference.sampling import Sampler
from msm_jax.tokenizer import Tokenizer

# Left out of `make quick`.
pytestmark = pytest.mark.slow

# Shapes: N requests, T tokens, V vocabulary.
TINY = ModelConfig(
  d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, d_ff=48, vocab_size=64
)
CONFIGS = {
  'unrolled': TINY,
  'scanned': dataclasses.replace(TINY, scan_layers=True, tie_embeddings=False),
  'with windows': dataclasses.replace(
    TINY,
    n_layers=3,
    qk_norm=True,
    post_norms=True,
    local_layers=(True, True, False),
    local_window=5,
    logit_softcap=9.0,
  ),
}
STOPS = (3, 17, 30, 45)


class Letters(Tokenizer):
  """A tokenizer with one character for each token."""

  vocab_size = 64
  document_start = [1]  # noqa: RUF012
  document_end = [2]  # noqa: RUF012
  stop_ids = STOPS

  def encode(self, text):
    return [ord(c) - 64 for c in text]

  def decode(self, ids):
    return ''.join(chr(64 + int(i)) for i in ids)


def make_params(c, seed=0):
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(functools.partial(models.init_params, c), jax.random.key(0))
  params = {}
  for name, x in shapes.items():
    mean = 1 if name.endswith('norm') else 0
    params[name] = (mean + rng.normal(0, 0.3, x.shape)).astype(np.float32)
  return params


def make_prompts(n, longest=50, seed=1):
  rng = np.random.default_rng(seed)
  return [rng.integers(4, 64, rng.integers(1, longest)).tolist() for _ in range(n)]


def make_sampler(c=TINY, max_length=128, max_rows=32, stop_ids=None):
  return Sampler(c, make_params(c), Letters(), max_length, max_rows, stop_ids)


def ids(completion):
  return [t.id for t in completion.tokens]


@functools.partial(jax.jit, static_argnums=0)
def full_logprobs(c, params, tokens_NT, segments_NT):
  positions_NT = jnp.broadcast_to(jnp.arange(tokens_NT.shape[1]), tokens_NT.shape)
  x_NTD = models.forward(c, params, tokens_NT, positions_NT, segments_NT)
  return jax.nn.log_softmax(models.logits(c, params, x_NTD))


def forward_passes(c, completions):
  """(N, T, V) log-probabilities of prompts and answers by full passes without a cache."""
  tokens_NT = np.zeros((len(completions), 128), np.int32)
  segments_NT = np.zeros((len(completions), 128), np.int32)
  for n, completion in enumerate(completions):
    text = [*completion.request.prompt, *ids(completion)]
    tokens_NT[n, : len(text)] = text
    segments_NT[n, : len(text)] = 1
  return np.asarray(full_logprobs(c, make_params(c), tokens_NT, segments_NT))


@pytest.mark.parametrize('name', CONFIGS)
def test_greedy_equals_full_forward_passes(name):
  """Answers 50 prompts of different lengths, more than there are rows.

  Every token is the likeliest after those in front of it, stop tokens end answers, and all
  log-probabilities are the model's.
  """
  c = CONFIGS[name]
  prompts = make_prompts(50)
  requests = []
  for n, prompt in enumerate(prompts):
    requests.append(CompletionRequest(prompt, max_tokens=25, top_logprobs=3, echo=n % 4 == 0))
  done = make_sampler(c).generate(requests)
  full_NTV = forward_passes(c, done)
  assert {x.finish_reason for x in done} == {'stop', 'length'}
  for x, prompt, full_TV in zip(done, prompts, full_NTV, strict=True):
    after_TV = full_TV[len(prompt) - 1 :]
    expected = after_TV[: len(x.tokens)].argmax(-1).tolist()
    assert ids(x) == expected
    if x.finish_reason == 'stop':
      assert after_TV[len(x.tokens)].argmax() in STOPS and x.made == len(x.tokens) + 1
    else:
      assert x.made == len(x.tokens) == 25
    for t, token in enumerate(x.tokens):
      best = np.argsort(-after_TV[t])[:3]
      assert [i for i, _ in token.top] == best.tolist()
      reported = [token.logprob, *(logprob for _, logprob in token.top)]
      np.testing.assert_allclose(reported, after_TV[t][[token.id, *best]], atol=1e-4)
    assert bool(x.prompt_tokens) == x.request.echo
    for t, token in enumerate(x.prompt_tokens[1:]):
      np.testing.assert_allclose(token.logprob, full_TV[t, prompt[t + 1]], atol=1e-4)
      assert token.top[0][0] == full_TV[t].argmax()
    assert x.text == Letters().decode(ids(x))


def drawn(sampler, requests):
  return [(ids(x), x.text, x.finish_reason) for x in sampler.generate(requests)]


def test_neighbours_change_nothing():
  """A request draws the same tokens whatever else is in the batch.

  Alone, together, in another order, with few rows, or when it joins others in the middle.
  """
  requests = [
    CompletionRequest(p, max_tokens=30, temperature=1.0, top_p=0.95, seed=n)
    for n, p in enumerate(make_prompts(12))
  ]
  sampler = make_sampler()
  alone = [drawn(sampler, [r])[0] for r in requests]
  assert len({tuple(a[0]) for a in alone}) == 12
  assert drawn(sampler, requests) == alone
  assert drawn(sampler, requests[::-1]) == alone[::-1]
  assert drawn(make_sampler(max_rows=3), requests) == alone
  late = []
  for r in requests:
    late.append(sampler.submit(r))
    sampler.round()
  while sampler.busy:
    sampler.round()
  assert [(ids(x), x.text, x.finish_reason) for x in late] == alone
  assert drawn(sampler, [dataclasses.replace(requests[0], seed=99)])[0] != alone[0]


def test_long_prompts_are_read_in_parts(monkeypatch):
  # No other test has this size: programs keep the chunk that they were compiled with.
  c = dataclasses.replace(TINY, d_ff=44)
  requests = [CompletionRequest(p, max_tokens=5, echo=True) for p in make_prompts(6, longest=100)]
  monkeypatch.setattr(decoding, 'PREFILL_CHUNK', 16)
  done = make_sampler(c).generate(requests)
  for x, full_TV in zip(done, forward_passes(c, done), strict=True):
    n = len(x.request.prompt)
    assert ids(x) == full_TV[n - 1 : n - 1 + len(x.tokens)].argmax(-1).tolist()
    expected = full_TV[np.arange(n - 1), x.request.prompt[1:]]
    found = [t.logprob for t in x.prompt_tokens[1:]]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_parameters_may_be_sharded():
  requests = []
  for prompt in make_prompts(5):
    for temperature in (0.0, 1.0):
      requests.append(CompletionRequest(prompt, max_tokens=20, temperature=temperature, seed=5))
  expected = drawn(make_sampler(), requests)
  for sizes in (dict(data=2, fsdp=2, tensor=2), dict(data=1, fsdp=1, tensor=8)):
    mesh = sharding.make_mesh(**sizes)
    params = jax.device_put(make_params(TINY), sharding.shardings(make_params(TINY), mesh))
    assert drawn(Sampler(TINY, params, Letters(), 128), requests) == expected, sizes


# ---- draws


def top_p_by_sorting(probs, top_p):
  """The ids that `top_p_mask` keeps, computed in the usual way."""
  order = np.argsort(-probs)
  return order[: np.searchsorted(np.cumsum(probs[order]), top_p) + 1]


def fits(counts, probs):
  """A chi-squared test. Rare outcomes are counted as one."""
  wanted = probs * counts.sum()
  rare = wanted < 5
  observed = np.array([*counts[~rare], counts[rare].sum()])
  expected = np.array([*wanted[~rare], wanted[rare].sum()])
  return stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3


@pytest.mark.parametrize('temperature, top_p', [(1.0, 1.0), (0.6, 1.0), (1.5, 0.8), (1.0, 0.3)])
def test_draws_have_the_exact_distribution(temperature, top_p):
  """Compares 20,000 draws with probabilities that are computed here.

  Their counts pass a chi-squared test, and nothing comes from outside the top_p set.
  """
  n = 20_000
  logits = np.random.default_rng(0).normal(0, 1.5, 50).astype(np.float32)
  probs = np.exp(logits.astype(np.float64) / temperature)
  probs /= probs.sum()
  kept = top_p_by_sorting(probs, top_p)
  wanted = np.zeros(50)
  wanted[kept] = probs[kept] / probs[kept].sum()
  rows = Rows(
    token=jnp.zeros(n, jnp.int32),
    position=None,
    remaining=None,
    seed=jnp.arange(n, dtype=jnp.uint32),
    temperature=jnp.full(n, temperature, jnp.float32),
    top_p=jnp.full(n, top_p, jnp.float32),
  )
  positions = jnp.full(n, 7, jnp.int32)
  drawn_ids = jax.jit(decoding.sample_tokens)(jnp.tile(logits, (n, 1)), rows, positions)
  found = np.bincount(drawn_ids, minlength=50)
  assert found[wanted == 0].sum() == 0
  assert (wanted > 0).sum() == len(kept)
  assert fits(found, wanted)


def test_draws_through_the_sampler():
  """The same test through prompts and rows; every fourth request is greedy."""
  prompt = make_prompts(1)[0]
  requests = []
  for k in range(600):
    temperature = 0.0 if k % 4 == 0 else 1.3
    requests.append(
      CompletionRequest(prompt, max_tokens=1, temperature=temperature, top_p=0.9, seed=k)
    )
  done = make_sampler(stop_ids=()).generate(requests)
  logits = forward_passes(TINY, done[:1])[0, len(prompt) - 1].astype(np.float64) / 1.3
  probs = np.exp(logits) / np.exp(logits).sum()
  kept = top_p_by_sorting(probs, 0.9)
  assert {ids(x)[0] for x in done[::4]} == {int(probs.argmax())}
  found = np.bincount([ids(x)[0] for k, x in enumerate(done) if k % 4], minlength=64)
  assert found[kept].sum() == found.sum() and fits(found[kept], probs[kept] / probs[kept].sum())


def test_top_p_of_nothing_takes_the_likeliest():
  """Tokens that are equally likely stay together."""
  probs = jnp.asarray([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
  smallest = decoding.top_p_mask(probs, jnp.asarray([1e-9, 1e-9]))
  assert smallest.tolist() == [[False, True, False], [True, True, False]]
  larger = decoding.top_p_mask(probs, jnp.asarray([0.5, 0.81]))
  assert larger.tolist() == [[False, True, False], [True, True, True]]


def test_the_coldest_draw_is_the_likeliest():
  sampler = make_sampler()
  prompts = make_prompts(4)
  greedy = drawn(sampler, [CompletionRequest(p, max_tokens=10) for p in prompts])
  for cold in (1e-30, 1e-4, 2e-4):
    requests = [CompletionRequest(p, max_tokens=10, temperature=cold, top_p=0.5) for p in prompts]
    assert drawn(sampler, requests) == greedy


# ---- programs


def test_one_program_per_bucket():
  """Programs are compiled once per bucket of rows, slots and prompt lengths, whatever is asked."""
  # No other test has this size, so nothing is compiled for it yet.
  c = dataclasses.replace(TINY, d_ff=40)
  sampler = make_sampler(c)

  def counted():
    return np.array([decoding.decode._cache_size(), decoding.prefill._cache_size()])

  prompts = make_prompts(8, longest=17)
  kinds = [
    dict(),
    dict(temperature=1.0),
    dict(temperature=0.5, top_p=0.5),
    dict(top_logprobs=5),
    dict(stop=('AB',)),
    dict(seed=9, temperature=2.0),
  ]
  before = counted()
  for settings in kinds:
    sampler.generate([CompletionRequest(p, max_tokens=10, **settings) for p in prompts])
  assert (counted() - before).tolist() == [1, 1]
  # Fewer requests are another bucket of rows.
  sampler.generate([CompletionRequest(p, max_tokens=10) for p in prompts[:3]])
  assert (counted() - before).tolist() == [2, 2]
  # Scoring prompts needs another program to read them.
  sampler.generate([CompletionRequest(p, max_tokens=10, echo=True) for p in prompts])
  assert (counted() - before).tolist() == [2, 3]


# ---- text


def test_a_stop_string_ends_the_text_and_no_part_of_it_is_reported():
  sampler = make_sampler(stop_ids=())
  request = CompletionRequest(make_prompts(1)[0], max_tokens=40)
  whole = sampler.generate([request])[0]
  assert whole.finish_reason == 'length' and len(whole.text) == 40
  stop = whole.text[17:21]
  at = whole.text.index(stop)
  # This one begins like the text and goes on differently.
  never = whole.text[at - 3 : at] + '~'
  request = dataclasses.replace(request, stop=(stop, never))
  pieces = [p for _, p in sampler.stream([request])]
  assert ''.join(p.text for p in pieces) == whole.text[:at]
  assert [t.id for p in pieces for t in p.tokens] == ids(whole)[:at]
  assert [p.finish_reason for p in pieces] == [''] * (len(pieces) - 1) + ['stop']
  alone = sampler.generate([request])[0]
  assert alone.text == whole.text[:at]
  assert ids(alone) == ids(whole)[:at]
  assert alone.finish_reason == 'stop'
  assert alone.made == at + len(stop)


def test_streams_say_what_whole_answers_say():
  sampler = make_sampler()
  requests = []
  for n, prompt in enumerate(make_prompts(9)):
    requests.append(CompletionRequest(prompt, max_tokens=30, temperature=1.0, seed=n))
  texts, reasons = [''] * 9, [''] * 9
  for n, piece in sampler.stream(requests):
    # Nothing comes after the last piece.
    assert not reasons[n]
    texts[n] += piece.text
    reasons[n] = piece.finish_reason
  for text, reason, whole in zip(texts, reasons, sampler.generate(requests), strict=True):
    assert (text, reason) == (whole.text, whole.finish_reason)


def test_characters_of_several_tokens_come_whole(tokenizer):
  text = 'Käse \u2581 für 3 €, 🧀! \n\t日本'
  tokens = tokenizer.encode(text)
  assert len(tokens) > len(text)
  stream = TextStream(tokenizer, [5, *tokenizer.encode('Before')])
  pieces = [stream.feed(t) for t in tokens] + [stream.flush()]
  assert ''.join(pieces) == text
  assert not any('\ufffd' in p for p in pieces)
  stream = TextStream(tokenizer)
  half = ''.join(stream.feed(t) for t in tokenizer.encode('a🧀')[:-1])
  assert half == 'a'
  # What is left of the character comes in the end.
  assert stream.flush().strip('\ufffd') == ''


# Characters of two, three and four bytes.
CHARACTERS = '\u00e4\u00df\u20ac\u65e5\U0001f9c0'
# A byte that is no character by itself.
STRAY = 0xA4


class Vocabulary(Letters):
  """Tokens by their names, which a decoder of Hugging Face makes text of. Token 0 has no text."""

  def __init__(self, names, decoder):
    self.names = ['<s>', *names]
    self.decoder = decoder

  def decode(self, ids):
    return self.decoder.decode([self.names[i] for i in ids if i])


def streamed_tokens(kind, tokenizer):
  """A tokenizer that is made of one (SentencePiece) or as Hugging Face has them.

  Returns:
    (the tokenizer, ids of words, byte -> id, the id of a control symbol)
  """
  used = sorted(set(CHARACTERS.encode()))
  names = [f'<0x{byte:02X}>' for byte in used]
  if kind == 'sentencepiece':
    ids = [tokenizer.processor.piece_to_id(name) for name in names]
    words = tokenizer.encode(' the  cheese')
    return tokenizer, words, dict(zip(used, ids, strict=True)), tokenizer.end_of_turn
  tokenizers = pytest.importorskip('tokenizers')
  decoders = tokenizers.decoders
  if kind == 'bytes':
    cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = {}
    for character in CHARACTERS:
      letters |= dict(zip(character.encode(), cut.pre_tokenize_str(character)[0][0], strict=True))
    names, space, decoder = [letters[byte] for byte in used], '\u0120', decoders.ByteLevel()
  else:
    space = '\u2581'
    steps = [decoders.Replace(space, ' '), decoders.ByteFallback(), decoders.Fuse()]
    decoder = decoders.Sequence([*steps, decoders.Strip(content=' ', left=1)])
  found = Vocabulary([*names, 'cheese', f'{space}the', space], decoder)
  ids = range(1, len(used) + 1)
  words = range(len(used) + 1, len(found.names))
  return found, [*words], dict(zip(used, ids, strict=True)), 0


def random_stream(rng, words, ids_of_bytes, control):
  """Words, characters byte by byte, halves of them, stray bytes and control symbols."""
  ids = []
  for kind in rng.integers(5, size=40):
    times = int(rng.choice([1, 2, 30]))
    if kind == 0:
      ids += rng.choice(words, 2).tolist()
    elif kind == 1:
      ids += [ids_of_bytes[byte] for byte in rng.choice([*CHARACTERS]).encode()]
    elif kind == 2:
      ids += [ids_of_bytes[STRAY]] * times
    elif kind == 3:
      ids += [control] * times
    else:
      ids += [*(ids_of_bytes[byte] for byte in CHARACTERS[-1].encode()[:3]), words[0]]
  return ids


class WholeStream(TextStream):
  """Decodes all tokens that wait, however many they are."""

  def _wait_goes_on(self, token):
    return False


@pytest.mark.parametrize('kind', ['bytes', 'pieces', 'sentencepiece'])
def test_streams_of_any_tokens(tokenizer, kind):
  """The pieces are those of a stream that decodes all that waits. Together they are the text."""
  found, words, ids_of_bytes, control = streamed_tokens(kind, tokenizer)
  rng = np.random.default_rng(0)
  for before in ([], words * 4) * 20:
    ids = random_stream(rng, words, ids_of_bytes, control)
    fast, whole = TextStream(found, before), WholeStream(found, before)
    pieces = [fast.feed(i) for i in ids] + [fast.flush()]
    assert pieces == [whole.feed(i) for i in ids] + [whole.flush()]
    # `pieces` makes replacements of a whole character if a stray byte follows it, so that its text
    # is known only in the end.
    if kind != 'pieces':
      assert ''.join(pieces) == found.decode([*before, *ids])[len(found.decode(before)) :]


@pytest.mark.parametrize('kind', ['bytes', 'pieces', 'sentencepiece'])
def test_streams_decode_few_tokens(tokenizer, kind):
  """Runs without any text would else be decoded again for each of their tokens."""
  found, words, ids_of_bytes, control = streamed_tokens(kind, tokenizer)
  for run in (ids_of_bytes[STRAY], control, words[0]):
    decoded = []
    stream = TextStream(found)
    decode = stream.decode

    def count(ids, decode=decode, decoded=decoded):
      decoded.append(len(ids))
      return decode(ids)

    stream.decode = count
    for token in [words[0], *[run] * 1000, words[0]]:
      stream.feed(token)
    assert sum(decoded) < 15_000


def test_a_stop_string_before_half_a_character():
  """The last token holds the stop string and the first byte of a character that never comes."""

  class Bytes(Letters):
    def decode(self, ids):
      return b''.join(b'END\xe2' if i == 2 else b'x' for i in ids).decode(errors='replace')

  completion = Completion(CompletionRequest([3], stop=('END',)), Bytes(), (), limit=2)
  completion.add(3, -1.0, ())
  completion.add(2, -1.0, ())
  assert (completion.text, completion.finish_reason) == ('x', 'stop')


def test_padding_of_the_table_is_never_chosen(tokenizer):
  """Ids beyond the tokenizer have no text, so they are neither drawn nor reported."""
  c = dataclasses.replace(TINY, vocab_size=512)
  sampler = Sampler(c, make_params(c), tokenizer, 64)
  requests = []
  for seed in range(8):
    requests.append(
      CompletionRequest([1, 5], max_tokens=60, temperature=50.0, seed=seed, top_logprobs=20)
    )
  for completion in sampler.generate(requests):
    for token in completion.tokens:
      assert token.id < 400
      assert all(i < 400 for i, _ in token.top)


# ---- rows


@pytest.mark.parametrize('integer', [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_integers_of_numpy(integer):
  """They are what Python's own integers are, also where a sum with them would overflow."""
  sampler = make_sampler(max_length=512, stop_ids=())
  prompt = [5] * 100
  asked = CompletionRequest(prompt, max_tokens=100, temperature=1.0, seed=7, top_logprobs=2)
  numbers = dict(max_tokens=integer(100), seed=integer(7), top_logprobs=integer(2))
  expected, found = sampler.generate([asked, dataclasses.replace(asked, **numbers)])
  assert found.made == 100
  assert found.tokens == expected.tokens


def test_those_who_get_no_memory_are_told(monkeypatch):
  """Whoever asks is told that the cache cannot grow, and does not wait for ever."""

  def fail(**sizes):
    raise MemoryError('out of memory')

  engine = Engine({'it': make_sampler()})
  pieces = queue.SimpleQueue()
  with monkeypatch.context() as patched:
    patched.setattr(batch, 'new_cache', fail)
    lost = engine.submit('it', CompletionRequest([5], max_tokens=2), pieces.put)
    assert pieces.get(timeout=30).finish_reason == 'error'
  assert isinstance(lost.error, MemoryError)
  engine.submit('it', CompletionRequest([5], max_tokens=2), pieces.put)
  assert pieces.get(timeout=60).finish_reason == 'length'
  engine.close()


def test_a_new_cache_takes_the_place_of_the_old_one(monkeypatch):
  """Nobody needs the cache of answers that are finished, and the memory may not hold two."""
  there = []
  make_cache = batch.new_cache

  def watched(**sizes):
    there.append((4, 2, 256, 8) in [x.shape for x in jax.live_arrays()])
    return make_cache(**sizes)

  monkeypatch.setattr(batch, 'new_cache', watched)
  sampler = make_sampler(max_length=512, stop_ids=())
  sampler.generate([CompletionRequest([5] * 150, max_tokens=2)] * 3)
  assert (4, 2, 256, 8) in [x.shape for x in jax.live_arrays()]
  sampler.generate([CompletionRequest([5] * 300, max_tokens=2)])
  assert there == [False, False]


def test_numbers_have_32_bits_whatever_is_set():
  """Who serves models, or asks them in Inspect, may have set `jax_enable_x64`."""
  requests = []
  for n, prompt in enumerate(make_prompts(3)):
    requests.append(CompletionRequest(prompt, max_tokens=8, temperature=1.0, seed=n, echo=True))
  usual = make_sampler().generate(requests)
  with jax.enable_x64(True):
    found = make_sampler().generate(requests)
  assert [x.tokens for x in found] == [x.tokens for x in usual]
  assert [x.prompt_tokens for x in found] == [x.prompt_tokens for x in usual]


def test_a_stream_that_is_left_frees_its_rows():
  sampler = make_sampler(stop_ids=())
  for _, piece in sampler.stream(
    [CompletionRequest([5], max_tokens=100), CompletionRequest([6], max_tokens=100)]
  ):
    assert sampler.busy and not piece.finish_reason
    break
  assert not sampler.busy and not sampler.unfinished


def test_cancelled_requests_leave_the_others_alone():
  sampler = make_sampler(max_rows=2, stop_ids=())
  # 60 tokens are more than one round generates.
  requests = []
  for n, prompt in enumerate(make_prompts(6)):
    requests.append(CompletionRequest(prompt, max_tokens=60, temperature=1.0, seed=n))
  expected = drawn(sampler, requests)
  completions = [sampler.submit(r) for r in requests]
  sampler.round()
  # The first is being answered, and the fifth waits for a row.
  sampler.cancel(completions[0])
  sampler.cancel(completions[4])
  while sampler.busy:
    sampler.round()
  for n in (1, 2, 3, 5):
    found = completions[n]
    assert (ids(found), found.text, found.finish_reason) == expected[n]
  assert not completions[0].finish_reason
  assert not completions[4].made


def test_the_window_ends_an_answer():
  sampler = make_sampler(max_length=64, stop_ids=())
  done = sampler.generate([CompletionRequest([5] * n, max_tokens=1000) for n in (1, 40, 63)])
  assert [x.made for x in done] == [63, 24, 1]
  assert [x.finish_reason for x in done] == ['length'] * 3
  scored = sampler.generate([CompletionRequest([5] * 64, max_tokens=0, echo=True)])[0]
  assert scored.made == 0 and scored.finish_reason == 'length' and len(scored.prompt_tokens) == 64


BAD = {
  'too long': (dict(prompt=[5] * 128), 'has 128 tokens', 'shorten it'),
  'empty': (dict(prompt=[]), 'is empty', 'at least one token'),
  'not in the table': (dict(prompt=[5, 64]), 'token 64', 'from 0 to 63'),
  'below the table': (dict(prompt=[-1]), 'token -1', 'from 0 to 63'),
  'cold': (dict(temperature=-0.1), 'temperature=-0.1', 'at least 0'),
  'no number': (dict(temperature=float('nan')), 'temperature=nan', 'at least 0'),
  'a share above one': (dict(top_p=1.1), 'top_p=1.1', 'from 0 to 1'),
  'too many alternatives': (dict(top_logprobs=21), 'top_logprobs=21', 'from 0 to 20'),
  'less than nothing': (dict(max_tokens=-1), 'max_tokens=-1', 'at least 0'),
  'a stop at once': (dict(stop=('',)), 'empty string', 'leave it out'),
}


@pytest.mark.parametrize('what', BAD)
def test_a_request_that_cannot_be_answered(what):
  """It is refused in one line before anything runs; the others of the same call do not start."""
  changes, cause, remedy = BAD[what]
  sampler = make_sampler()
  for ask in (sampler.generate, sampler.stream):
    with pytest.raises(RequestError) as e:
      ask([CompletionRequest([5]), dataclasses.replace(CompletionRequest([5]), **changes)])
    line, code = explain(e.value)
    assert cause in line and remedy in line and '\n' not in line and code == 1
  assert not sampler.busy


def test_a_broken_model_is_told_in_one_line():
  params = make_params(TINY)
  params['wq'][0, 0, 0] = np.nan
  with pytest.raises(SamplingError, match='not finite'):
    Sampler(TINY, params, Letters(), 128).generate([CompletionRequest([5, 6])])
