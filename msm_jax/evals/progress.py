"""Says how far the evaluation or the sampling of one model is, and lets it be stopped in between.

A small model of an embedded world is evaluated within seconds, and then nothing is said. A real
model on a CPU takes minutes.
"""

import time
from collections.abc import Callable

from msm_jax import multihost
from msm_jax.base.console import ProgressLine, duration
from msm_jax.base.errors import Interrupted


class EvaluationProgress:
  """The progress of one model's evaluation, or of the sampling of its answers.

  Attributes:
    done: how many tokens of texts were scored so far, or how many answers were sampled.
  """

  def __init__(
    self, label: str, stop: Callable[[], bool], expected: int = 0, unit: str = 'tokens'
  ) -> None:
    """Begins to count.

    Args:
      label: what the evaluation is called on the console.
      stop: asked after every batch whether to stop.
      expected: how many there will be, such as a model before had; 0 if that is not known.
      unit: what is counted: 'tokens' or 'answers'.
    """
    self.done = 0
    self._label = label
    self._stop = stop
    self._expected = expected
    self._unit = unit
    self._began = time.monotonic()
    self._line = ProgressLine(last_shown=self._began)

  def __call__(self, count: int) -> None:
    """Notes that a batch was scored or moved on. All processes call this after the same batches.

    Args:
      count: the tokens of the batch, without padding, or the answers that it finished.

    Raises:
      Interrupted: `stop()` returned True in any process. What was counted is not kept.
    """
    self.done += count
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
    rate = self.done / (time.monotonic() - self._began)
    of_all, speed, left = '', '', ''
    # Large models take seconds for an answer, so answers per second would be 0.
    if self._unit == 'tokens':
      speed = f'  {rate:,.0f} tok/s'
    if self.done < self._expected:
      of_all = f'/{self._expected:,}'
      # Before the first answer is finished, nobody knows how long one takes.
      if self.done:
        left = f'  ETA {duration((self._expected - self.done) / rate)}'
    return f'{self._label}  {self.done:,}{of_all} {self._unit}{speed}{left}'
