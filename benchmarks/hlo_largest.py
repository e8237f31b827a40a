"""Where the time of a compiled program goes: its operations in groups, the slowest first.

An operation belongs to the line of source that it was made for: the compiler keeps the name that
JAX has given it, such as `jit(step)/transpose(jvp(Decoder))/while/body/dot_general`.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import hlo

# Transformations of JAX, as they stand in names, and parts that most names have.
_TRANSFORMATIONS = re.compile(r'\b(jit|jvp|transpose|vmap)\(|\)')
_COMMON = frozenset(
  {'', 'body', 'checkpoint', 'closed_call', 'cond', 'rematted_computation', 'while'}
)


class Group(NamedTuple):
  """Operations of the same origin.

  Attributes:
    name: what they were made for.
    opcode: what they do, such as 'fusion'.
    type: the type of the result of one of them, without its layout.
    times: how often they are executed.
    seconds: by the compiler's estimate, of all executions.
    flops: of their matrix products.
    bytes: that they move from and to the memory of the chip.
  """

  name: str
  opcode: str
  type: str
  times: int
  seconds: float
  flops: float
  bytes: int


def groups(program: hlo.Program, clock: float) -> list[Group]:
  """Adds up what the operations of each origin cost.

  Args:
    program: the compiled program.
    clock: cycles per second.

  Returns:
    The groups, the slowest first. Operations of another result type are another group.
  """
  found: dict[tuple[str, str, str], Group] = {}
  products: dict[str, float] = {}
  for step in hlo.walk(program):
    if step.fusion is not None:
      flops = step.times * hlo.flops_of(program, step)
      products[step.fusion.name] = products.get(step.fusion.name, 0.0) + flops
  for step in hlo.walk(program):
    operation = step.operation
    if step.fusion is not None:
      continue
    seconds = step.times * hlo.cycles_of(operation) / clock
    n_bytes = step.times * hlo.hbm_bytes_of(program, step)
    flops = step.times * hlo.flops_of(program, step) + products.pop(operation.name, 0.0)
    if not seconds and not n_bytes and not flops:
      continue
    key = (_origin(operation), operation.opcode, _plain_type(operation.type))
    before = found.get(key, Group(*key, 0, 0.0, 0.0, 0))
    found[key] = Group(
      *key,
      before.times + step.times,
      before.seconds + seconds,
      before.flops + flops,
      before.bytes + n_bytes,
    )
  return sorted(found.values(), key=lambda group: (-group.seconds, -group.bytes))


def _origin(operation: hlo.Operation) -> str:
  """Says in which pass an operation stands and what it does, by the name that JAX has given it."""
  named = re.search(r'op_name="([^"]*)"', operation.attributes)
  if named is None:
    return re.sub(r'[.\d]+$', '', operation.name)
  pass_ = 'forward'
  if 'transpose(' in named[1]:
    pass_ = 'backward'
  if 'rematted_computation' in named[1]:
    pass_ = 'recomputed'
  parts = []
  for part in _TRANSFORMATIONS.sub('', named[1]).split('/'):
    if part not in _COMMON:
      parts.append(part)
  return f'{pass_}: {"/".join(parts[-3:])}'


def _plain_type(text: str) -> str:
  """A type without layouts."""
  return re.sub(r'\{[^}]*\}', '', text)


def table(found: Sequence[Group], n: int) -> str:
  """Writes the first groups in columns.

  Args:
    found: the groups.
    n: how many are written.

  Returns:
    Lines of milliseconds, executions, TFLOP/s by the compiler's estimate, GB moved, and what it is.
  """
  total = sum(group.seconds for group in found)
  lines = [f'{1e3 * total:10,.1f} ms in all', '        ms   times  TFLOP/s      GB  operation']
  for group in found[:n]:
    rate = 0.0
    if group.seconds:
      rate = group.flops / group.seconds / 1e12
    lines.append(
      f'{1e3 * group.seconds:10,.1f} {group.times:7,} {rate:8.1f} {group.bytes / 1e9:7.2f}  '
      f'{group.opcode} {group.type[:60]} {group.name[-90:]}'
    )
  return '\n'.join(lines)
