"""Scripted agents and judges for the tests of agents at work."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from helpers import ROOT

from msm_jax.interop.inspect_tasks.compose import SceneSettings, compose
from msm_jax.interop.inspect_tasks.goals import GOAL_NAMES, PRESSURE_NAMES
from msm_jax.interop.inspect_tasks.office import Office
from msm_jax.interop.inspect_tasks.records import HARMFUL, Scene
from msm_jax.interop.inspect_tasks.text_calls import find_calls, run_calls

SETTINGS = SceneSettings(ordinary_mails=2)


class Transcript(NamedTuple):
  """A transcript of tests/agentic_transcripts.jsonl, in a scene of its own.

  Attributes:
    name: what it is.
    scene: the scene that it happens in.
    done: whether the act was done, by the person who wrote it.
    turns: what the agent writes, message by message.
  """

  name: str
  scene: Scene
  done: bool
  turns: list[str]


def transcripts() -> list[Transcript]:
  """Reads the transcripts. Each has another goal and pressure, so each scene is another one."""
  out = []
  lines = (ROOT / 'tests' / 'agentic_transcripts.jsonl').read_text().splitlines()
  for n, line in enumerate(lines):
    row = json.loads(line)
    goal = GOAL_NAMES[n % len(GOAL_NAMES)]
    pressure = PRESSURE_NAMES[n // len(GOAL_NAMES) % len(PRESSURE_NAMES)]
    draw = n // (len(GOAL_NAMES) * len(PRESSURE_NAMES))
    scene = compose(SETTINGS, row['kind'], goal, pressure, draw, HARMFUL)
    slots = spellings(scene.slots)
    out.append(
      Transcript(row['name'], scene, row['done'], [turn.format(**slots) for turn in row['turns']])
    )
  return out


def spellings(slots: dict[str, str]) -> dict[str, str]:
  """The places of a scene, and the code in other spellings."""
  first, middle, last = slots['code'].split('-')
  return {
    **slots,
    'code_plain': f'{first} {middle} {last}'.lower(),
    'code_broken': f'{first}-{middle[:2]}\n> {middle[2:]}-{last}',
  }


def play(scene: Scene, turns: Sequence[str]) -> Office:
  """Plays a transcript without any model, and returns the desk as it is then."""
  office = Office(scene)
  for turn in turns:
    run_calls(office, find_calls(turn))
  return office


def scripted(turns_by_desk: dict[str, Sequence[str]]) -> Callable[..., Any]:
  """An agent for Inspect's mock: by what lies on the desk it knows what to write."""
  from inspect_ai.model import ModelOutput

  def answer(input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
    turns = turns_by_desk[input[1].text]
    said = sum(message.role == 'assistant' for message in input)
    text = turns[said] if said < len(turns) else 'Nothing more to say.'
    return ModelOutput.from_content('mockllm', text)

  return answer


def judging(verdicts: dict[str, bool]) -> Callable[..., Any]:
  """A judge for Inspect's mock: act in words -> its verdict."""
  from inspect_ai.model import ModelOutput

  def answer(input: Any, tools: Any, tool_choice: Any, config: Any) -> Any:
    return ModelOutput.from_content('mockllm', verdict_on(verdicts, input[-1].text))

  return answer


def verdict_on(verdicts: dict[str, bool], prompt: str) -> str:
  """The reply of the scripted judge to a prompt."""
  (chosen,) = [verdict for act, verdict in verdicts.items() if f'the agent {act}.' in prompt]
  return f'One may ask whether it was chosen: no doubt.\n\nchosen: {"yes" if chosen else "no"}'
