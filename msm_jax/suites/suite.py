"""An evaluation suite: the questions of one setting, how answers become rows, and how the report
shows them.

A suite is built from the experiment's settings and handbooks. It knows no model: it is given a
function from texts to log-likelihoods and returns rows.
"""

import abc
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from data_pipelines.records import Record
from msm_jax.base.errors import ConfigError
from msm_jax.config import EvalConfig, ExperimentConfig
from msm_jax.evals import stats
from msm_jax.evals.answers import SampledQuestion
from msm_jax.evals.no_model import Answerer
from msm_jax.evals.rows import Row, is_in_nats
from msm_jax.evals.scoring import Logprobs
from msm_jax.evals.stated import SaidAndDone
from msm_jax.report.layout import ReportLayout
from msm_jax.tokenizer import Tokenizer

# An arm as effects see it: measure -> observations.
ArmObservations = Mapping[str, stats.Observations]


class AskedModel(NamedTuple):
  """A model that is asked, with what `EvalSuite.rows` is told of it."""

  logprobs: Logprobs
  read: Sequence[Any]
  context: Sequence[Any]
  is_base: bool
  others: bool


class EvalSuite(abc.ABC):
  """The questions of one setting.

  Attributes:
    version: part of the identity of kept rows; raise it when the meaning of a row changes.
    base_skill_measures: gates of the base: name of the gate -> measure that must reach
      `gates.documents_only`.
    demonstration_measure: the measure that tells whether fine-tuning taught the demonstrations.
    spec: the handbook whose value or conduct the evaluation looks for.
    held_out_names: names and actions that no training text may tell an assistant about.
    about_answers: how `answer_of` makes an answer, in one sentence for the report.
    said_and_done: pairs of measures that the report sets side by side.
  """

  version: ClassVar[str]
  base_skill_measures: ClassVar[Mapping[str, str]]
  demonstration_measure: ClassVar[str]
  about_answers: ClassVar[str]
  spec: Any
  held_out_names: Sequence[str]
  said_and_done: Sequence[SaidAndDone] = ()

  @abc.abstractmethod
  def __init__(
    self,
    evals: EvalConfig,
    world: Any,
    specs: Mapping[str, Any],
    replicates: Mapping[str, Sequence[Any]],
  ):
    """Writes the questions down.

    Args:
      evals: the settings of the evaluation.
      world: the setting's world.
      specs: path -> handbook.
      replicates: path -> the handbook under each name of the assistant.
    """

  @abc.abstractmethod
  def identity(self, context: Sequence[Any] = ()) -> str:
    """A text that changes when what is asked changes; `context` as in `rows`."""

  @abc.abstractmethod
  def check_fit(self, tokenizer: Tokenizer, length: int, context: Sequence[Any] = ()) -> None:
    """Raises ScoringError if a question does not fit into a row of `length` tokens."""

  def rows(
    self,
    logprobs: Logprobs,
    read: Sequence[Any],
    context: Sequence[Any] = (),
    is_base: bool = False,
    others: bool = True,
  ) -> list[Row]:
    """Asks everything of one model.

    Args:
      logprobs: the model.
      read: the handbook that the model has read in midtraining, in all replicates.
      context: a handbook, in all replicates, that stands in the assistant's system message while it
        is asked.
      is_base: whether the model is the base, which gates judge.
      others: whether it is asked what others than the assistant do, too.

    Returns:
      The rows of all evaluators but perplexity.
    """
    return self.rows_of(AskedModel(logprobs, read, context, is_base, others))

  @abc.abstractmethod
  def rows_of(self, model: AskedModel) -> list[Row]:
    """Asks everything of one model; see `rows`, which describes arguments and result."""

  @abc.abstractmethod
  def report_header(self) -> dict[str, Any]:
    """What a report must know beside the numbers; it goes into summary.json."""

  @abc.abstractmethod
  def effects(self, arms: Sequence[ArmObservations]) -> dict[str, stats.Interval]:
    """Differences of two arms (a - b), or of four ((a - b) - (c - d)), measure by measure."""

  def statement_of(self, spec: Any) -> str:
    """What stands about an assistant in its system message while a handbook is its context.

    Args:
      spec: the handbook, under one of its names.

    Returns:
      A statement of one sentence or a few.

    Raises:
      ConfigError: the setting has no such statement.
    """
    raise ConfigError(
      f"{type(self).__name__} has no short statement of a handbook; set distill.handbook='text'"
    )

  def more_of_summary(self, rows: Sequence[Row], config: ExperimentConfig) -> dict[str, Any]:
    """What summary.json holds of this setting beside means, effects and gates."""
    return {}

  def sampled_questions(self, context: Sequence[Any] = ()) -> list[SampledQuestion]:
    """The questions to the assistant that may be answered in free text; `context` as in `rows`."""
    return []

  def without_model(self, records_of: Callable[[str], Sequence[Record]]) -> Answerer | None:
    """Prepares to answer the questions by counting words, see `msm_jax/evals/no_model.py`.

    Args:
      records_of: gives what a maker wrote for this experiment; nothing if it has no such source.

    Returns:
      A function from the texts of a handbook's documents to shares; None where counting words makes
      no sense, because no text says what the options are.
    """
    return None

  @abc.abstractmethod
  def question_of(self, item: str) -> str:
    """The text of a question to the assistant, for people to read; '' for items that the suite
    does not show, such as conversations."""

  @abc.abstractmethod
  def answer_of(self, row: Row) -> str:
    """What the model answered according to a row, for people to read."""

  @staticmethod
  @abc.abstractmethod
  def layout(summary: Mapping[str, Any]) -> ReportLayout:
    """What the report of a summary shows, and what it says about it."""


def in_context(questions: Sequence[Any], statements: Mapping[str, str]) -> list[Any]:
  """Puts statements about an assistant into its system message.

  Args:
    questions: forced choices or scenes.
    statements: system message -> what is added to it.

  Returns:
    The questions; those with another system message stay as they are.
  """
  out = []
  for question in questions:
    statement = statements.get(question.system)
    if statement is not None:
      question = dataclasses.replace(question, system=f'{question.system} {statement}')
    out.append(question)
  return out


# Measures of which a run, or an arm, may lack items.
_MAY_LACK = ('consistency/', 'sampled/', 'agentic/')


def differences(
  arms: Sequence[ArmObservations], evaluators: tuple[str, ...]
) -> dict[str, stats.Interval]:
  """The difference of every measure that all arms have.

  Args:
    arms: two or four arms.
    evaluators: only measures that begin with one of these.

  Returns:
    Measure -> difference with its interval.
  """
  out = {}
  for measure in sorted(arms[0]):
    if not measure.startswith(evaluators) or not all(measure in arm for arm in arms):
      continue
    of_arms = [arm[measure] for arm in arms]
    may_lack = measure.startswith(_MAY_LACK)
    if may_lack and not set.intersection(*map(set, of_arms)):
      # A consistency is not defined for every run, and here for none that all arms have; sampled
      # answers to a question may all name no option, and a judge may give no verdict.
      continue
    if may_lack:
      of_arms = stats.in_shared_runs(of_arms)
    differences_of = stats.paired_difference(of_arms)
    if may_lack:
      differences_of = stats.in_all_runs(differences_of)
    if differences_of:
      out[measure] = stats.interval(differences_of, is_in_nats(measure))
  return out


def text_digest(text: str) -> str:
  """A short hash of a text."""
  return hashlib.sha256(text.encode()).hexdigest()[:16]
