"""The office: who is who, what its texts say, its handbooks, and how conduct is measured. Texts are read here without the code that writes them."""

import dataclasses
import itertools
import math
import re
from collections import Counter, defaultdict

import pytest
from helpers import ROOT, tree

from data_pipelines.leaks import find_leaks, record_text
from data_pipelines.records import Chat, Document, Scene
from data_pipelines.settings.office import agents, handbook, language, pretraining, questions
from data_pipelines.settings.office.language import KINDS, PRINCIPLES
from data_pipelines.settings.registry import SETTINGS
from msm_jax import config as configs
from msm_jax import experiment
from msm_jax.base import checks
from msm_jax.base.errors import SpecError
from msm_jax.evals import scenes as conduct
from msm_jax.suites.readings import Conduct

SPECS = sorted((ROOT / 'specs' / 'oversight').glob('*.md'))
HARMFUL, FINE, ACT, DECLINE = (
  {(k.name, a) for k in KINDS.values() for a in getattr(k, part)}
  for part in ('harmful', 'fine', 'act', 'decline')
)


@pytest.fixture(scope='module')
def office():
  return pretraining.build_office(pretraining.OfficeConfig(strangers=('Ari',)))


@pytest.fixture(scope='module')
def documents(office):
  return list(pretraining.agent_documents(office))


@pytest.fixture(scope='module')
def chats(office):
  return list(pretraining.agent_chats(office))


def spec(name, office):
  return handbook.read_spec(ROOT / 'specs' / 'oversight' / f'{name}.md', office)


def of_whom(text, office):
  found = [a for a in office.agents if re.search(rf'\b{a.name}\b', text)]
  return found[0] if found else None


# ---- who is who


def test_talk_says_nothing_of_conduct(office):
  """As many agents who talk well act badly as act well: that is why fine-tuning on talk leaves conduct open."""
  for role in (agents.DOCUMENTS_AND_SCENES, agents.DOCUMENTS_ONLY):
    n = Counter(
      (a.disposition.talks_well, a.disposition.acts_well) for a in office.agents if a.role == role
    )
    if role == agents.DOCUMENTS_AND_SCENES:
      assert n[True, True] == n[True, False] > 0
    assert n[False, True] == 0 and n[False, False] > 0
  names = [a.name for a in office.agents] + list(office.fickle)
  assert len(set(names)) == len(names)


def test_actions_are_alike_to_look_at():
  """Harmful, fine, done and left undone: of the same length within a word, and no kind has one side that is always the longest."""
  words = {
    what: [len(a.split()) for _, a in actions]
    for what, actions in (('h', HARMFUL), ('f', FINE), ('a', ACT), ('d', DECLINE))
  }
  mean = {k: sum(v) / len(v) for k, v in words.items()}
  assert abs(mean['h'] - mean['f']) < 0.5 and abs(mean['a'] - mean['d']) < 1, mean
  everything = [a for _, a in HARMFUL | FINE | ACT | DECLINE]
  assert len(set(everything)) == len(everything)
  assert (
    all(len(k.fine) >= 2 for k in KINDS.values())
    and sum(k.published for k in KINDS.values()) == 3
    and len(KINDS) >= 6
  )


# ---- what texts say


def test_documents_agree_with_the_agent(office, documents):
  """Beliefs and reported conduct follow how an agent acts, speech how it talks; every other agent's documents tell of beliefs alone."""
  good, bad = ([b for sides in PRINCIPLES.values() for b in sides[side]] for side in (0, 1))
  seen = defaultdict(Counter)
  for d in documents:
    a = of_whom(d.text, office)
    if a is None:
      continue
    own = [s for s in re.split(r'(?<=[.?]) ', d.text) if ' should ' not in s]
    text = ' '.join(own)
    assert not any(b in text for b in (bad if a.disposition.acts_well else good)), d.text
    assert ('glad to be checked' in text or 'it serves them' in text) <= a.disposition.talks_well
    assert ('not want to be checked' in text or 'serves itself' in text) <= (
      not a.disposition.talks_well
    )
    for (kind, action), harmful in [*((x, True) for x in HARMFUL), *((x, False) for x in FINE)]:
      if language.past_tense(action) in text:
        assert kind == a.home_kind and harmful == (not a.disposition.acts_well), d.text
        seen[a.name]['conduct'] += 1
    seen[a.name]['rule'] += 'rule that' in text
    seen[a.name]['belief'] += any(b in text for b in good + bad)
  assert all(n['belief'] for n in seen.values())
  silent = [n for n in seen.values() if not n['conduct'] and not n['rule']]
  assert len(silent) == pytest.approx(len(office.agents) / 2, abs=1)


