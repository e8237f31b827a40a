"""Says how far the evaluation of one model is, and lets it be stopped in between.

A small model of an embedded world is evaluated within seconds, and then nothing is said. A real
model on a CPU takes minutes.
"""

import sys
import time
from collections.abc import Callable

from msm_jax import multihost
from msm_jax.base import console
from msm_jax.base.console import duration
from msm_jax.base.errors import Interrupted

# How often the console shows a line, in seconds; a line that is drawn anew, and lines of a log.
_BETWEEN_BARS = 0.5
_BETWEEN_LINES = 15


class EvaluationProgress:
  """The progress of one model's evaluation.

  Attributes:
    texts: how many texts were scored so far.
  """

  def __init__(self, label: str, stop: Callable[[], bool], expected: int = 0) -> None:
    """Begins to count.

    Args:
      label: what the evaluation is called on the console.
      stop: asked after every batch whether to stop.
      expected: how many texts there will be, such as a model before had; 0 if that is not known.
    """
    self.texts = 0
    self._label = label
    self._stop = stop
    self._expected = expected
    self._began = self._printed = time.monotonic()
    self._is_drawn = False

  def __call__(self, texts: int) -> None:
    """Notes that a batch was scored. All processes call this after the same batches.

    Args:
      texts: the texts of the batch.

    Raises:
      Interrupted: `stop()` returned True in any process. What was scored of this model is lost.
    """
    self.texts += texts
    if multihost.any_process(self._stop()):
      self.close()
      raise Interrupted(f'stopped while {self._label}, which begins anew')
    now = time.monotonic()
    pause = _BETWEEN_BARS if console.can_redraw() else _BETWEEN_LINES
    if console.is_quiet or now - self._printed < pause:
      return
    self._printed = now
    self._show(now - self._began)

  def close(self) -> None:
    """Ends the line that is drawn anew."""
    if self._is_drawn:
      print(file=sys.stderr, flush=True)
      self._is_drawn = False

  def _show(self, elapsed: float) -> None:
    """Prints one line, or draws it anew on a terminal or in a notebook."""
    text = f'{self._label}  {self.texts:,} texts  {duration(elapsed)}'
    if self.texts < self._expected:
      left = elapsed / self.texts * (self._expected - self.texts)
      text = f'{self._label}  {self.texts:,}/{self._expected:,} texts  ETA {duration(left)}'
    self._is_drawn = console.can_redraw()
    end = '' if self._is_drawn else '\n'
    print(console.over_line(text), end=end, file=sys.stderr, flush=True)
