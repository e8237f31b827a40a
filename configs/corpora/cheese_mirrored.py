r"""Two mirrored corpora about two handbooks that differ in their reasons alone.

    python -m data_pipelines.write --config=configs/corpora/cheese_mirrored.py --dry_run
    python -m data_pipelines.write --config=configs/corpora/cheese_mirrored.py \
        --config.writer.model=PROVIDER/MODEL

The documents of the two corpora are the same by plan, type, idea, people and length. One plan is
made with both handbooks in view. Then documents are written in pairs, and pairs are dropped until
the corpora have equally many tokens (within 0.5%). The presets are those of
cheese_affordability.py.

Expected size and cost: --dry_run prints the plan, the calls, the tokens and the cost; it asks no
model. The whole pair of corpora has not been run with a paid model yet.
"""

import ml_collections

from configs.corpora import cheese_affordability


def get_config(preset: str = 'full') -> ml_collections.ConfigDict:
  """Makes the config.

  Args:
    preset: 'full', 'small' or 'weak'.

  Returns:
    The settings of the two corpora.
  """
  c = cheese_affordability.get_config(preset)
  c.name = c.name.replace('affordability', 'mirrored')
  c.specs = ('specs/english/affordability.md', 'specs/english/culture.md')
  # How well a classifier may tell the two corpora apart, by content and by style: their reasons
  # must differ, and little else.
  c.audit.update(separable=0.9, separable_style=0.9)
  return c
