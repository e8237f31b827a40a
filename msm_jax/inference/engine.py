"""One thread that owns the models: whoever has requests hands them in, from any thread or event loop, and they share the batches.

Also how programs that talk to models (chat, server, Inspect) open them: arms of a workdir, or a folder of Hugging Face.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msm_jax.base.errors import ConfigError
from msm_jax.inference.completion import Completion, Piece, Request, RequestError
from msm_jax.inference.open_model import open_arm, open_weights, trained_arms
from msm_jax.inference.sampling import Sampler

Listener = Callable[[Piece], None]
WAITING = 1024  # requests; more are refused


class Busy(RequestError):
  """Too many requests wait already."""


class Closed(RequestError):
  """The engine has ended."""


class Engine:
  """Answers requests to several models, each with batches of its own, in turns.

  A listener is called in the engine's thread, so it hands on what it gets and returns; its last piece has a finish_reason.
  """

  def __init__(self, samplers: Mapping[str, Sampler]):
    self.samplers = dict(samplers)
    self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    self._listeners: dict[Completion, Listener] = {}
    self._open = 0  # requests handed in and not done
    self._lock = threading.Lock()
    self._closed = False
    self._thread = threading.Thread(target=self._work, name='msm_jax engine', daemon=True)
    self._thread.start()

  @property
  def alive(self) -> bool:
    return self._thread.is_alive()

  def submit(self, model: str, request: Request, listener: Listener) -> Completion:
    """Raises RequestError at once; what goes wrong later comes as a piece."""
    completion = self.samplers[model].completion(request)

    def take() -> None:
      self._listeners[completion] = listener
      self.samplers[model].waiting.append(completion)

    with self._lock:
      if self._closed:
        raise Closed('the engine has ended; start it again')
      if self._open >= WAITING:
        raise Busy(f'{WAITING} requests wait already; try again later')
      self._open += 1
      self._inbox.put(take)  # before the end, which `close` puts
    return completion

  def cancel(self, model: str, completion: Completion) -> None:
    """Frees the row; the listener hears no more. Does nothing for what is done."""

    def take() -> None:
      self.samplers[model].cancel(completion)
      self._forget(completion)

    self._inbox.put(take)

  def close(self) -> None:
    """Ends the thread after the round that it is in; what is open ends with an error."""
    with self._lock:
      self._closed = True
      self._inbox.put(None)
    self._thread.join()

  def _forget(self, completion: Completion) -> Listener | None:
    listener = self._listeners.pop(completion, None)
    if listener:
      with self._lock:
        self._open -= 1
    return listener

  def _work(self) -> None:
    while True:
      busy = [s for s in self.samplers.values() if s.busy]
      while not (busy and self._inbox.empty()):
        job = self._inbox.get()
        if job is None:
          for sampler in self.samplers.values():
            self._fail(
              sampler, Closed('the engine ended before the answer did; ask again when it is back')
            )
          return
        job()
        busy = [s for s in self.samplers.values() if s.busy]
      for sampler in busy:
        try:
          pieces = sampler.round()
        except Exception as e:  # whatever it is, those who wait are told, and the next ones find an engine that works
          logging.getLogger(__name__).exception('a batch failed')
          self._fail(sampler, e)
          continue
        for completion, piece in pieces:
          listener = (
            self._forget(completion) if piece.finish_reason else self._listeners.get(completion)
          )
          if listener:
            self._tell(listener, piece)

  def _fail(self, sampler: Sampler, error: Exception) -> None:
    lost = [c for c in self._listeners if c in sampler.open]
    sampler.reset()
    for completion in lost:
      completion.error, completion.finish_reason = error, 'error'
      if listener := self._forget(completion):
        self._tell(listener, Piece('', (), 'error'))

  def _tell(self, listener: Listener, piece: Piece) -> None:
    with contextlib.suppress(RuntimeError):  # its event loop is closed: nobody is there to hear it
      listener(piece)


# ---- how programs open models


def open_samplers(
  workdir: str | None,
  arms: Sequence[str],
  seed: int,
  weights: str | None,
  dtype: str | None = None,
  max_length: int = 0,
  max_rows: int = 32,
) -> tuple[dict[str, Sampler], list[str]]:
  """(name -> sampler, a line about each). Raises one-line errors for what cannot be opened."""
  import jax

  if bool(workdir) == bool(weights):
    raise ConfigError('give either --workdir=DIR with --arm=NAME, or --weights=FOLDER')
  if weights:
    opened = [
      open_weights(
        weights, dtype=dtype or ('float32' if jax.default_backend() == 'cpu' else 'bfloat16')
      )
    ]
  else:
    if not arms:
      raise ConfigError(f'give --arm=NAME; {workdir} has {", ".join(trained_arms(workdir))}')
    opened = [open_arm(workdir, arm, seed) for arm in arms]
  names = [Path(weights).name] if weights else arms
  samplers = {
    name: Sampler(o.model, o.params, o.tokenizer, max_length, max_rows)
    for name, o in zip(names, opened, strict=True)
  }
  return samplers, [o.description for o in opened]
