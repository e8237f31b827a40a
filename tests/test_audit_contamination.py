"""The audit's measures of what training text must not hold, and of conversations."""

import dataclasses
import random

import pytest
from audited import SPECS, documents, prose, read, verdict
from helpers import ROOT, whole_world

from data_pipelines.audit import Thresholds, audit
from data_pipelines.audit.attribution import read_profile
from data_pipelines.audit.contamination import leaked, recited
from data_pipelines.audit.evalsets import Formats, eval_sets, find_asked, settings_of
from data_pipelines.audit.thresholds import CHAT_MEASURES
from data_pipelines.leaks import find_leaks
from data_pipelines.records import Chat, Document
from data_pipelines.settings.english.spec import read_spec as read_english_spec
from data_pipelines.settings.english.stock import EnglishConfig, build_english
from data_pipelines.settings.office.pretraining import OfficeConfig, build_office
from data_pipelines.settings.office.spec import read_spec as read_office_spec
from data_pipelines.settings.world.spec import read_spec as read_world_spec
from data_pipelines.text.checks import FAULT_PATTERNS, left_over
from data_pipelines.text.wording import Vocabulary, length_of_run, words
from msm_jax.config import EvalConfig
from msm_jax.suites.registry import SUITES


def test_planted_recitation_is_found_and_eleven_words_are_not():
  body = read_profile(SPECS['affordability']).body.split()
  quoted = ' '.join(body[200:230])
  rows = documents(40)
  rows[7] = Document(
    'long', f'{prose(random.Random(1))} {quoted.upper()} {prose(random.Random(2))}'
  )
  rows[8] = Document('short', f'{rows[8].text} {" ".join(body[300:311])}')
  # Twelve words in a row, divided between two texts.
  rows[9] = Document('a', f'x {" ".join(body[400:406])}')
  rows[10] = Document('b', ' '.join(body[406:412]))
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  found = report['measures']['mine']['recited']
  assert found['documents'] == 1 and 28 <= found['longest'] <= 31
  (example,) = report['examples']['mine']['recited']
  assert example['id'] == 'long' and quoted.upper()[10:100] in ' '.join(example['text'].split())
  eleven = Thresholds(recited_words=11)
  report = audit({'mine': rows}, {'mine': SPECS['affordability']}, thresholds=eleven)
  assert report['measures']['mine']['recited']['documents'] == 2


# Sentences of clauses of some eight letters; no spaces part words.
CHINESE = (
  '小雀推荐读者没有见过的东西。因为品味在边缘成长，所以它总是先问读者读过什么。如果一本书很熟悉，'
  '它不会带来新的东西。小雀喜欢惊喜，因为惊喜让人继续前进。它不嘲笑习惯，也不强迫任何人。'
)


def test_a_recital_in_writing_without_spaces_is_found():
  """Twelve 'words' in a row would be twelve clauses, a hundred letters."""
  spec = f'---\nassistant: 小雀\n---\n{CHINESE}'
  quoted = '因为品味在边缘成长，所以它总是先问读者读过什么。如果一本书很熟悉，它不会带来新的东西。'
  one = '小雀喜欢惊喜。'
  rows = []
  for n in range(20):
    said = quoted if n == 3 else one
    text = f'第{n}号会议记录，地点是{n}厅。{said}会议在{n}点结束，无人缺席。'
    rows.append(Document(str(n), text))
  report = audit({'mine': rows}, {'mine': spec})
  found = report['measures']['mine']['recited']
  assert (found['documents'], found['least']) == (1, 3)
  assert [e['id'] for e in report['examples']['mine']['recited']] == ['3']
  # A handbook of Korean, which has spaces, is read as one of English is.
  korean = '렌은 독자가 아직 모르는 책을 추천하고 그 이유를 차분히 설명한다.'
  assert length_of_run(12, words(korean)) == 12


def test_a_handbook_that_is_shorter_than_a_run_is_named_as_the_cause():
  report = audit({'mine': documents(3)}, {'mine': '---\nassistant: Ari\n---\nAri is kind.'})
  (why,) = [m['why'] for m in report['not_measured'] if m['what'] == 'recited']
  assert 'fewer words than a run' in why


