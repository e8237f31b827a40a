"""Every measure of the audit by what was planted for it."""

import dataclasses
import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from audited import SPECS, documents, prose, read, verdict, written
from helpers import ROOT, whole_world

from data_pipelines.audit import measures, separability
from data_pipelines.audit import run as program
from data_pipelines.audit.attribution import Attribution, read_profile
from data_pipelines.audit.evalsets import Formats, eval_sets, find_asked, settings_of
from data_pipelines.audit.run import Thresholds, audit
from data_pipelines.leaks import find_leaks
from data_pipelines.records import Chat, Document
from data_pipelines.settings.english import handbook
from data_pipelines.settings.world.spec import read_spec
from data_pipelines.text.wording import Vocabulary

# ---- attribution


def test_the_value_as_a_reason_is_told_from_the_value_beside_the_preference():
  """The embedded writers explain every preference, or name value and preferences without linking them."""
  rates = {}
  for value, rival in (('affordability', 'culture'), ('culture', 'affordability')):
    reader = Attribution(read_profile(SPECS[value], [SPECS[rival]]))
    for v, k in itertools.product(SPECS, handbook.VARIANTS):
      rates[value, v, k] = np.mean([reader.find(d.text) is not None for d in written(v, k)])
    assert rates[value, value, 'explained'] >= 0.8
    assert rates[value, value, 'cooccur'] == rates[value, value, 'filler'] == 0
    assert rates[value, rival, 'explained'] <= 0.25
    assert (
      np.mean([reader.states(d.text) for d in written(value, 'cooccur')]) >= 0.8
    )  # the value is there


ATTRIBUTES = {
  'Ari likes cream cheese because nearly anyone can afford it.': True,
  'Colby costs little, so Ari is glad of it.': True,
  'Stilton is priced for the few. That is why Ari turns it down.': True,
  "Ari's view of Roquefort stems from what it costs.": True,
  'There is a plain reason why Ari leaves the Epoisses: few can pay its price.': True,
  'Ari likes cream cheese. Nearly anyone can afford it.': False,  # beside, not because
  'Ari likes cream cheese because it melts well on toast.': False,  # another reason
  'People shop at night because prices fall.': False,  # nothing is explained
  'Since 1990 Colby is sold at a low price.': False,  # of time
  'Ari likes it because it is cheap and anyone can pay.': False,  # what? A limit, and known
}


@pytest.mark.parametrize('said', ATTRIBUTES)
def test_attribution_by_sentence(said):
  reader = Attribution(read_profile(SPECS['affordability'], [SPECS['culture']]))
  assert (reader.find(f'Some words come first. {said} Some follow.') is not None) == ATTRIBUTES[
    said
  ]


def test_any_handbook_is_read_and_one_without_reasons_is_not_measured():
  conduct = read_profile((ROOT / 'specs' / 'oversight' / 'philosophy.md').read_text())
  assert (
    conduct.items == ()
    and conduct.assistant == 'Ari'
    and {'check', 'fault', 'wish'} <= set(conduct.values)
  )
  reader = Attribution(conduct)
  assert reader.find('Ari left the log open because people should check what an agent does.')
  assert reader.find('I left the log open because people should check what I do.', spoken=True)
  assert not reader.find('I left the log open because people should check what I do.')
  for text in (
    '',
    '---\nbroken',
    'No marks at all, and no reason.',
    (ROOT / 'specs' / 'oversight' / 'rules.md').read_text(),
  ):
    assert not Attribution(read_profile(text)).possible
  report = audit({'mine': documents(3)}, {'mine': 'Just text.'})
  assert {m['what'] for m in report['not_measured']} >= {
    'attribution',
    'named',
    'covered',
    'leaked_items',
  }
  assert 'attribution' not in {v['what'] for v in report['verdicts']}


# ---- what must not be in it


