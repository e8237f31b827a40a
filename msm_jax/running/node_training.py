"""Trains a node of the tree in a workdir, with everything that it reads.

Some of it comes from other nodes: texts that a model of the experiment writes (`written_corpus`),
and reward models.
"""

import dataclasses
import importlib.metadata
import json
import shutil
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from data_pipelines import corpora
from msm_jax import checkpointing, multihost, train
from msm_jax.base.checks import to_json
from msm_jax.base.console import say
from msm_jax.base.version import VERSION
from msm_jax.data.tokenized import Source
from msm_jax.inference.batch import cast_params
from msm_jax.objectives import registry
from msm_jax.phases import ModelWrittenCorpus, Node, digest, in_reading_order
from msm_jax.rl.reward_model import RewardModel
from msm_jax.rl.rewards import RewardError, Rewards, content_of, make_rewards
from msm_jax.running.model_written import Writer, write_records
from msm_jax.running.prepared import Corpus, Prepared
from msm_jax.running.prepared_checks import without_leaks
from msm_jax.running.source_checks import check_source_fits
from msm_jax.running.workspace import Workspace
from msm_jax.training.phase_checkpoints import Origin
from msm_jax.training.train_step import make_program

# Packages whose versions a checkpoint records.
RECORDED_PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain')


def train_node(
  workspace: Workspace,
  node: Node,
  number: str,
  folder: Path | None = None,
  until: int | None = None,
) -> None:
  """Trains one phase to its end, from wherever it stands.

  Args:
    workspace: the experiment in its workdir.
    node: the phase; its parent is trained.
    number: which phase of how many, for the progress line.
    folder: where it leaves checkpoints and metrics; None for its own folder.
    until: if given, training ends after this update.
  """
  prepared = workspace.prepared_by_seed[node.seed]
  if folder is None:
    folder = workspace.folder(node)
  folder.mkdir(parents=True, exist_ok=True)
  written = {item.source: written_corpus(workspace, node, item) for item in node.written}
  data = sources_of(prepared, node, written)
  with multihost.first_process_first():
    for source, _ in data:
      # Tokenized once, by the first process; the others read its file. Reinforcement learning
      # reads prompts alone.
      if node.settings.objective != 'grpo':
        source.tokens(prepared.tokenizer)
  origin = Origin()
  if node.parent:
    origin = dataclasses.replace(origin, parent=workspace.location(node.parent).load_trained)
  if prepared.design.weights:
    origin = dataclasses.replace(origin, frozen=workspace.location(node).load_frozen)
  job = train.PhaseJob(
    config=prepared.config,
    phase=node.settings,
    label=f'{number} {node.phase} (seed {node.seed})',
    seed=order_seed(node),
    tokenizer=prepared.tokenizer,
    sources=data,
    folder=folder,
    meta=_meta(workspace, node),
    stop=workspace.stop,
    origin=origin,
    kept_points=node.kept_points,
    points=workspace.points_of(node) if node.kept_points else None,
    until=until,
    rewards=_rewards_of(workspace, node),
  )
  train.train_phase(job)


def sources_of(
  prepared: Prepared, node: Node, written: Mapping[str, Corpus] = types.MappingProxyType({})
) -> list[tuple[Source, float]]:
  """Lists what a phase reads.

  Args:
    prepared: the corpora.
    node: the phase.
    written: corpora that models have written.

  Returns:
    Each source with its share of the rows, in the order of `phases.in_reading_order`.
  """
  data = node.settings.data
  in_order = names_in_order(prepared, node)
  return [(prepared.source_of(name, node.settings, written), data[name]) for name in in_order]


def names_in_order(prepared: Prepared, node: Node) -> list[str]:
  """The names of the sources of a phase, in the order of `sources_of`."""
  return in_reading_order(prepared.config.sources, node.settings.data)


def order_seed(node: Node) -> int:
  """The seed of a phase: of the order of its data, and of what else is drawn in it."""
  return int(digest(node.settings.stream or node.phase, str(node.seed)), 16) % 2**31


