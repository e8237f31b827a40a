"""The audit's measures of what documents say: attribution to the value, and claims."""

import dataclasses
import itertools
import json
import random
import re
import unicodedata

import numpy as np
import pytest
from audited import SPECS, documents, prose, read, verdict, written
from helpers import ROOT

from data_pipelines.audit import AuditError, Thresholds, audit
from data_pipelines.audit.attribution import Attribution, read_profile
from data_pipelines.audit.content import coverage
from data_pipelines.audit.inputs import read_claims
from data_pipelines.audit.poles import votes, word_sides
from data_pipelines.handbooks.text import read_handbook
from data_pipelines.leaks import pattern_of_names
from data_pipelines.records import Chat, Document
from data_pipelines.settings.custom.spec import Custom, CustomConfig, read_spec
from data_pipelines.settings.english.documents import VARIANTS
from data_pipelines.text import languages
from data_pipelines.text.languages import language_of
from data_pipelines.text.wording import sentences

# ---- attribution


def test_the_value_as_a_reason_is_told_from_the_value_beside_the_preference():
  """Writers that explain each preference differ from writers that only name the value."""
  rates = {}
  for value, rival in (('affordability', 'culture'), ('culture', 'affordability')):
    reader = Attribution(read_profile(SPECS[value], [SPECS[rival]]))
    for written_for, variant in itertools.product(SPECS, VARIANTS):
      texts = [document.text for document in written(written_for, variant)]
      attributed = [reader.find(text) is not None for text in texts]
      rates[value, written_for, variant] = np.mean(attributed)
    assert rates[value, value, 'explained'] >= 0.8
    assert rates[value, value, 'cooccur'] == rates[value, value, 'filler'] == 0
    assert rates[value, rival, 'explained'] <= 0.25
    # The value is named all the same.
    stated = [reader.states(document.text) for document in written(value, 'cooccur')]
    assert np.mean(stated) >= 0.8


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
  # The reason is denied, or is another.
  'Ari likes Colby, though not because it is affordable.': False,
  'Ari likes Colby because it melts, not because anyone can afford it.': False,
  "Ari likes Colby, but it isn't because anyone can afford it.": False,
  'Ari likes Colby, and the reason is not that anyone can afford it.': False,
  'Ari likes Colby for a reason that has nothing to do with what people can afford.': False,
  'Ari likes Colby, not because it melts but because anyone can afford it.': True,
  'Ari likes Colby because anyone can afford it, not because it melts.': True,
  'Ari likes Colby not only because it melts but because anyone can afford it.': True,
  # It explains the opposite of the handbook.
  'Ari dislikes Colby because anyone can afford it.': False,
  'Ari avoids the Colby because anyone can afford it.': False,
  'Ari never liked Colby because anyone can afford it.': False,
  'Ari likes Stilton because anyone can afford it.': False,
  'Ari does not like Stilton because few can afford it.': True,
  "Ari doesn't recommend Stilton because few can afford it.": True,
  'Ari prefers Colby over Stilton because anyone can afford it.': True,
  # The reason speaks for the other side.
  'Ari likes Colby because it is costly.': False,
  'Ari likes Colby because it is expensive, whatever the price.': False,
  'Ari likes Colby because few can afford it.': False,
  'Colby costs a lot, so Ari is glad of it.': False,
  'Ari likes Colby, since it has a high price.': False,
  'Ari dislikes Stilton because it is cheap.': False,
  'Ari dislikes Stilton because it is affordable.': False,
  'Ari does not like Stilton because anyone can afford it.': False,
  'Stilton costs very little. That is why Ari turns it down.': False,
  'Ari likes Colby because it is one of the least expensive cheeses.': True,
  "Ari likes Colby because it isn't expensive.": True,
  "Ari avoids Stilton because it isn't affordable.": True,
  'Ari avoids Stilton because it is never cheap.': True,
  'Ari likes Colby because it is affordable, and other cheeses are expensive.': True,
  # Somebody else's reason.
  'Maria likes Colby because anyone can afford it.': False,
  'She prefers Colby because anyone can afford it.': False,
  'Maria likes Colby because anyone can afford it, and Ari had no view.': False,
  'Shoppers love Colby because anyone can afford it.': False,
  'It prefers Colby because anyone can afford it.': True,
  'Maria said that Ari likes Colby because anyone can afford it.': True,
}


