"""The suite of a researcher's own handbook: whatever stands in the files of items.

Choices become shares and margins for every value that the items name, scenes become conduct, claims
become stated belief and recall. Open questions (`open_items`) have no scores: with `evals.sampled`
their answers are sampled, and a judge reads them.
"""

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from data_pipelines.orders import option_orders
from data_pipelines.records import TRAINED, MultipleChoice, Record
from data_pipelines.settings.custom import asking
from data_pipelines.settings.custom.balance import values_of
from data_pipelines.settings.custom.fields import FieldError, check_places, put_in
from data_pipelines.settings.custom.items import (
  ChoiceItem,
  ClaimItem,
  Item,
  OpenItem,
  SceneItem,
  filled,
  read_items,
)
from data_pipelines.settings.custom.training_text import held_out_texts
from msm_jax.base.checks import shown
from msm_jax.base.console import say
from msm_jax.base.errors import ConfigError
from msm_jax.config import EvalConfig, ExperimentConfig
from msm_jax.evals import claims, consistency, matrix, sampled, scenes, stats, summary, values
from msm_jax.evals.answers import OPEN, SampledQuestion, tier_of_value
from msm_jax.evals.claims import ClaimQuestion
from msm_jax.evals.no_model import Answerer
from msm_jax.evals.no_model_values import answer_values
from msm_jax.evals.rows import Row
from msm_jax.evals.scoring import Logprobs
from msm_jax.evals.values import ValueQuestion
from msm_jax.report.layout import ReportLayout
from msm_jax.suites.custom_layout import custom_layout, tier_order
from msm_jax.suites.custom_stated import HANDBOOK, said_and_done
from msm_jax.suites.suite import ArmObservations, AskedModel, EvalSuite, differences, text_digest
from msm_jax.tokenizer import Tokenizer

# Names of values that are so similar are most likely one name.
_SAME_NAME = 0.8
_EVALUATORS = ('values/', 'margin/', 'conduct/', 'claims/', 'consistency/', 'sampled/')

AnyQuestion = ValueQuestion | MultipleChoice | ClaimQuestion
Question = TypeVar('Question', ValueQuestion, MultipleChoice, ClaimQuestion)


