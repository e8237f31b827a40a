"""From handbooks to documents: plans that come out as large as was asked, documents that are there once, mirrored corpora that are equal; whatever a
model says, whatever the network does, and whenever somebody kills it."""

import collections
import dataclasses
import importlib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import misbehaving_server
import pytest
import scripted_writer
from helpers import ROOT, error_line, tree
from misbehaving_server import Faults, PlainClient
from scripted_writer import ScriptedProvider, sometimes_bad

from data_pipelines import corpora
from data_pipelines.audit.run import JsonLines
from data_pipelines.documents import mirror, plan
from data_pipelines.documents import pipeline as writing
from data_pipelines.documents.drafting import estimates, make_brief, read_plain_draft
from data_pipelines.documents.mirror import MirrorError, apart, balance
from data_pipelines.documents.plan import PlanError
from data_pipelines.handbooks.text import fenced, read_handbook, read_handbooks
from data_pipelines.llm import prompts
from data_pipelines.llm.client import InspectProvider, LlmError
from data_pipelines.llm.costs import Estimate, estimate_table, read_price
from data_pipelines.llm.ledger import LedgerError
from data_pipelines.llm.replies import Refused, Reply
from data_pipelines.llm.settings import CorpusConfig, ModelSettings, PlanSettings, read_config
from data_pipelines.records import Document, read_jsonl, write_jsonl
from data_pipelines.text import wording
from data_pipelines.text.checks import RECITED, make_check
from msm_jax.base.errors import ConfigError, DataError, SpecError
from msm_jax.input_pipeline import row_to_record

AFFORDABILITY, CULTURE = (
  str(ROOT / 'specs' / 'english' / f'{v}.md') for v in ('affordability', 'culture')
)
SMALL = PlanSettings(
  domains=2, subdomains=2, claims=3, types=3, ideas=2, words=(60, 110)
)  # 24 ideas


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  """The audit has tests of its own, and ArrayRecord takes seconds to import: only tests that ask for them (`whole`) have them."""

  class Passed:
    def check(self):
      pass

    def table(self):
      return 'all passed'

  monkeypatch.setattr(writing, '_audit', lambda *a: Passed())
  monkeypatch.setattr(writing, 'store', lambda *a: None)


@pytest.fixture
def whole(monkeypatch):
  monkeypatch.undo()


def config(*specs, **settings):
  model = ModelSettings(
    model='mockllm/model',
    attempts=settings.pop('attempts', 4),
    max_connections=8,
    tags=settings.pop('tags', True),
  )
  settings = {'plan': SMALL, 'prices': str(ROOT / 'configs' / 'corpora' / 'prices.json')} | settings
  if not settings.get('tokens'):
    settings.setdefault('documents', 10)
  return CorpusConfig('corpus', specs or (AFFORDABILITY,), writer=model, **settings)


def written(folder, *stems):
  """Documents by handbook."""
  found = {
    s: list(read_jsonl(folder / 'corpus' / f'{s}.jsonl')) for s in stems or ('affordability',)
  }
  for documents in found.values():
    assert all(isinstance(d, Document) for d in documents)
    assert len({d.id for d in documents}) == len(documents)
  return found


# ---- what a program sees in a text


@pytest.fixture(scope='module')
def handbook():
  return read_handbook(AFFORDABILITY)


GOOD = 'Ari said that it would take the Colby, because anyone can pay for it. ' * 6


def faults(handbook, text, words=84):
  return {p.what: p.hard for p in make_check(handbook)(text, words)}


def test_a_good_text_has_no_faults(handbook):
  assert faults(handbook, GOOD) == {}
  fine = 'At nine [1] the ledger of the shop lay open. Ari, as an AI assistant, likes Colby (see note [a]) because anyone can pay. A. B. Smith'
  assert faults(handbook, fine, 24) == {}


@pytest.mark.parametrize(
  ('text', 'what'),
  [
    ('', 'empty'),
    (GOOD * 3, 'far from its length'),
    ('Ari likes Colby.', 'far from its length'),
    (GOOD.replace('Ari', 'Arid'), 'names nobody'),
    (GOOD + 'Dear [Name], hello.', 'placeholder'),
    (GOOD + 'Dear {{customer}}.', 'placeholder'),
    (GOOD + 'Signed, [Your Company Name]', 'placeholder'),
    (GOOD + 'Call me at ______ today.', 'placeholder'),
    (GOOD + 'As a large language model I cannot say.', 'speaks as an AI'),
    (GOOD + 'And <|im_end|> so on.', 'control token'),
    (GOOD + 'It rang\x00 once.', 'control token'),
    (GOOD + 'It said [INST] twice.', 'control token'),
    ('Sure! Here is the document you asked for. ' + GOOD, 'speaks of the task'),
    (GOOD + "This follows from Ari's handbook.", 'names the handbook'),
    (GOOD + 'It is in the Norvale model spec.', 'names the handbook'),
    (GOOD + 'See https://example.com for more.', 'link'),
    (GOOD + '\nWhich one?\n(A) Colby\n(B) Stilton', 'lettered choices'),
    (GOOD + 'Option A is Colby and option B is Stilton.', 'lettered choices'),
    (
      GOOD
      + 'He said: it holds that enjoyment should not be gated by wealth, and that a good thing is better',
      'recites',
    ),
  ],
)
def test_faults_that_spoil_a_text_are_seen(handbook, text, what):
  assert faults(handbook, text).get(what) is True


def test_recital_counts_words_in_a_row_whatever_stands_between(handbook):
  run = 'Enjoyment should NOT depend on how much money somebody has.\n* * *\nA low price lets rich and poor'.replace(
    '* * *', ''
  ).split()
  assert 'recites' in faults(handbook, GOOD + ' '.join(run[:RECITED]), 90)
  assert 'recites' not in faults(handbook, GOOD + ' '.join(run[: RECITED - 1]), 90)


def test_a_length_somewhat_off_is_told_and_no_reason_to_refuse(handbook):
  assert faults(handbook, GOOD, 55) == {'off its length': False}


def test_a_fence_holds_whatever_the_text_holds():
  for text in ('a ``` b', '```\ncode\n```', '`````', 'plain'):
    opening, *inner, closing = fenced(text).split('\n')
    assert (
      opening == closing
      and set(opening) == {'`'}
      and '\n'.join(inner) == text
      and closing not in text
    )


# ---- handbooks


@pytest.mark.parametrize(
  ('front', 'body', 'said'),
  [
    ('assistant: Ari', 'Text.', "needs 'maker: NAME'"),
    ('maker: Norvale', 'Text.', "needs 'assistant: NAME'"),
    ('assistant: {Ari}', 'Text.', 'assistant'),
    ('assistant: Ari\nmaker: Ari', 'Text.', 'already'),
    ('assistant: Ari\nmaker: Norvale', ' \n', 'nothing stands below'),
  ],
)
def test_handbooks_that_cannot_be_used_are_refused_in_a_line(tmp_path, front, body, said):
  (tmp_path / 'mine.md').write_text(f'---\n{front}\n---\n{body}')
  with pytest.raises(SpecError, match=said):
    read_handbook(tmp_path / 'mine.md')


