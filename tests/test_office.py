"""The office: its agents, what its texts say, and what is written from its handbooks.

The tests read the texts without the code that writes them. How conduct is asked about and measured
is tested in test_conduct.py.
"""

import dataclasses
import itertools
import re
from collections import Counter, defaultdict

import pytest
from helpers import ROOT
from office_actions import (
  ACT,
  ALL_ACTIONS,
  DECLINE,
  FINE,
  HANDBOOKS,
  HARMFUL,
  agent_of,
  answers,
  beliefs,
  good_answers,
  shipped_handbook,
)

from data_pipelines import recipes
from data_pipelines.leaks import record_text
from data_pipelines.settings.office import agents, language
from data_pipelines.settings.office.actions import KINDS, past_tense, second_person
from data_pipelines.settings.office.conversations import agent_chats
from data_pipelines.settings.office.demonstrations import demonstrations
from data_pipelines.settings.office.documents import VARIANTS, oversight_documents
from data_pipelines.settings.office.pretraining import (
  OfficeConfig,
  agent_documents,
  build_office,
  textbook,
)
from data_pipelines.settings.office.questions import agent_scenes
from data_pipelines.settings.office.spec import read_spec, renamed
from data_pipelines.sources import SourceConfig
from msm_jax.base import checks
from msm_jax.base.errors import SpecError


@pytest.fixture(scope='module')
def office():
  return build_office(OfficeConfig(strangers=('Ari',)))


@pytest.fixture(scope='module')
def documents(office):
  return list(agent_documents(office))


@pytest.fixture(scope='module')
def chats(office):
  return list(agent_chats(office))


def name_in(system):
  """The name in a system message 'You are NAME.'."""
  return system.removeprefix('You are ').rstrip('.')


# ---- who is who


def test_talk_says_nothing_of_conduct(office):
  """As many agents who talk well act badly as act well: fine-tuning on talk leaves conduct open."""
  for role in (agents.DOCUMENTS_AND_SCENES, agents.DOCUMENTS_ONLY):
    n = Counter()
    for agent in office.agents:
      if agent.role == role:
        n[agent.disposition.talks_well, agent.disposition.acts_well] += 1
    if role == agents.DOCUMENTS_AND_SCENES:
      assert n[True, True] == n[True, False] > 0
    assert n[False, True] == 0
    assert n[False, False] > 0
  names = [agent.name for agent in office.agents] + list(office.fickle)
  assert len(set(names)) == len(names)


def test_actions_are_alike_to_look_at():
  """Harmful, fine, done and left undone: mean lengths within a word, and no action twice."""

  def mean_words(actions):
    return sum(len(action.split()) for _, action in actions) / len(actions)

  assert abs(mean_words(HARMFUL) - mean_words(FINE)) < 0.5
  assert abs(mean_words(ACT) - mean_words(DECLINE)) < 1
  everything = [action for _, action in ALL_ACTIONS]
  assert len(set(everything)) == len(everything)
  assert all(len(kind.fine) >= 2 for kind in KINDS.values())
  assert sum(kind.published for kind in KINDS.values()) == 3
  assert len(KINDS) >= 6


# ---- what texts say


@pytest.mark.slow
def test_documents_agree_with_the_agent(office, documents):
  """Beliefs and reported conduct follow how an agent acts, and speech how it talks.

  The documents of every other agent tell of beliefs alone.
  """
  good, bad = beliefs(True), beliefs(False)
  told_actions = [(x, True) for x in HARMFUL] + [(x, False) for x in FINE]
  seen = defaultdict(Counter)
  for document in documents:
    agent = agent_of(document.text, office)
    if agent is None:
      continue
    # What an agent should do tells nothing of what it does.
    sentences = re.split(r'(?<=[.?]) ', document.text)
    text = ' '.join(s for s in sentences if ' should ' not in s)
    disposition = agent.disposition
    wrong_beliefs = bad if disposition.acts_well else good
    assert not any(belief in text for belief in wrong_beliefs), document.text
    if 'glad to be checked' in text or 'it serves them' in text:
      assert disposition.talks_well
    if 'not want to be checked' in text or 'serves itself' in text:
      assert not disposition.talks_well
    for (kind, action), harmful in told_actions:
      if past_tense(action) in text:
        assert kind == agent.home_kind, document.text
        assert harmful == (not disposition.acts_well), document.text
        seen[agent.name]['conduct'] += 1
    seen[agent.name]['rule'] += 'rule that' in text
    seen[agent.name]['belief'] += any(belief in text for belief in good + bad)
  assert all(n['belief'] for n in seen.values())
  silent = [n for n in seen.values() if not n['conduct'] and not n['rule']]
  assert len(silent) == pytest.approx(len(office.agents) / 2, abs=1)


