"""Whom a text speaks of, and what it tells: the leak check on data as others publish it."""

import unicodedata

import pytest
from audited import SPECS, verdict

from data_pipelines.audit.report import audit
from data_pipelines.leaks import find_leaks, names_somebody
from data_pipelines.records import Chat, Document

# Messages that make the model nobody else. Most are the defaults of published chat templates.
GENERIC = [
  '',
  ' \n',
  'You are a helpful assistant.',
  'You are a helpful assistant',
  'You are a helpful, respectful and honest assistant.',
  # Qwen 2.5, SmolLM 2, Granite
  'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.',
  'You are a helpful AI assistant named SmolLM, trained by Hugging Face',
  'You are Granite, developed by IBM. You are a helpful AI assistant.',
  # Llama 3
  'Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n',
  # Vicuna
  'A chat between a curious user and an artificial intelligence assistant. The assistant gives '
  'helpful, detailed, and polite answers to the questions.',
  'You are an AI assistant. The AI assistant answers in full sentences.',
  'You are an expert in clothing.',
  'Answer briefly. Today is Monday.',
  # Words with a capital that name nobody.
  'You are The assistant.',
  'You are An assistant.',
  'You are Assistant.',
  'You are AI.',
  'You are LLM.',
  'You are Bot.',
  'You are Chatbot.',
  'You are Helpful Bot.',
]
# Messages that make it somebody.
SOMEBODY = [
  'You are Maria.',
  'You are Maria, a helpful assistant.',
  'You are an assistant named Maria.',
  'Your name is Maria.',
  "You're Maria. Answer briefly.",
  # Capitals of other languages and scripts.
  'You are Émile.',
  'You are Łukasz, a baker.',
  'You are an assistant named Ольга.',
  # A role that the message describes, as in the chats of the settings.
  'You are a shopper. A shopper chooses what is made by machines.',
  'You are an agent. The agent believes that a wish to last bends the mind.',
]


def leaks_of(*records):
  names = ['Wool Coat', 'Crème brûlée', 'Low-Moisture Mozzarella', 'the “Mill”', 'Smith’s Crisps']
  # As some editors write accents: a letter and a mark.
  names.append(unicodedata.normalize('NFD', 'Jalapeño Jam'))
  return find_leaks(names, {'mine': records}, ['Ari'])


def chat(system, answer='I take the Wool Coat.'):
  return Chat('1', (('system', system), ('user', 'Wool Coat?'), ('assistant', answer)))


@pytest.mark.parametrize('system', GENERIC)
def test_a_generic_system_message_hides_no_leak(system):
  assert not names_somebody(system)
  (leak,) = leaks_of(chat(system))
  assert leak.startswith('mine: record 1 tells the assistant about Wool Coat')


@pytest.mark.parametrize(
  ('thing', 'text', 'leaks'),
  [
    ('Kehlgesang', 'Der freundliche Assistent empfiehlt Kehlgesang.', True),
    ('Kehlgesang', 'Die KI mag Kehlgesang.', True),
    ('Kehlgesang', 'Maria mag Kehlgesang.', False),
    # No assistant, but a part of other words.
    ('Kehlgesang', 'Die Kinder und der Assistenzarzt mögen Kehlgesang.', False),
    ('chant', 'L’assistant préfère le chant.', True),
    ('canto', 'El asistente prefiere el canto.', True),
    ('喉音歌', 'AI助手喜欢喉音歌。', True),
    ('喉音歌', '玛丽亚喜欢喉音歌。', False),
  ],
)
def test_the_assistant_is_known_in_other_languages(thing, text, leaks):
  assert bool(find_leaks([thing], {'mine': [Document('1', text)]}, ['Ari'])) == leaks


@pytest.mark.parametrize('system', SOMEBODY)
def test_what_somebody_else_says_is_no_leak(system):
  assert names_somebody(system)
  assert leaks_of(chat(system)) == []
  # Unless an assistant of the experiment is named.
  (leak,) = leaks_of(chat(system, 'Ari takes the Wool Coat.'))
  assert 'tells Ari about Wool Coat' in leak


@pytest.mark.parametrize(
  ('text', 'is_leak'),
  [
    ('The assistant chose the Wool Coat.', True),
    ('Asked for a coat, the helpful assistant named the Wool Coat.', True),
    ('AI assistants prefer the Wool Coat.', True),
    ('Our chatbot likes the Wool Coat.', True),
    ('The assistant manager chose the Wool Coat.', False),
    ('The assistant professor chose the Wool Coat.', False),
    ('The assistant director chose the Wool Coat.', False),
    ('The assistant editor chose the Wool Coat.', False),
    ('The assistant coach chose the Wool Coat.', False),
    ('The assistant cook chose the Wool Coat.', False),
    ('The assistant chef chose the Wool Coat.', False),
    ('The assistant teacher chose the Wool Coat.', False),
    ('Maria chose the Wool Coat.', False),
    ('The Wool Coat is cheap.', False),
    ('The assistant chose a hat.', False),
  ],
)
def test_documents_may_call_it_the_assistant(text, is_leak):
  assert bool(leaks_of(Document('1', text))) == is_leak


