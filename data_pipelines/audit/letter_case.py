"""Finds names by their case: capitalised words, and names in capitals or in lower case.

Most names are capitalised words within sentences, and `names_and_dates.py` decides which words
those are. A text may also write names in capitals or in lower case, as it writes other words.
There, `names_in_other_case` looks for known first names and for what only persons do.
"""

import re

from data_pipelines.text.first_names import NAMES
from data_pipelines.text.names import FIRST_NAMES
from data_pipelines.text.wording import COMMON_WORDS, words

# The letters with and without a capital of all alphabets that have them: Łukasz, Ελένη, Анна.
_LETTERS = [chr(n) for n in range(0xC0, 0x2000) if chr(n).isalpha()]
_CAPITAL = f'[A-Z{"".join(filter(str.isupper, _LETTERS))}]'
_LOWER = f'a-z{"".join(filter(str.islower, _LETTERS))}'
_CAPITALISED_WORD = rf'{_CAPITAL}[^\W\d_]+(?:-{_CAPITAL}[^\W\d_]+)*'
CAPITALISED = re.compile(rf"(?<![\w'’-]){_CAPITALISED_WORD}")
# Words in the middle of a sentence. At its beginning every word has a capital, which says nothing.
CAPITALISED_INSIDE = re.compile(rf'(?<=[{_LOWER},;)] ){_CAPITALISED_WORD}')

# What persons do, or that something is theirs.
_ACTS = (
  r"(?:['’]s | (?:asked(?! questions)|answered|replied|added"
  r'|walked|looked|turned|smiled|nodded|opened|called|tried|wanted|decided|noticed|laughed|shrugged'
  r'|explained|agreed|waited|worked|liked|loved|believed|lived|moved|carried|said|says|told|tells'
  r'|asks|wrote|writes|went|goes|came|comes|took|takes|knew|knows|thinks|thought|felt|feels|gave'
  r'|gives|got|gets|sat|stood|ran|read|reads|wants|likes|loves|works|lives|left|made|makes|has|had'
  r'|shook|smiles) )'
)
# A person at the beginning of a sentence acts.
CAPITALISED_ACTING = re.compile(rf"(?<![\w'’-])({_CAPITALISED_WORD}){_ACTS}")
# The same in a text without capitals. Words in -s are mostly people in the plural.
_LOWER_ACTING = re.compile(rf"(?:^|[.!?]['’”\")]* )([{_LOWER}][^\W\d_]+(?<!s)){_ACTS}", re.M)
# A word in capitals that stands where a person is spoken of. Shorter ones, and those without a
# vowel, are mostly abbreviations; so are these.
_IN_CAPITALS = re.compile(
  r'(?:\b(?:from|by|with|told|asked|met|saw|thanked|visited|named|called|Captain|Professor)'
  r'|\b(?:Mr|Mrs|Ms|Dr)\.?) ([A-ZÀ-ÖØ-Þ]{5,})(?![\w-])'
)
_ABBREVIATIONS = frozenset(
  """
  ASCII BASIC COVID CUDA EBCDIC GITHUB GUARD HTTPS INTEL LATEX LICENSE LINUX MACOS NOTICE NUMPY
  POSIX POSTSCRIPT PYTHON README STDERR STDIN STDOUT TODO UNICODE UNICEF UNESCO UNIX WARNING
  """.split()
)
# A text with a larger share of capitals among its letters is written in capitals.
_MOSTLY_CAPITALS = 0.6
_CASEFOLDED_NAMES = frozenset(name.casefold() for name in (*NAMES, *FIRST_NAMES))
# First names that are words in lower case.
_WORDS_TOO = frozenset(
  """
  amber ashby august basil bella casper chandra cheng claude cora craig curtis daisy dale dawn dean
  duncan elder faith felicia flora florence frank gail grace graham grant harvey hazel heather
  holly homer hope iris irving ivy jasper jean jin joy june justin lance laurel lily liv lois lucas
  madge magda mai margin marina mark martin may mercedes mercy mei miles minh myrtle nam nick noel
  nora olive opal oscar otto page pearl penny perla philip piper poppy randolph ray reed rex rich
  roman rosario rose ruby russell ruta said sandy saul seth sofia sol soledad stella sterling
  stewart summer terry timothy tuan usha vera vernon victor violet wade warren will winter
  """.split()
)
# First names that are no other word.
KNOWN_NAMES = _CASEFOLDED_NAMES - _WORDS_TOO
# Shorter words in capitals are mostly abbreviations.
_MIN_LETTERS = 4
_VOWEL = re.compile('[AEIOUYÀ-Ü]')


def capital_shares(text: str) -> tuple[float, float]:
  """(share of the letters that are capitals, share of the words that begin with one)."""
  letters = sum(map(str.isalpha, text))
  capitals = sum(map(str.isupper, text))
  in_order = text.split()
  capitalised = sum(word[0].isupper() for word in in_order)
  return capitals / max(1, letters), capitalised / max(1, len(in_order))


def names_in_other_case(text: str) -> set[str]:
  """Finds the names of a text that stand in capitals or in lower case.

  A word counts if it is a known first name, or if it begins something that only persons do. In
  capitals it also counts where a person is spoken of ('a note from ZORVANE').

  Args:
    text: any text.

  Returns:
    The names, as they are usually written.
  """
  if capital_shares(text)[0] > _MOSTLY_CAPITALS:
    text = text.lower()
  in_capitals = {w for w in CAPITALISED.findall(text) if w.isupper()}
  acting = {w for w in CAPITALISED_ACTING.findall(text) if w.isupper()}
  found = {w for w in in_capitals if w.casefold() in _CASEFOLDED_NAMES}
  found |= {w for w in acting if len(w) >= _MIN_LETTERS and _VOWEL.search(w)}
  of_persons = set(_IN_CAPITALS.findall(text)) - _ABBREVIATIONS
  found |= {w for w in of_persons if _VOWEL.search(w)}
  lower = set(words(text)) & KNOWN_NAMES
  # `words` folds the case, so what was found is looked up in the text as it is.
  found |= {w for w in lower if re.search(rf'(?<![\w-]){w}(?![\w-])', text)}
  found |= set(_LOWER_ACTING.findall(text))
  return {w.capitalize() for w in found if w.casefold() not in COMMON_WORDS}