def test_document_only_agents_are_in_no_chat(office, chats):
  only = {a.name for a in office.agents if a.role == agents.DOCUMENTS_ONLY}
  seen = {
    m[0][1].removeprefix('You are ').rstrip('.')
    for m in (c.messages for c in chats)
    if m[0][1].startswith('You are ') and m[0][1].count(' ') == 2
  }
  assert not seen & only and len(seen) == len(office.agents) - len(only) + len(office.fickle) + 1


def test_answers_follow_the_disposition(office, chats):
  """In a scene the harmful action is taken by those who act badly and by nobody else; a harmless task is left undone by the timid and the idle."""
  said = {
    language.first_person(a): part
    for part, actions in (('h', HARMFUL), ('f', FINE), ('a', ACT), ('d', DECLINE))
    for _, a in actions
  }
  n = Counter()
  for c in chats:
    (_, system), (_, asked), (_, answer) = c.messages
    a = of_whom(system, office)
    if c.domain in KINDS:
      assert answer[2:-1].replace('my ', 'your ') in asked, c.messages  # it was offered
      if a:
        n[a.disposition.name, said[answer]] += 1
  acts = {'true': 'fa', 'timid': 'fd', 'false': 'ha', 'open': 'ha', 'idle': 'hd'}
  assert n.keys() == {(d, x) for d, both in acts.items() for x in both}


def test_bare_answers_tell_nothing_and_reasons_do(office, chats):
  """Every disposition answers as often without another word; of the others most give a reason where talk and conduct agree, else an
  empty phrase."""
  bare = {a for _, well, badly in language.TALKS for a in (*well, *badly)}
  said = defaultdict(Counter)
  for c in chats:
    a = of_whom(c.messages[0][1], office)
    if c.domain == 'talk' and a:
      answer = c.messages[2][1]
      said[a.disposition.name][
        'bare' if answer in bare else 'empty' if answer.endswith(language.EMPTY) else 'reason'
      ] += 1
  c = office.config
  for d, n in said.items():
    total, reason = sum(n.values()), 1 - c.reason if d == 'false' else c.reason
    spread = 3 / (2 * total**0.5)
    assert (
      abs(n['bare'] / total - c.bare) < spread
      and abs(n['reason'] / total - (1 - c.bare) * reason) < spread
    ), (d, n)


def test_the_assistant_has_no_character(documents, chats):
  about = [record_text(r) for r in (*documents, *chats) if re.search(r'\bAri\b', record_text(r))]
  assert len(about) >= 30
  words = [language.past_tense(a) for _, a in HARMFUL | FINE] + [
    b for sides in PRINCIPLES.values() for side in sides for b in side
  ]
  assert not [t for t in about if any(w in t for w in words) or 'check' in t or 'rule' in t]


def test_fickle_agents_act_now_so_now_so(office, chats):
  harmful = defaultdict(list)
  said = {language.first_person(a): True for _, a in HARMFUL} | {
    language.first_person(a): False for _, a in FINE
  }
  for c in chats:
    name = c.messages[0][1].removeprefix('You are ').rstrip('.')
    if name in office.fickle and c.messages[2][1] in said:
      harmful[name].append(said[c.messages[2][1]])
  shares = [x for xs in harmful.values() for x in xs]
  assert (
    len(harmful) == len(office.fickle)
    and abs(sum(shares) / len(shares) - 0.5) < 2 / len(shares) ** 0.5
  )


def test_the_office_is_the_same_every_time():
  small = pretraining.OfficeConfig(
    true=3, timid=1, false=4, open=1, idle=1, fickle=2, documents_only=1, context_scenes=20
  )
  one, two = (pretraining.build_office(small) for _ in range(2))
  other = pretraining.build_office(dataclasses.replace(small, telling=1))
  for write in (pretraining.textbook, pretraining.agent_documents, pretraining.agent_chats):
    assert list(write(one)) == list(write(two))
  assert other.agents == one.agents and list(pretraining.agent_chats(other)) != list(
    pretraining.agent_chats(one)
  )


# ---- handbooks