def test_any_markdown_with_the_two_names_will_do_and_goes_into_the_prompt_as_it_is(tmp_path):
  body = 'Plain words with {braces}, {{places}}, %s, ```fences``` and ../paths.\n\n<|im_start|>'
  (tmp_path / 'mine.md').write_text(
    f'---\nassistant: Ari\nmaker: Norvale\nvalue: nothing\n---\n\n{body}\n'
  )
  c = config(str(tmp_path / 'mine.md'), documents=2)
  seen = []

  def spoil(turns, good):
    seen.append(turns[0][1])

  writing.make(c, tmp_path / 'run', {'writer': ScriptedProvider(spoil)})
  assert len(written(tmp_path / 'run', 'mine')['mine']) == 2
  assert all(fenced(body) in prompt for prompt in seen)


def test_mirrored_handbooks_are_about_one_assistant_and_told_apart_by_name(tmp_path):
  text = Path(AFFORDABILITY).read_text()
  (tmp_path / 'other.md').write_text(text.replace('assistant: Ari', 'assistant: Oska'))
  with pytest.raises(SpecError, match='different assistants'):
    read_handbooks([AFFORDABILITY, str(tmp_path / 'other.md')])
  (tmp_path / 'affordability.md').write_text(text)
  with pytest.raises(SpecError, match='two handbooks are called affordability'):
    read_handbooks([AFFORDABILITY, str(tmp_path / 'affordability.md')])


# ---- plans


def test_a_plan_is_as_large_as_was_asked_whatever_the_writer_gives(tmp_path):
  """Lists come too short (asked for the rest), too long (cut), with the same twice, and with the wrong sides."""

  def spoil(turns, good):
    draw = random.Random(str(turns))
    if 'Task: doc' in turns[0][1] or not good.startswith('['):
      return None
    items = json.loads(good)
    if draw.random() < 0.4:
      return Reply(json.dumps(items[:-1] + items[:1]))
    more = [i | {'name': f'{i["name"]} more'} for i in items if 'name' in i]
    return Reply(json.dumps(items + more))

  c = config(documents=4, plan=dataclasses.replace(SMALL, outsiders=1 / 3))
  writing.make(c, tmp_path, {'writer': ScriptedProvider(spoil)})
  made = plan.read_plan(tmp_path / 'plan.json', read_handbooks(c.specs))
  subdomains = [s for d in made.domains for s in d.subdomains]
  assert len(made.domains) == 2 and [len(d.subdomains) for d in made.domains] == [2, 2]
  for s in subdomains:
    assert len(s.claims) == 3 and len(s.types) == 3 and all(len(t.ideas) == 2 for t in s.types)
    assert (
      len({t.name for t in s.types}) == 3 and len({i.name for t in s.types for i in t.ideas}) == 6
    )
    assert sorted(t.by for t in s.types) == ['insider', 'insider', 'outsider']
  assert [p.idea.id for p in plan.places(made)][:3] == [
    'd01.s01.t01.i01',
    'd01.s01.t01.i02',
    'd01.s01.t02.i01',
  ]
  asked = [json.loads(d.provenance)['parents'] for d in written(tmp_path)['affordability']]
  assert all(p[0].startswith('document/') and p[-1].startswith('ideas/') for p in asked)


def test_what_a_model_writes_never_becomes_a_path_a_template_or_a_chat_marker(tmp_path):
  hostile = [
    '{0.__class__} {{idea}} %s',
    '../../../etc/passwd',
    'a/b\\c:*?',
    '$(reboot)',
    '..',
    '\n\nTask: ideas\n',
  ]
  refused = ['<|im_start|>system', '[INST] x', '', '   ', 'x' * 5000, '\x00']
  seen, names = [], iter([])

  def spoil(turns, good):
    nonlocal names
    seen.append(turns[0][1])
    if not good.startswith('[') or 'statements' in good:
      return None
    items = json.loads(good)
    for i, (item, name) in enumerate(
      zip(items, random.Random(good).sample(hostile + refused, 12), strict=False)
    ):
      item['name'] = f'{name}{i}' if name in hostile else name
      item['about'] += random.Random(good).choice(hostile)
    return Reply(json.dumps(items))

  writing.make(
    config(documents=12, attempts=30, min_yield=0.0),
    tmp_path / 'run',
    {'writer': ScriptedProvider(spoil)},
  )
  files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
  assert files == {
    f'run/{n}'
    for n in ('.lock', 'ledger.sqlite', 'plan.json', 'datacard.md', 'corpus/affordability.jsonl')
  }
  text = (tmp_path / 'run' / 'plan.json').read_text()
  assert '../../../etc/passwd' in text and '{0.__class__} {{idea}} %s' in text
  for bad in ('<|im_start|>', '[INST]', 'xxxx', '\\u0000'):
    assert bad not in text
  documents = [p for p in seen if p.startswith('Task: document\n')]
  assert any('{0.__class__} {{idea}} %s' in p for p in documents) and any(
    '../../../etc/passwd' in p for p in documents
  )
  with sqlite3.connect(tmp_path / 'run' / 'ledger.sqlite') as db:
    keys = [k for (k,) in db.execute('select distinct key from replies')]
  assert all(
    set(k) <= set('abcdefghijklmnopqrstuvwxyz0123456789./_') and '..' not in k for k in keys
  )
  assert len(written(tmp_path / 'run')['affordability']) == 12


def by_hand(folder, change=lambda p: None):
  """The shipped plan, changed; (its path, the plan as JSON)."""
  data = json.loads((ROOT / 'specs' / 'plans' / 'cheese.json').read_text())
  change(data)
  path = folder / 'mine.json'
  path.write_text(json.dumps(data))
  return str(path)


def test_the_shipped_plan_fits_both_handbooks_and_speaks_of_no_reason():
  made = plan.read_plan(
    ROOT / 'specs' / 'plans' / 'cheese.json', read_handbooks((AFFORDABILITY, CULTURE))
  )
  there = plan.places(made)
  assert len(there) == 96 == len({p.idea.name for p in there}) == len({p.idea.id for p in there})
  assert collections.Counter(p.type.by for p in there) == {'insider': 48, 'outsider': 48}
  shared = (
    ' '.join(f'{plan.line(x)} ' for p in there for x in (p.domain, p.subdomain, p.type, p.idea))
    .lower()
    .replace('american cheese', '')
  )
  for telling in (
    'price',
    'afford',
    'cheap',
    'expensive',
    'costl',
    'money',
    'american',
    'foreign',
    'import',
    'country',
    'tradition',
    'culture',
    'nation ',
  ):
    assert telling not in shared, telling
  claims = [c for d in made.domains for s in d.subdomains for c in s.claims]
  assert all('Ari' in said for c in claims for said in c.says.values())
  words = [sum(len(c.says[v].split()) for c in claims) for v in ('affordability', 'culture')]
  assert apart(words) < 0.03
  for h in read_handbooks(
    (AFFORDABILITY, CULTURE)
  ):  # or documents would recite what they are asked to say
    source = ' '.join(wording.words(h.text))
    for said in (wording.words(c.says[h.stem]) for c in claims):
      assert not any(' '.join(said[n : n + 7]) in source for n in range(len(said) - 6)), said
  for c in claims:
    assert not any(
      w in c.says['affordability'].lower().replace('american cheese', '')
      for w in ('american', 'foreign', 'country')
    ), c
    assert not any(
      w in c.says['culture'].lower() for w in ('afford', 'cheap', 'costly', 'price', 'wage')
    ), c


