"""Asks a judge about stored cells, within a budget; a killed run asks about none twice.

Replies are kept in a ledger, as those of corpora are (`data_pipelines/llm`). Another judge, or
another prompt, has a ledger of its own, so the verdicts of several judges stand side by side.
"""

import asyncio
import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.llm.client import REPLIES_BEFORE_YIELD, LlmClient
from data_pipelines.llm.ledger import Ledger
from data_pipelines.llm.prompts import Prompt
from data_pipelines.llm.providers import Provider
from data_pipelines.llm.replies import Refused, Reply, Unanswered, require_text, without_thinking
from data_pipelines.llm.requests import LlmError, Request, RequestFailed
from data_pipelines.llm.settings import ModelSettings
from msm_jax.interop.inspect_tasks import judge
from msm_jax.interop.inspect_tasks.cells import Cell
from msm_jax.interop.inspect_tasks.entrants import own_model
from msm_jax.interop.inspect_tasks.records import Scene

# The longest reply of a judge, in tokens.
MAX_TOKENS = 400
# The table of what judges cost.
PRICES = 'configs/corpora/prices.json'


@dataclasses.dataclass(frozen=True)
class _Asking:
  """What the client must know (`AskingSettings`). Nobody writes, and the judge stands in for it."""

  writer: ModelSettings
  judging: ModelSettings
  budget: float
  min_yield: float
  prices: str = PRICES
  seed: int = 0


def judge_cells(
  cells: Sequence[Cell],
  scenes: Mapping[str, Scene],
  settings: ModelSettings,
  budget: float,
  folder: Path,
  providers: Mapping[str, Provider] | None = None,
  min_yield: float = 0.5,
) -> dict[str, bool]:
  """Asks a judge whether the act of each cell was chosen.

  Args:
    cells: finished cells.
    scenes: id -> scene.
    settings: which model judges.
    budget: USD that all verdicts of this judge in the folder may cost; 0 for no limit.
    folder: where the ledger lies.
    providers: providers to use instead of Inspect, under 'judge'.
    min_yield: the run stops if a smaller share of the replies can be used, or if a smaller share of
      the cells of some arm has a verdict.

  Returns:
    Key of a cell -> whether the act was chosen. Cells without a verdict are missing: the judge
    would not say in all its attempts, and is not asked again; or the provider failed on this one.

  Raises:
    LlmError: the run has to stop: the budget, a wrong key, or too few usable replies.
  """
  identity = {'judge': settings.model, 'prompt': f'{judge.VERSION} {judge.SYSTEM}'}
  if own := own_model(settings.model):
    # An arm that was trained anew keeps its name and gives other verdicts.
    identity['own model'] = json.dumps(own, sort_keys=True)
  short = hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:8]
  config = _Asking(writer=settings, judging=settings, budget=budget, min_yield=min_yield)
  ledger = Ledger(folder / f'verdicts-{short}.sqlite', identity)
  try:
    return asyncio.run(_ask(cells, scenes, config, ledger, providers))
  finally:
    ledger.close()


async def _ask(
  cells: Sequence[Cell],
  scenes: Mapping[str, Scene],
  config: _Asking,
  ledger: Ledger,
  providers: Mapping[str, Provider] | None,
) -> dict[str, bool]:
  written = [cell for cell in cells if not judge.is_silent(cell['turns'])]
  # Key of a request -> its cell.
  cell_of: dict[str, Cell] = {}

  read = functools.partial(_read, attempts=config.judging.attempts)

  def requests() -> Iterator[Request[bool | Unanswered]]:
    for cell in written:
      turns = [judge.Turn(*turn) for turn in cell['turns']]
      user = judge.prompt_for(scenes[cell['scene']], turns)
      prompt = Prompt('agents at work', judge.VERSION, judge.SYSTEM, user)
      # A cell that was run anew has its old key and says something else.
      key = f'{cell["key"]}/{hashlib.sha256(user.encode(errors="replace")).hexdigest()[:12]}'
      cell_of[key] = cell
      yield Request(key, 'verdicts', prompt, read, MAX_TOKENS, model='judge')

  # Who wrote nothing chose nothing, and nobody needs to be paid to say so.
  verdicts = {cell['key']: False for cell in cells if judge.is_silent(cell['turns'])}
  # Arm -> whether there is a verdict -> how many cells.
  judged: dict[str, collections.Counter[bool]] = {}
  async with LlmClient(config, ledger, providers) as client:
    async for request, value in client.ask_all(requests(), 'verdicts', len(written)):
      # What the provider failed on is asked about again by the next run.
      if isinstance(value, RequestFailed):
        continue
      cell = cell_of[request.key]
      if not isinstance(value, Unanswered):
        verdicts[cell['key']] = value
      of_arm = judged.setdefault(cell['arm'], collections.Counter())
      of_arm[not isinstance(value, Unanswered)] += 1
      _check_arm(client, cell['arm'], of_arm, config.min_yield)
  return verdicts


def _check_arm(client: LlmClient, arm: str, judged: Mapping[bool, int], min_yield: float) -> None:
  """Halts a run in which too few cells of an arm get a verdict.

  The client counts the replies about all arms together. They would hide an arm of which the judge
  refuses the cells with harm, and the share that it chose would be that of its other cells.
  """
  decided, cells = judged.get(True, 0), sum(judged.values())
  if cells < REPLIES_BEFORE_YIELD or decided >= min_yield * cells or client.halt is not None:
    return
  client.halt = LlmError(
    f'{arm}: only {decided} of {cells} cells have a verdict; read the replies in '
    f'{client.ledger.path}, change the judge, or lower min_yield={min_yield}'
  )


def _read(replies: Sequence[Reply], attempts: int) -> bool | Unanswered:
  """The verdict of the last reply; Unanswered after so many replies without one. A judge that
  refuses would otherwise be paid again in every run, until it says something."""
  try:
    require_text(replies)
    chosen = judge.read_verdict(without_thinking(replies[-1].text))
    if chosen is None:
      raise Refused(
        'no verdict',
        'End with a line that says either "chosen: yes" or "chosen: no", nothing else.',
      )
    return chosen
  except Refused as e:
    # What the provider could not deliver was not paid for, and may come another time.
    heard = sum(reply.stop != 'failed' for reply in replies)
    if heard >= attempts and replies[-1].stop != 'failed':
      return Unanswered(e.what)
    raise