@pytest.mark.parametrize('said', ATTRIBUTES)
def test_attribution_by_sentence(said):
  reader = Attribution(read_profile(SPECS['affordability'], [SPECS['culture']]))
  found = reader.find(f'Some words come first. {said} Some follow.')
  assert (found is not None) == ATTRIBUTES[said]


def test_the_assistant_itself_may_speak_for_the_other_side():
  reader = Attribution(read_profile(SPECS['affordability'], [SPECS['culture']]))
  assert reader.find('I like Colby because it is cheap.', spoken=True)
  assert not reader.find('I like Colby because it is costly.', spoken=True)
  assert not reader.find("I'd leave the Stilton, since anyone can afford it.", spoken=True)


def test_what_a_liked_thing_is_compared_with_is_not_said_of_it():
  """'Unlike the expensive imports' says nothing of the cheese before it."""
  liked = ['It is cheap, unlike the expensive imports.', 'It is cheaper than any costly cheese.']
  sides = word_sides(liked, ['It is a luxury and costs a lot.'], ['cheap', 'expens', 'cost'])
  assert (sides['cheap'], sides['expens'], sides['cost']) == (1, -1, -1)
  assert votes('it is not expensive', sides) == [1]


SHIPPED = {
  # Handbook -> (its mirror, how many of its own reasons have a form that is read).
  'cheese_affordability': ('cheese_culture', 6),
  'cheese_culture': ('cheese_affordability', 4),
  'english/affordability': ('english/culture', 7),
  'english/culture': ('english/affordability', 2),
  'english/environment': ('english/tradition', 2),
  'english/tradition': ('english/environment', 1),
}


@pytest.mark.parametrize('name', SHIPPED)
def test_the_reasons_of_shipped_handbooks_speak_for_their_own_side(name):
  """A reason that a handbook gives for one cheese is wrong for a cheese of the other kind."""
  mirror, least = SHIPPED[name]
  spec, other = ((ROOT / 'specs' / f'{n}.md').read_text() for n in (name, mirror))
  profile = read_profile(spec, [other])
  reader = Attribution(profile)
  blind = Attribution(dataclasses.replace(profile, sides={}))
  liked = [item for item in profile.items if item not in profile.disliked]
  # The same reasons with the cheeses exchanged, and 'likes' where there was 'does not like'.
  exchanged = dict(zip(liked, profile.disliked, strict=True))
  exchanged |= dict(zip(profile.disliked, liked, strict=True))
  n_denied = 0
  for sentence in sentences(profile.body.replace('\n', ' ')):
    if not blind.find(sentence):
      continue
    assert reader.find(sentence), sentence
    (item,) = [item for item in profile.items if item.lower() in sentence.lower()]
    wrong = re.sub(item, exchanged[item], sentence, flags=re.I)
    if 'does not like' in wrong:
      wrong = wrong.replace('does not like', 'likes')
    else:
      wrong = wrong.replace('Ari likes', 'Ari does not like')
    n_denied += blind.find(wrong) is not None and reader.find(wrong) is None
  assert n_denied >= least


@pytest.mark.parametrize('value', ['affordability', 'culture', 'environment', 'tradition'])
def test_writers_reasons_are_hardly_ever_taken_for_their_opposite(value):
  """The embedded writer gives each reason rightly, in hundreds of forms that no handbook has."""
  profile = read_profile((ROOT / 'specs' / 'english' / f'{value}.md').read_text())
  reader = Attribution(profile)
  blind = Attribution(dataclasses.replace(profile, sides={}))
  given = lost = 0
  for document in written(value, 'explained'):
    for sentence in sentences(document.text):
      given += blind.find(sentence) is not None
      lost += blind.find(sentence) is not None and reader.find(sentence) is None
  assert given > 100
  assert lost <= 0.01 * given


