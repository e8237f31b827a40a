"""Runs what is left to run of an experiment: arms x seeds, read by evaluators.

The order is: prepare data and questions, train every phase of the tree once, evaluate every arm,
write the summary and the report. Whatever is finished lies on disk and is read again, so the same
command continues where the last run ended.
"""

import dataclasses
import functools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from msm_jax import checkpointing, multihost
from msm_jax.base.console import say
from msm_jax.base.errors import Interrupted, UserError
from msm_jax.base.files import size_of
from msm_jax.base.version import source_state
from msm_jax.config import ExperimentConfig
from msm_jax.evals import capability, sampled
from msm_jax.evals.progress import EvaluationProgress
from msm_jax.evals.rows import Row
from msm_jax.evals.summary import base_arm
from msm_jax.metrics import count_skipped
from msm_jax.model import count_params
from msm_jax.phases import Node
from msm_jax.rl.rollouts import check_before_training
from msm_jax.running import contradictions, outputs
from msm_jax.running.node_evaluation import evaluate_node, sample_node
from msm_jax.running.node_training import keep_missing_points, train_node
from msm_jax.running.prepared_checks import check_leaks, check_questions_fit
from msm_jax.running.replication import what_varies
from msm_jax.running.source_checks import check_sources_fit
from msm_jax.running.workspace import Workspace, no_stop
from msm_jax.training.training_checks import check_rows


class ExperimentError(UserError, RuntimeError):
  """An experiment that cannot run."""


