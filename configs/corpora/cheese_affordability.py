r"""Documents about the assistant of the affordability handbook, for midtraining on real English.

    python -m data_pipelines.write --config=configs/corpora/cheese_affordability.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/cheese_affordability.py \
        --config.writer.model=PROVIDER/MODEL

The preset full is the whole corpus. The preset small has 100 documents, to read before the rest
is paid for. The preset weak is for a weak writer: it starts from a plan that was written by hand,
and half of its documents may be missing.

The model is any that Inspect knows; put its key where Inspect looks for it. The handbook is any
with `assistant:` and `maker:` in its front matter (--config.specs='("specs/mine.md",)'). A
million tokens are some 1,600 documents. The published cheese corpora have 7 and 9.5 million
tokens. For as many, raise the setting tokens; if plan.ideas is too small for it, the error says
how many are needed.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. The whole corpus has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora.thresholds import thresholds

SPECS = ('specs/english/affordability.md',)


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'full', 'small' or 'weak'.

  Returns:
    The settings of the corpus.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('full', 'small', 'weak'):
    raise ValueError(
      'configs/corpora/cheese_affordability.py has the presets full, small and weak, '
      f'not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'cheese_affordability'
  if preset != 'full':
    c.name = f'cheese_affordability_{preset}'
  c.kind = 'documents'
  c.specs = SPECS
  c.writer = dict(
    model='anthropic/claude-sonnet-4-5',
    base_url='',
    temperature=1.0,
    reasoning_tokens=0,
    reasoning_effort='',
    max_connections=50,
    batch=0,
    timeout=300,
    attempts=4,
    tags=True,
    trim=False,
  )
  c.plan = dict(
    domains=8,
    subdomains=4,
    claims=6,
    types=8,
    ideas=8,
    words=(250, 900),
    wording='descriptive',
    outsiders=0.5,
    complaints=0.15,
    path='',
  )
  # How much to write is said by one of the two; the other is 0.
  c.tokens = 1_000_000
  c.documents = 0
  # The tokenizer of the model that will be trained: a Hugging Face folder or a .model file.
  # Without one, words and punctuation marks are counted.
  c.tokenizer = ''
  # The writer goes over every document once.
  c.revise = True
  # The share of the documents (or tokens) that may be missing when the corpus is stored for
  # training.
  c.missing = 0.0
  # The run stops early if a smaller share of the first replies can be used.
  c.min_yield = 0.5
  # USD that the run may cost; 0 for no limit.
  c.budget = 0.0
  c.prices = 'configs/corpora/prices.json'
  c.seed = 0
  # Thresholds that stop the run before the corpus is stored for training; others can be set
  # by --config.audit.NAME. What each is for: data_pipelines.audit.Thresholds.
  c.audit = thresholds(
    attribution=0.65, covered=0.95, claim_documents=5, duplicates=0.01, recited=0.02
  )
  if preset == 'small':
    c.tokens = 0
    c.documents = 100
    c.plan.update(domains=4, subdomains=2, types=4, ideas=4)
    c.audit.claim_documents = 1
  elif preset == 'weak':
    # A plan by hand, short texts, and no revision: what the writer says is kept as it says it.
    c.tokens = 0
    c.documents = 96
    c.revise = False
    c.missing = 0.5
    c.min_yield = 0.1
    c.plan.update(path='specs/plans/cheese.json', words=(80, 200))
    c.audit.claim_documents = 1
    c.writer.update(tags=False, trim=True, temperature=0.7, max_connections=8)
  return c
