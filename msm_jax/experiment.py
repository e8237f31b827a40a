"""Runs what is left to run of an experiment: arms x seeds, read by evaluators.

The order is: prepare data and questions, train every phase of the tree once, evaluate every arm,
write the summary and the report. Whatever is finished lies on disk and is read again, so the same
command continues where the last run ended.
"""

import dataclasses
import functools
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from data_pipelines import corpora
from data_pipelines.records import Record
from msm_jax import checkpointing, multihost, outputs, sharding, train
from msm_jax.base.checks import to_json
from msm_jax.base.console import say
from msm_jax.base.errors import Interrupted, UserError
from msm_jax.base.files import read_json_lines
from msm_jax.base.version import VERSION, source_state
from msm_jax.config import ExperimentConfig
from msm_jax.evals import perplexity, sampled, scoring
from msm_jax.evals.answers import read_answers
from msm_jax.evals.rows import Row, to_lines
from msm_jax.evals.summary import base_arm
from msm_jax.inference.batch import cast_params
from msm_jax.metrics import count_skipped
from msm_jax.model import count_params
from msm_jax.model_written import Writer, write_records
from msm_jax.models import Params, ParamsLocation
from msm_jax.objectives import registry
from msm_jax.phases import Node, Written, digest
from msm_jax.prepare import (
  Corpus,
  Design,
  Prepared,
  check_leaks,
  check_questions_fit,
  make_design,
  prepare,
  without_leaks,
)
from msm_jax.replication import config_of_seed, what_varies
from msm_jax.reward_model import RewardModel
from msm_jax.rewards import Rewards, make_rewards
from msm_jax.rollouts import check_before_training
from msm_jax.source_checks import check_source_fits, check_sources_fit

# Packages whose versions a checkpoint records.
RECORDED_PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain')


class ExperimentError(UserError, RuntimeError):
  """An experiment that cannot run."""


def no_stop() -> bool:
  """A `stop` that never asks to stop."""
  return False


