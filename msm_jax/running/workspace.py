"""An experiment in its workdir: what is prepared for it, and where everything of it lies.

`Workspace` knows the designs and corpora of every seed, the compiled functions, the folder of every
phase, and how the parameters of a model are loaded. It trains and evaluates nothing: that is done
by node_training.py and node_evaluation.py, in the order of experiment.py.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from data_pipelines import corpora
from msm_jax import checkpointing, sharding
from msm_jax.base.checks import to_json
from msm_jax.base.errors import DataError, SpecError
from msm_jax.config import ExperimentConfig, ModelConfig
from msm_jax.data.packing import DATA_ORDER
from msm_jax.evals import sampled
from msm_jax.evals.lower_layers import LowerLayers
from msm_jax.models import Params, ParamsLocation
from msm_jax.phases import ModelWrittenCorpus, Node, digest, order_for_identity
from msm_jax.prepare import prepare
from msm_jax.running.design import Design, make_design, settings_of_results
from msm_jax.running.prepared import Prepared
from msm_jax.running.replication import config_of_seed
from msm_jax.tokenizer import load_tokenizer
from msm_jax.training.train_step import Program, make_program

# The rule of order that no identity of an experiment names; see `Workspace._more_contents`.
_FIRST_DATA_ORDER = 'by the random key of each record'


def no_stop() -> bool:
  """A `stop` that never asks to stop."""
  return False


def _sampled_by(design: Design) -> list[str]:
  """The identities of the answers that are sampled, for each handbook in the context."""
  evals = design.config.evals
  identities = []
  for context in design.contexts:
    questions = design.suite.sampled_questions(design.replicates_in(context))
    identities.append(sampled.identity(sampled.chosen_questions(questions, evals), evals))
  return identities


def _check_same_handbooks(designs: Iterable[Design]) -> None:
  """Raises SpecError if a handbook was edited while each seed read it: a mean over seeds would be
  about two handbooks."""
  known: dict[str, str] = {}
  for design in designs:
    for path, spec in design.specs.items():
      if known.setdefault(path, spec.sha256) != spec.sha256:
        raise SpecError(
          f'{path} was edited while the run began, and seeds have read different texts of it; run '
          'the same command again'
        )


def _check_same_files(all_prepared: Iterable[Prepared]) -> None:
  """Raises DataError if a file of records was edited while each seed read it.

  Where every seed has corpora of its own, they are written one after the other, which takes
  minutes. A file is the same for all of them.
  """
  known: dict[str, str] = {}
  for prepared in all_prepared:
    for name, corpus in prepared.corpora.items():
      source = prepared.config.sources[name]
      # How much is read of a file may depend on another corpus, which is the seed's own.
      if not source.path or source.tokens_like:
        continue
      content = corpus.card['content']
      if known.setdefault(name, content) != content:
        raise DataError(
          f'sources.{name}: {source.path} was edited while corpora were written, and seeds have '
          'read different texts of it; run the same command again'
        )


class Workspace:
  """An experiment and its workdir.

  Attributes:
    config: its settings.
    workdir: where corpora and phases lie.
    stop: asked regularly whether to save and stop.
    lower_layers: keeps for the next arm what frozen layers made of questions; None outside of
      `keeping_frozen`.
  """

  def __init__(self, config: ExperimentConfig, workdir: Path, stop: Callable[[], bool] = no_stop):
    self.config, self.workdir, self.stop = config, workdir, stop
    # Where frozen parameters lie and their model -> the parameters, inside of `keeping_frozen`.
    self._frozen: dict[tuple[Path | None, ModelConfig], Params] | None = None
    # What the layers below all adapters made of what was asked, inside of `keeping_frozen`.
    self.lower_layers: LowerLayers | None = None

  # ------------------------------------------------------------------------- what is prepared

  @functools.cached_property
  def designs(self) -> dict[int, Design]:
    """Seed -> its handbooks and questions. Seeds that read the same texts share one object."""
    by_settings: dict[str, Design] = {}
    out = {}
    for seed in self.config.seeds:
      settings = config_of_seed(self.config, seed)
      key = to_json(settings)
      if key not in by_settings:
        by_settings[key] = make_design(settings)
      out[seed] = by_settings[key]
    _check_same_handbooks(by_settings.values())
    return out

  @property
  def design(self) -> Design:
    """The handbooks and the questions of the first seed."""
    return self.designs[self.config.seeds[0]]

  @property
  def identity(self) -> str:
    """Identity of the experiment: its settings and the content of all that they name."""
    identities = list(dict.fromkeys(design.identity for design in self.designs.values()))
    identities += self._more_contents()
    if len(identities) == 1:
      return identities[0]
    return digest(settings_of_results(self.config), *identities)

  def _more_contents(self) -> list[str]:
    """What phases and kept answers are known by, and designs are not.

    It is empty for an experiment that imports nothing, samples nothing and reads its sources and
    their records in the order of before, so that finished points of its sweeps stay finished.
    """
    contents = []
    if self.design.weights:
      # The chat template is no part of the weights' own identity.
      contents.append(load_tokenizer(self.design.weights).fingerprint)
    for name in sorted(set(itertools.chain(*self.config.paths))):
      data = self.config.phases[name].data
      # Every phase that reads data is known by the rule, and trained anew under another one.
      if data and DATA_ORDER != _FIRST_DATA_ORDER:
        contents.append(f'order {DATA_ORDER}')
      contents += order_for_identity(self.config.sources, data)
    if self.config.evals.sampled:
      for design in self.designs.values():
        contents += _sampled_by(design)
    return list(dict.fromkeys(contents))

  @functools.cached_property
  def prepared_by_seed(self) -> dict[int, Prepared]:
    """Seed -> corpora, tokenizer and plan. What is missing on disk is written when this is first
    asked for. Seeds that read the same texts share one object."""
    by_design: dict[int, Prepared] = {}
    out = {}
    for seed, design in self.designs.items():
      if id(design) not in by_design:
        by_design[id(design)] = prepare(design, self.workdir)
      out[seed] = by_design[id(design)]
    _check_same_files(by_design.values())
    return out

  @property
  def prepared(self) -> Prepared:
    """Corpora, tokenizer and plan of the first seed."""
    return self.prepared_by_seed[self.config.seeds[0]]

  @property
  def all_prepared(self) -> list[Prepared]:
    """Everything that was prepared, each object once."""
    return list({id(prepared): prepared for prepared in self.prepared_by_seed.values()}.values())

  @functools.cached_property
  def mesh(self) -> jax.sharding.Mesh:
    return sharding.make_mesh(**dataclasses.asdict(self.config.mesh))

  @property
  def program(self) -> Program:
    """The compiled functions that all phases of the first seed share."""
    return self.program_of(self.config.seeds[0])

  def program_of(self, seed: int) -> Program:
    """The compiled functions that all phases of a seed share. Seeds with models of one size, which
    is the rule, share them too."""
    config = self.prepared_by_seed[seed].config
    return make_program(
      config.model, config.optimizer, config.loss_chunk, self.mesh, 'next_token', None
    )

  # -------------------------------------------------------------------- where things lie

  def folder(self, node: Node) -> Path:
    """Where a phase keeps its checkpoints, metrics and evaluation rows."""
    return self.workdir / 'phases' / node.folder_name

  def is_trained(self, node: Node) -> bool:
    """Whether a phase has come to its end."""
    if node.settings.is_import:
      return True
    checkpoints = checkpointing.Checkpoints(self.folder(node) / 'checkpoints')
    return checkpoints.latest() == node.settings.updates

  def points_of(self, node: Node) -> checkpointing.Checkpoints:
    """The parameters that a phase keeps beside its checkpoints, which do not stay."""
    return checkpointing.Checkpoints(self.folder(node) / 'points', keep=None)

  def written_folder(self, item: ModelWrittenCorpus) -> Path:
    return self.workdir / 'data' / f'{item.source}-{item.fingerprint}'

  def written_card(self, item: ModelWrittenCorpus) -> dict[str, Any]:
    """The card of a corpus that a model has written."""
    card = corpora.read_card(self.written_folder(item))
    assert card is not None  # a phase that reads it was trained
    return card

  def location(self, node: Node) -> ParamsLocation:
    """Says where the parameters lie that a phase leaves behind.

    Args:
      node: the phase.

    Returns:
      The location; it need not exist yet.
    """
    settings = node.settings
    checkpoints = None
    if not settings.is_import:
      checkpoints = self.folder(node) / 'checkpoints'
    adapter = Path(settings.adapter) if settings.adapter else None
    prepared = self.prepared_by_seed[node.seed]
    model, weights = prepared.config.model, prepared.design.weights
    return ParamsLocation(model, weights, adapter, checkpoints, settings.updates)

  def location_at(self, node: Node, update: int) -> ParamsLocation:
    """Says where the parameters lie that a phase had after an update of `evaluate_at`."""
    if update == node.settings.updates:
      return self.location(node)
    if update == 0 and node.parent is not None:
      return self.location(node.parent)
    points = self.points_of(node).folder
    return dataclasses.replace(self.location(node), checkpoints=points, updates=update)

  def load_params(self, node: Node, update: int | None = None) -> Params:
    """Loads all parameters of a model, frozen ones too, laid out over the mesh.

    Args:
      node: the last phase of the model.
      update: one of the phase's `evaluate_at`; None for its end.

    Returns:
      The parameters.
    """
    if update is None:
      update = node.settings.updates
    location, program = self.location_at(node, update), self.program_of(node.seed)
    abstract = program.abstract_state
    params = location.load_trained(abstract.params)
    if params is None:
      # Adapters that nothing has trained. One of their matrices is zero, so any seed will do.
      params = program.init(jax.random.key(node.seed)).params
    return self._load_frozen(location, abstract.frozen) | params

  @contextlib.contextmanager
  def keeping_frozen(self) -> Iterator[None]:
    """Keeps the frozen parameters on the devices while several models are loaded one by one.

    All arms with adapters share them, and reading large weights takes minutes. They may not be kept
    while a phase is trained: it has frozen parameters of its own, so there would be two copies.
    What frozen layers made of questions is kept as long (`lower_layers`).

    Yields:
      Nothing.
    """
    self._frozen, self.lower_layers = {}, LowerLayers()
    try:
      yield
    finally:
      self._frozen = self.lower_layers = None

  def _load_frozen(self, location: ParamsLocation, abstract: Params) -> Params:
    if self._frozen is None or not abstract:
      return location.load_frozen(abstract)
    key = (location.weights, location.model)
    if key not in self._frozen:
      # There is room for the weights of one model.
      self._frozen.clear()
      self._frozen[key] = location.load_frozen(abstract)
    return self._frozen[key]
