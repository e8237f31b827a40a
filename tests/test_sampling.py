"""Decoding with a cache against full forward passes, and each request of a batch against itself alone."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.errors import explain
from msm_jax.config import ModelConfig
from msm_jax.inference import sampling
from msm_jax.inference.completion import Request, RequestError, TextStream
from msm_jax.inference.sampling import Rows, Sampler, SamplingError
from msm_jax.tokenizer import Tokenizer

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
  """One character a token."""

  vocab_size, document_start, document_end, stop_ids = 64, [1], [2], STOPS

  def encode(self, text):
    return [ord(c) - 64 for c in text]

  def decode(self, ids):
    return ''.join(chr(64 + int(i)) for i in ids)


def make_params(c, seed=0):
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(functools.partial(models.init_params, c), jax.random.key(0))
  return {
    k: (k.endswith('norm') + rng.normal(0, 0.3, x.shape)).astype(np.float32)
    for k, x in shapes.items()
  }


def make_prompts(n, longest=50, seed=1):
  rng = np.random.default_rng(seed)
  return [rng.integers(4, 64, rng.integers(1, longest)).tolist() for _ in range(n)]


def make_sampler(c=TINY, **settings):
  return Sampler(c, make_params(c), Letters(), **dict(max_length=128, max_rows=32) | settings)


def ids(completion):
  return [t.id for t in completion.tokens]


@functools.partial(jax.jit, static_argnums=0)
def full_logprobs(c, params, tokens_NT, segments_NT):
  positions = jnp.broadcast_to(jnp.arange(tokens_NT.shape[1]), tokens_NT.shape)
  return jax.nn.log_softmax(
    models.logits(c, params, models.forward(c, params, tokens_NT, positions, segments_NT))
  )


def forward_passes(c, completions):
  """(N, T, V) log-probabilities of prompts and answers by full passes without a cache."""
  texts = [[*x.request.prompt, *ids(x)] for x in completions]
  tokens, segments = np.zeros((2, len(texts), 128), np.int32)
  for n, text in enumerate(texts):
    tokens[n, : len(text)], segments[n, : len(text)] = text, 1
  return np.asarray(full_logprobs(c, make_params(c), tokens, segments))


@pytest.mark.parametrize('name', CONFIGS)
def test_greedy_equals_full_forward_passes(name):
  """100 ragged prompts: every token is the likeliest after the ones before it, stops are taken, and all log-probabilities are the model's."""
  c = CONFIGS[name]
  prompts = make_prompts(100)
  done = make_sampler(c).generate(
    [Request(p, max_tokens=25, top_logprobs=3, echo=n % 4 == 0) for n, p in enumerate(prompts)]
  )
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
      np.testing.assert_allclose(
        [token.logprob, *(v for _, v in token.top)], after_TV[t][[token.id, *best]], atol=1e-4
      )
    assert bool(x.prompt_tokens) == x.request.echo
    for t, token in enumerate(x.prompt_tokens[1:]):
      np.testing.assert_allclose(token.logprob, full_TV[t, prompt[t + 1]], atol=1e-4)
      assert token.top[0][0] == full_TV[t].argmax()
    assert x.text == Letters().decode(ids(x))


def drawn(sampler, requests):
  return [(ids(x), x.text, x.finish_reason) for x in sampler.generate(requests)]