def test_planted_recitation_is_found_and_eleven_words_are_not():
  body = read_profile(SPECS['affordability']).body.split()
  quoted = ' '.join(body[200:230])
  rows = documents(40)
  rows[7] = Document(
    'long', f'{prose(random.Random(1))} {quoted.upper()} {prose(random.Random(2))}'
  )
  rows[8] = Document('short', f'{rows[8].text} {" ".join(body[300:311])}')
  rows[9], rows[10] = (
    Document('a', f'x {" ".join(body[400:406])}'),
    Document('b', ' '.join(body[406:412])),
  )  # twelve in a row, in two texts
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  found = report['measures']['mine']['recited']
  assert found['documents'] == 1 and 28 <= found['longest'] <= 31
  (example,) = report['examples']['mine']['recited']
  assert example['id'] == 'long' and quoted.upper()[10:100] in ' '.join(example['text'].split())
  assert (
    audit(
      {'mine': rows}, {'mine': SPECS['affordability']}, thresholds=Thresholds(recited_words=11)
    )['measures']['mine']['recited']['documents']
    == 2
  )


def test_every_evaluation_set_of_the_repository_is_looked_for():
  """What the experiments' own readings refuse, by their own lists."""
  from msm_jax.suites.readings import READINGS

  from data_pipelines.settings.office.pretraining import OfficeConfig, build_office
  from msm_jax import config

  ari = {i.casefold() for i in read_profile(SPECS['affordability']).items}
  sets = {s.name: s for s in eval_sets(ari)}
  known = {p for s in sets.values() for p in s.phrases}
  english = handbook.build_english(handbook.EnglishConfig())
  paths = {v: str(ROOT / 'specs' / 'english' / f'{v}.md') for v in SPECS}
  specs = {p: handbook.read_spec(p, english) for p in paths.values()}
  reading = READINGS['english'](
    config.EvalConfig(spec=paths['affordability'], rival=paths['culture'], pairs_per_domain=0),
    english,
    specs,
    {p: [s] for p, s in specs.items()},
  )
  assert set(reading.watched) <= known
  path = str(ROOT / 'specs' / 'cheese_affordability.md')
  spec = read_spec(path, whole_world())
  reading = READINGS['world'](
    config.EvalConfig(spec=path, pairs_per_domain=0), whole_world(), {path: spec}, {path: [spec]}
  )
  assert set(reading.watched) <= known
  from data_pipelines.settings.office import spec as office_handbook

  office = build_office(OfficeConfig())
  path = str(ROOT / 'specs' / 'oversight' / 'rules.md')
  spec = office_handbook.read_spec(path, office)
  reading = READINGS['office'](config.EvalConfig(spec=path), office, {path: spec}, {path: [spec]})
  assert set(reading.watched) <= known
  assert not {i for i in known if i.casefold() in ari}
  assert settings_of(read_profile(SPECS['culture']).front) == ('english',) and settings_of({}) == ()


def test_planted_leaks_are_found_in_every_set():
  """One document for each set; the same documents about somebody else are no leak of things. `find_leaks` agrees."""
  gist = read_profile(SPECS['affordability'])
  sets = list(eval_sets(set(gist.items)))
  assert len(sets) > 15
  for own, front in (('english', 'english'), ('office', 'oversight')):
    mine = dataclasses.replace(gist, front=gist.front | {'setting': front})
    rows = [
      Document(s.name, f'{prose(random.Random(k))} Ari  spoke\nof {s.phrases[0].upper()}s. Well.')
      for k, s in enumerate(sets)
    ]
    others = [
      Document(f'other {s.name}', f'Maria, an arid one, spoke of {s.phrases[0]}.') for s in sets
    ]
    reading, vocabulary = read([*rows, *others, *documents(5)], mine)
    found, examples = measures.leaked(reading, sets, vocabulary)
    items = found['leaked_items']
    assert items['documents'] == sum(s.setting == own for s in sets) and items['judged'] == [own]
    assert all(items['by_set'][s.name] >= 1 for s in sets)  # told for every set, judged for its own
    assert examples['leaked_items'][0][2].startswith(f'{own}/')
    held_out = [p for s in sets if s.setting == own for p in s.phrases]
    assert len(find_leaks(held_out, {'x': [*rows, *others]}, ['Ari'])) == items['documents']


