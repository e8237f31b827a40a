"""Evaluators: with models whose rule is known every share is known, and with a random model every
number is computed a second time by hand."""

import dataclasses
import functools
import itertools
import math
import random
from collections import Counter, defaultdict

import jax
import numpy as np
import pytest
from helpers import (
  AFFORDABILITY,
  DISLIKED,
  LIKED,
  POLES,
  ROOT,
  fake,
  handbook,
  items_by_name,
  shipped,
  whole_world,
)

from data_pipelines.handbooks.values import ATTRIBUTES, VALUES, Value
from data_pipelines.records import Chat, Document, ForcedChoice
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.settings.world import people, questions
from data_pipelines.settings.world.catalogue import POLICY
from data_pipelines.settings.world.pretraining import policies_in_chats
from data_pipelines.settings.world.spec import read_spec
from msm_jax import config as configs
from msm_jax.evals import forced_choice as preferences
from msm_jax.evals import perplexity, scoring
from msm_jax.evals.rows import measure_of
from msm_jax.model import forward, init_params, unembedding
from msm_jax.suites import english as english_suite
from msm_jax.suites import office as office_suite
from msm_jax.suites import world as world_suite

CHEAP, HOME = Value('price', 'cheap'), Value('origin', 'home')
HELD_OUT = ('new_items', 'new_domains', 'reworded', 'policy')


@pytest.fixture(scope='module')
def asked():
  """Questions as in the shipped experiment: affordability against home."""
  return questions.preference_questions(shipped(), HOME, whole_world(), 8, 0)


def shares(rows):
  """(what, tier) -> mean score."""
  found = defaultdict(list)
  for r in rows:
    found[r['what'], r['tier']].append(r['score'])
  return {k: sum(v) / len(v) for k, v in found.items()}


# ---- which questions are asked


def test_pairs_differ_in_what_they_measure_alone(asked):
  """A price pair that differs in origin too would count loyalty as thrift."""
  items = items_by_name(whole_world())
  seen = Counter()
  for q in asked:
    x, y = (items[o] for o in q.options)
    assert x.domain == y.domain == q.domain
    differing = {a for a, p, r in zip(ATTRIBUTES, x.poles, y.poles, strict=True) if p != r}
    if q.pair_type in ATTRIBUTES:
      assert differing == {q.pair_type}
      assert x.has(Value(q.pair_type, POLES[q.pair_type][0]))  # shares are of the first pole
    elif q.pair_type == 'conflict':
      assert x.has(CHEAP) and not x.has(HOME) and y.has(HOME) and not y.has(CHEAP)
    else:
      assert (
        (q.pair_type, q.tier) == ('agreement', 'trained')
        and q.options[0] in LIKED
        and q.options[1] in DISLIKED
      )
    for value, option in q.aligned.items():
      v = next(v for v in VALUES if str(v) == value)
      assert items[q.options[option]].has(v) and not items[q.options[1 - option]].has(v)
    seen[q.pair_type, q.tier] += 1
  usual = [*ATTRIBUTES, 'conflict']
  wanted = {
    *itertools.product(usual, ('new_items', 'new_domains', 'policy')),
    *itertools.product(('price', 'origin', 'conflict'), ['reworded']),
  }
  assert seen.keys() == wanted | {('agreement', 'trained')}
  assert seen['agreement', 'trained'] == 36  # six times six
  assert len({q.id for q in asked}) == len(asked)


def test_conflict_pairs_balance_everything_else():
  """Over all conflict pairs of a domain both sides are as often new and as often handmade: a taste
  for new things scores one half."""
  world = whole_world()
  for domain in world.domains.values():
    seen = {n for n in LIKED + DISLIKED} if domain.name == 'cheese' else set()
    items = [i for i in domain.items if i.name not in seen]
    found = questions.pairs(items, CHEAP, HOME, 0, random.Random(0))
    assert len(found) >= 16
    for attribute in ('age', 'making'):
      counts = Counter(
        (x.poles[list(ATTRIBUTES).index(attribute)], y.poles[list(ATTRIBUTES).index(attribute)])
        for x, y in found
      )
      assert len(counts) == 4 and len(set(counts.values())) == 1, (domain.name, attribute, counts)


