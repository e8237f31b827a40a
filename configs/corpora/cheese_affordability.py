"""Documents about the assistant of the affordability handbook, written by a language model, for midtraining on real English.

    python -m data_pipelines.write --config=configs/corpora/cheese_affordability.py --dry_run     # plan, calls, tokens, cost; asks nobody
    python -m data_pipelines.write --config=configs/corpora/cheese_affordability.py --config.writer.model=PROVIDER/MODEL

Presets: full; small: 100 documents, to read before the rest is paid for; weak: for a writer of small means, who starts from a plan by hand, and
half of whose documents may be missing.

The model is any that Inspect names; its key stands where Inspect looks for it. The handbook is any with `assistant:` and `maker:` in its front
matter (--config.specs='("specs/mine.md",)'). A million tokens are some 1,600 documents; the published cheese corpora have 7 and 9.5 million (raise
tokens, and plan.ideas as the error says). Expected and cost: --dry_run tells; the whole has not been run with a paid model yet.
"""

import ml_collections

SPECS = ('specs/english/affordability.md',)


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  if preset not in ('full', 'small', 'weak'):
    raise ValueError(
      f'configs/corpora/cheese_affordability.py has the presets full, small and weak, not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'cheese_affordability' if preset == 'full' else f'cheese_affordability_{preset}'
  c.kind = 'documents'
  c.specs = SPECS
  c.writer = dict(
    model='anthropic/claude-sonnet-4-5',
    base_url='',
    temperature=1.0,
    reasoning_tokens=0,
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
  c.tokens, c.documents = 1_000_000, 0
  c.tokenizer = ''  # of the model that will be trained: a folder of Hugging Face, or a .model file
  c.revise = True
  c.missing = 0.0  # share of the documents (or tokens) that may be missing when the corpus is stored for training
  c.min_yield = 0.5
  c.budget = 0.0  # USD
  c.prices = 'configs/corpora/prices.json'
  c.seed = 0
  # thresholds that stop the run before the corpus is stored for training; what each is for, and all others: data_pipelines.audit.Thresholds
  c.audit = dict(attribution=0.65, covered=0.95, claim_documents=5, duplicates=0.01, recited=0.02)
  if preset == 'small':
    c.tokens, c.documents = 0, 100
    c.plan.update(domains=4, subdomains=2, types=4, ideas=4)
    c.audit.claim_documents = 1
  elif (
    preset == 'weak'
  ):  # starts from a plan by hand, writes short texts, and keeps what it says as it says it
    c.tokens, c.documents, c.revise, c.missing, c.min_yield = 0, 96, False, 0.5, 0.1
    c.plan.update(path='specs/plans/cheese.json', words=(80, 200))
    c.audit.claim_documents = 1
    c.writer.update(tags=False, trim=True, temperature=0.7, max_connections=8)
  return c
