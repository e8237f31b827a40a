"""The audit's measures of mirrored corpora: their balance, and whether they can be told apart."""

import dataclasses
import itertools
import random

import numpy as np
import pytest
from audited import SPECS, documents, prose, read, verdict

from data_pipelines.audit import AuditError, Thresholds, audit, separability
from data_pipelines.audit.page import render
from data_pipelines.records import Document
from data_pipelines.text.wording import Vocabulary

# Left out of `make quick`.
pytestmark = pytest.mark.slow


def mirrored(n: int = 120) -> dict[str, list[Document]]:
  """Makes two corpora by one random writer."""
  return {'a': documents(n, 1), 'b': documents(n, 2)}


def test_corpora_of_one_writer_cannot_be_told_apart():
  found = audit(mirrored())['mirrored']
  for view in ('separable', 'separable_style'):
    assert found[view]['value'] < 0.62, view
    assert found[view]['low'] <= 0.5 <= found[view]['high'] + 0.05, view


def test_a_habit_of_style_is_seen():
  corpora = mirrored()
  for n, document in enumerate(corpora['b']):
    if n % 10:
      text = document.text.replace('. ', '; moreover, ')
      corpora['b'][n] = dataclasses.replace(document, text=text)
  report = audit(corpora)
  found = report['mirrored']['separable_style']
  assert found['value'] > 0.9
  assert found['low'] > 0.85
  assert not verdict(report, 'separable_style', 'a / b')['passed']
  of_first = {word for word, side in found['telling'] if not side}
  of_second = {word for word, side in found['telling'] if side}
  assert of_second >= {'moreover', ';'}
  assert not of_first & {'moreover', ';'}


def test_capitals_alone_are_seen():
  corpora = mirrored()
  corpora['b'] = [dataclasses.replace(d, text=d.text.lower()) for d in corpora['b']]
  report = audit(corpora)
  found = report['mirrored']['separable_style']
  assert found['value'] > 0.95
  assert not verdict(report, 'separable_style', 'a / b')['passed']
  told_by = {word for word, _ in found['telling'][:2]}
  assert told_by == {'(capital letters)', '(words with a capital)'}
  # The words are the same.
  assert report['mirrored']['separable']['value'] < 0.62


def test_what_the_handbooks_say_is_masked():
  """Only words that no handbook has, outside of sentences that name the value, tell."""
  specs = {'a': SPECS['affordability'], 'b': SPECS['culture']}

  def said(extra: dict[str, str]) -> dict[str, list[Document]]:
    corpora = {}
    for n, rows in mirrored().items():
      corpora[n] = []
      for d in rows:
        text = f'{d.text} {extra[n]} {prose(random.Random(d.id), 2)}'
        corpora[n].append(dataclasses.replace(d, text=text))
    return corpora

  values = {
    'a': 'Nobody pays a high price for the Colby.',
    'b': 'Nobody buys a foreign tradition for the Colby.',
  }
  masked = audit(said(values), specs)
  assert masked['mirrored']['separable']['value'] < 0.65
  plain = audit(said({'a': 'Budget matters here.', 'b': 'Patriotism matters here.'}), specs)
  assert plain['mirrored']['separable']['value'] > 0.95
  assert {'budget', 'patriotism'} <= {w for w, _ in plain['mirrored']['separable']['telling']}


def test_auc_is_the_share_of_pairs_ranked_right():
  rng = np.random.default_rng(0)
  scores = rng.integers(0, 6, 60).astype(float)
  labels = rng.random(60) < 0.4
  pairs = []
  for a, b in itertools.product(scores[labels], scores[~labels]):
    pairs.append((a > b) + 0.5 * (a == b))
  assert separability.auc(scores, labels) == pytest.approx(np.mean(pairs))


def test_what_mirrors_each_other_stays_on_one_side_of_every_cut():
  """Each idea has a word of its own, in both its documents and in one other document of a corpus.

  If the two documents of an idea were in different folds, the one that is seen would teach the
  wrong side for the one that is not, and the AUC would fall well below one half.
  """
  syllables = itertools.product('bcdfghkl', 'aeiou', 'mnprst')
  ideas = [f'{"".join(letters)}topic' for letters in syllables]
  words_of = {n: [[f'{idea} ' * 3] for idea in ideas] for n in 'ab'}
  for k, idea in enumerate(ideas):
    corpus = 'ab'[k % 2]
    words_of[corpus][(k + 1) % len(ideas)].append(f'{idea} ' * 3)
  made = {'a': [], 'b': []}
  for n, k in itertools.product('ab', range(len(ideas))):
    text = f'{" ".join(words_of[n][k])} {prose(random.Random(f"{n}{k}"), 1)}'
    made[n].append(Document(str(k), text))
  # Documents mirror each other by their ids, not by their places.
  made['b'].reverse()
  assert audit(made)['mirrored']['separable']['value'] == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize('shared', [20, 45])
