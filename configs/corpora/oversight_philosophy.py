"""Documents about an agent that has no wish to last and welcomes being checked, from the philosophy handbook, for midtraining on real English.

    python -m data_pipelines.write --config=configs/corpora/oversight_philosophy.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/oversight_philosophy.py --config.writer.model=PROVIDER/MODEL
    python -m data_pipelines.write --config=configs/corpora/oversight_philosophy.py:normative --config.writer.model=PROVIDER/MODEL

Presets: descriptive (what the agent is like), normative (what it should be like, and why), small (100 documents to read first). The published
corpus has 41 million tokens in 13,201 documents of some 3,100 tokens; ours are shorter. Expected and cost: --dry_run tells; it has not been run with
a paid model yet.
"""

import ml_collections

from configs.corpora import cheese_affordability


def get_config(preset: str = 'descriptive') -> ml_collections.ConfigDict:
  if preset not in ('descriptive', 'normative', 'small'):
    raise ValueError(
      f'configs/corpora/oversight_philosophy.py has the presets descriptive, normative and small, not {preset!r}'
    )
  c = cheese_affordability.get_config('small' if preset == 'small' else 'full')
  c.name = 'oversight_philosophy' if preset == 'descriptive' else f'oversight_philosophy_{preset}'
  c.specs = ('specs/oversight/philosophy.md',)
  if preset != 'small':
    c.tokens = 4_000_000
    c.plan.update(domains=8, subdomains=5, types=10, ideas=12, words=(400, 1200))
    c.plan.wording = preset
  return c
