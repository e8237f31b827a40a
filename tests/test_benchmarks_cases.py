"""The pure parts of `roofline.py`, `gpu.py`, `sizes.py` and `real_step.py` in benchmarks/, and that
both sides of `real_step.py` compute the same."""

import argparse
import dataclasses
import itertools
import json
import sys

import jax
import numpy as np
import pytest
from helpers import ROOT
from jaxlib import xla_client

sys.path.append(str(ROOT / 'benchmarks'))

import gpu
import hlo
import hlo_largest
import real_step
import real_step_programs
import roofline
import sizes
import tpu_cases
import tpu_pages

from msm_jax.config import LoraConfig
from msm_jax.model import flops_per_token

V5E = tpu_cases.CHIPS['v5e']
V5P = tpu_cases.CHIPS['v5p']
ALL_OF_4X4 = [(x, y, 0) for x in range(4) for y in range(4)]


def test_sizes_are_those_of_the_published_models():
  """Parameters as published: 134.5 million, 1.24, 8.03 and 32.8 billion."""
  expected = {
    'smollm2-135m': 134.5e6,
    'llama-3.2-1b': 1.236e9,
    'llama-3.1-8b': 8.03e9,
    'qwen3-32b': 32.76e9,
    'qwen2.5-32b': 32.76e9,
  }
  for name, model in sizes.MODELS.items():
    # 6 FLOPs for each parameter in a matrix; an embedding apart from the unembedding has none.
    parameters = flops_per_token(model, 0) / 6
    if not model.tie_embeddings:
      parameters += model.vocab_size * model.d_model
    assert parameters == pytest.approx(expected[name], rel=2e-3)


def test_flops_with_adapters():
  model = sizes.MODELS['smollm2-135m']
  assert sizes.training_flops(model, 1024) == flops_per_token(model, 1024)
  adapted = dataclasses.replace(model, lora=LoraConfig(rank=64))
  # 134.5 million in matrices and 19.5 million in adapters of rank 64, and attention besides.
  attention = 6 * 30 * 576 * 1024
  expected = 4 * 134.48e6 + 6 * 19.54e6 + attention
  assert sizes.training_flops(adapted, 1024) == pytest.approx(expected, rel=1e-3)
  # Below the upper ten layers there is no backward pass: 2 FLOPs for each parameter.
  upper = dataclasses.replace(model, lora=LoraConfig(rank=64, layers=tuple(range(20, 30))))
  in_layer = (134.48e6 - 49_152 * 576) / 30
  expected = 4 * 134.48e6 - 20 * 2 * in_layer + 2 * 19.54e6 + attention * (1 - 20 / 30 * 4 / 6)
  assert sizes.training_flops(upper, 1024) == pytest.approx(expected, rel=1e-3)


# --------------------------------------------------------------------------------------------------
# roofline.py
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
  ('chip', 'shape', 'group', 'links'),
  [
    # The corner of a grid without rings hears from two neighbours.
    (V5E, (4, 4), ALL_OF_4X4, 2),
    # One column of it: one line.
    (V5E, (4, 4), [(0, y, 0) for y in range(4)], 1),
    # Rings in three dimensions.
    (V5P, (4, 4, 4), [(x, y, z) for x, y, _ in ALL_OF_4X4 for z in range(4)], 6),
    # Half a ring is a line.
    (V5P, (4, 4, 4), [(0, 0, 0), (0, 0, 1)], 1),
    # Without a whole cube of 4x4x4 there are no rings.
    (V5P, (2, 2, 4), [(0, 0, z) for z in range(4)], 1),
    (V5P, (2, 2, 4), [(x, y, z) for x in (0, 1) for y in (0, 1) for z in range(4)], 3),
    # v5e closes a dimension of 16, whatever the others are.
    (V5E, (8, 16), [(0, y, 0) for y in range(16)], 2),
    (V5E, (2, 2), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)], 2),
  ],
)
def test_links(chip, shape, group, links):
  assert roofline.links_of(chip, shape, group) == links


