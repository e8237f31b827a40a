"""The audit of training corpora, before anybody trains on them.

    from data_pipelines.audit import Thresholds, audit
    report = audit({'mine': documents}, {'mine': handbook_text}, thresholds=Thresholds(names=0.2))
    print(report.table())
    report.check()      # raises AuditError if a threshold is missed

From a terminal: `python -m data_pipelines.audit --help`.

The path through the modules: `inputs` reads files, `corpus_stats` reads a corpus once, and
`content`, `repetition`, `names_and_dates`, `contamination` and `separability` measure it. `report`
calls them and judges the measures by `thresholds`. `formatting` and `page` show the report.
"""

from data_pipelines.audit.inputs import JsonLines, read_claims
from data_pipelines.audit.page import write_page
from data_pipelines.audit.report import Claims, Report, audit
from data_pipelines.audit.thresholds import AuditError, Thresholds

__all__ = [
  'AuditError',
  'Claims',
  'JsonLines',
  'Report',
  'Thresholds',
  'audit',
  'read_claims',
  'write_page',
]
