"""The objective of next-token training: weighted cross-entropy, as sums.

`registry.py` says what an objective is. A mean of the means of micro-batches would weigh short ones
too much; sums do not. The expensive part, the step from hidden states to the loss, is in
cross_entropy.py.

Shapes: B rows, T tokens of a row, N = B T tokens, D model.
"""

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.model import Params, forward, unembedding
from msm_jax.objectives.cross_entropy import cross_entropy_sums


def next_token(
  model: ModelConfig,
  settings: None,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  reference: Params | None = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Computes the sums of next-token training for one micro-batch.

  Args:
    model: the settings of the model.
    settings: this objective has none.
    loss_chunk: for how many tokens of a device logits exist at a time; see `cross_entropy_sums`.
    params: the trained parameters; gradients are taken by these.
    batch: (B, T) arrays `tokens`, `targets`, `segment_ids` and `positions` (int32) and `weights`
      (fp32, the weight of each target in the loss).
    frozen: the parameters that are not trained. With adapters, this is everything else.
    reference: not used.
    key: a random key for the dropout of adapters; None means no dropout.

  Returns:
    (sum of weight x negative log-likelihood in nats, sums), all fp32 scalars. The sums are `weight`
    and `accuracy` (weight x [the most probable token is the target]).
  """
  del settings, reference
  frozen = frozen or {}
  all_params = frozen | params
  x_BTD = forward(model, all_params, batch['tokens'], batch['positions'], batch['segment_ids'], key)
  x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
  loss, correct = cross_entropy_sums(
    x_ND,
    unembedding(all_params),
    batch['targets'].reshape(-1),
    batch['weights'].reshape(-1),
    loss_chunk,
    model.logit_softcap,
    # Adapters are never put on the unembedding. If anything is frozen, the unembedding is.
    bool(frozen),
  )
  return loss, {'weight': jnp.sum(batch['weights']), 'accuracy': correct}