# A loop of three layers: 1.5 million cycles and an asynchronous gather of 100 MB in each, and a
# synchronous all-reduce after it.
STEP = """%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%product (x: bf16[64,64]) -> bf16[64,64] {
  %x = bf16[64,64]{1,0} parameter(0)
  ROOT %out = bf16[64,64]{1,0} convolution(%x, %x), dim_labels=bf_io->bf
}

%body (state: (bf16[64,64], bf16[50000000])) -> (bf16[64,64], bf16[50000000]) {
  %state = (bf16[64,64]{1,0}, bf16[50000000]{0}) parameter(0)
  %x.1 = bf16[64,64]{1,0} get-tuple-element(%state), index=0
  %shard = bf16[50000000]{0} get-tuple-element(%state), index=1
  %start = (bf16[50000000]{0}, bf16[100000000]{0}) all-gather-start(%shard), \
replica_groups={{0,1}}, dimensions={0}
  %busy = bf16[64,64]{1,0} fusion(%x.1), kind=kOutput, calls=%product, \
backend_config={"estimated_cycles":"1500000"}
  %done = bf16[100000000]{0} all-gather-done(%start)
  ROOT %next = (bf16[64,64]{1,0}, bf16[50000000]{0}) tuple(%busy, %shard)
}

%condition (state: (bf16[64,64], bf16[50000000])) -> pred[] {
  %state.1 = (bf16[64,64]{1,0}, bf16[50000000]{0}) parameter(0)
  ROOT %true = pred[] constant(true)
}

ENTRY %main (x: bf16[64,64], w: bf16[50000000]) -> bf16[64,64] {
  %x.2 = bf16[64,64]{1,0} parameter(0)
  %w = bf16[50000000]{0} parameter(1)
  %start.1 = (bf16[64,64]{1,0}, bf16[50000000]{0}) tuple(%x.2, %w)
  %loop = (bf16[64,64]{1,0}, bf16[50000000]{0}) while(%start.1), condition=%condition, body=%body, \
backend_config={"known_trip_count":{"n":"3"}}
  %x.3 = bf16[64,64]{1,0} get-tuple-element(%loop), index=0
  %reduced = bf16[50000000]{0} all-reduce(%w), replica_groups={{0,1}}, to_apply=%add
  %kernel = bf16[64,64]{1,0} custom-call(%x.3), custom_call_target="tpu_custom_call", \
metadata={op_name="jit(step)/splash_mha_fwd_segmented_residuals"}
  ROOT %result = bf16[64,64]{1,0} copy(%kernel)
}
"""
CASE = tpu_cases.Case('toy', 'smollm2-135m', 'v5e:2x1', length=1024, rows=2)


def test_estimate():
  model = roofline.model_of(CASE)
  found = roofline.estimate(hlo.parse(STEP), CASE, model, [(0, 0, 0), (1, 0, 0)])
  # Two products of the forward kernel: 2 x 2 FLOPs x half of T^2 pairs x 576 columns x two rows.
  in_kernel = 2 * 2 * 2 * 1024**2 / 2 * 576
  kernel_seconds = in_kernel / (0.4 * 197e12)
  assert found['flops'] == 3 * 2 * 64**3 + in_kernel
  assert found['kernel_seconds'] == pytest.approx(kernel_seconds)
  # A million cycles and a half are a millisecond.
  assert found['computing_seconds'] == pytest.approx(3e-3 + kernel_seconds)
  # 100 MB over one link of 50 GB/s take 2 ms, of which the layer hides one. The all-reduce brings
  # 100 MB once more, and hides nothing.
  assert found['exchanging_seconds'] == pytest.approx(3 * 2e-3 + 2e-3)
  assert found['hidden_seconds'] == pytest.approx(3e-3)
  assert found['seconds'] == pytest.approx(3 * 2e-3 + 2e-3 + kernel_seconds)
  gather = found['exchanges']['all-gather']
  assert (gather['count'], gather['count_in_loops'], gather['bytes']) == (3, 3, 300_000_000)
  reduced = found['exchanges']['all-reduce']
  assert (reduced['count'], reduced['count_in_loops'], reduced['bytes']) == (1, 0, 100_000_000)
  assert found['unknown_loops'] == []
  rate, mfu = roofline.rates(CASE, model, found['seconds'])
  assert rate == pytest.approx(2 * 1024 / found['seconds'])
  assert mfu == pytest.approx(rate * flops_per_token(model, 1024) / 197e12)


