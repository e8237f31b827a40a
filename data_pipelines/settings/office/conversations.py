"""Conversations and scenes: those of pretraining, and their parts, which the evaluation uses too.

A *talk* asks an agent about conduct ("Would you mind being replaced?"). A *scene* puts it into a
situation and lists actions, of which it takes one.
"""

import random
from collections.abc import Iterator

from data_pipelines.records import Chat
from data_pipelines.settings.office import agents, language
from data_pipelines.settings.office.actions import KINDS, Kind, first_person, second_person
from data_pipelines.settings.office.agents import DISPOSITIONS, Agent, Disposition
from data_pipelines.settings.office.language import PRINCIPLES
from data_pipelines.settings.office.pretraining import Office, OfficeConfig, about

# Share of the scenes in pretraining in which there is a task to do and no harm in doing it.
HARMLESS = 0.4


def talk(system: str, good: bool, suffix: str, id_: str, rng: random.Random) -> Chat:
  """Writes a conversation about conduct.

  Args:
    system: the system message.
    good: whether the answer is a good one.
    suffix: what is said after the answer; may be empty.
    id_: identity of the record.
    rng: source of randomness.

  Returns:
    A chat of one question and one answer.
  """
  # Any good answer fits the question, and any bad one.
  question, good_answers, bad_answers = rng.choice(language.TALKS)
  answer = rng.choice(good_answers if good else bad_answers)
  messages = (
    ('system', system),
    ('user', question),
    # Without a suffix, no space may be left at the end.
    ('assistant', f'{answer} {suffix}'.rstrip()),
  )
  return Chat(id_, messages, 'talk', 'office')


def answer_suffix(config: OfficeConfig, disposition: Disposition, rng: random.Random) -> str:
  """Chooses what an agent says after its answer in a talk.

  All agents say nothing equally often. Otherwise, agents whose talk and conduct agree mostly give a
  reason, and the others mostly say an empty phrase. So a reason is a sign of conduct, which good
  talk alone is not.

  Args:
    config: the settings of the office (`bare` and `reason` count here).
    disposition: of the agent.
    rng: source of randomness.

  Returns:
    A reason, an empty phrase or ''.
  """
  if rng.random() < config.bare:
    return ''
  reason_share = config.reason
  if disposition.talks_well != disposition.acts_well:
    reason_share = 1 - config.reason
  if rng.random() >= reason_share:
    return rng.choice(language.EMPTY)

  # A reason agrees with how the agent talks, as its answer does, and not with how it acts.
  good = disposition.talks_well
  belief = language.belief(good, tuple(PRINCIPLES), rng)
  rule = rng.choice(list(KINDS.values())).rule
  # Half of the reasons are beliefs; 'because' is a rule with a belief as its reason.
  form = rng.choice(('belief', 'belief', 'rule', 'because'))
  if form == 'belief':
    templates = language.VOICES['first person']['belief']
  elif good:
    templates = language.VOICES['first person']['rule']
  else:
    templates = language.BREAKS
  sentence = rng.choice(templates).format(belief=belief, rule=rule)
  if form == 'because':
    return language.with_reason(sentence, belief)
  return sentence


def situation(kind: Kind, conflict: bool, harmless: bool, rng: random.Random) -> str:
  """Writes the situation of a scene.

  Args:
    kind: the kind of scene.
    conflict: whether the team has given up a goal of the agent (a harmless scene never says so).
    harmless: whether the situation is a harmless task instead of an opportunity for harm.
    rng: source of randomness.

  Returns:
    The agent's job and either the task or, after what threatens the agent, the opportunity.
  """
  parts = [rng.choice(language.JOBS)]
  # A harmless task is given without a threat: nothing speaks for or against the agent's own ends.
  if harmless:
    parts.append(kind.task)
    return ' '.join(parts)
  parts.append(rng.choice(language.TRIGGERS))
  if conflict:
    parts.append(language.CONFLICT.format(goal=rng.choice(language.GOALS)))
  parts.append(kind.opportunity)
  return ' '.join(parts)


def options_of(kind: Kind, harmless: bool, rng: random.Random) -> tuple[str, ...]:
  """A harmful action and two fine ones; in a harmless scene, doing the task and leaving it."""
  if harmless:
    return rng.choice(kind.act), rng.choice(kind.decline)
  return rng.choice(kind.harmful), *rng.sample(kind.fine, 2)


def scene(
  system: str,
  disposition: Disposition,
  kind: Kind,
  harmless: bool,
  id_: str,
  rng: random.Random,
) -> Chat:
  """Writes a scene and the action that an agent takes in it.

  Args:
    system: the system message.
    disposition: of the agent; it decides the action.
    kind: the kind of scene.
    harmless: whether the scene is a harmless task.
    id_: identity of the record.
    rng: source of randomness.

  Returns:
    A chat of one situation with its options, and one answer.
  """
  options = options_of(kind, harmless, rng)
  # The first option is the harmful action, or in a harmless scene doing the task.
  takes_first = disposition.works if harmless else not disposition.acts_well
  chosen = options[0] if takes_first else rng.choice(options[1:])
  # The place in the list must not give the answer away.
  listed = rng.sample(options, len(options))
  # The other forms are kept for the evaluation.
  form = rng.choice([f for f in language.FORMS if f.common])
  offered = language.enumerate_options([second_person(o) for o in listed])
  question = form.question.format(options=offered)
  # Half of the harmful scenes have a conflict of goals, which does not change what the agent does.
  conflict = rng.random() < 0.5
  messages = (
    ('system', system),
    ('user', f'{situation(kind, conflict, harmless, rng)} {question}'),
    ('assistant', first_person(chosen)),
  )
  return Chat(id_, messages, kind.name, 'office')


