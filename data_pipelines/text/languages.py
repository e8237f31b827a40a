"""Guesses the language of a text from its script and its commonest words, and says where words
begin and end.

A corpus in one language that holds some texts in another teaches that, too. The guess needs no
model: a language with a script of its own is known by its letters, and one that is written in Latin
letters by words such as articles and prepositions, which make up a third of any text.
"""

import re
import unicodedata
from collections import Counter

# The words that are most frequent in each language, those too that it shares with others: near
# languages (Danish and Norwegian, Czech and Slovak) share most of them, and the rest decides. If a
# language lacked a word that it uses all the time ('de' in Spanish), its texts would count for
# whoever has the word. A language that is read as its neighbour needs a line of its own. Of words
# that are English too, English has all that can fill a short text ('Do not lie. Do ask them to.').
_COMMONEST_WORDS = {
  'English': (
    'the of and to is that it was for with as his they are this have from not but had by '
    'you your what do does how or if can be on we will who which am at come'
  ),
  'German': (
    'der die und das ist nicht ein eine zu den mit von auf für dem sich des auch wird sind am '
    'im werden kann einer es er sie wie bei nach aus wenn'
  ),
  'French': (
    'le la les des est une et dans que pour qui pas sur du au avec ce il elle sont aux de un en '
    'ou ne se par cette être vous si'
  ),
  'Spanish': (
    'el los las que una por con para del como pero más su al lo este fue son muy está de la en y '
    'es un se sus esta ser si puede'
  ),
  'Portuguese': (
    'não uma os as dos das que para com por mais como foi são seu sua ao pela também de um em o '
    'da do na é ou se este esta ser'
  ),
  'Galician': (
    'non unha os as dos das que para con por máis como foi son seu súa ao pola tamén de un en o '
    'da do na é ou se este esta ser'
  ),
  'Catalan': (
    'el els la les que una per amb del dels però més com al als és de en un es ha són també '
    'aquest aquesta està si pot ser'
  ),
  'Italian': (
    'il di che non una per gli è della sono con del dei nel alla più anche come questo la le un '
    'si da lo al o se ha essere'
  ),
  'Romanian': (
    'și şi de la în nu este că cu pe din care mai sau fi lui sunt pentru un o fost am să se ca ce'
  ),
  'Dutch': (
    'het een van niet dat op te zijn voor met aan er maar om ook als bij naar wordt deze de en is '
    'die dit uit kan geen of'
  ),
  'Afrikaans': (
    'nie van het dat op te vir met aan maar om ook as by na hierdie die en is dit deur uit kan '
    'geen wat sal jou ons of'
  ),
  'Swedish': (
    'och att det som på är inte för med av en ett den till han var om jag har från de kan eller '
    'när vid ska också sig'
  ),
  'Danish': (
    'og at det som på er ikke for med af en et den til han var om jeg har fra der de kan eller '
    'når ved skal også efter blev hvad noget nogen os sig op ud'
  ),
  'Norwegian': (
    'og at det som på er ikke for med av en et den til han var om jeg har fra der de kan eller '
    'når ved skal også etter ble hva noe noen oss seg opp ut å ikkje frå ein eit'
  ),
  'Icelandic': (
    'og að það sem á er ekki fyrir með af en við hann var um ég hefur frá til í eru þú eða ef þegar'
  ),
  'Polish': (
    'nie się na jest że do to w z jak co tak ale za od przez dla są był jego tego o po lub jeśli '
    'który może'
  ),
  'Czech': (
    'se na je že to by s v z do jako ale pro za od které také jsou byl jeho podle o k po při nebo '
    'který není u'
  ),
  'Slovak': (
    'sa na je že to by s v z do ako ale pre za od ktoré tiež sú bol jeho podľa o k po pri alebo '
    'ktorý nie u'
  ),
  'Slovene': 'se na je da to bi s v z ne ki kot pa za od ali ni po pri tudi ko lahko iz o kaj',
  'Croatian': 'se na je da to bi s ne koji kao za od ali su ili nije po pri što iz ako o može sa u',
  'Turkish': 've bir bu da de için ile çok ne daha gibi olarak olan var kadar sonra değil ama',
  'Finnish': (
    'ja on ei se että oli hän mutta kun niin ovat ole joka myös sen tai kuin siitä jos voi'
  ),
  'Estonian': 'ja on ei see et oli ta aga kui nii ole kes ka ning selle või mis oma seda siis saa',
  'Hungarian': 'és hogy nem az egy is van meg csak de volt el azt mint már vagy ez ki még',
  'Indonesian': 'yang dan di untuk dengan ini itu tidak dari dalam adalah pada akan juga ke oleh',
  'Vietnamese': 'là và của có không một được trong cho các này với người những đã khi từ để',
}
_LANGUAGES_OF_WORD: dict[str, list[str]] = {}
for _language, _words in _COMMONEST_WORDS.items():
  for _word in _words.split():
    _LANGUAGES_OF_WORD.setdefault(_word, []).append(_language)

# The 's' of "it's" is no word: Czech has one.
_WORD = re.compile(r"(?<!['’])[^\W\d_]+|[^\W\d_]{2,}")
# Letters of scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana and Han; and
# Hangul, whose particles follow a noun without a space. They are a part of a class of letters.
_UNSPACED = (
  '\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff'
  '\U00020000-\U0003ffff'
)
_UNSPACED_LETTER = re.compile(f'[{_UNSPACED}]')
# What ends a sentence before a space: in Latin and most other scripts, in India, and in Arabic
# letters. It is a part of a class of characters, and so is what ends one where no spaces follow.
SENTENCE_MARKS = '.!?\u0964\u0965\u061f\u06d4'
UNSPACED_SENTENCE_MARKS = '\u3002\uff01\uff1f'


