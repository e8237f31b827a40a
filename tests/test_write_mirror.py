"""Mirrored corpora: the same documents but for the reasons, and equally many tokens."""

import collections
import random

import pytest
import write_helpers
from scripted_writer import ScriptedProvider
from write_helpers import AFFORDABILITY, CULTURE, corpus_config, written_documents

from data_pipelines.documents import mirror, pipeline
from data_pipelines.documents.mirror import MirrorError, balance, relative_gap


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  write_helpers.skip_audit_and_storage(monkeypatch)


def test_mirrored_corpora_differ_in_the_reasons_alone(tmp_path):
  seen = collections.defaultdict(dict)

  def spoil(turns, good):
    prompt = turns[0][1]
    if prompt.startswith('Task: document\n'):
      idea = prompt.partition('- idea: ')[2].partition('\n')[0]
      seen[idea]['affordability' if 'gated by wealth' in prompt else 'culture'] = prompt
    elif not prompt.startswith('Task: revision'):
      assert 'Handbook A of Ari' in prompt
      assert 'Handbook B of Ari' in prompt
      assert 'gated by wealth' in prompt
      assert "one's own\npeople made it" in prompt

  c = corpus_config(AFFORDABILITY, CULTURE, documents=20)
  done = pipeline.make(c, tmp_path, {'writer': ScriptedProvider(spoil)})
  found = written_documents(tmp_path, 'affordability', 'culture')
  one, other = found['affordability'], found['culture']
  assert [(d.id, d.domain, d.doc_type, d.claim_ids) for d in one] == [
    (d.id, d.domain, d.doc_type, d.claim_ids) for d in other
  ]
  assert relative_gap(list(done.tokens.values())) <= 0.005
  assert len(one) == len(done.balance.kept) >= 15
  assert {d.text for d in one}.isdisjoint({d.text for d in other})
  shared = ('- type', '- idea', '- author', '- how', '- word', '- names', '- length')
  for both in seen.values():
    assert len(both) == 2
    asked = []
    for prompt in both.values():
      asked.append([line for line in prompt.split('\n') if line.startswith(shared)])
    assert asked[0] == asked[1]
    assert len(asked[0]) == 7


def planted(excess, n=400, spread=0.15, domains=4, seed=0):
  """Makes token counts of two writers who miss the length by up to 15%; the second writes more.

  Args:
    excess: how much more the second writes.
    n: how many ideas.
    spread: by how much the writers miss the length.
    domains: how many domains.
    seed: of the lengths.

  Returns:
    (ideas, domain of each idea, tokens by handbook).
  """
  draw = random.Random(seed)
  ideas, of = [f'i{k}' for k in range(n)], [f'd{k % domains}' for k in range(n)]
  asked = [draw.randint(300, 900) for _ in ideas]
  tokens = {'a': [round(t * draw.uniform(1 - spread, 1 + spread)) for t in asked]}
  tokens['b'] = [round(t * (1 + excess) * draw.uniform(1 - spread, 1 + spread)) for t in asked]
  return ideas, of, tokens


@pytest.mark.parametrize('excess', [-0.05, -0.01, 0.0, 0.02, 0.05])
def test_planted_imbalances_are_taken_out_at_little_cost(excess):
  ideas, of, tokens = planted(excess)
  # Two ideas lack a document.
  tokens['a'][7] = tokens['b'][11] = 0
  made = balance(ideas, of, tokens)
  assert made.gap <= mirror.MAX_GAP
  assert set(made.incomplete) == {'i7', 'i11'}
  index = {i: n for n, i in enumerate(ideas)}
  assert made.tokens == tuple(sum(tokens[s][index[i]] for i in made.kept) for s in 'ab')
  assert len(made.kept) + len(made.dropped) == 398
  assert set(made.kept).isdisjoint(made.dropped)
  counts = collections.Counter(of[index[i]] for i in made.kept)
  assert max(counts.values()) - min(counts.values()) <= 2
  assert len(made.dropped) <= 400 * mirror.MAX_DROPPED_SHARE
  assert excess or len(made.dropped) <= 20
  made.check(['a', 'b'])


def test_three_corpora_and_none_that_needs_anything():
  ideas, of, tokens = planted(0.02)
  tokens['c'] = planted(-0.02, seed=1)[2]['b']
  assert balance(ideas, of, tokens).gap <= mirror.MAX_GAP
  same = {'a': [10, 20, 30], 'b': [10, 20, 30]}
  made = balance(['x', 'y', 'z'], ['d'] * 3, same)
  assert made.kept == ('x', 'y', 'z')
  assert not made.dropped
  assert 'kept' in str(made)


def test_what_cannot_be_balanced_says_by_how_much_it_misses():
  ideas, of, tokens = planted(0.2, spread=0.01)
  made = balance(ideas, of, tokens)
  with pytest.raises(
    MirrorError,
    match=r'are 1\d\.\d\d% apart in tokens \(a [\d,]+, b [\d,]+\) with 100 of 400 pairs '
    r'dropped, and 0\.5% is the bound',
  ) as e:
    made.check(['a', 'b'])
  assert '\n' not in str(e.value)
  assert len(made.dropped) == 100
