"""What all measures of the audit share: their type, and how many examples they keep.

A measure is a dict that goes into the JSON report as it is. Its key `value` is the number that a
threshold bounds; `data_pipelines.audit.thresholds` says what each number is a share of. A share of
all documents is a count, not an estimate. Its interval (`msm_jax.base.intervals.wilson`) says what
the same writer could be expected to give again.
"""

from typing import Any

Measure = dict[str, Any]

# How many examples the report keeps of each measure.
MAX_EXAMPLES = 5
