"""What `benchmarks/hlo.py` reads in compiled programs, against counts by hand."""

import sys

import pytest
from helpers import ROOT

sys.path.append(str(ROOT / 'benchmarks'))

import hlo

# A loop of 30 layers in which another one has 8 rounds, as the TPU compiler writes them. The outer
# loop says its length; that of the inner one stands in its condition.
PROGRAM = (ROOT / 'tests' / 'golden' / 'program.hlo').read_text()


@pytest.fixture(scope='module')
def program():
  return hlo.parse(PROGRAM)


def test_parse(program):
  assert program.entry == 'main'
  layer = program.computations['outer_body']['layer']
  assert layer.opcode == 'fusion'
  assert layer.operands == ('stack.4', 'n.4')
  assert hlo.named(layer, 'calls') == ['fused_slice']
  # Types of tuples, with comments and with layouts in parentheses.
  state = program.computations['outer_body']['state.4']
  assert [array.shape for array in hlo.arrays_of(state.type)] == [(), (30, 64, 32), (256, 64)]
  # The attributes of a kernel take several lines, one of which begins with a brace.
  kernel = program.computations['outer_body']['splash_mha_fwd.1']
  assert 'block_q' in kernel.attributes
  assert kernel.attributes.endswith('pallas_call" stack_frame_id=208}')
  assert 'tuple.4' in program.computations['outer_body']
  with pytest.raises(ValueError, match='no entry'):
    hlo.parse('HloModule empty')


def test_sizes():
  found = hlo.arrays_of('(bf16[16,4096]{1,0:T(8,128)(2,1)S(1)}, pred[8]{0}, s4[3]{0}, token[])')
  assert [array.bytes for array in found] == [2 * 16 * 4096, 8, 2]
  assert [array.in_hbm for array in found] == [False, True, True]


def test_loops_multiply(program):
  times = {}
  loops = {}
  for step in hlo.walk(program):
    times[step.operation.name] = step.times
    loops[step.operation.name] = step.loops
  assert times['while.0'] == 1
  assert times['product.4'] == times['convolution.1'] == 30
  assert times['collective-permute-start.1'] == 30 * 8
  assert (loops['scattered'], loops['product.4'], loops['collective-permute-start.1']) == (0, 1, 2)
  assert hlo.unknown_loops(program) == []


def test_a_loop_of_unknown_length_is_named():
  text = PROGRAM.replace(
    '%bound.1 = s32[]{:T(128)} constant(8)', '%bound.1 = s32[] copy(%counter.1)'
  )
  assert hlo.unknown_loops(hlo.parse(text)) == ['while.4']


def test_cycles(program):
  total = 0
  for step in hlo.walk(program):
    total += step.times * hlo.cycles_of(step.operation)
  assert total == 30 * (10 + 200 + 5 + 1000 + 20)


def flops(program):
  return sum(step.times * hlo.flops_of(program, step) for step in hlo.walk(program))


def test_flops_of_matrix_products(program):
  assert flops(program) == 30 * 2 * 256 * 64 * 32


@pytest.mark.parametrize(
  ('line', 'counted'),
  [
    # (8, 128, 64) by (8, 64, 32), batch by batch: the batch is a window that moves over padding.
    (
      'f32[8,128,32]{2,1,0} convolution(%x, %y), window={size=8 stride=7 pad=0_0 lhs_dilate=8}, '
      'dim_labels=0bf_0io->0bf',
      2 * 8 * 128 * 64 * 32,
    ),
    ('f32[8,128,32]{2,1,0} dot(%x, %y), lhs_batch_dims={0}, lhs_contracting_dims={2}, '
     'rhs_batch_dims={0}, rhs_contracting_dims={1}', 2 * 8 * 128 * 64 * 32),
  ],
)  # fmt: skip
def test_flops_of_batches(line, counted):
  text = (
    'ENTRY %main (x: f32[8,128,64], y: f32[8,64,32]) -> f32[8,128,32] {\n'
    '  %x = f32[8,128,64]{2,1,0} parameter(0)\n'
    '  %y = f32[8,64,32]{2,1,0} parameter(1)\n'
    f'  ROOT %out = {line}\n'
    '}\n'
  )
  assert flops(hlo.parse(text)) == counted