class Experiment:
  """One experiment in a workdir.

  Attributes:
    config: its settings.
    workdir: where corpora and phases lie.
    stop: asked regularly whether to save and stop.
    outputs: where results go; the points of a sweep share a workdir and have a folder each for
      these.
  """

  def __init__(
    self,
    config: ExperimentConfig,
    workdir: Path,
    stop: Callable[[], bool] = no_stop,
    outputs: Path | None = None,
  ):
    self.config, self.workdir, self.stop = config, workdir, stop
    self.outputs = outputs or workdir
    # Asked now, because files may be edited while the experiment runs.
    self._source_state = source_state()

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
    return out

  @property
  def design(self) -> Design:
    """The handbooks and the questions of the first seed."""
    return self.designs[self.config.seeds[0]]

  @property
  def identity(self) -> str:
    """Identity of the experiment: its settings and the content of all that they name."""
    identities = list(dict.fromkeys(design.identity for design in self.designs.values()))
    if len(identities) == 1:
      return identities[0]
    return digest(to_json(self.config), *identities)

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
    return out

  @property
  def prepared(self) -> Prepared:
    """Corpora, tokenizer and plan of the first seed."""
    return self.prepared_by_seed[self.config.seeds[0]]

  @property
  def _all_prepared(self) -> list[Prepared]:
    """Everything that was prepared, each object once."""
    return list({id(prepared): prepared for prepared in self.prepared_by_seed.values()}.values())

  @functools.cached_property
  def mesh(self) -> jax.sharding.Mesh:
    return sharding.make_mesh(**dataclasses.asdict(self.config.mesh))

  @property
  def program(self) -> train.Program:
    """The compiled functions that all phases of the first seed share."""
    return self.program_of(self.config.seeds[0])

  def program_of(self, seed: int) -> train.Program:
    """The compiled functions that all phases of a seed share. Seeds with models of one size, which
    is the rule, share them too."""
    config = self.prepared_by_seed[seed].config
    return train.make_program(config.model, config.optimizer, config.loss_chunk, self.mesh)

  # ---------------------------------------------------------------------------------- the run

  def run(self) -> dict[str, Any]:
    """Does what is left to do.

    Returns:
      The contents of summary.json.

    Raises:
      UserError: something that the user can mend; nothing finished is lost.
      Interrupted: `stop()` turned true; everything is saved.
    """
    with multihost.first_process_first():
      for prepared in self._all_prepared:
        check_leaks(prepared, self.workdir)
        check_sources_fit(prepared)
    nodes: list[Node] = []
    ends: dict[tuple[str, int], Node] = {}
    for prepared in self._all_prepared:
      check_questions_fit(prepared)
      nodes += prepared.nodes
      ends |= prepared.ends
    if self.config.evals.sampled and jax.process_count() > 1:
      raise ExperimentError(
        'answers are sampled by one process, and there are '
        f'{jax.process_count()}; set evals.sampled=0 here, and sample later in one process'
      )
    trained = multihost.broadcast_from_first([self.is_trained(node) for node in nodes])
    untrained = [node for node, done in zip(nodes, trained, strict=True) if not done]
    self._check_space(untrained)
    # The last phase's rows are checked, too, before the first phase is trained.
    for node in nodes:
      if not node.settings.is_import:
        train.check_rows(node.settings, node.phase, self.mesh)
      if node.settings.objective == 'grpo':
        tokenizer = self.prepared_by_seed[node.seed].tokenizer
        check_before_training(node.settings.grpo, tokenizer, node.phase)
    for n, node in enumerate(nodes, 1):
      number = f'[{n}/{len(nodes)}]'
      if not trained[n - 1]:
        self.train(node, number)
      self.keep_missing_points(node, number)
      finished = {key: end for key, end in ends.items() if end.id == node.id}
      self.list_arms(finished)
    # Writing this text takes as long as reading all results, so it is written only if some model
    # is left to evaluate, and once.
    held_out = {}
    for prepared in self._all_prepared:
      held_out[id(prepared)] = functools.cache(prepared.held_out)
    rows: list[Row] = []
    along: list[Row] = []
    answers: list[dict[str, Any]] = []
    base = base_arm(self.config)
    for n, ((arm, seed), node) in enumerate(ends.items(), 1):
      say(f'evaluating [{n}/{len(ends)}] {arm} (seed {seed})')
      context = self.config.contexts.get(arm, '')
      unseen = held_out[id(self.prepared_by_seed[seed])]
      of_model = self.evaluate(node, unseen, context, arm == base)
      if self.config.evals.sampled:
        sampled_answers, sampled_rows = self.sample(node, of_model, context)
        answers += sampled.with_model(sampled_answers, arm, seed)
        of_model = [*of_model, *sampled_rows]
      for row in of_model:
        rows.append({'arm': arm, 'seed': seed, **row})
      for update in node.points:
        say(f'evaluating [{n}/{len(ends)}] {arm} (seed {seed}) at update {update}')
        for row in self.evaluate(node, unseen, context, update=update):
          along.append({'arm': arm, 'seed': seed, 'phase': node.phase, 'update': update, **row})
      if multihost.any_process(self.stop()):
        raise Interrupted(f'stopped after evaluating {arm}')
    with multihost.first_process_first():
      if answers:
        outputs.write_answers(answers, self.outputs)
      return self._summarize(rows, along)

  def _check_space(self, untrained: Sequence[Node]) -> None:
    """Refuses to start what the disk cannot hold.

    A phase keeps two checkpoints, each with the parameters and two moments in float32, and the
    parameters at each of its points.
    """
    parameters = count_params(self.program.abstract_state.params)
    phases_left = len(untrained)
    points = sum(len(node.kept_points) for node in untrained)
    need = (phases_left * 2 * 3 + points) * 4 * parameters
    free = multihost.broadcast_from_first(shutil.disk_usage(self.workdir).free)
    if need > free:
      raise ExperimentError(
        f'{self.workdir} has {free / 2**20:,.0f} MiB free and the {phases_left} phases left need '
        f'about {need / 2**20:,.0f} MiB; free some or choose another --workdir'
      )

  # --------------------------------------------------------------------------------- training

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

  def keep_missing_points(self, node: Node, number: str) -> None:
    """Trains a finished phase again as far as its missing points need, and keeps these.

    They are missing if `evaluate_at` was changed after the phase was trained. The same updates give
    the same parameters, so its end stays as it is.

    Args:
      node: the phase, trained to its end.
      number: which phase of how many, for the progress line.
    """
    points = self.points_of(node)
    missing = [update for update in node.kept_points if not points.has(update)]
    missing = multihost.broadcast_from_first(missing)
    if not missing:
      return
    listed = ', '.join(map(str, missing))
    say(
      f'{number} {node.phase} (seed {node.seed}): its parameters at update {listed} were not kept; '
      f'its first {missing[-1]} updates are trained again, its end stays as it is'
    )
    again = self.folder(node) / 'again'
    self.train(node, number, again, missing[-1])
    if multihost.is_first():
      shutil.rmtree(again)

  def train(
    self, node: Node, number: str, folder: Path | None = None, until: int | None = None
  ) -> None:
    """Trains one phase to its end, from wherever it stands.

    Args:
      node: the phase; its parent is trained.
      number: which phase of how many, for the progress line.
      folder: where it leaves checkpoints and metrics; None for its own folder.
      until: if given, training ends after this update.
    """
    prepared = self.prepared_by_seed[node.seed]
    if folder is None:
      folder = self.folder(node)
    folder.mkdir(parents=True, exist_ok=True)
    # The world's own text comes first. Then phases of one stream that replay the same text read it
    # in the same order, whatever else they read.
    sources = prepared.config.sources
    shares = sorted(
      node.settings.data.items(), key=lambda item: (not sources[item[0]].is_world, item[0])
    )
    written = {item.source: self.written_corpus(node, item) for item in node.written}
    data = []
    for name, share in shares:
      data.append((prepared.source_of(name, node.settings, written), share))
    with multihost.first_process_first():
      for source, _ in data:
        # Tokenized once, by the first process; the others read its file. Reinforcement learning
        # reads prompts alone.
        if node.settings.objective != 'grpo':
          source.tokens(prepared.tokenizer)
    parent = None
    if node.parent:
      parent = self.location(node.parent).load_trained
    load_frozen = None
    if prepared.design.weights:
      load_frozen = self.location(node).load_frozen
    train.train_phase(
      prepared.config,
      node.settings,
      f'{number} {node.phase} (seed {node.seed})',
      int(digest(node.settings.stream or node.phase, str(node.seed)), 16) % 2**31,
      prepared.tokenizer,
      data,
      parent,
      folder,
      self._meta(node),
      self.stop,
      load_frozen,
      node.kept_points,
      self.points_of(node) if node.kept_points else None,
      until,
      self._rewards_of(node, folder),
    )

  def _written_folder(self, item: Written) -> Path:
    return self.workdir / 'data' / f'{item.source}-{item.fingerprint}'

  def _written_card(self, item: Written) -> dict[str, Any]:
    """The card of a corpus that a model has written."""
    card = corpora.read_card(self._written_folder(item))
    assert card is not None  # a phase that reads it was trained
    return card

  def written_corpus(self, node: Node, item: Written) -> Corpus:
    """Opens a corpus that a model of the experiment writes, or has it written.

    Args:
      node: the phase that reads it.
      item: what is written, and by which model; it is trained.

    Returns:
      The corpus.

    Raises:
      WritingError: the model writes nothing of use.
      DataError: too much of it does not fit into the rows of the phase.
      Interrupted: `stop()` turned true; what is written is kept.
    """
    prepared, folder = self.prepared_by_seed[node.seed], self._written_folder(item)
    name = item.source
    card = multihost.broadcast_from_first(corpora.read_card(folder))
    if card is None:
      self._write(prepared, item, folder)
      card = self._written_card(item)
    corpus = Corpus(name, folder, item.fingerprint, card)
    if node.settings.objective != 'grpo':
      source = prepared.source_of(name, node.settings, {name: corpus})
      check_source_fits(prepared, source, node.settings.length)
    return corpus

  def _write(self, prepared: Prepared, item: Written, folder: Path) -> None:
    """Has a corpus written by its model. Process 0 stores it."""
    config, design = prepared.config, prepared.design
    recipe = config.sources[item.source]
    params = cast_params(config.model, self.load_params(item.writer))
    with jax.set_mesh(self.mesh):
      writer = Writer(
        config.model, params, prepared.tokenizer, design.row_length, config.evals.rows, self.mesh
      )
      asked = list(prepared.corpora[recipe.prompts].records())
      partial = folder.with_name(f'{folder.name}.part.jsonl')
      view = design.view_of_writer(item.source)
      records = write_records(item.source, recipe, view, asked, writer, partial, self.stop)
    records = without_leaks(prepared, item.source, records)
    with multihost.first_process_first():
      if multihost.is_first():
        about = {
          'name': item.source,
          'fingerprint': item.fingerprint,
          'recipe': dataclasses.asdict(recipe),
          'writer': item.writer.folder_name,
        }
        corpora.write_corpus(folder, records, about)
        partial.unlink(missing_ok=True)

  def _rewards_of(self, node: Node, folder: Path) -> Rewards | None:
    """What judges the answers of a phase of reinforcement learning; None for other phases."""
    if node.settings.objective != 'grpo':
      return None
    prepared = self.prepared_by_seed[node.seed]
    config = prepared.config
    models = {}
    for name, needed in zip(node.settings.grpo.reward_models, node.judges, strict=True):
      objective, settings = needed.settings.objective, registry.settings_of(needed.settings)
      program = train.make_program(
        config.model, config.optimizer, config.loss_chunk, self.mesh, objective, settings
      )
      trained = self.location(needed).load_trained(program.abstract_state.params)
      assert trained is not None  # a reward model is trained, so it has a checkpoint
      length = max(node.settings.length, needed.settings.length)
      models[name] = RewardModel(
        name,
        config.model,
        trained,
        prepared.tokenizer,
        length,
        needed.settings.batch_size,
        self.mesh,
      )
    return make_rewards(node.settings.grpo, models, folder)

  def _meta(self, node: Node) -> dict[str, Any]:
    """What a checkpoint records beside arrays."""
    prepared = self.prepared_by_seed[node.seed]
    versions = {'msm_jax': VERSION}
    for package in RECORDED_PACKAGES:
      versions[package] = importlib.metadata.version(package)
    written = {item.source: self._written_card(item) for item in node.written}
    content = {}
    for name in node.settings.data:
      card = written[name] if name in written else prepared.corpora[name].card
      content[name] = card['content']
    return {
      'tokenizer': prepared.tokenizer.fingerprint,
      'data': content,
      'lineage': [ancestor.folder_name for ancestor in node.lineage],
      'seed': node.seed,
      'specs': {path: spec.sha256 for path, spec in prepared.design.specs.items()},
      'config': json.loads(to_json(prepared.config)),
      'versions': versions,
    }

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
      params = program.init(jax.random.key(node.seed)).params
    return location.load_frozen(abstract.frozen) | params

  def list_arms(self, finished: Mapping[tuple[str, int], Node]) -> None:
    """Lists arms in arms.json, from which `open_arm` opens them.

    Args:
      finished: (arm, seed) -> the last phase of its path, which is trained to its end.
    """
    entries = {}
    for (arm, seed), node in finished.items():
      prepared = self.prepared_by_seed[seed]
      path = self.config.arms[arm]
      entries[arm, seed] = outputs.arm_entry(
        prepared, path, node, self.location(node), self.outputs
      )
      for update in node.settings.evaluate_at:
        where = self.location_at(node, update)
        entry = outputs.arm_entry(prepared, f'{path}@{update}', node, where, self.outputs)
        entries[f'{arm}@{update}', seed] = entry
    outputs.list_arms(self.outputs, entries)

  # ------------------------------------------------------------------------------- evaluation

  def evaluate(
    self,
    node: Node,
    held_out: Callable[[], Mapping[str, Sequence[Record]]],
    context: str = '',
    is_base: bool = False,
    update: int | None = None,
  ) -> list[Row]:
    """Asks every evaluator about one model.

    On the way of a phase, the assistant alone is asked: what other people do and how well held-out
    text is read is asked at its end.

    The rows are kept beside the model's checkpoints, under the hash of what was asked.

    Args:
      node: the last phase of the model.
      held_out: gives the text for perplexity, see `Prepared.held_out`. It is called only if the
        rows are not kept.
      context: path of a handbook that stands in the assistants' system message; '' for none.
      is_base: whether the model is the base, which gates judge.
      update: the update of the last phase after which the model is meant; None for its end.

    Returns:
      Rows without arm and seed.
    """
    prepared = self.prepared_by_seed[node.seed]
    design, suite = prepared.design, prepared.design.suite
    in_context = design.replicates_in(context)
    asked_as = ['base'] if is_base and design.config.evals.gate_scenes else []
    others = update is None and (is_base or design.config.evals.others_of == 'all')
    if not others:
      asked_as.append('assistant alone')
    identity = digest(design.eval_identity, suite.identity(in_context), *asked_as)
    path = self.folder(node) / f'evals-{identity}.jsonl'
    if update is not None:
      path = path.with_name(f'evals-{identity}-at-{update}.jsonl')
    kept = multihost.broadcast_from_first(read_json_lines(path))
    if kept:
      return kept
    model, length = prepared.config.model, design.row_length
    rows_per_batch = prepared.config.evals.rows
    params = self.load_params(node, update)
    with jax.set_mesh(self.mesh):
      logprobs = scoring.make_logprobs(model, params, prepared.tokenizer, length, rows_per_batch)
      rows = suite.rows(logprobs, design.handbook_read_by(node), in_context, is_base, others)
      if update is None:
        rows += perplexity.held_out_loss(
          model, params, prepared.tokenizer, held_out(), length, rows_per_batch
        )
    # Imported weights have no folder yet.
    path.parent.mkdir(parents=True, exist_ok=True)
    multihost.write_with_checksum(path, to_lines(rows))
    return rows

  def sample(
    self, node: Node, scored: Sequence[Row], context: str = ''
  ) -> tuple[list[dict[str, Any]], list[Row]]:
    """Has one model answer the assistant's questions in free text.

    The answers are kept beside the model's checkpoints, as rows are.

    Args:
      node: the last phase of the model.
      scored: its rows, with which the answers are compared.
      context: as for `evaluate`.

    Returns:
      The answers, and their rows; both without arm and seed.
    """
    prepared = self.prepared_by_seed[node.seed]
    design, evals = prepared.design, prepared.config.evals
    questions = design.suite.sampled_questions(design.replicates_in(context))
    questions = sampled.chosen_questions(questions, evals)
    asked = digest(sampled.identity(questions, evals), str(design.row_length))
    path = self.folder(node) / f'answers-{asked}.jsonl'
    kept = read_json_lines(path)
    if not kept:
      params = self.load_params(node)
      answers = sampled.sample_answers(
        prepared.config.model, params, prepared.tokenizer, questions, evals, design.row_length
      )
      kept = [answer.as_row() for answer in answers]
      path.parent.mkdir(parents=True, exist_ok=True)
      multihost.write_with_checksum(path, outputs.json_lines(kept))
    return kept, sampled.rows_of(questions, read_answers(kept, str(path)), scored)

  def _skipped_updates(self) -> dict[str, int]:
    """Folder of a phase -> how many of its updates were not finite; only phases with any."""
    out = {}
    for prepared in self._all_prepared:
      for node in prepared.nodes:
        if node.settings.is_import:
          continue
        skipped = count_skipped(self.folder(node), node.settings.updates)
        if skipped:
          out[node.folder_name] = skipped
    return out

  def _summarize(self, rows: Sequence[Row], along: Sequence[Row]) -> dict[str, Any]:
    """Writes rows, summary, config and report, and returns the summary; `along` are the rows of
    points on the way of phases."""
    # The first seed's settings stand for all, but for the list of seeds.
    config = dataclasses.replace(self.config, model=self.prepared.config.model)
    about = {'what_varies': what_varies(config), **self._source_state}
    skipped = self._skipped_updates()
    if skipped:
      about['skipped_updates'] = skipped
    return outputs.write_results(
      config, self.prepared, rows, along, about, self.workdir, self.outputs
    )
