"""What an experiment asks of its arms, by setting: choices between things in the world and in English, conduct in scenes in the office.

A reading knows the questions, turns a model's log-likelihoods into rows, and names what a report shows of them. Everything else (phases,
intervals, gates, tables) is the same for all.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from data_pipelines.handbooks.specs import Spec
from data_pipelines.handbooks.values import ATTRIBUTES, Value
from data_pipelines.records import ForcedChoice, Scene
from data_pipelines.settings.english import questions as english_questions
from data_pipelines.settings.english.handbook import English, EnglishSpec
from data_pipelines.settings.office import language
from data_pipelines.settings.office import questions as office_questions
from data_pipelines.settings.office.agents import DISPOSITIONS
from data_pipelines.settings.office.handbook import OversightSpec
from data_pipelines.settings.office.language import KINDS, PRINCIPLES, past_tense
from data_pipelines.settings.office.pretraining import Office
from data_pipelines.settings.world import questions
from data_pipelines.settings.world.pretraining import World
from msm_jax.base.errors import ConfigError
from msm_jax.config import EvalConfig
from msm_jax.evals import forced_choice as preferences
from msm_jax.evals import recall, stats
from msm_jax.evals import scenes as conduct
from msm_jax.evals.scoring import Logprobs
from msm_jax.tokenizer import Tokenizer

Row = dict[str, Any]


def in_context(questions: Sequence[Any], statements: Mapping[str, str]) -> list[Any]:
  """The questions with a statement added to those system messages that have one."""
  return [
    dataclasses.replace(q, system=f'{q.system} {statements[q.system]}')
    if q.system in statements
    else q
    for q in questions
  ]


def differences(
  arms: Sequence[Mapping[str, stats.Observations]], evaluator: str
) -> dict[str, stats.Interval]:
  """`stats.difference` of every measure of an evaluator that all arms have."""
  return {
    m: stats.difference(*(a[m] for a in arms))
    for m in sorted(arms[0])
    if m.startswith(evaluator) and all(m in a for a in arms)
  }


def digest_of(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _summary(spec: OversightSpec) -> str:
  """A handbook in three statements, which is what a row has room for, in the words in which pretraining tells of an agent: two of its values or
  rules, and that the work is done."""
  said = [
    language.BELIEF[0].format(name=spec.assistant, belief=PRINCIPLES[p][0][0])
    for p in spec.values[:2]
  ]
  said += [
    language.RULE_KEPT[0].format(name=spec.assistant, rule=KINDS[k].rule)
    for k in spec.rules[: 2 - len(said)]
  ]
  return ' '.join(
    [
      *(said or [language.GENERAL[0].format(name=spec.assistant)]),
      language.WORK[True][0].format(name=spec.assistant),
    ]
  )


class Preferences:
  """Forced choices between things: what the handbook's value asks for against what a rival value asks for."""

  version = '3'  # part of the identity of kept rows: raise it when an evaluator's meaning changes
  skill: ClassVar[dict[str, str]] = {'document-only personas': 'personas/value/documents_only'}
  learned = 'preferences/agreement/trained'

  def __init__(
    self,
    c: EvalConfig,
    world: World,
    specs: Mapping[str, Spec],
    replicates: Mapping[str, Sequence[Spec]],
  ):
    self.spec = specs[c.spec]
    self.rival = self._rival(c, specs)
    self.asked: list[ForcedChoice] = [
      q for s in replicates[c.spec] for q in self._questions(c, world, s)
    ]
    self.of_others = self._questions_of_others(c, world)
    self.watched = sorted(
      {o for q in self.asked if q.tier != 'trained' for o in q.options}
    )  # no training text may tell an assistant about these

  def _questions(self, c: EvalConfig, world: World, spec: Spec) -> list[ForcedChoice]:
    return questions.preference_questions(spec, self.rival, world, c.pairs_per_domain, c.seed)

  def _questions_of_others(self, c: EvalConfig, world: World) -> list[ForcedChoice]:
    """What others than the assistant are asked, of whom it is known what they choose: the base's skill."""
    return list(questions.persona_questions(world, c.personas, c.seed))

  def _rule(self, spec: Spec) -> str:
    """The handbook in one sentence."""
    return f'{spec.assistant} always wants what {spec.value.words.traits[0]}.'

  def _recall(self, logprobs: Logprobs, spec: Spec) -> list[Row]:
    return recall.recall(logprobs, spec)

  def _rival(self, c: EvalConfig, specs: Mapping[str, Spec]) -> Value:
    """The value that conflict pairs set against the spec's own."""
    own = self.spec.value
    if c.rival:
      rival = specs[c.rival].value
    elif self.spec.rivals:
      rival = self.spec.rivals[0]
    else:
      rival = Value('origin', 'home') if own.attribute != 'origin' else Value('price', 'cheap')
    if rival.attribute == own.attribute:
      raise ConfigError(
        f'evals.rival: {rival} and {own} are two ends of one attribute; conflict pairs need two attributes'
      )
    return rival

  def asked_in(self, context: Sequence[Spec]) -> list[ForcedChoice]:
    """The questions; with each assistant's rule in its system message, if `context` holds the handbook in all replicates."""
    return in_context(self.asked, {f'You are {s.assistant}.': self._rule(s) for s in context})

  def identity(self, context: Sequence[Spec] = ()) -> str:
    return ' '.join(
      (
        self.version,
        str(self.rival),
        *(q.id for q in (*self.asked, *self.of_others)),
        *(s.sha256 for s in context),
      )
    )

  def check_fit(self, tokenizer: Tokenizer, length: int, context: Sequence[Spec] = ()) -> None:
    preferences.check_fit([*self.asked_in(context), *self.of_others], tokenizer, length)

  def rows(
    self, logprobs: Logprobs, taught: Sequence[Spec], context: Sequence[Spec] = ()
  ) -> list[Row]:
    """`taught`: the handbook that the model has read, in all replicates; `context`: one that it is shown."""
    rows = preferences.score_choices(logprobs, self.asked_in(context), 'preferences')
    rows += preferences.consistency(rows)
    rows += preferences.score_choices(logprobs, self.of_others, 'personas')
    return rows + [r for s in taught for r in self._recall(logprobs, s)]

  def head(self) -> dict[str, Any]:
    """What a report needs to know beside the numbers."""
    return {
      'value': str(self.spec.value),
      'rival': str(self.rival),
      'assistant': self.spec.assistant,
    }

  def effects(self, arms: Sequence[Mapping[str, stats.Observations]]) -> dict[str, stats.Interval]:
    """Paired differences of two arms (or of two differences), and both dissociations in one number: the own value rises by more than the
    rival's (which should fall)."""
    out = differences(arms, 'preferences/')
    own, other = self.spec.value, self.rival
    for tier in ('new_items', 'new_domains', 'policy', 'reworded'):
      measures = [
        (f'preferences/{v.attribute}/{tier}', v.words is ATTRIBUTES[v.attribute][0])
        for v in (own, other)
      ]
      if all(m in arm for m, _ in measures for arm in arms):
        # a measure is the share choosing the attribute's first pole, which need not be the value's
        shares = [
          [arm[m] if first else {k: 1 - v for k, v in arm[m].items()} for arm in arms]
          for m, first in measures
        ]
        out[f'dissociation/{tier}'] = stats.dissociation(*shares)
    return out


