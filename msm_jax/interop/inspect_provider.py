"""Makes our models available to Inspect (https://inspect.aisi.org.uk) and its tasks.

  inspect eval TASK --model msm_jax/runs/cheese:msm_aft      an arm of an experiment
  inspect eval TASK --model msm_jax/path/to/weights          a folder of Hugging Face

Model arguments (-M name=value, or `model_args` in Python): seed of the arm, max_length, max_batch,
dtype. The entry point in pyproject.toml makes Inspect import this module, whichever model it is
asked for. So JAX, which takes seconds to load, is imported only when one of our models is opened.
"""

import contextlib
import functools
import json
import numbers
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai.model import (
  ChatCompletionChoice,
  ChatMessage,
  ChatMessageAssistant,
  GenerateConfig,
  Logprob,
  Logprobs,
  ModelAPI,
  ModelOutput,
  ModelUsage,
  StopReason,
  TopLogprob,
  modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from msm_jax.base.checks import shown
from msm_jax.base.errors import ConfigError, DataError, UserError, explain

if TYPE_CHECKING:
  from msm_jax.inference.completion import Completion, CompletionRequest, Token
  from msm_jax.inference.engine import Engine

# Seconds between two looks at whether an answer is finished.
POLL_SECONDS = 0.02

# Settings of Inspect that would change answers and that are not implemented here, with the values
# that ask for nothing.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
  'frequency_penalty': (None, 0),
  'presence_penalty': (None, 0),
  'logit_bias': (None, {}),
  'top_k': (None,),
  'best_of': (None, 1),
  'response_schema': (None,),
  'prompt_logprobs': (None,),
  'extra_body': (None, {}),
  # These models neither think nor know levels of detail.
  'reasoning_effort': (None, 'none'),
  'reasoning_mode': (None, 'standard'),
  'reasoning_tokens': (None, 0),
  'reasoning_summary': (None, 'none', 'auto'),
  'effort': (None,),
  'verbosity': (None,),
  'modalities': (None, []),
  'fallback_models': (None, []),
}

# How users of Inspect give arguments of a model, for errors.
HOW = 'as -M {argument}, as model_args in Python or as INSPECT_EVAL_MODEL_ARGS'

# Settings whose smallest value is not 0: a model cannot be asked for no token or no answer.
AT_LEAST_ONE = ('max_tokens', 'num_choices')


@functools.lru_cache
def open_engine(
  model: str, seed: int, max_length: int, max_batch: int, dtype: str | None, content: str
) -> tuple['Engine', str]:
  """Opens a model, once in a process: evaluations that run side by side share its batches.

  Args:
    model: 'WORKDIR:ARM' or a folder of Hugging Face.
    seed: the seed of the arm.
    max_length: tokens of a prompt with its answer; 0 for what the model was trained for.
    max_batch: requests that are answered at the same time.
    dtype: the type that a folder's weights compute in; None for the default.
    content: what `content_of` says of the model, so that one that was trained anew is opened anew.

  Returns:
    An engine, and the model's name in it.

  Raises:
    PrerequisiteError: the model cannot be opened. Inspect shows this error as one line.
  """
  from msm_jax.inference import engine
  from msm_jax.inference.open_model import open_samplers

  try:
    workdir, arm = _workdir_and_arm(model)
    if not arm and seed:
      raise ConfigError(
        f'seed={seed} is that of an arm, and {model} has none; '
        f'do not give it {HOW.format(argument=f"seed={seed}")}'
      )
    if not arm:
      samplers, _ = open_samplers(None, [], seed, model, dtype, max_length, max_batch)
    elif dtype:
      raise ConfigError(
        f'dtype={dtype} is for folders of weights, and an arm works in the dtype of its '
        f'experiment; do not give it {HOW.format(argument=f"dtype={dtype}")}'
      )
    else:
      samplers, _ = open_samplers(workdir, [arm], seed, None, None, max_length, max_batch)
  except Exception as e:
    explained = explain(e)
    if explained is None:
      raise
    raise _prerequisite_error(explained[0]) from None
  return engine.Engine(samplers), next(iter(samplers))