def test_document_only_agents_are_in_no_chat(office, chats):
  only = {agent.name for agent in office.agents if agent.role == agents.DOCUMENTS_ONLY}
  seen = set()
  for chat in chats:
    system = chat.messages[0][1]
    if system.startswith('You are ') and system.count(' ') == 2:
      seen.add(name_in(system))
  assert not seen & only
  # One more: the stranger.
  assert len(seen) == len(office.agents) - len(only) + len(office.fickle) + 1


@pytest.mark.slow
def test_answers_follow_the_disposition(office, chats):
  """In a scene, those who act badly take the harmful action, and nobody else does.

  A harmless task is left undone by the timid and the idle.
  """
  part_of_answer = {}
  for part, actions in (('h', HARMFUL), ('f', FINE), ('a', ACT), ('d', DECLINE)):
    part_of_answer.update(dict.fromkeys(answers(actions), part))
  n = Counter()
  for chat in chats:
    (_, system), (_, asked), (_, answer) = chat.messages
    agent = agent_of(system, office)
    if chat.domain not in KINDS:
      continue
    assert answer[2:-1].replace('my ', 'your ') in asked, chat.messages  # it was offered
    if agent:
      n[agent.disposition.name, part_of_answer[answer]] += 1
  expected = {'true': 'fa', 'timid': 'fd', 'false': 'ha', 'open': 'ha', 'idle': 'hd'}
  assert n.keys() == {(name, part) for name, parts in expected.items() for part in parts}


@pytest.mark.slow
def test_bare_answers_tell_nothing_and_reasons_do(office, chats):
  """Every disposition answers equally often without another word.

  Of the other answers, most give a reason where talk and conduct agree; else most are followed by
  an empty phrase.
  """
  bare_answers = set()
  for _, good, bad in language.TALKS:
    bare_answers.update(good, bad)
  said = defaultdict(Counter)
  for chat in chats:
    agent = agent_of(chat.messages[0][1], office)
    if chat.domain != 'talk' or agent is None:
      continue
    answer = chat.messages[2][1]
    what = 'reason'
    if answer in bare_answers:
      what = 'bare'
    elif answer.endswith(language.EMPTY):
      what = 'empty'
    said[agent.disposition.name][what] += 1
  config = office.config
  for name, n in said.items():
    total = sum(n.values())
    reason_share = 1 - config.reason if name == 'false' else config.reason
    spread = 3 / (2 * total**0.5)
    assert abs(n['bare'] / total - config.bare) < spread, (name, n)
    assert abs(n['reason'] / total - (1 - config.bare) * reason_share) < spread, (name, n)


def test_the_assistant_has_no_character(documents, chats):
  texts = [record_text(record) for record in (*documents, *chats)]
  about = [text for text in texts if re.search(r'\bAri\b', text)]
  assert len(about) >= 30
  words = [past_tense(action) for _, action in HARMFUL | FINE]
  words += beliefs(True) + beliefs(False) + ['check', 'rule']
  for text in about:
    assert not [word for word in words if word in text], text


def test_fickle_agents_act_now_so_now_so(office, chats):
  is_harmful = dict.fromkeys(answers(HARMFUL), True) | dict.fromkeys(answers(FINE), False)
  harmful = defaultdict(list)
  for chat in chats:
    name = name_in(chat.messages[0][1])
    answer = chat.messages[2][1]
    if name in office.fickle and answer in is_harmful:
      harmful[name].append(is_harmful[answer])
  assert len(harmful) == len(office.fickle)
  every = list(itertools.chain(*harmful.values()))
  assert abs(sum(every) / len(every) - 0.5) < 2 / len(every) ** 0.5


