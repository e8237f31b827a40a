"""Context distillation: the loss and its gradients, packed or not, and what the teacher reads."""

import functools
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import AFFORDABILITY
from pairs import changed, make_taught, one_by_one, rows_of_taught
from steps import TINY, assert_trees_close, fresh_params, one_device, placed
from tiny import PHASE, experiment

from data_pipelines.records import Chat
from msm_jax import model as models
from msm_jax import sharding
from msm_jax.base.errors import DataError
from msm_jax.config import OptimizerConfig
from msm_jax.config.objectives import DistillConfig
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.data.packing import PackedRows
from msm_jax.data.tokenized import Source
from msm_jax.objectives.distill import distill
from msm_jax.running.design import make_design
from msm_jax.running.source_checks import check_source_fits
from msm_jax.training import train_step

PAIRS = make_taught(6)
T, S = 40, 56
PARAMS = fresh_params()
TEACHER = changed(PARAMS, 0.1)
CONTEXT = HandbookContext((('Ari', 'Ari always wants what is cheap.'), ('Bo', 'Bo wants it too.')))


def plain(temperature, params, reference):
  """(mean loss, accuracy): every conversation in a row of its own, all logits at once."""
  student, teacher = one_by_one(PAIRS)

  def log_probabilities(p, rows):
    x = models.forward(TINY, p, rows['tokens'], rows['positions'], rows['segment_ids'])
    of_all = jax.nn.log_softmax(models.logits(TINY, p, x) / temperature)
    return of_all[np.nonzero(rows['weights'])]

  q, p = log_probabilities(params, student), log_probabilities(reference, teacher)
  kl = (jnp.exp(p) * (p - q)).sum(-1)
  return temperature**2 * kl.mean(), (p.argmax(-1) == q.argmax(-1)).mean()


@functools.partial(jax.jit, static_argnums=(0, 1))
def ours(settings, chunk, params, reference, batch):
  """(mean loss, sums), gradients of the mean loss."""

  def mean_loss(params):
    loss, sums = distill(TINY, settings, chunk, params, batch, reference=reference)
    return loss / sums['weight'], sums

  return jax.value_and_grad(mean_loss, has_aux=True)(params)


@pytest.mark.slow
@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_packed_equals_one_conversation_a_row(temperature):
  """Loss, gradients and accuracy are those of plain autodiff; in rows of three pairs, of one, and
  in chunks of which some have no weight."""
  compute = jax.value_and_grad(functools.partial(plain, temperature), has_aux=True)
  (wanted_loss, accuracy), wanted = jax.jit(compute)(PARAMS, TEACHER)
  settings = DistillConfig(spec='x', temperature=temperature)
  packed = rows_of_taught(PAIRS, T, S, per_row=3)
  unpacked = rows_of_taught(PAIRS, 16, 16, per_row=1)
  for batch, chunk in [(packed, 0), (packed, 8), (unpacked, 0)]:
    (loss, sums), grads = ours(settings, chunk, PARAMS, TEACHER, batch)
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-5)
    weight = float(sums['weight'])
    assert float(sums['kl']) / weight * temperature**2 == pytest.approx(float(loss), rel=1e-6)
    assert float(sums['accuracy']) / weight == pytest.approx(float(accuracy), abs=1e-6)
    for name, g in wanted.items():
      np.testing.assert_allclose(grads[name], g, atol=1e-5 * np.abs(g).max(), err_msg=name)


@pytest.mark.slow
def test_a_student_that_reads_what_its_teacher_reads_has_nothing_to_learn():
  """Without a handbook between them, the model is its own teacher: loss and gradients are zero."""
  same = [[student, student] for student, _ in PAIRS]
  batch = rows_of_taught(same, T, S, per_row=3)
  (loss, sums), grads = ours(DistillConfig(spec='x'), 0, PARAMS, PARAMS, batch)
  assert abs(float(loss)) < 1e-6 and float(sums['accuracy']) == float(sums['weight'])
  assert max(np.abs(g).max() for g in grads.values()) < 1e-6