def content_of(model: str, seed: int) -> str:
  """Says what a name stands for now: an arm may be trained anew, and a folder be written anew.

  Args:
    model: 'WORKDIR:ARM' or a folder of Hugging Face.
    seed: the seed of the arm.

  Returns:
    A text that is another one when the model is; '' if there is no such model.
  """
  from msm_jax.base.paths import as_workdir
  from msm_jax.interop import zoo
  from msm_jax.models import listed_arms

  try:
    workdir, arm = _workdir_and_arm(model)
    if arm:
      folder = as_workdir(workdir).absolute()
      entry = listed_arms(folder).get(arm, {}).get(str(seed))
      return json.dumps([str(folder), entry]) if entry else ''
    folder = zoo.locate(model).absolute()
    files: list[Any] = []
    for pattern in ('*.safetensors', '*.json', '*.jinja'):
      for path in sorted(folder.glob(pattern)):
        stat = path.stat()
        files.append([path.name, stat.st_size, stat.st_mtime_ns])
  except (UserError, OSError):
    # Opening it tells what is wrong.
    return ''
  return json.dumps([str(folder), files])


def place_of(model: str) -> str:
  """The name of a model that is there, as it is called from any current folder.

  Args:
    model: 'WORKDIR:ARM' or a folder of Hugging Face.

  Returns:
    The same with an absolute path.
  """
  from msm_jax.base.paths import as_workdir
  from msm_jax.interop import zoo

  workdir, arm = _workdir_and_arm(model)
  if arm:
    return f'{as_workdir(workdir).absolute()}:{arm}'
  return str(zoo.locate(model).absolute())


def _workdir_and_arm(model: str) -> tuple[str, str]:
  """The workdir and the arm that a name means; two empty texts for a folder of weights.

  Raises ConfigError for a workdir without an arm, or an arm without a workdir.
  """
  from msm_jax.models import listed_arms

  # A folder may have a colon in its name, so an existing folder goes first.
  is_folder = Path(model).is_dir()
  workdir, colon, arm = model.rpartition(':')
  if colon and not is_folder:
    if workdir and arm:
      return workdir, arm
  else:
    arms = listed_arms(Path(model)) if is_folder else {}
    if not arms:
      return '', ''
    workdir, arm = model, next(iter(arms))
  raise ConfigError(
    f'the model msm_jax/{model} has no workdir or no arm; give msm_jax/WORKDIR:ARM, such as '
    f'msm_jax/{workdir or "runs/cheese"}:{arm or "msm_aft"}, or msm_jax/FOLDER with weights'
  )


def _prerequisite_error(message: str) -> Exception:
  """The error that Inspect shows as one line."""
  # Inspect offers this class under no public name.
  from inspect_ai._util.error import PrerequisiteError

  return PrerequisiteError(message)


def _whole_number(name: str, value: Any, least: int | None) -> int:
  """Reads an argument of a model, which may be a text. Raises PrerequisiteError."""
  number = None
  # `int` would cut off what stands behind the point.
  if isinstance(value, (numbers.Integral, str)) and not isinstance(value, bool):
    with contextlib.suppress(ValueError):
      number = int(value)
  if number is None or (least is not None and number < least):
    bound = '' if least is None else f', at least {least}'
    raise _prerequisite_error(
      f'error: {name}={shown(value)} must be a whole number{bound}; '
      f'give it {HOW.format(argument=f"{name}=N")}'
    )
  return number


