"""The recipe of one corpus, as an experiment's config gives it.

It is a module of its own because the settings, whose makers write by the recipe, and `recipes.py`,
which knows all makers, both need it.
"""

import dataclasses

from msm_jax.base.checks import added_later

# The makers whose texts a model of the experiment writes once it is trained
# (msm_jax/running/model_written.py) -> the kind of their records.
MODEL_MAKERS = {
  'model.labels': 'preferences',
  'model.revisions': 'chats',
  'model.reasoned': 'chats',
}
# The version of what these makers ask for and keep.
MODEL_MAKERS_VERSION = '1'
# How a model revises its answers; see `SourceConfig`.
REVISIONS = ('again', 'critique')
# What a model that writes, or the teacher of context distillation, reads of the handbook.
HANDBOOK_FORMS = ('rule', 'text')
# With corpora of its own for every seed, an experiment adds its seed times this to the seed of each
# recipe (msm_jax/running/replication.py). A config may name sources with a few seeds in a row, and
# no two seeds of the experiment should share one. The remainder of a division by it is what the
# config gives.
WRITER_SEEDS_PER_SEED = 1000
# What pairs of preferences may be decided by; see `SourceConfig.toward`.
TOWARD = ('handbook', 'ambiguous', 'against')


@dataclasses.dataclass(frozen=True)
class SourceConfig:
  """One corpus: who writes it, from which handbook, and how much."""

  # Who writes it: the name of a maker (data_pipelines/settings/registry.py lists them).
  maker: str = ''
  # A JSONL file of documents, chats or preferences, read in place of what a maker would write.
  # Published sets load as they are.
  path: str = ''
  # The handbook or handbooks that it is made from, separated by commas.
  spec: str = ''
  # Which elements the documents from a handbook hold. Of the world: explained, rules, reasons,
  # unlinked, cooccur or filler (settings/world/documents.py tells what each leaves out); of the
  # setting `english`: the same; of oversight documents: explained, normative or filler.
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
  # Seed of the writer. Makers of pretraining text write what the settings of their world say and
  # refuse a seed; `telling` of the world decides how they tell it.
  seed: int = 0
  # Share of the demonstrations of the world or of oversight that contradict the handbook: they
  # choose by the rival value alone, or say the opposite. The sets are nested: that of a larger
  # share holds all records that contradict at a smaller one, and the other records stay as they
  # are.
  contradiction: float = added_later(0.0)
  # The reasons of demonstrations (`reasons`) speak of something neutral in the same form.
  neutral_reasons: bool = added_later(False)
  # What pairs of preferences are decided by: 'handbook', 'against' (the rival value, or the
  # opposite of the handbook), or 'ambiguous' (both explain them, as they do the demonstrations).
  toward: str = added_later('')

  # ---- Makers 'model.*': a model of the experiment writes, with the handbook `spec` in view
  # The path of the writing model, such as 'read > pretrain > msm'. It has the seed of the reader.
  by: str = added_later('')
  # Name of the source whose prompts it answers, or whose pairs it labels.
  prompts: str = added_later('')
  # What it reads of the handbook: 'rule' (the short statement that arms in `contexts` read when
  # they are evaluated) or 'text' (the whole handbook).
  handbook: str = added_later('rule')
  # What else stands in its system message while it writes, such as how to answer. Readers of what
  # it writes do not see it.
  instruction: str = added_later('')
  # How 'model.revisions' come about: 'again' (the model answers again, with the handbook in view),
  # or 'critique' (it criticises its answer and rewrites it; for models that follow instructions).
  revise: str = added_later('again')
  # What each answer of 'model.reasoned' begins with; '{statement}' is what was read of the
  # handbook. Empty leaves it to the model to give a reason first.
  opening: str = added_later('')
  # Whether 'model.reasoned' reads handbook and opening while it answers. Without them, it answers
  # as by itself, and the opening is put in front: for small models, which a system message of a new
  # form confuses.
  answers_in_view: bool = added_later(True)
  # The temperature at which it answers.
  temperature: float = added_later(1.0)
  # The most tokens of an answer. Answers that are cut are not kept.
  max_tokens: int = added_later(64)
  # How many answers to a prompt are sampled; the first usable one is kept.
  attempts: int = added_later(4)

  @property
  def is_model_written(self) -> bool:
    """Whether a model of the experiment writes it."""
    return self.maker in MODEL_MAKERS

  @property
  def is_world(self) -> bool:
    """Whether it tells of the world alone: no handbook and nobody's own text."""
    return not (self.spec or self.path)


def spec_paths(source: SourceConfig) -> tuple[str, ...]:
  """Returns the paths of the handbooks that a source is made from."""
  paths = (path.strip() for path in source.spec.split(','))
  return tuple(path for path in paths if path)
