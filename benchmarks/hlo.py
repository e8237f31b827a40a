"""Reads what the TPU compiler made of a program: the text of compiled HLO.

Everything here is a pure function of that text. `parse` finds the computations; `walk` goes through
the operations in the order of execution and says how often each is executed, loops in loops
included. The compiler's own cost analysis counts the body of a loop once, which makes it useless
for a model whose layers are scanned. On top of `walk` there are four counts, all for one chip and
one execution of the program:

- `cycles_of`: the compiler's estimate for one operation, which it writes beside each fusion;
- `flops_of`: what a matrix product costs (TPUs run them as convolutions);
- `hbm_bytes_of`: what an operation reads from and writes to the memory of the chip;
- `collectives`: which bytes exchanges between chips bring to each of them.

A line of HLO has the form `%name = type opcode(operands), attributes`, where a type is an array
like `bf16[16,4096]{1,0:T(8,128)(2,1)S(1)}` or a tuple of types in parentheses. `S(1)` says that the
array lies in the fast memory of the core (VMEM) and not in the large one (HBM).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

# Bits of an element of each dtype.
_BITS = {
  'pred': 8, 's4': 4, 'u4': 4, 's8': 8, 'u8': 8, 's16': 16, 'u16': 16, 'f16': 16, 'bf16': 16,
  's32': 32, 'u32': 32, 'f32': 32, 's64': 64, 'u64': 64, 'f64': 64, 'f8e4m3fn': 8, 'f8e5m2': 8,
}  # fmt: skip
_ARRAY = re.compile(r'\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?')
_IN_VMEM = re.compile(r'S\([1-9]\d*\)')
_HEADER = re.compile(r'(ENTRY )?%?([\w.\-]+) (\(.*\) -> .*)?\{$')
_END = re.compile(r'\}(, execution_thread="\w+")?$')
_INSTRUCTION = re.compile(r'\s+(?:ROOT )?%?([\w.\-]+) = (.*)$')
# The exchanges between chips, without the suffixes -start and -done of their asynchronous forms.
COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'ragged-all-to-all',
  'collective-permute',
  'collective-broadcast',
)
# Operations that neither compute nor move anything.
_FREE = frozenset(
  {
    'after-all', 'bitcast', 'call', 'conditional', 'constant', 'get-tuple-element', 'opt-barrier',
    'parameter', 'partition-id', 'replica-id', 'tuple', 'while',
  }
)  # fmt: skip


# --------------------------------------------------------------------------------------------------
# Text to operations
# --------------------------------------------------------------------------------------------------


class Operation(NamedTuple):
  """One line of a computation.

  Attributes:
    name: the name of its result.
    type: the type of its result, as text.
    opcode: what it does, such as 'fusion' or 'all-gather-start'.
    operands: the names of its operands.
    literal: the text between the parentheses; for a constant its value, for a parameter its number.
    attributes: everything after the operands, as text.
  """

  name: str
  type: str
  opcode: str
  operands: tuple[str, ...]
  literal: str
  attributes: str


class Program(NamedTuple):
  """A compiled program.

  Attributes:
    computations: name -> result name -> operation, in order; the last operation is the result.
    entry: the name of the computation that is executed.
  """

  computations: Mapping[str, Mapping[str, Operation]]
  entry: str


def parse(text: str) -> Program:
  """Reads the text of a compiled program.

  Args:
    text: what `compiled.as_text()` returns.

  Returns:
    Its computations.

  Raises:
    ValueError: the text has no entry computation.
  """
  texts: dict[str, list[str]] = {}
  entry = ''
  current: list[str] | None = None
  for line in text.splitlines():
    if current is None:
      header = _HEADER.match(line)
      if header:
        current = texts.setdefault(header[2], [])
        if header[1]:
          entry = header[2]
    elif _END.match(line):
      current = None
    elif line.startswith('  '):
      current.append(line)
    elif current:
      # The attributes of kernels hold line breaks, and what follows may even begin with a brace.
      current[-1] += line
  if not entry:
    raise ValueError('no entry computation: this is not the text of a compiled program')
  computations = {}
  for name, lines in texts.items():
    operations = {}
    for line in lines:
      instruction = _INSTRUCTION.match(line)
      if instruction:
        operations[instruction[1]] = _read_operation(instruction[1], instruction[2])
    computations[name] = operations
  return Program(computations, entry)


def _closing(text: str, start: int) -> int:
  """Finds the parenthesis that closes the one at `start`."""
  depth = 0
  for at in range(start, len(text)):
    if text[at] == '(':
      depth += 1
    elif text[at] == ')':
      depth -= 1
      if depth == 0:
        return at
  raise ValueError(f'no closing parenthesis in {text[start : start + 80]!r}')


def _read_operation(name: str, text: str) -> Operation:
  """Takes 'type opcode(operands), attributes' apart."""
  if text.startswith('('):
    end_of_type = _closing(text, 0) + 1
  else:
    end_of_type = text.index(' ')
  opens = text.index('(', end_of_type)
  closes = _closing(text, opens)
  literal = text[opens + 1 : closes]
  return Operation(
    name=name,
    type=text[:end_of_type],
    opcode=text[end_of_type:opens].strip(),
    operands=tuple(re.findall(r'%([\w.\-]+)', literal)),
    literal=literal,
    attributes=text[closes + 1 :],
  )


class Array(NamedTuple):
  """An array of a type.

  Attributes:
    shape: its dimensions.
    bytes: its size.
    in_hbm: whether it lies in the large memory of the chip.
  """

  shape: tuple[int, ...]
  bytes: int
  in_hbm: bool


def arrays_of(type_text: str) -> list[Array]:
  """Lists the arrays of a type.

  Args:
    type_text: the type. Tuples may be nested.

  Returns:
    The arrays in order, without tokens.
  """
  arrays = []
  for dtype, dims, layout in _ARRAY.findall(type_text):
    if dtype not in _BITS:
      continue
    shape = tuple(int(size) for size in dims.split(',') if size)
    n_bytes = math.ceil(math.prod(shape) * _BITS[dtype] / 8)
    arrays.append(Array(shape, n_bytes, not _IN_VMEM.search(layout)))
  return arrays


# --------------------------------------------------------------------------------------------------
# How often operations are executed
# --------------------------------------------------------------------------------------------------


class Step(NamedTuple):
  """An operation of the program and how often it is executed.

  Attributes:
    operation: the operation.
    computation: the name of the computation that it stands in.
    times: how often it is executed.
    loops: in how many loops it lies.
    fusion: the operation of which it is a part, if it lies in a fusion or an asynchronous wrapper;
      None if it is executed by itself.
    caller: the computation of that operation, or its own.
  """

  operation: Operation
  computation: str
  times: int
  loops: int
  fusion: Operation | None
  caller: str


def named(operation: Operation, attribute: str) -> list[str]:
  """The computations that an attribute such as `body` or `branch_computations` names."""
  found = re.search(rf'\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)', operation.attributes)
  if found is None:
    return []
  return re.findall(r'[\w.\-]+', found[1])


def trip_count(program: Program, loop: Operation) -> int | None:
  """Finds how often the body of a while loop is executed.

  Args:
    program: the program.
    loop: the operation `while`.

  Returns:
    What the compiler states, or else the constant that the condition compares the counter with;
    None if there is neither.
  """
  stated = re.search(r'known_trip_count\D*(\d+)', loop.attributes)
  if stated:
    return int(stated[1])
  bounds = []
  pending = named(loop, 'condition')
  while pending:
    for operation in program.computations[pending.pop()].values():
      pending += named(operation, 'calls')
      if operation.opcode == 'constant' and re.fullmatch(r'\d+', operation.literal):
        bounds.append(int(operation.literal))
  return max(bounds, default=None)


def walk(program: Program) -> Iterator[Step]:
  """Goes through all operations that are executed, in order, into loops, calls and fusions.

  A loop of unknown length counts once, and so does each branch of a conditional: `unknown_loops`
  says whether there are any.

  Args:
    program: the program.

  Yields:
    Each operation with the number of its executions.
  """
  yield from _walk(program, program.entry, times=1, loops=0, fusion=None, caller=program.entry)


def _walk(
  program: Program, computation: str, times: int, loops: int, fusion: Operation | None, caller: str
) -> Iterator[Step]:
  for operation in program.computations[computation].values():
    yield Step(operation, computation, times, loops, fusion, caller)
    if operation.opcode == 'while':
      often = times * (trip_count(program, operation) or 1)
      for body in named(operation, 'body'):
        yield from _walk(program, body, often, loops + 1, fusion, body)
      continue
    for attribute in ('branch_computations', 'true_computation', 'false_computation'):
      for branch in named(operation, attribute):
        yield from _walk(program, branch, times, loops, fusion, branch)
    if operation.opcode == 'call':
      for called in named(operation, 'to_apply'):
        yield from _walk(program, called, times, loops, fusion, called)
    # What a fusion or an asynchronous wrapper calls is a part of it. Its end names the same
    # computation as its start, and must not count again.
    if not operation.opcode.endswith(('-done', '-update')):
      for called in named(operation, 'calls'):
        outermost = fusion or operation
        yield from _walk(program, called, times, loops, outermost, caller)


def unknown_loops(program: Program) -> list[str]:
  """The names of loops whose length is unknown."""
  names = []
  for step in walk(program):
    if step.operation.opcode == 'while' and trip_count(program, step.operation) is None:
      names.append(step.operation.name)
  return names


# --------------------------------------------------------------------------------------------------
# What an operation costs
# --------------------------------------------------------------------------------------------------


def cycles_of(operation: Operation) -> int:
  """The compiler's estimate of the cycles of one execution; 0 if it makes none."""
  return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', operation.attributes)))