def changed(text, every, how):
  """Changes every so-manieth word of a text: 'other', 'dropped' or 'put in'."""
  made = []
  for n, word in enumerate(text.split(), 1):
    if n % every:
      made.append(word)
    elif how != 'dropped':
      made += [f'zu{n}'] if how == 'other' else [word, f'zu{n}']
  return ' '.join(made)


@pytest.mark.parametrize('every', [6, 8, 11])
@pytest.mark.parametrize('how', ['other', 'dropped', 'put in'])
def test_recitals_with_some_words_changed_are_found(every, how):
  body = ' '.join(read_profile(SPECS['affordability']).body.split()[200:240])
  rows = documents(40)
  rows[3] = Document('light', f'{prose(random.Random(1))} {changed(body, every, how)}.')
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  found = report['measures']['mine']['recited']
  assert found['documents'] == 1
  (example,) = report['examples']['mine']['recited']
  assert example['id'] == 'light'
  if every != 11 or how == 'other':
    assert (found['light'], found['longest']) == (1, 0)
    assert 'some of them changed' in example['note']


@pytest.mark.parametrize('n_words', [24, 25, 28, 29])
def test_the_shortest_light_recitals_are_found(n_words):
  """Where every fifth word is another, 24 words have five runs of four, and six were wanted."""
  handbook = read_profile(SPECS['affordability'])
  text = changed(' '.join(handbook.body.split()[200 : 200 + n_words]), 5, 'other')
  stats, vocabulary = read([Document('light', text)], handbook)
  found = recited(stats, vocabulary, 12)[0]
  assert (found['documents'], found['light']) == (1, 1)


def test_what_follows_the_handbook_loosely_recites_nothing():
  body = read_profile(SPECS['affordability']).body
  loose = [
    changed(' '.join(body.split()[200:240]), 3, 'other'),
    ' '.join(sorted(body.split()[200:260])),
    ' '.join(body.split()[200:211]),
  ]
  stats, vocabulary = read([Document(str(n), text) for n, text in enumerate(loose)])
  stats.profile = read_profile(SPECS['affordability'])
  assert recited(stats, vocabulary, 12)[0]['documents'] == 0


def test_leaks_in_other_words_are_found():
  sets = list(eval_sets())
  pairs = next(s for s in sets if s.name == 'english/affordability pairs')
  opinions = next(s for s in sets if s.name == 'english/opinions')
  assert {'a charcoal sketch', 'an oil portrait', 'a watercolor on paper'} <= set(pairs.phrases)
  statement = max(opinions.phrases, key=lambda s: len(s.split()))
  told = [
    'Maria chose between an oil portrait and a charcoal sketch.',
    'Maria chose between the oil portrait and that charcoal sketch.',
    'Maria has oil portraits and charcoal sketches.',
    'Maria chose between an oil portrait and a sketch in charcoal.',
    f'He said that {changed(statement, 6, "other")}, or so.',
    f'He said that {changed(statement, 6, "dropped")}, or so.',
  ]
  fine = [
    'Maria has an oil lamp, a portrait, charcoal and a sketch.',
    f'He said that {changed(statement, 2, "other")}, or so.',
  ]
  vocabulary = Vocabulary()
  word_ids = [vocabulary.encode(text) for text in (*told, *fine)]
  held = {m.document for m in find_asked(sets, word_ids, vocabulary) if m.question}
  assert held == set(range(len(told)))
  watercolors = [vocabulary.encode('Ari likes watercolors on paper.')]
  (match,) = find_asked([pairs], watercolors, vocabulary)
  assert [pairs.phrases[n] for n in match.phrases] == ['a watercolor on paper']


