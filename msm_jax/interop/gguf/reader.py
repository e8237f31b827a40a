"""Opens a GGUF file with the `gguf` package, and turns what that package trips over into errors of
one line.
"""

from pathlib import Path
from typing import Any

from msm_jax.base.errors import WeightsError
from msm_jax.interop.gguf.header import check_header, is_swapped


def open_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """Opens a GGUF file. The tensors are mapped, not read.

  Args:
    path: the file.

  Returns:
    The metadata, key -> value, and the tensors, name -> gguf.ReaderTensor.

  Raises:
    WeightsError: the file is missing, is no GGUF file, is cut short, or has the other byte order.
  """
  # gguf belongs to the optional extra `hf`.
  import gguf

  if not path.is_file():
    raise WeightsError(f'{path} is no file; give a GGUF file')
  try:
    if is_swapped(path):
      raise WeightsError(
        f'{path} is of the other byte order; take a file made for this kind of machine'
      )
    check_header(path)
    reader = gguf.GGUFReader(path)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
  except OSError as e:
    raise WeightsError(f'cannot read {path} ({e.strerror}); check its name and rights') from None
  # These are what the reader raises on files that are damaged or of another kind.
  except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as e:
    if isinstance(e, WeightsError):
      raise
    raise WeightsError(
      f'{path} is no GGUF file, or a part of one ({e}); download it again'
    ) from None
  return metadata, tensors


def stored_shape(tensor: Any) -> tuple[int, ...]:
  """The shape of a gguf.ReaderTensor as NumPy states it. GGUF lists the fastest-varying dimension
  first.
  """
  return tuple(int(n) for n in reversed(tensor.shape))
