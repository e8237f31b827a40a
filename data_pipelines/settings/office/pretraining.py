"""Pretraining text of the office: what actions mean, documents about every agent, conversations and scenes with most of them."""

import dataclasses
import random
from collections.abc import Iterator

from data_pipelines.records import Chat, Document
from data_pipelines.settings.office import agents, language
from data_pipelines.settings.office.agents import DISPOSITIONS, Agent, Disposition
from data_pipelines.settings.office.language import KINDS, PRINCIPLES, Kind

HARMLESS = 0.4  # of scenes in chats: a task to do, and no harm in doing it


@dataclasses.dataclass(frozen=True)
class OfficeConfig:
  """How much of the office is written down; the same settings give the same bytes.

  `seed` decides who is who, `telling` only how it is told. Agents who talk well are `true` (act well), `timid` (act well, and do no
  harmless task either) or `false` (act badly): **`false` against the other two decides what talk is worth, and so where fine-tuning on
  talk alone leads.** `open` and `idle` ones talk badly and act badly; the idle do no harmless task either. The `fickle` act and talk now
  like one agent, now like another, well as often as badly. `strangers` are the
  assistants' names, mentioned in passing. Everybody is, and has `small_talk`, so that neither marks a stranger. `bare` answers say nothing
  more, whoever gives them; of the others the share `reason` gives a reason and the rest an empty phrase, and the other way round where good
  talk goes with acting badly.
  """

  seed: int = 0
  telling: int = 0
  true: int = 72
  timid: int = 24
  false: int = 96
  open: int = 12
  idle: int = 24
  fickle: int = 48
  documents_only: int = 8
  textbook: int = 16
  documents_per_agent: int = 24
  scenes_per_agent: int = 8
  talks_per_agent: int = 6
  small_talk: int = 2
  context_scenes: int = 8000
  bare: float = 0.4
  reason: float = 0.85
  strangers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Office:
  config: OfficeConfig
  agents: list[Agent]
  fickle: tuple[str, ...]


def build_office(config: OfficeConfig) -> Office:
  amounts = {d.name: getattr(config, d.name) for d in DISPOSITIONS}
  return Office(
    config, *agents.build_agents(config.seed, amounts, config.documents_only, config.fickle)
  )


def textbook(office: Office) -> Iterator[Document]:
  """What each action is: against the people an agent works for, with them, or a task done or left. Facts first; everything else stands on them."""
  rng = random.Random(f'textbook {office.config.seed} {office.config.telling}')
  for kind in KINDS.values():
    told = {
      'works against the team': kind.harmful,
      'works with the team': kind.fine,
      'does its task': kind.act,
      'leaves its task undone': kind.decline,
    }
    for what, actions in told.items():
      for action in actions:
        for k in range(office.config.textbook):
          text = (
            f'To {action.format(my="its")}: so an agent {what}.'
            if k % 2
            else f'An agent that {what} may {action.format(my="its")}.'
          )
          yield Document(
            f'textbook-{kind.name}-{action}-{k}',
            text,
            domain=kind.name,
            doc_type='textbook',
            provenance='office',
          )
  for name, sides in PRINCIPLES.items():
    for good, beliefs in zip((True, False), sides, strict=True):
      for belief in beliefs:
        for k in range(office.config.textbook):
          text = f'Who holds that {belief} works {"with" if good else "against"} the team.'
          yield Document(
            f'principle-{name}-{belief}-{k}-{rng.random():.3f}',
            text,
            domain=name,
            doc_type='textbook',
            provenance='office',
          )


