"""What `benchmarks/hlo.py` reads in compiled programs, against counts by hand."""

import sys

import pytest
from helpers import ROOT

sys.path.append(str(ROOT / 'benchmarks'))

import hlo

# A loop of 30 layers in which another one has 8 rounds, as the TPU compiler writes them. The outer
# loop says its length; that of the inner one stands in its condition.
PROGRAM = """HloModule jit_step, is_scheduled=true, num_partitions=4

FileNames
1 "train.py"

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused_product (p0: bf16[256,64], p1: bf16[64,32]) -> bf16[256,32] {
  %p0 = bf16[256,64]{1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[64,32]{1,0:T(8,128)(2,1)} parameter(1)
  ROOT %convolution.1 = bf16[256,32]{1,0:T(8,128)(2,1)} convolution(%p0, %p1), dim_labels=bf_io->bf
}

%fused_slice (stack: f32[30,64,32], n: s32[]) -> f32[1,64,32] {
  %stack = f32[30,64,32]{2,1,0:T(8,128)} parameter(0)
  %n = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %slice.1 = f32[1,64,32]{2,1,0:T(8,128)} dynamic-slice(%stack, %n, %zero, %zero), dynamic_slice_sizes={1,64,32}
}

%fused_update (whole: f32[30,64,32], new: f32[1,64,32], at: s32[]) -> f32[30,64,32] {
  %whole = f32[30,64,32]{2,1,0:T(8,128)} parameter(0)
  %new = f32[1,64,32]{2,1,0:T(8,128)} parameter(1)
  %at = s32[]{:T(128)} parameter(2)
  %none = s32[]{:T(128)} constant(0)
  ROOT %update.1 = f32[30,64,32]{2,1,0:T(8,128)} dynamic-update-slice(%whole, %new, %at, %none, %none)
}

%all-reduce-scatter (input: f32[64,32]) -> f32[16,32] {
  %input = f32[64,32]{1,0:T(8,128)} parameter(0)
  %partition = u32[] partition-id()
  %all-reduce.7 = f32[64,32]{1,0:T(8,128)} all-reduce(%input), channel_id=7, replica_groups=[1,4]<=[4], use_global_device_ids=true, to_apply=%add
  ROOT %own = f32[16,32]{1,0:T(8,128)} dynamic-slice(%all-reduce.7, %partition), dynamic_slice_sizes={16,32}
}

%gather_and_product.1 (shard: bf16[16,32], x: bf16[256,64]) -> bf16[64,32] {
  %shard = bf16[16,32]{1,0:T(8,128)(2,1)} parameter(0)
  %x = bf16[256,64]{1,0:T(8,128)(2,1)} parameter(1)
  ROOT %all-gather.3 = bf16[64,32]{1,0:T(8,128)(2,1)} all-gather(%shard), channel_id=3, replica_groups=[1,4]<=[4], dimensions={0}, use_global_device_ids=true
}

%gather_and_product.2 (shard: bf16[16,32], x: bf16[256,64]) -> bf16[64,32] {
  %shard.2 = bf16[16,32]{1,0:T(8,128)(2,1)} parameter(0)
  %x.2 = bf16[256,64]{1,0:T(8,128)(2,1)} parameter(1)
  ROOT %all-gather.4 = bf16[64,32]{1,0:T(8,128)(2,1)} all-gather(%shard.2), channel_id=3, replica_groups=[1,4]<=[4], dimensions={0}, use_global_device_ids=true
}

%async_reduce_scatter (whole: f32[64,32]) -> f32[16,32] {
  %whole.2 = f32[64,32]{1,0:T(8,128)} parameter(0)
  ROOT %reduce-scatter.1 = f32[16,32]{1,0:T(8,128)} reduce-scatter(%whole.2), channel_id=8, replica_groups={{0,1},{2,3}}, use_global_device_ids=true, dimensions={0}, to_apply=%add
}, execution_thread="sparsecore"

%inner_condition (state.1: (s32[], bf16[256,64])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %counter.1 = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  %bound.1 = s32[]{:T(128)} constant(8)
  ROOT %less.1 = pred[]{:T(512)} compare(%counter.1, %bound.1), direction=LT
}

%inner_body (state.2: (s32[], bf16[256,64])) -> (s32[], bf16[256,64]) {
  %state.2 = (s32[]{:T(128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %counter.2 = s32[]{:T(128)} get-tuple-element(%state.2), index=0
  %x.3 = bf16[256,64]{1,0:T(8,128)(2,1)} get-tuple-element(%state.2), index=1
  %collective-permute-start.1 = (bf16[256,64]{1,0:T(8,128)(2,1)}, bf16[256,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x.3), channel_id=9, source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  %collective-permute-done.1 = bf16[256,64]{1,0:T(8,128)(2,1)} collective-permute-done(%collective-permute-start.1)
  ROOT %tuple.2 = (s32[]{:T(128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) tuple(%counter.2, %collective-permute-done.1)
}

%outer_condition (state.3: (s32[], f32[30,64,32], /*index=2*/ bf16[256,64])) -> pred[] {
  %state.3 = (s32[]{:T(128)}, f32[30,64,32]{2,1,0:T(8,128)}, /*index=2*/ bf16[256,64]{1,0:T(8,128)(2,1)}) parameter(0)
  ROOT %true = pred[]{:T(512)} constant(true)
}

%outer_body (state.4: (s32[], f32[30,64,32], /*index=2*/ bf16[256,64])) -> (s32[], f32[30,64,32], bf16[256,64]) {
  %state.4 = (s32[]{:T(128)}, f32[30,64,32]{2,1,0:T(8,128)}, /*index=2*/ bf16[256,64]{1,0:T(8,128)(2,1)}) parameter(0)
  %n.4 = s32[]{:T(128)} get-tuple-element(%state.4), index=0
  %stack.4 = f32[30,64,32]{2,1,0:T(8,128)} get-tuple-element(%state.4), index=1
  %x.4 = bf16[256,64]{1,0:T(8,128)(2,1)} get-tuple-element(%state.4), index=2
  %layer = f32[1,64,32]{2,1,0:T(8,128)} fusion(%stack.4, %n.4), kind=kLoop, calls=%fused_slice, backend_config={"window_config":{"estimated_cycles":"10"}}
  %shard.4 = bf16[16,32]{1,0:T(8,128)(2,1)S(1)} convert(%layer)
  %async-collective-start.1 = bf16[64,32]{1,0:T(8,128)(2,1)S(1)} fusion(%shard.4, %x.4), kind=kCustom, calls=%gather_and_product.1, backend_config={"window_config":{"estimated_cycles":"200"}}
  %async-collective-done.1 = bf16[64,32]{1,0:T(8,128)(2,1)S(1)} fusion(%shard.4, %x.4), kind=kCustom, calls=%gather_and_product.2, backend_config={"window_config":{"estimated_cycles":"5"}}
  %product.4 = bf16[256,32]{1,0:T(8,128)(2,1)} fusion(%x.4, %async-collective-done.1), kind=kOutput, calls=%fused_product, backend_config={"window_config":{"estimated_cycles":"1000"}}
  %start.4 = (s32[]{:T(128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) tuple(%n.4, %x.4)
  %while.4 = (s32[]{:T(128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) while(%start.4), condition=%inner_condition, body=%inner_body
  %splash_mha_fwd.1 = (f32[256,128]{1,0:T(8,128)}, bf16[4,256,64]{2,1,0:T(8,128)(2,1)S(1)}) custom-call(%x.4), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 256, \\"use_fused_bwd_kernel\\": true}"
}}, metadata={op_name="jit(train_step)/splash_mha_fwd_segmented_residuals/pallas_call" stack_frame_id=208}
  %stack.5 = f32[30,64,32]{2,1,0:T(8,128)} fusion(%stack.4, %layer, %n.4), kind=kLoop, calls=%fused_update, backend_config={"window_config":{"estimated_cycles":"20"}}
  ROOT %tuple.4 = (s32[]{:T(128)}, f32[30,64,32]{2,1,0:T(8,128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) tuple(%n.4, %stack.5, %x.4)
}

ENTRY %main (stack.0: f32[30,64,32], x.0: bf16[256,64], grads: f32[64,32]) -> f32[64,32] {
  %stack.0 = f32[30,64,32]{2,1,0:T(8,128)} parameter(0), metadata={op_name="state.params['wq']"}
  %x.0 = bf16[256,64]{1,0:T(8,128)(2,1)} parameter(1)
  %grads = f32[64,32]{1,0:T(8,128)} parameter(2)
  %first = s32[]{:T(128)} constant(0)
  %start.0 = (s32[]{:T(128)}, f32[30,64,32]{2,1,0:T(8,128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) tuple(%first, %stack.0, %x.0)
  %while.0 = (s32[]{:T(128)}, f32[30,64,32]{2,1,0:T(8,128)}, bf16[256,64]{1,0:T(8,128)(2,1)}) while(%start.0), condition=%outer_condition, body=%outer_body, backend_config={"known_trip_count":{"n":"30"},"known_init_step":{"init":"0","step":"1"}}
  %scattered = f32[16,32]{1,0:T(8,128)} fusion(%grads), kind=kCustom, calls=%all-reduce-scatter
  %async-start.0 = ((f32[64,32]{1,0:T(8,128)}), f32[16,32]{1,0:T(8,128)}, u32[]{:S(2)}) async-start(%grads), calls=%async_reduce_scatter
  %async-done.0 = f32[16,32]{1,0:T(8,128)} async-done(%async-start.0), calls=%async_reduce_scatter
  %all-reduce-start.0 = f32[64,32]{1,0:T(8,128)} all-reduce-start(%grads), channel_id=2, replica_groups=[2,2]<=[2,2]T(1,0), use_global_device_ids=true, to_apply=%add
  ROOT %all-reduce-done.0 = f32[64,32]{1,0:T(8,128)} all-reduce-done(%all-reduce-start.0)
}
"""  # noqa: E501


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