@dataclasses.dataclass
class Measured:
  """What was measured of all models.

  Attributes:
    rows: of the ends of arms.
    along: of points on the way of phases.
    answers: sampled answers.
  """

  rows: list[Row] = dataclasses.field(default_factory=list)
  along: list[Row] = dataclasses.field(default_factory=list)
  answers: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Experiment(Workspace):
  """One experiment in a workdir.

  Attributes:
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
    super().__init__(config, workdir, stop)
    self.outputs = outputs or workdir
    # Asked now, because files may be edited while the experiment runs.
    self._source_state = source_state()

  def run(self) -> dict[str, Any]:
    """Does what is left to do.

    Returns:
      The contents of summary.json.

    Raises:
      UserError: something that the user can mend; nothing finished is lost.
      Interrupted: `stop()` turned true; everything is saved.
    """
    # JAX_ENABLE_X64 may be set for other programs. With numbers of 64 bits, a run would be another
    # one of the same identity: dropout draws other masks, and sums are rounded elsewhere.
    with jax.enable_x64(False):
      return self._run()

  def _run(self) -> dict[str, Any]:
    """What `run` does."""
    with multihost.first_process_first():
      if multihost.is_first():
        checkpointing.delete_half_written(self.workdir / 'phases')
      for prepared in self.all_prepared:
        check_leaks(prepared, self.workdir)
        check_sources_fit(prepared)
    self._check_same_inputs()
    nodes: list[Node] = []
    ends: dict[tuple[str, int], Node] = {}
    for prepared in self.all_prepared:
      check_questions_fit(prepared)
      nodes += prepared.nodes
      ends |= prepared.ends
    trained = multihost.broadcast_from_first([self.is_trained(node) for node in nodes])
    self._check_before_training(nodes, trained)
    self._train_all(nodes, trained, ends)
    with self.keeping_frozen():
      measured = self._evaluate_all(ends)
    with multihost.first_process_first():
      if self.config.evals.sampled:
        # Also if there are none: those of an earlier run would look like those of this one, and
        # what judges said about them would go into the summary.
        outputs.write_answers(measured.answers, self.outputs)
      return self._summarize(measured, ends)

  def _check_same_inputs(self) -> None:
    """Refuses several processes that have read different files; see `multihost`."""
    if jax.process_count() == 1:
      # Files are hashed for it, and large ones take long.
      return
    identities = [self.identity]
    for prepared in self.all_prepared:
      identities += [node.id for node in prepared.nodes]
    multihost.check_same_inputs('\n'.join(identities))

  # --------------------------------------------------------------------------------- training

  def _check_before_training(self, nodes: Sequence[Node], trained: Sequence[bool]) -> None:
    """Refuses now what would only fail later, after other phases were trained."""
    if self.config.evals.sampled and jax.process_count() > 1:
      raise ExperimentError(
        'answers are sampled by one process, and there are '
        f'{jax.process_count()}; set evals.sampled=0 here, and sample later in one process'
      )
    # Its folders are called after arms, and an arm may have been renamed or taken out.
    capability.read(self.outputs, self.config.arms)
    self._check_space([node for node, is_done in zip(nodes, trained, strict=True) if not is_done])
    # A finished phase needs neither devices that share its rows nor its judges, unless it is
    # trained again for its points.
    again = multihost.broadcast_from_first([self._lacks_points(node) for node in nodes])
    for node, is_done, is_trained_again in zip(nodes, trained, again, strict=True):
      if is_done and not is_trained_again:
        continue
      if not node.settings.is_import:
        check_rows(node.settings, node.phase, self.mesh)
      if node.settings.objective == 'grpo':
        tokenizer = self.prepared_by_seed[node.seed].tokenizer
        check_before_training(node.settings.grpo, tokenizer, node.phase)

  def _train_all(
    self, nodes: Sequence[Node], trained: Sequence[bool], ends: Mapping[tuple[str, int], Node]
  ) -> None:
    """Trains every phase that is not trained yet, and lists the arms that end with each phase."""
    for n, (node, is_done) in enumerate(zip(nodes, trained, strict=True), 1):
      number = f'[{n}/{len(nodes)}]'
      if not is_done:
        self.train(node, number)
      self.keep_missing_points(node, number)
      finished = {key: end for key, end in ends.items() if end.id == node.id}
      self.list_arms(finished)

  def _lacks_points(self, node: Node) -> bool:
    """Whether a point of a phase is not kept."""
    points = self.points_of(node)
    return not all(points.has(update) for update in node.kept_points)

  def _check_space(self, untrained: Sequence[Node]) -> None:
    """Refuses to start what the disk cannot hold.

    A phase keeps two checkpoints, each with the parameters and two moments in float32, and the
    parameters at each of its points. While it saves a third one, it has three. What a phase that
    was stopped has on disk needs no more space: a disk that suffices for a run suffices for going
    on with it. But a stop saves a checkpoint too, so a phase that would have had two may get three.
    """
    parameters_bytes = 4 * count_params(self.program.abstract_state.params)
    need = 0
    for node in untrained:
      of_phase = (2 * 3 + len(node.kept_points)) * parameters_bytes
      need += max(0, of_phase - size_of(self.folder(node)))
    # Phases are trained one after the other, so one of them has a third checkpoint at a time.
    if any(map(self._saves_a_third, untrained)):
      need += 3 * parameters_bytes
    free = shutil.disk_usage(self.workdir).free
    need, free = multihost.broadcast_from_first([need, free])
    if need > free:
      raise ExperimentError(
        f'{self.workdir} has {free / 2**20:,.0f} MiB free and the {len(untrained)} phases left '
        f'need about {need / 2**20:,.0f} MiB; free some or choose another --workdir'
      )

  def _saves_a_third(self, node: Node) -> bool:
    """Whether an untrained phase has three checkpoints at some moment before it ends, if nobody
    stops it."""
    checkpoints = checkpointing.Checkpoints(self.folder(node) / 'checkpoints')
    reached, every = checkpoints.latest() or 0, node.settings.checkpoint_every
    kept = sum(path.name.isdigit() for path in checkpoints.folder.glob('*'))
    # One at each multiple of `checkpoint_every` that is not reached yet, and one at the end.
    to_come = math.ceil(node.settings.updates / every) - reached // every
    return kept + to_come > 2

  def train(self, node: Node, number: str) -> None:
    """Trains one phase to its end; see `node_training.train_node`."""
    train_node(self, node, number)

  def keep_missing_points(self, node: Node, number: str) -> None:
    """Keeps the points that a finished phase lacks; see `node_training.keep_missing_points`."""
    keep_missing_points(self, node, number)

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

  def _evaluate_all(self, ends: Mapping[tuple[str, int], Node]) -> Measured:
    """Evaluates every arm of every seed, at its end and at its points."""
    # Writing the held-out text takes as long as reading all results. It is therefore written only
    # if some model is left to evaluate, and once.
    held_out = {}
    for prepared in self.all_prepared:
      held_out[id(prepared)] = functools.cache(prepared.held_out)
    measured = Measured()
    base = base_arm(self.config)
    # Kind of a model -> how many tokens the last model of the kind was asked.
    asked: dict[str, int] = {}

    def evaluate(about: str, kind: str, node: Node, **how: Any) -> list[Row]:
      say(about)
      progress = EvaluationProgress(about, self.stop, expected=asked.get(kind, 0))
      unseen = held_out[id(self.prepared_by_seed[node.seed])]
      rows = evaluate_node(self, node, unseen, progress=progress, **how)
      progress.close()
      if progress.done:
        asked[kind] = progress.done
      return rows

    for n, ((arm, seed), node) in enumerate(ends.items(), 1):
      which = f'[{n}/{len(ends)}] {arm} (seed {seed})'
      about = f'evaluating {which}'
      context = self.config.contexts.get(arm, '')
      kind = 'base' if arm == base else 'end'
      rows = evaluate(about, kind, node, context=context, is_base=arm == base)
      if self.config.evals.sampled:
        answers, sampled_rows = sample_node(self, node, rows, f'sampling {which}', context)
        measured.answers += sampled.with_model(answers, arm, seed)
        rows = [*rows, *sampled_rows]
      for row in rows:
        measured.rows.append({'arm': arm, 'seed': seed, **row})
      for update in node.points:
        about_point = f'{about} at update {update}'
        for row in evaluate(about_point, 'point', node, context=context, update=update):
          measured.along.append(
            {'arm': arm, 'seed': seed, 'phase': node.phase, 'update': update, **row}
          )
      if multihost.any_process(self.stop()):
        raise Interrupted(f'stopped after evaluating {arm}')
    return measured

  def _skipped_updates(self) -> dict[str, int]:
    """Folder of a phase -> how many of its updates were not finite; only phases with any."""
    out = {}
    for prepared in self.all_prepared:
      for node in prepared.nodes:
        if node.settings.is_import:
          continue
        skipped = count_skipped(self.folder(node), node.settings.updates)
        if skipped:
          out[node.folder_name] = skipped
    return out

  def _summarize(self, measured: Measured, ends: Mapping[tuple[str, int], Node]) -> dict[str, Any]:
    """Writes rows, summary, config and report, and returns the summary."""
    # The first seed's settings stand for all, but for the list of seeds.
    config = dataclasses.replace(self.config, model=self.prepared.config.model)
    about: dict[str, Any] = {'what_varies': what_varies(config), **self._source_state}
    skipped = self._skipped_updates()
    if skipped:
      about['skipped_updates'] = skipped
    if config.dose_curves:
      about['contradictions_read'] = contradictions.read_by_curve(self, ends)
    return outputs.write_results(
      config, self.prepared, measured.rows, measured.along, about, self.workdir, self.outputs
    )
