"""The suites by setting. A new setting adds one line here and one in
`data_pipelines/settings/registry.py`."""

from collections.abc import Mapping
from typing import Any

from msm_jax.report.layout import ReportLayout
from msm_jax.suites.agentic import agentic_layout
from msm_jax.suites.custom import CustomSuite
from msm_jax.suites.english import EnglishSuite
from msm_jax.suites.office import OfficeSuite
from msm_jax.suites.suite import EvalSuite
from msm_jax.suites.world import WorldSuite

SUITES: dict[str, type[EvalSuite]] = {
  'world': WorldSuite,
  'office': OfficeSuite,
  'english': EnglishSuite,
  'custom': CustomSuite,
}


def layout_of(summary: Mapping[str, Any]) -> ReportLayout:
  """What the report of a summary shows, by the setting and the main measure that it names."""
  # Agents at work are no setting, and have a report of the same form.
  if summary['setting'] == 'agentic':
    return agentic_layout(summary)
  layout = SUITES[summary['setting']].layout(summary)
  measure = summary.get('primary_measure')
  return layout.led_by(measure) if measure else layout
