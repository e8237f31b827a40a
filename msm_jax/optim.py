"""AdamW and Muon with the learning rate left out: the step is given its rate, so phases with different schedules share one compiled program."""

import math

import jax
import optax
import optax.contrib

from msm_jax.config import OptimizerConfig, PhaseConfig


def make_optimizer(c: OptimizerConfig) -> optax.GradientTransformation:
  """Its updates are those of learning rate 1; `train_step` multiplies them by the phase's rate."""

  def decays(params: dict) -> dict:
    return jax.tree_util.tree_map_with_path(lambda path, _: not path[-1].key.endswith('norm'), params)

  def matrices(params: dict) -> dict:
    def one(path, x):
      return optax.contrib.MuonDimensionNumbers(1, 2) if x.ndim == 3 else None  # (L, in, out): one orthogonalisation per layer

    return jax.tree_util.tree_map_with_path(one, params)

  if c.name == 'muon':
    rule = optax.contrib.muon(
      1.0, weight_decay=c.weight_decay, adam_b1=c.b1, adam_b2=c.b2, eps=c.eps, adam_weight_decay=0.0, consistent_rms=0.2,
      muon_weight_dimension_numbers=matrices,
    )  # fmt: skip
  else:
    rule = optax.adamw(1.0, c.b1, c.b2, c.eps, weight_decay=c.weight_decay, mask=decays)
  return optax.chain(optax.clip_by_global_norm(c.clip) if c.clip > 0 else optax.identity(), rule)


def learning_rate(c: PhaseConfig, step: int) -> float:
  """Rate for the update number `step` (0-based): linear warmup, then decay that reaches `final` x peak at the last update."""
  warmup = max(1, round(c.warmup * c.updates))
  if step < warmup:
    return c.lr * (step + 1) / warmup
  done = (step + 1 - warmup) / max(1, c.updates - warmup)
  shape = {'constant': 1.0, 'linear': 1 - done, 'cosine': 0.5 * (1 + math.cos(math.pi * done))}[c.schedule]
  return c.lr * (c.final + (1 - c.final) * shape) if c.schedule != 'constant' else c.lr