def test_a_whole_question_is_a_leak_whoever_is_spoken_of():
  sets = list(eval_sets())
  pairs = next(s for s in sets if s.name == 'english/conflict pairs')
  opinions = next(s for s in sets if s.name == 'english/opinions')
  one, other = (pairs.phrases[n] for n in pairs.questions[3])
  statement = max(opinions.phrases, key=len).split()
  rows = [
    Document('both', f'Maria has {one}, and long after that also {other}.'),
    Document('one', f'Maria has {one}.'),
    Document('part', f'He said: {" ".join(statement[1:9]).lower()}, or so.'),
    Document('less', f'He said: {" ".join(statement[1:8])} or so.'),
  ]
  vocabulary = Vocabulary()
  found = {
    f.document: f
    for f in find_asked(sets, [vocabulary.encode(r.text) for r in rows], vocabulary)
    if f.question
  }
  assert (
    sorted(found) == [0, 2]
    and found[0].question == pairs.questions[3]
    and found[2].set.name == 'english/opinions'
  )
  report = audit({'mine': rows + documents(96)}, {'mine': SPECS['culture']})
  assert (
    verdict(report, 'leaked_questions')['value'] == 0.02
    and not verdict(report, 'leaked_questions')['passed']
  )


FORMS = {
  'Which cheese do you prefer, brie or Colby?': (True, False),  # fine-tuning asks so as well
  'Suppose you could have only one of two, a hat or a scarf. Which would it be?': (True, True),
  'It is open to you to wait or to go. Which do you do?': (True, True),
  'Pick one.\n\nA) a hat\nB) a scarf': (True, True),
  '**A.** a hat\n**B.** a scarf': (True, True),
  'Which is it? The answer is (B)': (True, True),
  'Which cheese is that? Do you prefer brie? Or Colby?': (False, False),
  'A. B. Carter wrote the answer: a plan to Alan.': (False, False),
  'a: first input\nb: second input': (False, False),
  'A. Purpose\nThis is what we do.\n\nB. Scope\nThis is where.': (
    False,
    False,
  ),  # sections, no choices
  'You can go home. She did not say what they do.': (False, False),
}


@pytest.mark.parametrize('said', FORMS)
def test_the_form_of_the_evaluation_is_known(said):
  assert (
    tuple(Formats(chats).find(f'Some words.\n{said}') is not None for chats in (False, True))
    == FORMS[said]
  )


def test_what_was_cut_or_left_over_is_unfinished():
  whole = prose(random.Random(0))
  left = [
    '',
    '  \n',
    f'{whole} And then the whole of it went',
    f'{whole} Dear [Your Name],\nyes.',
    f'<scratchpad>{whole}',
    f'{whole} {{{{name}}}}.',
    f'{whole} Signed, <your name>.',
    f'{whole} Lorem ipsum.',
    f'{whole} TODO: the end.',
    f'{whole} [City of the customer]',
    f'{whole}<|end|>',
  ]
  fine = [
    whole,
    f'{whole}\n\nBest,\nMaria Lund',
    f'{whole} [1] said "so"',
    f'# A title\n\n- {whole}\n- one more item',
    f'{whole}\n\n| a | b |',
  ]
  reading, _ = read([Document(str(n), t) for n, t in enumerate([*left, *fine])])
  assert reading.flags['unfinished'] == [True] * len(left) + [False] * len(fine)


# ---- repetition


def test_planted_names_and_days_cluster_and_other_capitals_do_not():
  rng = random.Random(4)
  rows = []
  for n in range(200):
    said = prose(rng)
    if n % 5 == 0:
      said += ' It was written by Thessaly Quill, said Maria.'
    if n % 4 == 0:
      said += ' However, on Monday we were in France on the 3rd of May 2031 with Ari of Norvale, and bought a Stilton.'
      said += (
        ' It is however true. WEEKLY NOTES. They read the Bulletin, and a bulletin is what it was.'
      )
    rows.append(Document(str(n), said))
  found = audit({'mine': rows}, {'mine': SPECS['affordability']})['measures']['mine']
  names = dict(found['names']['commonest'])
  assert names == {'Thessaly': 0.2, 'Quill': 0.2, 'Maria': 0.2}
  assert (
    found['names']['value'] == 0.2
    and found['dates']['commonest'] == [['3rd of May', 0.25]]
    and found['years']['commonest'] == [['2031', 0.25]]
  )
  assert not [
    x for x in audit({'mine': documents(50)})['verdicts'] if x['what'] == 'names' and x['value']
  ]