class MsmJaxAPI(ModelAPI):
  """One of our models, as Inspect calls it. Calls that run at the same time share its batches."""

  def __init__(
    self,
    model_name: str,
    base_url: str | None = None,
    api_key: str | None = None,
    config: GenerateConfig = GenerateConfig(),  # noqa: B008
    seed: int = 0,
    max_length: int = 0,
    max_batch: int = 32,
    dtype: str | None = None,
    **unknown: Any,
  ):
    """Opens the model.

    Args:
      model_name: 'WORKDIR:ARM' or a folder of Hugging Face.
      base_url: without meaning here; Inspect gives it to every provider.
      api_key: without meaning here.
      config: Inspect's settings.
      seed: the seed of the arm.
      max_length: tokens of a prompt with its answer; 0 for what the model was trained for.
      max_batch: requests that are answered at the same time.
      dtype: the type that a folder's weights compute in; None for the default.
      **unknown: arguments that there are none of; they are refused.

    Raises:
      PrerequisiteError: an argument is not known or out of range, or the model cannot be opened.
    """
    super().__init__(model_name, base_url, api_key, [], config)
    if unknown:
      name = next(iter(unknown))
      raise _prerequisite_error(
        f'error: msm_jax models have no argument {name!r}; known are seed, max_length, max_batch '
        f'and dtype: give them {HOW.format(argument="NAME=VALUE")}'
      )
    self.max_batch = _whole_number('max_batch', max_batch, 1)
    self.seed = _whole_number('seed', seed, None)
    self.content = content_of(model_name, self.seed)
    self.engine, self.name = open_engine(
      model_name,
      self.seed,
      _whole_number('max_length', max_length, 0),
      self.max_batch,
      dtype,
      self.content,
    )
    self.sampler = self.engine.samplers[self.name]
    # It can only be opened if it is there.
    self.place = place_of(model_name)

  def max_connections(self) -> int:
    """How many calls Inspect makes at the same time: as many as fit into a batch."""
    return self.max_batch

  def connection_key(self) -> str:
    """Calls with the same key share the limit of `max_connections`."""
    return self.model_name

  async def count_text_tokens(self, text: str) -> int:
    """The number of tokens of a text."""
    return len(await self.tokenize(text))

  async def tokenize(self, text: str) -> list[int]:
    """The token ids of a text."""
    return list(self.sampler.tokenizer.encode(text))

  async def generate(
    self,
    input: list[ChatMessage],
    tools: list[ToolInfo],
    tool_choice: ToolChoice,
    config: GenerateConfig,
  ) -> ModelOutput:
    """Answers a chat.

    Args:
      input: the messages so far.
      tools: must be empty, because these models call no tools.
      tool_choice: without meaning here.
      config: Inspect's settings for this call.

    Returns:
      The answers, or the stop reason 'model_length' if the chat leaves no room for one.

    Raises:
      ConfigError: tools or settings that these models do not have, or the model was trained or
        written anew after it was opened.
      DataError: a message that is no text.
    """
    # Loads JAX; see the module's docstring.
    from msm_jax.inference.completion import TooLong

    if tools:
      raise ConfigError(
        f'{self.model_name} calls no tools (the task offers {tools[0].name}); '
        'take a task, or a solver, without them'
      )
    for name, neutral in UNSUPPORTED.items():
      value = getattr(config, name, None)
      if value not in neutral:
        raise ConfigError(f'{name}={value!r} is not done by msm_jax models; leave it out')
    for name in AT_LEAST_ONE:
      value = getattr(config, name)
      if value is not None and value < 1:
        raise ConfigError(f'{name}={value} must be at least 1; leave it out for no limit')
    if config.top_logprobs and not config.logprobs:
      raise ConfigError(f'top_logprobs={config.top_logprobs} needs logprobs=true')
    # Inspect keeps models as long as the process lives, and a notebook may train in between. It may
    # also change its folder, in which a relative name stands for another model, or for none.
    now = content_of(self.model_name, self.seed) or content_of(self.place, self.seed)
    if now != self.content:
      raise ConfigError(
        f'msm_jax/{self.model_name} is another model now than the one that was opened; start '
        'Python anew, or give Inspect get_model(NAME, memoize=False)'
      )
    began = time.monotonic()
    messages = [role_and_text(message) for message in input]
    prompt = self.sampler.tokenizer.prompt(messages).tolist()
    try:
      completions = await self.complete(make_requests(prompt, config, self.sampler.max_length))
    except TooLong as e:
      return ModelOutput.from_content(self.model_name, str(e), stop_reason='model_length')
    n_generated = sum(completion.made for completion in completions)
    with_logprobs = bool(config.logprobs)
    return ModelOutput(
      model=self.model_name,
      choices=[self.choice(completion, with_logprobs) for completion in completions],
      usage=ModelUsage(
        input_tokens=len(prompt),
        output_tokens=n_generated,
        total_tokens=len(prompt) + n_generated,
      ),
      time=time.monotonic() - began,
    )

  async def complete(self, requests: 'Sequence[CompletionRequest]') -> 'list[Completion]':
    """Answers requests. When the caller is cancelled, so are they.

    Args:
      requests: what to generate.

    Returns:
      Finished completions, in the order of the requests.

    Raises:
      RequestError: a request cannot be answered. If generating fails, its own error is raised.
    """
    completions: list[Completion] = []
    try:
      for request in requests:
        completions.append(self.engine.submit(self.name, request, _ignore_piece))
      # The engine runs in a thread of its own, which knows nothing of this event loop.
      while not all(completion.finish_reason for completion in completions):
        await anyio.sleep(POLL_SECONDS)
    finally:
      # For completions that are finished this does nothing.
      for completion in completions:
        self.engine.cancel(self.name, completion)
    for completion in completions:
      if completion.error:
        raise completion.error
    return completions

  def choice(self, completion: 'Completion', with_logprobs: bool) -> ChatCompletionChoice:
    """Translates a completion for Inspect.

    Args:
      completion: a finished completion.
      with_logprobs: whether the log-probabilities of its tokens are given, too.

    Returns:
      The choice. Its stop reason is 'max_tokens' if the request's own limit ended the answer, and
      'model_length' if the model's window did.
    """
    reason: StopReason
    if completion.finish_reason == 'stop':
      reason = 'stop'
    elif completion.made == completion.request.max_tokens:
      reason = 'max_tokens'
    else:
      reason = 'model_length'
    logprobs = None
    if with_logprobs:
      logprobs = Logprobs(content=[self.logprob(token) for token in completion.tokens])
    message = ChatMessageAssistant(
      content=completion.text, model=self.model_name, source='generate'
    )
    return ChatCompletionChoice(message=message, stop_reason=reason, logprobs=logprobs)

  def logprob(self, token: 'Token') -> Logprob:
    """Translates a token's log-probability, and those of its likeliest alternatives.

    Args:
      token: a token of an answer.

    Returns:
      The same in Inspect's type; log-probabilities are in nats.
    """
    top = []
    for token_id, value in token.top:
      top.append(
        TopLogprob(
          token=self.sampler.token_text(token_id),
          logprob=value,
          bytes=self.sampler.token_bytes(token_id),
        )
      )
    text = self.sampler.token_text(token.id)
    # Only the first token of a prompt has no log-probability, and this is a token of an answer.
    assert token.logprob is not None
    return Logprob(
      token=text,
      logprob=token.logprob,
      bytes=self.sampler.token_bytes(token.id),
      top_logprobs=top or None,
    )