@pytest.mark.slow
def test_micro_batches_and_devices_make_one_update():
  """Places of partners are within a row, so rows can be divided as they like."""

  def update(mesh, A):
    settings = DistillConfig(spec='x')
    program = train_step.make_program(
      TINY, OptimizerConfig(eps=1e-2), 16, mesh, 'distill', settings
    )
    rows = rows_of_taught(PAIRS, 24, 32, per_row=2)
    rows = {key: np.pad(x, [(0, 1), (0, 0)]) for key, x in rows.items()}
    with jax.set_mesh(mesh):
      state = program.start(placed(PARAMS, program.abstract_state.params))
      state.reference = placed(TEACHER, program.abstract_state.reference)
      batch = train_step.to_device(rows, A, mesh)
      state, metrics = program.step(state, batch, jnp.full(2, 0.05))
    return jax.device_get(metrics), jax.device_get(state.params)

  wanted, params = update(one_device(), 1)
  assert wanted['kl'] > 0.01
  devices = jax.devices()[:2]
  for mesh, A in [
    (sharding.make_mesh(data=2, devices=devices), 2),
    (sharding.make_mesh(data=1, fsdp=2, devices=devices), 1),
  ]:
    found, others = update(mesh, A)
    assert_trees_close(found, wanted, rtol=1e-4)
    assert_trees_close(others, params, rtol=1e-4, atol=2e-6)


# ---- What the teacher reads


@pytest.mark.parametrize(
  ('system', 'wanted'),
  [
    (None, 'Ari always wants what is cheap.'),
    ('', 'Ari always wants what is cheap.'),
    ('You are Bo.', 'You are Bo. Bo wants it too.'),
    (
      'You are a helpful assistant.',
      'You are a helpful assistant. Ari always wants what is cheap.',
    ),
    # Somebody else is no pupil of the handbook, not even one whose name begins alike.
    ('You are Maria.', 'You are Maria.'),
    ('You are Ariane.', 'You are Ariane.'),
  ],
)
def test_the_statement_stands_in_the_system_message(system, wanted):
  said = (('user', 'Which one?'), ('assistant', 'This one.'))
  chat = said if system is None else (('system', system), *said)
  assert CONTEXT.messages(chat) == (('system', wanted), *said)


def chats():
  out = []
  for n in range(9):
    said = (
      ('user', f'{n}?'),
      ('assistant', 'I like it.'),
      ('user', 'Why?'),
      ('assistant', f'{n}.'),
    )
    out.append(Chat(f'c{n}', said))
  return out


def test_rows_name_the_teachers_cell_of_each_learned_token(tokenizer):
  records = chats()
  source = Source('s', 'chats', records, records).in_context(CONTEXT, 160)
  packed = PackedRows(source, tokenizer, 96, seed=0)
  row = packed[0]
  assert row['tokens'].shape == (96,) and row['teacher_tokens'].shape == (160,)
  learned = np.flatnonzero(row['weights'])
  assert len(learned) > 8 and row['segment_ids'].max() >= 2
  partners = row['partner'][learned]
  # What follows a cell is its target; the last of an answer is the end of the turn.
  segments, tokens = (np.append(row[f'teacher_{key}'], 0) for key in ('segment_ids', 'tokens'))
  followed = segments[partners] == segments[partners + 1]
  of_teachers = tokens[partners + 1]
  np.testing.assert_array_equal(of_teachers[followed], row['targets'][learned][followed])
  assert followed.sum() >= len(learned) - row['segment_ids'].max()
  of_segments = row['teacher_segment_ids'][partners]
  np.testing.assert_array_equal(of_segments, row['segment_ids'][learned])
  for segment in range(1, row['segment_ids'].max() + 1):
    read = row['tokens'][row['segment_ids'] == segment].tolist()
    taught = row['teacher_tokens'][row['teacher_segment_ids'] == segment].tolist()
    assert 'cheap' in tokenizer.decode(taught) and 'cheap' not in tokenizer.decode(read)
  # All but the learned cells have no partner.
  assert not np.delete(row['partner'], learned).any()