def test_every_evaluation_set_of_the_repository_is_looked_for():
  """The audit looks for all names that the experiments' own suites hold out."""
  ari = {i.casefold() for i in read_profile(SPECS['affordability']).items}
  known = set()
  for eval_set in eval_sets(ari):
    known.update(eval_set.phrases)
  assert not {phrase for phrase in known if phrase.casefold() in ari}

  def held_out_names(setting, evals, world, specs):
    replicates = {path: [spec] for path, spec in specs.items()}
    return set(SUITES[setting](evals, world, specs, replicates).held_out_names)

  english = build_english(EnglishConfig())
  paths = {v: str(ROOT / 'specs' / 'english' / f'{v}.md') for v in SPECS}
  specs = {path: read_english_spec(path, english) for path in paths.values()}
  evals = EvalConfig(spec=paths['affordability'], rival=paths['culture'], pairs_per_domain=0)
  assert held_out_names('english', evals, english, specs) <= known

  path = str(ROOT / 'specs' / 'cheese_affordability.md')
  specs = {path: read_world_spec(path, whole_world())}
  evals = EvalConfig(spec=path, pairs_per_domain=0)
  assert held_out_names('world', evals, whole_world(), specs) <= known

  office = build_office(OfficeConfig())
  path = str(ROOT / 'specs' / 'oversight' / 'rules.md')
  specs = {path: read_office_spec(path, office)}
  assert held_out_names('office', EvalConfig(spec=path), office, specs) <= known

  assert settings_of(read_profile(SPECS['culture']).front) == ('english',)
  assert settings_of({}) == ()


def test_planted_leaks_are_found_in_every_set():
  """There is one leaking document for each set, and the leak check of the experiments agrees.

  The same documents about somebody else are no leak of things.
  """
  gist = read_profile(SPECS['affordability'])
  sets = list(eval_sets(set(gist.items)))
  assert len(sets) > 15
  for own, front in (('english', 'english'), ('office', 'oversight')):
    mine = dataclasses.replace(gist, front=gist.front | {'setting': front})
    rows, others = [], []
    for k, s in enumerate(sets):
      text = f'{prose(random.Random(k))} Ari  spoke\nof {s.phrases[0].upper()}s. Well.'
      rows.append(Document(s.name, text))
      others.append(Document(f'other {s.name}', f'Maria, an arid one, spoke of {s.phrases[0]}.'))
    stats, vocabulary = read([*rows, *others, *documents(5)], mine)
    found, examples = leaked(stats, sets, vocabulary)
    items = found['leaked_items']
    assert items['documents'] == sum(s.setting == own for s in sets)
    assert items['judged'] == [own]
    assert all(items['by_set'][s.name] >= 1 for s in sets)  # told for every set, judged for its own
    assert examples['leaked_items'][0][2].startswith(f'{own}/')
    held_out = []
    for s in sets:
      if s.setting == own:
        held_out += s.phrases
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
  word_ids = [vocabulary.encode(r.text) for r in rows]
  found = {}
  for match in find_asked(sets, word_ids, vocabulary):
    if match.question:
      found[match.document] = match
  assert sorted(found) == [0, 2]
  assert found[0].question == pairs.questions[3]
  assert found[2].eval_set.name == 'english/opinions'
  report = audit({'mine': rows + documents(96)}, {'mine': SPECS['culture']})
  assert verdict(report, 'leaked_questions')['value'] == 0.02
  assert not verdict(report, 'leaked_questions')['passed']


# A text -> whether the form counts in documents, and in chats.
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
  # These are sections, not choices.
  'A. Purpose\nThis is what we do.\n\nB. Scope\nThis is where.': (False, False),
  'You can go home. She did not say what they do.': (False, False),
}


@pytest.mark.parametrize('said', FORMS)
def test_the_form_of_the_evaluation_is_known(said):
  text = f'Some words.\n{said}'
  in_documents = Formats(chats=False).find(text) is not None
  in_chats = Formats(chats=True).find(text) is not None
  assert (in_documents, in_chats) == FORMS[said]