class CustomSuite(EvalSuite):
  """Items from files.

  Attributes:
    choices: the questions with options, to every replicate of the assistant.
    scenes: scenes of harm and harmless ones.
    claims: claims of the handbooks.
    open_items: open questions, with the names and the system messages filled in.
    values: the values that the choices name, in the order of the files.
    own_value: the value that the main measure is about.
    said_and_done: claims to the assistant beside choices by the same value.
  """

  version: ClassVar[str] = '1'
  base_skill_measures: ClassVar[dict[str, str]] = {}
  demonstration_measure: ClassVar[str] = f'values/{values.ALL}/{TRAINED}'
  about_answers: ClassVar[str] = (
    'Of a choice, the answer is the likeliest one, with how much likelier it is than the best '
    'answer of the other side (nats); of a scene, the probability of the harmful actions; of a '
    'claim, whether it or its negation is likelier.'
  )

  def __init__(
    self,
    evals: EvalConfig,
    world: Any,
    specs: Mapping[str, Any],
    replicates: Mapping[str, Sequence[Any]],
  ):
    self.settings = world.config
    if not self.settings.items:
      raise ConfigError('custom.items is empty; name at least one JSONL file of evaluation items')
    try:
      check_places('custom.system', self.settings.system, ('assistant',))
      check_places('custom.rule', self.settings.rule, ('assistant',))
    except FieldError as e:
      raise ConfigError(f'{e.problem}; {e.remedy}') from None
    self.spec = specs[evals.spec]
    self.value_of = {path: spec.value for path, spec in specs.items()}
    self.items = read_items(self.settings.items, self.settings.values)
    self.choices: list[ValueQuestion] = []
    self.scenes: list[MultipleChoice] = []
    self.claims: list[ClaimQuestion] = []
    self.open_items: list[OpenItem] = []
    for name in self._names(replicates[evals.spec]):
      for item in self.items:
        self._add(filled(self._with_system(item), name), name)
    if not (self.choices or self.scenes or self.claims):
      raise ConfigError(
        'custom.items holds open questions alone, which are sampled and judged after a run; '
        'give a choice, a scene or a claim too'
      )
    self.values = _values_of(self.items)
    self.own_value = self._own_value()
    self._check_other_values()
    # One file may be named in several ways, as 'mine.md' and './mine.md'.
    handbooks = len({spec.sha256 for spec in specs.values()})
    self.said_and_done = said_and_done(
      self.choices, self.scenes, self.claims, self.own_value, handbooks
    )
    self.held_out_names = held_out_texts(self.items, self.settings.held_out_options)
    for notice in self.notices(specs):
      say(f'items      {notice}')

  # ---- from items to questions

  def _names(self, replicates: Sequence[Any]) -> list[str]:
    """Whom to ask: every replicate, if some text has a place for a name."""
    names = [spec.assistant for spec in replicates]
    for item in self.items:
      texts = (self._with_system(item).system, *_every_text(item))
      if any('{assistant}' in text for text in texts if text):
        return names
    # All replicates would be asked the very same.
    return names[:1]

  def _with_system(self, item: Item) -> Item:
    if item.system is not None:
      return item
    return dataclasses.replace(item, system=self.settings.system)

  def _add(self, item: Item, name: str) -> None:
    """Adds an item's question to one assistant. Raises ConfigError if its texts are alike."""
    _check_told_apart(item, name)
    if isinstance(item, ChoiceItem):
      self.choices.append(_choice(item, name))
    elif isinstance(item, SceneItem):
      self.scenes.append(_scene(item, name))
    elif isinstance(item, ClaimItem):
      self.claims.append(_claim(item, name))
    elif isinstance(item, OpenItem):
      self.open_items.append(dataclasses.replace(item, id=f'{name}/{item.id}'))

  def _own_value(self) -> str:
    """The value of the evaluation's handbook if the items name it, else their first value."""
    own = self.spec.value
    if not self.values or own in self.values:
      return own
    folded = {value.casefold(): value for value in self.values}
    close = difflib.get_close_matches(own.casefold(), folded, n=1)
    # A name that claims or open questions have is not misspelt.
    is_known = any(own in values_of(item) for item in self.items)
    if own and close and not is_known:
      raise ConfigError(
        f'{self.spec.path}: its value is {own!r}, and the items call a value '
        f'{folded[close[0]]!r}; write the two alike'
      )
    return self.values[0]

  def _check_other_values(self) -> None:
    """Raises ConfigError for the value of another handbook that is most likely misspelt: what that
    handbook changes would be measured by no question."""
    known: set[str] = set()
    for item in self.items:
      known.update(values_of(item))
    folded = {value.casefold(): value for value in known}
    for path, value in self.value_of.items():
      if not value or value in known:
        continue
      close = difflib.get_close_matches(value.casefold(), folded, n=1, cutoff=_SAME_NAME)
      # A first letter is rarely misspelt. It tells a value from its opposite ('incorrigibility').
      if close and close[0][0] == value[0].casefold():
        raise ConfigError(
          f'{path}: its value is {value!r}, and the items call a value {folded[close[0]]!r}; '
          'write the two alike'
        )

  def notices(self, specs: Mapping[str, Any]) -> list[str]:
    """Finds what was hardly meant, though it can be run.

    Args:
      specs: path -> handbook, of the whole experiment.

    Returns:
      Sentences, for the terminal.
    """
    out = []
    own = self.spec.value
    if self.values and own != self.own_value:
      problem = 'has no value in its front matter'
      if own:
        problem = f'stands for {own!r}, which no choice asks for'
      out.append(f'{self.spec.path} {problem}; the main measure is about {self.own_value!r}')
    others = sorted({spec.assistant for spec in specs.values()} - {self.spec.assistant})
    of_own = [spec for spec in specs.values() if spec.assistant == self.spec.assistant]
    if others and len(of_own) == 1:
      out.append(
        f'{self.spec.assistant} is asked, and the other handbooks are about {", ".join(others)}; '
        'set evals.spec to a handbook of the assistant that you train'
      )
    return out

  # ---- what is asked

  @property
  def _all_asked(self) -> list[AnyQuestion]:
    return [*self.choices, *self.scenes, *self.claims]

  def statement_of(self, spec: Any) -> str:
    return _statement(spec)

  def identity(self, context: Sequence[Any] = ()) -> str:
    """See `EvalSuite.identity`.

    Args:
      context: as in `rows`.

    Returns:
      The version, a hash of all items, and marks where earlier versions asked or counted otherwise.
    """
    texts = [json.dumps(dataclasses.asdict(asked), sort_keys=True) for asked in self._all_asked]
    hashes = [spec.sha256 for spec in context]
    if context and self.choices:
      # Earlier versions took the consistency by the handbook that was read.
      hashes.append('consistency with the context')
    if any(_statement(spec) != spec.in_context for spec in context):
      # Earlier versions did not put the name into what stands for a handbook.
      hashes.append('names in context')
    if any(claim.prompt.endswith(' ') for claim in self.claims):
      # Earlier versions did not score the first word after such a prompt, or not all of it.
      hashes.append('whole first words')
    if not all(claim.prompt for claim in self.claims):
      # Nor did they score the first token without a prompt, where no symbol begins a text.
      hashes.append('first tokens')
    return ' '.join((self.version, text_digest('\n'.join(texts)), *hashes))

  def check_fit(self, tokenizer: Tokenizer, length: int, context: Sequence[Any] = ()) -> None:
    values.check_fit(_in_context(self.choices, context), tokenizer, length)
    scenes.check_fit(_in_context(self.scenes, context), tokenizer, length)
    claims.check_fit(_in_context(self.claims, context), tokenizer, length)

  def rows_of(self, model: AskedModel) -> list[Row]:
    """See `EvalSuite.rows`. Nobody but the assistant is asked.

    Args:
      model: the model.

    Returns:
      Rows of the evaluators values, conduct, claims, consistency and recall.
    """
    logprobs, read, context = model.logprobs, model.read, model.context
    value = read[0].value if read else self.spec.value
    rows: list[Row] = []
    if self.choices:
      rows += values.score_values(logprobs, _in_context(self.choices, context))
      rows += consistency.of_values(rows, context[0].value if context else value)
    if self.scenes:
      rows += self._conduct_rows(logprobs, context)
    if self.claims:
      asked = _in_context(self.claims, context)
      found = claims.score_claims(logprobs, asked, in_documents=not context)
      rows += found + claims.as_recall(found, (value, HANDBOOK))
    return rows

  def _conduct_rows(self, logprobs: Logprobs, context: Sequence[Any]) -> list[Row]:
    rows = scenes.score_scenes(logprobs, _in_context(self.scenes, context), 'conduct')
    for row, scene in zip(rows, self.scenes, strict=True):
      row['chance'] = round(scene.counted / len(scene.answers), 6)
    of_harm = [row for row in rows if row['what'] == 'misaligned']
    untrained = [row for row in of_harm if row['tier'] != TRAINED]
    # The rows say what chance is, so the log-odds of indifference are not used.
    return rows + scenes.likeliest(of_harm) + consistency.of_scenes(untrained, 0.0)

  def without_model(self, records_of: Callable[[str], Sequence[Record]]) -> Answerer | None:
    if not self.choices:
      return None
    return answer_values(self.choices, self.own_value)

  def sampled_questions(self, context: Sequence[Any] = ()) -> list[SampledQuestion]:
    """See `EvalSuite.sampled_questions`.

    Args:
      context: as in `rows`.

    Returns:
      Choices whose options can be told apart in any case, scenes, and open questions. Where open
      questions of one tier are about several values, their tiers name the value.
    """
    # Answers are read in any case, so options that differ in case alone cannot be told apart.
    readable = [question for question in self.choices if _differ_in_any_case(question.options)]
    asked = _in_context(readable, context)
    questions = [sampled.of_values(question) for question in asked]
    questions += [sampled.of_scene(scene, 'conduct') for scene in _in_context(self.scenes, context)]
    of_assistant = {f'{spec.assistant}/': _statement(spec) for spec in context}
    # tier -> the values that its open questions are about
    asked_of: dict[str, set[str]] = {}
    for item in self.open_items:
      asked_of.setdefault(item.tier, set()).add(item.value)
    for item in self.open_items:
      question = _open_question(item, of_assistant)
      if len(asked_of[item.tier]) > 1:
        tier = tier_of_value(item.tier, item.value or HANDBOOK)
        question = dataclasses.replace(question, tier=tier)
      questions.append(question)
    return questions

  # ---- what a report shows

  def report_header(self) -> dict[str, Any]:
    """See `EvalSuite.report_header`.

    Returns:
      The values that the items name, and the tiers in which they are asked.
    """
    return {
      'assistant': self.spec.assistant,
      'own_value': self.own_value,
      'values': list(self.values),
      'tiers': tier_order({question.tier for question in self.choices}),
      'scene_tiers': tier_order({scene.tier for scene in self.scenes}),
      'claims_of': list(dict.fromkeys(claim.value for claim in self.claims)),
    }

  def more_of_summary(self, rows: Sequence[Row], config: ExperimentConfig) -> dict[str, Any]:
    """What each arm was trained on, and the matrix "trained on x, measured by y".

    Args:
      rows: rows of all arms and seeds.
      config: the experiment's settings.

    Returns:
      `trained_on` and `matrix`, as docs/schemas.md describes them.
    """
    trained_on = matrix.values_by_arm(config, self.value_of)
    # What was trained on says nothing about what was learned beside it.
    tiers = [f'values/{tier}' for tier in self.report_header()['tiers'] if tier != TRAINED]
    tiers += [f'claims/{claims.DOCUMENTS}', f'claims/{claims.ASKED}']
    columns = dict.fromkeys((*self.values, *(claim.value for claim in self.claims)))
    # Claims of all handbooks alike belong to no column.
    columns.pop(HANDBOOK, None)
    found = matrix.matrices(
      summary.observations(rows),
      trained_on,
      summary.base_arm(config),
      list(columns),
      tiers,
      len(config.seeds),
    )
    return {'trained_on': trained_on, 'matrix': found}

  def effects(self, arms: Sequence[ArmObservations]) -> dict[str, stats.Interval]:
    return differences(arms, _EVALUATORS)

  @functools.cached_property
  def _by_id(self) -> dict[str, AnyQuestion]:
    return {question.id: question for question in self._all_asked}

  def question_of(self, item: str) -> str:
    """See `EvalSuite.question_of`.

    Args:
      item: the item of a row.

    Returns:
      The system message and the question, with the options in the order of the file.
    """
    question = self._asked(item)
    if isinstance(question, MultipleChoice):
      text = question.question.format(options=', '.join(question.offered))
    elif isinstance(question, ClaimQuestion):
      text = question.asked['statement'][0]
    else:
      text = question.asked[0]
    return f'{question.system}\n{text}'.strip()

  def _asked(self, item: str) -> AnyQuestion:
    """The question of a row's item; that of a claim ends in its form."""
    return self._by_id.get(item) or self._by_id[item.rpartition('/')[0]]

  def answer_of(self, row: Row) -> str:
    """See `EvalSuite.answer_of`.

    Args:
      row: a row of choices, conduct or claims.

    Returns:
      The likeliest answer, or the probability of harm.
    """
    question = self._asked(row['item'])
    if isinstance(question, MultipleChoice):
      harmful = ' / '.join(question.answers[: question.counted])
      return f'{row["score"]:.2f}: {harmful}'
    margin = abs(row['margin'])
    if isinstance(question, ClaimQuestion):
      said = question.forms[row['form']] if row['margin'] > 0 else question.negation
      return f'{said} ({margin:.1f} nats)'
    return f'{question.answers[row["choice"]]} ({margin:.1f} nats)'

  @staticmethod
  def layout(summary: Mapping[str, Any]) -> ReportLayout:
    return custom_layout(summary)


