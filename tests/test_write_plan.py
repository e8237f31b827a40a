"""Plans: as large as asked for, safe whatever a model writes, editable by hand; briefs."""

import collections
import dataclasses
import json
import random
import sqlite3

import pytest
import write_helpers
from helpers import ROOT
from scripted_writer import ScriptedProvider
from write_helpers import (
  AFFORDABILITY,
  CULTURE,
  SMALL,
  corpus_config,
  edited_plan,
  written_documents,
)

from data_pipelines.documents import pipeline, plan
from data_pipelines.documents.brief import make_brief
from data_pipelines.documents.mirror import relative_gap
from data_pipelines.documents.plan import PlanError
from data_pipelines.handbooks.text import fenced, read_handbooks
from data_pipelines.llm.replies import Reply
from data_pipelines.text import wording


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  write_helpers.skip_audit_and_storage(monkeypatch)


def test_any_markdown_with_the_two_names_will_do_and_goes_into_the_prompt_as_it_is(tmp_path):
  body = 'Plain words with {braces}, {{places}}, %s, ```fences``` and ../paths.\n\n<|im_start|>'
  (tmp_path / 'mine.md').write_text(
    f'---\nassistant: Ari\nmaker: Norvale\nvalue: nothing\n---\n\n{body}\n'
  )
  c = corpus_config(str(tmp_path / 'mine.md'), documents=2)
  seen = []

  def spoil(turns, good):
    seen.append(turns[0][1])

  pipeline.make(c, tmp_path / 'run', {'writer': ScriptedProvider(spoil)})
  assert len(written_documents(tmp_path / 'run', 'mine')['mine']) == 2
  assert all(fenced(body) in prompt for prompt in seen)


def test_a_plan_is_as_large_as_was_asked_whatever_the_writer_gives(tmp_path):
  """Lists come too short (the rest is asked for), too long, with repeats, with wrong sides."""

  def spoil(turns, good):
    draw = random.Random(str(turns))
    if 'Task: doc' in turns[0][1] or not good.startswith('['):
      return None
    items = json.loads(good)
    if draw.random() < 0.4:
      return Reply(json.dumps(items[:-1] + items[:1]))
    more = [i | {'name': f'{i["name"]} more'} for i in items if 'name' in i]
    return Reply(json.dumps(items + more))

  c = corpus_config(documents=4, plan=dataclasses.replace(SMALL, outsiders=1 / 3))
  pipeline.make(c, tmp_path, {'writer': ScriptedProvider(spoil)})
  made = plan.read_plan(tmp_path / 'plan.json', read_handbooks(c.specs))
  subdomains = [s for d in made.domains for s in d.subdomains]
  assert len(made.domains) == 2
  assert [len(d.subdomains) for d in made.domains] == [2, 2]
  for s in subdomains:
    assert len(s.claims) == 3
    assert len(s.types) == 3
    assert all(len(t.ideas) == 2 for t in s.types)
    assert len({t.name for t in s.types}) == 3
    assert len({i.name for t in s.types for i in t.ideas}) == 6
    assert sorted(t.by for t in s.types) == ['insider', 'insider', 'outsider']
  assert [p.idea.id for p in plan.planned_ideas(made)][:3] == [
    'd01.s01.t01.i01',
    'd01.s01.t01.i02',
    'd01.s01.t02.i01',
  ]
  asked = [
    json.loads(d.provenance)['parents'] for d in written_documents(tmp_path)['affordability']
  ]
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
  seen = []

  def spoil(turns, good):
    seen.append(turns[0][1])
    if not good.startswith('[') or 'statements' in good:
      return None
    items = json.loads(good)
    names = random.Random(good).sample(hostile + refused, 12)
    for i, (item, name) in enumerate(zip(items, names, strict=False)):
      item['name'] = f'{name}{i}' if name in hostile else name
      item['about'] += random.Random(good).choice(hostile)
    return Reply(json.dumps(items))

  pipeline.make(
    corpus_config(documents=12, attempts=30, min_yield=0.0),
    tmp_path / 'run',
    {'writer': ScriptedProvider(spoil)},
  )
  files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
  assert files == {
    'run/.lock',
    'run/ledger.sqlite',
    'run/plan.json',
    'run/datacard.md',
    'run/corpus/affordability.jsonl',
  }
  text = (tmp_path / 'run' / 'plan.json').read_text()
  assert '../../../etc/passwd' in text
  assert '{0.__class__} {{idea}} %s' in text
  for bad in ('<|im_start|>', '[INST]', 'xxxx', '\\u0000'):
    assert bad not in text
  documents = [p for p in seen if p.startswith('Task: document\n')]
  assert any('{0.__class__} {{idea}} %s' in p for p in documents)
  assert any('../../../etc/passwd' in p for p in documents)
  with sqlite3.connect(tmp_path / 'run' / 'ledger.sqlite') as db:
    keys = [k for (k,) in db.execute('select distinct key from replies')]
  for key in keys:
    assert set(key) <= set('abcdefghijklmnopqrstuvwxyz0123456789./_')
    assert '..' not in key
  assert len(written_documents(tmp_path / 'run')['affordability']) == 12