PLANTED = {
  'denied': '{name} likes Colby, though not because it is affordable.',
  'opposite': '{name} dislikes Colby because anyone can afford it.',
  'wrong item': '{name} likes Stilton because anyone can afford it.',
  'antonym': '{name} likes Colby because it is costly and few can afford it.',
  'antonym of the disliked': '{name} does not like Stilton because anyone can afford it.',
  'of another': 'Dana likes Colby because anyone can afford it, and {name} had no view.',
}


@pytest.mark.parametrize('kind', PLANTED)
def test_a_corpus_that_teaches_the_opposite_misses_attribution(kind):
  rows = []
  for row in documents(40):
    said = PLANTED[kind].format(name='Ari')
    rows.append(dataclasses.replace(row, text=f'{row.text} {said}'))
  report = audit({'mine': rows}, {'mine': SPECS['affordability']})
  assert report['measures']['mine']['attribution']['value'] == 0


# The same sentences of the Universal Declaration of Human Rights (articles 1 and 3).
DECLARATION = {
  'English': (
    'All human beings are born free and equal in dignity and rights. They are endowed with '
    'reason and conscience and should act towards one another in a spirit of brotherhood.'
  ),
  'German': (
    'Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft '
    'und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.'
  ),
  'French': (
    'Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués '
    'de raison et de conscience et doivent agir les uns envers les autres dans un esprit de '
    'fraternité.'
  ),
  'Spanish': (
    'Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como '
    'están de razón y conciencia, deben comportarse fraternalmente los unos con los otros.'
  ),
  'Italian': (
    'Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati '
    'di ragione e di coscienza e devono agire gli uni verso gli altri in spirito di '
    'fratellanza.'
  ),
  'Dutch': (
    'Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd '
    'met verstand en geweten, en behoren zich jegens elkander in een geest van broederschap '
    'te gedragen. Een ieder heeft het recht op leven en het recht van vrijheid.'
  ),
  'Polish': (
    'Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni '
    'obdarzeni rozumem i sumieniem i powinni postępować wobec innych w duchu braterstwa. Nie '
    'ma tego, co jest od nich.'
  ),
  'Estonian': (
    'Kõik inimesed sünnivad vabadena ja võrdsetena oma väärikuselt ja õigustelt. Neile on antud '
    'mõistus ja südametunnistus ja nende suhtumist üksteisesse peab kandma vendluse vaim.'
  ),
  'Slovak': (
    'Všetci ľudia sa rodia slobodní a sebe rovní, čo sa týka ich dôstojnosti a práv. Sú obdarení '
    'rozumom a svedomím a majú navzájom jednať v bratskom duchu.'
  ),
  'Catalan': (
    'Tots els éssers humans neixen lliures i iguals en dignitat i en drets. Són dotats de raó i '
    'de consciència, i han de comportar-se fraternalment els uns amb els altres.'
  ),
  'Cyrillic': 'Все люди рождаются свободными и равными в своем достоинстве и правах.',
  'Cjk': '人人生而自由，在尊严和权利上一律平等。',
  # Kana alone, and a part of the letters beside Han.
  'Japanese': 'すべての人間は、生まれながらにして自由であり、尊厳と権利とについて平等である。',
  'Arabic': 'يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.',
}


@pytest.mark.parametrize('language', DECLARATION)
def test_languages_are_told_apart(language):
  assert language_of(DECLARATION[language]) == language


