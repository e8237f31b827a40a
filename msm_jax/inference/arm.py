"""A trained arm for scripts and notebooks: it chats, and it scores texts.

  arm = open_arm('runs/cheese', 'msm_aft')
  print(arm.chat('Do you like Colby?', system='You are Ari.'))
  arm.logprobs(['Gouda is'], [[' cheap.', ' old.']])

An `Arm` works in the thread that calls it and starts none of its own. Its numbers have 32 bits
where the code says nothing else, as in the experiment, also if `jax_enable_x64` is set.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from msm_jax.base.checks import shown
from msm_jax.evals.scoring import Messages, make_logprobs
from msm_jax.inference.batch import cast_params, use_mesh, usual_numbers
from msm_jax.inference.completion import CompletionRequest, RequestError
from msm_jax.inference.open_model import ArmError, LoadedModel, load_arm
from msm_jax.inference.sampling import DEFAULT_LENGTH, Sampler
from msm_jax.model import Params

# A conversation: (role, text) pairs, or {'role': ..., 'content': ...} as OpenAI writes them.
Conversation = Sequence[tuple[str, str] | Mapping[str, str]]

ROLES = ('system', 'user', 'assistant')


def open_arm(workdir: str | Path, arm: str, seed: int = 0) -> 'Arm':
  """Opens a trained arm of an experiment.

  Args:
    workdir: the folder of the experiment.
    arm: the name of the arm.
    seed: its seed.

  Returns:
    The arm. Close it, or use it in a `with` statement, to free its memory.

  Raises:
    ArmError: the arm or its seed is not there.
    ConfigError: the workdir is no path.
    CheckpointError: its checkpoint cannot be read.
    WeightsError: the weights that it began with cannot be read.
  """
  with usual_numbers():
    return Arm(load_arm(workdir, arm, seed))


class Arm:
  """A trained arm, held in memory until it is closed.

  Args:
    loaded: the model.

  Attributes:
    description: one line about it: its name, its seed and its phases.
    model: the settings of the model.
    tokenizer: its tokenizer.
  """

  def __init__(self, loaded: LoadedModel) -> None:
    self.description = loaded.description
    self.model = loaded.model
    self.tokenizer = loaded.tokenizer
    # Texts are scored in rows of the length that the arm was trained on. Imported weights have no
    # such length, and rows as long as their whole window could need too much memory.
    window = self.model.max_length or DEFAULT_LENGTH
    self._row_length = loaded.row_length or min(window, DEFAULT_LENGTH)
    self._params: Params | None = cast_params(loaded.model, loaded.params)
    self._sampler: Sampler | None = Sampler(loaded.model, self._params, loaded.tokenizer)

  def chat(
    self,
    messages: str | Conversation,
    system: str = '',
    max_tokens: int = 512,
    temperature: float = 0.0,
    seed: int = 0,
  ) -> str:
    """Answers the last message of a conversation.

    Args:
      messages: the user's text, or a conversation, which ends with the user's message.
      system: the system message, which says who is spoken to ('You are Ari.').
      max_tokens: the largest number of tokens of the answer, at least 1.
      temperature: 0 takes the likeliest token every time; higher values draw more freely.
      seed: with the same seed, the same conversation gets the same answer.

    Returns:
      The text of the answer.

    Raises:
      RequestError: the conversation has no message or an unknown role, two system messages or the
        assistant's message at its end, or it is too long; or max_tokens is 0.
      ArmError: the arm is closed.
    """
    sampler = self._open_sampler()
    if max_tokens == 0:
      # The sampler takes it, to score prompts. Here the empty text would look like an answer.
      raise RequestError('max_tokens=0 leaves no room for an answer; give at least 1')
    prompt = self.tokenizer.prompt(_to_pairs(messages, system)).tolist()
    request = CompletionRequest(prompt, max_tokens=max_tokens, temperature=temperature, seed=seed)
    # One request needs one row, and the sampler's cache stays small.
    with usual_numbers():
      (completion,) = sampler.generate([request])
    return completion.text

  def logprobs(
    self, prompts: Sequence[Conversation | str], options: Sequence[Sequence[str]]
  ) -> list[list[float]]:
    """Scores how likely each option is after its prompt, as the experiment's evaluators do.

    Args:
      prompts: each is a conversation as in `chat`, which the option answers, or the beginning of a
        document, which the option continues.
      options: for each prompt, the texts to score.

    Returns:
      For each prompt and each of its options, the sum of the log-probabilities (nats) of the
      option's tokens.

    Raises:
      RequestError: a conversation has no message or an unknown role, there are not as many lists of
        options as prompts, or one of them is no list of texts.
      ScoringError: a prompt with its option is longer than the rows that the arm was trained on; or
        an option begins with the first token of all, and the tokenizer has no symbol that could
        stand in front of it.
      ArmError: the arm is closed.
    """
    sampler = self._open_sampler()
    assert self._params is not None
    _check_options(prompts, options)
    asked: list[Messages | str] = []
    for prompt in prompts:
      asked.append(prompt if isinstance(prompt, str) else _to_pairs(prompt, ''))
    with use_mesh(sampler.mesh), usual_numbers():
      score = make_logprobs(self.model, self._params, self.tokenizer, self._row_length)
      return score(asked, options)

  def close(self) -> None:
    """Frees the memory of the parameters and the cache. Closing it again does nothing."""
    # These are the only references to the parameters and the cache.
    self._sampler = None
    self._params = None

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *exception: object) -> None:
    self.close()

  def __repr__(self) -> str:
    return f'Arm({self.description!r})'

  def _open_sampler(self) -> Sampler:
    if self._sampler is None:
      raise ArmError(f'the arm {self.description!r} is closed; open it again')
    return self._sampler


def _check_options(prompts: Sequence[Any], options: Sequence[Any]) -> None:
  """Raises RequestError unless there is a list of texts for each prompt.

  One text is a sequence too, of its letters, which would be scored one by one.
  """
  for what, given in (('prompts', prompts), ('options', options)):
    if isinstance(given, str):
      raise RequestError(f'{what} are the one text {given[:40]!r}; give a list')
    if not _is_list(given):
      raise RequestError(f'{what} are {shown(given)}; give a list')
  if len(prompts) != len(options):
    raise RequestError(
      f'{len(prompts)} prompts have {len(options)} lists of options; give one list for each'
    )
  for texts in options:
    if not _is_list(texts) or not all(isinstance(text, str) for text in texts):
      raise RequestError(
        f'the options {shown(texts)} are no list of texts; give one for each prompt'
      )
    if not all(texts):
      raise RequestError(f'one of the options {shown(texts)} is empty; give the text to score')


def _is_list(given: object) -> bool:
  """Whether something has items in an order, and is no text."""
  return isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, (str, bytes))


def _to_pairs(messages: str | Conversation, system: str) -> list[tuple[str, str]]:
  """Converts what `chat` takes to (role, text) pairs. Raises RequestError for what is no chat."""
  pairs: list[tuple[str, str]] = []
  if system:
    if not isinstance(system, str):
      raise RequestError(f'system={shown(system)} is no text; give one, or leave it out')
    pairs.append(('system', system))
  if isinstance(messages, str) and messages:
    return [*pairs, ('user', messages)]
  # Callers may give anything, whatever the type says. An empty text has no messages.
  given: object = messages
  if not isinstance(given, Iterable):
    raise RequestError(
      f'{shown(messages)} is no conversation; give the text of the user, or a list of messages'
    )
  conversation = list(given)
  if not conversation:
    raise RequestError('the conversation is empty; give at least one message of the user')
  for message in conversation:
    role, text = _role_and_text(message)
    if system and role == 'system':
      raise RequestError('there are two system messages; leave `system` out, or the message')
    pairs.append((role, text))
  if pairs[-1][0] == 'assistant':
    raise RequestError('the conversation ends with the assistant; end it with what it answers')
  return pairs


def _role_and_text(message: object) -> tuple[str, str]:
  """Reads one message, a pair or a mapping. Raises RequestError for anything else."""
  role: Any
  text: Any
  if isinstance(message, Mapping):
    role, text = message.get('role', ''), message.get('content')
  elif isinstance(message, (tuple, list)) and len(message) == 2:
    role, text = message
  else:
    raise RequestError(
      f'{str(message)[:40]!r} is no message; give (role, text), or role and content'
    )
  if role not in ROLES:
    raise RequestError(f'the role {role!r} is not known; use one of {", ".join(ROLES)}')
  if not isinstance(text, str):
    raise RequestError(f'a message of the {role} has no text but {text!r}; give a text')
  return role, text