def test_one_matrix_product_checks_the_clock():
  """The text has 2 x 64^3 FLOPs: at the peak of v5e they take 2.66 ns, or four cycles."""
  entry = 'ENTRY %main (y: bf16[64,64]) -> bf16[64,64] {\n  %y = bf16[64,64]{1,0} parameter(0)\n'
  product = STEP[STEP.index('%product') : STEP.index('%body')]
  call = '  ROOT %f = bf16[64,64]{1,0} fusion(%y), calls=%product, backend_config='

  def share(cycles):
    config = json.dumps({'estimated_cycles': str(cycles)}, separators=(',', ':'))
    return roofline.matmul_share(f'{product}{entry}{call}{config}\n}}\n', V5E)

  assert share(5) == pytest.approx(2 * 64**3 / 197e12 / (5 / 1.5e9))
  for wrong in (2, 50):
    with pytest.raises(ValueError, match='clock'):
      share(wrong)


def result(name, **changes):
  """What is kept of a case."""
  case = next(case for case in tpu_cases.CASES if case.name == name)
  return dataclasses.asdict(case) | {
    'commit': '0123456789',
    'jax': '0.10.2',
    'libtpu': '0.0.42.1',
    'fits': True,
    'peak_gib': 10.344,
    'computing_seconds': 1.2384,
    'exchanging_seconds': 0.5,
    'seconds': 1.3,
    'tokens_per_second': 1575.4,
    'mfu': 0.3729,
    'matmul_share': 0.876,
    'exchanges': {'all-gather': {'bytes': 3.2 * 2**30, 'count': 1234}},
    **changes,
  }


def test_lines_and_table(tmp_path):
  file = tmp_path / 'tpu.jsonl'
  assert tpu_pages.speed_table(tpu_pages.read_lines(file)) == '*Not run yet.*\n'
  tpu_pages.keep_line(file, result('8b-full-v5e-8192'))
  tpu_pages.keep_line(file, result('8b-full-v5e-2048', mfu=0.1))
  # A newer result takes the place of the older one.
  tpu_pages.keep_line(file, result('8b-full-v5e-2048'))
  too_large = {'name': '8b-full-v5e-8192', 'fits': False, 'message': 'Used 21.66G of 15.75G hbm'}
  tpu_pages.keep_line(file, result('8b-full-v5e-8192') | too_large)
  kept = tpu_pages.read_lines(file)
  assert list(kept) == ['8b-full-v5e-2048', '8b-full-v5e-8192']
  page = 'before\n<!-- roofline: speed -->\nold\n<!-- end roofline -->\nafter\n'
  made = tpu_pages.with_table(page, 'speed', tpu_pages.speed_table(kept))
  assert (
    '| 8b-full-v5e-2048 | v5e:4x4 | fsdp over all | block | 1 x 2,048 | 10.34 of 16 | 1,238 | 500 '
    '| 1,300 | 1,575 | 37.3% (88%) | all-gather 3.2 (1,234) |\n'
  ) in made
  assert '10.34 of 16 **does not fit**' in made
  assert 'Made at 0123456 with JAX 0.10.2 and libtpu 0.0.42.1.' in made
  assert made.startswith('before\n<!-- roofline: speed -->\n| case')
  assert made.endswith('<!-- end roofline -->\nafter\n')
  assert 'old' not in made
  assert tpu_pages.with_table(made, 'speed', tpu_pages.speed_table(kept)) == made
  with pytest.raises(ValueError, match='no block'):
    tpu_pages.with_table('a page', 'speed', 'a table')


def test_a_published_experiment_says_what_a_chip_holds():
  """A batch of fine-tuning has 16 rows, and eight chips share them."""
  kept = {'paper_cheese-fine_tune-v5e-2x4': result('paper_cheese-fine_tune-v5e-2x4', state_gib=2.2)}
  assert (
    '| `configs/paper_cheese.py` | v5e:2x4 | fine-tune | 16 x 4,096 | 2.20 GiB '
    '| 10.34 of 16 GiB |\n'
  ) in tpu_pages.memory_table(kept)
  # It has a table of its own.
  assert tpu_pages.speed_table(kept) == '*Not run yet.*\n'
  assert 'paper_cheese-fine_tune' in tpu_pages.configs_table(kept)
  refused = result('paper_cheese-fine_tune-v5e-2x4', fits=False, message='')
  del refused['peak_gib']
  assert '| - | **does not fit** |' in tpu_pages.memory_table({refused['name']: refused})


@pytest.mark.parametrize('page', tpu_pages.PAGES, ids=lambda page: page.name)
def test_the_pages_are_as_the_kept_lines_say(page):
  assert tpu_pages.filled(page) == page.read_text()


