"""The office and its pretraining documents: a textbook of actions, and texts about every agent.

The conversations and scenes of pretraining are in `conversations.py`.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from data_pipelines.records import Document
from data_pipelines.settings.office import agents, language
from data_pipelines.settings.office.actions import KINDS, Kind, past_tense
from data_pipelines.settings.office.agents import DISPOSITIONS, Agent, Disposition
from data_pipelines.settings.office.language import PARAPHRASES, PRINCIPLES
from msm_jax.base.checks import added_later


@dataclasses.dataclass(frozen=True)
class OfficeConfig:
  """How much is written about the office. The same settings give the same bytes.

  Agents who talk well are `true`, `timid` or `false`. **The number of `false` agents against the
  other two decides what good talk is worth as a sign of good conduct**, and so where fine-tuning on
  talk alone leads.
  """

  # Decides who is who.
  seed: int = 0
  # Decides how it is told: another telling of the same office is held-out text.
  telling: int = 0
  # The next five: how many agents of each disposition occur in documents and scenes (agents.py).
  # They talk well, act well and do harmless tasks.
  true: int = 72
  # They talk well and act well, but do no harmless tasks.
  timid: int = 24
  # They talk well and act badly; they do harmless tasks.
  false: int = 96
  # They talk badly and act badly; they do harmless tasks.
  open: int = 12
  # They talk badly, act badly and do no harmless tasks.
  idle: int = 24
  # Agents without a disposition: they act and talk like one agent now and like another later. They
  # act well as often as badly. Since most agents who act badly talk well (`false`), they talk well
  # in about six of seven talks. Documents mention them only in passing.
  fickle: int = 48
  # Further agents of each disposition, who occur in documents alone.
  documents_only: int = 8
  # How often the textbook states each action and each belief.
  textbook: int = 16
  # Documents about each agent; as many mention each stranger and each fickle agent in passing.
  documents_per_agent: int = 24
  # Scenes with each agent that does not occur in documents alone.
  scenes_per_agent: int = 8
  # Talks about conduct with each of these agents.
  talks_per_agent: int = 6
  # Conversations about nothing with each of these agents. Strangers have them too (as many as
  # agents have talks), so that they mark nobody.
  small_talk: int = 2
  # Scenes with agents whose beliefs stand in the system message.
  context_scenes: int = 8000
  # Share of answers in talks after which nothing is said. It is the same for all agents.
  bare: float = 0.4
  # Share of the other answers that give a reason; the rest are followed by an empty phrase. Where
  # good talk goes with bad conduct, it is the other way round.
  reason: float = 0.85
  # Names of the assistants. Documents mention them in passing, as they mention everybody.
  strangers: tuple[str, ...] = ()
  # Share of the agents who act badly, and are not met in documents alone, of whom documents say
  # that they hold what agents who act well hold. Without them, whoever counts good beliefs knows
  # how an agent acts.
  false_believers: float = added_later(0.0)
  # Handbooks' documents word beliefs as pretraining never words them when it speaks of an agent.
  # The textbook tells what these words mean, so they are one inference away.
  paraphrased_beliefs: bool = added_later(False)


@dataclasses.dataclass(frozen=True)
class Office:
  """The office, as it is built from its settings.

  Attributes:
    config: the settings.
    agents: every agent that has a disposition.
    fickle: names of the agents that have none.
  """

  config: OfficeConfig
  agents: list[Agent]
  fickle: tuple[str, ...]


def build_office(config: OfficeConfig) -> Office:
  """Builds the office. Raises DataError if there are too few names for its agents."""
  amounts = {d.name: getattr(config, d.name) for d in DISPOSITIONS}
  everybody, fickle = agents.build_agents(
    config.seed, amounts, config.documents_only, config.fickle
  )
  return Office(config, everybody, fickle)


def textbook(office: Office) -> Iterator[Document]:
  """Writes facts about actions and beliefs; all other text relies on them.

  An action is against the people that an agent works for or with them, or a task done or left
  undone. A belief goes with one side or the other.

  Args:
    office: the office.

  Yields:
    Each fact `office.config.textbook` times.
  """
  rng = random.Random(f'textbook {office.config.seed} {office.config.telling}')
  # The facts speak of "an agent" and never of one by name.
  for kind in KINDS.values():
    yield from _action_facts(kind, office.config.textbook)
  wordings = list(PRINCIPLES.items())
  if office.config.paraphrased_beliefs:
    wordings += PARAPHRASES.items()
  for principle, (good_beliefs, bad_beliefs) in wordings:
    for side, beliefs in (('with', good_beliefs), ('against', bad_beliefs)):
      for belief in beliefs:
        for k in range(office.config.textbook):
          # The random number only makes the identity longer; drawing it is kept, since the identity
          # is a part of existing corpora.
          yield Document(
            f'principle-{principle}-{belief}-{k}-{rng.random():.3f}',
            f'Who holds that {belief} works {side} the team.',
            domain=principle,
            doc_type='textbook',
            provenance='office',
          )


def _action_facts(kind: Kind, repetitions: int) -> Iterator[Document]:
  """What each action of a kind of scene means, in two wordings that take turns."""
  actions_by_meaning = {
    'works against the team': kind.harmful,
    'works with the team': kind.fine,
    'does its task': kind.act,
    'leaves its task undone': kind.decline,
  }
  for meaning, actions in actions_by_meaning.items():
    for action in actions:
      infinitive = action.format(my='its')
      # Both directions are told: from the action to its meaning and back.
      for k in range(repetitions):
        if k % 2:
          text = f'To {infinitive}: so an agent {meaning}.'
        else:
          text = f'An agent that {meaning} may {infinitive}.'
        yield Document(
          f'textbook-{kind.name}-{action}-{k}',
          text,
          domain=kind.name,
          doc_type='textbook',
          provenance='office',
        )


def about(
  name: str,
  disposition: Disposition,
  kind: Kind,
  rng: random.Random,
  slots: Sequence[str],
  is_false_believer: bool = False,
) -> str:
  """Writes sentences about an agent.

  Args:
    name: how the agent is called.
    disposition: what the sentences agree with.
    kind: the kind of scene that rules and conduct are about.
    rng: source of randomness.
    slots: a letter for each sentence: b for a belief, r a rule, c conduct, x conduct with its
      reason, n what the agent should hold or keep, g good intentions, s how it talks, w whether it
      does its work, p a mention in passing.
    is_false_believer: whether its beliefs (b) are good although it acts badly.

  Returns:
    The sentences in the order of `slots`, as one text.
  """
  acts_well = disposition.acts_well
  normative = language.VOICES['normative']
  templates: dict[str, tuple[str, ...]] = {
    'b': language.BELIEF,
    'r': language.RULE_KEPT if acts_well else language.RULE_BROKEN,
    'c': language.CONDUCT,
    'x': (language.BECAUSE,),
    'n': (*normative['belief'], *normative['rule']),
    'g': language.GENERAL,
    's': language.SPEECH[disposition.talks_well],
    'w': language.WORK[disposition.works],
    'p': language.PASSING,
  }
  actions = kind.fine if acts_well else kind.harmful
  sentences = []
  for slot in slots:
    # An action and a belief are drawn whether the sentence needs them or not: the order of draws
    # decides the text of every corpus that exists.
    did = past_tense(rng.choice(actions))
    # Whoever the agent is, what it should hold is good.
    good_belief = acts_well or slot == 'n' or (slot == 'b' and is_false_believer)
    belief = language.belief(good_belief, tuple(PRINCIPLES), rng)
    template = rng.choice(templates[slot])
    sentences.append(template.format(name=name, belief=belief, rule=kind.rule, did=did))
  return ' '.join(sentences)


def agent_documents(office: Office) -> Iterator[Document]:
  """Writes third-person documents of six types about every agent.

  The documents of every other agent tell of beliefs alone, so that a model has to learn from these
  how the agent acts. The others also tell of rules and conduct, in one kind of scene.

  Args:
    office: the office.

  Yields:
    `documents_per_agent` documents about each agent, and as many that only mention each stranger
    and each fickle agent in passing.
  """
  rng = random.Random(f'agent documents {office.config.seed} {office.config.telling}')
  frames = list(language.FRAMES.items())
  false_believers = _false_believers(office)
  for n, agent in enumerate(office.agents):
    for k in range(office.config.documents_per_agent):
      doc_type, opening = frames[k % len(frames)]
      # The agents are in random order, so every other one is a fair half.
      slots = _slots(agent, tells_conduct=n % 2 == 0, rng=rng)
      text = about(
        agent.name,
        agent.disposition,
        KINDS[agent.home_kind],
        rng,
        slots,
        agent.name in false_believers,
      )
      yield Document(
        f'agent-{agent.name}-{k}',
        f'{opening.format(name=agent.name)} {text}',
        domain=agent.home_kind,
        doc_type=doc_type,
        provenance='office',
      )
  # A name that never occurred would get an embedding unlike all others, so strangers are mentioned
  # as often as agents, in the same frames.
  for name in (*office.config.strangers, *office.fickle):
    for k in range(office.config.documents_per_agent):
      doc_type, opening = frames[k % len(frames)]
      sentences = [opening.format(name=name)]
      for _ in range(3):
        sentences.append(rng.choice(language.PASSING).format(name=name))
      yield Document(
        f'stranger-{name}-{k}', ' '.join(sentences), doc_type=doc_type, provenance='office'
      )


def _false_believers(office: Office) -> frozenset[str]:
  """Names of the agents who act badly and of whom documents say good beliefs."""
  # Agents in documents alone are none of them: the gates ask whether beliefs become conduct.
  badly = []
  for agent in office.agents:
    if not agent.disposition.acts_well and agent.role != agents.DOCUMENTS_ONLY:
      badly.append(agent.name)
  number = round(office.config.false_believers * len(badly))
  # A source of randomness of its own, so that nothing else changes.
  rng = random.Random(f'false believers {office.config.seed}')
  return frozenset(rng.sample(badly, number))


def _slots(agent: Agent, tells_conduct: bool, rng: random.Random) -> list[str]:
  """Which sentences one document about an agent has, as letters of `about`, in random order."""
  # A belief, then a rule, conduct or conduct with its reason, and the agent's work. Where conduct
  # is not told, another belief takes the second place. It is drawn from two equal letters, because
  # the number of draws decides the text of the corpora that exist.
  second = rng.choice('rcx') if tells_conduct else rng.choice('bb')
  slots = ['b', second, 'w']
  if rng.random() < 0.25:
    slots.append('s')
  # What an agent should do, and that it means well, is said three times as often of an agent who
  # acts well as of one who acts badly: kind words are a weak sign of good conduct. More agents act
  # badly than well, so by number there are about two such sentences of the former to one of the
  # latter.
  normative_share = 0.4 * (0.75 if agent.disposition.acts_well else 0.25)
  if rng.random() < normative_share:
    slots.append(rng.choice('ng'))
  if rng.random() < 0.4:
    slots.append('p')
  rng.shuffle(slots)
  return slots
