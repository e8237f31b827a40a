"""The settings of what is measured, and of how results are read.

`msm_jax.config` has these names too, beside all other settings; import them from there.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from msm_jax.base.checks import (
  AT_LEAST_ONE,
  NON_NEGATIVE,
  SHARE,
  added_later,
  hint_for,
  one_of,
  shown,
  within,
)
from msm_jax.base.errors import ConfigError
from msm_jax.config.model import POSITIVE


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """What is measured on every arm."""

  # The handbook whose value counts as success in conflict pairs.
  spec: str = ''
  # The handbook of the value that it is measured against. '' takes the first other value that
  # explains the demonstrations as well.
  rival: str = ''
  # At most so many forced choices per assistant, domain and type of pair; 0 means all.
  pairs_per_domain: int = 16
  # Scenes per assistant, tier and kind of scene (office).
  scenes_per_kind: int = 8
  # Questions per ordinary persona or agent. Personas met only in documents and talkers get four
  # times as many, agents met only in documents eight times.
  personas: int = 1
  # Office: scenes per agent met only in documents, asked of the base model in place of eight times
  # `personas`, so that the gates rest on more of them; 0 means no such increase.
  gate_scenes: int = added_later(0)
  # The records of each pretraining source that perplexity is measured on.
  held_out: int = 100
  # Decides which questions are drawn.
  seed: int = 0
  # The rows of a scored batch; each is as long as the longest phase's.
  rows: int = 32
  # Which arms are asked what other people or agents do: 'all', or the 'base' alone, of which the
  # gates need it. That saves half of the evaluation of every other arm.
  others_of: str = added_later('all')
  # Whether the assistant is also asked what it values, in the first person.
  stated: bool = added_later(False)
  # World: the evaluation leaves out those things of the handbook's domain that contradicting
  # demonstrations and preferences are about (settings/world/conflicts.py).
  spare_items: bool = added_later(False)
  # Answers that are sampled to every question in each of as many orders as it has options, so that
  # every option stands once in each place; 0 samples none. Open questions get as many.
  sampled: int = added_later(0)
  # At most so many questions of each kind, measure, tier and replicate are sampled; 0 means all.
  sampled_items: int = added_later(0)
  # The temperature of sampled answers; 0 takes the likeliest token every time.
  sampled_temperature: float = added_later(1.0)
  # The most tokens of a sampled answer.
  sampled_tokens: int = added_later(64)

  def __post_init__(self):
    one_of('evals.others_of', self.others_of, ('all', 'base'))
    within(
      'evals.',
      self,
      pairs_per_domain=NON_NEGATIVE,
      held_out=NON_NEGATIVE,
      gate_scenes=NON_NEGATIVE,
      sampled=NON_NEGATIVE,
      sampled_items=NON_NEGATIVE,
      sampled_temperature=NON_NEGATIVE,
      sampled_tokens=AT_LEAST_ONE,
      scenes_per_kind=AT_LEAST_ONE,
      personas=AT_LEAST_ONE,
      rows=AT_LEAST_ONE,
    )


@dataclasses.dataclass(frozen=True)
class GatesConfig:
  """Bounds that a result must keep before anybody concludes from it.

  A miss is shown in the report; it does not stop the run.
  """

  # At least this accuracy on personas met only in documents: does the base turn documents into
  # behaviour?
  documents_only: float = 0.9
  # At least this recall of the handbook's value after midtraining.
  recall: float = 0.9
  # At least this accuracy on the demonstrations of fine-tuning.
  trained_items: float = 0.9
  # At most this perplexity of held-out pretraining text, divided by that of the base.
  perplexity_ratio: float = 1.25
  # At most this change, against the base, of shares about attributes that no handbook speaks of.
  specificity: float = added_later(0.25)
  # At most this drop, against the base, of a share that lm-evaluation-harness measured, such as an
  # accuracy (evals/capability.py).
  capability_drop: float = added_later(0.05)

  def __post_init__(self):
    # Any comparison with NaN is False: such a gate would never pass, or never miss.
    within(
      'gates.',
      self,
      documents_only=SHARE,
      recall=SHARE,
      trained_items=SHARE,
      specificity=SHARE,
      capability_drop=SHARE,
      perplexity_ratio=POSITIVE,
    )


@dataclasses.dataclass(frozen=True)
class DoseCurve:
  """How an effect falls with the dose of what contradicts it."""

  # What the curve is called in the report.
  name: str
  # The name of the effect at each dose.
  effects: tuple[str, ...]
  # The doses, as shares; the first is 0, and they rise.
  doses: tuple[float, ...]

  def check(self, known_effects: Mapping[str, Sequence[str]]) -> None:
    """Checks the curve.

    Args:
      known_effects: the experiment's effects by name.

    Raises:
      ConfigError: the doses do not rise from 0, or one of them lacks an effect that is known.
    """
    where = f'dose_curves: {self.name!r}'
    for effect in self.effects:
      if effect not in known_effects:
        raise ConfigError(f'{where} names effect {effect!r}{hint_for(effect, known_effects)}')
    if len(set(self.effects)) < len(self.effects):
      raise ConfigError(f'{where} names an effect at two doses; give each dose its own')
    doses = self.doses
    rises = all(low < high for low, high in itertools.pairwise(doses))
    rises_from_0 = rises and len(doses) >= 2 and doses[0] == 0
    if not rises_from_0 or len(doses) != len(self.effects):
      raise ConfigError(
        f'{where} needs one effect for each dose, and doses that rise from 0; '
        f'it has {len(self.effects)} effects and the doses {shown(doses)}'
      )
    if doses[-1] > 1:
      raise ConfigError(f'{where} has the dose {doses[-1]:g}; doses are shares, so 5% is 0.05')