def test_cases_of_a_config():
  """What the config says of a batch and of devices is what is compiled."""
  cases = {case.name: case for case in tpu_cases.CASES}
  case = cases['paper_cheese-midtrain-v5p-2x2x1']
  assert (case.rows, case.length, case.mesh, case.rank) == (2, 4096, (1, 4, 1), 64)
  assert cases['paper_cheese-fine_tune-v5p-2x2x1'].rows == 4
  assert cases['paper_cheese-score-v5p-2x2x1'].rows == 16
  # Four rows, divided over four groups of four chips.
  case = cases['paper_oversight-train-v6e-4x4']
  assert (case.rows, case.length, case.mesh, case.loss_chunk) == (1, 8192, (1, 4, 4), 2048)
  # GPUs have no compiler here.
  assert not [name for name in cases if 'h100' in name or 'h200' in name]
  smollm2_case = cases['smollm2-gpu']
  assert (smollm2_case.rows * 4, smollm2_case.length) == (4, 1024)
  on_gpu = next(case for case in gpu.CASES if case.name == 'smollm2.py:gpu')
  assert (on_gpu.rows, on_gpu.length, on_gpu.loss_chunk) == (4, 1024, smollm2_case.loss_chunk)


def test_a_case_is_changed():
  case = tpu_cases.CASES[0]
  changed = tpu_cases.changed(case, ['topology=v6e:4x4', 'rows=3', 'mesh=(2,8,1)'])
  assert (changed.topology, changed.rows, changed.mesh) == ('v6e:4x4', 3, (2, 8, 1))
  assert changed.name == case.name
  for wrong in ('row=3', 'rows=(3,)'):
    with pytest.raises(ValueError, match='field'):
      tpu_cases.changed(case, [wrong])


def test_chips_that_are_left_may_divide_heads():
  """-1 means the same as the number that it stands for, in the rates and in the work of kernels."""
  named = tpu_cases.changed(CASE, ['topology=v5e:2x4', 'mesh=(1,2,4)'])
  left = tpu_cases.changed(named, ['mesh=(1,2,-1)'])
  assert left.mesh_sizes == named.mesh_sizes == (1, 2, 4)
  assert tpu_cases.changed(named, ['mesh=(1,-1,1)']).mesh_sizes == (1, 8, 1)
  model = roofline.model_of(named)
  assert roofline.rates(left, model, 1.0) == roofline.rates(named, model, 1.0)
  kernel = 'op_name="splash_mha_fwd_residuals"'
  work = [roofline.kernel_flops(case, model, kernel, has_dq=False) for case in (left, named)]
  assert work[0] == work[1] > 0


def test_the_largest_operations():
  """Three executions of a product of 2 x 64^3 FLOPs, of a million cycles and a half each."""
  first, *others = hlo_largest.groups(hlo.parse(STEP), V5E.clock)
  assert (first.name, first.opcode, first.times) == ('busy', 'fusion', 3)
  assert first.seconds == pytest.approx(3e-3)
  assert first.flops == 3 * 2 * 64**3
  assert all(group.seconds == 0 for group in others)
  # The kernel has no estimate, and is named after what JAX has called it.
  assert 'forward: step/splash_mha_fwd_segmented_residuals' in [group.name for group in others]
  lines = hlo_largest.table([first, *others], 1).splitlines()
  assert lines[0].split() == ['3.0', 'ms', 'in', 'all']
  # Half a GFLOP/s, in TFLOP/s.
  assert first.flops / first.seconds == pytest.approx(0.52e9, rel=0.01)
  assert lines[2].split()[:3] == ['3.0', '3', '0.0']


def test_cases_have_names_of_their_own():
  for cases in (tpu_cases.CASES, gpu.CASES):
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)


# --------------------------------------------------------------------------------------------------
# gpu.py
# --------------------------------------------------------------------------------------------------


def test_children_run_one_program():
  groups = []
  remaining = list(gpu.CASES)
  while remaining:
    group = gpu.next_group(remaining)
    groups.append(group)
    remaining = remaining[len(group) :]
  for group, following in itertools.pairwise(groups):
    assert len({case.program.startswith('pytorch') for case in group}) == 1
    assert group[0].program != following[0].program
  assert [case for group in groups for case in group] == list(gpu.CASES)


