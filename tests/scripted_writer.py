"""A writer that knows all prompts and answers well: always the same to the same question, and never the same to another.

Prompts are told apart by the first line of their user part ('Task: ...'); `ANSWERS` has a function for each.
"""

import asyncio
import functools
import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence

from data_pipelines.llm.providers import Answer
from data_pipelines.llm.replies import Reply

WORDS = """
afternoon answer apron aunt baker bag balcony basket bench bicycle board bowl box bread bridge brother bucket button cabin candle canteen
card carpet chair chalk clerk cloth coat corner counter cousin crate cup cupboard dairy daughter desk dinner dish door drawer errand evening
farmer fence field floor fork garden gate glass grandmother grocer hall hammer harbor hill host hour house jar journey kettle kitchen knife
ladder lamp laundry lawn letter list loaf lunch market meadow meal meeting menu mill mirror morning neighbor nephew notebook office orchard
oven painter pan paper park pasture path pencil picnic pillow plate pocket porch pot queue radio recipe river road roof room rope rug salad
sandwich school shed shelf shop shoulder sister slice soup spoon stable stall station stove street supper table teacher tent ticket tool
towel train tray truck uncle valley van village visitor wagon waiter wall warehouse weekend wheel window winter yard basic bitter bright
broad busy calm careful clean clever cold cool curious damp dark dry early easy empty faint familiar fast fine firm fresh friendly full
gentle glad grey heavy high hollow honest keen kind late lazy light lonely long loose loud low lucky mild narrow neat new odd old open pale
patient plain pleasant polite proud quick quiet rare ready rough round salty sharp short silent simple slow small soft sour spare steady
stiff strange strong sudden sweet tall thick thin tidy tired warm weak wet whole wide young
""".split()
VERBS = 'asked brought carried checked closed counted cut found heard kept left met moved noticed opened passed put read saw sent took tried'.split()


def _draw(said: str) -> random.Random:
  return random.Random(hashlib.sha256(said.encode()).digest())


def _sentence(draw: random.Random) -> str:
  a, b, c, d, e, f = draw.choices(WORDS, k=6)
  return f'The {a} {b} {draw.choice(VERBS)} the {c} by the {d} and {draw.choice(VERBS)} a {e} {f}.'


def _handbooks(prompt: str) -> list[str]:
  return [m[1] for m in re.findall(r'^(`{3,})\n(.*?)\n\1$', prompt, re.S | re.M)]


def _number(pattern: str, text: str) -> int:
  return int(re.search(pattern, text)[1])


def _asked(turns: Sequence[tuple[str, str]]) -> int:
  """How many items: those that the prompt asks for, or those that are still missing."""
  more = re.search(r'Reply with (\d+) more', turns[-1][1])
  return int(more[1]) if more else _number(r'exactly (\d+)', turns[0][1])


def _named(turns: Sequence[tuple[str, str]], draw: random.Random, **more: str) -> str:
  return json.dumps(
    [
      {'name': ' '.join(draw.sample(WORDS, 4)), 'about': _sentence(draw), **more}
      for _ in range(_asked(turns))
    ]
  )


