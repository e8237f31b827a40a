"""The settings of a model: its architecture, its adapters and how it is computed.

`msm_jax.config` has these names too, beside all other settings; import them from there.
"""

import dataclasses
import math

from msm_jax.base.checks import (
  AT_LEAST_ONE,
  BELOW_ONE,
  MIN_POSITIVE,
  NON_NEGATIVE,
  added_later,
  one_of,
  shown,
  within,
)
from msm_jax.base.errors import ConfigError

POSITIVE = (MIN_POSITIVE, math.inf)

# The matrices of a block: attention's four and the feed-forward's three.
PROJECTIONS = ('wq', 'wk', 'wv', 'wo', 'w_gate', 'w_up', 'w_down')


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary positions are stretched beyond the length that a model was first trained on.

  With 'linear', all frequencies are divided by `factor`. With 'llama3' (Llama 3.1), it depends on
  the wavelength: above original_length / low they are divided, below original_length / high they
  are not, and between the two they are divided in part.
  """

  # 'linear' or 'llama3'.
  kind: str = 'llama3'
  # What frequencies are divided by.
  factor: float = 8.0
  # Components that make fewer turns than this over the original length are divided fully.
  low: float = 1.0
  # Components that make more turns than this over the original length stay as they are.
  high: float = 4.0
  # The tokens of a text that the model was first trained on.
  original_length: int = 8192

  def __post_init__(self):
    one_of('model.rope_scaling.kind', self.kind, ('linear', 'llama3'))
    within(
      'model.rope_scaling.',
      self,
      factor=AT_LEAST_ONE,
      low=POSITIVE,
      high=POSITIVE,
      original_length=AT_LEAST_ONE,
    )
    if self.kind == 'llama3' and self.low >= self.high:
      raise ConfigError(f'model.rope_scaling.low={self.low} must be below high={self.high}')


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Low-rank adapters beside the projections (Hu et al. 2021). With them, nothing else is trained.

  The defaults are the published recipe's (Model Spec Midtraining, App. B.4).
  """

  # The inner size of an adapter.
  rank: int = 64
  # An adapter's output is multiplied by alpha / rank.
  alpha: float = 128.0
  # The share of an adapter's inputs that are set to zero in training.
  dropout: float = 0.0
  # Which projections have an adapter; names from PROJECTIONS.
  targets: tuple[str, ...] = PROJECTIONS
  # The layers with adapters, 0-based and ascending; empty means all. The backward pass ends at the
  # lowest of them, so adapters in the upper layers alone are cheaper to train.
  layers: tuple[int, ...] = added_later(())

  def __post_init__(self):
    within('model.lora.', self, rank=AT_LEAST_ONE, alpha=POSITIVE, dropout=BELOW_ONE)
    if not self.targets or len(set(self.targets)) != len(self.targets):
      raise ConfigError(
        f'model.lora.targets={self.targets} must name at least one projection, each once'
      )
    for target in self.targets:
      one_of('model.lora.targets', target, PROJECTIONS)
    is_ascending = list(self.layers) == sorted(set(self.layers))
    if not is_ascending or (self.layers and self.layers[0] < 0):
      raise ConfigError(
        f'model.lora.layers={shown(self.layers)} must be numbers of layers from 0, ascending'
      )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The decoder. Families of models differ by the values of these fields, not by code."""

  # The width of the residual stream.
  d_model: int = 128
  # The number of layers.
  n_layers: int = 4
  # The number of query heads.
  n_heads: int = 4
  # The number of key/value heads, which divides n_heads; fewer mean grouped-query attention.
  n_kv_heads: int = 4
  # The size of a head.
  head_dim: int = 32
  # The inner width of the feed-forward.
  d_ff: int = 384
  # The size of the vocabulary; 0 means that of the tokenizer.
  vocab_size: int = 0
  # The base of the rotary frequencies.
  rope_theta: float = 10_000.0
  # How rotary positions are stretched; None means not at all.
  rope_scaling: RopeScaling | None = None
  # What is added to the mean square in norms.
  norm_eps: float = 1e-5
  # Whether queries, keys and values have a bias (Qwen 2).
  qkv_bias: bool = False
  # Whether queries and keys are normalised head by head (Qwen 3, Gemma 3).
  qk_norm: bool = False
  # Whether each branch is normalised on its way out too (Gemma).
  post_norms: bool = False
  # What is added to the scales of all norms (Gemma stores scales less 1).
  norm_offset: float = 0.0
  # The activation of the gated feed-forward: 'silu', or 'gelu' in its tanh form.
  activation: str = 'silu'
  # What the embeddings are multiplied by (Gemma).
  embed_scale: float = 1.0
  # What the logits of attention are multiplied by; 0 means head_dim ** -0.5.
  query_scale: float = 0.0
  # For each layer, whether it is local: it then looks back at most `local_window` tokens, with the
  # rotary base `local_theta` and no rope_scaling. Empty means that no layer is local.
  local_layers: tuple[bool, ...] = ()
  # How many tokens a local layer sees, the token itself included.
  local_window: int = 0
  # The base of the rotary frequencies in local layers.
  local_theta: float = 10_000.0
  # Logits x become cap * tanh(x / cap); 0 leaves them as they are.
  logit_softcap: float = 0.0
  # The length that the weights were trained for. It is stated on export and limits nothing here.
  max_length: int = 0
  # Whether the embedding serves as the unembedding too.
  tie_embeddings: bool = True
  # What the standard deviations of fresh parameters are multiplied by.
  init_scale: float = 1.0
  # Low-rank adapters; None means that all parameters are trained.
  lora: LoraConfig | None = None
  # The dtype that the model works in: 'float32' or 'bfloat16'. Trained parameters, norms, softmax
  # and losses are float32 in any case.
  dtype: str = 'float32'
  # Whether layers are run by a loop on the device: it compiles faster and runs a little slower.
  scan_layers: bool = False
  # What is computed again in the backward pass to save memory: 'none', 'dots' (everything but
  # matrix products and attention), 'attention' (everything but attention) or 'block' (everything).
  # Attention is spared where `splash` computes it.
  remat: str = 'none'
  # What computes the attention of whole rows: 'xla', 'splash' (TPU), 'cudnn' (NVIDIA GPU, bf16) or
  # 'auto', which takes the kernel of the device where it fits and 'xla' elsewhere.
  attention: str = added_later('auto')

  def __post_init__(self):
    within(
      'model.',
      self,
      d_model=AT_LEAST_ONE,
      n_layers=AT_LEAST_ONE,
      n_heads=AT_LEAST_ONE,
      n_kv_heads=AT_LEAST_ONE,
      head_dim=AT_LEAST_ONE,
      d_ff=AT_LEAST_ONE,
      # Ids of tokens have 32 bits.
      vocab_size=(0, 2**31 - 1),
      rope_theta=POSITIVE,
      norm_eps=POSITIVE,
      init_scale=POSITIVE,
    )
    self._check_heads()
    self._check_local_layers()
    within(
      'model.',
      self,
      query_scale=NON_NEGATIVE,
      local_window=NON_NEGATIVE,
      logit_softcap=NON_NEGATIVE,
      max_length=NON_NEGATIVE,
      embed_scale=POSITIVE,
      local_theta=POSITIVE,
      norm_offset=(-math.inf, math.inf),
    )
    one_of('model.activation', self.activation, ('silu', 'gelu'))
    one_of('model.remat', self.remat, ('none', 'dots', 'attention', 'block'))
    one_of('model.dtype', self.dtype, ('float32', 'bfloat16'))
    one_of('model.attention', self.attention, ('auto', 'xla', 'splash', 'cudnn'))

  @property
  def adapted_layers(self) -> tuple[int, ...]:
    """The layers with adapters, ascending; none without `lora`.

    Raises:
      ConfigError: `lora.layers` names a layer that the model does not have. This is not known
        earlier: the number of layers may come with imported weights.
    """
    if self.lora is None:
      return ()
    if not self.lora.layers:
      return tuple(range(self.n_layers))
    highest = self.lora.layers[-1]
    if highest >= self.n_layers:
      raise ConfigError(
        f'model.lora.layers names layer {highest}, and the model has the layers 0 to '
        f'{self.n_layers - 1}; name some of these'
      )
    return self.lora.layers

  @property
  def n_lower_layers(self) -> int:
    """How many layers lie below all adapters; 0 without `lora`. Every arm has the same there."""
    return min(self.adapted_layers, default=0)

  def _check_heads(self) -> None:
    """Raises ConfigError unless heads can be grouped and rotated."""
    if self.n_heads % self.n_kv_heads:
      raise ConfigError(
        f'model.n_kv_heads={self.n_kv_heads} must divide model.n_heads={self.n_heads}'
      )
    if self.head_dim % 2:
      raise ConfigError(f'model.head_dim={self.head_dim} must be even (rotary embedding)')

  def _check_local_layers(self) -> None:
    """Raises ConfigError unless every layer is named and local ones have a window."""
    if not self.local_layers:
      return
    names_each = len(self.local_layers) == self.n_layers
    lacks_window = any(self.local_layers) and self.local_window < 1
    if not names_each or lacks_window:
      raise ConfigError(
        f'model.local_layers must name each of the {self.n_layers} layers, '
        f'and model.local_window={self.local_window} be at least 1'
      )