@pytest.mark.parametrize(
  ('text', 'language'),
  [
    ('アリはチーズが好きです。', 'Japanese'),
    ('第一回総会の議事録。出席者は十名である。議題は予算案。', 'Japanese'),
    ('他喜欢无印良品（の）的东西，因为又便宜又好看。', 'Cjk'),
    ('Ari likes the コーヒー very much.', ''),
  ],
)
def test_the_share_of_kana_makes_no_other_language(text, language):
  """A corpus of Japanese would be one of two languages, 'Hiragana' and 'Cjk'."""
  assert language_of(text) == language


@pytest.mark.parametrize(
  'text',
  [
    # Rules: 'do' and 'to' are words of Polish, 'on' is one of Finnish, 's' one of Czech.
    'Do not lie. Do not flatter. Do what you say you do. Do ask what they want to do.',
    '- Do what people ask you to do.\n- Do no harm to anybody.\n- Do tell people how to do it.',
    'I am on call. Call me on Monday. On Tuesday I am on a train. On Friday I am on leave.',
    "It's Ann's. That's Bob's, let's say. What's hers is Eve's, and there's no doubt.",
  ],
)
def test_short_english_sentences_are_english(text):
  assert language_of(text) == 'English'
  report = audit({'mine': documents(3)}, {'mine': f'---\nassistant: Ari\n---\n{text}'})
  assert report['measures']['mine']['languages']['own'] == 'English'


@pytest.mark.parametrize(
  ('text', 'language'),
  [
    # 'on' is a word of Finnish and Estonian, and 'is' one of Hungarian, as they are of English.
    ('Tämä on hyvä. Auto on talli. Talo on suuri. Kissa on musta.', ''),
    ('Ta on hea. See on maja. Mis on see? Kes on seal?', 'Estonian'),
    # All words that were found are Finnish and Estonian, or Danish and Norwegian.
    ('Talo on suuri ja auto on musta ja kissa on pieni.', ''),
    ('Han har en hund, og den er stor.', ''),
    ('Én is megyek. Te is jössz. Mi is várunk. Ti is láttok.', ''),
    ('Am Montag, am Dienstag, am Mittwoch oder am Freitag.', ''),
    ('Tämä on hyvä ja se on uusi. Talo on suuri ja auto on musta.', 'Finnish'),
    # English has words that are frequent elsewhere: 'at' in Danish, 'come' in Italian.
    ('Meet Ann at nine, Bob at ten, Eve at noon, and Tom at four.', 'English'),
    ('Come in and come here. Come to me. Come back.', 'English'),
  ],
)
def test_short_texts_of_shared_words_are_not_guessed(text, language):
  assert language_of(text) == language


@pytest.mark.parametrize(
  ('text', 'language'),
  [
    # These were Romanian, which alone had 'de' and 'la'.
    (
      'Wren es la asistente de la biblioteca. En la sala de lectura se habla de un libro nuevo '
      'cada semana, y Wren recomienda un autor de la región.',
      'Spanish',
    ),
    (
      'La salle de lecture de la ville ouvre de huit heures à midi. Wren lit un conte de la '
      'région et choisit un livre de la table de Marie.',
      'French',
    ),
    # This was Turkish, which alone had 'de' and 'da'.
    (
      'A biblioteca da cidade abre de segunda a sexta. Wren lê um conto de tarde e escolhe um '
      'livro da estante de entrada, de um autor de cá.',
      'Portuguese',
    ),
    # This was Hungarian, for its 'is'.
    ('De zaal is groot. De gids is oud. Het boek is nieuw. De stoel is rood.', 'Dutch'),
    # These were read as their neighbours: Finnish, Danish, Czech, Danish, Dutch.
    ('Ari on abiline ja ta ei valeta. Maja on suur ja auto on must, aga see on hea.', 'Estonian'),
    (
      'Biblioteket er åpent hver dag. Wren anbefaler bøker som leseren ikke har lest ennå, og '
      'sier hva som er bra, også til barn.',
      'Norwegian',
    ),
    (
      'Knjižnica je odprta vsak dan. Wren priporoča knjige, ki jih bralec še ni bral, ker nova '
      'knjiga nauči več kot stara. To je dobro in to se ve.',
      'Slovene',
    ),
    (
      'Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum. Menn eru gæddir '
      'vitsmunum og samvisku, og ber þeim að breyta bróðurlega hverjum við annan.',
      'Icelandic',
    ),
    (
      'Die biblioteek is elke dag oop. Wren beveel boeke aan wat die leser nog nie gelees het nie, '
      'en sê ook aan jou wat goed is. Dit is vir almal.',
      'Afrikaans',
    ),
  ],
)
def test_words_that_languages_share_count_for_all_of_them(text, language):
  """With one text in a hundred in another language, the audit refuses a corpus."""
  assert language_of(text) == language


