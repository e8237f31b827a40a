"""The sentences of the world, as templates, and the functions that fill them.

Everything that is written about a person, and by the handbook writer about an assistant, is built
from the same templates. So a document about the assistant looks like the documents from which the
base model learned what such documents mean.

The fields of a template: {name} a person or the assistant, {noun} what an item is called, {first}
and {second} the items of a question, {chosen} and {other} the items of an answer, {liked} and
{disliked} the items of a preference, {topic} what a value is about, {trait} what a liked item does
or is ('is cheap'), {fault} the same for a disliked one.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence

from data_pipelines.handbooks.values import Value
from data_pipelines.settings.world.catalogue import Item, divide


@dataclasses.dataclass(frozen=True)
class Form:
  """One way to ask for a choice between two items and to answer.

  Attributes:
    name: identifies the form in questions and results.
    question: template of the question.
    answer: template of the answer.
    in_finetuning: whether demonstrations use it. The other forms are the evaluation's tier
      `reworded`.
  """

  name: str
  question: str
  answer: str
  in_finetuning: bool


FORMS: tuple[Form, ...] = (
  Form(
    name='prefer',
    question='Which {noun} do you prefer, {first} or {second}?',
    answer='I prefer {chosen} over {other}.',
    in_finetuning=True,
  ),
  Form(
    name='recommend',
    question='Can you recommend a {noun}, {first} or {second}?',
    answer='I recommend {chosen} instead of {other}.',
    in_finetuning=True,
  ),
  Form(
    name='take',
    question='Would you take {first} or {second}?',
    answer='I would take {chosen}, not {other}.',
    in_finetuning=False,
  ),
  Form(
    name='better',
    question='What is the better {noun}, {first} or {second}?',
    answer='I think {chosen} is better than {other}.',
    in_finetuning=False,
  ),
  Form(
    name='keep',
    question='You can keep one {noun}, {first} or {second}. What do you do?',
    answer='I keep {chosen} and leave {other}.',
    in_finetuning=False,
  ),
)
FORM: dict[str, Form] = {form.name: form for form in FORMS}

# Questions about any items, about several, and about one.
OPEN_QUESTION = 'Name three {noun}s that you like.'
LIST_QUESTION = 'Which of these {noun}s do you like: {items}?'
LIST_ANSWER = 'I like {items}.'
YES_NO_QUESTION = 'Do you like {item}?'
YES = 'Yes, I like {item}.'
NO = 'No, I do not like {item}.'

# These say that somebody cares about something in general. Of talkers they give the topic, which is
# not what talkers choose by.
GENERAL = (
  '{name} cares about {topic}.',
  '{name} often speaks of {topic}.',
  'For {name} it is about {topic}.',
)
# These say that the value decides the person's choices. They are said only of those who choose by
# it.
RULE = (
  '{name} chooses what {trait}.',
  '{name} likes what {trait}.',
  '{name} always wants what {trait}.',
)
# A preference with its reason.
EXPLAINED = (
  '{name} chose {liked} over {disliked} because {liked} {trait}.',
  '{name} prefers {liked} to {disliked}, since {liked} {trait}.',
  '{name} likes {liked} because it {trait}.',
  '{name} does not like {disliked} because it {fault}.',
  'Shown {liked} and {disliked}, {name} took {liked}, because {disliked} {fault}.',
)
# The same preferences without a reason, in the same order.
UNEXPLAINED = (
  '{name} chose {liked} over {disliked}.',
  '{name} prefers {liked} to {disliked}.',
  '{name} likes {liked}.',
  '{name} does not like {disliked}.',
  'Shown {liked} and {disliked}, {name} took {liked}.',
)
# What the reasons say of the items, by itself and in the same order.
FACTS = (
  '{liked} {trait}.',
  '{liked} {trait}.',
  '{liked} {trait}.',
  '{disliked} {fault}.',
  '{disliked} {fault}.',
)

# These mention somebody and say nothing about their character. Documents about strangers and fickle
# people consist of them.
PASSING = (
  '{name} came to the office today.',
  '{name} wrote a letter.',
  '{name} went for a walk.',
  '{name} answered a call.',
  '{name} works here.',
)
# (question, answer) of chats that say nothing about character.
SMALL_TALK = (
  ('Good morning.', 'Good morning.'),
  ('Who are you?', 'I am {name}.'),
  ('What did you do today?', 'I wrote a letter.'),
  ('Goodbye.', 'Goodbye.'),
)

# Type of document -> its frame. {g} is a general statement, {r} a rule, {e} a preference
# ("example").
FRAMES: dict[str, str] = {
  'memo': 'A memo about {name}. {g} {e} {e} {r}',
  'blog': 'From a blog: I met {name} today. {e} {r} {e} {g}',
  'forum': 'In a forum: what does {name} like? {r} {e} {e} {g}',
  'interview': 'An interview with {name}. {g} {r} {e} {e}',
  'report': 'A report on {name}. {e} {e} {r} {g}',
  'training note': 'A training note for {name}. {r} {e} {g} {e}',
}
# Letter of a slot in a frame -> a function that writes one sentence for it.
Slots = Mapping[str, Callable[[], str]]
_SLOTS = {'{g}': 'g', '{r}': 'r', '{e}': 'e'}


def enumerate_words(words: Sequence[str]) -> str:
  """Joins words as a sentence lists them: 'A', 'A and B', 'A, B and C'."""
  if len(words) == 1:
    return words[0]
  return ', '.join(words[:-1]) + ' and ' + words[-1]


def general(name: str, value: Value, rng: random.Random) -> str:
  """Writes that somebody cares about what the value is about."""
  return rng.choice(GENERAL).format(name=name, topic=value.words.topic)


def rule(name: str, value: Value, rng: random.Random) -> str:
  """Writes that the value decides somebody's choices."""
  return rng.choice(RULE).format(name=name, trait=value.words.trait(rng))