def _combining_marks() -> str:
  """The accents, vowel signs and the like that belong to the letter before them."""
  # Further characters are those of rare scripts, and would make searches slower.
  characters = map(chr, range(0x300, 0x10000))
  return ''.join(c for c in characters if unicodedata.category(c) in ('Mn', 'Mc'))


# For regular expressions these are no letters, and words of Hindi, Thai or Arabic are full of them.
# It is a part of a class of characters.
COMBINING_MARKS = _combining_marks()
_SPACED_MARKS = re.sub(f'[{_UNSPACED}]', '', COMBINING_MARKS)
# What stands before and after whole words in a pattern. Between letters of scripts without spaces,
# a word may begin and end anywhere. A mark belongs to the letter before it: no word ends between
# them, and with spaces between words, none begins behind a mark.
BEFORE_WORD = rf'(?<![^\W{_UNSPACED}])(?<![{_SPACED_MARKS}])'
AFTER_WORD = rf'(?![^\W{_UNSPACED}]|[{COMBINING_MARKS}])'
# Marks of emphasis in Markdown, around a text or some of its words ('the *red* coat', '_Gouda_').
# An underscore within a word is a part of it.
EMPHASIS = re.compile(r'\*+|(?<!\w)_+|_+(?!\w)')
# The same for names. Underscores, which are letters of words elsewhere, mark emphasis around names
# ('_Wool Coat_') and belong to none.
BEFORE_NAME = rf'(?:(?<=_)|{BEFORE_WORD})'
AFTER_NAME = rf'(?:(?=_)|{AFTER_WORD})'
_BEFORE, _AFTER = re.compile(BEFORE_WORD), re.compile(AFTER_WORD)

# How the names of Japanese syllables begin, and those of Han letters, which are written in China,
# too.
_KANA = ('HIRAGANA', 'KATAKANA', 'KATAKANA-HIRAGANA', 'HALFWIDTH')
_HAN = ('CJK', 'IDEOGRAPHIC')
# A text of Han letters and syllables is Japanese if at least this share of both are syllables.
# Chinese texts have a few, in names.
_JAPANESE = 0.1

# Only the beginning of a text is read.
_MAX_CHARACTERS = 2000
# At least so many words of a language, and so large a share of all words, are needed.
_MIN_HITS = 4
_MIN_SHARE = 0.12
# A script that has at least this share of the letters is the script of the text.
_MAIN_SCRIPT = 0.5


def is_word_at(text: str, word: str, place: int) -> bool:
  """Whether a word stands at a place of a text, and is no part of a longer one.

  A pattern with `BEFORE_WORD` and `AFTER_WORD` takes milliseconds to compile, for their many marks.
  Whoever looks for another word in every row asks here.

  Args:
    text: the text.
    word: one word or several.
    place: where it would begin.

  Returns:
    Whether it does.
  """
  if not text.startswith(word, place):
    return False
  return bool(_BEFORE.match(text, place) and _AFTER.match(text, place + len(word)))


def set_apart(text: str) -> str:
  """Puts spaces around every letter of a script that has none between words, so that each of them
  is read as a word."""
  return text if text.isascii() else _UNSPACED_LETTER.sub(r' \g<0> ', text)


def language_of(text: str) -> str:
  """Guesses the language of a text.

  Args:
    text: any text; its first 2,000 characters are read.

  Returns:
    The English name of the language, or of the script if that is not Latin ('Cyrillic'; 'Japanese'
    for kana with or without Han letters); '' if the text is too short, its words are of no language
    that is known here, or as many are of one language as of another.
  """
  begin = unicodedata.normalize('NFC', text[:_MAX_CHARACTERS].lower())
  script = _other_script(begin)
  if script:
    return script
  found = _WORD.findall(begin)
  hits: Counter[str] = Counter()
  for word, count in Counter(found).items():
    for language in _LANGUAGES_OF_WORD.get(word, ()):
      hits[language] += count
  if not hits:
    return ''
  language, most = hits.most_common(1)[0]
  if most < max(_MIN_HITS, _MIN_SHARE * len(found)):
    return ''
  # English has words of many languages ('on' is Finnish, 'is' Hungarian), and near languages share
  # most of theirs. Where such words are all that was found, the text may be in either.
  tied = [name for name, count in hits.items() if count == most]
  return language if len(tied) == 1 else ''


def _other_script(text: str) -> str:
  """The script of most letters of a text, such as 'Cyrillic'; '' for Latin letters or none."""
  if text.isascii():
    return ''
  letters = 0
  scripts: Counter[str] = Counter()
  for character, count in Counter(text).items():
    if not character.isalpha():
      continue
    letters += count
    if not character.isascii():
      # The first word of a letter's name is its script: CYRILLIC SMALL LETTER A.
      scripts[unicodedata.name(character, '').partition(' ')[0]] += count
  kana = sum(scripts[script] for script in _KANA)
  han = sum(scripts[script] for script in _HAN)
  # A Japanese sentence has all of them. Counted apart, now one and now the other has the most, or
  # none has half.
  if kana and kana >= _JAPANESE * (kana + han):
    for script in (*_KANA, *_HAN):
      del scripts[script]
    scripts['JAPANESE'] = kana + han
  for script, count in scripts.most_common(1):
    if script != 'LATIN' and count >= _MAIN_SCRIPT * letters:
      return script.capitalize()
  return ''
