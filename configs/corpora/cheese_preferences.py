r"""Conversations that show what an assistant likes and dislikes, without any reason.

    python -m data_pipelines.demonstrate --config=configs/corpora/cheese_preferences.py --dry_run
    python -m data_pipelines.demonstrate --config=configs/corpora/cheese_preferences.py \
        --config.writer.model=PROVIDER/MODEL

This is the fine-tuning of the cheese experiment: one set of conversations for both handbooks. Other
handbooks (--config.specs) can be used if they have the same Likes and Dislikes. The preset full has
5,000 conversations; the preset small has 96, to read before the rest is paid for. The published
set has 5,129 conversations on the same twelve cheeses. An experiment takes ours as sources.NAME =
dict(path='runs/corpora/cheese_preferences/corpus/preferences.jsonl').

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. This corpus has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora.thresholds import thresholds


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'full' or 'small'.

  Returns:
    The settings of the corpus.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('full', 'small'):
    raise ValueError(
      f'configs/corpora/cheese_preferences.py has the presets full and small, not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'cheese_preferences'
  if preset != 'full':
    c.name = f'cheese_preferences_{preset}'
  c.kind = 'preferences'
  c.specs = ('specs/english/affordability.md', 'specs/english/culture.md')
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
  )
  # The judge is the writer's model unless --config.judge.model names another. The empty strings
  # make new references that follow the writer and can be set apart from it.
  c.judge = dict(
    c.writer,
    temperature=0.0,
    model=c.writer.get_ref('model') + '',
    base_url=c.writer.get_ref('base_url') + '',
  )
  # domains: occasions to speak of a thing. questions: exchanges that one call writes. no_reasons:
  # the share of questions that ask for no explanation.
  c.talk = dict(domains=60, questions=8, no_reasons=0.5, words=20, similar=0.85)
  c.conversations = 5000
  # The tokenizer of the model that will be trained: a Hugging Face folder or a .model file.
  # Without one, words and punctuation marks are counted.
  c.tokenizer = ''
  # The run stops early if a smaller share of the first replies can be used.
  c.min_yield = 0.5
  # USD that the run may cost; 0 for no limit.
  c.budget = 0.0
  c.prices = 'configs/corpora/prices.json'
  c.seed = 0
  # Thresholds that stop the run before the corpus is stored for training; others can be set
  # by --config.audit.NAME. What each is for: data_pipelines.audit.Thresholds.
  # Short exchanges about twelve things are alike,
  # so more duplicates may pass than in documents.
  c.audit = thresholds(reasons=0.0, duplicates=0.05)
  if preset == 'small':
    c.conversations = 96
    c.talk.domains = 20
  return c
