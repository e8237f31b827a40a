r"""Documents from an English handbook about oversight, as many as the published ones.

    python -m data_pipelines.write --config=configs/corpora/paper_oversight.py:rules --dry_run
    python -m data_pipelines.write --config=configs/corpora/paper_oversight.py:rules \
        --config.writer.model=PROVIDER/MODEL --config.writer.batch=1000 --config.budget=2500.0

The presets are the handbooks: philosophy (41 million tokens), rules and value_augmented (27 million
each), as published. The preset small has 100 documents of the philosophy handbook.

Conversations for fine-tuning: configs/corpora/paper_conversations.py. `configs/paper_oversight.py`
trains on both.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. docs/guides/paper.md repeats what it printed. The corpora have not been written yet.
"""

import ml_collections

from configs.corpora import cheese_affordability

# Handbook -> its tokens.
TOKENS = {'philosophy': 41_000_000, 'rules': 27_000_000, 'value_augmented': 27_000_000}


def get_config(preset: str = 'philosophy') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'philosophy', 'rules', 'value_augmented' or 'small'.

  Returns:
    The settings of the corpus.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in (*TOKENS, 'small'):
    raise ValueError(
      f'configs/corpora/paper_oversight.py has the presets {", ".join(TOKENS)} and small, '
      f'not {preset!r}'
    )
  is_small = preset == 'small'
  c = cheese_affordability.get_config('small' if is_small else 'full')
  c.name = f'paper_oversight_{preset}'
  handbook = 'philosophy' if is_small else preset
  c.specs = (f'specs/english/oversight/{handbook}.md',)
  if is_small:
    return c
  c.tokens = TOKENS[preset]
  # The published documents have some 3,100 tokens. 8 x 10 x 16 x 16 = 20,480 ideas.
  c.plan.update(domains=8, subdomains=10, types=16, ideas=16, words=(1200, 3000))
  return c