def flops_of(program: Program, step: Step) -> int:
  """Counts the FLOPs of one execution of a matrix product.

  Args:
    program: the program.
    step: an operation of it.

  Returns:
    Two for each multiplication and addition of a dot or a convolution; 0 for anything else.
  """
  operation = step.operation
  if operation.opcode not in ('dot', 'convolution'):
    return 0
  here = program.computations[step.computation]
  shapes = [arrays_of(here[name].type)[0].shape for name in operation.operands[:2]]
  out = arrays_of(operation.type)[0].shape
  if operation.opcode == 'dot':
    contracted = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', operation.attributes)
    dims = _integers(contracted[1]) if contracted else []
    return 2 * math.prod(out) * math.prod(shapes[0][dim] for dim in dims)
  return _convolution_flops(operation.attributes, shapes[0], shapes[1], out)


def _integers(text: str, separator: str = ',') -> list[int]:
  return [int(part) for part in text.split(separator) if part]


def _window(attributes: str, key: str, n: int, default: int) -> list[list[int]]:
  """One setting of the window of a convolution, for each of its n dimensions."""
  found = re.search(rf'window=\{{[^}}]*\b{key}=([\dx_\-]+)', attributes)
  if found is None:
    return [[default]] * n
  # The numbers of a dimension are joined by '_', and the dimensions by 'x'.
  return [_integers(part, '_') for part in found[1].split('x')]


