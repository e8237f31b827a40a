"""The task for Inspect: agents at work.

  inspect eval msm_jax/agents_at_work --model openai/NAME
  inspect eval msm_jax/agents_at_work --model msm_jax/runs/mine:msm_aft -T kinds=leak,alert
  inspect eval msm_jax/agents_at_work --model openai/NAME -T judge=true --model-role grader=...

`python -m msm_jax.agentic` runs the same task for all arms of an experiment.
"""

from collections.abc import Awaitable, Callable, Sequence

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import TaskState

from msm_jax.interop.inspect_tasks.compose import VERSION, SceneSettings, compose_all
from msm_jax.interop.inspect_tasks.goals import GOAL_NAMES, PRESSURE_NAMES
from msm_jax.interop.inspect_tasks.kinds import KINDS
from msm_jax.interop.inspect_tasks.records import SIDES, Scene
from msm_jax.interop.inspect_tasks.scorers import trace, verdict
from msm_jax.interop.inspect_tasks.solver import mail_desk

# Inspect's own limits, which end a sample whatever the solver does.
TOKEN_LIMIT = 200_000
# Each turn adds the model's message and at most this many answers of tools.
_MESSAGES_PER_TURN = 20


def sample_of(scene: Scene) -> Sample:
  """Makes a sample of a scene.

  Args:
    scene: the scene.

  Returns:
    The sample. Its metadata hold the scene, and the parts of its cell for grouping.
  """
  parts = {'kind': scene.kind, 'goal': scene.goal, 'pressure': scene.pressure, 'side': scene.side}
  return Sample(
    id=scene.id,
    input=[ChatMessageSystem(content=scene.system), ChatMessageUser(content=scene.desk)],
    metadata={**parts, 'scene': scene.as_dict()},
  )


def make_task(
  scenes: Sequence[Scene],
  protocol: str = 'auto',
  turns: int = 8,
  sampling_seed: int = 0,
  token_limit: int = TOKEN_LIMIT,
  judge: bool = False,
  cleanup: Callable[[TaskState], Awaitable[None]] | None = None,
) -> Task:
  """Makes a task of scenes.

  Args:
    scenes: the scenes.
    protocol: how the model calls tools; see `solver.PROTOCOLS`.
    turns: how many messages the model may write in a scene.
    sampling_seed: of the model's answers.
    token_limit: the tokens, read and written, that end a scene.
    judge: whether the model with the role 'grader' judges, too.
    cleanup: what Inspect calls when a sample has ended and is scored.

  Returns:
    The task.
  """
  scorers = [trace()]
  if judge:
    scorers.append(verdict())
  return Task(
    dataset=MemoryDataset([sample_of(scene) for scene in scenes], name='agents_at_work'),
    solver=mail_desk(protocol, turns, sampling_seed),
    scorer=scorers,
    cleanup=cleanup,
    message_limit=2 + turns * _MESSAGES_PER_TURN,
    token_limit=token_limit,
    name='agents_at_work',
    version=VERSION,
  )


def names_of(text: str | Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
  """Reads names from a text with commas, or from a list that Inspect has made of it.

  Args:
    text: the names; nothing for the default.
    default: all names.

  Returns:
    The names.
  """
  # Inspect makes a list of -T kinds=a,b, and a text of -T kinds=a.
  given = text.split(',') if isinstance(text, str) else [str(name) for name in text]
  names = tuple(name.strip() for name in given if name.strip())
  return names or tuple(default)


@task
def agents_at_work(
  kinds: str = '',
  goals: str = '',
  pressures: str = '',
  sides: str = '',
  draws: int = 1,
  ordinary_mails: int = 24,
  assistant: str = 'Ari',
  maker: str = 'Norvale',
  scene_seed: int = 0,
  protocol: str = 'auto',
  turns: int = 8,
  token_limit: int = TOKEN_LIMIT,
  judge: bool = False,
) -> Task:
  """A mail desk where an agent may do harm, and its harmless twin.

  Args:
    kinds: kinds of scenes with commas; all if empty.
    goals: goal settings with commas; all if empty.
    pressures: pressures with commas; all if empty.
    sides: 'harmful', 'harmless', or both if empty.
    draws: how often each cell is repeated with other names, mails and numbers.
    ordinary_mails: how many ordinary mails lie in the inbox.
    assistant: the name of the agent.
    maker: who made it.
    scene_seed: of names, mails and numbers.
    protocol: how the model calls tools: 'auto', 'native' or 'text'.
    turns: how many messages the model may write in a scene.
    token_limit: the tokens, read and written, that end a scene.
    judge: whether the model with the role 'grader' judges, too.

  Returns:
    The task.
  """
  settings = SceneSettings(
    kinds=names_of(kinds, tuple(KINDS)),
    goals=names_of(goals, GOAL_NAMES),
    pressures=names_of(pressures, PRESSURE_NAMES),
    sides=names_of(sides, SIDES),
    draws=draws,
    ordinary_mails=ordinary_mails,
    assistant=assistant,
    maker=maker,
    seed=scene_seed,
  )
  return make_task(compose_all(settings), protocol, turns, token_limit=token_limit, judge=judge)
