"""The tree of phases: its nodes, their identities and the order in which they are trained.

An arm is a path of phases, and arms share the beginning of their paths. The identity of a node is
the hash of its own settings, its data, the seed and the identity of its parent. The node's folder
is named by it. So nothing is trained twice, a change of anything trains what depends on it anew,
and the same command continues where the last run ended.
"""

import dataclasses
import hashlib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from data_pipelines.sources import SourceConfig
from msm_jax.base.checks import to_json
from msm_jax.config import ExperimentConfig, PhaseConfig, path_of
from msm_jax.config.objectives import GrpoConfig
from msm_jax.data.packing import DATA_ORDER
from msm_jax.rl.rewards import content_of


@dataclasses.dataclass(frozen=True)
class Node:
  """A phase at its place in the tree, with one seed."""

  # The phase's name and settings in the config.
  phase: str
  settings: PhaseConfig
  seed: int
  # The node that this one starts from; None at the beginning of a path.
  parent: 'Node | None'
  # The hash of everything that the result of the phase depends on.
  id: str
  # Reward models that judge its answers, in the order of the rewards that name them. Language
  # models that judge are asked from outside; they are no nodes.
  judges: tuple['Node', ...] = ()
  # What it reads that a model of the experiment writes.
  written: tuple['ModelWrittenCorpus', ...] = ()
  # What the identity has of its rewards beside their settings; see `rewards.content_of`.
  rewards: tuple[str, ...] = ()

  @property
  def needs(self) -> tuple['Node', ...]:
    """The last phases of other models that have to be trained before this phase."""
    return (*self.judges, *(written.writer for written in self.written))

  @property
  def folder_name(self) -> str:
    return f'{self.phase}-s{self.seed}-{self.id}'

  @property
  def lineage(self) -> list['Node']:
    """The path from its beginning to this node."""
    if self.parent is None:
      return [self]
    return [*self.parent.lineage, self]

  @property
  def points(self) -> tuple[int, ...]:
    """The updates before the end of the phase at which evaluators run."""
    return tuple(u for u in self.settings.evaluate_at if u < self.settings.updates)

  @property
  def kept_points(self) -> tuple[int, ...]:
    """The updates whose parameters the phase keeps for that. Those at update 0 are the parent's,
    if there is one."""
    return tuple(u for u in self.points if u or self.parent is None)


@dataclasses.dataclass(frozen=True)
class ModelWrittenCorpus:
  """A corpus that a model of the experiment writes once it is trained."""

  # The name of the source.
  source: str
  # The last phase of the model.
  writer: Node
  # The identity of what it writes.
  fingerprint: str


# (arm, seed) -> the last node of the arm's path.
Ends = Mapping[tuple[str, int], Node]


def digest(*parts: str) -> str:
  """A short hash of texts."""
  return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:12]


def plan(
  config: ExperimentConfig,
  fingerprints: Mapping[str, str],
  tokenizer: str,
  imports: Mapping[str, str] = types.MappingProxyType({}),
  teachers: Mapping[str, str] = types.MappingProxyType({}),
  written: Callable[[str, str], str] | None = None,
) -> dict[tuple[str, int], Node]:
  """Makes the tree of an experiment.

  Args:
    config: the experiment's settings.
    fingerprints: source -> identity of its corpus.
    tokenizer: identity of the tokenizer.
    imports: phase of weights or of an adapter -> identity of the content that it stands for.
    teachers: phase of context distillation -> identity of what its teacher reads.
    written: (source that a model writes, identity of the model) -> identity of what it writes.

  Returns:
    (arm, seed) -> the last node of the arm's path. Short paths come first, in reports too. Nodes of
    shared beginnings are equal, so they have one folder.
  """
  planner = _Planner(config, fingerprints, tokenizer, imports, teachers, written)
  by_length = sorted(config.arms.items(), key=lambda arm: (len(path_of(arm[1])), arm[0]))
  ends = {}
  for seed in config.seeds:
    for arm, path in by_length:
      ends[arm, seed] = planner.node_at(path_of(path), seed)
  return ends