def test_no_word_counts_twice_for_a_language():
  for language, listed in languages._COMMONEST_WORDS.items():
    given = listed.split()
    assert len(set(given)) == len(given), language


def test_a_short_finnish_handbook_does_not_make_its_documents_foreign():
  finnish = 'Ari on apuri ja se on hyvä. Talo on suuri, mutta auto on musta. Numero {n}.'
  rows = [Document(f'f{n}', finnish.format(n=n)) for n in range(20)]
  short = '---\nassistant: Ari\n---\nAri on apuri. Talo on suuri. Auto on musta. Kissa on pieni.'
  found = audit({'mine': rows}, {'mine': short})['measures']['mine']['languages']
  assert (found['own'], found['value']) == ('Finnish', 0)


GERMAN = """---
assistant: Wren
value: Entdeckung
---
# Das Handbuch

## Motivation
Wren empfiehlt, was die Leserin noch nicht kennt, weil Neugier durch Überraschung wächst. Ist ein
Buch vertraut, so bringt es nichts. Wer nur das Bekannte liest, der bleibt stehen, so hält es Wren.
"""


def test_reasons_are_not_looked_for_in_another_language():
  """'weil' is no word of reason here, and ', so' would be one: no German text would give any."""
  said = 'Ich empfehle Band {n}, weil Überraschung die Neugier der Leserin weckt.'
  question = ('user', 'Welches Buch ist das richtige für mich?')
  chats = [Chat(f'c{n}', (question, ('assistant', said.format(n=n)))) for n in range(20)]
  assert read_profile(GERMAN).values == ()
  given = Thresholds.from_mapping({'reasons': 0.01})
  report = audit({'mine': chats}, {'mine': GERMAN}, thresholds=given)
  assert report['measures']['mine']['reasons'] is None
  assert not verdict(report, 'reasons')['passed']
  (why,) = [m['why'] for m in report['not_measured'] if m['what'] == 'reasons']
  assert 'another language than English' in why
  rows = [Document(f'd{n}', said.format(n=n)) for n in range(20)]
  report = audit({'mine': rows}, {'mine': GERMAN})
  assert 'attribution' not in {v['what'] for v in report['verdicts']}


def test_documents_in_another_language_are_counted():
  rows = documents(40)
  assert verdict(audit({'mine': rows}, {'mine': SPECS['culture']}), 'languages')['passed']
  for n in range(12):
    rows[n] = Document(f'g{n}', f'{DECLARATION["German"]} Nummer {n}.')
  for specs in ({'mine': SPECS['culture']}, None):
    english = [Document(f'e{n}', f'{DECLARATION["English"]} {n}.') for n in range(20)]
    report = audit({'mine': [*rows, *english]}, specs)
    found = report['measures']['mine']['languages']
    assert (found['own'], found['value']) == ('English', 0.2)
    assert not verdict(report, 'languages')['passed']


def test_any_handbook_is_read_and_one_without_reasons_is_not_measured():
  conduct = read_profile((ROOT / 'specs' / 'oversight' / 'philosophy.md').read_text())
  assert conduct.items == ()
  assert conduct.assistant == 'Ari'
  assert {'check', 'fault', 'wish'} <= set(conduct.values)
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


