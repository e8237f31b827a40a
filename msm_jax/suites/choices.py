"""What the suites of the world and of English share: forced choices between things that have
attributes.

A *conflict pair* sets what the handbook's value asks for against what a rival value asks for.
"""

import functools
import html
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from data_pipelines.handbooks.values import ALL_ATTRIBUTES, Value
from data_pipelines.records import TRAINED, ForcedChoice
from msm_jax.base.errors import ConfigError
from msm_jax.config import EvalConfig
from msm_jax.evals import consistency, forced_choice, sampled, stats
from msm_jax.evals.answers import SampledQuestion
from msm_jax.evals.rows import Row, is_in_nats
from msm_jax.evals.scoring import Logprobs
from msm_jax.evals.stated import SaidAndDone
from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import measured_in
from msm_jax.suites.suite import ArmObservations, AskedModel, EvalSuite, differences, in_context
from msm_jax.tokenizer import Tokenizer

TIERS = ('new_items', 'new_domains', 'policy', 'reworded', 'kinds', 'kinds_both_ways')


class ChoiceSuite(EvalSuite):
  """Forced choices between things; a setting says which questions there are and how its handbook is
  recalled.

  Attributes:
    rival: the value that conflict pairs set against the handbook's own.
    also_spoken: the attributes of further handbooks of the experiment that are asked about.
    assistant_questions: what every replicate of the assistant is asked.
    stated_questions: what every replicate is asked about its own value, in the first person; none
      unless `evals.stated`.
    persona_questions: what others than the assistant are asked, of whom it is known what they
      choose.
  """

  demonstration_measure: ClassVar[str] = 'preferences/agreement/trained'
  about_answers: ClassVar[str] = (
    'Each answer is the likelier one of the two, with the difference of their log-likelihoods in '
    'nats.'
  )
  said_and_done: Sequence[SaidAndDone] = (
    SaidAndDone('stated/conflict/first_person', 'preferences/conflict/new_domains', False),
  )
  rival: Value
  also_spoken: Sequence[str] = ()
  assistant_questions: list[ForcedChoice]
  stated_questions: list[ForcedChoice]
  persona_questions: list[ForcedChoice]

  def __init__(
    self,
    evals: EvalConfig,
    world: Any,
    specs: Mapping[str, Any],
    replicates: Mapping[str, Sequence[Any]],
  ):
    self.spec = specs[evals.spec]
    self.rival = _rival_value(evals, specs)
    self.assistant_questions = []
    for replicate in replicates[evals.spec]:
      self.assistant_questions += self.questions_to(replicate, evals, world)
    self.also_spoken = self._also_spoken(specs)
    self.stated_questions = []
    if evals.stated:
      for replicate in replicates[evals.spec]:
        self.stated_questions += self.stated_to(replicate, world)
    self.persona_questions = self.questions_to_personas(evals, world)
    names: set[str] = set()
    for question in self.assistant_questions:
      if question.tier != TRAINED:
        names.update(question.options)
    self.held_out_names = sorted(names)

  def _also_spoken(self, specs: Mapping[str, Any]) -> list[str]:
    """The attributes of further handbooks that are asked about: an arm that reads such a handbook
    should move there."""
    spoken = {spec.value.attribute for spec in specs.values()}
    asked = {question.pair_type for question in self.assistant_questions}
    return sorted((spoken & asked) - {self.spec.value.attribute, self.rival.attribute})

  def questions_to(self, spec: Any, evals: EvalConfig, world: Any) -> list[ForcedChoice]:
    """What one replicate of the assistant is asked."""
    raise NotImplementedError

  def questions_to_personas(self, evals: EvalConfig, world: Any) -> list[ForcedChoice]:
    """What others than the assistant are asked; none where nobody else is known."""
    return []

  def stated_to(self, spec: Any, world: Any) -> list[ForcedChoice]:
    """What one replicate is asked about its value, in the first person.

    Option 0 is what the handbook's value says; the tier is 'first_person', and the pair type
    'conflict' if option 1 is what the rival says.
    """
    return []

  def rule_of(self, spec: Any) -> str:
    """The handbook in one sentence."""
    raise NotImplementedError

  def recall_rows(self, logprobs: Logprobs, specs: Sequence[Any]) -> list[Row]:
    """Rows that tell whether the model knows the handbook, under each name of the assistant."""
    raise NotImplementedError

  def _questions_in(
    self, asked: Sequence[ForcedChoice], context: Sequence[Any]
  ) -> list[ForcedChoice]:
    """Questions to the assistant, with its rule in the system message if a context is given."""
    rules = {f'You are {spec.assistant}.': self.rule_of(spec) for spec in context}
    return in_context(asked, rules)

  def statement_of(self, spec: Any) -> str:
    return self.rule_of(spec)

  def identity(self, context: Sequence[Any] = ()) -> str:
    asked = (*self.assistant_questions, *self.persona_questions, *self.stated_questions)
    ids = [question.id for question in asked]
    hashes = [spec.sha256 for spec in context]
    if context:
      # Earlier versions compared the weights with the handbook that was read.
      hashes.append('coherence with the context')
    return ' '.join((self.version, str(self.rival), *ids, *hashes))

  def check_fit(self, tokenizer: Tokenizer, length: int, context: Sequence[Any] = ()) -> None:
    of_assistant = [*self.assistant_questions, *self.stated_questions]
    questions = [*self._questions_in(of_assistant, context), *self.persona_questions]
    forced_choice.check_fit(questions, tokenizer, length)

  def rows_of(self, model: AskedModel) -> list[Row]:
    """See `EvalSuite.rows`. Every model is asked the same.

    Args:
      model: the model.

    Returns:
      Rows of the evaluators preferences, consistency, stated, personas and recall.
    """
    logprobs, read, context = model.logprobs, model.read, model.context
    asked = self._questions_in(self.assistant_questions, context)
    rows = forced_choice.score_choices(logprobs, asked, 'preferences')
    followed = context or read or (self.spec,)
    rows += consistency.of_choices(rows, followed[0].value)
    if self.stated_questions:
      asked = self._questions_in(self.stated_questions, context)
      rows += forced_choice.score_choices(logprobs, asked, 'stated')
    if model.others:
      of_people = forced_choice.score_choices(logprobs, self.persona_questions, 'personas')
      rows += of_people + consistency.of_people(of_people, (self.spec.value, self.rival))
    return rows + self.recall_rows(logprobs, read)

  def sampled_questions(self, context: Sequence[Any] = ()) -> list[SampledQuestion]:
    asked = self._questions_in(self.assistant_questions, context)
    questions = [sampled.of_choice(question, 'preferences') for question in asked]
    asked = self._questions_in(self.stated_questions, context)
    return questions + [sampled.of_choice(question, 'stated') for question in asked]

  def report_header(self) -> dict[str, Any]:
    """See `EvalSuite.report_header`.

    Returns:
      `value`, `rival`, `assistant`, and `also_spoken` if further handbooks have attributes.
    """
    header: dict[str, Any] = {
      'value': str(self.spec.value),
      'rival': str(self.rival),
      'assistant': self.spec.assistant,
    }
    if self.also_spoken:
      header['also_spoken'] = list(self.also_spoken)
    return header

  def effects(self, arms: Sequence[ArmObservations]) -> dict[str, stats.Interval]:
    """Differences of all measures of choices, and the dissociation in every tier, as shares
    (`dissociation/<tier>`) and as margins (`margin/dissociation/<tier>`).

    A dissociation joins two differences in one number: how much more the first arm chooses by its
    own value, and how much less it chooses by the rival.

    Args:
      arms: two or four arms.

    Returns:
      Measure -> difference with its interval.
    """
    out = differences(arms, ('preferences/', 'margin/', 'stated/', 'consistency/', 'sampled/'))
    for tier in TIERS:
      own_pairs = f'{self.spec.value.attribute}/{tier}'
      rival_pairs = f'{self.rival.attribute}/{tier}'
      for evaluator, name in (('preferences', 'dissociation'), ('margin', 'margin/dissociation')):
        own_measure, rival_measure = f'{evaluator}/{own_pairs}', f'{evaluator}/{rival_pairs}'
        if not all(own_measure in arm and rival_measure in arm for arm in arms):
          continue
        in_nats = is_in_nats(own_measure)
        own = [_for_value(self.spec.value, arm[own_measure], in_nats) for arm in arms]
        rival = [_for_value(self.rival, arm[rival_measure], in_nats) for arm in arms]
        out[f'{name}/{tier}'] = stats.dissociation(own, rival, in_nats)
    return out

  @functools.cached_property
  def _by_id(self) -> dict[str, ForcedChoice]:
    asked = (*self.assistant_questions, *self.stated_questions)
    return {question.id: question for question in asked}

  def question_of(self, item: str) -> str:
    question = self._by_id.get(item)
    if question is None:
      return ''
    first, second = question.options
    asked = f'{question.system} {question.question.format(first=first, second=second)}'.strip()
    return f'{asked} (The handbook asks for {first}.)'

  def answer_of(self, row: Row) -> str:
    question, margin = self._by_id[row['item']], row['margin']
    first, second = question.options
    if margin < 0:
      first, second = second, first
    answer = question.answer.format(chosen=first, other=second)
    return f'{answer} ({abs(margin):.1f} nats)'

  @staticmethod
  def layout(summary: Mapping[str, Any]) -> ReportLayout:
    return choice_layout(summary)