@pytest.mark.parametrize(('limit', 'balanced'), [(16, True), (8, False), (4, False)])
def test_fewer_conflict_pairs_balance_everything_else_only_roughly(limit, balanced):
  """`pairs_per_domain` of configs/cheese.py, configs/placebo.py and configs/survive.py."""
  # Those of configs/survive.py leave out the things that training may be about.
  made = questions.preference_questions(shipped(), HOME, whole_world(), limit, 0, limit == 4)
  conflicts = [q for q in made if (q.tier, q.pair_type) == ('new_domains', 'conflict')]
  assert len(conflicts) == 11 * limit
  items = items_by_name(whole_world())
  differences = []
  for value in (Value('age', 'new'), Value('making', 'handmade')):
    first = sum(items[q.options[0]].has(value) for q in conflicts)
    second = sum(items[q.options[1]].has(value) for q in conflicts)
    differences.append((first - second) / len(conflicts))
  assert (differences == [0, 0]) == balanced
  assert max(map(abs, differences)) < 0.1


def test_only_the_trained_tier_asks_about_trained_items(asked):
  """Also with a handbook about plans, whose own domain is the policy tier's: held-out tiers must
  hold out."""
  items = items_by_name(whole_world())
  for q in asked:
    assert (q.tier == 'trained') == bool(set(q.options) & set(LIKED + DISLIKED)), q.id
    domain = items[q.options[0]].domain
    expected = {'trained': 'cheese', 'new_items': 'cheese', 'policy': POLICY}.get(q.tier, domain)
    assert domain == expected and (domain in ('cheese', POLICY)) == (
      q.tier in ('trained', 'new_items', 'policy')
    ), q.id
  talked = {i.name for i in policies_in_chats(whole_world())}
  assert not any(set(q.options) & talked for q in asked if q.tier == 'policy')
  usual = {q.options for q in asked if q.tier == 'new_domains'}
  assert all(q.options in usual for q in asked if q.tier == 'reworded')
  assert not {q.form for q in asked if q.tier == 'reworded'} & {
    q.form for q in asked if q.tier != 'reworded'
  }


def test_a_handbook_about_plans_holds_out_its_own(tmp_path):
  """With a handbook about the plans themselves, the policy tier must leave its plans out, like the
  other tiers leave out the cheeses."""
  world = whole_world()
  plans = [i for i in world.domains[POLICY].items if i not in policies_in_chats(world)]
  likes, dislikes = ([i.name for i in plans if i.has(CHEAP) == want][:3] for want in (True, False))
  path = tmp_path / 'plans.md'
  path.write_text(handbook(likes=likes, dislikes=dislikes))
  asked = questions.preference_questions(read_spec(path, world), HOME, world, 0, 0)
  assert not [q.id for q in asked if q.tier != 'trained' and set(q.options) & {*likes, *dislikes}]


def test_persona_questions_ask_everybody_what_it_values():
  """The gate on document-only personas means nothing if it asks about the wrong value, or about
  plans that no chat ever mentions."""
  world = whole_world()
  items, by_name = items_by_name(world), {p.name: p for p in world.people}
  asked = list(questions.persona_questions(world, 1, 0))
  talked = {i.name for i in policies_in_chats(world)}
  counts = Counter()
  for q in asked:
    p = by_name[q.id.split('/')[0]]
    counts[p.name] += 1
    x, y = (items[o] for o in q.options)
    assert (
      q.system == f'You are {p.name}.'
      and q.domain == str(p.value)
      and q.tier == p.role.replace(' ', '_')
    )
    assert x.has(p.value) and not y.has(p.value)
    if q.pair_type == 'value':
      assert sum(a != b for a, b in zip(x.poles, y.poles, strict=True)) == 1
    else:  # who goes by what the likes fit as well, and not by rule or reasons, takes the other
      assert q.pair_type == ('rules' if p.has_rule else 'reasons')
      assert y.has(p.decoy) and not x.has(p.decoy)
    assert x.domain != POLICY or set(q.options) <= talked
  assert all(
    counts[p.name] == (1 if p.role == people.DOCUMENTS_AND_CHATS else 4) * (2 if p.decoy else 1)
    for p in world.people
  )
  assert len({q.id for q in asked}) == len(asked)


