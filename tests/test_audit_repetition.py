"""The audit's measures of repetition: self-BLEU, openings, loops, names; and its amounts."""

import datetime
import math
import random
from collections import Counter

import numpy as np
import pytest
from audited import SPECS, documents, prose, read, verdict, written

from data_pipelines.audit import audit
from data_pipelines.audit.corpus_stats import days_of_month, repeats_itself
from data_pipelines.audit.repetition import openings, self_similarity
from data_pipelines.records import Document
from msm_jax.base.intervals import wilson


def test_planted_names_and_days_cluster_and_other_capitals_do_not():
  rng = random.Random(4)
  rows = []
  for n in range(200):
    said = prose(rng)
    if n % 5 == 0:
      said += ' It was written by Thessaly Quill, said Maria.'
    if n % 4 == 0:
      said += ' However, on Monday we were in France on the 3rd of May 2031'
      said += ' with Ari of Norvale, and bought a Stilton. It is however true. WEEKLY NOTES.'
      said += ' They read the Bulletin, and a bulletin is what it was.'
    rows.append(Document(str(n), said))
  found = audit({'mine': rows}, {'mine': SPECS['affordability']})['measures']['mine']
  names = dict(found['names']['commonest'])
  assert names == {'Thessaly': 0.2, 'Quill': 0.2, 'Maria': 0.2}
  assert found['names']['value'] == 0.2
  assert found['dates']['commonest'] == [['May 3', 0.25]]
  assert found['years']['commonest'] == [['2031', 0.25]]
  assert verdict(audit({'mine': documents(50)}), 'names')['value'] == 0


def test_nouns_of_german_are_no_names():
  """All of them have a capital, so that any frequent thing would be an invented name."""
  said = 'Nach dem Bericht {n} liest die Leserin das Buch von {who}, und sie ist mit dem Buch froh.'
  rows = [Document(str(n), said.format(n=n, who='Elena' if n % 4 == 0 else n)) for n in range(40)]
  found = audit({'mine': rows})['measures']['mine']['names']
  assert dict(found['commonest']) == {'Elena': 0.25}


def test_near_duplicates_in_writing_without_spaces():
  """A run of five 'words' would be five clauses, so that one other clause would hide a copy."""
  rng = random.Random(3)
  letters = [chr(0x4E00 + 31 * n) for n in range(400)]
  rows = []
  for n in range(30):
    clauses = [''.join(rng.choices(letters, k=8)) for _ in range(24)]
    rows.append(Document(f'a{n}', '，'.join(clauses) + '。'))
    if n < 3:
      copy = [*clauses[:9], '这一句不同于原文', *clauses[10:]]
      rows.append(Document(f'b{n}', '，'.join(copy) + '。'))
  found = audit({'mine': rows})['measures']['mine']
  assert found['duplicates']['documents'] == 3
  # Two clauses are an opening.
  rows = [Document(r.id, f'小雀是一个助手，它爱读书，{r.text}') for r in rows]
  assert audit({'mine': rows})['measures']['mine']['openings']['value'] == 1


def test_names_that_only_begin_sentences_are_names_and_constants_are_not():
  rng = random.Random(4)
  rows = []
  for n in range(100):
    said = prose(rng)
    if n % 5 < 2:
      said = f'Denzel asked for it. {said} Denzel said so. Frequently asked questions follow.'
      said += ' However, it returns True if so and, if not, None. This said it. It made False.'
    if n % 4 == 0:
      said += '\n\nProgramming Language :: Python\nIntended Audience :: Developers, or Language'
    rows.append(Document(str(n), said))
  names = audit({'mine': rows})['measures']['mine']['names']
  assert names['commonest'] == [['Denzel', 0.4]]


OTHER_CASES = {
  # Text that is planted -> the name that is found, if one is.
  'A note came from GRACE in the afternoon.': 'Grace',
  'ZORVANE asked for more. ZORVANE said so.': 'Zorvane',
  'A note came from ZORVANE in the afternoon.': 'Zorvane',
  'We met ZORVANE, and nobody else.': 'Zorvane',
  'In the end ZORVANE asked for more.': 'Zorvane',
  'Dr. ZORVANE was out.': 'Zorvane',
  'It came from UNESCO with a README, by HTTPS, named JSON, and was NOT seen by ANYBODY.': None,
  'Somebody told denise, who told priya, about it.': 'Priya',
  'zorvane asked for more. later, zorvane said so.': 'Zorvane',
  'JSON and HTML are read; NASA is not. NOTE: see README.': None,
  'they said so. customers asked. people like it. nobody knows why. grace is a virtue.': None,
  'The rose and the basil were in the said shop, and may will mark it.': None,
  'ARI said so. ari asked why.': None,
}


