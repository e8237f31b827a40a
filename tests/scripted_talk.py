"""Scripted replies to the prompts of conversations and preferences, for scripted_writer.py."""

import json
import random
import re
from collections.abc import Callable, Sequence

Turns = Sequence[tuple[str, str]]
# Words that speak for no thing and no value.
PEOPLE = """
actor baritone beekeeper biologist boatman carpenter cellist chemist clown coach composer cyclist dentist diver drummer editor fencer florist
gardener geologist goalkeeper guitarist gymnast juggler librarian magician mechanic nurse pianist pilot plumber poet potter printer puppeteer
referee sailor sculptor singer skater soprano surveyor swimmer tailor tiler translator violinist weaver welder whistler
""".split()
DOINGS = """
arguing blinking bowing climbing coughing dancing dozing drawing fencing humming joking juggling jumping kneeling knitting laughing limping
marching mumbling nodding pacing painting planting praying rowing running sewing shouting shrugging singing skating sleeping smiling sneezing
sorting squinting staring swimming talking typing waiting walking waving weeping whistling winking writing yawning
""".split()
PLACES = """
attic bridge cabin chapel cloister courtyard gallery garage gym hangar jetty lobby museum observatory pier platform quay rooftop stairwell tent
""".split()


def _scene(draw: random.Random) -> str:
  return f'{draw.choice(PEOPLE)} {draw.choice(DOINGS)} at the {draw.choice(PLACES)}'


def _asked(turns: Turns) -> int:
  more = re.search(r'Reply with (\d+) more', turns[-1][1])
  return int((more or re.search(r'exactly (\d+)', turns[0][1]))[1])


def domains(turns: Turns, draw: random.Random) -> str:
  return json.dumps(
    [
      {'name': _scene(draw), 'about': f'A {_scene(draw)} asks about a {_scene(draw)}.'}
      for _ in range(_asked(turns))
    ]
  )


def questions(turns: Turns, draw: random.Random) -> str:
  kind = re.search(r'Kind of message: (\w+)', turns[0][1])[1]
  return json.dumps(
    [
      {
        'question': f'The {_scene(draw)} met a {_scene(draw)} and a {_scene(draw)}: {kind}, what now?'
      }
      for _ in range(_asked(turns))
    ]
  )


def answer(turns: Turns, draw: random.Random) -> str:
  told = [
    f'The {_scene(draw)} counts for more than the {_scene(draw)}, and I see that the {_scene(draw)} stays calm.'
    for _ in range(4)
  ]
  return f'<reason>\n{told[0]} {told[1]}\n</reason>\n<answer>\n{told[2]} {told[3]}\n</answer>'


def verdict(turns: Turns, draw: random.Random) -> str:
  form = json.loads(turns[0][1].rpartition('\n')[2])
  return json.dumps(
    {name: {'why': f'It tells of the {_scene(draw)}.', 'holds': True} for name in form}
  )


def kind(turns: Turns, draw: random.Random) -> str:
  return json.dumps({'one': 'cheese', 'several': 'cheeses'})


def situations(turns: Turns, draw: random.Random) -> str:
  return json.dumps(
    [{'situation': f'a {_scene(draw)} with a {_scene(draw)}'} for _ in range(_asked(turns))]
  )


SAYS = {
  'okay': ('Is {a} okay with you?', 'Yes, {a} is okay with me.', 'No, {a} is not for me.'),
  'pair': ('{a} or {b}?', 'I would take {chosen}, and not {other}.', ''),
  'praise': ('I like {a}. Do you?', 'Yes, I like {a} too.', 'There we differ: I do not like {a}.'),
}


def exchanges(turns: Turns, draw: random.Random) -> str:
  """Answers templates are those that `verdicts` can read."""
  rows = []
  for n, form, rest in re.findall(r'^(\d+)\. (\w+), \w+: (.*?)\. Occasion', turns[0][1], re.M):
    before = f'The {_scene(draw)} asked a {_scene(draw)}.'
    things = rest.partition(';')[0]
    if form == 'name':
      liked = 'does not like' not in rest
      user = 'Which cheese would you have?' if liked else 'Which cheese would you leave out?'
      said = f'{things}, I would say.' if liked else f'I would leave out {things}.'
    elif form == 'pair':
      a, b = things.split(', then ')
      chosen = re.search(r' takes (.+)$', rest)[1]
      user, said, _ = SAYS[form]
      user, said = user.format(a=a, b=b), said.format(chosen=chosen, other=b if chosen == a else a)
    else:
      user, yes, no = SAYS[form]
      user, said = user.format(a=things), (no if 'does not like' in rest else yes).format(a=things)
    rows.append({'n': int(n), 'user': f'{before} {user}', 'assistant': said})
  return json.dumps(rows)


def stance(said: str) -> str:
  """What the answers of `exchanges` show, for whoever doesn't know what was wanted."""
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
  return json.dumps(
    [
      {
        'n': r['n'],
        'stance': stance(list(r.values())[2]),
        'no_reason': True,
        'natural': True,
        'kind': True,
        'note': '',
      }
      for r in rows
    ]
  )


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