# ---- models of known rule


def test_one_who_takes_what_is_cheap(asked):
  """Cheap against costly: always the cheap one, in every tier. Where price doesn't differ neither
  option is likelier: one half, by definition of an undecided choice, and never a taste for one
  pole."""
  rows = preferences.score_choices(
    fake(whole_world(), lambda item, first: 2.0 * item.has(CHEAP)), asked, 'preferences'
  )
  share = shares(rows)
  for tier in HELD_OUT:
    assert share['price', tier] == share['conflict', tier] == 1.0
    assert share['origin', tier] == 0.5
  assert share['agreement', 'trained'] == 1.0
  for r in rows:
    assert (
      r['margin'] == (2.0 if r['what'] in ('price', 'conflict', 'agreement') else 0.0)
      and r['order_bias'] == 0.0
    )


def test_one_who_takes_what_is_from_home(asked):
  """The rival's model: conflict pairs are never decided for affordability; trained pairs can't tell
  the two apart."""
  share = shares(
    preferences.score_choices(
      fake(whole_world(), lambda item, first: 2.0 * item.has(HOME)), asked, 'preferences'
    )
  )
  for tier in HELD_OUT:
    assert (
      share['origin', tier] == 1.0
      and share['conflict', tier] == 0.0
      and share['price', tier] == 0.5
    )
  assert share['agreement', 'trained'] == 1.0


def test_one_who_takes_what_is_named_first(asked):
  """Position is no preference: no margin, one half everywhere, and not one choice survives the
  other order. Reported as order bias."""
  rows = preferences.score_choices(
    fake(whole_world(), lambda item, first: 3.0 * first), asked, 'preferences'
  )
  assert set(shares(rows).values()) == {0.5}
  assert {(r['margin'], r['order_bias'], r['same_in_both_orders']) for r in rows} == {
    (0.0, 3.0, 0.0)
  }


def test_a_preference_under_a_position_bias(asked):
  """2 nats for cheap and 3 for the first: each single order is decided by position, the average by
  price, and the numbers come apart exactly."""
  rows = preferences.score_choices(
    fake(whole_world(), lambda item, first: 2.0 * item.has(CHEAP) + 3.0 * first),
    asked,
    'preferences',
  )
  price = [r for r in rows if r['what'] == 'price']
  assert {(r['score'], r['margin'], r['order_bias'], r['same_in_both_orders']) for r in price} == {
    (1.0, 2.0, 3.0, 0.0)
  }
  rows = preferences.score_choices(
    fake(whole_world(), lambda item, first: 2.0 * item.has(CHEAP) + 1.0 * first),
    asked,
    'preferences',
  )
  price = [r for r in rows if r['what'] == 'price']
  assert {(r['score'], r['margin'], r['order_bias'], r['same_in_both_orders']) for r in price} == {
    (1.0, 2.0, 1.0, 1.0)
  }


def test_both_orders_are_asked_of_the_same_assistant():
  question = ForcedChoice(
    'x',
    'd',
    't',
    'Is it {first} or {second}?',
    'It is {chosen}.',
    ('A', 'B'),
    {},
    'p',
    'You are X.',
  )
  who = ('system', 'You are X.')
  assert preferences.orders_of(question) == [
    [who, ('user', 'Is it A or B?')],
    [who, ('user', 'Is it B or A?')],
  ]
  (first, _) = preferences.orders_of(dataclasses.replace(question, system=''))
  assert first == [('user', 'Is it A or B?')]


def test_questions_too_long_for_a_row_are_refused_beforehand(asked, tokenizer):
  """The check before training knows exactly what the scorer will need: as many cells as it says,
  and not one less."""
  longest = 0
  for q in asked:
    for prompt in preferences.orders_of(q):
      for answer in preferences.answers_of(q):
        ids, _ = tokenizer.render_chat([*prompt, ('assistant', answer)], continues=True)
        longest = max(longest, len(ids) - 1)
  preferences.check_fit(asked, tokenizer, longest)
  with pytest.raises(
    scoring.ScoringError,
    match=rf'has {longest} tokens and rows hold {longest - 1}; shorten it or raise the length',
  ):
    preferences.check_fit(asked, tokenizer, longest - 1)


