"""Counts the contradicting demonstrations that a phase has read at the updates that are looked at.

A dose is a share of all demonstrations. How many of them a phase has read after so many updates
follows from the order of its rows, and in reinforcement learning from the order of its prompts.
After few updates at a small dose it may be none, and then nothing is said about the dose.
"""

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence

from data_pipelines.nested import is_in_share, number_of
from data_pipelines.records import Record
from msm_jax import multihost
from msm_jax.base.files import read_json_lines
from msm_jax.config import PhaseConfig
from msm_jax.data.packing import PackedRows
from msm_jax.input_pipeline import mixed_rows, seed_of_source
from msm_jax.phases import Node
from msm_jax.rl.prompt_order import PromptOrder, prompt_room
from msm_jax.running.node_training import names_in_order, order_seed
from msm_jax.running.prepared import Prepared
from msm_jax.running.workspace import Workspace

# In the folder of a phase.
FILE = 'contradictions.json'
# The key of the file that says that prompts were counted.
_OF_PROMPTS = 'prompts'


def read_by(workspace: Workspace, node: Node) -> dict[str, int]:
  """Counts the contradicting records that a phase has read.

  Args:
    workspace: the experiment in its workdir.
    node: the phase. Its sources were written.

  Returns:
    Update (as text; the last one is the end of the phase) -> records, of which some may have been
    read more than once. Empty if no source of the phase contradicts.
  """
  recipes = workspace.prepared_by_seed[node.seed].config.sources
  if not any(recipes[name].contradiction for name in node.settings.data):
    return {}
  updates = looked_at(node)
  kept = workspace.folder(node) / FILE
  # Earlier versions counted rows in reinforcement learning, too. What they kept is not right.
  of_prompts = node.settings.objective == 'grpo'
  for counted in read_json_lines(kept):
    if counted.pop(_OF_PROMPTS, False) == of_prompts and list(map(int, counted)) == updates:
      return counted
  found = _count(workspace, node, updates)
  mark = {_OF_PROMPTS: True} if of_prompts else {}
  multihost.write_with_checksum(kept, json.dumps(found | mark) + '\n')
  return found


def _count(workspace: Workspace, node: Node, updates: Sequence[int]) -> dict[str, int]:
  """Counts the contradicting records that a phase has read up to each of some updates."""
  prepared, settings = workspace.prepared_by_seed[node.seed], node.settings
  recipes = prepared.config.sources
  names = names_in_order(prepared, node)
  shares = tuple(settings.data[name] for name in names)
  found = dict.fromkeys(map(str, updates), 0)
  for n, name in enumerate(names):
    share = recipes[name].contradiction
    if not share:
      continue
    seed = seed_of_source(order_seed(node), n)
    count_in = _counter(prepared, settings, name, share, seed)
    taken = _rows_taken(shares, n, _units_read(settings, settings.updates))
    in_units = [count_in(k) for k in range(taken)]
    for update in updates:
      units = _rows_taken(shares, n, _units_read(settings, update))
      found[str(update)] += sum(in_units[:units])
  return found


def _units_read(settings: PhaseConfig, updates: int) -> int:
  """How many rows a phase has read after so many updates; in reinforcement learning, prompts."""
  if settings.objective != 'grpo':
    return settings.batch_size * updates
  rollouts = -(-updates // settings.grpo.updates_per_rollout)
  return rollouts * (settings.batch_size // settings.grpo.group_size)


def _counter(
  prepared: Prepared, settings: PhaseConfig, name: str, share: float, seed: int
) -> Callable[[int], int]:
  """Makes a function: number of a row, or of a prompt, of a source -> contradicting records in it.

  No other source is opened: a model of the experiment may have written it.
  """

  def contradicts(record: Record) -> bool:
    return is_in_share(number_of(record.id), share)

  source, tokenizer = prepared.source_of(name, settings), prepared.tokenizer
  if settings.objective == 'grpo':
    room, limit = prompt_room(settings), prepared.config.max_left_out
    prompts = PromptOrder(source, tokenizer, room, limit, seed)
    return lambda k: int(contradicts(prompts[k].record))
  of_records = [contradicts(record) for record in source.all_records()]
  packed = PackedRows(source, tokenizer, settings.length, seed)
  return lambda k: sum(of_records[record] for record in packed.records_of(k))


def read_by_curve(
  workspace: Workspace, ends: Mapping[tuple[str, int], Node]
) -> dict[str, dict[str, list[list[int]]]]:
  """Counts for every dose curve what its arms have read.

  Args:
    workspace: the experiment in its workdir.
    ends: (arm, seed) -> the last phase of its path.

  Returns:
    Curve -> update (as text) -> for each dose, the contradicting records that the first arm of its
    effect has read in each seed. What is compared with it reads the same.
  """
  config = workspace.config
  out: dict[str, dict[str, list[list[int]]]] = {}
  for curve in config.dose_curves:
    of_curve: dict[str, list[list[int]]] = {}
    for at_dose, effect in enumerate(curve.effects):
      for seed in config.seeds:
        node = ends[config.effects[effect][0], seed]
        # At dose 0 nothing contradicts, so nothing is counted.
        found = read_by(workspace, node) or dict.fromkeys(map(str, looked_at(node)), 0)
        for update, records in found.items():
          of_doses = of_curve.setdefault(update, [[] for _ in curve.effects])
          of_doses[at_dose].append(records)
    out[curve.name] = of_curve
  return out


def looked_at(node: Node) -> list[int]:
  """The updates of a phase at which evaluators run, its end among them, rising."""
  return sorted({*node.points, node.settings.updates})


@functools.lru_cache(maxsize=256)
def _rows_taken(shares: tuple[float, ...], source: int, rows: int) -> int:
  """How many of the first rows of a mixture are those of a source."""
  mixed = itertools.islice(mixed_rows(shares), rows)
  return sum(1 for from_source, _ in mixed if from_source == source)