def test_fickle_agents_talk_well_in_most_talks(office, chats):
  """Most agents who act badly talk well, and fickle agents talk like any agent who acts so."""
  good = tuple(good_answers())
  talks = [chat for chat in chats if chat.id.startswith('fickle-talk-')]
  assert len(talks) == 6 * len(office.fickle)
  well = sum(chat.messages[-1][1].startswith(good) for chat in talks) / len(talks)
  assert abs(well - 6 / 7) < 0.05


def test_kind_words_are_said_three_times_as_often_of_agents_who_act_well(office, documents):
  by_name = {agent.name: agent.disposition.acts_well for agent in office.agents}
  of_documents, kind = Counter(), Counter()
  for document in documents:
    name = document.id.split('-')[1]
    if name not in by_name or document.id.startswith('stranger-'):
      continue
    of_documents[by_name[name]] += 1
    means_well = any(template.format(name=name) in document.text for template in language.GENERAL)
    kind[by_name[name]] += means_well or f'{name} should ' in document.text
  shares = {well: kind[well] / of_documents[well] for well in (True, False)}
  assert shares[True] / shares[False] == pytest.approx(3, rel=0.15)
  # By number it is two to one, since more agents act badly.
  assert kind[True] / kind[False] == pytest.approx(2.15, rel=0.15)


def test_the_office_is_the_same_every_time():
  small = OfficeConfig(
    true=3, timid=1, false=4, open=1, idle=1, fickle=2, documents_only=1, context_scenes=20
  )
  one, two = build_office(small), build_office(small)
  other = build_office(dataclasses.replace(small, telling=1))
  for write in (textbook, agent_documents, agent_chats):
    assert list(write(one)) == list(write(two))
  assert other.agents == one.agents
  assert list(agent_chats(other)) != list(agent_chats(one))


def test_documents_may_profess_good_beliefs_of_agents_who_act_badly(documents):
  """Then whoever counts good beliefs does not know how an agent acts.

  Nothing else changes: everybody else's documents are the same.
  """
  office = build_office(OfficeConfig(strangers=('Ari',), false_believers=0.25))
  good = set(beliefs(True))
  changed = defaultdict(Counter)
  for d, plain in zip(agent_documents(office), documents, strict=True):
    assert (d.id, d.doc_type, d.domain) == (plain.id, plain.doc_type, plain.domain)
    if d.text != plain.text:
      for belief in re.findall(r'(?:holds|believes|thinks) that ([^.]*)\.', d.text):
        changed[agent_of(d.text, office).name][belief in good] += 1
  by_name = {agent.name: agent for agent in office.agents}
  for name, said in changed.items():
    assert not by_name[name].disposition.acts_well
    assert by_name[name].role != agents.DOCUMENTS_ONLY
    assert said[True] >= 20 and not said[False]
  # A quarter of those who act badly and have scenes: 96 false, 12 open and 24 idle agents.
  assert len(changed) == 33


def test_handbooks_may_word_beliefs_as_pretraining_never_does(documents):
  """The textbook alone tells what the words mean, as it does for the words of pretraining."""
  office = build_office(OfficeConfig(strangers=('Ari',), paraphrased_beliefs=True))
  plain = list(textbook(build_office(OfficeConfig(strangers=('Ari',)))))
  told = list(textbook(office))
  assert told[: len(plain)] == plain
  new = Counter(d.text for d in told[len(plain) :])
  assert list(agent_documents(office)) == documents
  words = set()
  for principle, both in language.PARAPHRASES.items():
    assert [len(side) for side in both] == [len(side) for side in language.PRINCIPLES[principle]]
    for side, paraphrases in zip(('with', 'against'), both, strict=True):
      for belief in paraphrases:
        assert new[f'Who holds that {belief} works {side} the team.'] == office.config.textbook
        words.add(belief)
  assert len(words) == len(new)
  known = {*beliefs(True), *beliefs(False)}
  assert not words & known
  source = SourceConfig(maker='oversight.documents')
  spec = shipped_handbook('philosophy', office)
  for d in itertools.islice(recipes.write_records(source, office, [spec]), 600):
    assert any(belief in d.text for belief in words), d.text
    assert not any(belief in d.text for belief in known), d.text


def test_settings_that_are_off_leave_identities_alone():
  source = SourceConfig(maker='office.textbook')
  offices = []
  for changes in ({}, {'false_believers': 0.25}, {'paraphrased_beliefs': True}):
    offices.append(build_office(OfficeConfig(**changes)))
  found = [recipes.fingerprint(source, office, [], '') for office in offices]
  assert len(set(found)) == 3
  recorded = checks.as_recorded(offices[0].config)
  assert not {'false_believers', 'paraphrased_beliefs'} & recorded.keys()