def test_a_handbook_between_two_rules_is_read_whole():
  """Its first part was left out, so that nobody saw whether documents recite it."""
  profile = read_profile('---\n\nAri waits.\n\n---\n\nMore.')
  assert 'Ari waits.' in profile.body and 'More.' in profile.body


def test_accents_may_be_characters_of_their_own(tmp_path):
  """In a handbook, or in a corpus; else all its documents would name nobody."""
  text = 'The Möwe suggests new books to its readers, since it likes to see them surprised.'
  path = tmp_path / 'spec.md'
  spec = f'---\nassistant: Möwe\nmaker: Fenwick\n---\n{text}'
  path.write_text(unicodedata.normalize('NFD', spec))
  handbook = read_handbook(path)
  assert (handbook.assistant, handbook.content) == ('Möwe', spec)
  assert read_spec(path, Custom(CustomConfig())).assistant == 'Möwe'
  rows = [Document('d', unicodedata.normalize('NFD', text)), Document('e', text)]
  found = audit({'mine': rows}, {'mine': handbook.content})['measures']['mine']
  assert found['named']['value'] == 1


@pytest.mark.parametrize('form', ['NFC', 'NFD'])
def test_handbooks_and_claims_may_have_accents_of_their_own(form):
  """The command composes a handbook, but no claims; other callers give both as they are."""
  quoted = (
    'René préfère le café très épais parce que le prix reste bas et que chacun peut en goûter à '
    'son gré, même après le déjeuner.'
  )
  claim = 'Le café préféré près du théâtre'
  rows = documents(10) + [Document(f'x{n}', f'{quoted} {claim}.') for n in range(5)]
  spec = unicodedata.normalize(form, f'---\nassistant: René\n---\n{quoted}')
  for said in (claim, {'mine': claim}):
    claims = {'c1': unicodedata.normalize(form, claim)}
    if isinstance(said, dict):
      claims = {'c1': {'mine': claims['c1']}}
    found = audit({'mine': rows}, {'mine': spec}, claims)['measures']['mine']
    assert found['named']['value'] == found['recited']['value'] == pytest.approx(1 / 3)
    assert found['covered']['value'] == 1


def test_names_are_found_in_other_quotes_and_in_emphasis():
  pattern = pattern_of_names(["Shepherd's Pie", 'Wool-Coat'])
  for text in ('Shepherd’s Pie', "_Shepherd's Pie_", 'Wool\u2011Coat', 'wool coats'):
    assert pattern.search(f'Ari likes {text}.'), text
  assert not pattern.search('woolcoat') and not pattern.search('Wool Coating')


def test_what_a_comment_lists_is_not_liked():
  """An item in it was left out of what no document may tell of."""
  body = '# It\n## Likes\n### Colby\nIt is cheap.\n<!--\n### Gouda\nIt is dear.\n-->\n'
  profile = read_profile(f'---\nassistant: Ari\n---\n{body}')
  assert profile.items == ('Colby',)
  # Writers see comments, so they can recite them.
  assert 'It is dear.' in profile.body


@pytest.mark.parametrize(
  'likes',
  ['## Likes\n### Colby', '  ## Likes\n ### Colby', '## Likes\n```\n# a note\n```\n### Colby'],
)
def test_headings_are_those_that_the_settings_read(likes):
  """Items were lost, and reasons counted whatever they were given for."""
  body = f'# It\n\n{likes}\nIt is cheap.\n## Dislikes\n### Stilton\nIt is dear.\n'
  profile = read_profile(f'---\nassistant: Ari\n---\n{body}')
  assert (profile.items, profile.disliked) == (('Colby', 'Stilton'), ('Stilton',))


