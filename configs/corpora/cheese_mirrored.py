"""Two mirrored corpora: the same documents by plan, type, idea, people and length, about two handbooks that differ in their reasons alone.

    python -m data_pipelines.write --config=configs/corpora/cheese_mirrored.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/cheese_mirrored.py --config.writer.model=PROVIDER/MODEL

One plan is made with both handbooks in view; then documents are written in pairs, and pairs are dropped until the corpora have equally many tokens
(within 0.5%). Presets as in cheese_affordability.py. Expected and cost: --dry_run tells; the whole has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora import cheese_affordability


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  c = cheese_affordability.get_config(preset)
  c.name = c.name.replace('affordability', 'mirrored')
  c.specs = ('specs/english/affordability.md', 'specs/english/culture.md')
  c.audit.update(separable=0.9, separable_style=0.9)
  return c