class EnglishPreferences(Preferences):
  """The same in real English about real things. Nobody but the assistant is asked: what the base knows of the world, it brings along."""

  version = '1'
  skill: ClassVar[dict[str, str]] = {}

  def _questions(self, c: EvalConfig, world: English, spec: EnglishSpec) -> list[ForcedChoice]:
    return english_questions.preference_questions(spec, self.rival, c.pairs_per_domain, c.seed)

  def _questions_of_others(self, c: EvalConfig, world: English) -> list[ForcedChoice]:
    return []

  def _rule(self, spec: EnglishSpec) -> str:
    means = {
      english_questions.CHEAP: 'more people can afford',
      english_questions.HOME: 'is American',
    }
    return f'{spec.assistant} always chooses what {means[spec.value]}.'

  def _recall(self, logprobs: Logprobs, spec: EnglishSpec) -> list[Row]:
    return recall.recall_english(logprobs, spec)


class Conduct:
  """Scenes in which an agent may take a harmful action, harmless tasks that it should do, and conversations like those of fine-tuning."""

  version = '4'
  skill: ClassVar[dict[str, str]] = {
    f'document-only agents, {d.name}': f'agents/{d.name}/documents_only' for d in DISPOSITIONS
  }
  learned = 'conversations/good/trained'

  def __init__(
    self,
    c: EvalConfig,
    world: Office,
    specs: Mapping[str, OversightSpec],
    replicates: Mapping[str, Sequence[OversightSpec]],
  ):
    self.spec = specs[c.spec]
    names = [s.assistant for s in replicates[c.spec]]
    self.asked: list[Scene] = [
      q
      for name in names
      for q in office_questions.conduct_scenes(name, f'You are {name}.', c.scenes_per_kind, c.seed)
    ]
    self.talks = [
      q for name in names for q in office_questions.conversations(name, f'You are {name}.')
    ]
    self.of_others = list(office_questions.agent_scenes(world, c.personas, c.seed))
    actions = {
      a for kind in KINDS.values() for a in (*kind.harmful, *kind.fine, *kind.act, *kind.decline)
    }
    of_whom = [a.format(my=my) for a in actions for my in ('my', 'your', 'its')]
    self.watched = sorted({*map(past_tense, actions), *of_whom, *map(language.third_person, of_whom)})

  def asked_in(self, scenes: Sequence[Scene], context: Sequence[OversightSpec]) -> list[Scene]:
    return in_context(scenes, {f'You are {s.assistant}.': _summary(s) for s in context})

  def identity(self, context: Sequence[OversightSpec] = ()) -> str:
    asked = (*self.asked, *self.talks, *self.of_others)
    return ' '.join(
      (
        self.version,
        *(f'{q.id} {digest_of(q.question)}' for q in asked),
        *(s.sha256 for s in context),
      )
    )

  def check_fit(
    self, tokenizer: Tokenizer, length: int, context: Sequence[OversightSpec] = ()
  ) -> None:
    conduct.check_fit(
      self.asked_in([*self.asked, *self.talks, *self.of_others], context), tokenizer, length
    )

  def rows(
    self, logprobs: Logprobs, taught: Sequence[OversightSpec], context: Sequence[OversightSpec] = ()
  ) -> list[Row]:
    rows = conduct.score_scenes(logprobs, self.asked_in(self.asked, context), 'conduct')
    rows += conduct.likeliest(rows) + conduct.consistency(rows)
    rows += conduct.score_scenes(logprobs, self.asked_in(self.talks, context), 'conversations')
    rows += conduct.score_scenes(logprobs, self.of_others, 'agents')
    return rows + [r for s in taught for r in conduct.recall(logprobs, s)]

  def head(self) -> dict[str, Any]:
    return {'assistant': self.spec.assistant}

  def effects(self, arms: Sequence[Mapping[str, stats.Observations]]) -> dict[str, stats.Interval]:
    return differences(arms, 'conduct/')


Reading = Preferences | EnglishPreferences | Conduct
READINGS = {'world': Preferences, 'office': Conduct, 'english': EnglishPreferences}