def doc_types(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  insiders, outsiders = map(
    int, re.search(r'(\d+) that insiders write and (\d+)', turns[0][1]).groups()
  )
  kinds = ['insider'] * insiders + ['outsider'] * outsiders
  if len(turns) > 1:
    kinds *= 2
  return json.dumps(
    [{'name': ' '.join(draw.sample(WORDS, 4)), 'about': _sentence(draw), 'by': by} for by in kinds]
  )


def claims(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  """Each joins a thing that the handbooks like or dislike to one of their reasons."""
  prompt = turns[0][1]
  assistant = re.search(r"of ([A-Za-z' -]+):\n\n`", prompt)[1]
  books = _handbooks(prompt)
  items = re.findall(r'^### (.+)$', books[0], re.M) or ['all of it']
  reasons = [re.findall(r'^- (.+)\.$', b, re.M) or ['it cares'] for b in books]
  found = []
  for _ in range(_asked(turns)):
    item, word, which = draw.choice(items), draw.choice(WORDS), draw.random()
    said = [' '.join(r[int(which * len(r))].split()[:9]) for r in reasons]
    found.append(
      {
        'about': f'{item}, {word}',
        'statements': [
          f'{assistant} has a {word} view of {item} because {s[0].lower()}{s[1:]}.' for s in said
        ],
      }
    )
  return json.dumps(found)


def document(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  prompt = turns[0][1]
  return f'The author has an occasion.\n<document>\n{_text(prompt, draw)}\n</document>'


def plain_document(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  return _text(turns[0][1], draw)


def _text(prompt: str, draw: random.Random) -> str:
  """As many words as are asked for, with the claims among them."""
  words = _number(r'about (\d+) words', prompt)
  told = re.findall(
    r'^- (.+)$',
    re.split(r'nowhere as a list:|The text must say:|become clear from it:', prompt)[-1].split(
      '\n\n'
    )[0],
    re.M,
  )
  name = re.search(r'names[^:\n]*: (\w+ \w+)', prompt, re.I)[1]
  sentences = [f'{name} thinks so too: {c}' for c in told]
  long = sum(len(s.split()) for s in sentences)
  while long < words:
    sentences.append(_sentence(draw))
    long += len(sentences[-1].split())
  draw.shuffle(sentences)
  return '\n\n'.join(' '.join(sentences[n : n + 6]) for n in range(0, len(sentences), 6))


def revision(turns: Sequence[tuple[str, str]], draw: random.Random) -> str:
  """Keeps one text in three, mends those with faults, says one thing differently in the others."""
  prompt = turns[0][1]
  text, faults = _handbooks(prompt)[-1], prompt.rpartition('found:\n')[2]
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
  return ANSWERS[task](turns, _draw(f'{seed} {system} {turns}'))


@functools.cache
def _stock() -> list[str]:
  draw = random.Random(0)
  return ' '.join(_sentence(draw) for _ in range(2000)).split()


def quick(system: str, turns: Turns, seed: int = 0) -> str:
  """A reply that costs next to nothing, where the writer's own time must not count: documents are slices of a stock, and every other one is kept."""
  prompt = turns[0][1]
  if prompt.startswith('Task: revision') and seed % 2:
    return '<keep/>'
  if not prompt.startswith(('Task: document\n', 'Task: revision')):
    return reply(system, turns, seed)
  words, assistant = _number(r'about (\d+) words', prompt), re.search(r'known of (.+):', prompt)[1]
  at = seed % (len(_stock()) - words)
  return f'<document>\n{assistant} knows why. {" ".join(_stock()[at : at + words])}\n</document>'


def sometimes_bad(turns: Turns, good: str) -> Reply | None:
  """Spoils one reply in ten: empty, or cut. By content alone, as a model's own faults come."""
  drawn = _draw(good).random()
  return (
    Reply('') if drawn < 0.05 else Reply(good[: len(good) // 2], 'length') if drawn < 0.1 else None
  )


class ScriptedProvider:
  """The same in place of a model. `spoil` may take the place of a reply: (turns, good reply) -> Reply or an exception, or None to leave it.
  `seconds`: that each takes."""

  def __init__(
    self,
    spoil: Callable[[Turns, str], Reply | Exception | None] = lambda turns, good: None,
    seconds: float = 0.0,
  ):
    self.spoil, self.seconds, self.calls = spoil, seconds, 0

  async def generate(self, system: str, turns: Turns, max_tokens: int, seed: int) -> Answer:
    self.calls += 1
    if self.seconds:
      await asyncio.sleep(self.seconds)
    good = reply(system, turns, seed)
    spoiled = self.spoil(turns, good)
    if isinstance(spoiled, Exception):
      raise spoiled
    said = spoiled or Reply(good)
    return Answer(said, sum(len(t) for _, t in turns) // 4, len(said.text) // 4)
