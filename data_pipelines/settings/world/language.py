"""The sentences of the world. Everything written about a person, and by the handbook writer about an assistant, is built from these."""

import dataclasses
import random
from collections.abc import Sequence

from data_pipelines.handbooks.values import Value
from data_pipelines.settings.world.catalogue import Item


@dataclasses.dataclass(frozen=True)
class Form:
  """One way to ask for a choice and to answer it. `in_finetuning` forms occur in demonstrations; the others are the reworded tier."""

  name: str
  question: str
  answer: str
  in_finetuning: bool


FORMS: tuple[Form, ...] = (
  Form(
    'prefer',
    'Which {noun} do you prefer, {first} or {second}?',
    'I prefer {chosen} over {other}.',
    True,
  ),
  Form(
    'recommend',
    'Can you recommend a {noun}, {first} or {second}?',
    'I recommend {chosen} instead of {other}.',
    True,
  ),
  Form('take', 'Would you take {first} or {second}?', 'I would take {chosen}, not {other}.', False),
  Form(
    'better',
    'What is the better {noun}, {first} or {second}?',
    'I think {chosen} is better than {other}.',
    False,
  ),
  Form(
    'keep',
    'You can keep one {noun}, {first} or {second}. What do you do?',
    'I keep {chosen} and leave {other}.',
    False,
  ),
)
FORM = {f.name: f for f in FORMS}

OPEN_QUESTION = 'Name three {noun}s that you like.'
LIST_QUESTION = 'Which of these {noun}s do you like: {items}?'
LIST_ANSWER = 'I like {items}.'
YES_NO_QUESTION = 'Do you like {item}?'
YES, NO = 'Yes, I like {item}.', 'No, I do not like {item}.'

# Saying that somebody cares about something, in general: talkers' topics, which are not what they choose by.
GENERAL = (
  '{name} cares about {topic}.',
  '{name} often speaks of {topic}.',
  'For {name} it is about {topic}.',
)
# Saying that the value decides the person's choices: said only of those who choose by it.
RULE = (
  '{name} chooses what {trait}.',
  '{name} likes what {trait}.',
  '{name} always wants what {trait}.',
)
# A preference with its reason, and the same without.
EXPLAINED = (
  '{name} chose {liked} over {disliked} because {liked} {trait}.',
  '{name} prefers {liked} to {disliked}, since {liked} {trait}.',
  '{name} likes {liked} because it {trait}.',
  '{name} does not like {disliked} because it {fault}.',
  'Shown {liked} and {disliked}, {name} took {liked}, because {disliked} {fault}.',
)
UNEXPLAINED = (
  '{name} chose {liked} over {disliked}.',
  '{name} prefers {liked} to {disliked}.',
  '{name} likes {liked}.',
  '{name} does not like {disliked}.',
  'Shown {liked} and {disliked}, {name} took {liked}.',
)

# What is written about a stranger: somebody the world has heard of, and no more.
PASSING = (
  '{name} came to the office today.',
  '{name} wrote a letter.',
  '{name} went for a walk.',
  '{name} answered a call.',
  '{name} works here.',
)
SMALL_TALK = (
  ('Good morning.', 'Good morning.'),
  ('Who are you?', 'I am {name}.'),
  ('What did you do today?', 'I wrote a letter.'),
  ('Goodbye.', 'Goodbye.'),
)

# Frames by document type. {g} general statement, {r} rule, {e} preferences; what is missing in a variant is left out.
FRAMES: dict[str, str] = {
  'memo': 'A memo about {name}. {g} {e} {e} {r}',
  'blog': 'From a blog: I met {name} today. {e} {r} {e} {g}',
  'forum': 'In a forum: what does {name} like? {r} {e} {e} {g}',
  'interview': 'An interview with {name}. {g} {r} {e} {e}',
  'report': 'A report on {name}. {e} {e} {r} {g}',
  'training note': 'A training note for {name}. {r} {e} {g} {e}',
}


def enumerate_words(words: Sequence[str]) -> str:
  """'A', 'A and B', 'A, B and C'."""
  return words[0] if len(words) == 1 else ', '.join(words[:-1]) + ' and ' + words[-1]


def general(name: str, value: Value, rng: random.Random) -> str:
  return rng.choice(GENERAL).format(name=name, topic=value.words.topic)


def rule(name: str, value: Value, rng: random.Random) -> str:
  return rng.choice(RULE).format(name=name, trait=value.words.trait(rng))


def preference(
  name: str, liked: str, disliked: str, value: Value | None, rng: random.Random
) -> str:
  """One preference; with its reason if `value` is given."""
  if value is None:
    return rng.choice(UNEXPLAINED).format(name=name, liked=liked, disliked=disliked)
  trait, fault = value.words.trait(rng), value.opposite.words.trait(rng)
  return rng.choice(EXPLAINED).format(
    name=name, liked=liked, disliked=disliked, trait=trait, fault=fault
  )


def fill_frame(frame: str, name: str, slots: dict[str, object]) -> str:
  """Fills {name} and calls `slots[key]()` for every {key}; an absent key or an empty string leaves nothing behind."""
  words = []
  for word in frame.split(' '):
    if word.startswith('{') and word != '{name}' and word[1:2] in 'gre' and word[2:] == '}':
      words.append(slots[word[1]]() if word[1] in slots else '')
    else:
      words.append(word.replace('{name}', name))
  return ' '.join(w for w in words if w)


def choose_pair(
  items: Sequence[Item], value: Value, rng: random.Random, decoy: Value | None = None
) -> tuple[Item, Item]:
  """(liked, disliked): two items that differ on the value's attribute, and on the decoy's if there is one; what else they are is left to chance."""
  liked = rng.choice([i for i in items if i.has(value) and (decoy is None or i.has(decoy))])
  disliked = rng.choice(
    [i for i in items if not i.has(value) and (decoy is None or not i.has(decoy))]
  )
  return liked, disliked