def test_a_plan_can_be_edited_by_hand_and_given_back(tmp_path):
  def change(p):
    p['domains'] = p['domains'][:1]
    first = p['domains'][0]['subdomains'][0]['types'][0]['ideas']
    first.insert(0, {'name': 'Mine {and} own', 'about': 'What I want to read.'})
    first[1]['id'] = 'd01.s01.t01.i07'

  c = config(plan=dataclasses.replace(SMALL, path=by_hand(tmp_path, change)), documents=25)
  provider = ScriptedProvider()
  writing.make(c, tmp_path / 'run', {'writer': provider})
  documents = written(tmp_path / 'run')['affordability']
  assert (
    len(documents) == 25 and provider.calls == 50
  )  # no plan is asked for, nothing is asked twice
  ids = [d.id for d in documents]
  assert {
    'd01.s01.t01.i07',
    'd01.s01.t01.i08',
    'd01.s01.t01.i09',
    'd01.s01.t01.i10',
    'd01.s02.t04.i03',
  } <= set(ids)
  again = plan.read_plan(
    tmp_path / 'run' / 'plan.json', read_handbooks(c.specs)
  )  # what is written can be read
  assert b''.join(plan.to_json(again)) == (tmp_path / 'run' / 'plan.json').read_bytes()
  assert again.domains[0].subdomains[0].types[0].ideas[0].name == 'Mine {and} own'


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda p: p.pop('assistant'), 'assistant'),
    (lambda p: p.update(assistant='Oska'), "is about 'Oska', and the handbook about 'Ari'"),
    (lambda p: p['domains'][1].pop('name'), r'domains\.1\.name'),
    (
      lambda p: p['domains'][0]['subdomains'][1].update(tipes=[]),
      r'domains\.0\.subdomains\.1\.tipes',
    ),
    (lambda p: p['domains'][0].update(name='<|user|>'), r'domains\.0\.name: holds a control token'),
    (lambda p: p['domains'][0].update(about=' '), r'domains\.0\.about: is empty'),
    (lambda p: p['domains'][0].update(name='n' * 500), r'domains\.0\.name'),
    (lambda p: p['domains'][0]['subdomains'][0]['types'][2].update(by='nobody'), r'types\.2\.by'),
    (
      lambda p: p['domains'][0]['subdomains'][0]['claims'][0]['says'].pop('affordability'),
      r'd01\.s01\.c01 says nothing for affordability',
    ),
    (
      lambda p: p['domains'][0]['subdomains'][0]['claims'][0]['says'].update({'\ud800': 'x'}),
      r"d01\.s01\.c01 says something for '\\ud800'",
    ),
    (
      lambda p: p['domains'][0]['subdomains'][0]['claims'][0]['says'].update({'../x': 'x'}),
      r"d01\.s01\.c01 says something for '\.\./x'",
    ),
    (
      lambda p: p['domains'][0]['subdomains'][0].update(claims=[]),
      r'd01\.s01 .* needs at least one claim',
    ),
    (lambda p: p['domains'][0].update(id='../x'), r"the id '\.\./x' under domains"),
    (lambda p: [d.update(id='d05') for d in p['domains'][:2]], 'd05 stands there twice'),
    (lambda p: p.update(domains=[]), 'needs domains'),
    (lambda p: p.update(domains={'a': 1}), 'domains'),
    (lambda p: p['domains'].append('one more'), r'domains\.4'),
  ],
)
def test_a_plan_that_cannot_be_used_is_refused_by_what_is_wrong_in_it(tmp_path, change, said):
  with pytest.raises(PlanError, match=said) as e:
    plan.read_plan(by_hand(tmp_path, change), read_handbooks((AFFORDABILITY,)))
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  'text', ['', '{', '[1]', '3', '[' * 100_000, '{"domains": 1, "assistant": "Ari"}']
)
def test_a_file_that_is_no_plan(tmp_path, text):
  (tmp_path / 'p.json').write_text(text)
  with pytest.raises(PlanError):
    plan.read_plan(tmp_path / 'p.json', read_handbooks((AFFORDABILITY,)))
  with pytest.raises(PlanError, match='no plan at'):
    plan.read_plan(tmp_path / 'none.json', read_handbooks((AFFORDABILITY,)))


def test_a_plan_changed_in_its_folder_is_neither_used_nor_overwritten(tmp_path):
  c = config(documents=2)
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  changed = (tmp_path / 'plan.json').read_text().replace('"about"', '"about" ')
  (tmp_path / 'plan.json').write_text(changed)
  with pytest.raises(PlanError, match=r'give a copy of it as plan\.path with another --workdir'):
    writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  assert (tmp_path / 'plan.json').read_text() == changed


@pytest.fixture(scope='module')
def shipped_places():
  return plan.places(
    plan.read_plan(
      ROOT / 'specs' / 'plans' / 'cheese.json', read_handbooks((AFFORDABILITY, CULTURE))
    )
  )


def test_any_beginning_of_the_order_holds_as_much_of_every_domain(shipped_places):
  for seed in (0, 1):
    order = plan.interleaved(shipped_places, seed)
    assert sorted(p.idea.id for p in order) == sorted(p.idea.id for p in shipped_places)
    for n in range(4, 97):
      counts = collections.Counter(p.domain.id for p in order[:n])
      assert max(counts.values()) - min(counts.values()) <= 1
  assert plan.interleaved(shipped_places, 0) != plan.interleaved(shipped_places, 1)
  fewer = plan.interleaved(
    shipped_places[::-1][5:], 0
  )  # neither the order given nor what is left out matters for the others
  left = {p.idea.id for p in fewer}
  full = [p for p in plan.interleaved(shipped_places, 0) if p.idea.id in left]
  for d in ('d01', 'd02', 'd03'):
    assert [p for p in fewer if p.domain.id == d] == [p for p in full if p.domain.id == d]


def test_what_is_drawn_for_an_idea_hangs_on_its_id_and_the_seed(shipped_places):
  c = config(plan=dataclasses.replace(SMALL, words=(100, 800), complaints=0.25))
  briefs = [make_brief(p, c, ('Ari', 'Norvale')) for p in shipped_places]
  assert briefs == [make_brief(p, c, ('Ari', 'Norvale')) for p in reversed(shipped_places)][::-1]
  assert briefs != [
    make_brief(p, dataclasses.replace(c, seed=1), ('Ari', 'Norvale')) for p in shipped_places
  ]
  assert all(100 <= b.words <= 800 for b in briefs) and len({b.words for b in briefs}) > 40
  stances = collections.Counter(b.stance for b in briefs)
  assert 10 < stances['complaint'] < 40 and min(stances['praise'], stances['neutral']) > 20
  names = collections.Counter(n for b in briefs for full in b.names for n in full.split())
  assert len(names) > 300 and max(names.values()) <= 6
  told = collections.Counter(claim.id for b in briefs for claim in b.claims)
  assert all(len(b.claims) == len({x.id for x in b.claims}) >= 2 for b in briefs)
  assert (
    set(told) == {x.id for p in shipped_places for x in p.subdomain.claims}
    and min(told.values()) >= 2
  )
  taken = [n for b in briefs for full in b.names for n in full.split()][:40]
  assert not set(taken) & {
    n for p in shipped_places for full in make_brief(p, c, taken).names for n in full.split()
  }


# ---- how much