def keep_missing_points(workspace: Workspace, node: Node, number: str) -> None:
  """Trains a finished phase again as far as its missing points need, and keeps these.

  They are missing if `evaluate_at` was changed after the phase was trained. The same updates give
  the same parameters, so its end stays as it is.

  Args:
    workspace: the experiment in its workdir.
    node: the phase, trained to its end.
    number: which phase of how many, for the progress line.
  """
  points = workspace.points_of(node)
  missing = [update for update in node.kept_points if not points.has(update)]
  missing = multihost.broadcast_from_first(missing)
  again = workspace.folder(node) / 'again'
  if not missing:
    # A second training that was stopped at its last update has left its folder.
    if multihost.is_first():
      shutil.rmtree(again, ignore_errors=True)
    return
  listed = ', '.join(map(str, missing))
  say(
    f'{number} {node.phase} (seed {node.seed}): its parameters at update {listed} were not kept; '
    f'its first {missing[-1]} updates are trained again, its end stays as it is'
  )
  with multihost.first_process_first():
    # A second training that was stopped may have passed an update that is wanted only since then.
    reached = checkpointing.Checkpoints(again / 'checkpoints').latest()
    if multihost.is_first() and reached is not None and reached >= missing[0]:
      shutil.rmtree(again)
  train_node(workspace, node, number, again, missing[-1])
  if multihost.is_first():
    shutil.rmtree(again)


def written_corpus(workspace: Workspace, node: Node, item: ModelWrittenCorpus) -> Corpus:
  """Opens a corpus that a model of the experiment writes, or has it written.

  Args:
    workspace: the experiment in its workdir.
    node: the phase that reads it.
    item: what is written, and by which model; it is trained.

  Returns:
    The corpus.

  Raises:
    WritingError: the model writes nothing of use.
    DataError: too much of it does not fit into the rows of the phase.
    Interrupted: `stop()` turned true; what is written is kept.
  """
  prepared, folder = workspace.prepared_by_seed[node.seed], workspace.written_folder(item)
  name = item.source
  card = multihost.broadcast_from_first(corpora.read_card(folder))
  if card is None:
    _write(workspace, prepared, item, folder)
    card = workspace.written_card(item)
  corpus = Corpus(name, folder, item.fingerprint, card)
  if node.settings.objective != 'grpo':
    source = prepared.source_of(name, node.settings, {name: corpus})
    # The first process tokenizes it; the others read its file.
    with multihost.first_process_first():
      check_source_fits(prepared, source, node.settings.length)
  return corpus


def _write(
  workspace: Workspace, prepared: Prepared, item: ModelWrittenCorpus, folder: Path
) -> None:
  """Has a corpus written by its model. Process 0 stores it."""
  config, design = prepared.config, prepared.design
  recipe = config.sources[item.source]
  params = cast_params(config.model, workspace.load_params(item.writer))
  with jax.set_mesh(workspace.mesh):
    writer = Writer(
      config.model, params, prepared.tokenizer, design.row_length, config.evals.rows, workspace.mesh
    )
    asked = list(prepared.corpora[recipe.prompts].records())
    partial = folder.with_name(f'{folder.name}.part.jsonl')
    view = design.view_of_writer(item.source)
    records = write_records(item.source, recipe, view, asked, writer, partial, workspace.stop)
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


def _rewards_of(workspace: Workspace, node: Node) -> Rewards | None:
  """What judges the answers of a phase of reinforcement learning; None for other phases.

  Raises RewardError if the handbook of a judge is no longer the one that the phase is named by.
  """
  if node.settings.objective != 'grpo':
    return None
  if tuple(content_of(node.settings.grpo)) != node.rewards:
    raise RewardError(
      f'phases.{node.phase}.grpo.judge_spec={node.settings.grpo.judge_spec} was edited during the '
      f'run; run the same command again: the phase then has another identity'
    )
  prepared = workspace.prepared_by_seed[node.seed]
  config = prepared.config
  models = {}
  for name, needed in zip(node.settings.grpo.reward_models, node.judges, strict=True):
    objective, settings = needed.settings.objective, registry.settings_of(needed.settings)
    program = make_program(
      config.model, config.optimizer, config.loss_chunk, workspace.mesh, objective, settings
    )
    trained = workspace.location(needed).load_trained(program.abstract_state.params)
    assert trained is not None  # a reward model is trained, so it has a checkpoint
    length = max(node.settings.length, needed.settings.length)
    models[name] = RewardModel(
      config.model,
      trained,
      prepared.tokenizer,
      length,
      needed.settings.batch_size,
      workspace.mesh,
    )
  # What a judge was paid for lies with the phase, also if it is trained again elsewhere.
  return make_rewards(node.settings.grpo, models, workspace.folder(node))


def _meta(workspace: Workspace, node: Node) -> dict[str, Any]:
  """What a checkpoint records beside arrays."""
  prepared = workspace.prepared_by_seed[node.seed]
  versions = {'msm_jax': VERSION}
  for package in RECORDED_PACKAGES:
    versions[package] = importlib.metadata.version(package)
  written = {item.source: workspace.written_card(item) for item in node.written}
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