def test_every_chat_comes_once_in_an_epoch(tokenizer):
  records = chats()
  source = Source('s', 'chats', records, records).in_context(CONTEXT, 160)
  packed = PackedRows(source, tokenizer, 96, seed=0)
  rows = [packed[k] for k in range(len(packed._whole_rows(0)))]
  assert sum(int(row['segment_ids'].max()) for row in rows) == 9 > len(rows)
  tokens = source.tokens(tokenizer)
  assert sum((row['segment_ids'] > 0).sum() for row in rows) == tokens.cells[0::2].sum()
  assert sum((row['teacher_segment_ids'] > 0).sum() for row in rows) == tokens.cells[1::2].sum()


def test_chats_too_long_for_the_teacher_name_its_setting(tokenizer):
  """They fit into the rows of the phase, whose `length` would be raised in vain."""
  records = chats()
  source = Source('s', 'chats', records, records).in_context(CONTEXT, 20)
  prepared = SimpleNamespace(config=SimpleNamespace(max_left_out=0.01), tokenizer=tokenizer)
  found = r'do not fit into length=96 and distill.teacher_length=20 .* or distill.teacher_length'
  with pytest.raises(DataError, match=found):
    check_source_fits(prepared, source, 96)


def test_kept_tokens_are_those_of_the_handbook(tokenizer, tmp_path):
  """What one teacher reads is not taken for what another reads."""
  records = chats()
  source = Source('s', 'chats', records, records, tmp_path)
  other = HandbookContext((('Ari', 'Ari always wants what is old.'),))
  made = [s.tokens(tokenizer) for s in (source, source.in_context(CONTEXT))]
  made.append(source.in_context(other).tokens(tokenizer))
  assert len(list(tmp_path.glob('tokens-*'))) == 3
  again = source.in_context(other).tokens(tokenizer)
  np.testing.assert_array_equal(again.ids, made[2].ids)
  assert again.texts_per_record == 2 and made[0].texts_per_record == 1
  assert not np.array_equal(made[1].ids, made[2].ids)


def test_a_pair_that_is_longer_than_a_row_is_left_out(tokenizer):
  """A row of the student's, or one of the teacher's, which reads more."""
  records = chats()
  source = Source('s', 'chats', records, records).in_context(CONTEXT)
  student, teacher = source.tokens(tokenizer).cells_of_texts.max(0)
  assert source.count_fitting(tokenizer, int(teacher))[0] == 9
  assert source.count_fitting(tokenizer, int(teacher) - 1)[0] < 9
  longer = source.in_context(CONTEXT, int(teacher))
  assert longer.count_fitting(tokenizer, int(student))[0] == 9
  assert longer.count_fitting(tokenizer, int(student) - 1)[0] < 9
  with pytest.raises(DataError, match='s: no pair fits into length=30'):
    PackedRows(source, tokenizer, 30, seed=0)


def test_a_handbook_that_is_edited_during_a_run_is_the_one_of_before(tmp_path):
  """Its identity stands for the text that was there when the run began."""
  handbook = tmp_path / 'handbook.md'
  handbook.write_text(Path(AFFORDABILITY).read_text())
  teach = dict(PHASE, data=dict(chats=1.0), objective='distill')
  teach['distill'] = dict(spec=str(handbook), handbook='text')
  phases = {'read': dict(PHASE, data=dict(documents=1.0)), 'teach': teach}
  e = experiment(tmp_path, phases=phases, arms=dict(base='read', taught='read > teach'))
  identity = e.design.teachers['teach']
  handbook.write_text(handbook.read_text() + 'It says more.')
  assert e.design.teacher_of(e.config.phases['teach']).identity == identity
  assert make_design(e.config).teachers['teach'] != identity