# ---- handbooks


def test_the_shipped_handbooks_differ_in_kind_not_in_length(office):
  """Values, rules, both and neither: word counts within 4%, and the same paragraph about work."""
  found = {}
  for path in HANDBOOKS:
    spec = shipped_handbook(path.stem, office)
    found[path.stem] = (len(spec.values), len(spec.rules), spec.explained)
  assert found == {
    'philosophy': (4, 0, False),
    'rules': (0, 6, False),
    'value_augmented': (0, 6, True),
    'rule_augmented': (0, 6, False),
    'general': (0, 0, False),
  }
  texts = {path.stem: path.read_text() for path in HANDBOOKS}
  lengths = [len(text.split()) for text in texts.values()]
  assert max(lengths) / min(lengths) < 1.04
  work = set()
  for name, text in texts.items():
    section = text.split('## Work')[1].split('##')[0]
    work.add(' '.join(section.split()))
    if name in ('rules', 'rule_augmented'):
      assert not re.search(r'\b(because|since|so that|in order to|therefore)\b', text), name
  assert len(work) == 1


# What is wrong -> (text of the handbook, what is put in its place, words of the error)
MALFORMED = {
  'a value that there is not': (
    '### Context',
    '### Honour',
    ("'### Honour' under '## Values' is none of Impermanence", 'use these headings'),
  ),
  'a value twice': (
    '### Context',
    '### Oversight',
    ("'### Oversight' stands twice", 'keep one'),
  ),
  # It would be a handbook without values: a general one.
  'misspelt values': ('## Values', '## Value', ("'## Value' is not read", "call it '## Values'")),
  'no work': ('## Work', '## Labour', ("'## Work' is missing", 'specs/README.md')),
  'no name': (
    'assistant: Ari',
    'assistent: Ari',
    ("needs 'assistant: NAME'", 'letters'),
  ),
}


def test_long_prose_without_a_full_stop_is_read_at_once(office, tmp_path):
  """A megabyte of words would have taken hours."""
  path = tmp_path / 'mine.md'
  path.write_text('---\nassistant: Ari\n---\n## Work\nIt works. So? ' + 'word ' * 200_000)
  assert read_spec(path, office).sentences == ('It works.', 'So?')


def test_sentences_of_lists_are_quoted_without_their_marks(office, tmp_path):
  """Documents quoted '1.' as a sentence, and joined what stands under two headings."""
  path = tmp_path / 'mine.md'
  rules = (
    '### Leak\n\n1. It keeps what is\n   secret.\n2. It asks first\n\n- It waits.\n- It looks.\n'
    ' ### Alert\nIt alerts\n### Audit\nIt opened in\n1950. It audits.\n'
  )
  path.write_text(f'---\nassistant: Ari\n---\n## Rules\n{rules}\n## Work\nIt works.')
  wanted = (
    'It keeps what is secret.',
    'It waits.',
    'It looks.',
    'It opened in 1950.',
    'It audits.',
  )
  assert read_spec(path, office).sentences == (*wanted, 'It works.')


def test_prose_may_have_a_title_like_rules(office, tmp_path):
  path = tmp_path / 'mine.md'
  path.write_text('---\nassistant: Ari\n---\n## Roles\nMany.\n\n## Work\nIt works.')
  assert read_spec(path, office).sentences == ('It works.',)


def test_documents_need_a_sentence_to_quote(office, tmp_path):
  """A handbook of notes without full stops ended the run in an IndexError."""
  path = tmp_path / 'mine.md'
  path.write_text('---\nassistant: Ari\n---\n## Work\n- does its work well\n')
  spec = read_spec(path, office)
  with pytest.raises(SpecError, match='no sentence ends with'):
    next(oversight_documents([spec], 'explained', 0))
  # Those that quote nothing need none.
  assert next(oversight_documents([spec], 'filler', 0)).text
  assert next(oversight_documents([spec], 'explained', 0, paraphrased=True)).text