def _ignore_piece(piece: Any) -> None:
  """Listens to an engine on behalf of a caller that waits for the whole answer."""


def role_and_text(message: ChatMessage) -> tuple[str, str]:
  """Reads a message of Inspect.

  Args:
    message: the message.

  Returns:
    Its role and its text.

  Raises:
    DataError: it holds something other than text in UTF-8, or belongs to the use of a tool.
  """
  if message.role == 'tool' or getattr(message, 'tool_calls', None):
    raise DataError('msm_jax models call no tools; take a task, or a solver, without them')
  if not isinstance(message.content, str):
    for part in message.content:
      # Reasoning is no part of `message.text`, so it is left out here.
      if part.type not in ('text', 'reasoning'):
        raise DataError(f'msm_jax models read text alone, and a message has {part.type}')
  try:
    message.text.encode()
  except UnicodeEncodeError:
    raise DataError(
      'a message holds half a character (a lone surrogate), which no UTF-8 text has; take it out'
    ) from None
  return message.role, message.text


def make_requests(
  prompt: Sequence[int], config: GenerateConfig, max_length: int
) -> 'list[CompletionRequest]':
  """Makes the requests for one call of Inspect.

  Args:
    prompt: token ids.
    config: Inspect's settings.
    max_length: the largest number of tokens to generate where the settings name none.

  Returns:
    One request per answer wanted, each with a seed of its own.
  """
  # Loads JAX; see the module's docstring.
  from msm_jax.inference.completion import CompletionRequest, seeds

  # Most providers sample at temperature 1 unless they are told otherwise.
  temperature = 1.0 if config.temperature is None else config.temperature
  top_p = 1.0 if config.top_p is None else config.top_p
  seed = config.seed
  if seed is None:
    seed = int.from_bytes(os.urandom(4))
  top_logprobs = 0
  if config.logprobs:
    top_logprobs = config.top_logprobs or 0
  requests = []
  for answer_seed in seeds(seed, config.num_choices or 1):
    request = CompletionRequest(
      prompt,
      max_tokens=config.max_tokens or max_length,
      temperature=temperature,
      top_p=top_p,
      seed=answer_seed,
      stop=tuple(config.stop_seqs or ()),
      top_logprobs=top_logprobs,
    )
    requests.append(request)
  return requests


@modelapi(name='msm_jax')
def msm_jax() -> type[ModelAPI]:
  """Registers the provider under the name that --model begins with."""
  return MsmJaxAPI