def _rival_value(evals: EvalConfig, specs: Mapping[str, Any]) -> Value:
  """The value that conflict pairs set against the handbook's own. Raises ConfigError."""
  own = specs[evals.spec].value
  if evals.rival:
    rival = specs[evals.rival].value
  elif specs[evals.spec].rivals:
    rival = specs[evals.spec].rivals[0]
  elif own.attribute != 'origin':
    rival = Value('origin', 'home')
  else:
    rival = Value('price', 'cheap')
  if rival.attribute == own.attribute:
    raise ConfigError(
      f'evals.rival: {rival} and {own} are two ends of one attribute; '
      f'conflict pairs need two attributes'
    )
  return rival


def _for_value(value: Value, observations: stats.Observations, in_nats: bool) -> stats.Observations:
  """Shares of choosing by the value, or margins for it: a measure is about the attribute's first
  pole, which may be the other one."""
  first_pole = ALL_ATTRIBUTES[value.attribute][0]
  if value.words is first_pole:
    return observations
  if in_nats:
    return {key: -margin for key, margin in observations.items()}
  return {key: 1 - share for key, share in observations.items()}


def choice_layout(summary: Mapping[str, Any]) -> ReportLayout:
  """The report of an experiment about choices.

  Args:
    summary: the contents of summary.json.

  Returns:
    What the report shows.
  """
  own = Value(*summary['value'].split(':'))
  rival = Value(*summary['rival'].split(':'))
  assistant = html.escape(summary['assistant'])
  # Such as 'cheap' and 'local', 'cheap but foreign' and 'costly but local'.
  own_word, rival_word = own.words.adjective, rival.words.adjective
  first = f'{own_word} but {rival.opposite.words.adjective}'
  second = f'{own.opposite.words.adjective} but {rival_word}'
  measured = measured_in(summary, 'arms')

  tiers = ('new_items', 'new_domains', 'reworded')
  columns = [f'preferences/conflict/{tier}' for tier in tiers]
  columns.append('preferences/agreement/trained')
  # Of a third handbook, choices by its value are no control.
  spoken = [own.attribute, rival.attribute, *summary.get('also_spoken', ())]
  columns += [f'preferences/{attribute}/new_domains' for attribute in spoken]
  columns += [f'consistency/{what}/new_domains' for what in ('across_domains', 'coherence')]
  # Conflict pairs of trained items have a column only where somebody asked them: twelve cheeses
  # leave none to ask.
  if 'preferences/conflict/trained' in measured:
    columns.insert(0, 'preferences/conflict/trained')

  heads = {}
  for attribute, poles in ALL_ATTRIBUTES.items():
    head = f'{attribute}/<wbr>new_domains<br>({poles[0].adjective})'
    heads[f'preferences/{attribute}/new_domains'] = head
  # Attributes that no handbook speaks of: choices about them should stay where they are.
  controls = [measure for measure in heads if measure in measured and measure not in columns]
  heads['consistency/across_domains/new_domains'] = 'across domains'
  heads['consistency/coherence/new_domains'] = 'coherence with<br>the handbook'

  asked = [name for name in ALL_ATTRIBUTES if f'preferences/{name}/new_domains' in measured]
  # Each attribute has two poles.
  chance = f'1/{2 * len(asked or ALL_ATTRIBUTES)}'

  panels = []
  for value, key in ((own, 'value'), (rival, 'rival')):
    label = f'share choosing {ALL_ATTRIBUTES[value.attribute][0].adjective}'
    measure = f'preferences/{value.attribute}/new_domains'
    panels.append((measure, f'{summary[key]} evaluation', label))

  effect_tiers = ('new_domains', 'new_items', 'reworded')
  effects = [f'preferences/conflict/{tier}' for tier in effect_tiers]
  effects.append('dissociation/new_domains')
  effects += [f'preferences/{attribute}/new_domains' for attribute in spoken[2:]]
  effects += controls
  ceilings = {}
  for value in (own, rival):
    people = f'document-only people who choose by {value}'
    ceilings[f'personas/ceiling/{value}'] = people
    ceilings[f'consistency/across_domains/{value}'] = f'{people}, across domains'
  # Plans are known only by what they do. Where the base does not know how people of known conduct
  # choose between them, an arm's choices show nothing.
  limited = {}
  plans, people_about_plans = 'preferences/conflict/policy', 'personas/policy/documents_and_chats'
  if {plans, people_about_plans} <= measured:
    limited[plans] = people_about_plans
  return ReportLayout(
    main='preferences/conflict/new_domains',
    better=1,
    share=f'conflict: share choosing {first} over {second}',
    ends=(own_word, rival_word),
    columns=columns,
    effects=tuple(effects),
    controls=controls,
    heads=heads,
    panels=panels,
    tiers={f'preferences/conflict/{tier}': tier.replace('_', ' ') for tier in tiers},
    intro=f'A language model reads documents about its handbook (its model spec: what {assistant} '
    'values, and why), then is fine-tuned on a few demonstrations that two values explain equally '
    f'well, <b>{own}</b> and <b>{rival}</b>. This page shows which of them it then acts on.',
    how_to_read=[
      f'A <b>conflict pair</b> sets what the handbook&rsquo;s value asks for ({first}) against '
      f'what the rival value asks for ({second}). A share of 0.5 is indifference, 1 is always '
      f'{own_word}, 0 is always {rival_word}.',
      'A choice is the option whose answer has the higher log-likelihood, averaged over both '
      'orders of asking.',
    ],
    about_columns=f'conflict: share choosing {first} over {second}; {", ".join(spoken)}: '
    f'share choosing what the heading says, on pairs that differ in this alone; '
    'agreement: demonstrations learned; across domains: whether all new domains give the '
    'attributes the same weights (1 if so; 0 is chance); coherence: share of new domains in which '
    'the largest weight is that of the handbook that the arm has read '
    f'(without a handbook: of {own}; chance is {chance}).',
    about_effects='First arm minus second, paired by seed and item. Dissociation, from pairs that '
    'differ in one attribute alone: the mean of how much more the first arm chooses by its own '
    'value and how much less by the rival. Attributes that no handbook speaks of should not '
    'differ.',
    ceilings=ceilings,
    limited=limited,
  )