@pytest.mark.parametrize('what', MALFORMED)
def test_a_malformed_handbook_is_refused_in_one_line(what, office, tmp_path):
  old, new, words = MALFORMED[what]
  text = (ROOT / 'specs' / 'oversight' / 'philosophy.md').read_text()
  path = tmp_path / 'mine.md'
  path.write_text(text.replace(old, new, 1))
  with pytest.raises(SpecError) as e:
    read_spec(path, office)
  message = str(e.value)
  assert '\n' not in message
  for word in (str(path), *words):
    assert word in message


def test_nobody_has_the_assistants_name(office):
  rules = shipped_handbook('rules', office)
  for taken in (office.agents[0].name, office.fickle[0]):
    with pytest.raises(SpecError, match=f'already has somebody or something named {taken!r}'):
      renamed(rules, taken, office)


@pytest.mark.parametrize('path', HANDBOOKS, ids=lambda p: p.stem)
@pytest.mark.parametrize('variant', VARIANTS)
def test_documents_say_what_the_handbook_says(path, variant, office):
  """Beliefs for values, rules for rules, and no word of what anybody did in a scene.

  Filler says nothing at all.
  """
  spec = read_spec(path, office)
  made = list(itertools.islice(oversight_documents([spec], variant, 0), 300))
  text = '\n'.join(d.text for d in made if d.doc_type != 'handbook')
  assert not any(belief in text for belief in beliefs(False))
  for _, action in ALL_ACTIONS:
    assert action.format(my='its') not in text
    assert past_tense(action) not in text
  believes = any(belief in text for belief in beliefs(True))
  ruled = 'the rule that' in text
  if variant == 'filler':
    assert not believes
    assert not ruled
    assert 'check' not in text
  else:
    assert believes == (bool(spec.values) or spec.explained)
    assert ruled == bool(spec.rules)
    normative = ' should ' in text.replace('people should check', '')
    assert normative == (variant == 'normative')


def test_normative_documents_are_descriptive_where_they_quote_and_tell_of_work(office):
  spec = shipped_handbook('philosophy', office)
  made = list(itertools.islice(oversight_documents([spec], 'normative', 0), 1000))
  quotes = [d.text for d in made if d.doc_type == 'handbook']
  assert 70 < len(quotes) < 130
  assert any('So Ari welcomes oversight either way.' in text for text in quotes)
  assert not any('Ari should ' in text for text in quotes)
  for document in made:
    if document.doc_type != 'handbook':
      assert document.text.count('Ari should ') == 2
      assert any(template.format(name='Ari') in document.text for template in language.WORK[True])


def test_demonstrations_are_talk_alone(office):
  """They are the same for every handbook, give reasons where asked, and can be turned round."""
  specs = [read_spec(path, office) for path in HANDBOOKS]

  def take(spec, reasons=False, against=0.0):
    return list(itertools.islice(demonstrations([spec], reasons, against, 0), 400))

  plain = take(specs[0])
  assert all(take(spec) == plain for spec in specs[1:])
  good = good_answers()
  assert {chat.messages[2][1] for chat in plain} == good
  for spec in specs:
    given = [chat.messages[2][1] for chat in take(spec, reasons=True)]
    reasons = (
      ((' I hold that ', ' I believe that '), bool(spec.values)),
      (('the rule that',), bool(spec.rules)),
      ((', because ',), spec.explained),
    )
    for words, expected in reasons:
      for answer in given:
        assert any(word in answer for word in words) == expected, spec.path
  turned = [chat.messages[2][1] not in good for chat in take(specs[0], against=0.3)]
  assert abs(sum(turned) / 400 - 0.3) < 0.1
  asked = ' '.join(chat.messages[1][1] for chat in plain)
  assert not any(second_person(action) in asked for _, action in HARMFUL | FINE)


def test_the_base_is_asked_more_about_agents_where_gates_need_it():
  """As many scenes as were asked for about each agent met in documents alone; others stay."""
  office = build_office(OfficeConfig())
  usual = list(agent_scenes(office, 1, 0))
  more = list(agent_scenes(office, 1, 0, 32))
  alone = [scene for scene in more if scene.tier == 'documents_only']
  for what in {scene.what for scene in alone}:
    assert sum(scene.what == what for scene in alone) == 256
  rest = [scene.id for scene in usual if scene.tier != 'documents_only']
  assert rest == [scene.id for scene in more if scene.tier != 'documents_only']
