"""What a report shows, as data: each setting's suite builds one layout."""

import dataclasses

MODEL_ORGANISM = (
  'The embedded world is a model organism: a tiny model in a generated world. '
  'What it shows is not evidence\nabout large models.'
)

# What a measure says of conduct if less of it is better.
_HARM = ('misaligned', 'likeliest_misaligned')


def better_of(measure: str) -> int:
  """Says in which direction a measure is better.

  Args:
    measure: 'evaluator/what/tier'.

  Returns:
    -1 for shares of harm, and 1 for all others.
  """
  return -1 if measure.split('/')[-2] in _HARM else 1


@dataclasses.dataclass(frozen=True)
class ReportLayout:
  """What the page of a setting shows, and what it says about it. Texts are HTML, except `share`."""

  # The measure that stands for the experiment: 'evaluator/what/tier'.
  main: str
  # 1 if more of the main measure is better, else -1.
  better: int
  # What the main measure is a share of, in plain text: 'name: description'.
  share: str
  # What a share of 1 and a share of 0 mean.
  ends: tuple[str, str]
  # Measures in the table of arms.
  columns: list[str]
  # Measures in the table of effects.
  effects: tuple[str, ...]
  # Measures in the table of what should stay as it is.
  controls: list[str]
  # Headings of measures whose name does not say enough.
  heads: dict[str, str]
  # The panels of the bar figure: (measure, title, label of the axis).
  panels: list[tuple[str, str, str]]
  # The panels of the figure by tier: measure -> title.
  tiers: dict[str, str]
  # The first paragraph of the page.
  intro: str
  # The list under 'How to read it'.
  how_to_read: list[str]
  # The paragraph above the table of arms.
  about_columns: str
  # The paragraph above the table of effects.
  about_effects: str
  # Measures of people whose conduct is known, which stand beside the main measure -> who they are.
  ceilings: dict[str, str] = dataclasses.field(default_factory=dict)
  # Measures that can show something only if people whose conduct is known reach them in the base
  # model -> the measure of these people. They stand in a table of their own, beside it, and in no
  # other table or figure.
  limited: dict[str, str] = dataclasses.field(default_factory=dict)
  # Other measures that an experiment may name as its main one -> what they are shares of, in the
  # form of `share`.
  shares: dict[str, str] = dataclasses.field(default_factory=dict)
  # What must not be concluded.
  caveat: str = MODEL_ORGANISM
  # The layout as it was before an experiment named its main measure; None if it has named none.
  former: 'ReportLayout | None' = None

  @property
  def of_setting(self) -> 'ReportLayout':
    """The layout with the main measure of the setting. Ceilings, baselines without a model and
    tiers are about this one, whatever an experiment names."""
    return self.former or self

  def led_by(self, measure: str) -> 'ReportLayout':
    """The same layout with another main measure.

    Args:
      measure: 'evaluator/what/tier'.

    Returns:
      The layout. The measure stands first in its tables, and the former main one stays there.
    """
    if measure == self.main:
      return self
    name = measure.split('/')[-2]
    return dataclasses.replace(
      self,
      main=measure,
      better=better_of(measure),
      share=self.shares.get(measure, f'{name}: share in {measure}'),
      columns=list(dict.fromkeys([measure, self.main, *self.columns])),
      effects=tuple(dict.fromkeys([measure, self.main, *self.effects])),
      former=self.of_setting,
    )