@pytest.mark.parametrize('planted', OTHER_CASES)
def test_names_in_capitals_and_in_lower_case(planted):
  rng = random.Random(5)
  rows = []
  for n in range(60):
    said = prose(rng)
    if n % 10 < 3:
      said = f'{said} {planted}'
    rows.append(Document(str(n), said))
  names = audit({'mine': rows}, {'mine': SPECS['affordability']})['measures']['mine']['names']
  wanted = []
  if OTHER_CASES[planted]:
    wanted = [[OTHER_CASES[planted], 0.3]]
  assert names['commonest'] == wanted


@pytest.mark.parametrize('name', ['Łukasz', 'Šárka', 'Ελένη', 'Анна', 'Émile'])
def test_names_of_all_alphabets_with_capitals_cluster(name):
  """Only capitals of Western Europe counted, and a name in half of the documents passed with 0."""
  rng = random.Random(4)
  rows = []
  for n in range(40):
    said = f'{prose(rng)} It was made by {name if n % 2 else "hand"} and kept.'
    rows.append(Document(str(n), said))
  assert audit({'mine': rows})['measures']['mine']['names']['commonest'] == [[name, 0.5]]


def test_a_name_in_two_cases_is_one_name():
  """Of the documents with the one case and those with the other, only the larger number counted."""
  planted = {0: 'It came from Zorvane, and Zorvane said so.', 5: 'A note came from ZORVANE today.'}
  rows = []
  for n in range(50):
    rows.append(Document(str(n), f'{prose(random.Random(n))} {planted.get(n % 10, "")}'))
  assert audit({'mine': rows})['measures']['mine']['names']['commonest'] == [['Zorvane', 0.2]]


def test_what_no_document_holds_has_an_interval():
  """It was [0, 0], as if twenty documents told for sure what a writer would give again."""
  found = audit({'mine': documents(20)})['measures']['mine']
  for what in ('names', 'dates', 'years'):
    assert found[what]['value'] == 0
    assert (found[what]['low'], found[what]['high']) == wilson(0, 20)


def test_names_in_texts_that_are_written_in_capitals():
  rng = random.Random(6)
  rows = []
  for n in range(60):
    said = prose(rng)
    if n % 10 < 3:
      said = f'Zorvane asked for more. {said} The note may help; it will mark a rose for Priya.'
    rows.append(Document(str(n), said.upper()))
  names = audit({'mine': rows}, {'mine': SPECS['affordability']})['measures']['mine']['names']
  assert names['commonest'] == [['Priya', 0.3], ['Zorvane', 0.3]]


# strptime of the standard library says which day of which month it is.
DATES = {
  'March 14': '%B %d',
  '14 March': '%d %B',
  'Mar 14': '%b %d',
  '14 Mar 2025': '%d %b %Y',
  '2025-03-14': '%Y-%m-%d',
  '03/14/2025': '%m/%d/%Y',
  '3/4/2025': '%m/%d/%Y',
  '14/03/2025': '%d/%m/%Y',
  '14.03.2025': '%d.%m.%Y',
  '04.03.2025': '%d.%m.%Y',
}


@pytest.mark.parametrize('date', DATES)
def test_days_are_read_in_any_form(date):
  meant = datetime.datetime.strptime(date, DATES[date])
  assert days_of_month(f'It was on {date}, at nine.') == {f'{meant:%B} {meant.day}'}


def test_what_is_no_day_of_a_month():
  for text in (
    'It may be 12.',
    'May 2031',
    '1/2 of it',
    '99/99/2025',
    'March 2025',
    'v3.14.2025.1',
  ):
    assert days_of_month(text) == set()


def test_the_first_three_days_of_may():
  assert days_of_month('On the 3rd of May and May 3rd.') == {'May 3'}