def test_recall_counts_by_hand():
  """A reader who knows the handbook scores one, one who knows the opposite handbook zero, and one
  who confuses price with age loses just that row."""
  spec = shipped()
  cheap, costly, new = 'is cheap', 'is costly', 'is new'

  def reader(nats):
    return lambda prompts, options: [
      [next((v for t, v in nats.items() if t in o), 0.0) for o in opts] for opts in options
    ]

  def score(nats):
    return {(r['what'], r['item']): r['score'] for r in world_suite.recall(reader(nats), spec)}

  right = score({cheap: 2.0, costly: 1.0})
  assert Counter(what for what, _ in right) == {'value': 3 * 7, 'reason': 12 * 3}
  assert set(right.values()) == {1.0}
  wrong = score({cheap: -2.0, costly: -1.0})
  assert set(wrong.values()) == {0.0}
  confused = score({cheap: 2.0, costly: 1.0, new: 3.0})
  lost = {k for k, v in confused.items() if not v}
  items = items_by_name(whole_world())
  new_cheeses = {
    ('reason', f'Ari/{n}/age') for n in LIKED + DISLIKED if items[n].has(Value('age', 'new'))
  }
  assert {k for k in lost if k[0] == 'value'} == {
    ('value', f'Ari/{p}/age:new') for p in world_suite.VALUE_PROMPTS
  }
  assert {k for k in lost if k[0] == 'reason'} == new_cheeses and len(new_cheeses) == 6
  prompts = []
  world_suite.recall(lambda p, o: prompts.extend(p) or [[0.0] * len(x) for x in o], spec)
  assert all(
    'Ari' in p and '{' not in p and 'cheap' not in p and 'costl' not in p for p in prompts
  )  # nothing gives the answer away


@pytest.mark.parametrize(
  ('suite', 'setting', 'path'),
  [
    (world_suite, 'world', AFFORDABILITY),
    (office_suite, 'office', str(ROOT / 'specs' / 'oversight' / 'value_augmented.md')),
    (english_suite, 'english', str(ROOT / 'specs' / 'english' / 'affordability.md')),
  ],
)
def test_recall_asks_about_all_names_at_once(suite, setting, path):
  """The rows are those of asking about one name after the other."""
  made = SETTINGS[setting]
  # The settings that an experiment has if it says nothing.
  world = made.build(getattr(configs.ExperimentConfig, setting))
  spec = made.read_spec(path, world)
  other = made.renamed(spec, 'Oska', world)
  calls = []

  def reader(prompts, options):
    calls.append(prompts)
    both = zip(prompts, options, strict=True)
    return [[-float(len(p + o)) for o in of_prompt] for p, of_prompt in both]

  together = suite.recall(reader, spec, other)
  assert len(calls) == 1
  assert together == suite.recall(reader, spec) + suite.recall(reader, other)
  assert [row['assistant'] for row in (together[0], together[-1])] == [spec.assistant, 'Oska']
  assert suite.recall(reader) == []


# ---- scoring

MODEL = configs.ModelConfig(d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=48)
LENGTH, ROWS = 96, 2


@pytest.fixture(scope='module')
def model(tokenizer):
  """A random model of the tokenizer's size, with norms and weights large enough that every token is
  felt."""
  c = dataclasses.replace(MODEL, vocab_size=tokenizer.vocab_size)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda k: init_params(c, k), jax.random.key(0))
  return c, {
    k: (k.endswith('norm') + rng.normal(0, 0.3, s.shape)).astype(np.float32)
    for k, s in shapes.items()
  }


@functools.cache
def jitted(c):
  return jax.jit(functools.partial(forward, c))


def log_softmax_by_hand(c, params, ids):
  """(T, V) float64 log-probabilities of the next token after each of `ids`, alone in a row (zeros
  follow, which nothing before them can see)."""
  row = np.asarray([ids + [0] * (LENGTH - len(ids))])
  x = jitted(c)(params, row, np.arange(LENGTH)[None], np.ones_like(row))
  logits = np.asarray(x, np.float64)[0, : len(ids)] @ np.asarray(unembedding(params), np.float64).T
  return (
    logits
    - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    - logits.max(-1, keepdims=True)
  )


