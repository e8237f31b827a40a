"""AdamW, Muon and the learning rate.

The optimizers leave the learning rate out: their updates are those of rate 1, and the train step
multiplies them by the rate of the moment. Phases with different schedules therefore share one
compiled program.

Shapes of stacked matrices: L layers, N matrices of one shape, I rows and O columns with I <= O.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from msm_jax import sharding
from msm_jax.config import OptimizerConfig, PhaseConfig

# --------------------------------------------------------------------------------------------------
# Muon
# --------------------------------------------------------------------------------------------------

# Coefficients of the quintic with the steepest slope at zero (Jordan et al. 2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
# The root mean square that every update is scaled to, about that of AdamW's updates
# (Liu et al. 2025, eq. 4).
UPDATE_RMS = 0.2


class MuonState(NamedTuple):
  """The state of `scale_by_muon`.

  Attributes:
    count: int32 scalar, the number of updates done.
    mu: the momentum, a tree like the parameters.
  """

  # The name is on disk, in checkpoints. It hides tuple.count, which nobody needs.
  count: jax.Array  # type: ignore[assignment]
  mu: Any


def orthogonalize(x_NIO: jax.Array, steps: int = 5) -> jax.Array:
  """Makes each of N matrices roughly orthogonal by Newton-Schulz iteration (Jordan et al. 2024).

  Args:
    x_NIO: the matrices; I <= O keeps the Gram matrix small.
    steps: the number of iterations.

  Returns:
    (N, I, O) array. The singular values of each matrix are near 1, and its singular vectors are
    those of the input.
  """
  a, b, c = NEWTON_SCHULZ
  # The iteration converges for singular values up to 1, which the Frobenius norm bounds.
  x_NIO = x_NIO / (jnp.linalg.norm(x_NIO, axis=(1, 2), keepdims=True) + 1e-8)
  for _ in range(steps):
    gram_NII = x_NIO @ x_NIO.mT
    x_NIO = a * x_NIO + (b * gram_NII + c * gram_NII @ gram_NII) @ x_NIO
  return x_NIO


def scale_by_muon(beta: float = 0.95) -> optax.GradientTransformation:
  """Makes Muon for stacked matrices (L, in, out): Nesterov momentum, then orthogonalised.

  This computes what optax.contrib.muon computes, but divided over the devices. All matrices of one
  shape are stacked, and each device orthogonalises its part of the stack. A `vmap` over replicated
  or FSDP-sharded matrices would have every device do all of them.

  Args:
    beta: the decay of the momentum.

  Returns:
    An optax transformation. Its updates have the RMS `UPDATE_RMS` and the sign of the gradients.
  """

  def init(params: Any) -> MuonState:
    return MuonState(jnp.int32(0), jax.tree.map(jnp.zeros_like, params))

  def update(grads: Any, state: MuonState, params: Any = None) -> tuple[Any, MuonState]:
    count = state.count + 1
    mu = optax.tree.update_moment(grads, state.mu, beta, 1)
    # Nesterov: the momentum as it will be after one more update with the same gradient.
    ahead = jax.tree.map(
      lambda m, g: beta * m + (1 - beta) * g,
      optax.tree.bias_correction(mu, beta, count + 1),
      optax.tree.bias_correction(grads, beta, count),
    )
    leaves, structure = jax.tree.flatten(ahead)
    updates = jax.tree.unflatten(structure, _orthogonalize_all(leaves))
    return updates, MuonState(count, mu)

  return optax.GradientTransformation(init, update)


def _orthogonalize_all(leaves: list[jax.Array]) -> list[jax.Array]:
  """Orthogonalises stacked matrices, all those of one shape together, and scales their RMS."""
  wide: list[jax.Array] = []
  for x_Lio in leaves:
    is_wide = x_Lio.shape[1] <= x_Lio.shape[2]
    wide.append(x_Lio if is_wide else x_Lio.mT)
  updates: dict[int, jax.Array] = {}
  for shape in sorted({x_LIO.shape[1:] for x_LIO in wide}):
    members = [i for i, x_LIO in enumerate(wide) if x_LIO.shape[1:] == shape]
    ends = np.cumsum([len(wide[i]) for i in members])
    # Zeros fill the stack up, so that every device gets equally many matrices.
    padding = -ends[-1] % sharding.batch_parts()
    stack_NIO = jnp.concatenate([wide[i] for i in members])
    stack_NIO = jnp.pad(stack_NIO, ((0, padding), (0, 0), (0, 0)))
    stack_NIO = sharding.divided_over_devices(orthogonalize, stack_NIO)
    parts = jnp.split(stack_NIO[: ends[-1]], ends[:-1])
    for i, x_LIO in zip(members, parts, strict=True):
      was_turned = wide[i] is not leaves[i]
      x_Lio = x_LIO.mT if was_turned else x_LIO
      # An orthogonal matrix (I, O) has the RMS O ** -0.5; `shape` is (I, O).
      updates[i] = x_Lio * (UPDATE_RMS * shape[1] ** 0.5)
  return [updates[i] for i in range(len(leaves))]


# --------------------------------------------------------------------------------------------------
# The whole optimizer
# --------------------------------------------------------------------------------------------------


def _decays(params: Any) -> Any:
  """For each parameter, whether weight decay pulls it towards zero: all but those of norms."""
  return jax.tree_util.tree_map_with_path(lambda path, _: not path[-1].key.endswith('norm'), params)


def _is_block_matrix(params: Any) -> Any:
  """For each parameter, whether it is a stack of matrices (L, in, out), which Muon takes."""
  return jax.tree.map(lambda x: x.ndim == 3, params)


def make_optimizer(c: OptimizerConfig) -> optax.GradientTransformation:
  """Makes the optimizer that the settings ask for.

  Args:
    c: the settings.

  Returns:
    An optax transformation whose updates are those of learning rate 1, to be added to the
    parameters after `train_step` has multiplied them by the phase's rate.
  """
  adamw = optax.adamw(1.0, c.b1, c.b2, c.eps, weight_decay=c.weight_decay, mask=_decays)
  rule = adamw
  if c.name == 'muon':
    muon = optax.chain(
      scale_by_muon(),
      optax.add_decayed_weights(c.weight_decay),
      optax.scale(-1.0),
    )
    rule = optax.partition({True: muon, False: adamw}, _is_block_matrix)
  clip = optax.identity()
  if c.clip > 0:
    clip = optax.clip_by_global_norm(c.clip)
  return optax.chain(clip, rule)


# --------------------------------------------------------------------------------------------------
# The schedule
# --------------------------------------------------------------------------------------------------


def _decay(schedule: str, done: float) -> float:
  """How much of the way down is left, from 1 to 0, when this share of the decay is done."""
  if schedule == 'linear':
    return 1 - done
  return 0.5 * (1 + math.cos(math.pi * done))


def learning_rate(c: PhaseConfig, step: int) -> np.ndarray:
  """Computes the learning rates of one update: linear warmup, then decay.

  Args:
    c: the phase's settings. Decay reaches `final` x peak at the phase's very last update.
    step: the number of the update, 0-based.

  Returns:
    (2,) fp32: the rate of everything but the embeddings, and the rate of the embeddings.
  """
  peaks = np.array([c.lr, c.embed_lr or c.lr])
  warmup = max(1, round(c.warmup * c.updates))
  if step < warmup:
    return (peaks * (step + 1) / warmup).astype(np.float32)
  if c.schedule == 'constant':
    return peaks.astype(np.float32)
  done = (step + 1 - warmup) / max(1, c.updates - warmup)
  left = _decay(c.schedule, done)
  return (peaks * (c.final + (1 - c.final) * left)).astype(np.float32)
