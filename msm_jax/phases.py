"""The tree of phases: its nodes, their identities and the order in which they are trained.

An arm is a path of phases, and arms share the beginning of their paths. The identity of a node is
the hash of its own settings, its data, the seed and the identity of its parent. The node's folder
is named by it. So nothing is trained twice, a change of anything trains what depends on it anew,
and the same command continues where the last run ended.
"""

import dataclasses
import hashlib
import types
from collections.abc import Iterable, Mapping

from msm_jax.base.checks import to_json
from msm_jax.config import ExperimentConfig, PhaseConfig, path_of
from msm_jax.input_pipeline import DATA_ORDER


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
) -> dict[tuple[str, int], Node]:
  """Makes the tree of an experiment.

  Args:
    config: the experiment's settings.
    fingerprints: source -> identity of its corpus.
    tokenizer: identity of the tokenizer.
    imports: phase of weights or of an adapter -> identity of the content that it stands for.

  Returns:
    (arm, seed) -> the last node of the arm's path. Short paths come first, in reports too. Nodes of
    shared beginnings are equal, so they have one folder.
  """
  common = [to_json(config.model), to_json(config.optimizer), tokenizer]
  by_length = sorted(config.arms.items(), key=lambda arm: (len(path_of(arm[1])), arm[0]))
  ends = {}
  for seed in config.seeds:
    for arm, path in by_length:
      node = None
      for phase in path_of(path):
        node = _child(node, phase, seed, config, fingerprints, common, imports)
      assert node is not None  # the config's check refuses an empty path
      ends[arm, seed] = node
  return ends


def _child(
  parent: Node | None,
  phase: str,
  seed: int,
  config: ExperimentConfig,
  fingerprints: Mapping[str, str],
  common: list[str],
  imports: Mapping[str, str],
) -> Node:
  settings = config.phases[phase]
  data = []
  for name, share in sorted(settings.data.items()):
    data.append(f'{name} {fingerprints[name]} {share}')
  # Imported content reads no data, so the order of the data is no part of its identity.
  if data:
    data.append(f'order {DATA_ORDER}')
  # How often a phase saves, when it refuses to start and where it is looked at on its way change no
  # result. Imported content counts by itself, wherever it lies.
  without_neutral = dataclasses.replace(
    settings,
    checkpoint_every=1,
    min_updates=0,
    evaluate_at=(),
    weights=imports.get(phase, ''),
    adapter='',
  )
  parent_id = parent.id if parent else ''
  id_ = digest(phase, to_json(without_neutral), *data, str(seed), parent_id, *common)
  return Node(phase, settings, seed, parent, id_)


def tree_order(ends: Ends) -> list[Node]:
  """Lists every node of the tree once, parents before their children."""
  return unique_nodes(node for end in ends.values() for node in end.lineage)


def unique_nodes(nodes: Iterable[Node]) -> list[Node]:
  """The nodes in their order, each once."""
  return list({node.id: node for node in nodes}.values())