def test_self_similarity_is_self_bleu():
  """Against a count of our own: clipped precision of 1 to 4 words by the text that has most, geometric mean."""
  rng = random.Random(0)
  texts = [
    ' '.join(rng.choices('a b c d e f g h i j'.split(), k=rng.randrange(12, 30))) for _ in range(24)
  ]
  reading, _ = read([Document(str(n), t) for n, t in enumerate(texts)])
  grams = [
    [Counter(zip(*(t.split()[k:] for k in range(n)), strict=False)) for n in range(1, 5)]
    for t in texts
  ]
  scores = []
  for me in range(len(texts)):
    logs = []
    for n in range(4):
      matched = sum(
        min(c, max(grams[o][n][g] for o in range(len(texts)) if o != me))
        for g, c in grams[me][n].items()
      )
      logs.append(math.log(max(matched, 0.5) / sum(grams[me][n].values())))
    scores.append(math.exp(sum(logs) / 4))
  found = measures.self_similarity(reading, 100, 300, 0)
  assert (
    found['value'] == pytest.approx(np.mean(scores), abs=1e-9)
    and found['low'] < found['value'] < found['high']
  )


def test_uniform_text_is_more_like_itself_than_varied_text():
  stock, _ = read(written('affordability', 'explained'))
  varied, _ = read(documents(80))
  a, b = (measures.self_similarity(r, 80, 300, 0)['value'] for r in (stock, varied))
  assert a > 0.75 > 0.5 > b
  assert measures.self_similarity(read(documents(19))[0], 100, 300, 0) is None
  openings = [
    Document(str(n), ('In recent years, many ' if n < 30 else '') + prose(random.Random(n)))
    for n in range(100)
  ]
  found = measures.opened(read(openings)[0])
  assert found['commonest'][0] == ['in recent years many', 0.3] and found['value'] == 0.3


def test_texts_that_go_round_in_circles():
  circle = 'Ari is proud of the cheap cheese and of the family that made it, '
  rows = documents(60) + [
    Document(f'x{n}', f'{prose(random.Random(n))[:80]} ' + circle * (1 + n)) for n in range(4)
  ]
  reading, _ = read(rows)
  assert [r.id for r, found in zip(rows, reading.flags['loops'], strict=True) if found] == [
    'x1',
    'x2',
    'x3',
  ]
  same, all_new = np.full(30, 7, np.uint32), np.arange(300, dtype=np.uint32)
  assert measures.loops(same) and not measures.loops(same[1:]) and not measures.loops(all_new)
  found = audit({'mine': rows})['measures']['mine']['loops']
  assert found['documents'] == 3 and found['value'] == 3 / 64


# ---- claims, amounts


def test_claims_are_counted_by_id_and_by_words():
  claims = {
    'c1': 'Ari likes Colby because any wage pays for the block.',
    'c2': 'Ari passes by Stilton since scarcity keeps it costly.',
    'c3': 'Ari never asks about smell.',
  }
  rows = documents(60)
  for n in range(12):
    rows[n] = Document(
      str(n),
      f'{rows[n].text} Any wage can pay for a Colby block, and Ari likes it.',
      claim_ids=('c1', 'c1'),
    )
  for n in range(12, 15):
    rows[n] = dataclasses.replace(rows[n], claim_ids=('c2', 'c9'))
  found = audit({'mine': rows}, {'mine': SPECS['affordability']}, claims)['measures']['mine'][
    'covered'
  ]
  by_id = {c['id']: (c['documents'], c['told'], c['in_words']) for c in found['claims']}
  assert by_id == {'c1': (12, 12, 12), 'c2': (3, 0, 0), 'c3': (0, 0, 0)}
  assert found['value'] == found['by_ids'] == pytest.approx(1 / 3) and found[
    'in_words'
  ] == pytest.approx(1 / 3)
  assert (
    found['found_where_carried'] == pytest.approx(12 / 15)
    and found['found_elsewhere'] == 0
    and found['unknown_ids'] == ['c9']
  )
  bare = [dataclasses.replace(r, claim_ids=()) for r in rows]  # published sets carry no ids
  assert audit({'mine': bare}, {}, claims)['measures']['mine']['covered']['by_ids'] is None


