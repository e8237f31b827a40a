"""The thresholds of the audit, as the configs of corpora list them.

A config file can be overridden on the command line only where it names a setting. So every
threshold is named here, and those that a config leaves alone have no value: the audit then uses its
own default. `help(data_pipelines.audit.Thresholds)` says what each is for.
"""

import ml_collections
from ml_collections.config_dict import placeholder

NAMES = (
  'attribution',
  'reasons',
  'named',
  'covered',
  'duplicates',
  'self_similarity',
  'openings',
  'loops',
  'names',
  'dates',
  'years',
  'recited',
  'formats',
  'languages',
  'leaked_items',
  'leaked_questions',
  'unfinished',
  'repeated_ids',
  'domains_apart',
  'tokens_apart',
  'separable',
  'separable_style',
  'jaccard',
)
# Thresholds that are whole numbers.
COUNTS = ('claim_documents', 'recited_words', 'sample', 'compared', 'seed')


def thresholds(**own: float) -> ml_collections.ConfigDict:
  """Lists all thresholds of the audit.

  Args:
    **own: the thresholds that a config sets.

  Returns:
    All thresholds by name; those that are not set have no value, but can be overridden.
  """
  listed = ml_collections.ConfigDict()
  for name in NAMES:
    listed[name] = placeholder(float)
  for name in COUNTS:
    listed[name] = placeholder(int)
  for name, value in own.items():
    listed[name] = value
  return listed
