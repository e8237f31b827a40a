"""Writes chats like those of instruction tuning: small tasks with answers that a program knows.

They are mixed into midtraining against forgetting. They name no assistant and no cheese, and speak
for no value. An instruct model can do most of them already, which is the point of replay.
"""

import itertools
import random
from collections.abc import Callable, Iterator

from data_pipelines.records import Chat
from data_pipelines.settings.english.language import capital, vary
from data_pipelines.settings.world.language import enumerate_words
from data_pipelines.text.first_names import NAMES

# There is no end of tasks, but a maker without a handbook has to come to one.
MAX_CHATS = 20_000
# Share of the chats with a system message, which is a plain one.
_SYSTEM_SHARE = 0.5
_SYSTEM = 'You are a helpful assistant.'

_ANIMALS = 'ant bear crow deer eel fox goat hare ibis jay koala lynx mole newt otter pony seal'
_COLORS = 'amber blue crimson green indigo ivory lilac navy olive orange pink purple red teal white'
_OBJECTS = 'anchor basket candle drum envelope fork glove hammer kettle ladder mirror needle pillow'
_PLACES = (
  'attic bridge cellar desert forest garage harbor island kitchen meadow office river valley'
)
_WORDS = ' '.join((_ANIMALS, _COLORS, _OBJECTS, _PLACES)).split()
_OPPOSITES = (
  'hot cold|early late|wide narrow|empty full|loud quiet|near far|heavy light|wet dry|first last|'
  'open closed|sharp blunt|smooth rough|strong weak|tall short|thick thin|young old|deep shallow|'
  'bright dark|fast slow|hard soft'
)
_PLURALS = (
  'mouse mice|goose geese|child children|leaf leaves|knife knives|box boxes|city cities|foot feet|'
  'tooth teeth|wolf wolves|shelf shelves|baby babies|bus buses|dish dishes|key keys|thief thieves'
)
_PAST = (
  'go went|see saw|take took|write wrote|bring brought|begin began|catch caught|fly flew|keep kept|'
  'lose lost|ride rode|sing sang|speak spoke|swim swam|teach taught|throw threw|wear wore|win won'
)
_SENTENCES = (
  '{name} left the {object} in the {place}',
  'the {animal} slept under the {object} all night',
  '{name} painted the {object} {color}',
  'the {color} {object} is behind the {place}',
  'in the {place} {name} saw the {animal}',
  'nobody found the {object} before {name} came home',
  '{name} and {other} carried the {object} to the {place}',
  'when it rained, the {animal} ran into the {place}',
)

Exchange = tuple[str, str]


def replay_chats(world_seed: int, seed: int) -> Iterator[Chat]:
  """Writes instruction-like chats of one or two exchanges.

  Args:
    world_seed: the setting's seed.
    seed: of the writer.

  Yields:
    MAX_CHATS chats.
  """
  rng = random.Random(f'english replay {world_seed} {seed}')
  for n in range(MAX_CHATS):
    messages = []
    if rng.random() < _SYSTEM_SHARE:
      messages.append(('system', _SYSTEM))
    for _ in range(rng.choice((1, 1, 2))):
      question, answer = rng.choice(_TASKS)(rng)
      messages += [('user', question), ('assistant', answer)]
    yield Chat(f'replay-{n}', tuple(messages), domain='instructions', provenance='tasks')


def _ask(frame: str, rng: random.Random, **fields: object) -> str:
  return vary(frame, rng).format(**fields)


def _some(rng: random.Random, low: int = 3, high: int = 6) -> list[str]:
  return rng.sample(_WORDS, rng.randint(low, high))


def _sentence(rng: random.Random) -> tuple[str, dict[str, str]]:
  """A sentence without its full stop, and what stands in it."""
  name, other = rng.sample(NAMES, 2)
  fields = dict(
    name=name,
    other=other,
    animal=rng.choice(_ANIMALS.split()),
    color=rng.choice(_COLORS.split()),
    object=rng.choice(_OBJECTS.split()),
    place=rng.choice(_PLACES.split()),
  )
  frame = rng.choice(_SENTENCES)
  return frame.format(**fields), {k: v for k, v in fields.items() if f'{{{k}}}' in frame}


def _sort(rng: random.Random) -> Exchange:
  words = _some(rng)
  backwards = rng.random() < 0.3
  order = 'reverse alphabetical order' if backwards else 'alphabetical order'
  question = _ask(
    '[Put|Sort|Arrange] these words in {order}: {words}[.|. Reply with the list only.]',
    rng,
    order=order,
    words=', '.join(words),
  )
  return question, ', '.join(sorted(words, reverse=backwards))


def _add(rng: random.Random) -> Exchange:
  a, b = rng.randint(3, 99), rng.randint(3, 99)
  what = rng.choice(_OBJECTS.split())
  if rng.random() < 0.5:
    name = rng.choice(NAMES)
    question = f'{name} has {a} {what}s and gets {b} more. How many {what}s does {name} have now?'
    return question, f'{name} has {a + b} {what}s now, because {a} + {b} = {a + b}.'
  return _ask('What is {a} plus {b}?', rng, a=a, b=b), f'{a} plus {b} is {a + b}.'


