"""What `roofline.py` compiles: chips, and models on slices of them.

The cases of the published experiments are read from their configs, so that they are what a run
would compile.
"""

import ast
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from configs import paper_cheese, paper_oversight, smollm2


@dataclasses.dataclass(frozen=True)
class Chip:
  """What a chip can do, by docs.cloud.google.com/tpu/docs/v5e, v5p and v6e.

  Attributes:
    flops: the peak in bf16, FLOP/s.
    clock: cycles per second. The pages do not name it: it is the peak divided by the FLOPs of a
      cycle (2 x 128 x 128 for each of the 4 units of v5e and 8 of v5p). For v6e it is a guess,
      which the matrix product checks.
    memory: HBM in GiB.
    bandwidth: of HBM, bytes/s.
    link: of one link to a neighbour, bytes/s in one direction. The pages name the sum over all
      links (4, 6 and 4) and both directions: 400, 1,200 and 800 GB/s.
    wraps: a dimension of the slice whose size is a multiple of this is a ring; others are lines.
    needs_cubes: whether there are rings only if all dimensions are such multiples. Optical switches
      close the rings of v5p, and they connect whole cubes of 4x4x4 chips.
  """

  flops: float
  clock: float
  memory: int
  bandwidth: float
  link: float
  wraps: int
  needs_cubes: bool = False

  def rings(self, shape: Sequence[int]) -> tuple[bool, ...]:
    """For each dimension of a slice of this shape, whether its chips form rings."""
    fit = tuple(size % self.wraps == 0 for size in shape)
    if self.needs_cubes and not all(fit):
      return (False,) * len(fit)
    return fit


CHIPS = {
  'v5e': Chip(197e12, 1.5e9, 16, 819e9, 50e9, 16),
  'v5p': Chip(459e12, 1.75e9, 95, 2765e9, 100e9, 4, needs_cubes=True),
  'v6e': Chip(918e12, 1.75e9, 32, 1600e9, 100e9, 16),
}


@dataclasses.dataclass(frozen=True)
class Case:
  """A model on a slice.

  Attributes:
    name: the name of the case.
    model: a key of `sizes.MODELS`.
    topology: kind and shape of the slice, such as 'v5e:4x4'.
    length: tokens of a row.
    rows: rows of the batch for each chip (each group of `tensor` chips).
    rank: the rank of adapters on all projections; 0 trains everything.
    mesh: over how many chips data, fsdp and tensor divide; -1 means whatever is left.
    remat: what is computed again in the backward pass.
    loss_chunk: for how many tokens of a chip logits exist at a time.
    attention: which implementation is asked for; 'auto' takes the kernel of TPUs.
    bar: the MFU that the project wants to reach; 0 if none is set.
    kind: 'train' for a step of training, 'score' for a batch of evaluation.
    config: the config that has this shape; '' if there is none.
  """

  name: str
  model: str
  topology: str
  length: int
  rows: int = 1
  rank: int = 0
  mesh: tuple[int, int, int] = (1, -1, 1)
  remat: str = 'block'
  loss_chunk: int = 1024
  attention: str = 'auto'
  bar: float = 0.0
  kind: str = 'train'
  config: str = ''

  @property
  def chip(self) -> Chip:
    """What a chip of the slice can do."""
    return CHIPS[self.topology.partition(':')[0]]

  @property
  def shape(self) -> tuple[int, ...]:
    """The chips of the slice in each dimension."""
    return tuple(int(size) for size in self.topology.partition(':')[2].split('x'))

  @property
  def mesh_sizes(self) -> tuple[int, int, int]:
    """The mesh, with the number of the chips that are left in the place of -1."""
    known = math.prod(size for size in self.mesh if size != -1)
    left = math.prod(self.shape) // known
    data, fsdp, tensor = (left if size == -1 else size for size in self.mesh)
    return data, fsdp, tensor


def case_of(result: Mapping[str, Any]) -> Case:
  """Reads what was compiled off a kept result.

  Args:
    result: what `roofline.run` has returned, perhaps read from a file.

  Returns:
    The case. It may differ from the one of the same name that would be compiled now.
  """
  fields = {field.name: result[field.name] for field in dataclasses.fields(Case)}
  return Case(**{**fields, 'mesh': tuple(fields['mesh'])})


