"""Says how far the evaluation of one model is, and lets it be stopped in between.

A small model of an embedded world is evaluated within seconds, and then nothing is said. A real
model on a CPU takes minutes.
"""

import time
from collections.abc import Callable

from msm_jax import multihost
from msm_jax.base.console import ProgressLine, duration
from msm_jax.base.errors import Interrupted


class EvaluationProgress:
  """The progress of one model's evaluation.

  Attributes:
    tokens: how many tokens of texts were scored so far.
  """

  def __init__(self, label: str, stop: Callable[[], bool], expected: int = 0) -> None:
    """Begins to count.

    Args:
      label: what the evaluation is called on the console.
      stop: asked after every batch whether to stop.
      expected: how many tokens there will be, such as a model before had; 0 if that is not known.
    """
    self.tokens = 0
    self._label = label
    self._stop = stop
    self._expected = expected
    self._began = time.monotonic()
    self._line = ProgressLine(last_shown=self._began)

  def __call__(self, tokens: int) -> None:
    """Notes that a batch was scored. All processes call this after the same batches.

    Args:
      tokens: the tokens of the batch, without padding.

    Raises:
      Interrupted: `stop()` returned True in any process. The scores of this model are not kept.
    """
    self.tokens += tokens
    if multihost.any_process(self._stop()):
      self.close()
      raise Interrupted(f'stopped while {self._label}, which begins anew')
    if self._line.is_due():
      self._line.show(self._text())

  def close(self) -> None:
    """Lets the last line stay on the screen."""
    self._line.close()

  def _text(self) -> str:
    """How far the evaluation is."""
    rate = self.tokens / (time.monotonic() - self._began)
    of_all, left = '', ''
    if self.tokens < self._expected:
      of_all = f'/{self._expected:,}'
      left = f'  ETA {duration((self._expected - self.tokens) / rate)}'
    return f'{self._label}  {self.tokens:,}{of_all} tokens  {rate:,.0f} tok/s{left}'