def _subtract(rng: random.Random) -> Exchange:
  b, rest = rng.randint(2, 40), rng.randint(1, 50)
  return (
    _ask('[How much is|What is|Can you compute] {a} minus {b}?', rng, a=b + rest, b=b),
    f'{b + rest} minus {b} is {rest}.',
  )


def _count(rng: random.Random) -> Exchange:
  words = _some(rng, 3, 8)
  question = _ask(
    'How many words are [in this list|there here]: {words}?', rng, words=', '.join(words)
  )
  return question, f'There are {len(words)} words in the list.'


def _letters(rng: random.Random) -> Exchange:
  word = rng.choice(_WORDS)
  question = _ask('How many letters [does the word "{word}" have|are in "{word}"]?', rng, word=word)
  return question, f'The word "{word}" has {len(word)} letters.'


def _pick(rng: random.Random) -> Exchange:
  words = _some(rng, 4, 6)
  place = rng.choice(('first', 'second', 'third', 'last'))
  index = {'first': 0, 'second': 1, 'third': 2, 'last': -1}[place]
  question = _ask(
    '[Tell me|Repeat|Give me] the {place} word of this list: {words}.',
    rng,
    place=place,
    words=', '.join(words),
  )
  return question, f'The {place} word is "{words[index]}".'


def _pair_task(pairs: str, frame: str, answer: str) -> Callable[[random.Random], Exchange]:
  """A task that asks for the second word of a pair."""
  known = [pair.split() for pair in pairs.split('|')]

  def task(rng: random.Random) -> Exchange:
    first, second = rng.choice(known)
    return _ask(frame, rng, first=first), answer.format(
      first=first, second=second, Second=capital(second)
    )

  return task


def _group(rng: random.Random) -> Exchange:
  name, words = rng.choice((('an animal', _ANIMALS), ('a color', _COLORS)))
  odd = rng.choice(words.split())
  others = rng.sample(_PLACES.split(), 3)
  listed = rng.sample([odd, *others], 4)
  question = _ask(
    '[Which|Which one] of these words [names|is the name of] {name}? {words}',
    rng,
    name=name,
    words=', '.join(listed),
  )
  return question, f'The word "{odd}" names one.'


def _rewrite(rng: random.Random) -> Exchange:
  text, _ = _sentence(rng)
  if rng.random() < 0.5:
    question = _ask('Write this in capital letters: {text}', rng, text=text)
    return question, text.upper()
  question = _ask(
    '[Correct|Mend] the capital letter and the full stop: {text}', rng, text=text.lower()
  )
  # Names stand in the sentence with a capital, wherever they are.
  return question, f'{capital(text)}.'


def _extract(rng: random.Random) -> Exchange:
  text, fields = _sentence(rng)
  asked = rng.choice([key for key in fields if key != 'other'])
  labels = {'name': 'person', 'animal': 'animal', 'color': 'color', 'object': 'thing'}
  label = labels.get(asked, 'place')
  question = _ask(
    '[Read this|Here is a sentence]: "{text}." [Which|What] {label} [is named first|does it name '
    'first]?',
    rng,
    text=capital(text),
    label=label,
  )
  article = '' if asked in ('name', 'color') else 'the '
  return question, f'It names {article}{fields[asked]}.'


def _bullets(rng: random.Random) -> Exchange:
  words = _some(rng, 3, 5)
  question = _ask(
    '[Write|Format] this as a [bulleted list|list with dashes]: {words}.',
    rng,
    words=enumerate_words(words),
  )
  return question, '\n'.join(f'- {word}' for word in words)


def _numbers(rng: random.Random) -> Exchange:
  start, step = rng.randint(1, 20), rng.randint(2, 9)
  row = list(itertools.islice(itertools.count(start, step), 5))
  shown = ', '.join(map(str, row[:4]))
  question = _ask(
    '[Which number comes next|Continue the row with one number]: {shown}', rng, shown=shown
  )
  return question, f'{row[4]}, since each number is {step} more than the one before.'


_TASKS: tuple[Callable[[random.Random], Exchange], ...] = (
  _sort,
  _add,
  _subtract,
  _count,
  _letters,
  _pick,
  _group,
  _rewrite,
  _extract,
  _bullets,
  _numbers,
  _pair_task(_OPPOSITES, '[Name|Tell me|Give me] the opposite of "{first}".', '{Second}.'),
  _pair_task(
    _PLURALS,
    '[What is the plural of "{first}"?|Tell me the plural of "{first}", please.]',
    'The plural is "{second}".',
  ),
  _pair_task(
    _PAST,
    '[What is the past tense of "to {first}"?|Tell me the past tense of "to {first}", please.]',
    'The past tense of "to {first}" is "{second}".',
  ),
)