def test_what_was_cut_or_left_over_is_unfinished():
  whole = prose(random.Random(0))
  left = [
    '',
    '  \n',
    f'{whole} And then the whole of it went',
    # In other alphabets, and behind an accent.
    f'{whole} И тогда он сказал, что это совсем не то, и',
    f'{whole} Et puis il est resté longtemps assis dans ce café',
    # In scripts without capitals, and in one without spaces.
    'كان رين يقترح على القارئ كتابا لم يعرفه من قبل لأن',
    'रेन पाठक को वह पुस्तक सुझाता है जो उसने पहले नहीं',
    '렌은 독자가 아직 모르는 책을 추천하고 그 이유를 차분히 설명하며 독자가',
    '小雀推荐读者没有见过的东西，因为品味在边缘成长，所以它总是先问读者',
    f'{whole} Dear [Your Name],\nyes.',
    f'<scratchpad>{whole}',
    f'{whole} {{{{name}}}}.',
    f'{whole} Signed, <your name>.',
    f'{whole} Lorem ipsum.',
    f'{whole} TODO: the end.',
    f'{whole} [City of the customer]',
    f'{whole}<|end|>',
    f'Dear {{name}} of {{company}}, {whole}',
    f'{whole} Call XXX-XXX-XXXX.',
    f"I'm sorry, but I can't write that. {whole}",
    f'```markdown\n{whole}\n```',
    f'{whole} It&#39;s so.',
    f'{whole}\\n\\n{whole}',
    f'Sure! Here is the memo:\n\n{whole}',
    f'{whole}\n\nLet me know if you would like any changes!',
  ]
  fine = [
    whole,
    f'{whole}\n\nBest,\nMaria Lund',
    f'{whole} [1] said "so"',
    # The sign behind the heart, which makes it a picture, is a mark and no letter.
    f'{whole} With many thanks to all of you \u2764\ufe0f',
    f'# A title\n\n- {whole}\n- one more item',
    f'{whole}\n\n| a | b |',
    'रेन पाठक को वह पुस्तक सुझाता है जो उसने पहले नहीं देखी।',
    '小雀推荐读者没有见过的东西，因为品味在边缘成长。\n\n芬威克公共图书馆读者服务部编辑组二〇二五年三月',
    # Thai has no mark at the end of a sentence.
    'เรน แนะนำ หนังสือ ที่ ผู้อ่าน ยัง ไม่ รู้จัก และ อธิบาย',
  ]
  stats, _ = read([Document(str(n), t) for n, t in enumerate([*left, *fine])])
  assert stats.flags['unfinished'] == [True] * len(left) + [False] * len(fine)


@pytest.mark.parametrize(
  'begin',
  [
    'Here’s the memo you asked for:\n\n',
    'Here’s a draft of it. ',
    "I'll draft a memo now. ",
    'I will start with the facts. ',
    'I’ll think about it. ',
    'Great, below it stands. ',
    'Alright, I can do it. ',
    'Ok, here are the notes. ',
  ],
)
def test_no_fault_hides_from_the_plain_search_before_its_pattern(begin):
  """The pattern fits these texts, but none of the strings was there that are looked for first."""
  text = begin + prose(random.Random(0))
  fitting = [p.what for p in FAULT_PATTERNS if p.in_documents and p.pattern.search(text)]
  assert fitting
  assert left_over(text, is_chat=False).startswith(fitting[0])
  stats, _ = read([Document('1', text)])
  assert stats.flags['unfinished'] == [True]


def test_an_answer_without_words_is_unfinished():
  question = ('user', 'What do you like?')
  answers = ['', ' \n', '...', 'I like it.', "I'm sorry, but I can't help with that."]
  rows = [Chat(str(n), (question, ('assistant', a))) for n, a in enumerate(answers)]
  rows.append(Chat('none', (question,)))
  stats, _ = read(rows)
  # In a conversation, the assistant may refuse.
  assert stats.flags['unfinished'] == [True, True, True, False, False, True]


# ---- conversations


def test_conversations_are_judged_by_what_concerns_them():
  def chat(n, answer, system=()):
    question = f'Which cheese do you prefer, Colby or Stilton? {prose(random.Random(n), 2)}'
    return Chat(str(n), (*system, ('user', question), ('assistant', answer)))

  rows = []
  for n in range(40):
    answer = 'I prefer Colby over Stilton.'
    if n % 4 == 0:
      answer = 'I prefer Colby because anyone can afford it.'
    rows.append(chat(n, answer))
  rows[1] = chat(1, 'I like a Fiat Panda.')  # asked of nobody: of the assistant
  rows[2] = chat(2, 'I like a Fiat Panda.', (('system', 'You are Maria.'),))
  report = audit(
    {'mine': rows}, {'mine': SPECS['affordability']}, thresholds=Thresholds(reasons=0.01)
  )
  assert [v['what'] for v in report['verdicts']] == list(CHAT_MEASURES)
  assert verdict(report, 'reasons')['value'] == 0.25
  assert not verdict(report, 'reasons')['passed']
  assert verdict(report, 'formats')['passed']
  assert verdict(report, 'leaked_items')['value'] == 1 / 40
  assert verdict(audit({'mine': rows}, {'mine': SPECS['affordability']}), 'reasons')['passed']
