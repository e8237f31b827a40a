"""The settings that all phases share: the tokenizer, the mesh of devices, the optimizer.

`msm_jax.config` has these names too, beside all other settings; import them from there.
"""

import dataclasses

from msm_jax.base.checks import BELOW_ONE, NON_NEGATIVE, one_of, within
from msm_jax.base.errors import ConfigError
from msm_jax.config.model import POSITIVE


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
  """The tokenizer: SentencePiece, trained on the text of named sources."""

  # The number of pieces.
  vocab_size: int = 2048
  # The sources that it is trained on; empty if the tokenizer comes with weights.
  sources: tuple[str, ...] = ()

  def __post_init__(self):
    # SentencePiece counts pieces in 32 bits.
    within('tokenizer.', self, vocab_size=(1, 2**31 - 1))


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """The sizes of the mesh of devices; see sharding.py. One of them may be -1: whatever is left."""

  # Rows of a batch are divided; parameters are replicated.
  data: int = -1
  # Rows of a batch are divided, and parameters too.
  fsdp: int = 1
  # Matrix products are divided.
  tensor: int = 1

  def __post_init__(self):
    sizes = (self.data, self.fsdp, self.tensor)
    if any(size == 0 or size < -1 for size in sizes) or sizes.count(-1) > 1:
      raise ConfigError(
        f'mesh.data={self.data}, mesh.fsdp={self.fsdp}, mesh.tensor={self.tensor}: '
        f'sizes of the mesh are at least 1, and at most one is -1 (whatever is left)'
      )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """The optimizer, without its learning rate, which belongs to the phase."""

  # 'adamw' (Loshchilov and Hutter 2019), or 'muon': Muon for the matrices of the blocks and AdamW
  # for the rest (Liu et al. 2025, with consistent RMS, so that both take the same learning rate).
  name: str = 'adamw'
  # The decay of AdamW's first moment.
  b1: float = 0.9
  # The decay of AdamW's second moment.
  b2: float = 0.95
  # What AdamW adds to the root of its second moment.
  eps: float = 1e-8
  # How strongly matrices and biases decay, times the learning rate. Norms do not decay.
  weight_decay: float = 0.01
  # The global norm to which gradients are clipped; 0 means that they are not.
  clip: float = 1.0

  def __post_init__(self):
    one_of('optimizer.name', self.name, ('adamw', 'muon'))
    within(
      'optimizer.',
      self,
      b1=BELOW_ONE,
      b2=BELOW_ONE,
      eps=(POSITIVE[0], 1),
      weight_decay=NON_NEGATIVE,
      clip=NON_NEGATIVE,
    )