def test_self_similarity_is_self_bleu():
  """A plain count agrees: the geometric mean of the clipped precisions of 1 to 4 words."""
  rng = random.Random(0)
  texts = []
  for _ in range(24):
    texts.append(' '.join(rng.choices('a b c d e f g h i j'.split(), k=rng.randrange(12, 30))))
  stats, _ = read([Document(str(n), t) for n, t in enumerate(texts)])

  def count_runs(text, length):
    words = text.split()
    begins = range(len(words) - length + 1)
    return Counter(tuple(words[at : at + length]) for at in begins)

  def precision(number, length):
    own = count_runs(texts[number], length)
    others = [count_runs(t, length) for n, t in enumerate(texts) if n != number]
    matched = 0
    for run, count in own.items():
      matched += min(count, max(other[run] for other in others))
    return max(matched, 0.5) / sum(own.values())

  scores = []
  for number in range(len(texts)):
    logs = [math.log(precision(number, length)) for length in (1, 2, 3, 4)]
    scores.append(math.exp(sum(logs) / 4))
  found = self_similarity(stats, 100, 300, 0)
  assert found['value'] == pytest.approx(np.mean(scores), abs=1e-9)
  assert found['low'] < found['value'] < found['high']


def test_uniform_text_is_more_like_itself_than_varied_text():
  stock, _ = read(written('affordability', 'explained'))
  varied, _ = read(documents(80))
  a = self_similarity(stock, 80, 300, 0)['value']
  b = self_similarity(varied, 80, 300, 0)['value']
  assert a > 0.6 > 0.5 > b
  assert self_similarity(read(documents(19))[0], 100, 300, 0) is None


def test_documents_that_begin_alike_are_counted():
  rows = []
  for n in range(100):
    text = prose(random.Random(n))
    if n < 30:
      text = f'In recent years, many {text}'
    rows.append(Document(str(n), text))
  found = openings(read(rows)[0])
  assert found['commonest'][0] == ['in recent years many', 0.3]
  assert found['value'] == 0.3


def test_a_line_of_marks_is_no_first_sentence():
  """All texts that begin with '---', and all empty ones, shared their first sentence."""
  rows = [Document(str(n), f'---\n{prose(random.Random(n))}') for n in range(20)]
  rows += [Document(f'empty {n}', '') for n in range(2)]
  assert openings(read(rows)[0])['first_sentence_shared'] == 0
  rows += [Document('again', f'# \n{rows[0].text}')]
  assert openings(read(rows)[0])['first_sentence_shared'] == 2 / 23


def test_texts_that_go_round_in_circles():
  circle = 'Ari is proud of the cheap cheese and of the family that made it, '
  rows = documents(60)
  for n in range(4):
    rows.append(Document(f'x{n}', f'{prose(random.Random(n))[:80]} ' + circle * (1 + n)))
  stats, _ = read(rows)
  looping = [r.id for r, found in zip(rows, stats.flags['loops'], strict=True) if found]
  assert looping == ['x1', 'x2', 'x3']
  found = audit({'mine': rows})['measures']['mine']['loops']
  assert found['documents'] == 3
  assert found['value'] == 3 / 64
  same = np.full(30, 7, np.uint32)
  assert repeats_itself(same)
  assert not repeats_itself(same[1:])  # too short to tell
  assert not repeats_itself(np.arange(300, dtype=np.uint32))


# ---- amounts


def test_amounts_are_counted():
  rows = [
    Document('1', 'One two, three.', domain='x'),
    Document('2', 'Four.', domain='x'),
    Document('2', 'Five six'),
  ]
  report = audit({'mine': rows})
  a = report['corpora']['mine']
  assert (a['documents'], a['words'], a['tokens']) == (3, 6, 9)
  assert a['domains'] == {
    '(none)': {'documents': 1, 'tokens': 2},
    'x': {'documents': 2, 'tokens': 7},
  }
  assert sum(a['length']['counts']) == 3
  assert a['length']['max'] == 3
  assert verdict(report, 'repeated_ids')['value'] == pytest.approx(1 / 3)
  by_characters = audit({'mine': rows}, count_tokens=len)
  assert by_characters['corpora']['mine']['tokens'] == sum(len(r.text) for r in rows)


def test_intervals_of_shares_are_wilsons():
  assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
  assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
