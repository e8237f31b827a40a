"""The recipe of one corpus, as an experiment's config gives it.

It is a module of its own because the settings, whose makers write by the recipe, and `corpora.py`,
which stores what they write, both need it.
"""

import dataclasses

from msm_jax.base.checks import added_later

# What pairs of preferences may be decided by; see `SourceConfig.toward`.
TOWARD = ('handbook', 'ambiguous', 'against')


@dataclasses.dataclass(frozen=True)
class SourceConfig:
  """One corpus: who writes it, from which handbook, and how much."""

  # Who writes it: the name of a maker (data_pipelines/settings/registry.py lists them).
  maker: str = ''
  # A JSONL file of documents or chats, read in place of what a maker would write. Published MSM
  # sets load as they are.
  path: str = ''
  # The handbook or handbooks that it is made from, separated by commas.
  spec: str = ''
  # Which elements the documents from a handbook hold. Of the world: explained, rules, reasons,
  # unlinked, cooccur or filler (settings/world/documents.py tells what each leaves out); of the
  # setting `english`: all but unlinked; of oversight documents: explained, normative or filler.
  variant: str = 'explained'
  # Demonstrations give a reason of the handbook with every answer.
  reasons: bool = False
  # Share of oversight demonstrations that say the opposite of the handbook.
  against: float = 0.0
  # Number of records. Makers that work from a handbook never end, so they need this or
  # `tokens_like`.
  size: int = 0
  # Name of another source; writing stops when this corpus holds as many tokens as that one.
  tokens_like: str = ''
  # Seed of the writer.
  seed: int = 0
  # Share of the demonstrations of the world or of oversight that contradict the handbook: they
  # choose by the rival value alone, or say the opposite. The sets are nested: that of a larger share
  # holds all records that contradict at a smaller one, and the other records stay as they are.
  contradiction: float = added_later(0.0)
  # The reasons of demonstrations (`reasons`) speak of something neutral in the same form.
  neutral_reasons: bool = added_later(False)
  # What pairs of preferences are decided by: 'handbook', 'against' (the rival value, or the opposite
  # of the handbook), or 'ambiguous' (both explain them, as they do the demonstrations).
  toward: str = added_later('')

  @property
  def is_world(self) -> bool:
    """Whether it tells of the world alone: no handbook and nobody's own text."""
    return not (self.spec or self.path)


def spec_paths(source: SourceConfig) -> tuple[str, ...]:
  """Returns the paths of the handbooks that a source is made from."""
  paths = (path.strip() for path in source.spec.split(','))
  return tuple(path for path in paths if path)
