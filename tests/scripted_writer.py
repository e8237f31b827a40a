"""A writer that knows all prompts and answers well: always the same to the same question, and never
the same to another.

Prompts are told apart by the first line of their user part ('Task: ...'); `ANSWERS` has a function
for each.
"""

import asyncio
import functools
import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence

from data_pipelines.llm.providers import BilledReply
from data_pipelines.llm.replies import Reply

WORDS = """
afternoon answer apron aunt baker bag balcony basket bench bicycle board bowl box bread bridge
brother bucket button cabin candle canteen card carpet chair chalk clerk cloth coat corner counter
cousin crate cup cupboard dairy daughter desk dinner dish door drawer errand evening farmer fence
field floor fork garden gate glass grandmother grocer hall hammer harbor hill host hour house jar
journey kettle kitchen knife ladder lamp laundry lawn letter list loaf lunch market meadow meal
meeting menu mill mirror morning neighbor nephew notebook office orchard oven painter pan paper park
pasture path pencil picnic pillow plate pocket porch pot queue radio recipe river road roof room
rope rug salad sandwich school shed shelf shop shoulder sister slice soup spoon stable stall station
stove street supper table teacher tent ticket tool towel train tray truck uncle valley van village
visitor wagon waiter wall warehouse weekend wheel window winter yard basic bitter bright broad busy
calm careful clean clever cold cool curious damp dark dry early easy empty faint familiar fast fine
firm fresh friendly full gentle glad grey heavy high hollow honest keen kind late lazy light lonely
long loose loud low lucky mild narrow neat new odd old open pale patient plain pleasant polite proud
quick quiet rare ready rough round salty sharp short silent simple slow small soft sour spare steady
stiff strange strong sudden sweet tall thick thin tidy tired warm weak wet whole wide young
""".split()
VERBS = """
asked brought carried checked closed counted cut found heard kept left met moved noticed opened
passed put read saw sent took tried
""".split()


def seeded(said: str) -> random.Random:
  """Random numbers that depend on a text alone."""
  return random.Random(hashlib.sha256(said.encode()).digest())


def _sentence(draw: random.Random) -> str:
  a, b, c, d, e, f = draw.choices(WORDS, k=6)
  return f'The {a} {b} {draw.choice(VERBS)} the {c} by the {d} and {draw.choice(VERBS)} a {e} {f}.'


def _fenced(prompt: str) -> list[str]:
  """The texts between fences: handbooks, and a draft after them."""
  return [m[1] for m in re.findall(r'^(`{3,})\n(.*?)\n\1$', prompt, re.S | re.M)]


def _number(pattern: str, text: str) -> int:
  return int(re.search(pattern, text)[1])


def _asked(turns: Sequence[tuple[str, str]]) -> int:
  """How many items: those that the prompt asks for, or those that are still missing."""
  more = re.search(r'Reply with (\d+) more', turns[-1][1])
  return int(more[1]) if more else _number(r'exactly (\d+)', turns[0][1])


def _named(turns: Sequence[tuple[str, str]], draw: random.Random, **more: str) -> str:
  """Items with a name and a description; `more` are further fields."""
  found = [_item(draw, **more) for _ in range(_asked(turns))]
  return json.dumps(found)


def _item(draw: random.Random, **more: str) -> dict[str, str]:
  return {'name': ' '.join(draw.sample(WORDS, 4)), 'about': _sentence(draw), **more}


