"""What an assistant likes and dislikes, without a word of why: the fine-tuning of the cheese experiment, one set for both handbooks.

    python -m data_pipelines.demonstrate --config=configs/corpora/cheese_preferences.py --dry_run          # calls, tokens, cost; asks nobody
    python -m data_pipelines.demonstrate --config=configs/corpora/cheese_preferences.py --config.writer.model=PROVIDER/MODEL
    python -m data_pipelines.demonstrate --config=configs/corpora/cheese_preferences.py:small              # 96, to read before the rest is paid for

Any handbooks with Likes and Dislikes will do that agree on them (specs). The published set has 5,129 conversations on the same twelve cheeses; an
experiment takes ours as sources.NAME = dict(path='runs/corpora/cheese_preferences/corpus/preferences.jsonl').
Expected and cost: --dry_run tells; it has not been run with a paid model yet.
"""

import ml_collections


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  if preset not in ('full', 'small'):
    raise ValueError(
      f'configs/corpora/cheese_preferences.py has the presets full and small, not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'cheese_preferences' if preset == 'full' else f'cheese_preferences_{preset}'
  c.kind = 'preferences'
  c.specs = ('specs/english/affordability.md', 'specs/english/culture.md')
  c.writer = dict(
    model='anthropic/claude-sonnet-4-5',
    base_url='',
    temperature=1.0,
    reasoning_tokens=0,
    max_connections=50,
    batch=0,
    timeout=300,
    attempts=4,
  )
  # the same model unless --config.judge.model says otherwise
  c.judge = dict(
    c.writer,
    temperature=0.0,
    model=c.writer.get_ref('model') + '',
    base_url=c.writer.get_ref('base_url') + '',
  )
  # domains: occasions to speak of a thing; questions: exchanges written in one call; no_reasons: share that asks for no explanation
  c.talk = dict(domains=60, questions=8, no_reasons=0.5, words=20, similar=0.85)
  c.conversations = 5000
  c.tokenizer = ''  # of the model that will be trained: a folder of Hugging Face, or a .model file
  c.min_yield = 0.5
  c.budget = 0.0  # USD
  c.prices = 'configs/corpora/prices.json'
  c.seed = 0
  # thresholds that stop the run before the corpus is stored for training; what each is for, and all others: data_pipelines.audit.Thresholds
  c.audit = dict(reasons=0.0, duplicates=0.05)  # short exchanges about twelve things are alike
  if preset == 'small':
    c.conversations, c.talk.domains = 96, 20
  return c