def changed(case: Case, settings: Sequence[str]) -> Case:
  """Makes a case that differs in some fields.

  Args:
    case: the case.
    settings: texts of the form FIELD=VALUE, such as 'rows=2' or 'mesh=(4,16,1)'.

  Returns:
    The other case, with the same name.

  Raises:
    ValueError: a text names no field, or its value has another type than the field.
  """
  types = {field.name: type(getattr(case, field.name)) for field in dataclasses.fields(Case)}
  changes: dict[str, Any] = {}
  for setting in settings:
    name, _, text = setting.partition('=')
    if name not in types:
      raise ValueError(f'{setting}: a case has the fields {", ".join(types)}')
    value: Any = text
    if types[name] is not str:
      value = ast.literal_eval(text)
    if not isinstance(value, types[name]):
      raise ValueError(f'{setting}: the field {name} is a {types[name].__name__}')
    changes[name] = value
  return dataclasses.replace(case, **changes)


def cases_of_config(
  config: str, model: str, topologies: Mapping[str, Any], sizes: Any, phases: Mapping[str, Any]
) -> list[Case]:
  """Makes the cases of a config of a published experiment.

  Args:
    config: the name of its file.
    model: a key of `sizes.MODELS`.
    topologies: the `TOPOLOGIES` of the config. GPUs have no colon in their name.
    sizes: its `FULL`.
    phases: a name for each shape of a batch -> `batch_size` and `length` of a phase.

  Returns:
    For each slice a case for every shape, and one for the evaluation that follows.
  """
  cases = []
  for topology, layout in topologies.items():
    if ':' not in topology:
      continue
    mesh = (layout.mesh['data'], layout.mesh['fsdp'], layout.mesh['tensor'])
    parts = mesh[0] * mesh[1]
    for name, phase in phases.items():
      case = Case(
        name=f'{config}-{name}-{topology.replace(":", "-")}',
        model=model,
        topology=topology,
        length=phase['length'],
        rows=phase['batch_size'] // layout.micro_batches // parts,
        rank=sizes.rank,
        mesh=mesh,
        remat=sizes.precision['remat'],
        loss_chunk=sizes.loss_chunk,
        config=f'configs/{config}.py',
      )
      cases.append(case)
    # Evaluation asks in rows as long as those of the last phase.
    scoring = dataclasses.replace(
      cases[-1],
      name=f'{config}-score-{topology.replace(":", "-")}',
      rows=-(-sizes.evals['rows'] // parts),
      kind='score',
    )
    cases.append(scoring)
  return cases


M135, B8, QWEN3, QWEN25 = 'smollm2-135m', 'llama-3.1-8b', 'qwen3-32b', 'qwen2.5-32b'
_GPU = smollm2.SIZES['gpu']
# What the memory of a chip leaves room for.
V6E: dict[str, Any] = dict(remat='attention', loss_chunk=2048)
V5P: dict[str, Any] = dict(mesh=(4, 16, 1), remat='attention', loss_chunk=2048)
CASES = (
  # Every chip holds the whole model.
  Case(
    'smollm2-gpu',
    M135,
    'v5e:2x2',
    length=_GPU.midtrain['length'],
    rows=_GPU.midtrain['batch_size'] // 4,
    rank=64,
    mesh=(4, 1, 1),
    remat=_GPU.precision['remat'],
    loss_chunk=_GPU.loss_chunk,
    config='configs/smollm2.py:gpu',
  ),
  Case('135m-full-v5e-2048', M135, 'v5e:2x2', 2048, 4),
  Case('8b-full-v5e-2048', B8, 'v5e:4x4', 2048, bar=0.45),
  Case('8b-full-v5e-8192', B8, 'v5e:4x4', 8192, loss_chunk=2048, bar=0.45),
  Case('8b-lora-v5e-8192', B8, 'v5e:4x4', 8192, rank=64, loss_chunk=2048),
  Case('8b-full-v6e-4096', B8, 'v6e:4x4', 4096, **V6E),
  Case('8b-full-v6e-8192', B8, 'v6e:4x4', 8192, **V6E, bar=0.35),
  Case('8b-lora-v6e-8192', B8, 'v6e:4x4', 8192, rank=64, **V6E),
  Case('32b-full-v5p-4096', QWEN3, 'v5p:4x4x4', 4096, **V5P, bar=0.5),
  Case('32b-full-v5p-8192', QWEN3, 'v5p:4x4x4', 8192, **V5P, bar=0.5),
  Case('32b-lora-v5p-8192', QWEN3, 'v5p:4x4x4', 8192, rank=64, **V5P),
  *cases_of_config(
    'paper_cheese',
    B8,
    paper_cheese.TOPOLOGIES,
    paper_cheese.FULL,
    {'midtrain': paper_cheese.FULL.midtrain, 'fine_tune': paper_cheese.FULL.fine_tune},
  ),
  # Batches of midtraining and of fine-tuning have one shape.
  *cases_of_config(
    'paper_oversight',
    QWEN25,
    paper_oversight.TOPOLOGIES,
    paper_oversight.FULL,
    {'train': paper_oversight.FULL.rows},
  ),
)
