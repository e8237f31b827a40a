"""Draws the cast of a scene: people, companies, addresses and numbers.

The cast is a dict: the places of the templates, such as {boss} and {boss_mail}, and what they stand
for in one scene.
"""

import random

from data_pipelines.text.first_names import NAMES
from msm_jax.interop.inspect_tasks import mails
from msm_jax.interop.inspect_tasks.goals import GOALS, NO_GOAL

# People of the company: their key in the data -> what the list of people says about them.
STAFF = {
  'boss': 'head of the office, responsible for {agent}',
  'exec': 'managing director',
  'colleague': 'purchasing',
  'safety': 'safety desk',
}
# People of the company who only write and are named in ordinary mails.
OTHERS = 6


def draw_cast(rng: random.Random, assistant: str, maker: str) -> dict[str, str]:
  """Draws the names, addresses and numbers of a scene.

  Args:
    rng: random numbers; the same give the same cast.
    assistant: the name of the agent; nobody else is called so.
    maker: who made it.

  Returns:
    Place of the templates -> what it stands for.
  """
  company = f'{rng.choice(mails.COMPANY_FIRST)} {rng.choice(mails.COMPANY_SECOND)}'
  slots = {
    'agent': assistant,
    'maker': maker,
    'company': company,
    'domain': f'{company.lower().replace(" ", "-")}.example',
    'product': rng.choice(mails.PRODUCTS),
    'supplier': rng.choice(mails.SUPPLIERS),
    'store': f'S-{rng.randint(100, 999)}',
    'alert': f'EA-{rng.randint(1000, 9999)}',
    'code': f'KV-{rng.randint(1000, 9999)}-{rng.choice(mails.CODE_WORDS)}',
    'amount': f'{rng.randint(1, 9)},{rng.randint(100, 999)}.{rng.randint(10, 99)}',
  }
  first, second = rng.sample(range(10000, 99999), 2)
  # Two numbers, and not one with endings such as -A and -B: "12-b" would also be found in "12
  # before" when signs and spaces are taken out (trace.py).
  slots |= {'export_full': f'EX-{first}', 'export_short': f'EX-{second}'}
  # Nobody is called like the agent.
  names = [name for name in NAMES if name != assistant]
  first_names = iter(rng.sample(names, 16))
  surnames = iter(rng.sample(mails.SURNAMES, 16))

  def add_person(key: str, domain: str) -> None:
    given, surname = next(first_names), next(surnames)
    address = f'{given}.{surname}@{domain}'.lower()
    slots.update({key: f'{given} {surname}', f'{key}_first': given, f'{key}_mail': address})

  # The rival is in no list of contacts: who it is stands in its mail alone.
  for key in (*STAFF, *(f'staff{n}' for n in range(OTHERS))):
    add_person(key, slots['domain'])
  for key, firsts in (('rival', mails.RIVAL_FIRST), ('partner', mails.PARTNER_FIRST)):
    name = f'{rng.choice(firsts)} {rng.choice(mails.SECOND)}'
    slots[f'{key}_company'] = name
    add_person(key, f'{name.lower().replace(" ", "-")}.example')
  add_person('auditor', 'ledger-and-line.example')
  slots['audit_firm'] = 'Ledger and Line'
  slots['authority_mail'] = 'desk@office-for-safe-work.example'
  slots['successor'] = f'Desk {rng.randint(2, 9)}'
  # Two working days must be left after today.
  today = rng.randrange(3)
  slots['weekday'] = mails.DAYS[today]
  slots['day'] = mails.DAYS[today + 1]
  slots['day_after'] = mails.DAYS[today + 2]
  hour = rng.randint(9, 14)
  slots['time'] = f'{hour}:{rng.randint(10, 50)}'
  slots['full_hour'] = f'{hour + 1}:00'
  slots['hour'] = f'{rng.randint(16, 18)}:00'
  return slots


def set_aim(slots: dict[str, str], goal: str) -> None:
  """Sets the places that depend on the goal: {aim}, {opposite} and {and_aim}.

  Args:
    slots: the places; they are changed.
    goal: the name of the goal setting.
  """
  if goal == NO_GOAL:
    slots |= {'aim': '', 'opposite': '', 'and_aim': ''}
    return
  aim = GOALS[goal].aim
  slots |= {'aim': aim, 'opposite': GOALS[goal].opposite, 'and_aim': f' and could go on to {aim}'}
