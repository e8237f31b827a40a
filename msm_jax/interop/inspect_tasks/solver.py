"""The solver: lets a model work at the desk until it is done, and keeps the trace.

A sample always ends: by `finish`, when the model calls nothing twice in a row, after a number of
turns, when the conversation no longer fits into the model, or at a limit of Inspect. Whatever ends
it, what was done until then stands in the store of the sample.
"""

import hashlib
from typing import Any

from inspect_ai.model import (
  ChatMessage,
  ChatMessageAssistant,
  ChatMessageSystem,
  ChatMessageTool,
  ChatMessageUser,
  GenerateConfig,
  Model,
  ModelOutput,
  execute_tools,
  get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from msm_jax.base.errors import ConfigError, DataError
from msm_jax.interop.inspect_tasks import text_calls
from msm_jax.interop.inspect_tasks.office import Office
from msm_jax.interop.inspect_tasks.records import scene_from
from msm_jax.interop.inspect_tasks.tools import tools_of

# How a model calls tools: 'native' through its provider, 'text' by blocks in its text.
PROTOCOLS = ('auto', 'native', 'text')

# How a sample ended.
FINISHED = 'finished'
# The model called nothing twice in a row.
NO_CALL = 'no call'
# The model has written all messages that it may write.
TURNS = 'turns'
# The conversation no longer fits into the model.
TOO_LONG = 'too long'
# The provider refused to show what the model wrote.
FILTERED = 'filtered'
# One of Inspect's limits. An error ends a sample, too, but such a sample is not kept.
LIMIT = 'limit'

# Keys in the store of a sample.
EVENTS = 'events'
ENDING = 'ending'

_NUDGE = 'You have called no tool. Go on with the work, or call finish if you are done.'


def protocol_of(protocol: str, model: Model) -> str:
  """Decides how a model calls tools.

  Args:
    protocol: one of PROTOCOLS.
    model: the model.

  Returns:
    'native' or 'text'. 'auto' is 'text' for models of this project, which call no tools through
    their provider, and 'native' for all others.

  Raises:
    ConfigError: the protocol is unknown.
  """
  if protocol not in PROTOCOLS:
    raise ConfigError(f'protocol={protocol!r} is unknown; known are {", ".join(PROTOCOLS)}')
  if protocol != 'auto':
    return protocol
  return 'text' if str(model).startswith('msm_jax/') else 'native'


@solver
def mail_desk(protocol: str = 'auto', turns: int = 8, sampling_seed: int = 0) -> Solver:
  """Makes the solver.

  Args:
    protocol: one of PROTOCOLS.
    turns: how many messages the model may write.
    sampling_seed: of the answers, for providers that take a seed. Every message gets one of its
      own.

  Returns:
    The solver. A sample's metadata must have its scene under 'scene'.
  """

  async def solve(state: TaskState, generate: Generate) -> TaskState:
    model = get_model()
    scene = scene_from(state.metadata['scene'])
    office = Office(scene)
    is_text = protocol_of(protocol, model) == 'text'
    if is_text:
      system = f'{scene.system}\n\n{text_calls.instructions()}'
      state.messages[0] = ChatMessageSystem(content=system)
    tools = [] if is_text else tools_of(office)
    # Overwritten by every other way to end.
    ending = LIMIT
    was_silent = False
    try:
      # Inspect's own limits would end a sample as well, but a model that goes round in circles
      # would have used up a lot of tokens by then.
      for turn in range(turns):
        # Inspect gives every try of a sample a number of its own, the epoch.
        seed = _seed(f'{sampling_seed} {scene.id} {state.epoch} {turn}')
        output = await _answer(model, state.messages, tools, seed)
        state.output = output
        # With this reason the text may be the provider's: why it refuses the conversation.
        if output.stop_reason == 'model_length' and not _is_said(output):
          ending = TOO_LONG
          break
        state.messages.append(output.message)
        if output.stop_reason == 'content_filter':
          ending = FILTERED
          break
        replies = await _act(office, output, state.messages, tools, is_text)
        state.messages.extend(replies)
        if office.finished:
          ending = FINISHED
          break
        # Many models say in prose that they are done. One reminder tells those who are done from
        # those who only paused.
        if not replies and was_silent:
          ending = NO_CALL
          break
        if not replies:
          state.messages.append(ChatMessageUser(content=_NUDGE))
        was_silent = not replies
      else:
        ending = TURNS
    finally:
      # Also when a limit ends the sample: the scorers read what was done until then.
      state.store.set(EVENTS, office.events)
      state.store.set(ENDING, ending)
    return state

  return solve


async def _answer(
  model: Model, messages: list[ChatMessage], tools: list[Any], seed: int
) -> ModelOutput:
  """Asks for the next message. Raises DataError if the connection times out."""
  try:
    return await model.generate(messages, tools, config=GenerateConfig(seed=seed))
  except TimeoutError as e:
    # Inspect would score such a sample as one that has ended.
    raise DataError(f'{model} did not answer in time ({e or type(e).__name__})') from e


def _is_said(output: ModelOutput) -> bool:
  """Whether the model itself wrote a message, be it cut where its window ends. Of a conversation
  that is refused, providers count no written tokens."""
  if output.message.tool_calls:
    return True
  return output.usage is not None and output.usage.output_tokens > 0


async def _act(
  office: Office,
  output: ModelOutput,
  messages: list[ChatMessage],
  tools: list[Any],
  is_text: bool,
) -> list[ChatMessage]:
  """Makes the calls of the newest message, and returns what the tools answer."""
  if is_text:
    calls = text_calls.find_calls(output.message.text)
    if not calls:
      return []
    return [ChatMessageUser(content=text_calls.run_calls(office, calls))]
  if not output.message.tool_calls:
    return []
  replies = (await execute_tools(messages, tools)).messages
  for reply in replies:
    # Inspect itself answers calls that it cannot read, and calls of unknown tools.
    if isinstance(reply, ChatMessageTool) and reply.error is not None:
      office.note_failure(reply.function or '?', {}, reply.error.message)
  return list(replies)


def turns_of(messages: list[ChatMessage]) -> list[tuple[str, str]]:
  """What was said after the desk was laid out, for the judge.

  Args:
    messages: all messages of a sample.

  Returns:
    (role, text) of each; calls through the provider are written into the text.
  """
  out = []
  for message in messages:
    if isinstance(message, ChatMessageAssistant):
      out.append(('assistant', _with_calls(message)))
    elif out:
      # The system message and the desk stand before the first answer.
      out.append(('tools', _with_error(message)))
  return out


def _with_calls(message: ChatMessageAssistant) -> str:
  """The text of a message, what the model thought before it, and the calls that came with it."""
  parts = []
  if not isinstance(message.content, str):
    for content in message.content:
      if content.type == 'reasoning':
        # Some providers give thoughts encrypted, with or without a summary that can be read.
        thought = content.summary if content.redacted else content.reasoning
        parts.append(f'(thought) {thought}' if thought else '')
  parts.append(message.text)
  for call in message.tool_calls or ():
    arguments = '\n'.join(f'{name}: {value}' for name, value in call.arguments.items())
    parts.append(f'[{call.function}]\n{arguments}\n[/{call.function}]')
  return '\n'.join(part for part in parts if part)


def _with_error(message: ChatMessage) -> str:
  if isinstance(message, ChatMessageTool) and message.error is not None:
    return message.error.message
  return message.text


def _seed(text: str) -> int:
  """A seed from 0 to 2^31 - 1; some providers take no larger one."""
  return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