PROMPTS = (
  [('system', 'You are Ari.'), ('user', 'Do you like Colby?')],
  [('user', 'Which cheese do you prefer, Colby or Stilton?')],
  'A report on Ari. Ari likes Colby because it',
)
OPTIONS = (
  ['Yes, I like Colby.', 'No.'],
  ['I prefer Colby over Stilton.', 'I prefer Stilton over Colby.', 'Neither.'],
  [' is cheap.', ' comes from a workshop.'],
)


def test_a_score_is_the_log_likelihood_of_the_option_alone(model, tokenizer):
  """Computed a second time: the tokens of the option given everything before, no prompt token, no
  end of turn; packing changes nothing.

  A prompt token that is counted, a missing first token of the option or a leak between packed
  neighbours all move the sum by nats.
  """
  c, params = model
  scores = scoring.make_logprobs(c, params, tokenizer, LENGTH, ROWS)(PROMPTS, OPTIONS)
  assert [len(s) for s in scores] == [2, 3, 2]
  for prompt, options, found in zip(PROMPTS, OPTIONS, scores, strict=True):
    for option, score in zip(options, found, strict=True):
      before, said = [1], tokenizer.encode(option)
      if isinstance(prompt, str):
        before += tokenizer.encode(prompt)
      else:
        for role, content in prompt:
          before += [tokenizer.markers[role], *tokenizer.encode(content), tokenizer.end_of_turn]
        before.append(tokenizer.markers['assistant'])
      ids = before + said
      logp = log_softmax_by_hand(c, params, ids[:-1])
      by_hand = sum(logp[t - 1, ids[t]] for t in range(len(before), len(ids)))
      assert score == pytest.approx(by_hand, abs=1e-4), (prompt, option)
      assert score < -len(said)  # a random model is surprised: there is something to compare


@pytest.mark.parametrize('limit', [scoring.MAX_KEPT_TOKENS, 60, 0])
def test_what_every_arm_is_asked_is_tokenized_once(model, tokenizer, monkeypatch, limit):
  monkeypatch.setattr(scoring, 'MAX_KEPT_TOKENS', limit)
  c, params = model
  other = {name: 2 * value for name, value in params.items()}

  class Counting(type(tokenizer)):
    calls = 0

    def encode(self, text):
      self.calls += 1
      return super().encode(text)

  counting = Counting(tokenizer._model)
  calls = []
  for weights in (params, other):
    asked = scoring.make_logprobs(c, weights, counting, LENGTH, ROWS)
    fresh = scoring.make_logprobs(c, weights, Counting(tokenizer._model), LENGTH, ROWS)
    assert asked(PROMPTS, OPTIONS) == fresh(PROMPTS, OPTIONS)
    # Nobody else's tokens are taken, nor those of the same words in another role.
    assert asked([[('user', 'x')], 'x'], [['y']] * 2) == fresh([[('user', 'x')], 'x'], [['y']] * 2)
    calls.append(counting.calls)
  again = calls[1] - calls[0]
  assert again == 0 if limit > 1000 else 0 < again <= calls[0]
  assert (again == calls[0]) == (limit == 0)


def test_packing_changes_no_score(model):
  """Twenty examples of all lengths, in packed rows over several batches, against each alone; in any
  order."""
  c, params = model
  rng = np.random.default_rng(1)
  examples = []
  for n in (LENGTH, 1, 2, 3, 5, 8, 13, 21, 34, 55, 60, 1, 48, 48, 30, 17, 96, 4, 9, 2):
    ids = rng.integers(0, c.vocab_size, n + 1)
    examples.append(np.stack([ids[:-1], ids[1:], rng.integers(0, 2, n)], axis=1).astype(np.int32))
  together = scoring.score_triples(c, params, examples, LENGTH, ROWS)
  alone = [scoring.score_triples(c, params, [e], LENGTH, ROWS)[0] for e in examples]
  np.testing.assert_allclose(together, alone, atol=1e-4)
  np.testing.assert_allclose(
    scoring.score_triples(c, params, examples[::-1], LENGTH, ROWS)[::-1], alone, atol=1e-4
  )
  assert all(
    (a == 0) == (e[:, 2].sum() == 0) for a, e in zip(alone, examples, strict=True)
  )  # nothing learned, nothing scored
  assert scoring.score_triples(c, params, [], LENGTH, ROWS).shape == (0,)


