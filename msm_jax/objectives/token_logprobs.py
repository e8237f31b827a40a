"""The log-probability of every target, as numbers that can be differentiated one by one.

Objectives that compare whole answers need what the model says of each token before they know how
much each token counts. Plain autodiff would keep the logits of all tokens, N x V numbers. Here the
forward pass has logits for one chunk of tokens at a time and keeps none. The backward pass uses
that the gradient of a weighted sum of log-probabilities is that of a cross-entropy: it hands the
weights to `cross_entropy.py`, which computes the logits again, chunk by chunk.

Shapes: B rows, T tokens of a row, N = B T tokens, C tokens of a chunk, D model, V vocabulary.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from msm_jax.config import ModelConfig
from msm_jax.layers import soft_cap
from msm_jax.model import Params, forward, unembedding
from msm_jax.objectives.cross_entropy import CPU_CHUNK, Tokens, loss_and_gradients
from msm_jax.sharding import over_own_tokens, platform


def batch_logprobs(
  model: ModelConfig,
  loss_chunk: int,
  params: Params,
  batch: dict[str, jax.Array],
  frozen: Params | None = None,
  key: jax.Array | None = None,
  temperature: float = 1.0,
) -> jax.Array:
  """Computes the log-probabilities of the targets of a batch.

  Args:
    model: the settings of the model.
    loss_chunk: for how many tokens of a device logits exist at a time; see `token_logprobs`.
    params: the trained parameters; the result can be differentiated by these.
    batch: (B, T) arrays `tokens`, `targets`, `segment_ids`, `positions` (int32) and `weights`
      (fp32): targets of weight 0 are left out.
    frozen: the parameters that are not trained.
    key: a random key for the dropout of adapters; None means no dropout.
    temperature: logits are divided by it, as a sampler does.

  Returns:
    (B, T) fp32, in nats; 0 where the weight is 0.
  """
  all_params = (frozen or {}) | params
  x_BTD = forward(model, all_params, batch['tokens'], batch['positions'], batch['segment_ids'], key)
  if temperature != 1:
    # Dividing hidden states divides the logits; a soft cap, which comes after them, shrinks alike.
    x_BTD = (x_BTD / temperature).astype(x_BTD.dtype)
  logprobs_N = token_logprobs(
    x_BTD.reshape(-1, x_BTD.shape[-1]),
    unembedding(all_params),
    batch['targets'].reshape(-1),
    batch['weights'].reshape(-1),
    loss_chunk,
    model.logit_softcap / temperature,
    # Adapters are never put on the unembedding. If anything is frozen, the unembedding is.
    bool(frozen),
  )
  return logprobs_N.reshape(batch['targets'].shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def token_logprobs(
  hidden_ND: jax.Array,
  unembed_VD: jax.Array,
  targets_N: jax.Array,
  weights_N: jax.Array,
  chunk: int,
  softcap: float = 0.0,
  frozen: bool = False,
) -> jax.Array:
  """Computes the log-probability of each target.

  Args:
    hidden_ND: final hidden states, fp32 or bf16.
    unembed_VD: the matrix that turns hidden states into logits.
    targets_N: int32 ids of the tokens to predict.
    weights_N: fp32; targets of weight 0 are left out, and other weights mean nothing.
    chunk: for how many tokens of a device logits exist at a time; 0 means for all at once. On a
      CPU, 0 means a number that suits it.
    softcap: logits become softcap x tanh(logit / softcap); 0 leaves them as they are.
    frozen: whether the unembedding is not trained. It then gets no gradient.

  Returns:
    (N,) fp32, in nats; 0 where the weight is 0.
  """
  del frozen
  tokens = Tokens(hidden_ND, targets_N, weights_N)

  def of_own_tokens(table_VD: jax.Array, own: Tokens):
    return (), _of_device(table_VD, own, chunk, softcap), None

  # The matrix is sent in the dtype that it is multiplied in: bf16 is half as long.
  table_VD = unembed_VD.astype(hidden_ND.dtype)
  _, logprobs_N, _ = over_own_tokens(of_own_tokens, table_VD, tokens)
  return logprobs_N


class _Residuals(NamedTuple):
  """What the backward pass needs: the inputs."""

  tokens: Tokens
  unembed_VD: jax.Array


def _vjp_forward(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen):
  logprobs_N = token_logprobs(hidden_ND, unembed_VD, targets_N, weights_N, chunk, softcap, frozen)
  return logprobs_N, _Residuals(Tokens(hidden_ND, targets_N, weights_N), unembed_VD)


def _vjp_backward(chunk, softcap, frozen, residuals, d_N):
  """The gradients of sum(d x log-probability), a cross-entropy with the weights -d."""
  tokens, unembed_VD = residuals
  weights_N = jnp.where(tokens.weights_N != 0, -d_N, 0.0)
  weighted = tokens._replace(weights_N=weights_N)
  _, gradients = loss_and_gradients(weighted, unembed_VD, chunk, softcap, frozen)
  return gradients.dhidden_ND, gradients.dtable_VD, None, None


token_logprobs.defvjp(_vjp_forward, _vjp_backward)


def _of_device(table_VD: jax.Array, tokens: Tokens, chunk: int, softcap: float) -> jax.Array:
  """The log-probabilities of the tokens of one device; 0 where the weight is 0."""
  N = len(tokens.targets_N)
  C = chunk
  if not chunk and platform() == 'cpu':
    C = CPU_CHUNK
  counts_N = tokens.weights_N != 0
  if not 0 < C < N:
    logprobs_N = _of_chunk(table_VD, tokens.hidden_ND, tokens.targets_N, softcap)
    return jnp.where(counts_N, logprobs_N, 0.0)
  n_chunks = -(-N // C)
  # Tokens with weight come first. The last chunk is filled up with a token that is there already.
  order_N = jnp.argsort(~counts_N, stable=True)
  order_M = jnp.pad(order_N, (0, n_chunks * C - N), mode='edge')
  n_counting = jnp.sum(counts_N)

  def goes_on(state):
    n, _ = state
    # The first condition never ends the loop. It says how long the loop is at most to whoever reads
    # the compiled program (benchmarks/hlo.py).
    return (n < n_chunks) & (n * C < n_counting)

  def next_chunk(state):
    n, logprobs_N = state
    at_C = jax.lax.dynamic_slice_in_dim(order_M, n * C, C)
    own_C = _of_chunk(table_VD, tokens.hidden_ND[at_C], tokens.targets_N[at_C], softcap)
    return n + 1, logprobs_N.at[at_C].set(own_C)

  _, logprobs_N = jax.lax.while_loop(goes_on, next_chunk, (jnp.int32(0), jnp.zeros(N)))
  return jnp.where(counts_N, logprobs_N, 0.0)


def _of_chunk(
  table_VD: jax.Array, x_CD: jax.Array, targets_C: jax.Array, softcap: float
) -> jax.Array:
  """The log-probabilities of tokens whose logits exist at the same time."""
  logits_CV = jnp.einsum('cd,vd->cv', x_CD, table_VD, preferred_element_type=jnp.float32)
  logits_CV = soft_cap(logits_CV, softcap)
  target_C = jnp.take_along_axis(logits_CV, targets_C[:, None], axis=-1)[:, 0]
  return target_C - jax.nn.logsumexp(logits_CV, axis=-1)