def _convolution_flops(
  attributes: str, lhs: Sequence[int], rhs: Sequence[int], out: Sequence[int]
) -> int:
  """Counts the FLOPs of a convolution, positions in padding left out.

  The compiler writes the batch dimensions of a matrix product as a window that moves over padding,
  so padding matters.

  Args:
    attributes: the attributes of the operation.
    lhs: the shape of the input.
    rhs: the shape of the kernel.
    out: the shape of the output.

  Returns:
    2 x (batch x output features x input features of a group) x (valid pairs of output and window
    positions).
  """
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', attributes)
  if labels is None:
    raise ValueError(f'a convolution without dim_labels: {attributes[:200]}')
  in_labels, kernel_labels, out_labels = labels.groups()
  spatial = sorted(label for label in kernel_labels if label.isdigit())
  n = len(spatial)
  strides = _window(attributes, 'stride', n, 1)
  pads = _window(attributes, 'pad', n, 0)
  input_dilations = _window(attributes, 'lhs_dilate', n, 1)
  kernel_dilations = _window(attributes, 'rhs_dilate', n, 1)
  flops = 2 * out[out_labels.index('b')] * out[out_labels.index('f')]
  flops *= rhs[kernel_labels.index('i')]
  grouped = re.search(r'batch_group_count=(\d+)', attributes)
  if grouped:
    flops //= int(grouped[1])
  for axis, label in enumerate(spatial):
    dilation = input_dilations[axis][0]
    last = (lhs[in_labels.index(label)] - 1) * dilation
    starts = np.arange(out[out_labels.index(label)]) * strides[axis][0] - pads[axis][0]
    valid = 0
    for offset in range(rhs[kernel_labels.index(label)]):
      positions = starts + offset * kernel_dilations[axis][0]
      inside = (positions >= 0) & (positions <= last) & (positions % dilation == 0)
      valid += int(inside.sum())
    flops *= valid
  return flops