def test_bytes_of_hbm(program):
  found = {}
  for step in hlo.walk(program):
    found[step.operation.name] = hlo.hbm_bytes_of(program, step)
  layer = 4 * 64 * 32
  # The slice is read and written, the counter is read; the stack is not.
  assert found['layer'] == 2 * layer + 4
  # The update reads and writes a slice of the stack.
  assert found['stack.5'] == 2 * layer + 4
  # What lies in the memory of the core does not count: only x and the output do.
  assert found['product.4'] == 2 * (256 * 64 + 256 * 32)
  assert found['while.0'] == found['async-done.0'] == found['convolution.1'] == 0


def test_exchanges(program):
  found = {}
  for step, exchange in hlo.collectives(program, chips=4):
    assert step.operation.name not in found
    found[step.operation.name] = (step.times, step.loops, *exchange)
  array = 4 * 64 * 32
  everyone = (0, 1, 2, 3)
  assert found == {
    # It is spread over two fusions and counts once: three shards of 16 rows come in.
    'all-gather.3': (30, 1, 'all-gather', 3 * 2 * 16 * 32, everyone, True),
    'collective-permute-start.1': (240, 2, 'collective-permute', 2 * 256 * 64, (0, 1), True),
    # A fusion of an all-reduce of which every chip keeps a fourth.
    'all-reduce.7': (1, 0, 'reduce-scatter', array * 3 // 4, everyone, False),
    # Wrapped into async-start, in groups of two.
    'reduce-scatter.1': (1, 0, 'reduce-scatter', array // 2, (0, 1), True),
    'all-reduce-start.0': (1, 0, 'all-reduce', 2 * array // 2, (0, 2), True),
  }


@pytest.mark.parametrize(
  ('groups', 'first'),
  [
    ('replica_groups={{0,3},{1,2}}', (0, 3)),
    ('replica_groups=[2,4]<=[8]', (0, 1, 2, 3)),
    ('replica_groups=[4,2]<=[2,4]T(1,0)', (0, 4)),
    ("replica_groups=mesh['axis_0'=8] {'axis_0'}", tuple(range(8))),
    ("replica_groups=mesh['a'=2,'b'=4] {'b'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=2,'b'=4,'c'=1] {'a','c'}", (0, 4)),
    # The mesh has the devices in the order 0, 4, 1, 5, 2, 6, 3, 7.
    ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", (0, 1, 2, 3)),
    ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", (0, 4)),
    ("replica_groups=mesh['a'=2,'b'=4], device_ids=([8]) {'b'}", (0, 1, 2, 3)),
    # A part of the axis b, with two outside of it: 0, 1 | 2, 3 | ...
    ("replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}", (0, 1)),
    ('source_target_pairs={{2,3},{3,2}}', (2, 3)),
    ('replica_groups={}', tuple(range(8))),
  ],
)
def test_groups(groups, first):
  assert hlo.group_of(f', channel_id=1, {groups}, dimensions={{0}}', 8) == first


def test_unknown_groups_are_refused():
  with pytest.raises(ValueError, match='does not know'):
    hlo.group_of(', replica_groups=@groups, dimensions={0}', 8)


@pytest.mark.parametrize(
  ('line', 'moved'),
  [
    # A copy from the memory of the core to HBM, and a slice that is fetched from HBM.
    ('(f32[4,8]{1,0}, f32[4,8]{1,0:S(1)}, u32[]{:S(2)}) copy-start(%x)', 4 * 32),
    ('((f32[4,8]{1,0}), f32[1,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%x), slice={[0:1]}', 4 * 8),
    ('(f32[4,8]{1,0}, f32[4,8]{1,0}, u32[]{:S(2)}) copy-start(%x)', 2 * 4 * 32),
  ],
)
def test_bytes_of_asynchronous_copies(line, moved):
  text = (
    'ENTRY %main (x: f32[4,8]) -> f32[4,8] {\n'
    '  %x = f32[4,8]{1,0} parameter(0)\n'
    f'  ROOT %start = {line}\n'
    '}\n'
  )
  program = hlo.parse(text)
  steps = [step for step in hlo.walk(program) if step.operation.name == 'start']
  assert hlo.hbm_bytes_of(program, steps[0]) == moved
