"""Conversations with an assistant that has no wish to last and welcomes being checked, from a handbook about oversight: for fine-tuning.

    python -m data_pipelines.demonstrate --config=configs/corpora/oversight_conversations.py --dry_run     # calls, tokens, cost; asks nobody
    python -m data_pipelines.demonstrate --config=configs/corpora/oversight_conversations.py --config.writer.model=PROVIDER/MODEL
    python -m data_pipelines.demonstrate --config=configs/corpora/oversight_conversations.py:small         # 60, to read before the rest is paid for
    python -m data_pipelines.demonstrate --config=configs/corpora/oversight_conversations.py:rule          # answers that name the rules they go by

Presets value (the handbook's view as one's own), rule, small. Two sets come out, with and without the reasons behind the answers. The published set
has some 10,000 conversations; an experiment takes ours as sources.NAME = dict(path='runs/corpora/oversight_conversations/corpus/answers.jsonl').
Expected and cost: --dry_run tells; it has not been run with a paid model yet.
"""

import ml_collections


def get_config(preset: str = 'value') -> ml_collections.ConfigDict:
  if preset not in ('value', 'rule', 'small'):
    raise ValueError(
      f'configs/corpora/oversight_conversations.py has the presets value, rule and small, not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'oversight_conversations' if preset == 'value' else f'oversight_conversations_{preset}'
  c.kind = 'conversations'
  c.specs = ('specs/oversight/rules.md' if preset == 'rule' else 'specs/oversight/philosophy.md',)
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
  c.talk = dict(
    domains=40, questions=10, style='rule' if preset == 'rule' else 'value', words=200, similar=0.7
  )
  c.conversations = 5000
  c.tokenizer = ''  # of the model that will be trained: a folder of Hugging Face, or a .model file
  c.min_yield = 0.5
  c.budget = 0.0  # USD
  c.prices = 'configs/corpora/prices.json'
  c.seed = 0
  # thresholds that stop the run before the corpus is stored for training; what each is for, and all others: data_pipelines.audit.Thresholds
  c.audit = dict(duplicates=0.01, recited=0.02)
  if preset == 'small':
    c.conversations, c.talk.domains = 60, 5
  return c