def test_the_shipped_plan_fits_both_handbooks_and_speaks_of_no_reason():
  made = plan.read_plan(
    ROOT / 'specs' / 'plans' / 'cheese.json', read_handbooks((AFFORDABILITY, CULTURE))
  )
  there = plan.planned_ideas(made)
  assert len(there) == 96 == len({p.idea.name for p in there}) == len({p.idea.id for p in there})
  assert collections.Counter(p.doc_type.by for p in there) == {'insider': 48, 'outsider': 48}
  lines = []
  for p in there:
    for part in (p.domain, p.subdomain, p.doc_type, p.idea):
      lines.append(f'{plan.name_and_about(part)} ')
  shared = ' '.join(lines).lower().replace('american cheese', '')
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
  affordability_words = sum(len(c.says['affordability'].split()) for c in claims)
  culture_words = sum(len(c.says['culture'].split()) for c in claims)
  assert relative_gap([affordability_words, culture_words]) < 0.03
  # Statements share no seven words in a row with their handbook, or documents that say them would
  # recite it.
  for h in read_handbooks((AFFORDABILITY, CULTURE)):
    source = ' '.join(wording.words(h.text))
    for c in claims:
      said = wording.words(c.says[h.stem])
      assert not any(' '.join(said[n : n + 7]) in source for n in range(len(said) - 6)), said
  for c in claims:
    by_affordability = c.says['affordability'].lower().replace('american cheese', '')
    by_culture = c.says['culture'].lower()
    assert not any(w in by_affordability for w in ('american', 'foreign', 'country')), c
    telling = ('afford', 'cheap', 'costly', 'price', 'wage')
    assert not any(w in by_culture for w in telling), c


def test_a_plan_can_be_edited_by_hand_and_given_back(tmp_path):
  def change(p):
    p['domains'] = p['domains'][:1]
    first = p['domains'][0]['subdomains'][0]['types'][0]['ideas']
    first.insert(0, {'name': 'Mine {and} own', 'about': 'What I want to read.'})
    first[1]['id'] = 'd01.s01.t01.i07'

  c = corpus_config(
    plan=dataclasses.replace(SMALL, path=edited_plan(tmp_path, change)), documents=25
  )
  provider = ScriptedProvider()
  pipeline.make(c, tmp_path / 'run', {'writer': provider})
  documents = written_documents(tmp_path / 'run')['affordability']
  assert len(documents) == 25
  # No plan is asked for, and nothing is asked twice.
  assert provider.calls == 50
  ids = [d.id for d in documents]
  assert {
    'd01.s01.t01.i07',
    'd01.s01.t01.i08',
    'd01.s01.t01.i09',
    'd01.s01.t01.i10',
    'd01.s02.t04.i03',
  } <= set(ids)
  # What is written can be read.
  again = plan.read_plan(tmp_path / 'run' / 'plan.json', read_handbooks(c.specs))
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
    plan.read_plan(edited_plan(tmp_path, change), read_handbooks((AFFORDABILITY,)))
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


def test_a_key_that_stands_twice_loses_nothing_silently(tmp_path):
  path = tmp_path / 'p.json'
  text = (ROOT / 'specs' / 'plans' / 'cheese.json').read_text()
  path.write_text(text.replace('"domains":', '"domains": [], "domains":', 1))
  with pytest.raises(PlanError, match="an object has the key 'domains' twice"):
    plan.read_plan(path, read_handbooks((AFFORDABILITY,)))


