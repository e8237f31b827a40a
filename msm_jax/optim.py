"""AdamW and Muon with the learning rate left out: the step is given its rate, so phases with different schedules share one compiled program."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from msm_jax import sharding
from msm_jax.config import OptimizerConfig, PhaseConfig


class MuonState(NamedTuple):
  count: jax.Array
  mu: Any


NEWTON_SCHULZ = (
  3.4445,
  -4.7750,
  2.0315,
)  # quintic with the steepest slope at zero (Jordan et al. 2024)


def orthogonalize(x_NIO: jax.Array, steps: int = 5) -> jax.Array:
  """Each of N matrices, made roughly orthogonal by Newton-Schulz iteration (Jordan et al. 2024), (N, I, O) with I <= O."""
  a, b, c = NEWTON_SCHULZ
  x_NIO = x_NIO / (jnp.linalg.norm(x_NIO, axis=(1, 2), keepdims=True) + 1e-8)
  for _ in range(steps):
    gram_NII = x_NIO @ x_NIO.mT
    x_NIO = a * x_NIO + (b * gram_NII + c * gram_NII @ gram_NII) @ x_NIO
  return x_NIO


def scale_by_muon(beta: float = 0.95) -> optax.GradientTransformation:
  """Nesterov momentum, orthogonalised, of stacked matrices (L, in, out); each update has the RMS 0.2, as AdamW's (Liu et al. 2025, eq. 4).

  What optax.contrib.muon computes, divided over the devices: all matrices of a shape are stacked and each device orthogonalises its
  part of the stack, where a replicated or FSDP-sharded `vmap` would have every device do all of them.
  """

  def init(params: Any) -> MuonState:
    return MuonState(jnp.int32(0), jax.tree.map(jnp.zeros_like, params))

  def update(grads: Any, state: MuonState, params: Any = None) -> tuple[Any, MuonState]:
    count = state.count + 1
    mu = optax.tree.update_moment(grads, state.mu, beta, 1)
    ahead = jax.tree.map(
      lambda m, g: beta * m + (1 - beta) * g,
      optax.tree.bias_correction(mu, beta, count + 1),
      optax.tree.bias_correction(grads, beta, count),
    )
    leaves, structure = jax.tree.flatten(ahead)
    wide = [x if x.shape[1] <= x.shape[2] else x.mT for x in leaves]
    done: dict[int, jax.Array] = {}
    for shape in sorted({x.shape[1:] for x in wide}):
      members = [i for i, x in enumerate(wide) if x.shape[1:] == shape]
      ends = np.cumsum([len(wide[i]) for i in members])
      stack = jnp.pad(
        jnp.concatenate([wide[i] for i in members]),
        ((0, -ends[-1] % sharding.batch_parts()), (0, 0), (0, 0)),
      )
      stack = orthogonalize(sharding.constrain(stack, 'batch', None, None))
      for i, x in zip(members, jnp.split(stack[: ends[-1]], ends[:-1]), strict=True):
        done[i] = (x if wide[i] is leaves[i] else x.mT) * (0.2 * shape[1] ** 0.5)
    return jax.tree.unflatten(structure, [done[i] for i in range(len(leaves))]), MuonState(
      count, mu
    )

  return optax.GradientTransformation(init, update)


def make_optimizer(c: OptimizerConfig) -> optax.GradientTransformation:
  """Its updates are those of learning rate 1; `train_step` multiplies them by the phase's rate."""

  def decays(params: dict) -> dict:
    return jax.tree_util.tree_map_with_path(
      lambda path, _: not path[-1].key.endswith('norm'), params
    )

  adamw = optax.adamw(1.0, c.b1, c.b2, c.eps, weight_decay=c.weight_decay, mask=decays)
  if c.name == 'muon':
    matrices = optax.chain(
      scale_by_muon(), optax.add_decayed_weights(c.weight_decay), optax.scale(-1.0)
    )
    rule = optax.partition(
      {True: matrices, False: adamw}, lambda params: jax.tree.map(lambda x: x.ndim == 3, params)
    )
  else:
    rule = adamw
  return optax.chain(optax.clip_by_global_norm(c.clip) if c.clip > 0 else optax.identity(), rule)


def learning_rate(c: PhaseConfig, step: int) -> np.ndarray:
  """Rates (2,) of the update number `step` (0-based), of the embeddings last: linear warmup, then decay to `final` x peak at the last update."""
  peaks = np.array([c.lr, c.embed_lr or c.lr])
  warmup = max(1, round(c.warmup * c.updates))
  if step < warmup:
    return np.float32(peaks * (step + 1) / warmup)
  done = (step + 1 - warmup) / max(1, c.updates - warmup)
  shape = {'constant': 1.0, 'linear': 1 - done, 'cosine': 0.5 * (1 + math.cos(math.pi * done))}[
    c.schedule
  ]
  return np.float32(peaks * (c.final + (1 - c.final) * shape if c.schedule != 'constant' else 1))
