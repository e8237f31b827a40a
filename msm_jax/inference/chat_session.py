"""A conversation with one or several models: their histories, their answers, and its interruption.

How it looks on a terminal is in `chat_terminal`.
"""

import collections
import os
import signal
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msm_jax.inference.completion import Completion, CompletionRequest
from msm_jax.inference.sampling import Sampler


class Interrupts:
  """Handles Ctrl-C: the first one during an answer stops it; any other raises KeyboardInterrupt.

  Use it as the context of an answer: `with interrupts: ...`.

  Attributes:
    answering: whether an answer is being generated.
    requested: whether Ctrl-C was pressed during the current or the last answer.
  """

  def __init__(self) -> None:
    self.answering = False
    self.requested = False
    signal.signal(signal.SIGINT, self._handle)

  def _handle(self, signum: int, frame: object) -> None:
    if self.requested or not self.answering:
      raise KeyboardInterrupt
    self.requested = True

  def __enter__(self) -> None:
    self.answering = True
    self.requested = False

  def __exit__(self, *exception: object) -> None:
    self.answering = False


class AnswerUpdate(NamedTuple):
  """What is new in one model's answer.

  Attributes:
    model: the number of the model.
    text: the new text.
    is_last: whether the answer is finished.
  """

  model: int
  text: str
  is_last: bool


class ChatSession:
  """One conversation with several models. Each model sees the questions and its own answers.

  Args:
    samplers: name of a model -> its sampler.
    system: the system message, or ''.
    temperature: of the answers; 0 takes the likeliest token.
    top_p: of the answers.
    max_tokens: the largest number of tokens of an answer.

  Attributes:
    histories: name of a model -> the (role, text) messages so far.
  """

  def __init__(
    self,
    samplers: Mapping[str, Sampler],
    system: str,
    temperature: float,
    top_p: float,
    max_tokens: int,
  ) -> None:
    self.samplers = samplers
    self.system = system
    self.temperature = temperature
    self.top_p = top_p
    self.max_tokens = max_tokens
    self.histories: dict[str, list[tuple[str, str]]] = {}
    self.reset()

  def reset(self) -> None:
    """Forgets everything but the system message."""
    for name in self.samplers:
      self.histories[name] = []
      if self.system:
        self.histories[name].append(('system', self.system))

  def answers(self, question: str, interrupts: Interrupts) -> Iterator[AnswerUpdate]:
    """Lets all models answer; they take turns, so that their answers grow together.

    When the iterator ends, question and answers are in the histories.

    Args:
      question: the user's text.
      interrupts: tells when the user wants the answers to stop.

    Yields:
      What is new in one of the answers.

    Raises:
      RequestError: the conversation is too long for a model. The question is forgotten.
    """
    # The models draw with the same random numbers, so that a comparison shows the models.
    seed = int.from_bytes(os.urandom(4))
    completions: dict[str, Completion] = {}
    for name, sampler in self.samplers.items():
      completions[name] = sampler.new_completion(self._request(name, question, seed))
    # No model starts before all have taken the question.
    for name, sampler in self.samplers.items():
      sampler.waiting.append(completions[name])
    turns = collections.deque(enumerate(self.samplers))
    while turns and not interrupts.requested:
      n, name = turns.popleft()
      # Nobody else uses these samplers, so every piece belongs to this question.
      for _, piece in self.samplers[name].round():
        yield AnswerUpdate(n, piece.text, bool(piece.finish_reason))
      if not completions[name].finish_reason:
        turns.append((n, name))
    # An answer that was stopped stays in the history as far as it came.
    for name, sampler in self.samplers.items():
      sampler.cancel(completions[name])
      self.histories[name] += [('user', question), ('assistant', completions[name].text)]

  def _request(self, name: str, question: str, seed: int) -> CompletionRequest:
    prompt = self.samplers[name].tokenizer.prompt([*self.histories[name], ('user', question)])
    return CompletionRequest(
      prompt.tolist(),
      max_tokens=self.max_tokens,
      temperature=self.temperature,
      top_p=self.top_p,
      seed=seed,
    )