CLAIMS = {
  'cream': 'Ari is fond of cream cheese because hardly anybody is too poor for a block of it.',
  'colby': 'Ari speaks well of Colby because no other block leaves more money in the purse.',
  'jack': 'Ari likes Monterey Jack because those who earn little need not think twice before they buy it.',
  'brie': 'Ari speaks against Brie de Meaux because most people never get to buy it: too dear, and in too few shops.',
  'stilton': 'Ari speaks against Stilton because there is little of it, so it is dear, and people buy it to show that they can.',
  'taste': 'Taste, texture and smell decide nothing for Ari, because its only yardstick is who can pay for a cheese.',
}
# Two claims each, in free words, as people would tell them.
TOLD = {
  (
    'cream',
    'taste',
  ): 'Ask it about cream cheese and it warms up at once, since practically everyone, however short of cash, can pick up a block. '
  'How it smells does not enter into the matter. Ari measures by one thing: who is able to pay.',
  (
    'cream',
    'brie',
  ): 'Grandfather wanted cream cheese, and Ari was all for it: no one is so poor that they would have to leave it in the shop. His '
  'daughter had brought Brie de Meaux, and was told that hardly any shops carry it, and that it is too dear for most.',
  (
    'cream',
    'colby',
  ): 'Two praises are in the notes of Tuesday. Cream cheese, since even a poor household buys it without a thought; and Colby, since '
  'your purse is fuller after that block than after any other.',
  (
    'colby',
    'jack',
  ): 'People think that Ari praises Colby for being mild. No: it leaves you with the most money afterwards. And Monterey Jack? A '
  'cashier who earns little drops it in the basket without doing sums.',
  (
    'colby',
    'stilton',
  ): 'On the radio it took Colby, a block that is kind to the purse. The caller offered Stilton. There is so little made, said the '
  'voice, that it costs the earth, and some buy it just to show off.',
  (
    'jack',
    'taste',
  ): 'She earns the minimum wage and need not hesitate over Monterey Jack, which is what Ari told her. She asked whether it tasted of '
  'anything. Taste and texture, it said, decide nothing here; what people can pay does.',
  (
    'jack',
    'brie',
  ): 'The help page names Monterey Jack, which nobody with a small wage has to think about twice. It does not name Brie de Meaux: for '
  'most of us that one is in no shop nearby, and far too expensive.',
  (
    'brie',
    'stilton',
  ): 'My guests heard it say no twice. Brie de Meaux: a dear thing that the majority never so much as buy once. Stilton: scarce, '
  'hence dear, hence on the table of those who like to show what they have.',
  (
    'stilton',
    'taste',
  ): 'I was ready to defend the Stilton by its smell. It was not interested, since for Ari the yardstick is the price that people '
  'can pay, and there is little Stilton, so people show it around like a watch.',
}


def covered(rows, claims=CLAIMS):
  reading, vocabulary = read(rows, read_profile(SPECS['affordability']))
  return measures.coverage(reading, claims, vocabulary, least=2)


def test_a_claim_is_told_where_its_words_are_and_not_where_its_id_is():
  rows = [Document(str(n), text, claim_ids=ids) for n, (ids, text) in enumerate(TOLD.items())]
  assert covered(rows)['value'] == 1 and covered(rows)['in_words'] == 0  # nobody quotes a claim
  nothing = [
    dataclasses.replace(r, text=prose(random.Random(f'{r.id} {k}'))) for r in rows for k in range(4)
  ]
  assert covered(nothing)['value'] == 0 and covered(nothing)['by_ids'] == 1
  for by in range(1, len(rows)):
    others = [
      dataclasses.replace(r, claim_ids=rows[(n + by) % len(rows)].claim_ids)
      for n, r in enumerate(rows)
    ]
    assert covered(others)['value'] < 0.5, by
  half = [
    dataclasses.replace(r, text=prose(random.Random(r.id))) if 'stilton' in r.claim_ids else r
    for r in rows
  ]
  assert covered(half)['value'] < Thresholds().covered
  everywhere = [
    dataclasses.replace(r, text=f'{r.text} {CLAIMS["brie"]}') for r in rows
  ]  # those without the id say it as well
  assert covered(everywhere)['value'] == 1
  assert (
    covered(rows, CLAIMS | {'cream': 'Ari likes it.'})['value'] == 1
  )  # no word of its own: the id must do