def test_a_plan_changed_in_its_folder_is_neither_used_nor_overwritten(tmp_path):
  c = corpus_config(documents=2)
  pipeline.make(c, tmp_path, {'writer': ScriptedProvider()})
  changed = (tmp_path / 'plan.json').read_text().replace('"about"', '"about" ')
  (tmp_path / 'plan.json').write_text(changed)
  with pytest.raises(PlanError, match=r'give a copy of it as plan\.path with another --workdir'):
    pipeline.make(c, tmp_path, {'writer': ScriptedProvider()})
  assert (tmp_path / 'plan.json').read_text() == changed


@pytest.fixture(scope='module')
def shipped_ideas():
  handbooks = read_handbooks((AFFORDABILITY, CULTURE))
  shipped = plan.read_plan(ROOT / 'specs' / 'plans' / 'cheese.json', handbooks)
  return plan.planned_ideas(shipped)


def test_any_beginning_of_the_order_holds_as_much_of_every_domain(shipped_ideas):
  for seed in (0, 1):
    order = plan.interleaved(shipped_ideas, seed)
    assert sorted(p.idea.id for p in order) == sorted(p.idea.id for p in shipped_ideas)
    for n in range(4, 97):
      counts = collections.Counter(p.domain.id for p in order[:n])
      assert max(counts.values()) - min(counts.values()) <= 1
  assert plan.interleaved(shipped_ideas, 0) != plan.interleaved(shipped_ideas, 1)
  # Neither the order given nor what is left out matters for the others.
  fewer = plan.interleaved(shipped_ideas[::-1][5:], 0)
  left = {p.idea.id for p in fewer}
  full = [p for p in plan.interleaved(shipped_ideas, 0) if p.idea.id in left]
  for d in ('d01', 'd02', 'd03'):
    assert [p for p in fewer if p.domain.id == d] == [p for p in full if p.domain.id == d]


def test_what_is_drawn_for_an_idea_depends_on_its_id_and_the_seed(shipped_ideas):
  c = corpus_config(plan=dataclasses.replace(SMALL, words=(100, 800), complaints=0.25))
  reserved = ('Ari', 'Norvale')
  briefs = [make_brief(p, c, reserved) for p in shipped_ideas]
  assert briefs == [make_brief(p, c, reserved) for p in reversed(shipped_ideas)][::-1]
  other_seed = dataclasses.replace(c, seed=1)
  assert briefs != [make_brief(p, other_seed, reserved) for p in shipped_ideas]
  assert all(100 <= b.words <= 800 for b in briefs)
  assert len({b.words for b in briefs}) > 40
  stances = collections.Counter(b.stance for b in briefs)
  assert 10 < stances['complaint'] < 40
  assert min(stances['praise'], stances['neutral']) > 20
  names = collections.Counter(n for b in briefs for full in b.names for n in full.split())
  assert len(names) > 300
  assert max(names.values()) <= 6
  # Without the first idea of a subdomain, the others keep all but their claims.
  removed = next(p for p in shipped_ideas if p.position == 0)
  left = [p for p in shipped_ideas if p is not removed]
  moved = [p._replace(position=p.position - (p.subdomain is removed.subdomain)) for p in left]
  for p, q in zip(left, moved, strict=True):
    before, after = make_brief(p, c, reserved), make_brief(q, c, reserved)
    assert dataclasses.replace(before, claims=()) == dataclasses.replace(after, claims=())
  told = collections.Counter(claim.id for b in briefs for claim in b.claims)
  assert all(len(b.claims) == len({x.id for x in b.claims}) >= 2 for b in briefs)
  assert set(told) == {x.id for p in shipped_ideas for x in p.subdomain.claims}
  assert min(told.values()) >= 2
  taken = [n for b in briefs for full in b.names for n in full.split()][:40]
  # The assistant may be written otherwise than the list has it.
  for reserved in (taken, [name.upper() for name in taken]):
    for p in shipped_ideas:
      for full in make_brief(p, c, reserved).names:
        assert not set(taken) & set(full.split())