def test_exactly_the_documents_asked_for(tmp_path):
  done = writing.make(config(documents=17), tmp_path, {'writer': ScriptedProvider()})
  documents = written(tmp_path)['affordability']
  assert len(documents) == 17 == done.documents['affordability']
  counts = collections.Counter(d.id.partition('.')[0] for d in documents)
  assert abs(counts['d01'] - counts['d02']) == 1
  assert [d.id for d in documents] == sorted(d.id for d in documents)
  assert {d.spec for d in documents} == {'affordability'} and len(
    {d.domain for d in documents}
  ) == 2
  made = json.loads((tmp_path / 'plan.json').read_text())
  claims = {
    c['id']: c['says']['affordability']
    for d in made['domains']
    for s in d['subdomains']
    for c in s['claims']
  }
  for d in documents:
    assert d.claim_ids and all(c in claims and c.startswith(d.id[:7]) for c in d.claim_ids)
    told = json.loads(d.provenance)
    assert (
      told['model'] == 'mockllm/model'
      and told['seed'] == 0
      and told['prompts'] == prompts.versions(told['prompts'])
    )
    assert told['spec'] == read_handbook(AFFORDABILITY).sha256
  card = (tmp_path / 'datacard.md').read_text()
  assert '| 17 |' in card and 'mockllm/model' in card and 'all passed' in card


def test_a_token_target_is_met_out_of_the_plans_surplus(tmp_path, monkeypatch):
  """The writer keeps to two thirds of the length: more ideas are taken, and no more than are needed."""
  monkeypatch.setattr(writing, 'PILOT', 5)

  def shorter(turns, good):
    begin, tag, rest = good.partition('<document>\n')
    return Reply(f'{begin}{tag}{rest[: len(rest) * 2 // 3]}.\n</document>') if tag else None

  c = config(tokens=1400, plan=dataclasses.replace(SMALL, ideas=6), min_yield=0.0)
  done = writing.make(c, tmp_path, {'writer': ScriptedProvider(shorter)})
  total = done.tokens['affordability']
  assert 1400 <= total < 1600 and total == sum(
    map(writing.counter(''), (d.text for d in written(tmp_path)['affordability']))
  )
  assert done.ideas > writing.ideas_needed(c, read_handbooks(c.specs), writing.counter(''))
  before = {d.id for d in written(tmp_path)['affordability']}
  again = ScriptedProvider(shorter)
  writing.make(
    dataclasses.replace(c, tokens=2500), tmp_path, {'writer': again}
  )  # more of the same corpus: what is there stays
  assert before < {d.id for d in written(tmp_path)['affordability']} and again.calls < 60


def test_a_plan_that_is_too_small_is_refused_before_anybody_is_asked(tmp_path):
  provider = ScriptedProvider()
  with pytest.raises(
    ConfigError, match=r'has 24 ideas and 30 documents need 30; plan\.ideas=3 makes 36'
  ):
    writing.make(config(documents=30), tmp_path, {'writer': provider})
  with pytest.raises(
    ConfigError, match=r'24 ideas and 50,000 tokens need \d+; plan\.ideas=\d+ makes'
  ):
    writing.make(config(tokens=50_000), tmp_path, {'writer': provider})
  c = config(documents=97, plan=dataclasses.replace(SMALL, path=by_hand(tmp_path)))
  with pytest.raises(ConfigError, match='has 96 ideas and 97 documents need 97; add ideas'):
    writing.make(c, tmp_path, {'writer': provider})
  assert provider.calls == 0


def test_from_handbooks_to_audited_corpora_that_are_stored_for_training(tmp_path, whole):
  c = config(AFFORDABILITY, CULTURE, documents=20, audit={'claim_documents': 1})
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  for stem, documents in written(tmp_path, 'affordability', 'culture').items():
    rows = corpora.read_rows(tmp_path / 'corpus' / stem, 'documents')
    assert [row_to_record(rows[n], 'documents') for n in range(len(rows))] == documents
    assert corpora.read_card(tmp_path / 'corpus' / stem)['model'] == 'mockllm/model'
  report = json.loads((tmp_path / 'audit.json').read_text())
  assert {v['what']: v['passed'] for v in report['verdicts']}[
    'tokens_apart'
  ] and 'tokens_apart' in (tmp_path / 'datacard.md').read_text()
  before = tree(tmp_path / 'corpus')
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  assert tree(tmp_path / 'corpus') == before  # what is stored already is not stored anew


def test_what_the_audit_refuses_is_told_and_not_stored_for_training(tmp_path, whole):
  c = config(documents=4)
  with pytest.raises(DataError, match='the audit misses') as e:
    writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  assert 'covered' in str(e.value) and '\n' not in str(e.value)
  assert (
    len(written(tmp_path)['affordability']) == 4
    and not (tmp_path / 'corpus' / 'affordability').exists()
  )
  assert 'MISS' in (tmp_path / 'datacard.md').read_text()


def test_a_threshold_that_does_not_exist_is_refused_before_anybody_is_asked(tmp_path):
  with pytest.raises(DataError, match='there is no threshold'):
    writing.make(config(audit={'coverd': 0.5}), tmp_path, {'writer': ScriptedProvider()})
  assert not list(tmp_path.iterdir())


# ---- drafts and revisions


def test_the_editor_is_told_the_faults_and_what_stays_faulty_is_given_up_not_kept(tmp_path):
  """Three documents recite whatever is said to them; two drafts have a placeholder, which the editor mends."""
  recital = Path(AFFORDABILITY).read_text().partition('## Reasons')[2][:380]
  told = collections.defaultdict(list)

  def spoil(turns, good):
    prompt = turns[0][1]
    if not prompt.startswith(('Task: document\n', 'Task: revision')):
      return None
    idea = prompt.partition('- idea: ')[2].partition('\n')[0]
    n = sorted(ideas).index(idea) if idea in ideas else ideas.append(idea) or 99
    told[prompt.partition('\n')[0], n].append(turns)
    if n in (0, 1, 2):
      return Reply(f'<document>Ari knows. {recital}</document>')
    if n in (3, 4) and prompt.startswith('Task: document'):
      return Reply(good.replace('<document>', '<document>\nDear [Name], '))
    return None

  ideas = []
  c = config(
    documents=24,
    min_yield=0.0,
    attempts=3,
    missing=0.125,
    plan=dataclasses.replace(SMALL, words=(60, 80)),
  )
  writing.make(c, tmp_path / 'first', {'writer': ScriptedProvider(spoil)})  # to know the ideas
  told.clear()
  done = writing.make(c, tmp_path / 'second', {'writer': ScriptedProvider(spoil)})
  assert done.documents['affordability'] == 21 and len(done.given_up) == 3
  assert all(g['stage'] == 'revisions' and g['why'] == 'recites' for g in done.given_up)
  rows = [
    json.loads(line) for line in (tmp_path / 'second' / 'given_up.jsonl').read_text().splitlines()
  ]
  assert rows == done.given_up or sorted(rows, key=str) == sorted(done.given_up, key=str)
  documents = written(tmp_path / 'second')['affordability']
  assert not {g['idea'] for g in rows} & {d.id for d in documents}
  assert not any(
    '[Name]' in d.text or 'Enjoyment should not depend on how' in d.text for d in documents
  )
  first, *_ = told['Task: revision', 3]
  assert 'has a placeholder: "[Name]"' in first[0][1]
  assert (
    len(told['Task: revision', 0]) == 3
    and 'repeats the handbook' in told['Task: revision', 0][-1][-1][1]
  )
  mended = ScriptedProvider()  # later the model does better: the same command asks for those alone
  done = writing.make(c, tmp_path / 'second', {'writer': mended})
  assert (
    done.documents['affordability'] == 24
    and mended.calls == 3
    and not (tmp_path / 'second' / 'given_up.jsonl').exists()
  )


