"""Where the numbers of a running phase go.

They are always written to metrics.jsonl and shown on the console; with `config.tensorboard` they
are also written for TensorBoard. Of several processes, only the first writes and shows them.
`UpdateLog` hands them to `PhaseMetrics` one update late, so that the device need not wait.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from msm_jax import multihost
from msm_jax.base import console
from msm_jax.base.console import duration
from msm_jax.base.files import write_atomically

# The characters of a progress bar.
_BAR_WIDTH = 20


class PhaseMetrics:
  """The metrics of one phase.

  Attributes:
    label: what the phase is called on the console.
    total: the number of the last update.
    flops_per_token: the FLOPs of training per token, for the rate on the console.
  """

  def __init__(
    self,
    folder: Path,
    label: str,
    total: int,
    start: int,
    flops_per_token: float,
    tensorboard: bool = False,
  ):
    """Opens the files. Rows of a killed run that come after `start` are dropped from metrics.jsonl.

    Args:
      folder: the phase's folder.
      label: what the phase is called on the console.
      total: the number of the last update: how many the phase has, or fewer if it is trained as
        far as its points need.
      start: the step that the phase resumes from; 0 if it begins.
      flops_per_token: the FLOPs of training per token.
      tensorboard: whether to write for TensorBoard too.
    """
    self.label = label
    self.total = total
    self.flops_per_token = flops_per_token
    self._start = start
    self._began = time.monotonic()
    # Tokens since this process began.
    self._tokens = 0
    self._line = console.ProgressLine()
    self._writes = multihost.is_first()
    path = Path(os.devnull)
    if self._writes:
      path = folder / 'metrics.jsonl'
      drop_rows_after(path, start)
    self._file = path.open('a', encoding='utf-8')
    self._writer = None
    if tensorboard and self._writes:
      # An optional package. The checks of the config have asked for it if it is missing.
      from tensorboardX import SummaryWriter

      # TensorBoard's files are named by the second. A run that resumes within the same second would
      # overwrite the file before, so the step is part of the name.
      self._writer = SummaryWriter(
        str(folder / 'tensorboard'), purge_step=start + 1, filename_suffix=f'.{start}'
      )

  def log(self, step: int, values: Mapping[str, float], tokens: int) -> None:
    """Records the numbers of one update.

    Args:
      step: the number of the update, 1-based.
      values: its metrics by name, among them `loss` and `lr`.
      tokens: how many tokens were processed, padding included.
    """
    if not self._writes:
      return
    now = time.monotonic()
    elapsed = now - self._began
    self._tokens += tokens
    tokens_per_s = self._tokens / max(1e-9, elapsed)
    # JSON has no NaN, so an update that was skipped for its loss has null.
    numbers = {key: value if math.isfinite(value) else None for key, value in values.items()}
    row = {
      'step': step,
      **numbers,
      'tokens_per_s': round(tokens_per_s, 1),
      'seconds': round(elapsed, 3),
    }
    self._file.write(json.dumps(row) + '\n')
    if self._writer:
      for key, value in values.items():
        self._writer.add_scalar(key, value, step)
    if step == self.total or self._line.is_due():
      self._file.flush()
      self._show(step, values, tokens_per_s, elapsed)

  def _show(
    self, step: int, values: Mapping[str, float], tokens_per_s: float, elapsed: float
  ) -> None:
    """Prints one line, or draws the progress bar anew on a terminal or in a notebook."""
    seconds_per_step = elapsed / max(1, step - self._start)
    left = duration(seconds_per_step * (self.total - step))
    gflops = tokens_per_s * self.flops_per_token / 1e9
    text = (
      f'{self.label}  step {step}/{self.total}  loss {values["loss"]:.3f}  '
      f'{_score(values)}lr {values["lr"]:.2e}  '
      f'{tokens_per_s:,.0f} tok/s  {gflops:,.1f} GFLOP/s  ETA {left}'
    )
    if console.can_redraw():
      bar = '#' * (_BAR_WIDTH * step // self.total)
      text = f'[{bar:<{_BAR_WIDTH}}] {text}'
    self._line.show(text, is_last=step == self.total)

  def flush(self) -> None:
    """Hands all rows to the operating system."""
    self._file.flush()

  def close(self) -> None:
    """Closes the files."""
    self._file.close()
    if self._writer:
      self._writer.close()


class UpdateLog:
  """Checks and logs the metrics of each update while the device works on the next one.

  To read the metrics of an update is to wait for it. Reading them at once would leave the device
  idle.
  """

  def __init__(self, metrics: PhaseMetrics, check: Callable[[int, Mapping[str, float]], None]):
    """Begins with nothing to log.

    Args:
      metrics: where the numbers go.
      check: (number of the update, its metrics) -> None. It raises what ends the phase; the metrics
        are then not logged.
    """
    self._metrics = metrics
    self._check = check
    self._pending: tuple[int, Mapping[str, Any], int] | None = None

  def add(self, step: int, on_device: Mapping[str, Any], tokens: int) -> None:
    """Takes the metrics of an update, and logs those of the update before.

    Args:
      step: the number of the update, 1-based.
      on_device: its metrics by name, scalars that the device may still have to compute.
      tokens: the tokens of its batch, padding included. Rollouts fill batches of several sizes.
    """
    self.log_pending()
    self._pending = (step, on_device, tokens)

  def log_pending(self) -> None:
    """Waits for the metrics that were added last, checks them and logs them."""
    if self._pending is None:
      return
    step, on_device, tokens = self._pending
    values = {key: float(value) for key, value in jax.device_get(on_device).items()}
    self._check(step, values)
    self._metrics.log(step, values, tokens)
    self._pending = None

  def flush(self) -> None:
    """Logs what was added last, and hands all rows to the operating system."""
    self.log_pending()
    self._metrics.flush()

  def close(self) -> None:
    """Closes the files. What was added last is not logged."""
    self._metrics.close()


def _score(values: Mapping[str, float]) -> str:
  """The numbers, beside the loss, by which one sees how a phase does, as far as it has them."""
  found = ''
  for name in ('accuracy', 'reward', 'margin', 'kl'):
    if name in values:
      shown_as = 'acc' if name == 'accuracy' else name
      found += f'{shown_as} {values[name]:.3f}  '
  return found


def count_skipped(folder: Path, until: int) -> int:
  """Counts the updates of a phase that were not finite and so changed nothing.

  Args:
    folder: the phase's folder.
    until: the last step that counts; later rows are those of a run that was killed.

  Returns:
    Their number by metrics.jsonl; 0 if there is no such file.
  """
  path = folder / 'metrics.jsonl'
  if not path.exists():
    return 0
  skipped = 0
  for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
    if _step(line) <= until and json.loads(line).get('skipped'):
      skipped += 1
  return skipped


def drop_rows_after(path: Path, step: int) -> None:
  """Keeps only the rows of a file up to a step; creates the file if there is none.

  Args:
    path: metrics.jsonl, or another file whose rows have a `step`.
    step: the last step that counts. Rows of a killed run come after it.
  """
  kept = ''
  if path.exists():
    # `splitlines` would also break a line at characters that a sampled answer may hold.
    for line in path.read_text(encoding='utf-8', errors='replace').split('\n'):
      if _step(line) <= step:
        kept += line + '\n'
  # A killed run leaves either the old rows or the new ones.
  write_atomically(path, kept.encode())


def _step(line: str) -> float:
  """The step of a row; infinity for a line that a killed run left unfinished."""
  try:
    return float(json.loads(line)['step'])
  except (ValueError, KeyError, TypeError, RecursionError):
    return float('inf')
