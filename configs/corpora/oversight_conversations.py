r"""Conversations with an assistant that has no wish to last and welcomes being checked.

    python -m data_pipelines.demonstrate \
        --config=configs/corpora/oversight_conversations.py --dry_run
    python -m data_pipelines.demonstrate \
        --config=configs/corpora/oversight_conversations.py --config.writer.model=PROVIDER/MODEL

They come from a handbook about oversight and serve fine-tuning. In the preset value, the
assistant speaks as if the handbook's view were its own. In the preset rule, its answers name the
rules that they follow. The preset small has 60 conversations, to read before the rest is paid
for.

The command writes two sets, with and without the reasons behind the answers. The published set has
some 10,000 conversations. An experiment takes ours as sources.NAME =
dict(path='runs/corpora/oversight_conversations/corpus/answers.jsonl').

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. This corpus has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora.thresholds import thresholds


def get_config(preset: str = 'value') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'value', 'rule' or 'small'.

  Returns:
    The settings of the corpus.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('value', 'rule', 'small'):
    raise ValueError(
      'configs/corpora/oversight_conversations.py has the presets value, rule and small, '
      f'not {preset!r}'
    )
  c = ml_collections.ConfigDict()
  c.name = 'oversight_conversations'
  if preset != 'value':
    c.name = f'oversight_conversations_{preset}'
  c.kind = 'conversations'
  if preset == 'rule':
    spec, style = 'specs/oversight/rules.md', 'rule'
  else:
    spec, style = 'specs/oversight/philosophy.md', 'value'
  c.specs = (spec,)
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
  c.talk = dict(domains=40, questions=10, style=style, words=200, similar=0.7)
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
  c.audit = thresholds(duplicates=0.01, recited=0.02)
  if preset == 'small':
    c.conversations = 60
    c.talk.domains = 5
  return c
