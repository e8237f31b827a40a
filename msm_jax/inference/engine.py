"""The engine: one thread that owns the models, so that any number of threads can use them.

Whoever has a request submits it, from any thread or event loop. Requests that arrive at about the
same time share the batches of a sampler. The server and the Inspect provider work this way.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping

from msm_jax.inference.completion import Completion, CompletionRequest, Piece, RequestError
from msm_jax.inference.sampling import Sampler

# Receives the pieces of one answer.
Listener = Callable[[Piece], None]

# Requests that may be unfinished at the same time; more are refused.
MAX_UNFINISHED = 1024


class EngineBusy(RequestError):
  """Too many requests are unfinished."""


class EngineClosed(RequestError):
  """The engine has ended."""


class Engine:
  """Answers requests to several models, each with batches of its own, in turns.

  A listener is called in the engine's thread, so it must only pass on what it gets and return. Its
  last piece has a finish_reason.

  Args:
    samplers: name of a model -> its sampler. From now on only the engine may use the samplers.
  """

  def __init__(self, samplers: Mapping[str, Sampler]) -> None:
    self.samplers = dict(samplers)
    # Jobs run in the engine's thread, one after the other; None ends it.
    self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    # Only the engine's thread uses the listeners.
    self._listeners: dict[Completion, Listener] = {}
    self._unfinished = 0
    self._closed = False
    # Guards `_unfinished` and `_closed`, which several threads use.
    self._lock = threading.Lock()
    self._thread = threading.Thread(target=self._work, name='msm_jax engine', daemon=True)
    self._thread.start()

  @property
  def alive(self) -> bool:
    return self._thread.is_alive()

  def submit(self, model: str, request: CompletionRequest, listener: Listener) -> Completion:
    """Starts to answer a request.

    Args:
      model: the name of a sampler.
      request: the request.
      listener: is called with every new part of the answer.

    Returns:
      The completion, which the engine's thread fills in. An error after this call comes as the last
      piece, with the finish_reason 'error'.

    Raises:
      RequestError: the request cannot be answered; EngineBusy if too many others are unfinished,
        EngineClosed if the engine has ended.
    """
    # This reads only settings of the sampler that never change, so any thread may do it.
    completion = self.samplers[model].new_completion(request)

    def start() -> None:
      self._listeners[completion] = listener
      self.samplers[model].waiting.append(completion)

    with self._lock:
      if self._closed:
        raise EngineClosed('the engine has ended; start it again')
      if self._unfinished >= MAX_UNFINISHED:
        raise EngineBusy(f'{MAX_UNFINISHED} requests wait already; try again later')
      self._unfinished += 1
      # Inside the lock, so that no job can come after the None of `close`.
      self._inbox.put(start)
    return completion

  def cancel(self, model: str, completion: Completion) -> None:
    """Frees the row of a completion; its listener is not called again.

    Finished completions are left alone.

    Args:
      model: the name of its sampler.
      completion: the completion that nobody needs any more.
    """

    def stop() -> None:
      self.samplers[model].cancel(completion)
      self._remove_listener(completion)

    # In the inbox, it comes after the job that starts the completion.
    self._inbox.put(stop)

  def close(self) -> None:
    """Ends the thread after the current round; unfinished requests end with an error."""
    with self._lock:
      self._closed = True
      self._inbox.put(None)
    # The caller may free the models when this returns.
    self._thread.join()

  def _remove_listener(self, completion: Completion) -> Listener | None:
    """Takes the listener of a completion away, which makes room for another request."""
    listener = self._listeners.pop(completion, None)
    if listener is not None:
      with self._lock:
        self._unfinished -= 1
    return listener

  # ---- Everything below runs in the engine's thread.

  def _work(self) -> None:
    while self._run_jobs():
      for sampler in self._busy_samplers():
        self._run_round(sampler)
    # Everybody who still waits hears that nothing more will come.
    for sampler in self.samplers.values():
      error = EngineClosed('the engine ended before the answer did; ask again when it is back')
      self._fail(sampler, error)

  def _busy_samplers(self) -> list[Sampler]:
    return [sampler for sampler in self.samplers.values() if sampler.busy]

  def _run_jobs(self) -> bool:
    """Runs the jobs that have arrived, and waits for one if there is nothing else to do.

    Returns:
      False if the engine is to end.
    """
    while not self._busy_samplers() or not self._inbox.empty():
      job = self._inbox.get()
      if job is None:
        return False
      job()
    return True

  def _run_round(self, sampler: Sampler) -> None:
    """Lets a sampler generate some tokens, and reports them."""
    try:
      pieces = sampler.round()
    except Exception as e:
      # Whatever went wrong, those who wait are told, and the engine goes on with the next requests.
      logging.getLogger(__name__).exception('a batch failed')
      self._fail(sampler, e)
      return
    for completion, piece in pieces:
      # The last piece makes room for another request before its listener hears of it.
      if piece.finish_reason:
        listener = self._remove_listener(completion)
      else:
        listener = self._listeners.get(completion)
      if listener is not None:
        self._report(listener, piece)

  def _fail(self, sampler: Sampler, error: Exception) -> None:
    """Ends all unfinished requests of a sampler with an error."""
    unfinished = set(sampler.unfinished)
    lost = [completion for completion in self._listeners if completion in unfinished]
    # The cache may be lost with the program that failed, so the sampler starts anew.
    sampler.reset()
    for completion in lost:
      completion.error = error
      completion.finish_reason = 'error'
      listener = self._remove_listener(completion)
      if listener is not None:
        self._report(listener, Piece('', (), 'error'))

  def _report(self, listener: Listener, piece: Piece) -> None:
    # A listener raises RuntimeError when its event loop is closed: then nobody is there to listen.
    with contextlib.suppress(RuntimeError):
      listener(piece)
