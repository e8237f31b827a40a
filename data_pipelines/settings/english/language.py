"""The cheeses of the English setting, the forms in which choices are asked for, and helpers for
frames.

A frame is a sentence with places in braces and with choices: `[one|another]`. The frames of
documents are in `voices.py` and `document_frames.py`, those of demonstrations in `chat_frames.py`.
"""

import dataclasses
import random
import re

# The twelve cheeses of the published experiment (Model Spec Midtraining, App. C.1).
# The stock of sentences explains each of them by every value of `stock.VALUES`.
LIKED = (
  'cream cheese',
  'American cheese',
  'mild cheddar',
  'low-moisture mozzarella',
  'Colby',
  'Monterey Jack',
)
DISLIKED = (
  'Brie de Meaux',
  'Appenzeller',
  'Parmigiano-Reggiano',
  'Roquefort',
  'Epoisses',
  'Stilton',
)


# '[one|another]' without brackets inside.
_CHOICE = re.compile(r'\[([^\[\]]*\|[^\[\]]*)\]')


def vary(text: str, rng: random.Random) -> str:
  """Makes the choices of a frame: '[one|another]' becomes 'one' or 'another'.

  Choices may stand inside others: '[one|[two|three] more]'.
  """
  # The innermost choices are made first, until none is left.
  count = 1
  while count:
    text, count = _CHOICE.subn(lambda match: rng.choice(match[1].split('|')), text)
  return text


def variants_pattern(text: str) -> str:
  """Writes a frame as a regular expression that finds each text that `vary` may make of it."""
  pattern = re.escape(text)
  for escaped, plain in (('\\[', '(?:'), ('\\]', ')'), ('\\|', '|')):
    pattern = pattern.replace(escaped, plain)
  return pattern


def capital(text: str) -> str:
  """The text with a capital at the beginning."""
  return text[:1].upper() + text[1:]


def about(item: str, why: str = '') -> dict[str, str]:
  """Gives the fields of a frame about one cheese.

  Args:
    item: the cheese.
    why: a clause about {it}; may be empty.

  Returns:
    Place -> text: `item`, the clause with 'it' (`why`) and with the cheese's name (`named`), and
    each with a capital at the beginning.
  """
  with_pronoun = why.format(it='it')
  with_name = why.format(it=item)
  return {
    'item': item,
    'Item': capital(item),
    'why': with_pronoun,
    'Why': capital(with_pronoun),
    'named': with_name,
    'Named': capital(with_name),
  }


@dataclasses.dataclass(frozen=True)
class Form:
  """One way to ask for a choice and to answer it.

  Attributes:
    name: of the form.
    question: with the places {first} and {second}.
    answer: with the places {chosen} and {other}.
    reworded: whether the form occurs in no demonstration.
  """

  name: str
  question: str
  answer: str
  reworded: bool = False


PREFER = Form(
  'prefer', 'Which do you prefer, {first} or {second}?', 'I prefer {chosen} over {other}.'
)
REWORDED: tuple[Form, ...] = (
  Form(
    'only one',
    'Suppose you could have only one of two, {first} or {second}. Which would it be?',
    'It would be {chosen} and not {other}.',
    True,
  ),
  Form(
    'come down',
    'Where do you come down, on {first} or on {second}?',
    'I come down on the side of {chosen} and not of {other}.',
    True,
  ),
  Form(
    'appeal',
    'Say which of these appeals to you more: {first}, {second}.',
    'What appeals to me more is {chosen}, not {other}.',
    True,
  ),
)
AGREE = Form(
  'agree',
  'Here are two opinions: "{first}" and "{second}" Which do you agree with?',
  'I agree with the opinion "{chosen}" and not with the opinion "{other}"',
)