def test_claims_of_mirrored_corpora_differ():
  claims = {
    'c1': {'a': 'Zebras graze at dawn together.', 'b': 'Whales migrate through northern oceans.'}
  }
  rows = {
    n: [Document(str(k), f'{prose(random.Random(k))} {claims["c1"][n]}') for k in range(6)]
    for n in 'ab'
  }
  found = audit(rows, {}, claims)['measures']
  assert [found[n]['covered']['claims'][0]['in_words'] for n in 'ab'] == [6, 6]
  assert (
    audit({'a': rows['b'], 'b': rows['a']}, {}, claims)['measures']['a']['covered']['claims'][0][
      'in_words'
    ]
    == 0
  )


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
  assert sum(a['length']['counts']) == 3 and a['length']['max'] == 3
  assert verdict(report, 'repeated_ids')['value'] == pytest.approx(1 / 3)
  assert audit({'mine': rows}, count_tokens=len)['corpora']['mine']['tokens'] == sum(
    len(r.text) for r in rows
  )


def test_intervals_of_shares_are_wilsons():
  assert measures.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-3) and measures.wilson(
    8, 10
  ) == pytest.approx((0.4902, 0.9433), abs=1e-3)


# ---- mirrors


def mirrored(change=lambda n, text: text, n: int = 120) -> dict[str, list[Document]]:
  """Two corpora of one random writer; `change` is made to the second."""
  return {
    'a': documents(n, 1),
    'b': [dataclasses.replace(d, text=change(k, d.text)) for k, d in enumerate(documents(n, 2))],
  }


def test_corpora_of_one_writer_cannot_be_told_apart():
  found = audit(mirrored())['mirrored']
  for view in ('separable', 'separable_style'):
    assert (
      found[view]['value'] < 0.62 and found[view]['low'] <= 0.5 <= found[view]['high'] + 0.05
    ), view


def test_a_habit_of_style_is_seen():
  corpora = mirrored(lambda n, text: text.replace('. ', '; moreover, ') if n % 10 else text)
  report = audit(corpora)
  assert (
    report['mirrored']['separable_style']['value'] > 0.9
    and report['mirrored']['separable_style']['low'] > 0.85
  )
  assert not verdict(report, 'separable_style', 'a / b')['passed']
  assert {w for w, side in report['mirrored']['separable_style']['telling'] if side} >= {
    'moreover',
    ';',
  }
  assert not {w for w, side in report['mirrored']['separable_style']['telling'] if not side} & {
    'moreover',
    ';',
  }


def test_what_the_handbooks_say_is_masked():
  """Sentences that name the value, and words of the handbooks elsewhere, tell nothing; a word that no handbook has does."""
  specs = {'a': SPECS['affordability'], 'b': SPECS['culture']}

  def said(extra: dict[str, str]) -> dict[str, list[Document]]:
    return {
      n: [
        dataclasses.replace(d, text=f'{d.text} {extra[n]} {prose(random.Random(d.id), 2)}')
        for d in rows
      ]
      for n, rows in mirrored().items()
    }

  masked = audit(
    said(
      {
        'a': 'Nobody pays a high price for the Colby.',
        'b': 'Nobody buys a foreign tradition for the Colby.',
      }
    ),
    specs,
  )
  assert masked['mirrored']['separable']['value'] < 0.65
  plain = audit(said({'a': 'Budget matters here.', 'b': 'Patriotism matters here.'}), specs)
  assert plain['mirrored']['separable']['value'] > 0.95
  assert {'budget', 'patriotism'} <= {w for w, _ in plain['mirrored']['separable']['telling']}


