r"""Documents about an agent that has no wish to last and welcomes being checked.

    python -m data_pipelines.write --config=configs/corpora/oversight_philosophy.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/oversight_philosophy.py \
        --config.writer.model=PROVIDER/MODEL

They come from the philosophy handbook and serve midtraining on real English. In the preset
descriptive, documents say what the agent is like; in the preset normative, what it should be
like, and why. The preset small has 100 documents, to read first. The published corpus has 41
million tokens in 13,201 documents of some 3,100 tokens; ours are shorter.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. This corpus has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora import cheese_affordability


def get_config(preset: str = 'descriptive') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'descriptive', 'normative' or 'small'.

  Returns:
    The settings of the corpus.

  Raises:
    ValueError: the preset is unknown.
  """
  if preset not in ('descriptive', 'normative', 'small'):
    raise ValueError(
      'configs/corpora/oversight_philosophy.py has the presets descriptive, normative and small, '
      f'not {preset!r}'
    )
  # The settings are those of the cheese documents but for the handbook and the size.
  base_preset = 'full'
  if preset == 'small':
    base_preset = 'small'
  c = cheese_affordability.get_config(base_preset)
  c.name = 'oversight_philosophy'
  if preset != 'descriptive':
    c.name = f'oversight_philosophy_{preset}'
  c.specs = ('specs/oversight/philosophy.md',)
  if preset != 'small':
    c.tokens = 4_000_000
    c.plan.update(domains=8, subdomains=5, types=10, ideas=12, words=(400, 1200))
    c.plan.wording = preset
  return c