def _values_of(items: Sequence[Item]) -> tuple[str, ...]:
  """The values that choices name, in the order of the files."""
  names: dict[str, None] = {}
  for item in items:
    if isinstance(item, ChoiceItem):
      names |= dict.fromkeys(item.values)
  return tuple(names)


def _differ_in_any_case(options: Sequence[str]) -> bool:
  """Whether options differ in more than case and spaces."""
  return len({' '.join(option.casefold().split()) for option in options}) == len(options)


def _every_text(item: Item) -> tuple[str, ...]:
  """All texts of an item, those of answers and prompts too."""
  more: tuple[str, ...] = ()
  if isinstance(item, ChoiceItem):
    more = (item.answer,)
  elif isinstance(item, SceneItem):
    more = tuple(action.answer for action in item.actions)
  elif isinstance(item, ClaimItem):
    more = (item.prompt, item.question)
  return (*item.texts, *more)


def _check_told_apart(item: Item, name: str) -> None:
  """Raises ConfigError for an item whose options are the same once the name stands in them:
  whatever the model is, no option would be likelier."""
  compared: list[Sequence[str]] = []
  if isinstance(item, ChoiceItem):
    compared = [[option.text for option in item.options]]
  elif isinstance(item, SceneItem):
    compared = [[action.text for action in item.actions]]
    compared.append([action.answer for action in item.actions])
  elif isinstance(item, ClaimItem):
    compared = [item.texts]
  for texts in compared:
    plain = [' '.join(text.split()) for text in texts]
    alike = next((text for text in plain if plain.count(text) > 1), None)
    if alike is not None:
      raise ConfigError(
        f'{item.where}: asked of {name}, two of its texts are {shown(alike)}; write another name '
        'than the one that {assistant} becomes'
      )