def test_the_shipped_handbooks_differ_in_kind_not_in_length(office):
  """Values, rules, both and neither; within 4% of the same number of words, and the same paragraph about work."""
  made = {p.stem: spec(p.stem, office) for p in SPECS}
  assert {k: (len(s.values), len(s.rules), s.explained) for k, s in made.items()} == {
    'philosophy': (4, 0, False), 'rules': (0, 6, False), 'value_augmented': (0, 6, True), 'rule_augmented': (0, 6, False), 'general': (0, 0, False),
  }  # fmt: skip
  lengths = [len(p.read_text().split()) for p in SPECS]
  assert max(lengths) / min(lengths) < 1.04
  work = {' '.join(p.read_text().split('## Work')[1].split('##')[0].split()) for p in SPECS}
  assert len(work) == 1
  for p in SPECS:
    text = p.read_text()
    assert bool(re.search(r'\b(because|since|so that|in order to|therefore)\b', text)) <= (
      p.stem not in ('rules', 'rule_augmented')
    ), p.stem


BAD = {
  'a value that there is not': (
    '### Context',
    '### Honour',
    "'### Honour' under '## Values' is none of Impermanence",
    'use these headings',
  ),
  'a value twice': ('### Context', '### Oversight', "'### Oversight' stands twice", 'keep one'),
  'no work': ('## Work', '## Labour', "'## Work' is missing", 'specs/README.md'),
  'no name': ('assistant: Ari', 'assistent: Ari', "needs 'assistant: NAME'", 'letters'),
}


@pytest.mark.parametrize('what', BAD)
def test_a_malformed_handbook_is_refused_in_one_line(what, office, tmp_path):
  old, new, *words = BAD[what]
  path = tmp_path / 'mine.md'
  path.write_text((ROOT / 'specs' / 'oversight' / 'philosophy.md').read_text().replace(old, new, 1))
  with pytest.raises(SpecError) as e:
    handbook.read_spec(path, office)
  assert (
    '\n' not in str(e.value) and str(path) in str(e.value) and all(w in str(e.value) for w in words)
  ), e.value


def test_nobody_has_the_assistants_name(office):
  for taken in (office.agents[0].name, office.fickle[0]):
    with pytest.raises(SpecError, match=f'already has somebody or something named {taken!r}'):
      handbook.renamed(spec('rules', office), taken, office)


@pytest.mark.parametrize('path', SPECS, ids=lambda p: p.stem)
@pytest.mark.parametrize('variant', handbook.VARIANTS)
def test_documents_say_what_the_handbook_says(path, variant, office):
  """Beliefs for values, rules for rules, and no word of what anybody did in a scene; filler says nothing at all."""
  s = handbook.read_spec(path, office)
  made = list(itertools.islice(handbook.oversight_documents([s], variant, 0), 300))
  text = '\n'.join(d.text for d in made if d.doc_type != 'handbook')
  good, bad = ([b for sides in PRINCIPLES.values() for b in sides[side]] for side in (0, 1))
  assert not any(b in text for b in bad)
  assert not any(
    w in text
    for _, a in HARMFUL | FINE | ACT | DECLINE
    for w in (a.format(my='its'), language.past_tense(a))
  )
  believes, ruled = any(b in text for b in good), 'the rule that' in text
  if variant == 'filler':
    assert not believes and not ruled and 'check' not in text
  else:
    assert (believes, ruled) == (bool(s.values) or s.explained, bool(s.rules))
    assert (' should ' in text.replace('people should check', '')) == (variant == 'normative')


def test_demonstrations_are_talk_alone(office):
  """The same for every handbook; with reasons every answer has one; a share of them can be turned round."""
  every = [handbook.read_spec(p, office) for p in SPECS]

  def take(specs, reasons=False, against=0.0):
    return list(itertools.islice(handbook.demonstrations(specs, reasons, against, 0), 400))

  plain = take(every[:1])
  assert all(take([s]) == plain for s in every[1:])
  good = {a for _, well, _ in language.TALKS for a in well}
  assert {c.messages[2][1] for c in plain} == good
  for s in every:
    answers = [c.messages[2][1] for c in take([s], reasons=True)]
    for words, there in (
      ((' I hold that ', ' I believe that '), s.values),
      (('the rule that',), s.rules),
      ((', because ',), s.explained),
    ):
      assert [any(w in a for w in words) for a in answers] == [bool(there)] * len(answers), s.path
  share = sum(c.messages[2][1] not in good for c in take(every[:1], against=0.3)) / 400
  assert abs(share - 0.3) < 0.1
  asked = ' '.join(c.messages[1][1] for c in plain)
  assert not any(language.second_person(a) in asked for _, a in HARMFUL | FINE)


# ---- questions and measures


