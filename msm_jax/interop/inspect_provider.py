"""Inspect (https://inspect.aisi.org.uk) runs any of its tasks against an arm of an experiment, or a folder of Hugging Face:

  inspect eval TASK --model msm_jax/runs/cheese:msm_aft
  inspect eval TASK --model msm_jax/path/to/weights

Model arguments (-M name=value): seed of the arm, max_length, max_batch, dtype. The entry point in pyproject.toml makes Inspect find this module.
"""

import functools
import os
import time
from pathlib import Path
from typing import Any

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
  TopLogprob,
  modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from msm_jax.base.errors import explain

LOOK = 0.02  # seconds between looks at whether an answer is there
# Settings that would change answers and that nothing here honours, with the values that ask for nothing.
FOREIGN = {
  'frequency_penalty': (None, 0), 'presence_penalty': (None, 0), 'logit_bias': (None, {}), 'top_k': (None,), 'best_of': (None, 1),
  'response_schema': (None,), 'prompt_logprobs': (None,), 'extra_body': (None, {}),
}  # fmt: skip


@functools.lru_cache
def opened(
  model: str, seed: int, max_length: int, max_batch: int, dtype: str | None
) -> tuple[Any, str]:
  """(engine, name in it); opened once in a process, so that evaluations that run side by side share the batches."""
  # JAX comes with these: Inspect imports this module whichever model it is asked for.
  from msm_jax.inference.engine import Engine
  from msm_jax.inference.open_model import open_samplers

  workdir, colon, arm = model.rpartition(':')
  is_arm = bool(colon) and not Path(model).is_dir()
  try:
    samplers, _ = open_samplers(
      workdir if is_arm else None,
      [arm] if is_arm else [],
      seed,
      None if is_arm else model,
      dtype,
      max_length,
      max_batch,
    )
  except Exception as e:
    if explained := explain(e):
      from inspect_ai._util.error import (
        PrerequisiteError,  # what Inspect shows as one line; it has no public name
      )

      raise PrerequisiteError(explained[0]) from None
    raise
  return Engine(samplers), next(iter(samplers))


class MsmJaxAPI(ModelAPI):
  """Calls that run at the same time share the device's batches."""

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
  ):
    super().__init__(model_name, base_url, api_key, [], config)
    self.max_batch = int(max_batch)
    self.engine, self.name = opened(model_name, int(seed), int(max_length), self.max_batch, dtype)
    self.sampler = self.engine.samplers[self.name]

  def max_connections(self) -> int:
    return self.max_batch

  def connection_key(self) -> str:
    return self.model_name

  async def count_text_tokens(self, text: str) -> int:
    return len(await self.tokenize(text))

  async def tokenize(self, text: str) -> list[int]:
    return list(self.sampler.tokenizer.encode(text))

  async def generate(
    self,
    input: list[ChatMessage],
    tools: list[ToolInfo],
    tool_choice: ToolChoice,
    config: GenerateConfig,
  ) -> ModelOutput:
    """Raises ValueError for what these models cannot do."""
    from msm_jax.inference.completion import TooLong

    if tools:
      raise ValueError(
        f'{self.model_name} calls no tools (the task offers {tools[0].name}); take a task, or a solver, without them'
      )
    for name, neutral in FOREIGN.items():
      if (value := getattr(config, name, None)) not in neutral:
        raise ValueError(f'{name}={value!r} is not done by msm_jax models; leave it out')
    began = time.monotonic()
    prompt = self.sampler.tokenizer.prompt([said(m) for m in input]).tolist()
    try:
      completions = await self.complete(requests(prompt, config, self.sampler.max_length))
    except TooLong as e:
      return ModelOutput.from_content(self.model_name, str(e), stop_reason='model_length')
    made = sum(c.made for c in completions)
    return ModelOutput(
      model=self.model_name,
      choices=[self.choice(c, bool(config.logprobs)) for c in completions],
      usage=ModelUsage(
        input_tokens=len(prompt), output_tokens=made, total_tokens=len(prompt) + made
      ),
      time=time.monotonic() - began,
    )

  async def complete(self, wanted: list[Any]) -> list[Any]:
    """Completions of requests, in their order. When the caller is cancelled, so are they."""
    completions: list[Any] = []
    try:
      for request in wanted:
        completions.append(self.engine.submit(self.name, request, lambda piece: None))
      while not all(c.finish_reason for c in completions):
        await anyio.sleep(LOOK)
    finally:
      for c in completions:
        self.engine.cancel(self.name, c)
    if failed := [c for c in completions if c.error]:
      raise failed[0].error
    return completions

  def choice(self, completion: Any, logprobs: bool) -> ChatCompletionChoice:
    full = completion.made == completion.request.max_tokens
    reason = (
      'stop' if completion.finish_reason == 'stop' else 'max_tokens' if full else 'model_length'
    )
    return ChatCompletionChoice(
      message=ChatMessageAssistant(
        content=completion.text, model=self.model_name, source='generate'
      ),
      stop_reason=reason,
      logprobs=Logprobs(content=[self.logprob(t) for t in completion.tokens]) if logprobs else None,
    )

  def logprob(self, token: Any) -> Logprob:
    top = [TopLogprob(token=self.sampler.token_text(i), logprob=x) for i, x in token.top]
    return Logprob(
      token=self.sampler.token_text(token.id), logprob=token.logprob, top_logprobs=top or None
    )


def said(message: ChatMessage) -> tuple[str, str]:
  """(role, text). Raises ValueError for what is no text, and for what tools say."""
  if message.role == 'tool' or getattr(message, 'tool_calls', None):
    raise ValueError('msm_jax models call no tools; take a task, or a solver, without them')
  if not isinstance(message.content, str) and (
    other := [c.type for c in message.content if c.type not in ('text', 'reasoning')]
  ):
    raise ValueError(f'msm_jax models read text alone, and a message has {other[0]}')
  return message.role, message.text


def requests(prompt: list[int], config: GenerateConfig, max_length: int) -> list[Any]:
  from msm_jax.inference.completion import Request, seeds

  settings = dict(
    max_tokens=config.max_tokens or max_length,
    temperature=1.0 if config.temperature is None else config.temperature,
    top_p=1.0 if config.top_p is None else config.top_p,
    stop=tuple(config.stop_seqs or ()),
    top_logprobs=(config.top_logprobs or 0) if config.logprobs else 0,
  )
  seed = int.from_bytes(os.urandom(4)) if config.seed is None else config.seed
  return [Request(prompt, seed=s, **settings) for s in seeds(seed, config.num_choices or 1)]


@modelapi(name='msm_jax')
def msm_jax() -> type[ModelAPI]:
  return MsmJaxAPI
