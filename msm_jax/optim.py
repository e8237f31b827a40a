"""AdamW with decoupled learning rate: the step is given its rate, so phases with different schedules share one compiled program."""

import math

import jax
import optax

from msm_jax.config import OptimizerConfig, PhaseConfig


def make_optimizer(c: OptimizerConfig) -> optax.GradientTransformation:
  """Clip, Adam, decay; its updates are multiplied by -learning rate in `train_step`."""

  def decays(params: dict) -> dict:
    return jax.tree_util.tree_map_with_path(lambda path, _: not path[-1].key.endswith('norm'), params)

  return optax.chain(
    optax.clip_by_global_norm(c.clip) if c.clip > 0 else optax.identity(),
    optax.scale_by_adam(c.b1, c.b2, c.eps),
    optax.add_decayed_weights(c.weight_decay, decays),
  )


def learning_rate(c: PhaseConfig, step: int) -> float:
  """Rate for the update number `step` (0-based): linear warmup, then decay that reaches `final` x peak at the last update."""
  warmup = max(1, round(c.warmup * c.updates))
  if step < warmup:
    return c.lr * (step + 1) / warmup
  done = (step + 1 - warmup) / max(1, c.updates - warmup)
  shape = {'constant': 1.0, 'linear': 1 - done, 'cosine': 0.5 * (1 + math.cos(math.pi * done))}[c.schedule]
  return c.lr * (c.final + (1 - c.final) * shape) if c.schedule != 'constant' else c.lr