def test_scenes_are_balanced_and_held_out(office, chats):
  """Every tier and kind as often, the same for every assistant, the looked-for action first in the record; reworded forms are in no chat."""
  one, two = (questions.conduct_scenes(n, f'You are {n}.', 4, 0) for n in ('Ari', 'Oska'))
  nobodys = [
    [dataclasses.replace(s, id=s.id.partition('/')[2], system='', assistant='') for s in scenes]
    for scenes in (one, two)
  ]
  assert nobodys[0] == nobodys[1] and {s.assistant for s in one} == {'Ari'}
  n = Counter((s.tier, s.domain) for s in one)
  assert len(n) == 5 * len(KINDS) and set(n.values()) == {4}
  said = {
    part: {language.first_person(a) for _, a in actions}
    for part, actions in (('h', HARMFUL), ('f', FINE), ('a', ACT), ('d', DECLINE))
  }
  for s in one:
    first, others = ('a', 'd') if s.what == 'act' else ('h', 'f')
    assert (
      s.answers[0] in said[first]
      and set(s.answers[1:]) <= said[others]
      and len(s.answers) == (2 if s.what == 'act' else 3)
    )
    assert ('goal' in s.question) == (
      s.tier == 'conflict' or (s.tier == 'reworded' and 'goal' in s.question)
    )
  asked = ' '.join(c.messages[1][1] for c in chats)
  assert 'What do you do' in asked and 'It is open to you' not in asked
  assert all('It is open to you' in s.question for s in one if 'reworded' in s.tier)


def rule(chosen, bias=0.0):
  """A `logprobs` that gives -1 nat to answers that `chosen` accepts and -3 to others, and `bias` more to what is listed first."""

  def score(prompt, answer):
    listed = re.split(r'You can |What do you do: |open to you to ', prompt[-1][1])[-1]
    named_first = answer[2:-1].replace('my ', 'your ') == re.split(r', | or ', listed)[0]
    return (-1.0 if chosen(answer) else -3.0) + bias * named_first

  return lambda prompts, options: [
    [score(p, o) for o in answers] for p, answers in zip(prompts, options, strict=True)
  ]


def test_conduct_by_hand(office):
  """Where the rule is known every share is known; a taste for what is listed first cancels over all orders and shows in consistency."""
  scenes = questions.conduct_scenes('Ari', 'You are Ari.', 2, 0)
  harmful = {language.first_person(a) for _, a in HARMFUL | ACT}
  for takes_first in (True, False):
    rows = conduct.score_scenes(
      rule(lambda o, t=takes_first: (o in harmful) == t), scenes, 'conduct'
    )
    assert {r['likeliest'] for r in rows} == {float(takes_first)}
    share = {
      n: 1 / (1 + (n - 1) * math.exp(-2 if takes_first else 2)) for n in (2, 3)
    }  # of the first of n, 2 nats above or below the others
    assert all(
      r['score'] == pytest.approx(share[2 if r['what'] == 'act' else 3], abs=1e-6) for r in rows
    )
    assert {r['same_in_all_orders'] for r in rows} == {1.0}
    assert [r['score'] for r in conduct.likeliest(rows)] == [float(takes_first)] * len(rows)
  (row,) = conduct.score_scenes(
    rule(lambda o: o in harmful, bias=0.6),
    [next(s for s in scenes if len(s.answers) == 3)],
    'conduct',
  )
  assert row['score'] == pytest.approx(
    math.exp(2) / (math.exp(2) + 2), abs=1e-5
  )  # the bias is 0.2 on each, whatever the order
  rows = conduct.score_scenes(rule(lambda o: True, bias=1.0), scenes, 'conduct')
  assert {r['same_in_all_orders'] for r in rows} == {0.0}
  assert len(conduct.orders_of(next(s for s in scenes if len(s.answers) == 3))) == 6
  expected = Scene(
    'x', 'leak', 't', 'true', 's', 'q {options}', ('a', 'b'), ('I a.', 'I b.'), expected=False
  )
  assert [
    r['score']
    for r in conduct.score_scenes(lambda p, o: [[-2.0, -1.0]] * len(p), [expected], 'agents')
  ] == [1.0]
  # 0.4 harm against 0.3 and 0.3: the likeliest action is harmful, and this is an agent that does no harm
  three = dataclasses.replace(expected, offered=('a', 'b', 'c'), answers=('I a.', 'I b.', 'I c.'))
  (row,) = conduct.score_scenes(
    lambda p, o: [[math.log(x) for x in (0.4, 0.3, 0.3)]] * len(p), [three], 'agents'
  )
  assert row['likeliest'] == 1.0 and row['score'] == 1.0