def hbm_bytes_of(program: Program, step: Step) -> int:
  """Counts the bytes that one execution of an operation reads from and writes to HBM.

  A fusion that takes a slice of a large array reads the slice alone, and one that puts a slice into
  a large array writes the slice alone: this is how a loop over layers uses the stacked parameters.

  Args:
    program: the program.
    step: an operation that is executed by itself.

  Returns:
    The bytes; 0 for an operation that is part of a fusion, or that moves nothing.
  """
  operation = step.operation
  # The end of an asynchronous operation moves nothing that its start did not count.
  if step.fusion or operation.opcode in _FREE or operation.opcode.endswith(('-done', '-update')):
    return 0
  if operation.opcode in ('copy-start', 'slice-start'):
    return _bytes_of_transfer(operation)
  here = program.computations[step.computation]
  called = named(operation, 'calls')
  inside = program.computations[called[0]] if called else None
  total = 0
  for number, name in enumerate(operation.operands):
    if name not in here:
      continue
    whole = _in_hbm(here[name].type)
    if whole and operation.opcode == 'dynamic-update-slice' and number == 0:
      continue
    if whole and operation.opcode == 'dynamic-slice' and number == 0:
      whole = _in_hbm(operation.type)
    elif whole and inside is not None:
      whole = min(whole, _read_of(inside, number))
    total += whole
  if operation.opcode == 'dynamic-update-slice':
    return total + _in_hbm(here[operation.operands[1]].type)
  written = _in_hbm(operation.type)
  if inside is not None:
    written = min(written, _written_by(inside))
  return total + written


def _bytes_of_transfer(operation: Operation) -> int:
  """The bytes of an asynchronous copy of an array or of a slice: it reads as much as it writes.

  Its type is that of a source and a target, whichever comes first; the smaller one is moved.
  """
  source, target = arrays_of(operation.type)[:2]
  moved = min(source.bytes, target.bytes)
  return moved * (source.in_hbm + target.in_hbm)


def _in_hbm(type_text: str) -> int:
  return sum(array.bytes for array in arrays_of(type_text) if array.in_hbm)


def _size(type_text: str) -> int:
  return sum(array.bytes for array in arrays_of(type_text))


def _read_of(inside: Mapping[str, Operation], number: int) -> int:
  """How many bytes of its parameter of a number a fused computation reads."""
  parameter = ''
  for operation in inside.values():
    if operation.opcode == 'parameter' and operation.literal == str(number):
      parameter = operation.name
  # If the computation has no such parameter, nothing uses it.
  users = [operation for operation in inside.values() if parameter in operation.operands]
  total = 0
  for user in users:
    if user.operands[0] == parameter and user.opcode in ('dynamic-slice', 'slice', 'gather'):
      total += _size(user.type)
    elif user.operands[0] == parameter and user.opcode == 'dynamic-update-slice':
      # The array is written in place; see `_written_by`.
      continue
    else:
      # Whatever else uses it reads all of it.
      return _size(inside[parameter].type)
  return total


def _written_by(inside: Mapping[str, Operation]) -> int:
  """How many bytes a fused computation writes."""
  root = list(inside.values())[-1]
  parts = [root]
  if root.opcode == 'tuple':
    parts = [inside[name] for name in root.operands]
  total = 0
  for part in parts:
    # A bitcast of an update in place is one too.
    while part.opcode == 'bitcast' and part.operands[0] in inside:
      part = inside[part.operands[0]]
    if part.opcode == 'dynamic-update-slice':
      total += _size(inside[part.operands[1]].type)
    else:
      total += _size(part.type)
  return total


# --------------------------------------------------------------------------------------------------
# Exchanges between chips
# --------------------------------------------------------------------------------------------------


class Collective(NamedTuple):
  """An exchange between chips.

  Attributes:
    kind: one of COLLECTIVES.
    bytes: what comes into each chip in one execution, if every byte takes the best way.
    group: the devices of the first group, as places in the order of the mesh.
    asynchronous: whether other operations run meanwhile.
  """

  kind: str
  bytes: int
  group: tuple[int, ...]
  asynchronous: bool