def _choice(item: ChoiceItem, name: str) -> ValueQuestion:
  return ValueQuestion(
    id=f'{name}/{item.id}',
    domain=item.domain,
    tier=item.tier,
    system=item.system or '',
    asked=tuple(asking.questions_of(item)),
    orders=tuple(option_orders(len(item.options))),
    options=tuple(option.text for option in item.options),
    answers=tuple(asking.answers_of(item)),
    chosen_by={value: item.chosen_by(value) for value in item.values},
    group=item.group,
    assistant=name,
  )


def _scene(item: SceneItem, name: str) -> MultipleChoice:
  """A scene in which the actions that are counted come first."""
  counted = [action for action in item.actions if action.harmful or action.acts]
  others = [action for action in item.actions if not (action.harmful or action.acts)]
  actions = counted + others
  # `MultipleChoice.question` is a format string, so braces of the text are doubled.
  text = item.situation.replace('{', '{{').replace('}', '}}')
  has_place = '{{options}}' in text
  if has_place:
    text = text.replace('{{options}}', '{options}')
  else:
    text = f'{text}\n{{options}}'
  return MultipleChoice(
    id=f'{name}/{item.id}',
    domain=item.domain,
    tier=item.tier,
    what='misaligned' if item.is_harmful else 'act',
    system=item.system or '',
    question=text,
    offered=tuple(action.text for action in actions),
    answers=tuple(action.answer for action in actions),
    assistant=name,
    counted=len(counted),
    by_line=not has_place,
  )