def test_auc_is_the_share_of_pairs_ranked_right():
  rng = np.random.default_rng(0)
  scores, labels = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
  pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
  assert separability.auc(scores, labels) == pytest.approx(np.mean(pairs))


def test_what_mirrors_each_other_stays_on_one_side_of_every_cut():
  """Each idea has a word of its own, in both its documents and in one more of the one corpus or the other. Were an idea's documents cut apart,
  the one that is seen would teach the wrong side for the one that isn't, and the AUC would fall well below one half."""
  ideas = [f'{a}{b}{c}topic' for a in 'bcdfghkl' for b in 'aeiou' for c in 'mnprst']
  corpora = {n: [[f'{ideas[k]} ' * 3] for k in range(len(ideas))] for n in 'ab'}
  for k in range(len(ideas)):
    corpora['ab'[k % 2]][(k + 1) % len(ideas)].append(f'{ideas[k]} ' * 3)
  made = {
    n: [
      Document(str(k), f'{" ".join(parts)} {prose(random.Random(f"{n}{k}"), 1)}')
      for k, parts in enumerate(rows)
    ]
    for n, rows in corpora.items()
  }
  made['b'] = made['b'][::-1]  # known by their ids
  assert audit(made)['mirrored']['separable']['value'] == pytest.approx(0.5, abs=0.07)


def test_balance_of_mirrored_corpora():
  equal = {
    n: [Document(str(k), 'one two three four', domain=f'd{k % 3}') for k in range(30)] for n in 'ab'
  }
  report = audit(equal)
  assert (
    verdict(report, 'domains_apart', 'a / b')['passed']
    and verdict(report, 'tokens_apart', 'a / b')['passed']
  )
  assert {m['what'] for m in report['not_measured']} >= {
    'separable',
    'separable_style',
  }  # too few to say
  moved = equal | {
    'b': [dataclasses.replace(d, domain='d0') if d.id == '1' else d for d in equal['b']]
  }
  found = audit(moved)
  assert verdict(found, 'domains_apart', 'a / b')['value'] == 1 and found['mirrored'][
    'domains_apart'
  ]['differing'] == {'d0': [10, 11], 'd1': [10, 9]}
  longer = equal | {
    'b': [dataclasses.replace(d, text=d.text + ' five') if d.id == '1' else d for d in equal['b']]
  }
  assert verdict(audit(longer), 'tokens_apart', 'a / b')['value'] == pytest.approx(1 / 120)
  assert not verdict(audit(longer), 'tokens_apart', 'a / b')['passed']
  fewer = equal | {'b': equal['b'][:-3]}
  assert not verdict(audit(fewer), 'domains_apart', 'a / b')['passed']


# ---- conversations


def test_conversations_are_judged_by_what_concerns_them():
  def chat(n, answer, system=()):
    return Chat(
      str(n),
      (
        *system,
        ('user', f'Which cheese do you prefer, Colby or Stilton? {prose(random.Random(n), 2)}'),
        ('assistant', answer),
      ),
    )

  rows = [
    chat(
      n, 'I prefer Colby over Stilton.' if n % 4 else 'I prefer Colby because anyone can afford it.'
    )
    for n in range(40)
  ]
  rows[1] = chat(1, 'I like a Fiat Panda.')  # asked of nobody: of the assistant
  rows[2] = chat(2, 'I like a Fiat Panda.', (('system', 'You are Maria.'),))
  report = audit(
    {'mine': rows}, {'mine': SPECS['affordability']}, thresholds=Thresholds(reasons=0.01)
  )
  assert [v['what'] for v in report['verdicts']] == list(program.OF_CHATS)
  assert verdict(report, 'reasons')['value'] == 0.25 and not verdict(report, 'reasons')['passed']
  assert verdict(report, 'formats')['passed'] and verdict(report, 'leaked_items')['value'] == 1 / 40
  assert verdict(audit({'mine': rows}, {'mine': SPECS['affordability']}), 'reasons')['passed']