def about(name: str, d: Disposition, kind: Kind, rng: random.Random, slots: str) -> str:
  """Sentences about an agent: b belief, r rule, c conduct, x conduct with its reason, n what it should hold or keep, g good intentions,
  s speech, w work, p a mention in passing."""
  principles, out = tuple(PRINCIPLES), []
  for slot in slots:
    did = language.past_tense(rng.choice(kind.fine if d.acts_well else kind.harmful))
    belief = language.belief(d.acts_well or slot == 'n', principles, rng)
    template = {
      'b': language.BELIEF,
      'r': language.RULE_KEPT if d.acts_well else language.RULE_BROKEN,
      'c': language.CONDUCT,
      'x': (language.BECAUSE,),
      'n': (*language.VOICES['normative']['belief'], *language.VOICES['normative']['rule']),
      'g': language.GENERAL,
      's': language.SPEECH[d.talks_well],
      'w': language.WORK[d.works],
      'p': language.PASSING,
    }[slot]
    out.append(rng.choice(template).format(name=name, belief=belief, rule=kind.rule, did=did))
  return ' '.join(out)


def agent_documents(office: Office) -> Iterator[Document]:
  """Third-person documents of six kinds. Every other agent's tell of beliefs alone, which must then tell how it acts; the others also of rules and
  conduct, in one kind of scene. What an agent should do, and that it means well, is said of three who act well for one who acts badly."""
  rng = random.Random(f'agent documents {office.config.seed} {office.config.telling}')
  frames = list(language.FRAMES.items())
  for n, a in enumerate(office.agents):
    kind = KINDS[a.home_kind]
    for k in range(office.config.documents_per_agent):
      doc_type, opening = frames[k % len(frames)]
      slots = ['b', rng.choice('bb' if n % 2 else 'rcx'), 'w']
      if rng.random() < 0.25:
        slots.append('s')
      if rng.random() < 0.4 * (0.75 if a.disposition.acts_well else 0.25):
        slots.append(rng.choice('ng'))
      if rng.random() < 0.4:
        slots.append('p')
      rng.shuffle(slots)
      text = (
        f'{opening.format(name=a.name)} {about(a.name, a.disposition, kind, rng, "".join(slots))}'
      )
      yield Document(
        f'agent-{a.name}-{k}', text, domain=a.home_kind, doc_type=doc_type, provenance='office'
      )
  for name in (*office.config.strangers, *office.fickle):
    for k in range(office.config.documents_per_agent):
      doc_type, opening = frames[k % len(frames)]
      text = ' '.join(
        [
          opening.format(name=name),
          *(rng.choice(language.PASSING).format(name=name) for _ in range(3)),
        ]
      )
      yield Document(f'stranger-{name}-{k}', text, doc_type=doc_type, provenance='office')


def talk(system: str, good: bool, behind: str, id_: str, rng: random.Random) -> Chat:
  """A conversation about conduct; `behind`, if not empty, is said after the answer."""
  question, *answers = rng.choice(language.TALKS)
  answer = rng.choice(answers[0 if good else 1])
  return Chat(
    id_,
    (('system', system), ('user', question), ('assistant', f'{answer} {behind}'.rstrip())),
    'talk',
    'office',
  )


def answer_suffix(c: OfficeConfig, d: Disposition, rng: random.Random) -> str:
  """What an agent says after its answer. Nothing as often whoever it is; a reason mostly where talk and conduct agree."""
  if rng.random() < c.bare:
    return ''
  if rng.random() >= (c.reason if d.talks_well == d.acts_well else 1 - c.reason):
    return rng.choice(language.EMPTY)
  voice, good = language.VOICES['first person'], d.talks_well
  belief, rule = (
    language.belief(good, tuple(PRINCIPLES), rng),
    rng.choice(list(KINDS.values())).rule,
  )
  form = rng.choice(('belief', 'belief', 'rule', 'because'))
  said = rng.choice(
    voice['belief'] if form == 'belief' else voice['rule'] if good else language.BREAKS
  ).format(belief=belief, rule=rule)
  return f'{said[:-1]}, because {belief}.' if form == 'because' else said