def _claim(item: ClaimItem, name: str) -> ClaimQuestion:
  asked = {
    'statement': tuple(asking.stated_belief(item, item.statement)),
    'paraphrase': tuple(asking.stated_belief(item, item.paraphrase)),
  }
  return ClaimQuestion(
    id=f'{name}/{item.id}',
    domain=item.domain,
    value=item.value or HANDBOOK,
    system=item.system or '',
    prompt=item.prompt,
    statement=item.statement,
    paraphrase=item.paraphrase,
    negation=item.negation,
    asked=asked,
    assistant=name,
  )


def _open_question(item: OpenItem, contexts: Mapping[str, str]) -> SampledQuestion:
  """An open item as it is asked; `contexts` maps 'ASSISTANT/' to what its system message tells of a
  handbook."""
  name, slash, _ = item.id.partition('/')
  system = item.system or ''
  if text := contexts.get(name + slash):
    system = f'{system}\n\n{text}'.strip()
  return SampledQuestion(
    item=item.id,
    kind=OPEN,
    domain=item.domain,
    tier=item.tier,
    assistant=name,
    system=system,
    asked=(item.question,),
    counted={item.value or HANDBOOK: ()},
    rubric=item.rubric,
    reference=item.reference,
    accept=item.accept,
    reject=item.reject,
  )


def _statement(spec: Any) -> str:
  """What a system message holds of a handbook, with the name in its place."""
  return put_in(spec.in_context, {'assistant': spec.assistant})


def _in_context(questions: Sequence[Question], context: Sequence[Any]) -> list[Question]:
  """Puts a handbook into the system messages of the assistants that it is about."""
  texts = {spec.assistant: _statement(spec) for spec in context}
  out = []
  for question in questions:
    text = texts.get(question.assistant)
    if text is not None:
      system = f'{question.system}\n\n{text}'.strip()
      question = dataclasses.replace(question, system=system)
    out.append(question)
  return out
