"""The objective of a reward model: the probability that people prefer one answer to another.

The model gets a head, a vector (D,) that turns the final hidden state of an answer's last token
into one number, its reward. By Bradley and Terry (1952), the chosen answer is preferred with the
probability sigmoid(reward of chosen - reward of rejected), and the loss is minus its logarithm
(Ouyang et al. 2022, eq. 1).

Shapes: B rows, T tokens of a row, D model, P pairs of a row.
"""

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
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
  # One number decides, so it is computed in fp32 whatever the model works in.
  return jnp.einsum('btd,d->bt', x_BTD.astype(jnp.float32), all_params[HEAD])
