"""Where numbers of a running phase go: metrics.jsonl always, the console, TensorBoard if config.tensorboard asks for it."""

import json
import os
import sys
import time
from pathlib import Path

from msm_jax.base import console
from msm_jax.base.console import duration


class PhaseMetrics:
  """Metrics of one phase. `start` is the step resumed from: rows after it, of a killed run, are dropped. Of several processes one writes them."""

  def __init__(
    self,
    folder: Path,
    label: str,
    total: int,
    start: int,
    flops_per_token: float,
    tensorboard: bool = False,
  ):
    self.label, self.total, self.flops_per_token = label, total, flops_per_token
    self._start, self._began = start, time.monotonic()
    self._tokens, self._printed = 0, 0.0
    path = folder / 'metrics.jsonl'
    if not console.is_quiet:
      kept = (
        [line for line in path.read_text(errors='replace').splitlines() if _step(line) <= start]
        if path.exists()
        else []
      )
      temporary = path.with_suffix('.writing')
      temporary.write_text(''.join(line + '\n' for line in kept))
      os.replace(temporary, path)  # a kill leaves the old rows or the new
    self._file = (path if not console.is_quiet else Path(os.devnull)).open('a')
    self._writer = None
    if tensorboard and not console.is_quiet:
      from tensorboardX import SummaryWriter  # an extra, whose absence the config's check has named

      # its files are named by the second: one that goes on within it would overwrite the first
      self._writer = SummaryWriter(
        str(folder / 'tensorboard'), purge_step=start + 1, filename_suffix=f'.{start}'
      )

  def log(self, step: int, values: dict[str, float], tokens: int) -> None:
    """Records the numbers of one update (1-based `step`); `tokens` are those processed, padding included."""
    if console.is_quiet:
      return
    now = time.monotonic()
    self._tokens += tokens
    pace = (now - self._began) / max(1, step - self._start)
    tokens_per_s = self._tokens / max(1e-9, now - self._began)
    row = {
      'step': step,
      **values,
      'tokens_per_s': round(tokens_per_s, 1),
      'seconds': round(now - self._began, 3),
    }
    self._file.write(json.dumps(row) + '\n')
    if self._writer:
      for key, value in values.items():
        self._writer.add_scalar(key, value, step)
    last = step == self.total
    if last or now - self._printed > (0.5 if sys.stderr.isatty() else 15):
      self._file.flush()
      self._printed = now
      text = (
        f'{self.label}  step {step}/{self.total}  loss {values["loss"]:.3f}  acc {values["accuracy"]:.3f}  lr {values["lr"]:.2e}  '
        f'{tokens_per_s:,.0f} tok/s  {tokens_per_s * self.flops_per_token / 1e9:,.1f} GFLOP/s  ETA {duration(pace * (self.total - step))}'
      )
      if sys.stderr.isatty():
        bar = '#' * (20 * step // self.total)
        print(f'\r\x1b[K[{bar:<20}] {text}', end='\n' if last else '', file=sys.stderr, flush=True)
      else:
        print(text, file=sys.stderr, flush=True)

  def flush(self) -> None:
    self._file.flush()

  def close(self) -> None:
    self._file.close()
    if self._writer:
      self._writer.close()


def _step(line: str) -> float:
  try:
    return float(json.loads(line)['step'])
  except (ValueError, KeyError, TypeError):  # the torn last line of a killed run
    return float('inf')