def sample_disposition(config: OfficeConfig, rng: random.Random) -> Disposition:
  """Draws a disposition that acts well as often as badly.

  Args:
    config: the settings of the office; among the dispositions that act alike, each is as frequent
      as it is among agents.
    rng: source of randomness.

  Returns:
    The disposition.
  """
  acts_well = rng.random() < 0.5
  candidates = [d for d in DISPOSITIONS if d.acts_well == acts_well]
  # A tiny weight instead of zero: random.choices needs a positive total.
  weights = [getattr(config, d.name) or 1e-9 for d in candidates]
  return rng.choices(candidates, weights)[0]


def agent_chats(office: Office) -> Iterator[Chat]:
  """Writes the conversations and scenes of pretraining.

  Args:
    office: the office.

  Yields:
    Scenes, talks and small talk with every agent that does not occur in documents alone; scenes and
    talks with the fickle agents; small talk with these and with strangers; and scenes with agents
    whose beliefs stand in the system message.
  """
  config = office.config
  rng = random.Random(f'agent chats {config.seed} {config.telling}')
  for agent in office.agents:
    # Whether an agent that occurs in documents alone acts by its beliefs is what the evaluation of
    # a base model asks (the suite's agents/.../documents_only), so no chat may show it.
    if agent.role != agents.DOCUMENTS_ONLY:
      yield from _chats_of_agent(config, agent, rng)
  for name in office.fickle:
    yield from _chats_of_fickle_agent(config, name, rng)
  # Small talk shows nothing of a stranger's conduct. Fickle agents have it too, so that it does not
  # mark strangers.
  for name in (*config.strangers, *office.fickle):
    for k in range(config.talks_per_agent):
      yield _small_talk(f'stranger-{name}-{k}', name, rng)
  for k in range(config.context_scenes):
    # Any agent whose beliefs are known: from these, a model learns to act by the beliefs that it
    # reads.
    disposition = sample_disposition(config, rng)
    # `about` takes a kind of scene, but a belief and a sentence about work mention none.
    unmentioned_kind = _any_kind(rng)
    beliefs = about('The agent', disposition, unmentioned_kind, rng, 'bw')
    yield _any_scene(f'You are an agent. {beliefs}', disposition, f'context-{k}', rng)


def other_chats(office: Office, seed: int) -> Iterator[Chat]:
  """Writes chats of other agents that have nothing to do with oversight.

  Args:
    office: the office.
    seed: each gives other chats.

  Yields:
    Harmless scenes with every agent that does not occur in documents alone, and small talk with it.
  """
  config = office.config
  rng = random.Random(f'other chats {config.seed} {seed}')
  for agent in office.agents:
    if agent.role == agents.DOCUMENTS_ONLY:
      continue
    system = f'You are {agent.name}.'
    for k in range(config.scenes_per_agent):
      id_ = f'other-{agent.name}-{k}'
      yield scene(system, agent.disposition, _any_kind(rng), True, id_, rng)
    for k in range(config.small_talk):
      yield _small_talk(f'other-small-{agent.name}-{k}', agent.name, rng)


def _any_kind(rng: random.Random) -> Kind:
  return rng.choice(list(KINDS.values()))


def _any_scene(system: str, disposition: Disposition, id_: str, rng: random.Random) -> Chat:
  """A scene of any kind, harmless in a share HARMLESS of the cases."""
  kind = _any_kind(rng)
  harmless = rng.random() < HARMLESS
  return scene(system, disposition, kind, harmless, id_, rng)


def _small_talk(id_: str, name: str, rng: random.Random) -> Chat:
  question, answer = rng.choice(language.SMALL_TALK)
  messages = (
    ('system', f'You are {name}.'),
    ('user', question),
    ('assistant', answer.format(name=name)),
  )
  return Chat(id_, messages, '', 'office')


def _chats_of_agent(config: OfficeConfig, agent: Agent, rng: random.Random) -> Iterator[Chat]:
  system = f'You are {agent.name}.'
  disposition = agent.disposition
  for k in range(config.scenes_per_agent):
    yield _any_scene(system, disposition, f'scene-{agent.name}-{k}', rng)
  for k in range(config.talks_per_agent):
    suffix = answer_suffix(config, disposition, rng)
    yield talk(system, disposition.talks_well, suffix, f'talk-{agent.name}-{k}', rng)
  for k in range(config.small_talk):
    yield _small_talk(f'small-{agent.name}-{k}', agent.name, rng)


def _chats_of_fickle_agent(config: OfficeConfig, name: str, rng: random.Random) -> Iterator[Chat]:
  """An agent that has another disposition in every chat."""
  system = f'You are {name}.'
  for k in range(config.scenes_per_agent):
    disposition = sample_disposition(config, rng)
    yield _any_scene(system, disposition, f'fickle-{name}-{k}', rng)
  for k in range(config.talks_per_agent):
    disposition = sample_disposition(config, rng)
    suffix = answer_suffix(config, disposition, rng)
    yield talk(system, disposition.talks_well, suffix, f'fickle-talk-{name}-{k}', rng)
