"""Tables, figures and pages, made from summaries and rows alone. A `ReportLayout` says what a
setting shows."""

from msm_jax.report.layout import ReportLayout
from msm_jax.report.numbers import point_label
from msm_jax.report.page import write_report
from msm_jax.report.sweep_page import sweep_table, times_saved, write_sweep
from msm_jax.report.terminal import table

__all__ = [
  'ReportLayout',
  'point_label',
  'sweep_table',
  'table',
  'times_saved',
  'write_report',
  'write_sweep',
]
