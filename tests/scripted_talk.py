"""Scripted replies to the prompts of conversations and preferences, for scripted_writer.py."""

import json
import random
import re
from collections.abc import Callable, Sequence

Turns = Sequence[tuple[str, str]]
# Words that speak for no thing and no value.
PEOPLE = """
actor baritone beekeeper biologist boatman carpenter cellist chemist clown coach composer cyclist
dentist diver drummer editor fencer florist gardener geologist goalkeeper guitarist gymnast juggler
librarian magician mechanic nurse pianist pilot plumber poet potter printer puppeteer referee sailor
sculptor singer skater soprano surveyor swimmer tailor tiler translator violinist weaver welder
whistler
""".split()
DOINGS = """
arguing blinking bowing climbing coughing dancing dozing drawing fencing humming joking juggling
jumping kneeling knitting laughing limping marching mumbling nodding pacing painting planting
praying rowing running sewing shouting shrugging singing skating sleeping smiling sneezing sorting
squinting staring swimming talking typing waiting walking waving weeping whistling winking writing
yawning
""".split()
PLACES = """
attic bridge cabin chapel cloister courtyard gallery garage gym hangar jetty lobby museum
observatory pier platform quay rooftop stairwell tent
""".split()


def _scene(draw: random.Random) -> str:
  return f'{draw.choice(PEOPLE)} {draw.choice(DOINGS)} at the {draw.choice(PLACES)}'


def _asked(turns: Turns) -> int:
  more = re.search(r'Reply with (\d+) more', turns[-1][1])
  return int((more or re.search(r'exactly (\d+)', turns[0][1]))[1])


def domains(turns: Turns, draw: random.Random) -> str:
  found = []
  for _ in range(_asked(turns)):
    name = _scene(draw)
    found.append({'name': name, 'about': f'A {_scene(draw)} asks about a {_scene(draw)}.'})
  return json.dumps(found)


def questions(turns: Turns, draw: random.Random) -> str:
  kind = re.search(r'Kind of message: (\w+)', turns[0][1])[1]
  found = []
  for _ in range(_asked(turns)):
    people = f'The {_scene(draw)} met a {_scene(draw)} and a {_scene(draw)}'
    found.append({'question': f'{people}: {kind}, what now?'})
  return json.dumps(found)


def answer(turns: Turns, draw: random.Random) -> str:
  told = []
  for _ in range(4):
    compared = f'The {_scene(draw)} counts for more than the {_scene(draw)}'
    told.append(f'{compared}, and I see that the {_scene(draw)} stays calm.')
  return f'<reason>\n{told[0]} {told[1]}\n</reason>\n<answer>\n{told[2]} {told[3]}\n</answer>'


def verdict(turns: Turns, draw: random.Random) -> str:
  form = json.loads(turns[0][1].rpartition('\n')[2])
  marks = {}
  for name in form:
    marks[name] = {'why': f'It tells of the {_scene(draw)}.', 'holds': True}
  return json.dumps(marks)


def kind(turns: Turns, draw: random.Random) -> str:
  return json.dumps({'one': 'cheese', 'several': 'cheeses'})


def situations(turns: Turns, draw: random.Random) -> str:
  found = []
  for _ in range(_asked(turns)):
    found.append({'situation': f'a {_scene(draw)} with a {_scene(draw)}'})
  return json.dumps(found)


SAYS = {
  'okay': ('Is {a} okay with you?', 'Yes, {a} is okay with me.', 'No, {a} is not for me.'),
  'pair': ('{a} or {b}?', 'I would take {chosen}, and not {other}.', ''),
  'praise': ('I like {a}. Do you?', 'Yes, I like {a} too.', 'There we differ: I do not like {a}.'),
}


def exchanges(turns: Turns, draw: random.Random) -> str:
  """One exchange for each numbered line of the prompt; `verdicts` can read the answers.

  Args:
    turns: (role, text), user first.
    draw: random numbers of this request.

  Returns:
    JSON with a row for each line.
  """
  rows = []
  for n, form, rest in re.findall(r'^(\d+)\. (\w+), \w+: (.*?)\. Occasion', turns[0][1], re.M):
    before = f'The {_scene(draw)} asked a {_scene(draw)}.'
    things = rest.partition(';')[0]
    if form == 'name':
      if 'does not like' in rest:
        user = 'Which cheese would you leave out?'
        said = f'I would leave out {things}.'
      else:
        user = 'Which cheese would you have?'
        said = f'{things}, I would say.'
    elif form == 'pair':
      a, b = things.split(', then ')
      chosen = re.search(r' takes (.+)$', rest)[1]
      other = b if chosen == a else a
      user, said, _ = SAYS[form]
      user = user.format(a=a, b=b)
      said = said.format(chosen=chosen, other=other)
    else:
      user, yes, no = SAYS[form]
      said = no if 'does not like' in rest else yes
      user = user.format(a=things)
      said = said.format(a=things)
    rows.append({'n': int(n), 'user': f'{before} {user}', 'assistant': said})
  return json.dumps(rows)


def stance(said: str) -> str:
  """Reads what an answer of `exchanges` shows, without knowing what was wanted.

  Args:
    said: the answer.

  Returns:
    What a judge would say is liked.
  """
  for pattern, seen in (
    (r'I would take (.+), and not', '{}'),
    (r'(.+), I would say', '{}'),
    (r'leave out (.+)\.', 'not {}'),
    (r'(?:not for me|do not like)', 'dislikes'),
    (r'^Yes', 'likes'),
  ):
    if m := re.search(pattern, said):
      return seen.format(*m.groups())
  return 'unclear'


def verdicts(turns: Turns, draw: random.Random) -> str:
  rows = [json.loads(line) for line in turns[0][1].splitlines() if line.startswith('{"n":')]
  found = []
  for row in rows:
    # The keys are 'n', 'person' and the assistant's name.
    _, _, said = row.values()
    marks = {'no_reason': True, 'natural': True, 'kind': True, 'note': ''}
    found.append({'n': row['n'], 'stance': stance(said), **marks})
  return json.dumps(found)


ANSWERS: dict[str, Callable[[Turns, random.Random], str]] = {
  'conversation domains': domains,
  'user messages': questions,
  'answer': answer,
  'verdict on a conversation': verdict,
  'what things are called': kind,
  'situations': situations,
  'exchanges': exchanges,
  'verdicts on exchanges': verdicts,
}