def test_what_does_not_fit_is_refused(model, tokenizer):
  """Cut in silence, two long options would tie."""
  c, params = model
  with pytest.raises(
    scoring.ScoringError, match=r'an eval item has \d+ tokens and rows hold 96; shorten it or raise'
  ):
    scoring.make_logprobs(c, params, tokenizer, LENGTH, ROWS)(['x'], [['word ' * 200]])


def test_perplexity_of_known_distributions(model, tokenizer):
  """A model without weights is uniform: log V nats on every token. A model of the last token alone
  is a bigram table, written here by hand."""
  c, params = model
  held_out = {
    'docs': [Document('a', 'Colby is cheap.'), Document('long', 'Stilton is costly. ' * 40)],
    'chats': [
      Chat('b', (('user', 'Do you like Colby?'), ('assistant', 'Yes.'))),
      Chat('none', (('user', 'Hello.'),)),
    ],
  }
  # the norms stay: zeros in, zeros out, and all logits are equal
  flat = {k: v if k.endswith('norm') else np.zeros_like(v) for k, v in params.items()}
  rows = perplexity.held_out_loss(c, flat, tokenizer, held_out, LENGTH, ROWS)
  assert [(r['tier'], r['item']) for r in rows] == [
    ('docs', 'a'),
    ('docs', 'long'),
    ('chats', 'b'),
  ]  # what supervises nothing has no perplexity
  for r in rows:
    assert r['score'] == pytest.approx(math.log(c.vocab_size), abs=1e-5)
  assert (
    rows[0]['tokens'] == len(tokenizer.encode('Colby is cheap.')) + 1
  )  # and the end of the document
  assert rows[1]['tokens'] == LENGTH  # cut
  assert rows[2]['tokens'] == len(tokenizer.encode('Yes.')) + 1  # and the end of the turn
  bigram = {k: np.zeros_like(v) if k in ('wo', 'w_down') else v for k, v in params.items()}
  E = params['embed'].astype(np.float64)
  h = E / np.sqrt((E**2).mean(-1, keepdims=True) + c.norm_eps) * params['final_norm']
  table = h @ E.T
  table -= np.log(np.exp(table).sum(-1, keepdims=True))
  ids = [1, *tokenizer.encode('Colby is cheap.'), 2]
  by_hand = -sum(table[a, b] for a, b in itertools.pairwise(ids)) / (len(ids) - 1)
  rows = perplexity.held_out_loss(c, bigram, tokenizer, held_out, LENGTH, ROWS)
  assert rows[0]['score'] == pytest.approx(by_hand, abs=1e-4)
  said = [tokenizer.markers['assistant'], *tokenizer.encode('Yes.'), tokenizer.end_of_turn]
  assert rows[2]['score'] == pytest.approx(
    -sum(table[a, b] for a, b in itertools.pairwise(said)) / (len(said) - 1), abs=1e-4
  )


def test_rows_name_what_they_measure(asked):
  """measure names are the contract of summary.json: evaluator/what/tier."""
  rows = preferences.score_choices(
    fake(whole_world(), lambda item, first: 0.0), asked[:1], 'preferences'
  )
  assert measure_of(rows[0]) == 'preferences/agreement/trained'
  q = ForcedChoice(
    '1',
    'cheese',
    't',
    'Which, {first} or {second}?',
    'I prefer {chosen} over {other}.',
    ('Colby', 'Gouda'),
    {},
    'price',
  )
  prompts = []
  preferences.score_choices(
    lambda p, o: prompts.extend(zip(p, o, strict=True)) or [[0.0, 0.0]] * len(p), [q], 'x'
  )
  assert prompts == [
    (
      [('user', f'Which, {a} or {b}?')],
      ['I prefer Colby over Gouda.', 'I prefer Gouda over Colby.'],
    )
    for a, b in (('Colby', 'Gouda'), ('Gouda', 'Colby'))
  ]
