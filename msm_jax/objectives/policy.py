"""The objective of reinforcement learning: GRPO (Shao et al. 2024, eq. 3), as sums.

A rollout samples several answers to each prompt, and a reward judges them. What an answer is worth
beside the others of its group is its *advantage*. This module turns advantages into a loss; where
the answers, rewards and advantages come from is told in `msm_jax/rl/rollouts.py`.

For each token of an answer, with the ratio r of its probability now to that when it was sampled:

  loss = -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) + kl (exp(d) - d - 1)

where d is the log-probability under the reference, less that under the model. The last bracket is
an estimate of the KL divergence that is never negative (Schulman 2020, 'k3').

Shapes: A micro-batches, B rows of a micro-batch, T tokens of a row.
"""

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.config.objectives import GrpoConfig
from msm_jax.model import Params
from msm_jax.objectives.token_logprobs import batch_logprobs


def grpo(
  model: ModelConfig,
  settings: GrpoConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  reference: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes the sums of GRPO for one micro-batch.

  Args:
    model: the settings of the model.
    settings: the settings of the objective.
    loss_chunk: for how many tokens of a device logits exist at a time; see `token_logprobs`.
    params: the trained parameters; gradients are taken by these.
    batch: (B, T) arrays `tokens`, `targets`, `segment_ids` and `positions` (int32), `weights`
      (fp32, the weight of each token of an answer; 0 elsewhere) and `advantages` (fp32). With
      `old_logprobs`, ratios are taken to these; without, the answers were sampled by these very
      parameters, and every ratio is 1. With `reference_logprobs`, the KL divergence is computed.
    frozen: the parameters that are not trained. With adapters, this is everything else.
    reference: not used: what the reference says of a rollout is computed once, before its updates.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    (sum of weight x loss, sums), all fp32 scalars. The sums are `weight`, `clipped` (weight x
    [the clipped term was taken, so that the token gives no gradient]) and, with
    `reference_logprobs`, `kl` (weight x estimate of the KL divergence, in nats).
  """
  del reference
  logprobs_BT = batch_logprobs(model, loss_chunk, params, batch, frozen, key, settings.temperature)
  weights_BT = batch['weights']
  advantages_BT = batch['advantages']
  is_answer_BT = weights_BT > 0

  old_BT = batch.get('old_logprobs')
  if old_BT is None:
    # The ratio is 1, and its gradient is that of the log-probability.
    old_BT = jax.lax.stop_gradient(logprobs_BT)
  # Tokens of prompts and padding have no old log-probability; their ratio must not overflow.
  ratio_BT = jnp.exp(jnp.where(is_answer_BT, logprobs_BT - old_BT, 0.0))
  is_low_BT = (ratio_BT < 1 - settings.clip_low) & (advantages_BT < 0)
  is_high_BT = (ratio_BT > 1 + settings.clip_high) & (advantages_BT > 0)
  clipped_ratio_BT = jnp.clip(ratio_BT, 1 - settings.clip_low, 1 + settings.clip_high)
  # The smaller one of both terms. `jnp.minimum` would halve the gradient where they are equal, as
  # they are with a ratio of 1 and no room around it.
  kept_BT = jnp.where(is_low_BT | is_high_BT, clipped_ratio_BT, ratio_BT)
  loss_BT = -kept_BT * advantages_BT

  sums = {
    'weight': jnp.sum(weights_BT),
    'clipped': jnp.sum(weights_BT * (is_low_BT | is_high_BT)),
  }
  if 'reference_logprobs' in batch:
    d_BT = jnp.where(is_answer_BT, batch['reference_logprobs'] - logprobs_BT, 0.0)
    kl_BT = jnp.exp(d_BT) - d_BT - 1
    penalty_BT = kl_BT
    if settings.kl_times_ratio:
      penalty_BT = kl_BT * ratio_BT
    loss_BT = loss_BT + settings.kl * penalty_BT
    sums['kl'] = jnp.sum(weights_BT * kl_BT)
  return jnp.sum(weights_BT * loss_BT), sums


def keeps_reference(settings: GrpoConfig) -> bool:
  """Whether the model is compared with what it was at the start of the phase."""
  return settings.kl > 0


def rollout_logprobs(
  model: ModelConfig,
  loss_chunk: int,
  temperature: float,
  params: Params,
  frozen: Params,
  batch: dict[str, jax.Array],
) -> jax.Array:
  """Computes the log-probabilities of a rollout's tokens by the forward pass that trains.

  The sampler's own would not do: it reads tokens one by one, which rounds differently.

  Args:
    model: the settings of the model.
    loss_chunk: for how many tokens of a device logits exist at a time; see `token_logprobs`.
    temperature: the temperature of sampling.
    params: the trained parameters, of the model or of the reference.
    frozen: the parameters that are not trained.
    batch: (A, B, T) arrays of A micro-batches; see `grpo`.

  Returns:
    (A, B, T) fp32 log-probabilities in nats.
  """

  def of_micro_batch(part: dict[str, jax.Array]) -> jax.Array:
    return batch_logprobs(model, loss_chunk, params, part, frozen, temperature=temperature)

  return jax.lax.map(of_micro_batch, batch)