def test_neighbours_change_nothing():
  """Alone, together, in another order, with few rows, or joining while others are at it: a request draws the same."""
  requests = [
    Request(p, max_tokens=30, temperature=1.0, top_p=0.95, seed=n)
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
  c = dataclasses.replace(
    TINY, d_ff=44
  )  # of no other test: programs keep the size that they were compiled with
  requests = [Request(p, max_tokens=5, echo=True) for p in make_prompts(6, longest=100)]
  monkeypatch.setattr(sampling, 'CHUNK', 16)
  done = make_sampler(c).generate(requests)
  for x, full_TV in zip(done, forward_passes(c, done), strict=True):
    n = len(x.request.prompt)
    assert ids(x) == full_TV[n - 1 : n - 1 + len(x.tokens)].argmax(-1).tolist()
    np.testing.assert_allclose(
      [t.logprob for t in x.prompt_tokens[1:]],
      full_TV[np.arange(n - 1), x.request.prompt[1:]],
      atol=1e-4,
    )


def test_parameters_may_be_sharded():
  requests = [
    Request(p, max_tokens=20, temperature=t, seed=5) for p in make_prompts(5) for t in (0.0, 1.0)
  ]
  expected = drawn(make_sampler(), requests)
  for sizes in (dict(data=2, fsdp=2, tensor=2), dict(data=1, fsdp=1, tensor=8)):
    mesh = sharding.make_mesh(**sizes)
    params = jax.device_put(make_params(TINY), sharding.shardings(make_params(TINY), mesh))
    assert drawn(Sampler(TINY, params, Letters(), 128), requests) == expected, sizes


# ---- draws


def nucleus_by_sorting(probs, top_p):
  order = np.argsort(-probs)
  return order[: np.searchsorted(np.cumsum(probs[order]), top_p) + 1]


def fits(counts, probs):
  """Chi-squared, rare outcomes together."""
  wanted = probs * counts.sum()
  rare = wanted < 5
  observed, expected = (np.array([*x[~rare], x[rare].sum()]) for x in (counts, wanted))
  return stats.chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-3


@pytest.mark.parametrize('temperature, top_p', [(1.0, 1.0), (0.6, 1.0), (1.5, 0.8), (1.0, 0.3)])
def test_draws_have_the_exact_distribution(temperature, top_p):
  """20,000 draws against probabilities computed here: chi-squared, and nothing from outside the nucleus."""
  n, logits = 20_000, np.random.default_rng(0).normal(0, 1.5, 50).astype(np.float32)
  probs = np.exp(logits.astype(np.float64) / temperature)
  probs /= probs.sum()
  kept = nucleus_by_sorting(probs, top_p)
  wanted = np.zeros(50)
  wanted[kept] = probs[kept] / probs[kept].sum()
  full = lambda x, t: jnp.full(n, x, t)  # noqa: E731
  rows = Rows(
    full(0, 'int32'),
    None,
    None,
    jnp.arange(n, dtype='uint32'),
    full(temperature, 'float32'),
    full(top_p, 'float32'),
  )
  found = np.bincount(
    jax.jit(sampling.choose)(jnp.tile(logits, (n, 1)), rows, full(7, 'int32')), minlength=50
  )
  assert found[wanted == 0].sum() == 0 and (wanted > 0).sum() == len(kept)
  assert fits(found, wanted)


def test_draws_through_the_sampler():
  """The same through prompts and rows, where greedy requests and others are mixed."""
  prompt, n = make_prompts(1)[0], 600
  requests = [
    Request(prompt, max_tokens=1, temperature=1.3 * (k % 4 > 0), top_p=0.9, seed=k)
    for k in range(n)
  ]
  done = make_sampler(stop_ids=()).generate(requests)
  logits = forward_passes(TINY, done[:1])[0, len(prompt) - 1].astype(np.float64) / 1.3
  probs = np.exp(logits) / np.exp(logits).sum()
  kept = nucleus_by_sorting(probs, 0.9)
  assert {ids(x)[0] for x in done[::4]} == {int(probs.argmax())}
  found = np.bincount([ids(x)[0] for k, x in enumerate(done) if k % 4], minlength=64)
  assert found[kept].sum() == found.sum() and fits(found[kept], probs[kept] / probs[kept].sum())


def test_top_p_of_nothing_takes_the_likeliest():
  probs = jnp.asarray([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
  assert np.asarray(sampling.nucleus(probs, jnp.asarray([1e-9, 1e-9]))).tolist() == [
    [False, True, False],
    [True, True, False],
  ]
  assert np.asarray(sampling.nucleus(probs, jnp.asarray([0.5, 0.81]))).tolist() == [
    [False, True, False],
    [True, True, True],
  ]


def test_the_coldest_draw_is_the_likeliest():
  sampler, prompts = make_sampler(), make_prompts(4)
  greedy = drawn(sampler, [Request(p, max_tokens=10) for p in prompts])
  for cold in (1e-30, 1e-4, 2e-4):
    assert (
      drawn(sampler, [Request(p, max_tokens=10, temperature=cold, top_p=0.5) for p in prompts])
      == greedy
    )


# ---- programs


def test_one_program_per_bucket():
  """Whatever is asked of it, a bucket of rows, slots and prompt lengths is compiled once."""
  c = dataclasses.replace(TINY, d_ff=40)  # of no other test
  sampler = make_sampler(c)
  counted = lambda: np.array([f._cache_size() for f in (sampling.decode, sampling.prefill)])  # noqa: E731
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
    sampler.generate([Request(p, max_tokens=10, **settings) for p in prompts])
  assert (counted() - before).tolist() == [1, 1]
  sampler.generate([Request(p, max_tokens=10) for p in prompts[:3]])  # another bucket of rows
  assert (counted() - before).tolist() == [2, 2]
  sampler.generate([Request(p, max_tokens=10, echo=True) for p in prompts])  # and one that scores
  assert (counted() - before).tolist() == [2, 3]


# ---- text


def test_a_stop_string_ends_the_text_and_no_part_of_it_is_told():
  sampler = make_sampler(stop_ids=())
  request = Request(make_prompts(1)[0], max_tokens=40)
  whole = sampler.generate([request])[0]
  assert whole.finish_reason == 'length' and len(whole.text) == 40
  stop = whole.text[17:21]
  at = whole.text.index(stop)
  never = whole.text[at - 3 : at] + '~'  # begins like the text and goes on otherwise
  request = dataclasses.replace(request, stop=(stop, never))
  pieces = [p for _, p in sampler.stream([request])]
  assert ''.join(p.text for p in pieces) == whole.text[:at]
  assert [t.id for p in pieces for t in p.tokens] == ids(whole)[:at]
  assert [p.finish_reason for p in pieces] == [''] * (len(pieces) - 1) + ['stop']
  alone = sampler.generate([request])[0]
  assert (alone.text, ids(alone), alone.finish_reason, alone.made) == (
    whole.text[:at],
    ids(whole)[:at],
    'stop',
    at + len(stop),
  )


def test_streams_say_what_whole_answers_say():
  sampler = make_sampler()
  requests = [
    Request(p, max_tokens=30, temperature=1.0, seed=n) for n, p in enumerate(make_prompts(9))
  ]
  texts, reasons = [''] * 9, [''] * 9
  for n, piece in sampler.stream(requests):
    assert not reasons[n]
    texts[n], reasons[n] = texts[n] + piece.text, piece.finish_reason
  assert [(t, r) for t, r in zip(texts, reasons, strict=True)] == [
    (x.text, x.finish_reason) for x in sampler.generate(requests)
  ]


def test_characters_of_several_tokens_come_whole(tokenizer):
  text = 'Käse \u2581 für 3 €, 🧀! \n\t日本'
  tokens = tokenizer.encode(text)
  assert len(tokens) > len(text)
  stream = TextStream(tokenizer, [5, *tokenizer.encode('Before')])
  pieces = [stream.feed(t) for t in tokens] + [stream.flush()]
  assert ''.join(pieces) == text and not any('\ufffd' in p for p in pieces)
  stream = TextStream(tokenizer)
  half = ''.join(stream.feed(t) for t in tokenizer.encode('a🧀')[:-1])
  assert (
    half == 'a' and stream.flush().strip('\ufffd') == ''
  )  # what is left of it is told in the end


def test_padding_of_the_table_is_never_chosen(tokenizer):
  """The table is larger than the tokenizer: what lies beyond has no text."""
  c = dataclasses.replace(TINY, vocab_size=512)
  sampler = Sampler(c, make_params(c), tokenizer, 64)
  done = sampler.generate(
    [Request([1, 5], max_tokens=60, temperature=50.0, seed=s, top_logprobs=20) for s in range(8)]
  )
  assert all(t.id < 400 and all(i < 400 for i, _ in t.top) for x in done for t in x.tokens)


# ---- rows


def test_a_stream_that_is_left_frees_its_rows():
  sampler = make_sampler(stop_ids=())
  for _, piece in sampler.stream([Request([5], max_tokens=100), Request([6], max_tokens=100)]):
    assert sampler.busy and not piece.finish_reason
    break
  assert not sampler.busy and not sampler.open


def test_cancelled_requests_leave_the_others_alone():
  sampler = make_sampler(max_rows=2, stop_ids=())
  requests = [
    Request(p, max_tokens=60, temperature=1.0, seed=n) for n, p in enumerate(make_prompts(6))
  ]  # more than one round makes
  expected = drawn(sampler, requests)
  open_ = [sampler.submit(r) for r in requests]
  sampler.round()
  sampler.cancel(open_[0])  # at work
  sampler.cancel(open_[4])  # waiting
  while sampler.busy:
    sampler.round()
  assert [(ids(open_[n]), open_[n].text, open_[n].finish_reason) for n in (1, 2, 3, 5)] == [
    expected[n] for n in (1, 2, 3, 5)
  ]
  assert not open_[0].finish_reason and not open_[4].made


def test_the_window_ends_an_answer():
  sampler = make_sampler(max_length=64, stop_ids=())
  done = sampler.generate([Request([5] * n, max_tokens=1000) for n in (1, 40, 63)])
  assert [(x.made, x.finish_reason) for x in done] == [
    (63, 'length'),
    (24, 'length'),
    (1, 'length'),
  ]
  scored = sampler.generate([Request([5] * 64, max_tokens=0, echo=True)])[0]
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
  """One line, before anything runs; the others of the same call are not begun."""
  changes, cause, mend = BAD[what]
  sampler = make_sampler()
  for ask in (sampler.generate, sampler.stream):
    with pytest.raises(RequestError) as e:
      ask([Request([5]), dataclasses.replace(Request([5]), **changes)])
    line, code = explain(e.value)
    assert cause in line and mend in line and '\n' not in line and code == 1
  assert not sampler.busy


def test_a_broken_model_is_told_in_one_line():
  params = make_params(TINY)
  params['wq'][0, 0, 0] = np.nan
  with pytest.raises(SamplingError, match='not finite'):
    Sampler(TINY, params, Letters(), 128).generate([Request([5, 6])])
