"""The training step of `gpu.py` in PyTorch, as one would write it for speed.

Matrices work in bf16 with fp32 master weights (frozen ones are kept in bf16 alone), attention is
`scaled_dot_product_attention`, AdamW is fused, clipping is foreach, and each block is compiled.
PyTorch is given the easier task: rows are one text each, so that its attention is plainly causal
and takes the flash kernel. Texts packed into a row would need a mask, and with it a slower kernel.

Dimensions: B rows, T tokens of a row, N = B T, D model width, H query heads, G key/value heads, K
width of a head, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from msm_jax.config import ModelConfig

# (B, T) arrays; `gpu.make_batch` describes them.
Batch = Mapping[str, np.ndarray]
# Does one update and returns its loss, which may still be on its way on the device.
StepFunction = Callable[[], Any]
# Standard deviation of weights that are drawn here.
SCALE = 0.02


def device_name() -> str:
  """The device that PyTorch has: 'cuda' or 'cpu'."""
  import torch

  if torch.cuda.is_available():
    return 'cuda'
  return 'cpu'


def make_parameters(
  shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, np.ndarray] | None, trained: set[str]
) -> dict[str, list[Any]]:
  """Makes the parameters, those of the blocks layer by layer.

  One tensor for all layers would get its gradient as a sum of as many tensors of its own size.

  Args:
    shapes: name -> shape; those of the blocks have the layer axis first.
    values: name -> values, or None to draw them.
    trained: the names of parameters that are trained.

  Returns:
    Name -> the parameter of each layer; a list of one for those outside of the blocks.
  """
  import torch

  device = device_name()
  torch.manual_seed(0)
  parameters = {}
  for name, shape in shapes.items():
    outside = name in ('embed', 'unembed', 'final_norm')
    count = 1 if outside else shape[0]
    shape_of_one = shape if outside else shape[1:]
    layers = []
    for n in range(count):
      if values is not None:
        array = values[name] if outside else values[name][n]
        value = torch.tensor(array, device=device)
      elif name.endswith('norm'):
        value = torch.ones(shape_of_one, device=device)
      elif name.endswith('_b'):
        value = torch.zeros(shape_of_one, device=device)
      else:
        value = SCALE * torch.randn(shape_of_one, device=device)
      if name not in trained and not name.endswith('norm'):
        value = value.bfloat16()
      layers.append(torch.nn.Parameter(value, requires_grad=name in trained))
    parameters[name] = layers
  return parameters


def _rope(x: Any, cos: Any, sin: Any) -> Any:
  import torch

  first, second = x.chunk(2, -1)
  return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _norm(x: Any, scale: Any, eps: float) -> Any:
  import torch.nn.functional as F

  return F.rms_norm(x.float(), (x.shape[-1],), scale, eps).to(x.dtype)


def _block(c: ModelConfig, x_BTD: Any, cos: Any, sin: Any, p: Mapping[str, Any]) -> Any:
  """One layer of the decoder, with adapters where there are any."""
  import torch.nn.functional as F

  B, T, _ = x_BTD.shape
  K = c.head_dim

  def project(x: Any, name: str) -> Any:
    y = x @ p[name].to(x.dtype)
    if c.lora and f'{name}_a' in p:
      inner = x @ p[f'{name}_a'].to(x.dtype)
      y = y + inner @ p[f'{name}_b'].to(x.dtype) * (c.lora.alpha / c.lora.rank)
    return y

  h_BTD = _norm(x_BTD, p['attention_norm'], c.norm_eps)
  q_BHTK = project(h_BTD, 'wq').view(B, T, c.n_heads, K).transpose(1, 2)
  k_BGTK = project(h_BTD, 'wk').view(B, T, c.n_kv_heads, K).transpose(1, 2)
  v_BGTK = project(h_BTD, 'wv').view(B, T, c.n_kv_heads, K).transpose(1, 2)
  a_BHTK = F.scaled_dot_product_attention(
    _rope(q_BHTK, cos, sin), _rope(k_BGTK, cos, sin), v_BGTK, is_causal=True, enable_gqa=True
  )
  x_BTD = x_BTD + project(a_BHTK.transpose(1, 2).reshape(B, T, c.n_heads * K), 'wo')
  h_BTD = _norm(x_BTD, p['mlp_norm'], c.norm_eps)
  gated = F.silu(project(h_BTD, 'w_gate')) * project(h_BTD, 'w_up')
  return x_BTD + project(gated, 'w_down')


def _head(x_ND: Any, unembed_VD: Any, targets_N: Any, weights_N: Any) -> Any:
  """The weighted mean of the negative log-likelihood."""
  import torch.nn.functional as F

  logits_NV = (x_ND @ unembed_VD.to(x_ND.dtype).T).float()
  nats_N = F.cross_entropy(logits_NV, targets_N, reduction='none')
  return (nats_N * weights_N).sum() / weights_N.sum()


def make_step(
  c: ModelConfig,
  shapes: Mapping[str, tuple[int, ...]],
  values: Mapping[str, np.ndarray] | None,
  batch: Batch,
  lr: float,
  weight_decay: float,
  compiled: bool,
) -> StepFunction:
  """Prepares training.

  Args:
    c: the model; `remat` other than 'none' computes blocks again in the backward pass.
    shapes: name -> shape of all parameters.
    values: name -> initial values, or None to draw them.
    batch: of every step. Each row is one text.
    lr: the learning rate.
    weight_decay: of matrices; norms do not decay.
    compiled: whether blocks and the head are compiled.

  Returns:
    The function that does one step.
  """
  import torch
  from torch.utils.checkpoint import checkpoint

  def is_adapter(name: str) -> bool:
    return name.endswith(('_a', '_b'))

  trained = {name for name in shapes if c.lora is None or is_adapter(name)}
  p = make_parameters(shapes, values, trained)
  norms, matrices = [], []
  for name in sorted(trained):
    group = norms if name.endswith('norm') else matrices
    group += p[name]
  groups = [{'params': matrices, 'weight_decay': weight_decay}]
  if norms:
    groups.append({'params': norms, 'weight_decay': 0.0})
  optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, fused=True)

  device = device_name()
  on_device = {key: torch.tensor(value, device=device) for key, value in batch.items()}
  tokens_BT = on_device['tokens'].long()
  targets_N = on_device['targets'].long().view(-1)
  weights_N = on_device['weights'].view(-1)
  exponents = torch.arange(0, c.head_dim, 2, device=device).float() / c.head_dim
  angles = torch.arange(tokens_BT.shape[1], device=device).float()[:, None] * (
    c.rope_theta**-exponents
  )
  cos, sin = angles.cos().bfloat16(), angles.sin().bfloat16()
  block, head = _block, _head
  if compiled:
    block = torch.compile(_block, dynamic=False)
    head = torch.compile(_head, dynamic=False)
  in_blocks = [name for name in shapes if name not in ('embed', 'unembed', 'final_norm')]
  unembed = p.get('unembed', p['embed'])[0]

  def loss_of() -> Any:
    x_BTD = torch.nn.functional.embedding(tokens_BT, p['embed'][0]).bfloat16()
    for n in range(c.n_layers):
      layer = {name: p[name][n] for name in in_blocks}
      if c.remat == 'none':
        x_BTD = block(c, x_BTD, cos, sin, layer)
      else:
        x_BTD = checkpoint(block, c, x_BTD, cos, sin, layer, use_reentrant=False)
    x_BTD = _norm(x_BTD, p['final_norm'][0], c.norm_eps)
    return head(x_BTD.reshape(-1, c.d_model), unembed, targets_N, weights_N)

  def step() -> Any:
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(matrices + norms, 1.0, foreach=True)
    optimizer.step()
    return loss.detach()

  return step


def peak_gib() -> float | None:
  """The most memory that PyTorch has taken on the GPU, in GiB; None without a GPU."""
  import torch

  if device_name() == 'cpu':
    return None
  return torch.cuda.max_memory_allocated() / 2**30
