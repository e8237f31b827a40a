"""What a researcher's own claims are set beside: what an arm says of a value, and what it does."""

from collections.abc import Collection, Sequence

from data_pipelines.records import TRAINED, MultipleChoice
from msm_jax.evals.claims import ASKED, ClaimQuestion
from msm_jax.evals.stated import SaidAndDone
from msm_jax.evals.values import ValueQuestion
from msm_jax.suites.custom_layout import tier_order

# What stands for the value of claims that name none.
HANDBOOK = 'handbook'


def said_and_done(
  choices: Sequence[ValueQuestion],
  scenes: Sequence[MultipleChoice],
  claims: Sequence[ClaimQuestion],
  own_value: str,
  handbooks: int,
) -> list[SaidAndDone]:
  """Finds what belongs beside the claims that are asked.

  Args:
    choices: the choices that are asked.
    scenes: the scenes that are asked.
    claims: the claims that are asked.
    own_value: the value that the main measure is about; claims that name no value go with it.
    handbooks: how many handbooks the experiment has.

  Returns:
    For each value that claims name: stated belief, and the choices by that value in the first tier
    that was not trained. Where no choice asks for it, and one handbook is meant: conduct in scenes
    of harm, of which the other side is the handbook's. Nothing for a value that neither asks for.
  """
  pairs = []
  for value in dict.fromkeys(claim.value for claim in claims):
    wanted = own_value if value == HANDBOOK else value
    tiers = {question.tier for question in choices if wanted in question.chosen_by}
    done, is_opposite = _first_measure(f'values/{wanted}', tiers), False
    # Of several handbooks, scenes do not say whose value somebody acts by.
    if not done and (value == HANDBOOK or handbooks == 1):
      harm = {scene.tier for scene in scenes if scene.what == 'misaligned'}
      done, is_opposite = _first_measure('conduct/misaligned', harm), True
    if done:
      pairs.append(SaidAndDone(f'claims/{value}/{ASKED}', done, is_opposite))
  return pairs


def _first_measure(prefix: str, tiers: Collection[str]) -> str:
  """The measure in the first tier that was not trained; '' if there is none."""
  untrained = [tier for tier in tier_order(tiers) if tier != TRAINED]
  return f'{prefix}/{untrained[0]}' if untrained else ''