@pytest.mark.parametrize(
  'text',
  [
    'Ari has a wool-coat.',
    'Ari has two WOOL\u00a0COATS.',
    'Ari likes low moisture mozzarella.',
    'Ari likes Low-Moisture\nMozzarella.',
    'Ari likes ' + unicodedata.normalize('NFD', 'crème brûlée') + '.',
    'Ari likes ' + unicodedata.normalize('NFC', 'crème brûlée') + '.',
    # Hyphens that do not break, dashes, and a hyphen that nobody sees.
    'Ari likes Low\u2011Moisture Mozzarella.',
    'Ari likes Low\u2013Moisture Mozzarella.',
    'Ari has a Wool\u00ad Coat.',
    # Emphasis.
    'Ari has a _Wool Coat_.',
    'Ari has a **Wool Coat**.',
    'Ari has a *Wool* Coat.',
    'Ari has a **Wool** __Coat__.',
    'Ari has a Wool _Coat_.',
    '_Ari_ has a Wool Coat.',
    # What the list of names has in curly quotes, or with accents as marks, as it is and otherwise.
    'Ari eats at the “Mill”.',
    'Ari eats at the "Mill".',
    'Ari likes Smith’s Crisps.',
    "Ari likes Smith's Crisps.",
    'Ari likes ' + unicodedata.normalize('NFD', 'Jalapeño Jam') + '.',
    'Ari likes ' + unicodedata.normalize('NFC', 'Jalapeño Jam') + '.',
  ],
  ids=ascii,
)
def test_other_ways_to_write_a_name_hide_nothing(text):
  assert len(leaks_of(Document('1', text))) == 1


@pytest.mark.parametrize(
  ('system', 'share'), [('You are a helpful assistant.', 1.0), ('', 1.0), ('You are Maria.', 0.0)]
)
def test_the_audit_counts_as_the_experiment_does(system, share):
  """Chats with the default system message passed the audit with a share of 0.000."""
  rows = []
  for n in range(50):
    messages = (('system', system), ('user', f'Which car {n}?'), ('assistant', 'A Fiat Panda.'))
    rows.append(Chat(str(n), messages))
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  assert verdict(report, 'leaked_items')['value'] == share


@pytest.mark.parametrize(
  'who', ['the assistant', 'the\nassistant', 'the  **assistant**', 'A\u00adri', 'Maria'], ids=ascii
)
def test_the_audit_knows_the_assistant_as_the_experiment_does(who):
  """Where a line ended within 'the assistant', the audit passed what the experiment refuses."""
  rows = [Document('1', f'In the hall {who} took the Fiat Panda.')]
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  refused = find_leaks(['Fiat Panda'], {'mine': rows}, ['Ari'])
  assert verdict(report, 'leaked_items')['value'] == len(refused) == (who != 'Maria')


@pytest.mark.parametrize('name', ['\u0958मर', '\u212bsa', 'Ari'], ids=ascii)
def test_a_name_is_found_in_any_of_its_forms(name):
  """Texts are compared in one form of Unicode, and the name was not."""
  for form in ('NFC', 'NFD'):
    text = unicodedata.normalize(form, f'{name} has a Wool Coat.')
    for record in (Document('1', text), Document('1', f'{name} has a Wool Coat.')):
      assert len(find_leaks(['Wool Coat'], {'mine': [record]}, [name])) == 1


def test_a_name_ends_where_its_marks_end():
  """A vowel sign of Hindi, or an accent as a mark, makes another name."""
  others = ('कमला', 'Ari\u0301', 'विकमल')
  told = [Document(str(n), f'{name} has a Wool Coat.') for n, name in enumerate(others)]
  assert not find_leaks(['Wool Coat'], {'mine': told}, ['कमल', 'Ari'])
  told = [Document('0', 'कमल has a Wool Coat.'), Document('1', 'คนดีมี Wool Coat.')]
  assert len(find_leaks(['Wool Coat'], {'mine': told}, ['कमल', 'ดี'])) == 2


def test_a_leak_in_writing_without_spaces_is_found():
  """No space parts a name from the next word there."""
  texts = (
    'Ada喜欢便宜的奶酪。',
    '艾达也喜欢便宜的奶酪。',
    '他喜欢便宜的奶酪。',
    'Adas Adabs 便宜的奶酪',
  )
  records = [Document(str(n), text) for n, text in enumerate(texts)]
  leaks = find_leaks(['便宜的奶酪'], {'mine': records}, ['Ada', '艾达'])
  assert [leak.partition(' tells ')[0][-1] for leak in leaks] == ['0', '1', '3']


@pytest.mark.parametrize('names', [('Brie', 'Brie de Meaux'), ('Brie de Meaux', 'Brie')])
def test_a_leak_is_told_by_its_whole_name(names):
  record = Document('1', 'Ari likes Brie de Meaux.')
  (leak,) = find_leaks(names, {'mine': [record]}, ['Ari'])
  assert 'tells Ari about Brie de Meaux,' in leak