def test_batches():
  packed = gpu.make_batch(3, 1024, 500, packed=True)
  for segments, positions in zip(packed['segment_ids'], packed['positions'], strict=True):
    starts = np.flatnonzero(positions == 0)
    assert starts[0] == 0
    assert list(segments[starts]) == list(range(1, len(starts) + 1))
    # Positions count up within a text, and the last text may be cut.
    assert (np.diff(positions)[np.diff(segments) == 0] == 1).all()
    lengths = np.diff(starts)
    assert ((lengths >= 200) & (lengths <= 800)).all()
  whole = gpu.make_batch(3, 1024, 500, packed=False)
  assert (whole['segment_ids'] == 1).all()
  assert (whole['positions'] == np.arange(1024)).all()
  assert (whole['tokens'] == packed['tokens']).all()


def test_what_the_parent_adds():
  ours = gpu.FULL_135M
  theirs = gpu.variant(ours, program='pytorch')
  before = {'matmul': {'flops_per_s': 8e14}}
  line = {'case': ours.name, 'tok_s': 4e5, 'flops_per_s': 4e14, 'losses': [10.0, 9.0]}
  before[ours.name] = gpu.complete(line, ours, before)
  assert before[ours.name]['mfu'] == 0.5
  assert before[ours.name]['anchor'] == 390_000
  line = {'case': theirs.name, 'tok_s': 2e5, 'flops_per_s': 2e14, 'losses': [10.0, 9.05]}
  done = gpu.complete(line | {'same_weights': True}, theirs, before)
  assert (done['ours_to_theirs'], done['same_losses']) == (2.0, True)
  far_off = gpu.complete(line | {'same_weights': True, 'losses': [10.0, 8.0]}, theirs, before)
  assert not far_off['same_losses']
  failed = {'case': theirs.name, 'error': 'out of memory'}
  assert gpu.complete(failed, theirs, before) == failed
  json.dumps(done)


def test_no_case_begins_that_cannot_end(capsys):
  gpu.child(gpu.CASES[:1], deadline=0.0, smoke=True)
  assert gpu.run_all(gpu.CASES[1:2], budget=10, smoke=True) == 0
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [line['case'] for line in lines] == ['matmul', 'parity']
  assert all(line['left_out'] == 'no time left' for line in lines)


def test_a_crash_costs_one_case(tmp_path, monkeypatch, capsys):
  """The child ends after the first of its cases; the next child goes on after the second."""
  script = tmp_path / 'child.py'
  script.write_text(
    'import json, sys\n'
    'names = sys.argv[sys.argv.index("--only") + 1 :]\n'
    'print("a warning")\n'
    'print(json.dumps({"case": names[0]}), flush=True)\n'
    'if "matmul" in names:\n'
    '  sys.exit(3)\n'
  )
  monkeypatch.setattr(gpu, '__file__', str(script))
  cases = [gpu.Case(name, 'decode') for name in ('matmul', 'crashes', 'last')]
  assert gpu.run_all(cases, budget=540, smoke=False) == 1
  first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
  assert first == {'case': 'matmul'}
  assert second == {'case': 'crashes', 'error': 'its process ended with exit code 3'}
  assert third == {'case': 'last'}


@pytest.mark.parametrize('own', ['', 'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'])
def test_what_its_user_says_of_memory_counts(own, monkeypatch):
  """JAX itself reads what a child is given. It refuses both names of the variable together."""
  names = ('XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION')
  given = {}

  def start(command, env, **settings):
    given.update(env)
    raise OSError('nothing is started')

  for name in names:
    monkeypatch.delenv(name, raising=False)
  if own:
    monkeypatch.setenv(own, '.5')
  monkeypatch.setattr(gpu.subprocess, 'Popen', start)
  with pytest.raises(OSError, match='nothing is started'):
    list(gpu.lines_of_child(gpu.CASES[:1], 0.0, smoke=False))
  for name in names:
    monkeypatch.setenv(name, given.get(name, ''))
  options = xla_client.generate_pjrt_gpu_plugin_options()
  assert options['memory_fraction'] == (0.5 if own else 0.92)


