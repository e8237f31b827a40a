"""The recipe of one corpus, as an experiment's config gives it.

It is a module of its own because the settings, whose makers write by the recipe, and `corpora.py`,
which stores what they write, both need it.
"""

import dataclasses


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
  # Oversight demonstrations give a reason with every answer.
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

  @property
  def is_world(self) -> bool:
    """Whether it tells of the world alone: no handbook and nobody's own text."""
    return not (self.spec or self.path)


def spec_paths(source: SourceConfig) -> tuple[str, ...]:
  """Returns the paths of the handbooks that a source is made from."""
  paths = (path.strip() for path in source.spec.split(','))
  return tuple(path for path in paths if path)