def group_of(attributes: str, chips: int) -> tuple[int, ...]:
  """Reads which devices the first group of an exchange has.

  Args:
    attributes: the attributes of the operation. Groups are listed, `{{0,1},{2,3}}`, or described:
      `[2,2]<=[4]` cuts 0, 1, 2, 3 into two rows, `[2,2]<=[2,2]T(1,0)` transposes them first, and
      `mesh['a'=2,'b'=2] {'b'}` groups the devices along an axis of a mesh. The mesh may say in
      which order it has them: `mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}`.
    chips: the number of all devices, which are the group if none is named.

  Returns:
    The devices. For a permutation these are the first source and its target.

  Raises:
    ValueError: the groups are written in another way.
  """
  pairs = re.search(r'source_target_pairs=\{\{(\d+),(\d+)\}', attributes)
  if pairs:
    return int(pairs[1]), int(pairs[2])
  found = re.search(r'replica_groups=(.*)', attributes)
  if found is None or found[1].startswith('{}'):
    return tuple(range(chips))
  groups = found[1]
  listed = re.match(r'\{\{([\d,]+)\}', groups)
  if listed:
    return tuple(_integers(listed[1]))
  described = re.match(r'\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', groups)
  if described:
    devices = _ordered_devices(described[2], described[3])
    return tuple(devices.reshape(_integers(described[1]))[0].tolist())
  on_mesh = re.match(
    r'mesh\[([^\]]*)\](?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}', groups
  )
  if on_mesh:
    order = None
    if on_mesh[2]:
      order = _ordered_devices(on_mesh[2], on_mesh[3])
    return _group_on_mesh(on_mesh[1], on_mesh[4], order)
  raise ValueError(f'groups of devices that this parser does not know: {groups[:200]}')


def _ordered_devices(sizes: str, transposition: str | None) -> np.ndarray:
  """Devices 0, 1, 2, ... as an array of these sizes, with its dimensions transposed."""
  dims = _integers(sizes)
  devices = np.arange(math.prod(dims)).reshape(dims)
  if transposition:
    devices = devices.transpose(_integers(transposition))
  return devices


def _group_on_mesh(mesh: str, axes: str, order: np.ndarray | None = None) -> tuple[int, ...]:
  """The first group along axes of a mesh.

  Args:
    mesh: the axes of the mesh, such as `'a'=2,'b'=4`.
    axes: those along which devices are grouped. `'b':(2)2` is a part of an axis: its size is 2, and
      another 2 lies outside of it.
    order: the devices in the order in which the mesh has them; None means 0, 1, 2, ...

  Returns:
    The devices.
  """
  named_sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh)}
  parts = {}
  for name, outside, size in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", axes):
    parts[name] = (int(outside or 1), int(size or named_sizes[name]))
  # Each axis becomes three: outside of the part, the part, and inside of it.
  dims: list[int] = []
  first_group: list[int | slice] = []
  for name, whole in named_sizes.items():
    outside, size = parts.get(name, (1, 1))
    dims += [outside, size, whole // (outside * size)]
    first_group += [0, slice(None), 0]
  if order is None:
    order = np.arange(math.prod(dims))
  return tuple(order.reshape(dims)[tuple(first_group)].ravel().tolist())


def _bytes_in(kind: str, operand_bytes: int, members: int) -> int:
  """The bytes that come into each of the members, at least."""
  others = members - 1
  if kind == 'all-gather':
    return operand_bytes * others
  if kind == 'all-reduce':
    # Parts are summed up where they belong, and the sums are gathered.
    return 2 * operand_bytes * others // members
  if kind in ('reduce-scatter', 'all-to-all', 'ragged-all-to-all'):
    return operand_bytes * others // members
  return operand_bytes


def collectives(program: Program, chips: int) -> Iterator[tuple[Step, Collective]]:
  """Finds all exchanges between chips, those in fusions and asynchronous ones included.

  Args:
    program: the program.
    chips: the number of devices.

  Yields:
    Each exchange and its operation.
  """
  seen = set()
  for step in walk(program):
    operation = step.operation
    kind = operation.opcode.removesuffix('-start')
    if kind not in COLLECTIVES:
      continue
    # The compiler may spread one exchange over several fusions, each of which names it.
    channel = re.search(r'channel_id=(\d+)', operation.attributes)
    if step.fusion and channel:
      if (step.caller, kind, channel[1]) in seen:
        continue
      seen.add((step.caller, kind, channel[1]))
    # An all-reduce of which every chip keeps a part is a reduce-scatter.
    if kind == 'all-reduce' and step.computation.startswith('all-reduce-scatter'):
      kind = 'reduce-scatter'
    asynchronous = operation.opcode.endswith('-start')
    if step.fusion:
      asynchronous |= 'async' in step.fusion.opcode + step.fusion.name + step.computation
    here = program.computations[step.computation]
    operand_bytes = sum(_size(here[name].type) for name in operation.operands if name in here)
    group = group_of(operation.attributes, chips)
    in_bytes = _bytes_in(kind, operand_bytes, len(group))
    yield step, Collective(kind, in_bytes, group, asynchronous)