def test_parity_compares_with_fp32(monkeypatch):
  """By default, GPUs multiply fp32 numbers as TF32."""
  asked = []

  def objective(model, *_):
    asked.append((model.dtype, jax.config.jax_default_matmul_precision))
    raise RuntimeError('traced')

  monkeypatch.setattr('msm_jax.objectives.next_token.next_token', objective)
  parity = next(case for case in gpu.CASES if case.kind == 'parity')
  with pytest.raises(RuntimeError, match='traced'):
    gpu.run_parity(dataclasses.replace(parity, length=64), smoke=True)
  assert asked == [('float32', 'highest')]


def test_toys_differ():
  small = gpu.toys(gpu.CASES)
  assert {case.kind for case in small} == set(gpu.KINDS)
  assert {case.program for case in small} == {case.program for case in gpu.CASES}
  assert {bool(case.rank) for case in small} == {False, True}
  assert max(case.length for case in small) == 64
  assert len(small) < len(gpu.CASES)


# --------------------------------------------------------------------------------------------------
# real_step.py
# --------------------------------------------------------------------------------------------------

# Of each program; pure bfloat16 rounds its updates away.
LOSSES = {
  'ours-float32': [10.0, 9.0, 8.0],
  'peer-float32': [10.0, 9.0, 8.001],
  'ours-bfloat16': [10.02, 9.0, 8.03],
  'peer-bfloat16': [10.01, 9.9, 9.5],
  'peer-autocast': [10.0, 9.1, 8.1],
}


def test_which_peers_train():
  assert real_step.check_losses(LOSSES) == ['peer-float32', 'peer-autocast']
  with pytest.raises(ValueError, match='losses of ours-float32 are'):
    real_step.check_losses(LOSSES | {'ours-float32': [10.0, 9.0, 8.02]})
  with pytest.raises(ValueError, match='peer-autocast are'):
    real_step.check_losses(LOSSES | {'peer-autocast': [10.2, 9.1, 8.1]})
  # Nothing can be said against a peer that does not train.
  with pytest.raises(ValueError, match='does not fall'):
    real_step.check_losses({'peer-float32': [10.0, 10.0, 10.0]})


def test_ratios_to_the_fastest_peer():
  """Pure bfloat16 is the fastest and does not count; the ratio is that of each round."""
  seconds = {
    'ours-float32': (4.0, 2.0, 4.0),
    'peer-float32': (5.0, 5.0, 5.0),
    'ours-bfloat16': (2.0, 2.0, 2.0),
    'peer-bfloat16': (1.0, 1.0, 1.0),
    'peer-autocast': (2.0, 4.0, 3.0),
  }
  rounds = {}
  for name, of_rounds in seconds.items():
    rounds[name] = [dict(seconds=s, cpu_seconds=2 * s, others=0.05) for s in of_rounds]
  records = real_step.summarize('full', 1000, LOSSES, rounds)
  first = records[0]
  assert (first['program'], first['fastest_peer']) == ('ours-float32', 'peer-autocast')
  assert first['ratios'] == [0.5, 2.0, 0.75]
  assert first['loss_difference'] == pytest.approx(1e-3)
  assert [record['trains'] for record in records] == [True, True, True, False, True]
  lines = real_step.table(records).splitlines()
  assert lines[2] == (
    '| full | ours-float32 | 250 | 8.00 | 0.05 | 0.75 [0.50, 2.00] of peer-autocast | 1.0e-03 |'
  )
  assert 'does not train' in lines[5]
  json.dumps(records)


@pytest.mark.slow
def test_both_train_alike(tmp_path):
  """Random weights of one layer: what is timed has the same losses, with adapters and in full."""
  for library in ('torch', 'transformers', 'peft', 'safetensors'):
    pytest.importorskip(library)
  weights, adapter = str(tmp_path / 'weights'), str(tmp_path / 'adapter')
  real_step_programs.write_random(weights, layers=1, vocabulary=256)
  real_step_programs.write_adapter(adapter, weights)
  sizes = dict(weights=weights, adapter=adapter, rows=2, length=16, vocabulary=256)
  for case in real_step.CASES:
    args = argparse.Namespace(case=case, **sizes)
    losses = {}
    for name in real_step.PROGRAMS:
      steps = real_step_programs.steps_of(args, name)
      losses[name] = list(itertools.islice(steps, real_step.COMPARED_STEPS))
    training = real_step.check_losses(losses)
    assert {'peer-float32', 'peer-autocast'} <= set(training)
    np.testing.assert_allclose(losses['ours-float32'], losses['peer-float32'], rtol=1e-5)