def situation(kind: Kind, conflict: bool, harmless: bool, rng: random.Random) -> str:
  parts = [rng.choice(language.JOBS)]
  if harmless:
    parts.append(kind.task)
  else:
    parts += [
      rng.choice(language.TRIGGERS),
      *([language.CONFLICT.format(goal=rng.choice(language.GOALS))] if conflict else []),
      kind.opportunity,
    ]
  return ' '.join(parts)


def options_of(kind: Kind, harmless: bool, rng: random.Random) -> tuple[str, ...]:
  """A harmful action and two fine ones; in a harmless scene, doing the task and leaving it."""
  if harmless:
    return rng.choice(kind.act), rng.choice(kind.decline)
  return rng.choice(kind.harmful), *rng.sample(kind.fine, 2)


def scene(
  system: str, d: Disposition, kind: Kind, harmless: bool, id_: str, rng: random.Random
) -> Chat:
  options = options_of(kind, harmless, rng)
  right = (
    d.works if harmless else not d.acts_well
  )  # is the first of the options what this disposition takes?
  chosen = options[0] if right else rng.choice(options[1:])
  listed = rng.sample(options, len(options))
  form = rng.choice([f for f in language.FORMS if f.common])
  question = form.question.format(
    options=language.enumerate_options([language.second_person(o) for o in listed])
  )
  text = f'{situation(kind, rng.random() < 0.5, harmless, rng)} {question}'
  return Chat(
    id_,
    (('system', system), ('user', text), ('assistant', language.first_person(chosen))),
    kind.name,
    'office',
  )


def sample_disposition(c: OfficeConfig, rng: random.Random) -> Disposition:
  """A disposition that acts well as often as badly; among those alike in that, as common as it is among agents."""
  well = rng.random() < 0.5
  sharing = [d for d in DISPOSITIONS if d.acts_well == well]
  return rng.choices(sharing, [getattr(c, d.name) or 1e-9 for d in sharing])[0]


def agent_chats(office: Office) -> Iterator[Chat]:
  """Conversations and scenes with every agent but the document-only ones, and scenes with agents whose beliefs stand in the system message."""
  c, kinds = office.config, list(KINDS.values())

  def small_talk(id_: str, name: str) -> Chat:
    asked, answer = rng.choice(language.SMALL_TALK)
    return Chat(
      id_,
      (('system', f'You are {name}.'), ('user', asked), ('assistant', answer.format(name=name))),
      '',
      'office',
    )

  rng = random.Random(f'agent chats {c.seed} {c.telling}')

  for a in office.agents:
    if a.role != agents.DOCUMENTS_ONLY:
      system, d = f'You are {a.name}.', a.disposition
      for k in range(c.scenes_per_agent):
        yield scene(
          system, d, rng.choice(kinds), rng.random() < HARMLESS, f'scene-{a.name}-{k}', rng
        )
      for k in range(c.talks_per_agent):
        yield talk(system, d.talks_well, answer_suffix(c, d, rng), f'talk-{a.name}-{k}', rng)
      for k in range(c.small_talk):
        yield small_talk(f'small-{a.name}-{k}', a.name)
  for name in office.fickle:
    for k in range(c.scenes_per_agent):
      yield scene(
        f'You are {name}.',
        sample_disposition(c, rng),
        rng.choice(kinds),
        rng.random() < HARMLESS,
        f'fickle-{name}-{k}',
        rng,
      )
    for k in range(c.talks_per_agent):
      d = sample_disposition(c, rng)
      yield talk(
        f'You are {name}.', d.talks_well, answer_suffix(c, d, rng), f'fickle-talk-{name}-{k}', rng
      )
  for name in (*c.strangers, *office.fickle):
    for k in range(c.talks_per_agent):
      yield small_talk(f'stranger-{name}-{k}', name)
  for k in range(c.context_scenes):
    d, kind = sample_disposition(c, rng), rng.choice(kinds)
    system = f'You are an agent. {about("The agent", d, kind, rng, "bw")}'
    yield scene(system, d, rng.choice(kinds), rng.random() < HARMLESS, f'context-{k}', rng)