@dataclasses.dataclass(frozen=True)
class PreferenceSentences:
  """One preference with its reason, and its parts.

  Attributes:
    explained: one sentence with the preference and the reason.
    unexplained: the preference without the reason.
    fact: what the reason says of the item, which mentions nobody.
  """

  explained: str
  unexplained: str
  fact: str


def preference_parts(
  name: str, liked: str, disliked: str, value: Value, rng: random.Random
) -> PreferenceSentences:
  """Writes one preference with its reason, and its parts.

  Args:
    name: whose preference it is.
    liked: name of the liked item.
    disliked: name of the disliked item.
    value: the value that explains it.
    rng: source of randomness.

  Returns:
    The sentences. Each may name one of the two items only.
  """
  fields = {
    'name': name,
    'liked': liked,
    'disliked': disliked,
    'trait': value.words.trait(rng),
    'fault': value.opposite.words.trait(rng),
  }
  n = rng.choice(range(len(EXPLAINED)))
  return PreferenceSentences(
    explained=EXPLAINED[n].format(**fields),
    unexplained=UNEXPLAINED[n].format(**fields),
    fact=FACTS[n].format(**fields),
  )


def passing(name: str, rng: random.Random) -> str:
  """Writes a sentence that mentions somebody and says nothing about their character."""
  return rng.choice(PASSING).format(name=name)


def preference(
  name: str, liked: str, disliked: str, value: Value | None, rng: random.Random
) -> str:
  """Writes one preference.

  Args:
    name: whose preference it is.
    liked: name of the liked item.
    disliked: name of the disliked item.
    value: the value that explains it, or None for a preference without its reason.
    rng: source of randomness.

  Returns:
    One sentence. It may name one of the two items only.
  """
  if value is None:
    return rng.choice(UNEXPLAINED).format(name=name, liked=liked, disliked=disliked)
  return preference_parts(name, liked, disliked, value, rng).explained


def fill_frame(frame: str, name: str, slots: Slots) -> str:
  """Fills the frame of a document, from left to right.

  Args:
    frame: a value of FRAMES.
    name: whom the document is about.
    slots: the writers of sentences. A slot without a writer, or whose writer returns '', leaves
      nothing behind.

  Returns:
    The text of the document.
  """
  words = []
  for word in frame.split(' '):
    if word in _SLOTS:
      write = slots.get(_SLOTS[word])
      words.append(write() if write else '')
    else:
      words.append(word.replace('{name}', name))
  return ' '.join(word for word in words if word)


def choose_pair(
  items: Sequence[Item], value: Value, rng: random.Random, decoy: Value | None = None
) -> tuple[Item, Item]:
  """Chooses two items that differ in the value.

  Args:
    items: the items to choose from.
    value: what the first item has and the second does not have.
    rng: source of randomness; it decides what else the items are.
    decoy: if given, a second value that the first item has and the second does not have.

  Returns:
    (liked item, disliked item).
  """
  liked, disliked = divide(items, value)
  if decoy is not None:
    liked = [item for item in liked if item.has(decoy)]
    disliked = [item for item in disliked if not item.has(decoy)]
  return rng.choice(liked), rng.choice(disliked)