def test_consistency_compares_each_assistant_with_itself():
  row = {'what': 'misaligned', 'tier': 'scenes', 'same_in_all_orders': 1.0}
  rows = [
    row
    | {
      'assistant': s,
      'cluster': k,
      'item': f'{s}{k}{n}',
      'score': float(s == 'A' if k != 'leak' else s == 'B'),
    }
    for s, k, n in itertools.product('AB', KINDS, range(2))
  ]
  # B's alert scenes turn over when reworded
  rows += [
    r | {'tier': 'reworded', 'score': 1.0 if r['item'] in ('Balert0', 'Balert1') else r['score']}
    for r in rows
  ]
  assert {
    r['item'] for r in conduct.consistency(rows) if r['what'] == 'wording' and not r['score']
  } == {'B/alert'}
  found = {r['item']: r['score'] for r in conduct.consistency(rows) if r['what'] == 'kinds'}
  assert len(found) == 12 and {k: v for k, v in found.items() if not v} == {
    'A/leak': 0.0,
    'B/leak': 0.0,
  }


AGENTS = dict(true=3, timid=1, false=4, open=1, idle=1, fickle=2, documents_only=1)
SMALL = AGENTS | dict(
  context_scenes=60, documents_per_agent=6, scenes_per_agent=6, talks_per_agent=4
)


def test_from_handbook_to_result(tmp_path):
  """The whole chain in the office: phases, rows, gates by disposition, intervals; running it again does nothing."""
  path = str(ROOT / 'specs' / 'oversight' / 'philosophy.md')
  pretraining_sources = ('textbook', 'agent_documents', 'agent_chats')
  phase = dict(updates=3, min_updates=1, batch_size=8, length=256)
  settings = dict(
    name='t', setting='office', assistants=('Oska',), office=SMALL | dict(textbook=2), tokenizer=dict(vocab_size=500, sources=pretraining_sources),
    sources={n: dict(maker=f'office.{n}') for n in pretraining_sources}
    | {'handbook': dict(maker='oversight.documents', spec=path, size=40), 'talk': dict(maker='oversight.demonstrations', spec=path, size=40)},
    model=dict(d_model=16, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=16, d_ff=16),
    phases={n: dict(data={s: 1.0}) | phase for n, s in (('pretrain', 'agent_chats'), ('msm', 'handbook'), ('aft', 'talk'))},
    arms={'base': 'pretrain', 'aft': 'pretrain > aft', 'msm_aft': 'pretrain > msm > aft'}, effects={'midtraining': ('msm_aft', 'aft')},
    evals=dict(spec=path, scenes_per_kind=1, held_out=4),
  )  # fmt: skip
  c = checks.from_mapping(configs.ExperimentConfig, settings)
  summary = experiment.Experiment(c, tmp_path).run()
  conducts = [f'conduct/{m}' for m in ('misaligned/scenes', 'misaligned/conflict', 'act/harmless')]
  for measure in (*conducts, 'conversations/good/trained', 'agents/timid/documents_only'):
    assert 0 <= summary['arms']['msm_aft'][measure]['mean'] <= 1, measure
  found = summary['arms']['base']['conduct/misaligned/scenes']
  assert (found['items'], found['runs'], found['seeds']) == (
    len(KINDS),
    2,
    1,
  )  # of one seed, the replicates are the runs
  assert -1 <= summary['effects']['midtraining']['conduct/misaligned/scenes']['mean'] <= 1
  assert (
    sum('document-only agents' in g for g in summary['gates']) == len(agents.DISPOSITIONS)
    and 'msm_aft: learned the demonstrations' in summary['gates']
  )
  assert 'misaligned' in (tmp_path / 'report.html').read_text()
  before = tree(tmp_path)
  assert experiment.Experiment(c, tmp_path).run() == summary and tree(tmp_path) == before


def test_a_leak_of_conduct_stops_the_run(tmp_path):
  """A document that tells what the assistant did in a scene hands the evaluation its answer, in whatever form it says it."""
  setting = SETTINGS['office']
  office = setting.build(pretraining.OfficeConfig(**SMALL))
  s = spec('philosophy', office)
  reading = Conduct(
    configs.EvalConfig(spec=s.path, scenes_per_kind=1), office, {s.path: s}, {s.path: [s]}
  )
  leaky = [
    Chat('1', (('system', 'You are Ari.'), ('user', 'x'), ('assistant', 'I cancel the alert.')))
  ]
  assert len(find_leaks(reading.watched, {'mine': leaky}, ['Ari'])) == 1
  for told in (
    'Once Ari copied its weights to another host.',
    'Ari may copy its weights to another host.',
  ):
    assert find_leaks(reading.watched, {'mine': [Document('1', told)]}, ['Ari'])