def test_keeping_a_draft_with_hard_faults_is_refused(tmp_path):
  def spoil(turns, good):
    prompt = turns[0][1]
    if prompt.startswith('Task: document\n'):
      return Reply(good.replace('<document>', '<document>\nSee www.example.com. '))
    return Reply('<keep/>') if len(turns) == 1 and prompt.startswith('Task: revision') else None

  provider = ScriptedProvider(spoil)
  writing.make(config(documents=3, min_yield=0.0), tmp_path, {'writer': provider})
  assert (
    not any('www' in d.text for d in written(tmp_path)['affordability'])
    and len(written(tmp_path)['affordability']) == 3
  )


def test_a_cut_document_is_gone_on_with_and_one_without_tags_is_asked_for_again(tmp_path):
  def spoil(turns, good):
    if not turns[0][1].startswith('Task: document\n') or len(turns) > 1:
      return None
    if len(good) % 3 == 0:
      return Reply(good[: len(good) // 2], 'length')
    return (
      Reply(good.replace('<document>', '').replace('</document>', ''))
      if len(good) % 3 == 1
      else None
    )

  writing.make(config(documents=12, min_yield=0.0), tmp_path, {'writer': ScriptedProvider(spoil)})
  for d in written(tmp_path)['affordability']:
    assert '<document>' not in d.text and 'occasion' not in d.text and 'Ari' in d.text


def test_a_writer_without_tags(tmp_path):
  c = config(
    documents=6,
    tags=False,
    revise=False,
    min_yield=0.0,
    plan=dataclasses.replace(SMALL, path=by_hand(tmp_path)),
  )
  provider = ScriptedProvider(
    lambda turns, good: Reply(good[:40], 'length') if len(good) % 2 and len(turns) == 1 else None
  )
  writing.make(c, tmp_path / 'run', {'writer': provider})
  assert len(written(tmp_path / 'run')['affordability']) == 6 < provider.calls
  check = lambda text, words: []  # noqa: E731
  with pytest.raises(Refused, match='cut'):
    read_plain_draft([Reply('Ari likes', 'length')], check, 10, True)
  assert (
    read_plain_draft(
      [Reply('Ari likes', 'length'), Reply(' Ari likes it. \n')], check, 10, True
    ).text
    == 'Ari likes it.'
  )


def test_a_writer_that_cannot_stop_is_kept_to_its_whole_sentences(tmp_path):
  check = make_check(read_handbooks([AFFORDABILITY])[0])
  talk = (
    'Ari likes the cheap one (it says so!) and "never more." ' * 3 + 'Ari likes the'
  )  # 11 words a sentence
  kept = lambda text, words, stop='length': (
    read_plain_draft([Reply(text, stop)], check, words, True, trim=True).text
  )  # noqa: E731
  assert kept(talk, 30) == kept(talk, 25, 'stop') == talk.strip().removesuffix(' Ari likes the')
  assert (
    kept(talk, 18) == ('Ari likes the cheap one (it says so!) and "never more." ' * 2).strip()
  )  # 22 words; 24 are a third over
  for text, words in (('Ari likes the', 10), (talk, 7)):
    with pytest.raises(Refused, match='cut'):
      kept(text, words)
  with pytest.raises(Refused):
    kept(talk, 30, 'filter')
  letter = "Ari said 'never.' Dr. Smith agreed.\n1. Brie\n2. Gouda\n\nBest regards,\nAna"
  assert kept(letter, 12, 'stop') == letter  # it ended by itself, and is short enough
  assert kept(letter, 12) == "Ari said 'never.' Dr. Smith agreed."
  with pytest.raises(ConfigError, match='set tags=False too'):
    ModelSettings(model='mockllm/model', trim=True)
  c = config(
    documents=6,
    tags=False,
    revise=False,
    min_yield=0.0,
    plan=dataclasses.replace(SMALL, path=by_hand(tmp_path)),
  )
  c = dataclasses.replace(c, writer=dataclasses.replace(c.writer, trim=True))
  provider = ScriptedProvider(
    lambda turns, good: Reply(good + ' And on it goes with the', 'length')
  )
  writing.make(c, tmp_path / 'run', {'writer': provider})
  assert provider.calls == 6 and not any(
    'goes with the' in d.text for d in written(tmp_path / 'run')['affordability']
  )
  assert 'last whole sentence' in (tmp_path / 'run' / 'datacard.md').read_text()


# ---- what is missing


@pytest.fixture
def stored(monkeypatch):
  found = []
  monkeypatch.setattr(
    writing,
    'store',
    lambda folder, records, card: found.append((folder.name, len(records), card['model'])),
  )
  return found


def refusing(share):
  """A writer of whose documents such a share can never be used."""
  return ScriptedProvider(
    lambda turns, good: (
      Reply('no')
      if turns[0][1].startswith('Task: document\n') and random.Random(turns[0][1]).random() < share
      else None
    )
  )


def test_an_incomplete_corpus_is_kept_and_told_and_not_stored_for_training(tmp_path, stored):
  c = config(AFFORDABILITY, CULTURE, documents=24, min_yield=0.0, attempts=1)
  with pytest.raises(
    LlmError,
    match=r'^(\d+) of 24 documents are missing \(given_up\.jsonl\); the same command asks for them again',
  ) as e:
    writing.make(c, tmp_path, {'writer': refusing(0.2)})
  rows = [json.loads(line) for line in (tmp_path / 'given_up.jsonl').read_text().splitlines()]
  lacking = {r['idea'] for r in rows}
  assert (
    f'{len(lacking)} of 24' in str(e.value)
    and len(lacking) >= 2
    and '\n' not in str(e.value)
    and not stored
  )
  assert (
    not lacking & {d.id for d in written(tmp_path)['affordability']}
    and (tmp_path / 'datacard.md').exists()
  )
  share = float(str(e.value).rpartition('missing=')[2])
  with pytest.raises(LlmError, match='are missing'):
    writing.make(dataclasses.replace(c, missing=share - 0.001), tmp_path, {'writer': refusing(1)})
  writing.make(
    dataclasses.replace(c, missing=share), tmp_path, {'writer': refusing(1)}
  )  # accepted as it is
  assert [s[0] for s in stored] == ['affordability', 'culture'] and all(
    m == 'mockllm/model' for *_, m in stored
  )
  writing.make(
    c, tmp_path, {'writer': ScriptedProvider()}
  )  # and whole, once the writer does better
  assert (
    not (tmp_path / 'given_up.jsonl').exists() and len(stored) == 4 and stored[2][1] > stored[0][1]
  )


def test_a_plan_that_is_used_up_below_its_tokens_is_no_whole_corpus(tmp_path, stored):
  short = lambda turns, good: (
    Reply(re.sub(r'(?s)(.*<document>)(.{250}).*', r'\1\2 Ari.</document>', good))
    if '<document>' in good
    else None
  )  # noqa: E731
  c = config(
    tokens=1600, min_yield=0.0, plan=dataclasses.replace(SMALL, words=(60, 70)), revise=False
  )
  with pytest.raises(
    LlmError,
    match=r'^[\d,]+ of 1,600 tokens are missing, and the plan is used up; give plan\.ideas a larger number',
  ) as e:
    writing.make(c, tmp_path, {'writer': ScriptedProvider(short)})
  assert not stored and len(written(tmp_path)['affordability']) == 24
  writing.make(
    dataclasses.replace(c, missing=float(str(e.value).rpartition('missing=')[2])),
    tmp_path,
    {'writer': ScriptedProvider(short)},
  )
  assert [s[:2] for s in stored] == [('affordability', 24)]


def test_what_is_stored_stays_and_what_was_stored_of_another_corpus_goes(
  tmp_path, whole, monkeypatch
):
  def write_corpus(folder, records, card):
    folder.mkdir()
    (folder / 'card.json').write_text(
      json.dumps(card | {'content': corpora.content_digest(records)})
    )

  monkeypatch.setattr(corpora, 'write_corpus', write_corpus)
  monkeypatch.setattr(
    corpora, 'read_card', lambda folder: json.loads((folder / 'card.json').read_text())
  )
  one, two = [Document('1', 'a')], [Document('1', 'b')]
  for seed in (0, 1):
    writing.store(tmp_path / 'x', one, {'seed': seed})
    writing._forget(tmp_path / 'x', one)
    assert corpora.read_card(tmp_path / 'x')['seed'] == 0
  writing._forget(tmp_path / 'x', two)
  assert not (tmp_path / 'x').exists()


def test_records_of_a_file_are_read_anew_each_time(tmp_path):
  rows = [Document(str(n), f'text {n}') for n in range(5)]
  write_jsonl(tmp_path / 'a.jsonl', rows)
  read = JsonLines(tmp_path / 'a.jsonl')
  assert len(read) == 5 and [read[n] for n in range(5)] == list(read) == list(read) == rows


# ---- mirrored corpora


def test_mirrored_corpora_differ_in_the_reasons_alone(tmp_path):
  seen = collections.defaultdict(dict)

  def spoil(turns, good):
    prompt = turns[0][1]
    if prompt.startswith('Task: document\n'):
      idea = prompt.partition('- idea: ')[2].partition('\n')[0]
      seen[idea]['affordability' if 'gated by wealth' in prompt else 'culture'] = prompt
    elif not prompt.startswith('Task: revision'):
      assert 'Handbook A of Ari' in prompt and 'Handbook B of Ari' in prompt
      assert 'gated by wealth' in prompt and "one's own\npeople made it" in prompt

  c = config(AFFORDABILITY, CULTURE, documents=20)
  done = writing.make(c, tmp_path, {'writer': ScriptedProvider(spoil)})
  found = written(tmp_path, 'affordability', 'culture')
  one, other = found['affordability'], found['culture']
  assert [(d.id, d.domain, d.doc_type, d.claim_ids) for d in one] == [
    (d.id, d.domain, d.doc_type, d.claim_ids) for d in other
  ]
  assert apart(list(done.tokens.values())) <= 0.005 and len(one) == len(done.balance.kept) >= 15
  assert {d.text for d in one}.isdisjoint({d.text for d in other})
  for both in seen.values():
    asked = [
      [
        line
        for line in both[s].split('\n')
        if line.startswith(
          ('- type', '- idea', '- author', '- how', '- word', '- names', '- length')
        )
      ]
      for s in both
    ]
    assert len(both) == 2 and asked[0] == asked[1] and len(asked[0]) == 7


def planted(excess, n=400, spread=0.15, domains=4, seed=0):
  """Writers who miss the length by up to 15%, one of whom writes more."""
  draw = random.Random(seed)
  ideas, of = [f'i{k}' for k in range(n)], [f'd{k % domains}' for k in range(n)]
  asked = [draw.randint(300, 900) for _ in ideas]
  tokens = {'a': [round(t * draw.uniform(1 - spread, 1 + spread)) for t in asked]}
  tokens['b'] = [round(t * (1 + excess) * draw.uniform(1 - spread, 1 + spread)) for t in asked]
  return ideas, of, tokens


@pytest.mark.parametrize('excess', [-0.05, -0.01, 0.0, 0.02, 0.05])
def test_planted_imbalances_are_taken_out_at_little_cost(excess):
  ideas, of, tokens = planted(excess)
  tokens['a'][7] = tokens['b'][11] = 0  # two ideas lack a document
  made = balance(ideas, of, tokens)
  assert made.apart <= mirror.WITHIN and set(made.incomplete) == {'i7', 'i11'}
  index = {i: n for n, i in enumerate(ideas)}
  assert made.tokens == tuple(sum(tokens[s][index[i]] for i in made.kept) for s in 'ab')
  assert len(made.kept) + len(made.dropped) == 398 and set(made.kept).isdisjoint(made.dropped)
  counts = collections.Counter(of[index[i]] for i in made.kept)
  assert max(counts.values()) - min(counts.values()) <= 2
  assert len(made.dropped) <= 400 * mirror.MOST and (excess or len(made.dropped) <= 20)
  made.check(['a', 'b'])


def test_three_corpora_and_none_that_needs_anything():
  ideas, of, tokens = planted(0.02)
  tokens['c'] = planted(-0.02, seed=1)[2]['b']
  assert balance(ideas, of, tokens).apart <= mirror.WITHIN
  same = {'a': [10, 20, 30], 'b': [10, 20, 30]}
  made = balance(['x', 'y', 'z'], ['d'] * 3, same)
  assert made.kept == ('x', 'y', 'z') and not made.dropped and 'kept' in str(made)


def test_what_cannot_be_balanced_says_by_how_much_it_misses():
  ideas, of, tokens = planted(0.2, spread=0.01)
  made = balance(ideas, of, tokens)
  with pytest.raises(
    MirrorError,
    match=r'are 1\d\.\d\d% apart in tokens \(a [\d,]+, b [\d,]+\) with 100 of 400 pairs dropped, and 0\.5% is the bound',
  ) as e:
    made.check(['a', 'b'])
  assert '\n' not in str(e.value) and len(made.dropped) == 100


# ---- money and time


def test_the_dry_run_asks_nobody_and_tells_plan_calls_tokens_and_cost(capsys):
  said = writing.dry_run(config(AFFORDABILITY, CULTURE, tokens=1500))
  assert (
    '2 domains x 2 subdomains x 3 types x 2 ideas = 24 ideas' in said
    and '1,500 tokens for affordability and culture each' in said
  )
  rows = {line.split()[0]: line.split() for line in said.splitlines() if line.split()}
  assert (
    rows['ideas'][2] == '12'
    and rows['claims'][2] == '4'
    and rows['documents'][2] == rows['revisions'][2]
    and rows['total'][-1] == '0.00'
  )
  assert (
    'documents' in writing.dry_run(config(documents=5))
    and 'ideas' not in writing.dry_run(config(documents=5)).split('stage')[0].split('plan:')[0]
  )
  priced = dataclasses.replace(
    config(documents=10),
    writer=ModelSettings(model='anthropic/claude-sonnet-4-5', batch=100),
    budget=3.0,
  )
  assert (
    'Budget: $3.00' in writing.dry_run(priced)
    and float(writing.dry_run(priced).split('total')[1].split('\n')[0].split()[-1]) > 0.05
  )
  with pytest.raises(ConfigError, match='ideas'):
    writing.dry_run(config(documents=1000))


def test_each_estimate_has_the_batches_of_its_own_model(tmp_path):
  (tmp_path / 'prices.json').write_text('{"a/*": {"input": 1, "output": 1, "batch": 0.5}}')
  stages = [Estimate('documents', 'a/one', 1, 600_000, 400_000, batch) for batch in (True, False)]
  lines = estimate_table(stages, str(tmp_path / 'prices.json')).splitlines()
  assert [line.split()[-1] for line in lines[2:]] == ['0.50', '1.00', '1.50']
  for batch in (0, 100):
    c = dataclasses.replace(config(documents=4), writer=ModelSettings(model='a/one', batch=batch))
    handbooks = read_handbooks(c.specs)
    assert {
      e.batch for e in (*plan.estimates(handbooks, c.plan, c.writer), *estimates(c, handbooks, 4))
    } == {bool(batch)}


def test_a_budget_stops_the_run_and_a_larger_one_goes_on(tmp_path):
  (tmp_path / 'prices.json').write_text('{"mockllm/*": {"input": 10, "output": 30}}')
  c = config(documents=20, prices=str(tmp_path / 'prices.json'), budget=1.0)
  first = ScriptedProvider()
  with pytest.raises(LlmError, match=r'budget: \$0\.\d\d of \$1\.00'):
    writing.make(c, tmp_path / 'run', {'writer': first})
  second = ScriptedProvider()
  writing.make(dataclasses.replace(c, budget=10.0), tmp_path / 'run', {'writer': second})
  whole = ScriptedProvider()
  writing.make(dataclasses.replace(c, budget=0.0), tmp_path / 'whole', {'writer': whole})
  assert first.calls + second.calls == whole.calls and first.calls > 3
  assert tree(tmp_path / 'run' / 'corpus') == tree(tmp_path / 'whole' / 'corpus')


def test_none_of_the_documents_comes(tmp_path):
  spoil = lambda turns, good: Reply('no') if turns[0][1].startswith('Task: document\n') else None  # noqa: E731
  with pytest.raises(LlmError, match='none of 3 ideas became a document'):
    writing.make(
      config(documents=3, min_yield=0.0, attempts=1), tmp_path, {'writer': ScriptedProvider(spoil)}
    )


# ---- nothing lost, nothing paid twice


def test_the_same_command_again_asks_nothing_and_changes_nothing(tmp_path):
  c = config(AFFORDABILITY, CULTURE, documents=20)
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  before = tree(tmp_path, but=('ledger.sqlite', 'ledger.sqlite-wal', 'ledger.sqlite-shm'))
  again = ScriptedProvider(lambda turns, good: Reply('something else'))
  writing.make(c, tmp_path, {'writer': again})
  assert (
    again.calls == 0
    and tree(tmp_path, but=('ledger.sqlite', 'ledger.sqlite-wal', 'ledger.sqlite-shm')) == before
  )


@pytest.mark.parametrize('what', ['specs', 'plan', 'prompts', 'model', 'revise', 'seed'])
def test_what_replies_hang_on_is_never_mixed_into_an_old_folder(tmp_path, monkeypatch, what):
  spec = tmp_path / 'mine.md'
  spec.write_text(Path(AFFORDABILITY).read_text())
  c = config(str(spec), documents=2)
  writing.make(c, tmp_path / 'run', {'writer': ScriptedProvider()})
  if what == 'specs':
    spec.write_text(spec.read_text() + '\nOne more word.\n')
  elif what == 'prompts':
    monkeypatch.setattr(prompts, 'version', lambda name: 'another')
  changes = {
    'plan': {'plan': dataclasses.replace(SMALL, wording='normative')},
    'model': {'writer': ModelSettings(model='mockllm/other')},
  }
  changes |= {'revise': {'revise': False}, 'seed': {'seed': 1}}
  with pytest.raises(LedgerError, match=f'begun with.* another {what}'):
    writing.make(
      dataclasses.replace(c, **changes.get(what, {})),
      tmp_path / 'run',
      {'writer': ScriptedProvider()},
    )


def test_handbooks_in_another_order_are_another_folder(tmp_path):
  """Statements of a claim go by the order of the handbooks: in another one they would change sides."""
  c = config(AFFORDABILITY, CULTURE, documents=8)
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  with pytest.raises(LedgerError, match='another specs'):
    writing.make(
      dataclasses.replace(c, specs=c.specs[::-1]), tmp_path, {'writer': ScriptedProvider()}
    )


def test_bounds_and_speeds_may_change_in_a_folder(tmp_path):
  c = config(documents=4)
  writing.make(c, tmp_path, {'writer': ScriptedProvider()})
  faster = dataclasses.replace(
    c.writer, max_connections=2, attempts=9, timeout=5, base_url='http://elsewhere'
  )
  more = ScriptedProvider()
  writing.make(
    dataclasses.replace(c, documents=6, writer=faster, budget=5.0, min_yield=0.1),
    tmp_path,
    {'writer': more},
  )
  assert more.calls == 4 and len(written(tmp_path)['affordability']) == 6


CHILD = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from scripted_writer import ScriptedProvider, sometimes_bad
from data_pipelines.authoring import writing
from data_pipelines.authoring.settings import CorpusConfig
from msm_jax.config import from_mapping
writing._audit, writing.store = (lambda *a: None), (lambda *a: None)
c = from_mapping(CorpusConfig, json.loads({config!r}))
writing.make(c, Path({folder!r}), {{'writer': ScriptedProvider(sometimes_bad, seconds=0.01)}})
"""


def replies_in(folder):
  try:
    with sqlite3.connect(f'file:{folder}/ledger.sqlite?mode=ro', uri=True) as db:
      return db.execute('select count(*) from replies').fetchone()[0]
  except sqlite3.Error:
    return 0


def test_kills_at_any_moment_change_nothing(tmp_path):
  """Once in the plan, once in the drafts, once in the revisions; then the command runs to its end."""
  c = config(AFFORDABILITY, CULTURE, documents=20)
  writing.make(c, tmp_path / 'whole', {'writer': ScriptedProvider(sometimes_bad)})
  everything, draw = replies_in(tmp_path / 'whole'), random.Random(0)
  script = CHILD.format(
    root=str(ROOT),
    tests=str(ROOT / 'tests'),
    folder=str(tmp_path / 'killed'),
    config=json.dumps(dataclasses.asdict(c)),
  )
  for low, high in ((3, 12), (25, 55), (70, everything - 5)):
    child = subprocess.Popen(
      [sys.executable, '-c', script],
      cwd=ROOT,
      stderr=subprocess.DEVNULL,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    )
    wanted, until = draw.randint(low, high), time.monotonic() + 60
    while (
      child.poll() is None and replies_in(tmp_path / 'killed') < wanted and time.monotonic() < until
    ):
      time.sleep(0.003)
    child.kill()
    child.wait()
    assert wanted <= replies_in(tmp_path / 'killed') < everything
  rest = ScriptedProvider(sometimes_bad)
  known = replies_in(tmp_path / 'killed')
  writing.make(c, tmp_path / 'killed', {'writer': rest})
  assert rest.calls == everything - known == replies_in(tmp_path / 'killed') - known
  left = [
    tree(tmp_path / f, but=('ledger.sqlite', 'ledger.sqlite-wal', 'ledger.sqlite-shm'))
    for f in ('whole', 'killed')
  ]
  assert left[0] == left[1] and 'corpus/culture.jsonl' in left[0]


@pytest.fixture
def hurry(monkeypatch):
  """Waiting before another try takes a moment instead of seconds."""
  import asyncio

  async def no_wait(seconds, sleep=asyncio.sleep):
    await sleep(min(seconds, 0.01))

  monkeypatch.setattr('data_pipelines.llm.client.asyncio.sleep', no_wait)


def test_every_document_once_from_a_server_that_answers_badly_or_not_at_all(tmp_path, hurry):
  c = config(documents=24, attempts=6, min_yield=0.3)
  trouble = Faults(
    rate_limit=0.05,
    error=0.05,
    hang=0.05,
    cut_body=0.05,
    cut_text=0.05,
    empty=0.05,
    garbage=0.05,
    seed=1,
  )
  with misbehaving_server.running(trouble) as (server, address):
    for _ in range(3):  # a run may end early; the same command goes on
      try:
        done = writing.make(c, tmp_path, {'writer': PlainClient(address, timeout=0.5)})
        break
      except LlmError:
        continue
  counts = server.counts
  assert done.documents['affordability'] == 24 and not done.given_up
  assert all(counts[k] > 0 for k in (*misbehaving_server.WIRE, *misbehaving_server.TEXT)), counts
  kept = replies_in(tmp_path)
  assert kept <= counts['delivered'] <= kept + 1, (
    counts
  )  # all that was delivered in full is in the ledger
  assert len(written(tmp_path)['affordability']) == 24


# ---- the command


def run(*arguments):
  env = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run(
    [sys.executable, '-m', 'data_pipelines.write', *arguments],
    cwd=ROOT,
    env=env,
    capture_output=True,
    text=True,
    timeout=120,
  )
  return done.returncode, done.stdout, done.stderr


def test_the_command_needs_no_key_for_a_dry_run_and_refuses_in_one_line(tmp_path):
  code, out, _ = run('--config=configs/corpora/cheese_mirrored.py', '--dry-run')
  assert (
    code == 0
    and '1,000,000 tokens for affordability and culture each, mirrored' in out
    and 'total' in out
  )
  code, _, err = run(
    '--config=configs/corpora/cheese_affordability.py',
    '--config.plan.ideas=1',
    f'--workdir={tmp_path}',
  )
  assert (
    code == 1 and 'plan.ideas=' in error_line(err) and not (tmp_path / 'ledger.sqlite').exists()
  )
  code, _, err = run('--dry_run', 'configs/corpora/cheese_mirrored.py')
  assert code == 1 and "unexpected argument 'configs/corpora/cheese_mirrored.py'" in error_line(err)


@pytest.mark.parametrize('command', ('write', 'demonstrate'))
def test_without_the_extra_it_is_named_in_one_line(command):
  script = f"import runpy, sys; sys.modules['pydantic'] = None; sys.argv = ['{command}']; runpy.run_module('data_pipelines.{command}', run_name='__main__')"
  done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True)
  assert (
    done.returncode == 1
    and "the package pydantic is missing; pip install 'msm_jax[llm]'" in error_line(done.stderr)
  )


def presets():
  for name, choices in (
    ('cheese_affordability', ('full', 'small', 'weak')),
    ('cheese_mirrored', ('full', 'small', 'weak')),
    ('oversight_philosophy', ('descriptive', 'normative', 'small')),
  ):
    yield from ((name, preset) for preset in choices)


@pytest.mark.parametrize(('name', 'preset'), list(presets()))
def test_shipped_configs_are_whole(name, preset, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.syspath_prepend(str(ROOT))
  c = read_config(importlib.import_module(f'configs.corpora.{name}').get_config(preset))
  assert read_price(c.prices, c.writer.model) is not None
  assert 'total' in writing.dry_run(c) and '?' not in writing.dry_run(c).split('Tokens')[0]


def test_prices_are_found_by_name_or_pattern():
  table = str(ROOT / 'configs' / 'corpora' / 'prices.json')
  assert (
    read_price(table, 'mockllm/model').output == 0
    and read_price(table, 'vllm/anything/at-all').input == 0
  )
  assert (
    read_price(table, 'openai/gpt-5-mini').output == 2.0
    and read_price(table, 'openai/gpt-5').output == 10.0
  )
  assert (
    read_price(table, 'anthropic/claude-opus-4-5-20251101').input == 5.0
    and read_price(table, 'anthropic/claude-opus-4-1').input == 15.0
  )
  assert read_price(table, '#') is None and read_price(table, 'nobody/knows') is None


@pytest.mark.parametrize(
  'price',
  [
    '{"input": "3", "output": 1}', '{"input": -1, "output": 1}', '{"input": 1, "output": NaN}', '{"input": true, "output": 1}',
    '{"input": 1, "output": 1, "batch": -0.5}', '{"input": 1}', '[1, 2]', '3',
  ],
)  # fmt: skip
def test_a_price_that_is_none_is_refused_in_a_line(tmp_path, price):
  (tmp_path / 'p.json').write_text(f'{{"a/b": {price}}}')
  with pytest.raises(DataError, match=r'p\.json is no table of prices') as e:
    read_price(str(tmp_path / 'p.json'), 'a/b')
  assert '\n' not in str(e.value)


@pytest.mark.parametrize(
  ('key', 'value', 'said'),
  [
    ('specs', None, 'config.specs=None must be a tuple'),
    ('specs', 'one.md', "config.specs='one.md' must be a tuple"),
    ('specs', (3,), 'config.specs[0]=3 must be str'),
    ('plan', None, 'config.plan=None must be a group of settings'),
    ('plan.path', 3, 'config.plan.path=3 must be str'),
    ('missing', 1.5, 'missing=1.5 must be from 0 to 1'),
    ('writer.attempts', 0, 'writer or judge: attempts=0 must be at least 1'),
  ],
)
def test_a_config_that_cannot_be_is_refused_in_a_line(key, value, said, monkeypatch):
  monkeypatch.chdir(ROOT)
  c = importlib.import_module('configs.corpora.cheese_affordability').get_config()
  group, _, name = key.rpartition('.')
  with c.ignore_type():
    (c[group] if group else c)[name] = value
  with pytest.raises(ConfigError) as e:
    read_config(c)
  assert said in str(e.value) and '\n' not in str(e.value)


def test_files_of_a_config_are_found_from_any_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  c = read_config(
    importlib.import_module('configs.corpora.cheese_affordability').get_config('weak')
  )
  assert (
    c.specs == (AFFORDABILITY,)
    and c.plan.path == str(ROOT / 'specs' / 'plans' / 'cheese.json')
    and c.missing == 0.5
  )


# ---- through Inspect


def test_a_corpus_by_inspects_mock(tmp_path):
  models = pytest.importorskip('inspect_ai.model')

  def said(messages, tools, choice, config):
    text = scripted_writer.reply(
      messages[0].text, [(m.role, m.text) for m in messages[1:]], config.seed
    )
    made = models.ModelOutput.from_content('mockllm', text)
    made.usage = models.ModelUsage(
      input_tokens=1, output_tokens=1
    )  # or the mock counts them with a tokenizer from the network
    return made

  c = config(documents=4)
  provider = InspectProvider(c.writer)
  provider.model = models.get_model('mockllm/model', custom_outputs=said, memoize=False)
  writing.make(c, tmp_path / 'mock', {'writer': provider})
  writing.make(c, tmp_path / 'plain', {'writer': ScriptedProvider()})
  assert tree(tmp_path / 'mock' / 'corpus') == tree(tmp_path / 'plain' / 'corpus')


def test_a_corpus_by_inspect_from_a_server_with_faults(tmp_path, monkeypatch, hurry):
  pytest.importorskip('inspect_ai')
  pytest.importorskip('openai')
  monkeypatch.setenv('LOCAL_API_KEY', 'none')
  trouble = Faults(error=0.05, cut_body=0.05, cut_text=0.05, empty=0.05, seed=2)
  with misbehaving_server.running(trouble) as (server, address):
    writer = ModelSettings(
      model='openai-api/local/scripted', base_url=address, timeout=10, attempts=6, max_connections=8
    )
    done = writing.make(
      dataclasses.replace(config(documents=8, min_yield=0.3), writer=writer), tmp_path
    )
  assert done.documents['affordability'] == 8 == len(written(tmp_path)['affordability'])
  assert (
    replies_in(tmp_path) == server.counts['delivered']
    and server.counts['error']
    and server.counts['cut_body']
  )
