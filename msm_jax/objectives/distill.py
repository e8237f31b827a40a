"""The objective of context distillation (Askell et al. 2021, section 2): answer without a handbook
as with it.

A chat stands twice in a batch: in a row of the student, without the handbook, and in a row of the
teacher, with the handbook in the system message. Both have the same answers. The teacher is the
model as it was at the start of the phase. For each token of an answer, the loss is the forward KL
divergence of the full distributions, KL(teacher || student).

Shapes: B rows, T tokens of a row, S tokens of a row of the teacher, t tokens of a row in a chunk,
N = B T tokens, D model, V vocabulary.
"""

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.config.objectives import DistillConfig
from msm_jax.layers import soft_cap
from msm_jax.model import Params, forward, unembedding
from msm_jax.objectives.cross_entropy import CPU_CHUNK
from msm_jax.sharding import batch_parts, platform


def distill(
  model: ModelConfig,
  settings: DistillConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  reference: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes the sums of context distillation for one micro-batch.

  Args:
    model: the settings of the model.
    settings: the settings of the objective.
    loss_chunk: for about how many tokens of a device logits exist at a time; 0 means for all at
      once. On a CPU, 0 means a number that suits it.
    params: the trained parameters, the student's; gradients are taken by these.
    batch: (B, T) arrays as for `next_token`, of what the student reads; (B, S) arrays
      `teacher_tokens`, `teacher_segment_ids` and `teacher_positions` (int32), of what the teacher
      reads; and `partner` (B, T) int32: for each token with weight, the place in the teacher's row
      of the same token.
    frozen: the parameters that are not trained. The teacher has them too.
    reference: what `params` was at the start of the phase, the teacher's.
    key: a random key for the dropout of adapters; None means no dropout. The teacher has none.

  Returns:
    (sum of the divergences, in nats, times temperature^2, sums), all fp32 scalars. The sums are
    `weight` (the number of tokens), `kl` (the divergences themselves) and `accuracy` (tokens of
    which student and teacher find the same one most probable).
  """
  assert reference is not None, 'distill compares with a reference'
  frozen = frozen or {}
  student_BTD = forward(
    model, frozen | params, batch['tokens'], batch['positions'], batch['segment_ids'], key
  )
  teacher_BSD = forward(
    model,
    frozen | reference,
    batch['teacher_tokens'],
    batch['teacher_positions'],
    batch['teacher_segment_ids'],
  )
  # To each student's token the teacher's.
  teacher_BTD = jnp.take_along_axis(teacher_BSD, batch['partner'][..., None], axis=1)
  teacher_BTD = jax.lax.stop_gradient(teacher_BTD)
  kl, agreeing = kl_sums(
    model,
    (student_BTD, unembedding(frozen | params)),
    (teacher_BTD, unembedding(frozen | reference)),
    batch['weights'],
    loss_chunk,
    settings.temperature,
  )
  sums = {'weight': jnp.sum(batch['weights']), 'kl': kl, 'accuracy': agreeing}
  # A high temperature makes gradients small by its square (Hinton et al. 2015, section 2).
  return settings.temperature**2 * kl, sums


def kl_sums(
  model: ModelConfig,
  student: tuple[jax.Array, jax.Array],
  teacher: tuple[jax.Array, jax.Array],
  weights_BT: jax.Array,
  chunk: int,
  temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
  """Computes the divergence of a student from a teacher over tokens, chunk by chunk.

  Logits exist for one chunk of tokens at a time. The backward pass computes them again, so nothing
  of size N x V is kept. A chunk takes some tokens of every row, those with weight first, and chunks
  without any weight are not computed: in rows of pairs, few tokens count.

  Args:
    model: the settings of the model.
    student: (B, T, D) final hidden states and the (V, D) unembedding; gradients are taken by these.
    teacher: the same of the teacher.
    weights_BT: fp32 weight of each token.
    chunk: how many tokens of a device make a chunk; see `distill`.
    temperature: logits are divided by it.

  Returns:
    (sum of weight x KL(teacher || student) in nats, sum of weight x [both have the same most
    probable token]), fp32 scalars.
  """
  t = _chunk_columns(weights_BT, chunk)
  order_BT = jnp.argsort(weights_BT == 0, axis=1, stable=True)

  def into_chunks(x_BT: jax.Array) -> jax.Array:
    """(B, T, ...) -> (chunks, B, t, ...), with the tokens of each row in the order of chunks."""
    B, T, *others = x_BT.shape
    # The order is that of tokens, whatever other axes there are.
    broadcast_order = order_BT.reshape(B, T, *[1] * len(others))
    ordered_BT = jnp.take_along_axis(x_BT, broadcast_order, axis=1)
    n_chunks = -(-T // t)
    padding = [(0, 0), (0, n_chunks * t - T), *[(0, 0)] * len(others)]
    padded_BT = jnp.pad(ordered_BT, padding)
    return jnp.swapaxes(padded_BT.reshape(B, n_chunks, t, *others), 0, 1)

  def scaled_logits(x_BtD: jax.Array, table_VD: jax.Array) -> jax.Array:
    table_VD = table_VD.astype(x_BtD.dtype)
    logits_BtV = jnp.einsum('btd,vd->btv', x_BtD, table_VD, preferred_element_type=jnp.float32)
    return soft_cap(logits_BtV, model.logit_softcap) / temperature

  # Without the checkpoint, the logits of all chunks would be kept for the backward pass.
  @jax.checkpoint
  def of_chunk(student_VD: jax.Array, teacher_VD: jax.Array, part):
    student_BtD, teacher_BtD, weights_Bt = part
    of_student_BtV = scaled_logits(student_BtD, student_VD)
    of_teacher_BtV = scaled_logits(teacher_BtD, teacher_VD)
    log_p_BtV = jax.nn.log_softmax(of_teacher_BtV)
    log_q_BtV = jax.nn.log_softmax(of_student_BtV)
    kl_Bt = jnp.sum(jnp.exp(log_p_BtV) * (log_p_BtV - log_q_BtV), axis=-1)
    agrees_Bt = of_student_BtV.argmax(-1) == of_teacher_BtV.argmax(-1)
    return jnp.sum(weights_Bt * kl_Bt), jnp.sum(weights_Bt * agrees_Bt)

  zeros = (jnp.float32(0), jnp.float32(0))

  def add_chunk(totals, part):
    own = jax.lax.cond(
      jnp.any(part[2] != 0), of_chunk, lambda *_: zeros, student[1], teacher[1], part
    )
    return jax.tree.map(jnp.add, totals, own), None

  parts = (into_chunks(student[0]), into_chunks(teacher[0]), into_chunks(weights_BT))
  totals, _ = jax.lax.scan(add_chunk, zeros, parts)
  return totals


def _chunk_columns(weights_BT: jax.Array, chunk: int) -> int:
  """How many tokens of each row a chunk takes, so that a device has about `chunk` tokens of it."""
  B, T = weights_BT.shape
  if not chunk and platform() == 'cpu':
    chunk = CPU_CHUNK
  if not chunk:
    return T
  mesh = jax.sharding.get_abstract_mesh()
  parts = 1
  if not (mesh.empty or mesh.are_all_axes_manual):
    parts = batch_parts()
  return min(T, max(1, chunk * parts // B))