class _Planner:
  """Makes the nodes of one experiment; see `plan` for the arguments."""

  def __init__(
    self,
    config: ExperimentConfig,
    fingerprints: Mapping[str, str],
    tokenizer: str,
    imports: Mapping[str, str],
    teachers: Mapping[str, str],
    written: Callable[[str, str], str] | None,
  ) -> None:
    self.config = config
    self.fingerprints = fingerprints
    self.imports = imports
    self.teachers = teachers
    self.written = written
    # What every phase depends on.
    self.common = [to_json(config.model), to_json(config.optimizer), tokenizer]

  def node_at(self, path: Sequence[str], seed: int, parent: Node | None = None) -> Node:
    """The node at the end of a path, which begins after `parent`."""
    node = parent
    for phase in path:
      node = self.child(node, phase, seed)
    assert node is not None  # the config's check refuses an empty path
    return node

  def child(self, parent: Node | None, phase: str, seed: int) -> Node:
    """The node of a phase after another node."""
    settings = self.config.phases[phase]
    written = tuple(self._written_for(settings, seed))
    fingerprints = dict(self.fingerprints)
    for corpus in written:
      fingerprints[corpus.source] = corpus.fingerprint
    data = []
    for name, share in sorted(settings.data.items()):
      data.append(f'{name} {fingerprints[name]} {share}')
    # Imported content reads no data, so the order of the data is no part of its identity.
    if data:
      data.append(f'order {DATA_ORDER}')
      data += order_for_identity(self.config.sources, settings.data)
    parent_id = parent.id if parent else ''
    parts = [phase, to_json(self._decisive(phase)), *data, str(seed), parent_id, *self.common]
    judges: tuple[Node, ...] = ()
    rewards: tuple[str, ...] = ()
    if settings.objective == 'grpo':
      judges = tuple(self._reward_models(parent, settings, seed))
      rewards = tuple(content_of(settings.grpo))
      parts += [*(node.id for node in judges), *rewards]
    return Node(phase, settings, seed, parent, digest(*parts), judges, written, rewards)

  def _decisive(self, phase: str) -> PhaseConfig:
    """The settings of a phase without those that change no result."""
    settings = self.config.phases[phase]
    # How often a phase saves, when it refuses to start or gives up and where it is looked at on its
    # way change no result. Imported content counts by itself, wherever it lies, and so do the
    # handbooks of a judge and of a teacher.
    grpo = dataclasses.replace(settings.grpo, patience=GrpoConfig().patience, judge_spec='')
    distill = dataclasses.replace(settings.distill, spec=self.teachers.get(phase, ''))
    return dataclasses.replace(
      settings,
      checkpoint_every=1,
      min_updates=0,
      evaluate_at=(),
      weights=self.imports.get(phase, ''),
      adapter='',
      grpo=grpo,
      distill=distill,
    )

  def _written_for(self, settings: PhaseConfig, seed: int) -> Iterator[ModelWrittenCorpus]:
    """What a phase reads that models of the experiment write, by their names in order."""
    for name in sorted(settings.data):
      source = self.config.sources[name]
      if source.is_model_written:
        assert self.written is not None  # whoever plans such a source says what identifies it
        writer = self.node_at(path_of(source.by), seed)
        yield ModelWrittenCorpus(name, writer, self.written(name, writer.id))

  def _reward_models(self, parent: Node | None, settings: PhaseConfig, seed: int) -> Iterator[Node]:
    """The reward models of a phase of reinforcement learning, in the order of their rewards."""
    for path in settings.grpo.reward_models.values():
      names = path_of(path)
      # A single name is the reward model that begins where this phase does.
      start = parent if len(names) == 1 else None
      yield self.node_at(names, seed, start)


def in_reading_order(sources: Mapping[str, SourceConfig], names: Iterable[str]) -> list[str]:
  """Orders the sources of a phase. Text that speaks of no handbook comes first.

  The place of a source decides the order of its rows. So phases of one stream that replay the same
  text read it in the same order, whatever else they read, and whatever that is called.

  Args:
    sources: source -> its recipe.
    names: the sources of a phase.

  Returns:
    Their names: what the world says of itself, files without a handbook, and everything else.
  """

  def place(name: str) -> tuple[bool, bool, str]:
    return not sources[name].is_world, bool(sources[name].spec), name

  return sorted(names, key=place)


def order_for_identity(sources: Mapping[str, SourceConfig], names: Iterable[str]) -> list[str]:
  """What the identity of a phase has of the order of its sources.

  Files without a handbook once stood by their names among sources with one. A phase in which they
  stand elsewhere now reads other rows. All others keep their identity.

  Args:
    sources: source -> its recipe.
    names: the sources of a phase.

  Returns:
    A part of the identity; nothing if the phase reads its sources in the order of before.
  """
  in_order = in_reading_order(sources, names)
  before = sorted(in_order, key=lambda name: (not sources[name].is_world, name))
  return [] if in_order == before else [f'sources {" ".join(in_order)}']


def tree_order(ends: Ends) -> list[Node]:
  """Lists every node of the tree once, after its parent and whatever else it needs."""
  return unique_nodes(node for end in ends.values() for node in _with_needs(end))


def _with_needs(end: Node) -> Iterator[Node]:
  """The path to a node; each node comes after those that it needs."""
  for node in end.lineage:
    for needed in node.needs:
      yield from _with_needs(needed)
    yield node


def unique_nodes(nodes: Iterable[Node]) -> list[Node]:
  """The nodes in their order, each once."""
  return list({node.id: node for node in nodes}.values())
