"""The objective of preference optimisation: DPO (Rafailov et al. 2023) and IPO (Azar et al. 2023).

A pair is two neighbouring segments of a row: the chosen conversation with an odd number, and the
rejected one with the even number after it. With the log-ratio of an answer, its log-probability
under the model less that under the reference, and h the log-ratio of the chosen answer less that of
the rejected one, the loss of a pair is

  sigmoid:  -(1 - s) log sigmoid(beta h) - s log sigmoid(-beta h)      (s: label smoothing)
  ipo:      (h - 1 / (2 beta))^2

At the start of a phase the model is its own reference, so h is 0 and the first loss of DPO is ln 2.

Shapes: B rows, T tokens of a row, P pairs of a row at most, S = 2 P + 1 segments (0 is padding).
"""

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.config.objectives import DpoConfig
from msm_jax.model import Params
from msm_jax.objectives.token_logprobs import batch_logprobs


def dpo(
  model: ModelConfig,
  settings: DpoConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  reference: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes the sums of preference optimisation for one micro-batch.

  Args:
    model: the settings of the model.
    settings: the settings of the objective.
    loss_chunk: for how many tokens of a device logits exist at a time; see `token_logprobs`.
    params: the trained parameters; gradients are taken by these.
    batch: (B, T) arrays as for `next_token`; segments are pairs, see above.
    frozen: the parameters that are not trained. The reference has them too.
    reference: what `params` was at the start of the phase.
    key: a random key for the dropout of adapters; None means no dropout. The reference has none.

  Returns:
    (sum of the losses of pairs, sums), all fp32 scalars. The sums are `weight` (the number of
    pairs), `margin` (of h, in nats, without beta), `accuracy` (pairs whose h is above 0) and `kl`:
    for each token of a chosen answer exp(d) - 1 - d, where d is its log-probability under the
    reference less that under the model, added up over the answer. This is Schulman's estimate 'k3'
    (2020) of the divergence from the reference, in nats an answer. It is never negative, and would
    be unbiased if the model itself had sampled the chosen answers.
  """
  assert reference is not None, 'dpo compares with a reference'
  logprobs_BT = batch_logprobs(model, loss_chunk, params, batch, frozen, key)
  of_reference_BT = batch_logprobs(model, loss_chunk, reference, batch, frozen)
  of_reference_BT = jax.lax.stop_gradient(of_reference_BT)
  log_ratios_BT = logprobs_BT - of_reference_BT

  segment_ids_BT = batch['segment_ids']
  is_learned_BT = (batch['weights'] != 0).astype(jnp.float32)
  log_ratios_BS = sums_of_segments(log_ratios_BT, segment_ids_BT)
  learned_BS = sums_of_segments(is_learned_BT, segment_ids_BT)
  if settings.length_normalised:
    log_ratios_BS = log_ratios_BS / jnp.maximum(learned_BS, 1)
  h_BP = log_ratios_BS[:, 1::2] - log_ratios_BS[:, 2::2]
  # A row has fewer pairs than there is room for, and a pair without an answer compares nothing.
  is_pair_BP = (learned_BS[:, 1::2] > 0) & (learned_BS[:, 2::2] > 0)

  if settings.loss == 'ipo':
    loss_BP = (h_BP - 1 / (2 * settings.beta)) ** 2
  else:
    logits_BP = settings.beta * h_BP
    smoothing = settings.label_smoothing
    loss_BP = -(1 - smoothing) * jax.nn.log_sigmoid(logits_BP)
    if smoothing:
      loss_BP -= smoothing * jax.nn.log_sigmoid(-logits_BP)

  def over_pairs(x_BP: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(is_pair_BP, x_BP, 0.0))

  d_BT = -jax.lax.stop_gradient(log_ratios_BT)
  kl_BS = sums_of_segments(jnp.exp(d_BT) - 1 - d_BT, segment_ids_BT)
  sums = {
    'weight': jnp.sum(is_pair_BP.astype(jnp.float32)),
    'margin': over_pairs(h_BP),
    'accuracy': over_pairs((h_BP > 0).astype(jnp.float32)),
    'kl': over_pairs(kl_BS[:, 1::2]),
  }
  return over_pairs(loss_BP), sums


def sums_of_segments(x_BT: jax.Array, segment_ids_BT: jax.Array) -> jax.Array:
  """Adds numbers up segment by segment.

  Args:
    x_BT: one number for each token.
    segment_ids_BT: the segment of each token; 0 is padding.

  Returns:
    (B, S) sums, S odd: those of padding and of as many pairs of segments as a row may have.
  """
  T = x_BT.shape[1]
  # A segment has at least one token.
  S = 2 * max(1, T // 2) + 1

  def of_row(x_T: jax.Array, segment_ids_T: jax.Array) -> jax.Array:
    return jax.ops.segment_sum(x_T, segment_ids_T, num_segments=S)

  return jax.vmap(of_row)(x_BT, segment_ids_BT)
