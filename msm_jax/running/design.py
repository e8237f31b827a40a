"""What an experiment is about, before anything is written: its handbooks, its world, its questions.

`make_design` touches no workdir, so it is cheap, and a sweep asks it for the identity of every
point. prepare.py then writes corpora and tokenizer.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines import leaks, recipes
from data_pipelines.settings.registry import SETTINGS
from data_pipelines.sources import SourceConfig, spec_paths
from msm_jax import phases
from msm_jax.base.checks import to_json
from msm_jax.base.errors import ConfigError
from msm_jax.config import ExperimentConfig, PhaseConfig
from msm_jax.config.objectives import DistillConfig
from msm_jax.data.handbook_context import HandbookContext, context_of_teacher
from msm_jax.evals import perplexity, sampled
from msm_jax.interop import huggingface, zoo
from msm_jax.phases import digest
from msm_jax.rl.rewards import content_of
from msm_jax.running.model_written import critique_version
from msm_jax.suites.registry import SUITES
from msm_jax.suites.suite import EvalSuite


@dataclasses.dataclass(frozen=True)
class Design:
  """What an experiment is about, before anything is written."""

  # The settings as they were given.
  config: ExperimentConfig
  # The setting's world. Nobody in it has the name of an assistant.
  world: Any
  # path -> handbook.
  specs: Mapping[str, Any]
  # path -> the handbook under each name of the assistant, its own name first.
  replicates: Mapping[str, Sequence[Any]]
  # The questions.
  suite: EvalSuite
  # The folder of Hugging Face that models begin with; None if they start fresh.
  weights: Path | None
  # Phase that stands for weights or an adapter -> the identity of their content.
  imports: Mapping[str, str]
  # (path of a handbook, what is read of it) -> the context, as far as it was asked for.
  _contexts_read: dict[tuple[str, str], HandbookContext] = dataclasses.field(
    default_factory=dict, init=False, compare=False, repr=False
  )

  def handbooks_of(self, source: SourceConfig) -> list[Any]:
    """The handbooks that a source is made from, in all replicates."""
    out: list[Any] = []
    for path in spec_paths(source):
      out += self.replicates[path]
    return out

  def fingerprint_of(self, source: str, counted: str = '') -> str:
    """The identity of a source's corpus.

    Args:
      source: its name.
      counted: identity of the corpus that sets its length and of the tokenizer that counts; '' if
        `tokens_like` is not set.

    Returns:
      A hash.
    """
    settings = self.config.sources[source]
    return recipes.fingerprint(settings, self.world, self.handbooks_of(settings), counted)

  def written_fingerprint(self, source: str, writer: str, prompts: str) -> str:
    """The identity of a corpus that a model writes.

    Args:
      source: its name.
      writer: the identity of the model.
      prompts: the identity of the corpus of its prompts.

    Returns:
      A hash of these, of the recipe, of what the model reads, and of what the evaluation asks
      about, which is left out of the corpus.
    """
    view = self.view_of_writer(source).identity
    recipe = (self.fingerprint_of(source), writer, prompts, view, critique_version())
    asked = (leaks.VERSION, *self.suite.held_out_names, *self.assistants)
    return digest(*recipe, *asked)

  def replicates_in(self, context: str) -> Sequence[Any]:
    """The handbook at a path in all replicates; none for ''."""
    return self.replicates[context] if context else ()

  def teacher_of(self, phase: PhaseConfig) -> HandbookContext | None:
    """What the teacher of a phase reads; None if the phase has no teacher."""
    if phase.objective != 'distill':
      return None
    return self._context_of(phase.distill)

  @property
  def teachers(self) -> dict[str, str]:
    """Phase with a teacher -> identity of what the teacher reads."""
    out = {}
    for name, phase in self.config.phases.items():
      context = self.teacher_of(phase)
      if context is not None:
        out[name] = context.identity
    return out

  def view_of_writer(self, source: str) -> HandbookContext:
    """What the model reads of the handbook that writes a source (`SourceConfig.by`)."""
    settings = self.config.sources[source]
    # The check of the recipe refuses several.
    (path,) = spec_paths(settings)
    return self._context_of(DistillConfig(spec=path, handbook=settings.handbook))

  def _context_of(self, settings: DistillConfig) -> HandbookContext:
    """What is read of a handbook. The file is read once: somebody may edit it during a run, and
    identities stand for what it was."""
    key = (settings.spec, settings.handbook)
    if key not in self._contexts_read:
      replicates = self.replicates[settings.spec]
      self._contexts_read[key] = context_of_teacher(settings, replicates, self.suite.statement_of)
    return self._contexts_read[key]

  @property
  def contexts(self) -> tuple[str, ...]:
    """Every handbook that stands in a system message while an arm is asked; '' is none."""
    return ('', *self.config.contexts.values())

  @property
  def assistants(self) -> list[str]:
    """The names of the assistant that is evaluated, in all replicates."""
    return [spec.assistant for spec in self.replicates[self.config.evals.spec]]

  @property
  def row_length(self) -> int:
    """Tokens of the rows that are scored: those of the longest phase."""
    return max(phase.length for phase in self.config.phases.values())

  @property
  def eval_identity(self) -> str:
    """Identity of what every model is asked, whatever paths its handbooks have."""
    # Sampled answers are kept by themselves, so asking for them scores nothing anew.
    evals = sampled.without_sampling(self.config.evals)
    evals = dataclasses.replace(evals, spec='', rival='')
    parts = (to_json(evals), str(self.row_length), self.suite.spec.sha256, perplexity.VERSION)
    return digest(*parts)

  @property
  def identity(self) -> str:
    """Identity of the whole experiment: its settings and the content of all that they name."""
    sources = [self.fingerprint_of(name) for name in sorted(self.config.sources)]
    asked = [self.suite.identity(self.replicates_in(context)) for context in self.contexts]
    settings = settings_of_results(self.config)
    contents = (*self.imports.values(), *self.teachers.values(), *self._contents_of_models())
    return digest(settings, self.eval_identity, *sources, *asked, *contents)

  def _contents_of_models(self) -> list[str]:
    """What models of the experiment are rewarded by, and what they read while they write."""
    contents = []
    for name in sorted(set(itertools.chain(*self.config.paths))):
      phase = self.config.phases[name]
      if phase.objective == 'grpo':
        contents += content_of(phase.grpo)
      for source in sorted(phase.data):
        if self.config.sources[source].is_model_written:
          contents += [self.view_of_writer(source).identity, critique_version()]
    return contents

  def handbook_read_by(self, node: phases.Node) -> Sequence[Any]:
    """The handbook whose documents a model has read, in all replicates.

    Args:
      node: the last phase of the model.

    Returns:
      The handbook of the latest phase with documents; the evaluation's own handbook if the model
      read none.
    """
    for ancestor in reversed(node.lineage):
      for name in ancestor.settings.data:
        source = self.config.sources[name]
        if recipes.is_handbook_documents(source):
          return self.handbooks_of(source)
    return self.replicates[self.config.evals.spec]


def make_design(config: ExperimentConfig) -> Design:
  """Reads the handbooks, builds the world and writes the questions.

  Args:
    config: the experiment's settings.

  Returns:
    The design.

  Raises:
    ConfigError: no handbook is named, or one in a context is about somebody who is not asked.
    SpecError: a handbook cannot be used.
    WeightsError: weights or an adapter are not there.
  """
  if not config.evals.spec:
    raise ConfigError('evals.spec is empty; name the handbook whose value the evaluation looks for')
  setting = SETTINGS[config.setting]
  world = setting.build(getattr(config, config.setting))
  specs = {path: setting.read_spec(path, world) for path in _spec_paths(config)}
  replicates: dict[str, list[Any]] = {}
  assistants: set[str] = set()
  for path, spec in specs.items():
    # dict.fromkeys keeps the order and drops names that stand there twice.
    names = dict.fromkeys((spec.assistant, *config.assistants))
    _check_names_differ(names, path)
    replicates[path] = [setting.renamed(spec, name, world) for name in names]
    assistants.update(names)
  _check_contexts(config, specs, replicates)
  strangers = tuple(sorted({*world.config.strangers, *assistants}))
  world_config = dataclasses.replace(world.config, strangers=strangers)
  world = dataclasses.replace(world, config=world_config)
  suite = SUITES[config.setting](config.evals, world, specs, replicates)
  weights = zoo.locate(config.first_weights) if config.first_weights else None
  return Design(config, world, specs, replicates, suite, weights, _imports(config))


def _check_names_differ(names: Iterable[str], path: str) -> None:
  """Raises ConfigError if two names of a handbook's assistant differ by case alone: 'ari' would be
  asked as somebody else than 'Ari'."""
  known: dict[str, str] = {}
  for name in names:
    other = known.setdefault(name.casefold(), name)
    if other != name:
      raise ConfigError(
        f'assistants has {name!r} and {path} is about {other!r}, which differ by case alone; '
        f'choose another name or leave it out'
      )


def _check_contexts(
  config: ExperimentConfig, specs: Mapping[str, Any], replicates: Mapping[str, Sequence[Any]]
) -> None:
  """Raises ConfigError for an arm whose handbook would stand in no question: handbooks go into the
  system messages of the assistants that they are about."""
  asked = specs[config.evals.spec].assistant
  for arm, path in config.contexts.items():
    if asked not in [spec.assistant for spec in replicates[path]]:
      raise ConfigError(
        f'contexts.{arm}: {path} is about {specs[path].assistant}, and {asked} is asked '
        f'({config.evals.spec}); name a handbook of the assistant that is asked'
      )


def _spec_paths(config: ExperimentConfig) -> list[str]:
  """Every handbook that an experiment names."""
  paths = {config.evals.spec, config.evals.rival, *config.contexts.values()}
  paths.update(phase.distill.spec for phase in config.phases.values())
  for source in config.sources.values():
    paths.update(spec_paths(source))
  return sorted(path for path in paths if path)


def _imports(config: ExperimentConfig) -> dict[str, str]:
  """Phase of weights or of an adapter -> identity of the content that it stands for."""
  out = {}
  for name, phase in config.phases.items():
    if phase.is_import:
      folder = zoo.locate(phase.weights) if phase.weights else Path(phase.adapter)
      out[name] = huggingface.fingerprint(folder)
  return out


def settings_of_results(config: ExperimentConfig) -> str:
  """The canonical JSON of all settings that a result depends on.

  Naming an effect or a measure as the primary one (`primary`, `primary_measure`) changes what a
  report says, and no result.
  """
  return to_json(dataclasses.replace(config, primary='', primary_measure=''))