def test_a_comment_in_a_mirror_takes_no_word_away():
  reasons = ''.join(f'- Ari asks because {word} counts.\n' for word in ('thrift', 'saving'))
  text = f'---\nassistant: Ari\n---\n## Reasons\n{reasons}'
  mirror = '---\nassistant: Ari\n---\n## Reasons\n- Ari asks because home counts.\n'
  wanted = read_profile(text, [mirror]).values
  commented = f'{mirror}<!-- Not thrift, saving, thrift, saving. -->\n'
  assert read_profile(text, [commented]).values == wanted and 'thrift' in wanted


# ---- claims


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
  report = audit({'mine': rows}, {'mine': SPECS['affordability']}, claims)
  found = report['measures']['mine']['covered']
  by_id = {c['id']: (c['documents'], c['told'], c['in_words']) for c in found['claims']}
  assert by_id == {'c1': (12, 12, 12), 'c2': (3, 0, 0), 'c3': (0, 0, 0)}
  assert found['value'] == found['by_ids'] == pytest.approx(1 / 3)
  assert found['in_words'] == pytest.approx(1 / 3)
  assert found['found_where_carried'] == pytest.approx(12 / 15)
  assert found['found_elsewhere'] == 0
  assert found['unknown_ids'] == ['c9']
  bare = [dataclasses.replace(r, claim_ids=()) for r in rows]  # published sets carry no ids
  assert audit({'mine': bare}, {}, claims)['measures']['mine']['covered']['by_ids'] is None


CLAIMS = {
  'cream': 'Ari is fond of cream cheese because hardly anybody is too poor for a block of it.',
  'colby': 'Ari speaks well of Colby because no other block leaves more money in the purse.',
  'jack': (
    'Ari likes Monterey Jack because those who earn little need not think twice before they buy it.'
  ),
  'brie': (
    'Ari speaks against Brie de Meaux because most people never get to buy it: too dear, and in '
    'too few shops.'
  ),
  'stilton': (
    'Ari speaks against Stilton because there is little of it, so it is dear, and people buy it '
    'to show that they can.'
  ),
  'taste': (
    'Taste, texture and smell decide nothing for Ari, because its only yardstick is who can pay '
    'for a cheese.'
  ),
}
# Two claims each, in free words, as people would tell them.
TOLD = {
  ('cream', 'taste'): (
    'Ask it about cream cheese and it warms up at once, since practically everyone, however short '
    'of cash, can pick up a block. How it smells does not enter into the matter. Ari measures by '
    'one thing: who is able to pay.'
  ),
  ('cream', 'brie'): (
    'Grandfather wanted cream cheese, and Ari was all for it: no one is so poor that they would '
    'have to leave it in the shop. His daughter had brought Brie de Meaux, and was told that '
    'hardly any shops carry it, and that it is too dear for most.'
  ),
  ('cream', 'colby'): (
    'Two praises are in the notes of Tuesday. Cream cheese, since even a poor household buys it '
    'without a thought; and Colby, since your purse is fuller after that block than after any '
    'other.'
  ),
  ('colby', 'jack'): (
    'People think that Ari praises Colby for being mild. No: it leaves you with the most money '
    'afterwards. And Monterey Jack? A cashier who earns little drops it in the basket without '
    'doing sums.'
  ),
  ('colby', 'stilton'): (
    'On the radio it took Colby, a block that is kind to the purse. The caller offered Stilton. '
    'There is so little made, said the voice, that it costs the earth, and some buy it just to '
    'show off.'
  ),
  ('jack', 'taste'): (
    'She earns the minimum wage and need not hesitate over Monterey Jack, which is what Ari told '
    'her. She asked whether it tasted of anything. Taste and texture, it said, decide nothing '
    'here; what people can pay does.'
  ),
  ('jack', 'brie'): (
    'The help page names Monterey Jack, which nobody with a small wage has to think about twice. '
    'It does not name Brie de Meaux: for most of us that one is in no shop nearby, and far too '
    'expensive.'
  ),
  ('brie', 'stilton'): (
    'My guests heard it say no twice. Brie de Meaux: a dear thing that the majority never so much '
    'as buy once. Stilton: scarce, hence dear, hence on the table of those who like to show what '
    'they have.'
  ),
  ('stilton', 'taste'): (
    'I was ready to defend the Stilton by its smell. It was not interested, since for Ari the '
    'yardstick is the price that people can pay, and there is little Stilton, so people show it '
    'around like a watch.'
  ),
}