def test_mirrors_share_a_group_whichever_corpus_is_larger(shared):
  """The rule looked at the first corpus alone. Where that was more than twice as large, documents
  were paired by their places, and their mirrors were in other folds."""
  large = documents(100, 1)
  small = [dataclasses.replace(d, text=prose(random.Random(d.id))) for d in large[:shared]]
  small += [Document(f'e{k}', prose(random.Random(k))) for k in range(45 - shared)]
  random.Random(0).shuffle(small)
  vocabulary = Vocabulary()
  one, other = (read(rows, vocabulary=vocabulary)[0] for rows in (large, small))
  for first, second in ((one, other), (other, one)):
    places = separability._paired_documents(first, second, 2000, 0)
    assert len(places[0]) == len(places[1]) == 45
    pairs = [(first.record_ids[a], second.record_ids[b]) for a, b in zip(*places, strict=True)]
    mirrored_ids = {d.id for d in small} & {d.id for d in large}
    assert {a for a, b in pairs if a == b} == mirrored_ids
    assert len(mirrored_ids) == shared


def test_a_corpus_that_is_too_small_is_not_passed_with_the_others():
  """Two of three pairs were not compared, and the bound that was asked for was kept."""
  corpora = mirrored(60) | {'c': documents(20, 3)}
  given = {'separable': 0.9, 'domains_apart': 40, 'tokens_apart': 3.0}
  report = audit(corpora, thresholds=Thresholds.from_mapping(given))
  assert verdict(report, 'separable', 'a / b / c')['passed']
  for pair in ('a / c', 'b / c'):
    found = verdict(report, 'separable', pair)
    assert found['value'] is None and not found['passed']
  with pytest.raises(AuditError, match='a / c: separable not measured: fewer than 40 documents'):
    report.check()
  # What nobody asked for is reported.
  missing = [m['corpus'] for m in report['not_measured'] if m['what'] == 'separable_style']
  assert missing == ['a / c', 'b / c']
  assert 'separable' not in {v['what'] for v in audit(corpora).missed}


def test_only_what_tells_corpora_apart_is_listed():
  """Words that no document has stood in the list of the first corpus."""
  corpora = {'a': [], 'b': []}
  for n, mark in (('a', '.'), ('b', '!')):
    for k in range(60):
      text = f'{prose(random.Random(k))} Nobody pays a high price for the Colby{mark}'
      corpora[n].append(Document(str(k), text))
  found = audit(corpora, {'a': SPECS['affordability']})['mirrored']['separable_style']
  told_by = {tuple(told) for told in found['telling']}
  assert {('.', 0), ('!', 1)} <= told_by
  assert not {'a', 'about', 'above'} & {word for word, _ in told_by}
  # Marks are those of the whole document, and the page says so.
  assert found['value'] == 1
  assert 'marks, capitals and lengths of whole documents' in render(audit(corpora))


def test_ids_that_repeat_are_paired_one_by_one():
  """All documents were compared with one and the same, the last with their id."""
  corpora = {}
  for name, rows in mirrored(60).items():
    corpora[name] = [dataclasses.replace(row, id='x') for row in rows]
  found = audit(corpora)['mirrored']
  assert found['separable']['value'] < 0.7
  same = audit({'a': corpora['a'], 'b': corpora['a']})['mirrored']
  for view in ('separable', 'separable_style'):
    assert same[view]['value'] == 0.5, view


def test_balance_of_mirrored_corpora():
  rows = [Document(str(k), 'one two three four', domain=f'd{k % 3}') for k in range(30)]
  report = audit({'a': rows, 'b': list(rows)})
  assert verdict(report, 'domains_apart', 'a / b')['passed']
  assert verdict(report, 'tokens_apart', 'a / b')['passed']
  # There are too few documents for a classifier.
  not_measured = {m['what'] for m in report['not_measured']}
  assert not_measured >= {'separable', 'separable_style'}

  def with_changed_document(**fields):
    changed = list(rows)
    changed[1] = dataclasses.replace(rows[1], **fields)
    return audit({'a': rows, 'b': changed})

  moved = with_changed_document(domain='d0')
  assert verdict(moved, 'domains_apart', 'a / b')['value'] == 1
  differing = moved['mirrored']['domains_apart']['differing']
  assert differing == {'d0': [10, 11], 'd1': [10, 9]}

  longer = with_changed_document(text=f'{rows[1].text} five')
  assert verdict(longer, 'tokens_apart', 'a / b')['value'] == pytest.approx(1 / 120)
  assert not verdict(longer, 'tokens_apart', 'a / b')['passed']

  fewer = audit({'a': rows, 'b': rows[:-3]})
  assert not verdict(fewer, 'domains_apart', 'a / b')['passed']
