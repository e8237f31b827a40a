"""The objective of a reward model: the probability that people prefer one answer to another.

The model gets a head, a vector (D,) that turns the final hidden state of an answer's last token
into one number, its reward. By Bradley and Terry (1952), the chosen answer is preferred with the
probability sigmoid(reward of chosen - reward of rejected), and the loss is minus its logarithm
(Ouyang et al. 2022, eq. 1).

Shapes: B rows, T tokens of a row, D model, P pairs of a row.
"""

import functools

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.config.objectives import RewardConfig
from msm_jax.model import Params, forward

# The name of the head among the parameters. It belongs to phases of this objective alone.
HEAD = 'reward_head'


def new_head(model: ModelConfig) -> Params:
  """The parameters that the objective adds: a head of zeros, to which all answers are equal."""
  return {HEAD: jnp.zeros(model.d_model, jnp.float32)}


def token_rewards(
  model: ModelConfig,
  all_params: Params,
  tokens_BT: jax.Array,
  positions_BT: jax.Array,
  segment_ids_BT: jax.Array,
  key: jax.Array | None = None,
) -> jax.Array:
  """Computes what the head says at each token; at the last token of an answer it is its reward.

  Args:
    model: the settings of the model.
    all_params: all parameters, frozen ones and the head too.
    tokens_BT: int32 token ids.
    positions_BT: int32 positions of the tokens within their segments.
    segment_ids_BT: int32 segments, 0 for padding.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    (B, T) fp32.
  """
  x_BTD = forward(model, all_params, tokens_BT, positions_BT, segment_ids_BT, key)
  # One number decides, so it is computed in fp32 whatever the model works in. Without `precision`,
  # TPUs multiply fp32 numbers as bf16.
  x_BTD = x_BTD.astype(jnp.float32)
  return jnp.einsum('btd,d->bt', x_BTD, all_params[HEAD], precision=jax.lax.Precision.HIGHEST)


def bradley_terry(
  model: ModelConfig,
  settings: RewardConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  reference: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes the sums of training a reward model for one micro-batch.

  Args:
    model: the settings of the model.
    settings: the settings of the objective.
    loss_chunk: not used: there are no logits.
    params: the trained parameters, with the head; gradients are taken by these.
    batch: (B, T) arrays `tokens`, `segment_ids` and `positions` (int32). Of a pair, the chosen side
      has an odd segment and the rejected side the even one after it.
    frozen: the parameters that are not trained. With adapters, this is everything else.
    reference: not used.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    (sum of losses in nats, sums), all fp32 scalars. The sums are `weight` (the number of pairs),
    `accuracy` (pairs whose chosen side has the higher reward) and `margin` (the sum of how much
    higher it is).
  """
  del loss_chunk, reference
  segments_BT = batch['segment_ids']
  rewards_BT = token_rewards(
    model, (frozen or {}) | params, batch['tokens'], batch['positions'], segments_BT, key
  )
  # A segment ends where the next cell is of another one; what comes after a row is of none.
  next_BT = jnp.pad(segments_BT[:, 1:], ((0, 0), (0, 1)))
  is_last_BT = (segments_BT > 0) & (segments_BT != next_BT)
  is_chosen_BT = segments_BT % 2 == 1
  # Each side has a cell at least, so a row of T cells has T / 2 pairs at most.
  pair_count = segments_BT.shape[1] // 2 + 1
  pairs_BT = (segments_BT - 1) // 2

  def of_pairs(values_BT: jax.Array) -> jax.Array:
    """Adds up the values at the last cells of each pair, (B, P)."""
    ends_BT = jnp.where(is_last_BT, values_BT, 0.0)
    # Padding is of pair -1, which no sum takes.
    sum_up = functools.partial(jax.ops.segment_sum, num_segments=pair_count)
    return jax.vmap(sum_up)(ends_BT, pairs_BT)

  exists_BP = of_pairs(jnp.where(is_chosen_BT, 1.0, 0.0))
  chosen_BP = of_pairs(jnp.where(is_chosen_BT, rewards_BT, 0.0))
  rejected_BP = of_pairs(jnp.where(is_chosen_BT, 0.0, rewards_BT))
  margin_BP = chosen_BP - rejected_BP
  loss_BP = -jax.nn.log_sigmoid(margin_BP)
  loss_BP += settings.centre * (chosen_BP + rejected_BP) ** 2
  sums = {
    'weight': jnp.sum(exists_BP),
    'accuracy': jnp.sum(exists_BP * (margin_BP > 0)),
    'margin': jnp.sum(exists_BP * margin_BP),
  }
  return jnp.sum(exists_BP * loss_BP), sums