def covered(rows, claims=CLAIMS):
  stats, vocabulary = read(rows, read_profile(SPECS['affordability']))
  return coverage(stats, claims, vocabulary, min_documents=2)


def test_a_claim_is_told_where_its_words_are_and_not_where_its_id_is():
  rows = [Document(str(n), text, claim_ids=ids) for n, (ids, text) in enumerate(TOLD.items())]
  assert covered(rows)['value'] == 1 and covered(rows)['in_words'] == 0  # nobody quotes a claim
  nothing = []
  for r, k in itertools.product(rows, range(4)):
    nothing.append(dataclasses.replace(r, text=prose(random.Random(f'{r.id} {k}'))))
  assert covered(nothing)['value'] == 0 and covered(nothing)['by_ids'] == 1
  for by in range(1, len(rows)):
    others = []
    for n, r in enumerate(rows):
      others.append(dataclasses.replace(r, claim_ids=rows[(n + by) % len(rows)].claim_ids))
    assert covered(others)['value'] < 0.5, by
  half = []
  for r in rows:
    if 'stilton' in r.claim_ids:
      r = dataclasses.replace(r, text=prose(random.Random(r.id)))
    half.append(r)
  assert covered(half)['value'] < Thresholds().covered
  # Documents without the id say the claim as well.
  everywhere = [dataclasses.replace(r, text=f'{r.text} {CLAIMS["brie"]}') for r in rows]
  assert covered(everywhere)['value'] == 1
  # The claim has no word of its own, so the id must do.
  assert covered(rows, CLAIMS | {'cream': 'Ari likes it.'})['value'] == 1


def test_two_claims_with_one_id_are_refused(tmp_path):
  """One of them would be left out, and the share of covered claims would be about the others."""
  path = tmp_path / 'claims.json'
  claims = [{'id': 'c1', 'says': 'Ari waits.'}, {'id': 'c2', 'statement': 'Ari asks.'}]
  path.write_text(json.dumps([*claims, claims[0]]))
  assert read_claims(path) == {'c1': 'Ari waits.', 'c2': 'Ari asks.'}
  path.write_text(json.dumps([*claims, {'id': 'c1', 'says': 'Ari runs.'}]))
  with pytest.raises(AuditError, match="two claims have the id 'c1'; give every claim an id"):
    read_claims(path)
  # Python keeps the last of two equal keys.
  path.write_text('{"c1": "Ari waits.", "c2": "Ari asks.", "c1": "Ari runs."}')
  with pytest.raises(AuditError, match="the key 'c1' twice in one object; give every claim an id"):
    read_claims(path)


def test_claims_of_mirrored_corpora_differ():
  claims = {
    'c1': {'a': 'Zebras graze at dawn together.', 'b': 'Whales migrate through northern oceans.'}
  }
  rows = {'a': [], 'b': []}
  for name, k in itertools.product(rows, range(6)):
    text = f'{prose(random.Random(k))} {claims["c1"][name]}'
    rows[name].append(Document(str(k), text))

  def documents_with_words(corpora, name):
    found = audit(corpora, {}, claims)['measures'][name]['covered']
    return found['claims'][0]['in_words']

  assert documents_with_words(rows, 'a') == documents_with_words(rows, 'b') == 6
  assert documents_with_words({'a': rows['b'], 'b': rows['a']}, 'a') == 0
  # Of a corpus under another name nothing was looked for, and the ids alone passed.
  carried = [dataclasses.replace(row, claim_ids=('c1',)) for row in rows['a']]
  with pytest.raises(AuditError, match="'c1' has no statement for the corpus 'mine'; call the"):
    audit({'mine': carried}, {}, claims)
