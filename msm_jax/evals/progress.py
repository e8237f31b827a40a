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
    self._began = self._printed = time.monotonic()
    self._is_drawn = False

  def __call__(self, tokens: int) -> None:
    """Notes that a batch was scored. All processes call this after the same batches.

    Args:
      tokens: the tokens of the batch, without padding.

    Raises:
      Interrupted: `stop()` returned True in any process. What was scored of this model is lost.
    """
    self.tokens += tokens
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
    rate = self.tokens / elapsed
    of_all, left = '', ''
    if self.tokens < self._expected:
      of_all = f'/{self._expected:,}'
      left = f'  ETA {duration((self._expected - self.tokens) / rate)}'
    text = f'{self._label}  {self.tokens:,}{of_all} tokens  {rate:,.0f} tok/s{left}'
    self._is_drawn = console.can_redraw()
    end = '' if self._is_drawn else '\n'
    print(console.over_line(text), end=end, file=sys.stderr, flush=True)
