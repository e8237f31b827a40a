r"""Two mirrored corpora of 8 million tokens each, as large as the published cheese corpora.

    python -m data_pipelines.write --config=configs/corpora/paper_cheese.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/paper_cheese.py \
        --config.writer.model=PROVIDER/MODEL --config.writer.batch=1000 --config.budget=700.0

For another pair of values: --config.specs='("specs/english/environment.md",
"specs/english/tradition.md")'. `configs/paper_cheese.py:written` trains on what comes out.

The preset small has 100 documents a side, to read before the rest is paid for.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. docs/guides/paper.md repeats what it printed. The corpora have not been written yet.
"""

import ml_collections

from configs.corpora import cheese_mirrored

# The published corpora have 9.5 and 7.1 million; 8 million is what the paper's text says.
TOKENS = 8_000_000


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'full' or 'small'.

  Returns:
    The settings of the two corpora.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('full', 'small'):
    raise ValueError(
      f'configs/corpora/paper_cheese.py has the presets full and small, not {preset!r}'
    )
  c = cheese_mirrored.get_config(preset)
  c.name = 'paper_cheese'
  if preset == 'small':
    c.name = 'paper_cheese_small'
    return c
  c.tokens = TOKENS
  # 13,824 ideas, of which some 12,100 are written.
  c.plan.update(domains=8, subdomains=6, types=12, ideas=24, words=(250, 900))
  return c