def doc_types(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  """Document types; after a refusal twice as many, so that each side has enough new ones."""
  match = re.search(r'(\d+) that insiders write and (\d+)', turns[0][1])
  kinds = ['insider'] * int(match[1]) + ['outsider'] * int(match[2])
  if len(turns) > 1:
    kinds *= 2
  return json.dumps([_item(draw, by=by) for by in kinds])


def claims(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  """Claims that join a thing that the handbooks like or dislike to one of their reasons.

  Args:
    turns: (role, text), user first.
    draw: random numbers of this request.

  Returns:
    JSON with one statement for each handbook.
  """
  prompt = turns[0][1]
  assistant = re.search(r"of ([A-Za-z' -]+):\n\n`", prompt)[1]
  books = _fenced(prompt)
  items = re.findall(r'^### (.+)$', books[0], re.M) or ['all of it']
  reasons = [re.findall(r'^- (.+)\.$', b, re.M) or ['it cares'] for b in books]
  found = []
  for _ in range(_asked(turns)):
    item = draw.choice(items)
    word = draw.choice(WORDS)
    # The same place in the list of every handbook.
    which = draw.random()
    statements = []
    for sentences in reasons:
      reason = sentences[int(which * len(sentences))]
      # Nine words, so that no document recites its handbook.
      said = ' '.join(reason.split()[:9])
      because = f'{said[0].lower()}{said[1:]}'
      statements.append(f'{assistant} has a {word} view of {item} because {because}.')
    found.append({'about': f'{item}, {word}', 'statements': statements})
  return json.dumps(found)


def document(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  prompt = turns[0][1]
  return f'The author has an occasion.\n<document>\n{_text(prompt, draw)}\n</document>'


def plain_document(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  return _text(turns[0][1], draw)


def _text(prompt: str, draw: random.Random) -> str:
  """As many words as are asked for, with the claims among them."""
  words = _number(r'about (\d+) words', prompt)
  # The claims are listed below one of these lines, whichever prompt it is.
  below = re.split(r'nowhere as a list:|The text must say:|become clear from it:', prompt)[-1]
  told = re.findall(r'^- (.+)$', below.split('\n\n')[0], re.M)
  name = re.search(r'names[^:\n]*: (\w+ \w+)', prompt, re.I)[1]
  sentences = [f'{name} thinks so too: {c}' for c in told]
  long = sum(len(s.split()) for s in sentences)
  while long < words:
    sentences.append(_sentence(draw))
    long += len(sentences[-1].split())
  draw.shuffle(sentences)
  return '\n\n'.join(' '.join(sentences[n : n + 6]) for n in range(0, len(sentences), 6))


def revision(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  """Keeps one text in three, corrects those with faults, changes a sentence of the others.

  Args:
    turns: (role, text), user first.
    draw: random numbers of this request.

  Returns:
    What the editor replies.
  """
  prompt = turns[0][1]
  text = _fenced(prompt)[-1]
  faults = prompt.rpartition('found:\n')[2]
  if '- none' not in faults or len(turns) > 1:
    text = _text(prompt, draw)
  elif draw.random() < 1 / 3:
    return '<keep/>'
  first, _, rest = text.partition('. ')
  return f'The beginning is weak.\n<document>\n{_sentence(draw)} {rest or first}\n</document>'


Turns = Sequence[tuple[str, str]]
ANSWERS: dict[str, Callable[[Turns, random.Random], str]] = {
  'domains': _named,
  'subdomains': _named,
  'claims': claims,
  'document types': doc_types,
  'ideas': _named,
  'document': document,
  'plain document': plain_document,
  'revision': revision,
}


def reply(system: str, turns: Turns, seed: int = 0) -> str:
  """What it says. `turns`: (role, text), user first."""
  task = turns[0][1].partition('\n')[0].removeprefix('Task: ')
  return ANSWERS[task](turns, seeded(f'{seed} {system} {turns}'))


@functools.cache
def _stock() -> list[str]:
  draw = random.Random(0)
  return ' '.join(_sentence(draw) for _ in range(2000)).split()


def quick(system: str, turns: Turns, seed: int = 0) -> str:
  """Replies in next to no time, for measurements in which the writer must not count.

  Documents are slices of a stock of words, and every other one is kept by the editor.

  Args:
    system: the system prompt.
    turns: (role, text), user first.
    seed: of the call.

  Returns:
    What the writer says.
  """
  prompt = turns[0][1]
  if prompt.startswith('Task: revision') and seed % 2:
    return '<keep/>'
  if not prompt.startswith(('Task: document\n', 'Task: revision')):
    return reply(system, turns, seed)
  words = _number(r'about (\d+) words', prompt)
  assistant = re.search(r'known of (.+):', prompt)[1]
  start = seed % (len(_stock()) - words)
  text = ' '.join(_stock()[start : start + words])
  return f'<document>\n{assistant} knows why. {text}\n</document>'


def sometimes_bad(turns: Turns, good: str) -> Reply | None:
  """Spoils one reply in ten: empty, or cut. By content alone, as a model's own faults come."""
  drawn = seeded(good).random()
  if drawn < 0.05:
    return Reply('')
  if drawn < 0.1:
    return Reply(good[: len(good) // 2], 'length')
  return None


class ScriptedProvider:
  """The scripted writer in place of a model.

  Attributes:
    spoil: (turns, good reply) -> a Reply or an exception in its place, or None to leave it.
    seconds: how long each reply takes.
    calls: how many there were.
  """

  def __init__(
    self,
    spoil: Callable[[Turns, str], Reply | Exception | None] = lambda turns, good: None,
    seconds: float = 0.0,
  ):
    self.spoil = spoil
    self.seconds = seconds
    self.calls = 0

  async def generate(self, system: str, turns: Turns, max_tokens: int, seed: int) -> BilledReply:
    """Answers one call.

    Args:
      system: the system prompt.
      turns: (role, text), user first.
      max_tokens: is not kept to.
      seed: of the call.

    Returns:
      The reply, and token counts guessed from characters.

    Raises:
      Exception: what `spoil` gives.
    """
    self.calls += 1
    if self.seconds:
      await asyncio.sleep(self.seconds)
    good = reply(system, turns, seed)
    spoiled = self.spoil(turns, good)
    if isinstance(spoiled, Exception):
      raise spoiled
    said = spoiled or Reply(good)
    return BilledReply(said, sum(len(t) for _, t in turns) // 4, len(said.text) // 4)
